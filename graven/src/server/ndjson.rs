//! A long read: all pages, an event a line.

use super::App;
use super::feed::{self, Feed};
use super::json::EventWriter;
use super::long_read::{self, Ended, Piece, Pieces, Reading};
use super::problem::{self, Answer};
use super::read_options::ReadOptions;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use graven_model::{Result, Selector};
use std::sync::Arc;

/// Starts a long read. The first page is read before the answer begins, so that its errors have their status.
pub(super) async fn answer(app: Arc<App>, selector: Selector, options: ReadOptions) -> Answer {
    let left = options.total()?.unwrap_or(u64::MAX);
    let form = options.form(true);
    let mut request = options.stream_of_pages(selector)?;
    request.limit = long_read::PAGE_EVENTS;
    request.bytes_max = long_read::PAGE_BYTES;
    let reading = Reading::new(request, left, u64::MAX);
    let lines = Lines { writer: EventWriter::new(form), reading, room: 0 };
    let first = long_read::next(&app, lines).await?;
    let (feed, body) = feed::open();
    tokio::spawn(send_pieces(app, first, feed));
    let content_type = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

/// Sends piece after piece. Ends early when the client goes away; says so in a last line when something else ends it.
pub(super) async fn send_pieces<P: Pieces>(app: Arc<App>, first: (Piece, P), feed: Feed) {
    match long_read::feed_all(&app, first, &feed, None).await {
        Ended::Gone => return,
        Ended::Complete(_) => {}
        Ended::Broken(error) => {
            tracing::warn!(code = %error.code, "a long read broke off");
            feed.send(error_line(&error)).await;
        }
    }
    feed.end().await;
}

fn error_line(error: &graven_model::Error) -> Bytes {
    let mut line = b"{\"error\":".to_vec();
    line.extend_from_slice(&problem::document(error));
    line.extend_from_slice(b"}\n");
    line.into()
}

/// A read as lines.
struct Lines {
    writer: EventWriter,
    reading: Reading,
    /// Bytes of the page before.
    room: usize,
}

impl Pieces for Lines {
    fn next(&mut self, store: &graven_engine::Store) -> Result<Piece> {
        let mut bytes = Vec::with_capacity(self.room);
        let (page, more) = self.reading.next(store, |event| {
            self.writer.write(&mut bytes, *event);
            bytes.push(b'\n');
        })?;
        self.room = bytes.len();
        Ok(Piece { bytes, tail: Bytes::new(), events: page.events, more })
    }
}
