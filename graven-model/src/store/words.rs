//! What a store says of itself, its streams and its counts.

use crate::append::StreamState;
use crate::ids::{Position, Revision, StreamName, Text};
use crate::time::Timestamp;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

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
    /// Streams a page, 1 to [`crate::limits::STREAM_LIST_MAX`].
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
    /// Whole frames, back to back; [`crate::frame::events`] decodes them. Empty at the head.
    pub bytes: Bytes,
    /// Position of the first event of the first frame: at or before the position asked for.
    pub first: Position,
    /// Position after the last frame; ask for it next.
    pub next: Position,
    /// Events in the log when the frames were read.
    pub head: Position,
}

/// Events and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Bytes of payload and metadata.
    pub bytes: u64,
}

impl Counts {
    /// Counts one event of this size.
    pub fn add(&mut self, bytes: u64) {
        self.events += 1;
        self.bytes += bytes;
    }
}

/// Counts under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCounts {
    /// Type or category.
    pub name: Text,
    /// Events and bytes.
    pub counts: Counts,
    /// Streams, for a category; 0 for a type.
    pub streams: u64,
}

/// Statistics of the whole store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Events in streams whose name does not start with `$`.
    pub user: Counts,
    /// Streams ever begun whose name does not start with `$`.
    pub user_streams: u64,
    /// Events in system streams.
    pub system: Counts,
    /// System streams ever begun.
    pub system_streams: u64,
    /// User events by type, sorted by name.
    pub types: Vec<NamedCounts>,
    /// User events by category, sorted by name.
    pub categories: Vec<NamedCounts>,
}
