//! Whatever byte of a store is changed: verification finds it, or the byte means nothing and everything reads as before.

mod verify_support;

use graven_engine::model::{ReadRequest, Selector, StoredEvent};
use graven_engine::{Options, Store};
use proptest::prelude::*;
use std::path::Path;
use std::sync::LazyLock;
use verify_support::*;

static ORIGINAL: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    dir
});

fn events(dir: &Path) -> Vec<StoredEvent> {
    let store = Store::open(dir, Options::small()).unwrap();
    let mut request = ReadRequest::new(Selector::All);
    let mut events = Vec::new();
    loop {
        let page = store.read(&request).unwrap();
        events.extend(page.events);
        match page.next {
            Some(next) => request.start = next,
            None => return events,
        }
    }
}

/// Bytes of the segment that frames take.
static USED: LazyLock<usize> = LazyLock::new(|| {
    let forger = Forger::at(ORIGINAL.path());
    let last = forger.frames.last().unwrap();
    last.offset + last.header.length as usize
});

fn judge(file: &str, at: usize, by: u8) {
    let path = ORIGINAL.path().join(file);
    let dir = tempfile::tempdir().unwrap();
    copy(ORIGINAL.path(), dir.path());
    let path = dir.path().join(path.strip_prefix(ORIGINAL.path()).unwrap());
    change(&path, at, by);
    let report = check(dir.path());
    if report.is_clean() {
        assert_eq!(events(dir.path()), events(ORIGINAL.path()), "byte {at} of {file} was changed by {by}");
        let report = check(dir.path());
        assert!(report.is_clean());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn in_the_log(at in 0..1usize << 17, by in 1u8..) {
        let file = format!("log/{:020}.seg", 0);
        judge(&file, at % (*USED + 200), by);
    }

    #[test]
    fn in_the_tiles(level in 0..2usize, at in any::<prop::sample::Index>(), by in 1u8..) {
        let file = format!("audit/tiles-{level}");
        let length = std::fs::metadata(ORIGINAL.path().join(&file)).unwrap().len();
        judge(&file, at.index(length as usize), by);
    }

    #[test]
    fn in_the_checkpoints(at in 0..1536usize, by in 1u8..) {
        judge("checkpoints.log", at, by);
    }
}

#[test]
fn every_byte_of_the_used_part_of_the_log_that_holds_an_event_counts() {
    let dir = tempfile::tempdir().unwrap();
    copy(ORIGINAL.path(), dir.path());
    let path = segment(dir.path());
    for at in (FIRST_FRAME..*USED).step_by(397) {
        change(&path, at, 0x24);
        assert!(!check(dir.path()).is_clean(), "byte {at}");
        change(&path, at, 0x24);
    }
}

#[test]
fn every_byte_of_the_head_of_a_segment_counts() {
    let dir = tempfile::tempdir().unwrap();
    copy(ORIGINAL.path(), dir.path());
    let path = segment(dir.path());
    for at in (0..FIRST_FRAME).step_by(23).chain(2196..2232) {
        change(&path, at, 0x24);
        assert!(!check(dir.path()).is_clean(), "byte {at}");
        change(&path, at, 0x24);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever a disk or somebody puts there, a report comes of it.
    #[test]
    fn garbage_is_reported(
        file in 0..4usize,
        at in any::<prop::sample::Index>(),
        garbage in prop::collection::vec(any::<u8>(), 1..3000),
        cut in any::<bool>(),
    ) {
        let names = ["checkpoints.log".to_owned(), "audit/tiles-0".into(), "audit/tiles-1".into(), format!("log/{:020}.seg", 0)];
        let dir = tempfile::tempdir().unwrap();
        copy(ORIGINAL.path(), dir.path());
        let path = dir.path().join(&names[file]);
        let original = std::fs::read(&path).unwrap();
        let mut bytes = original.clone();
        let used = if file == 3 { *USED } else { bytes.len() };
        let at = at.index(used);
        let end = (at + garbage.len()).min(used);
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at..end].copy_from_slice(&garbage[..end - at]);
        }
        prop_assume!(bytes != original);
        std::fs::write(&path, bytes).unwrap();
        let report = check(dir.path());
        if file == 3 {
            prop_assert!(!report.is_clean() || at + 100 > used);
        } else if !cut {
            prop_assert!(!report.is_clean());
        }
    }
}
