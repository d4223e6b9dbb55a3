//! [`SimJournal`]: a journal that several writers share over a bad line, as a remote one will be.
//!
//! Answers get lost, batches come late or twice, and a writer that was taken for dead goes on writing. What it stores
//! obeys the laws of [`graven_engine::journal`] all the same.

use graven_engine::journal::{Batch, Journal, Outcome, Tail};
use graven_model::{Code, Error, Result};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// What the line does to a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Nothing.
    Good,
    /// The batch is lost on its way there.
    LostBefore,
    /// The answer is lost on its way back.
    LostAfter,
    /// The batch arrives when [`SharedJournal::deliver`] says so; the writer has no answer.
    Late,
    /// The batch arrives twice; the writer gets the answer to the first.
    Twice,
}

/// The journal itself, apart from its writers. Clones are the same journal.
#[derive(Clone)]
pub struct SharedJournal(Arc<Mutex<State>>);

struct State {
    begin: Tail,
    batches: Vec<Batch>,
    line: VecDeque<Line>,
    late: Vec<Batch>,
}

impl SharedJournal {
    /// An empty journal of a log with this id.
    #[must_use]
    pub fn new(log_id: [u8; 16]) -> SharedJournal {
        let begin = Tail { position: 0, checksum: crc32c::crc32c(&log_id) };
        SharedJournal(Arc::new(Mutex::new(State {
            begin,
            batches: Vec::new(),
            line: VecDeque::new(),
            late: Vec::new(),
        })))
    }

    /// A writer. It may write until one of a later epoch has written.
    #[must_use]
    pub fn connect(&self) -> SimJournal {
        SimJournal { shared: self.clone(), tail: self.0.lock().tail() }
    }

    /// What the line does to the commits to come, one after the other; nothing to those after them.
    pub fn plan(&self, line: impl IntoIterator<Item = Line>) {
        self.0.lock().line.extend(line);
    }

    /// Late batches arrive, in the order they were sent.
    pub fn deliver(&self) {
        let mut state = self.0.lock();
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
        let over = self.batches.last().is_some_and(|last| batch.epoch < last.epoch);
        if batch.expected != tail || over {
            return Outcome::Conflict(tail);
        }
        self.batches.push(batch.clone());
        Outcome::Appended(batch.tail)
    }
}

/// One writer's end of the line.
pub struct SimJournal {
    shared: SharedJournal,
    tail: Tail,
}

impl Journal for SimJournal {
    fn tail(&self) -> Tail {
        self.tail
    }

    fn commit(&mut self, batch: &Batch) -> Outcome {
        let mut state = self.shared.0.lock();
        let silence = || Outcome::Unknown(Error::new(Code::Timeout, "the journal does not answer"));
        let outcome = match state.line.pop_front().unwrap_or(Line::Good) {
            Line::Good => state.store(batch),
            Line::Twice => {
                let first = state.store(batch);
                state.store(batch);
                first
            }
            Line::LostBefore => silence(),
            Line::LostAfter => {
                state.store(batch);
                silence()
            }
            Line::Late => {
                state.late.push(batch.clone());
                silence()
            }
        };
        if let Outcome::Appended(tail) | Outcome::Conflict(tail) = outcome {
            self.tail = tail;
        }
        outcome
    }

    fn read(&mut self, from: u64, bytes_max: usize) -> Result<Vec<Batch>> {
        let state = self.shared.0.lock();
        let mut bytes = 0;
        let mut read = Vec::new();
        for batch in state.batches.iter().filter(|batch| batch.tail.position > from) {
            if !read.is_empty() && bytes >= bytes_max {
                break;
            }
            bytes += batch.frames.len();
            read.push(batch.clone());
        }
        self.tail = state.tail();
        Ok(read)
    }

    fn trim(&mut self, before: u64) -> Result<()> {
        let mut state = self.shared.0.lock();
        // The last batch stays: it tells the tail.
        let kept = state.batches.iter().position(|batch| batch.tail.position > before);
        let kept = kept.unwrap_or(state.batches.len().saturating_sub(1));
        state.batches.drain(..kept);
        Ok(())
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
            let shared = SharedJournal::new([1; 16]);
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
        let shared = SharedJournal::new([1; 16]);
        let mut writer = shared.connect();
        shared.plan([Line::Twice]);
        let twice = batch(writer.tail(), 1, 7);
        assert_eq!(writer.commit(&twice), Outcome::Appended(twice.tail));
        assert_eq!(writer.read(0, 100).unwrap(), [twice]);
    }

    #[test]
    fn a_writer_back_from_the_dead_changes_nothing() {
        let shared = SharedJournal::new([1; 16]);
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
