//! Import and export: what goes in comes out, once.

mod cli_support;

use cli_support::{Server, cloud_event, cloud_events, file, graven, graven_with_input};
use std::path::Path;

/// Lines of an export without what the new store decides itself.
fn exported(args: &[&str]) -> String {
    graven(&[&["export"], args].concat()).ok().out
}

fn data_dir(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_second_import_of_the_same_file_adds_nothing_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let loans = file(dir.path(), "loans.ndjson", cloud_events(10_000, 300));
    let server = Server::start(&dir.path().join("data"));
    let first = server.graven(&["import", &loans]).ok();
    assert!(first.err.starts_with("imported 10,000 events into 300 streams in "), "{}", first.err);
    assert!(first.err.contains("events/s); 0 were there already"), "{}", first.err);
    let second = server.graven(&["import", &loans]).ok();
    assert!(second.err.starts_with("imported 0 events: all 10,000 were there already"), "{}", second.err);
    let stats: serde_json::Value = serde_json::from_str(&server.graven(&["stats"]).ok().out).unwrap();
    assert_eq!(stats["user"]["events"], 10_000);
    assert_eq!(stats["user"]["streams"], 300);
    assert_eq!(stats["types"][0]["name"], "A_SUBMITTED");
    assert_eq!(stats["types"][0]["events"], 3_334);
    // The same file into the stopped store finds it all there too.
    assert!(server.stop().success());
    let data = data_dir(dir.path(), "data");
    let third = graven(&["import", &loans, "--data", &data]).ok();
    assert!(third.err.starts_with("imported 0 events: all 10,000 were there already"), "{}", third.err);
}

#[test]
fn an_import_of_an_export_gives_the_same_events_over_the_network_and_into_a_stopped_store() {
    let dir = tempfile::tempdir().unwrap();
    let first = Server::start(&dir.path().join("first"));
    let loans = file(dir.path(), "loans.ndjson", cloud_events(3_000, 50));
    first.graven(&["import", &loans]).ok();
    // Payloads and names that an export could spoil.
    let pretty = "\n {\n  \"b\": 1.0,\t\"a\": [ ] ,\"b\": 12345678901234567890123 }\r\n";
    for (stream, arguments) in [
        (
            "odd-1",
            &["--data", pretty, "--tag", "x,y", "--tag", "ü", "--metadata", "{ \"who\" : \"me\" }"][..],
        ),
        ("odd ü/1", &["--data", "null", "--time", "2020-02-29T12:00:00.000001Z", "--data-subject", "Ada"]),
        ("bytes-1", &["--data", "\u{1}plain", "--content-type", "application/octet-stream"]),
        ("text-1", &["--data", "plain", "--content-type", "text/plain", "--metadata", "[1]"]),
    ] {
        first.graven(&[&["append", stream, "--type", "T"], arguments].concat()).ok();
    }
    // White space around a payload is part of what was stored.
    let spaced = r#"{"events":[{"type":"T","content_type":"application/json","data_base64":"IHsgfQo="}]}"#;
    post(&first, "/v1/streams/spaced-1", spaced);
    for name in ["out.ndjson", "out.ndjson.gz", "out.ndjson.zst"] {
        let out = data_dir(dir.path(), name);
        let ran = first.graven(&["export", &out]).ok();
        assert!(ran.err.starts_with("exported 3,005 events to "), "{}", ran.err);
        let copy = data_dir(dir.path(), &format!("copy-of-{name}"));
        graven(&["import", &out, "--data", &copy]).ok();
        assert_same_events(&first.url, &copy);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().filter(is_temporary).count(), 0);
    let second = Server::start(&dir.path().join("second"));
    let all = exported(&["--url", &first.url]);
    let imported = graven_with_input(&["import", "-", "--url", &second.url], all.as_bytes()).ok();
    assert!(imported.err.starts_with("imported 3,005 events into 55 streams"), "{}", imported.err);
    assert_eq!(exported(&["--url", &second.url]), all);
    // A stopped store exports the same.
    assert!(first.stop().success());
    assert_eq!(exported(&["--data", &data_dir(dir.path(), "first")]), all);
}

fn is_temporary(entry: &std::io::Result<std::fs::DirEntry>) -> bool {
    entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tmp")
}

/// Everything a producer handed in, in the order of the log, as stored.
#[track_caller]
fn assert_same_events(url: &str, copy: &str) {
    let server = Server::start(Path::new(copy));
    let events = |url: &str| -> Vec<serde_json::Value> {
        let page = get(url, "/v1/all?limit=10000&payload=base64&exclude_system=true");
        let mut page: serde_json::Value = serde_json::from_str(&page).unwrap();
        assert!(page["next"].is_null());
        let events = page["events"].as_array_mut().unwrap();
        for event in events.iter_mut() {
            let event = event.as_object_mut().unwrap();
            event.remove("committed_at");
        }
        std::mem::take(events)
    };
    let (original, copy) = (events(url), events(&server.url));
    assert_eq!(original.len(), copy.len());
    for (original, copy) in original.iter().zip(&copy) {
        assert_eq!(original, copy);
    }
}

fn get(url: &str, path: &str) -> String {
    ureq::get(format!("{url}{path}"))
        .call()
        .unwrap()
        .body_mut()
        .with_config()
        .limit(1 << 30)
        .read_to_string()
        .unwrap()
}

fn post(server: &Server, path: &str, body: &str) {
    let request = ureq::post(format!("{}{path}", server.url)).header("content-type", "application/json");
    request.send(body).unwrap();
}

#[test]
fn an_export_can_be_narrowed_to_a_stream_a_category_or_types() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let text = cloud_events(30, 10) + &cloud_event(100, "offer-1") + "\n";
    graven_with_input(&["import", "-", "--url", &server.url], text.as_bytes()).ok();
    let count = |args: &[&str]| exported(&[&["--url", &server.url], args].concat()).lines().count();
    assert_eq!(count(&[]), 31);
    assert_eq!(count(&["--stream", "loan-3"]), 3);
    assert_eq!(count(&["--category", "offer"]), 1);
    assert_eq!(count(&["--type", "A_SUBMITTED"]), 10);
    assert_eq!(count(&["--type", "A_SUBMITTED", "--type", "W_Called"]), 31);
    let out = data_dir(dir.path(), "none.ndjson");
    server.graven(&["export", &out, "--stream", "nobody-1"]).failed(3, &["GRV-1300"]);
    assert!(!Path::new(&out).exists());
    // System events only on request.
    server.graven(&["stream", "truncate", "loan-3", "--before", "1", "--yes"]).ok();
    assert!(!exported(&["--url", &server.url]).contains("$metadata"));
    server.graven(&["snapshot", "put", "loan-2", "--revision", "1", "--data", "{}"]).ok();
    let all = exported(&["--url", &server.url, "--system"]);
    assert!(all.contains("$metadata") && !all.contains("$snapshot"), "{all}");
    graven_with_input(&["import", "-", "--data", &data_dir(dir.path(), "other")], all.as_bytes()).ok();
}

#[test]
fn an_import_into_a_store_that_is_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let loans = file(dir.path(), "loans.ndjson", cloud_events(10, 3));
    let data = dir.path().join("data");
    let _server = Server::start(&data);
    let data = data.to_str().unwrap();
    graven(&["import", &loans, "--data", data]).failed(6, &["GRV-1504", "hint: "]);
    graven(&["export", "--data", data]).failed(6, &["GRV-1504"]);
    graven(&["export", "--data", dir.path().to_str().unwrap()]).failed(1, &["GRV-1506"]);
}

#[test]
fn the_order_of_the_file_is_the_order_of_the_log_in_any_chunking() {
    let dir = tempfile::tempdir().unwrap();
    // More than one chunk by lines and by bytes.
    let long = "x".repeat(20_000);
    let text: String = (0..9_000)
        .map(|number| {
            let line = cloud_event(number, &format!("s-{}", number % 40));
            let fill = if number % 30 == 0 { long.as_str() } else { "" };
            line.replace("\"amount\": 1.50e2", &format!("\"fill\":\"{fill}\"")) + "\n"
        })
        .collect();
    let data = data_dir(dir.path(), "data");
    let imported = graven_with_input(&["import", "-", "--data", &data], text.as_bytes()).ok();
    assert!(imported.err.starts_with("imported 9,000 events into 40 streams"), "{}", imported.err);
    let ids = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("\"id\":\"").nth(1).unwrap()[..36].to_owned()).collect()
    };
    assert_eq!(ids(&exported(&["--data", &data])), ids(&text));
}
