use super::*;
use graven_proof::merkle::TreeHead;
use graven_proof::note::{Algorithm, SignerKey};
use proptest::prelude::*;

fn stored(origin: &str, size: u64, cosigners: usize) -> StoredCheckpoint {
    let key = |seed| SignerKey::from_seed(origin.parse().unwrap(), Algorithm::Ed25519, &[seed; 32]);
    let others: Vec<SignerKey> = (0..cosigners).map(|seed| key(2 + seed as u8)).collect();
    let head = TreeHead { size, root: [size as u8; 32] };
    let checkpoint = SignedCheckpoint::sign(&head, &key(1), &others.iter().collect::<Vec<_>>(), 0).unwrap();
    StoredCheckpoint { size, signed_at: Timestamp::from_micros(-(size as i64)), checkpoint }
}

fn filled(path: &Path, sizes: &[u64]) -> Vec<StoredCheckpoint> {
    let log = CheckpointLog::open(&Env::real(), path).unwrap();
    let all: Vec<_> =
        sizes.iter().map(|size| stored("log.example", *size, (*size % 4) as usize * 2)).collect();
    for stored in &all {
        assert!(log.append(stored).is_ok());
    }
    all
}

#[test]
fn checkpoints_of_one_block_and_of_several_are_found_by_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoints.log");
    let sizes: Vec<u64> = (0..300).map(|number| number * 3 + number % 2).collect();
    let all = filled(&path, &sizes);
    let log = CheckpointLog::open(&Env::real(), &path).unwrap();
    assert_eq!(log.last().unwrap().as_ref(), all.last());
    assert_eq!(log.above(None, 1000).unwrap(), all);
    for size in 0..905 {
        let expected = all.iter().find(|stored| stored.size == size);
        assert_eq!(log.of_size(size).unwrap().as_ref(), expected);
        let above: Vec<_> = all.iter().filter(|stored| stored.size > size).take(3).cloned().collect();
        assert_eq!(log.above(Some(size), 3).unwrap(), above);
    }
}

#[test]
fn what_a_crash_tore_at_the_end_is_left_out_and_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoints.log");
    // The last one takes several blocks.
    let all = filled(&path, &[1, 2, 5, 6, 7]);
    let whole = std::fs::read(&path).unwrap();
    let before = whole.len() - encode(&all[4], &all[4].checkpoint.to_string()).len();
    assert!(whole.len() - before >= 2 * BLOCK_BYTES);
    for cut in (before..whole.len()).step_by(37).chain([whole.len() - 1]) {
        for zeros in [0, 100, 1000] {
            let mut torn = whole[..cut].to_vec();
            torn.resize(cut + zeros, 0);
            std::fs::write(&path, &torn).unwrap();
            let log = CheckpointLog::open(&Env::real(), &path).unwrap();
            // What is missing may be nothing but the zeros at its end.
            if torn.get(..whole.len()) == Some(&whole) {
                assert_eq!(log.last().unwrap().unwrap(), all[4]);
                continue;
            }
            assert_eq!(log.last().unwrap().unwrap(), all[3]);
            assert!(log.append(&all[4]).is_ok());
            assert_eq!(log.above(None, 10).unwrap(), all);
            drop(log);
            let log = CheckpointLog::open(&Env::real(), &path).unwrap();
            assert_eq!(log.last().unwrap().unwrap(), all[4]);
        }
    }
}

#[test]
fn damage_that_no_crash_makes_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoints.log");
    filled(&path, &(0..40).map(|number| number * 4).collect::<Vec<_>>());
    let mut bytes = std::fs::read(&path).unwrap();
    let from = bytes.len() - 12 * BLOCK_BYTES;
    bytes[from..].fill(1);
    std::fs::write(&path, bytes).unwrap();
    let error = CheckpointLog::open(&Env::real(), &path).err().unwrap();
    assert_eq!(error.code, Code::Corrupted);
    assert!(error.message.contains(&path.display().to_string()), "{error}");
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoints.log");
    let log = CheckpointLog::open(&Env::real(), &path).unwrap();
    let long = stored(&"o".repeat(3000), 1, 0);
    assert!(
        matches!(log.append(&long), Err(AppendError::Refused(error)) if error.code == Code::InvalidConfig)
    );
    assert_eq!(log.last().unwrap(), None);
}

proptest! {
    #[test]
    fn bytes_from_anywhere_are_blocks_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Some(block) = Block::decode(&bytes) {
            prop_assert!(block.part < block.parts);
        }
    }

    #[test]
    fn whatever_is_changed_in_the_file_no_other_checkpoint_comes_out(at in 0..4096usize, flip in 1..=255u8) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoints.log");
        let all = filled(&path, &[4, 8, 9, 12, 16, 17, 18]);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(log) = CheckpointLog::open(&Env::real(), &path) {
            for expected in &all {
                if let Ok(Some(found)) = log.of_size(expected.size) {
                    prop_assert_eq!(&found, expected);
                }
            }
        }
    }
}
