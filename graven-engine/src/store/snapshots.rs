//! The front door to snapshots.

use super::Store;
use crate::append::Operation;
use crate::snapshot::{self, Put};
use graven_model::{
    Code, Error, EventId, FromSnapshot, FromSnapshotRequest, NewSnapshot, Receipt, Result, Revision,
    Snapshot, SnapshotReceipt, StreamName,
};

impl Store {
    /// Keeps a stream's state at a revision, so that readers need only the events after it. Durable when this returns. The
    /// newest ones are kept, as many as the snapshot says; older ones are hidden, and dropped by the next
    /// [`Store::scavenge`]. The very same snapshot again stores nothing.
    ///
    /// What was read of the stream before events of it were erased must not be put afterwards: the store cannot see what
    /// a state is made of.
    ///
    /// # Errors
    /// [`Code::SnapshotAhead`] for a revision that the stream has not reached; [`Code::SnapshotOutdated`] if there is a newer
    /// one; [`Code::InvalidSnapshot`] for a hidden revision, a system stream, a name or a number out of bounds;
    /// [`Code::StreamNotFound`], [`Code::StreamDeleted`], [`Code::StreamTombstoned`]; [`Code::EventTooLarge`],
    /// [`Code::InvalidJson`], [`Code::InvalidContentType`], [`Code::InvalidDataSubject`]; otherwise as [`Store::append`].
    pub fn put_snapshot(&self, new: &NewSnapshot) -> Result<SnapshotReceipt> {
        self.inner.path()?;
        let _none_is_erased = self.inner.shared.eraser.snapshots.blocking_read();
        for _ in 0..snapshot::TRIES_MAX {
            let request = match self.plan_snapshot(new)? {
                Put::Done(receipt) => return Ok(receipt),
                Put::Append(request) => request,
            };
            if let Some(receipt) = unless_others_were_faster(self.queue(Operation::Own, request)?.wait())? {
                return Ok(stored(&receipt));
            }
        }
        Err(contended(&new.stream))
    }

    pub(super) async fn put_snapshot_later(&self, new: &NewSnapshot) -> Result<SnapshotReceipt> {
        self.inner.path()?;
        let _none_is_erased = self.inner.shared.eraser.snapshots.read().await;
        for _ in 0..snapshot::TRIES_MAX {
            let request = match self.plan_snapshot(new)? {
                Put::Done(receipt) => return Ok(receipt),
                Put::Append(request) => request,
            };
            if let Some(receipt) = unless_others_were_faster(self.queue(Operation::Own, request)?.await)? {
                return Ok(stored(&receipt));
            }
        }
        Err(contended(&new.stream))
    }

    fn plan_snapshot(&self, new: &NewSnapshot) -> Result<Put> {
        snapshot::put(&self.inner.shared, new, || self.new_id())
    }

    fn new_id(&self) -> EventId {
        EventId(self.inner.entropy.lock().bytes())
    }

    /// The newest snapshot of a stream; with `at_or_before` the newest of those of this revision or an earlier one. It is
    /// compared with the event it is made of. One of a stream that was deleted and reopened since, and one whose next event
    /// is hidden, serve no longer.
    ///
    /// # Errors
    /// [`Code::SnapshotNotFound`]; [`Code::SnapshotForeign`] if it is not made of the event it names; otherwise as
    /// [`Store::read`] of the stream.
    pub fn snapshot(&self, stream: &StreamName, at_or_before: Option<Revision>) -> Result<Snapshot> {
        snapshot::find(&self.inner.shared, stream, at_or_before)?.ok_or_else(|| snapshot::not_found(stream))
    }

    /// Drops all snapshots of a stream: they are hidden at once, and their bytes go with the next [`Store::scavenge`].
    ///
    /// # Errors
    /// [`Code::SnapshotNotFound`]; [`Code::InvalidSnapshot`] for a stream that cannot have any; otherwise as
    /// [`Store::append`].
    pub fn delete_snapshot(&self, stream: &StreamName) -> Result<Receipt> {
        self.inner.path()?;
        for _ in 0..snapshot::TRIES_MAX {
            let request = snapshot::delete(&self.inner.shared, stream, self.new_id())?;
            if let Some(receipt) = unless_others_were_faster(self.queue(Operation::Own, request)?.wait())? {
                return Ok(receipt);
            }
        }
        Err(contended(stream))
    }

    pub(super) async fn delete_snapshot_later(&self, stream: &StreamName) -> Result<Receipt> {
        self.inner.path()?;
        for _ in 0..snapshot::TRIES_MAX {
            let request = snapshot::delete(&self.inner.shared, stream, self.new_id())?;
            if let Some(receipt) = unless_others_were_faster(self.queue(Operation::Own, request)?.await)? {
                return Ok(receipt);
            }
        }
        Err(contended(stream))
    }

    /// Reads the newest snapshot that serves and the first page of events after it, without a gap between the two. Without a
    /// snapshot the page begins with the first event. Blocks on file reads.
    ///
    /// # Errors
    /// [`Code::SnapshotForeign`] as [`Store::snapshot`]; otherwise as [`Store::read`].
    pub fn read_from_snapshot(&self, request: &FromSnapshotRequest) -> Result<FromSnapshot> {
        snapshot::read_from(&self.inner.shared, request)
    }
}

/// The receipt of an append; `None` if somebody else changed the same snapshots first.
fn unless_others_were_faster(outcome: Result<Receipt>) -> Result<Option<Receipt>> {
    match outcome {
        Ok(receipt) => Ok(Some(receipt)),
        Err(error) if error.code == Code::WrongExpectedRevision => Ok(None),
        Err(error) => Err(error),
    }
}

fn stored(receipt: &Receipt) -> SnapshotReceipt {
    SnapshotReceipt { position: receipt.first_position, taken_at: receipt.committed_at, stored: true }
}

fn contended(stream: &StreamName) -> Error {
    Error::new(
        Code::Overloaded,
        format!("others change the snapshots of stream {:?} at the same time", stream.as_str()),
    )
}
