//! What a witness remembers: of each log the last checkpoint it cosigned, in a file of its own.
//!
//! The file is the checkpoint with the witness's signature below it, so that it proves itself. It is replaced as a whole
//! before the cosignature goes out; a crash leaves the one before or the new one.

use super::key::make_key;
use graven_engine::env::{Env, read_file, replace_file};
use graven_model::{Code, Error, Result, limits};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::control::hex;
use graven_proof::merkle::{TreeHead, leaf_hash};
use graven_proof::note::{Algorithm, KeyName, Signature, SignerKey, VerifierKey};
use graven_proof::witness::{AddCheckpoint, Refusal, judge, nothing_seen};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const LOCK_FILE: &str = "witness.lock";
const LOGS_DIR: &str = "logs";

/// A witness's key and memory. One process has it.
pub(crate) struct Witness {
    env: Env,
    key: SignerKey,
    logs: BTreeMap<String, Log>,
    _lock: Box<dyn Send + Sync>,
}

/// One log the witness knows.
struct Log {
    keys: Vec<VerifierKey>,
    path: PathBuf,
    /// Held from the judgement until the new head is durable.
    seen: Mutex<Seen>,
}

/// What was cosigned last.
#[derive(Clone, Copy)]
struct Seen {
    head: TreeHead,
    /// Seconds since 1970; none before the first cosignature.
    time: Option<u64>,
    /// A write failed: which head the file holds is not known.
    unknown: bool,
}

/// One log as the witness last saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// Origin of the log.
    pub(crate) origin: String,
    /// Last cosigned head; of size 0 before the first.
    pub(crate) head: TreeHead,
    /// When, in seconds since 1970.
    pub(crate) time: Option<u64>,
}

/// Why a checkpoint was not cosigned.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It must not be.
    Refused(Refusal),
    /// The witness cannot remember it.
    Failed(Error),
}

impl Witness {
    /// Opens a witness's directory, which is made if it is missing, for the logs with these keys. Several keys of one
    /// name are one log's.
    ///
    /// # Errors
    /// Those of [`make_key`]; [`Code::DataInUse`]; [`Code::InvalidConfig`] for a key no log has; [`Code::Corrupted`] with
    /// the file if what was cosigned last does not verify.
    pub(crate) fn open(
        env: Env,
        dir: &Path,
        name: Option<&KeyName>,
        keys: Vec<VerifierKey>,
    ) -> Result<Witness> {
        check_keys(&keys)?;
        let io = |path: &Path, error: &std::io::Error| Error::io(path.display(), error);
        env.disk.create_private_dir(dir).map_err(|error| io(dir, &error))?;
        let path = dir.join(LOCK_FILE);
        let lock = env.disk.lock(&path).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => {
                Error::new(Code::DataInUse, format!("another witness runs in {}", dir.display()))
            }
            _ => io(&path, &error),
        })?;
        let key = make_key(&env, dir, name)?;
        let logs_dir = dir.join(LOGS_DIR);
        env.disk.create_dir(&logs_dir).map_err(|error| io(&logs_dir, &error))?;
        env.disk.sync_dir(dir).map_err(|error| io(dir, &error))?;
        let mut witness = Witness { env, key, logs: BTreeMap::new(), _lock: lock };
        for key in keys {
            let origin = key.name().as_str().to_owned();
            if let Some(log) = witness.logs.get_mut(&origin) {
                log.keys.push(key);
                continue;
            }
            let path = logs_dir.join(file_name(&origin));
            let seen = Mutex::new(witness.recall(&origin, &path)?);
            witness.logs.insert(origin, Log { keys: vec![key], path, seen });
        }
        Ok(witness)
    }

    /// The key others verify its cosignatures with.
    pub(crate) fn key(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// The logs it knows, in the order of their origins.
    pub(crate) fn known(&self) -> Vec<Known> {
        let known = |(origin, log): (&String, &Log)| {
            let seen = *lock(&log.seen);
            Known { origin: origin.clone(), head: seen.head, time: seen.time }
        };
        self.logs.iter().map(known).collect()
    }

    /// The last checkpoint of a log that was cosigned, with the cosignature; `None` before the first.
    ///
    /// # Errors
    /// [`Code::UnknownLog`]; those of the disk.
    pub(crate) fn last(&self, origin: &str) -> Result<Option<Vec<u8>>> {
        let log = self.logs.get(origin).ok_or_else(|| {
            Error::new(Code::UnknownLog, format!("the log {:?} is not known here", limits::shorten(origin)))
        })?;
        let seen = lock(&log.seen);
        if seen.time.is_none() {
            return Ok(None);
        }
        let bytes = read_file(&*self.env.disk, &log.path);
        bytes.map(Some).map_err(|error| Error::io(log.path.display(), &error))
    }

    /// Cosigns a checkpoint if it continues what was cosigned last, one of a log after the other. What the cosignature
    /// says is durable when this returns.
    ///
    /// # Errors
    /// [`Outcome`]; nothing is remembered then, unless the disk failed.
    pub(crate) fn add_checkpoint(&self, request: &AddCheckpoint) -> std::result::Result<Signature, Outcome> {
        let origin = request.checkpoint().unverified_origin();
        let Some(log) = self.logs.get(origin) else {
            return Err(Outcome::Refused(Refusal::UnknownLog(limits::shorten(origin).to_owned())));
        };
        let mut seen = lock(&log.seen);
        if seen.unknown {
            let message =
                format!("an earlier write of {} failed; what it holds is not known", log.path.display());
            return Err(Outcome::Failed(Error::new(Code::Poisoned, message)));
        }
        let head = judge(&seen.head, request, &log.keys).map_err(Outcome::Refused)?;
        let time = u64::try_from(self.env.clock.now_us() / 1_000_000)
            .ok()
            .filter(|time| *time > 0)
            .ok_or_else(|| Outcome::Failed(Error::new(Code::Internal, "the clock stands before 1970")))?;
        let cosignature = self.key.sign(request.checkpoint().note().unverified_text(), time);
        if head == seen.head && seen.time.is_some() {
            return Ok(cosignature);
        }
        // Signatures of strangers are left out: they say nothing here and may be many.
        let note = kept(request.checkpoint(), &log.keys, &cosignature).map_err(Outcome::Failed)?;
        if let Err(error) = replace_file(&*self.env.disk, &log.path, note.as_bytes()) {
            seen.unknown = true;
            return Err(Outcome::Failed(Error::io(log.path.display(), &error)));
        }
        *seen = Seen { head, time: Some(time), unknown: false };
        Ok(cosignature)
    }

    /// What the file says was cosigned last.
    fn recall(&self, origin: &str, path: &Path) -> Result<Seen> {
        let bytes = match read_file(&*self.env.disk, path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Seen { head: nothing_seen(), time: None, unknown: false });
            }
            Err(error) => return Err(Error::io(path.display(), &error)),
        };
        let damaged = |what: String| {
            Error::new(
                Code::Corrupted,
                format!("{} does not say what was cosigned last: {what}", path.display()),
            )
            .expected(format!("a checkpoint of {origin} with the signature of this witness"))
        };
        let checkpoint =
            SignedCheckpoint::parse_foreign(&bytes).map_err(|error| damaged(error.to_string()))?;
        if checkpoint.unverified_origin() != origin {
            return Err(damaged(format!("it is of {:?}", limits::shorten(checkpoint.unverified_origin()))));
        }
        let own = [self.key().clone()];
        let verified = checkpoint.note().verify(&own).map_err(|error| damaged(error.to_string()))?;
        let time = verified.signers().first().and_then(|signer| signer.time);
        Ok(Seen { head: checkpoint.unverified_head(), time, unknown: false })
    }
}

fn check_keys(keys: &[VerifierKey]) -> Result<()> {
    let invalid = |message: String| Err(Error::new(Code::InvalidConfig, message));
    if keys.is_empty() {
        return Err(Error::new(Code::InvalidConfig, "the witness knows no log").expected("--log VKEY"));
    }
    if keys.len() > limits::WITNESS_LOGS_MAX {
        return Err(Error::new(Code::InvalidConfig, "the witness is to know too many keys of logs")
            .expected(format!("at most {}", limits::WITNESS_LOGS_MAX))
            .found(keys.len().to_string()));
    }
    for (index, key) in keys.iter().enumerate() {
        if key.algorithm() != Algorithm::Ed25519 {
            return invalid(format!("--log {}: the key is one for cosignatures, not a log's", key.name()));
        }
        if keys[..index].iter().any(|other| other.name() == key.name() && other.id() == key.id()) {
            return invalid(format!("--log {}: the key {} is named twice", key.name(), key.id()));
        }
    }
    Ok(())
}

/// The checkpoint as it is kept: the log's own signatures and the witness's.
fn kept(checkpoint: &SignedCheckpoint, keys: &[VerifierKey], cosignature: &Signature) -> Result<String> {
    let known = |signature: &&Signature| {
        keys.iter().any(|key| key.name() == signature.name() && key.id() == signature.id())
    };
    let signatures = checkpoint.note().signatures().iter().filter(known).chain([cosignature]);
    let lines: String = signatures.map(|signature| format!("{signature}\n")).collect();
    let note = format!("{}\n{lines}", checkpoint.note().unverified_text());
    match SignedCheckpoint::parse_foreign(note.as_bytes()) {
        Ok(_) => Ok(note),
        Err(error) => {
            Err(Error::new(Code::Internal, format!("a cosigned checkpoint does not read: {error}")))
        }
    }
}

/// Origins are of any form and length; a digest of them is a file name.
fn file_name(origin: &str) -> String {
    hex::encode(&leaf_hash(origin.as_bytes()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds what was seen")
}

#[cfg(test)]
mod tests;
