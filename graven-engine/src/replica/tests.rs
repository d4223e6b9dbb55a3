//! Copies of small stores: what is taken, what is refused, and what is left of a copy that was interrupted.

use super::{Backup, Depth, LogIdentity, Replica};
use crate::env::Env;
use crate::{Options, Store};
use bytes::Bytes;
use graven_model::{AppendRequest, Code, EventId, Expected, NewEvent, Position, StoredEvent, StreamName};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Small pages and index files, so that a few hundred events meet every border.
fn options() -> Options {
    Options { index_flush_events: 40, heads_max: 4, ..Options::small() }
}

fn store(dir: &Path) -> Store {
    Store::open(dir, options()).unwrap()
}

/// Appends `count` events to a few streams, with tags, subjects and metadata.
fn append(store: &Store, seed: u64, count: u64) {
    for number in 0..count {
        let mixed = (seed ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let id =
            EventId((u128::from(mixed) << 64 | u128::from(seed) << 32 | u128::from(number)).to_be_bytes());
        let data = format!("{{\"n\":{number},\"pad\":\"{}\"}}", "x".repeat((mixed % 300) as usize));
        let mut event = NewEvent::json(id, "Counted", data).tagged([format!("k:{}", mixed % 7)]);
        if mixed.is_multiple_of(3) {
            event.metadata = Bytes::from_static(b"{\"by\":\"test\"}");
        }
        if mixed.is_multiple_of(5) {
            event.data_subject = Some("somebody".into());
        }
        let stream = StreamName::new(format!("counter-{}", mixed % 11)).unwrap();
        store.append(AppendRequest::to(stream, Expected::Any, [event])).unwrap();
    }
}

fn identity(store: &Store) -> LogIdentity {
    LogIdentity::of(&store.info()).unwrap()
}

/// Copies what is new, `step` bytes at a time.
fn copy(store: &Store, replica: &mut Replica, step: usize) {
    let head = replica.head();
    if head > Position(0) {
        let frame = store.read_frames(Position(head.0 - 1), 1).unwrap();
        replica.joins(&frame.bytes, frame.head).unwrap();
    }
    loop {
        let frames = store.read_frames(replica.head(), step).unwrap();
        if frames.bytes.is_empty() {
            break;
        }
        assert_eq!(replica.append_frames(&frames.bytes).unwrap(), frames.next);
    }
}

fn backup(store: &Store, dir: &Path) -> Position {
    let mut replica = Replica::open(dir, &identity(store), &options()).unwrap();
    copy(store, &mut replica, 3_000);
    let head = replica.head();
    assert_eq!(replica.root(), store.info().root);
    replica.close().unwrap();
    head
}

fn restore(backup: &Path, target: &Path) -> graven_model::Result<()> {
    let backup = Backup::open(backup, &options())?;
    let mut replica = Replica::open(target, backup.identity(), &options())?;
    let mut reached = Position(0);
    backup.restore_into(&mut replica, &mut |position| reached = position)?;
    assert_eq!(reached, replica.head());
    replica.into_store()
}

fn events(store: &Store) -> Vec<StoredEvent> {
    (0..store.head().0).map(|position| store.event_at(Position(position)).unwrap()).collect()
}

fn verify(dir: &Path) -> graven_model::Result<Position> {
    let replica = Replica::reopen(dir, &options(), Depth::WholeLog, &mut |_| {})?;
    let head = replica.head();
    replica.close()?;
    Ok(head)
}

struct Place {
    _dir: TempDir,
    source: PathBuf,
    backup: PathBuf,
    target: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let path = |name| dir.path().join(name);
    Place { source: path("source"), backup: path("backup"), target: path("target"), _dir: dir }
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let disk = Env::real().disk;
    let mut found = Vec::new();
    for name in disk.list(dir).unwrap_or_default() {
        let path = dir.join(&name);
        match crate::env::read_file(&*disk, &path) {
            Ok(bytes) => found.push((path, bytes)),
            Err(_) => found.extend(files(&path)),
        }
    }
    found
}

#[test]
fn a_restored_store_is_the_one_that_was_backed_up() {
    let place = place();
    let source = store(&place.source);
    append(&source, 1, 300);
    assert_eq!(backup(&source, &place.backup), Position(300));
    append(&source, 2, 200);
    assert_eq!(backup(&source, &place.backup), Position(500));
    assert_eq!(backup(&source, &place.backup), Position(500), "nothing new");
    assert_eq!(verify(&place.backup).unwrap(), Position(500));

    restore(&place.backup, &place.target).unwrap();
    let restored = store(&place.target);
    assert_eq!(events(&restored), events(&source));
    let (theirs, ours) = (restored.info(), source.info());
    assert_eq!((theirs.root, theirs.log_id, theirs.created_at), (ours.root, ours.log_id, ours.created_at));
    assert_eq!(restored.stats(), source.stats());
    // It goes on as a store of its own.
    append(&restored, 3, 50);
    restored.close().unwrap();
    assert_eq!(store(&place.target).head(), Position(550));
}

#[test]
fn a_copy_of_many_segments_has_borders_of_its_own() {
    let place = place();
    let source = store(&place.source);
    for number in 0..60u128 {
        let payload = "y".repeat(100_000 + 1_000 * number as usize);
        let event = NewEvent::json(EventId(number.to_be_bytes()), "Large", format!("\"{payload}\""));
        let stream = StreamName::new(format!("large-{}", number % 3)).unwrap();
        source.append(AppendRequest::to(stream, Expected::Any, [event])).unwrap();
        if number % 17 == 0 {
            backup(&source, &place.backup);
        }
    }
    let mut replica = Replica::open(&place.backup, &identity(&source), &options()).unwrap();
    // Pages that span several segments of the copy.
    copy(&source, &mut replica, 3 << 20);
    drop(replica);
    backup(&source, &place.backup);
    let segments = |dir: &Path| {
        files(&dir.join("log"))
            .into_iter()
            .filter(|(path, _)| path.extension().is_some_and(|name| name == "seg"))
            .count()
    };
    assert!(segments(&place.backup) >= 7);
    assert_eq!(verify(&place.backup).unwrap(), Position(60));
    restore(&place.backup, &place.target).unwrap();
    assert_eq!(events(&store(&place.target)), events(&source));
    // Without a segment in the middle it is damaged, and so is what is made of it.
    let middle = files(&place.backup.join("log")).remove(3).0;
    Env::real().disk.remove(&middle).unwrap();
    assert_eq!(verify(&place.backup).unwrap_err().code, Code::Corrupted);
    assert_eq!(restore(&place.backup, &place.target.join("2")).unwrap_err().code, Code::Corrupted);
}

#[test]
fn a_copy_is_not_taken_for_a_store_nor_a_store_for_a_copy() {
    let place = place();
    let source = store(&place.source);
    append(&source, 1, 10);
    backup(&source, &place.backup);
    let refused = |result: graven_model::Result<()>| result.unwrap_err().code;
    assert_eq!(refused(Store::open(&place.backup, options()).map(|_| ())), Code::UnknownFormat);
    let identity = identity(&source);
    assert_eq!(refused(Replica::open(&place.source, &identity, &options()).map(|_| ())), Code::DataInUse);
    source.close().unwrap();
    assert_eq!(refused(Replica::open(&place.source, &identity, &options()).map(|_| ())), Code::UnknownFormat);
    assert_eq!(refused(Backup::open(&place.source, &options()).map(|_| ())), Code::UnknownFormat);
    assert_eq!(refused(Backup::open(&place.target, &options()).map(|_| ())), Code::UnknownFormat);
    assert!(files(&place.target).is_empty(), "a look leaves nothing behind");
}

#[test]
fn a_source_with_another_history_is_refused_and_changes_nothing() {
    let place = place();
    let source = store(&place.source);
    append(&source, 1, 60);
    backup(&source, &place.backup);
    // The same log as it was earlier, and one that went another way from there.
    let earlier = place.target.join("earlier");
    let early = Replica::open(&earlier, &identity(&source), &options());
    let mut early = early.unwrap();
    let frames = source.read_frames(Position(0), 2_000).unwrap();
    let rolled_back = early.append_frames(&frames.bytes).unwrap();
    early.into_store().unwrap();
    let before = files(&place.backup);

    let other = store(&place.target.join("other"));
    append(&other, 9, 80);
    let error = Replica::open(&place.backup, &identity(&other), &options()).err().unwrap();
    assert_eq!(error.code, Code::HistoryDiverged, "{error}");

    let join = |store: &Store| {
        let replica = Replica::open(&place.backup, &identity(&source), &options()).unwrap();
        let frame = store.read_frames(Position(replica.head().0 - 1), 1).unwrap();
        replica.joins(&frame.bytes, frame.head).unwrap_err()
    };
    let earlier = store(&earlier);
    let error = join(&earlier);
    assert_eq!(error.code, Code::HistoryDiverged);
    assert!(error.message.contains("rolled back"), "{error}");
    append(&earlier, 7, 70 - rolled_back.0);
    let error = join(&earlier);
    assert_eq!(error.code, Code::HistoryDiverged);
    assert!(error.message.contains("another history"), "{error}");

    // Frames that are handed over all the same are noticed too.
    let mut replica = Replica::open(&place.backup, &identity(&source), &options()).unwrap();
    for store in [&earlier, &other] {
        let frames = store.read_frames(replica.head(), 1_000).unwrap();
        assert_eq!(replica.append_frames(&frames.bytes).unwrap_err().code, Code::HistoryDiverged);
    }
    drop(replica);
    assert_eq!(files(&place.backup), before);
}

#[test]
fn frames_that_are_damaged_or_cut_off_write_nothing_and_the_copy_goes_on() {
    let place = place();
    let source = store(&place.source);
    append(&source, 4, 5);
    let good = source.read_frames(Position(0), 1 << 20).unwrap().bytes;
    let mut replica = Replica::open(&place.backup, &identity(&source), &options()).unwrap();
    for at in 0..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 1;
        assert!(replica.append_frames(&bad.into()).is_err(), "byte {at}");
    }
    for cut in [1, 83, 84, 100, good.len() - 1] {
        assert!(replica.append_frames(&good.slice(..cut)).is_err(), "cut at {cut}");
    }
    assert!(!files(&place.backup).iter().any(|(path, _)| path.extension().is_some_and(|name| name == "seg")));
    replica.append_frames(&good).unwrap();
    assert_eq!(replica.root(), source.info().root);
}

/// Gives a frame another root, with checksums that hold.
fn forge_root(frame: &Bytes) -> Bytes {
    let mut forged = frame.to_vec();
    forged[60] ^= 1;
    let crc = crc32c::crc32c(&forged[8..84]);
    forged[4..8].copy_from_slice(&crc.to_le_bytes());
    forged.into()
}

#[test]
fn a_frame_whose_root_is_not_that_of_its_events_is_refused_although_its_checksums_hold() {
    let place = place();
    let source = store(&place.source);
    append(&source, 4, 30);
    backup(&source, &place.backup);
    let before = files(&place.backup);
    append(&source, 5, 1);
    let frame = source.read_frames(Position(30), 1 << 20).unwrap().bytes;
    let mut replica = Replica::open(&place.backup, &identity(&source), &options()).unwrap();
    let error = replica.append_frames(&forge_root(&frame)).unwrap_err();
    assert_eq!(error.code, Code::Corrupted);
    assert!(error.message.contains("Merkle root"), "{error}");
    assert_eq!(replica.append_frames(&frame).unwrap_err().code, Code::Poisoned);
    assert_eq!(replica.sync().unwrap_err().code, Code::Poisoned);
    drop(replica);
    assert_eq!(files(&place.backup), before);
    assert_eq!(backup(&source, &place.backup), Position(31));
}

#[test]
fn a_copy_that_was_interrupted_goes_on_whatever_is_left_of_its_unsynced_end() {
    let place = place();
    let source = store(&place.source);
    append(&source, 6, 20);
    backup(&source, &place.backup);
    append(&source, 7, 20);
    let mut replica = Replica::open(&place.backup, &identity(&source), &options()).unwrap();
    copy(&source, &mut replica, 3_000);
    drop(replica);
    let segment = place.backup.join("log").join(crate::log::segment_name(0));
    let disk = Env::real().disk;
    let file = disk.open(&segment, crate::env::Open::Write).unwrap();
    let whole = crate::env::read_file(&*disk, &segment).unwrap();
    let synced = {
        let mut bytes = 4096u64;
        for frame in 0..20 {
            bytes += source.read_frames(Position(frame), 1).unwrap().bytes.len() as u64;
        }
        bytes as usize
    };
    // Cut off in the middle, and torn with everything behind it intact.
    for at in (synced..whole.len()).step_by(97) {
        for tear in [false, true] {
            file.set_len(0).unwrap();
            if tear {
                let mut torn = whole.clone();
                torn[at] ^= 0x55;
                file.write_at(&torn, 0).unwrap();
            } else {
                file.write_at(&whole[..at], 0).unwrap();
            }
            let replica = Replica::open(&place.backup, &identity(&source), &options()).unwrap();
            assert!(replica.head() >= Position(20) && replica.head() < Position(40), "byte {at}");
            drop(replica);
        }
    }
    assert_eq!(backup(&source, &place.backup), Position(40));
    assert_eq!(verify(&place.backup).unwrap(), Position(40));
    // What was reported as durable is not cut off but missed.
    file.set_len(synced as u64 + 10).unwrap();
    assert_eq!(verify(&place.backup).unwrap_err().code, Code::Corrupted);
    assert_eq!(restore(&place.backup, &place.target).unwrap_err().code, Code::Corrupted);
    assert_eq!(Store::open(&place.target, options()).err().unwrap().code, Code::UnknownFormat);
}

#[test]
fn every_flipped_byte_of_a_backup_is_noticed_or_was_not_used() {
    let place = place();
    let source = store(&place.source);
    append(&source, 8, 6);
    backup(&source, &place.backup);
    let disk = Env::real().disk;
    let all = files(&place.backup);
    let used =
        all.iter().filter(|(path, _)| path.extension().is_some_and(|name| name == "seg" || name == "json"));
    let mut noticed = 0;
    for (path, bytes) in used {
        let file = disk.open(path, crate::env::Open::Write).unwrap();
        for at in 0..bytes.len() {
            // The unused part of a segment's header, but for a few bytes of it.
            let unused = path.extension().is_some_and(|name| name == "seg") && (2200..4096).contains(&at);
            if unused && at % 500 != 0 {
                continue;
            }
            file.write_at(&[bytes[at] ^ 1], at as u64).unwrap();
            match verify(&place.backup) {
                Ok(head) => {
                    assert!(unused, "{} byte {at} is not noticed", path.display());
                    assert_eq!(head, Position(6));
                }
                Err(error) => {
                    assert!(
                        matches!(error.code, Code::Corrupted | Code::UnknownFormat),
                        "{} byte {at}: {error}",
                        path.display()
                    );
                    noticed += 1;
                }
            }
            file.write_at(&bytes[at..=at], at as u64).unwrap();
        }
    }
    assert!(noticed > 3_000);
    assert_eq!(verify(&place.backup).unwrap(), Position(6));
    let again = files(&place.backup);
    let log = |files: &[(PathBuf, Vec<u8>)]| {
        files
            .iter()
            .filter(|(path, _)| path.extension().is_some_and(|name| name == "seg"))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(log(&again), log(&all), "damage is told, not mended");
}

#[test]
fn derived_files_of_a_copy_may_be_lost_or_damaged() {
    let place = place();
    let source = store(&place.source);
    append(&source, 8, 200);
    backup(&source, &place.backup);
    let disk = Env::real().disk;
    for (path, bytes) in files(&place.backup) {
        let text = path.display().to_string();
        if text.contains("/index/") || text.contains("/audit/") {
            let file = disk.open(&path, crate::env::Open::Write).unwrap();
            file.write_at(&[bytes[bytes.len() / 2] ^ 1], bytes.len() as u64 / 2).unwrap();
        }
    }
    append(&source, 9, 100);
    assert_eq!(backup(&source, &place.backup), Position(300));
    for (path, _) in files(&place.backup) {
        let text = path.display().to_string();
        if text.contains("/index/") || text.contains("/audit/") {
            disk.remove(&path).unwrap();
        }
    }
    append(&source, 10, 100);
    assert_eq!(backup(&source, &place.backup), Position(400));
    restore(&place.backup, &place.target).unwrap();
    assert_eq!(events(&store(&place.target)), events(&source));
}

#[derive(Debug, Clone)]
enum Step {
    Append(u64, u64),
    Delete(u64),
    Tombstone(u64),
    Backup,
    /// Copies with pages of so many bytes, sometimes synced, and is then dropped.
    Interrupted(usize, bool),
    RestartSource,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (any::<u64>(), 1..60u64).prop_map(|(seed, count)| Step::Append(seed, count)),
        1 => (0..11u64).prop_map(Step::Delete),
        1 => (0..3u64).prop_map(Step::Tombstone),
        2 => Just(Step::Backup),
        2 => (1..20_000usize, any::<bool>()).prop_map(|(bytes, sync)| Step::Interrupted(bytes, sync)),
        1 => Just(Step::RestartSource),
    ];
    prop::collection::vec(step, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn backups_at_random_moments_restore_to_what_was_there(steps in steps()) {
        let place = place();
        let mut source = store(&place.source);
        append(&source, 77, 3);
        for step in steps {
            match step {
                Step::Append(seed, count) => append(&source, seed, count),
                Step::Delete(stream) => {
                    let stream = StreamName::new(format!("counter-{stream}")).unwrap();
                    let _ = source.delete_stream(&stream, Expected::Any);
                }
                Step::Tombstone(number) => {
                    let stream = StreamName::new(format!("ended-{number}")).unwrap();
                    let _ = source.tombstone_stream(&stream, Expected::Any);
                }
                Step::Backup => {
                    backup(&source, &place.backup);
                }
                Step::Interrupted(bytes, sync) => {
                    let mut replica = Replica::open(&place.backup, &identity(&source), &options()).unwrap();
                    copy(&source, &mut replica, bytes);
                    if sync {
                        replica.sync().unwrap();
                    }
                }
                Step::RestartSource => {
                    source.close().unwrap();
                    source = store(&place.source);
                }
            }
        }
        backup(&source, &place.backup);
        prop_assert_eq!(verify(&place.backup).unwrap(), source.head());
        restore(&place.backup, &place.target).unwrap();
        let restored = store(&place.target);
        prop_assert_eq!(restored.info().root, source.info().root);
        prop_assert_eq!(events(&restored), events(&source));
    }
}
