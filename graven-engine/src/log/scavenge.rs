//! Rewriting a sealed segment without what was erased from it.
//!
//! The new file is written beside the old one, made durable, and takes its name: a crash leaves one of them, whole. Whoever
//! reads the old one reads on there. Frames keep their place in the log, their events their positions; only bytes move, so
//! the new file says itself where its records are. Called by erasure and retention, one at a time; decides nothing.

use super::frame::{self, Erase, Header, Record, RecordHead};
use super::recovery::{self, From};
use super::segment::{self, Places, Segment};
use super::{Log, reader};
use crate::append::log_tag;
use crate::env::{DiskFile, Open, temporary_name};
use graven_model::{Code, Error, Result};
use std::path::Path;
use std::sync::Arc;

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// What came of rewriting a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rewritten {
    /// Events something was erased from; with none, the segment stays as it is.
    pub(crate) events: u64,
    /// Bytes the file is shorter; it may be longer, by its table of places, if little was erased.
    pub(crate) bytes_freed: i64,
}

impl Log {
    /// Rewrites the segment that begins at a position, once `erase` has said of every record what is destroyed of it.
    /// Durable when this returns. Blocks for the reading and writing of a segment.
    ///
    /// # Errors
    /// [`Code::Corrupted`] with file and byte if the segment is damaged; [`Code::DiskFull`]; [`Code::Io`]: the segment is
    /// then as it was, or rewritten. [`Code::Internal`] for the last segment, which is still written to.
    pub(crate) fn rewrite_segment(
        &self,
        first: u64,
        erase: &mut dyn FnMut(u64, &Record<'_>) -> Erase,
    ) -> Result<Rewritten> {
        self.spare.settle();
        let segments = self.segments();
        let at = segments.iter().position(|segment| segment.first() == first);
        let (old, end) = at
            .and_then(|at| Some((&segments[at], segments.get(at + 1)?.first())))
            .ok_or_else(|| Error::new(Code::Internal, format!("no sealed segment begins at {first}")))?;
        let io = |error: std::io::Error| Error::io(old.path.display(), &error);
        let bytes = old.file.len().map_err(io)?;
        self.spare.check_room(bytes)?;
        let path = temporary_name(&old.path);
        let file = self.env.disk.open(&path, Open::Create).map_err(io)?;
        let outcome = self.write_without(old, end, Arc::clone(&file), erase);
        let (events, places) = match outcome {
            Ok((events, places)) if events > 0 => (events, places),
            outcome => {
                self.discard(&path);
                return outcome.map(|_| Rewritten::default());
            }
        };
        let new = Segment::replace(&self.env, &path, old, places, file).map_err(io)?;
        let bytes_freed = bytes.cast_signed() - new.file.len().map_err(io)?.cast_signed();
        let mut listed = self.segments.write();
        let place = listed.iter_mut().find(|segment| segment.first() == first);
        *place.expect("a segment is never taken off the list") = Arc::new(new);
        drop(listed);
        old.was_replaced();
        Ok(Rewritten { events, bytes_freed })
    }

    /// Writes the frames of a segment, up to where the next one begins, without what is erased, and then their places.
    fn write_without(
        &self,
        old: &Segment,
        end: u64,
        file: Arc<dyn DiskFile>,
        erase: &mut dyn FnMut(u64, &Record<'_>) -> Erase,
    ) -> Result<(u64, Places)> {
        let mut copy = Copy { file, out: Vec::new(), written: segment::HEADER_BYTES, places: Vec::new() };
        let mut events = 0;
        let begin =
            From { position: old.first(), offset: segment::HEADER_BYTES, previous: old.header.previous };
        recovery::walk(self, log_tag(self.log_id), begin, &mut |header, frame, offset| {
            if header.first >= end {
                return Ok(false);
            }
            let changed = copy.frame(frame, erase).map_err(|error| Error::io(old.path.display(), &error))?;
            let changed =
                changed.ok_or_else(|| reader::damaged(old, offset, "the frame cannot be taken apart"))?;
            events += u64::from(changed);
            Ok(true)
        })?;
        let places = copy.finish().map_err(|error| Error::io(old.path.display(), &error))?;
        Ok((events, places))
    }

    fn discard(&self, path: &Path) {
        if let Err(error) = self.env.disk.remove(path) {
            tracing::warn!(%error, path = %path.display(), "a file that is not needed stays until the next start");
        }
    }
}

/// A segment file being written.
struct Copy {
    file: Arc<dyn DiskFile>,
    out: Vec<u8>,
    /// Bytes written, those in `out` not counted.
    written: u64,
    places: Vec<u32>,
}

impl Copy {
    /// Takes a frame without what is erased; answers with how many records changed, `None` if it cannot be taken apart.
    fn frame(
        &mut self,
        frame: &[u8],
        erase: &mut dyn FnMut(u64, &Record<'_>) -> Erase,
    ) -> std::io::Result<Option<u32>> {
        let start = self.out.len();
        let Some(changed) = frame::rewrite(frame, &mut self.out, erase) else { return Ok(None) };
        let left = &self.out[start..];
        let header = Header::decode(left).expect("the frame was just encoded");
        let mut at = header.header_bytes();
        for _ in 0..header.count {
            let place = u32::try_from(self.written + (start + at) as u64)
                .map_err(|_| std::io::Error::other("the segment would be longer than 4 GiB"))?;
            self.places.push(place);
            at += RecordHead::decode(&left[at..]).expect("the record was just encoded").total();
        }
        if self.out.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(Some(changed))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.write_at(&self.out, self.written)?;
        self.written += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }

    /// Writes the rest and the places.
    fn finish(mut self) -> std::io::Result<Places> {
        self.flush()?;
        let start = self.written;
        let places = std::mem::take(&mut self.places);
        let mut crc = 0;
        for places in places.chunks(WRITE_BYTES / size_of::<u32>()) {
            self.out.extend(places.iter().flat_map(|place| place.to_le_bytes()));
            crc = crc32c::crc32c_append(crc, &self.out);
            self.flush()?;
        }
        Ok(Places { start, count: places.len() as u32, crc })
    }
}

#[cfg(test)]
mod tests;
