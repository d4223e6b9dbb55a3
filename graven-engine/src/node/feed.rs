//! From the journal into the copy.

use super::commit::went_back;
use crate::append::{Chain, Names, Shared};
use crate::journal::{Batch, Claim, SharedJournal, Term, View};
use crate::log::frame::Header;
use crate::replica::{Keeper, Replica};
use bytes::Bytes;
use graven_model::{Code, Error, Position, Result};
use std::sync::Arc;

/// Frames read at once.
const READ_BYTES: usize = 4 << 20;

/// A copy and the journal it is read from.
pub(super) struct Feed {
    replica: Replica,
    journal: Box<dyn SharedJournal>,
}

/// What a writer goes on with where a follower ends.
pub(super) struct Parts {
    pub(super) chain: Chain,
    pub(super) names: Names,
    pub(super) journal: Box<dyn SharedJournal>,
}

impl Feed {
    pub(super) fn new(replica: Replica, journal: Box<dyn SharedJournal>) -> Feed {
        Feed { replica, journal }
    }

    /// Makes sure that the journal holds what is here, at the very end of it too.
    ///
    /// # Errors
    /// [`Code::HistoryDiverged`] if not; those of the journal.
    pub(super) fn join(&mut self) -> Result<View> {
        let head = self.replica.head().0;
        let view = self.journal.look(head)?;
        if head == 0 || view.checksum == Some(self.replica.tail_checksum()) {
            return Ok(view);
        }
        if view.tail.position < head {
            return Err(went_back(head, view.tail.position));
        }
        // A crash may have cut the copy in the middle of a batch.
        let batches = self.journal.read(head - 1, 1)?;
        let frame = batches.first().and_then(|batch| frame_with(&batch.frames, head - 1));
        match frame {
            Some(frame) => self.replica.joins(&frame, Position(view.tail.position))?,
            None => {
                return Err(Error::new(
                    Code::HistoryDiverged,
                    "the journal does not hold what this copy ends with",
                )
                .expected(format!("the event at position {}", head - 1))
                .found(batches.first().map_or("no batch".into(), |batch| {
                    format!("a batch from position {} on", batch.expected.position)
                })));
            }
        }
        Ok(view)
    }

    /// Reads what comes next, checks it, and makes it visible; false if there is nothing more.
    ///
    /// # Errors
    /// Those of the journal, which may pass; [`Code::HistoryDiverged`], [`Code::Corrupted`] and those of the disk, which do
    /// not.
    pub(super) fn pull(&mut self) -> Result<bool> {
        let batches = self.journal.read(self.replica.head().0, READ_BYTES)?;
        for batch in &batches {
            self.take(batch)?;
        }
        Ok(!batches.is_empty())
    }

    fn take(&mut self, batch: &Batch) -> Result<()> {
        let head = self.replica.head().0;
        let frames = if batch.expected.position < head {
            frames_from(&batch.frames, head)
        } else {
            batch.frames.clone()
        };
        self.replica.append_frames(&frames)?;
        let (head, checksum) = (self.replica.head().0, self.replica.tail_checksum());
        if (head, checksum) != (batch.tail.position, batch.tail.checksum) {
            return Err(Error::new(Code::Corrupted, "a batch of the journal does not end where it says")
                .expected(format!("position {}", batch.tail.position))
                .found(format!("position {head}")));
        }
        Ok(())
    }

    /// Reads until nothing is missing, and answers with what the journal showed then. `progress` hears position reached and position wanted.
    ///
    /// # Errors
    /// As [`Feed::pull`] and [`Feed::join`].
    pub(super) fn catch_up(&mut self, progress: &mut dyn FnMut(Position, Position)) -> Result<View> {
        loop {
            let view = self.join()?;
            while self.replica.head().0 < view.tail.position {
                progress(self.replica.head(), Position(view.tail.position));
                if !self.pull()? {
                    break;
                }
            }
            if self.replica.head().0 == view.tail.position {
                progress(self.replica.head(), Position(view.tail.position));
                return Ok(view);
            }
        }
    }

    /// Claims the journal. What it holds of earlier epochs is all that will be of them.
    ///
    /// # Errors
    /// As [`SharedJournal::claim`].
    pub(super) fn claim(&mut self, writer: [u8; 16], address: &str, claim: Claim) -> Result<Term> {
        self.journal.claim(writer, address, claim)
    }

    /// Waits for more in the journal.
    ///
    /// # Errors
    /// Those of the journal.
    pub(super) fn wait(&mut self, timeout: std::time::Duration) -> Result<()> {
        self.journal.wait(self.replica.head().0, timeout)
    }

    /// Position of the first event that is not here.
    pub(super) fn head(&self) -> u64 {
        self.replica.head().0
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.replica.shared()
    }

    pub(super) fn keeper(&self) -> &Arc<Keeper> {
        self.replica.keeper()
    }

    pub(super) fn replica(&mut self) -> &mut Replica {
        &mut self.replica
    }

    /// Everything durable and indexed.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.replica.settle()
    }

    pub(super) fn into_parts(self) -> Parts {
        let (chain, names) = self.replica.into_state();
        Parts { chain, names, journal: self.journal }
    }
}

/// Whole frames of a run, in order.
fn frames_of(run: &Bytes) -> impl Iterator<Item = (Header, Bytes)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let header = Header::decode(run.get(at..)?)?;
        let end = at.checked_add(header.length as usize).filter(|end| *end <= run.len())?;
        let frame = run.slice(at..end);
        at = end;
        Some((header, frame))
    })
}

/// The frame of a run that holds a position.
fn frame_with(run: &Bytes, position: u64) -> Option<Bytes> {
    let mut frames = frames_of(run);
    frames.find(|(header, _)| header.first <= position && position < header.end()).map(|(_, frame)| frame)
}

/// The rest of a run from the frame on that begins at a position; all of it if none does.
pub(crate) fn frames_from(run: &Bytes, position: u64) -> Bytes {
    let before: usize =
        frames_of(run).take_while(|(header, _)| header.first < position).map(|(_, frame)| frame.len()).sum();
    run.slice(before..)
}
