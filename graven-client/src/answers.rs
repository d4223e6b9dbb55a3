//! The calls whose answers are decoded straight into the words of the model, with no message of the generated client in
//! between.

use graven_model::{FollowStep, Page};
use graven_proto::codec::{self, Answers};
use graven_proto::{SERVICE, wire};
use tonic::client::Grpc;
use tonic::codec::Codec;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{IntoRequest as _, Response, Status, Streaming};

type Called<A> = Result<Response<Streaming<A>>, Status>;

/// Calls `Read`.
pub(crate) async fn pages(channel: Channel, request: wire::ReadRequest) -> Called<Page> {
    call(channel, "Read", request, codec::pages()).await
}

/// Calls `Subscribe`.
pub(crate) async fn steps(channel: Channel, request: wire::SubscribeRequest) -> Called<FollowStep> {
    call(channel, "Subscribe", request, codec::steps()).await
}

async fn call<Q, A>(channel: Channel, method: &str, request: Q, codec: Answers<Q, A>) -> Called<A>
where
    Q: Send + Sync + 'static,
    A: Send + Sync + 'static,
    Answers<Q, A>: Codec<Encode = Q, Decode = A>,
{
    let (mut service, path) = ready(channel, method).await?;
    service.server_streaming(request.into_request(), path, codec).await
}

/// A service that takes a call of this method.
pub(crate) async fn ready(channel: Channel, method: &str) -> Result<(Grpc<Channel>, PathAndQuery), Status> {
    let mut service = Grpc::new(channel).max_decoding_message_size(usize::MAX);
    service.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let path = PathAndQuery::try_from(format!("/{SERVICE}/{method}")).expect("a path");
    Ok((service, path))
}
