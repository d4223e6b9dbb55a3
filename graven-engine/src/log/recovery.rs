//! Finding the end of the log: reads frames from a known place on, and tells a torn tail from damage.
//!
//! A crash may lose or tear any sector that was not yet synced, and the last batch is all that can be unsynced. So a bad
//! frame is a *torn tail* (cut off) if every intact frame after it belongs to the same batch, and *damage* (stop) if one
//! of a later batch, or another segment, follows: that one was only written once the bad one was durable.

use super::Log;
use super::frame::{self, Header};
use super::reader::damaged;
use super::segment::{self, Segment};
use bytes::Bytes;
use graven_model::{Error, Result};
use std::sync::Arc;

/// Where to begin: after everything an index file covers, or at the very start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct From {
    /// Position of the next event.
    pub(crate) position: u64,
    /// Byte offset of its frame in the segment that holds it, or would.
    pub(crate) offset: u64,
    /// Header checksum of the frame before.
    pub(crate) previous: u32,
}

/// Where the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) position: u64,
    pub(crate) offset: u64,
    pub(crate) previous: u32,
    /// Bytes of a torn batch that were cut off.
    pub(crate) torn_bytes: u64,
}

/// What a crash may have torn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Torn {
    /// The last batch: a store's log, where every batch is flushed before the next one is written.
    LastBatch,
    /// Anything at this position and behind it, within the last segment: a replica's log, where frames are written in
    /// runs of many batches. What comes before has to be there.
    Behind(u64),
}

/// Calls `each` for every whole frame from `from` on, in order, with the frame's bytes and its byte offset; then cuts
/// off a torn tail and makes the last batch durable: a process that was killed, or whose flush failed, may have left it
/// in the page cache alone.
///
/// # Errors
/// [`Code::Corrupted`] with file and byte for damage; [`Code::Io`]; what `each` returns.
pub(crate) fn replay(
    log: &Log,
    log_tag: u32,
    from: From,
    torn: Torn,
    mut each: impl FnMut(&Header, &Bytes, u64) -> Result<()>,
) -> Result<End> {
    scan(log, log_tag, from, torn, true, &mut |header, bytes, offset| {
        each(header, bytes, offset).map(|()| true)
    })
}

/// Calls `each` for every whole frame from `from` on until it returns false or the frames end; changes nothing.
///
/// # Errors
/// As [`replay`].
pub(crate) fn walk(
    log: &Log,
    log_tag: u32,
    from: From,
    each: &mut dyn FnMut(&Header, &Bytes, u64) -> Result<bool>,
) -> Result<()> {
    scan(log, log_tag, from, Torn::LastBatch, false, each).map(|_| ())
}

/// [`walk`] over a replica's log, which has to reach `synced`; answers where it ends.
///
/// # Errors
/// As [`replay`].
pub(crate) fn walk_replica(
    log: &Log,
    log_tag: u32,
    from: From,
    synced: u64,
    each: &mut dyn FnMut(&Header, &Bytes, u64) -> Result<bool>,
) -> Result<End> {
    scan(log, log_tag, from, Torn::Behind(synced), false, each)
}

fn scan(
    log: &Log,
    log_tag: u32,
    from: From,
    torn: Torn,
    repair: bool,
    each: &mut dyn FnMut(&Header, &Bytes, u64) -> Result<bool>,
) -> Result<End> {
    let segments = log.segments();
    let mut at = segments.partition_point(|segment| segment.first() <= from.position).saturating_sub(1);
    let mut end =
        End { position: from.position, offset: from.offset, previous: from.previous, torn_bytes: 0 };
    while let Some(segment) = segments.get(at) {
        if at > 0 && segment.first() == end.position {
            end.offset = segment::HEADER_BYTES;
            if segment.header.previous != end.previous {
                return Err(damaged(segment, 0, "the segment does not follow the one before"));
            }
        }
        if end.position == from.position
            && segment.first() < end.position
            && let Some(place) = segment.frame_place(end.position)?
        {
            end.offset = place;
        }
        let mut scan = Scan::new(segment)?;
        let mut batch_at = end.offset;
        let why = loop {
            match scan.frame(end.offset, log_tag, end.position, end.previous)? {
                Step::Frame(header, bytes) => {
                    if !each(&header, &bytes, end.offset)? {
                        return Ok(end);
                    }
                    let flushed_before = match torn {
                        Torn::LastBatch => header.batch_offset == 0,
                        Torn::Behind(synced) => header.first <= synced,
                    };
                    if flushed_before {
                        batch_at = end.offset;
                    }
                    end.position = header.end();
                    end.previous = header.crc;
                    end.offset += u64::from(header.length);
                }
                Step::Bad(why) => break why,
            }
        };
        match segments.get(at + 1) {
            Some(next) if next.first() == end.position => {}
            Some(next) => {
                return Err(damaged(segment, end.offset, why)
                    .expected(format!("events up to position {}", next.first()))
                    .found(format!("events up to position {}", end.position)));
            }
            None if matches!(torn, Torn::Behind(synced) if end.position < synced) => {
                return Err(damaged(segment, end.offset, why)
                    .found(format!("events up to position {} of those that were flushed", end.position)));
            }
            None if repair => {
                let last_batch = (torn == Torn::LastBatch).then_some((log_tag, end.position));
                end.torn_bytes = scan.cut_torn_tail(end.offset, last_batch, why)?;
                scan.write_again(batch_at, end.offset)?;
            }
            None => {}
        }
        at += 1;
    }
    Ok(end)
}

enum Step {
    Frame(Header, Bytes),
    Bad(&'static str),
}

/// A segment file read front to back.
struct Scan<'a> {
    segment: &'a Arc<Segment>,
    len: u64,
    chunk: Bytes,
    chunk_start: u64,
}

const SCAN_BYTES: u64 = 1 << 20;

impl<'a> Scan<'a> {
    fn new(segment: &'a Arc<Segment>) -> Result<Scan<'a>> {
        let len = segment.file.len().map_err(|error| Error::io(segment.path.display(), &error))?;
        Ok(Scan { segment, len, chunk: Bytes::new(), chunk_start: 0 })
    }

    fn bytes(&mut self, offset: u64, length: u64) -> Result<Bytes> {
        let start = offset.wrapping_sub(self.chunk_start);
        if offset < self.chunk_start || start + length > self.chunk.len() as u64 {
            let wanted = length.max(SCAN_BYTES).min(self.len.saturating_sub(offset));
            let mut buffer = vec![0; wanted as usize];
            let read = self.segment.file.read_at(&mut buffer, offset).map_err(|error| {
                Error::io(format_args!("{} at byte {offset}", self.segment.path.display()), &error)
            })?;
            buffer.truncate(read);
            self.chunk = buffer.into();
            self.chunk_start = offset;
        }
        let start = (offset - self.chunk_start) as usize;
        let end = (start + length as usize).min(self.chunk.len());
        Ok(self.chunk.slice(start.min(end)..end))
    }

    /// A whole intact frame at `offset`, wherever it belongs.
    fn intact(&mut self, offset: u64, log_tag: u32) -> Result<Result<(Header, Bytes), &'static str>> {
        let bytes = self.bytes(offset, frame::HEADER_BYTES_MAX as u64)?;
        let Some(header) = Header::decode(&bytes) else { return Ok(Err("the frame header is damaged")) };
        if header.log != log_tag {
            return Ok(Err("the frame belongs to another log"));
        }
        let bytes = self.bytes(offset, u64::from(header.length))?;
        let whole = bytes.len() == header.length as usize
            && frame::body_crc(&bytes[header.header_bytes()..], header.count) == Some(header.body_crc)
            && records_intact(&header, &bytes);
        Ok(if whole { Ok((header, bytes)) } else { Err("the frame's checksum does not hold") })
    }

    fn frame(&mut self, offset: u64, log_tag: u32, position: u64, previous: u32) -> Result<Step> {
        Ok(match self.intact(offset, log_tag)? {
            Ok((header, _)) if header.first != position => Step::Bad("the frame stands at the wrong place"),
            Ok((header, _)) if header.previous != previous => {
                Step::Bad("the frame does not follow the one before")
            }
            Ok((header, bytes)) => Step::Frame(header, bytes),
            Err(why) => Step::Bad(why),
        })
    }

    /// Writes the bytes of the last batch once more and flushes them. A flush alone would not do: after one that failed
    /// the kernel takes what it lost for written.
    fn write_again(&mut self, from: u64, to: u64) -> Result<()> {
        if from == to {
            return Ok(());
        }
        let failed = |error: std::io::Error| Error::io(self.segment.path.display(), &error);
        let mut at = from;
        while at < to {
            let bytes = self.bytes(at, SCAN_BYTES.min(to - at))?;
            self.segment.file.write_at(&bytes, at).map_err(failed)?;
            at += bytes.len().max(1) as u64;
        }
        self.segment.file.sync_data().map_err(failed)
    }

    /// Decides what a bad frame at `offset` is. Torn: overwrites it with zeros and returns the bytes cut off. With the
    /// log's tag and the frame's position, an intact frame of a later batch behind it makes it damage.
    fn cut_torn_tail(
        &mut self,
        offset: u64,
        last_batch: Option<(u32, u64)>,
        why: &'static str,
    ) -> Result<u64> {
        let mut last_used = offset;
        let mut at = offset;
        let magics = [frame::MAGIC.to_le_bytes(), frame::REWRITTEN_MAGIC.to_le_bytes()];
        let magic_bytes = size_of::<u32>();
        while at < self.len {
            let bytes = self.bytes(at, SCAN_BYTES)?;
            if bytes.is_empty() {
                break;
            }
            if !is_zero(&bytes) {
                let used = bytes.iter().rposition(|byte| *byte != 0).expect("some byte is not zero");
                last_used = at + used as u64 + 1;
                let found = bytes[..=used].windows(magic_bytes).enumerate();
                let found = found.filter(|(_, window)| magics.iter().any(|magic| window == magic));
                for ((found, _), (log_tag, position)) in found.zip(last_batch.iter().copied().cycle()) {
                    let place = at + found as u64;
                    if let Ok((header, _)) = self.intact(place, log_tag)?
                        && header.first >= position
                        && header.batch_first() > position
                    {
                        return Err(damaged(self.segment, offset, why).found(format!(
                            "an intact frame of position {} at byte {place}, written after this place was durable",
                            header.first
                        )));
                    }
                }
            }
            // Overlap by a frame's magic, which may lie across two chunks.
            let step = bytes.len().saturating_sub(magic_bytes - 1).max(1);
            at += step as u64;
        }
        let torn = last_used - offset;
        if torn > 0 {
            tracing::warn!(path = %self.segment.path.display(), offset, bytes = torn, "cut off a torn append that was never acknowledged");
            let failed = |error: std::io::Error| Error::io(self.segment.path.display(), &error);
            let zeros = vec![0; (SCAN_BYTES).min(torn) as usize];
            let mut at = offset;
            while at < last_used {
                let length = zeros.len().min((last_used - at) as usize);
                self.segment.file.write_at(&zeros[..length], at).map_err(failed)?;
                at += length as u64;
            }
            self.segment.file.sync_data().map_err(failed)?;
        }
        Ok(torn)
    }
}

/// Whether every record of a whole frame is intact and at its place.
pub(crate) fn records_intact(header: &Header, bytes: &[u8]) -> bool {
    let mut at = header.header_bytes();
    for position in header.first..header.end() {
        let Some(head) = bytes.get(at..).and_then(frame::RecordHead::decode) else { return false };
        let body = bytes.get(at + frame::RECORD_HEAD_BYTES..at + head.total());
        if !body.is_some_and(|body| frame::record_intact(head, position, body)) || head.back as usize != at {
            return false;
        }
        at += head.total();
    }
    true
}

/// Compares with zeros a block at a time: the unused end of a segment is read at every start.
fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()])
}
