//! Events handed out one by one are those of a page, whatever is read and however it is bounded.

use graven_engine::env::{Clock, Env};
use graven_engine::model::*;
use graven_engine::{Options, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

const SECOND: i64 = 1_000_000;

fn name(stream: &str) -> StreamName {
    StreamName::new(stream).unwrap()
}

fn event(number: u64) -> NewEvent {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let mut event = NewEvent::json(
        EventId(id),
        ["Opened", "Paid", "Closed"][number as usize % 3],
        format!("{{\"n\":\"{}\"}}", "x".repeat(number as usize * 37 % 900)),
    )
    .tagged((0..number % 7).map(|tag| format!("tag:{tag}")));
    event.metadata = if number.is_multiple_of(4) { "{\"who\":1}".into() } else { "".into() };
    event.content_type = ContentType::from_text(["application/json", "text/plain"][number as usize % 2]);
    event
}

/// Streams that are whole, truncated, counted, aged, deleted, reopened and tombstoned, of events a second apart.
fn filled(dir: &std::path::Path) -> Store {
    let clock = Arc::new(SetClock(AtomicI64::new(1_000 * SECOND)));
    let env = Env { clock: clock.clone(), ..Env::real() };
    let store = Store::open(dir, Options { index_flush_events: 100, env, ..Options::small() }).unwrap();
    let streams =
        ["loan-whole", "loan-cut", "loan-counted", "user-aged", "user-deleted", "user-back", "user-gone"];
    let fill = |from: u64, to: u64, streams: &[&str]| {
        for number in from..to {
            clock.0.fetch_add(SECOND, Ordering::Relaxed);
            let stream = streams[(number * 13 / 4) as usize % streams.len()];
            let events = (0..1 + number % 3).map(|more| event(number * 10 + more));
            store.append(AppendRequest::to(name(stream), Expected::Any, events)).unwrap();
        }
    };
    fill(0, 200, &streams);
    store.truncate_stream(&name("loan-cut"), Revision(20)).unwrap();
    let set = |stream: &str, json: &'static str| {
        store.set_stream_metadata(&name(stream), Expected::Any, json.into()).unwrap();
    };
    set("loan-counted", r#"{"$maxCount":7}"#);
    set("user-aged", r#"{"$maxAge":140}"#);
    for stream in ["user-deleted", "user-back"] {
        store.delete_stream(&name(stream), Expected::Exists).unwrap();
    }
    store.tombstone_stream(&name("user-gone"), Expected::Exists).unwrap();
    fill(200, 260, &["loan-whole", "loan-cut", "user-back"]);
    store
}

fn selectors() -> Vec<Selector> {
    let streams =
        ["loan-whole", "loan-cut", "loan-counted", "user-aged", "user-deleted", "user-back", "user-gone"];
    let mut selectors: Vec<_> = streams.iter().map(|stream| Selector::Stream(name(stream))).collect();
    selectors.extend([
        Selector::Stream(name("never-was")),
        Selector::Stream(name("$$loan-cut")),
        Selector::All,
        Selector::Category("loan".into()),
        Selector::Types(vec!["Paid".into(), "Closed".into()]),
        Selector::Tags(vec!["tag:1".into(), "tag:4".into()]),
        Selector::Query(Query::item(["Opened"], ["tag:5"]).or(["Paid"], [""; 0])),
    ]);
    selectors
}

fn filters() -> [EventFilter; 2] {
    let narrow = EventFilter {
        event_type: Some(Pattern::Prefixes(vec!["Clo".into()])),
        exclude_system: true,
        ..EventFilter::default()
    };
    [EventFilter::default(), narrow]
}

/// Reads a page both ways and holds the two against each other.
fn page(store: &Store, request: &ReadRequest) -> Option<Page> {
    let page = store.read(request);
    let mut seen = 0;
    let end = store.read_each(request, None, |event| {
        let stored = &page.as_ref().expect("a read that is refused hands out nothing").events[seen];
        assert_eq!(*event, EventRef::from(stored), "{request:?}");
        assert_eq!(event.size_bytes(), stored.size_bytes());
        seen += 1;
    });
    match (page, end) {
        (Ok(page), Ok(end)) => {
            assert_eq!((end.events, seen), (page.events.len(), page.events.len()), "{request:?}");
            assert_eq!(end.last_position, page.events.last().map(|last| last.position));
            assert_eq!((end.next, end.head, end.last_revision), (page.next, page.head, page.last_revision));
            Some(page)
        }
        (Err(page), Err(end)) => {
            assert_eq!(page, end);
            None
        }
        (page, end) => panic!("{request:?}: {page:?} is not {end:?}"),
    }
}

#[test]
fn every_page_of_every_read_is_the_same_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let bounds = [(1, 1), (2, 1 << 20), (3, 700), (10, 2_000), (100, 5_000), (1_000, 1 << 20)];
    for selector in selectors() {
        for (filter, (limit, bytes_max)) in
            filters().into_iter().flat_map(|filter| bounds.map(|bound| (filter.clone(), bound)))
        {
            let forward = ReadRequest::new(selector.clone()).filter(filter).limit(limit);
            let forward = ReadRequest { bytes_max, ..forward };
            for mut request in
                [forward.clone(), forward.clone().from(Start::Position(Position(77))), forward.backward()]
            {
                // The first pages, so that pages of one event do not take for ever.
                for _ in 0..60 {
                    match page(&store, &request).and_then(|page| page.next) {
                        Some(next) => request.start = next,
                        None => break,
                    }
                }
            }
        }
    }
}

#[test]
fn below_a_position_is_what_a_read_shows_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    for selector in selectors() {
        for (limit, below) in [(7, 0), (1_000, 1), (7, 123), (50, 300), (7, store.head().0 + 5)] {
            let forward = ReadRequest::new(selector.clone()).limit(limit);
            for request in [forward.clone(), forward.backward()] {
                let (mut all, mut of_all) = (Vec::new(), request.clone());
                while let Ok(page) = store.read(&of_all) {
                    all.extend(
                        page.events.iter().map(|event| event.position.0).filter(|position| *position < below),
                    );
                    let Some(next) = page.next else { break };
                    of_all.start = next;
                }
                let (mut bounded, mut request) = (Vec::new(), request);
                while let Ok(end) =
                    store.read_each(&request, Some(Position(below)), |event| bounded.push(event.position.0))
                {
                    assert_eq!(end.head, store.head());
                    let Some(next) = end.next else { break };
                    request.start = next;
                }
                assert_eq!(bounded, all, "{request:?} below {below}");
            }
        }
    }
}

#[test]
fn a_read_that_is_out_of_bounds_is_refused_before_it_hands_out_anything() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let refused =
        |request: &ReadRequest| store.read_each(request, None, |_| panic!("handed out")).unwrap_err().code;
    assert_eq!(refused(&ReadRequest::new(Selector::All).limit(0)), Code::InvalidLimit);
    let by_revision = ReadRequest::new(Selector::All).from(Start::Revision(Revision(1)));
    assert_eq!(refused(&by_revision), Code::InvalidStart);
}
