//! Appending what the log says about itself: control records, in the stream `$audit`.

use crate::append::{AUDIT_STREAM, Operation, PendingAppend, Shared, WritePath, prepare};
use crate::env::Entropy;
use graven_model::{
    AppendRequest, Code, Error, EventId, Expected, Kind, NewEvent, Receipt, Result, StreamName,
};
use graven_proof::control::Control;
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};
use tokio::sync::oneshot;

/// The way of control records into the log.
pub(crate) struct ControlWriter {
    shared: Arc<Shared>,
    entropy: Mutex<Entropy>,
    path: OnceLock<Arc<WritePath>>,
}

/// Records of one erasure in one append.
const ERASURES_MAX: usize = 10_000;

/// Keeps the randomness of event ids apart from that of every other user of a fixed seed, and of an earlier opening.
const ID_PURPOSE: u64 = 1 << 33;

impl ControlWriter {
    pub(super) fn new(shared: Arc<Shared>) -> Result<ControlWriter> {
        let entropy = shared
            .env
            .entropy(ID_PURPOSE + shared.head())
            .map_err(|error| Error::io("randomness of the operating system", &error))?;
        Ok(ControlWriter { shared, entropy: Mutex::new(entropy), path: OnceLock::new() })
    }

    /// From now on records are taken.
    pub(super) fn begin_writing(&self, path: Arc<WritePath>) {
        let _ = self.path.set(path);
    }

    /// Appends a record. Durable when this returns.
    ///
    /// # Errors
    /// As [`crate::Store::append`]; [`Code::NotTheWriter`] before this store takes appends.
    pub(crate) fn append(&self, control: &Control) -> Result<Receipt> {
        self.append_all(control.kind(), std::slice::from_ref(control))
    }

    /// Appends the records of one erasure, and answers with the position of the last, whose id the caller
    /// makes sure is not taken. More than fit one append go ahead in appends of their own.
    pub(super) fn append_erasures(&self, id: EventId, erasures: &[Control]) -> Result<u64> {
        let ahead = erasures.len().saturating_sub(1) / ERASURES_MAX * ERASURES_MAX;
        for some in erasures[..ahead].chunks(ERASURES_MAX) {
            self.append_all(Kind::Erasure, some)?;
        }
        let mut events = self.events(&erasures[ahead..]);
        if let Some(last) = events.last_mut() {
            last.id = id;
        }
        let count = events.len() as u64;
        Ok(self.append_events(Kind::Erasure, events)?.first_position.0 + count.saturating_sub(1))
    }

    /// Appends records of one kind, all of them or none.
    pub(super) fn append_all(&self, kind: Kind, controls: &[Control]) -> Result<Receipt> {
        self.append_events(kind, self.events(controls))
    }

    fn events(&self, controls: &[Control]) -> Vec<NewEvent> {
        let mut entropy = self.entropy.lock();
        let event = |control: &Control| {
            NewEvent::json(EventId(entropy.bytes()), control.event_type(), control.encode())
        };
        controls.iter().map(event).collect()
    }

    fn append_events(&self, kind: Kind, events: Vec<NewEvent>) -> Result<Receipt> {
        let count = events.len() as u32;
        let path = self.path.get().ok_or_else(|| {
            Error::new(Code::NotTheWriter, "this node follows the journal; another one writes it")
        })?;
        let request = AppendRequest::to(StreamName::new(AUDIT_STREAM)?, Expected::Any, events);
        let (reply, receiver) = oneshot::channel();
        let audit = self.shared.sources.audit;
        path.submit(prepare(Operation::Control(kind), request, audit, None, &self.entropy, reply)?)?;
        let receipt = PendingAppend::new(receiver).wait()?;
        if receipt.appended != count {
            return Err(Error::new(Code::Internal, "the id of a control record was drawn twice"));
        }
        Ok(receipt)
    }
}
