use crate::Hash;
use crate::merkle::{
    Frontier, ProofError, ProveError, TILE_WIDTH, Tiled, TiledError, Tree, TreeHead, empty_root, leaf_hash,
    node_hash, root_of,
};
use crate::tiles::Tile;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof};
use proptest::prelude::*;
use std::convert::Infallible;

/// RFC 6962, section 2.1, word for word.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves.len() {
        0 => empty_root(),
        1 => leaves[0],
        n => node_hash(&mth(&leaves[..k(n)]), &mth(&leaves[k(n)..])),
    }
}

/// The largest power of two smaller than `n`.
fn k(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// `PATH(m, D[n])`.
fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    let n = leaves.len();
    if n == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(k(n));
    let (mut path, beside) =
        if m < k(n) { (path(m, left), mth(right)) } else { (path(m - k(n), right), mth(left)) };
    path.push(beside);
    path
}

/// `SUBPROOF(m, D[n], b)`.
fn subproof(m: usize, leaves: &[Hash], b: bool) -> Vec<Hash> {
    let n = leaves.len();
    if m == n {
        return if b { Vec::new() } else { vec![mth(leaves)] };
    }
    let (left, right) = leaves.split_at(k(n));
    let (mut proof, beside) = if m <= k(n) {
        (subproof(m, left, b), mth(right))
    } else {
        (subproof(m - k(n), right, false), mth(left))
    };
    proof.push(beside);
    proof
}

/// Which way the path of leaf `m` turns, from the leaf up.
fn turns(m: usize, n: usize) -> Vec<bool> {
    if n == 1 {
        return Vec::new();
    }
    let left = m < k(n);
    let mut turns = if left { turns(m, k(n)) } else { turns(m - k(n), n - k(n)) };
    turns.push(left);
    turns
}

fn leaves(count: usize, seed: u32) -> Vec<Hash> {
    (0..count as u32).map(|leaf| leaf_hash(&[seed.to_be_bytes(), leaf.to_be_bytes()].concat())).collect()
}

fn head(leaves: &[Hash]) -> TreeHead {
    TreeHead { size: leaves.len() as u64, root: mth(leaves) }
}

type Plain<F> = Tree<F>;

/// The tree over hashes in memory, every node computed afresh.
fn tree(leaves: &[Hash]) -> Plain<impl FnMut(u8, u64) -> Result<Hash, Infallible>> {
    Tree::new(leaves.len() as u64, |level: u8, index: u64| {
        let start = (index as usize) << level;
        Ok(mth(&leaves[start..start + (1 << level)]))
    })
}

/// Everything that is not the proof but nearly: a bit flipped in each hash, a hash left out, doubled, swapped with its
/// neighbour or added at either end.
fn near_misses(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for at in 0..proof.len() {
        for bit in [0, 77, 255] {
            let mut flipped = proof.to_vec();
            flipped[at][bit / 8] ^= 1 << (bit % 8);
            all.push(flipped);
        }
        let mut shorter = proof.to_vec();
        shorter.remove(at);
        all.push(shorter);
        let mut longer = proof.to_vec();
        longer.insert(at, proof[at]);
        all.push(longer);
        if at > 0 {
            let mut swapped = proof.to_vec();
            swapped.swap(at - 1, at);
            all.push(swapped);
        }
    }
    for extra in [[0; 32], empty_root()] {
        all.push([proof, &[extra]].concat());
        all.push([&[extra], proof].concat());
    }
    all
}

#[test]
fn every_proof_of_every_small_tree_is_the_one_of_the_rfc_and_verifies() {
    let all = leaves(70, 1);
    for size in 1..=all.len() {
        let leaves = &all[..size];
        let (head, mut tree) = (head(leaves), tree(leaves));
        assert_eq!(tree.head(), Ok(head));
        for position in 0..size {
            let proof = tree.inclusion(position as u64).unwrap();
            assert_eq!(proof, path(position, leaves), "leaf {position} of {size}");
            head.verify_inclusion(position as u64, &leaves[position], &proof).unwrap();
        }
        for old in 1..=size {
            let proof = tree.consistency(old as u64).unwrap();
            assert_eq!(proof, subproof(old, leaves, true), "from {old} to {size}");
            let old = TreeHead { size: old as u64, root: mth(&leaves[..old]) };
            head.verify_consistency(&old, &proof).unwrap();
        }
    }
}

#[test]
fn every_range_of_every_small_tree_verifies_and_no_other_range_with_its_proof() {
    let all = leaves(24, 2);
    for size in 1..=all.len() {
        let leaves = &all[..size];
        let (head, mut tree) = (head(leaves), tree(leaves));
        for start in 0..size {
            for end in start + 1..=size {
                let proof = tree.range(start as u64..end as u64).unwrap();
                let inside = leaves[start..end].iter().copied();
                head.verify_range(start as u64..end as u64, inside.clone(), &proof).unwrap();
                for (other_start, other_end) in
                    [(start + 1, end), (start, end + 1), (start + 1, end + 1), (start, end - 1)]
                {
                    let other = other_start as u64..other_end as u64;
                    assert!(head.verify_range(other, inside.clone(), &proof).is_err());
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_proven_is_said() {
    let leaves = leaves(5, 3);
    let (head, mut tree) = (head(&leaves), tree(&leaves));
    let beyond = ProofError::PositionBeyondTree { position: 5, size: 5 };
    assert_eq!(tree.inclusion(5), Err(ProveError::NoSuchProof(beyond.clone())));
    assert_eq!(head.verify_inclusion(5, &leaves[4], &[]), Err(beyond));

    assert_eq!(tree.consistency(0), Err(ProveError::NoSuchProof(ProofError::EmptyOldTree)));
    let empty = TreeHead { size: 0, root: empty_root() };
    assert_eq!(head.verify_consistency(&empty, &[]), Err(ProofError::EmptyOldTree));
    assert_eq!(empty.verify_consistency(&empty, &[]), Err(ProofError::EmptyOldTree));
    assert!(empty.verify_inclusion(0, &leaves[0], &[]).is_err());

    let shrunk = ProofError::Shrunk { old: 6, new: 5 };
    assert_eq!(tree.consistency(6), Err(ProveError::NoSuchProof(shrunk.clone())));
    assert_eq!(head.verify_consistency(&TreeHead { size: 6, root: head.root }, &[]), Err(shrunk));

    for (start, end) in [(2, 2), (4, 6), (3, 2)] {
        let none = ProofError::RangeBeyondTree { start, end, size: 5 };
        assert_eq!(tree.range(start..end), Err(ProveError::NoSuchProof(none.clone())));
        assert_eq!(head.verify_range(start..end, [], &[]), Err(none));
    }
    assert_eq!(self::tree(&[]).head(), Ok(empty));
}

#[test]
fn two_roots_of_one_size_are_inconsistent() {
    let old = TreeHead { size: 3, root: [1; 32] };
    let new = TreeHead { size: 3, root: [2; 32] };
    assert_eq!(
        new.verify_consistency(&old, &[]),
        Err(ProofError::Root { expected: [2; 32], found: [1; 32] })
    );
    assert_eq!(old.verify_consistency(&old, &[]), Ok(()));
    let length = ProofError::Length { expected: 0, found: 1 };
    assert_eq!(old.verify_consistency(&old, &[[1; 32]]), Err(length));
}

#[test]
fn sizes_at_the_end_of_64_bits_are_judged_without_overflow() {
    for size in [1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX] {
        let head = TreeHead { size, root: [9; 32] };
        for position in [0, 1, (1 << 62) - 1, 1 << 62, size / 2, size - 2, size - 1] {
            let mut tree = Tree::new(size, |level: u8, index: u64| {
                Ok::<_, Infallible>(leaf_hash(&[level, index as u8]))
            });
            let proof = tree.inclusion(position).unwrap();
            assert!(matches!(
                head.verify_inclusion(position, &[0; 32], &proof),
                Err(ProofError::Root { .. })
            ));
            let proof = tree.range(position..position + 1).unwrap();
            let found = head.verify_range(position..position + 1, [[0; 32]], &proof);
            assert!(matches!(found, Err(ProofError::Root { .. })));
            if position > 0 {
                let old = TreeHead { size: position, root: [8; 32] };
                let proof = tree.consistency(position).unwrap();
                let found = head.verify_consistency(&old, &proof);
                assert!(
                    matches!(found, Err(ProofError::Root { .. } | ProofError::OldRoot { .. })),
                    "{found:?}"
                );
            }
        }
    }
}

/// Reads tiles out of hashes in memory and counts.
fn tiles<'a>(
    leaves: &'a [Hash],
    reads: &'a std::cell::Cell<usize>,
) -> Tiled<impl FnMut(Tile) -> Result<Vec<Hash>, Infallible> + 'a> {
    Tiled::new(leaves.len() as u64, move |tile: Tile| {
        reads.set(reads.get() + 1);
        let span = TILE_WIDTH.pow(tile.level.into());
        let hash = |index: usize| root_of(&leaves[index * span..(index + 1) * span]);
        Ok((tile.first() as usize..tile.first() as usize + usize::from(tile.width)).map(hash).collect())
    })
}

#[test]
fn proofs_read_from_tiles_are_the_same() {
    let all = leaves(TILE_WIDTH * TILE_WIDTH + 700, 4);
    for size in [1, 2, 255, 256, 257, 511, 513, 65_535, 65_536, 65_537, all.len()] {
        let leaves = &all[..size];
        let reads = std::cell::Cell::new(0);
        let head = TreeHead { size: size as u64, root: root_of(leaves) };
        let mut tree = Tree::new(size as u64, tiles(leaves, &reads));
        assert_eq!(tree.head(), Ok(head));
        for position in [0, 1, 254, 255, 256, 300, size / 2, size - 1] {
            let position = position.min(size - 1);
            reads.set(0);
            let mut tree = Tree::new(size as u64, tiles(leaves, &reads));
            let proof = tree.inclusion(position as u64).unwrap();
            head.verify_inclusion(position as u64, &leaves[position], &proof).unwrap();
            assert!(reads.get() <= 6, "two tiles a level are enough, read {}", reads.get());
            let old = TreeHead { size: position as u64 + 1, root: root_of(&leaves[..=position]) };
            head.verify_consistency(&old, &tree.consistency(old.size).unwrap()).unwrap();
            let range = position as u64 / 2..position as u64 + 1;
            let inside = leaves[position / 2..=position].iter().copied();
            head.verify_range(range.clone(), inside, &tree.range(range).unwrap()).unwrap();
        }
    }
}

#[test]
fn a_tile_of_the_wrong_width_is_refused() {
    let mut tree = Tree::new(300, Tiled::new(300, |_: Tile| Ok::<_, Infallible>(vec![[0; 32]; 255])));
    let tile = Tile { level: 1, index: 0, width: 1 };
    assert_eq!(tree.head(), Err(ProveError::Read(TiledError::Width { tile, found: 255 })));
}

#[test]
fn the_proofs_of_another_implementation_are_ours() {
    let mut other = MemoryBackedTree::<sha2::Sha256, Vec<u8>>::new();
    let values: Vec<Vec<u8>> = (0..150u32).map(|leaf| leaf.to_be_bytes().to_vec()).collect();
    let leaves: Vec<Hash> = values.iter().map(|value| leaf_hash(value)).collect();
    let mut roots = vec![other.root()];
    for (index, value) in values.iter().enumerate() {
        other.push(value.clone());
        roots.push(other.root());
        let size = index + 1;
        let (head, mut tree) = (head(&leaves[..size]), tree(&leaves[..size]));
        for position in (0..size).step_by(7) {
            let ours = tree.inclusion(position as u64).unwrap();
            assert_eq!(ours.as_flattened(), other.prove_inclusion(position).as_bytes());
            let theirs =
                InclusionProof::<sha2::Sha256>::try_from_bytes(ours.as_flattened().to_vec()).unwrap();
            roots[size].verify_inclusion(&values[position], position as u64, &theirs).unwrap();
            head.verify_inclusion(position as u64, &leaves[position], &ours).unwrap();
        }
        for old in (1..size).step_by(5) {
            let ours = tree.consistency(old as u64).unwrap();
            assert_eq!(ours.as_flattened(), other.prove_consistency(size - old).as_bytes());
            let theirs =
                ConsistencyProof::<sha2::Sha256>::try_from_bytes(ours.as_flattened().to_vec()).unwrap();
            roots[size].verify_consistency(&roots[old], &theirs).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn an_inclusion_proof_holds_for_its_leaf_position_size_and_root_alone(
        size in 1..600usize, at: prop::sample::Index, other: prop::sample::Index, seed: u32, bit in 0..256usize,
    ) {
        let leaves = leaves(size, seed);
        let (head, position) = (head(&leaves), at.index(size));
        let (leaf, index) = (leaves[position], position as u64);
        let proof = tree(&leaves).inclusion(index).unwrap();
        prop_assert_eq!(head.verify_inclusion(index, &leaf, &proof), Ok(()));

        for forged in near_misses(&proof) {
            prop_assert!(forged == proof || head.verify_inclusion(index, &leaf, &forged).is_err());
        }
        let elsewhere = other.index(size);
        prop_assert_eq!(head.verify_inclusion(elsewhere as u64, &leaf, &proof).is_ok(), elsewhere == position);
        prop_assert_eq!(head.verify_inclusion(index, &leaves[elsewhere], &proof).is_ok(), elsewhere == position);
        prop_assert!(head.verify_inclusion(index + size as u64, &leaf, &proof).is_err());
        // Where trees of two sizes have the same path, only the checkpoint tells the sizes apart.
        for size in (position + 1).max(size - 1)..size + 70 {
            let other = TreeHead { size: size as u64, ..head };
            let same = turns(position, size) == turns(position, leaves.len());
            prop_assert_eq!(other.verify_inclusion(index, &leaf, &proof).is_ok(), same, "size {}", size);
        }
        let mut flipped = leaf;
        flipped[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(head.verify_inclusion(index, &flipped, &proof).is_err());
        flipped = head.root;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(TreeHead { root: flipped, ..head }.verify_inclusion(index, &leaf, &proof).is_err());
    }

    #[test]
    fn a_consistency_proof_holds_for_its_two_trees_alone(
        size in 2..600usize, at: prop::sample::Index, seed: u32, bit in 0..256usize,
    ) {
        let leaves = leaves(size, seed);
        let (new, old_size) = (head(&leaves), 1 + at.index(size - 1));
        let old = head(&leaves[..old_size]);
        let proof = tree(&leaves).consistency(old.size).unwrap();
        prop_assert_eq!(new.verify_consistency(&old, &proof), Ok(()));

        for forged in near_misses(&proof) {
            prop_assert!(forged == proof || new.verify_consistency(&old, &forged).is_err());
        }
        let flip = |hash: Hash| {
            let mut flipped = hash;
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped
        };
        assert!(new.verify_consistency(&TreeHead { root: flip(old.root), ..old }, &proof).is_err());
        assert!(TreeHead { root: flip(new.root), ..new }.verify_consistency(&old, &proof).is_err());
        assert!(new.verify_consistency(&TreeHead { size: old.size + 1, ..old }, &proof).is_err());
        assert!(new.verify_consistency(&TreeHead { size: old.size - 1, ..old }, &proof).is_err());
        let mut forked = leaves.clone();
        forked[at.index(old_size)] = [7; 32];
        prop_assert!(head(&forked).verify_consistency(&old, &proof).is_err());
        prop_assert!(head(&forked).verify_consistency(&old, &tree(&forked).consistency(old.size).unwrap()).is_err());
    }

    #[test]
    fn a_range_proof_holds_for_its_leaves_alone(
        size in 1..400usize, from: prop::sample::Index, to: prop::sample::Index, seed: u32, bit in 0..256usize,
    ) {
        let leaves = leaves(size, seed);
        let (from, to) = (from.index(size), to.index(size));
        let (from, to) = (from.min(to), from.max(to) + 1);
        let (head, range) = (head(&leaves), from as u64..to as u64);
        let proof = tree(&leaves).range(range.clone()).unwrap();
        let inside = &leaves[from..to];
        let verify = |leaves: &[Hash], proof: &[Hash]| head.verify_range(range.clone(), leaves.iter().copied(), proof);
        prop_assert_eq!(verify(inside, &proof), Ok(()));

        for forged in near_misses(&proof) {
            prop_assert!(forged == proof || verify(inside, &forged).is_err());
        }
        for forged in near_misses(inside) {
            prop_assert!(forged == inside || verify(&forged, &proof).is_err());
        }
        let mut root = head.root;
        root[bit / 8] ^= 1 << (bit % 8);
        let other = TreeHead { root, ..head };
        prop_assert!(other.verify_range(range.clone(), inside.iter().copied(), &proof).is_err());
        if let [one] = inside {
            prop_assert_eq!(head.verify_inclusion(range.start, one, &path(from, &leaves)), Ok(()));
        }
    }

    #[test]
    fn a_frontier_and_a_tree_have_the_same_head(size in 0..700usize, seed: u32) {
        let leaves = leaves(size, seed);
        let mut frontier = Frontier::default();
        leaves.iter().for_each(|leaf| frontier.push(*leaf));
        prop_assert_eq!(tree(&leaves).head(), Ok(TreeHead { size: frontier.size(), root: frontier.root() }));
    }
}
