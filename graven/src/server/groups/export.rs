//! `GET /v1/dead-letters/export`: all of a selection, a dead letter a line, each with its event as a CloudEvent.

use super::dead_letters::{DeadLetterParams, event_of};
use super::{filter, shapes};
use crate::server::feed;
use crate::server::long_read::{self, Piece, Pieces};
use crate::server::ndjson::send_pieces;
use crate::server::problem::Answer;
use crate::server::query_params::QueryParams;
use crate::server::{App, schema};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use graven_engine::Store;
use graven_model::{DeadLetterFilter, GroupName, Position, Result, cloudevents};
use std::sync::Arc;

/// Dead letters of one piece at the most.
const PIECE_LETTERS: usize = 500;

/// Export dead letters
///
/// A dead letter a line, in order of group and position, with its event as a CloudEvent that `POST /v1/import` takes.
#[utoipa::path(get, path = "/v1/dead-letters/export", tag = "groups", operation_id = "export_dead_letters",
    params(DeadLetterParams),
    responses((status = 200, description = "A dead letter a line", body = shapes::DeadLetterLine, content_type = "application/x-ndjson"),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse)))]
pub(in crate::server) async fn export(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    let mut params = QueryParams::parse(query.as_deref())?;
    let filter = filter::from_query(&mut params)?;
    params.finish()?;
    let first = long_read::next(&app, Letters { filter, after: None }).await?;
    let (feed, body) = feed::open();
    tokio::spawn(send_pieces(app, first, feed));
    let content_type = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

/// A listing as lines.
struct Letters {
    filter: DeadLetterFilter,
    after: Option<(GroupName, Position)>,
}

impl Pieces for Letters {
    fn next(&mut self, store: &Store) -> Result<Piece> {
        let found = store.groups().dead_letters(&self.filter, self.after.as_ref(), PIECE_LETTERS)?;
        let (mut bytes, mut events) = (Vec::new(), 0);
        let mut next = found.next;
        for letter in &found.letters {
            let event = event_of(store, letter)?;
            bytes.extend_from_slice(b"{\"dead_letter\":");
            serde_json::to_writer(&mut bytes, &shapes::DeadLetterJson::of(letter))
                .expect("text and numbers go into a Vec without fail");
            bytes.extend_from_slice(b",\"cloudevent\":");
            match &event {
                Some(event) => cloudevents::write(event, &mut bytes),
                None => bytes.extend_from_slice(b"null"),
            }
            bytes.extend_from_slice(b"}\n");
            events += 1;
            if bytes.len() >= long_read::PAGE_BYTES && events < found.letters.len() {
                next = Some((letter.group.clone(), letter.position));
                break;
            }
        }
        self.after = next;
        Ok(Piece { bytes, tail: Bytes::new(), events, more: self.after.is_some() })
    }
}
