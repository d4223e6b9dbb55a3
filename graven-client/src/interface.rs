//! [`EventStore`] over the network.

use crate::append::append;
use crate::client::{Client, Repeat};
use crate::follow::Follower;
use crate::{answers, snapshots, words};
use bytes::Bytes;
use graven_model::{
    AppendRequest, Code, Error, EventId, EventStore, Expected, FollowRequest, Frames, FromSnapshot,
    FromSnapshotRequest, NewSnapshot, Page, Position, ReadRequest, Receipt, Result, Revision, Snapshot,
    SnapshotReceipt, Stats, StoreInfo, StoredEvent, StreamInfo, StreamList, StreamListRequest, StreamName,
    limits,
};
use graven_proto::wire;
use tracing::{Instrument as _, debug_span};

impl EventStore for Client {
    type Follower = Follower;

    async fn append(&self, request: AppendRequest) -> Result<Receipt> {
        let span = debug_span!("append", streams = request.streams.len(), events = request.events.len());
        append(self.gathered(), self.options(), request).instrument(span).await
    }

    async fn read(&self, request: &ReadRequest) -> Result<Page> {
        within("the number of events a page", request.limit, limits::PAGE_EVENTS_MAX)?;
        let mut message = wire::ReadRequest::from(request);
        message.page_bytes = message.page_bytes.max(1);
        message.min_position = self.min_position();
        let page = self.call("the read", Repeat::Freely, message, async |_, message| {
            let mut pages = answers::pages(self.reads(), message).await?.into_inner();
            // One page was asked for; waiting for the end of the stream keeps it from being cut off.
            let page = pages.message().await?;
            while page.is_some() && pages.message().await?.is_some() {}
            Ok(tonic::Response::new(page))
        });
        page.instrument(debug_span!("read")).await?.ok_or_else(empty)
    }

    async fn read_frames(&self, from: Position, bytes_max: usize) -> Result<Frames> {
        let message = wire::ReadFramesRequest {
            from: from.0,
            page_bytes: (bytes_max as u64).max(1),
            follow: false,
            min_position: self.min_position(),
        };
        let frames = self.call("the read", Repeat::Freely, message, async |mut service, message| {
            let mut frames = service.read_frames(message).await?.into_inner();
            Ok(tonic::Response::new(frames.message().await?))
        });
        match frames.instrument(debug_span!("read_frames")).await? {
            Some(frames) => Ok(words::frames(frames)),
            None => {
                let head = self.info().await?.head;
                Ok(Frames { bytes: Bytes::new(), first: from, next: from, head })
            }
        }
    }

    async fn follow(&self, request: FollowRequest) -> Result<Follower> {
        within("the number of events a step", request.page_events, limits::PAGE_EVENTS_MAX)?;
        Follower::open(self.clone(), request).instrument(debug_span!("follow")).await
    }

    async fn events_by_id(&self, id: EventId) -> Result<Vec<StoredEvent>> {
        let message =
            wire::EventsByIdRequest { id: Bytes::copy_from_slice(&id.0), min_position: self.min_position() };
        let events = self.call("the look-up", Repeat::Freely, message, async |mut service, message| {
            service.events_by_id(message).await
        });
        events.await?.events.into_iter().map(StoredEvent::try_from).collect()
    }

    async fn event_at(&self, position: Position) -> Result<StoredEvent> {
        let message = wire::EventAtRequest { position: position.0, min_position: self.min_position() };
        let event = self.call("the look-up", Repeat::Freely, message, async |mut service, message| {
            service.event_at(message).await
        });
        event.await?.try_into()
    }

    async fn stream_info(&self, stream: &StreamName) -> Result<StreamInfo> {
        let message =
            wire::StreamRequest { stream: stream.as_str().to_owned(), min_position: self.min_position() };
        let info = self.call("the look-up", Repeat::Freely, message, async |mut service, message| {
            service.stream_info(message).await
        });
        words::stream_info(info.await?)
    }

    async fn streams(&self, request: &StreamListRequest) -> Result<StreamList> {
        within("the number of streams a page", request.limit, limits::STREAM_LIST_MAX)?;
        let message = wire::StreamsRequest {
            prefix: request.prefix.to_string(),
            after: request.after.map(|after| after.0),
            limit: request.limit,
            include_system: request.include_system,
            min_position: self.min_position(),
        };
        let list = self.call("the listing", Repeat::Freely, message, async |mut service, message| {
            service.streams(message).await
        });
        let list = list.await?;
        Ok(StreamList {
            streams: list.streams.into_iter().map(words::stream_info).collect::<Result<_>>()?,
            next: list.next.map(Position),
        })
    }

    async fn delete_stream(&self, stream: &StreamName, expected: Expected) -> Result<Receipt> {
        let message =
            wire::EndStreamRequest { stream: stream.as_str().to_owned(), expected: Some(expected.into()) };
        let receipt =
            self.call("the deletion", Repeat::IfUntouched, message, async |mut service, message| {
                service.delete_stream(message).await
            });
        self.acknowledged(receipt.await?)
    }

    async fn tombstone_stream(&self, stream: &StreamName, expected: Expected) -> Result<Receipt> {
        let message =
            wire::EndStreamRequest { stream: stream.as_str().to_owned(), expected: Some(expected.into()) };
        let receipt =
            self.call("the tombstone", Repeat::IfUntouched, message, async |mut service, message| {
                service.tombstone_stream(message).await
            });
        self.acknowledged(receipt.await?)
    }

    async fn truncate_stream(&self, stream: &StreamName, before: Revision) -> Result<Receipt> {
        let message = wire::TruncateStreamRequest { stream: stream.as_str().to_owned(), before: before.0 };
        let receipt =
            self.call("the truncation", Repeat::IfUntouched, message, async |mut service, message| {
                service.truncate_stream(message).await
            });
        self.acknowledged(receipt.await?)
    }

    async fn set_stream_metadata(
        &self,
        stream: &StreamName,
        expected: Expected,
        json: Bytes,
    ) -> Result<Receipt> {
        let message = wire::SetStreamMetadataRequest {
            stream: stream.as_str().to_owned(),
            expected: Some(expected.into()),
            metadata: json,
        };
        let receipt =
            self.call("the metadata", Repeat::IfUntouched, message, async |mut service, message| {
                service.set_stream_metadata(message).await
            });
        self.acknowledged(receipt.await?)
    }

    async fn stream_metadata(&self, stream: &StreamName) -> Result<Option<(Revision, Bytes)>> {
        let message =
            wire::StreamRequest { stream: stream.as_str().to_owned(), min_position: self.min_position() };
        let metadata = self.call("the look-up", Repeat::Freely, message, async |mut service, message| {
            service.stream_metadata(message).await
        });
        let metadata = metadata.await?;
        Ok(metadata.revision.map(Revision).zip(metadata.metadata))
    }

    async fn put_snapshot(&self, new: &NewSnapshot) -> Result<SnapshotReceipt> {
        snapshots::put(self, new).await
    }

    async fn snapshot(&self, stream: &StreamName, at_or_before: Option<Revision>) -> Result<Snapshot> {
        snapshots::get(self, stream, at_or_before).await
    }

    async fn delete_snapshot(&self, stream: &StreamName) -> Result<Receipt> {
        snapshots::delete(self, stream).await
    }

    async fn read_from_snapshot(&self, request: &FromSnapshotRequest) -> Result<FromSnapshot> {
        within("the number of events a page", request.limit, limits::PAGE_EVENTS_MAX)?;
        snapshots::read_from(self, request).await
    }

    async fn stats(&self) -> Result<Stats> {
        let message = wire::StatsRequest { min_position: self.min_position() };
        let stats = self.call("the look-up", Repeat::Freely, message, async |mut service, message| {
            service.stats(message).await
        });
        Ok(words::stats(stats.await?))
    }

    async fn info(&self) -> Result<StoreInfo> {
        let message = wire::InfoRequest { min_position: self.min_position() };
        let info = self.call("the look-up", Repeat::Freely, message, async |mut service, message| {
            service.info(message).await
        });
        words::store_info(info.await?)
    }
}

/// On the wire 0 is the server's choice; here it is out of bounds, as it is for the engine.
fn within(what: &str, number: u32, most: u32) -> Result<()> {
    if (1..=most).contains(&number) {
        return Ok(());
    }
    Err(Error::new(Code::InvalidLimit, format!("{what} is out of bounds"))
        .expected(format!("1 to {most}"))
        .found(number.to_string()))
}

fn empty() -> Error {
    Error::new(Code::Internal, "the server sent no page")
}
