//! Changing the keys of a log: every change is a KEY record, signed by the keys it leaves in force and by the root key, if
//! the log has one.
//!
//! A key signs nothing before the log says that it does, and its private half is destroyed once the log says that it does
//! no more. What an interruption leaves half-done is settled when the store is opened next.

use super::Trail;
use super::keys::Keys;
use crate::append::Shared;
use crate::index::{Item, TermQuery};
use crate::log::reader::Reader;
use graven_model::{Code, Direction, Error, Kind, Result};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::control::{Anchor, Control, KeyChange, KeySignature};
use graven_proof::note::{KeyId, SignerKey, VerifierKey};
use sha2::{Digest, Sha256};

/// A key of a log, and what the log says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKey {
    /// The key.
    pub vkey: VerifierKey,
    /// Position of the record that added it; `None` for the log's first key.
    pub added_at: Option<u64>,
    /// Smallest size it signs.
    pub valid_from: u64,
    /// Largest size it signs, if it was retired.
    pub valid_until: Option<u64>,
    /// Largest size it is believed for, if it was revoked.
    pub last_good: Option<u64>,
    /// Its private half is here, and it signs.
    pub signs: bool,
}

/// Positions looked up at once.
const STEP: usize = 64;

impl Trail {
    /// The keys of the log, as the keys directory and the log know them, the first one first. On a node that follows, those
    /// the log has told so far.
    ///
    /// # Errors
    /// [`Code::Corrupted`] for a record of keys that does not read; [`Code::Io`].
    pub fn key_history(&self) -> Result<Vec<LogKey>> {
        let changes = changes(&self.inner.shared)?;
        let state = self.inner.signer().lock();
        let signs = |vkey: &VerifierKey| state.keys.signing().iter().any(|key| key.verifier() == vkey);
        let first = state
            .keys
            .known()
            .iter()
            .filter(|key| !is_added(&changes, key))
            .map(|vkey| (None, 0, vkey.clone()));
        let mut added = Vec::new();
        for (position, change) in &changes {
            if let KeyChange::Add { vkey, valid_from, .. } = change {
                added.push((Some(*position), *valid_from, read(vkey, *position)?));
            }
        }
        let keys = first.chain(added).map(|(added_at, valid_from, vkey)| {
            let text = vkey.to_string();
            let last = |pick: &dyn Fn(&KeyChange) -> Option<u64>| {
                changes.iter().filter_map(|(_, change)| pick(change)).min()
            };
            LogKey {
                added_at,
                valid_from,
                valid_until: last(&|change| match change {
                    KeyChange::Retire { vkey, valid_until, .. } if *vkey == text => Some(*valid_until),
                    _ => None,
                }),
                last_good: last(&|change| match change {
                    KeyChange::Revoke { vkey, last_good, .. } if *vkey == text => Some(*last_good),
                    _ => None,
                }),
                signs: signs(&vkey),
                vkey,
            }
        });
        Ok(keys.collect())
    }

    /// Makes a new key, has the keys in force authorise it in the log, and signs a checkpoint with it. With `overlap` the
    /// keys before sign beside it until they are [retired](Trail::retire); otherwise they are retired at once. `root`: the
    /// log's root key, if there is a `root.vkey` in the keys directory. What was signed before stays as it is.
    ///
    /// # Errors
    /// [`Code::RootKeyRequired`]; those of [`Trail::checkpoint`] and of an append.
    pub fn rotate(&self, overlap: bool, root: Option<&SignerKey>) -> Result<VerifierKey> {
        let inner = &*self.inner;
        inner.expect_writer()?;
        let mut state = inner.signer().lock();
        inner.signer().make_ready(&mut state)?;
        state.expect_key()?;
        expect_root(&state.keys, root)?;
        let before: Vec<SignerKey> = state.keys.signing().to_vec();
        let new = state.keys.make_next()?.verifier().clone();
        // The record itself is the first event that the new key covers.
        let change = KeyChange::Add {
            vkey: new.to_string(),
            valid_from: inner.shared.head() + 1,
            signatures: Vec::new(),
        };
        if let Err(error) = self.record(change, &before, root) {
            if error.code.entry().no_side_effects {
                state.keys.destroy(new.id())?;
            }
            return Err(error);
        }
        state.keys.accept(new.id())?;
        if !overlap {
            for key in &before {
                self.withdraw(&mut state.keys, key.verifier(), None, root)?;
            }
        }
        drop(state);
        self.checkpoint(inner.shared.head())?;
        Ok(new)
    }

    /// Has a key sign nothing more, and destroys its private half. Another one has to be in force. What it signed stays good.
    ///
    /// # Errors
    /// [`Code::NotFound`] if no such key signs, [`Code::BadRequest`] if it is the only one, [`Code::RootKeyRequired`]; those
    /// of an append.
    pub fn retire(&self, key: KeyId, root: Option<&SignerKey>) -> Result<()> {
        let inner = &*self.inner;
        inner.expect_writer()?;
        let mut state = inner.signer().lock();
        inner.signer().make_ready(&mut state)?;
        expect_root(&state.keys, root)?;
        let signing = state.keys.signing();
        let Some(vkey) = signing.iter().map(SignerKey::verifier).find(|vkey| vkey.id() == key).cloned()
        else {
            return Err(Error::new(Code::NotFound, format!("no key {key} signs for this log")));
        };
        self.withdraw(&mut state.keys, &vkey, None, root)
    }

    /// Says that a key is known to others: nothing above `last_good`, the largest size somebody outside vouches for, is
    /// believed because it signed it. Destroys its private half if it is still here. Whoever had it may have signed another
    /// history: only witnesses tell. A key that it alone authorised above that size is not believed either; a root key
    /// keeps that from happening.
    ///
    /// # Errors
    /// [`Code::NotFound`] if the log never had the key, [`Code::SizeNotReached`]; otherwise as [`Trail::retire`].
    pub fn revoke(&self, key: KeyId, last_good: u64, root: Option<&SignerKey>) -> Result<()> {
        let inner = &*self.inner;
        inner.expect_writer()?;
        let mut state = inner.signer().lock();
        inner.signer().make_ready(&mut state)?;
        expect_root(&state.keys, root)?;
        let head = inner.shared.head();
        if last_good > head {
            return Err(super::signer::not_reached(last_good, head));
        }
        let Some(vkey) = state.keys.known().iter().find(|vkey| vkey.id() == key).cloned() else {
            return Err(Error::new(Code::NotFound, format!("this log never had a key {key}")));
        };
        self.withdraw(&mut state.keys, &vkey, Some(last_good), root)
    }

    /// Retires a key, or revokes it above a size.
    fn withdraw(
        &self,
        keys: &mut Keys,
        vkey: &VerifierKey,
        last_good: Option<u64>,
        root: Option<&SignerKey>,
    ) -> Result<()> {
        let rest: Vec<SignerKey> =
            keys.signing().iter().filter(|key| key.verifier() != vkey).cloned().collect();
        if rest.is_empty() {
            return Err(Error::new(
                Code::BadRequest,
                format!("{} is the only key that signs for this log", vkey.id()),
            )
            .expected("another key in force: rotate first"));
        }
        let (text, signatures) = (vkey.to_string(), Vec::new());
        let change = match last_good {
            Some(last_good) => KeyChange::Revoke { vkey: text, last_good, signatures },
            // What it authorised has to stand below this too.
            None => KeyChange::Retire { vkey: text, valid_until: self.inner.shared.head(), signatures },
        };
        self.record(change, &rest, root)?;
        keys.destroy(vkey.id())
    }

    /// Appends a change that these keys authorise.
    fn record(&self, mut change: KeyChange, keys: &[SignerKey], root: Option<&SignerKey>) -> Result<()> {
        let signed: Vec<KeySignature> =
            keys.iter().chain(root).map(|key| KeySignature::of(&change, self.origin(), key)).collect();
        match &mut change {
            KeyChange::Add { signatures, .. }
            | KeyChange::Retire { signatures, .. }
            | KeyChange::Revoke { signatures, .. } => *signatures = signed,
        }
        let receipt = self.control().append(&Control::Key(change))?;
        tracing::info!(position = receipt.first_position.0, "the keys of the log have changed");
        Ok(())
    }
}

/// # Errors
/// [`Code::RootKeyRequired`] if the log has a root key, and this is not it.
pub(super) fn expect_root(keys: &Keys, root: Option<&SignerKey>) -> Result<()> {
    let Some(expected) = keys.root() else { return Ok(()) };
    match root {
        Some(root) if root.verifier() == expected => Ok(()),
        other => Err(Error::new(Code::RootKeyRequired, "the keys of this log change only with its root key")
            .expected(format!("key {}", expected.id()))
            .found(other.map_or("none".to_owned(), |key| format!("key {}", key.verifier().id())))),
    }
}

/// Makes the first key of a log that several nodes share, and tells the log, so that no other node makes one of its own.
///
/// # Errors
/// [`Code::NoSigningKey`] if the log has a key, and it is not here; those of an append.
pub(super) fn tell_first_key(trail: &Trail) -> Result<()> {
    let inner = &*trail.inner;
    let mut state = inner.signer().lock();
    if state.told {
        return Ok(());
    }
    inner.signer().make_ready(&mut state)?;
    let is_told = !changes(&inner.shared)?.is_empty();
    if state.keys.signing().is_empty() && is_told {
        return Err(Error::new(
            Code::NoSigningKey,
            "the key of this log is not in the keys directory of this node",
        )
        .expected("the same keys on every node that may write"));
    }
    state.expect_key()?;
    if !is_told {
        let key = state.keys.signing().first().cloned().expect("there is a key");
        let valid_from = inner.shared.head() + 1;
        let change = KeyChange::Add { vkey: key.verifier().to_string(), valid_from, signatures: Vec::new() };
        trail.record(change, &[key], None)?;
    }
    state.told = true;
    Ok(())
}

/// Has a new key sign a log that went back on purpose, and says so in it. `lost`: the newest checkpoint there was. The keys
/// before never sign again.
pub(super) fn begin_anew(
    trail: &Trail,
    lost: &SignedCheckpoint,
    root: Option<&SignerKey>,
) -> Result<VerifierKey> {
    let inner = &*trail.inner;
    let mut state = inner.signer().lock();
    inner.signer().begin_anew(&mut state)?;
    expect_root(&state.keys, root)?;
    let before: Vec<SignerKey> = state.keys.signing().to_vec();
    // What an interruption left of it.
    for next in state.keys.next().iter().map(|key| key.verifier().id()).collect::<Vec<_>>() {
        state.keys.destroy(next)?;
    }
    let head = lost.unverified_head();
    trail.control().append(&Control::Anchor(Anchor::RolledBack {
        size: head.size,
        root: head.root,
        checkpoint: Sha256::digest(lost.to_string()).into(),
    }))?;
    let new = state.keys.make_next()?.verifier().clone();
    let valid_from = inner.shared.head() + 1;
    let change = KeyChange::Add { vkey: new.to_string(), valid_from, signatures: Vec::new() };
    trail.record(change, &before, root)?;
    state.keys.accept(new.id())?;
    for key in &before {
        trail.withdraw(&mut state.keys, key.verifier(), None, root)?;
    }
    state.keys.end_rollback()?;
    Ok(new)
}

/// Brings the keys directory to what the log says: a rotation that was interrupted is finished or taken back.
///
/// # Errors
/// [`Code::WrongKey`] if there is a key the log was never told of; [`Code::Corrupted`], [`Code::Io`].
pub(super) fn settle(shared: &Shared, keys: &mut Keys) -> Result<()> {
    let changes = changes(shared)?;
    for next in keys.next().iter().map(|key| key.verifier().clone()).collect::<Vec<_>>() {
        match is_added(&changes, &next) {
            true => keys.accept(next.id())?,
            false => keys.destroy(next.id())?,
        }
    }
    for (_, change) in &changes {
        if let KeyChange::Retire { vkey, .. } | KeyChange::Revoke { vkey, .. } = change {
            let withdrawn =
                keys.signing().iter().map(SignerKey::verifier).find(|key| key.to_string() == *vkey);
            if let Some(id) = withdrawn.map(VerifierKey::id) {
                keys.destroy(id)?;
            }
        }
    }
    let untold: Vec<&VerifierKey> = keys.known().iter().filter(|key| !is_added(&changes, key)).collect();
    let signs = |key: &&VerifierKey| keys.signing().iter().any(|signing| signing.verifier() == *key);
    if untold.len() > 1 && untold.iter().any(signs) {
        return Err(Error::new(Code::WrongKey, "there are keys that the log was never told of")
            .expected("one first key; every other one is added by a rotation")
            .found(untold.iter().map(|key| key.id().to_string()).collect::<Vec<_>>().join(", ")));
    }
    keys.clean_up()?;
    Ok(())
}

fn is_added(changes: &[(u64, KeyChange)], key: &VerifierKey) -> bool {
    let text = key.to_string();
    changes.iter().any(|(_, change)| matches!(change, KeyChange::Add { vkey, .. } if *vkey == text))
}

/// The changes of keys in the log, with their positions.
fn changes(shared: &Shared) -> Result<Vec<(u64, KeyChange)>> {
    let sources = &shared.sources;
    let head = shared.head();
    let key = sources.hasher.event_type("$key");
    let query = TermQuery { items: vec![Item { types: vec![key], ..Item::default() }] };
    let mut reader = Reader::new(&sources.log);
    let mut found = Vec::new();
    let mut next = Some(0);
    while let Some(from) = next {
        let mut positions = Vec::new();
        next = sources.index.query(&query, from, Direction::Forward, head, STEP, &mut positions);
        for position in positions {
            let fetched = reader.fetch(position, sources.offset(position)?)?;
            let record = fetched.record()?;
            if record.kind != Kind::Key {
                continue;
            }
            match Control::decode(record.kind, record.data) {
                Ok(Control::Key(change)) => found.push((position, change)),
                _ => return Err(unreadable(position)),
            }
        }
    }
    Ok(found)
}

fn read(vkey: &str, position: u64) -> Result<VerifierKey> {
    vkey.parse().map_err(|_| unreadable(position))
}

fn unreadable(position: u64) -> Error {
    Error::new(Code::Corrupted, format!("the record of keys at position {position} does not read"))
}
