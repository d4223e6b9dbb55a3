//! A bundle in a directory. Links are followed nowhere.

use super::unreadable;
use crate::audit::export::BundleSink;
use graven_model::{Error, Result};
use graven_proof::bundle::{FILE_BYTES_MAX, FILES_MAX, Files, safe_path};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Directories inside one another at the most; those of a bundle are four deep, and deeper in a very large log.
const DEPTH_MAX: usize = 12;

/// The files of a directory.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    paths: BTreeSet<String>,
}

impl Folder {
    /// Lists a directory.
    ///
    /// # Errors
    /// [`graven_model::Code::BundleUnreadable`] if there is anything but plain files and directories, or too much of it;
    /// [`graven_model::Code::Io`].
    pub(crate) fn open(root: &Path) -> Result<Folder> {
        let mut folder = Folder { root: root.to_owned(), paths: BTreeSet::new() };
        folder.list(root, "", 0)?;
        Ok(folder)
    }

    fn list(&mut self, directory: &Path, prefix: &str, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(unreadable(format!("{} is deeper than any bundle", directory.display())));
        }
        let failed = |error: std::io::Error| Error::io(directory.display(), &error);
        for entry in fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            let name = entry.file_name();
            let name = name.to_str().map(|name| format!("{prefix}{name}"));
            let name = name.filter(|name| safe_path(name));
            let name = name.ok_or_else(|| {
                unreadable(format!("{} has a name that no file of a bundle has", entry.path().display()))
            })?;
            if kind.is_dir() {
                self.list(&entry.path(), &format!("{name}/"), depth + 1)?;
            } else if !kind.is_file() {
                let what = format!("{} is neither a file nor a directory", entry.path().display());
                return Err(unreadable(what).expected("no links and no devices"));
            } else {
                self.paths.insert(name);
                if self.paths.len() > FILES_MAX + 2 {
                    return Err(unreadable("there are more files than in any bundle")
                        .expected(format!("at most {FILES_MAX}")));
                }
            }
        }
        Ok(())
    }
}

impl Files for Folder {
    fn paths(&self) -> Vec<String> {
        self.paths.iter().cloned().collect()
    }

    fn read(&self, path: &str) -> std::result::Result<Vec<u8>, String> {
        if !self.paths.contains(path) {
            return Err("no such file".to_owned());
        }
        let file = File::open(self.root.join(path)).map_err(|error| error.to_string())?;
        bounded(file)
    }
}

/// All of a file, unless it is larger than any file of a bundle.
pub(super) fn bounded(file: impl Read) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("more than {FILE_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

/// Writes a bundle into a directory of its own.
pub(crate) struct FolderSink {
    root: PathBuf,
    made: BTreeSet<PathBuf>,
}

impl FolderSink {
    /// Makes the directory, unless it is there and empty.
    pub(super) fn create(root: &Path) -> Result<FolderSink> {
        fs::create_dir_all(root).map_err(|error| Error::io(root.display(), &error))?;
        Ok(FolderSink { root: root.to_owned(), made: BTreeSet::new() })
    }
}

impl BundleSink for FolderSink {
    fn put(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let path = self.root.join(path);
        let failed = |error: std::io::Error| Error::io(path.display(), &error);
        if let Some(parent) = path.parent()
            && self.made.insert(parent.to_owned())
        {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
        file.write_all(bytes).map_err(failed)
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
