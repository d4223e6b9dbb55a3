//! Proofs about whole streams, under the last seal.
//!
//! Someone who has a checkpoint above a seal's position verifies that the seal's leaf is in the log, reads size and root from
//! it, and verifies the path under that root. It leads to where the stream stood, which has to be where its leaves below the
//! seal's size lead (`graven_proof::chain::StreamChain`): then none of them was left out.

use super::prove::Leaves;
use super::seal::{Sealed, Sealer};
use crate::append::{Pending, Shared};
use graven_model::{Code, Error, Result, StreamName};
use graven_proof::Hash;
use graven_proof::leaf::name_key;
use graven_proof::trie::{StreamHead, TrieProof};

/// Where a stream stood at a seal, and what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completeness {
    /// The seal.
    pub seal: Sealed,
    /// Bytes of the seal's leaf.
    pub map_root_leaf: Vec<u8>,
    /// Keyed hash of the stream's name, as its leaves have it.
    pub stream_key: Hash,
    /// Salt of the name: HMAC-SHA256(salt, name) is the key.
    pub name_salt: [u8; 16],
    /// Where it stood: always there for a stream that has a name.
    pub head: Option<StreamHead>,
    /// The path from the seal's root to the stream.
    pub proof: TrieProof,
}

/// What a seal says of a stream key, and what proves it: where the stream stood, or that there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyProof {
    /// The seal.
    pub seal: Sealed,
    /// Bytes of the seal's leaf.
    pub map_root_leaf: Vec<u8>,
    /// The key asked for.
    pub stream_key: Hash,
    /// Where the stream stood; none if no stream had this key.
    pub head: Option<StreamHead>,
    /// The path from the seal's root to the stream, or to where it would be.
    pub proof: TrieProof,
}

/// See [`super::Trail::completeness`].
pub(super) fn of_stream(
    shared: &Shared,
    sealer: &Sealer,
    origin: &str,
    stream: &StreamName,
) -> Result<Completeness> {
    let name = stream.as_str();
    let Some(name_salt) = salt_of(shared, name)? else {
        return Err(Error::new(Code::StreamNotFound, format!("stream {name:?} never had an event"))
            .expected("the name of a stream; that there is none is proven of a stream key, since names are hashed under random salts"));
    };
    let proven = of_key(shared, sealer, origin, name_key(&name_salt, name.as_bytes()))?;
    if proven.head.is_none() {
        return Err(sealer.trouble().unwrap_or_else(|| {
            Error::new(Code::NotSealedYet, format!("stream {name:?} is newer than the last seal"))
                .found(format!("a seal of {} events at position {}", proven.seal.size, proven.seal.position))
        }));
    }
    let KeyProof { seal, map_root_leaf, stream_key, head, proof } = proven;
    Ok(Completeness { seal, map_root_leaf, stream_key, name_salt, head, proof })
}

/// The salt of a stream's name. It is kept with the first event, which is the tombstone if there was no other.
fn salt_of(shared: &Shared, name: &str) -> Result<Option<[u8; 16]>> {
    let Shared { sources, .. } = shared;
    let pending = Pending::none_below(shared.head());
    if let Some(salt) = sources.stream_salt(&pending, name)? {
        return Ok(Some(salt));
    }
    match sources.tombstone(&pending, name)? {
        Some(place) => sources.view(&pending, place.position, |view| view.stream_salt),
        None => Ok(None),
    }
}

/// See [`super::Trail::absence`].
pub(super) fn of_key(shared: &Shared, sealer: &Sealer, origin: &str, stream_key: Hash) -> Result<KeyProof> {
    let Some((seal, head, proof)) = sealer.look_up(&stream_key)? else {
        let none = || Error::new(Code::NotSealedYet, "the streams of this log were not sealed yet");
        return Err(sealer.trouble().unwrap_or_else(none));
    };
    let map_root_leaf = Leaves::new(shared, origin).at(seal.position)?;
    Ok(KeyProof { seal, map_root_leaf, stream_key, head, proof })
}
