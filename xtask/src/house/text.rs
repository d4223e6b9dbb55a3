//! What no file may say or be: names of one machine, unfinished work, rooms without walls, links to nowhere.

use crate::shell::{output, root};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// Lines of a Rust file at the most: more are usually code and inline tests, which move to a `tests.rs` beside it.
const RUST_LINES_MAX: usize = 800;

/// Lines of ARCHITECTURE.md at the most: what is longer is not read.
const ARCHITECTURE_LINES_MAX: usize = 300;

/// What ties a file to one machine, in two parts so that this file does not contain it.
const OF_ONE_MACHINE: &[(&str, &str)] = &[
    ("../", "shared"),
    ("/wo", "rk/"),
    ("/ro", "ot/"),
    ("static.", "crates.io"),
    ("index.", "crates.io"),
    ("pypi.", "org"),
    ("python", "hosted.org"),
    ("registry.", "npmjs.org"),
    ("proxy.", "golang.org"),
    ("deb.", "debian.org"),
    ("index", "-url"),
];

/// What marks unfinished work in a Rust file.
const UNFINISHED: &[(&str, &str)] = &[("TO", "DO"), ("FIX", "ME"), ("#[ign", "ore"), ("unimple", "mented!(")];

/// Files that break a rule.
///
/// # Errors
/// If `git` cannot list the files, or one cannot be read.
pub(super) fn check() -> Result<Vec<String>> {
    // what is committed, and what would be with the next commit
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]).current_dir(root());
    let listed = output(&mut git).context("the files of the repository are listed by git")?;
    let mut findings = Vec::new();
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let path = root().join(name);
        if !path.is_file() {
            continue; // removed, but not yet from the index
        }
        let bytes = fs::read(&path).with_context(|| format!("cannot read {name}"))?;
        let Ok(text) = std::str::from_utf8(&bytes) else { continue };
        findings.extend(judge(Path::new(name), text));
        if name.ends_with(".md") {
            findings.extend(dead_links(Path::new(name), text, &|path| root().join(path).exists()));
        }
    }
    Ok(findings)
}

fn judge(name: &Path, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let is_rust = name.extension().is_some_and(|extension| extension == "rs");
    let is_generated = name.iter().any(|part| part == "generated");
    let lines_max = match name.to_str() {
        Some("ARCHITECTURE.md") => ARCHITECTURE_LINES_MAX,
        _ if is_rust && !is_generated => RUST_LINES_MAX,
        _ => usize::MAX,
    };
    let lines = text.lines().count();
    if lines > lines_max {
        findings.push(format!("{} has {lines} lines, {lines_max} at the most", name.display()));
    }
    let unfinished = if is_rust { UNFINISHED } else { &[] };
    for (number, line) in text.lines().enumerate() {
        for (first, second) in OF_ONE_MACHINE.iter().chain(unfinished) {
            if line.match_indices(first).any(|(at, _)| line[at + first.len()..].starts_with(second)) {
                findings.push(format!("{}:{}: says {first}{second}", name.display(), number + 1));
            }
        }
    }
    findings
}

/// Relative links of a Markdown document that lead nowhere.
fn dead_links(name: &Path, text: &str, exists: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (at, opening) in line.match_indices("](") {
            let Some((link, _)) = line[at + opening.len()..].split_once(')') else { continue };
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            if !exists(&beside(name, file)) {
                findings.push(format!(
                    "{}:{}: links to {file}, which is not there",
                    name.display(),
                    number + 1
                ));
            }
        }
    }
    findings
}

/// The path a link means, seen from the root.
fn beside(name: &Path, link: &str) -> PathBuf {
    let mut path = name.parent().map(Path::to_path_buf).unwrap_or_default();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(part) => path.push(part),
            _ => {}
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_one_machine_is_found_with_its_line() {
        let text = format!("fine\nsee {}{}/x\n", "/wo", "rk/main");
        assert_eq!(judge(Path::new("a.md"), &text).len(), 1);
        assert!(judge(Path::new("a.md"), &text)[0].starts_with("a.md:2:"));
        assert!(judge(Path::new("a.md"), "a network/worker path").is_empty());
    }

    #[test]
    fn unfinished_work_is_found_in_code_only() {
        let text = format!("// {}{} later", "TO", "DO");
        assert_eq!(judge(Path::new("a.rs"), &text).len(), 1);
        assert!(judge(Path::new("a.md"), &text).is_empty());
    }

    #[test]
    fn a_file_that_is_too_long_is_found() {
        assert!(judge(Path::new("a.rs"), &"x\n".repeat(RUST_LINES_MAX)).is_empty());
        assert_eq!(judge(Path::new("a.rs"), &"x\n".repeat(RUST_LINES_MAX + 1)).len(), 1);
        assert!(judge(Path::new("a/src/generated/b.rs"), &"x\n".repeat(RUST_LINES_MAX + 1)).is_empty());
        assert_eq!(judge(Path::new("ARCHITECTURE.md"), &"x\n".repeat(ARCHITECTURE_LINES_MAX + 1)).len(), 1);
    }

    #[test]
    fn a_link_to_a_missing_file_is_found() {
        let exists = |path: &Path| path == Path::new("docs/format.md") || path == Path::new("README.md");
        let text = "[a](format.md#leaf) [b](../README.md) [c](https://example.org/x) [d](#here) [e](gone.md)";
        let findings = dead_links(Path::new("docs/index.md"), text, &exists);
        assert_eq!(findings, ["docs/index.md:1: links to gone.md, which is not there"]);
    }
}
