//! Reading the log: records by place, records in order. Every record is checked before it is handed out.

use super::Log;
use super::frame::{self, Header, Record, RecordHead};
use super::segment::Segment;
use crate::audit::SubjectKeys;
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

    /// The event, sharing memory with the chunk it was read in, or opened with the key of its data subject.
    pub(crate) fn event(&self, keys: &SubjectKeys) -> Result<StoredEvent> {
        let record = self.record()?;
        let event = record.event(self.position, self.commit_time);
        let names = &mut Names::new();
        let stored = if record.sealed {
            let unsealed = keys.unseal(&record, self.position)?;
            unsealed.show(event, &record).to_stored(&unsealed.memory(), names)
        } else {
            event.to_stored(&self.body, names)
        };
        stored.map_err(|_| damaged(&self.segment, self.offset, "the record names a stream that cannot be"))
    }
}

/// A record that was read and checked, where its reader holds it: for a read of many, which takes no share in anything.
pub(crate) struct Peeked<'r> {
    pub(crate) position: u64,
    pub(crate) commit_time: i64,
    body: &'r [u8],
    /// What the body lies in.
    pub(crate) memory: &'r Bytes,
    segment: &'r Arc<Segment>,
    offset: u64,
}

impl<'r> Peeked<'r> {
    /// The record taken apart.
    pub(crate) fn record(&self) -> Result<Record<'r>> {
        Record::decode(self.body).ok_or_else(|| self.damaged("the record cannot be decoded"))
    }

    /// A [`Code::Corrupted`] error that names file and byte.
    pub(crate) fn damaged(&self, what: &str) -> Error {
        damaged(self.segment, self.offset, what)
    }

    fn fetched(&self) -> Fetched {
        Fetched {
            position: self.position,
            commit_time: self.commit_time,
            body: self.memory.slice_ref(self.body),
            segment: Arc::clone(self.segment),
            offset: self.offset,
        }
    }
}

/// A reader with a small memory of what it read last. One for each read; not shared.
pub(crate) struct Reader {
    log: Arc<Log>,
    segment: Option<Arc<Segment>>,
    chunk: Bytes,
    chunk_start: u64,
    /// Places of records from a position on, in a segment whose records stand elsewhere than the index remembers.
    places: (u64, Vec<u32>),
    /// The chunk before, if the record read last lies in it and its frame's header does not.
    displaced: Option<Bytes>,
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
            places: (0, Vec::new()),
            displaced: None,
            frame: None,
            ahead: POINT_BYTES,
        }
    }

    /// Reads the record of a position, whose byte offset the index knows or did before the segment was rewritten, to keep it.
    ///
    /// # Errors
    /// As [`Reader::peek`].
    pub(crate) fn fetch(&mut self, position: u64, offset: u32) -> Result<Fetched> {
        self.peek(position, offset).map(|peeked| peeked.fetched())
    }

    /// Reads the record of a position, whose byte offset the index knows, to look at it.
    ///
    /// # Errors
    /// [`Code::Corrupted`] if what stands there is not that record; [`Code::Io`].
    pub(crate) fn peek(&mut self, position: u64, offset: u32) -> Result<Peeked<'_>> {
        self.enter(position)?;
        let offset = self.place(position)?.unwrap_or(offset.into());
        let near = offset.saturating_sub(frame::HEADER_BYTES_MAX as u64);
        let before = (offset - near) as usize;
        let head = self.bytes(near, before + frame::RECORD_HEAD_BYTES)?;
        let head = head
            .get(before..)
            .and_then(RecordHead::decode)
            .ok_or_else(|| self.damaged(offset, "the record is cut off"))?;
        if head.total() > frame::FRAME_BYTES_MAX || u64::from(head.back) > offset {
            return Err(self.damaged(offset, "the record's length cannot be"));
        }
        let body_offset = offset + frame::RECORD_HEAD_BYTES as u64;
        let body = self.bytes(body_offset, head.length as usize)?;
        if !frame::record_intact(head, position, body) {
            return Err(self.damaged(offset, "the record's checksum does not hold"));
        }
        let start = (body_offset - self.chunk_start) as usize;
        let commit_time = self.frame_at(offset - u64::from(head.back), position, offset)?;
        let memory = self.displaced.as_ref().unwrap_or(&self.chunk);
        Ok(Peeked {
            position,
            commit_time,
            body: &memory[start..start + head.length as usize],
            memory,
            segment: self.segment(),
            offset,
        })
    }

    /// Reads the frame of the record at `offset`, unless it is known, and answers with its commit time. A chunk that has
    /// to make room for it is kept.
    fn frame_at(&mut self, frame_offset: u64, position: u64, offset: u64) -> Result<i64> {
        self.displaced = None;
        if self.frame.as_ref().is_none_or(|(at, _)| *at != frame_offset) {
            if !self.holds(frame_offset, frame::HEADER_BYTES_MAX) {
                self.displaced = Some(self.chunk.clone());
            }
            let header = Header::decode(self.bytes(frame_offset, frame::HEADER_BYTES_MAX)?)
                .ok_or_else(|| self.damaged(offset, "the frame header is damaged"))?;
            self.frame = Some((frame_offset, header));
        }
        match &self.frame {
            Some((_, frame)) if frame.first <= position && position < frame.end() => Ok(frame.commit_time),
            _ => Err(self.damaged(offset, "the record stands in a frame of other positions")),
        }
    }

    fn damaged(&self, offset: u64, what: &str) -> Error {
        damaged(self.segment(), offset, what)
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
        if self.segment.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &segment)) {
            self.segment = Some(segment);
            self.chunk = Bytes::new();
            self.frame = None;
            self.places = (0, Vec::new());
        }
        Ok(())
    }

    /// Where the record of a position stands in the current segment, if that knows better than the index.
    fn place(&mut self, position: u64) -> Result<Option<u64>> {
        let known = |(first, places): &(u64, Vec<u32>)| {
            let index = usize::try_from(position.checked_sub(*first)?).ok()?;
            places.get(index).map(|place| u64::from(*place))
        };
        if let Some(place) = known(&self.places) {
            return Ok(Some(place));
        }
        let Some(places) = self.segment().places_from(position)? else { return Ok(None) };
        self.places = (position, places);
        Ok(known(&self.places))
    }

    /// Bytes of the current segment, from the chunk in hand or read with what lies ahead; short at the file's end.
    fn bytes(&mut self, offset: u64, length: usize) -> Result<&[u8]> {
        if !self.holds(offset, length) {
            self.read(offset, length)?;
        }
        let rest = &self.chunk[(offset - self.chunk_start) as usize..];
        Ok(&rest[..length.min(rest.len())])
    }

    fn holds(&self, offset: u64, length: usize) -> bool {
        offset
            .checked_sub(self.chunk_start)
            .is_some_and(|start| start + length as u64 <= self.chunk.len() as u64)
    }

    /// Reads a chunk that begins with these bytes.
    fn read(&mut self, offset: u64, length: usize) -> Result<()> {
        let chunk_end = self.chunk_start + self.chunk.len() as u64;
        let goes_on =
            !self.chunk.is_empty() && (self.chunk_start..=chunk_end + POINT_BYTES as u64).contains(&offset);
        let ahead = if goes_on { (self.ahead * 4).min(SEQUENTIAL_BYTES) } else { POINT_BYTES };
        let wanted = length.max(ahead);
        // Memory that nobody shares is read into again.
        let mut buffer = match std::mem::take(&mut self.chunk).try_into_mut() {
            Ok(buffer) if buffer.capacity() >= wanted => buffer,
            _ => BytesMut::with_capacity(wanted),
        };
        buffer.resize(wanted, 0);
        let segment = self.segment();
        let read = segment.file.read_at(&mut buffer, offset).map_err(|error| {
            Error::io(format_args!("{} at byte {offset}", segment.path.display()), &error)
        })?;
        buffer.truncate(read);
        self.ahead = ahead;
        self.chunk = buffer.freeze();
        self.chunk_start = offset;
        Ok(())
    }

    fn segment(&self) -> &Arc<Segment> {
        self.segment.as_ref().expect("a segment was entered")
    }
}

/// A [`Code::Corrupted`] error that names file and byte.
pub(crate) fn damaged(segment: &Segment, offset: u64, what: &str) -> Error {
    Error::new(Code::Corrupted, format!("{} at byte {offset}: {what}", segment.path.display()))
}
