//! What groups write about themselves: events in `$groups` and `$group-<name>`, told in `docs/format.md`.

use super::settings::SettingsJson;
use bytes::Bytes;
use graven_model::group::{GroupName, GroupSettings, ParkReason};
use graven_model::{Code, Error, EventId, Result, StoredEvent, StreamName, Text, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The stream of all groups' settings.
pub(crate) const GROUPS_STREAM: &str = "$groups";
/// With the group's name behind it: the stream of its state.
pub(crate) const GROUP_PREFIX: &str = "$group-";

/// Types of the events in `$groups`.
pub(super) const GROUP_CREATED: &str = "$groupCreated";
pub(super) const GROUP_UPDATED: &str = "$groupUpdated";
pub(super) const GROUP_DELETED: &str = "$groupDeleted";
/// Types of the events in `$group-<name>`.
pub(super) const CHECKPOINT: &str = "$groupCheckpoint";
pub(super) const ATTEMPTS: &str = "$groupAttempts";
pub(super) const PARKED: &str = "$groupParked";
pub(super) const SETTLED: &str = "$groupSettled";

/// Version of all of them.
const VERSION: u32 = 1;

/// Whether a stream, or the metadata of one, is written by groups alone.
pub(crate) fn is_own(stream: &str) -> bool {
    let name = stream.strip_prefix("$$").unwrap_or(stream);
    name == GROUPS_STREAM || name.starts_with(GROUP_PREFIX)
}

/// The stream of a group's state.
pub(super) fn stream_of(group: &GroupName) -> Result<StreamName> {
    StreamName::new(format!("{GROUP_PREFIX}{group}"))
}

/// Made or changed, in `$groups`.
#[derive(Serialize, Deserialize)]
pub(super) struct GroupRecord {
    v: u32,
    pub(super) group: String,
    pub(super) created_at: Timestamp,
    settings: SettingsJson,
}

impl GroupRecord {
    pub(super) fn new(group: &GroupName, created_at: Timestamp, settings: &GroupSettings) -> GroupRecord {
        GroupRecord { v: VERSION, group: group.as_str().into(), created_at, settings: settings.into() }
    }

    pub(super) fn settings(self) -> Result<GroupSettings> {
        self.settings.into_settings()
    }
}

/// Deleted, in `$groups`.
#[derive(Serialize, Deserialize)]
pub(super) struct DeletedRecord {
    v: u32,
    pub(super) group: String,
}

impl DeletedRecord {
    pub(super) fn new(group: &GroupName) -> DeletedRecord {
        DeletedRecord { v: VERSION, group: group.as_str().into() }
    }
}

/// Position, failed tries, when the first and when the last failed (microseconds since 1970).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tries(pub(super) u64, pub(super) u32, pub(super) i64, pub(super) i64);

/// How far the group is. Replaces all checkpoints and attempts before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CheckpointRecord {
    v: u32,
    /// Everything below is done or parked, but for `open`.
    pub(super) next: u64,
    /// Positions below `next` that are neither, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) open: Vec<u64>,
    /// What is known of those that failed before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tries: Vec<Tries>,
    /// The last event done or parked: position and revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<(u64, u64)>,
    /// A group on a stream gets nothing below this revision.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) from_revision: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl CheckpointRecord {
    /// That nothing below a position matters.
    pub(super) fn at(next: u64, from_revision: u64) -> CheckpointRecord {
        CheckpointRecord { v: VERSION, next, open: Vec::new(), tries: Vec::new(), last: None, from_revision }
    }

    /// Below this, everything is done or parked.
    pub(super) fn done_below(&self) -> u64 {
        self.open.first().copied().unwrap_or(self.next)
    }
}

/// Failed tries, those of parked events among them.
#[derive(Serialize, Deserialize)]
pub(super) struct AttemptsRecord {
    v: u32,
    pub(super) tries: Vec<Tries>,
}

impl AttemptsRecord {
    pub(super) fn new(tries: Vec<Tries>) -> AttemptsRecord {
        AttemptsRecord { v: VERSION, tries }
    }
}

/// An event was parked, or was parked before and a replay of it failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ParkedRecord {
    v: u32,
    pub(super) position: u64,
    pub(super) stream: String,
    pub(super) revision: u64,
    pub(super) event_id: EventId,
    pub(super) event_type: Text,
    reason: ReasonJson,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(super) error: Text,
    pub(super) attempts: u32,
    pub(super) first_failure_us: i64,
    pub(super) last_failure_us: i64,
    pub(super) parked_us: i64,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(super) consumer: Text,
    #[serde(default)]
    pub(super) replays: u32,
    #[serde(default)]
    pub(super) automatic: u32,
}

fn is_empty(text: &Text) -> bool {
    text.is_empty()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReasonJson {
    Requested,
    RetriesExhausted,
    TimedOut,
    Behind,
}

impl ParkedRecord {
    /// The record of a parked event, with what its consumer said.
    pub(super) fn of(position: u64, letter: &super::letters::Letter, error: Text) -> ParkedRecord {
        ParkedRecord {
            v: VERSION,
            position,
            stream: letter.stream.as_str().to_owned(),
            revision: letter.revision,
            event_id: letter.event_id,
            event_type: letter.event_type.clone(),
            reason: match letter.reason {
                ParkReason::Requested => ReasonJson::Requested,
                ParkReason::RetriesExhausted => ReasonJson::RetriesExhausted,
                ParkReason::TimedOut => ReasonJson::TimedOut,
                ParkReason::Behind => ReasonJson::Behind,
            },
            error,
            attempts: letter.attempts,
            first_failure_us: letter.first_failure.micros(),
            last_failure_us: letter.last_failure.micros(),
            parked_us: letter.parked_at.micros(),
            consumer: letter.consumer.clone(),
            replays: letter.replays,
            automatic: letter.automatic,
        }
    }

    /// Why it was parked.
    pub(super) fn reason(&self) -> ParkReason {
        match self.reason {
            ReasonJson::Requested => ParkReason::Requested,
            ReasonJson::RetriesExhausted => ParkReason::RetriesExhausted,
            ReasonJson::TimedOut => ParkReason::TimedOut,
            ReasonJson::Behind => ParkReason::Behind,
        }
    }
}

/// Parked events that are parked no more: their replay was acknowledged, or they were skipped.
#[derive(Serialize, Deserialize)]
pub(super) struct SettledRecord {
    v: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) done: Vec<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) skipped: Vec<u64>,
}

impl SettledRecord {
    pub(super) fn new(done: Vec<u64>, skipped: Vec<u64>) -> SettledRecord {
        SettledRecord { v: VERSION, done, skipped }
    }
}

/// A record as bytes.
///
/// # Errors
/// [`Code::Internal`] if it cannot be said as JSON, which does not happen.
pub(super) fn encode(record: &impl Serialize) -> Result<Bytes> {
    serde_json::to_vec(record)
        .map(Bytes::from)
        .map_err(|error| Error::new(Code::Internal, format!("a group's record cannot be written: {error}")))
}

/// A record out of an event.
///
/// # Errors
/// [`Code::UnknownFormat`] for another version; [`Code::Corrupted`] with the position for anything else.
pub(super) fn decode<T: DeserializeOwned>(event: &StoredEvent) -> Result<T> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let damaged = |what: String| {
        Error::new(
            Code::Corrupted,
            format!("the record of a consumer group at position {} cannot be read: {what}", event.position),
        )
    };
    let Version { v } =
        serde_json::from_slice(&event.event.data).map_err(|error| damaged(error.to_string()))?;
    if v != VERSION {
        return Err(Error::new(
            Code::UnknownFormat,
            format!("the record of a consumer group at position {} is of another version", event.position),
        )
        .expected(VERSION.to_string())
        .found(v.to_string()));
    }
    serde_json::from_slice(&event.event.data).map_err(|error| damaged(error.to_string()))
}
