//! `GET /audit/inclusion`, `/audit/consistency`, `/audit/leaf/{position}`: single proofs.

use super::shapes;
use super::{BYTES, TEXT, base64, hashes, wants_json};
use crate::server::App;
use crate::server::path::PathParams;
use crate::server::problem::Answer;
use crate::server::query_params::QueryParams;
use crate::server::schema;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use graven_engine::audit::Trail;
use graven_model::{Code, Error, Result};
use graven_proof::merkle::leaf_hash;
use graven_proof::tlog_proof::TlogProof;
use std::sync::Arc;

/// Inclusion
///
/// Proves that the event at a position is in the log: a C2SP tlog-proof, with the checkpoint it stands on. Without `size` that is the latest
/// one, or one that is signed now if the latest does not cover the event. As JSON the hashes alone, for any size there was.
#[utoipa::path(get, path = "/audit/inclusion", tag = "audit", operation_id = "audit_inclusion",
    params(("position" = u64, Query, description = "Position of the event"),
        ("size" = Option<u64>, Query, description = "Events of the tree; for a tlog-proof one at which a checkpoint was signed"),
        ("leaf" = Option<bool>, Query, description = "Bring the event's leaf along, in a tlog-proof as extra data")),
    responses((status = 200, description = "The proof", content(
            (String = "text/plain"), (shapes::AuditInclusion = "application/json"))),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse)))]
pub(in crate::server) async fn inclusion(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let mut params = QueryParams::parse(query.as_deref())?;
    let position = required(params.number("position")?, "position")?;
    let size = params.number("size")?;
    let with_leaf = params.flag("leaf")?;
    params.finish()?;
    if wants_json(&headers) {
        let size = match size {
            Some(size) => size,
            None => app.checkpoint(Some(behind(position)?)).await?.unverified_head().size,
        };
        let answer = app.trail(move |trail| {
            let proof = trail.inclusion(position, size)?;
            let leaf = trail.leaf(position)?;
            Ok(shapes::AuditInclusion {
                position,
                size,
                leaf_hash: base64(&leaf_hash(&leaf)),
                hashes: hashes(&proof),
                leaf: with_leaf.then(|| base64(&leaf)),
            })
        });
        return Ok(Json(answer.await?).into_response());
    }
    let proof = app.proof(position, size, with_leaf).await?;
    Ok(([TEXT], proof.to_string()).into_response())
}

impl App {
    /// A proof of the event at a position, under the checkpoint of a size, or the latest, or one that is signed now.
    ///
    /// # Errors
    /// [`Code::SizeNotReached`]; [`Code::BadRequest`] for a position that the size does not cover.
    pub(in crate::server) async fn proof(
        self: &Arc<Self>,
        position: u64,
        size: Option<u64>,
        with_leaf: bool,
    ) -> Result<TlogProof> {
        if size.is_none() {
            self.checkpoint(Some(behind(position)?)).await?;
        }
        self.trail(move |trail| make_proof(trail, position, size, with_leaf)).await
    }
}

/// [`App::proof`], on a thread that may block.
///
/// # Errors
/// As [`App::proof`].
pub(super) fn make_proof(
    trail: &Trail,
    position: u64,
    size: Option<u64>,
    with_leaf: bool,
) -> Result<TlogProof> {
    let proof = trail.proof(position, size)?;
    if !with_leaf {
        return Ok(proof);
    }
    proof
        .with_extra(trail.leaf(position)?)
        .map_err(|error| Error::new(Code::Internal, format!("the leaf does not fit a proof: {error}")))
}

/// The smallest size that covers a position.
pub(super) fn behind(position: u64) -> Result<u64> {
    position
        .checked_add(1)
        .ok_or_else(|| Error::new(Code::BadRequest, "no log has an event at this position"))
}

fn required(value: Option<u64>, name: &str) -> Result<u64> {
    value.ok_or_else(|| {
        Error::new(Code::BadRequest, format!("{name} is missing")).expected(format!("{name}=NUMBER"))
    })
}

/// Consistency
///
/// Proves that the log of `to` events begins with everything it held at `from` events: the hashes of RFC 6962, section 2.1.2. Together
/// with the checkpoints of both sizes they show that nothing was rewritten in between.
#[utoipa::path(get, path = "/audit/consistency", tag = "audit", operation_id = "audit_consistency",
    params(("from" = u64, Query, description = "Events of the older tree, at least 1"),
        ("to" = u64, Query, description = "Events of the newer tree")),
    responses((status = 200, description = "The hashes", body = shapes::AuditConsistency),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse)))]
pub(in crate::server) async fn consistency(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    let mut params = QueryParams::parse(query.as_deref())?;
    let (from, to) = (params.number("from")?, params.number("to")?);
    params.finish()?;
    let (from, to) = (required(from, "from")?, required(to, "to")?);
    let proof = app.trail(move |trail| trail.consistency(from, to)).await?;
    Ok(Json(shapes::AuditConsistency { from, to, hashes: hashes(&proof) }).into_response())
}

/// Leaf
///
/// The bytes of an event's leaf, as the tree hashes them. They hold neither payload nor names.
#[utoipa::path(get, path = "/audit/leaf/{position}", tag = "audit", operation_id = "audit_leaf",
    params(("position" = u64, Path, description = "Position of the event")),
    responses((status = 200, description = "The leaf", content_type = "application/octet-stream"),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse)))]
pub(in crate::server) async fn leaf(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
) -> Answer {
    QueryParams::parse(query.as_deref())?.finish()?;
    let position = path.number("position")?;
    let leaf = app.trail(move |trail| trail.leaf(position)).await?;
    Ok(([BYTES], leaf).into_response())
}
