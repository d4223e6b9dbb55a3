//! How a group stands, in the words and text formats of KurrentDB's clients.

use super::settings::name_of;
use super::source::Source;
use graven_engine::Store;
use graven_model::group::{ConsumerInfo, GroupInfo, GroupSettings};
use graven_model::{Position, ReadRequest, Result, Revision, Start};
use graven_proto::kurrentdb::persistent::SubscriptionInfo;
use graven_proto::kurrentdb::persistent::subscription_info::{ConnectionInfo, Measurement};
use std::time::Duration;

/// Who a consumer is, as long as nobody is asked.
const ANONYMOUS: &str = "anonymous";

/// Describes a group.
///
/// # Errors
/// Those of the store.
pub(super) fn describe(
    store: &Store,
    source: &Source,
    group: String,
    info: &GroupInfo,
) -> Result<SubscriptionInfo> {
    let GroupInfo { settings, .. } = info;
    let place = |at: Option<(Position, Revision)>| at.map(|at| place_of(store, source, at)).transpose();
    Ok(SubscriptionInfo {
        event_source: source.name(),
        group_name: group,
        status: status(info),
        connections: info.consumers.iter().map(|consumer| connection(consumer, settings)).collect(),
        average_per_second: int(info.done_last_second),
        total_items: long(info.done_total),
        count_since_last_measurement: long(info.done_last_second),
        last_checkpointed_event_position: place(info.checkpointed_event)?.unwrap_or_default(),
        last_known_event_position: place(info.last_event)?.unwrap_or_default(),
        resolve_link_tos: settings.resolve_links,
        start_from: start_from(store, source, settings)?,
        message_timeout_milliseconds: millis(settings.message_timeout),
        extra_statistics: settings.extra_statistics,
        max_retry_count: int(settings.retries_max.into()),
        live_buffer_size: int(settings.live_buffer.into()),
        buffer_size: int(settings.history_buffer.into()),
        read_batch_size: int(settings.read_batch.into()),
        check_point_after_milliseconds: millis(settings.checkpoint_after),
        min_check_point_count: int(settings.checkpoint_min.into()),
        max_check_point_count: int(settings.checkpoint_max.into()),
        read_buffer_count: int(info.buffered - info.buffered_live.min(info.buffered)),
        live_buffer_count: long(info.buffered_live),
        retry_buffer_count: int(info.retrying),
        total_in_flight_messages: int(info.in_flight),
        outstanding_messages_count: int(info.in_flight),
        named_consumer_strategy: name_of(settings.strategy).to_owned(),
        max_subscriber_count: int(settings.consumers_max.into()),
        parked_message_count: long(info.parked),
    })
}

/// The names of what holds, in the order of the flags they stand for.
fn status(info: &GroupInfo) -> String {
    let flags = [
        (info.trouble.is_some(), "NotReady"),
        (!info.live, "Behind"),
        (info.replaying, "ReplayingParkedMessages"),
        (info.live, "Live"),
    ];
    let names: Vec<&str> = flags.iter().filter(|(holds, _)| *holds).map(|(_, name)| *name).collect();
    names.join(", ")
}

/// An event's place in the source.
fn place_of(store: &Store, source: &Source, (position, revision): (Position, Revision)) -> Result<String> {
    let number = if source.is_view() { store.rank(&source.selector(), position)? } else { revision.0 };
    Ok(source.place(position, number))
}

fn start_from(store: &Store, source: &Source, settings: &GroupSettings) -> Result<String> {
    Ok(match settings.start {
        Start::Start => source.first_place(),
        Start::End => source.end_place(),
        Start::Revision(revision) => source.place(Position(0), revision.0),
        Start::Position(position) if *source == Source::All => source.place(position, 0),
        Start::Position(position) if source.is_view() => {
            source.place(position, store.rank(&source.selector(), position)?)
        }
        // What this protocol has no words for is said by the first event there.
        from => {
            let page = store.read(&ReadRequest::new(source.selector()).from(from).limit(1))?;
            match page.events.first() {
                Some(event) => place_of(store, source, (event.position, event.revision))?,
                None => source.end_place(),
            }
        }
    })
}

fn connection(consumer: &ConsumerInfo, settings: &GroupSettings) -> ConnectionInfo {
    ConnectionInfo {
        from: consumer.address.to_string(),
        username: ANONYMOUS.to_owned(),
        average_items_per_second: int(consumer.done_last_second),
        total_items: long(consumer.done_total),
        count_since_last_measurement: long(consumer.done_last_second),
        observed_measurements: match settings.extra_statistics {
            true => measurements(&consumer.samples_us),
            false => Vec::new(),
        },
        available_slots: int(consumer.buffer.saturating_sub(consumer.in_flight).into()),
        in_flight_messages: int(consumer.in_flight.into()),
        connection_name: consumer.name.to_string(),
    }
}

/// What there is to say of durations in microseconds, ascending; in milliseconds.
fn measurements(samples: &[u64]) -> Vec<Measurement> {
    let Some(highest) = samples.last() else { return Vec::new() };
    // The least duration that so many thousandths are not above.
    let quantile = |thousandths: usize| {
        let rank = (samples.len() * thousandths).div_ceil(1_000).max(1);
        samples[rank - 1]
    };
    let mean = samples.iter().sum::<u64>() / samples.len() as u64;
    let rows = [
        ("Mean", mean),
        ("Median", quantile(500)),
        ("Fastest", samples[0]),
        ("Quintile 1", quantile(200)),
        ("Quintile 2", quantile(400)),
        ("Quintile 3", quantile(600)),
        ("Quintile 4", quantile(800)),
        ("Quintile 5", quantile(1_000)),
        ("90%", quantile(900)),
        ("95%", quantile(950)),
        ("99%", quantile(990)),
        ("99.5%", quantile(995)),
        ("99.9%", quantile(999)),
        ("Highest", *highest),
    ];
    let measurement =
        |(key, micros): (&str, u64)| Measurement { key: key.to_owned(), value: long(micros / 1_000) };
    rows.map(measurement).into()
}

/// Milliseconds, at least one; zero for never.
fn millis(duration: Option<Duration>) -> i32 {
    duration.map_or(0, |duration| int(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).max(1))
}

fn int(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_durations_that_were_seen() {
        assert!(measurements(&[]).is_empty());
        let samples: Vec<u64> = (1..=1_000).map(|ms| ms * 1_000).collect();
        let said = measurements(&samples);
        let value = |key: &str| said.iter().find(|row| row.key == key).map(|row| row.value);
        for (key, ms) in [
            ("Mean", 500),
            ("Median", 500),
            ("Fastest", 1),
            ("Quintile 1", 200),
            ("Quintile 5", 1_000),
            ("90%", 900),
            ("99.9%", 999),
            ("Highest", 1_000),
        ] {
            assert_eq!(value(key), Some(ms), "{key}");
        }
        assert!(measurements(&[7_000]).iter().all(|row| row.value == 7));
        assert_eq!(said.len(), 14);
    }

    #[test]
    fn never_is_zero_and_nothing_else_is() {
        assert_eq!(millis(None), 0);
        assert_eq!(millis(Some(Duration::from_micros(5))), 1);
        assert_eq!(millis(Some(Duration::from_secs(30))), 30_000);
        assert_eq!(millis(Some(Duration::MAX)), i32::MAX);
    }
}
