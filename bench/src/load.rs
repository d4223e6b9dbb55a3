//! The load: what the clients of a [`Contender`] do for the length of a slot, and what that came to.

use crate::events::{ABSENT_TYPE, ENTITY_EVENTS, Event, Source, entity, mix};
use crate::process::Counters;
use crate::target::{Ask, By, Client, Target};
use anyhow::{Context, Result, ensure};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Calls a client makes in a slot at the most.
const CALLS_MAX: usize = 2_000_000;
/// Longest wait for an event to be delivered.
const DELIVERY_MAX: Duration = Duration::from_secs(10);
/// The source of the events a store is filled with.
pub(crate) const FILL_SOURCE: u64 = 1;
/// Events of an append that fills a store.
const FILL_BATCH: usize = 1_000;

/// Sources from here on belong to the clients of slots; no two of a run are the same.
static NEXT_SOURCE: AtomicU64 = AtomicU64::new(10);

/// What the clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Append batches, one after the other.
    Append {
        /// Clients at the same time.
        clients: usize,
        /// Events of a batch.
        batch: usize,
    },
    /// Append one event at a time, each unless the log has an event of a type that it never has.
    Condition,
    /// Read the whole log, once.
    ReadAll,
    /// Read the ten events of a random entity, one after the other.
    ReadTen {
        /// By what they are found.
        by: By,
        /// Entities the store was filled with.
        entities: u64,
    },
    /// Read the whole category, once.
    ReadCategory,
    /// Take the category's events in a new group, and acknowledge them.
    Consume {
        /// Events of the category.
        events: u64,
    },
    /// Append one event at a time and wait until a follower has it.
    Deliver,
}

impl Work {
    /// What it asks of a target.
    pub(crate) fn ask(self) -> Ask {
        match self {
            Work::Append { .. } => Ask::Append,
            Work::Condition => Ask::Condition,
            Work::ReadAll => Ask::ReadAll,
            Work::ReadTen { by, .. } => Ask::ReadTen(by),
            Work::ReadCategory => Ask::ReadCategory,
            Work::Consume { .. } => Ask::Consume,
            Work::Deliver => Ask::Follow,
        }
    }

    fn clients(self) -> usize {
        match self {
            Work::Append { clients, .. } => clients,
            _ => 1,
        }
    }
}

/// A target with its clients connected.
pub(crate) struct Contender {
    /// What is measured.
    pub(crate) target: Arc<dyn Target>,
    clients: Vec<(Box<dyn Client>, Source)>,
}

/// What a slot came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// Events appended or read, or calls, as the work counts.
    pub(crate) done: u64,
    /// From the first call to the last answer.
    pub(crate) seconds: f64,
    /// A call each, microseconds. For [`Work::Deliver`]: from the acknowledgement to the delivery, which may be negative.
    pub(crate) latencies_us: Vec<f32>,
    /// What the target's processes used.
    pub(crate) used: Counters,
}

impl Contender {
    /// Connects as many clients as the work needs.
    ///
    /// # Errors
    /// If one cannot be connected.
    pub(crate) async fn connect(target: Arc<dyn Target>, work: Work) -> Result<Contender> {
        let mut clients = Vec::new();
        for _ in 0..work.clients() {
            let client =
                target.connect().await.with_context(|| format!("cannot connect to {}", target.name()))?;
            clients.push((client, Source::new(NEXT_SOURCE.fetch_add(1, Ordering::Relaxed))));
        }
        Ok(Contender { target, clients })
    }

    /// Works for this long.
    ///
    /// # Errors
    /// If any call fails.
    pub(crate) async fn slot(&mut self, work: Work, length: Duration) -> Result<Sample> {
        let name = self.target.name();
        let processes = self.target.processes();
        let before = Counters::of(&processes);
        let begun = Instant::now();
        let until = begun + length;
        let mut tasks = Vec::new();
        for (client, source) in self.clients.drain(..) {
            tasks.push(tokio::spawn(drive(client, source, work, until)));
        }
        let mut sample = Sample::default();
        for task in tasks {
            let (client, source, done, latencies) =
                task.await?.with_context(|| format!("{name}, {work:?}"))?;
            self.clients.push((client, source));
            sample.done += done;
            sample.latencies_us.extend(latencies);
        }
        sample.seconds = begun.elapsed().as_secs_f64();
        sample.used = Counters::of(&processes).since(before);
        Ok(sample)
    }
}

type Driven = (Box<dyn Client>, Source, u64, Vec<f32>);

async fn drive(
    mut client: Box<dyn Client>,
    mut source: Source,
    work: Work,
    until: Instant,
) -> Result<Driven> {
    let mut latencies = Vec::new();
    let done = match work {
        Work::Append { batch, .. } => {
            appends(&mut *client, &mut source, batch, None, until, &mut latencies).await?
        }
        Work::Condition => {
            appends(&mut *client, &mut source, 1, Some(ABSENT_TYPE), until, &mut latencies).await?
        }
        Work::ReadAll => {
            let begun = Instant::now();
            let done = client.read_all().await?;
            latencies.push(micros(begun.elapsed()));
            done
        }
        Work::ReadCategory => {
            let begun = Instant::now();
            let done = client.read_category().await?;
            latencies.push(micros(begun.elapsed()));
            done
        }
        Work::Consume { events } => {
            let begun = Instant::now();
            let done = client.consume(events, until).await?;
            latencies.push(micros(begun.elapsed()) / done.max(1) as f32);
            done
        }
        Work::ReadTen { by, entities } => {
            let mut random = until.elapsed().subsec_nanos().into();
            while Instant::now() < until && latencies.len() < CALLS_MAX {
                random = mix(random + latencies.len() as u64);
                let name = entity(FILL_SOURCE, random % entities);
                let begun = Instant::now();
                let found = client.read_entity(by, &name).await?;
                latencies.push(micros(begun.elapsed()));
                ensure!(found == ENTITY_EVENTS, "entity {name} has {found} events");
            }
            latencies.len() as u64
        }
        Work::Deliver => deliveries(&mut *client, &mut source, until, &mut latencies).await?,
    };
    Ok((client, source, done, latencies))
}

async fn appends(
    client: &mut dyn Client,
    source: &mut Source,
    batch: usize,
    unless: Option<&str>,
    until: Instant,
    latencies: &mut Vec<f32>,
) -> Result<u64> {
    while Instant::now() < until && latencies.len() < CALLS_MAX {
        let events = source.batch(batch);
        let begun = Instant::now();
        client.append(&events, unless).await?;
        latencies.push(micros(begun.elapsed()));
    }
    Ok((latencies.len() * batch) as u64)
}

async fn deliveries(
    client: &mut dyn Client,
    source: &mut Source,
    until: Instant,
    latencies: &mut Vec<f32>,
) -> Result<u64> {
    let mut follow = client.follow().await?;
    let (sender, mut delivered) = mpsc::channel(64);
    let follower = tokio::spawn(async move {
        while let Ok(count) = follow.next().await {
            let now = Instant::now();
            for _ in 0..count {
                if sender.send(now).await.is_err() {
                    return;
                }
            }
        }
    });
    // The first ones tell that the follower stands at the end; what they took does not count.
    let mut warm = 3;
    while Instant::now() < until && latencies.len() < CALLS_MAX {
        let events: Vec<Event> = source.batch(1);
        client.append(&events, None).await?;
        let acknowledged = Instant::now();
        let at = match timeout(DELIVERY_MAX, delivered.recv()).await {
            Ok(at) => at.context("the subscription ended")?,
            Err(_) if warm > 0 => continue,
            Err(_) => anyhow::bail!("an event was not delivered within {DELIVERY_MAX:?}"),
        };
        if warm > 0 {
            warm -= 1;
            continue;
        }
        let late = at.saturating_duration_since(acknowledged);
        let early = acknowledged.saturating_duration_since(at);
        latencies.push(micros(late) - micros(early));
    }
    follower.abort();
    Ok(latencies.len() as u64)
}

/// Fills a store that has the first `made` events up to `events`, in appends of a thousand; returns the seconds it took.
///
/// # Errors
/// If an append fails.
pub(crate) async fn fill(target: &dyn Target, mut made: u64, events: u64) -> Result<f64> {
    let mut client = target.connect().await?;
    let mut source = Source::from(FILL_SOURCE, made);
    let begun = Instant::now();
    while made < events {
        let count = FILL_BATCH.min(usize::try_from(events - made)?);
        client
            .append(&source.batch(count), None)
            .await
            .with_context(|| format!("filling {}", target.name()))?;
        made += count as u64;
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// Reads one entity a store was filled with: the first answer of a server that was just started.
///
/// # Errors
/// If it is not whole.
pub(crate) async fn first_answer(target: &dyn Target) -> Result<()> {
    let by = if target.offers(Ask::ReadTen(By::Tag)) { By::Tag } else { By::Stream };
    let found = target.connect().await?.read_entity(by, &entity(FILL_SOURCE, 0)).await?;
    ensure!(found == ENTITY_EVENTS, "{} has {found} events of the first entity", target.name());
    Ok(())
}

fn micros(duration: Duration) -> f32 {
    (duration.as_nanos() as f64 / 1e3) as f32
}
