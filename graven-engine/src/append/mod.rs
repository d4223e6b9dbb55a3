//! Appending: prepare (the caller's thread) → queue → decide and encode (the writer) → commit → acknowledge, in order.
//!
//! The write path reads from top to bottom in `path.rs`, then `writer.rs`.

mod committer;
mod decide;
mod facts;
mod frames;
mod names;
mod path;
mod prepare;
mod queue;
mod replay;
mod shared;
mod writer;

pub(crate) use committer::{CommitPoint, Failure};
pub(crate) use facts::{Pending, Sources, subject_tag};
pub(crate) use frames::{Chain, LogCursor, log_tag, seed};
pub(crate) use names::Names;
pub(crate) use path::WritePath;
pub(crate) use prepare::{AUDIT_STREAM, METADATA_TYPE, Operation, Prepared, TOMBSTONE_TYPE, prepare};
pub(crate) use replay::{LeafPlace, Recovery, Witness, hex, leaf_of, recover, replay_frame};
pub(crate) use shared::Shared;
pub(crate) use writer::{Author, Writer};

use graven_model::{Code, Error, Receipt, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// An append on its way; resolves when it is durable or refused.
///
/// Dropping it does not take the append back.
#[derive(Debug)]
#[must_use = "an append is acknowledged by waiting for it"]
pub struct PendingAppend(oneshot::Receiver<Result<Receipt>>);

impl PendingAppend {
    pub(crate) fn new(receiver: oneshot::Receiver<Result<Receipt>>) -> PendingAppend {
        PendingAppend(receiver)
    }

    /// Blocks until the append is durable or refused. Must not be called on an async runtime's thread; await it there.
    ///
    /// # Errors
    /// As [`crate::Store::append`].
    pub fn wait(self) -> Result<Receipt> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(gone()))
    }
}

impl Future for PendingAppend {
    type Output = Result<Receipt>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Receipt>> {
        Pin::new(&mut self.0).poll(context).map(|result| result.unwrap_or_else(|_| Err(gone())))
    }
}

fn gone() -> Error {
    Error::new(Code::OutcomeUnknown, "the writer ended before it answered")
}
