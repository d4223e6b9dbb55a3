//! What was asked and answered, and when.

use graven_model::{Code, Expected, Position, Revision};
use std::collections::BTreeMap;

/// Number of an operation. Event ids are made of it, so that the log tells whose an event is.
pub type OpId = u64;

/// Nanoseconds since the run began.
pub type Nanos = u64;

/// A stream of the run, by number: `soak-<n>`.
pub type StreamNo = u32;

/// One append and its last answer. Attempts of the client's own are part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Who.
    pub op: OpId,
    /// When it was sent first.
    pub start: Nanos,
    /// When it was answered last.
    pub end: Nanos,
    /// Streams with what they were expected to look like and how many events each gets, in order.
    pub streams: Vec<(StreamNo, Expected, u32)>,
    /// "No event of this tag after this position."
    pub condition: Option<(u32, Option<Position>)>,
    /// The answer.
    pub outcome: Outcome,
}

/// How an append was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Durable, at these positions.
    Done {
        /// First event.
        first: Position,
        /// Last event.
        last: Position,
    },
    /// A stream was not as expected; its revision then, if it had one.
    WrongRevision(StreamNo, Option<Revision>),
    /// An event matched the condition.
    ConditionFailed(Position),
    /// Refused for another reason, without side effects.
    Refused(Code),
    /// Nobody knows.
    Unknown,
}

/// A read of a stream or of everything from its beginning, and what came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// When it was asked.
    pub start: Nanos,
    /// The stream; `None` = everything.
    pub stream: Option<StreamNo>,
    /// First position or revision asked for.
    pub from: u64,
    /// True if the answer said that it reached the end.
    pub to_the_end: bool,
    /// Positions of the events, in the order they came.
    pub positions: Vec<u64>,
}

/// Everything one follower was given, through all its reconnections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// The tag it follows; `None` = everything.
    pub tag: Option<u32>,
    /// Positions in the order they came.
    pub positions: Vec<u64>,
    /// It was given time to reach the end of the final log.
    pub complete: bool,
}

/// Operation, stream and tag of the records that the store itself wrote about the log, which nobody asked for.
pub const OF_THE_STORE: u32 = u32::MAX;

/// An event of the final log, as the judge needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged {
    /// The operation in its id.
    pub op: OpId,
    /// Its place among the operation's events.
    pub index: u32,
    /// Its stream.
    pub stream: StreamNo,
    /// Its revision.
    pub revision: u64,
    /// Its tag.
    pub tag: u32,
    /// Microseconds.
    pub committed_at: i64,
}

/// A whole run.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Appends by operation.
    pub appends: BTreeMap<OpId, Append>,
    /// Reads.
    pub reads: Vec<Read>,
    /// Followers.
    pub follows: Vec<Follow>,
    /// The log in the end; the index is the position.
    pub log: Vec<Logged>,
}
