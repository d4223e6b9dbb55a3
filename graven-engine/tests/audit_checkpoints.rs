//! Checkpoints of a store in this process: what they cover, who shares one, and which starts are refused.

use graven_engine::audit::Trail;
use graven_engine::env::{Clock, Env};
use graven_engine::model::{AppendRequest, Code, EventId, Expected, NewEvent, StreamName};
use graven_engine::{Options, Store};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::leaf::Leaf;
use graven_proof::merkle::leaf_hash;
use graven_proof::policy::Policy;
use graven_proof::tiles::{Bundle, Tile, decode_bundle};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

fn open(dir: &Path) -> Store {
    Store::open(dir, Options::small()).unwrap()
}

fn append(store: &Store, from: u64, count: u64) {
    for number in from..from + count {
        let id = EventId(u128::from(number + 1).to_be_bytes());
        let event =
            NewEvent::json(id, "Tested", format!(r#"{{"number":{number}}}"#)).tagged(["tag:1", "tag:2"]);
        let stream = StreamName::new(format!("stream-{}", number % 7)).unwrap();
        store.append(AppendRequest::to(stream, Expected::Any, [event])).unwrap();
    }
}

fn policy(trail: &Trail) -> Policy {
    let keys = trail.verifier_keys().unwrap();
    let logs: String = keys.iter().map(|key| format!("log {key}\n")).collect();
    Policy::parse(&format!("{logs}quorum none\n")).unwrap()
}

fn refused(dir: &Path, options: Options) -> Code {
    match Store::open(dir, options) {
        Err(error) => error.code,
        Ok(_) => panic!("the store opened"),
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
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

#[test]
fn every_event_is_proven_under_the_newest_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, 0, 300);
    let ended = StreamName::new("ended").unwrap();
    let event = NewEvent::json(EventId([255; 16]), "Tested", "{}");
    store.append(AppendRequest::to(ended.clone(), Expected::NoStream, [event])).unwrap();
    store.tombstone_stream(&ended, Expected::Any).unwrap();
    let trail = store.trail();
    assert!(trail.latest().is_none());
    let checkpoint = trail.checkpoint(store.head().0).unwrap();
    let policy = policy(&trail);
    let verified = checkpoint.verify(&policy).unwrap();
    assert_eq!(verified.origin(), store.info().origin);
    assert_eq!(verified.head().size, 302);
    assert_eq!(verified.head().root, store.info().root);
    for position in 0..302 {
        let bytes = trail.leaf(position).unwrap();
        assert_eq!(Leaf::decode(&bytes).unwrap().position, position);
        let proof = trail.proof(position, None).unwrap();
        proof.verify(&leaf_hash(&bytes), &policy).unwrap();
    }
    let earlier = trail.checkpoint(0).unwrap();
    assert_eq!(earlier, checkpoint);
    append(&store, 300, 50);
    let later = trail.checkpoint(store.head().0).unwrap();
    let proof = trail.consistency(302, 352).unwrap();
    later.unverified_head().verify_consistency(verified.head(), &proof).unwrap();
    let proof = trail.range(10..20, 302).unwrap();
    let leaves: Vec<_> = (10..20).map(|at| leaf_hash(&trail.leaf(at).unwrap())).collect();
    verified.head().verify_range(10..20, leaves, &proof).unwrap();
}

#[test]
fn tiles_and_bundles_are_those_of_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, 0, 300);
    let trail = store.trail();
    for tile in Tile::all_of_tree(300) {
        let bytes = trail.tile(&tile).unwrap();
        assert_eq!(bytes.len(), usize::from(tile.width) * 32);
    }
    let narrow = Tile { level: 0, index: 1, width: 3 };
    assert_eq!(trail.tile(&narrow).unwrap().len(), 96);
    for (index, width) in [(0, 256), (1, 44)] {
        let bundle = Bundle { index, width };
        let bytes = trail.bundle(&bundle).unwrap();
        let tile = trail.tile(&Tile { level: 0, index, width }).unwrap();
        let leaves = decode_bundle(&bytes, width).unwrap();
        let hashes: Vec<_> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
        assert_eq!(hashes.concat(), tile);
    }
    let wide = Tile { level: 0, index: 1, width: 45 };
    assert_eq!(trail.tile(&wide).unwrap_err().code, Code::SizeNotReached);
    assert_eq!(trail.tile(&Tile { level: 9, index: 0, width: 1 }).unwrap_err().code, Code::SizeNotReached);
    assert_eq!(trail.bundle(&Bundle { index: 1, width: 45 }).unwrap_err().code, Code::SizeNotReached);
    assert_eq!(trail.bundle(&Bundle { index: u64::MAX, width: 256 }).unwrap_err().code, Code::SizeNotReached);
}

#[test]
fn a_proof_for_a_size_that_does_not_exist_yet_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, 0, 5);
    let trail = store.trail();
    let codes = [
        trail.checkpoint(6).unwrap_err().code,
        trail.inclusion(0, 6).unwrap_err().code,
        trail.consistency(1, 6).unwrap_err().code,
        trail.range(0..1, 6).unwrap_err().code,
        trail.proof(0, Some(6)).unwrap_err().code,
        trail.proof(5, None).unwrap_err().code,
        trail.leaf(5).unwrap_err().code,
        trail.leaf(u64::MAX).unwrap_err().code,
    ];
    assert_eq!(codes, [Code::SizeNotReached; 8]);
    assert_eq!(trail.inclusion(5, 5).unwrap_err().code, Code::BadRequest);
    assert_eq!(trail.consistency(0, 5).unwrap_err().code, Code::BadRequest);
    assert_eq!(trail.proof(0, Some(4)).unwrap_err().code, Code::NeverSigned);
}

#[test]
fn a_checkpoint_is_the_same_after_the_store_was_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut signed: Vec<SignedCheckpoint> = Vec::new();
    for size in 0..20 {
        signed.push(store.trail().checkpoint(size).unwrap());
        append(&store, size, 1);
    }
    store.close().unwrap();
    assert_eq!(store.trail().checkpoint(20).unwrap_err().code, Code::Closed);
    let store = open(dir.path());
    let trail = store.trail();
    assert_eq!(trail.latest().as_ref(), signed.last());
    for (size, checkpoint) in signed.iter().enumerate() {
        assert_eq!(trail.checkpoint_of(size as u64).unwrap(), *checkpoint);
    }
    assert_eq!(trail.checkpoint_of(20).unwrap_err().code, Code::NeverSigned);
    let listed = trail.checkpoints(Some(4), 3).unwrap();
    assert_eq!(listed.iter().map(|stored| stored.size).collect::<Vec<_>>(), [5, 6, 7]);
    assert_eq!(trail.checkpoints(None, 1000).unwrap().len(), 20);
    assert_eq!(trail.checkpoints(Some(19), 1000).unwrap().len(), 0);
    assert_eq!(trail.checkpoints(None, 1001).unwrap_err().code, Code::InvalidLimit);
}

#[test]
fn callers_at_the_same_time_share_a_signature() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, 0, 10);
    let trail = store.trail();
    let answers: Vec<SignedCheckpoint> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..16).map(|_| scope.spawn(|| trail.checkpoint(10).unwrap())).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(trail.checkpoints(None, 100).unwrap().len(), 1);
}

#[test]
fn the_key_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let vkey = store.trail().verifier_keys().unwrap()[0].clone();
    let keys = dir.path().join("keys");
    let key = keys.join(format!("log-{}.key", vkey.id()));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&keys), mode(&key)), (0o700, 0o600));
    let public = std::fs::read_to_string(keys.join(format!("log-{}.vkey", vkey.id()))).unwrap();
    assert_eq!(public.trim_end(), vkey.to_string());
    store.close().unwrap();
    for path in [&keys, &key] {
        let before = std::fs::metadata(path).unwrap().permissions();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(refused(dir.path(), Options::small()), Code::KeysExposed);
        std::fs::set_permissions(path, before).unwrap();
    }
    open(dir.path());
}

#[test]
fn keys_of_another_store_are_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&one, &other] {
        open(dir.path()).trail().checkpoint(0).unwrap();
    }
    let options = Options { keys_dir: Some(other.path().join("keys")), ..Options::small() };
    assert_eq!(refused(one.path(), options), Code::WrongKey);
    let options = Options { high_water: Some(other.path().join("keys/high-water")), ..Options::small() };
    assert_eq!(refused(one.path(), options), Code::CheckpointSignatureInvalid);
}

#[test]
fn no_other_key_is_made_while_the_log_has_checkpoints_of_a_lost_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, 0, 1);
    store.trail().checkpoint(1).unwrap();
    store.close().unwrap();
    std::fs::rename(dir.path().join("keys"), dir.path().join("elsewhere")).unwrap();
    let store = open(dir.path());
    append(&store, 1, 1);
    assert_eq!(store.trail().checkpoint(2).unwrap_err().code, Code::NoSigningKey);
    assert_eq!(store.trail().verifier_keys().unwrap_err().code, Code::NoSigningKey);
    assert!(store.trail().latest().is_some());
}

#[test]
fn yesterdays_directory_in_place_of_todays_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (data, yesterday) = (dir.path().join("data"), dir.path().join("yesterday"));
    let options = || Options { high_water: Some(dir.path().join("mark")), ..Options::small() };
    let store = Store::open(&data, options()).unwrap();
    append(&store, 0, 30);
    store.trail().checkpoint(30).unwrap();
    store.close().unwrap();
    copy(&data, &yesterday);
    let store = Store::open(&data, options()).unwrap();
    append(&store, 30, 5);
    store.trail().checkpoint(35).unwrap();
    store.close().unwrap();

    let error = Store::open(&yesterday, options()).err().unwrap();
    assert_eq!(error.code, Code::RollbackDetected);
    assert!(error.expected.as_ref().unwrap().contains("35"), "{error}");
    assert!(error.found.as_ref().unwrap().contains("30"), "{error}");

    // It goes on from there, and is another history then.
    let unmarked = Options { high_water: Some(dir.path().join("other")), ..Options::small() };
    let store = Store::open(&yesterday, unmarked).unwrap();
    append(&store, 100, 10);
    store.trail().checkpoint(40).unwrap();
    store.close().unwrap();
    assert_eq!(refused(&yesterday, options()), Code::InconsistentHistory);
    Store::open(&data, options()).unwrap();
}

#[test]
fn checkpoints_that_are_missing_or_behind_are_taken_over_from_the_mark() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("checkpoints.log");
    let store = open(dir.path());
    append(&store, 0, 3);
    store.trail().checkpoint(1).unwrap();
    append(&store, 3, 3);
    let newest = store.trail().checkpoint(6).unwrap();
    store.close().unwrap();
    let whole = std::fs::read(&file).unwrap();
    let damaged = {
        let mut bytes = whole.clone();
        let last = bytes.len() - 100;
        bytes[last] ^= 1;
        bytes
    };
    for (bytes, there) in [
        (Some(&whole[..whole.len() - 1]), 2),
        (Some(&whole[..whole.len() - 512]), 2),
        (Some(&damaged[..]), 2),
        (Some(&whole[..]), 2),
        (None, 1),
    ] {
        match bytes {
            Some(bytes) => std::fs::write(&file, bytes).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let store = open(dir.path());
        assert_eq!(store.trail().latest(), Some(newest.clone()));
        assert_eq!(store.trail().checkpoint(6).unwrap(), newest);
        assert_eq!(store.trail().checkpoints(None, 10).unwrap().len(), there);
        store.close().unwrap();
    }
}

#[test]
fn a_checkpoint_flipped_in_the_middle_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("checkpoints.log");
    let store = open(dir.path());
    for size in 0..30 {
        append(&store, size, 1);
        store.trail().checkpoint(size + 1).unwrap();
    }
    store.close().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[512 * 7 + 60] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let store = open(dir.path());
    let error = store.trail().checkpoints(None, 100).unwrap_err();
    assert_eq!(error.code, Code::Corrupted);
    assert!(error.message.contains("byte 3584"), "{error}");
    assert_eq!(store.trail().checkpoint_of(8).unwrap_err().code, Code::Corrupted);
    assert_eq!(store.trail().checkpoints(Some(25), 100).unwrap().len(), 5);
}

#[test]
fn a_mark_of_which_neither_place_reads_is_no_reason_to_begin_another() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("keys/high-water");
    let store = open(dir.path());
    for size in 0..3 {
        append(&store, size, 1);
        store.trail().checkpoint(size + 1).unwrap();
    }
    store.close().unwrap();
    let whole = std::fs::read(&mark).unwrap();
    for slot in [0, 1] {
        let mut bytes = whole.clone();
        bytes[slot * 4096 + 40] ^= 1;
        std::fs::write(&mark, bytes).unwrap();
        let store = open(dir.path());
        assert_eq!(store.trail().latest().unwrap().unverified_head().size, 3);
        store.close().unwrap();
    }
    let mut bytes = whole.clone();
    bytes[40] ^= 1;
    bytes[4096 + 40] ^= 1;
    std::fs::write(&mark, bytes).unwrap();
    assert_eq!(refused(dir.path(), Options::small()), Code::Corrupted);
}

struct Jumping(AtomicI64);

impl Clock for Jumping {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn a_clock_that_jumps_back_moves_the_time_of_signing_and_no_commit_time() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(Jumping(AtomicI64::new(2_000_000)));
    let env = Env { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Env::real() };
    let store = Store::open(dir.path(), Options { env, ..Options::small() }).unwrap();
    append(&store, 0, 1);
    let trail = store.trail();
    assert_eq!(trail.checkpoint_stored(1).unwrap().signed_at.micros(), 2_000_000);
    clock.0.store(1_000_000, Ordering::Relaxed);
    append(&store, 1, 1);
    assert_eq!(trail.checkpoint_stored(2).unwrap().signed_at.micros(), 1_000_000);
    let times: Vec<i64> =
        (0..2).map(|at| Leaf::decode(&trail.leaf(at).unwrap()).unwrap().commit_time).collect();
    assert_eq!(times, [2_000_000, 2_000_000]);
}
