//! Signing checkpoints: the one place from which a signature of this log comes.
//!
//! What is signed is durable, larger than everything signed before, and continues it. A checkpoint is written to
//! `checkpoints.log` and to the high-water mark before anybody gets it; for the same size everybody gets the same bytes.
//! Callers who wait for one another share a signature.

use super::checkpoints::{AppendError, CheckpointLog, StoredCheckpoint};
use super::high_water::HighWater;
use super::keys::Keys;
use super::rotation;
use crate::append::{Shared, hex};
use graven_model::{Code, Error, Result, Timestamp};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::merkle::TreeHead;
use graven_proof::note::{SignerKey, VerifierKey};
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::path::Path;
use std::sync::Arc;

/// Keys, the checkpoints there are, and the mark.
pub(crate) struct Signer {
    shared: Arc<Shared>,
    pub(super) log: CheckpointLog,
    state: Mutex<State>,
    /// What may be handed out: durable in both places.
    latest: RwLock<Option<StoredCheckpoint>>,
}

/// Whoever has it signs, or changes keys.
pub(crate) struct State {
    pub(super) keys: Keys,
    mark: HighWater,
    /// The last checkpoint in the file, handed out or not.
    last: Option<StoredCheckpoint>,
    /// The log was compared with what was signed for it.
    confirmed: bool,
    /// The log knows the first key; asked only where nodes share it.
    pub(super) told: bool,
    closed: bool,
    /// Nobody knows any more what the files hold.
    failed: Option<Error>,
}

impl Signer {
    /// Takes over the checkpoints there are. `confirm`: compare the log with them now; a node's copy is compared when it
    /// holds what the journal holds.
    ///
    /// # Errors
    /// See [`Signer::confirm`]; [`Code::Corrupted`] and [`Code::Io`] of the files.
    pub(super) fn new(
        shared: Arc<Shared>,
        keys: Keys,
        log: CheckpointLog,
        mark: HighWater,
        confirm: bool,
    ) -> Result<Signer> {
        let last = log.last()?;
        let state = State { keys, mark, last, confirmed: false, told: false, closed: false, failed: None };
        let signer = Signer { shared, log, latest: RwLock::new(None), state: Mutex::new(state) };
        if confirm {
            signer.confirm(&mut signer.state.lock())?;
        }
        Ok(signer)
    }

    /// The newest checkpoint, at hand.
    pub(super) fn latest(&self) -> Option<StoredCheckpoint> {
        self.latest.read().clone()
    }

    /// Keys and files, to change or look at. Signing waits meanwhile.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// A checkpoint of at least this size: the newest one if it is enough, otherwise one of everything that is durable.
    ///
    /// # Errors
    /// [`Code::SizeNotReached`], [`Code::NoSigningKey`], [`Code::Poisoned`], [`Code::Closed`], [`Code::DiskFull`],
    /// [`Code::Io`]; those of [`Signer::confirm`].
    pub(super) fn checkpoint(&self, at_least: u64) -> Result<StoredCheckpoint> {
        let enough = |latest: &StoredCheckpoint| latest.size >= at_least;
        if let Some(latest) = self.latest.read().as_ref().filter(|latest| enough(latest)) {
            return Ok(latest.clone());
        }
        let mut state = self.state.lock();
        // Whoever was here before may have signed enough.
        if let Some(latest) = self.latest.read().as_ref().filter(|latest| enough(latest)) {
            return Ok(latest.clone());
        }
        self.make_ready(&mut state)?;
        let (size, root) = self.shared.root();
        if size < at_least {
            return Err(not_reached(at_least, size));
        }
        match &state.last {
            Some(last) if last.size == size => {}
            last => {
                let head = TreeHead { size, root };
                self.check_continues(last.as_ref(), &head)?;
                self.sign(&mut state, &head)?;
            }
        }
        self.hand_out(&mut state)
    }

    /// Takes the log for the true one: the checkpoints that contradict it were put aside.
    pub(super) fn begin_anew(&self, state: &mut State) -> Result<()> {
        state.may_go_on()?;
        state.confirmed = true;
        Ok(())
    }

    /// Makes sure that what is signed next follows from what was signed before.
    ///
    /// # Errors
    /// [`Code::Closed`], [`Code::Poisoned`]; those of [`Signer::confirm`].
    pub(super) fn make_ready(&self, state: &mut State) -> Result<()> {
        state.may_go_on()?;
        match self.shared.refusal_when_poisoned() {
            Some(error) => Err(error),
            None => self.confirm(state),
        }
    }

    /// Whether there is any key to verify with.
    pub(super) fn has_keys(&self) -> bool {
        !self.state.lock().keys.known().is_empty()
    }

    /// All keys; makes the first one if there is none yet.
    ///
    /// # Errors
    /// As [`Signer::checkpoint`], of keys.
    pub(super) fn verifier_keys(&self) -> Result<Vec<VerifierKey>> {
        let mut state = self.state.lock();
        if state.keys.known().is_empty() {
            state.may_go_on()?;
            state.expect_key()?;
        }
        Ok(state.keys.known().to_vec())
    }

    /// Signs a head and writes the checkpoint into its file.
    fn sign(&self, state: &mut State, head: &TreeHead) -> Result<()> {
        state.expect_key()?;
        let keys: Vec<&SignerKey> = state.keys.signing().iter().collect();
        let (log, others) = keys.split_first().expect("there is a key");
        let checkpoint = SignedCheckpoint::sign(head, log, others, 0)
            .map_err(|error| Error::new(Code::Internal, format!("a checkpoint cannot be signed: {error}")))?;
        let signed_at = Timestamp::from_micros(self.shared.env.clock.now_us());
        let stored = StoredCheckpoint { size: head.size, signed_at, checkpoint };
        self.file(state, stored)
    }

    fn file(&self, state: &mut State, stored: StoredCheckpoint) -> Result<()> {
        match self.log.append(&stored) {
            Ok(()) => {
                state.last = Some(stored);
                Ok(())
            }
            Err(AppendError::Refused(error)) => Err(error),
            Err(AppendError::Unknown(error)) => {
                state.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Raises the mark to the last checkpoint, which everybody may have from then on.
    fn hand_out(&self, state: &mut State) -> Result<StoredCheckpoint> {
        let last = state.last.clone().expect("there is a checkpoint");
        if state.mark.mark().is_none_or(|mark| mark.size < last.size) {
            state.mark.raise(&last)?;
        }
        *self.latest.write() = Some(last.clone());
        Ok(last)
    }

    /// Compares the log with the newest checkpoints there are, once: it has to reach them and have their roots. Brings the
    /// file and the mark to the same end.
    ///
    /// # Errors
    /// [`Code::RollbackDetected`] if the log ends before one of them, [`Code::InconsistentHistory`] if it is another one,
    /// [`Code::CheckpointSignatureInvalid`] if none of the log's keys signed one; [`Code::Io`].
    fn confirm(&self, state: &mut State) -> Result<()> {
        if state.confirmed {
            return Ok(());
        }
        state.keys.expect_no_rollback()?;
        for (stored, path) in [(state.mark.mark(), state.mark.path()), (state.last.as_ref(), self.log.path())]
        {
            let Some(stored) = stored else { continue };
            check_signature(stored, state.keys.known(), path)?;
            self.check_reached(stored, path)?;
        }
        // Not before the log is seen to be the true one: keys are destroyed by what it says.
        rotation::settle(&self.shared, &mut state.keys)?;
        state.confirmed = true;
        if state.keys.known().is_empty() {
            // Where the keys are not, the mark need not be either.
            *self.latest.write() = state.last.clone();
            return Ok(());
        }
        let marked = state.mark.mark().cloned();
        let last = state.last.as_ref().map(|last| last.size);
        match (marked, last) {
            (Some(marked), last) if last.is_none_or(|last| last < marked.size) => {
                tracing::warn!(
                    path = %self.log.path().display(), last, marked = marked.size,
                    "the newest checkpoint is missing and was taken over from the high-water mark"
                );
                self.file(state, marked)?;
            }
            (None, Some(last)) => {
                tracing::warn!(
                    path = %state.mark.path().display(), last,
                    "there is no high-water mark yet; it begins with the newest checkpoint"
                );
            }
            _ => {}
        }
        if state.last.is_some() {
            self.hand_out(state)?;
        }
        Ok(())
    }

    fn check_reached(&self, stored: &StoredCheckpoint, path: &Path) -> Result<()> {
        let expected = stored.checkpoint.unverified_head();
        let (size, root) = self.shared.root();
        if size < expected.size {
            return Err(Error::new(
                Code::RollbackDetected,
                format!("the log ends before the newest checkpoint in {}", path.display()),
            )
            .expected(format!("at least {} events, root {}", expected.size, hex(&expected.root)))
            .found(format!("{size} events, root {}", hex(&root))));
        }
        let root = self.shared.sources.tiles.frontier(expected.size)?.root();
        if root != expected.root {
            return Err(Error::new(
                Code::InconsistentHistory,
                format!("the log is not the one of the newest checkpoint in {}", path.display()),
            )
            .expected(format!("root {} over {} events", hex(&expected.root), expected.size))
            .found(format!("root {}", hex(&root))));
        }
        Ok(())
    }

    /// A head that is to be signed has the tiles' root, and the tree continues the one signed last.
    fn check_continues(&self, last: Option<&StoredCheckpoint>, head: &TreeHead) -> Result<()> {
        let last = last.map(|last| last.checkpoint.unverified_head());
        if let Some(last) = last.filter(|last| last.size > head.size) {
            return Err(Error::new(Code::RollbackDetected, "a smaller head is never signed")
                .expected(format!("at least {} events", last.size))
                .found(format!("{} events", head.size)));
        }
        for expected in last.iter().chain([head]) {
            let root = self.shared.sources.tiles.frontier(expected.size)?.root();
            if root != expected.root {
                return Err(Error::new(
                    Code::Corrupted,
                    "the audit tiles are not those of the log; restart the store to build them again",
                )
                .expected(format!("root {} over {} events", hex(&expected.root), expected.size))
                .found(format!("root {}", hex(&root))));
            }
        }
        Ok(())
    }

    /// Signs nothing more.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
    }
}

impl State {
    /// Makes the log's first key if it has none yet.
    pub(super) fn expect_key(&mut self) -> Result<()> {
        if !self.keys.signing().is_empty() {
            return Ok(());
        }
        if self.last.is_some() || self.mark.mark().is_some() || !self.keys.known().is_empty() {
            let message = "the key this log's checkpoints were signed with is not in the keys directory";
            return Err(Error::new(Code::NoSigningKey, message));
        }
        self.keys.make_first()
    }

    fn may_go_on(&self) -> Result<()> {
        if self.closed {
            return Err(Error::new(Code::Closed, "the store is closed"));
        }
        match &self.failed {
            None => Ok(()),
            Some(cause) => Err(Error::new(
                Code::Io,
                format!("no checkpoints are signed since one could not be written ({})", cause.message),
            )),
        }
    }
}

/// That one of the log's keys signed a checkpoint. Without any key nothing can be said.
fn check_signature(stored: &StoredCheckpoint, keys: &[VerifierKey], path: &Path) -> Result<()> {
    if keys.is_empty() {
        tracing::warn!(path = %path.display(), "there is no key to verify the newest checkpoint with");
        return Ok(());
    }
    let invalid = |why: String| {
        Error::new(
            Code::CheckpointSignatureInvalid,
            format!("the newest checkpoint in {} is not this log's: {why}", path.display()),
        )
        .expected(format!("a checkpoint of {}, signed by its key", keys[0].name()))
    };
    stored.checkpoint.note().verify(keys).map_err(|error| invalid(error.to_string()))?;
    match stored.checkpoint.unverified_origin() {
        origin if origin == keys[0].name().as_str() => Ok(()),
        origin => Err(invalid(format!("it is of {origin:?}"))),
    }
}

pub(super) fn not_reached(size: u64, head: u64) -> Error {
    Error::new(Code::SizeNotReached, format!("the log has not {size} events yet"))
        .expected(format!("at most {head}"))
        .found(size.to_string())
}
