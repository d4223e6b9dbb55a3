//! Every way to hand appends to a store, at the same time, over segments and index files small enough to end often.

use graven_engine::model::*;
use graven_engine::{Options, PendingAppend, Store};
use std::path::Path;

const APPENDS: u64 = 400;

fn name(stream: &str) -> StreamName {
    StreamName::new(stream).unwrap()
}

/// The `number`th append of a producer: to its own stream, where it must come right after the one before.
fn append(producer: &str, number: u64) -> AppendRequest {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let event = NewEvent::json(EventId(id), "Happened", vec![b'1'; 200 + (number % 7 * 500) as usize]);
    let expected =
        number.checked_sub(1).map_or(Expected::NoStream, |last| Expected::Revision(Revision(last)));
    AppendRequest::to(name(producer), expected, [event])
}

/// Tells how a producer hands over `count` appends beginning with a number.
type Way = fn(&Store, &str, u64, u64) -> Vec<Result<PendingAppend>>;

const WAYS: [(&str, u64, Way); 4] = [
    ("one-by-one", 1, |store, producer, first, _| vec![store.submit(append(producer, first))]),
    ("here", 1, |store, producer, first, _| vec![store.submit_here(append(producer, first))]),
    ("ahead", 8, |store, producer, first, count| {
        (first..first + count).map(|number| store.submit(append(producer, number))).collect()
    }),
    ("gathered", 16, |store, producer, first, count| {
        let mut gathered = store.gather();
        (first..first + count).map(|number| gathered.add(append(producer, number))).collect()
    }),
];

fn open(dir: &Path) -> Store {
    Store::open(dir, Options { segment_bytes: 1 << 20, index_flush_events: 300, ..Options::default() })
        .unwrap()
}

/// Runs a producer until it is done or refused; gives back the receipts.
fn produce(store: &Store, producer: &str, ahead: u64, way: Way) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for first in (0..APPENDS).step_by(ahead as usize) {
        for pending in way(store, producer, first, ahead) {
            match pending.and_then(PendingAppend::wait) {
                Ok(receipt) => receipts.push(receipt),
                // What comes after a refused append misses it.
                Err(error) if matches!(error.code, Code::Closed | Code::WrongExpectedRevision) => {
                    return receipts;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    receipts
}

fn check(store: &Store, produced: &[(String, Vec<Receipt>)]) {
    let mut positions = Vec::new();
    for (producer, receipts) in produced {
        for (receipt, revision) in receipts.iter().zip(0..) {
            assert_eq!(receipt.streams[0].revision, Some(Revision(revision)), "{producer}");
            positions.push(receipt.first_position.0);
            let event = store.event_at(receipt.first_position).unwrap();
            assert_eq!((event.stream.as_str(), event.revision), (producer.as_str(), Revision(revision)));
        }
    }
    positions.sort_unstable();
    positions.dedup();
    assert_eq!(positions.len(), produced.iter().map(|(_, receipts)| receipts.len()).sum::<usize>());
    assert!(store.head().0 >= positions.len() as u64);
}

#[test]
fn all_ways_at_once_keep_each_producers_order_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let produced: Vec<_> = std::thread::scope(|scope| {
        let producers: Vec<_> = (0..2)
            .flat_map(|round| WAYS.map(|(name, ahead, way)| (format!("{name}-{round}"), ahead, way)))
            .map(|(producer, ahead, way)| {
                let store = &store;
                scope.spawn(move || (producer.clone(), produce(store, &producer, ahead, way)))
            })
            .collect();
        producers.into_iter().map(|producer| producer.join().unwrap()).collect()
    });
    assert!(produced.iter().all(|(_, receipts)| receipts.len() as u64 == APPENDS));
    assert_eq!(store.head().0, APPENDS * produced.len() as u64);
    check(&store, &produced);
    drop(store);
    check(&open(dir.path()), &produced);
}

#[test]
fn a_producer_alone_is_served_whichever_way_it_chooses() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let produced: Vec<_> = WAYS
        .map(|(name, ahead, way)| (name.to_owned(), produce(&store, name, ahead, way)))
        .into_iter()
        .collect();
    assert!(produced.iter().all(|(_, receipts)| receipts.len() as u64 == APPENDS));
    check(&store, &produced);
}

#[test]
fn a_store_that_closes_answers_everybody_and_keeps_what_it_acknowledged() {
    for milliseconds in [1, 5, 20] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let produced: Vec<_> = std::thread::scope(|scope| {
            let producers: Vec<_> = WAYS
                .map(|(name, ahead, way)| {
                    let store = &store;
                    scope.spawn(move || (name.to_owned(), produce(store, name, ahead, way)))
                })
                .into_iter()
                .collect();
            std::thread::sleep(std::time::Duration::from_millis(milliseconds));
            store.close().unwrap();
            producers.into_iter().map(|producer| producer.join().unwrap()).collect()
        });
        drop(store);
        check(&open(dir.path()), &produced);
    }
}
