//! Opening a directory: lock, identity, and log, index and tiles brought to the same end.

use super::Options;
use crate::append::{Chain, LogCursor, Names, Recovery, Sources, Witness, log_tag, recover};
use crate::audit::{SubjectKeys, Tiles};
use crate::env::{Entropy, Env, read_file, replace_file};
use crate::index::{Hasher, Index};
use crate::log::Log;
use crate::log::reader::Reader;
use crate::replica::{LogIdentity, MARK_FILE};
use crate::stats::Tally;
use graven_model::{Code, Error, EventId, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// Version of everything on disk. Another version is refused, never guessed at.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// What `store.json` says: who this store is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) format: u32,
    pub(crate) log_id: EventId,
    pub(crate) origin: String,
    pub(crate) created_at: Timestamp,
    /// Key of the index's hashes, hexadecimal. Random, so that nobody can choose names that collide.
    pub(crate) index_key: EventId,
    /// CRC-32C of the other values, each followed by a line feed. A damaged key would make every lookup miss.
    pub(crate) crc: u32,
}

impl Identity {
    /// An identity with an index key of its own.
    pub(crate) fn new(
        log_id: EventId,
        origin: String,
        created_at: Timestamp,
        entropy: &mut Entropy,
    ) -> Identity {
        let index_key = random_uuid(entropy);
        let mut identity = Identity { format: FORMAT_VERSION, log_id, origin, created_at, index_key, crc: 0 };
        identity.crc = identity.checksum();
        identity
    }

    /// Writes `store.json`, durably.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn write(&self, env: &Env, dir: &Path) -> Result<()> {
        let path = dir.join(IDENTITY_FILE);
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::new(Code::Internal, format!("store.json: {error}")))?;
        json.push(b'\n');
        replace_file(&*env.disk, &path, &json).map_err(|error| Error::io(path.display(), &error))
    }

    fn checksum(&self) -> u32 {
        let Identity { format, log_id, origin, created_at, index_key, crc: _ } = self;
        let values = format!("{format}\n{log_id}\n{origin}\n{}\n{index_key}\n", created_at.micros());
        crc32c::crc32c(values.as_bytes())
    }
}

pub(crate) const IDENTITY_FILE: &str = "store.json";
const LOCK_FILE: &str = "graven.lock";
pub(crate) const LOG_DIR: &str = "log";
pub(crate) const INDEX_DIR: &str = "index";
pub(crate) const AUDIT_DIR: &str = "audit";
/// Keys, unless they are kept elsewhere.
pub(crate) const KEYS_DIR: &str = "keys";
pub(crate) const CHECKPOINTS_FILE: &str = "checkpoints.log";

/// Makes sure that the directory is ours to use, and locks it.
pub(crate) fn enter(env: &Env, dir: &Path, create: bool) -> Result<Box<dyn Send + Sync>> {
    let failed = |error: std::io::Error| Error::io(dir.display(), &error);
    let names = match env.disk.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(error)),
    };
    let known = |name: &String| {
        let name = name.strip_suffix(".tmp").unwrap_or(name);
        [IDENTITY_FILE, LOCK_FILE, LOG_DIR, INDEX_DIR, AUDIT_DIR, MARK_FILE, KEYS_DIR, CHECKPOINTS_FILE]
            .contains(&name)
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
pub(super) fn identify(env: &Env, dir: &Path, options: &Options, entropy: &mut Entropy) -> Result<Identity> {
    if let Some(identity) = read_identity(env, dir)? {
        return Ok(identity);
    }
    let LogIdentity { log_id, origin, created_at } = new_log(options, entropy);
    let identity = Identity::new(log_id, origin, created_at, entropy);
    identity.write(env, dir)?;
    Ok(identity)
}

/// Who a log is that begins now.
pub(crate) fn new_log(options: &Options, entropy: &mut Entropy) -> LogIdentity {
    let log_id = random_uuid(entropy);
    let created_at = Timestamp::from_micros(options.env.clock.now_us());
    LogIdentity { log_id, origin: format!("{}/{log_id}", options.origin), created_at }
}

/// Reads `store.json`; `None` if there is none.
///
/// # Errors
/// [`Code::UnknownFormat`] for another format; [`Code::Corrupted`] for damage, and for a log without an identity.
pub(crate) fn read_identity(env: &Env, dir: &Path) -> Result<Option<Identity>> {
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
            Ok(Some(identity))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if has_segments(env, dir) {
                return Err(Error::new(
                    Code::Corrupted,
                    format!("{} is missing although there is a log", path.display()),
                ));
            }
            Ok(None)
        }
        Err(error) => Err(Error::io(path.display(), &error)),
    }
}

/// Whether a directory holds a log with anything in it.
pub(crate) fn has_segments(env: &Env, dir: &Path) -> bool {
    let names = env.disk.list(&dir.join(LOG_DIR)).unwrap_or_default();
    names.iter().any(|name| name.ends_with(".seg"))
}

/// A random UUID (version 4, RFC 9562).
fn random_uuid(entropy: &mut Entropy) -> EventId {
    let mut bytes: [u8; 16] = entropy.bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    EventId(bytes)
}

pub(crate) struct Recovered {
    pub(crate) sources: Sources,
    pub(crate) chain: Chain,
    pub(crate) tally: Tally,
    pub(crate) names: Names,
}

/// Opens log, index and tiles and brings them to the same end.
pub(crate) fn open_parts(env: &Env, dir: &Path, options: &Options, identity: &Identity) -> Result<Recovered> {
    let log = Log::open(env, &dir.join(LOG_DIR), identity.log_id.0, options)?;
    open_over(log, env, dir, options, identity, None, &mut |_| {})
}

/// [`open_parts`] over a log that is open: `synced` says what is known of it if it is a replica's, and `progress` hears
/// the position reached.
pub(crate) fn open_over(
    log: Log,
    env: &Env,
    dir: &Path,
    options: &Options,
    identity: &Identity,
    synced: Option<Witness>,
    progress: &mut dyn FnMut(u64),
) -> Result<Recovered> {
    let log_id = identity.log_id.0;
    let log = Arc::new(log);
    let index_dir = dir.join(INDEX_DIR);
    let (index, covered) = Index::open(env, &index_dir, options.index_flush_events, env.is_simulated())?;
    let tiles = Tiles::open(env, &dir.join(AUDIT_DIR))?;
    let hasher = Arc::new(Hasher::new(identity.index_key.0));
    let keys_dir = options.keys_dir.clone().unwrap_or_else(|| dir.join(KEYS_DIR));
    let subjects = Arc::new(SubjectKeys::open(env, &keys_dir, options.seal_subjects));
    let mut sources = Sources::new(log, index, tiles, hasher, subjects, options);
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
    let recovery = Recovery { index_flush_events: options.index_flush_events, synced, progress };
    let torn_bytes = recover(&sources, &mut chain, &mut tally, &mut names, recovery)?;
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
        Some((_, frame)) if frame.end() == chain.position && frame.crc == chain.previous => Ok(()),
        _ => Err(lost().found("another frame at its place")),
    }
}

fn rebuild_index(env: &Env, dir: &Path, options: &Options, old: Arc<Index>) -> Result<Arc<Index>> {
    old.close()?;
    drop(old);
    Index::wipe(env, dir)?;
    Ok(Index::open(env, dir, options.index_flush_events, env.is_simulated())?.0)
}
