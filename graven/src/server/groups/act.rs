//! `POST /v1/dead-letters/replay` and `/skip`: what is done to a selection of dead letters, counted first if that is wanted.

use super::filter::{Selection, SelectionWish};
use super::{shapes, wish};
use crate::server::problem::Answer;
use crate::server::{App, schema};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use graven_engine::Groups;
use graven_model::{Code, DeadLetterFilter, Error, Result};
use std::sync::Arc;

/// Replay dead letters
///
/// They are delivered again, before anything newer, oldest first. Each stays a dead letter until a consumer has acknowledged it; if it
/// fails again it stays with what went wrong this time. With `dry_run` they are only counted.
#[utoipa::path(post, path = "/v1/dead-letters/replay", tag = "groups", operation_id = "replay_dead_letters",
    request_body = shapes::DeadLetterSelection,
    responses((status = 200, description = "How many", body = shapes::DeadLettersChosen),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse),
        (status = 415, response = schema::ProblemResponse),
        (status = 421, response = schema::ProblemResponse)))]
pub(in crate::server) async fn replay(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    act(&app, query.as_deref(), &headers, body, Groups::replay).await
}

/// Skip dead letters
///
/// They are done without having been processed, and that is durable when it is answered. The events stay in the log. With `dry_run` they
/// are only counted.
#[utoipa::path(post, path = "/v1/dead-letters/skip", tag = "groups", operation_id = "skip_dead_letters",
    request_body = shapes::DeadLetterSelection,
    responses((status = 200, description = "How many", body = shapes::DeadLettersChosen),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse),
        (status = 415, response = schema::ProblemResponse),
        (status = 421, response = schema::ProblemResponse)))]
pub(in crate::server) async fn skip(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    act(&app, query.as_deref(), &headers, body, Groups::skip).await
}

async fn act(
    app: &Arc<App>,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Body,
    what: fn(&Groups, &DeadLetterFilter, Option<u64>) -> Result<u64>,
) -> Answer {
    let ((), asked) = wish::<_, SelectionWish>(app, Ok(()), query, headers, body).await?;
    let Selection { filter, limit, dry_run } = asked.selection()?;
    let dead_letters = app
        .tell_groups(move |groups| {
            if let Some(group) = &filter.group {
                groups.info(group)?;
            }
            let count = match dry_run {
                true => groups.count_dead_letters(&filter)?.min(limit.unwrap_or(u64::MAX)),
                false => what(groups, &filter, limit)?,
            };
            if count == 0 && !filter.positions.is_empty() {
                return Err(Error::new(Code::DeadLetterNotFound, "no parked event fits the selection"));
            }
            Ok(count)
        })
        .await?;
    Ok(Json(shapes::DeadLettersChosen { dead_letters }).into_response())
}
