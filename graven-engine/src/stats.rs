//! What the store counts: events, streams and bytes, per type and category, system streams apart.
use graven_model::Text;

/// Events and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Bytes of payload and metadata.
    pub bytes: u64,
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
