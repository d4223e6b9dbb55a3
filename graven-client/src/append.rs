//! Appends: every one goes through a session that takes appends one after the other without waiting for answers.
//!
//! The path: a caller puts his append into the [`line`] and onto the wire under one lock, which is what keeps the two in
//! the same order; one task a session takes the answers ([`link`]). When a session breaks, that task opens the next one
//! and sends again what was not answered. [`verdict`] says what a failed attempt means.

mod codec;
mod line;
mod link;
mod session;
mod verdict;

use link::Answer;
pub(crate) use link::{Handle, Tally};
pub use session::{AppendSession, PendingAppend};

use crate::backoff::Backoff;
use crate::options::Options;
use graven_model::{AppendRequest, Code, Error, Receipt, Result};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};
use verdict::Verdict;

/// Appends, trying again as long as that is safe and there is time.
pub(crate) async fn append(link: &Handle, options: &Options, request: AppendRequest) -> Result<Receipt> {
    let request = Arc::new(request);
    let resendable = !request.events.is_empty();
    let deadline = Instant::now() + options.deadline;
    let mut backoff = None;
    let (mut last, mut lost) = (None, false);
    loop {
        let attempt = async { answer_of(link.send(request.clone()).await?).await };
        let answer = match timeout_at(deadline, attempt).await {
            Ok(answer) => answer?,
            Err(_) => return Err(verdict::out_of_time(options.deadline, last.or(link.trouble()), true)),
        };
        lost |= answer.lost_before;
        let error = match answer.outcome {
            Ok(receipt) => return Ok(receipt),
            Err(error) => error,
        };
        match verdict::judge(error.clone(), resendable, lost) {
            Verdict::Final(error) => return Err(error),
            Verdict::Again { lost: now } => lost = now,
        }
        tracing::debug!(%error, "an append is sent again");
        link.tally().retried();
        last = Some(error);
        let pause =
            backoff.get_or_insert_with(|| Backoff::new(options.pause_first, options.pause_longest)).pause();
        if Instant::now() + pause >= deadline {
            return Err(verdict::out_of_time(options.deadline, last, lost));
        }
        sleep(pause).await;
    }
}

async fn answer_of(answer: oneshot::Receiver<Answer>) -> Result<Answer> {
    answer.await.map_err(|_| Error::new(Code::OutcomeUnknown, "the runtime of the client ended"))
}
