//! The single writer: decides appends and encodes them into the batch being made. One thread at a time has it; which one,
//! says `path`.
//!
//! A batch is open until whoever is to flush it seals it. What is known is ahead of what is durable: later appends see
//! earlier ones of the same batch, and of the one being flushed. Outcomes, refusals included, are only told after
//! everything they were judged by is durable.

use super::committer::{Ready, Reply};
use super::decide::{Decision, Facts, decide};
use super::facts::{Pending, Place, Source, Sources};
use super::frames::{self, Chain, FrameWriter, Room};
use super::names::{Gate, Names, Slot};
use super::queue::Queue;
use super::shared::Shared;
use super::{Operation, Prepared, prepare};
use crate::env::Entropy;
use crate::journal::{Batch, Tail};
use crate::log::{Edge, Placement, segment};
use crate::read::metadata::StreamMetadata;
use bytes::Bytes;
use graven_model::append::{Condition, Expected, StreamReceipt, StreamState, StreamWrite};
use graven_model::event::{Kind, NewEvent};
use graven_model::{
    AppendRequest, Code, Error, EventId, Position, Receipt, Result, Revision, StreamName, Timestamp, limits,
};
use std::sync::Arc;

/// In whose name batches are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Author {
    /// Epoch of the journal; 1 where it has no other.
    pub(crate) epoch: u32,
    /// Random for each process.
    pub(crate) writer: [u8; 16],
}

/// The writer's own state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    names: Names,
    pending: Pending,
    entropy: Entropy,
    chain: Chain,
    author: Author,
    index_flush_events: usize,
    open: Option<OpenBatch>,
    /// Room for appends on their way from the queue, and for what is known of a frame being made.
    taken: Vec<Prepared>,
    room: Room,
}

/// The batch being made.
struct OpenBatch {
    expected: Tail,
    placement: Placement,
    /// What came before, if the batch begins a segment.
    edge: Option<Edge>,
    frames: Vec<u8>,
    /// Byte where the last frame begins.
    last: usize,
    /// Upper bound of the bytes of its frames.
    bytes_max: usize,
    replies: Vec<Reply>,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        chain: Chain,
        names: Names,
        entropy: Entropy,
        author: Author,
        index_flush_events: usize,
    ) -> Writer {
        Writer {
            shared,
            names,
            pending: Pending::default(),
            author,
            entropy,
            chain,
            index_flush_events,
            open: None,
            taken: Vec::new(),
            room: Room::default(),
        }
    }

    /// Leaves everything as a clean stop wants it.
    pub(super) fn end(&mut self) {
        if self.shared.poisoned().is_none()
            && let Err(error) = self.freeze()
        {
            tracing::warn!(%error, "the index could not be written at the stop; it is rebuilt at the next start");
        }
    }

    /// True if making room for so many bytes may take longer than a flush of the log, or has to wait for one.
    pub(super) fn may_take_long(&self, bytes: usize) -> bool {
        let begun = self.open.as_ref().map_or(0, |open| open.bytes_max);
        let sources = &self.shared.sources;
        (self.open.is_none() && sources.index.open_events() >= self.index_flush_events)
            || sources.log.would_roll((begun + bytes) as u64)
    }

    /// Encodes what waits, in order: at most `bytes_max` bytes, and what fits the batch being made. False if nothing did.
    pub(super) fn fill(&mut self, queue: &Queue, bytes_max: usize) -> bool {
        let shared = Arc::clone(&self.shared);
        // Before anybody else gets the writer.
        let _alarm = shared.alarm();
        let mut appends = std::mem::take(&mut self.taken);
        let begun = self.open.as_ref().map_or(0, |open| open.bytes_max);
        let log = &self.shared.sources.log;
        let mut bytes = 0;
        let mut rolls = false;
        queue.take(&mut appends, |append| {
            let next = append.frame_bytes_max;
            let all = begun + bytes + next;
            // Only where nothing is in flight may a segment begin.
            let begins = append.begins_segment();
            let fits = (begun + bytes == 0 || all <= limits::BATCH_BYTES_MAX)
                && (begun == 0 || !log.would_roll(all as u64))
                && bytes + next <= bytes_max
                && (!begins || begun + bytes == 0 && bytes_max == usize::MAX);
            bytes += if fits { next } else { 0 };
            rolls |= fits && begins;
            fits
        });
        let some = !appends.is_empty();
        if some {
            match self.open(bytes, rolls) {
                Ok(mut open) => {
                    for append in appends.drain(..) {
                        let reply = self.apply(append, &mut open);
                        open.replies.push(reply);
                    }
                    self.open = Some(open);
                }
                Err(error) => refuse_all(&mut appends, &error),
            }
        }
        self.taken = appends;
        some
    }

    /// The batch being made, with room for so many bytes more. One that is begun may wait for the disk; with `rolls` it begins
    /// a segment.
    fn open(&mut self, bytes: usize, rolls: bool) -> Result<OpenBatch> {
        if let Some(mut open) = self.open.take() {
            open.bytes_max += bytes;
            open.frames.reserve(bytes);
            return Ok(open);
        }
        if let Some(error) = self.shared.refusal_when_poisoned() {
            return Err(error);
        }
        let placement = self.find_room(bytes as u64, rolls).inspect_err(|error| {
            *self.shared.disk_full.lock() = Some(error.clone());
        })?;
        self.names.batch += 1;
        self.names.durable_batch =
            self.names.batch - if self.shared.head() == self.chain.position { 1 } else { 2 };
        self.pending.begin(self.chain.position, self.shared.head());
        Ok(OpenBatch {
            expected: Tail { position: self.chain.position, checksum: self.chain.previous },
            edge: placement.roll.is_some().then(|| self.chain.edge()),
            placement,
            frames: Vec::with_capacity(bytes),
            last: 0,
            bytes_max: bytes,
            replies: Vec::new(),
        })
    }

    /// Ends the batch being made, if there is one.
    pub(super) fn seal(&mut self) -> Option<Ready> {
        let OpenBatch { expected, placement, edge, mut frames, last, replies, .. } = self.open.take()?;
        let events = self.pending.seal();
        let batch = (!frames.is_empty()).then(|| {
            let root = frames::seal(&mut self.chain, &mut frames, last);
            let tail = Tail { position: self.chain.position, checksum: self.chain.previous };
            self.chain.offset = placement.offset + frames.len() as u64;
            // A crash may have left a segment that was begun and has nothing in it.
            if placement.offset == segment::HEADER_BYTES {
                self.chain.segment_first = expected.position;
            }
            self.shared.sources.log.planned(expected.position, placement, frames.len() as u64, || {
                edge.expect("a batch that begins a segment has an edge")
            });
            let batch = Batch {
                expected,
                tail,
                epoch: self.author.epoch,
                writer: self.author.writer,
                number: self.names.batch,
                frames: Bytes::from(frames),
            };
            (batch, root)
        });
        Some(Ready { batch, events, replies })
    }

    /// Flushes the index if it is due and finds a place for at most `bytes` of frames. If either has to be done, nothing
    /// may be in flight.
    fn find_room(&mut self, bytes: u64, rolls: bool) -> Result<Placement> {
        if let Some(error) = self.shared.sources.index.failure().filter(|error| error.code == Code::DiskFull)
        {
            self.shared.sources.index.durable(self.shared.head());
            return Err(error);
        }
        if self.shared.sources.index.open_events() >= self.index_flush_events {
            self.freeze().inspect_err(|error| {
                if error.code != Code::DiskFull {
                    self.shared.poison(error.clone());
                }
            })?;
        }
        let placement = self.shared.sources.log.plan(bytes, rolls)?;
        if self.shared.disk_full.lock().take().is_some() {
            tracing::info!("space has returned; appends go on");
        }
        Ok(placement)
    }

    /// Turns the index in memory into a file that remembers where the log stood. Nothing may be in flight.
    fn freeze(&mut self) -> Result<()> {
        if self.shared.poisoned().is_some() || self.shared.sources.index.open_events() == 0 {
            return Ok(());
        }
        // What the index remembers of the log has to be durable.
        if self.shared.sources.log.is_copy() {
            self.shared.sources.log.sync()?;
        }
        self.shared.sources.tiles.sync()?;
        let trailer = self.chain.cursor(&self.shared.tally.lock()).encode();
        self.shared.sources.index.freeze(trailer);
        self.shared.sources.index.durable(self.chain.position);
        Ok(())
    }

    /// Decides one append; encodes it if it is accepted.
    fn apply(&mut self, append: Prepared, open: &mut OpenBatch) -> Reply {
        let Prepared { operation, mut source, reply, .. } = append;
        if let Err(error) = self.names.resolve_streams(&self.shared.sources, &self.pending, &mut source) {
            return (reply, Err(error));
        }
        let decision = decide(
            &mut Known {
                sources: &self.shared.sources,
                pending: &self.pending,
                names: &mut self.names,
                slots: &source.slots,
                head: self.chain.position,
            },
            operation,
            &source.request,
        );
        let outcome = match decision {
            Ok(Decision::Append { skip }) => self.encode(operation, source, &skip, open),
            Ok(Decision::Done(receipt)) => Ok(receipt),
            Ok(Decision::Refuse(error)) | Err(error) => Err(error),
        };
        (reply, outcome)
    }

    fn encode(
        &mut self,
        operation: Operation,
        source: Source,
        skip: &[bool],
        open: &mut OpenBatch,
    ) -> Result<Receipt> {
        if source.hashed.iter().any(|hashed| hashed.sealed) {
            self.shared.sources.erasing.check_sealed(source.generation)?;
        }
        let commit_time = self.shared.env.clock.now_us().max(self.chain.commit_time);
        let mut reopened = self.reopenings(operation, &source, skip)?;
        let mut undeleting = self.undeletings(&source, skip)?;
        // Everything that can fail is done before the first byte: a refused append leaves nothing in the frame.
        for extra in reopened.iter_mut().chain(&mut undeleting) {
            self.names.resolve_streams(&self.shared.sources, &self.pending, extra)?;
        }
        self.names.resolve_tags(&self.shared.sources, &self.pending, &source)?;
        let source = Arc::new(source);
        self.chain.commit_time = commit_time;
        let mut frame = FrameWriter::begin(
            &self.shared.sources,
            &mut self.names,
            &mut self.pending,
            &mut self.entropy,
            &mut self.chain,
            &mut open.frames,
            &mut self.room,
        );
        for extra in reopened {
            frame.event(&Arc::new(extra), 0);
        }
        let mut places: Option<(u64, u64)> = None;
        let mut appended = 0;
        for index in 0..source.request.events.len() {
            if skip.get(index).copied().unwrap_or(false) {
                continue;
            }
            let position = frame.event(&source, index as u32);
            places = Some((places.map_or(position, |(first, _)| first), position));
            appended += 1;
        }
        for extra in undeleting {
            frame.event(&Arc::new(extra), 0);
        }
        open.last = frame.finish(open.expected.position, open.placement.offset, self.author.epoch);
        let (first, last) = places.expect("an accepted append stores at least one event");
        let mut streams = Vec::with_capacity(source.request.streams.len());
        for (write, slot) in source.request.streams.iter().zip(&source.slots) {
            let head = self.names.at(*slot);
            // A stream that is only checked may be tombstoned; as in every receipt it then has no revision.
            let closed = operation != Operation::Tombstone && head.state() == StreamState::Tombstoned;
            let revision = if closed { None } else { head.revision.map(Revision) };
            streams.push(StreamReceipt { stream: write.stream.clone(), revision });
        }
        Ok(Receipt {
            first_position: Position(first),
            last_position: Some(Position(last)),
            streams,
            committed_at: Timestamp::from_micros(commit_time),
            appended,
            duplicates: source.request.events.len() as u32 - appended,
        })
    }

    /// The metadata events that reopen the deleted streams this append writes to.
    fn reopenings(&mut self, operation: Operation, source: &Source, skip: &[bool]) -> Result<Vec<Source>> {
        let mut reopened = Vec::new();
        if operation == Operation::Tombstone {
            return Ok(reopened);
        }
        let mut written = vec![false; source.request.streams.len()];
        for (stream, _) in stored_events(source, skip) {
            written[*stream as usize] = true;
        }
        for (at, _) in written.iter().enumerate().filter(|(_, written)| **written) {
            let write = &source.request.streams[at];
            let head = self.names.at(source.slots[at]);
            if head.gate == Gate::Deleted {
                let before = Revision(head.revision.map_or(0, |last| last + 1));
                let metadata =
                    self.shared.sources.metadata(&self.pending, write.stream.as_str(), |json| {
                        StreamMetadata::reopened(json, before)
                    })?;
                let metadata = metadata.unwrap_or_else(|| Ok(StreamMetadata::truncated_before(before)))?;
                reopened.push(self.metadata_event(&write.stream, metadata)?);
            }
        }
        Ok(reopened)
    }

    /// The metadata events that keep a deleted stream's old events hidden when its metadata is written, which reopens it.
    fn undeletings(&mut self, source: &Source, skip: &[bool]) -> Result<Vec<Source>> {
        let mut undeleting = Vec::new();
        if !source.request.streams.iter().any(|write| write.stream.is_metadata()) {
            return Ok(undeleting);
        }
        let mut last_written = vec![None; source.request.streams.len()];
        for (stream, event) in stored_events(source, skip) {
            last_written[*stream as usize] = Some(event);
        }
        for (write, last_written) in source.request.streams.iter().zip(last_written) {
            let (Some(described), Some(event)) = (write.stream.described(), last_written) else { continue };
            let StreamState::SoftDeleted(last) =
                self.names.head(&self.shared.sources, &self.pending, &described)?.state()
            else {
                continue;
            };
            let metadata = StreamMetadata::parse(&event.data)?;
            if !metadata.is_deleted() {
                let metadata = metadata.with_truncation(&event.data, last.next())?;
                undeleting.push(self.metadata_event(&described, metadata)?);
            }
        }
        Ok(undeleting)
    }

    fn metadata_event(&mut self, stream: &StreamName, json: Bytes) -> Result<Source> {
        let id = EventId(self.entropy.bytes());
        let request = AppendRequest {
            streams: vec![StreamWrite { stream: stream.metadata()?, expected: Expected::Any }],
            events: vec![(0, NewEvent::json(id, prepare::METADATA_TYPE, json))],
            ..AppendRequest::default()
        };
        let mut hashed = prepare::draw_seeds(&request, &mut self.entropy);
        prepare::hash(&request, &mut hashed);
        Ok(Source { request, kind: Kind::Event, hashed, generation: 0, slots: Vec::new() })
    }
}

/// The events of an append that are not left out.
fn stored_events<'a>(source: &'a Source, skip: &'a [bool]) -> impl Iterator<Item = &'a (u32, NewEvent)> {
    let events = source.request.events.iter().enumerate();
    events.filter(|(at, _)| !skip.get(*at).copied().unwrap_or(false)).map(|(_, event)| event)
}

fn refuse_all(appends: &mut Vec<Prepared>, error: &Error) {
    appends.drain(..).for_each(|append| append.refuse(error));
}

/// The writer's knowledge as [`decide`] asks for it.
struct Known<'a> {
    sources: &'a Sources,
    pending: &'a Pending,
    names: &'a mut Names,
    slots: &'a [Slot],
    head: u64,
}

impl Facts for Known<'_> {
    fn state(&mut self, index: usize, _stream: &StreamName) -> Result<(StreamState, bool)> {
        let head = self.names.at(self.slots[index]);
        Ok((head.state(), head.has_metadata))
    }

    fn find(&mut self, stream: &StreamName, id: EventId) -> Result<Option<Place>> {
        self.sources.find(self.pending, stream, id)
    }

    fn at(&mut self, stream: &StreamName, revision: u64) -> Result<Option<(EventId, Place)>> {
        self.sources.at(self.pending, stream, revision)
    }

    fn first_match(&mut self, condition: &Condition) -> Result<Option<Position>> {
        self.sources.first_match(self.pending, condition)
    }

    fn head(&self) -> u64 {
        self.head
    }
}
