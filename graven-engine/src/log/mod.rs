//! The log on disk: segment files of frames. Who writes: the writer, one batch at a time, or a replica, in runs of frames.
//! Who reads: everyone.
//!
//! Where the log is the journal, a write is durable when it returns. Where it is a copy of a log that is durable elsewhere,
//! it is durable after [`Log::sync`], and all segments but the last one are.
//!
//! A batch never spans two segments. The next segment is written with zeros before it is needed, so that a flush of the
//! log changes no file-system metadata.

pub(crate) mod reader;
pub(crate) mod recovery;
mod replica;
pub(crate) mod scavenge;
pub(crate) mod segment;
mod spare;

pub(crate) use graven_model::frame;

use crate::env::Env;
use graven_model::{Code, Error, Result};
use graven_proof::Hash;
use graven_proof::merkle::Frontier;
use parking_lot::{Mutex, RwLock};
use segment::{Segment, SegmentHeader};
use spare::Spare;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a batch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    /// A new segment begins with this batch; the one before ends at this byte.
    pub(crate) roll: Option<u64>,
    /// Byte offset of the batch in its segment.
    pub(crate) offset: u64,
}

/// Everything a new segment's header says about what came before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) previous: u32,
    pub(crate) commit_time: i64,
    pub(crate) last_leaf: Hash,
    pub(crate) frontier: Frontier,
}

/// The segment files of a store.
pub(crate) struct Log {
    env: Env,
    dir: PathBuf,
    log_id: [u8; 16],
    segment_bytes: u64,
    segments: RwLock<Vec<Arc<Segment>>>,
    spare: Spare,
    /// The log is a copy: writes are not flushed one by one.
    copy: bool,
    /// Placement of the next batch; the writer's alone.
    plan: Mutex<Plan>,
}

#[derive(Default)]
struct Plan {
    /// Bytes used in the segment the next batch goes to, and its size.
    used: u64,
    capacity: u64,
    /// Batches planned and not yet written, by their first position.
    waiting: VecDeque<(u64, Placement, Option<Edge>)>,
}

impl Log {
    /// Opens the segment files of `dir`; an empty directory is an empty log.
    ///
    /// # Errors
    /// [`Code::Corrupted`] for a damaged header, a foreign segment or a gap between segments.
    pub(crate) fn open(env: &Env, dir: &Path, log_id: [u8; 16], options: &crate::Options) -> Result<Log> {
        let spare = Spare::new(env, dir, options.free_bytes_reserve);
        Log::open_with(env, dir, log_id, options.segment_bytes, spare, false)
    }

    fn open_with(
        env: &Env,
        dir: &Path,
        log_id: [u8; 16],
        segment_bytes: u64,
        spare: Spare,
        copy: bool,
    ) -> Result<Log> {
        let failed = |error: &std::io::Error| Error::io(dir.display(), error);
        env.disk.create_dir(dir).map_err(|error| failed(&error))?;
        // A process that was killed may have left a name that is not durable, of a segment that is about to be written.
        env.disk.sync_dir(dir).map_err(|error| failed(&error))?;
        env.disk.sync_dir(dir.parent().unwrap_or(dir)).map_err(|error| failed(&error))?;
        let mut segments: Vec<Arc<Segment>> = Vec::new();
        for name in env.disk.list(dir).map_err(|error| failed(&error))? {
            let path = dir.join(&name);
            if name == spare::NAME || name.ends_with(".tmp") {
                env.disk.remove(&path).map_err(|error| failed(&error))?;
            } else if name.ends_with(".seg") {
                let segment = Segment::open(env, &path)?;
                if segment.header.log_id != log_id {
                    return Err(Error::new(
                        Code::Corrupted,
                        format!("{}: belongs to another log", path.display()),
                    ));
                }
                if name != segment_name(segment.first()) {
                    return Err(Error::new(
                        Code::Corrupted,
                        format!("{}: the file was renamed", path.display()),
                    )
                    .expected(segment_name(segment.first())));
                }
                segments.push(Arc::new(segment));
            }
        }
        if let Some(first) = segments.first()
            && first.first() != 0
        {
            return Err(Error::new(
                Code::Corrupted,
                format!("{}: the first segment is missing", dir.display()),
            )
            .expected(segment_name(0))
            .found(segment_name(first.first())));
        }
        Ok(Log {
            env: env.clone(),
            dir: dir.to_owned(),
            log_id,
            segment_bytes,
            segments: RwLock::new(segments),
            spare,
            copy,
            plan: Mutex::default(),
        })
    }

    /// The directory of the store, which the log's is in.
    pub(crate) fn store_dir(&self) -> &Path {
        self.dir.parent().unwrap_or(&self.dir)
    }

    /// Identity of the log.
    pub(crate) fn id(&self) -> [u8; 16] {
        self.log_id
    }

    /// Segments, oldest first.
    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().clone()
    }

    /// The segment that holds a position.
    pub(crate) fn segment_of(&self, position: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let after = segments.partition_point(|segment| segment.first() <= position);
        segments.get(after.checked_sub(1)?).cloned()
    }

    /// Number of segments and bytes in use, the pre-written rest not counted.
    pub(crate) fn size(&self) -> (u64, u64) {
        let segments = self.segments.read();
        let mut bytes = 0;
        for (index, segment) in segments.iter().enumerate() {
            bytes += if index + 1 == segments.len() {
                self.plan.lock().used
            } else {
                segment.file.len().unwrap_or_default()
            };
        }
        (segments.len() as u64, bytes)
    }

    /// After recovery: the log ends at this byte of its last segment.
    pub(crate) fn set_end(&self, used: u64) {
        let empty = self.segments.read().is_empty();
        let plan = if empty {
            Plan::default()
        } else {
            Plan { used, capacity: self.segment_bytes.max(used), ..Plan::default() }
        };
        *self.plan.lock() = plan;
        if empty {
            self.spare.want(self.segment_bytes);
        }
    }

    /// True if a batch of at most `bytes` would begin a new segment.
    pub(crate) fn would_roll(&self, bytes: u64) -> bool {
        let plan = self.plan.lock();
        plan.used + bytes > plan.capacity
    }

    /// Finds room for a batch of at most `bytes`. After this the commit of such a batch does not run out of space on
    /// a file system that keeps written blocks. `rolls`: it begins a segment, unless it would be the first of one anyway.
    ///
    /// # Errors
    /// [`Code::DiskFull`] or another I/O error; nothing has changed then.
    pub(crate) fn plan(&self, bytes: u64, rolls: bool) -> Result<Placement> {
        let (used, capacity) = {
            let plan = self.plan.lock();
            (plan.used, plan.capacity)
        };
        if used + bytes <= capacity && (!rolls || used <= segment::HEADER_BYTES) {
            if used > capacity / 4 {
                self.spare.want(self.segment_bytes);
            }
            return Ok(Placement { roll: None, offset: used });
        }
        let needed = self.segment_bytes.max(segment::HEADER_BYTES + bytes);
        self.spare.need(needed)?;
        Ok(Placement { roll: Some(used), offset: segment::HEADER_BYTES })
    }

    /// Tells what the batch planned last turned out to be: where it begins in the log, how many bytes it takes, and, if
    /// it begins a segment, what came before it.
    pub(crate) fn planned(&self, first: u64, placement: Placement, bytes: u64, edge: impl FnOnce() -> Edge) {
        let edge = placement.roll.is_some().then(edge);
        let mut plan = self.plan.lock();
        if placement.roll.is_some() {
            plan.capacity = self.spare.bytes().unwrap_or(self.segment_bytes);
        }
        plan.used = placement.offset + bytes;
        plan.waiting.push_back((first, placement, edge));
    }

    /// Writes a planned batch at its place; durable when this returns, unless the log is a copy.
    ///
    /// # Errors
    /// Those of the disk; whether the batch is there is then unknown.
    pub(crate) fn write(&self, first: u64, frames: &[u8]) -> Result<()> {
        let (planned, placement, edge) =
            self.plan.lock().waiting.pop_front().expect("a batch is planned before it is written");
        assert_eq!(planned, first, "batches are written in the order they were planned");
        if let (Some(used), Some(edge)) = (placement.roll, edge) {
            self.roll(first, used, edge)?;
        }
        let segment = self.segments.read().last().cloned().expect("the first batch begins a segment");
        let failed = |error: std::io::Error| Error::io(format_args!("{}", segment.path.display()), &error);
        segment.file.write_at(frames, placement.offset).map_err(failed)?;
        if self.copy { Ok(()) } else { segment.file.sync_data().map_err(failed) }
    }

    /// Whether a batch that was written may not be durable before [`Log::sync`].
    pub(crate) fn is_copy(&self) -> bool {
        self.copy
    }

    fn roll(&self, first: u64, sealed_bytes: u64, edge: Edge) -> Result<()> {
        if self.copy {
            self.sync()?;
        }
        let sealed = self.activate(&self.dir.join(spare::NAME), first, edge)?;
        self.spare.taken();
        if let Some(path) = sealed {
            self.spare.trim(path, sealed_bytes);
        }
        Ok(())
    }

    /// Makes a file the last segment, durably, and answers with the path of the one before.
    fn activate(&self, file: &Path, first: u64, edge: Edge) -> Result<Option<PathBuf>> {
        let path = self.dir.join(segment_name(first));
        let header = SegmentHeader {
            log_id: self.log_id,
            first,
            created: self.env.clock.now_us(),
            previous: edge.previous,
            commit_time: edge.commit_time,
            last_leaf: edge.last_leaf,
            frontier: edge.frontier,
        };
        let segment = Segment::activate(&self.env, file, &path, header)
            .map_err(|error| Error::io(path.display(), &error))?;
        let mut segments = self.segments.write();
        let sealed = segments.last().map(|segment| segment.path.clone());
        segments.push(Arc::new(segment));
        Ok(sealed)
    }
}

/// File name of the segment that begins at a position.
pub(crate) fn segment_name(first: u64) -> String {
    format!("{first:020}.seg")
}
