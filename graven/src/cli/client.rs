//! The HTTP client of the command line: plain HTTP/1.1 to one server.

use super::problem;
use graven_model::error::Details;
use graven_model::{Code, Error, Result};
use std::sync::Mutex;
use std::time::Duration;
use ureq::http::{HeaderMap, Method, Request, Response};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence of the server: longer than an append may take there. Followed reads get a comment every 15 s.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(90);
/// Bytes of one answer: the largest page in JSON with base64 and names.
const ANSWER_BYTES_MAX: u64 = 192 << 20;

/// Nodes that name another one as the writer, one after the other, before the last one's answer is taken.
const HOPS_MAX: usize = 3;

/// One server. What it refuses because another node writes goes to that one.
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
    /// The node that writes, once it was named.
    writer: Mutex<Option<String>>,
}

/// A request before it is sent.
pub(crate) struct Call<'a> {
    /// Method.
    pub(crate) method: Method,
    /// Path and query, percent-encoded.
    pub(crate) target: &'a str,
    /// Headers beside `Accept` and `Content-Type`.
    pub(crate) headers: &'a [(&'static str, String)],
    /// Media type wanted.
    pub(crate) accept: &'static str,
    /// Media type and bytes of the body.
    pub(crate) body: Option<(&'static str, &'a [u8])>,
}

impl<'a> Call<'a> {
    /// A `GET` of JSON.
    pub(crate) fn get(target: &'a str) -> Call<'a> {
        Call { method: Method::GET, target, headers: &[], accept: "application/json", body: None }
    }

    /// A request with a body, answered in JSON.
    pub(crate) fn with_body(
        method: Method,
        target: &'a str,
        media_type: &'static str,
        body: &'a [u8],
    ) -> Call<'a> {
        Call { method, body: Some((media_type, body)), ..Call::get(target) }
    }
}

impl Client {
    /// A client of the server at `url`; nothing is sent yet.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] if the address is not `http://host:port`.
    pub(crate) fn new(url: &str) -> Result<Client> {
        let refuse = |why: &str| {
            Err(Error::new(Code::InvalidConfig, format!("--url {url:?} {why}"))
                .expected("an address such as http://127.0.0.1:2113"))
        };
        if url.starts_with("https://") {
            return refuse("asks for TLS, which this version does not speak");
        }
        let Some(authority) = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) else {
            return refuse("is not an http:// address");
        };
        if authority.is_empty() || authority.contains(['?', '#', ' ']) {
            return refuse("is not an address of a server");
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("graven/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(SILENCE_TIMEOUT))
            .timeout_per_write(Some(SILENCE_TIMEOUT))
            .build();
        Ok(Client { agent: config.into(), base: format!("http://{authority}"), writer: Mutex::default() })
    }

    /// The server's address.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Sends a request and gives the body of the answer as it streams in.
    ///
    /// # Errors
    /// The server's own error, [`Code::ConnectionFailed`] or [`Code::Timeout`].
    pub(crate) fn open(&self, call: &Call<'_>) -> Result<ureq::Body> {
        Ok(self.answer(call)?.into_body())
    }

    fn answer(&self, call: &Call<'_>) -> Result<Response<ureq::Body>> {
        // Reads stay where they are, and what is about a node is for no other one.
        if call.method == Method::GET || call.target.starts_with("/v1/node") {
            return self.ask(&self.base, call);
        }
        let writer = || self.writer.lock().expect("nothing panics while it holds the writer");
        let mut hops = 0;
        loop {
            let base = writer().clone().unwrap_or_else(|| self.base.clone());
            let error = match self.ask(&base, call) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let named = match &error.details {
                Details::Writer(url) if error.code == Code::NotTheWriter => Client::new(url).ok(),
                _ => None,
            };
            if error.code.entry().retryable {
                *writer() = named.as_ref().map(|named| named.base.clone());
            }
            hops += 1;
            if named.is_none() || hops > HOPS_MAX {
                return Err(error);
            }
        }
    }

    fn ask(&self, base: &str, call: &Call<'_>) -> Result<Response<ureq::Body>> {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(format!("{base}{}", call.target))
            .header("Accept", call.accept);
        for (name, value) in call.headers {
            request = request.header(*name, value);
        }
        let refused = |error: ureq::http::Error| {
            Error::new(Code::BadRequest, format!("the request cannot be made: {error}"))
        };
        let answer = match call.body {
            Some((media_type, body)) => {
                self.agent.run(request.header("Content-Type", media_type).body(body).map_err(refused)?)
            }
            None => self.agent.run(request.body(()).map_err(refused)?),
        };
        let answer = answer.map_err(|error| failed(base, call.target, &error))?;
        let status = answer.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let bytes = self.read_all(call.target, answer.into_body())?;
        Err(problem::to_error(status, &bytes, base))
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub(crate) fn send(&self, call: &Call<'_>) -> Result<Vec<u8>> {
        let body = self.open(call)?;
        self.read_all(call.target, body)
    }

    /// [`Client::send`] that gives the answer's headers too.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub(crate) fn send_for_headers(&self, call: &Call<'_>) -> Result<(HeaderMap, Vec<u8>)> {
        let (head, body) = self.answer(call)?.into_parts();
        Ok((head.headers, self.read_all(call.target, body)?))
    }

    /// [`Client::send`] for an answer in UTF-8.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub(crate) fn send_text(&self, call: &Call<'_>) -> Result<String> {
        String::from_utf8(self.send(call)?).map_err(|_| foreign(&self.base, "it is not UTF-8"))
    }

    fn read_all(&self, target: &str, mut body: ureq::Body) -> Result<Vec<u8>> {
        let read = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        read.map_err(|error| failed(&self.base, target, &error))
    }
}

fn failed(base: &str, target: &str, error: &ureq::Error) -> Error {
    let code = match error {
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => Code::ConnectionFailed,
        ureq::Error::Timeout(_) => Code::Timeout,
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => Code::InvalidConfig,
        _ => Code::ConnectionFailed,
    };
    let path = target.split('?').next().unwrap_or_default();
    Error::new(code, format!("no answer from {base}{path}: {error}"))
}

/// An answer that no graven server gives.
pub(crate) fn foreign(base: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Code::ConnectionFailed, format!("the answer of {base} is not one of a graven server: {why}"))
}

/// A path segment, percent-encoded.
pub(crate) fn encode(text: &str) -> String {
    let dots = matches!(text, "." | "..");
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'.' if dots => out.push_str("%2E"),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => {
                use std::fmt::Write as _;
                write!(out, "%{byte:02X}").expect("a String takes everything");
            }
        }
    }
    out
}

/// `path` with its parameters, encoded.
pub(crate) fn target(path: &str, parameters: &[(&str, String)]) -> String {
    let mut out = path.to_owned();
    for (index, (name, value)) in parameters.iter().enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        out.push_str(&encode(value));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_parameters_are_percent_encoded() {
        assert_eq!(encode("loan-1/ä b"), "loan-1%2F%C3%A4%20b");
        assert_eq!(encode(".."), "%2E%2E");
        assert_eq!(
            target("/v1/all", &[("from", "a&b".into()), ("limit", "5".into())]),
            "/v1/all?from=a%26b&limit=5"
        );
    }

    #[test]
    fn addresses_that_are_not_plain_http_are_refused_with_the_reason() {
        for (url, why) in [
            ("https://example.org", "TLS"),
            ("localhost:2113", "not an http:// address"),
            ("http://", "not an address of a server"),
        ] {
            let error = Client::new(url).err().unwrap();
            assert_eq!(error.code, Code::InvalidConfig);
            assert!(error.message.contains(why), "{error}");
        }
        assert_eq!(Client::new("http://h:1/").unwrap().base(), "http://h:1");
    }
}
