//! Snapshots.

use crate::event::{content_type, content_type_text};
use crate::{missing, page_bytes, wire};
use bytes::Bytes;
use graven_model::{
    Code, Error, FromSnapshot, FromSnapshotRequest, NewSnapshot, Position, Result, Revision, Snapshot,
    SnapshotReceipt, StreamName, Timestamp, limits,
};

impl TryFrom<wire::PutSnapshotRequest> for NewSnapshot {
    type Error = Error;

    /// # Errors
    /// [`Code::InvalidStreamName`]. Bounds are the store's to check.
    fn try_from(request: wire::PutSnapshotRequest) -> Result<NewSnapshot> {
        Ok(NewSnapshot {
            stream: StreamName::new(request.stream)?,
            revision: Revision(request.revision),
            schema_version: request.schema_version,
            content_type: content_type(&request.content_type),
            state: request.state,
            data_subject: request.data_subject.map(Into::into),
            keep: if request.keep == 0 { 1 } else { request.keep },
        })
    }
}

impl From<&NewSnapshot> for wire::PutSnapshotRequest {
    fn from(new: &NewSnapshot) -> wire::PutSnapshotRequest {
        wire::PutSnapshotRequest {
            stream: new.stream.as_str().to_owned(),
            revision: new.revision.0,
            schema_version: new.schema_version,
            content_type: content_type_text(new.content_type.borrowed()).to_owned(),
            state: new.state.clone(),
            data_subject: new.data_subject.as_deref().map(str::to_owned),
            keep: new.keep,
        }
    }
}

impl From<SnapshotReceipt> for wire::SnapshotReceipt {
    fn from(receipt: SnapshotReceipt) -> wire::SnapshotReceipt {
        wire::SnapshotReceipt {
            position: receipt.position.0,
            taken_at: receipt.taken_at.micros(),
            stored: receipt.stored,
        }
    }
}

impl From<wire::SnapshotReceipt> for SnapshotReceipt {
    fn from(receipt: wire::SnapshotReceipt) -> SnapshotReceipt {
        SnapshotReceipt {
            position: Position(receipt.position),
            taken_at: Timestamp::from_micros(receipt.taken_at),
            stored: receipt.stored,
        }
    }
}

impl From<&Snapshot> for wire::SnapshotResponse {
    fn from(snapshot: &Snapshot) -> wire::SnapshotResponse {
        wire::SnapshotResponse {
            stream: snapshot.stream.as_str().to_owned(),
            revision: snapshot.revision.0,
            event_position: snapshot.event_position.0,
            leaf: Bytes::copy_from_slice(&snapshot.leaf),
            schema_version: snapshot.schema_version,
            content_type: content_type_text(snapshot.content_type.borrowed()).to_owned(),
            state: snapshot.state.clone(),
            data_subject: snapshot.data_subject.as_deref().map(str::to_owned),
            position: snapshot.position.0,
            taken_at: snapshot.taken_at.micros(),
        }
    }
}

impl TryFrom<wire::SnapshotResponse> for Snapshot {
    type Error = Error;

    /// # Errors
    /// [`Code::InvalidStreamName`]; [`Code::Internal`] for a leaf hash that is none.
    fn try_from(response: wire::SnapshotResponse) -> Result<Snapshot> {
        let leaf = response.leaf[..].try_into().map_err(|_| {
            Error::new(Code::Internal, "the leaf hash of the snapshot is no hash")
                .expected("32 bytes")
                .found(format!("{} bytes", response.leaf.len()))
        })?;
        Ok(Snapshot {
            stream: StreamName::new(response.stream)?,
            revision: Revision(response.revision),
            event_position: Position(response.event_position),
            leaf,
            schema_version: response.schema_version,
            content_type: content_type(&response.content_type),
            state: response.state,
            data_subject: response.data_subject.map(Into::into),
            position: Position(response.position),
            taken_at: Timestamp::from_micros(response.taken_at),
        })
    }
}

impl TryFrom<wire::ReadFromSnapshotRequest> for FromSnapshotRequest {
    type Error = Error;

    /// # Errors
    /// [`Code::InvalidStreamName`]. Bounds are the store's to check.
    fn try_from(request: wire::ReadFromSnapshotRequest) -> Result<FromSnapshotRequest> {
        Ok(FromSnapshotRequest {
            stream: StreamName::new(request.stream)?,
            limit: if request.limit == 0 { limits::PAGE_EVENTS_DEFAULT } else { request.limit },
            bytes_max: page_bytes(request.bytes, limits::PAGE_BYTES_DEFAULT),
        })
    }
}

impl From<&FromSnapshotRequest> for wire::ReadFromSnapshotRequest {
    fn from(request: &FromSnapshotRequest) -> wire::ReadFromSnapshotRequest {
        wire::ReadFromSnapshotRequest {
            stream: request.stream.as_str().to_owned(),
            limit: request.limit,
            bytes: (request.bytes_max as u64).max(1),
            min_position: None,
        }
    }
}

impl From<&FromSnapshot> for wire::ReadFromSnapshotResponse {
    fn from(read: &FromSnapshot) -> wire::ReadFromSnapshotResponse {
        wire::ReadFromSnapshotResponse {
            snapshot: read.snapshot.as_ref().map(wire::SnapshotResponse::from),
            page: Some((&read.page).into()),
        }
    }
}

impl TryFrom<wire::ReadFromSnapshotResponse> for FromSnapshot {
    type Error = Error;

    /// # Errors
    /// The code of what is malformed.
    fn try_from(response: wire::ReadFromSnapshotResponse) -> Result<FromSnapshot> {
        Ok(FromSnapshot {
            snapshot: response.snapshot.map(Snapshot::try_from).transpose()?,
            page: response.page.ok_or_else(|| missing("the page"))?.try_into()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graven_model::{ContentType, Page, Start};

    #[test]
    fn snapshots_and_what_is_asked_of_them_read_back_from_their_messages() {
        let stream = StreamName::new("loan-1").unwrap();
        let new = NewSnapshot {
            schema_version: 7,
            content_type: ContentType::from_text("application/x-state"),
            data_subject: Some("anna".into()),
            keep: 3,
            ..NewSnapshot::json(stream.clone(), Revision(41), "state")
        };
        assert_eq!(NewSnapshot::try_from(wire::PutSnapshotRequest::from(&new)), Ok(new.clone()));
        let plain = wire::PutSnapshotRequest { stream: "loan-1".into(), ..Default::default() };
        assert_eq!(NewSnapshot::try_from(plain), Ok(NewSnapshot::json(stream.clone(), Revision(0), "")));
        let snapshot = Snapshot {
            stream: stream.clone(),
            revision: new.revision,
            event_position: Position(90),
            leaf: [7; 32],
            schema_version: 7,
            content_type: new.content_type,
            state: new.state,
            data_subject: new.data_subject,
            position: Position(91),
            taken_at: Timestamp::from_micros(5),
        };
        let page =
            Page { events: Vec::new(), next: Some(Start::End), head: Position(92), last_revision: None };
        for snapshot in [Some(snapshot), None] {
            let read = FromSnapshot { snapshot, page: page.clone() };
            assert_eq!(FromSnapshot::try_from(wire::ReadFromSnapshotResponse::from(&read)), Ok(read));
        }
        let request = FromSnapshotRequest { limit: 9, bytes_max: 5, ..FromSnapshotRequest::new(stream) };
        assert_eq!(FromSnapshotRequest::try_from(wire::ReadFromSnapshotRequest::from(&request)), Ok(request));
        let bad = wire::SnapshotResponse { stream: "s".into(), ..Default::default() };
        assert_eq!(Snapshot::try_from(bad).unwrap_err().code, Code::Internal);
    }
}
