//! Views made from the indexes, and links, through the protocol of KurrentDB's clients.

mod grpc_support;
mod kurrent_read_support;
mod support;

use graven_proto::kurrentdb::streams::read_req::options::all_options::AllOption;
use graven_proto::kurrentdb::streams::read_req::options::filter_options::Filter;
use graven_proto::kurrentdb::streams::read_req::options::stream_options::RevisionOption;
use graven_proto::kurrentdb::streams::read_resp::Content;
use grpc_support::{Client, append, connect, event as new_event, fill, model, wire};
use kurrent_read_support::*;
use support::Server;

fn number(revision: u64) -> RevisionOption {
    RevisionOption::Revision(revision)
}

async fn put(native: &mut Client, stream: &str, event_type: &str, data: &str) {
    let event = wire::NewEvent {
        content_type: if event_type == "$>" { "application/octet-stream".into() } else { String::new() },
        ..new_event(event_type, data)
    };
    native.append(append(stream, model::Expected::Any, vec![event])).await.unwrap();
}

/// loan-1: 0 Opened, 2 Paid; loan-2: 1 Opened; user-1: 3 Opened; plain: 4 Opened
async fn filled() -> (Server, Client) {
    let server = Server::start_with(&QUIET);
    let mut native = connect(&server).await;
    for (stream, event_type) in [
        ("loan-1", "Opened"),
        ("loan-2", "Opened"),
        ("loan-1", "Paid"),
        ("user-1", "Opened"),
        ("plain", "Opened"),
    ] {
        put(&mut native, stream, event_type, "{}").await;
    }
    (server, native)
}

#[tokio::test]
async fn views_are_links_that_are_followed_when_asked() {
    let (server, _native) = filled().await;
    let mut client = connect_kurrent(&server).await;
    for (view, targets) in [
        ("$ce-loan", vec!["0@loan-1", "0@loan-2", "1@loan-1"]),
        ("$ce-user", vec!["0@user-1"]),
        ("$et-Opened", vec!["0@loan-1", "0@loan-2", "0@user-1", "0@plain"]),
        ("$et-Paid", vec!["1@loan-1"]),
        ("$streams", vec!["0@loan-1", "0@loan-2", "0@user-1", "0@plain"]),
    ] {
        let links = events(&mut client, stream(view, START)).await;
        assert_eq!(links.len(), targets.len(), "{view}");
        for (at, (link, target)) in links.iter().zip(&targets).enumerate() {
            assert!(link.link.is_none());
            let link = link.event.as_ref().unwrap();
            assert_eq!(place(link), format!("{at}@{view}"));
            assert_eq!((&link.metadata["type"][..], &link.data[..]), ("$>", target.as_bytes()));
            assert_eq!(link.metadata["content-type"], "application/octet-stream");
        }
        let resolved = events(&mut client, resolving(stream(view, START))).await;
        for ((resolved, link), target) in resolved.iter().zip(&links).zip(&targets) {
            assert_eq!(resolved.link, link.event, "the link is the same however it is asked for");
            let event = resolved.event.as_ref().unwrap();
            assert_eq!(place(event), *target);
            assert_eq!(event.commit_position, link.event.as_ref().unwrap().commit_position);
            assert_ne!(event.id, resolved.link.as_ref().unwrap().id);
        }
        let mut reversed = targets.clone();
        reversed.reverse();
        assert_eq!(places(&mut client, backwards(resolving(stream(view, END)))).await, reversed);
    }
    let from_one = resolving(stream("$et-Opened", number(1)));
    assert_eq!(places(&mut client, count(2, from_one)).await, ["0@loan-2", "0@user-1"]);
    assert_eq!(places(&mut client, stream("$et-Opened", number(9))).await, [""; 0]);
    assert_eq!(
        places(&mut client, backwards(stream("$et-Opened", number(1)))).await,
        ["1@$et-Opened", "0@$et-Opened"]
    );
    assert_eq!(places(&mut client, stream("$ce-loan", END)).await, ["2@$ce-loan"]);
    let told = read(&mut client, telling_ends(stream("$ce-loan", START))).await.unwrap();
    assert!(matches!(told.last(), Some(Content::LastStreamPosition(2))));
}

#[tokio::test]
async fn numbers_of_a_view_are_the_same_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start_in(&data, &QUIET);
    let mut native = connect(&server).await;
    for round in 0..30 {
        fill(&mut native, &format!("loan-{}", round % 4), 3).await;
    }
    let before = events(&mut connect_kurrent(&server).await, stream("$ce-loan", START)).await;
    assert_eq!(before.len(), 90);
    drop(native);
    server.stop();
    std::fs::remove_dir_all(data.join("index")).unwrap();
    let server = Server::start_in(&data, &QUIET);
    let after = events(&mut connect_kurrent(&server).await, stream("$ce-loan", START)).await;
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_link_to_what_no_reader_sees_comes_without_it() {
    let (server, mut native) = filled().await;
    let end = |stream: &str| wire::EndStreamRequest { stream: stream.to_owned(), expected: None };
    native.delete_stream(end("loan-2")).await.unwrap();
    let truncation = wire::TruncateStreamRequest { stream: "loan-1".to_owned(), before: 1 };
    native.truncate_stream(truncation).await.unwrap();
    native.tombstone_stream(end("user-1")).await.unwrap();
    let mut client = connect_kurrent(&server).await;
    let resolved = events(&mut client, resolving(stream("$ce-loan", START))).await;
    let told: Vec<(String, Option<String>)> = resolved
        .iter()
        .map(|event| (place(event.link.as_ref().unwrap()), event.event.as_ref().map(place)))
        .collect();
    let link = |at: usize| format!("{at}@$ce-loan");
    assert_eq!(told, [(link(0), None), (link(1), None), (link(2), Some("1@loan-1".to_owned()))]);
    assert_eq!(places(&mut client, stream("$ce-loan", START)).await, [link(0), link(1), link(2)]);
    let ended = events(&mut client, resolving(stream("$ce-user", START))).await;
    assert!(ended.len() == 2 && ended.iter().all(|event| event.event.is_none() && event.link.is_some()));
}

#[tokio::test]
async fn stored_links_are_followed_in_every_stream() {
    let (server, mut native) = filled().await;
    for target in ["1@loan-1", "0@loan-2", "7@loan-1", "0@missing", "nonsense"] {
        put(&mut native, "picked", "$>", target).await;
    }
    put(&mut native, "loan-9", "$>", "0@plain").await;
    let mut client = connect_kurrent(&server).await;
    let resolved = events(&mut client, resolving(stream("picked", START))).await;
    let targets: Vec<Option<String>> = resolved.iter().map(|event| event.event.as_ref().map(place)).collect();
    assert_eq!(targets, [Some("1@loan-1".to_owned()), Some("0@loan-2".to_owned()), None, None, None]);
    for (at, event) in resolved.iter().enumerate() {
        let link = event.link.as_ref().unwrap();
        assert_eq!((place(link), link.commit_position), (format!("{at}@picked"), 5 + at as u64));
    }
    assert_eq!(places(&mut client, stream("picked", number(4))).await, ["4@picked"]);
    let log = events(&mut client, resolving(all(at(10)))).await;
    assert_eq!(place(log[0].event.as_ref().unwrap()), "0@plain");
    assert_eq!(place(log[0].link.as_ref().unwrap()), "0@loan-9");
    // Links are not linked to.
    assert_eq!(places(&mut client, resolving(stream("$ce-loan", START))).await.len(), 3);
}

#[tokio::test]
async fn indexes_are_read_in_the_order_of_the_log() {
    let (server, _native) = filled().await;
    let mut client = connect_kurrent(&server).await;
    let index =
        |name: &str| filtered(Filter::StreamIdentifier(by_prefix(name)), all(AllOption::Start(EMPTY)));
    assert_eq!(positions(&mut client, index("$idx-all")).await, [0, 1, 2, 3, 4]);
    assert_eq!(positions(&mut client, index("$idx-ce-loan")).await, [0, 1, 2]);
    assert_eq!(positions(&mut client, index("$idx-et-Opened")).await, [0, 1, 3, 4]);
    let backward = filtered(Filter::StreamIdentifier(by_prefix("$idx-et-Opened")), all(at(3)));
    assert_eq!(positions(&mut client, backwards(backward)).await, [1, 0]);
    assert_eq!(places(&mut client, index("$idx-ce-loan")).await, ["0@loan-1", "0@loan-2", "1@loan-1"]);
}
