//! Appending over HTTP: receipts, expected revisions, several streams, conditions, retries, CloudEvents.

mod support;

use serde_json::{Value, json};
use support::Server;

fn id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn event(number: u32, event_type: &str) -> Value {
    json!({"id": id(number), "type": event_type, "data": {"n": number}})
}

#[test]
fn an_append_answers_with_a_receipt_and_the_events_read_back() {
    let server = Server::start();
    let client = server.client();
    let answer = client.post("/v1/streams/loan-1", &json!({"events": [event(1, "A"), event(2, "B")]}));
    let receipt = answer.expect(201);
    assert_eq!(answer.header("etag"), Some("\"1\""));
    assert_eq!(receipt["streams"], json!([{"stream": "loan-1", "revision": 1}]));
    assert_eq!((&receipt["appended"], &receipt["duplicates"]), (&json!(2), &json!(0)));
    let page = client.get("/v1/streams/loan-1").expect(200);
    assert_eq!(page["events"][0]["id"], id(1));
    assert_eq!(page["events"][1]["data"], json!({"n": 2}));
    assert_eq!(page["last_revision"], 1);
    assert_eq!(page["next"], Value::Null);
}

#[test]
fn a_payload_comes_back_byte_for_byte() {
    let server = Server::start();
    let client = server.client();
    let payload = "{ \"b\" : 1.00,\n\t\"a\": [1e3, \"\\u00e9\\/\"], \"b\": 12345678901234567890123 }";
    let body = format!(
        r#"{{"events":[{{"type":"A","data":{payload},"metadata":{{"who": "x" }},"tags":["t"],
            "time":"2011-09-30T22:38:44.546Z","data_subject":"p"}}]}}"#
    );
    client.post_as("/v1/streams/s-1", "application/json", body).expect(201);
    let page = client.get("/v1/streams/s-1");
    assert!(
        page.text().contains(&format!("\"data\":{payload},\"metadata\":{{\"who\": \"x\" }}")),
        "{}",
        page.text()
    );
    let lines = client.get_as("/v1/streams/s-1", "application/x-ndjson");
    assert_eq!(lines.text().lines().count(), 1);
    assert!(lines.text().contains(&payload.replace('\n', " ")), "{}", lines.text());
    let exact = client.get_as("/v1/streams/s-1?payload=base64", "application/x-ndjson").lines();
    assert!(exact[0]["data"].is_null() && exact[0]["data_base64"].is_string());
    let event = &page.json()["events"][0];
    assert_eq!(event["time"], "2011-09-30T22:38:44.546Z");
    assert_eq!(event["data_subject"], "p");
    assert_eq!(event["tags"], json!(["t"]));
}

#[test]
fn payloads_that_are_not_json_come_back_as_base64() {
    let server = Server::start();
    let client = server.client();
    let body = json!({"events": [
        {"type": "A", "data_base64": "AAH/", "metadata_base64": "/w=="},
        {"type": "B", "content_type": "text/plain", "data": "hello"},
        {"type": "C"},
        {"type": "D", "data": null},
    ]});
    client.post("/v1/streams/s", &body).expect(201);
    let events = client.get("/v1/streams/s").expect(200);
    let events = events["events"].as_array().unwrap();
    assert_eq!((&events[0]["data_base64"], &events[0]["metadata_base64"]), (&json!("AAH/"), &json!("/w==")));
    assert_eq!(events[0]["content_type"], "application/octet-stream");
    assert_eq!(events[1]["data_base64"], "aGVsbG8=");
    assert!(events[2].get("data").is_none() && events[2].get("data_base64").is_none());
    assert!(events[3].get("data").is_some_and(Value::is_null));
}

#[test]
fn a_retry_with_the_same_ids_is_answered_with_the_first_receipt() {
    let server = Server::start();
    let client = server.client();
    let body = json!({"expected": "none", "events": [event(1, "A"), event(2, "B")]});
    let first = client.post("/v1/streams/s-1", &body).expect(201);
    client.append_one("s-1", "C");
    let again = client.post("/v1/streams/s-1", &body).expect(200);
    assert_eq!(again["already_done"], true);
    assert_eq!(
        (&again["first_position"], &again["last_position"]),
        (&first["first_position"], &first["last_position"])
    );
    assert_eq!(again["committed_at"], first["committed_at"]);
    assert_eq!(client.get("/v1/streams/s-1").expect(200)["last_revision"], 2);
}

#[test]
fn a_wrong_expected_revision_names_what_is_there_and_what_was_not_seen() {
    let server = Server::start();
    let client = server.client();
    client
        .post("/v1/streams/s-1", &json!({"events": [event(1, "A"), event(2, "B"), event(3, "C")]}))
        .expect(201);
    let body = json!({"expected": 0, "events": [event(4, "D")], "unseen": 10});
    let problem = client.post("/v1/streams/s-1", &body).problem(412, "GRV-1200");
    let check = &problem["failed_checks"][0];
    assert_eq!(check["actual"], json!({"state": "at", "revision": 2}));
    assert_eq!(check["expected"], 0);
    let unseen: Vec<&str> =
        check["unseen"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(unseen, ["B", "C"]);
    assert_eq!(problem["no_side_effects"], true);
    let body = json!({"expected": "none", "events": [event(4, "D")]});
    client.post("/v1/streams/s-1", &body).problem(412, "GRV-1200");
    let body = json!({"expected": "exists", "events": [event(4, "D")]});
    client.post("/v1/streams/s-2", &body).problem(412, "GRV-1200");
    assert_eq!(client.get("/v1/all?exclude_system=true").expect(200)["events"].as_array().unwrap().len(), 3);
}

#[test]
fn headers_say_the_expected_revision_too() {
    let server = Server::start();
    let client = server.client();
    let append = |number, headers: &[(&str, &str)], query: &str, expected: Value| {
        let mut body = json!({"events": [event(number, "A")]});
        if !expected.is_null() {
            body["expected"] = expected;
        }
        let mut headers = headers.to_vec();
        headers.push(("Content-Type", "application/json"));
        client.send("POST", &format!("/v1/streams/s-1{query}"), &headers, Some(body.to_string().as_bytes()))
    };
    append(1, &[("If-Match", "*")], "", Value::Null).problem(412, "GRV-1200");
    append(1, &[("If-None-Match", "*")], "", Value::Null).expect(201);
    append(2, &[("If-None-Match", "*")], "", Value::Null).problem(412, "GRV-1200");
    append(2, &[("If-Match", "\"0\"")], "?expected=0", json!(0)).expect(201);
    append(3, &[("If-Match", "\"0\"")], "", Value::Null).problem(412, "GRV-1200");
    append(3, &[("If-Match", "\"1\"")], "", json!(0)).problem(400, "GRV-1000");
    append(3, &[("If-Match", "\"1\"")], "?expected=any", Value::Null).problem(400, "GRV-1000");
    append(3, &[("If-Match", "1")], "", Value::Null).problem(400, "GRV-1000");
    append(3, &[("If-Match", "*"), ("If-None-Match", "*")], "", Value::Null).problem(400, "GRV-1000");
    let stored = append(3, &[("If-Match", "\"1\"")], "", Value::Null);
    assert_eq!(stored.header("etag"), Some("\"2\""));
}

#[test]
fn several_streams_are_written_together_or_not_at_all() {
    let server = Server::start();
    let client = server.client();
    client.append_one("guard", "Opened");
    let body = json!({"streams": [
        {"stream": "a-1", "expected": "none", "events": [event(1, "A")]},
        {"stream": "guard", "expected": 0},
        {"stream": "b-1", "events": [event(2, "B"), event(3, "B")]},
    ]});
    let receipt = client.post("/v1/append", &body).expect(201);
    assert_eq!(
        receipt["streams"],
        json!([{"stream": "a-1", "revision": 0}, {"stream": "guard", "revision": 0}, {"stream": "b-1", "revision": 1}])
    );
    let body = json!({"streams": [
        {"stream": "a-1", "expected": 7, "events": [event(4, "A")]},
        {"stream": "b-1", "expected": 1, "events": [event(5, "B")]},
        {"stream": "guard", "expected": "none"},
    ]});
    let problem = client.post("/v1/append", &body).problem(412, "GRV-1200");
    assert_eq!(problem["failed_checks"].as_array().unwrap().len(), 2);
    assert_eq!(client.get("/v1/streams/b-1").expect(200)["last_revision"], 1);
    let body = json!({
        "streams": [{"stream": "b-1", "expected": 1}],
        "events": [
            {"stream": "b-1", "id": id(6), "type": "X"}, {"stream": "c-1", "id": id(7), "type": "Y"},
            {"stream": "b-1", "id": id(8), "type": "Z"},
        ],
    });
    let receipt = client.post("/v1/append", &body).expect(201);
    let from = receipt["first_position"].as_u64().unwrap();
    let page = client.get(&format!("/v1/all?from={from}")).expect(200);
    let order: Vec<&str> =
        page["events"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(order, ["X", "Y", "Z"]);
}

#[test]
fn a_condition_refuses_what_was_decided_on_old_knowledge() {
    let server = Server::start();
    let client = server.client();
    let taken =
        |number: u32| json!({"id": id(number), "type": "NameTaken", "tags": ["name:ada"], "data": {}});
    let query = json!({"items": [{"types": ["NameTaken"], "tags": ["name:ada"]}]});
    let append = |number: u32, after: Value| {
        let body = json!({"streams": [{"stream": format!("user-{number}"), "events": [taken(number)]}],
            "condition": {"query": query, "after": after}});
        client.post("/v1/append", &body)
    };
    let position = append(1, Value::Null).expect(201)["last_position"].clone();
    let problem = append(2, Value::Null).problem(412, "GRV-1201");
    assert_eq!(problem["matching_position"], position);
    append(3, position).expect(201);
    assert_eq!(append(1, Value::Null).expect(200)["already_done"], true);
    let everything = json!({"events": [event(9, "A")], "condition": {"query": {"items": [{}]}}});
    client.post("/v1/streams/s", &everything).problem(400, "GRV-1007");
}

#[test]
fn cloud_events_are_appended_one_by_one_or_as_a_batch() {
    let server = Server::start();
    let client = server.client();
    let cloud = |number: u32, subject: Option<&str>| {
        let mut event = json!({"specversion": "1.0", "id": id(number), "source": "urn:test", "type": "T",
            "time": "2011-09-30T22:38:44.546Z", "datacontenttype": "application/json", "data": {"n": number}});
        if let Some(subject) = subject {
            event["subject"] = subject.into();
        }
        event
    };
    let one = "application/cloudevents+json";
    let batch = "application/cloudevents-batch+json";
    client.post_as("/v1/streams/s-1?expected=none", one, cloud(1, None).to_string()).expect(201);
    client.post_as("/v1/streams/s-1", one, cloud(2, Some("s-1")).to_string()).expect(201);
    client.post_as("/v1/streams/s-1", one, cloud(3, Some("s-2")).to_string()).problem(400, "GRV-1013");
    client
        .post_as("/v1/streams/s-1?expected=1", batch, json!([cloud(3, None), cloud(4, None)]).to_string())
        .expect(201);
    let several = json!([cloud(5, Some("a-1")), cloud(6, Some("b-1")), cloud(7, Some("a-1"))]);
    let receipt = client.post_as("/v1/append", batch, several.to_string()).expect(201);
    assert_eq!(
        receipt["streams"],
        json!([{"stream": "a-1", "revision": 1}, {"stream": "b-1", "revision": 0}])
    );
    client.post_as("/v1/append", one, cloud(8, None).to_string()).problem(400, "GRV-1013");
    let problem = client.post_as("/v1/append", batch, json!([cloud(8, Some("a-1")), {}]).to_string());
    assert_eq!(problem.problem(400, "GRV-1013")["item"], 1);
    let page = client.get("/v1/streams/s-1").expect(200);
    assert_eq!(page["last_revision"], 3);
    assert_eq!(page["events"][3]["data"], json!({"n": 4}));
    assert_eq!(page["events"][3]["time"], "2011-09-30T22:38:44.546Z");
}

#[test]
fn many_clients_at_once_never_lose_an_event_or_a_decision() {
    let server = Server::start();
    const CLIENTS: u32 = 8;
    const EACH: u32 = 40;
    std::thread::scope(|scope| {
        for worker in 0..CLIENTS {
            let client = server.client();
            scope.spawn(move || {
                for number in 0..EACH {
                    let body = json!({"events": [event(worker * 1000 + number, "A")]});
                    client.post(&format!("/v1/streams/s-{worker}"), &body).expect(201);
                    // All of them want the next revision of one stream: one gets it.
                    let target = "/v1/streams/shared";
                    let body = json!({"expected": if number == 0 { json!("none") } else { json!(number - 1) },
                        "events": [event(100_000 + worker * 1000 + number, "B")]});
                    let answer = client.post(target, &body);
                    assert!(answer.status == 201 || answer.status == 412, "{}", answer.text());
                    if answer.status == 412 {
                        answer.problem(412, "GRV-1200");
                    }
                }
            });
        }
    });
    let client = server.client();
    for worker in 0..CLIENTS {
        let page = client.get(&format!("/v1/streams/s-{worker}?limit=1000")).expect(200);
        let numbers: Vec<u64> =
            page["events"].as_array().unwrap().iter().map(|e| e["revision"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..u64::from(EACH)).collect::<Vec<_>>());
    }
    let shared = client.get_as("/v1/streams/shared", "application/x-ndjson").lines();
    let revisions: Vec<u64> = shared.iter().map(|event| event["revision"].as_u64().unwrap()).collect();
    assert_eq!(revisions, (0..shared.len() as u64).collect::<Vec<_>>());
}
