//! Encoding: positions, leaf hashes, records, the frame. Nothing here can fail.

use super::facts::{Pending, PendingEvent, Source, Sources, subject_tag};
use super::names::{Gate, Names};
use crate::env::Entropy;
use crate::index::Entry;
use crate::log::Edge;
use crate::log::frame::{self, Header, NewRecord, SaltedName, Secrets};
use crate::stats::Tally;
use graven_model::event::Kind;
use graven_model::{Revision, ids};
use graven_proof::Hash;
use graven_proof::control::{Control, Erasure, Target};
use graven_proof::leaf::{self, Leaf};
use graven_proof::merkle::Frontier;
use std::sync::Arc;

/// Where the log stands for its writer: ahead of what is durable while a batch is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Position of the next event.
    pub(crate) position: u64,
    /// Header checksum of the last frame.
    pub(crate) previous: u32,
    pub(crate) commit_time: i64,
    pub(crate) last_leaf: Hash,
    pub(crate) frontier: Frontier,
    /// First position of the last segment, and the byte where its frames end.
    pub(crate) segment_first: u64,
    pub(crate) offset: u64,
    /// First four bytes of the log id.
    pub(crate) log_tag: u32,
}

impl Chain {
    /// The start of an empty log.
    pub(crate) fn empty(log_id: [u8; 16], origin: &str) -> Chain {
        let frontier = Frontier::default();
        Chain {
            position: 0,
            previous: seed(log_id),
            commit_time: i64::MIN,
            last_leaf: leaf::log_genesis(origin),
            frontier,
            segment_first: 0,
            offset: crate::log::segment::HEADER_BYTES,
            log_tag: log_tag(log_id),
        }
    }

    /// Merkle root over everything before `position`. A hash a level of the tree.
    pub(crate) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// What the header of a segment that begins here says.
    pub(crate) fn edge(&self) -> Edge {
        Edge {
            previous: self.previous,
            commit_time: self.commit_time,
            last_leaf: self.last_leaf,
            frontier: self.frontier.clone(),
        }
    }

    /// What an index file that ends here remembers.
    pub(crate) fn cursor(&self, tally: &Tally) -> LogCursor {
        LogCursor { chain: self.clone(), tally: tally.clone() }
    }
}

/// Tells frames of different logs apart.
pub(crate) fn log_tag(log_id: [u8; 16]) -> u32 {
    u32::from_le_bytes([log_id[0], log_id[1], log_id[2], log_id[3]])
}

/// The checksum that stands before the first frame.
pub(crate) fn seed(log_id: [u8; 16]) -> u32 {
    crc32c::crc32c(&log_id)
}

/// Where an index file ends in the log: recovery begins there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogCursor {
    pub(crate) chain: Chain,
    pub(crate) tally: Tally,
}

impl LogCursor {
    /// Little-endian numbers, hashes, and the counts as JSON.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let chain = &self.chain;
        let mut out = Vec::new();
        for number in [chain.position, chain.commit_time.cast_unsigned(), chain.segment_first, chain.offset] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&chain.previous.to_le_bytes());
        out.extend_from_slice(&chain.log_tag.to_le_bytes());
        out.extend_from_slice(&chain.last_leaf);
        out.push(chain.frontier.peaks().len() as u8);
        for peak in chain.frontier.peaks() {
            out.extend_from_slice(peak);
        }
        serde_json::to_writer(&mut out, &self.tally).expect("counts are plain numbers under text keys");
        out
    }

    /// `None` if the bytes are not a cursor.
    pub(crate) fn decode(bytes: &[u8]) -> Option<LogCursor> {
        let word = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let half = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let position = word(0)?;
        let peaks_end = 73 + 32 * usize::from(*bytes.get(72)?);
        let (peaks, _) = bytes.get(73..peaks_end)?.as_chunks::<32>();
        let frontier = Frontier::from_parts(position, peaks.to_vec())?;
        Some(LogCursor {
            chain: Chain {
                position,
                commit_time: word(8)?.cast_signed(),
                segment_first: word(16)?,
                offset: word(24)?,
                previous: half(32)?,
                log_tag: half(36)?,
                last_leaf: bytes.get(40..72)?.try_into().ok()?,
                frontier,
            },
            tally: serde_json::from_slice(bytes.get(peaks_end..)?).ok()?,
        })
    }
}

/// A frame being encoded.
pub(crate) struct FrameWriter<'a> {
    sources: &'a Sources,
    names: &'a mut Names,
    pending: &'a mut Pending,
    entropy: &'a mut Entropy,
    chain: &'a mut Chain,
    out: &'a mut Vec<u8>,
    start: usize,
    first: u64,
    room: &'a mut Room,
}

/// What is known of a frame's events until it ends. Kept from frame to frame, so that it is not allocated for each.
#[derive(Default)]
pub(crate) struct Room {
    places: Vec<IndexPlace>,
    /// Index terms of all tags, event after event.
    terms: Vec<u64>,
    hashes: Vec<Hash>,
    tile_roots: Vec<Hash>,
    /// Of one event.
    tag_keys: Vec<Hash>,
    tag_salts: Vec<SaltedName>,
    leaf: Vec<u8>,
}

/// What the index is told of an event, but for its place in the segment's file.
struct IndexPlace {
    record: usize,
    stream: u64,
    revision: u64,
    tombstone: bool,
    event_type: u64,
    category: Option<u64>,
    id: u64,
    terms_end: usize,
}

impl<'a> FrameWriter<'a> {
    pub(crate) fn begin(
        sources: &'a Sources,
        names: &'a mut Names,
        pending: &'a mut Pending,
        entropy: &'a mut Entropy,
        chain: &'a mut Chain,
        out: &'a mut Vec<u8>,
        room: &'a mut Room,
    ) -> FrameWriter<'a> {
        room.places.clear();
        room.terms.clear();
        room.hashes.clear();
        room.tile_roots.clear();
        let start = out.len();
        out.extend_from_slice(&[0; frame::HEADER_BYTES]);
        let first = chain.position;
        FrameWriter { sources, names, pending, entropy, chain, out, start, first, room }
    }

    /// Encodes one event of a source whose names were resolved, and returns its position.
    pub(crate) fn event(&mut self, source: &Arc<Source>, index: u32) -> u64 {
        let (stream, event) = &source.request.events[index as usize];
        let slot = source.slots[*stream as usize];
        let stream = &source.request.streams[*stream as usize].stream;
        let hashed = &source.hashed[index as usize];
        let position = self.chain.position;
        let tombstone = source.kind == Kind::Tombstone;
        let hasher = &self.sources.hasher;
        let audit = self.sources.audit;

        let (stream_key, prev_stream, stream_salt) = match self.names.at(slot).chain {
            Some((last, key)) => (key, last, None),
            None if !audit.is_on() => Default::default(),
            None => {
                let salt: [u8; 16] = self.entropy.bytes();
                let key = leaf::name_key(&salt, stream.as_str().as_bytes());
                (key, leaf::stream_genesis(&key), Some(salt))
            }
        };
        let Room { places, terms, hashes, tile_roots, tag_keys, tag_salts, leaf: leaf_bytes } =
            &mut *self.room;
        tag_keys.clear();
        tag_salts.clear();
        for tag in &event.tags {
            terms.push(hasher.tag(tag));
            if !audit.is_on() {
                tag_salts.push(None);
                continue;
            }
            let (key, salt) = self.names.tag_key(self.entropy, tag);
            tag_keys.push(key);
            tag_salts.push(salt);
        }
        let mut subject_salt = None;
        if let Some(subject) = &event.data_subject {
            let name = subject_tag(subject);
            terms.push(hasher.tag(&name));
            if audit.is_on() {
                let (key, salt) = self.names.tag_key(self.entropy, &name);
                tag_keys.push(key);
                subject_salt = salt;
            }
        }
        tag_keys.sort_unstable();

        let head = self.names.at(slot);
        let revision =
            if tombstone { Revision::TOMBSTONE.0 } else { head.revision.map_or(0, |last| last + 1) };
        let leaf = Leaf {
            kind: source.kind,
            encrypted: event.encrypted,
            sealed: hashed.sealed,
            has_metadata: !event.metadata.is_empty(),
            check: event.schema.check,
            position,
            commit_time: self.chain.commit_time,
            stream_version: revision,
            stream_key,
            prev_stream,
            prev_global: self.chain.last_leaf,
            event_id: event.id.0,
            occurred_at: event.occurred_at.map_or(leaf::NO_TIME, |time| time.micros()),
            event_type: &event.event_type,
            content_type: event.content_type.as_str(),
            schema_version: event.schema.version,
            schema_id: event.schema.id,
            tags: tag_keys,
            payload_commitment: hashed.data,
            metadata_commitment: hashed.metadata,
            body: if source.kind.is_control() { &event.data } else { &[] },
        };
        let hash = if audit.is_on() { leaf.hash(leaf_bytes) } else { Hash::default() };
        head.chain = Some((hash, stream_key));
        if tombstone {
            head.gate = Gate::Tombstoned;
        } else {
            head.revision = Some(revision);
        }
        if let Some(described) = stream.described()
            && let Some(head) = self.names.cached_head(&described)
        {
            head.note_metadata(&event.data);
        }

        let record = self.out.len();
        let secrets = Secrets {
            stream_salt,
            tag_salts,
            subject_salt,
            data_seed: hashed.data_seed,
            metadata_seed: hashed.metadata_seed,
            sealed: hashed.sealed,
        };
        let new =
            NewRecord { stream: stream.as_str(), revision, kind: source.kind, event, secrets: &secrets };
        frame::encode_record(self.out, self.start, position, &new);
        let stream_term = hasher.stream(stream.as_str());
        places.push(IndexPlace {
            record,
            stream: stream_term,
            revision,
            tombstone,
            event_type: hasher.event_type(&event.event_type),
            category: ids::category_of(stream.as_str()).map(|category| hasher.category(category)),
            id: hasher.id(&event.id.0, stream_term),
            terms_end: terms.len(),
        });
        if audit.is_on() {
            hashes.push(hash);
            tile_roots.extend(self.chain.frontier.push_tiled(hash));
        }
        if let Some(key) = erased_name(source.kind, &event.data) {
            self.names.forget_tag(&key);
            self.sources.erasing.forget_name(key);
        }
        self.chain.last_leaf = hash;
        self.chain.position += 1;
        self.pending.push(PendingEvent {
            source: Arc::clone(source),
            index,
            revision,
            commit_time: self.chain.commit_time,
        });
        position
    }

    /// Writes the header, tells index and tiles, and answers with the byte where the frame begins. `batch_first` and
    /// `batch_offset`: where the batch begins in the log and in its segment.
    pub(crate) fn finish(self, batch_first: u64, batch_offset: u64, epoch: u32) -> usize {
        let body = &self.out[self.start + frame::HEADER_BYTES..];
        let count = self.room.places.len() as u32;
        let header = Header {
            length: (self.out.len() - self.start) as u32,
            body_crc: frame::body_crc(body, count).expect("the records were just encoded"),
            previous: self.chain.previous,
            log: self.chain.log_tag,
            epoch,
            first: self.first,
            commit_time: self.chain.commit_time,
            count,
            batch_offset: (self.first - batch_first) as u32,
            root: None,
            crc: 0,
            original: None,
        };
        let mut bytes = [0; frame::HEADER_BYTES];
        self.chain.previous = header.encode(&mut bytes);
        self.out[self.start..self.start + frame::HEADER_BYTES].copy_from_slice(&bytes);
        if self.sources.audit.is_on() {
            self.sources.tiles.push_tiled(&self.room.hashes, &self.room.tile_roots);
        }
        let mut terms_start = 0;
        let entries = self.room.places.iter().zip(self.first..).map(|(place, position)| {
            let tags = &self.room.terms[terms_start..place.terms_end];
            terms_start = place.terms_end;
            Entry {
                position,
                offset: u32::try_from(batch_offset + place.record as u64)
                    .expect("a segment is shorter than 4 GiB"),
                stream: place.stream,
                revision: place.revision,
                tombstone: place.tombstone,
                event_type: place.event_type,
                category: place.category,
                tags,
                id: place.id,
            }
        });
        self.sources.index.insert(entries);
        self.start
    }
}

/// Keyed hash of the data subject whose name a record erases, if it does.
pub(super) fn erased_name(kind: Kind, body: &[u8]) -> Option<Hash> {
    if kind != Kind::Erasure {
        return None;
    }
    match Control::decode(kind, body) {
        Ok(Control::Erasure(Erasure { target: Target::Subject { subject_key }, .. })) => Some(subject_key),
        _ => None,
    }
}

/// Writes the Merkle root into the last frame of a batch, which begins at a byte of `frames`, and answers with the root.
pub(crate) fn seal(chain: &mut Chain, frames: &mut [u8], last: usize) -> Hash {
    let root = chain.root();
    let place = &mut frames[last..last + frame::HEADER_BYTES];
    let mut header = Header::decode(place).expect("the frame was just encoded");
    header.root = Some(root);
    let mut bytes = [0; frame::HEADER_BYTES];
    chain.previous = header.encode(&mut bytes);
    place.copy_from_slice(&bytes);
    root
}
