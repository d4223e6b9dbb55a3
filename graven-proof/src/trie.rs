//! The trie of stream heads: one answer for each stream, under one root (see `docs/adr/0011-trie-of-stream-heads.md`).
//!
//! Inclusion proofs never show that nothing was left out. The root of this trie is written into the log, so that an
//! exported stream can be shown to be whole, and a stream that does not exist not to exist.
//!
//! A compressed binary trie (Patricia) over 32-byte stream keys. A branch stands at the first bit, counted from the
//! key's most significant, in which the keys below it differ; keys with a 0 there are on its left.
//!
//! ```text
//! empty    SHA-256("graven/map-empty/v1")
//! leaf     SHA-256(0x00 ‖ "graven/map/v1" ‖ key 32 ‖ value 57)
//! branch   SHA-256(0x01 ‖ depth u16, big-endian ‖ left 32 ‖ right 32)
//! value    next version u64 ‖ first position u64 ‖ last position u64 ‖ leaf hash of the last event 32 ‖ flags u8
//! ```
//!
//! The depth is hashed and has to grow along every path, and a verifier turns at each branch as the key's bit says: for
//! one root there is one path for each key, and at its end either this key or another one, never both.

mod preview;
mod proof;

use crate::Hash;
use crate::sha256::digest_parts;
pub use proof::{Answer, TRIE_PROOF_BYTES_MAX, TrieProof, TrieProofError};

/// Bytes of an encoded [`StreamHead`].
pub const STREAM_HEAD_BYTES: usize = 57;

/// Streams of a trie at the most.
pub const STREAMS_MAX: usize = 1 << 31;

const TOMBSTONED: u8 = 1;

/// Where a stream stands: what the trie holds for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamHead {
    /// Version its next event would get; as many events as were ever appended to it.
    pub next_version: u64,
    /// Position of its first event.
    pub first_position: u64,
    /// Position of its last event.
    pub last_position: u64,
    /// Leaf hash of its last event.
    pub head: Hash,
    /// It ended and takes no more events.
    pub tombstoned: bool,
}

impl StreamHead {
    /// The 57 bytes the trie commits to.
    #[must_use]
    pub fn encode(&self) -> [u8; STREAM_HEAD_BYTES] {
        let mut bytes = [0; STREAM_HEAD_BYTES];
        bytes[..8].copy_from_slice(&self.next_version.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.first_position.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.last_position.to_be_bytes());
        bytes[24..56].copy_from_slice(&self.head);
        bytes[56] = if self.tombstoned { TOMBSTONED } else { 0 };
        bytes
    }

    /// Reads them back; `None` if a flag is set that has no meaning.
    #[must_use]
    pub fn decode(bytes: &[u8; STREAM_HEAD_BYTES]) -> Option<StreamHead> {
        let number = |at: usize| u64::from_be_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        let flags = bytes[56];
        (flags & !TOMBSTONED == 0).then(|| StreamHead {
            next_version: number(0),
            first_position: number(8),
            last_position: number(16),
            head: std::array::from_fn(|byte| bytes[24 + byte]),
            tombstoned: flags & TOMBSTONED != 0,
        })
    }
}

/// Root of a trie without streams.
#[must_use]
pub fn empty_trie_root() -> Hash {
    digest_parts([b"graven/map-empty/v1"])
}

fn leaf_hash(key: &Hash, head: &StreamHead) -> Hash {
    digest_parts([&[0], b"graven/map/v1", key, &head.encode()])
}

fn branch_hash(depth: u8, left: &Hash, right: &Hash) -> Hash {
    digest_parts([&[1], &u16::from(depth).to_be_bytes(), left, right])
}

/// Bit `depth` of a key, counted from the most significant.
fn bit(key: &Hash, depth: u8) -> bool {
    key[usize::from(depth / 8)] >> (7 - depth % 8) & 1 == 1
}

/// The first bit in which two keys differ.
fn first_difference(one: &Hash, other: &Hash) -> Option<u8> {
    let at = one.iter().zip(other).position(|(one, other)| one != other)?;
    Some((at * 8) as u8 + (one[at] ^ other[at]).leading_zeros() as u8)
}

/// The trie in memory: 140 bytes a stream, in two vectors. Which streams there are decides its shape and root, never the
/// order in which they came. Streams are never taken out: one that ended says so.
///
/// Hashes are computed when the root is asked for, each branch above a changed stream once: a batch of changes costs
/// about `changed · (log2(streams / changed) + 2)` hashes.
#[derive(Debug, Clone, Default)]
pub struct StreamTrie {
    root: Option<Place>,
    leaves: Vec<(Hash, StreamHead)>,
    branches: Vec<Branch>,
}

#[derive(Debug, Clone)]
struct Branch {
    /// Of this branch, if `clean`.
    hash: Hash,
    children: [Place; 2],
    depth: u8,
    clean: bool,
}

/// A leaf or a branch by its index; the highest bit tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place(u32);

enum Node {
    Leaf(usize),
    Branch(usize),
}

const LEAF: u32 = 1 << 31;

impl Place {
    fn leaf(index: usize) -> Place {
        assert!(index < STREAMS_MAX, "a trie never has more than {STREAMS_MAX} streams");
        Place(index as u32 | LEAF)
    }

    fn branch(index: usize) -> Place {
        assert!(index < STREAMS_MAX, "a trie has fewer branches than streams");
        Place(index as u32)
    }

    fn node(self) -> Node {
        let index = (self.0 & !LEAF) as usize;
        if self.0 & LEAF == 0 { Node::Branch(index) } else { Node::Leaf(index) }
    }
}

impl StreamTrie {
    /// A trie without streams.
    #[must_use]
    pub fn new() -> StreamTrie {
        StreamTrie::default()
    }

    /// Streams in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Whether there is no stream.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// What it holds for a stream.
    #[must_use]
    pub fn get(&self, key: &Hash) -> Option<&StreamHead> {
        let (found, head) = &self.leaves[self.nearest(key)?];
        (found == key).then_some(head)
    }

    /// Every stream, in the order in which they came first.
    pub fn iter(&self) -> impl Iterator<Item = (&Hash, &StreamHead)> {
        self.leaves.iter().map(|(key, head)| (key, head))
    }

    /// Sets the head of a stream and returns what it was. Hashes nothing.
    ///
    /// # Panics
    /// At 2^31 streams.
    pub fn set(&mut self, key: Hash, head: StreamHead) -> Option<StreamHead> {
        let Some(nearest) = self.nearest(&key) else {
            self.leaves.push((key, head));
            self.root = Some(Place::leaf(0));
            return None;
        };
        let Some(depth) = first_difference(&self.leaves[nearest].0, &key) else {
            let before = std::mem::replace(&mut self.leaves[nearest].1, head);
            if before != head {
                self.soil(&key, None);
            }
            return Some(before);
        };
        let leaf = Place::leaf(self.leaves.len());
        let branch = Place::branch(self.branches.len());
        self.leaves.push((key, head));
        let displaced = self.soil(&key, Some((depth, branch)));
        let children = if bit(&key, depth) { [displaced, leaf] } else { [leaf, displaced] };
        self.branches.push(Branch { hash: [0; 32], children, depth, clean: false });
        None
    }

    /// The root over everything set so far. Hashes what has changed since it was last asked for.
    pub fn root(&mut self) -> Hash {
        match self.root {
            None => empty_trie_root(),
            Some(place) => self.rehash(place),
        }
    }

    /// Proves what the trie holds for a stream, or that it holds nothing; under the root as [`StreamTrie::root`] has it
    /// now.
    pub fn prove(&mut self, key: &Hash) -> TrieProof {
        self.root();
        let Some(mut place) = self.root else { return TrieProof::empty() };
        let mut path = Vec::new();
        loop {
            match place.node() {
                Node::Branch(index) => {
                    let Branch { children, depth, .. } = self.branches[index];
                    let side = usize::from(bit(key, depth));
                    path.push((depth, self.rehash(children[1 - side])));
                    place = children[side];
                }
                Node::Leaf(index) => {
                    let (found, head) = self.leaves[index];
                    return TrieProof::ending_in(path, key, found, head);
                }
            }
        }
    }

    /// The leaf at the end of the key's path: the key's own, or of one that shares as many bits with it as any.
    fn nearest(&self, key: &Hash) -> Option<usize> {
        let mut place = self.root?;
        loop {
            match place.node() {
                Node::Leaf(index) => return Some(index),
                Node::Branch(index) => {
                    let branch = &self.branches[index];
                    place = branch.children[usize::from(bit(key, branch.depth))];
                }
            }
        }
    }

    /// Marks the branches on the key's path as changed. With `insert`, a new branch at this depth is put into the path
    /// and what stood in its place returned; otherwise the end of the path.
    fn soil(&mut self, key: &Hash, insert: Option<(u8, Place)>) -> Place {
        let mut place = self.root.expect("a trie with a path has a root");
        let mut parent = None;
        loop {
            let index = match place.node() {
                Node::Branch(index) if insert.is_none_or(|(depth, _)| self.branches[index].depth < depth) => {
                    index
                }
                _ => break,
            };
            let branch = &mut self.branches[index];
            branch.clean = false;
            let side = usize::from(bit(key, branch.depth));
            parent = Some((index, side));
            place = branch.children[side];
        }
        if let Some((_, new)) = insert {
            match parent {
                None => self.root = Some(new),
                Some((index, side)) => self.branches[index].children[side] = new,
            }
        }
        place
    }

    /// Hash of a subtree. Goes no deeper than a key has bits.
    fn rehash(&mut self, place: Place) -> Hash {
        let index = match place.node() {
            Node::Leaf(index) => {
                let (key, head) = &self.leaves[index];
                return leaf_hash(key, head);
            }
            Node::Branch(index) => index,
        };
        let Branch { hash, children, depth, clean } = self.branches[index];
        if clean {
            return hash;
        }
        let [left, right] = children.map(|child| self.rehash(child));
        let hash = branch_hash(depth, &left, &right);
        let branch = &mut self.branches[index];
        (branch.hash, branch.clean) = (hash, true);
        hash
    }
}

impl Extend<(Hash, StreamHead)> for StreamTrie {
    fn extend<T: IntoIterator<Item = (Hash, StreamHead)>>(&mut self, streams: T) {
        for (key, head) in streams {
            self.set(key, head);
        }
    }
}

#[cfg(test)]
mod tests;
