//! Seals, whole streams, erasures, legal holds and verification over gRPC: with the Rust client, and by hand what it would not send.

mod support;

use graven_client::audit::{ErasureRequest, ErasureTarget, HoldOn, Verification, VerifyOptions};
use graven_client::model::{
    AppendRequest, Code, Error, EventId, Expected, NewEvent, Position, Revision, StreamName,
};
use graven_client::{Client, EventStore, Options, Pin};
use graven_proof::control::{HoldScope, Part};
use graven_proof::policy::Policy;
use graven_proto::wire::{self, event_store_client::EventStoreClient};
use std::time::Duration;
use support::{Server, run};
use tonic::transport::{Channel, Endpoint};

/// No seals by itself, so that a test says when.
fn start() -> Server {
    Server::start_with(&["--set", "audit.seal_interval=0"])
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

async fn append(client: &Client, name: &str, number: u8, subject: Option<&str>) -> Position {
    let mut event = NewEvent::json(EventId([number; 16]), "T", r#"{"secret":true}"#);
    event.metadata = br#"{"by":"test"}"#.as_slice().into();
    event.data_subject = subject.map(Into::into);
    let receipt = client.append(AppendRequest::to(stream(name), Expected::Any, [event])).await.unwrap();
    receipt.last_position.unwrap()
}

fn service(server: &Server) -> EventStoreClient<Channel> {
    EventStoreClient::new(Endpoint::from_shared(server.url().to_owned()).unwrap().connect_lazy())
}

fn code<T>(outcome: Result<T, Error>) -> Option<Code> {
    outcome.err().map(|error| error.code)
}

/// The code of a call by hand that was refused.
fn refused<T>(outcome: Result<T, tonic::Status>) -> Option<Code> {
    outcome.err().map(|status| graven_proto::status::to_error(&status).code)
}

fn erasure(request: &str, target: ErasureTarget) -> ErasureRequest {
    ErasureRequest {
        target,
        parts: Vec::new(),
        request: request.into(),
        basis: "gdpr-17".into(),
        decided_by: "dpo".into(),
        approved_by: None,
    }
}

async fn data_at(client: &Client, position: Position) -> (bool, usize) {
    let event = client.event_at(position).await.unwrap();
    (event.erased, event.event.data.len())
}

#[test]
fn a_stream_is_shown_to_be_whole_under_a_seal_and_a_pin() {
    let server = start();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        for number in 0..6 {
            append(&client, ["loan-1", "loan-2", "account-7"][usize::from(number) % 3], number, None).await;
        }
        assert_eq!(code(client.completeness(&stream("loan-1")).await), Some(Code::NotSealedYet));
        let (sealed, checkpoint) = client.seal().await.unwrap();
        assert_eq!((sealed.size, sealed.streams), (6, 3));
        assert!(checkpoint.unverified_head().size > sealed.position.0);
        assert_eq!(client.seal().await.unwrap().0, sealed, "nothing came since");

        let policy = Policy::operator_alone(client.verifier_keys().await.unwrap()).unwrap();
        let pin = Some(Pin::new(policy));
        let pinned = Options { pin, ..Options::default() }.connect(server.url()).await.unwrap();
        let whole = pinned.completeness(&stream("loan-1")).await.unwrap();
        assert_eq!(whole.seal, sealed);
        assert_eq!((whole.head.next_version, whole.head.first_position, whole.head.last_position), (2, 0, 3));
        assert_eq!(pinned.pinned().await.as_ref(), Some(whole.seal_proof.checkpoint()));

        append(&client, "newer", 9, None).await;
        assert_eq!(code(client.completeness(&stream("newer")).await), Some(Code::NotSealedYet));
        assert_eq!(code(client.completeness(&stream("nobody")).await), Some(Code::StreamNotFound));
        let nameless = wire::CompletenessRequest::default();
        assert_eq!(refused(service(&server).completeness(nameless).await), Some(Code::InvalidStreamName));

        // Whoever believes another key believes nothing of it.
        let other = Server::start();
        let keys = Client::connect(other.url()).await.unwrap().verifier_keys().await.unwrap();
        let pin = Some(Pin::new(Policy::operator_alone(keys).unwrap()));
        let foreign = Options { pin, ..Options::default() }.connect(server.url()).await.unwrap();
        assert_eq!(code(foreign.completeness(&stream("loan-1")).await), Some(Code::ProofInvalid));
        assert_eq!(code(foreign.seal().await), Some(Code::ProofInvalid));
    });
}

#[test]
fn an_erasure_is_counted_then_done_once_and_proofs_hold() {
    let server = start();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        let mut positions = Vec::new();
        for (number, name) in ["person-1", "person-1", "person-2", "order-1", "order-1"].iter().enumerate() {
            let subject = name.strip_prefix("person-").map(|number| format!("subject-{number}"));
            positions.push(append(&client, name, number as u8, subject.as_deref()).await);
        }
        let of_subject = erasure("r-1", ErasureTarget::Subject("subject-1".into()));
        let counted = client.erase(&of_subject, true).await.unwrap();
        assert_eq!((counted.events, counted.record), (2, None));
        assert!(!data_at(&client, positions[0]).await.0, "it was only counted");
        let erased = client.erase(&of_subject, false).await.unwrap();
        assert_eq!((erased.events, erased.repeated), (2, false));
        assert_eq!(data_at(&client, positions[1]).await, (true, 0));
        let again = client.erase(&of_subject, false).await.unwrap();
        assert_eq!((again.record, again.repeated), (erased.record, true));
        let record = client.inclusion(erased.record.unwrap()).await.unwrap();
        let policy = Policy::operator_alone(client.verifier_keys().await.unwrap()).unwrap();
        record.verify(&graven_proof::merkle::leaf_hash(record.extra().unwrap()), &policy).unwrap();

        let part = ErasureTarget::Stream { name: stream("order-1"), before: Some(Revision(1)) };
        assert_eq!(client.erase(&erasure("r-2", part), false).await.unwrap().events, 1);
        assert!(data_at(&client, positions[3]).await.0 && !data_at(&client, positions[4]).await.0);
        let metadata = ErasureRequest {
            parts: vec![Part::Metadata],
            ..erasure("r-3", ErasureTarget::Events(vec![positions[4]]))
        };
        assert_eq!(client.erase(&metadata, false).await.unwrap().events, 1);
        assert!(data_at(&client, positions[4]).await.1 > 0, "the data stays");
        assert!(!data_at(&client, positions[2]).await.0);

        let nobody = erasure("r-4", ErasureTarget::Subject("nobody".into()));
        assert_eq!(code(client.erase(&nobody, false).await), Some(Code::NothingToErase));
        let nowhere = erasure("r-5", ErasureTarget::Events(vec![Position(1_000)]));
        assert_eq!(code(client.erase(&nowhere, false).await), Some(Code::EventNotFound));
        let other = erasure("r-1", ErasureTarget::Events(vec![positions[2]]));
        assert_eq!(code(client.erase(&other, false).await), Some(Code::ErasureConflict));
        let unnamed = erasure("", ErasureTarget::Subject("subject-2".into()));
        assert_eq!(code(client.erase(&unnamed, false).await), Some(Code::InvalidErasure));
        let mut service = service(&server);
        let nothing = wire::EraseRequest { request: "r-6".into(), ..Default::default() };
        assert_eq!(refused(service.erase(nothing.clone()).await), Some(Code::BadRequest));
        let target = Some(wire::erase_request::Target::Subject("subject-2".into()));
        let strange = wire::EraseRequest { target, parts: vec![9], ..nothing };
        assert_eq!(refused(service.erase(strange).await), Some(Code::BadRequest));
    });
}

#[test]
fn a_legal_hold_blocks_erasing_and_scavenging_until_it_ends() {
    let server = start();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        for number in 0..4 {
            append(&client, "case-1", number, Some("subject-1")).await;
        }
        client.truncate_stream(&stream("case-1"), Revision(3)).await.unwrap();
        let on = HoldOn::Stream(stream("case-1"));
        let record = client.begin_hold("h 1", &on, "case-7", "counsel").await.unwrap();
        assert_eq!(client.event_at(record).await.unwrap().stream.as_str(), "$audit");
        let category = HoldOn::Category("case".into());
        assert_eq!(code(client.begin_hold("h 1", &category, "x", "y").await), Some(Code::HoldConflict));
        client.begin_hold("h 2", &category, "case-7", "counsel").await.unwrap();
        client.begin_hold("h 3", &HoldOn::Subject("subject-1".into()), "case-7", "counsel").await.unwrap();
        let holds = client.holds().await.unwrap();
        assert!(matches!(
            holds.iter().map(|hold| (&*hold.id, &hold.scope)).collect::<Vec<_>>()[..],
            [("h 1", HoldScope::Stream { .. }), ("h 2", HoldScope::Category { category }), ("h 3", HoldScope::Subject { .. })]
                if category == "case"
        ));
        assert_eq!((&*holds[0].reason, &*holds[0].decided_by), ("case-7", "counsel"));

        let whole = erasure("r-1", ErasureTarget::Stream { name: stream("case-1"), before: None });
        let error = client.erase(&whole, false).await.unwrap_err();
        assert!(error.code == Code::LegalHold && error.to_string().contains("h 1"), "{error}");
        let scavenged = client.scavenge(false).await.unwrap();
        assert_eq!((scavenged.events, scavenged.held), (0, 1));
        for id in ["h 1", "h 2", "h 3"] {
            client.end_hold(id, "settled", "counsel").await.unwrap();
        }
        assert_eq!(code(client.end_hold("h 1", "settled", "counsel").await), Some(Code::HoldConflict));
        assert_eq!(client.holds().await.unwrap(), []);
        let counted = client.scavenge(true).await.unwrap();
        assert_eq!((counted.events, counted.streams, counted.held), (3, 1, 0));
        assert!(counted.payload_bytes > 0);
        assert!(!data_at(&client, Position(0)).await.0, "it was only counted");
        assert_eq!(client.scavenge(false).await.unwrap().events, 3);
        assert_eq!(data_at(&client, Position(0)).await, (true, 0));
        assert_eq!(client.scavenge(false).await.unwrap().events, 0);
        client.erase(&whole, false).await.unwrap();

        let mut service = service(&server);
        let on_nothing = wire::BeginHoldRequest { id: "h 4".into(), ..Default::default() };
        assert_eq!(refused(service.begin_hold(on_nothing).await), Some(Code::BadRequest));
    });
}

async fn verified(client: &Client) -> Verification {
    loop {
        let standing = client.verification().await.unwrap();
        if standing.running.is_none() {
            return standing;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn a_verification_begins_and_its_report_is_there_when_it_ended() {
    let server = start();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        assert_eq!(client.verification().await.unwrap(), Verification { running: None, last: None });
        for number in 0..20 {
            append(&client, "a-1", number, None).await;
        }
        let older = client.checkpoint_at_least(20).await.unwrap();
        let begun = client.verify(&VerifyOptions::default()).await.unwrap();
        assert!(begun.running.is_some() || begun.last.is_some());
        let last = verified(&client).await.last.unwrap();
        assert!(last.begun_at <= last.ended_at);
        let report = last.outcome.unwrap();
        assert!(report.is_clean() && report.events >= 20, "{report:?}");

        let vkeys = client.verifier_keys().await.unwrap();
        let trusted = vec![older];
        let part = VerifyOptions { from: Some(5), to: Some(10), trusted, vkeys, ..VerifyOptions::default() };
        client.verify(&part).await.unwrap();
        let last = verified(&client).await.last.unwrap();
        assert_eq!(last.outcome.unwrap().checked, [5, 10]);

        // A checkpoint of another log: the verification does not come to its end, and says why.
        let other = Server::start();
        let foreign = Client::connect(other.url()).await.unwrap();
        append(&foreign, "b-1", 1, None).await;
        let trusted = vec![foreign.checkpoint_at_least(1).await.unwrap()];
        client.verify(&VerifyOptions { trusted, ..VerifyOptions::default() }).await.unwrap();
        assert_eq!(code(verified(&client).await.last.unwrap().outcome), Some(Code::BadRequest));

        let nowhere = VerifyOptions { from: Some(5), to: Some(5), ..VerifyOptions::default() };
        assert_eq!(code(client.verify(&nowhere).await), Some(Code::BadRequest));
        let mut service = service(&server);
        for strange in [
            wire::VerifyRequest { checkpoints: vec!["no note".into()], ..Default::default() },
            wire::VerifyRequest { vkeys: vec!["no key".into()], ..Default::default() },
            wire::VerifyRequest { vkeys: vec![String::new(); 10_000], ..Default::default() },
        ] {
            assert_eq!(refused(service.verify(strange).await), Some(Code::BadRequest));
        }
    });
}

#[test]
fn keys_are_rotated_retired_and_revoked_and_a_pin_follows() {
    let server = start();
    run(async {
        let client = Client::connect(server.url()).await.unwrap();
        append(&client, "a-1", 1, None).await;
        let older = client.checkpoint_at_least(1).await.unwrap();
        let first = client.keys().await.unwrap();
        assert!(first.len() == 1 && first[0].signs && first[0].added_at.is_none());
        let first = first[0].vkey.clone();
        let policy = Policy::operator_alone(vec![first.clone()]).unwrap();
        let pin = Some(Pin::at(policy, older));
        let pinned = Options { pin, ..Options::default() }.connect(server.url()).await.unwrap();

        let rotated = client.rotate_keys(true, None).await.unwrap();
        assert!(rotated.len() == 2 && rotated.iter().all(|key| key.signs), "{rotated:?}");
        let added = client.event_at(rotated[1].added_at.unwrap()).await.unwrap();
        assert_eq!(added.stream.as_str(), "$audit");
        let last = append(&client, "a-1", 2, None).await;
        pinned.checkpoint_at_least(last.0 + 1).await.expect("both sign");
        let retired = client.retire_key(first.id(), None).await.unwrap();
        assert!(!retired[0].signs && retired[0].valid_until.is_some() && retired[1].signs, "{retired:?}");
        assert!(client.retire_key(first.id(), None).await.is_err(), "it does not sign any more");
        let revoked = client.revoke_key(first.id(), 1, None).await.unwrap();
        assert_eq!(revoked[0].last_good, Some(1));
        assert_eq!(client.keys().await.unwrap(), revoked);
        assert_eq!(code(client.revoke_key(first.id(), 100_000, None).await), Some(Code::SizeNotReached));
        assert_eq!(code(client.rotate_keys(false, Some("no key")).await), Some(Code::BadRequest));
        let unnamed = wire::RetireKeyRequest { key: "xyz".into(), root_key: None };
        assert_eq!(refused(service(&server).retire_key(unnamed).await), Some(Code::BadRequest));
        assert_eq!(client.keys().await.unwrap(), revoked, "what was refused changed nothing");
    });
}
