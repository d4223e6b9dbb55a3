//! `POST /v1/import`: many CloudEvents at once, each for itself idempotent.

use super::media::BodyType;
use super::problem::Answer;
use super::{App, append, body};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use bytes::Bytes;
use graven_model::cloudevents::{self, Incoming, Interner};
use graven_model::error::Details;
use graven_model::{AppendRequest, Code, Error, Idempotency, Result, limits};
use std::sync::Arc;

/// Import events
///
/// One CloudEvent a line, its subject the stream. Events whose id their stream already holds are skipped and counted,
/// the rest is stored in one atomic append. A bad line is named by its index and nothing is stored.
#[utoipa::path(post, path = "/v1/import", tag = "append", operation_id = "import",
    request_body(description = "CloudEvents, one a line", content((super::schema::CloudEvent = "application/x-ndjson"))),
    responses(
        (status = 200, description = "What was stored and what was there", body = super::schema::ImportReceipt),
        (status = 400, response = super::schema::ProblemResponse),
        (status = 410, response = super::schema::ProblemResponse),
        (status = 413, response = super::schema::ProblemResponse),
        (status = 415, response = super::schema::ProblemResponse)))]
pub(super) async fn import(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let checked = append::check_plain(query.as_deref(), &headers, &[BodyType::Ndjson]);
    if let Err(error) = checked {
        return append::refuse_unread(body, error).await;
    }
    let held = body::read(&app, body).await?;
    if held.bytes.trim_ascii().is_empty() {
        return Ok(Json(super::schema::ImportReceipt::default()).into_response());
    }
    let receipt = append::submit(&app, held, parse).await?;
    Ok(Json(super::schema::ImportReceipt {
        appended: receipt.appended,
        duplicates: receipt.duplicates,
        first_position: receipt.last_position.map(|_| receipt.first_position.0),
        last_position: receipt.last_position.map(|position| position.0),
    })
    .into_response())
}

/// One append out of NDJSON, an event a line: what the engine says of event 7 is true of line 7 too. Blank lines are
/// fine at the end only.
///
/// # Errors
/// The error of the first bad line, with its index from zero; [`Code::AppendTooLarge`] for too many events.
fn parse(body: &Bytes) -> Result<AppendRequest> {
    let mut names = Interner::default();
    let mut incoming: Vec<Incoming> = Vec::new();
    for (index, line) in body.trim_ascii_end().split(|byte| *byte == b'\n').enumerate() {
        let at = |mut error: Error| {
            error.message = format!("line {}: {}", index + 1, error.message);
            error.with(Details::Item(index as u64))
        };
        if line.len() > limits::IMPORT_LINE_BYTES_MAX {
            return Err(at(Error::new(Code::EventTooLarge, "the line is too long")
                .expected(format!("at most {} bytes", limits::IMPORT_LINE_BYTES_MAX))
                .found(format!("{} bytes", line.len()))));
        }
        if incoming.len() == limits::APPEND_EVENTS_MAX {
            return Err(at(Error::new(Code::AppendTooLarge, "the import holds too many events")
                .expected(format!("at most {} in one request", limits::APPEND_EVENTS_MAX))));
        }
        incoming.push(cloudevents::parse(&body.slice_ref(line), &mut names).map_err(at)?);
    }
    let mut request = append::gather(incoming);
    request.idempotency = Idempotency::EachEvent;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: u8, stream: &str) -> String {
        format!(
            r#"{{"specversion":"1.0","id":"00000000-0000-0000-0000-0000000000{id:02}","source":"s","type":"T","subject":"{stream}","data":{{}}}}"#
        )
    }

    #[test]
    fn lines_become_one_append_that_names_each_stream_once() {
        let body = format!("{}\n{}\r\n{}\n\n", line(1, "a"), line(2, "b"), line(3, "a"));
        let request = parse(&Bytes::from(body)).unwrap();
        assert_eq!(request.idempotency, Idempotency::EachEvent);
        assert_eq!(request.streams.len(), 2);
        assert_eq!(request.events.iter().map(|(stream, _)| *stream).collect::<Vec<_>>(), [0, 1, 0]);
    }

    #[test]
    fn a_bad_line_is_named_by_its_index() {
        for bad in ["{\"specversion\":", "", "[]"] {
            let body = format!("{}\n{}\n{bad}\n{}", line(1, "a"), line(2, "a"), line(3, "a"));
            let error = parse(&Bytes::from(body)).unwrap_err();
            assert_eq!(error.details, Details::Item(2));
            assert!(error.message.starts_with("line 3: "), "{}", error.message);
        }
    }
}
