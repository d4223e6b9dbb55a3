//! Snapshots over HTTP.

mod support;

use serde_json::{Value, json};
use support::Server;
use support::client::{Answer, Client};

fn filled() -> (Server, Client) {
    let server =
        Server::start_with(&["--set", "audit.checkpoint_interval=0", "--set", "audit.seal_interval=0"]);
    let client = server.client();
    for _ in 0..5 {
        client.append_one("s-1", "A");
    }
    (server, client)
}

fn put(client: &Client, body: &str) -> Answer {
    let headers = [("Content-Type", "application/json")];
    client.send("PUT", "/v1/streams/s-1/snapshot", &headers, Some(body.as_bytes()))
}

fn revisions(page: &Value) -> Vec<u64> {
    page["events"].as_array().unwrap().iter().map(|event| event["revision"].as_u64().unwrap()).collect()
}

#[test]
fn a_snapshot_is_put_read_and_deleted() {
    let (_server, client) = filled();
    client.get("/v1/streams/s-1/snapshot").problem(404, "GRV-1850");
    let body = r#"{"revision":2,"schema_version":7,"data":{ "sum" : 1.00 },"keep":2}"#;
    let receipt = put(&client, body).expect(201);
    assert_eq!(
        (&receipt["revision"], &receipt["stored"], &receipt["position"]),
        (&json!(2), &json!(true), &json!(5))
    );
    assert_eq!(put(&client, body).expect(200)["stored"], false);
    let found = client.get("/v1/streams/s-1/snapshot");
    assert_eq!(found.header("etag"), Some("\"2\""));
    assert!(found.text().contains(r#""data":{ "sum" : 1.00 }"#), "{}", found.text());
    let found = found.expect(200);
    assert_eq!((&found["schema_version"], &found["event_position"]), (&json!(7), &json!(2)));
    assert_eq!(found["leaf_hash"].as_str().unwrap().len(), 64);
    assert!(found.get("data_subject").is_none());
    put(&client, r#"{"revision":4,"data_base64":"AP8=","data_subject":"anna","keep":2}"#).expect(201);
    let newest = client.get("/v1/streams/s-1/snapshot").expect(200);
    assert_eq!(
        (&newest["content_type"], &newest["data_base64"]),
        (&json!("application/octet-stream"), &json!("AP8="))
    );
    assert_eq!(newest["data_subject"], "anna");
    let older = client.get("/v1/streams/s-1/snapshot?at_or_before=3&payload=base64").expect(200);
    assert_eq!((&older["revision"], &older["data_base64"]), (&json!(2), &json!("eyAic3VtIiA6IDEuMDAgfQ==")));
    let delete = || client.send("DELETE", "/v1/streams/s-1/snapshot", &[], None);
    delete().expect(200);
    delete().problem(404, "GRV-1850");
    client.get("/v1/streams/s-1/snapshot").problem(404, "GRV-1850");
}

#[test]
fn a_page_begins_with_the_snapshot_and_leads_on() {
    let (_server, client) = filled();
    let without = client.get("/v1/streams/s-1?from_snapshot=true").expect(200);
    assert_eq!((&without["snapshot"], revisions(&without)), (&Value::Null, vec![0, 1, 2, 3, 4]));
    put(&client, r#"{"revision":1,"data":[1]}"#).expect(201);
    let first = client.get("/v1/streams/s-1?from_snapshot=true&limit=2");
    let link = first.header("link").expect("there is more").to_owned();
    let page = first.expect(200);
    assert_eq!((&page["snapshot"]["data"], revisions(&page)), (&json!([1]), vec![2, 3]));
    assert_eq!(page["last_revision"], 4);
    let next = link.trim_start_matches('<').split('>').next().unwrap();
    assert!(!next.contains("from_snapshot"), "{next}");
    let rest = client.get(&format!("/v1/streams/s-1{next}")).expect(200);
    assert_eq!(revisions(&rest), [4]);
    assert!(rest.get("snapshot").is_none());
    let plain = client.get("/v1/streams/s-1?from_snapshot=false").expect(200);
    assert_eq!(revisions(&plain), [0, 1, 2, 3, 4]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (_server, client) = filled();
    put(&client, r#"{"revision":5,"data":1}"#).problem(409, "GRV-1851");
    put(&client, r#"{"revision":1,"data":1,"keep":0}"#).problem(400, "GRV-1853");
    put(&client, r#"{"revision":1}"#).problem(400, "GRV-1000");
    put(&client, r#"{"revision":1,"data":1,"data_base64":"AA=="}"#).problem(400, "GRV-1000");
    put(&client, r#"{"revision":1,"data_base64":"?"}"#).problem(400, "GRV-1000");
    put(&client, r#"{"revision":1,"data":1,"content_type":"text/plain"}"#).problem(400, "GRV-1000");
    put(&client, r#"{"revision":1,"data_base64":"ew==","content_type":"application/json"}"#)
        .problem(400, "GRV-1012");
    put(&client, r#"{"revision":1,"data":1,"more":1}"#).problem(400, "GRV-1000");
    put(&client, r#"{"data":1}"#).problem(400, "GRV-1000");
    put(&client, "{").problem(400, "GRV-1012");
    client
        .send("PUT", "/v1/streams/s-1/snapshot", &[("Content-Type", "text/plain")], Some(b"x"))
        .problem(415, "GRV-1014");
    client
        .send("PUT", "/v1/streams/s-1/snapshot?x=1", &[("Content-Type", "application/json")], Some(b"{}"))
        .problem(400, "GRV-1000");
    client
        .send(
            "PUT",
            "/v1/streams/nobody/snapshot",
            &[("Content-Type", "application/json")],
            Some(br#"{"revision":0,"data":1}"#),
        )
        .problem(404, "GRV-1300");
    put(&client, r#"{"revision":3,"data":null}"#).expect(201);
    put(&client, r#"{"revision":2,"data":1}"#).problem(409, "GRV-1854");
    client.get("/v1/streams/s-1/snapshot?at_or_before=x").problem(400, "GRV-1000");
    client.get("/v1/streams/s-1/snapshot?payload=x").problem(400, "GRV-1000");
    for more in
        ["from=start", "position=1", "direction=backward", "direction=forward", "type_prefix=A", "cursor=x"]
    {
        client.get(&format!("/v1/streams/s-1?from_snapshot=true&{more}")).problem(400, "GRV-1000");
    }
    client.get("/v1/streams/s-1?from_snapshot=perhaps").problem(400, "GRV-1000");
    for accept in ["application/x-ndjson", "text/event-stream"] {
        client
            .send("GET", "/v1/streams/s-1?from_snapshot=true", &[("Accept", accept)], None)
            .problem(400, "GRV-1000");
    }
    client.get("/v1/all?from_snapshot=true").problem(400, "GRV-1000");
}
