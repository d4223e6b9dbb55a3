//! Making a copy durable now and then, and remembering how far it is.

use super::mark::Mark;
use crate::append::{Shared, Witness};
use graven_model::{Position, Result};
use parking_lot::{Condvar, Mutex};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Bytes after which a long copy is made durable: what an interruption costs at the most.
pub const SYNC_BYTES: usize = 64 << 20;

/// What was written is made durable after this long at the latest, by [`Keeper::run`].
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Makes a copy durable; see the module.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    dir: PathBuf,
    log_tag: u32,
    state: Mutex<State>,
    changed: Condvar,
    /// Held while the disk is asked.
    synced: Mutex<u64>,
}

struct State {
    /// Where what was written ends.
    written: Witness,
    /// Bytes written since the last time the disk was asked.
    bytes: usize,
    stop: bool,
}

impl Keeper {
    /// Of a copy that was recovered to `written`, of which everything below `synced` is known to be durable.
    pub(super) fn new(
        shared: Arc<Shared>,
        dir: PathBuf,
        log_tag: u32,
        written: Witness,
        synced: u64,
    ) -> Keeper {
        let state = Mutex::new(State { written, bytes: 0, stop: false });
        Keeper { shared, dir, log_tag, state, changed: Condvar::new(), synced: Mutex::new(synced) }
    }

    /// The log was written up to here, with so many bytes more.
    pub(crate) fn note(&self, written: Witness, bytes: usize) {
        let mut state = self.state.lock();
        state.written = written;
        state.bytes += bytes;
        if state.bytes >= SYNC_BYTES {
            self.changed.notify_all();
        }
    }

    /// Where what was written ends.
    pub(crate) fn written(&self) -> Witness {
        self.state.lock().written
    }

    /// Everything below is known to be durable.
    pub(super) fn synced(&self) -> Position {
        Position(*self.synced.lock())
    }

    /// Makes everything durable that was written, and remembers that it is.
    ///
    /// # Errors
    /// Those of the disk; never to be repeated then.
    pub(crate) fn sync(&self) -> Result<()> {
        let mut synced = self.synced.lock();
        let written = {
            let mut state = self.state.lock();
            state.bytes = 0;
            state.written
        };
        if *synced == written.position {
            return Ok(());
        }
        let env = &self.shared.env;
        self.shared.sources.log.sync()?;
        Mark::new(self.log_tag, &written, env.clock.now_us()).write(env, &self.dir)?;
        *synced = written.position;
        Ok(())
    }

    /// Syncs now and then until [`Keeper::stop`]; a failure ends all writing. For a thread of its own.
    pub(crate) fn run(&self) {
        loop {
            {
                let mut state = self.state.lock();
                if !state.stop && state.bytes < SYNC_BYTES {
                    self.changed.wait_for(&mut state, SYNC_INTERVAL);
                }
                if state.stop {
                    return;
                }
            }
            if let Err(error) = self.sync() {
                self.shared.poison(error);
                return;
            }
        }
    }

    /// Ends [`Keeper::run`].
    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.changed.notify_all();
    }
}
