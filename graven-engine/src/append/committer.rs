//! Commits encoded batches, one at a time and in order: durable, then visible, then acknowledged.

use super::facts::PendingEvent;
use super::shared::Shared;
use crate::journal::{Batch, Journal, Outcome};
use graven_model::{Code, Error, Receipt, Result};
use graven_proof::Hash;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Whom to tell what once a batch is durable.
pub(super) type Reply = (oneshot::Sender<Result<Receipt>>, Result<Receipt>);

/// A batch that is encoded: its frames and what to tell whom afterwards.
pub(super) struct Ready {
    pub(super) batch: Option<Batch>,
    pub(super) events: Arc<Vec<PendingEvent>>,
    pub(super) root: Hash,
    pub(super) replies: Vec<Reply>,
}

/// Commits batches and publishes them. Whose turn it is to flush has it alone.
pub(super) struct Committer {
    shared: Arc<Shared>,
    journal: Mutex<Box<dyn Journal>>,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, journal: Box<dyn Journal>) -> Committer {
        Committer { shared, journal: Mutex::new(journal) }
    }

    /// Makes a batch durable, visible, and then acknowledged, in this order.
    pub(super) fn commit(&self, ready: Ready) {
        let outcome = match (&ready.batch, self.shared.poisoned()) {
            (_, Some(cause)) => Err(cause),
            (None, None) => Ok(()),
            (Some(batch), None) => match self.journal.lock().commit(batch) {
                Outcome::Appended(tail) if tail == batch.tail => Ok(()),
                Outcome::Appended(tail) | Outcome::Conflict(tail) => Err(Error::new(
                    Code::Corrupted,
                    "the journal does not end where this writer left it: another writer was here",
                )
                .expected(format!("position {}", batch.expected.position))
                .found(format!("position {}", tail.position))),
                Outcome::Unknown(error) => Err(error),
            },
        };
        if let Err(cause) = outcome {
            if self.shared.poisoned().is_none() {
                self.shared.poison(cause.clone());
            }
            for (reply, _) in ready.replies {
                let error = Error::new(
                    Code::OutcomeUnknown,
                    format!("the batch of this append failed ({})", cause.message),
                );
                let _ = reply.send(Err(error));
            }
            return;
        }
        if let Some(batch) = &ready.batch {
            self.shared.publish(batch.tail.position, ready.root, &ready.events);
        }
        for (reply, outcome) in ready.replies {
            let _ = reply.send(outcome);
        }
    }
}
