//! Where witnesses and authority stand: what is sent next, what came back, what is still unwitnessed.

use super::cosignatures::Cosignatures;
use super::{AnchorSettings, Mode};
use graven_model::{Code, Error, Result, Timestamp};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::note::Signature;
use graven_proof::policy::{NO_QUORUM, Policy};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use utoipa::ToSchema;

/// Cosigned checkpoints held in memory, newest ones.
const RECENT_MAX: usize = 64;

/// How long witnesses are given one checkpoint before they get a newer one, if there is no quorum for it: as long as all
/// that live need to answer, twice.
const TARGET_AGE_MAX: Duration = Duration::from_secs(10);

/// What went wrong last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = AuditAnchorError)]
pub(in crate::server) struct LastError {
    /// Code of the error table.
    pub(in crate::server) code: String,
    /// What went wrong.
    pub(in crate::server) message: String,
    /// When.
    pub(in crate::server) at: String,
}

/// One witness in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = AuditWitness)]
pub(in crate::server) struct WitnessReport {
    /// Name in the policy.
    pub(in crate::server) name: String,
    /// Where it is reached; none if it is not asked.
    #[schema(required = true)]
    pub(in crate::server) url: Option<String>,
    /// Events it last cosigned; 0 before the first time.
    pub(in crate::server) size: u64,
    /// When, by its own clock.
    #[schema(required = true)]
    pub(in crate::server) cosigned_at: Option<String>,
    /// What went wrong since then.
    #[schema(required = true)]
    pub(in crate::server) error: Option<LastError>,
}

/// The newest timestamp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = AuditTimestamp)]
pub(in crate::server) struct TimestampReport {
    /// Events of the checkpoint it is of; 0 before the first one.
    pub(in crate::server) size: u64,
    /// When, by the authority's clock.
    #[schema(required = true)]
    pub(in crate::server) at: Option<String>,
    /// What went wrong since then.
    #[schema(required = true)]
    pub(in crate::server) error: Option<LastError>,
}

/// Where everything stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = AuditAnchors)]
pub(in crate::server) struct Report {
    /// What happens while witnesses cannot be reached.
    pub(in crate::server) mode: &'static str,
    /// Name of the quorum in the policy; `none` believes the operator alone.
    pub(in crate::server) quorum: String,
    /// Events of the newest checkpoint.
    pub(in crate::server) size: u64,
    /// Events of the newest checkpoint with a quorum.
    pub(in crate::server) witnessed: u64,
    /// Events nobody outside vouches for yet: from the first to behind the last; none if there are none.
    #[schema(required = true)]
    pub(in crate::server) unwitnessed: Option<[u64; 2]>,
    /// For how many seconds there have been such.
    pub(in crate::server) unwitnessed_seconds: u64,
    /// The witnesses.
    pub(in crate::server) witnesses: Vec<WitnessReport>,
    /// The newest timestamp, if an authority is set.
    #[schema(required = true)]
    pub(in crate::server) timestamp: Option<TimestampReport>,
}

impl Report {
    /// Of a store that asks nobody.
    pub(in crate::server) fn alone(newest: u64) -> Report {
        Report {
            mode: Mode::Queue.word(),
            quorum: NO_QUORUM.to_owned(),
            size: newest,
            witnessed: 0,
            unwitnessed: (newest > 0).then_some([0, newest]),
            unwitnessed_seconds: 0,
            witnesses: Vec::new(),
            timestamp: None,
        }
    }
}

#[derive(Debug, Clone, Default)]
struct WitnessStanding {
    name: String,
    url: Option<String>,
    size: u64,
    time: Option<u64>,
    error: Option<LastError>,
}

/// See the module.
pub(super) struct Standing {
    file: Cosignatures,
    witnesses: Vec<WitnessStanding>,
    recent: BTreeMap<u64, SignedCheckpoint>,
    witnessed: Option<SignedCheckpoint>,
    /// What witnesses are sent now, all of them the same, and since when.
    target: Option<(SignedCheckpoint, Instant)>,
    /// Since when there are events without a quorum.
    behind_since: Option<Instant>,
    /// Size and time of the newest timestamp.
    stamped: Option<(u64, u64)>,
    stamp_error: Option<LastError>,
}

impl Standing {
    pub(super) fn new(
        settings: &AnchorSettings,
        file: Cosignatures,
        stamped: Option<(u64, u64)>,
    ) -> Standing {
        let parties = settings.policy.as_ref().map(Policy::witnesses).unwrap_or_default().iter();
        let standing = |party: &graven_proof::policy::Party| WitnessStanding {
            name: party.name.clone(),
            url: party.url.clone(),
            ..WitnessStanding::default()
        };
        Standing {
            file,
            witnesses: parties.map(standing).collect(),
            recent: BTreeMap::new(),
            witnessed: None,
            target: None,
            behind_since: None,
            stamped,
            stamp_error: None,
        }
    }

    /// Takes over what the file holds. What does not verify is passed over, and so is what is not about this history: of
    /// more events than the newest checkpoint, or of as many with another root. Witnesses are asked where they stand then.
    pub(super) fn recall(
        &mut self,
        policy: &Policy,
        kept: Vec<SignedCheckpoint>,
        newest: Option<&SignedCheckpoint>,
    ) {
        let logs: Vec<_> = policy.logs().iter().map(|party| party.key.clone()).collect();
        let newest = newest.map(SignedCheckpoint::unverified_head);
        for cosigned in kept {
            let head = cosigned.unverified_head();
            let fits = newest.is_some_and(|newest| head.size < newest.size || head == newest);
            if !fits || cosigned.note().verify(&logs).is_err() {
                continue;
            }
            for (party, standing) in policy.witnesses().iter().zip(&mut self.witnesses) {
                if let Ok(verified) = cosigned.note().verify(std::slice::from_ref(&party.key)) {
                    standing.size = cosigned.unverified_head().size;
                    standing.time = verified.signers().first().and_then(|signer| signer.time);
                }
            }
            self.add(cosigned, Some(policy));
        }
    }

    /// The checkpoint to send. All witnesses get the same one, so that a quorum comes together on it.
    pub(super) fn target(&mut self, newest: SignedCheckpoint, settings: &AnchorSettings) -> SignedCheckpoint {
        let size = newest.unverified_head().size;
        let witnessed = self.witnessed_size();
        if let Some((target, since)) = &self.target {
            let behind = target.unverified_head().size;
            let reached = witnessed >= behind || settings.mode == Mode::Drop;
            let due = if reached { settings.interval } else { TARGET_AGE_MAX };
            if behind <= size && since.elapsed() < due {
                return target.clone();
            }
        }
        self.target = Some((newest.clone(), Instant::now()));
        newest
    }

    /// The size a witness last cosigned.
    pub(super) fn size_of(&self, witness: usize) -> u64 {
        self.witnesses[witness].size
    }

    /// Keeps a cosignature.
    ///
    /// # Errors
    /// Those of the file.
    pub(super) fn keep(
        &mut self,
        witness: usize,
        checkpoint: &SignedCheckpoint,
        signature: Signature,
        time: u64,
        policy: Option<&Policy>,
    ) -> Result<()> {
        let size = checkpoint.unverified_head().size;
        let before = self.recent.get(&size).unwrap_or(checkpoint).clone();
        let cosigned = before.with(signature);
        let cosigned = cosigned.map_err(|error| Error::new(Code::AnchorFailed, error.to_string()))?;
        self.file.append(&cosigned)?;
        let standing = &mut self.witnesses[witness];
        (standing.size, standing.time, standing.error) = (size, Some(time), None);
        self.add(cosigned, policy);
        Ok(())
    }

    fn add(&mut self, cosigned: SignedCheckpoint, policy: Option<&Policy>) {
        let size = cosigned.unverified_head().size;
        let quorum = policy.is_some_and(|policy| cosigned.verify(policy).is_ok());
        if quorum && size >= self.witnessed_size() {
            self.witnessed = Some(cosigned.clone());
            self.behind_since = None;
        }
        self.recent.insert(size, cosigned);
        while self.recent.len() > RECENT_MAX {
            self.recent.pop_first();
        }
    }

    /// True while a witness says that it cosigned another history.
    pub(super) fn is_contradicted(&self) -> bool {
        let contradicts = |error: &LastError| error.code == Code::WitnessContradicts.id();
        self.witnesses.iter().any(|witness| witness.error.as_ref().is_some_and(contradicts))
    }

    pub(super) fn failed(&mut self, witness: usize, error: Error, now_us: i64) {
        self.witnesses[witness].error = Some(told(&error, now_us));
    }

    pub(super) fn stamped(&mut self, size: u64, time_us: u64) {
        (self.stamped, self.stamp_error) = (Some((size, time_us)), None);
    }

    pub(super) fn stamp_failed(&mut self, error: &Error, now_us: i64) {
        self.stamp_error = Some(told(error, now_us));
    }

    pub(super) fn witnessed(&self) -> Option<SignedCheckpoint> {
        self.witnessed.clone()
    }

    fn witnessed_size(&self) -> u64 {
        self.witnessed.as_ref().map_or(0, |witnessed| witnessed.unverified_head().size)
    }

    /// How long events up to `newest` have been without a quorum.
    pub(super) fn unwitnessed_for(&mut self, newest: u64) -> Duration {
        if newest <= self.witnessed_size() {
            self.behind_since = None;
            return Duration::ZERO;
        }
        self.behind_since.get_or_insert_with(Instant::now).elapsed()
    }

    pub(super) fn report(&mut self, settings: &AnchorSettings, newest: u64) -> Report {
        let witnessed = self.witnessed_size();
        let witnesses = self.witnesses.iter().map(|standing| WitnessReport {
            name: standing.name.clone(),
            url: standing.url.clone(),
            size: standing.size,
            cosigned_at: standing.time.map(|seconds| show(seconds.saturating_mul(1_000_000))),
            error: standing.error.clone(),
        });
        let timestamp = settings.timestamp_url.as_ref().map(|_| TimestampReport {
            size: self.stamped.map_or(0, |(size, _)| size),
            at: self.stamped.map(|(_, time)| show(time)),
            error: self.stamp_error.clone(),
        });
        Report {
            mode: settings.mode.word(),
            quorum: settings.policy.as_ref().map_or(NO_QUORUM, Policy::quorum).to_owned(),
            size: newest,
            witnessed,
            unwitnessed: (newest > witnessed).then_some([witnessed, newest]),
            witnesses: witnesses.collect(),
            timestamp,
            unwitnessed_seconds: self.unwitnessed_for(newest).as_secs(),
        }
    }
}

fn told(error: &Error, now_us: i64) -> LastError {
    let at = Timestamp::from_micros(now_us).to_string();
    LastError { code: error.code.id(), message: error.message.clone(), at }
}

fn show(time_us: u64) -> String {
    Timestamp::from_micros(i64::try_from(time_us).unwrap_or(i64::MAX)).to_string()
}
