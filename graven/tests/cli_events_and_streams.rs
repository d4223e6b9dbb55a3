//! append, read, stats, stream: results, formats and exit codes.

mod cli_support;

use cli_support::{Server, file, graven, graven_with_input};
use serde_json::{Value, json};

fn server() -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    (dir, server)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_event_reads_back_as_it_was_appended() {
    let (dir, server) = server();
    let path = file(dir.path(), "event.json", "{ \"n\" : 1.00 }\n");
    let id = "0192f0c1-23e4-7abc-8def-0123456789ab";
    let append = [
        "append",
        "order-1",
        "--type",
        "Placed",
        "--data",
        &format!("@{path}"),
        "--id",
        id,
        "--tag",
        "a",
        "--tag",
    ];
    let append =
        [&append[..], &["b", "--metadata", "{\"who\":\"me\"}", "--time", "2020-01-01T00:00:00Z"]].concat();
    let receipt = &lines(&server.graven(&append).ok().out)[0];
    assert_eq!((&receipt["id"], &receipt["streams"][0]["revision"]), (&json!(id), &json!(0)));
    let again = &lines(&server.graven(&append).ok().out)[0];
    assert_eq!((&again["appended"], &again["already_done"]), (&json!(0), &json!(true)));
    let read = server.graven(&["read", "order-1"]).ok().out;
    assert!(read.contains("\"data\":{ \"n\" : 1.00 }"), "{read}");
    let event = &lines(&read)[0];
    assert_eq!((&event["tags"], &event["metadata"]), (&json!(["a", "b"]), &json!({"who": "me"})));
    assert_eq!(event["time"], "2020-01-01T00:00:00Z");
    let piped =
        graven_with_input(&["append", "order-1", "--type", "T", "--data", "-", "--url", &server.url], b"[1]");
    assert_eq!(lines(&piped.ok().out)[0]["streams"][0]["revision"], 1);
}

#[test]
fn conflicts_and_missing_things_have_their_exit_codes() {
    let (_dir, server) = server();
    server.graven(&["append", "a", "--type", "T", "--expected", "none"]).ok();
    server
        .graven(&["append", "a", "--type", "T", "--expected", "none"])
        .failed(4, &["error: GRV-1200", "hint: "]);
    server.graven(&["append", "a", "--type", "T", "--expected", "7"]).failed(4, &["GRV-1200"]);
    server.graven(&["append", "a", "--type", "T", "--expected", "0"]).ok();
    server.graven(&["append", "a", "--type", "T", "--expected", "soon"]).failed(2, &["--expected"]);
    server.graven(&["append", "a", "--type", "T", "--data", "{"]).failed(2, &["GRV-1012"]);
    server.graven(&["append", "a", "--type", "T", "--id", "x"]).failed(2, &["GRV-1002"]);
    server.graven(&["append", "a"]).failed(2, &["--type"]);
    server.graven(&["read", "nobody"]).failed(3, &["GRV-1300"]);
    server.graven(&["stream", "info", "nobody"]).failed(3, &["GRV-1300"]);
    server.graven(&["read"]).failed(2, &["required"]);
    server.graven(&["read", "a", "--all"]).failed(2, &["cannot be used"]);
    graven(&["stats", "--url", "http://127.0.0.1:1"]).failed(6, &["GRV-1403", "graven dev"]);
    graven(&["stats", "--url", "https://example.org"]).failed(2, &["GRV-1600", "TLS"]);
    graven(&["nonsense"]).failed(2, &["nonsense"]);
}

#[test]
fn events_are_selected_and_filtered_and_printed_in_three_formats() {
    let (_dir, server) = server();
    for number in 0..5 {
        let stream = format!("order-{}", number % 2);
        let kind = if number == 4 { "Shipped" } else { "Placed" };
        let tag = format!("n:{number}");
        let data = format!("{{\"n\":{number}}}");
        server
            .graven(&["append", &stream, "--type", kind, "--tag", &tag, "--tag", "all", "--data", &data])
            .ok();
    }
    let read = |args: &[&str]| -> Vec<u64> {
        let ran = server.graven(&[&["read"], args].concat()).ok();
        lines(&ran.out).iter().map(|event| event["data"]["n"].as_u64().unwrap()).collect()
    };
    assert_eq!(read(&["--all", "--exclude-system"]), [0, 1, 2, 3, 4]);
    assert_eq!(read(&["order-0"]), [0, 2, 4]);
    assert_eq!(read(&["order-0", "--from", "1"]), [2, 4]);
    assert_eq!(read(&["order-0", "--backward", "--limit", "2"]), [4, 2]);
    assert_eq!(read(&["--category", "order", "--limit", "3"]), [0, 1, 2]);
    assert_eq!(read(&["--type", "Shipped"]), [4]);
    assert_eq!(read(&["--type", "Shipped", "--type", "Placed", "--backward"]), [4, 3, 2, 1, 0]);
    assert_eq!(read(&["--tag", "all", "--tag", "n:3"]), [3]);
    assert_eq!(read(&["--tag", "all", "--type", "Placed", "--from", "0", "--limit", "2"]), [0, 1]);
    assert_eq!(read(&["--tag", "all", "--type", "Placed", "--stream-prefix", "order-1,x"]), [1, 3]);
    assert_eq!(read(&["--all", "--type-regex", "^Ship"]), [4]);

    let table = server.graven(&["read", "order-1", "-o", "table"]).ok().out;
    let header = table.lines().next().unwrap();
    assert!(header.starts_with("position  stream"), "{table}");
    assert_eq!(table.lines().count(), 3);
    let array: Value =
        serde_json::from_str(&server.graven(&["read", "order-1", "-o", "json"]).ok().out).unwrap();
    assert_eq!(array.as_array().unwrap().len(), 2);
    let none: Value =
        serde_json::from_str(&server.graven(&["read", "--tag", "none", "-o", "json"]).ok().out).unwrap();
    assert_eq!(none, json!([]));
}

#[test]
fn a_long_read_goes_over_many_pages() {
    let (_dir, server) = server();
    let text = cli_support::cloud_events(2_500, 1);
    graven_with_input(&["import", "-", "--url", &server.url], text.as_bytes()).ok();
    for args in
        [&["read", "loan-0"][..], &["read", "--type", "A_SUBMITTED", "--type", "W_Called", "--from", "start"]]
    {
        let read = lines(&server.graven(args).ok().out);
        assert!(read.iter().map(|event| event["revision"].as_u64().unwrap()).eq(0..2_500));
    }
    let backward = lines(
        &server.graven(&["read", "loan-0", "--backward", "--from", "2400", "--limit", "2301"]).ok().out,
    );
    assert!(backward.iter().map(|event| event["revision"].as_u64().unwrap()).eq((100..=2_400).rev()));
}

#[test]
fn deleting_and_truncating_say_what_they_would_do_and_want_yes() {
    let (_dir, server) = server();
    for _ in 0..5 {
        server.graven(&["append", "a-1", "--type", "T"]).ok();
    }
    let count = || lines(&server.graven(&["read", "a-1"]).ok().out).len();
    server
        .graven(&["stream", "truncate", "a-1", "--before", "2"])
        .failed(2, &["hides 2", "leaves 3", "--yes"]);
    server.graven(&["stream", "delete", "a-1"]).failed(2, &["a-1 has 5 visible events", "--yes"]);
    assert_eq!(count(), 5);
    server.graven(&["stream", "truncate", "a-1", "--before", "2", "--yes"]).ok();
    assert_eq!(count(), 3);
    server.graven(&["stream", "delete", "a-1", "--yes", "--expected", "9"]).failed(4, &["GRV-1200"]);
    let ran = server.graven(&["stream", "delete", "a-1", "--yes"]).ok();
    assert!(ran.err.contains("a-1 has 3 visible events"), "{}", ran.err);
    assert_ne!(server.graven(&["read", "a-1"]).code, 0);
    let info = &lines(&server.graven(&["stream", "info", "a-1"]).ok().out)[0];
    assert_eq!(info["state"]["state"], "deleted");
    server.graven(&["append", "a-1", "--type", "T"]).ok();
    assert_eq!(count(), 1);
    server.graven(&["stream", "delete", "a-1", "--tombstone", "--yes"]).ok();
    server.graven(&["append", "a-1", "--type", "T"]).failed(4, &["GRV-1203"]);
}

#[test]
fn streams_are_listed_by_prefix_page_after_page() {
    let (_dir, server) = server();
    let text = cli_support::cloud_events(2_300, 2_300);
    graven_with_input(&["import", "-", "--url", &server.url], text.as_bytes()).ok();
    server.graven(&["append", "other", "--type", "T"]).ok();
    let list = |args: &[&str]| lines(&server.graven(&[&["stream", "list"], args].concat()).ok().out);
    let all = list(&[]);
    assert_eq!(all.len(), 2_301);
    assert_eq!((&all[0]["stream"], &all[2_300]["stream"]), (&json!("loan-0"), &json!("other")));
    assert_eq!(list(&["loan-22"]).len(), 111);
    assert_eq!(list(&["--limit", "7"]).len(), 7);
    let table = server.graven(&["stream", "list", "other", "-o", "table"]).ok().out;
    assert!(table.lines().nth(1).unwrap().starts_with("other   at "), "{table}");
    let stats = server.graven(&["stats", "-o", "table"]).ok().out;
    assert!(stats.contains("2,301") && stats.contains("A_SUBMITTED"), "{stats}");
}

#[test]
fn completions_and_help_need_no_server() {
    for shell in ["bash", "zsh", "fish"] {
        let script = graven(&["completions", shell]).ok().out;
        assert!(script.contains("truncate"), "{shell}");
    }
    let help = graven(&["--help"]).ok().out;
    for command in ["dev", "serve", "append", "read", "tail", "stats", "stream", "import", "export", "doctor"]
    {
        assert!(help.contains(&format!("  {command} ")), "{command}: {help}");
    }
    let document: Value = serde_json::from_str(&graven(&["openapi"]).ok().out).unwrap();
    assert!(document["paths"]["/v1/all"].is_object());
    assert!(graven(&["--version"]).ok().out.starts_with("graven "));
}
