//! PostgreSQL's programs, which the tests of the shared journal start clusters of their own with.

use crate::shell::{first_line, run};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Where Debian's packages put a folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Names the folder that tests look in before they look in Debian's.
const NAMED: &str = "GRAVEN_TEST_POSTGRES_BIN";

/// Where Debian's packages read whether installing a server also makes and starts a cluster.
const CLUSTERS: &str = "/etc/postgresql-common";

/// Installs Debian's `postgresql` where there is no `initdb`, without the cluster that comes with it: the tests make their
/// own, and nothing should listen that nobody asked for.
///
/// # Errors
/// If it is not there and cannot be installed: on another system, or without the right to.
pub(crate) fn install() -> Result<()> {
    if let Some(programs) = installed() {
        println!("PostgreSQL: {programs}");
        return Ok(());
    }
    if first_line(Command::new("id").arg("-u")).as_deref() != Some("0") {
        bail!(
            "there is no {VERSIONS}/*/bin/initdb, and only root may install it: `apt-get install postgresql`, or name the \
             folder of PostgreSQL's programs in {NAMED}"
        );
    }
    println!(
        "there is no {VERSIONS}/*/bin/initdb: installing Debian's package postgresql, without a cluster"
    );
    let file = Path::new(CLUSTERS).join("createcluster.conf");
    if !file.exists() {
        fs::create_dir_all(CLUSTERS).with_context(|| format!("cannot make {CLUSTERS}"))?;
        fs::write(&file, "create_main_cluster = false\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-qq", "-y", "--no-install-recommends", "postgresql"]);
    run(install.env("DEBIAN_FRONTEND", "noninteractive"))?;
    let programs = installed().context("the package postgresql brought no initdb")?;
    println!("PostgreSQL: {programs}");
    Ok(())
}

fn installed() -> Option<String> {
    if let Some(named) = std::env::var_os(NAMED) {
        return Some(named.to_string_lossy().into_owned());
    }
    let versions = fs::read_dir(VERSIONS).ok()?.flatten();
    let programs =
        versions.map(|version| version.path().join("bin")).find(|bin| bin.join("initdb").exists())?;
    Some(programs.display().to_string())
}
