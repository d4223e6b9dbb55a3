//! One append session that outlives its connections.

use super::codec::Verbatim;
use super::line::{Entry, Line};
use crate::answers;
use crate::backoff::Backoff;
use crate::options::Options;
use crate::status;
use crate::writer::{Hops, Next, Writer};
use bytes::Bytes;
use futures_util::stream::{Stream, poll_fn};
use graven_model::{AppendRequest, Code, Error, Receipt, Result, limits};
use graven_proto::session;
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::ready;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::sleep;
use tonic::transport::Channel;
use tonic::{IntoStreamingRequest as _, Streaming};

/// What came of one attempt at an append.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) outcome: Result<Receipt>,
    /// It had been sent before, on a session that broke.
    pub(crate) lost_before: bool,
}

/// Counts of what went through a client.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sessions: AtomicU64,
    pub(crate) appends: AtomicU64,
    pub(crate) retries: AtomicU64,
}

impl Tally {
    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }
}

/// The way into a session. Dropped, the session ends once everything under way is answered.
#[derive(Debug)]
pub(crate) struct Handle(Arc<Link>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.wake.notify_one();
    }
}

#[derive(Debug)]
struct Link {
    state: Mutex<State>,
    /// There is something to send and no session, or the handle is gone.
    wake: Notify,
    room: Arc<Semaphore>,
    room_bytes: u32,
    append_bytes_min: u32,
    tally: Arc<Tally>,
    writer: Arc<Writer>,
}

#[derive(Debug, Default)]
struct State {
    line: Line<Call>,
    /// Where appends go at once; nothing while there is no session.
    outbound: Option<mpsc::UnboundedSender<Vec<u8>>>,
    /// Why there is no session.
    trouble: Option<Error>,
    closed: bool,
}

/// An append on its way.
#[derive(Debug)]
struct Call {
    request: Arc<AppendRequest>,
    reply: oneshot::Sender<Answer>,
    _room: OwnedSemaphorePermit,
}

impl Call {
    fn nobody_waits(&self) -> bool {
        self.reply.is_closed()
    }

    /// The store knows an append by its event ids; one without events it does not know.
    fn may_be_sent_again(&self) -> bool {
        !self.request.events.is_empty() && !self.nobody_waits()
    }
}

impl Handle {
    /// Opens the way in. Nothing is connected before the first append.
    pub(crate) fn new(writer: Arc<Writer>, options: &Options, tally: Arc<Tally>) -> Handle {
        let link = Arc::new(Link {
            state: Mutex::default(),
            wake: Notify::new(),
            room: Arc::new(Semaphore::new(options.bytes_in_flight_max as usize)),
            room_bytes: options.bytes_in_flight_max,
            append_bytes_min: (options.bytes_in_flight_max / options.appends_in_flight_max).max(1),
            tally,
            writer,
        });
        let backoff = Backoff::new(options.pause_first, options.pause_longest);
        tokio::spawn(link.clone().run(backoff));
        Handle(link)
    }

    /// Sends an append after all sent before. Waits for room, and for nothing else; the receiver waits for the answer.
    ///
    /// # Errors
    /// [`Code::AppendTooLarge`].
    pub(crate) async fn send(&self, request: Arc<AppendRequest>) -> Result<oneshot::Receiver<Answer>> {
        let link = &*self.0;
        let bytes = size_bytes(&request);
        if bytes > limits::APPEND_BYTES_MAX {
            // Sent, it would end the session for everybody.
            return Err(Error::new(Code::AppendTooLarge, "the append is too large")
                .expected(format!("at most {} bytes", limits::APPEND_BYTES_MAX))
                .found(format!("{bytes} bytes")));
        }
        let mut message = session::request(&request);
        let share = u32::try_from(bytes).unwrap_or(u32::MAX).max(link.append_bytes_min).min(link.room_bytes);
        let room = link.room.clone().acquire_many_owned(share).await.expect("the semaphore is never closed");
        let (reply, answer) = oneshot::channel();
        link.tally.appends.fetch_add(1, Ordering::Relaxed);
        let State { line, outbound, .. } = &mut *link.state.lock();
        let correlation = line.push(Call { request, reply, _room: room }, outbound.is_some());
        match outbound {
            // A session that breaks just now is noticed by its task, which sends the line again.
            Some(outbound) => {
                session::correlate(&mut message, correlation);
                drop(outbound.send(message));
            }
            None => link.wake.notify_one(),
        }
        Ok(answer)
    }

    /// Why there is no session now, if an error is the reason.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.0.state.lock().trouble.clone()
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.0.tally
    }
}

impl Link {
    async fn run(self: Arc<Link>, mut backoff: Backoff) {
        let mut hops = Hops::default();
        while self.work().await {
            let aim = self.writer.aim();
            let (error, answered) = match self.open(aim.channel.clone()).await {
                Ok(mut answers) => {
                    tracing::debug!("an append session begins");
                    self.tally.sessions.fetch_add(1, Ordering::Relaxed);
                    self.take(&mut answers).await
                }
                Err(error) => (Some(error), false),
            };
            let Some(error) = error else { return };
            if answered {
                backoff.reset();
                hops.reset();
            }
            tracing::debug!(%error, "an append session ended");
            let next = if error.code == Code::NotTheWriter {
                hops.next(self.writer.refused(&aim, &error))
            } else {
                self.writer.failed(&aim);
                hops.reset();
                Next::AfterPause
            };
            if self.broke(error, next) && next != Next::AtOnce {
                sleep(backoff.pause()).await;
            }
        }
    }

    /// Waits for something to send; false when nothing can come any more.
    async fn work(&self) -> bool {
        loop {
            {
                let mut state = self.state.lock();
                state.line.forget(Call::nobody_waits);
                if !state.line.is_empty() {
                    return true;
                }
                if state.closed {
                    return false;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Opens a session. The line goes out at once, without waiting for the server to say that it takes it.
    async fn open(&self, channel: Channel) -> Result<Streaming<Bytes>> {
        let (outbound, requests) = mpsc::unbounded_channel();
        {
            let mut state = self.state.lock();
            for (correlation, call) in state.line.begin() {
                let mut message = session::request(&call.request);
                session::correlate(&mut message, correlation);
                drop(outbound.send(message));
            }
            state.outbound = Some(outbound);
        }
        let answers = async {
            let (mut service, path) = answers::ready(channel, "AppendSession").await?;
            service.streaming(gathered(requests).into_streaming_request(), path, Verbatim).await
        };
        answers.await.map(tonic::Response::into_inner).map_err(|status| status::error_of(&status))
    }

    /// Hands out answers until the session ends. Gives back why, or nothing if that was our wish, and whether there was
    /// any answer.
    async fn take(&self, answers: &mut Streaming<Bytes>) -> (Option<Error>, bool) {
        let mut answered = false;
        loop {
            let answer = tokio::select! {
                biased;
                answer = answers.message() => answer,
                () = self.wake.notified() => {
                    let state = self.state.lock();
                    if state.closed && state.line.is_empty() {
                        return (None, answered);
                    }
                    continue;
                }
            };
            let answer = match answer {
                Ok(Some(answer)) => answer,
                Ok(None) => return (Some(ended()), answered),
                Err(status) => return (Some(status::error_of(&status)), answered),
            };
            let (correlation, outcome) = match session::read_answer(&answer) {
                Ok(answer) => answer,
                Err(error) => return (Some(not_understood(&error)), answered),
            };
            let mut state = self.state.lock();
            let Some(entry) = state.line.answered(correlation) else {
                return (Some(Error::new(Code::Internal, "the server answered out of order")), answered);
            };
            if let Err(error) = &outcome
                && error.code == Code::NotTheWriter
            {
                // The ones after it are refused too: all of them go to the node that writes.
                let error = error.clone();
                state.line.put_back(entry);
                return (Some(error), answered);
            }
            if !answered {
                answered = true;
                state.trouble = None;
            }
            let done = state.closed && state.line.is_empty();
            drop(state);
            let outcome = outcome.and_then(|receipt| {
                receipt.receipt(&entry.item.request).map_err(|error| not_understood(&error))
            });
            if let Ok(receipt) = &outcome {
                self.writer.acknowledged(receipt);
            }
            entry.answer(outcome);
            if done {
                return (None, answered);
            }
        }
    }

    /// The session broke. Appends that cannot be sent again are answered; when another session would not help, all are.
    /// True if appends wait for the next one.
    fn broke(&self, error: Error, next: Next) -> bool {
        let mut state = self.state.lock();
        state.outbound = None;
        // A node that does not write has done none of them.
        let refused = error.code == Code::NotTheWriter;
        let mut given_up =
            state.line.broke(|call| call.may_be_sent_again() || (refused && !call.nobody_waits()));
        if !error.code.entry().retryable || next == Next::GiveUp {
            given_up.extend(state.line.drain());
        }
        state.trouble = Some(error.clone());
        let waiting = !state.line.is_empty();
        drop(state);
        if waiting && next != Next::AtOnce {
            tracing::warn!(%error, "appends wait for a connection");
        }
        for entry in given_up {
            entry.answer(Err(error.clone()));
        }
        waiting
    }
}

impl Entry<Call> {
    fn answer(self, outcome: Result<Receipt>) {
        // Nobody may wait any more; that is his affair.
        let _ = self.item.reply.send(Answer { outcome, lost_before: self.lost_before });
    }
}

/// What is sent, in bursts: after a pause every task that is ready to run gets to send before the connection does, so that
/// appends that come together go out together. One that comes alone is not held back.
fn gathered<T: Send + 'static>(mut sent: mpsc::UnboundedReceiver<T>) -> impl Stream<Item = T> + Send {
    let mut paused = true;
    let mut others: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = None;
    poll_fn(move |context| {
        if paused && !sent.is_empty() {
            let others = others.get_or_insert_with(|| Box::pin(yield_now()));
            ready!(others.as_mut().poll(context));
        }
        others = None;
        let next = sent.poll_recv(context);
        paused = next.is_pending();
        next
    })
}

/// The append may have been done; what came of it cannot be read.
fn not_understood(error: &Error) -> Error {
    Error::new(Code::OutcomeUnknown, "the answer of the server is not understood").found(error.to_string())
}

fn ended() -> Error {
    Error::new(Code::ConnectionFailed, "the server ended the session")
}

/// About the bytes of an append: never more than it has on the wire or in the log.
fn size_bytes(request: &AppendRequest) -> usize {
    let events = request.events.iter().map(|(_, event)| {
        let tags: usize = event.tags.iter().map(|tag| tag.len()).sum();
        event.data.len() + event.metadata.len() + event.event_type.len() + tags + event.id.0.len()
    });
    events.sum::<usize>() + request.streams.iter().map(|write| write.stream.as_str().len()).sum::<usize>()
}
