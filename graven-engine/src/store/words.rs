//! How a store is opened, and what it says of itself and its streams.

use crate::env::Env;
use bytes::Bytes;
use graven_model::{Position, Revision, StreamName, StreamState, Text, Timestamp};

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
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 64 << 20,
            index_flush_events: 131_072,
            heads_max: 262_144,
            free_bytes_reserve: 64 << 20,
            env: Env::real(),
            create: true,
            origin: "localhost/graven".to_owned(),
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

/// Identity and size of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInfo {
    /// UUID of the log.
    pub log_id: String,
    /// Origin line of its checkpoints.
    pub origin: String,
    /// Version of the format on disk.
    pub format_version: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Events in the log.
    pub head: Position,
    /// Merkle root (RFC 6962) over them.
    pub root: [u8; 32],
    /// Log segments.
    pub segments: u64,
    /// Bytes of log in use.
    pub log_bytes: u64,
    /// Bytes of index files.
    pub index_bytes: u64,
    /// Bytes of Merkle tiles.
    pub tile_bytes: u64,
}

/// What is known of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name.
    pub stream: StreamName,
    /// Alive, deleted or tombstoned.
    pub state: StreamState,
    /// First revision a read shows.
    pub first_revision: Option<Revision>,
    /// Last revision.
    pub last_revision: Option<Revision>,
    /// Position of the last event.
    pub last_position: Option<Position>,
    /// Commit time of the first event.
    pub created_at: Option<Timestamp>,
    /// Commit time of the last event.
    pub updated_at: Option<Timestamp>,
    /// Its metadata object.
    pub metadata: Option<Bytes>,
}

/// Which streams to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamListRequest {
    /// Names start with this; empty = all.
    pub prefix: Text,
    /// Where the last page ended.
    pub after: Option<Position>,
    /// Streams a page, 1 to [`graven_model::limits::STREAM_LIST_MAX`].
    pub limit: u32,
    /// System streams too.
    pub include_system: bool,
}

impl Default for StreamListRequest {
    fn default() -> Self {
        StreamListRequest { prefix: "".into(), after: None, limit: 100, include_system: false }
    }
}

/// A page of streams, in order of creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamList {
    /// The streams.
    pub streams: Vec<StreamInfo>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Position>,
}

/// A run of stored frames, verbatim: what a replica or a bulk reader takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frames {
    /// Whole frames, back to back; [`graven_model::frame::events`] decodes them. Empty at the head.
    pub bytes: Bytes,
    /// Position of the first event of the first frame: at or before the position asked for.
    pub first: Position,
    /// Position after the last frame; ask for it next.
    pub next: Position,
    /// Events in the log when the frames were read.
    pub head: Position,
}
