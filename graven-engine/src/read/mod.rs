//! Reading: which events (`select`), from where (`start`), a bounded page of them (`page`), and on and on (`follow`);
//! what is numbered (`listed`), and what is pointed to (`targets`).
//!
//! Everything a read sees lies below the head it took at its beginning. Index answers are candidates; the log decides.

pub(crate) mod filter;
pub(crate) mod follow;
pub(crate) mod frames;
pub(crate) mod listed;
pub(crate) mod metadata;
pub(crate) mod page;
pub(crate) mod select;
pub(crate) mod sink;
pub(crate) mod start;
pub(crate) mod streams;
pub(crate) mod targets;
