//! Appends, reads, subscriptions and ends of streams.

use super::{Outcome, Scenario, category, event, events, name, number, numbers, soon, typed};
use kurrentdb::{
    AppendToStreamOptions, Client, CurrentRevision, DeleteStreamOptions, Error, ReadAllOptions,
    ReadStreamOptions, StreamMetadata, StreamMetadataResult, StreamPosition, StreamState,
    SubscribeToAllOptions, SubscribeToStreamOptions, SubscriptionEvent, SubscriptionFilter,
    TombstoneStreamOptions,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("the server says what it has", |client| Box::pin(features(client))),
    ("appends are accepted, refused and repeated as they should", |client| Box::pin(appends(client))),
    ("batches of appends are each answered", |client| Box::pin(batches(client))),
    ("streams and everything are read both ways, from every beginning", |client| Box::pin(reads(client))),
    ("streams are deleted, come back, and end for ever", |client| Box::pin(ends(client))),
    ("metadata is set and read", |client| Box::pin(metadata(client))),
    ("categories and types are read as links and as what they point to", |client| {
        Box::pin(categories(client))
    }),
    ("subscriptions catch up, go on, and say how far they are", |client| Box::pin(subscriptions(client))),
];

fn expecting(state: StreamState) -> AppendToStreamOptions {
    AppendToStreamOptions::default().stream_state(state)
}

async fn features(client: Client) -> Outcome {
    let (major, minor) =
        (client.server_info().await?.version().major(), client.server_info().await?.version().minor());
    assert!((major, minor) >= (26, 1), "{major}.{minor}");
    Ok(())
}

async fn appends(client: Client) -> Outcome {
    use StreamState::{Any, NoStream, StreamExists, StreamRevision};
    let stream = name("loan");
    for (revision, state) in [NoStream, StreamRevision(0), Any, StreamExists].into_iter().enumerate() {
        let result = client.append_to_stream(&*stream, &expecting(state), event(revision as u64)).await?;
        assert_eq!(result.next_expected_version, revision as u64);
    }
    for state in [NoStream, StreamRevision(1), StreamRevision(9)] {
        match client.append_to_stream(&*stream, &expecting(state), event(0)).await {
            Err(Error::WrongExpectedVersion { expected, current }) => {
                assert_eq!((expected, current), (state, CurrentRevision::Current(3)));
            }
            other => panic!("{other:?}"),
        }
    }
    for state in [StreamExists, StreamRevision(0)] {
        match client.append_to_stream(name("loan"), &expecting(state), event(0)).await {
            Err(Error::WrongExpectedVersion { current, .. }) => {
                assert_eq!(current, CurrentRevision::NoStream)
            }
            other => panic!("{other:?}"),
        }
    }
    let (stream, given) = (name("loan"), events(0..3));
    let first = client.append_to_stream(&*stream, &expecting(NoStream), given.clone()).await?;
    for state in [NoStream, Any, StreamExists] {
        let again = client.append_to_stream(&*stream, &expecting(state), given.clone()).await?;
        assert_eq!((again.next_expected_version, again.position), (2, first.position));
    }
    assert_eq!(numbers(client.read_stream(&*stream, &ReadStreamOptions::default()).await?).await?, [0, 1, 2]);
    Ok(())
}

async fn batches(client: Client) -> Outcome {
    let batch = client.batch_append(&Default::default()).await?;
    let streams: Vec<String> = (0..50).map(|_| name("loan")).collect();
    let appends =
        streams.iter().map(|stream| batch.append_to_stream(stream, StreamState::NoStream, events(0..3)));
    for (stream, result) in streams.iter().zip(futures::future::join_all(appends).await) {
        let result = result?;
        assert_eq!((result.stream_name(), result.current_revision()), (&**stream, Some(2)));
    }
    let (stream, given) = (&streams[0], events(3..5));
    for state in [
        StreamState::StreamRevision(2),
        StreamState::Any,
        StreamState::StreamExists,
        StreamState::StreamRevision(2),
    ] {
        let result = batch.append_to_stream(stream, state, given.clone()).await?;
        assert_eq!(result.current_revision(), Some(4), "the same events again are stored once");
    }
    for state in [StreamState::NoStream, StreamState::StreamRevision(2)] {
        batch.append_to_stream(stream, state, events(0..1)).await.unwrap_err();
    }
    batch.append_to_stream(name("loan"), StreamState::StreamExists, events(0..1)).await.unwrap_err();
    let found = client.read_stream(&**stream, &ReadStreamOptions::default()).await?;
    assert_eq!(numbers(found).await?, [0, 1, 2, 3, 4]);
    Ok(())
}

async fn reads(client: Client) -> Outcome {
    let stream = name("loan");
    let last =
        client.append_to_stream(&*stream, &AppendToStreamOptions::default(), events(0..10)).await?.position;
    let options = ReadStreamOptions::default;
    let cases = [
        (options(), (0..10).collect::<Vec<u64>>()),
        (options().max_count(3), vec![0, 1, 2]),
        (options().position(StreamPosition::Position(7)), vec![7, 8, 9]),
        (options().backwards().position(StreamPosition::End).max_count(2), vec![9, 8]),
        (options().backwards().position(StreamPosition::Position(1)), vec![1, 0]),
    ];
    for (options, expected) in cases {
        assert_eq!(numbers(client.read_stream(&*stream, &options).await?).await?, expected);
    }
    let options =
        || ReadAllOptions::default().filter(SubscriptionFilter::on_stream_name().add_prefix(&stream));
    let backwards = options().backwards().position(StreamPosition::End);
    for (options, expected) in [
        (options(), (0..10).collect::<Vec<u64>>()),
        (options().max_count(2), vec![0, 1]),
        (options().position(StreamPosition::Position(last)), vec![9]),
        (backwards.max_count(2), vec![9, 8]),
    ] {
        assert_eq!(numbers(client.read_all(&options).await?).await?, expected);
    }
    let missing = client.read_stream(name("loan"), &ReadStreamOptions::default()).await?.next().await;
    assert!(matches!(missing, Err(Error::ResourceNotFound)), "{missing:?}");
    Ok(())
}

async fn ends(client: Client) -> Outcome {
    let stream = name("loan");
    let any = AppendToStreamOptions::default();
    client.append_to_stream(&*stream, &any, events(0..2)).await?;
    let wrong = DeleteStreamOptions::default().stream_state(StreamState::StreamRevision(0));
    assert!(client.delete_stream(&*stream, &wrong).await.is_err());
    let right = DeleteStreamOptions::default().stream_state(StreamState::StreamRevision(1));
    assert!(client.delete_stream(&*stream, &right).await?.is_some());
    let gone = client.read_stream(&*stream, &ReadStreamOptions::default()).await?.next().await;
    assert!(matches!(gone, Err(Error::ResourceNotFound)), "{gone:?}");
    let back = client.append_to_stream(&*stream, &expecting(StreamState::NoStream), event(7)).await?;
    assert_eq!(back.next_expected_version, 2);
    client.tombstone_stream(&*stream, &TombstoneStreamOptions::default()).await?;
    let ended = match client.read_stream(&*stream, &ReadStreamOptions::default()).await {
        Ok(mut reading) => reading.next().await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(matches!(ended, Err(Error::ResourceDeleted)), "{ended:?}");
    for outcome in [
        client.append_to_stream(&*stream, &any, event(8)).await.map(|_| ()),
        client.delete_stream(&*stream, &DeleteStreamOptions::default()).await.map(|_| ()),
        client.tombstone_stream(&*stream, &TombstoneStreamOptions::default()).await.map(|_| ()),
    ] {
        assert!(matches!(outcome, Err(Error::ResourceDeleted)), "{outcome:?}");
    }
    Ok(())
}

async fn metadata(client: Client) -> Outcome {
    let stream = name("loan");
    let options = ReadStreamOptions::default().backwards().position(StreamPosition::End).max_count(1);
    assert!(matches!(client.get_stream_metadata(&*stream, &options).await?, StreamMetadataResult::NotFound));
    client.append_to_stream(&*stream, &AppendToStreamOptions::default(), events(0..5)).await?;
    let bounds = StreamMetadata::builder().max_count(2).insert_custom_property("owner", "me").build();
    client.set_stream_metadata(&*stream, &AppendToStreamOptions::default(), &bounds).await?;
    match client.get_stream_metadata(&*stream, &options).await? {
        StreamMetadataResult::Success(found) => {
            assert_eq!((found.version(), found.metadata().max_count), (0, Some(2)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(numbers(client.read_stream(&*stream, &ReadStreamOptions::default()).await?).await?, [3, 4]);
    Ok(())
}

async fn categories(client: Client) -> Outcome {
    let loans = category();
    for number in 0..4 {
        let stream = format!("{loans}-{}", number % 2);
        client.append_to_stream(stream, &AppendToStreamOptions::default(), event(number)).await?;
    }
    let source = format!("$ce-{loans}");
    let resolved = ReadStreamOptions::default().resolve_link_tos();
    assert_eq!(numbers(client.read_stream(&*source, &resolved).await?).await?, [0, 1, 2, 3]);
    let of_type = format!("$et-{loans}");
    client
        .append_to_stream(format!("{loans}-2"), &AppendToStreamOptions::default(), typed(&loans, 4))
        .await?;
    assert_eq!(numbers(client.read_stream(&*of_type, &resolved).await?).await?, [4]);
    let mut links = client.read_stream(&*source, &ReadStreamOptions::default().max_count(1)).await?;
    let link = links.next().await?.expect("a link");
    let link = link.get_original_event();
    assert_eq!((&*link.event_type, &link.data[..]), ("$>", format!("0@{loans}-0").as_bytes()));
    Ok(())
}

async fn subscriptions(client: Client) -> Outcome {
    let (any, stream) = (AppendToStreamOptions::default(), name("loan"));
    client.append_to_stream(&*stream, &any, events(0..3)).await?;
    let options = SubscribeToStreamOptions::default().start_from(StreamPosition::Position(0));
    let mut subscription = client.subscribe_to_stream(&*stream, &options).await;
    let mut found = Vec::new();
    loop {
        match soon(subscription.next_subscription_event()).await? {
            SubscriptionEvent::EventAppeared(event) => found.push(number(&event)),
            SubscriptionEvent::CaughtUp(_) => break,
            _ => {}
        }
    }
    assert_eq!(found, [1, 2]);
    client.append_to_stream(&*stream, &any, event(3)).await?;
    assert_eq!(number(&soon(subscription.next()).await?), 3);

    let rare = category();
    let before = client.append_to_stream(&*stream, &any, event(4)).await?.position;
    for number in 0..3 {
        client.append_to_stream(&*stream, &any, typed(&rare, number)).await?;
        client.append_to_stream(&*stream, &any, events(0..50)).await?;
    }
    let filter = SubscriptionFilter::on_event_type().regex(format!("^{rare}$")).max(10);
    let options = SubscribeToAllOptions::default().position(StreamPosition::Position(before)).filter(filter);
    let mut subscription = client.subscribe_to_all(&options).await;
    let (mut found, mut marks) = (Vec::new(), Vec::new());
    while found.len() < 3 || marks.is_empty() {
        match soon(subscription.next_subscription_event()).await? {
            SubscriptionEvent::EventAppeared(event) => found.push(number(&event)),
            SubscriptionEvent::Checkpoint(position) => marks.push(position),
            _ => {}
        }
    }
    assert_eq!(found, [0, 1, 2]);
    assert!(marks.is_sorted(), "{marks:?}");
    Ok(())
}
