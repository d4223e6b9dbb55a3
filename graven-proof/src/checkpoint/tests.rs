use super::*;
use crate::note::VerifierKey;
use proptest::prelude::*;

const ORIGIN: &str = "log.example/store/0192f0c1";

fn key(name: &str, algorithm: Algorithm, seed: u8) -> SignerKey {
    SignerKey::from_seed(name.parse().unwrap(), algorithm, &[seed; 32])
}

fn log() -> SignerKey {
    key(ORIGIN, Algorithm::Ed25519, 1)
}

fn witness(number: u8) -> SignerKey {
    key(&format!("witness.example/{number}"), Algorithm::CosignatureV1, 100 + number)
}

fn public(key: &SignerKey) -> VerifierKey {
    key.verifier().clone()
}

fn policy(witnesses: u8, threshold: usize) -> Policy {
    let witnesses = (0..witnesses).map(|number| public(&witness(number))).collect();
    Policy::witnessed(vec![public(&log())], witnesses, threshold).unwrap()
}

const HEAD: TreeHead = TreeHead { size: 20_852_163, root: [0xc8; 32] };

#[test]
fn a_checkpoint_has_the_three_lines_of_the_specification() {
    let checkpoint = SignedCheckpoint::sign(&HEAD, &log(), &[], 0).unwrap();
    let root = "yMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMg=";
    assert_eq!(checkpoint.note().unverified_text(), format!("{ORIGIN}\n20852163\n{root}\n"));
    assert_eq!(SignedCheckpoint::parse(checkpoint.to_string().as_bytes()), Ok(checkpoint.clone()));
    let verified = checkpoint.verify(&policy(0, 0)).unwrap();
    assert_eq!((verified.origin(), *verified.head()), (ORIGIN, HEAD));
    assert_eq!(verified.log_key(), log().verifier().id());
    assert!(verified.cosignatures().is_empty());
}

/// The example of the specification: its form, because its key is not given.
#[test]
fn the_example_of_the_specification_is_read() {
    let example = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
    let checkpoint = SignedCheckpoint::parse(example.as_bytes()).unwrap();
    assert_eq!(checkpoint.unverified_origin(), "example.com/behind-the-sofa");
    assert_eq!(checkpoint.unverified_head().size, 20_852_163);
    assert_eq!(checkpoint.to_string(), example);
    let untrusted = CheckpointError::UntrustedLog("example.com/behind-the-sofa".to_owned());
    assert_eq!(checkpoint.verify(&policy(0, 0)), Err(untrusted));
}

#[test]
fn the_quorum_is_demanded() {
    let (first, second, third) = (witness(0), witness(1), witness(2));
    let alone = SignedCheckpoint::sign(&HEAD, &log(), &[], 5).unwrap();
    let two = SignedCheckpoint::sign(&HEAD, &log(), &[&second], 5).unwrap();
    let two = two.with(third.sign(alone.note().unverified_text(), 6)).unwrap();
    let missing = |cosigned| {
        let quorum = "witnesses".to_owned();
        Err(CheckpointError::QuorumMissing { quorum, cosigned, known: 3 })
    };
    assert_eq!(alone.verify(&policy(3, 2)), missing(0));
    assert_eq!(two.verify(&policy(3, 3)), missing(2));
    let verified = two.verify(&policy(3, 2)).unwrap();
    let times: Vec<(&str, u64)> =
        verified.cosignatures().iter().map(|one| (one.witness.as_str(), one.time)).collect();
    assert_eq!(times, [("witness.example/1", 5), ("witness.example/2", 6)]);
    // known, but not asked for
    assert_eq!(two.verify(&policy(3, 0)).unwrap().cosignatures().len(), 2);

    // one witness, twice, is not two
    let text = alone.note().unverified_text().to_owned();
    let twice = alone.clone().with(first.sign(&text, 1)).unwrap().with(first.sign(&text, 2)).unwrap();
    assert_eq!(twice.verify(&policy(3, 2)), missing(1));
    // a cosignature of another checkpoint spoils this one
    let other = alone.with(first.sign("other\n1\nroot\n", 1)).unwrap();
    assert!(matches!(other.verify(&policy(3, 0)), Err(CheckpointError::Note(NoteError::Forged { .. }))));
}

#[test]
fn a_log_speaks_for_its_own_origin_alone() {
    let other = key("log.example/other", Algorithm::Ed25519, 2);
    let both = Policy::operator_alone(vec![public(&log()), public(&other)]).unwrap();
    let note = Note::sign(&text(ORIGIN, &HEAD), &[&other], 0).unwrap();
    let checkpoint = SignedCheckpoint::parse(note.to_string().as_bytes()).unwrap();
    let untrusted = Err(CheckpointError::UntrustedLog(ORIGIN.to_owned()));
    assert_eq!(checkpoint.verify(&both), untrusted);
    // a witness of the log's name is no log
    let namesake = key(ORIGIN, Algorithm::CosignatureV1, 1);
    let note = Note::sign(&text(ORIGIN, &HEAD), &[&namesake], 0).unwrap();
    let checkpoint = SignedCheckpoint::parse(note.to_string().as_bytes()).unwrap();
    let policy = Policy::witnessed(vec![public(&log())], vec![public(&namesake)], 1).unwrap();
    assert_eq!(checkpoint.verify(&policy), untrusted);
    let cosigning = CheckpointError::CosigningLog(ORIGIN.parse().unwrap());
    assert_eq!(SignedCheckpoint::sign(&HEAD, &namesake, &[], 0), Err(cosigning));
}

#[test]
fn lines_after_the_root_are_refused_in_our_own_and_tolerated_elsewhere() {
    let body = format!("{}one more\nand more\n", text(ORIGIN, &HEAD));
    let bytes = Note::sign(&body, &[&log()], 0).unwrap().to_string();
    assert_eq!(SignedCheckpoint::parse(bytes.as_bytes()), Err(CheckpointError::Extensions(2)));
    let foreign = SignedCheckpoint::parse_foreign(bytes.as_bytes()).unwrap();
    assert_eq!(*foreign.verify(&policy(0, 0)).unwrap().head(), HEAD);
    assert_eq!(foreign.to_string(), bytes);
}

#[test]
fn other_forms_are_refused() {
    let root = base64::encode(&[7; 32]);
    let refused = [
        "a\n".to_owned(),
        "a\n1\n".to_owned(),
        format!("\n1\n{root}\n"),
        format!("a\n\n{root}\n"),
        format!("a\n1\n{root}\n\nb\n"),
        format!("a\n01\n{root}\n"),
        format!("a\n+1\n{root}\n"),
        format!("a\n-1\n{root}\n"),
        format!("a\n1 \n{root}\n"),
        format!("a\n0x1\n{root}\n"),
        format!("a\n18446744073709551616\n{root}\n"),
        format!("a\n1\n{}\n", root.trim_end_matches('=')),
        format!("a\n1\n{}\n", base64::encode(&[7; 31])),
        format!("a\n1\n{}\n", base64::encode(&[7; 33])),
        format!("a\n1\n{root} \n"),
    ];
    for body in refused {
        let bytes = Note::sign(&body, &[&log()], 0).unwrap().to_string();
        assert!(SignedCheckpoint::parse_foreign(bytes.as_bytes()).is_err(), "{body:?}");
    }
    let largest = format!("a\n18446744073709551615\n{root}\n");
    let bytes = Note::sign(&largest, &[&log()], 0).unwrap().to_string();
    assert_eq!(SignedCheckpoint::parse(bytes.as_bytes()).unwrap().unverified_head().size, u64::MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_changed_byte_of_a_checkpoint_is_refused(size: u64, root: [u8; 32], time: u64, bit in 0..8u8) {
        let head = TreeHead { size, root };
        let checkpoint = SignedCheckpoint::sign(&head, &log(), &[&witness(0)], time).unwrap();
        let policy = policy(1, 1);
        let verified = checkpoint.verify(&policy).unwrap();
        prop_assert_eq!((*verified.head(), verified.cosignatures()[0].time), (head, time));
        let bytes = checkpoint.to_string().into_bytes();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let believed = SignedCheckpoint::parse_foreign(&changed).is_ok_and(|one| one.verify(&policy).is_ok());
            prop_assert!(!believed, "byte {}", at);
        }
    }
}
