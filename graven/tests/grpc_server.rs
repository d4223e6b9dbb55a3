//! Streams and the store over gRPC, and what a gRPC server has to have: health, reflection, one port.

mod grpc_support;
mod support;

use bytes::Bytes;
use grpc_support::{all, append, connect, event, fill, model, read_stream, refused, soon, wire};
use model::{Code, Expected, Revision, StreamState};
use std::io::{Read, Write};
use support::Server;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

fn stream(stream: &str) -> wire::StreamRequest {
    wire::StreamRequest { stream: stream.to_owned(), min_position: None }
}

#[tokio::test]
async fn streams_are_listed_described_truncated_deleted_and_ended() {
    let server = Server::start();
    let mut client = connect(&server).await;
    for name in ["a-1", "a-2", "b-1"] {
        fill(&mut client, name, 3).await;
    }
    let page =
        |limit, after| wire::StreamsRequest { prefix: "a-".to_owned(), limit, after, ..Default::default() };
    let first = client.streams(page(1, None)).await.unwrap().into_inner();
    assert_eq!(first.streams[0].stream, "a-1");
    let second = client.streams(page(0, first.next)).await.unwrap().into_inner();
    assert_eq!((second.streams.len(), &*second.streams[0].stream, second.next), (1, "a-2", None));
    assert_eq!(refused(client.streams(page(1_000_000, None)).await).code, Code::InvalidLimit);

    let none = client.stream_metadata(stream("a-1")).await.unwrap().into_inner();
    assert_eq!((none.metadata, none.revision), (None, None));
    let set = |expected: Expected| wire::SetStreamMetadataRequest {
        stream: "a-1".to_owned(),
        expected: Some(expected.into()),
        metadata: Bytes::from_static(b"{\"owner\":\"x\"}"),
    };
    client.set_stream_metadata(set(Expected::NoStream)).await.unwrap();
    assert_eq!(
        refused(client.set_stream_metadata(set(Expected::NoStream)).await).code,
        Code::WrongExpectedRevision
    );
    let truncate = |before| wire::TruncateStreamRequest { stream: "a-1".to_owned(), before };
    client.truncate_stream(truncate(2)).await.unwrap();
    assert_eq!(refused(client.truncate_stream(truncate(99)).await).code, Code::BadRequest);
    let info = client.stream_info(stream("a-1")).await.unwrap().into_inner();
    assert_eq!((info.first_revision, info.last_revision), (Some(2), Some(2)));
    let metadata = client.stream_metadata(stream("a-1")).await.unwrap().into_inner();
    assert_eq!((metadata.metadata, metadata.revision), (info.metadata, Some(1)));

    let end = |name: &str, expected: Expected| wire::EndStreamRequest {
        stream: name.to_owned(),
        expected: Some(expected.into()),
    };
    let stale = client.delete_stream(end("a-1", Expected::Revision(Revision(0)))).await;
    assert_eq!(refused(stale).code, Code::WrongExpectedRevision);
    client.delete_stream(end("a-1", Expected::Revision(Revision(2)))).await.unwrap();
    assert_eq!(refused(client.read(read_stream("a-1")).await).code, Code::StreamDeleted);
    client.tombstone_stream(end("a-2", Expected::Any)).await.unwrap();
    let info = client.stream_info(stream("a-2")).await.unwrap().into_inner();
    assert_eq!(StreamState::try_from(info.state.unwrap()).unwrap(), StreamState::Tombstoned);
    let late = client.append(append("a-2", Expected::Any, vec![event("T", "{}")])).await;
    assert_eq!(refused(late).code, Code::StreamTombstoned);
    assert_eq!(refused(client.stream_info(stream("never")).await).code, Code::StreamNotFound);
}

#[tokio::test]
async fn the_store_tells_its_size_and_counts() {
    let server = Server::start();
    let mut client = connect(&server).await;
    fill(&mut client, "a-1", 3).await;
    let info = client.info(wire::InfoRequest::default()).await.unwrap().into_inner();
    let over_http = server.client().get("/v1/info").expect(200);
    assert_eq!((info.head, info.root.len()), (3, 32));
    assert_eq!(
        (&*info.log_id, &*info.version),
        (over_http["log_id"].as_str().unwrap(), env!("CARGO_PKG_VERSION"))
    );
    let stats = client.stats(wire::StatsRequest::default()).await.unwrap().into_inner();
    assert_eq!((stats.user.unwrap().events, stats.user_streams), (3, 1));
    assert_eq!((&*stats.categories[0].name, stats.categories[0].streams), ("a", 1));
    assert_eq!((&*stats.types[0].name, stats.types[0].counts.unwrap().events), ("Filled", 3));
}

#[tokio::test]
async fn both_protocols_are_spoken_on_one_port_at_a_time() {
    let server = Server::start();
    let mut client = connect(&server).await;
    fill(&mut client, "s", 1).await;
    server.client().get("/v1/streams/s").expect(200);
    // A request that comes byte by byte is HTTP/1 all the same, and so is one that begins like HTTP/2.
    for request in [
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "PRI * HTTP/1.1\r\nConnection: close\r\n\r\n",
    ] {
        let mut socket = server.client().socket();
        for byte in request.bytes() {
            // The server may have made up its mind already.
            if socket.write_all(&[byte]).is_err() {
                break;
            }
        }
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        assert!(answer.starts_with("HTTP/1.1 "), "{request:?}: {answer:?}");
    }
    fill(&mut client, "s", 1).await;
}

#[tokio::test]
async fn a_method_that_is_not_there_is_unimplemented() {
    let server = Server::start();
    let channel =
        tonic::transport::Endpoint::from_shared(server.url().to_owned()).unwrap().connect().await.unwrap();
    let mut raw = tonic::client::Grpc::new(channel);
    raw.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<wire::InfoRequest, wire::InfoResponse>::default();
    let path = PathAndQuery::from_static("/graven.v1.EventStore/Missing");
    let outcome = raw.unary(tonic::Request::new(wire::InfoRequest::default()), path, codec).await;
    assert_eq!(outcome.as_ref().unwrap_err().code(), tonic::Code::Unimplemented);
    assert_eq!(refused(outcome).code, Code::NotFound);
}

#[tokio::test]
async fn health_says_that_the_server_serves() {
    let server = Server::start();
    let channel =
        tonic::transport::Endpoint::from_shared(server.url().to_owned()).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    for service in ["", "graven.v1.EventStore"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut watched = health.watch(request.clone()).await.unwrap().into_inner();
        let serving = loop {
            let status = soon(watched.message()).await.unwrap().unwrap().status();
            if status != ServingStatus::ServiceUnknown {
                break status;
            }
        };
        assert_eq!(serving, ServingStatus::Serving);
        assert_eq!(health.check(request).await.unwrap().into_inner().status(), ServingStatus::Serving);
    }
}

#[tokio::test]
async fn reflection_describes_the_interface() {
    let server = Server::start();
    let channel =
        tonic::transport::Endpoint::from_shared(server.url().to_owned()).unwrap().connect().await.unwrap();
    let mut reflection = ServerReflectionClient::new(channel);
    let request = |ask| tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(ask),
    };
    let asked = [
        request(MessageRequest::ListServices(String::new())),
        request(MessageRequest::FileContainingSymbol("graven.v1.EventStore".to_owned())),
    ];
    let mut answers =
        reflection.server_reflection_info(futures_util::stream::iter(asked)).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        soon(answers.message()).await.unwrap().unwrap().message_response
    else {
        panic!("a list of services")
    };
    let names: Vec<&str> = list.service.iter().map(|service| &*service.name).collect();
    assert!(names.contains(&"graven.v1.EventStore") && names.contains(&"grpc.health.v1.Health"), "{names:?}");
    let Some(MessageResponse::FileDescriptorResponse(files)) =
        soon(answers.message()).await.unwrap().unwrap().message_response
    else {
        panic!("a file")
    };
    assert!(!files.file_descriptor_proto.is_empty());
}

#[tokio::test]
async fn connections_beyond_those_with_wide_windows_are_served_all_the_same() {
    let server = Server::start();
    let mut open = Vec::new();
    for _ in 0..260 {
        let mut client = connect(&server).await;
        client.info(wire::InfoRequest::default()).await.unwrap();
        open.push(client);
    }
    // Many windows' worth in one message.
    let large = event("Large", &format!("\"{}\"", "x".repeat(2 << 20)));
    let last = open.last_mut().unwrap();
    let receipt = soon(last.append(append("s", Expected::Any, vec![large]))).await.unwrap().into_inner();
    assert_eq!(receipt.appended, 1);
    let pages = all(last.read(read_stream("s")).await.unwrap().into_inner()).await;
    assert_eq!(pages.iter().map(|page| page.events.len()).sum::<usize>(), 1);
}
