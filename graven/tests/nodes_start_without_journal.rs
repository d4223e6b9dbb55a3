//! Nodes that are started while PostgreSQL is away.

mod nodes_support;
mod support;

use graven_pgtest::PASSWORD;
use nodes_support::{Nodes, ended, node, until_role};
use serde_json::json;
use support::wait_until;

#[test]
fn a_node_with_a_copy_shows_it_and_goes_on_when_the_journal_is_back() {
    let mut nodes = Nodes::new();
    let writer = nodes.start("writer", &[]);
    let follower = nodes.start("follower", &["--follow"]);
    let last = writer.client().append_one("s", "T");
    follower.client().get(&format!("/v1/all?min_position={last}")).expect(200);
    assert!(writer.stop().success() && follower.stop().success());
    nodes.cluster.stop();

    let url = nodes.cluster.url();
    let empty = nodes.refused("empty", &["--journal", &url]);
    let said = ended(&empty, 6, &["GRV-1406"]);
    assert!(!said.contains(PASSWORD), "{said}");
    let unasked = nodes.refused("writer", &["--journal", &url, "--require-synchronous"]);
    ended(&unasked, 6, &["GRV-1406"]);

    let writer = nodes.start("writer", &[]);
    let follower = nodes.start("follower", &["--follow"]);
    for server in [&writer, &follower] {
        let client = server.client();
        let page = client.get("/v1/streams/s").expect(200);
        assert_eq!(page["events"].as_array().unwrap().len(), 1);
        assert_eq!(client.get("/readyz").expect(200)["status"], "degraded");
        assert_eq!(node(&client)["role"], "follower");
        let event = json!({"events": [{"type": "T", "data": {}}]});
        client.post("/v1/streams/s", &event).problem(421, "GRV-1405");
    }
    nodes.cluster.restart();
    until_role(&writer, "writer");
    let last = writer.client().append_one("s", "T");
    follower.client().get(&format!("/v1/all?min_position={last}")).expect(200);
    wait_until("all is well", || {
        (follower.client().get("/readyz").expect(200)["status"] == "ready").then_some(())
    });
}
