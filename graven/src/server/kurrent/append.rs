//! `Append`: the options, then the events one by one, and one answer.

use super::errors::{About, Refusal};
use super::propose::{Events, at_revision, no_expectation};
use super::words::{check_writable, stream_name};
use super::{Answer, Call};
use crate::server::App;
use crate::server::append::submit_sized;
use crate::server::grpc::answer::{message, whole};
use crate::server::grpc::message::{Messages, decode};
use graven_model::error::Details;
use graven_model::{
    AppendRequest, Code, Error, Expected, FailedCheck, Receipt, Result, Revision, StreamName, StreamState,
};
use graven_proto::kurrentdb::shared::Empty;
use graven_proto::kurrentdb::streams::append_req::{Content, Options, options::ExpectedStreamRevision};
use graven_proto::kurrentdb::streams::append_resp::{self, Success, WrongExpectedVersion, success};
use graven_proto::kurrentdb::streams::{AppendReq, AppendResp, append_resp::wrong_expected_version as wrong};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// An append that was read whole.
struct Whole {
    stream: StreamName,
    expected: Expected,
    events: Events,
    /// Bytes it was on its way, and the room they take.
    bytes: usize,
    room: OwnedSemaphorePermit,
}

/// Answers a call.
///
/// # Errors
/// What is wrong with its messages; what the store refuses, but for a stream that is not as expected: that is an answer.
pub(super) async fn answer(call: Call) -> Answer {
    let Call { app, body, .. } = call;
    let mut messages = Messages::new(app.clone(), body, false);
    let Whole { stream, expected, events, bytes, room } = match gather(&mut messages).await {
        Ok(whole) => whole,
        Err(refusal) => {
            messages.discard().await;
            return Err(refusal);
        }
    };
    let stored = !events.events.is_empty();
    let request = AppendRequest { events: events.events, ..AppendRequest::to(stream.clone(), expected, []) };
    let outcome = submit_sized(&app, bytes, room, move || Ok(request)).await;
    let outcome = match outcome {
        Ok(receipt) if !stored => check_open(&app, &stream).await.map(|()| receipt),
        outcome => outcome,
    };
    let result = match outcome {
        Ok(receipt) => append_resp::Result::Success(success(&receipt)),
        Err(error) => match failed_check(&error) {
            Some(check) => {
                app.metrics.refused(error.code);
                append_resp::Result::WrongExpectedVersion(conflict(check))
            }
            None => return Err(Refusal::of(&error, About::stream(stream.as_str()))),
        },
    };
    Ok(whole(message(&AppendResp { result: Some(result) })))
}

async fn gather(messages: &mut Messages) -> Result<Whole, Refusal> {
    let Some(first) = messages.next().await? else {
        return Err(Refusal::invalid("the call has no message"));
    };
    let Some(Content::Options(options)) = decode::<AppendReq>(&first.bytes)?.content else {
        return Err(Refusal::invalid("the first message of an append is its options"));
    };
    let (stream, expected) = read_options(&options)?;
    check_writable(&stream)?;
    let mut whole =
        Whole { stream, expected, events: Events::default(), bytes: first.bytes.len(), room: first.room };
    while let Some(held) = messages.next().await? {
        let Some(Content::ProposedMessage(proposed)) = decode::<AppendReq>(&held.bytes)?.content else {
            return Err(Refusal::invalid("after the options of an append come its events"));
        };
        whole.events.add(proposed)?;
        whole.bytes += held.bytes.len();
        whole.room.merge(held.room);
    }
    Ok(whole)
}

fn read_options(options: &Options) -> Result<(StreamName, Expected)> {
    let expected = match options.expected_stream_revision {
        Some(ExpectedStreamRevision::Revision(revision)) => at_revision(revision)?,
        Some(ExpectedStreamRevision::NoStream(Empty {})) => Expected::NoStream,
        Some(ExpectedStreamRevision::Any(Empty {})) => Expected::Any,
        Some(ExpectedStreamRevision::StreamExists(Empty {})) => Expected::Exists,
        None => return Err(no_expectation()),
    };
    Ok((stream_name(options.stream_identifier.as_ref())?, expected))
}

/// Whether a stream takes appends: one of no events is judged as a check, which a tombstone may pass.
///
/// # Errors
/// [`Code::StreamTombstoned`]; those of the store.
pub(super) async fn check_open(app: &Arc<App>, stream: &StreamName) -> Result<()> {
    let stream = stream.clone();
    let info = app.read_short(move |store| store.stream_info(&stream)).await;
    match info {
        Ok(info) if info.state == StreamState::Tombstoned => Err(Error::new(
            Code::StreamTombstoned,
            format!("stream {:?} was tombstoned", info.stream.as_str()),
        )),
        Err(error) if error.code != Code::StreamNotFound => Err(error),
        _ => Ok(()),
    }
}

/// The check that did not hold, if that is what the error says.
pub(super) fn failed_check(error: &Error) -> Option<&FailedCheck> {
    match &error.details {
        Details::FailedChecks(checks) if error.code == Code::WrongExpectedRevision => checks.first(),
        _ => None,
    }
}

/// A stream's last revision, if it has one.
pub(super) fn last_revision(state: StreamState) -> Option<Revision> {
    match state {
        StreamState::NoStream => None,
        StreamState::At(last) | StreamState::SoftDeleted(last) => Some(last),
        StreamState::Tombstoned => Some(Revision::TOMBSTONE),
    }
}

fn success(receipt: &Receipt) -> Success {
    let revision = receipt.streams.first().and_then(|stream| stream.revision);
    let position =
        |position: u64| append_resp::Position { commit_position: position, prepare_position: position };
    Success {
        current_revision_option: Some(match revision {
            Some(revision) => success::CurrentRevisionOption::CurrentRevision(revision.0),
            None => success::CurrentRevisionOption::NoStream(Empty {}),
        }),
        position_option: Some(match receipt.last_position {
            Some(last) => success::PositionOption::Position(position(last.0)),
            None => success::PositionOption::NoPosition(Empty {}),
        }),
    }
}

/// The answer that a stream is not as expected, in the words of both generations of clients.
fn conflict(check: &FailedCheck) -> WrongExpectedVersion {
    let (then, now) = match last_revision(check.actual) {
        Some(last) => (
            wrong::CurrentRevisionOption2060::CurrentRevision2060(last.0),
            wrong::CurrentRevisionOption::CurrentRevision(last.0),
        ),
        None => (
            wrong::CurrentRevisionOption2060::NoStream2060(Empty {}),
            wrong::CurrentRevisionOption::CurrentNoStream(Empty {}),
        ),
    };
    let (expected_then, expected_now) = match check.expected {
        // The last two are not asked for in this service.
        Expected::Any | Expected::Deleted | Expected::Tombstoned => (
            wrong::ExpectedRevisionOption2060::Any2060(Empty {}),
            wrong::ExpectedRevisionOption::ExpectedAny(Empty {}),
        ),
        Expected::Exists => (
            wrong::ExpectedRevisionOption2060::StreamExists2060(Empty {}),
            wrong::ExpectedRevisionOption::ExpectedStreamExists(Empty {}),
        ),
        Expected::NoStream => (
            wrong::ExpectedRevisionOption2060::ExpectedRevision2060(u64::MAX),
            wrong::ExpectedRevisionOption::ExpectedNoStream(Empty {}),
        ),
        Expected::Revision(revision) => (
            wrong::ExpectedRevisionOption2060::ExpectedRevision2060(revision.0),
            wrong::ExpectedRevisionOption::ExpectedRevision(revision.0),
        ),
    };
    WrongExpectedVersion {
        current_revision_option_20_6_0: Some(then),
        expected_revision_option_20_6_0: Some(expected_then),
        current_revision_option: Some(now),
        expected_revision_option: Some(expected_now),
    }
}
