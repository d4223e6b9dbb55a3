//! [`EventStore`] for a store in this process: the same verbs as [`Store`]'s own, which block, for async callers.
//!
//! Appends, deletions and followers wait without blocking. **Reads run inline**, on the thread that polls them, since a
//! read from memory or the page cache is shorter than a hop to another thread; where the log is far larger than memory,
//! call [`Store`]'s own methods on a thread that may block instead.

use super::Store;
use crate::read::follow::Follower;
use bytes::Bytes;
use graven_model::{
    AppendRequest, EventId, EventStore, Expected, FollowRequest, FollowStep, FollowSteps, Frames,
    FromSnapshot, FromSnapshotRequest, NewSnapshot, Page, Position, ReadRequest, Receipt, Result, Revision,
    Snapshot, SnapshotReceipt, Stats, StoreInfo, StoredEvent, StreamInfo, StreamList, StreamListRequest,
    StreamName,
};

impl EventStore for Store {
    type Follower = Follower;

    async fn append(&self, request: AppendRequest) -> Result<Receipt> {
        let unseen_max = request.unseen_max;
        self.submit(request)?.await.map_err(|error| self.with_unseen(error, unseen_max))
    }

    async fn read(&self, request: &ReadRequest) -> Result<Page> {
        Store::read(self, request)
    }

    async fn read_frames(&self, from: Position, bytes_max: usize) -> Result<Frames> {
        Store::read_opened_frames(self, from, bytes_max)
    }

    async fn follow(&self, request: FollowRequest) -> Result<Follower> {
        Store::follow(self, request)
    }

    async fn events_by_id(&self, id: EventId) -> Result<Vec<StoredEvent>> {
        Store::events_by_id(self, id)
    }

    async fn event_at(&self, position: Position) -> Result<StoredEvent> {
        Store::event_at(self, position)
    }

    async fn stream_info(&self, stream: &StreamName) -> Result<StreamInfo> {
        Store::stream_info(self, stream)
    }

    async fn streams(&self, request: &StreamListRequest) -> Result<StreamList> {
        Store::streams(self, request)
    }

    async fn delete_stream(&self, stream: &StreamName, expected: Expected) -> Result<Receipt> {
        self.submit_deletion(stream, expected)?.await
    }

    async fn tombstone_stream(&self, stream: &StreamName, expected: Expected) -> Result<Receipt> {
        self.submit_tombstone(stream, expected)?.await
    }

    async fn truncate_stream(&self, stream: &StreamName, before: Revision) -> Result<Receipt> {
        EventStore::append(self, self.truncation(stream, before)?).await
    }

    async fn set_stream_metadata(
        &self,
        stream: &StreamName,
        expected: Expected,
        json: Bytes,
    ) -> Result<Receipt> {
        EventStore::append(self, self.metadata_append(stream, expected, json)?).await
    }

    async fn stream_metadata(&self, stream: &StreamName) -> Result<Option<(Revision, Bytes)>> {
        Store::stream_metadata(self, stream)
    }

    async fn put_snapshot(&self, new: &NewSnapshot) -> Result<SnapshotReceipt> {
        self.put_snapshot_later(new).await
    }

    async fn snapshot(&self, stream: &StreamName, at_or_before: Option<Revision>) -> Result<Snapshot> {
        Store::snapshot(self, stream, at_or_before)
    }

    async fn delete_snapshot(&self, stream: &StreamName) -> Result<Receipt> {
        self.delete_snapshot_later(stream).await
    }

    async fn read_from_snapshot(&self, request: &FromSnapshotRequest) -> Result<FromSnapshot> {
        Store::read_from_snapshot(self, request)
    }

    async fn stats(&self) -> Result<Stats> {
        Ok(Store::stats(self))
    }

    async fn info(&self) -> Result<StoreInfo> {
        Ok(Store::info(self))
    }
}

impl FollowSteps for Follower {
    async fn next_step(&mut self) -> Result<FollowStep> {
        loop {
            if let Some(step) = self.poll_next()? {
                return Ok(step);
            }
            self.wait().await?;
        }
    }
}
