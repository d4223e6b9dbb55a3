//! Eight adjacent files of one level become one of the next: few files to look into, each event rewritten once a
//! level.

use super::format::Kind;
use super::memory::Terms;
use super::part::{Part, Verdict};
use super::write::{Plan, Source, write_part};
use crate::env::Env;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Files that become one.
pub(super) const MERGE_FACTOR: usize = 8;
/// Positions of one file at the most: they are written as 31-bit numbers.
const POSITIONS_MAX: u64 = (1 << 31) - 1;
/// Bytes of one section of lists at the most, with room for the longer numbers a merge makes.
const LIST_BYTES_MAX: u64 = 3 << 30;

/// The next files to merge: of the lowest level that has enough of them, the oldest.
pub(super) fn candidates(parts: &[Arc<Part>]) -> Option<Range<usize>> {
    let mut end = parts.len();
    while end > 0 {
        let level = parts[end - 1].footer.level;
        let start =
            parts[..end].iter().rposition(|part| part.footer.level != level).map_or(0, |other| other + 1);
        if end - start >= MERGE_FACTOR && fits(&parts[start..start + MERGE_FACTOR]) {
            return Some(start..start + MERGE_FACTOR);
        }
        end = start;
    }
    None
}

fn fits(parts: &[Arc<Part>]) -> bool {
    let sum = |kind: Kind| parts.iter().map(|part| part.footer.section(kind).bytes).sum::<u64>();
    parts.iter().map(|part| part.footer.events()).sum::<u64>() <= POSITIONS_MAX
        && Terms::ALL.iter().all(|&terms| sum(Kind::TermLists(terms)) <= LIST_BYTES_MAX)
}

/// Outcome of a merge.
pub(super) enum Merged {
    /// The new file; the old ones are still there.
    Part(Arc<Part>),
    /// One of the old files, by its index, is damaged: merging it would give damage a right checksum.
    Damaged(usize),
}

/// Writes adjacent files as one of the next level.
///
/// # Errors
/// Those of the disk; `Interrupted` if asked to stop.
pub(super) fn merge(env: &Env, dir: &Path, parts: &[Arc<Part>], stop: &AtomicBool) -> io::Result<Merged> {
    for (index, part) in parts.iter().enumerate() {
        match part.verify(&*env.disk, stop)? {
            Verdict::Intact => {}
            Verdict::Damaged => return Ok(Merged::Damaged(index)),
            Verdict::Stopped => return Err(io::ErrorKind::Interrupted.into()),
        }
    }
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let plan = Plan {
        level: first.footer.level + 1,
        base: first.base(),
        end: last.end(),
        trailer: last.trailer(),
        sources: parts.iter().map(|part| Source::Sealed(part)).collect(),
    };
    write_part(env, dir, &plan, stop).map(|part| Merged::Part(Arc::new(part)))
}
