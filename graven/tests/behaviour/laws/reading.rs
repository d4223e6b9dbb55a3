//! What a read promises.

use super::{event, fill, id, name, positions, put, read_all};
use graven_client::EventStore;
use graven_client::model::*;

pub(crate) async fn every_selector_gives_its_events_both_ways_in_pages_of_any_size(store: impl EventStore) {
    fill(&store, 0, 60).await;
    put(&store, "plain", event(60, "A")).await;
    let loans = |wanted: fn(u64) -> bool| (0..60).filter(|number| wanted(*number)).collect::<Vec<u64>>();
    let query = Query::item(["A"], ["tag:3"]).or(["B"], ["tag:4"]);
    let cases = [
        (Selector::All, (0..61).collect()),
        (Selector::Stream(name("loan-3")), loans(|number| number % 4 == 3)),
        (Selector::Category("loan".into()), loans(|_| true)),
        (Selector::Types(vec!["A".into()]), [loans(|number| number % 3 == 0), vec![60]].concat()),
        (Selector::Types(vec!["A".into(), "B".into()]), (0..61).collect()),
        (Selector::Tags(vec!["tag:2".into()]), loans(|number| number % 5 == 2)),
        (
            Selector::Query(query),
            loans(|number| (number % 3 == 0 && number % 5 == 3) || (number % 3 != 0 && number % 5 == 4)),
        ),
    ];
    for (selector, expected) in cases {
        for limit in [1, 7, 500] {
            let request = ReadRequest::new(selector.clone()).limit(limit);
            assert_eq!(
                positions(&read_all(&store, request.clone()).await),
                expected,
                "{selector:?} by {limit}"
            );
            let mut backward = positions(&read_all(&store, request.backward()).await);
            backward.reverse();
            assert_eq!(backward, expected, "{selector:?} by {limit}, backwards");
        }
    }
    let small = ReadRequest { bytes_max: 1, ..ReadRequest::new(Selector::All) };
    assert_eq!(store.read(&small).await.unwrap().events.len(), 1, "one event at least, however few bytes");
}

pub(crate) async fn a_read_begins_where_it_is_told(store: impl EventStore) {
    fill(&store, 0, 20).await;
    let time = store.event_at(Position(11)).await.unwrap().committed_at;
    let first = |start, selector| {
        let store = store.clone();
        async move {
            let page = store.read(&ReadRequest::new(selector).from(start).limit(1)).await.unwrap();
            page.events.first().map(|event| event.position.0)
        }
    };
    assert_eq!(first(Start::Position(Position(13)), Selector::All).await, Some(13));
    assert_eq!(first(Start::Position(Position(99)), Selector::All).await, None);
    assert_eq!(first(Start::End, Selector::All).await, None);
    assert_eq!(first(Start::Time(time), Selector::All).await, Some(11));
    let stream = Selector::Stream(name("loan-1"));
    assert_eq!(first(Start::Revision(Revision(2)), stream.clone()).await, Some(9));
    assert_eq!(first(Start::Position(Position(10)), stream).await, Some(13));
    let wrong = ReadRequest::new(Selector::All).from(Start::Revision(Revision(0)));
    assert_eq!(store.read(&wrong).await.unwrap_err().code, Code::InvalidStart);
}

pub(crate) async fn a_filter_narrows_a_read(store: impl EventStore) {
    fill(&store, 0, 40).await;
    store.set_stream_metadata(&name("loan-1"), Expected::NoStream, "{}".into()).await.unwrap();
    let filtered = |filter| {
        let store = store.clone();
        async move { positions(&read_all(&store, ReadRequest::new(Selector::All).limit(3).filter(filter)).await) }
    };
    let by_prefix = EventFilter {
        stream: Some(Pattern::Prefixes(vec!["loan-2".into(), "loan-3".into()])),
        event_type: Some(Pattern::Regex("^A$".into())),
        exclude_system: false,
    };
    let expected: Vec<u64> = (0..40).filter(|number| number % 4 >= 2 && number % 3 == 0).collect();
    assert_eq!(filtered(by_prefix).await, expected);
    let without_system = EventFilter { exclude_system: true, ..EventFilter::default() };
    assert_eq!(filtered(without_system).await, (0..40).collect::<Vec<_>>());
    assert_eq!(filtered(EventFilter::default()).await, (0..41).collect::<Vec<_>>());
    let broken = EventFilter { stream: Some(Pattern::Regex("(".into())), ..EventFilter::default() };
    let error = store.read(&ReadRequest::new(Selector::All).filter(broken)).await.unwrap_err();
    assert_eq!(error.code, Code::InvalidFilter);
}

pub(crate) async fn frames_hold_the_events_a_read_gives(store: impl EventStore) {
    fill(&store, 0, 30).await;
    let three = [event(100, "A"), event(101, "A"), event(102, "A")];
    store.append(AppendRequest::to(name("many"), Expected::Any, three)).await.unwrap();
    let events = read_all(&store, ReadRequest::new(Selector::All)).await;
    for bytes_max in [1, 1_000, 1 << 20] {
        let (mut from, mut read) = (Position(0), Vec::new());
        loop {
            let frames = store.read_frames(from, bytes_max).await.unwrap();
            assert_eq!(frames.head, Position(33));
            if frames.bytes.is_empty() {
                assert_eq!((frames.first, frames.next), (from, from));
                break;
            }
            assert_eq!(frames.first, from);
            read.extend(frame::events(&frames.bytes).map(Result::unwrap));
            from = frames.next;
        }
        assert_eq!(read, events);
    }
    let inside = store.read_frames(Position(31), 1).await.unwrap();
    assert_eq!((inside.first, inside.next), (Position(30), Position(33)), "a frame is not cut");
}

pub(crate) async fn an_event_is_found_by_position_and_by_id(store: impl EventStore) {
    fill(&store, 0, 10).await;
    put(&store, "elsewhere", event(4, "A")).await;
    let found = store.events_by_id(id(4)).await.unwrap();
    assert_eq!(positions(&found), [4, 10]);
    assert_eq!(store.event_at(Position(4)).await.unwrap(), found[0]);
    assert!(store.events_by_id(id(99)).await.unwrap().is_empty());
    assert_eq!(store.event_at(Position(11)).await.unwrap_err().code, Code::EventNotFound);
}

pub(crate) async fn a_read_of_what_is_not_there_says_so(store: impl EventStore) {
    let missing = Selector::Stream(name("missing"));
    assert_eq!(store.read(&ReadRequest::new(missing)).await.unwrap_err().code, Code::StreamNotFound);
    assert_eq!(store.stream_info(&name("missing")).await.unwrap_err().code, Code::StreamNotFound);
    assert_eq!(store.stream_metadata(&name("missing")).await.unwrap(), None);
    let page = store.read(&ReadRequest::new(Selector::All)).await.unwrap();
    assert_eq!(page, Page { events: Vec::new(), next: None, head: Position(0), last_revision: None });
    assert!(store.read_frames(Position(0), 1 << 20).await.unwrap().bytes.is_empty());
    let none = store.read(&ReadRequest::new(Selector::Tags(vec!["no:one".into()]))).await.unwrap();
    assert!(none.events.is_empty());
}

pub(crate) async fn bounds_of_a_read_are_checked(store: impl EventStore) {
    let read = |request: ReadRequest| {
        let store = store.clone();
        async move { store.read(&request).await.unwrap_err().code }
    };
    assert_eq!(read(ReadRequest::new(Selector::All).limit(0)).await, Code::InvalidLimit);
    let most = limits::PAGE_EVENTS_MAX;
    assert_eq!(read(ReadRequest::new(Selector::All).limit(most + 1)).await, Code::InvalidLimit);
    assert_eq!(read(ReadRequest::new(Selector::Query(Query::default()))).await, Code::InvalidQuery);
    assert_eq!(read(ReadRequest::new(Selector::Types(Vec::new()))).await, Code::InvalidQuery);
    for limit in [0, limits::STREAM_LIST_MAX + 1] {
        let list = StreamListRequest { limit, ..StreamListRequest::default() };
        assert_eq!(store.streams(&list).await.unwrap_err().code, Code::InvalidLimit);
    }
    for page_events in [0, most + 1] {
        let follow = FollowRequest { page_events, ..FollowRequest::new(Selector::All, Start::Start) };
        assert_eq!(store.follow(follow).await.err().map(|error| error.code), Some(Code::InvalidLimit));
    }
}

pub(crate) async fn counts_and_identity_are_told(store: impl EventStore) {
    let empty = store.info().await.unwrap();
    assert_eq!(empty.head, Position(0));
    fill(&store, 0, 12).await;
    store.set_stream_metadata(&name("loan-1"), Expected::NoStream, "{}".into()).await.unwrap();
    let info = store.info().await.unwrap();
    assert_eq!(info.head, Position(13));
    assert_eq!((&info.log_id, &info.origin), (&empty.log_id, &empty.origin));
    assert_eq!((info.created_at, info.format_version), (empty.created_at, empty.format_version));
    assert_ne!(info.root, empty.root);
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.user.events, stats.user_streams), (12, 4));
    assert_eq!((stats.system.events, stats.system_streams), (1, 1));
    let types: Vec<_> = stats.types.iter().map(|named| (&*named.name, named.counts.events)).collect();
    assert_eq!(types, [("A", 4), ("B", 8)]);
    let categories: Vec<_> = stats.categories.iter().map(|named| (&*named.name, named.streams)).collect();
    assert_eq!(categories, [("loan", 4)]);
}
