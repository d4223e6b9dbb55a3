//! `POST /v1/streams/{stream}` and `POST /v1/append`.

use super::media::BodyType;
use super::path::PathParams;
use super::problem::{Answer, Problem};
use super::query_params::QueryParams;
use super::{App, append_body, audit, blocking, body, json, preconditions};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use graven_engine::PendingAppend;
use graven_model::cloudevents::{self, Incoming, Interner};
use graven_model::error::Details;
use graven_model::{AppendRequest, Code, Error, Expected, Receipt, Result, StreamName, StreamWrite};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// Bodies up to this many bytes are parsed and hashed on the runtime's thread: less than a hop costs.
pub(super) const INLINE_BYTES_MAX: usize = 64 << 10;

/// Failed checks of one append that get unseen events: each may take a page of memory.
const CHECKS_WITH_UNSEEN_MAX: usize = 16;

const APPEND_TYPES: [BodyType; 3] = [BodyType::Json, BodyType::CloudEvent, BodyType::CloudEventBatch];

/// Append to one stream
///
/// Stores the events at the end of the stream, all or none. The answer comes when they are durable. A retry with the
/// same event ids is recognised and answered with the first receipt.
#[utoipa::path(post, path = "/v1/streams/{stream}", tag = "append", operation_id = "append_to_stream",
    params(("stream" = String, Path, description = "Stream name, percent-encoded"),
        super::schema::ExpectedParam, super::schema::Wait, super::schema::Preconditions),
    request_body(description = "Events to append. A CloudEvent may leave out its subject; if it names one, it is the stream",
        content((super::schema::AppendToStream = "application/json"), (super::schema::CloudEvent = "application/cloudevents+json"),
            (Vec<super::schema::CloudEvent> = "application/cloudevents-batch+json"))),
    responses(
        (status = 201, description = "Stored", body = super::schema::Receipt, headers(("ETag" = String, description = "Last revision of the stream, in quotes"))),
        (status = 200, description = "Nothing to do: stored before, or only checked", body = super::schema::Receipt),
        (status = 400, response = super::schema::ProblemResponse),
        (status = 410, response = super::schema::ProblemResponse),
        (status = 412, response = super::schema::ProblemResponse),
        (status = 413, response = super::schema::ProblemResponse),
        (status = 415, response = super::schema::ProblemResponse)))]
pub(super) async fn to_stream(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let checked = (|| {
        let stream = path.stream()?;
        let mut query = QueryParams::parse(query.as_deref())?;
        let from_query = query.text("expected")?.as_deref().map(preconditions::from_query).transpose()?;
        let proven = audit::receipt::wanted(&mut query)?;
        query.finish()?;
        let kind = BodyType::of(&headers, &APPEND_TYPES)?;
        Ok((stream, from_query, proven, preconditions::from_headers(&headers)?, kind))
    })();
    let (stream, from_query, proven, from_headers, kind) = match checked {
        Ok(checked) => checked,
        Err(error) => return refuse_unread(body, error).await,
    };
    if proven && let Err(error) = audit::receipt::check(&app).await {
        return refuse_unread(body, error).await;
    }
    let held = body::read(&app, body).await?;
    let for_ids = app.clone();
    let receipt = submit(&app, held, move |bytes| {
        let agree = |from_body| {
            preconditions::agree([
                ("the header", from_headers),
                ("the query", from_query),
                ("the body", from_body),
            ])
        };
        match kind {
            BodyType::Json => {
                let (mut request, from_body) = append_body::single(bytes, stream, || for_ids.new_event_id())?;
                request.streams[0].expected = agree(from_body)?;
                Ok(request)
            }
            _ => {
                let mut request = AppendRequest {
                    streams: vec![StreamWrite { stream: stream.clone(), expected: agree(None)? }],
                    ..AppendRequest::default()
                };
                let incoming = cloud_events(kind, bytes, Some(&stream))?;
                request.events = incoming.into_iter().map(|incoming| (0, incoming.event)).collect();
                Ok(request)
            }
        }
    })
    .await?;
    answer(&app, &receipt, proven).await
}

/// Append to several streams
///
/// One atomic append: all checks hold and all events are stored, or nothing is. A stream without events is only
/// checked. Events stand in their streams, or beside them in the order they shall have in the log.
#[utoipa::path(post, path = "/v1/append", tag = "append", operation_id = "append", params(super::schema::Wait),
    request_body(description = "Streams with their events. The subject of a CloudEvent is its stream",
        content((super::schema::Append = "application/json"), (super::schema::CloudEvent = "application/cloudevents+json"),
            (Vec<super::schema::CloudEvent> = "application/cloudevents-batch+json"))),
    responses(
        (status = 201, description = "Stored", body = super::schema::Receipt),
        (status = 200, description = "Nothing to do: stored before, or only checked", body = super::schema::Receipt),
        (status = 400, response = super::schema::ProblemResponse),
        (status = 410, response = super::schema::ProblemResponse),
        (status = 412, response = super::schema::ProblemResponse),
        (status = 413, response = super::schema::ProblemResponse),
        (status = 415, response = super::schema::ProblemResponse)))]
pub(super) async fn to_streams(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let checked = (|| {
        let mut query = QueryParams::parse(query.as_deref())?;
        let proven = audit::receipt::wanted(&mut query)?;
        query.finish()?;
        Ok((proven, BodyType::of(&headers, &APPEND_TYPES)?))
    })();
    let (proven, kind) = match checked {
        Ok(checked) => checked,
        Err(error) => return refuse_unread(body, error).await,
    };
    if proven && let Err(error) = audit::receipt::check(&app).await {
        return refuse_unread(body, error).await;
    }
    let held = body::read(&app, body).await?;
    let for_ids = app.clone();
    let receipt = submit(&app, held, move |bytes| match kind {
        BodyType::Json => append_body::several(bytes, || for_ids.new_event_id()),
        _ => Ok(gather(cloud_events(kind, bytes, None)?)),
    })
    .await?;
    answer(&app, &receipt, proven).await
}

/// `stream` is the one the path names, if it names one: a subject must then be the same, or absent.
fn cloud_events(kind: BodyType, bytes: &Bytes, stream: Option<&StreamName>) -> Result<Vec<Incoming>> {
    let mut names = Interner::default();
    match (kind, stream) {
        (BodyType::CloudEventBatch, stream) => cloudevents::parse_batch(bytes, stream, &mut names),
        (_, Some(stream)) => Ok(vec![cloudevents::parse_with_default_stream(bytes, stream, &mut names)?]),
        (_, None) => Ok(vec![cloudevents::parse(bytes, &mut names)?]),
    }
}

/// Events, each with its stream, as one append that names each stream once.
pub(super) fn gather(incoming: impl IntoIterator<Item = Incoming>) -> AppendRequest {
    let mut request = AppendRequest::default();
    let mut indexes: HashMap<StreamName, u32> = HashMap::new();
    for Incoming { stream, event } in incoming {
        let index = match indexes.get(&stream) {
            Some(index) => *index,
            None => {
                let index =
                    u32::try_from(request.streams.len()).expect("a body names fewer than 2^32 streams");
                indexes.insert(stream.clone(), index);
                request.streams.push(StreamWrite { stream, expected: Expected::Any });
                index
            }
        };
        request.events.push((index, event));
    }
    request
}

/// Parses a body, hands the append to the writer and waits until it is durable. Room for the body is held until then.
///
/// # Errors
/// Those of `build` and of [`graven_engine::Store::submit`]; [`Code::Timeout`] if the writer does not answer.
pub(super) async fn submit(
    app: &Arc<App>,
    held: body::HeldBody,
    build: impl FnOnce(&Bytes) -> Result<AppendRequest> + Send + 'static,
) -> Result<Receipt> {
    let body::HeldBody { bytes, room } = held;
    submit_sized(app, bytes.len(), room, move || build(&bytes)).await
}

/// As [`submit`], of an append that was so many bytes on its way here.
///
/// # Errors
/// As [`submit`].
pub(super) async fn submit_sized(
    app: &Arc<App>,
    bytes: usize,
    room: OwnedSemaphorePermit,
    build: impl FnOnce() -> Result<AppendRequest> + Send + 'static,
) -> Result<Receipt> {
    let handed = if bytes <= INLINE_BYTES_MAX {
        hand_over(build, |request| app.store.submit_here(request))?
    } else {
        let app = app.clone();
        blocking(move || hand_over(build, |request| app.store.submit_here(request))).await?
    };
    let receipt = match timeout(app.options.append_timeout, handed.pending).await {
        Ok(Ok(receipt)) => receipt,
        Ok(Err(error)) => return Err(with_unseen(app, error, handed.unseen_max).await),
        Err(_) => return Err(too_late(app)),
    };
    drop(room);
    app.metrics.appended(&receipt, handed.payload_bytes);
    Ok(receipt)
}

/// An append in the hands of the writer.
pub(super) struct Handed {
    pub(super) pending: PendingAppend,
    /// Bytes of its payloads and metadata.
    pub(super) payload_bytes: usize,
    /// Unseen events its caller wants to have with a conflict.
    pub(super) unseen_max: u32,
}

/// Parses a body, hashes what it brings, and hands the append to the writer.
///
/// # Errors
/// Those of `build` and of `submit`.
pub(super) fn hand_over(
    build: impl FnOnce() -> Result<AppendRequest>,
    submit: impl FnOnce(AppendRequest) -> Result<PendingAppend>,
) -> Result<Handed> {
    let request = build()?;
    let payload_bytes = request.events.iter().map(|(_, event)| event.data.len() + event.metadata.len()).sum();
    let unseen_max = request.unseen_max;
    Ok(Handed { pending: submit(request)?, payload_bytes, unseen_max })
}

/// The answer to an append the writer does not answer.
pub(super) fn too_late(app: &App) -> Error {
    Error::new(Code::Timeout, "the append was not durable in time; it may yet become so")
        .expected(format!("an answer within {} seconds", app.options.append_timeout.as_secs()))
}

/// Adds the events the caller has not seen to the first of the failed checks.
pub(super) async fn with_unseen(app: &Arc<App>, mut error: Error, unseen_max: u32) -> Error {
    let Details::FailedChecks(checks) = &mut error.details else { return error };
    if unseen_max == 0 {
        return error;
    }
    let rest = checks.split_off(checks.len().min(CHECKS_WITH_UNSEEN_MAX));
    let filled = app.read(move |store| Ok(store.with_unseen(error, unseen_max))).await;
    let mut error = match filled {
        Ok(error) | Err(error) => error,
    };
    if let Details::FailedChecks(checks) = &mut error.details {
        checks.extend(rest);
    }
    error
}

/// Whether a request takes no parameters and has a body of one of these media types; which.
///
/// # Errors
/// [`Code::BadRequest`], [`Code::UnsupportedMediaType`].
pub(super) fn check_plain(query: Option<&str>, headers: &HeaderMap, types: &[BodyType]) -> Result<BodyType> {
    QueryParams::parse(query)?.finish()?;
    BodyType::of(headers, types)
}

/// An error for a request whose body was not read.
pub(super) async fn refuse_unread(body: Body, error: Error) -> Answer {
    body::discard(body).await;
    Err(Problem(error))
}

/// The answer to an append, 201 if it stored something; with the proof of its last event if that was asked for.
async fn answer(app: &Arc<App>, receipt: &Receipt, proven: bool) -> Answer {
    let proof = if proven { audit::receipt::prove(app, receipt).await? } else { None };
    let status = if receipt.appended > 0 { StatusCode::CREATED } else { StatusCode::OK };
    Ok(respond(status, receipt, proof.as_deref()))
}

/// A receipt under a status; with an `ETag` if it is about one stream.
pub(super) fn receipt_with(status: StatusCode, receipt: &Receipt) -> Response {
    respond(status, receipt, None)
}

fn respond(status: StatusCode, receipt: &Receipt, proof: Option<&str>) -> Response {
    let mut response = (status, receipt_json(receipt, proof)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let [only] = &receipt.streams[..]
        && let Some(revision) = only.revision
    {
        headers.insert(header::ETAG, etag(revision.0));
    }
    response
}

/// A revision as an entity tag.
pub(super) fn etag(revision: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).expect("digits in quotes are a header value")
}

fn receipt_json(receipt: &Receipt, proof: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"first_position\":");
    json::number(&mut out, receipt.first_position.0);
    out.extend_from_slice(b",\"last_position\":");
    json::number_or_null(&mut out, receipt.last_position.map(|position| position.0));
    out.extend_from_slice(b",\"streams\":[");
    for (index, stream) in receipt.streams.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"stream\":" } else { b",{\"stream\":" });
        json::string(&mut out, stream.stream.as_str());
        out.extend_from_slice(b",\"revision\":");
        json::number_or_null(&mut out, stream.revision.map(|revision| revision.0));
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"committed_at\":\"");
    json::display(&mut out, receipt.committed_at);
    out.extend_from_slice(b"\",\"appended\":");
    json::number(&mut out, u64::from(receipt.appended));
    out.extend_from_slice(b",\"duplicates\":");
    json::number(&mut out, u64::from(receipt.duplicates));
    out.extend_from_slice(b",\"already_done\":");
    out.extend_from_slice(if receipt.already_done() { b"true" } else { b"false" });
    if let Some(proof) = proof {
        out.extend_from_slice(b",\"proof\":");
        json::string(&mut out, proof);
    }
    out.push(b'}');
    out
}
