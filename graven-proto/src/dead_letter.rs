//! Dead letters: which, what is known of them, and a page of them.

use crate::event::event_id;
use crate::{unknown, wire};
use bytes::Bytes;
use graven_model::group::{DeadLetter, DeadLetterFilter, DeadLetterPage, GroupName, ParkReason};
use graven_model::{Code, Error, Position, Result, Revision, StreamName, Text, Timestamp, limits};

/// Why an event was parked; `None` if nothing is said.
fn reason(number: i32) -> Result<Option<ParkReason>> {
    Ok(Some(match wire::ParkReason::try_from(number) {
        Ok(wire::ParkReason::Unspecified) => return Ok(None),
        Ok(wire::ParkReason::Requested) => ParkReason::Requested,
        Ok(wire::ParkReason::RetriesExhausted) => ParkReason::RetriesExhausted,
        Ok(wire::ParkReason::TimedOut) => ParkReason::TimedOut,
        Ok(wire::ParkReason::Behind) => ParkReason::Behind,
        Err(_) => return Err(unknown("reason", number)),
    }))
}

impl From<ParkReason> for wire::ParkReason {
    fn from(reason: ParkReason) -> wire::ParkReason {
        match reason {
            ParkReason::Requested => wire::ParkReason::Requested,
            ParkReason::RetriesExhausted => wire::ParkReason::RetriesExhausted,
            ParkReason::TimedOut => wire::ParkReason::TimedOut,
            ParkReason::Behind => wire::ParkReason::Behind,
        }
    }
}

impl TryFrom<wire::DeadLetterFilter> for DeadLetterFilter {
    type Error = Error;

    /// # Errors
    /// [`Code::InvalidGroup`], [`Code::InvalidStreamName`], [`Code::BadRequest`]; [`Code::InvalidLimit`] for more positions than
    /// a selection names.
    fn try_from(wire: wire::DeadLetterFilter) -> Result<DeadLetterFilter> {
        if wire.positions.len() > limits::DEAD_LETTER_PAGE_MAX {
            return Err(Error::new(Code::InvalidLimit, "too many positions in one selection")
                .expected(format!("at most {}", limits::DEAD_LETTER_PAGE_MAX))
                .found(wire.positions.len().to_string()));
        }
        Ok(DeadLetterFilter {
            group: wire.group.map(GroupName::new).transpose()?,
            stream: wire.stream.map(StreamName::new).transpose()?,
            event_type: wire.r#type.map(Text::from),
            reason: reason(wire.reason)?,
            failed_before: wire.failed_before.map(Timestamp::from_micros),
            failed_since: wire.failed_since.map(Timestamp::from_micros),
            positions: wire.positions.into_iter().map(Position).collect(),
        })
    }
}

impl From<&DeadLetterFilter> for wire::DeadLetterFilter {
    fn from(filter: &DeadLetterFilter) -> wire::DeadLetterFilter {
        let reason = filter.reason.map_or(wire::ParkReason::Unspecified, wire::ParkReason::from);
        wire::DeadLetterFilter {
            group: filter.group.as_ref().map(GroupName::to_string),
            stream: filter.stream.as_ref().map(StreamName::to_string),
            r#type: filter.event_type.as_deref().map(str::to_owned),
            reason: reason as i32,
            failed_before: filter.failed_before.map(Timestamp::micros),
            failed_since: filter.failed_since.map(Timestamp::micros),
            positions: filter.positions.iter().map(|position| position.0).collect(),
        }
    }
}

impl From<&DeadLetter> for wire::DeadLetter {
    fn from(letter: &DeadLetter) -> wire::DeadLetter {
        wire::DeadLetter {
            group: letter.group.to_string(),
            position: letter.position.0,
            stream: letter.stream.to_string(),
            revision: letter.revision.0,
            event_id: Bytes::copy_from_slice(&letter.event_id.0),
            event_type: letter.event_type.to_string(),
            reason: wire::ParkReason::from(letter.reason) as i32,
            error: letter.error.to_string(),
            attempts: letter.attempts,
            first_failure: letter.first_failure.micros(),
            last_failure: letter.last_failure.micros(),
            consumer: letter.consumer.to_string(),
            replays: letter.replays,
            replaying: letter.replaying,
        }
    }
}

impl TryFrom<wire::DeadLetter> for DeadLetter {
    type Error = Error;

    /// # Errors
    /// The code of what is malformed.
    fn try_from(wire: wire::DeadLetter) -> Result<DeadLetter> {
        Ok(DeadLetter {
            group: GroupName::new(wire.group)?,
            position: Position(wire.position),
            stream: StreamName::new(wire.stream)?,
            revision: Revision(wire.revision),
            event_id: event_id(&wire.event_id)?,
            event_type: wire.event_type.into(),
            reason: reason(wire.reason)?.ok_or_else(|| unknown("reason", wire.reason))?,
            error: wire.error.into(),
            attempts: wire.attempts,
            first_failure: Timestamp::from_micros(wire.first_failure),
            last_failure: Timestamp::from_micros(wire.last_failure),
            consumer: wire.consumer.into(),
            replays: wire.replays,
            replaying: wire.replaying,
        })
    }
}

impl From<&(GroupName, Position)> for wire::DeadLetterPlace {
    fn from((group, position): &(GroupName, Position)) -> wire::DeadLetterPlace {
        wire::DeadLetterPlace { group: group.to_string(), position: position.0 }
    }
}

impl TryFrom<wire::DeadLetterPlace> for (GroupName, Position) {
    type Error = Error;

    /// # Errors
    /// [`Code::InvalidGroup`].
    fn try_from(wire: wire::DeadLetterPlace) -> Result<(GroupName, Position)> {
        Ok((GroupName::new(wire.group)?, Position(wire.position)))
    }
}

impl From<&DeadLetterPage> for wire::DeadLettersResponse {
    fn from(page: &DeadLetterPage) -> wire::DeadLettersResponse {
        wire::DeadLettersResponse {
            letters: page.letters.iter().map(wire::DeadLetter::from).collect(),
            next: page.next.as_ref().map(wire::DeadLetterPlace::from),
        }
    }
}

impl TryFrom<wire::DeadLettersResponse> for DeadLetterPage {
    type Error = Error;

    /// # Errors
    /// The code of what is malformed.
    fn try_from(wire: wire::DeadLettersResponse) -> Result<DeadLetterPage> {
        Ok(DeadLetterPage {
            letters: wire.letters.into_iter().map(DeadLetter::try_from).collect::<Result<_>>()?,
            next: wire.next.map(<(GroupName, Position)>::try_from).transpose()?,
        })
    }
}
