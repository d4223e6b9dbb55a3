//! Persistent subscriptions through the protocol of KurrentDB's clients: every call, and every way it ends.

mod kurrent_support;
mod support;

use graven_proto::kurrentdb::persistent::create_req::{self, options::StreamOption};
use graven_proto::kurrentdb::persistent::read_req::{self, Content};
use graven_proto::kurrentdb::persistent::read_resp::{self, ReadEvent, read_event};
use graven_proto::kurrentdb::persistent::{
    self as wire, CreateReq, CreateResp, GetInfoResp, ListResp, ReadReq, ReadResp, SubscriptionInfo,
    UpdateResp,
};
use kurrent_support::{
    ANY, Caller, NO_STREAM, assert_refused, id_text, identifier, options, shared, soon, start, streams,
    trailers, uuid,
};
use shared::{Empty, Uuid};
use streams::append_req;
use support::run;
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

macro_rules! method {
    ($name:literal) => {
        concat!("/event_store.client.persistent_subscriptions.PersistentSubscriptions/", $name)
    };
}

/// What a group reads.
#[derive(Clone, Copy)]
enum Of {
    All,
    Stream(&'static str),
}

const GROUP: &str = "workers";

fn settings() -> create_req::Settings {
    create_req::Settings {
        max_retry_count: 2,
        min_checkpoint_count: 1,
        max_checkpoint_count: 10,
        live_buffer_size: 500,
        read_batch_size: 20,
        history_buffer_size: 500,
        consumer_strategy: "RoundRobin".to_owned(),
        message_timeout: Some(create_req::settings::MessageTimeout::MessageTimeoutMs(30_000)),
        checkpoint_after: Some(create_req::settings::CheckpointAfter::CheckpointAfterMs(2_000)),
        ..create_req::Settings::default()
    }
}

/// A group from the beginning.
fn creation(of: Of, settings: create_req::Settings) -> CreateReq {
    let stream_option = match of {
        Of::All => StreamOption::All(create_req::AllOptions {
            all_option: Some(create_req::all_options::AllOption::Start(Empty {})),
            filter_option: Some(create_req::all_options::FilterOption::NoFilter(Empty {})),
        }),
        Of::Stream(stream) => StreamOption::Stream(create_req::StreamOptions {
            stream_identifier: identifier(stream),
            revision_option: Some(create_req::stream_options::RevisionOption::Start(Empty {})),
        }),
    };
    CreateReq {
        options: Some(create_req::Options {
            group_name: GROUP.to_owned(),
            settings: Some(settings),
            stream_option: Some(stream_option),
            ..create_req::Options::default()
        }),
    }
}

async fn create(caller: &mut Caller, asked: CreateReq) -> Result<CreateResp, Status> {
    caller.unary(method!("Create"), asked).await
}

async fn update(caller: &mut Caller, asked: CreateReq) -> Result<UpdateResp, Status> {
    caller.unary(method!("Update"), asked).await
}

async fn delete(caller: &mut Caller, of: Of) -> Result<wire::DeleteResp, Status> {
    use wire::delete_req::options::StreamOption;
    let stream_option = match of {
        Of::All => StreamOption::All(Empty {}),
        Of::Stream(stream) => StreamOption::StreamIdentifier(identifier(stream).unwrap()),
    };
    let options =
        wire::delete_req::Options { group_name: GROUP.to_owned(), stream_option: Some(stream_option) };
    caller.unary(method!("Delete"), wire::DeleteReq { options: Some(options) }).await
}

async fn info(caller: &mut Caller, of: Of) -> Result<SubscriptionInfo, Status> {
    use wire::get_info_req::options::StreamOption;
    let stream_option = match of {
        Of::All => StreamOption::All(Empty {}),
        Of::Stream(stream) => StreamOption::StreamIdentifier(identifier(stream).unwrap()),
    };
    let options =
        wire::get_info_req::Options { group_name: GROUP.to_owned(), stream_option: Some(stream_option) };
    let answer: GetInfoResp =
        caller.unary(method!("GetInfo"), wire::GetInfoReq { options: Some(options) }).await?;
    Ok(answer.subscription_info.unwrap())
}

/// Asks until a group stands as wanted.
async fn until(caller: &mut Caller, of: Of, wanted: impl Fn(&SubscriptionInfo) -> bool) -> SubscriptionInfo {
    loop {
        let info = info(caller, of).await.unwrap();
        if wanted(&info) {
            return info;
        }
        tokio::task::yield_now().await;
    }
}

async fn list(
    caller: &mut Caller,
    option: wire::list_req::options::ListOption,
) -> Result<Vec<SubscriptionInfo>, Status> {
    let options = wire::list_req::Options { list_option: Some(option) };
    let answer: ListResp = caller.unary(method!("List"), wire::ListReq { options: Some(options) }).await?;
    Ok(answer.subscriptions)
}

async fn replay(caller: &mut Caller, of: &str, limit: Option<i64>) -> Result<wire::ReplayParkedResp, Status> {
    use wire::replay_parked_req::options::{StopAtOption, StreamOption};
    let stop = limit.map_or(StopAtOption::NoLimit(Empty {}), StopAtOption::StopAt);
    let options = wire::replay_parked_req::Options {
        group_name: GROUP.to_owned(),
        stream_option: Some(StreamOption::StreamIdentifier(identifier(of).unwrap())),
        stop_at_option: Some(stop),
    };
    caller.unary(method!("ReplayParked"), wire::ReplayParkedReq { options: Some(options) }).await
}

async fn truncate(caller: &mut Caller, of: &str, limit: i64) -> Result<wire::TruncateParkedResp, Status> {
    use wire::truncate_parked_req::options::{StopAtOption, StreamOption};
    let options = wire::truncate_parked_req::Options {
        group_name: GROUP.to_owned(),
        stream_option: Some(StreamOption::StreamIdentifier(identifier(of).unwrap())),
        stop_at_option: Some(StopAtOption::StopAt(limit)),
    };
    caller.unary(method!("TruncateParked"), wire::TruncateParkedReq { options: Some(options) }).await
}

/// A consumer's call.
struct Consumer {
    says: mpsc::Sender<ReadReq>,
    hears: Streaming<ReadResp>,
}

fn reading(of: Of, buffer: i32) -> ReadReq {
    let stream_option = match of {
        Of::All => read_req::options::StreamOption::All(Empty {}),
        Of::Stream(stream) => read_req::options::StreamOption::StreamIdentifier(identifier(stream).unwrap()),
    };
    let content = read_req::options::uuid_option::Content::String(Empty {});
    let options = read_req::Options {
        group_name: GROUP.to_owned(),
        buffer_size: buffer,
        uuid_option: Some(read_req::options::UuidOption { content: Some(content) }),
        stream_option: Some(stream_option),
    };
    ReadReq { content: Some(Content::Options(options)) }
}

impl Consumer {
    /// Connects, and hears that it is.
    async fn connect(caller: &mut Caller, of: Of, buffer: i32) -> Result<Consumer, Status> {
        let (says, hears) = caller.talk_after(method!("Read"), vec![reading(of, buffer)]).await?;
        let mut consumer = Consumer { says, hears };
        let name = match of {
            Of::All => "$all",
            Of::Stream(stream) => stream,
        };
        match soon(consumer.hears.message()).await?.unwrap().content.unwrap() {
            read_resp::Content::SubscriptionConfirmation(said) => {
                assert_eq!(said.subscription_id, format!("{name}::{GROUP}"));
            }
            other => panic!("{other:?}"),
        }
        Ok(consumer)
    }

    async fn next(&mut self) -> Result<ReadEvent, Status> {
        match soon(self.hears.message()).await?.expect("the call goes on").content.unwrap() {
            read_resp::Content::Event(event) => Ok(event),
            other => panic!("{other:?}"),
        }
    }

    async fn take(&mut self, count: usize) -> Vec<ReadEvent> {
        let mut taken = Vec::new();
        for _ in 0..count {
            taken.push(self.next().await.unwrap());
        }
        taken
    }

    async fn ack(&self, ids: Vec<Uuid>) {
        let ack = read_req::Ack { ids, ..read_req::Ack::default() };
        self.says.send(ReadReq { content: Some(Content::Ack(ack)) }).await.unwrap();
    }

    async fn nack(&self, ids: Vec<Uuid>, action: read_req::nack::Action) {
        let nack = read_req::Nack {
            ids,
            action: action as i32,
            reason: "no such account".to_owned(),
            ..read_req::Nack::default()
        };
        self.says.send(ReadReq { content: Some(Content::Nack(nack)) }).await.unwrap();
    }
}

/// What an event is acknowledged by.
fn ack_id(event: &ReadEvent) -> Uuid {
    event.link.as_ref().or(event.event.as_ref()).unwrap().id.clone().unwrap()
}

fn revision(event: &ReadEvent) -> u64 {
    event.event.as_ref().unwrap().stream_revision
}

fn retries(event: &ReadEvent) -> i32 {
    match event.count {
        Some(read_event::Count::RetryCount(retries)) => retries,
        other => panic!("{other:?}"),
    }
}

const NAMED: [(&str, &str); 2] = [("stream-name", "loan-1"), ("group-name", GROUP)];

fn with(exception: &'static str) -> Vec<(&'static str, &'static str)> {
    [("exception", exception)].into_iter().chain(NAMED).collect()
}

#[test]
fn a_group_is_made_read_and_described() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        caller.stored("loan-1", NO_STREAM, &[1, 2, 3]).await;
        let of = Of::Stream("loan-1");
        create(&mut caller, creation(of, settings())).await.unwrap();
        let said = info(&mut caller, of).await.unwrap();
        assert_eq!((&*said.event_source, &*said.group_name, &*said.start_from), ("loan-1", GROUP, "0"));
        assert_eq!((&*said.last_checkpointed_event_position, said.connections.len()), ("", 0));
        assert_eq!((said.message_timeout_milliseconds, said.check_point_after_milliseconds), (30_000, 2_000));
        assert_eq!((said.max_retry_count, said.buffer_size, said.read_batch_size), (2, 500, 20));
        assert_eq!((&*said.named_consumer_strategy, said.max_subscriber_count), ("RoundRobin", 0));

        let mut consumer = Consumer::connect(&mut caller, of, 2).await.unwrap();
        let taken = consumer.take(2).await;
        for (number, event) in taken.iter().enumerate() {
            let inner = event.event.as_ref().unwrap();
            assert_eq!((inner.stream_revision, inner.commit_position), (number as u64, number as u64));
            assert_eq!(inner.metadata["type"], "Filled");
            assert_eq!(inner.id, uuid(number as u64 + 1));
            assert_eq!(event.position, Some(read_event::Position::CommitPosition(number as u64)));
            assert_eq!((retries(event), &event.link), (0, &None));
        }
        let said = info(&mut caller, of).await.unwrap();
        assert_eq!((said.connections.len(), said.total_in_flight_messages), (1, 2));
        let connection = &said.connections[0];
        assert_eq!((connection.available_slots, connection.in_flight_messages), (0, 2));
        assert_eq!((&*connection.connection_name, &*connection.username), ("<unknown>", "anonymous"));
        assert!(connection.from.starts_with("127.0.0.1:") && connection.observed_measurements.is_empty());
        // An id nobody knows is passed over.
        let unknown = Uuid { value: Some(shared::uuid::Value::String(id_text(99))) };
        consumer.ack(vec![ack_id(&taken[1]), unknown]).await;
        assert_eq!(revision(&consumer.next().await.unwrap()), 2);
        consumer.ack(vec![ack_id(&taken[0]), uuid(3).unwrap()]).await;
        caller.stored("loan-1", ANY, &[4]).await;
        assert_eq!(revision(&consumer.next().await.unwrap()), 3);
        consumer.ack(vec![uuid(4).unwrap()]).await;
        let said = until(&mut caller, of, |info| info.total_items == 4).await;
        assert_eq!((&*said.status, &*said.last_known_event_position), ("Live", "3"));
        assert_eq!(said.total_in_flight_messages, 0);
        until(&mut caller, of, |info| info.last_checkpointed_event_position == "3").await;
    });
}

#[test]
fn a_failing_event_is_tried_again_parked_replayed_and_truncated() {
    use read_req::nack::Action;
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        let of = Of::Stream("loan-1");
        create(&mut caller, creation(of, settings())).await.unwrap();
        caller.stored("loan-1", NO_STREAM, &[1]).await;
        let mut consumer = Consumer::connect(&mut caller, of, 10).await.unwrap();
        for tries in 0..3 {
            let event = consumer.next().await.unwrap();
            assert_eq!((revision(&event), retries(&event)), (0, tries));
            let action = if tries == 0 { Action::Unknown } else { Action::Retry };
            consumer.nack(vec![ack_id(&event)], action).await;
        }
        until(&mut caller, of, |info| info.parked_message_count == 1).await;
        caller.stored("loan-1", ANY, &[2, 3]).await;
        let rest = consumer.take(2).await;
        consumer.nack(vec![ack_id(&rest[0])], Action::Park).await;
        consumer.nack(vec![ack_id(&rest[1])], Action::Skip).await;
        until(&mut caller, of, |info| info.parked_message_count == 2 && info.total_in_flight_messages == 0)
            .await;

        let negative = replay(&mut caller, "loan-1", Some(-1)).await.unwrap_err();
        assert_eq!(
            (negative.code(), &*trailers(&negative)["exception"]),
            (Code::Internal, "persistent-subscription-failed")
        );
        replay(&mut caller, "loan-1", Some(1)).await.unwrap();
        let again = consumer.next().await.unwrap();
        assert_eq!((revision(&again), retries(&again)), (0, 0));
        consumer.ack(vec![ack_id(&again)]).await;
        until(&mut caller, of, |info| info.parked_message_count == 1).await;
        truncate(&mut caller, "loan-1", 5).await.unwrap();
        assert_eq!(info(&mut caller, of).await.unwrap().parked_message_count, 0);
        // That nothing is parked is no error.
        replay(&mut caller, "loan-1", None).await.unwrap();
    });
}

#[test]
fn a_category_comes_as_links_with_or_without_what_they_point_to() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        caller.stored("other", NO_STREAM, &[7]).await;
        caller.stored("loan-1", NO_STREAM, &[1]).await;
        caller.stored("loan-2", NO_STREAM, &[2]).await;
        let of = Of::Stream("$ce-loan");
        for resolve_links in [false, true] {
            create(&mut caller, creation(of, create_req::Settings { resolve_links, ..settings() }))
                .await
                .unwrap();
            let mut consumer = Consumer::connect(&mut caller, of, 10).await.unwrap();
            let taken = consumer.take(2).await;
            for (number, event) in taken.iter().enumerate() {
                let inner = event.event.as_ref().unwrap();
                let link = if resolve_links { event.link.as_ref().unwrap() } else { inner };
                assert_eq!(link.stream_identifier, identifier("$ce-loan"));
                assert_eq!((link.stream_revision, &*link.metadata["type"]), (number as u64, "$>"));
                assert_eq!(link.data, format!("0@loan-{}", number + 1));
                if resolve_links {
                    assert_eq!((&inner.id, inner.stream_revision), (&uuid(number as u64 + 1), 0));
                }
            }
            // The id of the target means nothing, that of the link does.
            consumer.ack(vec![uuid(1).unwrap(), ack_id(&taken[1])]).await;
            until(&mut caller, of, |info| info.total_items == 1 && info.total_in_flight_messages == 1).await;
            consumer.ack(vec![ack_id(&taken[0])]).await;
            let said = until(&mut caller, of, |info| info.total_items == 2).await;
            assert_eq!((&*said.event_source, &*said.last_known_event_position), ("$ce-loan", "1"));
            delete(&mut caller, of).await.unwrap();
        }
        // From the second event of the category; from what comes next; not from beyond.
        for (number, outcome) in [(1, Ok("1")), (2, Ok("-1")), (3, Err(Code::Internal))] {
            let mut asked = creation(of, settings());
            let options = asked.options.as_mut().unwrap();
            options.stream_option = Some(StreamOption::Stream(create_req::StreamOptions {
                stream_identifier: identifier("$ce-loan"),
                revision_option: Some(create_req::stream_options::RevisionOption::Revision(number)),
            }));
            match outcome {
                Ok(start_from) => {
                    create(&mut caller, asked).await.unwrap();
                    assert_eq!(info(&mut caller, of).await.unwrap().start_from, start_from);
                    delete(&mut caller, of).await.unwrap();
                }
                Err(code) => assert_eq!(create(&mut caller, asked).await.unwrap_err().code(), code),
            }
        }
    });
}

#[test]
fn stored_links_lead_to_events_or_nowhere() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        caller.stored("loan-1", NO_STREAM, &[1]).await;
        let link = |id, body: &str| {
            let message = append_req::ProposedMessage {
                id: uuid(id),
                metadata: [("type", "$>"), ("content-type", "application/octet-stream")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
                custom_metadata: bytes::Bytes::new(),
                data: body.as_bytes().to_vec().into(),
            };
            streams::AppendReq { content: Some(append_req::Content::ProposedMessage(message)) }
        };
        let says = vec![options("links", Some(ANY)), link(11, "0@loan-1"), link(12, "9@loan-1")];
        let _: streams::AppendResp = caller.say("Append", says).await.unwrap();
        let of = Of::Stream("links");
        let resolving = create_req::Settings { resolve_links: true, ..settings() };
        create(&mut caller, creation(of, resolving)).await.unwrap();
        let mut consumer = Consumer::connect(&mut caller, of, 10).await.unwrap();
        let taken = consumer.take(2).await;
        assert_eq!(taken[0].event.as_ref().unwrap().id, uuid(1));
        assert_eq!(taken[0].link.as_ref().unwrap().id, uuid(11));
        assert_eq!((&taken[1].event, &taken[1].link.as_ref().unwrap().id), (&None, &uuid(12)));
        consumer.ack(taken.iter().map(ack_id).collect()).await;
        until(&mut caller, of, |info| info.total_items == 2).await;
    });
}

#[test]
fn the_whole_log_is_read_through_a_filter() {
    use create_req::all_options::{FilterOption, FilterOptions, filter_options};
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        caller.stored("loan-1", NO_STREAM, &[1]).await;
        caller.stored("user-1", NO_STREAM, &[2]).await;
        caller.stored("loan-2", NO_STREAM, &[3]).await;
        let mut asked = creation(Of::All, settings());
        let Some(StreamOption::All(all)) = &mut asked.options.as_mut().unwrap().stream_option else {
            unreachable!("it was just made so")
        };
        // What the clients send when nothing is said.
        let filtered = |filter| {
            Some(FilterOption::Filter(FilterOptions { filter: Some(filter), ..FilterOptions::default() }))
        };
        let expression =
            filter_options::Expression { regex: r"^(?!(\$.+$|user-))".to_owned(), prefix: Vec::new() };
        all.filter_option = filtered(filter_options::Filter::StreamIdentifier(expression));
        create(&mut caller, asked.clone()).await.unwrap();
        let mut consumer = Consumer::connect(&mut caller, Of::All, 10).await.unwrap();
        let taken = consumer.take(2).await;
        assert_eq!(
            taken.iter().map(|event| event.event.as_ref().unwrap().id.clone()).collect::<Vec<_>>(),
            [uuid(1), uuid(3)]
        );
        consumer.ack(taken.iter().map(ack_id).collect()).await;
        let said = until(&mut caller, Of::All, |info| info.total_items == 2).await;
        assert_eq!((&*said.event_source, &*said.start_from), ("$all", "C:0/P:0"));
        assert_eq!(said.last_known_event_position, "C:2/P:2");
        until(&mut caller, Of::All, |info| info.last_checkpointed_event_position == "C:2/P:2").await;
        delete(&mut caller, Of::All).await.unwrap();

        // A place there is not, and an expression that is none.
        let with = |change: &dyn Fn(&mut create_req::AllOptions)| {
            let mut asked = asked.clone();
            let Some(StreamOption::All(all)) = &mut asked.options.as_mut().unwrap().stream_option else {
                unreachable!("it was just made so")
            };
            change(all);
            asked
        };
        let beyond = with(&|all| {
            let at = create_req::Position { commit_position: 1_000, prepare_position: 1_000 };
            all.all_option = Some(create_req::all_options::AllOption::Position(at));
        });
        assert_eq!(create(&mut caller, beyond).await.unwrap_err().code(), Code::Internal);
        let broken = with(&|all| {
            let expression = filter_options::Expression { regex: "(".to_owned(), prefix: Vec::new() };
            all.filter_option = filtered(filter_options::Filter::EventType(expression));
        });
        assert_eq!(create(&mut caller, broken).await.unwrap_err().code(), Code::InvalidArgument);
    });
}

#[test]
fn a_change_a_deletion_and_a_restart_end_the_calls_of_consumers() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        let of = Of::Stream("loan-1");
        let ordered = create_req::Settings { consumer_strategy: "Ordered".to_owned(), ..settings() };
        create(&mut caller, creation(of, ordered)).await.unwrap();
        let mut consumer = Consumer::connect(&mut caller, of, 10).await.unwrap();
        let changed =
            create_req::Settings { max_retry_count: 7, consumer_strategy: String::new(), ..settings() };
        update(&mut caller, creation(of, changed)).await.unwrap();
        let dropped = with("persistent-subscription-dropped");
        assert_refused(consumer.next().await, Code::Cancelled, &dropped);
        let said = info(&mut caller, of).await.unwrap();
        assert_eq!((said.max_retry_count, &*said.named_consumer_strategy), (7, "Ordered"));

        let mut consumer = Consumer::connect(&mut caller, of, 10).await.unwrap();
        let _: Empty = caller.unary(method!("RestartSubsystem"), Empty {}).await.unwrap();
        assert_refused(consumer.next().await, Code::Cancelled, &dropped);

        let mut consumer = Consumer::connect(&mut caller, of, 10).await.unwrap();
        delete(&mut caller, of).await.unwrap();
        let missing = with("persistent-subscription-does-not-exist");
        assert_refused(consumer.next().await, Code::NotFound, &missing);

        // Who says that nothing more comes is let go.
        create(&mut caller, creation(of, settings())).await.unwrap();
        let Consumer { says, mut hears } = Consumer::connect(&mut caller, of, 10).await.unwrap();
        drop(says);
        assert!(soon(hears.message()).await.unwrap().is_none());
        until(&mut caller, of, |info| info.connections.is_empty()).await;
    });
}

#[test]
fn what_cannot_be_is_refused_as_clients_expect_it() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        let of = Of::Stream("loan-1");
        let missing = with("persistent-subscription-does-not-exist");
        assert_refused(info(&mut caller, of).await, Code::NotFound, &missing);
        assert_refused(delete(&mut caller, of).await, Code::NotFound, &missing);
        assert_refused(update(&mut caller, creation(of, settings())).await, Code::NotFound, &missing);
        assert_refused(replay(&mut caller, "loan-1", None).await, Code::NotFound, &missing);
        assert_refused(truncate(&mut caller, "loan-1", 1).await, Code::NotFound, &missing);
        let connected = Consumer::connect(&mut caller, of, 10).await.map(|_| ());
        assert_refused(connected, Code::NotFound, &missing);

        let one = create_req::Settings { max_subscriber_count: 1, ..settings() };
        create(&mut caller, creation(of, one.clone())).await.unwrap();
        let exists = with("persistent-subscription-exists");
        assert_refused(create(&mut caller, creation(of, one.clone())).await, Code::AlreadyExists, &exists);
        let _first = Consumer::connect(&mut caller, of, 10).await.unwrap();
        let second = Consumer::connect(&mut caller, of, 10).await.map(|_| ());
        let full = assert_refused(second, Code::FailedPrecondition, &with("maximum-subscribers-reached"));
        assert!(full.message().starts_with("Maximum subscriptions reached"), "{full:?}");

        let other = Of::Stream("loan-2");
        for broken in [
            create_req::Settings { read_batch_size: 500, ..settings() },
            create_req::Settings { consumer_strategy: "Any".to_owned(), ..settings() },
            create_req::Settings { max_retry_count: -1, ..settings() },
            create_req::Settings { live_buffer_size: i32::MAX, ..settings() },
        ] {
            let refused = create(&mut caller, creation(other, broken)).await.unwrap_err();
            assert_eq!(refused.code(), Code::Internal, "{refused:?}");
            let said = trailers(&refused);
            assert_eq!(
                (&*said["exception"], &*said["stream-name"]),
                ("persistent-subscription-failed", "loan-2")
            );
            assert!(!refused.metadata().get("reason").unwrap().is_empty());
        }
        for of in [Of::Stream("$streams"), Of::Stream("$idx-all")] {
            assert_eq!(
                create(&mut caller, creation(of, settings())).await.unwrap_err().code(),
                Code::Internal
            );
        }
        let nothing = create(&mut caller, CreateReq { options: None }).await;
        assert_eq!(nothing.unwrap_err().code(), Code::InvalidArgument);
    });
}

#[test]
fn groups_are_listed_all_or_by_what_they_read() {
    use wire::list_req::options::ListOption;
    use wire::list_req::{StreamOption as Of_, stream_option};
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        let all = || ListOption::ListAllSubscriptions(Empty {});
        let of = |option| ListOption::ListForStream(Of_ { stream_option: Some(option) });
        let stream = |name| of(stream_option::StreamOption::Stream(identifier(name).unwrap()));
        assert_eq!(list(&mut caller, all()).await.unwrap(), []);
        let none = list(&mut caller, stream("loan-1")).await.unwrap_err();
        assert_eq!(none.code(), Code::NotFound);
        assert_eq!(trailers(&none)["exception"], "persistent-subscription-does-not-exist");
        for source in [Of::All, Of::Stream("loan-1"), Of::Stream("$ce-loan"), Of::Stream("$et-Filled")] {
            create(&mut caller, creation(source, settings())).await.unwrap();
        }
        let sources = |listed: Vec<SubscriptionInfo>| {
            let mut sources: Vec<String> = listed.into_iter().map(|info| info.event_source).collect();
            sources.sort();
            sources
        };
        let listed = list(&mut caller, all()).await.unwrap();
        assert_eq!(sources(listed), ["$all", "$ce-loan", "$et-Filled", "loan-1"]);
        for name in ["loan-1", "$ce-loan", "$et-Filled"] {
            assert_eq!(sources(list(&mut caller, stream(name)).await.unwrap()), [name]);
        }
        let listed = list(&mut caller, of(stream_option::StreamOption::All(Empty {}))).await.unwrap();
        assert_eq!(sources(listed), ["$all"]);
    });
}

#[test]
fn a_consumer_that_speaks_out_of_turn_is_told_so_and_has_left() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        let of = Of::Stream("loan-1");
        create(&mut caller, creation(of, settings())).await.unwrap();
        let bad_id = Uuid { value: Some(shared::uuid::Value::String("seven".to_owned())) };
        let ack = read_req::Ack { ids: vec![bad_id], ..read_req::Ack::default() };
        let nack = read_req::Nack { action: 9, ..read_req::Nack::default() };
        let said = |content| ReadReq { content: Some(content) };
        let no_ids = {
            let ReadReq { content: Some(Content::Options(mut options)) } = reading(of, 1) else {
                unreachable!("it was just made so")
            };
            options.uuid_option = None;
            said(Content::Options(options))
        };
        for says in [
            vec![ReadReq { content: None }],
            vec![said(Content::Ack(ack.clone()))],
            vec![no_ids],
            vec![reading(of, 0)],
            vec![reading(of, -1)],
            vec![reading(of, 1), reading(of, 1)],
            vec![reading(of, 1), ReadReq { content: None }],
            vec![reading(of, 1), said(Content::Ack(ack))],
            vec![reading(of, 1), said(Content::Nack(nack))],
        ] {
            let outcome = caller.talk_after::<_, ReadResp>(method!("Read"), says.clone()).await;
            let ended = match outcome {
                Err(status) => status,
                Ok((_says, mut hears)) => loop {
                    match soon(hears.message()).await {
                        Ok(answer) => assert!(answer.is_some(), "{says:?}"),
                        Err(status) => break status,
                    }
                },
            };
            assert_eq!(ended.code(), Code::InvalidArgument, "{says:?}: {ended:?}");
            until(&mut caller, of, |info| info.connections.is_empty()).await;
        }
    });
}
