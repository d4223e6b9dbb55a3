//! Calls that are answered page by page: reads, frames, subscriptions.

use super::Call;
use super::answer::{begin_message, end_message, streaming, trailers, whole};
use super::message::Messages;
use crate::server::feed::{self, Feed};
use crate::server::long_read::{
    self, Ended, PAGE_BYTES, PAGE_EVENTS, Piece, Pieces, Reading, passed, too_late,
};
use crate::server::{App, follow, stopping};
use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use graven_engine::{FollowRequest, FollowStep, Follower, Store};
use graven_model::{Code, Error, Frames, Position, ReadRequest, Result, Start};
use graven_proto::{encode, page_bytes, wire};
use std::sync::Arc;
use tokio::time::Instant;

/// Bytes of frames a message, when the caller does not say: what stays in the caches of both sides on its way.
const FRAMES_BYTES: usize = 256 << 10;

/// Reads pages of events. The first is read before the answer begins.
///
/// # Errors
/// Those of [`Store::read`] for the first page, and of reading the message.
pub(super) async fn read(call: Call) -> Result<Response<Body>> {
    let Call { app, body, deadline, .. } = call;
    let mut asked: wire::ReadRequest = Messages::only(app.clone(), body).await?;
    let all_of = |number: u64| if number == 0 { u64::MAX } else { number };
    let (left, pages) = (all_of(asked.limit), all_of(u64::from(asked.pages)));
    if asked.page_events == 0 {
        asked.page_events = PAGE_EVENTS;
    }
    if asked.page_bytes == 0 {
        asked.page_bytes = PAGE_BYTES as u64;
    }
    let min_position = asked.min_position;
    let request = ReadRequest::try_from(asked)?;
    app.reach(min_position, deadline).await?;
    let pages = EventPages { reading: Reading::new(request, left, pages), room: FIRST_PAGE_ROOM };
    answer(app, pages, deadline).await
}

/// Answers with all pieces; with the first alone at once if there is no other.
async fn answer<P: Pieces>(app: Arc<App>, pieces: P, deadline: Option<Instant>) -> Result<Response<Body>> {
    let first = long_read::next(&app, pieces).await?;
    if !first.0.more && first.0.tail.is_empty() {
        app.metrics.sent(first.0.events);
        return Ok(whole(app.answers.hold(first.0.bytes).await));
    }
    let (feed, body) = feed::open();
    tokio::spawn(async move {
        match long_read::feed_all(&app, first, &feed, deadline).await {
            Ended::Gone => {}
            Ended::Complete(_) => feed.end_with(trailers(None)).await,
            Ended::Broken(error) => break_off(&app, feed, &error).await,
        }
    });
    Ok(streaming(body))
}

async fn break_off(app: &App, feed: Feed, error: &Error) {
    app.metrics.refused(error.code);
    tracing::warn!(code = %error.code, "a long answer broke off");
    feed.end_with(trailers(Some(error))).await;
}

/// Room for the first page; for a later one there is as much as the one before took.
const FIRST_PAGE_ROOM: usize = 4 << 10;

struct EventPages {
    reading: Reading,
    room: usize,
}

impl Pieces for EventPages {
    fn next(&mut self, store: &Store) -> Result<Piece> {
        let mut bytes = begin_message(self.room);
        let (page, more) = self.reading.next(store, |event| encode::event(&mut bytes, event))?;
        encode::page_end(&mut bytes, &page);
        end_message(&mut bytes, 0);
        self.room = bytes.len();
        Ok(Piece { bytes, tail: Bytes::new(), events: page.events, more })
    }

    fn is_short(&self) -> bool {
        self.reading.is_short()
    }
}

/// Sends stored frames as they are; those with sealed payloads opened.
///
/// # Errors
/// Those of [`Store::read_opened_frames`] for the first of them, and of reading the message.
pub(super) async fn frames(call: Call) -> Result<Response<Body>> {
    let Call { app, body, deadline, .. } = call;
    let asked: wire::ReadFramesRequest = Messages::only(app.clone(), body).await?;
    app.reach(asked.min_position, deadline).await?;
    let pages = FramePages {
        next: Position(asked.from),
        bytes_max: page_bytes(asked.page_bytes, FRAMES_BYTES),
        end: None,
        follow: asked.follow,
    };
    if !pages.follow {
        return answer(app, pages, deadline).await;
    }
    let mut first = long_read::next(&app, pages).await?;
    let (feed, body) = feed::open();
    tokio::spawn(async move {
        let _open = app.metrics.follower();
        let mut head = app.store.watch_head();
        let error = loop {
            let pages = match long_read::feed_all(&app, first, &feed, deadline).await {
                Ended::Gone => return,
                Ended::Broken(error) => break error,
                Ended::Complete(pages) => pages,
            };
            let mut ending = app.stopping.clone();
            tokio::select! {
                moved = head.wait_for(|head| *head > pages.next) => {
                    if moved.is_err() {
                        break Error::new(Code::Closed, "the store is closed");
                    }
                }
                () = feed.gone() => return,
                () = async { let _ = ending.wait_for(|stopping| *stopping).await; } => break stopping(),
                () = passed(deadline) => break too_late(),
            }
            first = match long_read::next(&app, pages).await {
                Ok(next) => next,
                Err(error) => break error,
            };
        };
        break_off(&app, feed, &error).await;
    });
    Ok(streaming(body))
}

struct FramePages {
    next: Position,
    bytes_max: usize,
    /// The head when the read began, which ends it unless it follows.
    end: Option<Position>,
    follow: bool,
}

impl Pieces for FramePages {
    fn next(&mut self, store: &Store) -> Result<Piece> {
        let frames: Frames = store.read_opened_frames(self.next, self.bytes_max)?;
        let end = *self.end.get_or_insert(frames.head);
        // One that follows says with an empty message that it has caught up.
        let more = if self.follow {
            !frames.bytes.is_empty()
        } else {
            frames.next < end && !frames.bytes.is_empty()
        };
        let events = frames.next.0.saturating_sub(self.next.0.max(frames.first.0));
        self.next = frames.next;
        let mut bytes = begin_message(64);
        encode::frames_head(&mut bytes, &frames);
        end_message(&mut bytes, frames.bytes.len());
        Ok(Piece { bytes, tail: frames.bytes, events: events as usize, more })
    }

    fn is_short(&self) -> bool {
        self.bytes_max <= FRAMES_BYTES
    }
}

/// Sends what there is, then what comes.
///
/// # Errors
/// Those of [`Store::follow`], and of reading the message.
pub(super) async fn subscribe(call: Call) -> Result<Response<Body>> {
    let Call { app, body, deadline, .. } = call;
    let asked: wire::SubscribeRequest = Messages::only(app.clone(), body).await?;
    let after = graven_proto::start(asked.after)?.unwrap_or(Start::Start);
    let mut request = FollowRequest::new(graven_proto::selector(asked.selector)?, after);
    request.filter = asked.filter.unwrap_or_default().into();
    request.page_events = if asked.page_events == 0 { follow::STEP_EVENTS } else { asked.page_events };
    request.page_bytes = page_bytes(asked.page_bytes, follow::STEP_BYTES);
    if asked.checkpoint_every != 0 {
        request.checkpoint_every = asked.checkpoint_every;
    }
    app.reach(asked.min_position, deadline).await?;
    let follower = app.read(move |store| store.follow(request)).await?;
    let (feed, body) = feed::open();
    tokio::spawn(send_steps(app, follower, feed, deadline));
    Ok(streaming(body))
}

async fn send_steps(app: Arc<App>, follower: Follower, feed: Feed, deadline: Option<Instant>) {
    let _open = app.metrics.follower();
    let mut ending = app.stopping.clone();
    let error = tokio::select! {
        error = follow::follow(&app, follower, step_message, None, &feed) => error,
        () = feed.gone() => None,
        () = async { let _ = ending.wait_for(|stopping| *stopping).await; } => Some(stopping()),
        () = passed(deadline) => Some(too_late()),
    };
    // Without an error it was the client who went away.
    if let Some(error) = error {
        break_off(&app, feed, &error).await;
    }
}

fn step_message(step: &FollowStep) -> (Vec<u8>, usize) {
    let events = match step {
        FollowStep::Events(events) => &events[..],
        _ => &[],
    };
    let mut bytes = begin_message(encode::room(events));
    encode::step(&mut bytes, step);
    end_message(&mut bytes, 0);
    (bytes, events.len())
}
