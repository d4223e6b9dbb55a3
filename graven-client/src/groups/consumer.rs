//! [`GroupConsumer`]: consumes over connections that may break.

use crate::backoff::Backoff;
use crate::client::{Client, Repeat, Service};
use crate::status;
use futures_util::stream::unfold;
use graven_model::{Code, Delivery, Error, GroupName, Nack, Position, Result};
use graven_proto::wire::{self, consume_request, consume_response};
use parking_lot::Mutex;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Response, Status, Streaming};

/// Acknowledgements on their way to the connection; further ones wait.
const SAYING_MAX: usize = 256;

/// How a consumer comes to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumeOptions {
    /// What it calls itself; nothing by default.
    pub name: String,
    /// Events it has in its hands at the most; 32 by default.
    pub buffer: u32,
}

impl Default for ConsumeOptions {
    fn default() -> ConsumeOptions {
        ConsumeOptions { name: String::new(), buffer: graven_proto::group::CONSUMER_BUFFER_DEFAULT }
    }
}

/// One of a group's consumers.
///
/// Every delivery has to be acknowledged, or said to have failed, before the group's message time-out; otherwise it is delivered
/// again, to this consumer or to another. Leaving, or dropping the consumer, gives back what it has in its hands.
///
/// When the connection breaks, or the group was updated or reset, it connects again, without end and with growing pauses.
/// **What it had in its hands is void then**: the group delivers it again, to whomever. An acknowledgement of such an event
/// counts only if the event has come to this consumer again by then; otherwise it is passed over, and the event is processed
/// twice. Who must notice compares [`GroupConsumer::id`], which is another one after every connection.
pub struct GroupConsumer {
    client: Client,
    options: wire::ConsumeOptions,
    backoff: Backoff,
    id: u64,
    state: State,
    says: Consumed,
}

enum State {
    Live(Box<Streaming<wire::ConsumeResponse>>),
    Pausing(Instant),
    /// Behind a lock that nobody waits for, so that a consumer may be looked at by several threads.
    Opening(Mutex<Pin<Box<dyn Future<Output = Result<Connected>> + Send>>>),
    Ended,
}

type Said = mpsc::Sender<wire::ConsumeRequest>;

struct Connected {
    id: u64,
    deliveries: Box<Streaming<wire::ConsumeResponse>>,
    says: Said,
}

/// Where a consumer says what became of deliveries; cheap to clone, so that tasks beside the one that awaits deliveries
/// can say it themselves. Goes on working when the consumer connects again.
#[derive(Clone, Default)]
pub struct Consumed(Arc<Mutex<Option<Said>>>);

impl GroupConsumer {
    pub(super) async fn open(
        client: Client,
        group: &GroupName,
        options: &ConsumeOptions,
    ) -> Result<GroupConsumer> {
        let options = wire::ConsumeOptions {
            group: group.to_string(),
            name: options.name.clone(),
            // Nothing but the server's choice would be said with zero, which is no number of events.
            buffer: match options.buffer {
                0 => return Err(Error::new(Code::InvalidGroup, "a consumer that takes no events")),
                buffer => buffer,
            },
        };
        let connected = connect(client.clone(), options.clone()).await?;
        let (backoff, says) = (client.backoff(), Consumed::default());
        let mut consumer = GroupConsumer { client, options, backoff, id: 0, state: State::Ended, says };
        consumer.go_live(connected);
        Ok(consumer)
    }

    /// The next delivery. Waits for one, and for a connection. A dropped future loses nothing.
    ///
    /// # Errors
    /// What keeps the consumer from ever getting one: [`Code::GroupNotFound`] once the group was deleted. Then
    /// [`Code::Closed`] for ever.
    pub async fn next(&mut self) -> Result<Delivery> {
        loop {
            // Every wait is on something `self` keeps, so that a dropped future loses nothing.
            let error = match &mut self.state {
                State::Live(deliveries) => match deliveries.message().await {
                    Ok(Some(wire::ConsumeResponse { content: Some(content) })) => {
                        self.backoff.reset();
                        match content {
                            consume_response::Content::Delivery(delivery) => return delivery.try_into(),
                            consume_response::Content::Connected(_) => continue,
                        }
                    }
                    // A word of a later version.
                    Ok(Some(_)) => continue,
                    Ok(None) => Error::new(Code::ConnectionFailed, "the server ended the call"),
                    Err(status) => status::error_of(&status),
                },
                State::Pausing(until) => {
                    sleep_until(*until).await;
                    let opening = connect(self.client.clone(), self.options.clone());
                    self.state = State::Opening(Mutex::new(Box::pin(opening)));
                    continue;
                }
                State::Opening(opening) => match opening.get_mut().await {
                    Ok(connected) => {
                        self.go_live(connected);
                        continue;
                    }
                    Err(error) => error,
                },
                State::Ended => return Err(Error::new(Code::Closed, "the consumer ended with an error")),
            };
            self.says.hang_up();
            if !error.code.entry().retryable {
                self.state = State::Ended;
                return Err(error);
            }
            tracing::warn!(%error, "a consumer lost its connection");
            self.state = State::Pausing(Instant::now() + self.backoff.pause());
        }
    }

    /// Says that events were processed. Those that are not in the consumer's hands (any more) are passed over.
    ///
    /// It is on its way when this returns. What was said before a connection broke may be lost, and the event comes again.
    ///
    /// # Errors
    /// [`Code::ConnectionFailed`] while there is no connection: the events are delivered again.
    pub async fn ack(&self, positions: &[Position]) -> Result<()> {
        self.says.ack(positions).await
    }

    /// Says that events were not processed, what becomes of them, and what went wrong.
    ///
    /// # Errors
    /// As [`GroupConsumer::ack`].
    pub async fn nack(&self, positions: &[Position], action: Nack, reason: &str) -> Result<()> {
        self.says.nack(positions, action, reason).await
    }

    /// Leaves the group once it has heard everything that was said. Dropping the consumer does not wait for that: what was said
    /// last may be lost then, and the events come again.
    ///
    /// # Errors
    /// [`Code::ConnectionFailed`] if there is no connection, [`Code::Timeout`] after the deadline of the client's calls; then it
    /// is not known whether everything was heard.
    pub async fn leave(mut self) -> Result<()> {
        self.says.hang_up();
        let State::Live(deliveries) = &mut self.state else {
            return Err(Error::new(Code::ConnectionFailed, "the consumer is not connected"));
        };
        let drained = async {
            while deliveries.message().await?.is_some() {}
            Ok::<_, Status>(())
        };
        match timeout(self.client.options().deadline, drained).await {
            Ok(ended) => ended.map_err(|status| status::error_of(&status)),
            Err(_) => Err(Error::new(Code::Timeout, "the server did not end the call")),
        }
    }

    /// [`GroupConsumer::ack`] and [`GroupConsumer::nack`] for other tasks.
    #[must_use]
    pub fn consumed(&self) -> Consumed {
        self.says.clone()
    }

    /// The id under which the server knows this connection.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    fn go_live(&mut self, connected: Connected) {
        self.id = connected.id;
        *self.says.0.lock() = Some(connected.says);
        self.state = State::Live(connected.deliveries);
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        // The call ends now, even if somebody else still holds a `Consumed`.
        self.says.hang_up();
    }
}

impl Consumed {
    /// See [`GroupConsumer::ack`].
    ///
    /// # Errors
    /// As [`GroupConsumer::ack`].
    pub async fn ack(&self, positions: &[Position]) -> Result<()> {
        let positions = positions.iter().map(|position| position.0).collect();
        self.say(consume_request::Content::Ack(wire::Acknowledgement { positions })).await
    }

    /// See [`GroupConsumer::nack`].
    ///
    /// # Errors
    /// As [`GroupConsumer::ack`].
    pub async fn nack(&self, positions: &[Position], action: Nack, reason: &str) -> Result<()> {
        let nack = wire::NegativeAcknowledgement {
            positions: positions.iter().map(|position| position.0).collect(),
            action: wire::NackAction::from(action) as i32,
            reason: reason.to_owned(),
        };
        self.say(consume_request::Content::Nack(nack)).await
    }

    async fn say(&self, content: consume_request::Content) -> Result<()> {
        let says = self.0.lock().clone();
        let request = wire::ConsumeRequest { content: Some(content) };
        let said = match says {
            Some(says) => says.send(request).await.is_ok(),
            None => false,
        };
        said.then_some(()).ok_or_else(|| {
            Error::new(
                Code::ConnectionFailed,
                "the consumer is not connected; the events are delivered again",
            )
        })
    }

    fn hang_up(&self) {
        self.0.lock().take();
    }
}

/// Connects to the group at the node that writes, and waits until the server says so.
async fn connect(client: Client, options: wire::ConsumeOptions) -> Result<Connected> {
    client.call("the consumer", Repeat::AtWriter, options, open).await
}

async fn open(mut service: Service, options: wire::ConsumeOptions) -> Result<Response<Connected>, Status> {
    let (says, said) = mpsc::channel(SAYING_MAX);
    let first = wire::ConsumeRequest { content: Some(consume_request::Content::Options(options)) };
    says.try_send(first).expect("the channel is empty");
    let said = unfold(said, async |mut said| said.recv().await.map(|request| (request, said)));
    let mut deliveries = service.consume(said).await?.into_inner();
    match deliveries.message().await? {
        Some(wire::ConsumeResponse { content: Some(consume_response::Content::Connected(id)) }) => {
            Ok(Response::new(Connected { id, deliveries: Box::new(deliveries), says }))
        }
        _ => Err(Status::unavailable("the server did not say that the consumer is connected")),
    }
}

impl fmt::Debug for GroupConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupConsumer")
            .field("options", &self.options)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Consumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumed").field("connected", &self.0.lock().is_some()).finish()
    }
}
