//! Imports during which the server, or the import itself, is killed.

mod cli_support;

use cli_support::{GRAVEN, Server, cloud_events, command, file, graven};
use std::collections::HashSet;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

fn ids(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split("\"id\":\"").nth(1).unwrap()[..36].to_owned()).collect()
}

/// Lines acknowledged so far, by the ack log.
fn acknowledged(log: &Path) -> usize {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().map_or(0, |line| line.parse().unwrap())
}

/// Waits until more than so many lines are acknowledged, or the import has ended.
fn wait_for(log: &Path, lines: usize, import: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while acknowledged(log) <= lines && import.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the import stands still");
        std::thread::yield_now();
    }
}

fn import(args: &[&str], log: &Path) -> Child {
    let mut command = command(GRAVEN);
    command.args(["import"]).args(args).arg("--ack-log").arg(log).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn every_acknowledged_line_is_there_after_each_kill_and_a_repeated_import_completes() {
    const LINES: usize = 60_000;
    let dir = tempfile::tempdir().unwrap();
    let text = cloud_events(LINES, 500);
    let all = ids(&text);
    let path = file(dir.path(), "loans.ndjson", &text);
    let (data, log) = (dir.path().join("data"), dir.path().join("acks"));
    let data_text = data.to_str().unwrap();
    let mut settled = 0;
    for round in 0..6 {
        // Over the network the server dies, into a stopped store the import itself.
        let mut child;
        if round % 2 == 0 {
            let server = Server::start(&data);
            child = import(&[&path, "--url", &server.url], &log);
            wait_for(&log, settled, &mut child);
            server.crash();
            child.kill().unwrap();
        } else {
            child = import(&[&path, "--data", data_text], &log);
            wait_for(&log, settled, &mut child);
            child.kill().unwrap();
        }
        child.wait().unwrap();
        settled = settled.max(acknowledged(&log));
        let stored = ids(&graven(&["export", "--data", data_text]).ok().out);
        assert!(stored.len() >= settled, "{} stored, {settled} acknowledged", stored.len());
        assert_eq!(stored, all[..stored.len()], "the log is a prefix of the file");
    }
    graven(&["import", &path, "--data", data_text]).ok();
    let stored = ids(&graven(&["export", "--data", data_text]).ok().out);
    assert_eq!(stored, all);
}

#[test]
fn an_import_waits_for_a_server_that_comes_back() {
    const LINES: usize = 40_000;
    let dir = tempfile::tempdir().unwrap();
    let text = cloud_events(LINES, 100);
    let path = file(dir.path(), "loans.ndjson", &text);
    let (data, log) = (dir.path().join("data"), dir.path().join("acks"));
    let mut server = Server::start(&data);
    let address = server.address().to_owned();
    let mut child = import(&[&path, "--url", &server.url], &log);
    for _ in 0..2 {
        wait_for(&log, acknowledged(&log), &mut child);
        server.crash();
        server = Server::start_at(&data, &address);
    }
    assert!(child.wait().unwrap().success());
    let stored: Vec<String> = ids(&server.graven(&["export"]).ok().out);
    assert_eq!(stored.len(), LINES);
    assert_eq!(stored.iter().collect::<HashSet<_>>().len(), LINES);
    assert_eq!(stored, ids(&text));
}
