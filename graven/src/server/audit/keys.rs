//! `GET /audit/keys` and `POST /audit/keys/…`: the keys of the log, and changing them.

use super::{TEXT, shapes, wants_json, wish};
use crate::server::problem::Answer;
use crate::server::query_params::QueryParams;
use crate::server::{App, schema};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use graven_engine::audit::{LogKey, Trail};
use graven_model::{Code, Error, Result, limits};
use graven_proof::note::{KeyId, SignerKey};
use serde::Deserialize;
use std::sync::Arc;

/// Verifier keys
///
/// The keys that sign checkpoints, or signed them once, one a line (C2SP signed-note); as JSON with the sizes each is valid for.
/// Who trusts what comes from here trusts the server: compare it once with what its operator says.
#[utoipa::path(get, path = "/audit/keys", tag = "audit", operation_id = "audit_keys",
    responses((status = 200, description = "The keys", content(
            (String = "text/plain"), (shapes::AuditKeys = "application/json")))))]
pub(in crate::server) async fn keys(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    QueryParams::parse(query.as_deref())?.finish()?;
    if wants_json(&headers) {
        return Ok(Json(listed(&app.trail(history).await?)).into_response());
    }
    let keys = app.trail(|trail| trail.verifier_keys()).await?;
    let lines: String = keys.iter().map(|key| format!("{key}\n")).collect();
    Ok(([TEXT], lines).into_response())
}

/// The keys of the log, with what it says of them.
///
/// # Errors
/// Those of [`Trail::key_history`].
pub(in crate::server) fn history(trail: &Trail) -> Result<Vec<LogKey>> {
    // Makes the first one if there is none yet.
    trail.verifier_keys()?;
    trail.key_history()
}

/// Changes of keys; each gives the keys there are then.
impl App {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for a root key that does not read; those of [`Trail::rotate`].
    pub(in crate::server) async fn rotate_keys(
        self: &Arc<Self>,
        overlap: bool,
        root_key: Option<String>,
    ) -> Result<Vec<LogKey>> {
        let root = root_of(root_key)?;
        let keys = self.sign(move |trail| {
            trail.rotate(overlap, root.as_ref())?;
            history(trail)
        });
        keys.await
    }

    /// Has a key sign nothing more.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for an id or root key that does not read; those of [`Trail::retire`].
    pub(in crate::server) async fn retire_key(
        self: &Arc<Self>,
        key: &str,
        root_key: Option<String>,
    ) -> Result<Vec<LogKey>> {
        let (key, root) = (id_of(key)?, root_of(root_key)?);
        let keys = self.sign(move |trail| {
            trail.retire(key, root.as_ref())?;
            history(trail)
        });
        keys.await
    }

    /// Has a key believed up to a size only.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for an id or root key that does not read; those of [`Trail::revoke`].
    pub(in crate::server) async fn revoke_key(
        self: &Arc<Self>,
        key: &str,
        last_good: u64,
        root_key: Option<String>,
    ) -> Result<Vec<LogKey>> {
        let (key, root) = (id_of(key)?, root_of(root_key)?);
        let keys = self.sign(move |trail| {
            trail.revoke(key, last_good, root.as_ref())?;
            history(trail)
        });
        keys.await
    }
}

fn listed(keys: &[LogKey]) -> shapes::AuditKeys {
    shapes::AuditKeys { keys: keys.iter().map(shown).collect() }
}

fn shown(key: &LogKey) -> shapes::AuditKey {
    shapes::AuditKey {
        vkey: key.vkey.to_string(),
        id: key.vkey.id().to_string(),
        added_at: key.added_at,
        valid_from: key.valid_from,
        valid_until: key.valid_until,
        last_good: key.last_good,
        signs: key.signs,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RotateWish {
    #[serde(default)]
    overlap: bool,
    root_key: Option<String>,
}

/// Rotate keys
///
/// Makes a new key, which the keys in force authorise in the log, and signs with it from now on. With `overlap` the keys before sign beside
/// it until they are retired. What was signed before stays as it is.
#[utoipa::path(post, path = "/audit/keys/rotate", tag = "audit", operation_id = "audit_rotate_keys",
    request_body = shapes::AuditRotate,
    responses((status = 200, description = "The keys there are now", body = shapes::AuditKeys),
        (status = 403, response = schema::ProblemResponse),
        (status = 415, response = schema::ProblemResponse)))]
pub(in crate::server) async fn rotate(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let RotateWish { overlap, root_key } = wish(&app, query.as_deref(), &headers, body).await?;
    Ok(Json(listed(&app.rotate_keys(overlap, root_key).await?)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetireWish {
    key: String,
    root_key: Option<String>,
}

/// Retire a key
///
/// It signs nothing more, and its private half is destroyed. What it signed stays good.
#[utoipa::path(post, path = "/audit/keys/retire", tag = "audit", operation_id = "audit_retire_key",
    request_body = shapes::AuditRetire,
    responses((status = 200, description = "The keys there are now", body = shapes::AuditKeys),
        (status = 400, response = schema::ProblemResponse),
        (status = 403, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse),
        (status = 415, response = schema::ProblemResponse)))]
pub(in crate::server) async fn retire(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let RetireWish { key, root_key } = wish(&app, query.as_deref(), &headers, body).await?;
    Ok(Json(listed(&app.retire_key(&key, root_key).await?)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeWish {
    key: String,
    last_good: u64,
    root_key: Option<String>,
}

/// Revoke a key
///
/// Others know it: nothing above `last_good`, the largest size somebody outside vouches for, is believed because it signed it.
#[utoipa::path(post, path = "/audit/keys/revoke", tag = "audit", operation_id = "audit_revoke_key",
    request_body = shapes::AuditRevoke,
    responses((status = 200, description = "The keys there are now", body = shapes::AuditKeys),
        (status = 400, response = schema::ProblemResponse),
        (status = 403, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse),
        (status = 415, response = schema::ProblemResponse)))]
pub(in crate::server) async fn revoke(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let RevokeWish { key, last_good, root_key } = wish(&app, query.as_deref(), &headers, body).await?;
    Ok(Json(listed(&app.revoke_key(&key, last_good, root_key).await?)).into_response())
}

/// A key's id as text: eight hexadecimal digits.
fn id_of(text: &str) -> Result<KeyId> {
    let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u32::from_str_radix(text, 16).ok().filter(|_| digits);
    number.map(|number| KeyId(number.to_be_bytes())).ok_or_else(|| {
        Error::new(Code::BadRequest, "the id of a key does not read")
            .expected("eight hexadecimal digits")
            .found(format!("{:?}", limits::shorten(text)))
    })
}

/// The log's root key, if it came along. Its text is repeated nowhere.
fn root_of(text: Option<String>) -> Result<Option<SignerKey>> {
    let parse = |text: String| {
        text.trim().parse::<SignerKey>().map_err(|_| {
            Error::new(Code::BadRequest, "the root key does not read").expected("PRIVATE+KEY+name+id+base64")
        })
    };
    text.map(parse).transpose()
}
