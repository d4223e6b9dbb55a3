//! Consumer groups, which the client calls persistent subscriptions.

use super::{Outcome, PATIENCE, Scenario, category, event, events, name, number, soon};
use kurrentdb::{
    AppendToStreamOptions, Client, Error, NakAction, PersistentSubscription, PersistentSubscriptionEvent,
    PersistentSubscriptionOptions, PersistentSubscriptionToAllOptions, ReplayParkedMessagesOptions,
    ResolvedEvent, StreamPosition, SubscriptionFilter,
};
use std::time::{Duration, Instant};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a group delivers, retries, parks and replays", |client| Box::pin(lives(client))),
    ("every answer of a consumer has its outcome", |client| Box::pin(answers(client))),
    ("groups on everything get what their filter lets through", |client| Box::pin(everything(client))),
    ("settings are told as they are, and an update sends consumers away", |client| Box::pin(updates(client))),
    ("every refusal of a group is told by its kind", |client| Box::pin(refusals(client))),
];

fn from_start() -> PersistentSubscriptionOptions {
    PersistentSubscriptionOptions::default().start_from(StreamPosition::Start)
}

/// The next event, and how often it was tried before.
async fn delivery(consumer: &mut PersistentSubscription) -> kurrentdb::Result<(ResolvedEvent, usize)> {
    loop {
        if let PersistentSubscriptionEvent::EventAppeared { retry_count, event } =
            soon(consumer.next_subscription_event()).await?
        {
            return Ok((event, retry_count));
        }
    }
}

async fn until_parked(client: &Client, stream: &str, count: usize) -> Outcome {
    let begun = Instant::now();
    loop {
        let info = client.get_persistent_subscription_info(stream, "g", &Default::default()).await?;
        if info.stats.parked_message_count == count {
            return Ok(());
        }
        assert!(begun.elapsed() < PATIENCE, "{count} are not parked: {info:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn lives(client: Client) -> Outcome {
    let stream = name("loan");
    client.append_to_stream(&*stream, &AppendToStreamOptions::default(), events(0..3)).await?;
    client.create_persistent_subscription(&*stream, "g", &from_start()).await?;
    let mut consumer =
        client.subscribe_to_persistent_subscription(&*stream, "g", &Default::default()).await?;
    for expected in 0..3 {
        let (event, retries) = delivery(&mut consumer).await?;
        assert_eq!((number(&event), retries), (expected, 0));
        match expected {
            0 => consumer.ack(&event).await?,
            1 => consumer.nack(&event, NakAction::Retry, "again").await?,
            _ => consumer.nack(&event, NakAction::Park, "cannot read it").await?,
        }
    }
    let (again, retries) = delivery(&mut consumer).await?;
    assert_eq!((number(&again), retries), (1, 1));
    consumer.ack(&again).await?;
    until_parked(&client, &stream, 1).await?;
    client.replay_parked_messages(&stream, "g", &ReplayParkedMessagesOptions::default()).await?;
    let (back, _) = delivery(&mut consumer).await?;
    assert_eq!(number(&back), 2);
    consumer.ack(&back).await?;
    until_parked(&client, &stream, 0).await
}

async fn answers(client: Client) -> Outcome {
    let stream = name("loan");
    client.append_to_stream(&*stream, &AppendToStreamOptions::default(), events(0..5)).await?;
    let options = from_start().max_retry_count(1).message_timeout(Duration::from_secs(2));
    client.create_persistent_subscription(&*stream, "g", &options).await?;
    let mut consumer =
        client.subscribe_to_persistent_subscription(&*stream, "g", &Default::default()).await?;
    let answers = [NakAction::Retry, NakAction::Park, NakAction::Skip, NakAction::Unknown, NakAction::Stop];
    for (expected, action) in answers.into_iter().enumerate() {
        let (event, retries) = delivery(&mut consumer).await?;
        assert_eq!((number(&event), retries), (expected as u64, 0));
        consumer.nack(&event, action, "so that it is seen what comes of it").await?;
    }
    // What nobody knows what to do with is tried again, and so is, when its time is over, what stopped a consumer.
    for again in [0, 3, 4] {
        let (event, retries) = delivery(&mut consumer).await?;
        assert_eq!((number(&event), retries), (again, 1));
        if again == 0 {
            consumer.nack(&event, NakAction::Retry, "once too often").await?;
        } else {
            consumer.ack(&event).await?;
        }
    }
    until_parked(&client, &stream, 2).await?;
    for (left, options) in
        [(1, ReplayParkedMessagesOptions::default().stop_at(1)), (0, ReplayParkedMessagesOptions::default())]
    {
        client.replay_parked_messages(&stream, "g", &options).await?;
        let (back, _) = delivery(&mut consumer).await?;
        assert!(number(&back) < 2, "{back:?}");
        consumer.ack(&back).await?;
        until_parked(&client, &stream, left).await?;
    }
    Ok(())
}

async fn everything(client: Client) -> Outcome {
    let loans = category();
    let filter = SubscriptionFilter::on_stream_name().add_prefix(format!("{loans}-"));
    client.append_to_stream(format!("{loans}-1"), &AppendToStreamOptions::default(), event(0)).await?;
    let options =
        PersistentSubscriptionToAllOptions::default().filter(filter).start_from(StreamPosition::Start);
    client.create_persistent_subscription_to_all("rust", &options).await?;
    client.append_to_stream(format!("{loans}-2"), &AppendToStreamOptions::default(), event(1)).await?;
    let mut consumer =
        client.subscribe_to_persistent_subscription_to_all("rust", &Default::default()).await?;
    for expected in 0..2 {
        let (event, _) = delivery(&mut consumer).await?;
        assert_eq!(number(&event), expected);
        consumer.ack(&event).await?;
    }
    let info = client.get_persistent_subscription_info_to_all("rust", &Default::default()).await?;
    assert_eq!((&*info.event_source, &*info.group_name), ("$all", "rust"));
    let listed = client.list_persistent_subscriptions_to_all(&Default::default()).await?;
    assert!(listed.iter().any(|one| one.group_name == "rust"));
    let again = client.create_persistent_subscription_to_all("rust", &options).await;
    assert!(matches!(again, Err(Error::ResourceAlreadyExists)), "{again:?}");
    client.replay_parked_messages_to_all("rust", &Default::default()).await?;
    let changed = PersistentSubscriptionToAllOptions::default().max_retry_count(9);
    client.update_persistent_subscription_to_all("rust", &changed).await?;
    let dropped = delivery(&mut consumer).await;
    assert!(matches!(dropped, Err(Error::IllegalStateError(_))), "{dropped:?}");
    let all = client.list_all_persistent_subscriptions(&Default::default()).await?;
    let one = all.iter().find(|one| one.group_name == "rust").expect("it is listed");
    assert_eq!(one.settings.as_ref().expect("settings").max_retry_count, 9);
    let mut consumer =
        client.subscribe_to_persistent_subscription_to_all("rust", &Default::default()).await?;
    client.delete_persistent_subscription_to_all("rust", &Default::default()).await?;
    let ended = delivery(&mut consumer).await;
    assert!(matches!(ended, Err(Error::ResourceNotFound)), "{ended:?}");
    for outcome in [
        client.update_persistent_subscription_to_all("rust", &changed).await,
        client.delete_persistent_subscription_to_all("rust", &Default::default()).await,
        client.replay_parked_messages_to_all("rust", &Default::default()).await,
        client.get_persistent_subscription_info_to_all("rust", &Default::default()).await.map(|_| ()),
    ] {
        assert!(matches!(outcome, Err(Error::ResourceNotFound)), "{outcome:?}");
    }
    Ok(())
}

async fn updates(client: Client) -> Outcome {
    let stream = name("loan");
    let options =
        from_start().max_retry_count(3).message_timeout(Duration::from_secs(7)).max_subscriber_count(2);
    client.create_persistent_subscription(&*stream, "g", &options).await?;
    let info = client.get_persistent_subscription_info(&stream, "g", &Default::default()).await?;
    let settings = info.settings.expect("settings");
    assert_eq!((settings.max_retry_count, settings.max_subscriber_count), (3, 2));
    assert_eq!(
        (settings.message_timeout, settings.start_from),
        (Duration::from_secs(7), StreamPosition::Start)
    );
    let mut consumer =
        client.subscribe_to_persistent_subscription(&*stream, "g", &Default::default()).await?;
    client.update_persistent_subscription(&*stream, "g", &options.max_retry_count(9)).await?;
    let ended = delivery(&mut consumer).await;
    assert!(matches!(ended, Err(Error::IllegalStateError(_))), "{ended:?}");
    let listed = client.list_persistent_subscriptions_for_stream(&stream, &Default::default()).await?;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].settings.as_ref().expect("settings").max_retry_count, 9);
    client.restart_persistent_subscription_subsystem(&Default::default()).await?;
    Ok(())
}

async fn refusals(client: Client) -> Outcome {
    let stream = name("loan");
    client.create_persistent_subscription(&*stream, "g", &from_start().max_subscriber_count(1)).await?;
    let again = client.create_persistent_subscription(&*stream, "g", &from_start()).await;
    assert!(matches!(again, Err(Error::ResourceAlreadyExists)), "{again:?}");
    for outcome in [
        client.update_persistent_subscription(&*stream, "none", &from_start()).await,
        client.delete_persistent_subscription(&*stream, "none", &Default::default()).await,
        client.replay_parked_messages(&stream, "none", &Default::default()).await,
        client.get_persistent_subscription_info(&stream, "none", &Default::default()).await.map(|_| ()),
    ] {
        assert!(matches!(outcome, Err(Error::ResourceNotFound)), "{outcome:?}");
    }
    let _first = client.subscribe_to_persistent_subscription(&*stream, "g", &Default::default()).await?;
    let second = match client.subscribe_to_persistent_subscription(&*stream, "g", &Default::default()).await {
        Ok(mut consumer) => delivery(&mut consumer).await.map(|_| ()),
        Err(error) => Err(error),
    };
    match second {
        Err(Error::Grpc { message, .. }) => {
            assert!(message.starts_with("Maximum subscriptions reached"), "{message}")
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}
