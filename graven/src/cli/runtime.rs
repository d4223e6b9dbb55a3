//! What a server process needs around it: async runtime, log lines, signals.

use crate::config::{Config, LogFormat};
use anyhow::Context as _;
use std::io::IsTerminal;
use tokio::signal::unix::{SignalKind, signal};

/// One worker a core, at least two: an append is committed on the task of its request when another worker is free.
pub(crate) fn build() -> anyhow::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.max(2))
        .enable_all()
        .build()
        .context("start the async runtime")
}

/// Log lines on standard error.
pub(crate) fn log(config: &Config, color: super::output::Color) {
    let filter = tracing_subscriber::EnvFilter::new(&config.log_level);
    let colored = color.applies(std::io::stderr().is_terminal());
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colored);
    match config.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}

/// Completes at the first SIGINT or SIGTERM. A second one ends the process at once, as a crash would: nothing that was
/// acknowledged is lost.
pub(crate) async fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping; the same signal again ends at once");
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            std::process::exit(1);
        });
    })
}
