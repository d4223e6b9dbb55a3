//! What the peers need on the machine, installed through the ordinary clients: Debian's PostgreSQL and the SQL of
//! message-db. What cannot be installed leaves its target out of the report, with the reason.

use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const POSTGRES_PACKAGE: &str = "postgresql-15";
const POSTGRES_PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
const MESSAGE_DB: &str = "@eventide/message-db";
const MESSAGE_DB_VERSION: &str = "1.3.1";

/// The programs of PostgreSQL and the sources of message-db.
#[derive(Debug)]
pub(crate) struct Postgres {
    programs: PathBuf,
    /// Folder of the unpacked package.
    pub(crate) message_db: PathBuf,
    /// PostgreSQL does not run as root: the user and group it runs as then.
    user: Option<(u32, u32)>,
}

impl Postgres {
    /// Installs what is not there; `tools` keeps the package of message-db from one run to the next.
    ///
    /// # Errors
    /// If something is not there and cannot be installed.
    pub(crate) fn set_up(tools: &Path) -> Result<Postgres> {
        let programs = PathBuf::from(POSTGRES_PROGRAMS);
        if !programs.join("initdb").exists() {
            eprintln!("installing {POSTGRES_PACKAGE}");
            run(Command::new("apt-get").args(["update", "-qq"]))?;
            let mut install = Command::new("apt-get");
            install.args(["install", "-qq", "-y", POSTGRES_PACKAGE]).env("DEBIAN_FRONTEND", "noninteractive");
            run(&mut install)?;
        }
        let message_db = tools.join(format!("message-db-{MESSAGE_DB_VERSION}/package"));
        if !message_db.join("database/install.sh").exists() {
            let dir = message_db.parent().context("a folder for message-db")?;
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
            let package = format!("{MESSAGE_DB}@{MESSAGE_DB_VERSION}");
            let name = run(Command::new("npm").args(["pack", "--silent", &package]).current_dir(dir))?;
            let archive = name.lines().last().context("npm pack names no file")?;
            run(Command::new("tar").args(["xzf", archive]).current_dir(dir))?;
        }
        let user = if rustix::process::geteuid().is_root() {
            Some((id_of("-u", "postgres")?, id_of("-g", "postgres")?))
        } else {
            None
        };
        Ok(Postgres { programs, message_db, user })
    }

    /// A program of PostgreSQL, as the user it may run as.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command.current_dir("/");
        command
    }

    /// Gives a directory to the user PostgreSQL runs as.
    ///
    /// # Errors
    /// If that is not allowed.
    pub(crate) fn own(&self, dir: &Path) -> Result<()> {
        let Some((user, group)) = self.user else { return Ok(()) };
        chown(dir, Some(user), Some(group)).with_context(|| format!("cannot give {} away", dir.display()))
    }

    /// What it says of its version.
    pub(crate) fn version(&self) -> String {
        let version = run(self.command("postgres").arg("--version")).unwrap_or_default();
        format!("{}, message-db {MESSAGE_DB_VERSION}", version.trim())
    }
}

fn id_of(which: &str, user: &str) -> Result<u32> {
    let text = run(Command::new("id").args([which, user]))?;
    text.trim().parse().with_context(|| format!("id {which} {user} says {text:?}"))
}

fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => bail!("cannot start {name}: {error}"),
    };
    ensure!(
        output.status.success(),
        "{name} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
