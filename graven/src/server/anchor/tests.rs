use super::*;
use graven_proof::merkle::{TreeHead, leaf_hash, root_of};
use graven_proof::note::{Algorithm, SignerKey};
use graven_sim::SimMachine;
use graven_sim::disk::{Call, Fault};

const ORIGIN: &str = "log.example/store/1";
const DIR: &str = "/store";
const FILE: &str = "/store/cosignatures.log";

fn log_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN.parse().unwrap(), Algorithm::Ed25519, &[1; 32])
}

fn witness(number: u8) -> SignerKey {
    SignerKey::from_seed(
        format!("witness.example/{number}").parse().unwrap(),
        Algorithm::CosignatureV1,
        &[100 + number; 32],
    )
}

fn checkpoint(size: u64) -> SignedCheckpoint {
    let leaves: Vec<Hash> = (0..size).map(|leaf| leaf_hash(&[leaf as u8])).collect();
    SignedCheckpoint::sign(&TreeHead { size, root: root_of(&leaves) }, &log_key(), &[], 0).unwrap()
}

fn cosigned(size: u64, by: &[u8]) -> SignedCheckpoint {
    let text = checkpoint(size).note().unverified_text().to_owned();
    by.iter().fold(checkpoint(size), |checkpoint, number| {
        checkpoint.with(witness(*number).sign(&text, 1_000 + size)).unwrap()
    })
}

/// Two witnesses, both of which are wanted.
fn settings(mode: Mode) -> AnchorSettings {
    let witnesses = (0..2).map(|number| witness(number).verifier().clone()).collect();
    AnchorSettings {
        policy: Some(Policy::witnessed(vec![log_key().verifier().clone()], witnesses, 2).unwrap()),
        mode,
        patience: Duration::from_secs(60),
        interval: Duration::from_secs(3600),
        timestamp_url: None,
        timestamp_interval: Duration::from_secs(60),
        ca_file: None,
    }
}

fn machine(seed: u64) -> SimMachine {
    let machine = SimMachine::new(seed);
    machine.env().disk.create_dir(Path::new(DIR)).unwrap();
    machine.env().disk.sync_dir(Path::new("/")).unwrap();
    machine
}

fn standing(machine: &SimMachine, settings: &AnchorSettings) -> Standing {
    standing_at(machine, settings, &checkpoint(9))
}

/// As it is after a start, when this was the newest checkpoint.
fn standing_at(machine: &SimMachine, settings: &AnchorSettings, newest: &SignedCheckpoint) -> Standing {
    let (file, kept) = Cosignatures::open(&machine.env(), Path::new(FILE)).unwrap();
    let mut standing = Standing::new(settings, file, None);
    standing.recall(settings.policy.as_ref().unwrap(), kept, Some(newest));
    standing
}

fn keep(standing: &mut Standing, settings: &AnchorSettings, by: u8, size: u64) {
    let signature = witness(by).sign(checkpoint(size).note().unverified_text(), 7);
    let policy = settings.policy.as_ref();
    standing.keep(usize::from(by), &checkpoint(size), signature, 7, policy).unwrap();
}

#[test]
fn a_quorum_comes_together_on_one_checkpoint_while_the_log_goes_on() {
    let (machine, settings) = (machine(1), settings(Mode::Queue));
    let mut standing = standing(&machine, &settings);
    let target = standing.target(checkpoint(5), &settings);
    assert_eq!(target, checkpoint(5));
    keep(&mut standing, &settings, 0, 5);
    // the slower witness is still sent what the faster one has
    assert_eq!(standing.target(checkpoint(9), &settings), checkpoint(5));
    assert!(standing.witnessed().is_none());
    assert_eq!(standing.report(&settings, 9).unwitnessed, Some([0, 9]));
    keep(&mut standing, &settings, 1, 5);
    assert_eq!(standing.witnessed().unwrap().unverified_head().size, 5);
    let report = standing.report(&settings, 9);
    assert_eq!((report.witnessed, report.unwitnessed), (5, Some([5, 9])));
}

#[test]
fn what_was_cosigned_is_known_again_and_what_does_not_verify_is_not_believed() {
    let (machine, settings) = (machine(2), settings(Mode::Queue));
    let mut first = standing(&machine, &settings);
    keep(&mut first, &settings, 0, 5);
    keep(&mut first, &settings, 1, 5);
    keep(&mut first, &settings, 0, 8);
    drop(first);
    let mut again = standing(&machine, &settings);
    assert_eq!((again.size_of(0), again.size_of(1)), (8, 5));
    assert_eq!(again.report(&settings, 8).unwitnessed, Some([5, 8]));
    keep(&mut again, &settings, 1, 8);
    assert_eq!(again.report(&settings, 8).unwitnessed, None);

    let (mut file, _) = Cosignatures::open(&machine.env(), Path::new(FILE)).unwrap();
    let forged = checkpoint(9).with(witness(0).sign("another text\n", 7)).unwrap();
    file.append(&forged).unwrap();
    assert_eq!(standing(&machine, &settings).size_of(0), 8);
}

#[test]
fn what_was_cosigned_of_another_history_is_not_taken_for_this_one() {
    let (machine, settings) = (machine(6), settings(Mode::Block));
    let mut first = standing(&machine, &settings);
    for (by, size) in [(0, 5), (1, 5), (0, 8), (1, 8)] {
        keep(&mut first, &settings, by, size);
    }
    drop(first);
    let rewritten = SignedCheckpoint::sign(&TreeHead { size: 8, root: [7; 32] }, &log_key(), &[], 0).unwrap();
    for (newest, witnessed) in [(checkpoint(8), 8), (rewritten, 5), (checkpoint(7), 5)] {
        let mut standing = standing_at(&machine, &settings, &newest);
        assert_eq!(standing.size_of(0), witnessed);
        let report = standing.report(&settings, newest.unverified_head().size);
        assert_eq!(report.witnessed, witnessed);
    }
}

#[test]
fn a_file_that_is_only_read_stays_as_it_is_whatever_stands_at_its_end() {
    let machine = machine(7);
    let path = Path::new(FILE);
    assert_eq!(cosigned_beside(&machine.env(), Path::new(DIR)).unwrap(), []);
    assert!(machine.disk.bytes_of(path).is_none(), "no file is made");
    let (mut file, _) = Cosignatures::open(&machine.env(), path).unwrap();
    file.append(&cosigned(3, &[0])).unwrap();
    file.append(&cosigned(5, &[0, 1])).unwrap();
    drop(file);
    let length = machine.disk.bytes_of(path).unwrap().len() as u64;
    machine.disk.cut(path, length - 3);
    assert_eq!(cosigned_beside(&machine.env(), Path::new(DIR)).unwrap(), [cosigned(3, &[0])]);
    assert_eq!(machine.disk.bytes_of(path).unwrap().len() as u64, length - 3);
}

#[test]
fn a_changed_byte_anywhere_gives_fewer_entries_or_other_text_and_never_more() {
    let machine = machine(8);
    let path = Path::new(FILE);
    let (mut file, _) = Cosignatures::open(&machine.env(), path).unwrap();
    let entries = [cosigned(3, &[0]), cosigned(5, &[0, 1])];
    for entry in &entries {
        file.append(entry).unwrap();
    }
    drop(file);
    let bytes = machine.disk.bytes_of(path).unwrap();
    for at in 0..bytes.len() as u64 {
        for change in [1, 0x10, 0x80] {
            machine.disk.overwrite(path, at, &[bytes[at as usize] ^ change]);
            let found = cosigned_beside(&machine.env(), Path::new(DIR)).unwrap();
            assert!(found.len() <= 2 && found != entries, "byte {at}");
        }
        machine.disk.overwrite(path, at, &bytes[at as usize..=at as usize]);
    }
    assert_eq!(cosigned_beside(&machine.env(), Path::new(DIR)).unwrap(), entries);
    let note = entries[0].to_string();
    for (before, entries) in [("", 1), ("+", 0), ("0", 0), ("-", 0), ("9999", 0), ("99999999999999999999", 0)]
    {
        let other = format!("graven/cosigned/v1 {before}{}\n{note}", note.len());
        machine.disk.cut(path, 0);
        machine.disk.overwrite(path, 0, other.as_bytes());
        let found = cosigned_beside(&machine.env(), Path::new(DIR)).unwrap();
        assert_eq!(found.len(), entries, "{before}");
    }
}

#[test]
fn a_torn_entry_is_cut_off_wherever_it_ends() {
    let machine = machine(3);
    let path = Path::new(FILE);
    let (mut file, _) = Cosignatures::open(&machine.env(), path).unwrap();
    file.append(&cosigned(3, &[0])).unwrap();
    let whole = machine.disk.bytes_of(path).unwrap().len();
    file.append(&cosigned(5, &[0, 1])).unwrap();
    let length = machine.disk.bytes_of(path).unwrap().len();
    drop(file);
    for end in whole..length {
        let machine = machine.fork();
        machine.disk.cut(path, end as u64);
        let (mut file, kept) = Cosignatures::open(&machine.env(), path).unwrap();
        assert_eq!(kept, [cosigned(3, &[0])], "{end}");
        file.append(&cosigned(7, &[1])).unwrap();
        let (_, kept) = Cosignatures::open(&machine.env(), path).unwrap();
        assert_eq!(kept, [cosigned(3, &[0]), cosigned(7, &[1])], "{end}");
    }
}

#[test]
fn power_loss_at_any_write_leaves_whole_entries() {
    for changes in 0..60 {
        let machine = machine(changes);
        let path = Path::new(FILE);
        let (mut file, _) = Cosignatures::open(&machine.env(), path).unwrap();
        machine.disk.power_off_after(changes);
        let acknowledged = (1..20).take_while(|size| file.append(&cosigned(*size, &[0])).is_ok()).count();
        let machine = machine.crash(changes);
        let (_, kept) = Cosignatures::open(&machine.env(), path).unwrap();
        assert!(kept.len() == acknowledged || kept.len() == acknowledged + 1, "{changes}: {}", kept.len());
        for (kept, size) in kept.iter().zip(1..) {
            assert_eq!(*kept, cosigned(size, &[0]));
        }
    }
}

#[test]
fn a_long_file_is_opened_from_its_end_and_damage_there_is_named() {
    let machine = machine(4);
    let path = Path::new(FILE);
    let (mut file, _) = Cosignatures::open(&machine.env(), path).unwrap();
    let entry = cosigned(3, &[0, 1]);
    let per_entry = entry.to_string().len() + 30;
    for _ in 0..(1 << 20) / per_entry + 100 {
        file.append(&entry).unwrap();
    }
    drop(file);
    let (_, kept) = Cosignatures::open(&machine.env(), path).unwrap();
    assert!(kept.len() > 1000 && kept.iter().all(|kept| *kept == entry));
    let length = machine.disk.bytes_of(path).unwrap().len() as u64;
    machine.disk.overwrite(path, length - 500_000, &[0; 40]);
    let error = Cosignatures::open(&machine.env(), path).err().unwrap();
    assert_eq!(error.code, Code::Corrupted);
    assert!(error.message.contains("at byte"), "{error}");
}

#[test]
fn after_a_failed_flush_nothing_is_added_until_the_file_is_opened_again() {
    let machine = machine(5);
    let (mut file, _) = Cosignatures::open(&machine.env(), Path::new(FILE)).unwrap();
    machine.disk.inject(Fault::eio(Call::Sync));
    assert!(file.append(&cosigned(3, &[0])).is_err());
    machine.disk.clear_faults();
    assert_eq!(file.append(&cosigned(3, &[0])).unwrap_err().code, Code::Poisoned);
}

#[test]
fn pauses_grow_and_stay_within_a_minute() {
    let first = Duration::from_secs(1);
    let pauses: Vec<u64> = (0..8).map(|failures| back_off(failures, first).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(back_off(u32::MAX, Duration::from_secs(300)), Duration::from_secs(300));
}
