//! What is compared: each record with its stored leaf hash, the tree with its tiles and roots, sealed and signed heads
//! with what the records give.
//!
//! Where a leaf differs from the stored hash, the leaf behind it decides who is right: it covers the one before.

mod tree;

use super::heads::{Heads, Known, Unknown};
use super::map::MapCheck;
use super::scan::Change;
use super::signed::SignedHeads;
use super::snapshots::Snapshots;
use super::stored::{LEVELS, Stored};
use crate::append::{LeafPlace, subject_tag};
use crate::log::frame::{Header, Record, Subject};
use crate::log::segment::SegmentHeader;
use graven_model::event::Kind;
use graven_model::{Result, limits};
use graven_proof::Hash;
use graven_proof::control::{Control, hex};
use graven_proof::erased::Erased;
use graven_proof::finding::{Finding, FindingCode, Report};
use graven_proof::leaf;
use graven_proof::merkle::Frontier;
use graven_proof::trie::StreamHead;

/// Revision of a tombstone.
const TOMBSTONE_VERSION: u64 = i64::MAX as u64;

/// The state of a check: what has been read so far.
pub(super) struct Checker<'a> {
    pub(super) report: Report,
    pub(super) heads: Heads<'a>,
    pub(super) map: MapCheck,
    pub(super) signed: SignedHeads,
    stored: Stored,
    /// Size of the next signed head.
    next_signed: u64,
    frontier: Frontier,
    /// Hash of the last leaf, as far as it is decided.
    last_leaf: Hash,
    commit_time: i64,
    /// A leaf that differs from its stored hash, until it is known which of them is right.
    undecided: Option<Undecided>,
    /// By level from 1: hashes that were computed of the tile that is being filled.
    filling: [Vec<Hash>; LEVELS],
    /// Leaves below this are taken as they are stored.
    trusted_below: u64,
    /// Events below this may be lost: what follows one of them cannot be computed.
    lost_below: u64,
    /// The tree cannot be computed any more.
    blind: bool,
    /// Events that were not compared with their leaf hash.
    unchecked: u64,
    /// Leaves that were compared with no stored hash, since there is none.
    unstored: u64,
    /// Largest size of a signed head that fits.
    pub(super) signed_until: u64,
    /// What the log says was erased.
    pub(super) erased: Erased,
    /// Something was erased, or is absent.
    pub(super) any_erased: bool,
    pub(super) snapshots: Snapshots,
    findings_before: u64,
    scratch: Vec<u8>,
    tags: Vec<Hash>,
}

/// A leaf that differs from its stored hash.
struct Undecided {
    position: u64,
    slot: Option<u32>,
    computed: Hash,
    stored: Hash,
    finding: Finding,
    /// What was changed in the record is known and reported.
    reported: bool,
    /// What a root in a frame says: the computed one is right.
    framed: Option<bool>,
    /// What a signed root says.
    signed: Option<bool>,
}

/// Where a check begins.
pub(super) struct Begin {
    pub(super) frontier: Frontier,
    pub(super) last_leaf: Hash,
    pub(super) commit_time: i64,
    /// Leaves below this are taken as they are stored.
    pub(super) trusted_below: u64,
}

impl<'a> Checker<'a> {
    pub(super) fn new(
        report: Report,
        heads: Heads<'a>,
        map: MapCheck,
        signed: SignedHeads,
        stored: Stored,
        begin: Begin,
    ) -> Checker<'a> {
        Checker {
            report,
            heads,
            map,
            next_signed: signed.next_size(),
            signed,
            stored,
            frontier: begin.frontier,
            last_leaf: begin.last_leaf,
            commit_time: begin.commit_time,
            undecided: None,
            filling: Default::default(),
            trusted_below: begin.trusted_below,
            lost_below: 0,
            blind: false,
            unchecked: 0,
            unstored: 0,
            signed_until: 0,
            erased: Erased::default(),
            any_erased: false,
            snapshots: Snapshots::default(),
            findings_before: 0,
            scratch: Vec::new(),
            tags: Vec::new(),
        }
    }

    /// Leaf hashes that are stored.
    pub(super) fn stored_leaves(&self) -> u64 {
        self.stored.count(0)
    }

    /// Before a frame: what its header says.
    pub(super) fn frame(&mut self, header: &Header, change: Option<Change>, place: &dyn Fn() -> String) {
        self.findings_before = self.report.findings();
        if header.commit_time < self.commit_time {
            let finding = Finding::new(
                FindingCode::LeafMalformed,
                format!("a commit time of {} or later", self.commit_time),
                format!("{}, before that of the event before", header.commit_time),
            );
            self.report.add(finding.at(header.first).shown_by(place()));
        }
        self.commit_time = self.commit_time.max(header.commit_time);
        if let Some(change) = change {
            let position =
                if change.code == FindingCode::RootMismatch { header.end() - 1 } else { header.first };
            self.report.add(changed(&change).at(position).shown_by(place()));
        }
    }

    /// After a frame: its root, and whether its checksum covers its records.
    pub(super) fn frame_end(&mut self, header: &Header, covered: bool, place: &dyn Fn() -> String) {
        if !covered && self.undecided.is_none() && self.report.findings() == self.findings_before {
            let finding = Finding::new(
                FindingCode::LeafMalformed,
                "records as the frame's checksum covers them",
                "others, each with a checksum that holds: somebody computed it anew",
            );
            self.report.add(finding.at(header.first).shown_by(place()));
        }
        let Some(root) = header.root else { return };
        if self.blind {
            return;
        }
        let (computed, otherwise) = self.roots();
        if computed == root || otherwise == Some(root) {
            if let Some(undecided) = &mut self.undecided {
                undecided.framed = Some(computed == root);
            }
        } else {
            let expected = format!("the root {}", hex::encode(&otherwise.unwrap_or(computed)));
            let finding =
                Finding::new(FindingCode::RootMismatch, expected, format!("the root {}", hex::encode(&root)));
            self.report.add(finding.at(header.end() - 1).shown_by(place()));
        }
    }

    /// Compares the head of a segment with what was read before it.
    pub(super) fn segment(
        &mut self,
        header: &SegmentHeader,
        previous: Option<u32>,
        place: &dyn Fn() -> String,
    ) {
        let position = header.first;
        let mismatch = |expected: String, actual: String| {
            Finding::new(FindingCode::RootMismatch, expected, actual).at(position).shown_by(place())
        };
        let (root, edge) = (header.frontier.root(), header.last_leaf);
        let mut found = None;
        if !self.blind {
            let (computed, otherwise) = self.roots();
            if computed != root && otherwise != Some(root) {
                found = Some(mismatch(
                    format!("the root {} at the head of the segment", hex::encode(&computed)),
                    format!("the root {}", hex::encode(&root)),
                ));
            }
        }
        let last = match &self.undecided {
            Some(undecided) => [undecided.computed, undecided.stored],
            None => [self.last_leaf; 2],
        };
        if !self.blind && !last.contains(&edge) {
            found = Some(mismatch(
                format!("the leaf hash {} of the event before", hex::encode(&last[0])),
                hex::encode(&edge),
            ));
        }
        if self.lost_below < position && previous.is_some_and(|previous| previous != header.previous) {
            found = Some(mismatch(
                "the checksum of the frame before, at the head of the segment".into(),
                "another one".into(),
            ));
        }
        if let Some(finding) = found {
            self.report.add(finding);
        }
    }

    /// The next record.
    pub(super) fn record(
        &mut self,
        position: u64,
        header: &Header,
        body: &[u8],
        change: Option<&Change>,
        place: &dyn Fn() -> String,
    ) -> Result<()> {
        self.report.events += 1;
        let stored = self.stored.hash(0, position)?;
        let record = Record::decode(body).filter(fits);
        let Some(record) = record else {
            let finding = Finding::new(
                FindingCode::LeafMalformed,
                "an event as an append writes it",
                "bytes that are none, with a checksum that holds",
            );
            let finding = change
                .map_or(finding, |change| Finding { code: FindingCode::LeafMalformed, ..changed(change) });
            self.report.add(finding.at(position).shown_by(place()));
            return self.lose(position..position + 1);
        };
        self.note_controls(position, &record);
        let about =
            |finding: Finding| finding.at(position).of(record.stream, record.revision).shown_by(place());
        if let Some(change) = change {
            self.report.add(about(changed(change)));
        }
        if Snapshots::holds(&record)
            && let Some(finding) =
                self.snapshots.note(position, &record, |event| self.stored.hash(0, event))?
        {
            self.report.add(about(finding));
        }
        let slot = match self.heads.stream(record.stream, record.stream_salt, record.revision)? {
            Ok(slot) => slot,
            Err(unknown) => {
                let lost = self.lost_below > 0 && unknown == Unknown::NoSalt;
                if !lost && unknown != Unknown::TooMany {
                    let (expected, actual) = unknown.words();
                    self.report.add(about(Finding::new(FindingCode::LeafMalformed, expected, actual)));
                }
                self.map.give_up("the keys of some streams are not known");
                self.unchecked += 1;
                return self.believe_stored(position, stored);
            }
        };
        let Known { key, head } = *self.heads.at(slot);
        let expected_revision = match record.kind {
            Kind::Tombstone => TOMBSTONE_VERSION,
            _ => head.map_or(0, |head| head.next_version),
        };
        let ended = head.is_some_and(|head| head.tombstoned);
        let mut follows = true;
        if record.revision != expected_revision || ended {
            follows = false;
            let lost = record.revision > expected_revision
                && head.map_or(0, |head| head.last_position) < self.lost_below;
            if !lost {
                let expected = match ended {
                    true => "no event: the stream was tombstoned".to_owned(),
                    false => format!("revision {expected_revision}"),
                };
                let actual = format!("revision {}", record.revision);
                self.report.add(about(Finding::new(FindingCode::StreamVersionGap, expected, actual)));
            } else {
                self.unchecked += 1;
            }
        }
        if !self.tag_keys(&record)? {
            if !self.heads.tags_full && self.lost_below == 0 {
                self.report.add(about(Finding::new(
                    FindingCode::LeafMalformed,
                    "tags whose salts are known, none twice",
                    "a tag without a salt, or twice",
                )));
            }
            self.unchecked += 1;
            self.moved(slot, head, position, &record, stored.unwrap_or_default());
            return self.believe_stored(position, stored);
        }
        if position < self.trusted_below
            && let Some(stored) = stored
        {
            self.moved(slot, head, position, &record, stored);
            self.sealed(position, &record, place);
            return self.believe(position, stored);
        }
        let at = LeafPlace {
            position,
            commit_time: header.commit_time,
            stream_key: key,
            prev_stream: head.map_or_else(|| leaf::stream_genesis(&key), |head| head.head),
            prev_global: self.last_leaf,
        };
        let computed = self.leaf(&record, &at, slot, stored)?;
        let lost = !follows && self.lost_below > 0;
        match stored {
            Some(stored) if stored != computed && lost => {
                self.moved(slot, head, position, &record, stored);
                self.believe(position, stored)?;
            }
            Some(stored) if stored != computed => {
                let how = match change {
                    Some(_) => "a leaf hash of the record, put right, of",
                    None if follows => "its checksum holds, so somebody computed it anew; its leaf hash is",
                    None => "its leaf hash is",
                };
                let finding = about(Finding::new(
                    FindingCode::LeafHashMismatch,
                    format!("the leaf hash {}", hex::encode(&stored)),
                    format!("{how} {}", hex::encode(&computed)),
                ));
                let finding = finding.shown_by(self.stored.place(0, position));
                self.moved(slot, head, position, &record, computed);
                self.undecided = Some(Undecided {
                    position,
                    slot: Some(slot),
                    computed,
                    stored,
                    finding,
                    reported: change.is_some(),
                    framed: None,
                    signed: None,
                });
                self.last_leaf = computed;
                if position + 1 >= self.next_signed {
                    self.compare_signed(position + 1)?;
                }
            }
            _ => {
                self.unstored += u64::from(stored.is_none());
                self.moved(slot, head, position, &record, computed);
                self.believe(position, computed)?;
            }
        }
        self.sealed(position, &record, place);
        Ok(())
    }

    /// Ends a check that has come to `end`. `whole`: that is the end of the log.
    pub(super) fn finish(&mut self, end: u64, whole: bool) -> Result<()> {
        if self.undecided.is_some() {
            let computed_right = match self.parents()? {
                Some(computed_right) => computed_right,
                // Nothing follows that could tell.
                None => self.undecided.as_ref().and_then(|undecided| undecided.framed).unwrap_or(false),
            };
            self.decide(computed_right)?;
        }
        if whole {
            while self.signed.next_size() < u64::MAX {
                let Some(signed) = self.signed.take(&mut self.report)? else { continue };
                if signed.head.size <= end {
                    continue;
                }
                self.report.checkpoints += 1;
                let finding = Finding::new(
                    FindingCode::RollbackDetected,
                    format!("{} events, as it was signed", signed.head.size),
                    format!("{end} events"),
                );
                self.report.add(finding.shown_by(signed.place.clone()));
                if self.report.first_bad_checkpoint.is_none() {
                    self.report.first_bad_checkpoint = Some(signed.named());
                }
            }
        }
        if self.unchecked > 0 {
            self.report.note(format!(
                "{} events were read and not compared with their leaf hashes: what they follow is not known",
                self.unchecked
            ));
        }
        if self.unstored > 0 {
            self.report.note(format!(
                "{} leaf hashes are not stored yet; they are made again from the events when the store is opened",
                self.unstored
            ));
        }
        let (compared, left_out) = self.map.counts();
        self.report.map_roots = compared;
        if left_out > 0 {
            self.report.note(format!(
                "{left_out} sealed roots of the stream heads were left out: they cover much less than what stands before them"
            ));
        }
        if self.blind {
            self.report.note("roots behind what is lost could not be compared");
        }
        Ok(())
    }

    /// The stream of a record moves on.
    fn moved(
        &mut self,
        slot: u32,
        before: Option<StreamHead>,
        position: u64,
        record: &Record<'_>,
        hash: Hash,
    ) {
        let tombstoned = record.kind == Kind::Tombstone;
        let next_version = match (tombstoned, before) {
            (true, Some(before)) => before.next_version,
            (true, None) => 0,
            (false, _) => record.revision + 1,
        };
        let first_position = before.map_or(position, |before| before.first_position);
        let head =
            StreamHead { next_version, first_position, last_position: position, head: hash, tombstoned };
        self.heads.at(slot).head = Some(head);
        if self.heads.partial {
            self.map.give_up("not all streams are known");
        } else if self.heads.len() > super::map::STREAMS_MAX {
            self.map.give_up("there are too many streams to make their trie again");
        }
        self.map.moved(position, slot, before);
    }

    /// Compares what a sealed root says.
    fn sealed(&mut self, position: u64, record: &Record<'_>, place: &dyn Fn() -> String) {
        if record.kind != Kind::MapRoot {
            return;
        }
        let finding = match Control::decode(record.kind, record.data) {
            Ok(Control::MapRoot(sealed)) => self.map.sealed(&mut self.heads, position, &sealed),
            Ok(_) => None,
            Err(error) => Some(Finding::new(FindingCode::LeafMalformed, "a sealed root", error.to_string())),
        };
        if let Some(finding) = finding {
            self.report.add(finding.at(position).of(record.stream, record.revision).shown_by(place()));
        }
    }

    /// Notes what a record lacks, or says about what was erased and about keys.
    fn note_controls(&mut self, position: u64, record: &Record<'_>) {
        if matches!(record.kind, Kind::Erasure | Kind::Retention)
            && let Ok(control) = Control::decode(record.kind, record.data)
        {
            self.erased.note(position, &control);
            self.any_erased = true;
        }
        if record.kind == Kind::Key
            && let Ok(Control::Key(change)) = Control::decode(record.kind, record.data)
        {
            self.signed.note(&change);
        }
        self.any_erased |= record.data_erased.is_some()
            || record.metadata_erased.is_some()
            || matches!(record.subject, Some(Subject::Keyed(_)));
    }

    /// Collects the keyed hashes of a record's tags and data subject; false if one is not known, or there twice.
    fn tag_keys(&mut self, record: &Record<'_>) -> Result<bool> {
        self.tags.clear();
        for (tag, salt) in record.tags.iter() {
            let Some(key) = self.heads.tag(tag, *salt)? else { return Ok(false) };
            self.tags.push(key);
        }
        match record.subject {
            None => {}
            Some(Subject::Keyed(key)) => self.tags.push(key),
            Some(Subject::Named(subject, salt)) => {
                let Some(key) = self.heads.tag(&subject_tag(subject), salt)? else { return Ok(false) };
                self.tags.push(key);
            }
        }
        self.tags.sort_unstable();
        Ok(self.tags.is_sorted_by(|one, next| one < next))
    }
}

/// Whether a record can have a leaf.
fn fits(record: &Record<'_>) -> bool {
    let control = record.kind.is_control();
    record.event_type.len() <= limits::EVENT_TYPE_BYTES_MAX
        && record.content_type().len() <= limits::CONTENT_TYPE_BYTES_MAX
        && !(control && (record.has_metadata() || record.data.len() > leaf::BODY_BYTES_MAX))
}

fn changed(change: &Change) -> Finding {
    Finding::new(
        change.code,
        format!("{} as it was written", change.what),
        format!("{} was changed: {}", change.what, change.how),
    )
}

impl Unknown {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Unknown::NoSalt => ("the salt of the stream's name, in its first event", "none"),
            Unknown::SaltAgain => ("the salt of the stream's name in its first event alone", "another one"),
            Unknown::Name => ("a stream with a possible name", "an impossible one"),
            Unknown::TooMany => ("fewer streams", "more than there is room for"),
        }
    }
}
