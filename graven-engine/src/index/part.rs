//! A sealed part: one immutable index file, mapped.
//!
//! Until a file was verified its content may be anything: every access is bounded, and what makes no sense is not
//! found.

use super::bloom;
use super::format::{FOOTER_BYTES, Footer, HEADER_BYTES, Kind, Section, header, number_at, small_at};
use super::hash::ID_STREAM_BITS;
use super::list::List;
use super::memory::Terms;
use super::packed::Packed;
use super::streams::{StreamKey, StreamList};
use crate::env::{Disk, MappedFile, Open};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Set in the start of a stream's postings if its revisions are not consecutive.
pub(super) const MIXED: u32 = 1 << 31;
const VERIFY_CHUNK_BYTES: usize = 1 << 20;

/// An index file that is open.
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) footer: Footer,
    pub(super) file_bytes: u64,
    /// All checksums were found right since the file was opened, or it was written by this process.
    pub(super) verified: AtomicBool,
    bytes: MappedFile,
}

/// Outcome of looking at a file's checksums.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Intact,
    Damaged,
    /// Asked to stop before the end.
    Stopped,
}

impl Part {
    /// Opens a file by its header, footer and trailer; `None` if one of them is damaged or another file's.
    ///
    /// # Errors
    /// Those of opening or mapping the file.
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> io::Result<Option<Part>> {
        let file = disk.open(path, Open::Read)?;
        let Ok(file_bytes) = file.len() else { return Ok(None) };
        let Some(footer_start) = file_bytes.checked_sub(FOOTER_BYTES as u64) else { return Ok(None) };
        let read = |start: u64, bytes: usize| {
            let mut buffer = vec![0; bytes];
            (file.read_at(&mut buffer, start).ok()? == bytes).then_some(buffer)
        };
        let decoded = read(footer_start, FOOTER_BYTES).and_then(|bytes| Footer::decode(&bytes, file_bytes));
        let Some(footer) = decoded.filter(|footer| file_name(footer) == path.file_name().unwrap_or_default())
        else {
            return Ok(None);
        };
        if read(0, HEADER_BYTES as usize).is_none_or(|bytes| bytes != header()) {
            return Ok(None);
        }
        let bytes = disk.map(path)?;
        if bytes.len() as u64 != file_bytes {
            return Ok(None);
        }
        let part =
            Part { path: path.to_owned(), footer, file_bytes, verified: AtomicBool::new(false), bytes };
        let stop = AtomicBool::new(false);
        let trailer = part.verify_section(&*file, part.footer.section(Kind::Trailer), &stop);
        Ok((trailer == Verdict::Intact).then_some(part))
    }

    /// Compares every checksum, reading the file in pieces (cheaper than touching a fresh mapping).
    ///
    /// # Errors
    /// Those of opening the file.
    pub(super) fn verify(&self, disk: &dyn Disk, stop: &AtomicBool) -> io::Result<Verdict> {
        if self.verified.load(Ordering::Acquire) {
            return Ok(Verdict::Intact);
        }
        let file = disk.open(&self.path, Open::Read)?;
        for section in &self.footer.sections {
            match self.verify_section(&*file, *section, stop) {
                Verdict::Intact => {}
                other => return Ok(other),
            }
        }
        self.verified.store(true, Ordering::Release);
        Ok(Verdict::Intact)
    }

    fn verify_section(
        &self,
        file: &dyn crate::env::DiskFile,
        section: Section,
        stop: &AtomicBool,
    ) -> Verdict {
        let Some(end) = section.padded_end() else { return Verdict::Damaged };
        let mut buffer = vec![0; VERIFY_CHUNK_BYTES.min((end - section.start) as usize)];
        let (mut at, mut crc) = (section.start, 0);
        while at < end {
            if stop.load(Ordering::Relaxed) {
                return Verdict::Stopped;
            }
            let chunk = (end - at).min(VERIFY_CHUNK_BYTES as u64) as usize;
            match file.read_at(&mut buffer[..chunk], at) {
                Ok(read) if read == chunk => crc = crc32c::crc32c_append(crc, &buffer[..chunk]),
                _ => return Verdict::Damaged,
            }
            at += chunk as u64;
        }
        if crc == section.crc { Verdict::Intact } else { Verdict::Damaged }
    }

    /// Lets go of the memory of what was read of the file.
    pub(super) fn release(&self) {
        self.bytes.release();
    }

    pub(super) fn base(&self) -> u64 {
        self.footer.base
    }

    pub(super) fn end(&self) -> u64 {
        self.footer.end
    }

    /// Events in the part; below 2^31.
    pub(super) fn events(&self) -> u32 {
        self.footer.events() as u32
    }

    pub(super) fn trailer(&self) -> &[u8] {
        self.section(Kind::Trailer)
    }

    /// The bytes of a section.
    pub(super) fn section(&self, kind: Kind) -> &[u8] {
        let Section { start, bytes, .. } = self.footer.section(kind);
        self.bytes.get(start as usize..(start + bytes) as usize).unwrap_or(&[])
    }

    /// Record offset of a relative position.
    pub(super) fn offset(&self, position: u32) -> Option<u32> {
        (position < self.events()).then(|| small_at(self.section(Kind::Offsets), position as usize))
    }

    /// Relative positions of an id key, newest first.
    pub(super) fn id(&self, key: u64) -> impl Iterator<Item = u32> {
        self.id_range(key, |other| other == key).rev().map(|index| self.id_at(index).1)
    }

    /// Relative positions whose id key agrees with `key` above the stream bits, in no order.
    pub(super) fn id_prefix(&self, key: u64) -> impl Iterator<Item = u32> {
        let prefix = key >> ID_STREAM_BITS;
        self.id_range(prefix << ID_STREAM_BITS, move |other| other >> ID_STREAM_BITS == prefix)
            .map(|index| self.id_at(index).1)
    }

    /// Indexes of the id keys from `least` on that belong.
    fn id_range(&self, least: u64, belongs: impl Fn(u64) -> bool) -> std::ops::Range<usize> {
        if !bloom::may_contain(self.section(Kind::IdBloom), id_bloom_key(least)) {
            return 0..0;
        }
        let keys = self.section(Kind::IdKeys);
        let start = lower_bound(keys, least);
        let mut end = start;
        while end < keys.len() / 8 && belongs(number_at(keys, end)) {
            end += 1;
        }
        start..end
    }

    /// Key and position at an index of the ids in the order of their keys.
    pub(super) fn id_at(&self, index: usize) -> (u64, u32) {
        (number_at(self.section(Kind::IdKeys), index), small_at(self.section(Kind::IdPositions), index))
    }

    pub(super) fn stream(&self, key: u64) -> Option<StreamList<'_>> {
        if !bloom::may_contain(self.section(Kind::StreamBloom), key) {
            return None;
        }
        find(self.section(Kind::StreamKeys), key).map(|index| self.stream_at(index))
    }

    /// The stream at an index of the streams in the order of their keys.
    pub(super) fn stream_at(&self, index: usize) -> StreamList<'_> {
        let starts = self.section(Kind::StreamStarts);
        let (start, end) = (small_at(starts, index), small_at(starts, index + 1) & !MIXED);
        let key = StreamKey {
            first_revision: number_at(self.section(Kind::StreamRevisions), index),
            mixed: start & MIXED != 0,
        };
        let range = (start & !MIXED) as usize * 4..end as usize * 4;
        StreamList::in_file(key, self.section(Kind::StreamPostings).get(range).unwrap_or(&[]))
    }

    pub(super) fn list(&self, terms: Terms, key: u64) -> List<'_> {
        if !bloom::may_contain(self.section(Kind::TermBloom(terms)), key) {
            return List::Plain(&[]);
        }
        match find(self.section(Kind::TermKeys(terms)), key) {
            Some(index) => self.list_at(terms, index),
            None => List::Plain(&[]),
        }
    }

    /// The list at an index of the terms in the order of their keys.
    pub(super) fn list_at(&self, terms: Terms, index: usize) -> List<'_> {
        let starts = self.section(Kind::TermStarts(terms));
        let range = small_at(starts, index) as usize..small_at(starts, index + 1) as usize;
        List::Packed(Packed::new(self.section(Kind::TermLists(terms)).get(range).unwrap_or(&[])))
    }
}

/// The part of an id key its filter knows: what depends on the id alone, so that one filter serves both searches.
pub(super) fn id_bloom_key(key: u64) -> u64 {
    key >> ID_STREAM_BITS << ID_STREAM_BITS
}

/// Name of the file with this footer.
pub(super) fn file_name(footer: &Footer) -> std::ffi::OsString {
    format!("{:020}-{:020}.gvx", footer.base, footer.end).into()
}

fn find(keys: &[u8], key: u64) -> Option<usize> {
    let index = lower_bound(keys, key);
    (index < keys.len() / 8 && number_at(keys, index) == key).then_some(index)
}

/// Index of the first of the ascending keys that is not below `key`. Keys are evenly spread, so it is guessed and
/// then searched for nearby: two cache misses instead of twenty.
fn lower_bound(keys: &[u8], key: u64) -> usize {
    let count = keys.len() / 8;
    if count == 0 {
        return 0;
    }
    let share = |distance: u64| ((u128::from(distance) * count as u128) >> 64) as usize;
    let mut guess = share(key).min(count - 1);
    let there = number_at(keys, guess);
    guess = if there < key {
        guess.saturating_add(share(key - there)).min(count - 1)
    } else {
        guess.saturating_sub(share(there - key))
    };
    let mut step = 8;
    let (mut low, mut high);
    if number_at(keys, guess) < key {
        low = guess + 1;
        while low + step < count && number_at(keys, low + step) < key {
            low += step + 1;
            step *= 4;
        }
        high = (low + step).min(count);
    } else {
        high = guess;
        while high >= step && number_at(keys, high - step) >= key {
            high -= step;
            step *= 4;
        }
        low = (high + 1).saturating_sub(step);
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if number_at(keys, middle) < key {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_are_found_however_they_are_spread(
            even in prop::collection::vec(any::<u64>(), 0..400),
            crowded in prop::collection::vec(0..500u64, 0..400),
            shift in 0..55u32,
            probes in prop::collection::vec(any::<u64>(), 1..50),
        ) {
            let mut keys: Vec<u64> = even.into_iter().chain(crowded.iter().map(|key| key << shift)).collect();
            keys.sort_unstable();
            let bytes: Vec<u8> = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
            let near = keys.iter().flat_map(|&key| [key, key.wrapping_add(1), key.wrapping_sub(1)]);
            for probe in near.chain(probes) {
                prop_assert_eq!(lower_bound(&bytes, probe), keys.partition_point(|&key| key < probe));
            }
        }
    }
}
