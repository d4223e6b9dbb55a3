//! What a client has done to the log, or judged: seals and whole streams, erasures, legal holds, verification.

use super::invalid;
use crate::client::{Client, Repeat};
use bytes::Bytes;
use graven_model::erasure::{ErasureOutcome, ErasureRequest, ErasureTarget, HoldOn, Part, ScavengeReport};
use graven_model::{Code, Error, Position, Result, StreamName, Timestamp};
use graven_proof::Hash;
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::control::{Hold, HoldScope, MapRoot};
use graven_proof::finding::Report;
use graven_proof::leaf::{Leaf, name_key};
use graven_proof::note::VerifierKey;
use graven_proof::tlog_proof::TlogProof;
use graven_proof::trie::{StreamHead, TrieProof};
use graven_proto::wire;

/// A seal: a record of the log that says where every stream stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Position of the record.
    pub position: Position,
    /// It covers the positions below this.
    pub size: u64,
    /// Streams it covers.
    pub streams: u64,
    /// Root of the trie over their heads.
    pub root: Hash,
}

/// Where a stream stood at a seal, and what proves it. Whoever has the stream's leaves below the seal's size compares them with
/// [`Completeness::head`] ([`graven_proof::chain::StreamChain`]), and knows then that none is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completeness {
    /// The seal, as its own leaf says it.
    pub seal: Seal,
    /// That the seal is in the log; its leaf is the extra data.
    pub seal_proof: TlogProof,
    /// Keyed hash of the stream's name, as its leaves have it.
    pub stream_key: Hash,
    /// Salt of the name: HMAC-SHA256(salt, name) is the key.
    pub name_salt: Vec<u8>,
    /// Where the stream stood: what the path leads to.
    pub head: StreamHead,
    /// The path from the seal's root to the stream.
    pub path: TrieProof,
}

/// What is verified, and against whose word. Everything by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// First position; the beginning by default.
    pub from: Option<u64>,
    /// Position to stop before; the end by default.
    pub to: Option<u64>,
    /// Checkpoints from elsewhere that the log has to agree with.
    pub trusted: Vec<SignedCheckpoint>,
    /// Keys to check signatures with, known from elsewhere; without any, those of the log.
    pub vkeys: Vec<VerifierKey>,
    /// Events under no checkpoint are a finding.
    pub strict: bool,
}

/// How verification stands at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The one that runs.
    pub running: Option<RunningVerification>,
    /// The last one since the server started.
    pub last: Option<EndedVerification>,
}

/// A verification that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningVerification {
    /// When it began.
    pub begun_at: Timestamp,
    /// Everything below was checked.
    pub position: Position,
    /// Position to stop before, where that is known.
    pub to: Option<Position>,
    /// Bytes of the log that were read.
    pub bytes: u64,
    /// Bytes of the log there are.
    pub bytes_total: u64,
    /// Findings so far.
    pub findings: u64,
}

/// A verification that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedVerification {
    /// When it began.
    pub begun_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// What it found, or why it did not come to its end.
    pub outcome: Result<Report>,
}

/// Seals, erasures, legal holds and verification. What writes goes to the node that writes. An act that outlasts the deadline of a
/// call goes on at the server.
impl Client {
    /// Writes the root over the heads of all streams into the log; gives the seal, and a checkpoint that covers it. If nothing came
    /// since the last seal, it is that one.
    ///
    /// # Errors
    /// As [`Client::checkpoint`].
    pub async fn seal(&self) -> Result<(Seal, SignedCheckpoint)> {
        let request = wire::SealRequest {};
        let answer = self.call("the seal", Repeat::IfUntouched, request, async |mut service, request| {
            service.seal(request).await
        });
        let wire::SealResponse { seal, checkpoint } = answer.await?;
        let checkpoint = self.take(&checkpoint).await?;
        let seal = seal.ok_or_else(|| invalid("the answer has no seal"))?;
        let root = hash(&seal.root, "the root")?;
        let wire::Seal { position, size, streams, .. } = seal;
        Ok((Seal { position: Position(position), size, streams, root }, checkpoint))
    }

    /// Where a stream stood at the last seal. That the path leads from the seal's leaf to the stream is verified; with a pin also
    /// that the leaf is in the log.
    ///
    /// # Errors
    /// As [`Client::checkpoint`]; [`Code::ProofInvalid`] if it does not hold, [`Code::NotSealedYet`] for a stream no seal covers,
    /// [`Code::StreamNotFound`].
    pub async fn completeness(&self, stream: &StreamName) -> Result<Completeness> {
        let request = wire::CompletenessRequest { stream: stream.as_str().to_owned() };
        let answer = self.call("the proof", Repeat::Freely, request, async |mut service, request| {
            service.completeness(request).await
        });
        let said = answer.await?;
        let position = said.seal.ok_or_else(|| invalid("the answer has no seal"))?.position;
        let seal_proof = self.judge(Position(position), &said.seal_proof).await?;
        follow_path(stream, position, seal_proof, &said.name_salt, &said.path)
    }

    /// Destroys data and metadata of events, or everything of a data subject, after the log has said so; or only counts.
    ///
    /// # Errors
    /// [`Code::LegalHold`], [`Code::NothingToErase`], [`Code::InvalidErasure`], [`Code::ErasureConflict`], [`Code::EventNotFound`].
    /// After [`Code::ErasureUnfinished`] and [`Code::Timeout`] the same request again is answered with what came of it.
    pub async fn erase(&self, request: &ErasureRequest, dry_run: bool) -> Result<ErasureOutcome> {
        use wire::erase_request::Target;
        let target = match &request.target {
            ErasureTarget::Events(positions) => {
                let positions = positions.iter().map(|position| position.0).collect();
                Target::Events(wire::Positions { positions })
            }
            ErasureTarget::Stream { name, before } => Target::Stream(wire::StreamPart {
                stream: name.as_str().to_owned(),
                before: before.map(|revision| revision.0),
            }),
            ErasureTarget::Subject(subject) => Target::Subject(subject.clone()),
        };
        let part = |part: &Part| match part {
            Part::Data => wire::ErasePart::Data.into(),
            Part::Metadata => wire::ErasePart::Metadata.into(),
            Part::Subject => wire::ErasePart::Subject.into(),
        };
        let message = wire::EraseRequest {
            target: Some(target),
            parts: request.parts.iter().map(part).collect(),
            request: request.request.clone(),
            basis: request.basis.clone(),
            decided_by: request.decided_by.clone(),
            approved_by: request.approved_by.clone(),
            dry_run,
        };
        let answer = self.call("the erasure", Repeat::IfUntouched, message, async |mut service, message| {
            service.erase(message).await
        });
        let wire::EraseResponse { record, events, segments, bytes_freed, repeated } = answer.await?;
        Ok(ErasureOutcome { record: record.map(Position), events, segments, bytes_freed, repeated })
    }

    /// Drops data and metadata of events that no reader of their stream can see any more, or only counts it.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn scavenge(&self, dry_run: bool) -> Result<ScavengeReport> {
        let request = wire::ScavengeRequest { dry_run };
        let answer = self.call("scavenging", Repeat::IfUntouched, request, async |mut service, request| {
            service.scavenge(request).await
        });
        let wire::ScavengeResponse { streams, events, payload_bytes, held, segments, bytes_freed, more } =
            answer.await?;
        Ok(ScavengeReport { streams, events, payload_bytes, held, segments, bytes_freed, more })
    }

    /// The legal holds there are. Names of streams and subjects stand as keyed hashes.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn holds(&self) -> Result<Vec<Hold>> {
        let request = wire::HoldsRequest {};
        let answer = self.call("the holds", Repeat::Freely, request, async |mut service, request| {
            service.holds(request).await
        });
        answer.await?.holds.into_iter().map(hold).collect()
    }

    /// Begins a legal hold: what it covers is neither erased nor dropped. Gives the position of the record that says so.
    ///
    /// # Errors
    /// [`Code::HoldConflict`] if there is one of this name; [`Code::StreamNotFound`]; those of the server.
    pub async fn begin_hold(
        &self,
        id: &str,
        on: &HoldOn,
        reason: &str,
        decided_by: &str,
    ) -> Result<Position> {
        use wire::begin_hold_request::On;
        let on = match on {
            HoldOn::Stream(stream) => On::Stream(stream.as_str().to_owned()),
            HoldOn::Category(category) => On::Category(category.clone()),
            HoldOn::Subject(subject) => On::Subject(subject.clone()),
        };
        let request = wire::BeginHoldRequest {
            id: id.to_owned(),
            on: Some(on),
            reason: reason.to_owned(),
            decided_by: decided_by.to_owned(),
        };
        let answer = self.call("the hold", Repeat::IfUntouched, request, async |mut service, request| {
            service.begin_hold(request).await
        });
        Ok(Position(answer.await?.record))
    }

    /// Ends a legal hold. Gives the position of the record that says so.
    ///
    /// # Errors
    /// [`Code::HoldConflict`] if there is none of this name; those of the server.
    pub async fn end_hold(&self, id: &str, reason: &str, decided_by: &str) -> Result<Position> {
        let request = wire::EndHoldRequest {
            id: id.to_owned(),
            reason: reason.to_owned(),
            decided_by: decided_by.to_owned(),
        };
        let answer = self.call("the hold", Repeat::IfUntouched, request, async |mut service, request| {
            service.end_hold(request).await
        });
        Ok(Position(answer.await?.record))
    }

    /// Has the server this client is connected to begin to verify its log. It answers at once; [`Client::verification`] tells the rest.
    ///
    /// # Errors
    /// [`Code::VerificationRunning`] if one runs already, be it that this very call began it and its first answer was lost;
    /// [`Code::BadRequest`] for a range without positions.
    pub async fn verify(&self, options: &VerifyOptions) -> Result<Verification> {
        let request = wire::VerifyRequest {
            from: options.from,
            to: options.to,
            checkpoints: options.trusted.iter().map(ToString::to_string).collect(),
            vkeys: options.vkeys.iter().map(ToString::to_string).collect(),
            strict: options.strict,
        };
        let answer = self.call("the verification", Repeat::Freely, request, async |mut service, request| {
            service.verify(request).await
        });
        verification(answer.await?)
    }

    /// How far the verification is that runs at the server this client is connected to, and what the last one came to.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn verification(&self) -> Result<Verification> {
        let request = wire::VerificationRequest {};
        let answer = self.call("the verification", Repeat::Freely, request, async |mut service, request| {
            service.verification(request).await
        });
        verification(answer.await?)
    }
}

/// Reads the seal out of its leaf, and follows the path from its root to the stream.
fn follow_path(
    stream: &StreamName,
    position: u64,
    seal_proof: TlogProof,
    name_salt: &Bytes,
    path: &[u8],
) -> Result<Completeness> {
    let leaf = seal_proof.extra().ok_or_else(|| invalid("the proof brings no leaf along"))?;
    let leaf = Leaf::decode(leaf).map_err(|error| invalid(format!("the leaf does not read: {error}")))?;
    if leaf.position != position {
        return Err(invalid("the seal does not stand where it says")
            .expected(format!("position {position}"))
            .found(format!("position {}", leaf.position)));
    }
    let sealed = MapRoot::at(position, leaf.kind, leaf.body).map_err(|error| invalid(error.to_string()))?;
    let stream_key = name_key(name_salt, stream.as_str().as_bytes());
    let (head, path) = sealed.stream(&stream_key, path).map_err(|error| invalid(error.to_string()))?;
    let seal =
        Seal { position: Position(position), size: sealed.size, streams: sealed.streams, root: sealed.root };
    Ok(Completeness { seal, seal_proof, stream_key, name_salt: name_salt.to_vec(), head, path })
}

fn hold(hold: wire::Hold) -> Result<Hold> {
    use wire::hold::On;
    let scope = match hold.on {
        Some(On::StreamKey(key)) => HoldScope::Stream { stream_key: hash(&key, "the key of a stream")? },
        Some(On::Category(category)) => HoldScope::Category { category },
        Some(On::SubjectKey(key)) => HoldScope::Subject { subject_key: hash(&key, "the key of a subject")? },
        None => return Err(unread(format!("the hold {:?} covers nothing this client knows", hold.id))),
    };
    Ok(Hold { id: hold.id, begins: true, scope, reason: hold.reason, decided_by: hold.decided_by })
}

fn verification(said: wire::VerificationResponse) -> Result<Verification> {
    let running = said.running.map(|running| RunningVerification {
        begun_at: Timestamp::from_micros(running.begun_at),
        position: Position(running.position),
        to: running.to.map(Position),
        bytes: running.bytes,
        bytes_total: running.bytes_total,
        findings: running.findings,
    });
    Ok(Verification { running, last: said.last.map(ended).transpose()? })
}

fn ended(last: wire::EndedVerification) -> Result<EndedVerification> {
    use wire::ended_verification::Outcome;
    let outcome = match last.outcome {
        Some(Outcome::Report(report)) => Ok(serde_json::from_slice(&report)
            .map_err(|error| unread(format!("the report of the verification does not read: {error}")))?),
        Some(Outcome::Error(error)) => Err(error.into()),
        None => return Err(unread("the verification came to nothing this client knows")),
    };
    Ok(EndedVerification {
        begun_at: Timestamp::from_micros(last.begun_at),
        ended_at: Timestamp::from_micros(last.ended_at),
        outcome,
    })
}

fn hash(bytes: &Bytes, what: &str) -> Result<Hash> {
    bytes.as_ref().try_into().map_err(|_| unread(format!("{what} has not 32 bytes")))
}

fn unread(what: impl Into<String>) -> Error {
    Error::new(Code::Internal, what)
}
