//! A writer's commits: into the shared journal, then into the copy.

use super::membership::{Membership, Role};
use super::thread::{Pause, may_pass};
use crate::append::{CommitPoint, Failure, Shared, Witness};
use crate::journal::{Batch, Outcome, SharedJournal, Tail, Term, View};
use graven_model::{Code, Error, Result, Timestamp};
use graven_proof::Hash;
use parking_lot::Mutex;
use std::sync::Arc;

/// A writer's connection to its journal, until it is let go. Clones are the same.
#[derive(Clone)]
pub(super) struct Line(Arc<Mutex<Option<Box<dyn SharedJournal>>>>);

impl Line {
    pub(super) fn new(journal: Box<dyn SharedJournal>) -> Line {
        Line(Arc::new(Mutex::new(Some(journal))))
    }

    /// Asks the journal. Waits while somebody else does.
    ///
    /// # Errors
    /// [`Code::Closed`] if it was let go; what `ask` returns.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(&mut dyn SharedJournal) -> Result<T>) -> Result<T> {
        ask(&mut **self.0.lock().as_mut().ok_or_else(closed)?)
    }

    /// [`Line::ask`], but `None` at once while somebody else does.
    pub(super) fn try_ask<T>(
        &self,
        ask: impl FnOnce(&mut dyn SharedJournal) -> Result<T>,
    ) -> Option<Result<T>> {
        Some(self.0.try_lock()?.as_mut().ok_or_else(closed).and_then(|journal| ask(&mut **journal)))
    }

    /// Closes the connection: others see that this writer is gone.
    pub(super) fn let_go(&self) {
        *self.0.lock() = None;
    }
}

fn closed() -> Error {
    Error::new(Code::Closed, "the store is closed")
}

/// The commit point of the node that writes.
pub(super) struct SharedCommit {
    pub(super) line: Line,
    pub(super) shared: Arc<Shared>,
    pub(super) member: Arc<Membership>,
    pub(super) term: Term,
}

/// What became of a batch whose commit did not say.
enum Fate {
    Stored,
    /// And it may be sent again: the journal ends where it has to.
    Missing,
    /// It never will be there; who writes now.
    Overtaken(Error, Term),
}

impl CommitPoint for SharedCommit {
    fn commit(&mut self, batch: &Batch, root: &Hash) -> std::result::Result<(), Failure> {
        self.store(batch)?;
        // It is durable. Without it in the copy it cannot be shown, so nothing may come after it.
        let log = &self.shared.sources.log;
        log.write(batch.expected.position, &batch.frames).map_err(Failure::Unknown)?;
        let Tail { position, checksum } = batch.tail;
        self.member.keeper.note(Witness { position, checksum, root: *root }, batch.frames.len());
        let now = Timestamp::from_micros(self.shared.env.clock.now_us());
        self.member.heard(None, position, Some(now));
        Ok(())
    }

    fn confirm(&mut self) -> std::result::Result<(), Failure> {
        let copy = self.member.copy();
        let mut pause = Pause::default();
        loop {
            match self.line.ask(|journal| journal.look(copy.position)) {
                Ok(view) => match overtaken(&view, &self.term, copy) {
                    None if view.tail == copy => return Ok(()),
                    None => return Err(self.step_down(no_longer(&self.term, &view.term), &view.term)),
                    Some(cause) => return Err(self.step_down(cause, &view.term)),
                },
                Err(error) => self.endure(error, &mut pause)?,
            }
        }
    }
}

impl SharedCommit {
    /// Brings a batch into the journal, however long that takes.
    fn store(&self, batch: &Batch) -> std::result::Result<(), Failure> {
        let mut pause = Pause::default();
        loop {
            match self.line.ask(|journal| Ok(journal.commit(batch))) {
                Ok(Outcome::Appended(tail)) if tail == batch.tail => return Ok(()),
                Ok(Outcome::Appended(_) | Outcome::Conflict(_)) => {}
                Ok(Outcome::Unknown(error)) | Err(error) => self.endure(error, &mut pause)?,
            }
            loop {
                match self.line.ask(|journal| self.fate(journal, batch)) {
                    Ok(Fate::Stored) => return Ok(()),
                    Ok(Fate::Missing) => break,
                    Ok(Fate::Overtaken(cause, term)) => return Err(self.step_down(cause, &term)),
                    Err(error) => self.endure(error, &mut pause)?,
                }
            }
            // A conflict with nothing there: never again at once.
            self.member.pause(pause.next());
        }
    }

    /// Reads what became of a batch.
    fn fate(&self, journal: &mut dyn SharedJournal, batch: &Batch) -> Result<Fate> {
        let expected = batch.expected;
        let view = journal.look(expected.position)?;
        if view.tail == expected {
            return Ok(match overtaken(&view, &self.term, expected) {
                None => Fate::Missing,
                Some(cause) => Fate::Overtaken(cause, view.term),
            });
        }
        if let Some(cause) = diverged(&view, expected) {
            return Ok(Fate::Overtaken(cause, view.term));
        }
        let next = journal.read(expected.position, 1)?;
        Ok(match next.first() {
            Some(next) if (next.writer, next.number) == (batch.writer, batch.number) => Fate::Stored,
            _ => Fate::Overtaken(no_longer(&self.term, &view.term), view.term),
        })
    }

    /// Waits before the journal is asked again; gives up when that cannot help, or the node stops.
    fn endure(&self, error: Error, pause: &mut Pause) -> std::result::Result<(), Failure> {
        self.member.trouble(&error);
        if !may_pass(&error) || self.member.stopping() {
            return Err(Failure::Unknown(error));
        }
        self.member.pause(pause.next());
        Ok(())
    }

    fn step_down(&self, cause: Error, term: &Term) -> Failure {
        if cause.code == Code::NotTheWriter {
            self.member.becomes(Role::SteppedDown, term);
        }
        Failure::Refused(cause)
    }
}

/// Why a writer whose copy ends at `copy`, where it looked, writes no longer, if so. That the journal lost something goes
/// before that somebody else writes: a copy that remembers it cannot follow either.
pub(super) fn overtaken(view: &View, own: &Term, copy: Tail) -> Option<Error> {
    let other = (view.term.epoch, view.term.writer) != (own.epoch, own.writer);
    diverged(view, copy).or_else(|| other.then(|| no_longer(own, &view.term)))
}

/// This node's term has ended.
pub(super) fn no_longer(own: &Term, now: &Term) -> Error {
    Error::new(Code::NotTheWriter, "another node has taken over; this one writes no longer")
        .expected(format!("epoch {}", own.epoch))
        .found(format!("epoch {}", now.epoch))
        .naming_writer(&now.address)
}

/// That the journal lost what it had acknowledged, if it does not hold a batch that ends at `copy`, where it was looked at.
fn diverged(view: &View, copy: Tail) -> Option<Error> {
    if view.tail.position < copy.position {
        return Some(went_back(copy.position, view.tail.position));
    }
    if copy.position == 0 || view.checksum == Some(copy.checksum) {
        return None;
    }
    let found = view.checksum.map_or("no end of a batch there".to_owned(), |found| format!("{found:08x}"));
    let expected = format!("checksum {:08x} at position {}", copy.checksum, copy.position);
    Some(Error {
        expected: Some(expected),
        found: Some(found),
        ..went_back(copy.position, view.tail.position)
    })
}

/// The journal ends before what a copy holds, or has something else there.
pub(super) fn went_back(copy: u64, journal: u64) -> Error {
    Error::new(
        Code::HistoryDiverged,
        "the journal lost batches it had acknowledged: it went back, as an asynchronous standby or a restored backup does",
    )
    .expected(format!("{copy} events or more"))
    .found(format!("{journal} events"))
}
