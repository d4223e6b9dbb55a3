//! Import files with something wrong in them.

mod cli_support;

use cli_support::{Server, cloud_event, cloud_events, file, graven, graven_with_input};
use std::io::Write as _;

fn events(server: &Server) -> u64 {
    let stats: serde_json::Value = serde_json::from_str(&server.graven(&["stats"]).ok().out).unwrap();
    stats["user"]["events"].as_u64().unwrap()
}

/// 5,000 good lines, a bad one, 10 good ones.
fn with_bad_line(bad: &str) -> String {
    let mut text = cloud_events(5_000, 10);
    text.push_str(bad);
    text.push('\n');
    for number in 6_000..6_010 {
        text += &(cloud_event(number, "later-1") + "\n");
    }
    text
}

#[test]
fn a_bad_line_is_named_and_what_came_before_stays() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let bad = file(dir.path(), "bad.ndjson", with_bad_line("{\"specversion\":\"1.0\",nonsense"));
    let ran = server
        .graven(&["import", &bad])
        .failed(2, &["GRV-1012", "bad.ndjson, line 5001, column 22", "--skip-bad"]);
    assert!(ran.err.contains("imported 5,000 events"), "{}", ran.err);
    assert!(ran.err.contains("nothing after line 5,000 was imported, what came before stays"), "{}", ran.err);
    assert_eq!(events(&server), 5_000);
    server.graven(&["read", "later-1"]).failed(3, &["GRV-1300"]);
    // The same without a server.
    let data = dir.path().join("stopped");
    let data = data.to_str().unwrap();
    graven(&["import", &bad, "--data", data]).failed(2, &["line 5001, column 22"]);
    assert_eq!(graven(&["export", "--data", data]).ok().out.lines().count(), 5_000);
}

#[test]
fn a_line_only_the_store_refuses_is_named_too() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let text = with_bad_line(&cloud_event(5_500, "closed-1"));
    let path = file(dir.path(), "closed.ndjson", text);
    server.graven(&["append", "closed-1", "--type", "T"]).ok();
    server.graven(&["stream", "delete", "closed-1", "--tombstone", "--yes"]).ok();
    server.graven(&["import", &path]).failed(4, &["GRV-1203", "closed.ndjson, line 5001"]);
    let before = events(&server);
    let rejects = dir.path().join("rejects");
    let ran = server.graven(&["import", &path, "--skip-bad", "--rejects", rejects.to_str().unwrap()]).ok();
    assert!(ran.err.contains("bad lines: 1, written to") && ran.err.contains("GRV-1203"), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(&rejects).unwrap(), cloud_event(5_500, "closed-1") + "\n");
    assert_eq!(events(&server), before + 10);
    assert!(server.stop().success());
    let data = dir.path().join("data");
    graven(&["import", &path, "--data", data.to_str().unwrap()])
        .failed(4, &["GRV-1203", "closed.ndjson, line 5001"]);
}

#[test]
fn skip_bad_goes_on_and_writes_the_rejects_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let no_subject = cloud_event(7_000, "x").replace("\"subject\":\"x\",", "");
    let bad = format!("  nonsense\r\n{no_subject}\n{}", "{\"half\":");
    let path = file(dir.path(), "bad.ndjson", with_bad_line(&bad));
    let ran = server.graven(&["import", &path, "--skip-bad"]).ok();
    assert!(ran.err.contains("imported 5,010 events into 11 streams"), "{}", ran.err);
    assert!(ran.err.contains("bad lines: 3, written to"), "{}", ran.err);
    assert!(ran.err.contains("2 × GRV-1012") && ran.err.contains("1 × GRV-1013"), "{}", ran.err);
    assert!(ran.err.contains("first in line 5001, column 4"), "{}", ran.err);
    let rejects = std::fs::read_to_string(format!("{path}.rejects.ndjson")).unwrap();
    assert_eq!(rejects, format!("{bad}\n"));
    assert_eq!(events(&server), 5_010);
}

#[test]
fn a_packed_file_that_breaks_off_says_so_and_keeps_its_whole_lines() {
    let dir = tempfile::tempdir().unwrap();
    let text = cloud_events(6_000, 100);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let packed = [("gzip", gzip.finish().unwrap()), ("zstd", zstd::encode_all(text.as_bytes(), 3).unwrap())];
    for (kind, bytes) in packed {
        // The name does not say how it is packed.
        let path = file(dir.path(), "packed", &bytes[..bytes.len() / 2]);
        let data = dir.path().join(kind);
        let data = data.to_str().unwrap();
        graven(&["import", &path, "--data", data]).failed(2, &["in the middle of its", kind, "incomplete"]);
        let kept = graven(&["export", "--data", data]).ok().out.lines().count();
        assert!(kept < 6_000, "{kept}");
        let path = file(dir.path(), "packed", &bytes);
        let ran = graven(&["import", &path, "--data", data]).ok();
        assert!(ran.err.contains("were there already"), "{}", ran.err);
        assert_eq!(graven(&["export", "--data", data]).ok().out.lines().count(), 6_000);
    }
}

#[test]
fn the_ack_log_ends_with_the_last_line_and_an_import_can_begin_later() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let path = file(dir.path(), "loans.ndjson", cloud_events(10_000, 10));
    let log = dir.path().join("acks");
    server.graven(&["import", &path, "--ack-log", log.to_str().unwrap(), "--from-line", "101"]).ok();
    let lines: Vec<u64> =
        std::fs::read_to_string(&log).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert!(lines.len() > 1 && lines.is_sorted(), "{lines:?}");
    assert_eq!(lines.last(), Some(&10_000));
    assert_eq!(events(&server), 9_900);
}

#[test]
fn an_empty_input_imports_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let ran = graven_with_input(&["import", "-", "--url", &server.url], b"\n  \n");
    assert!(ran.ok().err.contains("imported 0 events"));
    server.graven(&["import", "/no/such/file"]).failed(2, &["there is no file"]);
}

#[test]
fn an_import_without_a_server_fails_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "loans.ndjson", cloud_events(10, 10));
    graven(&["import", &path, "--url", "http://127.0.0.1:1"]).failed(6, &["GRV-1403", "hint: "]);
}
