//! What an auditor needs without a server. No I/O, no clock, no randomness.
//!
//! - [`leaf`]: the fixed binary form of an event that the tree commits to, and the salted commitments in it.
//! - [`merkle`]: RFC 6962 hashing, the append-only tree's right edge ([`merkle::Frontier`]), proofs of inclusion,
//!   consistency and ranges.
//! - [`tiles`]: the names and encodings under which a tree and its leaves are published (C2SP tlog-tiles).
//! - [`note`]: signed texts and the keys to them (C2SP signed-note, tlog-cosignature).
//! - [`checkpoint`]: signed heads of the tree (C2SP tlog-checkpoint); [`policy`]: whose signatures it takes to believe
//!   one (C2SP tlog-policy).
//! - [`trie`]: the trie of stream heads, which shows a stream to be whole or not to exist.
//! - [`tlog_proof`]: everything that shows one leaf to be in the log, in one text (C2SP tlog-proof).

mod base64;
pub mod checkpoint;
pub mod leaf;
pub mod merkle;
pub mod note;
pub mod policy;
mod sha256;
pub mod tiles;
pub mod tlog_proof;
pub mod trie;

/// A SHA-256 digest.
pub type Hash = [u8; 32];
