//! Seals: where every stream stands, under one root that is written into the log.
//!
//! An inclusion proof never shows that nothing was left out of a stream. So the store keeps a trie of all stream heads
//! (`graven_proof::trie`) and writes its root into the log now and then: a *seal*. What is proven of whole streams is
//! proven under the last seal, see [`super::completeness`].
//!
//! Nothing here is on the path of an append. A seal reads what was appended since the last one, finds out the root the trie
//! will have, appends that, and only then brings the trie forward: what is in memory is always a seal that is in the log.
//! The trie of a store that was opened is read when it is first asked for, from `audit/streams` or from the log itself, and
//! is believed once its root is the one in the log. If the log itself leads to another root than its last seal says, nothing
//! is sealed any more.

mod gather;
mod state;

use super::control::ControlWriter;
use crate::append::{AUDIT_STREAM, Pending, Shared, hex};
use crate::index::StreamFrom;
use gather::{Gathered, Keys, Room, gather};
use graven_model::{Code, Direction, Error, Kind, Result, limits};
use graven_proof::Hash;
use graven_proof::control::{Control, MapRoot};
use graven_proof::trie::{StreamHead, StreamTrie, TrieProof};
use parking_lot::Mutex;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A seal: a record of the log that says where every stream stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Position of the record; at least `size`.
    pub position: u64,
    /// It covers the positions below this.
    pub size: u64,
    /// Streams it covers.
    pub streams: u64,
    /// Root of the trie over their heads.
    pub root: Hash,
}

/// Keeps the trie of stream heads, and seals it.
pub(crate) struct Sealer {
    shared: Arc<Shared>,
    control: Arc<ControlWriter>,
    /// What stands before the first leaf: no other log has it.
    genesis: Hash,
    path: PathBuf,
    bounds: Bounds,
    /// Whoever has it brings the trie forward.
    work: Mutex<Work>,
    /// The trie at a seal that is in the log; none while it is brought forward over seals of others, or was never asked for.
    standing: Mutex<Option<Standing>>,
    /// Why nothing is sealed any more, if so.
    trouble: Mutex<Option<Error>>,
    closing: AtomicBool,
}

/// How much is sealed at the most: all together, and at once.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    streams: usize,
    room: Room,
}

#[derive(Default)]
struct Work {
    keys: Keys,
    /// Behind the last seal's size and below this there are only the store's own records.
    quiet: u64,
    /// Size the file stands at.
    filed: u64,
}

/// A trie and what it stands at.
#[derive(Default)]
struct Standing {
    trie: StreamTrie,
    size: u64,
    /// None if there was no seal yet, and the trie is empty.
    seal: Option<Sealed>,
}

/// The file is written after a seal if this many events came since it was, or four times as many as there are streams.
const FILE_EVENTS: u64 = 262_144;
/// Reading an event again takes about as long as writing this many streams.
const STREAMS_AN_EVENT: u64 = 5;

/// Whether a seal is made although nothing but the store's own records came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// The first one is.
    Some,
    Due,
}

impl Sealer {
    /// `dir`: of the audit tree's files; `genesis`: what stands before the log's first leaf.
    pub(super) fn new(shared: Arc<Shared>, control: Arc<ControlWriter>, dir: &Path, genesis: Hash) -> Sealer {
        let path = dir.join("streams");
        state::remove_leftover(&*shared.env.disk, &path);
        Sealer {
            shared,
            control,
            genesis,
            path,
            bounds: Bounds { streams: limits::SEALED_STREAMS_MAX, room: Room::default() },
            work: Mutex::default(),
            standing: Mutex::default(),
            trouble: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    /// Seals everything that is durable, unless nothing but the store's own records came since the last seal, and returns
    /// the newest seal. Callers who come while one is made wait for it, and take it if it covers what was there when they
    /// came. Very many streams are sealed in several steps.
    ///
    /// # Errors
    /// Those of an append; [`Code::TooManyStreams`]; [`Code::Corrupted`] if the log does not lead to its last seal;
    /// [`Code::Closed`] while the store closes; [`Code::Io`].
    pub(super) fn seal(&self) -> Result<Sealed> {
        self.seal_what(Wanted::Some)?
            .ok_or_else(|| Error::new(Code::Internal, "a store without a seal was not sealed"))
    }

    /// [`Sealer::seal`], but a log with nothing else than the store's own records is left as it is.
    ///
    /// # Errors
    /// As [`Sealer::seal`].
    pub(super) fn seal_if_due(&self) -> Result<()> {
        self.seal_what(Wanted::Due).map(drop)
    }

    fn seal_what(&self, wanted: Wanted) -> Result<Option<Sealed>> {
        let asked_at = self.shared.head();
        let mut work = self.work.lock();
        self.expect_sound()?;
        let mut last = self.catch_up(&mut work)?;
        let head = self.shared.head();
        loop {
            let from = last.as_ref().map_or(0, |seal| seal.size);
            let known = work.quiet.max(from);
            if last.is_some() && known >= asked_at || wanted == Wanted::Due && known >= head {
                return Ok(last);
            }
            let look = &mut |key: &Hash| self.standing.lock().as_ref()?.trie.get(key).copied();
            let gathered = self.gather(&mut work, look, (from, head), self.bounds.room)?;
            if gathered.quiet && (last.is_some() || wanted == Wanted::Due) {
                work.quiet = gathered.end;
                return Ok(last);
            }
            let end = gathered.end;
            last = Some(self.append(gathered)?);
            self.file_if(&mut work, |events, streams| events >= FILE_EVENTS.max(4 * streams));
            if end >= head {
                return Ok(last);
            }
        }
    }

    /// Writes the root that the trie will have into the log, and then brings the trie there.
    fn append(&self, gathered: Gathered) -> Result<Sealed> {
        let Gathered { heads, end, new, .. } = gathered;
        let (streams, root) = {
            let mut standing = self.standing.lock();
            let Standing { trie, .. } = standing.get_or_insert_default();
            (trie.len() + new, trie.root_with(&heads))
        };
        if streams > self.bounds.streams {
            let error = Error::new(Code::TooManyStreams, "there are more streams than a seal covers")
                .expected(format!("at most {}", self.bounds.streams))
                .found(streams.to_string());
            tracing::error!(%error, "streams are not sealed any more");
            *self.trouble.lock() = Some(error.clone());
            return Err(error);
        }
        let map = MapRoot { size: end, streams: streams as u64, root };
        let receipt = self.control.append(&Control::MapRoot(map))?;
        let seal = Sealed { position: receipt.first_position.0, size: end, streams: streams as u64, root };
        let mut standing = self.standing.lock();
        let standing = standing.get_or_insert_default();
        standing.trie.extend(heads);
        (standing.size, standing.seal) = (end, Some(seal.clone()));
        tracing::debug!(
            position = seal.position,
            size = seal.size,
            streams = seal.streams,
            "sealed the heads of all streams"
        );
        Ok(seal)
    }

    /// The newest seal in the log.
    ///
    /// # Errors
    /// [`Code::Corrupted`], [`Code::Io`].
    pub(super) fn last(&self) -> Result<Option<Sealed>> {
        let sources = &self.shared.sources;
        let pending = Pending::none_below(self.shared.head());
        let found =
            sources.scan_stream(&pending, AUDIT_STREAM, StreamFrom::End, Direction::Backward, |view| {
                (view.event_type == SEAL_TYPE).then(|| decode(view.place.position, view.data))
            })?;
        found.transpose()
    }

    /// The seal at a position, if there is one.
    fn seal_at(&self, position: u64) -> Result<Option<Sealed>> {
        let head = self.shared.head();
        if position >= head {
            return Ok(None);
        }
        let found = self.shared.sources.view(&Pending::none_below(head), position, |view| {
            (view.stream == AUDIT_STREAM && view.event_type == SEAL_TYPE).then(|| decode(position, view.data))
        })?;
        found.transpose()
    }

    /// Brings the trie to the newest seal in the log, whoever made it, and returns that.
    fn catch_up(&self, work: &mut Work) -> Result<Option<Sealed>> {
        let Some(last) = self.last()? else {
            self.standing.lock().get_or_insert_default();
            return Ok(None);
        };
        let known = {
            let mut standing = self.standing.lock();
            if standing.as_ref().is_some_and(|standing| standing.seal.as_ref() == Some(&last)) {
                return Ok(Some(last));
            }
            standing.take()
        };
        let standing = match known.or_else(|| self.load(work)) {
            Some(standing) if standing.seal.as_ref() == Some(&last) => standing,
            Some(standing) if standing.size > 0 => match self.advance(work, standing, &last) {
                Err(error) if error.code == Code::Corrupted => {
                    tracing::warn!(%error, "the heads of streams do not lead to the last seal; reading them from the log again");
                    self.rebuild(work, &last)?
                }
                advanced => advanced?,
            },
            _ => self.rebuild(work, &last)?,
        };
        *self.standing.lock() = Some(standing);
        Ok(Some(last))
    }

    /// The trie at a seal, from the beginning of the log.
    fn rebuild(&self, work: &mut Work, to: &Sealed) -> Result<Standing> {
        tracing::info!(events = to.size, "reading from the log where its streams stood at the last seal");
        work.filed = 0;
        self.advance(work, Standing::default(), to).inspect_err(|error| {
            if error.code == Code::Corrupted {
                tracing::error!(%error, "streams are not sealed any more");
                *self.trouble.lock() = Some(error.clone());
            }
        })
    }

    /// Brings a trie forward to a seal that is in the log, and compares the roots.
    fn advance(&self, work: &mut Work, mut standing: Standing, to: &Sealed) -> Result<Standing> {
        while standing.size < to.size {
            let from = standing.size;
            let look = &mut |key: &Hash| standing.trie.get(key).copied();
            let gathered = self.gather(work, look, (from, to.size), self.bounds.room)?;
            standing.trie.extend(gathered.heads);
            standing.size = gathered.end;
        }
        let found = (standing.size, standing.trie.len() as u64, standing.trie.root());
        if found != (to.size, to.streams, to.root) {
            let (size, streams, root) = found;
            let message =
                format!("the streams of the log are not those of the seal at position {}", to.position);
            return Err(Error::new(Code::Corrupted, message)
                .expected(format!("{} streams in {} events, root {}", to.streams, to.size, hex(&to.root)))
                .found(format!("{streams} streams in {size} events, root {}", hex(&root))));
        }
        standing.seal = Some(to.clone());
        Ok(standing)
    }

    fn gather(
        &self,
        work: &mut Work,
        look: &mut dyn FnMut(&Hash) -> Option<StreamHead>,
        range: (u64, u64),
        room: Room,
    ) -> Result<Gathered> {
        let go_on = || match self.closing.load(Ordering::Relaxed) {
            true => Err(Error::new(Code::Closed, "the store is closed")),
            false => Ok(()),
        };
        gather(&self.shared.sources, &mut work.keys, look, range, room, &go_on)
    }

    /// What the file says, if it is of a seal that is in the log.
    fn load(&self, work: &mut Work) -> Option<Standing> {
        let left_aside = |why: &str| {
            tracing::info!(path = %self.path.display(), why, "left aside, and made again from the log");
            None
        };
        let (seal, mut trie) = match state::read(&*self.shared.env.disk, &self.path, &self.genesis) {
            Ok(Ok(read)) => read,
            Ok(Err(why)) => return left_aside(why),
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => return left_aside(&error.to_string()),
        };
        match self.seal_at(seal.position) {
            Ok(Some(there)) if there == seal => {}
            Ok(_) => return left_aside("it is of no seal in the log"),
            Err(error) => return left_aside(&error.message),
        }
        if (trie.len() as u64, trie.root()) != (seal.streams, seal.root) {
            return left_aside("its streams are not those of its seal");
        }
        work.filed = seal.size;
        Some(Standing { trie, size: seal.size, seal: Some(seal) })
    }

    /// Writes the file if it is worth it, by the events that came since and the streams there are. Without it the next
    /// start reads more.
    fn file_if(&self, work: &mut Work, worth_it: impl FnOnce(u64, u64) -> bool) {
        let standing = self.standing.lock();
        let Some(Standing { trie, size, seal: Some(seal) }) = &*standing else { return };
        if *size == work.filed || !worth_it(size - work.filed.min(*size), seal.streams) {
            return;
        }
        match state::write(&*self.shared.env.disk, &self.path, &self.genesis, seal, trie) {
            Ok(()) => work.filed = *size,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot be written; the next start reads more of the log");
            }
        }
    }

    /// The newest seal, and what the trie at it says of a stream. None if nothing was sealed yet.
    ///
    /// # Errors
    /// [`Code::Corrupted`] if the log does not lead to its last seal; [`Code::Io`]; [`Code::Closed`].
    pub(super) fn look_up(&self, key: &Hash) -> Result<Option<(Sealed, Option<StreamHead>, TrieProof)>> {
        let look_up = |standing: &mut Standing| {
            let Standing { trie, seal, .. } = standing;
            let seal = seal.clone()?;
            Some((seal, trie.get(key).copied(), trie.prove(key)))
        };
        let last = self.last()?;
        if let Some(standing) = &mut *self.standing.lock()
            && standing.seal == last
        {
            return Ok(look_up(standing));
        }
        let mut work = match self.work.try_lock() {
            Some(work) => work,
            // Somebody brings the trie forward. Until that is done the seal before holds as well.
            None => match self.standing.lock().as_mut().and_then(look_up) {
                Some(found) => return Ok(Some(found)),
                None => self.work.lock(),
            },
        };
        self.expect_readable()?;
        self.catch_up(&mut work)?;
        Ok(self.standing.lock().as_mut().and_then(look_up))
    }

    /// Why nothing is sealed any more, if so.
    pub(super) fn trouble(&self) -> Option<Error> {
        self.trouble.lock().clone()
    }

    fn expect_sound(&self) -> Result<()> {
        self.trouble().map_or(Ok(()), Err)
    }

    /// With too many streams, those of the last seal are there still.
    fn expect_readable(&self) -> Result<()> {
        self.trouble().filter(|error| error.code == Code::Corrupted).map_or(Ok(()), Err)
    }

    /// Seals once more before the store closes, unless that takes long.
    ///
    /// # Errors
    /// As [`Sealer::seal`].
    pub(super) fn seal_last(&self) -> Result<()> {
        let size = self.standing.lock().as_ref().map(|standing| standing.size);
        let behind = self.shared.head() - size.unwrap_or_default();
        if behind > limits::SEAL_AT_CLOSE_EVENTS_MAX {
            tracing::info!(events = behind, "closing without a seal; the next one covers them");
            return Ok(());
        }
        self.closing.store(false, Ordering::Relaxed);
        let sealed = self.seal_if_due();
        self.stop();
        sealed
    }

    /// Ends a seal that is under way, so that a close does not wait for one that has far to go.
    pub(super) fn stop(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Writes the file, if a start would miss it.
    pub(super) fn close(&self) {
        self.stop();
        self.file_if(&mut self.work.lock(), |events, streams| {
            events.saturating_mul(STREAMS_AN_EVENT) >= streams
        });
    }
}

/// Type of the records that say a root.
const SEAL_TYPE: &str = "$mapRoot";

fn decode(position: u64, body: &[u8]) -> Result<Sealed> {
    let MapRoot { size, streams, root } = MapRoot::at(position, Kind::MapRoot, body).map_err(|error| {
        Error::new(Code::Corrupted, format!("the seal at position {position} cannot be read: {error}"))
    })?;
    Ok(Sealed { position, size, streams, root })
}

#[cfg(test)]
mod tests;
