//! Reading the log: records by place, records in order. Every record is checked before it is handed out.

use super::Log;
use super::frame::{self, Header, Record, RecordHead};
use super::segment::Segment;
use bytes::{Bytes, BytesMut};
use graven_model::{Code, Error, Names, Result, StoredEvent};
use std::sync::Arc;

/// Bytes read at once around a record looked up on its own.
const POINT_BYTES: usize = 2048;
/// Bytes read at once, at the most, when records are asked for in order: each read is four times the one before.
const SEQUENTIAL_BYTES: usize = 256 << 10;

/// A record that was read and checked, with what its frame says of it.
pub(crate) struct Fetched {
    pub(crate) position: u64,
    pub(crate) commit_time: i64,
    /// The record's body; [`Record::decode`] takes it apart.
    pub(crate) body: Bytes,
    segment: Arc<Segment>,
    offset: u64,
}

impl Fetched {
    /// The segment it was read from.
    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The record taken apart.
    pub(crate) fn record(&self) -> Result<Record<'_>> {
        Record::decode(&self.body)
            .ok_or_else(|| damaged(&self.segment, self.offset, "the record cannot be decoded"))
    }

    /// The event, sharing memory with the chunk it was read in.
    pub(crate) fn event(&self) -> Result<StoredEvent> {
        self.event_of(&self.record()?, &mut Names::new())
    }

    /// The event of the record taken apart before; for a read of many, whose names repeat.
    pub(crate) fn event_of(&self, record: &Record<'_>, names: &mut Names) -> Result<StoredEvent> {
        record
            .to_event(self.position, self.commit_time, &self.body, names)
            .ok_or_else(|| damaged(&self.segment, self.offset, "the record names a stream that cannot be"))
    }
}

/// A reader with a small memory of what it read last. One for each read; not shared.
pub(crate) struct Reader {
    log: Arc<Log>,
    segment: Option<Arc<Segment>>,
    chunk: Bytes,
    chunk_start: u64,
    frame: Option<(u64, Header)>,
    /// Bytes read at once.
    ahead: usize,
}

impl Reader {
    pub(crate) fn new(log: &Arc<Log>) -> Reader {
        Reader {
            log: Arc::clone(log),
            segment: None,
            chunk: Bytes::new(),
            chunk_start: 0,
            frame: None,
            ahead: POINT_BYTES,
        }
    }

    /// Forgets what was read. Needed before reading what was written meanwhile: bytes read ahead may be older.
    pub(crate) fn forget(&mut self) {
        self.chunk = Bytes::new();
        self.frame = None;
    }

    /// Reads the record of a position, whose byte offset the index knows.
    ///
    /// # Errors
    /// [`Code::Corrupted`] if what stands there is not that record; [`Code::Io`].
    pub(crate) fn fetch(&mut self, position: u64, offset: u32) -> Result<Fetched> {
        self.enter(position)?;
        self.fetch_at(position, u64::from(offset))
    }

    /// The frame of the record read last, with the byte where it begins in its segment.
    pub(crate) fn frame(&self) -> Option<(u64, Header)> {
        self.frame
    }

    /// Makes the position's segment the current one.
    fn enter(&mut self, position: u64) -> Result<()> {
        if self.frame.as_ref().is_some_and(|(_, frame)| frame.first <= position && position < frame.end()) {
            return Ok(());
        }
        let segment = self
            .log
            .segment_of(position)
            .ok_or_else(|| Error::new(Code::Internal, format!("no segment holds position {position}")))?;
        if self.segment.as_ref().is_none_or(|known| known.first() != segment.first()) {
            self.segment = Some(segment);
            self.chunk = Bytes::new();
            self.frame = None;
        }
        Ok(())
    }

    fn fetch_at(&mut self, position: u64, offset: u64) -> Result<Fetched> {
        let segment = Arc::clone(self.segment.as_ref().expect("a segment was entered"));
        let bad = |what: &str| damaged(&segment, offset, what);
        let near = offset.saturating_sub(frame::HEADER_BYTES as u64);
        let head_bytes = self.bytes(near, (offset - near) as usize + frame::RECORD_HEAD_BYTES)?;
        let head = head_bytes
            .get((offset - near) as usize..)
            .and_then(RecordHead::decode)
            .ok_or_else(|| bad("the record is cut off"))?;
        if head.total() > frame::FRAME_BYTES_MAX || u64::from(head.back) > offset {
            return Err(bad("the record's length cannot be"));
        }
        let body = self.bytes(offset + frame::RECORD_HEAD_BYTES as u64, head.length as usize)?;
        if !frame::record_intact(head, position, &body) {
            return Err(bad("the record's checksum does not hold"));
        }
        let frame_offset = offset - u64::from(head.back);
        let header = match self.frame {
            Some((at, header)) if at == frame_offset => header,
            _ => {
                let bytes = self.bytes(frame_offset, frame::HEADER_BYTES)?;
                let header = Header::decode(&bytes).ok_or_else(|| bad("the frame header is damaged"))?;
                self.frame = Some((frame_offset, header));
                header
            }
        };
        if position < header.first || position >= header.end() {
            return Err(bad("the record stands in a frame of other positions"));
        }
        Ok(Fetched { position, commit_time: header.commit_time, body, segment, offset })
    }

    /// Bytes of the current segment, from the chunk in hand or read with what lies ahead; short at the file's end.
    fn bytes(&mut self, offset: u64, length: usize) -> Result<Bytes> {
        if let Some(start) = offset.checked_sub(self.chunk_start)
            && let Ok(start) = usize::try_from(start)
            && start + length <= self.chunk.len()
        {
            return Ok(self.chunk.slice(start..start + length));
        }
        let segment = self.segment.as_ref().expect("a segment was entered");
        let chunk_end = self.chunk_start + self.chunk.len() as u64;
        let goes_on =
            !self.chunk.is_empty() && (self.chunk_start..=chunk_end + POINT_BYTES as u64).contains(&offset);
        self.ahead = if goes_on { (self.ahead * 4).min(SEQUENTIAL_BYTES) } else { POINT_BYTES };
        let mut buffer = BytesMut::zeroed(length.max(self.ahead));
        let read = segment.file.read_at(&mut buffer, offset).map_err(|error| {
            Error::io(format_args!("{} at byte {offset}", segment.path.display()), &error)
        })?;
        buffer.truncate(read);
        let chunk = buffer.freeze();
        let wanted = chunk.slice(..length.min(read));
        self.chunk = chunk;
        self.chunk_start = offset;
        Ok(wanted)
    }
}

/// A [`Code::Corrupted`] error that names file and byte.
pub(crate) fn damaged(segment: &Segment, offset: u64, what: &str) -> Error {
    Error::new(Code::Corrupted, format!("{} at byte {offset}: {what}", segment.path.display()))
}
