//! What is done to a stopped store at file level, and what verification says of it: the code and the first bad position.

mod verify_support;

use graven_engine::Options;
use graven_engine::audit::{VerifyOptions, verify};
use graven_engine::model::frame::Record;
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::finding::{FindingCode, Trust};
use graven_proof::merkle::TreeHead;
use graven_proof::note::SignerKey;
use std::ops::ControlFlow;
use verify_support::*;

fn store() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    dir
}

#[test]
fn a_store_nobody_touched_is_clean() {
    let dir = store();
    let report = check(dir.path());
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!((report.checked, report.events, report.checkpoints), ([0, EVENTS], EVENTS, 4), "{report:#?}");
    assert_eq!(report.trust, Trust::OwnKeys);
    assert_eq!(report.last_good_checkpoint.unwrap().size, EVENTS);
    assert!(report.notes.is_empty(), "{:?}", report.notes);
}

#[test]
fn a_flipped_bit_is_named_by_what_it_hit() {
    use FindingCode::*;
    let dir = store();
    let mut forger = Forger::at(dir.path());
    for position in [0, 9, 255, 256, 301, EVENTS - 1] {
        let start = forger.body_offset(position);
        let body = forger.body(position).clone();
        let record = Record::decode(&body).unwrap();
        let data = body.len() - record.data.len();
        let metadata = body.windows(9).position(|window| window == br#"{"user":""#).unwrap();
        let stream = body.windows(5).position(|window| window == b"loan-").unwrap();
        for (at, code) in [
            (data, PayloadMismatch),
            (body.len() - 1, PayloadMismatch),
            (data - 16, PayloadMismatch),
            (metadata, MetaMismatch),
            (metadata - 17, MetaMismatch),
            (stream, LeafHashMismatch),
            (0, LeafHashMismatch),
            (1, LeafHashMismatch),
            (5, LeafHashMismatch),
        ] {
            let path = segment(dir.path());
            for bit in [1, 0x80] {
                change(&path, start + at, bit);
                let report = check(dir.path());
                expect(&report, code, Some(position));
                assert_eq!(report.findings(), 1, "{report:#?}");
                assert_eq!(report.last_good_checkpoint.unwrap().size, EVENTS, "the tree holds");
                change(&path, start + at, bit);
            }
        }
    }
    assert!(check(dir.path()).is_clean());
}

#[test]
fn a_flipped_bit_in_a_salt_is_named() {
    let dir = store();
    let mut forger = Forger::at(dir.path());
    let body = forger.body(3).clone();
    let stream = body.windows(5).position(|window| window == b"loan-").unwrap();
    change(&segment(dir.path()), forger.body_offset(3) + stream + "loan-3".len(), 4);
    let report = check(dir.path());
    expect(&report, FindingCode::LeafHashMismatch, Some(3));
    let first = report.first.unwrap();
    assert!(first.expected.contains("the salt of the stream name"), "{first:?}");
    assert_eq!((first.stream.as_deref(), first.stream_version), (Some("loan-3"), Some(0)));
}

#[test]
fn a_flipped_bit_in_a_frame_header_is_named() {
    use FindingCode::*;
    let dir = store();
    let forger = Forger::at(dir.path());
    let frame = &forger.frames[70];
    let (first, last) = (frame.header.first, frame.header.end() - 1);
    for (at, code, position) in [
        (0, LeafMalformed, first),
        (5, LeafMalformed, first),
        (8, LeafMalformed, first),
        (13, LeafMalformed, first),
        (16, LeafMalformed, first),
        (20, LeafMalformed, first),
        (28, PositionMismatch, first),
        (36, LeafHashMismatch, first),
        (44, LeafMalformed, first),
        (60, RootMismatch, last),
    ] {
        let path = segment(dir.path());
        change(&path, frame.offset + at, 1);
        let report = check(dir.path());
        expect(&report, code, Some(position));
        assert_eq!(report.findings(), 1, "byte {at}: {report:#?}");
        assert_eq!(report.events, EVENTS);
        change(&path, frame.offset + at, 1);
    }
}

#[test]
fn a_flipped_bit_in_the_head_of_a_record_is_malformed_there() {
    let dir = store();
    let forger = Forger::at(dir.path());
    for position in [8, 10, 11] {
        let head = forger.body_offset(position) - 12;
        for at in 0..12 {
            let path = segment(dir.path());
            change(&path, head + at, 2);
            let report = check(dir.path());
            expect(&report, FindingCode::LeafMalformed, Some(position));
            assert_eq!(report.findings(), 1, "byte {at}: {report:#?}");
            change(&path, head + at, 2);
        }
    }
}

#[test]
fn a_flipped_bit_in_a_tile_is_a_tile_mismatch() {
    let dir = store();
    for (level, index) in [(0u8, 0u64), (0, 100), (0, 255), (0, 256), (0, EVENTS - 1), (1, 0), (1, 1)] {
        let path = dir.path().join("audit").join(format!("tiles-{level}"));
        change(&path, index as usize * 32 + 7, 0x10);
        let report = check(dir.path());
        let position = (level == 0).then_some(index);
        expect(&report, FindingCode::TileMismatch, position);
        let tile = report.first.as_ref().unwrap().tile.unwrap();
        assert_eq!((tile.level, tile.index), (level, index));
        assert_eq!(report.findings(), 1, "{report:#?}");
        assert_eq!(report.last_good_checkpoint.unwrap().size, EVENTS);
        change(&path, index as usize * 32 + 7, 0x10);
    }
}

#[test]
fn a_flipped_bit_in_the_checkpoints_is_found_whatever_it_hit() {
    let dir = store();
    let path = dir.path().join("checkpoints.log");
    let length = std::fs::read(&path).unwrap().len();
    assert_eq!(length, 3 * 512);
    for at in (512..1024).step_by(3) {
        change(&path, at, 1);
        let report = check(dir.path());
        expect(&report, FindingCode::CheckpointSignatureInvalid, None);
        change(&path, at, 1);
    }
}

#[test]
fn a_checkpoint_with_a_checksum_that_fits_still_has_its_signature() {
    let dir = store();
    let path = dir.path().join("checkpoints.log");
    let mut bytes = std::fs::read(&path).unwrap();
    let block = &mut bytes[512..1024];
    let text = String::from_utf8(block[28..].to_vec()).unwrap();
    let root = text.lines().nth(2).unwrap();
    let at = 28 + text.find(root).unwrap();
    block[at] = if block[at] == b'A' { b'B' } else { b'A' };
    let crc = crc32c::crc32c(&block[8..]);
    block[4..8].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    expect(&check(dir.path()), FindingCode::CheckpointSignatureInvalid, None);
}

#[test]
fn an_altered_event_with_checksums_that_fit_differs_in_its_leaf() {
    for forgery in [Forgery::Checksums, Forgery::Roots] {
        let dir = store();
        let mut forger = Forger::at(dir.path());
        let body = forger.body(301);
        let last = body.len() - 2;
        body[last] ^= 1;
        forger.write(forgery);
        let report = check(dir.path());
        expect(&report, FindingCode::LeafHashMismatch, Some(301));
        let first = report.first.unwrap();
        assert!(first.actual.contains("its checksum holds"), "{first:?}");
        assert_eq!(
            report.last_good_checkpoint.unwrap().size,
            EVENTS,
            "the stored hashes are those that were signed"
        );
    }
}

#[test]
fn an_altered_last_event_is_told_from_an_altered_hash_of_it() {
    let dir = store();
    let mut forger = Forger::at(dir.path());
    let body = forger.body(EVENTS - 1);
    let last = body.len() - 2;
    body[last] ^= 1;
    forger.write(Forgery::Roots);
    expect(&check(dir.path()), FindingCode::LeafHashMismatch, Some(EVENTS - 1));
}

#[test]
fn swapped_events_are_found_at_the_first_of_them() {
    for (one, other) in [(100, 102), (100, 301), (7, 14)] {
        let dir = store();
        let mut forger = Forger::at(dir.path());
        let (a, b) = (forger.body(one).clone(), forger.body(other).clone());
        *forger.body(one) = b;
        *forger.body(other) = a;
        forger.write(Forgery::Checksums);
        expect(&check(dir.path()), FindingCode::LeafHashMismatch, Some(one));
    }
}

#[test]
fn an_event_dropped_from_the_middle_is_found_where_it_was() {
    for forgery in [Forgery::Checksums, Forgery::Roots] {
        let dir = store();
        let mut forger = Forger::at(dir.path());
        forger.drop_events(|position, _| position == 250);
        forger.write(forgery);
        expect(&check(dir.path()), FindingCode::LeafHashMismatch, Some(250));
    }
}

#[test]
fn a_dropped_stream_is_found_at_its_first_event() {
    let dir = store();
    let mut forger = Forger::at(dir.path());
    forger.drop_events(|_, record| record.stream == "loan-4");
    forger.write(Forgery::Roots);
    expect(&check(dir.path()), FindingCode::LeafHashMismatch, Some(4));
}

#[test]
fn a_dropped_tail_is_a_rollback() {
    let dir = store();
    let mut forger = Forger::at(dir.path());
    forger.frames.retain(|frame| frame.header.first < 500);
    for forgery in [Forgery::Checksums, Forgery::Everything] {
        forger.write(forgery);
        let report = check(dir.path());
        expect(&report, FindingCode::RollbackDetected, None);
        assert_eq!(report.last_good_checkpoint.as_ref().unwrap().size, 400);
        assert_eq!(report.first_bad_checkpoint.as_ref().unwrap().size, 600);
        assert!(report.first.as_ref().unwrap().actual.contains("500 events"));
    }
}

#[test]
fn a_tail_dropped_with_its_checkpoints_is_a_rollback_by_the_high_water_mark() {
    let dir = store();
    let mut forger = Forger::at(dir.path());
    forger.frames.retain(|frame| frame.header.first < 500);
    forger.write(Forgery::Everything);
    let path = dir.path().join("checkpoints.log");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..1024]).unwrap();
    expect(&check(dir.path()), FindingCode::RollbackDetected, None);
}

#[test]
fn everything_written_anew_without_the_key_contradicts_what_was_signed() {
    let dir = store();
    let mut forger = Forger::at(dir.path());
    forger.drop_events(|position, _| position == 250);
    let last = forger.frames.last_mut().unwrap();
    let mut one_more = last.bodies[0].clone();
    let record = Record::decode(&one_more).unwrap();
    let revision = record.revision;
    set_revision(&mut one_more, revision, revision + 1);
    last.bodies.push(one_more);
    forger.write(Forgery::Everything);
    let report = check(dir.path());
    expect(&report, FindingCode::InconsistentHistory, None);
    assert_eq!(report.last_good_checkpoint.as_ref().unwrap().size, 200);
    assert_eq!(report.first_bad_checkpoint.as_ref().unwrap().size, 400);
    let first = report.first.unwrap();
    assert!(first.actual.contains("positions 200 to 399"), "no position is made up: {first:?}");
}

#[test]
fn everything_written_anew_with_the_key_contradicts_a_pinned_checkpoint_and_nothing_else() {
    let dir = store();
    let pinned = {
        let bytes = std::fs::read(dir.path().join("checkpoints.log")).unwrap();
        let text = &bytes[512 + 28..1024];
        let end = text.iter().position(|byte| *byte == 0).unwrap();
        SignedCheckpoint::parse(&text[..end]).unwrap()
    };
    assert_eq!(pinned.unverified_head().size, 400);
    let mut forger = Forger::at(dir.path());
    let body = forger.body(250);
    let last = body.len() - 2;
    body[last] ^= 1;
    forger.write(Forgery::Everything);
    forger.sign_anew(EVENTS);

    let report = check(dir.path());
    assert!(report.is_clean(), "whoever holds the key can do this: {report:#?}");
    let options = VerifyOptions { trusted: vec![pinned], ..VerifyOptions::default() };
    let report = check_with(dir.path(), &options);
    expect(&report, FindingCode::InconsistentHistory, None);
    assert_eq!(report.first_bad_checkpoint.unwrap().size, 400);
}

#[test]
fn a_key_that_was_given_is_the_only_one_believed() {
    let dir = store();
    let stranger = SignerKey::from_seed(
        Forger::at(dir.path()).origin().parse().unwrap(),
        graven_proof::note::Algorithm::Ed25519,
        &[7; 32],
    );
    let options = VerifyOptions { vkeys: vec![stranger.verifier().clone()], ..VerifyOptions::default() };
    let report = check_with(dir.path(), &options);
    expect(&report, FindingCode::KeyUnknown, None);
    assert_eq!(report.trust, Trust::GivenKeys);
}

#[test]
fn without_keys_the_report_says_that_nobody_vouches() {
    let dir = store();
    std::fs::remove_dir_all(dir.path().join("keys")).unwrap();
    let report = check(dir.path());
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!(report.trust, Trust::NotVouched);
    std::fs::remove_file(dir.path().join("checkpoints.log")).unwrap();
    assert_eq!(check(dir.path()).trust, Trust::NoCheckpoints);
}

#[test]
fn a_pinned_checkpoint_of_another_log_is_refused() {
    let dir = store();
    let key =
        SignerKey::from_seed("elsewhere".parse().unwrap(), graven_proof::note::Algorithm::Ed25519, &[7; 32]);
    let foreign = SignedCheckpoint::sign(&TreeHead { size: 5, root: [1; 32] }, &key, &[], 0).unwrap();
    let options = VerifyOptions { trusted: vec![foreign], ..VerifyOptions::default() };
    let error =
        verify(dir.path(), &Options::small(), &options, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(error.code, graven_engine::model::Code::BadRequest);
}

#[test]
fn a_stretch_of_garbage_is_found_at_its_first_event_and_what_follows_is_still_read() {
    let dir = store();
    let forger = Forger::at(dir.path());
    let path = segment(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let start = forger.frames[30].offset;
    bytes[start..start + 700].fill(0xa5);
    let at = forger.body_offset(500) + 2;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let report = check(dir.path());
    expect(&report, FindingCode::LeafMalformed, Some(120));
    assert!(report.other_findings >= 1, "the event at position 500 is found as well: {report:#?}");
    assert_eq!(report.last_good_checkpoint.unwrap().size, EVENTS, "the stored hashes bridge the gap");
}

#[test]
fn what_is_found_is_what_is_there_and_nothing_is_changed_by_looking() {
    let dir = store();
    change(&segment(dir.path()), FIRST_FRAME + 200, 1);
    let before = std::fs::read(segment(dir.path())).unwrap();
    assert_eq!(check(dir.path()).first, check(dir.path()).first);
    assert_eq!(std::fs::read(segment(dir.path())).unwrap(), before);
}

#[test]
fn a_part_of_the_log_is_checked_on_its_own() {
    let dir = store();
    let forger = Forger::at(dir.path());
    let path = segment(dir.path());
    change(&path, forger.body_offset(100) + 30, 1);
    change(&path, forger.body_offset(500) + 30, 1);
    let part = |from, to| check_with(dir.path(), &VerifyOptions { from, to, ..VerifyOptions::default() });
    let report = part(Some(200), Some(480));
    assert_eq!(
        report.first.as_ref().and_then(|first| first.position),
        Some(100),
        "a damaged record is never passed over"
    );
    change(&path, forger.body_offset(100) + 30, 1);
    let report = part(Some(200), Some(480));
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!(report.checked, [200, 480]);
    assert_eq!(part(Some(201), Some(479)).checked, [201, 479]);
    assert_eq!(part(None, Some(500)).findings(), 0);
    assert_eq!(part(None, Some(501)).first.unwrap().position, Some(500));
    assert_eq!(part(None, Some(480)).findings(), 0);
    assert_eq!(part(Some(480), None).first.unwrap().position, Some(500));
}

#[test]
fn a_payload_that_is_gone_without_a_record_of_it_is_missing_and_not_erased() {
    use graven_engine::model::frame::{Erase, rewrite};
    let dir = store();
    let forger = Forger::at(dir.path());
    let path = segment(dir.path());
    let bytes = std::fs::read(&path).unwrap();
    let frame = &forger.frames[30];
    let end = frame.offset + frame.header.length as usize;
    for (erase, position) in [
        (Erase { data: true, ..Erase::default() }, frame.header.first + 2),
        (Erase { metadata: true, ..Erase::default() }, frame.header.first + 1),
    ] {
        let mut out = bytes[..frame.offset].to_vec();
        let changed = rewrite(&bytes[frame.offset..end], &mut out, |at, _| {
            if at == position { erase } else { Erase::default() }
        });
        assert_eq!(changed, Some(1));
        out.extend_from_slice(&bytes[end..]);
        std::fs::write(&path, out).unwrap();
        let report = check(dir.path());
        expect(&report, FindingCode::PayloadMissingUnauthorised, Some(position));
        assert_eq!(report.findings(), 1, "every hash holds: {report:#?}");
        assert_eq!(report.last_good_checkpoint.unwrap().size, EVENTS);
    }
}

/// As [`store`], with two seals of the stream heads among the events.
fn sealed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = graven_engine::Store::open(dir.path(), Options::small()).unwrap();
    append(&store, 0, 300);
    store.trail().seal().unwrap();
    append(&store, 300, 50);
    store.trail().seal().unwrap();
    append(&store, 350, 50);
    store.trail().checkpoint(0).unwrap();
    store.close().unwrap();
    dir
}

#[test]
fn sealed_roots_are_compared_with_a_trie_made_again() {
    let dir = sealed();
    let report = check(dir.path());
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!((report.map_roots, report.events), (2, 402));
}

#[test]
fn a_sealed_root_that_is_wrong_is_found_even_if_the_key_signed_it() {
    let dir = sealed();
    let mut forger = Forger::at(dir.path());
    let body = forger.body(351);
    let text = String::from_utf8_lossy(body).into_owned();
    let at = text.find(r#""root":""#).expect("it is a sealed root") + r#""root":""#.len();
    let at = body.len() - (text.len() - at);
    body[at] = if body[at] == b'0' { b'1' } else { b'0' };
    forger.write(Forgery::Everything);
    forger.sign_anew(402);
    let report = check(dir.path());
    expect(&report, FindingCode::MapRootMismatch, Some(351));
    assert_eq!(report.findings(), 1, "{report:#?}");
}

#[test]
fn keys_are_followed_through_the_log_and_believed_for_the_sizes_they_may_sign() {
    let dir = store();
    let first = log_key(dir.path());
    let store = graven_engine::Store::open(dir.path(), Options::small()).unwrap();
    store.trail().rotate(false, None).unwrap();
    append(&store, EVENTS, 20);
    let head = store.head().0;
    store.trail().checkpoint(head).unwrap();
    store.close().unwrap();
    let report = check(dir.path());
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!(report.last_good_checkpoint.as_ref().unwrap().size, head);
    let options = VerifyOptions { vkeys: vec![first.verifier().clone()], ..VerifyOptions::default() };
    let report = check_with(dir.path(), &options);
    assert!(report.is_clean(), "the first key authorised the second: {report:#?}");
    assert_eq!(report.last_good_checkpoint.unwrap().size, head);

    let forger = Forger::at(dir.path());
    let forged =
        SignedCheckpoint::sign(&TreeHead { size: head, root: forger.root() }, &first, &[], 0).unwrap();
    std::fs::write(dir.path().join("checkpoints.log"), block(&forged)).unwrap();
    expect(&check(dir.path()), FindingCode::KeyOutOfRange, None);
}
