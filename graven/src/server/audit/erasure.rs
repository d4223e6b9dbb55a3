//! `POST /audit/erasures`, `POST /audit/scavenge`, `/audit/holds`: what is destroyed, on whose word, and what must not be.

use super::{shapes, wish};
use crate::server::path::PathParams;
use crate::server::problem::Answer;
use crate::server::query_params::QueryParams;
use crate::server::{App, blocking, schema};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use graven_engine::audit::{
    ErasureOutcome, ErasureRequest, ErasureTarget, HoldOn, Part, ScavengeOptions, ScavengeReport,
};
use graven_model::{Code, Error, Position, Result, Revision, StreamName};
use graven_proof::control::{Hold, HoldScope, hex};
use serde::Deserialize;
use std::sync::Arc;

/// What is to be erased, as it was asked for over the network.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct EraseWish {
    pub(in crate::server) positions: Option<Vec<u64>>,
    pub(in crate::server) stream: Option<String>,
    pub(in crate::server) before: Option<u64>,
    pub(in crate::server) subject: Option<String>,
    pub(in crate::server) parts: Option<Vec<Part>>,
    #[serde(default)]
    pub(in crate::server) request: String,
    #[serde(default)]
    pub(in crate::server) basis: String,
    #[serde(default)]
    pub(in crate::server) decided_by: String,
    pub(in crate::server) approved_by: Option<String>,
    #[serde(default)]
    pub(in crate::server) dry_run: bool,
}

impl EraseWish {
    fn request(self) -> Result<(ErasureRequest, bool)> {
        let one = || {
            Error::new(Code::BadRequest, "it is not said once which events are meant")
                .expected("one of positions, stream, subject")
        };
        if self.before.is_some() && self.stream.is_none() {
            return Err(Error::new(Code::BadRequest, "before belongs to a stream"));
        }
        let target = match (self.positions, self.stream, self.subject) {
            (Some(positions), None, None) => {
                ErasureTarget::Events(positions.into_iter().map(Position).collect())
            }
            (None, Some(name), None) => {
                ErasureTarget::Stream { name: StreamName::new(name)?, before: self.before.map(Revision) }
            }
            (None, None, Some(subject)) => ErasureTarget::Subject(subject),
            _ => return Err(one()),
        };
        let request = ErasureRequest {
            target,
            parts: self.parts.unwrap_or_else(|| vec![Part::Data, Part::Metadata]),
            request: self.request,
            basis: self.basis,
            decided_by: self.decided_by,
            approved_by: self.approved_by,
        };
        Ok((request, self.dry_run))
    }
}

/// What acts on the store, whichever way it is asked for.
impl App {
    /// Erases, or only counts.
    ///
    /// # Errors
    /// [`Code::BadRequest`] unless it says once which events are meant; those of [`graven_engine::Store::erase`].
    pub(in crate::server) async fn erase(self: &Arc<Self>, asked: EraseWish) -> Result<ErasureOutcome> {
        let (request, dry_run) = asked.request()?;
        let app = self.clone();
        blocking(move || app.store.erase(&request, dry_run)).await
    }

    /// Drops what nobody sees, or only counts it.
    ///
    /// # Errors
    /// Those of [`graven_engine::Store::scavenge`].
    pub(in crate::server) async fn scavenge(self: &Arc<Self>, dry_run: bool) -> Result<ScavengeReport> {
        let app = self.clone();
        blocking(move || app.store.scavenge(ScavengeOptions { dry_run })).await
    }

    /// Begins a legal hold.
    ///
    /// # Errors
    /// [`Code::BadRequest`] unless it says once what is held; those of [`graven_engine::Store::begin_hold`].
    pub(in crate::server) async fn begin_hold(self: &Arc<Self>, asked: HoldWish) -> Result<Position> {
        let on = match (asked.stream, asked.category, asked.subject) {
            (Some(name), None, None) => HoldOn::Stream(StreamName::new(name)?),
            (None, Some(category), None) => HoldOn::Category(category),
            (None, None, Some(subject)) => HoldOn::Subject(subject),
            _ => {
                return Err(Error::new(Code::BadRequest, "it is not said once what is held")
                    .expected("one of stream, category, subject"));
            }
        };
        let (id, reason, decided_by) = (asked.id, asked.reason, asked.decided_by);
        let app = self.clone();
        blocking(move || app.store.begin_hold(&id, &on, &reason, &decided_by)).await
    }

    /// Ends a legal hold.
    ///
    /// # Errors
    /// Those of [`graven_engine::Store::end_hold`].
    pub(in crate::server) async fn end_hold(
        self: &Arc<Self>,
        id: String,
        reason: String,
        decided_by: String,
    ) -> Result<Position> {
        let app = self.clone();
        blocking(move || app.store.end_hold(&id, &reason, &decided_by)).await
    }
}

/// Erase
///
/// Destroys data and metadata of events, or everything of a data subject: first the log says so, in a record under a checkpoint, then the
/// keys and bytes go. Events keep position, id, type and their proofs, and are shown as erased. With `dry_run` it is only counted. The
/// same `request` again is answered with what came of the first.
#[utoipa::path(post, path = "/audit/erasures", tag = "audit", operation_id = "audit_erase",
    request_body = shapes::AuditErase,
    responses((status = 200, description = "What came of it", body = shapes::AuditErased),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse),
        (status = 409, response = schema::ProblemResponse),
        (status = 415, response = schema::ProblemResponse)))]
pub(in crate::server) async fn erase(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let outcome = app.erase(wish(&app, query.as_deref(), &headers, body).await?).await?;
    Ok(Json(shapes::AuditErased {
        record: outcome.record.map(|position| position.0),
        events: outcome.events,
        segments: outcome.segments,
        bytes_freed: outcome.bytes_freed,
        repeated: outcome.repeated,
    })
    .into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScavengeWish {
    #[serde(default)]
    dry_run: bool,
}

/// Scavenge
///
/// Drops data and metadata of events that no reader of their stream can see any more: hidden by `$maxCount`, `$maxAge`, `$tb`, a deletion or
/// a tombstone. The log says so first. What a legal hold covers stays. With `dry_run` it is only counted.
#[utoipa::path(post, path = "/audit/scavenge", tag = "audit", operation_id = "audit_scavenge",
    request_body = shapes::AuditScavenge,
    responses((status = 200, description = "What came of it", body = shapes::AuditScavenged),
        (status = 400, response = schema::ProblemResponse),
        (status = 415, response = schema::ProblemResponse)))]
pub(in crate::server) async fn scavenge(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let ScavengeWish { dry_run } = wish(&app, query.as_deref(), &headers, body).await?;
    let report = app.scavenge(dry_run).await?;
    Ok(Json(shapes::AuditScavenged {
        streams: report.streams,
        events: report.events,
        payload_bytes: report.payload_bytes,
        held: report.held,
        segments: report.segments,
        bytes_freed: report.bytes_freed,
        more: report.more,
    })
    .into_response())
}

/// Holds
///
/// The legal holds there are: what they cover is neither erased nor dropped.
#[utoipa::path(get, path = "/audit/holds", tag = "audit", operation_id = "audit_holds",
    responses((status = 200, description = "The holds", body = shapes::AuditHolds)))]
pub(in crate::server) async fn holds(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    QueryParams::parse(query.as_deref())?.finish()?;
    let holds = app.read(|store| store.holds()).await?;
    Ok(Json(shapes::AuditHolds { holds: holds.iter().map(shown).collect() }).into_response())
}

fn shown(hold: &Hold) -> shapes::AuditHold {
    let (on, what) = match &hold.scope {
        HoldScope::Stream { stream_key } => ("stream", hex::encode(stream_key)),
        HoldScope::Category { category } => ("category", category.clone()),
        HoldScope::Subject { subject_key } => ("subject", hex::encode(subject_key)),
    };
    shapes::AuditHold {
        id: hold.id.clone(),
        on,
        what,
        reason: hold.reason.clone(),
        decided_by: hold.decided_by.clone(),
    }
}

/// A legal hold, as it was asked for over the network.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct HoldWish {
    pub(in crate::server) id: String,
    pub(in crate::server) stream: Option<String>,
    pub(in crate::server) category: Option<String>,
    pub(in crate::server) subject: Option<String>,
    #[serde(default)]
    pub(in crate::server) reason: String,
    #[serde(default)]
    pub(in crate::server) decided_by: String,
}

/// Begin a hold
///
/// What it covers is neither erased nor dropped until it ends: a stream, the streams of a category, or the events of a data subject.
#[utoipa::path(post, path = "/audit/holds", tag = "audit", operation_id = "audit_hold",
    request_body = shapes::AuditHoldRequest,
    responses((status = 201, description = "It holds", body = shapes::AuditRecord),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse),
        (status = 409, response = schema::ProblemResponse),
        (status = 415, response = schema::ProblemResponse)))]
pub(in crate::server) async fn hold(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let position = app.begin_hold(wish(&app, query.as_deref(), &headers, body).await?).await?;
    Ok((StatusCode::CREATED, Json(shapes::AuditRecord { position: position.0 })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndWish {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    decided_by: String,
}

/// End a hold
///
/// What it covered may be erased and dropped again, unless another one covers it.
#[utoipa::path(post, path = "/audit/holds/{hold}/end", tag = "audit", operation_id = "audit_end_hold",
    params(("hold" = String, Path, description = "Name of the hold, percent-encoded")),
    request_body = shapes::AuditEndHold,
    responses((status = 200, description = "It has ended", body = shapes::AuditRecord),
        (status = 400, response = schema::ProblemResponse),
        (status = 409, response = schema::ProblemResponse),
        (status = 415, response = schema::ProblemResponse)))]
pub(in crate::server) async fn end_hold(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let EndWish { reason, decided_by } = wish(&app, query.as_deref(), &headers, body).await?;
    let id = path.text("hold")?.to_owned();
    let position = app.end_hold(id, reason, decided_by).await?;
    Ok(Json(shapes::AuditRecord { position: position.0 }).into_response())
}
