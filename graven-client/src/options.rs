//! [`Options`]: bounds, deadlines and pauses of a connection.

use crate::audit::Pin;
use crate::client::Client;
use graven_model::{Code, Error, Result};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// Bytes a server may send ahead on one stream before its events are taken. What a slow reader holds of memory.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;

/// Bytes of one HTTP/2 frame: fewer, larger ones for what is read in bulk.
const FRAME_BYTES_MAX: u32 = 256 << 10;

/// No bound on top of those of the streams: with one, followers whose events wait to be taken would bring every other
/// read on the connection to a halt, that of their own consumer among them.
const CONNECTION_WINDOW_BYTES: u32 = i32::MAX as u32;

/// How a client connects, how long it tries, and how much it has under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// For one attempt to connect; 5 s by default.
    pub connect_timeout: Duration,
    /// For a call with all its retries; 30 s by default. Followers are not bound by it.
    pub deadline: Duration,
    /// About the pause before the first retry, 10 ms by default. The pauses double, with jitter.
    pub pause_first: Duration,
    /// The pause between retries at the most; 1 s by default.
    pub pause_longest: Duration,
    /// Appends under way at the most, 4,096 by default; further ones wait.
    pub appends_in_flight_max: u32,
    /// Bytes of appends under way at the most, 32 MiB by default; further ones wait. A larger append goes alone.
    pub bytes_in_flight_max: u32,
    /// A server that says nothing for this long is asked whether it is there; 15 s by default.
    pub keep_alive_interval: Duration,
    /// If it does not answer for this long, the connection is given up; 10 s by default.
    pub keep_alive_timeout: Duration,
    /// Reads see what this client's appends were acknowledged with, though they go to a node that follows the one that
    /// took the appends; true by default. They wait for it there. Followers of this client do not wait.
    pub read_your_writes: bool,
    /// Whom to believe, and the checkpoint seen last: every checkpoint that comes is verified and has to be consistent with it; none
    /// by default.
    pub pin: Option<Pin>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            connect_timeout: Duration::from_secs(5),
            deadline: Duration::from_secs(30),
            pause_first: Duration::from_millis(10),
            pause_longest: Duration::from_secs(1),
            appends_in_flight_max: 4_096,
            bytes_in_flight_max: 32 << 20,
            keep_alive_interval: Duration::from_secs(15),
            keep_alive_timeout: Duration::from_secs(10),
            read_your_writes: true,
            pin: None,
        }
    }
}

impl Options {
    /// Connects to `http://host:port` and asks who is there, so that a wrong address is an error here.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] for what is no such address; [`Code::ConnectionFailed`] if nobody answers.
    pub async fn connect(self, url: &str) -> Result<Client> {
        let client = self.connect_lazy(url)?;
        client.greet().await?;
        Ok(client)
    }

    /// Connects with the first call. Has to be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] for an address that is not `http://host:port`, or options out of bounds.
    pub fn connect_lazy(self, url: &str) -> Result<Client> {
        self.check()?;
        // Two connections: a long read does not stand in the way of appends.
        Ok(Client::new(url, self.channel(url)?, self.channel(url)?, self))
    }

    /// A connection that is made when it is used. Has to be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] for an address that is not `http://host:port`.
    pub(crate) fn channel(&self, url: &str) -> Result<Channel> {
        Ok(self.endpoint(url)?.connect_lazy())
    }

    fn check(&self) -> Result<()> {
        let positive = [
            ("connect_timeout", self.connect_timeout),
            ("deadline", self.deadline),
            ("pause_first", self.pause_first),
            ("pause_longest", self.pause_longest),
            ("keep_alive_interval", self.keep_alive_interval),
            ("keep_alive_timeout", self.keep_alive_timeout),
        ];
        let zero = positive.iter().find(|(_, duration)| duration.is_zero()).map(|(name, _)| *name);
        let zero = zero.or((self.appends_in_flight_max == 0).then_some("appends_in_flight_max"));
        match zero.or((self.bytes_in_flight_max == 0).then_some("bytes_in_flight_max")) {
            Some(name) => Err(Error::new(Code::InvalidConfig, format!("{name} is zero"))),
            None => Ok(()),
        }
    }

    fn endpoint(&self, url: &str) -> Result<Endpoint> {
        let invalid = |found: &str| {
            Error::new(Code::InvalidConfig, format!("{url:?} is not the address of a server"))
                .expected("http://host:port")
                .found(found)
        };
        if url.starts_with("https:") {
            return Err(invalid("https, which this version does not speak"));
        }
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| invalid(&error.to_string()))?;
        if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().host().is_none() {
            return Err(invalid("no scheme or no host"));
        }
        Ok(endpoint
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .http2_keep_alive_interval(self.keep_alive_interval)
            .keep_alive_timeout(self.keep_alive_timeout)
            .keep_alive_while_idle(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_refused() {
        for bad in ["", "127.0.0.1:2113", "https://localhost:2113", "ftp://x", "http://", "http://a b"] {
            assert_eq!(Options::default().endpoint(bad).unwrap_err().code, Code::InvalidConfig, "{bad}");
        }
        assert!(Options::default().endpoint("http://localhost:2113").is_ok());
    }

    #[test]
    fn an_option_of_zero_is_refused_by_name() {
        let options = Options { bytes_in_flight_max: 0, ..Options::default() };
        assert!(options.check().unwrap_err().message.contains("bytes_in_flight_max"));
        let options = Options { deadline: Duration::ZERO, ..Options::default() };
        assert!(options.check().unwrap_err().message.contains("deadline"));
    }
}
