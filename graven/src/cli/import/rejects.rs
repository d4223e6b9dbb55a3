//! Bad lines, written as they are to a file of their own.

use super::lines::{Line, place};
use crate::config::units::show_count;
use graven_model::{Code, Error, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// The file of rejects; it is made with the first one. Cheap to clone.
#[derive(Clone)]
pub(super) struct Rejects(Arc<Mutex<Inner>>);

struct Inner {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    reasons: BTreeMap<u16, Reason>,
}

struct Reason {
    code: Code,
    lines: u64,
    first: String,
}

impl Rejects {
    /// Rejects for this file, which is replaced if there are any.
    pub(super) fn new(path: PathBuf) -> Rejects {
        Rejects(Arc::new(Mutex::new(Inner { path, file: None, reasons: BTreeMap::new() })))
    }

    /// Makes sure that the import file itself is not overwritten.
    ///
    /// # Errors
    /// [`Code::BadRequest`] if both are the same file.
    pub(super) fn keep_apart_from(&self, import: &Path) -> Result<()> {
        let inner = self.lock();
        match (inner.path.canonicalize(), import.canonicalize()) {
            (Ok(rejects), Ok(import)) if rejects == import => {
                Err(Error::new(Code::BadRequest, "--rejects names the import file itself"))
            }
            _ => Ok(()),
        }
    }

    /// Writes one line.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn write(&self, line: &Line, error: &Error) -> Result<()> {
        self.write_pieces(line, error, |_| Ok(()))
    }

    /// Writes one line of which `rest` gives what is not in memory.
    ///
    /// # Errors
    /// If the file cannot be written, and those of `rest`.
    pub(super) fn write_pieces(
        &self,
        line: &Line,
        error: &Error,
        rest: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        let mut inner = self.lock();
        let Inner { path, file, reasons } = &mut *inner;
        let failed = |error: std::io::Error| Error::io(format!("write {}", path.display()), &error);
        let file = match file {
            Some(file) => file,
            None => file.insert(BufWriter::new(File::create(&path).map_err(failed)?)),
        };
        file.write_all(&line.bytes).map_err(failed)?;
        rest(&mut |piece| file.write_all(piece).map_err(failed))?;
        file.write_all(b"\n").map_err(failed)?;
        let reason = reasons.entry(error.code.entry().number).or_insert_with(|| Reason {
            code: error.code,
            lines: 0,
            first: place(line.number, error),
        });
        reason.lines += 1;
        Ok(())
    }

    /// Flushes the file and says how many lines were rejected why; `None` if there were none.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn finish(&self) -> Result<Option<String>> {
        let mut inner = self.lock();
        let Inner { path, file, reasons } = &mut *inner;
        let Some(file) = file else { return Ok(None) };
        file.flush().map_err(|error| Error::io(format!("write {}", path.display()), &error))?;
        let total: u64 = reasons.values().map(|reason| reason.lines).sum();
        let mut text = format!("bad lines: {}, written to {}", show_count(total), path.display());
        for Reason { code, lines, first } in reasons.values() {
            text +=
                &format!("\n  {:>8} × {code} {}, first in {first}", show_count(*lines), code.entry().name);
        }
        Ok(Some(text))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nothing panics while it holds the rejects")
    }
}
