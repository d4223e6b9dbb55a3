//! A `.tlog-proof`: position, inclusion proof and checkpoint in one text, all it takes to show offline that a leaf is in
//! a log (C2SP tlog-proof).

use crate::Hash;
use crate::base64;
use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use crate::merkle::ProofError;
use crate::note::NOTE_BYTES_MAX;
use crate::tiles::decimal;
use std::fmt;
use thiserror::Error;

use crate::policy::Policy;

/// First line of the text.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Bytes of extra data at the most.
pub const EXTRA_BYTES_MAX: usize = 64 << 10;

/// Hashes of an inclusion proof at the most: one for each bit of the largest size.
const HASHES_MAX: usize = u64::BITS as usize;

/// Bytes of the whole text at the most.
const PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + 2 * EXTRA_BYTES_MAX;

/// Why text is not such a proof, or does not prove.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlogProofError {
    /// More bytes than any proof has.
    #[error("a proof has at most {PROOF_BYTES_MAX} bytes, found {0}")]
    TooLong(usize),
    /// Another first line.
    #[error("expected {HEADER} in the first line")]
    Header,
    /// A line before the checkpoint is not as it should be.
    #[error("expected {expected} in line {line}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// No empty line before the checkpoint.
    #[error("expected an empty line and a checkpoint below the hashes")]
    NoCheckpoint,
    /// More hashes than any inclusion proof has.
    #[error("an inclusion proof has at most {HASHES_MAX} hashes")]
    TooManyHashes,
    /// More extra data than is read.
    #[error("at most {EXTRA_BYTES_MAX} bytes of extra data are read, found {0}")]
    ExtraTooLong(usize),
    /// The checkpoint is none, or not to be believed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The leaf is not where the proof says.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// That a leaf is at a position of a log, as it was read or put together: nothing in it is verified.
/// [`Display`](fmt::Display) writes it as it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    position: u64,
    extra: Option<Vec<u8>>,
    hashes: Vec<Hash>,
    checkpoint: SignedCheckpoint,
}

impl TlogProof {
    /// Puts a proof together: of the leaf at `position` with the hashes of [`crate::merkle::Tree::inclusion`] in the tree
    /// of the checkpoint.
    ///
    /// # Errors
    /// If there are more hashes than any proof has.
    pub fn new(
        position: u64,
        hashes: Vec<Hash>,
        checkpoint: SignedCheckpoint,
    ) -> Result<TlogProof, TlogProofError> {
        if hashes.len() > HASHES_MAX {
            return Err(TlogProofError::TooManyHashes);
        }
        Ok(TlogProof { position, extra: None, hashes, checkpoint })
    }

    /// The proof with extra data, which nothing vouches for; for example the leaf itself.
    ///
    /// # Errors
    /// If it is too long.
    pub fn with_extra(self, extra: Vec<u8>) -> Result<TlogProof, TlogProofError> {
        if extra.len() > EXTRA_BYTES_MAX {
            return Err(TlogProofError::ExtraTooLong(extra.len()));
        }
        Ok(TlogProof { extra: Some(extra), ..self })
    }

    /// Reads a proof of a Graven log. What is accepted is written again as the same bytes.
    ///
    /// # Errors
    /// If the bytes are not of this form.
    pub fn parse(bytes: &[u8]) -> Result<TlogProof, TlogProofError> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(TlogProofError::TooLong(bytes.len()));
        }
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").ok_or(TlogProofError::NoCheckpoint)?;
        let (above, checkpoint) = (&bytes[..end], &bytes[end + 2..]);
        let above = std::str::from_utf8(above).map_err(|_| TlogProofError::Header)?;
        let mut lines = above.split('\n').zip(1..).peekable();
        lines.next().filter(|(line, _)| *line == HEADER).ok_or(TlogProofError::Header)?;

        let mut extra = None;
        if let Some((encoded, line)) =
            lines.peek().and_then(|(text, line)| Some((text.strip_prefix("extra ")?, *line)))
        {
            let expected = "`extra` and base64";
            let decoded = base64::decode(encoded).ok_or(TlogProofError::Line { line, expected })?;
            if decoded.len() > EXTRA_BYTES_MAX {
                return Err(TlogProofError::ExtraTooLong(decoded.len()));
            }
            extra = Some(decoded);
            lines.next();
        }
        let index = lines.next();
        let line = index.map_or(above.split('\n').count() + 1, |(_, line)| line);
        let position = index.and_then(|(text, _)| decimal(text.strip_prefix("index ")?));
        let expected = "`index` and a number without leading zeroes";
        let position = position.ok_or(TlogProofError::Line { line, expected })?;

        let mut hashes = Vec::new();
        for (text, line) in lines {
            if hashes.len() == HASHES_MAX {
                return Err(TlogProofError::TooManyHashes);
            }
            let expected = "the base64 of a hash of 32 bytes";
            hashes.push(base64::decode_hash(text).ok_or(TlogProofError::Line { line, expected })?);
        }
        let checkpoint = SignedCheckpoint::parse(checkpoint)?;
        Ok(TlogProof { position, extra, hashes, checkpoint })
    }

    /// Position it claims for the leaf.
    #[must_use]
    pub fn unverified_position(&self) -> u64 {
        self.position
    }

    /// Extra data; never covered by the proof.
    #[must_use]
    pub fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// The hashes beside the leaf's path, from the leaf up.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The checkpoint it stands on.
    #[must_use]
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Verifies that the policy believes the checkpoint and that the leaf with this hash is at the position in its tree.
    /// Returns the checkpoint. That the leaf's own fields say this position too is for whoever has the leaf to compare.
    ///
    /// # Errors
    /// If one of them is not so.
    pub fn verify(&self, leaf: &Hash, policy: &Policy) -> Result<Checkpoint, TlogProofError> {
        let checkpoint = self.checkpoint.verify(policy)?;
        checkpoint.head().verify_inclusion(self.position, leaf, &self.hashes)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(out, "extra {}", base64::encode(extra))?;
        }
        writeln!(out, "index {}", self.position)?;
        self.hashes.iter().try_for_each(|hash| writeln!(out, "{}", base64::encode(hash)))?;
        write!(out, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests;
