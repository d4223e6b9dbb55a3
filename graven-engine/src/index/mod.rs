//! Finds events by stream, id, type, category and tag without reading the log.
//!
//! The writer adds every event to a part in memory. At a batch boundary the part is frozen, written to an immutable
//! file once its events are durable, and files are merged eight to one, both on threads of their own: an append waits
//! for neither. Hits are candidates: names are known by 64-bit hashes only, so the caller fetches the record and
//! compares. Everything here is derived: what is missing or damaged is dropped at start and indexed again from the
//! log.
//!
//! This room never reads the log, never sees a name, and never answers with a position at or above the caller's
//! watermark (`below`); the parts in memory may hold such positions before they are durable.
//!
//! Read in this order: `hash`, `memory` (with `table`), `lookup`, `query` (with `list`), `rank`, `format`, `write`, `part`,
//! `open`, `worker`, `merge`.

mod bloom;
mod format;
mod hash;
mod list;
mod lookup;
mod memory;
mod merge;
mod open;
mod packed;
mod part;
mod query;
mod rank;
mod streams;
mod table;
#[cfg(test)]
mod tests;
mod worker;
mod write;

pub(crate) use hash::Hasher;
pub(crate) use query::{Item, Term, TermQuery};
pub(crate) use streams::StreamFrom;

use crate::env::{Env, spawn_named};
use graven_model::{Error, Result};
use memory::MemoryPart;
use parking_lot::{Mutex, RwLock};
use part::Part;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use worker::Shared;

/// Entries added under one hold of the write lock: a reader waits for no more.
const INSERT_CHUNK: usize = 256;

/// One event as the index sees it. Names are keys made by [`Hasher`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// Position in the log.
    pub(crate) position: u64,
    /// Byte offset of the record in its segment.
    pub(crate) offset: u32,
    pub(crate) stream: u64,
    pub(crate) revision: u64,
    /// The event is its stream's tombstone: found by [`Index::tombstone`], not among the stream's events.
    pub(crate) tombstone: bool,
    pub(crate) event_type: u64,
    pub(crate) category: Option<u64>,
    pub(crate) tags: &'a [u64],
    pub(crate) id: u64,
}

/// The index of a store. One thread inserts and freezes, any thread looks up.
pub(crate) struct Index {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    flush_events: usize,
    /// Flush and merge on the calling thread.
    inline: bool,
}

/// The index, and if there are files: the position up to which they reach, and the newest one's trailer.
pub(crate) type Opened = (Arc<Index>, Option<(u64, Vec<u8>)>);

/// The parts at one moment: adjacent, oldest first, files before memory.
#[derive(Clone)]
struct PartSet {
    sealed: Vec<Arc<Part>>,
    /// Frozen ones, and last the open one.
    memory: Vec<Arc<MemoryPart>>,
}

impl PartSet {
    fn open_part(&self) -> &Arc<MemoryPart> {
        self.memory.last().expect("there is always an open part")
    }
}

impl Index {
    /// Opens the index files in `dir` (created if missing). Damaged files, and all behind the first gap, are removed.
    /// Answers with the position up to which the files reach and the newest file's trailer, if there are files.
    ///
    /// While all files together are small their checksums are compared now, else on a thread (see
    /// [`Index::damaged`]). `flush_events`: events the open part is expected to hold. `inline`: no threads; flushes
    /// and merges happen in the calls to `freeze` and `durable`, for runs that must be repeatable.
    ///
    /// # Errors
    /// The directory or a file in it cannot be opened, or a file not removed.
    pub(crate) fn open(env: &Env, dir: &Path, flush_events: usize, inline: bool) -> Result<Opened> {
        let verify_bytes = if inline { u64::MAX } else { open::VERIFY_AT_OPEN_BYTES };
        Index::open_verifying(env, dir, flush_events, inline, verify_bytes)
    }

    /// As `open`; checksums are compared at once if all files together have at most `verify_bytes`.
    fn open_verifying(
        env: &Env,
        dir: &Path,
        flush_events: usize,
        inline: bool,
        verify_bytes: u64,
    ) -> Result<Opened> {
        let opened = open::open_parts(env, dir, verify_bytes)?;
        let newest = opened.parts.last().map(|part| (part.end(), part.trailer().to_vec()));
        let base = newest.as_ref().map_or(0, |newest| newest.0);
        let open = Arc::new(MemoryPart::new(base, flush_events));
        let set = PartSet { sealed: opened.parts, memory: vec![open] };
        let shared = Arc::new(Shared::new(env.clone(), dir.to_owned(), RwLock::new(Arc::new(set))));
        let mut threads = Vec::new();
        if !inline {
            let start = |name, body: fn(&Shared)| {
                let shared = Arc::clone(&shared);
                spawn_named(name, move || body(&shared))
            };
            threads.push(start("graven-index-flush", Shared::run_flusher));
            threads.push(start("graven-index-merge", Shared::run_merger));
            if !opened.verified {
                threads.push(start("graven-index-verify", Shared::verify_parts));
            }
        }
        let index = Index { shared, threads: Mutex::new(threads), flush_events, inline };
        Ok((Arc::new(index), newest))
    }

    /// Removes all index files; the store is indexed again from the log.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub(crate) fn wipe(env: &Env, dir: &Path) -> Result<()> {
        open::wipe(env, dir)
    }

    /// Adds events; positions go on from the last one without a gap. For the writer only.
    ///
    /// # Panics
    /// If a position is not the next one.
    pub(crate) fn insert<'a>(&self, entries: impl IntoIterator<Item = Entry<'a>>) {
        let part = Arc::clone(self.shared.set().open_part());
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let mut memory = part.data.write();
            entries.by_ref().take(INSERT_CHUNK).for_each(|entry| memory.insert(&entry));
        }
    }

    /// Events in the open part.
    pub(crate) fn open_events(&self) -> usize {
        self.shared.set().open_part().data.read().events() as usize
    }

    /// Ends the open part, with a trailer given back when the index is opened again, and begins a new one. For the
    /// writer only. Waits for the flusher while too many parts wait whose events are durable, unless flushing fails:
    /// then memory grows, and the caller looks at [`Index::failure`].
    pub(crate) fn freeze(&self, trailer: Vec<u8>) {
        self.shared.freeze(trailer, self.flush_events, self.inline);
        if self.inline {
            self.shared.work_inline();
        }
    }

    /// All positions below `next` are durable: frozen parts that end there may be written.
    pub(crate) fn durable(&self, next: u64) {
        if self.shared.durable(next) && self.inline {
            self.shared.work_inline();
        }
    }

    /// Stops the threads and writes the frozen parts whose events are durable. A merge under way is given up; it is
    /// begun again after the next start.
    ///
    /// # Errors
    /// A part cannot be written.
    pub(crate) fn close(&self) -> Result<()> {
        self.stop_threads();
        while self.shared.flush_next()? {}
        Ok(())
    }

    fn stop_threads(&self) {
        self.shared.stop();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("an index thread has panicked");
            }
        }
    }

    /// Why the last flush or merge failed, until one succeeds. Flushes are tried again every second.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.shared.failure()
    }

    /// A checksum did not match after the start, or a file does not hold together. The file was removed, so that the
    /// next start indexes its events again; until then lookups may miss events.
    pub(crate) fn damaged(&self) -> bool {
        self.shared.damaged.load(Ordering::Acquire)
    }

    /// Bytes of all index files.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.shared.set().sealed.iter().map(|part| part.file_bytes).sum()
    }

    /// Waits until nothing is left to flush or merge.
    #[cfg(test)]
    pub(crate) fn settle(&self) {
        self.shared.settle();
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.stop_threads();
    }
}
