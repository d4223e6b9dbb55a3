//! Where bundles are kept: a directory, or a tar archive of one, perhaps compressed with Zstandard.

mod folder;
mod tar;

pub(crate) use folder::{Folder, FolderSink};
pub(crate) use tar::{Archive, TarSink};

use super::export::BundleSink;
use graven_model::{Code, Error, Result};
use graven_proof::bundle::Files;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Opens the bundle at a path, whatever it is kept in.
///
/// # Errors
/// [`Code::BundleUnreadable`], [`Code::Io`].
pub(crate) fn open(path: &Path) -> Result<Box<dyn Files>> {
    let metadata = std::fs::metadata(path).map_err(|error| Error::io(path.display(), &error))?;
    if metadata.is_dir() {
        return Ok(Box::new(Folder::open(path)?));
    }
    Ok(Box::new(Archive::open(path)?))
}

/// What writes a bundle to a path: a directory, or an archive if its name says so. What is there already is not touched,
/// and nothing is made before the first file comes.
///
/// # Errors
/// [`Code::ExportExists`], [`Code::Io`].
pub(crate) fn create(path: &Path) -> Result<impl BundleSink + use<>> {
    let vacant = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(Error::io(path.display(), &error)),
        Ok(metadata) if metadata.is_dir() => {
            let mut entries = std::fs::read_dir(path).map_err(|error| Error::io(path.display(), &error))?;
            !is_archive(path) && entries.next().is_none()
        }
        Ok(_) => false,
    };
    if !vacant {
        return Err(Error::new(Code::ExportExists, format!("{} exists already", path.display())));
    }
    Ok(Later { path: path.to_owned(), sink: None })
}

/// Begins with the first file.
struct Later {
    path: PathBuf,
    sink: Option<Box<dyn BundleSink>>,
}

impl BundleSink for Later {
    fn put(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let sink = match &mut self.sink {
            Some(sink) => sink,
            None => self.sink.insert(begin(&self.path)?),
        };
        sink.put(path, bytes)
    }

    fn finish(&mut self) -> Result<()> {
        self.sink.as_mut().map_or(Ok(()), |sink| sink.finish())
    }
}

fn begin(path: &Path) -> Result<Box<dyn BundleSink>> {
    let failed = |error: std::io::Error| Error::io(path.display(), &error);
    if !is_archive(path) {
        return Ok(Box::new(FolderSink::create(path)?));
    }
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    let file = std::io::BufWriter::new(file);
    Ok(if is_packed(path) {
        let packed = zstd::Encoder::new(file, 0).map_err(failed)?;
        Box::new(TarSink::new(packed, |packed| packed.finish()?.flush()))
    } else {
        Box::new(TarSink::new(file, |mut file| file.flush()))
    })
}

fn is_archive(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".tar") || is_packed(path)
}

fn is_packed(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".tar.zst")
}

fn unreadable(what: impl Into<String>) -> Error {
    Error::new(Code::BundleUnreadable, what)
}
