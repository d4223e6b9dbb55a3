//! Names repeat from line to line: allocate and check them once.

use crate::error::Result;
use crate::ids::{StreamName, Text};
use bytes::Bytes;

/// Slots for stream names, of which a file has many.
const STREAM_SLOTS: usize = 4096;
const TYPE_SLOTS: usize = 256;
/// Longer names are not remembered; with the slots this bounds the memory to about 1 MiB.
const REMEMBERED_BYTES_MAX: usize = 256;

/// Stream names, type names and metadata of the events read so far, to be shared by the next ones. Bounded: each name
/// has one slot, which the last name that fell into it holds.
#[derive(Debug)]
pub struct Interner {
    streams: Box<[Option<StreamName>]>,
    types: Box<[Option<Text>]>,
    /// The metadata of the last event that had nothing but a `source`.
    source: Option<(Text, Bytes)>,
}

impl Default for Interner {
    fn default() -> Interner {
        Interner {
            streams: vec![None; STREAM_SLOTS].into(),
            types: vec![None; TYPE_SLOTS].into(),
            source: None,
        }
    }
}

impl Interner {
    /// One that remembers nothing yet.
    #[must_use]
    pub fn new() -> Interner {
        Interner::default()
    }

    pub(super) fn stream(&mut self, name: &str) -> Result<StreamName> {
        if name.len() > REMEMBERED_BYTES_MAX {
            return StreamName::new(name);
        }
        let slot = &mut self.streams[slot(name, STREAM_SLOTS)];
        match slot {
            Some(known) if known.as_str() == name => Ok(known.clone()),
            _ => Ok(slot.insert(StreamName::new(name)?).clone()),
        }
    }

    pub(super) fn event_type(&mut self, name: &str) -> Text {
        if name.len() > REMEMBERED_BYTES_MAX {
            return name.into();
        }
        let slot = &mut self.types[slot(name, TYPE_SLOTS)];
        match slot {
            Some(known) if &**known == name => known.clone(),
            _ => slot.insert(name.into()).clone(),
        }
    }

    /// The metadata of an event that has nothing but this `source`.
    pub(super) fn source(&mut self, source: &str, metadata: impl FnOnce() -> Bytes) -> Bytes {
        if source.len() > REMEMBERED_BYTES_MAX {
            return metadata();
        }
        match &self.source {
            Some((known, bytes)) if &**known == source => bytes.clone(),
            _ => self.source.insert((source.into(), metadata())).1.clone(),
        }
    }
}

/// A quick hash; names that collide only forget one another.
fn slot(name: &str, slots: usize) -> usize {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = name.as_bytes().as_chunks::<8>();
    let mut hash = name.len() as u64;
    for word in words {
        hash = (hash.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
    }
    let last = rest.iter().fold(0, |last, byte| last << 8 | u64::from(*byte));
    hash = (hash.rotate_left(23) ^ last).wrapping_mul(FACTOR);
    (hash >> 32) as usize % slots
}
