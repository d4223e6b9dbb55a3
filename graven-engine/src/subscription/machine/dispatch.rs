//! Who gets which event.

use super::seat::Seat;
use super::{Entry, Machine, Now, Stage};
use graven_model::StoredEvent;
use graven_model::group::{Delivery, Strategy};
use std::hash::{BuildHasher, Hash};

impl Machine {
    /// Hands out what may go out, as long as anybody has room.
    pub(super) fn dispatch(&mut self, now: Now) {
        while let Some((class, position)) = self.ready.first().copied() {
            // What is fresh waits while nothing more can be parked.
            if class > 0 && self.letters_full() {
                break;
            }
            let Some(pin) = self.entry(position).map(|entry| entry.pin) else {
                self.ready.pop_first();
                continue;
            };
            let Some(consumer) = self.choose(pin) else { break };
            let Some(event) = self.drop_event(position) else {
                self.ready.pop_first();
                continue;
            };
            self.deliver(consumer, position, event, now);
        }
    }

    fn deliver(&mut self, consumer: u64, position: u64, event: StoredEvent, now: Now) {
        self.orders += 1;
        let order = self.orders;
        let deadline = self
            .settings
            .message_timeout
            .map(|timeout| now.at.saturating_add(super::super::settings::micros(timeout)));
        let replayed = self.replays.contains_key(&position);
        let Some(entry) = self.entry_mut(position) else { return };
        entry.stage = Stage::InFlight { consumer, order, since: now.at, deadline };
        let (retries, round) = (entry.failures.attempts, entry.round);
        if let Some(deadline) = deadline {
            self.timers.insert((deadline, position));
        }
        self.touch(position);
        let Some(seat) = self.consumers.get_mut(&consumer) else { return };
        self.outbox_bytes += event.size_bytes();
        seat.in_flight.insert(order, position);
        seat.outbox.push_back(Delivery { event, retries, round, replayed });
        self.turn = consumer;
        self.woken.insert(consumer);
    }

    /// Who gets an event, if anybody has room.
    fn choose(&self, pin: u64) -> Option<u64> {
        let free = |(id, seat): (&u64, &Seat)| seat.has_room().then_some(*id);
        match self.settings.strategy {
            Strategy::RoundRobin | Strategy::Ordered => {
                let after = self.consumers.range(self.turn.saturating_add(1)..);
                let before = self.consumers.range(..=self.turn);
                after.chain(before).find_map(free)
            }
            Strategy::DispatchToSingle => self.consumers.iter().find_map(free),
            // The highest of everybody's hashes (rendezvous hashing): who comes or goes moves the fewest streams.
            Strategy::Pinned | Strategy::PinnedByCorrelation => {
                self.consumers.iter().filter_map(free).max_by_key(|id| hash(&(pin, *id)))
            }
        }
    }

    /// Whether anybody has room.
    pub(super) fn has_room(&self) -> bool {
        self.consumers.values().any(Seat::has_room)
    }
}

impl Entry {
    /// What consumers are pinned by: its stream, or the correlation id its metadata names.
    pub(super) fn pin_of(strategy: Strategy, event: &StoredEvent) -> u64 {
        let correlation = match strategy {
            Strategy::Pinned => None,
            Strategy::PinnedByCorrelation => correlation_of(&event.event.metadata),
            _ => return 0,
        };
        match correlation {
            Some(id) => hash(id.as_str()),
            None => hash(event.stream.as_str()),
        }
    }
}

fn correlation_of(metadata: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Correlated {
        #[serde(rename = "$correlationId")]
        id: String,
    }
    serde_json::from_slice::<Correlated>(metadata).ok().map(|correlated| correlated.id)
}

/// The same in every run.
fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    foldhash::quality::FixedState::with_seed(0x6772_6f75_7073).hash_one(value)
}
