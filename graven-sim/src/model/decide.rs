//! The decision table of appends: retry first, then tombstones and expected revisions, then the condition.

use super::{DELETED, Model, refused};
use bytes::Bytes;
use graven_model::error::Details;
use graven_model::{
    AppendRequest, Code, Condition, Error, EventId, Expected, FailedCheck, NewEvent, Position, Receipt,
    Result, Revision, StoredEvent, StreamName, StreamReceipt, StreamState, Timestamp,
};

/// Whether the events of one stream were appended before.
enum Retry<'a> {
    /// They were not.
    New,
    /// All of them: the first and the last.
    Done(&'a StoredEvent, &'a StoredEvent),
    /// The first of them, and not all the others.
    Partial,
}

impl Model {
    pub(super) fn append_whole(&mut self, request: &AppendRequest, now: Timestamp) -> Result<Receipt> {
        let ids: Vec<Vec<EventId>> =
            (0..request.streams.len()).map(|index| ids_for(request, index)).collect();
        let retries: Vec<Retry<'_>> = request
            .streams
            .iter()
            .zip(&ids)
            .map(|(write, ids)| self.retry(&write.stream, write.expected, ids))
            .collect();
        let written = ids.iter().filter(|ids| !ids.is_empty()).count();
        let done = retries.iter().filter(|retry| matches!(retry, Retry::Done(..))).count();
        if done > 0 && done == written {
            return Ok(self.receipt_of_retry(request, &retries));
        }
        let mut failed = Vec::new();
        for ((write, ids), retry) in request.streams.iter().zip(&ids).zip(&retries) {
            // Part of the request is there and part is not: it is not the append it seems to repeat.
            let partial = (!matches!(retry, Retry::New)).then(|| ids[0]);
            if partial.is_some() || !self.holds(&write.stream, write.expected, !ids.is_empty()) {
                failed.push(self.failed_check(&write.stream, write.expected, partial));
            }
        }
        if !failed.is_empty() {
            return Err(conflict(failed));
        }
        self.check_condition(request.condition.as_ref())?;
        Ok(self.store(request, &request.events.iter().collect::<Vec<_>>(), now))
    }

    pub(super) fn append_each(&mut self, request: &AppendRequest, now: Timestamp) -> Result<Receipt> {
        let dead =
            request.streams.iter().filter(|write| self.state(&write.stream) == StreamState::Tombstoned);
        let dead: Vec<FailedCheck> =
            dead.map(|write| self.failed_check(&write.stream, write.expected, None)).collect();
        if !dead.is_empty() {
            return Err(conflict(dead));
        }
        let mut fresh: Vec<&(u32, NewEvent)> = Vec::new();
        for event in &request.events {
            let stream = &request.streams[event.0 as usize].stream;
            let repeated = fresh.iter().any(|other| other.0 == event.0 && other.1.id == event.1.id);
            if !repeated && self.known(stream, event.1.id).is_none() {
                fresh.push(event);
            }
        }
        if fresh.is_empty() && !request.events.is_empty() {
            return Ok(self.receipt_of_known(request));
        }
        self.check_condition(request.condition.as_ref())?;
        let mut receipt = self.store(request, &fresh, now);
        receipt.duplicates = (request.events.len() - fresh.len()) as u32;
        Ok(receipt)
    }

    fn retry(&self, stream: &StreamName, expected: Expected, ids: &[EventId]) -> Retry<'_> {
        if ids.is_empty() || self.state(stream) == StreamState::Tombstoned {
            return Retry::New;
        }
        let first = match expected {
            Expected::Any | Expected::Exists | Expected::Deleted => {
                return weigh(ids.iter().map(|id| self.known(stream, *id)).collect());
            }
            Expected::NoStream => 0,
            Expected::Revision(revision)
                if self.last_revision(stream).is_some_and(|last| revision < last) =>
            {
                revision.0 + 1
            }
            Expected::Revision(_) | Expected::Tombstoned => return Retry::New,
        };
        let at =
            |offset: usize| self.events_of(stream).find(|event| event.revision.0 == first + offset as u64);
        weigh(
            ids.iter()
                .enumerate()
                .map(|(offset, id)| at(offset).filter(|event| event.event.id == *id))
                .collect(),
        )
    }

    /// The column "expected" of the table.
    fn holds(&self, stream: &StreamName, expected: Expected, writes: bool) -> bool {
        match (self.state(stream), expected) {
            // A stream that is only checked may be gone for ever if nothing contradicts it.
            (StreamState::Tombstoned, Expected::Any | Expected::NoStream | Expected::Tombstoned) => !writes,
            (StreamState::Tombstoned, _) => false,
            (_, Expected::Tombstoned) => false,
            (StreamState::SoftDeleted(_), Expected::Deleted) => true,
            (_, Expected::Deleted) => false,
            (_, Expected::Any) => true,
            (StreamState::NoStream, Expected::NoStream) => true,
            (StreamState::NoStream, Expected::Exists) => self.metadata_event(stream).is_some(),
            (StreamState::NoStream, Expected::Revision(_)) => false,
            (StreamState::At(_), Expected::NoStream) => false,
            (StreamState::At(_), Expected::Exists) => true,
            (StreamState::SoftDeleted(_), Expected::NoStream) => true,
            (StreamState::SoftDeleted(_), Expected::Exists) => false,
            (StreamState::At(last) | StreamState::SoftDeleted(last), Expected::Revision(revision)) => {
                last == revision
            }
        }
    }

    fn failed_check(
        &self,
        stream: &StreamName,
        expected: Expected,
        partial_retry: Option<EventId>,
    ) -> FailedCheck {
        FailedCheck {
            stream: stream.clone(),
            expected,
            actual: self.state(stream),
            partial_retry,
            unseen: Vec::new(),
        }
    }

    fn check_condition(&self, condition: Option<&Condition>) -> Result<()> {
        let Some(condition) = condition else { return Ok(()) };
        let matching = self.log.iter().find(|event| {
            condition.after.is_none_or(|after| event.position > after)
                && condition.query.matches(&event.event.event_type, &event.event.tags)
        });
        match matching {
            None => Ok(()),
            Some(event) => Err(refused(Code::ConditionFailed, "an event matches the condition")
                .with(Details::ConditionMatch(event.position))),
        }
    }

    fn store(&mut self, request: &AppendRequest, events: &[&(u32, NewEvent)], now: Timestamp) -> Receipt {
        let time = self.commit_time(now);
        let written: Vec<&StreamName> = request
            .streams
            .iter()
            .enumerate()
            .filter(|(index, _)| events.iter().any(|(of, _)| *of as usize == *index))
            .map(|(_, write)| &write.stream)
            .collect();
        let deleted: Vec<(StreamName, Revision)> = written
            .iter()
            .filter_map(|stream| stream.described())
            .filter_map(|described| match self.state(&described) {
                StreamState::SoftDeleted(last) => Some((described, last)),
                _ => None,
            })
            .collect();
        for stream in written {
            if self.metadata(stream).truncate_before() == Some(DELETED) {
                let before = self.last_revision(stream).map_or(Revision(0), Revision::next);
                self.push_metadata(stream, self.metadata(stream).with_truncate_before(before), time);
            }
        }
        let first_position = self.head();
        for (index, event) in events {
            self.push_next(&request.streams[*index as usize].stream, event.clone(), time);
        }
        let head = self.head();
        for (described, last) in deleted {
            self.bring_back(&described, last, time);
        }
        Receipt {
            first_position,
            last_position: (head > first_position).then(|| Position(head.0 - 1)),
            streams: self.stream_receipts(request),
            committed_at: if head > first_position { time } else { Timestamp::default() },
            appended: events.len() as u32,
            duplicates: 0,
        }
    }

    /// A deleted stream whose metadata was written is back, unless it says deleted again; what was deleted stays hidden.
    pub(super) fn bring_back(&mut self, stream: &StreamName, last: Revision, time: Timestamp) {
        if self.metadata(stream).truncate_before() != Some(DELETED) {
            self.push_metadata(stream, self.metadata(stream).with_truncation_raised(last.next()), time);
        }
    }

    fn push_metadata(&mut self, stream: &StreamName, json: Bytes, time: Timestamp) {
        let of = stream.metadata().expect("a deleted stream has metadata");
        self.push_next(&of, NewEvent::json(EventId::default(), "$metadata", json), time);
    }

    /// Last revision of each stream of the request as it is now; a tombstone has none.
    fn stream_receipts(&self, request: &AppendRequest) -> Vec<StreamReceipt> {
        let revision = |stream: &StreamName| match self.state(stream) {
            StreamState::At(revision) | StreamState::SoftDeleted(revision) => Some(revision),
            StreamState::NoStream | StreamState::Tombstoned => None,
        };
        let names = request.streams.iter().map(|write| &write.stream);
        names.map(|stream| StreamReceipt { stream: stream.clone(), revision: revision(stream) }).collect()
    }

    fn receipt_of_retry(&self, request: &AppendRequest, retries: &[Retry<'_>]) -> Receipt {
        let mut streams = self.stream_receipts(request);
        let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
        for (receipt, retry) in streams.iter_mut().zip(retries) {
            if let Retry::Done(first, last) = retry {
                receipt.revision = Some(last.revision);
                firsts.push(first.position);
                lasts.push(last);
            }
        }
        let last = lasts.into_iter().max_by_key(|event| event.position).expect("something was done");
        Receipt {
            first_position: firsts.into_iter().min().expect("something was done"),
            last_position: Some(last.position),
            streams,
            committed_at: last.committed_at,
            appended: 0,
            duplicates: request.events.len() as u32,
        }
    }

    fn receipt_of_known(&self, request: &AppendRequest) -> Receipt {
        let known: Vec<(u32, &StoredEvent)> = request
            .events
            .iter()
            .map(|(index, event)| {
                let stream = &request.streams[*index as usize].stream;
                (*index, self.known(stream, event.id).expect("all events are known"))
            })
            .collect();
        let retries: Vec<Retry<'_>> = (0..request.streams.len() as u32)
            .map(|index| {
                let own = || known.iter().filter(|(of, _)| *of == index).map(|(_, event)| *event);
                let first = own().min_by_key(|event| event.position);
                let last = own().max_by_key(|event| event.position);
                first.zip(last).map_or(Retry::New, |(first, last)| Retry::Done(first, last))
            })
            .collect();
        self.receipt_of_retry(request, &retries)
    }

    pub(super) fn check_delete(&self, stream: &StreamName, expected: Expected) -> Result<()> {
        let nothing = self.state(stream) == StreamState::NoStream && self.metadata_event(stream).is_none();
        if nothing || !self.holds(stream, expected, true) {
            return Err(conflict(vec![self.failed_check(stream, expected, None)]));
        }
        Ok(())
    }

    pub(super) fn check_tombstone(&self, stream: &StreamName, expected: Expected) -> Result<()> {
        if self.holds(stream, expected, true) {
            Ok(())
        } else {
            Err(conflict(vec![self.failed_check(stream, expected, None)]))
        }
    }

    pub(super) fn check_truncate(&self, stream: &StreamName, before: Revision) -> Result<()> {
        if self.events_of(stream).next().is_none() {
            return Err(refused(Code::StreamNotFound, "no such stream"));
        }
        let end = self.last_event(stream).map_or(0, |last| last.revision.0 + 1);
        if before.0 > end {
            return Err(refused(Code::BadRequest, "the stream ends before that"));
        }
        Ok(())
    }

    pub(super) fn check_set_metadata(&self, stream: &StreamName, expected: Expected) -> Result<()> {
        let of = stream.metadata().expect("a name that takes a prefix");
        if self.holds(&of, expected, true) {
            Ok(())
        } else {
            Err(conflict(vec![self.failed_check(&of, expected, None)]))
        }
    }
}

fn ids_for(request: &AppendRequest, index: usize) -> Vec<EventId> {
    request.events.iter().filter(move |(of, _)| *of as usize == index).map(|(_, event)| event.id).collect()
}

fn weigh(found: Vec<Option<&StoredEvent>>) -> Retry<'_> {
    match (found[0], found[found.len() - 1]) {
        (None, _) => Retry::New,
        (Some(first), Some(last)) if found.iter().all(Option::is_some) => Retry::Done(first, last),
        _ => Retry::Partial,
    }
}

/// One error for all checks that failed.
fn conflict(failed: Vec<FailedCheck>) -> Error {
    let deleted = |check: &FailedCheck| {
        check.expected == Expected::Exists && matches!(check.actual, StreamState::SoftDeleted(_))
    };
    let code = if failed.iter().any(|check| check.actual == StreamState::Tombstoned) {
        Code::StreamTombstoned
    } else if failed.iter().all(deleted) {
        Code::StreamDeleted
    } else {
        Code::WrongExpectedRevision
    };
    refused(code, "checks failed").with(Details::FailedChecks(failed))
}
