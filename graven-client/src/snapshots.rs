//! Snapshots over the network.

use crate::client::{Client, Repeat};
use graven_model::{
    FromSnapshot, FromSnapshotRequest, NewSnapshot, Receipt, Result, Revision, Snapshot, SnapshotReceipt,
    StreamName,
};
use graven_proto::wire;

/// Sent again whenever that may help: the same snapshot a second time stores nothing.
pub(crate) async fn put(client: &Client, new: &NewSnapshot) -> Result<SnapshotReceipt> {
    new.check()?;
    let message = wire::PutSnapshotRequest::from(new);
    let receipt = client.call("the snapshot", Repeat::AtWriter, message, async |mut service, message| {
        service.put_snapshot(message).await
    });
    let receipt = SnapshotReceipt::from(receipt.await?);
    client.reached(receipt.position);
    Ok(receipt)
}

pub(crate) async fn get(
    client: &Client,
    stream: &StreamName,
    at_or_before: Option<Revision>,
) -> Result<Snapshot> {
    let message = wire::SnapshotRequest {
        stream: stream.as_str().to_owned(),
        at_or_before: at_or_before.map(|revision| revision.0),
        min_position: client.min_position(),
    };
    let snapshot = client.call("the look-up", Repeat::Freely, message, async |mut service, message| {
        service.snapshot(message).await
    });
    snapshot.await?.try_into()
}

pub(crate) async fn delete(client: &Client, stream: &StreamName) -> Result<Receipt> {
    let message = wire::StreamRequest { stream: stream.as_str().to_owned(), min_position: None };
    let receipt = client.call("the deletion", Repeat::IfUntouched, message, async |mut service, message| {
        service.delete_snapshot(message).await
    });
    client.acknowledged(receipt.await?)
}

pub(crate) async fn read_from(client: &Client, request: &FromSnapshotRequest) -> Result<FromSnapshot> {
    let mut message = wire::ReadFromSnapshotRequest::from(request);
    message.min_position = client.min_position();
    let read = client.call("the read", Repeat::Freely, message, async |mut service, message| {
        service.read_from_snapshot(message).await
    });
    read.await?.try_into()
}
