//! Paths and forms of the files of a bundle. JSON throughout, one object a line where a name ends in `ndjson`; readers
//! refuse fields they do not know.

use super::PATH_BYTES_MAX;
use crate::Hash;
use crate::control::{Part, hex};
use crate::leaf::{Kind, Leaf, NO_TIME};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What the manifest calls its format.
pub const FORMAT: &str = "graven-bundle/v1";

/// List of all files but itself and [`MANIFEST_DIGEST`].
pub const MANIFEST: &str = "manifest.json";
/// Digest of the manifest, as `sha256sum` writes it.
pub const MANIFEST_DIGEST: &str = "manifest.sha256";
/// The signed checkpoint everything stands on.
pub const CHECKPOINT: &str = "checkpoint";
/// A timestamp of the checkpoint (RFC 3161), if there is one.
pub const TIMESTAMP: &str = "checkpoint.tsr";
/// Whom the operator suggests to trust.
pub const POLICY: &str = "policy";
/// Verifier keys the log says it signs with, one a line.
pub const KEYS: &str = "keys/log.vkeys";
/// Leaves of all KEY records, as [`ControlLine`]s.
pub const KEY_HISTORY: &str = "keys/history.ndjson";
/// The first part of the events.
pub const EVENTS: &str = "events.ndjson";
/// Leaves of the records that cover erased events, as [`ControlLine`]s.
pub const ERASURES: &str = "erasures.ndjson";
/// The leaf with the sealed root of the stream heads, a [`ControlLine`].
pub const SEAL: &str = "completeness/seal.json";
/// A [`RangeProof`].
pub const RANGE_PROOF: &str = "proofs/range.json";
/// What was exported, for programs.
pub const REPORT_JSON: &str = "report.json";
/// What was exported, for people.
pub const REPORT_HTML: &str = "report.html";
/// Where to begin.
pub const README: &str = "README.txt";
/// The checker in plain Python.
pub const VERIFIER: &str = "verify.py";

/// Path of a part of the events, from 0: `events.ndjson`, `events.001.ndjson` and so on.
#[must_use]
pub fn events_path(part: usize) -> String {
    if part == 0 { EVENTS.to_owned() } else { format!("events.{part:03}.ndjson") }
}

/// Path of the proof of the leaf at a position.
#[must_use]
pub fn proof_path(position: u64) -> String {
    format!("proofs/{position}.tlog-proof")
}

/// Path of what shows a stream to be whole; names of streams make no file names.
#[must_use]
pub fn completeness_path(stream_key: &Hash) -> String {
    format!("completeness/{}.json", hex::encode(stream_key))
}

/// Content of [`MANIFEST_DIGEST`] for a manifest of these bytes.
#[must_use]
pub fn manifest_digest(manifest: &[u8]) -> String {
    format!("{}  {MANIFEST}\n", hex::encode(&Sha256::digest(manifest).into()))
}

/// Whether a path can be that of a file in a bundle: relative, of plain ASCII names, nothing that leads out of it.
#[must_use]
pub fn safe_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    path.len() <= PATH_BYTES_MAX
        && path
            .split('/')
            .all(|name| !name.is_empty() && name != "." && name != ".." && name.bytes().all(plain))
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case", deny_unknown_fields)]
pub enum Scope {
    /// Every event up to the size of the checkpoint.
    All {},
    /// The events of these positions.
    Range {
        /// First position.
        start: u64,
        /// Behind the last position.
        end: u64,
    },
    /// All events of these streams.
    Streams {
        /// Their names, ascending.
        streams: Vec<String>,
    },
}

/// The list of files. Nobody signs it: what it says of the log counts only as far as the checkpoint says the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// Origin of the log.
    pub origin: String,
    /// Size of the checkpoint.
    pub size: u64,
    /// What was exported.
    pub scope: Scope,
    /// Version of the program that wrote it.
    pub store_version: String,
    /// When it was written, by the clock of that machine (RFC 3339).
    pub generated_at: String,
    /// All files but the manifest and its digest, in ascending order of their paths.
    pub files: Vec<FileEntry>,
}

/// One file in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Path in the bundle.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

impl FileEntry {
    /// The entry of a file with these bytes.
    #[must_use]
    pub fn of(path: &str, bytes: &[u8]) -> FileEntry {
        let sha256 = hex::encode(&Sha256::digest(bytes).into());
        FileEntry { path: path.to_owned(), size: bytes.len() as u64, sha256 }
    }
}

/// One event, with what it takes to compute its commitments and keyed hashes. All of it is compared with the leaf.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventLine {
    /// Position in the log.
    pub position: u64,
    /// [`kind_name`].
    pub kind: String,
    /// Name of the stream.
    pub stream: String,
    /// Salt of the stream's name, in hexadecimal.
    pub stream_salt: String,
    /// Revision in the stream.
    pub version: u64,
    /// Id, as a UUID.
    pub id: String,
    /// Event type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Media type of the payload.
    pub content_type: String,
    /// When it was committed, in microseconds since 1970.
    pub commit_time_us: i64,
    /// When it happened, by its producer, in microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at_us: Option<i64>,
    /// Schema of the payload; 0 if there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub schema_id: u32,
    /// Version of the schema; 0 if there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub schema_version: u32,
    /// The producer said that the payload is ciphertext.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
    /// Payload and metadata are ciphertext under the key of the data subject.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<NameLine>,
    /// Data subject; its keyed hash is of `$subject/` and the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<NameLine>,
    /// Payload as stored, in base64; of a control record its body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// Salt of its commitment: 32 bytes in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_salt: Option<String>,
    /// Metadata as stored, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// Salt of its commitment: 32 bytes in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_salt: Option<String>,
    /// Parts that were erased.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erased: Vec<Part>,
    /// The leaf in base64, where the bundle has no bundle of leaves around it: when single streams are exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf: Option<String>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl EventLine {
    /// What a leaf says about its event; names, salts, payload and metadata are for the caller to add.
    #[must_use]
    pub fn of_leaf(leaf: &Leaf<'_>) -> EventLine {
        EventLine {
            position: leaf.position,
            kind: kind_name(leaf.kind).to_owned(),
            version: leaf.stream_version,
            id: uuid(&leaf.event_id),
            event_type: leaf.event_type.to_owned(),
            content_type: leaf.content_type.to_owned(),
            commit_time_us: leaf.commit_time,
            occurred_at_us: (leaf.occurred_at != NO_TIME).then_some(leaf.occurred_at),
            schema_id: leaf.schema_id,
            schema_version: leaf.schema_version,
            encrypted: leaf.encrypted,
            sealed: leaf.sealed,
            ..EventLine::default()
        }
    }
}

/// A name and its salt; or, of an erased name, what is left: the keyed hash.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameLine {
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its salt, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// Its keyed hash in hexadecimal, instead of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl NameLine {
    /// A name that is there.
    #[must_use]
    pub fn named(name: impl Into<String>, salt: &[u8]) -> NameLine {
        NameLine { name: Some(name.into()), salt: Some(hex_bytes(salt)), key: None }
    }

    /// A name that was erased.
    #[must_use]
    pub fn erased(key: &Hash) -> NameLine {
        NameLine { name: None, salt: None, key: Some(hex::encode(key)) }
    }
}

/// The leaf of a record of the store about the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlLine {
    /// Its position.
    pub position: u64,
    /// The leaf in base64.
    pub leaf: String,
}

impl ControlLine {
    /// The line of a leaf.
    #[must_use]
    pub fn new(position: u64, leaf: &[u8]) -> ControlLine {
        ControlLine { position, leaf: crate::base64::encode(leaf) }
    }
}

/// What shows a stream to be whole, under the sealed root of the stream heads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Completeness {
    /// Name of the stream.
    pub stream: String,
    /// Salt of the name, in hexadecimal.
    pub stream_salt: String,
    /// Keyed hash of the name, in hexadecimal.
    #[serde(with = "hex")]
    pub stream_key: Hash,
    /// Position of the seal.
    pub seal: u64,
    /// [`crate::trie::TrieProof::encode`] in base64.
    pub proof: String,
}

impl Completeness {
    /// The form of a proof.
    #[must_use]
    pub fn new(stream: &str, salt: &[u8], seal: u64, proof: &crate::trie::TrieProof) -> Completeness {
        Completeness {
            stream: stream.to_owned(),
            stream_salt: hex_bytes(salt),
            stream_key: crate::leaf::name_key(salt, stream.as_bytes()),
            seal,
            proof: crate::base64::encode(&proof.encode()),
        }
    }
}

/// Shows leaves of neighbouring positions to be in the tree, by the hashes around them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeProof {
    /// First position.
    pub start: u64,
    /// Behind the last position.
    pub end: u64,
    /// [`crate::merkle::Tree::range`], in hexadecimal.
    pub hashes: Vec<String>,
}

/// Name of a kind of record in a bundle.
#[must_use]
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Event => "event",
        Kind::MapRoot => "map_root",
        Kind::Erasure => "erasure",
        Kind::Key => "key",
        Kind::Anchor => "anchor",
        Kind::Tombstone => "tombstone",
        Kind::Migration => "migration",
        Kind::Retention => "retention",
        Kind::Hold => "hold",
    }
}

/// An id in the usual spelling.
#[must_use]
pub fn uuid(id: &[u8; 16]) -> String {
    let digits = hex_bytes(id);
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32];
    groups.map(|group| &digits[group]).join("-")
}

/// Bytes in base64, as all files of a bundle have them.
#[must_use]
pub fn base64_text(bytes: &[u8]) -> String {
    crate::base64::encode(bytes)
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex_bytes(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing into memory does not fail");
        text
    })
}

/// The bytes of lower-case hexadecimal digits.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?)).collect()
}
