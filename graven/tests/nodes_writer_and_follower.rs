//! A writer and followers that share a journal in a real PostgreSQL, over real sockets.

mod nodes_support;
mod support;

use graven_pgtest::PASSWORD;
use nodes_support::{Nodes, ended, graven, node, until_role};
use serde_json::json;
use support::wait_until;

#[test]
fn an_append_at_a_follower_names_the_writer_and_is_seen_at_the_follower() {
    let nodes = Nodes::new();
    let writer = nodes.start("writer", &[]);
    let follower = nodes.start("follower", &["--follow"]);
    let (at_writer, at_follower) = (writer.client(), follower.client());
    assert_eq!(node(&at_writer)["role"], "writer");
    assert_eq!(node(&at_follower)["role"], "follower");

    let event = json!({"events": [{"type": "T", "data": {}}]});
    let problem = at_follower.post("/v1/streams/s", &event).problem(421, "GRV-1405");
    assert_eq!((&problem["writer"], &problem["no_side_effects"]), (&json!(writer.url()), &json!(true)));
    let named = support::Client::new(problem["writer"].as_str().unwrap());
    let receipt = named.post("/v1/streams/s", &event).expect(201);
    let last = receipt["last_position"].as_u64().unwrap();
    let page = at_follower.get(&format!("/v1/streams/s?min_position={last}")).expect(200);
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
    at_follower.send("DELETE", "/v1/streams/s", &[], None).problem(421, "GRV-1405");

    // The same log, to the last byte.
    assert_eq!(
        at_follower.get("/v1/info").expect(200)["root"],
        at_writer.get("/v1/info").expect(200)["root"]
    );
    let standing = wait_until("the follower is complete", || {
        let standing = node(&at_follower);
        (standing["lag_events"] == 0 && standing["lag_seconds"].is_number()).then_some(standing)
    });
    assert_eq!((&standing["writer"], &standing["epoch"]), (&json!(writer.url()), &json!(1)));
    assert_eq!(at_follower.get("/readyz").expect(200), json!({"status": "ready", "role": "follower"}));
    let metrics = at_follower.get("/metrics");
    for line in [
        r#"graven_node_role{role="follower"} 1"#,
        r#"graven_node_role{role="writer"} 0"#,
        "graven_node_epoch 1",
        "graven_node_lag_events 0",
        "graven_journal_reachable 1",
    ] {
        assert!(metrics.text().contains(line), "{line}: {}", metrics.text());
    }
    for log in [writer.log(), follower.log()] {
        assert!(!log.contains(PASSWORD), "{log}");
        assert!(log.contains("synchronous_standby_names"), "the risks are logged: {log}");
    }
    // The command line goes to the writer with what changes something.
    ended(&graven(&["--url", follower.url(), "append", "s", "--type", "T", "--expected", "0"]), 0, &[]);
    ended(
        &graven(&["--url", follower.url(), "append", "s", "--type", "T", "--expected", "0"]),
        4,
        &["GRV-1200"],
    );
    ended(&graven(&["--url", follower.url(), "stream", "delete", "s", "--yes"]), 0, &[]);
    let status = graven(&["--url", follower.url(), "journal", "status", "-o", "table"]);
    ended(&status, 0, &["follower", writer.url(), "behind"]);
    assert!(writer.stop().success() && follower.stop().success());
}

#[test]
fn nodes_serve_reads_and_say_that_they_are_degraded_while_the_journal_is_away() {
    let mut nodes = Nodes::new();
    let writer = nodes.start("writer", &[]);
    let follower = nodes.start("follower", &["--follow"]);
    let last = writer.client().append_one("s", "T");
    follower.client().get(&format!("/v1/all?min_position={last}")).expect(200);
    nodes.cluster.stop();
    for server in [&writer, &follower] {
        let client = server.client();
        let health = wait_until("it is noticed", || {
            let health = client.get("/readyz").expect(200);
            (health["status"] == "degraded").then_some(health)
        });
        assert!(health["detail"].as_str().unwrap().contains("GRV-1406"), "{health}");
        assert!(!health.to_string().contains(PASSWORD), "{health}");
        client.get("/livez").expect(200);
        assert_eq!(client.get("/v1/streams/s").expect(200)["events"].as_array().unwrap().len(), 1);
        assert!(client.get("/metrics").text().contains("graven_journal_reachable 0"));
    }
    // An append waits for the journal, and is done when it is back.
    let client = writer.client();
    let appending = std::thread::Builder::new().spawn(move || client.append_one("s", "T")).unwrap();
    nodes.cluster.restart();
    let last = appending.join().unwrap();
    follower.client().get(&format!("/v1/all?min_position={last}")).expect(200);
    wait_until("the follower is well", || {
        (follower.client().get("/readyz").expect(200)["status"] == "ready").then_some(())
    });
}

#[test]
fn a_start_is_refused_with_the_reason_and_without_the_password() {
    let nodes = Nodes::new();
    let url = nodes.cluster.url();
    let wrong = url.replace(PASSWORD, "wrong-Zq7w4-word");
    let gone = format!("postgres://postgres:{PASSWORD}@127.0.0.1:1/postgres");
    let other = format!("mysql://root:{PASSWORD}@127.0.0.1/db");
    let option = format!("{url}?sslmode={PASSWORD}");
    let cases: [(&[&str], i32, &[&str]); 7] = [
        (
            &["--journal", &url, "--require-synchronous"],
            2,
            &["GRV-1600", "synchronous_standby_names", "hint: "],
        ),
        (&["--journal", &wrong], 6, &["GRV-1406", "password"]),
        (&["--journal", &gone], 6, &["GRV-1406", "127.0.0.1:1"]),
        (&["--journal", &other], 2, &["GRV-1600", "journal.url", "postgres://"]),
        (&["--journal", &option], 2, &["GRV-1600"]),
        (&["--journal", &url, "--journal-schema", "Graven"], 2, &["GRV-1600", "schema"]),
        (&["--journal", &url, "--advertise", "nowhere"], 2, &["GRV-1600", "journal.advertise"]),
    ];
    for (arguments, code, words) in cases {
        let said = ended(&nodes.refused("refused", arguments), code, words);
        assert!(!said.contains(PASSWORD) && !said.contains("wrong-Zq7w4-word"), "{said}");
    }
    let dev = std::process::Command::new(support::GRAVEN).arg("dev").env("GRAVEN_JOURNAL_URL", &url).output();
    ended(&dev.unwrap(), 2, &["GRV-1600", "graven serve"]);
}

#[test]
fn a_database_is_tried_out() {
    let nodes = Nodes::new();
    let url = nodes.cluster.url();
    let arguments = ["journal", "verify", &url, "--rounds", "20", "--writers", "3"];
    let said = ended(&graven(&[&arguments[..], &["-o", "json"]].concat()), 0, &[]);
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&report["holds"], &report["rounds"], &report["violations"]),
        (&json!(true), &json!(20), &json!([]))
    );
    let wins: u64 = report["wins"].as_array().unwrap().iter().map(|wins| wins.as_u64().unwrap()).sum();
    assert_eq!(wins, 20);
    assert!(
        report["risks"].as_array().unwrap().iter().any(|risk| risk.as_str().unwrap().contains("synchronous"))
    );
    let said = ended(&graven(&[&arguments[..], &["-o", "table"]].concat()), 0, &["laws broken", "risk: "]);
    assert!(!said.contains(PASSWORD), "{said}");
    let wrong = url.replace(PASSWORD, "wrong-Zq7w4-word");
    let said = ended(&graven(&["journal", "verify", &wrong]), 6, &["GRV-1406"]);
    assert!(!said.contains("wrong-Zq7w4-word"), "{said}");
    assert_eq!(nodes.cluster.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'graven%'"), "0");
}

#[test]
fn a_take_over_wants_yes_and_says_first_who_writes() {
    let nodes = Nodes::new();
    let writer = nodes.start("writer", &[]);
    let follower = nodes.start("follower", &["--follow"]);
    writer.client().append_one("s", "T");
    let asked = graven(&["--url", follower.url(), "journal", "takeover"]);
    ended(&asked, 2, &[writer.url(), "epoch 1", "--yes"]);
    assert_eq!(node(&writer.client())["role"], "writer");
    let done = graven(&["--url", follower.url(), "journal", "takeover", "--yes", "-o", "json"]);
    ended(&done, 0, &["\"epoch\": 2", follower.url()]);
    // Nobody appends: the writer of before learns it all the same, and follows.
    let standing = until_role(&writer, "follower");
    assert_eq!(standing["epoch"], 2);
    assert_eq!(standing["writer"], follower.url());
    follower.client().append_one("s", "T");
    writer.client().get("/v1/all?min_position=1").expect(200);
    ended(&graven(&["--url", follower.url(), "journal", "takeover", "--yes"]), 0, &["writes already"]);
    let single = support::Server::start();
    ended(&graven(&["--url", single.url(), "journal", "takeover", "--yes"]), 2, &["GRV-1600", "for itself"]);
}
