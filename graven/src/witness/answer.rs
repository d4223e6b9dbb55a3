//! What a witness answers: `POST /add-checkpoint` as C2SP has it, and a few words about itself.

use super::{Outcome, Witness};
use crate::server::{Problem, discard};
use axum::Router;
use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use graven_model::{Code, Error};
use graven_proof::control::hex;
use graven_proof::witness::{
    ADD_CHECKPOINT, AddCheckpoint, REQUEST_BYTES_MAX, Refusal, SIZE_MEDIA_TYPE, size_answer,
};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a request's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

pub(super) fn router(witness: Arc<Witness>) -> Router {
    Router::new()
        .route(ADD_CHECKPOINT, post(add_checkpoint))
        .route("/", get(about))
        .route("/checkpoint/{*origin}", get(checkpoint))
        .route("/health", get(health))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(witness)
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Body) -> Result<Response, Problem> {
    let bytes = read(body).await?;
    let request = AddCheckpoint::parse(&bytes)
        .map_err(|error| Error::new(Code::BadRequest, format!("this is no request to a witness: {error}")))?;
    let origin = request.checkpoint().unverified_origin().to_owned();
    let size = request.checkpoint().unverified_head().size;
    let judged = tokio::task::spawn_blocking(move || witness.add_checkpoint(&request)).await;
    let judged =
        judged.map_err(|_| Error::new(Code::Internal, "the request panicked; the log says where"))?;
    match judged {
        Ok(cosignature) => {
            tracing::info!(%origin, size, "cosigned");
            Ok(([(header::CONTENT_TYPE, TEXT)], format!("{cosignature}\n")).into_response())
        }
        Err(Outcome::Failed(error)) => Err(error.into()),
        Err(Outcome::Refused(refusal)) => Ok(refused(&origin, size, &refusal)),
    }
}

fn refused(origin: &str, size: u64, refusal: &Refusal) -> Response {
    let code = match refusal {
        Refusal::UnknownLog(_) => Code::UnknownLog,
        Refusal::Signature(_) => Code::ForeignSignature,
        Refusal::OtherOldSize { .. } | Refusal::Forked(_) => Code::WitnessConflict,
        Refusal::Inconsistent(_) => Code::NotContinued,
        _ => Code::BadRequest,
    };
    match refusal {
        // The log's own key shows it: whoever runs the witness should know.
        Refusal::Forked(_) | Refusal::Inconsistent(_) => {
            tracing::error!(%code, origin, size, "not cosigned: {refusal}");
        }
        // The name is whatever a stranger sent.
        Refusal::UnknownLog(_) => tracing::info!(%code, size, "not cosigned: the log is not known"),
        _ => tracing::info!(%code, origin, size, "not cosigned: {refusal}"),
    }
    match refusal.known_size() {
        Some(known) => {
            let media_type = HeaderValue::from_static(SIZE_MEDIA_TYPE);
            (StatusCode::CONFLICT, [(header::CONTENT_TYPE, media_type)], size_answer(known)).into_response()
        }
        None => Problem::new(code, refusal.to_string()).into_response(),
    }
}

async fn read(body: Body) -> Result<axum::body::Bytes, Error> {
    let too_large = || {
        Error::new(Code::BodyTooLarge, "the request is too large for one to a witness")
            .expected(format!("at most {REQUEST_BYTES_MAX} bytes"))
    };
    if body.size_hint().lower() > REQUEST_BYTES_MAX as u64 {
        discard(body).await;
        return Err(too_large());
    }
    match timeout(BODY_TIMEOUT, to_bytes(body, REQUEST_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_limit(&error) => Err(too_large()),
        Ok(Err(_)) => Err(Error::new(Code::BadRequest, "the body broke off or its framing is wrong")),
        Err(_) => Err(Error::new(Code::Timeout, "the request body came too slowly; nothing of it was used")
            .expected(format!("all of it within {} seconds", BODY_TIMEOUT.as_secs()))),
    }
}

fn is_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.to_string().contains("limit"))
}

#[derive(Serialize)]
struct About {
    name: String,
    vkey: String,
    logs: Vec<AboutLog>,
}

#[derive(Serialize)]
struct AboutLog {
    origin: String,
    size: u64,
    root: Option<String>,
    cosigned_at: Option<u64>,
}

/// Key and last cosigned sizes, for people and monitors.
async fn about(State(witness): State<Arc<Witness>>) -> Response {
    let logs = witness.known().into_iter().map(|known| AboutLog {
        root: known.time.map(|_| hex::encode(&known.head.root)),
        size: known.head.size,
        cosigned_at: known.time,
        origin: known.origin,
    });
    let key = witness.key();
    let about = About { name: key.name().to_string(), vkey: key.to_string(), logs: logs.collect() };
    axum::Json(about).into_response()
}

/// The last checkpoint of a log that was cosigned: what an auditor compares with the one the log's server gave him.
async fn checkpoint(
    State(witness): State<Arc<Witness>>,
    Path(origin): Path<String>,
) -> Result<Response, Problem> {
    let last = tokio::task::spawn_blocking(move || witness.last(&origin)).await;
    let last = last.map_err(|_| Error::new(Code::Internal, "the request panicked; the log says where"))??;
    match last {
        Some(note) => Ok(([(header::CONTENT_TYPE, TEXT)], note).into_response()),
        None => Err(Problem::new(Code::NotFound, "nothing of this log was cosigned yet")),
    }
}

async fn health() -> Response {
    ([(header::CONTENT_TYPE, TEXT)], "ok\n").into_response()
}

async fn unknown_path(body: Body) -> Problem {
    discard(body).await;
    Problem::new(Code::NotFound, "there is nothing at this path of a witness")
}

async fn wrong_method(body: Body) -> Problem {
    discard(body).await;
    Problem::new(Code::MethodNotAllowed, "the path does not take this method")
}
