//! A file that says how far the log's erasures were carried out.

use crate::append::Shared;
use crate::env::{read_file, replace_file};
use crate::store::AUDIT_DIR;
use graven_model::{Code, Error, EventId, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How far the records of erasures were carried out: saves looking again, and nothing else depends on it.
#[derive(Serialize, Deserialize)]
struct Progress {
    /// Everything that records below this position mean is destroyed.
    applied: u64,
    /// First bytes of the log id: a copy of another log knows nothing of this one.
    log_id: EventId,
}

const PROGRESS_FILE: &str = "erased.json";

fn progress_path(shared: &Shared) -> PathBuf {
    shared.sources.log.store_dir().join(AUDIT_DIR).join(PROGRESS_FILE)
}

pub(super) fn read_progress(shared: &Shared) -> Result<u64> {
    let path = progress_path(shared);
    match read_file(&*shared.env.disk, &path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)
            .ok()
            .filter(|progress: &Progress| progress.log_id.0 == shared.sources.log.id())
            .map_or(0, |progress| progress.applied.min(shared.head()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io(path.display(), &error)),
    }
}

pub(super) fn write_progress(shared: &Shared, applied: u64) -> Result<()> {
    let path = progress_path(shared);
    let progress = Progress { applied, log_id: EventId(shared.sources.log.id()) };
    let json = serde_json::to_vec(&progress)
        .map_err(|error| Error::new(Code::Internal, format!("{PROGRESS_FILE}: {error}")))?;
    replace_file(&*shared.env.disk, &path, &json).map_err(|error| Error::io(path.display(), &error))
}
