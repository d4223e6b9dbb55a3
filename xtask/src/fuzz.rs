//! Fuzzing: the targets over their seeds (part of every test run), and `cargo xtask fuzz`, which searches.
//!
//! The search needs no nightly compiler and no further tool: the coverage counters that libFuzzer reads are put in by
//! LLVM passes that the stable compiler has too. Memory sanitising, which does need nightly, would find little in code
//! without `unsafe`. It needs a C++ compiler, because libFuzzer is C++; the tests do not.

use crate::shell::{self, FUZZ_MANIFEST, cargo, output, root, target_dir};
use anyhow::{Context, Result, bail};
use std::fs;
use std::process::{Command, Stdio};

/// Seconds of search unless told.
pub(crate) const SECONDS_DEFAULT: u64 = 60;

/// Bytes of an input at the most: beyond it more bytes find little more.
const INPUT_BYTES_MAX: u32 = 64 << 10;

/// Seconds one input may take before it counts as a finding.
const INPUT_SECONDS_MAX: u32 = 10;

const INSTRUMENTED: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1";

/// Runs every target over its seeds and a bounded number of mutations of them.
///
/// # Errors
/// If a target does not build or breaks.
pub(crate) fn over_seeds() -> Result<()> {
    shell::run(&mut in_fuzz("test --no-default-features"))
}

/// Lints the targets; with them what libFuzzer calls, but not libFuzzer itself.
///
/// # Errors
/// If there is anything to say.
pub(crate) fn lints() -> Result<()> {
    shell::run(&mut in_fuzz("clippy --all-targets --no-default-features --features targets -- -D warnings"))
}

/// Prints the targets.
///
/// # Errors
/// If the list does not build.
pub(crate) fn list() -> Result<()> {
    shell::run(&mut in_fuzz("run --quiet --no-default-features --bin seeds"))
}

/// Searches for an input that breaks a target, beginning from its seeds and from what earlier searches kept.
///
/// # Errors
/// If there is no such target, no C++ compiler, or the search finds something.
pub(crate) fn search(target: &str, seconds: u64) -> Result<()> {
    let corpus = root().join("fuzz/corpus").join(target);
    let artifacts = root().join("fuzz/artifacts").join(target);
    shell::run(in_fuzz("run --quiet --no-default-features --bin seeds --").arg(target).arg(&corpus))?;
    fs::create_dir_all(&artifacts).with_context(|| format!("cannot create {}", artifacts.display()))?;

    let host = host()?;
    let built = root().join("fuzz/target");
    let mut build = cargo("build --release --bin");
    build.arg(target).args(["--manifest-path", FUZZ_MANIFEST, "--target", &host]);
    // the flags hold for the target alone, not for build scripts, because a platform is named
    build.env("RUSTFLAGS", INSTRUMENTED).env("CARGO_TARGET_DIR", &built);
    shell::run(&mut build).context("libFuzzer is C++: a C++ compiler has to be there")?;

    let mut fuzzer = Command::new(built.join(host).join("release").join(target));
    fuzzer.arg(&corpus).current_dir(root()).stdin(Stdio::null());
    fuzzer.arg(format!("-artifact_prefix={}/", artifacts.display()));
    fuzzer.arg(format!("-max_total_time={seconds}"));
    fuzzer.arg(format!("-max_len={INPUT_BYTES_MAX}")).arg(format!("-timeout={INPUT_SECONDS_MAX}"));
    let outcome = shell::run(&mut fuzzer);
    if outcome.is_err() {
        bail!(
            "{target} broke; the input is in {}: fix it and keep it in fuzz/regressions/{target}",
            artifacts.display()
        );
    }
    Ok(())
}

/// `cargo` in the fuzz workspace, building where the main workspace does.
fn in_fuzz(arguments: &str) -> Command {
    let (verb, rest) = arguments.split_once(' ').unwrap_or((arguments, ""));
    let mut command = cargo(verb);
    command.args(["--manifest-path", FUZZ_MANIFEST]).args(rest.split_whitespace());
    command.env("CARGO_TARGET_DIR", target_dir());
    command
}

fn host() -> Result<String> {
    let version = output(Command::new("rustc").arg("-vV").current_dir(root()))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}
