//! What the log says was erased. Parts of an event may be absent only where one of these records covers them, and must be
//! absent there.

use crate::Hash;
use crate::control::{Control, Part, Target};
use crate::leaf::Leaf;
use std::collections::HashMap;

const PARTS: usize = 3;

/// For each part of an event what is erased, and by which record.
#[derive(Debug, Clone, Default)]
pub struct Erasures {
    /// Position of the last record that names an event.
    positions: [HashMap<u64, u64>; PARTS],
    /// By key of the stream: the largest version that is not covered, and the position of the record.
    streams: [HashMap<Hash, (u64, u64)>; PARTS],
    /// By key of the subject: position of the last record.
    subjects: [HashMap<Hash, u64>; PARTS],
}

impl Erasures {
    /// Adds the record at a position, which comes after those added before. False if it is of another kind than those
    /// that cover something.
    pub fn add(&mut self, record: u64, control: &Control) -> bool {
        let (target, parts) = match control {
            Control::Erasure(erasure) => (&erasure.target, &erasure.parts),
            Control::Retention(retention) => (&retention.target, &retention.parts),
            _ => return false,
        };
        parts.iter().for_each(|part| self.add_part(record, target, *part as usize));
        true
    }

    fn add_part(&mut self, record: u64, target: &Target, part: usize) {
        match target {
            Target::Positions { positions } => {
                self.positions[part].extend(positions.iter().map(|position| (*position, record)));
            }
            Target::Stream { stream_key, before_version } => {
                let entry = self.streams[part].entry(*stream_key).or_insert((*before_version, record));
                *entry = (*entry).max((*before_version, record));
            }
            Target::Subject { subject_key } => drop(self.subjects[part].insert(*subject_key, record)),
        }
    }

    /// The record that covers this part of an event, if one does: it comes after the event.
    #[must_use]
    pub fn covering(&self, leaf: &Leaf<'_>, part: Part) -> Option<u64> {
        let part = part as usize;
        let after = |record: &u64| *record > leaf.position;
        let of_stream = self.streams[part].get(&leaf.stream_key);
        let of_stream =
            of_stream.filter(|(before, _)| leaf.stream_version < *before).map(|(_, record)| *record);
        let of_subject =
            || leaf.tags.iter().filter_map(|tag| self.subjects[part].get(tag).copied()).find(after);
        let of_position = self.positions[part].get(&leaf.position).copied();
        of_position.filter(after).or(of_stream.filter(after)).or_else(of_subject)
    }
}
