//! What the metrics say of groups: sums and the worst of all, since the name of a group never becomes a label.

use graven_engine::GroupTotals;
use graven_model::GroupInfo;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

type Seconds = Gauge<f64, AtomicU64>;

/// Numbers of the groups, set when somebody asks.
pub(in crate::server) struct GroupGauges {
    groups: Gauge,
    troubled: Gauge,
    consumers: Gauge,
    in_flight: Gauge,
    lag_events: Gauge,
    lag_seconds: Seconds,
    dead_letters: Gauge,
    oldest_seconds: Seconds,
    totals: Totals,
}

/// Counters, set to what the engine counted.
struct Totals {
    deliveries: Counter,
    done: Counter,
    retries: Counter,
    parked: Counter,
    replayed: Counter,
    skipped: Counter,
}

impl GroupGauges {
    /// Registers them.
    pub(in crate::server) fn new(registry: &mut Registry) -> GroupGauges {
        let events = || Some(Unit::Other("events".to_owned()));
        let mut gauge = |name: &str, help: &str, unit: Option<Unit>| {
            let gauge = Gauge::default();
            match unit {
                Some(unit) => registry.register_with_unit(name, help, unit, gauge.clone()),
                None => registry.register(name, help, gauge.clone()),
            }
            gauge
        };
        let groups = gauge("groups", "Consumer groups", None);
        let troubled = gauge("group_troubled", "Consumer groups that something keeps from going on", None);
        let consumers = gauge("group_consumers", "Consumers of all groups", None);
        let in_flight = gauge("group_in_flight", "Events in the hands of consumers", events());
        let lag_events =
            gauge("group_lag", "Events neither done nor parked, of the group with most", events());
        let dead_letters = gauge("dead_letters", "Events parked by groups", None);
        let mut seconds = |name: &str, help: &str| {
            let gauge = Seconds::default();
            registry.register_with_unit(name, help, Unit::Seconds, gauge.clone());
            gauge
        };
        let lag_seconds = seconds(
            "group_lag",
            "How long the oldest event that is neither done nor parked has been in the log, of the group with the oldest",
        );
        let oldest_seconds =
            seconds("dead_letters_oldest", "How long the oldest dead letter has been parked");
        GroupGauges {
            groups,
            troubled,
            consumers,
            in_flight,
            lag_events,
            lag_seconds,
            dead_letters,
            oldest_seconds,
            totals: Totals::new(registry),
        }
    }

    /// Takes note of how the groups stand.
    pub(in crate::server) fn stand(&self, infos: &[GroupInfo]) {
        let set = |gauge: &Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        let sum = |of: fn(&GroupInfo) -> u64| infos.iter().map(of).sum::<u64>();
        set(&self.groups, infos.len() as u64);
        set(&self.troubled, sum(|info| u64::from(info.trouble.is_some())));
        set(&self.consumers, sum(|info| info.consumers.len() as u64));
        set(&self.in_flight, sum(|info| info.in_flight));
        set(&self.lag_events, infos.iter().map(|info| info.lag_events).max().unwrap_or(0));
        set(&self.dead_letters, sum(|info| info.parked));
        let longest = |of: fn(&GroupInfo) -> Duration| infos.iter().map(of).max().unwrap_or_default();
        self.lag_seconds.set(longest(|info| info.lag_time).as_secs_f64());
        self.oldest_seconds.set(longest(|info| info.oldest_parked.unwrap_or_default()).as_secs_f64());
    }

    /// Takes note of what the groups have done since the store was opened.
    pub(in crate::server) fn count(&self, totals: GroupTotals) {
        let Totals { deliveries, done, retries, parked, replayed, skipped } = &self.totals;
        // Who asks at the same time may have read an older number.
        let raise = |counter: &Counter, total: u64| {
            counter.inner().fetch_max(total, Ordering::Relaxed);
        };
        raise(deliveries, totals.delivered);
        raise(done, totals.done);
        raise(retries, totals.retried);
        raise(parked, totals.parked);
        raise(replayed, totals.replayed);
        raise(skipped, totals.skipped);
    }
}

impl Totals {
    fn new(registry: &mut Registry) -> Totals {
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        Totals {
            deliveries: counter("group_deliveries", "Events consumers of groups took, every try counted"),
            done: counter("group_done", "Events consumers of groups acknowledged"),
            retries: counter("group_retries", "Tries of groups that failed and are followed by another"),
            parked: counter("group_parked", "Events that became dead letters"),
            replayed: counter("group_replayed", "Dead letters whose replay was acknowledged"),
            skipped: counter("group_skipped", "Events and dead letters that were skipped"),
        }
    }
}
