//! `deny.toml`: what may come in from outside. The same file is read by `cargo deny`; the part that needs no network is
//! checked here on every run, so that the check does not depend on that tool being installed.

use crate::shell::root;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;

/// What `deny.toml` says. Keys that only `cargo deny` reads are passed over.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Policy {
    graph: Targets,
    licenses: Licences,
    bans: Bans,
}

#[derive(Debug, Default, Deserialize)]
struct Targets {
    targets: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Licences {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Debug, Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Bans {
    #[serde(default)]
    deny: Vec<Named>,
    #[serde(default)]
    skip: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    #[serde(rename = "crate")]
    name: String,
    #[serde(default)]
    reason: String,
}

/// Which exceptions were needed; the others are to go.
#[derive(Debug, Default)]
pub(super) struct Used(BTreeSet<String>);

impl Policy {
    /// Reads `deny.toml`.
    ///
    /// # Errors
    /// If it is missing or malformed.
    pub(super) fn load() -> Result<Policy> {
        let text = fs::read_to_string(root().join("deny.toml")).context("cannot read deny.toml")?;
        toml::from_str(&text).context("deny.toml is malformed")
    }

    #[cfg(test)]
    pub(super) fn parse(text: &str) -> Policy {
        toml::from_str(text).unwrap()
    }

    /// Platforms the build is judged for.
    pub(super) fn targets(&self) -> impl Iterator<Item = &str> {
        self.graph.targets.iter().map(String::as_str)
    }

    /// Whether this crate may come under this licence.
    pub(super) fn allows(&self, name: &str, licence: &str) -> bool {
        let has = |list: &[String]| list.iter().any(|allowed| allowed == licence);
        has(&self.licenses.allow)
            || self
                .licenses
                .exceptions
                .iter()
                .any(|exception| exception.name == name && has(&exception.allow))
    }

    /// Why this crate may not come in at all, if so.
    pub(super) fn banned(&self, name: &str) -> Option<&str> {
        self.bans.deny.iter().find(|ban| ban.name == name).map(|ban| ban.reason.as_str())
    }

    /// Whether this version may stand beside another one of the same crate.
    pub(super) fn may_double(&self, name: &str, version: &str, used: &mut Used) -> bool {
        let skip = self.bans.skip.iter().find(|skip| match skip.name.split_once('@') {
            Some((skipped, series)) => skipped == name && in_series(version, series),
            None => skip.name == name,
        });
        used.0.extend(skip.map(|skip| skip.name.clone()));
        skip.is_some()
    }

    /// Exceptions from the ban on two versions that nothing needs any more.
    pub(super) fn unused(&self, used: &Used) -> Vec<String> {
        let stale = self.bans.skip.iter().filter(|skip| !used.0.contains(&skip.name));
        stale
            .map(|skip| format!("deny.toml skips {}, of which there is only one version now", skip.name))
            .collect()
    }
}

/// `0.4` is a series of `0.4.10`, as `0.4.10` is; `0.4` is not one of `0.40.1`.
fn in_series(version: &str, series: &str) -> bool {
    version.strip_prefix(series).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::in_series;

    #[test]
    fn a_series_is_a_whole_number_of_parts() {
        assert!(in_series("0.4.10", "0.4") && in_series("0.4.10", "0.4.10"));
        assert!(!in_series("0.40.1", "0.4"));
    }
}
