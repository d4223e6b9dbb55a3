//! Stored frames, verbatim: for backups, replicas and whoever reads everything and decodes by himself.

use super::App;
use super::problem::Answer;
use super::query_params::QueryParams;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use graven_model::{Code, Error, Position, limits};
use std::sync::Arc;

/// Read stored frames
///
/// Whole frames as they stand in the log, salts included, back to back: from the one that holds position `from`, at least
/// one if there is one, then as many as fit `bytes`. Their format is in `docs/format.md`. An empty body means that the log
/// ends before `from`.
#[utoipa::path(get, path = "/v1/frames", tag = "read", operation_id = "read_frames",
    params(("from" = Option<u64>, Query, description = "A position in the first frame; 0 by default"),
        ("bytes" = Option<u64>, Query, description = "About how much to send, 1 to 33554432; 4194304 by default"),
        super::schema::MinPosition),
    responses((status = 200, description = "Whole frames", content_type = "application/octet-stream",
            headers(("graven-first" = u64, description = "Position of the first event of the first frame"),
                ("graven-next" = u64, description = "Position after the last frame; ask for it next"),
                ("graven-head" = u64, description = "Events in the log"))),
        (status = 400, response = super::schema::ProblemResponse)))]
pub(super) async fn frames(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    let mut params = QueryParams::parse(query.as_deref())?;
    let from = Position(params.number("from")?.unwrap_or(0));
    let bytes = match params.number("bytes")? {
        None => limits::PAGE_BYTES_DEFAULT,
        Some(asked) => usize::try_from(asked)
            .ok()
            .filter(|asked| (1..=limits::PAGE_BYTES_MAX).contains(asked))
            .ok_or_else(|| {
                Error::new(Code::InvalidLimit, "bytes is out of bounds")
                    .expected(format!("1 to {}", limits::PAGE_BYTES_MAX))
                    .found(asked.to_string())
            })?,
    };
    let min_position = params.number("min_position")?;
    params.finish()?;
    app.reach(min_position, None).await?;
    let frames = app.read(move |store| store.read_frames(from, bytes)).await?;
    app.metrics.sent(usize::try_from(frames.next.0 - frames.first.0).unwrap_or(usize::MAX));
    let number = |name: &'static str, position: Position| {
        (HeaderName::from_static(name), HeaderValue::from(position.0))
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        number("graven-first", frames.first),
        number("graven-next", frames.next),
        number("graven-head", frames.head),
    ];
    Ok((headers, Body::from(app.answers.hold(frames.bytes).await)).into_response())
}
