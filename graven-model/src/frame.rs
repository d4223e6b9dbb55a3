//! Frames and records: every byte of the log after a segment's header. Drawn in `docs/format.md`.
//!
//! A frame is one atomic append. Its header carries the checksum of the frame before it and, in the last frame of a batch,
//! the Merkle root after its last event. A record is one event and can be read, checked and placed on its own: its checksum
//! covers its position, and it says how far back its frame begins.
//!
//! A frame from which something was erased is a *rewritten* one: its records are shorter, and before them stands the header
//! it was written with, unchanged, so that everything that names the frame by its checksum still does.

mod opened;
mod record;
mod rewrite;
mod tags;
#[cfg(test)]
mod tests;

pub use opened::{OPENED_MAGIC, Shown, has_sealed, open};
pub use record::{
    NewRecord, Record, RecordHead, SaltedName, Secrets, Subject, body_crc, encode_record, record_bytes_max,
    record_intact,
};
pub use rewrite::{Erase, rewrite};
pub use tags::Tags;

use crate::error::{Code, Error, Result};
use crate::event::StoredEvent;
use crate::names::Names;
use bytes::Bytes;
use graven_proof::Hash;

/// Bytes of a frame header as an append writes it.
pub const HEADER_BYTES: usize = 84;
/// Bytes of the header of a rewritten frame: the most a header takes.
pub const HEADER_BYTES_MAX: usize = REWRITTEN_BYTES + HEADER_BYTES;
/// Bytes a rewritten frame has before the header it was written with: magic, checksum, length, checksum of the records.
const REWRITTEN_BYTES: usize = 16;
/// Bytes before a record's body: length, checksum, distance to the frame.
pub const RECORD_HEAD_BYTES: usize = 12;
/// First four bytes of a frame.
pub const MAGIC: u32 = u32::from_le_bytes(*b"GFR1");
/// First four bytes of a rewritten frame.
pub const REWRITTEN_MAGIC: u32 = u32::from_le_bytes(*b"GFS1");
/// Stands where a frame has no root; SHA-256 of nothing anybody will find.
const NO_ROOT: Hash = [0; 32];
/// Largest frame: the largest append plus what the envelope of its events may take.
pub const FRAME_BYTES_MAX: usize = u32::MAX as usize >> 2;

/// The fixed part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the whole frame, as it is stored.
    pub length: u32,
    /// Checksum over every record's length and checksum, in order, as they are stored.
    pub body_crc: u32,
    /// Header checksum of the frame before, or the log's seed.
    pub previous: u32,
    /// First four bytes of the log id.
    pub log: u32,
    /// Epoch of the writer.
    pub epoch: u32,
    /// Position of the first event.
    pub first: u64,
    /// Commit time of all its events, microseconds since 1970.
    pub commit_time: i64,
    /// Number of events.
    pub count: u32,
    /// Events of the same journal batch before this frame: `first - batch_offset` is where the batch begins.
    pub batch_offset: u32,
    /// Merkle root over all events up to and with this frame. The last frame of a batch has it; for the others it would
    /// be a hash a level of the tree that nobody asks for.
    pub root: Option<Hash>,
    /// Checksum of the header as it was written: what the next frame names as the one before it.
    pub crc: u32,
    /// In a rewritten frame, what the header said before.
    pub original: Option<Original>,
}

/// What a frame was when it was written, before something in it was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Original {
    /// Bytes of the whole frame.
    pub length: u32,
    /// Checksum over every record's length and checksum, in order.
    pub body_crc: u32,
}

impl Header {
    /// Position after the frame.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// First position of the journal batch the frame was written with.
    #[must_use]
    pub fn batch_first(&self) -> u64 {
        self.first - u64::from(self.batch_offset)
    }

    /// Bytes before the first record.
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        if self.original.is_some() { HEADER_BYTES_MAX } else { HEADER_BYTES }
    }

    /// Writes the header an append writes, with its checksum, and returns that checksum. For a rewritten frame this is the
    /// header that is kept.
    pub fn encode(&self, out: &mut [u8; HEADER_BYTES]) -> u32 {
        let Original { length, body_crc } =
            self.original.unwrap_or(Original { length: self.length, body_crc: self.body_crc });
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[8..12].copy_from_slice(&length.to_le_bytes());
        out[12..16].copy_from_slice(&body_crc.to_le_bytes());
        out[16..20].copy_from_slice(&self.previous.to_le_bytes());
        out[20..24].copy_from_slice(&self.log.to_le_bytes());
        out[24..28].copy_from_slice(&self.epoch.to_le_bytes());
        out[28..36].copy_from_slice(&self.first.to_le_bytes());
        out[36..44].copy_from_slice(&self.commit_time.to_le_bytes());
        out[44..48].copy_from_slice(&self.count.to_le_bytes());
        out[48..52].copy_from_slice(&self.batch_offset.to_le_bytes());
        out[52..84].copy_from_slice(&self.root.unwrap_or(NO_ROOT));
        let crc = crc32c::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// Reads a header of either form; `None` if it is not one: wrong magic, checksum or impossible numbers.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Header> {
        if bytes.get(..4)? != REWRITTEN_MAGIC.to_le_bytes() {
            return Header::as_written(bytes).filter(Header::is_possible);
        }
        Header::before_another(bytes, crc32c::crc32c)
    }

    /// As [`Header::decode`], of an opened frame too.
    fn decode_shown(bytes: &[u8]) -> Option<Header> {
        if bytes.get(..4)? == OPENED_MAGIC.to_le_bytes() {
            return Header::before_another(bytes, opened::checksum);
        }
        Header::decode(bytes)
    }

    /// A header that stands before the one the frame was written with.
    fn before_another(bytes: &[u8], checksum: fn(&[u8]) -> u32) -> Option<Header> {
        let bytes = bytes.get(..HEADER_BYTES_MAX)?;
        let word = |at: usize| bytes[at..at + 4].try_into().map(u32::from_le_bytes).expect("four bytes");
        if checksum(&bytes[8..]) != word(4) {
            return None;
        }
        let kept = Header::as_written(&bytes[REWRITTEN_BYTES..]).filter(Header::is_possible)?;
        let original = Original { length: kept.length, body_crc: kept.body_crc };
        let header = Header { length: word(8), body_crc: word(12), original: Some(original), ..kept };
        header.is_possible().then_some(header)
    }

    fn as_written(bytes: &[u8]) -> Option<Header> {
        let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        if u32_at(bytes, 0) != MAGIC {
            return None;
        }
        let crc = u32_at(bytes, 4);
        if crc32c::crc32c(&bytes[8..]) != crc {
            return None;
        }
        Some(Header {
            length: u32_at(bytes, 8),
            body_crc: u32_at(bytes, 12),
            previous: u32_at(bytes, 16),
            log: u32_at(bytes, 20),
            epoch: u32_at(bytes, 24),
            first: u64_at(bytes, 28),
            commit_time: u64_at(bytes, 36).cast_signed(),
            count: u32_at(bytes, 44),
            batch_offset: u32_at(bytes, 48),
            root: Some(bytes[52..84].try_into().expect("32 bytes")).filter(|root| *root != NO_ROOT),
            crc,
            original: None,
        })
    }

    fn is_possible(&self) -> bool {
        self.count > 0
            && u64::from(self.batch_offset) <= self.first
            && self.first.checked_add(u64::from(self.count)).is_some()
            && self.length as usize >= self.header_bytes() + self.count as usize * RECORD_HEAD_BYTES
            && self.length as usize <= FRAME_BYTES_MAX
    }
}

/// Four little-endian bytes. The caller has checked the length.
fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Decodes whole frames, stored or opened ones, back to back, into their events; what is sealed in a stored frame is shown as
/// erased. Every checksum is compared; the events share the memory of `bytes`, and names that repeat share their own.
///
/// The iterator ends after the first error.
///
/// # Errors
/// [`Code::Corrupted`] if the bytes are not whole, intact frames.
pub fn events(bytes: &Bytes) -> impl Iterator<Item = Result<StoredEvent>> {
    Events { bytes: bytes.clone(), at: 0, frame: None, next: 0, failed: false, names: Names::new() }
}

struct Events {
    bytes: Bytes,
    at: usize,
    frame: Option<Header>,
    next: u64,
    failed: bool,
    names: Names,
}

impl Iterator for Events {
    type Item = Result<StoredEvent>;

    fn next(&mut self) -> Option<Result<StoredEvent>> {
        if self.failed {
            return None;
        }
        if self.frame.is_none_or(|frame| self.next == frame.end()) && self.at == self.bytes.len() {
            return None;
        }
        let event = self.event();
        self.failed = event.is_none();
        Some(event.ok_or_else(|| {
            Error::new(Code::Corrupted, format!("the frames at byte {} are damaged or cut off", self.at))
        }))
    }
}

impl Events {
    fn event(&mut self) -> Option<StoredEvent> {
        let frame = match self.frame {
            Some(frame) if self.next < frame.end() => frame,
            _ => {
                let rest = self.bytes.get(self.at..)?;
                let frame = Header::decode_shown(rest)?;
                let whole = rest.get(..frame.length as usize)?;
                if body_crc(&whole[frame.header_bytes()..], frame.count) != Some(frame.body_crc) {
                    return None;
                }
                self.at += frame.header_bytes();
                self.next = frame.first;
                self.frame = Some(frame);
                frame
            }
        };
        let head = RecordHead::decode(self.bytes.get(self.at..)?)?;
        let body = self.bytes.get(self.at + RECORD_HEAD_BYTES..self.at.checked_add(head.total())?)?;
        if !record_intact(head, self.next, body) {
            return None;
        }
        let record = Record::decode(body)?;
        let event =
            record.event(self.next, frame.commit_time).to_stored(&self.bytes, &mut self.names).ok()?;
        self.at += head.total();
        self.next += 1;
        Some(event)
    }
}
