//! `cargo xtask bench`: builds what is shipped and what measures it, and runs the measurements.
//!
//! The bench is a workspace of its own, so that nobody who builds, tests or lints Graven builds its peers too.

use crate::shell::{self, cargo, first_line, root, target_dir};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The bench workspace's manifest, relative to the root.
pub(crate) const BENCH_MANIFEST: &str = "bench/Cargo.toml";

/// Measures; the arguments go to the bench, whose `--help` lists them.
///
/// # Errors
/// If something cannot be installed, does not build or cannot be measured.
pub(crate) fn measure(arguments: &[&str]) -> Result<()> {
    compiler_of_peers()?;
    shell::run(&mut cargo("build --locked --profile dist --package graven"))?;
    shell::run(&mut in_bench("build --profile dist"))?;
    let (built, tools) = (target_dir().join("dist"), target_dir().join("bench"));
    let mut bench = Command::new(built.join("graven-bench"));
    bench.arg("--graven").arg(built.join("graven")).arg("--tools").arg(&tools);
    if !arguments.iter().any(|argument| ["--quick", "--smoke", "--only"].contains(argument)) {
        bench.arg("--graven-without-audit").arg(without_audit(&built, &tools)?);
    }
    shell::run(bench.args(arguments).current_dir(root()).stdin(Stdio::null()))
}

/// The server without its audit trail, which nothing but a comparison needs. The one that is shipped lies beside it again
/// afterwards.
fn without_audit(built: &Path, tools: &Path) -> Result<PathBuf> {
    let graven = "build --locked --profile dist --package graven";
    shell::run(&mut cargo(&format!("{graven} --features measure-without-audit")))?;
    let (shipped, copy) = (built.join("graven"), tools.join("graven-without-audit"));
    fs::create_dir_all(tools).with_context(|| format!("create {}", tools.display()))?;
    fs::copy(&shipped, &copy).with_context(|| format!("copy {}", shipped.display()))?;
    shell::run(&mut cargo(graven))?;
    Ok(copy)
}

/// Lints the bench without its peers, which takes a third of the time.
///
/// # Errors
/// If there is anything to say.
pub(crate) fn lints() -> Result<()> {
    shell::run(&mut in_bench("clippy --all-targets --no-default-features -- -D warnings"))
}

/// The bench's own tests, without its peers.
///
/// # Errors
/// If one fails.
pub(crate) fn tests() -> Result<()> {
    shell::run(&mut in_bench("test --no-default-features"))
}

/// UmaDB's crates want `protoc` to build; nothing of Graven does.
fn compiler_of_peers() -> Result<()> {
    if first_line(Command::new("protoc").arg("--version")).is_some() || std::env::var_os("PROTOC").is_some() {
        return Ok(());
    }
    println!("installing protobuf-compiler, which a peer needs to build");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        shell::run(&mut command).context("the bench needs protoc (package protobuf-compiler)")
    };
    apt(&["update", "-qq"])?;
    apt(&["install", "-qq", "-y", "protobuf-compiler"])
}

/// `cargo` in the bench workspace, building where the main workspace does.
fn in_bench(arguments: &str) -> Command {
    let (verb, rest) = arguments.split_once(' ').unwrap_or((arguments, ""));
    let mut command = cargo(verb);
    command.args(["--manifest-path", BENCH_MANIFEST]).args(rest.split_whitespace());
    command.env("CARGO_TARGET_DIR", target_dir());
    command
}
