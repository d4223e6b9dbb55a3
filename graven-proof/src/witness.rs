//! What a log and its witnesses say to each other (C2SP tlog-witness), and how a witness decides.
//!
//! A log sends [`AddCheckpoint`]; [`judge`] says whether a witness may cosign, given the last head it cosigned. It knows
//! no clock and keeps nothing: whoever calls it keeps the new head before the cosignature goes out.

use crate::Hash;
use crate::base64;
use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::merkle::{ProofError, TreeHead, empty_root};
use crate::note::{NoteError, SIGNATURES_MAX, Signature, VerifierKey};
use crate::tiles::decimal;
use std::fmt;
use thiserror::Error;

/// Hashes of a consistency proof at the most, as the specification has it.
pub const PROOF_HASHES_MAX: usize = 63;

/// Bytes of a request at the most: a longest proof and some twenty signatures, of which one may be post-quantum.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Bytes of an answer at the most: a few signature lines, or a size.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Path of the call under a witness's URL.
pub const ADD_CHECKPOINT: &str = "/add-checkpoint";

/// Media type of an answer that says which size the witness knows.
pub const SIZE_MEDIA_TYPE: &str = "text/x.tlog.size";

/// Why bytes are no request to a witness, or no answer of one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// More bytes than any request has.
    #[error("a request has at most {REQUEST_BYTES_MAX} bytes, found {0}")]
    TooLong(usize),
    /// The first line is not as it should be.
    #[error("expected `old` and a size without leading zeroes in the first line")]
    OldSize,
    /// A line below the first is no hash.
    #[error("expected the base64 of a hash of 32 bytes in line {0}")]
    Hash(usize),
    /// More hashes than the specification allows.
    #[error("a consistency proof has at most {PROOF_HASHES_MAX} hashes")]
    TooManyHashes,
    /// No empty line before the checkpoint.
    #[error("expected an empty line and a checkpoint below the proof")]
    NoCheckpoint,
    /// The checkpoint is none.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An answer that should be signature lines is none.
    #[error("expected 1 to {SIGNATURES_MAX} signature lines in the witness's answer")]
    Cosignatures,
    /// An answer that should be a size is none.
    #[error("expected a size in decimal digits and a line feed in the witness's answer")]
    Size,
}

/// A log asks a witness to cosign a checkpoint, as it was read or put together: nothing in it is verified.
/// [`Display`](fmt::Display) writes the body of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    old_size: u64,
    proof: Vec<Hash>,
    checkpoint: SignedCheckpoint,
}

impl AddCheckpoint {
    /// A request to cosign `checkpoint` to a witness that last cosigned the tree of `old_size` leaves, with the proof
    /// that leads from there ([`crate::merkle::Tree::consistency`]); empty for size 0 and for the same size.
    ///
    /// # Errors
    /// If the proof is longer than a witness reads.
    pub fn new(
        old_size: u64,
        proof: Vec<Hash>,
        checkpoint: SignedCheckpoint,
    ) -> Result<AddCheckpoint, WitnessError> {
        if proof.len() > PROOF_HASHES_MAX {
            return Err(WitnessError::TooManyHashes);
        }
        Ok(AddCheckpoint { old_size, proof, checkpoint })
    }

    /// Reads the body of a request, with a checkpoint of any log. What is accepted is written again as the same bytes.
    ///
    /// # Errors
    /// If the bytes are not of this form.
    pub fn parse(bytes: &[u8]) -> Result<AddCheckpoint, WitnessError> {
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(WitnessError::TooLong(bytes.len()));
        }
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").ok_or(WitnessError::NoCheckpoint)?;
        let (above, checkpoint) = (&bytes[..end], &bytes[end + 2..]);
        let above = std::str::from_utf8(above).map_err(|_| WitnessError::OldSize)?;
        let mut lines = above.split('\n');
        let old_size = lines.next().and_then(|line| decimal(line.strip_prefix("old ")?));
        let old_size = old_size.ok_or(WitnessError::OldSize)?;
        let mut proof = Vec::new();
        for (line, number) in lines.zip(2..) {
            if proof.len() == PROOF_HASHES_MAX {
                return Err(WitnessError::TooManyHashes);
            }
            proof.push(base64::decode_hash(line).ok_or(WitnessError::Hash(number))?);
        }
        let checkpoint = SignedCheckpoint::parse_foreign(checkpoint)?;
        Ok(AddCheckpoint { old_size, proof, checkpoint })
    }

    /// Size of the last tree the log believes the witness to have cosigned.
    #[must_use]
    pub fn old_size(&self) -> u64 {
        self.old_size
    }

    /// The consistency proof.
    #[must_use]
    pub fn proof(&self) -> &[Hash] {
        &self.proof
    }

    /// The checkpoint to cosign.
    #[must_use]
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|hash| writeln!(out, "{}", base64::encode(hash)))?;
        write!(out, "\n{}", self.checkpoint)
    }
}

/// What a witness knows of a log that it has cosigned nothing of yet.
#[must_use]
pub fn nothing_seen() -> TreeHead {
    TreeHead { size: 0, root: empty_root() }
}

/// Why a witness does not cosign. The order is that of the checks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// None of the known keys has the origin as its name.
    #[error("the log {0:?} is not known here")]
    UnknownLog(String),
    /// No known key of the log signed, or a signature that claims to be of one does not verify.
    #[error("the checkpoint is not signed by a known key of its log: {0}")]
    Signature(NoteError),
    /// The proof is said to begin at a size above the checkpoint's.
    #[error("the old size {old_size} is above the checkpoint's size {size}")]
    OldAboveNew {
        /// Size the proof is said to begin at.
        old_size: u64,
        /// Size of the checkpoint.
        size: u64,
    },
    /// The witness's last head has another size than the log believes.
    #[error("the last cosigned size is {seen}, not {old_size}")]
    OtherOldSize {
        /// Size the witness cosigned last.
        seen: u64,
        /// Size the log believes it to be.
        old_size: u64,
    },
    /// The log signed two trees of one size: a fork, shown by its own key.
    #[error("another root was cosigned for size {0}: the log has two histories")]
    Forked(u64),
    /// The proof does not lead from the last head to this one.
    #[error("the checkpoint does not continue what was cosigned: {0}")]
    Inconsistent(ProofError),
}

impl Refusal {
    /// HTTP status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Refusal::UnknownLog(_) => 404,
            Refusal::Signature(_) => 403,
            Refusal::OldAboveNew { .. } => 400,
            Refusal::OtherOldSize { .. } | Refusal::Forked(_) => 409,
            Refusal::Inconsistent(_) => 422,
        }
    }

    /// The size to answer with, of the refusals that say one.
    #[must_use]
    pub fn known_size(&self) -> Option<u64> {
        match self {
            Refusal::OtherOldSize { seen, .. } => Some(*seen),
            Refusal::Forked(size) => Some(*size),
            _ => None,
        }
    }
}

/// Whether a witness that last cosigned `seen` of this log ([`nothing_seen`] at first) may cosign. Returns the head it
/// then has to remember, before anybody gets to see the cosignature; `seen` must not have changed meanwhile.
///
/// `known` are the keys of the logs it knows; a log is known by the name of its key, which is its origin.
///
/// # Errors
/// [`Refusal`]; nothing is to be remembered then.
pub fn judge(seen: &TreeHead, request: &AddCheckpoint, known: &[VerifierKey]) -> Result<TreeHead, Refusal> {
    let checkpoint = &request.checkpoint;
    let origin = checkpoint.unverified_origin();
    let keys: Vec<VerifierKey> = known.iter().filter(|key| key.name().as_str() == origin).cloned().collect();
    if keys.is_empty() {
        return Err(Refusal::UnknownLog(origin.to_owned()));
    }
    checkpoint.note().verify(&keys).map_err(Refusal::Signature)?;

    let new = checkpoint.unverified_head();
    if request.old_size > new.size {
        return Err(Refusal::OldAboveNew { old_size: request.old_size, size: new.size });
    }
    if request.old_size != seen.size {
        return Err(Refusal::OtherOldSize { seen: seen.size, old_size: request.old_size });
    }
    if new.size == seen.size && new.root != seen.root {
        return Err(Refusal::Forked(seen.size));
    }
    let proven = match seen.size {
        // there is nothing to be consistent with, and so nothing to prove
        0 if request.proof.is_empty() => Ok(()),
        0 => Err(ProofError::Length { expected: 0, found: request.proof.len() }),
        _ => new.verify_consistency(seen, &request.proof),
    };
    proven.map_err(Refusal::Inconsistent)?;
    Ok(new)
}

/// Body of the answer that says which size the witness cosigned last.
#[must_use]
pub fn size_answer(size: u64) -> String {
    format!("{size}\n")
}

/// Reads the body of an answer that says which size the witness cosigned last.
///
/// # Errors
/// If it is anything but a size and a line feed.
pub fn parse_size(body: &[u8]) -> Result<u64, WitnessError> {
    let text = std::str::from_utf8(body).ok();
    text.and_then(|text| decimal(text.strip_suffix('\n')?)).ok_or(WitnessError::Size)
}

/// Reads the body of the answer of a witness that cosigned. Whether the signatures verify is for [`cosigned`] to say.
///
/// # Errors
/// If it is anything but signature lines.
pub fn parse_cosignatures(body: &[u8]) -> Result<Vec<Signature>, WitnessError> {
    let text = std::str::from_utf8(body).map_err(|_| WitnessError::Cosignatures)?;
    let mut signatures = Vec::new();
    for line in text.split_inclusive('\n') {
        let signature = line.strip_suffix('\n').and_then(|line| line.parse().ok());
        signatures.push(signature.ok_or(WitnessError::Cosignatures)?);
        if signatures.len() > SIGNATURES_MAX {
            return Err(WitnessError::Cosignatures);
        }
    }
    if signatures.is_empty() { Err(WitnessError::Cosignatures) } else { Ok(signatures) }
}

/// The first of these signatures that the witness with this key made of the checkpoint, and when, in seconds since 1970
/// by its clock. Signatures of other keys are passed over.
///
/// # Errors
/// If there is none, or one that claims to be of this key does not verify.
pub fn cosigned(
    checkpoint: &SignedCheckpoint,
    answer: &[Signature],
    witness: &VerifierKey,
) -> Result<(Signature, u64), NoteError> {
    let is_its =
        |signature: &&Signature| signature.name() == witness.name() && signature.id() == witness.id();
    let signature = answer.iter().find(is_its).ok_or(NoteError::Unsigned(1))?;
    let time = witness.cosigned_at(checkpoint.note().unverified_text(), signature);
    let time = time.ok_or_else(|| NoteError::Forged { name: witness.name().clone(), id: witness.id() })?;
    Ok((signature.clone(), time))
}

#[cfg(test)]
mod tests;
