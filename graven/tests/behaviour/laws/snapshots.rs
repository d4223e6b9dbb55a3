//! States of streams, to read on from.

use super::{SUBJECT, event, name, put};
use graven_client::EventStore;
use graven_client::model::*;

fn state(stream: &str, revision: u64) -> NewSnapshot {
    NewSnapshot {
        data_subject: SUBJECT.get().map(Into::into),
        ..NewSnapshot::json(name(stream), Revision(revision), format!("{{ \"sum\": {revision} }}"))
    }
}

async fn six_events(store: &impl EventStore) {
    for number in 0..6 {
        put(store, "s", event(number, "A")).await;
    }
}

async fn from_snapshot(store: &impl EventStore) -> (Option<u64>, Vec<u64>) {
    let read = store.read_from_snapshot(&FromSnapshotRequest::new(name("s"))).await.unwrap();
    let revisions = read.page.events.iter().map(|event| event.revision.0).collect();
    (read.snapshot.map(|snapshot| snapshot.revision.0), revisions)
}

pub(crate) async fn a_snapshot_comes_back_as_it_was_put(store: impl EventStore) {
    six_events(&store).await;
    let new = NewSnapshot {
        schema_version: 3,
        content_type: ContentType::from_text("application/x-state"),
        state: vec![0, 255, 7].into(),
        ..state("s", 3)
    };
    let receipt = store.put_snapshot(&new).await.unwrap();
    assert!(receipt.stored);
    let found = store.snapshot(&name("s"), None).await.unwrap();
    let at = Position(3);
    let expected = Snapshot {
        stream: name("s"),
        revision: Revision(3),
        event_position: at,
        leaf: found.leaf,
        schema_version: 3,
        content_type: new.content_type.clone(),
        state: new.state.clone(),
        data_subject: new.data_subject.clone(),
        position: receipt.position,
        taken_at: receipt.taken_at,
    };
    assert_eq!(found, expected);
    assert_ne!(found.leaf, [0; 32]);
    let again = store.put_snapshot(&new).await.unwrap();
    assert_eq!(again, SnapshotReceipt { stored: false, ..receipt });
    let read = store.read_from_snapshot(&FromSnapshotRequest::new(name("s"))).await.unwrap();
    assert_eq!(read.snapshot, Some(expected));
    assert_eq!(from_snapshot(&store).await, (Some(3), vec![4, 5]));
}

pub(crate) async fn a_stream_without_snapshot_is_read_from_its_beginning(store: impl EventStore) {
    six_events(&store).await;
    assert_eq!(from_snapshot(&store).await, (None, vec![0, 1, 2, 3, 4, 5]));
    assert_eq!(store.snapshot(&name("s"), None).await.unwrap_err().code, Code::SnapshotNotFound);
    assert_eq!(store.delete_snapshot(&name("s")).await.unwrap_err().code, Code::SnapshotNotFound);
    let nobody = FromSnapshotRequest::new(name("nobody"));
    assert_eq!(store.read_from_snapshot(&nobody).await.unwrap_err().code, Code::StreamNotFound);
    assert_eq!(store.snapshot(&name("nobody"), None).await.unwrap_err().code, Code::StreamNotFound);
    let none = FromSnapshotRequest { limit: 0, ..FromSnapshotRequest::new(name("s")) };
    assert_eq!(store.read_from_snapshot(&none).await.unwrap_err().code, Code::InvalidLimit);
}

pub(crate) async fn a_page_after_a_snapshot_leads_on_to_the_rest(store: impl EventStore) {
    six_events(&store).await;
    store.put_snapshot(&state("s", 0)).await.unwrap();
    let request = FromSnapshotRequest { limit: 2, ..FromSnapshotRequest::new(name("s")) };
    let page = store.read_from_snapshot(&request).await.unwrap().page;
    assert_eq!((page.events.len(), page.last_revision), (2, Some(Revision(5))));
    let rest = ReadRequest::new(Selector::Stream(name("s"))).from(page.next.expect("there is more"));
    let rest: Vec<u64> =
        store.read(&rest).await.unwrap().events.iter().map(|event| event.revision.0).collect();
    assert_eq!(rest, [3, 4, 5]);
    let small = FromSnapshotRequest { bytes_max: 1, ..FromSnapshotRequest::new(name("s")) };
    assert_eq!(store.read_from_snapshot(&small).await.unwrap().page.events.len(), 1);
}

pub(crate) async fn what_cannot_be_a_snapshot_is_refused(store: impl EventStore) {
    six_events(&store).await;
    for (new, code) in [
        (state("s", 6), Code::SnapshotAhead),
        (state("nobody", 0), Code::StreamNotFound),
        (state("$audit", 0), Code::InvalidSnapshot),
        (NewSnapshot { keep: 0, ..state("s", 1) }, Code::InvalidSnapshot),
        (NewSnapshot { keep: limits::SNAPSHOTS_KEPT_MAX + 1, ..state("s", 1) }, Code::InvalidSnapshot),
        (NewSnapshot { state: "{".into(), ..state("s", 1) }, Code::InvalidJson),
    ] {
        assert_eq!(store.put_snapshot(&new).await.unwrap_err().code, code, "{new:?}");
    }
    let written = AppendRequest::to(name("$snapshot-s"), Expected::Any, [event(9, "A")]);
    assert_eq!(store.append(written).await.unwrap_err().code, Code::InvalidStreamName);
    assert_eq!(from_snapshot(&store).await.0, None);
}

pub(crate) async fn the_newest_snapshots_are_kept(store: impl EventStore) {
    six_events(&store).await;
    for revision in [1, 2, 4] {
        store.put_snapshot(&NewSnapshot { keep: 2, ..state("s", revision) }).await.unwrap();
    }
    assert_eq!(store.put_snapshot(&state("s", 3)).await.unwrap_err().code, Code::SnapshotOutdated);
    for (most, found) in [(None, Some(4)), (Some(3), Some(2)), (Some(1), None)] {
        let answer = store.snapshot(&name("s"), most.map(Revision)).await;
        match found {
            Some(revision) => assert_eq!(answer.unwrap().revision, Revision(revision)),
            None => assert_eq!(answer.unwrap_err().code, Code::SnapshotNotFound),
        }
    }
    store.delete_snapshot(&name("s")).await.unwrap();
    assert_eq!(from_snapshot(&store).await, (None, vec![0, 1, 2, 3, 4, 5]));
    store.put_snapshot(&state("s", 0)).await.unwrap();
    assert_eq!(from_snapshot(&store).await.0, Some(0));
}

pub(crate) async fn a_snapshot_ends_with_the_deletion_of_its_stream(store: impl EventStore) {
    six_events(&store).await;
    store.put_snapshot(&state("s", 5)).await.unwrap();
    store.truncate_stream(&name("s"), Revision(6)).await.unwrap();
    assert_eq!(from_snapshot(&store).await, (Some(5), vec![]), "it stands for what was truncated");
    store.delete_stream(&name("s"), Expected::Any).await.unwrap();
    assert_eq!(store.snapshot(&name("s"), None).await.unwrap_err().code, Code::StreamDeleted);
    put(&store, "s", event(7, "A")).await;
    assert_eq!(from_snapshot(&store).await, (None, vec![6]));
    assert_eq!(store.snapshot(&name("s"), None).await.unwrap_err().code, Code::SnapshotNotFound);
}
