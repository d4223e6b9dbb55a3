//! A follower takes over while appends come: through the Rust client, in sessions, over HTTP.

mod nodes_support;
mod support;

use futures_util::TryStreamExt as _;
use graven_client::model::*;
use graven_client::{Client, EventStore, FollowSteps, Options};
use nodes_support::{Nodes, ended, graven, node, until_role};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::{Server, run, wait_until};

fn id(writer: u64, number: u64) -> EventId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&writer.to_be_bytes());
    id[8..].copy_from_slice(&number.to_be_bytes());
    EventId(id)
}

fn stream(writer: u64) -> StreamName {
    StreamName::new(format!("writer-{writer}")).expect("a valid name")
}

fn event(writer: u64, number: u64) -> AppendRequest {
    let event = NewEvent::json(id(writer, number), "Written", format!("{{\"n\":{number}}}"));
    AppendRequest::to(stream(writer), Expected::Any, [event])
}

/// All events but the store's own records.
async fn everything(client: &Client) -> Vec<StoredEvent> {
    let log = client.read_stream(ReadRequest::new(Selector::All));
    let events: Vec<StoredEvent> = log.try_collect().await.expect("the log is read");
    events.into_iter().filter(|event| event.kind == Kind::Event).collect()
}

/// Every writer's events are there, each once, in the order in which he wrote them.
fn assert_each_once_in_order(events: &[StoredEvent], writers: u64, each: u64) {
    assert_eq!(events.len() as u64, writers * each);
    for writer in 0..writers {
        let of_writer = events.iter().filter(|event| event.stream == stream(writer));
        let ids: Vec<_> = of_writer.map(|event| event.event.id).collect();
        assert!(ids.into_iter().eq((0..each).map(|number| id(writer, number))), "writer {writer}");
    }
}

async fn take_over(to: &Server) {
    let url = to.url().to_owned();
    let arguments = ["--url", &url, "journal", "takeover", "--yes"].map(str::to_owned);
    let done = tokio::task::spawn_blocking(move || graven(&arguments.each_ref().map(String::as_str))).await;
    ended(&done.unwrap(), 0, &[to.url()]);
}

/// Both hold the same log: heads, then roots.
fn assert_same_log(one: &Server, other: &Server) {
    let info = |server: &Server| {
        let info = server.client().get("/v1/info").expect(200);
        (info["head"].clone(), info["root"].clone())
    };
    wait_until("both have the same log", || (info(one) == info(other)).then_some(()));
}

#[test]
fn a_client_of_a_follower_appends_and_reads_its_own_writes() {
    let nodes = Nodes::new();
    let writer = nodes.start("writer", &[]);
    let follower = nodes.start("follower", &["--follow"]);
    run(async {
        let client = Client::connect(follower.url()).await.unwrap();
        for number in 0..50 {
            client.append(event(0, number)).await.unwrap();
            let newest = ReadRequest::new(Selector::Stream(stream(0))).backward().limit(1);
            assert_eq!(client.read(&newest).await.unwrap().events[0].revision, Revision(number));
        }
        assert_eq!(everything(&client).await.len(), 50);
        // The node's key comes first.
        assert_eq!(client.info().await.unwrap().head, Position(51));
        // What changes a stream goes to the writer too, and an append of checks alone.
        let metadata = br#"{"$maxCount": 10}"#[..].to_vec();
        client.set_stream_metadata(&stream(0), Expected::NoStream, metadata.into()).await.unwrap();
        assert_eq!(client.stream_info(&stream(0)).await.unwrap().first_revision, Some(Revision(40)));
        client.truncate_stream(&stream(0), Revision(45)).await.unwrap();
        assert_eq!(client.stream_info(&stream(0)).await.unwrap().first_revision, Some(Revision(45)));
        client.append(AppendRequest::default().check(stream(0), Expected::Exists)).await.unwrap();
        let receipt = client.delete_stream(&stream(0), Expected::Any).await.unwrap();
        let gone = client.read(&ReadRequest::new(Selector::Stream(stream(0)))).await.unwrap_err();
        assert_eq!(gone.code, Code::StreamDeleted);

        // Somebody else is told the position.
        let other = Client::connect(follower.url()).await.unwrap().seeing(receipt.last_position.unwrap());
        assert!(other.info().await.unwrap().head > receipt.last_position.unwrap());
        let hasty = Options { deadline: Duration::from_millis(500), ..Options::default() };
        let hasty = hasty.connect(follower.url()).await.unwrap().seeing(Position(1_000_000));
        let error = hasty.info().await.unwrap_err();
        assert!(matches!(error.code, Code::NotYetThere | Code::Timeout), "{error}");

        // A session keeps the order in which it was written to.
        let mut session = client.append_session();
        let mut pending = Vec::new();
        for number in 0..300 {
            pending.push(session.append(event(1, number)).await.unwrap());
        }
        for (number, pending) in pending.into_iter().enumerate() {
            assert_eq!(pending.await.unwrap().streams[0].revision, Some(Revision(number as u64)));
        }
    });
    assert_same_log(&writer, &follower);
}

#[test]
fn every_acknowledged_append_is_there_once_however_often_the_writer_changes() {
    const WRITERS: u64 = 6;
    const EACH: u64 = 120;
    let nodes = Nodes::new();
    let one = nodes.start("one", &[]);
    let other = nodes.start("other", &["--follow"]);
    run(async {
        let clients =
            [Client::connect(one.url()).await.unwrap(), Client::connect(other.url()).await.unwrap()];
        let mut follower = clients[1].follow(FollowRequest::new(Selector::All, Start::Start)).await.unwrap();
        let following = tokio::spawn(async move {
            let mut seen = Vec::new();
            while seen.len() as u64 != WRITERS * EACH {
                if let FollowStep::Events(events) = follower.next_step().await.unwrap() {
                    seen.extend(events.into_iter().filter(|event| event.kind == Kind::Event));
                }
            }
            seen
        });
        let done = Arc::new(AtomicU64::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (client, done) = (clients[(writer % 2) as usize].clone(), done.clone());
                tokio::spawn(async move {
                    if writer < 2 {
                        // Nothing but the order of sending keeps these in order.
                        let mut session = client.append_session();
                        let mut pending = Vec::new();
                        for number in 0..EACH {
                            pending.push(session.append(event(writer, number)).await.unwrap());
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                        for (number, pending) in pending.into_iter().enumerate() {
                            let receipt = pending.await.unwrap();
                            assert_eq!(receipt.streams[0].revision, Some(Revision(number as u64)));
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        return;
                    }
                    for number in 0..EACH {
                        let receipt = client.append(event(writer, number)).await.unwrap();
                        assert_eq!(receipt.streams[0].revision, Some(Revision(number)));
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for round in 1..=4 {
            while done.load(Ordering::Relaxed) < round * WRITERS * EACH / 10 {
                tokio::task::yield_now().await;
            }
            let (to, from) = if round % 2 == 1 { (&other, &one) } else { (&one, &other) };
            take_over(to).await;
            // Its process goes on, as a follower.
            tokio::task::block_in_place(|| until_role(from, "follower"));
        }
        for writer in writers {
            writer.await.unwrap();
        }
        let events = everything(&clients[0]).await;
        assert_each_once_in_order(&events, WRITERS, EACH);
        assert!(
            following.await.unwrap() == events,
            "the follower saw the log, without a gap or a repetition"
        );
    });
    assert_same_log(&one, &other);
    assert_eq!(node(&one.client())["epoch"], 5);
    assert!(one.log().contains("another node has taken over; this one follows from now on"));
    assert!(one.stop().success() && other.stop().success());
}

#[test]
fn a_writer_that_steps_down_says_so_to_what_waits_and_answers_reads_within_a_second() {
    let nodes = Nodes::new();
    let one = nodes.start("one", &[]);
    let other = nodes.start("other", &["--follow"]);
    one.client().append_one("s", "T");
    let (before, client) = (std::time::Instant::now(), other.client());
    client.post("/v1/node/takeover", &json!({})).expect(200);
    // Who appends at the old one is told where to, in whichever state it is.
    let problem = wait_until("the append is refused", || {
        let body = br#"{"events": [{"type": "T"}]}"#;
        let headers = [("Content-Type", "application/json")];
        let answer = one.client().try_send("POST", "/v1/streams/s", &headers, Some(body)).ok()?;
        (answer.status == 421).then(|| answer.json())
    });
    assert_eq!(problem["writer"], other.url());
    let read = wait_until("a read is answered", || {
        let answer = one.client().try_send("GET", "/v1/streams/s", &[], None).ok()?;
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(read["events"].as_array().unwrap().len(), 1);
    until_role(&one, "follower");
    let took = before.elapsed();
    // A second until it notices, at the most, and less than one until it follows.
    assert!(took < Duration::from_secs(5), "{took:?}");
    let last = client.append_one("s", "T");
    one.client().get(&format!("/v1/streams/s?min_position={last}")).expect(200);
}

#[test]
fn an_append_waits_for_a_writer_until_its_deadline_when_there_is_none() {
    let nodes = Nodes::new();
    let writer = nodes.start("writer", &[]);
    let follower = nodes.start("follower", &["--follow"]);
    writer.client().append_one("s", "T");
    assert!(writer.stop().success());
    run(async {
        // The follower names a writer that is gone.
        let hasty = Options { deadline: Duration::from_millis(700), ..Options::default() };
        let hasty = hasty.connect(follower.url()).await.unwrap();
        let error = hasty.append(event(7, 0)).await.unwrap_err();
        assert_eq!(error.code, Code::Timeout, "{error}");
        let patient = Client::connect(follower.url()).await.unwrap();
        let appending = tokio::spawn(async move { patient.append(event(0, 0)).await });
        take_over(&follower).await;
        assert_eq!(appending.await.unwrap().unwrap().streams[0].revision, Some(Revision(0)));
    });
}
