//! [`Client`]: a connection to a server, and how its calls are tried again.

use crate::append::{AppendSession, Handle, Tally};
use crate::backoff::Backoff;
use crate::options::Options;
use crate::status;
use graven_model::{Code, Error, Result};
use graven_proto::wire::{self, event_store_client::EventStoreClient};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::transport::Channel;
use tonic::{Response, Status};

/// A connection to a Graven server; cheap to clone. Its verbs are those of [`crate::EventStore`], and the ones here that
/// only make sense over a network.
///
/// Appends of all clones are gathered into one session. The connection is made again when it breaks.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    gathered: Handle,
    appends: Channel,
    reads: Channel,
    options: Options,
    tally: Arc<Tally>,
}

/// What went through a client since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Append sessions that were opened: one, and one more for every lost connection and every
    /// [`Client::append_session`].
    pub append_sessions: u64,
    /// Appends sent, not counting what was sent again because a connection broke.
    pub appends: u64,
    /// Calls tried again after a refusal that may pass or an unknown outcome.
    pub retries: u64,
}

/// The generated client over one connection; cheap to clone.
pub(crate) type Service = EventStoreClient<Channel>;

/// When a call may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Whenever that may help: it changes nothing.
    Freely,
    /// Only if it is certain that nothing was changed.
    IfUntouched,
}

impl Client {
    /// Connects to `http://host:port` with default [`Options`].
    ///
    /// # Errors
    /// As [`Options::connect`].
    pub async fn connect(url: &str) -> Result<Client> {
        Options::default().connect(url).await
    }

    pub(crate) fn new(appends: Channel, reads: Channel, options: Options) -> Client {
        let tally = Arc::new(Tally::default());
        let gathered = Handle::new(appends.clone(), &options, tally.clone());
        Client { inner: Arc::new(Inner { gathered, appends, reads, options, tally }) }
    }

    /// A session of its own for appends whose order among each other matters.
    #[must_use]
    pub fn append_session(&self) -> AppendSession {
        AppendSession::new(self)
    }

    /// What went through this client and its clones.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let tally = &self.inner.tally;
        Counters {
            append_sessions: tally.sessions.load(Ordering::Relaxed),
            appends: tally.appends.load(Ordering::Relaxed),
            retries: tally.retries.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Where the appends of all clones go.
    pub(crate) fn gathered(&self) -> &Handle {
        &self.inner.gathered
    }

    pub(crate) fn new_link(&self) -> Handle {
        Handle::new(self.inner.appends.clone(), &self.inner.options, self.inner.tally.clone())
    }

    /// The connection of everything but appends.
    pub(crate) fn reads(&self) -> Channel {
        self.inner.reads.clone()
    }

    /// The generated client over it.
    pub(crate) fn service(&self) -> Service {
        EventStoreClient::new(self.reads())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.inner.options.pause_first, self.inner.options.pause_longest)
    }

    /// Sees that a Graven server is there, once and without patience.
    pub(crate) async fn greet(&self) -> Result<()> {
        let after = self.inner.options.connect_timeout;
        let mut service = self.service();
        match timeout_at(Instant::now() + after, service.info(wire::InfoRequest {})).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(status::error_of(&status)),
            Err(_) => Err(late("the server", after, None)),
        }
    }

    /// Makes a call, again if need be, until the deadline.
    pub(crate) async fn call<M, R, F>(
        &self,
        what: &'static str,
        repeat: Repeat,
        message: M,
        send: impl Fn(Service, M) -> F,
    ) -> Result<R>
    where
        M: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let after = self.inner.options.deadline;
        let deadline = Instant::now() + after;
        let (mut backoff, mut last) = (None, None);
        loop {
            let Ok(answer) = timeout_at(deadline, send(self.service(), message.clone())).await else {
                return Err(late(what, after, last));
            };
            let error = match answer {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => status::error_of(&status),
            };
            let entry = error.code.entry();
            if !entry.retryable || (repeat == Repeat::IfUntouched && !entry.no_side_effects) {
                return Err(error);
            }
            let pause = backoff.get_or_insert_with(|| self.backoff()).pause();
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            tracing::debug!(%error, what, "a call is tried again");
            self.inner.tally.retried();
            last = Some(error);
            sleep(pause).await;
        }
    }
}

fn late(what: &str, after: Duration, last: Option<Error>) -> Error {
    let error = Error::new(Code::Timeout, format!("{what} did not answer within {} ms", after.as_millis()));
    match last {
        Some(last) => error.found(last.to_string()),
        None => error,
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.inner.options).finish_non_exhaustive()
    }
}
