//! Snapshots of streams: which are taken, which are given back, what makes one useless, and what is left of one that went.

use graven_engine::audit::{ErasureRequest, ErasureTarget, HoldOn, Part, ScavengeOptions};
use graven_engine::model::*;
use graven_engine::{Options, Store};
use std::path::Path;

fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

fn add(store: &Store, stream: &str, count: u64) {
    for _ in 0..count {
        let id = EventId(u128::from(store.head().0 + 1).to_be_bytes());
        let event = NewEvent::json(id, "Moved", "{\"by\":1}");
        store.append(AppendRequest::to(name(stream), Expected::Any, [event])).unwrap();
    }
}

fn state(stream: &str, revision: u64) -> NewSnapshot {
    NewSnapshot::json(name(stream), Revision(revision), format!("{{\"secret-state\":{revision}}}"))
}

fn filled(dir: &Path) -> Store {
    let store = Store::open(dir, Options::small()).unwrap();
    add(&store, "loan-1", 6);
    store
}

fn code<T: std::fmt::Debug>(outcome: Result<T>) -> Code {
    outcome.unwrap_err().code
}

fn from_snapshot(store: &Store, stream: &str) -> (Option<u64>, Vec<u64>) {
    let read = store.read_from_snapshot(&FromSnapshotRequest::new(name(stream))).unwrap();
    let revisions = read.page.events.iter().map(|event| event.revision.0).collect();
    (read.snapshot.map(|snapshot| snapshot.revision.0), revisions)
}

fn erasure(id: &str, target: ErasureTarget) -> ErasureRequest {
    ErasureRequest {
        target,
        parts: vec![Part::Data, Part::Metadata],
        request: id.to_owned(),
        basis: "gdpr-17-1-b".to_owned(),
        decided_by: "officer".to_owned(),
        approved_by: None,
    }
}

/// Whether these bytes stand in a file of a directory.
fn stands_in(dir: &Path, bytes: &str) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let content = std::fs::read(entry.unwrap().path()).unwrap();
        content.windows(bytes.len()).any(|window| window == bytes.as_bytes())
    })
}

#[test]
fn a_snapshot_comes_back_as_it_was_put_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let new = NewSnapshot {
        schema_version: 3,
        content_type: ContentType::from_text("application/x-state"),
        state: bytes::Bytes::from_static(&[0, 255, 7]),
        ..state("loan-1", 3)
    };
    let receipt = store.put_snapshot(&new).unwrap();
    assert!(receipt.stored);
    let check = |store: &Store| {
        let found = store.snapshot(&name("loan-1"), None).unwrap();
        let Snapshot { revision, event_position, schema_version, position, taken_at, .. } = found;
        assert_eq!((revision, event_position, schema_version), (Revision(3), Position(3), 3));
        assert_eq!((position, taken_at), (receipt.position, receipt.taken_at));
        assert_eq!((&found.content_type, &found.state), (&new.content_type, &new.state));
        let leaf = store.trail().leaf(3).unwrap();
        assert_eq!(found.leaf, graven_proof::merkle::leaf_hash(&leaf));
        assert_eq!(from_snapshot(store, "loan-1"), (Some(3), vec![4, 5]));
    };
    check(&store);
    drop(store);
    check(&Store::open(dir.path(), Options::small()).unwrap());
}

#[test]
fn what_cannot_be_a_snapshot_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let head = store.head();
    let put = |new: NewSnapshot| code(store.put_snapshot(&new));
    assert_eq!(put(state("loan-1", 6)), Code::SnapshotAhead);
    assert_eq!(put(state("loan-2", 0)), Code::StreamNotFound);
    assert_eq!(put(state("$audit", 0)), Code::InvalidSnapshot);
    assert_eq!(put(state(&"x".repeat(limits::SNAPSHOT_STREAM_BYTES_MAX + 1), 0)), Code::InvalidSnapshot);
    for keep in [0, limits::SNAPSHOTS_KEPT_MAX + 1] {
        assert_eq!(put(NewSnapshot { keep, ..state("loan-1", 1) }), Code::InvalidSnapshot);
    }
    assert_eq!(put(NewSnapshot { state: "{".into(), ..state("loan-1", 1) }), Code::InvalidJson);
    let large = vec![b' '; limits::EVENT_BYTES_MAX + 1];
    assert_eq!(put(NewSnapshot { state: large.into(), ..state("loan-1", 1) }), Code::EventTooLarge);
    assert_eq!(store.head(), head);
    store.truncate_stream(&name("loan-1"), Revision(4)).unwrap();
    assert_eq!(put(state("loan-1", 3)), Code::InvalidSnapshot);
    store.delete_stream(&name("loan-1"), Expected::Any).unwrap();
    assert_eq!(put(state("loan-1", 5)), Code::StreamDeleted);
    store.tombstone_stream(&name("loan-1"), Expected::Any).unwrap();
    assert_eq!(put(state("loan-1", 5)), Code::StreamTombstoned);
    assert_eq!(code(store.snapshot(&name("loan-1"), None)), Code::StreamTombstoned);
}

#[test]
fn nobody_but_the_store_writes_where_snapshots_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.put_snapshot(&state("loan-1", 3)).unwrap();
    let kept_in = name("$snapshot-loan-1");
    let event = NewEvent::json(EventId([9; 16]), "$snapshot", "{}");
    let append = AppendRequest::to(kept_in.clone(), Expected::Any, [event]);
    for refused in [
        store.append(append),
        store.delete_stream(&kept_in, Expected::Any),
        store.tombstone_stream(&kept_in, Expected::Any),
        store.set_stream_metadata(&kept_in, Expected::Any, "{}".into()),
        store.truncate_stream(&kept_in, Revision(1)),
    ] {
        assert_eq!(code(refused), Code::InvalidStreamName);
    }
    assert_eq!(from_snapshot(&store, "loan-1").0, Some(3));
}

#[test]
fn the_newest_are_kept_and_an_older_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let of = |store: &Store, most: u64| {
        store.snapshot(&name("loan-1"), Some(Revision(most))).map(|snapshot| snapshot.revision.0)
    };
    for revision in [1, 2, 4] {
        store.put_snapshot(&NewSnapshot { keep: 2, ..state("loan-1", revision) }).unwrap();
    }
    assert_eq!(code(store.put_snapshot(&state("loan-1", 3))), Code::SnapshotOutdated);
    let answers =
        [of(&store, 9).unwrap(), of(&store, 4).unwrap(), of(&store, 3).unwrap(), of(&store, 2).unwrap()];
    assert_eq!(answers, [4, 4, 2, 2]);
    assert_eq!(code(of(&store, 1)), Code::SnapshotNotFound);
    // The very same again is nothing new; another state of the same revision is.
    let head = store.head();
    let again = store.put_snapshot(&NewSnapshot { keep: 2, ..state("loan-1", 4) }).unwrap();
    assert!(!again.stored && store.head() == head);
    let other = NewSnapshot { schema_version: 2, ..state("loan-1", 4) };
    assert!(store.put_snapshot(&other).unwrap().stored);
    assert_eq!(store.snapshot(&name("loan-1"), None).unwrap().schema_version, 2);
    assert_eq!(code(of(&store, 3)), Code::SnapshotNotFound, "one is kept from now on");
    let report = store.scavenge(ScavengeOptions::default()).unwrap();
    assert_eq!((report.streams, report.events), (1, 3));
    assert!(!stands_in(&dir.path().join("log"), "\"secret-state\":1}"));
    assert!(stands_in(&dir.path().join("log"), "\"secret-state\":4}"));
    assert_eq!(from_snapshot(&store, "loan-1"), (Some(4), vec![5]));
}

#[test]
fn a_deleted_snapshot_is_gone_at_once_and_its_bytes_after_scavenging() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    assert_eq!(code(store.delete_snapshot(&name("loan-1"))), Code::SnapshotNotFound);
    store.put_snapshot(&state("loan-1", 5)).unwrap();
    store.delete_snapshot(&name("loan-1")).unwrap();
    assert_eq!(code(store.delete_snapshot(&name("loan-1"))), Code::SnapshotNotFound);
    assert_eq!(code(store.snapshot(&name("loan-1"), None)), Code::SnapshotNotFound);
    assert_eq!(from_snapshot(&store, "loan-1"), (None, vec![0, 1, 2, 3, 4, 5]));
    store.scavenge(ScavengeOptions::default()).unwrap();
    assert!(!stands_in(&dir.path().join("log"), "secret-state"));
    // An older revision than the deleted one's is fine now.
    assert!(store.put_snapshot(&state("loan-1", 2)).unwrap().stored);
    assert_eq!(from_snapshot(&store, "loan-1"), (Some(2), vec![3, 4, 5]));
}

#[test]
fn a_snapshot_does_not_outlive_the_deletion_of_its_stream() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.put_snapshot(&state("loan-1", 5)).unwrap();
    store.delete_stream(&name("loan-1"), Expected::Any).unwrap();
    assert_eq!(code(store.snapshot(&name("loan-1"), None)), Code::StreamDeleted);
    add(&store, "loan-1", 2);
    assert_eq!(code(store.snapshot(&name("loan-1"), None)), Code::SnapshotNotFound);
    assert_eq!(from_snapshot(&store, "loan-1"), (None, vec![6, 7]));
    store.scavenge(ScavengeOptions::default()).unwrap();
    assert!(!stands_in(&dir.path().join("log"), "secret-state"));
    assert!(store.put_snapshot(&state("loan-1", 6)).unwrap().stored);
    assert_eq!(from_snapshot(&store, "loan-1"), (Some(6), vec![7]));
    store.tombstone_stream(&name("loan-1"), Expected::Any).unwrap();
    store.scavenge(ScavengeOptions::default()).unwrap();
    assert!(!stands_in(&dir.path().join("log"), "secret-state"));
}

#[test]
fn a_truncated_stream_is_read_from_its_snapshot_as_long_as_nothing_is_missing_between() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.put_snapshot(&state("loan-1", 3)).unwrap();
    for (before, expected) in [(3, (Some(3), vec![4, 5])), (4, (Some(3), vec![4, 5])), (5, (None, vec![5]))] {
        store.truncate_stream(&name("loan-1"), Revision(before)).unwrap();
        assert_eq!(from_snapshot(&store, "loan-1"), expected, "{before}");
    }
    assert_eq!(code(store.snapshot(&name("loan-1"), None)), Code::SnapshotNotFound);
    store.put_snapshot(&state("loan-1", 5)).unwrap();
    store.truncate_stream(&name("loan-1"), Revision(6)).unwrap();
    assert_eq!(from_snapshot(&store, "loan-1"), (Some(5), vec![]));
    store.scavenge(ScavengeOptions::default()).unwrap();
    assert_eq!(from_snapshot(&store, "loan-1"), (Some(5), vec![]));
}

#[test]
fn a_page_after_a_snapshot_leads_on_and_keeps_its_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.put_snapshot(&state("loan-1", 1)).unwrap();
    let request = FromSnapshotRequest { limit: 2, ..FromSnapshotRequest::new(name("loan-1")) };
    let read = store.read_from_snapshot(&request).unwrap();
    assert_eq!((read.page.events.len(), read.page.next), (2, Some(Start::Revision(Revision(4)))));
    let none = FromSnapshotRequest { limit: 0, ..request };
    assert_eq!(code(store.read_from_snapshot(&none)), Code::InvalidLimit);
    assert_eq!(
        code(store.read_from_snapshot(&FromSnapshotRequest::new(name("loan-9")))),
        Code::StreamNotFound
    );
}

#[test]
fn erasing_anything_of_a_stream_erases_its_snapshots() {
    let about = |id: u8, subject: &str| NewEvent {
        data_subject: Some(subject.into()),
        ..NewEvent::json(EventId([id; 16]), "Moved", "{\"secret\":1}")
    };
    type Target = fn() -> ErasureTarget;
    let targets: [Target; 3] = [
        || ErasureTarget::Events(vec![Position(2)]),
        || ErasureTarget::Stream { name: name("loan-1"), before: Some(Revision(1)) },
        || ErasureTarget::Subject("anna".to_owned()),
    ];
    for (number, target) in targets.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path());
        let anna = AppendRequest::to(name("loan-1"), Expected::Any, [about(200, "anna")]);
        store.append(anna).unwrap();
        add(&store, "loan-2", 1);
        store.put_snapshot(&NewSnapshot { keep: 5, ..state("loan-1", 4) }).unwrap();
        store.put_snapshot(&NewSnapshot { keep: 5, ..state("loan-1", 6) }).unwrap();
        store.put_snapshot(&state("loan-2", 0)).unwrap();
        store.trail().checkpoint(store.head().0).unwrap();
        let head = store.head().0;
        let request = erasure("r-1", target());
        let counted = store.erase(&request, true).unwrap();
        assert_eq!(counted.record, None);
        let outcome = store.erase(&request, false).unwrap();
        // The record of the snapshots stands before the one that answers for the request.
        assert_eq!((outcome.record, outcome.events), (Some(Position(head + 1)), counted.events));
        assert!(store.erase(&request, false).unwrap().repeated);
        let check = |store: &Store| {
            assert_eq!(code(store.snapshot(&name("loan-1"), None)), Code::SnapshotNotFound, "{number}");
            assert_eq!(from_snapshot(store, "loan-1").0, None);
            assert_eq!(from_snapshot(store, "loan-2").0, Some(0));
        };
        check(&store);
        for gone in [4, 6] {
            assert!(!stands_in(&dir.path().join("log"), &format!("\"secret-state\":{gone}}}")));
        }
        store.close().unwrap();
        let report = graven_engine::audit::verify(
            dir.path(),
            &Options::small(),
            &graven_engine::audit::VerifyOptions::default(),
            &mut |_| std::ops::ControlFlow::Continue(()),
        )
        .unwrap();
        assert!(report.is_clean(), "{report:#?}");
        drop(store);
        std::fs::remove_dir_all(dir.path().join("index")).unwrap();
        let store = Store::open(dir.path(), Options::small()).unwrap();
        check(&store);
        // What is put afterwards is a snapshot like any other.
        store.put_snapshot(&state("loan-1", 6)).unwrap();
        assert_eq!(from_snapshot(&store, "loan-1").0, Some(6));
        let all_of_it = ErasureTarget::Stream { name: name("$snapshot-loan-1"), before: None };
        assert_eq!(store.erase(&erasure("r-2", all_of_it), false).unwrap().events, 1);
        check(&store);
    }
}

#[test]
fn a_state_about_a_person_is_sealed_and_goes_with_the_persons_key() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { seal_subjects: true, ..Options::small() };
    let store = Store::open(dir.path(), options.clone()).unwrap();
    add(&store, "loan-1", 2);
    add(&store, "loan-2", 1);
    let about = |subject: &str, new| NewSnapshot { data_subject: Some(subject.into()), ..new };
    store.put_snapshot(&about("anna", state("loan-1", 1))).unwrap();
    store.put_snapshot(&about("ben", state("loan-2", 0))).unwrap();
    assert!(!stands_in(&dir.path().join("log"), "secret-state"));
    let found = store.snapshot(&name("loan-1"), None).unwrap();
    assert_eq!(
        (&found.state[..], found.data_subject.as_deref()),
        (&br#"{"secret-state":1}"#[..], Some("anna"))
    );
    // The sealed snapshot can be compared with its event without its key.
    store.close().unwrap();
    drop(store);
    let store = Store::open(dir.path(), options).unwrap();
    let hold = HoldOn::Subject("anna".to_owned());
    store.begin_hold("case-1", &hold, "a claim", "officer").unwrap();
    let event = ErasureTarget::Events(vec![Position(0)]);
    assert_eq!(code(store.erase(&erasure("r-1", event.clone()), false)), Code::LegalHold);
    store.end_hold("case-1", "settled", "officer").unwrap();
    let anna = ErasureTarget::Subject("anna".to_owned());
    assert_eq!(store.erase(&erasure("r-2", anna), false).unwrap().events, 1);
    assert_eq!(code(store.snapshot(&name("loan-1"), None)), Code::SnapshotNotFound);
    assert_eq!(from_snapshot(&store, "loan-2").0, Some(0));
    assert!(store.destroy_subject_key("ben").unwrap());
    assert_eq!(from_snapshot(&store, "loan-2"), (None, vec![0]));
}

#[test]
fn puts_from_many_threads_leave_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    std::thread::scope(|scope| {
        for revision in 0..6 {
            let store = &store;
            scope.spawn(move || match store.put_snapshot(&state("loan-1", revision)) {
                Ok(receipt) => assert!(receipt.stored),
                Err(error) => assert_eq!(error.code, Code::SnapshotOutdated, "{error}"),
            });
        }
    });
    assert_eq!(from_snapshot(&store, "loan-1"), (Some(5), vec![]));
}

#[test]
fn a_snapshot_that_is_put_while_events_are_erased_is_erased_with_them_or_comes_after_the_record() {
    for round in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path());
        let record = std::thread::scope(|scope| {
            for thread in 0..3 {
                let store = &store;
                scope.spawn(move || {
                    for version in 0..8 {
                        let new = NewSnapshot { schema_version: thread * 8 + version, ..state("loan-1", 5) };
                        store.put_snapshot(&NewSnapshot { keep: 100, ..new }).unwrap();
                    }
                });
            }
            let target = ErasureTarget::Events(vec![Position(round % 6)]);
            store.erase(&erasure("r-1", target), false).unwrap().record.unwrap()
        });
        let kept = ReadRequest::new(Selector::Stream(name("$snapshot-loan-1"))).limit(1_000);
        for event in store.read(&kept).unwrap().events {
            assert_eq!(event.erased, event.position < record, "{} and {record}", event.position);
        }
        store.close().unwrap();
    }
}
