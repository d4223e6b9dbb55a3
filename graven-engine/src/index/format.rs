//! Frame of an index file: header, sections, footer. All numbers are little endian.
//!
//! ```text
//! header    64 bytes   "GRVINDEX" │ version u32 │ zeros
//! sections             each followed by zeros up to a multiple of 64 bytes, in the order of `Kind`
//! footer               "GRVINDEX" │ version u32 │ level u32 │ base u64 │ end u64
//!                      for every section: start u64 │ bytes u64 │ CRC-32C u32 (of the bytes and the zeros)
//!                      CRC-32C u32 of the footer up to here
//! ```
//! `base` is the position of the first event, `end` that after the last. Positions in sections are relative to
//! `base`. Level 0 was written from memory, level n + 1 merged from eight of level n.
//!
//! | section | content |
//! | --- | --- |
//! | offsets | for every event the offset of its record in its segment, u32 |
//! | id keys, id positions, id bloom | u64 ascending and beside it u32; filter over the upper 40 bits |
//! | stream keys, first revisions, starts, bloom, postings | u64 ascending; u64; u32 index of the first posting, top bit set if revisions are not consecutive, one more than keys; filter; u32 |
//! | keys, starts, bloom, lists of types, categories, tags, tombstones, births | u64 ascending; u32 start in the lists, one more than keys; filter; see `packed` |
//! | trailer | opaque, from the writer of the log |

use super::memory::Terms;

/// Bytes before the first section.
pub(super) const HEADER_BYTES: u64 = 64;
/// Bytes of the footer.
pub(super) const FOOTER_BYTES: usize = 32 + KINDS * 20 + 4;
/// Sections begin at multiples of this.
pub(super) const ALIGN_BYTES: u64 = 64;
const KINDS: usize = 9 + 4 * Terms::ALL.len() + 1;
const MAGIC: &[u8; 8] = b"GRVINDEX";
const VERSION: u32 = 1;

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Offsets,
    IdKeys,
    IdPositions,
    IdBloom,
    StreamKeys,
    StreamRevisions,
    StreamStarts,
    StreamBloom,
    StreamPostings,
    TermKeys(Terms),
    TermStarts(Terms),
    TermBloom(Terms),
    TermLists(Terms),
    Trailer,
}

impl Kind {
    pub(super) fn number(self) -> usize {
        match self {
            Kind::Offsets => 0,
            Kind::IdKeys => 1,
            Kind::IdPositions => 2,
            Kind::IdBloom => 3,
            Kind::StreamKeys => 4,
            Kind::StreamRevisions => 5,
            Kind::StreamStarts => 6,
            Kind::StreamBloom => 7,
            Kind::StreamPostings => 8,
            Kind::TermKeys(terms) => 9 + 4 * terms as usize,
            Kind::TermStarts(terms) => 10 + 4 * terms as usize,
            Kind::TermBloom(terms) => 11 + 4 * terms as usize,
            Kind::TermLists(terms) => 12 + 4 * terms as usize,
            Kind::Trailer => KINDS - 1,
        }
    }
}

/// Place and checksum of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Section {
    pub(super) start: u64,
    /// Without the padding.
    pub(super) bytes: u64,
    /// Of bytes and padding.
    pub(super) crc: u32,
}

impl Section {
    /// Where the next section begins.
    pub(super) fn padded_end(&self) -> Option<u64> {
        self.start.checked_add(self.bytes)?.checked_next_multiple_of(ALIGN_BYTES)
    }
}

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) level: u32,
    pub(super) base: u64,
    pub(super) end: u64,
    pub(super) sections: [Section; KINDS],
}

impl Footer {
    pub(super) fn new(level: u32, base: u64, end: u64) -> Footer {
        Footer { level, base, end, sections: [Section::default(); KINDS] }
    }

    pub(super) fn section(&self, kind: Kind) -> Section {
        self.sections[kind.number()]
    }

    pub(super) fn events(&self) -> u64 {
        self.end - self.base
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.level.to_le_bytes());
        bytes.extend_from_slice(&self.base.to_le_bytes());
        bytes.extend_from_slice(&self.end.to_le_bytes());
        for section in &self.sections {
            bytes.extend_from_slice(&section.start.to_le_bytes());
            bytes.extend_from_slice(&section.bytes.to_le_bytes());
            bytes.extend_from_slice(&section.crc.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        assert_eq!(bytes.len(), FOOTER_BYTES);
        bytes
    }

    /// The footer of a file of `file_bytes` bytes; `None` if it is damaged, of another version, or describes a file
    /// that cannot be.
    pub(super) fn decode(bytes: &[u8], file_bytes: u64) -> Option<Footer> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if bytes.len() != FOOTER_BYTES || crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let rest = body.strip_prefix(MAGIC)?.strip_prefix(&VERSION.to_le_bytes())?;
        let (level, rest) = rest.split_first_chunk::<4>()?;
        let (base, rest) = rest.split_first_chunk::<8>()?;
        let (end, rest) = rest.split_first_chunk::<8>()?;
        let mut footer =
            Footer::new(u32::from_le_bytes(*level), u64::from_le_bytes(*base), u64::from_le_bytes(*end));
        let (entries, _) = rest.as_chunks::<20>();
        for (section, entry) in footer.sections.iter_mut().zip(entries) {
            *section = Section {
                start: number_at(entry, 0),
                bytes: number_at(&entry[8..], 0),
                crc: u32::from_le_bytes(*entry.last_chunk::<4>()?),
            };
        }
        footer.is_consistent(file_bytes).then_some(footer)
    }

    fn is_consistent(&self, file_bytes: u64) -> bool {
        let Some(events) = self.end.checked_sub(self.base).filter(|&events| (1..1 << 31).contains(&events))
        else {
            return false;
        };
        let mut next = Some(HEADER_BYTES);
        for section in &self.sections {
            if next != Some(section.start) {
                return false;
            }
            next = section.padded_end();
        }
        let len = |kind| self.section(kind).bytes;
        let streams = len(Kind::StreamKeys) / 8;
        let is_bloom = |bytes: u64| bytes > 0 && bytes.is_multiple_of(ALIGN_BYTES);
        next.and_then(|next| next.checked_add(FOOTER_BYTES as u64)) == Some(file_bytes)
            && len(Kind::Offsets) == events * 4
            && len(Kind::IdKeys) == events * 8
            && len(Kind::IdPositions) == events * 4
            && is_bloom(len(Kind::IdBloom))
            && len(Kind::StreamKeys) == streams * 8
            && len(Kind::StreamRevisions) == streams * 8
            && len(Kind::StreamStarts) == (streams + 1) * 4
            && is_bloom(len(Kind::StreamBloom))
            && Terms::ALL.iter().all(|&terms| {
                let keys = len(Kind::TermKeys(terms)) / 8;
                len(Kind::TermKeys(terms)) == keys * 8
                    && len(Kind::TermStarts(terms)) == (keys + 1) * 4
                    && is_bloom(len(Kind::TermBloom(terms)))
            })
    }
}

/// The first bytes of a file.
pub(super) fn header() -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header
}

/// The u64 at an index of an array; 0 beyond its end.
pub(super) fn number_at(array: &[u8], index: usize) -> u64 {
    array.get(index * 8..).and_then(<[u8]>::first_chunk::<8>).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The u32 at an index of an array; 0 beyond its end.
pub(super) fn small_at(array: &[u8], index: usize) -> u32 {
    array.get(index * 4..).and_then(<[u8]>::first_chunk::<4>).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
