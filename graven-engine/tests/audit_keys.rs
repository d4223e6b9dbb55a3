//! Changes of the keys that sign a log: who signs when, who has to authorise it, and what an interruption leaves.

use graven_engine::audit::{LogKey, Trail};
use graven_engine::model::{
    AppendRequest, Code, EventId, Expected, Kind, NewEvent, ReadRequest, Selector, StreamName,
};
use graven_engine::{Options, Store};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::control::{Control, KeyChange};
use graven_proof::note::{Algorithm, KeyId, SignerKey, VerifierKey};
use graven_proof::policy::Policy;
use std::path::{Path, PathBuf};

fn open(dir: &Path) -> Store {
    Store::open(dir, Options::small()).unwrap()
}

fn append(store: &Store, number: u64) {
    let id = EventId(u128::from(number + 1).to_be_bytes());
    let event = NewEvent::json(id, "Tested", "{}");
    store.append(AppendRequest::to(StreamName::new("tested").unwrap(), Expected::Any, [event])).unwrap();
}

fn signed(store: &Store, number: u64) -> SignedCheckpoint {
    append(store, number);
    store.trail().checkpoint(store.head().0).unwrap()
}

fn is_signed_by(checkpoint: &SignedCheckpoint, key: &VerifierKey) -> bool {
    let policy = Policy::parse(&format!("log {key}\nquorum none\n")).unwrap();
    checkpoint.verify(&policy).is_ok()
}

fn private(dir: &Path, id: KeyId) -> PathBuf {
    dir.join(format!("keys/log-{id}.key"))
}

fn only_key(trail: &Trail) -> VerifierKey {
    let keys = trail.verifier_keys().unwrap();
    assert_eq!(keys.len(), 1);
    keys[0].clone()
}

/// The bodies of the log's records about keys.
fn changes(store: &Store) -> Vec<KeyChange> {
    let page = store.read(&ReadRequest::new(Selector::Types(vec!["$key".into()]))).unwrap();
    let bodies = page.events.iter().map(|event| Control::decode(Kind::Key, &event.event.data).unwrap());
    bodies
        .map(|body| match body {
            Control::Key(change) => change,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_rotation_with_overlap_has_both_keys_sign_until_the_old_one_is_retired() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let trail = store.trail();
    let before = signed(&store, 0);
    let old = only_key(&trail);
    let new = trail.rotate(true, None).unwrap();
    assert_ne!(old, new);
    let both = signed(&store, 1);
    assert!(is_signed_by(&both, &old) && is_signed_by(&both, &new));
    assert!(!is_signed_by(&before, &new));
    store.close().unwrap();

    let store = open(dir.path());
    let trail = store.trail();
    let both = signed(&store, 2);
    assert!(is_signed_by(&both, &old) && is_signed_by(&both, &new));
    trail.retire(old.id(), None).unwrap();
    assert!(!private(dir.path(), old.id()).exists() && private(dir.path(), new.id()).exists());
    let after = signed(&store, 3);
    assert!(!is_signed_by(&after, &old) && is_signed_by(&after, &new));
    assert_eq!(trail.retire(old.id(), None).unwrap_err().code, Code::NotFound);
    assert_eq!(trail.retire(new.id(), None).unwrap_err().code, Code::BadRequest);
    store.close().unwrap();

    let store = open(dir.path());
    let trail = store.trail();
    assert_eq!(trail.latest(), Some(after.clone()));
    for checkpoint in [&before, &both, &after] {
        let kept = trail.checkpoint_of(checkpoint.unverified_head().size).unwrap();
        assert_eq!(kept, *checkpoint);
        assert!(trail.verifier_keys().unwrap().iter().any(|key| is_signed_by(&kept, key)));
    }
    let history = trail.key_history().unwrap();
    let [first, second] = &history[..] else { panic!("{history:?}") };
    let expected = LogKey {
        vkey: old.clone(),
        added_at: None,
        valid_from: 0,
        valid_until: first.valid_until,
        last_good: None,
        signs: false,
    };
    assert_eq!(*first, expected);
    assert!(first.valid_until.unwrap() >= both.unverified_head().size);
    assert_eq!((&second.vkey, second.valid_until, second.signs), (&new, None, true));
    assert!(second.added_at.unwrap() < second.valid_from);
    for change in changes(&store) {
        let (KeyChange::Add { signatures, .. }
        | KeyChange::Retire { signatures, .. }
        | KeyChange::Revoke { signatures, .. }) = &change;
        let signer = if matches!(change, KeyChange::Add { .. }) { &old } else { &new };
        let signers: Vec<_> =
            signatures.iter().map(|one| one.signer(&change, trail.origin()).unwrap()).collect();
        assert_eq!(signers, std::slice::from_ref(signer));
    }
}

#[test]
fn a_rotation_without_overlap_leaves_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut keys = vec![{
        signed(&store, 0);
        only_key(&store.trail())
    }];
    for number in 1..4 {
        keys.push(store.trail().rotate(false, None).unwrap());
        let checkpoint = signed(&store, number);
        let signers = keys.iter().filter(|key| is_signed_by(&checkpoint, key)).count();
        assert!(signers == 1 && is_signed_by(&checkpoint, keys.last().unwrap()));
    }
    let history = store.trail().key_history().unwrap();
    assert_eq!(history.iter().map(|key| key.vkey.clone()).collect::<Vec<_>>(), keys);
    let last = history.windows(2).all(|pair| pair[0].valid_until.unwrap() >= pair[1].added_at.unwrap());
    assert!(last, "what authorised a key is good where it did: {history:?}");
}

#[test]
fn a_root_key_has_to_authorise_every_change() {
    let dir = tempfile::tempdir().unwrap();
    let root = SignerKey::from_seed("company/root".parse().unwrap(), Algorithm::Ed25519, &[1; 32]);
    let other = SignerKey::from_seed("company/root".parse().unwrap(), Algorithm::Ed25519, &[2; 32]);
    let store = open(dir.path());
    signed(&store, 0);
    store.close().unwrap();
    std::fs::write(dir.path().join("keys/root.vkey"), format!("{}\n", root.verifier())).unwrap();
    let store = open(dir.path());
    let trail = store.trail();
    let old = only_key(&trail);
    for wrong in [None, Some(&other)] {
        assert_eq!(trail.rotate(true, wrong).unwrap_err().code, Code::RootKeyRequired);
        assert_eq!(trail.revoke(old.id(), 0, wrong).unwrap_err().code, Code::RootKeyRequired);
    }
    assert_eq!(store.head().0, 1);
    trail.rotate(true, Some(&root)).unwrap();
    trail.retire(old.id(), Some(&root)).unwrap();
    for change in changes(&store) {
        let (KeyChange::Add { signatures, .. }
        | KeyChange::Retire { signatures, .. }
        | KeyChange::Revoke { signatures, .. }) = &change;
        let by_root = |one: &graven_proof::control::KeySignature| {
            one.signer(&change, trail.origin()).as_ref() == Some(root.verifier())
        };
        assert!(signatures.iter().any(by_root));
    }
}

#[test]
fn a_revoked_key_is_gone_and_says_up_to_where_it_was_good() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let trail = store.trail();
    let good = signed(&store, 0).unverified_head().size;
    let old = only_key(&trail);
    assert_eq!(trail.revoke(old.id(), good, None).unwrap_err().code, Code::BadRequest);
    assert_eq!(trail.revoke(KeyId([1; 4]), good, None).unwrap_err().code, Code::NotFound);
    trail.rotate(true, None).unwrap();
    assert_eq!(trail.revoke(old.id(), 1000, None).unwrap_err().code, Code::SizeNotReached);
    trail.revoke(old.id(), good, None).unwrap();
    assert!(!private(dir.path(), old.id()).exists());
    assert!(!is_signed_by(&signed(&store, 1), &old));
    assert_eq!(trail.key_history().unwrap()[0].last_good, Some(good));
    store.close().unwrap();
    assert!(!open(dir.path()).trail().key_history().unwrap()[0].signs);
}

#[test]
fn a_change_that_was_interrupted_is_finished_or_taken_back_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    signed(&store, 0);
    let old = only_key(&store.trail());
    let secret = std::fs::read(private(dir.path(), old.id())).unwrap();
    let new = store.trail().rotate(true, None).unwrap();
    store.trail().retire(old.id(), None).unwrap();
    store.close().unwrap();

    // Before the old key was destroyed, and before the new one was accepted.
    std::fs::write(private(dir.path(), old.id()), &secret).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(private(dir.path(), old.id()), mode).unwrap();
    let next = dir.path().join(format!("keys/next-{}.key", new.id()));
    std::fs::rename(private(dir.path(), new.id()), &next).unwrap();
    let store = open(dir.path());
    assert!(!private(dir.path(), old.id()).exists() && !next.exists());
    assert!(private(dir.path(), new.id()).exists());
    assert!(is_signed_by(&signed(&store, 1), &new));
    let newer = store.trail().rotate(true, None).unwrap();
    store.close().unwrap();

    // Before the log was told: the key is as if it had never been made.
    let told = SignerKey::from_seed(new.name().clone(), Algorithm::Ed25519, &[9; 32]);
    let untold = dir.path().join(format!("keys/next-{}.key", told.verifier().id()));
    std::fs::copy(private(dir.path(), newer.id()), &untold).unwrap();
    std::fs::write(&untold, told.to_secret_text()).unwrap();
    let store = open(dir.path());
    assert!(!untold.exists());
    assert_eq!(store.trail().verifier_keys().unwrap().len(), 3);
    store.close().unwrap();

    // A key that was put there by hand.
    let foreign = private(dir.path(), told.verifier().id());
    std::fs::copy(private(dir.path(), newer.id()), &foreign).unwrap();
    std::fs::write(&foreign, told.to_secret_text()).unwrap();
    assert_eq!(Store::open(dir.path(), Options::small()).err().unwrap().code, Code::WrongKey);
}
