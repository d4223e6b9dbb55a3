//! What is found in the directory at start: files to use, and leftovers to remove.

use super::part::{Part, Verdict};
use crate::env::Env;
use graven_model::{Error, Result};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Up to this size of all files together their checksums are compared before the store opens.
pub(super) const VERIFY_AT_OPEN_BYTES: u64 = 64 << 20;

/// The files in use.
pub(super) struct Opened {
    /// Adjacent, from position 0 on.
    pub(super) parts: Vec<Arc<Part>>,
    /// All checksums were compared.
    pub(super) verified: bool,
}

/// Opens the files that together cover the log from its beginning without a gap, wider ones first; removes the rest.
/// Up to `verify_bytes` of all files together their checksums are compared.
///
/// # Errors
/// The directory or a file cannot be opened, or a file not removed.
pub(super) fn open_parts(env: &Env, dir: &Path, verify_bytes: u64) -> Result<Opened> {
    env.disk.create_dir(dir).map_err(|error| failed("cannot create the index directory", dir, &error))?;
    let mut found = Vec::new();
    let mut rejected = Vec::new();
    for path in index_files(env, dir)? {
        let opened = if is_temporary(&path) {
            None
        } else {
            Part::open(&*env.disk, &path)
                .map_err(|error| failed("cannot open the index file", &path, &error))?
        };
        match opened {
            Some(part) => found.push(part),
            None => rejected.push(path),
        }
    }
    let verified = found.iter().map(|part| part.file_bytes).sum::<u64>() <= verify_bytes;
    if verified {
        let never = AtomicBool::new(false);
        let mut intact = Vec::new();
        for part in found {
            let verdict = part.verify(&*env.disk, &never);
            match verdict.map_err(|error| failed("cannot open the index file", &part.path, &error))? {
                Verdict::Intact => intact.push(part),
                Verdict::Damaged | Verdict::Stopped => rejected.push(part.path),
            }
        }
        found = intact;
    }
    let damaged = rejected.iter().filter(|path| !is_temporary(path)).count();
    let parts = choose(found, &mut rejected);
    if damaged > 0 {
        let covered = parts.last().map_or(0, Part::end);
        tracing::warn!(damaged, covered, "damaged index files are removed and their events indexed again");
    }
    remove(env, dir, &rejected)?;
    Ok(Opened { parts: parts.into_iter().map(Arc::new).collect(), verified })
}

/// Removes all index files.
///
/// # Errors
/// A file cannot be removed.
pub(super) fn wipe(env: &Env, dir: &Path) -> Result<()> {
    match env.disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => remove(env, dir, &index_files(env, dir)?),
    }
}

/// The chain of parts from position 0; what is not in it joins the rejected.
fn choose(mut found: Vec<Part>, rejected: &mut Vec<PathBuf>) -> Vec<Part> {
    found.sort_by_key(|part| (part.base(), std::cmp::Reverse(part.end())));
    let mut chosen: Vec<Part> = Vec::new();
    for part in found {
        if part.base() == chosen.last().map_or(0, Part::end) {
            chosen.push(part);
        } else {
            rejected.push(part.path);
        }
    }
    chosen
}

fn index_files(env: &Env, dir: &Path) -> Result<Vec<PathBuf>> {
    let names = env.disk.list(dir).map_err(|error| failed("cannot list the index directory", dir, &error))?;
    let ours = |name: &String| name.ends_with(".gvx") || name.ends_with(".gvx.tmp");
    Ok(names.into_iter().filter(ours).map(|name| dir.join(name)).collect())
}

fn is_temporary(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tmp")
}

fn remove(env: &Env, dir: &Path, paths: &[PathBuf]) -> Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    for path in paths {
        env.disk.remove(path).map_err(|error| failed("cannot remove the index file", path, &error))?;
    }
    env.disk.sync_dir(dir).map_err(|error| failed("cannot sync the index directory", dir, &error))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::io(format_args!("{what} {}", path.display()), error)
}
