//! `GET /audit/tile/…`: hashes and leaves as static files (C2SP tlog-tiles).

use super::BYTES;
use crate::server::App;
use crate::server::path::PathParams;
use crate::server::problem::Answer;
use crate::server::query_params::QueryParams;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use graven_model::{Code, Error, limits};
use graven_proof::tiles::{TILE_WIDTH, TilePath};
use std::sync::Arc;

/// A full tile never changes: a year is what caches take for ever.
const FOR_EVER: HeaderValue = HeaderValue::from_static("max-age=31536000, immutable");

/// Full tile
///
/// 256 hashes of a level of the Merkle tree, 32 bytes each; with `entries` for the level, the 256 leaves there, each behind its
/// length in 16 bits (C2SP tlog-tiles). An index of more than three digits is written in groups, as in `x001/x234/067`.
#[utoipa::path(get, path = "/audit/tile/{level}/{index}", tag = "audit", operation_id = "audit_tile",
    params(("level" = String, Path, description = "0 to 63, or `entries`"),
        ("index" = String, Path, description = "Index of the tile in its level, in groups of three digits")),
    responses((status = 200, description = "The tile", content_type = "application/octet-stream"),
        (status = 400, response = crate::server::schema::ProblemResponse),
        (status = 404, response = crate::server::schema::ProblemResponse)))]
pub(in crate::server) async fn tile(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
) -> Answer {
    QueryParams::parse(query.as_deref())?.finish()?;
    let path = format!("tile/{}/{}", path.text("level")?, path.text("index")?);
    let tile: TilePath = path.parse().map_err(|error| {
        Error::new(Code::BadRequest, format!("the path of the tile does not read: {error}"))
            .found(format!("{:?}", limits::shorten(&path)))
    })?;
    let (bytes, full) = match tile {
        TilePath::Hashes(tile) => (app.trail(move |trail| trail.tile(&tile)).await?, tile.is_full()),
        TilePath::Entries(bundle) => {
            let full = usize::from(bundle.width) == TILE_WIDTH;
            (app.trail(move |trail| trail.bundle(&bundle)).await?, full)
        }
    };
    let mut response: Response = ([BYTES], Body::from(app.answers.hold(bytes).await)).into_response();
    if full {
        response.headers_mut().insert(header::CACHE_CONTROL, FOR_EVER);
    }
    Ok(response)
}

/// Partial tile
///
/// The first `width` hashes or leaves of a tile, as a tree that ends within it has them.
#[utoipa::path(get, path = "/audit/tile/{level}/{index}.p/{width}", tag = "audit", operation_id = "audit_partial_tile",
    params(("level" = String, Path, description = "0 to 63, or `entries`"),
        ("index" = String, Path, description = "Index of the tile in its level, in groups of three digits"),
        ("width" = u16, Path, description = "1 to 255")),
    responses((status = 200, description = "The tile", content_type = "application/octet-stream"),
        (status = 400, response = crate::server::schema::ProblemResponse),
        (status = 404, response = crate::server::schema::ProblemResponse)))]
#[allow(dead_code, reason = "served by `tile`; this describes it")]
pub(in crate::server) async fn partial_tile() {}
