//! read
pub(crate) mod follow;
