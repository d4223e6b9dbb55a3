//! How groups write into the log, and what they read of themselves out of it.

use super::letters::{Interned, Letter, Letters, Place};
use super::machine::Batch;
use super::records::{
    ATTEMPTS, AttemptsRecord, CHECKPOINT, CheckpointRecord, PARKED, ParkedRecord, SETTLED, SettledRecord,
    Tries, decode, encode, stream_of,
};
use super::totals::Totals;
use crate::append::{METADATA_TYPE, Operation, PendingAppend, Shared, WritePath, prepare};
use crate::env::Entropy;
use crate::node::Membership;
use crate::read::metadata::StreamMetadata;
use crate::read::page;
use graven_model::group::GroupName;
use graven_model::{
    AppendRequest, Code, Error, EventId, Expected, NewEvent, ReadRequest, Receipt, Result, Revision,
    Selector, StoredEvent, StreamName, Text, limits,
};
use parking_lot::Mutex;
use serde::Serialize;
use std::sync::{Arc, OnceLock};
use tokio::sync::oneshot;

/// The way of groups into the log.
pub(super) struct GroupLog {
    pub(super) shared: Arc<Shared>,
    /// For the ids of records; there is none before the first.
    entropy: OnceLock<Mutex<Entropy>>,
    path: OnceLock<Arc<WritePath>>,
    node: Option<Arc<Membership>>,
    pub(super) totals: Totals,
}

/// Keeps the randomness of event ids apart from that of every other user of a fixed seed, and of an earlier opening.
const ID_PURPOSE: u64 = 1 << 34;

/// Records before the front of a group's stream is cut off.
const CUT_MIN: u64 = 1_000;

/// Records of a group's stream that are not needed, beyond four a parked event, before old ones are written again so that the
/// front can be cut.
const SPARE_MAX: u64 = 4_096;

/// Records written again at a time.
const REWRITTEN_MAX: usize = 256;

impl GroupLog {
    pub(super) fn new(shared: Arc<Shared>, node: Option<Arc<Membership>>) -> GroupLog {
        GroupLog { shared, entropy: OnceLock::new(), path: OnceLock::new(), node, totals: Totals::default() }
    }

    fn entropy(&self) -> Result<&Mutex<Entropy>> {
        if let Some(entropy) = self.entropy.get() {
            return Ok(entropy);
        }
        let fresh = self
            .shared
            .env
            .entropy(ID_PURPOSE + self.shared.head())
            .map_err(|error| Error::io("randomness of the operating system", &error))?;
        Ok(self.entropy.get_or_init(|| Mutex::new(fresh)))
    }

    fn id(&self) -> Result<EventId> {
        Ok(EventId(self.entropy()?.lock().bytes()))
    }

    /// From now on records are taken.
    pub(super) fn begin_writing(&self, path: Arc<WritePath>) {
        let _ = self.path.set(path);
    }

    /// Whether records are taken.
    ///
    /// # Errors
    /// [`Code::NotTheWriter`] with the writer's address, [`Code::Poisoned`], [`Code::Closed`].
    pub(super) fn check(&self) -> Result<()> {
        if self.shared.is_closed() {
            return Err(Error::new(Code::Closed, "the store is closed"));
        }
        if let Some(error) = self.shared.refusal_when_poisoned() {
            return Err(error);
        }
        self.path().map(drop)
    }

    /// Whether this node is the one that writes, or was when the store began to only read.
    ///
    /// # Errors
    /// [`Code::NotTheWriter`] with the writer's address; [`Code::Closed`].
    pub(super) fn check_writer(&self) -> Result<()> {
        if self.shared.is_closed() {
            return Err(Error::new(Code::Closed, "the store is closed"));
        }
        self.path().map(drop)
    }

    /// Whether an append would not wait for a journal that cannot be reached.
    pub(super) fn may_append(&self) -> bool {
        self.check().is_ok()
            && self.node.as_ref().is_none_or(|node| node.is_writer() && node.standing().trouble.is_none())
    }

    fn path(&self) -> Result<&Arc<WritePath>> {
        self.path.get().ok_or_else(|| match &self.node {
            Some(node) => node.not_the_writer(),
            None => Error::new(Code::NotTheWriter, "this store takes no appends yet"),
        })
    }

    /// A record as an event.
    pub(super) fn event(&self, event_type: &str, record: &impl Serialize) -> Result<NewEvent> {
        Ok(NewEvent::json(self.id()?, event_type, encode(record)?))
    }

    /// The event that hides everything of a stream below a revision.
    ///
    /// # Errors
    /// [`Code::Io`] without randomness.
    pub(super) fn truncation(&self, before: u64) -> Result<NewEvent> {
        let json = StreamMetadata::truncated_before(Revision(before));
        Ok(NewEvent::json(self.id()?, METADATA_TYPE, json))
    }

    /// Appends records. Durable when this returns.
    ///
    /// # Errors
    /// As [`crate::Store::append`].
    pub(super) fn append(&self, request: AppendRequest) -> Result<Receipt> {
        let (reply, receiver) = oneshot::channel();
        let audit = self.shared.sources.audit;
        let prepared = prepare(Operation::Own, request, audit, None, self.entropy()?, reply)?;
        self.path()?.submit(prepared)?;
        PendingAppend::new(receiver).wait()
    }

    /// Every visible event of a stream, in order; none if it is not there.
    ///
    /// # Errors
    /// [`Code::Corrupted`], [`Code::Io`], those of `each`.
    pub(super) fn each(
        &self,
        stream: &StreamName,
        mut each: impl FnMut(&StoredEvent) -> Result<()>,
    ) -> Result<()> {
        let mut request = ReadRequest::new(Selector::Stream(stream.clone())).limit(limits::PAGE_EVENTS_MAX);
        loop {
            let page = match page::read(&self.shared, &request) {
                Ok(page) => page,
                Err(error) if error.code == Code::StreamNotFound => return Ok(()),
                Err(error) => return Err(error),
            };
            page.events.iter().try_for_each(&mut each)?;
            match page.next {
                Some(next) => request.start = next,
                None => return Ok(()),
            }
        }
    }

    /// The event at a position, which the log has.
    ///
    /// # Errors
    /// [`Code::Corrupted`], [`Code::Io`].
    pub(super) fn event_at(&self, position: u64) -> Result<StoredEvent> {
        let sources = &self.shared.sources;
        crate::log::reader::Reader::new(&sources.log)
            .fetch(position, sources.offset(position)?)?
            .event(&sources.subjects)
    }

    /// What a consumer said of a parked event.
    ///
    /// # Errors
    /// [`Code::Corrupted`], [`Code::Io`].
    pub(super) fn error_of(&self, letter: &Letter) -> Result<Text> {
        let record: ParkedRecord = decode(&self.event_at(letter.record.position)?)?;
        Ok(record.error)
    }
}

/// What a group's stream says of the group.
pub(super) struct Restored {
    pub(super) checkpoint: CheckpointRecord,
    pub(super) tries: Vec<Tries>,
    pub(super) letters: Letters,
    pub(super) span: Span,
}

/// What of a group's stream is there, in revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    /// The first that is not hidden.
    first: u64,
    /// After the last.
    end: u64,
    /// The last checkpoint.
    checkpoint: u64,
}

impl Span {
    /// The revision after the last.
    pub(super) fn end(&self) -> u64 {
        self.end
    }
}

/// Reads the state of a group.
///
/// # Errors
/// [`Code::Corrupted`] with the position; [`Code::UnknownFormat`]; [`Code::Io`].
pub(super) fn restore(log: &GroupLog, group: &GroupName) -> Result<Restored> {
    let mut letters = Letters::default();
    let mut names = Interned::default();
    let mut checkpoint = None;
    let mut tries: Vec<Tries> = Vec::new();
    let mut span: Option<Span> = None;
    log.each(&stream_of(group)?, |event| {
        let revision = event.revision.0;
        let span = span.get_or_insert(Span { first: revision, end: 0, checkpoint: revision });
        span.end = revision + 1;
        match &*event.event.event_type {
            CHECKPOINT => {
                checkpoint = Some(decode::<CheckpointRecord>(event)?);
                span.checkpoint = revision;
                tries.clear();
            }
            ATTEMPTS => {
                for one in decode::<AttemptsRecord>(event)?.tries {
                    if letters.get(one.0).is_some() {
                        letters.tried(one.0, one.1, graven_model::Timestamp::from_micros(one.3));
                    } else {
                        tries.push(one);
                    }
                }
            }
            PARKED => {
                let record: ParkedRecord = decode(event)?;
                let place = Place { revision, position: event.position.0 };
                letters.put(record.position, Letter::restored(&record, place, &mut names)?);
            }
            SETTLED => {
                let record: SettledRecord = decode(event)?;
                for position in record.done.iter().chain(&record.skipped) {
                    letters.remove(*position);
                }
            }
            other => {
                return Err(Error::new(
                    Code::UnknownFormat,
                    format!("consumer group {:?} has a record of an unknown type", group.as_str()),
                )
                .found(format!("{other:?} at position {}", event.position)));
            }
        }
        Ok(())
    })?;
    let checkpoint = checkpoint.ok_or_else(|| {
        Error::new(Code::Corrupted, format!("consumer group {:?} has no checkpoint", group.as_str()))
    })?;
    Ok(Restored { checkpoint, tries, letters, span: span.unwrap_or_default() })
}

/// What an append of a group led to.
pub(super) struct Written {
    /// Where the first record is.
    first: Place,
    /// Index of the first record that parks.
    parked_at: u64,
    /// Records that were written again, by the position of their event.
    pub(super) moved: Vec<(u64, Place)>,
}

impl Written {
    /// Where the record of a parked event of the batch is.
    pub(super) fn place(&self, index: usize) -> Place {
        let by = self.parked_at + index as u64;
        Place { revision: self.first.revision + by, position: self.first.position + by }
    }
}

/// Writes a batch of a group, atomically, and keeps its stream short.
///
/// # Errors
/// As [`crate::Store::append`].
pub(super) fn write(
    log: &GroupLog,
    group: &GroupName,
    span: &mut Span,
    batch: &Batch,
    oldest: &[(u64, u64, Letter)],
    letters: u64,
) -> Result<Written> {
    let stream = stream_of(group)?;
    let mut events = Vec::new();
    if !batch.tries.is_empty() {
        events.push(log.event(ATTEMPTS, &AttemptsRecord::new(batch.tries.clone()))?);
    }
    let parked_at = events.len() as u64;
    for (position, letter, error) in &batch.parked {
        events.push(log.event(PARKED, &ParkedRecord::of(*position, letter, error.clone()))?);
    }
    if !(batch.done.is_empty() && batch.skipped.is_empty()) {
        events.push(log.event(SETTLED, &SettledRecord::new(batch.done.clone(), batch.skipped.clone()))?);
    }
    // What stands in front of a record that is still needed cannot be cut off: the record moves behind it.
    let mut again = Vec::new();
    let needed = oldest.first().map_or(span.checkpoint, |(revision, _, _)| span.checkpoint.min(*revision));
    if batch.checkpoint.is_some() && span.end - needed > SPARE_MAX + 4 * letters {
        for (_, position, letter) in oldest {
            let replaced = batch.parked.iter().any(|(parked, _, _)| parked == position)
                || batch.done.contains(position)
                || batch.skipped.contains(position);
            if replaced {
                continue;
            }
            again.push((*position, events.len() as u64));
            let error = log.error_of(letter)?;
            events.push(log.event(PARKED, &ParkedRecord::of(*position, letter, error))?);
        }
    }
    let mut checkpoint_at = None;
    if let Some(checkpoint) = &batch.checkpoint {
        checkpoint_at = Some(events.len() as u64);
        events.push(log.event(CHECKPOINT, checkpoint)?);
    }
    let count = events.len() as u64;
    let mut request = AppendRequest::to(stream.clone(), Expected::Any, events);
    let cut = (needed >= span.first + CUT_MIN).then_some(needed);
    if let Some(before) = cut {
        request = request.and_to(stream.metadata()?, Expected::Any, [log.truncation(before)?]);
    }
    let receipt = log.append(request)?;
    let end = receipt.streams[0].revision.map_or(0, |last| last.0 + 1);
    let first = Place { revision: end - count, position: receipt.first_position.0 };
    let place = |by: u64| Place { revision: first.revision + by, position: first.position + by };
    span.end = end;
    if let Some(at) = checkpoint_at {
        span.checkpoint = first.revision + at;
    }
    if let Some(before) = cut {
        span.first = before;
    }
    let moved = again.into_iter().map(|(position, by)| (position, place(by))).collect();
    Ok(Written { first, parked_at, moved })
}

/// The parked events whose records are the oldest: as many as may be written again, if that is called for.
pub(super) fn oldest(letters: &Letters, span: &Span) -> Vec<(u64, u64, Letter)> {
    let mut count = 1;
    if let Some((needed, _)) = letters.oldest_records().next()
        && span.end.saturating_sub(needed) > SPARE_MAX + 4 * letters.len() as u64
    {
        count = REWRITTEN_MAX;
    }
    letters
        .oldest_records()
        .take(count)
        .filter_map(|(revision, position)| Some((revision, position, letters.get(position)?.clone())))
        .collect()
}
