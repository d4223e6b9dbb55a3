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
    let (origin, latest, sealed, head, scrub) = app
        .read(|store| {
            let trail = store.trail();
            let (latest, sealed) = (trail.latest_stored(), trail.last_seal()?);
            Ok((trail.origin().to_owned(), latest, sealed, store.head().0, store.scrub_status()))
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
        scrub: shapes::AuditScrub {
            position: scrub.cursor.0,
            passes: scrub.passes,
            finished_at: scrub.finished_at.map(|at| at.to_string()),
            findings: scrub.findings,
            first: scrub.first.and_then(|finding| serde_json::to_value(finding).ok()),
            trouble: scrub.trouble.map(|error| error.to_string()),
        },
    })
    .into_response())
}
