//! What the log says was erased: payloads may be absent only where one of these records covers them.

use super::{Log, Stop, malformed};
use crate::Hash;
use crate::bundle::layout::ERASURES;
use crate::control::{Control, Part, Target};
use crate::finding::Report;
use crate::leaf::Leaf;
use std::collections::HashMap;

const PARTS: usize = 3;

/// For each part what is erased, and by which record.
#[derive(Default)]
pub(super) struct Erasures {
    /// Position of the last record that names an event.
    positions: [HashMap<u64, u64>; PARTS],
    /// By key of the stream: the largest version that is not covered, and the position of the record.
    streams: [HashMap<Hash, (u64, u64)>; PARTS],
    /// By key of the subject: position of the last record.
    subjects: [HashMap<Hash, u64>; PARTS],
}

/// Reads the records that cover what is absent.
pub(super) fn read(log: &Log<'_>, report: &mut Report) -> Result<Erasures, Stop> {
    let mut erasures = Erasures::default();
    let mut count = 0;
    for (position, bytes) in log.control_lines(ERASURES)? {
        let leaf = Leaf::decode(&bytes).map_err(|_| malformed(ERASURES, "leaves"))?;
        let (target, parts) = match Control::decode(leaf.kind, leaf.body) {
            Ok(Control::Erasure(erasure)) => (erasure.target, erasure.parts),
            Ok(Control::Retention(retention)) => (retention.target, retention.parts),
            _ => return Err(malformed(ERASURES, "leaves of ERASURE and RETENTION records")),
        };
        parts.iter().for_each(|part| erasures.add(position, &target, *part as usize));
        count += 1;
    }
    if count > 0 {
        report.note(format!("{count} records of erasures and retention cover what is absent"));
    }
    Ok(erasures)
}

impl Erasures {
    fn add(&mut self, record: u64, target: &Target, part: usize) {
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

    /// Whether a record that comes after the event covers this part of it.
    pub(super) fn cover(&self, leaf: &Leaf<'_>, part: Part) -> bool {
        let part = part as usize;
        let after = |record: &u64| *record > leaf.position;
        let of_stream = self.streams[part].get(&leaf.stream_key);
        self.positions[part].get(&leaf.position).is_some_and(after)
            || of_stream.is_some_and(|(before, record)| leaf.stream_version < *before && after(record))
            || leaf.tags.iter().any(|tag| self.subjects[part].get(tag).is_some_and(after))
    }
}
