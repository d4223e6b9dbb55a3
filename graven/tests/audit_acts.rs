//! Erasures, legal holds and changes of keys, from the command line against a running server.

mod cli_support;

use cli_support::Server;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn start() -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    for (stream, data) in [("person-1", "\"secret\""), ("person-1", "\"hidden\""), ("person-2", "\"kept\"")] {
        let subject = stream.replace("person", "subject");
        server.graven(&["append", stream, "--type", "T", "--data", data, "--data-subject", &subject]).ok();
    }
    (dir, server)
}

const WORD: [&str; 6] = ["--request", "r-1", "--basis", "gdpr-17", "--decided-by", "dpo"];

#[test]
fn an_erasure_is_counted_first_and_leaves_every_proof_standing() {
    let (_dir, server) = start();
    let keys = server.graven(&["audit", "keys", "list"]).ok().out;
    let erase = |more: &[&str]| server.graven(&[&["audit", "erase"], &WORD[..], more].concat());
    erase(&["--subject", "subject-1"]).failed(2, &["2 events", "--yes"]);
    assert!(server.graven(&["read", "person-1"]).ok().out.contains("secret"));
    let erased = json(&erase(&["--subject", "subject-1", "--yes"]).ok().out);
    assert_eq!((&erased["events"], &erased["repeated"]), (&2.into(), &false.into()));
    let read = server.graven(&["read", "person-1"]).ok().out;
    assert!(!read.contains("secret") && !read.contains("hidden") && read.lines().count() == 2, "{read}");
    assert!(server.graven(&["read", "person-2"]).ok().out.contains("kept"));
    let again = json(&erase(&["--subject", "subject-1", "--yes"]).ok().out);
    assert_eq!((&again["record"], &again["repeated"]), (&erased["record"], &true.into()));
    server.graven(&["audit", "prove", "0", "--vkey", keys.trim()]).ok();
    server.graven(&["audit", "complete", "person-1", "--seal", "--vkey", keys.trim()]).ok();
    server.graven(&["audit", "verify"]).ok();
    let other = ["audit", "erase", "--request", "r-2", "--basis", "x", "--decided-by", "y"];
    server.graven(&[&other[..], &["--subject", "nobody"]].concat()).failed(3, &["GRV-1741"]);
    server.graven(&[&other[..], &["--event", "1000"]].concat()).failed(3, &["GRV-1301"]);
    server.graven(&other).failed(2, &["--subject"]);
}

#[test]
fn a_certificate_of_erasure_checks_offline_and_says_what_was_erased_by_whom() {
    let (dir, server) = start();
    let keys = server.graven(&["audit", "keys", "list"]).ok().out;
    let erase = ["audit", "erase", "--subject", "subject-1", "--yes"];
    let erased = json(&server.graven(&[&erase[..], &WORD].concat()).ok().out);
    let certificate = dir.path().join("erasure.tlog-proof").display().to_string();
    let record = erased["record"].to_string();
    server.graven(&["audit", "prove", &record, "--vkey", keys.trim(), "--out", &certificate]).ok();
    drop(server);
    let checked = cli_support::graven(&["audit", "check-proof", &certificate, "--vkey", keys.trim()]).ok();
    let says = &json(&checked.out)["says"];
    assert_eq!((&says["request"], &says["decided_by"]), (&"r-1".into(), &"dpo".into()));
    assert_eq!((&says["events"], &says["target"]["of"]), (&2.into(), &"subject".into()));
    assert!(!says.to_string().contains("subject-1"), "the name is gone, its keyed hash is here: {says}");
    let table = ["audit", "check-proof", &certificate, "--vkey", keys.trim(), "-o", "table"];
    assert!(cli_support::graven(&table).ok().out.contains("gdpr-17"));
    let altered = std::fs::read_to_string(&certificate).unwrap().replacen("extra R1JW", "extra R1JX", 1);
    std::fs::write(&certificate, altered).unwrap();
    cli_support::graven(&["audit", "check-proof", &certificate, "--vkey", keys.trim()])
        .failed(7, &["GRV-1791"]);
}

#[test]
fn a_legal_hold_blocks_an_erasure_until_it_ends() {
    let (_dir, server) = start();
    let why = ["--reason", "case-7", "--decided-by", "counsel"];
    let hold = |args: &[&str]| server.graven(&[&["audit", "hold"], args].concat());
    hold(&[&["add", "h 1", "--stream", "person-1"], &why[..]].concat()).ok();
    hold(&[&["add", "h 1", "--stream", "person-1"], &why[..]].concat()).failed(4, &["GRV-1745"]);
    let holds = json(&hold(&["list"]).ok().out);
    assert_eq!((&holds["holds"][0]["id"], &holds["holds"][0]["on"]), (&"h 1".into(), &"stream".into()));
    assert!(hold(&["list", "-o", "table"]).ok().out.contains("case-7"));
    let erase = || server.graven(&[&["audit", "erase", "--stream", "person-1", "--yes"], &WORD[..]].concat());
    erase().failed(4, &["GRV-1740", "h 1"]);
    assert!(server.graven(&["read", "person-1"]).ok().out.contains("secret"));
    hold(&[&["remove", "h 1"], &why[..]].concat()).ok();
    hold(&[&["remove", "h 1"], &why[..]].concat()).failed(4, &["GRV-1745"]);
    erase().ok();
    assert!(!server.graven(&["read", "person-1"]).ok().out.contains("secret"));
    assert_eq!(json(&hold(&["list"]).ok().out)["holds"], Value::Array(Vec::new()));
}

#[test]
fn keys_are_rotated_with_an_overlap_retired_and_revoked_and_a_pin_follows() {
    let (dir, server) = start();
    let pin = dir.path().join("pin");
    let pin = pin.to_str().unwrap();
    server.graven(&["audit", "checkpoint", "--at-least", "3"]).ok();
    server.graven(&["audit", "pin", pin]).ok();
    let keys = |args: &[&str]| server.graven(&[&["audit", "keys"], args].concat());
    let first = keys(&["list"]).ok().out.trim().to_owned();
    let first_id = first.split('+').nth(1).unwrap();
    keys(&["rotate", "--overlap"]).failed(2, &["--yes"]);
    let rotated = json(&keys(&["rotate", "--overlap", "--yes"]).ok().out);
    assert_eq!(rotated["keys"].as_array().unwrap().len(), 2);
    assert!(rotated["keys"].as_array().unwrap().iter().all(|key| key["signs"] == true), "{rotated}");
    assert_eq!(keys(&["list"]).ok().out.lines().count(), 2);
    // Both sign, so whoever knows the first one alone goes on.
    server.graven(&["append", "a", "--type", "T"]).ok();
    server.graven(&["audit", "prove", "2", "--vkey", &first]).ok();
    server.graven(&["audit", "pin", pin]).ok();
    let retired = json(&keys(&["retire", first_id, "--yes"]).ok().out);
    let of_first = &retired["keys"][0];
    assert!(of_first["signs"] == false && of_first["valid_until"].is_u64(), "{retired}");
    keys(&["retire", first_id, "--yes"]).failed(3, &["GRV-1302"]);
    keys(&["retire", "xyz", "--yes"]).failed(2, &["GRV-1000"]);
    let revoked = json(&keys(&["revoke", first_id, "--last-good", "3", "--yes"]).ok().out);
    assert_eq!(revoked["keys"][0]["last_good"], 3, "{revoked}");
    keys(&["revoke", first_id, "--last-good", "100000", "--yes"]).failed(3, &["GRV-1702"]);
}
