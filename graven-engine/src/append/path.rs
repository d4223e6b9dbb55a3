//! The write path from the queue to the acknowledgement, and which thread does what.
//!
//! There is one batch being made and at most one being flushed. Whose turn it is to flush (see `queue`) encodes what
//! waits, seals the batch and commits it. While it waits for the disk, threads that bring appends encode them into the
//! next batch, which is then flushed without another hop between threads; where much waits, a thread of its own does. A
//! lone append is encoded and flushed on the thread it comes from.

use super::Prepared;
use super::committer::{CommitPoint, Committer};
use super::queue::Queue;
use super::shared::Shared;
use super::writer::Writer;
use graven_model::Result;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of frames a thread that brings an append encodes at the most: about a tenth of a millisecond of work.
const HELP_BYTES_MAX: usize = 64 << 10;

/// Bytes of frames the assistant encodes before it lets the flusher have the batch.
const ASSIST_BYTES_MAX: usize = 1 << 20;

/// From the queue to the acknowledgement.
pub(crate) struct WritePath {
    shared: Arc<Shared>,
    queue: Queue,
    writer: Mutex<Writer>,
    committer: Committer,
    /// A batch is being flushed.
    flushing: AtomicBool,
    /// Appends may be flushed on the thread they come from.
    here: bool,
}

impl WritePath {
    /// `here`: a commit takes no longer than a flush of the disk, so that a caller may be made to wait for it.
    pub(crate) fn new(
        shared: Arc<Shared>,
        writer: Writer,
        point: Box<dyn CommitPoint>,
        here: bool,
    ) -> WritePath {
        let committer = Committer::new(Arc::clone(&shared), point);
        let (queue, writer, flushing) = (Queue::default(), Mutex::new(writer), AtomicBool::new(false));
        WritePath { shared, queue, writer, committer, flushing, here }
    }

    /// Queues an append.
    ///
    /// # Errors
    /// [`graven_model::Code::Overloaded`] if the queue is full, [`graven_model::Code::Closed`] if the store is closed.
    pub(crate) fn submit(&self, append: Prepared) -> Result<()> {
        self.queue.push(append)?;
        self.help();
        Ok(())
    }

    /// Queues appends in order. One that is refused is told why, as its outcome.
    pub(crate) fn submit_all(&self, appends: impl IntoIterator<Item = Prepared>) {
        self.queue.push_all(appends);
        self.help();
    }

    /// Queues an append; if appends come one at a time it is written before this returns.
    ///
    /// # Errors
    /// As [`WritePath::submit`].
    pub(crate) fn submit_here(&self, append: Prepared) -> Result<()> {
        if !self.here {
            return self.submit(append);
        }
        if !self.queue.push_or_take_turn(append)? {
            self.help();
            return Ok(());
        }
        let _turn = Turn(self);
        let bytes = self.queue.waiting_bytes();
        if self.writer.try_lock().is_some_and(|writer| !writer.may_take_long(bytes)) {
            self.write();
        }
        Ok(())
    }

    /// Encodes what waits while another thread waits for the disk. Does not block on either.
    fn help(&self) {
        if !self.flushing.load(Ordering::Acquire) {
            return;
        }
        let Some(mut writer) = self.writer.try_lock() else { return };
        if !writer.may_take_long(HELP_BYTES_MAX) {
            writer.fill(&self.queue, HELP_BYTES_MAX);
        }
        drop(writer);
        self.queue.call_assistant();
    }

    /// Encodes what waits whenever another thread waits for the disk, until the queue is closed. For a thread of its own.
    pub(crate) fn assist(&self) {
        while self.queue.wait_call() {
            while self.flushing.load(Ordering::Acquire) {
                let mut writer = self.writer.lock();
                if writer.may_take_long(ASSIST_BYTES_MAX) || !writer.fill(&self.queue, ASSIST_BYTES_MAX) {
                    break;
                }
            }
        }
    }

    /// Serves the queue until it is closed and empty, then leaves everything as a clean stop wants it. For the writer's
    /// thread.
    pub(crate) fn run(&self) {
        while self.queue.wait_turn() {
            self.write();
        }
        self.writer.lock().end();
    }

    /// Encodes what waits and flushes it. For whose turn it is.
    fn write(&self) {
        let _alarm = self.shared.alarm();
        let ready = {
            let mut writer = self.writer.lock();
            writer.fill(&self.queue, usize::MAX);
            // Nobody takes from the queue without the writer.
            self.queue.flushed();
            writer.seal()
        };
        let Some(ready) = ready else { return };
        self.flushing.store(true, Ordering::Release);
        self.queue.call_assistant();
        self.committer.commit(ready);
        self.flushing.store(false, Ordering::Release);
        if let Err(error) = self.shared.sources.tiles.write_full() {
            tracing::warn!(%error, "Merkle tiles stay in memory until they can be written");
        }
    }

    /// Refuses what comes from now on; what waits is still served.
    pub(crate) fn close(&self) {
        self.queue.close();
    }
}

/// A caller's turn to flush.
struct Turn<'a>(&'a WritePath);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.queue.end_turn();
    }
}
