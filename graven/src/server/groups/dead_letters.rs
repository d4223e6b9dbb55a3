//! `GET /v1/dead-letters` and `/v1/dead-letters/{group}/{position}`: what groups could not process.

use super::{filter, group_of, shapes};
use crate::server::json::{EventWriter, Form};
use crate::server::path::PathParams;
use crate::server::problem::Answer;
use crate::server::query_params::QueryParams;
use crate::server::{App, json, page, read_options, schema};
use axum::extract::{RawQuery, State};
use graven_engine::Store;
use graven_model::{
    Code, DeadLetter, DeadLetterFilter, Error, GroupName, Position, Result, StoredEvent, limits,
};
use std::sync::Arc;
use utoipa::IntoParams;

/// Dead letters a page if it is not said.
const PAGE_DEFAULT: usize = 100;

/// Which dead letters; everything that is given has to fit.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "describes the parameters in the OpenAPI document")]
pub(in crate::server) struct DeadLetterParams {
    /// Of this group
    #[param(required = false)]
    group: String,
    /// Of this stream
    #[param(required = false)]
    stream: String,
    /// Of this type
    #[param(required = false, rename = "type")]
    event_type: String,
    /// `requested`, `retries-exhausted`, `timed-out` or `behind`
    #[param(required = false)]
    reason: String,
    /// Whose last failure was before this, RFC 3339
    #[param(required = false)]
    failed_before: String,
    /// Whose last failure was at this time or later, RFC 3339
    #[param(required = false)]
    failed_since: String,
    /// At this position; again for more
    #[param(required = false)]
    position: Vec<u64>,
}

/// List dead letters
///
/// In order of group and position, with the event itself if `with_payload` is said.
#[utoipa::path(get, path = "/v1/dead-letters", tag = "groups", operation_id = "dead_letters",
    params(DeadLetterParams,
        ("cursor" = Option<String>, Query, description = "`next` of the last page"),
        ("limit" = Option<u32>, Query, description = "Dead letters a page, 1 to 1,000; 100 if absent"),
        ("with_payload" = Option<bool>, Query, description = "With the events; pages end earlier then if they are large"),
        ("payload" = Option<String>, Query, description = "`base64` sends every payload as base64 of the stored bytes; `json` if absent")),
    responses((status = 200, description = "One page", body = shapes::DeadLetters),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse)))]
pub(in crate::server) async fn list(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    let mut params = QueryParams::parse(query.as_deref())?;
    let filter = filter::from_query(&mut params)?;
    let after = params.text("cursor")?.map(|text| filter::after(&filter, &text)).transpose()?;
    let limit = match params.number("limit")? {
        None => PAGE_DEFAULT,
        Some(limit) => usize::try_from(limit)
            .ok()
            .filter(|limit| (1..=limits::DEAD_LETTER_PAGE_MAX).contains(limit))
            .ok_or_else(|| {
                Error::new(Code::InvalidLimit, "limit is outside its bounds")
                    .expected(format!("1 to {} a page", limits::DEAD_LETTER_PAGE_MAX))
                    .found(limit.to_string())
            })?,
    };
    let with_payload = params.flag("with_payload")?;
    let base64 = params.text("payload")?.as_deref().map(read_options::payload).transpose()?.unwrap_or(false);
    params.finish()?;
    let mut writer = with_payload.then(|| EventWriter::new(Form { one_line: false, base64 }));
    let text = app.read(move |store| page_of(store, &filter, after.as_ref(), limit, writer.as_mut())).await?;
    Ok(page::whole(&app, text).await)
}

fn page_of(
    store: &Store,
    filter: &DeadLetterFilter,
    after: Option<&(GroupName, Position)>,
    limit: usize,
    mut writer: Option<&mut EventWriter>,
) -> Result<Vec<u8>> {
    let found = store.groups().dead_letters(filter, after, limit)?;
    let mut out = b"{\"dead_letters\":[".to_vec();
    let mut next = found.next;
    for (index, letter) in found.letters.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(&mut out, store, letter, writer.as_deref_mut())?;
        let last = index + 1 == found.letters.len();
        if !last && out.len() >= limits::PAGE_BYTES_DEFAULT {
            next = Some((letter.group.clone(), letter.position));
            break;
        }
    }
    out.extend_from_slice(b"],\"next\":");
    match &next {
        Some(place) => json::string(&mut out, &filter::cursor(filter, place)),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    Ok(out)
}

/// Writes a dead letter as a JSON object, with its event if there is a writer for that.
fn write(
    out: &mut Vec<u8>,
    store: &Store,
    letter: &DeadLetter,
    writer: Option<&mut EventWriter>,
) -> Result<()> {
    serde_json::to_writer(&mut *out, &shapes::DeadLetterJson::of(letter))
        .expect("text and numbers go into a Vec without fail");
    let Some(writer) = writer else { return Ok(()) };
    // Inside the object.
    out.pop();
    out.extend_from_slice(b",\"event\":");
    match event_of(store, letter)? {
        Some(event) => writer.write(out, &event),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    Ok(())
}

/// The event of a dead letter; `None` if it is gone from the log's readers.
pub(super) fn event_of(store: &Store, letter: &DeadLetter) -> Result<Option<StoredEvent>> {
    match store.event_at(letter.position) {
        Ok(event) => Ok(Some(event)),
        Err(error) if error.code == Code::EventNotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Read a dead letter
///
/// With its event.
#[utoipa::path(get, path = "/v1/dead-letters/{group}/{position}", tag = "groups", operation_id = "dead_letter",
    params(("group" = String, Path, description = "Name of the group, percent-encoded"),
        ("position" = u64, Path, description = "Place of the event in the log")),
    responses((status = 200, description = "The dead letter", body = shapes::DeadLetterJson),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse)))]
pub(in crate::server) async fn one(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
) -> Answer {
    let group = group_of(&path)?;
    let position = Position(path.number("position")?);
    QueryParams::parse(query.as_deref())?.finish()?;
    let text = app
        .read(move |store| {
            let groups = store.groups();
            // A group that is not there is another answer than a dead letter that is not.
            groups.info(&group)?;
            let filter = DeadLetterFilter {
                group: Some(group.clone()),
                positions: vec![position],
                ..DeadLetterFilter::default()
            };
            let found = groups.dead_letters(&filter, None, 1)?;
            let Some(letter) = found.letters.first() else {
                return Err(Error::new(
                    Code::DeadLetterNotFound,
                    format!("group {group} has parked no event at position {position}"),
                ));
            };
            let mut out = Vec::new();
            write(&mut out, store, letter, Some(&mut EventWriter::new(Form::default())))?;
            Ok(out)
        })
        .await?;
    Ok(page::whole(&app, text).await)
}
