use crate::support::{name, seeds, to};
use graven_engine::{Consumer, Groups, Options, Store};
use graven_model::{
    Backoff, Code, ConsumerOptions, DeadLetterFilter, Delivery, Expected, GroupName, GroupSettings, Nack,
    Position, Result, Selector, Start, Strategy,
};
use graven_sim::SimMachine;
use graven_sim::dice::mix;
use graven_sim::world::{DIR, tiny_options};
use std::collections::{BTreeMap, BTreeSet};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

fn options(machine: &SimMachine) -> Options {
    Options { env: machine.env(), index_flush_events: 20, heads_max: 3, ..tiny_options() }
}

fn group() -> GroupName {
    GroupName::new("workers").unwrap()
}

fn settings(seed: u64) -> GroupSettings {
    GroupSettings {
        start: Start::Start,
        strategy: if seed.is_multiple_of(3) { Strategy::RoundRobin } else { Strategy::Ordered },
        retries_max: (seed % 2) as u32,
        retry_backoff: Backoff { first: Duration::from_millis(1), max: Duration::from_millis(2) },
        checkpoint_min: 1,
        checkpoint_max: 3 + (seed % 5) as u32,
        checkpoint_after: Some(Duration::from_millis(2)),
        ..GroupSettings::new(Selector::Category("s".into()))
    }
}

/// What is known outside of the machine.
#[derive(Default)]
struct Outside {
    appended: u64,
    created: bool,
    /// Processed at least once.
    done: BTreeSet<Position>,
    /// Skipped, or perhaps skipped.
    skipped: BTreeSet<Position>,
    /// Parked, when somebody looked last.
    parked: BTreeSet<Position>,
    /// Parked events somebody had done with: they leave the list as soon as that is durable.
    settled: BTreeSet<Position>,
    /// Processing these fails.
    poisoned: BTreeSet<u64>,
    streams: BTreeMap<String, Vec<Position>>,
    deliveries: u64,
    parkings: u64,
}

fn take(consumer: &mut Consumer) -> Result<Option<Delivery>> {
    match consumer.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(next) => next.map(Some),
        Poll::Pending => Ok(None),
    }
}

fn letters(groups: &Groups) -> Result<BTreeSet<Position>> {
    let page = groups.dead_letters(&DeadLetterFilter::default(), None, 1_000)?;
    Ok(page.letters.into_iter().map(|letter| letter.position).collect())
}

impl Outside {
    fn look(&mut self, groups: &Groups) -> Result<()> {
        self.parked = letters(groups)?;
        Ok(())
    }

    fn process(&mut self, consumer: &Consumer, delivery: &Delivery, seed: u64, ordered: bool) -> Result<()> {
        self.deliveries += 1;
        let position = delivery.event.position;
        let before = self.streams.entry(delivery.event.stream.as_str().to_owned()).or_default();
        if !before.contains(&position) {
            before.push(position);
        }
        if ordered {
            let overtaken = before.iter().find(|earlier| {
                **earlier < position && !self.done.contains(earlier) && !self.skipped.contains(earlier)
            });
            assert_eq!(overtaken, None, "seed {seed}: {position} overtakes");
        }
        let number = u64::from_be_bytes(delivery.event.event.id.0[8..].try_into().unwrap());
        let handle = consumer.handle();
        if self.poisoned.contains(&number) {
            self.settled.remove(&position);
            handle.nack(&[position], Nack::Retry, "poisoned")?;
        } else {
            self.settled.insert(position);
            self.done.insert(position);
            handle.ack(&[position])?;
        }
        Ok(())
    }
}

/// Appends, processes, replays and skips until the power goes.
fn work(machine: &SimMachine, seed: u64, base: u64, outside: &mut Outside) -> Result<()> {
    let store = Store::open(DIR, options(machine))?;
    let groups = store.groups();
    let ordered = settings(base).strategy == Strategy::Ordered;
    match groups.create(&group(), &settings(base)) {
        Err(error) if error.code == Code::GroupExists => {}
        other => other?,
    }
    outside.created = true;
    let mut consumer = None;
    for step in 0..40 {
        let dice = mix(seed ^ step << 32);
        // What nobody looked at may have changed; a machine without power answers from memory at best.
        match dice % 12 {
            0 | 1 => {
                let number = outside.appended;
                outside.appended += 1;
                if mix(number ^ base).is_multiple_of(5) {
                    outside.poisoned.insert(number);
                }
                store.append(to(&format!("s-{}", mix(number) % 4), Expected::Any, [number]))?;
            }
            2 => machine.clock.advance((dice >> 8 & 0xfff) as i64),
            3 => consumer = None,
            4 if dice >> 8 & 1 == 0 => {
                groups.replay(&DeadLetterFilter::default(), Some(dice >> 9 & 3))?;
            }
            5 if dice >> 8 & 7 == 0 => {
                if let Some(position) = letters(&groups)?.first().copied() {
                    outside.skipped.insert(position);
                    outside.settled.insert(position);
                    let filter =
                        DeadLetterFilter { positions: vec![position], ..DeadLetterFilter::default() };
                    groups.skip(&filter, None)?;
                }
            }
            6 => {
                let before = outside.parked.len();
                outside.look(&groups)?;
                outside.parkings += outside.parked.len().saturating_sub(before) as u64;
            }
            _ => {
                let consuming = match &mut consumer {
                    Some(consuming) => consuming,
                    none => {
                        let buffer = 1 + (dice >> 8 & 3) as u32;
                        let options = ConsumerOptions { name: "c".into(), address: "".into(), buffer };
                        none.insert(groups.connect(&group(), options)?)
                    }
                };
                if let Some(delivery) = take(consuming)? {
                    outside.process(consuming, &delivery, seed, ordered)?;
                }
            }
        }
    }
    drop(consumer);
    if seed % 4 < 2 { store.close() } else { Ok(()) }
}

/// Whatever call the power goes at: what is parked stays parked, unless somebody had done with it; nothing is lost, nothing
/// overtakes in an ordered group, and in the end everything is done.
#[test]
fn nothing_is_lost_and_no_parked_event_changes_whatever_call_the_power_goes_at() {
    let (mut interrupted, mut deliveries, mut parkings) = (0u64, 0, 0);
    for seed in seeds(120) {
        let mut machine = SimMachine::new(seed);
        let mut outside = Outside::default();
        for round in 0..6 {
            let round_seed = mix(seed ^ round << 8);
            machine.disk.power_off_after(20 + mix(round_seed) % 400);
            let outcome = work(&machine, round_seed, seed, &mut outside);
            interrupted += u64::from(outcome.is_err());
            assert!(outcome.is_ok() || !machine.disk.is_powered(), "seed {seed}: {outcome:?}");
            machine = match mix(round_seed ^ 1).is_multiple_of(3) {
                true => machine.kill(),
                false => machine.crash(mix(round_seed ^ 2)),
            };
            let store =
                Store::open(DIR, options(&machine)).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            if !outside.created {
                continue;
            }
            let found = letters(&store.groups()).unwrap();
            for position in &outside.parked {
                let gone = !found.contains(position);
                assert!(
                    !gone || outside.settled.contains(position),
                    "seed {seed}, round {round}: {position} is lost"
                );
            }
            outside.look(&store.groups()).unwrap();
            store.close().unwrap();
        }
        // Repaired: everything is processed at last.
        outside.poisoned.clear();
        let store = Store::open(DIR, options(&machine)).unwrap();
        let groups = store.groups();
        if !outside.created {
            continue;
        }
        let ordered = settings(seed).strategy == Strategy::Ordered;
        groups.replay(&DeadLetterFilter::default(), None).unwrap();
        let consumer_options = ConsumerOptions { name: "c".into(), address: "".into(), buffer: 3 };
        let mut consumer = groups.connect(&group(), consumer_options).unwrap();
        for idle in 0.. {
            assert!(idle < 1_000, "seed {seed}: it does not end");
            machine.clock.advance(3_000);
            while let Some(delivery) = take(&mut consumer).unwrap() {
                outside.process(&consumer, &delivery, seed, ordered).unwrap();
            }
            let info = groups.info(&group()).unwrap();
            if (info.lag_events, info.parked) == (0, 0) {
                break;
            }
            groups.replay(&DeadLetterFilter::default(), None).unwrap();
        }
        for number in 0..4 {
            let stream = name(&format!("s-{number}"));
            let page = store.read(&graven_model::ReadRequest::new(Selector::Stream(stream)));
            for event in page.map(|page| page.events).unwrap_or_default() {
                let position = event.position;
                let settled = outside.done.contains(&position) || outside.skipped.contains(&position);
                assert!(settled, "seed {seed}: the event at {position} was lost");
            }
        }
        drop(consumer);
        store.close().unwrap();
        deliveries += outside.deliveries;
        parkings += outside.parkings;
    }
    assert!(
        interrupted > 50 && deliveries > 1_000 && parkings > 50,
        "{interrupted}, {deliveries}, {parkings}"
    );
}
