//! What the machine wants done next, and what it makes of the answer.

use super::super::letters::{Letter, Place};
use super::super::records::{CheckpointRecord, Tries};
use super::super::settings::micros;
use super::{Entry, Failures, HELD_BYTES_MAX, Machine, Now, OPEN_MAX, REPLAYS_MAX, Stage, Verdict};
use graven_model::group::ParkReason;
use graven_model::{Code, Error, StoredEvent, Text, Timestamp};
use std::collections::BTreeSet;

/// Records of one append.
const BATCH_MAX: usize = 1_000;

/// Events read one by one at a time.
const LOADS_MAX: usize = 64;

/// Positions a group that finds nothing for itself passes before that is written down.
const PASSED_MAX: u64 = 100_000;

/// Microseconds before something that failed is tried again.
const PAUSE_US: u64 = 1_000_000;

/// What is to be done next.
#[derive(Debug)]
pub(in super::super) enum Work {
    /// Append this.
    Write(Batch),
    /// Read these events, if they can still be read.
    Load(Vec<u64>),
    /// Read what comes next for the group.
    Read { from: u64, limit: usize, from_revision: u64 },
    /// Nothing, before this time, another call, or a higher head.
    Idle { until: Option<u64> },
}

/// What is to be written in one append.
#[derive(Debug, Default)]
pub(in super::super) struct Batch {
    pub(in super::super) tries: Vec<Tries>,
    pub(in super::super) parked: Vec<(u64, Letter, Text)>,
    pub(in super::super) done: Vec<u64>,
    pub(in super::super) skipped: Vec<u64>,
    pub(in super::super) checkpoint: Option<CheckpointRecord>,
    /// What the checkpoint covers of what is unsaved.
    pub(in super::super) covers: u64,
}

/// How a group stands, but for what has to be read.
pub(in super::super) struct Standing {
    pub(in super::super) live: bool,
    pub(in super::super) replaying: bool,
    pub(in super::super) next: u64,
    pub(in super::super) done_below: u64,
    pub(in super::super) checkpoint: u64,
    pub(in super::super) checkpointed_event: Option<(u64, u64)>,
    pub(in super::super) last_event: Option<(u64, u64)>,
    /// Open events below `next`, and the commit time of the oldest if it is known.
    pub(in super::super) open: u64,
    pub(in super::super) oldest_open: Option<(u64, Option<Timestamp>)>,
    pub(in super::super) parked: u64,
    pub(in super::super) oldest_parked: Option<Timestamp>,
    pub(in super::super) buffered: u64,
    pub(in super::super) buffered_live: u64,
    pub(in super::super) retrying: u64,
    pub(in super::super) in_flight: u64,
    pub(in super::super) done_total: u64,
    pub(in super::super) done_last_second: u64,
    pub(in super::super) trouble: Option<Error>,
    pub(in super::super) from_revision: u64,
}

impl Machine {
    /// What is to be done next. Every answer but the last leads to a call of [`Machine::written`], [`Machine::loaded`],
    /// [`Machine::read`] or [`Machine::failed`] before the next one.
    pub(in super::super) fn work(&mut self, now: Now, head: u64) -> Work {
        if let Some(until) = self.paused_until {
            if now.at < until {
                return Work::Idle { until: Some(until) };
            }
            self.paused_until = None;
        }
        if let Some(batch) = self.batch(now, false) {
            return Work::Write(batch);
        }
        if self.has_room() {
            self.begin_replays();
            let loads = self.loads();
            if !loads.is_empty() {
                return Work::Load(loads);
            }
        }
        self.live = self.next >= head && self.left.is_empty();
        let space = self.space();
        if space > 0 && self.has_consumers() {
            if !self.left.is_empty() {
                let count = space.min(LOADS_MAX);
                return Work::Load(self.left.iter().take(count).map(|left| left.position).collect());
            }
            if self.next < head {
                let limit = space.min(self.settings.read_batch as usize);
                return Work::Read { from: self.next, limit, from_revision: self.from_revision };
            }
        }
        Work::Idle { until: self.next_time(now) }
    }

    /// Whether [`Machine::work`] would have something to do, for somebody who sleeps until a time.
    pub(in super::super) fn wants(&self, now: Now, head: u64, sleeps_until: Option<u64>) -> bool {
        let more = !self.left.is_empty() || self.next < head;
        let space = self.space();
        // A little at a time is not read ahead; but what is read may all wait for something.
        let hungry = more
            && self.has_consumers()
            && space > 0
            && (space > self.buffered || (self.ready.is_empty() && self.has_room()));
        let again = || !self.to_load.is_empty() || !self.letters.ready.is_empty();
        let sooner = || match (self.next_time(now), sleeps_until) {
            (Some(time), Some(until)) => time < until,
            (time, None) => time.is_some(),
            (None, Some(_)) => false,
        };
        !self.to_record.is_empty()
            || (!self.to_park.is_empty() && self.letters.len() < self.letters_max)
            || hungry
            || self.checkpoint_due(now)
            || (again() && self.has_room())
            || sooner()
    }

    /// Events that may be read ahead.
    fn space(&self) -> usize {
        let buffer =
            if self.live { self.settings.live_buffer } else { self.settings.history_buffer } as usize;
        if self.held_bytes + self.outbox_bytes >= HELD_BYTES_MAX || self.letters_full() {
            return 0;
        }
        buffer.saturating_sub(self.buffered).min(OPEN_MAX.saturating_sub(self.open.len()))
    }

    /// Retries and replays whose time has come. They go out at once: without room for them they stay unread.
    fn loads(&self) -> Vec<u64> {
        let held = self.held_bytes + self.outbox_bytes;
        if self.ready.first().is_some_and(|(class, _)| *class == 0) {
            return Vec::new();
        }
        let count = match held {
            0..HELD_BYTES_MAX => LOADS_MAX,
            // What is held may wait for the very event that is read here.
            _ if self.outbox_bytes == 0 => 1,
            _ => 0,
        };
        self.to_load.iter().copied().take(count).collect()
    }

    /// Sends parked events on their way whose turn it is.
    fn begin_replays(&mut self) {
        while self.replays.len() < REPLAYS_MAX {
            let Some(position) = self.letters.ready.pop_first() else { return };
            let Some(letter) = self.letters.get(position) else { continue };
            let entry = Entry {
                stream: letter.stream.clone(),
                revision: letter.revision,
                event_id: letter.event_id,
                event_type: letter.event_type.clone(),
                committed_at: Timestamp::default(),
                pin: 0,
                failures: Failures {
                    attempts: letter.attempts,
                    first: letter.first_failure,
                    last: letter.last_failure,
                },
                round: 0,
                event: None,
                live: false,
                automatic: self.letters.is_automatic(position),
                stage: Stage::Unloaded,
            };
            self.replays.insert(position, entry);
            self.to_load.insert(position);
        }
    }

    fn next_time(&self, now: Now) -> Option<u64> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let automatic = self.letters.next_automatic().filter(|_| self.has_consumers()).map(|due| {
            let pause = due.saturating_sub(now.wall.micros()).max(0);
            now.at.saturating_add(u64::try_from(pause).unwrap_or_default())
        });
        [timer, automatic, self.checkpoint_time()].into_iter().flatten().min()
    }

    fn checkpoint_time(&self) -> Option<u64> {
        let after = self.settings.checkpoint_after?;
        let since = self.unsaved_since?;
        (self.unsaved >= u64::from(self.settings.checkpoint_min.max(1)))
            .then(|| since.saturating_add(micros(after)))
    }

    fn checkpoint_due(&self, now: Now) -> bool {
        self.unsaved >= u64::from(self.settings.checkpoint_max)
            || self.checkpoint_time().is_some_and(|time| time <= now.at)
            || (self.unsaved > 0 && !self.has_consumers())
            || self.next.saturating_sub(self.durable.next) >= PASSED_MAX
                && self.left.is_empty()
                && self.open.is_empty()
    }

    /// Whether nothing more may be parked, with what waits for that.
    pub(super) fn letters_full(&self) -> bool {
        self.letters.len() + self.to_park.len() >= self.letters_max
    }

    /// What the log has to say before anything else can happen; `None` if there is nothing. `everything`: also what could wait.
    pub(in super::super) fn batch(&mut self, now: Now, everything: bool) -> Option<Batch> {
        let mut batch = Batch::default();
        let room = self.letters_max.saturating_sub(self.letters.len());
        let mut leaves_open = BTreeSet::new();
        for position in self.to_record.iter().chain(self.to_park.iter().take(room)).copied() {
            if batch.tries.len() + batch.parked.len() + batch.done.len() + batch.skipped.len() >= BATCH_MAX {
                break;
            }
            let Some(entry) = self.entry(position) else { continue };
            let Stage::Recording(verdict) = &entry.stage else { continue };
            let failures = entry.failures;
            match verdict {
                Verdict::Retry { .. } => batch.tries.push(tries(position, failures)),
                Verdict::Done => batch.done.push(position),
                Verdict::Skipped => batch.skipped.push(position),
                Verdict::Park { reason, error, consumer } => {
                    let again = self.letters.get(position);
                    if again.is_none() {
                        leaves_open.insert(position);
                    }
                    let first_failure = if failures.attempts == 0 { now.wall } else { failures.first };
                    let last_failure = if failures.attempts == 0 { now.wall } else { failures.last };
                    let replays = |own: fn(&Letter) -> u32| again.map_or(0, own);
                    let letter = Letter {
                        stream: entry.stream.clone(),
                        revision: entry.revision,
                        event_id: entry.event_id,
                        event_type: entry.event_type.clone(),
                        reason: *reason,
                        attempts: failures.attempts,
                        first_failure,
                        last_failure,
                        parked_at: again.map_or(now.wall, |letter| letter.parked_at),
                        consumer: consumer.clone(),
                        replays: replays(|letter| letter.replays) + u32::from(again.is_some()),
                        automatic: replays(|letter| letter.automatic)
                            + u32::from(again.is_some() && entry.automatic),
                        record: Place::default(),
                    };
                    batch.parked.push((position, letter, error.clone()));
                }
            }
        }
        // With a record that parks goes a checkpoint: what it says is then never read again after a crash.
        let due = !leaves_open.is_empty()
            || self.checkpoint_due(now)
            || everything && (self.unsaved > 0 || self.forgets_tries());
        if due {
            batch.checkpoint = Some(self.checkpoint_without(&leaves_open));
            batch.covers = self.unsaved + leaves_open.len() as u64;
        }
        let nothing = batch.tries.is_empty()
            && batch.parked.is_empty()
            && batch.done.is_empty()
            && batch.skipped.is_empty()
            && batch.checkpoint.is_none();
        (!nothing).then_some(batch)
    }

    /// Whether events wait to be parked whose last try no checkpoint knows.
    fn forgets_tries(&self) -> bool {
        if self.to_park.is_empty() {
            return false;
        }
        let known: BTreeSet<(u64, u32)> = self.durable.tries.iter().map(|tried| (tried.0, tried.1)).collect();
        let attempts = |position: &u64| self.open.get(position).map_or(0, |entry| entry.failures.attempts);
        self.to_park.iter().any(|position| {
            let attempts = attempts(position);
            attempts > 0 && !known.contains(&(*position, attempts))
        })
    }

    /// How far the group is.
    pub(in super::super) fn checkpoint(&self) -> CheckpointRecord {
        self.checkpoint_without(&BTreeSet::new())
    }

    fn checkpoint_without(&self, leaving: &BTreeSet<u64>) -> CheckpointRecord {
        // What was read and never handed out is read again.
        let next = self.open.range(self.touched..).next().map_or(self.next, |(position, _)| *position);
        let mut record = CheckpointRecord::at(next, self.from_revision);
        record.last = self.last_settled;
        for left in &self.left {
            record.open.push(left.position);
            if left.failures.attempts > 0 {
                record.tries.push(tries(left.position, left.failures));
            }
        }
        for (position, entry) in self.open.range(..next) {
            if leaving.contains(position) {
                record.last = record.last.max(Some((*position, entry.revision)));
                continue;
            }
            record.open.push(*position);
            if entry.failures.attempts > 0 {
                record.tries.push(tries(*position, entry.failures));
            }
        }
        for (position, entry) in self.open.range(next..) {
            if entry.failures.attempts > 0 {
                record.tries.push(tries(*position, entry.failures));
            }
        }
        for (position, failures) in &self.known {
            record.tries.push(tries(*position, *failures));
        }
        record.open.sort_unstable();
        record
    }

    /// A batch is durable; `place` says where the records of what it parks are.
    pub(in super::super) fn written(&mut self, batch: Batch, place: impl Fn(usize) -> Place, now: Now) {
        self.trouble = None;
        self.counted.retried += batch.tries.len() as u64;
        self.counted.replayed += batch.done.len() as u64;
        self.counted.skipped += batch.skipped.len() as u64;
        for Tries(position, attempts, _, last) in &batch.tries {
            self.to_record.remove(position);
            if self.replays.contains_key(position) {
                self.letters.tried(*position, *attempts, Timestamp::from_micros(*last));
            }
            let Some(entry) = self.entry_mut(*position) else { continue };
            let Stage::Recording(Verdict::Retry { due }) = entry.stage else { continue };
            if due <= now.at {
                self.again(*position);
            } else {
                entry.stage = Stage::Waiting;
                self.timers.insert((due, *position));
            }
        }
        for (at, (position, mut letter, _)) in batch.parked.into_iter().enumerate() {
            letter.record = place(at);
            let stream = letter.stream.clone();
            let again = self.letters.get(position).is_some();
            self.letters.put(position, letter);
            if again {
                self.replay_failed(position);
            } else {
                self.counted.parked += 1;
                self.remove_open(position, now);
            }
            if !self.ordered() && self.letters.get(position).is_some_and(|l| l.reason == ParkReason::Behind) {
                self.mark(position);
            }
            self.promote(&stream);
        }
        for position in batch.done.iter().chain(&batch.skipped) {
            self.remove_replay(*position);
            if let Some(letter) = self.letters.remove(*position) {
                self.promote(&letter.stream);
            }
        }
        if let Some(checkpoint) = batch.checkpoint {
            self.checkpointed(checkpoint, batch.covers, now);
        }
        self.dispatch(now);
    }

    /// A checkpoint is durable that covers so much of what was unsaved.
    pub(in super::super) fn checkpointed(&mut self, checkpoint: CheckpointRecord, covers: u64, now: Now) {
        self.durable = checkpoint;
        self.unsaved = self.unsaved.saturating_sub(covers);
        self.unsaved_since = (self.unsaved > 0).then_some(now.at);
    }

    /// A replay failed: the event is parked as before, and in an ordered group what was to follow it.
    fn replay_failed(&mut self, position: u64) {
        self.remove_replay(position);
        self.letters.unmark(position);
        if !self.ordered() {
            return;
        }
        let Some(stream) = self.letters.get(position).map(|letter| letter.stream.clone()) else { return };
        for later in self.letters.of(&stream).into_iter().filter(|later| *later > position) {
            if !self.replays.contains_key(&later) {
                self.letters.unmark(later);
            }
        }
    }

    /// Events were read again; `None` for one that cannot be read any more: it is done with.
    pub(in super::super) fn loaded(&mut self, events: Vec<(u64, Option<StoredEvent>)>, now: Now) {
        self.trouble = None;
        for (position, event) in events {
            if self.left.front().is_some_and(|left| left.position == position) {
                let left = self.left.pop_front().expect("there is a first one");
                match event {
                    Some(event) => self.open_event(event, left.failures, now),
                    None => self.settled(position, 0, now),
                }
                continue;
            }
            let unread = self.entry(position).is_some_and(|entry| matches!(entry.stage, Stage::Unloaded));
            self.to_load.remove(&position);
            if !unread {
                continue;
            }
            match event {
                Some(event) => {
                    let pin = Entry::pin_of(self.settings.strategy, &event);
                    if let Some(entry) = self.entry_mut(position) {
                        entry.pin = pin;
                        entry.committed_at = event.committed_at;
                    }
                    self.put_event(position, event);
                }
                None => self.settle(position, Verdict::Done, now),
            }
        }
        self.dispatch(now);
    }

    /// The log was read up to a position, with these events for the group.
    pub(in super::super) fn read(&mut self, events: Vec<StoredEvent>, next: u64, now: Now) {
        self.trouble = None;
        for event in events {
            let failures = self.known.remove(&event.position.0).unwrap_or_default();
            self.last_read = Some((event.position.0, event.revision.0));
            self.open_event(event, failures, now);
        }
        self.next = self.next.max(next);
        while let Some(entry) = self.known.first_entry() {
            if *entry.key() >= self.next {
                break;
            }
            entry.remove();
        }
        self.dispatch(now);
    }

    fn open_event(&mut self, event: StoredEvent, failures: Failures, now: Now) {
        let position = event.position.0;
        if self.letters.get(position).is_some() || self.open.contains_key(&position) {
            // Parked before the group was set back: that is where it stays.
            self.settled(position, event.revision.0, now);
            return;
        }
        let (ordered, live) = (self.ordered(), self.live);
        let stream = event.stream.clone();
        let bytes = event.size_bytes();
        let entry = Entry {
            stream: stream.clone(),
            revision: event.revision.0,
            event_id: event.event.id,
            event_type: event.event.event_type.clone(),
            committed_at: event.committed_at,
            pin: Entry::pin_of(self.settings.strategy, &event),
            failures,
            round: failures.attempts,
            event: Some(event),
            live,
            automatic: false,
            stage: if ordered { Stage::Queued } else { Stage::Ready },
        };
        self.open.insert(position, entry);
        self.buffered += 1;
        self.buffered_live += usize::from(live);
        self.held_bytes += bytes;
        if ordered {
            self.queues.entry(stream.clone()).or_default().insert(position);
            self.promote(&stream);
        } else {
            self.ready.insert((1, position));
        }
    }

    /// Something could not be done: it is tried again later.
    pub(in super::super) fn failed(&mut self, error: Error, now: Now) {
        self.trouble = Some(error);
        self.paused_until = Some(now.at.saturating_add(PAUSE_US));
    }

    /// How the group stands.
    pub(in super::super) fn standing(&self, now: Now) -> Standing {
        let full = || {
            self.letters_full().then(|| {
                Error::new(Code::DeadLettersFull, "the group has parked as many events as it may")
                    .expected(format!("fewer than {}", self.letters_max))
            })
        };
        let entries = || self.open.values().chain(self.replays.values());
        let retrying = entries().filter(|entry| {
            entry.failures.attempts > 0
                && matches!(
                    entry.stage,
                    Stage::Waiting | Stage::Unloaded | Stage::Recording(Verdict::Retry { .. })
                )
        });
        let first_open = self.open.first_key_value().map(|(at, entry)| (*at, Some(entry.committed_at)));
        let first_left = self.left.front().map(|left| (left.position, None));
        let oldest_open = first_left.into_iter().chain(first_open).min_by_key(|(position, _)| *position);
        Standing {
            live: self.live,
            replaying: self.letters.any_marked(),
            next: self.next,
            done_below: oldest_open.map_or(self.next, |(position, _)| position),
            checkpoint: self.durable.done_below(),
            checkpointed_event: self.durable.last,
            last_event: self.last_read.max(self.last_settled),
            open: (self.open.len() + self.left.len()) as u64,
            oldest_open,
            parked: self.letters.len() as u64,
            oldest_parked: self.letters.iter_from(0).map(|(_, letter)| letter.parked_at).min(),
            buffered: self.buffered as u64,
            buffered_live: self.buffered_live as u64,
            retrying: retrying.count() as u64,
            in_flight: self.consumers.values().map(|seat| seat.in_flight.len() as u64).sum(),
            done_total: self.done_total,
            done_last_second: self.rate.last_second(now.at),
            trouble: self.trouble.clone().or_else(full),
            from_revision: self.from_revision,
        }
    }
}

fn tries(position: u64, failures: Failures) -> Tries {
    Tries(position, failures.attempts, failures.first.micros(), failures.last.micros())
}
