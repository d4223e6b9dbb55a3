//! Reads that want to see an event, on a store whose journal is its own log.

mod support;

use graven_model::limits::MIN_POSITION_WAIT_MS;
use serde_json::json;
use std::time::{Duration, Instant};
use support::Server;

const ID: &str = "00000000-0000-4000-8000-000000000001";

/// Every read there is, after an event in `s`.
fn reads(min_position: u64) -> Vec<String> {
    let paths = [
        "/v1/streams/s",
        "/v1/all?limit=1",
        "/v1/categories/s",
        "/v1/types/T",
        "/v1/tags/t",
        "/v1/streams/s/events/0",
        "/v1/streams/s/info",
        "/v1/streams/s/metadata",
        "/v1/streams",
        "/v1/positions/0",
        "/v1/frames",
        "/v1/stats",
        "/v1/info",
    ];
    let by_id = format!("/v1/events/{ID}");
    let all = paths.into_iter().chain([by_id.as_str()]);
    all.map(|path| {
        let sign = if path.contains('?') { '&' } else { '?' };
        format!("{path}{sign}min_position={min_position}")
    })
    .collect()
}

#[test]
fn every_read_waits_for_the_event_it_wants_to_see() {
    let server = Server::start();
    let client = server.client();
    let event = json!({"events": [{"id": ID, "type": "T", "tags": ["t"], "data": {}}]});
    let receipt = client.post("/v1/streams/s", &event).expect(201);
    let last = receipt["last_position"].as_u64().unwrap();
    for target in reads(last) {
        assert_eq!(client.get(&target).status, 200, "{target}");
    }
    let query = |position: u64| json!({"query": {"items": [{"tags": ["t"]}]}, "min_position": position});
    client.post("/v1/query", &query(last)).expect(200);

    // All of them at a time: each waits as long as it is told to.
    let begun = Instant::now();
    let mut refused: Vec<_> = reads(last + 1)
        .into_iter()
        .map(|target| {
            let client = server.client();
            std::thread::Builder::new().spawn(move || (client.get(&target), target)).unwrap()
        })
        .collect();
    let client_of_query = server.client();
    refused.push(
        std::thread::Builder::new()
            .spawn(move || (client_of_query.post("/v1/query", &query(last + 1)), "/v1/query".to_owned()))
            .unwrap(),
    );
    for thread in refused {
        let (answer, target) = thread.join().unwrap();
        let problem = answer.problem(503, "GRV-1407");
        assert_eq!(answer.header("retry-after"), Some("1"), "{target}");
        assert_eq!(problem["expected"], "the event at position 1", "{target}");
        assert_eq!(problem["found"], "1 events", "{target}");
        assert_eq!(problem["retryable"], true, "{target}");
    }
    assert!(begun.elapsed() >= Duration::from_millis(MIN_POSITION_WAIT_MS), "they waited");
}

#[test]
fn a_read_that_waits_is_answered_as_soon_as_the_event_is_there() {
    let server = Server::start();
    let client = server.client();
    let waiting =
        std::thread::Builder::new().spawn(move || client.get("/v1/streams/s?min_position=0")).unwrap();
    let begun = Instant::now();
    server.client().append_one("s", "T");
    let page = waiting.join().unwrap().expect(200);
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
    assert!(begun.elapsed() < Duration::from_millis(MIN_POSITION_WAIT_MS));
}

#[test]
fn a_server_that_stops_does_not_leave_a_read_waiting() {
    let mut server = Server::start();
    let client = server.client();
    let waiting = std::thread::Builder::new().spawn(move || client.get("/v1/all?min_position=7")).unwrap();
    support::wait_until("the read is there", || {
        let metrics = server.client().get("/metrics");
        metrics.text().contains("graven_http_connections 2").then_some(())
    });
    let begun = Instant::now();
    server.terminate();
    // It may have been stopped before it had begun.
    let code = waiting.join().unwrap().problem(503, "GRV-1401")["code"].clone();
    assert_eq!(code, "GRV-1401");
    assert!(server.wait().success());
    assert!(begun.elapsed() < Duration::from_millis(MIN_POSITION_WAIT_MS));
}

#[test]
fn a_store_for_itself_is_a_single_node() {
    let server = Server::start();
    let client = server.client();
    client.append_one("s", "T");
    let node = client.get("/v1/node").expect(200);
    assert_eq!(
        node,
        json!({"role": "single", "epoch": null, "writer": null, "head": 1, "journal_head": 1, "lag_events": 0,
            "complete_at": null, "lag_seconds": 0.0, "trouble": null})
    );
    let problem = client.post("/v1/node/takeover", &json!({})).problem(500, "GRV-1600");
    assert!(problem["expected"].as_str().unwrap().contains("shared journal"), "{problem}");
    client.send("POST", "/v1/node/takeover", &[], Some(b"{}")).problem(415, "GRV-1014");
    assert_eq!(client.get("/readyz").expect(200), json!({"status": "ready"}));
    let metrics = client.get("/metrics");
    for line in
        [r#"graven_node_role{role="single"} 1"#, "graven_node_lag_events 0", "graven_journal_reachable 1"]
    {
        assert!(metrics.text().contains(line), "{line}: {}", metrics.text());
    }
}
