//! The laws, and what they share.

pub(crate) mod appending;
pub(crate) mod following;
pub(crate) mod reading;
pub(crate) mod snapshots;
pub(crate) mod streams;

use graven_client::EventStore;
use graven_client::model::error::Details;
use graven_client::model::{
    AppendRequest, Error, EventId, Expected, FailedCheck, NewEvent, ReadRequest, Receipt, Start, StoredEvent,
    StreamName,
};
use std::cell::Cell;

pub(crate) fn name(stream: &str) -> StreamName {
    StreamName::new(stream).expect("a valid name")
}

pub(crate) fn id(number: u64) -> EventId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    EventId(id)
}

thread_local! {
    /// Whom the events of this thread's law are about.
    pub(crate) static SUBJECT: Cell<Option<&'static str>> = const { Cell::new(None) };
}

pub(crate) fn event(number: u64, event_type: &str) -> NewEvent {
    NewEvent {
        data_subject: SUBJECT.get().map(Into::into),
        ..NewEvent::json(id(number), event_type, format!("{{\"n\":{number}}}"))
    }
}

/// Appends one event and expects that to succeed.
pub(crate) async fn put(store: &impl EventStore, stream: &str, event: NewEvent) -> Receipt {
    let request = AppendRequest::to(name(stream), Expected::Any, [event]);
    store.append(request).await.expect("an append without demands is taken")
}

/// Events `from` to `to` (exclusive): types `A` and `B`, in four streams `loan-0` to `loan-3`, each with one of five
/// tags.
pub(crate) async fn fill(store: &impl EventStore, from: u64, to: u64) {
    for number in from..to {
        let event = event(number, if number % 3 == 0 { "A" } else { "B" });
        put(store, &format!("loan-{}", number % 4), event.tagged([format!("tag:{}", number % 5)])).await;
    }
}

/// All pages of a read.
pub(crate) async fn read_all(store: &impl EventStore, mut request: ReadRequest) -> Vec<StoredEvent> {
    let mut events = Vec::new();
    loop {
        let page = store.read(&request).await.expect("a page");
        assert!(page.events.len() <= request.limit as usize);
        events.extend(page.events);
        match page.next {
            Some(next) => request.start = next,
            None => return events,
        }
        assert_ne!(request.start, Start::Start, "a page leads on");
    }
}

pub(crate) fn positions(events: &[StoredEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position.0).collect()
}

pub(crate) fn failed_checks(error: Error) -> Vec<FailedCheck> {
    match error.details {
        Details::FailedChecks(checks) => checks,
        other => panic!("no failed checks but {other:?}"),
    }
}
