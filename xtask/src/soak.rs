//! `cargo xtask soak`: the history check (`graven-soak`) over a server that is killed again and again, or with `--nodes N`
//! over several that share a journal in PostgreSQL.

use crate::shell::{cargo, run, target_dir};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

/// Builds with optimisation and runs for so many minutes; further arguments go to `graven-soak`.
///
/// # Errors
/// If it does not build, or what the server said does not agree with its log.
pub(crate) fn measure(arguments: &[&str]) -> Result<()> {
    run(&mut cargo("build --release --locked --package graven --package graven-soak"))?;
    soak(&target_dir().join("release"), arguments)
}

/// Two minutes over one server and one over three nodes, on what the tests are built from anyway.
///
/// # Errors
/// As [`measure`].
pub(crate) fn of_the_tests() -> Result<()> {
    run(&mut cargo("build --locked --package graven --package graven-soak"))?;
    let built = target_dir().join("debug");
    soak(&built, &["--minutes", "2", "--rate", "400"])?;
    soak(&built, &["--minutes", "1", "--rate", "300", "--nodes", "3"])
}

/// The data is kept when something was found.
fn soak(built: &Path, arguments: &[&str]) -> Result<()> {
    let dir = target_dir().join("soak");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    }
    let mut command = Command::new(built.join("graven-soak"));
    command
        .arg("--binary")
        .arg(built.join("graven"))
        .arg("--dir")
        .arg(&dir)
        .args(arguments)
        .stdin(Stdio::null());
    let status = command.status().context("cannot start graven-soak")?;
    if !status.success() {
        bail!("the soak ended with {status}; the data is in {}", dir.display());
    }
    std::fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))
}
