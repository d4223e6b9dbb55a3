//! `graven audit`: proofs as files, and a pin that notices a rewritten history.

mod cli_support;

use cli_support::{Server, command, file, finish, graven};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::merkle::TreeHead;
use std::path::Path;
use std::process::Command;

fn vkey(server: &Server) -> String {
    let keys = server.graven(&["audit", "keys", "list"]).ok().out;
    assert_eq!(keys.lines().count(), 1, "{keys}");
    keys.trim().to_owned()
}

fn append(server: &Server, stream: &str, data: &str) {
    server.graven(&["append", stream, "--type", "T", "--data", data]).ok();
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

/// The head of a checkpoint that covers everything.
fn head(server: &Server, events: u64) -> TreeHead {
    let note = server.graven(&["audit", "checkpoint", "--at-least", &events.to_string()]).ok().out;
    SignedCheckpoint::parse(note.as_bytes()).unwrap().unverified_head()
}

#[test]
fn a_proof_made_on_one_machine_is_checked_on_another_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let id = "0192f0c1-23e4-7abc-8def-0123456789ab";
    append(&server, "a", "1");
    server.graven(&["append", "loan-1", "--type", "Approved", "--id", id]).ok();
    let key = vkey(&server);
    let (proof, leaf) = (path(dir.path(), "p"), path(dir.path(), "l"));
    server.graven(&["audit", "prove", "--event", id, "--vkey", &key, "--out", &proof]).ok();
    let other = path(dir.path(), "other");
    let said = server.graven(&["audit", "prove", "1", "--leaf", &leaf, "--out", &other]).ok();
    assert!(said.err.contains("not checked"), "{}", said.err);
    let printed = server.graven(&["audit", "prove", "0"]).ok().out;
    assert!(printed.starts_with("c2sp.org/tlog-proof@v1\nextra "), "{printed}");
    assert!(server.stop().success());

    let checked = graven(&["audit", "check-proof", &proof, "--vkey", &key]).ok();
    assert_eq!(json(&checked.out)["event_id"], id);
    assert_eq!(json(&checked.out)["type"], "Approved");
    graven(&["audit", "check-proof", &other, "--vkey", &key, "--leaf", &leaf]).ok();
    let printed = file(dir.path(), "printed", printed);
    graven(&["audit", "check-proof", &printed, "--vkey", &key, "--leaf", &leaf]).failed(7, &["GRV-1791"]);
}

#[test]
fn what_cannot_be_proven_is_refused_with_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    append(&server, "a", "1");
    server.graven(&["audit", "prove", "1000"]).failed(3, &["GRV-1702"]);
    server.graven(&["audit", "prove", "0", "--size", "1000"]).failed(3, &["GRV-1702"]);
    server.graven(&["audit", "consistency", "1", "1000"]).failed(3, &["GRV-1702"]);
    server.graven(&["audit", "consistency", "0", "1"]).failed(2, &["GRV-1000"]);
    server.graven(&["audit", "checkpoint", "--at-least", "1000"]).failed(3, &["GRV-1702"]);
    server.graven(&["audit", "prove"]).failed(2, &["POSITION"]);
    server.graven(&["audit", "prove", "--event", "x"]).failed(2, &["GRV-1002"]);
    let unknown = "0192f0c1-23e4-7abc-8def-0123456789ff";
    server.graven(&["audit", "prove", "--event", unknown]).failed(3, &["GRV-1301"]);
    // The key of another log.
    let other = Server::start(&dir.path().join("other"));
    append(&other, "a", "1");
    server.graven(&["audit", "prove", "0", "--vkey", &vkey(&other)]).failed(7, &["GRV-1791"]);
}

#[test]
fn checkpoints_and_keys_are_printed_as_they_are_or_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    append(&server, "a", "1");
    let size = head(&server, 1).size;
    append(&server, "a", "2");
    let later = head(&server, size + 1).size;
    let note = server.graven(&["audit", "checkpoint", "--size", &size.to_string()]).ok().out;
    let said = server.graven(&["audit", "checkpoint", "--size", &size.to_string(), "-o", "json"]).ok().out;
    assert_eq!(json(&said)["checkpoint"], note);
    assert_eq!(json(&said)["size"], size);
    let keys = server.graven(&["audit", "keys", "list", "-o", "ndjson"]).ok().out;
    assert_eq!(json(&keys)["keys"][0]["vkey"], vkey(&server));
    let proof = server.graven(&["audit", "consistency", &size.to_string(), &later.to_string()]).ok().out;
    assert!(json(&proof)["hashes"].is_array());
    let table = ["audit", "consistency", &size.to_string(), &later.to_string(), "-o", "table"];
    assert!(server.graven(&table).ok().out.contains("hash"));
}

#[test]
fn a_pin_follows_a_log_that_grows_and_refuses_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    let pin = path(dir.path(), "pin");
    append(&server, "a", "1");
    head(&server, 1);
    let first = server.graven(&["audit", "pin", &pin]).ok();
    assert!(first.err.contains("first contact") && first.err.contains(&vkey(&server)), "{}", first.err);
    assert_eq!(json(&first.out)["followed_from"], serde_json::Value::Null);
    append(&server, "a", "2");
    let size = head(&server, 2).size;
    let next = server.graven(&["audit", "pin", &pin]).ok();
    assert!(json(&next.out)["size"].as_u64() >= Some(size) && json(&next.out)["followed_from"].is_u64());
    assert!(next.err.is_empty(), "{}", next.err);
    assert!(server.stop().success());
    let server = Server::start(&data);
    let shown = server.graven(&["audit", "pin", &pin, "-o", "table"]).ok().out;
    assert!(shown.contains("events seen before"), "{shown}");

    let other = Server::start(&dir.path().join("other"));
    append(&other, "a", "1");
    append(&other, "a", "2");
    append(&other, "a", "3");
    other.graven(&["audit", "pin", &pin]).failed(7, &["GRV-"]);
    let fresh = path(dir.path(), "fresh");
    other.graven(&["audit", "pin", &fresh, "--vkey", &vkey(&server)]).failed(7, &["GRV-1791"]);
    assert!(!Path::new(&fresh).exists());
    let broken = file(dir.path(), "broken", "graven-pin/v1\nlog x\n\nnothing");
    server.graven(&["audit", "pin", &broken]).failed(2, &["GRV-1000", "broken"]);
    server.graven(&["audit", "pin", &pin]).ok();
}

fn copy(from: &Path, to: &Path) {
    finish(Command::new("cp").arg("-a").arg(from).arg(to)).ok();
}

/// Everything is put back, keys and high-water mark too: the store itself cannot know.
#[test]
fn a_pin_notices_that_yesterdays_store_was_put_in_place_of_todays() {
    let dir = tempfile::tempdir().unwrap();
    let (data, yesterday) = (dir.path().join("data"), dir.path().join("yesterday"));
    let pin = path(dir.path(), "pin");
    let server = Server::start(&data);
    append(&server, "a", "1");
    assert!(server.stop().success());
    copy(&data, &yesterday);
    let server = Server::start(&data);
    for number in 0..8 {
        append(&server, "a", &number.to_string());
    }
    let size = head(&server, 9).size;
    server.graven(&["audit", "pin", &pin]).ok();
    let kept = std::fs::read(&pin).unwrap();
    assert!(server.stop().success());

    std::fs::remove_dir_all(&data).unwrap();
    copy(&yesterday, &data);
    let server = Server::start(&data);
    server.graven(&["audit", "pin", &pin]).failed(7, &["GRV-1701", "lost its end"]);
    // It grows again, beyond what was pinned, with the true key.
    for number in 0..20 {
        append(&server, "b", &number.to_string());
    }
    assert!(head(&server, 21).size > size);
    let refused = server.graven(&["audit", "pin", &pin]).failed(7, &["GRV-1701", ".conflict"]);
    assert!(refused.out.is_empty());
    assert_eq!(std::fs::read(&pin).unwrap(), kept, "what was seen stays");
    let conflict = std::fs::read(format!("{pin}.conflict")).unwrap();
    assert!(SignedCheckpoint::parse(&conflict).unwrap().unverified_head().size > size);
}

#[test]
fn keys_and_mark_lie_where_the_flags_say() {
    let dir = tempfile::tempdir().unwrap();
    let (data, keys, mark) = (dir.path().join("data"), dir.path().join("keys"), dir.path().join("mark/file"));
    std::fs::create_dir(dir.path().join("mark")).unwrap();
    let start = || {
        let mut serve = command(cli_support::GRAVEN);
        serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
        serve.arg("--keys").arg(&keys).arg("--high-water").arg(&mark);
        serve
    };
    let server = Server::spawn(&mut start());
    append(&server, "a", "1");
    let key = vkey(&server);
    head(&server, 1);
    assert!(server.stop().success());
    assert!(keys.is_dir() && mark.is_file() && !data.join("keys").exists());

    // The log was put back: the mark, which lies elsewhere, knows.
    let yesterday = dir.path().join("yesterday");
    copy(&data, &yesterday);
    let server = Server::spawn(&mut start());
    append(&server, "a", "2");
    assert_eq!(vkey(&server), key);
    head(&server, 2);
    assert!(server.stop().success());
    std::fs::remove_dir_all(&data).unwrap();
    copy(&yesterday, &data);
    finish(&mut start()).failed(7, &["GRV-1700"]);
}
