//! `cosignatures.log`: every checkpoint that a witness cosigned, as it came back, one after the other.
//!
//! An entry is a line `graven/cosigned/v1 LENGTH` and a signed note of so many bytes: the checkpoint with the log's
//! signatures and those of the witnesses that had cosigned it by then. A later entry of the same size has more of them.
//! Nothing is ever changed; what a crash tore at the end is cut off.

use graven_engine::env::{DiskFile, Env, Open};
use graven_model::{Code, Error, Result};
use graven_proof::checkpoint::SignedCheckpoint;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const HEADER: &str = "graven/cosigned/v1 ";

/// Bytes at the end of the file that are read at start.
const WINDOW_BYTES: u64 = 1 << 20;

/// Bytes of one entry at the most: a checkpoint and the cosignatures of all witnesses there may be.
const ENTRY_BYTES_MAX: usize = 64 << 10;

/// The file. One thread at a time appends.
pub(super) struct Cosignatures {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    length: u64,
    failed: bool,
}

impl Cosignatures {
    /// Opens the file, which is made if it is missing. Returns the newest entries too, oldest first; nothing in them is
    /// verified.
    ///
    /// # Errors
    /// [`Code::Corrupted`] with the byte if more is damaged at the end than a crash can tear; those of the disk.
    pub(super) fn open(env: &Env, path: &Path) -> Result<(Cosignatures, Vec<SignedCheckpoint>)> {
        let io = |error: std::io::Error| Error::io(path.display(), &error);
        let file = match env.disk.open(path, Open::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let file = env.disk.open(path, Open::Create).map_err(io)?;
                env.disk.sync_dir(path.parent().unwrap_or(Path::new("."))).map_err(io)?;
                file
            }
            Err(error) => return Err(io(error)),
        };
        let Found { entries, end, torn } = scan(&*file, path)?;
        if torn > 0 {
            tracing::warn!(path = %path.display(), bytes = torn, "cut off a torn cosignature");
            file.set_len(end).and_then(|()| file.sync_data()).map_err(io)?;
        }
        Ok((Cosignatures { file, path: path.to_owned(), length: end, failed: false }, entries))
    }

    /// Adds a cosigned checkpoint. Durable when this returns.
    ///
    /// # Errors
    /// Those of the disk; after a failed flush nothing is added until the file is opened again.
    pub(super) fn append(&mut self, cosigned: &SignedCheckpoint) -> Result<()> {
        let io = |error: std::io::Error| Error::io(self.path.display(), &error);
        if self.failed {
            let message = format!("an earlier write of {} failed", self.path.display());
            return Err(Error::new(Code::Poisoned, message));
        }
        let note = cosigned.to_string();
        let entry = format!("{HEADER}{}\n{note}", note.len());
        if entry.len() > ENTRY_BYTES_MAX {
            return Err(Error::new(Code::AnchorFailed, "a cosigned checkpoint is too long")
                .expected(format!("at most {ENTRY_BYTES_MAX} bytes")));
        }
        let written = self.file.write_at(entry.as_bytes(), self.length).and_then(|()| self.file.sync_data());
        self.failed = written.is_err();
        written.map_err(io)?;
        self.length += entry.len() as u64;
        Ok(())
    }
}

/// The newest entries of a file, oldest first, which is not changed by it; none if there is no file. Nothing in them is
/// verified.
///
/// # Errors
/// As [`Cosignatures::open`].
pub(super) fn read(env: &Env, path: &Path) -> Result<Vec<SignedCheckpoint>> {
    match env.disk.open(path, Open::Read) {
        Ok(file) => scan(&*file, path).map(|found| found.entries),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io(path.display(), &error)),
    }
}

/// What stands at the end of the file.
struct Found {
    entries: Vec<SignedCheckpoint>,
    /// Byte behind the last entry, and how many follow that are none.
    end: u64,
    torn: usize,
}

fn scan(file: &dyn DiskFile, path: &Path) -> Result<Found> {
    let io = |error: std::io::Error| Error::io(path.display(), &error);
    let length = file.len().map_err(io)?;
    let start = length.saturating_sub(WINDOW_BYTES);
    let mut window = vec![0; (length - start) as usize];
    let read = file.read_at(&mut window, start).map_err(io)?;
    window.truncate(read);

    let first = if start == 0 { Some(0) } else { first_header(&window) };
    let mut at = first.unwrap_or(0);
    let mut entries = Vec::new();
    while let Some((checkpoint, next)) = entry(&window, at) {
        entries.push(checkpoint);
        at = next;
    }
    let (torn, end) = (window.len() - at, start + at as u64);
    if torn > ENTRY_BYTES_MAX || (first.is_none() && start > 0) {
        let message = format!("{} at byte {end}: no cosigned checkpoint stands there", path.display());
        return Err(Error::new(Code::Corrupted, message));
    }
    Ok(Found { entries, end, torn })
}

/// The first line of an entry, behind the one the window cuts.
fn first_header(window: &[u8]) -> Option<usize> {
    let mark = format!("\n{HEADER}");
    window.windows(mark.len()).position(|bytes| bytes == mark.as_bytes()).map(|at| at + 1)
}

/// The entry that begins here, and where the next one does.
fn entry(bytes: &[u8], at: usize) -> Option<(SignedCheckpoint, usize)> {
    let rest = bytes.get(at..)?.strip_prefix(HEADER.as_bytes())?;
    let line = rest.iter().take(8).position(|byte| *byte == b'\n')?;
    let text = std::str::from_utf8(&rest[..line]).ok()?;
    let written = |length: &usize| *length <= ENTRY_BYTES_MAX && length.to_string() == text;
    let length: usize = text.parse().ok().filter(written)?;
    let note = rest.get(line + 1..)?.get(..length)?;
    let checkpoint = SignedCheckpoint::parse(note).ok()?;
    Some((checkpoint, at + HEADER.len() + line + 1 + length))
}
