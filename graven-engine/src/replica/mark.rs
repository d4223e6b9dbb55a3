//! `replica.json`: how far a copy is known to be durable, and what it was there.

use crate::append::{Witness, hex};
use crate::env::{Env, read_file, replace_file};
use graven_model::{Code, Error, Result, Timestamp};
use graven_proof::Hash;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// File name in the directory of a copy.
pub(crate) const NAME: &str = "replica.json";
const FORMAT: u32 = 1;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    format: u32,
    /// First four bytes of the log id.
    log: u32,
    /// Events that are durable.
    pub(super) head: u64,
    /// Header checksum of the last frame.
    pub(super) checksum: u32,
    /// Merkle root over the events, in hexadecimal.
    root: String,
    pub(super) synced_at: Timestamp,
    /// CRC-32C of the other values, each followed by a line feed; the time in microseconds.
    crc: u32,
}

impl Mark {
    /// Of a log with this tag that stands here and is durable.
    pub(super) fn new(log_tag: u32, durable: &Witness, now_us: i64) -> Mark {
        let mut mark = Mark {
            format: FORMAT,
            log: log_tag,
            head: durable.position,
            checksum: durable.checksum,
            root: hex(&durable.root),
            synced_at: Timestamp::from_micros(now_us),
            crc: 0,
        };
        mark.crc = mark.own_checksum();
        mark
    }

    fn own_checksum(&self) -> u32 {
        let Mark { format, log, head, checksum, root, synced_at, crc: _ } = self;
        let values = format!("{format}\n{log}\n{head}\n{checksum}\n{root}\n{}\n", synced_at.micros());
        crc32c::crc32c(values.as_bytes())
    }

    pub(super) fn root(&self) -> Result<Hash> {
        let byte = |at: usize| u8::from_str_radix(self.root.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..self.root.len()).step_by(2).map(byte).collect();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| Error::new(Code::Corrupted, format!("{NAME}: the root is no hash")))
    }

    /// Writes the file, durably.
    pub(super) fn write(&self, env: &Env, dir: &Path) -> Result<()> {
        let path = dir.join(NAME);
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::new(Code::Internal, format!("{NAME}: {error}")))?;
        json.push(b'\n');
        replace_file(&*env.disk, &path, &json).map_err(|error| Error::io(path.display(), &error))
    }

    /// Reads the file of a copy of the log with this tag; `None` if there is none.
    pub(super) fn read(env: &Env, dir: &Path, log_tag: u32) -> Result<Option<Mark>> {
        let path = dir.join(NAME);
        let bytes = match read_file(&*env.disk, &path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(path.display(), &error)),
        };
        let damaged = |what: &str| Error::new(Code::Corrupted, format!("{}: {what}", path.display()));
        let mark: Mark = serde_json::from_slice(&bytes).map_err(|error| damaged(&error.to_string()))?;
        if mark.crc != mark.own_checksum() {
            return Err(damaged("the checksum does not hold"));
        }
        if mark.format != FORMAT {
            return Err(Error::new(Code::UnknownFormat, format!("{}: another format", path.display()))
                .expected(format!("format {FORMAT}"))
                .found(format!("format {}", mark.format)));
        }
        if mark.log != log_tag {
            return Err(damaged("it is of another log"));
        }
        Ok(Some(mark))
    }
}

/// Takes the file away, durably: the copy is a store from then on.
pub(super) fn remove(env: &Env, dir: &Path) -> Result<()> {
    let path = dir.join(NAME);
    let removed = env.disk.remove(&path).and_then(|()| env.disk.sync_dir(dir));
    removed.map_err(|error| Error::io(path.display(), &error))
}
