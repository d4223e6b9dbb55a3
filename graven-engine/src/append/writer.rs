//! The single writer: takes a batch from the queue, decides and encodes it, commits it, acknowledges in log order.
//!
//! While a batch is being flushed on the committer's thread, the next one is decided and encoded here. With nothing in
//! flight and nothing waiting the writer commits by itself, which saves a lone append one thread hop. Outcomes of a batch,
//! refusals included, are only told after everything they were judged by is durable.

use super::committer::{Committer, Ready};
use super::decide::{Decision, Facts, decide};
use super::facts::{Pending, Place, Source, Sources};
use super::frames::{Chain, FrameWriter};
use super::names::{Gate, Names, Slot};
use super::shared::Shared;
use super::{Operation, Prepared, Queue, prepare};
use crate::env::{Entropy, spawn_named};
use crate::journal::{Batch, Journal, Tail};
use crate::log::Placement;
use crate::read::metadata::StreamMetadata;
use bytes::Bytes;
use graven_model::append::{Condition, Expected, StreamReceipt, StreamState, StreamWrite};
use graven_model::event::{Kind, NewEvent};
use graven_model::{
    AppendRequest, Code, Error, EventId, Position, Receipt, Result, Revision, StreamName, Timestamp,
};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// The writer's own state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    committer: Arc<Committer>,
    committer_thread: Option<JoinHandle<()>>,
    names: Names,
    pending: Pending,
    entropy: Entropy,
    chain: Chain,
    writer_id: [u8; 16],
    epoch: u32,
    index_flush_events: usize,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        queue: Arc<Queue>,
        journal: Box<dyn Journal>,
        chain: Chain,
        names: Names,
        mut entropy: Entropy,
        index_flush_events: usize,
    ) -> Writer {
        let committer = Arc::new(Committer::new(Arc::clone(&shared), journal));
        let committer_thread = (!shared.env.is_simulated()).then(|| {
            let committer = Arc::clone(&committer);
            spawn_named("graven-committer", move || committer.run())
        });
        Writer {
            shared,
            queue,
            committer,
            committer_thread,
            names,
            pending: Pending::default(),
            writer_id: entropy.bytes(),
            entropy,
            chain,
            epoch: 1,
            index_flush_events,
        }
    }

    /// Serves the queue until it is closed and empty, then leaves everything as a clean stop wants it.
    pub(crate) fn run(mut self) {
        let mut appends = Vec::new();
        while self.queue.take_batch(&mut appends).is_some() {
            self.write_batch(&mut appends);
        }
        self.committer.wait_idle();
        if self.shared.poisoned().is_none()
            && let Err(error) = self.freeze()
        {
            tracing::warn!(%error, "the index could not be written at the stop; it is rebuilt at the next start");
        }
        self.committer.stop();
        if let Some(thread) = self.committer_thread.take() {
            let _ = thread.join();
        }
    }

    /// The write path: find room, decide, encode, commit, acknowledge.
    fn write_batch(&mut self, appends: &mut Vec<Prepared>) {
        if let Some(error) = self.shared.refusal_when_poisoned() {
            refuse_all(appends, &error);
            return;
        }
        let bytes: usize = appends.iter().map(|append| append.frame_bytes_max).sum();
        let placement = match self.find_room(bytes as u64) {
            Ok(placement) => placement,
            Err(error) => {
                *self.shared.disk_full.lock() = Some(error.clone());
                refuse_all(appends, &error);
                return;
            }
        };
        let ready = self.make_batch(appends, placement, bytes);
        if self.committer_thread.is_none() || (self.queue.is_empty() && self.committer.idle()) {
            self.committer.commit_here(ready);
        } else {
            self.committer.hand_over(ready);
        }
        if let Err(error) = self.shared.sources.tiles.write_full() {
            tracing::warn!(%error, "Merkle tiles stay in memory until they can be written");
        }
    }

    /// Flushes the index if it is due and finds a place for at most `bytes` of frames.
    fn find_room(&mut self, bytes: u64) -> Result<Placement> {
        if let Some(error) = self.shared.sources.index.failure().filter(|error| error.code == Code::DiskFull)
        {
            self.shared.sources.index.durable(self.shared.head());
            return Err(error);
        }
        if self.shared.sources.index.open_events() >= self.index_flush_events {
            self.committer.wait_idle();
            self.freeze().inspect_err(|error| {
                if error.code != Code::DiskFull {
                    self.shared.poison(error.clone());
                }
            })?;
        }
        if self.shared.sources.log.would_roll(bytes) {
            self.committer.wait_idle();
        }
        let placement = self.shared.sources.log.plan(bytes)?;
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
        self.shared.sources.tiles.sync()?;
        let trailer = self.chain.cursor(&self.shared.tally.lock()).encode();
        self.shared.sources.index.freeze(trailer);
        self.shared.sources.index.durable(self.chain.position);
        Ok(())
    }

    fn make_batch(&mut self, appends: &mut Vec<Prepared>, placement: Placement, bytes: usize) -> Ready {
        let edge = placement.roll.is_some().then(|| self.chain.edge());
        self.names.batch += 1;
        self.names.durable_batch = self.committer.durable_batch();
        self.pending.begin(self.chain.position, self.shared.head());
        let expected = Tail { position: self.chain.position, checksum: self.chain.previous };
        let mut frames = Vec::with_capacity(bytes);
        let mut replies = Vec::with_capacity(appends.len());
        for append in appends.drain(..) {
            let (reply, outcome) = self.apply(append, &mut frames, expected.position, placement.offset);
            replies.push((reply, outcome));
        }
        let events = self.pending.seal();
        let tail = Tail { position: self.chain.position, checksum: self.chain.previous };
        let batch = (!frames.is_empty()).then(|| {
            self.chain.offset = placement.offset + frames.len() as u64;
            if placement.roll.is_some() {
                self.chain.segment_first = expected.position;
            }
            self.shared.sources.log.planned(expected.position, placement, frames.len() as u64, || {
                edge.expect("a batch that begins a segment has an edge")
            });
            Batch {
                expected,
                tail,
                epoch: self.epoch,
                writer: self.writer_id,
                number: self.names.batch,
                frames: Bytes::from(frames),
            }
        });
        let root = self.chain.root;
        Ready { number: self.names.batch, batch, events, root, replies }
    }

    /// Decides one append; encodes it if it is accepted.
    fn apply(
        &mut self,
        append: Prepared,
        frames: &mut Vec<u8>,
        batch_first: u64,
        batch_offset: u64,
    ) -> (oneshot::Sender<Result<Receipt>>, Result<Receipt>) {
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
            Ok(Decision::Append { skip }) => {
                self.encode(operation, source, &skip, frames, batch_first, batch_offset)
            }
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
        frames: &mut Vec<u8>,
        batch_first: u64,
        batch_offset: u64,
    ) -> Result<Receipt> {
        let commit_time = self.shared.env.clock.now_us().max(self.chain.commit_time);
        let mut reopened = self.reopenings(operation, &source, skip)?;
        let mut undeleting = self.undeletings(&source, skip)?;
        // Everything that can fail is done before the first byte: a refused append leaves nothing in the frame.
        for extra in reopened.iter_mut().chain(&mut undeleting) {
            self.names.resolve_streams(&self.shared.sources, &self.pending, extra)?;
        }
        self.names.resolve_tags(&self.shared.sources, &self.pending, &source)?;
        let source = Arc::new(source);
        let mut frame = FrameWriter::begin(
            &self.shared.sources,
            &mut self.names,
            &mut self.pending,
            &mut self.entropy,
            &mut self.chain,
            frames,
            commit_time,
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
        frame.finish(batch_first, batch_offset, self.epoch);
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
        Ok(Source { request, kind: Kind::Event, hashed, slots: Vec::new() })
    }
}

/// The events of an append that are not left out.
fn stored_events<'a>(source: &'a Source, skip: &'a [bool]) -> impl Iterator<Item = &'a (u32, NewEvent)> {
    let events = source.request.events.iter().enumerate();
    events.filter(|(at, _)| !skip.get(*at).copied().unwrap_or(false)).map(|(_, event)| event)
}

fn refuse_all(appends: &mut Vec<Prepared>, error: &Error) {
    for append in appends.drain(..) {
        let _ = append.reply.send(Err(error.clone()));
    }
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
