//! `POST /v1/groups/{group}/ack` and `/nack`: what a consumer says of the events in its hands.

use super::{group_of, shapes, wish};
use crate::server::path::PathParams;
use crate::server::problem::Answer;
use crate::server::query_params::wrong;
use crate::server::{App, schema};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use graven_model::{Code, Error, Nack, Position, Result, limits};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AckWish {
    consumer: u64,
    positions: Vec<Position>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NackWish {
    consumer: u64,
    positions: Vec<Position>,
    action: Option<String>,
    #[serde(default)]
    reason: String,
}

/// # Errors
/// [`Code::InvalidLimit`] for none, and for more than a consumer can have.
fn check(positions: &[Position]) -> Result<()> {
    let bound = limits::CONSUMER_BUFFER_MAX as usize;
    if (1..=bound).contains(&positions.len()) {
        return Ok(());
    }
    Err(Error::new(Code::InvalidLimit, "the number of positions is outside its bounds")
        .expected(format!("1 to {bound}"))
        .found(positions.len().to_string()))
}

/// Acknowledge events
///
/// They are done, and the consumer gets as many others. What is not in its hands (any more) is passed over.
#[utoipa::path(post, path = "/v1/groups/{group}/ack", tag = "groups", operation_id = "ack",
    params(("group" = String, Path, description = "Name of the group, percent-encoded")),
    request_body = shapes::GroupAck,
    responses((status = 200, description = "How many it was", body = shapes::GroupAnswered),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse),
        (status = 415, response = schema::ProblemResponse)))]
pub(in crate::server) async fn ack(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let (name, AckWish { consumer, positions }) =
        wish(&app, group_of(&path), query.as_deref(), &headers, body).await?;
    check(&positions)?;
    let in_hand = app.store.groups().consumer(&name, consumer)?.ack(&positions)?;
    Ok(Json(shapes::GroupAnswered { in_hand }).into_response())
}

/// Refuse events
///
/// They were not processed: they are tried again, become dead letters, or are done all the same. What is not in the consumer's hands (any
/// more) is passed over.
#[utoipa::path(post, path = "/v1/groups/{group}/nack", tag = "groups", operation_id = "nack",
    params(("group" = String, Path, description = "Name of the group, percent-encoded")),
    request_body = shapes::GroupNack,
    responses((status = 200, description = "How many it was", body = shapes::GroupAnswered),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse),
        (status = 415, response = schema::ProblemResponse)))]
pub(in crate::server) async fn nack(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let (name, NackWish { consumer, positions, action, reason }) =
        wish(&app, group_of(&path), query.as_deref(), &headers, body).await?;
    check(&positions)?;
    let action = match action {
        None => Nack::default(),
        Some(word) => Nack::from_word(&word)
            .ok_or_else(|| wrong("action", &Nack::ALL.map(Nack::word).join(", "), &word))?,
    };
    let in_hand = app.store.groups().consumer(&name, consumer)?.nack(&positions, action, &reason)?;
    Ok(Json(shapes::GroupAnswered { in_hand }).into_response())
}
