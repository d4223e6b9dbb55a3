//! `graven verify` on a stopped store that was tampered with at file level: exit code 7, what, where, since when.

mod cli_support;

use cli_support::{Ran, Server, cloud_events, file, graven};
use std::path::{Path, PathBuf};

const EVENTS: usize = 1_000;

/// A store a server ran on and signed when it was stopped.
fn stopped(dir: &Path) -> PathBuf {
    let data = dir.join("data");
    let path = file(dir, "loans.ndjson", cloud_events(EVENTS, 20));
    let server = Server::start(&data);
    server.graven(&["import", &path]).ok();
    assert!(server.stop().success());
    data
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is UTF-8")
}

fn verify(data: &Path, more: &[&str]) -> Ran {
    graven(&[&["verify", "--data", text(data)], more].concat())
}

fn report(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.out).expect("the report is JSON")
}

fn segment(data: &Path) -> PathBuf {
    data.join("log").join(format!("{:020}.seg", 0))
}

/// Flips a bit in the bytes that follow the first place these words stand at in a file.
fn flip_after(path: &Path, words: &str) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes
        .windows(words.len())
        .position(|window| window == words.as_bytes())
        .expect("the words are there");
    bytes[at + words.len()] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_store_that_was_stopped_is_verified_and_the_rate_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let data = stopped(dir.path());
    let ran = verify(&data, &["--strict"]).ok();
    let report = report(&ran);
    assert!(report.get("first").is_none(), "{report}");
    assert!(report["events"].as_u64().unwrap() >= EVENTS as u64);
    assert_eq!(report["trust"], "own_keys");
    assert!(report["map_roots"].as_u64().unwrap() >= 1, "the streams are sealed at the end: {report}");
    let table = verify(&data, &["-o", "table"]).ok().out;
    for words in ["events/s", "nothing contradicts anything", "signatures were checked"] {
        assert!(table.contains(words), "{table}");
    }
}

#[test]
fn a_flipped_bit_in_a_payload_is_named_with_stream_and_position() {
    let dir = tempfile::tempdir().unwrap();
    let data = stopped(dir.path());
    flip_after(&segment(&data), r#""resource":"500"#);
    let ran = verify(&data, &["-o", "table"]).failed(
        7,
        &[
            "GRV-1720",
            "PAYLOAD_MISMATCH",
            "at position 500",
            "\"loan-0\" revision 25",
            "payload layer",
            "hint: ",
        ],
    );
    for words in ["PAYLOAD_MISMATCH", "at position 500", "last good", "0 further findings"] {
        assert!(ran.out.contains(words), "{}", ran.out);
    }
    let ran = verify(&data, &[]).failed(7, &["PAYLOAD_MISMATCH"]);
    assert_eq!(report(&ran)["first"]["position"], 500);
    verify(&data, &["--to", "400"]).ok();
}

#[test]
fn flipped_bits_elsewhere_have_codes_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let data = stopped(dir.path());
    for (file, at, code) in [
        ("audit/tiles-0".to_owned(), 32 * 77, "TILE_MISMATCH"),
        ("audit/tiles-1".to_owned(), 3, "TILE_MISMATCH"),
        ("checkpoints.log".to_owned(), 100, "CHECKPOINT_SIGNATURE_INVALID"),
        (format!("log/{:020}.seg", 0), 4096 + 8, "LEAF_MALFORMED"),
        (format!("log/{:020}.seg", 0), 4096 + 36, "LEAF_HASH_MISMATCH"),
    ] {
        let path = data.join(&file);
        let original = std::fs::read(&path).unwrap();
        let mut bytes = original.clone();
        bytes[at] ^= 4;
        std::fs::write(&path, bytes).unwrap();
        verify(&data, &[]).failed(7, &[code]);
        std::fs::write(&path, original).unwrap();
    }
    verify(&data, &[]).ok();
}

#[test]
fn a_log_put_back_to_an_earlier_copy_is_a_rollback() {
    let dir = tempfile::tempdir().unwrap();
    let data = stopped(dir.path());
    let earlier = std::fs::read(segment(&data)).unwrap();
    let server = Server::start(&data);
    let path = file(dir.path(), "more.ndjson", cloud_events(EVENTS + 200, 20));
    server.graven(&["import", &path]).ok();
    assert!(server.stop().success());
    verify(&data, &[]).ok();
    std::fs::write(segment(&data), earlier).unwrap();
    verify(&data, &[]).failed(7, &["ROLLBACK_DETECTED", "checkpoint layer"]);
}

#[test]
fn wrong_usage_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let data = stopped(dir.path());
    verify(&data, &["--from", "5", "--to", "5"]).failed(2, &["no position"]);
    verify(&data, &["--vkey", "nonsense"]).failed(2, &["verifier key"]);
    let foreign = file(dir.path(), "not-a-checkpoint", "hello\n");
    verify(&data, &["--checkpoint", &foreign]).failed(2, &["is no checkpoint"]);
    verify(&dir.path().join("nothing"), &[]).failed(1, &["no graven store"]);
    let _server = Server::start(&data);
    verify(&data, &[]).failed(6, &["in use"]);
}
