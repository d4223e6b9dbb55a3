//! Proofs, checkpoints and tile paths beside Cloudflare's `tlog_tiles`: theirs are accepted by us, ours by them.

use graven_proof::Hash;
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::merkle::{Tree, TreeHead, leaf_hash, root_of};
use graven_proof::note::{Algorithm, SignerKey};
use graven_proof::tiles::{Tile, TilePath};
use proptest::prelude::*;
use std::convert::Infallible;
use tlog_tiles::{HashReader, check_record, check_tree, prove_record, prove_tree, tree_hash};

fn leaves(count: usize) -> Vec<Hash> {
    (0..count as u32).map(|leaf| leaf_hash(&leaf.to_be_bytes())).collect()
}

fn node(leaves: &[Hash], level: u8, index: u64) -> Hash {
    let start = (index as usize) << level;
    root_of(&leaves[start..start + (1 << level)])
}

struct Stored<'a>(&'a [Hash]);

impl HashReader for Stored<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        let read = |index: &u64| {
            let (level, number) = tlog_tiles::split_stored_hash_index(*index);
            tlog_tiles::Hash(node(self.0, level, number))
        };
        Ok(indexes.iter().map(read).collect())
    }
}

fn theirs(hashes: &[Hash]) -> Vec<tlog_tiles::Hash> {
    hashes.iter().map(|hash| tlog_tiles::Hash(*hash)).collect()
}

#[test]
fn proofs_of_every_small_tree_are_the_same_and_verify_on_both_sides() {
    let all = leaves(68);
    for size in 1..=all.len() {
        let leaves = &all[..size];
        let head = TreeHead { size: size as u64, root: root_of(leaves) };
        let root = tree_hash(head.size, &Stored(leaves)).unwrap();
        assert_eq!(root.0, head.root);
        let mut tree =
            Tree::new(head.size, |level: u8, index: u64| Ok::<_, Infallible>(node(leaves, level, index)));
        for position in 0..head.size {
            let ours = theirs(&tree.inclusion(position).unwrap());
            assert_eq!(ours, prove_record(head.size, position, &Stored(leaves)).unwrap());
            let leaf = leaves[position as usize];
            check_record(&ours, head.size, root, position, tlog_tiles::Hash(leaf)).unwrap();
            let back: Vec<Hash> = ours.iter().map(|hash| hash.0).collect();
            head.verify_inclusion(position, &leaf, &back).unwrap();
        }
        for old in 1..=head.size {
            let ours = theirs(&tree.consistency(old).unwrap());
            assert_eq!(ours, prove_tree(head.size, old, &Stored(leaves)).unwrap());
            let old_root = root_of(&leaves[..old as usize]);
            check_tree(&ours, head.size, root, old, tlog_tiles::Hash(old_root)).unwrap();
            let back: Vec<Hash> = ours.iter().map(|hash| hash.0).collect();
            head.verify_consistency(&TreeHead { size: old, root: old_root }, &back).unwrap();
        }
    }
}

/// They write the height, which C2SP leaves out since it is always 8.
fn their_path(path: &str) -> String {
    path.replacen("tile/", "tile/8/", 1).replace("/entries/", "/data/")
}

proptest! {
    #[test]
    fn a_mangled_proof_is_judged_alike(
        size in 1..40usize, position in 0..45u64, old in 1..45u64, drop in any::<bool>(), flip in prop::option::of(0..256usize),
    ) {
        let leaves = leaves(size);
        let head = TreeHead { size: size as u64, root: root_of(&leaves) };
        let mangle = |mut proof: Vec<Hash>| {
            if drop {
                proof.pop();
            }
            if let (Some(bit), Some(hash)) = (flip, proof.first_mut()) {
                hash[bit / 8] ^= 1 << (bit % 8);
            }
            proof
        };
        let made = position.min(head.size - 1);
        let mut tree = Tree::new(head.size, |level: u8, index: u64| Ok::<_, Infallible>(node(&leaves, level, index)));
        let proof = mangle(tree.inclusion(made).unwrap());
        let leaf = leaves[made as usize];
        let (root, their_leaf) = (tlog_tiles::Hash(head.root), tlog_tiles::Hash(leaf));
        prop_assert_eq!(
            head.verify_inclusion(position, &leaf, &proof).is_ok(),
            check_record(&theirs(&proof), head.size, root, position, their_leaf).is_ok()
        );
        let from = old.min(head.size);
        let proof = mangle(tree.consistency(from).unwrap());
        let old_root = root_of(&leaves[..from as usize]);
        prop_assert_eq!(
            head.verify_consistency(&TreeHead { size: old, root: old_root }, &proof).is_ok(),
            check_tree(&theirs(&proof), head.size, root, old, tlog_tiles::Hash(old_root)).is_ok()
        );
    }

    #[test]
    fn tile_paths_are_spelled_alike(level in 0..8u8, index: u64, shift in 0..64u32, width in 1..=256u16) {
        let tile = Tile { level, index: index >> shift, width };
        let path = TilePath::Hashes(tile).to_string();
        let their = tlog_tiles::Tile::new(8, level, tile.index, width.into(), false);
        prop_assert_eq!(their_path(&path), their.path());
    }

    #[test]
    fn a_path_is_refused_by_both_or_neither(
        // neither level 64 nor width 0, over which they panic
        path in "tile/(0|3|07|entries)/(x[0-9]{3}/|[0-9]{3}/){0,2}[0-9]{2,4}(\\.p/0?[1-9][0-9]{0,2})?",
    ) {
        let ours = path.parse::<TilePath>();
        let theirs = tlog_tiles::Tile::from_path(&their_path(&path));
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{}", path);
    }

    #[test]
    fn checkpoints_are_read_alike(size: u64, root: [u8; 32]) {
        let key = SignerKey::from_seed("log.example/1".parse().unwrap(), Algorithm::Ed25519, &[1; 32]);
        let ours = SignedCheckpoint::sign(&TreeHead { size, root }, &key, &[], 0).unwrap();
        let text = ours.note().unverified_text();
        let theirs = tlog_tiles::Checkpoint::new("log.example/1", size, tlog_tiles::Hash(root), "").unwrap();
        prop_assert_eq!(text.as_bytes(), theirs.to_bytes());
    }
}
