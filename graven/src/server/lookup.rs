//! Single events: by id, by revision, by position.

use super::json::{self, EventWriter, Form};
use super::path::PathParams;
use super::problem::Answer;
use super::query_params::min_position_alone;
use super::{App, page};
use axum::extract::{RawQuery, State};
use graven_model::{Code, Error, EventId, Position, ReadRequest, Revision, Selector, Start, StoredEvent};
use std::sync::Arc;

/// Find an event by id
///
/// All events with this id, oldest first: the same id may stand in several streams.
#[utoipa::path(get, path = "/v1/events/{id}", tag = "read", operation_id = "events_by_id",
    params(("id" = String, Path, description = "Event id, a UUID"), super::schema::MinPosition),
    responses((status = 200, description = "At least one event", body = super::schema::Events),
        (status = 400, response = super::schema::ProblemResponse),
        (status = 404, response = super::schema::ProblemResponse)))]
pub(super) async fn by_id(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
) -> Answer {
    let id = EventId::parse(path.text("id")?)?;
    app.reach(min_position_alone(query.as_deref())?, None).await?;
    let text = app
        .read(move |store| {
            let found = store.events_by_id(id)?;
            if found.is_empty() {
                return Err(Error::new(Code::EventNotFound, format!("no event has the id {id}")));
            }
            let mut out = b"{\"events\":".to_vec();
            json::events(&mut out, Form::default(), &found);
            out.push(b'}');
            Ok(out)
        })
        .await?;
    Ok(page::whole(&app, text).await)
}

/// Read one event of a stream
///
/// The event at a revision.
#[utoipa::path(get, path = "/v1/streams/{stream}/events/{revision}", tag = "read", operation_id = "event_by_revision",
    params(("stream" = String, Path, description = "Stream name, percent-encoded"),
        ("revision" = u64, Path, description = "Place in the stream, from 0"), super::schema::MinPosition),
    responses((status = 200, description = "The event", body = super::schema::Event),
        (status = 400, response = super::schema::ProblemResponse),
        (status = 404, response = super::schema::ProblemResponse),
        (status = 410, response = super::schema::ProblemResponse)))]
pub(super) async fn by_revision(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
) -> Answer {
    let stream = path.stream()?;
    let revision = Revision(path.number("revision")?);
    app.reach(min_position_alone(query.as_deref())?, None).await?;
    let text = app
        .read(move |store| {
            let request = ReadRequest::new(Selector::Stream(stream)).from(Start::Revision(revision)).limit(1);
            match store.read(&request)?.events.first() {
                Some(event) if event.revision == revision => Ok(one(event)),
                _ => Err(Error::new(
                    Code::EventNotFound,
                    format!("the stream shows no event at revision {revision}"),
                )),
            }
        })
        .await?;
    Ok(page::whole(&app, text).await)
}

/// Read one event of the log
///
/// The event at a position.
#[utoipa::path(get, path = "/v1/positions/{position}", tag = "read", operation_id = "event_by_position",
    params(("position" = u64, Path, description = "Place in the log, from 0"), super::schema::MinPosition),
    responses((status = 200, description = "The event", body = super::schema::Event),
        (status = 400, response = super::schema::ProblemResponse),
        (status = 404, response = super::schema::ProblemResponse)))]
pub(super) async fn by_position(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
) -> Answer {
    let position = Position(path.number("position")?);
    app.reach(min_position_alone(query.as_deref())?, None).await?;
    let text = app.read_short(move |store| Ok(one(&store.event_at(position)?))).await?;
    Ok(page::whole(&app, text).await)
}

fn one(event: &StoredEvent) -> Vec<u8> {
    let mut out = Vec::with_capacity(event.size_bytes() + 256);
    EventWriter::new(Form::default()).write(&mut out, event);
    out
}
