//! A part in memory: the newest events, and those that wait to be written to a file.

use super::Entry;
use super::hash::ID_STREAM_BITS;
use super::list::List;
use super::streams::{StreamKey, StreamList};
use super::table::{KeyTable, Postings};
use parking_lot::RwLock;

/// Kinds of names that have plain posting lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Terms {
    Type,
    Category,
    Tag,
    /// Tombstones of streams, by stream key.
    Tombstone,
    /// First events of streams, all under [`BIRTHS_KEY`].
    Birth,
}

impl Terms {
    pub(super) const ALL: [Terms; 5] =
        [Terms::Type, Terms::Category, Terms::Tag, Terms::Tombstone, Terms::Birth];
}

/// The one key of [`Terms::Birth`].
pub(super) const BIRTHS_KEY: u64 = 0;

/// A part in memory, shared: the newest one is written by the writer, the others by nobody any more.
pub(super) struct MemoryPart {
    /// Position of its first event.
    pub(super) base: u64,
    pub(super) data: RwLock<Memory>,
}

impl MemoryPart {
    pub(super) fn new(base: u64, events_expected: usize) -> MemoryPart {
        MemoryPart { base, data: RwLock::new(Memory::new(base, events_expected)) }
    }
}

/// What a part in memory knows. Positions are relative to its base.
pub(super) struct Memory {
    base: u64,
    /// Offset of the record in its segment, by position.
    offsets: Vec<u32>,
    /// Id keys by position; finds the newest position of a key.
    ids: KeyTable,
    /// For a position whose id key came before: the position before it. Ascending.
    ids_before: Vec<(u32, u32)>,
    streams: KeyTable,
    stream_lists: Vec<(StreamKey, Postings)>,
    terms: [TermTable; Terms::ALL.len()],
}

struct TermTable {
    keys: KeyTable,
    lists: Vec<Postings>,
}

impl TermTable {
    fn add(&mut self, key: u64, position: u32) {
        let (number, new) = self.keys.find_or_add(key);
        if new {
            self.lists.push(Postings::new());
        }
        self.lists[number as usize].push(position);
    }
}

impl Memory {
    fn new(base: u64, events_expected: usize) -> Memory {
        Memory {
            base,
            offsets: Vec::with_capacity(events_expected),
            ids: KeyTable::new(),
            ids_before: Vec::new(),
            streams: KeyTable::new(),
            stream_lists: Vec::new(),
            terms: std::array::from_fn(|_| TermTable { keys: KeyTable::new(), lists: Vec::new() }),
        }
    }

    /// Adds the next event.
    ///
    /// # Panics
    /// If the position is not the next one.
    pub(super) fn insert(&mut self, entry: &Entry) {
        assert_eq!(entry.position, self.base + self.offsets.len() as u64, "positions are indexed in order");
        let position = self.offsets.len() as u32;
        self.offsets.push(entry.offset);
        if let Some(before) = self.ids.add_newest(entry.id) {
            self.ids_before.push((position, before));
        }
        self.add_term(Terms::Type, entry.event_type, position);
        if let Some(category) = entry.category {
            self.add_term(Terms::Category, category, position);
        }
        for &tag in entry.tags {
            self.add_term(Terms::Tag, tag, position);
        }
        if entry.tombstone {
            self.add_term(Terms::Tombstone, entry.stream, position);
            return;
        }
        if entry.revision == 0 {
            self.add_term(Terms::Birth, BIRTHS_KEY, position);
        }
        let (number, new) = self.streams.find_or_add(entry.stream);
        if new {
            self.stream_lists.push((StreamKey::starting_at(entry.revision), Postings::new()));
        }
        let (key, postings) = &mut self.stream_lists[number as usize];
        key.continue_with(postings.as_slice().len() as u64, entry.revision);
        postings.push(position);
    }

    fn add_term(&mut self, terms: Terms, key: u64, position: u32) {
        self.terms[terms as usize].add(key, position);
    }

    /// Events in the part.
    pub(super) fn events(&self) -> u32 {
        self.offsets.len() as u32
    }

    /// Record offsets by position.
    pub(super) fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// Positions of an id key, newest first.
    pub(super) fn id(&self, key: u64) -> impl Iterator<Item = u32> {
        std::iter::successors(self.ids.find(key), |&position| {
            let older = self.ids_before.binary_search_by_key(&position, |pair| pair.0).ok()?;
            Some(self.ids_before[older].1)
        })
    }

    /// Positions whose id key agrees with `key` above the stream bits, oldest first. Looks at every event.
    pub(super) fn id_prefix(&self, key: u64) -> impl Iterator<Item = u32> {
        let matching = move |other: &u64| other >> ID_STREAM_BITS == key >> ID_STREAM_BITS;
        (0u32..).zip(self.ids.keys()).filter(move |(_, other)| matching(other)).map(|(position, _)| position)
    }

    pub(super) fn stream(&self, key: u64) -> Option<StreamList<'_>> {
        self.streams.find(key).map(|number| self.stream_list(number))
    }

    fn stream_list(&self, number: u32) -> StreamList<'_> {
        let (key, postings) = &self.stream_lists[number as usize];
        StreamList::in_memory(*key, postings.as_slice())
    }

    pub(super) fn list(&self, terms: Terms, key: u64) -> List<'_> {
        let table = &self.terms[terms as usize];
        match table.keys.find(key) {
            Some(number) => List::Plain(table.lists[number as usize].as_slice()),
            None => List::Plain(&[]),
        }
    }

    /// The part in the order of its keys, as a file has it.
    pub(super) fn sorted(&self) -> SortedMemory<'_> {
        let mut ids: Vec<(u64, u32)> = self.ids.keys().iter().copied().zip(0..).collect();
        ids.sort_unstable();
        let terms = std::array::from_fn(|terms| by_key(&self.terms[terms].keys));
        SortedMemory { memory: self, ids, streams: by_key(&self.streams), terms }
    }
}

fn by_key(table: &KeyTable) -> Vec<(u64, u32)> {
    let mut keys: Vec<(u64, u32)> = table.keys().iter().copied().zip(0..).collect();
    keys.sort_unstable();
    keys
}

/// A part in memory with its keys sorted; pairs of a key and its position (ids) or number (the others).
pub(super) struct SortedMemory<'a> {
    pub(super) memory: &'a Memory,
    pub(super) ids: Vec<(u64, u32)>,
    pub(super) streams: Vec<(u64, u32)>,
    pub(super) terms: [Vec<(u64, u32)>; Terms::ALL.len()],
}

impl SortedMemory<'_> {
    /// The list of the stream at an index of the sorted order.
    pub(super) fn stream_list(&self, index: usize) -> StreamList<'_> {
        self.memory.stream_list(self.streams[index].1)
    }

    /// The list of the term at an index of the sorted order.
    pub(super) fn term_list(&self, terms: Terms, index: usize) -> List<'_> {
        let number = self.terms[terms as usize][index].1;
        List::Plain(self.memory.terms[terms as usize].lists[number as usize].as_slice())
    }
}
