//! [`AppendRequest`]: one atomic append to one or several streams, with its checks; [`Receipt`]: what came of it.

use crate::event::{NewEvent, StoredEvent};
use crate::ids::{EventId, Position, Revision, StreamName};
use crate::read::Query;
use crate::time::Timestamp;

/// What a stream must look like for an append to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    /// Anything but a tombstone.
    #[default]
    Any,
    /// The stream has no events.
    NoStream,
    /// The stream has events (or metadata).
    Exists,
    /// The stream was deleted and not written since.
    Deleted,
    /// The stream was tombstoned. It can only be checked then: nothing is written to it any more.
    Tombstoned,
    /// The last revision is exactly this.
    Revision(Revision),
}

/// What a stream looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamState {
    /// It never had an event.
    NoStream,
    /// It is alive and this is its last revision.
    At(Revision),
    /// It was deleted at this last revision and reopens with the next append.
    SoftDeleted(Revision),
    /// It was tombstoned and stays closed for ever.
    Tombstoned,
}

/// A stream of an append: written, or only checked when no event names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamWrite {
    /// The stream.
    pub stream: StreamName,
    /// What it must look like.
    pub expected: Expected,
}

/// Dynamic consistency boundary (dcb.events): the append is refused if an event matches `query` after `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What must not have happened.
    pub query: Query,
    /// Exclusive; `None` = the whole history counts. A position beyond the head is accepted.
    pub after: Option<Position>,
}

/// How a retry is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Idempotency {
    /// The append as a whole is already there or not (the rule for commands).
    #[default]
    Whole,
    /// Every event stands for itself: those whose id the stream already holds are skipped, the rest is appended
    /// (the rule for imports). Needs [`Expected::Any`] on every stream.
    EachEvent,
}

/// One atomic append.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AppendRequest {
    /// The streams written or checked; each named once.
    pub streams: Vec<StreamWrite>,
    /// The events in log order, each with the index of its stream in `streams`.
    pub events: Vec<(u32, NewEvent)>,
    /// Condition over the whole log.
    pub condition: Option<Condition>,
    /// How a retry is recognised.
    pub idempotency: Idempotency,
    /// On a revision conflict, return up to this many events per stream that the caller has not seen; 0 = none.
    pub unseen_max: u32,
}

impl AppendRequest {
    /// An append of `events` to one stream.
    #[must_use]
    pub fn to(
        stream: StreamName,
        expected: Expected,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> AppendRequest {
        AppendRequest::default().and_to(stream, expected, events)
    }

    /// Adds a stream with its events to the same atomic append.
    #[must_use]
    pub fn and_to(
        mut self,
        stream: StreamName,
        expected: Expected,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> AppendRequest {
        let index = u32::try_from(self.streams.len()).expect("an append names fewer than 2^32 streams");
        self.streams.push(StreamWrite { stream, expected });
        self.events.extend(events.into_iter().map(|event| (index, event)));
        self
    }

    /// Adds a stream that is only checked.
    #[must_use]
    pub fn check(self, stream: StreamName, expected: Expected) -> AppendRequest {
        self.and_to(stream, expected, [])
    }

    /// Adds a condition over the whole log.
    #[must_use]
    pub fn unless(mut self, query: Query, after: Option<Position>) -> AppendRequest {
        self.condition = Some(Condition { query, after });
        self
    }
}

/// One stream's share of a [`Receipt`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamReceipt {
    /// The stream.
    pub stream: StreamName,
    /// Its last revision after the append (after the original append, for a retry); `None` if it has no events.
    pub revision: Option<Revision>,
}

/// Proof that an append is durable. For a retry, the receipt of the append that did the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Position of the first event of this append; for an append that stored nothing, the head it was judged at.
    pub first_position: Position,
    /// Position of the last event; `None` if nothing was stored now or before.
    pub last_position: Option<Position>,
    /// Per stream, in the order of the request.
    pub streams: Vec<StreamReceipt>,
    /// Commit time of the events.
    pub committed_at: Timestamp,
    /// Events stored by this very call.
    pub appended: u32,
    /// Events that were there already.
    pub duplicates: u32,
}

impl Receipt {
    /// True if the append had been done before and this call stored nothing.
    #[must_use]
    pub fn already_done(&self) -> bool {
        self.appended == 0 && self.duplicates > 0
    }
}

/// One check that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCheck {
    /// The stream.
    pub stream: StreamName,
    /// What was asked.
    pub expected: Expected,
    /// What is there.
    pub actual: StreamState,
    /// Set if some, but not all, of the ids are in the stream already: the retry is not the append it repeats.
    pub partial_retry: Option<EventId>,
    /// Events after the expected revision, if the request asked for them.
    pub unseen: Vec<StoredEvent>,
}
