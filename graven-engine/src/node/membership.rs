//! What is known of a node's part in its group, between its thread and whoever asks.

use super::commit::Line;
use super::thread::may_pass;
use crate::append::Witness;
use crate::journal::{SharedJournal, Tail, Term};
use crate::replica::Keeper;
use graven_model::{Code, Error, Result, Timestamp};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads the journal another node writes.
    Follower,
    /// Writes the journal.
    Writer,
    /// Wrote the journal until another node claimed it. Opened again, it follows.
    SteppedDown,
}

impl Role {
    /// As interfaces say it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Role::Follower => "follower",
            Role::Writer => "writer",
            Role::SteppedDown => "stepped-down",
        }
    }
}

/// Where a node stands among those that share its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What it does.
    pub role: Role,
    /// Epoch of the journal, as this node knows.
    pub epoch: u32,
    /// URL of the node that writes; empty if it told none.
    pub writer: String,
    /// Position at which the journal ended when it was last asked, or later.
    pub journal_head: u64,
    /// When this node last held everything the journal had; `None` before it did.
    pub complete_at: Option<Timestamp>,
    /// Why the journal cannot be used just now, if so.
    pub trouble: Option<Error>,
}

/// See the module.
pub(crate) struct Membership {
    /// Own address.
    pub(super) address: String,
    pub(super) keeper: Arc<Keeper>,
    standing: Mutex<Standing>,
    role: watch::Sender<Role>,
    wishes: Mutex<Wishes>,
    wished: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The writer's connection to the journal.
    line: Mutex<Option<Line>>,
}

#[derive(Default)]
struct Wishes {
    stop: bool,
    take_over: Vec<oneshot::Sender<Result<Term>>>,
}

impl Membership {
    pub(super) fn new(address: String, keeper: Arc<Keeper>, standing: Standing) -> Membership {
        Membership {
            address,
            keeper,
            role: watch::Sender::new(standing.role),
            standing: Mutex::new(standing),
            wishes: Mutex::default(),
            wished: Condvar::new(),
            threads: Mutex::default(),
            line: Mutex::default(),
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing.lock().clone()
    }

    pub(crate) fn is_writer(&self) -> bool {
        self.standing.lock().role == Role::Writer
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// Where the copy ends.
    pub(super) fn copy(&self) -> Tail {
        let Witness { position, checksum, .. } = self.keeper.written();
        Tail { position, checksum }
    }

    /// What appends are told here.
    pub(crate) fn not_the_writer(&self) -> Error {
        let standing = self.standing.lock();
        // What is wrong here is wrong wherever the append goes: it may rest on what the journal lost.
        if let Some(error) = standing.trouble.as_ref().filter(|error| !may_pass(error)) {
            return error.clone();
        }
        Error::new(Code::NotTheWriter, "this node follows the journal; another one writes it")
            .naming_writer(&standing.writer)
    }

    /// Asks the node's thread to take over, and waits for what comes of it. Blocks.
    pub(crate) fn take_over(&self) -> Result<Term> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut wishes = self.wishes.lock();
            if wishes.stop {
                return Err(closed());
            }
            wishes.take_over.push(sender);
            self.wished.notify_all();
        }
        receiver.blocking_recv().unwrap_or_else(|_| Err(closed()))
    }

    /// Those who wait for this node to take over.
    pub(super) fn take_over_wishes(&self) -> Vec<oneshot::Sender<Result<Term>>> {
        std::mem::take(&mut self.wishes.lock().take_over)
    }

    pub(super) fn stopping(&self) -> bool {
        self.wishes.lock().stop
    }

    /// Waits, at most for `timeout`, for a wish or the stop.
    pub(super) fn pause(&self, timeout: Duration) {
        let mut wishes = self.wishes.lock();
        if !wishes.stop && wishes.take_over.is_empty() {
            self.wished.wait_for(&mut wishes, timeout);
        }
    }

    /// The journal answered.
    pub(super) fn heard(&self, term: Option<&Term>, journal_head: u64, complete_at: Option<Timestamp>) {
        let mut standing = self.standing.lock();
        if standing.trouble.take().is_some() {
            tracing::info!("the journal answers again");
        }
        if let Some(term) = term {
            standing.epoch = term.epoch;
            standing.writer.clone_from(&term.address);
        }
        standing.journal_head = standing.journal_head.max(journal_head);
        standing.complete_at = complete_at.or(standing.complete_at);
    }

    /// The journal did not answer, or not as it should.
    pub(super) fn trouble(&self, error: &Error) {
        let mut standing = self.standing.lock();
        if standing.trouble.is_none() {
            tracing::warn!(%error, "the journal cannot be used; trying again");
        }
        standing.trouble = Some(error.clone());
    }

    /// What this node does has changed.
    pub(super) fn becomes(&self, role: Role, term: &Term) {
        {
            let mut standing = self.standing.lock();
            if (standing.role, standing.epoch) == (role, term.epoch) {
                return;
            }
            standing.role = role;
            standing.epoch = term.epoch;
            standing.writer.clone_from(&term.address);
        }
        tracing::info!(role = role.word(), epoch = term.epoch, writer = %term.address, "this node's part has changed");
        self.role.send_replace(role);
    }

    pub(super) fn has_threads(&self, threads: Vec<JoinHandle<()>>) {
        *self.threads.lock() = threads;
    }

    /// Ends the node's threads. What was read is durable and indexed then; the writer, if there is one, may still commit.
    pub(crate) fn leave(&self) -> Result<()> {
        self.wishes.lock().stop = true;
        self.wished.notify_all();
        self.keeper.stop();
        let threads = std::mem::take(&mut *self.threads.lock());
        // The last handle of the store may be let go by one of them.
        let own = std::thread::current().id();
        let others = threads.into_iter().filter(|thread| thread.thread().id() != own);
        let panicked = others.map(JoinHandle::join).filter(Result::is_err).count() > 0;
        // Nobody is left to serve them.
        self.wishes.lock().take_over.clear();
        if panicked {
            return Err(Error::new(Code::Internal, "a thread of the node ended with a panic; see the log"));
        }
        Ok(())
    }

    pub(super) fn writes_over(&self, line: Line) {
        *self.line.lock() = Some(line);
    }

    /// Asks the journal that this node writes to. Waits while a batch is committed.
    ///
    /// # Errors
    /// [`Code::NotTheWriter`] if it writes to none; what `ask` returns.
    pub(crate) fn ask_journal<T>(&self, ask: impl FnOnce(&mut dyn SharedJournal) -> Result<T>) -> Result<T> {
        let line = self.line.lock().clone();
        line.ok_or_else(|| self.not_the_writer())?.ask(ask)
    }

    /// Makes durable what was written last, and lets the journal go. For when nothing is committed any more.
    pub(crate) fn settle(&self) -> Result<()> {
        if let Some(line) = self.line.lock().take() {
            line.let_go();
        }
        self.keeper.sync()
    }
}

fn closed() -> Error {
    Error::new(Code::Closed, "the store is closed")
}
