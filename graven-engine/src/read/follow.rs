//! [`Follower`]: a read that never ends. Catch-up and live are the same read, repeated to the head whenever it moves, so
//! there is no hand-over in which an event could be missed, and a slow consumer only falls behind.

use super::filter::Filter;
use super::page::{self, Scan, Window};
use super::sink::Gathered;
use super::{select, start};
use crate::append::{Pending, Shared};
use crate::log::reader::Reader;
use graven_model::{
    Code, Direction, Error, FollowRequest, FollowStep, Position, Result, Revision, Selector, Start,
    StoredEvent, StreamName, limits,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A read that never ends: every event the selector asks for, in log order, each exactly once.
pub struct Follower {
    shared: Arc<Shared>,
    request: FollowRequest,
    filter: Filter,
    /// Everything below was delivered.
    next: u64,
    /// For a stream followed from a revision that is not there yet.
    min_revision: u64,
    /// Head and checkpoint told last.
    caught_up: bool,
    told: u64,
    watch: watch::Receiver<Position>,
}

impl Follower {
    pub(crate) fn new(shared: Arc<Shared>, request: FollowRequest) -> Result<Follower> {
        select::check(&request.selector)?;
        if request.page_events == 0 || request.page_events > limits::PAGE_EVENTS_MAX {
            return Err(Error::new(Code::InvalidLimit, "the number of events a step is out of bounds")
                .expected(format!("1 to {}", limits::PAGE_EVENTS_MAX))
                .found(request.page_events.to_string()));
        }
        let filter = Filter::compile(&request.filter)?;
        let watch = shared.watch();
        let head = shared.head();
        let (after, min_revision) = match request.after {
            Start::Revision(revision) => (Start::Revision(revision.next()), revision.next().0),
            Start::Position(position) => (Start::Position(position.next()), 0),
            other => (other, 0),
        };
        let from = start::resolve(&shared.sources, head, &request.selector, after, Direction::Forward)?;
        // A revision that is not there yet may already be on its way: nothing before the head can be it.
        let mut next = from.unwrap_or(head);
        if let (Selector::Stream(stream), Start::Revision(from)) = (&request.selector, after)
            && from <= Revision::TOMBSTONE
            && let Some(end) = shared.sources.tombstone(&Pending::none_below(head), stream.as_str())?
        {
            next = next.min(end.position);
        }
        Ok(Follower { shared, request, filter, next, min_revision, caught_up: false, told: next, watch })
    }

    /// What is there now, without waiting; `None` when caught up and told so. Reads files.
    ///
    /// # Errors
    /// [`Code::StreamTombstoned`] after the tombstone of a stream that ended; otherwise as [`crate::Store::read`].
    pub fn poll_next(&mut self) -> Result<Option<FollowStep>> {
        loop {
            let head = self.shared.head();
            if !self.filter.is_empty()
                && self.next < head
                && let Some(step) = self.checkpoint_if_due()
            {
                return Ok(Some(step));
            }
            if self.next >= head {
                if !self.caught_up {
                    self.caught_up = true;
                    self.told = self.told.max(head);
                    return Ok(Some(FollowStep::CaughtUp(Position(head))));
                }
                if let Selector::Stream(stream) = &self.request.selector
                    && let Err(error) = Window::of(&self.shared, head, stream)
                    && error.code == Code::StreamTombstoned
                {
                    return Err(error);
                }
                return Ok(self.checkpoint_if_due());
            }
            let events = self.page(head)?;
            if !events.is_empty() {
                return Ok(Some(FollowStep::Events(events)));
            }
            if let Some(step) = self.checkpoint_if_due() {
                return Ok(Some(step));
            }
        }
    }

    fn checkpoint_if_due(&mut self) -> Option<FollowStep> {
        if self.next.saturating_sub(self.told) < self.request.checkpoint_every.max(1) {
            return None;
        }
        self.told = self.next;
        Some(FollowStep::Checkpoint(Position(self.next - 1)))
    }

    fn page(&mut self, head: u64) -> Result<Vec<StoredEvent>> {
        let mut tombstone = None;
        let window = match &self.request.selector {
            Selector::Stream(stream) => match Window::of(&self.shared, head, stream) {
                Ok(window) => Some(window.narrowed(self.min_revision)),
                // Not there yet, deleted, or tombstoned below: what is visible of it now is nothing, later may differ.
                Err(error) if matches!(error.code, Code::StreamNotFound | Code::StreamDeleted) => {
                    self.next = head;
                    return Ok(Vec::new());
                }
                Err(error) if error.code == Code::StreamTombstoned => {
                    tombstone = self.tombstone_of(stream, head)?;
                    Some(Window::from_revision(self.min_revision))
                }
                Err(error) => return Err(error),
            },
            _ => None,
        };
        // Events that a filter passes over are counted for checkpoints, so a page ends where one is due.
        let end = if self.filter.is_empty() {
            head
        } else {
            head.min(self.told.saturating_add(self.request.checkpoint_every.max(1)).max(self.next + 1))
        };
        let limit = self.request.page_events as usize;
        let mut gathered = Gathered::default();
        let scanned = page::scan(
            &Scan {
                sources: &self.shared.sources,
                head: end,
                selector: &self.request.selector,
                filter: &self.filter,
                window: window.as_ref(),
                direction: Direction::Forward,
                limit,
                bytes_max: self.request.page_bytes.clamp(1, limits::PAGE_BYTES_MAX),
            },
            self.next,
            &mut gathered,
        )?;
        if scanned.next.is_some() {
            self.caught_up = false;
        }
        self.next = scanned.next.unwrap_or(end);
        let mut events = gathered.events;
        if let Some(tombstone) = tombstone.filter(|event| event.position.0 < self.next) {
            if events.len() < limit {
                events.push(tombstone);
            } else {
                self.next = tombstone.position.0;
            }
        }
        Ok(events)
    }

    /// The tombstone of the stream, if it was not delivered and the filter lets it through.
    fn tombstone_of(&self, stream: &StreamName, head: u64) -> Result<Option<StoredEvent>> {
        let sources = &self.shared.sources;
        let Some(place) = sources.tombstone(&Pending::none_below(head), stream.as_str())? else {
            return Ok(None);
        };
        if place.position < self.next {
            return Ok(None);
        }
        let event = Reader::new(&sources.log)
            .fetch(place.position, sources.offset(place.position)?)?
            .event(&sources.subjects)?;
        Ok(self.filter.matches(stream.as_str(), &event.event.event_type)?.then_some(event))
    }

    /// Waits until [`Follower::poll_next`] may have something. Does not block the runtime, and needs none.
    ///
    /// # Errors
    /// [`Code::Closed`] when the store is closed.
    pub async fn wait(&mut self) -> Result<()> {
        let next = self.next;
        while !self.shared.is_closed() {
            let head = *self.watch.borrow_and_update();
            if head.0 > next || !self.caught_up {
                return Ok(());
            }
            if self.watch.changed().await.is_err() {
                break;
            }
        }
        Err(Error::new(Code::Closed, "the store is closed"))
    }

    /// The next step, or `None` after `timeout`. Blocks.
    ///
    /// # Errors
    /// As [`Follower::poll_next`]; [`Code::Closed`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<FollowStep>> {
        let step = self.poll_next()?;
        if step.is_some() || !self.shared.wait_head_above(self.next, timeout)? {
            return Ok(step);
        }
        self.poll_next()
    }

    /// Everything below this position was delivered.
    #[must_use]
    pub fn next_position(&self) -> Position {
        Position(self.next)
    }
}
