//! A consumer as the machine sees it.

use super::Now;
use graven_model::Timestamp;
use graven_model::group::{ConsumerInfo, ConsumerOptions, Delivery};
use graven_model::limits;
use std::collections::{BTreeMap, VecDeque};

/// A consumer.
pub(super) struct Seat {
    pub(super) options: ConsumerOptions,
    connected_at: Timestamp,
    /// Positions in its hands, in the order it got them.
    pub(super) in_flight: BTreeMap<u64, u64>,
    /// What it has not taken yet; the newest of `in_flight`.
    pub(super) outbox: VecDeque<Delivery>,
    /// It left events lying until they timed out: it gets none before it takes one.
    pub(super) stalled: bool,
    done_total: u64,
    rate: Rate,
    samples_us: VecDeque<u64>,
}

impl Seat {
    pub(super) fn new(options: ConsumerOptions, now: Now) -> Seat {
        Seat {
            options,
            connected_at: now.wall,
            in_flight: BTreeMap::new(),
            outbox: VecDeque::new(),
            stalled: false,
            done_total: 0,
            rate: Rate::default(),
            samples_us: VecDeque::new(),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        !self.stalled && self.in_flight.len() < self.options.buffer as usize
    }

    /// Notes that an event is done that came `since`.
    pub(super) fn done(&mut self, since: u64, now: Now, keep_sample: bool) {
        self.done_total += 1;
        self.rate.count(now.at);
        if keep_sample {
            if self.samples_us.len() >= limits::GROUP_SAMPLES_MAX {
                self.samples_us.pop_front();
            }
            self.samples_us.push_back(now.at.saturating_sub(since));
        }
    }

    pub(super) fn info(&self, id: u64, now: Now) -> ConsumerInfo {
        let mut samples_us: Vec<u64> = self.samples_us.iter().copied().collect();
        samples_us.sort_unstable();
        ConsumerInfo {
            id,
            name: self.options.name.clone(),
            address: self.options.address.clone(),
            connected_at: self.connected_at,
            buffer: self.options.buffer,
            in_flight: u32::try_from(self.in_flight.len()).unwrap_or(u32::MAX),
            done_total: self.done_total,
            done_last_second: self.rate.last_second(now.at),
            samples_us,
        }
    }
}

/// How many within the last second, to a tenth of it.
#[derive(Default)]
pub(super) struct Rate {
    tenths: [(u64, u64); 10],
}

impl Rate {
    const TENTH_US: u64 = 100_000;

    pub(super) fn count(&mut self, at: u64) {
        let tenth = at / Rate::TENTH_US;
        let slot = &mut self.tenths[(tenth % 10) as usize];
        if slot.0 != tenth {
            *slot = (tenth, 0);
        }
        slot.1 += 1;
    }

    pub(super) fn last_second(&self, at: u64) -> u64 {
        let now = at / Rate::TENTH_US;
        self.tenths.iter().filter(|(tenth, _)| now.saturating_sub(*tenth) < 10).map(|(_, count)| count).sum()
    }
}
