//! How a store is opened.

use crate::env::Env;
use std::path::PathBuf;
use std::time::Duration;

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// Bytes of a pre-written log segment; at least 1 MiB, 64 MiB by default.
    pub segment_bytes: u64,
    /// Events indexed in memory before they become an index file; 131,072 by default.
    pub index_flush_events: usize,
    /// Stream heads kept in memory; 262,144 by default.
    pub heads_max: usize,
    /// A new segment is begun only if this much of the disk stays free; 64 MiB by default.
    pub free_bytes_reserve: u64,
    /// Clock, randomness and disk.
    pub env: Env,
    /// Make a new store in an empty or missing directory.
    pub create: bool,
    /// Origin of a new store's tree, `<host>/<name>`; the log's UUID is added. Fixed for the life of the store.
    pub origin: String,
    /// Directory of the keys that sign checkpoints; `keys` in the store's directory by default. Better on another volume.
    pub keys_dir: Option<PathBuf>,
    /// File that remembers the newest checkpoint, so that an older copy of the store is noticed; `high-water` in the keys
    /// directory by default. Best where the store's user can only write it through the store.
    pub high_water: Option<PathBuf>,
    /// Sign a checkpoint this often if the head has moved, and when the store is closed; only on demand by default.
    pub checkpoint_interval: Option<Duration>,
    /// Seal the heads of all streams into the log this often if there is anything new, and when the store is closed; only on
    /// demand by default.
    pub seal_interval: Option<Duration>,
    /// Verify everything in the background, over and over, reading this much a second; not at all by default. After a finding
    /// the store takes no more appends and goes on reading.
    pub scrub_bytes_per_second: Option<u64>,
    /// Seal data and metadata of events that name a data subject under a key of that subject's own, kept in `subjects` in the
    /// keys directory: what is destroyed with the key is unreadable in every copy. The first event of a subject costs a flush of
    /// its own. What was sealed is opened by every read, whether this is set or not; off by default.
    pub seal_subjects: bool,
    /// Leave the audit trail out of what is appended, to measure what it costs. The store is lost when it is closed: every
    /// start refuses it.
    #[cfg(feature = "measure-without-audit")]
    pub without_audit: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 64 << 20,
            index_flush_events: 131_072,
            heads_max: 131_072,
            free_bytes_reserve: 64 << 20,
            env: Env::real(),
            create: true,
            origin: "localhost/graven".to_owned(),
            keys_dir: None,
            high_water: None,
            checkpoint_interval: None,
            seal_interval: None,
            scrub_bytes_per_second: None,
            seal_subjects: false,
            #[cfg(feature = "measure-without-audit")]
            without_audit: false,
        }
    }
}

impl Options {
    /// Small segments and index files, for tests.
    #[must_use]
    pub fn small() -> Options {
        Options {
            segment_bytes: 1 << 20,
            index_flush_events: 1_000,
            heads_max: 100,
            free_bytes_reserve: 0,
            ..Options::default()
        }
    }
}
