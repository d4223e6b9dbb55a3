//! The audit trail over gRPC, by hand and with the Rust client and its pin.

mod support;

use graven_client::model::{AppendRequest, Code, EventId, Expected, NewEvent, Position, StreamName};
use graven_client::{Client, EventStore, Options, Pin};
use graven_proof::leaf::Leaf;
use graven_proof::merkle::leaf_hash;
use graven_proof::policy::Policy;
use support::{Server, run};

fn event(number: u8) -> NewEvent {
    NewEvent::json(EventId([number; 16]), "T", "{}")
}

fn append(events: impl IntoIterator<Item = NewEvent>) -> AppendRequest {
    AppendRequest::to(StreamName::new("a-1").unwrap(), Expected::Any, events)
}

async fn policy(client: &Client) -> Policy {
    Policy::operator_alone(client.verifier_keys().await.unwrap()).unwrap()
}

async fn pinned(server: &Server, pin: Pin) -> Client {
    Options { pin: Some(pin), ..Options::default() }.connect(server.url()).await.unwrap()
}

#[test]
fn an_append_is_proven_and_a_retry_too() {
    let server = Server::start();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let policy = policy(&client).await;
        for again in [false, true] {
            let (receipt, proof) = client.append_proven(append([event(1), event(2)])).await.unwrap();
            assert_eq!((receipt.already_done(), receipt.last_position), (again, Some(Position(1))));
            let proof = proof.unwrap();
            let leaf = proof.extra().unwrap();
            assert!(proof.verify(&leaf_hash(leaf), &policy).unwrap().head().size >= 2);
            assert_eq!(Leaf::decode(leaf).unwrap().event_id, [2; 16]);
            assert_eq!(client.leaf(Position(1)).await.unwrap(), leaf);
        }
        let only_checked = AppendRequest::default().check(StreamName::new("a-1").unwrap(), Expected::Exists);
        assert_eq!(client.append_proven(only_checked).await.unwrap().1, None);
        let refused = AppendRequest::to(StreamName::new("a-1").unwrap(), Expected::NoStream, [event(9)]);
        assert_eq!(client.append_proven(refused).await.unwrap_err().code, Code::WrongExpectedRevision);
    });
}

#[test]
fn proofs_over_grpc_hold_and_those_of_what_is_not_there_are_refused() {
    let server = Server::start();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let policy = policy(&client).await;
        client.append(append([event(1), event(2), event(3)])).await.unwrap();
        let older = client.checkpoint_at_least(3).await.unwrap();
        client.append(append([event(4)])).await.unwrap();
        let newer = client.checkpoint_at_least(4).await.unwrap();
        let (from, to) = (older.unverified_head(), newer.unverified_head());
        let proof = client.consistency(from.size, to.size).await.unwrap();
        newer.verify(&policy).unwrap().head().verify_consistency(&from, &proof).unwrap();
        assert_eq!(client.checkpoint_of(from.size).await.unwrap(), older);
        assert!(client.checkpoint().await.unwrap().unverified_head().size >= to.size);
        let proof = client.inclusion(Position(2)).await.unwrap();
        proof.verify(&leaf_hash(proof.extra().unwrap()), &policy).unwrap();

        let code = |error: graven_client::model::Error| error.code;
        assert_eq!(client.inclusion(Position(1_000)).await.map_err(code), Err(Code::SizeNotReached));
        assert_eq!(client.inclusion(Position(u64::MAX)).await.map_err(code), Err(Code::BadRequest));
        assert_eq!(client.checkpoint_at_least(u64::MAX).await.map_err(code), Err(Code::SizeNotReached));
        assert_eq!(client.checkpoint_of(1).await.map_err(code), Err(Code::NeverSigned));
        assert_eq!(client.consistency(0, 3).await.map_err(code), Err(Code::BadRequest));
        assert_eq!(client.consistency(3, 1_000).await.map_err(code), Err(Code::SizeNotReached));
        assert_eq!(client.leaf(Position(1_000)).await.map_err(code), Err(Code::SizeNotReached));
    });
}

#[test]
fn a_pinned_client_follows_a_log_over_restarts_and_refuses_another_history() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let yesterday = directory.path().join("yesterday");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        assert!(std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    };
    let server = Server::start_in(&data, &[]);
    let mut kept = None;
    let mut trusted = None;
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let trust = policy(&client).await;
        let client = pinned(&server, Pin::new(trust.clone())).await;
        assert_eq!(client.pinned().await, None);
        client.append_proven(append([event(1)])).await.unwrap();
        assert!(client.pinned().await.is_some());
        trusted = Some(trust);
    });
    assert!(server.stop().success());
    copy(&data, &yesterday);
    let trusted = trusted.unwrap();

    let server = Server::start_in(&data, &[]);
    run(async {
        let client = pinned(&server, Pin::new(trusted.clone())).await;
        for number in 2..9 {
            client.append_proven(append([event(number)])).await.unwrap();
        }
        // An older checkpoint of the same history is fine, and does not turn the pin back.
        let last = client.checkpoint().await.unwrap();
        let older = client.inclusion(Position(0)).await.unwrap();
        assert!(older.checkpoint().unverified_head().size <= last.unverified_head().size);
        kept = client.pinned().await;
        assert_eq!(kept, Some(last));
    });
    assert!(server.stop().success());
    std::fs::remove_dir_all(&data).unwrap();
    copy(&yesterday, &data);

    let server = Server::start_in(&data, &[]);
    run(async {
        let kept = kept.unwrap();
        let client = pinned(&server, Pin::at(trusted.clone(), kept.clone())).await;
        for number in 20..40 {
            client.append(append([event(number)])).await.unwrap();
        }
        let size = kept.unverified_head().size;
        let error = client.checkpoint_at_least(size + 1).await.unwrap_err();
        assert_eq!(error.code, Code::InconsistentHistory, "{error}");
        let error = client.inclusion(Position(15)).await.unwrap_err();
        assert_eq!(error.code, Code::InconsistentHistory, "{error}");
        assert_eq!(client.pinned().await, Some(kept), "what was seen stays");

        // Whoever believes another key believes nothing of it.
        let other = Server::start();
        let foreign = policy(&Client::connect(other.url()).await.unwrap()).await;
        let client = pinned(&server, Pin::new(foreign)).await;
        assert_eq!(client.checkpoint().await.unwrap_err().code, Code::ProofInvalid);
    });
}

#[test]
fn a_session_gives_no_proofs_and_says_so() {
    use futures_util::StreamExt as _;
    use graven_proto::wire::{self, event_store_client::EventStoreClient};
    let server = Server::start();
    run(async {
        let channel =
            tonic::transport::Endpoint::from_shared(server.url().to_owned()).unwrap().connect_lazy();
        let mut service = EventStoreClient::new(channel);
        let wanted = wire::AppendRequest { proof: true, ..(&append([event(1)])).into() };
        let plain = wire::AppendRequest::from(&append([event(2)]));
        let requests =
            [wanted, plain].map(|append| wire::SessionRequest { append: Some(append), correlation: 0 });
        let session = service.append_session(futures_util::stream::iter(requests)).await.unwrap();
        let answers: Vec<_> =
            session.into_inner().map(|answer| answer.unwrap().outcome.unwrap()).collect().await;
        let [wire::session_response::Outcome::Error(error), wire::session_response::Outcome::Receipt(_)] =
            &answers[..]
        else {
            panic!("{answers:?}")
        };
        assert_eq!(error.code, 1000, "{error:?}");
    });
}
