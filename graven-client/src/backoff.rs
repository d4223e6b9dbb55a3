//! How long to wait before the next attempt: doubling, with jitter, so that many clients do not come back together.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// Pauses between attempts.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    random: u64,
}

impl Backoff {
    /// Begins with about `first`, ends with about `longest`.
    pub(crate) fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff::seeded(first, longest, RandomState::new().build_hasher().finish())
    }

    fn seeded(first: Duration, longest: Duration, seed: u64) -> Backoff {
        Backoff { first, longest, next: first, random: seed | 1 }
    }

    /// The next pause: between half of the bound and all of it; the bound doubles.
    pub(crate) fn pause(&mut self) -> Duration {
        let bound = self.next.min(self.longest);
        self.next = bound.saturating_mul(2);
        // xorshift64: nothing depends on its quality but that clients differ.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let half = bound / 2;
        let spread = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).saturating_add(1);
        half + Duration::from_nanos(self.random % spread)
    }

    /// After a success: the next pause is a short one again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pauses_grow_to_the_longest_and_begin_again_after_a_success(
            seed: u64, first_ms in 1u64..1000, times in 1u64..100
        ) {
            let (first, longest) = (Duration::from_millis(first_ms), Duration::from_millis(first_ms * times));
            let mut backoff = Backoff::seeded(first, longest, seed);
            let mut bound = first;
            for _ in 0..12 {
                let pause = backoff.pause();
                prop_assert!(pause >= bound / 2 && pause <= bound, "{pause:?} under {bound:?}");
                bound = (bound * 2).min(longest);
            }
            backoff.reset();
            prop_assert!(backoff.pause() <= first);
        }
    }

    #[test]
    fn two_clients_do_not_pause_alike() {
        let pauses = |seed| {
            let mut backoff = Backoff::seeded(Duration::from_millis(10), Duration::from_secs(1), seed);
            (0..8).map(|_| backoff.pause()).collect::<Vec<_>>()
        };
        assert_ne!(pauses(1), pauses(0x9e37_79b9_7f4a_7c15));
    }
}
