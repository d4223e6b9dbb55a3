//! [`Follower`]: a read that never ends.
use graven_model::{EventFilter, Position, Result, Selector, Start, StoredEvent, limits};
use std::time::Duration;

/// Which events to follow, from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowRequest {
    /// Which events.
    pub selector: Selector,
    /// Exclusive for a revision or position, inclusive for a time; `Start` = from the beginning, `End` = only new ones.
    pub after: Start,
    /// Narrows the selector.
    pub filter: EventFilter,
    /// Events a step at the most.
    pub page_events: u32,
    /// Bytes a step at the most.
    pub page_bytes: usize,
    /// Log events looked at between two checkpoints.
    pub checkpoint_every: u64,
}

impl FollowRequest {
    /// With default bounds.
    #[must_use]
    pub fn new(selector: Selector, after: Start) -> FollowRequest {
        FollowRequest {
            selector,
            after,
            filter: EventFilter::default(),
            page_events: limits::PAGE_EVENTS_DEFAULT,
            page_bytes: limits::PAGE_BYTES_DEFAULT,
            checkpoint_every: 1_000,
        }
    }
}

/// What a follower gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowStep {
    /// The next events, in order.
    Events(Vec<StoredEvent>),
    /// Everything below this head was delivered; what comes next is live.
    CaughtUp(Position),
    /// All matching events up to and including this position were delivered.
    Checkpoint(Position),
}

/// A read that never ends.
pub struct Follower {}

impl Follower {
    /// What is there now, without waiting.
    ///
    /// # Errors
    /// As [`crate::Store::read`].
    pub fn poll_next(&mut self) -> Result<Option<FollowStep>> {
        todo!()
    }
    /// Waits until [`Follower::poll_next`] may have something.
    ///
    /// # Errors
    /// If the store is closed.
    pub async fn wait(&mut self) -> Result<()> {
        todo!()
    }
    /// The next step, or `None` after `timeout`. Blocks.
    ///
    /// # Errors
    /// As [`crate::Store::read`].
    pub fn next_timeout(&mut self, _timeout: Duration) -> Result<Option<FollowStep>> {
        todo!()
    }
}
