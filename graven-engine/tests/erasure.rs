//! Erasing events: what is gone afterwards, what is not, and that every proof still holds.

use graven_engine::audit::{ErasureOutcome, ErasureRequest, ErasureTarget, HoldOn, Part};
use graven_engine::model::{
    AppendRequest, Code, EventId, Expected, NewEvent, Position, ReadRequest, Revision, Selector, StoredEvent,
    StreamName,
};
use graven_engine::replica::{Backup, Depth, LogIdentity, Replica};
use graven_engine::{Options, Store};
use std::path::Path;

fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

fn event(number: u64, subject: Option<&str>) -> NewEvent {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    NewEvent {
        metadata: format!("{{\"secret-metadata\":{number}}}").into(),
        data_subject: subject.map(Into::into),
        ..NewEvent::json(EventId(id), "Opened", format!("{{\"secret-data\":{number}}}")).tagged(["red"])
    }
}

/// Twelve events: streams s-0, s-1, s-2 by turns; every fourth is about anna, every fourth about ben.
fn filled(dir: &Path, options: &Options) -> Store {
    let store = Store::open(dir, options.clone()).unwrap();
    for number in 0..12 {
        let subject = match number % 4 {
            1 => Some("anna@example.org"),
            3 => Some("ben@example.org"),
            _ => None,
        };
        let stream = name(&format!("s-{}", number % 3));
        store.append(AppendRequest::to(stream, Expected::Any, [event(number, subject)])).unwrap();
    }
    store
}

fn sealing() -> Options {
    Options { seal_subjects: true, ..Options::small() }
}

fn all(store: &Store) -> Vec<StoredEvent> {
    store.read(&ReadRequest::new(Selector::All).limit(1_000)).unwrap().events
}

fn request(id: &str, target: ErasureTarget) -> ErasureRequest {
    ErasureRequest {
        target,
        parts: vec![Part::Data, Part::Metadata],
        request: id.to_owned(),
        basis: "gdpr-17-1-b".to_owned(),
        decided_by: "officer".to_owned(),
        approved_by: None,
    }
}

fn anna() -> ErasureTarget {
    ErasureTarget::Subject("anna@example.org".to_owned())
}

/// Whether these bytes stand in any file of a directory, keys and index aside.
fn stands_in(dir: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return stands_in(&path, bytes);
        }
        let content = std::fs::read(&path).unwrap();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

/// Opens the store with everything derived made again from the log: nothing of it fits unless every leaf is what it was.
fn rebuilt(dir: &Path, options: &Options) -> Store {
    for derived in ["index", "audit"] {
        std::fs::remove_dir_all(dir.join(derived)).unwrap();
    }
    Store::open(dir, options.clone()).unwrap()
}

#[test]
fn erased_events_keep_their_place_and_their_leaf_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &Options::small());
    let before = all(&store);
    let leaves: Vec<_> = (0..12).map(|position| store.trail().leaf(position).unwrap()).collect();
    let target = ErasureTarget::Events(vec![Position(4), Position(2)]);
    let outcome = store.erase(&request("r-1", target), false).unwrap();
    assert_eq!((outcome.record, outcome.events, outcome.segments), (Some(Position(12)), 2, 1));
    let check = |store: &Store| {
        let after = all(store);
        assert_eq!(&*after[12].event.event_type, "$erasure");
        for (before, after) in before.iter().zip(&after) {
            if [2, 4].contains(&before.position.0) {
                assert!(after.erased && after.event.data.is_empty() && after.event.metadata.is_empty());
                let mut expected = before.clone();
                expected.erased = true;
                (expected.event.data, expected.event.metadata) = Default::default();
                assert_eq!(*after, expected);
            } else {
                assert_eq!(after, before);
            }
        }
        let now: Vec<_> = (0..12).map(|position| store.trail().leaf(position).unwrap()).collect();
        assert_eq!(now, leaves);
    };
    check(&store);
    let root = store.info().root;
    for number in [2, 4] {
        assert!(!stands_in(&dir.path().join("log"), format!("\"secret-data\":{number}}}").as_bytes()));
        assert!(!stands_in(&dir.path().join("log"), format!("\"secret-metadata\":{number}}}").as_bytes()));
    }
    drop(store);
    let store = Store::open(dir.path(), Options::small()).unwrap();
    check(&store);
    drop(store);
    let store = rebuilt(dir.path(), &Options::small());
    assert_eq!(store.info().root, root);
    check(&store);
}

#[test]
fn only_the_part_that_was_named_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &Options::small());
    let target = ErasureTarget::Events(vec![Position(2)]);
    let metadata = ErasureRequest { parts: vec![Part::Metadata], ..request("r-1", target.clone()) };
    store.erase(&metadata, false).unwrap();
    let event = store.event_at(Position(2)).unwrap();
    assert!(!event.erased && !event.event.data.is_empty() && event.event.metadata.is_empty());
    let data = ErasureRequest { parts: vec![Part::Data], ..request("r-2", target) };
    store.erase(&data, false).unwrap();
    let event = store.event_at(Position(2)).unwrap();
    assert!(event.erased && event.event.data.is_empty());
    drop(store);
    rebuilt(dir.path(), &Options::small());
}

#[test]
fn a_stream_is_erased_up_to_a_revision_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &Options::small());
    let stream = name("s-1");
    let target = ErasureTarget::Stream { name: stream.clone(), before: Some(Revision(2)) };
    let outcome = store.erase(&request("r-1", target), false).unwrap();
    assert_eq!(outcome.events, 2);
    let receipt = store
        .append(AppendRequest::to(stream.clone(), Expected::Revision(Revision(3)), [event(50, None)]))
        .unwrap();
    assert_eq!(receipt.streams[0].revision, Some(Revision(4)));
    let page = store.read(&ReadRequest::new(Selector::Stream(stream))).unwrap();
    let erased: Vec<_> = page.events.iter().map(|event| event.erased).collect();
    assert_eq!(erased, [true, true, false, false, false]);
    drop(store);
    rebuilt(dir.path(), &Options::small());
}

#[test]
fn of_a_data_subject_nothing_is_left_and_nobody_else_loses_anything() {
    for options in [Options::small(), sealing()] {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path(), &options);
        let before = all(&store);
        let outcome = store.erase(&request("r-1", anna()), false).unwrap();
        assert_eq!(outcome.events, 3);
        let check = |store: &Store| {
            for (before, after) in before.iter().zip(all(store)) {
                if before.position.0 % 4 == 1 {
                    assert!(after.erased && after.event.data.is_empty() && after.event.metadata.is_empty());
                    assert_eq!(after.event.data_subject, None);
                } else {
                    assert_eq!(after, *before);
                }
            }
        };
        check(&store);
        assert!(!stands_in(dir.path(), b"anna@example.org"));
        drop(store);
        check(&rebuilt(dir.path(), &options));
    }
}

#[test]
fn a_subject_that_was_erased_can_come_back_and_be_erased_again() {
    for options in [Options::small(), sealing()] {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path(), &options);
        store.erase(&request("r-1", anna()), false).unwrap();
        let again = |number| {
            let anna = event(number, Some("anna@example.org"));
            store.append(AppendRequest::to(name("s-1"), Expected::Any, [anna])).unwrap().first_position
        };
        let (one, two) = (again(100), again(101));
        let shown = store.event_at(one).unwrap();
        assert_eq!(&*shown.event.data, b"{\"secret-data\":100}");
        assert_eq!(shown.event.data_subject.as_deref(), Some("anna@example.org"));
        drop(store);
        // The first erasure is not carried out again, on what came later.
        let store = rebuilt(dir.path(), &options);
        assert_eq!(&*store.event_at(two).unwrap().event.data, b"{\"secret-data\":101}");
        let outcome = store.erase(&request("r-2", anna()), false).unwrap();
        assert_eq!(outcome.events, 2);
        assert!(store.event_at(one).unwrap().erased && store.event_at(two).unwrap().erased);
        assert!(!stands_in(dir.path(), b"anna@example.org"));
        drop(store);
        rebuilt(dir.path(), &options);
    }
}

#[test]
fn the_same_request_again_gets_the_outcome_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &Options::small());
    let first = store.erase(&request("r-1", anna()), false).unwrap();
    let head = store.head();
    let again = store.erase(&request("r-1", anna()), false).unwrap();
    let expected = ErasureOutcome { record: first.record, events: 3, repeated: true, ..Default::default() };
    assert_eq!((again, store.head()), (expected, head));
    let other = ErasureTarget::Events(vec![Position(0)]);
    assert_eq!(store.erase(&request("r-1", other), false).unwrap_err().code, Code::ErasureConflict);
}

#[test]
fn a_dry_run_counts_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &Options::small());
    let before = all(&store);
    let outcome = store.erase(&request("r-1", anna()), true).unwrap();
    assert_eq!(outcome, ErasureOutcome { events: 3, segments: 1, ..Default::default() });
    assert_eq!(all(&store), before);
}

#[test]
fn a_request_that_cannot_be_carried_out_says_why_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &Options::small());
    store.set_stream_metadata(&name("s-1"), Expected::Any, "{\"$maxCount\":9}".into()).unwrap();
    let metadata = store.head().0 - 1;
    let head = store.head();
    let positions =
        |positions: &[u64]| ErasureTarget::Events(positions.iter().copied().map(Position).collect());
    let cases = [
        (request("r", positions(&[])), Code::InvalidErasure),
        (request("r", positions(&[99])), Code::EventNotFound),
        (request("r", positions(&[metadata])), Code::InvalidErasure),
        (request("", anna()), Code::InvalidErasure),
        (ErasureRequest { parts: vec![], ..request("r", positions(&[1])) }, Code::InvalidErasure),
        (
            ErasureRequest { parts: vec![Part::Subject], ..request("r", positions(&[1])) },
            Code::InvalidErasure,
        ),
        (
            ErasureRequest { approved_by: Some("officer".into()), ..request("r", anna()) },
            Code::InvalidErasure,
        ),
        (ErasureRequest { basis: "x".repeat(300), ..request("r", anna()) }, Code::InvalidErasure),
        (request("r", ErasureTarget::Subject("nobody".into())), Code::NothingToErase),
        (request("r", ErasureTarget::Stream { name: name("none"), before: None }), Code::StreamNotFound),
        (request("r", ErasureTarget::Stream { name: name("$$s-1"), before: None }), Code::InvalidErasure),
    ];
    for (request, code) in cases {
        assert_eq!(store.erase(&request, false).unwrap_err().code, code, "{request:?}");
    }
    assert_eq!(store.head(), head);
    store.erase(&request("r-1", positions(&[1])), false).unwrap();
    let nothing = store.erase(&request("r-2", positions(&[1])), false).unwrap_err();
    assert_eq!(nothing.code, Code::NothingToErase);
}

#[test]
fn a_legal_hold_keeps_what_it_covers_until_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &Options::small());
    let holds = [
        HoldOn::Stream(name("s-1")),
        HoldOn::Category("s".to_owned()),
        HoldOn::Subject("anna@example.org".to_owned()),
    ];
    for (number, on) in holds.iter().enumerate() {
        let id = format!("case-{number}");
        store.begin_hold(&id, on, "litigation", "counsel").unwrap();
        assert_eq!(store.begin_hold(&id, on, "again", "counsel").unwrap_err().code, Code::HoldConflict);
        // anna's first event stands in s-1
        for target in [anna(), ErasureTarget::Events(vec![Position(1)])] {
            let refused = store.erase(&request("r-1", target), false).unwrap_err();
            assert_eq!((refused.code, refused.found.as_deref()), (Code::LegalHold, Some("litigation")));
        }
        assert_eq!(store.holds().unwrap().len(), 1);
        store.end_hold(&id, "settled", "counsel").unwrap();
        assert_eq!(store.end_hold(&id, "settled", "counsel").unwrap_err().code, Code::HoldConflict);
    }
    store.begin_hold("elsewhere", &HoldOn::Stream(name("s-0")), "litigation", "counsel").unwrap();
    drop(store);
    let store = Store::open(dir.path(), Options::small()).unwrap();
    let of_s_0 = ErasureTarget::Events(vec![Position(0)]);
    assert_eq!(store.erase(&request("r-1", of_s_0), false).unwrap_err().code, Code::LegalHold);
    assert_eq!(
        store.erase(&request("r-1", ErasureTarget::Events(vec![Position(1)])), false).unwrap().events,
        1
    );
}

fn backup(store: &Store, to: &Path) {
    let mut copy = Replica::open(to, &LogIdentity::of(&store.info()).unwrap(), &Options::small()).unwrap();
    while copy.head() < store.head() {
        let frames = store.read_frames(copy.head(), 1 << 20).unwrap();
        copy.append_frames(&frames.bytes).unwrap();
    }
    assert_eq!(copy.root(), store.info().root);
    copy.close().unwrap();
}

#[test]
fn a_backup_taken_after_an_erasure_is_whole_and_restores() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(&dir.path().join("store"), &Options::small());
    store.erase(&request("r-1", anna()), false).unwrap();
    backup(&store, &dir.path().join("backup"));
    assert!(!stands_in(&dir.path().join("backup"), b"anna@example.org"));
    let mut copy = Replica::open(
        dir.path().join("restored"),
        &LogIdentity::of(&store.info()).unwrap(),
        &Options::small(),
    )
    .unwrap();
    Backup::open(dir.path().join("backup"), &Options::small())
        .unwrap()
        .restore_into(&mut copy, &mut |_| {})
        .unwrap();
    copy.into_store().unwrap();
    let restored = Store::open(dir.path().join("restored"), Options::small()).unwrap();
    assert_eq!(all(&restored), all(&store));
    let whole =
        Replica::reopen(dir.path().join("backup"), &Options::small(), Depth::WholeLog, &mut |_| {}).unwrap();
    assert_eq!(whole.root(), store.info().root);
}

#[test]
fn a_backup_that_was_taken_before_goes_on_after_an_erasure() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(&dir.path().join("store"), &Options::small());
    backup(&store, &dir.path().join("backup"));
    store.erase(&request("r-1", anna()), false).unwrap();
    backup(&store, &dir.path().join("backup"));
}

#[test]
fn a_restored_backup_of_before_erases_again_what_its_log_says_was_erased() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(&dir.path().join("store"), &Options::small());
    backup(&store, &dir.path().join("backup"));
    store.erase(&request("r-1", anna()), false).unwrap();
    backup(&store, &dir.path().join("backup"));
    let identity = LogIdentity::of(&store.info()).unwrap();
    let mut copy = Replica::open(dir.path().join("restored"), &identity, &Options::small()).unwrap();
    Backup::open(dir.path().join("backup"), &Options::small())
        .unwrap()
        .restore_into(&mut copy, &mut |_| {})
        .unwrap();
    copy.into_store().unwrap();
    let restored = Store::open(dir.path().join("restored"), Options::small()).unwrap();
    assert_eq!(all(&restored), all(&store));
    assert!(!stands_in(&dir.path().join("restored"), b"anna@example.org"));
}

#[test]
fn readers_and_writers_go_on_while_events_are_erased() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &Options::small());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                while !done.load(std::sync::atomic::Ordering::Acquire) {
                    let events = all(store);
                    assert!(events.iter().zip(0..).all(|(event, at)| event.position.0 == at), "{reader}");
                    let stream = store.read(&ReadRequest::new(Selector::Stream(name("s-2")))).unwrap();
                    assert!(stream.events.len() >= 4);
                }
            });
        }
        let writer = scope.spawn(|| {
            for number in 200..260 {
                let about = event(number, (number % 2 == 0).then_some("ben@example.org"));
                let append = AppendRequest::to(name("s-2"), Expected::Any, [about]);
                store.append(append).unwrap();
            }
        });
        for number in 0..10 {
            let target = ErasureTarget::Events(vec![Position(number)]);
            store.erase(&request(&format!("r-{number}"), target), false).unwrap();
        }
        writer.join().unwrap();
        done.store(true, std::sync::atomic::Ordering::Release);
    });
    let root = store.info().root;
    drop(store);
    assert_eq!(rebuilt(dir.path(), &Options::small()).info().root, root);
}

#[test]
fn a_person_named_in_a_system_stream_can_be_erased_and_none_is_named_in_what_describes_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &Options::small());
    let about = |number| event(number, Some("anna@example.org"));
    store.append(AppendRequest::to(name("$own"), Expected::Any, [about(70)])).unwrap();
    let metadata = NewEvent { event_type: "$metadata".into(), ..about(71) };
    let refused = store.append(AppendRequest::to(name("$$s-1"), Expected::Any, [metadata])).unwrap_err();
    assert_eq!(refused.code, Code::InvalidDataSubject);
    assert_eq!(store.erase(&request("r-1", anna()), false).unwrap().events, 4);
    assert!(store.event_at(Position(12)).unwrap().erased);
}
