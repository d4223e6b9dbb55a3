//! A group at work: the machine behind a lock, and the thread that reads and writes for it while it has consumers.

use super::consumer::Seat;
use super::log::{self, GroupLog, Restored, Span, Written};
use super::machine::{Batch, Machine, Now, Work};
use super::records::CheckpointRecord;
use super::source::Source;
use crate::env::spawn_named;
use graven_model::group::{ConsumerOptions, GroupInfo, GroupName, GroupSettings};
use graven_model::{AppendRequest, Code, Error, Expected, Position, Result, Revision, Timestamp, limits};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

/// A group of an open store.
pub(super) struct Group {
    pub(super) name: GroupName,
    pub(super) created_at: Timestamp,
    pub(super) log: Arc<GroupLog>,
    /// Held by whoever reads or writes for the group; taken before `core`.
    io: Mutex<Span>,
    core: Mutex<Core>,
    signal: Arc<Signal>,
}

/// What calls that never block on the disk may lock.
pub(super) struct Core {
    pub(super) machine: Machine,
    pub(super) source: Source,
    clock: Elapsed,
    seats: BTreeMap<u64, (Arc<Seat>, Option<Waker>)>,
    /// Why there is no consuming any more.
    over: Option<Error>,
    running: bool,
    thread: Option<JoinHandle<()>>,
    /// While the thread sleeps: until when at the latest.
    sleeps: Option<Option<u64>>,
}

/// Time that passes at the pace of a clock that may jump back.
#[derive(Default)]
struct Elapsed {
    shown_us: Option<i64>,
    at: u64,
}

impl Elapsed {
    fn now(&mut self, shown_us: i64) -> Now {
        let passed = shown_us.saturating_sub(self.shown_us.unwrap_or(shown_us)).max(0);
        self.shown_us = Some(shown_us);
        self.at += u64::try_from(passed).unwrap_or_default();
        Now { at: self.at, wall: Timestamp::from_micros(shown_us) }
    }
}

/// Wakes the thread of a group.
#[derive(Default)]
struct Signal {
    called: Mutex<bool>,
    calling: Condvar,
}

impl Signal {
    fn call(&self) {
        *self.called.lock() = true;
        self.calling.notify_all();
    }

    /// Waits for a call, or for as long as given.
    fn wait(&self, pause: Option<Duration>) {
        let mut called = self.called.lock();
        while !*called {
            match pause {
                Some(pause) => {
                    if self.calling.wait_for(&mut called, pause).timed_out() {
                        break;
                    }
                }
                None => self.calling.wait(&mut called),
            }
        }
        *called = false;
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.call();
    }
}

impl Group {
    pub(super) fn new(
        name: GroupName,
        created_at: Timestamp,
        settings: GroupSettings,
        restored: Restored,
        log: Arc<GroupLog>,
    ) -> Result<Group> {
        let Restored { checkpoint, tries, letters, span } = restored;
        let source = Source::new(&settings)?;
        let machine = Machine::restored(settings, checkpoint, &tries, letters);
        Ok(Group {
            name,
            created_at,
            log,
            io: Mutex::new(span),
            core: Mutex::new(Core {
                machine,
                source,
                clock: Elapsed::default(),
                seats: BTreeMap::new(),
                over: None,
                running: false,
                thread: None,
                sleeps: None,
            }),
            signal: Arc::default(),
        })
    }

    /// The machine, with the time.
    pub(super) fn lock(&self) -> (MutexGuard<'_, Core>, Now) {
        let shown = self.log.shared.env.clock.now_us();
        let mut core = self.core.lock();
        let now = core.clock.now(shown);
        (core, now)
    }

    /// Lets go of the machine: what happened is counted, who got something is woken, and the thread if there is something for it to do.
    pub(super) fn unlock(&self, mut core: MutexGuard<'_, Core>, now: Now) {
        let head = self.log.shared.head();
        let call = core.sleeps.is_some_and(|until| core.machine.wants(now, head, until));
        if call {
            core.sleeps = None;
        }
        self.log.totals.add(std::mem::take(&mut core.machine.counted));
        let woken = core.machine.woken();
        let mut wakers = Vec::with_capacity(woken.len());
        for id in woken {
            wakers.extend(core.seats.get_mut(&id).and_then(|(_, waker)| waker.take()));
        }
        drop(core);
        wakers.into_iter().for_each(Waker::wake);
        if call {
            self.signal.call();
        }
    }

    /// Whether reading and writing is done by whoever asks instead of a thread.
    pub(super) fn by_hand(&self) -> bool {
        self.log.shared.env.is_simulated()
    }

    /// Takes a consumer in.
    ///
    /// # Errors
    /// [`Code::GroupFull`]; why the group is over.
    pub(super) fn connect(self: &Arc<Self>, id: u64, options: ConsumerOptions) -> Result<Arc<Seat>> {
        let (mut core, now) = self.lock();
        if let Some(over) = &core.over {
            return Err(over.clone());
        }
        let max = match core.machine.settings.consumers_max {
            0 => limits::GROUP_CONSUMERS_MAX,
            max => max as usize,
        };
        if core.machine.consumer_count() >= max {
            return Err(Error::new(
                Code::GroupFull,
                format!("group {:?} has as many consumers as it takes", self.name.as_str()),
            )
            .expected(format!("fewer than {max}")));
        }
        let seat = Arc::new(Seat::new(id, Arc::clone(self)));
        core.seats.insert(id, (Arc::clone(&seat), None));
        core.machine.connect(id, options, now);
        if !core.running && !self.by_hand() {
            core.running = true;
            let group = Arc::clone(self);
            core.thread = Some(spawn_named("graven-group", move || group.run()));
        }
        self.unlock(core, now);
        Ok(seat)
    }

    /// A consumer that is there.
    pub(super) fn seat(&self, id: u64) -> Option<Arc<Seat>> {
        self.core.lock().seats.get(&id).map(|(seat, _)| Arc::clone(seat))
    }

    /// A consumer leaves.
    pub(super) fn leave(&self, id: u64) {
        let (mut core, now) = self.lock();
        if core.seats.remove(&id).is_none() {
            return;
        }
        core.machine.disconnect(id, now);
        let last = !core.machine.has_consumers();
        self.unlock(core, now);
        if !last {
            return;
        }
        self.signal.call();
        if self.by_hand() {
            self.pump();
        }
    }

    /// Waits with this until there is something for a consumer.
    pub(super) fn wait(core: &mut Core, id: u64, waker: &Waker) {
        if let Some((_, waiting)) = core.seats.get_mut(&id) {
            match waiting {
                Some(same) if same.will_wake(waker) => {}
                other => *other = Some(waker.clone()),
            }
        }
    }

    /// Ends all consumers.
    fn end_all(core: &mut Core, error: &Error) {
        for (seat, waker) in std::mem::take(&mut core.seats).into_values() {
            seat.end(error.clone());
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// For the thread: works until nobody consumes any more and everything is written.
    fn run(&self) {
        let mut head = self.log.shared.watch();
        let waker = Waker::from(Arc::clone(&self.signal));
        loop {
            head.borrow_and_update();
            let until = self.pump();
            let mut changed = pin!(head.changed());
            let pause = {
                let (mut core, now) = self.lock();
                let busy = core.machine.has_consumers()
                    || core.over.is_none() && core.machine.batch(now, true).is_some();
                if !busy {
                    core.machine.rest(None);
                    core.running = false;
                    core.sleeps = None;
                    return;
                }
                if core.machine.wants(now, self.log.shared.head(), until) {
                    continue;
                }
                core.sleeps = Some(until);
                until.map(|until| Duration::from_micros(until.saturating_sub(now.at)))
            };
            if changed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                self.signal.wait(pause);
            }
            self.core.lock().sleeps = None;
        }
    }

    /// Reads and writes for the group until nothing is left to do now; until when.
    pub(super) fn pump(&self) -> Option<u64> {
        loop {
            let mut io = self.io.lock();
            let (mut core, now) = self.lock();
            if core.over.is_some() {
                return None;
            }
            core.machine.tick(now);
            let work = core.machine.work(now, self.log.shared.head());
            let source = core.source.clone();
            let outcome = match work {
                Work::Idle { until } => {
                    self.unlock(core, now);
                    return until;
                }
                Work::Write(batch) => {
                    self.write(&mut io, core, now, &batch).map(|(written, mut core, now)| {
                        core.machine.written(batch, |index| written.place(index), now);
                        self.unlock(core, now);
                    })
                }
                Work::Load(positions) => {
                    self.unlock(core, now);
                    self.load(&source, positions).map(|events| {
                        let (mut core, now) = self.lock();
                        core.machine.loaded(events, now);
                        self.unlock(core, now);
                    })
                }
                Work::Read { from, limit, from_revision } => {
                    self.unlock(core, now);
                    source.read(&self.log.shared, from, limit, from_revision).map(|(events, next)| {
                        let (mut core, now) = self.lock();
                        core.machine.read(events, next, now);
                        self.unlock(core, now);
                    })
                }
            };
            if let Err(error) = outcome {
                self.failed(error);
            }
        }
    }

    fn load(
        &self,
        source: &Source,
        positions: Vec<u64>,
    ) -> Result<Vec<(u64, Option<graven_model::StoredEvent>)>> {
        let mut events = Vec::with_capacity(positions.len());
        for position in positions {
            events.push((position, source.load(&self.log, position)?));
        }
        Ok(events)
    }

    /// Something went wrong: it is tried again, or nobody consumes here any more.
    fn failed(&self, error: Error) {
        let (mut core, now) = self.lock();
        let final_error = self.log.check().err().or_else(|| {
            matches!(error.code, Code::Closed | Code::Poisoned | Code::NotTheWriter | Code::OutcomeUnknown)
                .then(|| error.clone())
        });
        match final_error {
            Some(error) => {
                tracing::info!(group = self.name.as_str(), %error, "a consumer group ends");
                Group::end_all(&mut core, &error);
                core.over = Some(error);
                core.machine.rest(None);
            }
            None => {
                tracing::warn!(group = self.name.as_str(), %error, "a consumer group waits");
                core.machine.failed(error, now);
            }
        }
        self.unlock(core, now);
    }

    /// Writes everything down there is to write.
    fn flush(&self, io: &mut Span) -> Result<()> {
        loop {
            let (mut core, now) = self.lock();
            if let Some(over) = &core.over {
                return Err(over.clone());
            }
            let Some(batch) = core.machine.batch(now, true) else { return Ok(()) };
            let (written, mut core, now) = self.write(io, core, now, &batch)?;
            core.machine.written(batch, |index| written.place(index), now);
            self.unlock(core, now);
        }
    }

    /// Writes a batch, and answers with the machine, which it lets go of meanwhile and which knows what was written again.
    fn write<'a>(
        &'a self,
        io: &mut Span,
        core: MutexGuard<'a, Core>,
        now: Now,
        batch: &Batch,
    ) -> Result<(Written, MutexGuard<'a, Core>, Now)> {
        let oldest = log::oldest(&core.machine.letters, io);
        let letters = core.machine.letters.len() as u64;
        self.unlock(core, now);
        let written = log::write(&self.log, &self.name, io, batch, &oldest, letters)?;
        let (mut core, now) = self.lock();
        for (position, place) in &written.moved {
            core.machine.letters.moved(*position, *place);
        }
        Ok((written, core, now))
    }

    /// # Errors
    /// Why the group is over.
    fn expect_going_on(&self) -> Result<()> {
        match &self.core.lock().over {
            Some(over) => Err(over.clone()),
            None => Ok(()),
        }
    }

    /// Goes on with other settings once `append` has made them durable. Who consumes has to connect again.
    pub(super) fn update(&self, settings: &GroupSettings, append: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut io = self.io.lock();
        let source = Source::new(settings)?;
        self.expect_going_on()?;
        self.flush(&mut io)?;
        append()?;
        let (mut core, now) = self.lock();
        Group::end_all(&mut core, &changed(&self.name));
        core.machine.rest(Some(settings.clone()));
        core.source = source;
        self.unlock(core, now);
        drop(io);
        self.signal.call();
        Ok(())
    }

    /// Goes on from somewhere else. Who consumes has to connect again.
    pub(super) fn reset(&self, next: u64, from_revision: u64) -> Result<()> {
        let mut io = self.io.lock();
        self.expect_going_on()?;
        self.flush(&mut io)?;
        let checkpoint = CheckpointRecord::at(next, from_revision);
        let batch = Batch { checkpoint: Some(checkpoint.clone()), ..Batch::default() };
        let (core, now) = self.lock();
        let (_, mut core, now) = self.write(&mut io, core, now, &batch)?;
        Group::end_all(&mut core, &changed(&self.name));
        core.machine.reset(checkpoint);
        self.unlock(core, now);
        drop(io);
        self.signal.call();
        Ok(())
    }

    /// Ends the group once `append` has made that durable; what it has to append is given the end of the group's stream.
    pub(super) fn delete(&self, append: impl FnOnce(AppendRequest) -> Result<()>) -> Result<()> {
        let io = self.io.lock();
        let stream = super::records::stream_of(&self.name)?.metadata()?;
        let hide = AppendRequest::to(stream, Expected::Any, [self.log.truncation(io.end())?]);
        append(hide)?;
        self.end(&not_found(&self.name));
        drop(io);
        self.signal.call();
        Ok(())
    }

    /// Ends all consumers; what is not written down yet is, if that is possible.
    pub(super) fn stop(&self, error: &Error) -> Result<()> {
        let mut io = self.io.lock();
        let over = self.core.lock().over.is_some();
        let flushed = if over || !self.log.may_append() { Ok(()) } else { self.flush(&mut io) };
        self.end(error);
        drop(io);
        self.signal.call();
        let thread = self.core.lock().thread.take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            return Err(Error::new(Code::Internal, "the thread of a consumer group ended with a panic"));
        }
        flushed
    }

    fn end(&self, error: &Error) {
        let (mut core, now) = self.lock();
        Group::end_all(&mut core, error);
        core.over = Some(error.clone());
        core.machine.rest(None);
        self.unlock(core, now);
    }

    /// Parked events that were chosen are to be replayed; how many are.
    pub(super) fn replay(&self, positions: &[u64], limit: u64) -> u64 {
        let (mut core, now) = self.lock();
        let mut count = 0;
        for position in positions {
            if count >= limit {
                break;
            }
            count += core.machine.mark(*position);
        }
        core.machine.tick(now);
        self.unlock(core, now);
        self.signal.call();
        count
    }

    /// Skips those of the chosen events that are parked; how many were. Durable when this returns.
    pub(super) fn skip(&self, positions: &[u64]) -> Result<u64> {
        let mut io = self.io.lock();
        let mut count = 0;
        for chunk in positions.chunks(SKIPPED_MAX) {
            self.expect_going_on()?;
            let (batch, oldest, letters) = {
                let core = self.core.lock();
                let letters = &core.machine.letters;
                let skipped = chunk.iter().copied().filter(|at| letters.get(*at).is_some()).collect();
                let batch = super::machine::Batch { skipped, ..Default::default() };
                (batch, log::oldest(letters, &io), letters.len() as u64)
            };
            if batch.skipped.is_empty() {
                continue;
            }
            log::write(&self.log, &self.name, &mut io, &batch, &oldest, letters)?;
            count += batch.skipped.len() as u64;
            let (mut core, now) = self.lock();
            core.machine.skipped(&batch.skipped, now);
            self.unlock(core, now);
        }
        drop(io);
        self.signal.call();
        Ok(count)
    }

    /// How the group stands. Reads files.
    pub(super) fn info(&self) -> Result<GroupInfo> {
        let shared = &self.log.shared;
        let (core, now) = self.lock();
        let standing = core.machine.standing(now);
        let consumers = core.machine.consumers(now);
        let (settings, source) = (core.machine.settings.clone(), core.source.clone());
        let over = core.over.clone();
        drop(core);
        let since = |time: Timestamp| {
            Duration::from_micros(
                u64::try_from(now.wall.micros().saturating_sub(time.micros())).unwrap_or_default(),
            )
        };
        let (ahead, lag_exact) = source.count(shared, standing.next, standing.from_revision)?;
        let oldest = match standing.oldest_open {
            Some((_, Some(time))) => Some(time),
            Some((position, None)) => Some(self.log.event_at(position)?.committed_at),
            None => source
                .read(shared, standing.next, 1, standing.from_revision)?
                .0
                .first()
                .map(|event| event.committed_at),
        };
        let place = |(position, revision): (u64, u64)| (Position(position), Revision(revision));
        Ok(GroupInfo {
            name: self.name.clone(),
            settings,
            created_at: self.created_at,
            live: standing.live,
            replaying: standing.replaying,
            checkpoint: Position(standing.checkpoint),
            done_below: Position(standing.done_below),
            checkpointed_event: standing.checkpointed_event.map(place),
            last_event: standing.last_event.map(place),
            lag_events: standing.open + ahead,
            lag_exact,
            lag_time: oldest.map(since).unwrap_or_default(),
            parked: standing.parked,
            oldest_parked: standing.oldest_parked.map(since),
            buffered: standing.buffered,
            buffered_live: standing.buffered_live,
            retrying: standing.retrying,
            in_flight: standing.in_flight,
            done_total: standing.done_total,
            done_last_second: standing.done_last_second,
            consumers,
            trouble: over.or(standing.trouble),
        })
    }
}

/// Events skipped in one append.
const SKIPPED_MAX: usize = 10_000;

/// What consumers are told whose group goes on differently.
pub(super) fn changed(group: &GroupName) -> Error {
    Error::new(Code::GroupChanged, format!("group {:?} was updated or reset", group.as_str()))
}

/// That there is no such group.
pub(super) fn not_found(group: &GroupName) -> Error {
    Error::new(
        Code::GroupNotFound,
        format!("there is no consumer group {:?}", limits::shorten(group.as_str())),
    )
}
