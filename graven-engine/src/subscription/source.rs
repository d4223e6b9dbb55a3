//! What a group consumes, read from the log.

use super::records::is_own;
use crate::append::Shared;
use crate::read::filter::Filter;
use crate::read::listed;
use crate::read::page::{self, Scan, Window};
use crate::read::sink::{Gathered, Sink};
use bytes::Bytes;
use graven_model::group::GroupSettings;
use graven_model::{Code, Direction, EventRef, Position, Result, Selector, StoredEvent, limits};

/// A group's selector, ready to read.
#[derive(Clone)]
pub(super) struct Source {
    selector: Selector,
    filter: Filter,
}

/// Events looked at to count how far a group is behind.
const COUNT_MAX: usize = 10_000;

impl Source {
    /// # Errors
    /// [`Code::InvalidFilter`].
    pub(super) fn new(settings: &GroupSettings) -> Result<Source> {
        Ok(Source { selector: settings.selector.clone(), filter: Filter::compile(&settings.filter)? })
    }

    /// The next events from a position on, and where to go on after them.
    ///
    /// # Errors
    /// [`Code::Corrupted`] with file and byte; [`Code::Io`].
    pub(super) fn read(
        &self,
        shared: &Shared,
        from: u64,
        limit: usize,
        from_revision: u64,
    ) -> Result<(Vec<StoredEvent>, u64)> {
        let mut sink = ForeignOnly(Gathered::default());
        let next = self.scan(shared, from, limit, from_revision, &mut sink)?;
        Ok((sink.0.events, next))
    }

    fn scan(
        &self,
        shared: &Shared,
        from: u64,
        limit: usize,
        from_revision: u64,
        sink: &mut impl Sink,
    ) -> Result<u64> {
        let head = shared.head();
        if from >= head {
            return Ok(from);
        }
        let Some(window) = self.window(shared, head, from_revision)? else { return Ok(head) };
        let scanned = page::scan(
            &Scan {
                sources: &shared.sources,
                head,
                selector: &self.selector,
                filter: &self.filter,
                window: window.as_ref(),
                direction: Direction::Forward,
                limit: limit.clamp(1, limits::PAGE_EVENTS_MAX as usize),
                bytes_max: limits::PAGE_BYTES_DEFAULT,
            },
            from,
            sink,
        )?;
        Ok(scanned.next.unwrap_or(head))
    }

    /// What of a stream can be seen, if the group is on one; `None` if nothing of it can.
    fn window(&self, shared: &Shared, head: u64, from_revision: u64) -> Result<Option<Option<Window>>> {
        let Selector::Stream(stream) = &self.selector else { return Ok(Some(None)) };
        match Window::of(shared, head, stream) {
            Ok(window) => Ok(Some(Some(window.narrowed(from_revision)))),
            Err(error) if matches!(error.code, Code::StreamNotFound | Code::StreamDeleted) => Ok(None),
            Err(error) if error.code == Code::StreamTombstoned => {
                Ok(Some(Some(Window::from_revision(from_revision))))
            }
            Err(error) => Err(error),
        }
    }

    /// An event that was read before, if it can still be read.
    ///
    /// # Errors
    /// [`Code::Corrupted`] with file and byte; [`Code::Io`].
    pub(super) fn load(&self, log: &super::log::GroupLog, position: u64) -> Result<Option<StoredEvent>> {
        let head = log.shared.head();
        if position >= head {
            return Ok(None);
        }
        let event = log.event_at(position)?;
        let shown = match self.window(&log.shared, head, 0)? {
            None => false,
            Some(None) => true,
            Some(Some(window)) => window.shows(event.revision.0, event.committed_at.micros()),
        };
        Ok(shown.then_some(event))
    }

    /// How many events there are from a position on, and whether that is exact; an upper bound otherwise.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub(super) fn count(&self, shared: &Shared, from: u64, from_revision: u64) -> Result<(u64, bool)> {
        let head = shared.head();
        if let Some(count) = self.count_by_index(shared, head, from, from_revision)? {
            return Ok((count, true));
        }
        let mut counted = Counted(0);
        let mut next = from;
        while next < head && (counted.0 as usize) < COUNT_MAX {
            let before = next;
            next = self.scan(shared, next, COUNT_MAX, from_revision, &mut counted)?;
            // A filter that lets little through is not followed for ever.
            if next.saturating_sub(from) > limits::PAGE_SCAN_MAX || next == before {
                break;
            }
        }
        Ok((counted.0 + head.saturating_sub(next), next >= head))
    }
}

impl Source {
    /// How many events there are from a position on, where the index or the revisions of a stream tell.
    fn count_by_index(
        &self,
        shared: &Shared,
        head: u64,
        from: u64,
        from_revision: u64,
    ) -> Result<Option<u64>> {
        if !self.filter.is_empty() {
            return Ok(None);
        }
        let listed = match &self.selector {
            Selector::Category(name) => !is_own(&format!("{name}-")),
            Selector::Types(names) => names.len() == 1 && !names[0].starts_with('$'),
            Selector::Stream(_) => {
                let Some(Some(window)) = self.window(shared, head, from_revision)? else {
                    return Ok(Some(0));
                };
                if window.by_age() || window.last == u64::MAX {
                    return Ok(None);
                }
                let first =
                    self.read(shared, from, 1, from_revision)?.0.first().map(|event| event.revision.0);
                return Ok(Some(first.map_or(0, |first| (window.last + 1).saturating_sub(first))));
            }
            _ => false,
        };
        if !listed {
            return Ok(None);
        }
        let rank = |below| listed::rank(shared, &self.selector, Position(below));
        Ok(Some(rank(head)?.saturating_sub(rank(from)?)))
    }
}

/// Gathers what groups did not write themselves.
struct ForeignOnly(Gathered);

impl Sink for ForeignOnly {
    fn take(&mut self, event: &EventRef<'_>, memory: &Bytes) -> Result<()> {
        if is_own(event.stream) { Ok(()) } else { self.0.take(event, memory) }
    }
}

/// Counts what groups did not write themselves.
struct Counted(u64);

impl Sink for Counted {
    fn take(&mut self, event: &EventRef<'_>, _: &Bytes) -> Result<()> {
        self.0 += u64::from(!is_own(event.stream));
        Ok(())
    }
}
