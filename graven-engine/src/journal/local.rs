//! The local journal: the segment log itself, one write and one flush a batch.
//!
//! Acknowledged means: written to this machine's disk and flushed (`fdatasync`). It survives the death of the process and
//! the loss of power; it does not survive the loss of the disk.

use super::{Batch, Journal, Outcome, Tail};
use crate::Options;
use crate::append::{log_tag, seed};
use crate::log::frame::Header;
use crate::log::recovery::{self, From, Torn};
use crate::log::segment;
use crate::log::{Edge, Log};
use bytes::BytesMut;
use graven_model::{Code, Error, Result};
use graven_proof::merkle::Frontier;
use std::path::Path;
use std::sync::Arc;

/// See the module.
pub(crate) struct LocalJournal {
    log: Arc<Log>,
    log_tag: u32,
    tail: Tail,
    seed: u32,
}

impl LocalJournal {
    /// Over a log that was recovered to `tail`. `seed` is the checksum that stands before the first frame.
    pub(crate) fn new(log: Arc<Log>, log_tag: u32, seed: u32, tail: Tail) -> LocalJournal {
        LocalJournal { log, log_tag, tail, seed }
    }
}

/// Opens the local journal of a directory without a store around it: for the laws suite, and for a look at a log whose
/// store is stopped. It writes one segment only.
///
/// # Errors
/// [`graven_model::Code::Corrupted`] with file and byte for damage; those of the disk.
pub fn open_alone(dir: &Path, log_id: [u8; 16], options: &Options) -> Result<Box<dyn Journal>> {
    let log = Arc::new(Log::open(&options.env, dir, log_id, options)?);
    let begin = From { position: 0, offset: segment::HEADER_BYTES, previous: seed(log_id) };
    let end = recovery::replay(&log, log_tag(log_id), begin, Torn::LastBatch, |_, _, _| Ok(()))?;
    log.set_end(end.offset);
    let tail = Tail { position: end.position, checksum: end.previous };
    let origin = Edge {
        previous: seed(log_id),
        commit_time: i64::MIN,
        last_leaf: [0; 32],
        frontier: Frontier::default(),
    };
    Ok(Box::new(Alone { journal: LocalJournal::new(log, log_tag(log_id), seed(log_id), tail), origin }))
}

/// A local journal that finds room for its batches by itself.
struct Alone {
    journal: LocalJournal,
    origin: Edge,
}

impl Journal for Alone {
    fn tail(&self) -> Tail {
        self.journal.tail()
    }

    fn commit(&mut self, batch: &Batch) -> Outcome {
        if batch.expected != self.journal.tail {
            return Outcome::Conflict(self.journal.tail);
        }
        let bytes = batch.frames.len() as u64;
        let log = &self.journal.log;
        if batch.expected.position > 0 && log.would_roll(bytes) {
            return Outcome::Unknown(Error::new(
                Code::DiskFull,
                "a journal without a store writes one segment only",
            ));
        }
        match log.plan(bytes, false) {
            Ok(placement) => log.planned(batch.expected.position, placement, bytes, || self.origin.clone()),
            Err(error) => return Outcome::Unknown(error),
        }
        self.journal.commit(batch)
    }

    fn read(&mut self, from: u64, bytes_max: usize) -> Result<Vec<Batch>> {
        self.journal.read(from, bytes_max)
    }

    fn trim(&mut self, before: u64) -> Result<()> {
        self.journal.trim(before)
    }
}

impl Journal for LocalJournal {
    fn tail(&self) -> Tail {
        self.tail
    }

    fn commit(&mut self, batch: &Batch) -> Outcome {
        if batch.expected != self.tail {
            return Outcome::Conflict(self.tail);
        }
        match self.log.write(batch.expected.position, &batch.frames) {
            Ok(()) => {
                self.tail = batch.tail;
                Outcome::Appended(self.tail)
            }
            Err(error) => Outcome::Unknown(error),
        }
    }

    fn read(&mut self, from: u64, bytes_max: usize) -> Result<Vec<Batch>> {
        let Some(start) = self.log.segment_of(from) else { return Ok(Vec::new()) };
        let mut frames: Vec<(Header, BytesMut)> = Vec::new();
        let mut bytes = 0;
        let begin = From {
            position: start.first(),
            offset: segment::HEADER_BYTES,
            previous: if start.first() == 0 { self.seed } else { start.header.previous },
        };
        recovery::walk(&self.log, self.log_tag, begin, &mut |header, frame, _| {
            if header.end() > from
                && header.end() <= self.tail.position
                && (frames.is_empty() || bytes < bytes_max)
            {
                bytes += frame.len();
                frames.push((*header, BytesMut::from(&frame[..])));
            }
            Ok(bytes < bytes_max)
        })?;
        Ok(frames
            .into_iter()
            .map(|(header, frame)| Batch {
                expected: Tail { position: header.first, checksum: header.previous },
                tail: Tail { position: header.end(), checksum: header.crc },
                epoch: header.epoch,
                writer: [0; 16],
                number: header.first,
                frames: frame.freeze(),
            })
            .collect())
    }

    /// Keeps everything: the local journal is the store's only copy, and space comes back by scavenging.
    fn trim(&mut self, _before: u64) -> Result<()> {
        Ok(())
    }
}
