//! Destroying what a record in the log says is destroyed: keys, rows of a shared journal, segments.

use super::meant::{Meant, Whose};
use super::survey::{Survey, survey};
use super::{ErasureOutcome, Site};
use crate::append::Shared;
use crate::audit::subjects::Unsealed;
use crate::journal::{Batch, SharedJournal};
use crate::log::frame::{self, Erase, Header, Record};
use crate::log::reader::Reader;
use crate::node::Membership;
use foldhash::HashMap;
use graven_model::{Code, Error, Result};
use std::collections::BTreeSet;

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
pub(super) fn destroy(
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
