//! The front door: [`Store`]: open, append, read, follow, close.

mod erasing;
pub(crate) mod open;
mod outside;
mod shared_interface;
mod snapshots;
mod words;

pub(crate) use open::{AUDIT_DIR, CHECKPOINTS_FILE, FORMAT_VERSION, KEYS_DIR};
pub use words::Options;

use crate::append::{
    Author, METADATA_TYPE, Operation, PendingAppend, Prepared, Shared, TOMBSTONE_TYPE, WritePath, Writer,
    prepare, seed,
};
use crate::audit::{Scrubber, Site, Trail};
use crate::env::{Entropy, Env, spawn_named};
use crate::journal::{LocalJournal, Tail, Term};
use crate::log::reader::Reader;
use crate::node::{Membership, Role, Standing};
use crate::read::follow::Follower;
use crate::read::frames::{read_frames, read_opened_frames};
use crate::read::listed::{self, EventList, ListReading};
use crate::read::metadata::StreamMetadata;
use crate::read::targets::Targets;
use crate::read::{page, streams};
use crate::subscription::Groups;
use bytes::Bytes;
use graven_model::error::Details;
use graven_model::event::ContentType;
use graven_model::{
    AppendRequest, Code, Direction, Error, EventId, EventRef, Expected, FollowRequest, Frames, NewEvent,
    Page, PageEnd, Position, ReadRequest, Receipt, Result, Revision, Selector, Start, Stats, StoreInfo,
    StoredEvent, StreamInfo, StreamList, StreamListRequest, StreamName, StreamState, limits,
};
use open::{Identity, Recovered, enter, identify, open_parts};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use tokio::sync::{oneshot, watch};

/// A handle to an open store; cheap to clone. The last one dropped closes the store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    /// There is none while another node writes.
    path: OnceLock<Arc<WritePath>>,
    identity: Identity,
    entropy: Mutex<Entropy>,
    trail: Trail,
    groups: Groups,
    hold: outside::Hold,
    scrubber: Arc<Scrubber>,
    /// Those that serve the path.
    threads: Mutex<Vec<JoinHandle<()>>>,
    node: Option<Arc<Membership>>,
    /// Ends when the store is closed.
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

/// Events with one id that [`Store::events_by_id`] answers at the most.
const SAME_ID_MAX: usize = 100;

impl Store {
    /// Opens the store in a directory, or makes one in an empty or missing directory, and recovers it: a torn append that
    /// was never acknowledged is cut off, everything acknowledged is there.
    ///
    /// # Errors
    /// [`Code::DataInUse`] if another process has it open, [`Code::NotWritable`], [`Code::UnknownFormat`] for a directory
    /// that holds something else, [`Code::Corrupted`] with file and byte for damage, [`Code::DiskFull`], [`Code::Io`].
    /// [`Code::RollbackDetected`], [`Code::InconsistentHistory`] if the log does not continue what was signed for it,
    /// [`Code::KeysExposed`], [`Code::WrongKey`].
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Store> {
        Store::open_as(dir.as_ref(), options, true)
    }

    /// [`Store::open`] of a log that is not compared with what was signed for it, which somebody is about to put right.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub(crate) fn open_unconfirmed(dir: &Path, options: Options) -> Result<Store> {
        Store::open_as(dir, options, false)
    }

    fn open_as(dir: &Path, options: Options, confirm: bool) -> Result<Store> {
        let env = options.env.clone();
        if options.segment_bytes < 1 << 20 || options.segment_bytes > 1 << 31 {
            return Err(Error::new(Code::InvalidConfig, "the size of a log segment is out of bounds")
                .expected("1 MiB to 2 GiB")
                .found(format!("{} bytes", options.segment_bytes)));
        }
        let mut entropy =
            env.entropy(0).map_err(|error| Error::io("randomness of the operating system", &error))?;
        let lock = enter(&env, dir, options.create)?;
        crate::replica::refuse(&env, dir)?;
        let identity = identify(&env, dir, &options, &mut entropy)?;
        let recovered = open_parts(&env, dir, &options, &identity)?;
        let Recovered { sources, chain, tally, names } = recovered;
        let shared = Arc::new(Shared::new(env.clone(), sources, &chain, tally));
        let trail = Trail::open(&shared, dir, &identity.origin, &options, None, confirm)?;
        let journal = LocalJournal::new(
            Arc::clone(&shared.sources.log),
            chain.log_tag,
            seed(identity.log_id.0),
            Tail { position: chain.position, checksum: chain.previous },
        );
        let mut writer_entropy = writer_entropy(&env)?;
        let author = Author { epoch: 1, writer: writer_entropy.bytes() };
        let writer = Writer::new(
            Arc::clone(&shared),
            chain,
            names,
            writer_entropy,
            author,
            options.index_flush_events,
        );
        let path = WritePath::new(Arc::clone(&shared), writer, Box::new(journal), true);
        let store = Store::over(shared, identity, entropy, trail, lock, None);
        store.inner.begin_writing(path);
        store.inner.trail.begin();
        if let Some(rate) = options.scrub_bytes_per_second {
            store.inner.scrubber.begin(store.scrub_work(rate));
        }
        Ok(store)
    }

    /// A store that only reads until it begins to write. `node`: what it is one of, if it shares its journal.
    pub(crate) fn over(
        shared: Arc<Shared>,
        identity: Identity,
        entropy: Entropy,
        trail: Trail,
        lock: Box<dyn Send + Sync>,
        node: Option<Arc<Membership>>,
    ) -> Store {
        let groups = Groups::new(Arc::clone(&shared), node.clone());
        Store {
            inner: Arc::new(Inner {
                shared,
                groups,
                path: OnceLock::new(),
                identity,
                entropy: Mutex::new(entropy),
                trail,
                scrubber: Arc::default(),
                hold: outside::Hold::default(),
                threads: Mutex::default(),
                node,
                lock: Mutex::new(Some(lock)),
            }),
        }
    }

    /// What begins to take appends later: it does nothing once the store is gone.
    pub(crate) fn begin_later(&self) -> impl Fn(WritePath) + Send + use<> {
        let inner = Arc::downgrade(&self.inner);
        move |path| {
            if let Some(inner) = inner.upgrade() {
                inner.begin_writing(path);
            }
        }
    }

    /// Where this node stands among those that share its journal; `None` for a store whose journal is its own log.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        self.inner.node.as_ref().map(|node| node.standing())
    }

    /// The part of this node as it changes; `None` for a store whose journal is its own log.
    #[must_use]
    pub fn watch_role(&self) -> Option<watch::Receiver<Role>> {
        self.inner.node.as_ref().map(|node| node.watch())
    }

    /// Whether appends are taken here; cheap.
    ///
    /// # Errors
    /// What every append is told while they are not: [`Code::NotTheWriter`], [`Code::HistoryDiverged`].
    pub fn takes_appends(&self) -> Result<()> {
        self.inner.path().map(drop)
    }

    /// Makes this node the writer: claims the journal's next epoch and reads the rest of what others wrote. From then on
    /// nobody else can commit. Does nothing on the writer itself. Blocks, for the length of that reading.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] for a store whose journal is its own log; [`Code::NotTheWriter`] if another node claimed at
    /// the same moment; [`Code::JournalUnreachable`]; [`Code::HistoryDiverged`].
    pub fn take_over(&self) -> Result<Term> {
        match &self.inner.node {
            Some(node) => node.take_over(),
            None => Err(Error::new(
                Code::InvalidConfig,
                "this store's journal is its own log: there is nothing to take over",
            )
            .expected("a node of a shared journal")),
        }
    }

    /// Checks limits and hashes payloads on the calling thread, then queues the append. An error here means that it was
    /// refused and left nothing behind; what is judged later comes with the [`PendingAppend`].
    ///
    /// # Errors
    /// The `Invalid…` or `…TooLarge` code of what is out of bounds, [`Code::Overloaded`], [`Code::Closed`],
    /// [`Code::Poisoned`].
    pub fn submit(&self, request: AppendRequest) -> Result<PendingAppend> {
        self.queue(Operation::Append, request)
    }

    /// As [`Store::submit`], but an append that finds nothing else under way is written on the calling thread: two hops
    /// between threads less, and the caller blocks for one flush of the disk. For a thread whose other work somebody else
    /// can do meanwhile. At most one caller at a time is made to write.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn submit_here(&self, request: AppendRequest) -> Result<PendingAppend> {
        let (prepared, pending) = self.prepared(Operation::Append, request)?;
        self.inner.path()?.submit_here(prepared)?;
        Ok(pending)
    }

    /// Begins to gather appends that go to the writer together: it is woken once, and they share a flush.
    #[must_use]
    pub fn gather(&self) -> Gathered<'_> {
        Gathered { store: self, appends: Vec::new() }
    }

    fn queue(&self, operation: Operation, request: AppendRequest) -> Result<PendingAppend> {
        let (prepared, pending) = self.prepared(operation, request)?;
        self.inner.path()?.submit(prepared)?;
        Ok(pending)
    }

    fn prepared(&self, operation: Operation, request: AppendRequest) -> Result<(Prepared, PendingAppend)> {
        if !matches!(operation, Operation::Control(_)) {
            self.inner.hold.check()?;
        }
        let (reply, receiver) = oneshot::channel();
        let sources = &self.inner.shared.sources;
        let sealer = sources.subjects.sealer();
        // Before a key is asked for.
        let generation = sources.erasing.generation();
        if sealer.is_some() {
            sources.erasing.check(&request)?;
        }
        let mut prepared = prepare(operation, request, sources.audit, sealer, &self.inner.entropy, reply)?;
        prepared.source.generation = generation;
        Ok((prepared, PendingAppend::new(receiver)))
    }

    /// Appends and waits: when this returns a receipt, the events are durable and visible. Blocks.
    ///
    /// The order of appends by one thread is kept. A retry with the same event ids is recognised and gets the receipt of
    /// the append that did the work.
    ///
    /// # Errors
    /// As [`Store::submit`]; [`Code::WrongExpectedRevision`], [`Code::StreamDeleted`], [`Code::StreamTombstoned`] with
    /// every failed check; [`Code::ConditionFailed`]; [`Code::DiskFull`]; [`Code::OutcomeUnknown`] if a write or flush
    /// failed: the only error after which the events may be there.
    pub fn append(&self, request: AppendRequest) -> Result<Receipt> {
        let unseen_max = request.unseen_max;
        self.submit(request)?.wait().map_err(|error| self.with_unseen(error, unseen_max))
    }

    /// Adds to a failed append's checks the events its caller has not seen, up to `max` a stream. [`Store::append`] does
    /// this by itself; after [`Store::submit`] it is the caller's to do. Reads files.
    #[must_use]
    pub fn with_unseen(&self, mut error: Error, max: u32) -> Error {
        let Details::FailedChecks(checks) = &mut error.details else { return error };
        for check in checks.iter_mut().filter(|_| max > 0) {
            let (Expected::Revision(_) | Expected::NoStream, StreamState::At(_)) =
                (check.expected, check.actual)
            else {
                continue;
            };
            let start = match check.expected {
                Expected::Revision(seen) => Start::Revision(seen.next()),
                _ => Start::Start,
            };
            let request = ReadRequest::new(Selector::Stream(check.stream.clone()))
                .from(start)
                .limit(max.min(limits::UNSEEN_EVENTS_MAX));
            match self.read(&request) {
                Ok(page) => check.unseen = page.events,
                Err(cause) => tracing::debug!(%cause, "unseen events cannot be read"),
            }
        }
        error
    }

    /// Reads one page. Blocks on file reads.
    ///
    /// # Errors
    /// [`Code::StreamNotFound`], [`Code::StreamDeleted`], [`Code::StreamTombstoned`]; the `Invalid…` code of a bound that
    /// is exceeded; [`Code::Corrupted`] with file and byte; [`Code::Io`].
    pub fn read(&self, request: &ReadRequest) -> Result<Page> {
        page::read(&self.inner.shared, request)
    }

    /// Reads one page and hands its events to `each`, in order, where they lie in the memory they were read into: for
    /// who passes them on, and need not keep them. The page is the one [`Store::read`] gives; with `below` it is made of
    /// the events below that position, so that a read of many pages ends although the log grows.
    ///
    /// # Errors
    /// As [`Store::read`]. Some events may have been handed out before.
    pub fn read_each(
        &self,
        request: &ReadRequest,
        below: Option<Position>,
        each: impl FnMut(&EventRef<'_>),
    ) -> Result<PageEnd> {
        page::read_each(&self.inner.shared, request, below, each)
    }

    /// Reads whole frames as they are stored, from the one that holds a position: at least one if there is one, then as
    /// many as fit `bytes_max`, all from one segment. What a copy of the log is made of; sealed payloads are ciphertext here.
    ///
    /// # Errors
    /// [`Code::Corrupted`] with file and byte if a frame's header is damaged; [`Code::Io`].
    pub fn read_frames(&self, from: Position, bytes_max: usize) -> Result<Frames> {
        read_frames(&self.inner.shared, from.0, bytes_max)
    }

    /// As [`Store::read_frames`], for whoever reads the events: frames with sealed payloads are opened, and no copy of the log
    /// takes those. The fastest way to read everything; [`graven_model::frame::events`] decodes them.
    ///
    /// # Errors
    /// As [`Store::read_frames`]; [`Code::Corrupted`] with the position if what was sealed does not open.
    pub fn read_opened_frames(&self, from: Position, bytes_max: usize) -> Result<Frames> {
        read_opened_frames(&self.inner.shared, from.0, bytes_max)
    }

    /// Begins to follow a selector: catch-up, then live, without a gap.
    ///
    /// # Errors
    /// The `Invalid…` code of a bound that is exceeded; [`Code::Corrupted`]; [`Code::Io`].
    pub fn follow(&self, request: FollowRequest) -> Result<Follower> {
        Follower::new(Arc::clone(&self.inner.shared), request)
    }

    /// How many events of a selector stand below a position, without reading them: of the log, a category, or a single type.
    /// Of the last two it is the number of those whose names have the same 64-bit key, which nearly always is the same.
    ///
    /// # Errors
    /// [`Code::InvalidStart`] for another selector.
    pub fn rank(&self, selector: &Selector, below: Position) -> Result<u64> {
        listed::rank(&self.inner.shared, selector, below)
    }

    /// The position of the event of a selector that so many others come before, counted as [`Store::rank`] counts them; `None`
    /// if there are not so many.
    ///
    /// # Errors
    /// As [`Store::rank`].
    pub fn select(&self, selector: &Selector, number: u64) -> Result<Option<Position>> {
        listed::nth(&self.inner.shared, selector, number)
    }

    /// Begins to read a list of events by their numbers, which `from` takes for revisions.
    ///
    /// # Errors
    /// [`Code::InvalidStart`] for a time.
    pub fn read_list(&self, list: EventList, from: Start, direction: Direction) -> Result<ListReading> {
        ListReading::new(&self.inner.shared, list, from, direction)
    }

    /// The events that others point to, as readers see them now.
    #[must_use]
    pub fn targets(&self) -> Targets {
        Targets::new(&self.inner.shared)
    }

    /// All events with this id, oldest first, at most 100: the same id may stand in several streams.
    ///
    /// # Errors
    /// [`Code::Corrupted`], [`Code::Io`].
    pub fn events_by_id(&self, id: EventId) -> Result<Vec<StoredEvent>> {
        let shared = &self.inner.shared;
        let sources = &shared.sources;
        let key = sources.hasher.id(&id.0, 0);
        let mut candidates = Vec::new();
        sources.index.id_prefix(key, shared.head(), SAME_ID_MAX, &mut candidates);
        let mut reader = Reader::new(&sources.log);
        let mut events = Vec::new();
        for position in candidates {
            let fetched = reader.fetch(position, sources.offset(position)?)?;
            if fetched.record()?.id == id.0 {
                events.push(fetched.event(&sources.subjects)?);
            }
        }
        Ok(events)
    }

    /// The event at a position.
    ///
    /// # Errors
    /// [`Code::EventNotFound`] at or beyond the head; [`Code::Corrupted`]; [`Code::Io`].
    pub fn event_at(&self, position: Position) -> Result<StoredEvent> {
        let shared = &self.inner.shared;
        if position.0 >= shared.head() {
            return Err(Error::new(Code::EventNotFound, format!("no event has position {position}"))
                .found(format!("{} events in the log", shared.head())));
        }
        let sources = &shared.sources;
        Reader::new(&sources.log).fetch(position.0, sources.offset(position.0)?)?.event(&sources.subjects)
    }

    /// What is known of a stream.
    ///
    /// # Errors
    /// [`Code::StreamNotFound`] if it never had an event.
    pub fn stream_info(&self, stream: &StreamName) -> Result<StreamInfo> {
        streams::info(&self.inner.shared, stream)
    }

    /// A page of streams in order of creation.
    ///
    /// # Errors
    /// [`Code::InvalidLimit`].
    pub fn streams(&self, request: &StreamListRequest) -> Result<StreamList> {
        streams::list(&self.inner.shared, request)
    }

    /// Deletes a stream: its events are no longer shown, and the next append reopens it with the next revision.
    ///
    /// # Errors
    /// As [`Store::append`]; a stream that never existed is a [`Code::WrongExpectedRevision`].
    pub fn delete_stream(&self, stream: &StreamName, expected: Expected) -> Result<Receipt> {
        self.submit_deletion(stream, expected)?.wait()
    }

    fn submit_deletion(&self, stream: &StreamName, expected: Expected) -> Result<PendingAppend> {
        let event = self.json_event(METADATA_TYPE, StreamMetadata::deleted());
        let request = AppendRequest::default().check(stream.clone(), expected).and_to(
            stream.metadata()?,
            Expected::Any,
            [event],
        );
        self.queue(Operation::Delete, request)
    }

    /// Ends a stream for ever.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn tombstone_stream(&self, stream: &StreamName, expected: Expected) -> Result<Receipt> {
        self.submit_tombstone(stream, expected)?.wait()
    }

    fn submit_tombstone(&self, stream: &StreamName, expected: Expected) -> Result<PendingAppend> {
        let mut event = self.json_event(TOMBSTONE_TYPE, Bytes::new());
        event.content_type = ContentType::Binary;
        self.queue(Operation::Tombstone, AppendRequest::to(stream.clone(), expected, [event]))
    }

    /// Hides a stream's events below a revision; its other metadata stays.
    ///
    /// # Errors
    /// As [`Store::append`]; [`Code::BadRequest`] for a revision beyond the stream's end.
    pub fn truncate_stream(&self, stream: &StreamName, before: Revision) -> Result<Receipt> {
        self.append(self.truncation(stream, before)?)
    }

    fn truncation(&self, stream: &StreamName, before: Revision) -> Result<AppendRequest> {
        let info = self.stream_info(stream)?;
        let end = info.last_revision.map_or(0, |last| last.0 + 1);
        if before.0 > end {
            return Err(Error::new(
                Code::BadRequest,
                format!("stream {:?} ends before revision {before}", stream.as_str()),
            )
            .expected(format!("at most {end}")));
        }
        let (expected, json) = match self.stream_metadata(stream)? {
            Some((revision, json)) => {
                (Expected::Revision(revision), StreamMetadata::parse(&json)?.with_truncation(&json, before)?)
            }
            None => (Expected::NoStream, StreamMetadata::truncated_before(before)),
        };
        self.metadata_append(stream, expected, json)
    }

    /// Replaces a stream's metadata object: `$maxCount`, `$maxAge` (seconds), `$tb`, `$acl` and keys of one's own.
    /// `expected` is the revision of the metadata stream.
    ///
    /// # Errors
    /// As [`Store::append`]; [`Code::InvalidMetadata`].
    pub fn set_stream_metadata(
        &self,
        stream: &StreamName,
        expected: Expected,
        json: Bytes,
    ) -> Result<Receipt> {
        self.append(self.metadata_append(stream, expected, json)?)
    }

    fn metadata_append(&self, stream: &StreamName, expected: Expected, json: Bytes) -> Result<AppendRequest> {
        let event = self.json_event(METADATA_TYPE, json);
        Ok(AppendRequest::to(stream.metadata()?, expected, [event]))
    }

    fn json_event(&self, event_type: &str, json: Bytes) -> NewEvent {
        NewEvent::json(EventId(self.inner.entropy.lock().bytes()), event_type, json)
    }

    /// A stream's metadata object, and its revision in the metadata stream.
    ///
    /// # Errors
    /// [`Code::Corrupted`], [`Code::Io`].
    pub fn stream_metadata(&self, stream: &StreamName) -> Result<Option<(Revision, Bytes)>> {
        streams::metadata(&self.inner.shared, stream)
    }

    /// Counts of events, streams and bytes.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.shared.tally.lock().stats()
    }

    /// Identity and size.
    #[must_use]
    pub fn info(&self) -> StoreInfo {
        let identity = &self.inner.identity;
        let sources = &self.inner.shared.sources;
        let (head, root) = self.inner.shared.root();
        let (segments, log_bytes) = sources.log.size();
        StoreInfo {
            log_id: identity.log_id.to_string(),
            origin: identity.origin.clone(),
            format_version: identity.format,
            created_at: identity.created_at,
            head: Position(head),
            root,
            segments,
            log_bytes,
            index_bytes: sources.index.size_bytes(),
            tile_bytes: sources.tiles.size_bytes(),
        }
    }

    /// Number of events in the log: positions below this are durable and readable.
    #[must_use]
    pub fn head(&self) -> Position {
        Position(self.inner.shared.head())
    }

    /// The audit trail: checkpoints, proofs, tiles, leaves.
    #[must_use]
    pub fn trail(&self) -> Trail {
        self.inner.trail.clone()
    }

    /// The consumer groups.
    #[must_use]
    pub fn groups(&self) -> Groups {
        self.inner.groups.clone()
    }

    /// The head as it moves.
    #[must_use]
    pub fn watch_head(&self) -> watch::Receiver<Position> {
        self.inner.shared.watch()
    }

    /// What is wrong, if anything: [`Code::Poisoned`] if the store only reads since a write failed, [`Code::DiskFull`]
    /// while appends are refused, an index that cannot be written or was found damaged.
    #[must_use]
    pub fn health(&self) -> Option<Error> {
        let shared = &self.inner.shared;
        let full = || shared.disk_full.lock().clone();
        let refusal = shared.refusal_when_poisoned().or_else(full);
        let trail = || self.inner.trail.trouble();
        refusal.or_else(|| shared.sources.index.failure()).or_else(trail).or_else(|| {
            shared.sources.index.damaged().then(|| {
                Error::new(
                    Code::Corrupted,
                    "an index file is damaged; restart the store to rebuild it from the log",
                )
            })
        })
    }

    /// Serves what waits, writes the index, marks a clean stop and lets the directory go. Later appends answer
    /// [`Code::Closed`]. Fine to call twice.
    ///
    /// # Errors
    /// [`Code::Poisoned`] if a write had failed; the error of the last index file.
    pub fn close(&self) -> Result<()> {
        self.inner.close()
    }
}

/// Appends on their way to the writer together; see [`Store::gather`]. Dropped, they are on their way.
pub struct Gathered<'a> {
    store: &'a Store,
    appends: Vec<Prepared>,
}

impl Gathered<'_> {
    /// Checks limits and hashes payloads; the append comes after all added before.
    ///
    /// # Errors
    /// As [`Store::submit`]. That the queue is full or the store closed comes with the [`PendingAppend`].
    pub fn add(&mut self, request: AppendRequest) -> Result<PendingAppend> {
        let (prepared, pending) = self.store.prepared(Operation::Append, request)?;
        self.appends.push(prepared);
        Ok(pending)
    }
}

impl Drop for Gathered<'_> {
    fn drop(&mut self) {
        if self.appends.is_empty() {
            return;
        }
        match self.store.inner.path() {
            Ok(path) => path.submit_all(self.appends.drain(..)),
            Err(error) => self.appends.drain(..).for_each(|append| append.refuse(&error)),
        }
    }
}

impl Inner {
    /// The way to the log.
    ///
    /// # Errors
    /// [`Code::NotTheWriter`] while another node writes.
    fn path(&self) -> Result<&WritePath> {
        match self.path.get() {
            Some(path) => Ok(path),
            None => Err(self.node.as_ref().map_or_else(closed, |node| node.not_the_writer())),
        }
    }

    /// Takes appends from now on.
    fn begin_writing(&self, path: WritePath) {
        // Who wrote before may have destroyed some.
        self.shared.sources.subjects.forget_all();
        // What was interrupted, here or there.
        if let Err(error) = self.shared.eraser.finish(&self.shared, Site::of(self.node.as_deref())) {
            tracing::error!(%error, "an erasure that was interrupted cannot be finished yet");
        }
        let path = Arc::new(path);
        let start = |name, body: fn(&WritePath)| {
            let path = Arc::clone(&path);
            spawn_named(name, move || body(&path))
        };
        let mut threads = self.threads.lock();
        threads.push(start("graven-writer", WritePath::run));
        // A run that is to be repeatable knows no second thread.
        if !self.shared.env.is_simulated() {
            threads.push(start("graven-encoder", WritePath::assist));
        }
        self.trail.begin_writing(&path);
        self.groups.begin_writing(&path);
        assert!(self.path.set(path).is_ok(), "a store begins to write once");
    }

    fn close(&self) -> Result<()> {
        let Some(lock) = self.lock.lock().take() else { return Ok(()) };
        let left = self.node.as_ref().map_or(Ok(()), |node| node.leave());
        self.groups.stop();
        self.scrubber.stop();
        self.trail.stop();
        if let Some(path) = self.path.get() {
            path.close();
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        let panicked = threads.into_iter().map(JoinHandle::join).filter(Result::is_err).count() > 0;
        self.trail.close();
        let kept = self.node.as_ref().map_or(Ok(()), |node| node.settle());
        let index = self.shared.sources.index.close();
        self.shared.close();
        drop(lock);
        if panicked {
            return Err(Error::new(Code::Internal, "the writer ended with a panic; see the log"));
        }
        match self.shared.poisoned() {
            Some(cause) if cause.code == Code::VerificationFailed => Err(cause),
            Some(cause) if !matches!(cause.code, Code::NotTheWriter | Code::HistoryDiverged) => {
                Err(Error::new(
                    Code::Poisoned,
                    format!("a write failed while the store was open ({})", cause.message),
                ))
            }
            _ => left.and(kept).and(index),
        }
    }
}

fn closed() -> Error {
    Error::new(Code::Closed, "the store is closed")
}

/// Randomness for what a writer draws: salts and seeds.
pub(crate) fn writer_entropy(env: &Env) -> Result<Entropy> {
    env.entropy(1).map_err(|error| Error::io("randomness of the operating system", &error))
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the store was not closed cleanly");
        }
    }
}
