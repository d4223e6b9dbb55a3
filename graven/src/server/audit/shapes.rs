//! The shapes of answers about the audit trail.

use serde::Serialize;
use utoipa::ToSchema;

/// A checkpoint that was signed and kept.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditCheckpoint {
    /// Events it covers
    pub(super) size: u64,
    /// When it was signed, by the server's clock; nobody vouches for it
    #[schema(format = DateTime)]
    pub(super) signed_at: String,
    /// The signed note
    pub(super) checkpoint: String,
}

/// A page of checkpoints.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditCheckpoints {
    pub(super) checkpoints: Vec<AuditCheckpoint>,
    /// `after` of the next page; null at the end
    #[schema(required = true)]
    pub(super) next: Option<u64>,
}

/// The keys of the log.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditKeys {
    pub(super) keys: Vec<AuditKey>,
}

/// A key that signs checkpoints, or signed them once.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditKey {
    /// The verifier key, as text of C2SP signed-note
    pub(super) vkey: String,
    /// Its id, eight hexadecimal digits
    pub(super) id: String,
    /// Position of the record that added it; null for the log's first key
    #[schema(required = true)]
    pub(super) added_at: Option<u64>,
    /// Smallest size it signs
    pub(super) valid_from: u64,
    /// Largest size it signs, if it was retired
    #[schema(required = true)]
    pub(super) valid_until: Option<u64>,
    /// Largest size it is believed for, if it was revoked
    #[schema(required = true)]
    pub(super) last_good: Option<u64>,
    /// It signs
    pub(super) signs: bool,
}

/// A proof of inclusion without a checkpoint.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditInclusion {
    pub(super) position: u64,
    /// Events of the tree
    pub(super) size: u64,
    /// Hash of the event's leaf
    #[schema(content_encoding = "base64")]
    pub(super) leaf_hash: String,
    /// Hashes beside the leaf's path, from the leaf up, in base64
    pub(super) hashes: Vec<String>,
    /// The leaf, if it was asked for
    #[schema(content_encoding = "base64", nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) leaf: Option<String>,
}

/// A proof of consistency.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditConsistency {
    /// Events of the older tree
    pub(super) from: u64,
    /// Events of the newer tree
    pub(super) to: u64,
    /// The hashes, in base64
    pub(super) hashes: Vec<String>,
}

/// Body of a seal: an empty object.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct AuditSealRequest {}

/// A record of the log that says where every stream stood.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditSeal {
    /// Position of the record
    pub(super) position: u64,
    /// It covers the positions below this
    pub(super) size: u64,
    /// Streams it covers
    pub(super) streams: u64,
    /// Root over their heads, hexadecimal
    pub(super) root: String,
}

/// What came of a seal.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditSealed {
    pub(super) seal: AuditSeal,
    /// A checkpoint that covers it: a signed note
    pub(super) checkpoint: String,
}

/// Where a stream stood at a seal.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditStreamHead {
    /// As many events as it ever had
    pub(super) next_revision: u64,
    pub(super) first_position: u64,
    pub(super) last_position: u64,
    /// Hash of its last event's leaf, hexadecimal
    pub(super) last_leaf_hash: String,
    /// It ended and takes no more events
    pub(super) tombstoned: bool,
}

/// Where a stream stood at the last seal, and what proves it.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditCompleteness {
    pub(super) stream: String,
    /// Keyed hash of its name, as its leaves have it, hexadecimal
    pub(super) stream_key: String,
    /// Salt of the name: HMAC-SHA256(salt, name) is the key
    #[schema(content_encoding = "base64")]
    pub(super) name_salt: String,
    pub(super) seal: AuditSeal,
    /// That the seal is in the log: a C2SP tlog-proof that brings its leaf along as extra data
    pub(super) seal_proof: String,
    #[schema(required = true)]
    pub(super) head: Option<AuditStreamHead>,
    /// Path from the seal's root to the stream; its form stands in `docs/format.md`
    #[schema(content_encoding = "base64")]
    pub(super) path: String,
}

/// What to verify, and against whose word; an empty object for everything.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only describes")]
pub(in crate::server) struct AuditVerify {
    /// First position; the beginning if absent
    #[schema(nullable = false)]
    from: Option<u64>,
    /// Position to stop before; the end if absent
    #[schema(nullable = false)]
    to: Option<u64>,
    /// Checkpoints from elsewhere that the log has to agree with
    #[schema(nullable = false)]
    checkpoints: Option<Vec<String>>,
    /// Keys to check signatures with, instead of those of the log
    #[schema(nullable = false)]
    vkeys: Option<Vec<String>>,
    /// Events under no checkpoint are a finding
    #[schema(nullable = false, default = false)]
    strict: Option<bool>,
}

/// How verification stands.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditVerification {
    /// The one that runs; null if none does
    #[schema(required = true)]
    pub(super) running: Option<AuditVerificationRunning>,
    /// The last one since the server started; null if there was none
    #[schema(required = true)]
    pub(super) last: Option<AuditVerificationEnded>,
}

/// A verification that runs.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditVerificationRunning {
    #[schema(format = DateTime)]
    pub(super) begun_at: String,
    /// Everything below was checked
    pub(super) position: u64,
    /// Position to stop before
    #[schema(required = true)]
    pub(super) to: Option<u64>,
    /// Bytes of the log that were read
    pub(super) bytes: u64,
    /// Bytes of the log there are
    pub(super) bytes_total: u64,
    pub(super) findings: u64,
}

/// A verification that ended.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditVerificationEnded {
    #[schema(format = DateTime)]
    pub(super) begun_at: String,
    #[schema(format = DateTime)]
    pub(super) ended_at: String,
    /// The report, as `graven verify` prints it; null if it did not come to its end. `first` in it is the finding that counts,
    /// absent if nothing is wrong
    #[schema(required = true, value_type = Option<Object>)]
    pub(super) report: Option<serde_json::Value>,
    /// Why it did not come to its end
    #[schema(required = true)]
    pub(super) error: Option<String>,
}

/// Where signing, sealing and verifying stand.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditStatus {
    /// First line of the log's checkpoints, and name of its keys
    pub(super) origin: String,
    /// Events in the log
    pub(super) head: u64,
    /// The newest checkpoint; null before the first
    #[schema(required = true)]
    pub(super) checkpoint: Option<AuditCheckpoint>,
    /// Events it does not cover
    pub(super) unsigned: u64,
    /// The newest seal; null before the first
    #[schema(required = true)]
    pub(super) seal: Option<AuditSeal>,
    pub(super) verification: AuditVerification,
    pub(super) scrub: AuditScrub,
}

/// How the verification in the background stands.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditScrub {
    /// Everything below was verified in this pass
    pub(super) position: u64,
    /// Passes over the whole log, those of earlier runs counted
    pub(super) passes: u64,
    /// When the last one came to its end
    #[schema(required = true, format = DateTime)]
    pub(super) finished_at: Option<String>,
    /// Findings since the server started
    pub(super) findings: u64,
    /// The one that counts, as in a report
    #[schema(required = true, value_type = Option<Object>)]
    pub(super) first: Option<serde_json::Value>,
    /// Why it could not go on last
    #[schema(required = true)]
    pub(super) trouble: Option<String>,
}

/// What is to be erased, on whose word. One of `positions`, `stream`, `subject`.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only describes")]
pub(in crate::server) struct AuditErase {
    /// Events, by position
    #[schema(nullable = false)]
    positions: Option<Vec<u64>>,
    /// Events of a stream
    #[schema(nullable = false)]
    stream: Option<String>,
    /// Only those of the stream below this revision
    #[schema(nullable = false)]
    before: Option<u64>,
    /// Events of a data subject, and its name with them
    #[schema(nullable = false)]
    subject: Option<String>,
    /// `data`, `metadata`; both if absent
    #[schema(nullable = false)]
    parts: Option<Vec<String>>,
    /// Pseudonymous id of the request, by which a retry is recognised
    request: String,
    /// Legal basis, as a code
    basis: String,
    /// Who decided
    decided_by: String,
    /// Who approved, if a second person had to
    #[schema(nullable = false)]
    approved_by: Option<String>,
    /// Count only
    #[schema(nullable = false, default = false)]
    dry_run: Option<bool>,
}

/// What came of an erasure.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditErased {
    /// Position of the record that says so; null if it was only counted
    #[schema(required = true)]
    pub(super) record: Option<u64>,
    /// Events it covers
    pub(super) events: u64,
    /// Segments of the log that were rewritten, or would be
    pub(super) segments: u64,
    /// Bytes the log is shorter
    pub(super) bytes_freed: i64,
    /// The request was carried out before
    pub(super) repeated: bool,
}

/// Body of a scavenge.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only describes")]
pub(in crate::server) struct AuditScavenge {
    /// Count only
    #[schema(nullable = false, default = false)]
    dry_run: Option<bool>,
}

/// What came of scavenging.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditScavenged {
    /// Streams something was dropped from, or would be
    pub(super) streams: u64,
    /// Events whose data and metadata were dropped, or would be
    pub(super) events: u64,
    /// Bytes of these data and metadata, as stored before compression
    pub(super) payload_bytes: u64,
    /// Streams with something to drop that a legal hold covers: nothing was dropped from them
    pub(super) held: u64,
    /// Segments of the log that were rewritten
    pub(super) segments: u64,
    /// Bytes the log is shorter
    pub(super) bytes_freed: i64,
    /// There is more to drop: scavenge again
    pub(super) more: bool,
}

/// The legal holds there are.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditHolds {
    pub(super) holds: Vec<AuditHold>,
}

/// A legal hold. Names of streams and subjects stand as keyed hashes.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditHold {
    /// Its name
    pub(super) id: String,
    /// `stream`, `category` or `subject`
    pub(super) on: &'static str,
    /// The category; or the keyed hash, hexadecimal
    pub(super) what: String,
    /// Why, as a code or reference
    pub(super) reason: String,
    /// Who decided
    pub(super) decided_by: String,
}

/// A legal hold that is to begin. One of `stream`, `category`, `subject`.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only describes")]
pub(in crate::server) struct AuditHoldRequest {
    /// Its name
    id: String,
    #[schema(nullable = false)]
    stream: Option<String>,
    #[schema(nullable = false)]
    category: Option<String>,
    /// A data subject
    #[schema(nullable = false)]
    subject: Option<String>,
    /// Why, as a code or reference
    reason: String,
    /// Who decided
    decided_by: String,
}

/// Body of the end of a hold.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only describes")]
pub(in crate::server) struct AuditEndHold {
    /// Why, as a code or reference
    reason: String,
    /// Who decided
    decided_by: String,
}

/// A record of the log that says what was done.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AuditRecord {
    /// Its position
    pub(super) position: u64,
}

/// Body of a rotation.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only describes")]
pub(in crate::server) struct AuditRotate {
    /// The keys before go on signing beside the new one
    #[schema(nullable = false, default = false)]
    overlap: Option<bool>,
    /// The log's root key, secret, if its public half lies among the keys
    #[schema(nullable = false)]
    root_key: Option<String>,
}

/// A key that is to sign nothing more.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only describes")]
pub(in crate::server) struct AuditRetire {
    /// Its id, eight hexadecimal digits
    key: String,
    /// As for a rotation
    #[schema(nullable = false)]
    root_key: Option<String>,
}

/// A key that others know.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only describes")]
pub(in crate::server) struct AuditRevoke {
    /// Its id, eight hexadecimal digits
    key: String,
    /// The largest size somebody outside vouches for
    last_good: u64,
    /// As for a rotation
    #[schema(nullable = false)]
    root_key: Option<String>,
}
