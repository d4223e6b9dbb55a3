//! Proofs, tiles and leaves, read from what is durable. Signs nothing and changes nothing.

use super::signer::not_reached;
use crate::append::{LeafPlace, Pending, Shared, leaf_of, subject_tag};
use crate::log::frame::{Record, Subject};
use crate::log::reader::Reader;
use graven_model::{Code, Error, Kind, Result, StreamName};
use graven_proof::Hash;
use graven_proof::leaf;
use graven_proof::merkle::{ProveError, Tiled, TiledError, Tree, leaf_hash};
use graven_proof::tiles::{Bundle, Tile, encode_bundle};
use std::collections::HashMap;
use std::ops::Range;

/// Hashes beside the path from a leaf to the root of the tree of the first `size` leaves.
pub(super) fn inclusion(shared: &Shared, position: u64, size: u64) -> Result<Vec<Hash>> {
    proven(shared, size, |tree| tree.inclusion(position))
}

/// Hashes that show the tree of `to` leaves to begin with that of `from`.
pub(super) fn consistency(shared: &Shared, from: u64, to: u64) -> Result<Vec<Hash>> {
    proven(shared, to, |tree| tree.consistency(from))
}

/// Roots of the perfect subtrees before and after a range of leaves.
pub(super) fn range(shared: &Shared, positions: Range<u64>, size: u64) -> Result<Vec<Hash>> {
    proven(shared, size, |tree| tree.range(positions))
}

type Read<'a> = Box<dyn FnMut(Tile) -> Result<Vec<Hash>> + 'a>;

fn proven<T>(
    shared: &Shared,
    size: u64,
    prove: impl FnOnce(&mut Tree<Tiled<Read<'_>>>) -> std::result::Result<T, ProveError<TiledError<Error>>>,
) -> Result<T> {
    expect_reached(shared, size)?;
    let read: Read<'_> = Box::new(|tile| shared.sources.tiles.tile(&tile));
    prove(&mut Tree::new(size, Tiled::new(size, read))).map_err(|error| match error {
        ProveError::NoSuchProof(why) => {
            Error::new(Code::BadRequest, format!("there is no such proof: {why}"))
        }
        ProveError::Read(TiledError::Read(error)) => error,
        ProveError::Read(other) => Error::new(Code::Internal, format!("a tile cannot be used: {other}")),
    })
}

fn expect_reached(shared: &Shared, size: u64) -> Result<()> {
    let head = shared.head();
    if size > head { Err(not_reached(size, head)) } else { Ok(()) }
}

/// The bytes of a tile: its hashes one after the other.
pub(super) fn tile(shared: &Shared, tile: &Tile) -> Result<Vec<u8>> {
    let there = Tile::of_tree(shared.head(), tile.level, tile.index);
    match there {
        Some(there) if tile.width > 0 && tile.width <= there.width => {
            Ok(shared.sources.tiles.tile(tile)?.into_flattened())
        }
        _ => Err(Error::new(
            Code::SizeNotReached,
            format!("the tree has no tile {} on level {} of this width yet", tile.index, tile.level),
        )
        .expected(format!("at most {} hashes", there.map_or(0, |there| there.width)))
        .found(tile.width.to_string())),
    }
}

/// The bytes of a bundle of leaves, each compared with the tree.
pub(super) fn bundle(shared: &Shared, origin: &str, bundle: &Bundle) -> Result<Vec<u8>> {
    let end = bundle.first().saturating_add(bundle.width.into());
    expect_reached(shared, end)?;
    let mut leaves = Leaves::new(shared, origin);
    let mut bytes = Vec::with_capacity(usize::from(bundle.width));
    for position in bundle.first()..end {
        bytes.push(leaves.at(position)?);
    }
    let mut out = Vec::new();
    encode_bundle(bytes.iter().map(Vec::as_slice), &mut out)
        .map_err(|error| Error::new(Code::BadRequest, format!("there is no such bundle: {error}")))?;
    Ok(out)
}

/// Leaves as they were hashed, made again from records. Keeps the keyed names it came across: for one request.
pub(crate) struct Leaves<'a> {
    shared: &'a Shared,
    pending: Pending,
    reader: Reader,
    streams: HashMap<String, Hash>,
    tags: HashMap<String, Hash>,
    head: u64,
    /// What stands before position 0.
    genesis: Hash,
}

/// Names kept at the most.
const NAMES_MAX: usize = 4096;

impl<'a> Leaves<'a> {
    /// `origin`: of the log.
    pub(crate) fn new(shared: &'a Shared, origin: &str) -> Leaves<'a> {
        let head = shared.head();
        Leaves {
            shared,
            pending: Pending::none_below(head),
            reader: Reader::new(&shared.sources.log),
            streams: HashMap::new(),
            tags: HashMap::new(),
            head,
            genesis: leaf::log_genesis(origin),
        }
    }

    /// The bytes of the leaf at a position, compared with the tree.
    ///
    /// # Errors
    /// [`Code::SizeNotReached`] behind the end, [`Code::Corrupted`] if the record is not what the tree has, [`Code::Io`].
    pub(crate) fn at(&mut self, position: u64) -> Result<Vec<u8>> {
        if position >= self.head {
            return Err(not_reached(position.saturating_add(1), self.head));
        }
        let sources = &self.shared.sources;
        let fetched = self.reader.fetch(position, sources.offset(position)?)?;
        let record = fetched.record()?;
        let tags = self.tags_of(&record)?;
        let stream_key = self.stream_key(record.stream, record.stream_salt)?;
        let prev_stream = match self.before(&record)? {
            Some(before) => sources.leaf(before)?,
            None => leaf::stream_genesis(&stream_key),
        };
        let prev_global = match position.checked_sub(1) {
            Some(before) => sources.leaf(before)?,
            None => self.genesis,
        };
        let place =
            LeafPlace { position, commit_time: fetched.commit_time, stream_key, prev_stream, prev_global };
        let mut bytes = Vec::new();
        leaf_of(&record, &place, &tags).encode(&mut bytes);
        if leaf_hash(&bytes) != sources.leaf(position)? {
            return Err(Error::new(
                Code::Corrupted,
                format!("the event at position {position} is not the one that the audit tree has"),
            ));
        }
        Ok(bytes)
    }

    /// Keyed hashes of a record's tags and its data subject, ascending.
    fn tags_of(&mut self, record: &Record<'_>) -> Result<Vec<Hash>> {
        let mut tags = Vec::with_capacity(record.tags.len() + 1);
        for (tag, salt) in &record.tags {
            tags.push(self.tag_key(tag, *salt)?);
        }
        match record.subject {
            None => {}
            Some(Subject::Named(name, salt)) => tags.push(self.tag_key(&subject_tag(name), salt)?),
            Some(Subject::Keyed(key)) => tags.push(key),
        }
        tags.sort_unstable();
        Ok(tags)
    }

    fn tag_key(&mut self, tag: &str, salt: Option<[u8; 16]>) -> Result<Hash> {
        if let Some(key) = self.tags.get(tag) {
            return Ok(*key);
        }
        let salt = match salt {
            Some(salt) => salt,
            None => self.shared.sources.tag_salt(&self.pending, tag)?.ok_or_else(salt_missing)?,
        };
        let key = leaf::name_key(&salt, tag.as_bytes());
        remember(&mut self.tags, tag, key);
        Ok(key)
    }

    /// Keyed hash of a stream's name; `salt` is the one the record at hand carries, if it does.
    pub(crate) fn stream_key(&mut self, stream: &str, salt: Option<[u8; 16]>) -> Result<Hash> {
        if let Some(key) = self.streams.get(stream) {
            return Ok(*key);
        }
        let salt = match salt {
            Some(salt) => salt,
            None => self.shared.sources.stream_salt(&self.pending, stream)?.ok_or_else(salt_missing)?,
        };
        let key = leaf::name_key(&salt, stream.as_bytes());
        remember(&mut self.streams, stream, key);
        Ok(key)
    }

    /// Position of the stream's event before this record.
    fn before(&self, record: &Record<'_>) -> Result<Option<u64>> {
        let sources = &self.shared.sources;
        if record.kind == Kind::Tombstone {
            return Ok(sources.last(&self.pending, record.stream)?.map(|place| place.position));
        }
        let Some(revision) = record.revision.checked_sub(1) else { return Ok(None) };
        let stream = StreamName::new(record.stream)?;
        let before = sources.at(&self.pending, &stream, revision)?;
        before.map(|(_, place)| Some(place.position)).ok_or_else(|| {
            Error::new(
                Code::Corrupted,
                format!("revision {revision} of stream {:?} cannot be found", record.stream),
            )
        })
    }
}

fn remember(names: &mut HashMap<String, Hash>, name: &str, key: Hash) {
    if names.len() >= NAMES_MAX {
        names.clear();
    }
    names.insert(name.to_owned(), key);
}

fn salt_missing() -> Error {
    Error::new(Code::Corrupted, "the salt of a name in the log cannot be found")
}
