//! Categories, types and first events, read by the numbers the index has for them.

use graven_engine::model::*;
use graven_engine::{EventList, Options, Store};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn name(stream: &str) -> StreamName {
    StreamName::new(stream).unwrap()
}

fn event(number: u64, event_type: &str) -> NewEvent {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    NewEvent::json(EventId(id), event_type, format!("{{\"n\":{number}}}"))
}

fn options() -> Options {
    Options { index_flush_events: 60, ..Options::small() }
}

/// Streams of two categories and of none, of three types; every fiftieth event tombstones a stream of its own.
fn fill(store: &Store, from: u64, to: u64) {
    for number in from..to {
        let kind = ["A", "B", "C"][(number * 7 % 3) as usize];
        let stream = match number % 5 {
            0 | 1 => format!("loan-{}", number % 11),
            2 => format!("offer-{}", number % 13),
            3 => format!("offer-own-{number}"),
            _ => "plain".to_owned(),
        };
        store.append(AppendRequest::to(name(&stream), Expected::Any, [event(number, kind)])).unwrap();
        if number % 50 == 3 {
            store.tombstone_stream(&name(&stream), Expected::Any).unwrap();
        }
    }
}

fn lists() -> Vec<(EventList, Option<Selector>)> {
    let both = |selector: Selector| (EventList::of(&selector).unwrap(), Some(selector));
    vec![
        both(Selector::Category("loan".into())),
        both(Selector::Category("offer".into())),
        both(Selector::Category("none".into())),
        both(Selector::Types(vec!["B".into()])),
        both(Selector::Types(vec!["$streamDeleted".into()])),
        (EventList::FirstEvents, None),
    ]
}

fn log(store: &Store) -> Vec<StoredEvent> {
    let (mut request, mut events) = (ReadRequest::new(Selector::All), Vec::new());
    loop {
        let page = store.read(&request).unwrap();
        events.extend(page.events);
        match page.next {
            Some(next) => request.start = next,
            None => return events,
        }
    }
}

fn holds(list: &EventList, event: &StoredEvent) -> bool {
    match list {
        EventList::Category(name) => event.stream.category() == Some(name),
        EventList::Type(name) => event.event.event_type == *name,
        EventList::FirstEvents => event.revision.0 == 0,
    }
}

fn read(
    store: &Store,
    list: &EventList,
    from: Start,
    direction: Direction,
    page: (usize, usize),
) -> Vec<(u64, u64)> {
    let mut reading = store.read_list(list.clone(), from, direction).unwrap();
    let mut found = Vec::new();
    loop {
        let (before, mut bytes) = (found.len(), 0);
        let more = reading
            .next(page.0, page.1, |number, event| {
                bytes += event.size_bytes();
                found.push((number, event.position.0));
                Ok(())
            })
            .unwrap();
        assert!(found.len() - before <= page.0);
        assert!(bytes <= page.1 || found.len() - before == 1);
        if !more {
            return found;
        }
    }
}

/// Compares everything with a plain model made of the log.
fn check(store: &Store) {
    let log = log(store);
    let head = log.len() as u64;
    for (list, selector) in lists() {
        let numbered: Vec<(u64, u64)> =
            (0..).zip(log.iter().filter(|event| holds(&list, event)).map(|event| event.position.0)).collect();
        let count = numbered.len() as u64;
        if let Some(selector) = &selector {
            for below in (0..head + 20).step_by(9) {
                let before = numbered.iter().filter(|(_, position)| *position < below).count() as u64;
                assert_eq!(store.rank(selector, Position(below)).unwrap(), before);
            }
            for number in (0..count + 2).step_by(5) {
                let position = numbered.get(number as usize).map(|(_, position)| Position(*position));
                assert_eq!(store.select(selector, number).unwrap(), position);
            }
        }
        assert_eq!(store.read_list(list.clone(), Start::Start, Direction::Forward).unwrap().count(), count);
        for page in [(1, usize::MAX), (7, 500), (1_000, usize::MAX), (1_000, 1)] {
            let forward = |from| read(store, &list, from, Direction::Forward, page);
            let backward = |from| read(store, &list, from, Direction::Backward, page);
            let reversed = |numbers: &[(u64, u64)]| numbers.iter().rev().copied().collect::<Vec<_>>();
            assert_eq!(forward(Start::Start), numbered);
            assert_eq!(forward(Start::End), []);
            assert_eq!(backward(Start::End), reversed(&numbered));
            assert_eq!(backward(Start::Start), []);
            for number in [0, 1, count / 2, count.saturating_sub(1), count, count + 5] {
                let at = (number as usize).min(numbered.len());
                assert_eq!(forward(Start::Revision(Revision(number))), numbered[at..]);
                let end = (number as usize + 1).min(numbered.len());
                assert_eq!(backward(Start::Revision(Revision(number))), reversed(&numbered[..end]));
            }
            for position in [0, head / 3, head, head + 7] {
                let at = numbered.partition_point(|(_, own)| *own < position);
                assert_eq!(forward(Start::Position(Position(position))), numbered[at..]);
                let end = numbered.partition_point(|(_, own)| *own <= position);
                assert_eq!(backward(Start::Position(Position(position))), reversed(&numbered[..end]));
            }
        }
    }
}

fn reopened(store: Store, dir: &Path) -> Store {
    store.close().unwrap();
    drop(store);
    Store::open(dir, options()).unwrap()
}

#[test]
fn numbers_are_places_in_the_log_and_stay_through_restarts_and_a_rebuilt_index() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), options()).unwrap();
    check(&store);
    for round in 0..3 {
        fill(&store, round * 250, round * 250 + 250);
        check(&store);
        store = reopened(store, dir.path());
        check(&store);
    }
    store.close().unwrap();
    drop(store);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    check(&store);
}

#[test]
fn numbers_given_while_the_log_grows_are_the_numbers_it_ends_with() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let (category, types) = (Selector::Category("loan".into()), Selector::Types(vec!["B".into()]));
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reading =
                store.read_list(EventList::of(&category).unwrap(), Start::Start, Direction::Forward).unwrap();
            let (mut seen, mut ranks) = (Vec::new(), Vec::new());
            loop {
                let last = done.load(Ordering::Acquire);
                reading.reach_head();
                while reading
                    .next(10, usize::MAX, |number, event| {
                        seen.push((number, event.position.0));
                        Ok(())
                    })
                    .unwrap()
                {}
                let head = store.head();
                ranks.push((head, store.rank(&types, head).unwrap()));
                if last {
                    return (seen, ranks);
                }
            }
        });
        fill(&store, 0, 600);
        done.store(true, Ordering::Release);
        reader.join().unwrap()
    });
    let log = log(&store);
    let expected: Vec<(u64, u64)> = (0..)
        .zip(log.iter().filter(|event| event.stream.category() == Some("loan")).map(|event| event.position.0))
        .collect();
    assert_eq!(seen.0, expected);
    for (head, rank) in seen.1 {
        let below = log.iter().filter(|event| event.position < head && &*event.event.event_type == "B");
        assert_eq!(rank, below.count() as u64);
    }
}

#[test]
fn a_read_from_a_number_that_is_not_there_yet_begins_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    fill(&store, 0, 50);
    let list = EventList::Category("loan".into());
    let count = store.read_list(list.clone(), Start::Start, Direction::Forward).unwrap().count();
    let from = Start::Revision(Revision(count + 3));
    let mut reading = store.read_list(list, from, Direction::Forward).unwrap();
    assert_eq!(reading.next_number(), Some(count + 3));
    fill(&store, 50, 100);
    reading.reach_head();
    let mut numbers = Vec::new();
    while reading
        .next(100, usize::MAX, |number, _| {
            numbers.push(number);
            Ok(())
        })
        .unwrap()
    {}
    assert_eq!(numbers, (count + 3..reading.count()).collect::<Vec<_>>());
}

#[test]
fn what_has_no_numbers_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    fill(&store, 0, 10);
    for selector in [
        Selector::Stream(name("plain")),
        Selector::Types(vec!["A".into(), "B".into()]),
        Selector::Types(vec![]),
        Selector::Tags(vec!["t".into()]),
    ] {
        assert_eq!(store.rank(&selector, Position(3)).unwrap_err().code, Code::InvalidStart);
        assert_eq!(store.select(&selector, 0).unwrap_err().code, Code::InvalidStart);
    }
    assert_eq!(store.rank(&Selector::All, Position(3)).unwrap(), 3);
    assert_eq!(store.select(&Selector::All, 9_999).unwrap(), None);
    let time = Start::Time(Timestamp::from_micros(0));
    let refused = store.read_list(EventList::FirstEvents, time, Direction::Forward).err().unwrap();
    assert_eq!(refused.code, Code::InvalidStart);
}

#[test]
fn targets_are_seen_as_readers_of_their_streams_see_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    for stream in ["kept", "truncated", "counted", "deleted", "reopened", "ended"] {
        for number in 0..4 {
            let id =
                u64::from(stream.as_bytes()[0]) * 256 + u64::from(stream.as_bytes()[2]) * 65_536 + number;
            store.append(AppendRequest::to(name(stream), Expected::Any, [event(id, "A")])).unwrap();
        }
    }
    store.truncate_stream(&name("truncated"), Revision(2)).unwrap();
    store
        .set_stream_metadata(&name("counted"), Expected::Any, br#"{"$maxCount":1}"#.as_slice().into())
        .unwrap();
    store.delete_stream(&name("deleted"), Expected::Any).unwrap();
    store.delete_stream(&name("reopened"), Expected::Any).unwrap();
    store.append(AppendRequest::to(name("reopened"), Expected::Any, [event(9_999_999, "A")])).unwrap();
    store.tombstone_stream(&name("ended"), Expected::Any).unwrap();
    let mut targets = store.targets();
    let mut shown = |stream: &str| -> Vec<u64> {
        (0..6)
            .filter(|revision| {
                let found = targets.find(stream, Revision(*revision)).unwrap();
                if let Some(found) = &found {
                    assert_eq!((found.stream.as_str(), found.revision.0), (stream, *revision));
                }
                found.is_some()
            })
            .collect()
    };
    assert_eq!(shown("kept"), [0, 1, 2, 3]);
    assert_eq!(shown("truncated"), [2, 3]);
    assert_eq!(shown("counted"), [3]);
    assert_eq!(shown("deleted"), [0; 0]);
    assert_eq!(shown("reopened"), [4]);
    assert_eq!(shown("ended"), [0; 0]);
    assert_eq!(shown("missing"), [0; 0]);
    assert_eq!(shown("$$truncated"), [0]);
    assert!(log(&store).iter().filter(|event| event.stream.as_str() == "ended").all(|event| {
        let shows = store.targets().shows(&event.into()).unwrap();
        !shows
    }));
}
