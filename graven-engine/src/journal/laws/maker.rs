//! [`Maker`]: batches for a journal, real frames that follow one another.

use crate::append::log_tag;
use crate::journal::{Batch, Journal, Outcome, Tail};
use crate::log::frame::{self, Header, NewRecord, Secrets};
use bytes::Bytes;
use graven_model::event::Kind;
use graven_model::{EventId, NewEvent};
use graven_proof::merkle::Frontier;

/// Makes batches that follow one another.
pub(super) struct Maker {
    pub(super) tail: Tail,
    log: [u8; 16],
    frontier: Frontier,
    number: u64,
    pub(super) writer: [u8; 16],
    pub(super) epoch: u32,
}

impl Maker {
    /// Of the first epoch, for a log of this id that ends at `tail`.
    pub(super) fn new(log: [u8; 16], tail: Tail) -> Maker {
        Maker { tail, log, frontier: Frontier::default(), number: 0, writer: [1; 16], epoch: 1 }
    }

    /// A batch of frames with so many events each, after the last batch made.
    pub(super) fn batch(&mut self, counts: &[u32]) -> Batch {
        let expected = self.tail;
        let mut frames = Vec::new();
        for count in counts {
            self.frame(expected.position, *count, &mut frames);
        }
        self.number += 1;
        Batch {
            expected,
            tail: self.tail,
            epoch: self.epoch,
            writer: self.writer,
            number: self.number,
            frames: Bytes::from(frames),
        }
    }

    fn frame(&mut self, batch_first: u64, count: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; frame::HEADER_BYTES]);
        let first = self.tail.position;
        for position in first..first + u64::from(count) {
            let event = NewEvent::json(EventId([position as u8; 16]), "T", format!("{{\"n\":{position}}}"));
            let secrets = Secrets { stream_salt: (position == 0).then_some([0; 16]), ..Secrets::default() };
            let new = NewRecord {
                stream: "s",
                revision: position,
                kind: Kind::Event,
                event: &event,
                secrets: &secrets,
            };
            frame::encode_record(out, start, position, &new);
            self.frontier.push([position as u8; 32]);
        }
        let header = Header {
            length: (out.len() - start) as u32,
            body_crc: frame::body_crc(&out[start + frame::HEADER_BYTES..], count)
                .expect("records were just encoded"),
            previous: self.tail.checksum,
            log: log_tag(self.log),
            epoch: self.epoch,
            first,
            commit_time: 0,
            count,
            batch_offset: (first - batch_first) as u32,
            root: Some(self.frontier.root()),
            crc: 0,
            original: None,
        };
        let mut bytes = [0; frame::HEADER_BYTES];
        let checksum = header.encode(&mut bytes);
        out[start..start + frame::HEADER_BYTES].copy_from_slice(&bytes);
        self.tail = Tail { position: first + u64::from(count), checksum };
    }
}

/// The frames of a journal from a position on.
pub(super) fn frames<J: Journal + ?Sized>(journal: &mut J, from: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut at = from;
    loop {
        let batches = journal.read(at, 1000).expect("a healthy journal can be read");
        let Some(last) = batches.last() else { return bytes };
        at = last.tail.position;
        for batch in batches {
            bytes.extend_from_slice(&batch.frames);
        }
    }
}

/// Commits a batch, which must be stored.
pub(super) fn appended<J: Journal + ?Sized>(journal: &mut J, batch: &Batch) {
    assert_eq!(journal.commit(batch), Outcome::Appended(batch.tail));
    assert_eq!(journal.tail(), batch.tail);
}
