//! One event beside its leaf: every field, every name, payload and metadata.

use super::hex;
use crate::Hash;
use crate::base64;
use crate::bundle::layout::{EventLine, NameLine, unhex};
use crate::control::Part;
use crate::erased::Erased;
use crate::finding::{Finding, FindingCode, Report};
use crate::leaf::{Leaf, metadata_commitment, name_key, payload_commitment};

/// What stands before a data subject's name in its keyed hash.
const SUBJECT_PREFIX: &str = "$subject/";

/// Compares an event with its leaf, which is in the tree.
pub(super) fn compare(line: &EventLine, leaf: &Leaf<'_>, erasures: &Erased, report: &mut Report) {
    let mut beside = Beside { line, leaf, erasures, report };
    beside.envelope();
    beside.names();
    beside.payload();
    beside.metadata();
    beside.erased();
}

struct Beside<'a> {
    line: &'a EventLine,
    leaf: &'a Leaf<'a>,
    erasures: &'a Erased,
    report: &'a mut Report,
}

impl Beside<'_> {
    fn add(&mut self, code: FindingCode, expected: impl Into<String>, found: impl Into<String>) {
        let finding = Finding::new(code, expected, found).at(self.leaf.position);
        self.report.add(finding.of(self.line.stream.clone(), self.leaf.stream_version));
    }

    fn envelope(&mut self) {
        let line = self.line;
        let expected = EventLine {
            stream: line.stream.clone(),
            stream_salt: line.stream_salt.clone(),
            tags: line.tags.clone(),
            subject: line.subject.clone(),
            payload: line.payload.clone(),
            payload_salt: line.payload_salt.clone(),
            metadata: line.metadata.clone(),
            metadata_salt: line.metadata_salt.clone(),
            erased: line.erased.clone(),
            leaf: line.leaf.clone(),
            ..EventLine::of_leaf(self.leaf)
        };
        if expected != *line {
            self.add(FindingCode::LeafHashMismatch, "the envelope that was hashed", "another one");
        }
    }

    fn names(&mut self) {
        let key = salt(&self.line.stream_salt).map(|salt| name_key(&salt, self.line.stream.as_bytes()));
        if key != Some(self.leaf.stream_key) {
            self.add(
                FindingCode::LeafHashMismatch,
                hex(&self.leaf.stream_key),
                "another stream's name or salt",
            );
        }
        let mut keys: Vec<Option<Hash>> = self.line.tags.iter().map(|tag| named(tag, "")).collect();
        let mut erased = None;
        if let Some(subject) = &self.line.subject {
            erased = subject.key.as_deref().and_then(crate::control::hex::decode);
            keys.push(erased.or_else(|| named(subject, SUBJECT_PREFIX)));
        }
        keys.sort();
        if !keys.iter().copied().eq(self.leaf.tags.iter().map(|tag| Some(*tag))) {
            self.add(FindingCode::LeafHashMismatch, "the tags that were hashed", "other ones");
        }
        if erased.is_some() && self.erasures.record_of(self.leaf, Part::Subject).is_none() {
            self.add(
                FindingCode::PayloadMissingUnauthorised,
                "a record of its erasure",
                "no name of the data subject",
            );
        }
    }

    fn payload(&mut self) {
        let (line, leaf) = (self.line, self.leaf);
        let code = FindingCode::PayloadMismatch;
        let Some(payload) = &line.payload else {
            return self.absent(Part::Data, "payload");
        };
        if leaf.kind.is_control() {
            if base64::decode(payload).as_deref() != Some(leaf.body) || line.payload_salt.is_some() {
                self.add(code, "the body in the leaf", "another one");
            }
            return;
        }
        let found = opened(payload, line.payload_salt.as_deref())
            .map(|(salt, bytes)| payload_commitment(&salt, &bytes));
        if found != Some(leaf.payload_commitment) {
            let found =
                found.map_or_else(|| "no base64, or no salt of 32 bytes".to_owned(), |found| hex(&found));
            self.add(code, hex(&leaf.payload_commitment), found);
        }
        self.present(Part::Data, "payload");
    }

    fn metadata(&mut self) {
        let (line, leaf) = (self.line, self.leaf);
        let code = FindingCode::MetaMismatch;
        let Some(metadata) = &line.metadata else {
            if leaf.has_metadata {
                self.absent(Part::Metadata, "metadata");
            }
            return;
        };
        let found = opened(metadata, line.metadata_salt.as_deref())
            .map(|(salt, bytes)| metadata_commitment(&salt, &bytes));
        if !leaf.has_metadata || found != Some(leaf.metadata_commitment) {
            let found =
                found.map_or_else(|| "no base64, or no salt of 32 bytes".to_owned(), |found| hex(&found));
            self.add(code, hex(&leaf.metadata_commitment), found);
        }
        self.present(Part::Metadata, "metadata");
    }

    fn absent(&mut self, part: Part, what: &str) {
        if self.erasures.record_of(self.leaf, part).is_none() {
            self.add(
                FindingCode::PayloadMissingUnauthorised,
                "a record of its erasure",
                format!("no {what}"),
            );
        }
    }

    fn present(&mut self, part: Part, what: &str) {
        if self.erasures.record_of(self.leaf, part).is_some() {
            self.add(FindingCode::ErasedButPresent, format!("no {what}"), what);
        }
    }

    /// What the line calls erased is absent, and what is absent it calls erased.
    fn erased(&mut self) {
        let line = self.line;
        let named = line.subject.as_ref().is_none_or(|subject| subject.key.is_none());
        let there = [
            (Part::Data, line.payload.is_some()),
            (Part::Metadata, line.metadata.is_some() || !self.leaf.has_metadata),
            (Part::Subject, named),
        ];
        let absent: Vec<Part> = there.iter().filter(|(_, there)| !there).map(|(part, _)| *part).collect();
        let salts = line.payload.is_none() && line.payload_salt.is_some()
            || line.metadata.is_none() && line.metadata_salt.is_some();
        if absent != line.erased || salts {
            self.add(
                FindingCode::LeafHashMismatch,
                format!("{absent:?} to be called erased"),
                format!("{:?}", line.erased),
            );
        }
    }
}

/// Salt and bytes of something committed to.
fn opened(encoded: &str, salt: Option<&str>) -> Option<([u8; 32], Vec<u8>)> {
    Some((unhex(salt?)?.try_into().ok()?, base64::decode(encoded)?))
}

fn named(line: &NameLine, prefix: &str) -> Option<Hash> {
    let NameLine { name: Some(name), salt: Some(text), key: None } = line else { return None };
    Some(name_key(&salt(text)?, format!("{prefix}{name}").as_bytes()))
}

/// The salt of a name.
pub(super) fn salt(text: &str) -> Option<Vec<u8>> {
    unhex(text).filter(|salt| (1..=64).contains(&salt.len()))
}
