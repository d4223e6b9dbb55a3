//! The parked events of a group, in memory: which there are, in which order they may be replayed, which record says so.

use super::records::ParkedRecord;
use graven_model::group::{DeadLetter, DeadLetterFilter, GroupName, ParkReason, ReplayPolicy};
use graven_model::{EventId, Position, Result, Revision, StreamName, Text, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

/// A parked event. What its consumer said is left in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) stream: StreamName,
    pub(super) revision: u64,
    pub(super) event_id: EventId,
    pub(super) event_type: Text,
    pub(super) reason: ParkReason,
    pub(super) attempts: u32,
    pub(super) first_failure: Timestamp,
    pub(super) last_failure: Timestamp,
    pub(super) parked_at: Timestamp,
    pub(super) consumer: Text,
    pub(super) replays: u32,
    /// Of them, those nobody asked for.
    pub(super) automatic: u32,
    /// Revision and position of the newest record about it.
    pub(super) record: Place,
}

/// Where a record is: revision in the group's stream, position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Place {
    pub(super) revision: u64,
    pub(super) position: u64,
}

impl Letter {
    /// A parked event as a record of the log tells it.
    ///
    /// # Errors
    /// The record names a stream that cannot be.
    pub(super) fn restored(record: &ParkedRecord, place: Place, names: &mut Interned) -> Result<Letter> {
        Ok(Letter {
            stream: names.stream(&record.stream)?,
            revision: record.revision,
            event_id: record.event_id,
            event_type: names.text(&record.event_type),
            reason: record.reason(),
            attempts: record.attempts,
            first_failure: Timestamp::from_micros(record.first_failure_us),
            last_failure: Timestamp::from_micros(record.last_failure_us),
            parked_at: Timestamp::from_micros(record.parked_us),
            consumer: names.text(&record.consumer),
            replays: record.replays,
            automatic: record.automatic,
            record: place,
        })
    }

    /// Whether a selection means it.
    pub(super) fn fits(&self, position: u64, filter: &DeadLetterFilter) -> bool {
        filter.stream.as_ref().is_none_or(|stream| *stream == self.stream)
            && filter.event_type.as_ref().is_none_or(|event_type| *event_type == self.event_type)
            && filter.reason.is_none_or(|reason| reason == self.reason)
            && filter.failed_before.is_none_or(|time| self.last_failure < time)
            && filter.failed_since.is_none_or(|time| self.last_failure >= time)
            && (filter.positions.is_empty() || filter.positions.contains(&Position(position)))
    }
}

/// Texts that repeat, once in memory.
#[derive(Default)]
pub(super) struct Interned {
    streams: HashMap<String, StreamName>,
    texts: HashMap<Text, Text>,
}

impl Interned {
    fn stream(&mut self, name: &str) -> Result<StreamName> {
        if let Some(known) = self.streams.get(name) {
            return Ok(known.clone());
        }
        let stream = StreamName::new(name)?;
        self.streams.insert(name.to_owned(), stream.clone());
        Ok(stream)
    }

    fn text(&mut self, text: &Text) -> Text {
        self.texts.entry(text.clone()).or_insert_with(|| text.clone()).clone()
    }
}

/// All parked events of a group, by position.
#[derive(Default)]
pub(super) struct Letters {
    all: BTreeMap<u64, Letter>,
    streams: HashMap<StreamName, BTreeSet<u64>>,
    /// By the newest record about each: the first is what keeps the group's stream from being cut.
    records: BTreeSet<(u64, u64)>,
    /// To be replayed, or being replayed.
    marked: BTreeSet<u64>,
    /// Of them, those nobody asked for.
    unasked: BTreeSet<u64>,
    /// Of them, those whose turn it is and that nobody has begun with.
    pub(super) ready: BTreeSet<u64>,
    /// When which is replayed by itself, in microseconds since 1970.
    automatic: BTreeSet<(i64, u64)>,
    pub(super) policy: Option<ReplayPolicy>,
}

impl Letters {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, position: u64) -> Option<&Letter> {
        self.all.get(&position)
    }

    pub(super) fn iter_from(&self, position: u64) -> impl Iterator<Item = (u64, &Letter)> {
        self.all.range(position..).map(|(position, letter)| (*position, letter))
    }

    pub(super) fn range(&self, range: (Bound<u64>, Bound<u64>)) -> impl Iterator<Item = (u64, &Letter)> {
        self.all.range(range).map(|(position, letter)| (*position, letter))
    }

    /// The first parked event of a stream.
    pub(super) fn first_of(&self, stream: &StreamName) -> Option<u64> {
        self.streams.get(stream).and_then(|positions| positions.first().copied())
    }

    /// The parked events of a stream, in order.
    pub(super) fn of(&self, stream: &StreamName) -> Vec<u64> {
        self.streams.get(stream).map(|positions| positions.iter().copied().collect()).unwrap_or_default()
    }

    /// Streams with parked events.
    pub(super) fn streams(&self) -> Vec<StreamName> {
        self.streams.keys().cloned().collect()
    }

    /// Adds a parked event, or what is new about one.
    pub(super) fn put(&mut self, position: u64, letter: Letter) {
        self.forget_times(position);
        if let Some(old) = self.all.get(&position) {
            self.records.remove(&(old.record.revision, position));
        }
        self.records.insert((letter.record.revision, position));
        self.streams.entry(letter.stream.clone()).or_default().insert(position);
        self.all.insert(position, letter);
        self.plan(position);
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, position: u64) -> Option<Letter> {
        self.forget_times(position);
        let letter = self.all.remove(&position)?;
        self.records.remove(&(letter.record.revision, position));
        self.marked.remove(&position);
        self.unasked.remove(&position);
        self.ready.remove(&position);
        if let Some(positions) = self.streams.get_mut(&letter.stream) {
            positions.remove(&position);
            if positions.is_empty() {
                self.streams.remove(&letter.stream);
            }
        }
        Some(letter)
    }

    /// Notes failed tries.
    pub(super) fn tried(&mut self, position: u64, attempts: u32, last_failure: Timestamp) {
        self.forget_times(position);
        if let Some(letter) = self.all.get_mut(&position) {
            letter.attempts = attempts;
            letter.last_failure = last_failure;
        }
        self.plan(position);
    }

    /// The record about a parked event was written again.
    pub(super) fn moved(&mut self, position: u64, place: Place) {
        if let Some(letter) = self.all.get_mut(&position) {
            self.records.remove(&(letter.record.revision, position));
            letter.record = place;
            self.records.insert((place.revision, position));
        }
    }

    /// The oldest records that are still needed: revision, position of the event.
    pub(super) fn oldest_records(&self) -> impl Iterator<Item = (u64, u64)> {
        self.records.iter().copied()
    }

    pub(super) fn is_marked(&self, position: u64) -> bool {
        self.marked.contains(&position)
    }

    pub(super) fn any_marked(&self) -> bool {
        !self.marked.is_empty()
    }

    /// It is to be replayed; whether that is new.
    pub(super) fn mark(&mut self, position: u64) -> bool {
        if !self.all.contains_key(&position) || !self.marked.insert(position) {
            return false;
        }
        self.forget_times(position);
        true
    }

    /// It is not to be replayed any more.
    pub(super) fn unmark(&mut self, position: u64) {
        self.marked.remove(&position);
        self.unasked.remove(&position);
        self.ready.remove(&position);
        self.plan(position);
    }

    /// Nobody asked for the replay it is marked for.
    pub(super) fn mark_automatic(&mut self, position: u64) {
        if self.is_marked(position) {
            self.unasked.insert(position);
        }
    }

    /// Whether nobody asked for the replay it is marked for.
    pub(super) fn is_automatic(&self, position: u64) -> bool {
        self.unasked.contains(&position)
    }

    /// When the next one is replayed by itself.
    pub(super) fn next_automatic(&self) -> Option<i64> {
        self.automatic.first().map(|(due, _)| *due)
    }

    /// The next one that is due to be replayed by itself.
    pub(super) fn pop_automatic(&mut self, wall: Timestamp) -> Option<u64> {
        let (due, position) = self.automatic.first().copied()?;
        if due > wall.micros() {
            return None;
        }
        self.automatic.pop_first();
        Some(position)
    }

    /// Follows another policy from now on.
    pub(super) fn follow(&mut self, policy: Option<ReplayPolicy>) {
        self.policy = policy;
        self.automatic.clear();
        let all: Vec<u64> = self.all.keys().copied().collect();
        for position in all {
            self.plan(position);
        }
    }

    fn plan(&mut self, position: u64) {
        if self.marked.contains(&position) {
            return;
        }
        if let Some(due) = self.due(position) {
            self.automatic.insert((due, position));
        }
    }

    fn forget_times(&mut self, position: u64) {
        if let Some(due) = self.due(position) {
            self.automatic.remove(&(due, position));
        }
    }

    /// When it would be replayed by itself; nothing of this changes while it is planned.
    fn due(&self, position: u64) -> Option<i64> {
        let (policy, letter) = (self.policy?, self.all.get(&position)?);
        if letter.automatic >= policy.times_max || letter.reason == ParkReason::Behind {
            return None;
        }
        let pause = super::settings::micros(policy.backoff.after(letter.automatic.saturating_add(1)));
        Some(letter.last_failure.micros().saturating_add(i64::try_from(pause).unwrap_or(i64::MAX)))
    }

    /// A parked event as it is shown.
    pub(super) fn show(&self, group: &GroupName, position: u64, error: Text) -> Option<DeadLetter> {
        let letter = self.all.get(&position)?;
        Some(DeadLetter {
            group: group.clone(),
            position: Position(position),
            stream: letter.stream.clone(),
            revision: Revision(letter.revision),
            event_id: letter.event_id,
            event_type: letter.event_type.clone(),
            reason: letter.reason,
            error,
            attempts: letter.attempts,
            first_failure: letter.first_failure,
            last_failure: letter.last_failure,
            consumer: letter.consumer.clone(),
            replays: letter.replays,
            replaying: self.is_marked(position),
        })
    }
}
