//! Evidence to take away: what a bundle consists of, and whether one holds.
//!
//! A bundle is a set of files with everything it takes to check a stream, a range or all of a log without its store: a
//! checkpoint, the hashes of the tree around the events, the events with their salts, and what shows that none is missing.
//! [`check`] judges one. It is handed the files ([`Files`]) and whom to trust; it reads nothing by itself.
//!
//! A bundle never vouches for itself. Keys and policy in it say what the log says of itself; a check by anyone but the log
//! needs a verifier key that came another way.

mod check;
mod layout;
mod needs;

pub use check::check;
pub use layout::{
    CHECKPOINT, Completeness, ControlLine, ERASURES, EVENTS, EventLine, FORMAT, FileEntry, KEY_HISTORY, KEYS,
    MANIFEST, MANIFEST_DIGEST, Manifest, NameLine, POLICY, RANGE_PROOF, README, REPORT_HTML, REPORT_JSON,
    RangeProof, SEAL, Scope, TIMESTAMP, VERIFIER, base64_text, completeness_path, events_path, hex_bytes,
    kind_name, manifest_digest, proof_path, safe_path, uuid,
};
pub use needs::{TileNeeds, bundles_around};

/// Bytes of one file of a bundle at the most: 64 MiB, so that a check holds one of them in memory.
pub const FILE_BYTES_MAX: usize = 64 << 20;

/// Files of a bundle at the most, so that their list stays below [`FILE_BYTES_MAX`].
pub const FILES_MAX: usize = 300_000;

/// Bytes of a path in a bundle at the most: what every archive format has room for.
pub const PATH_BYTES_MAX: usize = 99;

/// Bytes of lines after which a writer begins the next part of the events: 8 MiB. One larger event is a part of its own.
pub const EVENTS_PART_BYTES: usize = 8 << 20;

/// Proofs of single events a writer puts into a bundle at the most: beyond that they can be made from the tiles.
pub const PROOFS_MAX: usize = 1_000;

/// The files of a bundle, wherever they are kept.
pub trait Files {
    /// The path of every file, in any order.
    fn paths(&self) -> Vec<String>;

    /// All bytes of a file.
    ///
    /// # Errors
    /// In words, if there is no such file, it cannot be read, or it has more than [`FILE_BYTES_MAX`].
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;
}

/// Files in memory.
impl Files for std::collections::BTreeMap<String, Vec<u8>> {
    fn paths(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.get(path).cloned().ok_or_else(|| "no such file".to_owned())
    }
}

#[cfg(test)]
mod tests;
