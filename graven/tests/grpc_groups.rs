//! Consumer groups and dead letters over gRPC, with the Rust client and with messages of our own.

mod grpc_support;
mod support;

use graven_client::model::group::{Backoff, Strategy};
use graven_client::model::{
    AppendRequest, Code, DeadLetterFilter, Delivery, EventId, Expected, GroupName, GroupSettings, Nack,
    NewEvent, ParkReason, Position, Selector, Start, StreamName,
};
use graven_client::{Client, ConsumeOptions, EventStore as _, GroupConsumer};
use grpc_support::{connect, refused, soon, wire};
use std::collections::BTreeMap;
use std::time::Duration;
use support::{Server, run};
use tokio::sync::mpsc;
use wire::consume_request::Content;

/// A server whose positions are those of the test's events.
fn server() -> Server {
    Server::start_with(QUIET)
}

const QUIET: &[&str] = &["--set", "audit.checkpoint_interval=0", "--set", "audit.seal_interval=0"];

fn group(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

/// From the beginning, and without pauses between tries.
fn settings(selector: Selector) -> GroupSettings {
    GroupSettings {
        start: Start::Start,
        retry_backoff: Backoff { first: Duration::ZERO, max: Duration::ZERO },
        ..GroupSettings::new(selector)
    }
}

/// Appends events one by one, and says where they are.
async fn fill(client: &Client, name: &str, count: u64) -> Vec<Position> {
    let mut positions = Vec::new();
    for number in 0..count {
        let id = EventId(rand_id(name, number));
        let event = NewEvent::json(id, "Filled", format!("{{\"n\":{number}}}"));
        let request = AppendRequest::to(stream(name), Expected::Any, [event]);
        positions.push(client.append(request).await.unwrap().last_position.unwrap());
    }
    positions
}

fn rand_id(name: &str, number: u64) -> [u8; 16] {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (name, number).hash(&mut hasher);
    (u128::from(hasher.finish()) << 64 | u128::from(number)).to_be_bytes()
}

async fn take(consumer: &mut GroupConsumer, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    for _ in 0..count {
        taken.push(soon(consumer.next()).await.unwrap());
    }
    taken
}

fn positions(deliveries: &[Delivery]) -> Vec<Position> {
    deliveries.iter().map(|delivery| delivery.event.position).collect()
}

/// Asks until a group stands as wanted.
async fn until(client: &Client, name: &str, wanted: impl Fn(&graven_client::model::GroupInfo) -> bool) {
    let groups = client.groups();
    loop {
        if wanted(&groups.info(&group(name)).await.unwrap()) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn events_are_delivered_acknowledged_and_done() {
    let server = server();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let groups = client.groups();
        let filled = fill(&client, "loan-1", 5).await;
        groups.create(&group("g"), &settings(Selector::Stream(stream("loan-1")))).await.unwrap();
        let options = ConsumeOptions { name: "one".to_owned(), buffer: 3 };
        let mut consumer = groups.consume(&group("g"), options).await.unwrap();
        let first = take(&mut consumer, 3).await;
        assert_eq!(positions(&first), filled[..3]);
        assert!(first.iter().all(|delivery| delivery.retries == 0 && !delivery.replayed));
        // With three in its hands it gets no fourth.
        let info = groups.info(&group("g")).await.unwrap();
        assert_eq!((info.in_flight, info.consumers.len()), (3, 1));
        let seen = &info.consumers[0];
        assert_eq!((&*seen.name, seen.id, seen.buffer, seen.in_flight), ("one", consumer.id(), 3, 3));
        assert!(seen.address.starts_with("127.0.0.1:"), "{}", seen.address);
        consumer.ack(&positions(&first)).await.unwrap();
        let rest = take(&mut consumer, 2).await;
        assert_eq!(positions(&rest), filled[3..]);
        consumer.ack(&positions(&rest)).await.unwrap();
        let live = fill(&client, "loan-1", 6).await;
        let one = take(&mut consumer, 1).await;
        assert_eq!(positions(&one), live[5..]);
        consumer.ack(&positions(&one)).await.unwrap();
        consumer.leave().await.unwrap();
        until(&client, "g", |info| info.consumers.is_empty() && info.lag_events == 0).await;
        let info = groups.info(&group("g")).await.unwrap();
        assert_eq!((info.in_flight, info.done_total, info.parked), (0, 6, 0));
        assert_eq!(groups.list().await.unwrap().len(), 1);
    });
}

#[test]
fn what_a_consumer_leaves_behind_goes_to_another() {
    let server = server();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let groups = client.groups();
        let filled = fill(&client, "loan-1", 4).await;
        groups.create(&group("g"), &settings(Selector::All)).await.unwrap();
        let mut first = groups.consume(&group("g"), ConsumeOptions::default()).await.unwrap();
        let taken = take(&mut first, 4).await;
        first.ack(&positions(&taken)[..1]).await.unwrap();
        first.leave().await.unwrap();
        let mut second = groups.consume(&group("g"), ConsumeOptions::default()).await.unwrap();
        let mut again = positions(&take(&mut second, 3).await);
        again.sort_unstable();
        assert_eq!(again, filled[1..]);
    });
}

#[test]
fn a_failing_event_is_tried_again_parked_replayed_and_done() {
    let server = server();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let groups = client.groups();
        let filled = fill(&client, "loan-1", 2).await;
        let name = group("g");
        let settings = GroupSettings { retries_max: 2, ..settings(Selector::Category("loan".into())) };
        groups.create(&name, &settings).await.unwrap();
        let mut consumer =
            groups.consume(&name, ConsumeOptions { name: "c".to_owned(), buffer: 1 }).await.unwrap();
        // While the first waits for its next try, the second comes.
        let mut retries = 0;
        for _ in 0..4 {
            let delivery = soon(consumer.next()).await.unwrap();
            if delivery.event.position == filled[1] {
                consumer.consumed().nack(&[filled[1]], Nack::Park, "not today").await.unwrap();
                continue;
            }
            assert_eq!((delivery.event.position, delivery.retries), (filled[0], retries));
            consumer.nack(&[filled[0]], Nack::Retry, "no such account").await.unwrap();
            retries += 1;
        }
        until(&client, "g", |info| info.parked == 2).await;

        let filter = DeadLetterFilter { group: Some(name.clone()), ..DeadLetterFilter::default() };
        let page = groups.dead_letters(&filter, None, 1).await.unwrap();
        let letter = &page.letters[0];
        assert_eq!(
            (letter.position, letter.attempts, letter.reason),
            (filled[0], 3, ParkReason::RetriesExhausted)
        );
        assert_eq!(
            (&*letter.error, &*letter.consumer, &*letter.event_type),
            ("no such account", "c", "Filled")
        );
        let page = groups.dead_letters(&filter, page.next.as_ref(), 0).await.unwrap();
        assert_eq!((page.letters.len(), page.next), (1, None));
        assert_eq!((page.letters[0].reason, &*page.letters[0].error), (ParkReason::Requested, "not today"));
        let one = DeadLetterFilter { positions: vec![filled[1]], ..filter.clone() };
        assert_eq!(groups.count_dead_letters(&filter).await.unwrap(), 2);
        assert_eq!(groups.count_dead_letters(&one).await.unwrap(), 1);

        assert_eq!(groups.replay(&filter, Some(1)).await.unwrap(), 1);
        let replayed = soon(consumer.next()).await.unwrap();
        assert_eq!((replayed.event.position, replayed.replayed), (filled[0], true));
        assert_eq!((replayed.retries, replayed.round), (3, 0));
        consumer.ack(&[filled[0]]).await.unwrap();
        until(&client, "g", |info| info.parked == 1).await;
        assert_eq!(groups.skip(&one, None).await.unwrap(), 1);
        assert_eq!(groups.info(&name).await.unwrap().parked, 0);
        assert_eq!(groups.dead_letters(&filter, None, 0).await.unwrap().letters, []);
    });
}

#[test]
fn an_ordered_group_keeps_the_order_of_each_stream_over_four_consumers() {
    let server = server();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let groups = client.groups();
        for name in ["loan-1", "loan-2", "loan-3"] {
            fill(&client, name, 40).await;
        }
        let settings = GroupSettings {
            strategy: Strategy::Ordered,
            retries_max: 1_000,
            ..settings(Selector::Category("loan".into()))
        };
        groups.create(&group("g"), &settings).await.unwrap();
        let (done, mut seen) = mpsc::channel(1_000);
        let consumers: Vec<_> = (0..4)
            .map(|_| {
                let (groups, done) = (groups.clone(), done.clone());
                tokio::spawn(async move {
                    let mut consumer = groups.consume(&group("g"), ConsumeOptions::default()).await.unwrap();
                    while let Ok(delivery) = consumer.next().await {
                        let event = &delivery.event;
                        // Every third one fails at first.
                        if event.revision.0 % 3 == 0 && delivery.retries == 0 {
                            consumer.nack(&[event.position], Nack::Retry, "later").await.unwrap();
                            continue;
                        }
                        done.send((event.stream.clone(), event.revision.0)).await.unwrap();
                        consumer.ack(&[event.position]).await.unwrap();
                    }
                })
            })
            .collect();
        let mut next: BTreeMap<StreamName, u64> = BTreeMap::new();
        for _ in 0..120 {
            let (stream, revision) = soon(seen.recv()).await.unwrap();
            let next = next.entry(stream).or_default();
            assert_eq!(revision, *next);
            *next += 1;
        }
        assert!(next.len() == 3 && next.values().all(|next| *next == 40));
        consumers.iter().for_each(tokio::task::JoinHandle::abort);
    });
}

#[test]
fn a_consumer_connects_again_when_the_group_changes_or_the_server_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start_in(&data, QUIET);
    let address = server.address().to_owned();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let groups = client.groups();
        let filled = fill(&client, "loan-1", 3).await;
        groups.create(&group("g"), &settings(Selector::All)).await.unwrap();
        let mut consumer = groups.consume(&group("g"), ConsumeOptions::default()).await.unwrap();
        let taken = take(&mut consumer, 3).await;
        consumer.ack(&positions(&taken)[..1]).await.unwrap();
        until(&client, "g", |info| info.in_flight == 2).await;
        let id = consumer.id();
        let changed = GroupSettings { retries_max: 3, ..settings(Selector::All) };
        groups.update(&group("g"), &changed).await.unwrap();
        let again = take(&mut consumer, 2).await;
        assert_ne!(consumer.id(), id);
        assert_eq!(positions(&again), filled[1..]);
        assert_eq!(groups.info(&group("g")).await.unwrap().settings.retries_max, 3);
        consumer.ack(&positions(&again)[..1]).await.unwrap();
        until(&client, "g", |info| info.in_flight == 1).await;
        // A clean end writes down what is done.
        assert!(server.stop().success());
        let server = Server::start_at(&address, &data, QUIET);
        let again = take(&mut consumer, 1).await;
        assert_eq!(positions(&again), filled[2..]);
        groups.delete(&group("g")).await.unwrap();
        assert_eq!(soon(consumer.next()).await.unwrap_err().code, Code::GroupNotFound);
        assert_eq!(soon(consumer.next()).await.unwrap_err().code, Code::Closed);
        drop(server);
    });
}

#[test]
fn a_group_is_reset_to_any_place() {
    let server = server();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let groups = client.groups();
        let filled = fill(&client, "loan-1", 4).await;
        groups.create(&group("g"), &GroupSettings::new(Selector::Stream(stream("loan-1")))).await.unwrap();
        for (to, first) in [
            (Start::Start, 0),
            (Start::Position(filled[2]), 2),
            (Start::Revision(graven_client::model::Revision(1)), 1),
        ] {
            groups.reset(&group("g"), to).await.unwrap();
            let mut consumer = groups.consume(&group("g"), ConsumeOptions::default()).await.unwrap();
            assert_eq!(positions(&take(&mut consumer, 1).await), filled[first..=first]);
        }
    });
}

#[test]
fn what_cannot_be_is_refused_by_its_code() {
    let server = server();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let groups = client.groups();
        let good = GroupSettings { consumers_max: 1, ..settings(Selector::All) };
        groups.create(&group("g"), &good).await.unwrap();
        let code = |outcome: Result<(), graven_client::model::Error>| outcome.unwrap_err().code;
        assert_eq!(code(groups.create(&group("g"), &good).await), Code::GroupExists);
        assert_eq!(code(groups.update(&group("h"), &good).await), Code::GroupNotFound);
        let other = settings(Selector::Category("x".into()));
        assert_eq!(code(groups.update(&group("g"), &other).await), Code::InvalidGroup);
        assert_eq!(code(groups.reset(&group("h"), Start::Start).await), Code::GroupNotFound);
        assert_eq!(code(groups.delete(&group("h")).await), Code::GroupNotFound);
        assert_eq!(groups.info(&group("h")).await.unwrap_err().code, Code::GroupNotFound);
        let _one = groups.consume(&group("g"), ConsumeOptions::default()).await.unwrap();
        let consume = |name, buffer| {
            let groups = groups.clone();
            async move {
                let options = ConsumeOptions { buffer, ..ConsumeOptions::default() };
                soon(groups.consume(&group(name), options)).await.unwrap_err().code
            }
        };
        assert_eq!(consume("g", 1).await, Code::GroupFull);
        assert_eq!(consume("h", 1).await, Code::GroupNotFound);
        assert_eq!(consume("g", 0).await, Code::InvalidGroup);
        assert_eq!(consume("g", u32::MAX).await, Code::InvalidGroup);
        let any = DeadLetterFilter::default();
        let page = groups.dead_letters(&any, None, 1_000_000).await;
        assert_eq!(page.unwrap_err().code, Code::InvalidLimit);
    });
}

#[test]
fn a_consumer_that_speaks_out_of_turn_is_told_so_and_has_left() {
    let server = server();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let groups = client.groups();
        groups.create(&group("g"), &settings(Selector::All)).await.unwrap();
        let mut raw = connect(&server).await;
        let request = |content| wire::ConsumeRequest { content };
        let options = || {
            let options = wire::ConsumeOptions { group: "g".to_owned(), ..wire::ConsumeOptions::default() };
            Some(Content::Options(options))
        };
        let ack = || Some(Content::Ack(wire::Acknowledgement { positions: vec![1 << 60] }));
        let nack = wire::NegativeAcknowledgement { action: 7, ..wire::NegativeAcknowledgement::default() };
        let many = wire::Acknowledgement { positions: vec![0; 10_001] };
        for (says, code) in [
            (vec![], Code::BadRequest),
            (vec![request(None)], Code::BadRequest),
            (vec![request(ack())], Code::BadRequest),
            (vec![request(options()), request(options())], Code::BadRequest),
            (vec![request(options()), request(ack()), request(None)], Code::BadRequest),
            (vec![request(options()), request(Some(Content::Nack(nack)))], Code::BadRequest),
            (vec![request(options()), request(Some(Content::Ack(many)))], Code::InvalidLimit),
        ] {
            // The call stays open: it is the server that ends it.
            let open = says.len() > 1;
            let said = futures_util::stream::iter(says);
            let outcome = match open {
                true => {
                    let said = futures_util::StreamExt::chain(said, futures_util::stream::pending());
                    soon(raw.consume(said)).await
                }
                false => soon(raw.consume(said)).await,
            };
            let ended = match outcome {
                Err(status) => Err(status),
                Ok(answers) => {
                    let mut answers = answers.into_inner();
                    let mut last = soon(answers.message()).await;
                    while let Ok(Some(_)) = last {
                        last = soon(answers.message()).await;
                    }
                    last
                }
            };
            assert_eq!(refused(ended).code, code);
            until(&client, "g", |info| info.consumers.is_empty()).await;
        }
        // Who has said everything is let go with everything heard.
        let said = futures_util::stream::iter([request(options()), request(ack())]);
        let mut answers = raw.consume(said).await.unwrap().into_inner();
        let first = soon(answers.message()).await.unwrap().unwrap();
        assert!(matches!(first.content, Some(wire::consume_response::Content::Connected(_))));
        assert!(soon(answers.message()).await.unwrap().is_none());
    });
}

#[test]
fn what_a_consumer_says_may_be_said_in_any_task() {
    fn shared_by_tasks<T: Send + Sync>() {}
    shared_by_tasks::<GroupConsumer>();
    shared_by_tasks::<graven_client::Consumed>();
}
