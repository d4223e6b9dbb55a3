//! Stored frames: verbatim, or opened for readers.

use crate::append::Shared;
use crate::audit::Unsealed;
use crate::log::frame::{self, Header};
use crate::log::reader::{Reader, damaged};
use bytes::{Bytes, BytesMut};
use graven_model::frame::Shown;
use graven_model::{Error, Frames, Position, Result, limits};

/// As [`read_frames`], but frames with sealed records are opened. Those without are handed on as they lie there.
///
/// # Errors
/// As [`read_frames`]; [`graven_model::Code::Corrupted`] with the position if what was sealed does not open.
pub(crate) fn read_opened_frames(shared: &Shared, from: u64, bytes_max: usize) -> Result<Frames> {
    let mut sealed = Vec::new();
    let stored = each_frame(shared, from, bytes_max, |header, frame, at| {
        if frame::has_sealed(header, frame) {
            sealed.push(at..at + frame.len());
        }
    })?;
    if sealed.is_empty() {
        return Ok(stored);
    }
    let keys = &shared.sources.subjects;
    let mut out = Vec::with_capacity(stored.bytes.len());
    let mut done = 0;
    for range in sealed {
        out.extend_from_slice(&stored.bytes[done..range.start]);
        done = range.end;
        let frame = &stored.bytes[range];
        frame::open(frame, &mut out, |position, record, show| {
            match keys.unseal(record, position)? {
                Unsealed::Gone => show(Shown::Gone),
                Unsealed::Open { plain, data } => {
                    show(Shown::Open { data: &plain[..data], metadata: &plain[data..] });
                }
            }
            Ok(())
        })?;
    }
    out.extend_from_slice(&stored.bytes[done..]);
    Ok(Frames { bytes: out.into(), ..stored })
}

/// Whole frames from the one that holds `from` on, from one segment, about `bytes_max` in all.
///
/// # Errors
/// [`graven_model::Code::Corrupted`] if a frame header is damaged; [`graven_model::Code::Io`].
pub(crate) fn read_frames(shared: &Shared, from: u64, bytes_max: usize) -> Result<Frames> {
    each_frame(shared, from, bytes_max, |_, _, _| ())
}

/// As [`read_frames`]; each frame is looked at, with the byte it begins at in the answer.
fn each_frame(
    shared: &Shared,
    from: u64,
    bytes_max: usize,
    mut look: impl FnMut(&Header, &[u8], usize),
) -> Result<Frames> {
    let head = shared.head();
    let none = |at: u64| Frames {
        bytes: Bytes::new(),
        first: Position(at),
        next: Position(at),
        head: Position(head),
    };
    if from >= head {
        return Ok(none(from));
    }
    let sources = &shared.sources;
    let mut reader = Reader::new(&sources.log);
    let fetched = reader.fetch(from, sources.offset(from)?)?;
    let (start, first) = reader.frame().expect("a record was just read from its frame");
    let segment = fetched.segment();
    let failed =
        |error: std::io::Error| Error::io(format_args!("{} at byte {start}", segment.path.display()), &error);
    let wanted = bytes_max.clamp(first.length as usize, limits::PAGE_BYTES_MAX.max(first.length as usize));
    let mut buffer = BytesMut::zeroed(wanted);
    let read = segment.file.read_at(&mut buffer, start).map_err(failed)?;
    buffer.truncate(read);
    let bytes = buffer.freeze();
    let (mut end, mut next) = (0, first.first);
    while next < head {
        let Some(rest) = bytes.get(end..).filter(|rest| rest.len() >= frame::HEADER_BYTES) else { break };
        // The rest of the segment after its last frame is no frame: the next position is in the next segment.
        if end > 0 && sources.log.segment_of(next).is_none_or(|holder| holder.first() != segment.first()) {
            break;
        }
        let header = Header::decode(rest)
            .filter(|header| header.first == next)
            .ok_or_else(|| damaged(segment, start + end as u64, "the frame header is damaged"))?;
        let Some(frame) = rest.get(..header.length as usize) else { break };
        look(&header, frame, end);
        end += header.length as usize;
        next = header.end();
    }
    if end == 0 {
        return Err(damaged(segment, start, "the frame is cut off"));
    }
    Ok(Frames {
        bytes: bytes.slice(..end),
        first: Position(first.first),
        next: Position(next),
        head: Position(head),
    })
}
