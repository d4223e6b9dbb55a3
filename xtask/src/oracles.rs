//! `aics-tlog`, a verifier of transparency logs in Python that the tests have judge ours: installed with pip into a virtual
//! environment under the folder for build products, at one version.

use crate::shell::{first_line, output, run, target_dir};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable the tests read the program's path from.
pub(crate) const VARIABLE: &str = "GRAVEN_AICS_TLOG";

const VERSION: &str = "0.2.1";

/// Oldest Python it runs on.
const PYTHON_MIN: (u32, u32) = (3, 12);

/// Installs it where it is not.
///
/// # Errors
/// If there is no Python that is new enough, or pip does not bring it.
pub(crate) fn install() -> Result<()> {
    if installed() {
        println!("aics-tlog: {VERSION}");
        return Ok(());
    }
    let python = pythons().into_iter().find(|python| version(python) >= Some(PYTHON_MIN));
    let (major, minor) = PYTHON_MIN;
    let Some(python) = python else {
        bail!(
            "there is no Python {major}.{minor} or later, on which `aics-tlog` runs; install one, with venv and pip"
        );
    };
    let room = room();
    println!("making {} with {}", room.display(), python.display());
    run(Command::new(&python).args(["-m", "venv", "--clear"]).arg(&room))?;
    let package = format!("aics-tlog=={VERSION}");
    run(Command::new(room.join("bin/pip")).args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        &package,
    ]))?;
    if !installed() {
        bail!("pip installed {package}, and it does not say that it is that");
    }
    println!("aics-tlog: {VERSION}");
    Ok(())
}

/// Where it is.
pub(crate) fn program() -> PathBuf {
    room().join("bin/aics-tlog")
}

fn room() -> PathBuf {
    target_dir().join("aics-tlog")
}

fn installed() -> bool {
    first_line(Command::new(program()).arg("--version")).as_deref() == Some(VERSION)
}

/// Programs that may be a Python: those on the path, and those pyenv keeps.
fn pythons() -> Vec<PathBuf> {
    let mut pythons: Vec<PathBuf> =
        ["python3", "python3.14", "python3.13", "python3.12"].map(PathBuf::from).to_vec();
    let root = first_line(Command::new("pyenv").arg("root"));
    let versions = output(Command::new("pyenv").args(["versions", "--bare"])).unwrap_or_default();
    let kept = versions.lines().filter_map(|version| {
        let root = PathBuf::from(root.as_deref()?);
        Some(root.join("versions").join(version.trim()).join("bin/python3"))
    });
    pythons.extend(kept);
    pythons
}

fn version(python: &Path) -> Option<(u32, u32)> {
    let line = first_line(Command::new(python).arg("--version"))?;
    let mut numbers = line.strip_prefix("Python ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
