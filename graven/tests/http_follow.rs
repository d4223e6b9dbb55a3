//! Event streams: catch-up, live, resuming.

mod support;

use serde_json::json;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Message, Server, wait_until};

fn position(message: &Message) -> u64 {
    message.data["position"].as_u64().unwrap()
}

#[test]
fn a_follower_catches_up_and_then_hears_what_comes() {
    let server = Server::start();
    let client = server.client();
    client.append_one("a-1", "A");
    client.append_one("b-1", "B");
    let mut stream = client.follow("/v1/all?exclude_system=true", None);
    let before = stream.until_caught_up();
    let events: Vec<&Message> = before.iter().filter(|message| message.event == "event").collect();
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|message| message.id == Some(position(message).to_string())));
    let position = client.append_one("a-1", "C");
    let live = stream.next_event();
    assert_eq!(live.data["type"], "C");
    assert_eq!(live.id, Some(position.to_string()));
}

#[test]
fn a_follower_resumes_after_the_last_id_it_saw() {
    let server = Server::start();
    let client = server.client();
    let positions: Vec<u64> = (0..5).map(|_| client.append_one("a-1", "A")).collect();
    client.append_one("b-1", "B");
    let seen = positions[2].to_string();
    // The id wins over every other place to begin, in a stream too.
    for target in ["/v1/streams/a-1?from=0", "/v1/categories/a", "/v1/types/A?from=end"] {
        let mut stream = client.follow(target, Some(&seen));
        assert_eq!(position(&stream.next_event()), positions[3], "{target}");
        assert_eq!(position(&stream.next_event()), positions[4], "{target}");
    }
    let mut stream = client.follow("/v1/streams/a-1?from=3", None);
    assert_eq!(stream.next_event().data["revision"], 3);
    let mut stream = client.follow("/v1/all?from=end", None);
    stream.until_caught_up();
    let position_of_next = client.append_one("c-1", "C");
    assert_eq!(position(&stream.next_event()), position_of_next);
}

#[test]
fn a_stream_that_does_not_exist_yet_can_be_followed() {
    let server = Server::start();
    let client = server.client();
    client.append_one("other", "A");
    let mut stream = client.follow("/v1/streams/later-1", None);
    assert!(stream.until_caught_up().iter().all(|message| message.event != "event"));
    client.append_one("later-1", "First");
    assert_eq!(stream.next_event().data["type"], "First");
}

#[test]
fn a_query_is_followed_by_post() {
    let server = Server::start();
    let client = server.client();
    client.append_one("a-1", "A");
    client.append_one("b-1", "B");
    let body = json!({"query": {"items": [{"types": ["B"]}]}}).to_string();
    let mut socket = client.socket();
    use std::io::{Read as _, Write as _};
    write!(
        socket,
        "POST /v1/query HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut text = String::new();
    wait_until("the follower caught up", || {
        let mut buffer = [0; 4096];
        let read = socket.read(&mut buffer).unwrap();
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        text.contains("event: caught-up").then_some(())
    });
    assert!(text.contains("\"type\":\"B\"") && !text.contains("\"type\":\"A\""), "{text}");
}

#[test]
fn nothing_is_missed_or_repeated_while_appends_go_on() {
    let server = Server::start();
    const WRITERS: u64 = 4;
    const EACH: u64 = 150;
    let writing = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let client = server.client();
            scope.spawn(move || {
                for number in 0..EACH {
                    client.append_one(&format!("s{}-{}", writer % 2, number % 3), "A");
                }
            });
        }
        // Followers that join at any moment see the same log; one comes and goes all the time.
        for follower in 0..3 {
            let client = server.client();
            let writing = &writing;
            scope.spawn(move || {
                let mut seen: Vec<u64> = Vec::new();
                while (seen.len() as u64) < WRITERS * EACH {
                    let last = seen.last().map(u64::to_string);
                    let mut stream = client.follow("/v1/all?exclude_system=true", last.as_deref());
                    let stay = if follower == 0 { 7 } else { usize::MAX };
                    for _ in 0..stay {
                        seen.push(position(&stream.next_event()));
                        if seen.len() as u64 == WRITERS * EACH {
                            break;
                        }
                    }
                }
                writing.store(false, Ordering::Relaxed);
                assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
                assert_eq!(seen.iter().collect::<HashSet<_>>().len() as u64, WRITERS * EACH);
            });
        }
    });
}

#[test]
fn what_a_follower_cannot_have_is_refused() {
    let server = Server::start();
    let client = server.client();
    let follow = |target: &str, id: &str| {
        client.send("GET", target, &[("Accept", "text/event-stream"), ("Last-Event-ID", id)], None)
    };
    follow("/v1/all", "x").problem(400, "GRV-1000");
    follow("/v1/all?direction=backward", "1").problem(400, "GRV-1000");
    follow("/v1/all?limit=1", "1").problem(400, "GRV-1000");
    follow("/v1/all?type_regex=%5B", "1").problem(400, "GRV-1008");
    follow("/v1/all?from=x", "").problem(400, "GRV-1000");
}

#[test]
fn an_open_event_stream_is_counted_until_the_client_leaves() {
    let server = Server::start();
    let client = server.client();
    let followers = || {
        let text = client.get("/metrics").text().to_owned();
        let line = text.lines().find(|line| line.starts_with("graven_follow_followers ")).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(followers(), 0);
    let mut stream = client.follow("/v1/all", None);
    stream.until_caught_up();
    assert_eq!(followers(), 1);
    drop(stream);
    wait_until("the server noticed", || (followers() == 0).then_some(()));
}
