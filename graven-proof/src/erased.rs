//! What a log says was erased: the rule that tells erasure from loss.
//!
//! Whatever is absent from an event has to be covered by a later record of an erasure or of retention; whatever is covered has
//! to be absent.

use crate::Hash;
use crate::control::{Control, Part, Target};
use crate::leaf::Leaf;
use std::collections::HashMap;

const PARTS: usize = 3;

/// Whether a record at `record` that names `target` means the event of this leaf. All it means stands before it, and none of
/// it is a record about the log itself.
#[must_use]
pub fn covers(record: u64, target: &Target, leaf: &Leaf<'_>) -> bool {
    leaf.position < record
        && !leaf.kind.is_control()
        && match target {
            Target::Positions { positions } => positions.contains(&leaf.position),
            Target::Stream { stream_key, before_version } => {
                leaf.stream_key == *stream_key && leaf.stream_version < *before_version
            }
            Target::Subject { subject_key } => leaf.tags.contains(subject_key),
        }
}

/// All that a log says was erased, for looking up many events.
#[derive(Debug, Clone, Default)]
pub struct Erased {
    /// For each part, the last record that names an event.
    positions: [HashMap<u64, u64>; PARTS],
    /// By key of the stream: first version that is not covered, and the record, for every record that covers more.
    streams: [HashMap<Hash, Vec<(u64, u64)>>; PARTS],
    /// By key of the subject: the last record.
    subjects: [HashMap<Hash, u64>; PARTS],
}

impl Erased {
    /// Notes what the control record at a position says. Records come in the order of the log. False if it is about
    /// something else, and says nothing here.
    pub fn note(&mut self, record: u64, control: &Control) -> bool {
        let (target, parts) = match control {
            Control::Erasure(erasure) => (&erasure.target, &erasure.parts),
            Control::Retention(retention) => (&retention.target, &retention.parts),
            _ => return false,
        };
        for part in parts {
            let part = *part as usize;
            match target {
                Target::Positions { positions } => {
                    self.positions[part].extend(positions.iter().map(|position| (*position, record)));
                }
                Target::Stream { stream_key, before_version } => {
                    let of_stream = self.streams[part].entry(*stream_key).or_default();
                    // A later record that covers as many versions covers whatever an earlier one does.
                    of_stream.retain(|(before, _)| before > before_version);
                    of_stream.push((*before_version, record));
                }
                Target::Subject { subject_key } => drop(self.subjects[part].insert(*subject_key, record)),
            }
        }
        true
    }

    /// The record that covers this part of an event, if one does.
    #[must_use]
    pub fn record_of(&self, leaf: &Leaf<'_>, part: Part) -> Option<u64> {
        if leaf.kind.is_control() {
            return None;
        }
        let part = part as usize;
        let later = |record: &u64| *record > leaf.position;
        let of_stream = || {
            let records = self.streams[part].get(&leaf.stream_key)?;
            let mut covering = records.iter().filter(|(before, _)| leaf.stream_version < *before);
            covering.find(|(_, record)| later(record)).map(|(_, record)| *record)
        };
        let of_subject =
            || leaf.tags.iter().find_map(|tag| self.subjects[part].get(tag).copied().filter(later));
        self.positions[part].get(&leaf.position).copied().filter(later).or_else(of_stream).or_else(of_subject)
    }
}

#[cfg(test)]
mod tests;
