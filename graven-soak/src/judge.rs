//! The judge. Everything the store answered has to agree with one log, the one that is there in the end.

use crate::history::{Append, Follow, History, Nanos, OF_THE_STORE, OpId, Outcome, Read, StreamNo};
use graven_model::{Expected, Position};
use std::collections::HashMap;

#[cfg(test)]
mod tests;

/// What the judge found wrong, in words. At most [`FINDINGS_MAX`] of a kind.
pub type Findings = Vec<String>;

/// Findings of one kind that are told.
pub const FINDINGS_MAX: usize = 20;

/// Judges a run; an empty answer is an acquittal.
#[must_use]
pub fn judge(history: &History) -> Findings {
    let facts = Facts::of(history);
    let mut findings = Vec::new();
    for (kind, check) in [
        ("log", log_is_dense as fn(&History, &Facts) -> Findings),
        ("acknowledged", acknowledged_appends_are_there),
        ("atomicity", appends_are_there_whole_or_not_at_all),
        ("real time", later_appends_stand_later),
        ("decisions", decisions_are_right_at_their_place),
        ("reads", reads_are_true),
        ("follows", follows_have_no_gap),
    ] {
        let found = check(history, &facts);
        let more = found.len().saturating_sub(FINDINGS_MAX);
        findings.extend(found.into_iter().take(FINDINGS_MAX).map(|what| format!("{kind}: {what}")));
        if more > 0 {
            findings.push(format!("{kind}: and {more} more"));
        }
    }
    findings
}

/// The final log, looked at from all sides.
struct Facts {
    /// Positions of an operation's events, in log order.
    of_op: HashMap<OpId, Vec<u64>>,
    /// Positions of a stream's events, by revision.
    of_stream: HashMap<StreamNo, Vec<u64>>,
    of_tag: HashMap<u32, Vec<u64>>,
}

impl Facts {
    fn of(history: &History) -> Facts {
        let mut facts = Facts { of_op: HashMap::new(), of_stream: HashMap::new(), of_tag: HashMap::new() };
        for (position, event) in (0..).zip(&history.log) {
            facts.of_op.entry(event.op).or_default().push(position);
            facts.of_stream.entry(event.stream).or_default().push(position);
            facts.of_tag.entry(event.tag).or_default().push(position);
        }
        facts
    }

    fn positions(&self, op: OpId) -> &[u64] {
        self.of_op.get(&op).map(Vec::as_slice).unwrap_or_default()
    }

    fn stream(&self, stream: StreamNo) -> &[u64] {
        self.of_stream.get(&stream).map(Vec::as_slice).unwrap_or_default()
    }

    fn tag(&self, tag: u32) -> &[u64] {
        self.of_tag.get(&tag).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Revisions are dense from 0 in every stream, commit times never decrease, no event is there twice.
fn log_is_dense(history: &History, facts: &Facts) -> Findings {
    let mut findings = Vec::new();
    for (stream, positions) in &facts.of_stream {
        for (revision, position) in (0..).zip(positions) {
            let found = history.log[*position as usize].revision;
            if found != revision {
                findings.push(format!(
                    "soak-{stream} has revision {found} where {revision} belongs, at position {position}"
                ));
                break;
            }
        }
    }
    for (at, pair) in history.log.windows(2).enumerate() {
        if pair[1].committed_at < pair[0].committed_at {
            findings.push(format!("the commit time decreases at position {}", at + 1));
        }
    }
    for (op, positions) in &facts.of_op {
        let mut indexes: Vec<u32> =
            positions.iter().map(|position| history.log[*position as usize].index).collect();
        indexes.sort_unstable();
        if indexes.windows(2).any(|pair| pair[0] == pair[1]) {
            findings.push(format!("an event of operation {op} is there twice"));
        }
        if *op != OpId::from(OF_THE_STORE) && !history.appends.contains_key(op) {
            findings.push(format!("the log holds events of operation {op}, which nobody sent"));
        }
    }
    findings
}

fn acknowledged_appends_are_there(history: &History, facts: &Facts) -> Findings {
    let mut findings = Vec::new();
    for append in history.appends.values() {
        let positions = facts.positions(append.op);
        match &append.outcome {
            Outcome::Done { first, last } => {
                if positions.first() != Some(&first.0) || positions.last() != Some(&last.0) {
                    findings.push(format!(
                        "operation {} was acknowledged at {first} to {last} and stands at {:?}",
                        append.op,
                        positions.first().zip(positions.last())
                    ));
                }
            }
            Outcome::WrongRevision(..) | Outcome::ConditionFailed(_) | Outcome::Refused(_) => {
                if let Some(position) = positions.first() {
                    findings.push(format!("operation {} was refused and stands at {position}", append.op));
                }
            }
            Outcome::Unknown => {}
        }
    }
    findings
}

fn appends_are_there_whole_or_not_at_all(history: &History, facts: &Facts) -> Findings {
    let mut findings = Vec::new();
    for append in history.appends.values() {
        let positions = facts.positions(append.op);
        let wanted: u32 = append.streams.iter().map(|(_, _, count)| count).sum();
        if positions.is_empty() {
            continue;
        }
        if positions.len() != wanted as usize || positions.windows(2).any(|pair| pair[1] != pair[0] + 1) {
            findings.push(format!(
                "operation {} of {wanted} events stands at {} positions from {} on",
                append.op,
                positions.len(),
                positions[0]
            ));
        } else if positions
            .iter()
            .zip(0..)
            .any(|(position, index)| history.log[*position as usize].index != index)
        {
            findings.push(format!("the events of operation {} are out of order", append.op));
        }
    }
    findings
}

/// What was answered before something else was asked stands before it.
fn later_appends_stand_later(history: &History, facts: &Facts) -> Findings {
    let mut ended: Vec<(Nanos, u64, OpId)> = Vec::new();
    let mut started: Vec<(Nanos, u64, OpId)> = Vec::new();
    for append in history.appends.values() {
        let (Some(first), Some(last)) =
            (facts.positions(append.op).first(), facts.positions(append.op).last())
        else {
            continue;
        };
        if matches!(append.outcome, Outcome::Done { .. }) {
            ended.push((append.end, *last, append.op));
        }
        started.push((append.start, *first, append.op));
    }
    ended.sort_unstable();
    started.sort_unstable();
    let mut findings = Vec::new();
    let mut ended = ended.into_iter().peekable();
    let mut newest: Option<(u64, OpId)> = None;
    for (start, first, op) in started {
        while let Some((_, last, earlier)) = ended.next_if(|(end, ..)| *end < start) {
            newest = newest.max(Some((last, earlier)));
        }
        if let Some((last, earlier)) = newest
            && last > first
        {
            findings.push(format!(
                "operation {op} began after {earlier} was done at {last}, and stands at {first}"
            ));
        }
    }
    findings
}

fn decisions_are_right_at_their_place(history: &History, facts: &Facts) -> Findings {
    let mut findings = Vec::new();
    for append in history.appends.values() {
        findings.extend(match append.outcome {
            Outcome::WrongRevision(stream, actual) => {
                wrong_refusal(history, facts, append, stream, actual.map(|at| at.0))
            }
            Outcome::ConditionFailed(position) => wrong_condition_refusal(history, append, position),
            _ => wrong_acceptance(history, facts, append),
        });
    }
    findings
}

fn wrong_acceptance(history: &History, facts: &Facts, append: &Append) -> Option<String> {
    let first = *facts.positions(append.op).first()?;
    let mut at = first;
    for (stream, expected, count) in &append.streams {
        let before = if *count > 0 {
            let revision = history.log.get(at as usize)?.revision;
            revision.checked_sub(1)
        } else {
            // Only checked: its last event before the append.
            let positions = facts.stream(*stream);
            (positions.partition_point(|position| *position < first) as u64).checked_sub(1)
        };
        let right = match expected {
            Expected::Any => true,
            Expected::NoStream => before.is_none(),
            Expected::Exists => before.is_some(),
            // No soak deletes a stream.
            Expected::Deleted | Expected::Tombstoned => false,
            Expected::Revision(wanted) => before == Some(wanted.0),
        };
        if !right {
            return Some(format!(
                "operation {} expected {expected:?} of soak-{stream} and was accepted over {before:?}",
                append.op
            ));
        }
        at += u64::from(*count);
    }
    let (tag, after) = append.condition?;
    let positions = facts.tag(tag);
    let from = after.map_or(0, |after| after.0 + 1);
    let found = positions
        .get(positions.partition_point(|position| *position < from))
        .filter(|found| **found < first)?;
    Some(format!(
        "operation {} wanted no tag-{tag} after {after:?} and was accepted over the one at {found}",
        append.op
    ))
}

/// The stream must have looked as the refusal says at some moment between question and answer.
fn wrong_refusal(
    history: &History,
    facts: &Facts,
    append: &Append,
    stream: StreamNo,
    actual: Option<u64>,
) -> Option<String> {
    let positions = facts.stream(stream);
    let at = |revision: u64| {
        let position = positions.get(usize::try_from(revision).ok()?)?;
        history.appends.get(&history.log[*position as usize].op)
    };
    let there = actual.is_none_or(|revision| at(revision).is_some_and(|last| last.start <= append.end));
    let next = at(actual.map_or(0, |revision| revision + 1));
    let over =
        next.is_some_and(|next| matches!(next.outcome, Outcome::Done { .. }) && next.end < append.start);
    let contradicts = append.streams.iter().any(|(no, expected, _)| {
        *no == stream
            && match expected {
                Expected::Any => false,
                Expected::NoStream => actual.is_some(),
                Expected::Exists => actual.is_none(),
                Expected::Deleted | Expected::Tombstoned => true,
                Expected::Revision(wanted) => actual != Some(wanted.0),
            }
    });
    (!there || over || !contradicts).then(|| {
        format!(
            "operation {} was told that soak-{stream} is at {actual:?}, which it was not at that time",
            append.op
        )
    })
}

fn wrong_condition_refusal(history: &History, append: &Append, position: Position) -> Option<String> {
    let (tag, after) = append.condition?;
    let event = history.log.get(position.0 as usize);
    let right = event.is_some_and(|event| {
        event.tag == tag
            && after.is_none_or(|after| position > after)
            && history.appends.get(&event.op).is_some_and(|other| other.start <= append.end)
    });
    (!right).then(|| {
        format!("operation {} was refused for the event at {position}, which does not match", append.op)
    })
}

/// A read gives the log's events in order without a gap, and everything that was acknowledged before it was asked.
fn reads_are_true(history: &History, facts: &Facts) -> Findings {
    let mut acknowledged: Vec<(Nanos, u64)> = Vec::new();
    for append in history.appends.values() {
        if let Outcome::Done { last, .. } = &append.outcome {
            acknowledged.push((append.end, last.0));
        }
    }
    acknowledged.sort_unstable();
    let mut newest = 0;
    for entry in &mut acknowledged {
        newest = newest.max(entry.1);
        entry.1 = newest;
    }
    let everything: Vec<u64> = (0..history.log.len() as u64).collect();
    history.reads.iter().filter_map(|read| wrong_read(facts, &everything, &acknowledged, read)).collect()
}

fn wrong_read(
    facts: &Facts,
    everything: &[u64],
    acknowledged: &[(Nanos, u64)],
    read: &Read,
) -> Option<String> {
    let what = || read.stream.map_or("everything".to_owned(), |stream| format!("soak-{stream}"));
    let all = read.stream.map_or(everything, |stream| facts.stream(stream));
    let from = usize::try_from(read.from).ok()?.min(all.len());
    let expected = &all[from..];
    if !expected.starts_with(&read.positions) {
        return Some(format!("a read of {} from {} is not what the log holds", what(), read.from));
    }
    let before = acknowledged.partition_point(|(end, _)| *end < read.start);
    let known = before.checked_sub(1).map(|at| acknowledged[at].1)?;
    let missing = expected.get(read.positions.len()).filter(|next| read.to_the_end && **next <= known)?;
    Some(format!(
        "a read of {} ended before position {missing}, which was acknowledged before it began",
        what()
    ))
}

fn follows_have_no_gap(history: &History, facts: &Facts) -> Findings {
    let everything: Vec<u64> = (0..history.log.len() as u64).collect();
    let wrong = |follow: &Follow| {
        let expected = follow.tag.map_or(everything.as_slice(), |tag| facts.tag(tag));
        let at = follow.positions.iter().zip(expected).position(|(found, wanted)| found != wanted);
        let (given, belong) = (follow.positions.len(), expected.len());
        let at =
            at.or((given > belong || (follow.complete && given < belong)).then_some(given.min(belong)))?;
        Some(format!(
            "the follower of {:?} was given {:?} as its event number {at}, where {:?} belongs",
            follow.tag,
            follow.positions.get(at),
            expected.get(at)
        ))
    };
    history.follows.iter().filter_map(wrong).collect()
}
