//! The crates of a build and who depends on whom, as `cargo metadata` tells it.

use crate::shell::{FUZZ_MANIFEST, cargo, output};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The resolved crates of one workspace for one platform.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    packages: BTreeMap<String, Package>,
    members: BTreeSet<String>,
    needs: BTreeMap<String, Vec<(String, bool)>>,
}

/// One crate.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// `None` for a crate of the repository.
    pub(crate) source: Option<String>,
    id: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

impl Graph {
    /// Asks `cargo` for the workspace of a manifest, built for one platform.
    ///
    /// # Errors
    /// If the metadata cannot be had; for the main workspace, if its lock file is out of date. That of the fuzz
    /// workspace follows by itself when a crate it builds on gets a new dependency.
    pub(crate) fn load(manifest: &str, target: &str) -> Result<Graph> {
        let mut command = cargo("metadata --format-version 1 --filter-platform");
        command.arg(target).arg("--manifest-path").arg(manifest);
        if manifest != FUZZ_MANIFEST {
            command.arg("--locked");
        }
        Graph::parse(&output(&mut command)?)
    }

    fn parse(text: &str) -> Result<Graph> {
        let metadata: Metadata =
            serde_json::from_str(text).context("cargo metadata has another form than expected")?;
        let mut graph =
            Graph { members: metadata.workspace_members.into_iter().collect(), ..Graph::default() };
        for node in metadata.resolve.nodes {
            let needs = node.deps.into_iter().map(|dependency| {
                let shipped = dependency.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"));
                (dependency.pkg, shipped)
            });
            graph.needs.insert(node.id, needs.collect());
        }
        let resolved = metadata.packages.into_iter().filter(|package| graph.needs.contains_key(&package.id));
        graph.packages = resolved.map(|package| (package.id.clone(), package)).collect();
        Ok(graph)
    }

    /// Number of crates.
    pub(crate) fn len(&self) -> usize {
        self.packages.len()
    }

    /// All crates.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.values()
    }

    /// The crates of the workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.members.iter().filter_map(|id| self.packages.get(id))
    }

    /// What a crate depends on directly, leaving out what only its tests need.
    pub(crate) fn needs(&self, package: &Package) -> Vec<&Package> {
        let needs = self.needs.get(&package.id).map(Vec::as_slice).unwrap_or_default();
        needs.iter().filter(|(_, shipped)| *shipped).filter_map(|(id, _)| self.packages.get(id)).collect()
    }
}

/// Names of the crates in the build of a crate of the repository that is built alone, without what only tests need. In
/// the graph of the whole workspace a crate has the features that any other one asks of it, and what these bring.
///
/// # Errors
/// If `cargo tree` does not succeed.
pub(crate) fn build_of(name: &str, target: &str) -> Result<BTreeSet<String>> {
    let mut command = cargo("tree --locked --edges normal,build --prefix none --format {p} --target");
    let listed = output(command.arg(target).arg("--package").arg(name))?;
    Ok(listed.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A graph from `crate version licence: dependency dependency dev:dependency` lines; members begin with `*`.
    pub(in crate::house) fn graph(lines: &str) -> Graph {
        let mut graph = Graph::default();
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let (head, needs) = line.split_once(':').unwrap_or((line, ""));
            let words: Vec<&str> = head.split_whitespace().collect();
            let (name, member) = words[0].strip_prefix('*').map_or((words[0], false), |name| (name, true));
            let id = if member { name.to_owned() } else { format!("{name}@{}", words[1]) };
            let package = Package {
                name: name.to_owned(),
                version: words.get(1).copied().unwrap_or("0.1.0").to_owned(),
                license: words.get(2).map(|text| text.replace('_', " ")),
                source: (!member).then(|| "registry+https://github.com/rust-lang/crates.io-index".to_owned()),
                id: id.clone(),
            };
            if member {
                graph.members.insert(id.clone());
            }
            let needs = needs.split_whitespace().map(|need| match need.strip_prefix("dev/") {
                Some(name) => (name.to_owned(), false),
                None => (need.to_owned(), true),
            });
            graph.needs.insert(id.clone(), needs.collect());
            graph.packages.insert(id, package);
        }
        graph
    }

    #[test]
    fn what_only_tests_need_is_not_shipped() {
        let graph = graph("*a: b@1 dev/c@1\nb 1: d@1\nc 1\nd 1");
        let a = graph.members().next().unwrap();
        assert_eq!(graph.needs(a).iter().map(|need| need.name.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn metadata_keeps_only_what_the_platform_resolves() {
        let text = r#"{"packages":[{"name":"a","version":"1.0.0","license":"MIT","source":null,"id":"a"},
            {"name":"windows","version":"1.0.0","license":"MIT","source":"registry+x","id":"w"}],
            "workspace_members":["a"],"resolve":{"nodes":[{"id":"a","deps":[]}]}}"#;
        let graph = Graph::parse(text).unwrap();
        assert_eq!(graph.packages().map(|package| package.name.as_str()).collect::<Vec<_>>(), ["a"]);
    }
}
