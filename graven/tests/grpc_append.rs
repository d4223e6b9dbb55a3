//! Appends over gRPC: one by one, and in sessions.

mod grpc_support;
mod support;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use grpc_support::{Session, append, connect, event, fill, model, new_id, read_stream, refused, soon, wire};
use model::error::Details;
use model::{Code, Expected, Position, Query, Receipt, Revision, StreamState};
use std::time::{Duration, Instant};
use support::Server;
use tonic::IntoStreamingRequest as _;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

#[tokio::test]
async fn an_append_is_durable_and_a_retry_gets_its_receipt() {
    let server = Server::start();
    let mut client = connect(&server).await;
    let mut whole = event("Opened", "{\"a\":1}");
    whole.tags = vec!["t:1".to_owned()];
    whole.metadata = Bytes::from_static(b"{\"m\":1}");
    whole.occurred_at = Some(1_317_422_324_546_000);
    whole.data_subject = Some("ada".to_owned());
    let binary = wire::NewEvent {
        content_type: "application/octet-stream".to_owned(),
        data: Bytes::from_static(&[0, 255]),
        encrypted: true,
        ..event("Bytes", "")
    };
    let request = append("s", Expected::NoStream, vec![whole.clone(), binary.clone()]);
    let first: Receipt = client.append(request.clone()).await.unwrap().into_inner().try_into().unwrap();
    assert_eq!((first.first_position, first.last_position), (Position(0), Some(Position(1))));
    assert_eq!((first.appended, first.duplicates, first.streams[0].revision), (2, 0, Some(Revision(1))));
    let again: Receipt = client.append(request).await.unwrap().into_inner().try_into().unwrap();
    assert_eq!((again.appended, again.duplicates, again.last_position), (0, 2, Some(Position(1))));
    let page = grpc_support::all(client.read(read_stream("s")).await.unwrap().into_inner()).await;
    let [one, two] = &page[0].events[..] else { panic!("two events") };
    assert_eq!((&one.id, &one.data, &one.metadata), (&whole.id, &whole.data, &whole.metadata));
    assert_eq!((&one.tags, one.occurred_at), (&whole.tags, whole.occurred_at));
    assert_eq!((&one.data_subject, one.committed_at), (&whole.data_subject, first.committed_at.micros()));
    assert_eq!(
        (&two.data, &*two.content_type, two.encrypted),
        (&binary.data, "application/octet-stream", true)
    );
    let metrics = server.client().get("/metrics").text().to_owned();
    assert!(metrics.contains("graven_append_events_total 2\n"), "{metrics}");
    assert!(metrics.contains("route=\"/graven.v1.EventStore/Append\""), "{metrics}");
}

#[tokio::test]
async fn a_conflict_says_what_is_there_and_what_was_not_seen() {
    let server = Server::start();
    let mut client = connect(&server).await;
    fill(&mut client, "s", 3).await;
    let mut request = append("s", Expected::Revision(Revision(0)), vec![event("Late", "{}")]);
    request.unseen_max = 10;
    let error = refused(client.append(request.clone()).await);
    assert_eq!(error.code, Code::WrongExpectedRevision);
    let Details::FailedChecks(checks) = &error.details else { panic!("{error:?}") };
    assert_eq!(checks[0].actual, StreamState::At(Revision(2)));
    assert_eq!(checks[0].expected, Expected::Revision(Revision(0)));
    let unseen: Vec<u64> = checks[0].unseen.iter().map(|event| event.revision.0).collect();
    assert_eq!(unseen, [1, 2]);
    // A session answers the same, and goes on.
    let mut session = Session::open(&mut client).await;
    session.send(1, request).await;
    let (_, outcome) = session.next().await;
    assert_eq!(outcome.unwrap_err(), error);
}

#[tokio::test]
async fn a_failed_condition_names_the_event_that_matches() {
    let server = Server::start();
    let mut client = connect(&server).await;
    fill(&mut client, "a", 2).await;
    let mut request = append("b", Expected::Any, vec![event("X", "{}")]);
    let query = Query::item(["Filled"], [""; 0]);
    request.condition = Some((&model::Condition { query: query.clone(), after: None }).into());
    let error = refused(client.append(request.clone()).await);
    assert_eq!((error.code, error.details), (Code::ConditionFailed, Details::ConditionMatch(Position(0))));
    request.condition = Some((&model::Condition { query, after: Some(Position(1)) }).into());
    client.append(request).await.unwrap();
}

#[tokio::test]
async fn what_is_malformed_is_refused_by_name() {
    let server = Server::start();
    let mut client = connect(&server).await;
    let ok = || event("T", "{}");
    let short = wire::NewEvent { id: Bytes::from_static(b"x"), ..ok() };
    let stray = wire::NewEvent { stream: 7, ..ok() };
    let tagged = wire::NewEvent { tags: vec![String::new()], ..ok() };
    let huge = wire::NewEvent { data: vec![b'1'; 17 << 20].into(), ..ok() };
    let mut reckless = append("s", Expected::Any, vec![ok()]);
    reckless.idempotency = 9;
    let cases = [
        (append("", Expected::Any, vec![ok()]), Code::InvalidStreamName),
        (append("s", Expected::Any, vec![short]), Code::InvalidEventId),
        (append("s", Expected::Any, vec![stray]), Code::InvalidAppend),
        (append("s", Expected::Any, vec![event("", "{}")]), Code::InvalidEventType),
        (append("s", Expected::Any, vec![tagged]), Code::InvalidTag),
        (append("s", Expected::Any, vec![huge]), Code::EventTooLarge),
        (append("s", Expected::Exists, vec![ok()]), Code::WrongExpectedRevision),
        (wire::AppendRequest::default(), Code::InvalidAppend),
        (reckless, Code::BadRequest),
    ];
    for (request, code) in cases {
        assert_eq!(refused(client.append(request).await).code, code);
    }
    let info = client.info(wire::InfoRequest::default()).await.unwrap().into_inner();
    assert_eq!(info.head, 0, "what was refused left nothing");
    let metrics = server.client().get("/metrics").text().to_owned();
    assert!(metrics.contains("graven_http_refusals_total{code=\"GRV-1100\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_message_over_the_bound_is_refused_before_it_is_read() {
    let server = Server::start();
    let mut client = connect(&server).await;
    let large = wire::NewEvent { data: vec![b' '; 97 << 20].into(), ..event("Large", "") };
    let error = refused(client.append(append("s", Expected::Any, vec![large.clone()])).await);
    assert_eq!(error.code, Code::BodyTooLarge);
    let mut session = Session::open(&mut client).await;
    session.send(1, append("s", Expected::Any, vec![event("Small", "{}")])).await;
    session.send(2, append("s", Expected::Any, vec![large])).await;
    let (correlation, outcome) = session.next().await;
    assert_eq!((correlation, outcome.unwrap().appended), (1, 1));
    assert_eq!(refused(soon(session.answers.message()).await).code, Code::BodyTooLarge);
}

#[tokio::test]
async fn a_session_answers_in_order_and_goes_on_after_a_refusal() {
    let server = Server::start();
    let mut client = connect(&server).await;
    let mut session = Session::open(&mut client).await;
    for number in 0..2_000u64 {
        // Large ones are parsed elsewhere and must not be overtaken.
        let data = if number % 500 == 250 { "7".repeat(100_000) } else { number.to_string() };
        let expected = match number {
            1_000 => Expected::NoStream,
            0 => Expected::NoStream,
            number if number > 1_000 => Expected::Revision(Revision(number - 2)),
            number => Expected::Revision(Revision(number - 1)),
        };
        session.send(number, append("s", expected, vec![event("T", &data)])).await;
    }
    for number in 0..2_000 {
        let (correlation, outcome) = session.next().await;
        assert_eq!(correlation, number);
        match outcome {
            Ok(receipt) => {
                let revision = if number > 1_000 { number - 1 } else { number };
                assert_eq!(receipt.streams[0].revision, Some(Revision(revision)));
            }
            Err(error) => assert_eq!((number, error.code), (1_000, Code::WrongExpectedRevision)),
        }
    }
    session.finish();
    assert!(soon(session.answers.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_whose_client_has_said_all_still_answers_all() {
    let server = Server::start();
    let mut client = connect(&server).await;
    let mut session = Session::open(&mut client).await;
    let id = new_id();
    let repeated = wire::NewEvent { id, ..event("T", "{}") };
    for number in 0..100 {
        session.send(number, append("s", Expected::Any, vec![repeated.clone()])).await;
    }
    session.finish();
    let (_, first) = session.next().await;
    let first = first.unwrap();
    for number in 1..100 {
        let (correlation, receipt) = session.next().await;
        let receipt = receipt.unwrap();
        assert_eq!((correlation, receipt.appended, receipt.duplicates), (number, 0, 1));
        assert_eq!(receipt.last_position, first.last_position);
    }
    assert!(soon(session.answers.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn an_empty_session_and_an_empty_request_in_one_are_no_harm() {
    let server = Server::start();
    let mut client = connect(&server).await;
    let mut session = Session::open(&mut client).await;
    session
        .input
        .as_ref()
        .unwrap()
        .send(wire::SessionRequest { append: None, correlation: 3 })
        .await
        .unwrap();
    let (correlation, outcome) = session.next().await;
    assert_eq!((correlation, outcome.unwrap_err().code), (3, Code::InvalidAppend));
    session.finish();
    assert!(soon(session.answers.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_server_that_stops_tells_a_session_every_outcome() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut server = Server::start_in(&data, &[]);
    let mut client = connect(&server).await;
    let mut session = Session::open(&mut client).await;
    for number in 0..500 {
        session.send(number, append("s", Expected::Any, vec![event("T", "{}")])).await;
    }
    session.next().await.1.unwrap();
    server.terminate();
    let mut answered = 1;
    let end = loop {
        match soon(session.answers.message()).await {
            Ok(Some(answer)) => {
                assert_eq!(answer.correlation, answered);
                assert!(matches!(answer.outcome, Some(wire::session_response::Outcome::Receipt(_))));
                answered += 1;
            }
            end => break end,
        }
    };
    let error = refused(end);
    assert_eq!(error.code, Code::Unavailable);
    assert!(server.wait().success());
    let server = Server::start_in(&data, &[]);
    let mut client = connect(&server).await;
    let stats = client.stats(wire::StatsRequest::default()).await.unwrap().into_inner();
    let events = stats.user.unwrap().events;
    assert_eq!(events, answered, "all that was taken in was answered, and nothing else is there");
}

#[tokio::test]
async fn a_deadline_ends_a_call() {
    let server = Server::start();
    let mut client = connect(&server).await;
    let mut request = tonic::Request::new(wire::SubscribeRequest {
        selector: grpc_support::select(model::Selector::All),
        ..wire::SubscribeRequest::default()
    });
    request.metadata_mut().insert("grpc-timeout", "50m".parse().unwrap());
    let mut steps = client.subscribe(request).await.unwrap().into_inner();
    soon(steps.message()).await.unwrap().expect("caught up");
    assert_eq!(refused(soon(steps.message()).await).code, Code::Timeout);
}

/// An answer that overtakes the end of its call makes the server reset the stream; after a thousand of these it would take
/// the client for an attacker and close the connection.
#[tokio::test]
async fn a_call_is_answered_after_its_end() {
    const LATE: Duration = Duration::from_millis(200);
    let server = Server::start();
    let channel = Endpoint::from_shared(server.url().to_owned()).unwrap().connect().await.unwrap();
    let request = append("s", Expected::Any, vec![event("T", "1")]);
    let late_end = stream::once(tokio::time::sleep(LATE)).filter_map(async |()| None);
    let messages = stream::iter([request]).chain(late_end);
    let begun = Instant::now();
    let answer = client_streaming(channel, messages).await;
    assert_eq!(answer.unwrap().into_inner().appended, 1);
    assert!(begun.elapsed() >= LATE);
}

#[tokio::test]
async fn a_call_of_one_message_with_two_is_refused_and_stores_nothing() {
    let server = Server::start();
    let mut client = connect(&server).await;
    let channel = Endpoint::from_shared(server.url().to_owned()).unwrap().connect().await.unwrap();
    let request = append("s", Expected::Any, vec![event("T", "1")]);
    let answer = client_streaming(channel, stream::iter([request.clone(), request])).await;
    assert_eq!(refused(answer).code, Code::BadRequest);
    assert_eq!(client.info(wire::InfoRequest::default()).await.unwrap().into_inner().head, 0);
}

/// `Append`, as it would be called if it took many messages.
async fn client_streaming(
    channel: Channel,
    messages: impl Stream<Item = wire::AppendRequest> + Send + 'static,
) -> Result<tonic::Response<wire::Receipt>, tonic::Status> {
    let mut service = Grpc::new(channel);
    service.ready().await.unwrap();
    let path = PathAndQuery::from_static("/graven.v1.EventStore/Append");
    service.client_streaming(messages.into_streaming_request(), path, ProstCodec::default()).await
}
