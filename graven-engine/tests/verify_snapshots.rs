//! Snapshots that are not made of the event they name, in logs that somebody wrote anew with the log's own key: verification
//! finds them, and no reader gets them.

mod verify_support;

use graven_engine::audit::VerifyOptions;
use graven_engine::model::*;
use graven_engine::{Options, Store};
use graven_proof::finding::FindingCode;
use std::ops::ControlFlow;
use std::path::Path;
use verify_support::{EVENTS, Forger, Forgery, check, expect, filled};

/// Where the snapshot stands: behind the events.
const SNAPSHOT: u64 = EVENTS;
/// Revision of `loan-3` it is made of, and that event's position.
const REVISION: u64 = 40;
const EVENT: u64 = 40 * 7 + 3;

fn loan(number: u64) -> StreamName {
    StreamName::new(format!("loan-{number}")).unwrap()
}

fn with_snapshot(dir: &Path) {
    filled(dir);
    let store = Store::open(dir, Options::small()).unwrap();
    let receipt = store.put_snapshot(&NewSnapshot::json(loan(3), Revision(REVISION), "{}")).unwrap();
    assert_eq!(receipt.position, Position(SNAPSHOT));
    assert_eq!(store.snapshot(&loan(3), None).unwrap().event_position, Position(EVENT));
    store.trail().checkpoint(store.head().0).unwrap();
    store.close().unwrap();
}

/// The tag of the snapshot.
fn tag(forger: &mut Forger) -> String {
    let record = frame::Record::decode(forger.body(SNAPSHOT)).unwrap();
    let tags: Vec<&str> = record.tags.iter().map(|(tag, _)| *tag).collect();
    tags.concat()
}

/// Writes another tag of the same length on the snapshot, and everything else so that it fits.
fn forge(dir: &Path, change: impl Fn(SnapshotOf) -> String) {
    let mut forger = Forger::at(dir);
    let old = tag(&mut forger);
    let new = change(SnapshotOf::from_tag(&old).unwrap());
    assert_eq!(new.len(), old.len());
    let body = forger.body(SNAPSHOT);
    let at = body.windows(old.len()).position(|window| window == old.as_bytes()).unwrap();
    body[at..at + old.len()].copy_from_slice(new.as_bytes());
    write(dir, &forger);
}

fn write(dir: &Path, forger: &Forger) {
    forger.write(Forgery::Everything);
    let size = forger.frames.iter().map(|frame| frame.bodies.len() as u64).sum();
    forger.sign_anew(size);
    std::fs::remove_dir_all(dir.join("index")).unwrap();
}

/// Expects the finding from the stopped store and from the open one, and that no reader gets the snapshot.
fn expect_foreign(dir: &Path) {
    expect(&check(dir), FindingCode::SnapshotForeign, Some(SNAPSHOT));
    let store = Store::open(dir, Options::small()).unwrap();
    for from in [0, EVENT + 1, SNAPSHOT] {
        let part = VerifyOptions { from: Some(from), ..VerifyOptions::default() };
        let report = store.verify(&part, &mut |_| ControlFlow::Continue(())).unwrap();
        expect(&report, FindingCode::SnapshotForeign, Some(SNAPSHOT));
    }
    assert_eq!(store.snapshot(&loan(3), None).unwrap_err().code, Code::SnapshotForeign);
    let read = store.read_from_snapshot(&FromSnapshotRequest::new(loan(3)));
    assert_eq!(read.unwrap_err().code, Code::SnapshotForeign);
    // Dropped or replaced, it is in nobody's way.
    store.put_snapshot(&NewSnapshot::json(loan(3), Revision(REVISION - 1), "{}")).unwrap();
    assert_eq!(store.snapshot(&loan(3), None).unwrap().revision, Revision(REVISION - 1));
}

#[test]
fn a_snapshot_of_the_event_it_names_is_found_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    with_snapshot(dir.path());
    let report = check(dir.path());
    assert!(report.is_clean(), "{report:#?}");
    // Another one of the same length, to see that the forger changes nothing else.
    forge(dir.path(), |of| of.to_tag());
    let report = check(dir.path());
    assert!(report.is_clean(), "{report:#?}");
    let store = Store::open(dir.path(), Options::small()).unwrap();
    let report = store.verify(&VerifyOptions::default(), &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!(store.snapshot(&loan(3), None).unwrap().revision, Revision(REVISION));
}

#[test]
fn a_snapshot_with_another_leaf_hash_is_foreign() {
    let dir = tempfile::tempdir().unwrap();
    with_snapshot(dir.path());
    forge(dir.path(), |of| SnapshotOf { leaf: [0xab; 32], ..of }.to_tag());
    expect_foreign(dir.path());
}

#[test]
fn a_snapshot_of_an_event_of_another_stream_is_foreign() {
    let dir = tempfile::tempdir().unwrap();
    with_snapshot(dir.path());
    let store = Store::open(dir.path(), Options::small()).unwrap();
    let position = EVENT + 1;
    let leaf = graven_proof::merkle::leaf_hash(&store.trail().leaf(position).unwrap());
    store.close().unwrap();
    drop(store);
    forge(dir.path(), |of| SnapshotOf { position: Position(position), leaf, ..of }.to_tag());
    expect_foreign(dir.path());
}

#[test]
fn a_snapshot_of_another_revision_is_foreign() {
    let dir = tempfile::tempdir().unwrap();
    with_snapshot(dir.path());
    forge(dir.path(), |of| SnapshotOf { revision: Revision(REVISION + 1), ..of }.to_tag());
    expect_foreign(dir.path());
}

#[test]
fn a_snapshot_that_does_not_say_what_it_is_made_of_is_foreign() {
    let dir = tempfile::tempdir().unwrap();
    with_snapshot(dir.path());
    forge(dir.path(), |of| of.to_tag().replace("$snapshot", "$Snapshot"));
    expect_foreign(dir.path());
}

#[test]
fn a_snapshot_of_an_event_that_was_written_anew_is_foreign() {
    let dir = tempfile::tempdir().unwrap();
    with_snapshot(dir.path());
    let mut forger = Forger::at(dir.path());
    // The payload is another one, and with it its commitment, which is computed of it.
    let body = forger.body(EVENT);
    let at = body.windows(6).position(|window| window == b"amount").unwrap();
    body[at] = b'A';
    write(dir.path(), &forger);
    expect_foreign(dir.path());
}
