//! The machine, and what is measured on it.

use crate::products::Installed;
use crate::run::file_system;
use crate::targets::graven_server;
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Graven binary, and the peers that can be had. What cannot is named with the reason.
///
/// # Errors
/// If there is no Graven binary.
pub(crate) fn install(
    graven: Option<&Path>,
    without_audit: Option<&Path>,
    tools: &Path,
) -> Result<(Installed, Vec<String>)> {
    let graven = graven_server::binary(graven)?;
    let graven_without_audit = without_audit.map(|path| graven_server::binary(Some(path))).transpose()?;
    #[cfg(feature = "peers")]
    {
        let (postgres, left_out) = match crate::setup::Postgres::set_up(tools) {
            Ok(postgres) => (Some(postgres), Vec::new()),
            Err(error) => (None, vec![format!("message-db: {error:#}")]),
        };
        for reason in &left_out {
            eprintln!("left out: {reason}");
        }
        Ok((Installed { graven, graven_without_audit, postgres }, left_out))
    }
    #[cfg(not(feature = "peers"))]
    {
        let _ = tools;
        Ok((
            Installed { graven, graven_without_audit },
            vec!["UmaDB, message-db: built without them".to_owned()],
        ))
    }
}

/// A path beside this program.
pub(crate) fn beside_me(name: &str) -> PathBuf {
    std::env::current_exe().ok().and_then(|me| Some(me.parent()?.join(name))).unwrap_or_else(|| name.into())
}

/// The day, by the clock of the machine.
pub(crate) fn today() -> String {
    first_line(Command::new("date").args(["-u", "+%F"]))
}

/// What may matter for the figures.
pub(crate) fn describe(dir: &Path) -> Vec<(String, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
            .unwrap_or_else(|| "unknown".into())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    let facts = [
        ("processor", format!("{cores} × {}", field(&read("/proc/cpuinfo"), "model name"))),
        ("memory", field(&read("/proc/meminfo"), "MemTotal")),
        ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("file system of the stores", file_system(dir)),
        ("load before the run", load.split(' ').next().unwrap_or_default().to_owned()),
    ];
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Versions of what is measured.
pub(crate) fn versions(installed: &Installed) -> Vec<(String, String)> {
    let mut versions = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let commit =
        first_line(Command::new("git").arg("-C").arg(root).args(["describe", "--always", "--dirty"]));
    let graven = first_line(Command::new(&installed.graven).arg("--version"));
    versions.push(("Graven".to_owned(), format!("{graven} ({commit})")));
    #[cfg(feature = "peers")]
    {
        let umadb = first_line(Command::new(beside_me("umadb-server")).arg("--version"));
        versions.push(("UmaDB".to_owned(), umadb));
        if let Some(postgres) = &installed.postgres {
            versions.push(("message-db".to_owned(), postgres.version()));
        }
    }
    versions
}

fn first_line(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}
