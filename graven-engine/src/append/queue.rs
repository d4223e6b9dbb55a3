//! Admission: appends wait here for the writer, bounded by bytes and by number.

use super::Prepared;
use graven_model::{Code, Error, Result, limits};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;

/// The queue before the writer.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Prepared>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    /// Puts an append at the end.
    ///
    /// # Errors
    /// [`Code::Overloaded`] if the queue is full, [`Code::Closed`] if the store is closed.
    pub(crate) fn push(&self, append: Prepared) -> Result<()> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Error::new(Code::Closed, "the store is closed"));
        }
        let bytes = state.bytes + append.frame_bytes_max;
        if state.waiting.len() >= limits::QUEUE_APPENDS_MAX
            || (bytes > limits::QUEUE_BYTES_MAX && state.bytes > 0)
        {
            return Err(Error::new(Code::Overloaded, "too much is waiting to be written").found(format!(
                "{} appends of {} bytes waiting",
                state.waiting.len(),
                state.bytes
            )));
        }
        state.bytes = bytes;
        state.waiting.push_back(append);
        if state.waiting.len() == 1 {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Takes what waits, in order, up to the bound of a batch; waits for the first. `None` when closed and empty.
    pub(crate) fn take_batch(&self, batch: &mut Vec<Prepared>) -> Option<()> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            self.filled.wait(&mut state);
        }
        let mut bytes = 0;
        while let Some(append) = state.waiting.front() {
            if bytes > 0 && bytes + append.frame_bytes_max > limits::BATCH_BYTES_MAX {
                break;
            }
            bytes += append.frame_bytes_max;
            let append = state.waiting.pop_front().expect("the front was just seen");
            state.bytes -= append.frame_bytes_max;
            batch.push(append);
        }
        Some(())
    }

    /// True if nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().waiting.is_empty()
    }

    /// Refuses what comes from now on; what waits is still served.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
    }
}
