//! The high-water mark: the newest checkpoint, in a file that can lie where an older copy of the store does not bring an
//! older one with it.
//!
//! Two places of 4 KiB take turns, so that one of them is whole whatever a crash does to the other.

use super::checkpoints::{CHECKPOINT_BYTES_MAX, StoredCheckpoint};
use crate::env::{Disk, DiskFile, Env, Open};
use graven_model::{Code, Error, Result, Timestamp};
use graven_proof::checkpoint::SignedCheckpoint;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: [u8; 4] = *b"GHW1";
const SLOT_BYTES: usize = 4096;
const HEADER_BYTES: usize = 28;

const _: () = assert!(HEADER_BYTES + CHECKPOINT_BYTES_MAX <= SLOT_BYTES);

/// The mark. The signer alone has it.
pub(crate) struct HighWater {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Option<Arc<dyn DiskFile>>,
    /// Where the newest checkpoint stands, and what it is.
    mark: Option<(usize, StoredCheckpoint)>,
}

impl HighWater {
    /// Opens the file, or begins without one.
    ///
    /// # Errors
    /// [`Code::Corrupted`] if neither place reads although both were written; [`Code::Io`].
    pub(crate) fn open(env: &Env, path: &Path) -> Result<HighWater> {
        let mut high_water =
            HighWater { disk: Arc::clone(&env.disk), path: path.to_owned(), file: None, mark: None };
        let file = match env.disk.open(path, Open::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(high_water),
            Err(error) => return Err(high_water.io(&error)),
        };
        let mut bytes = vec![0; 2 * SLOT_BYTES];
        let read = file.read_at(&mut bytes, 0).map_err(|error| high_water.io(&error))?;
        high_water.file = Some(file);
        let slots = bytes.chunks(SLOT_BYTES).enumerate();
        let whole = slots.clone().filter_map(|(slot, bytes)| Some((slot, decode(bytes)?)));
        high_water.mark = whole.max_by_key(|(_, stored)| stored.size);
        let written = slots.filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0)).count();
        // A crash tears one place, and the first time there is no other one.
        if high_water.mark.is_none() && (written > 1 || read > 2 * SLOT_BYTES) {
            return Err(Error::new(
                Code::Corrupted,
                format!("{}: neither place of the high-water mark reads", path.display()),
            ));
        }
        Ok(high_water)
    }

    /// The newest checkpoint.
    pub(crate) fn mark(&self) -> Option<&StoredCheckpoint> {
        self.mark.as_ref().map(|(_, stored)| stored)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Remembers a newer checkpoint. Durable when this returns.
    ///
    /// # Errors
    /// Those of the disk; the checkpoint before is still remembered.
    pub(crate) fn raise(&mut self, stored: &StoredCheckpoint) -> Result<()> {
        let slot = self.mark.as_ref().map_or(0, |(slot, _)| 1 - slot);
        self.write(slot, &encode(stored)).map_err(|error| self.io(&error))?;
        self.mark = Some((slot, stored.clone()));
        Ok(())
    }

    fn write(&mut self, slot: usize, bytes: &[u8]) -> std::io::Result<()> {
        let (file, created) = match &self.file {
            // Its name may not be durable before the first mark is.
            Some(file) => (Arc::clone(file), self.mark.is_none()),
            None => (self.disk.open(&self.path, Open::Create)?, true),
        };
        self.file = Some(Arc::clone(&file));
        let written = file.write_at(bytes, (slot * SLOT_BYTES) as u64).and_then(|()| file.sync_data());
        if written.is_err() {
            // A flush that failed is not repeated over the same handle.
            self.file = self.disk.open(&self.path, Open::Write).ok();
        }
        written?;
        if created {
            self.disk.sync_dir(self.path.parent().unwrap_or(Path::new(".")))?;
        }
        Ok(())
    }

    fn io(&self, error: &std::io::Error) -> Error {
        Error::io(format_args!("high-water mark {}", self.path.display()), error)
    }
}

fn decode(bytes: &[u8]) -> Option<StoredCheckpoint> {
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    if bytes.len() != SLOT_BYTES || bytes[..4] != MAGIC || word(4) != crc32c::crc32c(&bytes[8..]) {
        return None;
    }
    let text = bytes[HEADER_BYTES..].get(..word(8) as usize)?;
    let checkpoint = SignedCheckpoint::parse(text).ok()?;
    let (size, signed_at) = (long(12), Timestamp::from_micros(long(20).cast_signed()));
    (checkpoint.unverified_head().size == size).then_some(StoredCheckpoint { size, signed_at, checkpoint })
}

fn encode(stored: &StoredCheckpoint) -> Vec<u8> {
    let text = stored.checkpoint.to_string();
    let mut bytes = vec![0; SLOT_BYTES];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&(text.len() as u32).to_le_bytes());
    bytes[12..20].copy_from_slice(&stored.size.to_le_bytes());
    bytes[20..28].copy_from_slice(&stored.signed_at.micros().to_le_bytes());
    bytes[HEADER_BYTES..HEADER_BYTES + text.len()].copy_from_slice(text.as_bytes());
    let crc = crc32c::crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}
