//! What is known of streams, and what is done to a whole stream: list, info, metadata, truncate, delete.

use super::append::{etag, receipt_with, refuse_unread};
use super::media::BodyType;
use super::path::PathParams;
use super::problem::Answer;
use super::query_params::{QueryParams, min_position_alone};
use super::{App, append_body, blocking, body, json, page, preconditions};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use graven_engine::{StreamInfo, StreamListRequest};
use graven_model::{
    Code, Cursor, Direction, Error, Expected, Position, Receipt, Result, Revision, Selector, Start, Text,
    limits,
};
use serde::Deserialize;
use std::sync::Arc;

/// List streams
///
/// Streams in the order of their creation.
#[utoipa::path(get, path = "/v1/streams", tag = "streams", operation_id = "list_streams",
    params(super::schema::ListParams),
    responses((status = 200, description = "One page of streams", body = super::schema::StreamPage),
        (status = 400, response = super::schema::ProblemResponse)))]
pub(super) async fn list(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    let mut params = QueryParams::parse(query.as_deref())?;
    let prefix: Text = params.text("prefix")?.unwrap_or_default().into();
    let after = params.text("after")?.as_deref().map(|text| place_in_list(text, &prefix)).transpose()?;
    let limit = match params.number("limit")? {
        None => StreamListRequest::default().limit,
        Some(limit) => u32::try_from(limit)
            .ok()
            .filter(|limit| (1..=limits::STREAM_LIST_MAX).contains(limit))
            .ok_or_else(|| {
                Error::new(Code::InvalidLimit, "limit is outside its bounds")
                    .expected(format!("1 to {} a page", limits::STREAM_LIST_MAX))
                    .found(limit.to_string())
            })?,
    };
    let include_system = params.flag("system")?;
    let min_position = params.number("min_position")?;
    params.finish()?;
    app.reach(min_position, None).await?;
    let request = StreamListRequest { prefix, after, limit, include_system };
    let text = app
        .read(move |store| {
            let found = store.streams(&request)?;
            let mut out = Vec::with_capacity(found.streams.len() * 256 + 64);
            out.extend_from_slice(b"{\"streams\":[");
            for (index, info) in found.streams.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_info(&mut out, info);
            }
            out.extend_from_slice(b"],\"next\":");
            match found.next {
                None => out.extend_from_slice(b"null"),
                Some(next) => json::string(&mut out, &cursor(&request.prefix, next)),
            }
            out.push(b'}');
            Ok(out)
        })
        .await?;
    Ok(page::whole(&app, text).await)
}

/// A cursor of a listing is one of a read through the prefix, so that it is not used elsewhere by mistake.
fn cursor(prefix: &Text, next: Position) -> String {
    Cursor::new(&Selector::Category(prefix.clone()), Direction::Forward, Start::Position(next)).encode()
}

fn place_in_list(text: &str, prefix: &Text) -> Result<Position> {
    match Cursor::decode(text)?.check(&Selector::Category(prefix.clone()), Direction::Forward)? {
        Start::Position(position) => Ok(position),
        _ => Err(Error::new(Code::InvalidCursor, "the cursor belongs to another read")),
    }
}

/// Describe a stream
///
/// State, first and last revision, times and metadata. Also says how a deleted or tombstoned stream ended.
#[utoipa::path(get, path = "/v1/streams/{stream}/info", tag = "streams", operation_id = "stream_info",
    params(("stream" = String, Path, description = "Stream name, percent-encoded"), super::schema::MinPosition),
    responses((status = 200, description = "What is known", body = super::schema::StreamInfo,
            headers(("ETag" = String, description = "Last revision of the stream, in quotes"))),
        (status = 400, response = super::schema::ProblemResponse),
        (status = 404, response = super::schema::ProblemResponse)))]
pub(super) async fn info(State(app): State<Arc<App>>, path: PathParams, RawQuery(query): RawQuery) -> Answer {
    let stream = path.stream()?;
    app.reach(min_position_alone(query.as_deref())?, None).await?;
    let (text, last) = app
        .read(move |store| {
            let info = store.stream_info(&stream)?;
            let mut out = Vec::with_capacity(512);
            write_info(&mut out, &info);
            Ok((out, info.last_revision))
        })
        .await?;
    let mut response = page::whole(&app, text).await;
    if let Some(last) = last {
        response.headers_mut().insert(header::ETAG, etag(last.0));
    }
    Ok(response)
}

fn write_info(out: &mut Vec<u8>, info: &StreamInfo) {
    out.extend_from_slice(b"{\"stream\":");
    json::string(out, info.stream.as_str());
    out.extend_from_slice(b",\"state\":");
    json::state(out, info.state);
    let numbers = [
        ("first_revision", info.first_revision.map(|revision| revision.0)),
        ("last_revision", info.last_revision.map(|revision| revision.0)),
        ("last_position", info.last_position.map(|position| position.0)),
    ];
    for (name, value) in numbers {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        json::number_or_null(out, value);
    }
    for (name, time) in [("created_at", info.created_at), ("updated_at", info.updated_at)] {
        match time {
            Some(time) => out.extend_from_slice(format!(",\"{name}\":\"{time}\"").as_bytes()),
            None => out.extend_from_slice(format!(",\"{name}\":null").as_bytes()),
        }
    }
    out.extend_from_slice(b",\"metadata\":");
    match &info.metadata {
        Some(metadata) => json::one_line(out, metadata),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

/// Read a stream's metadata
///
/// The metadata object as it was set; an empty object if there is none.
#[utoipa::path(get, path = "/v1/streams/{stream}/metadata", tag = "streams", operation_id = "stream_metadata",
    params(("stream" = String, Path, description = "Stream name, percent-encoded"), super::schema::MinPosition),
    responses((status = 200, description = "The object", body = super::schema::Metadata,
            headers(("ETag" = Option<String>, description = "Revision of the metadata, in quotes; absent if there is none"))),
        (status = 400, response = super::schema::ProblemResponse)))]
pub(super) async fn metadata(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
) -> Answer {
    let stream = path.stream()?;
    app.reach(min_position_alone(query.as_deref())?, None).await?;
    let found = app.read(move |store| store.stream_metadata(&stream)).await?;
    let text = found.as_ref().map_or(b"{}".to_vec(), |(_, object)| object.to_vec());
    let mut response = page::whole(&app, text).await;
    if let Some((revision, _)) = found {
        response.headers_mut().insert(header::ETAG, etag(revision.0));
    }
    Ok(response)
}

/// Set a stream's metadata
///
/// Replaces the object. `$maxCount`, `$maxAge` (seconds) and `$tb` (truncate before) hide old events; other keys are
/// yours. The stream need not exist yet.
#[utoipa::path(put, path = "/v1/streams/{stream}/metadata", tag = "streams", operation_id = "set_stream_metadata",
    params(("stream" = String, Path, description = "Stream name, percent-encoded"), super::schema::ExpectedParam, super::schema::Preconditions),
    request_body = super::schema::Metadata,
    responses((status = 200, description = "Set; the receipt is about the metadata stream", body = super::schema::Receipt),
        (status = 400, response = super::schema::ProblemResponse),
        (status = 410, response = super::schema::ProblemResponse),
        (status = 412, response = super::schema::ProblemResponse),
        (status = 415, response = super::schema::ProblemResponse)))]
pub(super) async fn set_metadata(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let checked = (|| {
        let stream = path.stream()?;
        let mut params = QueryParams::parse(query.as_deref())?;
        let expected = expected(&mut params, &headers)?;
        params.finish()?;
        BodyType::of(&headers, &[BodyType::Json])?;
        Ok((stream, expected))
    })();
    let (stream, expected) = match checked {
        Ok(expected) => expected,
        Err(error) => return refuse_unread(body, error).await,
    };
    let held = body::read(&app, body).await?;
    change(&app, move |store| store.set_stream_metadata(&stream, expected, held.bytes)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TruncateBody {
    before: u64,
}

/// Truncate a stream
///
/// Hides the events below a revision from every read. The other metadata stays as it is.
#[utoipa::path(post, path = "/v1/streams/{stream}/truncate", tag = "streams", operation_id = "truncate_stream",
    params(("stream" = String, Path, description = "Stream name, percent-encoded")),
    request_body = super::schema::Truncate,
    responses((status = 200, description = "Hidden; the receipt is about the metadata stream", body = super::schema::Receipt),
        (status = 400, response = super::schema::ProblemResponse),
        (status = 404, response = super::schema::ProblemResponse),
        (status = 410, response = super::schema::ProblemResponse),
        (status = 415, response = super::schema::ProblemResponse)))]
pub(super) async fn truncate(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let checked = (|| {
        let stream = path.stream()?;
        QueryParams::parse(query.as_deref())?.finish()?;
        BodyType::of(&headers, &[BodyType::Json])?;
        Ok(stream)
    })();
    let stream = match checked {
        Ok(stream) => stream,
        Err(error) => return refuse_unread(body, error).await,
    };
    let held = body::read(&app, body).await?;
    let TruncateBody { before } = append_body::parse(&held.bytes)?;
    change(&app, move |store| store.truncate_stream(&stream, Revision(before))).await
}

/// Delete a stream
///
/// Hides all its events. The next append reopens it, with revisions going on where they were. With `?tombstone=true`
/// it stays closed for ever.
#[utoipa::path(delete, path = "/v1/streams/{stream}", tag = "streams", operation_id = "delete_stream",
    params(("stream" = String, Path, description = "Stream name, percent-encoded"),
        ("tombstone" = Option<bool>, Query, description = "Close it for ever"), super::schema::ExpectedParam, super::schema::Preconditions),
    responses((status = 200, description = "Deleted", body = super::schema::Receipt),
        (status = 400, response = super::schema::ProblemResponse),
        (status = 404, response = super::schema::ProblemResponse),
        (status = 410, response = super::schema::ProblemResponse),
        (status = 412, response = super::schema::ProblemResponse)))]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let stream = path.stream()?;
    let mut params = QueryParams::parse(query.as_deref())?;
    let tombstone = params.flag("tombstone")?;
    let expected = expected(&mut params, &headers)?;
    params.finish()?;
    change(&app, move |store| match tombstone {
        true => store.tombstone_stream(&stream, expected),
        false => store.delete_stream(&stream, expected),
    })
    .await
}

fn expected(params: &mut QueryParams, headers: &HeaderMap) -> Result<Expected> {
    let from_query = params.text("expected")?.as_deref().map(preconditions::from_query).transpose()?;
    let from_headers = preconditions::from_headers(headers)?;
    preconditions::agree([("the header", from_headers), ("the query", from_query), ("the body", None)])
}

async fn change(
    app: &Arc<App>,
    work: impl FnOnce(&graven_engine::Store) -> Result<Receipt> + Send + 'static,
) -> Answer {
    let with_store = app.clone();
    let receipt = blocking(move || work(&with_store.store)).await?;
    app.metrics.appended(&receipt, 0);
    Ok(receipt_with(StatusCode::OK, &receipt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_a_listing_belongs_to_its_prefix() {
        let text = cursor(&"loan".into(), Position(7));
        assert_eq!(place_in_list(&text, &"loan".into()).unwrap(), Position(7));
        assert_eq!(place_in_list(&text, &"".into()).unwrap_err().code, Code::InvalidCursor);
        assert_eq!(place_in_list("x", &"".into()).unwrap_err().code, Code::InvalidCursor);
    }
}
