//! Going back to an older copy of a store on purpose: the one way past a refused start.

use super::checkpoints::CheckpointLog;
use super::high_water::HighWater;
use super::keys::Keys;
use super::rotation;
use super::trail::{high_water_of, keys_dir_of};
use crate::append::Shared;
use crate::env::Env;
use crate::store::CHECKPOINTS_FILE;
use crate::store::open::{Identity, enter, open_parts, read_identity};
use crate::{Options, Store};
use graven_model::{Code, Error, Result};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::merkle::TreeHead;
use graven_proof::note::{SignerKey, VerifierKey};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What a declared rollback led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolledBack {
    /// The newest checkpoint there was: what others may hold it against the log.
    pub lost: SignedCheckpoint,
    /// The key that signs from now on.
    pub key: VerifierKey,
    /// The first checkpoint it signed.
    pub checkpoint: SignedCheckpoint,
}

/// What a log lost, as far as its checkpoints tell: what a declared rollback would take for granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The log as it is.
    pub log: TreeHead,
    /// The newest checkpoint beside the log.
    pub checkpoint: Option<TreeHead>,
    /// The newest checkpoint in the high-water mark.
    pub mark: Option<TreeHead>,
    /// The newest checkpoint there was; of a rollback that was begun, the one it put aside.
    pub lost: TreeHead,
}

/// What declaring a rollback of a stopped store in a directory would lose. Nothing is declared, signed or put aside; the log is
/// recovered as at any start.
///
/// # Errors
/// [`Code::BadRequest`] if the log continues what was signed for it, or nothing was ever signed; [`Code::RootKeyRequired`]
/// without the log's root key, if it has one; [`Code::DataInUse`]; [`Code::UnknownFormat`] if there is no store of its own;
/// [`Code::Corrupted`]; [`Code::Io`].
pub fn survey_rollback(dir: impl AsRef<Path>, options: &Options, root: Option<&SignerKey>) -> Result<Loss> {
    let (dir, env) = (dir.as_ref(), &options.env);
    let _lock = enter(env, dir, false)?;
    crate::replica::refuse(env, dir)?;
    let signed = Signed::read(env, dir, options)?;
    rotation::expect_root(&signed.keys, root)?;
    let lost = signed.newest()?.unverified_head();
    let identity = identity(env, dir)?;
    let recovered = open_parts(env, dir, options, &identity)?;
    let shared = Shared::new(env.clone(), recovered.sources, &recovered.chain, recovered.tally);
    let (size, root) = shared.root();
    let continues = |head: &TreeHead| -> Result<bool> {
        Ok(head.size <= size && shared.sources.tiles.frontier(head.size)?.root() == head.root)
    };
    let (checkpoint, mark) = (signed.last_head(), signed.mark_head());
    let mut fits = signed.begun.is_none();
    for head in checkpoint.iter().chain(&mark) {
        fits = fits && continues(head)?;
    }
    if fits {
        return Err(nothing_lost());
    }
    Ok(Loss { log: TreeHead { size, root }, checkpoint, mark, lost })
}

/// Declares that a stopped store in a directory is an older copy, or another history, on purpose. The checkpoints and the
/// high-water mark there were are kept beside, with `.<size>.lost` added. The log gets a record of what is lost, and a new key:
/// the one before never signs a smaller head. Witnesses refuse what contradicts what they saw; that cannot be declared away.
/// Interrupted, it is called again. `root`: the log's root key, if there is a `root.vkey` in the keys directory.
///
/// # Errors
/// [`Code::BadRequest`] if the store opens as it is, or nothing was ever signed; [`Code::RootKeyRequired`]; those of
/// [`Store::open`].
pub fn declare_rollback(
    dir: impl AsRef<Path>,
    options: &Options,
    root: Option<&SignerKey>,
) -> Result<RolledBack> {
    let dir = dir.as_ref();
    let env = &options.env;
    let options =
        Options { checkpoint_interval: None, seal_interval: None, create: false, ..options.clone() };
    let lost = match Store::open(dir, options.clone()) {
        Ok(_) => {
            return Err(nothing_lost());
        }
        Err(error) if matches!(error.code, Code::RollbackDetected | Code::InconsistentHistory) => {
            put_aside(env, dir, &options, root)?
        }
        Err(error) => return Err(error),
    };
    let store = Store::open_unconfirmed(dir, options)?;
    let trail = store.trail();
    let key = rotation::begin_anew(&trail, &lost, root)?;
    let checkpoint = trail.checkpoint(store.head().0)?;
    store.close()?;
    Ok(RolledBack { lost, key, checkpoint })
}

/// Remembers the newest checkpoint and renames what contradicts the log.
fn put_aside(env: &Env, dir: &Path, options: &Options, root: Option<&SignerKey>) -> Result<SignedCheckpoint> {
    let _lock = enter(env, dir, false)?;
    let signed = Signed::read(env, dir, options)?;
    rotation::expect_root(&signed.keys, root)?;
    let lost = signed.newest()?.clone();
    if signed.begun.is_none() {
        signed.keys.begin_rollback(lost.to_string().as_bytes())?;
    }
    for path in [signed.file, signed.mark_file] {
        let mut aside = path.clone().into_os_string();
        aside.push(format!(".{}.lost", lost.unverified_head().size));
        let failed = |error: std::io::Error| Error::io(path.display(), &error);
        match env.disk.rename(&path, Path::new(&aside)) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            renamed => renamed.map_err(failed)?,
        }
        env.disk.sync_dir(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    }
    Ok(lost)
}

/// What was signed for a log, wherever it is kept.
struct Signed {
    keys: Keys,
    /// Where the checkpoints are kept, and the newest of them.
    file: PathBuf,
    last: Option<SignedCheckpoint>,
    /// Where the high-water mark is kept, and what it holds.
    mark_file: PathBuf,
    mark: Option<SignedCheckpoint>,
    /// The newest checkpoint there was when a rollback was begun that is not finished.
    begun: Option<SignedCheckpoint>,
}

impl Signed {
    fn read(env: &Env, dir: &Path, options: &Options) -> Result<Signed> {
        let keys_dir = keys_dir_of(dir, options);
        let keys = Keys::open(env, &keys_dir, &identity(env, dir)?.origin)?;
        let mark_file = high_water_of(&keys_dir, options);
        let file = dir.join(CHECKPOINTS_FILE);
        let unreadable = |error| {
            let message =
                format!("{}: the rollback that was begun does not read: {error}", keys_dir.display());
            Error::new(Code::Corrupted, message)
        };
        let begun = keys.rollback()?.map(|text| SignedCheckpoint::parse(&text).map_err(unreadable));
        Ok(Signed {
            begun: begun.transpose()?,
            last: CheckpointLog::open(env, &file)?.last()?.map(|stored| stored.checkpoint),
            mark: HighWater::open(env, &mark_file)?.mark().map(|stored| stored.checkpoint.clone()),
            keys,
            file,
            mark_file,
        })
    }

    /// # Errors
    /// [`Code::BadRequest`] if nothing was ever signed.
    fn newest(&self) -> Result<&SignedCheckpoint> {
        let there = self.mark.iter().chain(&self.last);
        let newest = there.max_by_key(|checkpoint| checkpoint.unverified_head().size);
        let newest = self.begun.as_ref().or(newest);
        newest.ok_or_else(|| Error::new(Code::BadRequest, "nothing was ever signed for this log"))
    }

    fn last_head(&self) -> Option<TreeHead> {
        self.last.as_ref().map(SignedCheckpoint::unverified_head)
    }

    fn mark_head(&self) -> Option<TreeHead> {
        self.mark.as_ref().map(SignedCheckpoint::unverified_head)
    }
}

fn identity(env: &Env, dir: &Path) -> Result<Identity> {
    read_identity(env, dir)?
        .ok_or_else(|| Error::new(Code::UnknownFormat, format!("{} holds no graven store", dir.display())))
}

fn nothing_lost() -> Error {
    Error::new(Code::BadRequest, "the log continues what was signed for it")
        .expected("a store that does not open because its log went back or is another one")
}
