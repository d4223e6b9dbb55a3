//! Bytes of a file in copy-on-write chunks, so that forks, syncs and zero-filled segments cost next to nothing.

use std::sync::Arc;

/// Bytes a chunk: the unit of allocation.
pub(super) const CHUNK_BYTES: usize = 4096;

/// Bytes a sector: the unit a power loss keeps or drops.
pub(super) const SECTOR_BYTES: usize = 512;

#[derive(Clone)]
enum Chunk {
    /// Never written: takes no space, reads as zeros.
    Hole,
    /// Written with zeros.
    Zeros,
    /// Written.
    Data(Arc<[u8; CHUNK_BYTES]>),
}

/// The bytes of a file.
#[derive(Clone, Default)]
pub(super) struct Content {
    len: u64,
    chunks: Vec<Chunk>,
}

/// One change to a file since its last sync.
#[derive(Clone)]
pub(super) enum Change {
    Zeros { offset: u64, len: u64 },
    Write { offset: u64, bytes: Arc<[u8]> },
    SetLen(u64),
}

impl Change {
    pub(super) fn write(bytes: &[u8], offset: u64) -> Change {
        if is_zero(bytes) {
            Change::Zeros { offset, len: bytes.len() as u64 }
        } else {
            Change::Write { offset, bytes: bytes.into() }
        }
    }

    /// Length of the file after the change, if it was `len` before.
    pub(super) fn len_after(&self, len: u64) -> u64 {
        match self {
            Change::Zeros { offset, len: written } => len.max(offset + written),
            Change::Write { offset, bytes } => len.max(offset + bytes.len() as u64),
            Change::SetLen(len) => *len,
        }
    }

    /// First byte and the byte after the last that the change touches in a file of `len` bytes.
    pub(super) fn range(&self, len: u64) -> (u64, u64) {
        match self {
            Change::Zeros { offset, len } => (*offset, offset + len),
            Change::Write { offset, bytes } => (*offset, offset + bytes.len() as u64),
            Change::SetLen(cut) => (*cut, len.max(*cut)),
        }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];
    bytes.chunks(CHUNK_BYTES).all(|part| *part == ZEROS[..part.len()])
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of disk taken.
    pub(super) fn allocated_bytes(&self) -> u64 {
        let taken = self.chunks.iter().filter(|chunk| !matches!(chunk, Chunk::Hole)).count();
        (taken * CHUNK_BYTES) as u64
    }

    /// Bytes of disk that writing `len` bytes at `offset` would take anew.
    pub(super) fn growth_bytes(&self, offset: u64, len: u64) -> u64 {
        if len == 0 {
            return 0;
        }
        let chunk = CHUNK_BYTES as u64;
        let wanted = offset / chunk..=(offset + len - 1) / chunk;
        let held = |index: &u64| !matches!(self.chunks.get(*index as usize), None | Some(Chunk::Hole));
        wanted.filter(|index| !held(index)).count() as u64 * chunk
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let end = self.len.min(offset.saturating_add(buffer.len() as u64));
        let mut at = offset;
        while at < end {
            let (index, within) = locate(at);
            let part = (CHUNK_BYTES - within).min((end - at) as usize);
            let into = (at - offset) as usize;
            let into = &mut buffer[into..into + part];
            match self.chunks.get(index) {
                Some(Chunk::Data(data)) => into.copy_from_slice(&data[within..within + part]),
                _ => into.fill(0),
            }
            at += part as u64;
        }
        end.saturating_sub(offset) as usize
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        self.read(&mut bytes, 0);
        bytes
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Zeros { offset, len } => self.zero(*offset, *len),
            Change::Write { offset, bytes } => self.write(bytes, *offset),
            Change::SetLen(len) => self.set_len(*len),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        let end = offset + bytes.len() as u64;
        self.reach(end);
        let mut at = offset;
        while at < end {
            let (index, within) = locate(at);
            let part = (CHUNK_BYTES - within).min((end - at) as usize);
            let from = (at - offset) as usize;
            self.data(index)[within..within + part].copy_from_slice(&bytes[from..from + part]);
            at += part as u64;
        }
    }

    fn zero(&mut self, offset: u64, len: u64) {
        let end = offset + len;
        self.reach(end);
        let mut at = offset;
        while at < end {
            let (index, within) = locate(at);
            let part = (CHUNK_BYTES - within).min((end - at) as usize);
            match &self.chunks[index] {
                Chunk::Data(_) if part < CHUNK_BYTES => self.data(index)[within..within + part].fill(0),
                _ => self.chunks[index] = Chunk::Zeros,
            }
            at += part as u64;
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let (index, within) = locate(len);
            self.chunks.truncate(index + usize::from(within > 0));
            if within > 0 && matches!(self.chunks.get(index), Some(Chunk::Data(_))) {
                self.data(index)[within..].fill(0);
            }
        }
        self.reach(len);
        self.len = len;
    }

    fn reach(&mut self, end: u64) {
        let chunks = end.div_ceil(CHUNK_BYTES as u64) as usize;
        if self.chunks.len() < chunks {
            self.chunks.resize(chunks, Chunk::Hole);
        }
        self.len = self.len.max(end);
    }

    fn data(&mut self, index: usize) -> &mut [u8; CHUNK_BYTES] {
        let chunk = &mut self.chunks[index];
        if !matches!(chunk, Chunk::Data(_)) {
            *chunk = Chunk::Data(Arc::new([0; CHUNK_BYTES]));
        }
        match chunk {
            Chunk::Data(data) => Arc::make_mut(data),
            _ => unreachable!("it was made data just above"),
        }
    }
}

fn locate(offset: u64) -> (usize, usize) {
    let chunk = CHUNK_BYTES as u64;
    ((offset / chunk) as usize, (offset % chunk) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    #[test]
    fn a_content_is_a_plain_vector_of_bytes() {
        for seed in 0..50 {
            let mut dice = Dice::new(seed);
            let (mut content, mut plain) = (Content::default(), Vec::<u8>::new());
            for _ in 0..40 {
                let offset = dice.below(20_000);
                let change = match dice.below(4) {
                    0 => Change::SetLen(offset),
                    1 => Change::write(&vec![0; dice.index(9_000)], offset),
                    _ => Change::write(
                        &(0..dice.index(9_000)).map(|_| dice.number() as u8).collect::<Vec<_>>(),
                        offset,
                    ),
                };
                let len = change.len_after(plain.len() as u64) as usize;
                plain.resize(len, 0);
                match &change {
                    Change::Zeros { offset, len } => plain[*offset as usize..(offset + len) as usize].fill(0),
                    Change::Write { offset, bytes } => {
                        plain[*offset as usize..][..bytes.len()].copy_from_slice(bytes)
                    }
                    Change::SetLen(_) => {}
                }
                content.apply(&change);
                assert_eq!(content.len(), plain.len() as u64, "seed {seed}");
                assert!(content.to_vec() == plain, "seed {seed}");
            }
        }
    }

    #[test]
    fn only_what_was_written_takes_space() {
        let mut content = Content::default();
        content.set_len(1 << 20);
        assert_eq!((content.len(), content.allocated_bytes()), (1 << 20, 0));
        assert_eq!(content.growth_bytes(4_000, 200), 8_192);
        content.write(&[1; 200], 4_000);
        assert_eq!((content.allocated_bytes(), content.growth_bytes(4_000, 200)), (8_192, 0));
    }
}
