//! The Graven server: the real binary, as it is shipped, with its defaults. Alone, or as two nodes that share a journal in
//! PostgreSQL: one writes, the other is read from.

#[cfg(feature = "peers")]
use super::message_db::MessageDbServer;
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
    /// Not a journal of its own, but one that is shared.
    #[cfg(feature = "peers")]
    shared: Option<Box<Sharing>>,
}

/// What a writer shares its journal with.
#[cfg(feature = "peers")]
#[derive(Debug)]
struct Sharing {
    follower: GravenServer,
    postgres: MessageDbServer,
}

impl GravenServer {
    /// Starts the binary on the store in `dir`; it is ready when this returns.
    ///
    /// # Errors
    /// If it does not become ready.
    pub(crate) fn start(binary: &Path, dir: &Path) -> Result<GravenServer> {
        GravenServer::start_with(binary, dir, &[])
    }

    /// Starts a writer and a follower on a PostgreSQL that runs.
    ///
    /// # Errors
    /// If one does not become ready.
    #[cfg(feature = "peers")]
    pub(crate) fn start_shared(binary: &Path, dir: &Path, postgres: MessageDbServer) -> Result<GravenServer> {
        let url = postgres.url();
        let mut writer = GravenServer::start_with(binary, &dir.join("writer"), &["--journal", &url])?;
        let follower =
            GravenServer::start_with(binary, &dir.join("follower"), &["--journal", &url, "--follow"])?;
        writer.shared = Some(Box::new(Sharing { follower, postgres }));
        Ok(writer)
    }

    fn start_with(binary: &Path, dir: &Path, options: &[&str]) -> Result<GravenServer> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let mut command = without_settings(binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(dir.join("store")).args(options);
        let mut server = Server::start(&mut command, &dir.join("log"))?;
        let address = server.wait_for(|line| {
            let rest = line.split_once("graven is ready on http://")?.1;
            Some(rest.split_whitespace().next()?.to_owned())
        })?;
        Ok(GravenServer {
            server,
            address,
            #[cfg(feature = "peers")]
            shared: None,
        })
    }

    /// Whether it shares its journal.
    pub(crate) fn is_shared(&self) -> bool {
        #[cfg(feature = "peers")]
        return self.shared.is_some();
        #[cfg(not(feature = "peers"))]
        return false;
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Where it is read from: `127.0.0.1:PORT`, of the follower if there is one.
    pub(crate) fn reads_at(&self) -> &str {
        #[cfg(feature = "peers")]
        if let Some(shared) = &self.shared {
            return shared.follower.address();
        }
        self.address()
    }

    /// The process ids of all that do the work.
    pub(crate) fn ids(&self) -> Vec<u32> {
        #[cfg(feature = "peers")]
        if let Some(shared) = &self.shared {
            return vec![self.server.id(), shared.follower.server.id(), shared.postgres.id()];
        }
        vec![self.server.id()]
    }

    /// Asks it to end and waits.
    ///
    /// # Errors
    /// If it does not end.
    pub(crate) fn stop(self) -> Result<()> {
        #[cfg(feature = "peers")]
        if let Some(shared) = self.shared {
            shared.follower.stop()?;
            self.server.stop()?;
            return shared.postgres.stop();
        }
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
