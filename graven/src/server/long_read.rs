//! A read of many pages, as fast as the client takes them and no faster: what NDJSON and gRPC have in common.

use super::feed::Feed;
use super::{App, pace, stopping};
use bytes::Bytes;
use graven_engine::Store;
use graven_model::{Code, Direction, Error, EventRef, PageEnd, Position, ReadRequest, Result};
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
    app.read_page(short, move |store| pieces.next(store).map(|piece| (piece, pieces))).await
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

    /// Hands the events of the next page to `each`; says how it ends, and whether another one follows.
    ///
    /// # Errors
    /// As [`Store::read_each`].
    pub(super) fn next(&mut self, store: &Store, each: impl FnMut(&EventRef<'_>)) -> Result<(PageEnd, bool)> {
        self.request.limit = u32::try_from(self.left).unwrap_or(u32::MAX).min(self.page_events);
        let mut page = store.read_each(&self.request, self.end, each)?;
        if self.request.direction == Direction::Forward {
            let end = *self.end.get_or_insert(page.head);
            // What came since belongs to another read.
            page.next = page.next.filter(|_| page.last_position.is_none_or(|last| last.next() < end));
        }
        if let Some(next) = page.next {
            self.request.start = next;
        }
        self.left -= page.events as u64;
        self.pages_left -= 1;
        Ok((page, page.next.is_some() && self.left > 0 && self.pages_left > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graven_engine::Options;
    use graven_model::{
        AppendRequest, EventFilter, EventId, Expected, NewEvent, Pattern, Selector, StreamName,
    };

    fn grow(store: &Store, from: u8, to: u8) {
        for number in from..to {
            let event =
                NewEvent::json(EventId([number; 16]), if number < 5 { "Early" } else { "Late" }, "{}");
            let stream = StreamName::new(format!("loan-{}", number % 2)).unwrap();
            store.append(AppendRequest::to(stream, Expected::Any, [event])).unwrap();
        }
    }

    #[test]
    fn a_read_forwards_ends_where_the_log_ended_when_it_began() {
        let early = EventFilter {
            event_type: Some(Pattern::Prefixes(vec!["Early".into()])),
            ..EventFilter::default()
        };
        let stream = Selector::Stream(StreamName::new("loan-1").unwrap());
        let cases = [
            (Selector::All, EventFilter::default(), (0..10).collect::<Vec<_>>()),
            (Selector::All, early, (0..5).collect()),
            (Selector::Category("loan".into()), EventFilter::default(), (0..10).collect()),
            (stream, EventFilter::default(), vec![1, 3, 5, 7, 9]),
        ];
        for (selector, filter, expected) in cases {
            for limit in 1..12 {
                let dir = tempfile::tempdir().unwrap();
                let store = Store::open(dir.path(), Options::small()).unwrap();
                grow(&store, 0, 10);
                let request = ReadRequest::new(selector.clone()).filter(filter.clone()).limit(limit);
                let mut reading = Reading::new(request, u64::MAX, u64::MAX);
                let (mut positions, mut grown) = (Vec::new(), 10);
                loop {
                    let (page, more) =
                        reading.next(&store, |event| positions.push(event.position.0)).unwrap();
                    assert_eq!(page.head.0, u64::from(grown));
                    assert_eq!(page.next.is_some(), more);
                    if !more {
                        break;
                    }
                    grow(&store, grown, grown + 3);
                    grown += 3;
                }
                assert_eq!(positions, expected, "{selector:?}, {limit} events a page");
            }
        }
    }
}
