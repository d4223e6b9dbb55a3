//! Appends to several streams at once, the newer service: as requests one after the other, or as records in one request.

mod record;
mod records;
mod session;

use super::errors::Refusal;
use super::words::is_writable;
use super::{Answer, Call};
use crate::server::App;
use crate::server::append::submit_sized;
use graven_model::{AppendRequest, Code, Error, Receipt, StreamName, limits};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Answers the call of a method.
pub(super) async fn answer(method: &str, call: Call) -> Answer {
    match method {
        "AppendSession" => session::append(call).await,
        "AppendRecords" => records::append(call).await,
        method => Err(Refusal::unimplemented(method)),
    }
}

/// An error as this service tells it.
fn rich(error: Error) -> Refusal {
    Refusal::rich(&error)
}

/// A stream that is named in a field of a message and may be written.
fn writable(field: &str, name: &str) -> Result<StreamName, Refusal> {
    let stream =
        StreamName::new(name).map_err(|error| Refusal::bad_request(error.code, field, &error.to_string()))?;
    if !is_writable(&stream) {
        return Err(Refusal::access_denied_to("write", &stream));
    }
    Ok(stream)
}

/// What one append comes to while it is put together.
#[derive(Default)]
struct Sum {
    events: usize,
    bytes: usize,
}

impl Sum {
    /// Adds an event of so many bytes.
    fn add(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.events += 1;
        self.bytes += bytes;
        if self.bytes > limits::APPEND_BYTES_MAX || self.events > limits::APPEND_EVENTS_MAX {
            return Err(Refusal::transaction_too_large(self.bytes));
        }
        Ok(())
    }
}

/// Stores an append; `on_wire` are the bytes it was on its way here.
///
/// # Errors
/// Those of the store, as they are.
async fn store(
    app: &Arc<App>,
    request: AppendRequest,
    on_wire: usize,
    room: OwnedSemaphorePermit,
) -> Result<Receipt, Error> {
    submit_sized(app, on_wire, room, move || Ok(request)).await
}

/// An error of the store that is about no stream.
fn refused(error: &Error, sum: &Sum) -> Refusal {
    match error.code {
        Code::AppendTooLarge => Refusal::transaction_too_large(sum.bytes),
        _ => Refusal::rich(error),
    }
}

/// A receipt's position in the numbers of this service.
fn position(receipt: &Receipt) -> Option<i64> {
    receipt.last_position.and_then(|last| i64::try_from(last.0).ok())
}
