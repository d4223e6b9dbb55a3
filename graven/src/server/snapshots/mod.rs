//! `/v1/streams/{stream}/snapshot`, and reads of a stream that begin with its snapshot.

pub(super) mod shapes;

use super::append::{etag, receipt_with, refuse_unread};
use super::json::{self, EventWriter, Form};
use super::media::{AnswerType, BodyType};
use super::path::PathParams;
use super::problem::Answer;
use super::query_params::QueryParams;
use super::read_options::{ReadOptions, next_link};
use super::{App, append_body, blocking, body, page, schema};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use graven_engine::Store;
use graven_model::{
    Code, ContentType, Cursor, Direction, Error, FromSnapshotRequest, NewSnapshot, Result, Revision,
    Selector, Snapshot, StreamName,
};
use graven_proof::control::hex;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutBody<'a> {
    revision: u64,
    #[serde(borrow, default, deserialize_with = "append_body::present")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data_base64: Option<Cow<'a, str>>,
    content_type: Option<String>,
    #[serde(default)]
    schema_version: u32,
    data_subject: Option<String>,
    keep: Option<u32>,
}

fn new_snapshot(body: &Bytes, stream: StreamName) -> Result<NewSnapshot> {
    let parsed: PutBody<'_> = append_body::parse(body)?;
    let one = |found: &str| {
        Error::new(Code::BadRequest, "the body does not say once what the state is")
            .expected("one of data, data_base64")
            .found(found)
    };
    let (by_default, state) = match (parsed.data, parsed.data_base64) {
        (Some(raw), None) => (ContentType::Json, body.slice_ref(raw.get().as_bytes())),
        (None, Some(text)) => {
            let bytes = STANDARD.decode(&*text).map_err(|error| {
                Error::new(Code::BadRequest, format!("data_base64 is not base64: {error}"))
            })?;
            (ContentType::Binary, bytes.into())
        }
        (Some(_), Some(_)) => return Err(one("both")),
        (None, None) => return Err(one("neither")),
    };
    let content_type = parsed.content_type.as_deref().map_or(by_default, ContentType::from_text);
    if parsed.data.is_some() && !content_type.is_json() {
        return Err(Error::new(Code::BadRequest, "a state in data is JSON, and its media type is not")
            .expected("data_base64")
            .found(content_type.as_str()));
    }
    Ok(NewSnapshot {
        stream,
        revision: Revision(parsed.revision),
        schema_version: parsed.schema_version,
        content_type,
        state,
        data_subject: parsed.data_subject.map(Into::into),
        keep: parsed.keep.unwrap_or(1),
    })
}

/// Put a snapshot
///
/// Keeps the stream's state at a revision, so that readers need only the events after it. The newest ones are kept, as many
/// as `keep` says; an older one than the newest is refused. The very same snapshot again stores nothing.
#[utoipa::path(put, path = "/v1/streams/{stream}/snapshot", tag = "snapshots", operation_id = "put_snapshot",
    params(("stream" = String, Path, description = "Stream name, percent-encoded")),
    request_body = shapes::PutSnapshot,
    responses((status = 201, description = "Stored", body = shapes::SnapshotReceipt),
        (status = 200, description = "It was there already", body = shapes::SnapshotReceipt),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse),
        (status = 409, response = schema::ProblemResponse),
        (status = 410, response = schema::ProblemResponse),
        (status = 413, response = schema::ProblemResponse),
        (status = 415, response = schema::ProblemResponse)))]
pub(super) async fn put(
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
    let with_store = app.clone();
    let (new, receipt) = blocking(move || {
        let new = new_snapshot(&held.bytes, stream)?;
        let receipt = with_store.store.put_snapshot(&new)?;
        Ok((new, receipt))
    })
    .await?;
    let status = if receipt.stored { StatusCode::CREATED } else { StatusCode::OK };
    let answer = shapes::SnapshotReceipt {
        stream: new.stream.as_str().to_owned(),
        revision: new.revision.0,
        position: receipt.position.0,
        taken_at: receipt.taken_at.to_string(),
        stored: receipt.stored,
    };
    Ok((status, Json(answer)).into_response())
}

/// Read a snapshot
///
/// The newest snapshot of the stream that still serves. It is compared with the event it is made of first.
#[utoipa::path(get, path = "/v1/streams/{stream}/snapshot", tag = "snapshots", operation_id = "snapshot",
    params(("stream" = String, Path, description = "Stream name, percent-encoded"), shapes::SnapshotParams, schema::MinPosition),
    responses((status = 200, description = "The snapshot", body = shapes::Snapshot,
            headers(("ETag" = String, description = "Revision the snapshot is of, in quotes"))),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse),
        (status = 409, response = schema::ProblemResponse),
        (status = 410, response = schema::ProblemResponse)))]
pub(super) async fn get(State(app): State<Arc<App>>, path: PathParams, RawQuery(query): RawQuery) -> Answer {
    let stream = path.stream()?;
    let mut params = QueryParams::parse(query.as_deref())?;
    let at_or_before = params.number("at_or_before")?.map(Revision);
    let form = Form { one_line: false, base64: params.base64_payload()? };
    let min_position = params.number("min_position")?;
    params.finish()?;
    app.reach(min_position, None).await?;
    let (text, revision) = app
        .read(move |store| {
            let snapshot = store.snapshot(&stream, at_or_before)?;
            let mut out = Vec::with_capacity(snapshot.state.len() + 512);
            write(&mut out, &snapshot, form);
            Ok((out, snapshot.revision))
        })
        .await?;
    let mut response = page::whole(&app, text).await;
    response.headers_mut().insert(header::ETAG, etag(revision.0));
    Ok(response)
}

/// Delete a stream's snapshots
///
/// They are hidden at once; their bytes go with the next scavenging.
#[utoipa::path(delete, path = "/v1/streams/{stream}/snapshot", tag = "snapshots", operation_id = "delete_snapshot",
    params(("stream" = String, Path, description = "Stream name, percent-encoded")),
    responses((status = 200, description = "Deleted; the receipt is about the streams in which the store keeps them", body = schema::Receipt),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse)))]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
) -> Answer {
    let stream = path.stream()?;
    QueryParams::parse(query.as_deref())?.finish()?;
    let with_store = app.clone();
    let receipt = blocking(move || with_store.store.delete_snapshot(&stream)).await?;
    app.metrics.appended(&receipt, 0);
    Ok(receipt_with(StatusCode::OK, &receipt))
}

/// The read of a stream that was asked to begin with its snapshot.
pub(super) async fn read_from(
    app: Arc<App>,
    stream: StreamName,
    options: ReadOptions,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Answer {
    if AnswerType::wanted(headers) != AnswerType::Json {
        return Err(Error::new(Code::BadRequest, "only a page begins with a snapshot")
            .expected("Accept: application/json")
            .into());
    }
    let min_position = options.min_position();
    let form = options.form(false);
    let request = options.after_snapshot(stream)?;
    app.reach(min_position, None).await?;
    let (text, events, cursor) = app.read(move |store| encode(store, &request, form)).await?;
    app.metrics.sent(events);
    let mut response = page::whole(&app, text).await;
    if let Some(cursor) = cursor
        && let Ok(link) = HeaderValue::try_from(next_link(query, &cursor))
    {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

fn encode(
    store: &Store,
    request: &FromSnapshotRequest,
    form: Form,
) -> Result<(Vec<u8>, usize, Option<String>)> {
    let read = store.read_from_snapshot(request)?;
    let mut out = b"{\"snapshot\":".to_vec();
    match &read.snapshot {
        Some(snapshot) => write(&mut out, snapshot, form),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"events\":[");
    let mut writer = EventWriter::new(form);
    for (index, event) in read.page.events.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        writer.write(&mut out, event);
    }
    out.extend_from_slice(b"],\"next\":");
    let selector = Selector::Stream(request.stream.clone());
    let cursor = read.page.next.map(|next| Cursor::new(&selector, Direction::Forward, next).encode());
    match &cursor {
        Some(cursor) => json::string(&mut out, cursor),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"head\":");
    json::number(&mut out, read.page.head.0);
    if let Some(revision) = read.page.last_revision {
        out.extend_from_slice(b",\"last_revision\":");
        json::number(&mut out, revision.0);
    }
    out.push(b'}');
    Ok((out, read.page.events.len(), cursor))
}

/// Writes a snapshot as a JSON object.
fn write(out: &mut Vec<u8>, snapshot: &Snapshot, form: Form) {
    out.extend_from_slice(b"{\"stream\":");
    json::string(out, snapshot.stream.as_str());
    for (name, number) in [
        ("revision", snapshot.revision.0),
        ("event_position", snapshot.event_position.0),
        ("schema_version", snapshot.schema_version.into()),
        ("position", snapshot.position.0),
    ] {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        json::number(out, number);
    }
    out.extend_from_slice(
        format!(",\"leaf_hash\":\"{}\",\"taken_at\":\"{}\"", hex::encode(&snapshot.leaf), snapshot.taken_at)
            .as_bytes(),
    );
    out.extend_from_slice(b",\"content_type\":");
    json::string(out, snapshot.content_type.as_str());
    if let Some(subject) = &snapshot.data_subject {
        out.extend_from_slice(b",\"data_subject\":");
        json::string(out, subject);
    }
    // JSON was checked when it was put; nothing at all is none.
    let is_json = snapshot.content_type.is_json() && !snapshot.state.is_empty();
    form.payload(out, "data", &snapshot.state, is_json);
    out.push(b'}');
}
