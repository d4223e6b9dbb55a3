//! Keeping a snapshot.

use super::answer::{message, whole};
use super::message::Messages;
use crate::server::{App, blocking};
use axum::body::Body;
use axum::http::Response;
use graven_model::{NewSnapshot, Result};
use graven_proto::wire;
use std::sync::Arc;

/// Answers `PutSnapshot`.
///
/// # Errors
/// Those of the store, and of reading the message.
pub(super) async fn put(app: Arc<App>, body: Body) -> Result<Response<Body>> {
    let asked: wire::PutSnapshotRequest = Messages::only(app.clone(), body).await?;
    let receipt = blocking(move || app.store.put_snapshot(&NewSnapshot::try_from(asked)?)).await?;
    Ok(whole(message(&wire::SnapshotReceipt::from(receipt))))
}
