//! Writes an index file from one part in memory or from several files at once.
//!
//! Both are the same k-way merge: sources are walked in the order of their keys and sections stream to their places.
//! Memory is a buffer for each open section, whatever the size of the sources.

use super::bloom;
use super::format::{ALIGN_BYTES, Footer, Kind, Section, header, number_at};
use super::list::List;
use super::memory::{SortedMemory, Terms};
use super::packed::PackedWriter;
use super::part::{MIXED, Part, file_name, id_bloom_key};
use super::streams::{StreamKey, StreamList};
use crate::env::{DiskFile, Env, Open, temporary_name};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const BUFFER_BYTES: usize = 256 << 10;

/// A part to be written.
pub(super) struct Plan<'a> {
    pub(super) level: u32,
    pub(super) base: u64,
    pub(super) end: u64,
    pub(super) trailer: &'a [u8],
    /// Adjacent, oldest first, from `base` to `end`.
    pub(super) sources: Vec<Source<'a>>,
}

impl Plan<'_> {
    /// Lets go of the memory of what was read of the sources.
    fn release(&self) {
        for source in &self.sources {
            if let Source::Sealed(part) = source {
                part.release();
            }
        }
    }
}

/// Where the content comes from.
pub(super) enum Source<'a> {
    Memory(SortedMemory<'a>),
    Sealed(&'a Part),
}

/// Writes the file under a temporary name, makes it durable, gives it its name and opens it. A crash leaves nothing
/// or the whole file. `stop` ends it early with `Interrupted`.
///
/// # Errors
/// Those of the disk; the temporary file is removed again.
pub(super) fn write_part(env: &Env, dir: &Path, plan: &Plan, stop: &AtomicBool) -> io::Result<Part> {
    let mut footer = Footer::new(plan.level, plan.base, plan.end);
    let path = dir.join(file_name(&footer));
    let temporary = temporary_name(&path);
    let written = write_file(env, &temporary, plan, &mut footer, stop)
        .and_then(|()| env.disk.rename(&temporary, &path));
    if let Err(error) = written {
        // A leftover is removed at the next start; the first error is the one that matters.
        let _ = env.disk.remove(&temporary);
        return Err(error);
    }
    env.disk.sync_dir(dir)?;
    let part = Part::open(&*env.disk, &path)?
        .ok_or_else(|| invalid(format!("{} does not read back as it was written", path.display())))?;
    part.verified.store(true, Ordering::Release);
    Ok(part)
}

fn write_file(env: &Env, path: &Path, plan: &Plan, footer: &mut Footer, stop: &AtomicBool) -> io::Result<()> {
    let file = env.disk.open(path, Open::Create)?;
    file.write_at(&header(), 0)?;
    let mut out = FileWriter { file: &*file, stop, footer, next: header().len() as u64 };
    // A section that was read through is let go, so that a merge of large files does not hold them all.
    out.write_offsets(plan)?;
    plan.release();
    out.write_ids(plan)?;
    plan.release();
    out.write_streams(plan)?;
    plan.release();
    for terms in Terms::ALL {
        out.write_terms(plan, terms)?;
        plan.release();
    }
    let mut trailer = out.array(Kind::Trailer, None);
    trailer.bytes(plan.trailer)?;
    out.finish([trailer])?;
    let end = out.next;
    file.write_at(&footer.encode(), end)?;
    file.sync_data()
}

struct FileWriter<'a> {
    file: &'a dyn DiskFile,
    stop: &'a AtomicBool,
    footer: &'a mut Footer,
    /// Where the next section begins.
    next: u64,
}

impl<'a> FileWriter<'a> {
    /// Begins the next section. With its length known the one after it can be begun at once.
    fn array(&mut self, kind: Kind, bytes: Option<u64>) -> ArrayWriter<'a> {
        let start = self.next;
        if let Some(bytes) = bytes {
            self.next = (start + bytes).next_multiple_of(ALIGN_BYTES);
        }
        ArrayWriter {
            kind,
            file: self.file,
            stop: self.stop,
            promised: bytes,
            section: Section { start, bytes: 0, crc: 0 },
            flushed: 0,
            buffer: Vec::with_capacity(BUFFER_BYTES.min(bytes.unwrap_or(u64::MAX) as usize)),
        }
    }

    /// Ends sections that were begun, in their order.
    fn finish<const N: usize>(&mut self, arrays: [ArrayWriter; N]) -> io::Result<()> {
        for array in arrays {
            let (kind, section) = array.finish()?;
            self.next = self.next.max(section.padded_end().ok_or_else(too_long)?);
            self.footer.sections[kind.number()] = section;
        }
        Ok(())
    }

    fn write_offsets(&mut self, plan: &Plan) -> io::Result<()> {
        let mut offsets = self.array(Kind::Offsets, Some(self.footer.events() * 4));
        for source in &plan.sources {
            match source {
                Source::Memory(sorted) => {
                    sorted.memory.offsets().iter().try_for_each(|&offset| offsets.small(offset))?;
                }
                Source::Sealed(part) => offsets.bytes(part.section(Kind::Offsets))?,
            }
        }
        self.finish([offsets])
    }

    fn write_ids<'p>(&mut self, plan: &'p Plan<'p>) -> io::Result<()> {
        let events = self.footer.events();
        let mut keys = self.array(Kind::IdKeys, Some(events * 8));
        let mut positions = self.array(Kind::IdPositions, Some(events * 4));
        let mut filter = BloomWriter::new(self, Kind::IdBloom, events);
        let mut merge = Merge::new(plan, Source::id_key);
        while let Some(key) = merge.least() {
            filter.add(id_bloom_key(key))?;
            for (number, source) in plan.sources.iter().enumerate() {
                while let Some(index) = merge.take(number, key) {
                    keys.number(key)?;
                    positions.small(source.shift(plan) + source.id_position(index))?;
                }
            }
        }
        let filter = filter.end()?;
        self.finish([keys, positions, filter])
    }

    fn write_streams<'p>(&mut self, plan: &'p Plan<'p>) -> io::Result<()> {
        let count = distinct(plan, Source::stream_key);
        let mut keys = self.array(Kind::StreamKeys, Some(count * 8));
        let mut revisions = self.array(Kind::StreamRevisions, Some(count * 8));
        let mut starts = self.array(Kind::StreamStarts, Some((count + 1) * 4));
        let mut filter = BloomWriter::new(self, Kind::StreamBloom, count);
        let mut postings = self.array(Kind::StreamPostings, None);
        let mut merge = Merge::new(plan, Source::stream_key);
        let mut parts = Vec::new();
        while let Some(key) = merge.least() {
            merge.take_all(key, &mut parts);
            let mut merged: Option<StreamKey> = None;
            let mut len = 0;
            for &(number, index) in &parts {
                let list = plan.sources[number].stream(index);
                let mut known = merged.unwrap_or(list.key);
                known.continue_with(len, list.key.first_revision);
                known.mixed |= list.key.mixed;
                merged = Some(known);
                len += list.len() as u64;
            }
            let merged = merged.ok_or_else(|| invalid("a stream key without a stream"))?;
            keys.number(key)?;
            revisions.number(merged.first_revision)?;
            let start = u32::try_from(postings.section.bytes / 4).map_err(|_| too_long())?;
            starts.small(start | if merged.mixed { MIXED } else { 0 })?;
            filter.add(key)?;
            for &(number, index) in &parts {
                let source = &plan.sources[number];
                let (list, shift) = (source.stream(index), source.shift(plan));
                (0..list.len()).try_for_each(|at| postings.small(shift + list.at(at)))?;
            }
        }
        starts.small(u32::try_from(postings.section.bytes / 4).map_err(|_| too_long())?)?;
        let filter = filter.end()?;
        self.finish([keys, revisions, starts, filter, postings])
    }

    fn write_terms<'p>(&mut self, plan: &'p Plan<'p>, terms: Terms) -> io::Result<()> {
        let key_at = |source: &Source<'p>, index: usize| source.term_key(terms, index);
        let count = distinct(plan, key_at);
        let mut keys = self.array(Kind::TermKeys(terms), Some(count * 8));
        let mut starts = self.array(Kind::TermStarts(terms), Some((count + 1) * 4));
        let mut filter = BloomWriter::new(self, Kind::TermBloom(terms), count);
        let mut lists = self.array(Kind::TermLists(terms), None);
        let mut merge = Merge::new(plan, key_at);
        let mut parts = Vec::new();
        while let Some(key) = merge.least() {
            merge.take_all(key, &mut parts);
            keys.number(key)?;
            starts.small(u32::try_from(lists.section.bytes).map_err(|_| too_long())?)?;
            filter.add(key)?;
            let total: u64 =
                parts.iter().map(|&(n, index)| u64::from(plan.sources[n].term(terms, index).len())).sum();
            let mut list = PackedWriter::begin(u32::try_from(total).map_err(|_| too_long())?, lists.buffer());
            for &(number, index) in &parts {
                let source = &plan.sources[number];
                let shift = source.shift(plan);
                source.term(terms, index).try_for_each(|position| {
                    if !list.push(shift.wrapping_add(position), lists.buffer()) {
                        return Err(too_long());
                    }
                    lists.drain_if_full()
                })?;
            }
            if !list.end(lists.buffer()) {
                return Err(invalid("a posting list is shorter than it says"));
            }
            lists.drain_if_full()?;
        }
        starts.small(u32::try_from(lists.section.bytes).map_err(|_| too_long())?)?;
        let filter = filter.end()?;
        self.finish([keys, starts, filter, lists])
    }
}

impl Source<'_> {
    /// What is added to positions relative to the source to make them relative to the plan.
    fn shift(&self, plan: &Plan) -> u32 {
        match self {
            Source::Memory(_) => 0,
            Source::Sealed(part) => (part.base() - plan.base) as u32,
        }
    }

    fn id_key(&self, index: usize) -> Option<u64> {
        match self {
            Source::Memory(sorted) => sorted.ids.get(index).map(|id| id.0),
            Source::Sealed(part) => key_in(part.section(Kind::IdKeys), index),
        }
    }

    fn id_position(&self, index: usize) -> u32 {
        match self {
            Source::Memory(sorted) => sorted.ids[index].1,
            Source::Sealed(part) => part.id_at(index).1,
        }
    }

    fn stream_key(&self, index: usize) -> Option<u64> {
        match self {
            Source::Memory(sorted) => sorted.streams.get(index).map(|stream| stream.0),
            Source::Sealed(part) => key_in(part.section(Kind::StreamKeys), index),
        }
    }

    fn stream(&self, index: usize) -> StreamList<'_> {
        match self {
            Source::Memory(sorted) => sorted.stream_list(index),
            Source::Sealed(part) => part.stream_at(index),
        }
    }

    fn term_key(&self, terms: Terms, index: usize) -> Option<u64> {
        match self {
            Source::Memory(sorted) => sorted.terms[terms as usize].get(index).map(|term| term.0),
            Source::Sealed(part) => key_in(part.section(Kind::TermKeys(terms)), index),
        }
    }

    fn term(&self, terms: Terms, index: usize) -> List<'_> {
        match self {
            Source::Memory(sorted) => sorted.term_list(terms, index),
            Source::Sealed(part) => part.list_at(terms, index),
        }
    }
}

fn key_in(keys: &[u8], index: usize) -> Option<u64> {
    (index < keys.len() / 8).then(|| number_at(keys, index))
}

/// Walks the sources of a plan in the order of their keys.
struct Merge<'p, F> {
    sources: &'p [Source<'p>],
    at: Vec<usize>,
    heads: Vec<Option<u64>>,
    key_at: F,
}

impl<'p, F: Fn(&Source<'p>, usize) -> Option<u64>> Merge<'p, F> {
    fn new(plan: &'p Plan<'p>, key_at: F) -> Merge<'p, F> {
        let heads = plan.sources.iter().map(|source| key_at(source, 0)).collect();
        Merge { sources: &plan.sources, at: vec![0; plan.sources.len()], heads, key_at }
    }

    fn least(&self) -> Option<u64> {
        self.heads.iter().flatten().copied().min()
    }

    /// If the source stands at `key`: the index there; then it stands at the next.
    fn take(&mut self, source: usize, key: u64) -> Option<usize> {
        if self.heads[source] != Some(key) {
            return None;
        }
        let index = self.at[source];
        self.at[source] += 1;
        self.heads[source] = (self.key_at)(&self.sources[source], index + 1);
        Some(index)
    }

    /// The sources that have `key`, and where; each has it once.
    fn take_all(&mut self, key: u64, parts: &mut Vec<(usize, usize)>) {
        parts.clear();
        for source in 0..self.sources.len() {
            if let Some(index) = self.take(source, key) {
                parts.push((source, index));
            }
        }
    }
}

/// How many different keys the sources have.
fn distinct<'p>(plan: &'p Plan<'p>, key_at: impl Fn(&Source<'p>, usize) -> Option<u64>) -> u64 {
    let mut merge = Merge::new(plan, key_at);
    let mut count = 0;
    while let Some(key) = merge.least() {
        for source in 0..plan.sources.len() {
            merge.take(source, key);
        }
        count += 1;
    }
    count
}

/// One section on its way to the file.
struct ArrayWriter<'a> {
    kind: Kind,
    file: &'a dyn DiskFile,
    stop: &'a AtomicBool,
    promised: Option<u64>,
    /// Its `bytes` counts what was handed in, up to the last `drain_if_full`.
    section: Section,
    flushed: u64,
    buffer: Vec<u8>,
}

impl ArrayWriter<'_> {
    fn number(&mut self, number: u64) -> io::Result<()> {
        self.buffer.extend_from_slice(&number.to_le_bytes());
        self.drain_if_full()
    }

    fn small(&mut self, number: u32) -> io::Result<()> {
        self.buffer.extend_from_slice(&number.to_le_bytes());
        self.drain_if_full()
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.chunks(BUFFER_BYTES) {
            self.buffer.extend_from_slice(chunk);
            self.drain_if_full()?;
        }
        Ok(())
    }

    /// For what writes into the buffer itself; `drain_if_full` follows.
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    fn drain_if_full(&mut self) -> io::Result<()> {
        self.section.bytes = self.flushed + self.buffer.len() as u64;
        if self.buffer.len() < BUFFER_BYTES - 8 { Ok(()) } else { self.drain() }
    }

    fn drain(&mut self) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.section.crc = crc32c::crc32c_append(self.section.crc, &self.buffer);
        self.file.write_at(&self.buffer, self.section.start + self.flushed)?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<(Kind, Section)> {
        if self.promised.is_some_and(|promised| promised != self.section.bytes) {
            return Err(invalid("an index section is not as long as its keys say"));
        }
        let end = self.section.padded_end().ok_or_else(too_long)?;
        self.buffer.resize((end - self.section.start - self.flushed) as usize, 0);
        if !self.buffer.is_empty() {
            self.drain()?;
        }
        Ok((self.kind, self.section))
    }
}

/// A filter on its way to the file, block by block; keys come in ascending order.
struct BloomWriter<'a> {
    out: ArrayWriter<'a>,
    blocks: u64,
    current: u64,
    block: [u8; bloom::BLOCK_BYTES],
}

impl<'a> BloomWriter<'a> {
    fn new(out: &mut FileWriter<'a>, kind: Kind, keys: u64) -> BloomWriter<'a> {
        let blocks = bloom::blocks(keys);
        let out = out.array(kind, Some(blocks * bloom::BLOCK_BYTES as u64));
        BloomWriter { out, blocks, current: 0, block: [0; bloom::BLOCK_BYTES] }
    }

    fn add(&mut self, key: u64) -> io::Result<()> {
        let block = bloom::block_of(key, self.blocks);
        self.move_to(block)?;
        bloom::set(&mut self.block, key);
        Ok(())
    }

    fn move_to(&mut self, block: u64) -> io::Result<()> {
        while self.current < block {
            self.out.bytes(&self.block)?;
            self.block = [0; bloom::BLOCK_BYTES];
            self.current += 1;
        }
        Ok(())
    }

    fn end(mut self) -> io::Result<ArrayWriter<'a>> {
        self.move_to(self.blocks)?;
        Ok(self.out)
    }
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn too_long() -> io::Error {
    invalid("an index section is too long for its format")
}
