//! `AppendSession`: a request for each stream, and one answer when the client has said all.

use super::{Sum, position, record, refused, rich, store, writable};
use crate::server::grpc::answer::{message, whole};
use crate::server::grpc::message::{Messages, decode};
use crate::server::kurrent::errors::{ANY, EXISTS, NO_STREAM, Refusal};
use crate::server::kurrent::{Answer, Call};
use graven_model::{AppendRequest, Code, Expected, Revision, StreamWrite};
use graven_proto::kurrentdb::v2::{AppendRequest as Request, AppendResponse, AppendSessionResponse};
use graven_proto::kurrentdb::v2_errors::StreamAlreadyInAppendSessionErrorDetails;
use std::collections::HashSet;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Code as GrpcCode;

/// All requests of a session, as one append.
struct Session {
    request: AppendRequest,
    sum: Sum,
    /// Bytes it was on its way, and the room they take.
    bytes: usize,
    room: OwnedSemaphorePermit,
}

/// Answers a call.
pub(super) async fn append(call: Call) -> Answer {
    let Call { app, body, .. } = call;
    let mut messages = Messages::new(app.clone(), body, false);
    let Session { request, sum, bytes, room } = match gather(&mut messages, || app.new_event_id()).await {
        Ok(session) => session,
        Err(refusal) => {
            messages.discard().await;
            return Err(refusal);
        }
    };
    let receipt = store(&app, request, bytes, room).await.map_err(|error| refused(&error, &sum))?;
    let output = receipt.streams.iter().map(|stream| AppendResponse {
        stream: stream.stream.as_str().to_owned(),
        stream_revision: stream.revision.and_then(|revision| i64::try_from(revision.0).ok()),
        position: None,
    });
    let answer = AppendSessionResponse { output: output.collect(), position: position(&receipt) };
    Ok(whole(message(&answer)))
}

async fn gather(
    messages: &mut Messages,
    mut new_id: impl FnMut() -> graven_model::EventId,
) -> Result<Session, Refusal> {
    let mut session: Option<Session> = None;
    let mut named = HashSet::new();
    while let Some(held) = messages.next().await.map_err(rich)? {
        let part: Request = decode(&held.bytes).map_err(rich)?;
        let session = match &mut session {
            Some(session) => {
                session.bytes += held.bytes.len();
                session.room.merge(held.room);
                session
            }
            None => session.insert(Session {
                request: AppendRequest::default(),
                sum: Sum::default(),
                bytes: held.bytes.len(),
                room: held.room,
            }),
        };
        add(session, &mut named, part, &mut new_id)?;
    }
    session.ok_or_else(|| {
        let reason = "APPEND_SESSION_NO_REQUESTS";
        Refusal::bare(GrpcCode::FailedPrecondition, reason, "the session ended without a request")
    })
}

fn add(
    session: &mut Session,
    named: &mut HashSet<String>,
    part: Request,
    new_id: &mut impl FnMut() -> graven_model::EventId,
) -> Result<(), Refusal> {
    let Request { stream, records, expected_revision } = part;
    let stream = writable("stream", &stream)?;
    if !named.insert(stream.as_str().to_lowercase()) {
        let details = StreamAlreadyInAppendSessionErrorDetails { stream: stream.as_str().to_owned() };
        let text = format!("the session appends to stream {:?} already", stream.as_str());
        let reason = "STREAM_ALREADY_IN_APPEND_SESSION";
        return Err(Refusal::detailed(Code::InvalidAppend, GrpcCode::Aborted, reason, &text, &details));
    }
    let expected = match expected_revision {
        None | Some(ANY) => Expected::Any,
        Some(NO_STREAM) => Expected::NoStream,
        Some(EXISTS) => Expected::Exists,
        Some(number) => {
            let revision = u64::try_from(number).map_err(|_| {
                let what = format!("{number} is no revision, and none of {NO_STREAM}, {ANY} and {EXISTS}");
                Refusal::bad_request(Code::InvalidAppend, "expected_revision", &what)
            })?;
            Expected::Revision(Revision(revision))
        }
    };
    if records.is_empty() {
        let what = format!("there is nothing to append to stream {:?}", stream.as_str());
        return Err(Refusal::bad_request(Code::InvalidAppend, "records", &what));
    }
    let index = u32::try_from(session.request.streams.len()).expect("every stream takes a message");
    for (at, record) in records.into_iter().enumerate() {
        let (event, bytes) = record::event(at, stream.as_str(), record, &mut *new_id)?;
        session.sum.add(bytes)?;
        session.request.events.push((index, event));
    }
    session.request.streams.push(StreamWrite { stream, expected });
    Ok(())
}
