//! Whether a bundle holds, from the outside in: files, tiles, records about the log, signatures, events, completeness,
//! proofs. What cannot be gone on from ends the check; anything else is added to the report, which keeps the finding that
//! counts. `verify.py`, which stands in every bundle, does the same in the same order and gives the same codes.

mod events;
mod heads;
mod keys;
mod manifest;
mod tree;
mod whole;

use super::layout::{CHECKPOINT, ControlLine, ERASURES, POLICY, TIMESTAMP};
use super::{Files, Manifest, Scope};
use crate::Hash;
use crate::base64;
use crate::checkpoint::SignedCheckpoint;
use crate::control::Control;
use crate::erased::Erased;
use crate::finding::{CheckpointRef, Finding, FindingCode, Report, Trust};
use crate::leaf::Leaf;
use crate::merkle::TreeHead;
use crate::policy::Policy;
use crate::tiles::{Bundle, TilePath};
use serde::de::DeserializeOwned;
use tree::Tiles;

/// Judges a bundle by whom `trust` believes. Without it everything else is checked, and the report says that nobody
/// vouches for the result: such a bundle does not pass.
///
/// Memory: a file at a time, the hashes above the leaves', and where each stream stands.
#[must_use]
pub fn check(files: &dyn Files, trust: Option<&Policy>) -> Report {
    let mut report = Report::default();
    if let Err(finding) = judge(files, trust, &mut report) {
        report.add(*finding);
    }
    report
}

/// What cannot be gone on from.
type Stop = Box<Finding>;

fn judge(files: &dyn Files, trust: Option<&Policy>, report: &mut Report) -> Result<(), Stop> {
    let manifest = manifest::compare(files, report)?;
    let checkpoint = checkpoint(files, &manifest, report)?;
    let head = checkpoint.unverified_head();
    let tiles = Tiles::verified(files, &manifest, &head)?;
    let log = Log { files, manifest: &manifest, head, tiles };
    log.entries()?;

    policy(files, report);
    keys::believe(&log, &checkpoint, trust, report)?;
    let erasures = erasures(&log, report)?;
    whole::prove(&log, &erasures, report)?;
    whole::proofs(&log, &checkpoint, report);

    if manifest.lists(TIMESTAMP) {
        report
            .note("a timestamp is there; `openssl ts -verify` checks it against its authority's certificate");
    }
    report.trust = if trust.is_some() { Trust::GivenKeys } else { Trust::NotVouched };
    report.checkpoints = 1;
    if report.is_clean() {
        let id = checkpoint.note().signatures().first().map(|signature| signature.id().to_string());
        report.last_good_checkpoint = Some(CheckpointRef::new(&head, id));
    }
    Ok(())
}

/// What all steps look at: files, and the tree they are in, whose tiles lead to the root of the checkpoint.
struct Log<'a> {
    files: &'a dyn Files,
    manifest: &'a Manifest,
    head: TreeHead,
    tiles: Tiles<'a>,
}

impl Log<'_> {
    /// The leaf of a [`ControlLine`], which has to be in the tree where it says.
    fn control(&self, path: &str, line: &ControlLine, bytes: &mut Vec<u8>) -> Result<(), Stop> {
        *bytes = base64::decode(&line.leaf).ok_or_else(|| malformed(path, "a leaf in base64"))?;
        self.leaf(line.position, bytes).map(drop)
    }

    /// A leaf at its position, compared with its hash in the tree.
    fn leaf<'b>(&self, position: u64, bytes: &'b [u8]) -> Result<(Leaf<'b>, Hash), Stop> {
        let expected = self.tiles.leaf_hash(position)?;
        let found = crate::merkle::leaf_hash(bytes);
        if found != expected {
            let (expected, found) = (hex(&expected), hex(&found));
            return Err(stop(
                FindingCode::LeafHashMismatch,
                format!("leaf hash {expected}"),
                found,
                position,
            ));
        }
        let leaf = Leaf::decode(bytes)
            .map_err(|error| stop(FindingCode::LeafMalformed, "a leaf", error.to_string(), position))?;
        if leaf.position != position {
            let found = leaf.position.to_string();
            return Err(stop(FindingCode::PositionMismatch, position.to_string(), found, position));
        }
        Ok((leaf, found))
    }

    /// Every bundle of leaves, also those around the ends of a range: each leaf has to be the one in the tree.
    fn entries(&self) -> Result<(), Stop> {
        for file in &self.manifest.files {
            let Ok(TilePath::Entries(bundle)) = file.path.parse() else { continue };
            if Bundle::of_log(self.head.size, bundle.index) != Some(bundle) {
                return Err(malformed(&file.path, "leaves of a log of the checkpoint's size"));
            }
            let entries = self.tiles.entries(bundle.first())?;
            for (position, leaf) in entries.iter().flat_map(|entries| (entries.first..).zip(&entries.leaves))
            {
                self.leaf(position, leaf)?;
            }
        }
        Ok(())
    }

    /// The lines of a file of control records, each with its leaf, ascending.
    fn control_lines(&self, path: &str) -> Result<Vec<(u64, Vec<u8>)>, Stop> {
        let mut leaves: Vec<(u64, Vec<u8>)> = Vec::new();
        for line in lines::<ControlLine>(path, &read(self.files, path)?) {
            let line = line?;
            if leaves.last().is_some_and(|(above, _)| *above >= line.position) {
                return Err(malformed(path, "ascending positions"));
            }
            let mut bytes = Vec::new();
            self.control(path, &line, &mut bytes)?;
            leaves.push((line.position, bytes));
        }
        Ok(leaves)
    }
}

fn checkpoint(files: &dyn Files, manifest: &Manifest, report: &mut Report) -> Result<SignedCheckpoint, Stop> {
    let bytes = read(files, CHECKPOINT)?;
    let checkpoint = SignedCheckpoint::parse(&bytes).map_err(|error| {
        let finding =
            Finding::new(FindingCode::CheckpointSignatureInvalid, "a checkpoint", error.to_string());
        Box::new(finding.shown_by(CHECKPOINT))
    })?;
    let head = checkpoint.unverified_head();
    let same = manifest.origin == checkpoint.unverified_origin() && manifest.size == head.size;
    if !same {
        let expected = format!("origin {:?}, size {}", checkpoint.unverified_origin(), head.size);
        let found = format!("origin {:?}, size {}", manifest.origin, manifest.size);
        report.add(Finding::new(FindingCode::BundleFileMismatch, expected, found).shown_by(super::MANIFEST));
    }
    let [start, end] = match &manifest.scope {
        Scope::Range { start, end } => [*start, *end],
        Scope::All {} | Scope::Streams { .. } => [0, head.size],
    };
    if start >= end || end > head.size {
        return Err(malformed(super::MANIFEST, "a scope within the size of the checkpoint"));
    }
    report.checked = [start, end];
    Ok(checkpoint)
}

/// The records that cover what is absent.
fn erasures(log: &Log<'_>, report: &mut Report) -> Result<Erased, Stop> {
    let mut erasures = Erased::default();
    let lines = log.control_lines(ERASURES)?;
    for (position, bytes) in &lines {
        let leaf = Leaf::decode(bytes).map_err(|_| malformed(ERASURES, "leaves"))?;
        let covers =
            Control::decode(leaf.kind, leaf.body).is_ok_and(|control| erasures.note(*position, &control));
        if !covers {
            return Err(malformed(ERASURES, "leaves of ERASURE and RETENTION records"));
        }
    }
    if !lines.is_empty() {
        report.note(format!("{} records of erasures and retention cover what is absent", lines.len()));
    }
    Ok(erasures)
}

/// The operator's suggestion whom to trust has to be one; nothing rests on it.
fn policy(files: &dyn Files, report: &mut Report) {
    let parsed = read(files, POLICY).and_then(|bytes| {
        let text = String::from_utf8(bytes).map_err(|_| malformed(POLICY, "UTF-8"))?;
        Policy::parse(&text).map_err(|error| malformed(POLICY, &format!("a policy: {error}")))
    });
    if let Err(finding) = parsed {
        report.add(*finding);
    }
}

fn read(files: &dyn Files, path: &str) -> Result<Vec<u8>, Stop> {
    files.read(path).map_err(|why| {
        Box::new(Finding::new(FindingCode::BundleFileMismatch, "a file that can be read", why).shown_by(path))
    })
}

fn json<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, Stop> {
    serde_json::from_slice(bytes).map_err(|error| {
        Box::new(
            Finding::new(FindingCode::BundleMalformed, "JSON of its form", error.to_string()).shown_by(path),
        )
    })
}

/// The objects of an ndjson file, each of which ends in a line feed.
fn lines<'a, T: DeserializeOwned>(
    path: &'a str,
    bytes: &'a [u8],
) -> impl Iterator<Item = Result<T, Stop>> + 'a {
    bytes.split_inclusive(|byte| *byte == b'\n').map(move |line| match line.split_last() {
        Some((b'\n', line)) => json(path, line),
        _ => Err(malformed(path, "a line feed at the end of every line")),
    })
}

fn malformed(path: &str, expected: &str) -> Stop {
    Box::new(Finding::new(FindingCode::BundleMalformed, expected, "something else").shown_by(path))
}

fn stop(code: FindingCode, expected: impl Into<String>, found: impl Into<String>, position: u64) -> Stop {
    Box::new(Finding::new(code, expected, found).at(position))
}

fn hex(hash: &Hash) -> String {
    crate::control::hex::encode(hash)
}
