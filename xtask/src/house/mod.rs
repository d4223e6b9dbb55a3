//! House rules that no compiler checks: which crate may stand on which, whose code may come in, what no file may say.

mod edges;
mod graph;
mod licences;
mod policy;
mod spdx;
mod text;

use crate::shell::FUZZ_MANIFEST;
use anyhow::{Result, bail};
use graph::Graph;
use policy::Policy;

/// Checks every rule and prints every finding.
///
/// # Errors
/// If there are findings, or something needed to look is missing.
pub(crate) fn check() -> Result<()> {
    let policy = Policy::load()?;
    let mut findings = Vec::new();
    let mut used = policy::Used::default();
    for target in policy.targets() {
        let graph = Graph::load("Cargo.toml", target)?;
        let fuzz = Graph::load(FUZZ_MANIFEST, target)?;
        findings.extend(edges::check(&graph));
        findings.extend(edges::check_builds(&graph, &|name| graph::build_of(name, target))?);
        findings.extend(licences::check(&graph, &policy, &mut used));
        findings.extend(licences::check(&fuzz, &policy, &mut used));
        println!("{target}: {} crates in the build, {} with the fuzz targets", graph.len(), fuzz.len());
    }
    findings.extend(policy.unused(&used));
    findings.extend(text::check()?);
    findings.sort();
    findings.dedup();
    for finding in &findings {
        println!("  {finding}");
    }
    println!(
        "advisories are not looked up here, they need the network: `cargo deny check advisories` does it"
    );
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    Ok(())
}
