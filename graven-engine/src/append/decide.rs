//! The decision: accept, already done, or refuse. Pure: everything it knows comes through [`Facts`].
//!
//! The table of expected revisions and idempotency is KurrentDB's, durable over all history. Idempotency is judged first,
//! so that a retry gets the receipt of the append it repeats even if the checks would fail by now.

use super::Operation;
use super::facts::Place;
use foldhash::{HashSet, HashSetExt};
use graven_model::append::{
    Condition, Expected, FailedCheck, Idempotency, Receipt, StreamReceipt, StreamState,
};
use graven_model::error::Details;
use graven_model::{AppendRequest, Code, Error, EventId, Position, Result, Revision, StreamName, Timestamp};

/// What a decision rests on.
pub(crate) trait Facts {
    /// What the request's stream at this index looks like, and whether it has metadata.
    fn state(&mut self, index: usize, stream: &StreamName) -> Result<(StreamState, bool)>;
    /// The newest event with this id in this stream.
    fn find(&mut self, stream: &StreamName, id: EventId) -> Result<Option<Place>>;
    /// The event at this revision.
    fn at(&mut self, stream: &StreamName, revision: u64) -> Result<Option<(EventId, Place)>>;
    /// The first event after the condition's position that matches its query.
    fn first_match(&mut self, condition: &Condition) -> Result<Option<Position>>;
    /// Position the next event gets.
    fn head(&self) -> u64;
}

/// What becomes of an append.
#[derive(Debug, PartialEq)]
pub(crate) enum Decision {
    /// Store the events, leaving out those marked (empty = none).
    Append { skip: Vec<bool> },
    /// It was done before, or stores nothing.
    Done(Receipt),
    /// A check did not hold.
    Refuse(Error),
}

/// How a stream's events relate to what it holds.
enum Repeat {
    New,
    /// All are there; places of the first and the last.
    Done(Place, Place),
    /// Some are there: the first that is.
    Partial(EventId),
}

/// Judges an append.
///
/// # Errors
/// Only if the facts cannot be had; a refusal is a [`Decision`].
pub(crate) fn decide(
    facts: &mut dyn Facts,
    operation: Operation,
    request: &AppendRequest,
) -> Result<Decision> {
    match (operation, request.idempotency) {
        (Operation::Append, Idempotency::EachEvent) => each_event(facts, request),
        _ => whole(facts, operation, request),
    }
}

fn whole(facts: &mut dyn Facts, operation: Operation, request: &AppendRequest) -> Result<Decision> {
    let mut ids: Vec<Vec<EventId>> = vec![Vec::new(); request.streams.len()];
    for (stream, event) in &request.events {
        ids[*stream as usize].push(event.id);
    }
    let mut states = Vec::with_capacity(request.streams.len());
    let mut done: Vec<Option<(Place, Place)>> = vec![None; request.streams.len()];
    let mut partial: Vec<Option<EventId>> = vec![None; request.streams.len()];
    for (at, write) in request.streams.iter().enumerate() {
        let (state, has_metadata) = facts.state(at, &write.stream)?;
        states.push((state, has_metadata));
        if operation == Operation::Append && !ids[at].is_empty() {
            match repeat(facts, &write.stream, write.expected, state, &ids[at])? {
                Repeat::New => {}
                Repeat::Done(first, last) => done[at] = Some((first, last)),
                Repeat::Partial(id) => partial[at] = Some(id),
            }
        }
    }
    let written = ids.iter().filter(|ids| !ids.is_empty()).count();
    let repeated = done.iter().flatten().count();
    if repeated > 0 && repeated == written {
        return Ok(Decision::Done(receipt_of_the_first(request, &states, &done)));
    }
    if repeated > 0 {
        // Part of the request is there and part is not: it is not the append it repeats.
        for (at, done) in done.iter().enumerate() {
            if done.is_some() {
                partial[at] = ids[at].first().copied();
            }
        }
    }
    let mut failed = Vec::new();
    for (at, write) in request.streams.iter().enumerate() {
        let (state, has_metadata) = states[at];
        let writes = !ids[at].is_empty() || (operation == Operation::Delete && at == 0);
        let holds = holds(write.expected, state, has_metadata, writes)
            && (operation != Operation::Delete || at > 0 || state != StreamState::NoStream || has_metadata);
        if !holds || partial[at].is_some() {
            failed.push(FailedCheck {
                stream: write.stream.clone(),
                expected: write.expected,
                actual: state,
                partial_retry: partial[at],
                unseen: Vec::new(),
            });
        }
    }
    if !failed.is_empty() {
        return Ok(Decision::Refuse(refusal(failed)));
    }
    if let Some(error) = condition_failed(facts, request)? {
        return Ok(Decision::Refuse(error));
    }
    if request.events.is_empty() {
        return Ok(Decision::Done(empty_receipt(facts.head(), request, &states)));
    }
    Ok(Decision::Append { skip: Vec::new() })
}

/// The refusal if an event matches the condition of an append.
fn condition_failed(facts: &mut dyn Facts, request: &AppendRequest) -> Result<Option<Error>> {
    let Some(condition) = &request.condition else { return Ok(None) };
    let Some(position) = facts.first_match(condition)? else { return Ok(None) };
    let after =
        condition.after.map_or_else(|| "none".to_owned(), |after| format!("none after position {after}"));
    let error = Error::new(Code::ConditionFailed, "an event matches the condition of the append")
        .expected(after)
        .found(format!("one at position {position}"))
        .with(Details::ConditionMatch(position));
    Ok(Some(error))
}

/// Whether the events of one stream are there already.
fn repeat(
    facts: &mut dyn Facts,
    stream: &StreamName,
    expected: Expected,
    state: StreamState,
    ids: &[EventId],
) -> Result<Repeat> {
    let last = match state {
        StreamState::NoStream | StreamState::Tombstoned => return Ok(Repeat::New),
        StreamState::At(revision) | StreamState::SoftDeleted(revision) => revision.0,
    };
    match expected {
        Expected::Any | Expected::Exists | Expected::Deleted => {
            let Some(first) = facts.find(stream, ids[0])? else { return Ok(Repeat::New) };
            let mut place = first;
            for id in &ids[1..] {
                match facts.find(stream, *id)? {
                    Some(found) => place = found,
                    None => return Ok(Repeat::Partial(ids[0])),
                }
            }
            Ok(Repeat::Done(first, place))
        }
        Expected::NoStream => at_revisions(facts, stream, 0, ids),
        Expected::Revision(Revision(revision)) if revision < last => {
            at_revisions(facts, stream, revision + 1, ids)
        }
        // Nothing was ever written to a stream that had to be tombstoned.
        Expected::Revision(_) | Expected::Tombstoned => Ok(Repeat::New),
    }
}

/// Whether exactly these events stand at these revisions.
fn at_revisions(facts: &mut dyn Facts, stream: &StreamName, from: u64, ids: &[EventId]) -> Result<Repeat> {
    let mut places: Option<(Place, Place)> = None;
    for (at, id) in ids.iter().enumerate() {
        match facts.at(stream, from + at as u64)? {
            Some((found, place)) if found == *id => {
                places = Some(places.map_or((place, place), |(first, _)| (first, place)));
            }
            _ if at == 0 => return Ok(Repeat::New),
            _ => return Ok(Repeat::Partial(ids[0])),
        }
    }
    Ok(places.map_or(Repeat::New, |(first, last)| Repeat::Done(first, last)))
}

/// Whether an expectation holds. A stream that is only checked may be tombstoned if nothing contradicts it.
fn holds(expected: Expected, state: StreamState, has_metadata: bool, writes: bool) -> bool {
    match (state, expected) {
        (StreamState::Tombstoned, Expected::Any | Expected::NoStream | Expected::Tombstoned) => !writes,
        (StreamState::Tombstoned, _) | (_, Expected::Tombstoned) => false,
        (_, Expected::Any) => true,
        (StreamState::NoStream, Expected::NoStream) => true,
        (StreamState::NoStream, Expected::Exists) => has_metadata,
        (StreamState::NoStream, Expected::Revision(_)) => false,
        (StreamState::At(_), Expected::NoStream) => false,
        (StreamState::At(_), Expected::Exists) => true,
        (StreamState::SoftDeleted(_), Expected::NoStream) => true,
        (StreamState::SoftDeleted(_), Expected::Exists) => false,
        (state, Expected::Deleted) => matches!(state, StreamState::SoftDeleted(_)),
        (StreamState::At(at) | StreamState::SoftDeleted(at), Expected::Revision(wanted)) => at == wanted,
    }
}

fn refusal(failed: Vec<FailedCheck>) -> Error {
    let code = if failed.iter().any(|check| check.actual == StreamState::Tombstoned) {
        Code::StreamTombstoned
    } else if failed.iter().all(|check| {
        matches!(check.actual, StreamState::SoftDeleted(_)) && check.expected == Expected::Exists
    }) {
        Code::StreamDeleted
    } else {
        Code::WrongExpectedRevision
    };
    let first = &failed[0];
    let others = if failed.len() > 1 { format!(" and {} more", failed.len() - 1) } else { String::new() };
    let message = match (code, first.partial_retry) {
        (Code::StreamTombstoned, _) => format!("stream {:?} was tombstoned{others}", first.stream.as_str()),
        (Code::StreamDeleted, _) => format!("stream {:?} was deleted{others}", first.stream.as_str()),
        (_, Some(id)) => {
            format!(
                "event {id} is in stream {:?} already, but not the whole append{others}",
                first.stream.as_str()
            )
        }
        _ => format!("stream {:?} is not at the expected revision{others}", first.stream.as_str()),
    };
    Error::new(code, message)
        .expected(expected_text(first.expected))
        .found(state_text(first.actual))
        .with(Details::FailedChecks(failed))
}

/// An expectation in words.
fn expected_text(expected: Expected) -> String {
    match expected {
        Expected::Any => "any".into(),
        Expected::NoStream => "no stream".into(),
        Expected::Exists => "an existing stream".into(),
        Expected::Deleted => "a deleted stream".into(),
        Expected::Tombstoned => "a tombstone".into(),
        Expected::Revision(revision) => format!("revision {revision}"),
    }
}

/// A state in words.
fn state_text(state: StreamState) -> String {
    match state {
        StreamState::NoStream => "no stream".into(),
        StreamState::At(revision) => format!("revision {revision}"),
        StreamState::SoftDeleted(revision) => format!("a stream deleted at revision {revision}"),
        StreamState::Tombstoned => "a tombstone".into(),
    }
}

fn revision_of(state: StreamState) -> Option<Revision> {
    match state {
        StreamState::At(revision) | StreamState::SoftDeleted(revision) => Some(revision),
        StreamState::NoStream | StreamState::Tombstoned => None,
    }
}

/// The receipt of the append that did the work.
fn receipt_of_the_first(
    request: &AppendRequest,
    states: &[(StreamState, bool)],
    done: &[Option<(Place, Place)>],
) -> Receipt {
    let first = done.iter().flatten().map(|(first, _)| first.position).min().unwrap_or_default();
    let last = done.iter().flatten().map(|(_, last)| *last).max_by_key(|place| place.position);
    Receipt {
        first_position: Position(first),
        last_position: last.map(|place| Position(place.position)),
        streams: request
            .streams
            .iter()
            .enumerate()
            .map(|(at, write)| StreamReceipt {
                stream: write.stream.clone(),
                revision: match done[at] {
                    Some((_, last)) => Some(Revision(last.revision)),
                    None => revision_of(states[at].0),
                },
            })
            .collect(),
        committed_at: Timestamp::from_micros(last.map_or(0, |place| place.commit_time)),
        appended: 0,
        duplicates: request.events.len() as u32,
    }
}

fn empty_receipt(head: u64, request: &AppendRequest, states: &[(StreamState, bool)]) -> Receipt {
    Receipt {
        first_position: Position(head),
        last_position: None,
        streams: request
            .streams
            .iter()
            .zip(states)
            .map(|(write, (state, _))| StreamReceipt {
                stream: write.stream.clone(),
                revision: revision_of(*state),
            })
            .collect(),
        committed_at: Timestamp::default(),
        appended: 0,
        duplicates: 0,
    }
}

/// Every event stands for itself: those that are there are left out.
fn each_event(facts: &mut dyn Facts, request: &AppendRequest) -> Result<Decision> {
    let mut states = Vec::with_capacity(request.streams.len());
    let mut failed = Vec::new();
    for (at, write) in request.streams.iter().enumerate() {
        let (state, has_metadata) = facts.state(at, &write.stream)?;
        if state == StreamState::Tombstoned {
            failed.push(FailedCheck {
                stream: write.stream.clone(),
                expected: write.expected,
                actual: state,
                partial_retry: None,
                unseen: Vec::new(),
            });
        }
        states.push((state, has_metadata));
    }
    if !failed.is_empty() {
        return Ok(Decision::Refuse(refusal(failed)));
    }
    let mut within: HashSet<(u32, EventId)> = HashSet::with_capacity(request.events.len());
    let mut skip = vec![false; request.events.len()];
    let mut done: Vec<Option<(Place, Place)>> = vec![None; request.streams.len()];
    let mut any_new = false;
    for (at, (stream, event)) in request.events.iter().enumerate() {
        let write = &request.streams[*stream as usize];
        let found = match states[*stream as usize].0 {
            StreamState::NoStream => None,
            _ => facts.find(&write.stream, event.id)?,
        };
        if let Some(place) = found {
            let places = &mut done[*stream as usize];
            *places = Some(places.map_or((place, place), |(first, last)| {
                (
                    if place.position < first.position { place } else { first },
                    if place.position > last.position { place } else { last },
                )
            }));
        }
        skip[at] = found.is_some() || !within.insert((*stream, event.id));
        any_new |= !skip[at];
    }
    if (any_new || request.events.is_empty())
        && let Some(error) = condition_failed(facts, request)?
    {
        return Ok(Decision::Refuse(error));
    }
    if any_new {
        return Ok(Decision::Append { skip });
    }
    if request.events.is_empty() {
        return Ok(Decision::Done(empty_receipt(facts.head(), request, &states)));
    }
    Ok(Decision::Done(receipt_of_the_first(request, &states, &done)))
}

#[cfg(test)]
mod tests;
