//! The audit trail over HTTP: everything under `/audit`.
//!
//! [`checkpoints`] and [`tiles`] are laid out as C2SP tlog-tiles has it, so that tools for transparency logs read the log as it is; [`proofs`]
//! answers single questions, [`receipt`] adds a proof to an append, [`seal`]
//! and [`verification`] are what the log has done to it, [`status`] says how it all stands.
//! Nothing here decides whether a proof holds: that is for whoever asked.

pub(super) mod checkpoints;
pub(super) mod erasure;
pub(super) mod gauges;
pub(super) mod keys;
pub(super) mod proofs;
pub(super) mod receipt;
pub(super) mod seal;
mod shapes;
pub(super) mod status;
pub(super) mod tiles;
pub(super) mod verification;

use super::media::BodyType;
use super::problem::Problem;
use super::{App, append, append_body, blocking, body};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_engine::audit::Trail;
use graven_model::Result;
use graven_proof::Hash;
use graven_proof::checkpoint::SignedCheckpoint;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Text for people and tools: notes, keys, proofs.
const TEXT: (HeaderName, HeaderValue) =
    (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));

/// Bytes as they are.
const BYTES: (HeaderName, HeaderValue) =
    (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));

impl App {
    /// Asks the audit trail something that reads at the most.
    ///
    /// # Errors
    /// Those of `work`.
    pub(super) async fn trail<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Trail) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.read(move |store| work(&store.trail())).await
    }

    /// The newest checkpoint; if it does not cover so many events, or there is none, one that is signed now.
    ///
    /// # Errors
    /// Those of [`Trail::checkpoint`].
    pub(super) async fn checkpoint(self: &Arc<Self>, at_least: Option<u64>) -> Result<SignedCheckpoint> {
        let at_least = at_least.unwrap_or(0);
        match self.store.trail().latest() {
            Some(latest) if latest.unverified_head().size >= at_least => Ok(latest),
            _ => self.sign(move |trail| trail.checkpoint(at_least)).await,
        }
    }

    /// Asks the audit trail something that may sign, write or wait.
    ///
    /// # Errors
    /// Those of `work`.
    async fn sign<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Trail) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _turn = self.signs.acquire().await.expect("the semaphore of signatures is never closed");
        let app = self.clone();
        blocking(move || work(&app.store.trail())).await
    }
}

/// The JSON body of a request without parameters.
///
/// # Errors
/// [`graven_model::Code::UnsupportedMediaType`]; what is wrong with the body.
async fn wish<T: DeserializeOwned>(
    app: &Arc<App>,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> std::result::Result<T, Problem> {
    // The media type keeps a web page of another origin from asking for this.
    if let Err(error) = append::check_plain(query, headers, &[BodyType::Json]) {
        body::discard(body).await;
        return Err(Problem(error));
    }
    let held = body::read(app, body).await?;
    Ok(append_body::parse(&held.bytes)?)
}

/// Whether the client names JSON among what it takes; not whether it takes anything.
fn wants_json(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|accept| {
        accept.split(',').any(|part| {
            let kind = part.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/json")
        })
    })
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn hashes(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| base64(hash)).collect()
}
