//! Subscriptions through the protocol of KurrentDB's clients.

mod grpc_support;
mod kurrent_read_support;
mod support;

use graven_proto::kurrentdb::streams::ReadResp;
use graven_proto::kurrentdb::streams::read_req::options::all_options::AllOption;
use graven_proto::kurrentdb::streams::read_req::options::filter_options::Filter;
use graven_proto::kurrentdb::streams::read_req::options::stream_options::RevisionOption;
use graven_proto::kurrentdb::streams::read_resp::{CaughtUp, Content};
use grpc_support::{connect, fill, wire};
use kurrent_read_support::*;
use support::Server;
use tonic::{Code, Streaming};

/// What comes until the subscription says it has caught up: places of events, checkpoints, and that.
async fn until_caught_up(answer: &mut Streaming<ReadResp>) -> (Vec<String>, Vec<u64>, CaughtUp) {
    let (mut events, mut checkpoints) = (Vec::new(), Vec::new());
    loop {
        match next(answer).await.unwrap() {
            Content::Event(told) => events.push(place(told.event.as_ref().unwrap())),
            Content::Checkpoint(checkpoint) => {
                assert_eq!(checkpoint.commit_position, checkpoint.prepare_position);
                assert!(checkpoint.timestamp.is_some());
                checkpoints.push(checkpoint.commit_position);
            }
            Content::CaughtUp(caught_up) => return (events, checkpoints, caught_up),
            other => panic!("{other:?}"),
        }
    }
}

async fn confirmed(answer: &mut Streaming<ReadResp>) {
    let Content::Confirmation(confirmation) = next(answer).await.unwrap() else {
        panic!("the confirmation comes first");
    };
    assert_eq!(confirmation.subscription_id.len(), 36);
}

async fn next_place(answer: &mut Streaming<ReadResp>) -> String {
    place(event(&next(answer).await.unwrap()).event.as_ref().unwrap())
}

fn numbered(name: &str, numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|number| format!("{number}@{name}")).collect()
}

#[tokio::test]
async fn a_subscription_confirms_catches_up_and_goes_on() {
    let server = Server::start_with(&QUIET);
    let mut native = connect(&server).await;
    fill(&mut native, "s-1", 4).await;
    let mut client = connect_kurrent(&server).await;
    for (options, expected, revision, position) in [
        (stream("s-1", START), numbered("s-1", 0..4), Some(3), None),
        (stream("s-1", RevisionOption::Revision(1)), numbered("s-1", 2..4), Some(3), None),
        (stream("s-1", END), vec![], Some(3), None),
        (stream("missing", START), vec![], None, None),
        (all(AllOption::Start(EMPTY)), numbered("s-1", 0..4), None, Some(3)),
        (all(at(2)), numbered("s-1", 3..4), None, Some(3)),
        (all(AllOption::End(EMPTY)), vec![], None, Some(3)),
        (stream("$ce-s", START), numbered("$ce-s", 0..4), Some(3), None),
        (stream("$ce-s", RevisionOption::Revision(2)), numbered("$ce-s", 3..4), Some(3), None),
        (stream("$ce-s", END), vec![], Some(3), None),
        (stream("$ce-missing", START), vec![], None, None),
    ] {
        let mut answer = open(&mut client, subscribing(options.clone())).await.unwrap();
        confirmed(&mut answer).await;
        let (events, checkpoints, caught_up) = until_caught_up(&mut answer).await;
        assert_eq!((events, checkpoints), (expected, vec![]), "{options:?}");
        assert_eq!(caught_up.stream_revision, revision, "{options:?}");
        assert_eq!(caught_up.position.map(|place| place.commit_position), position, "{options:?}");
        assert!(caught_up.timestamp.unwrap().seconds > 1_600_000_000);
    }
    let mut live = open(&mut client, subscribing(stream("s-1", END))).await.unwrap();
    let mut missing = open(&mut client, subscribing(stream("missing", START))).await.unwrap();
    let mut view = open(&mut client, subscribing(resolving(stream("$ce-s", END)))).await.unwrap();
    for answer in [&mut live, &mut missing, &mut view] {
        confirmed(answer).await;
        until_caught_up(answer).await;
    }
    fill(&mut native, "s-1", 1).await;
    fill(&mut native, "missing", 1).await;
    fill(&mut native, "s-2", 1).await;
    assert_eq!(next_place(&mut live).await, "4@s-1");
    assert_eq!(next_place(&mut missing).await, "0@missing");
    assert_eq!(next_place(&mut view).await, "4@s-1");
    assert_eq!(next_place(&mut view).await, "0@s-2");
}

#[tokio::test]
async fn a_filtered_subscription_tells_checkpoints_by_what_it_looked_at() {
    let server = Server::start_with(&QUIET);
    let mut native = connect(&server).await;
    for round in 0..6 {
        fill(&mut native, &format!("a-{round}"), 3).await;
        fill(&mut native, &format!("b-{round}"), 2).await;
    }
    let mut client = connect_kurrent(&server).await;
    let mut head = 30;
    for (regex, matching) in [("^a-", 18), ("^(?!a-)", 12 + 25), ("^d", 0)] {
        let filter = Filter::StreamIdentifier(by_regex(regex));
        let options = subscribing(filtered(filter, all(AllOption::Start(EMPTY))));
        let mut answer = open(&mut client, options).await.unwrap();
        confirmed(&mut answer).await;
        let (events, checkpoints, caught_up) = until_caught_up(&mut answer).await;
        assert_eq!(events.len(), matching, "{regex}");
        let mut expected: Vec<u64> = (9..head).step_by(10).collect();
        if expected.last() != Some(&(head - 1)) {
            expected.push(head - 1);
        }
        assert_eq!(checkpoints, expected, "every ten events, and the last at the end");
        assert_eq!(caught_up.position.unwrap().commit_position, head - 1);
        fill(&mut native, "c-1", 25).await;
        let live = if regex.contains('!') { 25 } else { 0 };
        let (mut seen, mut last) = (0, head - 1);
        while seen < live || last < head + 19 {
            match next(&mut answer).await.unwrap() {
                Content::Event(_) => seen += 1,
                Content::Checkpoint(checkpoint) => {
                    assert!(checkpoint.commit_position > last);
                    last = checkpoint.commit_position;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((seen, last), (live, head + 19));
        head += 25;
    }
}

#[tokio::test]
async fn a_stream_that_ends_is_told_to_the_end() {
    let server = Server::start_with(&QUIET);
    let mut native = connect(&server).await;
    fill(&mut native, "s", 2).await;
    let mut client = connect_kurrent(&server).await;
    let mut answer = open(&mut client, subscribing(stream("s", START))).await.unwrap();
    confirmed(&mut answer).await;
    until_caught_up(&mut answer).await;
    let end = wire::EndStreamRequest { stream: "s".to_owned(), expected: None };
    native.tombstone_stream(end).await.unwrap();
    let told = next(&mut answer).await.unwrap();
    let tombstone = event(&told).event.as_ref().unwrap();
    assert_eq!(tombstone.metadata["type"], "$streamDeleted");
    assert_eq!((tombstone.stream_revision, tombstone.commit_position), (i64::MAX as u64, 2));
    let ended = next(&mut answer).await.unwrap_err();
    assert_eq!((ended.code(), exception(&ended)), (Code::FailedPrecondition, "stream-deleted"));
    assert_eq!(ended.metadata().get("stream-name").unwrap(), "s");
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_falls_behind_and_misses_nothing() {
    let server = Server::start_with(&QUIET);
    let mut native = connect(&server).await;
    let mut client = connect_kurrent(&server).await;
    let mut slow = open(&mut client, subscribing(all(AllOption::Start(EMPTY)))).await.unwrap();
    let mut view = open(&mut client, subscribing(stream("$ce-s", START))).await.unwrap();
    for answer in [&mut slow, &mut view] {
        confirmed(answer).await;
        until_caught_up(answer).await;
    }
    for round in 0..40 {
        fill(&mut native, &format!("s-{}", round % 3), 500).await;
    }
    for answer in [&mut slow, &mut view] {
        let mut expected = 0;
        while expected < 20_000 {
            if let Content::Event(told) = next(answer).await.unwrap() {
                assert_eq!(told.event.unwrap().commit_position, expected);
                expected += 1;
            }
        }
    }
}
