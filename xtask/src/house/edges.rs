//! Which crate of the repository may stand on which: no edge points upward (see ARCHITECTURE.md).

use super::graph::Graph;
use anyhow::Result;
use std::collections::BTreeSet;

/// One crate's place.
struct Place {
    name: &'static str,
    /// The crates of the repository it may depend on.
    may_need: &'static [&'static str],
    /// Crates from outside that must not be in its build at all, directly or through others.
    never: &'static [&'static str],
}

const NO_RUNTIME: &[&str] = &["tokio", "axum", "hyper", "tonic", "prost", "utoipa", "clap", "ureq", "rustix"];
const NO_IO: &[&str] = &["axum", "hyper", "utoipa", "clap", "ureq", "rustix"];
const NO_WIRE: &[&str] = &["axum", "hyper", "http", "tower", "tonic", "prost", "utoipa", "clap", "ureq"];

/// From the bottom up. A crate that is not here has no place yet.
const PLACES: &[Place] = &[
    Place { name: "graven-proof", may_need: &[], never: NO_RUNTIME },
    Place { name: "graven-model", may_need: &["graven-proof"], never: NO_RUNTIME },
    Place { name: "graven-proto", may_need: &["graven-model"], never: NO_IO },
    Place {
        name: "graven-client",
        may_need: &["graven-proof", "graven-model", "graven-proto"],
        never: &["axum", "clap"],
    },
    Place { name: "graven-engine", may_need: &["graven-proof", "graven-model"], never: NO_WIRE },
    Place { name: "graven-postgres", may_need: &["graven-model", "graven-engine"], never: NO_WIRE },
    Place { name: "graven-pgtest", may_need: &[], never: NO_WIRE },
    Place {
        name: "graven",
        may_need: &["graven-proof", "graven-model", "graven-proto", "graven-engine", "graven-postgres"],
        never: &["graven-sim", "graven-pgtest"],
    },
    Place {
        name: "graven-sim",
        may_need: &["graven-proof", "graven-model", "graven-engine"],
        never: NO_WIRE,
    },
    Place {
        name: "graven-soak",
        may_need: &["graven-model", "graven-client", "graven-pgtest"],
        never: &["graven-engine"],
    },
    Place { name: "xtask", may_need: &[], never: &[] },
];

/// Crates whose dependencies stand in another one's way.
pub(super) fn check(graph: &Graph) -> Vec<String> {
    let mut findings = Vec::new();
    for member in graph.members() {
        let Some(place) = PLACES.iter().find(|place| place.name == member.name) else {
            findings.push(format!(
                "{} has no place: say in xtask/src/house/edges.rs what it may need",
                member.name
            ));
            continue;
        };
        for need in graph.needs(member) {
            if need.source.is_none() && !place.may_need.contains(&need.name.as_str()) {
                findings.push(format!("{} depends on {}: no edge points upward", member.name, need.name));
            }
        }
    }
    findings
}

/// Crates of the repository that have something in their build which must stay out of it. `build_of` tells the names
/// in the build of a crate that is built alone.
///
/// # Errors
/// Those of `build_of`.
pub(super) fn check_builds(
    graph: &Graph,
    build_of: &dyn Fn(&str) -> Result<BTreeSet<String>>,
) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    let names: BTreeSet<&str> = graph.members().map(|member| member.name.as_str()).collect();
    for place in PLACES.iter().filter(|place| names.contains(place.name) && !place.never.is_empty()) {
        let build = build_of(place.name)?;
        for name in place.never.iter().filter(|name| build.contains(**name)) {
            findings.push(format!("{} has {name} in its build, which must stay out of it", place.name));
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::super::graph::tests::graph;
    use super::*;

    #[test]
    fn an_edge_that_points_upward_is_found() {
        let graph = graph("*graven-proof: graven-model\n*graven-model: graven-proof");
        assert_eq!(check(&graph), ["graven-proof depends on graven-model: no edge points upward"]);
    }

    #[test]
    fn the_order_of_the_house_is_accepted_and_tests_may_look_anywhere() {
        let graph = graph(
            "*graven-proof:\n*graven-model: graven-proof\n*graven-engine: graven-model dev/graven-sim\n*graven-sim: graven-engine",
        );
        assert!(check(&graph).is_empty());
    }

    #[test]
    fn a_web_framework_below_the_binary_is_found() {
        let build_of = |name: &str| Ok([name, "bytes", "axum"].map(str::to_owned).into());
        let findings = check_builds(&graph("*graven-engine:\n*xtask:"), &build_of).unwrap();
        assert_eq!(findings, ["graven-engine has axum in its build, which must stay out of it"]);
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        assert_eq!(check(&graph("*graven-utils:")).len(), 1);
    }
}
