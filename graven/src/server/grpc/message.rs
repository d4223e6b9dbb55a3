//! The messages of a call. Room for one is taken before it is read, among the bodies of all requests.

use crate::server::App;
use crate::server::body::{HeldBody, discard};
use axum::body::{Body, HttpBody};
use bytes::{Buf, Bytes, BytesMut};
use graven_model::{Code, Error, Result};
use prost::Message;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

/// Bytes before a message: whether it is compressed, and its length.
pub(in crate::server) const PREFIX_BYTES: usize = 5;

/// A client that sends a message slower than this, in bytes a second, is cut off.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;

/// The messages of one call, in order.
pub(in crate::server) struct Messages {
    app: Arc<App>,
    body: Body,
    /// What came and was not used yet.
    chunk: Bytes,
    state: State,
    /// Ends the patience with a message that has begun, or that has to come.
    patience: Option<Pin<Box<Sleep>>>,
    /// The next message may take as long as it likes to begin.
    may_wait: bool,
}

enum State {
    /// Before a message, or inside its prefix.
    Prefix(BytesMut),
    /// Waiting for room.
    Room {
        length: usize,
        waiting: Pin<Box<dyn Future<Output = OwnedSemaphorePermit> + Send>>,
    },
    /// Inside a message.
    Inside {
        length: usize,
        room: OwnedSemaphorePermit,
        bytes: BytesMut,
    },
    Ended,
}

impl Messages {
    /// The messages of a call's body; unless they `may_wait`, the first has to come soon.
    pub(in crate::server) fn new(app: Arc<App>, body: Body, may_wait: bool) -> Messages {
        let state = State::Prefix(BytesMut::new());
        Messages { app, body, chunk: Bytes::new(), state, patience: None, may_wait }
    }

    /// The one message of a call that has one.
    ///
    /// # Errors
    /// As [`Messages::poll_next`]; [`Code::BadRequest`] if there is none, or if it does not decode.
    pub(in crate::server) async fn only<M: Message + Default>(app: Arc<App>, body: Body) -> Result<M> {
        decode(&Messages::only_bytes(app, body).await?.bytes)
    }

    /// [`Messages::only`] before it is decoded.
    ///
    /// # Errors
    /// As [`Messages::poll_next`]; [`Code::BadRequest`] if there is none.
    pub(in crate::server) async fn only_bytes(app: Arc<App>, body: Body) -> Result<HeldBody> {
        let mut messages = Messages::new(app, body, false);
        let message = poll_fn(|context| messages.poll_next(context)).await?;
        let message = message.ok_or_else(|| Error::new(Code::BadRequest, "the call has no message"))?;
        // An answer that overtakes the end of its question resets the stream, and a connection with many of these is
        // taken for an attack.
        match poll_fn(|context| messages.poll_next(context)).await? {
            None => Ok(message),
            Some(_) => Err(Error::new(Code::BadRequest, "the call has more than one message")),
        }
    }

    /// Reads on, within bounds, although nothing more is used.
    pub(in crate::server) async fn discard(self) {
        discard(self.body).await;
    }

    /// The same messages, of which the next may take as long as it likes to begin.
    pub(in crate::server) fn that_may_wait(mut self) -> Messages {
        self.may_wait = true;
        self
    }

    /// As [`Messages::poll_next`], to be awaited.
    ///
    /// # Errors
    /// As [`Messages::poll_next`].
    pub(in crate::server) async fn next(&mut self) -> Result<Option<HeldBody>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The next message, with its room; `None` after the last.
    ///
    /// # Errors
    /// [`Code::BodyTooLarge`] before it is read, [`Code::BadRequest`] if the framing is wrong or it breaks off,
    /// [`Code::Timeout`] if it stalls. No message follows an error.
    pub(in crate::server) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<HeldBody>>> {
        let outcome = self.advance(context);
        match &outcome {
            Poll::Ready(Ok(Some(_))) => self.patience = None,
            Poll::Ready(_) => self.state = State::Ended,
            Poll::Pending => {
                let length = match &self.state {
                    State::Prefix(prefix) if prefix.is_empty() && self.may_wait => return Poll::Pending,
                    State::Ended => return Poll::Pending,
                    State::Prefix(_) => 0,
                    State::Room { length, .. } | State::Inside { length, .. } => *length as u64,
                };
                let idle = self.app.options.body_idle_timeout;
                let patience = self.patience.get_or_insert_with(|| {
                    Box::pin(sleep(idle + Duration::from_secs(length / SLOWEST_BYTES_PER_SECOND)))
                });
                ready!(patience.as_mut().poll(context));
                let error = match self.state {
                    State::Room { .. } => {
                        Error::new(Code::Overloaded, "other requests take all the room there is for messages")
                    }
                    _ => Error::new(Code::Timeout, "the message came too slowly; nothing of it was used"),
                };
                self.state = State::Ended;
                return Poll::Ready(Err(error));
            }
        }
        outcome
    }

    fn advance(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<HeldBody>>> {
        loop {
            match &mut self.state {
                State::Prefix(prefix) => {
                    let taken = (PREFIX_BYTES - prefix.len()).min(self.chunk.len());
                    prefix.extend_from_slice(&self.chunk.split_to(taken));
                    if prefix.len() == PREFIX_BYTES {
                        let length = length_of(&self.app, prefix)?;
                        self.patience = None;
                        self.state = take_room(&self.app, length);
                        continue;
                    }
                }
                State::Room { length, waiting } => {
                    let room = ready!(waiting.as_mut().poll(context));
                    self.state = State::Inside { length: *length, room, bytes: BytesMut::new() };
                    continue;
                }
                State::Inside { length, bytes, .. } => {
                    let whole = bytes.is_empty() && self.chunk.len() >= *length;
                    if !whole {
                        if bytes.is_empty() {
                            bytes.reserve(*length);
                        }
                        let taken = (*length - bytes.len()).min(self.chunk.len());
                        bytes.extend_from_slice(&self.chunk.split_to(taken));
                    }
                    if whole || bytes.len() == *length {
                        let state = std::mem::replace(&mut self.state, State::Prefix(BytesMut::new()));
                        let State::Inside { length, room, bytes } = state else {
                            unreachable!("just matched")
                        };
                        // A message that came in one piece is not copied.
                        let bytes = if whole { self.chunk.split_to(length) } else { bytes.freeze() };
                        return Poll::Ready(Ok(Some(HeldBody { bytes, room })));
                    }
                }
                State::Ended => return Poll::Ready(Ok(None)),
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => self.chunk = frame.into_data().unwrap_or_default(),
                None if matches!(&self.state, State::Prefix(prefix) if prefix.is_empty()) => {
                    self.state = State::Ended;
                }
                None | Some(Err(_)) => {
                    return Poll::Ready(Err(Error::new(
                        Code::BadRequest,
                        "the call broke off inside a message",
                    )));
                }
            }
        }
    }
}

/// The length a prefix announces.
fn length_of(app: &App, mut prefix: &[u8]) -> Result<usize> {
    let compressed = prefix.get_u8();
    let length = prefix.get_u32() as usize;
    if compressed != 0 {
        return Err(Error::new(Code::BadRequest, "the message is compressed")
            .expected("messages without compression"));
    }
    let bytes_max = app.options.body_bytes_max;
    if length > bytes_max {
        return Err(Error::new(Code::BodyTooLarge, "the message is too large")
            .expected(format!("at most {bytes_max} bytes"))
            .found(format!("{length} bytes")));
    }
    Ok(length)
}

fn take_room(app: &Arc<App>, length: usize) -> State {
    let permits = u32::try_from(length).expect("a length on the wire has 32 bits");
    match app.bodies.clone().try_acquire_many_owned(permits) {
        Ok(room) => State::Inside { length, room, bytes: BytesMut::new() },
        Err(_) => {
            let bodies = app.bodies.clone();
            let waiting = Box::pin(async move {
                bodies.acquire_many_owned(permits).await.expect("the semaphore of bodies is never closed")
            });
            State::Room { length, waiting }
        }
    }
}

/// Decodes a message.
///
/// # Errors
/// [`Code::BadRequest`] if it is not of that kind.
pub(in crate::server) fn decode<M: Message + Default>(bytes: &Bytes) -> Result<M> {
    M::decode(bytes.clone())
        .map_err(|error| Error::new(Code::BadRequest, format!("the message does not decode: {error}")))
}
