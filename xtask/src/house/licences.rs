//! Whose code may come in: licences, sources, banned crates, and one version of each.

use super::graph::{Graph, Package};
use super::policy::{Policy, Used};
use super::spdx;
use std::collections::BTreeMap;

/// The public registry, as lock files name it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Crates that the policy does not let in.
pub(super) fn check(graph: &Graph, policy: &Policy, used: &mut Used) -> Vec<String> {
    let mut findings = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in graph.packages() {
        let Package { name, version, license, source, .. } = package;
        match license.as_deref().map(|text| spdx::satisfied(text, &|licence| policy.allows(name, licence))) {
            Some(Ok(true)) => {}
            Some(Ok(false)) => {
                findings.push(format!("{name} {version}: licence {license:?} is not allowed by deny.toml"))
            }
            Some(Err(error)) => findings.push(format!("{name} {version}: {error}")),
            None => findings.push(format!("{name} {version} names no licence")),
        }
        if let Some(source) = source.as_deref().filter(|source| *source != REGISTRY) {
            findings
                .push(format!("{name} {version} comes from {source}; only the public registry is allowed"));
        }
        if let Some(reason) = policy.banned(name) {
            findings.push(format!("{name} {version} is banned: {reason}"));
        }
        versions.entry(name).or_default().push(package);
    }
    for (name, packages) in versions.into_iter().filter(|(_, packages)| packages.len() > 1) {
        let mut unexcused =
            packages.iter().filter(|package| !policy.may_double(name, &package.version, used));
        if unexcused.nth(1).is_some() {
            let list: Vec<&str> = packages.iter().map(|package| package.version.as_str()).collect();
            findings.push(format!("{name} is in the build {} times: {}", list.len(), list.join(", ")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::graph::tests::graph;
    use super::*;

    fn policy() -> Policy {
        Policy::parse(
            r#"
            graph.targets = []
            licenses.allow = ["MIT"]
            licenses.exceptions = [{ crate = "fuzzer", allow = ["NCSA"] }]
            bans.deny = [{ crate = "cmake", reason = "needs cmake" }]
            bans.skip = [{ crate = "old@1", reason = "someone needs it" }]
            "#,
        )
    }

    fn findings(lines: &str) -> Vec<String> {
        check(&graph(lines), &policy(), &mut Used::default())
    }

    #[test]
    fn a_licence_nobody_allowed_is_found() {
        assert_eq!(findings("a 1 MIT\nb 1 GPL-3.0_OR_MIT"), [""; 0]);
        assert_eq!(findings("a 1 GPL-3.0").len(), 1);
        assert_eq!(findings("a 1").len(), 1);
    }

    #[test]
    fn an_exception_holds_for_its_crate_only() {
        assert!(findings("fuzzer 1 MIT_AND_NCSA").is_empty());
        assert_eq!(findings("other 1 MIT_AND_NCSA").len(), 1);
    }

    #[test]
    fn a_banned_crate_is_found_with_the_reason() {
        assert_eq!(findings("cmake 1 MIT"), ["cmake 1 is banned: needs cmake"]);
    }

    #[test]
    fn two_versions_of_a_crate_are_found_unless_one_is_excused() {
        assert_eq!(findings("a 1.0.0 MIT\na 2.0.0 MIT"), ["a is in the build 2 times: 1.0.0, 2.0.0"]);
        assert!(findings("old 1.0.0 MIT\nold 2.0.0 MIT").is_empty());
    }

    #[test]
    fn an_excuse_that_nothing_needs_is_found() {
        let (policy, mut used) = (policy(), Used::default());
        check(&graph("old 2.0.0 MIT"), &policy, &mut used);
        assert_eq!(policy.unused(&used).len(), 1);
        check(&graph("old 1.0.0 MIT\nold 2.0.0 MIT"), &policy, &mut used);
        assert!(policy.unused(&used).is_empty());
    }
}
