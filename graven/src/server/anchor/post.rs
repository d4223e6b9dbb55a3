//! Sending a request and reading the answer, bounded in bytes and time.

use super::trust::{Trust, objection};
use graven_model::{Code, Error, Result};
use graven_proof::{timestamp, witness};
use std::time::Duration;

/// A whole exchange, connection included.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where requests of one kind go.
pub(super) struct Post {
    agent: ureq::Agent,
    url: String,
    media_type: &'static str,
    answer_bytes_max: usize,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Post {
    /// To a witness at this URL.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`].
    pub(super) fn to_witness(url: &str, trust: &Trust) -> Result<Post> {
        let url = format!("{}{}", url.trim_end_matches('/'), witness::ADD_CHECKPOINT);
        Post::new(url, trust, "text/plain; charset=utf-8", witness::ANSWER_BYTES_MAX)
    }

    /// To a timestamp authority at this URL.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`].
    pub(super) fn to_authority(url: &str, trust: &Trust) -> Result<Post> {
        Post::new(url.to_owned(), trust, timestamp::QUERY_MEDIA_TYPE, timestamp::RESPONSE_BYTES_MAX)
    }

    fn new(url: String, trust: &Trust, media_type: &'static str, answer_bytes_max: usize) -> Result<Post> {
        let spoken = |uri: &ureq::http::Uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
        };
        if !url.parse().is_ok_and(|uri| spoken(&uri)) {
            return Err(Error::new(
                Code::InvalidConfig,
                format!("{url:?} is no address to send checkpoints to"),
            )
            .expected("http://HOST:PORT or https://HOST:PORT"));
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("graven/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(EXCHANGE_TIMEOUT))
            .tls_config(trust.tls())
            .build();
        Ok(Post { agent: config.into(), url, media_type, answer_bytes_max })
    }

    /// Sends a body.
    ///
    /// # Errors
    /// [`Code::AnchorFailed`] if no whole answer came.
    pub(super) fn send(&self, body: &[u8]) -> Result<Answer> {
        let failed = |error: ureq::Error| {
            let why = objection(&error).unwrap_or_else(|| error.to_string());
            Error::new(Code::AnchorFailed, format!("no answer from {}: {why}", self.url))
        };
        let request = self.agent.post(&self.url).header("Content-Type", self.media_type);
        let answer = request.send(body).map_err(failed)?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        let body = body.with_config().limit(self.answer_bytes_max as u64).read_to_vec().map_err(failed)?;
        Ok(Answer { status, body })
    }

    /// Where it goes.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}
