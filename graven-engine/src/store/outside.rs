//! What those may do to a store who gather evidence outside of it: note what they have in the log, and hold appends while
//! they have none.

use super::Store;
use graven_model::{Error, Receipt, Result};
use graven_proof::control::{Anchor, Control};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why appends are not taken, if somebody holds them. Asked for by every append.
#[derive(Default)]
pub(super) struct Hold {
    is_held: AtomicBool,
    refusal: Mutex<Option<Error>>,
}

impl Hold {
    /// # Errors
    /// The refusal of who holds appends.
    pub(super) fn check(&self) -> Result<()> {
        match self.is_held.load(Ordering::Acquire) {
            false => Ok(()),
            true => self.refusal.lock().clone().map_or(Ok(()), Err),
        }
    }
}

impl Store {
    /// Refuses appends with this error from now on, or takes them again. Reads go on, and so does what the store has to
    /// say about itself.
    pub fn hold_appends(&self, refusal: Option<Error>) {
        let hold = &self.inner.hold;
        let mut held = hold.refusal.lock();
        hold.is_held.store(refusal.is_some(), Ordering::Release);
        *held = refusal;
    }

    /// Notes evidence from outside in the log. Durable when this returns.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn append_anchor(&self, anchor: Anchor) -> Result<Receipt> {
        self.inner.trail.control().append(&Control::Anchor(anchor))
    }
}
