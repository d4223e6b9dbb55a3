//! Lists, information and metadata of streams, and what is done to whole streams.

mod support;

use serde_json::{Value, json};
use support::Server;

fn revisions(page: &Value) -> Vec<u64> {
    page["events"].as_array().unwrap().iter().map(|event| event["revision"].as_u64().unwrap()).collect()
}

#[test]
fn streams_are_listed_in_the_order_of_their_creation() {
    let server = Server::start();
    let client = server.client();
    for number in 0..5 {
        client.append_one(&format!("loan-{number}"), "A");
        client.append_one(&format!("user-{number}"), "A");
    }
    let mut names = Vec::new();
    let mut after = String::new();
    loop {
        let page = client.get(&format!("/v1/streams?prefix=loan-&limit=2{after}")).expect(200);
        names.extend(
            page["streams"]
                .as_array()
                .unwrap()
                .iter()
                .map(|info| info["stream"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(names, ["loan-0", "loan-1", "loan-2", "loan-3", "loan-4"]);
    client.get("/v1/streams?limit=0").problem(400, "GRV-1009");
    client.get(&format!("/v1/streams?prefix=user-{after}&after=x")).problem(400, "GRV-1000");
    client.get("/v1/streams?after=x").problem(400, "GRV-1010");
}

#[test]
fn metadata_is_set_with_its_own_revision() {
    let server = Server::start();
    let client = server.client();
    let put = |headers: &[(&str, &str)], body: &str| {
        let mut headers = headers.to_vec();
        headers.push(("Content-Type", "application/json"));
        client.send("PUT", "/v1/streams/s-1/metadata", &headers, Some(body.as_bytes()))
    };
    let nothing = client.get("/v1/streams/s-1/metadata");
    assert_eq!((nothing.text(), nothing.header("etag")), ("{}", None));
    put(&[("If-None-Match", "*")], r#"{"$maxCount":2,"owner":"me"}"#).expect(200);
    put(&[("If-None-Match", "*")], "{}").problem(412, "GRV-1200");
    for _ in 0..4 {
        client.append_one("s-1", "A");
    }
    assert_eq!(revisions(&client.get("/v1/streams/s-1").expect(200)), [2, 3]);
    let set = client.get("/v1/streams/s-1/metadata");
    assert_eq!(set.header("etag"), Some("\"0\""));
    assert_eq!(set.json(), json!({"$maxCount": 2, "owner": "me"}));
    put(&[("If-Match", "\"0\"")], "{\"$maxCount\":3}").expect(200);
    put(&[("If-Match", "\"0\"")], "{}").problem(412, "GRV-1200");
    put(&[], "[]").problem(400, "GRV-1015");
    put(&[], "{\"$maxCount\":\"many\"}").problem(400, "GRV-1015");
    let info = client.get("/v1/streams/s-1/info");
    assert_eq!(info.header("etag"), Some("\"3\""));
    let info = info.expect(200);
    assert_eq!(info["state"], json!({"state": "at", "revision": 3}));
    assert_eq!((&info["first_revision"], &info["metadata"]), (&json!(1), &json!({"$maxCount": 3})));
}

#[test]
fn a_truncated_stream_hides_its_old_events() {
    let server = Server::start();
    let client = server.client();
    for _ in 0..5 {
        client.append_one("s-1", "A");
    }
    client.post("/v1/streams/s-1/truncate", &json!({"before": 3})).expect(200);
    assert_eq!(revisions(&client.get("/v1/streams/s-1").expect(200)), [3, 4]);
    client.get("/v1/streams/s-1/events/2").problem(404, "GRV-1301");
    client.post("/v1/streams/s-1/truncate", &json!({"before": "x"})).problem(400, "GRV-1000");
    client.post("/v1/streams/s-1/truncate", &json!({})).problem(400, "GRV-1000");
}

#[test]
fn a_deleted_stream_reopens_and_a_tombstone_does_not() {
    let server = Server::start();
    let client = server.client();
    client.append_one("s-1", "A");
    client.append_one("s-1", "A");
    let delete = |target: &str, headers: &[(&str, &str)]| client.send("DELETE", target, headers, None);
    delete("/v1/streams/s-1", &[("If-Match", "\"7\"")]).problem(412, "GRV-1200");
    delete("/v1/streams/s-1", &[("If-Match", "\"1\"")]).expect(200);
    client.get("/v1/streams/s-1").problem(410, "GRV-1202");
    assert_eq!(
        client.get("/v1/streams/s-1/info").expect(200)["state"],
        json!({"state": "deleted", "revision": 1})
    );
    client.append_one("s-1", "B");
    assert_eq!(revisions(&client.get("/v1/streams/s-1").expect(200)), [2]);
    delete("/v1/streams/s-1?tombstone=true", &[]).expect(200);
    client.get("/v1/streams/s-1").problem(410, "GRV-1203");
    client.post("/v1/streams/s-1", &json!({"events": [{"type": "A"}]})).problem(410, "GRV-1203");
    assert_eq!(client.get("/v1/streams/s-1/info").expect(200)["state"], json!({"state": "tombstoned"}));
    delete("/v1/streams/s-2?tombstone=perhaps", &[]).problem(400, "GRV-1000");
}

#[test]
fn the_server_says_who_and_how_it_is() {
    let server = Server::start();
    let client = server.client();
    let position = client.append_one("s-1", "A");
    let info = client.get("/v1/info").expect(200);
    assert_eq!(info["name"], "graven");
    assert_eq!(info["head"], position + 1);
    client.get("/livez").expect(200);
    client.get("/readyz").expect(200);
    let metrics = client.get("/metrics");
    for line in [
        "graven_append_events_total 1",
        "graven_store_healthy 1",
        "graven_http_requests_total{route=\"/v1/streams/{stream}\",method=\"POST\",status=\"2xx\"} 1",
    ] {
        assert!(metrics.text().contains(line), "{line} is missing in\n{}", metrics.text());
    }
    assert!(!metrics.text().contains("s-1"), "no stream name in a label");
}
