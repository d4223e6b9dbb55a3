//! What destroys, what keeps from being destroyed, and what looks whether everything is as it was written.

use super::{Inner, Store};
use crate::audit::{
    ErasureOutcome, ErasureRequest, HoldOn, ScavengeOptions, ScavengeReport, ScrubStatus, ScrubWork, Site,
    VerifyOptions, VerifyProgress, verify_open,
};
use graven_model::{Position, Result};
use graven_proof::control::Hold;
use graven_proof::finding::Report;
use std::ops::ControlFlow;
use std::sync::Arc;

impl Store {
    /// Destroys the key of a data subject: what was sealed under it is shown as erased from now on, here and in every copy of
    /// the log that has no key either. False if the subject has none. What is appended about the subject later gets a new key.
    ///
    /// This is the key alone, and the log says nothing of it: for a key that came back with an old copy of the keys.
    /// [`Store::erase`] is what erases. Appends about the subject are refused with [`Code::Unavailable`] meanwhile.
    ///
    /// # Errors
    /// [`Code::Corrupted`] with the file for damage, [`Code::KeysExposed`], [`Code::Io`]; the key may be there or not.
    pub fn destroy_subject_key(&self, subject: &str) -> Result<bool> {
        let sources = &self.inner.shared.sources;
        let _bar = sources.erasing.bar(subject);
        sources.subjects.destroy(subject)
    }

    /// Erases events: data, metadata, or the name of a data subject with everything known of it. What is meant is counted
    /// first, and with `dry_run` that is all. Then the log says what is erased, by whom and why, in a record that is durable,
    /// and under a checkpoint if the store has signed one before; only then it is destroyed: the subject's key, and the bytes,
    /// by rewriting the segments they stand in. Events keep position, id, type and everything else their leaves are made of,
    /// so every proof goes on holding; they are shown as erased. A request that is sent again gets the outcome of the first.
    ///
    /// Blocks for as long as reading and writing those segments takes. Appends and reads go on meanwhile, but for appends
    /// about the same data subject: for a moment they are refused with [`Code::Unavailable`].
    ///
    /// # Errors
    /// [`Code::LegalHold`] if a hold covers any of it; [`Code::NothingToErase`], [`Code::StreamNotFound`],
    /// [`Code::EventNotFound`]; [`Code::InvalidErasure`] for a request that lacks something, and for events the store cannot do
    /// without: those of streams whose names begin with `$`; [`Code::ErasureConflict`]: nothing was changed then.
    /// [`Code::ErasureUnfinished`] once the record is in the log and something kept it from being carried out: the same
    /// request sent again goes on, and so does the next start. Otherwise as [`Store::append`].
    pub fn erase(&self, request: &ErasureRequest, dry_run: bool) -> Result<ErasureOutcome> {
        let Inner { shared, trail, node, .. } = &*self.inner;
        self.inner.path()?;
        shared.eraser.erase(shared, trail, Site::of(node.as_deref()), request, dry_run)
    }

    /// Drops data and metadata of events that no reader of their stream can see any more: hidden by `$maxCount`, `$maxAge`,
    /// `$tb`, a deletion or a tombstone. The log says so first, in a record for each stream. What a legal hold covers is left
    /// as it is, with the rest of its stream. Blocks as [`Store::erase`] does; nobody does this by himself.
    ///
    /// # Errors
    /// [`Code::ErasureUnfinished`] as for [`Store::erase`]; otherwise as [`Store::append`].
    pub fn scavenge(&self, options: ScavengeOptions) -> Result<ScavengeReport> {
        let Inner { shared, trail, node, .. } = &*self.inner;
        self.inner.path()?;
        shared.eraser.scavenge(shared, trail, Site::of(node.as_deref()), options)
    }

    /// The legal holds there are.
    ///
    /// # Errors
    /// [`Code::Corrupted`], [`Code::Io`].
    pub fn holds(&self) -> Result<Vec<Hold>> {
        self.inner.shared.eraser.holds(&self.inner.shared)
    }

    /// Begins a legal hold: what it covers is neither erased nor dropped until it ends. Answers with the position of its record.
    ///
    /// # Errors
    /// [`Code::HoldConflict`] if there is one of this name; [`Code::StreamNotFound`], [`Code::NothingToErase`] for a stream or
    /// subject without events; [`Code::InvalidErasure`] for a text that is not valid. Otherwise as [`Store::append`].
    pub fn begin_hold(&self, id: &str, on: &HoldOn, reason: &str, decided_by: &str) -> Result<Position> {
        let Inner { shared, trail, .. } = &*self.inner;
        shared.eraser.begin_hold(shared, trail, id, on, reason, decided_by)
    }

    /// Ends a legal hold. Answers with the position of the record.
    ///
    /// # Errors
    /// [`Code::HoldConflict`] if there is none of this name; otherwise as [`Store::begin_hold`].
    pub fn end_hold(&self, id: &str, reason: &str, decided_by: &str) -> Result<Position> {
        let Inner { shared, trail, .. } = &*self.inner;
        shared.eraser.end_hold(shared, trail, id, reason, decided_by)
    }

    /// Verifies everything below the head as it is now, and goes on meanwhile: see [`crate::audit::verify`]. Nothing is done
    /// about a finding. Blocks for as long as it takes, on the calling thread alone.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for a checkpoint of another log; [`Code::Timeout`] if `progress` ended it; [`Code::Io`]. What is
    /// wrong with the log is in the report.
    pub fn verify(
        &self,
        verify: &VerifyOptions,
        progress: &mut dyn FnMut(&VerifyProgress) -> ControlFlow<()>,
    ) -> Result<Report> {
        let Inner { shared, identity, trail, .. } = &*self.inner;
        let keys = if trail.latest().is_some() { trail.verifier_keys()? } else { Vec::new() };
        verify_open(shared, identity, keys, verify, progress)
    }

    /// What the background verification did; nothing unless [`Options::scrub_bytes_per_second`] says so.
    #[must_use]
    pub fn scrub_status(&self) -> ScrubStatus {
        self.inner.scrubber.status()
    }

    /// What the background verification works on.
    pub(crate) fn scrub_work(&self, bytes_per_second: u64) -> ScrubWork {
        let Inner { shared, identity, trail, .. } = &*self.inner;
        ScrubWork {
            shared: Arc::clone(shared),
            identity: identity.clone(),
            trail: trail.clone(),
            bytes_per_second,
        }
    }
}
