//! Keys and heads of streams, keys of tags, as a check comes across them.
//!
//! A check from the beginning of the log needs nothing else: the salts stand in the first record of each name. One that
//! begins later, or has more streams than there is room for, looks in the index of an open store; what it finds there is
//! no authority, since a wrong key or head leads to a wrong leaf.

use crate::append::{Pending, Sources};
use crate::env::Entropy;
use graven_model::{Result, StreamName};
use graven_proof::Hash;
use graven_proof::leaf;
use graven_proof::trie::StreamHead;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// What is known of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) key: Hash,
    /// Where it stands after its last event so far; before its first one there is none.
    pub(super) head: Option<StreamHead>,
}

/// A name by 128 bits under a random key: nobody can choose names that collide.
type Fingerprint = [u64; 2];

/// Streams and tags, bounded.
pub(super) struct Heads<'a> {
    seed: [u8; 16],
    streams: HashMap<Fingerprint, u32, Spread>,
    known: Vec<Known>,
    tags: HashMap<Fingerprint, Hash, Spread>,
    max: usize,
    index: Option<(&'a Sources, Pending)>,
    /// Something was forgotten, or not from the beginning.
    pub(super) partial: bool,
    /// There was no room for a tag.
    pub(super) tags_full: bool,
}

type Spread = BuildHasherDefault<First>;

/// Takes the first word of a fingerprint for its hash.
#[derive(Default)]
struct First(u64);

impl Hasher for First {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks::<8>();
        self.0 = words.first().map_or(0, |word| u64::from_ne_bytes(*word));
    }
}

impl<'a> Heads<'a> {
    /// From the beginning of a log; `max` streams and as many tags at the most.
    pub(super) fn new(entropy: &mut Entropy, max: usize) -> Heads<'a> {
        Heads {
            seed: entropy.bytes(),
            streams: HashMap::default(),
            known: Vec::new(),
            tags: HashMap::default(),
            max,
            index: None,
            partial: false,
            tags_full: false,
        }
    }

    /// With an index to look in for what is not in memory, below a head.
    pub(super) fn with_index(mut self, sources: &'a Sources, head: u64) -> Heads<'a> {
        self.index = Some((sources, Pending::none_below(head)));
        self
    }

    /// The stream of a record, by a number that holds until the next call. `Err`: why it cannot be known.
    pub(super) fn stream(
        &mut self,
        name: &str,
        salt: Option<[u8; 16]>,
        revision: u64,
    ) -> Result<std::result::Result<u32, Unknown>> {
        let fingerprint = self.fingerprint(name, b's');
        if let Some(slot) = self.streams.get(&fingerprint).copied() {
            let begun = self.known[slot as usize].head.is_some();
            return Ok(if salt.is_some() && begun { Err(Unknown::SaltAgain) } else { Ok(slot) });
        }
        if let Some(salt) = salt {
            if StreamName::new(name).is_err() && name != "$audit" {
                return Ok(Err(Unknown::Name));
            }
            let key = leaf::name_key(&salt, name.as_bytes());
            return Ok(self.keep(fingerprint, Known { key, head: None }).ok_or(Unknown::TooMany));
        }
        let Some((sources, pending)) = &self.index else {
            return Ok(Err(if self.streams.len() >= self.max { Unknown::TooMany } else { Unknown::NoSalt }));
        };
        let Ok(stream) = StreamName::new(name) else { return Ok(Err(Unknown::Name)) };
        let Some(salt) = sources.stream_salt(pending, name)? else { return Ok(Err(Unknown::NoSalt)) };
        let before = match revision.checked_sub(1) {
            Some(before) if revision < i64::MAX as u64 => {
                sources.at(pending, &stream, before)?.map(|(_, place)| place)
            }
            _ => sources.last(pending, name)?,
        };
        let Some(before) = before else { return Ok(Err(Unknown::NoSalt)) };
        let head = StreamHead {
            next_version: before.revision + 1,
            first_position: 0,
            last_position: before.position,
            head: sources.leaf(before.position)?,
            tombstoned: false,
        };
        let key = leaf::name_key(&salt, name.as_bytes());
        self.partial = true;
        Ok(self.keep(fingerprint, Known { key, head: Some(head) }).ok_or(Unknown::TooMany))
    }

    fn keep(&mut self, fingerprint: Fingerprint, known: Known) -> Option<u32> {
        if self.known.len() >= self.max {
            self.partial = true;
            self.index.as_ref()?;
            self.streams.clear();
            self.known.clear();
        }
        let slot = u32::try_from(self.known.len()).ok()?;
        self.known.push(known);
        self.streams.insert(fingerprint, slot);
        Some(slot)
    }

    /// Keyed hash of the name of a stream that was come across before.
    pub(super) fn key(&mut self, name: &str, salt: Option<[u8; 16]>) -> Result<Option<Hash>> {
        let fingerprint = self.fingerprint(name, b's');
        if let Some(slot) = self.streams.get(&fingerprint) {
            return Ok(Some(self.known[*slot as usize].key));
        }
        if let Some(salt) = salt {
            return Ok(Some(leaf::name_key(&salt, name.as_bytes())));
        }
        let Some((sources, pending)) = &self.index else { return Ok(None) };
        let salt = sources.stream_salt(pending, name)?;
        Ok(salt.map(|salt| leaf::name_key(&salt, name.as_bytes())))
    }

    /// What is known of a stream.
    pub(super) fn at(&mut self, slot: u32) -> &mut Known {
        &mut self.known[slot as usize]
    }

    /// Streams in memory.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Keyed hash of a tag; `salt` if the record brings it along.
    pub(super) fn tag(&mut self, tag: &str, salt: Option<[u8; 16]>) -> Result<Option<Hash>> {
        let fingerprint = self.fingerprint(tag, b't');
        let key = match (salt, self.tags.get(&fingerprint)) {
            (None, Some(key)) => return Ok(Some(*key)),
            (Some(salt), _) => leaf::name_key(&salt, tag.as_bytes()),
            (None, None) => {
                let Some((sources, pending)) = &self.index else { return Ok(None) };
                let Some(salt) = sources.tag_salt(pending, tag)? else { return Ok(None) };
                leaf::name_key(&salt, tag.as_bytes())
            }
        };
        if self.tags.len() >= self.max {
            self.tags_full = self.index.is_none();
            if self.tags_full {
                return Ok(Some(key));
            }
            self.tags.clear();
        }
        self.tags.insert(fingerprint, key);
        Ok(Some(key))
    }

    fn fingerprint(&self, name: &str, domain: u8) -> Fingerprint {
        let mut hasher = SipHasher13::new_with_key(&self.seed);
        hasher.write_u8(domain);
        hasher.write(name.as_bytes());
        let hash = hasher.finish128();
        [hash.h1, hash.h2]
    }
}

/// Why a stream is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// No record brought its salt along.
    NoSalt,
    /// Its salt stands in a record that is not its first.
    SaltAgain,
    /// No stream can have the name.
    Name,
    /// There are more than there is room for.
    TooMany,
}
