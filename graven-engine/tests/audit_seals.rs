//! Seals of a store in this process: what they say of streams, and that they say the same however they were made.

use graven_engine::audit::{Completeness, Sealed, Trail};
use graven_engine::model::{
    AppendRequest, Code, EventId, Expected, NewEvent, ReadRequest, Revision, Selector, StreamName,
};
use graven_engine::{Options, Store};
use graven_proof::Hash;
use graven_proof::chain::StreamChain;
use graven_proof::control::Control;
use graven_proof::leaf::{Leaf, name_key};
use graven_proof::merkle::leaf_hash;
use graven_proof::trie::{Answer, StreamHead, StreamTrie, TrieProof, empty_trie_root};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn open(dir: &Path) -> Store {
    Store::open(dir, Options::small()).unwrap()
}

fn name(stream: &str) -> StreamName {
    StreamName::new(stream).unwrap()
}

fn event(number: u64) -> NewEvent {
    let id = EventId(u128::from(number + 1).to_be_bytes());
    NewEvent::json(id, "Tested", format!(r#"{{"number":{number}}}"#))
}

/// Appends events with these numbers, to 37 streams in turn.
fn append(store: &Store, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let stream = name(&format!("stream-{}", number % 37));
        store.append(AppendRequest::to(stream, Expected::Any, [event(number)])).unwrap();
    }
}

/// Appends one event to each of so many new streams.
fn append_new_streams(store: &Store, streams: std::ops::Range<u64>) {
    for first in streams.clone().step_by(100) {
        let mut request = AppendRequest::default();
        for number in first..streams.end.min(first + 100) {
            request =
                request.and_to(name(&format!("new-{number}")), Expected::NoStream, [event(1 << 32 | number)]);
        }
        store.append(request).unwrap();
    }
}

/// Where each stream stands after the first `size` leaves, by nothing but the leaves, whose chains hold.
fn chains(trail: &Trail, size: u64) -> BTreeMap<Hash, StreamChain> {
    let mut chains: BTreeMap<Hash, StreamChain> = BTreeMap::new();
    trail
        .leaves(0..size, |_, bytes| {
            let key = Leaf::decode(bytes).unwrap().stream_key;
            chains.entry(key).or_insert_with(|| StreamChain::new(key)).push(bytes).unwrap();
            Ok(())
        })
        .unwrap();
    chains
}

/// The trie over the first `size` leaves, made from the leaves alone.
fn from_leaves(trail: &Trail, size: u64) -> StreamTrie {
    let heads = chains(trail, size).into_iter().map(|(key, chain)| (key, *chain.head().unwrap()));
    let mut trie = StreamTrie::new();
    trie.extend(heads);
    trie
}

fn expect_seal_of_the_leaves(trail: &Trail, seal: &Sealed) {
    let mut expected = from_leaves(trail, seal.size);
    assert_eq!((seal.streams, seal.root), (expected.len() as u64, expected.root()));
}

/// Verifies, as an auditor does, that the seal is in the log and says this of the stream.
fn verify(trail: &Trail, seal: &Sealed, seal_leaf: &[u8], stream_key: &Hash, proof: &TrieProof) -> Answer {
    let checkpoint = trail.checkpoint(seal.position + 1).unwrap().unverified_head();
    let inclusion = trail.inclusion(seal.position, checkpoint.size).unwrap();
    checkpoint.verify_inclusion(seal.position, &leaf_hash(seal_leaf), &inclusion).unwrap();
    let leaf = Leaf::decode(seal_leaf).unwrap();
    let Control::MapRoot(map) = Control::decode(leaf.kind, leaf.body).unwrap() else { panic!("no seal") };
    assert_eq!((map.size, map.streams, map.root), (seal.size, seal.streams, seal.root));
    proof.verify(stream_key, &map.root).unwrap()
}

fn verify_stream(trail: &Trail, stream: &StreamName, proven: &Completeness) -> StreamHead {
    assert_eq!(name_key(&proven.name_salt, stream.as_str().as_bytes()), proven.stream_key);
    let Completeness { seal, map_root_leaf, stream_key, head, proof, .. } = proven;
    let answer = verify(trail, seal, map_root_leaf, stream_key, proof);
    assert_eq!(answer, Answer::Present(head.unwrap()));
    head.unwrap()
}

fn state_file(dir: &Path) -> PathBuf {
    dir.join("audit/streams")
}

#[test]
fn the_leaves_of_a_stream_lead_to_the_head_that_is_proven_and_no_fewer_do() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, 0..500);
    store.append(AppendRequest::to(name("ended"), Expected::Any, [event(1_000)])).unwrap();
    store.tombstone_stream(&name("ended"), Expected::Any).unwrap();
    store.delete_stream(&name("stream-6"), Expected::Any).unwrap();
    store.tombstone_stream(&name("never-lived"), Expected::Any).unwrap();
    let trail = store.trail();
    let seal = trail.seal().unwrap();
    assert_eq!((seal.position, seal.size, seal.streams), (504, 504, 40));
    let mut streams: Vec<_> = (0..37).map(|number| name(&format!("stream-{number}"))).collect();
    streams.extend([name("$$stream-6"), name("never-lived"), name("ended")]);
    let chains = chains(&trail, seal.size);
    for stream in &streams {
        let proven = trail.completeness(stream).unwrap();
        let head = verify_stream(&trail, stream, &proven);
        let chain = &chains[&proven.stream_key];
        chain.expect_complete(&Answer::Present(head)).unwrap();
        assert_eq!(head.tombstoned, ["ended", "never-lived"].contains(&stream.as_str()), "{stream}");
        assert!(StreamChain::new(proven.stream_key).expect_complete(&Answer::Present(head)).is_err());
    }
    let request = ReadRequest::new(Selector::Stream(name("stream-7")));
    let read = store.read(&request).unwrap().events.len() as u64;
    assert_eq!(trail.completeness(&name("stream-7")).unwrap().head.unwrap().next_version, read);
    // What comes later changes nothing about what was sealed.
    append(&store, 500..600);
    assert_eq!(trail.completeness(&name("stream-7")).unwrap().head.unwrap().next_version, read);
}

#[test]
fn a_name_nobody_used_is_not_found_and_a_key_nobody_has_is_proven_absent() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, 0..100);
    let trail = store.trail();
    assert_eq!(trail.completeness(&name("stream-1")).unwrap_err().code, Code::NotSealedYet);
    assert_eq!(trail.absence([7; 32]).unwrap_err().code, Code::NotSealedYet);
    trail.seal().unwrap();
    assert_eq!(trail.completeness(&name("nobody")).unwrap_err().code, Code::StreamNotFound);
    let proven = trail.absence([7; 32]).unwrap();
    let answer = verify(&trail, &proven.seal, &proven.map_root_leaf, &proven.stream_key, &proven.proof);
    assert_eq!((answer, proven.head), (Answer::Absent, None));
    let key = trail.completeness(&name("stream-1")).unwrap().stream_key;
    assert!(trail.absence(key).unwrap().head.is_some());
}

#[test]
fn a_stream_newer_than_the_last_seal_says_so_until_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, 0..10);
    let trail = store.trail();
    trail.seal().unwrap();
    store.append(AppendRequest::to(name("late"), Expected::NoStream, [event(77)])).unwrap();
    let error = trail.completeness(&name("late")).unwrap_err();
    assert_eq!(error.code, Code::NotSealedYet, "{error}");
    trail.seal().unwrap();
    let proven = trail.completeness(&name("late")).unwrap();
    assert_eq!(verify_stream(&trail, &name("late"), &proven).next_version, 1);
    // The seal before is an event of a stream, too.
    let audit = trail.completeness(&name("$audit")).unwrap();
    assert_eq!(verify_stream(&trail, &name("$audit"), &audit).next_version, 1);
}

#[test]
fn an_empty_log_can_be_sealed_and_has_no_streams() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let trail = store.trail();
    assert_eq!(trail.last_seal().unwrap(), None);
    let seal = trail.seal().unwrap();
    assert_eq!(seal, Sealed { position: 0, size: 0, streams: 0, root: empty_trie_root() });
    let proven = trail.absence([1; 32]).unwrap();
    let answer = verify(&trail, &seal, &proven.map_root_leaf, &[1; 32], &proven.proof);
    assert_eq!(answer, Answer::Absent);
    store.close().unwrap();
    assert_eq!(open(dir.path()).trail().seal().unwrap(), seal);
}

#[test]
fn nothing_but_records_about_the_log_is_not_sealed_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, 0..10);
    let first = store.trail().seal().unwrap();
    assert_eq!(store.trail().seal().unwrap(), first);
    assert_eq!(store.trail().last_seal().unwrap(), Some(first.clone()));
    store.close().unwrap();
    let store = open(dir.path());
    assert_eq!(store.trail().seal().unwrap(), first);
    assert_eq!(store.head().0, 11);
    append(&store, 10..11);
    assert_eq!(store.trail().seal().unwrap().size, 12);
}

#[test]
fn events_named_like_seals_in_streams_of_producers_are_no_seals() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, 0..10);
    let seal = store.trail().seal().unwrap();
    let forged = Control::MapRoot(graven_proof::control::MapRoot { size: 3, streams: 1, root: [0; 32] });
    let event = NewEvent::json(EventId([3; 16]), forged.event_type(), forged.encode());
    store.append(AppendRequest::to(name("forger"), Expected::Any, [event])).unwrap();
    assert_eq!(store.trail().last_seal().unwrap(), Some(seal));
    expect_seal_of_the_leaves(&store.trail(), &store.trail().seal().unwrap());
}

/// What is done to the file between two starts.
type Harm = fn(&Path, &[u8]);

#[test]
fn a_state_file_that_is_missing_damaged_older_or_foreign_costs_time_and_nothing_else() {
    let harms: [(&str, Harm); 7] = [
        ("nothing", |_, _| ()),
        ("missing", |path, _| std::fs::remove_file(path).unwrap()),
        ("cut off", |path, bytes| std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap()),
        ("empty", |path, _| std::fs::write(path, b"").unwrap()),
        ("flipped", |path, bytes| {
            let mut bytes = bytes.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }),
        ("older", |path, _| {
            std::fs::copy(path.with_extension("older"), path).unwrap();
        }),
        ("foreign", |path, _| {
            std::fs::copy(path.with_extension("foreign"), path).unwrap();
        }),
    ];
    let other = tempfile::tempdir().unwrap();
    let store = open(other.path());
    append(&store, 0..200);
    store.trail().seal().unwrap();
    store.close().unwrap();

    let dir = tempfile::tempdir().unwrap();
    let file = state_file(dir.path());
    let store = open(dir.path());
    append(&store, 0..100);
    store.trail().seal().unwrap();
    store.close().unwrap();
    std::fs::copy(&file, file.with_extension("older")).unwrap();
    std::fs::copy(state_file(other.path()), file.with_extension("foreign")).unwrap();
    for (round, (harm, apply)) in (1..).zip(harms) {
        let store = open(dir.path());
        append(&store, round * 100..round * 100 + 70);
        let trail = store.trail();
        let seal = trail.seal().unwrap();
        expect_seal_of_the_leaves(&trail, &seal);
        let proven = trail.completeness(&name("stream-3")).unwrap();
        verify_stream(&trail, &name("stream-3"), &proven);
        store.close().unwrap();
        apply(&file, &std::fs::read(&file).unwrap());
        // Asked for a proof before the first seal of a start.
        let store = open(dir.path());
        assert_eq!(store.trail().completeness(&name("stream-3")).unwrap(), proven, "{harm}");
        assert_eq!(store.trail().seal().unwrap(), seal, "{harm}");
        assert!(store.health().is_none(), "{harm}");
        store.close().unwrap();
    }
}

#[test]
fn a_state_file_of_a_log_that_went_back_is_left_aside() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, 0..50);
    store.trail().seal().unwrap();
    store.close().unwrap();
    let kept = tempfile::tempdir().unwrap();
    copy(dir.path(), kept.path());
    let store = open(dir.path());
    append(&store, 50..90);
    store.trail().seal().unwrap();
    store.close().unwrap();
    std::fs::copy(state_file(dir.path()), state_file(kept.path())).unwrap();
    let store = open(kept.path());
    append(&store, 100..180);
    let seal = store.trail().seal().unwrap();
    expect_seal_of_the_leaves(&store.trail(), &seal);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn appends_and_proofs_go_on_while_a_seal_is_made_and_callers_share_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append_new_streams(&store, 0..3_000);
    let trail = store.trail();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| append(&store, 0..400));
        let sealing: Vec<_> =
            (0..4).map(|_| scope.spawn(|| (store.head().0, trail.seal().unwrap()))).collect();
        let proving = scope.spawn(|| {
            for _ in 0..200 {
                match trail.completeness(&name("new-7")) {
                    Ok(proven) => drop(verify_stream(&trail, &name("new-7"), &proven)),
                    Err(error) => assert_eq!(error.code, Code::NotSealedYet, "{error}"),
                }
            }
        });
        proving.join().unwrap();
        for sealing in sealing {
            let (asked_at, seal) = sealing.join().unwrap();
            assert!(seal.size >= asked_at.min(3_000), "{seal:?} covers what was there at {asked_at}");
        }
        writing.join().unwrap();
    });
    let seal = trail.seal().unwrap();
    assert!(seal.size >= 3_400);
    expect_seal_of_the_leaves(&trail, &seal);
    let seals = store.stream_info(&name("$audit")).unwrap().last_revision.unwrap();
    assert!(seals <= Revision(5), "{seals:?}");
}

#[test]
fn a_store_seals_by_itself_and_once_more_when_it_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let options = |interval| Options { seal_interval: Some(interval), ..Options::small() };
    let store = Store::open(dir.path(), options(Duration::from_millis(5))).unwrap();
    append(&store, 0..10);
    let trail = store.trail();
    let all = store.head().0;
    while trail.last_seal().unwrap().is_none_or(|seal| seal.size < all) {
        std::thread::yield_now();
    }
    store.close().unwrap();
    let store = Store::open(dir.path(), options(Duration::from_secs(3600))).unwrap();
    let before = store.head().0;
    append(&store, 10..15);
    store.close().unwrap();
    let store = open(dir.path());
    let last = store.trail().last_seal().unwrap().unwrap();
    assert_eq!((last.size, last.position, store.head().0), (before + 5, before + 5, before + 6));
    store.close().unwrap();
    // Nothing new, nothing done; the same for a store that never had an event.
    Store::open(dir.path(), options(Duration::from_secs(3600))).unwrap().close().unwrap();
    assert_eq!(open(dir.path()).head().0, before + 6);
    let empty = tempfile::tempdir().unwrap();
    Store::open(empty.path(), options(Duration::from_secs(3600))).unwrap().close().unwrap();
    assert_eq!(open(empty.path()).head().0, 0);
}

#[test]
fn a_closed_store_seals_nothing_and_still_proves() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, 0..10);
    let trail = store.trail();
    let seal = trail.seal().unwrap();
    append(&store, 10..20);
    store.close().unwrap();
    drop(store);
    assert_eq!(trail.seal().unwrap_err().code, Code::Closed);
    assert_eq!(trail.completeness(&name("stream-3")).unwrap().seal, seal);
}

#[derive(Debug, Clone)]
enum Step {
    Append(u8, u8),
    Tombstone(u8),
    Delete(u8),
    Seal,
    Reopen,
    LoseState,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..12u8, 1..6u8).prop_map(|(stream, events)| Step::Append(stream, events)),
        1 => (0..12u8).prop_map(Step::Tombstone),
        1 => (0..12u8).prop_map(Step::Delete),
        3 => Just(Step::Seal),
        1 => Just(Step::Reopen),
        1 => Just(Step::LoseState),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn seals_made_step_by_step_are_those_of_a_trie_from_scratch(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        let stream = |number: u8| name(&format!("s-{number}"));
        for (step, number) in steps.into_iter().zip((0..).step_by(10)) {
            match step {
                Step::Append(to, events) => {
                    let events: Vec<_> = (number..number + u64::from(events)).map(event).collect();
                    let _ = store.append(AppendRequest::to(stream(to), Expected::Any, events));
                }
                Step::Tombstone(of) => drop(store.tombstone_stream(&stream(of), Expected::Any)),
                Step::Delete(of) => drop(store.delete_stream(&stream(of), Expected::Any)),
                Step::Seal => {
                    let head = store.head().0;
                    let seal = store.trail().seal().unwrap();
                    prop_assert!(seal.size == head || seal.position < head);
                    expect_seal_of_the_leaves(&store.trail(), &seal);
                }
                Step::Reopen => {
                    store.close().unwrap();
                    drop(store);
                    store = open(dir.path());
                }
                Step::LoseState => {
                    store.close().unwrap();
                    drop(store);
                    let _ = std::fs::remove_file(state_file(dir.path()));
                    store = open(dir.path());
                }
            }
        }
        expect_seal_of_the_leaves(&store.trail(), &store.trail().seal().unwrap());
        prop_assert!(store.health().is_none());
    }
}
