//! Sealing what is appended, opening what is read.

use super::SubjectKeys;
use crate::audit::envelope::{self, DataKey, NONCE_BYTES, Part, Refused};
use bytes::Bytes;
use graven_model::frame::{Record, Subject};
use graven_model::{Code, Error, EventRef, NewEvent, Result};
use std::sync::Arc;

/// What a reader gets of a sealed record.
pub(crate) enum Unsealed {
    /// There is no key: the event is shown as erased.
    Gone,
    /// What was sealed.
    Open {
        /// Data, then metadata.
        plain: Bytes,
        /// Bytes of the data.
        data: usize,
    },
}

impl SubjectKeys {
    /// Opens a sealed record. One that was sealed under an earlier key of the subject, which was destroyed, is as good as one
    /// without a key.
    ///
    /// # Errors
    /// [`Code::Corrupted`] with the position if an envelope commits to its subject's key and does not open; as
    /// [`SubjectKeys::get`].
    pub(crate) fn unseal(&self, record: &Record<'_>, position: u64) -> Result<Unsealed> {
        // A name that was erased leads to no key.
        let Some(key) =
            record.subject.and_then(Subject::name).map(|name| self.get(name)).transpose()?.flatten()
        else {
            return Ok(Unsealed::Gone);
        };
        let mut plain = Vec::with_capacity(record.data.len() + record.metadata.len());
        let mut open = |part, stored: &[u8]| envelope::open(&key, &record.id, part, stored, &mut plain);
        let damaged = |refused: Refused| {
            Error::new(Code::Corrupted, format!("the log at position {position}: {}", refused.text()))
        };
        let mut data = 0;
        if record.data_erased.is_none() {
            match open(Part::Data, record.data) {
                Ok(()) => data = record.data.len() - envelope::OVERHEAD,
                Err(Refused::OtherKey) => return Ok(Unsealed::Gone),
                Err(refused) => return Err(damaged(refused)),
            }
        }
        if !record.metadata.is_empty() {
            match open(Part::Metadata, record.metadata) {
                Ok(()) => {}
                Err(Refused::OtherKey) if record.data_erased.is_some() => return Ok(Unsealed::Gone),
                Err(refused) => return Err(damaged(refused)),
            }
        }
        Ok(Unsealed::Open { plain: plain.into(), data })
    }
}

impl Unsealed {
    /// The event of the record as it was sent, or as an erased one. `event`: the record's own.
    pub(crate) fn show<'a>(&'a self, event: EventRef<'a>, record: &Record<'_>) -> EventRef<'a> {
        match self {
            Unsealed::Gone => event,
            Unsealed::Open { plain, data } => EventRef {
                data: &plain[..*data],
                metadata: &plain[*data..],
                erased: record.data_erased.is_some(),
                ..event
            },
        }
    }

    /// What the event's payload lies in.
    pub(crate) fn memory(&self) -> Bytes {
        match self {
            Unsealed::Gone => Bytes::new(),
            Unsealed::Open { plain, .. } => plain.clone(),
        }
    }
}

/// Seals data and metadata of an event.
pub(crate) fn seal_event(
    event: &mut NewEvent,
    key: &Arc<DataKey>,
    mut nonce: impl FnMut() -> [u8; NONCE_BYTES],
) {
    event.data = envelope::seal(key, &event.id.0, Part::Data, &event.data, nonce()).into();
    if !event.metadata.is_empty() {
        event.metadata = envelope::seal(key, &event.id.0, Part::Metadata, &event.metadata, nonce()).into();
    }
}
