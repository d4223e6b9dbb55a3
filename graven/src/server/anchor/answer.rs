//! `GET /audit/anchors`, `/audit/witnessed`: what outsiders have vouched for.

use super::standing::Report;
use crate::server::App;
use crate::server::problem::Answer;
use crate::server::schema;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse as _;
use graven_model::{Code, Error};
use std::sync::Arc;

/// Anchors
///
/// Where witnesses and the timestamp authority stand, and which events nobody outside vouches for yet. A quorum of `none` means
/// that the operator's word alone is believed.
#[utoipa::path(get, path = "/audit/anchors", tag = "audit", operation_id = "audit_anchors",
    responses((status = 200, description = "The report", body = Report)))]
pub(in crate::server) async fn anchors(State(app): State<Arc<App>>) -> Answer {
    Ok(Json(report(&app)).into_response())
}

/// Witnessed checkpoint
///
/// The newest checkpoint that a quorum of witnesses cosigned, with their signatures.
#[utoipa::path(get, path = "/audit/witnessed", tag = "audit", operation_id = "audit_witnessed",
    responses((status = 200, description = "The signed note", body = String, content_type = "text/plain"),
        (status = 404, response = schema::ProblemResponse)))]
pub(in crate::server) async fn witnessed(State(app): State<Arc<App>>) -> Answer {
    let witnessed = app.options.anchors.as_ref().and_then(super::AnchorView::witnessed);
    let witnessed = witnessed.ok_or_else(|| {
        Error::new(Code::NotFound, "no checkpoint was cosigned by a quorum of witnesses yet")
    })?;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, text)], witnessed.to_string()).into_response())
}

/// Where everything stands.
pub(in crate::server) fn report(app: &App) -> Report {
    match &app.options.anchors {
        Some(anchors) => anchors.report(),
        None => Report::alone(app.store.trail().latest().map_or(0, |latest| latest.unverified_head().size)),
    }
}
