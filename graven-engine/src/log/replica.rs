//! The log of a replica: frames another log has written, in runs. Its segments grow as they are written; there is no
//! spare thread, since nobody waits for a flush here.

use super::{Edge, Log, Spare, segment_name};
use crate::env::{Env, Open, temporary_name};
use graven_model::{Error, Result};
use std::path::Path;

impl Log {
    /// [`Log::open`] for a replica.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub(crate) fn open_replica(
        env: &Env,
        dir: &Path,
        log_id: [u8; 16],
        options: &crate::Options,
    ) -> Result<Log> {
        let spare = Spare::none(env, dir, options.free_bytes_reserve);
        Log::open_with(env, dir, log_id, options.segment_bytes, spare, true)
    }

    /// Whether a frame fits behind byte `used` of the last segment, if there is one.
    pub(crate) fn has_room(&self, used: u64, bytes: u64) -> bool {
        used + bytes <= self.segment_bytes
    }

    /// Makes the last segment durable and begins the next one at a position.
    ///
    /// # Errors
    /// Those of the disk; what is durable is then unknown.
    pub(crate) fn begin_segment(&self, first: u64, edge: Edge) -> Result<()> {
        self.sync()?;
        let new = temporary_name(&self.dir.join(segment_name(first)));
        self.env.disk.open(&new, Open::Create).map_err(|error| Error::io(new.display(), &error))?;
        self.activate(&new, first, edge).map(|_| ())
    }

    /// Writes whole frames at a byte of the last segment; durable after [`Log::sync`].
    ///
    /// # Errors
    /// Those of the disk; what is there is then unknown.
    pub(crate) fn write_frames(&self, offset: u64, frames: &[u8]) -> Result<()> {
        let segments = self.segments.read();
        let segment = segments.last().expect("frames are written into a segment that was begun");
        segment
            .file
            .write_at(frames, offset)
            .map_err(|error| Error::io(format_args!("{} at byte {offset}", segment.path.display()), &error))
    }

    /// Makes the last segment durable; those before are.
    ///
    /// # Errors
    /// Those of the disk; never to be repeated then.
    pub(crate) fn sync(&self) -> Result<()> {
        let Some(segment) = self.segments.read().last().cloned() else { return Ok(()) };
        segment.file.sync_data().map_err(|error| Error::io(segment.path.display(), &error))
    }
}
