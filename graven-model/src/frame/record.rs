//! Records: one event each, inside a frame.

use super::{RECORD_HEAD_BYTES, Tags};
use crate::event::{CheckState, ContentType, ContentTypeRef, EventRef, Kind, NewEvent, SchemaRef, TagsRef};
use crate::ids::{EventId, Position, Revision};
use crate::time::Timestamp;
use graven_proof::{Hash, leaf};

/// A record's first twelve bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    /// Bytes of the body.
    pub length: u32,
    /// Checksum over position, distance and body.
    pub crc: u32,
    /// Bytes from the start of the frame to the start of the record.
    pub back: u32,
}

impl RecordHead {
    /// Reads the head; `None` if there are fewer bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<RecordHead> {
        let bytes: &[u8; RECORD_HEAD_BYTES] = bytes.get(..RECORD_HEAD_BYTES)?.try_into().ok()?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Some(RecordHead { length: word(0), crc: word(4), back: word(8) })
    }

    /// Bytes of the whole record.
    #[must_use]
    pub fn total(&self) -> usize {
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
#[must_use]
pub fn record_intact(head: RecordHead, position: u64, body: &[u8]) -> bool {
    body.len() == head.length as usize && record_crc(position, head.back, body) == head.crc
}

/// A tag, or the data subject, as a record holds it: with its salt where the name appears for the first time.
pub type SaltedName = Option<[u8; 16]>;

/// Beside the kind: data and metadata are ciphertext under the data subject's key.
pub(super) const KIND_SEALED: u8 = 0x10;
/// Instead of seed and data stands the commitment to them.
pub(super) const KIND_DATA_ERASED: u8 = 0x20;
/// Instead of seed, length and metadata stands the commitment to them.
pub(super) const KIND_METADATA_ERASED: u8 = 0x40;
/// Instead of the data subject's name stands its keyed hash.
pub(super) const KIND_SUBJECT_ERASED: u8 = 0x80;
/// The kind itself.
const KIND_MASK: u8 = 0x0f;

const FLAG_ENCRYPTED: u8 = 1;
const FLAG_METADATA: u8 = 2;
const FLAG_CHECK_SHIFT: u8 = 2;
const FLAG_OCCURRED: u8 = 16;
const FLAG_STREAM_SALT: u8 = 32;
const FLAG_SUBJECT: u8 = 64;
pub(super) const FLAG_SUBJECT_SALT: u8 = 128;

/// What a record holds beyond the event itself.
#[derive(Debug, Clone, Default)]
pub struct Secrets<'a> {
    /// Salt of the stream name, in the first record of the stream.
    pub stream_salt: SaltedName,
    /// One for each tag, with a salt where the tag appears for the first time in the log.
    pub tag_salts: &'a [SaltedName],
    /// Salt of the data subject, where it appears for the first time in the log.
    pub subject_salt: SaltedName,
    /// Seed of the commitment to the data.
    pub data_seed: [u8; 16],
    /// Seed of the commitment to the metadata.
    pub metadata_seed: [u8; 16],
    /// Data and metadata are ciphertext under the data subject's key.
    pub sealed: bool,
}

/// What a record is made of.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    /// Name of the stream.
    pub stream: &'a str,
    /// Revision in the stream.
    pub revision: u64,
    /// What kind of record.
    pub kind: Kind,
    /// What the producer handed in.
    pub event: &'a NewEvent,
    /// Salts and seeds.
    pub secrets: &'a Secrets<'a>,
}

/// Upper bound of the bytes a record of this event takes.
#[must_use]
pub fn record_bytes_max(stream: &str, event: &NewEvent) -> usize {
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
///
/// # Panics
/// If the frame grows beyond 4 GiB, which the bound on an append rules out.
pub fn encode_record(out: &mut Vec<u8>, frame_start: usize, position: u64, record: &NewRecord<'_>) {
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
    out.push(kind as u8 | if secrets.sealed { KIND_SEALED } else { 0 });
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
    fill_head(out, start, frame_start, position);
}

/// Writes the head of the record that `out` holds from `start` to its end, in a frame that begins at `frame_start`.
pub(super) fn fill_head(out: &mut [u8], start: usize, frame_start: usize, position: u64) {
    let back = u32::try_from(start - frame_start).expect("a frame is shorter than 4 GiB");
    let length =
        u32::try_from(out.len() - start - RECORD_HEAD_BYTES).expect("a record is shorter than 4 GiB");
    let crc = record_crc(position, back, &out[start + RECORD_HEAD_BYTES..]);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    out[start + 8..start + 12].copy_from_slice(&back.to_le_bytes());
}

/// Checksum over every record's length and checksum of a frame body; `None` if the records do not fill it exactly.
#[must_use]
pub fn body_crc(body: &[u8], count: u32) -> Option<u32> {
    let mut rest = body;
    let mut crc = 0;
    for _ in 0..count {
        let head = RecordHead::decode(rest)?;
        crc = crc32c::crc32c_append(crc, &rest[..8]);
        rest = rest.get(head.total()..)?;
    }
    rest.is_empty().then_some(crc)
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// A record's body, taken apart without copying.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// What kind of record.
    pub kind: Kind,
    /// Revision in the stream.
    pub revision: u64,
    /// Id of the event.
    pub id: [u8; 16],
    /// The event's own time, microseconds since 1970.
    pub occurred_at: Option<i64>,
    /// Name of the stream.
    pub stream: &'a str,
    /// Salt of the stream name, in the first record of the stream.
    pub stream_salt: SaltedName,
    /// Type name.
    pub event_type: &'a str,
    content_type: ContentTypeRef<'a>,
    /// Schema version, id and check.
    pub schema: SchemaRef,
    /// The data is ciphertext.
    pub encrypted: bool,
    /// Tags with their salts.
    pub tags: Tags<'a>,
    /// Data subject.
    pub subject: Option<Subject<'a>>,
    /// Data and metadata are ciphertext under the data subject's key.
    pub sealed: bool,
    /// Seed of the commitment to the metadata.
    pub metadata_seed: [u8; 16],
    /// Metadata; empty if there is none, or if it was erased.
    pub metadata: &'a [u8],
    /// Commitment to the metadata, if it was erased.
    pub metadata_erased: Option<Hash>,
    /// Seed of the commitment to the data.
    pub data_seed: [u8; 16],
    /// Data; empty if it was erased.
    pub data: &'a [u8],
    /// Commitment to the data, if it was erased.
    pub data_erased: Option<Hash>,
    /// The body up to the data subject: what nothing is ever erased from.
    pub(super) kept: &'a [u8],
}

/// The data subject of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// By name, with the name's salt where it appears for the first time in the log.
    Named(&'a str, SaltedName),
    /// By the keyed hash of the name, which was erased.
    Keyed(Hash),
}

impl<'a> Subject<'a> {
    /// The name, unless it was erased.
    #[must_use]
    pub fn name(self) -> Option<&'a str> {
        match self {
            Subject::Named(name, _) => Some(name),
            Subject::Keyed(_) => None,
        }
    }
}

impl<'a> Record<'a> {
    /// Takes a body apart; `None` if it does not have the shape of one. Never panics, whatever the bytes.
    #[must_use]
    pub fn decode(body: &'a [u8]) -> Option<Record<'a>> {
        let mut input = Input(body);
        let first = input.byte()?;
        let kind = Kind::from_u8(first & KIND_MASK)?;
        let is = |bit: u8| first & bit != 0;
        let flags = input.byte()?;
        let has = |bit: u8| flags & bit != 0;
        let revision = input.varint()?;
        let id = input.array()?;
        let occurred_at = if has(FLAG_OCCURRED) { Some(i64::from_le_bytes(input.array()?)) } else { None };
        let stream = input.text()?;
        let stream_salt = if has(FLAG_STREAM_SALT) { Some(input.array()?) } else { None };
        let event_type = input.text()?;
        let content_type = match input.byte()? {
            0 => ContentTypeRef::Other(input.text()?),
            1 => ContentTypeRef::Json,
            2 => ContentTypeRef::Binary,
            _ => return None,
        };
        let schema = SchemaRef {
            version: u32::try_from(input.varint()?).ok()?,
            id: u32::try_from(input.varint()?).ok()?,
            check: CheckState::from_bits(flags >> FLAG_CHECK_SHIFT),
        };
        let count = usize::try_from(input.varint()?).ok()?;
        if count > crate::limits::TAGS_MAX {
            return None;
        }
        let mut tags = Tags::with_capacity(count);
        for _ in 0..count {
            let head = input.varint()?;
            let tag = std::str::from_utf8(input.take(usize::try_from(head >> 1).ok()?)?).ok()?;
            let salt = if head & 1 == 1 { Some(input.array()?) } else { None };
            tags.push(tag, salt);
        }
        let kept = &body[..body.len() - input.0.len()];
        let erased = is(KIND_DATA_ERASED) || is(KIND_METADATA_ERASED) || is(KIND_SUBJECT_ERASED);
        let possible = (has(FLAG_SUBJECT) || !is(KIND_SEALED) && !is(KIND_SUBJECT_ERASED))
            && (has(FLAG_SUBJECT) && !is(KIND_SUBJECT_ERASED) || !has(FLAG_SUBJECT_SALT))
            && (has(FLAG_METADATA) || !is(KIND_METADATA_ERASED))
            && !(kind.is_control() && (erased || is(KIND_SEALED)));
        if !possible {
            return None;
        }
        let subject = match (has(FLAG_SUBJECT), is(KIND_SUBJECT_ERASED)) {
            (false, _) => None,
            (true, true) => Some(Subject::Keyed(input.array()?)),
            (true, false) => {
                let name = input.text()?;
                let salt = if has(FLAG_SUBJECT_SALT) { Some(input.array()?) } else { None };
                Some(Subject::Named(name, salt))
            }
        };
        let (mut metadata_seed, mut metadata, mut metadata_erased) = ([0; 16], &[][..], None);
        if is(KIND_METADATA_ERASED) {
            metadata_erased = Some(input.array()?);
        } else if has(FLAG_METADATA) {
            metadata_seed = input.array()?;
            let length = usize::try_from(input.varint()?).ok().filter(|length| *length > 0)?;
            metadata = input.take(length)?;
        }
        let (mut data_seed, mut data_erased) = ([0; 16], None);
        if is(KIND_DATA_ERASED) {
            data_erased = Some(input.array()?);
            if !input.0.is_empty() {
                return None;
            }
        } else {
            data_seed = input.array()?;
        }
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
            sealed: is(KIND_SEALED),
            metadata_seed,
            metadata,
            metadata_erased,
            data_seed,
            data: input.0,
            data_erased,
            kept,
        })
    }

    /// Whether it has metadata, or had some that were erased.
    #[must_use]
    pub fn has_metadata(&self) -> bool {
        !self.metadata.is_empty() || self.metadata_erased.is_some()
    }

    /// The commitment to the data as its leaf has it: kept where the data was erased, computed from what is there
    /// otherwise. Zeros for a control record, which has none.
    #[must_use]
    pub fn data_commitment(&self) -> Hash {
        match self.data_erased {
            Some(kept) => kept,
            None if self.kind.is_control() => [0; 32],
            None => leaf::payload_commitment(&leaf::salt(&self.data_seed, &self.id), self.data),
        }
    }

    /// The commitment to the metadata as its leaf has it, as [`Record::data_commitment`]; zeros without metadata.
    #[must_use]
    pub fn metadata_commitment(&self) -> Hash {
        match self.metadata_erased {
            Some(kept) => kept,
            None if self.metadata.is_empty() => [0; 32],
            None => leaf::metadata_commitment(&leaf::salt(&self.metadata_seed, &self.id), self.metadata),
        }
    }

    /// Media type as text.
    #[must_use]
    pub fn content_type(&self) -> &'a str {
        self.content_type.as_str()
    }

    /// The event it holds, at this position, committed at this time in microseconds since 1970. Of a sealed one nobody sees the
    /// ciphertext: whoever has the key puts in what was sealed, to everybody else it is erased.
    #[must_use]
    pub fn event(&self, position: u64, commit_time: i64) -> EventRef<'_> {
        EventRef {
            position: Position(position),
            stream: self.stream,
            revision: Revision(self.revision),
            committed_at: Timestamp::from_micros(commit_time),
            kind: self.kind,
            id: EventId(self.id),
            event_type: self.event_type,
            content_type: self.content_type,
            data: if self.sealed { &[] } else { self.data },
            metadata: if self.sealed { &[] } else { self.metadata },
            occurred_at: self.occurred_at.map(Timestamp::from_micros),
            schema: self.schema,
            tags: TagsRef::salted(&self.tags),
            data_subject: self.subject.and_then(Subject::name),
            encrypted: self.encrypted,
            erased: self.data_erased.is_some() || self.sealed,
        }
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
