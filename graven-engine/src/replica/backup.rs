//! Reading a copy's log front to back, without its index: what a restore does.

use super::{LogIdentity, Mark, Replica, SYNC_BYTES, identify, missing_end};
use crate::Options;
use crate::append::{hex, log_tag, seed};
use crate::journal::{Batch, Claim, Outcome, SharedJournal, Tail};
use crate::log::frame::Header;
use crate::log::recovery::{self, From};
use crate::log::{Log, segment};
use crate::node::frames_from;
use crate::store::open::{LOG_DIR, enter};
use bytes::{Bytes, BytesMut};
use graven_model::{Code, Error, Position, Result, Timestamp};
use std::path::{Path, PathBuf};

/// Frames handed over at once.
const RUN_BYTES: usize = 4 << 20;

/// The log of a copy, open for reading. Nobody adds to the copy meanwhile.
pub struct Backup {
    dir: PathBuf,
    identity: LogIdentity,
    mark: Mark,
    log: Log,
    /// Ends with the backup.
    _lock: Box<dyn Send + Sync>,
}

impl Backup {
    /// Opens the copy in a directory.
    ///
    /// # Errors
    /// [`Code::UnknownFormat`] if there is none, [`Code::DataInUse`], [`Code::Corrupted`], [`Code::Io`].
    pub fn open(dir: impl AsRef<Path>, options: &Options) -> Result<Backup> {
        let dir = dir.as_ref();
        let env = &options.env;
        let lock = enter(env, dir, false)?;
        let (identity, mark) = identify(env, dir, None)?;
        let log = Log::open_replica(env, &dir.join(LOG_DIR), identity.log_id.0, options)?;
        Ok(Backup { dir: dir.to_owned(), identity: LogIdentity::from(&identity), mark, log, _lock: lock })
    }

    /// Whose log it is a copy of.
    #[must_use]
    pub fn identity(&self) -> &LogIdentity {
        &self.identity
    }

    /// Events the copy holds for certain, and the Merkle root over them, as the copy noted at the time.
    ///
    /// # Errors
    /// [`Code::Corrupted`] if the note does not read.
    pub fn noted(&self) -> Result<(Position, [u8; 32])> {
        Ok((Position(self.mark.head), self.mark.root()?))
    }

    /// When that was noted.
    #[must_use]
    pub fn noted_at(&self) -> Timestamp {
        self.mark.synced_at
    }

    /// Copies everything into an empty copy of the same log, which checks all of it, and compares what it gets with what
    /// was noted. Durable when this returns. `progress` is called with the position reached.
    ///
    /// # Errors
    /// [`Code::Corrupted`] with file and byte for damage, for an event that is not what was committed to, and if the end
    /// is missing; those of [`Replica::append_frames`].
    pub fn restore_into(&self, copy: &mut Replica, progress: &mut dyn FnMut(Position)) -> Result<()> {
        let (noted, root) = self.noted()?;
        let mut unsynced = 0;
        let end = self.frames(RUN_BYTES, |frames| {
            unsynced += frames.len();
            let head = copy.append_frames(&frames)?;
            if head == noted && copy.root() != root {
                return Err(Error::new(
                    Code::Corrupted,
                    format!("{}: the events are not those that were copied", self.dir.display()),
                )
                .expected(format!("root {} over {noted} events", hex(&root)))
                .found(format!("root {}", hex(&copy.root()))));
            }
            if unsynced >= SYNC_BYTES {
                unsynced = 0;
                copy.sync()?;
            }
            progress(head);
            Ok(())
        })?;
        if copy.head() != end {
            return Err(Error::new(Code::Internal, "the copy does not end where the backup does")
                .expected(format!("position {end}"))
                .found(format!("position {}", copy.head())));
        }
        copy.sync()
    }

    /// As [`Backup::restore_into`], and brings everything into a journal as well, which becomes that of this log: `copy` is a
    /// node's copy of it afterwards. Interrupted, and called again with an empty copy, the journal goes on where it was.
    /// `writer` is a random id.
    ///
    /// # Errors
    /// Those of [`Backup::restore_into`]; [`Code::HistoryDiverged`] if the journal is of another log, or holds what is not
    /// in the backup; [`Code::NotTheWriter`] if a writer is connected to it; [`Code::JournalUnreachable`].
    pub fn restore_into_journal(
        &self,
        copy: &mut Replica,
        journal: &mut dyn SharedJournal,
        writer: [u8; 16],
        progress: &mut dyn FnMut(Position),
    ) -> Result<()> {
        let founded = journal.found(&self.identity)?;
        if founded != self.identity {
            return Err(Error::new(Code::HistoryDiverged, "the journal is of another log than the backup")
                .expected(format!("log {}", self.identity.log_id))
                .found(format!("log {}", founded.log_id)));
        }
        let term = journal.claim(writer, "", Claim::IfVacant)?;
        let mut tail = journal.look(0)?.tail;
        let mut number = 0;
        let end = self.frames(RUN_BYTES, |run| {
            // The copy checks everything, so it comes first.
            let head = copy.append_frames(&run)?;
            let frames = frames_from(&run, tail.position);
            if let Some(first) = Header::decode(&frames).filter(|first| first.first == tail.position) {
                if first.previous != tail.checksum {
                    return Err(other_history(tail.position));
                }
                number += 1;
                let after = Tail { position: head.0, checksum: copy.tail_checksum() };
                let (expected, epoch) = (tail, term.epoch);
                match journal.commit(&Batch { expected, tail: after, epoch, writer, number, frames }) {
                    Outcome::Appended(_) => tail = after,
                    Outcome::Unknown(error) => return Err(error),
                    Outcome::Conflict(found) => {
                        return Err(Error::new(Code::NotTheWriter, "somebody else writes to the journal")
                            .expected(format!("{} events in it", expected.position))
                            .found(format!("{} events", found.position)));
                    }
                }
            } else if head.0 == tail.position && copy.tail_checksum() != tail.checksum {
                return Err(other_history(tail.position));
            }
            progress(head);
            Ok(())
        })?;
        if tail.position > end.0 {
            return Err(Error::new(Code::HistoryDiverged, "the journal holds more than the backup")
                .expected(format!("{end} events or fewer"))
                .found(format!("{} events", tail.position)));
        }
        copy.sync()
    }

    /// Calls `each` with all whole frames in order, about `run_bytes` of them at a time, with a border where the durable
    /// part ends, and answers with the position after the last. Checksums are checked, Merkle roots are not:
    /// [`Replica::append_frames`] does that.
    ///
    /// # Errors
    /// [`Code::Corrupted`] with file and byte for damage, and if the log ends before [`Backup::noted`]; [`Code::Io`];
    /// what `each` returns.
    fn frames(&self, run_bytes: usize, mut each: impl FnMut(Bytes) -> Result<()>) -> Result<Position> {
        let log_id = self.identity.log_id.0;
        let noted = self.mark.head;
        let begin = From { position: 0, offset: segment::HEADER_BYTES, previous: seed(log_id) };
        let mut run = BytesMut::new();
        let end =
            recovery::walk_replica(&self.log, log_tag(log_id), begin, noted, &mut |header, frame, _| {
                if !run.is_empty() && (run.len() + frame.len() > run_bytes || header.first == noted) {
                    each(run.split().freeze())?;
                }
                run.extend_from_slice(frame);
                Ok(true)
            })?;
        if !run.is_empty() {
            each(run.freeze())?;
        }
        if end.position < noted {
            return Err(missing_end(&self.dir, noted, end.position));
        }
        Ok(Position(end.position))
    }
}

fn other_history(position: u64) -> Error {
    Error::new(
        Code::HistoryDiverged,
        format!("the journal has another history than the backup, at or before position {position}"),
    )
}
