//! The only door to clock, randomness, disk and threads.
//!
//! Everything in the engine that could differ between two runs comes through [`Env`]. The real one is
//! [`Env::real`]; `graven-sim` brings one whose disk loses power and whose clock stands still. A clippy ban keeps
//! other files from going round it.

use memmap2::{Mmap, UncheckedAdvice};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Clock, randomness and disk of a store. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Where [`Env::entropy`] takes its seed from: the operating system, or a number under simulation.
    pub seed: Seed,
}

/// Source of randomness.
#[derive(Debug, Clone, Copy)]
pub enum Seed {
    /// The operating system.
    Os,
    /// A fixed number: the same run again.
    Fixed(u64),
}

impl Env {
    /// The real clock, disk and randomness.
    #[must_use]
    pub fn real() -> Env {
        Env { clock: Arc::new(SystemClock), disk: Arc::new(RealDisk), seed: Seed::Os }
    }

    /// True under simulation: background work is then done on the calling thread, so that a run can be repeated.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        matches!(self.seed, Seed::Fixed(_))
    }

    /// A cryptographic generator of its own for one user. `purpose` keeps two users of a fixed seed apart.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn entropy(&self, purpose: u64) -> io::Result<Entropy> {
        let mut seed = [0u8; 32];
        match self.seed {
            Seed::Fixed(number) => {
                seed[..8].copy_from_slice(&number.to_le_bytes());
                seed[8..16].copy_from_slice(&purpose.to_le_bytes());
            }
            Seed::Os => {
                #[expect(clippy::disallowed_methods, reason = "this is the door")]
                getrandom::fill(&mut seed).map_err(io::Error::other)?;
            }
        }
        Ok(Entropy(ChaCha12Rng::from_seed(seed)))
    }
}

/// A cryptographic generator (ChaCha12).
pub struct Entropy(ChaCha12Rng);

impl Entropy {
    /// Random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A random number.
    #[must_use]
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }
}

/// Wall clock.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970-01-01 UTC. May jump; the store makes its commit times never decrease.
    fn now_us(&self) -> i64;
}

struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        #[expect(clippy::disallowed_methods, reason = "this is the door")]
        let now = std::time::SystemTime::now();
        match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        }
    }
}

/// Starts a named thread.
///
/// # Panics
/// If the operating system cannot start a thread.
pub fn spawn_named(name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .expect("the operating system starts a thread while the store opens")
}

/// How [`Disk::open`] opens a file. All files are opened for reading; missing ones are an error unless created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// An existing file, for reading only.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A new file, for reading and writing; an existing one is emptied.
    Create,
}

/// Files and directories, with what the engine needs of them and no more.
///
/// What a crash may do (and the simulated disk does): bytes written since the last [`DiskFile::sync_data`] may be
/// there, be missing or be torn, sector by sector in any combination; a file created, renamed or removed since the
/// last [`Disk::sync_dir`] of its directory may be there or not.
pub trait Disk: Send + Sync {
    /// Opens a file.
    ///
    /// # Errors
    /// Those of the operating system.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>>;
    /// Names (not paths) in a directory, sorted.
    ///
    /// # Errors
    /// Those of the operating system; a missing directory is `NotFound`.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Creates a directory and its parents; fine if it is there.
    ///
    /// # Errors
    /// Those of the operating system.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// As [`Disk::create_dir`], for nobody but the user the process runs as: mode 0700 on a real disk.
    ///
    /// # Errors
    /// Those of the operating system.
    fn create_private_dir(&self, dir: &Path) -> io::Result<()> {
        self.create_dir(dir)
    }
    /// A new file for nobody but the user the process runs as: mode 0600 on a real disk, where a file that is there is an
    /// error.
    ///
    /// # Errors
    /// Those of the operating system.
    fn create_private(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path, Open::Create)
    }
    /// Whether nobody else may read or write a file or directory, or be in its group and do so.
    ///
    /// # Errors
    /// Those of the operating system.
    fn is_private(&self, path: &Path) -> io::Result<bool> {
        let _ = path;
        Ok(true)
    }
    /// Renames a file, replacing what is there.
    ///
    /// # Errors
    /// Those of the operating system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// Those of the operating system.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in a directory durable.
    ///
    /// # Errors
    /// Those of the operating system.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes free on the disk that holds `path`.
    ///
    /// # Errors
    /// Those of the operating system.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
    /// Takes an exclusive lock that ends when the returned guard is dropped or the process dies. `WouldBlock` if
    /// another process or another guard holds it.
    ///
    /// # Errors
    /// Those of the operating system.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
    /// As [`Disk::lock`], but waits for as long as another one holds it. A simulated disk is used by one thread: there it is the
    /// same.
    ///
    /// # Errors
    /// Those of the operating system.
    fn lock_when_free(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.lock(path)
    }
    /// The bytes of a whole file, mapped where the disk can; for immutable files only.
    ///
    /// # Errors
    /// Those of the operating system.
    fn map(&self, path: &Path) -> io::Result<MappedFile>;
}

/// An open file. Positional reads and writes from several threads at a time are fine.
pub trait DiskFile: Send + Sync {
    /// Reads until `buffer` is full or the file ends; returns the bytes read.
    ///
    /// # Errors
    /// Those of the operating system.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes`, growing the file if need be.
    ///
    /// # Errors
    /// Those of the operating system.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns when everything written is durable, with the length needed to read it (`fdatasync`). A failed sync
    /// must never be repeated: the kernel may have dropped the pages.
    ///
    /// # Errors
    /// Those of the operating system.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts or extends (with zeros) the file.
    ///
    /// # Errors
    /// Those of the operating system.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Extends the file to `len` bytes of zeros and makes sure that the disk has room for them.
    ///
    /// # Errors
    /// Those of the operating system; "no space" leaves the file as it was or longer.
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
    /// Length in bytes.
    ///
    /// # Errors
    /// Those of the operating system.
    fn len(&self) -> io::Result<u64>;
    /// True if the file has no bytes.
    ///
    /// # Errors
    /// Those of the operating system.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// The bytes of an immutable file.
pub enum MappedFile {
    /// Mapped by the operating system.
    Mapped(Mmap),
    /// Read into memory (simulated disks, empty files).
    Owned(Vec<u8>),
}

impl MappedFile {
    /// Lets go of the memory the mapping has brought in. What is read next is brought in again, mostly from the page
    /// cache: a file that was read through once does not stay in the process.
    pub fn release(&self) {
        if let MappedFile::Mapped(map) = self {
            // SAFETY: the mapping is shared, of an immutable file and never written: every byte reads the same afterwards.
            #[expect(unsafe_code, reason = "an advice about the one mapping of the engine")]
            let advised = unsafe { map.unchecked_advise(UncheckedAdvice::DontNeed) };
            if let Err(error) = advised {
                tracing::debug!(%error, "the memory of an index file stays mapped");
            }
        }
    }
}

impl std::ops::Deref for MappedFile {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            MappedFile::Mapped(map) => map,
            MappedFile::Owned(bytes) => bytes,
        }
    }
}

/// The operating system's files.
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match how {
            Open::Read => {}
            Open::Write => {
                options.write(true);
            }
            Open::Create => {
                options.write(true).create(true).truncate(true);
            }
        }
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn create_private_dir(&self, dir: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn create_private(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn is_private(&self, path: &Path) -> io::Result<bool> {
        Ok(fs::metadata(path)?.mode() & 0o077 == 0)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let info = rustix::fs::statvfs(path)?;
        Ok(info.f_bavail.saturating_mul(info.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).read(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock_when_free(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).read(true).open(path)?;
        file.lock()?;
        Ok(Box::new(file))
    }

    fn map(&self, path: &Path) -> io::Result<MappedFile> {
        let file = fs::File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(MappedFile::Owned(Vec::new()));
        }
        // SAFETY: only immutable files are mapped: the engine writes an index file under a temporary name, syncs it
        // and renames it before it is ever mapped, and never writes or cuts it again. It holds the directory lock, so
        // no other graven does either. An operator who cuts a mapped file by hand ends the process (SIGBUS), which
        // loses nothing: index files are derived and are checked and rebuilt at the next start.
        #[expect(unsafe_code, reason = "the one mapping of the engine")]
        let map = unsafe { Mmap::map(&file) }?;
        Ok(MappedFile::Mapped(map))
    }
}

struct RealFile(fs::File);

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, len) {
            // A file system that cannot reserve space: writing is then what finds the disk full.
            Err(rustix::io::Errno::OPNOTSUPP) => self.set_len(len),
            result => Ok(result?),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Writes a small file so that a crash leaves either the old one or the new one: temporary name, sync, rename, sync of
/// the directory.
///
/// # Errors
/// Those of the operating system.
pub fn replace_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(path);
    let file = disk.open(&temporary, Open::Create)?;
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// [`replace_file`] for what nobody but the user may read.
///
/// # Errors
/// Those of the operating system.
pub fn replace_private_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(path);
    match disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create_private(&temporary)?;
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Overwrites a file with zeros, durably. On a disk that writes elsewhere what is overwritten, the old bytes may live on.
///
/// # Errors
/// Those of the operating system.
pub fn write_zeros(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let file = disk.open(path, Open::Write)?;
    let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
    file.write_at(&vec![0; len], 0)?;
    file.sync_data()
}

/// Reads a whole file.
///
/// # Errors
/// Those of the operating system.
pub fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Open::Read)?;
    let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// `path` with `.tmp` added; leftovers with this ending are removed when a store opens.
#[must_use]
pub fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}
