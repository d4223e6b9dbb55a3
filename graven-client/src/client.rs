//! [`Client`]: a connection to a server, and how its calls are tried again.

use crate::append::{AppendSession, Handle, Tally};
use crate::audit::Pin;
use crate::backoff::Backoff;
use crate::options::Options;
use crate::status;
use crate::writer::{Hops, Next, Writer};
use graven_model::{Code, Error, Position, Receipt, Result};
use graven_proto::wire::{self, event_store_client::EventStoreClient};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Mutex;
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
    /// What reads have to see, beside what was acknowledged.
    seeing: Option<Position>,
}

struct Inner {
    gathered: Handle,
    writer: Arc<Writer>,
    reads: Channel,
    options: Options,
    tally: Arc<Tally>,
    pin: Option<Mutex<Pin>>,
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
    /// As freely, at the node that writes, which alone has the answer.
    AtWriter,
    /// Only if it is certain that nothing was changed; at the node that writes.
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

    pub(crate) fn new(url: &str, appends: Channel, reads: Channel, options: Options) -> Client {
        let tally = Arc::new(Tally::default());
        let writer = Arc::new(Writer::new(url, appends, &options));
        let gathered = Handle::new(writer.clone(), &options, tally.clone());
        let pin = options.pin.clone().map(Mutex::new);
        Client { inner: Arc::new(Inner { gathered, writer, reads, options, tally, pin }), seeing: None }
    }

    /// The same client, whose reads see the event at a position, such as the last one of a receipt that somebody else
    /// got: the node they go to answers once it has it. It waits for some seconds, and the client asks again until its
    /// deadline; then the error is [`Code::NotYetThere`]. Followers do not wait.
    #[must_use]
    pub fn seeing(&self, position: Position) -> Client {
        Client { inner: self.inner.clone(), seeing: self.seeing.max(Some(position)) }
    }

    /// What a read has to see.
    pub(crate) fn min_position(&self) -> Option<u64> {
        let options = &self.inner.options;
        let own = options.read_your_writes.then(|| self.inner.writer.last_acknowledged()).flatten();
        self.seeing.max(own).map(|position| position.0)
    }

    /// Takes note of a receipt.
    pub(crate) fn acknowledged(&self, receipt: wire::Receipt) -> Result<Receipt> {
        let receipt = Receipt::try_from(receipt)?;
        self.inner.writer.acknowledged(&receipt);
        Ok(receipt)
    }

    /// Takes note of an event that is durable.
    pub(crate) fn reached(&self, position: Position) {
        self.inner.writer.reached(position);
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

    /// What this client and its clones saw last of the log's checkpoints.
    pub(crate) fn pin(&self) -> Option<&Mutex<Pin>> {
        self.inner.pin.as_ref()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Where the appends of all clones go.
    pub(crate) fn gathered(&self) -> &Handle {
        &self.inner.gathered
    }

    pub(crate) fn new_link(&self) -> Handle {
        Handle::new(self.inner.writer.clone(), &self.inner.options, self.inner.tally.clone())
    }

    /// The connection of everything but appends.
    pub(crate) fn reads(&self) -> Channel {
        self.inner.reads.clone()
    }

    /// The generated client over it.
    pub(crate) fn service(&self) -> Service {
        service(self.reads())
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.inner.options.pause_first, self.inner.options.pause_longest)
    }

    /// Sees that a Graven server is there, once and without patience.
    pub(crate) async fn greet(&self) -> Result<()> {
        let after = self.inner.options.connect_timeout;
        let mut service = self.service();
        match timeout_at(Instant::now() + after, service.info(wire::InfoRequest::default())).await {
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
        let writer = &self.inner.writer;
        let mut hops = Hops::default();
        loop {
            let aim = (repeat != Repeat::Freely).then(|| writer.aim());
            let service = aim.as_ref().map_or_else(|| self.service(), |aim| service(aim.channel.clone()));
            let Ok(answer) = timeout_at(deadline, send(service, message.clone())).await else {
                aim.iter().for_each(|aim| writer.failed(aim));
                return Err(late(what, after, last));
            };
            let error = match answer {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => status::error_of(&status),
            };
            let entry = error.code.entry();
            let mut next = Next::AfterPause;
            match &aim {
                Some(aim) if error.code == Code::NotTheWriter => {
                    next = hops.next(writer.refused(aim, &error))
                }
                Some(aim) if entry.retryable => writer.failed(aim),
                _ => {}
            }
            let may_be_done = repeat == Repeat::IfUntouched && !entry.no_side_effects;
            // How long these last is not a matter of a call.
            let lasts =
                matches!(error.code, Code::NotSealedYet | Code::VerificationRunning | Code::GroupFull);
            if !entry.retryable || lasts || may_be_done || next == Next::GiveUp {
                return Err(error);
            }
            if next == Next::AtOnce {
                last = Some(error);
                continue;
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

fn service(channel: Channel) -> Service {
    EventStoreClient::new(channel).max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX)
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
