//! The hashes of the tree as they are stored: read in order, a tile at a time.

use crate::audit::Tiles;
use crate::env::{DiskFile, Env, Open};
use graven_model::{Error, Result};
use graven_proof::Hash;
use graven_proof::merkle::TILE_WIDTH;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Levels that 64 bits of size can need.
pub(super) const LEVELS: usize = 8;
const HASH_BYTES: u64 = size_of::<Hash>() as u64;

/// The file of a level, and where it is.
type File = (PathBuf, Arc<dyn DiskFile>);

/// Where the hashes are.
pub(super) enum Source {
    /// Files that nobody writes.
    Files(Box<[Option<File>; LEVELS]>),
    /// A store that goes on.
    Live(Arc<Tiles>),
}

/// Stored hashes, with the tile last read of each level.
pub(super) struct Stored {
    source: Source,
    counts: [u64; LEVELS],
    tiles: [(u64, Vec<Hash>); LEVELS],
}

impl Stored {
    /// The files in a directory, opened for reading only.
    pub(super) fn open(env: &Env, dir: &Path) -> Result<Stored> {
        let mut files = [const { None }; LEVELS];
        let mut counts = [0; LEVELS];
        for (level, place) in files.iter_mut().enumerate() {
            let path = dir.join(format!("tiles-{level}"));
            let failed = |error: std::io::Error| Error::io(path.display(), &error);
            let file = match env.disk.open(&path, Open::Read) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            counts[level] = written(&*file).map_err(failed)?;
            *place = Some((path, file));
        }
        Ok(Stored { source: Source::Files(Box::new(files)), counts, tiles: Default::default() })
    }

    /// Those of a store that goes on, up to a size.
    pub(super) fn live(tiles: &Arc<Tiles>, size: u64) -> Stored {
        let mut counts = [0; LEVELS];
        let mut complete = size;
        for count in &mut counts {
            *count = complete;
            complete /= TILE_WIDTH as u64;
        }
        Stored { source: Source::Live(Arc::clone(tiles)), counts, tiles: Default::default() }
    }

    /// Hashes there are of a level.
    pub(super) fn count(&self, level: usize) -> u64 {
        self.counts[level]
    }

    /// Hash `index` of a level; `None` if it is not stored.
    pub(super) fn hash(&mut self, level: usize, index: u64) -> Result<Option<Hash>> {
        if index >= self.counts[level] {
            return Ok(None);
        }
        let first = index - index % TILE_WIDTH as u64;
        let (held, hashes) = &mut self.tiles[level];
        if hashes.is_empty() || *held != first {
            let count = (self.counts[level] - first).min(TILE_WIDTH as u64) as usize;
            match &self.source {
                Source::Files(files) => {
                    let (path, file) = files[level].as_ref().expect("a level with hashes has a file");
                    hashes.resize(count, [0; 32]);
                    let bytes = hashes.as_flattened_mut();
                    file.read_at(bytes, first * HASH_BYTES)
                        .map_err(|error| Error::io(path.display(), &error))?;
                }
                Source::Live(tiles) => *hashes = tiles.range(level, first, count)?,
            }
            *held = first;
        }
        Ok(hashes.get((index - first) as usize).copied())
    }

    /// Where a hash is stored, in words.
    pub(super) fn place(&self, level: usize, index: u64) -> String {
        let byte = index * HASH_BYTES;
        match &self.source {
            Source::Files(files) => match &files[level] {
                Some((path, _)) => format!("{} at byte {byte}", path.display()),
                None => format!("tiles-{level} at byte {byte}"),
            },
            Source::Live(_) => format!("audit/tiles-{level} at byte {byte}"),
        }
    }
}

/// Whole hashes of a file up to the last one that is not zeros: a crash leaves zeros behind what was written.
fn written(file: &dyn DiskFile) -> std::io::Result<u64> {
    let mut count = file.len()? / HASH_BYTES;
    while count > 0 {
        let chunk = count.min(TILE_WIDTH as u64);
        let mut hashes = vec![[0u8; 32]; chunk as usize];
        file.read_at(hashes.as_flattened_mut(), (count - chunk) * HASH_BYTES)?;
        match hashes.iter().rposition(|hash| *hash != [0; 32]) {
            Some(last) => return Ok(count - chunk + last as u64 + 1),
            None => count -= chunk,
        }
    }
    Ok(0)
}
