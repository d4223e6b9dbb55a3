//! A body fed by a task: the task makes the next piece while the socket takes this one, and stops when nobody reads.

use axum::body::{Body, HttpBody};
use axum::http::HeaderMap;
use bytes::Bytes;
use hyper::body::Frame;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// The task's end. Dropped without [`Feed::end`], it breaks the answer off in a way the client sees.
pub(super) struct Feed(mpsc::Sender<Piece>);

enum Piece {
    Bytes(Bytes),
    Trailers(HeaderMap),
    End,
}

/// A place for one piece, reserved before the work of making it.
pub(super) struct Slot<'a>(mpsc::Permit<'a, Piece>);

/// A feed and the body it feeds.
pub(super) fn open() -> (Feed, Body) {
    let (sender, receiver) = mpsc::channel(1);
    (Feed(sender), Body::new(Fed { receiver, ended: false }))
}

impl Feed {
    /// Waits for a place; `None` if the client is gone.
    pub(super) async fn slot(&self) -> Option<Slot<'_>> {
        self.0.reserve().await.ok().map(Slot)
    }

    /// Waits for a place and sends; false if the client is gone.
    pub(super) async fn send(&self, bytes: Bytes) -> bool {
        self.0.send(Piece::Bytes(bytes)).await.is_ok()
    }

    /// Resolves when the client is gone.
    pub(super) async fn gone(&self) {
        self.0.closed().await;
    }

    /// Ends the answer as complete, with trailers.
    pub(super) async fn end_with(self, trailers: HeaderMap) {
        if self.0.send(Piece::Trailers(trailers)).await.is_ok() {
            self.end().await;
        }
    }

    /// Ends the answer as complete.
    pub(super) async fn end(self) {
        let _ = self.0.send(Piece::End).await;
    }
}

impl Slot<'_> {
    /// Fills the place.
    pub(super) fn send(self, bytes: Bytes) {
        self.0.send(Piece::Bytes(bytes));
    }
}

struct Fed {
    receiver: mpsc::Receiver<Piece>,
    ended: bool,
}

impl HttpBody for Fed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.receiver.poll_recv(context).map(|piece| match piece {
            Some(Piece::Bytes(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Some(Piece::End) => {
                self.ended = true;
                None
            }
            None => Some(Err(io::Error::other("the answer broke off"))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    async fn next(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        frame.map(|frame| frame.map(|frame| frame.into_data().unwrap()))
    }

    #[tokio::test]
    async fn an_answer_ends_only_where_the_task_says_so() {
        let (feed, mut body) = open();
        assert!(feed.send(Bytes::from_static(b"a")).await);
        assert_eq!(next(&mut body).await.unwrap().unwrap(), "a");
        feed.end().await;
        assert!(next(&mut body).await.is_none());

        let (feed, mut body) = open();
        drop(feed);
        assert!(next(&mut body).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_feed_learns_that_nobody_reads() {
        let (feed, body) = open();
        drop(body);
        feed.gone().await;
        assert!(!feed.send(Bytes::new()).await);
        assert!(feed.slot().await.is_none());
    }
}
