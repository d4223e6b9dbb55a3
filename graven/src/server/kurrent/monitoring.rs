//! `Monitoring.Stats`: figures of process and store, now and then.

use super::errors::Refusal;
use super::{Answer, Call};
use crate::server::App;
use crate::server::feed;
use crate::server::grpc::answer::{message, streaming};
use crate::server::grpc::message::Messages;
use crate::server::long_read::{passed, too_late};
use crate::server::stopping;
use graven_model::Result;
use graven_proto::kurrentdb::monitoring::{StatsReq, StatsResp};
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// The shortest pause between two answers, and the longest.
const PAUSE_MS: (u64, u64) = (100, 3_600_000);

/// Answers with figures again and again, until the client has enough of them or its deadline has passed.
///
/// # Errors
/// Those of reading the message, and of the store.
pub(super) async fn stats(call: Call) -> Answer {
    let Call { app, body, deadline, .. } = call;
    let asked: StatsReq = Messages::only(app.clone(), body).await?;
    let pause = Duration::from_millis(asked.refresh_time_period_in_ms.clamp(PAUSE_MS.0, PAUSE_MS.1));
    let mut figures = gather(&app).await?;
    let (feed, body) = feed::open();
    tokio::spawn(async move {
        let mut ending = app.stopping.clone();
        let end = loop {
            if !feed.send(message(&StatsResp { stats: figures })).await {
                return;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = feed.gone() => return,
                () = passed(deadline) => break too_late(),
                () = async { let _ = ending.wait_for(|stopping| *stopping).await; } => break stopping(),
            }
            match gather(&app).await {
                Ok(now) => figures = now,
                Err(error) => break error,
            }
        };
        feed.end_with(Refusal::from(end).trailers()).await;
    });
    Ok(streaming(body))
}

/// The figures. Those of the system are left out where it does not tell them.
async fn gather(app: &Arc<App>) -> Result<BTreeMap<String, String>> {
    app.read(|store| {
        let (info, stats) = (store.info(), store.stats());
        let of_store = [
            ("es-log-head", info.head.0),
            ("es-log-bytes", info.log_bytes),
            ("es-log-segments", info.segments),
            ("es-index-bytes", info.index_bytes),
            ("es-user-events", stats.user.events),
            ("es-user-streams", stats.user_streams),
            ("es-system-events", stats.system.events),
            ("es-system-streams", stats.system_streams),
            ("proc-id", std::process::id().into()),
        ];
        let of_system = [
            ("proc-mem", kibibytes("/proc/self/status", "VmRSS:")),
            ("sys-freeMem", kibibytes("/proc/meminfo", "MemAvailable:")),
        ];
        let told = of_system.into_iter().filter_map(|(name, bytes)| Some((name, bytes?)));
        Ok(of_store
            .into_iter()
            .chain(told)
            .map(|(name, figure)| (name.to_owned(), figure.to_string()))
            .collect())
    })
    .await
}

/// Bytes of a line that the system writes in KiB.
fn kibibytes(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}
