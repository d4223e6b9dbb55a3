use super::*;
use crate::append::log_tag;
use crate::log::reader::Reader;
use crate::{Options, Store};
use graven_model::{
    AppendRequest, ContentType, EventId, Expected, NewEvent, Position, ReadRequest, Selector, StoredEvent,
    StreamName,
};
use graven_proof::Hash;
use std::path::PathBuf;

/// A store of several segments, closed, and what it held.
struct Written {
    dir: tempfile::TempDir,
    log_id: [u8; 16],
    events: Vec<StoredEvent>,
    root: Hash,
}

const EVENTS: u64 = 400;

fn written() -> Written {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::small()).unwrap();
    for number in 0..EVENTS / 4 {
        let events = (0..4).map(|at| event(number * 4 + at));
        let stream = StreamName::new(&*format!("s-{}", number % 7)).unwrap();
        store.append(AppendRequest::to(stream, Expected::Any, events)).unwrap();
    }
    let log_id = EventId::parse(&store.info().log_id).unwrap().0;
    let (events, root) = (all(&store), store.info().root);
    store.close().unwrap();
    Written { dir, log_id, events, root }
}

fn event(number: u64) -> NewEvent {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let mut event = NewEvent::json(EventId(id), "T", vec![number as u8; 9_000]);
    event.content_type = ContentType::Binary;
    event.metadata = format!("{{\"n\":{number}}}").into();
    event
}

fn all(store: &Store) -> Vec<StoredEvent> {
    let mut events = Vec::new();
    let mut request = ReadRequest::new(Selector::All);
    loop {
        let page = store.read(&request).unwrap();
        events.extend(page.events);
        match page.next {
            Some(next) => request = request.from(next),
            None => return events,
        }
    }
}

impl Written {
    fn log(&self) -> Arc<Log> {
        let options = Options::small();
        Arc::new(Log::open(&options.env, &self.dir.path().join("log"), self.log_id, &options).unwrap())
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = std::fs::read_dir(self.dir.path().join("log"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
        paths.sort();
        paths
    }

    /// Erases the data of every third event of all sealed segments, and answers with what the store must show then.
    fn rewrite(&self) -> Vec<StoredEvent> {
        let log = self.log();
        let firsts: Vec<u64> = log.segments().iter().map(|segment| segment.first()).collect();
        let sealed = *firsts.last().unwrap();
        for first in &firsts[..firsts.len() - 1] {
            let done = log.rewrite_segment(*first, &mut |position, _| third(position)).unwrap();
            assert!(done.events > 10 && done.bytes_freed > 10 * 8_900, "{done:?}");
        }
        let mut events = self.events.clone();
        for event in events.iter_mut().filter(|event| event.position.0 < sealed && event.position.0 % 3 == 0)
        {
            (event.erased, event.event.data) = (true, bytes::Bytes::new());
        }
        events
    }
}

fn third(position: u64) -> Erase {
    Erase { data: position.is_multiple_of(3), ..Erase::default() }
}

#[test]
fn a_store_reads_rewritten_segments_with_the_index_of_before() {
    let written = written();
    assert!(written.segments().len() >= 3);
    let expected = written.rewrite();
    let store = Store::open(written.dir.path(), Options::small()).unwrap();
    assert_eq!(all(&store), expected);
    for position in (0..EVENTS).rev() {
        assert_eq!(store.event_at(Position(position)).unwrap(), expected[position as usize]);
    }
    for stream in 0..7 {
        let name = StreamName::new(&*format!("s-{stream}")).unwrap();
        let page = store.read(&ReadRequest::new(Selector::Stream(name.clone()))).unwrap();
        let own: Vec<_> = expected.iter().filter(|event| event.stream == name).cloned().collect();
        assert_eq!(page.events, own);
    }
    assert_eq!(store.info().root, written.root);
    // And goes on.
    let stream = StreamName::new("s-1").unwrap();
    store.append(AppendRequest::to(stream, Expected::Exists, [event(EVENTS)])).unwrap();
    assert_eq!(store.head().0, EVENTS + 1);
}

#[test]
fn index_and_tree_built_again_from_rewritten_segments_are_those_of_before() {
    let written = written();
    let expected = written.rewrite();
    for derived in ["index", "audit"] {
        std::fs::remove_dir_all(written.dir.path().join(derived)).unwrap();
    }
    let store = Store::open(written.dir.path(), Options::small()).unwrap();
    assert_eq!(store.info().root, written.root);
    assert_eq!(all(&store), expected);
}

#[test]
fn a_start_goes_on_from_an_index_that_ends_within_a_segment_that_was_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { index_flush_events: 50, ..Options::small() };
    let store = Store::open(dir.path(), options.clone()).unwrap();
    let stream = StreamName::new("s").unwrap();
    for number in 0..EVENTS {
        store.append(AppendRequest::to(stream.clone(), Expected::Any, [event(number)])).unwrap();
    }
    let (log_id, root) = (EventId::parse(&store.info().log_id).unwrap().0, store.info().root);
    store.close().unwrap();
    let written = Written { dir, log_id, events: Vec::new(), root };
    let log = written.log();
    for segment in log.segments().iter().rev().skip(1) {
        log.rewrite_segment(segment.first(), &mut |position, _| third(position)).unwrap();
    }
    drop(log);
    // Without the newer index files a start begins where an older one ends.
    let index = written.dir.path().join("index");
    let mut files: Vec<_> = std::fs::read_dir(&index).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    while let Some(newest) = files.pop().filter(|_| !files.is_empty()) {
        // A merge may have taken it already.
        match std::fs::remove_file(newest) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
        let store = Store::open(written.dir.path(), options.clone()).unwrap();
        assert_eq!((store.head().0, store.info().root), (EVENTS, root));
        // As a crash leaves it: without a newer index file.
        store.close().unwrap();
        for file in std::fs::read_dir(&index).unwrap().map(|entry| entry.unwrap().path()) {
            if !files.contains(&file) {
                std::fs::remove_file(file).unwrap();
            }
        }
    }
}

#[test]
fn who_reads_the_old_segment_reads_on_and_then_it_is_overwritten() {
    let written = written();
    let log = written.log();
    let segment = Arc::clone(&log.segments()[0]);
    let mut places = Vec::new();
    let begin = From { position: 0, offset: segment::HEADER_BYTES, previous: segment.header.previous };
    recovery::walk(&log, log_tag(written.log_id), begin, &mut |header, frame, offset| {
        let mut at = header.header_bytes();
        for _ in 0..header.count {
            places.push((offset + at as u64) as u32);
            at += RecordHead::decode(&frame[at..]).unwrap().total();
        }
        Ok(true)
    })
    .unwrap();
    let mut reader = Reader::new(&log);
    assert!(reader.fetch(0, places[0]).unwrap().record().unwrap().data_erased.is_none());
    let old = Arc::clone(&segment.file);
    drop(segment);
    log.rewrite_segment(0, &mut |position, _| third(position)).unwrap();
    let mut block = vec![0; 5_000];
    old.read_at(&mut block, 0).unwrap();
    assert!(block.iter().any(|byte| *byte != 0), "somebody reads it");
    // The same frame, where the reader is, and then the next one, where the index remembers it.
    assert!(reader.fetch(3, places[3]).unwrap().record().unwrap().data_erased.is_none());
    assert!(reader.fetch(6, places[6]).unwrap().record().unwrap().data_erased.is_some());
    old.read_at(&mut block, 0).unwrap();
    assert!(block.iter().all(|byte| *byte == 0), "nobody reads it any more");
}

#[test]
fn a_segment_nothing_is_erased_from_stays_as_it_is() {
    let written = written();
    let path = &written.segments()[0];
    let before = std::fs::read(path).unwrap();
    let log = written.log();
    let done = log.rewrite_segment(0, &mut |_, _| Erase::default()).unwrap();
    assert_eq!(done, Rewritten::default());
    assert_eq!(std::fs::read(path).unwrap(), before);
    assert!(!temporary_name(path).exists());
}

#[test]
fn the_segment_that_is_written_to_is_not_rewritten() {
    let written = written();
    let log = written.log();
    let last = log.segments().last().unwrap().first();
    let error = log.rewrite_segment(last, &mut |_, _| Erase::default()).unwrap_err();
    assert_eq!(error.code, Code::Internal);
}

#[test]
fn a_damaged_table_of_places_is_noticed() {
    let written = written();
    written.rewrite();
    let path = &written.segments()[0];
    let whole = std::fs::read(path).unwrap();
    for (what, at) in [("its last byte", whole.len() - 1), ("where it begins", 2_210), ("its magic", 2_200)] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(path, &damaged).unwrap();
        let error = Store::open(written.dir.path(), Options::small()).err().unwrap();
        assert_eq!(error.code, Code::Corrupted, "{what}");
    }
    std::fs::write(path, &whole[..whole.len() - 1]).unwrap();
    let error = Store::open(written.dir.path(), Options::small()).err().unwrap();
    assert_eq!(error.code, Code::Corrupted);
}
