use super::*;
use crate::{Options, Store};
use graven_model::{AppendRequest, EventId, Expected, NewEvent, StreamName};
use graven_proof::leaf::log_genesis;

/// A store, and a sealer over it apart from its own, bounded so.
fn store_with(dir: &Path, streams: usize, at_once: usize) -> (Store, Sealer) {
    let store = Store::open(dir, Options::small()).unwrap();
    let sealer = sealer_over(&store, dir, streams, at_once);
    (store, sealer)
}

fn sealer_over(store: &Store, dir: &Path, streams: usize, at_once: usize) -> Sealer {
    let trail = store.trail();
    let (shared, control) = trail.parts();
    let mut sealer = Sealer::new(shared, control, &dir.join("audit"), log_genesis(trail.origin()));
    sealer.bounds.streams = streams;
    sealer.bounds.room.streams = at_once;
    sealer
}

/// Appends one event to each of these streams.
fn append(store: &Store, streams: std::ops::Range<u64>) {
    for stream in streams {
        let name = StreamName::new(format!("s-{stream}")).unwrap();
        let id = EventId((u128::from(store.head().0) + 1).to_be_bytes());
        store.append(AppendRequest::to(name, Expected::Any, [NewEvent::json(id, "Tested", "1")])).unwrap();
    }
}

#[test]
fn many_streams_are_sealed_in_several_steps_to_the_same_root() {
    let dir = tempfile::tempdir().unwrap();
    let (store, sealer) = store_with(dir.path(), 100_000, 500);
    append(&store, 0..2_500);
    let seal = sealer.seal().unwrap();
    assert_eq!(
        (seal.size, seal.streams),
        (2_500, 2_500),
        "up to where the log ended when the first step began"
    );
    let steps = store.stream_info(&StreamName::new(AUDIT_STREAM).unwrap()).unwrap().last_revision.unwrap().0;
    assert!(steps >= 2, "{steps}");
    // One that reads all of it at once, and for itself, agrees.
    let other = sealer_over(&store, &dir.path().join("elsewhere"), 100_000, 100_000);
    let found = other.look_up(&[1; 32]).unwrap().unwrap();
    assert_eq!(found.0, seal);
}

#[test]
fn beyond_the_bound_nothing_is_sealed_and_the_last_seal_still_proves() {
    let dir = tempfile::tempdir().unwrap();
    let (store, sealer) = store_with(dir.path(), 12, 1_000);
    append(&store, 0..10);
    let seal = sealer.seal().unwrap();
    append(&store, 10..15);
    let head = store.head();
    let error = sealer.seal().unwrap_err();
    assert_eq!(error.code, Code::TooManyStreams, "{error}");
    assert_eq!(sealer.trouble(), Some(error.clone()));
    assert_eq!(sealer.seal().unwrap_err(), error);
    assert_eq!(store.head(), head);
    let (found, _, proof) = sealer.look_up(&[1; 32]).unwrap().unwrap();
    assert_eq!(found, seal);
    proof.verify(&[1; 32], &seal.root).unwrap();
}

#[test]
fn a_seal_the_log_does_not_lead_to_is_reported_and_never_sealed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (store, sealer) = store_with(dir.path(), 1_000, 1_000);
    append(&store, 0..10);
    sealer.seal().unwrap();
    append(&store, 10..20);
    let wrong = MapRoot { size: 15, streams: 14, root: [9; 32] };
    store.trail().control().append(&Control::MapRoot(wrong)).unwrap();
    let head = store.head();
    for _ in 0..2 {
        let error = store.trail().seal().unwrap_err();
        assert_eq!(error.code, Code::Corrupted, "{error}");
    }
    assert_eq!(store.health().unwrap().code, Code::Corrupted);
    assert_eq!(store.trail().absence([1; 32]).unwrap_err().code, Code::Corrupted);
    assert_eq!(store.head(), head);
    // Appends and reads are none of its business.
    append(&store, 20..21);
}

#[test]
fn a_seal_whose_append_fails_leaves_the_last_one_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (store, sealer) = store_with(dir.path(), 1_000, 1_000);
    append(&store, 0..10);
    let seal = sealer.seal().unwrap();
    append(&store, 5..20);
    let before = sealer.look_up(&[1; 32]).unwrap();
    store.close().unwrap();
    assert_eq!(sealer.seal().unwrap_err().code, Code::Closed);
    assert_eq!(sealer.look_up(&[1; 32]).unwrap(), before);
    let mut standing = sealer.standing.lock();
    let Standing { trie, size, .. } = standing.as_mut().unwrap();
    assert_eq!((*size, trie.root()), (seal.size, seal.root));
}

#[test]
fn a_seal_that_is_interrupted_is_made_by_the_next_who_asks() {
    let dir = tempfile::tempdir().unwrap();
    let (store, sealer) = store_with(dir.path(), 10_000, 1_000);
    append(&store, 0..1_500);
    sealer.stop();
    assert_eq!(sealer.seal().unwrap_err().code, Code::Closed);
    assert_eq!(sealer.last().unwrap(), None);
    sealer.seal_last().unwrap();
    let seal = sealer.last().unwrap().unwrap();
    assert!(seal.size >= 1_500);
    assert_eq!(store.trail().seal().unwrap(), seal);
}
