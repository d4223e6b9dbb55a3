//! Messages that are decoded without prost: pages and steps as a client gets them, appends as a server does.

use bytes::Bytes;
use graven_model::{
    AppendRequest, Condition, EventId, Expected, FollowStep, Names, NewEvent, Page, Position, Query,
    QueryItem, Revision, SchemaRef, Start, StoredEvent, StreamName, Timestamp,
};
use graven_proto::{decode, encode, session};

pub(super) fn run(data: &[u8]) -> bool {
    let message = Bytes::copy_from_slice(data);
    let mut names = Names::new();
    let mut accepted = false;
    if let Ok(page) = decode::page(&message, &mut names) {
        let again = decode::page(&encoded_page(&page).into(), &mut names);
        assert_eq!(again.expect("a page we encoded"), page);
        accepted = true;
    }
    if let Ok(step) = decode::step(&message, &mut names) {
        let again = decode::step(&encoded_step(&step).into(), &mut names);
        assert_eq!(again.expect("a step we encoded"), step);
        accepted = true;
    }
    let _ = session::read_answer(&message);
    if let (_, Ok(append)) = session::read_request(&message) {
        let (correlation, again) = session::read_request(&session::request(&append).into());
        assert_eq!((correlation, again.expect("an append we encoded")), (0, append));
        accepted = true;
    }
    accepted
}

fn encoded_page(page: &Page) -> Vec<u8> {
    let mut out = Vec::new();
    encode::page(&mut out, page);
    out
}

fn encoded_step(step: &FollowStep) -> Vec<u8> {
    let mut out = Vec::new();
    encode::step(&mut out, step);
    out
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let events: Vec<StoredEvent> = (0..3).map(stored).collect();
    let page = |next, last_revision| {
        let page = Page { events: events.clone(), next, head: Position(1 << 40), last_revision };
        encoded_page(&page)
    };
    let stream = events[0].stream.clone();
    let mut append = AppendRequest::to(
        stream,
        Expected::Revision(Revision(7)),
        events.iter().map(|stored| stored.event.clone()),
    );
    let item = QueryItem { types: vec!["Opened".into()], tags: vec!["t:1".into()], all: false };
    append.condition = Some(Condition { query: Query { items: vec![item] }, after: Some(Position(9)) });
    let mut request = session::request(&append);
    session::correlate(&mut request, 300);
    vec![
        page(None, Some(Revision(2))),
        page(Some(Start::Position(Position(3))), None),
        page(Some(Start::Time(Timestamp::from_micros(-1))), None),
        encoded_step(&FollowStep::Events(events)),
        encoded_step(&FollowStep::CaughtUp(Position(u64::MAX))),
        encoded_step(&FollowStep::Checkpoint(Position(0))),
        request,
    ]
}

/// An event with more of its fields set the higher its number.
fn stored(number: u8) -> StoredEvent {
    let mut event = NewEvent::json(EventId([number; 16]), "Opened", r#"{"amount":20000}"#);
    if number > 0 {
        event.tags = vec!["t:1".into(), "é".into()];
        event.metadata = Bytes::from_static(b"{\"by\":\"x\"}");
        event.occurred_at = Some(Timestamp::from_micros(-1));
    }
    if number > 1 {
        event.schema = SchemaRef { version: 3, id: 70_000, ..SchemaRef::default() };
        event.data_subject = Some("ada".into());
        event.encrypted = true;
    }
    StoredEvent {
        position: Position(number.into()),
        stream: StreamName::new("loan-1").expect("a name a stream can have"),
        revision: Revision(number.into()),
        committed_at: Timestamp::from_micros(1_700_000_000_000_000),
        kind: graven_model::Kind::Event,
        erased: number % 2 == 1 && event.data.is_empty(),
        event,
    }
}
