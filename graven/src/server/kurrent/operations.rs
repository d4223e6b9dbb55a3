//! `Operations`: what is done to a node.

use super::absent::{absent, refusal};
use super::errors::Refusal;
use super::{Answer, Call};
use crate::server::grpc::answer::{message, whole};
use crate::server::grpc::message::Messages;
use crate::server::{App, blocking, panicked};
use graven_engine::audit::ScavengeOptions;
use graven_engine::env::spawn_named;
use graven_model::{Code, Result};
use graven_proto::kurrentdb::operations::scavenge_resp::ScavengeResult;
use graven_proto::kurrentdb::operations::{ScavengeResp, StartScavengeReq, StopScavengeReq};
use graven_proto::kurrentdb::shared::Empty;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use tonic::Code as GrpcCode;

/// Answers the call of a method.
///
/// # Errors
/// Those of the store, and of reading the message.
pub(super) async fn answer(route: &str, call: Call) -> Answer {
    let Call { app, body, .. } = call;
    match route.rsplit('/').next() {
        Some("StartScavenge") => {
            let asked: StartScavengeReq = Messages::only(app.clone(), body).await?;
            let options = asked.options.unwrap_or_default();
            if options.thread_count < 0 || options.start_from_chunk < 0 {
                return Err(Refusal::invalid("neither threads nor chunks are counted below zero"));
            }
            Ok(whole(message(&start(&app)?)))
        }
        Some("StopScavenge") => {
            let asked: StopScavengeReq = Messages::only(app.clone(), body).await?;
            let id = asked.options.unwrap_or_default().scavenge_id;
            Ok(whole(message(&stop(&app, &id)?)))
        }
        // The store merges its index by itself, and has no more to merge when it is asked to.
        Some("MergeIndexes") => {
            let _: Empty = Messages::only(app.clone(), body).await?;
            Ok(whole(message(&Empty {})))
        }
        Some("RestartPersistentSubscriptions") => {
            let _: Empty = Messages::only(app.clone(), body).await?;
            let with_store = app.clone();
            blocking(move || with_store.store.groups().restart()).await?;
            Ok(whole(message(&Empty {})))
        }
        _ => Err(absent(route).map_or_else(|| Refusal::unimplemented(route), refusal)),
    }
}

/// The scavenge that runs because a client of KurrentDB asked for it.
#[derive(Default)]
pub(in crate::server) struct Scavenging(Mutex<Option<Running>>);

struct Running {
    id: String,
    stop: bool,
}

impl Scavenging {
    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().expect("nothing panics while it holds which scavenge runs")
    }
}

/// Begins to drop what nobody can see any more, on a thread of its own, unless that is being done.
///
/// # Errors
/// What keeps the store from taking appends: a scavenge writes down what it does.
fn start(app: &Arc<App>) -> Result<ScavengeResp> {
    app.store.takes_appends()?;
    let mut running = app.scavenging.lock();
    if let Some(running) = &*running {
        return Ok(answered(running.id.clone(), ScavengeResult::InProgress));
    }
    let id = app.new_event_id().to_string();
    *running = Some(Running { id: id.clone(), stop: false });
    drop(running);
    let (store, scavenging, stopping) = (app.store.clone(), app.scavenging.clone(), app.stopping.clone());
    spawn_named("graven-scavenge", move || {
        // The store does a bounded part of the work at a time.
        let may_go_on =
            || !*stopping.borrow() && scavenging.lock().as_ref().is_some_and(|running| !running.stop);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            while may_go_on() {
                if !store.scavenge(ScavengeOptions { dry_run: false })?.more {
                    break;
                }
            }
            Ok(())
        }));
        if let Err(error) = outcome.unwrap_or_else(|_| Err(panicked())) {
            tracing::error!(code = %error.code, "the scavenge did not come to its end: {error}");
        }
        *scavenging.lock() = None;
    });
    Ok(answered(id, ScavengeResult::Started))
}

/// Has the scavenge of this id end after what it is doing just now.
fn stop(app: &App, id: &str) -> std::result::Result<ScavengeResp, Refusal> {
    match app.scavenging.lock().as_mut().filter(|running| running.id == id) {
        Some(running) => {
            running.stop = true;
            Ok(answered(id.to_owned(), ScavengeResult::Stopped))
        }
        None => Err(Refusal::new(
            Code::NotFound,
            GrpcCode::NotFound,
            "no scavenge of this id runs",
            &[("exception", "scavenge-not-found"), ("scavenge-id", id)],
        )),
    }
}

fn answered(scavenge_id: String, result: ScavengeResult) -> ScavengeResp {
    ScavengeResp { scavenge_id, scavenge_result: result.into() }
}
