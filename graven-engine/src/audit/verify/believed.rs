//! Whose signatures on checkpoints are believed, and for which sizes: keys known to begin with, and what the log says of its
//! keys since.

use graven_model::{Code, Error, Result};
use graven_proof::checkpoint::{CheckpointError, SignedCheckpoint};
use graven_proof::control::{KeyChange, KeySignature};
use graven_proof::finding::FindingCode;
use graven_proof::note::{Algorithm, NoteError, VerifierKey};
use graven_proof::policy::Policy;

/// A key and the sizes it may sign.
#[derive(Debug, Clone)]
struct Known {
    key: VerifierKey,
    from: u64,
    until: u64,
}

/// The keys that are believed. Without any, nobody's signatures are checked.
pub(super) struct Believed {
    keys: Vec<Known>,
    policy: Policy,
    origin: String,
}

impl Believed {
    /// Begins with these keys of a log.
    ///
    /// # Errors
    /// [`Code::BadRequest`] if two of them cannot be told apart.
    pub(super) fn new(keys: &[VerifierKey], origin: &str) -> Result<Believed> {
        let wrong = |error: &dyn std::fmt::Display| {
            Error::new(Code::BadRequest, format!("the keys to verify with: {error}"))
        };
        let lines: String = keys.iter().map(|key| format!("log {key}\n")).collect();
        let policy = Policy::parse(&format!("{lines}quorum none\n")).map_err(|error| wrong(&error))?;
        let keys = keys.iter().map(|key| Known { key: key.clone(), from: 0, until: u64::MAX }).collect();
        Ok(Believed { keys, policy, origin: origin.to_owned() })
    }

    /// Takes note of a change of keys that the log records. It counts if a believed key authorised it.
    pub(super) fn note(&mut self, change: &KeyChange) {
        let (vkey, signatures) = match change {
            KeyChange::Add { vkey, signatures, .. }
            | KeyChange::Retire { vkey, signatures, .. }
            | KeyChange::Revoke { vkey, signatures, .. } => (vkey, signatures),
        };
        let Ok(key) = vkey.parse::<VerifierKey>() else { return };
        if !self.authorised(change, signatures) || key.algorithm() != Algorithm::Ed25519 {
            return;
        }
        let known = self.keys.iter_mut().find(|known| known.key.public() == key.public());
        match (change, known) {
            (KeyChange::Add { valid_from, .. }, Some(known)) => known.from = *valid_from,
            (KeyChange::Add { valid_from, .. }, None) => {
                self.keys.push(Known { key, from: *valid_from, until: u64::MAX });
            }
            (KeyChange::Retire { valid_until: until, .. }, Some(known))
            | (KeyChange::Revoke { last_good: until, .. }, Some(known)) => {
                known.until = known.until.min(*until);
            }
            (_, None) => {}
        }
    }

    fn authorised(&self, change: &KeyChange, signatures: &[KeySignature]) -> bool {
        let signers = signatures.iter().filter_map(|signature| signature.signer(change, &self.origin));
        signers.into_iter().any(|signer| self.keys.iter().any(|known| known.key.public() == signer.public()))
    }

    /// The id of the key that signed; `None` if nobody's signatures are checked. `Err`: what is wrong, and what was found.
    pub(super) fn verify(
        &self,
        checkpoint: &SignedCheckpoint,
    ) -> std::result::Result<Option<String>, (FindingCode, String)> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        let size = checkpoint.unverified_head().size;
        let by = |may: &dyn Fn(&Known) -> bool| {
            let keys: Vec<VerifierKey> =
                self.keys.iter().filter(|known| may(known)).map(|known| known.key.clone()).collect();
            checkpoint.verify(&self.policy.with_logs(&keys))
        };
        match by(&|known| (known.from..=known.until).contains(&size)) {
            Ok(verified) => Ok(Some(verified.log_key().to_string())),
            Err(error) if stranger(&error) => Err(match by(&|_| true) {
                Ok(verified) => (
                    FindingCode::KeyOutOfRange,
                    format!("one of key {}, which may not sign this size", verified.log_key()),
                ),
                Err(error) if stranger(&error) => {
                    (FindingCode::KeyUnknown, "a checkpoint that none of the known keys signed".into())
                }
                Err(error) => (FindingCode::CheckpointSignatureInvalid, error.to_string()),
            }),
            Err(error) => Err((FindingCode::CheckpointSignatureInvalid, error.to_string())),
        }
    }
}

/// Whether none of the keys signed.
fn stranger(error: &CheckpointError) -> bool {
    matches!(error, CheckpointError::UntrustedLog(_) | CheckpointError::Note(NoteError::Unsigned(_)))
}
