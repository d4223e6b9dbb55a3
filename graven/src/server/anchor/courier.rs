//! One witness: what it is sent, and what it answers.

use super::post::{Answer, Post};
use super::{AnchoredLog, Mode, Shared, back_off, lock};
use graven_model::{Code, Error, Result};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::note::{Signature, VerifierKey};
use graven_proof::witness::{AddCheckpoint, cosigned, parse_cosignatures, parse_size};

/// Requests for one checkpoint at the most: one that asks for the witness's size, one that has the proof from there, and
/// one more in case another server of this log was faster.
const TRIES: usize = 3;

/// Sends checkpoints to one witness.
pub(super) struct Courier {
    index: usize,
    key: VerifierKey,
    post: Post,
    /// Size the witness cosigned last, as far as is known; 0 asks.
    known: u64,
}

impl Courier {
    /// For the witness with this key, which is number `index` of the policy.
    pub(super) fn new(index: usize, key: VerifierKey, post: Post) -> Courier {
        Courier { index, key, post, known: 0 }
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// What the witness is known to have cosigned.
    pub(super) fn remember(&mut self, size: u64) {
        self.known = size;
    }

    /// Sends until it is told to stop.
    pub(super) fn run(mut self, shared: &Shared) {
        let (mut failures, mut tried) = (0, None);
        let mut pause = std::time::Duration::ZERO;
        while shared.pause(pause) {
            pause = shared.settings.interval;
            let Some(newest) = shared.log.latest() else { continue };
            let target = lock(&shared.standing).target(newest, &shared.settings);
            let size = target.unverified_head().size;
            let dropped = shared.settings.mode == Mode::Drop && tried == Some(size);
            if dropped || lock(&shared.standing).size_of(self.index) == size {
                continue;
            }
            tried = Some(size);
            match self.send(&target, &*shared.log).and_then(|(signature, time)| {
                let policy = shared.policy()?;
                let mut standing = lock(&shared.standing);
                standing.keep(self.index, &target, signature, time, policy.as_ref())
            }) {
                Ok(()) => failures = 0,
                Err(error) => {
                    let urgent = error.code == Code::WitnessContradicts;
                    match (urgent, failures) {
                        (true, _) => tracing::error!(witness = %self.key.name(), "{error}"),
                        // told once; it is in the report as long as it lasts
                        (false, 0) => tracing::warn!(witness = %self.key.name(), "{error}"),
                        _ => tracing::debug!(witness = %self.key.name(), "{error}"),
                    }
                    failures += 1;
                    if shared.settings.mode != Mode::Drop {
                        pause = back_off(failures - 1, shared.settings.interval);
                    }
                    lock(&shared.standing).failed(self.index, error, shared.now_us());
                }
            }
        }
    }

    /// Has the witness cosign a checkpoint.
    fn send(&mut self, checkpoint: &SignedCheckpoint, log: &dyn AnchoredLog) -> Result<(Signature, u64)> {
        let size = checkpoint.unverified_head().size;
        for _ in 0..TRIES {
            if self.known > size {
                let newest = log.latest().map_or(0, |latest| latest.unverified_head().size);
                let known = std::mem::take(&mut self.known);
                if known > newest {
                    return Err(self
                        .contradicts(format!("cosigned size {known}"))
                        .expected(format!("at most the {newest} events this store signed for")));
                }
                return Err(self.failed(format!("has cosigned size {known} by now")));
            }
            let proof = match self.known {
                0 => Vec::new(),
                known if known == size => Vec::new(),
                known => log.consistency(known, size)?,
            };
            let asked = self.known;
            let request = AddCheckpoint::new(asked, proof, checkpoint.clone())
                .map_err(|error| Error::new(Code::Internal, error.to_string()))?;
            let Answer { status, body } = self.post.send(request.to_string().as_bytes())?;
            match status {
                200 => {
                    let cosigned = parse_cosignatures(&body)
                        .map_err(|error| self.failed(format!("did not answer as one: {error}")))
                        .and_then(|answer| {
                            cosigned(checkpoint, &answer, &self.key)
                                .map_err(|error| self.failed(format!("did not cosign: {error}")))
                        })?;
                    self.known = size;
                    return Ok(cosigned);
                }
                409 => {
                    let told = parse_size(&body)
                        .map_err(|error| self.failed(format!("did not answer as one: {error}")))?;
                    if told == asked {
                        self.known = 0;
                        return Err(self.contradicts(format!("cosigned another root of size {told}")));
                    }
                    self.known = told;
                }
                422 => {
                    self.known = 0;
                    return Err(self.contradicts(format!(
                        "says that size {size} does not continue the size {asked} it cosigned"
                    )));
                }
                404 => {
                    return Err(self.failed("does not know this log: give it the log's verifier key".into()));
                }
                403 => return Err(self.failed("does not know the key that signs now".into())),
                status => return Err(self.failed(format!("answered with status {status}"))),
            }
        }
        Err(self.failed("names another size each time".into()))
    }

    fn failed(&self, what: String) -> Error {
        let (name, url) = (self.key.name(), self.post.url());
        Error::new(Code::AnchorFailed, format!("the witness {name} at {url} {what}"))
    }

    fn contradicts(&self, what: String) -> Error {
        Error { code: Code::WitnessContradicts, ..self.failed(what) }
    }
}
