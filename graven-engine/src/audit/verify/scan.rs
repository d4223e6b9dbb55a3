//! Reading segment files that may be damaged: frames and records, what a single changed byte in them was, and where to go
//! on behind what cannot be read.

use super::fields::field;
use super::flip::changed_bytes;
use crate::env::DiskFile;
use crate::log::frame::{self, Header, Record, RecordHead};
use graven_model::{Error, Result};
use graven_proof::finding::FindingCode;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// A segment file as it is found.
pub(super) struct Piece {
    /// First position, by the file's name.
    pub(super) first: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
}

/// A place in a segment file, in words.
pub(super) fn place(piece: &Piece, offset: u64) -> String {
    format!("{} at byte {offset}", piece.path.display())
}

/// A segment file read front to back, into one buffer.
pub(super) struct Input<'a> {
    pub(super) piece: &'a Piece,
    pub(super) len: u64,
    buffer: Vec<u8>,
    start: u64,
    filled: usize,
    /// Bytes read so far.
    pub(super) read: u64,
}

impl<'a> Input<'a> {
    pub(super) fn new(piece: &'a Piece, buffer: Vec<u8>) -> Result<Input<'a>> {
        let len = piece.file.len().map_err(|error| Error::io(piece.path.display(), &error))?;
        Ok(Input { piece, len, buffer, start: 0, filled: 0, read: 0 })
    }

    /// Bytes at a place, short at the file's end.
    pub(super) fn bytes(&mut self, offset: u64, length: usize) -> Result<&[u8]> {
        let end = self.start + self.filled as u64;
        if offset < self.start || offset + length as u64 > end {
            // What is held of it already is not read again.
            let kept = if (self.start..end).contains(&offset) { (end - offset) as usize } else { 0 };
            self.buffer.copy_within(self.filled - kept..self.filled, 0);
            (self.start, self.filled) = (offset, kept);
            let at = offset + kept as u64;
            let rest = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
            let wanted = kept + (length.max(READ_BYTES) - kept).min(rest);
            if self.buffer.len() < wanted {
                self.buffer.resize(wanted, 0);
            }
            let read = self.piece.file.read_at(&mut self.buffer[kept..wanted], at).map_err(|error| {
                Error::io(format_args!("{} at byte {at}", self.piece.path.display()), &error)
            })?;
            self.filled += read;
            self.read += read as u64;
        }
        let from = (offset - self.start) as usize;
        let to = (from + length).min(self.filled);
        Ok(&self.buffer[from.min(to)..to])
    }

    /// Gives the buffer back.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// What stands between `offset` and the end of the file.
    pub(super) fn look_ahead(&mut self, offset: u64, log_tag: u32, position: u64) -> Result<Ahead> {
        let mut ahead = Ahead { used: 0, next: None, durable: false };
        let magics = [frame::MAGIC, frame::REWRITTEN_MAGIC].map(u32::to_le_bytes);
        let mut at = offset;
        while at < self.len {
            let bytes = self.bytes(at, READ_BYTES)?;
            if bytes.is_empty() {
                break;
            }
            let step = bytes.len().saturating_sub(magics[0].len() - 1).max(1);
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                ahead.used = at + last as u64 + 1 - offset;
                let marks: Vec<u64> = bytes[..=last]
                    .windows(4)
                    .enumerate()
                    .filter(|(_, window)| magics.iter().any(|magic| window == magic))
                    .map(|(found, _)| at + found as u64)
                    .collect();
                for place in marks {
                    let Some(header) = Header::decode(self.bytes(place, frame::HEADER_BYTES_MAX)?) else {
                        continue;
                    };
                    if header.log == log_tag && header.first >= position {
                        ahead.durable |= header.batch_first() > position;
                        if place > offset && ahead.next.is_none() {
                            ahead.next = Some((place, header.first));
                        }
                    }
                }
            }
            at += step as u64;
        }
        Ok(ahead)
    }
}

/// What follows a place that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ahead {
    /// Bytes up to the last one that is not zero.
    pub(super) used: u64,
    /// The next frame header that reads: its byte and its first position.
    pub(super) next: Option<(u64, u64)>,
    /// A frame of a later batch follows: what stands before it was durable when it was written.
    pub(super) durable: bool,
}

/// What was changed, as far as checksums tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) code: FindingCode,
    /// Which field.
    pub(super) what: &'static str,
    /// How, in words.
    pub(super) how: String,
}

impl Change {
    fn byte(code: FindingCode, what: &'static str, place: u64, was: u8, is: u8) -> Change {
        let bits = (was ^ is).count_ones();
        let how = if bits == 1 { "one bit" } else { "one byte" };
        Change {
            code,
            what,
            how: format!("{is:#04x} instead of {was:#04x} ({how}) at byte {place} of its segment"),
        }
    }
}

/// What a frame header turns out to be.
pub(super) enum Head {
    /// The header of the frame that is expected here, perhaps with a byte put right.
    Here(Header, Option<Change>),
    /// An intact header of other positions.
    Elsewhere(Header),
    Bad,
}

/// Reads the header that stands at a byte of its segment, where the frame of a position is expected.
pub(super) fn head(bytes: &[u8], offset: u64, log_tag: u32, position: u64) -> Head {
    if let Some(header) = Header::decode(bytes)
        && header.log == log_tag
    {
        return if header.first == position { Head::Here(header, None) } else { Head::Elsewhere(header) };
    }
    // Either form, the mark put right.
    for (magic, length) in
        [(frame::MAGIC, frame::HEADER_BYTES), (frame::REWRITTEN_MAGIC, frame::HEADER_BYTES_MAX)]
    {
        let Some(bytes) = bytes.get(..length) else { continue };
        if let Some((header, change)) = mend_head(bytes, magic, offset, log_tag, position) {
            return Head::Here(header, Some(change));
        }
    }
    Head::Bad
}

/// Looks for the one changed byte that explains a header that does not read.
#[cold]
fn mend_head(bytes: &[u8], magic: u32, offset: u64, log_tag: u32, position: u64) -> Option<(Header, Change)> {
    let kept = bytes.len() - frame::HEADER_BYTES;
    let accept = |at: usize, byte: u8| {
        let mut mended = bytes.to_vec();
        mended[at] = byte;
        let header = Header::decode(&mended);
        let header = header.filter(|header| header.log == log_tag && header.first == position)?;
        let (code, what) = header_field(at, kept);
        Some((header, Change::byte(code, what, offset + at as u64, byte, bytes[at])))
    };
    let one = |is: u32, was: u32| {
        let mut differing = is.to_le_bytes().into_iter().zip(was.to_le_bytes()).enumerate();
        let (at, (_, was)) = differing.find(|(_, (is, was))| is != was)?;
        differing.all(|(_, (is, was))| is == was).then_some((at, was))
    };
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    if word(0) != magic {
        let (at, was) = one(word(0), magic)?;
        return accept(at, was);
    }
    // The header an append wrote, and around it that of a rewritten frame.
    for start in [kept, 0] {
        let (stored, computed) = (word(start + 4), crc32c::crc32c(&bytes[start + 8..]));
        if let Some((at, was)) = one(stored, computed)
            && let Some(found) = accept(start + 4 + at, was)
        {
            return Some(found);
        }
        for (at, change) in changed_bytes(bytes.len() - start - 8, stored, computed) {
            let at = start + 8 + at;
            if let Some(found) = accept(at, bytes[at] ^ change) {
                return Some(found);
            }
        }
    }
    None
}

/// What stands at a byte of a header; `kept`: where the header begins that an append wrote.
fn header_field(offset: usize, kept: usize) -> (FindingCode, &'static str) {
    use FindingCode::{LeafHashMismatch, LeafMalformed, PositionMismatch, RootMismatch};
    match offset.checked_sub(kept) {
        None => (LeafMalformed, "the head of the rewritten frame"),
        Some(0..4) => (LeafMalformed, "the mark at the head of the frame"),
        Some(4..8) => (LeafMalformed, "the checksum of the frame's header"),
        Some(8..12) => (LeafMalformed, "the length of the frame"),
        Some(12..16) => (LeafMalformed, "the frame's checksum over its records"),
        Some(16..20) => (LeafMalformed, "the checksum of the frame before"),
        Some(20..24) => (LeafMalformed, "the log id in the frame"),
        Some(24..28) => (LeafMalformed, "the epoch of the frame"),
        Some(28..36) => (PositionMismatch, "the position of the frame"),
        Some(36..44) => (LeafHashMismatch, "the commit time"),
        Some(44..48) => (LeafMalformed, "the number of events in the frame"),
        Some(48..52) => (LeafMalformed, "the frame's place in its batch"),
        Some(_) => (RootMismatch, "the root in the frame"),
    }
}

/// A record of a frame, as it was written as far as that can be told.
pub(super) struct Found<'a> {
    pub(super) body: Cow<'a, [u8]>,
    /// Bytes of the whole record.
    pub(super) total: usize,
    /// Its length and checksum as the frame's checksum covers them.
    pub(super) heads: [u8; 8],
    pub(super) change: Option<Change>,
}

/// The record at a byte of its frame; `None` if nothing can be made of what stands there.
pub(super) fn record<'a>(
    bytes: &'a [u8],
    at: usize,
    header: &Header,
    position: u64,
    frame: u64,
) -> Option<Found<'a>> {
    let start = at + frame::RECORD_HEAD_BYTES;
    let head = RecordHead::decode(bytes.get(at..)?)?;
    let heads: [u8; 8] = bytes.get(at..at + 8)?.try_into().ok()?;
    let body = bytes.get(start..at.checked_add(head.total())?);
    if let Some(body) = body
        && head.back as usize == at
        && frame::record_intact(head, position, body)
    {
        return Some(Found { body: body.into(), total: head.total(), heads, change: None });
    }
    mend(bytes, at, header, position, frame)
}

/// Looks for the one change that explains a record that is not intact.
#[cold]
fn mend<'a>(bytes: &'a [u8], at: usize, header: &Header, position: u64, frame: u64) -> Option<Found<'a>> {
    let start = at + frame::RECORD_HEAD_BYTES;
    let head = RecordHead::decode(bytes.get(at..)?)?;
    let mut heads: [u8; 8] = bytes.get(at..at + 8)?.try_into().ok()?;
    let last = position + 1 == header.end();
    let back = u32::try_from(at).ok()?;
    let fits = |total: usize| {
        let end = at.checked_add(total)?;
        let next = bytes.get(end..)?;
        let fits = if last { next.is_empty() } else { RecordHead::decode(next)?.back as usize == end };
        fits.then_some(())
    };
    if fits(head.total()).is_none() {
        // Its length, or the distance of the record behind it.
        for (byte, change) in (0..4).flat_map(|byte| (1..=255u8).map(move |change| (byte, change))) {
            let mut length = head.length.to_le_bytes();
            length[byte] ^= change;
            let mended = RecordHead { length: u32::from_le_bytes(length), back, ..head };
            let Some(body) = at.checked_add(mended.total()).and_then(|end| bytes.get(start..end)) else {
                continue;
            };
            if frame::record_intact(mended, position, body) {
                let place = frame + (at + byte) as u64;
                let was = length[byte];
                heads[..4].copy_from_slice(&length);
                let change = Change::byte(
                    FindingCode::LeafMalformed,
                    "the length of the record",
                    place,
                    was,
                    heads_of(head)[byte],
                );
                return Some(Found { body: body.into(), total: mended.total(), heads, change: Some(change) });
            }
        }
    }
    let body = bytes.get(start..at.checked_add(head.total())?)?;
    let found = |body: Cow<'a, [u8]>, heads, change| {
        Some(Found { body, total: head.total(), heads, change: Some(change) })
    };
    if head.back != back {
        if frame::record_intact(RecordHead { back, ..head }, position, body) {
            let change = Change {
                code: FindingCode::LeafMalformed,
                what: "the distance to the head of the frame",
                how: format!("{} instead of {back}", head.back),
            };
            return found(body.into(), heads, change);
        }
        let near = header.first..header.end();
        if let Some(other) = near.into_iter().find(|other| frame::record_intact(head, *other, body)) {
            let change = Change {
                code: FindingCode::PositionMismatch,
                what: "the record",
                how: format!("the record that was written at position {other}"),
            };
            return found(body.into(), heads, change);
        }
    }
    let mut message = Vec::with_capacity(12 + body.len());
    message.extend_from_slice(&position.to_le_bytes());
    message.extend_from_slice(&back.to_le_bytes());
    message.extend_from_slice(body);
    let computed = crc32c::crc32c(&message);
    let candidates = changed_bytes(message.len(), head.crc, computed);
    let body_changes =
        candidates.iter().filter_map(|(offset, change)| Some((offset.checked_sub(12)?, *change)));
    let differing = (head.crc ^ computed).to_le_bytes();
    let one_bit = body_changes.clone().next().is_some_and(|(_, change)| change.is_power_of_two());
    if !one_bit && differing.iter().filter(|byte| **byte != 0).count() == 1 {
        let byte = differing.iter().position(|byte| *byte != 0).unwrap_or(0);
        let (was, is) = (computed.to_le_bytes()[byte], head.crc.to_le_bytes()[byte]);
        heads[4..].copy_from_slice(&computed.to_le_bytes());
        let place = frame + (at + 4 + byte) as u64;
        let change = Change::byte(FindingCode::LeafMalformed, "the checksum of the record", place, was, is);
        return found(body.into(), heads, change);
    }
    for (offset, change) in body_changes {
        let mut mended = body.to_vec();
        mended[offset] ^= change;
        let Some(record) = Record::decode(&mended) else { continue };
        let (code, what) = field(&mended, &record, offset);
        let place = frame + (start + offset) as u64;
        let change = Change::byte(code, what, place, mended[offset], body[offset]);
        return found(mended.into(), heads, change);
    }
    fits(head.total())?;
    let change = Change {
        code: FindingCode::LeafHashMismatch,
        what: "the record",
        how: "several changed bytes; its checksum does not hold".into(),
    };
    found(body.into(), heads, change)
}

fn heads_of(head: RecordHead) -> [u8; 4] {
    head.length.to_le_bytes()
}
