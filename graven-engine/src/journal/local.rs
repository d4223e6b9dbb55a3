//! The local journal: the segment log itself, one write and one flush a batch.
//!
//! Acknowledged means: written to this machine's disk and flushed (`fdatasync`). It survives the death of the process and
//! the loss of power; it does not survive the loss of the disk.

use super::{Batch, Journal, Outcome, Tail};
use crate::log::Log;
use crate::log::frame::Header;
use crate::log::recovery::{self, From};
use crate::log::segment;
use bytes::BytesMut;
use graven_model::Result;
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
