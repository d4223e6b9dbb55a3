//! Reads the log forward, record by record, and gathers where the streams stand that it meets. Reads names and revisions,
//! hashes no payload, and holds nothing that an append waits for.

use crate::append::{Pending, Sources};
use crate::log::frame::Record;
use crate::log::reader::{Peeked, Reader};
use foldhash::{HashMap, HashMapExt};
use graven_model::{Code, Error, Kind, Result, limits};
use graven_proof::chain::TOMBSTONE_VERSION;
use graven_proof::tiles::Tile;
use graven_proof::trie::StreamHead;
use graven_proof::{Hash, leaf};

/// Records between two looks at whether to go on.
const STEP: u64 = 1_024;

/// Streams that changed and are gathered at once; see [`limits::SEAL_CHANGES_MAX`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) streams: usize,
    pub(super) names_bytes: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room { streams: limits::SEAL_CHANGES_MAX, names_bytes: limits::SEAL_NAMES_BYTES_MAX }
    }
}

/// What came of the log from one position to another.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Where the streams stand that changed, ascending by key.
    pub(super) heads: Vec<(Hash, StreamHead)>,
    /// Up to this position: fewer than asked for if there was no more room.
    pub(super) end: u64,
    /// How many of the streams are new.
    pub(super) new: usize,
    /// Nothing else than the store's own records was there.
    pub(super) quiet: bool,
}

/// Keyed hashes of stream names, remembered from one seal to the next. Bounded.
#[derive(Default)]
pub(super) struct Keys {
    keys: HashMap<Box<str>, Hash>,
    names_bytes: usize,
}

impl Keys {
    fn remember(&mut self, name: Box<str>, key: Hash) {
        if self.keys.len() >= limits::SEAL_KEYS_MAX || self.names_bytes >= limits::SEAL_NAMES_BYTES_MAX {
            *self = Keys::default();
        }
        self.names_bytes += name.len();
        self.keys.insert(name, key);
    }
}

/// The log from `from` up to but not with `to`, all of it durable. `before` tells where a stream stood at `from`;
/// `go_on` is asked now and then.
///
/// # Errors
/// [`Code::Corrupted`] if a record does not continue its stream; [`Code::Io`]; what `go_on` returns.
pub(super) fn gather(
    sources: &Sources,
    keys: &mut Keys,
    before: &mut dyn FnMut(&Hash) -> Option<StreamHead>,
    (from, to): (u64, u64),
    room: Room,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<Gathered> {
    let mut reader = Reader::new(&sources.log);
    let mut gather = Gather {
        sources,
        pending: Pending::none_below(to),
        keys,
        before,
        touched: HashMap::new(),
        names_bytes: 0,
        new: 0,
        quiet: true,
    };
    let mut at = from;
    let (mut positions, mut offsets) = (Vec::new(), Vec::new());
    while at < to && !gather.is_full(room) {
        go_on()?;
        let end = to.min(at + STEP);
        positions.clear();
        positions.extend(at..end);
        offsets.clear();
        sources.index.offsets(&positions, &mut offsets);
        for (position, offset) in positions.iter().zip(&offsets) {
            gather.take(&reader.peek(*position, *offset)?)?;
        }
        at = end;
        std::thread::yield_now();
    }
    gather.finish(at, to)
}

struct Gather<'a> {
    sources: &'a Sources,
    pending: Pending,
    keys: &'a mut Keys,
    before: &'a mut dyn FnMut(&Hash) -> Option<StreamHead>,
    /// The leaf hash in a head is that of its last event only in the end.
    touched: HashMap<Box<str>, (Hash, StreamHead)>,
    names_bytes: usize,
    new: usize,
    quiet: bool,
}

impl Gather<'_> {
    fn is_full(&self, room: Room) -> bool {
        self.touched.len() >= room.streams || self.names_bytes >= room.names_bytes
    }

    fn take(&mut self, peeked: &Peeked<'_>) -> Result<()> {
        let record = peeked.record()?;
        let broken = |what: String| peeked.damaged(&what);
        let position = peeked.position;
        if !self.touched.contains_key(record.stream) {
            let key = self.key_of(&record)?.ok_or_else(|| broken("a salt of its names is missing".into()))?;
            let begun = (self.before)(&key);
            if begun.is_none() != record.stream_salt.is_some() {
                return Err(broken(format!("it does not continue stream {:?}", record.stream)));
            }
            self.new += usize::from(begun.is_none());
            let head = begun.unwrap_or(StreamHead {
                next_version: 0,
                first_position: position,
                last_position: position,
                head: [0; 32],
                tombstoned: false,
            });
            self.names_bytes += record.stream.len();
            self.touched.insert(record.stream.into(), (key, head));
        }
        let Some((_, head)) = self.touched.get_mut(record.stream) else { return Ok(()) };
        let tombstoned = record.kind == Kind::Tombstone;
        let version = if tombstoned { TOMBSTONE_VERSION } else { head.next_version };
        if head.tombstoned || record.revision != version {
            return Err(broken(format!("it does not continue stream {:?}", record.stream))
                .expected(if head.tombstoned { "no event".into() } else { format!("revision {version}") })
                .found(format!("revision {}", record.revision)));
        }
        head.next_version += u64::from(!tombstoned);
        head.last_position = position;
        head.tombstoned = tombstoned;
        self.quiet &= record.kind.is_control();
        Ok(())
    }

    /// Keyed hash of the name of a record's stream.
    fn key_of(&mut self, record: &Record<'_>) -> Result<Option<Hash>> {
        if let (None, Some(key)) = (record.stream_salt, self.keys.keys.get(record.stream)) {
            return Ok(Some(*key));
        }
        let salt = match record.stream_salt {
            Some(salt) => Some(salt),
            None => self.sources.stream_salt(&self.pending, record.stream)?,
        };
        Ok(salt.map(|salt| leaf::name_key(&salt, record.stream.as_bytes())))
    }

    /// Looks up the leaf hashes of the last events, in the order of their positions.
    fn finish(self, end: u64, to: u64) -> Result<Gathered> {
        let Gather { sources, keys, touched, new, quiet, .. } = self;
        let mut heads = Vec::with_capacity(touched.len());
        for (name, touched) in touched {
            heads.push(touched);
            keys.remember(name, touched.0);
        }
        heads.sort_unstable_by_key(|(_, head)| head.last_position);
        let mut tile: Option<(Tile, Vec<Hash>)> = None;
        for (_, head) in &mut heads {
            let (index, at) = (head.last_position / 256, (head.last_position % 256) as usize);
            if tile.as_ref().is_none_or(|(tile, _)| tile.index != index) {
                let missing =
                    || Error::new(Code::Internal, format!("the tree has no tile {index} of leaves"));
                let wanted = Tile::of_tree(to, 0, index).ok_or_else(missing)?;
                let hashes = sources.tiles.tile(&wanted)?;
                tile = Some((wanted, hashes));
            }
            let hash = tile.as_ref().and_then(|(_, hashes)| hashes.get(at));
            head.head =
                *hash.ok_or_else(|| Error::new(Code::Internal, "a tile has fewer hashes than it says"))?;
        }
        heads.sort_unstable_by_key(|(key, _)| *key);
        if !heads.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err(Error::new(Code::Internal, "two streams have one key"));
        }
        Ok(Gathered { heads, end, new, quiet })
    }
}
