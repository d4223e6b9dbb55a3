//! `GET /v1/groups/{group}/consume`: a consumer's events as an event stream, as many as it has not acknowledged yet.

use super::{group_of, shapes};
use crate::server::feed::{self, Feed};
use crate::server::follow::{
    EVENT_STREAM, KEEP_ALIVE, NO_BUFFERING, STEP_BYTES, head, problem_text, silence,
};
use crate::server::json::{self, EventWriter, Form};
use crate::server::media::AnswerType;
use crate::server::path::PathParams;
use crate::server::problem::Answer;
use crate::server::query_params::QueryParams;
use crate::server::read_options;
use crate::server::serve::Peer;
use crate::server::{App, schema};
use axum::extract::{Extension, RawQuery, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use graven_engine::Consumer;
use graven_model::{Code, ConsumerOptions, Delivery, Error, Result, limits};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

/// Events a consumer takes at a time if it does not say.
const BUFFER_DEFAULT: u32 = 32;

/// Consume a group
///
/// Connects a consumer: `connected` with its id, then `event` for every event that is its turn, never more at a time than `buffer` that
/// it has not acknowledged. The id of each is its position. When the connection ends, what was not acknowledged is delivered to others.
/// `problem` says what broke it off: after `GRV-1804` connect again. `Last-Event-ID` means nothing here.
#[utoipa::path(get, path = "/v1/groups/{group}/consume", tag = "groups", operation_id = "consume",
    params(("group" = String, Path, description = "Name of the group, percent-encoded"),
        ("name" = Option<String>, Query, description = "What the consumer calls itself, up to 256 bytes"),
        ("buffer" = Option<u32>, Query, description = "Events it takes at a time, 1 to 10,000; 32 if absent"),
        ("payload" = Option<String>, Query, description = "`base64` sends every payload as base64 of the stored bytes; `json` if absent")),
    responses((status = 200, description = "`connected` (GroupConnected), then `event` after `event` (GroupDelivery); `problem` (Problem) with what broke it off",
            body = String, content_type = "text/event-stream"),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse),
        (status = 409, response = schema::ProblemResponse),
        (status = 421, response = schema::ProblemResponse)))]
pub(in crate::server) async fn consume(
    State(app): State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    path: PathParams,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let group = group_of(&path)?;
    let mut params = QueryParams::parse(query.as_deref())?;
    let name = params.text("name")?.unwrap_or_default();
    let buffer = match params.number("buffer")? {
        None => BUFFER_DEFAULT,
        Some(buffer) => u32::try_from(buffer)
            .ok()
            .filter(|buffer| (1..=limits::CONSUMER_BUFFER_MAX).contains(buffer))
            .ok_or_else(|| {
                Error::new(Code::InvalidGroup, "buffer is outside its bounds")
                    .expected(format!("1 to {} events", limits::CONSUMER_BUFFER_MAX))
                    .found(buffer.to_string())
            })?,
    };
    let base64 = params.text("payload")?.as_deref().map(read_options::payload).transpose()?.unwrap_or(false);
    params.finish()?;
    check_accept(&headers)?;
    check_origin(&headers, &uri)?;
    let address = peer.map_or(String::new(), |Extension(peer)| peer.to_string());
    let options = ConsumerOptions { name: name.into(), address: address.into(), buffer };
    let connected_to = group.to_string();
    let consumer = app.tell_groups(move |groups| groups.connect(&group, options)).await?;
    let connected = shapes::GroupConnected { group: connected_to, consumer: consumer.handle().id(), buffer };
    let (feed, body) = feed::open();
    tokio::spawn(send(app, consumer, connected, Form { one_line: true, base64 }, feed));
    Ok(([(header::CONTENT_TYPE, EVENT_STREAM), NO_BUFFERING], body).into_response())
}

/// An event stream is the only answer there is, and connecting changes who gets which events: it has to be asked for.
fn check_accept(headers: &HeaderMap) -> Result<()> {
    if AnswerType::wanted(headers) == AnswerType::EventStream {
        return Ok(());
    }
    Err(Error::new(Code::BadRequest, "a consumer is answered by an event stream and nothing else")
        .expected("Accept: text/event-stream"))
}

/// A web page of another origin cannot read the answer, but its events would count as tried.
fn check_origin(headers: &HeaderMap, uri: &Uri) -> Result<()> {
    let text = |name| headers.get(name).map(|value: &header::HeaderValue| value.to_str().unwrap_or("?"));
    let own = uri.authority().map(Authority::as_str).or(text(header::HOST));
    let same = match text(header::ORIGIN) {
        Some(origin) => origin.split_once("://").map(|(_, authority)| authority) == own,
        None => !matches!(text(SEC_FETCH_SITE), Some("cross-site" | "same-site")),
    };
    if same {
        return Ok(());
    }
    Err(Error::new(Code::BadRequest, "a web page of another origin asks for events of a group"))
}

const SEC_FETCH_SITE: header::HeaderName = header::HeaderName::from_static("sec-fetch-site");

async fn send(
    app: Arc<App>,
    mut consumer: Consumer,
    connected: shapes::GroupConnected,
    form: Form,
    feed: Feed,
) {
    let mut text = Vec::new();
    head(&mut text, None, "connected");
    serde_json::to_writer(&mut text, &connected).expect("text and numbers go into a Vec without fail");
    text.extend_from_slice(b"\n\n");
    if !feed.send(text.into()).await {
        return;
    }
    let mut ending = app.stopping.clone();
    let ended = tokio::select! {
        error = deliver(&app, &mut consumer, form, &feed) => error,
        () = feed.gone() => return,
        () = async { let _ = ending.wait_for(|stopping| *stopping).await; } => None,
    };
    // What it held goes to others now, not when the client has read why.
    drop(consumer);
    if let Some(error) = ended {
        tracing::debug!(code = %error.code, "a consumer was sent away");
        feed.send(problem_text(&error)).await;
    }
    feed.end().await;
}

/// Runs until the group refuses to go on, or the client is gone.
async fn deliver(app: &Arc<App>, consumer: &mut Consumer, form: Form, feed: &Feed) -> Option<Error> {
    let mut writer = EventWriter::new(form);
    loop {
        // The slot first: nothing is taken that nobody reads.
        let slot = feed.slot().await?;
        let first = tokio::select! {
            delivery = consumer.next() => delivery,
            keep_alive = silence(app, Some(KEEP_ALIVE)) => {
                slot.send(Bytes::from_static(keep_alive));
                continue;
            }
        };
        let (mut text, mut events) = (Vec::new(), 0);
        let mut next = Some(first);
        let ended = loop {
            match next {
                Some(Ok(delivery)) => {
                    write(&mut text, &mut writer, &delivery);
                    events += 1;
                }
                Some(Err(error)) => break Some(error),
                None => break None,
            }
            next = if text.len() < STEP_BYTES { ready(consumer).await } else { None };
        };
        if events > 0 {
            app.metrics.sent(events);
            slot.send(app.answers.hold(text).await);
        }
        if ended.is_some() {
            return ended;
        }
    }
}

/// What there is for the consumer without waiting.
async fn ready(consumer: &mut Consumer) -> Option<Result<Delivery>> {
    poll_fn(|context| {
        Poll::Ready(match consumer.poll_next(context) {
            Poll::Ready(next) => Some(next),
            Poll::Pending => None,
        })
    })
    .await
}

fn write(out: &mut Vec<u8>, writer: &mut EventWriter, delivery: &Delivery) {
    out.reserve(delivery.event.size_bytes() + 300);
    head(out, Some(delivery.event.position), "event");
    out.extend_from_slice(b"{\"retries\":");
    json::number(out, u64::from(delivery.retries));
    out.extend_from_slice(if delivery.replayed { b",\"replayed\":true" } else { b",\"replayed\":false" });
    out.extend_from_slice(b",\"event\":");
    writer.write(out, &delivery.event);
    out.extend_from_slice(b"}\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_server_connect() {
        let check = |headers: &[(header::HeaderName, &str)]| {
            let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
            check_origin(&headers.collect(), &Uri::from_static("/v1/groups/g/consume")).is_ok()
        };
        let host = (header::HOST, "localhost:2113");
        assert!(check(std::slice::from_ref(&host)));
        assert!(check(&[host.clone(), (header::ORIGIN, "http://localhost:2113")]));
        assert!(check(&[host.clone(), (SEC_FETCH_SITE, "same-origin")]));
        assert!(!check(&[host.clone(), (header::ORIGIN, "http://localhost:3000")]));
        assert!(!check(&[host.clone(), (header::ORIGIN, "null")]));
        assert!(!check(&[host, (SEC_FETCH_SITE, "cross-site")]));
    }
}
