//! What others vouch for, as it lies beside a stopped store: checkpoints with the cosignatures of witnesses, and
//! timestamps. Read for bundles; nothing here is changed.

use crate::server::{TIMESTAMPS_DIR, cosigned_beside};
use graven_engine::audit::Trail;
use graven_engine::env::{Env, Open};
use graven_model::{Code, Error, Result};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::note::VerifierKey;
use graven_proof::policy::Policy;
use graven_proof::timestamp::{RESPONSE_BYTES_MAX, Timestamp};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Which checkpoint a bundle stands on: if nothing is asked for, one that is signed for it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Under {
    /// The newest one that witnesses cosigned.
    pub(crate) witnessed: bool,
    /// The newest one with a timestamp.
    pub(crate) timestamped: bool,
}

/// See the module.
pub(crate) struct Outside {
    env: Env,
    /// What the log's own keys signed and anybody cosigned, newest last.
    cosigned: Vec<SignedCheckpoint>,
    /// Witnesses, quorum and the log's keys.
    policy: Option<Policy>,
    timestamps: PathBuf,
}

impl Outside {
    /// Looks at what lies beside the store in `dir`. With a policy only what satisfies it is taken as witnessed.
    ///
    /// # Errors
    /// [`Code::Corrupted`] with file and byte; those of the keys and the disk.
    pub(crate) fn beside(dir: &Path, trail: &Trail, policy: Option<&Policy>) -> Result<Outside> {
        let env = Env::real();
        let keys = trail.verifier_keys()?;
        let mut cosigned = cosigned_beside(&env, dir)?;
        cosigned.retain(|checkpoint| is_cosigned(checkpoint, trail.origin(), &keys));
        let policy = policy.map(|policy| policy.with_logs(&keys));
        Ok(Outside { env, cosigned, policy, timestamps: dir.join(TIMESTAMPS_DIR) })
    }

    /// The checkpoint that is asked for, as the log signed it; `None` if nothing is.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is none; [`Code::WitnessContradicts`] if the store is not what was cosigned;
    /// [`Code::Corrupted`]; those of the disk.
    pub(crate) fn choose(&self, trail: &Trail, under: Under) -> Result<Option<SignedCheckpoint>> {
        let sizes = match under {
            Under { witnessed: false, timestamped: false } => return Ok(None),
            Under { witnessed: true, .. } => {
                let witnessed = self.cosigned.iter().filter(|checkpoint| self.is_witnessed(checkpoint));
                witnessed.map(|checkpoint| checkpoint.unverified_head().size).collect()
            }
            Under { .. } => self.timestamp_sizes()?,
        };
        let mut sizes: Vec<u64> = sizes;
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes.dedup();
        for size in sizes {
            let own = match trail.checkpoint_of(size) {
                Err(error) if error.code == Code::NeverSigned => return Err(contradicted(size, "none")),
                own => own?,
            };
            if !under.timestamped || self.timestamp(&own)?.is_some() {
                return Ok(Some(own));
            }
        }
        let wanted = match under {
            Under { witnessed: true, timestamped: true } => "that was cosigned and timestamped",
            Under { witnessed: true, .. } => "that enough witnesses cosigned",
            Under { .. } => "with a timestamp",
        };
        Err(Error::new(Code::NotFound, format!("beside the store there is no checkpoint {wanted}")))
    }

    /// A checkpoint with every cosignature of it there is.
    ///
    /// # Errors
    /// [`Code::WitnessContradicts`] if another one of its size was cosigned; [`Code::Internal`] if there are too many.
    pub(crate) fn with_cosignatures(&self, mut own: SignedCheckpoint) -> Result<SignedCheckpoint> {
        let head = own.unverified_head();
        let of_size = |other: &&SignedCheckpoint| other.unverified_head().size == head.size;
        for cosigned in self.cosigned.iter().rev().filter(of_size) {
            if cosigned.unverified_head() != head {
                return Err(contradicted(head.size, "one with another root"));
            }
            for signature in cosigned.note().signatures() {
                let mut there = own.note().signatures().iter();
                if !there.any(|there| there.name() == signature.name() && there.id() == signature.id()) {
                    own = own
                        .with(signature.clone())
                        .map_err(|error| Error::new(Code::Internal, error.to_string()))?;
                }
            }
        }
        Ok(own)
    }

    /// The answer of a timestamp authority about exactly these bytes of a checkpoint, without cosignatures.
    ///
    /// # Errors
    /// [`Code::Corrupted`] with the file if it does not read; those of the disk.
    pub(crate) fn timestamp(&self, own: &SignedCheckpoint) -> Result<Option<Vec<u8>>> {
        let path = self.timestamps.join(format!("{}.tsr", own.unverified_head().size));
        let io = |error: std::io::Error| Error::io(path.display(), &error);
        let file = match self.env.disk.open(&path, Open::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let corrupted = |what: String| Error::new(Code::Corrupted, format!("{}: {what}", path.display()));
        let length = file.len().map_err(io)?;
        if length > RESPONSE_BYTES_MAX as u64 {
            return Err(corrupted("it is too long for a timestamp".into()));
        }
        let mut bytes = vec![0; length as usize];
        let read = file.read_at(&mut bytes, 0).map_err(io)?;
        bytes.truncate(read);
        let timestamp = Timestamp::parse_response(&bytes).map_err(|error| corrupted(error.to_string()))?;
        Ok(timestamp.expect_of(own.to_string().as_bytes()).is_ok().then_some(bytes))
    }

    fn is_witnessed(&self, checkpoint: &SignedCheckpoint) -> bool {
        let by = |policy: &Policy| checkpoint.verify(policy).is_ok_and(|by| !by.cosignatures().is_empty());
        self.policy.as_ref().is_none_or(by)
    }

    fn timestamp_sizes(&self) -> Result<Vec<u64>> {
        let names = match self.env.disk.list(&self.timestamps) {
            Ok(names) => names,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io(self.timestamps.display(), &error)),
        };
        Ok(names.iter().filter_map(|name| name.strip_suffix(".tsr")?.parse().ok()).collect())
    }
}

/// Whether the log signed it, and somebody else too.
fn is_cosigned(checkpoint: &SignedCheckpoint, origin: &str, keys: &[VerifierKey]) -> bool {
    checkpoint.unverified_origin() == origin
        && checkpoint.note().verify(keys).is_ok()
        && cosigners(checkpoint).next().is_some()
}

/// Names of those who cosigned a checkpoint, as they say.
pub(crate) fn cosigners(checkpoint: &SignedCheckpoint) -> impl Iterator<Item = &str> {
    let names = checkpoint.note().signatures().iter().map(|signature| signature.name().as_str());
    names.filter(|name| *name != checkpoint.unverified_origin())
}

fn contradicted(size: u64, found: &str) -> Error {
    let message = format!("a witness cosigned a checkpoint of size {size} that is not this store's");
    Error::new(Code::WitnessContradicts, message).expected("the checkpoint that was cosigned").found(found)
}
