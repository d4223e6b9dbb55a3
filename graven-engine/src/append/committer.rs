//! Commits encoded batches, one at a time: durable, then visible, then acknowledged.

use super::facts::PendingEvent;
use super::shared::Shared;
use crate::journal::{Batch, Journal, Outcome};
use graven_model::{Code, Error, Receipt, Result};
use graven_proof::Hash;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A batch that is encoded: its frames and what to tell whom afterwards.
pub(super) struct Ready {
    pub(super) number: u64,
    pub(super) batch: Option<Batch>,
    pub(super) events: Arc<Vec<PendingEvent>>,
    pub(super) root: Hash,
    pub(super) replies: Vec<(oneshot::Sender<Result<Receipt>>, Result<Receipt>)>,
}

/// Commits batches, one at a time, and publishes them.
pub(super) struct Committer {
    shared: Arc<Shared>,
    journal: Mutex<Box<dyn Journal>>,
    slot: Mutex<Slot>,
    changed: Condvar,
}

#[derive(Default)]
struct Slot {
    waiting: Option<Ready>,
    busy: bool,
    stop: bool,
    /// Number of the last batch that is durable.
    durable_batch: u64,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, journal: Box<dyn Journal>) -> Committer {
        Committer { shared, journal: Mutex::new(journal), slot: Mutex::default(), changed: Condvar::new() }
    }

    /// Number of the last batch that is durable.
    pub(super) fn durable_batch(&self) -> u64 {
        self.slot.lock().durable_batch
    }

    /// Commits a batch on the calling thread. The committer must be idle.
    pub(super) fn commit_here(&self, ready: Ready) {
        let number = ready.number;
        self.commit(ready);
        self.slot.lock().durable_batch = number;
    }

    /// Ends [`Committer::run`].
    pub(super) fn stop(&self) {
        self.slot.lock().stop = true;
        self.changed.notify_all();
    }

    pub(super) fn idle(&self) -> bool {
        let slot = self.slot.lock();
        slot.waiting.is_none() && !slot.busy
    }

    pub(super) fn wait_idle(&self) {
        let mut slot = self.slot.lock();
        while slot.waiting.is_some() || slot.busy {
            self.changed.wait(&mut slot);
        }
    }

    /// Hands a batch to the committer's thread as soon as the one before is done.
    pub(super) fn hand_over(&self, ready: Ready) {
        let mut slot = self.slot.lock();
        while slot.waiting.is_some() || slot.busy {
            self.changed.wait(&mut slot);
        }
        slot.waiting = Some(ready);
        self.changed.notify_all();
    }

    pub(super) fn run(&self) {
        let mut slot = self.slot.lock();
        loop {
            if let Some(ready) = slot.waiting.take() {
                slot.busy = true;
                let number = ready.number;
                parking_lot::MutexGuard::unlocked(&mut slot, || self.commit(ready));
                slot.busy = false;
                slot.durable_batch = number;
                self.changed.notify_all();
            } else if slot.stop {
                return;
            } else {
                self.changed.wait(&mut slot);
            }
        }
    }

    /// Makes a batch durable, visible, and then acknowledged, in this order.
    fn commit(&self, ready: Ready) {
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
