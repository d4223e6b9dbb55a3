use super::*;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

type Streams = BTreeMap<Hash, StreamHead>;

/// The root by definition: split the keys at the first bit in which they differ.
fn naive_root(streams: &Streams) -> Hash {
    let all: Vec<(&Hash, &StreamHead)> = streams.iter().collect();
    if all.is_empty() { Sha256::digest(b"graven/map-empty/v1").into() } else { naive(&all) }
}

fn naive(streams: &[(&Hash, &StreamHead)]) -> Hash {
    if let [(key, head)] = streams {
        let mut hasher = Sha256::new();
        hasher.update([0]);
        hasher.update(b"graven/map/v1");
        hasher.update(key);
        for number in [head.next_version, head.first_position, head.last_position] {
            hasher.update(number.to_be_bytes());
        }
        hasher.update(head.head);
        hasher.update([u8::from(head.tombstoned)]);
        return hasher.finalize().into();
    }
    let one_at = |key: &Hash, depth: usize| key[depth / 8] & (0x80 >> (depth % 8)) != 0;
    let differs =
        |depth: &usize| streams.iter().any(|(key, _)| one_at(key, *depth) != one_at(streams[0].0, *depth));
    let depth = (0..256).find(differs).unwrap();
    let middle = streams.iter().position(|(key, _)| one_at(key, depth)).unwrap();
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update((depth as u16).to_be_bytes());
    hasher.update(naive(&streams[..middle]));
    hasher.update(naive(&streams[middle..]));
    hasher.finalize().into()
}

fn head(number: u64) -> StreamHead {
    StreamHead {
        next_version: number + 1,
        first_position: number,
        last_position: number * 2,
        head: Sha256::digest(number.to_be_bytes()).into(),
        tombstoned: number.is_multiple_of(3),
    }
}

/// Keys that share long beginnings, so that paths are long and branches deep.
fn key() -> impl Strategy<Value = Hash> {
    let near = (0..256usize, 0..4u8).prop_map(|(bit, byte)| {
        let mut key = [0; 32];
        key[31] = byte;
        key[bit / 8] ^= 1 << (bit % 8);
        key
    });
    prop_oneof![any::<[u8; 32]>(), near, (0..8u8).prop_map(|byte| [byte; 32])]
}

fn streams() -> impl Strategy<Value = Vec<(Hash, StreamHead)>> {
    prop::collection::vec((key(), (0..1000u64).prop_map(head)), 0..60)
}

fn trie_of(streams: &[(Hash, StreamHead)]) -> StreamTrie {
    let mut trie = StreamTrie::new();
    trie.extend(streams.iter().copied());
    trie
}

#[test]
fn an_empty_trie_proves_that_there_is_nothing() {
    let mut trie = StreamTrie::new();
    assert_eq!(trie.root(), empty_trie_root());
    assert_eq!(naive_root(&Streams::new()), empty_trie_root());
    let proof = trie.prove(&[7; 32]);
    assert_eq!(proof.verify(&[7; 32], &trie.root()), Ok(Answer::Absent));
    assert_eq!(proof.encode(), b"GTP1\0\0\0");
    assert!(matches!(proof.verify(&[7; 32], &[0; 32]), Err(TrieProofError::Root { .. })));
}

#[test]
fn two_keys_that_differ_in_their_last_bit_only() {
    let (mut one, other) = ([0xff; 32], [0xff; 32]);
    one[31] = 0xfe;
    let mut trie = trie_of(&[(other, head(1)), (one, head(2))]);
    assert_eq!(trie.root(), branch_hash(255, &leaf_hash(&one, &head(2)), &leaf_hash(&other, &head(1))));
    assert_eq!(trie.prove(&one).verify(&one, &trie.root()), Ok(Answer::Present(head(2))));
    // a key far away ends in one of the two, and is absent
    assert_eq!(trie.prove(&[0; 32]).verify(&[0; 32], &trie.root()), Ok(Answer::Absent));
}

#[test]
fn a_key_with_a_branch_at_every_bit_has_the_longest_proof() {
    let mut streams = vec![([0; 32], head(0))];
    for bit in 0..256 {
        let mut key = [0; 32];
        key[bit / 8] = 0x80 >> (bit % 8);
        streams.push((key, head(bit as u64)));
    }
    let mut trie = trie_of(&streams);
    assert_eq!(trie.root(), naive_root(&streams.into_iter().collect()));
    let proof = trie.prove(&[0; 32]).encode();
    assert_eq!(proof.len(), 4 + 2 + 256 * 34 + 1 + STREAM_HEAD_BYTES);
    assert!(proof.len() <= TRIE_PROOF_BYTES_MAX);
    let answer = TrieProof::decode(&proof).unwrap().verify(&[0; 32], &trie.root());
    assert_eq!(answer, Ok(Answer::Present(head(0))));
}

#[test]
fn a_branch_with_a_depth_out_of_order_is_refused_although_its_root_would_fit() {
    // A forger who writes the root himself puts the key under two branches of one depth.
    let (key, sibling) = ([0x80; 32], [9; 32]);
    let inner = branch_hash(0, &sibling, &leaf_hash(&key, &head(1)));
    let root = branch_hash(0, &sibling, &inner);
    let mut bytes = b"GTP1\0\x02".to_vec();
    for _ in 0..2 {
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&sibling);
    }
    bytes.push(1);
    bytes.extend_from_slice(&head(1).encode());
    let depth = TrieProofError::Depth { number: 1, above: Some(0), found: 0 };
    assert_eq!(TrieProof::decode(&bytes), Err(depth.clone()));
    let proof = TrieProof { path: vec![(0, sibling), (0, sibling)], end: proof_end(&key, head(1)) };
    assert_eq!(proof.verify(&key, &root), Err(depth));
}

fn proof_end(key: &Hash, head: StreamHead) -> super::proof::End {
    TrieProof::ending_in(Vec::new(), key, *key, head).end
}

#[test]
fn a_stream_cannot_be_denied_by_the_leaf_of_another() {
    let (mut left, mut right) = ([0; 32], [0; 32]);
    (left[0], right[0]) = (0x10, 0x90);
    let mut trie = trie_of(&[(left, head(1)), (right, head(2))]);
    let root = trie.root();
    // the path of the one, shown for the other
    let forged = TrieProof::ending_in(vec![(0, leaf_hash(&left, &head(1)))], &left, right, head(2));
    assert_eq!(forged.verify(&left, &root), Err(TrieProofError::WrongPath));
    // its own leaf, called that of another
    let forged = TrieProof { end: super::proof::End::Other(left, head(1)), ..trie.prove(&left) };
    assert_eq!(forged.verify(&left, &root), Err(TrieProofError::WrongPath));
    // and an empty trie, although there is one
    assert!(matches!(TrieProof::empty().verify(&left, &root), Err(TrieProofError::Root { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_is_the_naive_trie_after_every_batch_in_whatever_order(
        batches in prop::collection::vec(streams(), 0..5), absent in prop::collection::vec(key(), 0..20),
    ) {
        let (mut trie, mut model) = (StreamTrie::new(), Streams::new());
        for batch in &batches {
            for (key, head) in batch {
                prop_assert_eq!(trie.set(*key, *head), model.insert(*key, *head));
            }
            prop_assert_eq!(trie.root(), naive_root(&model));
            prop_assert_eq!(trie.len(), model.len());
        }
        let sorted: Vec<_> = model.iter().map(|(key, head)| (*key, *head)).collect();
        let reversed: Vec<_> = sorted.iter().rev().copied().collect();
        prop_assert_eq!(trie_of(&reversed).root(), trie.root());
        prop_assert_eq!(trie.iter().map(|(key, head)| (*key, *head)).collect::<Streams>(), model.clone());

        let root = trie.root();
        for key in model.keys().chain(&absent) {
            let wanted = model.get(key).map_or(Answer::Absent, |head| Answer::Present(*head));
            prop_assert_eq!(trie.get(key), model.get(key));
            let proof = trie.prove(key);
            prop_assert_eq!(proof.verify(key, &root), Ok(wanted));
            prop_assert_eq!(TrieProof::decode(&proof.encode()), Ok(proof));
        }
    }

    #[test]
    fn the_root_with_changes_is_the_root_once_they_are_made_and_changes_nothing(
        before in streams(), changes in streams(),
    ) {
        let mut trie = trie_of(&before);
        let standing: Streams = before.into_iter().collect();
        let changes: Streams = changes.into_iter().collect();
        let sorted: Vec<_> = changes.iter().map(|(key, head)| (*key, *head)).collect();
        let previewed = trie.root_with(&sorted);
        prop_assert_eq!(trie.root(), naive_root(&standing));
        prop_assert_eq!(trie.iter().map(|(key, head)| (*key, *head)).collect::<Streams>(), standing);
        trie.extend(sorted);
        prop_assert_eq!(previewed, trie.root());
    }

    #[test]
    fn a_changed_proof_never_gives_another_answer(
        streams in streams(), key in key(), bit in 0..8u8, other in key(),
    ) {
        let mut trie = trie_of(&streams);
        let root = trie.root();
        let answer = trie.prove(&key).verify(&key, &root);
        let bytes = trie.prove(&key).encode();
        let forgeries = (0..bytes.len()).flat_map(|at| {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let mut shorter = bytes.clone();
            shorter.remove(at);
            [flipped, shorter, bytes[..at].to_vec()]
        });
        for forged in forgeries.chain([[&bytes[..], &[0]].concat()]) {
            prop_assert!(TrieProof::decode(&forged).is_err_or(|proof| proof.verify(&key, &root).is_err()));
        }
        // another key's proof says nothing else of this one
        let elsewhere = trie.prove(&other).verify(&key, &root);
        prop_assert!(elsewhere.is_err() || elsewhere == answer);
        // nor does the proof hold under the root after a change
        trie.set(other, head(5000));
        let moved = trie.root();
        prop_assert!(TrieProof::decode(&bytes).unwrap().verify(&key, &moved).is_err());
    }
}

trait IsErrOr<T> {
    fn is_err_or(&self, holds: impl FnOnce(&T) -> bool) -> bool;
}

impl<T, E> IsErrOr<T> for Result<T, E> {
    fn is_err_or(&self, holds: impl FnOnce(&T) -> bool) -> bool {
        self.as_ref().map_or(true, holds)
    }
}
