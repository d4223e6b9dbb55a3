//! A naive model of the index, and a bench that keeps both in step.

mod collisions;
mod concurrency;
mod damage;
mod disk;
mod failures;
mod leftovers;
mod model;

use super::lookup::NO_OFFSET;
use super::{Entry, Hasher, Index, Item, StreamFrom, Term, TermQuery};
use crate::env::{Disk, Env};
use disk::MemoryDisk;
use graven_model::Direction;
use proptest::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;

const KEY: [u8; 16] = [42; 16];

/// An event by its names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    stream: u8,
    revision: u64,
    tombstone: bool,
    event_type: u8,
    tags: Vec<u8>,
    id: u8,
}

impl Event {
    fn category(&self) -> Option<u8> {
        category(self.stream)
    }
}

fn category(stream: u8) -> Option<u8> {
    (!stream.is_multiple_of(4)).then_some(stream % 4)
}

/// An event before it has a revision.
#[derive(Debug, Clone)]
struct Draft {
    stream: u8,
    tombstone: bool,
    event_type: u8,
    tags: Vec<u8>,
    id: u8,
}

fn draft() -> impl Strategy<Value = Draft> {
    let tags = prop::collection::vec(0..12u8, 0..4);
    (0..14u8, prop::bool::weighted(0.02), 0..5u8, tags, any::<u8>()).prop_map(
        |(stream, tombstone, event_type, tags, id)| Draft { stream, tombstone, event_type, tags, id },
    )
}

/// An index on a disk in memory, and what it has to say.
struct Bench {
    env: Env,
    disk: Arc<MemoryDisk>,
    dir: PathBuf,
    hasher: Hasher,
    /// Hashes do not collide: candidates are right without a look at the record.
    exact: bool,
    index: Arc<Index>,
    events: Vec<Event>,
}

impl Bench {
    fn new(mask: u64) -> Bench {
        let disk = Arc::new(MemoryDisk::default());
        let env = Env { disk: Arc::clone(&disk) as Arc<dyn Disk>, ..Env::real() };
        let dir = PathBuf::from("index");
        let (index, covered) = Index::open(&env, &dir, 64, true).unwrap();
        assert_eq!(covered, None);
        let hasher = Hasher::with_mask(KEY, mask);
        Bench { env, disk, dir, hasher, exact: mask == u64::MAX, index, events: Vec::new() }
    }

    /// Appends and seals twenty events a round.
    fn fill(&mut self, rounds: std::ops::Range<usize>) {
        for round in rounds {
            self.append(&drafts(round * 20..round * 20 + 20));
            self.seal();
        }
    }

    /// Appends events to model and index; drafts for a stream with a tombstone are left out.
    fn append(&mut self, drafts: &[Draft]) {
        let first = self.events.len();
        for draft in drafts {
            let own = self.events.iter().filter(|event| event.stream == draft.stream);
            if own.clone().any(|event| event.tombstone) {
                continue;
            }
            let revision = if draft.tombstone { i64::MAX as u64 } else { own.count() as u64 };
            let Draft { stream, tombstone, event_type, ref tags, id } = *draft;
            self.events.push(Event { stream, revision, tombstone, event_type, tags: tags.clone(), id });
        }
        self.index_from(first);
    }

    /// Adds the events from `first` on to the index.
    fn index_from(&self, first: usize) {
        insert(&self.index, &self.hasher, &self.events, first);
    }

    /// Freezes and flushes everything; the trailer is the number of events.
    fn seal(&self) {
        self.index.freeze((self.events.len() as u64).to_le_bytes().to_vec());
        self.index.durable(self.events.len() as u64);
    }

    /// Opens the index again; answers with the position it covers. What it does not cover is indexed again.
    fn reopen(&mut self) -> u64 {
        let (index, covered) = Index::open(&self.env, &self.dir, 64, true).unwrap();
        self.index = index;
        let covered = covered.map_or(0, |(covered, trailer)| {
            assert_eq!(trailer, covered.to_le_bytes(), "the trailer is that of the newest file");
            covered
        });
        self.index_from(covered as usize);
        covered
    }

    /// Names of the index files.
    fn files(&self) -> Vec<String> {
        self.env.disk.list(&self.dir).unwrap()
    }

    /// Paths of the index files.
    fn paths(&self) -> Vec<PathBuf> {
        self.files().iter().map(|name| self.dir.join(name)).collect()
    }

    /// Compares every kind of lookup with the model.
    fn check(&self) {
        for below in [u64::MAX, self.events.len() as u64 * 2 / 3] {
            self.checker(below).all();
        }
    }

    fn checker(&self, below: u64) -> Checker<'_> {
        Checker { index: &self.index, hasher: &self.hasher, events: &self.events, below, exact: self.exact }
    }
}

fn offset_of(position: usize) -> u32 {
    (position as u32).wrapping_mul(77) % 1_000_003
}

fn insert(index: &Index, hasher: &Hasher, events: &[Event], first: usize) {
    let tags: Vec<Vec<u64>> = events
        .iter()
        .map(|event| event.tags.iter().map(|tag| hasher.tag(&tag.to_string())).collect())
        .collect();
    let entries: Vec<Entry> = (first..events.len())
        .map(|position| {
            let event = &events[position];
            let stream = hasher.stream(&event.stream.to_string());
            Entry {
                position: position as u64,
                offset: offset_of(position),
                stream,
                revision: event.revision,
                tombstone: event.tombstone,
                event_type: hasher.event_type(&event.event_type.to_string()),
                category: event.category().map(|category| hasher.category(&category.to_string())),
                tags: &tags[position],
                id: hasher.id(&[event.id; 16], stream),
            }
        })
        .collect();
    index.insert(entries);
}

const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Backward];

/// Compares lookups with the model as far as the watermark lets see.
struct Checker<'a> {
    index: &'a Index,
    hasher: &'a Hasher,
    events: &'a [Event],
    below: u64,
    exact: bool,
}

impl Checker<'_> {
    fn all(&self) {
        let len = self.events.len() as u64;
        let probes = [0, 1, 2, 7, len / 2, len, u64::MAX];
        self.offsets();
        (0..15).for_each(|stream| self.stream(stream, &probes));
        (0..=255).step_by(5).for_each(|id| self.id(id));
        (0..13).for_each(|name| self.terms(name));
        self.numbers();
        let births = Wish { births: true, ..Wish::default() };
        let two_tags = Wish { tags: vec![1, 2], ..Wish::default() };
        let narrow = Wish { types: vec![0, 3, 9], tags: vec![1], category: Some(2), births: false };
        let born = Wish { types: vec![1, 2], category: Some(1), births: true, ..Wish::default() };
        let nothing = Wish { tags: vec![200], ..Wish::default() };
        self.query(&[], &probes);
        self.query(&[Wish::default()], &probes);
        self.query(std::slice::from_ref(&births), &probes);
        self.query(&[nothing.clone(), two_tags.clone(), narrow.clone()], &probes);
        self.query(&[born, births, nothing], &probes);
        self.query(&[two_tags, narrow, Wish::default()], &probes);
    }

    /// What a caller does with candidates: looks at the event and drops what was not meant. Candidates must be in
    /// order, visible, and each there once; what is left must be what the model says.
    fn verify(&self, candidates: &[u64], direction: Direction, wanted: impl Fn(u64, &Event) -> bool) {
        for pair in candidates.windows(2) {
            match direction {
                Direction::Forward => assert!(pair[0] < pair[1], "{candidates:?}"),
                Direction::Backward => assert!(pair[0] > pair[1], "{candidates:?}"),
            }
        }
        let visible = self.below.min(self.events.len() as u64);
        assert!(candidates.iter().all(|&position| position < visible));
        let meant = |&position: &u64| wanted(position, &self.events[position as usize]);
        let verified: Vec<u64> = candidates.iter().copied().filter(meant).collect();
        let mut expected: Vec<u64> = (0..visible).filter(meant).collect();
        if direction == Direction::Backward {
            expected.reverse();
        }
        assert_eq!(verified, expected);
        assert!(!self.exact || verified == candidates, "{candidates:?} hold more than {expected:?}");
    }

    fn offsets(&self) {
        let len = self.events.len() as u64;
        let positions: Vec<u64> = (0..len + 2).step_by(3).chain((0..len).rev().step_by(7)).collect();
        let right = |position: u64| (position < len).then(|| offset_of(position as usize));
        let mut together = Vec::new();
        self.index.offsets(&positions, &mut together);
        assert_eq!(together.len(), positions.len());
        for (&position, together) in positions.iter().zip(together) {
            assert_eq!(self.index.offset(position), right(position));
            assert_eq!(together, right(position).unwrap_or(NO_OFFSET));
        }
    }

    /// Reads a stream page by page from many places.
    fn stream(&self, stream: u8, probes: &[u64]) {
        let key = self.hasher.stream(&stream.to_string());
        let mut starts = vec![StreamFrom::End];
        starts
            .extend(probes.iter().flat_map(|&probe| [StreamFrom::Revision(probe), StreamFrom::After(probe)]));
        for (direction, from) in
            DIRECTIONS.iter().flat_map(|&direction| starts.iter().map(move |&from| (direction, from)))
        {
            let max = 1 + (stream as usize * 3) % 11;
            let (mut candidates, mut next) = (Vec::new(), from);
            loop {
                let before = candidates.len();
                self.index.stream(key, next, direction, self.below, max, &mut candidates);
                assert!(candidates.len() - before <= max);
                if candidates.len() - before < max {
                    break;
                }
                next = StreamFrom::After(candidates[candidates.len() - 1]);
            }
            self.verify(&candidates, direction, |position, event| {
                let beyond = match (from, direction) {
                    (StreamFrom::End, _) => true,
                    (StreamFrom::Revision(revision), Direction::Forward) => event.revision >= revision,
                    (StreamFrom::Revision(revision), Direction::Backward) => event.revision <= revision,
                    (StreamFrom::After(after), Direction::Forward) => position > after,
                    (StreamFrom::After(after), Direction::Backward) => position < after,
                };
                event.stream == stream && !event.tombstone && beyond
            });
        }
        let mut tombstones = Vec::new();
        self.index.tombstone(key, self.below, &mut tombstones);
        self.verify(&tombstones, Direction::Forward, |_, event| event.stream == stream && event.tombstone);
    }

    fn id(&self, id: u8) {
        for stream in [0u8, 5] {
            let mut candidates = Vec::new();
            let key = self.hasher.id(&[id; 16], self.hasher.stream(&stream.to_string()));
            self.index.id(key, self.below, &mut candidates);
            self.verify(&candidates, Direction::Backward, |_, event| {
                event.id == id && event.stream == stream
            });
        }
        let (mut all, mut few) = (Vec::new(), Vec::new());
        let key = self.hasher.id(&[id; 16], 0);
        self.index.id_prefix(key, self.below, usize::MAX, &mut all);
        self.verify(&all, Direction::Forward, |_, event| event.id == id);
        self.index.id_prefix(key, self.below, 2, &mut few);
        assert_eq!(few, all[..all.len().min(2)]);
    }

    fn terms(&self, name: u8) {
        let text = name.to_string();
        self.term(Term::Type(self.hasher.event_type(&text)), |event| event.event_type == name);
        self.term(Term::Tag(self.hasher.tag(&text)), |event| event.tags.contains(&name));
        self.term(Term::Category(self.hasher.category(&text)), |event| event.category() == Some(name));
    }

    fn term(&self, term: Term, wanted: impl Fn(&Event) -> bool) {
        let visible = self.below.min(self.events.len() as u64) as usize;
        let newest = self.events[..visible].iter().rposition(&wanted).map(|position| position as u64);
        let count = self.events.iter().filter(|event| wanted(event)).count() as u64;
        let last = self.index.last(term, self.below);
        assert!(last >= newest && last.is_none_or(|last| last < self.below));
        assert!(self.index.count(term) >= count);
        if self.exact {
            assert_eq!((last, self.index.count(term)), (newest, count));
        }
    }

    /// Numbers are places among the events whose names have the same key, whatever the names.
    fn numbers(&self) {
        for name in 0..5u8 {
            let text = name.to_string();
            let types = |event: &Event| self.hasher.event_type(&event.event_type.to_string());
            let key = self.hasher.event_type(&text);
            self.numbered(Term::Type(key), |event| types(event) == key);
            let categories =
                |event: &Event| event.category().map(|own| self.hasher.category(&own.to_string()));
            let key = self.hasher.category(&text);
            self.numbered(Term::Category(key), |event| categories(event) == Some(key));
        }
        self.numbered(Term::Births, |event| event.revision == 0);
    }

    fn numbered(&self, term: Term, listed: impl Fn(&Event) -> bool) {
        let visible = self.below.min(self.events.len() as u64);
        let positions: Vec<u64> =
            (0..visible).filter(|&position| listed(&self.events[position as usize])).collect();
        for number in (0..positions.len() + 2).step_by(1 + positions.len() / 40) {
            let position = positions.get(number).copied();
            assert_eq!(self.index.nth(term, number as u64, self.below), position, "{term:?} {number}");
        }
        for below in (0..=visible).step_by(1 + visible as usize / 40).chain([visible]) {
            let before = positions.partition_point(|&position| position < below) as u64;
            assert_eq!(self.index.rank(term, below), before, "{term:?} below {below}");
        }
    }

    /// Reads a query page by page from many places.
    fn query(&self, wishes: &[Wish], froms: &[u64]) {
        let query = TermQuery { items: wishes.iter().map(|wish| wish.item(self.hasher)).collect() };
        for direction in DIRECTIONS {
            for (number, &from) in froms.iter().enumerate() {
                let max = [1, 3, 50, 1_000][number % 4];
                let (mut candidates, mut next) = (Vec::new(), Some(from));
                while let Some(at) = next {
                    let before = candidates.len();
                    next = self.index.query(&query, at, direction, self.below, max, &mut candidates);
                    assert!(candidates.len() - before <= max);
                    let onward = next.is_none_or(|next| match direction {
                        Direction::Forward => next > at && next < self.below,
                        Direction::Backward => next < at,
                    });
                    assert!(onward, "the query gets on: {at} {next:?}");
                }
                self.verify(&candidates, direction, |position, event| {
                    let beyond = match direction {
                        Direction::Forward => position >= from,
                        Direction::Backward => position <= from,
                    };
                    beyond && wishes.iter().any(|wish| wish.matches(event))
                });
            }
        }
    }
}

/// An item of a query by names.
#[derive(Debug, Clone, Default)]
struct Wish {
    types: Vec<u8>,
    tags: Vec<u8>,
    category: Option<u8>,
    births: bool,
}

impl Wish {
    fn item(&self, hasher: &Hasher) -> Item {
        Item {
            types: self.types.iter().map(|name| hasher.event_type(&name.to_string())).collect(),
            tags: self.tags.iter().map(|name| hasher.tag(&name.to_string())).collect(),
            category: self.category.map(|name| hasher.category(&name.to_string())),
            births: self.births,
        }
    }

    fn matches(&self, event: &Event) -> bool {
        (self.types.is_empty() || self.types.contains(&event.event_type))
            && self.tags.iter().all(|tag| event.tags.contains(tag))
            && (self.category.is_none() || self.category == event.category())
            && (!self.births || event.revision == 0)
    }
}

/// A pseudo-random draft for a number.
fn draft_number(number: usize) -> Draft {
    let mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = |shift: u32, bound: u64| ((mixed >> shift) % bound) as u8;
    Draft {
        stream: bits(20, 14),
        tombstone: false,
        event_type: bits(26, 5),
        tags: (0..bits(30, 4)).map(|tag| bits(33 + 4 * u32::from(tag), 12)).collect(),
        id: bits(50, 256),
    }
}

fn drafts(numbers: std::ops::Range<usize>) -> Vec<Draft> {
    numbers.map(draft_number).collect()
}
