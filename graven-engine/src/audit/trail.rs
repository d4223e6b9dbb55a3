//! [`Trail`]: the audit trail of an open store, as servers, exporters and auditors' tools use it.

use super::background::{Background, Intervals};
use super::checkpoints::{CheckpointLog, StoredCheckpoint};
use super::completeness::{self, Completeness, KeyProof};
use super::control::ControlWriter;
use super::high_water::HighWater;
use super::keys::Keys;
use super::prove::{self, Leaves};
use super::rotation;
use super::seal::{Sealed, Sealer};
use super::signer::Signer;
use crate::Options;
use crate::append::{Shared, WritePath};
use crate::node::Membership;
use crate::store::{AUDIT_DIR, CHECKPOINTS_FILE, KEYS_DIR};
use graven_model::{Code, Error, Result, StreamName, limits};
use graven_proof::Hash;
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::leaf::log_genesis;
use graven_proof::note::VerifierKey;
use graven_proof::tiles::{Bundle, Tile};
use graven_proof::tlog_proof::TlogProof;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// File of the high-water mark in the keys directory, unless it is kept elsewhere.
pub(super) const HIGH_WATER_FILE: &str = "high-water";

/// The audit trail of an open store: checkpoints, proofs, tiles, leaves. Cheap to clone; does not keep the store open.
///
/// Everything read here is durable. Calls block on the disk.
#[derive(Clone)]
pub struct Trail {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    origin: String,
    signer: Signer,
    sealer: Sealer,
    control: Arc<ControlWriter>,
    node: Option<Arc<Membership>>,
    pub(super) intervals: Intervals,
    pub(super) background: Background,
}

impl Trail {
    /// Reads keys, checkpoints and the high-water mark, and, to `confirm` it, compares the log with them. That of one of
    /// several nodes is compared when it first signs, since only then its copy is sure to hold what the journal holds.
    ///
    /// # Errors
    /// [`Code::RollbackDetected`], [`Code::InconsistentHistory`], [`Code::CheckpointSignatureInvalid`],
    /// [`Code::KeysExposed`], [`Code::WrongKey`], [`Code::Corrupted`] with the file, [`Code::Io`].
    pub(crate) fn open(
        shared: &Arc<Shared>,
        dir: &Path,
        origin: &str,
        options: &Options,
        node: Option<Arc<Membership>>,
        confirm: bool,
    ) -> Result<Trail> {
        let env = &shared.env;
        let keys_dir = keys_dir_of(dir, options);
        let mark = high_water_of(&keys_dir, options);
        let keys = Keys::open(env, &keys_dir, origin)?;
        let log = CheckpointLog::open(env, &dir.join(CHECKPOINTS_FILE))?;
        let mark = HighWater::open(env, &mark)?;
        let signer = Signer::new(Arc::clone(shared), keys, log, mark, confirm)?;
        let control = Arc::new(ControlWriter::new(Arc::clone(shared))?);
        let sealer =
            Sealer::new(Arc::clone(shared), Arc::clone(&control), &dir.join(AUDIT_DIR), log_genesis(origin));
        let inner = Inner {
            shared: Arc::clone(shared),
            origin: origin.to_owned(),
            signer,
            sealer,
            control,
            node,
            intervals: Intervals { checkpoint: options.checkpoint_interval, seal: options.seal_interval },
            background: Background::default(),
        };
        Ok(Trail { inner: Arc::new(inner) })
    }

    /// First line of the log's checkpoints, and name of its keys.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.inner.origin
    }

    /// The keys that the log's checkpoints may be signed with, those no longer in use among them. Makes the first one if
    /// there is none yet.
    ///
    /// # Errors
    /// [`Code::NoSigningKey`] if there were keys, and they are gone; [`Code::NotTheWriter`] on a node that follows another one
    /// and has no keys; those of the disk.
    pub fn verifier_keys(&self) -> Result<Vec<VerifierKey>> {
        if !self.inner.signer.has_keys() {
            self.inner.expect_writer()?;
            self.expect_told_key()?;
        }
        self.inner.signer.verifier_keys()
    }

    /// The newest checkpoint that was handed out, from memory.
    #[must_use]
    pub fn latest(&self) -> Option<SignedCheckpoint> {
        self.latest_stored().map(|stored| stored.checkpoint)
    }

    /// As [`Trail::latest`], with when it was signed.
    #[must_use]
    pub fn latest_stored(&self) -> Option<StoredCheckpoint> {
        self.inner.signer.latest()
    }

    /// A checkpoint of at least this size: the newest one if that is enough, otherwise a new one of everything that is
    /// durable. Callers at the same time share one signature. Blocks until it is durable and the high-water mark knows it.
    ///
    /// # Errors
    /// [`Code::SizeNotReached`] if the log is smaller; [`Code::NotTheWriter`] on a node that follows another one;
    /// [`Code::NoSigningKey`]; [`Code::Poisoned`] and [`Code::Closed`] as appends are told; [`Code::DiskFull`],
    /// [`Code::Io`].
    pub fn checkpoint(&self, at_least: u64) -> Result<SignedCheckpoint> {
        self.checkpoint_stored(at_least).map(|stored| stored.checkpoint)
    }

    /// As [`Trail::checkpoint`], with when it was signed.
    ///
    /// # Errors
    /// As [`Trail::checkpoint`].
    pub fn checkpoint_stored(&self, at_least: u64) -> Result<StoredCheckpoint> {
        self.inner.expect_writer()?;
        self.expect_told_key()?;
        self.inner.signer.checkpoint(at_least)
    }

    /// Checkpoints above a size, smallest first; without a size from the first one on.
    ///
    /// # Errors
    /// [`Code::InvalidLimit`] above [`limits::CHECKPOINT_LIST_MAX`]; [`Code::Corrupted`] with file and byte; [`Code::Io`].
    pub fn checkpoints(&self, above: Option<u64>, limit: usize) -> Result<Vec<StoredCheckpoint>> {
        if limit > limits::CHECKPOINT_LIST_MAX {
            return Err(Error::new(Code::InvalidLimit, "too many checkpoints at once")
                .expected(format!("at most {}", limits::CHECKPOINT_LIST_MAX))
                .found(limit.to_string()));
        }
        let mut found = self.inner.signer.log.above(above, limit)?;
        // What is in the file and not yet marked is nobody's to have.
        let handed_out = self.latest_stored().map(|latest| latest.size);
        found.retain(|stored| Some(stored.size) <= handed_out);
        Ok(found)
    }

    /// The checkpoint of exactly this size, as it was signed then.
    ///
    /// # Errors
    /// [`Code::NeverSigned`] if none was signed at this size; [`Code::Corrupted`] with file and byte; [`Code::Io`].
    pub fn checkpoint_of(&self, size: u64) -> Result<SignedCheckpoint> {
        let handed_out = self.latest_stored().is_some_and(|latest| size <= latest.size);
        let found = if handed_out { self.inner.signer.log.of_size(size)? } else { None };
        found
            .map(|stored| stored.checkpoint)
            .ok_or_else(|| Error::new(Code::NeverSigned, format!("no checkpoint was signed at size {size}")))
    }

    /// Proof that the event at `position` is among the first `size`: the hashes beside its path, from the leaf up.
    ///
    /// # Errors
    /// [`Code::SizeNotReached`] if the log is smaller, [`Code::BadRequest`] for a position beyond the size,
    /// [`Code::Corrupted`], [`Code::Io`].
    pub fn inclusion(&self, position: u64, size: u64) -> Result<Vec<Hash>> {
        prove::inclusion(&self.inner.shared, position, size)
    }

    /// Proof that the first `to` events begin with the first `from`.
    ///
    /// # Errors
    /// As [`Trail::inclusion`]; [`Code::BadRequest`] if `from` is 0 or above `to`.
    pub fn consistency(&self, from: u64, to: u64) -> Result<Vec<Hash>> {
        prove::consistency(&self.inner.shared, from, to)
    }

    /// Proof that the events at these positions, without a gap, are among the first `size`.
    ///
    /// # Errors
    /// As [`Trail::inclusion`]; [`Code::BadRequest`] for an empty range or one beyond the size.
    pub fn range(&self, positions: Range<u64>, size: u64) -> Result<Vec<Hash>> {
        prove::range(&self.inner.shared, positions, size)
    }

    /// Everything that shows the event at `position` to be in the log: inclusion and checkpoint in one. Under the
    /// checkpoint of this size, or under the newest one; if that is not enough a new one is made.
    ///
    /// # Errors
    /// As [`Trail::inclusion`], [`Trail::checkpoint`] and [`Trail::checkpoint_of`].
    pub fn proof(&self, position: u64, size: Option<u64>) -> Result<TlogProof> {
        let checkpoint = match size {
            Some(size) => {
                let head = self.inner.shared.head();
                if size > head {
                    return Err(super::signer::not_reached(size, head));
                }
                self.checkpoint_of(size)?
            }
            None => match self.latest().filter(|latest| latest.unverified_head().size > position) {
                Some(latest) => latest,
                None => self.checkpoint(position.saturating_add(1))?,
            },
        };
        let hashes = self.inclusion(position, checkpoint.unverified_head().size)?;
        TlogProof::new(position, hashes, checkpoint)
            .map_err(|error| Error::new(Code::Internal, format!("a proof cannot be put together: {error}")))
    }

    /// The bytes of the leaf at a position, made again from the record and compared with the tree.
    ///
    /// # Errors
    /// [`Code::SizeNotReached`] behind the end of the log; [`Code::Corrupted`] if the record is not what the tree has;
    /// [`Code::Io`].
    pub fn leaf(&self, position: u64) -> Result<Vec<u8>> {
        Leaves::new(&self.inner.shared, &self.inner.origin).at(position)
    }

    /// The leaves at these positions, in order. Faster than one by one.
    ///
    /// # Errors
    /// As [`Trail::leaf`], and those of `each`.
    pub fn leaves(
        &self,
        positions: impl IntoIterator<Item = u64>,
        mut each: impl FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut leaves = Leaves::new(&self.inner.shared, &self.inner.origin);
        for position in positions {
            each(position, &leaves.at(position)?)?;
        }
        Ok(())
    }

    /// The bytes of a tile: its hashes, one after the other.
    ///
    /// # Errors
    /// [`Code::SizeNotReached`] if the tree has no such tile, or not as wide; [`Code::Corrupted`]; [`Code::Io`].
    pub fn tile(&self, tile: &Tile) -> Result<Vec<u8>> {
        prove::tile(&self.inner.shared, tile)
    }

    /// The bytes of a bundle of leaves, each compared with the tree.
    ///
    /// # Errors
    /// As [`Trail::leaf`].
    pub fn bundle(&self, bundle: &Bundle) -> Result<Vec<u8>> {
        prove::bundle(&self.inner.shared, &self.inner.origin, bundle)
    }

    /// Seals where every stream stands: writes the root of the trie of stream heads into the log, over everything that is
    /// durable, and returns the newest seal. Appends nothing if only records about the log itself came since the last seal.
    /// Callers at the same time share one seal. Reads what was appended since; the first seal after a start also reads
    /// `audit/streams`, or the whole log if that does not fit. Very many streams take several seals in a row. Durable when
    /// this returns; a checkpoint above its position makes it provable. Blocks.
    ///
    /// # Errors
    /// Those of [`crate::Store::append`]; [`Code::TooManyStreams`]; [`Code::Corrupted`] if the log does not lead to its last
    /// seal.
    pub fn seal(&self) -> Result<Sealed> {
        self.inner.expect_writer()?;
        self.inner.sealer.seal()
    }

    /// The newest seal in the log.
    ///
    /// # Errors
    /// [`Code::Corrupted`], [`Code::Io`].
    pub fn last_seal(&self) -> Result<Option<Sealed>> {
        self.inner.sealer.last()
    }

    /// Where a stream stood at the last seal, with what proves it: that its leaves below the seal's size are all there were.
    /// Streams that were deleted or have ended are proven like others. Works on every node that shares a journal. The first
    /// call after a start reads as the first [`Trail::seal`] does. Blocks.
    ///
    /// # Errors
    /// [`Code::StreamNotFound`] if it never had an event: nothing is proven then, since names are hashed under random salts,
    /// and a name nobody used has none; see [`Trail::absence`]. [`Code::NotSealedYet`] if it is newer than the last seal;
    /// [`Code::TooManyStreams`] if it will not be sealed; [`Code::Corrupted`] if the log does not lead to its last seal;
    /// [`Code::Io`].
    pub fn completeness(&self, stream: &StreamName) -> Result<Completeness> {
        let Inner { shared, sealer, origin, .. } = &*self.inner;
        completeness::of_stream(shared, sealer, origin, stream)
    }

    /// What the last seal says of a stream key, with what proves it: above all that no stream has it. A key is the keyed
    /// hash of a name that somebody holds with its salt.
    ///
    /// # Errors
    /// [`Code::NotSealedYet`] if nothing was sealed yet; otherwise as [`Trail::completeness`].
    pub fn absence(&self, stream_key: Hash) -> Result<KeyProof> {
        let Inner { shared, sealer, origin, .. } = &*self.inner;
        completeness::of_key(shared, sealer, origin, stream_key)
    }

    /// What another sealer of the same log needs.
    #[cfg(test)]
    pub(super) fn parts(&self) -> (Arc<Shared>, Arc<ControlWriter>) {
        (Arc::clone(&self.inner.shared), Arc::clone(&self.inner.control))
    }

    /// Where nodes share a log, they share its keys: the first key is told to the log, and no node makes another one.
    fn expect_told_key(&self) -> Result<()> {
        if self.inner.node.is_some() { rotation::tell_first_key(self) } else { Ok(()) }
    }

    /// The way of control records into the log.
    pub(crate) fn control(&self) -> &ControlWriter {
        &self.inner.control
    }

    /// What keeps checkpoints or seals from being made by themselves, if anything does.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.inner.background.trouble.lock().clone().or_else(|| self.inner.sealer.trouble())
    }

    /// Begins to seal and to sign by itself, if the store was opened so.
    pub(crate) fn begin(&self) {
        Background::start(self);
    }

    /// Appends are taken from now on.
    pub(crate) fn begin_writing(&self, path: &Arc<WritePath>) {
        self.inner.control.begin_writing(Arc::clone(path));
    }

    /// Signs everything durable, unless that was done.
    pub(super) fn sign_if_moved(&self) -> Result<()> {
        self.checkpoint_stored(self.inner.shared.head()).map(drop)
    }

    /// Ends what is done by itself, with a last seal. Appends are still taken, unless the journal cannot be reached.
    pub(crate) fn stop(&self) {
        self.inner.sealer.stop();
        self.inner.background.stop();
        if self.inner.intervals.seal.is_some() && self.inner.may_append() {
            self.inner.background.note(self.inner.sealer.seal_last());
        }
    }

    /// Signs what was appended last, if the store was opened so, and then nothing more.
    pub(crate) fn close(&self) {
        if self.inner.intervals.checkpoint.is_some() && self.inner.expect_writer().is_ok() {
            self.inner.background.work(self, false, true);
        }
        self.inner.signer.close();
        self.inner.sealer.close();
    }
}

/// Where the keys of a store in `dir` are.
pub(super) fn keys_dir_of(dir: &Path, options: &Options) -> PathBuf {
    options.keys_dir.clone().unwrap_or_else(|| dir.join(KEYS_DIR))
}

/// Where its high-water mark is.
pub(super) fn high_water_of(keys_dir: &Path, options: &Options) -> PathBuf {
    options.high_water.clone().unwrap_or_else(|| keys_dir.join(HIGH_WATER_FILE))
}

impl Inner {
    pub(super) fn signer(&self) -> &Signer {
        &self.signer
    }

    pub(super) fn seal_if_due(&self) -> Result<()> {
        self.sealer.seal_if_due()
    }

    /// Whether an append would not wait for a journal that cannot be reached.
    fn may_append(&self) -> bool {
        self.node.as_ref().is_none_or(|node| node.is_writer() && node.standing().trouble.is_none())
    }

    /// Only the node that writes signs: the others may be behind.
    pub(super) fn expect_writer(&self) -> Result<()> {
        match &self.node {
            Some(node) if !node.is_writer() => Err(node.not_the_writer()),
            _ => Ok(()),
        }
    }
}
