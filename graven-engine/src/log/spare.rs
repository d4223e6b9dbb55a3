//! The next segment, made before it is needed.
//!
//! A spare gets its space from the file system at once, and its zeros little by little, so that the filling does not
//! compete with appends. A log that grows faster than that takes the spare as it is: the rest of its zeros is then only
//! reserved, and a flush there costs a little more, which large batches do not notice.

use crate::env::{DiskFile, Env, Open, spawn_named};
use graven_model::{Code, Error, Result};
use parking_lot::{Condvar, Mutex};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// File name of the spare in the log's directory.
pub(super) const NAME: &str = "spare";
/// Zeros written at once, and the pause after them: about 100 MiB a second.
const CHUNK_BYTES: u64 = 1 << 20;
const PAUSE: Duration = Duration::from_millis(10);

/// Makes spares and gives the unused ends of sealed segments back, on a thread of its own.
pub(super) struct Spare {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    env: Env,
    dir: PathBuf,
    reserve_bytes: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Bytes of the spare that lies ready.
    ready: Option<u64>,
    /// Zeros written to it so far.
    filled: u64,
    /// A wish that is not served yet.
    wanted: Option<u64>,
    /// A chunk of zeros is being written right now.
    filling: bool,
    /// Segments to cut to their used length.
    trim: Vec<(PathBuf, u64)>,
    /// One is being cut right now.
    trimming: bool,
    stop: bool,
}

impl Spare {
    pub(super) fn new(env: &Env, dir: &Path, reserve_bytes: u64) -> Spare {
        Spare::with(env, dir, reserve_bytes, !env.is_simulated())
    }

    /// Makes spares only when they are needed: for a log whose writes nobody waits to be durable.
    pub(super) fn none(env: &Env, dir: &Path, reserve_bytes: u64) -> Spare {
        Spare::with(env, dir, reserve_bytes, false)
    }

    fn with(env: &Env, dir: &Path, reserve_bytes: u64, thread: bool) -> Spare {
        let shared = Arc::new(Shared {
            env: env.clone(),
            dir: dir.to_owned(),
            reserve_bytes,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let thread = thread.then(|| {
            let shared = Arc::clone(&shared);
            spawn_named("graven-spare", move || shared.run())
        });
        Spare { shared, thread }
    }

    /// Asks for a spare, without waiting.
    pub(super) fn want(&self, bytes: u64) {
        let mut state = self.shared.state.lock();
        if self.thread.is_some() && state.ready.is_none() && state.wanted.is_none() {
            state.wanted = Some(bytes);
            self.shared.changed.notify_all();
        }
    }

    /// Returns when a spare of at least `bytes` lies ready that nobody writes to any more.
    pub(super) fn need(&self, bytes: u64) -> Result<()> {
        let mut state = self.shared.state.lock();
        state.wanted = None;
        while state.filling {
            self.shared.changed.wait(&mut state);
        }
        if state.ready.is_none_or(|ready| ready < bytes) {
            state.ready = None;
            state.ready = Some(self.shared.reserve(bytes)?);
        }
        // From here on it is the log's.
        state.filled = u64::MAX;
        Ok(())
    }

    /// Makes sure that the disk has room for another file of so many bytes beside what is held in reserve.
    ///
    /// # Errors
    /// [`Code::DiskFull`]; those of the disk.
    pub(super) fn check_room(&self, bytes: u64) -> Result<()> {
        self.shared.check_room(bytes)
    }

    /// Bytes of the spare that lies ready.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.shared.state.lock().ready
    }

    /// The spare has become a segment.
    pub(super) fn taken(&self) {
        self.shared.state.lock().ready = None;
    }

    /// Gives the unused end of a sealed segment back.
    pub(super) fn trim(&self, path: PathBuf, used: u64) {
        if self.thread.is_none() {
            self.shared.trim_file(&path, used);
            return;
        }
        self.shared.state.lock().trim.push((path, used));
        self.shared.changed.notify_all();
    }

    /// Returns when no sealed segment waits for its unused end to be given back: from then on nobody writes to them.
    pub(super) fn settle(&self) {
        let mut state = self.shared.state.lock();
        while self.thread.is_some() && (!state.trim.is_empty() || state.trimming) {
            self.shared.changed.wait(&mut state);
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.shared.state.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut file: Option<Arc<dyn DiskFile>> = None;
        let mut state = self.state.lock();
        while !state.stop {
            if let Some((path, used)) = state.trim.pop() {
                state.trimming = true;
                parking_lot::MutexGuard::unlocked(&mut state, || self.trim_file(&path, used));
                state.trimming = false;
                self.changed.notify_all();
            } else if let Some(bytes) = state.wanted.take() {
                state.filling = true;
                let reserved = parking_lot::MutexGuard::unlocked(&mut state, || {
                    self.reserve(bytes).and_then(|bytes| Ok((bytes, self.open()?)))
                });
                state.filling = false;
                match reserved {
                    Ok((bytes, opened)) => {
                        (state.ready, state.filled, file) = (Some(bytes), 0, Some(opened));
                    }
                    Err(error) => tracing::warn!(%error, "the next segment cannot be prepared"),
                }
                self.changed.notify_all();
            } else if let Some(open) = file.take_if(|_| state.ready.is_some_and(|ready| state.filled < ready))
            {
                let (from, to) =
                    (state.filled, state.ready.unwrap_or_default().min(state.filled + CHUNK_BYTES));
                state.filling = true;
                let last = Some(to) == state.ready;
                let result = parking_lot::MutexGuard::unlocked(&mut state, || {
                    let zeros = vec![0; (to - from) as usize];
                    open.write_at(&zeros, from).and_then(|()| if last { open.sync_data() } else { Ok(()) })
                });
                state.filling = false;
                match result {
                    Ok(()) if state.filled == from => (state.filled, file) = (to, Some(open)),
                    Ok(()) => {}
                    Err(error) => {
                        tracing::warn!(%error, "the next segment cannot be filled");
                        state.filled = u64::MAX;
                    }
                }
                self.changed.notify_all();
                if state.wanted.is_none() && state.trim.is_empty() && !state.stop {
                    self.changed.wait_for(&mut state, PAUSE);
                }
            } else {
                file = None;
                self.changed.wait(&mut state);
            }
        }
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        Error::io(self.dir.display(), error)
    }

    fn open(&self) -> Result<Arc<dyn DiskFile>> {
        self.env.disk.open(&self.dir.join(NAME), Open::Write).map_err(|error| self.failed(&error))
    }

    fn check_room(&self, bytes: u64) -> Result<()> {
        let free = self.env.disk.free_bytes(&self.dir).map_err(|error| self.failed(&error))?;
        let needed = bytes.saturating_add(self.reserve_bytes);
        if free < needed {
            return Err(Error::new(
                Code::DiskFull,
                format!("{}: no room for another log segment", self.dir.display()),
            )
            .expected(format!(
                "{needed} bytes free ({bytes} for the segment, {} in reserve)",
                self.reserve_bytes
            ))
            .found(format!("{free} bytes free")));
        }
        Ok(())
    }

    /// Makes a spare file whose space is reserved, and returns its size.
    fn reserve(&self, bytes: u64) -> Result<u64> {
        self.check_room(bytes)?;
        let path = self.dir.join(NAME);
        let made = self.env.disk.open(&path, Open::Create).and_then(|file| {
            file.allocate(bytes)?;
            file.sync_data()?;
            self.env.disk.sync_dir(&self.dir)
        });
        if let Err(error) = made {
            let _ = self.env.disk.remove(&path);
            return Err(self.failed(&error));
        }
        Ok(bytes)
    }

    /// Only saves space: a failure is logged and forgotten.
    fn trim_file(&self, path: &Path, used: u64) {
        let result = self.env.disk.open(path, Open::Write).and_then(|file| {
            if file.len()? > used {
                file.set_len(used)?;
            }
            Ok(())
        });
        if let Err(error) = result {
            tracing::warn!(%error, path = %path.display(), "the unused end of a segment cannot be given back");
        }
    }
}
