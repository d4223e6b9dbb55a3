//! A store in use: append, read back, reopen.

use graven_engine::model::*;
use graven_engine::{FollowRequest, FollowStep, Options, Store, StreamListRequest};

fn name(stream: &str) -> StreamName {
    StreamName::new(stream).unwrap()
}

fn event(number: u64, event_type: &str) -> NewEvent {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    NewEvent::json(EventId(id), event_type, format!("{{\"n\":{number}}}"))
}

fn fill(store: &Store, from: u64, to: u64) {
    for number in from..to {
        let event =
            event(number, if number % 3 == 0 { "A" } else { "B" }).tagged([format!("tag-{}", number % 10)]);
        store
            .append(AppendRequest::to(name(&format!("loan-{}", number % 7)), Expected::Any, [event]))
            .unwrap();
    }
}

fn read_all(store: &Store, request: ReadRequest) -> Vec<StoredEvent> {
    let mut request = request;
    let mut events = Vec::new();
    loop {
        let page = store.read(&request).unwrap();
        events.extend(page.events);
        match page.next {
            Some(next) => request.start = next,
            None => return events,
        }
    }
}

#[test]
fn everything_is_there_again_after_a_clean_stop_and_after_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut root = None;
    for round in 0..4u64 {
        let store = Store::open(dir.path(), Options { index_flush_events: 100, ..Options::small() }).unwrap();
        if let Some(root) = root {
            assert_eq!(store.info().root, root);
        }
        fill(&store, round * 300, round * 300 + 300);
        let total = (round + 1) * 300;
        assert_eq!(store.head().0, total);
        assert_eq!(read_all(&store, ReadRequest::new(Selector::All)).len() as u64, total);
        let backward = read_all(&store, ReadRequest::new(Selector::All).backward().limit(37));
        assert!(backward.iter().rev().map(|event| event.position.0).eq(0..total));
        let stream = read_all(&store, ReadRequest::new(Selector::Stream(name("loan-3"))).limit(10));
        assert!(stream.iter().enumerate().all(|(at, event)| event.revision.0 == at as u64));
        assert_eq!(stream.len() as u64, (0..total).filter(|number| number % 7 == 3).count() as u64);
        let typed = read_all(&store, ReadRequest::new(Selector::Types(vec!["A".into()])).limit(50));
        assert_eq!(typed.len() as u64, total / 3);
        let tagged = read_all(&store, ReadRequest::new(Selector::Tags(vec!["tag-4".into()])).backward());
        assert_eq!(tagged.len() as u64, total / 10);
        let query = Query::item(["A"], ["tag-3"]).or(["B"], ["tag-4"]);
        let matched = read_all(&store, ReadRequest::new(Selector::Query(query.clone())).limit(11));
        let expected =
            (0..total).filter(|n| (n % 3 == 0 && n % 10 == 3) || (n % 3 != 0 && n % 10 == 4)).count();
        assert_eq!(matched.len(), expected);
        assert_eq!(read_all(&store, ReadRequest::new(Selector::Category("loan".into()))).len() as u64, total);
        assert_eq!(store.streams(&StreamListRequest::default()).unwrap().streams.len(), 7);
        let stats = store.stats();
        assert_eq!((stats.user.events, stats.user_streams), (total, 7));
        assert_eq!(stats.types[0].counts.events, total / 3);
        root = Some(store.info().root);
        if round % 2 == 0 {
            store.close().unwrap();
        }
    }
}

#[test]
fn a_follower_goes_from_catch_up_to_live_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::small()).unwrap();
    fill(&store, 0, 500);
    let writer = store.clone();
    let handle = std::thread::Builder::new().spawn(move || fill(&writer, 500, 1500)).unwrap();
    let mut follower = store.follow(FollowRequest::new(Selector::All, Start::Start)).unwrap();
    let mut seen = Vec::new();
    let mut caught_up = 0;
    while seen.len() < 1500 {
        match follower.next_timeout(std::time::Duration::from_secs(10)).unwrap() {
            Some(FollowStep::Events(events)) => seen.extend(events.into_iter().map(|event| event.position.0)),
            Some(FollowStep::CaughtUp(_)) => caught_up += 1,
            Some(FollowStep::Checkpoint(_)) => {}
            None => panic!("nothing came for ten seconds"),
        }
    }
    handle.join().unwrap();
    assert!(seen.into_iter().eq(0..1500));
    assert!(caught_up >= 1);
}

#[test]
fn a_deleted_stream_reopens_with_the_next_revision_and_hides_what_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::small()).unwrap();
    let stream = name("loan-1");
    store
        .append(AppendRequest::to(stream.clone(), Expected::NoStream, [event(1, "A"), event(2, "B")]))
        .unwrap();
    store.delete_stream(&stream, Expected::Revision(Revision(1))).unwrap();
    let read = ReadRequest::new(Selector::Stream(stream.clone()));
    assert_eq!(store.read(&read).unwrap_err().code, Code::StreamDeleted);
    store.append(AppendRequest::to(stream.clone(), Expected::Any, [event(3, "A")])).unwrap();
    let page = store.read(&read).unwrap();
    assert_eq!(page.events.iter().map(|event| event.revision.0).collect::<Vec<_>>(), [2]);
    store.tombstone_stream(&stream, Expected::Any).unwrap();
    assert_eq!(store.read(&read).unwrap_err().code, Code::StreamTombstoned);
    let refused =
        store.append(AppendRequest::to(stream.clone(), Expected::Any, [event(4, "A")])).unwrap_err();
    assert_eq!(refused.code, Code::StreamTombstoned);
    store.close().unwrap();
    let store = Store::open(dir.path(), Options::small()).unwrap();
    assert_eq!(store.read(&read).unwrap_err().code, Code::StreamTombstoned);
    assert_eq!(store.stream_info(&stream).unwrap().state, StreamState::Tombstoned);
}

#[test]
fn a_conflict_brings_the_events_its_caller_has_not_seen() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::small()).unwrap();
    store
        .append(AppendRequest::to(
            name("s"),
            Expected::NoStream,
            [event(1, "A"), event(2, "B"), event(3, "C")],
        ))
        .unwrap();
    let mut request = AppendRequest::to(name("s"), Expected::Revision(Revision(0)), [event(9, "X")]);
    request.unseen_max = 10;
    let error = store.append(request).unwrap_err();
    let error::Details::FailedChecks(checks) = error.details else { panic!("{error}") };
    assert_eq!(checks[0].unseen.iter().map(|event| &*event.event.event_type).collect::<Vec<_>>(), ["B", "C"]);
}

#[test]
fn a_second_store_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _store = Store::open(dir.path(), Options::small()).unwrap();
    assert_eq!(Store::open(dir.path(), Options::small()).err().unwrap().code, Code::DataInUse);
}

#[test]
fn stored_frames_decode_to_the_events_a_read_gives() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::small()).unwrap();
    fill(&store, 0, 200);
    // Large enough to span segments, several events a frame.
    for round in 0..40 {
        let events = (0..50).map(|number| {
            let mut event = event(1000 + round * 50 + number, "Big");
            event.data = vec![b'x'; 2000].into();
            event.content_type = ContentType::Binary;
            event
        });
        store.append(AppendRequest::to(name("big-1"), Expected::Any, events)).unwrap();
    }
    assert!(store.info().segments > 2);
    let expected = read_all(&store, ReadRequest::new(Selector::All));
    for bytes_max in [1, 10_000, 1 << 20] {
        let mut decoded = Vec::new();
        let mut from = Position(0);
        loop {
            let frames = store.read_frames(from, bytes_max).unwrap();
            if frames.bytes.is_empty() {
                assert_eq!(frames.next, store.head());
                break;
            }
            assert_eq!(frames.first, from);
            decoded.extend(frame::events(&frames.bytes).map(Result::unwrap));
            from = frames.next;
        }
        assert_eq!(decoded, expected);
    }
    let middle = store.read_frames(Position(211), 1).unwrap();
    assert_eq!((middle.first, middle.next), (Position(200), Position(250)));
    let mut damaged = middle.bytes.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(frame::events(&damaged.into()).last().unwrap().unwrap_err().code, Code::Corrupted);
}

#[test]
fn the_last_frame_of_a_batch_has_the_root_and_the_others_have_none() {
    use graven_engine::model::frame::Header;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::small()).unwrap();
    let mut gathered = store.gather();
    let appends: Vec<_> = (0..50)
        .map(|number| AppendRequest::to(name("s"), Expected::Any, [event(number, "A")]))
        .map(|request| gathered.add(request).unwrap())
        .collect();
    drop(gathered);
    appends.into_iter().for_each(|append| drop(append.wait().unwrap()));
    let frames = store.read_frames(Position(0), usize::MAX >> 1).unwrap().bytes;
    let mut headers = Vec::new();
    let mut at = 0;
    while let Some(header) = Header::decode(&frames[at..]) {
        at += header.length as usize;
        headers.push(header);
    }
    assert_eq!((at, headers.len()), (frames.len(), 50));
    for (header, next) in headers.iter().zip(headers.iter().skip(1)) {
        assert_eq!(header.root.is_some(), next.batch_offset == 0, "position {}", header.first);
    }
    assert!(headers.iter().any(|header| header.batch_offset > 0), "some appends shared a batch");
    assert_eq!(headers[49].root, Some(store.info().root));
}
