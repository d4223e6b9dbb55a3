//! Nodes that share a journal, over gRPC.

mod grpc_support;
mod nodes_support;
mod support;

use graven_model::error::Details;
use graven_model::{Code, Expected};
use graven_proto::wire;
use grpc_support::{Session, append, connect, event, fill, refused, soon};
use nodes_support::Nodes;
use std::time::{Duration, Instant};
use support::run;

#[test]
fn appends_of_a_session_at_a_follower_are_each_told_who_writes() {
    let nodes = Nodes::new();
    let writer = nodes.start("writer", &[]);
    let follower = nodes.start("follower", &["--follow"]);
    run(async {
        let mut client = connect(&follower).await;
        let alone = refused(client.append(append("s", Expected::Any, vec![event("T", "{}")])).await);
        assert_eq!(alone.code, Code::NotTheWriter);
        assert_eq!(alone.details, Details::Writer(writer.url().to_owned()));
        let deletion = wire::EndStreamRequest { stream: "s".to_owned(), expected: None };
        assert_eq!(refused(client.delete_stream(deletion).await).code, Code::NotTheWriter);

        let mut session = Session::open(&mut client).await;
        for correlation in 0..500 {
            session.send(correlation, append("s", Expected::Any, vec![event("T", "{}")])).await;
        }
        for expected in 0..500 {
            let (correlation, outcome) = session.next().await;
            let error = outcome.unwrap_err();
            assert_eq!((correlation, error.code), (expected, Code::NotTheWriter));
            assert_eq!(error.details, Details::Writer(writer.url().to_owned()));
        }
        // It takes over: an append of this session must not overtake those that were refused.
        let done = follower.client().post("/v1/node/takeover", &serde_json::json!({}));
        assert_eq!(done.expect(200)["epoch"], 2);
        session.send(500, append("s", Expected::Any, vec![event("T", "{}")])).await;
        let ended = soon(session.answers.message()).await.unwrap_err();
        assert_eq!(graven_proto::status::to_error(&ended).code, Code::Unavailable);
        let mut session = Session::open(&mut client).await;
        session.send(0, append("s", Expected::Any, vec![event("T", "{}")])).await;
        // The nodes' keys come first.
        assert!(session.next().await.1.is_ok());
        session.finish();
    });
}

#[test]
fn a_node_says_where_it_stands_and_reads_wait_for_a_position() {
    let nodes = Nodes::new();
    let writer = nodes.start("writer", &[]);
    let follower = nodes.start("follower", &["--follow"]);
    run(async {
        let last = fill(&mut connect(&writer).await, "s", 10).await.last_position.unwrap().0;
        let mut client = connect(&follower).await;
        let info = client.info(wire::InfoRequest { min_position: Some(last) }).await.unwrap().into_inner();
        assert_eq!(info.head, last + 1);
        let node = client.node(wire::NodeRequest {}).await.unwrap().into_inner();
        assert_eq!((node.role(), node.epoch, node.head), (wire::NodeRole::Follower, 1, last + 1));
        assert_eq!((node.writer.as_str(), node.trouble), (writer.url(), None));

        // The caller's deadline is shorter than the server's patience.
        let begun = Instant::now();
        let mut hasty = tonic::Request::new(wire::ReadRequest {
            min_position: Some(1_000),
            ..grpc_support::read_stream("s")
        });
        hasty.set_timeout(Duration::from_millis(300));
        let status = client.read(hasty).await.map(|_| ()).unwrap_err();
        let code = graven_proto::status::to_error(&status).code;
        assert!(matches!(code, Code::NotYetThere | Code::Timeout), "{status:?}");
        assert!(begun.elapsed() < Duration::from_secs(4));
        let frames = wire::ReadFramesRequest { min_position: Some(1_000), ..Default::default() };
        let error = refused(client.read_frames(frames).await.map(|_| ()));
        assert_eq!((error.code, error.found.as_deref()), (Code::NotYetThere, Some("11 events")));
    });
}
