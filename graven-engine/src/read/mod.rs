//! Reading: which events (`select`), from where (`start`), a bounded page of them (`page`), and on and on (`follow`).
//!
//! Everything a read sees lies below the head it took at its beginning. Index answers are candidates; the log decides.

pub(crate) mod filter;
pub(crate) mod follow;
pub(crate) mod frames;
pub(crate) mod metadata;
pub(crate) mod page;
pub(crate) mod select;
pub(crate) mod sink;
mod start;
pub(crate) mod streams;
