//! Where chunks go.

use super::chunk::{Chunk, Kind};
use graven_model::{Error, Result};

/// One chunk that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Acknowledged {
    /// Every line up to this one is settled.
    pub(super) last_line: u64,
    /// Bytes of the file read for it.
    pub(super) read_bytes: u64,
    /// Events stored.
    pub(super) appended: u64,
    /// Events that were there already.
    pub(super) duplicates: u64,
}

/// A chunk of which nothing was stored.
pub(super) struct Refused {
    /// The chunk, as it was.
    pub(super) chunk: Chunk,
    /// Why.
    pub(super) error: Error,
}

/// A server or a store. Chunks are stored in the order they are handed over.
pub(super) trait Target {
    /// What it takes.
    fn kind(&self) -> Kind;
    /// Hands over a chunk, which may still be on its way when this returns.
    fn submit(&mut self, chunk: Chunk, note: &dyn Fn(&Error)) -> Result<(), Box<Refused>>;
    /// The next acknowledgement, in order. Waits for it only if too much is on its way, or if `all` is to be settled.
    fn acknowledged(&mut self, all: bool) -> Result<Option<Acknowledged>>;
    /// Ends the work.
    fn close(&mut self) -> Result<()>;
}
