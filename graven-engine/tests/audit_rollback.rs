//! Going back to an older copy on purpose: what is kept, who signs then, and what the log says of it.

use graven_engine::audit::{Loss, RolledBack, declare_rollback, survey_rollback};
use graven_engine::model::{
    AppendRequest, Code, EventId, Expected, Kind, NewEvent, ReadRequest, Selector, StreamName,
};
use graven_engine::{Options, Store};
use graven_proof::control::{Anchor, Control};
use graven_proof::note::{Algorithm, SignerKey};
use std::path::Path;

fn append(store: &Store, from: u64, count: u64) {
    for number in from..from + count {
        let id = EventId(u128::from(number + 1).to_be_bytes());
        let event = NewEvent::json(id, "Tested", "{}");
        store.append(AppendRequest::to(StreamName::new("tested").unwrap(), Expected::Any, [event])).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A store with its keys elsewhere, and yesterday's copy of it, 5 events and perhaps a rotation behind.
fn yesterday(dir: &Path, rotated: bool) -> (Options, std::path::PathBuf) {
    let options = Options { keys_dir: Some(dir.join("keys")), ..Options::small() };
    let (today, yesterday) = (dir.join("today"), dir.join("yesterday"));
    let store = Store::open(&today, options.clone()).unwrap();
    append(&store, 0, 10);
    store.trail().checkpoint(10).unwrap();
    store.close().unwrap();
    copy(&today, &yesterday);
    let store = Store::open(&today, options.clone()).unwrap();
    append(&store, 10, 5);
    if rotated {
        store.trail().rotate(false, None).unwrap();
    }
    store.trail().checkpoint(store.head().0).unwrap();
    store.close().unwrap();
    (options, yesterday)
}

#[test]
fn a_declared_rollback_keeps_what_was_signed_and_goes_on_with_another_key() {
    for rotated in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (options, data) = yesterday(dir.path(), rotated);
        assert_eq!(Store::open(&data, options.clone()).err().unwrap().code, Code::RollbackDetected);
        let RolledBack { lost, key, checkpoint } = declare_rollback(&data, &options, None).unwrap();
        let lost_size = lost.unverified_head().size;
        assert_eq!(lost_size, if rotated { 17 } else { 15 });
        assert!(data.join(format!("checkpoints.log.{lost_size}.lost")).exists());
        assert!(dir.path().join(format!("keys/high-water.{lost_size}.lost")).exists());

        let store = Store::open(&data, options).unwrap();
        let trail = store.trail();
        assert_eq!(trail.latest(), Some(checkpoint.clone()));
        let signing: Vec<_> = trail.key_history().unwrap().into_iter().filter(|key| key.signs).collect();
        assert!(signing.len() == 1 && signing[0].vkey == key);
        checkpoint.note().verify(&[key]).unwrap();
        let page = store.read(&ReadRequest::new(Selector::Types(vec!["$anchor".into()]))).unwrap();
        let body = Control::decode(Kind::Anchor, &page.events[0].event.data).unwrap();
        let Control::Anchor(Anchor::RolledBack { size, root, .. }) = body else { panic!("{body:?}") };
        assert_eq!((size, root), (lost_size, lost.unverified_head().root));
        append(&store, 20, 5);
        trail.checkpoint(store.head().0).unwrap();
        trail.rotate(true, None).unwrap();
    }
}

#[test]
fn what_a_rollback_loses_is_said_beforehand_and_nothing_is_changed_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let (options, data) = yesterday(dir.path(), false);
    let Loss { log, checkpoint, mark, lost } = survey_rollback(&data, &options, None).unwrap();
    assert_eq!((log.size, checkpoint.unwrap().size, lost.size), (10, 10, 15));
    assert_eq!((checkpoint.unwrap().root, mark), (log.root, Some(lost)));
    assert_eq!(survey_rollback(&data, &options, None).unwrap().lost, lost);
    assert_eq!(Store::open(&data, options.clone()).err().unwrap().code, Code::RollbackDetected);
    let today = dir.path().join("today");
    assert_eq!(survey_rollback(&today, &options, None).unwrap_err().code, Code::BadRequest);
    let store = Store::open(&today, options.clone()).unwrap();
    assert_eq!(survey_rollback(&today, &options, None).unwrap_err().code, Code::DataInUse);
    drop(store);
    let missing = survey_rollback(dir.path().join("none"), &options, None).unwrap_err();
    assert_eq!(missing.code, Code::UnknownFormat);
}

#[test]
fn a_log_that_went_another_way_than_what_was_signed_can_be_declared_too() {
    let dir = tempfile::tempdir().unwrap();
    let (options, data) = yesterday(dir.path(), false);
    // Without the mark yesterday's copy goes on, as a log that is longer than today's and another one.
    let no_mark = Options { high_water: Some(dir.path().join("no mark")), ..options.clone() };
    let store = Store::open(&data, no_mark).unwrap();
    append(&store, 100, 10);
    store.close().unwrap();
    assert_eq!(Store::open(&data, options.clone()).err().unwrap().code, Code::InconsistentHistory);
    let Loss { log, lost, .. } = survey_rollback(&data, &options, None).unwrap();
    assert_eq!((log.size, lost.size), (20, 15));
    let done = declare_rollback(&data, &options, None).unwrap();
    assert_eq!(done.lost.unverified_head(), lost);
    Store::open(&data, options).unwrap();
}

#[test]
fn nothing_is_put_aside_without_the_root_key_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (options, data) = yesterday(dir.path(), false);
    let root = SignerKey::from_seed("root".parse().unwrap(), Algorithm::Ed25519, &[7; 32]);
    std::fs::write(dir.path().join("keys/root.vkey"), format!("{}\n", root.verifier())).unwrap();
    for tried in [survey_rollback(&data, &options, None).err(), declare_rollback(&data, &options, None).err()]
    {
        assert_eq!(tried.unwrap().code, Code::RootKeyRequired);
    }
    assert!(data.join("checkpoints.log").exists() && dir.path().join("keys/high-water").exists());
    assert!(!dir.path().join("keys/rollback").exists());
    survey_rollback(&data, &options, Some(&root)).unwrap();
    declare_rollback(&data, &options, Some(&root)).unwrap();
    Store::open(&data, options).unwrap();
}

#[test]
fn a_rollback_that_was_interrupted_signs_nothing_until_it_is_declared_again() {
    let dir = tempfile::tempdir().unwrap();
    let (options, data) = yesterday(dir.path(), false);
    // What stands in the keys directory while a rollback is under way.
    let newest = Store::open(dir.path().join("today"), options.clone()).unwrap().trail().latest().unwrap();
    std::fs::write(dir.path().join("keys/rollback"), newest.to_string()).unwrap();
    std::fs::rename(data.join("checkpoints.log"), data.join("checkpoints.log.15.lost")).unwrap();
    std::fs::rename(dir.path().join("keys/high-water"), dir.path().join("keys/high-water.15.lost")).unwrap();
    assert_eq!(Store::open(&data, options.clone()).err().unwrap().code, Code::RollbackDetected);
    assert_eq!(survey_rollback(&data, &options, None).unwrap().lost, newest.unverified_head());
    let done = declare_rollback(&data, &options, None).unwrap();
    assert_eq!(done.lost, newest);
    assert!(!dir.path().join("keys/rollback").exists());
    Store::open(&data, options).unwrap();
}

#[test]
fn a_store_that_lost_nothing_cannot_be_declared_rolled_back() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = yesterday(dir.path(), false);
    let today = dir.path().join("today");
    assert_eq!(declare_rollback(&today, &options, None).unwrap_err().code, Code::BadRequest);
    Store::open(&today, options).unwrap();
}
