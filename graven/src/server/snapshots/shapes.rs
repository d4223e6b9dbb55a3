//! The shapes of snapshots, for the OpenAPI document.
#![allow(dead_code, reason = "most shapes only describe")]

use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// A state to be kept. Give `data` or `data_base64`.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct PutSnapshot {
    /// The last event that went into the state
    revision: u64,
    /// The state, if it is JSON
    data: Option<Value>,
    /// The state, if it is anything else
    #[schema(content_encoding = "base64", nullable = false)]
    data_base64: Option<String>,
    /// Media type of the state; `application/json` with `data`, `application/octet-stream` with `data_base64` if absent
    #[schema(nullable = false)]
    content_type: Option<String>,
    /// Version of the state's shape, by which a program tells whether it still understands it; 0 = none
    #[schema(nullable = false)]
    schema_version: Option<u32>,
    /// The person the state is about
    #[schema(nullable = false)]
    data_subject: Option<String>,
    /// How many snapshots of the stream are kept, this one among them; 1 if absent
    #[schema(nullable = false, minimum = 1, maximum = 100)]
    keep: Option<u32>,
}

/// A snapshot is kept.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct SnapshotReceipt {
    pub(super) stream: String,
    /// The last event that went into the state
    pub(super) revision: u64,
    /// Place of the snapshot in the log
    pub(super) position: u64,
    /// When it was kept
    #[schema(format = DateTime)]
    pub(super) taken_at: String,
    /// False if the very same snapshot was there already
    pub(super) stored: bool,
}

/// A stream's state at a revision.
#[derive(ToSchema)]
pub(in crate::server) struct Snapshot {
    stream: String,
    /// The last event that went into the state
    revision: u64,
    /// Place of that event in the log
    event_position: u64,
    /// Hash of that event's leaf in the log's tree, hexadecimal
    leaf_hash: String,
    /// Version of the state's shape; 0 = none
    schema_version: u32,
    /// Media type of the state
    content_type: String,
    /// When it was kept
    #[schema(format = DateTime)]
    taken_at: String,
    /// Place of the snapshot itself in the log
    position: u64,
    /// Person the state is about; absent if none
    #[schema(nullable = false)]
    data_subject: Option<String>,
    /// The state, if it is JSON: the bytes that were put
    data: Option<Value>,
    /// The state, if it is anything else or was asked for so
    #[schema(content_encoding = "base64", nullable = false)]
    data_base64: Option<String>,
}

/// Which snapshot.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::server) struct SnapshotParams {
    /// The newest of those of this revision or an earlier one
    #[param(required = false)]
    at_or_before: u64,
    /// `base64` sends the state as base64 of the stored bytes; `json` if absent
    #[param(required = false)]
    payload: crate::server::schema::PayloadForm,
}
