//! [`SimClock`]: a wall clock that stands still until it is told otherwise.

use graven_engine::env::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A clock that a test sets, moves on and moves back. Clones show the same time.
#[derive(Debug, Clone)]
pub struct SimClock(Arc<Hands>);

#[derive(Debug)]
struct Hands {
    now_us: AtomicI64,
    step_us: AtomicI64,
}

impl SimClock {
    /// A clock that shows `now_us` (microseconds since 1970) and stands still.
    #[must_use]
    pub fn at(now_us: i64) -> SimClock {
        SimClock(Arc::new(Hands { now_us: AtomicI64::new(now_us), step_us: AtomicI64::new(0) }))
    }

    /// Sets the clock, forwards or backwards.
    pub fn set(&self, now_us: i64) {
        self.0.now_us.store(now_us, Ordering::SeqCst);
    }

    /// Moves the clock on by `by_us`, or back if it is negative.
    pub fn advance(&self, by_us: i64) {
        self.0.now_us.fetch_add(by_us, Ordering::SeqCst);
    }

    /// From now on each look at the clock moves it on by `step_us`.
    pub fn step(&self, step_us: i64) {
        self.0.step_us.store(step_us, Ordering::SeqCst);
    }

    /// What it shows, without moving it on.
    #[must_use]
    pub fn shows_us(&self) -> i64 {
        self.0.now_us.load(Ordering::SeqCst)
    }
}

impl Clock for SimClock {
    fn now_us(&self) -> i64 {
        self.0.now_us.fetch_add(self.0.step_us.load(Ordering::SeqCst), Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_stands_still_steps_and_jumps_back() {
        let clock = SimClock::at(100);
        assert_eq!((clock.now_us(), clock.now_us()), (100, 100));
        clock.step(5);
        assert_eq!((clock.now_us(), clock.now_us()), (100, 105));
        clock.set(7);
        assert_eq!(clock.now_us(), 7);
        clock.advance(-10);
        assert_eq!(clock.shows_us(), 2);
    }
}
