//! The machine against a plain model, over random steps: what consumers do, time, crashes, and what operators ask for.

use super::super::letters::{Letter, Letters, Place};
use super::super::records::{CheckpointRecord, Tries};
use super::{Batch, Machine, Now, REPLAYS_MAX, Work};
use graven_model::event::Kind;
use graven_model::group::{Backoff, ConsumerOptions, GroupSettings, Nack, ReplayPolicy, Strategy};
use graven_model::{
    Code, EventId, NewEvent, Position, Revision, Selector, StoredEvent, StreamName, Timestamp, limits,
};
use proptest::prelude::{Just, ProptestConfig, any, prop_oneof, proptest};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// What the world knows of an event.
#[derive(Debug, Clone, Default)]
struct Fate {
    done: bool,
    skipped: bool,
    /// Whether a checkpoint, or the record of a replay, says so.
    durable: bool,
    attempts_durable: u32,
    held_by: Option<(u64, u64)>,
}

struct World {
    machine: Machine,
    settings: GroupSettings,
    letters_max: usize,
    log: Vec<StoredEvent>,
    head: u64,
    fates: Vec<Fate>,
    checkpoint: CheckpointRecord,
    tries: Vec<Tries>,
    letters: BTreeMap<u64, Letter>,
    records: u64,
    at: u64,
    consumers: Vec<u64>,
    ids: u64,
    hands: Vec<(u64, u64)>,
    poisoned: BTreeSet<u64>,
}

impl World {
    fn new(settings: GroupSettings, streams: &[u8], letters_max: usize) -> World {
        let mut revisions: HashMap<u8, u64> = HashMap::new();
        let log: Vec<StoredEvent> = streams
            .iter()
            .enumerate()
            .map(|(position, stream)| {
                let revision = revisions.entry(*stream).or_default();
                let event = StoredEvent {
                    position: Position(position as u64),
                    stream: StreamName::new(format!("s-{stream}")).unwrap(),
                    revision: Revision(*revision),
                    committed_at: Timestamp::from_micros(position as i64),
                    kind: Kind::Event,
                    erased: false,
                    event: NewEvent::json(EventId([position as u8; 16]), "T", "{}"),
                };
                *revision += 1;
                event
            })
            .collect();
        let checkpoint = CheckpointRecord::at(0, 0);
        let mut machine = Machine::restored(settings.clone(), checkpoint.clone(), &[], Letters::default());
        machine.letters_max = letters_max;
        machine.tick(Now { at: 0, wall: Timestamp::from_micros(0) });
        World {
            machine,
            settings,
            letters_max,
            fates: vec![Fate::default(); log.len()],
            head: (log.len() / 2) as u64,
            log,
            checkpoint,
            tries: Vec::new(),
            letters: BTreeMap::new(),
            records: 0,
            at: 0,
            consumers: Vec::new(),
            ids: 0,
            hands: Vec::new(),
            poisoned: BTreeSet::new(),
        }
    }

    fn now(&self) -> Now {
        Now { at: self.at, wall: Timestamp::from_micros(self.at as i64) }
    }

    fn ordered(&self) -> bool {
        self.settings.strategy == Strategy::Ordered
    }

    /// Does what the machine wants, up to so many steps; whether it wants nothing more.
    fn work(&mut self, steps: usize) -> bool {
        for _ in 0..steps {
            let now = self.now();
            self.machine.tick(now);
            self.check_bounds();
            match self.machine.work(now, self.head) {
                Work::Idle { until } => {
                    let wants = self.machine.wants(now, self.head, until);
                    assert!(!wants, "it idles and would be woken at once, for ever");
                    return true;
                }
                Work::Write(batch) => self.write(batch),
                Work::Load(positions) => {
                    let events =
                        positions.into_iter().map(|at| (at, Some(self.log[at as usize].clone()))).collect();
                    self.machine.loaded(events, now);
                }
                Work::Read { from, limit, .. } => {
                    let end = (from + limit as u64).min(self.head);
                    let events = self.log[from as usize..end as usize].to_vec();
                    self.machine.read(events, end, now);
                }
            }
        }
        false
    }

    fn write(&mut self, batch: Batch) {
        for tried in &batch.tries {
            let fate = &mut self.fates[tried.0 as usize];
            fate.attempts_durable = tried.1;
            match self.letters.get_mut(&tried.0) {
                Some(letter) => letter.attempts = tried.1,
                None => self.tries.push(*tried),
            }
        }
        let first = self.records;
        for (index, (position, letter, _)) in batch.parked.iter().enumerate() {
            let record = Place { revision: first + index as u64, position: 0 };
            self.letters.insert(*position, Letter { record, ..letter.clone() });
            self.records += 1;
        }
        for position in batch.done.iter().chain(&batch.skipped) {
            assert!(self.letters.remove(position).is_some(), "only what is parked leaves the list");
            self.fates[*position as usize].durable = true;
        }
        if let Some(checkpoint) = &batch.checkpoint {
            self.check_checkpoint(checkpoint);
            for tried in &checkpoint.tries {
                let known = &mut self.fates[tried.0 as usize].attempts_durable;
                *known = tried.1.max(*known);
            }
            self.checkpoint = checkpoint.clone();
            self.tries.clear();
        }
        let now = self.now();
        self.machine.written(batch, |index| Place { revision: first + index as u64, position: 0 }, now);
        self.check_letters();
    }

    /// A checkpoint covers nothing that is not done or parked, and nothing is behind one that was.
    fn check_checkpoint(&mut self, checkpoint: &CheckpointRecord) {
        for position in 0..checkpoint.next {
            if checkpoint.open.contains(&position) {
                continue;
            }
            let fate = &mut self.fates[position as usize];
            let parked = self.letters.contains_key(&position);
            assert!(fate.done || fate.skipped || parked, "{position} is covered and neither done nor parked");
            fate.durable |= fate.done || fate.skipped;
        }
        assert!(checkpoint.next <= self.head);
    }

    /// What is parked in memory is what the log says is parked.
    fn check_letters(&self) {
        let parked: Vec<u64> = self.machine.letters.iter_from(0).map(|(position, _)| position).collect();
        let durable: Vec<u64> = self.letters.keys().copied().collect();
        assert_eq!(parked, durable);
        for (position, letter) in self.machine.letters.iter_from(0) {
            assert_eq!(letter.attempts, self.letters[&position].attempts, "attempts of {position}");
        }
    }

    fn check_bounds(&self) {
        let machine = &self.machine;
        assert!(machine.letters.len() <= self.letters_max, "no more are parked than may be");
        let buffer = self.settings.live_buffer.max(self.settings.history_buffer) as usize;
        // What is read for a retry goes out at once, if its consumer did not just leave.
        let given_back = 64 + REPLAYS_MAX;
        assert!(machine.buffered <= buffer + given_back, "{} events are held", machine.buffered);
        let held: usize = machine
            .open
            .values()
            .chain(machine.replays.values())
            .filter(|entry| entry.event.is_some())
            .count();
        assert_eq!(held, machine.buffered);
        for (position, letter) in machine.letters.iter_from(0) {
            assert!(!machine.open.contains_key(&position), "{position} ({letter:?}) is open and parked");
        }
    }

    fn connect(&mut self, buffer: u32) {
        self.ids += 1;
        let options = ConsumerOptions { name: format!("c{}", self.ids).into(), address: "".into(), buffer };
        self.machine.connect(self.ids, options, self.now());
        self.consumers.push(self.ids);
    }

    fn disconnect(&mut self, id: u64) {
        self.machine.disconnect(id, self.now());
        self.consumers.retain(|consumer| *consumer != id);
        self.hands.retain(|(consumer, _)| *consumer != id);
        self.fates
            .iter_mut()
            .filter(|fate| fate.held_by.is_some_and(|(by, _)| by == id))
            .for_each(|fate| fate.held_by = None);
    }

    fn take(&mut self, id: u64) -> bool {
        let now = self.now();
        let Some(delivery) = self.machine.take(id, now) else { return false };
        let position = delivery.event.position.0;
        let timeout = self.settings.message_timeout.map_or(u64::MAX, |time| time.as_micros() as u64);
        let fate = &mut self.fates[position as usize];
        if let Some((by, since)) = fate.held_by {
            let waited = now.at - since;
            assert!(waited >= timeout, "{position} is with {id} and, since {waited} µs, with {by}");
            self.hands.retain(|hand| *hand != (by, position));
        }
        // The time runs since it was handed out.
        let since = match self.machine.entry(position).map(|entry| &entry.stage) {
            Some(super::Stage::InFlight { since, .. }) => *since,
            stage => panic!("{position} was taken and is {stage:?}"),
        };
        fate.held_by = Some((id, since));
        assert!(
            !(fate.durable && (fate.done || fate.skipped)),
            "{position} was done for good and comes again"
        );
        assert_eq!(delivery.replayed, self.letters.contains_key(&position));
        assert_eq!(
            delivery.retries,
            self.letters.get(&position).map_or(fate.attempts_durable, |letter| letter.attempts),
            "tries of {position} are durable before the next one"
        );
        if self.ordered() {
            let stream = self.log[position as usize].stream.clone();
            for earlier in 0..position as usize {
                if self.log[earlier].stream == stream {
                    let fate = &self.fates[earlier];
                    assert!(fate.done || fate.skipped, "{position} overtakes {earlier} of {stream}");
                }
            }
        }
        self.hands.push((id, position));
        true
    }

    /// Something becomes of what a consumer holds.
    fn answer(&mut self, (id, position): (u64, u64), verb: u8) {
        let now = self.now();
        self.hands.retain(|hand| *hand != (id, position));
        let bad = self.poisoned.contains(&position);
        let count = match verb {
            0..=5 if !bad => self.machine.ack(id, [position], now),
            6 => self.machine.nack(id, [position], Nack::Park, "no", now),
            7 => self.machine.nack(id, [position], Nack::Skip, "no", now),
            _ => self.machine.nack(id, [position], Nack::Retry, "again", now),
        };
        assert!(count <= 1);
        if count == 1 {
            let fate = &mut self.fates[position as usize];
            fate.held_by = None;
            match verb {
                0..=5 if !bad => fate.done = true,
                7 => fate.skipped = true,
                _ => {}
            }
        }
    }

    fn letters_of_the_log(&self) -> Letters {
        let mut letters = Letters::default();
        for (position, letter) in &self.letters {
            letters.put(*position, letter.clone());
        }
        letters
    }

    fn crash(&mut self) {
        let parked = self.letters.len();
        let letters = self.letters_of_the_log();
        self.machine =
            Machine::restored(self.settings.clone(), self.checkpoint.clone(), &self.tries, letters);
        self.machine.letters_max = self.letters_max;
        assert_eq!(self.machine.letters.len(), parked);
        self.consumers.clear();
        self.hands.clear();
        for (position, fate) in self.fates.iter_mut().enumerate() {
            fate.held_by = None;
            // What was done since the checkpoint is done again.
            (fate.done, fate.skipped) = (fate.done && fate.durable, fate.skipped && fate.durable);
            let known =
                self.tries.iter().chain(&self.checkpoint.tries).filter(|tried| tried.0 == position as u64);
            fate.attempts_durable = known.map(|tried| tried.1).max().unwrap_or(0);
        }
    }

    fn step(&mut self, (what, which, much): (u8, u8, u8)) {
        let consumer =
            (!self.consumers.is_empty()).then(|| self.consumers[usize::from(which) % self.consumers.len()]);
        match what % 16 {
            0 if self.consumers.len() < 4 => self.connect(u32::from(much % 5) + 1),
            1 if much < 90 => {
                if let Some(id) = consumer {
                    self.disconnect(id);
                }
            }
            2 => self.at += u64::from(much) * 100,
            3 => self.head = (self.head + u64::from(much) % 5).min(self.log.len() as u64),
            4 if much < 60 => self.crash(),
            5 if much < 90 => {
                let chosen: Vec<u64> =
                    self.letters.keys().copied().filter(|at| at % 3 != u64::from(which % 3)).collect();
                for position in chosen {
                    self.machine.mark(position);
                }
            }
            6 if much < 50 => {
                let chosen: Vec<u64> =
                    self.letters.keys().copied().filter(|at| at % 4 == u64::from(which % 4)).collect();
                for position in &chosen {
                    self.letters.remove(position);
                    let fate = &mut self.fates[*position as usize];
                    (fate.skipped, fate.durable, fate.held_by) = (true, true, None);
                    self.hands.retain(|(_, held)| held != position);
                }
                let now = self.now();
                self.machine.skipped(&chosen, now);
            }
            7 if much < 40 => {
                while let Some(batch) = self.machine.batch(self.now(), true) {
                    self.write(batch);
                }
                self.machine.rest(Some(self.settings.clone()));
                self.consumers.clear();
                self.hands.clear();
                self.fates.iter_mut().for_each(|fate| fate.held_by = None);
                for (position, failures) in
                    self.machine.known.iter().map(|(at, failures)| (*at, *failures)).collect::<Vec<_>>()
                {
                    self.fates[position as usize].attempts_durable = failures.attempts;
                }
            }
            8..=10 => {
                if let Some(id) = consumer {
                    self.take(id);
                }
            }
            11..=13 => {
                if !self.hands.is_empty() {
                    let hand = self.hands[usize::from(which) % self.hands.len()];
                    self.answer(hand, much % 10);
                }
            }
            _ => {
                self.work(usize::from(which % 4) + 1);
            }
        }
        self.check_bounds();
    }

    /// With a good consumer, everything is done at last, and after a replay nothing is parked.
    fn finish(&mut self) {
        self.poisoned.clear();
        self.head = self.log.len() as u64;
        let all: Vec<u64> = self.consumers.clone();
        for id in all {
            self.disconnect(id);
        }
        self.connect(3);
        let id = self.ids;
        for round in 0.. {
            assert!(round < 20_000, "it does not end: {:?}", self.machine.standing(self.now()).done_below);
            self.at += 5_000;
            self.work(50);
            while self.take(id) {}
            for hand in self.hands.clone() {
                self.answer(hand, 0);
            }
            let waiting: Vec<u64> = self.letters.keys().copied().collect();
            let settled = self.machine.next >= self.head
                && self.machine.open.is_empty()
                && self.machine.left.is_empty();
            if settled && waiting.is_empty() && self.machine.to_record.is_empty() {
                break;
            }
            if settled || self.machine.letters_full() {
                for position in waiting {
                    self.machine.mark(position);
                }
            }
        }
        for (position, fate) in self.fates.iter().enumerate() {
            assert!(fate.done || fate.skipped, "{position} was lost");
        }
        self.disconnect(id);
        while !self.work(10) {}
        assert_eq!(self.checkpoint.done_below(), self.head);
        assert_eq!(self.machine.held_bytes + self.machine.outbox_bytes, 0);
    }
}

fn strategies() -> impl proptest::strategy::Strategy<Value = Strategy> {
    prop_oneof![
        Just(Strategy::Ordered),
        Just(Strategy::Ordered),
        Just(Strategy::RoundRobin),
        Just(Strategy::DispatchToSingle),
        Just(Strategy::Pinned),
        Just(Strategy::PinnedByCorrelation),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_event_is_done_in_the_end_and_none_twice_at_a_time(
        strategy in strategies(),
        retries_max in 0u32..3,
        timeout in proptest::option::of(1_000u64..20_000),
        buffers in (1u32..6, 1u32..6, 1u32..6),
        checkpoints in (1u32..4, 0u32..6, proptest::bool::ANY),
        automatic in proptest::option::of(1u32..3),
        letters_max in prop_oneof![Just(limits::DEAD_LETTERS_MAX), 1usize..5],
        streams in proptest::collection::vec(0u8..4, 2..40),
        poisoned in proptest::collection::btree_set(0u64..40, 0..4),
        steps in proptest::collection::vec(any::<(u8, u8, u8)>(), 0..300),
    ) {
        let backoff = Backoff { first: Duration::from_micros(500), max: Duration::from_micros(4_000) };
        let settings = GroupSettings {
            strategy,
            retries_max,
            message_timeout: timeout.map(Duration::from_micros),
            live_buffer: buffers.0,
            history_buffer: buffers.1,
            read_batch: buffers.2,
            checkpoint_min: checkpoints.0,
            checkpoint_max: checkpoints.0 + checkpoints.1,
            checkpoint_after: checkpoints.2.then_some(Duration::from_micros(2_000)),
            retry_backoff: backoff,
            replay: automatic.map(|times_max| ReplayPolicy { backoff, times_max }),
            ..GroupSettings::new(Selector::All)
        };
        let mut world = World::new(settings, &streams, letters_max);
        world.poisoned = poisoned;
        for step in steps {
            world.step(step);
        }
        world.finish();
    }
}

/// A group that may park two events, and whose consumer failed with the first three of five, all at a time.
fn full_of_letters() -> World {
    let settings = GroupSettings { retries_max: 0, ..GroupSettings::new(Selector::All) };
    let mut world = World::new(settings, &[0, 1, 2, 3, 4], 2);
    world.head = 5;
    world.connect(3);
    while !world.work(10) {}
    for _ in 0..3 {
        assert!(world.take(1));
    }
    let now = world.now();
    assert_eq!(world.machine.nack(1, 0..3, Nack::Retry, "again", now), 3);
    world.hands.clear();
    world.fates.iter_mut().for_each(|fate| fate.held_by = None);
    while !world.work(10) {}
    world
}

#[test]
fn a_group_with_as_many_dead_letters_as_it_may_have_waits_and_says_so() {
    let mut world = full_of_letters();
    let standing = world.machine.standing(world.now());
    assert_eq!(standing.trouble.map(|error| error.code), Some(Code::DeadLettersFull));
    assert_eq!((standing.parked, standing.done_below), (2, 2));
    world.at += 1_000_000;
    while !world.work(10) {}
    assert!(!world.take(1), "nothing fresh is delivered");

    // A replay that fails stays parked, and one that is done makes room for what waits to be parked.
    world.machine.mark(0);
    while !world.work(10) {}
    assert!(world.take(1));
    world.answer(world.hands[0], 8);
    while !world.work(10) {}
    assert_eq!(world.letters.keys().collect::<Vec<_>>(), [&0, &1]);
    world.machine.mark(0);
    while !world.work(10) {}
    assert!(world.take(1));
    world.answer(world.hands[0], 0);
    while !world.work(10) {}
    assert_eq!(world.letters.keys().collect::<Vec<_>>(), [&1, &2]);
    assert!(!world.take(1));
}

#[test]
fn a_full_group_goes_on_after_a_skip() {
    let mut world = full_of_letters();
    let now = world.now();
    world.letters.clear();
    world.machine.skipped(&[0, 1], now);
    for at in 0..2 {
        (world.fates[at].skipped, world.fates[at].durable) = (true, true);
    }
    while !world.work(10) {}
    assert_eq!(world.letters.keys().collect::<Vec<_>>(), [&2]);
    assert!(world.take(1));
    assert_eq!(world.hands, [(1, 3)]);
    assert_eq!(world.machine.standing(now).trouble, None);
    world.finish();
}

#[test]
fn tries_of_what_waits_to_be_parked_outlive_a_rest_and_a_crash() {
    let mut world = full_of_letters();
    world.disconnect(1);
    while let Some(batch) = world.machine.batch(world.now(), true) {
        world.write(batch);
    }
    world.machine.rest(None);
    world.crash();
    let now = world.now();
    world.letters.clear();
    world.machine.skipped(&[0, 1], now);
    world.connect(1);
    while !world.work(10) {}
    let delivery = world.machine.take(2, now).expect("there is room now");
    assert_eq!((delivery.event.position.0, delivery.retries), (2, 1));
}
