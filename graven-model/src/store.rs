//! [`EventStore`]: what a program asks of a store, wherever that store is. The engine implements it in the process, the
//! client over the network, and one suite of behaviour runs against both.

mod words;

pub use words::{Counts, Frames, NamedCounts, Stats, StoreInfo, StreamInfo, StreamList, StreamListRequest};

use crate::append::{AppendRequest, Expected, Receipt};
use crate::error::Result;
use crate::event::StoredEvent;
use crate::ids::{EventId, Position, Revision, StreamName};
use crate::read::{FollowRequest, FollowStep, Page, ReadRequest};
use crate::snapshot::{FromSnapshot, FromSnapshotRequest, NewSnapshot, Snapshot, SnapshotReceipt};
use bytes::Bytes;

/// A store of events, in this process or on another machine. A handle: cheap to clone.
///
/// A program written against this trait changes one line, the one that opens the store, to go over the network. What
/// fails, fails with the same [`crate::Code`] in both places; over the network any call may also answer
/// [`crate::Code::ConnectionFailed`] or [`crate::Code::Timeout`].
pub trait EventStore: Clone + Send + Sync + 'static {
    /// What [`EventStore::follow`] gives.
    type Follower: FollowSteps;

    /// Appends: when this resolves to a receipt, the events are durable and visible. A retry with the same event ids is
    /// recognised and gets the receipt of the append that did the work. Dropping the future does not take the append
    /// back. Appends awaited one after the other keep their order; of those that run side by side no order is promised.
    ///
    /// # Errors
    /// The `Invalid…` or `…TooLarge` code of what is out of bounds; [`crate::Code::WrongExpectedRevision`],
    /// [`crate::Code::StreamDeleted`], [`crate::Code::StreamTombstoned`] with every failed check;
    /// [`crate::Code::ConditionFailed`]; [`crate::Code::Overloaded`]; [`crate::Code::DiskFull`];
    /// [`crate::Code::OutcomeUnknown`]: the events may be there, and the same append sent again tells.
    fn append(&self, request: AppendRequest) -> impl Future<Output = Result<Receipt>> + Send;

    /// Reads one page.
    ///
    /// # Errors
    /// [`crate::Code::StreamNotFound`], [`crate::Code::StreamDeleted`], [`crate::Code::StreamTombstoned`]; the
    /// `Invalid…` code of a bound that is exceeded; [`crate::Code::Corrupted`].
    fn read(&self, request: &ReadRequest) -> impl Future<Output = Result<Page>> + Send;

    /// Reads whole frames, from the one that holds a position: at least one if there is one, then as many as fit `bytes_max`.
    /// [`crate::frame::events`] decodes them. The fastest way to read everything. Frames are as they are stored, but those
    /// with payloads the store sealed are opened, and are then nothing to copy a log from.
    ///
    /// # Errors
    /// [`crate::Code::Corrupted`].
    fn read_frames(&self, from: Position, bytes_max: usize) -> impl Future<Output = Result<Frames>> + Send;

    /// Begins to follow a selector: catch-up, then live, every event once and in order.
    ///
    /// # Errors
    /// The `Invalid…` code of a bound that is exceeded.
    fn follow(&self, request: FollowRequest) -> impl Future<Output = Result<Self::Follower>> + Send;

    /// All events with this id, oldest first, at most 100: the same id may stand in several streams.
    ///
    /// # Errors
    /// [`crate::Code::Corrupted`].
    fn events_by_id(&self, id: EventId) -> impl Future<Output = Result<Vec<StoredEvent>>> + Send;

    /// The event at a position.
    ///
    /// # Errors
    /// [`crate::Code::EventNotFound`] at or beyond the head.
    fn event_at(&self, position: Position) -> impl Future<Output = Result<StoredEvent>> + Send;

    /// What is known of a stream.
    ///
    /// # Errors
    /// [`crate::Code::StreamNotFound`] if it never had an event.
    fn stream_info(&self, stream: &StreamName) -> impl Future<Output = Result<StreamInfo>> + Send;

    /// A page of streams in order of creation.
    ///
    /// # Errors
    /// [`crate::Code::InvalidLimit`].
    fn streams(&self, request: &StreamListRequest) -> impl Future<Output = Result<StreamList>> + Send;

    /// Deletes a stream: its events are no longer shown, and the next append reopens it with the next revision.
    ///
    /// # Errors
    /// As [`EventStore::append`]; a stream that never existed is a [`crate::Code::WrongExpectedRevision`].
    fn delete_stream(
        &self,
        stream: &StreamName,
        expected: Expected,
    ) -> impl Future<Output = Result<Receipt>> + Send;

    /// Ends a stream for ever.
    ///
    /// # Errors
    /// As [`EventStore::append`].
    fn tombstone_stream(
        &self,
        stream: &StreamName,
        expected: Expected,
    ) -> impl Future<Output = Result<Receipt>> + Send;

    /// Hides a stream's events below a revision; its other metadata stays.
    ///
    /// # Errors
    /// As [`EventStore::append`]; [`crate::Code::BadRequest`] for a revision beyond the stream's end.
    fn truncate_stream(
        &self,
        stream: &StreamName,
        before: Revision,
    ) -> impl Future<Output = Result<Receipt>> + Send;

    /// Replaces a stream's metadata object. `expected` is the revision of the metadata stream.
    ///
    /// # Errors
    /// As [`EventStore::append`]; [`crate::Code::InvalidMetadata`].
    fn set_stream_metadata(
        &self,
        stream: &StreamName,
        expected: Expected,
        json: Bytes,
    ) -> impl Future<Output = Result<Receipt>> + Send;

    /// A stream's metadata object, and its revision in the metadata stream.
    ///
    /// # Errors
    /// [`crate::Code::Corrupted`].
    fn stream_metadata(
        &self,
        stream: &StreamName,
    ) -> impl Future<Output = Result<Option<(Revision, Bytes)>>> + Send;

    /// Keeps a stream's state at a revision, so that readers need only the events after it. Durable when this resolves. As many
    /// are kept as the snapshot says, the newest ones; the very same snapshot again stores nothing. What was read of the stream
    /// before events of it were erased must not be put afterwards: the store cannot see what a state is made of.
    ///
    /// # Errors
    /// [`crate::Code::SnapshotAhead`] for a revision that the stream has not reached; [`crate::Code::SnapshotOutdated`] if there
    /// is a newer one; [`crate::Code::InvalidSnapshot`] for a hidden revision, a system stream, a name or a number out of bounds;
    /// [`crate::Code::EventTooLarge`]; otherwise as [`EventStore::append`] and [`EventStore::read`].
    fn put_snapshot(&self, new: &NewSnapshot) -> impl Future<Output = Result<SnapshotReceipt>> + Send;

    /// The newest snapshot of a stream; with `at_or_before` the newest of those of this revision or an earlier one. One of a
    /// stream that was deleted and reopened since, and one whose next event is hidden, serve no longer.
    ///
    /// # Errors
    /// [`crate::Code::SnapshotNotFound`]; [`crate::Code::SnapshotForeign`] if it is not made of the event it names; otherwise as
    /// [`EventStore::read`] of the stream.
    fn snapshot(
        &self,
        stream: &StreamName,
        at_or_before: Option<Revision>,
    ) -> impl Future<Output = Result<Snapshot>> + Send;

    /// Drops all snapshots of a stream.
    ///
    /// # Errors
    /// [`crate::Code::SnapshotNotFound`]; otherwise as [`EventStore::append`].
    fn delete_snapshot(&self, stream: &StreamName) -> impl Future<Output = Result<Receipt>> + Send;

    /// Reads the newest snapshot that serves and the first page of events after it, without a gap between the two. Without a
    /// snapshot the page begins with the first event.
    ///
    /// # Errors
    /// [`crate::Code::SnapshotForeign`] as [`EventStore::snapshot`]; otherwise as [`EventStore::read`].
    fn read_from_snapshot(
        &self,
        request: &FromSnapshotRequest,
    ) -> impl Future<Output = Result<FromSnapshot>> + Send;

    /// Counts of events, streams and bytes.
    ///
    /// # Errors
    /// None but those of the network.
    fn stats(&self) -> impl Future<Output = Result<Stats>> + Send;

    /// Identity and size.
    ///
    /// # Errors
    /// None but those of the network.
    fn info(&self) -> impl Future<Output = Result<StoreInfo>> + Send;
}

/// The steps of a read that never ends.
pub trait FollowSteps: Send + 'static {
    /// The next step; waits for it. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`crate::Code::StreamTombstoned`] after the tombstone of a stream that ended; [`crate::Code::Closed`] when the
    /// store is closed; otherwise as [`EventStore::read`]. There is no step after an error.
    fn next_step(&mut self) -> impl Future<Output = Result<FollowStep>> + Send;
}
