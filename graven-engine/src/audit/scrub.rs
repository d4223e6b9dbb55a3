//! The scrubber: verifies an open store in the background, at a bounded rate, over and over.
//!
//! It goes segment by segment and remembers how far it is, so that a pass over a large log goes on after a restart. After a
//! finding the store takes no more appends and goes on reading. It never repairs anything.

use super::trail::Trail;
use super::verify::{VerifyOptions, verify_open};
use crate::append::Shared;
use crate::env::{read_file, replace_file, spawn_named};
use crate::store::AUDIT_DIR;
use crate::store::open::Identity;
use graven_model::{Code, Error, Position, Result, Timestamp};
use graven_proof::finding::{Finding, Report};
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Where the scrubber is, in the audit directory.
const FILE: &str = "scrub.json";
/// Between the end of a pass and the next one.
const PAUSE: Duration = Duration::from_secs(3600);
/// Between a failure to read and the next attempt.
const RETRY: Duration = Duration::from_secs(60);

/// What the scrubber did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScrubStatus {
    /// Everything below was verified in this pass.
    pub cursor: Position,
    /// Passes over the whole log that came to their end, earlier runs of the store counted.
    pub passes: u64,
    /// When the last one did.
    pub finished_at: Option<Timestamp>,
    /// Events verified since the store was opened.
    pub events: u64,
    /// Bytes read since the store was opened.
    pub bytes: u64,
    /// Findings since the store was opened.
    pub findings: u64,
    /// The one that counts.
    pub first: Option<Finding>,
    /// Why it could not go on last, if it could not.
    pub trouble: Option<Error>,
}

/// What is kept over a restart.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    cursor: u64,
    passes: u64,
    finished_at: Option<Timestamp>,
}

/// The scrubber of a store.
#[derive(Default)]
pub(crate) struct Scrubber {
    status: Mutex<ScrubStatus>,
    stop: Mutex<bool>,
    stopping: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What it works on.
pub(crate) struct Work {
    pub(crate) shared: Arc<Shared>,
    pub(crate) identity: Identity,
    pub(crate) trail: Trail,
    /// Bytes it reads a second, at the most.
    pub(crate) bytes_per_second: u64,
}

impl Work {
    fn file(&self) -> PathBuf {
        self.shared.sources.log.store_dir().join(AUDIT_DIR).join(FILE)
    }
}

impl Scrubber {
    /// What it did so far.
    pub(crate) fn status(&self) -> ScrubStatus {
        self.status.lock().clone()
    }

    /// Begins, on a thread of its own; not under simulation, where a run is to be repeatable.
    pub(crate) fn begin(self: &Arc<Self>, work: Work) {
        if work.shared.env.is_simulated() || !work.shared.sources.audit.is_on() {
            return;
        }
        self.remember(&work);
        let scrubber = Arc::clone(self);
        *self.thread.lock() = Some(spawn_named("graven-scrub", move || scrubber.run(&work)));
    }

    fn run(&self, work: &Work) {
        loop {
            let outcome = self.pass(work);
            let stopped = *self.stop.lock();
            let pause = match &outcome {
                Err(_) if stopped => return,
                Err(error) => {
                    tracing::warn!(%error, "the scrubber cannot go on; it tries again in a minute");
                    RETRY
                }
                Ok(()) => PAUSE,
            };
            self.status.lock().trouble = outcome.err();
            if !self.wait(pause) {
                return;
            }
        }
    }

    /// Goes on from where it is to the end of the log.
    fn pass(&self, work: &Work) -> Result<()> {
        loop {
            let shared = &work.shared;
            let head = shared.head();
            let from = Some(self.status.lock().cursor.0).filter(|cursor| *cursor < head).unwrap_or(0);
            let segments = shared.sources.log.segments();
            let next = segments.iter().map(|segment| segment.first()).find(|first| *first > from);
            let to = next.unwrap_or(head).min(head);
            let report = self.part(work, from, to)?;
            if let Some(finding) = &report.first {
                shared.poison(failed(finding));
            }
            let done = to >= head;
            let mut status = self.status.lock();
            status.cursor = Position(if done { 0 } else { to });
            status.events += report.events;
            status.findings += report.findings();
            if let Some(finding) = report.first
                && status.first.as_ref().is_none_or(|first| finding.rank() < first.rank())
            {
                status.first = Some(finding);
            }
            if done {
                status.passes += 1;
                status.finished_at = Some(Timestamp::from_micros(shared.env.clock.now_us()));
            }
            let kept =
                Kept { cursor: status.cursor.0, passes: status.passes, finished_at: status.finished_at };
            drop(status);
            self.keep(work, &kept)?;
            if done {
                return Ok(());
            }
        }
    }

    /// Verifies a part of the log at the rate that is allowed.
    fn part(&self, work: &Work, from: u64, to: u64) -> Result<Report> {
        let keys = if work.trail.latest().is_some() { work.trail.verifier_keys()? } else { Vec::new() };
        let verify = VerifyOptions { from: Some(from), to: Some(to), ..VerifyOptions::default() };
        let mut told = 0;
        let mut pace = |bytes: u64| {
            let read = bytes - told;
            told = bytes;
            self.status.lock().bytes += read;
            let pause = Duration::from_secs_f64(read as f64 / work.bytes_per_second.max(1) as f64);
            if self.wait(pause) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let report = verify_open(&work.shared, &work.identity, keys, &verify, &mut |step| pace(step.bytes))?;
        match pace(report.bytes) {
            ControlFlow::Continue(()) => Ok(report),
            ControlFlow::Break(()) => Err(Error::new(Code::Timeout, "the scrubber was stopped")),
        }
    }

    /// Waits; false if it is to stop.
    fn wait(&self, pause: Duration) -> bool {
        let mut stop = self.stop.lock();
        while !*stop {
            if pause.is_zero() || self.stopping.wait_for(&mut stop, pause).timed_out() {
                return !*stop;
            }
        }
        false
    }

    /// Reads where an earlier run was; a file that does not read means the beginning.
    fn remember(&self, work: &Work) {
        let bytes = read_file(&*work.shared.env.disk, &work.file()).unwrap_or_default();
        let kept: Kept = serde_json::from_slice(&bytes).unwrap_or_default();
        let mut status = self.status.lock();
        status.cursor = Position(kept.cursor);
        status.passes = kept.passes;
        status.finished_at = kept.finished_at;
    }

    fn keep(&self, work: &Work, kept: &Kept) -> Result<()> {
        let mut json = serde_json::to_vec(kept)
            .map_err(|error| Error::new(Code::Internal, format!("{FILE}: {error}")))?;
        json.push(b'\n');
        let path = work.file();
        replace_file(&*work.shared.env.disk, &path, &json).map_err(|error| Error::io(path.display(), &error))
    }

    /// Ends the thread. Fine to call twice.
    pub(crate) fn stop(&self) {
        *self.stop.lock() = true;
        self.stopping.notify_all();
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the scrubber ended with a panic");
        }
    }
}

/// Why a store takes no more appends.
fn failed(finding: &Finding) -> Error {
    let mut message = format!("verification failed: {}: {}", finding.code, finding.code.words());
    if let Some(position) = finding.position {
        message += &format!(", at position {position}");
    }
    Error::new(Code::VerificationFailed, message)
        .expected(finding.expected.clone())
        .found(finding.actual.clone())
}

#[cfg(test)]
mod tests;
