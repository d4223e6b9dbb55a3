//! `GET /v1/node`: this node's part among those that share a journal; `POST /v1/node/takeover`: makes it the writer.

use super::media::BodyType;
use super::problem::Answer;
use super::query_params::QueryParams;
use super::{App, append, append_body, blocking, body, schema};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use graven_engine::node::{Role, Standing};
use graven_model::{Error, Timestamp};
use serde::Deserialize;
use std::sync::Arc;

/// What a store is called whose journal is its own log.
pub(super) const SINGLE: &str = "single";

/// Where a node stands at a moment.
pub(super) struct Place {
    /// `None` for a store whose journal is its own log.
    pub(super) standing: Option<Standing>,
    pub(super) head: u64,
    now: Timestamp,
}

impl Place {
    pub(super) fn of(app: &App) -> Place {
        // The journal's head first: the lag is never told smaller than it is.
        let standing = app.store.standing();
        let now = Timestamp::from_micros(app.env.clock.now_us());
        Place { standing, head: app.store.head().0, now }
    }

    pub(super) fn role(&self) -> &'static str {
        self.standing.as_ref().map_or(SINGLE, |standing| standing.role.word())
    }

    pub(super) fn journal_head(&self) -> u64 {
        self.standing.as_ref().map_or(self.head, |standing| standing.journal_head.max(self.head))
    }

    pub(super) fn lag_events(&self) -> u64 {
        self.journal_head() - self.head
    }

    /// When everything the journal had was here; `None` if it never was, or always is.
    pub(super) fn complete_at(&self) -> Option<Timestamp> {
        self.standing.as_ref()?.complete_at
    }

    /// How old what is read here may be; `None` if that is not known.
    pub(super) fn lag_seconds(&self) -> Option<f64> {
        match &self.standing {
            None => Some(0.0),
            // Nobody else can have written, as far as it knows.
            Some(standing) if standing.role == Role::Writer && standing.trouble.is_none() => Some(0.0),
            Some(_) => {
                let age = self.now.micros() - self.complete_at()?.micros();
                Some((age.max(0) as f64 / 1e6 * 1e3).round() / 1e3)
            }
        }
    }

    pub(super) fn trouble(&self) -> Option<&Error> {
        self.standing.as_ref()?.trouble.as_ref()
    }
}

/// This node
///
/// Its part among the nodes that share a journal, who writes, and how far it is behind. A store whose journal is its own log
/// is a `single` one.
#[utoipa::path(get, path = "/v1/node", tag = "server", operation_id = "node",
    responses((status = 200, description = "The node", body = schema::Node)))]
pub(super) async fn node(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    QueryParams::parse(query.as_deref())?.finish()?;
    let place = Place::of(&app);
    let standing = place.standing.as_ref();
    Ok(Json(schema::Node {
        role: place.role(),
        epoch: standing.map(|standing| standing.epoch),
        writer: standing.map(|standing| standing.writer.clone()).filter(|writer| !writer.is_empty()),
        head: place.head,
        journal_head: place.journal_head(),
        lag_events: place.lag_events(),
        complete_at: place.complete_at().map(|at| at.to_string()),
        lag_seconds: place.lag_seconds(),
        trouble: place.trouble().map(ToString::to_string),
    })
    .into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TakeOverBody {}

/// Take over
///
/// Makes this node the writer: it begins the journal's next epoch, reads the rest of what others wrote, and takes appends
/// from then on. The writer of before can commit nothing any more and becomes a follower. Does nothing on the writer itself.
#[utoipa::path(post, path = "/v1/node/takeover", tag = "server", operation_id = "take_over",
    request_body = schema::TakeOver,
    responses((status = 200, description = "This node writes", body = schema::Term),
        (status = 409, response = schema::ProblemResponse),
        (status = 415, response = schema::ProblemResponse),
        (status = 421, response = schema::ProblemResponse),
        (status = 503, response = schema::ProblemResponse)))]
pub(super) async fn take_over(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    // The media type keeps a web page of another origin from asking for this.
    let checked = append::check_plain(query.as_deref(), &headers, &[BodyType::Json]);
    if let Err(error) = checked {
        return append::refuse_unread(body, error).await;
    }
    let held = body::read(&app, body).await?;
    let TakeOverBody {} = append_body::parse(&held.bytes)?;
    let with_store = app.clone();
    let term = blocking(move || with_store.store.take_over()).await?;
    Ok(Json(schema::Term { epoch: term.epoch, writer: term.address }).into_response())
}
