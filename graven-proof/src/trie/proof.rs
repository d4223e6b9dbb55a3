//! Proofs under the root of the trie: what it holds for a stream, or that it holds nothing.
//!
//! | field | bytes | meaning |
//! | --- | --- | --- |
//! | magic | 4 | `GTP1` |
//! | count | 2 | branches on the path, big-endian, at most 256 |
//! | branches | 34 each | from the root down: depth (2, big-endian, strictly ascending, below 256), hash beside the path (32) |
//! | end | 1 | 0: the trie is empty; 1: the stream is there; 2: the path ends in another stream |
//! | key | 32 | only with end 2: the other stream's key |
//! | value | 57 | with end 1 and 2: [`StreamHead::encode`] |

use super::{STREAM_HEAD_BYTES, StreamHead, bit, branch_hash, empty_trie_root, leaf_hash};
use crate::Hash;
use thiserror::Error;

const MAGIC: [u8; 4] = *b"GTP1";

/// Branches on a path at the most: one for each bit of a key.
const BRANCHES_MAX: usize = 256;

const BRANCH_BYTES: usize = 34;

/// Bytes of an encoded proof at the most.
pub const TRIE_PROOF_BYTES_MAX: usize = 4 + 2 + BRANCHES_MAX * BRANCH_BYTES + 1 + 32 + STREAM_HEAD_BYTES;

/// Why bytes are no proof, or a proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrieProofError {
    /// The bytes end within a field.
    #[error("the proof ends at byte {end} within {field}")]
    Truncated {
        /// What is cut.
        field: &'static str,
        /// Where the bytes end.
        end: usize,
    },
    /// Bytes follow the last field.
    #[error("the proof ends at byte {end}, but {extra} more follow")]
    TrailingBytes {
        /// Where the proof ends.
        end: usize,
        /// How many bytes follow.
        extra: usize,
    },
    /// The first four bytes are others.
    #[error("the proof does not begin with GTP1")]
    Magic,
    /// More branches than a key has bits.
    #[error("a path has at most {BRANCHES_MAX} branches, found {0}")]
    TooManyBranches(usize),
    /// A branch is not below the one before it, or deeper than a key has bits.
    #[error("expected branch {number} below depth {above:?} and above 256, found depth {found}")]
    Depth {
        /// Number of the branch, from 0.
        number: usize,
        /// Depth of the branch before it.
        above: Option<u8>,
        /// Its depth.
        found: u16,
    },
    /// The end has no meaning.
    #[error("end {0} is unknown")]
    End(u8),
    /// A path with branches cannot end in nothing.
    #[error("an empty trie has no branches, found {0}")]
    BranchesOfEmpty(usize),
    /// A flag of the value is set that has no meaning.
    #[error("the value has unknown flags")]
    Flags,
    /// The other stream at the end of the path is not another one, or the key's path does not lead to it.
    #[error("the stream at the end of the path is not one that the path of this key leads to")]
    WrongPath,
    /// The path leads to another root.
    #[error("the path leads to another root than that of the trie")]
    Root {
        /// The root of the trie.
        expected: Hash,
        /// The root the path leads to.
        found: Hash,
    },
}

/// What the trie says of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It stands here.
    Present(StreamHead),
    /// There is no such stream.
    Absent,
}

/// A path through the trie, as it was read or made: it proves nothing until it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrieProof {
    /// From the root down: depth of the branch, and the hash of the side the path does not take.
    pub(super) path: Vec<(u8, Hash)>,
    pub(super) end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Empty,
    Present(StreamHead),
    Other(Hash, StreamHead),
}

impl TrieProof {
    pub(super) fn empty() -> TrieProof {
        TrieProof { path: Vec::new(), end: End::Empty }
    }

    pub(super) fn ending_in(path: Vec<(u8, Hash)>, key: &Hash, found: Hash, head: StreamHead) -> TrieProof {
        let end = if found == *key { End::Present(head) } else { End::Other(found, head) };
        TrieProof { path, end }
    }

    /// Verifies the proof for this stream under this root and returns what the trie says of it. For one root and one key
    /// no two proofs give different answers.
    ///
    /// # Errors
    /// If the path is not this key's, or leads to another root.
    pub fn verify(&self, key: &Hash, root: &Hash) -> Result<Answer, TrieProofError> {
        self.expect_depths()?;
        let (mut found, answer) = match &self.end {
            End::Empty if self.path.is_empty() => (empty_trie_root(), Answer::Absent),
            End::Empty => return Err(TrieProofError::BranchesOfEmpty(self.path.len())),
            End::Present(head) => (leaf_hash(key, head), Answer::Present(*head)),
            End::Other(other, head) => {
                let leads_there = self.path.iter().all(|(depth, _)| bit(key, *depth) == bit(other, *depth));
                if other == key || !leads_there {
                    return Err(TrieProofError::WrongPath);
                }
                (leaf_hash(other, head), Answer::Absent)
            }
        };
        for (depth, beside) in self.path.iter().rev() {
            found = match bit(key, *depth) {
                false => branch_hash(*depth, &found, beside),
                true => branch_hash(*depth, beside, &found),
            };
        }
        if found != *root {
            return Err(TrieProofError::Root { expected: *root, found });
        }
        Ok(answer)
    }

    fn expect_depths(&self) -> Result<(), TrieProofError> {
        match self.path.windows(2).position(|pair| pair[0].0 >= pair[1].0) {
            None => Ok(()),
            Some(at) => Err(TrieProofError::Depth {
                number: at + 1,
                above: Some(self.path[at].0),
                found: self.path[at + 1].0.into(),
            }),
        }
    }

    /// The binary form; at most [`TRIE_PROOF_BYTES_MAX`] bytes, some 1,000 for ten million streams.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let count = u16::try_from(self.path.len()).expect("depths ascend and are below 256");
        out.extend_from_slice(&count.to_be_bytes());
        for (depth, beside) in &self.path {
            out.extend_from_slice(&u16::from(*depth).to_be_bytes());
            out.extend_from_slice(beside);
        }
        match &self.end {
            End::Empty => out.push(0),
            End::Present(head) => {
                out.push(1);
                out.extend_from_slice(&head.encode());
            }
            End::Other(key, head) => {
                out.push(2);
                out.extend_from_slice(key);
                out.extend_from_slice(&head.encode());
            }
        }
        out
    }

    /// Reads a proof. What is accepted encodes to the same bytes again.
    ///
    /// # Errors
    /// If the bytes are not of the form of a proof.
    pub fn decode(bytes: &[u8]) -> Result<TrieProof, TrieProofError> {
        let mut rest = bytes;
        let end = bytes.len();
        if take(&mut rest, "the magic", end)? != MAGIC {
            return Err(TrieProofError::Magic);
        }
        let count = usize::from(u16::from_be_bytes(take(&mut rest, "the count", end)?));
        if count > BRANCHES_MAX {
            return Err(TrieProofError::TooManyBranches(count));
        }
        let mut path: Vec<(u8, Hash)> = Vec::with_capacity(count.min(rest.len() / BRANCH_BYTES));
        for number in 0..count {
            let found = u16::from_be_bytes(take(&mut rest, "a depth", end)?);
            let above = path.last().map(|(depth, _)| *depth);
            let below = |depth: &u8| above.is_none_or(|above| above < *depth);
            let depth = u8::try_from(found).ok().filter(below);
            let depth = depth.ok_or(TrieProofError::Depth { number, above, found })?;
            path.push((depth, take(&mut rest, "a hash", end)?));
        }
        let [kind] = take(&mut rest, "the end", end)?;
        let value = |rest: &mut &[u8]| {
            let bytes = take(rest, "the value", end)?;
            StreamHead::decode(&bytes).ok_or(TrieProofError::Flags)
        };
        let end_of_path = match kind {
            0 if count == 0 => End::Empty,
            0 => return Err(TrieProofError::BranchesOfEmpty(count)),
            1 => End::Present(value(&mut rest)?),
            2 => {
                let key = take(&mut rest, "the key", end)?;
                End::Other(key, value(&mut rest)?)
            }
            other => return Err(TrieProofError::End(other)),
        };
        if !rest.is_empty() {
            return Err(TrieProofError::TrailingBytes { end: end - rest.len(), extra: rest.len() });
        }
        Ok(TrieProof { path, end: end_of_path })
    }
}

fn take<const N: usize>(
    rest: &mut &[u8],
    field: &'static str,
    end: usize,
) -> Result<[u8; N], TrieProofError> {
    let (taken, after) = rest.split_first_chunk().ok_or(TrieProofError::Truncated { field, end })?;
    *rest = after;
    Ok(*taken)
}
