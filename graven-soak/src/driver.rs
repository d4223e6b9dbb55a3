//! The clients: writers, readers and followers over an [`EventStore`], or over several that are to be one, writing down what
//! they are told.

use crate::Dice;
use crate::history::{Append, Follow, History, Logged, Nanos, OF_THE_STORE, OpId, Outcome, Read, StreamNo};
use anyhow::{Context as _, Result, bail};
use graven_model::error::Details;
use graven_model::read::{FollowRequest, FollowStep};
use graven_model::store::{EventStore, FollowSteps};
use graven_model::{
    AppendRequest, Code, Error, EventId, Expected, NewEvent, Position, Query, ReadRequest, Revision,
    Selector, Start, StreamName, StreamState, frame,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What a run is like.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The same seed makes the same choices; what comes of them is the store's business.
    pub seed: u64,
    /// Clients that append and read.
    pub writers: u32,
    /// Operations a second of all writers together, at the most.
    pub operations_per_second: u32,
    /// Streams they share: few make for conflicts.
    pub streams: u32,
    /// Tags they share.
    pub tags: u32,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { seed: 1, writers: 16, operations_per_second: 1_000, streams: 50, tags: 20 }
    }
}

/// Time after which the judge takes a follower for one that will get no more.
const QUIET: Duration = Duration::from_secs(3);

/// A run in progress.
pub struct Run<S> {
    stores: Vec<S>,
    seeing: fn(&S, Position) -> S,
    shared: Arc<Shared>,
    writers: JoinSet<()>,
    followers: JoinSet<Follow>,
    finished: Arc<AtomicBool>,
}

/// What all writers know.
struct Shared {
    plan: Plan,
    began: Instant,
    stop: AtomicBool,
    next_op: AtomicU64,
    /// Position after the last event that anyone was told is durable.
    acknowledged: AtomicU64,
    notes: Mutex<History>,
    /// Last revision of each stream as far as anyone was told.
    known: Mutex<HashMap<StreamNo, u64>>,
}

impl<S: EventStore> Run<S> {
    /// Starts writers and followers, taking turns through the stores. `seeing`: the store as one whose reads see the event
    /// at a position, which another store may have acknowledged.
    ///
    /// # Panics
    /// Without a store.
    pub fn start(stores: Vec<S>, seeing: fn(&S, Position) -> S, plan: Plan) -> Run<S> {
        let mut run = Run {
            stores,
            seeing,
            shared: Arc::new(Shared {
                plan,
                began: Instant::now(),
                stop: AtomicBool::default(),
                next_op: AtomicU64::new(1),
                acknowledged: AtomicU64::new(0),
                notes: Mutex::default(),
                known: Mutex::default(),
            }),
            writers: JoinSet::new(),
            followers: JoinSet::new(),
            finished: Arc::default(),
        };
        for number in 0..run.shared.plan.writers {
            let writer = run.writer(number);
            run.writers.spawn(writer.work());
        }
        for (at, tag) in [None, None, Some(0), Some(1)].into_iter().enumerate() {
            let follower = follow(run.store(at).clone(), tag, Arc::clone(&run.finished));
            run.followers.spawn(follower);
        }
        run
    }

    /// Operations begun so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.shared.next_op.load(Ordering::Relaxed)
    }

    fn store(&self, at: usize) -> &S {
        &self.stores[at % self.stores.len()]
    }

    fn writer(&self, number: u32) -> Writer<S> {
        Writer {
            store: self.store(number as usize).clone(),
            seeing: self.seeing,
            dice: Dice::new(self.shared.plan.seed ^ u64::from(number) << 32),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Lets the writers finish.
    ///
    /// # Errors
    /// If one ended with a panic.
    pub async fn stop(&mut self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.writers.join_next().await {
            ended.context("a writer panicked")?;
        }
        Ok(())
    }

    /// After [`Run::stop`], reads the final log, lets the followers catch up, and gives the whole history.
    ///
    /// # Errors
    /// If the log cannot be read, or a client ended with a panic.
    pub async fn finish(mut self) -> Result<History> {
        self.stop().await?;
        let log = read_log(self.store(0)).await?;
        self.finished.store(true, Ordering::Relaxed);
        let mut follows = Vec::new();
        while let Some(follow) = self.followers.join_next().await {
            follows.push(follow.context("a follower panicked")?);
        }
        let mut history = std::mem::take(&mut *lock(&self.shared.notes));
        history.log = log;
        history.follows = follows;
        Ok(history)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One client that appends and reads.
struct Writer<S> {
    store: S,
    seeing: fn(&S, Position) -> S,
    dice: Dice,
    shared: Arc<Shared>,
}

impl<S: EventStore> Writer<S> {
    async fn work(mut self) {
        let pause =
            Duration::from_secs(1) * self.shared.plan.writers / self.shared.plan.operations_per_second.max(1);
        let mut ticks = tokio::time::interval(pause.max(Duration::from_micros(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.shared.stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            match self.dice.below(10) {
                0 => self.read().await,
                _ => self.append().await,
            }
        }
    }

    fn now(&self) -> Nanos {
        self.shared.began.elapsed().as_nanos() as Nanos
    }

    async fn append(&mut self) {
        let op = self.shared.next_op.fetch_add(1, Ordering::Relaxed);
        let mut streams: Vec<(StreamNo, Expected, u32)> = Vec::new();
        let several = if self.dice.below(5) == 0 { 1 + self.dice.below(3) } else { 1 };
        for at in 0..several {
            let stream = self.dice.below(self.shared.plan.streams.into()) as StreamNo;
            if streams.iter().all(|(no, ..)| *no != stream) {
                // Of several streams the last may only be checked.
                let count = if at > 0 && self.dice.below(3) == 0 { 0 } else { 1 + self.dice.below(3) as u32 };
                streams.push((stream, self.expected(stream), count));
            }
        }
        let condition = (self.dice.below(8) == 0).then(|| {
            let tag = self.dice.below(self.shared.plan.tags.into()) as u32;
            let seen = lock(&self.shared.notes).appends.last_key_value().and_then(|(_, append)| match append
                .outcome
            {
                Outcome::Done { last, .. } => Some(last),
                _ => None,
            });
            (tag, seen)
        });
        let request = self.request(op, &streams, condition);
        let start = self.now();
        let answer = self.store.append(request).await;
        if let Ok(receipt) = &answer {
            // Before the append ends, so that a read that begins afterwards knows of it.
            let last = receipt.last_position.unwrap_or(receipt.first_position);
            self.shared.acknowledged.fetch_max(last.0 + 1, Ordering::SeqCst);
        }
        let end = self.now();
        if let Ok(receipt) = &answer {
            let mut known = lock(&self.shared.known);
            for ((no, ..), told) in streams.iter().zip(&receipt.streams) {
                if let Some(revision) = told.revision {
                    let last = known.entry(*no).or_default();
                    *last = revision.0.max(*last);
                }
            }
        }
        let outcome = match answer {
            Ok(receipt) => Outcome::Done {
                first: receipt.first_position,
                last: receipt.last_position.unwrap_or(receipt.first_position),
            },
            Err(error) => self.outcome_of(&error),
        };
        lock(&self.shared.notes).appends.insert(op, Append { op, start, end, streams, condition, outcome });
    }

    fn expected(&mut self, stream: StreamNo) -> Expected {
        let known = lock(&self.shared.known).get(&stream).copied();
        match (self.dice.below(4), known) {
            (0, Some(last)) => Expected::Revision(Revision(last)),
            (1, None) => Expected::NoStream,
            (1, Some(_)) => Expected::Exists,
            _ => Expected::Any,
        }
    }

    fn request(
        &mut self,
        op: OpId,
        streams: &[(StreamNo, Expected, u32)],
        condition: Option<(u32, Option<Position>)>,
    ) -> AppendRequest {
        let mut request = AppendRequest::default();
        let mut index = 0;
        for (stream, expected, count) in streams {
            let events: Vec<NewEvent> = (0..*count)
                .map(|_| {
                    let tag = self.dice.below(self.shared.plan.tags.into());
                    let padding = "x".repeat(self.dice.below(400) as usize);
                    let data = format!("{{\"op\":{op},\"index\":{index},\"padding\":\"{padding}\"}}");
                    let event =
                        NewEvent::json(event_id(op, index), "Soaked", data).tagged([format!("tag-{tag}")]);
                    index += 1;
                    event
                })
                .collect();
            request = request.and_to(stream_name(*stream), *expected, events);
        }
        match condition {
            Some((tag, after)) => {
                request.unless(Query::item(Vec::<&str>::new(), [format!("tag-{tag}")]), after)
            }
            None => request,
        }
    }

    fn outcome_of(&self, error: &Error) -> Outcome {
        match (&error.details, error.code) {
            (Details::FailedChecks(checks), Code::WrongExpectedRevision)
                if checks.iter().all(|check| check.partial_retry.is_none()) =>
            {
                let check = &checks[0];
                let revision = match check.actual {
                    StreamState::At(revision) => Some(revision),
                    _ => None,
                };
                if let (Some(no), Some(revision)) = (stream_no(check.stream.as_str()), revision) {
                    let mut known = lock(&self.shared.known);
                    let last = known.entry(no).or_default();
                    *last = revision.0.max(*last);
                }
                Outcome::WrongRevision(stream_no(check.stream.as_str()).unwrap_or(StreamNo::MAX), revision)
            }
            (Details::ConditionMatch(position), Code::ConditionFailed) => Outcome::ConditionFailed(*position),
            // After a retry even "try again later" does not say what became of the first attempt.
            (_, code) if code.entry().retryable || !code.entry().no_side_effects => Outcome::Unknown,
            (_, code) => Outcome::Refused(code),
        }
    }

    async fn read(&mut self) {
        let stream =
            (self.dice.below(4) > 0).then(|| self.dice.below(self.shared.plan.streams.into()) as StreamNo);
        let (selector, from) = match stream {
            Some(no) => {
                let last = lock(&self.shared.known).get(&no).copied().unwrap_or(0);
                let from = last.saturating_sub(self.dice.below(50));
                (Selector::Stream(stream_name(no)), Start::Revision(Revision(from)))
            }
            None => {
                let from = self.shared.next_op.load(Ordering::Relaxed).saturating_sub(self.dice.below(500));
                (Selector::All, Start::Position(Position(from)))
            }
        };
        let from_number = match from {
            Start::Revision(revision) => revision.0,
            Start::Position(position) => position.0,
            _ => 0,
        };
        let start = self.now();
        let store = match self.shared.acknowledged.load(Ordering::SeqCst).checked_sub(1) {
            Some(last) => (self.seeing)(&self.store, Position(last)),
            None => self.store.clone(),
        };
        let Ok(page) = store.read(&ReadRequest::new(selector).from(from)).await else { return };
        let read = Read {
            start,
            stream,
            from: from_number,
            to_the_end: page.next.is_none(),
            positions: page.events.iter().map(|event| event.position.0).collect(),
        };
        lock(&self.shared.notes).reads.push(read);
    }
}

/// Follows everything, or a tag, until the run has finished and nothing more comes.
async fn follow<S: EventStore>(store: S, tag: Option<u32>, finished: Arc<AtomicBool>) -> Follow {
    let selector = tag.map_or(Selector::All, |tag| Selector::Tags(vec![format!("tag-{tag}").into()]));
    let mut positions = Vec::new();
    'again: loop {
        let after = positions.last().map_or(Start::Start, |last| Start::Position(Position(*last)));
        let Ok(mut follower) = store.follow(FollowRequest::new(selector.clone(), after)).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        loop {
            match tokio::time::timeout(QUIET, follower.next_step()).await {
                Ok(Ok(FollowStep::Events(events))) => {
                    positions.extend(events.iter().map(|event| event.position.0))
                }
                Ok(Ok(_)) => {}
                Ok(Err(_)) => continue 'again,
                Err(_) if finished.load(Ordering::Relaxed) => {
                    return Follow { tag, positions, complete: true };
                }
                Err(_) => {}
            }
        }
    }
}

/// The whole log.
///
/// # Errors
/// If it cannot be read, or holds an event that is not of a run.
pub async fn read_log<S: EventStore>(store: &S) -> Result<Vec<Logged>> {
    let mut log = Vec::new();
    let mut from = Position(0);
    loop {
        let frames = store.read_frames(from, 1 << 20).await.map_err(anyhow::Error::new)?;
        if frames.bytes.is_empty() {
            return Ok(log);
        }
        for event in frame::events(&frames.bytes) {
            let event = event.map_err(anyhow::Error::new)?;
            if event.position.0 != log.len() as u64 {
                bail!("the log goes on with position {} after {} events", event.position, log.len());
            }
            if event.kind.is_control() {
                log.push(Logged {
                    op: OpId::from(OF_THE_STORE),
                    index: u32::try_from(event.revision.0).context("a soak seals less often")?,
                    stream: OF_THE_STORE,
                    revision: event.revision.0,
                    tag: OF_THE_STORE,
                    committed_at: event.committed_at.micros(),
                });
                continue;
            }
            let (op, index) = of_event_id(event.event.id);
            log.push(Logged {
                op,
                index,
                stream: stream_no(event.stream.as_str())
                    .with_context(|| format!("foreign stream {}", event.stream))?,
                revision: event.revision.0,
                tag: event
                    .event
                    .tags
                    .first()
                    .and_then(|tag| tag.strip_prefix("tag-")?.parse().ok())
                    .with_context(|| format!("no tag at position {}", event.position))?,
                committed_at: event.committed_at.micros(),
            });
        }
        from = frames.next;
    }
}

fn event_id(op: OpId, index: u32) -> EventId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&op.to_be_bytes());
    id[8..12].copy_from_slice(&index.to_be_bytes());
    EventId(id)
}

fn of_event_id(id: EventId) -> (OpId, u32) {
    let op = u64::from_be_bytes(id.0[..8].try_into().expect("eight bytes"));
    (op, u32::from_be_bytes(id.0[8..12].try_into().expect("four bytes")))
}

fn stream_name(no: StreamNo) -> StreamName {
    StreamName::new(format!("soak-{no}")).expect("a short name of letters and digits is valid")
}

fn stream_no(name: &str) -> Option<StreamNo> {
    name.strip_prefix("soak-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::judge;
    use graven_engine::{Options, Store};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_store_in_the_process_is_acquitted() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::small()).unwrap();
        let plan = Plan { operations_per_second: 2_000, streams: 8, tags: 5, ..Plan::default() };
        let run = Run::start(vec![store], |store, _| store.clone(), plan);
        while run.operations() < 3_000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let history = run.finish().await.unwrap();
        let told = |wanted: fn(&Outcome) -> bool| {
            history.appends.values().filter(|append| wanted(&append.outcome)).count()
        };
        assert!(told(|outcome| matches!(outcome, Outcome::Done { .. })) > 1_000);
        assert!(told(|outcome| matches!(outcome, Outcome::WrongRevision(..))) > 10);
        assert!(told(|outcome| matches!(outcome, Outcome::ConditionFailed(_))) > 10);
        assert!(history.reads.len() > 50 && history.follows.iter().all(|follow| follow.complete));
        assert_eq!(judge(&history), Vec::<String>::new());
    }
}
