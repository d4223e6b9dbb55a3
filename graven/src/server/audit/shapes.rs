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
