//! Which events an erasure means: from names to keyed hashes for its record, and back.

use super::{ErasureTarget, Part};
use crate::append::{Pending, Shared, Sources, subject_tag};
use crate::index::{Item, StreamFrom, TermQuery};
use crate::log::frame::{Erase, Record, Subject};
use crate::log::reader::Reader;
use graven_model::{Code, Direction, Error, Position, Result};
use graven_proof::control::Target;
use graven_proof::{Hash, leaf};

/// Which events a record means, by name.
pub(in crate::audit) struct Meant {
    /// All of them stand before this position.
    pub(in crate::audit) at: u64,
    pub(in crate::audit) whose: Whose,
    pub(in crate::audit) erase: Erase,
}

pub(in crate::audit) enum Whose {
    Positions(Vec<u64>),
    Stream { name: String, before: u64 },
    Subject(String),
}

impl Meant {
    pub(in crate::audit) fn means(&self, position: u64, record: &Record<'_>) -> bool {
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
    pub(in crate::audit) fn has_left(&self, record: &Record<'_>) -> bool {
        self.erase.data && record.data_erased.is_none()
            || self.erase.metadata && !record.metadata.is_empty()
            || self.erase.subject.is_some() && matches!(record.subject, Some(Subject::Named(..)))
    }

    pub(super) fn subject(&self) -> Option<&str> {
        match &self.whose {
            Whose::Subject(name) => Some(name),
            _ => None,
        }
    }

    /// Positions of events that may be meant, from the newest to the oldest, some at a time.
    ///
    /// # Errors
    /// What `each` returns.
    pub(super) fn candidates(
        &self,
        sources: &Sources,
        mut each: impl FnMut(u64) -> Result<()>,
    ) -> Result<()> {
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

pub(super) fn positions_of(positions: &[Position]) -> Vec<u64> {
    let mut positions: Vec<u64> = positions.iter().map(|position| position.0).collect();
    positions.sort_unstable();
    positions.dedup();
    positions
}

pub(in crate::audit) fn erase_of(parts: &[Part], subject: Option<Hash>) -> Erase {
    Erase {
        data: parts.contains(&Part::Data),
        metadata: parts.contains(&Part::Metadata),
        subject: subject.filter(|_| parts.contains(&Part::Subject)),
    }
}

/// Finds what a request means, as of a head: in the words of its record, with the position of the first event of the stream or
/// subject, and by name.
pub(super) fn resolve(
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
pub(super) fn find_again(
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
