//! RFC 6962 hashing, the right edge of the tree, proofs.

mod proof;
mod prove;

use crate::Hash;
use crate::sha256::{digest_node, digest_parts};
pub use proof::{ProofError, TreeHead};
pub use prove::{Nodes, ProveError, Tiled, TiledError, Tree};
use sha2::{Digest, Sha256};

/// Leaves under one hash of the next tile level (C2SP tlog-tiles, height 8).
pub const TILE_WIDTH: usize = 256;

pub(crate) const LEAF_PREFIX: u8 = 0;

const TILE_HEIGHT: u32 = TILE_WIDTH.trailing_zeros();

/// Hash of a leaf: `SHA-256(0x00 ‖ leaf)` (RFC 6962, section 2.1).
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    digest_parts([&[LEAF_PREFIX], leaf])
}

/// Hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)` (RFC 6962, section 2.1).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    digest_node(left, right)
}

/// Root over neighbouring subtrees of equal size, whose roots are `hashes`; also right where the last one is missing
/// its neighbour, as RFC 6962 has it. [`empty_root`] without any. One node hash a hash.
#[must_use]
pub fn root_of(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => empty_root(),
        [one] => *one,
        [left, right] => node_hash(left, right),
        _ => {
            let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// Root of the empty tree: `SHA-256("")`.
#[must_use]
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The right edge of an append-only tree: the roots of its perfect subtrees, largest first. At most 64 hashes; all
/// that is needed to append a leaf and to say the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Restores a frontier from its size and peaks, largest subtree first.
    ///
    /// Returns `None` if the number of peaks is not the number of one bits in `size`.
    #[must_use]
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Option<Frontier> {
        (peaks.len() as u32 == size.count_ones()).then_some(Frontier { size, peaks })
    }

    /// Leaves in the tree.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the perfect subtrees, largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends a leaf by its hash. Amortised one node hash.
    ///
    /// # Panics
    /// At 2^64 - 1 leaves.
    pub fn push(&mut self, leaf_hash: Hash) {
        self.push_tiled(leaf_hash);
    }

    /// [`Frontier::push`] that returns, every [`TILE_WIDTH`]th time, the root of the [`TILE_WIDTH`] leaves that end
    /// with this one: what a store of tiles writes one level up, without hashing it again.
    ///
    /// # Panics
    /// At 2^64 - 1 leaves.
    pub fn push_tiled(&mut self, leaf_hash: Hash) -> Option<Hash> {
        let mut node = leaf_hash;
        let mut tile = None;
        for height in 1..=self.size.trailing_ones() {
            let left = self.peaks.pop().expect("a one bit in the size stands for a peak");
            node = node_hash(&left, &node);
            if height == TILE_HEIGHT {
                tile = Some(node);
            }
        }
        self.peaks.push(node);
        self.size = self.size.checked_add(1).expect("a log never has 2^64 leaves");
        tile
    }

    /// Root of the tree. One node hash a peak.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return empty_root() };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

#[cfg(test)]
mod tests;
