//! The shapes of answers about groups and dead letters.

use super::settings::{GroupSettingsJson, Place, in_words};
use crate::server::schema;
use graven_model::{ConsumerInfo, DeadLetter, GroupInfo, Position, Revision};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// The groups there are.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Groups {
    /// In the order of their names
    pub(super) groups: Vec<GroupLine>,
}

/// How a group stands, in short.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct GroupLine {
    name: String,
    /// Which events, in a few words
    source: String,
    strategy: &'static str,
    /// It has caught up and delivers events as they are appended
    live: bool,
    consumers: usize,
    /// Events in the hands of consumers
    in_flight: u64,
    /// Events neither done nor parked; an upper bound if `lag_exact` is false
    lag_events: u64,
    lag_exact: bool,
    /// How long the oldest of them has been in the log
    lag_seconds: f64,
    /// Dead letters
    parked: u64,
    /// How long the oldest of them has been parked; null if there is none
    #[schema(required = true)]
    oldest_parked_seconds: Option<f64>,
    /// What keeps the group from going on
    #[schema(required = true)]
    trouble: Option<String>,
}

/// How a group stands.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Group {
    name: String,
    settings: GroupSettingsJson,
    #[schema(format = DateTime)]
    created_at: String,
    /// It has caught up and delivers events as they are appended
    live: bool,
    /// Dead letters are being replayed
    replaying: bool,
    /// Every event of the group below this position is done or parked, and that is durable
    checkpoint: u64,
    /// As `checkpoint`, not yet durable
    done_below: u64,
    /// The last event the durable checkpoint covers; null if there is none yet
    #[schema(required = true)]
    checkpointed_event: Option<GroupPlace>,
    /// The last event read for the group; null if there is none yet
    #[schema(required = true)]
    last_event: Option<GroupPlace>,
    /// Events neither done nor parked; an upper bound if `lag_exact` is false
    lag_events: u64,
    /// Whether `lag_events` is exact: it is not counted through a filter beyond a bounded number of events
    lag_exact: bool,
    /// How long the oldest of them has been in the log; 0 if there is none
    lag_seconds: f64,
    /// Dead letters, those being replayed among them
    parked: u64,
    /// How long the oldest of them has been parked; null if there is none
    #[schema(required = true)]
    oldest_parked_seconds: Option<f64>,
    /// Events read and not yet delivered
    buffered: u64,
    /// Of them, those read while the group kept up
    buffered_live: u64,
    /// Events that wait for their next try
    retrying: u64,
    /// Events in the hands of consumers
    in_flight: u64,
    /// Events done since the store was opened
    done_total: u64,
    /// Events done within the last second
    done_last_second: u64,
    consumers: Vec<GroupConsumer>,
    /// What keeps the group from going on
    #[schema(required = true)]
    trouble: Option<String>,
}

/// An event's place.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct GroupPlace {
    /// In the log
    position: u64,
    /// In its stream
    revision: u64,
}

/// A consumer of a group.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct GroupConsumer {
    /// Unique since the store was opened
    id: u64,
    /// What it calls itself
    name: String,
    /// Where it connects from
    address: String,
    #[schema(format = DateTime)]
    connected_at: String,
    /// Events it takes at a time
    buffer: u32,
    /// Events in its hands
    in_flight: u32,
    /// Events it has done
    done_total: u64,
    /// Events it has done within the last second
    done_last_second: u64,
    /// How long it took for recent events, if the settings ask for it
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    took_us: Option<Quantiles>,
}

/// Durations in microseconds.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(in crate::server) struct Quantiles {
    /// Durations looked at
    count: usize,
    median: u64,
    p90: u64,
    p99: u64,
    longest: u64,
}

/// A group that is gone.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct GroupDeleted {
    pub(super) name: String,
}

/// Where a group goes on: one of these.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "describes a body in the OpenAPI document")]
pub(in crate::server) struct GroupReset {
    /// `start`, `end`, a whole number (revision of a stream, position elsewhere) or an RFC 3339 time; the event named is delivered
    #[schema(nullable = false)]
    from: Option<Place>,
    /// Position to go on at
    #[schema(nullable = false)]
    position: Option<u64>,
}

/// What a consumer is told first.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct GroupConnected {
    pub(super) group: String,
    /// By which it acknowledges
    pub(super) consumer: u64,
    /// Events it gets before it has to acknowledge
    pub(super) buffer: u32,
}

/// An event handed to a consumer.
#[derive(ToSchema)]
#[allow(dead_code, reason = "deliveries are written by hand")]
pub(in crate::server) struct GroupDelivery {
    /// Tries before this one
    retries: u32,
    /// It was a dead letter before
    replayed: bool,
    event: schema::Event,
}

/// Events that are done.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "describes a body in the OpenAPI document")]
pub(in crate::server) struct GroupAck {
    /// Id of the consumer, as `connected` said it
    consumer: u64,
    #[schema(min_items = 1, max_items = 10_000)]
    positions: Vec<u64>,
}

/// Events that could not be processed.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "describes a body in the OpenAPI document")]
pub(in crate::server) struct GroupNack {
    /// Id of the consumer, as `connected` said it
    consumer: u64,
    #[schema(min_items = 1, max_items = 10_000)]
    positions: Vec<u64>,
    /// `retry` if absent
    #[schema(nullable = false)]
    action: Option<NackWord>,
    /// What went wrong, kept with the dead letter; cut off after 4,096 bytes
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// `retry`: try again, parked once the retries are used up. `park`: make it a dead letter. `skip`: it is done without having been processed.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "describes the words in the OpenAPI document")]
enum NackWord {
    Retry,
    Park,
    Skip,
}

/// What came of an acknowledgement.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct GroupAnswered {
    /// How many of them were in the consumer's hands; the others were taken from it meanwhile, or never were there
    pub(super) in_hand: usize,
}

/// One page of dead letters.
#[derive(ToSchema)]
#[allow(dead_code, reason = "pages are written by hand")]
pub(in crate::server) struct DeadLetters {
    /// In order of group and position
    dead_letters: Vec<DeadLetterJson>,
    /// For `cursor` of the next page; null at the end
    #[schema(required = true)]
    next: Option<String>,
}

/// An event that a group could not process.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(in crate::server) struct DeadLetterJson {
    group: String,
    /// Place in the log, by which it is chosen
    position: u64,
    stream: String,
    revision: u64,
    #[schema(format = "uuid")]
    event_id: String,
    /// Type of the event
    #[serde(rename = "type")]
    event_type: String,
    /// `requested` by a consumer, `retries-exhausted`, `timed-out` (or its consumer went away), or `behind` an earlier event of its stream
    #[schema(value_type = ParkReasonWord)]
    reason: &'static str,
    /// What the consumer said; empty if nothing
    error: String,
    /// Tries, replays included
    attempts: u32,
    /// When the first try failed
    #[schema(format = DateTime)]
    first_failure: String,
    /// When the last one failed
    #[schema(format = DateTime)]
    last_failure: String,
    /// Who tried last
    consumer: String,
    /// How often it was replayed
    replays: u32,
    /// It is being replayed right now
    replaying: bool,
    /// The event itself, if it was asked for; null if it cannot be read any more
    // Written behind the other fields where it is wanted, as it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Event>)]
    event: Option<()>,
}

/// Word for why an event was parked.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[allow(dead_code, reason = "describes the words in the OpenAPI document")]
enum ParkReasonWord {
    Requested,
    RetriesExhausted,
    TimedOut,
    Behind,
}

/// Which dead letters: everything that is given has to fit; or `all`.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "describes a body in the OpenAPI document")]
pub(in crate::server) struct DeadLetterSelection {
    #[schema(nullable = false)]
    group: Option<String>,
    #[schema(nullable = false)]
    stream: Option<String>,
    /// Type of the event
    #[schema(rename = "type", nullable = false)]
    event_type: Option<String>,
    #[schema(nullable = false)]
    reason: Option<ParkReasonWord>,
    /// Whose last failure was before this
    #[schema(format = DateTime, nullable = false)]
    failed_before: Option<String>,
    /// Whose last failure was at this time or later
    #[schema(format = DateTime, nullable = false)]
    failed_since: Option<String>,
    /// At one of these positions
    #[schema(nullable = false, max_items = 1_000)]
    positions: Option<Vec<u64>>,
    /// `true`: all dead letters of all groups
    #[schema(nullable = false, default = false)]
    all: Option<bool>,
    /// So many at the most, oldest first
    #[schema(nullable = false, minimum = 1)]
    limit: Option<u64>,
    /// Only count them
    #[schema(nullable = false, default = false)]
    dry_run: Option<bool>,
}

/// What came of a selection.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct DeadLettersChosen {
    /// How many are replayed now, were skipped, or would be
    pub(super) dead_letters: u64,
}

/// One line of an export: a dead letter with its event, or what broke it off.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "lines are written by hand")]
pub(in crate::server) enum DeadLetterLine {
    Letter(Box<ExportedLetter>),
    Error { error: Box<schema::Problem> },
}

/// A dead letter with its event.
#[derive(ToSchema)]
#[allow(dead_code, reason = "lines are written by hand")]
pub(in crate::server) struct ExportedLetter {
    dead_letter: DeadLetterJson,
    /// The event as `graven import` takes it; null if it cannot be read any more
    #[schema(required = true)]
    cloudevent: Option<serde_json::Value>,
}

impl GroupLine {
    pub(super) fn of(info: &GroupInfo) -> GroupLine {
        GroupLine {
            name: info.name.to_string(),
            source: in_words(&info.settings.selector),
            strategy: info.settings.strategy.word(),
            live: info.live,
            consumers: info.consumers.len(),
            in_flight: info.in_flight,
            lag_events: info.lag_events,
            lag_exact: info.lag_exact,
            lag_seconds: seconds(info.lag_time),
            parked: info.parked,
            oldest_parked_seconds: info.oldest_parked.map(seconds),
            trouble: info.trouble.as_ref().map(ToString::to_string),
        }
    }
}

impl Group {
    pub(super) fn of(info: &GroupInfo) -> Group {
        Group {
            name: info.name.to_string(),
            settings: GroupSettingsJson::of(&info.settings),
            created_at: info.created_at.to_string(),
            live: info.live,
            replaying: info.replaying,
            checkpoint: info.checkpoint.0,
            done_below: info.done_below.0,
            checkpointed_event: info.checkpointed_event.map(GroupPlace::of),
            last_event: info.last_event.map(GroupPlace::of),
            lag_events: info.lag_events,
            lag_exact: info.lag_exact,
            lag_seconds: seconds(info.lag_time),
            parked: info.parked,
            oldest_parked_seconds: info.oldest_parked.map(seconds),
            buffered: info.buffered,
            buffered_live: info.buffered_live,
            retrying: info.retrying,
            in_flight: info.in_flight,
            done_total: info.done_total,
            done_last_second: info.done_last_second,
            consumers: info.consumers.iter().map(GroupConsumer::of).collect(),
            trouble: info.trouble.as_ref().map(ToString::to_string),
        }
    }
}

impl GroupPlace {
    fn of((position, revision): (Position, Revision)) -> GroupPlace {
        GroupPlace { position: position.0, revision: revision.0 }
    }
}

impl GroupConsumer {
    fn of(info: &ConsumerInfo) -> GroupConsumer {
        GroupConsumer {
            id: info.id,
            name: info.name.to_string(),
            address: info.address.to_string(),
            connected_at: info.connected_at.to_string(),
            buffer: info.buffer,
            in_flight: info.in_flight,
            done_total: info.done_total,
            done_last_second: info.done_last_second,
            took_us: Quantiles::of(&info.samples_us),
        }
    }
}

impl Quantiles {
    /// Of durations in ascending order; `None` of none.
    fn of(ascending: &[u64]) -> Option<Quantiles> {
        let last = ascending.len().checked_sub(1)?;
        let at = |percent: usize| ascending.get(last * percent / 100).copied();
        Some(Quantiles {
            count: ascending.len(),
            median: at(50)?,
            p90: at(90)?,
            p99: at(99)?,
            longest: at(100)?,
        })
    }
}

impl DeadLetterJson {
    pub(super) fn of(letter: &DeadLetter) -> DeadLetterJson {
        DeadLetterJson {
            group: letter.group.to_string(),
            position: letter.position.0,
            stream: letter.stream.to_string(),
            revision: letter.revision.0,
            event_id: letter.event_id.to_string(),
            event_type: letter.event_type.to_string(),
            reason: letter.reason.word(),
            error: letter.error.to_string(),
            attempts: letter.attempts,
            first_failure: letter.first_failure.to_string(),
            last_failure: letter.last_failure.to_string(),
            consumer: letter.consumer.to_string(),
            replays: letter.replays,
            replaying: letter.replaying,
            event: None,
        }
    }
}

/// To the millisecond.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_durations_that_were_measured() {
        assert_eq!(Quantiles::of(&[]), None);
        let one = Quantiles { count: 1, median: 7, p90: 7, p99: 7, longest: 7 };
        assert_eq!(Quantiles::of(&[7]), Some(one));
        let all: Vec<u64> = (0..=100).collect();
        let many = Quantiles { count: 101, median: 50, p90: 90, p99: 99, longest: 100 };
        assert_eq!(Quantiles::of(&all), Some(many));
    }
}
