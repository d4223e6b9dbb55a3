//! Segment files: a header block, then frames, then zeros written beforehand.

use crate::env::{DiskFile, Env, Open};
use graven_model::{Code, Error, Result};
use graven_proof::Hash;
use graven_proof::merkle::Frontier;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a segment's header block; the first frame begins here.
pub(crate) const HEADER_BYTES: u64 = 4096;
const MAGIC: [u8; 8] = *b"GRVNSEG1";
const USED_BYTES: usize = 2200;

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

    fn decode(bytes: &[u8]) -> Option<SegmentHeader> {
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

/// An open segment file.
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
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
        Ok(Segment { header, path: path.to_owned(), file })
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
        Ok(Segment { header, path: path.to_owned(), file })
    }
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
}
