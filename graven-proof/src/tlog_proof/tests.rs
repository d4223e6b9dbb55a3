use super::*;
use crate::merkle::{Tree, TreeHead, leaf_hash, root_of};
use crate::note::{Algorithm, SignerKey};
use proptest::prelude::*;
use std::convert::Infallible;

fn key(name: &str, algorithm: Algorithm) -> SignerKey {
    SignerKey::from_seed(name.parse().unwrap(), algorithm, &[3; 32])
}

fn policy() -> Policy {
    let witness = key("witness.example", Algorithm::CosignatureV1).verifier().clone();
    let log = key("log.example/a", Algorithm::Ed25519).verifier().clone();
    Policy::witnessed(vec![log], vec![witness], 1).unwrap()
}

fn leaf(position: u64) -> Hash {
    leaf_hash(&position.to_be_bytes())
}

fn proof(position: u64, size: u64) -> TlogProof {
    let leaves: Vec<Hash> = (0..size).map(leaf).collect();
    let head = TreeHead { size, root: root_of(&leaves) };
    let witness = key("witness.example", Algorithm::CosignatureV1);
    let checkpoint =
        SignedCheckpoint::sign(&head, &key("log.example/a", Algorithm::Ed25519), &[&witness], 77).unwrap();
    let nodes = |level: u8, index: u64| {
        let start = (index as usize) << level;
        Ok::<_, Infallible>(root_of(&leaves[start..start + (1 << level)]))
    };
    TlogProof::new(position, Tree::new(size, nodes).inclusion(position).unwrap(), checkpoint).unwrap()
}

#[test]
fn a_proof_reads_as_the_specification_says() {
    let proof = proof(2, 3).with_extra(b"some leaf".to_vec()).unwrap();
    let text = proof.to_string();
    let beside = base64::encode(&root_of(&[leaf(0), leaf(1)]));
    let wanted =
        format!("c2sp.org/tlog-proof@v1\nextra c29tZSBsZWFm\nindex 2\n{beside}\n\nlog.example/a\n3\n");
    assert!(text.starts_with(&wanted), "{text}");
    let again = TlogProof::parse(text.as_bytes()).unwrap();
    assert_eq!(again, proof);
    assert_eq!((again.unverified_position(), again.extra()), (2, Some(&b"some leaf"[..])));
    let checkpoint = again.verify(&leaf(2), &policy()).unwrap();
    assert_eq!((checkpoint.origin(), checkpoint.head().size), ("log.example/a", 3));
    assert!(matches!(again.verify(&leaf(1), &policy()), Err(TlogProofError::Proof(ProofError::Root { .. }))));
}

#[test]
fn the_only_leaf_needs_no_hashes() {
    let text = proof(0, 1).to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 0\n\nlog.example/a\n1\n"));
    assert!(TlogProof::parse(text.as_bytes()).unwrap().verify(&leaf(0), &policy()).is_ok());
}

#[test]
fn other_forms_are_refused() {
    let text = proof(2, 3).to_string();
    let refused = [
        text.replace("proof@v1", "proof@v2"),
        text.replace("index 2", "index 02"),
        text.replace("index 2", "index +2"),
        text.replace("index 2", "index  2"),
        text.replace("index 2", "Index 2"),
        text.replace("index 2\n", ""),
        text.replace("index 2", "index 2\nindex 2"),
        text.replace("index 2", "index 2\nextra AAAA"),
        text.replace("index 2", "extra AAAA\nextra AAAA\nindex 2"),
        text.replace("index 2", "extra AAA\nindex 2"),
        text.replace("index 2", "index 2\nAAAA"),
        text.replace("index 2\n", "index 2\r\n"),
        text.replacen("\n\n", "\n", 1),
        text.replacen("\n\n", "\n\n\n", 1),
        text.replacen('\n', "\n\n", 1),
        format!("{text}\n"),
        format!("\n{text}"),
        String::new(),
        text[..text.find("\n\n").unwrap() + 2].to_owned(),
    ];
    for text in refused {
        assert!(TlogProof::parse(text.as_bytes()).is_err(), "{text}");
    }
    let hash = base64::encode(&[1; 32]) + "\n";
    let long = text.replace("index 2\n", &format!("index 2\n{}", hash.repeat(65)));
    assert_eq!(TlogProof::parse(long.as_bytes()), Err(TlogProofError::TooManyHashes));
    let extra = base64::encode(&vec![0; EXTRA_BYTES_MAX + 1]);
    let long = text.replace("index 2", &format!("extra {extra}\nindex 2"));
    assert_eq!(TlogProof::parse(long.as_bytes()), Err(TlogProofError::ExtraTooLong(EXTRA_BYTES_MAX + 1)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_changed_byte_but_of_the_extra_data_is_refused(size in 1..200u64, at: prop::sample::Index, bit in 0..8u8) {
        let position = at.index(size as usize) as u64;
        let text = proof(position, size).to_string();
        let policy = policy();
        let accepted = |bytes: &[u8]| TlogProof::parse(bytes).ok().and_then(|proof| {
            proof.verify(&leaf(position), &policy).ok().map(|_| proof.unverified_position())
        });
        prop_assert_eq!(accepted(text.as_bytes()), Some(position));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1 << bit;
            prop_assert_eq!(accepted(&changed), None, "byte {}", at);
        }
    }
}
