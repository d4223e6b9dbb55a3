//! A copy of another store's log: backups are made with it, and stores are restored.
//!
//! [`Replica`] takes frames as the source stores them and believes nothing of them: checksums, the chain from frame to
//! frame, positions, commit times and the Merkle root of every frame are checked before a byte is written. [`Backup`]
//! reads the log of such a directory, and nothing derived.
//!
//! A replica's directory is a store's with `replica.json` beside `store.json`: how far the copy is known to be durable.
//! It is no store until [`Replica::into_store`] takes that file away, and [`crate::Store::open`] refuses it, so that
//! neither a backup is written to nor half a restore taken for a store. This room never asks anybody for frames.

mod backup;
mod keeper;
mod mark;
#[cfg(test)]
mod tests;

pub use backup::Backup;
pub(crate) use keeper::Keeper;
pub use keeper::SYNC_BYTES;

use crate::append::{Chain, Names, Pending, Shared, Witness, log_tag, replay_frame};
use crate::audit::Trail;
use crate::env::Env;
use crate::index::Index;
use crate::log::frame::{self, Header};
use crate::log::recovery::records_intact;
use crate::log::{Edge, Log, segment};
use crate::node::Membership;
use crate::store::open::{INDEX_DIR, Identity, LOG_DIR, Recovered, enter, open_over, read_identity};
use crate::{Options, Store, StoreInfo};
use bytes::Bytes;
use graven_model::event::Kind;
use graven_model::{Code, Error, EventId, Position, Result, Timestamp};
use mark::Mark;
pub(crate) use mark::NAME as MARK_FILE;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Who a log is, as its store says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogIdentity {
    /// Identity of the log.
    pub log_id: EventId,
    /// Origin line of its checkpoints; hashed into the first leaf.
    pub origin: String,
    /// When its store was made.
    pub created_at: Timestamp,
}

impl LogIdentity {
    /// The identity of an open store.
    ///
    /// # Errors
    /// [`Code::InvalidEventId`] if the log id is not a UUID.
    pub fn of(info: &StoreInfo) -> Result<LogIdentity> {
        Ok(LogIdentity {
            log_id: EventId::parse(&info.log_id)?,
            origin: info.origin.clone(),
            created_at: info.created_at,
        })
    }
}

impl From<&Identity> for LogIdentity {
    fn from(identity: &Identity) -> LogIdentity {
        LogIdentity {
            log_id: identity.log_id,
            origin: identity.origin.clone(),
            created_at: identity.created_at,
        }
    }
}

/// How a replica is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What the newest index file covers was checked when it was written; the rest of the log is checked now.
    Usual,
    /// Everything derived is thrown away, and the whole log is checked and indexed again.
    WholeLog,
}

/// A copy of a log that is open for more.
pub struct Replica {
    dir: PathBuf,
    identity: Identity,
    shared: Arc<Shared>,
    chain: Chain,
    names: Names,
    index_flush_events: usize,
    keeper: Arc<Keeper>,
    failed: Option<Error>,
    scratch: Vec<u8>,
    /// Ends with the replica.
    lock: Option<Box<dyn Send + Sync>>,
}

/// Frames that go into one segment, one after the other.
struct Run {
    first: u64,
    /// What the segment's header says, if the run begins one.
    begins: Option<Edge>,
    offset: u64,
    bytes: Range<usize>,
}

impl Replica {
    /// Opens a copy of `source` in a directory, or begins one in an empty or missing directory, and recovers it: a torn
    /// end that was never reported as durable is cut off.
    ///
    /// # Errors
    /// [`Code::HistoryDiverged`] if the directory copies another log, [`Code::DataInUse`], [`Code::UnknownFormat`] for a
    /// store or anything else that is no copy, [`Code::Corrupted`] with file and byte for damage, [`Code::Io`].
    pub fn open(dir: impl AsRef<Path>, source: &LogIdentity, options: &Options) -> Result<Replica> {
        Replica::open_at(dir.as_ref(), Some(source), options, Depth::Usual, &mut |_| {})
    }

    /// Opens the copy there is in a directory. `progress` is called with the position reached while the log is checked.
    ///
    /// # Errors
    /// As [`Replica::open`]; [`Code::UnknownFormat`] if there is none.
    pub fn reopen(
        dir: impl AsRef<Path>,
        options: &Options,
        depth: Depth,
        progress: &mut dyn FnMut(Position),
    ) -> Result<Replica> {
        Replica::open_at(dir.as_ref(), None, options, depth, progress)
    }

    fn open_at(
        dir: &Path,
        source: Option<&LogIdentity>,
        options: &Options,
        depth: Depth,
        progress: &mut dyn FnMut(Position),
    ) -> Result<Replica> {
        let env = options.env.clone();
        let lock = enter(&env, dir, source.is_some())?;
        let (identity, mark) = identify(&env, dir, source)?;
        if depth == Depth::WholeLog {
            Index::wipe(&env, &dir.join(INDEX_DIR))?;
        }
        let log_id = identity.log_id.0;
        let log = Log::open_replica(&env, &dir.join(LOG_DIR), log_id, options)?;
        let synced = Witness { position: mark.head, checksum: mark.checksum, root: mark.root()? };
        let recovered =
            open_over(log, &env, dir, options, &identity, Some(synced), &mut |at| progress(Position(at)))?;
        let Recovered { sources, chain, tally, names } = recovered;
        if chain.position < mark.head {
            return Err(missing_end(dir, mark.head, chain.position));
        }
        let shared = Arc::new(Shared::new(env, sources, &chain, tally));
        let keeper =
            Keeper::new(Arc::clone(&shared), dir.to_owned(), chain.log_tag, Witness::of(&chain), mark.head);
        Ok(Replica {
            dir: dir.to_owned(),
            identity,
            shared,
            chain,
            names,
            index_flush_events: options.index_flush_events,
            keeper: Arc::new(keeper),
            failed: None,
            scratch: Vec::new(),
            lock: Some(lock),
        })
    }

    /// Whose log this is a copy of.
    #[must_use]
    pub fn identity(&self) -> LogIdentity {
        LogIdentity::from(&self.identity)
    }

    /// Position of the first event that is not here yet.
    #[must_use]
    pub fn head(&self) -> Position {
        Position(self.chain.position)
    }

    /// Merkle root (RFC 6962) over everything that is here, recomputed from the events.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        self.chain.root()
    }

    /// Header checksum of the last frame: what the next frame names as the one before it.
    #[must_use]
    pub fn tail_checksum(&self) -> u32 {
        self.chain.previous
    }

    /// Everything below is durable.
    #[must_use]
    pub fn synced(&self) -> Position {
        self.keeper.synced()
    }

    /// Compares the end of this copy with the same place in its source: `frame` is the source's frame that holds the
    /// last event here (read from position [`Replica::head`] − 1), `source_head` its number of events. An empty copy
    /// joins any log of its identity. Changes nothing.
    ///
    /// # Errors
    /// [`Code::HistoryDiverged`] if the source is shorter or has another history.
    pub fn joins(&self, frame: &Bytes, source_head: Position) -> Result<()> {
        let here = self.chain.position;
        if here == 0 {
            return Ok(());
        }
        if source_head.0 < here {
            return Err(self
                .diverged("the source has fewer events than its copy: it was rolled back")
                .expected(format!("{here} events or more"))
                .found(format!("{source_head} events")));
        }
        match Header::decode(frame) {
            Some(header) if header.end() == here && header.crc == self.chain.previous => Ok(()),
            Some(header) => Err(self
                .diverged("the source has another history than its copy")
                .expected(format!("checksum {:08x} at position {here}", self.chain.previous))
                .found(format!("checksum {:08x} at position {}", header.crc, header.end()))),
            None => Err(Error::new(Code::Corrupted, "what the source sent is no frame")),
        }
    }

    /// Appends whole frames, back to back, that go on where this copy ends. All of them are checked before the first byte
    /// is written; durable after [`Replica::sync`]. Answers with the new head. Holds nothing of them in memory but what
    /// the index holds.
    ///
    /// # Errors
    /// [`Code::HistoryDiverged`] if they are of another log or do not follow, [`Code::Corrupted`] if they are damaged or
    /// could not have been written by an append: nothing was written. [`Code::DiskFull`], [`Code::Io`]: some may have
    /// been. After a wrong Merkle root and after a failed write the copy takes nothing more until it is opened again
    /// ([`Code::Poisoned`]).
    pub fn append_frames(&mut self, bytes: &Bytes) -> Result<Position> {
        self.usable()?;
        let frames = self.check(bytes)?;
        if self.shared.sources.index.open_events() >= self.index_flush_events {
            // What the index remembers of the log has to be durable.
            self.sync()?;
            self.freeze()?;
        }
        let outcome = self.replay(bytes, &frames).and_then(|runs| self.write(bytes, &runs));
        if let Err(error) = outcome {
            self.failed = Some(error.clone());
            return Err(error);
        }
        if let Err(error) = self.shared.sources.tiles.write_full() {
            tracing::warn!(%error, "Merkle tiles stay in memory until they can be written");
        }
        Ok(self.head())
    }

    /// Everything about frames that can be checked without the events before them.
    fn check(&self, bytes: &Bytes) -> Result<Vec<(Header, Range<usize>)>> {
        let mut frames = Vec::new();
        let (mut at, mut position, mut previous) = (0, self.chain.position, self.chain.previous);
        while at < bytes.len() {
            let damaged = |what: &str| {
                Error::new(Code::Corrupted, format!("the frames sent for position {position}: {what}"))
                    .found(format!("at byte {at} of {}", bytes.len()))
            };
            let header =
                Header::decode(&bytes[at..]).ok_or_else(|| damaged("the frame header is damaged"))?;
            if header.log != self.chain.log_tag {
                return Err(self.diverged("the frames belong to another log"));
            }
            if header.first != position || header.previous != previous {
                return Err(self
                    .diverged("the frames do not follow those that are here")
                    .expected(format!("position {position} after checksum {previous:08x}"))
                    .found(format!("position {} after checksum {:08x}", header.first, header.previous)));
            }
            let end = at + header.length as usize;
            let whole = bytes.get(at..end).ok_or_else(|| damaged("the last frame is cut off"))?;
            if frame::body_crc(&whole[header.header_bytes()..], header.count) != Some(header.body_crc)
                || !records_intact(&header, whole)
            {
                return Err(damaged("a checksum does not hold"));
            }
            frames.push((header, at..end));
            (at, position, previous) = (end, header.end(), header.crc);
        }
        Ok(frames)
    }

    /// Recomputes leaves and roots, tells the index, and finds the frames' places in the segments. Writes nothing.
    fn replay(&mut self, bytes: &Bytes, frames: &[(Header, Range<usize>)]) -> Result<Vec<Run>> {
        // The events of these frames cannot be read yet; what is remembered of them is not forgotten meanwhile.
        let pending = Pending::none_below(self.chain.position);
        self.names.durable_batch = self.names.batch;
        self.names.batch += 1;
        let mut runs: Vec<Run> = Vec::new();
        for (header, range) in frames {
            let length = u64::from(header.length);
            let chain = &mut self.chain;
            let rolls = chain.position == 0
                || !self.shared.sources.log.has_room(chain.offset, length)
                || says_what_is_destroyed(header, &bytes[range.clone()]);
            if rolls {
                chain.offset = segment::HEADER_BYTES;
                chain.segment_first = header.first;
            }
            match runs.last_mut() {
                Some(run) if !rolls => run.bytes.end = range.end,
                _ => runs.push(Run {
                    first: header.first,
                    begins: rolls.then(|| chain.edge()),
                    offset: chain.offset,
                    bytes: range.clone(),
                }),
            }
            replay_frame(
                &self.shared.sources,
                &pending,
                chain,
                &mut self.shared.tally.lock(),
                &mut self.names,
                header,
                &bytes.slice(range.clone()),
                chain.offset,
                &mut self.scratch,
            )?;
            self.chain.offset += length;
        }
        Ok(runs)
    }

    fn write(&self, bytes: &Bytes, runs: &[Run]) -> Result<()> {
        let log = &self.shared.sources.log;
        for run in runs {
            if let Some(edge) = &run.begins {
                log.begin_segment(run.first, edge.clone())?;
            }
            log.write_frames(run.offset, &bytes[run.bytes.clone()])?;
        }
        log.set_end(self.chain.offset);
        self.keeper.note(Witness::of(&self.chain), bytes.len());
        self.shared.advance(self.chain.position, self.chain.root());
        Ok(())
    }

    /// Makes everything durable that was appended, and remembers that it is: a copy that later does not hold it is
    /// damaged.
    ///
    /// # Errors
    /// Those of the disk; the copy takes nothing more then until it is opened again.
    pub fn sync(&mut self) -> Result<()> {
        self.usable()?;
        self.keeper.sync().inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// Turns the index in memory into a file. Everything has to be durable.
    fn freeze(&self) -> Result<()> {
        if self.shared.sources.index.open_events() == 0 {
            return Ok(());
        }
        self.shared.sources.tiles.sync()?;
        self.shared.sources.index.freeze(self.chain.cursor(&self.shared.tally.lock()).encode());
        self.shared.sources.index.durable(self.chain.position);
        Ok(())
    }

    /// Makes everything durable, writes the index, and lets the directory go. A copy that is dropped instead loses what
    /// was not synced.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn close(mut self) -> Result<()> {
        self.finish()
    }

    /// [`Replica::close`], and the copy becomes a store of its own: the end of a restore.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn into_store(mut self) -> Result<()> {
        self.finish()?;
        mark::remove(&self.shared.env, &self.dir)
    }

    fn finish(&mut self) -> Result<()> {
        self.settle()?;
        self.shared.sources.index.close()
    }

    /// Makes everything durable, and writes the index.
    pub(crate) fn settle(&mut self) -> Result<()> {
        self.sync()?;
        self.freeze()
    }

    /// A store that reads what is here, as it comes. Index and directory are the store's to close from then on. Once.
    pub(crate) fn store(&mut self, node: Arc<Membership>, options: &Options) -> Result<Store> {
        let entropy = (self.shared.env.entropy(0))
            .map_err(|error| Error::io("randomness of the operating system", &error))?;
        let lock = self.lock.take().expect("a copy becomes the copy of one store");
        let origin = &self.identity.origin;
        let trail = Trail::open(&self.shared, &self.dir, origin, options, Some(Arc::clone(&node)), false)?;
        trail.begin();
        Ok(Store::over(Arc::clone(&self.shared), self.identity.clone(), entropy, trail, lock, Some(node)))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn keeper(&self) -> &Arc<Keeper> {
        &self.keeper
    }

    /// What a writer has to know to go on where this copy ends.
    pub(crate) fn into_state(self) -> (Chain, Names) {
        (self.chain, self.names)
    }

    fn usable(&self) -> Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(cause) => Err(Error::new(
                Code::Poisoned,
                format!("the copy takes nothing more since it failed ({})", cause.message),
            )),
        }
    }

    fn diverged(&self, what: &str) -> Error {
        Error::new(Code::HistoryDiverged, format!("{}: {what}", self.dir.display()))
    }
}

/// Reads who a copy is of and how far it is durable, or begins one.
fn identify(env: &Env, dir: &Path, source: Option<&LogIdentity>) -> Result<(Identity, Mark)> {
    let identity = match (read_identity(env, dir)?, source) {
        (Some(identity), _) => identity,
        (None, Some(source)) => {
            let mut entropy =
                env.entropy(0).map_err(|error| Error::io("randomness of the operating system", &error))?;
            let LogIdentity { log_id, origin, created_at } = source.clone();
            let identity = Identity::new(log_id, origin, created_at, &mut entropy);
            // First the mark: without it the identity would be that of an empty store.
            let empty = Chain::empty(log_id.0, &identity.origin);
            Mark::new(empty.log_tag, &Witness::of(&empty), env.clock.now_us()).write(env, dir)?;
            identity.write(env, dir)?;
            identity
        }
        (None, None) => return Err(no_copy(dir)),
    };
    let mark = Mark::read(env, dir, log_tag(identity.log_id.0))?.ok_or_else(|| no_copy(dir))?;
    if let Some(source) = source
        && LogIdentity::from(&identity) != *source
    {
        let name = |identity: &LogIdentity| format!("log {} of {}", identity.log_id, identity.origin);
        return Err(Error::new(
            Code::HistoryDiverged,
            format!("{}: is a copy of another log", dir.display()),
        )
        .expected(name(source))
        .found(name(&LogIdentity::from(&identity))));
    }
    Ok((identity, mark))
}

/// Whether a frame says what is erased or dropped. Such a one begins a segment in every copy, so that all it means stands in
/// segments that are not written to any more.
fn says_what_is_destroyed(header: &Header, frame: &[u8]) -> bool {
    let first = frame.get(header.header_bytes()..).and_then(|records| {
        let head = frame::RecordHead::decode(records)?;
        frame::Record::decode(records.get(frame::RECORD_HEAD_BYTES..head.total())?)
    });
    first.is_some_and(|record| matches!(record.kind, Kind::Erasure | Kind::Retention))
}

fn missing_end(dir: &Path, expected: u64, found: u64) -> Error {
    Error::new(Code::Corrupted, format!("{}: the end of the log is missing", dir.display()))
        .expected(format!("{expected} events"))
        .found(format!("{found} events"))
}

fn no_copy(dir: &Path) -> Error {
    Error::new(Code::UnknownFormat, format!("{} is no backup", dir.display())).expected(format!(
        "{} in it, and {}",
        mark::NAME,
        crate::store::open::IDENTITY_FILE
    ))
}

/// Refuses to take a copy for a store.
pub(crate) fn refuse(env: &Env, dir: &Path) -> Result<()> {
    let names = env.disk.list(dir).map_err(|error| Error::io(dir.display(), &error))?;
    if !names.iter().any(|name| name == mark::NAME) {
        return Ok(());
    }
    Err(Error::new(
        Code::UnknownFormat,
        format!("{} is a backup, or a restore that was interrupted", dir.display()),
    )
    .expected("a store; `graven restore` makes one of a backup")
    .found(mark::NAME))
}
