//! What an auditor needs without a server. No I/O, no clock, no randomness.
//!
//! - [`leaf`]: the fixed binary form of an event that the tree commits to, and the salted commitments in it.
//! - [`merkle`]: RFC 6962 hashing and the append-only tree's right edge ([`merkle::Frontier`]).

pub mod leaf;
pub mod merkle;
mod sha256;
pub mod tiles;

/// A SHA-256 digest.
pub type Hash = [u8; 32];
