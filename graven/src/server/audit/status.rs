//! `GET /audit/status`: what is signed, sealed and verified.

use super::{seal, shapes};
use crate::server::App;
use crate::server::problem::Answer;
use crate::server::query_params::QueryParams;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::IntoResponse;
use std::sync::Arc;

/// Audit status
///
/// The newest checkpoint, the newest seal, and how verification stands.
#[utoipa::path(get, path = "/audit/status", tag = "audit", operation_id = "audit_status",
    responses((status = 200, description = "Where it all stands", body = shapes::AuditStatus)))]
pub(in crate::server) async fn status(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    QueryParams::parse(query.as_deref())?.finish()?;
    let (origin, latest, sealed, head) = app
        .read(|store| {
            let trail = store.trail();
            Ok((trail.origin().to_owned(), trail.latest_stored(), trail.last_seal()?, store.head().0))
        })
        .await?;
    Ok(Json(shapes::AuditStatus {
        origin,
        head,
        checkpoint: latest.as_ref().map(|latest| shapes::AuditCheckpoint {
            size: latest.size,
            signed_at: latest.signed_at.to_string(),
            checkpoint: latest.checkpoint.to_string(),
        }),
        unsigned: head.saturating_sub(latest.map_or(0, |latest| latest.size)),
        seal: sealed.as_ref().map(seal::shown),
        verification: app.verification.shown(),
    })
    .into_response())
}
