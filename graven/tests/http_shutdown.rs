//! The end of a server: asked for, or not.

mod support;

use serde_json::json;
use std::io::{Read, Write};
use support::{Server, wait_until};

#[test]
fn appends_in_flight_are_answered_and_then_the_server_ends() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut server = Server::start_in(&data, &[]);
    let client = server.client();
    client.append_one("s", "A");
    // Half a request is under way when the server is asked to end; the rest comes after.
    let body = json!({"events": [{"type": "Last", "data": {"x": "y".repeat(1000)}}]}).to_string();
    let mut socket = client.socket();
    write!(
        socket,
        "POST /v1/streams/s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .unwrap();
    socket.write_all(&body.as_bytes()[..100]).unwrap();
    wait_until("the server reads the body", || {
        let metrics = client.get("/metrics").text().to_owned();
        (!metrics.contains("graven_http_bodies_held_bytes 0\n")).then_some(())
    });
    let mut follower = client.follow("/v1/all", None);
    follower.until_caught_up();
    server.terminate();
    // The event stream ends, so the server is ending.
    while follower.next().is_some() {}
    socket.write_all(&body.as_bytes()[100..]).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert!(server.wait().success());
    assert!(client.try_send("GET", "/livez", &[], None).is_err(), "nobody listens");
    let server = Server::start_in(&data, &[]);
    let page = server.client().get("/v1/streams/s").expect(200);
    assert_eq!(page["events"][1]["type"], "Last");
}

#[test]
fn what_was_acknowledged_before_a_crash_is_there_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut acknowledged = 0;
    for round in 0..3 {
        let server = Server::start_in(&data, &[]);
        let client = server.client();
        if round > 0 {
            let page = client.get("/v1/streams/s?direction=backward&limit=1").expect(200);
            assert!(page["last_revision"].as_u64().unwrap() + 1 >= acknowledged);
        }
        for _ in 0..20 {
            let receipt = client.post("/v1/streams/s", &json!({"events": [{"type": "A"}]})).expect(201);
            acknowledged = receipt["streams"][0]["revision"].as_u64().unwrap() + 1;
        }
        server.kill();
    }
}

#[test]
fn a_connection_that_does_nothing_does_not_keep_the_server() {
    let server = Server::start_with(&["--set", "shutdown_grace=200ms"]);
    let client = server.client();
    client.get("/livez").expect(200);
    let _idle = client.socket();
    let mut half = client.socket();
    half.write_all(b"GET /v1/inf").unwrap();
    assert!(server.stop().success());
}
