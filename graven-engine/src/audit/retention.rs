//! Retention: what no reader of a stream can see any more is dropped, through the same door as erasures.
//!
//! `$maxCount`, `$maxAge`, `$tb`, deletion and tombstones hide events; the bytes stay until they are scavenged. What is dropped
//! are data and metadata: events keep position, id and type, and whoever reads the whole log sees them as erased.

use super::control::ControlWriter;
use super::erase::{Eraser, Held, Meant, Site, State, Whose, erase_of};
use super::holds::{self, each_control};
use super::trail::Trail;
use crate::append::{METADATA_TYPE, Pending, Shared, TOMBSTONE_TYPE};
use crate::index::{Item, StreamFrom, TermQuery};
use crate::log::reader::Reader;
use crate::read::metadata::StreamMetadata;
use foldhash::{HashMap, HashSet};
use graven_model::erasure::{Part, ScavengeReport};
use graven_model::event::Kind;
use graven_model::{Direction, Result, StreamName, limits, snapshot};
use graven_proof::Hash;
use graven_proof::control::{Control, Retention, Target};

/// How a store is scavenged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScavengeOptions {
    /// Count only.
    pub dry_run: bool,
}

/// What is to be dropped from a stream.
struct Plan {
    name: String,
    stream_key: Hash,
    first: u64,
    before: u64,
    rule: &'static str,
    events: u64,
    payload_bytes: u64,
}

/// What is found of a stream.
enum Found {
    Nothing,
    Held,
    Drop(Plan),
}

impl Eraser {
    /// See [`crate::Store::scavenge`].
    pub(crate) fn scavenge(
        &self,
        shared: &Shared,
        trail: &Trail,
        site: Site<'_>,
        options: ScavengeOptions,
    ) -> Result<ScavengeReport> {
        let mut state = self.state.lock();
        state.finish(shared, site)?;
        state.holds.refresh(shared)?;
        let mut report = ScavengeReport::default();
        let plans = plans(shared, &state, &mut report)?;
        report.streams = plans.len() as u64;
        report.events = plans.iter().map(|plan| plan.events).sum();
        report.payload_bytes = plans.iter().map(|plan| plan.payload_bytes).sum();
        if plans.is_empty() || options.dry_run {
            return Ok(report);
        }
        let (record, next) = say(trail.control(), &plans)?;
        let erase = erase_of(&PARTS, None);
        let meant = plans.into_iter().map(|plan| Meant {
            at: record,
            whose: Whose::Stream { name: plan.name, before: plan.before },
            erase,
        });
        let done = state.carry_out(shared, trail, site, (record, next), meant.collect(), None)?;
        Ok(ScavengeReport { segments: done.segments, bytes_freed: done.bytes_freed, ..report })
    }
}

const PARTS: [Part; 2] = [Part::Data, Part::Metadata];

/// Events looked up at once.
const STEP: usize = 256;

/// Writes down what is dropped, in one append, and answers with the positions of the first record and after the last.
fn say(control: &ControlWriter, plans: &[Plan]) -> Result<(u64, u64)> {
    let records: Vec<Control> = plans
        .iter()
        .map(|plan| {
            Control::Retention(Retention {
                target: Target::Stream { stream_key: plan.stream_key, before_version: plan.before },
                parts: PARTS.to_vec(),
                events: plan.events,
                first: Some(plan.first),
                rule: plan.rule.to_owned(),
            })
        })
        .collect();
    let receipt = control.append_all(Kind::Retention, &records)?;
    let record = receipt.first_position.0;
    Ok((record, record + plans.len() as u64))
}

/// Finds what is to be dropped: of the streams that have metadata, and of those that have ended.
fn plans(shared: &Shared, state: &State, report: &mut ScavengeReport) -> Result<Vec<Plan>> {
    let mut dropped: HashMap<Hash, u64> = HashMap::default();
    each_control(shared, "$retention", 0, |_, control| {
        if let Control::Retention(Retention {
            target: Target::Stream { stream_key, before_version }, ..
        }) = control
        {
            let before = dropped.entry(stream_key).or_default();
            *before = before_version.max(*before);
        }
        Ok(())
    })?;
    let sources = &shared.sources;
    let head = shared.head();
    let mut reader = Reader::new(&sources.log);
    let mut plans: Vec<Plan> = Vec::new();
    let mut met: HashSet<StreamName> = HashSet::default();
    for event_type in [METADATA_TYPE, TOMBSTONE_TYPE] {
        let item = Item { types: vec![sources.hasher.event_type(event_type)], ..Item::default() };
        let query = TermQuery { items: vec![item] };
        let mut from = Some(0);
        while let Some(at) = from {
            let mut found = Vec::new();
            from = sources.index.query(&query, at, Direction::Forward, head, STEP, &mut found);
            for position in found {
                let stream = {
                    let fetched = reader.fetch(position, sources.offset(position)?)?;
                    let record = fetched.record()?;
                    let stream = StreamName::new(record.stream)?;
                    match record.kind {
                        Kind::Tombstone => Some(stream),
                        // One of a stream's metadata events is enough to know of it.
                        _ if record.revision == 0 => stream.described(),
                        _ => None,
                    }
                };
                let dropped_from = |name: &str| !name.starts_with('$') || snapshot::described(name).is_some();
                let Some(stream) = stream.filter(|stream| dropped_from(stream.as_str())) else {
                    continue;
                };
                match plan(shared, state, &stream, &dropped)? {
                    Found::Nothing => continue,
                    Found::Held => report.held += 1,
                    Found::Drop(plan) => plans.push(plan),
                }
                met.insert(stream);
                if plans.len() >= limits::SCAVENGE_STREAMS_MAX {
                    report.more = true;
                    return Ok(plans);
                }
            }
        }
    }
    Ok(plans)
}

/// What is to be dropped from a stream.
fn plan(shared: &Shared, state: &State, stream: &StreamName, dropped: &HashMap<Hash, u64>) -> Result<Found> {
    let sources = &shared.sources;
    let head = shared.head();
    let pending = Pending::none_below(head);
    let Some((before, rule)) = hidden_below(shared, &pending, stream)?.filter(|(before, _)| *before > 0)
    else {
        return Ok(Found::Nothing);
    };
    let name = stream.as_str();
    let begin = StreamFrom::Revision(0);
    let first = sources.scan_stream(&pending, name, begin, Direction::Forward, |view| {
        view.stream_salt.map(|_| view.place.position)
    })?;
    let (Some(first), Some(stream_key)) = (first, holds::stream_key(sources, &pending, name)?) else {
        return Ok(Found::Nothing);
    };
    let from = dropped.get(&stream_key).copied().unwrap_or_default();
    if before <= from {
        return Ok(Found::Nothing);
    }
    let meant = Meant {
        at: head,
        whose: Whose::Stream { name: name.to_owned(), before },
        erase: erase_of(&PARTS, None),
    };
    let mut reader = Reader::new(&sources.log);
    let mut held = Held::default();
    let (mut events, mut payload_bytes) = (0, 0);
    let key = sources.hasher.stream(name);
    let mut from = StreamFrom::Revision(from);
    loop {
        let mut found = Vec::new();
        sources.index.stream(key, from, Direction::Forward, head, STEP, &mut found);
        let Some(last) = found.last().copied() else { break };
        let mut beyond = false;
        for position in found {
            let fetched = reader.fetch(position, sources.offset(position)?)?;
            let record = fetched.record()?;
            if record.stream != name {
                continue;
            }
            beyond |= record.revision >= before;
            if !meant.means(position, &record) || !meant.has_left(&record) {
                continue;
            }
            if held.covering(sources, &pending, Some(&state.holds), &record)?.is_some() {
                return Ok(Found::Held);
            }
            events += 1;
            let data = if record.data_erased.is_none() { record.data } else { &[] };
            payload_bytes += (data.len() + record.metadata.len()) as u64;
        }
        if beyond {
            break;
        }
        from = StreamFrom::After(last);
    }
    if events == 0 {
        return Ok(Found::Nothing);
    }
    Ok(Found::Drop(Plan { name: name.to_owned(), stream_key, first, before, rule, events, payload_bytes }))
}

/// The first revision of a stream that a reader can still see, or will ever see again, and what hides those before.
fn hidden_below(
    shared: &Shared,
    pending: &Pending,
    stream: &StreamName,
) -> Result<Option<(u64, &'static str)>> {
    let sources = &shared.sources;
    let name = stream.as_str();
    let Some(last) = sources.last(pending, name)? else { return Ok(None) };
    let end = last.revision + 1;
    if sources.tombstone(pending, name)?.is_some() {
        return Ok(Some((end, "deleted")));
    }
    let Some(metadata) = sources.metadata(pending, name, StreamMetadata::parse)?.transpose()? else {
        return Ok(None);
    };
    if metadata.is_deleted() || crate::snapshot::obsolete(shared, stream)? {
        return Ok(Some((end, "deleted")));
    }
    let by_count = metadata.max_count.map_or(0, |count| end.saturating_sub(count));
    let truncated = metadata.truncate_before.unwrap_or(0).min(end);
    let mut hidden = if by_count > truncated { (by_count, "max-count") } else { (truncated, "truncated") };
    if let Some(oldest) = metadata.oldest_visible(shared.env.clock.now_us()) {
        // Commit times never decrease along a stream.
        let (mut low, mut high) = (hidden.0, end);
        while low < high {
            let middle = low + (high - low) / 2;
            let shown =
                sources.at(pending, stream, middle)?.is_some_and(|(_, place)| place.commit_time >= oldest);
            (low, high) = if shown { (low, middle) } else { (middle + 1, high) };
        }
        if low > hidden.0 {
            hidden = (low, "max-age");
        }
    }
    Ok(Some(hidden))
}
