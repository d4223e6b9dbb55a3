//! Reads through the protocol of KurrentDB's clients.

mod grpc_support;
mod kurrent_read_support;
mod support;

use graven_proto::kurrentdb::shared::uuid;
use graven_proto::kurrentdb::streams::read_req::Options;
use graven_proto::kurrentdb::streams::read_req::options::all_options::AllOption;
use graven_proto::kurrentdb::streams::read_req::options::filter_options::Filter;
use graven_proto::kurrentdb::streams::read_req::options::stream_options::RevisionOption;
use graven_proto::kurrentdb::streams::read_req::options::{UuidOption, uuid_option};
use graven_proto::kurrentdb::streams::read_resp::{Content, read_event};
use grpc_support::{append, connect, event as new_event, fill, wire};
use kurrent_read_support::*;
use support::Server;
use tonic::Code;

fn number(revision: u64) -> RevisionOption {
    RevisionOption::Revision(revision)
}

fn end_of(stream: &str) -> wire::EndStreamRequest {
    wire::EndStreamRequest { stream: stream.to_owned(), expected: None }
}

#[tokio::test]
async fn a_stream_is_read_both_ways_from_any_revision() {
    let server = Server::start_with(&QUIET);
    let mut native = connect(&server).await;
    fill(&mut native, "other", 3).await;
    fill(&mut native, "s", 5).await;
    let mut client = connect_kurrent(&server).await;
    for (options, expected) in [
        (stream("s", START), vec![0, 1, 2, 3, 4]),
        (stream("s", number(3)), vec![3, 4]),
        (stream("s", END), vec![4]),
        (stream("s", number(9)), vec![]),
        (count(2, stream("s", number(1))), vec![1, 2]),
        (count(0, stream("s", START)), vec![]),
        (backwards(stream("s", END)), vec![4, 3, 2, 1, 0]),
        (backwards(stream("s", number(u64::MAX))), vec![4, 3, 2, 1, 0]),
        (backwards(stream("s", number(2))), vec![2, 1, 0]),
        (backwards(stream("s", START)), vec![0]),
        (count(1, backwards(stream("s", END))), vec![4]),
    ] {
        let expected: Vec<String> = expected.iter().map(|revision| format!("{revision}@s")).collect();
        assert_eq!(places(&mut client, options.clone()).await, expected, "{options:?}");
    }
}

#[tokio::test]
async fn an_event_is_told_with_all_that_is_known_of_it() {
    let server = Server::start_with(&QUIET);
    let mut native = connect(&server).await;
    fill(&mut native, "other", 3).await;
    let written = wire::NewEvent { metadata: "{\"m\":1}".into(), ..new_event("Opened", "{\"n\":1}") };
    let id = written.id.clone();
    let binary = wire::NewEvent { content_type: "text/plain".to_owned(), ..new_event("Text", "hello") };
    native.append(append("s", grpc_support::model::Expected::Any, vec![written, binary])).await.unwrap();
    let mut client = connect_kurrent(&server).await;
    let told = events(&mut client, stream("s", START)).await;
    let (event, text) = (told[0].event.as_ref().unwrap(), told[1].event.as_ref().unwrap());
    assert_eq!(told[0].position, Some(read_event::Position::CommitPosition(3)));
    assert_eq!((event.commit_position, event.prepare_position, event.stream_revision), (3, 3, 0));
    assert_eq!((&event.custom_metadata[..], &event.data[..]), (&b"{\"m\":1}"[..], &b"{\"n\":1}"[..]));
    assert_eq!(
        (&event.metadata["type"][..], &event.metadata["content-type"][..]),
        ("Opened", "application/json")
    );
    assert!(event.metadata["created"].parse::<u64>().unwrap() > 16_000_000_000_000_000);
    assert_eq!(text.metadata["content-type"], "application/octet-stream");
    assert!(told.iter().all(|event| event.link.is_none()));
    let model_id = grpc_support::model::EventId(id[..].try_into().unwrap());
    assert_eq!(event.id.as_ref().unwrap().value, Some(uuid::Value::String(model_id.to_string())));
    let halves = UuidOption { content: Some(uuid_option::Content::Structured(EMPTY)) };
    let told = events(&mut client, Options { uuid_option: Some(halves), ..stream("s", START) }).await;
    let Some(uuid::Value::Structured(halves)) = told[0].event.as_ref().unwrap().id.as_ref().unwrap().value
    else {
        panic!("two halves");
    };
    assert_eq!(halves.most_significant_bits.to_be_bytes(), id[..8]);
    assert_eq!(halves.least_significant_bits.to_be_bytes(), id[8..]);
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_told_in_the_answer_and_one_that_ended_as_an_error() {
    let server = Server::start_with(&QUIET);
    let mut native = connect(&server).await;
    fill(&mut native, "deleted", 3).await;
    fill(&mut native, "ended", 3).await;
    native.delete_stream(end_of("deleted")).await.unwrap();
    native.tombstone_stream(end_of("ended")).await.unwrap();
    let mut client = connect_kurrent(&server).await;
    for name in ["missing", "deleted", "$ce-missing", "$et-Missing", "$ce-", "$$missing", "$idx-ce-x"] {
        let contents = read(&mut client, stream(name, START)).await.unwrap();
        let [Content::StreamNotFound(told)] = &contents[..] else { panic!("{name}: {contents:?}") };
        assert_eq!(told.stream_identifier.as_ref().unwrap().stream_name, name.as_bytes());
    }
    for name in ["ended", "$$ended"] {
        for options in [stream(name, START), backwards(stream(name, END)), subscribing(stream(name, START))] {
            let refused = read(&mut client, options).await.unwrap_err();
            assert_eq!(refused.code(), Code::FailedPrecondition);
            assert_eq!(exception(&refused), "stream-deleted");
            assert_eq!(refused.message(), format!("Event stream '{name}' is deleted."));
            assert!(refused.details().is_empty());
        }
    }
    fill(&mut native, "deleted", 1).await;
    assert_eq!(places(&mut client, stream("deleted", START)).await, ["3@deleted"]);
}

#[tokio::test]
async fn who_asks_for_it_is_told_where_a_stream_begins_and_ends() {
    let server = Server::start_with(&QUIET);
    let mut native = connect(&server).await;
    fill(&mut native, "s", 50).await;
    let mut client = connect_kurrent(&server).await;
    let ends = |contents: &[Content]| -> (Option<u64>, usize, Option<u64>) {
        let first = contents.iter().find_map(|content| match content {
            Content::FirstStreamPosition(first) => Some(*first),
            _ => None,
        });
        let events = contents.iter().filter(|content| matches!(content, Content::Event(_))).count();
        match contents.last() {
            Some(Content::LastStreamPosition(last)) => (first, events, Some(*last)),
            _ => (first, events, None),
        }
    };
    let whole = read(&mut client, telling_ends(stream("s", START))).await.unwrap();
    assert_eq!(ends(&whole), (None, 50, Some(49)));
    let backward = read(&mut client, telling_ends(count(2, backwards(stream("s", END))))).await.unwrap();
    assert_eq!(ends(&backward), (None, 2, Some(49)));
    let beyond = read(&mut client, telling_ends(stream("s", number(70)))).await.unwrap();
    assert_eq!(ends(&beyond), (Some(50), 0, Some(49)));
    let truncation = wire::TruncateStreamRequest { stream: "s".to_owned(), before: 40 };
    native.truncate_stream(truncation).await.unwrap();
    let truncated = read(&mut client, telling_ends(stream("s", START))).await.unwrap();
    assert_eq!(ends(&truncated), (Some(40), 10, Some(49)));
    assert!(matches!(truncated[0], Content::FirstStreamPosition(40)));
    let near = read(&mut client, telling_ends(stream("s", number(30)))).await.unwrap();
    assert_eq!(ends(&near), (None, 10, Some(49)));
    let silent = read(&mut client, stream("s", START)).await.unwrap();
    assert_eq!(ends(&silent), (None, 10, None));
}

#[tokio::test]
async fn the_log_is_read_with_positions_included_forwards_and_not_backwards() {
    let server = Server::start_with(&QUIET);
    let mut native = connect(&server).await;
    for round in 0..4 {
        fill(&mut native, &format!("s-{round}"), 2).await;
    }
    let mut client = connect_kurrent(&server).await;
    let (start, end) = (AllOption::Start(EMPTY), AllOption::End(EMPTY));
    for (options, expected) in [
        (all(start), (0..8).collect::<Vec<u64>>()),
        (all(at(5)), vec![5, 6, 7]),
        (all(at(8)), vec![]),
        (all(end), vec![]),
        (count(3, all(at(2))), vec![2, 3, 4]),
        (backwards(all(end)), (0..8).rev().collect()),
        (backwards(all(at(3))), vec![2, 1, 0]),
        (backwards(all(at(8))), (0..8).rev().collect()),
        (backwards(all(at(0))), vec![]),
        (backwards(all(start)), vec![]),
        (count(1, backwards(all(at(u64::MAX)))), vec![7]),
        (filtered(Filter::StreamIdentifier(by_prefix("s-2")), all(start)), vec![4, 5]),
        (filtered(Filter::StreamIdentifier(by_regex("s-(1|3)$")), backwards(all(end))), vec![7, 6, 3, 2]),
        (count(1, filtered(Filter::StreamIdentifier(by_regex("(?<!s)-?[23]$")), all(start))), vec![4]),
        (filtered(Filter::EventType(by_prefix("Nothing")), all(start)), vec![]),
    ] {
        assert_eq!(positions(&mut client, options.clone()).await, expected, "{options:?}");
    }
    for options in [all(at(9)), backwards(all(at(9))), subscribing(all(at(9)))] {
        let refused = read(&mut client, options).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(refused.message(), "Trying to read from an invalid position.");
    }
    native
        .append(append("s-9", grpc_support::model::Expected::Any, vec![new_event(&"a".repeat(200), "{}")]))
        .await
        .unwrap();
    let endless = filtered(Filter::EventType(by_regex("^(a|a)*(?!c)b$")), all(start));
    let refused = read(&mut client, endless).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "what cannot be decided is no mismatch");
}

#[tokio::test]
async fn what_groups_and_snapshots_write_is_not_seen_among_all() {
    let server = Server::start_with(&QUIET);
    let mut native = connect(&server).await;
    fill(&mut native, "a-1", 2).await;
    let snapshot = br#"{"revision":1,"schema_version":1,"data":{}}"#;
    let json = [("Content-Type", "application/json")];
    server.client().send("PUT", "/v1/streams/a-1/snapshot", &json, Some(snapshot)).expect(201);
    fill(&mut native, "a-1", 1).await;
    let mut client = connect_kurrent(&server).await;
    let seen = places(&mut client, all(AllOption::Start(EMPTY))).await;
    assert!(seen.iter().all(|place| !place.contains("$snapshot-")), "{seen:?}");
    let counted = places(&mut client, count(3, all(AllOption::Start(EMPTY)))).await;
    assert_eq!(counted, ["0@a-1", "1@a-1", "2@a-1"]);
    assert_eq!(places(&mut client, stream("$snapshot-a-1", START)).await, ["0@$snapshot-a-1"]);
}

#[tokio::test]
async fn hostile_options_are_invalid_arguments_and_nothing_else() {
    let server = Server::start_with(&QUIET);
    let mut client = connect_kurrent(&server).await;
    let good = || stream("s", START);
    for options in [
        Options::default(),
        Options { uuid_option: None, ..good() },
        Options { stream_option: None, ..good() },
        Options { count_option: None, ..good() },
        Options { filter_option: None, ..good() },
        Options { read_direction: 77, ..good() },
        backwards(subscribing(good())),
        filtered(Filter::EventType(by_prefix("A")), good()),
        filtered(Filter::EventType(by_regex("(")), all(AllOption::Start(EMPTY))),
        stream("", START),
        stream("$all", START),
        stream(&"x".repeat(5_000), START),
        filtered(Filter::EventType(by_regex(&"x".repeat(5_000))), all(AllOption::Start(EMPTY))),
        filtered(
            Filter::EventType(by_regex("(?=x)(a{1000}){1000}")),
            subscribing(all(AllOption::Start(EMPTY))),
        ),
    ] {
        let refused = read(&mut client, options.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{options:?}: {refused:?}");
        assert!(refused.details().is_empty());
    }
    let unknown = filtered(Filter::StreamIdentifier(by_prefix("$idx-mine")), all(AllOption::Start(EMPTY)));
    let refused = read(&mut client, unknown).await.unwrap_err();
    assert_eq!((refused.code(), exception(&refused)), (Code::NotFound, "index-not-found"));
}

#[tokio::test]
async fn a_long_read_comes_whole() {
    let server = Server::start_with(&QUIET);
    let mut native = connect(&server).await;
    for _ in 0..5 {
        fill(&mut native, "loan-1", 700).await;
    }
    let mut client = connect_kurrent(&server).await;
    for options in
        [all(AllOption::Start(EMPTY)), stream("loan-1", START), resolving(stream("$ce-loan", START))]
    {
        assert!(positions(&mut client, options).await.into_iter().eq(0..3_500));
    }
    let some = count(2_345, backwards(stream("$et-Filled", END)));
    assert!(positions(&mut client, some).await.into_iter().eq((0..3_500).rev().take(2_345)));
}
