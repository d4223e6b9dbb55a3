//! [`Consumer`]: gets a group's events. [`ConsumerHandle`]: says what became of them.

use super::group::Group;
use graven_model::group::{Delivery, Nack};
use graven_model::{Code, Error, Position, Result};
use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

/// A consumer's place in its group.
pub(super) struct Seat {
    id: u64,
    group: Arc<Group>,
    /// Why it gets nothing more.
    end: OnceLock<Error>,
}

impl Seat {
    pub(super) fn new(id: u64, group: Arc<Group>) -> Seat {
        Seat { id, group, end: OnceLock::new() }
    }

    pub(super) fn end(&self, error: Error) {
        let _ = self.end.set(error);
    }

    fn ended(&self) -> Result<()> {
        match self.end.get() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

/// A consumer of a group. Dropping it is leaving: what it held is delivered to others.
pub struct Consumer {
    seat: Arc<Seat>,
}

impl Consumer {
    pub(super) fn new(seat: Arc<Seat>) -> Consumer {
        Consumer { seat }
    }

    /// What this consumer's deliveries are acknowledged with, also from another thread.
    #[must_use]
    pub fn handle(&self) -> ConsumerHandle {
        ConsumerHandle { seat: Arc::clone(&self.seat) }
    }

    /// The next event; otherwise the task is woken when there is one. Does not block.
    ///
    /// # Errors
    /// After which nothing more comes, and what was in its hands is delivered to others: [`Code::GroupChanged`],
    /// [`Code::GroupNotFound`], [`Code::Closed`], [`Code::NotTheWriter`], [`Code::Poisoned`].
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Delivery>> {
        let Seat { id, group, .. } = &*self.seat;
        if group.by_hand() {
            group.pump();
        }
        let (mut core, now) = group.lock();
        if let Err(error) = self.seat.ended() {
            return Poll::Ready(Err(error));
        }
        let delivery = core.machine.take(*id, now);
        if delivery.is_none() {
            Group::wait(&mut core, *id, context.waker());
        }
        group.unlock(core, now);
        delivery.map_or(Poll::Pending, |delivery| Poll::Ready(Ok(delivery)))
    }

    /// The next event. Needs no runtime.
    ///
    /// # Errors
    /// As [`Consumer::poll_next`].
    pub async fn next(&mut self) -> Result<Delivery> {
        poll_fn(|context| self.poll_next(context)).await
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let Seat { id, group, .. } = &*self.seat;
        group.leave(*id);
        self.seat.end(Error::new(Code::ConsumerNotFound, format!("consumer {id} has left")));
    }
}

/// Says what became of the events in a consumer's hands. Cheap to clone; does not keep the consumer in the group.
#[derive(Clone)]
pub struct ConsumerHandle {
    pub(super) seat: Arc<Seat>,
}

impl ConsumerHandle {
    /// Unique in the store since it was opened.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.seat.id
    }

    /// These events are done: they are not delivered again, unless the store crashes before the group's next checkpoint.
    /// Answers with how many of them were in the consumer's hands; others are left alone. Does not block on the disk.
    ///
    /// # Errors
    /// Why the consumer got nothing more, as [`Consumer::poll_next`]; [`Code::ConsumerNotFound`] if it left.
    pub fn ack(&self, positions: &[Position]) -> Result<usize> {
        let Seat { id, group, .. } = &*self.seat;
        let (mut core, now) = group.lock();
        self.seat.ended()?;
        let count = core.machine.ack(*id, positions.iter().map(|position| position.0), now);
        group.unlock(core, now);
        Ok(count)
    }

    /// These events are not done: what is to become of them, and what to show if they are parked, at most
    /// [`crate::limits::DEAD_LETTER_ERROR_BYTES_MAX`] bytes of it. Answers with how many of them were in the consumer's hands;
    /// others are left alone. Does not block on the disk.
    ///
    /// # Errors
    /// As [`ConsumerHandle::ack`].
    pub fn nack(&self, positions: &[Position], action: Nack, reason: &str) -> Result<usize> {
        let Seat { id, group, .. } = &*self.seat;
        let (mut core, now) = group.lock();
        self.seat.ended()?;
        let count = core.machine.nack(*id, positions.iter().map(|position| position.0), action, reason, now);
        group.unlock(core, now);
        Ok(count)
    }
}
