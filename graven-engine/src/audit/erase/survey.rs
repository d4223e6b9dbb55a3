//! Counting what is there to be erased, and asking the legal holds.

use super::meant::Meant;
use crate::append::{Pending, Shared, Sources};
use crate::audit::holds::{self, Holds};
use crate::log::frame::{Record, Subject};
use crate::log::reader::Reader;
use foldhash::HashMap;
use graven_model::{Code, Error, Result, ids, limits, snapshot};
use graven_proof::Hash;
use graven_proof::control::Hold;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Names whose keys are remembered while events are looked through.
const KEYS_MAX: usize = 10_000;

/// What is there to be erased.
#[derive(Default)]
pub(super) struct Survey {
    /// Events with something left.
    pub(super) events: u64,
    /// First positions of the segments they stand in.
    pub(super) segments: BTreeSet<u64>,
    /// Position of a sealed event among them.
    pub(super) sealed: Option<u64>,
    /// Streams they belong to.
    pub(super) streams: BTreeSet<String>,
}

/// Asks which hold covers an event, remembering keys of names.
#[derive(Default)]
pub(in crate::audit) struct Held {
    keys: HashMap<String, Option<Hash>>,
}

impl Held {
    /// The hold that covers the event of a record, if one does.
    ///
    /// # Errors
    /// Those of finding the salts of its names.
    pub(in crate::audit) fn covering<'h>(
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
pub(super) fn survey(shared: &Shared, meant: &Meant, holds: Option<&Holds>) -> Result<Survey> {
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
        // Clients may name a subject in system streams of their own; no event of a metadata stream has one.
        let needed = record.stream.starts_with('$') && snapshot::described(record.stream).is_none();
        if needed && meant.subject().is_none() {
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
        if !found.streams.contains(record.stream) {
            found.streams.insert(record.stream.to_owned());
        }
        if record.sealed && record.data_erased.is_none() {
            found.sealed = Some(position);
        }
        let segment = sources.log.segment_of(position);
        found.segments.extend(segment.map(|segment| segment.first()));
        Ok(())
    })?;
    Ok(found)
}
