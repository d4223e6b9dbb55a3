//! Reading over HTTP: selectors, places to begin, pages, filters, long reads, single events.

mod support;

use serde_json::{Value, json};
use std::io::{Read, Write};
use support::{Client, Server};

/// Streams `loan-0` … with three events each, tagged by number.
fn filled(loans: u32) -> Server {
    let server = Server::start();
    let client = server.client();
    for loan in 0..loans {
        let event = |event_type: &str| json!({"type": event_type, "data": {"loan": loan}, "tags": [format!("loan:{loan}"), "all"]});
        let body = json!({"events": [event("Submitted"), event("Checked"), event(if loan % 2 == 0 { "Approved" } else { "Declined" })]});
        client.post(&format!("/v1/streams/loan-{loan}"), &body).expect(201);
    }
    client.post("/v1/streams/other", &json!({"events": [{"type": "Submitted"}]})).expect(201);
    server
}

fn events(page: &Value) -> Vec<(&str, u64, &str)> {
    let all = page["events"].as_array().unwrap().iter();
    all.map(|event| {
        (
            event["stream"].as_str().unwrap(),
            event["revision"].as_u64().unwrap(),
            event["type"].as_str().unwrap(),
        )
    })
    .collect()
}

fn all_pages(client: &Client, target: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("{target}{cursor}"));
        let json = page.expect(200);
        found.extend(json["events"].as_array().unwrap().iter().cloned());
        match json["next"].as_str() {
            None => {
                assert_eq!(page.header("link"), None);
                return found;
            }
            Some(next) => {
                let link = page.header("link").unwrap();
                assert!(
                    link.starts_with(&format!("<?cursor={next}&")) && link.ends_with(">; rel=\"next\""),
                    "{link}"
                );
                cursor = format!("&cursor={next}");
            }
        }
    }
}

#[test]
fn every_selector_finds_its_events() {
    let server = filled(4);
    let client = server.client();
    assert_eq!(
        events(&client.get("/v1/streams/loan-1").expect(200)),
        [("loan-1", 0, "Submitted"), ("loan-1", 1, "Checked"), ("loan-1", 2, "Declined")]
    );
    assert_eq!(events(&client.get("/v1/all?exclude_system=true").expect(200)).len(), 13);
    assert_eq!(events(&client.get("/v1/categories/loan").expect(200)).len(), 12);
    assert_eq!(events(&client.get("/v1/types/Approved").expect(200)).len(), 2);
    assert_eq!(events(&client.get("/v1/tags/loan:2").expect(200)).len(), 3);
    assert_eq!(events(&client.get("/v1/tags/all?tag=loan:3&tag=all").expect(200)).len(), 3);
    let query =
        json!({"query": {"items": [{"types": ["Approved"]}, {"types": ["Declined"], "tags": ["loan:1"]}]}});
    let found = client.post("/v1/query", &query).expect(200);
    assert_eq!(
        events(&found),
        [("loan-0", 2, "Approved"), ("loan-1", 2, "Declined"), ("loan-2", 2, "Approved")]
    );
    assert!(events(&client.get("/v1/types/Nothing").expect(200)).is_empty());
    client.get("/v1/streams/nothing").problem(404, "GRV-1300");
}

#[test]
fn a_read_begins_where_it_is_told_and_goes_either_way() {
    let server = filled(2);
    let client = server.client();
    let of = |query: &str| {
        let page = client.get(&format!("/v1/streams/loan-1{query}")).expect(200);
        events(&page).iter().map(|(_, revision, _)| *revision).collect::<Vec<_>>()
    };
    assert_eq!(of("?from=1"), [1, 2]);
    assert_eq!(of("?from=1&direction=backward"), [1, 0]);
    assert_eq!(of("?direction=backward&limit=2"), [2, 1]);
    assert_eq!(of("?from=end"), [0; 0]);
    assert_eq!(of("?from=start&direction=backward"), [0; 0]);
    assert_eq!(of("?from=2000-01-01T00:00:00Z"), [0, 1, 2]);
    assert_eq!(of("?from=2999-01-01T00:00:00Z"), [0; 0]);
    assert_eq!(of("?from=18446744073709551615"), [0; 0]);
    let last = client.get("/v1/streams/loan-1?from=2").expect(200)["events"][0]["position"].clone();
    assert_eq!(of(&format!("?position={last}")), [2]);
    assert_eq!(
        client.get(&format!("/v1/all?from={last}&limit=1")).expect(200)["events"][0]["stream"],
        "loan-1"
    );
}

#[test]
fn pages_follow_one_another_by_cursor() {
    let server = filled(9);
    let client = server.client();
    for target in
        ["/v1/categories/loan?limit=4", "/v1/all?exclude_system=true&limit=5", "/v1/types/Submitted?limit=2"]
    {
        let forward = all_pages(&client, target);
        let mut backward = all_pages(&client, &format!("{target}&direction=backward"));
        backward.reverse();
        assert_eq!(forward, backward, "{target}");
        assert!(forward.windows(2).all(|pair| pair[0]["position"].as_u64() < pair[1]["position"].as_u64()));
    }
    let by_bytes = all_pages(&client, "/v1/categories/loan?bytes=1");
    assert_eq!(by_bytes.len(), 27);
    let page = client.get("/v1/categories/loan?limit=4").expect(200);
    let cursor = page["next"].as_str().unwrap();
    client.get(&format!("/v1/all?cursor={cursor}")).problem(400, "GRV-1010");
    client.get(&format!("/v1/categories/loan?direction=backward&cursor={cursor}")).problem(400, "GRV-1010");
    client.get("/v1/all?cursor=abc").problem(400, "GRV-1010");
}

#[test]
fn filters_narrow_a_read() {
    let server = filled(4);
    let client = server.client();
    let count =
        |query: &str| events(&client.get(&format!("/v1/all?exclude_system=true&{query}")).expect(200)).len();
    assert_eq!(count("stream_prefix=loan-1,loan-2"), 6);
    assert_eq!(count("stream_prefix=loan-1&stream_prefix=other"), 4);
    assert_eq!(count("stream_regex=%5Eloan-%5B03%5D%24"), 6);
    assert_eq!(count("type_prefix=Dec"), 2);
    assert_eq!(count("type_regex=ed%24&stream_prefix=other"), 1);
    client.get("/v1/all?stream_regex=%5B").problem(400, "GRV-1008");
    client.get("/v1/all?stream_regex=a&stream_prefix=b").problem(400, "GRV-1008");
    let body = json!({"query": {"items": [{"all": true}]}, "type_prefix": ["App", "Dec"], "direction": "backward", "limit": 1});
    assert_eq!(events(&client.post("/v1/query", &body).expect(200)), [("loan-3", 2, "Declined")]);
}

#[test]
fn single_events_are_found_by_id_revision_and_position() {
    let server = filled(1);
    let client = server.client();
    let id = "00000000-0000-4000-8000-000000000001";
    let event = json!({"id": id, "type": "A", "data": {"x": 1}});
    client.post("/v1/streams/a", &json!({"events": [event]})).expect(201);
    client.post("/v1/streams/b", &json!({"events": [event]})).expect(201);
    let found = client.get(&format!("/v1/events/{id}")).expect(200);
    assert_eq!(events(&found), [("a", 0, "A"), ("b", 0, "A")]);
    let position = &found["events"][1]["position"];
    assert_eq!(client.get(&format!("/v1/positions/{position}")).expect(200), found["events"][1]);
    assert_eq!(client.get("/v1/streams/b/events/0").expect(200), found["events"][1]);
    client.get("/v1/streams/b/events/1").problem(404, "GRV-1301");
    client.get("/v1/streams/nothing/events/0").problem(404, "GRV-1300");
    client.get("/v1/streams/b/events/x").problem(400, "GRV-1000");
    client.get("/v1/positions/99999").problem(404, "GRV-1301");
    client.get("/v1/events/00000000-0000-4000-8000-00000000000f").problem(404, "GRV-1301");
    client.get("/v1/events/x").problem(400, "GRV-1002");
}

#[test]
fn names_of_any_kind_stand_in_a_path() {
    let server = Server::start();
    let client = server.client();
    for (name, encoded) in [
        ("a/b c", "a%2Fb%20c"),
        ("ünï-1", "%C3%BCn%C3%AF-1"),
        ("100%", "100%25"),
        ("?#&", "%3F%23%26"),
        ("..", "%2E%2E"),
        ("a+b", "a+b"),
    ] {
        client.post(&format!("/v1/streams/{encoded}"), &json!({"events": [{"type": "A"}]})).expect(201);
        let page = client.get(&format!("/v1/streams/{encoded}")).expect(200);
        assert_eq!(page["events"][0]["stream"], name);
        assert_eq!(client.get(&format!("/v1/streams/{encoded}/info")).expect(200)["stream"], name);
    }
}

#[test]
fn a_long_read_gives_everything_an_event_a_line() {
    let server = Server::start();
    let client = server.client();
    let padding = "x".repeat(2_000);
    for batch in 0..5 {
        let events: Vec<Value> = (0..500)
            .map(|n| json!({"type": "A", "data": {"n": batch * 500 + n, "padding": padding}}))
            .collect();
        client.post("/v1/streams/long-1", &json!({"events": events})).expect(201);
    }
    let lines = client.get_as("/v1/streams/long-1", "application/x-ndjson").lines();
    assert_eq!(lines.len(), 2_500);
    assert!(lines.iter().enumerate().all(|(n, line)| line["revision"] == n && line["data"]["n"] == n));
    let some = client.get_as("/v1/streams/long-1?limit=1234&from=7", "application/x-ndjson").lines();
    assert_eq!((some.len(), &some[0]["revision"]), (1_234, &json!(7)));
    let back = client.get_as("/v1/streams/long-1?direction=backward", "application/x-ndjson").lines();
    assert_eq!((back.len(), &back[2_499]["revision"]), (2_500, &json!(0)));
    let missing = client.get_as("/v1/streams/nothing", "application/x-ndjson");
    missing.problem(404, "GRV-1300");
}

#[test]
fn a_slow_reader_of_a_long_read_misses_nothing_and_stops_nobody() {
    let server = Server::start();
    let client = server.client();
    let padding = "x".repeat(20_000);
    for batch in 0..40 {
        let events: Vec<Value> = (0..50)
            .map(|n| json!({"type": "A", "data": {"n": batch * 50 + n, "padding": padding}}))
            .collect();
        client.post("/v1/streams/long-1", &json!({"events": events})).expect(201);
    }
    // 40 MB wait behind a reader that takes nothing yet: more than the sockets hold.
    let mut slow = client.socket();
    slow.write_all(b"GET /v1/all?exclude_system=true HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut first = [0; 1];
    slow.read_exact(&mut first).unwrap();
    for n in 0..20 {
        client.append_one(&format!("meanwhile-{n}"), "B");
        client.get("/v1/streams/long-1?limit=10").expect(200);
    }
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    let text = String::from_utf8(rest).unwrap();
    let count = text.matches("{\"position\":").count();
    assert_eq!(count, 2_000, "what was there when the read began");
    assert!(text.ends_with("0\r\n\r\n"), "the read ended as complete");
}
