//! `POST /audit/verify` and `GET /audit/verify`: everything is read and hashed again while the server goes on, one verification at a time,
//! on a thread of its own.

use super::{shapes, wish};
use crate::server::problem::Answer;
use crate::server::query_params::QueryParams;
use crate::server::{App, schema};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use graven_engine::audit::{VerifyOptions, VerifyProgress};
use graven_engine::env::spawn_named;
use graven_model::{Code, Error, Result, Timestamp, limits};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::finding::Report;
use graven_proof::note::VerifierKey;
use serde::Deserialize;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};

/// The verification that runs, and what the last one came to.
#[derive(Default)]
pub(in crate::server) struct Verification(Mutex<Standing>);

/// Where it stands.
#[derive(Clone, Default)]
pub(in crate::server) struct Standing {
    /// The one that runs.
    pub(in crate::server) running: Option<Running>,
    /// The last one since the server started.
    pub(in crate::server) last: Option<Ended>,
}

/// A verification that runs.
#[derive(Clone)]
pub(in crate::server) struct Running {
    /// When it began.
    pub(in crate::server) begun: Timestamp,
    /// How far it is, once it says so.
    pub(in crate::server) progress: Option<VerifyProgress>,
}

/// A verification that ended.
#[derive(Clone)]
pub(in crate::server) struct Ended {
    /// When it began.
    pub(in crate::server) begun: Timestamp,
    /// When it ended.
    pub(in crate::server) ended: Timestamp,
    /// What it found, or why it did not come to its end.
    pub(in crate::server) outcome: Result<Arc<Report>>,
}

impl Verification {
    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().expect("nothing panics while it holds how far the verification is")
    }

    /// Where it stands.
    pub(in crate::server) fn standing(&self) -> Standing {
        self.lock().clone()
    }

    /// Where it stands, as it is shown.
    pub(super) fn shown(&self) -> shapes::AuditVerification {
        let Standing { running, last } = self.standing();
        let running = running.map(|running| {
            let progress = running.progress.as_ref();
            shapes::AuditVerificationRunning {
                begun_at: running.begun.to_string(),
                position: progress.map_or(0, |progress| progress.position),
                to: progress.and_then(|progress| progress.to),
                bytes: progress.map_or(0, |progress| progress.bytes),
                bytes_total: progress.map_or(0, |progress| progress.bytes_total),
                findings: progress.map_or(0, |progress| progress.findings),
            }
        });
        let last = last.map(|last| {
            let (report, error) = match last.outcome {
                Ok(report) => (serde_json::to_value(&*report).ok(), None),
                Err(error) => (None, Some(error.to_string())),
            };
            shapes::AuditVerificationEnded {
                begun_at: last.begun.to_string(),
                ended_at: last.ended.to_string(),
                report,
                error,
            }
        });
        shapes::AuditVerification { running, last }
    }
}

/// What is verified, and against whose word.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct VerifyWish {
    pub(in crate::server) from: Option<u64>,
    pub(in crate::server) to: Option<u64>,
    #[serde(default)]
    pub(in crate::server) checkpoints: Vec<String>,
    #[serde(default)]
    pub(in crate::server) vkeys: Vec<String>,
    #[serde(default)]
    pub(in crate::server) strict: bool,
}

impl VerifyWish {
    fn options(self) -> Result<VerifyOptions> {
        let wrong = |what: String| Error::new(Code::BadRequest, what);
        for (name, length) in [("checkpoints", self.checkpoints.len()), ("vkeys", self.vkeys.len())] {
            if length > limits::VERIFY_TRUSTED_MAX {
                return Err(wrong(format!("{name} has too many items"))
                    .expected(format!("at most {}", limits::VERIFY_TRUSTED_MAX))
                    .found(length.to_string()));
            }
        }
        if self.from.zip(self.to).is_some_and(|(from, to)| from >= to) {
            return Err(wrong("there is no position from `from` up to `to`".to_owned()));
        }
        let note = |note: &String| {
            SignedCheckpoint::parse(note.as_bytes())
                .map_err(|error| wrong(format!("a checkpoint does not read: {error}")))
        };
        let vkey = |text: &String| {
            text.parse::<VerifierKey>()
                .map_err(|error| wrong(format!("a verifier key does not read: {error}")))
        };
        Ok(VerifyOptions {
            from: self.from,
            to: self.to,
            trusted: self.checkpoints.iter().map(note).collect::<Result<_>>()?,
            vkeys: self.vkeys.iter().map(vkey).collect::<Result<_>>()?,
            strict: self.strict,
        })
    }
}

/// Verify
///
/// Begins to read everything below the head as it is now, to hash it again, and to compare it with all that was stored and signed. Appends
/// and reads go on. `GET` tells how far it is, and what it found. One runs at a time; it ends when the server stops.
#[utoipa::path(post, path = "/audit/verify", tag = "audit", operation_id = "audit_verify",
    request_body = shapes::AuditVerify,
    responses((status = 202, description = "It has begun", body = shapes::AuditVerification),
        (status = 400, response = schema::ProblemResponse),
        (status = 409, response = schema::ProblemResponse),
        (status = 415, response = schema::ProblemResponse)))]
pub(in crate::server) async fn begin(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    start(&app, wish(&app, query.as_deref(), &headers, body).await?)?;
    Ok((StatusCode::ACCEPTED, Json(app.verification.shown())).into_response())
}

/// Verification
///
/// How far the verification is that runs, and what the last one came to.
#[utoipa::path(get, path = "/audit/verify", tag = "audit", operation_id = "audit_verification",
    responses((status = 200, description = "Where it stands", body = shapes::AuditVerification)))]
pub(in crate::server) async fn progress(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    QueryParams::parse(query.as_deref())?.finish()?;
    Ok(Json(app.verification.shown()).into_response())
}

/// Begins a verification.
///
/// # Errors
/// [`Code::BadRequest`] for a wish that does not read; [`Code::VerificationRunning`].
pub(in crate::server) fn start(app: &Arc<App>, asked: VerifyWish) -> Result<()> {
    let options = asked.options()?;
    let now = {
        let clock = app.env.clock.clone();
        move || Timestamp::from_micros(clock.now_us())
    };
    let begun = now();
    let mut standing = app.verification.lock();
    if standing.running.is_some() {
        return Err(Error::new(Code::VerificationRunning, "a verification runs already"));
    }
    standing.running = Some(Running { begun, progress: None });
    drop(standing);
    let (store, verification) = (app.store.clone(), app.verification.clone());
    let (stopping, metrics) = (app.stopping.clone(), app.metrics.clone());
    let work = move || {
        let verified = catch_unwind(AssertUnwindSafe(|| {
            store.verify(&options, &mut |progress| {
                if let Some(running) = &mut verification.lock().running {
                    running.progress = Some(*progress);
                }
                if *stopping.borrow() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        }));
        let outcome = verified.unwrap_or_else(|_| Err(super::super::panicked()));
        match &outcome {
            Ok(report) => {
                metrics.audit.found(report.findings());
                if let Some(finding) = &report.first {
                    tracing::error!(%finding, others = report.other_findings, "verification found something");
                }
            }
            Err(error) => tracing::warn!(%error, "the verification did not come to its end"),
        }
        let mut standing = verification.lock();
        standing.running = None;
        standing.last = Some(Ended { begun, ended: now(), outcome: outcome.map(Arc::new) });
    };
    spawn_named("graven-verify", work);
    Ok(())
}
