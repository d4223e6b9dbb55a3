use super::*;
use graven_proof::merkle::{Tree, root_of};
use graven_proof::note::Note;
use graven_sim::SimMachine;
use graven_sim::disk::{Call, Fault};
use std::convert::Infallible;

const ORIGIN: &str = "log.example/store/1";
const DIR: &str = "/witness";

fn log_key(seed: u8) -> SignerKey {
    SignerKey::from_seed(ORIGIN.parse().unwrap(), Algorithm::Ed25519, &[seed; 32])
}

/// The first `size` leaves of a log whose leaves from `forked` on are others.
fn leaves(size: u64, forked: u64) -> Vec<graven_proof::Hash> {
    (0..size).map(|leaf| leaf_hash(&[leaf as u8, u8::from(leaf >= forked)])).collect()
}

fn request(from: u64, to: u64, forked: u64) -> AddCheckpoint {
    let leaves = leaves(to, forked);
    let head = TreeHead { size: to, root: root_of(&leaves) };
    let nodes = |level: u8, index: u64| {
        let start = (index as usize) << level;
        Ok::<_, Infallible>(root_of(&leaves[start..start + (1 << level)]))
    };
    let proof = if from == 0 { Vec::new() } else { Tree::new(to, nodes).consistency(from).unwrap() };
    let checkpoint = SignedCheckpoint::sign(&head, &log_key(1), &[], 0).unwrap();
    AddCheckpoint::new(from, proof, checkpoint).unwrap()
}

const HONEST: u64 = u64::MAX;

fn open(machine: &SimMachine) -> Result<Witness> {
    let keys = vec![log_key(1).verifier().clone()];
    Witness::open(machine.env(), Path::new(DIR), Some(&"witness.example".parse().unwrap()), keys)
}

fn size(witness: &Witness) -> u64 {
    witness.known()[0].head.size
}

fn refusal(outcome: std::result::Result<Signature, Outcome>) -> Refusal {
    match outcome {
        Err(Outcome::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_cosigned_is_remembered_and_proves_itself() {
    let machine = SimMachine::new(1);
    let witness = open(&machine).unwrap();
    assert!(witness.last(ORIGIN).unwrap().is_none());
    let cosignature = witness.add_checkpoint(&request(0, 3, HONEST)).unwrap();
    let kept = Note::parse(&witness.last(ORIGIN).unwrap().unwrap()).unwrap();
    assert_eq!(kept.signatures().last(), Some(&cosignature));
    let signers = kept.verify(&[log_key(1).verifier().clone(), witness.key().clone()]).unwrap();
    assert_eq!(signers.signers().len(), 2);
    let before = witness.known();
    drop(witness);
    assert_eq!(open(&machine).unwrap().known(), before);
    assert_eq!(open(&machine).unwrap().last("nobody").unwrap_err().code, Code::UnknownLog);
}

#[test]
fn a_fork_or_a_smaller_tree_changes_nothing_that_is_kept() {
    let machine = SimMachine::new(2);
    let witness = open(&machine).unwrap();
    witness.add_checkpoint(&request(0, 9, HONEST)).unwrap();
    let before = witness.last(ORIGIN).unwrap();
    assert_eq!(refusal(witness.add_checkpoint(&request(9, 9, 4))), Refusal::Forked(9));
    let forked = refusal(witness.add_checkpoint(&request(9, 12, 4)));
    assert!(matches!(forked, Refusal::Inconsistent(_)), "{forked}");
    let smaller = refusal(witness.add_checkpoint(&request(5, 7, HONEST)));
    assert_eq!(smaller, Refusal::OtherOldSize { seen: 9, old_size: 5 });
    assert_eq!(witness.last(ORIGIN).unwrap(), before);
    witness.add_checkpoint(&request(9, 9, HONEST)).unwrap();
    assert_eq!(size(&witness), 9);
}

#[test]
fn signatures_of_strangers_are_not_kept() {
    let machine = SimMachine::new(3);
    let witness = open(&machine).unwrap();
    let stranger = SignerKey::from_seed("stranger.example".parse().unwrap(), Algorithm::Ed25519, &[7; 32]);
    let asked = request(0, 3, HONEST);
    let text = asked.checkpoint().note().unverified_text().to_owned();
    let checkpoint = asked.checkpoint().clone().with(stranger.sign(&text, 0)).unwrap();
    witness.add_checkpoint(&AddCheckpoint::new(0, Vec::new(), checkpoint).unwrap()).unwrap();
    let kept = String::from_utf8(witness.last(ORIGIN).unwrap().unwrap()).unwrap();
    assert!(!kept.contains("stranger"), "{kept}");
}

/// Power fails at every call that changes the disk, between the judgement and the answer too. Whatever was answered is
/// remembered, and the log gets its cosignature in the end.
#[test]
fn a_witness_that_loses_power_between_memory_and_answer_never_takes_its_word_back() {
    for changes in 0..200 {
        let machine = SimMachine::new(changes);
        let witness = open(&machine).unwrap();
        witness.add_checkpoint(&request(0, 3, HONEST)).unwrap();
        machine.disk.power_off_after(changes);
        let answered = witness.add_checkpoint(&request(3, 8, HONEST)).is_ok();
        let ran_through = machine.disk.is_powered();
        drop(witness);
        let machine = machine.crash(changes);
        let witness = open(&machine).unwrap();
        let remembered = size(&witness);
        assert!(remembered == 8 || (remembered == 3 && !answered), "{changes}: {remembered}");
        // the other history of the same size is cosigned by nobody who remembers this one
        if remembered == 8 {
            assert_eq!(refusal(witness.add_checkpoint(&request(8, 8, 5))), Refusal::Forked(8));
        }
        witness.add_checkpoint(&request(remembered, 8, HONEST)).unwrap();
        if ran_through {
            return;
        }
    }
    panic!("the disk is written endlessly");
}

#[test]
fn after_a_write_that_failed_nothing_is_cosigned_until_the_witness_is_opened_again() {
    let machine = SimMachine::new(4);
    let witness = open(&machine).unwrap();
    machine.disk.inject(Fault::eio(Call::Sync));
    let failed = witness.add_checkpoint(&request(0, 3, HONEST));
    assert!(matches!(failed, Err(Outcome::Failed(_))), "{failed:?}");
    let Err(Outcome::Failed(error)) = witness.add_checkpoint(&request(0, 3, HONEST)) else {
        panic!("cosigned")
    };
    assert_eq!(error.code, Code::Poisoned);
    drop(witness);
    machine.disk.clear_faults();
    let witness = open(&machine).unwrap();
    let from = size(&witness);
    witness.add_checkpoint(&request(from, 3, HONEST)).unwrap();
}

#[test]
fn a_flipped_bit_in_the_memory_is_found_at_start() {
    let machine = SimMachine::new(5);
    let witness = open(&machine).unwrap();
    witness.add_checkpoint(&request(0, 3, HONEST)).unwrap();
    let path = witness.logs[ORIGIN].path.clone();
    drop(witness);
    let length = machine.disk.bytes_of(&path).unwrap().len();
    for at in 0..length {
        let machine = machine.fork();
        machine.disk.flip(&path, at as u64, (at % 8) as u8);
        match open(&machine) {
            Err(error) => assert_eq!(error.code, Code::Corrupted),
            // what the log signed is not what the witness remembers by
            Ok(witness) => assert_eq!(size(&witness), 3),
        }
    }
}

#[test]
fn two_witnesses_do_not_share_a_directory() {
    let machine = SimMachine::new(6);
    let witness = open(&machine).unwrap();
    assert_eq!(open(&machine).err().map(|error| error.code), Some(Code::DataInUse));
    drop(witness);
    open(&machine).unwrap();
}

#[test]
fn keys_that_no_log_has_are_refused() {
    let machine = SimMachine::new(7);
    let cosigner = SignerKey::from_seed(ORIGIN.parse().unwrap(), Algorithm::CosignatureV1, &[1; 32]);
    let log = log_key(1).verifier().clone();
    for keys in [vec![], vec![cosigner.verifier().clone()], vec![log.clone(), log]] {
        let error = Witness::open(machine.env(), Path::new(DIR), None, keys).err().unwrap();
        assert_eq!(error.code, Code::InvalidConfig);
    }
}

#[test]
fn a_log_with_two_keys_is_one_log() {
    let machine = SimMachine::new(8);
    let keys = vec![log_key(2).verifier().clone(), log_key(1).verifier().clone()];
    let witness = Witness::open(machine.env(), Path::new(DIR), None, keys).unwrap();
    witness.add_checkpoint(&request(0, 3, HONEST)).unwrap();
    assert_eq!(witness.known().len(), 1);
}
