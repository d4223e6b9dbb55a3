//! Stores, events and consumers for the tests of consumer groups.
#![allow(dead_code, reason = "not every test uses everything")]

use graven_engine::model::*;
use graven_engine::{Consumer, Groups, Options, Store};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

pub(crate) fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

pub(crate) fn group(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

pub(crate) fn event(number: u64) -> NewEvent {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    NewEvent::json(EventId(id), "Happened", format!("{{\"n\":{number}}}"))
}

/// Appends an event with this number to a stream.
pub(crate) fn append(store: &Store, name: &str, number: u64) -> Position {
    store.append(AppendRequest::to(stream(name), Expected::Any, [event(number)])).unwrap().first_position
}

/// The number of an event.
pub(crate) fn number(event: &StoredEvent) -> u64 {
    u64::from_be_bytes(event.event.id.0[..8].try_into().unwrap())
}

pub(crate) fn open(dir: &std::path::Path) -> Store {
    Store::open(dir, Options::small()).unwrap()
}

/// On a category, from the start, with pauses that tests can wait for.
pub(crate) fn settings(category: &str) -> GroupSettings {
    GroupSettings {
        start: Start::Start,
        retry_backoff: Backoff { first: Duration::from_millis(1), max: Duration::from_millis(5) },
        checkpoint_min: 1,
        checkpoint_after: Some(Duration::from_millis(10)),
        ..GroupSettings::new(Selector::Category(category.into()))
    }
}

pub(crate) fn connect(groups: &Groups, name: &str, buffer: u32) -> Consumer {
    let options = ConsumerOptions { name: format!("consumer of {name}").into(), address: "".into(), buffer };
    groups.connect(&group(name), options).unwrap()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What comes within a time.
pub(crate) fn next_within(consumer: &mut Consumer, time: Duration) -> Option<Result<Delivery>> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let end = Instant::now() + time;
    loop {
        if let Poll::Ready(next) = consumer.poll_next(&mut Context::from_waker(&waker)) {
            return Some(next);
        }
        let left = end.checked_duration_since(Instant::now())?;
        std::thread::park_timeout(left);
    }
}

pub(crate) fn next(consumer: &mut Consumer) -> Delivery {
    next_within(consumer, Duration::from_secs(20)).expect("there is an event within 20 s").unwrap()
}

/// How a consumer ends.
pub(crate) fn end(consumer: &mut Consumer) -> Code {
    loop {
        match next_within(consumer, Duration::from_secs(20)).expect("it ends within 20 s") {
            Ok(_) => {}
            Err(error) => return error.code,
        }
    }
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within 20 s");
        std::thread::yield_now();
    }
}

pub(crate) fn ack(consumer: &Consumer, delivery: &Delivery) {
    assert_eq!(consumer.handle().ack(&[delivery.event.position]).unwrap(), 1);
}

pub(crate) fn nack(consumer: &Consumer, delivery: &Delivery, action: Nack, reason: &str) {
    assert_eq!(consumer.handle().nack(&[delivery.event.position], action, reason).unwrap(), 1);
}

pub(crate) fn of_group(name: &str) -> DeadLetterFilter {
    DeadLetterFilter { group: Some(group(name)), ..DeadLetterFilter::default() }
}

pub(crate) fn letters(groups: &Groups, name: &str) -> Vec<DeadLetter> {
    groups.dead_letters(&of_group(name), None, 1_000).unwrap().letters
}
