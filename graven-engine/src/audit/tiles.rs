//! The hashes of the tree as files, so that proofs and right edges of any size are read, not computed.
//!
//! Content as in C2SP tlog-tiles with height 8, one growing file a level: hash `i` of level `l` stands at byte `32·i`
//! of `tiles-l`. Level 0 are the leaf hashes; a hash of level `l + 1` is the root over 256 of level `l` (RFC 6962).
//! Only complete hashes are ever written to the levels above 0.
//!
//! The writer pushes leaves into memory; [`Tiles::write_full`] moves whole tiles of 256 to the files, without a sync,
//! and [`Tiles::sync`] makes durable what there is. Nothing here is needed to recover: after a crash the caller says
//! how much it knows to be durable ([`Tiles::reset_to`]) and pushes the rest again from the log.

use crate::env::{Disk, DiskFile, Env, Open};
use graven_model::{Code, Error, Result};
use graven_proof::Hash;
use graven_proof::merkle::{Frontier, TILE_WIDTH, root_of};
use graven_proof::tiles::Tile;
use parking_lot::{Mutex, RwLock};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const HASH_BYTES: u64 = size_of::<Hash>() as u64;
const TILE: u64 = TILE_WIDTH as u64;
const TILE_BITS: u32 = TILE_WIDTH.trailing_zeros();
/// Levels that 64 bits of size can need.
const LEVELS: usize = (u64::BITS / TILE_BITS) as usize;
/// Leaves written with one call, a bound on the copy made for it: 1 MiB.
const WRITE_LEAVES_MAX: usize = 128 * TILE_WIDTH;

/// The tile files of a store and the leaves that are not in them yet. One thread pushes; any may read.
pub(crate) struct Tiles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    state: RwLock<State>,
    writer: Mutex<Writer>,
    syncer: Mutex<Syncer>,
}

/// What readers need.
struct State {
    /// First leaf held in memory, a multiple of 256. The files hold every hash that is complete below it.
    base: u64,
    /// The leaves from `base` on.
    tail: Vec<Hash>,
    /// For each complete tile of `tail` its root, if the pusher knew it.
    tile_roots: Vec<Option<Hash>>,
    /// Leaves in `tiles-0`, at least `base`.
    written: u64,
    files: [Option<Arc<dyn DiskFile>>; LEVELS],
}

impl State {
    fn size(&self) -> u64 {
        self.base + self.tail.len() as u64
    }

    /// Hashes of `level` that are in its file.
    fn in_file(&self, level: usize) -> u64 {
        if level == 0 { self.base } else { complete(self.base, level) }
    }
}

/// What writing needs. Held while files are written, never while they are synced.
struct Writer {
    /// By level, from 1: the hashes of the last, incomplete tile.
    partial: [Vec<Hash>; LEVELS],
    /// By level: written since the last sync.
    dirty: [bool; LEVELS],
    created: bool,
}

/// Held while files are synced, so that a second caller does not report as durable what the first is still syncing.
#[derive(Default)]
struct Syncer {
    failed: bool,
}

/// Complete hashes of `level` in a tree of `size` leaves.
fn complete(size: u64, level: usize) -> u64 {
    size.checked_shr(TILE_BITS * level as u32).unwrap_or(0)
}

impl Tiles {
    /// Opens the files in `dir`, or begins with none. The size is what the files hold; after a crash that may be more
    /// than is true, so the caller goes on with [`Tiles::reset_to`].
    ///
    /// # Errors
    /// If the directory or a file cannot be opened or read.
    pub(crate) fn open(env: &Env, dir: &Path) -> Result<Arc<Tiles>> {
        let disk = Arc::clone(&env.disk);
        disk.create_dir(dir).map_err(|error| Error::io(format_args!("create {}", dir.display()), &error))?;
        let mut files = [const { None }; LEVELS];
        let mut size = u64::MAX;
        for (level, place) in files.iter_mut().enumerate() {
            let path = path(dir, level);
            let failed = |error| Error::io(format_args!("open {}", path.display()), &error);
            let file = match disk.open(&path, Open::Write) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(failed(error)),
            };
            let hashes = match &file {
                Some(file) => file.len().map_err(failed)? / HASH_BYTES,
                None => 0,
            };
            // A tree needs its complete hashes on every level, so `hashes` are enough up to one leaf below the next.
            let enough = match level {
                0 => hashes,
                _ => (hashes + 1)
                    .checked_mul(1 << (TILE_BITS * level as u32))
                    .map_or(u64::MAX, |next| next - 1),
            };
            size = size.min(enough);
            *place = file;
        }
        let tiles = Tiles {
            disk,
            dir: dir.to_owned(),
            state: RwLock::new(State {
                base: 0,
                tail: Vec::new(),
                tile_roots: Vec::new(),
                written: 0,
                files,
            }),
            // What an earlier process wrote it may not have synced.
            writer: Mutex::new(Writer { partial: Default::default(), dirty: [true; LEVELS], created: true }),
            syncer: Mutex::default(),
        };
        tiles.load(&mut tiles.writer.lock(), size)?;
        Ok(Arc::new(tiles))
    }

    /// Adds the next leaves, in memory.
    #[cfg(test)]
    pub(crate) fn push(&self, hashes: &[Hash]) {
        self.push_tiled(hashes, &[]);
    }

    /// [`Tiles::push`] with the roots of the tiles these leaves complete, as [`Frontier::push_tiled`] returned them:
    /// saves hashing each leaf's share of the tree a second time.
    pub(crate) fn push_tiled(&self, hashes: &[Hash], tile_roots: &[Hash]) {
        let mut state = self.state.write();
        state.tail.extend_from_slice(hashes);
        let completed = state.tail.len() / TILE_WIDTH - state.tile_roots.len();
        if tile_roots.len() == completed {
            state.tile_roots.extend(tile_roots.iter().copied().map(Some));
        } else {
            debug_assert!(tile_roots.is_empty(), "one root for each tile that these leaves complete");
            state.tile_roots.extend(std::iter::repeat_n(None, completed));
        }
    }

    /// Leaves there are.
    pub(crate) fn size(&self) -> u64 {
        self.state.read().size()
    }

    /// Leaves in the files.
    #[cfg(test)]
    pub(crate) fn written(&self) -> u64 {
        self.state.read().written
    }

    /// Bytes in the files.
    pub(crate) fn size_bytes(&self) -> u64 {
        let state = self.state.read();
        (state.written + (1..LEVELS).map(|level| state.in_file(level)).sum::<u64>()) * HASH_BYTES
    }

    /// Writes every complete tile of leaves, and what it completes on higher levels, to the files: one write a level
    /// and 32,768 leaves. Does not sync.
    ///
    /// # Errors
    /// If a file cannot be written; everything stays in memory and a later call writes it.
    pub(crate) fn write_full(&self) -> Result<()> {
        self.write_tiles(&mut self.writer.lock())
    }

    /// Writes everything, the incomplete tile too, and returns when it is durable, with the number of leaves that are.
    ///
    /// # Errors
    /// If a file cannot be written: everything stays in memory and a later call writes it. If a sync fails: for good,
    /// because nobody knows what the files then hold; the next process resets to what it knows to be durable.
    pub(crate) fn sync(&self) -> Result<u64> {
        let mut syncer = self.syncer.lock();
        if syncer.failed {
            return Err(Error::new(
                Code::Io,
                "an earlier sync of the audit tiles failed; they are made again from the log when the store is opened next",
            ));
        }
        let (written, dirty, created, files) = {
            let mut writer = self.writer.lock();
            self.write_tiles(&mut writer)?;
            self.write_partial(&mut writer)?;
            let state = self.state.read();
            (
                state.written,
                std::mem::take(&mut writer.dirty),
                std::mem::take(&mut writer.created),
                state.files.clone(),
            )
        };
        syncer.failed = true;
        for (level, file) in files.iter().enumerate() {
            if let (true, Some(file)) = (dirty[level], file) {
                file.sync_data().map_err(|error| self.io("sync", level, &error))?;
            }
        }
        if created {
            let failed = |error| Error::io(format_args!("sync {}", self.dir.display()), &error);
            self.disk.sync_dir(&self.dir).map_err(failed)?;
        }
        syncer.failed = false;
        Ok(written)
    }

    /// Forgets the leaves from `size` on, in memory and in the files. For recovery: nobody reads meanwhile.
    ///
    /// # Errors
    /// [`Code::Corrupted`] if there are fewer leaves than that: reset to 0 and push all. Otherwise if a file cannot
    /// be read or cut.
    pub(crate) fn reset_to(&self, size: u64) -> Result<()> {
        let mut writer = self.writer.lock();
        let known = self.size();
        if size > known {
            return Err(Error::new(
                Code::Corrupted,
                format!("audit tiles in {} are too short", self.dir.display()),
            )
            .expected(format!("{size} leaves"))
            .found(format!("{known} leaves")));
        }
        let base = self.state.read().base;
        if size < base {
            self.load(&mut writer, size)?;
        } else {
            let mut state = self.state.write();
            state.tail.truncate((size - base) as usize);
            state.tile_roots.truncate((size - base) as usize / TILE_WIDTH);
            state.written = state.written.min(size);
        }
        let state = self.state.read();
        for (level, file) in state.files.iter().enumerate().rev() {
            let hashes = if level == 0 { state.written } else { state.in_file(level) };
            if let Some(file) = file {
                file.set_len(hashes * HASH_BYTES).map_err(|error| self.io("cut", level, &error))?;
                writer.dirty[level] = true;
            }
        }
        Ok(())
    }

    /// Hash of leaf `index`.
    ///
    /// # Errors
    /// [`Code::Internal`] if there is no such leaf, [`Code::Corrupted`] if the file is too short, or if it cannot be
    /// read.
    pub(crate) fn leaf(&self, index: u64) -> Result<Hash> {
        self.hash(0, index)
    }

    /// Hash `index` of `level`.
    ///
    /// # Errors
    /// As [`Tiles::leaf`].
    pub(crate) fn hash(&self, level: u8, index: u64) -> Result<Hash> {
        let level = usize::from(level);
        if index >= complete(self.size(), level) {
            return Err(Error::new(Code::Internal, format!("the tree has no hash {index} on level {level}")));
        }
        self.complete_hash(level, index)
    }

    /// The hashes of a tile, all of which the tree has.
    ///
    /// # Errors
    /// As [`Tiles::leaf`].
    pub(crate) fn tile(&self, tile: &Tile) -> Result<Vec<Hash>> {
        let (level, width) = (usize::from(tile.level), u64::from(tile.width));
        let end = tile.first().checked_add(width).filter(|end| *end <= complete(self.size(), level));
        if end.is_none() {
            return Err(Error::new(
                Code::Internal,
                format!("the tree has no tile {} of {width} hashes on level {level}", tile.index),
            ));
        }
        self.range(level, tile.first(), usize::from(tile.width))
    }

    /// The right edge of the tree of the first `size` leaves: at most 255 hashes a level are read.
    ///
    /// # Errors
    /// [`Code::Internal`] if there are fewer leaves, else as [`Tiles::leaf`].
    pub(crate) fn frontier(&self, size: u64) -> Result<Frontier> {
        if size > self.size() {
            return Err(Error::new(Code::Internal, format!("the tree has fewer than {size} leaves")));
        }
        let mut peaks = Vec::with_capacity(size.count_ones() as usize);
        for level in (0..LEVELS).rev() {
            let end = complete(size, level);
            let hashes = self.range(level, end - end % TILE, (end % TILE) as usize)?;
            let mut rest = hashes.as_slice();
            while !rest.is_empty() {
                let (peak, after) = rest.split_at(1 << rest.len().ilog2());
                peaks.push(root_of(peak));
                rest = after;
            }
        }
        Ok(Frontier::from_parts(size, peaks).expect("a peak for each one bit of the size"))
    }

    fn complete_hash(&self, level: usize, index: u64) -> Result<Hash> {
        {
            let state = self.state.read();
            if let Some(beyond) = index.checked_sub(state.in_file(level)) {
                let known = match level {
                    0 => state.tail.get(beyond as usize).copied(),
                    1 => state.tile_roots.get(beyond as usize).copied().flatten(),
                    _ => None,
                };
                if let Some(hash) = known {
                    return Ok(hash);
                }
            } else {
                drop(state);
                return Ok(self.read_file(level, index, 1)?[0]);
            }
        }
        match level.checked_sub(1) {
            Some(below) => Ok(root_of(&self.range(below, index * TILE, TILE_WIDTH)?)),
            None => Err(Error::new(Code::Internal, format!("leaf {index} was taken back while it was read"))),
        }
    }

    /// `count` hashes of one tile, all of them complete.
    pub(super) fn range(&self, level: usize, start: u64, count: usize) -> Result<Vec<Hash>> {
        let in_file = self.state.read().in_file(level);
        if start + count as u64 <= in_file {
            return self.read_file(level, start, count);
        }
        (start..start + count as u64).map(|index| self.complete_hash(level, index)).collect()
    }

    fn read_file(&self, level: usize, start: u64, count: usize) -> Result<Vec<Hash>> {
        let mut hashes = vec![[0; 32]; count];
        let file = self.state.read().files[level].clone();
        let read = match file {
            _ if count == 0 => 0,
            Some(file) => file
                .read_at(hashes.as_flattened_mut(), start * HASH_BYTES)
                .map_err(|error| self.io("read", level, &error))?,
            None => 0,
        };
        if read < count * size_of::<Hash>() {
            let path = path(&self.dir, level);
            return Err(Error::new(Code::Corrupted, format!("{} is too short", path.display()))
                .expected(format!("{} bytes", (start + count as u64) * HASH_BYTES))
                .found(format!("{} bytes", start * HASH_BYTES + read as u64)));
        }
        Ok(hashes)
    }

    /// Sets the state to what the files hold of the first `size` leaves.
    fn load(&self, writer: &mut Writer, size: u64) -> Result<()> {
        let base = size - size % TILE;
        let tail = self.read_file(0, base, (size - base) as usize)?;
        let mut partial: [Vec<Hash>; LEVELS] = Default::default();
        for (level, hashes) in partial.iter_mut().enumerate().skip(1) {
            let end = complete(base, level);
            *hashes = self.read_file(level, end - end % TILE, (end % TILE) as usize)?;
        }
        writer.partial = partial;
        let mut state = self.state.write();
        state.base = base;
        state.tail = tail;
        state.tile_roots.clear();
        state.written = size;
        Ok(())
    }

    fn write_tiles(&self, writer: &mut Writer) -> Result<()> {
        while self.write_some_tiles(writer)? {}
        Ok(())
    }

    /// Writes the first complete tiles of the tail; false if there is none.
    fn write_some_tiles(&self, writer: &mut Writer) -> Result<bool> {
        let (base, written, leaves, roots) = {
            let state = self.state.read();
            let tiles = (state.tail.len() / TILE_WIDTH).min(WRITE_LEAVES_MAX / TILE_WIDTH);
            let leaves = state.tail[..tiles * TILE_WIDTH].to_vec();
            (state.base, state.written, leaves, state.tile_roots[..tiles].to_vec())
        };
        if leaves.is_empty() {
            return Ok(false);
        }
        let unwritten = leaves.get((written - base) as usize..).unwrap_or_default();
        self.write_hashes(writer, 0, written, unwritten)?;

        let tiles = leaves.chunks_exact(TILE_WIDTH);
        let mut added: Vec<Hash> =
            tiles.zip(roots).map(|(tile, root)| root.unwrap_or_else(|| root_of(tile))).collect();
        let mut partial: [Option<Vec<Hash>>; LEVELS] = Default::default();
        for (level, place) in partial.iter_mut().enumerate().skip(1) {
            self.write_hashes(writer, level, complete(base, level), &added)?;
            let mut hashes = writer.partial[level].clone();
            hashes.append(&mut added);
            let tiles = hashes.chunks_exact(TILE_WIDTH);
            let rest = tiles.remainder().to_vec();
            added = tiles.map(root_of).collect();
            *place = Some(rest);
            if added.is_empty() {
                break;
            }
        }

        for (place, hashes) in writer.partial.iter_mut().zip(partial) {
            *place = hashes.unwrap_or_else(|| std::mem::take(place));
        }
        let mut state = self.state.write();
        state.tail.drain(..leaves.len());
        state.tile_roots.drain(..leaves.len() / TILE_WIDTH);
        state.base += leaves.len() as u64;
        state.written = state.written.max(state.base);
        Ok(true)
    }

    fn write_partial(&self, writer: &mut Writer) -> Result<()> {
        let (written, leaves) = {
            let state = self.state.read();
            (state.written, state.tail[(state.written - state.base) as usize..].to_vec())
        };
        self.write_hashes(writer, 0, written, &leaves)?;
        self.state.write().written += leaves.len() as u64;
        Ok(())
    }

    fn write_hashes(&self, writer: &mut Writer, level: usize, start: u64, hashes: &[Hash]) -> Result<()> {
        if hashes.is_empty() {
            return Ok(());
        }
        let file = self.state.read().files[level].clone();
        let file = match file {
            Some(file) => file,
            None => {
                let created = self.disk.open(&path(&self.dir, level), Open::Create);
                let file = created.map_err(|error| self.io("create", level, &error))?;
                writer.created = true;
                self.state.write().files[level] = Some(Arc::clone(&file));
                file
            }
        };
        writer.dirty[level] = true;
        let bytes = hashes.as_flattened();
        file.write_at(bytes, start * HASH_BYTES).map_err(|error| self.io("write", level, &error))
    }

    fn io(&self, what: &str, level: usize, error: &std::io::Error) -> Error {
        Error::io(format_args!("{what} {}", path(&self.dir, level).display()), error)
    }
}

fn path(dir: &Path, level: usize) -> PathBuf {
    dir.join(format!("tiles-{level}"))
}

#[cfg(test)]
mod tests;
