//! The two hash chains in the leaves: each names the leaf before it in the log and the one before it in its stream.
//!
//! Fed with the leaves of a range or of a whole stream, a chain tells the first one that does not continue it. What the
//! chain ends in is then compared with what is trusted: hashes under a checkpoint for a range, a stream's head under the
//! root of the trie for a stream. Only leaves are needed, no payloads.

use crate::Hash;
use crate::leaf::{DecodeError, Kind, Leaf, log_genesis, stream_genesis};
use crate::merkle::leaf_hash;
use crate::trie::{Answer, StreamHead};
use thiserror::Error;

/// Version a stream's tombstone has, whatever the number of its events.
pub const TOMBSTONE_VERSION: u64 = i64::MAX as u64;

/// Why a leaf does not continue a chain, or the chain does not end where it should.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Bytes that are no leaf.
    #[error("leaf {number} of those given is malformed: {error}")]
    Malformed {
        /// How many leaves were before it.
        number: u64,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// A leaf at another position than the next one of the log.
    #[error("expected position {expected}, found {found}")]
    Position {
        /// The next position.
        expected: u64,
        /// The leaf's.
        found: u64,
    },
    /// A leaf that was committed before the one in front of it.
    #[error("the leaf at position {position} says it was committed before the one in front of it")]
    TimeWentBack {
        /// Its position.
        position: u64,
    },
    /// The leaf names another one as the one before it in the log.
    #[error("the leaf at position {position} does not continue the log")]
    PrevGlobal {
        /// Its position.
        position: u64,
        /// Hash of the leaf before.
        expected: Hash,
        /// The hash it names.
        found: Hash,
    },
    /// The leaf is of another stream.
    #[error("the leaf at position {position} is of another stream")]
    OtherStream {
        /// Its position.
        position: u64,
    },
    /// A leaf of a stream with another version than the next one.
    #[error("expected version {expected} of the stream at position {position}, found {found}")]
    Version {
        /// Its position.
        position: u64,
        /// The next version.
        expected: u64,
        /// The leaf's.
        found: u64,
    },
    /// The leaf does not come after the stream's event before it.
    #[error("expected a position above {above} for the stream's next event, found {position}")]
    Order {
        /// Its position.
        position: u64,
        /// That of the stream's event before.
        above: u64,
    },
    /// The leaf names another one as the stream's event before it.
    #[error("the leaf at position {position} does not continue its stream")]
    PrevStream {
        /// Its position.
        position: u64,
        /// Leaf hash of the stream's event before.
        expected: Hash,
        /// The hash it names.
        found: Hash,
    },
    /// A leaf after the stream's tombstone.
    #[error("the leaf at position {position} follows the stream's tombstone")]
    AfterTombstone {
        /// Its position.
        position: u64,
    },
    /// The leaves end before or after the stream's head, or lead to another one.
    #[error("the stream is not whole: expected {}, found {}", Standing(.expected), Standing(.found))]
    Incomplete {
        /// What the trie says of the stream; nothing if it is not to exist.
        expected: Option<Box<StreamHead>>,
        /// What the leaves lead to.
        found: Option<Box<StreamHead>>,
    },
}

struct Standing<'a>(&'a Option<Box<StreamHead>>);

impl std::fmt::Display for Standing<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None => out.write_str("no event"),
            Some(head) => {
                let end = if head.tombstoned { "ended" } else { "last" };
                write!(out, "{} events, {end} at position {}", head.next_version, head.last_position)
            }
        }
    }
}

/// A run of neighbouring leaves of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChain {
    next: u64,
    last: Hash,
    time: i64,
    fed: u64,
}

impl LogChain {
    /// From the beginning of the log with this origin.
    #[must_use]
    pub fn from_genesis(origin: &str) -> LogChain {
        LogChain::after(log_genesis(origin), 0)
    }

    /// From position `next` on, where the leaf before it has this hash.
    #[must_use]
    pub fn after(last: Hash, next: u64) -> LogChain {
        LogChain { next, last, time: i64::MIN, fed: 0 }
    }

    /// Takes the next leaf and returns it with its hash. A leaf that is refused changes nothing.
    ///
    /// # Errors
    /// If it is no leaf or does not continue the chain.
    pub fn push<'a>(&mut self, bytes: &'a [u8]) -> Result<(Leaf<'a>, Hash), ChainError> {
        let leaf = Leaf::decode(bytes).map_err(|error| ChainError::Malformed { number: self.fed, error })?;
        let position = leaf.position;
        if position != self.next {
            return Err(ChainError::Position { expected: self.next, found: position });
        }
        if leaf.commit_time < self.time {
            return Err(ChainError::TimeWentBack { position });
        }
        if leaf.prev_global != self.last {
            return Err(ChainError::PrevGlobal { position, expected: self.last, found: leaf.prev_global });
        }
        let hash = leaf_hash(bytes);
        let next = position.saturating_add(1);
        *self = LogChain { next, last: hash, time: leaf.commit_time, fed: self.fed + 1 };
        Ok((leaf, hash))
    }

    /// Position of the next leaf.
    #[must_use]
    pub fn next_position(&self) -> u64 {
        self.next
    }

    /// Hash of the last leaf, or what was there to begin with.
    #[must_use]
    pub fn last_hash(&self) -> &Hash {
        &self.last
    }
}

/// The leaves of one stream, from its first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamChain {
    key: Hash,
    head: Option<StreamHead>,
    fed: u64,
}

impl StreamChain {
    /// The stream with this key, before its first event.
    #[must_use]
    pub fn new(key: Hash) -> StreamChain {
        StreamChain { key, head: None, fed: 0 }
    }

    /// Takes the stream's next leaf and returns it. A leaf that is refused changes nothing.
    ///
    /// # Errors
    /// If it is no leaf or does not continue the stream.
    pub fn push<'a>(&mut self, bytes: &'a [u8]) -> Result<Leaf<'a>, ChainError> {
        let leaf = Leaf::decode(bytes).map_err(|error| ChainError::Malformed { number: self.fed, error })?;
        let position = leaf.position;
        if leaf.stream_key != self.key {
            return Err(ChainError::OtherStream { position });
        }
        let tombstoned = leaf.kind == Kind::Tombstone;
        let (next_version, first_position, expected) = match &self.head {
            None => (0, position, stream_genesis(&self.key)),
            Some(head) if head.tombstoned => return Err(ChainError::AfterTombstone { position }),
            Some(head) if position <= head.last_position => {
                return Err(ChainError::Order { position, above: head.last_position });
            }
            Some(head) => (head.next_version, head.first_position, head.head),
        };
        let version = if tombstoned { TOMBSTONE_VERSION } else { next_version };
        if leaf.stream_version != version {
            let found = leaf.stream_version;
            return Err(ChainError::Version { position, expected: version, found });
        }
        if leaf.prev_stream != expected {
            return Err(ChainError::PrevStream { position, expected, found: leaf.prev_stream });
        }
        let next_version = if tombstoned { next_version } else { next_version + 1 };
        let (last_position, head) = (position, leaf_hash(bytes));
        self.head = Some(StreamHead { next_version, first_position, last_position, head, tombstoned });
        self.fed += 1;
        Ok(leaf)
    }

    /// Where the stream stands after these leaves: what the trie should hold for it. Nothing before the first.
    #[must_use]
    pub fn head(&self) -> Option<&StreamHead> {
        self.head.as_ref()
    }

    /// Whether these were all leaves of the stream, none missing and none too many, by what the trie says of it.
    ///
    /// # Errors
    /// If the trie says anything else of the stream.
    pub fn expect_complete(&self, answer: &Answer) -> Result<(), ChainError> {
        let expected = match answer {
            Answer::Present(head) => Some(*head),
            Answer::Absent => None,
        };
        if expected == self.head {
            return Ok(());
        }
        let (expected, found) = (expected.map(Box::new), self.head.map(Box::new));
        Err(ChainError::Incomplete { expected, found })
    }
}

#[cfg(test)]
mod tests;
