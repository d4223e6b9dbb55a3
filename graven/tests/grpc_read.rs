//! Reads, frames and subscriptions over gRPC.

mod grpc_support;
mod support;

use grpc_support::{all, append, connect, event, fill, model, read_stream, refused, select, soon, wire};
use model::{
    Code, Direction, EventFilter, Expected, Page, Pattern, Position, Query, ReadRequest, Revision, Selector,
    Start, StoredEvent, StreamName,
};
use support::Server;
use wire::subscribe_response::Step;

fn name(stream: &str) -> StreamName {
    StreamName::new(stream).unwrap()
}

#[tokio::test]
async fn every_selector_direction_and_filter_reads_what_http_reads() {
    let server = Server::start();
    let mut client = connect(&server).await;
    let tagged = wire::NewEvent { tags: vec!["t:1".to_owned(), "t:2".to_owned()], ..event("Tagged", "{}") };
    fill(&mut client, "loan-1", 3).await;
    client.append(append("loan-2", Expected::Any, vec![tagged, event("Other", "{}")])).await.unwrap();
    fill(&mut client, "user-1", 2).await;
    let cases = [
        (Selector::All, EventFilter::default(), vec![0, 1, 2, 3, 4, 5, 6]),
        (Selector::Stream(name("loan-1")), EventFilter::default(), vec![0, 1, 2]),
        (Selector::Category("loan".into()), EventFilter::default(), vec![0, 1, 2, 3, 4]),
        (Selector::Types(vec!["Tagged".into(), "Other".into()]), EventFilter::default(), vec![3, 4]),
        (Selector::Tags(vec!["t:1".into(), "t:2".into()]), EventFilter::default(), vec![3]),
        (
            Selector::Query(Query::item(["Other"], [""; 0]).or([""; 0], ["t:1"])),
            EventFilter::default(),
            vec![3, 4],
        ),
        (
            Selector::All,
            EventFilter { stream: Some(Pattern::Prefixes(vec!["user".into()])), ..EventFilter::default() },
            vec![5, 6],
        ),
        (
            Selector::All,
            EventFilter { event_type: Some(Pattern::Regex("^O".into())), ..EventFilter::default() },
            vec![4],
        ),
    ];
    for (selector, filter, mut expected) in cases {
        for backward in [false, true] {
            let mut request = ReadRequest::new(selector.clone()).filter(filter.clone());
            if backward {
                request = request.backward();
                expected.reverse();
            }
            let asked = wire::ReadRequest { pages: 0, page_events: 2, ..(&request).into() };
            let pages = all(client.read(asked).await.unwrap().into_inner()).await;
            let positions: Vec<u64> =
                pages.iter().flat_map(|page| &page.events).map(|event| event.position).collect();
            assert_eq!(positions, expected, "{selector:?} {filter:?}");
            assert!(pages.last().unwrap().next.is_none());
            // One page says where the next begins.
            let one = wire::ReadRequest { page_events: 1, ..(&request).into() };
            let pages = all(client.read(one).await.unwrap().into_inner()).await;
            let page = Page::try_from(pages.into_iter().next().unwrap()).unwrap();
            assert_eq!((page.events[0].position.0, page.head), (expected[0], Position(7)));
            assert_eq!(page.next.is_some(), expected.len() > 1, "{selector:?} {filter:?}");
        }
    }
}

#[tokio::test]
async fn a_read_is_bounded_by_events_and_begins_anywhere() {
    let server = Server::start();
    let mut client = connect(&server).await;
    fill(&mut client, "s", 2_500).await;
    let request = wire::ReadRequest { limit: 1_700, ..read_stream("s") };
    let pages = all(client.read(request).await.unwrap().into_inner()).await;
    assert_eq!(pages.iter().map(|page| page.events.len()).sum::<usize>(), 1_700);
    assert_eq!(pages[0].last_revision, Some(2_499));
    assert_eq!(
        graven_proto::start(pages.last().unwrap().next).unwrap(),
        Some(Start::Revision(Revision(1_700)))
    );
    let from = wire::ReadRequest { start: Some(Start::Revision(Revision(2_490)).into()), ..read_stream("s") };
    let pages = all(client.read(from).await.unwrap().into_inner()).await;
    assert_eq!(pages[0].events.len(), 10);
    let last = wire::ReadRequest { direction: Direction::Backward as i32, limit: 1, ..read_stream("s") };
    let pages = all(client.read(last).await.unwrap().into_inner()).await;
    assert_eq!(pages[0].events[0].revision, 2_499);
}

#[tokio::test]
async fn a_read_that_cannot_be_is_refused_before_it_begins() {
    let server = Server::start();
    let mut client = connect(&server).await;
    fill(&mut client, "s", 1).await;
    client.tombstone_stream(wire::EndStreamRequest { stream: "s".to_owned(), expected: None }).await.unwrap();
    let selector =
        |selector| wire::ReadRequest { selector: select(selector), ..wire::ReadRequest::default() };
    let cases = [
        (wire::ReadRequest::default(), Code::BadRequest),
        (read_stream("missing"), Code::StreamNotFound),
        (read_stream("s"), Code::StreamTombstoned),
        (selector(Selector::Query(Query::default())), Code::InvalidQuery),
        (wire::ReadRequest { page_events: 1_000_000, ..selector(Selector::All) }, Code::InvalidLimit),
        (wire::ReadRequest { direction: 5, ..selector(Selector::All) }, Code::BadRequest),
        (
            wire::ReadRequest { start: Some(Start::Revision(Revision(0)).into()), ..selector(Selector::All) },
            Code::InvalidStart,
        ),
    ];
    for (request, code) in cases {
        assert_eq!(refused(client.read(request.clone()).await).code, code, "{request:?}");
    }
}

#[tokio::test]
async fn frames_hold_the_events_a_read_gives() {
    let server = Server::start();
    let mut client = connect(&server).await;
    for stream in ["a", "b-1", "c"] {
        fill(&mut client, stream, 700).await;
    }
    let request = wire::ReadRequest { selector: select(Selector::All), ..wire::ReadRequest::default() };
    let pages = all(client.read(request).await.unwrap().into_inner()).await;
    let read: Vec<StoredEvent> =
        pages.into_iter().flat_map(|page| page.events).map(|event| event.try_into().unwrap()).collect();
    for page_bytes in [0, 1, 50_000] {
        let request = wire::ReadFramesRequest { page_bytes, ..Default::default() };
        let answers = all(client.read_frames(request).await.unwrap().into_inner()).await;
        let mut next = 0;
        let mut events: Vec<StoredEvent> = Vec::new();
        for answer in answers {
            assert_eq!((answer.first, answer.head), (next, 2_100));
            next = answer.next;
            events.extend(model::frame::events(&answer.frames).map(Result::unwrap));
        }
        assert_eq!(next, 2_100);
        assert_eq!(events, read);
    }
    let beyond = wire::ReadFramesRequest { from: 9_999, ..wire::ReadFramesRequest::default() };
    let answers = all(client.read_frames(beyond).await.unwrap().into_inner()).await;
    assert!(answers.len() == 1 && answers[0].frames.is_empty());
}

#[tokio::test]
async fn frames_are_followed_from_the_middle_of_one_to_what_comes() {
    let server = Server::start();
    let mut client = connect(&server).await;
    fill(&mut client, "s", 10).await;
    let request = wire::ReadFramesRequest { from: 5, follow: true, ..Default::default() };
    let mut frames = client.read_frames(request).await.unwrap().into_inner();
    let mut writer = connect(&server).await;
    let mut next = 5;
    for round in 0..5 {
        loop {
            let answer = soon(frames.message()).await.unwrap().unwrap();
            assert_eq!(answer.next.max(next), answer.next);
            next = answer.next;
            if answer.frames.is_empty() {
                break;
            }
        }
        assert_eq!(next, 10 + round * 3);
        fill(&mut writer, "s", 3).await;
    }
}

#[tokio::test]
async fn a_subscription_goes_from_what_is_there_to_what_comes_without_a_gap() {
    let server = Server::start();
    let mut client = connect(&server).await;
    fill(&mut client, "s", 1_200).await;
    let request = wire::SubscribeRequest {
        selector: select(Selector::All),
        after: Some(Start::Position(Position(99)).into()),
        page_events: 100,
        ..wire::SubscribeRequest::default()
    };
    let mut steps = client.subscribe(request).await.unwrap().into_inner();
    let writing = tokio::spawn({
        let mut writer = connect(&server).await;
        async move {
            for _ in 0..300 {
                fill(&mut writer, "s", 1).await;
            }
        }
    });
    let mut next = 100;
    let mut caught_up = false;
    while next < 1_500 || !caught_up {
        match soon(steps.message()).await.unwrap().unwrap().step.unwrap() {
            Step::Events(batch) => {
                assert!(batch.events.len() <= 100);
                for event in batch.events {
                    assert_eq!(event.position, next);
                    next += 1;
                }
            }
            Step::CaughtUp(head) => {
                assert_eq!(head, next);
                caught_up = true;
            }
            Step::Checkpoint(position) => assert!(position < next),
        }
    }
    writing.await.unwrap();
    let metrics = server.client().get("/metrics").text().to_owned();
    assert!(metrics.contains("graven_follow_followers 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_subscription_that_sees_nothing_is_told_how_far_it_is_and_ends_with_the_server() {
    let server = Server::start();
    let mut client = connect(&server).await;
    fill(&mut client, "s", 500).await;
    let request = wire::SubscribeRequest {
        selector: select(Selector::Types(vec!["Never".into()])),
        checkpoint_every: 100,
        ..wire::SubscribeRequest::default()
    };
    let mut steps = client.subscribe(request).await.unwrap().into_inner();
    let mut seen = Vec::new();
    loop {
        let step = soon(steps.message()).await.unwrap().unwrap().step.unwrap();
        let done = matches!(step, Step::CaughtUp(_));
        seen.push(step);
        if done {
            break;
        }
    }
    assert_eq!(seen.last(), Some(&Step::CaughtUp(500)));
    server.terminate();
    assert_eq!(refused(soon(steps.message()).await).code, Code::Unavailable);
}

#[tokio::test]
async fn single_events_are_found_by_position_and_id() {
    let server = Server::start();
    let mut client = connect(&server).await;
    let event = event("T", "{}");
    client.append(append("a", Expected::Any, vec![event.clone()])).await.unwrap();
    client.append(append("b", Expected::Any, vec![event.clone()])).await.unwrap();
    let found =
        client.event_at(wire::EventAtRequest { position: 1, min_position: None }).await.unwrap().into_inner();
    assert_eq!((&*found.stream, &found.id), ("b", &event.id));
    assert_eq!(
        refused(client.event_at(wire::EventAtRequest { position: 2, min_position: None }).await).code,
        Code::EventNotFound
    );
    let by_id = |id| wire::EventsByIdRequest { id, min_position: None };
    let found = client.events_by_id(by_id(event.id)).await.unwrap().into_inner();
    assert_eq!(found.events.len(), 2);
    let none = client.events_by_id(by_id(grpc_support::new_id())).await.unwrap().into_inner();
    assert!(none.events.is_empty());
    assert_eq!(refused(client.events_by_id(by_id("x".into())).await).code, Code::InvalidEventId);
}
