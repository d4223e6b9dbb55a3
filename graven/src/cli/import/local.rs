//! Import into a stopped store: the engine runs in this process.

use super::chunk::{Chunk, Kind, Payload};
use super::target::{Acknowledged, Refused, Target};
use graven_engine::env::Env;
use graven_engine::{Options, PendingAppend, Store};
use graven_model::error::Details;
use graven_model::{
    AppendRequest, Code, Error, Expected, FailedCheck, Position, Result, StreamName, StreamState,
};
use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};

/// Chunks on their way: one is hashed while one is encoded and one is flushed.
const IN_FLIGHT_MAX: usize = 4;
/// Bytes on their way, well under what the writer's queue takes.
const IN_FLIGHT_BYTES_MAX: usize = 48 << 20;
/// Names remembered as not tombstoned.
const KNOWN_MAX: usize = 1_000_000;

/// Free space below which chunks go one by one.
const ROOMY_BYTES: u64 = 1 << 30;

/// An open store.
///
/// Several chunks are on their way at a time only while none can be refused: if the disk could fill up, a large one
/// might be refused and a smaller one behind it stored, which would change the order of events for good.
pub(super) struct Local {
    store: Store,
    dir: PathBuf,
    env: Env,
    /// Free space that is certainly enough for all that is on its way.
    roomy_bytes: u64,
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: usize,
    /// Streams that are not tombstoned; `None` if the store was empty, so that none can be.
    known: Option<HashSet<StreamName>>,
}

struct InFlight {
    pending: PendingAppend,
    last_line: u64,
    read_bytes: u64,
    size_bytes: usize,
}

impl Local {
    /// Opens the store, making it if the directory is empty or missing.
    ///
    /// # Errors
    /// Those of [`Store::open`]; [`Code::DataInUse`] if a server runs on it.
    pub(super) fn open(dir: &Path, options: Options) -> Result<Local> {
        let env = options.env.clone();
        let roomy_bytes = options.free_bytes_reserve + 4 * options.segment_bytes + ROOMY_BYTES;
        let store = Store::open(dir, options)?;
        let known = (store.head() > Position(0)).then(HashSet::new);
        let dir = dir.to_owned();
        Ok(Local { store, dir, env, roomy_bytes, in_flight: VecDeque::new(), in_flight_bytes: 0, known })
    }

    /// Whether one more chunk may be on its way beside those that are.
    fn has_room(&self) -> bool {
        self.in_flight.len() < IN_FLIGHT_MAX
            && self.in_flight_bytes < IN_FLIGHT_BYTES_MAX
            && (self.in_flight.is_empty()
                || self.env.disk.free_bytes(&self.dir).is_ok_and(|free| free >= self.roomy_bytes))
    }

    /// A tombstone would be noticed only by the writer, when later chunks are on their way: look before.
    fn check_tombstones(&mut self, request: &AppendRequest) -> Result<()> {
        let Some(known) = &mut self.known else { return Ok(()) };
        if known.len() > KNOWN_MAX {
            known.clear();
        }
        let mut tombstoned = Vec::new();
        for write in &request.streams {
            if known.contains(&write.stream) {
                continue;
            }
            match self.store.stream_info(&write.stream) {
                Ok(info) if info.state == StreamState::Tombstoned => tombstoned.push(FailedCheck {
                    stream: write.stream.clone(),
                    expected: Expected::Any,
                    actual: info.state,
                    partial_retry: None,
                    unseen: Vec::new(),
                }),
                Err(error) if !matches!(error.code, Code::StreamNotFound | Code::StreamDeleted) => {
                    return Err(error);
                }
                _ => {
                    known.insert(write.stream.clone());
                }
            }
        }
        match tombstoned.first() {
            None => Ok(()),
            Some(first) => {
                let message = format!("stream {:?} is tombstoned", first.stream.as_str());
                Err(Error::new(Code::StreamTombstoned, message).with(Details::FailedChecks(tombstoned)))
            }
        }
    }
}

impl Target for Local {
    fn kind(&self) -> Kind {
        Kind::Append
    }

    fn submit(&mut self, mut chunk: Chunk, _note: &dyn Fn(&Error)) -> Result<(), Box<Refused>> {
        let Payload::Append(request) = &mut chunk.payload else {
            unreachable!("chunks are made for the target's kind")
        };
        let outcome =
            self.check_tombstones(request).and_then(|()| self.store.submit(std::mem::take(request)));
        match outcome {
            Ok(pending) => {
                let Chunk { last_line, read_bytes, size_bytes, .. } = chunk;
                self.in_flight_bytes += size_bytes;
                self.in_flight.push_back(InFlight { pending, last_line, read_bytes, size_bytes });
                Ok(())
            }
            Err(error) => Err(Box::new(Refused { chunk, error })),
        }
    }

    fn acknowledged(&mut self, all: bool) -> Result<Option<Acknowledged>> {
        if !all && self.has_room() {
            return Ok(None);
        }
        let Some(oldest) = self.in_flight.pop_front() else { return Ok(None) };
        self.in_flight_bytes -= oldest.size_bytes;
        let receipt = oldest.pending.wait()?;
        Ok(Some(Acknowledged {
            last_line: oldest.last_line,
            read_bytes: oldest.read_bytes,
            appended: receipt.appended.into(),
            duplicates: receipt.duplicates.into(),
        }))
    }

    fn close(&mut self) -> Result<()> {
        self.store.close()
    }
}
