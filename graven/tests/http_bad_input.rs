//! What must be refused, each with its documented error and without a trace in the store.

mod support;

use serde_json::json;
use std::io::{Read, Write};
use support::{Client, Server, wait_until};

fn head(client: &Client) -> u64 {
    client.get("/v1/info").expect(200)["head"].as_u64().unwrap()
}

#[test]
fn a_stream_name_that_is_not_utf8_is_refused() {
    let server = Server::start();
    let client = server.client();
    let body = json!({"events": [{"type": "A"}]});
    for name in ["%FF", "a%C3", "a%0Ab", "%24all", "$$", &"x".repeat(1025)] {
        client.post(&format!("/v1/streams/{name}"), &body).problem(400, "GRV-1001");
        client.get(&format!("/v1/streams/{name}")).problem(400, "GRV-1001");
        client.get(&format!("/v1/streams/{name}/info")).problem(400, "GRV-1001");
        client.send("DELETE", &format!("/v1/streams/{name}"), &[], None).problem(400, "GRV-1001");
    }
    client.post("/v1/append", &json!({"streams": [{"stream": "a\nb"}]})).problem(400, "GRV-1001");
    client.get("/v1/types/%FF").problem(400, "GRV-1000");
    assert_eq!(head(&client), 0);
}

#[test]
fn a_connection_goes_on_after_a_request_whose_body_was_not_read() {
    let server = Server::start();
    let client = server.client();
    for _ in 0..100 {
        for target in ["/v1/streams/%FF", "/v1/streams/%FF/truncate"] {
            client.post(target, &json!({})).problem(400, "GRV-1001");
            assert_eq!(head(&client), 0);
        }
        let metadata = client.send(
            "PUT",
            "/v1/streams/%FF/metadata",
            &[("Content-Type", "application/json")],
            Some(b"{}"),
        );
        metadata.problem(400, "GRV-1001");
        assert_eq!(head(&client), 0);
    }
}

#[test]
fn json_that_is_broken_is_named_by_its_place() {
    let server = Server::start();
    let client = server.client();
    let post = |body: &[u8]| client.post_as("/v1/streams/s", "application/json", body);
    let problem = post(b"{\"events\":[\n  {\"type\":\"A\",]}").problem(400, "GRV-1012");
    assert!(problem["detail"].as_str().unwrap().contains("line 2 column 15"), "{problem}");
    post(b"").problem(400, "GRV-1012");
    post(b"{\"events\":[{\"type\":\"A\",\"data\":{\"a\":01}}]}").problem(400, "GRV-1012");
    post(b"{\"events\":[{\"type\":\"A\"}]} x").problem(400, "GRV-1012");
    let problem = post(b"{\"events\":[{\"type\":\"\xff\"}]}").problem(400, "GRV-1012");
    assert_eq!(problem["found"], "an invalid byte at offset 20");
    post(format!("{{\"events\":{}", "[".repeat(100_000)).as_bytes());
    post(b"{\"events\":[{\"type\":\"A\",\"colour\":1}]}").problem(400, "GRV-1000");
    post(b"{\"events\":[{\"type\":\"A\",\"id\":\"7\"}]}").problem(400, "GRV-1002");
    assert_eq!(post(b"{\"events\":[{\"type\":\"A\"},{\"type\":\"\"}]}").problem(400, "GRV-1003")["item"], 1);
    post(b"{\"events\":[{\"type\":\"A\",\"tags\":[\"$x\"]}]}").problem(400, "GRV-1005");
    post(b"{\"events\":[{\"type\":\"A\",\"content_type\":\"application/json\",\"data_base64\":\"ew==\"}]}")
        .problem(400, "GRV-1012");
    assert_eq!(head(&client), 0);
}

#[test]
fn an_unknown_content_type_is_answered_with_the_known_ones() {
    let server = Server::start();
    let client = server.client();
    for (target, known) in [
        (
            "/v1/streams/s",
            "application/json, application/cloudevents+json, application/cloudevents-batch+json",
        ),
        ("/v1/append", "application/json, application/cloudevents+json, application/cloudevents-batch+json"),
        ("/v1/import", "application/x-ndjson"),
        ("/v1/query", "application/json"),
        ("/v1/streams/s/truncate", "application/json"),
    ] {
        let problem = client.post_as(target, "text/plain", "hello").problem(415, "GRV-1014");
        assert_eq!(problem["expected"], known);
        client.post_as(target, "application/json; charset=utf-16", "{}").problem(415, "GRV-1014");
        client.send("POST", target, &[], Some(b"{}")).problem(415, "GRV-1014");
    }
}

#[test]
fn what_is_too_large_is_refused_whole() {
    let server = Server::start();
    let client = server.client();
    let large = "x".repeat(16 << 20);
    client
        .post("/v1/streams/s", &json!({"events": [{"type": "A"}, {"type": "B", "data": large}]}))
        .problem(413, "GRV-1100");
    let events: Vec<_> = (0..5).map(|_| json!({"type": "A", "data": "x".repeat(15 << 20)})).collect();
    client.post("/v1/streams/s", &json!({"events": events})).problem(413, "GRV-1101");
    let events: Vec<_> = (0..100_001).map(|_| json!({"type": "A"})).collect();
    client.post("/v1/streams/s", &json!({"events": events})).problem(413, "GRV-1101");
    assert_eq!(head(&client), 0);
    let just_fits = "x".repeat((16 << 20) - 2);
    client.post("/v1/streams/s", &json!({"events": [{"type": "B", "data": just_fits}]})).expect(201);
    assert_eq!(
        client.get("/v1/streams/s").expect(200)["events"][0]["data"].as_str().unwrap().len(),
        just_fits.len()
    );
}

#[test]
fn a_body_over_the_bound_is_refused_before_it_is_read() {
    let server = Server::start();
    let client = server.client();
    let length = (96 << 20) + 1;
    let request = |framing: &str| {
        format!(
            "POST /v1/streams/s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
        )
    };
    let mut socket = client.socket();
    socket.write_all(request(&format!("Content-Length: {length}\r\nConnection: close")).as_bytes()).unwrap();
    let mut answer = vec![0; 4096];
    let read = socket.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("GRV-1102"), "{answer}");
    assert_eq!(head(&client), 0);
}

#[test]
fn half_a_request_leaves_nothing_behind() {
    let server = Server::start();
    let client = server.client();
    let body = json!({"events": [{"type": "A", "data": {"x": 1}}]}).to_string();
    let whole = format!(
        "POST /v1/streams/s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    for cut in [1, 10, whole.len() / 2, whole.len() - body.len(), whole.len() - 1] {
        client.break_off(&whole.as_bytes()[..cut]);
    }
    let chunked = "POST /v1/streams/s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"events\":[{\"typ";
    client.break_off(chunked.as_bytes());
    let garbled = client.raw(format!("{chunked}zz\r\nrest").as_bytes());
    assert!(garbled.is_empty() || garbled.starts_with("HTTP/1.1 400 "), "{garbled}");
    wait_until("the connections are gone", || {
        let metrics = client.get("/metrics").text().to_owned();
        metrics.contains("graven_http_bodies_held_bytes 0\n").then_some(())
    });
    assert_eq!(head(&client), 0);
    client.append_one("s", "A");
    assert_eq!(head(&client), 1);
}

#[test]
fn a_head_that_is_no_http_or_too_long_is_refused() {
    let server = Server::start();
    let client = server.client();
    assert!(client.raw(b"hello\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let long = format!("GET /v1/info HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(70_000));
    assert!(client.raw(long.as_bytes()).starts_with("HTTP/1.1 431 "));
    let many: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert!(
        client
            .raw(format!("GET /v1/info HTTP/1.1\r\nHost: localhost\r\n{many}\r\n").as_bytes())
            .starts_with("HTTP/1.1 431 ")
    );
    client.get("/livez").expect(200);
}

#[test]
fn a_web_page_that_calls_itself_this_machine_is_refused() {
    let server = Server::start();
    let client = server.client();
    let get = |host: &str| {
        client.raw(format!("GET /v1/info HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
    };
    for host in [
        "evil.example",
        "evil.example:2113",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "localhost@evil.example",
        "",
    ] {
        let answer = get(host);
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("GRV-1000"), "{host}: {answer}");
    }
    for host in [
        "localhost",
        "localhost:2113",
        "LOCALHOST",
        "127.0.0.1:1",
        "127.8.9.10",
        "[::1]:2113",
        "graven.localhost",
    ] {
        assert!(get(host).starts_with("HTTP/1.1 200 "), "{host}");
    }
    assert!(client.raw(b"GET /livez HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 200 "));
}

#[test]
fn unknown_paths_methods_and_parameters_are_named() {
    let server = Server::start();
    let client = server.client();
    for path in ["/", "/v1", "/v1/nothing", "/v1/streams/", "/v1/streams/a/b", "/v2/all", "/%FF"] {
        client.get(path).problem(404, "GRV-1302");
        client.post(path, &json!({})).problem(404, "GRV-1302");
    }
    for (method, path) in
        [("PUT", "/v1/all"), ("DELETE", "/v1/append"), ("PATCH", "/v1/streams/a"), ("POST", "/livez")]
    {
        let answer = client.send(method, path, &[], Some(b"x"));
        answer.problem(405, "GRV-1303");
        assert!(answer.header("allow").is_some(), "{method} {path}");
    }
    for target in [
        "/v1/all?limt=1",
        "/v1/stats?x=1",
        "/v1/streams/a/info?x=1",
        "/v1/events/00000000-0000-4000-8000-000000000001?y",
    ] {
        let problem = client.get(target).problem(400, "GRV-1000");
        assert!(problem["expected"].is_string(), "{problem}");
    }
    client.get("/v1/all?from=%zz").problem(400, "GRV-1000");
    client.get("/v1/all?limit=1&limit=2").problem(400, "GRV-1000");
    client.get("/v1/all?limit=10001").problem(400, "GRV-1009");
}

#[test]
fn nothing_sent_is_ever_guessed_to_be_a_page() {
    let server = Server::start();
    let client = server.client();
    let answer = client.get("/v1/%3Cscript%3Ealert(1)%3C%2Fscript%3E");
    answer.problem(404, "GRV-1302");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
}
