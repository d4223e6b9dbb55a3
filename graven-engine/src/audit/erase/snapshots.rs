//! Snapshots are made of events: when some of a stream are erased, its snapshots are erased with them.

use super::meant::{Meant, resolve};
use super::survey::{Survey, survey};
use super::{ErasureTarget, Part};
use crate::append::Shared;
use crate::audit::holds::Holds;
use graven_model::{Code, Error, Result, StreamName, snapshot};
use graven_proof::control::Target;
use std::collections::BTreeSet;

/// What goes with the erasure of events.
pub(super) struct Derived {
    /// In the words of the log.
    pub(super) target: Target,
    /// Position of the first snapshot of the stream.
    pub(super) first: Option<u64>,
    pub(super) meant: Meant,
    pub(super) found: Survey,
}

/// What is destroyed of a snapshot.
pub(super) const PARTS: [Part; 2] = [Part::Data, Part::Metadata];

/// Finds what is left of the snapshots of these streams.
///
/// # Errors
/// [`Code::LegalHold`] if a hold covers one of them; those of reading the log.
pub(super) fn of_streams(shared: &Shared, streams: &BTreeSet<String>, holds: &Holds) -> Result<Vec<Derived>> {
    let mut all = Vec::new();
    for name in streams {
        // The others have none.
        let Ok(name) = StreamName::new(name.as_str()).and_then(|stream| snapshot::stream_of(&stream)) else {
            continue;
        };
        let wanted = ErasureTarget::Stream { name, before: None };
        let (target, first, meant) = match resolve(shared, shared.head(), &wanted, &PARTS) {
            Err(Error { code: Code::StreamNotFound, .. }) => continue,
            resolved => resolved?,
        };
        let found = survey(shared, &meant, Some(holds))?;
        if found.events > 0 {
            all.push(Derived { target, first, meant, found });
        }
    }
    Ok(all)
}
