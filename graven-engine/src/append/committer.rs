//! Commits encoded batches, one at a time and in order: durable, then visible, then acknowledged.

use super::facts::PendingEvent;
use super::shared::Shared;
use crate::journal::{Batch, Journal, LocalJournal, Outcome};
use graven_model::{Code, Error, Receipt, Result};
use graven_proof::Hash;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Whom to tell what once a batch is durable.
pub(super) type Reply = (oneshot::Sender<Result<Receipt>>, Result<Receipt>);

/// A batch that is encoded: its frames and what to tell whom afterwards.
pub(super) struct Ready {
    /// With the Merkle root at its end.
    pub(super) batch: Option<(Batch, Hash)>,
    pub(super) events: Arc<Vec<PendingEvent>>,
    pub(super) replies: Vec<Reply>,
}

/// Where batches become durable: a journal, with what has to be done for this store around it.
pub(crate) trait CommitPoint: Send {
    /// Makes a batch durable in the journal and readable in the log. `root`: over everything up to its end.
    ///
    /// # Errors
    /// What became of it. Nothing more is committed after an error.
    fn commit(&mut self, batch: &Batch, root: &Hash) -> std::result::Result<(), Failure>;

    /// Before appends are refused on the ground of what this store holds, and no commit tells that this is all: makes
    /// sure that nobody else has added to the journal.
    ///
    /// # Errors
    /// As [`CommitPoint::commit`].
    fn confirm(&mut self) -> std::result::Result<(), Failure>;
}

/// Why a batch was not committed.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// It is not in the journal and never will be.
    Refused(Error),
    /// It may be.
    Unknown(Error),
}

impl CommitPoint for LocalJournal {
    fn commit(&mut self, batch: &Batch, _root: &Hash) -> std::result::Result<(), Failure> {
        match Journal::commit(self, batch) {
            Outcome::Appended(tail) if tail == batch.tail => Ok(()),
            Outcome::Appended(tail) | Outcome::Conflict(tail) => Err(Failure::Unknown(
                Error::new(
                    Code::Corrupted,
                    "the journal does not end where this writer left it: another writer was here",
                )
                .expected(format!("position {}", batch.expected.position))
                .found(format!("position {}", tail.position)),
            )),
            Outcome::Unknown(error) => Err(Failure::Unknown(error)),
        }
    }

    /// The directory is locked: there is nobody else.
    fn confirm(&mut self) -> std::result::Result<(), Failure> {
        Ok(())
    }
}

/// Commits batches and publishes them. Whose turn it is to flush has it alone.
pub(super) struct Committer {
    shared: Arc<Shared>,
    point: Mutex<Box<dyn CommitPoint>>,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, point: Box<dyn CommitPoint>) -> Committer {
        Committer { shared, point: Mutex::new(point) }
    }

    /// Makes a batch durable, visible, and then acknowledged, in this order.
    pub(super) fn commit(&self, ready: Ready) {
        let outcome = match (&ready.batch, self.shared.poisoned()) {
            (_, Some(cause)) if cause.code == Code::NotTheWriter => Err(Failure::Refused(cause)),
            (_, Some(cause)) => Err(Failure::Unknown(cause)),
            (None, None) if ready.replies.iter().any(|(_, outcome)| outcome.is_err()) => {
                self.point.lock().confirm()
            }
            (None, None) => Ok(()),
            (Some((batch, root)), None) => self.point.lock().commit(batch, root),
        };
        if let Err(failure) = outcome {
            let (cause, error) = match failure {
                Failure::Refused(cause) => (cause.clone(), cause),
                Failure::Unknown(cause) => {
                    let message = format!("the batch of this append failed ({})", cause.message);
                    (cause, Error::new(Code::OutcomeUnknown, message))
                }
            };
            self.shared.poison(cause);
            for (reply, _) in ready.replies {
                let _ = reply.send(Err(error.clone()));
            }
            return;
        }
        if let Some((batch, root)) = &ready.batch {
            self.shared.publish(batch.tail.position, *root, &ready.events);
        }
        for (reply, outcome) in ready.replies {
            let _ = reply.send(outcome);
        }
    }
}
