//! Segment files: a header block, then frames, then zeros written beforehand.
//!
//! A segment from which something was erased was written anew: its records stand elsewhere than the index remembers, so it
//! has a table of their places behind its last frame.

use super::frame::{self, RecordHead};
use crate::env::{DiskFile, Env, Open};
use graven_model::{Code, Error, Result};
use graven_proof::Hash;
use graven_proof::merkle::Frontier;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of a segment's header block; the first frame begins here.
pub(crate) const HEADER_BYTES: u64 = 4096;
const MAGIC: [u8; 8] = *b"GRVNSEG1";
const USED_BYTES: usize = 2200;
/// In the header block of a rewritten segment, behind what every segment says there: where its table is.
const PLACES_MAGIC: [u8; 8] = *b"GRVPLACE";
const PLACES_BYTES: usize = 28;
/// Bytes of a place in the table.
const PLACE_BYTES: u64 = 4;
/// Bytes overwritten or compared at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What stands at the head of a segment: identity, where it begins, and the tree's right edge there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) log_id: [u8; 16],
    /// Position of the first event.
    pub(crate) first: u64,
    /// When the segment was begun, microseconds.
    pub(crate) created: i64,
    /// Header checksum of the frame before.
    pub(crate) previous: u32,
    /// Commit time of the frame before.
    pub(crate) commit_time: i64,
    /// Leaf hash of the event before.
    pub(crate) last_leaf: Hash,
    /// Right edge of the tree over all events before.
    pub(crate) frontier: Frontier,
}

impl SegmentHeader {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES as usize);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&crate::store::FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.log_id);
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.created.to_le_bytes());
        out.extend_from_slice(&self.commit_time.to_le_bytes());
        out.extend_from_slice(&self.last_leaf);
        out.extend_from_slice(&self.previous.to_le_bytes());
        out.extend_from_slice(&(self.frontier.peaks().len() as u32).to_le_bytes());
        out.extend_from_slice(&[0; 56]);
        for peak in self.frontier.peaks() {
            out.extend_from_slice(peak);
        }
        out.resize(USED_BYTES, 0);
        let crc = crc32c::crc32c(&out[12..]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out.resize(HEADER_BYTES as usize, 0);
        out
    }

    /// Reads the head of a segment; `None` if it is none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<SegmentHeader> {
        let bytes = bytes.get(..USED_BYTES)?;
        if bytes[..8] != MAGIC || crc32c::crc32c(&bytes[12..]).to_le_bytes() != bytes[8..12] {
            return None;
        }
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if half(12) != crate::store::FORMAT_VERSION {
            return None;
        }
        let first = word(32);
        let count = half(92) as usize;
        let peaks = bytes[152..].as_chunks::<32>().0.iter().copied().take(count.min(64)).collect();
        Some(SegmentHeader {
            log_id: bytes[16..32].try_into().expect("sixteen bytes"),
            first,
            created: word(40).cast_signed(),
            commit_time: word(48).cast_signed(),
            last_leaf: bytes[56..88].try_into().expect("32 bytes"),
            previous: half(88),
            frontier: Frontier::from_parts(first, peaks)?,
        })
    }
}

/// Whether what stands behind a segment's header, up to its first frame, is what is written there.
pub(crate) fn rest_of_head_intact(block: &[u8]) -> bool {
    let rest = block.get(USED_BYTES..).unwrap_or_default();
    let unused = rest.get(PLACES_BYTES..).unwrap_or_default();
    Places::decode(rest).is_some() && unused.iter().all(|byte| *byte == 0)
}

/// The table of a rewritten segment: the byte of every record, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Places {
    /// Where the frames end and the table begins.
    pub(super) start: u64,
    pub(super) count: u32,
    /// CRC-32C of the table.
    pub(super) crc: u32,
}

impl Places {
    fn encode(self) -> [u8; PLACES_BYTES] {
        let mut out = [0; PLACES_BYTES];
        out[..8].copy_from_slice(&PLACES_MAGIC);
        out[8..16].copy_from_slice(&self.start.to_le_bytes());
        out[16..20].copy_from_slice(&self.count.to_le_bytes());
        out[20..24].copy_from_slice(&self.crc.to_le_bytes());
        let crc = crc32c::crc32c(&out[..24]);
        out[24..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads what stands behind a segment's header; the inner `None` for zeros: the segment is as it was written.
    fn decode(bytes: &[u8]) -> Option<Option<Places>> {
        let bytes: &[u8; PLACES_BYTES] = bytes.get(..PLACES_BYTES)?.try_into().ok()?;
        if *bytes == [0; PLACES_BYTES] {
            return Some(None);
        }
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if bytes[..8] != PLACES_MAGIC || crc32c::crc32c(&bytes[..24]) != half(24) {
            return None;
        }
        let start = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"));
        Some(Some(Places { start, count: half(16), crc: half(20) }))
    }
}

/// An open segment file.
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    places: Option<Places>,
    /// Another file has taken its name: what it held is destroyed when nobody reads it any more.
    replaced: AtomicBool,
}

impl Segment {
    /// Position of the first event.
    pub(crate) fn first(&self) -> u64 {
        self.header.first
    }

    /// Opens an existing segment and checks its header.
    pub(crate) fn open(env: &Env, path: &Path) -> Result<Segment> {
        let file = env.disk.open(path, Open::Write).map_err(|error| Error::io(path.display(), &error))?;
        let mut block = vec![0; HEADER_BYTES as usize];
        let read = file.read_at(&mut block, 0).map_err(|error| Error::io(path.display(), &error))?;
        let header = SegmentHeader::decode(&block[..read]).ok_or_else(|| {
            Error::new(Code::Corrupted, format!("{}: the segment header is damaged", path.display()))
                .expected(format!("a graven segment of format {}", crate::store::FORMAT_VERSION))
        })?;
        let segment = Segment {
            header,
            path: path.to_owned(),
            file,
            places: Places::decode(&block[USED_BYTES..read.max(USED_BYTES)]).ok_or_else(|| {
                Error::new(Code::Corrupted, format!("{}: the segment header is damaged", path.display()))
            })?,
            replaced: AtomicBool::new(false),
        };
        segment.check_places()?;
        Ok(segment)
    }

    /// Bytes read at once from a segment's table of places, a whole number of them.
    pub(super) const PLACES_CHUNK: usize = 1024;

    /// Where the record of a position stands, by the table of a rewritten segment; `None` if the index knows it.
    ///
    /// # Errors
    /// [`Code::Corrupted`] if the table does not reach so far; those of the disk.
    pub(crate) fn place(&self, position: u64) -> Result<Option<u64>> {
        let Some(chunk) = self.places_from(position)? else { return Ok(None) };
        Ok(chunk.first().map(|place| u64::from(*place)))
    }

    /// The places of the records from a position on, some of them; `None` if the index knows them.
    ///
    /// # Errors
    /// As [`Segment::place`].
    pub(super) fn places_from(&self, position: u64) -> Result<Option<Vec<u32>>> {
        let Some(places) = self.places else { return Ok(None) };
        let index = position.saturating_sub(self.first());
        let wanted = u64::from(places.count).saturating_sub(index).min(Self::PLACES_CHUNK as u64);
        let mut bytes = vec![0; (wanted * PLACE_BYTES) as usize];
        let read = self.read(&mut bytes, places.start + index * PLACE_BYTES)?;
        if wanted == 0 || read < bytes.len() {
            return Err(super::reader::damaged(self, places.start, "the table of places is cut off"));
        }
        Ok(Some(bytes.as_chunks::<4>().0.iter().map(|place| u32::from_le_bytes(*place)).collect()))
    }

    /// Where the frame that begins with a position stands, by the table of a rewritten segment.
    ///
    /// # Errors
    /// As [`Segment::place`].
    pub(super) fn frame_place(&self, position: u64) -> Result<Option<u64>> {
        let Some(place) = self.place(position)? else { return Ok(None) };
        let mut head = [0; frame::RECORD_HEAD_BYTES];
        let read = self.read(&mut head, place)?;
        RecordHead::decode(&head[..read])
            .and_then(|head| place.checked_sub(head.back.into()))
            .map(Some)
            .ok_or_else(|| super::reader::damaged(self, place, "the record is cut off"))
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        (self.file.read_at(bytes, offset))
            .map_err(|error| Error::io(format_args!("{} at byte {offset}", self.path.display()), &error))
    }

    /// Compares the table of a rewritten segment with its checksum.
    fn check_places(&self) -> Result<()> {
        let Some(places) = self.places else { return Ok(()) };
        let damaged = || super::reader::damaged(self, places.start, "the table of places is damaged");
        let end = (u64::from(places.count) * PLACE_BYTES).checked_add(places.start).ok_or_else(damaged)?;
        let (mut at, mut crc) = (places.start, 0);
        let mut chunk = vec![0; CHUNK_BYTES];
        while at < end {
            let wanted = (end - at).min(CHUNK_BYTES as u64) as usize;
            let read = self.read(&mut chunk[..wanted], at)?;
            if read < wanted {
                return Err(damaged());
            }
            crc = crc32c::crc32c_append(crc, &chunk[..read]);
            at += read as u64;
        }
        if crc == places.crc { Ok(()) } else { Err(damaged()) }
    }

    /// Another file has taken this one's name. Whoever reads this one still reads it; then what it holds is overwritten.
    pub(super) fn was_replaced(&self) {
        self.replaced.store(true, Ordering::Release);
    }

    /// Turns a file of frames and their places into the segment that takes another one's name: header, sync, rename, sync
    /// of the directory.
    pub(super) fn replace(
        env: &Env,
        new: &Path,
        old: &Segment,
        places: Places,
        file: Arc<dyn DiskFile>,
    ) -> std::io::Result<Segment> {
        let mut block = old.header.encode();
        block[USED_BYTES..USED_BYTES + PLACES_BYTES].copy_from_slice(&places.encode());
        file.write_at(&block, 0)?;
        file.sync_data()?;
        env.disk.rename(new, &old.path)?;
        env.disk.sync_dir(old.path.parent().unwrap_or(Path::new(".")))?;
        Ok(Segment {
            header: old.header.clone(),
            path: old.path.clone(),
            file,
            places: Some(places),
            replaced: AtomicBool::new(false),
        })
    }

    /// Turns a pre-written file into a segment: header, sync, rename, sync of the directory.
    pub(crate) fn activate(
        env: &Env,
        spare: &Path,
        path: &Path,
        header: SegmentHeader,
    ) -> std::io::Result<Segment> {
        let file = env.disk.open(spare, Open::Write)?;
        file.write_at(&header.encode(), 0)?;
        file.sync_data()?;
        env.disk.rename(spare, path)?;
        env.disk.sync_dir(path.parent().unwrap_or(Path::new(".")))?;
        Ok(Segment { header, path: path.to_owned(), file, places: None, replaced: AtomicBool::new(false) })
    }
}

impl Drop for Segment {
    /// The file system forgets a file that was replaced, not what stood in it. Overwriting is all that can be done from
    /// here, and only as good as the disk: a failure is logged and forgotten.
    fn drop(&mut self) {
        if *self.replaced.get_mut()
            && let Err(error) = overwrite(&*self.file)
        {
            tracing::debug!(%error, path = %self.path.display(), "the bytes of a replaced segment cannot be overwritten");
        }
    }
}

fn overwrite(file: &dyn DiskFile) -> std::io::Result<()> {
    let len = file.len()?;
    let zeros = vec![0; CHUNK_BYTES];
    for at in (0..len).step_by(CHUNK_BYTES) {
        file.write_at(&zeros[..zeros.len().min((len - at) as usize)], at)?;
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_header_reads_back_what_it_was() {
        let mut frontier = Frontier::default();
        for leaf in 0..77u8 {
            frontier.push([leaf; 32]);
        }
        let header = SegmentHeader {
            log_id: [7; 16],
            first: 77,
            created: -5,
            previous: 99,
            commit_time: 1234,
            last_leaf: [3; 32],
            frontier,
        };
        let bytes = header.encode();
        assert_eq!(bytes.len() as u64, HEADER_BYTES);
        assert_eq!(SegmentHeader::decode(&bytes).unwrap(), header);
        for at in 0..USED_BYTES {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(SegmentHeader::decode(&flipped).is_none(), "byte {at}");
        }
    }

    #[test]
    fn where_the_table_is_reads_back_and_no_flipped_bit_passes() {
        let places = Places { start: 5_000, count: 7, crc: 9 };
        let bytes = places.encode();
        assert_eq!(Places::decode(&bytes), Some(Some(places)));
        assert_eq!(Places::decode(&[0; 100]), Some(None));
        assert_eq!(Places::decode(&[0; 27]), None);
        for at in 0..PLACES_BYTES * 8 {
            let mut flipped = bytes;
            flipped[at / 8] ^= 1 << (at % 8);
            assert_eq!(Places::decode(&flipped), None, "bit {at}");
        }
    }
}
