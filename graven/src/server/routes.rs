//! Which handler answers which path, and what is true of every answer.

use super::problem::{Problem, Refused};
use super::{
    App, anchor, append, audit, body, frames, groups, import, info, lookup, metrics, node, openapi, read,
    snapshots, streams,
};
use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Method, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use graven_model::{Code, Error, limits};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::Instant;
use tracing::Instrument as _;

pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/append", post(append::to_streams))
        .route("/v1/import", post(import::import))
        .route("/v1/streams", get(streams::list))
        .route("/v1/streams/{stream}", get(read::stream).post(append::to_stream).delete(streams::delete))
        .route("/v1/streams/{stream}/info", get(streams::info))
        .route("/v1/streams/{stream}/metadata", get(streams::metadata).put(streams::set_metadata))
        .route("/v1/streams/{stream}/truncate", post(streams::truncate))
        .route(
            "/v1/streams/{stream}/snapshot",
            get(snapshots::get).put(snapshots::put).delete(snapshots::delete),
        )
        .route("/v1/streams/{stream}/events/{revision}", get(lookup::by_revision))
        .route("/v1/all", get(read::all))
        .route("/v1/categories/{category}", get(read::category))
        .route("/v1/types/{type}", get(read::event_type))
        .route("/v1/tags/{tag}", get(read::tag))
        .route("/v1/query", post(read::query))
        .route("/v1/events/{id}", get(lookup::by_id))
        .route("/v1/positions/{position}", get(lookup::by_position))
        .route("/v1/frames", get(frames::frames))
        .route("/v1/stats", get(info::stats))
        .route("/v1/info", get(info::info))
        .route("/v1/node", get(node::node))
        .route("/v1/node/takeover", post(node::take_over))
        .route("/v1/groups", get(groups::manage::list))
        .route(
            "/v1/groups/{group}",
            get(groups::manage::info).put(groups::manage::put).delete(groups::manage::delete),
        )
        .route("/v1/groups/{group}/reset", post(groups::manage::reset))
        .route("/v1/groups/{group}/consume", get(groups::consume::consume))
        .route("/v1/groups/{group}/ack", post(groups::acknowledge::ack))
        .route("/v1/groups/{group}/nack", post(groups::acknowledge::nack))
        .route("/v1/dead-letters", get(groups::dead_letters::list))
        .route("/v1/dead-letters/export", get(groups::export::export))
        .route("/v1/dead-letters/replay", post(groups::act::replay))
        .route("/v1/dead-letters/skip", post(groups::act::skip))
        .route("/v1/dead-letters/{group}/{position}", get(groups::dead_letters::one))
        .route("/audit/checkpoint", get(audit::checkpoints::checkpoint))
        .route("/audit/checkpoints", get(audit::checkpoints::checkpoints))
        .route("/audit/keys", get(audit::keys::keys))
        .route("/audit/anchors", get(anchor::answer::anchors))
        .route("/audit/witnessed", get(anchor::answer::witnessed))
        .route("/audit/tile/{level}/{*index}", get(audit::tiles::tile))
        .route("/audit/inclusion", get(audit::proofs::inclusion))
        .route("/audit/consistency", get(audit::proofs::consistency))
        .route("/audit/leaf/{position}", get(audit::proofs::leaf))
        .route("/audit/streams/{stream}/completeness", get(audit::seal::completeness))
        .route("/audit/seal", post(audit::seal::seal))
        .route("/audit/verify", get(audit::verification::progress).post(audit::verification::begin))
        .route("/audit/status", get(audit::status::status))
        .route("/audit/keys/rotate", post(audit::keys::rotate))
        .route("/audit/keys/retire", post(audit::keys::retire))
        .route("/audit/keys/revoke", post(audit::keys::revoke))
        .route("/audit/erasures", post(audit::erasure::erase))
        .route("/audit/scavenge", post(audit::erasure::scavenge))
        .route("/audit/holds", get(audit::erasure::holds).post(audit::erasure::hold))
        .route("/audit/holds/{hold}/end", post(audit::erasure::end_hold))
        .route("/livez", get(info::live))
        .route("/health/live", get(info::health_live))
        .route("/readyz", get(info::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/openapi.json", get(openapi::openapi))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

async fn unknown_path(uri: Uri, body: Body) -> Problem {
    body::discard(body).await;
    Problem::new(Code::NotFound, format!("there is nothing at {:?}", limits::shorten(uri.path())))
}

async fn wrong_method(method: Method, body: Body) -> Problem {
    body::discard(body).await;
    Problem::new(
        Code::MethodNotAllowed,
        format!("the path does not take {}", limits::shorten(method.as_str())),
    )
}

/// A server for this machine only answers to this machine's names. Otherwise a web page could have its own name resolve
/// to 127.0.0.1 and read the store through the browser of somebody who sits here (DNS rebinding).
fn check_host(app: &App, request: &Request) -> Result<(), Problem> {
    if app.options.insecure {
        return Ok(());
    }
    let in_header = request.headers().get(header::HOST).map(|value| value.to_str().unwrap_or_default());
    let Some(host) = request.uri().authority().map(Authority::as_str).or(in_header) else { return Ok(()) };
    let name =
        host.parse::<Authority>().map(|authority| authority.host().to_ascii_lowercase()).unwrap_or_default();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if name == "localhost"
        || name.ends_with(".localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
    {
        return Ok(());
    }
    Err(Problem(
        Error::new(Code::BadRequest, "the Host header names another machine")
            .expected("localhost or a loopback address; --insecure lifts this")
            .found(format!("{:?}", limits::shorten(host))),
    ))
}

/// Counts and traces every request, and marks every answer as not to be guessed at. A span names the route, never the
/// stream.
async fn observe(
    State(app): State<Arc<App>>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = matched.as_ref().map_or("other", MatchedPath::as_str);
    let span = tracing::info_span!("request", %method, route, status = tracing::field::Empty);
    let mut response = match check_host(&app, &request) {
        Ok(()) => next.run(request).instrument(span.clone()).await,
        Err(problem) => {
            body::discard(request.into_body()).await;
            problem.into_response()
        }
    };
    let status = response.status().as_u16();
    let took = started.elapsed();
    let refused = response.extensions().get::<Refused>().map(|refused| refused.0);
    span.record("status", status);
    span.in_scope(|| tracing::debug!(took_us = took.as_micros() as u64, "answered"));
    app.metrics.answered(route, &method, status, refused, took);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
