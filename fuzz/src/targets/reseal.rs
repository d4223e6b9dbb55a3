//! Checksums made to hold again, so that mutations reach what stands behind them. Written from `docs/format.md`, and
//! on purpose not with the engine's own code.

/// Bytes of a segment's header block.
pub(super) const SEGMENT_HEADER_BYTES: usize = 4096;
const SEGMENT_HEADER_CHECKED: std::ops::Range<usize> = 12..2200;
const FRAME_MAGIC: &[u8] = b"GFR1";
const FRAME_HEADER_BYTES: usize = 84;
/// A frame something was erased from: this, and in all 16 bytes before the header it was written with.
const REWRITTEN_MAGIC: &[u8] = b"GFS1";
const REWRITTEN_BYTES: usize = 16;
const RECORD_HEAD_BYTES: usize = 12;

/// Makes the checksums of a segment file hold, as far as its bytes have the shape of one.
pub(super) fn reseal(segment: &mut [u8]) {
    if segment.len() < SEGMENT_HEADER_BYTES {
        return;
    }
    let (header, frames) = segment.split_at_mut(SEGMENT_HEADER_BYTES);
    put(header, 8, crc32c::crc32c(&header[SEGMENT_HEADER_CHECKED]));
    let mut previous = None;
    let mut at = 0;
    while let Some(frame) = frames.get_mut(at..) {
        if frame.starts_with(REWRITTEN_MAGIC) && frame.len() >= REWRITTEN_BYTES + FRAME_HEADER_BYTES {
            let length = (number(frame, 8) as usize).clamp(REWRITTEN_BYTES + FRAME_HEADER_BYTES, frame.len());
            put(frame, 8, length as u32);
            previous = Some(reseal_rewritten(&mut frame[..length], previous));
            at += length;
            continue;
        }
        if !frame.starts_with(FRAME_MAGIC) || frame.len() < FRAME_HEADER_BYTES {
            return;
        }
        let length = (number(frame, 8) as usize).clamp(FRAME_HEADER_BYTES, frame.len());
        put(frame, 8, length as u32);
        previous = Some(reseal_frame(&mut frame[..length], previous));
        at += length;
    }
}

/// Returns the checksum of the header it was written with, which the next one repeats.
fn reseal_rewritten(frame: &mut [u8], previous: Option<u32>) -> u32 {
    let (header, records) = frame.split_at_mut(REWRITTEN_BYTES + FRAME_HEADER_BYTES);
    let (body, count) = reseal_records(&header[REWRITTEN_BYTES..], records);
    put(header, 12, body);
    put(header, REWRITTEN_BYTES + 44, count);
    if let Some(previous) = previous {
        put(header, REWRITTEN_BYTES + 16, previous);
    }
    let kept = crc32c::crc32c(&header[REWRITTEN_BYTES + 8..]);
    put(header, REWRITTEN_BYTES + 4, kept);
    let crc = crc32c::crc32c(&header[8..]);
    put(header, 4, crc);
    kept
}

/// Returns the checksum of the header, which the next one repeats.
fn reseal_frame(frame: &mut [u8], previous: Option<u32>) -> u32 {
    let (header, records) = frame.split_at_mut(FRAME_HEADER_BYTES);
    let (body, count) = reseal_records(header, records);
    put(header, 12, body);
    put(header, 44, count);
    if let Some(previous) = previous {
        put(header, 16, previous);
    }
    let crc = crc32c::crc32c(&header[8..]);
    put(header, 4, crc);
    crc
}

/// Returns the checksum of the records' heads, and how many there are.
fn reseal_records(header: &[u8], mut records: &mut [u8]) -> (u32, u32) {
    let first = u64::from(number(header, 28)) | u64::from(number(header, 32)) << 32;
    let mut body = 0;
    let mut count = 0;
    while records.len() >= RECORD_HEAD_BYTES {
        let length = (number(records, 0) as usize).min(records.len() - RECORD_HEAD_BYTES);
        let (record, rest) = records.split_at_mut(RECORD_HEAD_BYTES + length);
        put(record, 0, length as u32);
        let crc = crc32c::crc32c(&first.wrapping_add(count).to_le_bytes());
        put(record, 4, crc32c::crc32c_append(crc, &record[8..]));
        body = crc32c::crc32c_append(body, &record[..8]);
        count += 1;
        records = rest;
    }
    (body, count as u32)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn put(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}
