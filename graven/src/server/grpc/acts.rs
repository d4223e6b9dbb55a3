//! Calls that have something done to the log, or have it judged: keys, seals, erasures, legal holds, verification.
//!
//! What is done is done by `server::audit`, as for HTTP; here its words are messages.

use super::answer::{message, whole};
use super::groups;
use super::message::Messages;
use crate::server::App;
use crate::server::audit::erasure::{EraseWish, HoldWish};
use crate::server::audit::keys::history;
use crate::server::audit::verification::{self, Ended, Running, Standing, VerifyWish};
use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use graven_engine::audit::{LogKey, Part, Sealed};
use graven_model::{Code, Error, Position, Result, StreamName};
use graven_proof::control::{Hold, HoldScope};
use graven_proto::wire;
use std::sync::Arc;

/// Answers the call of a method.
///
/// # Errors
/// [`Code::NotFound`] for a method that is none of these; those of the store, and of reading the message.
pub(super) async fn answer(method: &str, app: Arc<App>, body: Body) -> Result<Response<Body>> {
    let bytes = match method {
        "Keys" => {
            let wire::KeysRequest {} = Messages::only(app.clone(), body).await?;
            keys(app.trail(history).await?)
        }
        "RotateKeys" => {
            let wire::RotateKeysRequest { overlap, root_key } = Messages::only(app.clone(), body).await?;
            keys(app.rotate_keys(overlap, root_key).await?)
        }
        "RetireKey" => {
            let wire::RetireKeyRequest { key, root_key } = Messages::only(app.clone(), body).await?;
            keys(app.retire_key(&key, root_key).await?)
        }
        "RevokeKey" => {
            let wire::RevokeKeyRequest { key, last_good, root_key } =
                Messages::only(app.clone(), body).await?;
            keys(app.revoke_key(&key, last_good, root_key).await?)
        }
        "Seal" => {
            let wire::SealRequest {} = Messages::only(app.clone(), body).await?;
            let (sealed, checkpoint) = app.seal().await?;
            message(&wire::SealResponse { seal: Some(seal(&sealed)), checkpoint: checkpoint.to_string() })
        }
        "Completeness" => {
            let wire::CompletenessRequest { stream } = Messages::only(app.clone(), body).await?;
            completeness(&app, StreamName::new(stream)?).await?
        }
        "Erase" => {
            let outcome = app.erase(erase_wish(Messages::only(app.clone(), body).await?)?).await?;
            message(&wire::EraseResponse {
                record: outcome.record.map(|record| record.0),
                events: outcome.events,
                segments: outcome.segments,
                bytes_freed: outcome.bytes_freed,
                repeated: outcome.repeated,
            })
        }
        "Scavenge" => {
            let wire::ScavengeRequest { dry_run } = Messages::only(app.clone(), body).await?;
            let report = app.scavenge(dry_run).await?;
            message(&wire::ScavengeResponse {
                streams: report.streams,
                events: report.events,
                payload_bytes: report.payload_bytes,
                held: report.held,
                segments: report.segments,
                bytes_freed: report.bytes_freed,
                more: report.more,
            })
        }
        "Holds" => {
            let wire::HoldsRequest {} = Messages::only(app.clone(), body).await?;
            let holds = app.read(|store| store.holds()).await?;
            message(&wire::HoldsResponse { holds: holds.into_iter().map(hold).collect() })
        }
        "BeginHold" => {
            let asked: wire::BeginHoldRequest = Messages::only(app.clone(), body).await?;
            record(app.begin_hold(hold_wish(asked)).await?)
        }
        "EndHold" => {
            let wire::EndHoldRequest { id, reason, decided_by } = Messages::only(app.clone(), body).await?;
            record(app.end_hold(id, reason, decided_by).await?)
        }
        "Verify" => {
            let wire::VerifyRequest { from, to, checkpoints, vkeys, strict } =
                Messages::only(app.clone(), body).await?;
            verification::start(&app, VerifyWish { from, to, checkpoints, vkeys, strict })?;
            message(&standing(app.verification.standing())?)
        }
        "Verification" => {
            let wire::VerificationRequest {} = Messages::only(app.clone(), body).await?;
            message(&standing(app.verification.standing())?)
        }
        method => return groups::answer(method, app, body).await,
    };
    Ok(whole(app.answers.hold(bytes).await))
}

fn keys(keys: Vec<LogKey>) -> Bytes {
    let key = |key: LogKey| wire::LogKey {
        vkey: key.vkey.to_string(),
        added_at: key.added_at,
        valid_from: key.valid_from,
        valid_until: key.valid_until,
        last_good: key.last_good,
        signs: key.signs,
    };
    message(&wire::KeysResponse { keys: keys.into_iter().map(key).collect() })
}

fn seal(sealed: &Sealed) -> wire::Seal {
    let Sealed { position, size, streams, root } = *sealed;
    wire::Seal { position, size, streams, root: root.to_vec().into() }
}

async fn completeness(app: &Arc<App>, stream: StreamName) -> Result<Bytes> {
    let (whole, proof) = app.completeness(stream).await?;
    Ok(message(&wire::CompletenessResponse {
        stream_key: whole.stream_key.to_vec().into(),
        name_salt: whole.name_salt.to_vec().into(),
        seal: Some(seal(&whole.seal)),
        seal_proof: proof.to_string(),
        head: whole.head.map(|head| wire::StreamHead {
            next_revision: head.next_version,
            first_position: head.first_position,
            last_position: head.last_position,
            last_leaf_hash: head.head.to_vec().into(),
            tombstoned: head.tombstoned,
        }),
        path: whole.proof.encode().into(),
    }))
}

fn erase_wish(asked: wire::EraseRequest) -> Result<EraseWish> {
    use wire::erase_request::Target;
    let part = |number: i32| match wire::ErasePart::try_from(number) {
        Ok(wire::ErasePart::Data) => Ok(Part::Data),
        Ok(wire::ErasePart::Metadata) => Ok(Part::Metadata),
        Ok(wire::ErasePart::Subject) => Ok(Part::Subject),
        Err(_) => Err(Error::new(Code::BadRequest, format!("part {number} is not one there is"))),
    };
    let parts = asked.parts.into_iter().map(part).collect::<Result<Vec<_>>>()?;
    let mut wish = EraseWish {
        parts: (!parts.is_empty()).then_some(parts),
        request: asked.request,
        basis: asked.basis,
        decided_by: asked.decided_by,
        approved_by: asked.approved_by,
        dry_run: asked.dry_run,
        ..EraseWish::default()
    };
    match asked.target {
        Some(Target::Events(events)) => wish.positions = Some(events.positions),
        Some(Target::Stream(part)) => (wish.stream, wish.before) = (Some(part.stream), part.before),
        Some(Target::Subject(subject)) => wish.subject = Some(subject),
        None => {}
    }
    Ok(wish)
}

fn hold(hold: Hold) -> wire::Hold {
    use wire::hold::On;
    let on = match hold.scope {
        HoldScope::Stream { stream_key } => On::StreamKey(stream_key.to_vec().into()),
        HoldScope::Category { category } => On::Category(category),
        HoldScope::Subject { subject_key } => On::SubjectKey(subject_key.to_vec().into()),
    };
    wire::Hold { id: hold.id, on: Some(on), reason: hold.reason, decided_by: hold.decided_by }
}

fn hold_wish(asked: wire::BeginHoldRequest) -> HoldWish {
    use wire::begin_hold_request::On;
    let mut wish =
        HoldWish { id: asked.id, reason: asked.reason, decided_by: asked.decided_by, ..HoldWish::default() };
    match asked.on {
        Some(On::Stream(stream)) => wish.stream = Some(stream),
        Some(On::Category(category)) => wish.category = Some(category),
        Some(On::Subject(subject)) => wish.subject = Some(subject),
        None => {}
    }
    wish
}

fn record(position: Position) -> Bytes {
    message(&wire::HoldResponse { record: position.0 })
}

fn standing(standing: Standing) -> Result<wire::VerificationResponse> {
    let running = |Running { begun, progress }: Running| wire::RunningVerification {
        begun_at: begun.micros(),
        position: progress.map_or(0, |progress| progress.position),
        to: progress.and_then(|progress| progress.to),
        bytes: progress.map_or(0, |progress| progress.bytes),
        bytes_total: progress.map_or(0, |progress| progress.bytes_total),
        findings: progress.map_or(0, |progress| progress.findings),
    };
    Ok(wire::VerificationResponse {
        running: standing.running.map(running),
        last: standing.last.map(ended).transpose()?,
    })
}

fn ended(last: Ended) -> Result<wire::EndedVerification> {
    use wire::ended_verification::Outcome;
    let outcome = match last.outcome {
        Ok(report) => Outcome::Report(
            serde_json::to_vec(&*report)
                .map_err(|error| Error::new(Code::Internal, format!("a report does not encode: {error}")))?
                .into(),
        ),
        Err(error) => Outcome::Error(wire::Error::from(&error)),
    };
    Ok(wire::EndedVerification {
        begun_at: last.begun.micros(),
        ended_at: last.ended.micros(),
        outcome: Some(outcome),
    })
}
