//! A small HTTP client for tests.

use super::{PATIENCE, contract};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

/// Talks to one server.
#[derive(Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    url: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Status.
    pub(crate) status: u16,
    /// Headers, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as JSON, of an answer with this status.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// The problem, which must have this status and code.
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(problem["code"], code, "{problem}");
        problem
    }

    /// The code, if this is a problem.
    pub(crate) fn code(&self) -> Option<String> {
        (self.status >= 400).then(|| self.json()["code"].as_str().expect("a problem has a code").to_owned())
    }

    /// The body as one JSON value a line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }
}

impl Client {
    /// A client of the server at `url`.
    pub(crate) fn new(url: &str) -> Client {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_recv_body(Some(PATIENCE))
            .build();
        Client { agent: config.into(), url: url.to_owned() }
    }

    /// Sends a request and reads the whole answer, which must be as the OpenAPI document says.
    pub(crate) fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Answer {
        let answer = self.try_send(method, target, headers, body).expect("the server answers");
        contract::check(method, target, &answer);
        answer
    }

    /// [`Client::send`] that may find no server, and does not look at the document.
    ///
    /// # Errors
    /// What the connection says.
    pub(crate) fn try_send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Answer, ureq::Error> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{target}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = match body {
            Some(body) => self.agent.run(request.body(body).expect("a request"))?,
            None => self.agent.run(request.body(()).expect("a request"))?,
        };
        let (parts, mut body) = response.into_parts();
        let headers = parts.headers.iter();
        let headers = headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect();
        let body = body.with_config().limit(1 << 30).read_to_vec()?;
        Ok(Answer { status: parts.status.as_u16(), headers, body })
    }

    /// `GET`.
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], None)
    }

    /// `GET` with `Accept`.
    pub(crate) fn get_as(&self, target: &str, accept: &str) -> Answer {
        self.send("GET", target, &[("Accept", accept)], None)
    }

    /// `POST` of JSON.
    pub(crate) fn post(&self, target: &str, body: &Value) -> Answer {
        self.post_as(target, "application/json", body.to_string())
    }

    /// `POST` of anything.
    pub(crate) fn post_as(&self, target: &str, content_type: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send("POST", target, &[("Content-Type", content_type)], Some(body.as_ref()))
    }

    /// Appends one event of a type to a stream, with any expectation, and gives its position.
    pub(crate) fn append_one(&self, stream: &str, event_type: &str) -> u64 {
        let body = serde_json::json!({"events": [{"type": event_type, "data": {"of": stream}}]});
        let receipt = self.post(&format!("/v1/streams/{stream}"), &body).expect(201);
        receipt["last_position"].as_u64().expect("something was stored")
    }

    /// Begins an event stream, after `last_event_id` if there is one.
    pub(crate) fn follow(&self, target: &str, last_event_id: Option<&str>) -> EventStream {
        let mut request =
            self.agent.get(format!("{}{target}", self.url)).header("Accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        let response = request.call().expect("the server answers");
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        EventStream { lines: BufReader::new(Box::new(response.into_body().into_reader())) }
    }

    /// [`Client::follow`] that may find no server, or be refused.
    pub(crate) fn try_follow(&self, target: &str) -> Option<EventStream> {
        let request = self.agent.get(format!("{}{target}", self.url)).header("Accept", "text/event-stream");
        let response = request.call().ok().filter(|response| response.status().as_u16() == 200)?;
        Some(EventStream { lines: BufReader::new(Box::new(response.into_body().into_reader())) })
    }

    /// Sends bytes as they are on a connection of their own and reads what comes until the server closes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> String {
        let mut socket = self.socket();
        socket.write_all(bytes).expect("the server reads");
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends bytes as they are and closes the connection without waiting for an answer.
    pub(crate) fn break_off(&self, bytes: &[u8]) {
        let mut socket = self.socket();
        socket.write_all(bytes).expect("the server reads");
        socket.shutdown(Shutdown::Both).expect("the connection is open");
    }

    /// A connection of its own.
    pub(crate) fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(self.url.trim_start_matches("http://")).expect("the server accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket
    }
}

/// An open event stream.
pub(crate) struct EventStream {
    lines: BufReader<Box<dyn Read + Send + Sync>>,
}

/// One message of an event stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// `id:`
    pub(crate) id: Option<String>,
    /// `event:`
    pub(crate) event: String,
    /// `data:`, as JSON
    pub(crate) data: Value,
}

impl EventStream {
    /// The next message; `None` when the server ended the stream.
    pub(crate) fn next(&mut self) -> Option<Message> {
        self.try_next().expect("the stream goes on")
    }

    /// [`EventStream::next`] that may find the connection broken.
    ///
    /// # Errors
    /// What the connection says.
    pub(crate) fn try_next(&mut self) -> std::io::Result<Option<Message>> {
        let (mut id, mut event, mut data) = (None, String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end_matches('\n');
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.to_owned());
            } else if let Some(text) = line.strip_prefix("event: ") {
                event = text.to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                data.push_str(text);
            } else if line.is_empty() && !data.is_empty() {
                let data = serde_json::from_str(&data).expect("data is JSON");
                return Ok(Some(Message { id, event, data }));
            } else {
                assert!(line.is_empty() || line.starts_with(':'), "unexpected line {line:?}");
            }
        }
    }

    /// The next message that is an event.
    pub(crate) fn next_event(&mut self) -> Message {
        loop {
            let message = self.next().expect("the stream goes on");
            assert_ne!(message.event, "problem", "{}", message.data);
            if message.event == "event" {
                contract::check_schema("Event", &message.data);
                return message;
            }
        }
    }

    /// Skips to the message that says that everything there was has been given.
    pub(crate) fn until_caught_up(&mut self) -> Vec<Message> {
        let mut before = Vec::new();
        loop {
            let message = self.next().expect("the stream goes on");
            if message.event == "caught-up" {
                return before;
            }
            before.push(message);
        }
    }
}
