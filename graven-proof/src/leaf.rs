//! The leaf: a fixed binary header with salted commitments; what the Merkle tree hashes.
//!
//! Layout (`leaf-v1`, big-endian, length-prefixed), in this order:
//!
//! | field | bytes | meaning |
//! | --- | --- | --- |
//! | magic | 4 | `GRV1` |
//! | kind | 1 | [`Kind`] |
//! | flags | 1 | bit 0 payload encrypted, bit 1 metadata present, bits 2–3 [`CheckState`], bit 4 sealed, bits 5–7 zero |
//! | position | 8 | the leaf's own index |
//! | commit time | 8 | microseconds since 1970, signed |
//! | stream version | 8 | revision in the stream |
//! | stream key | 32 | [`name_key`] of the stream name |
//! | prev stream | 32 | leaf hash of the stream's previous event, or [`stream_genesis`] |
//! | prev global | 32 | leaf hash of position − 1, or [`log_genesis`] |
//! | event id | 16 | UUID |
//! | occurred at | 8 | microseconds, signed; `i64::MIN` = not given |
//! | event type | 2 + n | length, UTF-8 |
//! | content type | 2 + n | length, ASCII |
//! | schema version, schema id | 4 + 4 | 0 = none |
//! | tags | 2 + 32·n | count, [`name_key`]s in ascending order, none twice |
//! | payload commitment | 32 | [`payload_commitment`] |
//! | metadata commitment | 32 | [`metadata_commitment`]; zeros when bit 1 of the flags is clear |
//! | or, for a [control](Kind::is_control) kind: body | 2 + n | length, what the record says, in clear |

mod decode;

use crate::Hash;
use crate::merkle::LEAF_PREFIX;
use crate::sha256::{digest_in_place, digest_parts};
pub use decode::DecodeError;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// First four bytes of every leaf.
pub const MAGIC: [u8; 4] = *b"GRV1";

/// A leaf must fit a C2SP entry bundle, whose length field has 16 bits.
pub const LEAF_BYTES_MAX: usize = 65_535;

/// A control record's body at the most: a leaf around it is still within [`LEAF_BYTES_MAX`].
pub const BODY_BYTES_MAX: usize = 60_000;

/// `occurred at` of an event whose producer gave no time.
pub const NO_TIME: i64 = i64::MIN;

/// What kind of record a leaf stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Kind {
    /// An event as a producer or the store itself appended it.
    #[default]
    Event = 0,
    /// Root of the stream-head trie.
    MapRoot = 1,
    /// An authorised erasure.
    Erasure = 2,
    /// A change of signing keys.
    Key = 3,
    /// Evidence from outside: a timestamp, a scrub result.
    Anchor = 4,
    /// The end of a stream.
    Tombstone = 5,
    /// The beginning of a log copied from another.
    Migration = 6,
    /// Payloads dropped under a retention rule.
    Retention = 7,
    /// A legal hold that begins or ends.
    Hold = 8,
}

impl Kind {
    /// The kind with this number.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Kind> {
        Some(match number {
            0 => Kind::Event,
            1 => Kind::MapRoot,
            2 => Kind::Erasure,
            3 => Kind::Key,
            4 => Kind::Anchor,
            5 => Kind::Tombstone,
            6 => Kind::Migration,
            7 => Kind::Retention,
            8 => Kind::Hold,
            _ => return None,
        })
    }

    /// Whether it is a record of the store about the log itself: its body stands in the leaf in clear, where everybody
    /// who has the leaf can read it, and there are no commitments.
    #[must_use]
    pub const fn is_control(self) -> bool {
        !matches!(self, Kind::Event | Kind::Tombstone)
    }
}

/// What the schema check at append time said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum CheckState {
    /// No schema was asked for.
    #[default]
    None = 0,
    /// The payload fits the schema.
    Ok = 1,
    /// The payload does not fit; the subject was set to warn.
    Failed = 2,
    /// The check was left out.
    Skipped = 3,
}

impl CheckState {
    /// The state with this number, of which only the low two bits count.
    #[must_use]
    pub fn from_bits(bits: u8) -> CheckState {
        match bits & 3 {
            0 => CheckState::None,
            1 => CheckState::Ok,
            2 => CheckState::Failed,
            _ => CheckState::Skipped,
        }
    }
}

/// The fields of a leaf, borrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// What kind of record.
    pub kind: Kind,
    /// The producer said that the payload is ciphertext.
    pub encrypted: bool,
    /// The store encrypted payload and metadata under the key of the data subject; the commitments are to the ciphertext.
    pub sealed: bool,
    /// Metadata is present, so `metadata_commitment` counts.
    pub has_metadata: bool,
    /// Outcome of the schema check.
    pub check: CheckState,
    /// Own index.
    pub position: u64,
    /// Microseconds since 1970.
    pub commit_time: i64,
    /// Revision in the stream.
    pub stream_version: u64,
    /// Keyed hash of the stream name.
    pub stream_key: Hash,
    /// Leaf hash of the stream's previous event.
    pub prev_stream: Hash,
    /// Leaf hash of the previous position.
    pub prev_global: Hash,
    /// UUID.
    pub event_id: [u8; 16],
    /// Microseconds since 1970, or [`NO_TIME`].
    pub occurred_at: i64,
    /// Type name.
    pub event_type: &'a str,
    /// Media type.
    pub content_type: &'a str,
    /// 0 = none.
    pub schema_version: u32,
    /// 0 = none.
    pub schema_id: u32,
    /// Keyed hashes of the tags, ascending.
    pub tags: &'a [Hash],
    /// Commitment to the stored payload bytes.
    pub payload_commitment: Hash,
    /// Commitment to the stored metadata bytes; zeros without metadata.
    pub metadata_commitment: Hash,
    /// What a [control](Kind::is_control) record says; empty for every other kind. It has no commitments: they are zeros.
    pub body: &'a [u8],
}

impl Leaf<'_> {
    /// Appends the binary form to `out`.
    ///
    /// # Panics
    /// If the fields could not be read back: tags that do not ascend, names, tags or a body beyond 65,535, a metadata
    /// commitment without metadata, a body beside commitments.
    pub fn encode(&self, out: &mut Vec<u8>) {
        assert!(self.tags.is_sorted_by(|one, next| one < next), "the tags of a leaf ascend");
        assert!(self.has_metadata || self.metadata_commitment == [0; 32], "no metadata, no commitment to it");
        let control = self.kind.is_control();
        assert!(
            if control {
                !self.has_metadata && self.payload_commitment == [0; 32]
            } else {
                self.body.is_empty()
            },
            "a control record has a body, everything else has commitments"
        );
        out.extend_from_slice(&MAGIC);
        out.push(self.kind as u8);
        let flags = u8::from(self.encrypted) | u8::from(self.has_metadata) << 1 | (self.check as u8) << 2;
        out.push(flags | u8::from(self.sealed) << 4);
        out.extend_from_slice(&self.position.to_be_bytes());
        out.extend_from_slice(&self.commit_time.to_be_bytes());
        out.extend_from_slice(&self.stream_version.to_be_bytes());
        out.extend_from_slice(&self.stream_key);
        out.extend_from_slice(&self.prev_stream);
        out.extend_from_slice(&self.prev_global);
        out.extend_from_slice(&self.event_id);
        out.extend_from_slice(&self.occurred_at.to_be_bytes());
        for text in [self.event_type, self.content_type] {
            let length = u16::try_from(text.len()).expect("names are bounded well below 65,536 bytes");
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(&self.schema_version.to_be_bytes());
        out.extend_from_slice(&self.schema_id.to_be_bytes());
        let count = u16::try_from(self.tags.len()).expect("tags are bounded well below 65,536");
        out.extend_from_slice(&count.to_be_bytes());
        for tag in self.tags {
            out.extend_from_slice(tag);
        }
        if control {
            let length = u16::try_from(self.body.len()).expect("a body is bounded below 65,536 bytes");
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(self.body);
        } else {
            out.extend_from_slice(&self.payload_commitment);
            out.extend_from_slice(&self.metadata_commitment);
        }
    }

    /// Leaf hash of the binary form: [`crate::merkle::leaf_hash`] of [`Leaf::encode`], a fifth faster. `scratch` is
    /// working space to be used again, left empty.
    ///
    /// # Panics
    /// As [`Leaf::encode`].
    #[must_use]
    pub fn hash(&self, scratch: &mut Vec<u8>) -> Hash {
        scratch.clear();
        scratch.push(LEAF_PREFIX);
        self.encode(scratch);
        let hash = digest_in_place(scratch);
        scratch.clear();
        hash
    }
}

/// Keyed hash of a name (a stream, a tag): HMAC-SHA256 (RFC 2104) under the name's own random salt. Without the salt
/// the name cannot be guessed from the hash, so destroying the salt erases the name.
#[must_use]
pub fn name_key(salt: &[u8], name: &[u8]) -> Hash {
    let mut mac = Hmac::<Sha256>::new_from_slice(salt).expect("HMAC takes a key of any length");
    mac.update(name);
    mac.finalize().into_bytes().into()
}

/// `prev stream` of a stream's first event.
#[must_use]
pub fn stream_genesis(stream_key: &Hash) -> Hash {
    Sha256::new().chain_update(b"graven/stream-genesis/v1").chain_update(stream_key).finalize().into()
}

/// `prev global` of position 0.
#[must_use]
pub fn log_genesis(origin: &str) -> Hash {
    Sha256::new().chain_update(b"graven/log-genesis/v1").chain_update(origin.as_bytes()).finalize().into()
}

/// The 32-byte salt of a commitment: a 16-byte random seed, kept beside the bytes it protects and destroyed with them,
/// followed by the event's id. 128 bits of it are secret, which is what hiding needs; storing the other half again
/// would cost 16 bytes an event and hide nothing more.
#[must_use]
pub fn salt(seed: &[u8; 16], event_id: &[u8; 16]) -> [u8; 32] {
    let mut salt = [0; 32];
    salt[..16].copy_from_slice(seed);
    salt[16..].copy_from_slice(event_id);
    salt
}

/// Hiding commitment to the payload as stored: `SHA-256("graven/payload/v1" ‖ salt ‖ length ‖ bytes)`.
#[must_use]
pub fn payload_commitment(salt: &[u8; 32], stored: &[u8]) -> Hash {
    commitment(b"graven/payload/v1", salt, stored)
}

/// Hiding commitment to the metadata as stored: as [`payload_commitment`] with `"graven/meta/v1"`.
#[must_use]
pub fn metadata_commitment(salt: &[u8; 32], stored: &[u8]) -> Hash {
    commitment(b"graven/meta/v1", salt, stored)
}

fn commitment(domain: &[u8], salt: &[u8; 32], stored: &[u8]) -> Hash {
    digest_parts([domain, salt, &(stored.len() as u64).to_be_bytes(), stored])
}

#[cfg(test)]
mod tests;
