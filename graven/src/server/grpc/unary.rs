//! Calls of one message and one answer.

use super::answer::{message, whole};
use super::message::Messages;
use super::{Call, audit, snapshots, words};
use crate::server::audit::receipt;
use crate::server::node::Place;
use crate::server::{App, append, blocking};
use axum::body::Body;
use axum::http::Response;
use graven_engine::{Store, StreamListRequest};
use graven_model::{AppendRequest, Position, Receipt, Result, Revision, StreamName};
use graven_proto::{session, wire};
use prost::Message;
use std::sync::Arc;
use tokio::time::Instant;

/// Answers the call of a method.
///
/// # Errors
/// Those of the store, and of reading the message.
pub(super) async fn answer(method: &str, call: Call) -> Result<Response<Body>> {
    let Call { app, body, deadline, .. } = call;
    match method {
        "Append" => append(app, body).await,
        "EventAt" => {
            read(app, body, deadline, |store, request: wire::EventAtRequest| {
                Ok(wire::StoredEvent::from(&store.event_at(Position(request.position))?))
            })
            .await
        }
        "EventsById" => {
            read(app, body, deadline, |store, request: wire::EventsByIdRequest| {
                let found = store.events_by_id(graven_proto::event_id(&request)?)?;
                Ok(wire::Events { events: found.iter().map(wire::StoredEvent::from).collect() })
            })
            .await
        }
        "Streams" => {
            read_much(app, body, deadline, |store, request: wire::StreamsRequest| {
                let default = StreamListRequest::default().limit;
                let page = store.streams(&StreamListRequest {
                    prefix: request.prefix.into(),
                    after: request.after.map(Position),
                    limit: if request.limit == 0 { default } else { request.limit },
                    include_system: request.include_system,
                })?;
                Ok(words::stream_list(&page))
            })
            .await
        }
        "StreamInfo" => {
            read(app, body, deadline, |store, request: wire::StreamRequest| {
                Ok(words::stream_info(&store.stream_info(&StreamName::new(request.stream)?)?))
            })
            .await
        }
        "StreamMetadata" => {
            read(app, body, deadline, |store, request: wire::StreamRequest| {
                let found = store.stream_metadata(&StreamName::new(request.stream)?)?;
                let (revision, metadata) = found.unzip();
                Ok(wire::StreamMetadataResponse { metadata, revision: revision.map(|revision| revision.0) })
            })
            .await
        }
        "SetStreamMetadata" => {
            change(app, body, |store, request: wire::SetStreamMetadataRequest| {
                let expected = graven_proto::expected(request.expected)?;
                store.set_stream_metadata(&StreamName::new(request.stream)?, expected, request.metadata)
            })
            .await
        }
        "TruncateStream" => {
            change(app, body, |store, request: wire::TruncateStreamRequest| {
                store.truncate_stream(&StreamName::new(request.stream)?, Revision(request.before))
            })
            .await
        }
        "DeleteStream" => {
            change(app, body, |store, request: wire::EndStreamRequest| {
                let expected = graven_proto::expected(request.expected)?;
                store.delete_stream(&StreamName::new(request.stream)?, expected)
            })
            .await
        }
        "TombstoneStream" => {
            change(app, body, |store, request: wire::EndStreamRequest| {
                let expected = graven_proto::expected(request.expected)?;
                store.tombstone_stream(&StreamName::new(request.stream)?, expected)
            })
            .await
        }
        "Stats" => {
            read_much(app, body, deadline, |store, _: wire::StatsRequest| Ok(words::stats(&store.stats())))
                .await
        }
        "Info" => {
            read(app, body, deadline, |store, _: wire::InfoRequest| Ok(words::info(store.info()))).await
        }
        "Node" => {
            let wire::NodeRequest {} = Messages::only(app.clone(), body).await?;
            Ok(whole(message(&words::node(&Place::of(&app)))))
        }
        "PutSnapshot" => snapshots::put(app, body).await,
        "Snapshot" => {
            read_much(app, body, deadline, |store, request: wire::SnapshotRequest| {
                let at_or_before = request.at_or_before.map(Revision);
                let snapshot = store.snapshot(&StreamName::new(request.stream)?, at_or_before)?;
                Ok(wire::SnapshotResponse::from(&snapshot))
            })
            .await
        }
        "ReadFromSnapshot" => {
            read_much(app, body, deadline, |store, request: wire::ReadFromSnapshotRequest| {
                Ok(wire::ReadFromSnapshotResponse::from(&store.read_from_snapshot(&request.try_into()?)?))
            })
            .await
        }
        "DeleteSnapshot" => {
            change(app, body, |store, request: wire::StreamRequest| {
                store.delete_snapshot(&StreamName::new(request.stream)?)
            })
            .await
        }
        method => audit::answer(method, app, body).await,
    }
}

/// An append that asks for no more than the server gives.
pub(super) fn bounded(mut request: AppendRequest) -> AppendRequest {
    request.unseen_max = request.unseen_max.min(graven_model::limits::UNSEEN_EVENTS_MAX);
    request
}

async fn append(app: Arc<App>, body: Body) -> Result<Response<Body>> {
    let held = Messages::only_bytes(app.clone(), body).await?;
    let proven = session::asks_for_proof(&held.bytes)?;
    if proven {
        receipt::check(&app).await?;
    }
    let receipt = append::submit(&app, held, |bytes| session::read_append(bytes).map(bounded)).await?;
    let mut answer = wire::Receipt::from(&receipt);
    if proven {
        answer.proof = receipt::prove(&app, &receipt).await?.unwrap_or_default();
    }
    Ok(whole(message(&answer)))
}

/// A question that may want to see an event.
trait Read: Message + Default + 'static {
    fn min_position(&self) -> Option<u64>;
}

macro_rules! reads {
    ($($message:ident)*) => {
        $(impl Read for wire::$message {
            fn min_position(&self) -> Option<u64> {
                self.min_position
            }
        })*
    };
}

reads! {
    EventAtRequest EventsByIdRequest StreamsRequest StreamRequest SnapshotRequest ReadFromSnapshotRequest
    StatsRequest InfoRequest
}

async fn read<Asked: Read, Answered: Message>(
    app: Arc<App>,
    body: Body,
    deadline: Option<Instant>,
    work: impl FnOnce(&Store, Asked) -> Result<Answered> + Send + 'static,
) -> Result<Response<Body>> {
    let asked: Asked = Messages::only(app.clone(), body).await?;
    app.reach(asked.min_position(), deadline).await?;
    let text = app.read_short(move |store| Ok(message(&work(store, asked)?))).await?;
    Ok(whole(app.answers.hold(text).await))
}

async fn read_much<Asked: Read, Answered: Message>(
    app: Arc<App>,
    body: Body,
    deadline: Option<Instant>,
    work: impl FnOnce(&Store, Asked) -> Result<Answered> + Send + 'static,
) -> Result<Response<Body>> {
    let asked: Asked = Messages::only(app.clone(), body).await?;
    app.reach(asked.min_position(), deadline).await?;
    let text = app.read(move |store| Ok(message(&work(store, asked)?))).await?;
    Ok(whole(app.answers.hold(text).await))
}

async fn change<Asked: Message + Default + 'static>(
    app: Arc<App>,
    body: Body,
    work: impl FnOnce(&Store, Asked) -> Result<Receipt> + Send + 'static,
) -> Result<Response<Body>> {
    let asked = Messages::only(app.clone(), body).await?;
    let with_store = app.clone();
    let receipt = blocking(move || work(&with_store.store, asked)).await?;
    app.metrics.appended(&receipt, 0);
    Ok(whole(message(&wire::Receipt::from(&receipt))))
}
