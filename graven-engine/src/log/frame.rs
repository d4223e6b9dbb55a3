//! Frames and records: every byte of the log after a segment's header. Drawn in `docs/format.md`.
//!
//! A frame is one atomic append. Its header carries the Merkle root after its last event and the checksum of the frame
//! before it. A record is one event and can be read, checked and placed on its own: its checksum covers its position,
//! and it says how far back its frame begins.

use bytes::Bytes;
use graven_model::event::{CheckState, ContentType, Kind, NewEvent, SchemaRef};
use graven_model::{EventId, Position, Revision, StoredEvent, StreamName, Timestamp};
use graven_proof::Hash;

/// Bytes of a frame header.
pub(crate) const HEADER_BYTES: usize = 84;
/// Bytes before a record's body: length, checksum, distance to the frame.
pub(crate) const RECORD_HEAD_BYTES: usize = 12;
/// First four bytes of every frame.
pub(crate) const MAGIC: u32 = u32::from_le_bytes(*b"GFR1");
/// Largest frame: the largest append plus what the envelope of its events may take.
pub(crate) const FRAME_BYTES_MAX: usize = u32::MAX as usize >> 2;

/// The fixed part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes of the whole frame.
    pub(crate) length: u32,
    /// Checksum over every record's length and checksum, in order.
    pub(crate) body_crc: u32,
    /// Header checksum of the frame before, or the log's seed.
    pub(crate) previous: u32,
    /// First four bytes of the log id.
    pub(crate) log: u32,
    /// Epoch of the writer.
    pub(crate) epoch: u32,
    pub(crate) first: u64,
    pub(crate) commit_time: i64,
    pub(crate) count: u32,
    /// Events of the same journal batch before this frame: `first - batch_offset` is where the batch begins.
    pub(crate) batch_offset: u32,
    /// Merkle root over all events up to and with this frame.
    pub(crate) root: Hash,
    /// Checksum of this header.
    pub(crate) crc: u32,
}

impl Header {
    /// Position after the frame.
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// First position of the journal batch the frame was written with.
    pub(crate) fn batch_first(&self) -> u64 {
        self.first - u64::from(self.batch_offset)
    }

    /// Writes the header with its checksum and returns that checksum.
    pub(crate) fn encode(&self, out: &mut [u8; HEADER_BYTES]) -> u32 {
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[8..12].copy_from_slice(&self.length.to_le_bytes());
        out[12..16].copy_from_slice(&self.body_crc.to_le_bytes());
        out[16..20].copy_from_slice(&self.previous.to_le_bytes());
        out[20..24].copy_from_slice(&self.log.to_le_bytes());
        out[24..28].copy_from_slice(&self.epoch.to_le_bytes());
        out[28..36].copy_from_slice(&self.first.to_le_bytes());
        out[36..44].copy_from_slice(&self.commit_time.to_le_bytes());
        out[44..48].copy_from_slice(&self.count.to_le_bytes());
        out[48..52].copy_from_slice(&self.batch_offset.to_le_bytes());
        out[52..84].copy_from_slice(&self.root);
        let crc = crc32c::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// Reads a header; `None` if it is not one: wrong magic, checksum or impossible numbers.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Header> {
        let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        if u32_at(bytes, 0) != MAGIC {
            return None;
        }
        let crc = u32_at(bytes, 4);
        if crc32c::crc32c(&bytes[8..]) != crc {
            return None;
        }
        let header = Header {
            length: u32_at(bytes, 8),
            body_crc: u32_at(bytes, 12),
            previous: u32_at(bytes, 16),
            log: u32_at(bytes, 20),
            epoch: u32_at(bytes, 24),
            first: u64_at(bytes, 28),
            commit_time: u64_at(bytes, 36).cast_signed(),
            count: u32_at(bytes, 44),
            batch_offset: u32_at(bytes, 48),
            root: bytes[52..84].try_into().expect("32 bytes"),
            crc,
        };
        let possible = header.count > 0
            && u64::from(header.batch_offset) <= header.first
            && header.first.checked_add(u64::from(header.count)).is_some()
            && header.length as usize >= HEADER_BYTES + header.count as usize * RECORD_HEAD_BYTES
            && header.length as usize <= FRAME_BYTES_MAX;
        possible.then_some(header)
    }
}

/// Four little-endian bytes. The caller has checked the length.
fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// A record's first twelve bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHead {
    /// Bytes of the body.
    pub(crate) length: u32,
    pub(crate) crc: u32,
    /// Bytes from the start of the frame to the start of the record.
    pub(crate) back: u32,
}

impl RecordHead {
    pub(crate) fn decode(bytes: &[u8]) -> Option<RecordHead> {
        let bytes: &[u8; RECORD_HEAD_BYTES] = bytes.get(..RECORD_HEAD_BYTES)?.try_into().ok()?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Some(RecordHead { length: word(0), crc: word(4), back: word(8) })
    }

    /// Bytes of the whole record.
    pub(crate) fn total(&self) -> usize {
        RECORD_HEAD_BYTES + self.length as usize
    }
}

/// Checksum of a record: over its position, its distance to the frame and its body.
fn record_crc(position: u64, back: u32, body: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&position.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &back.to_le_bytes());
    crc32c::crc32c_append(crc, body)
}

/// Whether a record's checksum holds for this position.
pub(crate) fn record_intact(head: RecordHead, position: u64, body: &[u8]) -> bool {
    body.len() == head.length as usize && record_crc(position, head.back, body) == head.crc
}

/// A tag, or the data subject, as a record holds it: with its salt where the name appears for the first time.
pub(crate) type SaltedName = Option<[u8; 16]>;

const FLAG_ENCRYPTED: u8 = 1;
const FLAG_METADATA: u8 = 2;
const FLAG_CHECK_SHIFT: u8 = 2;
const FLAG_OCCURRED: u8 = 16;
const FLAG_STREAM_SALT: u8 = 32;
const FLAG_SUBJECT: u8 = 64;
const FLAG_SUBJECT_SALT: u8 = 128;

/// What a record holds beyond the event itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Secrets<'a> {
    pub(crate) stream_salt: SaltedName,
    pub(crate) tag_salts: &'a [SaltedName],
    pub(crate) subject_salt: SaltedName,
    pub(crate) data_seed: [u8; 16],
    pub(crate) metadata_seed: [u8; 16],
}

/// What a record is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewRecord<'a> {
    pub(crate) stream: &'a str,
    pub(crate) revision: u64,
    pub(crate) kind: Kind,
    pub(crate) event: &'a NewEvent,
    pub(crate) secrets: &'a Secrets<'a>,
}

/// Upper bound of the bytes a record of this event takes.
pub(crate) fn record_bytes_max(stream: &str, event: &NewEvent) -> usize {
    RECORD_HEAD_BYTES
        + 2 + 10 + 16 + 8            // kind, flags, revision, id, own time
        + 5 + stream.len() + 16
        + 5 + event.event_type.len()
        + 6 + event.content_type.as_str().len()
        + 10                         // schema version and id
        + 5 + event.tags.iter().map(|tag| tag.len() + 5 + 16).sum::<usize>()
        + event.data_subject.as_ref().map_or(0, |subject| subject.len() + 5 + 16)
        + 16 + 5 + event.data.len()
        + 16 + 5 + event.metadata.len()
}

/// Appends a record to `out`, which holds the frame from `frame_start` on.
pub(crate) fn encode_record(out: &mut Vec<u8>, frame_start: usize, position: u64, record: &NewRecord<'_>) {
    let NewRecord { stream, revision, kind, event, secrets } = *record;
    let start = out.len();
    out.extend_from_slice(&[0; RECORD_HEAD_BYTES]);
    let mut flags = (event.schema.check as u8) << FLAG_CHECK_SHIFT;
    for (set, bit) in [
        (event.encrypted, FLAG_ENCRYPTED),
        (!event.metadata.is_empty(), FLAG_METADATA),
        (event.occurred_at.is_some(), FLAG_OCCURRED),
        (secrets.stream_salt.is_some(), FLAG_STREAM_SALT),
        (event.data_subject.is_some(), FLAG_SUBJECT),
        (secrets.subject_salt.is_some(), FLAG_SUBJECT_SALT),
    ] {
        flags |= if set { bit } else { 0 };
    }
    out.push(kind as u8);
    out.push(flags);
    put_varint(out, revision);
    out.extend_from_slice(&event.id.0);
    if let Some(time) = event.occurred_at {
        out.extend_from_slice(&time.micros().to_le_bytes());
    }
    put_text(out, stream);
    if let Some(salt) = secrets.stream_salt {
        out.extend_from_slice(&salt);
    }
    put_text(out, &event.event_type);
    match &event.content_type {
        ContentType::Json => out.push(1),
        ContentType::Binary => out.push(2),
        ContentType::Other(text) => {
            out.push(0);
            put_text(out, text);
        }
    }
    put_varint(out, event.schema.version.into());
    put_varint(out, event.schema.id.into());
    put_varint(out, event.tags.len() as u64);
    for (tag, salt) in event.tags.iter().zip(secrets.tag_salts) {
        put_varint(out, (tag.len() as u64) << 1 | u64::from(salt.is_some()));
        out.extend_from_slice(tag.as_bytes());
        if let Some(salt) = salt {
            out.extend_from_slice(salt);
        }
    }
    if let Some(subject) = &event.data_subject {
        put_text(out, subject);
        if let Some(salt) = secrets.subject_salt {
            out.extend_from_slice(&salt);
        }
    }
    if !event.metadata.is_empty() {
        out.extend_from_slice(&secrets.metadata_seed);
        put_varint(out, event.metadata.len() as u64);
        out.extend_from_slice(&event.metadata);
    }
    out.extend_from_slice(&secrets.data_seed);
    out.extend_from_slice(&event.data);
    let back = u32::try_from(start - frame_start).expect("a frame is shorter than 4 GiB");
    let length =
        u32::try_from(out.len() - start - RECORD_HEAD_BYTES).expect("a record is shorter than 4 GiB");
    let crc = record_crc(position, back, &out[start + RECORD_HEAD_BYTES..]);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    out[start + 8..start + 12].copy_from_slice(&back.to_le_bytes());
}

/// Checksum over every record's length and checksum of a frame body; `None` if the records do not fill it exactly.
pub(crate) fn body_crc(body: &[u8], count: u32) -> Option<u32> {
    let mut rest = body;
    let mut crc = 0;
    for _ in 0..count {
        let head = RecordHead::decode(rest)?;
        crc = crc32c::crc32c_append(crc, &rest[..8]);
        rest = rest.get(head.total()..)?;
    }
    rest.is_empty().then_some(crc)
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// A record's body, taken apart without copying.
#[derive(Debug, Clone)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(crate) revision: u64,
    pub(crate) id: [u8; 16],
    pub(crate) occurred_at: Option<i64>,
    pub(crate) stream: &'a str,
    pub(crate) stream_salt: SaltedName,
    pub(crate) event_type: &'a str,
    content_type: ContentCode<'a>,
    pub(crate) schema: SchemaRef,
    pub(crate) encrypted: bool,
    /// Tags with their salts.
    pub(crate) tags: Vec<(&'a str, SaltedName)>,
    pub(crate) subject: Option<(&'a str, SaltedName)>,
    pub(crate) metadata_seed: [u8; 16],
    pub(crate) metadata: &'a [u8],
    pub(crate) data_seed: [u8; 16],
    pub(crate) data: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
enum ContentCode<'a> {
    Json,
    Binary,
    Other(&'a str),
}

impl<'a> Record<'a> {
    /// Takes a body apart; `None` if it does not have the shape of one. Never panics, whatever the bytes.
    pub(crate) fn decode(body: &'a [u8]) -> Option<Record<'a>> {
        let mut input = Input(body);
        let kind = Kind::from_u8(input.byte()?)?;
        let flags = input.byte()?;
        let has = |bit: u8| flags & bit != 0;
        let revision = input.varint()?;
        let id = input.array()?;
        let occurred_at = if has(FLAG_OCCURRED) { Some(i64::from_le_bytes(input.array()?)) } else { None };
        let stream = input.text()?;
        let stream_salt = if has(FLAG_STREAM_SALT) { Some(input.array()?) } else { None };
        let event_type = input.text()?;
        let content_type = match input.byte()? {
            0 => ContentCode::Other(input.text()?),
            1 => ContentCode::Json,
            2 => ContentCode::Binary,
            _ => return None,
        };
        let schema = SchemaRef {
            version: u32::try_from(input.varint()?).ok()?,
            id: u32::try_from(input.varint()?).ok()?,
            check: CheckState::from_bits(flags >> FLAG_CHECK_SHIFT),
        };
        let count = usize::try_from(input.varint()?).ok()?;
        if count > graven_model::limits::TAGS_MAX {
            return None;
        }
        let mut tags = Vec::with_capacity(count);
        for _ in 0..count {
            let head = input.varint()?;
            let tag = std::str::from_utf8(input.take(usize::try_from(head >> 1).ok()?)?).ok()?;
            let salt = if head & 1 == 1 { Some(input.array()?) } else { None };
            tags.push((tag, salt));
        }
        let subject = if has(FLAG_SUBJECT) {
            let name = input.text()?;
            Some((name, if has(FLAG_SUBJECT_SALT) { Some(input.array()?) } else { None }))
        } else {
            None
        };
        let (metadata_seed, metadata) = if has(FLAG_METADATA) {
            let seed = input.array()?;
            let length = usize::try_from(input.varint()?).ok()?;
            (seed, input.take(length)?)
        } else {
            ([0; 16], &[][..])
        };
        Some(Record {
            kind,
            revision,
            id,
            occurred_at,
            stream,
            stream_salt,
            event_type,
            content_type,
            schema,
            encrypted: has(FLAG_ENCRYPTED),
            tags,
            subject,
            metadata_seed,
            metadata,
            data_seed: input.array()?,
            data: input.0,
        })
    }

    /// Media type as text.
    pub(crate) fn content_type(&self) -> &'a str {
        match self.content_type {
            ContentCode::Json => "application/json",
            ContentCode::Binary => "application/octet-stream",
            ContentCode::Other(text) => text,
        }
    }

    /// The event, its payload and metadata sharing the memory of `body`, which this record was decoded from.
    pub(crate) fn to_event(&self, position: u64, commit_time: i64, body: &Bytes) -> Option<StoredEvent> {
        Some(StoredEvent {
            position: Position(position),
            stream: StreamName::new(self.stream).ok()?,
            revision: Revision(self.revision),
            committed_at: Timestamp::from_micros(commit_time),
            kind: self.kind,
            event: NewEvent {
                id: EventId(self.id),
                event_type: self.event_type.into(),
                content_type: match self.content_type {
                    ContentCode::Json => ContentType::Json,
                    ContentCode::Binary => ContentType::Binary,
                    ContentCode::Other(text) => ContentType::Other(text.into()),
                },
                data: body.slice_ref(self.data),
                metadata: if self.metadata.is_empty() { Bytes::new() } else { body.slice_ref(self.metadata) },
                occurred_at: self.occurred_at.map(Timestamp::from_micros),
                schema: self.schema,
                tags: self.tags.iter().map(|(tag, _)| (*tag).into()).collect(),
                data_subject: self.subject.map(|(name, _)| name.into()),
                encrypted: self.encrypted,
            },
        })
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return None;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.varint()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}

#[cfg(test)]
mod tests;
