//! Where a follower goes on after its connection broke. Pure.

use graven_model::{FollowRequest, FollowStep, Position, Revision, Start};

/// What was delivered, and the request that continues it.
#[derive(Debug, Clone)]
pub(super) struct Resume {
    request: FollowRequest,
    /// The last revision delivered, for a stream followed by revision: such a one has to go on by revision, since it
    /// leaves out everything below its start, be it written before or later.
    by_revision: Option<Option<Revision>>,
    /// Everything below was delivered.
    next: Option<Position>,
}

impl Resume {
    pub(super) fn new(request: FollowRequest) -> Resume {
        let by_revision = matches!(request.after, Start::Revision(_)).then_some(None);
        // A position may lie beyond the head: being caught up below it delivers nothing.
        let next = match request.after {
            Start::Start => Some(Position(0)),
            Start::Position(position) => Some(position.next()),
            _ => None,
        };
        Resume { request, by_revision, next }
    }

    /// True if it is not yet known where "only new events" begins.
    pub(super) fn begins_at_end(&self) -> bool {
        self.next.is_none() && self.request.after == Start::End
    }

    /// Only new events: this is where they begin.
    pub(super) fn begin_at(&mut self, head: Position) {
        self.next = Some(head);
    }

    /// The request that gives what was not delivered yet.
    pub(super) fn request(&self) -> FollowRequest {
        let after = match (self.by_revision, self.next) {
            (Some(Some(revision)), _) => Start::Revision(revision),
            (Some(None), _) | (None, None) => self.request.after,
            (None, Some(Position(0))) => Start::Start,
            (None, Some(next)) => Start::Position(Position(next.0 - 1)),
        };
        FollowRequest { after, ..self.request.clone() }
    }

    /// Takes a step from the wire; gives back what of it is new.
    pub(super) fn take(&mut self, step: FollowStep) -> Option<FollowStep> {
        match step {
            FollowStep::Events(mut events) => {
                if let Some(next) = self.next {
                    events.retain(|event| event.position >= next);
                }
                let last = events.last()?;
                self.reached(last.position.next());
                if let Some(delivered) = &mut self.by_revision {
                    *delivered = Some(last.revision);
                }
                Some(FollowStep::Events(events))
            }
            FollowStep::CaughtUp(head) => {
                self.reached(head);
                Some(FollowStep::CaughtUp(head))
            }
            FollowStep::Checkpoint(position) => {
                self.reached(position.next());
                Some(FollowStep::Checkpoint(position))
            }
        }
    }

    fn reached(&mut self, next: Position) {
        self.next = Some(self.next.map_or(next, |before| before.max(next)));
    }
}

#[cfg(test)]
mod tests;
