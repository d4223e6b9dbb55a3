//! `POST /v1/import`.

mod support;

use serde_json::json;
use support::Server;

const NDJSON: &str = "application/x-ndjson";

fn line(number: u32, stream: &str) -> String {
    json!({"specversion": "1.0", "id": format!("00000000-0000-4000-8000-{number:012}"), "source": "urn:loan",
        "type": if number.is_multiple_of(3) { "A" } else { "B" }, "subject": stream, "time": "2011-09-30T22:38:44.546Z",
        "datacontenttype": "application/json", "data": {"n": number}})
    .to_string()
}

fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|number| line(number, &format!("loan-{}", number % 50)) + "\n").collect()
}

#[test]
fn a_second_import_of_the_same_lines_adds_nothing() {
    let server = Server::start();
    let client = server.client();
    let first = client.post_as("/v1/import", NDJSON, lines(0..2_000)).expect(200);
    assert_eq!((&first["appended"], &first["duplicates"]), (&json!(2_000), &json!(0)));
    let second = client.post_as("/v1/import", NDJSON, lines(0..2_000)).expect(200);
    assert_eq!((&second["appended"], &second["duplicates"]), (&json!(0), &json!(2_000)));
    let overlapping = client.post_as("/v1/import", NDJSON, lines(1_500..2_500)).expect(200);
    assert_eq!((&overlapping["appended"], &overlapping["duplicates"]), (&json!(500), &json!(500)));
    let stats = client.get("/v1/stats").expect(200);
    assert_eq!((&stats["user"]["events"], &stats["user"]["streams"]), (&json!(2_500), &json!(50)));
    assert_eq!(stats["types"][0], json!({"name": "A", "events": 834, "bytes": stats["types"][0]["bytes"]}));
    assert_eq!(stats["categories"][0]["streams"], 50);
    let page = client.get("/v1/streams/loan-7?limit=1000").expect(200);
    let numbers: Vec<u64> =
        page["events"].as_array().unwrap().iter().map(|e| e["data"]["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..50).map(|n| n * 50 + 7).collect::<Vec<_>>());
    assert_eq!(page["events"][0]["time"], "2011-09-30T22:38:44.546Z");
}

#[test]
fn a_bad_line_is_named_and_nothing_is_stored() {
    let server = Server::start();
    let client = server.client();
    for (bad, code) in [("{\"specversion\":", "GRV-1012"), ("{}", "GRV-1013"), ("", "GRV-1012")] {
        let body = format!("{}\n{}\n{bad}\n{}\n", line(1, "s"), line(2, "s"), line(3, "s"));
        let problem = client.post_as("/v1/import", NDJSON, body).problem(400, code);
        assert_eq!(problem["item"], 2, "{problem}");
        assert!(problem["detail"].as_str().unwrap().starts_with("line 3: "), "{problem}");
    }
    let body = format!("{}\n{}\n", line(1, "s"), line(2, "$all"));
    assert_eq!(client.post_as("/v1/import", NDJSON, body).problem(400, "GRV-1013")["item"], 1);
    client.get("/v1/streams/s").problem(404, "GRV-1300");
}

#[test]
fn an_empty_import_is_fine_and_another_media_type_is_not() {
    let server = Server::start();
    let client = server.client();
    let nothing = client.post_as("/v1/import", NDJSON, "\n").expect(200);
    assert_eq!(nothing["last_position"], serde_json::Value::Null);
    client.post_as("/v1/import", "application/json", "[]").problem(415, "GRV-1014");
}

#[test]
fn an_event_without_data_is_taken() {
    let server = Server::start();
    let client = server.client();
    let event =
        json!({"specversion": "1.0", "id": "x", "source": "urn:s", "type": "T", "subject": "s"}).to_string();
    client.post_as("/v1/import", NDJSON, event).expect(200);
    let page = client.get("/v1/streams/s").expect(200);
    assert!(page["events"][0].get("data").is_none());
}
