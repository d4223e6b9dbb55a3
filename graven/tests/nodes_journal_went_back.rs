//! A journal that lost batches it had acknowledged: nodes that remember them say so, and go on showing them.

mod nodes_support;
mod support;

use graven_client::Client;
use graven_client::model::{
    AppendRequest, Code, Error, EventId, EventStore as _, Expected, NewEvent, StreamName,
};
use nodes_support::{Nodes, ended};
use serde_json::json;
use support::{Server, run, wait_until};

#[test]
fn nodes_that_remember_more_than_the_journal_only_read_and_end_with_the_reason() {
    let nodes = Nodes::new();
    let mut writer = nodes.start("writer", &[]);
    let mut follower = nodes.start("follower", &["--follow"]);
    let mut last = 0;
    for _ in 0..3 {
        last = writer.client().append_one("s", "T");
    }
    follower.client().get(&format!("/v1/all?min_position={last}")).expect(200);
    nodes.cluster.sql(
        "DELETE FROM graven.batches WHERE first_position = (SELECT max(first_position) FROM graven.batches)",
    );
    for server in [&writer, &follower] {
        let client = server.client();
        wait_until("it is noticed", || (client.get("/readyz").status == 409).then_some(()));
        client.get("/readyz").problem(409, "GRV-1508");
        client.get("/livez").expect(200);
        assert_eq!(client.get("/v1/streams/s").expect(200)["events"].as_array().unwrap().len(), 3);
    }
    let event = json!({"events": [{"type": "T"}]});
    let refused = writer.client().post("/v1/streams/s", &event).problem(409, "GRV-1508");
    assert_eq!(
        (&refused["expected"], &refused["no_side_effects"]),
        (&json!("4 events or more"), &json!(true))
    );
    // What is wrong here is wrong wherever the append goes.
    follower.client().post("/v1/streams/s", &event).problem(409, "GRV-1508");
    follower.client().post("/v1/node/takeover", &json!({})).problem(409, "GRV-1508");
    for (name, server) in [("writer", &mut writer), ("follower", &mut follower)] {
        // The follower by itself: there is no writer any more that could say so.
        assert_eq!(append_in_a_session(server).code, Code::HistoryDiverged, "{name}");
        server.terminate();
        assert_eq!(server.wait().code(), Some(7), "{name}");
        let url = nodes.cluster.url();
        ended(&nodes.refused(name, &["--journal", &url]), 7, &["GRV-1508", "went back", "hint: "]);
    }
}

/// How an append of the Rust client fails, which goes out in a session.
fn append_in_a_session(server: &Server) -> Error {
    let mut outcome = None;
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let event = NewEvent::json(EventId([7; 16]), "T", "{}");
        let request = AppendRequest::to(StreamName::new("s").unwrap(), Expected::Any, [event]);
        outcome = Some(client.append(request).await.unwrap_err());
    });
    outcome.expect("the append has ended")
}
