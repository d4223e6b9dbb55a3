//! What a check of a log finds: one code for each way in which a log can contradict itself, and the report of a check.
//!
//! Whoever checks hands what he finds to [`Report::add`], which keeps the finding that counts: the one at the smallest
//! position, and there the one at the lowest layer, since what lies above it follows from it. The others are counted.

use crate::control::hex;
use crate::merkle::{TILE_WIDTH, TreeHead};
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $layer:ident : $words:literal;)*) => {
        /// How a log contradicts itself, or what vouches for it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum FindingCode { $($(#[$doc])* #[serde(rename = $name)] $variant,)* }

        impl FindingCode {
            /// All codes.
            pub const ALL: &'static [FindingCode] = &[$(FindingCode::$variant,)*];

            /// Its stable name: what [`Display`](fmt::Display) writes.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(FindingCode::$variant => $name,)* }
            }

            /// Where it stands between the payload and the outside.
            #[must_use]
            pub const fn layer(self) -> Layer {
                match self { $(FindingCode::$variant => Layer::$layer,)* }
            }

            /// The same in plain words.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(FindingCode::$variant => $words,)* }
            }
        }
    };
}

codes! {
    /// A payload, or the seed of its commitment, is not what was committed to.
    PayloadMismatch = "PAYLOAD_MISMATCH" Payload: "the payload is not the one that was written";
    /// A payload is absent and no erasure or retention record covers it.
    PayloadMissingUnauthorised = "PAYLOAD_MISSING_UNAUTHORISED" Payload: "the payload is gone and nothing in the log says why";
    /// A payload is there although the log says that it was erased.
    ErasedButPresent = "ERASED_BUT_PRESENT" Payload: "the payload is still there although its erasure is recorded";
    /// Metadata, or the seed of their commitment, are not what was committed to.
    MetaMismatch = "META_MISMATCH" Metadata: "the metadata are not those that were written";
    /// A record or leaf cannot be read.
    LeafMalformed = "LEAF_MALFORMED" Leaf: "the event cannot be read";
    /// A record or leaf does not stand where it says.
    PositionMismatch = "POSITION_MISMATCH" Leaf: "another position is expected here";
    /// A field of the record is not what was hashed.
    LeafHashMismatch = "LEAF_HASH_MISMATCH" Leaf: "the event is not the one that was hashed";
    /// The revisions of a stream are not consecutive.
    StreamVersionGap = "STREAM_VERSION_GAP" Chain: "the revision does not follow the one before in its stream";
    /// A leaf does not continue its stream.
    PrevStreamMismatch = "PREV_STREAM_MISMATCH" Chain: "the event does not continue its stream";
    /// A leaf does not continue the log.
    PrevGlobalMismatch = "PREV_GLOBAL_MISMATCH" Chain: "the event does not continue the log";
    /// A snapshot is not made of the event it names.
    SnapshotForeign = "SNAPSHOT_FOREIGN" Chain: "the snapshot is not made of the event it names";
    /// A hash in a tile is not the one its leaves give.
    TileMismatch = "TILE_MISMATCH" Tile: "a stored hash of the tree is not the one the events give";
    /// A stored root is not the one the leaves give.
    RootMismatch = "ROOT_MISMATCH" Root: "a stored root is not the one the events give";
    /// A sealed root of the stream-head trie is not the one the leaves give.
    MapRootMismatch = "MAP_ROOT_MISMATCH" Map: "the sealed root of the stream heads is not the one the events give";
    /// A stream is not whole.
    StreamIncomplete = "STREAM_INCOMPLETE" Map: "the stream is not whole";
    /// A checkpoint is unreadable, or a signature on it does not verify.
    CheckpointSignatureInvalid = "CHECKPOINT_SIGNATURE_INVALID" Checkpoint: "a signature on a checkpoint does not verify";
    /// A checkpoint is signed by no known key.
    KeyUnknown = "KEY_UNKNOWN" Checkpoint: "a checkpoint is signed by no known key";
    /// A key signed a size it was not valid for.
    KeyOutOfRange = "KEY_OUT_OF_RANGE" Checkpoint: "a key signed a size it was not valid for";
    /// Events stand after the newest checkpoint.
    UnsignedTail = "UNSIGNED_TAIL" Checkpoint: "the last events are under no checkpoint";
    /// Checkpoints that ought to be there are missing.
    CheckpointGap = "CHECKPOINT_GAP" Checkpoint: "checkpoints are missing";
    /// The log is smaller than something that was signed.
    RollbackDetected = "ROLLBACK_DETECTED" Checkpoint: "the log is smaller than it once was";
    /// A signed head and the log cannot both be of one history.
    InconsistentHistory = "INCONSISTENT_HISTORY" Checkpoint: "the log is not the one that was signed";
    /// Too few witnesses cosigned.
    WitnessQuorumMissing = "WITNESS_QUORUM_MISSING" Outside: "too few witnesses cosigned";
    /// A timestamp does not fit what it stands for.
    TimestampInvalid = "TIMESTAMP_INVALID" Outside: "a timestamp does not fit its checkpoint";
    /// A proof of a single event or of a range does not hold.
    ProofInvalid = "PROOF_INVALID" Outside: "a proof does not show what it is there for";
    /// A file of a bundle is not the one its manifest lists, or is not listed.
    BundleFileMismatch = "BUNDLE_FILE_MISMATCH" Outside: "a file of the bundle is not the one that was exported";
    /// A file of a bundle cannot be read as what it is.
    BundleMalformed = "BUNDLE_MALFORMED" Outside: "a file of the bundle cannot be read";
}

impl fmt::Display for FindingCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// What a finding is about, from the events up to those who vouch for them. What is wrong further down explains what is
/// wrong above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// What the producer wrote.
    Payload,
    /// What he wrote about it.
    Metadata,
    /// The envelope: everything else of the event.
    Leaf,
    /// How events follow one another.
    Chain,
    /// Stored hashes of the tree.
    Tile,
    /// Stored roots of the tree.
    Root,
    /// The trie of stream heads.
    Map,
    /// Signed heads.
    Checkpoint,
    /// Witnesses and timestamps.
    Outside,
}

impl fmt::Display for Layer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Layer::Payload => "payload",
            Layer::Metadata => "metadata",
            Layer::Leaf => "leaf",
            Layer::Chain => "chain",
            Layer::Tile => "tile",
            Layer::Root => "root",
            Layer::Map => "map",
            Layer::Checkpoint => "checkpoint",
            Layer::Outside => "outside",
        })
    }
}

/// One thing that is wrong. As JSON: the code by its name, hashes in hexadecimal, what is not known left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub code: FindingCode,
    /// Where in the log, where that is known. Never guessed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// Name of the event's stream, as its record gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Revision of the event in its stream, as its record gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_version: Option<u64>,
    /// Which stored hash of the tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tile: Option<TileHash>,
    /// What ought to be there.
    pub expected: String,
    /// What is there.
    pub actual: String,
    /// Files, and the bytes in them, that show it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

/// A hash of the tree as it is stored: number `index` of tile level `level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TileHash {
    /// Tile level; 0 are the leaf hashes.
    pub level: u8,
    /// Number on that level.
    pub index: u64,
}

impl TileHash {
    /// Last leaf it covers.
    #[must_use]
    pub fn last_leaf(&self) -> u64 {
        let bits = u32::from(self.level) * TILE_WIDTH.trailing_zeros();
        let width = 1u64.checked_shl(bits).unwrap_or(u64::MAX);
        self.index.saturating_mul(width).saturating_add(width - 1)
    }
}

impl Finding {
    /// A finding with a code, nothing known of its place.
    #[must_use]
    pub fn new(code: FindingCode, expected: impl Into<String>, actual: impl Into<String>) -> Finding {
        Finding {
            code,
            position: None,
            stream: None,
            stream_version: None,
            tile: None,
            expected: expected.into(),
            actual: actual.into(),
            evidence: Vec::new(),
        }
    }

    /// The same at a position.
    #[must_use]
    pub fn at(mut self, position: u64) -> Finding {
        self.position = Some(position);
        self
    }

    /// The same for an event of a stream.
    #[must_use]
    pub fn of(mut self, stream: impl Into<String>, version: u64) -> Finding {
        self.stream = Some(stream.into());
        self.stream_version = Some(version);
        self
    }

    /// The same for a stored hash of the tree.
    #[must_use]
    pub fn in_tile(mut self, level: u8, index: u64) -> Finding {
        self.tile = Some(TileHash { level, index });
        self
    }

    /// The same with a file, or a place in one, that shows it.
    #[must_use]
    pub fn shown_by(mut self, evidence: impl Into<String>) -> Finding {
        self.evidence.push(evidence.into());
        self
    }

    /// What orders findings: the position, or the last leaf under a stored hash, since an event below it explains it; then
    /// the layer. A finding without a place comes last.
    #[must_use]
    pub fn rank(&self) -> (u64, Layer) {
        let tile = self.tile.map(|tile| tile.last_leaf());
        (self.position.or(tile).unwrap_or(u64::MAX), self.code.layer())
    }
}

/// One line: code, place, what was expected and what was found.
impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.code)?;
        if let Some(position) = self.position {
            write!(out, " at position {position}")?;
        }
        if let (Some(stream), Some(version)) = (&self.stream, self.stream_version) {
            write!(out, " (stream {stream:?}, revision {version})")?;
        }
        if let Some(TileHash { level, index }) = self.tile {
            write!(out, " in hash {index} of tile level {level}")?;
        }
        write!(out, ": {}; expected {}; found {}", self.code.words(), self.expected, self.actual)
    }
}

/// A signed head as a report names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointRef {
    /// Leaves of the tree.
    pub size: u64,
    /// Its root, in hexadecimal.
    pub root: String,
    /// Id of the key that signed, in hexadecimal, as the note gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
}

impl CheckpointRef {
    /// A head, by which key it was signed if that is known.
    #[must_use]
    pub fn new(head: &TreeHead, key_id: Option<String>) -> CheckpointRef {
        CheckpointRef { size: head.size, root: hex::encode(&head.root), key_id }
    }
}

impl fmt::Display for CheckpointRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "size {}, root {}", self.size, self.root)
    }
}

/// Whose signatures were verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Nobody's: there was no checkpoint to look at.
    #[default]
    NoCheckpoints,
    /// Nobody's: the checkpoints were compared with the log, and no key was given to verify who signed them.
    NotVouched,
    /// Those of the keys the log keeps beside itself: they say nothing about someone who holds that key.
    OwnKeys,
    /// Those of keys that whoever asked for the check brought along.
    GivenKeys,
}

impl Trust {
    /// The same in plain words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Trust::NoCheckpoints => {
                "there are no signed checkpoints; nothing shows that nobody wrote it anew"
            }
            Trust::NotVouched => "signatures were not checked: signed by a key nobody vouched for here",
            Trust::OwnKeys => "signatures were checked with the keys beside the log",
            Trust::GivenKeys => "signatures were checked with the keys that were given",
        }
    }
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Positions that were checked: the first, and the one after the last.
    pub checked: [u64; 2],
    /// Events among them that were read.
    pub events: u64,
    /// Bytes of the log that were read.
    pub bytes: u64,
    /// How long it took.
    pub elapsed_ms: u64,
    /// Checkpoints the log was compared with.
    pub checkpoints: u64,
    /// Sealed roots of the stream-head trie that were compared.
    pub map_roots: u64,
    /// Whose signatures were verified.
    pub trust: Trust,
    /// The largest checkpoint that fits the log, as far as it was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good_checkpoint: Option<CheckpointRef>,
    /// The smallest one above it that does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bad_checkpoint: Option<CheckpointRef>,
    /// The finding that counts; `None` if nothing is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Finding>,
    /// What was found besides.
    pub other_findings: u64,
    /// What is worth knowing and is not wrong: what was left out, what is not signed yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Notes of a report at the most.
const NOTES_MAX: usize = 32;

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.first.is_none()
    }

    /// Adds a finding: it becomes the first one if it ranks before it, and is counted otherwise.
    pub fn add(&mut self, finding: Finding) {
        match &mut self.first {
            None => self.first = Some(finding),
            Some(first) => {
                self.other_findings += 1;
                if finding.rank() < first.rank() {
                    *first = finding;
                }
            }
        }
    }

    /// Says something that is not wrong. A report has room for a few dozen of these; further ones are dropped.
    pub fn note(&mut self, note: impl Into<String>) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note.into());
        }
    }

    /// Adds what a check of another part of the same log came to.
    pub fn merge(&mut self, other: Report) {
        let Report { events, bytes, checkpoints, map_roots, first, other_findings, notes, .. } = other;
        self.events += events;
        self.bytes += bytes;
        self.checkpoints += checkpoints;
        self.map_roots += map_roots;
        if let Some(finding) = first {
            self.add(finding);
        }
        self.other_findings += other_findings;
        notes.into_iter().for_each(|note| self.note(note));
    }

    /// Findings of all kinds.
    #[must_use]
    pub fn findings(&self) -> u64 {
        u64::from(self.first.is_some()) + self.other_findings
    }

    /// Events read a second; 0 if it took no time that could be measured.
    #[must_use]
    pub fn events_per_second(&self) -> u64 {
        (self.events * 1000).checked_div(self.elapsed_ms).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
