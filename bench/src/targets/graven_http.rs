//! Graven over HTTP/JSON, a connection a client.

use super::graven_server::GravenServer;
use crate::events::{Event, uuid_text};
use crate::target::{Ask, By, Client, Follow, Later, Layout, Target};
use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt::Write as _;
use std::sync::Arc;
use tokio::net::TcpStream;

/// The HTTP interface of a running server.
#[derive(Debug)]
pub(crate) struct GravenHttp(pub(crate) Arc<GravenServer>);

impl Target for GravenHttp {
    fn name(&self) -> &'static str {
        "Graven, HTTP/JSON"
    }

    fn layout(&self) -> Layout {
        Layout::Own
    }

    fn offers(&self, ask: Ask) -> bool {
        !matches!(ask, Ask::ReadCategory | Ask::Consume)
    }

    fn connect(&self) -> Later<'_, Box<dyn Client>> {
        Box::pin(async { Ok(Box::new(Connection::open(self.0.address()).await?) as Box<dyn Client>) })
    }

    fn processes(&self) -> Vec<u32> {
        self.0.ids()
    }
}

struct Connection {
    address: String,
    sender: SendRequest<Full<Bytes>>,
}

/// An event of an answer, as a reader wants it: everything found, the payload left as it is.
#[derive(Deserialize)]
#[expect(dead_code, reason = "decoding is what is measured")]
struct Read<'a> {
    position: u64,
    #[serde(borrow)]
    stream: &'a str,
    revision: u64,
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    committed_at: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow, default)]
    tags: Vec<&'a str>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    events: Vec<Read<'a>>,
}

impl Connection {
    async fn open(address: &str) -> Result<Connection> {
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection { address: address.to_owned(), sender })
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        kind: &str,
        body: String,
    ) -> Result<Response<Incoming>> {
        let name = if method == Method::GET { "accept" } else { "content-type" };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header(name, kind)
            .body(Full::new(Bytes::from(body)))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::bail!("{path} was answered with {status}: {}", String::from_utf8_lossy(&body))
    }

    async fn get(&mut self, path: &str) -> Result<Bytes> {
        let response = self.send(Method::GET, path, "application/json", String::new()).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }
}

impl Client for Connection {
    fn append<'a>(&'a mut self, events: &'a [Event], unless: Option<&'a str>) -> Later<'a, ()> {
        Box::pin(async move {
            let response = if events.iter().all(|event| event.stream == events[0].stream) && unless.is_none()
            {
                let path = format!("/v1/streams/{}", events[0].stream);
                let mut body = String::with_capacity(400 * events.len());
                body.push_str("{\"events\":");
                write_events(&mut body, events)?;
                body.push('}');
                self.send(Method::POST, &path, "application/json", body).await?
            } else {
                self.send(Method::POST, "/v1/append", "application/json", append_body(events, unless)?)
                    .await?
            };
            ensure!(response.status() == StatusCode::CREATED, "stored nothing: {}", response.status());
            response.into_body().collect().await?;
            Ok(())
        })
    }

    fn read_all(&mut self) -> Later<'_, u64> {
        Box::pin(async {
            let response = self.send(Method::GET, "/v1/all", "application/x-ndjson", String::new()).await?;
            let mut body = response.into_body();
            let (mut count, mut rest) = (0, BytesMut::new());
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame?.into_data() else { continue };
                rest.extend_from_slice(&data);
                let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
                let lines = rest.split_to(end + 1);
                for line in lines.as_ref().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    let read: Read<'_> = serde_json::from_slice(line)?;
                    count += u64::from(read.data.get().len() > 2);
                }
            }
            ensure!(rest.is_empty(), "the answer ends within a line");
            Ok(count)
        })
    }

    fn read_entity<'a>(&'a mut self, by: By, entity: &'a str) -> Later<'a, u64> {
        Box::pin(async move {
            let path = match by {
                By::Stream => format!("/v1/streams/loan-{entity}"),
                By::Tag => format!("/v1/tags/customer:{entity}"),
            };
            let body = self.get(&path).await?;
            let page: Page<'_> = serde_json::from_slice(&body)?;
            Ok(page.events.len() as u64)
        })
    }

    fn follow(&mut self) -> Later<'_, Box<dyn Follow>> {
        Box::pin(async {
            let mut connection = Connection::open(&self.address).await?;
            let response =
                connection.send(Method::GET, "/v1/all?from=end", "text/event-stream", String::new()).await?;
            let followed =
                Followed { body: response.into_body(), rest: BytesMut::new(), _connection: connection };
            Ok(Box::new(followed) as Box<dyn Follow>)
        })
    }
}

struct Followed {
    body: Incoming,
    rest: BytesMut,
    _connection: Connection,
}

impl Follow for Followed {
    fn next(&mut self) -> Later<'_, u64> {
        Box::pin(async {
            loop {
                let frame = self.body.frame().await.context("the event stream ended")??;
                let Ok(data) = frame.into_data() else { continue };
                self.rest.extend_from_slice(&data);
                let mut count = 0;
                while let Some(end) = self.rest.windows(2).position(|pair| pair == b"\n\n") {
                    let message = self.rest.split_to(end + 2);
                    let mut lines = message.as_ref().split(|byte| *byte == b'\n');
                    if let Some(line) = lines.find_map(|line| line.strip_prefix(b"data:".as_slice()))
                        && serde_json::from_slice::<Read<'_>>(line).is_ok()
                    {
                        count += 1;
                    }
                }
                if count > 0 {
                    return Ok(count);
                }
            }
        })
    }
}

fn write_events(out: &mut String, events: &[Event]) -> Result<()> {
    out.push('[');
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        let id = uuid_text(&event.id);
        let data = std::str::from_utf8(&event.data)?;
        write!(out, r#"{{"id":"{id}","type":"{}","tags":["{}"],"data":{data}}}"#, event.kind, event.tag)?;
    }
    out.push(']');
    Ok(())
}

fn append_body(events: &[Event], unless: Option<&str>) -> Result<String> {
    let mut body = String::with_capacity(450 * events.len());
    body.push_str("{\"streams\":[");
    for (index, of_stream) in events.chunk_by(|a, b| a.stream == b.stream).enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(body, r#"{comma}{{"stream":"{}","events":"#, of_stream[0].stream)?;
        write_events(&mut body, of_stream)?;
        body.push('}');
    }
    body.push(']');
    if let Some(kind) = unless {
        write!(body, r#","condition":{{"query":{{"items":[{{"types":["{kind}"]}}]}}}}"#)?;
    }
    body.push('}');
    Ok(body)
}
