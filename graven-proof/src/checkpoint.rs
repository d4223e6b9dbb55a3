//! Checkpoints: the head of a log's tree as a signed note (C2SP tlog-checkpoint).
//!
//! [`SignedCheckpoint`] is what was read and proves nothing. A [`Checkpoint`] can be had only by verifying one against a
//! [`Policy`], so whoever holds one knows who vouches for it.

use crate::base64;
use crate::merkle::TreeHead;
use crate::note::{Algorithm, KeyId, KeyName, Note, NoteError, Signature, SignerKey};
use crate::policy::Policy;
use crate::tiles::decimal;
use std::fmt;
use thiserror::Error;

/// Why bytes are not a checkpoint, or a checkpoint is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It is no signed note, or a signature of a trusted key does not verify.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text has fewer than three lines, or an empty one.
    #[error("expected an origin, a size and a root hash, each on a line of its own")]
    Lines,
    /// The second line is no number.
    #[error("expected a tree size in decimal digits without leading zeroes, found {0:?}")]
    Size(String),
    /// The third line is no hash.
    #[error("expected the base64 of a root hash of 32 bytes, found {0:?}")]
    Root(String),
    /// The log says more than the three lines, which nobody can audit.
    #[error("expected no lines after the root hash, found {0}")]
    Extensions(usize),
    /// A checkpoint of this log is signed by another kind of key.
    #[error("a log signs its checkpoints with an Ed25519 key, {0} is a key for cosignatures")]
    CosigningLog(KeyName),
    /// None of the trusted logs signed it, or none whose name is the origin.
    #[error("the checkpoint of {0:?} is not signed by a trusted log of this name")]
    UntrustedLog(String),
    /// Too few of the witnesses that the policy asks for cosigned it.
    #[error("the quorum {quorum} is missing: {cosigned} of {known} known witnesses cosigned")]
    QuorumMissing {
        /// Name of the quorum in the policy.
        quorum: String,
        /// Known witnesses that cosigned.
        cosigned: usize,
        /// Witnesses that the policy knows.
        known: usize,
    },
}

/// A checkpoint as it was read or just signed: nothing in it is verified. [`Display`](fmt::Display) writes it as it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    note: Note,
    origin: String,
    head: TreeHead,
    extensions: usize,
}

impl SignedCheckpoint {
    /// Reads a checkpoint of a Graven log, which has three lines of text and no more. What is accepted is written again
    /// as the same bytes.
    ///
    /// # Errors
    /// If the bytes are not of this form.
    pub fn parse(bytes: &[u8]) -> Result<SignedCheckpoint, CheckpointError> {
        let checkpoint = SignedCheckpoint::parse_foreign(bytes)?;
        match checkpoint.extensions {
            0 => Ok(checkpoint),
            lines => Err(CheckpointError::Extensions(lines)),
        }
    }

    /// Reads a checkpoint of any log: as [`SignedCheckpoint::parse`], but lines after the root hash are tolerated. They
    /// are covered by the signatures and mean nothing here.
    ///
    /// # Errors
    /// If the bytes are no checkpoint.
    pub fn parse_foreign(bytes: &[u8]) -> Result<SignedCheckpoint, CheckpointError> {
        SignedCheckpoint::read(Note::parse(bytes)?)
    }

    fn read(note: Note) -> Result<SignedCheckpoint, CheckpointError> {
        let mut lines = note.unverified_text().split_terminator('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Lines);
        };
        let rest: Vec<&str> = lines.collect();
        if origin.is_empty() || rest.contains(&"") {
            return Err(CheckpointError::Lines);
        }
        let size = decimal(size).ok_or_else(|| CheckpointError::Size(size.chars().take(40).collect()))?;
        let root = base64::decode_hash(root)
            .ok_or_else(|| CheckpointError::Root(root.chars().take(80).collect()))?;
        let (origin, extensions) = (origin.to_owned(), rest.len());
        Ok(SignedCheckpoint { origin, head: TreeHead { size, root }, extensions, note })
    }

    /// Signs the head of the log whose name the key has: its origin is the key's name. `cosigners` sign it too, as
    /// having seen it at `time`, in seconds since 1970.
    ///
    /// Whoever calls this makes sure that the head is durable and consistent with every one signed before.
    ///
    /// # Errors
    /// If the log's key is one for cosignatures, or there are too many cosigners.
    pub fn sign(
        head: &TreeHead,
        log: &SignerKey,
        cosigners: &[&SignerKey],
        time: u64,
    ) -> Result<SignedCheckpoint, CheckpointError> {
        let origin = log.verifier().name();
        if log.verifier().algorithm() != Algorithm::Ed25519 {
            return Err(CheckpointError::CosigningLog(origin.clone()));
        }
        let text = text(origin.as_str(), head);
        let keys: Vec<&SignerKey> = [log].into_iter().chain(cosigners.iter().copied()).collect();
        SignedCheckpoint::read(Note::sign(&text, &keys, time)?)
    }

    /// The checkpoint with a witness's signature added. Whether it verifies is for the policy to say.
    ///
    /// # Errors
    /// If the note would exceed a bound.
    pub fn with(self, cosignature: Signature) -> Result<SignedCheckpoint, CheckpointError> {
        Ok(SignedCheckpoint { note: self.note.with(cosignature)?, ..self })
    }

    /// The note: its text is what witnesses cosign.
    #[must_use]
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Which log it claims to be of.
    #[must_use]
    pub fn unverified_origin(&self) -> &str {
        &self.origin
    }

    /// The head it claims.
    #[must_use]
    pub fn unverified_head(&self) -> TreeHead {
        self.head
    }

    /// Verifies that a log the policy trusts signed, with a key whose name is the origin, and that the quorum of
    /// witnesses cosigned.
    ///
    /// # Errors
    /// If one of them did not, or a signature that claims to be of one of these keys does not verify.
    pub fn verify(&self, policy: &Policy) -> Result<Checkpoint, CheckpointError> {
        let keys = policy.keys();
        let verified = self.note.verify_any(&keys)?;
        let logs = policy.logs().len();
        let is_log = |key: usize| key < logs && keys[key].name().as_str() == self.origin;
        let Some(log) = verified.signers().iter().find(|signer| is_log(signer.key)) else {
            return Err(CheckpointError::UntrustedLog(self.origin.clone()));
        };
        let mut cosignatures = Vec::new();
        let mut cosigned = vec![false; policy.witnesses().len()];
        for signer in verified.signers() {
            if let (Some(witness), Some(time)) = (signer.key.checked_sub(logs), signer.time) {
                let key = &keys[signer.key];
                cosignatures.push(Cosignature { witness: key.name().clone(), id: key.id(), time });
                cosigned[witness] = true;
            }
        }
        if !policy.is_quorum(&cosigned) {
            return Err(CheckpointError::QuorumMissing {
                quorum: policy.quorum().to_owned(),
                cosigned: cosignatures.len(),
                known: cosigned.len(),
            });
        }
        Ok(Checkpoint { origin: self.origin.clone(), head: self.head, log: keys[log.key].id(), cosignatures })
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(out)
    }
}

/// The text of a checkpoint: three lines.
fn text(origin: &str, head: &TreeHead) -> String {
    format!("{origin}\n{}\n{}\n", head.size, base64::encode(&head.root))
}

/// A checkpoint that a trusted log signed and the quorum of witnesses cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    head: TreeHead,
    log: KeyId,
    cosignatures: Vec<Cosignature>,
}

/// A witness's word that it saw this head, and nothing that contradicts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// Name of the witness's key.
    pub witness: KeyName,
    /// Id of that key.
    pub id: KeyId,
    /// When, in seconds since 1970, by the witness's clock.
    pub time: u64,
}

impl Checkpoint {
    /// Which log it is of.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Size and root of the log's tree. What this head verifies is in the log.
    #[must_use]
    pub fn head(&self) -> &TreeHead {
        &self.head
    }

    /// Id of the log's key that signed.
    #[must_use]
    pub fn log_key(&self) -> KeyId {
        self.log
    }

    /// Witnesses the policy knows and that cosigned, whether the quorum needs them or not.
    #[must_use]
    pub fn cosignatures(&self) -> &[Cosignature] {
        &self.cosignatures
    }
}

#[cfg(test)]
mod tests;
