//! [`Pin`]: the last checkpoint somebody saw, with which the next one has to be consistent.

use super::invalid;
use graven_model::{Code, Error, Position, Result};
use graven_proof::Hash;
use graven_proof::checkpoint::{Checkpoint, SignedCheckpoint};
use graven_proof::leaf::Leaf;
use graven_proof::merkle::leaf_hash;
use graven_proof::policy::Policy;
use graven_proof::tlog_proof::TlogProof;

/// Whom a client believes, and what it saw last. A server whose history was rewritten or put back cannot show that its checkpoint
/// follows from that one, even if it has the key.
///
/// ```
/// use graven_client::{Options, Pin};
/// use graven_proof::policy::Policy;
///
/// # fn example(kept: Option<&[u8]>, vkey: &str) -> Result<(), Box<dyn std::error::Error>> {
/// // The key comes from elsewhere than the server; `kept` is what `Client::pinned` gave the last time.
/// let policy = Policy::parse(&format!("log {vkey}\nquorum none\n"))?;
/// let pin = match kept {
///     Some(note) => Pin::at(policy, graven_proof::checkpoint::SignedCheckpoint::parse(note)?),
///     None => Pin::new(policy),
/// };
/// let options = Options { pin: Some(pin), ..Options::default() };
/// # let _ = options;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    policy: Policy,
    last: Option<SignedCheckpoint>,
}

impl Pin {
    /// Nothing was seen yet: the first checkpoint is taken as it comes, if the policy believes it.
    #[must_use]
    pub fn new(policy: Policy) -> Pin {
        Pin { policy, last: None }
    }

    /// This checkpoint was seen.
    #[must_use]
    pub fn at(policy: Policy, last: SignedCheckpoint) -> Pin {
        Pin { policy, last: Some(last) }
    }

    /// What was seen last: the largest of all.
    pub(super) fn last(&self) -> Option<&SignedCheckpoint> {
        self.last.as_ref()
    }

    /// Verifies a proof of the event at a position.
    pub(super) fn judge(&self, position: Position, proof: &TlogProof) -> Result<()> {
        let leaf = proof.extra().ok_or_else(|| invalid("the proof brings no leaf along"))?;
        proof
            .verify(&leaf_hash(leaf), &self.policy)
            .map_err(|error| invalid(format!("the proof does not hold: {error}")))?;
        let said =
            Leaf::decode(leaf).map_err(|error| invalid(format!("the leaf does not read: {error}")))?.position;
        if proof.unverified_position() != position.0 || said != position.0 {
            return Err(invalid("the proof is one of another event")
                .expected(format!("position {position}"))
                .found(format!("position {said}")));
        }
        Ok(())
    }

    /// Between which sizes consistency is to be shown before [`Pin::advance`]; nothing if there is nothing to show.
    pub(super) fn proof_needed(&self, new: &SignedCheckpoint) -> Result<Option<(u64, u64)>> {
        let (Some(old), new) = (self.seen()?, self.believe(new)?) else { return Ok(None) };
        let (from, to) = ordered(&old, &new);
        let (from, to) = (from.head().size, to.head().size);
        Ok((from > 0 && from < to).then_some((from, to)))
    }

    /// Takes a checkpoint that is of one history with what was seen, by this proof, and remembers the larger one.
    pub(super) fn advance(&mut self, signed: &SignedCheckpoint, proof: Option<&[Hash]>) -> Result<()> {
        let new = self.believe(signed)?;
        let Some(old) = self.seen()? else {
            self.last = Some(signed.clone());
            return Ok(());
        };
        let rewritten = |found: String| {
            Error::new(Code::InconsistentHistory, "the history is not the one this client saw before")
                .expected(format!("one with the {} events of {}", old.head().size, old.origin()))
                .found(found)
        };
        if old.origin() != new.origin() {
            return Err(rewritten(format!("another log, {}", new.origin())));
        }
        let (from, to) = ordered(&old, &new);
        match proof {
            Some(proof) => to
                .head()
                .verify_consistency(from.head(), proof)
                .map_err(|error| rewritten(format!("{} events: {error}", new.head().size)))?,
            None if from.head().size == to.head().size && from.head().root != to.head().root => {
                return Err(rewritten("another root at the same size".to_owned()));
            }
            None => {}
        }
        if new.head().size > old.head().size {
            self.last = Some(signed.clone());
        }
        Ok(())
    }

    fn seen(&self) -> Result<Option<Checkpoint>> {
        self.last.as_ref().map(|last| self.believe(last)).transpose()
    }

    fn believe(&self, checkpoint: &SignedCheckpoint) -> Result<Checkpoint> {
        checkpoint
            .verify(&self.policy)
            .map_err(|error| invalid(format!("the checkpoint is not to be believed: {error}")))
    }
}

/// The smaller of two checkpoints, then the larger.
fn ordered<'a>(one: &'a Checkpoint, other: &'a Checkpoint) -> (&'a Checkpoint, &'a Checkpoint) {
    if one.head().size <= other.head().size { (one, other) } else { (other, one) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graven_proof::merkle::{Tree, node_hash};
    use graven_proof::note::{Algorithm, SignerKey};
    use std::convert::Infallible;

    fn key(seed: u8) -> SignerKey {
        SignerKey::from_seed("log.example/1".parse().unwrap(), Algorithm::Ed25519, &[seed; 32])
    }

    /// A log of leaves whose hashes these are.
    fn tree(
        leaves: &[Hash],
        size: u64,
    ) -> Tree<impl FnMut(u8, u64) -> std::result::Result<Hash, Infallible> + '_> {
        fn root(leaves: &[Hash]) -> Hash {
            match leaves {
                [one] => *one,
                _ => {
                    let (left, right) = leaves.split_at(leaves.len() / 2);
                    node_hash(&root(left), &root(right))
                }
            }
        }
        Tree::new(size, move |level, index| {
            let width = 1usize << level;
            Ok(root(&leaves[index as usize * width..][..width]))
        })
    }

    fn signed(leaves: &[Hash], size: u64, seed: u8) -> SignedCheckpoint {
        SignedCheckpoint::sign(&tree(leaves, size).head().unwrap(), &key(seed), &[], 0).unwrap()
    }

    fn pin() -> Pin {
        Pin::new(Policy::operator_alone(vec![key(1).verifier().clone()]).unwrap())
    }

    fn leaves(fork_at: usize) -> Vec<Hash> {
        (0..16).map(|number| [if number < fork_at { number as u8 } else { 100 }; 32]).collect()
    }

    /// Shows a pin a checkpoint of a log, with the proof it asks for made from that log.
    fn show(pin: &mut Pin, leaves: &[Hash], size: u64) -> Result<()> {
        let checkpoint = signed(leaves, size, 1);
        let proof =
            pin.proof_needed(&checkpoint)?.map(|(from, to)| tree(leaves, to).consistency(from).unwrap());
        pin.advance(&checkpoint, proof.as_deref())
    }

    #[test]
    fn a_log_that_grows_is_followed_and_an_older_checkpoint_of_it_is_accepted() {
        let (mut pin, log) = (pin(), leaves(16));
        for size in [3, 3, 8, 13, 5, 13, 16] {
            show(&mut pin, &log, size).unwrap();
        }
        assert_eq!(pin.last().unwrap().unverified_head().size, 16);
    }

    #[test]
    fn a_history_that_was_rewritten_is_refused_at_every_size() {
        let (log, other) = (leaves(16), leaves(4));
        for size in 5..=16 {
            let mut pin = pin();
            show(&mut pin, &log, 7).unwrap();
            let error = show(&mut pin, &other, size).unwrap_err();
            assert_eq!(error.code, Code::InconsistentHistory, "{size}: {error}");
            assert_eq!(pin.last().unwrap().unverified_head().size, 7, "what was seen stays");
        }
    }

    #[test]
    fn what_another_key_signed_is_not_believed() {
        let (mut pin, log) = (pin(), leaves(16));
        show(&mut pin, &log, 7).unwrap();
        let error = pin.proof_needed(&signed(&log, 8, 2)).unwrap_err();
        assert_eq!(error.code, Code::ProofInvalid);
        assert_eq!(pin.advance(&signed(&log, 8, 2), None).unwrap_err().code, Code::ProofInvalid);
    }
}
