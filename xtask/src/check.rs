//! `cargo xtask test` and `cargo xtask check`.

use crate::bench::{self, BENCH_MANIFEST};
use crate::shell::{FUZZ_MANIFEST, cargo, first_line, run, target_dir};
use crate::steps::Steps;
use crate::{clients, fuzz, house, openssl, oracles, postgres, soak};
use anyhow::{Result, bail};
use std::process::Command;

/// Other people's implementations bring dependencies that nobody else builds, so they are a workspace of their own.
const ORACLES: &str = "test --manifest-path graven-proof/oracles/Cargo.toml --target-dir";

/// Every check, then every test.
///
/// # Errors
/// If any of them fails; all of them run all the same.
pub(crate) fn test() -> Result<()> {
    let mut steps = Steps::begin();
    steps.run("tools", tools);
    steps.run("PostgreSQL", postgres::install);
    steps.run("OpenSSL", openssl::install);
    steps.run("a verifier of transparency logs", oracles::install);
    steps.run("KurrentDB's clients", clients::install);
    checks(&mut steps);
    steps.run("fuzz targets over their seeds", fuzz::over_seeds);
    steps.run("proofs beside other people's code", || {
        run(cargo(ORACLES).arg(target_dir()).env(oracles::VARIABLE, oracles::program()))
    });
    steps.run("the bench's own tests", bench::tests);
    steps.run("a soak of two minutes, and of one over nodes", soak::of_the_tests);
    steps.run("examples in the documentation", || run(&mut cargo("test --workspace --doc --locked")));
    steps.finish("tests", tests)
}

/// The checks alone.
///
/// # Errors
/// If any of them fails; all of them run all the same.
pub(crate) fn check() -> Result<()> {
    let mut steps = Steps::begin();
    checks(&mut steps);
    steps.finish("tools", tools)
}

fn checks(steps: &mut Steps) {
    steps.run("formatting", formatting);
    steps.run("house rules", house::check);
    steps.run("lints", lints);
}

/// Names the tools the run stands on. Everything else the tests need comes with `cargo`.
fn tools() -> Result<()> {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let needed = [
        ("Rust", first_line(&mut cargo("version"))),
        ("rustfmt", first_line(&mut cargo("fmt --version"))),
        ("clippy", first_line(&mut cargo("clippy --version"))),
        ("a C compiler", first_line(Command::new(&compiler).arg("--version"))),
    ];
    let mut missing = Vec::new();
    for (name, found) in needed {
        match found {
            Some(version) => println!("{name}: {version}"),
            None => missing.push(name),
        }
    }
    match nextest() {
        Some(version) => println!("test runner: {version}"),
        None => println!("test runner: cargo test (cargo-nextest is not installed; it is not needed)"),
    }
    if !missing.is_empty() {
        bail!(
            "missing: {}; `rustup component add rustfmt clippy` brings the Rust tools, `apt-get install gcc libc6-dev` \
             (or your system's like) the C compiler",
            missing.join(", ")
        );
    }
    Ok(())
}

fn nextest() -> Option<String> {
    first_line(&mut cargo("nextest --version"))
}

fn formatting() -> Result<()> {
    run(&mut cargo("fmt --all --check"))?;
    run(cargo("fmt --check --manifest-path").arg(FUZZ_MANIFEST))?;
    run(cargo("fmt --check --manifest-path").arg(clients::RUST))?;
    run(cargo("fmt --check --manifest-path").arg(BENCH_MANIFEST))
}

fn lints() -> Result<()> {
    run(&mut cargo("clippy --workspace --all-targets --locked -- -D warnings"))?;
    fuzz::lints()?;
    bench::lints()
}

/// nextest where it is at hand, because it runs the tests of all crates side by side and closes with one summary;
/// `cargo test` otherwise: building nextest on two cores takes longer than it saves.
fn tests() -> Result<()> {
    let how = if nextest().is_some() {
        "nextest run --workspace --no-fail-fast --locked"
    } else {
        "test --workspace --no-fail-fast --locked --lib --bins --tests --examples"
    };
    run(&mut cargo(how))
}
