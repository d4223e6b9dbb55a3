//! An event stream (server-sent events): catch-up, then live, for as long as the client stays.

use super::App;
use super::feed::{self, Feed};
use super::json::{self, EventWriter, Form};
use super::problem::{self, Answer};
use super::read_options::ReadOptions;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use graven_engine::{FollowRequest, FollowStep, Follower};
use graven_model::{Error, Position, Selector};
use std::sync::Arc;
use tokio::time::sleep;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
pub(super) const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Asks proxies not to hold the stream back.
pub(super) const NO_BUFFERING: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// A comment that nobody reads.
pub(super) const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// Events and bytes of one step: what a slow follower holds of the server's memory is a few of these.
pub(super) const STEP_EVENTS: u32 = 500;
pub(super) const STEP_BYTES: usize = 256 << 10;

/// Starts an event stream. It resumes after `Last-Event-ID`, which wins over every other place to begin.
pub(super) async fn answer(
    app: Arc<App>,
    selector: Selector,
    options: ReadOptions,
    headers: &HeaderMap,
) -> Answer {
    let last_event_id = headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or_default());
    let form = options.form(true);
    let (after, filter) = options.follow(&selector, last_event_id.filter(|text| !text.is_empty()))?;
    let request = FollowRequest {
        filter,
        page_events: STEP_EVENTS,
        page_bytes: STEP_BYTES,
        ..FollowRequest::new(selector, after)
    };
    let follower = app.read(move |store| store.follow(request)).await?;
    let (feed, body) = feed::open();
    tokio::spawn(send_steps(app, follower, form, feed));
    Ok(([(header::CONTENT_TYPE, EVENT_STREAM), NO_BUFFERING], body).into_response())
}

async fn send_steps(app: Arc<App>, follower: Follower, form: Form, feed: Feed) {
    let _open = app.metrics.follower();
    let mut ending = app.stopping.clone();
    let encode = move |step: &FollowStep| text_of(step, form);
    let ended = tokio::select! {
        error = follow(&app, follower, encode, Some(KEEP_ALIVE), &feed) => error,
        () = feed.gone() => return,
        // The client comes back with the last id it saw.
        () = async { let _ = ending.wait_for(|stopping| *stopping).await; } => None,
    };
    if let Some(error) = ended {
        tracing::warn!(code = %error.code, "an event stream broke off");
        feed.send(problem_text(&error)).await;
    }
    feed.end().await;
}

/// Runs until the store refuses to go on, or the client is gone. `encode` gives a step's bytes and the events in it.
pub(super) async fn follow(
    app: &Arc<App>,
    mut follower: Follower,
    encode: impl Fn(&FollowStep) -> (Vec<u8>, usize) + Copy + Send + 'static,
    keep_alive: Option<&'static [u8]>,
    feed: &Feed,
) -> Option<Error> {
    loop {
        // The slot first: nothing is read that nobody takes.
        let slot = feed.slot().await?;
        let step = app
            .read_short(move |_| {
                let step = follower.poll_next()?;
                Ok((step.map(|step| encode(&step)), follower))
            })
            .await;
        match step {
            Err(error) => return Some(error),
            Ok((Some((text, events)), back)) => {
                follower = back;
                app.metrics.sent(events);
                slot.send(app.answers.hold(text).await);
            }
            Ok((None, back)) => {
                follower = back;
                tokio::select! {
                    woken = follower.wait() => {
                        if let Err(error) = woken {
                            return Some(error);
                        }
                    }
                    keep_alive = silence(app, keep_alive) => slot.send(Bytes::from_static(keep_alive)),
                }
            }
        }
    }
}

/// Resolves when it is time to show that the connection lives; never if nothing is sent for that.
pub(super) async fn silence(app: &App, keep_alive: Option<&'static [u8]>) -> &'static [u8] {
    match keep_alive {
        Some(comment) => {
            sleep(app.options.keep_alive).await;
            comment
        }
        None => std::future::pending().await,
    }
}

/// One step as text, and the events in it.
fn text_of(step: &FollowStep, form: Form) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    match step {
        FollowStep::Events(events) => {
            out.reserve(events.iter().map(|event| event.size_bytes() + 240).sum());
            let mut writer = EventWriter::new(form);
            for event in events {
                head(&mut out, Some(event.position), "event");
                writer.write(&mut out, event);
                out.extend_from_slice(b"\n\n");
            }
            return (out, events.len());
        }
        FollowStep::CaughtUp(head_position) => {
            head(&mut out, head_position.0.checked_sub(1).map(Position), "caught-up");
            out.extend_from_slice(b"{\"head\":");
            json::number(&mut out, head_position.0);
            out.extend_from_slice(b"}\n\n");
        }
        FollowStep::Checkpoint(position) => {
            head(&mut out, Some(*position), "checkpoint");
            out.extend_from_slice(b"{\"position\":");
            json::number(&mut out, position.0);
            out.extend_from_slice(b"}\n\n");
        }
    }
    (out, 0)
}

/// The lines before the data. The id is where the client resumes.
pub(super) fn head(out: &mut Vec<u8>, id: Option<Position>, event: &str) {
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        json::number(out, id.0);
        out.push(b'\n');
    }
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(event.as_bytes());
    out.extend_from_slice(b"\ndata: ");
}

/// What ends an event stream that broke off.
pub(super) fn problem_text(error: &Error) -> Bytes {
    let mut out = Vec::new();
    head(&mut out, None, "problem");
    out.extend_from_slice(&problem::document(error));
    out.extend_from_slice(b"\n\n");
    out.into()
}
