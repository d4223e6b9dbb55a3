use super::*;
use crate::{Options, Store};
use graven_model::{AppendRequest, EventId, Expected, NewEvent, ReadRequest, Selector, StreamName};
use graven_proof::finding::FindingCode;
use std::path::Path;

/// A store of three segments.
fn filled(dir: &Path) -> Store {
    let store = Store::open(dir, Options::small()).unwrap();
    let mut number = 0u128;
    while store.info().segments < 3 {
        number += 1;
        let event = NewEvent::json(EventId(number.to_be_bytes()), "Tested", "x".repeat(60_000));
        let event = NewEvent { content_type: graven_model::event::ContentType::Binary, ..event };
        let stream = StreamName::new(format!("stream-{}", number % 5)).unwrap();
        store.append(AppendRequest::to(stream, Expected::Any, [event])).unwrap();
    }
    store
}

fn work(store: &Store) -> Work {
    store.scrub_work(u64::MAX)
}

#[test]
fn a_pass_reads_everything_and_remembers_that_it_did() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let scrubber = Scrubber::default();
    scrubber.pass(&work(&store)).unwrap();
    scrubber.pass(&work(&store)).unwrap();
    let status = scrubber.status();
    assert_eq!((status.passes, status.events, status.findings), (2, 2 * store.head().0, 0));
    assert_eq!(status.cursor, Position(0));
    assert!(status.bytes > 3 << 20 && status.finished_at.is_some());
    let later = Scrubber::default();
    later.remember(&work(&store));
    assert_eq!((later.status().passes, later.status().finished_at), (2, status.finished_at));
    assert!(store.health().is_none());
}

#[test]
fn a_pass_that_is_stopped_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let second = store.scrub_work(1).shared.sources.log.segments()[1].first();
    let scrubber = Scrubber::default();
    scrubber.keep(&work(&store), &Kept { cursor: second, passes: 7, finished_at: None }).unwrap();
    scrubber.remember(&work(&store));
    *scrubber.stop.lock() = true;
    assert_eq!(scrubber.pass(&work(&store)).unwrap_err().code, Code::Timeout);
    assert_eq!(scrubber.status().cursor, Position(second));

    let later = Scrubber::default();
    later.remember(&work(&store));
    later.pass(&work(&store)).unwrap();
    let status = later.status();
    assert_eq!((status.passes, status.events), (8, store.head().0 - second));
}

#[test]
fn a_file_that_says_nonsense_means_the_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    for nonsense in ["", "{", r#"{"cursor":99999999,"passes":1,"finished_at":null}"#] {
        std::fs::write(dir.path().join("audit").join(FILE), nonsense).unwrap();
        let scrubber = Scrubber::default();
        scrubber.remember(&work(&store));
        scrubber.pass(&work(&store)).unwrap();
        assert_eq!(scrubber.status().events, store.head().0);
    }
}

#[test]
fn after_a_finding_the_store_takes_no_appends_and_goes_on_reading() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let path = store.scrub_work(1).shared.sources.log.segments()[1].path.clone();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"y", 4096 + 50_000).unwrap();
    let scrubber = Scrubber::default();
    scrubber.pass(&work(&store)).unwrap();
    let status = scrubber.status();
    let first = status.first.unwrap();
    assert_eq!((first.code, status.findings), (FindingCode::PayloadMismatch, 1));
    assert_eq!(status.events, store.head().0, "the pass goes on");

    assert_eq!(store.health().unwrap().code, Code::VerificationFailed);
    let stream = StreamName::new("stream-1").unwrap();
    let event = NewEvent::json(EventId([9; 16]), "Tested", "{}");
    let refused = store.append(AppendRequest::to(stream.clone(), Expected::Any, [event])).unwrap_err();
    assert_eq!(refused.code, Code::VerificationFailed);
    assert!(!store.read(&ReadRequest::new(Selector::Stream(stream)).limit(1)).unwrap().events.is_empty());
    assert_eq!(store.close().unwrap_err().code, Code::VerificationFailed);
}

#[test]
fn a_store_that_is_told_to_scrubs_by_itself_and_closes_in_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let options = Options { scrub_bytes_per_second: Some(1), ..Options::small() };
    let store = Store::open(dir.path(), options).unwrap();
    store.close().unwrap();
}
