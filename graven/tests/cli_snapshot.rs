//! `graven snapshot`: put, get, list, delete.

mod cli_support;

use cli_support::{Server, file, graven_with_input};
use serde_json::{Value, json};

#[test]
fn a_snapshot_is_put_printed_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    for _ in 0..3 {
        server.graven(&["append", "loan-1", "--type", "T"]).ok();
    }
    server.graven(&["snapshot", "get", "loan-1"]).failed(3, &["GRV-1850"]);
    let state = file(dir.path(), "state.json", "{ \"sum\" : 1.00 }\n");
    let put = |revision: &str| {
        server.graven(&[
            "snapshot",
            "put",
            "loan-1",
            "--revision",
            revision,
            "--data",
            &format!("@{state}"),
            "--schema-version",
            "2",
        ])
    };
    let receipt: Value = serde_json::from_str(&put("1").ok().out).unwrap();
    assert_eq!((&receipt["stored"], &receipt["revision"]), (&json!(true), &json!(1)));
    let table = server
        .graven(&[
            "snapshot",
            "put",
            "loan-1",
            "--revision",
            "1",
            "--data",
            &format!("@{state}"),
            "--schema-version",
            "2",
            "-o",
            "table",
        ])
        .ok();
    assert!(table.out.contains("already before"), "{}", table.out);
    put("3").failed(4, &["GRV-1851"]);
    let found: Value = serde_json::from_str(&server.graven(&["snapshot", "get", "loan-1"]).ok().out).unwrap();
    assert_eq!((&found["schema_version"], &found["data"]), (&json!(2), &json!({"sum": 1.0})));
    assert_eq!(server.graven(&["snapshot", "get", "loan-1", "--state"]).ok().out, "{ \"sum\" : 1.00 }");
    let table = server.graven(&["snapshot", "get", "loan-1", "-o", "table"]).ok().out;
    assert!(table.contains("schema version") && table.contains("{ \"sum\" : 1.00 }"), "{table}");
    let piped = [
        "snapshot",
        "put",
        "loan-1",
        "--revision",
        "2",
        "--data",
        "-",
        "--content-type",
        "text/plain",
        "--url",
        &server.url,
    ];
    graven_with_input(&piped, b"three").ok();
    assert_eq!(server.graven(&["snapshot", "get", "loan-1", "--state"]).ok().out, "three");
    let table = server.graven(&["snapshot", "get", "loan-1", "-o", "table"]).ok().out;
    assert!(table.contains("(5 bytes; --state prints them)"), "{table}");
    server.graven(&["snapshot", "get", "loan-1", "--at-or-before", "1"]).failed(3, &["GRV-1850"]);
    server.graven(&["snapshot", "delete", "loan-1"]).failed(2, &["revision 2", "--yes"]);
    server.graven(&["snapshot", "delete", "loan-1", "--yes"]).ok();
    server.graven(&["snapshot", "get", "loan-1"]).failed(3, &["GRV-1850"]);
}

#[test]
fn the_kept_snapshots_are_listed_without_their_states() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    for _ in 0..3 {
        server.graven(&["append", "loan-1", "--type", "T"]).ok();
    }
    assert_eq!(server.graven(&["snapshot", "list", "loan-1"]).ok().out, "");
    for revision in ["0", "1", "2"] {
        let put =
            ["snapshot", "put", "loan-1", "--revision", revision, "--data", "{\"sum\":1}", "--keep", "2"];
        server.graven(&put).ok();
    }
    let listed = server.graven(&["snapshot", "list", "loan-1"]).ok().out;
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(listed.len(), 2, "{listed:?}");
    for (one, revision) in listed.iter().zip([1, 2]) {
        assert_eq!((&one["stream"], &one["revision"]), (&json!("loan-1"), &json!(revision)), "{one}");
        assert_eq!((&one["bytes"], &one["content_type"]), (&json!(9), &json!("application/json")), "{one}");
        assert!(one["position"].as_u64() > one["event_position"].as_u64(), "{one}");
        assert!(one.get("data").is_none(), "{one}");
    }
    let table = server.graven(&["snapshot", "list", "loan-1", "-o", "table"]).ok().out;
    assert!(table.contains("schema version") && table.lines().count() >= 3, "{table}");
    server.graven(&["snapshot", "list", "$audit"]).failed(2, &["GRV-1853"]);
    server.graven(&["snapshot", "delete", "loan-1", "--yes"]).ok();
    assert_eq!(server.graven(&["snapshot", "list", "loan-1", "-o", "json"]).ok().out, "[]\n");
}
