//! OpenSSL's program, which the tests of timestamps make an authority of, and have judge what is kept.

use crate::shell::{first_line, run};
use anyhow::{Context, Result, bail};
use std::process::Command;

/// Installs Debian's `openssl` where there is none.
///
/// # Errors
/// If it is not there and cannot be installed: on another system, or without the right to.
pub(crate) fn install() -> Result<()> {
    if let Some(version) = installed() {
        println!("OpenSSL: {version}");
        return Ok(());
    }
    if first_line(Command::new("id").arg("-u")).as_deref() != Some("0") {
        bail!("there is no `openssl`, and only root may install it: `apt-get install openssl`");
    }
    println!("there is no `openssl`: installing Debian's package of this name");
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-qq", "-y", "--no-install-recommends", "openssl"]);
    run(install.env("DEBIAN_FRONTEND", "noninteractive"))?;
    let version = installed().context("the package openssl brought no program of this name")?;
    println!("OpenSSL: {version}");
    Ok(())
}

fn installed() -> Option<String> {
    first_line(Command::new("openssl").arg("version"))
}
