//! The front door: [`Store`]: open, append, read, follow, close.

use crate::append::{
    Chain, LogCursor, METADATA_TYPE, Names, Operation, PendingAppend, Prepared, Queue, Shared, Sources,
    TOMBSTONE_TYPE, Writer, log_tag, prepare, recover, seed,
};
use crate::audit::Tiles;
use crate::env::{Entropy, Env, read_file, replace_file, spawn_named};
use crate::index::{Hasher, Index};
use crate::journal::{LocalJournal, Tail};
use crate::log::Log;
use crate::log::reader::Reader;
use crate::read::follow::{FollowRequest, Follower};
use crate::read::metadata::StreamMetadata;
use crate::read::{page, streams};
use crate::stats::{Stats, Tally};
use bytes::Bytes;
use graven_model::error::Details;
use graven_model::event::ContentType;
use graven_model::{
    AppendRequest, Code, Error, EventId, Expected, NewEvent, Page, Position, ReadRequest, Receipt, Result,
    Revision, Selector, Start, StoredEvent, StreamName, StreamState, Text, Timestamp, limits,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{oneshot, watch};

/// Version of everything on disk. Another version is refused, never guessed at.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// Bytes of a pre-written log segment; at least 1 MiB, 64 MiB by default.
    pub segment_bytes: u64,
    /// Events indexed in memory before they become an index file; 131,072 by default.
    pub index_flush_events: usize,
    /// Stream heads kept in memory; 262,144 by default.
    pub heads_max: usize,
    /// A new segment is begun only if this much of the disk stays free; 64 MiB by default.
    pub free_bytes_reserve: u64,
    /// Clock, randomness and disk.
    pub env: Env,
    /// Make a new store in an empty or missing directory.
    pub create: bool,
    /// Origin of a new store's tree, `<host>/<name>`; the log's UUID is added. Fixed for the life of the store.
    pub origin: String,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 64 << 20,
            index_flush_events: 131_072,
            heads_max: 262_144,
            free_bytes_reserve: 64 << 20,
            env: Env::real(),
            create: true,
            origin: "localhost/graven".to_owned(),
        }
    }
}

impl Options {
    /// Small segments and index files, for tests.
    #[must_use]
    pub fn small() -> Options {
        Options {
            segment_bytes: 1 << 20,
            index_flush_events: 1_000,
            heads_max: 100,
            free_bytes_reserve: 0,
            ..Options::default()
        }
    }
}

/// Identity and size of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInfo {
    /// UUID of the log.
    pub log_id: String,
    /// Origin line of its checkpoints.
    pub origin: String,
    /// Version of the format on disk.
    pub format_version: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Events in the log.
    pub head: Position,
    /// Merkle root (RFC 6962) over them.
    pub root: [u8; 32],
    /// Log segments.
    pub segments: u64,
    /// Bytes of log in use.
    pub log_bytes: u64,
    /// Bytes of index files.
    pub index_bytes: u64,
    /// Bytes of Merkle tiles.
    pub tile_bytes: u64,
}

/// What is known of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name.
    pub stream: StreamName,
    /// Alive, deleted or tombstoned.
    pub state: StreamState,
    /// First revision a read shows.
    pub first_revision: Option<Revision>,
    /// Last revision.
    pub last_revision: Option<Revision>,
    /// Position of the last event.
    pub last_position: Option<Position>,
    /// Commit time of the first event.
    pub created_at: Option<Timestamp>,
    /// Commit time of the last event.
    pub updated_at: Option<Timestamp>,
    /// Its metadata object.
    pub metadata: Option<Bytes>,
}

/// Which streams to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamListRequest {
    /// Names start with this; empty = all.
    pub prefix: Text,
    /// Where the last page ended.
    pub after: Option<Position>,
    /// Streams a page, 1 to [`limits::STREAM_LIST_MAX`].
    pub limit: u32,
    /// System streams too.
    pub include_system: bool,
}

impl Default for StreamListRequest {
    fn default() -> Self {
        StreamListRequest { prefix: "".into(), after: None, limit: 100, include_system: false }
    }
}

/// A page of streams, in order of creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamList {
    /// The streams.
    pub streams: Vec<StreamInfo>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Position>,
}

/// What `store.json` says: who this store is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    format: u32,
    log_id: EventId,
    origin: String,
    created_at: Timestamp,
    /// Key of the index's hashes, hexadecimal. Random, so that nobody can choose names that collide.
    index_key: EventId,
    /// CRC-32C of the other values, each followed by a line feed. A damaged key would make every lookup miss.
    crc: u32,
}

impl Identity {
    fn checksum(&self) -> u32 {
        let Identity { format, log_id, origin, created_at, index_key, crc: _ } = self;
        let values = format!("{format}\n{log_id}\n{origin}\n{}\n{index_key}\n", created_at.micros());
        crc32c::crc32c(values.as_bytes())
    }
}

/// A handle to an open store; cheap to clone. The last one dropped closes the store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    identity: Identity,
    entropy: Mutex<Entropy>,
    writer: Mutex<Option<JoinHandle<()>>>,
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
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Store> {
        let dir = dir.as_ref();
        let env = options.env.clone();
        if options.segment_bytes < 1 << 20 || options.segment_bytes > 1 << 31 {
            return Err(Error::new(Code::InvalidConfig, "the size of a log segment is out of bounds")
                .expected("1 MiB to 2 GiB")
                .found(format!("{} bytes", options.segment_bytes)));
        }
        let mut entropy =
            env.entropy(0).map_err(|error| Error::io("randomness of the operating system", &error))?;
        let lock = enter(&env, dir, options.create)?;
        let identity = identify(&env, dir, &options, &mut entropy)?;
        let recovered = open_parts(&env, dir, &options, &identity)?;
        let Recovered { sources, chain, tally, names } = recovered;
        let shared = Arc::new(Shared::new(env.clone(), sources, &chain, tally));
        let queue = Arc::new(Queue::default());
        let journal = LocalJournal::new(
            Arc::clone(&shared.sources.log),
            chain.log_tag,
            seed(identity.log_id.0),
            Tail { position: chain.position, checksum: chain.previous },
        );
        let writer_entropy =
            env.entropy(1).map_err(|error| Error::io("randomness of the operating system", &error))?;
        let writer = Writer::new(
            Arc::clone(&shared),
            Arc::clone(&queue),
            Box::new(journal),
            chain,
            names,
            writer_entropy,
            options.index_flush_events,
        );
        let writer = spawn_named("graven-writer", move || writer.run());
        Ok(Store {
            inner: Arc::new(Inner {
                shared,
                queue,
                identity,
                entropy: Mutex::new(entropy),
                writer: Mutex::new(Some(writer)),
                lock: Mutex::new(Some(lock)),
            }),
        })
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

    fn queue(&self, operation: Operation, request: AppendRequest) -> Result<PendingAppend> {
        let (reply, receiver) = oneshot::channel();
        let prepared: Prepared = prepare(operation, request, &self.inner.entropy, reply)?;
        self.inner.queue.push(prepared)?;
        Ok(PendingAppend::new(receiver))
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

    /// Begins to follow a selector: catch-up, then live, without a gap.
    ///
    /// # Errors
    /// The `Invalid…` code of a bound that is exceeded; [`Code::Corrupted`]; [`Code::Io`].
    pub fn follow(&self, request: FollowRequest) -> Result<Follower> {
        Follower::new(Arc::clone(&self.inner.shared), request)
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
                events.push(fetched.event()?);
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
        Reader::new(&shared.sources.log).fetch(position.0, shared.sources.offset(position.0)?)?.event()
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
        let event = self.json_event(METADATA_TYPE, StreamMetadata::deleted());
        let request = AppendRequest::default().check(stream.clone(), expected).and_to(
            stream.metadata()?,
            Expected::Any,
            [event],
        );
        self.queue(Operation::Delete, request)?.wait()
    }

    /// Ends a stream for ever.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn tombstone_stream(&self, stream: &StreamName, expected: Expected) -> Result<Receipt> {
        let mut event = self.json_event(TOMBSTONE_TYPE, Bytes::new());
        event.content_type = ContentType::Binary;
        self.queue(Operation::Tombstone, AppendRequest::to(stream.clone(), expected, [event]))?.wait()
    }

    /// Hides a stream's events below a revision; its other metadata stays.
    ///
    /// # Errors
    /// As [`Store::append`]; [`Code::BadRequest`] for a revision beyond the stream's end.
    pub fn truncate_stream(&self, stream: &StreamName, before: Revision) -> Result<Receipt> {
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
        self.set_stream_metadata(stream, expected, json)
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
        let event = self.json_event(METADATA_TYPE, json);
        self.append(AppendRequest::to(stream.metadata()?, expected, [event]))
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
        if let Some(cause) = shared.poisoned() {
            return Some(Error::new(
                Code::Poisoned,
                format!("the store only reads since a write failed ({})", cause.message),
            ));
        }
        let full = shared.disk_full.lock().clone();
        full.or_else(|| shared.sources.index.failure()).or_else(|| {
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

impl Inner {
    fn close(&self) -> Result<()> {
        self.queue.close();
        let Some(writer) = self.writer.lock().take() else { return Ok(()) };
        let panicked = writer.join().is_err();
        let index = self.shared.sources.index.close();
        self.shared.close();
        *self.lock.lock() = None;
        if panicked {
            return Err(Error::new(Code::Internal, "the writer ended with a panic; see the log"));
        }
        if let Some(cause) = self.shared.poisoned() {
            return Err(Error::new(
                Code::Poisoned,
                format!("a write failed while the store was open ({})", cause.message),
            ));
        }
        index
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the store was not closed cleanly");
        }
    }
}

const IDENTITY_FILE: &str = "store.json";
const LOCK_FILE: &str = "graven.lock";
const LOG_DIR: &str = "log";
const INDEX_DIR: &str = "index";
const AUDIT_DIR: &str = "audit";

/// Makes sure that the directory is ours to use, and locks it.
fn enter(env: &Env, dir: &Path, create: bool) -> Result<Box<dyn Send + Sync>> {
    let failed = |error: std::io::Error| Error::io(dir.display(), &error);
    let names = match env.disk.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(error)),
    };
    let known = |name: &String| {
        let identity_tmp = format!("{IDENTITY_FILE}.tmp");
        [IDENTITY_FILE, LOCK_FILE, LOG_DIR, INDEX_DIR, AUDIT_DIR, &identity_tmp].contains(&name.as_str())
    };
    if !names.iter().any(|name| name == IDENTITY_FILE) {
        if let Some(foreign) = names.iter().find(|name| !known(name)) {
            return Err(Error::new(Code::UnknownFormat, format!("{} is not a graven store", dir.display()))
                .expected("an empty directory, or one with store.json")
                .found(format!("{foreign:?} in it")));
        }
        if !create {
            return Err(Error::new(Code::UnknownFormat, format!("{} holds no graven store", dir.display()))
                .expected("store.json"));
        }
        env.disk.create_dir(dir).map_err(failed)?;
    }
    env.disk.lock(&dir.join(LOCK_FILE)).map_err(|error| {
        if error.kind() == std::io::ErrorKind::WouldBlock {
            Error::new(Code::DataInUse, format!("{} is in use by another graven", dir.display()))
        } else {
            failed(error)
        }
    })
}

/// Reads the store's identity, or gives it one.
fn identify(env: &Env, dir: &Path, options: &Options, entropy: &mut Entropy) -> Result<Identity> {
    let path = dir.join(IDENTITY_FILE);
    match read_file(&*env.disk, &path) {
        Ok(bytes) => {
            let unknown =
                |what: String| Error::new(Code::UnknownFormat, format!("{}: {what}", path.display()));
            let value: serde_json::Value =
                serde_json::from_slice(&bytes).map_err(|error| unknown(format!("not JSON: {error}")))?;
            let format = value.get("format").and_then(serde_json::Value::as_u64);
            if format != Some(FORMAT_VERSION.into()) {
                return Err(unknown("another format".into())
                    .expected(format!("format {FORMAT_VERSION}"))
                    .found(format.map_or("none".into(), |format| format!("format {format}"))));
            }
            let identity: Identity =
                serde_json::from_value(value).map_err(|error| unknown(error.to_string()))?;
            if identity.crc != identity.checksum() {
                return Err(Error::new(
                    Code::Corrupted,
                    format!("{}: the checksum does not hold", path.display()),
                ));
            }
            Ok(identity)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let segments = env.disk.list(&dir.join(LOG_DIR)).unwrap_or_default();
            if segments.iter().any(|name| name.ends_with(".seg")) {
                return Err(Error::new(
                    Code::Corrupted,
                    format!("{} is missing although there is a log", path.display()),
                ));
            }
            let log_id = random_uuid(entropy);
            let mut identity = Identity {
                format: FORMAT_VERSION,
                log_id,
                origin: format!("{}/{log_id}", options.origin),
                created_at: Timestamp::from_micros(env.clock.now_us()),
                index_key: random_uuid(entropy),
                crc: 0,
            };
            identity.crc = identity.checksum();
            let mut json = serde_json::to_vec_pretty(&identity)
                .map_err(|error| Error::new(Code::Internal, format!("store.json: {error}")))?;
            json.push(b'\n');
            replace_file(&*env.disk, &path, &json).map_err(|error| Error::io(path.display(), &error))?;
            Ok(identity)
        }
        Err(error) => Err(Error::io(path.display(), &error)),
    }
}

/// A random UUID (version 4, RFC 9562).
fn random_uuid(entropy: &mut Entropy) -> EventId {
    let mut bytes: [u8; 16] = entropy.bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    EventId(bytes)
}

struct Recovered {
    sources: Sources,
    chain: Chain,
    tally: Tally,
    names: Names,
}

/// Opens log, index and tiles and brings them to the same end.
fn open_parts(env: &Env, dir: &Path, options: &Options, identity: &Identity) -> Result<Recovered> {
    let log_id = identity.log_id.0;
    let log = Arc::new(Log::open(env, &dir.join(LOG_DIR), log_id, options)?);
    let index_dir = dir.join(INDEX_DIR);
    let (index, covered) = Index::open(env, &index_dir, options.index_flush_events, env.is_simulated())?;
    let tiles = Tiles::open(env, &dir.join(AUDIT_DIR))?;
    let hasher = Arc::new(Hasher::new(identity.index_key.0));
    let mut sources = Sources { log, index, tiles, hasher };
    let mut chain = Chain::empty(log_id, &identity.origin);
    let mut tally = Tally::default();
    if let Some((end, trailer)) = covered {
        let cursor = LogCursor::decode(&trailer)
            .filter(|cursor| cursor.chain.position == end && cursor.chain.log_tag == log_tag(log_id));
        match cursor {
            Some(cursor) if tiles_reach(&sources.tiles, &cursor.chain) => {
                check_covered(&sources, &cursor.chain)?;
                (chain, tally) = (cursor.chain, cursor.tally);
            }
            _ => {
                tracing::warn!("index or tiles do not fit the log; both are rebuilt from it");
                sources.index = rebuild_index(env, &index_dir, options, sources.index)?;
            }
        }
    }
    if chain.position == 0 {
        sources.tiles.reset_to(0)?;
    }
    let mut names = Names::new(options.heads_max);
    let started = chain.position;
    let torn_bytes = recover(&sources, &mut chain, &mut tally, &mut names, options.index_flush_events)?;
    tracing::debug!(from = started, to = chain.position, torn_bytes, "recovered the log");
    Ok(Recovered { sources, chain, tally, names })
}

/// Whether the tile files hold the tree up to where the index ends, cut to that size.
fn tiles_reach(tiles: &Tiles, chain: &Chain) -> bool {
    let frontier = tiles.reset_to(chain.position).and_then(|()| tiles.frontier(chain.position));
    frontier.is_ok_and(|frontier| frontier == chain.frontier)
}

/// What an index file covers was durable, so the log must hold it.
fn check_covered(sources: &Sources, chain: &Chain) -> Result<()> {
    let Some(last) = chain.position.checked_sub(1) else { return Ok(()) };
    let lost = || {
        Error::new(Code::Corrupted, "the log does not hold what was acknowledged")
            .expected(format!("the event at position {last}, which the index knows"))
    };
    let segment = sources.log.segment_of(last).ok_or_else(lost)?;
    if segment.first() != chain.segment_first {
        return Err(lost().found(format!("{} instead of its segment", segment.path.display())));
    }
    let mut reader = Reader::new(&sources.log);
    reader.fetch(last, sources.offset(last)?)?;
    match reader.frame() {
        Some(frame) if frame.end() == chain.position && frame.crc == chain.previous => Ok(()),
        _ => Err(lost().found("another frame at its place")),
    }
}

fn rebuild_index(env: &Env, dir: &PathBuf, options: &Options, old: Arc<Index>) -> Result<Arc<Index>> {
    old.close()?;
    drop(old);
    Index::wipe(env, dir)?;
    Ok(Index::open(env, dir, options.index_flush_events, env.is_simulated())?.0)
}
