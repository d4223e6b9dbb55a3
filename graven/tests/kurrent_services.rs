//! The small services of KurrentDB's protocol: what a server has, which nodes there are, figures, scavenging, users.

mod support;

use graven_proto::kurrentdb::features::SupportedMethods;
use graven_proto::kurrentdb::gossip::ClusterInfo;
use graven_proto::kurrentdb::gossip::member_info::VNodeState;
use graven_proto::kurrentdb::monitoring::{StatsReq, StatsResp};
use graven_proto::kurrentdb::operations::scavenge_resp::ScavengeResult;
use graven_proto::kurrentdb::operations::{
    ScavengeResp, StartScavengeReq, StopScavengeReq, stop_scavenge_req,
};
use graven_proto::kurrentdb::projections::{CreateReq, CreateResp};
use graven_proto::kurrentdb::shared::{Empty, uuid};
use graven_proto::kurrentdb::users::{DeleteReq, DeleteResp, DetailsReq, DetailsResp, delete_req};
use prost::Message;
use support::Server;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

async fn connect(server: &Server) -> Grpc<Channel> {
    let channel = Endpoint::from_shared(server.url().to_owned()).unwrap().connect().await.unwrap();
    Grpc::new(channel)
}

/// A call of one answer.
async fn call<A: Message + 'static, B: Message + Default + 'static>(
    client: &mut Grpc<Channel>,
    path: &'static str,
    asked: A,
) -> Result<B, Status> {
    client.ready().await.unwrap();
    let codec = ProstCodec::<A, B>::default();
    Ok(client.unary(Request::new(asked), PathAndQuery::from_static(path), codec).await?.into_inner())
}

/// A call of many answers.
async fn stream<A: Message + 'static, B: Message + Default + 'static>(
    client: &mut Grpc<Channel>,
    path: &'static str,
    asked: A,
) -> Result<Streaming<B>, Status> {
    client.ready().await.unwrap();
    let codec = ProstCodec::<A, B>::default();
    let path = PathAndQuery::from_static(path);
    Ok(client.server_streaming(Request::new(asked), path, codec).await?.into_inner())
}

fn exception(status: &Status) -> &str {
    status.metadata().get("exception").unwrap().to_str().unwrap()
}

#[tokio::test]
async fn a_server_lists_what_it_has_and_answers_all_of_it() {
    let server = Server::start();
    let mut client = connect(&server).await;
    let path = "/event_store.client.server_features.ServerFeatures/GetSupportedMethods";
    let listed: SupportedMethods = call(&mut client, path, Empty {}).await.unwrap();
    assert_eq!(listed.event_store_server_version, "26.1.0");
    let named = |service: &str, method: &str| {
        listed.methods.iter().find(|one| one.service_name == service && one.method_name == method)
    };
    assert_eq!(named("event_store.client.streams.streams", "read").unwrap().features, ["position", "events"]);
    assert!(named("event_store.client.gossip.gossip", "read").is_some());
    assert!(listed.methods.iter().all(|one| !one.service_name.contains("projections")));
}

#[tokio::test]
async fn gossip_names_the_node_as_it_was_asked_for() {
    let server = Server::start();
    let port: u32 = server.address().rsplit(':').next().unwrap().parse().unwrap();
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{port}");
        let mut client = Grpc::new(Endpoint::from_shared(url).unwrap().connect().await.unwrap());
        let path = "/event_store.client.gossip.Gossip/Read";
        let told: ClusterInfo = call(&mut client, path, Empty {}).await.unwrap();
        let [member] = &told.members[..] else { panic!("{told:?}") };
        let end_point = member.http_end_point.as_ref().unwrap();
        assert_eq!((&end_point.address[..], end_point.port), (host, port));
        assert_eq!(member.state(), VNodeState::Leader);
        assert!(member.is_alive && member.time_stamp > 16_000_000_000_000_000, "{member:?}");
        let id = member.instance_id.as_ref().unwrap().value.clone();
        assert!(matches!(id, Some(uuid::Value::Structured(_))));
        // The same node, asked again.
        let again: ClusterInfo = call(&mut client, path, Empty {}).await.unwrap();
        assert_eq!(again.members[0].instance_id.as_ref().unwrap().value, id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_come_again_and_again_until_nobody_wants_them() {
    let server = Server::start();
    server.client().append_one("s", "A");
    let mut client = connect(&server).await;
    let path = "/event_store.client.monitoring.Monitoring/Stats";
    let asked = StatsReq { refresh_time_period_in_ms: 100, ..StatsReq::default() };
    let mut figures: Streaming<StatsResp> = stream(&mut client, path, asked).await.unwrap();
    for _ in 0..3 {
        let told = figures.message().await.unwrap().unwrap().stats;
        let figure = |name: &str| told[name].parse::<u64>().unwrap();
        assert_eq!(figure("proc-id"), u64::from(server.id()));
        assert_eq!((figure("es-user-events"), figure("es-user-streams")), (1, 1));
        assert!(figure("proc-mem") > 1 << 20 && figure("sys-freeMem") > 1 << 20);
    }
    drop(figures);
    assert!(server.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scavenge_runs_by_itself_and_one_that_does_not_run_cannot_be_stopped() {
    let server = Server::start();
    let mut client = connect(&server).await;
    let path = "/event_store.client.operations.Operations/StartScavenge";
    let begun: ScavengeResp = call(&mut client, path, StartScavengeReq::default()).await.unwrap();
    assert_eq!(begun.scavenge_result(), ScavengeResult::Started);
    assert_eq!(begun.scavenge_id.len(), 36);
    let path = "/event_store.client.operations.Operations/StopScavenge";
    let options = stop_scavenge_req::Options { scavenge_id: "nobody".to_owned() };
    let asked = StopScavengeReq { options: Some(options) };
    let refused = call::<_, ScavengeResp>(&mut client, path, asked).await.unwrap_err();
    assert_eq!((refused.code(), exception(&refused)), (Code::NotFound, "scavenge-not-found"));
    assert_eq!(refused.metadata().get("scavenge-id").unwrap(), "nobody");
    assert!(server.stop().success());
}

#[tokio::test]
async fn what_is_not_done_over_the_network_is_refused_in_plain_words() {
    let server = Server::start();
    let mut client = connect(&server).await;
    for (path, why) in [
        ("/event_store.client.operations.Operations/Shutdown", "end its process"),
        ("/event_store.client.operations.Operations/ResignNode", "take over"),
        ("/event_store.client.operations.Operations/Nothing", "does not have the method"),
    ] {
        let refused = call::<_, Empty>(&mut client, path, Empty {}).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented, "{path}");
        assert!(refused.message().contains(why), "{path}: {}", refused.message());
    }
    let path = "/event_store.client.projections.Projections/Create";
    let refused = call::<_, CreateResp>(&mut client, path, CreateReq::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().starts_with("projections do not run in this server"));
    let path = "/event_store.client.operations.Operations/MergeIndexes";
    call::<_, Empty>(&mut client, path, Empty {}).await.unwrap();
    assert_eq!(server.client().get("/health/live").status, 204);
}

#[tokio::test]
async fn there_are_no_users() {
    let server = Server::start();
    let mut client = connect(&server).await;
    let path = "/event_store.client.users.Users/Details";
    let mut all: Streaming<DetailsResp> = stream(&mut client, path, DetailsReq::default()).await.unwrap();
    assert!(all.message().await.unwrap().is_none());
    let path = "/event_store.client.users.Users/Delete";
    let asked = DeleteReq { options: Some(delete_req::Options { login_name: "ouro".to_owned() }) };
    let refused = call::<_, DeleteResp>(&mut client, path, asked).await.unwrap_err();
    assert_eq!((refused.code(), exception(&refused)), (Code::NotFound, "user-not-found"));
    assert_eq!(refused.metadata().get("login-name").unwrap(), "ouro");
}
