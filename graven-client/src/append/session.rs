//! [`AppendSession`]: for who wants order across his appends without waiting for each.

use super::{Handle, answer_of, verdict};
use crate::client::Client;
use graven_model::{AppendRequest, Receipt, Result};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Appends of one producer, taken by the store in the order they are sent, without waiting for the answer to the one
/// before. Made by [`Client::append_session`].
///
/// When the connection breaks, what was not answered is sent again in the same order; the store recognises what it had
/// done. A refused append does not keep the later ones from being done: who needs that gives them an expected revision
/// or a condition that the refused one would have fulfilled. A refusal that may pass is not tried again, because
/// the later ones would overtake it.
///
/// Dropped, it ends once everything sent was answered.
pub struct AppendSession {
    link: Handle,
    deadline: Duration,
}

impl AppendSession {
    pub(crate) fn new(client: &Client) -> AppendSession {
        AppendSession { link: client.new_link(), deadline: client.options().deadline }
    }

    /// Sends an append after all sent before. Waits only if too much is under way already. What came of it is what the
    /// [`PendingAppend`] resolves to.
    ///
    /// # Errors
    /// [`graven_model::Code::AppendTooLarge`]; [`graven_model::Code::Timeout`] if no room came within the deadline: the
    /// append was not sent then.
    pub async fn append(&mut self, request: AppendRequest) -> Result<PendingAppend> {
        let after = self.deadline;
        let deadline = Instant::now() + after;
        let Ok(sent) = timeout_at(deadline, self.link.send(Arc::new(request))).await else {
            return Err(verdict::out_of_time(after, self.link.trouble(), true));
        };
        let answer = sent?;
        Ok(PendingAppend(Box::pin(async move {
            match timeout_at(deadline, answer_of(answer)).await {
                Ok(answer) => {
                    let answer = answer?;
                    answer.outcome.map_err(|error| verdict::told(error, answer.lost_before))
                }
                Err(_) => Err(verdict::out_of_time(after, None, true)),
            }
        })))
    }
}

impl fmt::Debug for AppendSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppendSession").finish_non_exhaustive()
    }
}

/// An append on its way; resolves when it is durable or refused, or when the deadline is over.
///
/// Dropping it does not take the append back.
#[must_use = "an append is acknowledged by waiting for it"]
pub struct PendingAppend(Pin<Box<dyn Future<Output = Result<Receipt>> + Send>>);

impl Future for PendingAppend {
    type Output = Result<Receipt>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Receipt>> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for PendingAppend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingAppend").finish_non_exhaustive()
    }
}
