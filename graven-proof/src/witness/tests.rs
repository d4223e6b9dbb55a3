use super::*;
use crate::merkle::{Tree, leaf_hash, root_of};
use crate::note::{Algorithm, SignerKey};
use proptest::prelude::*;
use std::convert::Infallible;

const ORIGIN: &str = "log.example/store/1";

fn log() -> SignerKey {
    SignerKey::from_seed(ORIGIN.parse().unwrap(), Algorithm::Ed25519, &[1; 32])
}

fn witness() -> SignerKey {
    SignerKey::from_seed("witness.example".parse().unwrap(), Algorithm::CosignatureV1, &[2; 32])
}

fn known() -> Vec<VerifierKey> {
    let other = SignerKey::from_seed("other.example".parse().unwrap(), Algorithm::Ed25519, &[3; 32]);
    vec![other.verifier().clone(), log().verifier().clone()]
}

/// A log of so many leaves; those from `forked` on are others than in the log without a fork.
struct Log {
    leaves: Vec<Hash>,
}

impl Log {
    fn new(size: u64, forked: u64) -> Log {
        let leaf =
            |index: u64| leaf_hash(&[u64::from(index >= forked), index].map(u64::to_be_bytes).concat());
        Log { leaves: (0..size).map(leaf).collect() }
    }

    fn head(&self, size: u64) -> TreeHead {
        let root = if size == 0 { empty_root() } else { root_of(&self.leaves[..size as usize]) };
        TreeHead { size, root }
    }

    fn proof(&self, from: u64, to: u64) -> Vec<Hash> {
        if from == 0 {
            return Vec::new();
        }
        let nodes = |level: u8, index: u64| {
            let start = (index as usize) << level;
            Ok::<_, Infallible>(root_of(&self.leaves[start..start + (1 << level)]))
        };
        Tree::new(to, nodes).consistency(from).unwrap()
    }

    fn request(&self, from: u64, to: u64) -> AddCheckpoint {
        let checkpoint = SignedCheckpoint::sign(&self.head(to), &log(), &[], 0).unwrap();
        AddCheckpoint::new(from, self.proof(from, to), checkpoint).unwrap()
    }
}

#[test]
fn the_example_of_the_specification_is_read() {
    let body = "old 20852014\nPlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
        jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
        /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\nexample.com/behind-the-sofa\n20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
    let request = AddCheckpoint::parse(body.as_bytes()).unwrap();
    assert_eq!((request.old_size(), request.proof().len()), (20_852_014, 4));
    assert_eq!(request.checkpoint().unverified_origin(), "example.com/behind-the-sofa");
    assert_eq!(request.to_string(), body);
    let refusal = judge(&nothing_seen(), &request, &known()).unwrap_err();
    assert_eq!(refusal, Refusal::UnknownLog("example.com/behind-the-sofa".into()));
}

#[test]
fn every_size_is_cosigned_from_every_smaller_one() {
    let log = Log::new(20, 20);
    for from in 0..=20 {
        for to in from..=20 {
            let request = log.request(from, to);
            assert_eq!(judge(&log.head(from), &request, &known()), Ok(log.head(to)), "{from} to {to}");
        }
    }
}

#[test]
fn two_roots_of_one_size_are_a_fork() {
    let (seen, fork) = (Log::new(9, 9), Log::new(9, 5));
    let refusal = judge(&seen.head(9), &fork.request(9, 9), &known()).unwrap_err();
    assert_eq!(refusal, Refusal::Forked(9));
    assert_eq!((refusal.status(), refusal.known_size()), (409, Some(9)));
}

#[test]
fn a_larger_tree_of_another_history_is_refused() {
    let (seen, fork) = (Log::new(9, 9), Log::new(12, 5));
    let refusal = judge(&seen.head(9), &fork.request(9, 12), &known()).unwrap_err();
    assert!(matches!(refusal, Refusal::Inconsistent(_)), "{refusal}");
    assert_eq!((refusal.status(), refusal.known_size()), (422, None));
}

#[test]
fn a_smaller_tree_is_never_cosigned() {
    let log = Log::new(12, 12);
    for from in 0..=8 {
        let refusal = judge(&log.head(12), &log.request(from, 8), &known()).unwrap_err();
        assert_eq!(refusal, Refusal::OtherOldSize { seen: 12, old_size: from });
        assert_eq!((refusal.status(), refusal.known_size()), (409, Some(12)));
    }
    let checkpoint = log.request(8, 8).checkpoint;
    let request = AddCheckpoint::new(12, Vec::new(), checkpoint).unwrap();
    let refusal = judge(&log.head(12), &request, &known()).unwrap_err();
    assert_eq!(refusal, Refusal::OldAboveNew { old_size: 12, size: 8 });
    assert_eq!(refusal.status(), 400);
}

#[test]
fn a_first_checkpoint_comes_without_a_proof_and_an_empty_one_with_the_root_of_nothing() {
    let log = Log::new(5, 5);
    let proven = AddCheckpoint::new(0, vec![[7; 32]], log.request(0, 5).checkpoint).unwrap();
    let refusal = judge(&nothing_seen(), &proven, &known()).unwrap_err();
    assert_eq!(refusal, Refusal::Inconsistent(ProofError::Length { expected: 0, found: 1 }));
    let odd = TreeHead { size: 0, root: [9; 32] };
    let odd = SignedCheckpoint::sign(&odd, &self::log(), &[], 0).unwrap();
    let refusal = judge(&nothing_seen(), &AddCheckpoint::new(0, Vec::new(), odd).unwrap(), &known());
    assert_eq!(refusal, Err(Refusal::Forked(0)));
}

#[test]
fn a_checkpoint_that_the_log_did_not_sign_is_refused() {
    let honest = Log::new(5, 5);
    let stranger = SignerKey::from_seed(ORIGIN.parse().unwrap(), Algorithm::Ed25519, &[9; 32]);
    let checkpoint = SignedCheckpoint::sign(&honest.head(5), &stranger, &[], 0).unwrap();
    let request = AddCheckpoint::new(0, Vec::new(), checkpoint).unwrap();
    let refusal = judge(&nothing_seen(), &request, &known()).unwrap_err();
    assert_eq!(refusal, Refusal::Signature(NoteError::Unsigned(1)));
    assert_eq!(refusal.status(), 403);
}

#[test]
fn a_key_of_another_known_log_does_not_sign_for_this_one() {
    let other = SignerKey::from_seed("other.example".parse().unwrap(), Algorithm::Ed25519, &[3; 32]);
    let text = Log::new(5, 5).request(0, 5).checkpoint.note().unverified_text().to_owned();
    let note = crate::note::Note::sign(&text, &[&other], 0).unwrap();
    let body = format!("old 0\n\n{note}");
    let request = AddCheckpoint::parse(body.as_bytes()).unwrap();
    let refusal = judge(&nothing_seen(), &request, &known()).unwrap_err();
    assert_eq!(refusal, Refusal::Signature(NoteError::Unsigned(1)));
}

#[test]
fn lines_that_are_not_as_they_should_be_are_named() {
    let body = Log::new(6, 6).request(3, 6).to_string();
    let change = |from: &str, to: &str| AddCheckpoint::parse(body.replacen(from, to, 1).as_bytes());
    assert_eq!(change("old 3", "old 03"), Err(WitnessError::OldSize));
    assert_eq!(change("old 3", "old -3"), Err(WitnessError::OldSize));
    assert_eq!(change("old 3", "Old 3"), Err(WitnessError::OldSize));
    assert_eq!(change("old 3\n", "old 3\nAAAA\n"), Err(WitnessError::Hash(2)));
    assert_eq!(change("old 3", "old 3 "), Err(WitnessError::OldSize));
    assert_eq!(AddCheckpoint::parse(b"old 3\n"), Err(WitnessError::NoCheckpoint));
    let many = format!("old 3\n{}\n", format!("{}\n", base64::encode(&[0; 32])).repeat(64));
    assert_eq!(AddCheckpoint::parse(many.as_bytes()), Err(WitnessError::TooManyHashes));
    let long = vec![b'x'; REQUEST_BYTES_MAX + 1];
    assert_eq!(AddCheckpoint::parse(&long), Err(WitnessError::TooLong(REQUEST_BYTES_MAX + 1)));
}

#[test]
fn sizes_are_read_in_one_spelling() {
    assert_eq!(parse_size(size_answer(20_852_014).as_bytes()), Ok(20_852_014));
    for odd in ["", "7", "07\n", "+7\n", "7\n\n", " 7\n", "18446744073709551616\n"] {
        assert_eq!(parse_size(odd.as_bytes()), Err(WitnessError::Size), "{odd:?}");
    }
}

#[test]
fn the_cosignature_of_the_asked_witness_is_taken_and_others_are_passed_over() {
    let checkpoint = Log::new(5, 5).request(0, 5).checkpoint;
    let text = checkpoint.note().unverified_text();
    let stranger =
        SignerKey::from_seed("stranger.example".parse().unwrap(), Algorithm::CosignatureV1, &[8; 32]);
    let body = format!("{}\n{}\n", stranger.sign(text, 3), witness().sign(text, 4));
    let answer = parse_cosignatures(body.as_bytes()).unwrap();
    let (signature, time) = cosigned(&checkpoint, &answer, witness().verifier()).unwrap();
    assert_eq!((signature, time), (witness().sign(text, 4), 4));
    let nobody = cosigned(&checkpoint, &answer[..1], witness().verifier());
    assert_eq!(nobody, Err(NoteError::Unsigned(1)));
    let forged = [witness().sign("another text\n", 4)];
    assert!(matches!(cosigned(&checkpoint, &forged, witness().verifier()), Err(NoteError::Forged { .. })));
    for odd in ["", "\n", body.trim_end(), "no signature\n"] {
        assert_eq!(parse_cosignatures(odd.as_bytes()), Err(WitnessError::Cosignatures), "{odd:?}");
    }
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written(from in 0u64..40, more in 0u64..40) {
        let log = Log::new(from + more, from + more);
        let request = log.request(from, from + more);
        prop_assert_eq!(AddCheckpoint::parse(request.to_string().as_bytes()), Ok(request));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused(from in 0u64..12, more in 1u64..12, at: prop::sample::Index, bit in 0u8..8) {
        let log = Log::new(from + more, from + more);
        let mut body = log.request(from, from + more).to_string().into_bytes();
        let at = at.index(body.len());
        body[at] ^= 1 << bit;
        let judged = AddCheckpoint::parse(&body).map(|request| judge(&log.head(from), &request, &known()));
        prop_assert!(!matches!(judged, Ok(Ok(_))), "{:?}", judged);
    }

    #[test]
    fn whatever_the_witness_is_offered_it_only_ever_goes_on_with_one_history(
        offers in prop::collection::vec((0u64..24, 0u64..24, 0u64..24), 1..60),
    ) {
        let mut seen = nothing_seen();
        let mut history = Vec::new();
        for (forked, first, second) in offers {
            let log = Log::new(24, forked);
            let request = log.request(first.min(second), first.max(second));
            let Ok(head) = judge(&seen, &request, &known()) else { continue };
            prop_assert!(head.size >= seen.size);
            history.push((log, head));
            seen = head;
        }
        // the last accepted log begins with every head that was accepted before
        if let Some((last, head)) = history.last() {
            for (_, earlier) in &history {
                prop_assert_eq!(last.head(earlier.size), *earlier);
            }
            prop_assert_eq!(last.head(head.size), seen);
        }
    }

    #[test]
    fn no_bytes_break_the_readers(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = AddCheckpoint::parse(&bytes);
        let _ = parse_size(&bytes);
        let _ = parse_cosignatures(&bytes);
    }
}
