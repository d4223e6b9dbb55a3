//! Verifying a store while it goes on.

mod verify_support;

use graven_engine::audit::VerifyOptions;
use graven_engine::model::{Code, Expected, StreamName};
use graven_engine::{Options, Store};
use graven_proof::finding::{FindingCode, Report, Trust};
use std::ops::ControlFlow;
use verify_support::*;

fn check(store: &Store, options: &VerifyOptions) -> Report {
    store.verify(options, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn part(from: Option<u64>, to: Option<u64>) -> VerifyOptions {
    VerifyOptions { from, to, ..VerifyOptions::default() }
}

#[test]
fn an_open_store_is_clean_up_to_its_head() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let store = Store::open(dir.path(), Options::small()).unwrap();
    append(&store, EVENTS, 50);
    let report = check(&store, &VerifyOptions::default());
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!((report.checked, report.events), ([0, EVENTS + 50], EVENTS + 50));
    assert_eq!(report.trust, Trust::OwnKeys);
    assert_eq!(report.last_good_checkpoint.as_ref().unwrap().size, EVENTS);
    assert_eq!(report.notes, ["the last 50 events are under no checkpoint yet"]);
    let strict = VerifyOptions { strict: true, ..VerifyOptions::default() };
    expect(&check(&store, &strict), FindingCode::UnsignedTail, None);
    store.trail().checkpoint(EVENTS + 50).unwrap();
    assert!(check(&store, &strict).is_clean());
}

#[test]
fn an_empty_store_is_clean() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::small()).unwrap();
    let report = check(&store, &VerifyOptions::default());
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!((report.checked, report.trust), ([0, 0], Trust::NoCheckpoints));
}

#[test]
fn appends_go_on_while_a_store_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::small()).unwrap();
    append(&store, 0, 4000);
    let mut appended = 4000;
    let report = store
        .verify(&VerifyOptions::default(), &mut |_| {
            append(&store, appended, 10);
            appended += 10;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!(report.checked, [0, 4000]);
    assert!(appended > 4000, "the progress was told");
}

#[test]
fn streams_that_do_not_fit_in_memory_and_parts_of_the_log_are_found_in_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::small()).unwrap();
    let mut appended = 0;
    while store.info().segments < 3 {
        append(&store, appended, 500);
        appended += 500;
    }
    store.tombstone_stream(&StreamName::new("loan-3").unwrap(), Expected::Any).unwrap();
    let head = store.head().0;
    for from in [1, head / 2, head - 100, head - 1, head] {
        let report = check(&store, &part(Some(from), None));
        assert!(report.is_clean(), "from {from}: {report:#?}");
        assert_eq!(report.checked, [from, head]);
    }
    assert!(check(&store, &VerifyOptions::default()).is_clean());
}

#[test]
fn a_bit_that_flips_under_an_open_store_is_found() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let mut forger = Forger::at(dir.path());
    let store = Store::open(dir.path(), Options::small()).unwrap();
    let at = forger.body_offset(301) + forger.body(301).len() - 1;
    change(&segment(dir.path()), at, 1);
    // The file was written anew, so the store still sees the old one: change it in place.
    drop(store);
    let store = Store::open(dir.path(), Options::small()).unwrap();
    expect(&check(&store, &VerifyOptions::default()), FindingCode::PayloadMismatch, Some(301));
    expect(&check(&store, &part(Some(200), Some(400))), FindingCode::PayloadMismatch, Some(301));
    assert!(check(&store, &part(Some(400), None)).first.is_some(), "it lies in the segment that is read");
}

#[test]
fn a_check_can_be_ended() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let store = Store::open(dir.path(), Options::small()).unwrap();
    let error = store.verify(&VerifyOptions::default(), &mut |_| ControlFlow::Break(())).unwrap_err();
    assert_eq!(error.code, Code::Timeout);
}
