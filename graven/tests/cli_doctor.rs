//! `graven doctor`.

mod cli_support;

use cli_support::{Ran, Server, graven};
use serde_json::Value;
use std::path::Path;

fn doctor(data: &Path, url: &str, more: &[&str]) -> Ran {
    graven(&[&["doctor", "--url", url, "--data", data.to_str().unwrap()], more].concat())
}

/// The verdict of a check.
fn verdict(ran: &Ran, check: &str) -> String {
    let findings = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = findings.into_iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("no check {check}: {ran:?}"))["verdict"].as_str().unwrap().to_owned()
}

const NOBODY: &str = "http://127.0.0.1:1";

#[test]
fn a_new_directory_and_no_server_are_no_failure_and_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("below/data");
    let ran = doctor(&data, NOBODY, &[]).ok();
    for (check, expected) in
        [("settings", "ok"), ("directory", "ok"), ("store", "ok"), ("server", "warn"), ("clock", "ok")]
    {
        assert_eq!(verdict(&ran, check), expected, "{check}: {ran:?}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let table = doctor(&data, NOBODY, &["-o", "table"]).ok().out;
    assert!(table.starts_with("ok    settings"), "{table}");
}

#[test]
fn a_running_and_a_stopped_store_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.graven(&["append", "a", "--type", "T"]).ok();
    let ran = doctor(dir.path(), &server.url, &[]).ok();
    assert_eq!(verdict(&ran, "server"), "ok");
    assert!(ran.out.contains("open in another process"), "{}", ran.out);
    server.crash();
    let ran = doctor(dir.path(), NOBODY, &[]).ok();
    assert!(ran.out.contains("its tail is whole: 1 events"), "{}", ran.out);
}

#[test]
fn what_would_fail_is_said_with_advice_and_exit_code_1() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "x").unwrap();
    let ran = doctor(&plain, NOBODY, &["--set", "nonsense=1", "--listen", "0.0.0.0:1"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    for check in ["settings", "directory"] {
        assert_eq!(verdict(&ran, check), "fail");
    }
    assert!(ran.out.contains("advice"), "{}", ran.out);
    let foreign = tempfile::tempdir().unwrap();
    std::fs::write(foreign.path().join("notes.txt"), "x").unwrap();
    let ran = doctor(foreign.path(), NOBODY, &["--set", "store.free_space_reserve=999 TiB"]);
    assert_eq!(
        (ran.code, verdict(&ran, "store"), verdict(&ran, "free space")),
        (1, "fail".into(), "fail".into())
    );
}
