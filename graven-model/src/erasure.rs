//! The words of erasing: what is to be destroyed, what came of it, and what a legal hold keeps from it.

use crate::ids::{Position, Revision, StreamName};
pub use graven_proof::control::Part;

/// What is to be erased, by whom and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureRequest {
    /// Whose events.
    pub target: ErasureTarget,
    /// What of them; over the network, none = data and metadata. The name of a data subject goes with [`ErasureTarget::Subject`] and only there, asked for or not.
    pub parts: Vec<Part>,
    /// Pseudonymous id of the request. The same request again gets the outcome of the first.
    pub request: String,
    /// Legal basis, as a code.
    pub basis: String,
    /// Who decided.
    pub decided_by: String,
    /// Who approved, if a second person had to.
    pub approved_by: Option<String>,
}

/// Which events are to be erased, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErasureTarget {
    /// Those at these positions, at most [`crate::limits::ERASURE_POSITIONS_MAX`].
    Events(Vec<Position>),
    /// Those of a stream.
    Stream {
        /// Its name.
        name: StreamName,
        /// The first revision that is kept; all are erased without.
        before: Option<Revision>,
    },
    /// Those of a data subject.
    Subject(String),
}

/// What came of an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErasureOutcome {
    /// Position of the record that says so; `None` if it was only counted.
    pub record: Option<Position>,
    /// Events it covers.
    pub events: u64,
    /// Segments that were rewritten, or would be.
    pub segments: u64,
    /// Bytes the log is shorter.
    pub bytes_freed: i64,
    /// The request was carried out before.
    pub repeated: bool,
}

/// What came of scavenging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScavengeReport {
    /// Streams something was dropped from, or would be.
    pub streams: u64,
    /// Events that were dropped, or would be.
    pub events: u64,
    /// Bytes of data and metadata that these events had, as stored in the log before compression.
    pub payload_bytes: u64,
    /// Streams with something to drop that a legal hold covers in part: nothing was dropped from them.
    pub held: u64,
    /// Segments that were rewritten.
    pub segments: u64,
    /// Bytes the log is shorter.
    pub bytes_freed: i64,
    /// There is more to drop: scavenge again.
    pub more: bool,
}

/// What a legal hold is to cover, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldOn {
    /// One stream.
    Stream(StreamName),
    /// Every stream of a category.
    Category(String),
    /// Every event of a data subject.
    Subject(String),
}
