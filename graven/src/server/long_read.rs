//! A read of many pages, as fast as the client takes them and no faster: what NDJSON and gRPC have in common.

use super::feed::Feed;
use super::{App, pace, stopping};
use bytes::Bytes;
use graven_engine::Store;
use graven_model::{Code, Direction, Error, Page, Position, ReadRequest, Result, Start};
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};

/// Events and bytes of one page of a long read: what a slow reader holds of the server's memory is a few of these.
pub(super) const PAGE_EVENTS: u32 = 1_000;
pub(super) const PAGE_BYTES: usize = 512 << 10;

/// Something that is read piece by piece, on threads that may block.
pub(super) trait Pieces: Send + 'static {
    /// The next piece.
    ///
    /// # Errors
    /// Those of the store.
    fn next(&mut self, store: &Store) -> Result<Piece>;

    /// Whether the next piece is short.
    fn is_short(&self) -> bool {
        false
    }
}

/// A piece of an answer.
pub(super) struct Piece {
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// Bytes that follow as they are; mostly none.
    pub(super) tail: Bytes,
    /// Events in it.
    pub(super) events: usize,
    /// Another one follows.
    pub(super) more: bool,
}

/// How feeding an answer ended.
pub(super) enum Ended<P> {
    /// Everything was sent.
    Complete(P),
    /// The client went away.
    Gone,
    /// Something broke it off.
    Broken(Error),
}

/// Reads the next piece.
///
/// # Errors
/// Those of the store.
pub(super) async fn next<P: Pieces>(app: &Arc<App>, mut pieces: P) -> Result<(Piece, P)> {
    let short = pieces.is_short();
    let read = move |store: &Store| pieces.next(store).map(|piece| (piece, pieces));
    if short { app.read_short(read).await } else { app.read(read).await }
}

/// Sends piece after piece, making the next one while the socket takes this one.
pub(super) async fn feed_all<P: Pieces>(
    app: &Arc<App>,
    first: (Piece, P),
    feed: &Feed,
    deadline: Option<Instant>,
) -> Ended<P> {
    let (mut piece, mut pieces) = first;
    let mut ending = app.stopping.clone();
    loop {
        app.metrics.sent(piece.events);
        let more = piece.more;
        let sent = async {
            let head = app.answers.hold(piece.bytes).await;
            let head_sent = feed.send(head).await;
            if piece.tail.is_empty() || !head_sent {
                return head_sent;
            }
            feed.send(app.answers.hold(piece.tail).await).await
        };
        let went_on = tokio::select! {
            sent = sent => sent,
            () = feed.gone() => false,
            () = async { let _ = ending.wait_for(|stopping| *stopping).await; } => return Ended::Broken(stopping()),
            () = passed(deadline) => return Ended::Broken(too_late()),
        };
        if !went_on {
            return Ended::Gone;
        }
        if !more {
            return Ended::Complete(pieces);
        }
        match next(app, pieces).await {
            Ok(next) => (piece, pieces) = next,
            Err(error) => return Ended::Broken(error),
        }
    }
}

/// Resolves when the caller's deadline has passed; never without one.
pub(super) async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// What a caller is told whose deadline has passed.
pub(super) fn too_late() -> Error {
    Error::new(Code::Timeout, "the deadline of the call has passed")
}

/// Where a read of events is.
pub(super) struct Reading {
    request: ReadRequest,
    /// Events still wanted.
    left: u64,
    /// Pages still wanted.
    pages_left: u64,
    /// Events a page at the most.
    page_events: u32,
    /// The head when it began: a read forwards ends there, however fast the log grows.
    end: Option<Position>,
}

impl Reading {
    /// At most `left` events in all, in at most `pages` pages of the request's size.
    pub(super) fn new(request: ReadRequest, left: u64, pages: u64) -> Reading {
        Reading { page_events: request.limit, request, left, pages_left: pages, end: None }
    }

    /// Whether the next page is short.
    pub(super) fn is_short(&self) -> bool {
        self.pages_left == 1 && pace::is_short(&self.request)
    }

    /// The next page, and whether another one follows.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub(super) fn next(&mut self, store: &Store) -> Result<(Page, bool)> {
        self.request.limit = u32::try_from(self.left).unwrap_or(u32::MAX).min(self.page_events);
        let mut page = store.read(&self.request)?;
        let end = *self.end.get_or_insert(page.head);
        let mut more = page.next.is_some();
        if self.request.direction == Direction::Forward {
            let inside = page.events.partition_point(|event| event.position < end);
            more &= inside == page.events.len()
                && page.events.last().is_none_or(|last| last.position.next() < end);
            page.events.truncate(inside);
            self.start_next(page.next);
            if !more {
                // What came since belongs to another read.
                page.next = None;
            }
        } else {
            self.start_next(page.next);
        }
        self.left -= page.events.len() as u64;
        self.pages_left -= 1;
        Ok((page, more && self.left > 0 && self.pages_left > 0))
    }

    fn start_next(&mut self, next: Option<Start>) {
        if let Some(next) = next {
            self.request.start = next;
        }
    }
}
