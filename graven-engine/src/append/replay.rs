//! Recovery: reads the log from where the newest index file ends, checks every frame and the tree, and rebuilds what the
//! writer and the index know.

use super::facts::{Pending, Sources, subject_tag};
use super::frames::{Chain, erased_name};
use super::names::{Gate, Names};
use crate::index::Entry;
use crate::log::frame::{self, Header, Record, RecordHead, Subject};
use crate::log::recovery::{self, From, Torn};
use crate::stats::Tally;
use bytes::Bytes;
use graven_model::event::Kind;
use graven_model::{Code, Error, Result, StreamName, ids, limits};
use graven_proof::Hash;
use graven_proof::leaf::{self, Leaf};

/// How a log is recovered.
pub(crate) struct Recovery<'a> {
    /// Events that become one index file.
    pub(crate) index_flush_events: usize,
    /// What is known to be durable of a replica's log; the log has to hold it. A store's own log has only its last batch
    /// in doubt.
    pub(crate) synced: Option<Witness>,
    /// Called with the position reached, frame by frame.
    pub(crate) progress: &'a mut dyn FnMut(u64),
}

/// Where a log is known to have stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Witness {
    /// Position of the next event.
    pub(crate) position: u64,
    /// Header checksum of the frame before it.
    pub(crate) checksum: u32,
    /// Merkle root over everything before it.
    pub(crate) root: Hash,
}

impl Witness {
    /// Where a log stands now.
    pub(crate) fn of(chain: &Chain) -> Witness {
        Witness { position: chain.position, checksum: chain.previous, root: chain.root() }
    }

    /// Compares a log that has come this far with what is known of it.
    fn check(&self, chain: &Chain) -> Result<()> {
        if chain.position != self.position {
            return Ok(());
        }
        let root = chain.root();
        if root == self.root && chain.previous == self.checksum {
            return Ok(());
        }
        let message = format!("the log up to position {} is not the one that was written", self.position);
        Err(Error::new(Code::Corrupted, message)
            .expected(format!("root {}", hex(&self.root)))
            .found(format!("root {}", hex(&root))))
    }
}

/// A hash in hexadecimal.
pub(crate) fn hex(hash: &Hash) -> String {
    use std::fmt::Write as _;
    hash.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a String takes everything");
        out
    })
}

/// Replays the log after `chain` and returns the bytes of a torn tail that were cut off.
///
/// # Errors
/// [`Code::Corrupted`] for damage anywhere in what is replayed.
pub(crate) fn recover(
    sources: &Sources,
    chain: &mut Chain,
    tally: &mut Tally,
    names: &mut Names,
    recovery: Recovery<'_>,
) -> Result<u64> {
    let Recovery { index_flush_events, synced, progress } = recovery;
    let from = From { position: chain.position, offset: chain.offset, previous: chain.previous };
    let torn = synced.map_or(Torn::LastBatch, |synced| Torn::Behind(synced.position));
    let mut scratch = Vec::new();
    if let Some(synced) = &synced {
        synced.check(chain)?;
    }
    let end = recovery::replay(&sources.log, chain.log_tag, from, torn, |header, bytes, offset| {
        // The last batch may not be durable before the end is repaired; everything before a batch begins is.
        let durable = match &synced {
            None => header.batch_offset == 0,
            Some(synced) => header.first <= synced.position,
        };
        if durable && sources.index.open_events() >= index_flush_events {
            sources.tiles.sync()?;
            sources.index.freeze(chain.cursor(tally).encode());
            sources.index.durable(chain.position);
        }
        names.batch += 1;
        names.durable_batch = names.batch - 1;
        replay_frame(sources, &Pending::default(), chain, tally, names, header, bytes, offset, &mut scratch)?;
        if let Some(synced) = &synced {
            synced.check(chain)?;
        }
        chain.offset = offset + u64::from(header.length);
        if let Some(segment) = sources.log.segment_of(header.first) {
            chain.segment_first = segment.first();
        }
        progress(chain.position);
        Ok(())
    })?;
    sources.log.set_end(end.offset);
    sources.index.durable(chain.position);
    sources.tiles.write_full()?;
    Ok(end.torn_bytes)
}

/// Checks a frame against what came before it, recomputing its Merkle root, and tells index, tiles, counts and names of
/// its events. The frame's checksums and place were checked before. `offset` is its byte in its segment; `pending` says
/// up to where the log can be read. After an error all of it has to be recovered anew.
///
/// # Errors
/// [`Code::Corrupted`] for a frame no append can have written.
#[expect(
    clippy::too_many_arguments,
    reason = "two call sites; the parts of the writer's state are borrowed apart"
)]
pub(crate) fn replay_frame(
    sources: &Sources,
    pending: &Pending,
    chain: &mut Chain,
    tally: &mut Tally,
    names: &mut Names,
    header: &Header,
    bytes: &Bytes,
    offset: u64,
    scratch: &mut Vec<u8>,
) -> Result<()> {
    let damaged = |position: u64, what: &str| {
        Error::new(Code::Corrupted, format!("the log at position {position}: {what}"))
            .found(format!("a frame at byte {offset} of its segment"))
    };
    if header.commit_time < chain.commit_time {
        return Err(damaged(header.first, "the commit time decreases"));
    }
    let mut at = header.header_bytes();
    for position in header.first..header.end() {
        let head = bytes
            .get(at..)
            .and_then(RecordHead::decode)
            .ok_or_else(|| damaged(position, "the record is cut off"))?;
        let record = bytes
            .get(at + frame::RECORD_HEAD_BYTES..at + head.total())
            .and_then(Record::decode)
            .ok_or_else(|| damaged(position, "the record cannot be decoded"))?;
        let hash = replay_record(sources, pending, chain, names, header, &record, scratch)?
            .map_err(|what| damaged(position, what))?;
        if record.kind == Kind::Erasure {
            // Whoever wrote it destroys a key next, perhaps on another node.
            sources.subjects.forget_all();
        }
        let stream = sources.hasher.stream(record.stream);
        let mut tags: Vec<u64> = record.tags.iter().map(|(tag, _)| sources.hasher.tag(tag)).collect();
        if let Some(subject) = record.subject.and_then(Subject::name) {
            tags.push(sources.hasher.tag(&subject_tag(subject)));
        }
        sources.index.insert([Entry {
            position,
            offset: u32::try_from(offset + at as u64)
                .map_err(|_| damaged(position, "the segment is too large"))?,
            stream,
            revision: record.revision,
            tombstone: record.kind == Kind::Tombstone,
            event_type: sources.hasher.event_type(record.event_type),
            category: ids::category_of(record.stream).map(|category| sources.hasher.category(category)),
            tags: &tags,
            id: sources.hasher.id(&record.id, stream),
        }]);
        let tile_root = chain.frontier.push_tiled(hash);
        sources.tiles.push_tiled(&[hash], tile_root.as_slice());
        chain.last_leaf = hash;
        chain.position = position + 1;
        let size = (record.data.len() + record.metadata.len()) as u64;
        tally.add(record.stream, record.event_type, size, record.revision == 0);
        at += head.total();
    }
    if header.root.is_some_and(|root| root != chain.root()) {
        return Err(damaged(header.first, "the Merkle root of the frame is not that of its events"));
    }
    chain.previous = header.crc;
    chain.commit_time = header.commit_time;
    Ok(())
}

/// What a leaf says that its record does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeafPlace {
    pub(crate) position: u64,
    pub(crate) commit_time: i64,
    /// Keyed hash of the stream's name.
    pub(crate) stream_key: Hash,
    /// Leaf hash of the stream's event before, or its genesis.
    pub(crate) prev_stream: Hash,
    /// Leaf hash of the position before, or the log's genesis.
    pub(crate) prev_global: Hash,
}

/// The leaf of a stored record at its place. `tags`: keyed hashes of its tags and of its data subject, ascending. Hashes
/// payload and metadata.
pub(crate) fn leaf_of<'a>(record: &Record<'a>, place: &LeafPlace, tags: &'a [Hash]) -> Leaf<'a> {
    let control = record.kind.is_control();
    Leaf {
        kind: record.kind,
        encrypted: record.encrypted,
        sealed: record.sealed,
        has_metadata: record.has_metadata(),
        check: record.schema.check,
        position: place.position,
        commit_time: place.commit_time,
        stream_version: record.revision,
        stream_key: place.stream_key,
        prev_stream: place.prev_stream,
        prev_global: place.prev_global,
        event_id: record.id,
        occurred_at: record.occurred_at.unwrap_or(leaf::NO_TIME),
        event_type: record.event_type,
        content_type: record.content_type(),
        schema_version: record.schema.version,
        schema_id: record.schema.id,
        tags,
        payload_commitment: record.data_commitment(),
        metadata_commitment: record.metadata_commitment(),
        body: if control { record.data } else { &[] },
    }
}

/// Recomputes a record's leaf hash and moves its stream's head on. The inner error says why no append can have written
/// the record: a checksum that holds proves nothing about who made it.
fn replay_record(
    sources: &Sources,
    pending: &Pending,
    chain: &Chain,
    names: &mut Names,
    header: &Header,
    record: &Record<'_>,
    scratch: &mut Vec<u8>,
) -> Result<std::result::Result<Hash, &'static str>> {
    const SALT_MISSING: &str = "a salt of its names is missing";
    let Ok(stream) = StreamName::new(record.stream) else {
        return Ok(Err("its stream has an impossible name"));
    };
    if record.event_type.len() > limits::EVENT_TYPE_BYTES_MAX
        || record.content_type().len() > limits::CONTENT_TYPE_BYTES_MAX
        || record.tags.len() > limits::TAGS_MAX
    {
        return Ok(Err("its names are longer or more than an append takes"));
    }
    let slot = names.slot(sources, pending, &stream)?;
    let head = names.at(slot);
    let (stream_key, prev_stream) = match (head.chain, record.stream_salt) {
        (Some((last, key)), None) => (key, last),
        (None, Some(salt)) => {
            let key = leaf::name_key(&salt, record.stream.as_bytes());
            (key, leaf::stream_genesis(&key))
        }
        _ => return Ok(Err(SALT_MISSING)),
    };
    let mut tags = Vec::with_capacity(record.tags.len() + 1);
    for (tag, salt) in &record.tags {
        let Some(key) = names.stored_tag_key(sources, pending, tag, *salt)? else {
            return Ok(Err(SALT_MISSING));
        };
        tags.push(key);
    }
    match record.subject {
        None => {}
        Some(Subject::Keyed(key)) => tags.push(key),
        Some(Subject::Named(subject, salt)) => {
            let Some(key) = names.stored_tag_key(sources, pending, &subject_tag(subject), salt)? else {
                return Ok(Err(SALT_MISSING));
            };
            tags.push(key);
        }
    }
    tags.sort_unstable();
    if !tags.is_sorted_by(|one, next| one < next) {
        return Ok(Err("it has a tag twice"));
    }
    if record.kind.is_control() && (record.has_metadata() || record.data.len() > leaf::BODY_BYTES_MAX) {
        return Ok(Err("it is a control record with metadata, or with a body too long"));
    }
    let place = LeafPlace {
        position: chain.position,
        commit_time: header.commit_time,
        stream_key,
        prev_stream,
        prev_global: chain.last_leaf,
    };
    let hash = leaf_of(record, &place, &tags).hash(scratch);
    if matches!(record.kind, Kind::Erasure | Kind::Retention) {
        sources.erasing.note_news();
    }
    if let Some(key) = erased_name(record.kind, record.data) {
        names.forget_tag(&key);
        sources.erasing.forget_name(key);
    }
    let head = names.at(slot);
    head.chain = Some((hash, stream_key));
    if record.kind == Kind::Tombstone {
        head.gate = Gate::Tombstoned;
    } else {
        head.revision = Some(record.revision);
    }
    if let Some(described) = stream.described()
        && let Some(head) = names.cached_head(&described)
    {
        head.note_metadata(record.data);
    }
    Ok(Ok(hash))
}
