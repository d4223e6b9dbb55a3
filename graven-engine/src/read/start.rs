//! Where a read begins: every [`Start`] becomes a position.

use crate::append::{Pending, Sources};
use crate::index::StreamFrom;
use crate::log::reader::Reader;
use graven_model::{Code, Direction, Error, Result, Selector, Start, Timestamp};

/// The first position, in the direction of the read, that may belong to it. `None` if there is none.
///
/// # Errors
/// [`Code::InvalidStart`] for a revision with a selector that has none.
pub(crate) fn resolve(
    sources: &Sources,
    head: u64,
    selector: &Selector,
    start: Start,
    direction: Direction,
) -> Result<Option<u64>> {
    let forward = direction == Direction::Forward;
    let last = head.checked_sub(1);
    Ok(match start {
        Start::Start => {
            if forward {
                Some(0)
            } else {
                None
            }
        }
        Start::End => {
            if forward {
                Some(head)
            } else {
                last
            }
        }
        Start::Position(position) => {
            if forward {
                Some(position.0)
            } else {
                last.map(|last| last.min(position.0))
            }
        }
        Start::Revision(revision) => {
            let Selector::Stream(stream) = selector else {
                return Err(Error::new(Code::InvalidStart, "only the read of a stream begins at a revision"));
            };
            let pending = Pending::none_below(head);
            let found = sources.scan_stream(
                &pending,
                stream.as_str(),
                StreamFrom::Revision(revision.0),
                direction,
                |view| {
                    let reached = if forward {
                        view.place.revision >= revision.0
                    } else {
                        view.place.revision <= revision.0
                    };
                    reached.then_some(view.place.position)
                },
            )?;
            if forward { Some(found.unwrap_or(head)) } else { found }
        }
        Start::Time(time) => {
            let first_after = position_at(
                sources,
                head,
                if forward { time } else { Timestamp::from_micros(time.micros().saturating_add(1)) },
            )?;
            if forward { Some(first_after) } else { first_after.checked_sub(1) }
        }
    })
}

/// The first position committed at or after a time; commit times never decrease, so this is a binary search.
fn position_at(sources: &Sources, head: u64, time: Timestamp) -> Result<u64> {
    let mut reader = Reader::new(&sources.log);
    let (mut low, mut high) = (0, head);
    while low < high {
        let middle = low + (high - low) / 2;
        if reader.fetch(middle, sources.offset(middle)?)?.commit_time < time.micros() {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
