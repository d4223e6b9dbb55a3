//! The audit trail over the network: checkpoints and proofs; what is done to the log and its verification; and a [`Pin`], with which a
//! client notices a history that was rewritten.

mod acts;
mod keys;
mod pin;

pub use acts::{Completeness, EndedVerification, RunningVerification, Seal, Verification, VerifyOptions};
pub use graven_model::erasure::{ErasureOutcome, ErasureRequest, ErasureTarget, HoldOn, ScavengeReport};
pub use keys::LogKey;
pub use pin::Pin;

use crate::client::{Client, Repeat};
use graven_model::{AppendRequest, Code, Error, Position, Receipt, Result};
use graven_proof::Hash;
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::note::VerifierKey;
use graven_proof::tlog_proof::TlogProof;
use graven_proto::wire;

/// Checkpoints and proofs of the log. With [`crate::Options::pin`] every checkpoint that comes, alone or within a proof, is verified and
/// compared with the one seen before; without it nothing of what comes is verified, and it is for the caller to do so.
impl Client {
    /// The latest checkpoint.
    ///
    /// # Errors
    /// With a pin [`Code::ProofInvalid`] and [`Code::InconsistentHistory`]; those of the server.
    pub async fn checkpoint(&self) -> Result<SignedCheckpoint> {
        self.fetch_checkpoint(wire::CheckpointRequest::default()).await
    }

    /// A checkpoint that covers at least so many events; it is signed now if the latest one does not.
    ///
    /// # Errors
    /// As [`Client::checkpoint`]; [`Code::SizeNotReached`] if the log has fewer events.
    pub async fn checkpoint_at_least(&self, events: u64) -> Result<SignedCheckpoint> {
        self.fetch_checkpoint(wire::CheckpointRequest { at_least: Some(events), size: None }).await
    }

    /// The checkpoint that was signed at exactly this size, as it was signed then.
    ///
    /// # Errors
    /// As [`Client::checkpoint`]; [`Code::NeverSigned`] if none was.
    pub async fn checkpoint_of(&self, size: u64) -> Result<SignedCheckpoint> {
        self.fetch_checkpoint(wire::CheckpointRequest { at_least: None, size: Some(size) }).await
    }

    async fn fetch_checkpoint(&self, request: wire::CheckpointRequest) -> Result<SignedCheckpoint> {
        let answer = self.call("the checkpoint", Repeat::Freely, request, async |mut service, request| {
            service.checkpoint(request).await
        });
        self.take(&answer.await?.checkpoint).await
    }

    /// Reads a checkpoint; with a pin it has to be believed, and of one history with the one seen before.
    async fn take(&self, checkpoint: &str) -> Result<SignedCheckpoint> {
        let checkpoint = SignedCheckpoint::parse(checkpoint.as_bytes())
            .map_err(|error| invalid(format!("the checkpoint does not read: {error}")))?;
        self.compare(&checkpoint).await?;
        Ok(checkpoint)
    }

    /// The keys the server says its checkpoints are verified with. Who trusts them trusts the server.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn verifier_keys(&self) -> Result<Vec<VerifierKey>> {
        let request = wire::VerifierKeysRequest {};
        let answer = self.call("the keys", Repeat::Freely, request, async |mut service, request| {
            service.verifier_keys(request).await
        });
        let key = |text: String| {
            text.parse().map_err(|error| invalid(format!("a verifier key does not read: {error}")))
        };
        answer.await?.vkeys.into_iter().map(key).collect()
    }

    /// Proves that the event at a position is in the log. The proof brings the event's leaf along as extra data.
    ///
    /// # Errors
    /// As [`Client::checkpoint`]; [`Code::SizeNotReached`] behind the end of the log.
    pub async fn inclusion(&self, position: Position) -> Result<TlogProof> {
        let request = wire::InclusionRequest { position: position.0, size: None, leaf: true };
        let answer = self.call("the proof", Repeat::Freely, request, async |mut service, request| {
            service.inclusion(request).await
        });
        self.judge(position, &answer.await?.proof).await
    }

    /// The hashes that show the log of `to` events to begin with what it held at `from` events.
    ///
    /// # Errors
    /// [`Code::SizeNotReached`], [`Code::BadRequest`] for `from` 0 or above `to`; those of the connection.
    pub async fn consistency(&self, from: u64, to: u64) -> Result<Vec<Hash>> {
        let request = wire::ConsistencyRequest { from, to };
        let answer = self.call("the proof", Repeat::Freely, request, async |mut service, request| {
            service.consistency(request).await
        });
        let hash = |bytes: bytes::Bytes| bytes.as_ref().try_into().ok();
        let hashes = answer.await?.hashes.into_iter().map(hash).collect::<Option<_>>();
        hashes.ok_or_else(|| invalid("a hash has not 32 bytes"))
    }

    /// The bytes of the leaf at a position, as the tree hashes them.
    ///
    /// # Errors
    /// [`Code::SizeNotReached`] behind the end of the log; those of the connection.
    pub async fn leaf(&self, position: Position) -> Result<Vec<u8>> {
        let request = wire::LeafRequest { position: position.0 };
        let answer = self.call("the leaf", Repeat::Freely, request, async |mut service, request| {
            service.leaf(request).await
        });
        Ok(answer.await?.leaf.into())
    }

    /// Appends, and waits until the last event is under a signed checkpoint: the proof says so, and brings the event's leaf along. There is
    /// none for an append that has no events. In a call of its own, not gathered with others.
    ///
    /// # Errors
    /// As [`crate::EventStore::append`]. With a pin also [`Code::ProofInvalid`] and [`Code::InconsistentHistory`]; the events
    /// are durable then all the same. After [`Code::Timeout`] the same append with the same ids is answered with receipt and proof.
    pub async fn append_proven(&self, request: AppendRequest) -> Result<(Receipt, Option<TlogProof>)> {
        let request = wire::AppendRequest { proof: true, ..(&request).into() };
        let answer = self.call("the append", Repeat::IfUntouched, request, async |mut service, request| {
            service.append(request).await
        });
        let mut answer = answer.await?;
        let proof = std::mem::take(&mut answer.proof);
        let receipt = self.acknowledged(answer)?;
        match receipt.last_position {
            Some(last) => Ok((receipt, Some(self.judge(last, &proof).await?))),
            None => Ok((receipt, None)),
        }
    }

    /// The checkpoint that is pinned now, to be kept for the next time: see [`Pin::at`]. `None` without a pin, or before the first
    /// checkpoint came.
    pub async fn pinned(&self) -> Option<SignedCheckpoint> {
        self.pin()?.lock().await.last().cloned()
    }

    /// Reads a proof; with a pin it has to hold.
    async fn judge(&self, position: Position, proof: &str) -> Result<TlogProof> {
        let proof = TlogProof::parse(proof.as_bytes())
            .map_err(|error| invalid(format!("the proof does not read: {error}")))?;
        if let Some(pin) = self.pin() {
            pin.lock().await.judge(position, &proof)?;
            self.compare(proof.checkpoint()).await?;
        }
        Ok(proof)
    }

    /// With a pin: believes a checkpoint, and demands that it and the one seen before are of one history.
    async fn compare(&self, checkpoint: &SignedCheckpoint) -> Result<()> {
        let Some(pin) = self.pin() else { return Ok(()) };
        let mut pin = pin.lock().await;
        let proof = match pin.proof_needed(checkpoint)? {
            Some((from, to)) => Some(self.consistency(from, to).await?),
            None => None,
        };
        pin.advance(checkpoint, proof.as_deref())
    }
}

fn invalid(what: impl Into<String>) -> Error {
    Error::new(Code::ProofInvalid, what)
}
