//! What becomes of streams.

use super::{event, failed_checks, fill, name, positions, put, read_all};
use graven_client::EventStore;
use graven_client::model::*;

fn all_of(stream: &str) -> ReadRequest {
    ReadRequest::new(Selector::Stream(name(stream)))
}

pub(crate) async fn a_deleted_stream_reopens_with_the_next_revision(store: impl EventStore) {
    put(&store, "s", event(1, "A")).await;
    put(&store, "s", event(2, "A")).await;
    let stale = store.delete_stream(&name("s"), Expected::Revision(Revision(0))).await.unwrap_err();
    assert_eq!(failed_checks(stale)[0].actual, StreamState::At(Revision(1)));
    store.delete_stream(&name("s"), Expected::Revision(Revision(1))).await.unwrap();
    assert_eq!(store.read(&all_of("s")).await.unwrap_err().code, Code::StreamDeleted);
    assert_eq!(store.stream_info(&name("s")).await.unwrap().state, StreamState::SoftDeleted(Revision(1)));
    let reopened = put(&store, "s", event(3, "A")).await;
    assert_eq!(reopened.streams[0].revision, Some(Revision(2)));
    let events = read_all(&store, all_of("s")).await;
    assert_eq!(events.iter().map(|event| event.revision.0).collect::<Vec<_>>(), [2]);
    let missing = store.delete_stream(&name("never"), Expected::Exists).await.unwrap_err();
    assert_eq!(missing.code, Code::WrongExpectedRevision);
}

pub(crate) async fn a_tombstone_is_for_ever(store: impl EventStore) {
    put(&store, "s", event(1, "A")).await;
    store.tombstone_stream(&name("s"), Expected::Revision(Revision(0))).await.unwrap();
    assert_eq!(store.read(&all_of("s")).await.unwrap_err().code, Code::StreamTombstoned);
    assert_eq!(store.stream_info(&name("s")).await.unwrap().state, StreamState::Tombstoned);
    let refused =
        store.append(AppendRequest::to(name("s"), Expected::Any, [event(2, "A")])).await.unwrap_err();
    assert_eq!(refused.code, Code::StreamTombstoned);
    assert_eq!(failed_checks(refused)[0].actual, StreamState::Tombstoned);
}

pub(crate) async fn a_truncated_stream_shows_the_rest(store: impl EventStore) {
    for number in 0..6 {
        put(&store, "s", event(number, "A")).await;
    }
    store.truncate_stream(&name("s"), Revision(4)).await.unwrap();
    assert_eq!(positions(&read_all(&store, all_of("s")).await), [4, 5]);
    let info = store.stream_info(&name("s")).await.unwrap();
    assert_eq!((info.first_revision, info.last_revision), (Some(Revision(4)), Some(Revision(5))));
    let beyond = store.truncate_stream(&name("s"), Revision(7)).await.unwrap_err();
    assert_eq!(beyond.code, Code::BadRequest);
}

pub(crate) async fn metadata_is_replaced_at_its_revision(store: impl EventStore) {
    let stream = name("s");
    put(&store, "s", event(1, "A")).await;
    let first = r#"{"$maxCount":2,"owner":"Ada"}"#;
    store.set_stream_metadata(&stream, Expected::NoStream, first.into()).await.unwrap();
    assert_eq!(store.stream_metadata(&stream).await.unwrap(), Some((Revision(0), first.into())));
    let stale = store.set_stream_metadata(&stream, Expected::NoStream, "{}".into()).await.unwrap_err();
    assert_eq!(stale.code, Code::WrongExpectedRevision);
    for number in 2..6 {
        put(&store, "s", event(number, "A")).await;
    }
    assert_eq!(read_all(&store, all_of("s")).await.len(), 2);
    assert_eq!(store.stream_info(&stream).await.unwrap().metadata, Some(first.into()));
    store.set_stream_metadata(&stream, Expected::Revision(Revision(0)), "{}".into()).await.unwrap();
    assert_eq!(read_all(&store, all_of("s")).await.len(), 5);
    for (bad, code) in [
        ("[]", Code::InvalidMetadata),
        (r#"{"$maxCount":-1}"#, Code::InvalidMetadata),
        ("{", Code::InvalidJson),
    ] {
        let error = store.set_stream_metadata(&stream, Expected::Any, bad.into()).await.unwrap_err();
        assert_eq!(error.code, code, "{bad}");
    }
}

pub(crate) async fn streams_are_listed_in_order_of_creation(store: impl EventStore) {
    for stream in ["loan-b", "loan-a", "account-1", "loan-c"] {
        put(&store, stream, event(1, "A")).await;
    }
    store.set_stream_metadata(&name("loan-a"), Expected::Any, "{}".into()).await.unwrap();
    let list = |request: StreamListRequest| {
        let store = store.clone();
        async move {
            let (mut request, mut names) = (request, Vec::new());
            loop {
                let page = store.streams(&request).await.unwrap();
                names.extend(page.streams.iter().map(|info| info.stream.to_string()));
                match page.next {
                    Some(next) => request.after = Some(next),
                    None => return names,
                }
            }
        }
    };
    for limit in [1, 2, 100] {
        let all = StreamListRequest { limit, ..StreamListRequest::default() };
        assert_eq!(list(all.clone()).await, ["loan-b", "loan-a", "account-1", "loan-c"]);
        let loans = StreamListRequest { prefix: "loan-".into(), ..all.clone() };
        assert_eq!(list(loans).await, ["loan-b", "loan-a", "loan-c"]);
        let system = StreamListRequest { include_system: true, ..all };
        assert_eq!(list(system).await.last().map(String::as_str), Some("$$loan-a"));
    }
    fill(&store, 10, 14).await;
    let info = store.stream_info(&name("loan-2")).await.unwrap();
    assert_eq!((info.state, info.last_position), (StreamState::At(Revision(0)), Some(Position(5))));
    assert!(info.created_at.is_some() && info.created_at == info.updated_at);
}
