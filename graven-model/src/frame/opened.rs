//! Opened frames: what a reader who may see sealed payloads gets of a stored frame that has some. They look like rewritten
//! frames, under a magic of their own: nobody takes one for what the log holds.

use super::record::{KIND_SEALED, fill_head};
use super::rewrite::put_body;
use super::{
    Erase, HEADER_BYTES, Header, RECORD_HEAD_BYTES, REWRITTEN_BYTES, Record, RecordHead, body_crc,
    record_intact,
};
use crate::error::{Code, Error, Result};

/// First four bytes of an opened frame.
pub const OPENED_MAGIC: u32 = u32::from_le_bytes(*b"GFO1");

/// What is shown of a sealed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown<'a> {
    /// What was sealed.
    Open {
        /// The data; nothing where it was erased.
        data: &'a [u8],
        /// The metadata; nothing where there is none, or where it was erased.
        metadata: &'a [u8],
    },
    /// Nothing: it is shown as erased.
    Gone,
}

/// Whether a whole frame, which begins with this header, has sealed records. Looks at one byte of each and compares no checksum.
#[must_use]
pub fn has_sealed(header: &Header, frame: &[u8]) -> bool {
    let mut at = header.header_bytes();
    for _ in 0..header.count {
        let Some(head) = frame.get(at..).and_then(RecordHead::decode) else { return false };
        if frame.get(at + RECORD_HEAD_BYTES).is_some_and(|kind| kind & KIND_SEALED != 0) {
            return true;
        }
        at += head.total();
    }
    false
}

/// Appends to `out` what a reader sees of a whole frame. `show` says of every sealed record what was sealed: it calls its last
/// argument with it, once.
///
/// # Errors
/// [`Code::Corrupted`] if the bytes are not one whole, intact frame; those of `show`. `out` is then of no use.
pub fn open(
    frame: &[u8],
    out: &mut Vec<u8>,
    mut show: impl FnMut(u64, &Record<'_>, &mut dyn FnMut(Shown<'_>)) -> Result<()>,
) -> Result<()> {
    let damaged = || Error::new(Code::Corrupted, "a frame is damaged or cut off");
    let header =
        Header::decode(frame).filter(|header| header.length as usize == frame.len()).ok_or_else(damaged)?;
    let records = &frame[header.header_bytes()..];
    let start = out.len();
    out.extend_from_slice(&OPENED_MAGIC.to_le_bytes());
    out.extend_from_slice(&[0; REWRITTEN_BYTES - 4]);
    let written = frame.len() - records.len() - HEADER_BYTES;
    out.extend_from_slice(&frame[written..written + HEADER_BYTES]);
    let mut rest = records;
    for position in header.first..header.end() {
        let head = RecordHead::decode(rest).ok_or_else(damaged)?;
        let body = rest.get(RECORD_HEAD_BYTES..head.total()).ok_or_else(damaged)?;
        rest = &rest[head.total()..];
        let record =
            Record::decode(body).filter(|_| record_intact(head, position, body)).ok_or_else(damaged)?;
        let at = out.len();
        out.extend_from_slice(&[0; RECORD_HEAD_BYTES]);
        if record.sealed {
            show(position, &record, &mut |shown| put_shown(out, &record, shown))?;
        } else {
            out.extend_from_slice(body);
        }
        fill_head(out, at, start, position);
    }
    let place = &mut out[start..];
    let length = u32::try_from(place.len()).map_err(|_| damaged())?;
    let crc = body_crc(&place[REWRITTEN_BYTES + HEADER_BYTES..], header.count).ok_or_else(damaged)?;
    place[8..12].copy_from_slice(&length.to_le_bytes());
    place[12..16].copy_from_slice(&crc.to_le_bytes());
    let own = checksum(&place[8..REWRITTEN_BYTES + HEADER_BYTES]);
    place[4..8].copy_from_slice(&own.to_le_bytes());
    Ok(())
}

fn put_shown(out: &mut Vec<u8>, record: &Record<'_>, shown: Shown<'_>) {
    let start = out.len();
    let erase = Erase { data: shown == Shown::Gone, metadata: shown == Shown::Gone, subject: None };
    match shown {
        Shown::Gone => put_body(out, record, erase),
        // The seeds belong to what is stored.
        Shown::Open { data, metadata } => {
            let mut open: Record<'_> = record.clone();
            (open.data, open.metadata) = (data, metadata);
            (open.data_seed, open.metadata_seed) = ([0; 16], [0; 16]);
            put_body(out, &open, erase)
        }
    };
    out[start] &= !KIND_SEALED;
}

/// Of an opened frame's header, behind magic and checksum. The magic is in it: no other frame becomes an opened one, or the
/// other way round, by a changed bit.
pub(super) fn checksum(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&OPENED_MAGIC.to_le_bytes()), header)
}
