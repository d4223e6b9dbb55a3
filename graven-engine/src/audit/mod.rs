//! The audit tree on disk. The log's frames say size and root; what is here is derived from the log and can be built
//! again from it.

mod tiles;

pub(crate) use tiles::Tiles;
