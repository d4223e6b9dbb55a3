//! Erasing from a frame: what is destroyed in its records, and the frame that remains.

use super::record::{
    KIND_DATA_ERASED, KIND_METADATA_ERASED, KIND_SUBJECT_ERASED, fill_head, put_text, put_varint,
};
use super::{
    HEADER_BYTES, Header, RECORD_HEAD_BYTES, REWRITTEN_BYTES, REWRITTEN_MAGIC, Record, RecordHead, Subject,
};
use super::{body_crc, record_intact};
use graven_proof::Hash;

/// What is destroyed of an event. What it does not have, or was destroyed before, stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erase {
    /// The data and the seed of the commitment to it.
    pub data: bool,
    /// The metadata and the seed of the commitment to it.
    pub metadata: bool,
    /// The name of the data subject and its salt: this, its keyed hash, takes their place.
    pub subject: Option<Hash>,
}

/// Appends to `out` what remains of a whole frame once `erase` has said of every record what is destroyed of it, and
/// answers with how many records changed. With none, the frame is appended as it is. Control records never change.
///
/// The frame keeps its place in the log: the header it was written with stays, byte for byte. What is destroyed stands
/// nowhere in `out`.
///
/// `None` if the bytes are not one whole, intact frame; `out` is then as it was.
#[must_use]
pub fn rewrite(
    frame: &[u8],
    out: &mut Vec<u8>,
    mut erase: impl FnMut(u64, &Record<'_>) -> Erase,
) -> Option<u32> {
    let header = Header::decode(frame).filter(|header| header.length as usize == frame.len())?;
    let records = &frame[header.header_bytes()..];
    if body_crc(records, header.count) != Some(header.body_crc) {
        return None;
    }
    let start = out.len();
    out.extend_from_slice(&REWRITTEN_MAGIC.to_le_bytes());
    out.extend_from_slice(&[0; REWRITTEN_BYTES - 4]);
    let written = frame.len() - records.len() - HEADER_BYTES;
    out.extend_from_slice(&frame[written..written + HEADER_BYTES]);
    let outcome = shrink(&header, records, out, start, &mut erase);
    let changed = outcome.unwrap_or(0);
    if changed == 0 {
        out.truncate(start);
        outcome?;
        out.extend_from_slice(frame);
        return Some(0);
    }
    let place = &mut out[start..];
    let length = u32::try_from(place.len()).ok()?;
    let crc = body_crc(&place[REWRITTEN_BYTES + HEADER_BYTES..], header.count)
        .expect("the records were just encoded");
    place[8..12].copy_from_slice(&length.to_le_bytes());
    place[12..16].copy_from_slice(&crc.to_le_bytes());
    let own = crc32c::crc32c(&place[8..REWRITTEN_BYTES + HEADER_BYTES]);
    place[4..8].copy_from_slice(&own.to_le_bytes());
    Some(changed)
}

fn shrink(
    header: &Header,
    records: &[u8],
    out: &mut Vec<u8>,
    frame_start: usize,
    erase: &mut impl FnMut(u64, &Record<'_>) -> Erase,
) -> Option<u32> {
    let mut rest = records;
    let mut changed = 0;
    for position in header.first..header.end() {
        let head = RecordHead::decode(rest)?;
        let body = rest.get(RECORD_HEAD_BYTES..head.total())?;
        rest = &rest[head.total()..];
        if !record_intact(head, position, body) {
            return None;
        }
        let record = Record::decode(body)?;
        let wanted = if record.kind.is_control() { Erase::default() } else { erase(position, &record) };
        let start = out.len();
        out.extend_from_slice(&[0; RECORD_HEAD_BYTES]);
        changed += u32::from(put_body(out, &record, wanted));
        fill_head(out, start, frame_start, position);
    }
    Some(changed)
}

/// Appends a record's body without what is destroyed; true if that is less than was there.
pub(super) fn put_body(out: &mut Vec<u8>, record: &Record<'_>, wanted: Erase) -> bool {
    let start = out.len();
    let data = wanted.data && record.data_erased.is_none();
    let metadata = wanted.metadata && !record.metadata.is_empty();
    let subject = wanted.subject.filter(|_| record.subject.is_some_and(|subject| subject.name().is_some()));
    out.extend_from_slice(record.kept);
    for (erased, bit) in
        [(data, KIND_DATA_ERASED), (metadata, KIND_METADATA_ERASED), (subject.is_some(), KIND_SUBJECT_ERASED)]
    {
        out[start] |= if erased { bit } else { 0 };
    }
    match (record.subject, subject) {
        (None, _) => {}
        (Some(Subject::Named(..)), Some(key)) => {
            out[start + 1] &= !super::record::FLAG_SUBJECT_SALT;
            out.extend_from_slice(&key);
        }
        (Some(Subject::Keyed(key)), _) => out.extend_from_slice(&key),
        (Some(Subject::Named(name, salt)), None) => {
            put_text(out, name);
            out.extend_from_slice(salt.as_ref().map_or(&[][..], |salt| &salt[..]));
        }
    }
    if record.has_metadata() {
        if metadata || record.metadata_erased.is_some() {
            out.extend_from_slice(&record.metadata_commitment());
        } else {
            out.extend_from_slice(&record.metadata_seed);
            put_varint(out, record.metadata.len() as u64);
            out.extend_from_slice(record.metadata);
        }
    }
    if data || record.data_erased.is_some() {
        out.extend_from_slice(&record.data_commitment());
    } else {
        out.extend_from_slice(&record.data_seed);
        out.extend_from_slice(record.data);
    }
    data || metadata || subject.is_some()
}
