//! Erasure told from loss.

mod verify_support;

use graven_engine::audit::{ErasureRequest, ErasureTarget, VerifyOptions};
use graven_engine::model::{Position, StreamName};
use graven_engine::{Options, Store};
use graven_proof::control::Part;
use graven_proof::finding::FindingCode;
use std::ops::ControlFlow;
use verify_support::*;

fn request(target: ErasureTarget, number: u32) -> ErasureRequest {
    ErasureRequest {
        target,
        parts: vec![Part::Data, Part::Metadata],
        request: format!("request-{number}"),
        basis: "gdpr-17".into(),
        decided_by: "officer".into(),
        approved_by: None,
    }
}

#[test]
fn what_was_erased_by_the_store_is_no_finding() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let store = Store::open(dir.path(), Options::small()).unwrap();
    let targets = [
        ErasureTarget::Events(vec![Position(250), Position(7)]),
        ErasureTarget::Stream { name: StreamName::new("loan-3").unwrap(), before: None },
        ErasureTarget::Subject("person-2".into()),
    ];
    for (target, number) in targets.into_iter().zip(0..) {
        store.erase(&request(target, number), false).unwrap();
    }
    let report = store.verify(&VerifyOptions::default(), &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(report.is_clean(), "{report:#?}");
    store.close().unwrap();
    let report = check(dir.path());
    assert!(report.is_clean(), "{report:#?}");
}

#[test]
fn what_is_put_back_after_its_erasure_is_found() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let before = std::fs::read(segment(dir.path())).unwrap();
    let store = Store::open(dir.path(), Options::small()).unwrap();
    store.erase(&request(ErasureTarget::Events(vec![Position(250)]), 0), false).unwrap();
    store.close().unwrap();
    assert!(check(dir.path()).is_clean());
    std::fs::write(segment(dir.path()), before).unwrap();
    expect(&check(dir.path()), FindingCode::ErasedButPresent, Some(250));
}
