//! Reads through the protocol of KurrentDB's clients, as its messages.
#![allow(dead_code, reason = "each test file uses a part")]

use crate::grpc_support::soon;
use crate::support::Server;
use graven_proto::kurrentdb::shared::{Empty, StreamIdentifier};
use graven_proto::kurrentdb::streams::read_req::Options;
use graven_proto::kurrentdb::streams::read_req::options::all_options::AllOption;
use graven_proto::kurrentdb::streams::read_req::options::filter_options::{Expression, Filter, Window};
use graven_proto::kurrentdb::streams::read_req::options::stream_options::RevisionOption;
use graven_proto::kurrentdb::streams::read_req::options::{
    AllOptions, ControlOption, CountOption, FilterOption, FilterOptions, Position, StreamOption,
    StreamOptions, SubscriptionOptions, UuidOption, uuid_option,
};
use graven_proto::kurrentdb::streams::read_resp::read_event::RecordedEvent;
use graven_proto::kurrentdb::streams::read_resp::{Content, ReadEvent};
use graven_proto::kurrentdb::streams::{ReadReq, ReadResp};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

pub(crate) const QUIET: [&str; 4] =
    ["--set", "audit.checkpoint_interval=0", "--set", "audit.seal_interval=0"];
pub(crate) const EMPTY: Empty = Empty {};
pub(crate) const START: RevisionOption = RevisionOption::Start(EMPTY);
pub(crate) const END: RevisionOption = RevisionOption::End(EMPTY);

pub(crate) async fn connect_kurrent(server: &Server) -> Grpc<Channel> {
    let channel = Endpoint::from_shared(server.url().to_owned()).unwrap().connect().await.unwrap();
    Grpc::new(channel)
}

/// Options of a read of everything, forwards.
fn options(what: StreamOption) -> Options {
    Options {
        stream_option: Some(what),
        count_option: Some(CountOption::Count(i64::MAX as u64)),
        filter_option: Some(FilterOption::NoFilter(EMPTY)),
        uuid_option: Some(UuidOption { content: Some(uuid_option::Content::String(EMPTY)) }),
        ..Options::default()
    }
}

pub(crate) fn stream(name: &str, from: RevisionOption) -> Options {
    let identifier = StreamIdentifier { stream_name: name.as_bytes().to_vec().into() };
    options(StreamOption::Stream(StreamOptions {
        stream_identifier: Some(identifier),
        revision_option: Some(from),
    }))
}

pub(crate) fn all(from: AllOption) -> Options {
    options(StreamOption::All(AllOptions { all_option: Some(from) }))
}

pub(crate) fn at(position: u64) -> AllOption {
    AllOption::Position(Position { commit_position: position, prepare_position: position })
}

pub(crate) fn count(count: u64, options: Options) -> Options {
    Options { count_option: Some(CountOption::Count(count)), ..options }
}

pub(crate) fn backwards(options: Options) -> Options {
    Options { read_direction: 1, ..options }
}

pub(crate) fn resolving(options: Options) -> Options {
    Options { resolve_links: true, ..options }
}

pub(crate) fn telling_ends(options: Options) -> Options {
    Options { control_option: Some(ControlOption { compatibility: 1 }), ..options }
}

pub(crate) fn subscribing(options: Options) -> Options {
    Options { count_option: Some(CountOption::Subscription(SubscriptionOptions {})), ..options }
}

pub(crate) fn by_regex(regex: &str) -> Expression {
    Expression { regex: regex.to_owned(), prefix: Vec::new() }
}

pub(crate) fn by_prefix(prefix: &str) -> Expression {
    Expression { regex: String::new(), prefix: vec![prefix.to_owned()] }
}

/// Through a filter, with a checkpoint after every ten events.
pub(crate) fn filtered(filter: Filter, options: Options) -> Options {
    let filter = FilterOptions {
        checkpoint_interval_multiplier: 2,
        filter: Some(filter),
        window: Some(Window::Max(5)),
    };
    Options { filter_option: Some(FilterOption::Filter(filter)), ..options }
}

pub(crate) async fn open(
    client: &mut Grpc<Channel>,
    options: Options,
) -> Result<Streaming<ReadResp>, Status> {
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/event_store.client.streams.Streams/Read");
    let asked = Request::new(ReadReq { options: Some(options) });
    Ok(client.server_streaming(asked, path, ProstCodec::<ReadReq, ReadResp>::default()).await?.into_inner())
}

/// The next message of an answer.
pub(crate) async fn next(answer: &mut Streaming<ReadResp>) -> Result<Content, Status> {
    let message = soon(answer.message()).await?.expect("the answer goes on");
    Ok(message.content.expect("a message says something"))
}

/// Everything an answer says.
pub(crate) async fn read(client: &mut Grpc<Channel>, options: Options) -> Result<Vec<Content>, Status> {
    let mut answer = open(client, options).await?;
    let mut contents = Vec::new();
    while let Some(message) = soon(answer.message()).await? {
        contents.push(message.content.expect("a message says something"));
    }
    Ok(contents)
}

pub(crate) fn event(content: &Content) -> &ReadEvent {
    match content {
        Content::Event(event) => event,
        other => panic!("an event, not {other:?}"),
    }
}

/// The events of an answer that says nothing else.
pub(crate) async fn events(client: &mut Grpc<Channel>, options: Options) -> Vec<ReadEvent> {
    read(client, options).await.unwrap().iter().map(|content| event(content).clone()).collect()
}

/// `<revision>@<stream>` of an event.
pub(crate) fn place(event: &RecordedEvent) -> String {
    let name = &event.stream_identifier.as_ref().unwrap().stream_name;
    format!("{}@{}", event.stream_revision, std::str::from_utf8(name).unwrap())
}

/// [`place`] of the events of an answer.
pub(crate) async fn places(client: &mut Grpc<Channel>, options: Options) -> Vec<String> {
    events(client, options).await.iter().map(|event| place(event.event.as_ref().unwrap())).collect()
}

/// Positions of the events of an answer.
pub(crate) async fn positions(client: &mut Grpc<Channel>, options: Options) -> Vec<u64> {
    events(client, options).await.iter().map(|event| event.event.as_ref().unwrap().commit_position).collect()
}

pub(crate) fn exception(status: &Status) -> &str {
    status.metadata().get("exception").map_or("", |value| value.to_str().unwrap())
}
