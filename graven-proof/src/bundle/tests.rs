mod maker;

use super::*;
use crate::finding::{FindingCode, Report};
use crate::policy::Policy;
use maker::World;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

type Bundle = BTreeMap<String, Vec<u8>>;
type Change = fn(&mut EventLine);

fn trust() -> Policy {
    Policy::operator_alone(vec![maker::key(1).verifier().clone()]).unwrap()
}

fn judge(bundle: &Bundle) -> Report {
    check(bundle, Some(&trust()))
}

/// What `verify.py` says: the code and position that count, nothing if it accepts.
fn python(bundle: &Bundle, vkeys: &[String]) -> Option<(String, Option<u64>)> {
    let directory = tempfile::tempdir().unwrap();
    for (path, bytes) in bundle {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../graven/src/audit/verify.py");
    let mut command = Command::new("python3");
    command.arg("-B").arg(script);
    let output = command
        .args(vkeys.iter().flat_map(|vkey| ["--vkey", vkey]))
        .arg(directory.path())
        .output()
        .expect("the tests need python3");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return None;
    }
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("NOT PROVEN"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let (place, _) = text.split_once(':').unwrap();
    let mut words = place.split(' ');
    let code = words.next().unwrap().to_owned();
    let position = place.split_once(" at position ").and_then(|(_, rest)| rest.parse().ok());
    Some((code, position))
}

fn first_vkey() -> Vec<String> {
    vec![maker::key(1).verifier().to_string()]
}

#[track_caller]
fn accepted(bundle: &Bundle) {
    let report = judge(bundle);
    assert!(report.is_clean(), "{}", report.first.unwrap());
    assert_eq!(python(bundle, &first_vkey()), None);
}

/// Both checkers refuse, for the same reason.
#[track_caller]
fn refused(bundle: &Bundle, code: FindingCode) -> Report {
    let report = judge(bundle);
    let first = report.first.clone().expect("a finding");
    assert_eq!(first.code, code, "{first}");
    assert_eq!(python(bundle, &first_vkey()), Some((code.to_string(), first.position)), "{first}");
    report
}

#[test]
fn bundles_of_every_scope_are_accepted_by_both_checkers() {
    let world = World::full(530);
    let size = world.leaves.len() as u64;
    let all = world.bundle(Scope::All {});
    accepted(&all);
    assert_eq!((judge(&all).events, judge(&all).map_roots), (size, 1));
    accepted(&world.bundle(Scope::Range { start: 250, end: 270 }));
    accepted(&world.bundle(Scope::Range { start: 0, end: 1 }));
    accepted(&world.bundle(Scope::Range { start: size - 1, end: size }));
    let streams = world.streams(&["$audit", "ended", "order-1", "order-2"]);
    accepted(&streams);
    assert!(!streams.keys().any(|path| path.starts_with("tile/entries")));
}

#[test]
fn bundles_of_logs_of_every_small_size_are_accepted() {
    for size in [1, 2, 3, 248, 249, 250, 251, 252] {
        let mut world = World::new();
        (0..size).for_each(|_| world.append(&maker::event("one")));
        world.seal();
        let checkpoint =
            crate::checkpoint::SignedCheckpoint::sign(&world.head(), &maker::key(1), &[], 0).unwrap();
        accepted(&world.bundle_under(Scope::All {}, &checkpoint));
        let scope = Scope::Streams { streams: vec!["one".to_owned()] };
        accepted(&world.bundle_under(scope, &checkpoint));
    }
}

/// Changes the events and writes the manifest anew.
fn with_events(bundle: &Bundle, change: impl FnOnce(&mut Vec<EventLine>)) -> Bundle {
    let mut lines: Vec<EventLine> =
        bundle[EVENTS].split_terminator_lines().map(|line| serde_json::from_slice(line).unwrap()).collect();
    change(&mut lines);
    let mut bytes = Vec::new();
    for line in &lines {
        serde_json::to_writer(&mut bytes, line).unwrap();
        bytes.push(b'\n');
    }
    with_file(bundle, EVENTS, bytes)
}

fn with_file(bundle: &Bundle, path: &str, bytes: Vec<u8>) -> Bundle {
    let mut changed = bundle.clone();
    changed.insert(path.to_owned(), bytes);
    maker::remanifest(&mut changed);
    changed
}

fn without_file(bundle: &Bundle, path: &str) -> Bundle {
    let mut changed = bundle.clone();
    changed.remove(path).unwrap();
    maker::remanifest(&mut changed);
    changed
}

trait Lines {
    fn split_terminator_lines(&self) -> impl Iterator<Item = &[u8]>;
}

impl Lines for Vec<u8> {
    fn split_terminator_lines(&self) -> impl Iterator<Item = &[u8]> {
        self.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
    }
}

#[test]
fn a_bundle_without_a_key_from_elsewhere_does_not_pass() {
    let bundle = World::full(10).streams(&["order-1"]);
    let report = check(&bundle, None);
    assert_eq!(report.first.unwrap().code, FindingCode::KeyUnknown);
    assert_eq!((report.other_findings, report.trust), (0, crate::finding::Trust::NotVouched));
    assert_eq!(python(&bundle, &[]), Some(("KEY_UNKNOWN".to_owned(), None)));
}

#[test]
fn a_flipped_byte_in_any_file_is_refused_by_both() {
    let world = World::full(12);
    let mut seed = 1u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for bundle in [world.streams(&["order-1", "order-2"]), world.bundle(Scope::All {})] {
        for (path, bytes) in &bundle {
            if bytes.is_empty() {
                continue;
            }
            for sample in 0..10 {
                let mut changed = bundle.clone();
                let at = random(bytes.len());
                changed.get_mut(path).unwrap()[at] ^= 1 << random(8);
                assert!(!judge(&changed).is_clean(), "{path} byte {at}");
                let proof = path.starts_with("proofs/");
                if sample == 0 && (!proof || random(20) == 0) {
                    assert!(python(&changed, &first_vkey()).is_some(), "{path} byte {at}");
                }
            }
        }
    }
}

#[test]
fn a_flipped_byte_is_refused_also_when_the_manifest_is_written_anew() {
    let world = World::full(12);
    let bundle = world.bundle(Scope::All {});
    let free = [MANIFEST, MANIFEST_DIGEST, POLICY, KEYS, README, REPORT_HTML, REPORT_JSON, VERIFIER];
    let mut number = 0usize;
    for (path, bytes) in
        bundle.iter().filter(|(path, bytes)| !free.contains(&path.as_str()) && !bytes.is_empty())
    {
        for sample in 0..24 {
            number += 1;
            let at = (number * 7919) % bytes.len();
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (number % 8);
            let changed = with_file(&bundle, path, changed);
            assert!(!judge(&changed).is_clean(), "{path} byte {at}");
            if sample == 0 && number % 5 == 1 {
                assert!(python(&changed, &first_vkey()).is_some(), "{path} byte {at}");
            }
        }
    }
}

#[test]
fn a_file_that_is_missing_or_not_listed_is_refused() {
    let bundle = World::full(10).streams(&["order-1"]);
    let mut more = bundle.clone();
    more.insert("notes.txt".to_owned(), b"hello".to_vec());
    refused(&more, FindingCode::BundleFileMismatch);
    let mut less = bundle.clone();
    less.remove(README);
    refused(&less, FindingCode::BundleFileMismatch);
    maker::remanifest(&mut more);
    refused(&more, FindingCode::BundleMalformed);
    for path in [KEYS, KEY_HISTORY, ERASURES, EVENTS, POLICY] {
        refused(&without_file(&bundle, path), FindingCode::BundleMalformed);
    }
    refused(&without_file(&bundle, SEAL), FindingCode::BundleFileMismatch);
    let tile = bundle.keys().find(|path| path.starts_with("tile/0/")).unwrap();
    refused(&without_file(&bundle, tile), FindingCode::TileMismatch);
}

#[test]
fn a_stream_without_its_last_or_a_middle_event_is_refused() {
    let world = World::full(200);
    let bundle = world.streams(&["order-1"]);
    accepted(&bundle);
    refused(&with_events(&bundle, |lines| drop(lines.pop())), FindingCode::StreamIncomplete);
    refused(&with_events(&bundle, |lines| drop(lines.remove(2))), FindingCode::StreamVersionGap);
    refused(&with_events(&bundle, |lines| drop(lines.remove(0))), FindingCode::StreamVersionGap);
    refused(&with_events(&bundle, |lines| lines.clear()), FindingCode::StreamIncomplete);
    refused(&with_events(&bundle, |lines| lines.swap(1, 2)), FindingCode::StreamVersionGap);
    refused(&with_events(&bundle, |lines| lines.insert(1, lines[0].clone())), FindingCode::PositionMismatch);
    let other = world.streams(&["order-2"]);
    let stranger: EventLine =
        serde_json::from_slice(other[EVENTS].split_terminator_lines().next().unwrap()).unwrap();
    let added = with_events(&bundle, |lines| {
        lines.push(stranger);
        lines.sort_by_key(|line| line.position);
    });
    refused(&added, FindingCode::StreamIncomplete);
}

#[test]
fn a_range_with_a_gap_or_cut_is_refused() {
    let world = World::full(300);
    let bundle = world.bundle(Scope::Range { start: 100, end: 290 });
    accepted(&bundle);
    refused(&with_events(&bundle, |lines| drop(lines.pop())), FindingCode::PositionMismatch);
    refused(&with_events(&bundle, |lines| drop(lines.remove(50))), FindingCode::PositionMismatch);
    refused(&with_events(&bundle, |lines| drop(lines.remove(0))), FindingCode::PositionMismatch);
    let swapped = with_events(&bundle, |lines| {
        let (one, other) = (lines[10].payload.clone(), lines[11].payload.clone());
        (lines[10].payload, lines[11].payload) = (other, one);
    });
    assert_eq!(refused(&swapped, FindingCode::PayloadMismatch).first.unwrap().position, Some(110));
    let mut cut = with_events(&bundle, |lines| drop(lines.pop()));
    maker::manifest(&mut cut, Scope::Range { start: 100, end: 289 }, world.leaves.len() as u64);
    refused(&cut, FindingCode::ProofInvalid);
}

#[test]
fn a_changed_field_of_an_event_is_found_at_its_position() {
    let world = World::full(100);
    let bundle = world.streams(&["order-1"]);
    let position = world.lines.iter().filter(|line| line.stream == "order-1").nth(1).unwrap().position;
    let changes: [(Change, FindingCode); 15] = [
        (|line| line.payload = Some("e30=".to_owned()), FindingCode::PayloadMismatch),
        (|line| line.payload_salt = Some("00".repeat(32)), FindingCode::PayloadMismatch),
        (|line| line.payload = None, FindingCode::PayloadMissingUnauthorised),
        (|line| line.metadata = None, FindingCode::PayloadMissingUnauthorised),
        (|line| line.metadata = Some("e30=".to_owned()), FindingCode::MetaMismatch),
        (|line| line.event_type.push('x'), FindingCode::LeafHashMismatch),
        (|line| line.commit_time_us += 1, FindingCode::LeafHashMismatch),
        (|line| line.occurred_at_us = Some(9), FindingCode::LeafHashMismatch),
        (|line| line.version += 1, FindingCode::LeafHashMismatch),
        (|line| line.id = uuid(&[0; 16]), FindingCode::LeafHashMismatch),
        (|line| line.schema_id = 0, FindingCode::LeafHashMismatch),
        (|line| line.sealed = true, FindingCode::LeafHashMismatch),
        (|line| drop(line.tags.pop()), FindingCode::LeafHashMismatch),
        (|line| line.stream_salt = "00".to_owned(), FindingCode::LeafHashMismatch),
        (|line| line.leaf = Some("AAAA".to_owned()), FindingCode::LeafHashMismatch),
    ];
    for (number, (change, code)) in changes.into_iter().enumerate() {
        let first = refused(&with_events(&bundle, |lines| change(&mut lines[1])), code).first.unwrap();
        assert_eq!(first.position, Some(position), "change {number}");
    }
}

#[test]
fn what_is_absent_needs_a_record_of_its_erasure() {
    let world = World::full(100);
    let bundle = world.streams(&["order-1", "order-2"]);
    accepted(&bundle);
    refused(&with_file(&bundle, ERASURES, Vec::new()), FindingCode::PayloadMissingUnauthorised);
    let lines: Vec<Vec<u8>> = bundle[ERASURES].split_terminator_lines().map(<[u8]>::to_vec).collect();
    for left in &lines {
        let one = [left.as_slice(), b"\n"].concat();
        refused(&with_file(&bundle, ERASURES, one), FindingCode::PayloadMissingUnauthorised);
    }
    // what no record covers cannot be called erased
    let more = with_events(&bundle, |lines| {
        let line = lines.iter_mut().find(|line| line.erased.is_empty()).unwrap();
        (line.payload, line.payload_salt) = (None, None);
        line.erased = vec![crate::control::Part::Data];
    });
    refused(&more, FindingCode::PayloadMissingUnauthorised);
    // a record of another kind covers nothing
    let seal = world.seal.unwrap();
    let line = ControlLine::new(seal, &world.leaves[seal as usize]);
    let other = format!("{}\n", serde_json::to_string(&line).unwrap());
    refused(&with_file(&bundle, ERASURES, other.into()), FindingCode::BundleMalformed);
}

#[test]
fn what_is_still_there_after_its_erasure_is_a_finding() {
    let mut world = World::full(60);
    let first = world.lines.iter().position(|line| line.stream == "order-1").unwrap();
    let mut untouched = World::new();
    untouched.append(&maker::event("filler"));
    assert!(world.lines[first].payload.is_none());
    let target = crate::control::Target::Stream { stream_key: world.stream_key("filler"), before_version: 3 };
    let position = world.control(&crate::control::Control::Retention(crate::control::Retention {
        target,
        parts: vec![crate::control::Part::Data],
        events: 3,
        first: Some(0),
        rule: "truncated".to_owned(),
    }));
    world.erasures.push(position);
    world.seal();
    let bundle = world.streams(&["filler"]);
    assert_eq!(refused(&bundle, FindingCode::ErasedButPresent).first.unwrap().position, Some(0));
    let gone = with_events(&bundle, |lines| {
        for line in &mut lines[..3] {
            (line.payload, line.payload_salt) = (None, None);
            line.erased = vec![crate::control::Part::Data];
        }
    });
    accepted(&gone);
}

#[test]
fn a_checkpoint_of_another_key_size_or_log_is_refused() {
    use crate::checkpoint::SignedCheckpoint;
    let world = World::full(60);
    let scope = || Scope::Streams { streams: vec!["order-1".to_owned()] };
    let bundle = world.bundle(scope());
    let signed = |head, key: &crate::note::SignerKey| SignedCheckpoint::sign(&head, key, &[], 0).unwrap();

    let stranger = signed(world.head(), &maker::key(9));
    refused(&world.bundle_under(scope(), &stranger), FindingCode::KeyUnknown);
    // the first key was retired before this size
    let retired = signed(world.head(), &maker::key(1));
    refused(&world.bundle_under(scope(), &retired), FindingCode::KeyOutOfRange);
    // an older one, which is smaller
    let hashes = world.hashes();
    let size = hashes.len() as u64 - 1;
    let root = crate::merkle::root_of(&hashes[..hashes.len() - 1]);
    let older = signed(crate::merkle::TreeHead { size, root }, &maker::key(2)).to_string();
    refused(&with_file(&bundle, CHECKPOINT, older.clone().into()), FindingCode::BundleFileMismatch);
    let mut smaller = bundle.clone();
    smaller.insert(CHECKPOINT.to_owned(), older.into());
    maker::manifest(&mut smaller, scope(), size);
    refused(&smaller, FindingCode::BundleMalformed);
    // another root of the same size
    let other = signed(crate::merkle::TreeHead { root: [7; 32], ..world.head() }, &maker::key(2));
    refused(&world.bundle_under(scope(), &other), FindingCode::RootMismatch);
    // a signature of something else
    let text = String::from_utf8(bundle[CHECKPOINT].clone()).unwrap();
    let (body, signature) = text.split_once("\n\n").unwrap();
    let (_, foreign) =
        other.to_string().split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_ne!(signature, foreign);
    let proofs = |bundle: &mut Bundle| bundle.retain(|path, _| !path.starts_with("proofs/"));
    let mut swapped = with_file(&bundle, CHECKPOINT, format!("{body}\n\n{foreign}").into());
    proofs(&mut swapped);
    maker::remanifest(&mut swapped);
    refused(&swapped, FindingCode::CheckpointSignatureInvalid);
    // the key that took over, without the record that authorises it
    refused(&with_file(&bundle, KEY_HISTORY, Vec::new()), FindingCode::KeyUnknown);
}

#[test]
fn a_key_that_nobody_authorised_is_not_believed() {
    use crate::control::{Control, KeyChange};
    let mut world = World::full(20);
    let vkey = maker::key(3).verifier().to_string();
    let change = KeyChange::Add { vkey: vkey.clone(), valid_from: 0, signatures: Vec::new() };
    // by itself, and by the first key, which was retired long before
    let signatures =
        vec![maker::authorise(&maker::key(3), &change), maker::authorise(&maker::key(1), &change)];
    let position = world.control(&Control::Key(KeyChange::Add { vkey, valid_from: 0, signatures }));
    world.keys.push(position);
    world.seal();
    let checkpoint =
        crate::checkpoint::SignedCheckpoint::sign(&world.head(), &maker::key(3), &[], 0).unwrap();
    let bundle = world.bundle_under(Scope::All {}, &checkpoint);
    refused(&bundle, FindingCode::KeyUnknown);
}

#[test]
fn the_proof_of_another_position_is_refused() {
    let world = World::full(60);
    let bundle = world.streams(&["order-1"]);
    let paths: Vec<&String> = bundle.keys().filter(|path| path.starts_with("proofs/")).collect();
    let swapped = with_file(&bundle, paths[0], bundle[paths[1]].clone());
    refused(&swapped, FindingCode::ProofInvalid);
    // with the number in it changed too
    let position = |path: &str| path["proofs/".len()..].split('.').next().unwrap().to_owned();
    let text = String::from_utf8(bundle[paths[1]].clone()).unwrap();
    let renamed =
        text.replace(&format!("index {}\n", position(paths[1])), &format!("index {}\n", position(paths[0])));
    refused(&with_file(&bundle, paths[0], renamed.into()), FindingCode::ProofInvalid);
}

#[test]
fn a_stream_that_does_not_exist_cannot_be_claimed() {
    let world = World::full(60);
    let mut bundle = world.streams(&["order-1"]);
    let mut trie = world.trie();
    let key = crate::leaf::name_key(&[1; 16], b"invented");
    let proof = trie.prove(&key);
    let seal = world.seal.unwrap();
    let said = Completeness::new("invented", &[1; 16], seal, &proof);
    bundle.insert(completeness_path(&key), serde_json::to_vec(&said).unwrap());
    let streams = vec!["invented".to_owned(), "order-1".to_owned()];
    maker::manifest(&mut bundle, Scope::Streams { streams }, world.leaves.len() as u64);
    refused(&bundle, FindingCode::StreamIncomplete);
    // a stream of the scope without a proof, and one whose proof is another's
    let bundle = world.streams(&["order-1", "order-2"]);
    let one = completeness_path(&world.stream_key("order-1"));
    let other = completeness_path(&world.stream_key("order-2"));
    refused(&without_file(&bundle, &one), FindingCode::StreamIncomplete);
    refused(&with_file(&bundle, &one, bundle[&other].clone()), FindingCode::BundleMalformed);
}

#[test]
fn a_log_rewritten_without_the_last_event_of_a_stream_leads_to_another_root() {
    let world = World::full(60);
    let signed =
        crate::checkpoint::SignedCheckpoint::parse(&world.streams(&["order-1"])[CHECKPOINT]).unwrap();
    // the same log as it would be had the last event of order-1 never been written: everything fits but the signature
    let mut shorter = World::new();
    let last = world.lines.iter().rposition(|line| line.stream == "order-1").unwrap();
    for (at, line) in world.lines.iter().enumerate().filter(|(at, _)| *at != last) {
        let stream = if at < last { line.stream.as_str() } else { "filler" };
        shorter.append(&maker::event(stream));
    }
    shorter.seal();
    assert_eq!(shorter.leaves.len(), world.leaves.len());
    let scope = Scope::Streams { streams: vec!["order-1".to_owned()] };
    refused(&shorter.bundle_under(scope, &signed), FindingCode::RootMismatch);
}

#[test]
fn a_seal_that_does_not_say_what_the_events_give_is_found_by_replaying_them() {
    use crate::control::{Control, MapRoot};
    let mut world = World::full(40);
    let size = world.leaves.len() as u64;
    let mut trie = world.trie();
    let wrong = MapRoot { size, streams: trie.len() as u64, root: [3; 32] };
    let position = world.control(&Control::MapRoot(wrong.clone()));
    world.seal = Some(position);
    let first = refused(&world.bundle(Scope::All {}), FindingCode::MapRootMismatch).first.unwrap();
    assert_eq!(first.position, Some(position));
    let more = MapRoot { streams: wrong.streams + 1, root: trie.root(), ..wrong };
    world.leaves.pop();
    world.lines.pop();
    let mut world = World::full(40);
    world.seal = Some(world.control(&Control::MapRoot(more)));
    refused(&world.bundle(Scope::All {}), FindingCode::MapRootMismatch);
}
