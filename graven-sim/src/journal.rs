//! [`SimJournal`]: a journal that several writers share over a bad line, as a remote one will be.
//!
//! Answers get lost, batches come late or twice, and a writer that was taken for dead goes on writing. What it stores
//! obeys the laws of [`graven_engine::journal`] all the same.

use graven_engine::journal::{Batch, Claim, Journal, Outcome, SharedJournal, Tail, Term, View};
use graven_engine::replica::LogIdentity;
use graven_model::{Code, Error, Result};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// What the line does to a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Nothing.
    Good,
    /// The batch is lost on its way there.
    LostBefore,
    /// The answer is lost on its way back.
    LostAfter,
    /// The batch arrives when [`JournalServer::deliver`] says so; the writer has no answer.
    Late,
    /// The batch arrives twice; the writer gets the answer to the first.
    Twice,
    /// The journal is not what it was, for ever.
    Broken,
}

/// The journal itself, apart from its writers. Clones are the same journal.
#[derive(Clone)]
pub struct JournalServer(Arc<Server>);

struct Server {
    state: Mutex<State>,
    /// The journal has grown, or the line has changed.
    changed: Condvar,
}

struct State {
    begin: Tail,
    identity: Option<LogIdentity>,
    term: Term,
    /// Number of the connection that holds the term, while it is open.
    holder: Option<u64>,
    connections: u64,
    batches: Vec<Batch>,
    line: VecDeque<Line>,
    late: Vec<Batch>,
    /// Nobody is answered.
    down: bool,
    /// How often every connection was cut.
    cuts: u64,
}

impl JournalServer {
    /// An empty journal of a log with this id.
    #[must_use]
    pub fn new(log_id: [u8; 16]) -> JournalServer {
        JournalServer(Arc::new(Server {
            state: Mutex::new(State {
                begin: begin_of(log_id),
                identity: None,
                term: Term::default(),
                holder: None,
                connections: 0,
                batches: Vec::new(),
                line: VecDeque::new(),
                late: Vec::new(),
                down: false,
                cuts: 0,
            }),
            changed: Condvar::new(),
        }))
    }

    /// A connection. It may write until a later epoch has begun.
    #[must_use]
    pub fn connect(&self) -> SimJournal {
        let mut state = self.0.state.lock();
        state.connections += 1;
        SimJournal {
            server: self.clone(),
            number: state.connections,
            tail: state.tail(),
            epoch: 0,
            cuts: state.cuts,
        }
    }

    /// From now on nobody is answered, or everybody again.
    pub fn set_down(&self, down: bool) {
        self.0.state.lock().down = down;
        self.0.changed.notify_all();
    }

    /// Every connection is cut: the call under way on it, or its next one, is not answered, and those after it come over a
    /// new one.
    pub fn cut(&self) {
        let mut state = self.0.state.lock();
        state.cuts += 1;
        state.holder = None;
        drop(state);
        self.0.changed.notify_all();
    }

    /// The journal loses its last batches, as an asynchronous standby has never had them.
    pub fn lose_last(&self, batches: usize) {
        let mut state = self.0.state.lock();
        let kept = state.batches.len().saturating_sub(batches);
        state.batches.truncate(kept);
    }

    /// Where it ends.
    #[must_use]
    pub fn tail(&self) -> Tail {
        self.0.state.lock().tail()
    }

    /// What the line does to the commits to come, one after the other; nothing to those after them.
    pub fn plan(&self, line: impl IntoIterator<Item = Line>) {
        self.0.state.lock().line.extend(line);
    }

    /// Late batches arrive, in the order they were sent.
    pub fn deliver(&self) {
        let mut state = self.0.state.lock();
        for batch in std::mem::take(&mut state.late) {
            state.store(&batch);
        }
    }
}

impl State {
    fn tail(&self) -> Tail {
        self.batches.last().map_or(self.begin, |batch| batch.tail)
    }

    /// Compare and append.
    fn store(&mut self, batch: &Batch) -> Outcome {
        let tail = self.tail();
        let over =
            batch.epoch < self.term.epoch || self.batches.last().is_some_and(|last| batch.epoch < last.epoch);
        if batch.expected != tail || over {
            return Outcome::Conflict(tail);
        }
        self.batches.push(batch.clone());
        Outcome::Appended(batch.tail)
    }
}

/// One node's end of the line.
pub struct SimJournal {
    server: JournalServer,
    number: u64,
    tail: Tail,
    /// Of the last term it claimed.
    epoch: u32,
    /// Cuts it has noticed.
    cuts: u64,
}

impl SimJournal {
    fn server(&mut self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.server.0.state.lock();
        if state.down {
            return Err(silence());
        }
        if self.cuts < state.cuts {
            self.cuts = state.cuts;
            if state.term.epoch == self.epoch {
                state.holder = state.holder.or(Some(self.number));
            }
            return Err(silence());
        }
        Ok(state)
    }
}

impl Drop for SimJournal {
    fn drop(&mut self) {
        let mut state = self.server.0.state.lock();
        state.holder = state.holder.filter(|holder| *holder != self.number);
    }
}

fn begin_of(log_id: [u8; 16]) -> Tail {
    Tail { position: 0, checksum: crc32c::crc32c(&log_id) }
}

fn silence() -> Error {
    Error::new(Code::JournalUnreachable, "the journal does not answer")
}

impl Journal for SimJournal {
    fn tail(&self) -> Tail {
        self.tail
    }

    fn commit(&mut self, batch: &Batch) -> Outcome {
        let mut state = match self.server() {
            Ok(state) => state,
            Err(error) => return Outcome::Unknown(error),
        };
        let silence = || Outcome::Unknown(silence());
        let outcome = match state.line.pop_front().unwrap_or(Line::Good) {
            Line::Good => state.store(batch),
            Line::Twice => {
                let first = state.store(batch);
                state.store(batch);
                first
            }
            Line::LostBefore => silence(),
            Line::Broken => Outcome::Unknown(Error::new(Code::Corrupted, "the journal holds something else")),
            Line::LostAfter => {
                state.store(batch);
                silence()
            }
            Line::Late => {
                state.late.push(batch.clone());
                silence()
            }
        };
        drop(state);
        self.server.0.changed.notify_all();
        if let Outcome::Appended(tail) | Outcome::Conflict(tail) = outcome {
            self.tail = tail;
        }
        outcome
    }

    fn read(&mut self, from: u64, bytes_max: usize) -> Result<Vec<Batch>> {
        let state = self.server()?;
        let mut bytes = 0;
        let mut read = Vec::new();
        for batch in state.batches.iter().filter(|batch| batch.tail.position > from) {
            if !read.is_empty() && bytes >= bytes_max {
                break;
            }
            bytes += batch.frames.len();
            read.push(batch.clone());
        }
        let tail = state.tail();
        drop(state);
        self.tail = tail;
        Ok(read)
    }

    fn trim(&mut self, before: u64) -> Result<()> {
        let mut state = self.server()?;
        // The last batch stays: it tells the tail.
        let kept = state.batches.iter().position(|batch| batch.tail.position > before);
        let kept = kept.unwrap_or(state.batches.len().saturating_sub(1));
        state.batches.drain(..kept);
        Ok(())
    }
}

impl SharedJournal for SimJournal {
    fn identity(&mut self) -> Result<Option<LogIdentity>> {
        Ok(self.server()?.identity.clone())
    }

    fn found(&mut self, identity: &LogIdentity) -> Result<LogIdentity> {
        let mut state = self.server()?;
        if state.identity.is_none() {
            state.begin = begin_of(identity.log_id.0);
        }
        Ok(state.identity.get_or_insert_with(|| identity.clone()).clone())
    }

    fn claim(&mut self, writer: [u8; 16], address: &str, claim: Claim) -> Result<Term> {
        let number = self.number;
        let mut state = self.server()?;
        if claim == Claim::IfVacant && state.holder.is_some_and(|holder| holder != number) {
            return Err(Error::new(Code::NotTheWriter, "another writer is connected")
                .naming_writer(&state.term.address));
        }
        let term = Term { epoch: state.term.epoch + 1, writer, address: address.to_owned() };
        state.term.clone_from(&term);
        state.holder = Some(number);
        drop(state);
        self.epoch = term.epoch;
        Ok(term)
    }

    fn look(&mut self, at: u64) -> Result<View> {
        let state = self.server()?;
        let begin = std::iter::once(state.begin);
        let mut ends = begin.chain(state.batches.iter().map(|batch| batch.tail));
        let view = View {
            tail: state.tail(),
            checksum: ends.find(|tail| tail.position == at).map(|tail| tail.checksum),
            term: state.term.clone(),
        };
        drop(state);
        self.tail = view.tail;
        Ok(view)
    }

    fn rewrite(&mut self, batch: &Batch) -> Result<bool> {
        let epoch = self.epoch;
        let mut state = self.server()?;
        if state.term.epoch != epoch {
            return Err(Error::new(Code::NotTheWriter, "another node has claimed the journal")
                .naming_writer(&state.term.address));
        }
        let same = |known: &&mut Batch| (known.expected, known.tail) == (batch.expected, batch.tail);
        let found = state.batches.iter_mut().find(same);
        Ok(found.map(|known| known.frames.clone_from(&batch.frames)).is_some())
    }

    fn wait(&mut self, beyond: u64, timeout: Duration) -> Result<()> {
        let shared = Arc::clone(&self.server.0);
        let mut state = self.server()?;
        if state.tail().position <= beyond {
            shared.changed.wait_for(&mut state, timeout);
        }
        drop(state);
        self.server().map(drop)
    }

    fn risks(&mut self) -> Result<Vec<String>> {
        Ok(vec!["it is simulated: it is gone with the process".to_owned()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn batch(expected: Tail, epoch: u32, number: u64) -> Batch {
        let tail = Tail { position: expected.position + 1, checksum: expected.checksum ^ number as u32 };
        Batch {
            expected,
            tail,
            epoch,
            writer: [epoch as u8; 16],
            number,
            frames: Bytes::from_static(b"frame"),
        }
    }

    #[test]
    fn a_late_batch_arrives_once_and_only_if_nobody_was_faster() {
        for overtaken in [false, true] {
            let shared = JournalServer::new([1; 16]);
            let mut writer = shared.connect();
            shared.plan([Line::Late]);
            let late = batch(writer.tail(), 1, 7);
            assert!(matches!(writer.commit(&late), Outcome::Unknown(_)));
            assert!(writer.read(0, 100).unwrap().is_empty());
            let expected = if overtaken {
                let other = batch(writer.tail(), 1, 8);
                assert_eq!(writer.commit(&other), Outcome::Appended(other.tail));
                other
            } else {
                late
            };
            shared.deliver();
            shared.deliver();
            assert_eq!(writer.read(0, 100).unwrap(), [expected]);
        }
    }

    #[test]
    fn a_batch_that_arrives_twice_is_there_once() {
        let shared = JournalServer::new([1; 16]);
        let mut writer = shared.connect();
        shared.plan([Line::Twice]);
        let twice = batch(writer.tail(), 1, 7);
        assert_eq!(writer.commit(&twice), Outcome::Appended(twice.tail));
        assert_eq!(writer.read(0, 100).unwrap(), [twice]);
    }

    #[test]
    fn a_batch_that_comes_after_a_claim_is_not_stored() {
        let shared = JournalServer::new([1; 16]);
        let mut old = shared.connect();
        let term = old.claim([1; 16], "", Claim::IfVacant).unwrap();
        shared.plan([Line::Late]);
        let late = batch(old.tail(), term.epoch, 7);
        assert!(matches!(old.commit(&late), Outcome::Unknown(_)));
        shared.connect().claim([2; 16], "", Claim::TakeOver).unwrap();
        shared.deliver();
        assert_eq!(old.read(0, 100).unwrap(), []);
    }

    #[test]
    fn a_writer_back_from_the_dead_changes_nothing() {
        let shared = JournalServer::new([1; 16]);
        let mut zombie = shared.connect();
        shared.plan([Line::Late]);
        let late = batch(zombie.tail(), 1, 7);
        assert!(matches!(zombie.commit(&late), Outcome::Unknown(_)));
        let mut successor = shared.connect();
        let first = batch(successor.tail(), 2, 8);
        assert_eq!(successor.commit(&first), Outcome::Appended(first.tail));
        shared.deliver();
        let next = batch(first.tail, 1, 9);
        assert_eq!(zombie.commit(&next), Outcome::Conflict(first.tail), "its epoch is over");
        assert_eq!(successor.read(0, 100).unwrap(), [first]);
    }
}
