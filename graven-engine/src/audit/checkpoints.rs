//! `checkpoints.log`: every checkpoint that was ever handed out, as it was signed, in the order of its size.
//!
//! Blocks of 512 bytes; a checkpoint takes one, rarely more. Whoever looks for a size finds it by halving, without an
//! index. Written by the signer alone, and durable before anybody gets the checkpoint. Nothing here is ever signed again.

use crate::env::{Disk, DiskFile, Env, Open};
use graven_model::{Code, Error, Result, Timestamp};
use graven_proof::checkpoint::SignedCheckpoint;
use parking_lot::RwLock;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A checkpoint as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Events in the log it is of.
    pub size: u64,
    /// When it was signed, by the store's clock, which may jump. Nobody vouches for it.
    pub signed_at: Timestamp,
    /// The checkpoint, byte for byte as it was signed.
    pub checkpoint: SignedCheckpoint,
}

/// Bytes of a checkpoint at the most, so that a place of the high-water mark holds it.
pub(super) const CHECKPOINT_BYTES_MAX: usize = PARTS_MAX * TEXT_BYTES;

const MAGIC: [u8; 4] = *b"GCP1";
pub(super) const BLOCK_BYTES: usize = 512;
const HEADER_BYTES: usize = 28;
const TEXT_BYTES: usize = BLOCK_BYTES - HEADER_BYTES;
pub(super) const PARTS_MAX: usize = 8;
/// Blocks read at once.
const READ_BLOCKS: u64 = 128;

/// The file. One thread appends; any may read.
pub(crate) struct CheckpointLog {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: RwLock<Option<Arc<dyn DiskFile>>>,
    /// Durable blocks.
    blocks: AtomicU64,
}

impl CheckpointLog {
    /// Opens the file, or begins without one. What a crash tore at its end is left out, and overwritten by the next
    /// checkpoint.
    ///
    /// # Errors
    /// [`Code::Corrupted`] with file and byte if more is damaged there than a crash can tear; [`Code::Io`].
    pub(crate) fn open(env: &Env, path: &Path) -> Result<CheckpointLog> {
        let log = CheckpointLog {
            disk: Arc::clone(&env.disk),
            path: path.to_owned(),
            file: RwLock::new(None),
            blocks: AtomicU64::new(0),
        };
        let file = match env.disk.open(path, Open::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(log),
            Err(error) => return Err(log.io(&error)),
        };
        let len = file.len().map_err(|error| log.io(&error))?;
        *log.file.write() = Some(file);
        let there = len / BLOCK_BYTES as u64;
        let whole = log.whole(there)?;
        log.blocks.store(whole, Ordering::Release);
        Ok(log)
    }

    /// How many of the blocks there are belong to whole checkpoints.
    fn whole(&self, there: u64) -> Result<u64> {
        let window = there.min(2 * PARTS_MAX as u64);
        let bytes = self.bytes(there - window, window)?;
        let blocks: Vec<Option<Block<'_>>> = bytes.chunks(BLOCK_BYTES).map(Block::decode).collect();
        let ends_whole = |end: &usize| {
            blocks[*end - 1].as_ref().is_some_and(|last| {
                let parts = usize::from(last.parts);
                last.part + 1 == last.parts
                    && parts <= *end
                    && blocks[*end - parts..*end].iter().zip(0..).all(|(block, part)| {
                        block.as_ref().is_some_and(|block| block.part == part && block.size == last.size)
                    })
            })
        };
        let end = (1..=blocks.len()).rev().find(ends_whole).unwrap_or(0);
        let torn = blocks.len() - end;
        if torn > PARTS_MAX || (end == 0 && there > PARTS_MAX as u64) {
            return Err(self.damaged(there - window + end as u64, "more than one checkpoint is damaged"));
        }
        if torn > 0 {
            tracing::warn!(path = %self.path.display(), blocks = torn, "left out a torn checkpoint that was never handed out");
        }
        Ok(there - torn as u64)
    }

    /// The newest checkpoint.
    ///
    /// # Errors
    /// [`Code::Corrupted`], [`Code::Io`].
    pub(crate) fn last(&self) -> Result<Option<StoredCheckpoint>> {
        let blocks = self.blocks();
        match blocks.checked_sub(1) {
            None => Ok(None),
            Some(last) => {
                let first = last.saturating_sub(u64::from(self.part_at(last)?));
                self.at(first, blocks).map(|(stored, _)| Some(stored))
            }
        }
    }

    /// The checkpoint of this size.
    ///
    /// # Errors
    /// [`Code::Corrupted`], [`Code::Io`].
    pub(crate) fn of_size(&self, size: u64) -> Result<Option<StoredCheckpoint>> {
        let blocks = self.blocks();
        let first = self.first_with(blocks, |found| found >= size)?;
        if first == blocks {
            return Ok(None);
        }
        let (stored, _) = self.at(first, blocks)?;
        Ok((stored.size == size).then_some(stored))
    }

    /// The checkpoints above this size, smallest first, at most `limit`; from the first one on without a size.
    ///
    /// # Errors
    /// [`Code::Corrupted`], [`Code::Io`].
    pub(crate) fn above(&self, size: Option<u64>, limit: usize) -> Result<Vec<StoredCheckpoint>> {
        let blocks = self.blocks();
        let mut at = match size {
            None => 0,
            Some(size) => self.first_with(blocks, |found| found > size)?,
        };
        let mut found: Vec<StoredCheckpoint> = Vec::new();
        while at < blocks && found.len() < limit {
            let (stored, next) = self.at(at, blocks)?;
            if found.last().is_some_and(|before| before.size >= stored.size) {
                return Err(self.damaged(at, "the sizes of checkpoints do not ascend"));
            }
            found.push(stored);
            at = next;
        }
        Ok(found)
    }

    /// Adds a checkpoint that is larger than all there are. Durable when this returns.
    ///
    /// # Errors
    /// Those of the disk. After a failed sync nobody knows what the file holds: it is to be opened again.
    pub(crate) fn append(&self, stored: &StoredCheckpoint) -> std::result::Result<(), AppendError> {
        let text = stored.checkpoint.to_string();
        if text.len() > CHECKPOINT_BYTES_MAX {
            let message = "a checkpoint is too long: the origin is, or too many keys sign";
            return Err(AppendError::Refused(
                Error::new(Code::InvalidConfig, message)
                    .expected(format!("at most {CHECKPOINT_BYTES_MAX} bytes"))
                    .found(format!("{} bytes", text.len())),
            ));
        }
        let bytes = encode(stored, &text);
        let blocks = self.blocks();
        let refused = |error: std::io::Error| AppendError::Refused(self.io(&error));
        let (file, created) = self.writable().map_err(refused)?;
        file.write_at(&bytes, blocks * BLOCK_BYTES as u64).map_err(refused)?;
        file.sync_data().map_err(|error| AppendError::Unknown(self.io(&error)))?;
        if created {
            let dir = self.path.parent().unwrap_or(Path::new("."));
            self.disk.sync_dir(dir).map_err(|error| AppendError::Unknown(self.io(&error)))?;
        }
        self.blocks.store(blocks + (bytes.len() / BLOCK_BYTES) as u64, Ordering::Release);
        Ok(())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn writable(&self) -> std::io::Result<(Arc<dyn DiskFile>, bool)> {
        if let Some(file) = &*self.file.read() {
            // A file whose name may not be durable yet has no checkpoints.
            return Ok((Arc::clone(file), self.blocks() == 0));
        }
        let file = self.disk.open(&self.path, Open::Create)?;
        *self.file.write() = Some(Arc::clone(&file));
        Ok((file, true))
    }

    fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Acquire)
    }

    /// The first block whose checkpoint has such a size; `blocks` if there is none. Sizes ascend.
    fn first_with(&self, blocks: u64, such: impl Fn(u64) -> bool) -> Result<u64> {
        let (mut low, mut high) = (0, blocks);
        while low < high {
            let middle = low + (high - low) / 2;
            let bytes = self.bytes(middle, 1)?;
            let block = Block::decode(&bytes).ok_or_else(|| self.damaged(middle, CHECKSUM))?;
            if such(block.size) { high = middle } else { low = middle + 1 }
        }
        Ok(low)
    }

    fn part_at(&self, block: u64) -> Result<u8> {
        let bytes = self.bytes(block, 1)?;
        Ok(Block::decode(&bytes).ok_or_else(|| self.damaged(block, CHECKSUM))?.part)
    }

    /// The checkpoint whose first block this is, and the block behind it.
    fn at(&self, first: u64, blocks: u64) -> Result<(StoredCheckpoint, u64)> {
        let bytes = self.bytes(first, (PARTS_MAX as u64).min(blocks - first))?;
        let damaged = |what: &str| self.damaged(first, what);
        let mut text = Vec::new();
        let mut head: Option<Block<'_>> = None;
        for (bytes, part) in bytes.chunks(BLOCK_BYTES).zip(0..) {
            let block = Block::decode(bytes).ok_or_else(|| damaged(CHECKSUM))?;
            if block.part != part || head.as_ref().is_some_and(|head| head.size != block.size) {
                return Err(damaged("the parts of a checkpoint do not fit together"));
            }
            text.extend_from_slice(block.text);
            let parts = block.parts;
            head.get_or_insert(block);
            if part + 1 == parts {
                break;
            }
        }
        let head = head.filter(|head| bytes.len() / BLOCK_BYTES >= usize::from(head.parts));
        let head = head.ok_or_else(|| damaged("a checkpoint is cut off"))?;
        let checkpoint = SignedCheckpoint::parse(&text).map_err(|error| damaged(&error.to_string()))?;
        if checkpoint.unverified_head().size != head.size {
            return Err(damaged("a checkpoint is filed under another size"));
        }
        let signed_at = Timestamp::from_micros(head.signed_at);
        Ok((StoredCheckpoint { size: head.size, signed_at, checkpoint }, first + u64::from(head.parts)))
    }

    fn bytes(&self, first: u64, count: u64) -> Result<Vec<u8>> {
        debug_assert!(count <= READ_BLOCKS);
        let Some(file) = self.file.read().clone() else { return Ok(Vec::new()) };
        let mut bytes = vec![0; count as usize * BLOCK_BYTES];
        let read = file.read_at(&mut bytes, first * BLOCK_BYTES as u64).map_err(|error| self.io(&error))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn damaged(&self, block: u64, what: &str) -> Error {
        let byte = block * BLOCK_BYTES as u64;
        Error::new(Code::Corrupted, format!("{} at byte {byte}: {what}", self.path.display()))
    }

    fn io(&self, error: &std::io::Error) -> Error {
        Error::io(self.path.display(), error)
    }
}

const CHECKSUM: &str = "the checksum of a checkpoint does not hold";

/// Why a checkpoint was not added.
pub(crate) enum AppendError {
    /// It is not there, or will be overwritten.
    Refused(Error),
    /// It may be there.
    Unknown(Error),
}

/// One block, taken apart.
pub(super) struct Block<'a> {
    pub(super) part: u8,
    pub(super) parts: u8,
    pub(super) size: u64,
    signed_at: i64,
    pub(super) text: &'a [u8],
}

impl<'a> Block<'a> {
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Block<'a>> {
        let bytes: &[u8; BLOCK_BYTES] = bytes.try_into().ok()?;
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        let (part, parts) = (bytes[8], bytes[9]);
        let length = usize::from(u16::from_le_bytes([bytes[10], bytes[11]]));
        let intact = bytes[..4] == MAGIC && word(4) == crc32c::crc32c(&bytes[8..]);
        if !intact || part >= parts || usize::from(parts) > PARTS_MAX || length > TEXT_BYTES {
            return None;
        }
        let text = &bytes[HEADER_BYTES..HEADER_BYTES + length];
        Some(Block { part, parts, size: long(12), signed_at: long(20).cast_signed(), text })
    }
}

fn encode(stored: &StoredCheckpoint, text: &str) -> Vec<u8> {
    let parts = text.len().div_ceil(TEXT_BYTES);
    let mut out = Vec::with_capacity(parts * BLOCK_BYTES);
    for (part, text) in text.as_bytes().chunks(TEXT_BYTES).enumerate() {
        let mut block = [0; BLOCK_BYTES];
        block[..4].copy_from_slice(&MAGIC);
        (block[8], block[9]) = (part as u8, parts as u8);
        block[10..12].copy_from_slice(&(text.len() as u16).to_le_bytes());
        block[12..20].copy_from_slice(&stored.size.to_le_bytes());
        block[20..28].copy_from_slice(&stored.signed_at.micros().to_le_bytes());
        block[HEADER_BYTES..HEADER_BYTES + text.len()].copy_from_slice(text);
        let crc = crc32c::crc32c(&block[8..]);
        block[4..8].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&block);
    }
    out
}

#[cfg(test)]
mod tests;
