//! Verifying proofs, by RFC 6962 and RFC 9162: the hashes a proof consists of must lead to the root, and be exactly as
//! many as the sizes demand.

use super::node_hash;
use crate::Hash;
use std::ops::Range;
use thiserror::Error;

/// How many leaves a tree has and the root over them: what a checkpoint says. The two belong together: a root alone does
/// not say how many leaves are under it, and a proof is judged by both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TreeHead {
    /// Leaves in the tree.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

/// Why a proof does not hold, or cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The tree has no such leaf.
    #[error("position {position} is not in a tree of {size} leaves")]
    PositionBeyondTree {
        /// The leaf asked about.
        position: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// A range without leaves, or one that ends beyond the tree.
    #[error("positions {start} to {end} are no leaves of a tree of {size} leaves")]
    RangeBeyondTree {
        /// First position.
        start: u64,
        /// Behind the last position.
        end: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// Every tree begins with an empty one, so a proof of it proves nothing.
    #[error("nothing is proven by consistency with an empty tree")]
    EmptyOldTree,
    /// The new tree is smaller than the old one.
    #[error("the tree has shrunk: expected at least {old} leaves, found {new}")]
    Shrunk {
        /// Leaves of the old tree.
        old: u64,
        /// Leaves of the new one.
        new: u64,
    },
    /// More or fewer hashes than the sizes demand.
    #[error("expected {expected} hashes in the proof, found {found}")]
    Length {
        /// Hashes there must be.
        expected: usize,
        /// Hashes there are.
        found: usize,
    },
    /// More or fewer leaf hashes than positions.
    #[error("expected {expected} leaf hashes, found {found}")]
    LeafCount {
        /// Leaf hashes there must be.
        expected: u64,
        /// Leaf hashes there are.
        found: u64,
    },
    /// The hashes lead to another root.
    #[error("expected root {}, found {}", Hex(.expected), Hex(.found))]
    Root {
        /// The root of the tree.
        expected: Hash,
        /// The root the proof leads to.
        found: Hash,
    },
    /// The hashes of a consistency proof lead to another root of the old tree.
    #[error("expected root {} of the old tree, found {}", Hex(.expected), Hex(.found))]
    OldRoot {
        /// The root of the old tree.
        expected: Hash,
        /// The root the proof leads to.
        found: Hash,
    },
}

struct Hex<'a>(&'a Hash);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl TreeHead {
    /// Verifies that the leaf with this hash is at `position` of the tree (RFC 9162, section 2.1.3.2).
    ///
    /// # Errors
    /// If the tree has no such position, or the proof does not lead from this leaf at this position to the root.
    pub fn verify_inclusion(&self, position: u64, leaf: &Hash, proof: &[Hash]) -> Result<(), ProofError> {
        if position >= self.size {
            return Err(ProofError::PositionBeyondTree { position, size: self.size });
        }
        let path = Path::of(position, self.size);
        let (inner, border) = path.split(proof)?;
        let root = path.climb(*leaf, inner);
        self.expect(all_from_left(root, border))
    }

    /// Verifies that the tree begins with the leaves of `old` (RFC 9162, section 2.1.4.2).
    ///
    /// # Errors
    /// If `old` is empty or larger, or the proof does not lead to both roots.
    pub fn verify_consistency(&self, old: &TreeHead, proof: &[Hash]) -> Result<(), ProofError> {
        if old.size == 0 {
            return Err(ProofError::EmptyOldTree);
        }
        if old.size > self.size {
            return Err(ProofError::Shrunk { old: old.size, new: self.size });
        }
        if old.size == self.size {
            expect_length(0, proof.len())?;
            return self.expect(old.root);
        }
        // The path begins at the last perfect subtree of the old tree: its root comes first, unless it is the old tree.
        let level = old.size.trailing_zeros();
        let path = Path::of(old.size - 1, self.size).above(level);
        let (start, proof) = match proof.split_first() {
            _ if old.size.is_power_of_two() => (old.root, proof),
            Some((first, rest)) if proof.len() == path.length() + 1 => (*first, rest),
            _ => return Err(ProofError::Length { expected: path.length() + 1, found: proof.len() }),
        };
        let (inner, border) = path.split(proof)?;
        let old_root = all_from_left(path.climb_within_left(start, inner), border);
        if old_root != old.root {
            return Err(ProofError::OldRoot { expected: old.root, found: old_root });
        }
        self.expect(all_from_left(path.climb(start, inner), border))
    }

    /// Verifies that the leaves at `positions` have exactly these hashes, in this order and without a gap. A node hash
    /// a leaf.
    ///
    /// # Errors
    /// If the range is empty or not in the tree, the number of leaf hashes is another, or they and the proof do not
    /// lead to the root.
    pub fn verify_range(
        &self,
        positions: Range<u64>,
        leaves: impl IntoIterator<Item = Hash>,
        proof: &[Hash],
    ) -> Result<(), ProofError> {
        let (before, after) = around(&positions, self.size)?;
        let expected = before.clone().count() + after.clone().count();
        expect_length(expected, proof.len())?;

        let mut edge = Edge::default();
        let mut proof = proof.iter();
        before.zip(proof.by_ref()).for_each(|(node, hash)| edge.push(node, *hash));
        let count = positions.end - positions.start;
        let mut found = 0;
        for leaf in leaves {
            if found == count {
                return Err(ProofError::LeafCount { expected: count, found: found.saturating_add(1) });
            }
            edge.push((0, positions.start + found), leaf);
            found += 1;
        }
        if found < count {
            return Err(ProofError::LeafCount { expected: count, found });
        }
        after.zip(proof).for_each(|(node, hash)| edge.push(node, *hash));
        self.expect(edge.root())
    }

    fn expect(&self, found: Hash) -> Result<(), ProofError> {
        if found == self.root { Ok(()) } else { Err(ProofError::Root { expected: self.root, found }) }
    }
}

fn expect_length(expected: usize, found: usize) -> Result<(), ProofError> {
    if expected == found { Ok(()) } else { Err(ProofError::Length { expected, found }) }
}

/// The way from a leaf to the root: first through the largest perfect subtree around it that the tree's right edge does not cut
/// (`inner` levels, with neighbours on either side), then along the right edge, where every neighbour is on the left.
#[derive(Clone, Copy)]
struct Path {
    /// Number of the node the path begins at, among those of its level.
    index: u64,
    inner: usize,
    border: usize,
}

impl Path {
    fn of(position: u64, size: u64) -> Path {
        let inner = u64::BITS - (position ^ (size - 1)).leading_zeros();
        let border = position.checked_shr(inner).map_or(0, u64::count_ones);
        Path { index: position, inner: inner as usize, border: border as usize }
    }

    /// The same path without its first `level` steps, all of which are within the inner part.
    fn above(self, level: u32) -> Path {
        Path { index: self.index >> level, inner: self.inner - level as usize, ..self }
    }

    fn length(&self) -> usize {
        self.inner + self.border
    }

    fn split<'a>(&self, proof: &'a [Hash]) -> Result<(&'a [Hash], &'a [Hash]), ProofError> {
        expect_length(self.length(), proof.len())?;
        Ok(proof.split_at(self.inner))
    }

    fn is_right(&self, step: usize) -> bool {
        self.index >> step & 1 == 1
    }

    fn climb(&self, start: Hash, inner: &[Hash]) -> Hash {
        inner.iter().enumerate().fold(start, |node, (step, beside)| {
            if self.is_right(step) { node_hash(beside, &node) } else { node_hash(&node, beside) }
        })
    }

    /// As [`Path::climb`] in the tree that ends with this path.
    fn climb_within_left(&self, start: Hash, inner: &[Hash]) -> Hash {
        let left = inner.iter().enumerate().filter(|(step, _)| self.is_right(*step));
        left.fold(start, |node, (_, beside)| node_hash(beside, &node))
    }
}

fn all_from_left(start: Hash, border: &[Hash]) -> Hash {
    border.iter().fold(start, |node, beside| node_hash(beside, &node))
}

/// A perfect subtree: its level and its number there.
type Node = (u8, u64);

/// The perfect subtrees before and after these positions, from left to right.
pub(super) fn around(
    positions: &Range<u64>,
    size: u64,
) -> Result<(impl Iterator<Item = Node> + Clone, impl Iterator<Item = Node> + Clone), ProofError> {
    let Range { start, end } = *positions;
    if start >= end || end > size {
        return Err(ProofError::RangeBeyondTree { start, end, size });
    }
    Ok((perfect_subtrees(0..start), perfect_subtrees(end..size)))
}

/// The fewest perfect subtrees that make up a range of leaves, from left to right.
pub(super) fn perfect_subtrees(leaves: Range<u64>) -> impl Iterator<Item = Node> + Clone {
    let Range { start: mut at, end } = leaves;
    std::iter::from_fn(move || {
        let rest = end.checked_sub(at).filter(|rest| *rest > 0)?;
        let level = at.trailing_zeros().min(rest.ilog2());
        let node = (level as u8, at >> level);
        at += 1 << level;
        Some(node)
    })
}

/// The perfect subtrees of a tree that grows to the right by whole subtrees.
#[derive(Default)]
struct Edge {
    nodes: Vec<(Node, Hash)>,
}

impl Edge {
    fn push(&mut self, (mut level, mut index): Node, mut hash: Hash) {
        while index & 1 == 1 {
            let Some((_, left)) = self.nodes.pop_if(|(node, _)| *node == (level, index - 1)) else { break };
            hash = node_hash(&left, &hash);
            (level, index) = (level + 1, index >> 1);
        }
        self.nodes.push(((level, index), hash));
    }

    fn root(self) -> Hash {
        let peaks = self.nodes.into_iter().rev().map(|(_, hash)| hash);
        peaks.reduce(|right, left| node_hash(&left, &right)).expect("a range in a tree has a leaf")
    }
}

#[cfg(test)]
mod tests;
