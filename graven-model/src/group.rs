//! Consumer groups: consumers that share the events of a selector, and what becomes of events they cannot process.

use crate::error::{Code, Error, Result};
use crate::event::StoredEvent;
use crate::ids::{EventId, Position, Revision, StreamName, Text};
use crate::limits;
use crate::read::{EventFilter, Selector, Start};
use crate::time::Timestamp;
use std::fmt;
use std::time::Duration;

/// Name of a consumer group: 1 to [`limits::GROUP_NAME_BYTES_MAX`] bytes of UTF-8 without control characters. Unique in
/// the store. A group made by a KurrentDB client has the name `<source>::<group>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Text);

impl GroupName {
    /// Checks a name and wraps it.
    ///
    /// # Errors
    /// [`Code::InvalidGroup`].
    pub fn new(name: impl Into<Text>) -> Result<GroupName> {
        let name = name.into();
        if name.is_empty() || name.len() > limits::GROUP_NAME_BYTES_MAX || name.chars().any(char::is_control)
        {
            return Err(Error::new(
                Code::InvalidGroup,
                format!("group name {:?} is not valid", limits::shorten(&name)),
            )
            .expected(format!("1 to {} bytes without control characters", limits::GROUP_NAME_BYTES_MAX)));
        }
        Ok(GroupName(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which consumer gets an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Strategy {
    /// The consumers take turns; one without room is passed over.
    #[default]
    RoundRobin,
    /// The first consumer gets everything until it has no room left, then the next.
    DispatchToSingle,
    /// Events of one stream go to the same consumer as long as it stays and has room; best effort, no order.
    Pinned,
    /// As `Pinned`, by the `$correlationId` of the event's metadata; by stream for events without one.
    PinnedByCorrelation,
    /// Events of one stream go to one consumer at a time and stay in order, also across retries: the next is delivered when
    /// the one before is done. A parked event parks the later ones of its stream behind it.
    Ordered,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Strategy; 5] = [
        Strategy::RoundRobin,
        Strategy::DispatchToSingle,
        Strategy::Pinned,
        Strategy::PinnedByCorrelation,
        Strategy::Ordered,
    ];

    /// The word for it, as in `round-robin`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Strategy::RoundRobin => "round-robin",
            Strategy::DispatchToSingle => "dispatch-to-single",
            Strategy::Pinned => "pinned",
            Strategy::PinnedByCorrelation => "pinned-by-correlation",
            Strategy::Ordered => "ordered",
        }
    }

    /// The strategy of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Strategy> {
        Strategy::ALL.into_iter().find(|strategy| strategy.word() == word)
    }
}

/// Pauses that double from one try to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Backoff {
    /// Before the second try; zero = at once.
    pub first: Duration,
    /// The longest.
    pub max: Duration,
}

impl Backoff {
    /// The pause after so many failed tries, from 1.
    #[must_use]
    pub fn after(&self, failures: u32) -> Duration {
        let doubled = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.max)
    }
}

/// When parked events are replayed without anybody asking for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplayPolicy {
    /// Pause since the last failure, longer after every replay that failed.
    pub backoff: Backoff,
    /// Replays of one event at the most; those asked for do not count.
    pub times_max: u32,
}

/// What a group consumes, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// Which events. [`Selector::All`] leaves out what groups write about themselves.
    pub selector: Selector,
    /// Narrows the selector.
    pub filter: EventFilter,
    /// Where a new group begins, inclusive: [`Start::End`] = only events appended after the group was made.
    pub start: Start,
    /// Which consumer gets an event.
    pub strategy: Strategy,
    /// How long a consumer may take for an event before it is tried again; `None` = for ever.
    pub message_timeout: Option<Duration>,
    /// Retries before an event is parked; 0 = parked at the first failure.
    pub retries_max: u32,
    /// Pauses between tries.
    pub retry_backoff: Backoff,
    /// A checkpoint is written at the latest so long after something was done; `None` = by count alone.
    pub checkpoint_after: Option<Duration>,
    /// Events done before a checkpoint is written by time.
    pub checkpoint_min: u32,
    /// Events done after which a checkpoint is written at once.
    pub checkpoint_max: u32,
    /// Consumers at a time; 0 = no bound but [`limits::GROUP_CONSUMERS_MAX`].
    pub consumers_max: u32,
    /// Events held in memory for consumers while the group keeps up with the log.
    pub live_buffer: u32,
    /// Events read at a time.
    pub read_batch: u32,
    /// Events held in memory for consumers while the group catches up.
    pub history_buffer: u32,
    /// Automatic replay of parked events; `None` = only when asked for.
    pub replay: Option<ReplayPolicy>,
    /// KurrentDB clients get the events links point to.
    pub resolve_links: bool,
    /// KurrentDB clients are told quantiles of how long consumers took.
    pub extra_statistics: bool,
}

impl GroupSettings {
    /// KurrentDB's defaults, with a back-off between tries.
    #[must_use]
    pub fn new(selector: Selector) -> GroupSettings {
        GroupSettings {
            selector,
            filter: EventFilter::default(),
            start: Start::End,
            strategy: Strategy::RoundRobin,
            message_timeout: Some(Duration::from_secs(30)),
            retries_max: 10,
            retry_backoff: Backoff { first: Duration::from_millis(100), max: Duration::from_secs(30) },
            checkpoint_after: Some(Duration::from_secs(2)),
            checkpoint_min: 10,
            checkpoint_max: 1_000,
            consumers_max: 0,
            live_buffer: 500,
            read_batch: 20,
            history_buffer: 500,
            replay: None,
            resolve_links: false,
            extra_statistics: false,
        }
    }
}

/// What a consumer says of an event it did not process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Nack {
    /// Try again, after the back-off; parked once the retries are used up.
    #[default]
    Retry,
    /// Park it.
    Park,
    /// It is done without having been processed.
    Skip,
}

impl Nack {
    /// All of them.
    pub const ALL: [Nack; 3] = [Nack::Retry, Nack::Park, Nack::Skip];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Nack::Retry => "retry",
            Nack::Park => "park",
            Nack::Skip => "skip",
        }
    }

    /// The action of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Nack> {
        Nack::ALL.into_iter().find(|action| action.word() == word)
    }
}

/// An event in the hands of a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The event. Its position is what it is acknowledged by.
    pub event: StoredEvent,
    /// Tries before this one.
    pub retries: u32,
    /// Of them, those that count against the retries: of this replay alone, for an event that was parked.
    pub round: u32,
    /// It was parked before.
    pub replayed: bool,
}

/// Why an event was parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParkReason {
    /// A consumer asked for it.
    Requested,
    /// The retries were used up; the last try failed.
    RetriesExhausted,
    /// The retries were used up; the last try took too long, or its consumer went away.
    TimedOut,
    /// An earlier event of its stream is parked, and the group is ordered.
    Behind,
}

impl ParkReason {
    /// All of them.
    pub const ALL: [ParkReason; 4] =
        [ParkReason::Requested, ParkReason::RetriesExhausted, ParkReason::TimedOut, ParkReason::Behind];

    /// The word for it, as in `timed-out`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            ParkReason::Requested => "requested",
            ParkReason::RetriesExhausted => "retries-exhausted",
            ParkReason::TimedOut => "timed-out",
            ParkReason::Behind => "behind",
        }
    }

    /// The reason of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<ParkReason> {
        ParkReason::ALL.into_iter().find(|reason| reason.word() == word)
    }
}

/// An event that a group could not process, kept until it is replayed or skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The group.
    pub group: GroupName,
    /// The event's place in the log, by which it is chosen.
    pub position: Position,
    /// Its stream.
    pub stream: StreamName,
    /// Its place there.
    pub revision: Revision,
    /// Its id.
    pub event_id: EventId,
    /// Its type.
    pub event_type: Text,
    /// Why it was parked.
    pub reason: ParkReason,
    /// What the consumer said, cut at [`limits::DEAD_LETTER_ERROR_BYTES_MAX`]; empty if nothing.
    pub error: Text,
    /// Tries, replays included.
    pub attempts: u32,
    /// When the first try failed; when it was parked, for one parked behind another.
    pub first_failure: Timestamp,
    /// When the last one failed.
    pub last_failure: Timestamp,
    /// Who tried last; empty for one parked behind another.
    pub consumer: Text,
    /// How often it was replayed.
    pub replays: u32,
    /// It is being replayed right now.
    pub replaying: bool,
}

/// Which dead letters; everything that is given has to fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetterFilter {
    /// Of this group.
    pub group: Option<GroupName>,
    /// Of this stream.
    pub stream: Option<StreamName>,
    /// Of this type.
    pub event_type: Option<Text>,
    /// Parked for this reason.
    pub reason: Option<ParkReason>,
    /// Whose last failure was before this.
    pub failed_before: Option<Timestamp>,
    /// Whose last failure was at this time or later.
    pub failed_since: Option<Timestamp>,
    /// At one of these positions; empty = anywhere.
    pub positions: Vec<Position>,
}

/// Some dead letters, in order of group and position.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetterPage {
    /// The dead letters.
    pub letters: Vec<DeadLetter>,
    /// After which the next page begins; `None` = there are no more.
    pub next: Option<(GroupName, Position)>,
}

/// How a group stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    /// Its name.
    pub name: GroupName,
    /// Its settings.
    pub settings: GroupSettings,
    /// When it was made.
    pub created_at: Timestamp,
    /// It has caught up and delivers events as they are appended.
    pub live: bool,
    /// Parked events are being replayed.
    pub replaying: bool,
    /// Every event the group has to do with below this position is done or parked, and that is durable.
    pub checkpoint: Position,
    /// As `checkpoint`, not yet durable.
    pub done_below: Position,
    /// The last event done or parked that the durable checkpoint covers; `None` if there is none yet.
    pub checkpointed_event: Option<(Position, Revision)>,
    /// The last event read for the group; `None` if there is none yet.
    pub last_event: Option<(Position, Revision)>,
    /// Events that are neither done nor parked; an upper bound if `lag_exact` is false.
    pub lag_events: u64,
    /// Whether `lag_events` is exact: it is not counted through a filter beyond a bounded number of events.
    pub lag_exact: bool,
    /// How long the oldest of them has been in the log; zero if there is none.
    pub lag_time: Duration,
    /// Events parked, those being replayed among them.
    pub parked: u64,
    /// How long the oldest of them has been parked.
    pub oldest_parked: Option<Duration>,
    /// Events read and not yet delivered.
    pub buffered: u64,
    /// Of them, those read while the group kept up.
    pub buffered_live: u64,
    /// Events that wait for their next try.
    pub retrying: u64,
    /// Events in the hands of consumers.
    pub in_flight: u64,
    /// Events done since the store was opened, and within the last second.
    pub done_total: u64,
    /// See `done_total`.
    pub done_last_second: u64,
    /// The consumers.
    pub consumers: Vec<ConsumerInfo>,
    /// What keeps the group from going on.
    pub trouble: Option<Error>,
}

/// A consumer of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerInfo {
    /// Unique in the store since it was opened.
    pub id: u64,
    /// What it calls itself.
    pub name: Text,
    /// Where it connects from; empty in the process.
    pub address: Text,
    /// When it connected.
    pub connected_at: Timestamp,
    /// Events it takes at a time.
    pub buffer: u32,
    /// Events in its hands.
    pub in_flight: u32,
    /// Events it has done, and within the last second.
    pub done_total: u64,
    /// See `done_total`.
    pub done_last_second: u64,
    /// How long it took for events, in microseconds, ascending: the last [`limits::GROUP_SAMPLES_MAX`] of them, if the
    /// group's settings ask for it.
    pub samples_us: Vec<u64>,
}

/// How a consumer comes to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// What it calls itself, at most [`limits::CONSUMER_NAME_BYTES_MAX`] bytes.
    pub name: Text,
    /// Where it connects from; empty in the process.
    pub address: Text,
    /// Events it takes at a time, 1 to [`limits::CONSUMER_BUFFER_MAX`].
    pub buffer: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(1) };
        let pauses: Vec<u128> = [1, 2, 3, 4, 5, 40, 4000].map(|n| backoff.after(n).as_millis()).into();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000, 1000]);
    }

    #[test]
    fn every_word_reads_back() {
        assert!(Strategy::ALL.into_iter().all(|known| Strategy::from_word(known.word()) == Some(known)));
        assert!(Nack::ALL.into_iter().all(|known| Nack::from_word(known.word()) == Some(known)));
        assert!(ParkReason::ALL.into_iter().all(|known| ParkReason::from_word(known.word()) == Some(known)));
        assert_eq!(Strategy::from_word("Ordered"), None);
    }

    #[test]
    fn group_names_that_cannot_be_are_refused() {
        for bad in ["", "a\nb", &"x".repeat(limits::GROUP_NAME_BYTES_MAX + 1)] {
            assert_eq!(GroupName::new(bad).unwrap_err().code, Code::InvalidGroup, "{bad}");
        }
        assert_eq!(GroupName::new("$all::mail").unwrap().as_str(), "$all::mail");
    }
}
