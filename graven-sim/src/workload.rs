//! [`Workload`]: what users might do next, thrown with dice, most of it sensible and some of it not.

use crate::dice::{Dice, mix};
use crate::model::Model;
use bytes::Bytes;
use graven_engine::FollowRequest;
use graven_model::{
    AppendRequest, ContentType, Direction, EventFilter, EventId, Expected, Idempotency, NewEvent, Pattern,
    Position, Query, QueryItem, ReadRequest, Revision, Selector, Start, StreamName, StreamState, Text,
    Timestamp,
};
use std::fmt;

/// One thing a user does to a store.
#[derive(Debug, Clone)]
pub enum Step {
    /// An append.
    Append(AppendRequest),
    /// A soft delete.
    Delete(StreamName, Expected),
    /// A hard delete.
    Tombstone(StreamName, Expected),
    /// Hiding the events below a revision.
    Truncate(StreamName, Revision),
    /// Replacing a stream's metadata.
    SetMetadata(StreamName, Expected, Bytes),
    /// A read, page by page.
    Read(ReadRequest),
    /// Following until caught up.
    Follow(FollowRequest),
    /// Looking up what is known of a stream, an id and a position.
    LookUp(StreamName, EventId, Position),
    /// The wall clock moves by this many microseconds, perhaps back.
    Clock(i64),
    /// Closing and opening the store.
    Reopen,
    /// The process dies and comes back.
    Kill,
    /// The power goes and comes back.
    Crash(u64),
}

/// Short enough to read a list of them; what a payload says never matters.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step::Append(request) = self else { return write!(f, "{self:?}") };
        write!(f, "Append {:?}", request.idempotency)?;
        for (index, write) in request.streams.iter().enumerate() {
            write!(f, " {:?} if {:?}:", write.stream.as_str(), write.expected)?;
            for (_, event) in request.events.iter().filter(|(of, _)| *of as usize == index) {
                let id = &event.id.to_string()[..8];
                write!(f, " {id}({} {:?} {} bytes)", event.event_type, event.tags, event.data.len())?;
            }
        }
        if let Some(condition) = &request.condition {
            write!(f, " unless {:?} after {:?}", condition.query.items, condition.after)?;
        }
        Ok(())
    }
}

const STREAMS: &[&str] = &["loan-1", "loan-2", "loan-3", "a-1", "a-2", "solo", "x-y-z", "$sys", "unheard-of"];
const CATEGORIES: &[&str] = &["loan", "a", "x", "none"];
const TYPES: &[&str] = &["Opened", "Paid", "Closed", "$internal", "Never"];
const TAGS: &[&str] = &["red", "green", "customer:1", "customer:2", "loan:7", "unused"];
const METADATA: &[&str] = &[
    r#"{"$maxCount":3}"#,
    r#"{"$maxAge":2}"#,
    r#"{"$tb":2,"own":[1,2]}"#,
    r#"{"$maxCount":5,"$maxAge":4,"$acl":{"$r":"$all"}}"#,
    r#"{"$tb":9223372036854775807,"own":true}"#,
    "{}",
];

/// A source of steps.
#[derive(Debug, Clone)]
pub struct Workload {
    dice: Dice,
    sent: Vec<AppendRequest>,
    ids: u64,
    /// Bytes of the largest payloads.
    pub payload_bytes_max: usize,
}

impl Workload {
    /// Steps that this seed says.
    #[must_use]
    pub fn new(seed: u64) -> Workload {
        Workload {
            dice: Dice::new(mix(seed ^ 0x57_4f_52_4b)),
            sent: Vec::new(),
            ids: 0,
            payload_bytes_max: 3_000,
        }
    }

    /// Something to do, given what the store should hold.
    pub fn step(&mut self, model: &Model) -> Step {
        match self.dice.below(100) {
            0..50 => Step::Append(self.append(model)),
            50..72 => Step::Read(self.read(model)),
            72..78 => Step::Follow(self.follow(model)),
            78..86 => {
                Step::LookUp(self.stream(), self.known_id(), Position(self.dice.below(model.head().0 + 2)))
            }
            86..90 => Step::Clock(self.dice.below(3_000_000) as i64 - 500_000),
            90..96 => self.change_stream(model),
            96 => Step::Kill,
            97 => Step::Crash(self.dice.number()),
            _ => Step::Reopen,
        }
    }

    /// A delete, tombstone, truncation or new metadata.
    pub fn change_stream(&mut self, model: &Model) -> Step {
        let stream = self.stream();
        match self.dice.below(10) {
            0..4 => Step::Delete(stream.clone(), self.expected(model, &stream)),
            4 => Step::Tombstone(stream.clone(), self.expected(model, &stream)),
            5..7 => Step::Truncate(stream, Revision(self.dice.below(8))),
            _ => {
                let of = stream.metadata().expect("short names take a prefix");
                let json = Bytes::from_static(self.dice.pick(METADATA).as_bytes());
                Step::SetMetadata(stream, self.expected(model, &of), json)
            }
        }
    }

    /// An append: new, a retry, or something between.
    pub fn append(&mut self, model: &Model) -> AppendRequest {
        if !self.sent.is_empty() && self.dice.chance(1, 6) {
            return self.dice.pick(&self.sent).clone();
        }
        let mut streams: Vec<StreamName> = Vec::new();
        for _ in 0..*self.dice.pick(&[1, 1, 1, 1, 2, 3]) {
            let stream = self.stream();
            if !streams.contains(&stream) {
                streams.push(stream);
            }
        }
        let each = self.dice.chance(1, 8);
        let mut request = AppendRequest::default();
        if each {
            request.idempotency = Idempotency::EachEvent;
        }
        for stream in streams {
            let expected = if each { Expected::Any } else { self.expected(model, &stream) };
            let count = if self.dice.chance(1, 8) { 0 } else { 1 + self.dice.below(4) };
            let events: Vec<NewEvent> = (0..count).map(|_| self.event()).collect();
            request = request.and_to(stream, expected, events);
        }
        if self.dice.chance(1, 12) {
            let of = self.stream().metadata().expect("short names take a prefix");
            let mut event = NewEvent::json(self.fresh_id(), "$metadata", *self.dice.pick(METADATA));
            event.tags = self.some(TAGS, 2);
            request = request.and_to(of, Expected::Any, [event]);
        }
        if self.dice.chance(1, 4) {
            self.shuffle(&mut request.events);
        }
        if !each && self.dice.chance(1, 5) {
            let after = self.dice.chance(5, 6).then(|| self.recent(model));
            request = request.unless(self.query(), after);
        }
        if self.dice.chance(1, 4) {
            request.unseen_max = 1 + self.dice.below(5) as u32;
        }
        self.sent.push(request.clone());
        request
    }

    fn shuffle(&mut self, events: &mut [(u32, NewEvent)]) {
        for at in (1..events.len()).rev() {
            events.swap(at, self.dice.index(at + 1));
        }
    }

    fn event(&mut self) -> NewEvent {
        let id = if self.dice.chance(1, 12) { self.known_id() } else { self.fresh_id() };
        let length = match self.dice.below(40) {
            0 => self.dice.index(self.payload_bytes_max.max(1)),
            1..20 => self.dice.index(200),
            _ => 10,
        };
        let mut event =
            NewEvent::json(id, *self.dice.pick(TYPES), format!("{{\"n\":\"{}\"}}", self.letters(length)));
        if self.dice.chance(1, 8) {
            event.content_type = ContentType::Binary;
            event.data = (0..length).map(|_| self.dice.number() as u8).collect::<Vec<u8>>().into();
        }
        if self.dice.chance(1, 6) {
            event.metadata = self.letters(length % 50).into();
        }
        if self.dice.chance(1, 6) {
            event.occurred_at = Some(Timestamp::from_micros(self.dice.number() as i64));
        }
        if self.dice.chance(1, 10) {
            event.data_subject = Some("alice".into());
        }
        let tags = self.dice.below(4);
        let tags: Vec<Text> = (0..tags).map(|_| Text::from(*self.dice.pick(TAGS))).collect();
        for tag in tags {
            if !event.tags.contains(&tag) {
                event.tags.push(tag);
            }
        }
        event
    }

    fn letters(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(b'a' + self.dice.below(26) as u8)).collect()
    }

    fn fresh_id(&mut self) -> EventId {
        self.ids += 1;
        id_of(self.ids)
    }

    fn known_id(&mut self) -> EventId {
        id_of(self.dice.below(self.ids + 1) + 1)
    }

    fn stream(&mut self) -> StreamName {
        StreamName::new(*self.dice.pick(STREAMS)).expect("the names are valid")
    }

    /// An expectation that mostly holds.
    fn expected(&mut self, model: &Model, stream: &StreamName) -> Expected {
        let last = match model.state(stream) {
            StreamState::At(revision) | StreamState::SoftDeleted(revision) => Some(revision),
            StreamState::NoStream | StreamState::Tombstoned => None,
        };
        match (self.dice.below(12), last) {
            (0..4, _) => Expected::Any,
            (4..7, Some(revision)) => Expected::Revision(revision),
            (4..7, None) => Expected::NoStream,
            (7, _) => Expected::Exists,
            (8, _) => Expected::NoStream,
            (9, _) => Expected::Deleted,
            (10, _) => Expected::Tombstoned,
            (_, _) => Expected::Revision(Revision(self.dice.below(last.map_or(2, |last| last.0 + 3)))),
        }
    }

    fn recent(&mut self, model: &Model) -> Position {
        Position((model.head().0 + 1).saturating_sub(self.dice.below(20)))
    }

    fn query(&mut self) -> Query {
        let mut query = Query::default();
        for _ in 0..1 + self.dice.below(2) {
            let types: Vec<Text> = self.some(TYPES, 3);
            let tags: Vec<Text> = self.some(TAGS, 3);
            let all = types.is_empty() && tags.is_empty();
            query.items.push(QueryItem { types, tags, all });
        }
        query
    }

    /// Fewer than `max` of them.
    fn some(&mut self, from: &[&str], max: u64) -> Vec<Text> {
        (0..self.dice.below(max)).map(|_| Text::from(*self.dice.pick(from))).collect()
    }

    /// One to `max` of them.
    fn at_least_one(&mut self, from: &[&str], max: u64) -> Vec<Text> {
        (0..1 + self.dice.below(max)).map(|_| Text::from(*self.dice.pick(from))).collect()
    }

    /// A read of any kind.
    pub fn read(&mut self, model: &Model) -> ReadRequest {
        let selector = self.selector();
        let mut request = ReadRequest::new(selector);
        request.start = self.start(model, &request.selector);
        if self.dice.chance(1, 2) {
            request.direction = Direction::Backward;
            if self.dice.chance(1, 2) {
                request.start = Start::End;
            }
        }
        request.limit = *self.dice.pick(&[1, 2, 3, 7, 100, 1_000]);
        if self.dice.chance(1, 4) {
            request.bytes_max = self.dice.index(2_000);
        }
        request.filter = self.filter();
        request
    }

    /// A follow of any kind.
    pub fn follow(&mut self, model: &Model) -> FollowRequest {
        let selector = self.selector();
        let after = self.start(model, &selector);
        let mut request = FollowRequest::new(selector, after);
        request.filter = self.filter();
        request.page_events = *self.dice.pick(&[1, 3, 500]);
        request.checkpoint_every = *self.dice.pick(&[1, 10, 1_000]);
        request
    }

    fn selector(&mut self) -> Selector {
        match self.dice.below(10) {
            0..3 => Selector::Stream(if self.dice.chance(1, 5) {
                self.stream().metadata().expect("short names take a prefix")
            } else {
                self.stream()
            }),
            3..5 => Selector::All,
            5 => Selector::Category(Text::from(*self.dice.pick(CATEGORIES))),
            6 => Selector::Types(self.at_least_one(TYPES, 3)),
            7 => Selector::Tags(self.at_least_one(TAGS, 2)),
            _ => Selector::Query(self.query()),
        }
    }

    fn start(&mut self, model: &Model, selector: &Selector) -> Start {
        let head = model.head().0;
        match self.dice.below(6) {
            0 | 1 => Start::Start,
            2 => Start::End,
            3 if self.dice.chance(1, 8) => self.far_start(selector),
            3 if matches!(selector, Selector::Stream(_)) => Start::Revision(Revision(self.dice.below(12))),
            3 | 4 => Start::Position(Position(self.dice.below(head + 3))),
            _ => {
                let times: Vec<i64> = model.log().iter().map(|event| event.committed_at.micros()).collect();
                let near = if times.is_empty() { 0 } else { *self.dice.pick(&times) };
                Start::Time(Timestamp::from_micros(near + self.dice.below(3) as i64 - 1))
            }
        }
    }

    /// Where nothing is.
    fn far_start(&mut self, selector: &Selector) -> Start {
        match self.dice.below(4) {
            0 if matches!(selector, Selector::Stream(_)) => Start::Revision(Revision(u64::MAX)),
            0 | 1 => Start::Position(Position(u64::MAX)),
            2 => Start::Time(Timestamp::from_micros(i64::MAX)),
            _ => Start::Time(Timestamp::from_micros(i64::MIN)),
        }
    }

    fn filter(&mut self) -> EventFilter {
        if self.dice.chance(2, 3) {
            return EventFilter::default();
        }
        let stream = match self.dice.below(4) {
            0 => Some(Pattern::Prefixes(self.at_least_one(&["loan-", "a-", "$", "$$", "so"], 2))),
            1 => Some(Pattern::Regex(Text::from(*self.dice.pick(&["^loan-[12]$", "o", "-1$", "^\\$\\$"])))),
            _ => None,
        };
        let event_type = match self.dice.below(4) {
            0 => Some(Pattern::Prefixes(self.at_least_one(&["Op", "P", "$"], 2))),
            1 => Some(Pattern::Regex(Text::from(*self.dice.pick(&["^(Opened|Closed)$", "e", "^\\$"])))),
            _ => None,
        };
        EventFilter { stream, event_type, exclude_system: self.dice.chance(1, 3) }
    }
}

/// Ids look random, as the ids of users do.
fn id_of(number: u64) -> EventId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&mix(number).to_be_bytes());
    id[8..].copy_from_slice(&mix(!number).to_be_bytes());
    EventId(id)
}
