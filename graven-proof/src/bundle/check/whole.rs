//! Whether the events are all there: every position of a range, every event of a stream by the sealed root of the stream
//! heads; and whether the proofs that lie beside them hold.

use super::heads::Heads;
use super::tree::Entries;
use super::{Log, Stop, events, hex, json, lines, malformed, read, stop};
use crate::Hash;
use crate::base64;
use crate::bundle::layout::{
    Completeness, ControlLine, EVENTS, EventLine, MANIFEST, RANGE_PROOF, RangeProof, SEAL, Scope,
    completeness_path, events_path,
};
use crate::checkpoint::SignedCheckpoint;
use crate::control::MapRoot;
use crate::erased::Erased;
use crate::finding::{Finding, FindingCode, Report};
use crate::leaf::{Leaf, log_genesis, name_key};
use crate::tlog_proof::TlogProof;
use crate::trie::{Answer, StreamTrie, TrieProof};
use std::collections::BTreeSet;
use std::ops::Range;

/// Checks every event, and that none is missing.
pub(super) fn prove(log: &Log<'_>, erasures: &Erased, report: &mut Report) -> Result<(), Stop> {
    let (run, seal) = match &log.manifest.scope {
        Scope::All {} => (Some(0..log.head.size), Some(seal(log)?)),
        Scope::Range { start, end } => (Some(*start..*end), None),
        Scope::Streams { .. } => (None, Some(seal(log)?)),
    };
    let midway = run.as_ref().is_some_and(|run| run.start > 0);
    let next = run.as_ref().map_or(0, |run| run.start);
    let replay = run.is_some();
    let mut walk = Walk {
        log,
        erasures,
        next,
        run,
        time: i64::MIN,
        heads: Heads::new(midway),
        entries: None,
        seal: seal.as_ref().filter(|_| replay),
    };
    for part in 0.. {
        let path = events_path(part);
        if !log.manifest.lists(&path) {
            break;
        }
        for line in lines::<EventLine>(&path, &read(log.files, &path)?) {
            walk.line(&path, &line?, report)?;
        }
    }
    walk.end(report);
    let Walk { heads, .. } = walk;
    if let (Scope::Streams { streams }, Some(seal)) = (&log.manifest.scope, &seal) {
        whole_streams(log, streams, seal, &heads, report)?;
    }
    report.map_roots = u64::from(seal.is_some());
    Ok(())
}

struct Seal {
    position: u64,
    root: MapRoot,
}

fn seal(log: &Log<'_>) -> Result<Seal, Stop> {
    let line: ControlLine = json(SEAL, &read(log.files, SEAL)?)?;
    let mut bytes = Vec::new();
    log.control(SEAL, &line, &mut bytes)?;
    let root =
        Leaf::decode(&bytes).ok().and_then(|leaf| MapRoot::at(line.position, leaf.kind, leaf.body).ok());
    let root = root.ok_or_else(|| malformed(SEAL, "the leaf of a MAP_ROOT record"))?;
    Ok(Seal { position: line.position, root })
}

struct Walk<'a> {
    log: &'a Log<'a>,
    erasures: &'a Erased,
    /// Positions that follow one another without a gap; `None` for those of streams.
    run: Option<Range<u64>>,
    /// The next position, or the smallest that may come.
    next: u64,
    time: i64,
    heads: Heads,
    entries: Option<Entries>,
    /// The seal whose root all streams together have to lead to.
    seal: Option<&'a Seal>,
}

impl Walk<'_> {
    fn line(&mut self, path: &str, line: &EventLine, report: &mut Report) -> Result<(), Stop> {
        let position = line.position;
        let expected = self.next;
        let follows = if self.run.is_some() { position == expected } else { position >= expected };
        if !follows {
            let expected = format!("position {expected}");
            report.add(*stop(FindingCode::PositionMismatch, expected, position.to_string(), self.next));
        }
        self.next = self.next.max(position.saturating_add(1));
        if self.run.as_ref().is_some_and(|run| !run.contains(&position)) || !follows {
            return Ok(());
        }
        let bytes = self.leaf(path, line)?;
        match self.log.leaf(position, &bytes) {
            Ok((leaf, hash)) => self.event(line, &leaf, hash, report)?,
            Err(finding) => report.add(*finding),
        }
        report.events += 1;
        Ok(())
    }

    fn leaf(&mut self, path: &str, line: &EventLine) -> Result<Vec<u8>, Stop> {
        if self.run.is_none() {
            let leaf = line.leaf.as_deref().and_then(base64::decode);
            return leaf.ok_or_else(|| malformed(path, "the leaf of every event in base64"));
        }
        if line.leaf.is_some() {
            return Err(malformed(path, "events whose leaves stand in bundles of leaves"));
        }
        let offset = |entries: &Entries| line.position.checked_sub(entries.first).map(|at| at as usize);
        let within = |entries: &Entries| offset(entries).and_then(|at| entries.leaves.get(at)).cloned();
        if let Some(leaf) = self.entries.as_ref().and_then(within) {
            return Ok(leaf);
        }
        self.entries = self.log.tiles.entries(line.position)?;
        let missing = || {
            let finding =
                Finding::new(FindingCode::BundleMalformed, "the leaves around the event", "no such file");
            Box::new(finding.at(line.position))
        };
        self.entries.as_ref().and_then(within).ok_or_else(missing)
    }

    fn event(
        &mut self,
        line: &EventLine,
        leaf: &Leaf<'_>,
        hash: Hash,
        report: &mut Report,
    ) -> Result<(), Stop> {
        let position = leaf.position;
        events::compare(line, leaf, self.erasures, report);
        if let Scope::Streams { streams } = &self.log.manifest.scope
            && streams.binary_search(&line.stream).is_err()
        {
            let finding =
                Finding::new(FindingCode::StreamIncomplete, "an event of an exported stream", "another");
            report.add(finding.at(position).of(line.stream.clone(), leaf.stream_version));
        }
        if self.run.is_some() {
            let before = match position.checked_sub(1) {
                None => log_genesis(&self.log.manifest.origin),
                Some(before) => self.log.tiles.leaf_hash(before)?,
            };
            if leaf.prev_global != before {
                let (expected, found) = (hex(&before), hex(&leaf.prev_global));
                report.add(*stop(FindingCode::PrevGlobalMismatch, expected, found, position));
            }
            if leaf.commit_time < self.time {
                let (expected, found) =
                    (format!("a time from {} on", self.time), leaf.commit_time.to_string());
                report.add(*stop(FindingCode::PrevGlobalMismatch, expected, found, position));
            }
            self.time = leaf.commit_time;
        }
        if let Err(finding) = self.heads.step(leaf, hash) {
            report.add(*finding);
        }
        if let Some(seal) = self.seal.take_if(|seal| seal.root.size == position + 1) {
            let mut trie = StreamTrie::new();
            trie.extend(self.heads.streams.iter().map(|(key, head)| (*key, *head)));
            let found = (trie.len() as u64, trie.root());
            if found != (seal.root.streams, seal.root.root) {
                let expected = format!("{} streams, root {}", seal.root.streams, hex(&seal.root.root));
                let found = format!("{} streams, root {}", found.0, hex(&found.1));
                report.add(*stop(FindingCode::MapRootMismatch, expected, found, seal.position));
            }
        }
        Ok(())
    }

    fn end(&mut self, report: &mut Report) {
        if let Some(run) = &self.run
            && self.next < run.end
        {
            let expected = format!("events up to position {}", run.end - 1);
            report.add(*stop(FindingCode::PositionMismatch, expected, "the end of the events", self.next));
        }
    }
}

fn whole_streams(
    log: &Log<'_>,
    streams: &[String],
    seal: &Seal,
    heads: &Heads,
    report: &mut Report,
) -> Result<(), Stop> {
    if streams.is_empty() || !streams.is_sorted_by(|one, next| one < next) {
        return Err(malformed(MANIFEST, "ascending names of streams"));
    }
    let mut shown: BTreeSet<String> = BTreeSet::new();
    let mut keys: BTreeSet<Hash> = BTreeSet::new();
    for file in
        log.manifest.files.iter().filter(|file| file.path.starts_with("completeness/") && file.path != SEAL)
    {
        let said: Completeness = json(&file.path, &read(log.files, &file.path)?)?;
        let proof = base64::decode(&said.proof).and_then(|bytes| TrieProof::decode(&bytes).ok());
        let proof =
            proof.ok_or_else(|| malformed(&file.path, "a proof under the root of the stream heads"))?;
        if completeness_path(&said.stream_key) != file.path || said.seal != seal.position {
            return Err(malformed(&file.path, "what its name and the seal say"));
        }
        let found = heads.streams.get(&said.stream_key);
        let incomplete = |expected: String, actual: String| {
            let next = found.map_or(0, |head| head.next_version);
            let finding =
                Finding::new(FindingCode::StreamIncomplete, expected, actual).of(said.stream.clone(), next);
            finding.shown_by(file.path.clone())
        };
        let key = events::salt(&said.stream_salt).map(|salt| name_key(&salt, said.stream.as_bytes()));
        if key != Some(said.stream_key) {
            report.add(incomplete("the keyed hash of its name".to_owned(), "another".to_owned()));
        }
        match proof.verify(&said.stream_key, &seal.root.root) {
            Err(error) => {
                report.add(incomplete("a proof under the sealed root".to_owned(), error.to_string()))
            }
            Ok(Answer::Absent) => {
                report.add(incomplete("a stream of the log".to_owned(), "no such stream".to_owned()))
            }
            Ok(Answer::Present(head)) if found == Some(&head) => {}
            Ok(Answer::Present(head)) => {
                let expected =
                    format!("{} events, the last at position {}", head.next_version, head.last_position);
                let found = found.map_or_else(
                    || "none".to_owned(),
                    |head| {
                        format!("{} events, the last at position {}", head.next_version, head.last_position)
                    },
                );
                report.add(incomplete(expected, found));
            }
        }
        keys.insert(said.stream_key);
        if !shown.insert(said.stream) {
            return Err(malformed(&file.path, "one proof a stream"));
        }
    }
    if !shown.iter().eq(streams) || heads.streams.keys().any(|key| !keys.contains(key)) {
        let found = format!("{} proofs for {} streams", shown.len(), streams.len());
        report.add(
            Finding::new(
                FindingCode::StreamIncomplete,
                "a proof of every exported stream, and no other",
                found,
            )
            .shown_by(EVENTS),
        );
    }
    Ok(())
}

/// The proofs of single events and of the range.
pub(super) fn proofs(log: &Log<'_>, checkpoint: &SignedCheckpoint, report: &mut Report) {
    let run = match &log.manifest.scope {
        Scope::All {} => Some(0..log.head.size),
        Scope::Range { start, end } => Some(*start..*end),
        Scope::Streams { .. } => None,
    };
    if let Some(run) = run
        && let Err(finding) = range(log, &run)
    {
        report.add(*finding);
    }
    for file in &log.manifest.files {
        let Some(name) = file.path.strip_prefix("proofs/").and_then(|rest| rest.strip_suffix(".tlog-proof"))
        else {
            continue;
        };
        if let Err(finding) = single(log, checkpoint, &file.path, name) {
            report.add(*finding);
        }
    }
}

fn range(log: &Log<'_>, run: &Range<u64>) -> Result<(), Stop> {
    let proof: RangeProof = json(RANGE_PROOF, &read(log.files, RANGE_PROOF)?)?;
    let hashes: Option<Vec<Hash>> =
        proof.hashes.iter().map(|hash| crate::control::hex::decode(hash)).collect();
    let hashes = hashes.ok_or_else(|| malformed(RANGE_PROOF, "hashes in hexadecimal"))?;
    let invalid = |found: String| {
        let finding = Finding::new(FindingCode::ProofInvalid, "a proof of the exported range", found);
        Box::new(finding.shown_by(RANGE_PROOF))
    };
    if (proof.start..proof.end) != *run {
        return Err(invalid(format!("one of positions {} to {}", proof.start, proof.end)));
    }
    let leaves = run.clone().map_while(|position| log.tiles.leaf_hash(position).ok());
    log.head.verify_range(run.clone(), leaves, &hashes).map_err(|error| invalid(error.to_string()))
}

fn single(log: &Log<'_>, checkpoint: &SignedCheckpoint, path: &str, name: &str) -> Result<(), Stop> {
    let position = crate::tiles::decimal(name).ok_or_else(|| malformed(path, "a position as its name"))?;
    let invalid = |found: String| {
        let finding =
            Finding::new(FindingCode::ProofInvalid, format!("a proof of position {position}"), found);
        Box::new(finding.at(position).shown_by(path))
    };
    let proof = TlogProof::parse(&read(log.files, path)?).map_err(|error| invalid(error.to_string()))?;
    if proof.unverified_position() != position {
        return Err(invalid(format!("one of position {}", proof.unverified_position())));
    }
    if proof.extra().is_some() {
        return Err(invalid("one with more than that".to_owned()));
    }
    if proof.checkpoint() != checkpoint {
        return Err(invalid("one that stands on another checkpoint".to_owned()));
    }
    let leaf = log.tiles.leaf_hash(position)?;
    let held = log.head.verify_inclusion(position, &leaf, proof.hashes());
    held.map_err(|error| invalid(error.to_string()))
}
