//! What the writer shares with readers: the head, the root at it, the counts, and whether all is well.

use super::facts::{PendingEvent, Sources};
use super::frames::Chain;
use crate::audit::Eraser;
use crate::env::Env;
use crate::stats::Tally;
use graven_model::{Code, Error, Position, Result};
use graven_proof::Hash;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// What the writer shares with readers.
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) sources: Sources,
    pub(crate) eraser: Eraser,
    head: AtomicU64,
    watch: watch::Sender<Position>,
    pub(crate) tally: Mutex<Tally>,
    root: Mutex<(u64, Hash)>,
    poisoned: Mutex<Option<Error>>,
    /// The last refusal for want of space; cleared by the next append that finds room.
    pub(crate) disk_full: Mutex<Option<Error>>,
    /// For those who wait for the head without an async runtime, and the sign that no more will come.
    closed: Mutex<bool>,
    moved: Condvar,
}

impl Shared {
    pub(crate) fn new(env: Env, sources: Sources, chain: &Chain, tally: Tally) -> Shared {
        Shared {
            env,
            sources,
            eraser: Eraser::default(),
            head: AtomicU64::new(chain.position),
            watch: watch::Sender::new(Position(chain.position)),
            tally: Mutex::new(tally),
            root: Mutex::new((chain.position, chain.root())),
            poisoned: Mutex::new(None),
            disk_full: Mutex::new(None),
            closed: Mutex::new(false),
            moved: Condvar::new(),
        }
    }

    /// True once the store was closed.
    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.lock()
    }

    /// Wakes everyone who waits for the head: no more will come.
    pub(crate) fn close(&self) {
        *self.closed.lock() = true;
        self.moved.notify_all();
        self.watch.send_modify(|_| {});
    }

    /// Blocks until the head is above `next`; false after `timeout`.
    pub(crate) fn wait_head_above(&self, next: u64, timeout: std::time::Duration) -> Result<bool> {
        let mut closed = self.closed.lock();
        loop {
            if self.head() > next {
                return Ok(true);
            }
            if *closed {
                return Err(Error::new(Code::Closed, "the store is closed"));
            }
            if self.moved.wait_for(&mut closed, timeout).timed_out() {
                return Ok(self.head() > next);
            }
        }
    }

    /// Positions below this are durable and visible.
    pub(crate) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Position> {
        self.watch.subscribe()
    }

    /// Head and Merkle root at it.
    pub(crate) fn root(&self) -> (u64, Hash) {
        *self.root.lock()
    }

    /// Why the writer stopped, if it did.
    pub(crate) fn poisoned(&self) -> Option<Error> {
        self.poisoned.lock().clone()
    }

    /// For as long as something is at work that nobody may go on with if it panics.
    pub(super) fn alarm(&self) -> Alarm<'_> {
        Alarm(self)
    }

    /// Ends all writing. The first cause stays.
    pub(crate) fn poison(&self, error: Error) {
        let mut poisoned = self.poisoned.lock();
        if poisoned.is_none() {
            if error.code == Code::NotTheWriter {
                tracing::info!(%error, "the store only reads from now on");
            } else {
                tracing::error!(%error, "the store only reads from now on");
            }
            *poisoned = Some(error);
        }
    }

    /// The error appends are refused with since the writer stopped, if it did.
    pub(crate) fn refusal_when_poisoned(&self) -> Option<Error> {
        self.poisoned().map(|cause| match cause.code {
            // Nothing is wrong with what is here.
            Code::NotTheWriter | Code::HistoryDiverged | Code::VerificationFailed => cause,
            _ => Error::new(
                Code::Poisoned,
                format!("the store only reads since a write failed ({})", cause.message),
            ),
        })
    }

    /// Makes durable events visible, counts them, and wakes who waits for them.
    pub(super) fn publish(&self, head: u64, root: Hash, events: &[PendingEvent]) {
        let mut tally = self.tally.lock();
        for pending in events {
            let (stream, event) = pending.parts();
            let bytes = (event.data.len() + event.metadata.len()) as u64;
            tally.add(stream.as_str(), &event.event_type, bytes, pending.revision == 0);
        }
        drop(tally);
        self.advance(head, root);
    }

    /// Makes events visible that are durable, counted and indexed.
    pub(crate) fn advance(&self, head: u64, root: Hash) {
        self.sources.index.durable(head);
        *self.root.lock() = (head, root);
        self.head.store(head, Ordering::Release);
        self.watch.send_replace(Position(head));
        drop(self.closed.lock());
        self.moved.notify_all();
    }
}

/// Ends all writing if it is dropped by a panic.
pub(super) struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison(Error::new(Code::Internal, "the writer panicked; the log says where"));
        }
    }
}
