//! Admission: appends wait here to be encoded, bounded by bytes and by number. And whose turn it is to flush: that of the
//! writer's thread, or, while appends come one at a time, that of the thread an append comes from.

use super::Prepared;
use graven_model::{Code, Error, Result, limits};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;

/// After so many appends that found nothing under way, the next one is written on the thread it comes from. Fewer would
/// make callers flush while others wait for their threads: measured, that costs more than it saves.
const ALONE_MIN: u32 = 16;

/// So many bytes of frames take longer to encode than the assistant takes to wake.
const ASSISTANCE_BYTES_MIN: usize = 32 << 10;

/// The queue before the writer.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// For the writer's thread: it is its turn.
    turn: Condvar,
    /// For the assistant: there is work for it, or no more will come.
    assistance: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Prepared>,
    bytes: usize,
    /// Some of what was taken is in a batch that nobody flushes yet.
    unflushed: bool,
    closed: bool,
    assistant_wanted: bool,
    flusher: Flusher,
    /// Appends in a row that found nothing under way.
    alone: u32,
}

/// Whose turn it is to flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Flusher {
    /// Nobody's: there is nothing.
    #[default]
    None,
    /// That of the writer's thread.
    Thread,
    /// That of the thread a lone append came from.
    Caller,
}

impl State {
    /// # Errors
    /// [`Code::Overloaded`] if there is no room for an append, [`Code::Closed`] if the store is closed.
    fn admit(&self, append: &Prepared) -> Result<()> {
        if self.closed {
            return Err(Error::new(Code::Closed, "the store is closed"));
        }
        let bytes = self.bytes + append.frame_bytes_max;
        if self.waiting.len() >= limits::QUEUE_APPENDS_MAX
            || (bytes > limits::QUEUE_BYTES_MAX && self.bytes > 0)
        {
            return Err(Error::new(Code::Overloaded, "too much is waiting to be written").found(format!(
                "{} appends of {} bytes waiting",
                self.waiting.len(),
                self.bytes
            )));
        }
        Ok(())
    }

    fn push(&mut self, append: Prepared) {
        self.bytes += append.frame_bytes_max;
        self.waiting.push_back(append);
        self.alone = if self.flusher == Flusher::None { self.alone.saturating_add(1) } else { 0 };
    }

    fn has_work(&self) -> bool {
        !self.waiting.is_empty() || self.unflushed
    }
}

impl Queue {
    /// Puts appends at the end, in order. One that is refused is told why, as its outcome.
    pub(super) fn push_all(&self, appends: impl IntoIterator<Item = Prepared>) {
        let mut state = self.state.lock();
        for append in appends {
            match state.admit(&append) {
                Ok(()) => state.push(append),
                Err(error) => drop(append.reply.send(Err(error))),
            }
        }
        self.wake_thread(&mut state);
    }

    /// Puts an append at the end.
    ///
    /// # Errors
    /// [`Code::Overloaded`] if the queue is full, [`Code::Closed`] if the store is closed.
    pub(super) fn push(&self, append: Prepared) -> Result<()> {
        let mut state = self.state.lock();
        state.admit(&append)?;
        state.push(append);
        self.wake_thread(&mut state);
        Ok(())
    }

    /// As [`Queue::push`], but if appends come one at a time it is the caller's turn to flush until he ends it: true.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub(super) fn push_or_take_turn(&self, append: Prepared) -> Result<bool> {
        let mut state = self.state.lock();
        state.admit(&append)?;
        state.push(append);
        if state.flusher == Flusher::None && state.alone > ALONE_MIN {
            state.flusher = Flusher::Caller;
            return Ok(true);
        }
        self.wake_thread(&mut state);
        Ok(false)
    }

    fn wake_thread(&self, state: &mut State) {
        if state.flusher == Flusher::None && state.has_work() {
            state.flusher = Flusher::Thread;
            self.turn.notify_one();
        }
    }

    /// Waits until it is the thread's turn; false when closed and nothing is left.
    pub(super) fn wait_turn(&self) -> bool {
        let mut state = self.state.lock();
        loop {
            if state.flusher != Flusher::Caller {
                if state.has_work() {
                    state.flusher = Flusher::Thread;
                    return true;
                }
                state.flusher = Flusher::None;
                if state.closed {
                    return false;
                }
            }
            self.turn.wait(&mut state);
        }
    }

    /// Ends a caller's turn: the thread goes on with what came meanwhile.
    pub(super) fn end_turn(&self) {
        let mut state = self.state.lock();
        state.flusher = Flusher::None;
        self.wake_thread(&mut state);
        if state.closed {
            self.turn.notify_all();
        }
    }

    /// Wakes the assistant if so much waits that it is worth it.
    pub(super) fn call_assistant(&self) {
        let mut state = self.state.lock();
        if state.bytes >= ASSISTANCE_BYTES_MIN && !state.assistant_wanted {
            state.assistant_wanted = true;
            self.assistance.notify_one();
        }
    }

    /// Waits until the assistant is called; false when no more will come.
    pub(super) fn wait_call(&self) -> bool {
        let mut state = self.state.lock();
        while !state.assistant_wanted && !state.closed {
            self.assistance.wait(&mut state);
        }
        state.assistant_wanted = false;
        !state.closed
    }

    /// Upper bound of the bytes the appends that wait have as frames.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Moves what waits into a batch, in order, as long as it fits: `fits` is asked about each. The batch
    /// counts as unflushed until [`Queue::flushed`].
    pub(super) fn take(&self, batch: &mut Vec<Prepared>, mut fits: impl FnMut(&Prepared) -> bool) {
        let mut state = self.state.lock();
        while let Some(append) = state.waiting.pop_front_if(|append| fits(append)) {
            state.bytes -= append.frame_bytes_max;
            state.unflushed = true;
            batch.push(append);
        }
    }

    /// What was taken so far is being flushed. Nobody may take meanwhile.
    pub(super) fn flushed(&self) {
        self.state.lock().unflushed = false;
    }

    /// Refuses what comes from now on; what waits is still served.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.turn.notify_all();
        self.assistance.notify_all();
    }
}
