//! `graven snapshot`: put, get, delete.

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
