//! What the store is and holds, and whether the server is well.

use super::node::Place;
use super::problem::{Answer, Problem};
use super::query_params::min_position_alone;
use super::{App, schema, stopping};
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_engine::{Counts, NamedCounts};
use std::sync::Arc;

/// Statistics
///
/// Events, bytes and streams: user and system streams apart, and user events by type and category.
#[utoipa::path(get, path = "/v1/stats", tag = "server", operation_id = "stats",
    params(schema::MinPosition),
    responses((status = 200, description = "Counts over the whole log", body = schema::Stats)))]
pub(super) async fn stats(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    app.reach(min_position_alone(query.as_deref())?, None).await?;
    let stats = app.read(|store| Ok(store.stats())).await?;
    let part = |counts: Counts, streams| schema::StreamCounts {
        events: counts.events,
        bytes: counts.bytes,
        streams,
    };
    let a_type = |counts: &NamedCounts| schema::TypeCounts {
        name: counts.name.to_string(),
        events: counts.counts.events,
        bytes: counts.counts.bytes,
    };
    let category = |counts: &NamedCounts| schema::CategoryCounts {
        name: counts.name.to_string(),
        events: counts.counts.events,
        bytes: counts.counts.bytes,
        streams: counts.streams,
    };
    Ok(Json(schema::Stats {
        user: part(stats.user, stats.user_streams),
        system: part(stats.system, stats.system_streams),
        types: stats.types.iter().map(a_type).collect(),
        categories: stats.categories.iter().map(category).collect(),
    })
    .into_response())
}

/// Identity and size
///
/// Which log this is, how far it goes, and the Merkle root (RFC 6962) over all of it.
#[utoipa::path(get, path = "/v1/info", tag = "server", operation_id = "info",
    params(schema::MinPosition),
    responses((status = 200, description = "The store", body = schema::Info)))]
pub(super) async fn info(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    app.reach(min_position_alone(query.as_deref())?, None).await?;
    let info = app.read(|store| Ok(store.info())).await?;
    Ok(Json(schema::Info {
        name: "graven",
        version: env!("CARGO_PKG_VERSION"),
        log_id: info.log_id,
        origin: info.origin,
        format_version: info.format_version,
        created_at: info.created_at.to_string(),
        head: info.head.0,
        root: STANDARD.encode(info.root),
        segments: info.segments,
        log_bytes: info.log_bytes,
        index_bytes: info.index_bytes,
        tile_bytes: info.tile_bytes,
    })
    .into_response())
}

/// Alive
///
/// 200 as long as the process serves at all, even when the store only reads.
#[utoipa::path(get, path = "/livez", tag = "server", operation_id = "live",
    responses((status = 200, description = "Alive", body = schema::Health)))]
pub(super) async fn live() -> Json<schema::Health> {
    Json(schema::Health { status: "alive", ..schema::Health::default() })
}

/// Alive, as KurrentDB says it
///
/// 204 as long as the process serves at all: what tools around KurrentDB ask for.
#[utoipa::path(get, path = "/health/live", tag = "server", operation_id = "health_live",
    responses((status = 204, description = "Alive")))]
pub(super) async fn health_live() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Ready
///
/// 200 if the store does what it is there for: a single one and a writer take appends, a follower serves reads. While the
/// journal that nodes share cannot be reached they go on serving reads and say `degraded`. A store that only reads, a full
/// disk, a copy whose journal has another history and a server that is stopping are not ready.
#[utoipa::path(get, path = "/readyz", tag = "server", operation_id = "ready",
    responses((status = 200, description = "Ready", body = schema::Health),
        (status = 409, response = schema::ProblemResponse),
        (status = 503, response = schema::ProblemResponse),
        (status = 507, response = schema::ProblemResponse)))]
pub(super) async fn ready(State(app): State<Arc<App>>) -> Answer {
    if *app.stopping.borrow() {
        return Err(Problem(stopping()));
    }
    match app.read(|store| Ok(store.health())).await? {
        Some(error) => Err(Problem(error)),
        None => {
            let place = Place::of(&app);
            let trouble = place.trouble().map(ToString::to_string);
            Ok(Json(schema::Health {
                status: if trouble.is_some() { "degraded" } else { "ready" },
                role: place.standing.is_some().then(|| place.role()),
                detail: trouble,
            })
            .into_response())
        }
    }
}
