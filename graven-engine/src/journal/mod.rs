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
//! A journal that several nodes share ([`SharedJournal`]) has three more:
//!
//! 6. **One term at a time.** [`SharedJournal::claim`] begins the next epoch. From its return on, no batch of an earlier
//!    epoch is stored any more, not even one that was sent before.
//! 7. **A copy can tell.** [`SharedJournal::look`] says what stands at a position now, not what once stood there: a journal
//!    that lost its end does not answer from memory.
//!
//! 8. **Erased in place.** [`SharedJournal::rewrite`] changes the frames of a batch and nothing else of it, and only for who
//!    writes. Whoever reads the batch afterwards finds it at its place, with the checksums it had.
//!
//! The suite in `laws` drives every implementation through conflict, unknown outcome, duplicate, delay and a writer that
//! came back from the dead.

pub mod laws;
mod local;

pub(crate) use local::LocalJournal;
pub use local::open_alone;

use crate::replica::LogIdentity;
use bytes::Bytes;
use graven_model::{Error, Result};
use std::fmt;
use std::time::Duration;

/// Where a journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tail {
    /// Position of the next event.
    pub position: u64,
    /// Checksum of the last frame; the log's seed when there is none.
    pub checksum: u32,
}

/// A run of whole frames committed together.
#[derive(Clone, PartialEq, Eq)]
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

impl fmt::Debug for Batch {
    /// Shows how long the frames are, and not what is in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Batch { expected, tail, epoch, writer: _, number, frames } = self;
        let bytes = frames.len();
        write!(f, "batch {number} of epoch {epoch}: {expected:?} to {tail:?}, {bytes} bytes")
    }
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

/// Who may write to a shared journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Term {
    /// Counted from 1; 0 while nobody has claimed the journal yet.
    pub epoch: u32,
    /// Id of the writer, random for each process.
    pub writer: [u8; 16],
    /// Where clients reach the writer, as an `http://` or `https://` URL; empty if it told none.
    pub address: String,
}

/// What a shared journal shows to one who holds a copy of it up to some position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Where the journal ends.
    pub tail: Tail,
    /// Checksum of the last frame before the position, as [`Tail::checksum`]. `None` if no batch ends there: the journal is
    /// shorter, a batch goes across, or it was trimmed.
    pub checksum: Option<u32>,
    /// Who writes.
    pub term: Term,
}

/// How a journal is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Only if no other writer is connected, as far as the journal can tell. A courtesy: safety never depends on it.
    IfVacant,
    /// In any case.
    TakeOver,
}

/// A journal that several nodes share: one of them writes, all of them keep a copy.
///
/// Calls block, for a bounded time, and connect again by themselves after a failure.
pub trait SharedJournal: Journal {
    /// Whose log it holds; `None` while it holds none.
    ///
    /// # Errors
    /// If the journal cannot be read.
    fn identity(&mut self) -> Result<Option<LogIdentity>>;

    /// Makes it the journal of a log, and answers with whose it is: the first to come decides.
    ///
    /// # Errors
    /// If the journal cannot be changed.
    fn found(&mut self, identity: &LogIdentity) -> Result<LogIdentity>;

    /// Begins the next epoch with this writer. Nobody's if another one claims at the same moment and was faster: then the
    /// term that came of it is in the error's message.
    ///
    /// # Errors
    /// [`graven_model::Code::NotTheWriter`] if another writer is connected, with [`Claim::IfVacant`], or was faster;
    /// otherwise if the journal cannot be changed. After an error of unknown outcome the epoch may have begun.
    fn claim(&mut self, writer: [u8; 16], address: &str, claim: Claim) -> Result<Term>;

    /// Where the journal ends, what it has at position `at`, and who writes: asked of the journal, all at one moment.
    ///
    /// # Errors
    /// If the journal cannot be read.
    fn look(&mut self, at: u64) -> Result<View>;

    /// Puts other frames into a batch that was read: what remains of them once something was erased, with the same events and
    /// header checksums. False if the batch is not there any more, trimmed or replaced; nothing is changed then. For the
    /// writer, whose term was claimed through this connection.
    ///
    /// # Errors
    /// [`graven_model::Code::NotTheWriter`] if the term is over; otherwise if the journal cannot be changed: it may then have
    /// been.
    fn rewrite(&mut self, batch: &Batch) -> Result<bool>;

    /// Waits until the journal may have more than `beyond` positions, at most for `timeout`. May return early for no
    /// reason: a hint.
    ///
    /// # Errors
    /// If the journal cannot be reached. Whoever waits in a loop pauses then.
    fn wait(&mut self, beyond: u64, timeout: Duration) -> Result<()>;

    /// What could make this journal lose batches it acknowledged, each as a sentence with what to do about it; empty if
    /// nothing is known.
    ///
    /// # Errors
    /// If the journal cannot be asked.
    fn risks(&mut self) -> Result<Vec<String>>;
}
