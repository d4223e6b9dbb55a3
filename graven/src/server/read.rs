//! Reads by stream, category, type, tag and query. One question, three answers: a page, all pages, or an event stream.

use super::append_body;
use super::media::{AnswerType, BodyType};
use super::path::PathParams;
use super::problem::Answer;
use super::query_params::QueryParams;
use super::read_options::{QueryReadBody, ReadOptions};
use super::{App, append, body, follow, ndjson, page, snapshots};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use graven_model::{Result, Selector, Text};
use std::sync::Arc;

/// Read a stream
///
/// Events of one stream by revision. `Accept` chooses the answer: one page (`application/json`), everything up to the
/// end (`application/x-ndjson`), or everything and then what comes (`text/event-stream`). A page with `from_snapshot` brings the
/// stream's snapshot and the events after it.
#[utoipa::path(get, path = "/v1/streams/{stream}", tag = "read", operation_id = "read_stream",
    params(("stream" = String, Path, description = "Stream name, percent-encoded"),
        ("from_snapshot" = Option<bool>, Query, description = "Begin with the newest snapshot that serves, if there is one; a page only"),
        super::schema::ReadParams, super::schema::LastEventId),
    responses(super::schema::ReadResponses))]
pub(super) async fn stream(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let stream = path.stream()?;
    let mut params = QueryParams::parse(query.as_deref())?;
    let from_snapshot = params.flag("from_snapshot")?;
    let options = ReadOptions::from_query(&mut params)?;
    params.finish()?;
    if from_snapshot {
        return snapshots::read_from(app, stream, options, query.as_deref(), &headers).await;
    }
    answer(app, Selector::Stream(stream), options, query.as_deref(), &headers).await
}

/// Read the log
///
/// Events of all streams by position, system streams included unless `exclude_system` is said.
#[utoipa::path(
    get,
    path = "/v1/all",
    tag = "read",
    operation_id = "read_all",
    params(super::schema::ReadParams, super::schema::LastEventId),
    responses(super::schema::ReadResponses)
)]
pub(super) async fn all(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    by_query_string(app, Selector::All, query, &headers).await
}

/// Read a category
///
/// Events of all streams whose name begins with the category and a hyphen, by position.
#[utoipa::path(get, path = "/v1/categories/{category}", tag = "read", operation_id = "read_category",
    params(("category" = String, Path, description = "The text before the first hyphen of stream names"), super::schema::ReadParams, super::schema::LastEventId),
    responses(super::schema::ReadResponses))]
pub(super) async fn category(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let selector = Selector::Category(path.text("category")?.into());
    by_query_string(app, selector, query, &headers).await
}

/// Read a type
///
/// Events of one type, by position.
#[utoipa::path(get, path = "/v1/types/{type}", tag = "read", operation_id = "read_type",
    params(("type" = String, Path, description = "Event type, percent-encoded"), super::schema::ReadParams, super::schema::LastEventId),
    responses(super::schema::ReadResponses))]
pub(super) async fn event_type(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let selector = Selector::Types(vec![path.text("type")?.into()]);
    by_query_string(app, selector, query, &headers).await
}

/// Read by tags
///
/// Events that carry the tag, and all further ones given as `?tag=`, by position.
#[utoipa::path(get, path = "/v1/tags/{tag}", tag = "read", operation_id = "read_tag",
    params(("tag" = String, Path, description = "Tag, percent-encoded"),
        ("tag" = Option<Vec<String>>, Query, description = "Further tags the events carry too"),
        super::schema::ReadParams, super::schema::LastEventId),
    responses(super::schema::ReadResponses))]
pub(super) async fn tag(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let mut params = QueryParams::parse(query.as_deref())?;
    let mut tags: Vec<Text> = vec![path.text("tag")?.into()];
    tags.extend(params.all("tag").into_iter().map(Text::from));
    let options = ReadOptions::from_query(&mut params)?;
    params.finish()?;
    answer(app, Selector::Tags(tags), options, query.as_deref(), &headers).await
}

/// Read by query
///
/// Events that match a query of dynamic consistency boundaries (dcb.events): at least one item, whose type is one of
/// `types` and which carries all of `tags`.
#[utoipa::path(post, path = "/v1/query", tag = "read", operation_id = "read_query",
    params(super::schema::LastEventId),
    request_body = super::schema::ReadQuery,
    responses(super::schema::ReadResponses))]
pub(super) async fn query(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let checked = append::check_plain(query.as_deref(), &headers, &[BodyType::Json]);
    if let Err(error) = checked {
        return append::refuse_unread(body, error).await;
    }
    let held = body::read(&app, body).await?;
    let parsed: QueryReadBody = append_body::parse(&held.bytes)?;
    let (query, options) = parsed.split()?;
    drop(held);
    answer(app, Selector::Query(query), options, None, &headers).await
}

async fn by_query_string(
    app: Arc<App>,
    selector: Selector,
    query: Option<String>,
    headers: &HeaderMap,
) -> Answer {
    let options = options(query.as_deref())?;
    answer(app, selector, options, query.as_deref(), headers).await
}

fn options(query: Option<&str>) -> Result<ReadOptions> {
    let mut params = QueryParams::parse(query)?;
    let options = ReadOptions::from_query(&mut params)?;
    params.finish()?;
    Ok(options)
}

/// `query` is the query string a link to the next page repeats.
async fn answer(
    app: Arc<App>,
    selector: Selector,
    options: ReadOptions,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Answer {
    app.reach(options.min_position(), None).await?;
    match AnswerType::wanted(headers) {
        AnswerType::Json => page::answer(app, selector, options, query).await,
        AnswerType::Ndjson => ndjson::answer(app, selector, options).await,
        AnswerType::EventStream => follow::answer(app, selector, options, headers).await,
    }
}
