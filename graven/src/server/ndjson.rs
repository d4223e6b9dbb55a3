//! A long read: all pages, an event a line, as fast as the client takes them and no faster.

use super::feed::{self, Feed};
use super::json::EventWriter;
use super::problem::{self, Answer};
use super::read_options::ReadOptions;
use super::{App, stopping};
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use graven_model::{Direction, Position, ReadRequest, Result, Selector};
use std::sync::Arc;

/// Events of one page of a long read.
const PAGE_EVENTS: u32 = 1_000;

/// Bytes of one page of a long read: what a slow reader holds of the server's memory is a few of these.
const PAGE_BYTES: usize = 512 << 10;

/// Starts a long read. The first page is read before the answer begins, so that its errors have their status.
pub(super) async fn answer(app: Arc<App>, selector: Selector, options: ReadOptions) -> Answer {
    let left = options.total()?.unwrap_or(u64::MAX);
    let form = options.form(true);
    let request = options.stream_of_pages(selector)?;
    let mut reading = Reading { writer: EventWriter::new(form), request, left, end: None };
    let first = app.read(move |store| reading.next(store).map(|step| (step, reading))).await?;
    let (feed, body) = feed::open();
    tokio::spawn(send_pages(app, first, feed));
    let content_type = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

/// Sends page after page. Ends early when the client goes away; says so in a last line when something else ends it.
async fn send_pages(app: Arc<App>, first: (Step, Reading), feed: Feed) {
    let (mut step, mut reading) = first;
    let mut ending = app.stopping.clone();
    let error = loop {
        app.metrics.sent(step.events);
        let more = step.more;
        let sent = async { feed.send(app.answers.hold(step.text).await).await };
        let went_on = tokio::select! {
            sent = sent => sent,
            () = feed.gone() => false,
            () = async { let _ = ending.wait_for(|stopping| *stopping).await; } => break stopping(),
        };
        if !went_on {
            return;
        }
        if !more {
            return feed.end().await;
        }
        match app.read(move |store| reading.next(store).map(|step| (step, reading))).await {
            Ok(next) => (step, reading) = next,
            Err(error) => break error,
        }
    };
    tracing::warn!(code = %error.code, "a long read broke off");
    feed.send(error_line(&error)).await;
    feed.end().await;
}

fn error_line(error: &graven_model::Error) -> Bytes {
    let mut line = b"{\"error\":".to_vec();
    line.extend_from_slice(&problem::document(error));
    line.extend_from_slice(b"}\n");
    line.into()
}

/// Where a long read is.
struct Reading {
    writer: EventWriter,
    request: ReadRequest,
    left: u64,
    /// The head when it began: a read forwards ends there, however fast the log grows.
    end: Option<Position>,
}

/// One page as lines.
struct Step {
    text: Vec<u8>,
    events: usize,
    more: bool,
}

impl Reading {
    fn next(&mut self, store: &graven_engine::Store) -> Result<Step> {
        self.request.limit = u32::try_from(self.left).unwrap_or(u32::MAX).min(PAGE_EVENTS);
        self.request.bytes_max = PAGE_BYTES;
        let mut page = store.read(&self.request)?;
        let end = *self.end.get_or_insert(page.head);
        let mut more = page.next.is_some();
        if self.request.direction == Direction::Forward {
            let inside = page.events.partition_point(|event| event.position < end);
            more &= inside == page.events.len()
                && page.events.last().is_none_or(|last| last.position.next() < end);
            page.events.truncate(inside);
        }
        let mut text = Vec::with_capacity(page.events.iter().map(|event| event.size_bytes() + 200).sum());
        for event in &page.events {
            self.writer.write(&mut text, event);
            text.push(b'\n');
        }
        self.left -= page.events.len() as u64;
        if let Some(next) = page.next {
            self.request.start = next;
        }
        Ok(Step { text, events: page.events.len(), more: more && self.left > 0 })
    }
}
