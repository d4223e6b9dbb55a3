//! The timestamp authority: a token for the newest checkpoint now and then.
//!
//! Of each there are two files in `timestamps/`: `SIZE.checkpoint`, the bytes that were stamped, and `SIZE.tsr`, the
//! answer as it came, for `openssl ts -verify`. The log itself notes both digests.

use super::post::Post;
use super::{Shared, back_off, lock};
use graven_engine::env::{Env, read_file, replace_file};
use graven_model::{Code, Error, Result};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::control::Anchor;
use graven_proof::timestamp::{Timestamp, TimestampRequest};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Keeps one seed apart from another under a fixed one.
const PURPOSE: u64 = 0x7374_616d;

/// Pause after the first failure.
const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// How often is looked for a first checkpoint.
const POLL: Duration = Duration::from_millis(200);

/// Asks one authority.
pub(super) struct Authority {
    env: Env,
    dir: PathBuf,
    post: Post,
    /// Size of the newest checkpoint with a timestamp, and the time in it.
    last: Option<(u64, u64)>,
    /// What the log does not say yet.
    unsaid: Option<Anchor>,
}

impl Authority {
    /// Opens the directory of the timestamps, which is made if it is missing.
    ///
    /// # Errors
    /// [`Code::Corrupted`] with the file if the newest timestamp does not read; those of the disk.
    pub(super) fn open(env: &Env, dir: &Path, post: Post) -> Result<Authority> {
        let io = |error: std::io::Error| Error::io(dir.display(), &error);
        env.disk.create_dir(dir).map_err(io)?;
        env.disk.sync_dir(dir.parent().unwrap_or(Path::new("."))).map_err(io)?;
        let mut authority =
            Authority { env: env.clone(), dir: dir.to_owned(), post, last: None, unsaid: None };
        let names = env.disk.list(dir).map_err(io)?;
        let newest = names.iter().filter_map(|name| name.strip_suffix(".tsr")?.parse::<u64>().ok()).max();
        if let Some(size) = newest {
            let path = authority.path(size, "tsr");
            let bytes = read_file(&*env.disk, &path).map_err(io)?;
            let timestamp = Timestamp::parse_response(&bytes)
                .map_err(|error| Error::new(Code::Corrupted, format!("{}: {error}", path.display())))?;
            authority.last = Some((size, timestamp.time_us()));
        }
        Ok(authority)
    }

    /// Size and time of the newest timestamp.
    pub(super) fn last(&self) -> Option<(u64, u64)> {
        self.last
    }

    /// Asks until it is told to stop.
    pub(super) fn run(mut self, shared: &Shared) {
        let mut failures = 0;
        let mut pause = Duration::ZERO;
        while shared.pause(pause) {
            pause = POLL.min(shared.settings.timestamp_interval);
            let Some(newest) = shared.log.latest() else { continue };
            let (size, interval) = (newest.unverified_head().size, shared.settings.timestamp_interval);
            // the note of the last timestamp in the log is no reason for another one
            if self.unsaid.is_none() && self.last.is_some_and(|(last, _)| size <= last + 1) {
                continue;
            }
            match self.stamp(&newest, shared) {
                Ok(()) => (failures, pause) = (0, interval),
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(authority = self.post.url(), "no timestamp: {error}");
                    }
                    pause = back_off(failures, PAUSE_FIRST);
                    failures += 1;
                    lock(&shared.standing).stamp_failed(&error, shared.now_us());
                }
            }
        }
    }

    fn stamp(&mut self, checkpoint: &SignedCheckpoint, shared: &Shared) -> Result<()> {
        if self.unsaid.is_none() {
            let (size, timestamp) = self.ask(checkpoint)?;
            self.last = Some((size, timestamp.time_us()));
            let (checkpoint, token) = (*timestamp.imprint(), timestamp.token_hash());
            self.unsaid = Some(Anchor::Timestamp { size, checkpoint, token });
        }
        if let Some(anchor) = &self.unsaid {
            shared.log.note(anchor.clone())?;
            self.unsaid = None;
        }
        if let Some((size, time)) = self.last {
            lock(&shared.standing).stamped(size, time);
            tracing::info!(size, "a checkpoint was timestamped");
        }
        Ok(())
    }

    /// Asks for a timestamp, and keeps it with the bytes it is of.
    fn ask(&self, checkpoint: &SignedCheckpoint) -> Result<(u64, Timestamp)> {
        let size = checkpoint.unverified_head().size;
        let bytes = checkpoint.to_string().into_bytes();
        let nonce =
            self.env.entropy(PURPOSE).map_err(|error| Error::io("the system's randomness", &error))?;
        let request = TimestampRequest::new(&bytes, { nonce }.number());
        let answer = self.post.send(&request.encode())?;
        let failed = |what: String| {
            Error::new(Code::AnchorFailed, format!("the timestamp authority at {} {what}", self.post.url()))
        };
        if answer.status != 200 {
            return Err(failed(format!("answered with status {}", answer.status)));
        }
        let timestamp =
            request.accept(&answer.body).map_err(|error| failed(format!("is not usable: {error}")))?;
        for (ending, bytes) in [("checkpoint", &bytes), ("tsr", &answer.body)] {
            let path = self.path(size, ending);
            replace_file(&*self.env.disk, &path, bytes).map_err(|error| Error::io(path.display(), &error))?;
        }
        Ok((size, timestamp))
    }

    fn path(&self, size: u64, ending: &str) -> PathBuf {
        self.dir.join(format!("{size}.{ending}"))
    }
}
