//! `graven audit export` and `graven audit check`, and the bundle's own `verify.py`, over real stores.

mod cli_support;

use cli_support::{Ran, command, finish, graven};
use graven_engine::{Options, Store};
use graven_model::{AppendRequest, EventId, Expected, NewEvent, Revision, StreamName};
use std::path::{Path, PathBuf};

fn events(range: std::ops::Range<u32>) -> Vec<NewEvent> {
    range
        .map(|number| {
            let id = EventId(u128::from(number).to_be_bytes());
            let mut event = NewEvent::json(id, "Counted", format!("{{\"number\":{number}}}"));
            if number % 3 == 0 {
                event = event.tagged([format!("third:{}", number % 9)]);
                event.metadata = "{\"by\":\"test\"}".into();
            }
            event
        })
        .collect()
}

fn append(store: &Store, stream: &str, events: Vec<NewEvent>) {
    let stream = StreamName::new(stream).unwrap();
    store.append(AppendRequest::to(stream, Expected::Any, events)).unwrap();
}

/// A store of some hundred events in a few streams, one of which has ended and one of which was truncated.
fn store(dir: &Path) -> String {
    let store = Store::open(dir, Options::small()).unwrap();
    for round in 0..6u32 {
        append(&store, "order-1", events(round * 100..round * 100 + 40));
        append(&store, "order-2", events(round * 100 + 40..round * 100 + 60));
        append(&store, &format!("größe {round}"), events(round * 100 + 60..round * 100 + 61));
    }
    append(&store, "ended-1", events(1000..1003));
    store.tombstone_stream(&StreamName::new("ended-1").unwrap(), Expected::Any).unwrap();
    store.truncate_stream(&StreamName::new("order-2").unwrap(), Revision(7)).unwrap();
    let vkey = store.trail().verifier_keys().unwrap().remove(0).to_string();
    store.close().unwrap();
    vkey
}

struct Room {
    dir: tempfile::TempDir,
    vkey: String,
}

fn room() -> Room {
    let dir = tempfile::tempdir().unwrap();
    let vkey = store(&dir.path().join("data"));
    Room { dir, vkey }
}

impl Room {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn export(&self, name: &str, wanted: &[&str]) -> Ran {
        let (data, out) = (self.path("data"), self.path(name));
        let place = ["audit", "export", "--data", data.to_str().unwrap(), "--out", out.to_str().unwrap()];
        graven(&[&place, wanted].concat())
    }

    fn check(&self, name: &str) -> Ran {
        graven(&["audit", "check", self.path(name).to_str().unwrap(), "--vkey", &self.vkey])
    }

    fn python(&self, name: &str) -> Ran {
        let mut python = command("python3");
        python.arg("-B").arg(self.path(name).join("verify.py")).args(["--vkey", &self.vkey]);
        finish(&mut python)
    }
}

#[test]
fn what_is_exported_is_accepted_by_both_checkers() {
    let room = room();
    let wanted: [(&str, &[&str]); 4] = [
        ("all", &["--all"]),
        ("range", &["--range", "100..300"]),
        ("one", &["--stream", "order-1"]),
        ("three", &["--stream", "ended-1", "--stream", "order-2", "--stream", "größe 3"]),
    ];
    for (name, wanted) in wanted {
        room.export(name, wanted).ok();
        let report = room.check(name).ok();
        assert!(report.out.contains("\"trust\":\"given_keys\""), "{}", report.out);
        room.python(name).ok();
    }
    let one: serde_json::Value = serde_json::from_str(&room.check("one").out).unwrap();
    assert_eq!(one["events"], 240);
    let manifest = std::fs::read_to_string(room.path("one/manifest.json")).unwrap();
    assert!(!manifest.contains("tile/entries"), "neighbours of a stream's events are not shown");
}

#[test]
fn an_archive_is_a_bundle_too() {
    let room = room();
    room.export("bundle", &["--stream", "order-1"]).ok();
    for name in ["bundle.tar", "bundle.tar.zst"] {
        room.export(name, &["--stream", "order-1"]).ok();
        room.check(name).ok();
    }
    room.export("bundle.tar", &["--all"]).failed(4, &["exists already"]);
    room.export("bundle", &["--all"]).failed(4, &["exists already"]);
    let mut bytes = std::fs::read(room.path("bundle.tar")).unwrap();
    let at = bytes.windows(9).position(|window| window == b"\"version\"").unwrap();
    bytes[at + 10] ^= 1;
    std::fs::write(room.path("bundle.tar"), bytes).unwrap();
    room.check("bundle.tar").failed(7, &["GRV-1781"]);
}

#[test]
fn a_bundle_is_not_believed_without_a_key_or_with_another() {
    let room = room();
    room.export("bundle", &["--range", "0..10"]).ok();
    let bundle = room.path("bundle");
    graven(&["audit", "check", bundle.to_str().unwrap()]).failed(7, &["KEY_UNKNOWN", "--vkey"]);
    let other = tempfile::tempdir().unwrap();
    let foreign = store(other.path());
    graven(&["audit", "check", bundle.to_str().unwrap(), "--vkey", &foreign]).failed(7, &["KEY_UNKNOWN"]);
    finish(command("python3").arg("-B").arg(bundle.join("verify.py"))).failed(1, &[]);
    finish(command("python3").arg("-B").arg(bundle.join("verify.py")).args(["--vkey", &foreign]))
        .failed(1, &[]);
}

#[test]
fn an_exported_stream_without_an_event_or_with_a_byte_changed_does_not_check() {
    let room = room();
    room.export("bundle", &["--stream", "order-1"]).ok();
    let path = room.path("bundle/events.ndjson");
    let whole = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let without_last = lines[..lines.len() - 1].concat();
    let without_middle = [&lines[..100], &lines[101..]].concat().concat();
    let changed = whole.replacen("Counted", "Countes", 1);
    for (altered, code) in [
        (&without_last, "STREAM_INCOMPLETE"),
        (&without_middle, "STREAM_VERSION_GAP"),
        (&changed, "LEAF_HASH_MISMATCH"),
    ] {
        std::fs::write(&path, altered).unwrap();
        // a file that is not the one in the manifest comes last in rank: what it changes counts
        let said = room.check("bundle").failed(7, &["GRV-1781"]);
        let python = room.python("bundle").failed(1, &[]);
        if code == "STREAM_INCOMPLETE" {
            assert!(said.out.contains("BUNDLE_FILE_MISMATCH") || said.out.contains(code), "{}", said.out);
        } else {
            assert!(said.out.contains(code), "{}", said.out);
            assert!(python.out.starts_with(code), "{}", python.out);
        }
    }
    std::fs::write(&path, &whole).unwrap();
    room.check("bundle").ok();
}

#[test]
fn what_cannot_be_exported_is_refused_before_anything_is_written() {
    let room = room();
    room.export("a", &["--stream", "nobody"]).failed(3, &["nobody"]);
    room.export("b", &["--range", "5..5"]).failed(2, &["A..B"]);
    room.export("c", &["--range", "0..100000"]).failed(3, &["GRV-1702"]);
    room.export("d", &[]).failed(2, &["--all"]);
    graven(&["audit", "export", "--data", room.path("nowhere").to_str().unwrap(), "--all", "--out", "x"])
        .failed(2, &["there is no store"]);
    for name in ["a", "c"] {
        assert!(!room.path(name).exists(), "{name}");
    }
    graven(&["audit", "check", room.path("nowhere").to_str().unwrap(), "--vkey", &room.vkey])
        .failed(1, &["nowhere"]);
    std::fs::write(room.path("text"), "no archive at all").unwrap();
    graven(&["audit", "check", room.path("text").to_str().unwrap(), "--vkey", &room.vkey])
        .failed(2, &["GRV-1780"]);
}

#[test]
fn a_key_that_took_over_is_believed_through_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let vkey = store(&dir.path().join("data"));
    let store = Store::open(dir.path().join("data"), Options::small()).unwrap();
    let second = store.trail().rotate(false, None).unwrap();
    append(&store, "order-1", events(2000..2010));
    let third = store.trail().rotate(true, None).unwrap().to_string();
    append(&store, "order-1", events(2010..2020));
    store.close().unwrap();
    let mut room = Room { dir, vkey };
    room.export("stream", &["--stream", "order-1"]).ok();
    room.export("all", &["--all"]).ok();
    for vkey in [room.vkey.clone(), second.to_string(), third] {
        room.vkey = vkey;
        for name in ["stream", "all"] {
            room.check(name).ok();
            room.python(name).ok();
        }
    }
    // without the records about keys only those who signed are believed
    std::fs::write(room.path("stream/keys/history.ndjson"), "").unwrap();
    room.check("stream").failed(7, &["BUNDLE_FILE_MISMATCH"]);
}

#[test]
fn what_was_erased_is_in_no_bundle_and_does_not_break_one() {
    use graven_engine::audit::{ErasureRequest, ErasureTarget, Part};
    let dir = tempfile::tempdir().unwrap();
    let options = Options { seal_subjects: true, ..Options::small() };
    let store = Store::open(dir.path().join("data"), options.clone()).unwrap();
    for round in 0..3u32 {
        let about = |name: &str, range| -> Vec<NewEvent> {
            let events = events(range).into_iter();
            events.map(|event| NewEvent { data_subject: Some(name.into()), ..event }).collect()
        };
        append(&store, "order-1", about("alice@example", round * 100..round * 100 + 5));
        append(&store, "order-1", about("bob@example", round * 100 + 5..round * 100 + 10));
        append(&store, "order-2", events(round * 100 + 10..round * 100 + 20));
    }
    let vkey = store.trail().verifier_keys().unwrap().remove(0).to_string();
    let request = |target, request: &str| ErasureRequest {
        target,
        parts: vec![Part::Data, Part::Metadata],
        request: request.to_owned(),
        basis: "gdpr-17-1-b".to_owned(),
        decided_by: "dpo".to_owned(),
        approved_by: None,
    };
    let alice = ErasureTarget::Subject("alice@example".to_owned());
    assert_eq!(store.erase(&request(alice, "r-1"), false).unwrap().events, 15);
    let name = StreamName::new("order-2").unwrap();
    let stream = ErasureTarget::Stream { name, before: Some(Revision(4)) };
    assert_eq!(store.erase(&request(stream, "r-2"), false).unwrap().events, 4);
    store.close().unwrap();

    let room = Room { dir, vkey };
    for (name, wanted) in [
        ("streams", &["--stream", "order-1", "--stream", "order-2"][..]),
        ("all", &["--all"]),
        ("some", &["--range", "3..20"]),
    ] {
        room.export(name, wanted).ok();
        room.check(name).ok();
        room.python(name).ok();
        let events = std::fs::read_to_string(room.path(name).join("events.ndjson")).unwrap();
        assert!(!events.contains("alice@example"), "{events}");
        assert!(events.contains("bob@example"));
    }
    let lines = std::fs::read_to_string(room.path("streams/erasures.ndjson")).unwrap();
    assert_eq!(lines.lines().count(), 2);
    let exported: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(room.path("streams/report.json")).unwrap()).unwrap();
    assert_eq!(exported["events_with_erased_parts"], 19);
}
