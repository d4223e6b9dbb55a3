//! The commit point: [`Journal`], and its laws.
//!
//! A journal holds batches, each a run of whole frames, one after the other without a gap.
//!
//! # Laws
//!
//! 1. **Compare and append.** `commit(expected, batch)` stores `batch` only if the journal ends at `expected`. At most one
//!    batch ever follows a given tail, however many writers try.
//! 2. **Three outcomes.** [`Outcome::Appended`]: durable, in the sense the implementation documents, and visible to
//!    `read`. [`Outcome::Conflict`]: nothing was stored; the tail is told. [`Outcome::Unknown`]: the batch is there or will
//!    be or will never be; the caller reads the expected position to find out and never retries blindly.
//! 3. **Order.** `read(from)` gives committed batches in order, each exactly once, and stops at the first gap.
//! 4. **Trim.** After `trim(before)` batches that end at or below `before` may be gone; the others stay.
//! 5. **Epochs.** A batch carries the epoch and the id of its writer. A writer of an older epoch gets `Conflict`.
//!
//! The suite in `laws` drives every implementation through conflict, unknown outcome, duplicate, delay and a writer that
//! came back from the dead.

pub mod laws;
mod local;

pub(crate) use local::LocalJournal;
pub use local::open_alone;

use bytes::Bytes;
use graven_model::{Error, Result};

/// Where a journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tail {
    /// Position of the next event.
    pub position: u64,
    /// Checksum of the last frame; the log's seed when there is none.
    pub checksum: u32,
}

/// A run of whole frames committed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Where the journal must end for this batch to follow.
    pub expected: Tail,
    /// Where it ends afterwards.
    pub tail: Tail,
    /// Epoch of the writer.
    pub epoch: u32,
    /// Id of the writer, random for each process.
    pub writer: [u8; 16],
    /// Number of the batch, counted by its writer. With `writer` it tells a batch from another one of equal content.
    pub number: u64,
    /// The frames as stored.
    pub frames: Bytes,
}

/// What came of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Durable.
    Appended(Tail),
    /// Not stored: the journal ends elsewhere.
    Conflict(Tail),
    /// Stored or not; only reading tells.
    Unknown(Error),
}

/// A commit point. See the module for its laws.
pub trait Journal: Send {
    /// Where the journal ends, as far as this writer knows.
    fn tail(&self) -> Tail;

    /// Appends a batch if the journal ends where the batch expects it.
    fn commit(&mut self, batch: &Batch) -> Outcome;

    /// Committed batches from a position on, in order, at least one if there is one, at most about `bytes_max` of frames.
    /// Batch boundaries may be finer than they were committed, never coarser.
    ///
    /// # Errors
    /// If the journal cannot be read.
    fn read(&mut self, from: u64, bytes_max: usize) -> Result<Vec<Batch>>;

    /// Allows batches that end at or below `before` to go.
    ///
    /// # Errors
    /// If the journal cannot be changed.
    fn trim(&mut self, before: u64) -> Result<()>;
}
