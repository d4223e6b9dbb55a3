//! Flushing, merging and verifying, on threads or on the caller's.

use super::PartSet;
use super::memory::MemoryPart;
use super::merge::{Merged, candidates, merge};
use super::part::{Part, Verdict};
use super::write::{Plan, Source, write_part};
use crate::env::Env;
use graven_model::{Error, Result};
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Frozen parts that may wait for the flusher before the writer does: bounds memory.
const FROZEN_MAX: usize = 8;
/// Pause after a failed flush or merge.
const RETRY: Duration = Duration::from_secs(1);

/// How often the set is asked for before what look-ups have brought into memory is let go: each brings in some tens of
/// kilobytes at the most.
const ASKED_BEFORE_RELEASE: u32 = 8_192;

/// Files of so many bytes together may be in memory as a whole.
const MAPPED_BYTES_MAX: u64 = 128 << 20;

/// Lets go of the memory of the files, if they are larger together than what may be in memory. The bytes mostly stay in
/// the page cache, where the system can take them without asking.
fn release(set: &PartSet) {
    if set.sealed.iter().map(|part| part.file_bytes).sum::<u64>() > MAPPED_BYTES_MAX {
        set.sealed.iter().for_each(|part| part.release());
    }
}

/// What threads and callers share. No lock is held during file I/O, but the read lock of a frozen part, which nobody
/// writes.
pub(super) struct Shared {
    env: Env,
    dir: PathBuf,
    set: RwLock<Arc<PartSet>>,
    work: Mutex<Work>,
    /// `work` has changed in a way somebody may wait for.
    changed: Condvar,
    stop: AtomicBool,
    pub(super) damaged: AtomicBool,
    /// How often the set was asked for.
    asked: AtomicU32,
}

#[derive(Default)]
struct Work {
    /// Oldest first.
    frozen: VecDeque<Frozen>,
    durable: u64,
    flushing: bool,
    merging: bool,
    flush_failure: Option<Error>,
    merge_failure: Option<Error>,
}

#[derive(Clone)]
struct Frozen {
    part: Arc<MemoryPart>,
    end: u64,
    trailer: Arc<[u8]>,
}

impl Work {
    /// The oldest frozen part, if it may be written and nobody is at it.
    fn ready(&self) -> Option<&Frozen> {
        self.frozen.front().filter(|frozen| frozen.end <= self.durable && !self.flushing)
    }
}

impl Shared {
    pub(super) fn new(env: Env, dir: PathBuf, set: RwLock<Arc<PartSet>>) -> Shared {
        Shared {
            env,
            dir,
            set,
            work: Mutex::default(),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            asked: AtomicU32::new(0),
        }
    }

    /// The parts as they are now; they stay readable as long as the set is held.
    pub(super) fn set(&self) -> Arc<PartSet> {
        let set = Arc::clone(&self.set.read());
        if self.asked.fetch_add(1, Ordering::Relaxed) % ASKED_BEFORE_RELEASE == ASKED_BEFORE_RELEASE - 1 {
            release(&set);
        }
        set
    }

    fn change_set(&self, change: impl FnOnce(&mut PartSet)) {
        let mut set = self.set.write();
        let mut changed = PartSet::clone(&set);
        change(&mut changed);
        *set = Arc::new(changed);
    }

    pub(super) fn freeze(&self, trailer: Vec<u8>, flush_events: usize, inline: bool) {
        let part = Arc::clone(self.set().open_part());
        let events = part.data.read().events();
        if events == 0 {
            return;
        }
        let end = part.base + u64::from(events);
        let mut work = self.work.lock();
        let mut waited = false;
        while !inline
            && work.frozen.len() >= FROZEN_MAX
            && work.frozen.front().is_some_and(|frozen| frozen.end <= work.durable)
            && work.flush_failure.is_none()
            && !self.stop.load(Ordering::Acquire)
        {
            if !waited {
                tracing::warn!(
                    parts = work.frozen.len(),
                    "the writer waits for the index to be written to disk"
                );
            }
            waited = true;
            self.changed.wait(&mut work);
        }
        work.frozen.push_back(Frozen { part, end, trailer: trailer.into() });
        self.change_set(|set| set.memory.push(Arc::new(MemoryPart::new(end, flush_events))));
        self.changed.notify_all();
    }

    /// True if a frozen part waits.
    pub(super) fn durable(&self, next: u64) -> bool {
        let mut work = self.work.lock();
        work.durable = work.durable.max(next);
        let waiting = work.ready().is_some();
        if waiting && work.flush_failure.is_none() {
            self.changed.notify_all();
        }
        waiting
    }

    pub(super) fn failure(&self) -> Option<Error> {
        let work = self.work.lock();
        work.flush_failure.clone().or_else(|| work.merge_failure.clone())
    }

    pub(super) fn stop(&self) {
        let _work = self.work.lock();
        self.stop.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Flushes and merges what there is, on this thread. Failures are kept for `failure`; the next call tries again.
    pub(super) fn work_inline(&self) {
        while let Ok(true) = self.flush_next() {}
        while let Ok(true) = self.merge_next() {}
    }

    pub(super) fn run_flusher(&self) {
        loop {
            let mut work = self.work.lock();
            while work.ready().is_none() && !self.stopping() {
                self.changed.wait(&mut work);
            }
            drop(work);
            if self.stopping() {
                return;
            }
            if self.flush_next().is_err() {
                self.pause();
            }
        }
    }

    pub(super) fn run_merger(&self) {
        loop {
            match self.merge_next() {
                Ok(true) => {}
                Ok(false) => {
                    let mut work = self.work.lock();
                    while candidates(&self.set().sealed).is_none() && !self.stopping() {
                        self.changed.wait(&mut work);
                    }
                    // Merging what lies beside a damaged file would only make the rebuild larger.
                    while self.damaged.load(Ordering::Acquire) && !self.stopping() {
                        self.changed.wait(&mut work);
                    }
                }
                Err(_) => self.pause(),
            }
            if self.stopping() {
                return;
            }
        }
    }

    /// Waits a moment, less if asked to stop.
    fn pause(&self) {
        let mut work = self.work.lock();
        if !self.stopping() {
            self.changed.wait_while_for(&mut work, |_| !self.stopping(), RETRY);
        }
    }

    /// Writes the oldest frozen part, if its events are durable; true if it did.
    ///
    /// # Errors
    /// Those of the disk; the part stays where it is.
    pub(super) fn flush_next(&self) -> Result<bool> {
        let mut work = self.work.lock();
        let Some(frozen) = work.ready().cloned() else { return Ok(false) };
        work.flushing = true;
        drop(work);
        let written = self.write_frozen(&frozen);
        if let Ok(part) = &written {
            let part = Arc::clone(part);
            self.change_set(|set| {
                assert!(Arc::ptr_eq(&set.memory[0], &frozen.part), "parts are flushed in order");
                set.memory.remove(0);
                set.sealed.push(part);
            });
        }
        let mut work = self.work.lock();
        work.flushing = false;
        self.changed.notify_all();
        match written {
            Ok(_) => {
                work.frozen.pop_front();
                work.flush_failure = None;
                Ok(true)
            }
            Err(error) => {
                let error = Error::io("cannot write an index file", &error);
                if work.flush_failure.as_ref() != Some(&error) {
                    tracing::warn!(%error, "the index stays in memory until it can be written");
                }
                work.flush_failure = Some(error.clone());
                Err(error)
            }
        }
    }

    fn write_frozen(&self, frozen: &Frozen) -> io::Result<Arc<Part>> {
        let memory = frozen.part.data.read();
        assert_eq!(frozen.part.base + u64::from(memory.events()), frozen.end, "a frozen part does not grow");
        let plan = Plan {
            level: 0,
            base: frozen.part.base,
            end: frozen.end,
            trailer: &frozen.trailer,
            sources: vec![Source::Memory(memory.sorted())],
        };
        // A flush is short and is not given up half-way.
        let never = AtomicBool::new(false);
        write_part(&self.env, &self.dir, &plan, &never).map(Arc::new)
    }

    /// Merges the next files, if there are enough; true if it did.
    fn merge_next(&self) -> Result<bool> {
        let sealed = self.set().sealed.clone();
        let Some(range) = candidates(&sealed).filter(|_| !self.damaged.load(Ordering::Acquire)) else {
            return Ok(false);
        };
        self.work.lock().merging = true;
        let old = &sealed[range.clone()];
        let merged = merge(&self.env, &self.dir, old, &self.stop);
        let outcome = match merged {
            Ok(Merged::Part(part)) => {
                // Flushes add at the end and only merges remove: the range still holds the same files.
                self.change_set(|set| drop(set.sealed.splice(range, [part])));
                old.iter().for_each(|part| self.remove_file(part));
                Ok(true)
            }
            Ok(Merged::Damaged(index)) => {
                self.report_damage(&old[index]);
                Ok(false)
            }
            Err(error) => Err(error),
        };
        let mut work = self.work.lock();
        work.merging = false;
        self.changed.notify_all();
        match outcome {
            Ok(merged) => {
                work.merge_failure = None;
                Ok(merged)
            }
            Err(error) if self.stopping() && error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => {
                let error = Error::io("cannot merge index files", &error);
                if work.merge_failure.as_ref() != Some(&error) {
                    tracing::warn!(%error, "index files are merged later");
                }
                work.merge_failure = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Compares the checksums of the files there are, newest first, until one is damaged.
    pub(super) fn verify_parts(&self) {
        for part in self.set().sealed.iter().rev() {
            match part.verify(&*self.env.disk, &self.stop) {
                Ok(Verdict::Intact) => {}
                Ok(Verdict::Damaged) => return self.report_damage(part),
                Ok(Verdict::Stopped) => return,
                // Merged meanwhile, and verified before that; or not to be opened, which the next start will say.
                Err(_) => {}
            }
        }
    }

    /// The file is removed, so that the next start sees the gap, and stays in use until then.
    fn report_damage(&self, part: &Part) {
        let file = part.path.display();
        tracing::error!(%file, "an index file is damaged; its events are indexed again at the next start");
        self.damaged.store(true, Ordering::Release);
        self.remove_file(part);
    }

    fn remove_file(&self, part: &Part) {
        if let Err(error) = self.env.disk.remove(&part.path) {
            let file = part.path.display();
            tracing::warn!(%file, %error, "cannot remove an index file that is no longer needed");
        }
    }

    #[cfg(test)]
    pub(super) fn settle(&self) {
        let mut work = self.work.lock();
        while work.flushing
            || work.merging
            || work.ready().is_some()
            || candidates(&self.set().sealed).is_some()
        {
            self.changed.wait(&mut work);
        }
    }
}
