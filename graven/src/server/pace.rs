//! Whether short reads run on the runtime's own threads: a hop to another thread and back costs more than such a read
//! takes, as long as it finds what it needs in memory. One that did not sends the others off for a while.

use graven_model::{ReadRequest, Selector, limits};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A read that takes longer has waited for a disk, or had more to do than it seemed.
const SLOW: Duration = Duration::from_millis(1);

/// For how long reads are sent off then: a disk that is slow holds a thread up for one part in a hundred of the time.
const PAUSE: Duration = Duration::from_millis(100);

/// What recent short reads took.
#[derive(Debug)]
pub(super) struct Pace {
    begun: Instant,
    /// Until then, in microseconds from the beginning, reads are sent off.
    away_until: AtomicU64,
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace { begun: Instant::now(), away_until: AtomicU64::new(0) }
    }

    /// Does the work here and gives back what came of it; `Err` gives the work back, which is to be done elsewhere.
    pub(super) fn here<T, W: FnOnce() -> T>(&self, work: W) -> Result<T, W> {
        let begun = Instant::now();
        if self.micros(begun) < self.away_until.load(Ordering::Relaxed) {
            return Err(work);
        }
        let outcome = work();
        let now = Instant::now();
        if now - begun >= SLOW {
            self.away_until.store(self.micros(now + PAUSE), Ordering::Relaxed);
        }
        Ok(outcome)
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from((at - self.begun).as_micros()).unwrap_or(u64::MAX)
    }
}

/// Whether a page is read from few places, and has few events.
pub(super) fn is_short(request: &ReadRequest) -> bool {
    let simple = match &request.selector {
        Selector::Stream(_) | Selector::All | Selector::Category(_) => true,
        Selector::Types(names) | Selector::Tags(names) => names.len() == 1,
        Selector::Query(_) => false,
    };
    simple && request.filter.is_empty() && request.limit <= limits::PAGE_EVENTS_DEFAULT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_slow_read_the_next_ones_are_sent_off_for_a_while() {
        let pace = Pace::new();
        assert!(pace.here(|| ()).is_ok());
        assert!(pace.here(|| std::thread::sleep(SLOW)).is_ok());
        let Err(work) = pace.here(|| 7) else { panic!("the disk is slow") };
        assert_eq!(work(), 7);
        std::thread::sleep(PAUSE);
        assert!(matches!(pace.here(|| 7), Ok(7)));
    }
}
