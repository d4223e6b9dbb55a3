//! `AppendRecords`: records, each with its stream, in the order they are to have in the log, and checks of streams.

use super::{Sum, position, record, refused, rich, store, writable};
use crate::server::body::HeldBody;
use crate::server::grpc::answer::{message, whole};
use crate::server::grpc::message::{Messages, decode};
use crate::server::kurrent::errors::{
    DETAILS_BYTES_MAX, EXISTS, NO_STREAM, Refusal, SOFT_DELETED, TOMBSTONED, expected_number, last_number,
};
use crate::server::kurrent::{Answer, Call};
use graven_model::error::Details;
use graven_model::{
    AppendRequest, Code, Error, EventId, Expected, FailedCheck, Revision, StreamName, StreamState,
    StreamWrite,
};
use graven_proto::kurrentdb::v2::consistency_check::Type;
use graven_proto::kurrentdb::v2::{
    AppendRecordsRequest, AppendRecordsResponse, ConsistencyCheck, StreamRevision,
};
use graven_proto::kurrentdb::v2_errors::consistency_violation::{StreamStateViolation, Type as Violated};
use graven_proto::kurrentdb::v2_errors::{AppendConsistencyViolationErrorDetails, ConsistencyViolation};
use prost::Message as _;
use std::collections::HashMap;
use tonic::Code as GrpcCode;

/// An append, with what its answer needs.
struct Records {
    request: AppendRequest,
    sum: Sum,
    /// Streams that are written: they come first among the request's.
    written: usize,
    /// For every stream, which of the checks is about it.
    checks: HashMap<StreamName, usize>,
}

/// Answers a call.
pub(super) async fn append(call: Call) -> Answer {
    let Call { app, body, .. } = call;
    let HeldBody { bytes, room } = Messages::only_bytes(app.clone(), body).await.map_err(rich)?;
    let asked: AppendRecordsRequest = decode(&bytes).map_err(rich)?;
    let Records { request, sum, written, checks } = read(asked, || app.new_event_id())?;
    let receipt = match store(&app, request, bytes.len(), room).await {
        Ok(receipt) => receipt,
        Err(error) => {
            return Err(match &error.details {
                Details::FailedChecks(failed) => violated(&error, failed, &checks),
                _ => refused(&error, &sum),
            });
        }
    };
    let revisions = receipt.streams.iter().take(written).map(|stream| StreamRevision {
        stream: stream.stream.as_str().to_owned(),
        revision: stream.revision.and_then(|revision| i64::try_from(revision.0).ok()),
    });
    let answer = AppendRecordsResponse { revisions: revisions.collect(), position: position(&receipt) };
    Ok(whole(message(&answer)))
}

fn read(asked: AppendRecordsRequest, mut new_id: impl FnMut() -> EventId) -> Result<Records, Refusal> {
    let AppendRecordsRequest { records, checks } = asked;
    if records.is_empty() {
        return Err(Refusal::bad_request(Code::InvalidAppend, "records", "there is nothing to append"));
    }
    let mut read = Records {
        request: AppendRequest::default(),
        sum: Sum::default(),
        written: 0,
        checks: HashMap::new(),
    };
    let mut indexes: HashMap<String, u32> = HashMap::new();
    for (at, mut record) in records.into_iter().enumerate() {
        let name = record.stream.take().unwrap_or_default();
        let index = match indexes.get(&name) {
            Some(index) => *index,
            None => {
                let stream = writable(&format!("records[{at}].stream"), &name)?;
                let index = u32::try_from(indexes.len()).expect("every stream takes a record");
                read.request.streams.push(StreamWrite { stream, expected: Expected::Any });
                indexes.insert(name.clone(), index);
                index
            }
        };
        let (event, bytes) = record::event(at, &name, record, &mut new_id)?;
        read.sum.add(bytes)?;
        read.request.events.push((index, event));
    }
    read.written = read.request.streams.len();
    for (at, check) in checks.into_iter().enumerate() {
        let (stream, expected) = read_check(at, check)?;
        match indexes.get(stream.as_str()) {
            Some(index) => read.request.streams[*index as usize].expected = expected,
            None => read.request.streams.push(StreamWrite { stream: stream.clone(), expected }),
        }
        if read.checks.insert(stream, at).is_some() {
            let field = format!("checks[{at}].stream_state.stream");
            return Err(Refusal::bad_request(
                Code::InvalidAppend,
                &field,
                "an earlier check is about the same stream",
            ));
        }
    }
    Ok(read)
}

fn read_check(at: usize, check: ConsistencyCheck) -> Result<(StreamName, Expected), Refusal> {
    let Some(Type::StreamState(check)) = check.r#type else {
        let field = format!("checks[{at}].type");
        return Err(Refusal::bad_request(Code::InvalidAppend, &field, "the check is of a kind there is not"));
    };
    let stream = StreamName::new(check.stream).map_err(|error| {
        Refusal::bad_request(error.code, &format!("checks[{at}].stream_state.stream"), &error.to_string())
    })?;
    let expected = match check.expected_state {
        NO_STREAM => Expected::NoStream,
        EXISTS => Expected::Exists,
        SOFT_DELETED => Expected::Deleted,
        TOMBSTONED => Expected::Tombstoned,
        number => {
            let revision = u64::try_from(number).map_err(|_| {
                let what = format!(
                    "{number} is no revision, and none of {NO_STREAM}, {EXISTS}, {SOFT_DELETED} and {TOMBSTONED}"
                );
                Refusal::bad_request(
                    Code::InvalidAppend,
                    &format!("checks[{at}].stream_state.expected_state"),
                    &what,
                )
            })?;
            Expected::Revision(Revision(revision))
        }
    };
    Ok((stream, expected))
}

/// The refusal that lists what does not hold, checks in their order before streams nobody checked; as many of them as
/// fit a header.
fn violated(error: &Error, failed: &[FailedCheck], checks: &HashMap<StreamName, usize>) -> Refusal {
    let mut unchecked = checks.len();
    let mut violations: Vec<ConsistencyViolation> = failed
        .iter()
        .map(|failed| {
            let index = checks.get(&failed.stream).copied().unwrap_or_else(|| {
                unchecked += 1;
                unchecked - 1
            });
            let state = StreamStateViolation {
                stream: failed.stream.as_str().to_owned(),
                expected_state: expected_number(failed.expected),
                actual_state: actual_state(failed),
            };
            ConsistencyViolation {
                check_index: i32::try_from(index).unwrap_or(i32::MAX),
                r#type: Some(Violated::StreamState(state)),
            }
        })
        .collect();
    violations.sort_by_key(|violation| violation.check_index);
    let mut details = AppendConsistencyViolationErrorDetails { violations };
    while details.violations.len() > 1 && details.encoded_len() > DETAILS_BYTES_MAX {
        let half = details.violations.len().div_ceil(2);
        details.violations.truncate(half);
    }
    let reason = "APPEND_CONSISTENCY_VIOLATION";
    Refusal::detailed(error.code, GrpcCode::FailedPrecondition, reason, &error.message, &details)
}

fn actual_state(failed: &FailedCheck) -> i64 {
    match (failed.actual, failed.expected) {
        (StreamState::Tombstoned, _) => TOMBSTONED,
        // Who asks for a revision is told the one there was.
        (StreamState::SoftDeleted(_), Expected::Revision(_)) => last_number(failed.actual),
        (StreamState::SoftDeleted(_), _) => SOFT_DELETED,
        (StreamState::NoStream | StreamState::At(_), _) => last_number(failed.actual),
    }
}

#[cfg(test)]
mod tests;
