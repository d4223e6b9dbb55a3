//! Following the frames of a log, front to back, past whatever cannot be read.

use super::check::Checker;
use super::scan::{self, Head, Input};
use crate::append::log_tag;
use crate::log::frame::{HEADER_BYTES_MAX, Header};
use crate::log::segment::{self, SegmentHeader};
use crate::store::open::Identity;
use graven_model::Result;
use graven_proof::finding::{Finding, FindingCode};
use std::ops::Range;
use std::path::Path;

/// How far the frames were followed.
pub(super) struct Cursor {
    pub(super) position: u64,
    /// Header checksum of the frame before, if it is known.
    pub(super) previous: Option<u32>,
    pub(super) bytes: u64,
    pub(super) told: u64,
}

/// Follows the frames of one segment file. `next`: first position of the one behind it.
#[expect(clippy::too_many_arguments, reason = "one call site; the parts of a walk are borrowed apart")]
pub(super) fn segment_file(
    identity: &Identity,
    input: &mut Input<'_>,
    next: Option<u64>,
    to: u64,
    head: Option<u64>,
    cursor: &mut Cursor,
    checker: &mut Checker<'_>,
    tell: &mut dyn FnMut(&mut Cursor, &Checker<'_>, u64) -> Result<()>,
) -> Result<()> {
    let tag = log_tag(identity.log_id.0);
    let piece = input.piece;
    let first = piece.first;
    if first > cursor.position {
        missing(
            checker,
            cursor.position..first,
            &format!("a segment that begins at {first}"),
            scan::place(piece, 0),
        )?;
        (cursor.position, cursor.previous) = (first, None);
    }
    let head_place = || scan::place(piece, 0);
    let block = input.bytes(0, segment::HEADER_BYTES as usize)?;
    let header = SegmentHeader::decode(block).filter(|_| segment::rest_of_head_intact(block));
    match header {
        Some(header) if header.log_id == identity.log_id.0 && header.first == first => {
            if first == cursor.position && first > 0 {
                checker.segment(&header, cursor.previous, &head_place);
            }
        }
        Some(header) => {
            let (expected, actual) = match header.log_id == identity.log_id.0 {
                true => (
                    format!("the segment that begins at {first}"),
                    format!("one that begins at {}", header.first),
                ),
                false => ("a segment of this log".into(), "one of another log".into()),
            };
            let finding = Finding::new(FindingCode::PositionMismatch, expected, actual);
            checker.report.add(finding.at(first).shown_by(head_place()));
        }
        None => {
            let finding = Finding::new(
                FindingCode::RootMismatch,
                "the head of a segment",
                "damaged bytes; a checksum does not hold",
            );
            checker.report.add(finding.at(first).shown_by(head_place()));
        }
    }
    let mut offset = segment::HEADER_BYTES;
    while cursor.position < to && next != Some(cursor.position) {
        let position = cursor.position;
        let bytes = input.bytes(offset, HEADER_BYTES_MAX)?;
        let (header, change) = match scan::head(bytes, offset, tag, position) {
            Head::Here(header, change) if offset + u64::from(header.length) <= input.len => (header, change),
            Head::Elsewhere(header) => {
                let place = scan::place(piece, offset);
                if header.first > position && next.is_none_or(|next| header.first <= next) {
                    let found = format!("a frame of position {}", header.first);
                    missing(checker, position..header.first, &found, place)?;
                    (cursor.position, cursor.previous) = (header.first, None);
                } else {
                    let finding = Finding::new(
                        FindingCode::PositionMismatch,
                        format!("a frame of position {position}"),
                        format!("one of position {}", header.first),
                    );
                    checker.report.add(finding.at(position).shown_by(place));
                    offset += u64::from(header.length);
                }
                continue;
            }
            _ => {
                let ahead = input.look_ahead(offset, tag, position)?;
                let place = scan::place(piece, offset);
                // What only its own batch follows was never acknowledged: a crash tore it.
                let torn = next.is_none() && head.is_none() && !ahead.durable;
                if torn {
                    if ahead.used > 0 {
                        checker.report.note(format!(
                            "{place}: {} bytes of a torn append that was never acknowledged",
                            ahead.used
                        ));
                    }
                    return Ok(());
                }
                let until = ahead.next.map(|(_, first)| first).or(next).or(head).unwrap_or(position);
                let what = match ahead.used {
                    0 => "nothing but zeros".to_owned(),
                    _ => "bytes that are no frame".to_owned(),
                };
                let finding = Finding::new(
                    FindingCode::LeafMalformed,
                    format!("the events from position {position} to {}", until.max(position + 1) - 1),
                    what,
                );
                checker.report.add(finding.at(position).shown_by(place));
                checker.lose(position..until)?;
                (cursor.position, cursor.previous) = (until, None);
                match ahead.next {
                    Some((next_offset, _)) => offset = next_offset,
                    None => return Ok(()),
                }
                continue;
            }
        };
        let frame_at = offset;
        let place = || scan::place(piece, frame_at);
        if cursor.previous.is_some_and(|previous| previous != header.previous) {
            let finding = Finding::new(
                FindingCode::PrevGlobalMismatch,
                "a frame that names the one before it by its checksum",
                "one that names another",
            );
            checker.report.add(finding.at(position).shown_by(place()));
        }
        checker.frame(&header, change, &place);
        let bytes = input.bytes(offset, header.length as usize)?;
        let Some(covered) = records(checker, &header, bytes, offset, to, &piece.path)? else {
            cursor.position = to;
            return Ok(());
        };
        checker.frame_end(&header, covered, &place);
        offset += u64::from(header.length);
        (cursor.position, cursor.previous) = (header.end(), Some(header.crc));
        let read = input.read;
        tell(cursor, checker, read)?;
    }
    Ok(())
}

/// Checks the records of a frame below `to`; false if the frame's checksum does not cover them, `None` if there are more.
fn records(
    checker: &mut Checker<'_>,
    header: &Header,
    bytes: &[u8],
    offset: u64,
    to: u64,
    path: &Path,
) -> Result<Option<bool>> {
    let mut at = header.header_bytes();
    let mut crc = 0;
    for position in header.first..header.end() {
        if position >= to {
            return Ok(None);
        }
        let place = || format!("{} at byte {}", path.display(), offset + at as u64);
        let Some(found) = scan::record(bytes, at, header, position, offset) else {
            let finding = Finding::new(
                FindingCode::LeafMalformed,
                "an event",
                "bytes that are none; where the next one begins is not known",
            );
            checker.report.add(finding.at(position).shown_by(place()));
            checker.lose(position..header.end())?;
            return Ok(Some(true));
        };
        checker.record(position, header, &found.body, found.change.as_ref(), &place)?;
        crc = crc32c::crc32c_append(crc, &found.heads);
        at += found.total;
    }
    Ok(Some(at == bytes.len() && crc == header.body_crc))
}

/// Reports that positions are missing.
fn missing(checker: &mut Checker<'_>, positions: Range<u64>, found: &str, place: String) -> Result<()> {
    let finding = Finding::new(
        FindingCode::PositionMismatch,
        format!("the event at position {}", positions.start),
        found.to_owned(),
    );
    checker.report.add(finding.at(positions.start).shown_by(place));
    checker.lose(positions)
}
