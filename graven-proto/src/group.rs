//! Consumer groups: their settings, how they stand, and what consumers and store say to each other.

use crate::read::{selector, start};
use crate::{missing, unknown, wire};
use graven_model::group::{
    Backoff, ConsumerInfo, ConsumerOptions, Delivery, GroupInfo, GroupName, GroupSettings, Nack,
    ReplayPolicy, Strategy,
};
use graven_model::{Error, Position, Result, Revision, Start, StoredEvent, Timestamp, limits};
use std::time::Duration;

/// Events a consumer takes at a time, when it does not say.
pub const CONSUMER_BUFFER_DEFAULT: u32 = 32;

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A time-out on the wire: zero stands for none, and none shorter than a microsecond is made one.
fn timeout_micros(timeout: Option<Duration>) -> u64 {
    timeout.map_or(0, |timeout| micros(timeout).max(1))
}

fn timeout(micros: u64) -> Option<Duration> {
    (micros != 0).then(|| Duration::from_micros(micros))
}

impl From<Backoff> for wire::Backoff {
    fn from(backoff: Backoff) -> wire::Backoff {
        wire::Backoff { first_us: micros(backoff.first), max_us: micros(backoff.max) }
    }
}

impl From<wire::Backoff> for Backoff {
    fn from(backoff: wire::Backoff) -> Backoff {
        Backoff { first: Duration::from_micros(backoff.first_us), max: Duration::from_micros(backoff.max_us) }
    }
}

fn strategy(number: i32) -> Result<Strategy> {
    Ok(match wire::Strategy::try_from(number) {
        Ok(wire::Strategy::RoundRobin) => Strategy::RoundRobin,
        Ok(wire::Strategy::DispatchToSingle) => Strategy::DispatchToSingle,
        Ok(wire::Strategy::Pinned) => Strategy::Pinned,
        Ok(wire::Strategy::PinnedByCorrelation) => Strategy::PinnedByCorrelation,
        Ok(wire::Strategy::Ordered) => Strategy::Ordered,
        Err(_) => return Err(unknown("strategy", number)),
    })
}

impl From<Strategy> for wire::Strategy {
    fn from(strategy: Strategy) -> wire::Strategy {
        match strategy {
            Strategy::RoundRobin => wire::Strategy::RoundRobin,
            Strategy::DispatchToSingle => wire::Strategy::DispatchToSingle,
            Strategy::Pinned => wire::Strategy::Pinned,
            Strategy::PinnedByCorrelation => wire::Strategy::PinnedByCorrelation,
            Strategy::Ordered => wire::Strategy::Ordered,
        }
    }
}

impl TryFrom<wire::GroupSettings> for GroupSettings {
    type Error = Error;

    /// What is absent has its default.
    ///
    /// # Errors
    /// [`graven_model::Code::BadRequest`], [`graven_model::Code::InvalidStreamName`]. Bounds are the store's to check.
    fn try_from(wire: wire::GroupSettings) -> Result<GroupSettings> {
        let default = GroupSettings::new(selector(wire.selector)?);
        let replay = |replay: wire::ReplayPolicy| -> Result<ReplayPolicy> {
            let backoff = replay.backoff.ok_or_else(|| missing("the back-off of the replay policy"))?;
            Ok(ReplayPolicy { backoff: backoff.into(), times_max: replay.times_max })
        };
        Ok(GroupSettings {
            filter: wire.filter.unwrap_or_default().into(),
            start: start(wire.start)?.unwrap_or(Start::End),
            strategy: strategy(wire.strategy)?,
            message_timeout: wire.message_timeout_us.map_or(default.message_timeout, timeout),
            retries_max: wire.retries_max.unwrap_or(default.retries_max),
            retry_backoff: wire.retry_backoff.map_or(default.retry_backoff, Backoff::from),
            checkpoint_after: wire.checkpoint_after_us.map_or(default.checkpoint_after, timeout),
            checkpoint_min: wire.checkpoint_min.unwrap_or(default.checkpoint_min),
            checkpoint_max: wire.checkpoint_max.unwrap_or(default.checkpoint_max),
            consumers_max: wire.consumers_max,
            live_buffer: wire.live_buffer.unwrap_or(default.live_buffer),
            read_batch: wire.read_batch.unwrap_or(default.read_batch),
            history_buffer: wire.history_buffer.unwrap_or(default.history_buffer),
            replay: wire.replay.map(replay).transpose()?,
            resolve_links: wire.resolve_links,
            extra_statistics: wire.extra_statistics,
            ..default
        })
    }
}

impl From<&GroupSettings> for wire::GroupSettings {
    fn from(settings: &GroupSettings) -> wire::GroupSettings {
        wire::GroupSettings {
            selector: Some((&settings.selector).into()),
            filter: (!settings.filter.is_empty()).then(|| (&settings.filter).into()),
            start: Some(settings.start.into()),
            strategy: wire::Strategy::from(settings.strategy) as i32,
            message_timeout_us: Some(timeout_micros(settings.message_timeout)),
            retries_max: Some(settings.retries_max),
            retry_backoff: Some(settings.retry_backoff.into()),
            checkpoint_after_us: Some(timeout_micros(settings.checkpoint_after)),
            checkpoint_min: Some(settings.checkpoint_min),
            checkpoint_max: Some(settings.checkpoint_max),
            consumers_max: settings.consumers_max,
            live_buffer: Some(settings.live_buffer),
            read_batch: Some(settings.read_batch),
            history_buffer: Some(settings.history_buffer),
            replay: settings.replay.map(|replay| wire::ReplayPolicy {
                backoff: Some(replay.backoff.into()),
                times_max: replay.times_max,
            }),
            resolve_links: settings.resolve_links,
            extra_statistics: settings.extra_statistics,
        }
    }
}

impl TryFrom<wire::GroupDefinition> for (GroupName, GroupSettings) {
    type Error = Error;

    /// # Errors
    /// [`graven_model::Code::InvalidGroup`], [`graven_model::Code::BadRequest`].
    fn try_from(wire: wire::GroupDefinition) -> Result<(GroupName, GroupSettings)> {
        let settings = wire.settings.ok_or_else(|| missing("the settings"))?;
        Ok((GroupName::new(wire.group)?, settings.try_into()?))
    }
}

fn event_place((position, revision): (Position, Revision)) -> wire::EventPlace {
    wire::EventPlace { position: position.0, revision: revision.0 }
}

fn place_of(place: wire::EventPlace) -> (Position, Revision) {
    (Position(place.position), Revision(place.revision))
}

impl From<&GroupInfo> for wire::GroupDescription {
    fn from(info: &GroupInfo) -> wire::GroupDescription {
        wire::GroupDescription {
            group: info.name.to_string(),
            settings: Some((&info.settings).into()),
            created_at: info.created_at.micros(),
            live: info.live,
            replaying: info.replaying,
            checkpoint: info.checkpoint.0,
            done_below: info.done_below.0,
            checkpointed_event: info.checkpointed_event.map(event_place),
            last_event: info.last_event.map(event_place),
            lag_events: info.lag_events,
            lag_exact: info.lag_exact,
            lag_us: micros(info.lag_time),
            parked: info.parked,
            oldest_parked_us: info.oldest_parked.map(micros),
            buffered: info.buffered,
            buffered_live: info.buffered_live,
            retrying: info.retrying,
            in_flight: info.in_flight,
            done_total: info.done_total,
            done_last_second: info.done_last_second,
            consumers: info.consumers.iter().map(wire::ConsumerDescription::from).collect(),
            trouble: info.trouble.as_ref().map(wire::Error::from),
        }
    }
}

impl TryFrom<wire::GroupDescription> for GroupInfo {
    type Error = Error;

    /// # Errors
    /// The code of what is malformed.
    fn try_from(wire: wire::GroupDescription) -> Result<GroupInfo> {
        Ok(GroupInfo {
            name: GroupName::new(wire.group)?,
            settings: wire.settings.ok_or_else(|| missing("the settings"))?.try_into()?,
            created_at: Timestamp::from_micros(wire.created_at),
            live: wire.live,
            replaying: wire.replaying,
            checkpoint: Position(wire.checkpoint),
            done_below: Position(wire.done_below),
            checkpointed_event: wire.checkpointed_event.map(place_of),
            last_event: wire.last_event.map(place_of),
            lag_events: wire.lag_events,
            lag_exact: wire.lag_exact,
            lag_time: Duration::from_micros(wire.lag_us),
            parked: wire.parked,
            oldest_parked: wire.oldest_parked_us.map(Duration::from_micros),
            buffered: wire.buffered,
            buffered_live: wire.buffered_live,
            retrying: wire.retrying,
            in_flight: wire.in_flight,
            done_total: wire.done_total,
            done_last_second: wire.done_last_second,
            consumers: wire.consumers.into_iter().map(ConsumerInfo::from).collect(),
            trouble: wire.trouble.map(Error::from),
        })
    }
}

impl From<&ConsumerInfo> for wire::ConsumerDescription {
    fn from(info: &ConsumerInfo) -> wire::ConsumerDescription {
        wire::ConsumerDescription {
            id: info.id,
            name: info.name.to_string(),
            address: info.address.to_string(),
            connected_at: info.connected_at.micros(),
            buffer: info.buffer,
            in_flight: info.in_flight,
            done_total: info.done_total,
            done_last_second: info.done_last_second,
            samples_us: info.samples_us.clone(),
        }
    }
}

impl From<wire::ConsumerDescription> for ConsumerInfo {
    fn from(wire: wire::ConsumerDescription) -> ConsumerInfo {
        ConsumerInfo {
            id: wire.id,
            name: wire.name.into(),
            address: wire.address.into(),
            connected_at: Timestamp::from_micros(wire.connected_at),
            buffer: wire.buffer,
            in_flight: wire.in_flight,
            done_total: wire.done_total,
            done_last_second: wire.done_last_second,
            samples_us: wire.samples_us,
        }
    }
}

impl wire::ConsumeOptions {
    /// The group, and how this consumer comes to it from an address.
    ///
    /// # Errors
    /// [`graven_model::Code::InvalidGroup`] for a name that is none. Other bounds are the store's to check.
    pub fn with_address(self, address: &str) -> Result<(GroupName, ConsumerOptions)> {
        let buffer = if self.buffer == 0 { CONSUMER_BUFFER_DEFAULT } else { self.buffer };
        let options = ConsumerOptions { name: self.name.into(), address: address.into(), buffer };
        Ok((GroupName::new(self.group)?, options))
    }
}

/// Positions on the wire as words of the model.
///
/// # Errors
/// [`graven_model::Code::InvalidLimit`] if there are more than a consumer can have in its hands.
pub fn positions(positions: Vec<u64>) -> Result<Vec<Position>> {
    let max = limits::CONSUMER_BUFFER_MAX as usize;
    if positions.len() > max {
        return Err(Error::new(
            graven_model::Code::InvalidLimit,
            "too many positions in one acknowledgement",
        )
        .expected(format!("at most {max}"))
        .found(positions.len().to_string()));
    }
    Ok(positions.into_iter().map(Position).collect())
}

/// What becomes of an event that was not processed.
///
/// # Errors
/// [`graven_model::Code::BadRequest`] for an action there is not.
pub fn nack(number: i32) -> Result<Nack> {
    Ok(match wire::NackAction::try_from(number) {
        Ok(wire::NackAction::Retry) => Nack::Retry,
        Ok(wire::NackAction::Park) => Nack::Park,
        Ok(wire::NackAction::Skip) => Nack::Skip,
        Err(_) => return Err(unknown("action", number)),
    })
}

impl From<Nack> for wire::NackAction {
    fn from(nack: Nack) -> wire::NackAction {
        match nack {
            Nack::Retry => wire::NackAction::Retry,
            Nack::Park => wire::NackAction::Park,
            Nack::Skip => wire::NackAction::Skip,
        }
    }
}

impl From<&Delivery> for wire::Delivery {
    fn from(delivery: &Delivery) -> wire::Delivery {
        wire::Delivery {
            event: Some((&delivery.event).into()),
            retries: delivery.retries,
            round: delivery.round,
            replayed: delivery.replayed,
        }
    }
}

impl TryFrom<wire::Delivery> for Delivery {
    type Error = Error;

    /// # Errors
    /// The code of what is malformed.
    fn try_from(wire: wire::Delivery) -> Result<Delivery> {
        let event = wire.event.ok_or_else(|| missing("the event"))?;
        Ok(Delivery {
            event: StoredEvent::try_from(event)?,
            retries: wire.retries,
            round: wire.round,
            replayed: wire.replayed,
        })
    }
}
