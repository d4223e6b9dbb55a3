//! Making proofs: which hashes of the tree make up each, read from wherever the tree is kept.

use super::proof::{ProofError, TreeHead};
use super::{empty_root, node_hash, root_of};
use crate::Hash;
use crate::tiles::{TILE_LEVELS, TILE_WIDTH, Tile};
use std::ops::Range;
use thiserror::Error;

const TILE_HEIGHT: u8 = TILE_WIDTH.trailing_zeros() as u8;

/// Where the hashes of a tree come from: a closure, or tiles ([`Tiled`]).
pub trait Nodes {
    /// Why a hash could not be had.
    type Error;

    /// Root of the perfect subtree over leaves `index·2^level` to `(index + 1)·2^level`; asked only for such as the
    /// tree has.
    ///
    /// # Errors
    /// If it cannot be had.
    fn node(&mut self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

impl<F, E> Nodes for F
where
    F: FnMut(u8, u64) -> Result<Hash, E>,
{
    type Error = E;

    fn node(&mut self, level: u8, index: u64) -> Result<Hash, E> {
        self(level, index)
    }
}

/// Why a proof could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProveError<E> {
    /// There is no such proof.
    #[error("{0}")]
    NoSuchProof(ProofError),
    /// A hash could not be read.
    #[error("{0}")]
    Read(E),
}

/// A tree of so many leaves, whose hashes are read as they are needed. The source may hold more leaves.
#[derive(Debug)]
pub struct Tree<N> {
    size: u64,
    nodes: N,
}

impl<N: Nodes> Tree<N> {
    /// The tree of the first `size` leaves.
    pub fn new(size: u64, nodes: N) -> Tree<N> {
        Tree { size, nodes }
    }

    /// Leaves in the tree.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Size and root. A read for each one bit of the size.
    ///
    /// # Errors
    /// If a hash cannot be read.
    pub fn head(&mut self) -> Result<TreeHead, ProveError<N::Error>> {
        let root = if self.size == 0 { empty_root() } else { self.subtree(0..self.size)? };
        Ok(TreeHead { size: self.size, root })
    }

    /// Proof that the leaf at `position` is in this tree: the hashes beside its path, from the leaf up (RFC 6962,
    /// section 2.1.1). At most 64.
    ///
    /// # Errors
    /// If the tree has no such leaf, or a hash cannot be read.
    pub fn inclusion(&mut self, position: u64) -> Result<Vec<Hash>, ProveError<N::Error>> {
        if position >= self.size {
            let missing = ProofError::PositionBeyondTree { position, size: self.size };
            return Err(ProveError::NoSuchProof(missing));
        }
        let mut proof = Vec::new();
        let mut within = 0..self.size;
        while within.end - within.start > 1 {
            let middle = split(&within);
            if position < middle {
                proof.push(self.subtree(middle..within.end)?);
                within.end = middle;
            } else {
                proof.push(self.subtree(within.start..middle)?);
                within.start = middle;
            }
        }
        proof.reverse();
        Ok(proof)
    }

    /// Proof that this tree begins with the leaves of the tree of its first `old_size` (RFC 6962, section 2.1.2). At
    /// most 65 hashes; none if the sizes are the same.
    ///
    /// # Errors
    /// If `old_size` is 0, of which nothing can be proven, or above this tree's; if a hash cannot be read.
    pub fn consistency(&mut self, old_size: u64) -> Result<Vec<Hash>, ProveError<N::Error>> {
        if old_size == 0 {
            return Err(ProveError::NoSuchProof(ProofError::EmptyOldTree));
        }
        if old_size > self.size {
            let shrunk = ProofError::Shrunk { old: old_size, new: self.size };
            return Err(ProveError::NoSuchProof(shrunk));
        }
        let mut proof = Vec::new();
        let mut within = 0..self.size;
        while old_size < within.end {
            let middle = split(&within);
            if old_size <= middle {
                proof.push(self.subtree(middle..within.end)?);
                within.end = middle;
            } else {
                proof.push(self.subtree(within.start..middle)?);
                within.start = middle;
            }
        }
        // The old tree's own root is known to whoever asks.
        if within.start > 0 {
            proof.push(self.subtree(within)?);
        }
        proof.reverse();
        Ok(proof)
    }

    /// Proof that the leaves at these positions, without a gap between them, are in this tree: the roots of the
    /// perfect subtrees before them and of those after them, from left to right. At most 127 hashes, whatever the
    /// length of the range.
    ///
    /// # Errors
    /// If the range is empty or ends beyond the tree, or a hash cannot be read.
    pub fn range(&mut self, positions: Range<u64>) -> Result<Vec<Hash>, ProveError<N::Error>> {
        let (before, after) = super::proof::around(&positions, self.size).map_err(ProveError::NoSuchProof)?;
        before.chain(after).map(|(level, index)| self.node(level, index)).collect()
    }

    /// Root over a range of leaves that begins at a multiple of the power of two its length fills up.
    fn subtree(&mut self, leaves: Range<u64>) -> Result<Hash, ProveError<N::Error>> {
        let mut peaks = Vec::new();
        for (level, index) in super::proof::perfect_subtrees(leaves) {
            peaks.push(self.node(level, index)?);
        }
        let root = peaks.into_iter().rev().reduce(|right, left| node_hash(&left, &right));
        Ok(root.expect("a range that is split has leaves on both sides"))
    }

    fn node(&mut self, level: u8, index: u64) -> Result<Hash, ProveError<N::Error>> {
        self.nodes.node(level, index).map_err(ProveError::Read)
    }
}

/// Where RFC 6962 splits a tree: behind the largest power of two that leaves something over.
fn split(within: &Range<u64>) -> u64 {
    let length = within.end - within.start;
    within.start + (1 << (length - 1).ilog2())
}

/// Hashes read tile by tile, as a log stores and publishes them. Every eighth level is in tiles; those between are
/// computed. Keeps the tile last used of each level: 64 KiB at the most.
///
/// What comes out is as trustworthy as the tiles: a proof made of tiles from elsewhere is to be verified.
#[derive(Debug)]
pub struct Tiled<R> {
    size: u64,
    read: R,
    last: [Option<(u64, Vec<Hash>)>; TILE_LEVELS as usize],
}

/// Why a tile gave no hash.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TiledError<E> {
    /// The tile could not be read.
    #[error("{0}")]
    Read(E),
    /// It is not as wide as it has to be.
    #[error("expected {} hashes in tile {} of level {}, found {found}", tile.width, tile.index, tile.level)]
    Width {
        /// The tile that was asked for.
        tile: Tile,
        /// Hashes there were.
        found: usize,
    },
    /// The tree has no such subtree.
    #[error("the tree has no perfect subtree {index} of 2^{level} leaves")]
    NoSuchNode {
        /// Height of the subtree.
        level: u8,
        /// Its number.
        index: u64,
    },
}

impl<R, E> Tiled<R>
where
    R: FnMut(Tile) -> Result<Vec<Hash>, E>,
{
    /// The tiles of a tree of `size` leaves. `read` returns the hashes of a tile of that tree, exactly as many as it
    /// is wide; it is not asked twice in a row for the same one.
    pub fn new(size: u64, read: R) -> Tiled<R> {
        Tiled { size, read, last: Default::default() }
    }
}

impl<R, E> Nodes for Tiled<R>
where
    R: FnMut(Tile) -> Result<Vec<Hash>, E>,
{
    type Error = TiledError<E>;

    fn node(&mut self, level: u8, index: u64) -> Result<Hash, TiledError<E>> {
        let missing = TiledError::NoSuchNode { level, index };
        let (tile_level, height) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        let Some(first) = index.checked_mul(1 << height) else { return Err(missing) };
        let Some(tile) = Tile::of_tree(self.size, tile_level, first / TILE_WIDTH as u64) else {
            return Err(missing);
        };
        let start = (first % TILE_WIDTH as u64) as usize;
        let end = start + (1 << height);
        if end > usize::from(tile.width) {
            return Err(missing);
        }
        let last = &mut self.last[usize::from(tile_level)];
        let hashes = match last {
            Some((index, hashes)) if *index == tile.index => hashes,
            _ => {
                let hashes = (self.read)(tile).map_err(TiledError::Read)?;
                if hashes.len() != usize::from(tile.width) {
                    return Err(TiledError::Width { tile, found: hashes.len() });
                }
                &mut last.insert((tile.index, hashes)).1
            }
        };
        Ok(root_of(&hashes[start..end]))
    }
}
