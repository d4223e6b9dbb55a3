//! One page of events as JSON.

use super::App;
use super::json::{self, EventWriter};
use super::pace;
use super::problem::Answer;
use super::read_options::{ReadOptions, next_link};
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use graven_model::{Cursor, ReadRequest, Selector};
use std::sync::Arc;

/// Reads one page. `query` is the query string the link to the next page repeats.
pub(super) async fn answer(
    app: Arc<App>,
    selector: Selector,
    options: ReadOptions,
    query: Option<&str>,
) -> Answer {
    let form = options.form(false);
    let request = options.page(selector)?;
    let short = pace::is_short(&request);
    let read = app.read_page(short, move |store| encode(store, &request, form));
    let (text, events, cursor) = read.await?;
    app.metrics.sent(events);
    let mut response = whole(&app, text).await;
    if let Some(cursor) = cursor
        && let Ok(link) = HeaderValue::try_from(next_link(query, &cursor))
    {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

fn encode(
    store: &graven_engine::Store,
    request: &ReadRequest,
    form: json::Form,
) -> graven_model::Result<(Vec<u8>, usize, Option<String>)> {
    let mut out = b"{\"events\":[".to_vec();
    let mut writer = EventWriter::new(form);
    let mut first = true;
    let page = store.read_each(request, None, |event| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        writer.write(&mut out, *event);
    })?;
    out.push(b']');
    let cursor = page.next.map(|next| Cursor::new(&request.selector, request.direction, next).encode());
    out.extend_from_slice(b",\"next\":");
    match &cursor {
        Some(cursor) => json::string(&mut out, cursor),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"head\":");
    json::number(&mut out, page.head.0);
    if let Some(revision) = page.last_revision {
        out.extend_from_slice(b",\"last_revision\":");
        json::number(&mut out, revision.0);
    }
    out.push(b'}');
    Ok((out, page.events, cursor))
}

/// A JSON answer that takes room among all answers until it is sent.
pub(super) async fn whole(app: &App, text: Vec<u8>) -> Response {
    let body = Body::from(app.answers.hold(text).await);
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}
