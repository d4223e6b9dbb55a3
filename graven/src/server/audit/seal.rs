//! `POST /audit/seal`, `GET /audit/streams/{stream}/completeness`: where every stream stands, and what proves that one is whole.

use super::proofs::{behind, make_proof};
use super::{base64, shapes, wish};
use crate::server::path::PathParams;
use crate::server::problem::Answer;
use crate::server::query_params::QueryParams;
use crate::server::{App, schema};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use graven_engine::audit::{Completeness, Sealed};
use graven_model::{Result, StreamName};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::control::hex;
use graven_proof::tlog_proof::TlogProof;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SealBody {}

/// Seal
///
/// Writes the root over the heads of all streams into the log, as it does by itself every minute while events come, and signs a checkpoint
/// that covers it. Does nothing but answer with the last seal if nothing came since.
#[utoipa::path(post, path = "/audit/seal", tag = "audit", operation_id = "audit_seal",
    request_body = shapes::AuditSealRequest,
    responses((status = 200, description = "The newest seal", body = shapes::AuditSealed),
        (status = 415, response = schema::ProblemResponse),
        (status = 421, response = schema::ProblemResponse),
        (status = 503, response = schema::ProblemResponse)))]
pub(in crate::server) async fn seal(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let SealBody {} = wish(&app, query.as_deref(), &headers, body).await?;
    let (seal, checkpoint) = app.seal().await?;
    Ok(Json(shapes::AuditSealed { seal: shown(&seal), checkpoint: checkpoint.to_string() }).into_response())
}

impl App {
    /// Seals, and has a checkpoint that covers the seal.
    ///
    /// # Errors
    /// Those of [`graven_engine::audit::Trail::seal`] and of signing.
    pub(in crate::server) async fn seal(self: &Arc<Self>) -> Result<(Sealed, SignedCheckpoint)> {
        let sealed = self.sign(|trail| {
            let seal = trail.seal()?;
            let checkpoint = trail.checkpoint(behind(seal.position)?)?;
            Ok((seal, checkpoint))
        });
        sealed.await
    }

    /// Where a stream stood at the last seal, what proves it, and that the seal is in the log.
    ///
    /// # Errors
    /// Those of [`graven_engine::audit::Trail::completeness`] and of signing.
    pub(in crate::server) async fn completeness(
        self: &Arc<Self>,
        stream: StreamName,
    ) -> Result<(Completeness, TlogProof)> {
        let proven = self.sign(move |trail| {
            let whole = trail.completeness(&stream)?;
            let proof = make_proof(trail, whole.seal.position, None, true)?;
            Ok((whole, proof))
        });
        proven.await
    }
}

/// A seal as it is shown.
pub(super) fn shown(seal: &Sealed) -> shapes::AuditSeal {
    shapes::AuditSeal {
        position: seal.position,
        size: seal.size,
        streams: seal.streams,
        root: hex::encode(&seal.root),
    }
}

/// Completeness
///
/// Where a stream stood at the last seal, and what proves it: the seal's own leaf with a proof that it is in the log, and the path from its
/// root to the stream. Whoever has the stream's leaves below the seal's size knows then that none is missing.
#[utoipa::path(get, path = "/audit/streams/{stream}/completeness", tag = "audit", operation_id = "audit_completeness",
    params(("stream" = String, Path, description = "Stream name, percent-encoded")),
    responses((status = 200, description = "The proof", body = shapes::AuditCompleteness),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse),
        (status = 409, response = schema::ProblemResponse)))]
pub(in crate::server) async fn completeness(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
) -> Answer {
    QueryParams::parse(query.as_deref())?.finish()?;
    let stream = path.stream()?;
    let (whole, proof) = app.completeness(stream.clone()).await?;
    Ok(Json(shapes::AuditCompleteness {
        stream: stream.as_str().to_owned(),
        stream_key: hex::encode(&whole.stream_key),
        name_salt: base64(&whole.name_salt),
        seal: shown(&whole.seal),
        seal_proof: proof.to_string(),
        head: whole.head.map(|head| shapes::AuditStreamHead {
            next_revision: head.next_version,
            first_position: head.first_position,
            last_position: head.last_position,
            last_leaf_hash: hex::encode(&head.head),
            tombstoned: head.tombstoned,
        }),
        path: base64(&whole.proof.encode()),
    })
    .into_response())
}
