//! `Delete` and `Tombstone`.

use super::errors::About;
use super::errors::Refusal;
use super::propose::{at_revision, no_expectation};
use super::words::{check_writable, stream_name};
use super::{Answer, Call};
use crate::server::grpc::answer::{message, whole};
use crate::server::grpc::message::Messages;
use crate::server::{App, blocking};
use graven_engine::Store;
use graven_model::{Expected, Receipt, Result, StreamName};
use graven_proto::kurrentdb::shared::Empty;
use graven_proto::kurrentdb::streams::{DeleteReq, DeleteResp, TombstoneReq, TombstoneResp};
use graven_proto::kurrentdb::streams::{delete_req, delete_resp, tombstone_req, tombstone_resp};
use std::sync::Arc;

/// Hides a stream's events, until something is appended to it again.
pub(super) async fn delete(call: Call) -> Answer {
    use delete_req::options::ExpectedStreamRevision as Wire;
    let request: DeleteReq = Messages::only(call.app.clone(), call.body).await?;
    let options = request.options.ok_or_else(no_options)?;
    let expected = match options.expected_stream_revision.ok_or_else(no_expectation)? {
        Wire::Revision(revision) => at_revision(revision)?,
        Wire::NoStream(Empty {}) => Expected::NoStream,
        Wire::Any(Empty {}) => Expected::Any,
        Wire::StreamExists(Empty {}) => Expected::Exists,
    };
    let stream = stream_name(options.stream_identifier.as_ref())?;
    let receipt = change(&call.app, stream, expected, Store::delete_stream).await?;
    let position = receipt.last_position.map_or(delete_resp::PositionOption::NoPosition(Empty {}), |last| {
        let position = delete_resp::Position { commit_position: last.0, prepare_position: last.0 };
        delete_resp::PositionOption::Position(position)
    });
    Ok(whole(message(&DeleteResp { position_option: Some(position) })))
}

/// Ends a stream for ever.
pub(super) async fn tombstone(call: Call) -> Answer {
    use tombstone_req::options::ExpectedStreamRevision as Wire;
    let request: TombstoneReq = Messages::only(call.app.clone(), call.body).await?;
    let options = request.options.ok_or_else(no_options)?;
    let expected = match options.expected_stream_revision.ok_or_else(no_expectation)? {
        Wire::Revision(revision) => at_revision(revision)?,
        Wire::NoStream(Empty {}) => Expected::NoStream,
        Wire::Any(Empty {}) => Expected::Any,
        Wire::StreamExists(Empty {}) => Expected::Exists,
    };
    let stream = stream_name(options.stream_identifier.as_ref())?;
    let receipt = change(&call.app, stream, expected, Store::tombstone_stream).await?;
    let position =
        receipt.last_position.map_or(tombstone_resp::PositionOption::NoPosition(Empty {}), |last| {
            let position = tombstone_resp::Position { commit_position: last.0, prepare_position: last.0 };
            tombstone_resp::PositionOption::Position(position)
        });
    Ok(whole(message(&TombstoneResp { position_option: Some(position) })))
}

fn no_options() -> Refusal {
    Refusal::invalid("the options are missing")
}

async fn change(
    app: &Arc<App>,
    stream: StreamName,
    expected: Expected,
    work: fn(&Store, &StreamName, Expected) -> Result<Receipt>,
) -> Result<Receipt, Refusal> {
    check_writable(&stream)?;
    let (with_store, name) = (app.clone(), stream.clone());
    let outcome = blocking(move || work(&with_store.store, &name, expected)).await;
    let receipt = outcome.map_err(|error| Refusal::of(&error, About::stream(stream.as_str())))?;
    app.metrics.appended(&receipt, 0);
    Ok(receipt)
}
