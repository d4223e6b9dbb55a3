//! The Rust client against the real server: gathering, order, lost connections, restarts, deadlines.

mod support;

use futures_util::TryStreamExt as _;
use graven_client::model::error::Details;
use graven_client::model::*;
use graven_client::{Client, EventStore, FollowSteps, Options};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::{Server, run};
use tokio::sync::Notify;

fn id(writer: u64, number: u64) -> EventId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&writer.to_be_bytes());
    id[8..].copy_from_slice(&number.to_be_bytes());
    EventId(id)
}

fn stream(writer: u64) -> StreamName {
    StreamName::new(format!("writer-{writer}")).expect("a valid name")
}

fn event(writer: u64, number: u64) -> NewEvent {
    NewEvent::json(id(writer, number), "Written", format!("{{\"n\":{number}}}"))
}

/// An event of zeros.
fn large(writer: u64, number: u64, bytes: usize) -> NewEvent {
    NewEvent { content_type: ContentType::Binary, data: vec![0; bytes].into(), ..event(writer, number) }
}

/// The stream as it is before its event of this number.
fn expected_before(number: u64) -> Expected {
    number.checked_sub(1).map_or(Expected::NoStream, |before| Expected::Revision(Revision(before)))
}

async fn everything(client: &Client) -> Vec<StoredEvent> {
    client.read_stream(ReadRequest::new(Selector::All)).try_collect().await.expect("the log is read")
}

/// Every writer's events are there, each once, in the order in which he wrote them.
fn assert_each_once_in_order(events: &[StoredEvent], writers: u64, each: u64) {
    assert!(events.iter().enumerate().all(|(at, event)| event.position.0 == at as u64));
    // A server that stops seals.
    assert_eq!(events.iter().filter(|event| !event.kind.is_control()).count() as u64, writers * each);
    for writer in 0..writers {
        let ids: Vec<_> = events
            .iter()
            .filter(|event| event.stream == stream(writer))
            .map(|event| event.event.id)
            .collect();
        assert!(ids.into_iter().eq((0..each).map(|number| id(writer, number))), "writer {writer}");
    }
}

#[test]
fn appends_at_the_same_time_travel_in_one_session() {
    let server = Server::start();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let writers: Vec<_> = (0..64)
            .map(|writer| {
                let client = client.clone();
                tokio::spawn(async move {
                    for number in 0..10 {
                        let expected = expected_before(number);
                        let request = AppendRequest::to(stream(writer), expected, [event(writer, number)]);
                        let receipt = client.append(request).await.unwrap();
                        assert_eq!(receipt.streams[0].revision, Some(Revision(number)));
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let counters = client.counters();
        assert_eq!((counters.append_sessions, counters.appends, counters.retries), (1, 640, 0));
        assert_each_once_in_order(&everything(&client).await, 64, 10);
    });
}

#[test]
fn a_session_keeps_the_order_of_appends_nobody_waited_for() {
    let server = Server::start();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let mut session = client.append_session();
        let mut pending = Vec::new();
        for number in 0..500 {
            let expected = expected_before(number);
            let request = AppendRequest::to(stream(0), expected, [event(0, number)]);
            pending.push(session.append(request).await.unwrap());
        }
        drop(session);
        for (number, pending) in pending.into_iter().enumerate() {
            assert_eq!(pending.await.unwrap().first_position, Position(number as u64));
        }
    });
}

/// Ends the server, now by SIGKILL and now by SIGTERM, and starts it again at the same place.
fn restart(server: Server, kill: bool, data: &Path) -> Server {
    let address = server.address().to_owned();
    if kill {
        server.kill();
    } else {
        server.stop();
    }
    Server::start_at(&address, data, &[])
}

#[test]
fn every_append_is_done_once_however_often_the_server_goes_away() {
    const WRITERS: u64 = 8;
    const EACH: u64 = 100;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut server = Server::start_in(&data, &[]);
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let follower = client.follow(FollowRequest::new(Selector::All, Start::End)).await.unwrap();
        let following = tokio::spawn(async move {
            let (mut follower, mut seen) = (follower, Vec::new());
            let written = |seen: &[StoredEvent]| seen.iter().filter(|event| !event.kind.is_control()).count();
            while written(&seen) as u64 != WRITERS * EACH {
                if let FollowStep::Events(events) = follower.next_step().await.unwrap() {
                    seen.extend(events);
                }
            }
            seen
        });
        let (done, more) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (client, done, more) = (client.clone(), done.clone(), more.clone());
                tokio::spawn(async move {
                    for number in 0..EACH {
                        let expected = if writer % 2 == 0 { Expected::Any } else { expected_before(number) };
                        let request = AppendRequest::to(stream(writer), expected, [event(writer, number)]);
                        let receipt = client.append(request).await.unwrap();
                        assert_eq!(receipt.streams[0].revision, Some(Revision(number)));
                        done.fetch_add(1, Ordering::Relaxed);
                        more.notify_one();
                    }
                })
            })
            .collect();
        for round in 1..=6 {
            while done.load(Ordering::Relaxed) < round * WRITERS * EACH / 8 {
                more.notified().await;
            }
            let data = data.clone();
            server =
                tokio::task::spawn_blocking(move || restart(server, round % 2 == 1, &data)).await.unwrap();
        }
        for writer in writers {
            writer.await.unwrap();
        }
        let events = everything(&client).await;
        assert_each_once_in_order(&events, WRITERS, EACH);
        assert!(client.counters().append_sessions > 1);
        assert!(
            events.starts_with(&following.await.unwrap()),
            "the follower saw the log, without a gap or a repetition"
        );
        drop(server);
    });
}

#[test]
fn a_session_keeps_its_order_over_a_server_that_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut server = Server::start_in(&data, &[]);
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let mut session = client.append_session();
        let mut pending = Vec::new();
        for number in 0..300 {
            // Nothing but the order of sending keeps these in order.
            let request = AppendRequest::to(stream(0), Expected::Any, [event(0, number)]);
            pending.push(session.append(request).await.unwrap());
            if number == 150 {
                let data = data.clone();
                server = tokio::task::spawn_blocking(move || restart(server, true, &data)).await.unwrap();
            }
        }
        for (number, pending) in pending.into_iter().enumerate() {
            assert_eq!(pending.await.unwrap().streams[0].revision, Some(Revision(number as u64)));
        }
        assert_each_once_in_order(&everything(&client).await, 1, 300);
        drop(server);
    });
}

#[test]
fn an_append_past_its_deadline_says_so_and_its_retry_tells_what_became_of_it() {
    let server = Server::start();
    let pid = Pid::from_raw(server.id().cast_signed()).expect("a process id");
    run(async {
        let options = Options { deadline: Duration::from_millis(200), ..Options::default() };
        let client = options.connect(server.url()).await.unwrap();
        let request = AppendRequest::to(stream(0), Expected::Any, [event(0, 0)]);
        kill_process(pid, Signal::STOP).unwrap();
        let error = client.append(request.clone()).await.unwrap_err();
        assert_eq!(error.code, Code::Timeout);
        assert!(!error.code.entry().no_side_effects);
        let read = client.read(&ReadRequest::new(Selector::All)).await.unwrap_err();
        assert_eq!(read.code, Code::Timeout);
        kill_process(pid, Signal::CONT).unwrap();
        let patient = Client::connect(server.url()).await.unwrap();
        patient.append(request).await.unwrap();
        assert_each_once_in_order(&everything(&patient).await, 1, 1);
    });
}

#[test]
fn a_refused_append_carries_all_its_checks_and_unseen_events_however_large() {
    let server = Server::start();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let mut request = AppendRequest::default();
        for writer in 0..40 {
            let events = [0, 1, 2].map(|number| large(writer, number, 2_000));
            client.append(AppendRequest::to(stream(writer), Expected::Any, events)).await.unwrap();
            request = request.and_to(stream(writer), Expected::Revision(Revision(0)), [event(writer, 9)]);
        }
        request.unseen_max = 10;
        let error = client.append(request).await.unwrap_err();
        assert_eq!(error.code, Code::WrongExpectedRevision);
        let Details::FailedChecks(checks) = error.details else { panic!("{error}") };
        assert_eq!(checks.len(), 40);
        for (writer, check) in checks.iter().enumerate() {
            assert_eq!(check.stream, stream(writer as u64));
            assert_eq!(check.actual, StreamState::At(Revision(2)));
            let unseen: Vec<u64> = check.unseen.iter().map(|event| event.revision.0).collect();
            // The server reads them for the first ones only, to bound its memory.
            assert_eq!(unseen, if writer < 16 { vec![1, 2] } else { vec![] });
        }
        assert_eq!(client.counters().append_sessions, 1);
    });
}

#[test]
fn an_append_that_is_too_large_does_not_end_the_session_of_the_others() {
    let server = Server::start();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let whole = (0..5).map(|number| large(0, number, 15 << 20));
        let error = client.append(AppendRequest::to(stream(0), Expected::Any, whole)).await.unwrap_err();
        assert_eq!(error.code, Code::AppendTooLarge);
        let most = (0..4).map(|number| large(0, number, 15 << 20));
        client.append(AppendRequest::to(stream(0), Expected::Any, most)).await.unwrap();
        assert_eq!(client.counters().append_sessions, 1);
    });
}

#[test]
fn a_long_read_gives_the_same_events_as_pages_and_as_frames_over_a_restart_too() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start_in(&data, &[]);
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let mut session = client.append_session();
        let mut pending = Vec::new();
        for number in 0..2_000 {
            let event = large(0, number, 4_000);
            pending.push(session.append(AppendRequest::to(stream(0), Expected::Any, [event])).await.unwrap());
        }
        for pending in pending {
            pending.await.unwrap();
        }
        let all = ReadRequest::new(Selector::All).limit(50);
        let mut by_frames = Box::pin(client.read_stream(all.clone()));
        let mut whole_pages = Box::pin(client.pages(all.clone()));
        let mut by_pages = Box::pin(
            client.read_stream(ReadRequest { selector: Selector::Category("writer".into()), ..all }),
        );
        let mut inside = Box::pin(client.read_stream(
            ReadRequest::new(Selector::Stream(stream(0))).from(Start::Revision(Revision(1_990))).backward(),
        ));
        let mut frames = vec![by_frames.try_next().await.unwrap().unwrap()];
        let mut pages = vec![by_pages.try_next().await.unwrap().unwrap()];
        let mut whole = vec![whole_pages.try_next().await.unwrap().unwrap()];
        let server = tokio::task::spawn_blocking(move || restart(server, true, &data)).await.unwrap();
        client.append(AppendRequest::to(stream(1), Expected::Any, [event(1, 0)])).await.unwrap();
        frames.extend(by_frames.try_collect::<Vec<_>>().await.unwrap());
        pages.extend(by_pages.try_collect::<Vec<_>>().await.unwrap());
        assert_each_once_in_order(&frames, 1, 2_000);
        assert!(pages == frames, "what came after the read began is not read");
        whole.extend(whole_pages.try_collect::<Vec<_>>().await.unwrap());
        let (last, before) = whole.split_last().unwrap();
        assert!(last.next.is_none() && before.iter().all(|page| page.next.is_some()));
        assert!(whole.iter().all(|page| page.events.len() <= 50));
        assert!(whole.into_iter().flat_map(|page| page.events).eq(pages));
        assert_eq!(inside.try_next().await.unwrap().unwrap().revision, Revision(1_990));
        assert_eq!(everything(&client).await.len(), 2_001);
        drop(server);
    });
}

#[test]
fn nobody_at_the_address_is_said_at_once() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    run(async {
        assert_eq!(Client::connect(&url).await.unwrap_err().code, Code::ConnectionFailed);
        let options = Options { deadline: Duration::from_millis(100), ..Options::default() };
        let client = options.connect_lazy(&url).unwrap();
        let error =
            client.append(AppendRequest::to(stream(0), Expected::Any, [event(0, 0)])).await.unwrap_err();
        assert_eq!(error.code, Code::Timeout);
        assert!(error.found.is_some_and(|found| found.contains("GRV-1403")), "it says why");
    });
}
