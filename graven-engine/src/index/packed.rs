//! Posting lists as index files hold them.
//!
//! ```text
//! up to 128 postings:  count │ first │ difference …                       all LEB128
//! more than 128:       count │ block 0 │ block 1 │ … │ skip table
//!     block            the 127 (in the last one: fewer) differences that follow its first posting, LEB128
//!     skip table       for every block: first posting u32 LE, start of the block in the list u32 LE
//! ```
//! The skip table stands at the end so that a list is written front to back.

/// Postings of one block: what a seek decodes at the most.
pub(super) const BLOCK_POSTINGS: u32 = 128;
const SKIP_BYTES: usize = 8;

/// A posting list in a file.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    /// The whole list, count included.
    bytes: &'a [u8],
    /// Where the count ends.
    body: usize,
    count: u32,
}

impl<'a> Packed<'a> {
    /// The list in `bytes`; empty if they are not one.
    pub(super) fn new(bytes: &'a [u8]) -> Packed<'a> {
        let mut body = 0;
        let count = read_varint(bytes, &mut body).unwrap_or(0);
        let packed = Packed { bytes, body, count };
        if packed.skip_start().is_none_or(|start| start < body) {
            return Packed { bytes, body, count: 0 };
        }
        packed
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn blocks(&self) -> u32 {
        self.count.div_ceil(BLOCK_POSTINGS)
    }

    /// First posting of a block.
    pub(super) fn block_first(&self, block: u32) -> u32 {
        if self.blocks() <= 1 {
            let mut at = self.body;
            return read_varint(self.bytes, &mut at).unwrap_or(0);
        }
        self.skip(block).0
    }

    /// Decodes a block. What is not a list (a damaged file not yet checked) ends early.
    pub(super) fn decode(&self, block: u32, out: &mut Vec<u32>) {
        out.clear();
        let Some(before) = block.checked_mul(BLOCK_POSTINGS).filter(|&before| before < self.count) else {
            return;
        };
        let (mut posting, mut at) = if self.blocks() == 1 {
            let mut at = self.body;
            (read_varint(self.bytes, &mut at).unwrap_or(0), at)
        } else {
            let (first, start) = self.skip(block);
            (first, start as usize)
        };
        out.push(posting);
        for _ in 1..(self.count - before).min(BLOCK_POSTINGS) {
            let Some(difference) = read_varint(self.bytes, &mut at) else { return };
            posting = posting.saturating_add(difference);
            out.push(posting);
        }
    }

    fn skip_start(&self) -> Option<usize> {
        if self.blocks() <= 1 {
            return Some(self.bytes.len());
        }
        self.bytes.len().checked_sub(self.blocks() as usize * SKIP_BYTES)
    }

    fn skip(&self, block: u32) -> (u32, u32) {
        let start = self.skip_start().unwrap_or(0) + block as usize * SKIP_BYTES;
        match self.bytes.get(start..).and_then(<[u8]>::first_chunk::<SKIP_BYTES>) {
            Some(&[a, b, c, d, e, f, g, h]) => {
                (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
            }
            None => (u32::MAX, 0),
        }
    }
}

/// Appends a number in LEB128.
pub(super) fn write_varint(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_varint(bytes: &[u8], at: &mut usize) -> Option<u32> {
    let first = *bytes.get(*at)?;
    *at += 1;
    if first < 0x80 {
        return Some(u32::from(first));
    }
    let mut number = u32::from(first & 0x7f);
    for shift in [7, 14, 21, 28] {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Turns ascending postings into the bytes of a list, piece by piece.
pub(super) struct PackedWriter {
    count: u32,
    written: u32,
    last: u32,
    /// Bytes of the list handed out so far.
    bytes: u32,
    skip: Vec<u8>,
}

impl PackedWriter {
    /// Begins a list of exactly `count` postings.
    pub(super) fn begin(count: u32, out: &mut Vec<u8>) -> PackedWriter {
        let before = out.len();
        write_varint(out, count);
        PackedWriter { count, written: 0, last: 0, bytes: (out.len() - before) as u32, skip: Vec::new() }
    }

    /// Adds a posting; appends its bytes to `out`. False if the list has become too long to be addressed.
    #[must_use]
    pub(super) fn push(&mut self, posting: u32, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        let starts_block = self.written.is_multiple_of(BLOCK_POSTINGS);
        if starts_block && self.count > BLOCK_POSTINGS {
            self.skip.extend_from_slice(&posting.to_le_bytes());
            self.skip.extend_from_slice(&self.bytes.to_le_bytes());
        } else {
            write_varint(out, posting.wrapping_sub(if starts_block { 0 } else { self.last }));
        }
        self.last = posting;
        self.written += 1;
        match self.bytes.checked_add((out.len() - before) as u32) {
            Some(bytes) => self.bytes = bytes,
            None => return false,
        }
        true
    }

    /// Ends the list; false if it did not get the postings it was promised.
    #[must_use]
    pub(super) fn end(self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&self.skip);
        self.written == self.count
    }
}
