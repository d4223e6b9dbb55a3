//! Checkpoints and seals now and then, by a thread of its own.

use super::trail::{Inner, Trail};
use crate::env::spawn_named;
use graven_model::{Code, Error, Result};
use parking_lot::{Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The thread and how it is stopped.
#[derive(Default)]
pub(super) struct Background {
    stop: Mutex<bool>,
    stopping: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// What went wrong last, until it goes right.
    pub(super) trouble: Mutex<Option<Error>>,
}

/// How often what is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Intervals {
    pub(super) checkpoint: Option<Duration>,
    pub(super) seal: Option<Duration>,
}

impl Background {
    /// Starts the thread if anything is to be done by itself.
    pub(super) fn start(trail: &Trail) {
        let Inner { shared, intervals, background, .. } = &*trail.inner;
        let Some(pause) = intervals.checkpoint.into_iter().chain(intervals.seal).min() else { return };
        if shared.env.is_simulated() || !shared.sources.audit.is_on() {
            return;
        }
        let trail = trail.clone();
        let thread = spawn_named("graven-trail", move || trail.inner.background.run(&trail, pause));
        *background.thread.lock() = Some(thread);
    }

    fn run(&self, trail: &Trail, pause: Duration) {
        let (mut unsealed, mut unsigned) = (Duration::ZERO, Duration::ZERO);
        let due = |waited: &mut Duration, interval: Option<Duration>| {
            *waited += pause;
            let due = interval.is_some_and(|interval| *waited >= interval);
            if due {
                *waited = Duration::ZERO;
            }
            due
        };
        while self.wait(pause) {
            if trail.inner.expect_writer().is_err() {
                continue;
            }
            let seal = due(&mut unsealed, trail.inner.intervals.seal);
            let checkpoint = due(&mut unsigned, trail.inner.intervals.checkpoint);
            self.work(trail, seal, checkpoint);
        }
    }

    /// Seals and signs what is new; what goes wrong is kept and told by the store's health.
    pub(super) fn work(&self, trail: &Trail, seal: bool, checkpoint: bool) {
        let mut outcome = Ok(());
        if seal {
            outcome = trail.inner.seal_if_due();
        }
        if checkpoint {
            outcome = outcome.and(trail.sign_if_moved());
        }
        self.note(outcome);
    }

    /// Remembers what went wrong, or that nothing did.
    pub(super) fn note(&self, outcome: Result<()>) {
        let mut trouble = self.trouble.lock();
        match outcome {
            Err(error) if matches!(error.code, Code::Closed | Code::NotTheWriter | Code::Poisoned) => {}
            Err(error) => {
                if trouble.as_ref() != Some(&error) {
                    tracing::warn!(%error, "the audit trail falls behind; trying again");
                }
                *trouble = Some(error);
            }
            Ok(()) => *trouble = None,
        }
    }

    /// Waits for the next time; false if there is none.
    fn wait(&self, pause: Duration) -> bool {
        let mut stop = self.stop.lock();
        while !*stop {
            if self.stopping.wait_for(&mut stop, pause).timed_out() {
                return !*stop;
            }
        }
        false
    }

    /// Ends the thread. Fine to call twice.
    pub(super) fn stop(&self) {
        *self.stop.lock() = true;
        self.stopping.notify_all();
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the audit trail ended with a panic");
        }
    }
}
