//! Going back to an older copy of a store on purpose: the one way past a refused start.

use super::checkpoints::CheckpointLog;
use super::high_water::HighWater;
use super::keys::Keys;
use super::rotation;
use super::trail::{high_water_of, keys_dir_of};
use crate::env::Env;
use crate::store::CHECKPOINTS_FILE;
use crate::store::open::{enter, read_identity};
use crate::{Options, Store};
use graven_model::{Code, Error, Result};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::note::{SignerKey, VerifierKey};
use std::io::ErrorKind;
use std::path::Path;

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
            return Err(Error::new(Code::BadRequest, "the log continues what was signed for it")
                .expected("a store that does not open because its log went back or is another one"));
        }
        Err(error) if matches!(error.code, Code::RollbackDetected | Code::InconsistentHistory) => {
            put_aside(env, dir, &options)?
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
fn put_aside(env: &Env, dir: &Path, options: &Options) -> Result<SignedCheckpoint> {
    let _lock = enter(env, dir, false)?;
    let identity = read_identity(env, dir)?
        .ok_or_else(|| Error::new(Code::UnknownFormat, format!("{} holds no graven store", dir.display())))?;
    let keys_dir = keys_dir_of(dir, options);
    let keys = Keys::open(env, &keys_dir, &identity.origin)?;
    let mark_file = high_water_of(&keys_dir, options);
    let file = dir.join(CHECKPOINTS_FILE);
    let lost = match keys.rollback()? {
        Some(text) => SignedCheckpoint::parse(&text).map_err(|error| {
            Error::new(
                Code::Corrupted,
                format!("{}: the rollback that was begun does not read: {error}", keys_dir.display()),
            )
        })?,
        None => {
            let mark = HighWater::open(env, &mark_file)?;
            let last = CheckpointLog::open(env, &file)?.last()?;
            let newest = mark.mark().cloned().into_iter().chain(last).max_by_key(|stored| stored.size);
            let newest =
                newest.ok_or_else(|| Error::new(Code::BadRequest, "nothing was ever signed for this log"))?;
            keys.begin_rollback(newest.checkpoint.to_string().as_bytes())?;
            newest.checkpoint
        }
    };
    for path in [file, mark_file] {
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
