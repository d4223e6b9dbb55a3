//! A disk in memory: fast, and it can be full.

use crate::env::{Disk, DiskFile, MappedFile, Open};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Default)]
pub(super) struct MemoryDisk {
    files: Mutex<BTreeMap<PathBuf, Arc<MemoryFile>>>,
    /// New files there is room for; `None`: any number.
    room: Mutex<Option<usize>>,
}

impl MemoryDisk {
    pub(super) fn set_room(&self, files: Option<usize>) {
        *self.room.lock() = files;
    }

    pub(super) fn content(&self, path: &Path) -> Vec<u8> {
        self.files.lock()[path].0.lock().clone()
    }

    pub(super) fn put(&self, path: &Path, content: &[u8]) {
        self.files.lock().insert(path.to_owned(), Arc::new(MemoryFile(Mutex::new(content.to_vec()))));
    }

    /// All files with their content.
    pub(super) fn snapshot(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = self.files.lock();
        files.iter().map(|(path, file)| (path.clone(), file.0.lock().clone())).collect()
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        if how == Open::Create {
            if let Some(room) = &mut *self.room.lock() {
                *room = room.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            }
            self.put(path, &[]);
        }
        let file = self.files.lock().get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(file)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let files = self.files.lock();
        let inside = files.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.lock().remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn lock(&self, _path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        Ok(Box::new(()))
    }

    fn map(&self, path: &Path) -> io::Result<MappedFile> {
        let file = self.files.lock().get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        let content = file.0.lock().clone();
        Ok(MappedFile::Owned(content))
    }
}

struct MemoryFile(Mutex<Vec<u8>>);

impl DiskFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.0.lock();
        let rest = content.get(offset as usize..).unwrap_or(&[]);
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = self.0.lock();
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().resize(len as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }
}
