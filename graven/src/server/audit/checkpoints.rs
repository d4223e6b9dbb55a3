//! `GET /audit/checkpoint`, `/audit/checkpoints`: what is signed.

use super::TEXT;
use super::shapes;
use crate::server::App;
use crate::server::media::AnswerType;
use crate::server::problem::Answer;
use crate::server::query_params::QueryParams;
use crate::server::schema;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::IntoResponse;
use graven_model::{Code, Error, limits};
use std::sync::Arc;

/// Checkpoints on one page when nobody says how many.
const PAGE_DEFAULT: usize = 100;

/// Checkpoint
///
/// The latest signed head of the log's tree, as a signed note (C2SP tlog-checkpoint). With `at_least` one that covers so many events,
/// signed now if need be; with `size` the one that was signed at this size.
#[utoipa::path(get, path = "/audit/checkpoint", tag = "audit", operation_id = "audit_checkpoint",
    params(("at_least" = Option<u64>, Query, description = "Events it has to cover"),
        ("size" = Option<u64>, Query, description = "Events it has to cover exactly")),
    responses((status = 200, description = "The signed note", body = String, content_type = "text/plain"),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse)))]
pub(in crate::server) async fn checkpoint(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    let mut params = QueryParams::parse(query.as_deref())?;
    let (at_least, size) = (params.number("at_least")?, params.number("size")?);
    params.finish()?;
    let checkpoint = match (at_least, size) {
        (Some(_), Some(_)) => {
            return Err(Error::new(Code::BadRequest, "both at_least and size are given")
                .expected("one of them")
                .into());
        }
        (None, Some(size)) => app.trail(move |trail| trail.checkpoint_of(size)).await?,
        (at_least, None) => app.checkpoint(at_least).await?,
    };
    Ok(([TEXT], checkpoint.to_string()).into_response())
}

/// Checkpoints
///
/// Those that were signed and kept, in the order of their sizes: a page as JSON, or one a line.
#[utoipa::path(get, path = "/audit/checkpoints", tag = "audit", operation_id = "audit_checkpoints",
    params(("after" = Option<u64>, Query, description = "Only such as cover more events; `next` of the last page"),
        ("limit" = Option<u32>, Query, description = "How many at the most, 1 to 1000; 100 by default")),
    responses((status = 200, description = "A page, or one a line", content(
            (shapes::AuditCheckpoints = "application/json"), (shapes::AuditCheckpoint = "application/x-ndjson"))),
        (status = 400, response = schema::ProblemResponse)))]
pub(in crate::server) async fn checkpoints(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let mut params = QueryParams::parse(query.as_deref())?;
    let (after, limit) = (params.number("after")?, params.number("limit")?);
    params.finish()?;
    let limit = match limit {
        None => PAGE_DEFAULT,
        Some(asked) => usize::try_from(asked)
            .ok()
            .filter(|asked| (1..=limits::CHECKPOINT_LIST_MAX).contains(asked))
            .ok_or_else(|| {
                Error::new(Code::InvalidLimit, "limit is out of bounds")
                    .expected(format!("1 to {}", limits::CHECKPOINT_LIST_MAX))
                    .found(asked.to_string())
            })?,
    };
    let stored = app.trail(move |trail| trail.checkpoints(after, limit)).await?;
    let next = (stored.len() == limit).then(|| stored.last().map(|last| last.size)).flatten();
    let checkpoints: Vec<shapes::AuditCheckpoint> = stored
        .into_iter()
        .map(|stored| shapes::AuditCheckpoint {
            size: stored.size,
            signed_at: stored.signed_at.to_string(),
            checkpoint: stored.checkpoint.to_string(),
        })
        .collect();
    if AnswerType::wanted(&headers) != AnswerType::Ndjson {
        return Ok(Json(shapes::AuditCheckpoints { checkpoints, next }).into_response());
    }
    let mut lines = Vec::new();
    for checkpoint in &checkpoints {
        serde_json::to_writer(&mut lines, checkpoint)
            .map_err(|error| Error::new(Code::Internal, format!("a checkpoint does not encode: {error}")))?;
        lines.push(b'\n');
    }
    let content_type = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, content_type)], lines).into_response())
}
