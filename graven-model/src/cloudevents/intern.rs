//! Names repeat from line to line, and so does metadata.

use crate::error::Result;
use crate::ids::{StreamName, Text};
use crate::names::Names;
use bytes::Bytes;

/// Slots for stream names, of which a file has many.
const STREAM_SLOTS: usize = 4096;
/// The metadata of a longer source is not remembered.
const REMEMBERED_BYTES_MAX: usize = 256;

/// Stream names, type names and metadata of the events read so far, to be shared by the next ones. Bounded as [`Names`]
/// are, to about 1 MiB.
#[derive(Debug)]
pub struct Interner {
    names: Names,
    /// The metadata of the last event that had nothing but a `source`.
    source: Option<(Text, Bytes)>,
}

impl Default for Interner {
    fn default() -> Interner {
        Interner { names: Names::with_stream_slots(STREAM_SLOTS), source: None }
    }
}

impl Interner {
    /// One that remembers nothing yet.
    #[must_use]
    pub fn new() -> Interner {
        Interner::default()
    }

    pub(super) fn stream(&mut self, name: &str) -> Result<StreamName> {
        self.names.stream(name)
    }

    pub(super) fn event_type(&mut self, name: &str) -> Text {
        self.names.text(name)
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
