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
//! - [`chain`]: whether leaves continue the log or a stream, and whether a stream is whole.
//! - [`control`]: what the log says about itself, in the leaves of control records.
//! - [`erased`]: which events the log says were erased.
//! - [`finding`]: what a check of a log can find, and its report.
//! - [`tlog_proof`]: everything that shows one leaf to be in the log, in one text (C2SP tlog-proof).
//! - [`bundle`]: everything that shows a stream, a range or all of a log to be whole, in files to take away.
//! - [`timestamp`]: asking a timestamp authority about a checkpoint, and what it answers (RFC 3161).
//! - [`witness`]: what a log and its witnesses say to each other, and how a witness decides (C2SP tlog-witness).

//!
//! What someone does who was handed a leaf and a proof, and knows by other means whom to trust:
//!
//! ```
//! # use graven_proof::merkle::{TreeHead, leaf_hash};
//! # use graven_proof::note::{Algorithm, SignerKey};
//! # use graven_proof::checkpoint::SignedCheckpoint;
//! use graven_proof::policy::Policy;
//! use graven_proof::tlog_proof::TlogProof;
//!
//! # let key = SignerKey::from_seed("log.example/1".parse()?, Algorithm::Ed25519, &[7; 32]);
//! # let vkey = key.verifier().to_string();
//! # let leaf = b"a leaf";
//! # let head = TreeHead { size: 1, root: leaf_hash(leaf) };
//! # let checkpoint = SignedCheckpoint::sign(&head, &key, &[], 0)?;
//! # let file = TlogProof::new(0, Vec::new(), checkpoint)?.to_string().into_bytes();
//! let policy = Policy::parse(&format!("log {vkey}\nquorum none\n"))?;
//! let proof = TlogProof::parse(&file)?;
//! let checkpoint = proof.verify(&leaf_hash(leaf), &policy)?;
//! assert_eq!(checkpoint.origin(), "log.example/1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod base64;
pub mod bundle;
pub mod chain;
pub mod checkpoint;
pub mod control;
pub mod erased;
pub mod finding;
pub mod leaf;
pub mod merkle;
pub mod note;
pub mod policy;
mod sha256;
pub mod tiles;
pub mod timestamp;
pub mod tlog_proof;
pub mod trie;
pub mod witness;

/// A SHA-256 digest.
pub type Hash = [u8; 32];
