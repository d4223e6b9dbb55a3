//! `AppendSession`: appends one after the other, taken as fast as they come and answered in the order they came.
//!
//! A session has no task of its own. It is the body of its answer: the task of its HTTP/2 stream asks it for the next
//! answers, and it takes in what came and hands it to the writer before it looks which appends are done. So an append
//! costs no hop between tasks, and a client that does not read its answers is not read from either.

use super::Call;
use super::answer::{end_message, streaming, trailers};
use super::message::{Messages, PREFIX_BYTES};
use super::unary::bounded;
use crate::server::append::{self, Handed, INLINE_BYTES_MAX};
use crate::server::body::HeldBody;
use crate::server::long_read::too_late;
use crate::server::{App, blocking, stopping};
use axum::body::{Body, HttpBody};
use axum::http::Response;
use bytes::Bytes;
use graven_engine::PendingAppend;
use graven_model::{AppendRequest, Code, Error, Receipt, Result};
use graven_proto::session as encode;
use hyper::body::Frame;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

/// Appends of one session under way. With so many, nothing more is read until the first is answered.
const APPENDS_MAX: usize = 4_096;

/// Bytes of them; one alone may have more.
const BYTES_MAX: usize = 16 << 20;

/// Appends taken in before the answers are looked at, so that a fast sender does not keep others from the thread.
const TAKEN_AT_ONCE_MAX: usize = 256;

/// Appends handed to the writer at once: fewer would wake it too often, with more it would wait while they are parsed.
const GATHERED_MAX: usize = 16;

/// Bytes of answers sent at once.
const OUT_BYTES_MAX: usize = 32 << 10;

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Begins a session.
pub(super) fn open(call: Call) -> Response<Body> {
    let Call { app, body, deadline, .. } = call;
    let mut ending = app.stopping.clone();
    streaming(Body::new(Session {
        messages: Messages::new(app.clone(), body, true),
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
        not_writing: app.store.takes_appends().is_err(),
        app,
    }))
}

struct Session {
    app: Arc<App>,
    messages: Messages,
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
    /// Ends the patience with the first of the appends.
    patience: Option<Pin<Box<Sleep>>>,
    over: bool,
    /// Another node wrote when the session began. None of its appends is taken then, though this node may take over
    /// meanwhile: a later one would overtake those that were refused.
    not_writing: bool,
}

/// Whether more appends may come.
enum Input {
    Open,
    /// The client has said all.
    Done,
    /// The session ends once what it took in is answered, and this is why.
    Broken(Error),
}

/// An append under way.
struct Waiting {
    correlation: u64,
    stage: Stage,
    begun: Instant,
    bytes: usize,
    /// Given back when it is answered.
    _room: OwnedSemaphorePermit,
}

enum Stage {
    /// A large one, being parsed and hashed on a thread that may block.
    Parsing(Task<(u64, Result<Handed>)>),
    /// In the hands of the writer.
    Writing(Handed),
    /// Refused; the events its caller has not seen are being read.
    Refusing(Task<Error>),
    Refused(Error),
}

impl Session {
    /// Takes in what came; true if it left some of it for later.
    fn take_in(&mut self, context: &mut Context<'_>) -> bool {
        let app = self.app.clone();
        let mut gathered = app.store.gather();
        let mut in_hand = 0;
        for _ in 0..TAKEN_AT_ONCE_MAX {
            if !self.poll_parsing(context)
                || !matches!(self.input, Input::Open)
                || self.waiting.len() >= APPENDS_MAX
                || self.bytes >= BYTES_MAX
            {
                return false;
            }
            let refusal = if self.not_writing { app.store.takes_appends().err() } else { None };
            if self.not_writing && refusal.is_none() {
                let error = Error::new(Code::Unavailable, "this node writes now; begin the session again");
                self.input = Input::Broken(error);
                return false;
            }
            match self.messages.poll_next(context) {
                Poll::Pending => return false,
                Poll::Ready(Ok(Some(held))) if let Some(error) = refusal => {
                    let (correlation, _) = encode::read_request(&held.bytes);
                    self.wait_for(correlation, Stage::Refused(error), held);
                }
                Poll::Ready(Ok(Some(held))) if held.bytes.len() <= INLINE_BYTES_MAX => {
                    let (correlation, outcome) = hand_over(&held.bytes, |request| gathered.add(request));
                    self.wait_for(correlation, Stage::of(outcome), held);
                    in_hand += 1;
                    if in_hand == GATHERED_MAX {
                        in_hand = 0;
                        gathered = app.store.gather();
                    }
                }
                Poll::Ready(Ok(Some(held))) => {
                    // What came before goes to the writer before it.
                    gathered = app.store.gather();
                    let (app, bytes) = (app.clone(), held.bytes.clone());
                    let parsing = async move {
                        let parsed =
                            blocking(move || Ok(hand_over(&bytes, |request| app.store.submit(request))));
                        parsed.await.unwrap_or_else(|error| (0, Err(error)))
                    };
                    self.wait_for(0, Stage::Parsing(Box::pin(parsing)), held);
                }
                Poll::Ready(Ok(None)) => self.input = Input::Done,
                Poll::Ready(Err(error)) => self.input = Input::Broken(error),
            }
        }
        true
    }

    /// False while an append is parsed elsewhere: the ones after it must not overtake it.
    fn poll_parsing(&mut self, context: &mut Context<'_>) -> bool {
        let Some(last) = self.waiting.back_mut() else { return true };
        let Stage::Parsing(task) = &mut last.stage else { return true };
        let Poll::Ready((correlation, outcome)) = task.as_mut().poll(context) else { return false };
        last.correlation = correlation;
        last.stage = Stage::of(outcome);
        true
    }

    fn wait_for(&mut self, correlation: u64, stage: Stage, held: HeldBody) {
        self.bytes += held.bytes.len();
        self.waiting.push_back(Waiting {
            correlation,
            stage,
            begun: Instant::now(),
            bytes: held.bytes.len(),
            _room: held.room,
        });
    }

    /// Writes the answers there are, in order, up to the first append that is not done.
    fn give_out(&mut self, context: &mut Context<'_>) {
        while self.out.len() < OUT_BYTES_MAX {
            let Some(first) = self.waiting.front_mut() else { return };
            let outcome = match first.poll(&self.app, context) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => {
                    let due = first.begun + self.app.options.append_timeout;
                    let patience = self.patience.get_or_insert_with(|| Box::pin(sleep_until(due)));
                    // It may have been set for one that was answered since.
                    while patience.as_mut().poll(context).is_ready() {
                        if Instant::now() >= due {
                            break;
                        }
                        patience.as_mut().reset(due);
                    }
                    if !patience.is_elapsed() {
                        return;
                    }
                    self.patience = None;
                    Err(append::too_late(&self.app))
                }
            };
            let answered = self.waiting.pop_front().expect("the first was just looked at");
            self.bytes -= answered.bytes;
            if let Err(error) = &outcome {
                self.app.metrics.refused(error.code);
            }
            let begun = self.out.len();
            self.out.extend_from_slice(&[0; PREFIX_BYTES]);
            encode::answer(&mut self.out, answered.correlation, &outcome);
            end_message(&mut self.out[begun..], 0);
        }
    }

    fn end(&mut self, error: Option<&Error>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.over = true;
        if let Some(error) = error {
            self.app.metrics.refused(error.code);
        }
        Poll::Ready(Some(Ok(Frame::trailers(trailers(error)))))
    }
}

impl Stage {
    fn of(outcome: Result<Handed>) -> Stage {
        match outcome {
            Ok(handed) => Stage::Writing(handed),
            Err(error) => Stage::Refused(error),
        }
    }
}

impl Waiting {
    fn poll(&mut self, app: &Arc<App>, context: &mut Context<'_>) -> Poll<Result<Receipt>> {
        loop {
            match &mut self.stage {
                Stage::Parsing(_) => return Poll::Pending,
                Stage::Writing(handed) => {
                    match std::task::ready!(Pin::new(&mut handed.pending).poll(context)) {
                        Ok(receipt) => {
                            app.metrics.appended(&receipt, handed.payload_bytes);
                            return Poll::Ready(Ok(receipt));
                        }
                        Err(error) if handed.unseen_max == 0 => return Poll::Ready(Err(error)),
                        Err(error) => {
                            let (app, unseen_max) = (app.clone(), handed.unseen_max);
                            let filling = async move { append::with_unseen(&app, error, unseen_max).await };
                            self.stage = Stage::Refusing(Box::pin(filling));
                        }
                    }
                }
                Stage::Refusing(task) => return task.as_mut().poll(context).map(Err),
                Stage::Refused(error) => return Poll::Ready(Err(error.clone())),
            }
        }
    }
}

/// Parses one message and hands its append to the writer.
fn hand_over(
    bytes: &Bytes,
    submit: impl FnOnce(AppendRequest) -> Result<PendingAppend>,
) -> (u64, Result<Handed>) {
    let (correlation, append) = encode::read_request(bytes);
    (correlation, append::hand_over(|| append.map(bounded), submit))
}

impl HttpBody for Session {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let session = self.get_mut();
        if session.over {
            return Poll::Ready(None);
        }
        if let Some(deadline) = &mut session.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return session.end(Some(&too_late()));
        }
        if matches!(session.input, Input::Open) && session.stopping.as_mut().poll(context).is_ready() {
            session.input = Input::Broken(stopping());
        }
        let left_some = session.take_in(context);
        session.give_out(context);
        if !session.out.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut session.out).into()))));
        }
        if session.waiting.is_empty() {
            match std::mem::replace(&mut session.input, Input::Done) {
                Input::Open => session.input = Input::Open,
                Input::Done => return session.end(None),
                Input::Broken(error) => return session.end(Some(&error)),
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
