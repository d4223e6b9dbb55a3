//! The Graven server: the real binary, as it is shipped, with its defaults.

use crate::server::Server;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A running `graven serve`.
#[derive(Debug)]
pub(crate) struct GravenServer {
    server: Server,
    address: String,
}

impl GravenServer {
    /// Starts the binary on the store in `dir`; it is ready when this returns.
    ///
    /// # Errors
    /// If it does not become ready.
    pub(crate) fn start(binary: &Path, dir: &Path) -> Result<GravenServer> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let mut command = without_settings(binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(dir.join("store"));
        let mut server = Server::start(&mut command, &dir.join("log"))?;
        let address = server.wait_for(|line| {
            let rest = line.split_once("graven is ready on http://")?.1;
            Some(rest.split_whitespace().next()?.to_owned())
        })?;
        Ok(GravenServer { server, address })
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    /// Asks it to end and waits.
    ///
    /// # Errors
    /// If it does not end.
    pub(crate) fn stop(self) -> Result<()> {
        self.server.stop()
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(self) {
        self.server.kill();
    }
}

/// Imports a file of CloudEvents into a stopped store; returns how long the command took.
///
/// # Errors
/// If the command fails.
pub(crate) fn import(binary: &Path, dir: &Path, file: &Path) -> Result<Duration> {
    let mut command = without_settings(binary);
    command.args(["import", "--data"]).arg(dir.join("store")).arg(file);
    let begun = Instant::now();
    let output = command.output().context("cannot start graven import")?;
    let took = begun.elapsed();
    anyhow::ensure!(
        output.status.success(),
        "graven import ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(took)
}

/// Where the shipped binary lies.
///
/// # Errors
/// If it is not there.
pub(crate) fn binary(given: Option<&Path>) -> Result<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|me| Some(me.parent()?.join("graven")));
    let path = given.map(Path::to_owned).or(beside).context("where is graven?")?;
    path.canonicalize()
        .with_context(|| format!("there is no {}; --graven PATH says where it is", path.display()))
}

fn without_settings(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GRAVEN_")) {
        command.env_remove(name);
    }
    command
}
