use super::*;
use crate::env::RealDisk;
use proptest::prelude::*;

fn head(number: u64) -> StreamHead {
    StreamHead {
        next_version: number,
        first_position: number * 3,
        last_position: number * 5,
        head: [number as u8; 32],
        tombstoned: number.is_multiple_of(2),
    }
}

fn key(number: u64) -> Hash {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[24..].copy_from_slice(&number.to_be_bytes());
    key
}

const LOG: Hash = [7; 32];

/// A trie of so many streams, and a seal over it.
fn sealed(streams: u64) -> (Sealed, StreamTrie) {
    let mut trie = StreamTrie::new();
    trie.extend((0..streams).map(|number| (key(number), head(number))));
    let seal = Sealed { position: streams + 9, size: streams + 4, streams, root: trie.root() };
    (seal, trie)
}

fn written(streams: u64) -> (tempfile::TempDir, std::path::PathBuf, Sealed) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("streams");
    let (seal, trie) = sealed(streams);
    write(&RealDisk, &path, &LOG, &seal, &trie).unwrap();
    (dir, path, seal)
}

#[test]
fn what_is_written_is_read_again_at_the_edges_of_blocks_too() {
    for streams in [0, 1, 1_023, 1_024, 1_025, 3_000] {
        let (_dir, path, seal) = written(streams);
        let (found, mut trie) = read(&RealDisk, &path, &LOG).unwrap().unwrap();
        assert_eq!((found, trie.root(), trie.len() as u64), (seal.clone(), seal.root, streams));
    }
}

#[test]
fn the_file_of_another_log_and_one_of_another_length_are_left_aside() {
    let (_dir, path, _) = written(10);
    assert_eq!(read(&RealDisk, &path, &[8; 32]).unwrap().unwrap_err(), "it is of another log");
    let bytes = std::fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert_eq!(read(&RealDisk, &path, &LOG).unwrap().unwrap_err(), "it is cut off", "{length}");
    }
    std::fs::write(&path, [&bytes[..], &[0]].concat()).unwrap();
    assert_eq!(read(&RealDisk, &path, &LOG).unwrap().unwrap_err(), "it is longer than it says");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(read(&RealDisk, &path, &LOG).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn what_a_crash_left_beside_it_is_removed_and_the_file_is_not() {
    let (_dir, path, _) = written(3);
    let leftover = temporary_name(&path);
    std::fs::write(&leftover, "half").unwrap();
    remove_leftover(&RealDisk, &path);
    remove_leftover(&RealDisk, &path);
    assert!(path.exists() && !leftover.exists());
}

#[test]
fn a_stream_that_stands_in_it_twice_is_noticed() {
    let (_dir, path, _) = written(2);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.copy_within(HEADER_BYTES..HEADER_BYTES + ENTRY_BYTES, HEADER_BYTES + ENTRY_BYTES);
    let end = bytes.len() - CRC_BYTES;
    let crc = crc32c::crc32c(&bytes[HEADER_BYTES..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(read(&RealDisk, &path, &LOG).unwrap().unwrap_err(), "a stream stands in it twice");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_flipped_bit_anywhere_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let (_dir, path, _) = written(40);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        std::fs::write(&path, bytes).unwrap();
        prop_assert!(read(&RealDisk, &path, &LOG).unwrap().is_err());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("streams");
        std::fs::write(&path, &bytes).unwrap();
        prop_assert!(read(&RealDisk, &path, &LOG).unwrap().is_err());
    }

    #[test]
    fn no_header_with_a_checksum_that_holds_makes_the_reader_panic(
        numbers in any::<[u64; 3]>(), rest in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let [position, size, streams] = numbers;
        let seal = Sealed { position, size, streams: streams % 9, root: [1; 32] };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("streams");
        std::fs::write(&path, [&encode_header(&LOG, &seal)[..], &rest].concat()).unwrap();
        let read = read(&RealDisk, &path, &LOG).unwrap();
        prop_assert!(read.is_err() || streams % 9 == 0 && rest.is_empty());
    }
}
