//! `BatchAppend`: appends that come in parts, the parts of several among each other, and one answer for each.
//!
//! A call has no task of its own. It is the body of its answer: the task of its HTTP/2 stream asks it for the next answers,
//! and it takes in what came before it looks which appends are done. A client that does not read its answers is not read
//! from either. Appends go to the writer in the order in which their last parts came, and are answered in that order,
//! but for those whose time is over.

mod gather;
mod reply;

use super::Call;
use super::errors::Refusal;
use crate::server::append::{Handed, INLINE_BYTES_MAX, hand_over};
use crate::server::grpc::answer::{put_message, streaming, trailers};
use crate::server::grpc::message::{Messages, decode};
use crate::server::long_read::too_late;
use crate::server::{App, blocking, stopping};
use axum::body::{Body, HttpBody};
use axum::http::Response;
use bytes::Bytes;
use gather::{Append, Gathering, Taken};
use graven_model::{Code, Receipt, Result, StreamName};
use graven_proto::kurrentdb::streams::BatchAppendReq;
use hyper::body::Frame;
use reply::{Outcome, Subject};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

/// Appends of one call under way. With so many, nothing more is read until the first is answered.
const APPENDS_MAX: usize = 4_096;

/// Bytes of them; one alone may have more.
const BYTES_MAX: usize = 16 << 20;

/// Parts taken in before the answers are looked at, so that a fast sender does not keep others from the thread.
const TAKEN_AT_ONCE_MAX: usize = 256;

/// Bytes of answers sent at once.
const OUT_BYTES_MAX: usize = 32 << 10;

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Begins a call.
pub(super) fn open(call: Call) -> Response<Body> {
    let Call { app, body, deadline, .. } = call;
    let mut ending = app.stopping.clone();
    streaming(Body::new(Batches {
        messages: Messages::new(app.clone(), body, true),
        gathering: Gathering::default(),
        waiting: VecDeque::new(),
        bytes: 0,
        out: Vec::new(),
        input: Input::Open,
        stopping: Box::pin(async move {
            let _ = ending.wait_for(|stopping| *stopping).await;
        }),
        deadline: deadline.map(|deadline| Box::pin(sleep_until(deadline))),
        patience: None,
        over: false,
        app,
    }))
}

struct Batches {
    app: Arc<App>,
    messages: Messages,
    /// Appends of which parts are missing.
    gathering: Gathering,
    /// Appends not yet answered, in order.
    waiting: VecDeque<Waiting>,
    /// Bytes of their messages.
    bytes: usize,
    /// Answers on their way out.
    out: Vec<u8>,
    input: Input,
    /// Resolves when the server stops.
    stopping: Task<()>,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Set to when the time of some append is over, or earlier.
    patience: Option<Pin<Box<Sleep>>>,
    over: bool,
}

/// Whether more parts may come.
enum Input {
    Open,
    /// The client has said all.
    Done,
    /// The call ends once what it took in is answered, and this is why.
    Broken(Refusal),
}

/// An append under way.
struct Waiting {
    subject: Subject,
    stage: Stage,
    due: Instant,
    /// It was answered when its time was over.
    answered: bool,
    bytes: usize,
    /// Given back when it is done.
    _room: Option<OwnedSemaphorePermit>,
}

enum Stage {
    /// A large one, being hashed on a thread that may block.
    Hashing(Task<Result<Handed>>),
    /// In the hands of the writer.
    Writing(Handed),
    /// It names nothing to store: whether its stream takes appends is being found out.
    Checking(Task<Result<Receipt>>),
    /// Judged; `None` once that was told.
    Done(Option<Box<Outcome>>),
}

impl Stage {
    fn done(outcome: Outcome) -> Stage {
        Stage::Done(Some(Box::new(outcome)))
    }
}

impl Batches {
    /// Takes in what came; true if it left some of it for later.
    fn take_in(&mut self, context: &mut Context<'_>) -> bool {
        for _ in 0..TAKEN_AT_ONCE_MAX {
            if !self.poll_hashing(context)
                || !matches!(self.input, Input::Open)
                || self.waiting.len() >= APPENDS_MAX
                || self.bytes >= BYTES_MAX
            {
                return false;
            }
            let held = match self.messages.poll_next(context) {
                Poll::Pending => return false,
                Poll::Ready(Ok(Some(held))) => held,
                Poll::Ready(Ok(None)) => {
                    self.input = Input::Done;
                    return false;
                }
                Poll::Ready(Err(error)) => {
                    self.input = Input::Broken(error.into());
                    return false;
                }
            };
            let part = decode::<BatchAppendReq>(&held.bytes).map_err(Refusal::from);
            match part.and_then(|part| self.gathering.take(&self.app, part, held)) {
                Ok(Taken::More(due)) => self.wait_until(due),
                Ok(Taken::Nothing) => {}
                Ok(Taken::Flawed(subject, due, flaw)) => {
                    self.wait_for(subject, Stage::done(Outcome::Flawed(flaw)), due, 0, None);
                }
                Ok(Taken::Whole(append)) => self.begin(append),
                Err(refusal) => self.input = Input::Broken(refusal),
            }
        }
        true
    }

    /// Hands an append to the writer.
    fn begin(&mut self, append: Append) {
        let Append { subject, request, due, bytes, room } = append;
        let app = self.app.clone();
        let only_checks = request.events.is_empty().then(|| request.streams[0].stream.clone());
        let stage = if bytes <= INLINE_BYTES_MAX || only_checks.is_some() {
            match hand_over(|| Ok(request), |request| app.store.submit(request)) {
                Ok(handed) => match only_checks {
                    Some(stream) => Stage::Checking(Box::pin(check(app, stream, handed))),
                    None => Stage::Writing(handed),
                },
                // No answer says where the node is that writes; the end of the call does.
                Err(error) if error.code == Code::NotTheWriter => {
                    self.input = Input::Broken(error.into());
                    return;
                }
                Err(error) => Stage::done(Outcome::Refused(error)),
            }
        } else {
            let hashing = blocking(move || hand_over(|| Ok(request), |request| app.store.submit(request)));
            Stage::Hashing(Box::pin(hashing))
        };
        self.wait_for(subject, stage, due, bytes, Some(room));
    }

    /// False while an append is hashed elsewhere: the ones after it must not overtake it.
    fn poll_hashing(&mut self, context: &mut Context<'_>) -> bool {
        let Some(last) = self.waiting.back_mut() else { return true };
        let Stage::Hashing(task) = &mut last.stage else { return true };
        let Poll::Ready(outcome) = task.as_mut().poll(context) else { return false };
        last.stage = match outcome {
            Ok(handed) => Stage::Writing(handed),
            Err(error) => Stage::done(Outcome::Refused(error)),
        };
        true
    }

    fn wait_for(
        &mut self,
        subject: Subject,
        stage: Stage,
        due: Instant,
        bytes: usize,
        room: Option<OwnedSemaphorePermit>,
    ) {
        self.bytes += bytes;
        self.wait_until(due);
        self.waiting.push_back(Waiting { subject, stage, due, answered: false, bytes, _room: room });
    }

    fn wait_until(&mut self, due: Instant) {
        match &mut self.patience {
            Some(patience) if patience.deadline() <= due => {}
            Some(patience) => patience.as_mut().reset(due),
            None => self.patience = Some(Box::pin(sleep_until(due))),
        }
    }

    /// Answers the appends whose time is over.
    fn give_up(&mut self, context: &mut Context<'_>) {
        while let Some(patience) = &mut self.patience
            && patience.as_mut().poll(context).is_ready()
        {
            self.patience = None;
            let now = Instant::now();
            for subject in self.gathering.expire(now) {
                self.out_of_time(&subject);
            }
            for at in 0..self.waiting.len() {
                let waiting = &mut self.waiting[at];
                if waiting.due <= now && !waiting.answered && !matches!(waiting.stage, Stage::Done(_)) {
                    waiting.answered = true;
                    let subject = waiting.subject.clone();
                    self.out_of_time(&subject);
                }
            }
            let left = self.waiting.iter().filter(|waiting| !waiting.answered).map(|waiting| waiting.due);
            let next = left.filter(|due| *due > now).chain(self.gathering.first_due()).min();
            self.patience = next.map(|due| Box::pin(sleep_until(due)));
        }
    }

    fn out_of_time(&mut self, subject: &Subject) {
        self.app.metrics.refused(Code::Timeout);
        put_message(&mut self.out, &reply::timed_out(subject));
    }

    /// Writes the answers there are, in order, up to the first append that is not done.
    fn give_out(&mut self, context: &mut Context<'_>) {
        while self.out.len() < OUT_BYTES_MAX {
            let Some(first) = self.waiting.front_mut() else { return };
            let Poll::Ready(outcome) = first.poll(&self.app, context) else { return };
            let done = self.waiting.pop_front().expect("the first was just looked at");
            self.bytes -= done.bytes;
            if let Outcome::Refused(error) = &outcome
                && error.code == Code::NotTheWriter
            {
                if !matches!(self.input, Input::Broken(_)) {
                    self.input = Input::Broken(error.clone().into());
                }
                continue;
            }
            if !done.answered {
                if let Some(code) = outcome.code() {
                    self.app.metrics.refused(code);
                }
                put_message(&mut self.out, &reply::answer(&done.subject, &outcome));
            }
        }
    }

    fn end(&mut self, refusal: Option<&Refusal>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.over = true;
        let trailers = match refusal {
            Some(refusal) => {
                self.app.metrics.refused(refusal.code());
                refusal.trailers()
            }
            None => trailers(None),
        };
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

/// What becomes of an append that stores nothing.
async fn check(app: Arc<App>, stream: StreamName, handed: Handed) -> Result<Receipt> {
    let receipt = handed.pending.await?;
    super::append::check_open(&app, &stream).await?;
    Ok(receipt)
}

impl Waiting {
    fn poll(&mut self, app: &Arc<App>, context: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = match &mut self.stage {
            Stage::Hashing(_) => return Poll::Pending,
            Stage::Writing(handed) => {
                let outcome = ready!(Pin::new(&mut handed.pending).poll(context));
                if let Ok(receipt) = &outcome {
                    app.metrics.appended(receipt, handed.payload_bytes);
                }
                outcome
            }
            Stage::Checking(task) => ready!(task.as_mut().poll(context)),
            Stage::Done(outcome) => {
                return outcome.take().map_or(Poll::Pending, |outcome| Poll::Ready(*outcome));
            }
        };
        Poll::Ready(match outcome {
            Ok(receipt) => Outcome::Stored(receipt),
            Err(error) => Outcome::Refused(error),
        })
    }
}

impl HttpBody for Batches {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let call = self.get_mut();
        if call.over {
            return Poll::Ready(None);
        }
        if let Some(deadline) = &mut call.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return call.end(Some(&too_late().into()));
        }
        if matches!(call.input, Input::Open) && call.stopping.as_mut().poll(context).is_ready() {
            call.input = Input::Broken(stopping().into());
        }
        let left_some = call.take_in(context);
        call.give_out(context);
        call.give_up(context);
        if !call.out.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut call.out).into()))));
        }
        if call.waiting.is_empty() {
            match std::mem::replace(&mut call.input, Input::Done) {
                Input::Open => call.input = Input::Open,
                Input::Done => return call.end(None),
                Input::Broken(refusal) => return call.end(Some(&refusal)),
            }
        }
        if left_some {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}
