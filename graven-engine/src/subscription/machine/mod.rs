//! What a group does, as a pure state machine: no files, no clock, no threads. Inputs are calls; what is to be done comes
//! out of [`Machine::work`], and what consumers get is taken with [`Machine::take`].
//!
//! ```text
//!            read                    room            acknowledged
//!   the log ─────▶ queued ─▶ ready ───────▶ in flight ──────────▶ done
//!                    ▲         ▲                │ failed
//!          an earlier event    │ due, read      ▼
//!          of its stream       └──── waiting ◀─ recording ─▶ parked ── replayed ─▶ ready
//! ```
//!
//! Every event the group has read and that is neither done nor parked is open, with its stage. Parked events that are being
//! replayed go through the same stages. An event is open or parked, never both.

mod dispatch;
mod restore;
mod seat;
#[cfg(test)]
mod tests;
mod work;

pub(super) use work::{Batch, Work};

use super::letters::Letters;
use super::records::CheckpointRecord;
use super::totals::GroupTotals;
use graven_model::group::{
    ConsumerInfo, ConsumerOptions, Delivery, GroupSettings, Nack, ParkReason, Strategy,
};
use graven_model::{Error, EventId, StoredEvent, StreamName, Text, Timestamp, limits};
use seat::{Rate, Seat};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// The time. Neither goes back while a store is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Now {
    /// Microseconds since some time: for pauses.
    pub(super) at: u64,
    /// What the clock shows: for records.
    pub(super) wall: Timestamp,
}

/// Bytes of events held for consumers that have not taken them.
pub(super) const HELD_BYTES_MAX: usize = 16 << 20;

/// Events that are neither done nor parked, whatever the buffers of the consumers.
const OPEN_MAX: usize = limits::GROUP_BUFFER_MAX as usize;

/// Parked events on their way at a time.
const REPLAYS_MAX: usize = 500;

/// What is known of an event that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Failures {
    pub(super) attempts: u32,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl Failures {
    fn add(&mut self, wall: Timestamp) {
        if self.attempts == 0 {
            self.first = wall;
        }
        self.attempts = self.attempts.saturating_add(1);
        self.last = wall;
    }
}

/// An event on its way.
#[derive(Debug)]
struct Entry {
    stream: StreamName,
    revision: u64,
    event_id: EventId,
    event_type: Text,
    committed_at: Timestamp,
    /// What consumers are pinned by.
    pin: u64,
    failures: Failures,
    /// Failures that count against the retries: those of this replay, for a parked event.
    round: u32,
    /// In memory while it waits for a consumer.
    event: Option<StoredEvent>,
    /// It was read while the group kept up with the log.
    live: bool,
    /// For a parked event: nobody asked for this replay.
    automatic: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Ordered groups: behind an earlier event of its stream.
    Queued,
    /// For whoever has room.
    Ready,
    InFlight {
        consumer: u64,
        order: u64,
        since: u64,
        deadline: Option<u64>,
    },
    /// Nothing happens with it before the log says so.
    Recording(Verdict),
    /// For its next try.
    Waiting,
    /// It has to be read again.
    Unloaded,
}

#[derive(Debug)]
enum Verdict {
    Retry { due: u64 },
    Park { reason: ParkReason, error: Text, consumer: Text },
    Done,
    Skipped,
}

/// An event that was open when the group came to rest: it is read before anything newer.
#[derive(Debug, Clone, Copy)]
struct Left {
    position: u64,
    failures: Failures,
}

/// The state of a group.
pub(super) struct Machine {
    pub(super) settings: GroupSettings,
    pub(super) letters: Letters,
    /// Events it may park: as many as a group may, fewer in tests.
    letters_max: usize,
    /// Everything below was read.
    next: u64,
    from_revision: u64,
    live: bool,
    left: VecDeque<Left>,
    /// Failures of events that are still to be read.
    known: BTreeMap<u64, Failures>,
    open: BTreeMap<u64, Entry>,
    replays: BTreeMap<u64, Entry>,
    /// Ordered groups: open events by stream.
    queues: HashMap<StreamName, BTreeSet<u64>>,
    /// What is in memory and may go out: retries and replays (0) before what is fresh (1).
    ready: BTreeSet<(u8, u64)>,
    to_load: BTreeSet<u64>,
    to_record: BTreeSet<u64>,
    /// The same, of open events that are to be parked: they wait for room in the list.
    to_park: BTreeSet<u64>,
    /// When something becomes of which event.
    timers: BTreeSet<(u64, u64)>,
    consumers: BTreeMap<u64, Seat>,
    /// Who got an event last.
    turn: u64,
    orders: u64,
    /// Events and bytes in memory, in entries; bytes in outboxes.
    buffered: usize,
    buffered_live: usize,
    held_bytes: usize,
    outbox_bytes: usize,
    /// The position after the last one that was handed out or is settled.
    touched: u64,
    last_settled: Option<(u64, u64)>,
    last_read: Option<(u64, u64)>,
    durable: CheckpointRecord,
    /// Settled and not in a durable checkpoint, and since when.
    unsaved: u64,
    unsaved_since: Option<u64>,
    done_total: u64,
    /// What happened since somebody took this.
    pub(super) counted: GroupTotals,
    rate: Rate,
    /// Who has something to take.
    woken: BTreeSet<u64>,
    trouble: Option<Error>,
    paused_until: Option<u64>,
}

impl Machine {
    fn ordered(&self) -> bool {
        self.settings.strategy == Strategy::Ordered
    }

    /// A consumer comes.
    pub(super) fn connect(&mut self, id: u64, options: ConsumerOptions, now: Now) {
        self.consumers.insert(id, Seat::new(options, now));
        self.dispatch(now);
    }

    /// A consumer goes: what it held is for others. Only what it got first of what it took counts as a try, since that is
    /// what it was at.
    pub(super) fn disconnect(&mut self, id: u64, now: Now) {
        let Some(mut seat) = self.consumers.remove(&id) else { return };
        self.woken.remove(&id);
        let untaken = seat.outbox.len();
        let taken = seat.in_flight.len() - untaken;
        let mut outbox = std::mem::take(&mut seat.outbox);
        for (at, position) in seat.in_flight.values().copied().enumerate() {
            self.forget_deadline(position);
            if at >= taken {
                let delivery = outbox.pop_front().expect("what was not taken is in the outbox");
                self.outbox_bytes -= delivery.event.size_bytes();
                self.put_event(position, delivery.event);
            } else if at == 0 {
                self.fail(position, ParkReason::TimedOut, "the consumer went away", &seat.options.name, now);
            } else {
                self.again(position);
            }
        }
        self.dispatch(now);
    }

    /// What a consumer gets next.
    pub(super) fn take(&mut self, id: u64, now: Now) -> Option<Delivery> {
        let seat = self.consumers.get_mut(&id)?;
        let was_stalled = std::mem::take(&mut seat.stalled);
        let delivery = seat.outbox.pop_front();
        if let Some(delivery) = &delivery {
            self.outbox_bytes -= delivery.event.size_bytes();
            self.counted.delivered += 1;
        }
        if was_stalled {
            self.dispatch(now);
            if delivery.is_none() {
                return self.take(id, now);
            }
        }
        delivery
    }

    /// A consumer has done events; how many of them were in its hands.
    pub(super) fn ack(&mut self, id: u64, positions: impl IntoIterator<Item = u64>, now: Now) -> usize {
        let mut count = 0;
        for position in positions {
            let Some(since) = self.take_back(id, position) else { continue };
            count += 1;
            self.done_total += 1;
            self.counted.done += 1;
            self.rate.count(now.at);
            let keep = self.settings.extra_statistics;
            if let Some(seat) = self.consumers.get_mut(&id) {
                seat.done(since, now, keep);
            }
            self.settle(position, Verdict::Done, now);
        }
        self.dispatch(now);
        count
    }

    /// A consumer has not done events; how many of them were in its hands.
    pub(super) fn nack(
        &mut self,
        id: u64,
        positions: impl IntoIterator<Item = u64>,
        action: Nack,
        error: &str,
        now: Now,
    ) -> usize {
        let mut count = 0;
        let name = self.consumers.get(&id).map(|seat| seat.options.name.clone()).unwrap_or_default();
        for position in positions {
            if self.take_back(id, position).is_none() {
                continue;
            }
            count += 1;
            match action {
                Nack::Retry => self.fail(position, ParkReason::RetriesExhausted, error, &name, now),
                Nack::Park => {
                    let Some(entry) = self.entry_mut(position) else { continue };
                    entry.failures.add(now.wall);
                    let verdict = Verdict::Park {
                        reason: ParkReason::Requested,
                        error: cut(error),
                        consumer: name.clone(),
                    };
                    self.record(position, verdict);
                }
                Nack::Skip => self.settle(position, Verdict::Skipped, now),
            }
        }
        self.dispatch(now);
        count
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Now) {
        while let Some((at, position)) = self.timers.first().copied() {
            if at > now.at {
                break;
            }
            self.timers.pop_first();
            match self.entry_mut(position).map(|entry| &entry.stage) {
                Some(Stage::Waiting) => self.again(position),
                Some(Stage::InFlight { consumer, .. }) => {
                    let consumer = *consumer;
                    self.time_out(consumer, position, now);
                }
                _ => {}
            }
        }
        if !self.consumers.is_empty() {
            while let Some(position) = self.letters.pop_automatic(now.wall) {
                self.mark(position);
                self.letters.mark_automatic(position);
            }
        }
        self.dispatch(now);
    }

    fn time_out(&mut self, consumer: u64, position: u64, now: Now) {
        let untaken = self
            .consumers
            .get(&consumer)
            .is_some_and(|seat| seat.outbox.iter().any(|delivery| delivery.event.position.0 == position));
        let Some(seat) = self.consumers.get_mut(&consumer) else { return };
        let name = seat.options.name.clone();
        if untaken {
            seat.stalled = true;
        }
        self.take_back(consumer, position);
        if untaken {
            self.again(position);
        } else {
            self.fail(position, ParkReason::TimedOut, "no answer in time", &name, now);
        }
    }

    /// Takes an event out of a consumer's hands; since when it was there, if it was.
    fn take_back(&mut self, id: u64, position: u64) -> Option<u64> {
        let entry = self.entry_mut(position)?;
        let Stage::InFlight { consumer, order, since, deadline } = entry.stage else { return None };
        if consumer != id {
            return None;
        }
        // Whoever takes it back says what becomes of it.
        entry.stage = Stage::Unloaded;
        if let Some(deadline) = deadline {
            self.timers.remove(&(deadline, position));
        }
        let seat = self.consumers.get_mut(&id)?;
        seat.in_flight.remove(&order);
        if let Some(at) = seat.outbox.iter().position(|delivery| delivery.event.position.0 == position)
            && let Some(delivery) = seat.outbox.remove(at)
        {
            self.outbox_bytes -= delivery.event.size_bytes();
        }
        Some(since)
    }

    fn forget_deadline(&mut self, position: u64) {
        if let Some(Entry { stage: Stage::InFlight { deadline: Some(deadline), .. }, .. }) =
            self.entry_mut(position)
        {
            let timer = (*deadline, position);
            self.timers.remove(&timer);
        }
    }

    /// A try failed: again after a pause, or parked if the tries are used up.
    fn fail(&mut self, position: u64, reason: ParkReason, error: &str, consumer: &Text, now: Now) {
        let (backoff, retries_max) = (self.settings.retry_backoff, self.settings.retries_max);
        let Some(entry) = self.entry_mut(position) else { return };
        entry.failures.add(now.wall);
        entry.round = entry.round.saturating_add(1);
        let round = entry.round;
        let verdict = if round > retries_max {
            Verdict::Park { reason, error: cut(error), consumer: consumer.clone() }
        } else {
            Verdict::Retry { due: now.at.saturating_add(super::settings::micros(backoff.after(round))) }
        };
        self.record(position, verdict);
    }

    /// Nothing more happens with an event until the log says so.
    fn record(&mut self, position: u64, verdict: Verdict) {
        self.drop_event(position);
        let Some(entry) = self.entry_mut(position) else { return };
        let parks = matches!(verdict, Verdict::Park { .. });
        entry.stage = Stage::Recording(verdict);
        if parks && self.open.contains_key(&position) {
            self.to_park.insert(position);
        } else {
            self.to_record.insert(position);
        }
        self.touch(position);
    }

    /// It is to be read and delivered again, as soon as there is room.
    fn again(&mut self, position: u64) {
        let Some(entry) = self.entry_mut(position) else { return };
        entry.stage = Stage::Unloaded;
        self.to_load.insert(position);
    }

    /// An event is done with: a parked one when the log says so, another one at once.
    fn settle(&mut self, position: u64, verdict: Verdict, now: Now) {
        if self.replays.contains_key(&position) {
            self.record(position, verdict);
        } else {
            self.counted.skipped += u64::from(matches!(verdict, Verdict::Skipped));
            self.remove_open(position, now);
        }
    }

    /// An open event is done or parked.
    fn remove_open(&mut self, position: u64, now: Now) {
        self.drop_event(position);
        let Some(entry) = self.open.remove(&position) else { return };
        self.forget(position);
        self.settled(position, entry.revision, now);
        if let Some(queue) = self.queues.get_mut(&entry.stream) {
            queue.remove(&position);
            if queue.is_empty() {
                self.queues.remove(&entry.stream);
            }
        }
        self.promote(&entry.stream);
    }

    /// A parked event is not on its way any more.
    fn remove_replay(&mut self, position: u64) {
        self.drop_event(position);
        self.replays.remove(&position);
        self.forget(position);
    }

    fn forget(&mut self, position: u64) {
        self.to_load.remove(&position);
        self.to_record.remove(&position);
        self.to_park.remove(&position);
        self.ready.remove(&(0, position));
        self.ready.remove(&(1, position));
    }

    fn settled(&mut self, position: u64, revision: u64, now: Now) {
        self.touch(position);
        self.last_settled = self.last_settled.max(Some((position, revision)));
        self.unsaved += 1;
        self.unsaved_since.get_or_insert(now.at);
    }

    fn touch(&mut self, position: u64) {
        if !self.replays.contains_key(&position) {
            self.touched = self.touched.max(position.saturating_add(1));
        }
    }

    fn entry_mut(&mut self, position: u64) -> Option<&mut Entry> {
        self.open.get_mut(&position).or_else(|| self.replays.get_mut(&position))
    }

    fn entry(&self, position: u64) -> Option<&Entry> {
        self.open.get(&position).or_else(|| self.replays.get(&position))
    }

    /// Keeps an event for whoever has room.
    fn put_event(&mut self, position: u64, event: StoredEvent) {
        let bytes = event.size_bytes();
        let Some(entry) = self.entry_mut(position) else { return };
        entry.event = Some(event);
        entry.stage = Stage::Ready;
        let live = entry.live;
        self.buffered += 1;
        self.buffered_live += usize::from(live);
        self.held_bytes += bytes;
        self.to_load.remove(&position);
        self.ready.insert((0, position));
    }

    fn drop_event(&mut self, position: u64) -> Option<StoredEvent> {
        let entry = self.entry_mut(position)?;
        let (event, live) = (entry.event.take()?, entry.live);
        self.buffered -= 1;
        self.buffered_live -= usize::from(live);
        self.held_bytes -= event.size_bytes();
        self.ready.remove(&(0, position));
        self.ready.remove(&(1, position));
        Some(event)
    }

    /// Whose turn it is in a stream of an ordered group, after something changed there.
    fn promote(&mut self, stream: &StreamName) {
        if !self.ordered() {
            return;
        }
        let first_open = self.queues.get(stream).and_then(|queue| queue.first().copied());
        let first_letter = self.letters.first_of(stream);
        if let (Some(_), Some(letter)) = (first_open, first_letter) {
            let behind: Vec<u64> = self.queues[stream].range(letter..).copied().collect();
            for position in behind {
                let waits = self
                    .open
                    .get(&position)
                    .is_some_and(|entry| matches!(entry.stage, Stage::Queued | Stage::Ready));
                if waits {
                    let (error, consumer) = (Text::from(""), Text::from(""));
                    self.record(position, Verdict::Park { reason: ParkReason::Behind, error, consumer });
                }
            }
        }
        if let Some(position) = first_open
            && let Some(entry) = self.open.get_mut(&position)
            && matches!(entry.stage, Stage::Queued)
        {
            entry.stage = Stage::Ready;
            self.ready.insert((1, position));
        }
        if let Some(letter) = first_letter
            && first_open.is_none_or(|open| open > letter)
        {
            let behind = self.letters.get(letter).is_some_and(|letter| letter.reason == ParkReason::Behind);
            if behind {
                self.letters.mark(letter);
            }
            if self.letters.is_marked(letter) && !self.replays.contains_key(&letter) {
                self.letters.ready.insert(letter);
            }
        }
    }

    /// A parked event is to be replayed; how many are, that were not. In an ordered group those before it in its stream are
    /// replayed too.
    pub(super) fn mark(&mut self, position: u64) -> u64 {
        let Some(letter) = self.letters.get(position) else { return 0 };
        let stream = letter.stream.clone();
        let mut count = 0;
        if self.ordered() {
            for earlier in self.letters.of(&stream).into_iter().filter(|earlier| *earlier <= position) {
                count += u64::from(self.letters.mark(earlier));
            }
            self.promote(&stream);
        } else if self.letters.mark(position) {
            count = 1;
            self.letters.ready.insert(position);
        }
        count
    }

    /// Parked events were skipped, and that is durable.
    pub(super) fn skipped(&mut self, positions: &[u64], now: Now) {
        for position in positions {
            if let Some(Stage::InFlight { consumer, .. }) =
                self.replays.get(position).map(|entry| &entry.stage)
            {
                let consumer = *consumer;
                self.take_back(consumer, *position);
            }
            self.remove_replay(*position);
            if let Some(letter) = self.letters.remove(*position) {
                self.counted.skipped += 1;
                self.promote(&letter.stream);
            }
        }
        self.dispatch(now);
    }

    /// Those who have something to take since the last call.
    pub(super) fn woken(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.woken)
    }

    pub(super) fn has_consumers(&self) -> bool {
        !self.consumers.is_empty()
    }

    pub(super) fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    /// Ends all consumers.
    pub(super) fn clear_consumers(&mut self) {
        self.consumers.clear();
        self.woken.clear();
        self.outbox_bytes = 0;
    }

    pub(super) fn consumers(&self, now: Now) -> Vec<ConsumerInfo> {
        self.consumers.iter().map(|(id, seat)| seat.info(*id, now)).collect()
    }
}

/// What a consumer said, cut where it is too long.
fn cut(error: &str) -> Text {
    let mut end = error.len().min(limits::DEAD_LETTER_ERROR_BYTES_MAX);
    while !error.is_char_boundary(end) {
        end -= 1;
    }
    Text::from(&error[..end])
}
