//! Payloads sealed under the key of their data subject: what readers see, what lies on disk, and what is left when the key is
//! gone.

use graven_engine::model::*;
use graven_engine::replica::{Backup, LogIdentity, Replica};
use graven_engine::{FollowRequest, FollowStep, Options, Store};
use std::path::Path;
use std::time::Duration;

fn name(stream: &str) -> StreamName {
    StreamName::new(stream).unwrap()
}

fn options() -> Options {
    Options { seal_subjects: true, index_flush_events: 40, ..Options::small() }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, options()).unwrap()
}

fn id(number: u64) -> EventId {
    EventId((u128::from(number) + 1).to_be_bytes())
}

/// About anna, with metadata.
fn about(subject: &str, number: u64) -> NewEvent {
    NewEvent {
        metadata: format!("{{\"from\":\"SECRET-M-{number}\"}}").into(),
        data_subject: Some(subject.into()),
        ..NewEvent::json(id(number), "Moved", format!("{{\"to\":\"SECRET-D-{number}\"}}"))
    }
    .tagged(["town:x"])
}

fn plain(number: u64) -> NewEvent {
    NewEvent::json(id(number), "Counted", format!("{{\"n\":{number}}}"))
}

fn put(store: &Store, stream: &str, events: impl IntoIterator<Item = NewEvent>) -> Receipt {
    store.append(AppendRequest::to(name(stream), Expected::Any, events)).unwrap()
}

/// Every way to read gives the same events; these.
fn everything(store: &Store) -> Vec<StoredEvent> {
    let request = ReadRequest::new(Selector::All).limit(1_000);
    let page = store.read(&request).unwrap();
    assert!(page.next.is_none());
    let events = page.events;
    let mut each = Vec::new();
    store
        .read_each(&request, None, |event| {
            each.push((event.data.to_vec(), event.metadata.to_vec(), event.erased))
        })
        .unwrap();
    assert!(each.iter().zip(&events).all(|((data, metadata, erased), event)| *data == event.event.data
        && *metadata == event.event.metadata
        && *erased == event.erased));
    let mut follower = store.follow(FollowRequest::new(Selector::All, Start::Start)).unwrap();
    let mut followed = Vec::new();
    while let Some(FollowStep::Events(step)) = follower.poll_next().unwrap() {
        followed.extend(step);
    }
    assert_eq!(followed, events);
    for event in &events {
        assert_eq!(store.event_at(event.position).unwrap(), *event);
        assert!(store.events_by_id(event.event.id).unwrap().contains(event));
    }
    let mut framed: Vec<StoredEvent> = Vec::new();
    loop {
        let from = Position(framed.len() as u64);
        let frames = store.read_opened_frames(from, 2_000).unwrap();
        if frames.bytes.is_empty() {
            break;
        }
        framed.extend(frame::events(&frames.bytes).map(Result::unwrap));
        assert_eq!(frames.next, Position(framed.len() as u64));
    }
    assert_eq!(framed, events);
    events
}

/// Whether any file below a directory holds these bytes.
fn on_disk(dir: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return on_disk(&path, bytes);
        }
        std::fs::read(&path).unwrap().windows(bytes.len()).any(|window| window == bytes)
    })
}

fn backup(store: &Store, dir: &Path, options: &Options) {
    let mut replica = Replica::open(dir, &LogIdentity::of(&store.info()).unwrap(), options).unwrap();
    loop {
        let frames = store.read_frames(replica.head(), 3_000).unwrap();
        if frames.bytes.is_empty() {
            break;
        }
        replica.append_frames(&frames.bytes).unwrap();
    }
    replica.close().unwrap();
}

fn shows_erased(events: &[StoredEvent], subject: &str) {
    for event in events.iter().filter(|event| event.event.data_subject.as_deref() == Some(subject)) {
        assert!(event.erased && event.event.data.is_empty() && event.event.metadata.is_empty());
    }
}

#[test]
fn an_event_about_somebody_looks_as_it_was_sent_and_lies_sealed_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let sent: Vec<NewEvent> = (0..60)
        .map(|number| match number % 3 {
            0 => plain(number),
            1 => about("anna", number),
            _ => NewEvent { metadata: Default::default(), ..about(&format!("p{}", number % 5), number) },
        })
        .collect();
    for (at, events) in sent.chunks(4).enumerate() {
        put(&store, &format!("person-{}", at % 3), events.to_vec());
    }
    let seen = |store: &Store| everything(store).into_iter().map(|event| event.event).collect::<Vec<_>>();
    assert_eq!(seen(&store), sent);
    let root = store.info().root;
    store.close().unwrap();
    assert!(!on_disk(&dir.path().join("log"), b"SECRET"));
    assert!(!on_disk(dir.path(), b"SECRET"));
    // Opened without the option: what was sealed is opened all the same.
    let store = Store::open(dir.path(), Options { seal_subjects: false, ..options() }).unwrap();
    assert_eq!(store.info().root, root);
    assert_eq!(seen(&store), sent);
    put(&store, "person-0", [about("anna", 1_000)]);
    store.close().unwrap();
    assert!(on_disk(&dir.path().join("log"), b"SECRET-D-1000"), "nothing is sealed without the option");
    // Recovered from nothing but the log.
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    std::fs::remove_dir_all(dir.path().join("audit")).unwrap();
    assert_eq!(seen(&open(dir.path()))[..60], sent);
}

#[test]
fn a_retry_gets_the_receipt_of_the_append_that_did_the_work_although_it_is_sealed_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let events = || vec![about("anna", 1), about("bert", 2), plain(3)];
    let request = |events| AppendRequest::to(name("person-1"), Expected::NoStream, events);
    let first = store.append(request(events())).unwrap();
    let again = store.append(request(events())).unwrap();
    assert_eq!((again.first_position, again.appended, again.duplicates), (first.first_position, 0, 3));
    store.destroy_subject_key("anna").unwrap();
    let again = store.append(request(events())).unwrap();
    assert_eq!((again.first_position, again.appended), (first.first_position, 0));
    assert_eq!(store.head(), Position(3));
}

#[test]
fn events_a_writer_has_not_seen_are_opened_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put(&store, "person-1", [about("anna", 1), about("anna", 2)]);
    let mut request = AppendRequest::to(name("person-1"), Expected::Revision(Revision(0)), [plain(3)]);
    request.unseen_max = 10;
    let error = store.append(request).unwrap_err();
    let error::Details::FailedChecks(checks) = error.details else { panic!("no failed checks") };
    assert_eq!(checks[0].unseen[0].event, about("anna", 2));
}

#[test]
fn limits_are_those_of_what_the_producer_sent() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let full = |number: u64, more: usize| {
        let data = vec![b'x'; limits::EVENT_BYTES_MAX - 20 + more];
        NewEvent {
            content_type: ContentType::Binary,
            data: data.into(),
            metadata: vec![b'y'; 20].into(),
            ..about("anna", number)
        }
    };
    put(&store, "person-1", [full(1, 0)]);
    assert_eq!(store.event_at(Position(0)).unwrap().event, full(1, 0));
    let request = AppendRequest::to(name("person-1"), Expected::Any, [full(2, 1)]);
    assert_eq!(store.append(request).unwrap_err().code, Code::EventTooLarge);
    let bad = NewEvent { data: "{".into(), ..about("anna", 3) };
    let request = AppendRequest::to(name("person-1"), Expected::Any, [bad]);
    assert_eq!(store.append(request).unwrap_err().code, Code::InvalidJson);
}

#[test]
fn a_stream_shows_as_much_as_its_metadata_says_when_the_key_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put(&store, "person-1", (0..5).map(|number| about("anna", number)));
    let metadata = NewEvent::json(id(50), "$metadata", r#"{"$maxCount":2}"#);
    put(&store, "$$person-1", [metadata]);
    let page = store.read(&ReadRequest::new(Selector::Stream(name("person-1")))).unwrap();
    assert_eq!(page.events.len(), 2);
    store.destroy_subject_key("anna").unwrap();
    let page = store.read(&ReadRequest::new(Selector::Stream(name("person-1")))).unwrap();
    assert_eq!(page.events.len(), 2);
}

#[test]
fn events_of_a_destroyed_key_are_erased_and_a_subject_that_comes_again_has_another() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 0..30 {
        put(
            &store,
            "person-1",
            [about(if number % 2 == 0 { "anna" } else { "bert" }, number), plain(100 + number)],
        );
    }
    let before = everything(&store);
    let root = store.info().root;
    assert!(store.destroy_subject_key("anna").unwrap());
    assert!(!store.destroy_subject_key("anna").unwrap());
    let after = everything(&store);
    shows_erased(&after, "anna");
    for (before, after) in before.iter().zip(&after) {
        if before.event.data_subject.as_deref() == Some("anna") {
            assert_eq!(
                StoredEvent {
                    erased: true,
                    event: NewEvent {
                        data: Default::default(),
                        metadata: Default::default(),
                        ..before.event.clone()
                    },
                    ..before.clone()
                },
                *after,
                "everything but the payload is there"
            );
        } else {
            assert_eq!(before, after);
        }
    }
    assert_eq!(store.info().root, root);
    put(&store, "person-1", [about("anna", 500)]);
    store.close().unwrap();
    let store = open(dir.path());
    let events = everything(&store);
    assert_eq!(events.last().unwrap().event, about("anna", 500));
    shows_erased(&events[..60], "anna");
}

#[test]
fn a_backup_shows_payloads_only_where_the_keys_are() {
    let home = tempfile::tempdir().unwrap();
    let path = |part: &str| home.path().join(part);
    let keys = Options { keys_dir: Some(path("keys")), ..options() };
    let store = Store::open(path("store"), keys.clone()).unwrap();
    put(&store, "person-1", (0..20).map(|number| about("anna", number)));
    put(&store, "person-2", (20..40).map(plain));
    backup(&store, &path("backup"), &keys);
    let opened = store.read_opened_frames(Position(0), 1 << 20).unwrap();
    let mut copy = Replica::open(path("wrong"), &LogIdentity::of(&store.info()).unwrap(), &keys).unwrap();
    let error = copy.append_frames(&opened.bytes).unwrap_err();
    assert_eq!(error.code, Code::Corrupted, "a copy takes what is stored and nothing else");
    assert!(!on_disk(&path("backup"), b"SECRET"));
    let sent = everything(&store);
    for with_keys in [false, true] {
        let to = path(&format!("restored-{with_keys}"));
        let options = if with_keys { keys.clone() } else { options() };
        let source = Backup::open(path("backup"), &options).unwrap();
        let mut replica = Replica::open(&to, source.identity(), &options).unwrap();
        source.restore_into(&mut replica, &mut |_| {}).unwrap();
        replica.into_store().unwrap();
        let restored = Store::open(&to, options).unwrap();
        assert_eq!(restored.info().root, store.info().root);
        let seen = everything(&restored);
        if with_keys {
            assert_eq!(seen, sent);
        } else {
            shows_erased(&seen, "anna");
            assert_eq!(seen[20..], sent[20..]);
        }
    }
    store.destroy_subject_key("anna").unwrap();
    shows_erased(&everything(&Store::open(path("restored-true"), keys).unwrap()), "anna");
}

#[test]
fn with_the_keys_of_another_store_events_are_erased_and_never_shown_as_ciphertext() {
    let home = tempfile::tempdir().unwrap();
    let path = |part: &str| home.path().join(part);
    let under = |keys: &str| Options { keys_dir: Some(path(keys)), ..options() };
    let store = Store::open(path("store"), under("one")).unwrap();
    put(&store, "person-1", [plain(0), about("anna", 1)]);
    let sent = everything(&store);
    store.close().unwrap();
    let other = Store::open(path("other"), under("two")).unwrap();
    put(&other, "person-1", [about("anna", 1)]);
    other.close().unwrap();
    let store = Store::open(path("store"), under("two")).unwrap();
    shows_erased(&everything(&store), "anna");
    store.close().unwrap();
    assert_eq!(everything(&Store::open(path("store"), under("one")).unwrap()), sent);
}

#[test]
fn a_key_destroyed_while_readers_run_takes_the_payload_from_all_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put(&store, "person-1", (0..50).map(|number| about("anna", number)));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    // Each sees all of it, then, in some page, the first erased one, and from then on nothing more.
                    let mut gone = false;
                    while !gone {
                        let page = store.read(&ReadRequest::new(Selector::All)).unwrap();
                        for event in &page.events {
                            assert!(event.erased || event.event == about("anna", event.position.0));
                            assert!(!gone || event.erased);
                            gone |= event.erased;
                        }
                    }
                })
            })
            .collect();
        assert!(store.destroy_subject_key("anna").unwrap());
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    shows_erased(&everything(&store), "anna");
    let mut follower = store.follow(FollowRequest::new(Selector::All, Start::End)).unwrap();
    put(&store, "person-1", [about("anna", 90)]);
    let step = follower.next_timeout(Duration::from_secs(20)).unwrap();
    assert!(matches!(step, Some(FollowStep::Events(events)) if events[0].event == about("anna", 90)));
}
