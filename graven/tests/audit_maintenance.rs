//! Maintenance of a log that is on record, with the binary: scavenging, and going back to an older copy on purpose.

mod cli_support;

use cli_support::{GRAVEN, Ran, Server, command, file, finish, graven};
use graven_proof::checkpoint::SignedCheckpoint;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Whether some file of the log holds these bytes.
fn log_holds(data: &Path, word: &str) -> bool {
    std::fs::read_dir(data.join("log")).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        bytes.windows(word.len()).any(|window| window == word.as_bytes())
    })
}

fn put_metadata(server: &Server, stream: &str, metadata: &str) {
    let url = format!("{}/v1/streams/{stream}/metadata", server.url);
    ureq::put(url).header("Content-Type", "application/json").send(metadata).expect("the server takes it");
}

#[test]
fn what_max_count_hides_is_counted_dropped_from_the_files_and_still_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    for number in 0..5 {
        let payload = format!("\"reading-{number}-{}\"", ["x9f3", "k2m7", "q8w1", "z5t4", "b6n0"][number]);
        server.graven(&["append", "sensor-1", "--type", "Read", "--data", &payload]).ok();
    }
    let key = server.graven(&["audit", "keys", "list"]).ok().out;
    let scavenge = |more: &[&str]| server.graven(&[&["audit", "scavenge"], more].concat());
    let none = scavenge(&[]).ok();
    assert!(none.err.contains("nothing to drop") && json(&none.out)["events"] == 0, "{none:?}");

    put_metadata(&server, "sensor-1", r#"{"$maxCount":2}"#);
    let counted = scavenge(&[]).failed(2, &["3 events in 1 streams", "48 B", "--yes"]);
    assert!(counted.out.is_empty() && log_holds(&data, "reading-0-x9f3"), "{counted:?}");
    let why = ["--reason", "case-7", "--decided-by", "counsel"];
    server.graven(&[&["audit", "hold", "add", "h1", "--stream", "sensor-1"], &why[..]].concat()).ok();
    let held = scavenge(&["--yes"]).ok();
    assert!(held.err.contains("1 streams stay as they are") && json(&held.out)["held"] == 1, "{held:?}");
    assert!(json(&held.out)["events"] == 0 && log_holds(&data, "reading-0-x9f3"), "{held:?}");
    server.graven(&[&["audit", "hold", "remove", "h1"], &why[..]].concat()).ok();

    let dropped = json(&scavenge(&["--yes", "-o", "json"]).ok().out);
    assert_eq!(
        (&dropped["streams"], &dropped["events"], &dropped["held"]),
        (&1.into(), &3.into(), &0.into())
    );
    assert_eq!((&dropped["payload_bytes"], &dropped["more"]), (&48.into(), &false.into()));
    assert_eq!(dropped["segments"], 1);
    for (word, there) in [("x9f3", false), ("k2m7", false), ("q8w1", false), ("z5t4", true), ("b6n0", true)] {
        assert_eq!(log_holds(&data, word), there, "{word}");
    }
    assert!(scavenge(&["-o", "table"]).ok().out.contains("disk space freed"));
    server.graven(&["audit", "verify"]).ok();
    server.graven(&["audit", "prove", "0", "--vkey", key.trim()]).ok();
    server.graven(&["audit", "complete", "sensor-1", "--seal", "--vkey", key.trim()]).ok();
    assert!(server.stop().success());
    let data = data.to_str().unwrap();
    graven(&["verify", "--data", data]).ok();
}

/// Yesterday's copy of a store lies in place of today's, whose keys and mark lie elsewhere.
struct Restored {
    dir: tempfile::TempDir,
    /// What a client pinned today, and the size of it.
    pin: String,
    pinned: u64,
}

impl Restored {
    fn new() -> Restored {
        let dir = tempfile::tempdir().unwrap();
        let pin = dir.path().join("pin").to_str().unwrap().to_owned();
        let restored = Restored { dir, pin, pinned: 0 };
        let (data, copy) = (restored.path("data"), restored.path("yesterday"));
        let server = Server::spawn(&mut restored.serve());
        server.graven(&["append", "a", "--type", "T", "--data", "1"]).ok();
        assert!(server.stop().success());
        finish(Command::new("cp").arg("-a").arg(&data).arg(&copy)).ok();
        let server = Server::spawn(&mut restored.serve());
        for number in 0..8 {
            server.graven(&["append", "a", "--type", "T", "--data", &number.to_string()]).ok();
        }
        let note = server.graven(&["audit", "checkpoint", "--at-least", "9"]).ok().out;
        let pinned = SignedCheckpoint::parse(note.as_bytes()).unwrap().unverified_head().size;
        server.graven(&["audit", "pin", &restored.pin]).ok();
        assert!(server.stop().success());
        std::fs::remove_dir_all(&data).unwrap();
        std::fs::rename(copy, data).unwrap();
        Restored { pinned, ..restored }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn serve(&self) -> Command {
        let mut serve = command(GRAVEN);
        serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(self.path("data"));
        serve.arg("--keys").arg(self.path("keys")).arg("--high-water").arg(self.path("mark"));
        serve
    }

    fn declare(&self, more: &[&str]) -> Ran {
        let mut declare = command(GRAVEN);
        declare.args(["audit", "declare-rollback", "--data"]).arg(self.path("data"));
        declare.arg("--keys").arg(self.path("keys")).arg("--high-water").arg(self.path("mark"));
        finish(declare.args(more))
    }
}

#[test]
fn a_declared_rollback_starts_again_says_so_in_the_log_and_convinces_no_pin() {
    let restored = Restored::new();
    finish(&mut restored.serve()).failed(7, &["GRV-1700", "graven audit declare-rollback"]);
    let said = restored.declare(&[]).failed(2, &["events that were signed are not in the log", "--yes"]);
    for line in ["log as it is:", "newest checkpoint:", "high-water mark:"] {
        let line = said.err.lines().find(|said| said.starts_with(line)).expect("the sizes are said");
        assert!(line.contains(" events, root "), "{line}");
    }
    finish(&mut restored.serve()).failed(7, &["GRV-1700"]);

    let done = json(&restored.declare(&["--yes", "-o", "json"]).ok().out);
    let lost = done["lost"]["size"].as_u64().unwrap();
    assert!(lost >= restored.pinned && done["size"].as_u64() < Some(lost), "{done}");
    assert!(restored.path(&format!("mark.{lost}.lost")).exists());
    restored.declare(&["--yes"]).failed(2, &["GRV-1000", "continues what was signed"]);

    let server = Server::spawn(&mut restored.serve());
    restored.declare(&["--yes"]).failed(6, &["GRV-1504"]);
    let anchors = server.graven(&["read", "$audit"]).ok().out;
    let record = anchors.lines().map(json).find(|event| event["type"] == "$anchor").expect("the log says so");
    assert!(record["data"].to_string().contains(&lost.to_string()), "{record}");
    assert!(record["data"].to_string().contains(done["lost"]["root"].as_str().unwrap()), "{record}");
    let kept = std::fs::read(&restored.pin).unwrap();
    server.graven(&["audit", "pin", &restored.pin]).failed(7, &["GRV-1701", "lost its end"]);
    // It grows again, beyond what was pinned.
    for number in 0..restored.pinned {
        server.graven(&["append", "b", "--type", "T", "--data", &number.to_string()]).ok();
    }
    server.graven(&["audit", "checkpoint", "--at-least", &(restored.pinned + 1).to_string()]).ok();
    server.graven(&["audit", "pin", &restored.pin]).failed(7, &["GRV-1791"]);
    assert_eq!(std::fs::read(&restored.pin).unwrap(), kept, "what was seen stays");
    let key = done["key"].as_str().unwrap();
    server.graven(&["audit", "prove", "0", "--vkey", key]).ok();
    server.graven(&["audit", "verify"]).ok();
}

#[test]
fn a_rollback_is_not_declared_of_what_is_no_store_or_with_what_is_no_key() {
    let restored = Restored::new();
    let nothing = restored.path("nothing");
    graven(&["audit", "declare-rollback", "--yes", "--data", nothing.to_str().unwrap()])
        .failed(2, &["there is no store in"]);
    let broken = file(restored.dir.path(), "broken", "PRIVATE+KEY+x");
    restored.declare(&["--yes", "--root-key", &broken]).failed(2, &["GRV-1000", "broken"]);
    assert!(restored.path("mark").exists(), "nothing is put aside");
}
