//! Erasing events: first it is counted and decided, then said in the log, and then destroyed.
//!
//! ```text
//! count, ask the legal holds ─▶ ERASURE record: durable, under a checkpoint ─▶ key of the subject ─▶ shared journal, segments
//! ```
//!
//! Nothing is destroyed before the record that says so is durable. From then on the erasure is never given up: what a crash
//! or a full disk interrupts goes on at the next start or the next attempt. Segments are rewritten from the newest to the
//! oldest, so that the salt of a name, which stands with its first event, is destroyed last: whatever still names a subject
//! can be understood until then.
//!
//! What is destroyed: data, metadata and the seeds of their commitments; the name of a data subject with its salt, and the key
//! its payloads were sealed under. What stays: everything else that the event's leaf is made of.

use super::erasing::Bar;
use super::holds::{self, Holds, check_text, each_control};
use super::subjects::Unsealed;
use super::trail::Trail;
use crate::append::{AUDIT_STREAM, Pending, Shared, Sources, subject_tag};
use crate::env::{read_file, replace_file};
use crate::index::{Item, StreamFrom, TermQuery};
use crate::journal::{Batch, SharedJournal};
use crate::log::frame::{self, Erase, Header, Record, Subject};
use crate::log::reader::Reader;
use crate::node::Membership;
use crate::store::AUDIT_DIR;
use foldhash::HashMap;
use graven_model::event::Kind;
use graven_model::{Code, Direction, Error, EventId, Position, Result, Revision, StreamName, ids, limits};
pub use graven_proof::control::Part;
use graven_proof::control::{Control, Erasure, Hold, Retention, Target};
use graven_proof::{Hash, leaf};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What is to be erased, by whom and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureRequest {
    /// Whose events.
    pub target: ErasureTarget,
    /// What of them; the name of a data subject goes with [`ErasureTarget::Subject`] and only there, asked for or not.
    pub parts: Vec<Part>,
    /// Pseudonymous id of the request. The same request again gets the outcome of the first.
    pub request: String,
    /// Legal basis, as a code.
    pub basis: String,
    /// Who decided.
    pub decided_by: String,
    /// Who approved, if a second person had to.
    pub approved_by: Option<String>,
}

/// Which events are to be erased, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErasureTarget {
    /// Those at these positions, at most [`limits::ERASURE_POSITIONS_MAX`].
    Events(Vec<Position>),
    /// Those of a stream.
    Stream {
        /// Its name.
        name: StreamName,
        /// The first revision that is kept; all are erased without.
        before: Option<Revision>,
    },
    /// Those of a data subject.
    Subject(String),
}

/// What came of an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErasureOutcome {
    /// Position of the record that says so; `None` if it was only counted.
    pub record: Option<Position>,
    /// Events it covers.
    pub events: u64,
    /// Segments that were rewritten, or would be.
    pub segments: u64,
    /// Bytes the log is shorter.
    pub bytes_freed: i64,
    /// The request was carried out before.
    pub repeated: bool,
}

/// What a store remembers for its erasures.
#[derive(Default)]
pub(crate) struct Eraser {
    /// One erasure, and one change of the holds, at a time.
    pub(super) state: Mutex<State>,
}

/// Where something is destroyed.
#[derive(Clone, Copy)]
pub(crate) enum Site<'a> {
    /// In a store whose journal is its own log: the keys, and the log.
    Alone,
    /// On the node that writes a shared journal: the keys, the journal, and the log.
    Writer(&'a Membership),
    /// On a node that follows: its log.
    Copy,
}

impl<'a> Site<'a> {
    /// Of a store that takes appends.
    pub(crate) fn of(node: Option<&'a Membership>) -> Site<'a> {
        node.map_or(Site::Alone, Site::Writer)
    }
}

#[derive(Default)]
pub(super) struct State {
    pub(super) holds: Holds,
    /// Everything that the records below say is destroyed.
    applied: u64,
}

impl Eraser {
    /// See [`crate::Store::erase`].
    pub(crate) fn erase(
        &self,
        shared: &Shared,
        trail: &Trail,
        site: Site<'_>,
        request: &ErasureRequest,
        dry_run: bool,
    ) -> Result<ErasureOutcome> {
        let mut state = self.state.lock();
        let parts = check(request)?;
        let id = request_id(&request.request);
        if let Some(outcome) = state.repeated(shared, site, request, &parts, id)? {
            return Ok(outcome);
        }
        state.finish(shared, site)?;
        let head = shared.head();
        let (target, first, meant) = resolve(shared, head, &request.target, &parts)?;
        state.holds.refresh(shared)?;
        let survey = survey(shared, &meant, Some(&state.holds))?;
        if survey.events == 0 {
            return Err(Error::new(Code::NothingToErase, "nothing is there to be erased"));
        }
        if dry_run {
            let (events, segments) = (survey.events, survey.segments.len() as u64);
            return Ok(ErasureOutcome { events, segments, ..ErasureOutcome::default() });
        }
        let erasure = Erasure {
            target,
            parts,
            events: survey.events,
            first,
            request: request.request.clone(),
            basis: request.basis.clone(),
            decided_by: request.decided_by.clone(),
            approved_by: request.approved_by.clone(),
        };
        let bar = meant.subject().map(|subject| shared.sources.erasing.bar(subject));
        let record = trail.control().append_as(id, &Control::Erasure(erasure))?.first_position.0;
        let meant = vec![Meant { at: record, ..meant }];
        let done = state.carry_out(shared, trail, site, (record, record + 1), meant, bar)?;
        Ok(ErasureOutcome { events: survey.events, ..done })
    }

    /// Carries out what the log says was decided and a crash or a full disk interrupted.
    ///
    /// # Errors
    /// Those of reading and rewriting segments; the rest is still to be done then.
    pub(crate) fn finish(&self, shared: &Shared, site: Site<'_>) -> Result<()> {
        self.state.lock().finish(shared, site)
    }

    /// [`Eraser::finish`] on a copy whose log another node writes: that one destroys keys. Looks only if a record came since it
    /// was done last; what fails is tried again with the next one, and at the next start.
    ///
    /// # Errors
    /// As [`Eraser::finish`].
    pub(crate) fn follow(&self, shared: &Shared) -> Result<()> {
        if !shared.sources.erasing.take_news() {
            return Ok(());
        }
        self.state.lock().finish(shared, Site::Copy)
    }

    /// See [`crate::Store::holds`].
    pub(crate) fn holds(&self, shared: &Shared) -> Result<Vec<Hold>> {
        let mut state = self.state.lock();
        state.holds.refresh(shared)?;
        Ok(state.holds.list())
    }

    /// See [`crate::Store::begin_hold`].
    pub(crate) fn begin_hold(
        &self,
        shared: &Shared,
        trail: &Trail,
        id: &str,
        on: &holds::HoldOn,
        reason: &str,
        decided_by: &str,
    ) -> Result<Position> {
        let mut state = self.state.lock();
        state.holds.refresh(shared)?;
        if state.holds.get(id).is_some() {
            return Err(Error::new(Code::HoldConflict, format!("legal hold {id:?} holds already")));
        }
        let scope = holds::scope(&shared.sources, shared.head(), on)?;
        let (reason, decided_by) = (reason.to_owned(), decided_by.to_owned());
        holds::append(trail.control(), Hold { id: id.to_owned(), begins: true, scope, reason, decided_by })
    }

    /// See [`crate::Store::end_hold`].
    pub(crate) fn end_hold(
        &self,
        shared: &Shared,
        trail: &Trail,
        id: &str,
        reason: &str,
        decided_by: &str,
    ) -> Result<Position> {
        let mut state = self.state.lock();
        state.holds.refresh(shared)?;
        let Some(hold) = state.holds.get(id).cloned() else {
            return Err(Error::new(Code::HoldConflict, format!("there is no legal hold {id:?}")));
        };
        let (reason, decided_by) = (reason.to_owned(), decided_by.to_owned());
        holds::append(trail.control(), Hold { begins: false, reason, decided_by, ..hold })
    }
}

impl State {
    /// The outcome of a request that is in the log already, carried out to its end.
    fn repeated(
        &mut self,
        shared: &Shared,
        site: Site<'_>,
        request: &ErasureRequest,
        parts: &[Part],
        id: EventId,
    ) -> Result<Option<ErasureOutcome>> {
        let sources = &shared.sources;
        let pending = Pending::none_below(shared.head());
        let Some(place) = sources.find(&pending, &StreamName::new(AUDIT_STREAM)?, id)? else {
            return Ok(None);
        };
        let body = sources.view(&pending, place.position, |view| view.data.to_vec())?;
        let Ok(Control::Erasure(erasure)) = Control::decode(Kind::Erasure, &body) else {
            return Err(Error::new(Code::ErasureConflict, "the id of the request is taken"));
        };
        let same_target = match (&erasure.target, &request.target) {
            (Target::Positions { positions }, ErasureTarget::Events(wanted)) => {
                *positions == positions_of(wanted)
            }
            (Target::Stream { stream_key, .. }, ErasureTarget::Stream { name, .. }) => {
                holds::stream_key(sources, &pending, name.as_str())?.as_ref() == Some(stream_key)
            }
            // Whose name it was is not known any more.
            (Target::Subject { .. }, ErasureTarget::Subject(_)) => true,
            _ => false,
        };
        if !same_target || erasure.parts != parts || erasure.basis != request.basis {
            return Err(Error::new(
                Code::ErasureConflict,
                format!("a request {:?} was carried out, and it was another one", request.request),
            )
            .found(format!("the record at position {}", place.position)));
        }
        self.finish(shared, site).map_err(|error| unfinished(place.position, &error))?;
        let record = Some(Position(place.position));
        Ok(Some(ErasureOutcome {
            record,
            events: erasure.events,
            repeated: true,
            ..ErasureOutcome::default()
        }))
    }

    /// What follows the records of a decision, the first of which stands at `record`, the last before `next`.
    pub(super) fn carry_out(
        &mut self,
        shared: &Shared,
        trail: &Trail,
        site: Site<'_>,
        (record, next): (u64, u64),
        meant: Vec<Meant>,
        mut bar: Option<Bar<'_>>,
    ) -> Result<ErasureOutcome> {
        let destroyed = (|| {
            if trail.latest().is_some() {
                trail.checkpoint(next)?;
            }
            let done = destroy(shared, site, &meant, || drop(bar.take()))?;
            self.applied = next;
            write_progress(shared, next)?;
            Ok(done)
        })();
        bar.into_iter().for_each(Bar::keep);
        let done = destroyed.map_err(|error| unfinished(record, &error))?;
        Ok(ErasureOutcome { record: Some(Position(record)), ..done })
    }

    pub(super) fn finish(&mut self, shared: &Shared, site: Site<'_>) -> Result<()> {
        if self.applied == 0 {
            self.applied = read_progress(shared)?;
        }
        let mut records = Vec::new();
        for event_type in ["$erasure", "$retention"] {
            each_control(shared, event_type, self.applied, |position, control| {
                match control {
                    Control::Erasure(Erasure { target, parts, first, .. })
                    | Control::Retention(Retention { target, parts, first, .. }) => {
                        records.push((position, target, parts, first));
                    }
                    _ => {}
                }
                Ok(())
            })?;
        }
        if records.is_empty() {
            return Ok(());
        }
        records.sort_unstable_by_key(|record| record.0);
        let next = records.last().map_or(0, |record| record.0 + 1);
        let mut meant = Vec::new();
        for (position, target, parts, first) in &records {
            meant.extend(find_again(shared, *position, target, parts, *first)?);
        }
        let subjects = meant.iter().filter_map(Meant::subject).filter(|_| !matches!(site, Site::Copy));
        let mut bars: Vec<Bar<'_>> = subjects.map(|subject| shared.sources.erasing.bar(subject)).collect();
        let destroyed = destroy(shared, site, &meant, || bars.clear());
        bars.into_iter().for_each(Bar::keep);
        destroyed?;
        for (_, target, ..) in &records {
            if let Target::Subject { subject_key } = target {
                shared.sources.erasing.name_is_gone(subject_key);
            }
        }
        self.applied = next;
        write_progress(shared, next)
    }
}

fn unfinished(record: u64, cause: &Error) -> Error {
    Error::new(
        Code::ErasureUnfinished,
        format!(
            "the erasure is in the log at position {record}, and not all of it is destroyed yet ({cause})"
        ),
    )
}

/// Which events a record means, by name.
pub(super) struct Meant {
    /// All of them stand before this position.
    pub(super) at: u64,
    pub(super) whose: Whose,
    pub(super) erase: Erase,
}

pub(super) enum Whose {
    Positions(Vec<u64>),
    Stream { name: String, before: u64 },
    Subject(String),
}

impl Meant {
    pub(super) fn means(&self, position: u64, record: &Record<'_>) -> bool {
        position < self.at
            && !record.kind.is_control()
            && match &self.whose {
                Whose::Positions(positions) => positions.binary_search(&position).is_ok(),
                Whose::Stream { name, before } => record.stream == name && record.revision < *before,
                Whose::Subject(name) => {
                    matches!(record.subject, Some(Subject::Named(own, _)) if own == name)
                }
            }
    }

    /// Whether something of a record is still to be destroyed.
    pub(super) fn has_left(&self, record: &Record<'_>) -> bool {
        self.erase.data && record.data_erased.is_none()
            || self.erase.metadata && !record.metadata.is_empty()
            || self.erase.subject.is_some() && matches!(record.subject, Some(Subject::Named(..)))
    }

    fn subject(&self) -> Option<&str> {
        match &self.whose {
            Whose::Subject(name) => Some(name),
            _ => None,
        }
    }

    /// Positions of events that may be meant, from the newest to the oldest, some at a time.
    ///
    /// # Errors
    /// What `each` returns.
    fn candidates(&self, sources: &Sources, mut each: impl FnMut(u64) -> Result<()>) -> Result<()> {
        match &self.whose {
            Whose::Positions(positions) => {
                positions.iter().rev().filter(|position| **position < self.at).try_for_each(|at| each(*at))
            }
            Whose::Stream { name, .. } => {
                let key = sources.hasher.stream(name);
                let mut from = StreamFrom::End;
                loop {
                    let mut found = Vec::new();
                    sources.index.stream(key, from, Direction::Backward, self.at, STEP, &mut found);
                    let Some(last) = found.last().copied() else { return Ok(()) };
                    found.into_iter().try_for_each(&mut each)?;
                    from = StreamFrom::After(last);
                }
            }
            Whose::Subject(name) => {
                let tag = sources.hasher.tag(&subject_tag(name));
                let query = TermQuery { items: vec![Item { tags: vec![tag], ..Item::default() }] };
                let mut from = self.at.checked_sub(1);
                while let Some(at) = from {
                    let mut found = Vec::new();
                    from = sources.index.query(&query, at, Direction::Backward, self.at, STEP, &mut found);
                    found.into_iter().try_for_each(&mut each)?;
                }
                Ok(())
            }
        }
    }
}

/// Candidates looked up at once.
const STEP: usize = 512;

/// Names whose keys are remembered while events are looked through.
const KEYS_MAX: usize = 10_000;

/// What is there to be erased.
#[derive(Default)]
struct Survey {
    /// Events with something left.
    events: u64,
    /// First positions of the segments they stand in.
    segments: BTreeSet<u64>,
    /// Position of a sealed event among them.
    sealed: Option<u64>,
}

/// Asks which hold covers an event, remembering keys of names.
#[derive(Default)]
pub(super) struct Held {
    keys: HashMap<String, Option<Hash>>,
}

impl Held {
    /// The hold that covers the event of a record, if one does.
    ///
    /// # Errors
    /// Those of finding the salts of its names.
    pub(super) fn covering<'h>(
        &mut self,
        sources: &Sources,
        pending: &Pending,
        holds: Option<&'h Holds>,
        record: &Record<'_>,
    ) -> Result<Option<&'h Hold>> {
        let Some(holds) = holds.filter(|holds| !holds.is_empty()) else { return Ok(None) };
        if self.keys.len() > KEYS_MAX {
            self.keys.clear();
        }
        let keys = RefCell::new(&mut self.keys);
        let known = |name: String, find: &dyn Fn() -> Result<Option<Hash>>| {
            if let Some(key) = keys.borrow().get(&name) {
                return Ok(*key);
            }
            let key = find()?;
            keys.borrow_mut().insert(name, key);
            Ok(key)
        };
        let stream = record.stream;
        holds.covering(
            ids::category_of(stream),
            || known(format!("s{stream}"), &|| holds::stream_key(sources, pending, stream)),
            || match record.subject {
                None => Ok(None),
                Some(Subject::Keyed(key)) => Ok(Some(key)),
                Some(Subject::Named(name, _)) => {
                    known(format!("p{name}"), &|| holds::subject_key(sources, pending, name))
                }
            },
        )
    }
}

/// Looks through what is meant.
///
/// # Errors
/// [`Code::LegalHold`]; [`Code::InvalidErasure`] for an event that is never erased; those of reading the log.
fn survey(shared: &Shared, meant: &Meant, holds: Option<&Holds>) -> Result<Survey> {
    let sources = &shared.sources;
    let pending = Pending::none_below(shared.head());
    let mut reader = Reader::new(&sources.log);
    let mut found = Survey::default();
    let mut held = Held::default();
    meant.candidates(sources, |position| {
        let fetched = reader.fetch(position, sources.offset(position)?)?;
        let record = fetched.record()?;
        if !meant.means(position, &record) || !meant.has_left(&record) {
            return Ok(());
        }
        if record.stream.starts_with('$') {
            return Err(Error::new(
                Code::InvalidErasure,
                format!("the event at position {position} is the store's own, which it cannot do without"),
            )
            .found(format!("an event of stream {:?}", limits::shorten(record.stream))));
        }
        if let Some(hold) = held.covering(sources, &pending, holds, &record)? {
            return Err(Error::new(
                Code::LegalHold,
                format!("legal hold {:?} covers the event at position {position}", hold.id),
            )
            .found(hold.reason.clone()));
        }
        found.events += 1;
        if record.sealed && record.data_erased.is_none() {
            found.sealed = Some(position);
        }
        let segment = sources.log.segment_of(position);
        found.segments.extend(segment.map(|segment| segment.first()));
        Ok(())
    })?;
    Ok(found)
}

/// Destroys the key of the subject that is meant, unless it is a newer one: if it opens what is to be erased.
fn destroy_key(shared: &Shared, meant: &Meant, found: &Survey) -> Result<()> {
    let (Some(subject), Some(position)) = (meant.subject(), found.sealed) else { return Ok(()) };
    let sources = &shared.sources;
    let fetched = Reader::new(&sources.log).fetch(position, sources.offset(position)?)?;
    if matches!(sources.subjects.unseal(&fetched.record()?, position)?, Unsealed::Open { .. }) {
        sources.subjects.destroy(subject)?;
    }
    Ok(())
}

/// Destroys what is meant: the keys of subjects, after which `keys_are_gone` is told, then what the journal that nodes share
/// has of it, and at last the bytes here, each from the newest to the oldest.
///
/// # Errors
/// Those of the journal, and of reading and rewriting segments; what is destroyed by then stays so.
fn destroy(
    shared: &Shared,
    site: Site<'_>,
    meant: &[Meant],
    keys_are_gone: impl FnOnce(),
) -> Result<ErasureOutcome> {
    let mut segments = BTreeSet::new();
    for one in meant {
        let found = survey(shared, one, None)?;
        if !matches!(site, Site::Copy) {
            destroy_key(shared, one, &found)?;
        }
        segments.extend(found.segments);
    }
    keys_are_gone();
    let all = All::of(meant);
    if let Site::Writer(node) = site {
        for one in meant {
            rewrite_rows(shared, node, one, &all)?;
        }
    }
    let mut done = ErasureOutcome::default();
    for first in segments.iter().rev() {
        let rewritten = shared
            .sources
            .log
            .rewrite_segment(*first, &mut |position, record| all.erase(position, record))?;
        done.events += rewritten.events;
        done.segments += u64::from(rewritten.events > 0);
        done.bytes_freed += rewritten.bytes_freed;
    }
    for key in meant.iter().filter_map(|one| one.erase.subject) {
        shared.sources.erasing.name_is_gone(&key);
    }
    Ok(done)
}

/// Rewrites the batches of the shared journal in which something stands that is meant, from the newest to the oldest.
fn rewrite_rows(shared: &Shared, node: &Membership, one: &Meant, all: &All<'_>) -> Result<()> {
    let mut done_from = u64::MAX;
    one.candidates(&shared.sources, |position| {
        if position < done_from {
            done_from = node.ask_journal(|journal| rewrite_row(journal, position, all))?;
        }
        Ok(())
    })
}

/// Rewrites the batch that holds a position, and answers with the position it begins with.
fn rewrite_row(journal: &mut dyn SharedJournal, position: u64, all: &All<'_>) -> Result<u64> {
    let read = journal.read(position, 1)?;
    let holds = |batch: &Batch| batch.expected.position <= position && position < batch.tail.position;
    // Trimmed.
    let Some(batch) = read.into_iter().next().filter(holds) else { return Ok(position) };
    let mut left = Vec::with_capacity(batch.frames.len());
    let (mut at, mut changed) = (0, 0);
    while at < batch.frames.len() {
        let rest = &batch.frames[at..];
        let rewritten = Header::decode(rest).and_then(|header| {
            let frame = rest.get(..header.length as usize)?;
            let changed = frame::rewrite(frame, &mut left, |position, record| all.erase(position, record))?;
            Some((header.length as usize, changed))
        });
        let Some((length, some)) = rewritten else {
            return Err(Error::new(
                Code::Corrupted,
                format!("the journal's batch of position {position} is damaged"),
            ));
        };
        at += length;
        changed += some;
    }
    let first = batch.expected.position;
    if changed > 0 {
        journal.rewrite(&Batch { frames: left.into(), ..batch })?;
    }
    Ok(first)
}

/// Everything that is meant, so that a record is asked about once. Streams are many where retention is at work.
struct All<'m> {
    of_stream: HashMap<&'m str, Vec<&'m Meant>>,
    others: Vec<&'m Meant>,
}

impl<'m> All<'m> {
    fn of(meant: &'m [Meant]) -> All<'m> {
        let mut all = All { of_stream: HashMap::default(), others: Vec::new() };
        for one in meant {
            match &one.whose {
                Whose::Stream { name, .. } => all.of_stream.entry(name).or_default().push(one),
                _ => all.others.push(one),
            }
        }
        all
    }

    /// What is destroyed of a record.
    fn erase(&self, position: u64, record: &Record<'_>) -> Erase {
        let here = self.of_stream.get(record.stream).into_iter().flatten().chain(&self.others);
        here.filter(|one| one.means(position, record)).fold(Erase::default(), |all, one| Erase {
            data: all.data || one.erase.data,
            metadata: all.metadata || one.erase.metadata,
            subject: all.subject.or(one.erase.subject),
        })
    }
}

/// Checks a request, and answers with the parts it is about.
fn check(request: &ErasureRequest) -> Result<Vec<Part>> {
    let invalid = |what: &str| Error::new(Code::InvalidErasure, what.to_owned());
    check_text("erasure", "request id", &request.request)?;
    check_text("erasure", "legal basis", &request.basis)?;
    check_text("erasure", "name of who decided", &request.decided_by)?;
    if let Some(approved_by) = &request.approved_by {
        check_text("erasure", "name of who approved", approved_by)?;
        if *approved_by == request.decided_by {
            return Err(invalid("who decided cannot be who approved"));
        }
    }
    let of_subject = matches!(request.target, ErasureTarget::Subject(_));
    if request.parts.contains(&Part::Subject) && !of_subject {
        return Err(invalid("the name of a data subject is erased with all its events, or not at all"));
    }
    if let ErasureTarget::Events(positions) = &request.target
        && (positions.is_empty() || positions.len() > limits::ERASURE_POSITIONS_MAX)
    {
        return Err(invalid("the erasure names no event, or too many")
            .expected(format!("1 to {} positions", limits::ERASURE_POSITIONS_MAX))
            .found(positions.len().to_string()));
    }
    let asked = |part: Part| request.parts.contains(&part) || part == Part::Subject && of_subject;
    let parts: Vec<Part> =
        [Part::Data, Part::Metadata, Part::Subject].into_iter().filter(|part| asked(*part)).collect();
    if parts.is_empty() {
        return Err(invalid("the erasure names nothing to be destroyed"));
    }
    Ok(parts)
}

/// The id of the record of a request: a request that is sent twice finds it.
fn request_id(request: &str) -> EventId {
    let hash = Sha256::new().chain_update(b"graven/erasure/v1").chain_update(request).finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    id[6] = id[6] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    EventId(id)
}

fn positions_of(positions: &[Position]) -> Vec<u64> {
    let mut positions: Vec<u64> = positions.iter().map(|position| position.0).collect();
    positions.sort_unstable();
    positions.dedup();
    positions
}

pub(super) fn erase_of(parts: &[Part], subject: Option<Hash>) -> Erase {
    Erase {
        data: parts.contains(&Part::Data),
        metadata: parts.contains(&Part::Metadata),
        subject: subject.filter(|_| parts.contains(&Part::Subject)),
    }
}

/// Finds what a request means, as of a head: in the words of its record, with the position of the first event of the stream or
/// subject, and by name.
fn resolve(
    shared: &Shared,
    head: u64,
    target: &ErasureTarget,
    parts: &[Part],
) -> Result<(Target, Option<u64>, Meant)> {
    let sources = &shared.sources;
    let pending = Pending::none_below(head);
    let meant = |whose, subject| Meant { at: head, whose, erase: erase_of(parts, subject) };
    Ok(match target {
        ErasureTarget::Events(positions) => {
            let positions = positions_of(positions);
            if let Some(beyond) = positions.last().filter(|last| **last >= head) {
                return Err(Error::new(Code::EventNotFound, format!("no event has position {beyond}"))
                    .found(format!("{head} events in the log")));
            }
            (
                Target::Positions { positions: positions.clone() },
                None,
                meant(Whose::Positions(positions), None),
            )
        }
        ErasureTarget::Stream { name, before } => {
            let start = StreamFrom::Revision(0);
            let first = sources.scan_stream(&pending, name.as_str(), start, Direction::Forward, |view| {
                view.stream_salt.map(|salt| (view.place.position, salt))
            })?;
            let Some((first, salt)) = first else {
                return Err(Error::new(
                    Code::StreamNotFound,
                    format!("stream {:?} has no events", name.as_str()),
                ));
            };
            let stream_key = leaf::name_key(&salt, name.as_str().as_bytes());
            // What comes later is not meant.
            let last = sources.last(&pending, name.as_str())?.map_or(0, |last| last.revision + 1);
            let before_version = before.map_or(last, |before| before.0.min(last));
            let whose = Whose::Stream { name: name.as_str().to_owned(), before: before_version };
            (Target::Stream { stream_key, before_version }, Some(first), meant(whose, None))
        }
        ErasureTarget::Subject(subject) => {
            let tag = subject_tag(subject);
            let (first, salt) = sources
                .salted_tag(&pending, &tag)?
                .ok_or_else(|| Error::new(Code::NothingToErase, "the data subject has no events"))?;
            let subject_key = leaf::name_key(&salt, tag.as_bytes());
            let whose = Whose::Subject(subject.clone());
            (Target::Subject { subject_key }, Some(first), meant(whose, Some(subject_key)))
        }
    })
}

/// Finds what a record means by what it says. `None` if nothing of it is left, or nothing that could be found.
fn find_again(
    shared: &Shared,
    at: u64,
    target: &Target,
    parts: &[Part],
    first: Option<u64>,
) -> Result<Option<Meant>> {
    let sources = &shared.sources;
    let meant = |whose, subject| Some(Meant { at, whose, erase: erase_of(parts, subject) });
    let read = |position: u64| Reader::new(&sources.log).fetch(position, sources.offset(position)?);
    let lost = || {
        tracing::warn!(record = at, "what this record of an erasure means cannot be found");
        None
    };
    Ok(match (target, first.filter(|first| *first < at)) {
        (Target::Positions { positions }, _) => meant(Whose::Positions(positions.clone()), None),
        (_, None) => lost(),
        (Target::Stream { stream_key, before_version }, Some(first)) => {
            let fetched = read(first)?;
            let record = fetched.record()?;
            let own = record.stream_salt.map(|salt| leaf::name_key(&salt, record.stream.as_bytes()));
            if own == Some(*stream_key) {
                meant(Whose::Stream { name: record.stream.to_owned(), before: *before_version }, None)
            } else {
                lost()
            }
        }
        (Target::Subject { subject_key }, Some(first)) => {
            let fetched = read(first)?;
            match fetched.record()?.subject {
                // The first event is erased last.
                Some(Subject::Keyed(key)) if key == *subject_key => None,
                Some(Subject::Named(name, Some(salt)))
                    if leaf::name_key(&salt, subject_tag(name).as_bytes()) == *subject_key =>
                {
                    meant(Whose::Subject(name.to_owned()), Some(*subject_key))
                }
                _ => lost(),
            }
        }
    })
}

/// How far the records of erasures were carried out: saves looking again, and nothing else depends on it.
#[derive(Serialize, Deserialize)]
struct Progress {
    /// Everything that records below this position mean is destroyed.
    applied: u64,
    /// First bytes of the log id: a copy of another log knows nothing of this one.
    log_id: EventId,
}

const PROGRESS_FILE: &str = "erased.json";

fn progress_path(shared: &Shared) -> PathBuf {
    shared.sources.log.home().join(AUDIT_DIR).join(PROGRESS_FILE)
}

fn read_progress(shared: &Shared) -> Result<u64> {
    let path = progress_path(shared);
    match read_file(&*shared.env.disk, &path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)
            .ok()
            .filter(|progress: &Progress| progress.log_id.0 == shared.sources.log.id())
            .map_or(0, |progress| progress.applied.min(shared.head()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io(path.display(), &error)),
    }
}

fn write_progress(shared: &Shared, applied: u64) -> Result<()> {
    let path = progress_path(shared);
    let progress = Progress { applied, log_id: EventId(shared.sources.log.id()) };
    let json = serde_json::to_vec(&progress)
        .map_err(|error| Error::new(Code::Internal, format!("{PROGRESS_FILE}: {error}")))?;
    replace_file(&*shared.env.disk, &path, &json).map_err(|error| Error::io(path.display(), &error))
}
