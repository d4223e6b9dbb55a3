//! `graven audit check-proof`: offline, with nothing but a file and a key.

mod cli_support;

use cli_support::{file, graven, graven_with_input};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::leaf::{CheckState, Kind, Leaf, NO_TIME, name_key};
use graven_proof::merkle::{Tree, leaf_hash, node_hash};
use graven_proof::note::{Algorithm, SignerKey};
use graven_proof::tlog_proof::TlogProof;
use std::convert::Infallible;
use std::path::Path;

/// A leaf, a proof of it at this position of three, and the key that signed.
struct Made {
    leaf: Vec<u8>,
    proof: TlogProof,
    vkey: String,
}

fn key(seed: u8) -> SignerKey {
    SignerKey::from_seed("log.example/1".parse().unwrap(), Algorithm::Ed25519, &[seed; 32])
}

fn made(position: u64, says: u64) -> Made {
    let mut leaf = Vec::new();
    Leaf {
        kind: Kind::Event,
        encrypted: false,
        sealed: false,
        has_metadata: false,
        check: CheckState::None,
        position: says,
        commit_time: 1_700_000_000_000_000,
        stream_version: 4,
        stream_key: name_key(b"salt", b"loan-1"),
        prev_stream: [1; 32],
        prev_global: [2; 32],
        event_id: [7; 16],
        occurred_at: NO_TIME,
        event_type: "Greeted",
        content_type: "application/json",
        schema_version: 0,
        schema_id: 0,
        tags: &[],
        payload_commitment: [3; 32],
        metadata_commitment: [0; 32],
        body: &[],
    }
    .encode(&mut leaf);
    let mut leaves = [[10; 32], [11; 32], [12; 32]];
    leaves[position as usize] = leaf_hash(&leaf);
    let mut tree = Tree::new(3, |level, index: u64| {
        Ok::<_, Infallible>(match level {
            0 => leaves[index as usize],
            _ => node_hash(&leaves[0], &leaves[1]),
        })
    });
    let (head, hashes) = (tree.head().unwrap(), tree.inclusion(position).unwrap());
    let checkpoint = SignedCheckpoint::sign(&head, &key(7), &[], 0).unwrap();
    let proof = TlogProof::new(position, hashes, checkpoint).unwrap();
    Made { leaf, proof, vkey: key(7).verifier().to_string() }
}

fn write(dir: &Path, made: &Made) -> (String, String) {
    (file(dir, "p.tlog-proof", made.proof.to_string()), file(dir, "p.leaf", &made.leaf))
}

#[test]
fn a_proof_is_accepted_with_its_leaf_in_a_file_or_within() {
    let dir = tempfile::tempdir().unwrap();
    let made = made(1, 1);
    let (proof, leaf) = write(dir.path(), &made);
    let ran = graven(&["audit", "check-proof", &proof, "--vkey", &made.vkey, "--leaf", &leaf]).ok();
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(said["proven"], true);
    assert_eq!((said["position"].as_u64(), said["size"].as_u64()), (Some(1), Some(3)));
    assert_eq!((&said["type"], &said["origin"]), (&"Greeted".into(), &"log.example/1".into()));
    assert_eq!(said["operator_trusted_alone"], true);

    let within = made.proof.clone().with_extra(made.leaf.clone()).unwrap().to_string();
    let args = ["audit", "check-proof", "-", "-o", "table", "--vkey", &made.vkey];
    let ran = graven_with_input(&args, within.as_bytes()).ok();
    assert!(ran.out.contains("Greeted") && ran.out.contains("operator's word alone"), "{}", ran.out);
}

#[test]
fn a_proof_with_a_byte_changed_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let made = made(2, 2);
    let text = made.proof.clone().with_extra(made.leaf.clone()).unwrap().to_string().into_bytes();
    let vkey = &made.vkey;
    for at in (0..text.len()).step_by(text.len() / 25) {
        let mut changed = text.clone();
        changed[at] ^= 1;
        let proof = file(dir.path(), "changed", &changed);
        graven(&["audit", "check-proof", &proof, "--vkey", vkey]).failed(7, &["GRV-1791"]);
    }
}

#[test]
fn a_proof_of_another_leaf_key_or_position_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let made_here = made(1, 1);
    let (proof, leaf) = write(dir.path(), &made_here);
    let foreign = key(8).verifier().to_string();
    let other = file(dir.path(), "other", b"another leaf");
    let check = |args: &[&str]| graven(&[&["audit", "check-proof", &proof], args].concat());
    check(&["--vkey", &foreign, "--leaf", &leaf]).failed(7, &["GRV-1791", "not signed by a trusted log"]);
    check(&["--vkey", &made_here.vkey, "--leaf", &other]).failed(7, &["GRV-1791", "root"]);
    check(&["--vkey", &made_here.vkey]).failed(2, &["brings no leaf along", "--leaf"]);
    check(&["--leaf", &leaf]).failed(2, &["--vkey"]);
    check(&["--vkey", "log.example/1+00000000+AAAA", "--leaf", &leaf]).failed(2, &["verifier key"]);

    // A leaf that contradicts its place is none of an honest log, whoever signed.
    let moved = made(1, 2);
    let (proof, leaf) = write(dir.path(), &moved);
    graven(&["audit", "check-proof", &proof, "--vkey", &moved.vkey, "--leaf", &leaf])
        .failed(7, &["another position"]);
}

#[test]
fn a_policy_that_asks_for_a_witness_is_not_content_with_the_log_alone() {
    let dir = tempfile::tempdir().unwrap();
    let made = made(0, 0);
    let (proof, leaf) = write(dir.path(), &made);
    let witness = SignerKey::from_seed("w.example".parse().unwrap(), Algorithm::CosignatureV1, &[9; 32]);
    let alone = file(dir.path(), "alone", format!("log {}\nquorum none\n", made.vkey));
    let both = format!("log {}\nwitness W {}\nquorum W\n", made.vkey, witness.verifier());
    let both = file(dir.path(), "both", both);
    let check = |policy: &str| graven(&["audit", "check-proof", &proof, "--leaf", &leaf, "--policy", policy]);
    check(&alone).ok();
    check(&both).failed(7, &["GRV-1791", "quorum"]);
    check(&leaf).failed(2, &["policy"]);
}
