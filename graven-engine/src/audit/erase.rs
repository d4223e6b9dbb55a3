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

mod destroy;
mod meant;
mod progress;
mod snapshots;
mod survey;

use graven_model::erasure::{ErasureOutcome, ErasureRequest, ErasureTarget, HoldOn, Part};
pub(super) use meant::{Meant, Whose, erase_of};
pub(super) use survey::Held;

use super::erasing::Bar;
use super::holds::{self, Holds, check_text, each_control};
use super::trail::Trail;
use crate::append::{AUDIT_STREAM, Pending, Shared};
use crate::node::Membership;
use destroy::destroy;
use graven_model::event::Kind;
use graven_model::{Code, Error, EventId, Position, Result, StreamName, limits};
use graven_proof::control::{Control, Erasure, Hold, Retention, Target};
use meant::{find_again, positions_of, resolve};
use parking_lot::Mutex;
use progress::{read_progress, write_progress};
use sha2::{Digest, Sha256};
use snapshots::Derived;
use survey::survey;
use tokio::sync::RwLock;

/// What a store remembers for its erasures.
#[derive(Default)]
pub(crate) struct Eraser {
    /// One erasure, and one change of the holds, at a time.
    pub(super) state: Mutex<State>,
    /// Held shared while a snapshot is put, and alone from looking for the snapshots that are erased with their events until
    /// the record is in the log: none comes between.
    pub(crate) snapshots: RwLock<()>,
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
        let no_snapshot_comes = self.snapshots.blocking_write();
        let derived = snapshots::of_streams(shared, &survey.streams, &state.holds)?;
        if dry_run {
            let mut segments = survey.segments;
            derived.iter().for_each(|derived| segments.extend(&derived.found.segments));
            let (events, segments) = (survey.events, segments.len() as u64);
            return Ok(ErasureOutcome { events, segments, ..ErasureOutcome::default() });
        }
        let erasure = |target, parts, events, first| {
            Control::Erasure(Erasure {
                target,
                parts,
                events,
                first,
                request: request.request.clone(),
                basis: request.basis.clone(),
                decided_by: request.decided_by.clone(),
                approved_by: request.approved_by.clone(),
            })
        };
        let bar = meant.subject().map(|subject| shared.sources.erasing.bar(subject));
        // The request's own record comes last: where it stands, the others stand too.
        let mut records = Vec::with_capacity(derived.len() + 1);
        let mut all = Vec::with_capacity(derived.len() + 1);
        for Derived { target, first, meant, found } in derived {
            records.push(erasure(target, snapshots::PARTS.to_vec(), found.events, first));
            all.push(meant);
        }
        records.push(erasure(target, parts, survey.events, first));
        all.push(meant);
        let record = trail.control().append_erasures(id, &records)?;
        drop(no_snapshot_comes);
        let meant = all.into_iter().map(|meant| Meant { at: record, ..meant }).collect();
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
        on: &HoldOn,
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

    /// What follows the records of a decision, the one that stands for it at `record`, the last before `next`.
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
