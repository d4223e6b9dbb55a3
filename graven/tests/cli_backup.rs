//! Backups of stores that run, and restores of them.

mod cli_support;

use cli_support::{GRAVEN, Server, cloud_events, command, file, graven};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is UTF-8")
}

/// Bytes of the files in a directory.
fn size(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

fn export(data: &Path) -> String {
    graven(&["export", "--system", "--data", text(data)]).ok().out
}

#[test]
fn a_backup_taken_during_an_import_and_completed_later_restores_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup, restored) =
        (dir.path().join("data"), dir.path().join("backup"), dir.path().join("restored"));
    let path = file(dir.path(), "loans.ndjson", cloud_events(40_000, 300));
    let server = Server::start(&data);
    let mut import = command(GRAVEN)
        .args(["import", &path, "--url", &server.url])
        .stderr(Stdio::null())
        .spawn()
        .expect("the command starts");
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut backups = 0;
    while import.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the import stands still");
        let ran = server.graven(&["backup", text(&backup)]).ok();
        backups += usize::from(ran.err.starts_with("backed up"));
    }
    assert!(backups > 0, "a backup was taken while the import ran");
    graven(&["restore", text(&backup), "--verify-only"]).ok();
    let partial = dir.path().join("partial");
    graven(&["restore", text(&backup), text(&partial)]).ok();

    server.graven(&["stream", "delete", "loan-7", "--yes"]).ok();
    server.graven(&["stream", "delete", "loan-8", "--tombstone", "--yes"]).ok();
    let ran = server.graven(&["backup", text(&backup)]).ok();
    assert!(ran.err.starts_with("backed up"), "{ran:?}");
    let again = server.graven(&["backup", text(&backup)]).ok();
    assert!(again.err.starts_with("nothing new: "), "{again:?}");
    let info = server.graven(&["stats", "-o", "json"]).ok().out;
    assert!(server.stop().success());

    let verified = graven(&["restore", text(&backup), "--verify-only"]).ok();
    let ran = graven(&["restore", text(&backup), text(&restored)]).ok();
    let root = |err: &str| err.split("root ").nth(1).unwrap().lines().next().unwrap().trim().to_owned();
    assert_eq!(root(&ran.err), root(&again.err));
    assert_eq!(root(&verified.err), root(&again.err));
    assert!(ran.err.contains("those the backup noted"), "{ran:?}");
    let (original, copy) = (export(&data), export(&restored));
    assert!(original == copy, "{} and {} bytes", original.len(), copy.len());
    assert!(original.starts_with(&export(&partial)), "a backup is a prefix of the log");
    let server = Server::start(&restored);
    assert_eq!(server.graven(&["stats", "-o", "json"]).ok().out, info);
}

#[test]
fn a_backup_that_was_killed_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup, restored) =
        (dir.path().join("data"), dir.path().join("backup"), dir.path().join("restored"));
    let path = file(dir.path(), "loans.ndjson", cloud_events(60_000, 100));
    graven(&["import", &path, "--data", text(&data)]).ok();
    let server = Server::start(&data);
    let mut killed = 0;
    let deadline = Instant::now() + Duration::from_secs(120);
    for _ in 0..3 {
        let mut child = command(GRAVEN)
            .args(["backup", text(&backup), "--url", &server.url])
            .stderr(Stdio::null())
            .spawn()
            .expect("the command starts");
        let before = size(&backup.join("log"));
        while size(&backup.join("log")) <= before && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the backup stands still");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
        if backup.join("store.json").exists() {
            graven(&["restore", text(&backup), "--verify-only"]).ok();
        }
    }
    assert!(killed > 0, "a backup was killed");
    server.graven(&["backup", text(&backup)]).ok();
    server.graven(&["backup", text(&backup)]).ok();
    assert!(server.stop().success());
    graven(&["restore", text(&backup), text(&restored)]).ok();
    assert!(export(&data) == export(&restored));
}

#[test]
fn what_is_not_the_same_history_or_not_intact_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (data, other, backup, target) = (at("data"), at("other"), at("backup"), at("target"));
    for (data, events) in [(&data, 500), (&other, 600)] {
        let path = file(dir.path(), "loans.ndjson", cloud_events(events, 10));
        graven(&["import", &path, "--data", text(data)]).ok();
    }
    let backup_of = |data: &Path| graven(&["backup", text(&backup), "--data", text(data)]);
    backup_of(&data).ok();
    backup_of(&other).failed(7, &["GRV-1508", "another log", "hint:"]);
    backup_of(&data).ok();
    // The directory is no store, a store is no backup, and a restore takes no used directory.
    graven(&["export", "--data", text(&backup)]).failed(1, &["GRV-1506", "is a backup"]);
    graven(&["restore", text(&data), text(&target)]).failed(1, &["GRV-1506", "is no backup"]);
    graven(&["restore", text(&backup), text(&other)]).failed(2, &["is not empty"]);
    graven(&["restore", text(&backup)]).failed(2, &["DATA"]);

    // A source that lost its end.
    let earlier = at("earlier");
    graven(&["restore", text(&backup), text(&earlier)]).ok();
    let path = file(dir.path(), "more.ndjson", cloud_events(700, 10));
    graven(&["import", &path, "--data", text(&data)]).ok();
    backup_of(&data).ok();
    backup_of(&earlier).failed(7, &["GRV-1508", "rolled back"]);
    let path = file(dir.path(), "others.ndjson", cloud_events(900, 20));
    graven(&["import", &path, "--data", text(&earlier)]).ok();
    backup_of(&earlier).failed(7, &["GRV-1508", "another history"]);
    backup_of(&data).ok();

    // A byte in the middle of the log.
    let segment = backup.join("log").join("00000000000000000000.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    graven(&["restore", text(&backup), "--verify-only"])
        .failed(7, &["GRV-1502", ".seg", "backup is damaged"]);
    graven(&["restore", text(&backup), text(&target)]).failed(7, &["GRV-1502", ".seg"]);
    graven(&["export", "--data", text(&target)]).failed(1, &["interrupted"]);
    bytes[middle] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    graven(&["restore", text(&backup), "--verify-only"]).ok();
}
