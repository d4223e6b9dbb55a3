//! What tests of the protocol of KurrentDB's clients share: its messages over a channel, without any of those clients.
#![allow(dead_code, unused_imports, reason = "each test file uses a part")]

pub(crate) use crate::support::{PATIENCE, Server};
pub(crate) use graven_proto::kurrentdb::{google, rpc, shared, streams, v2, v2_errors, well_known};

use futures_util::stream;
use prost::{Message, Name};
use shared::{Empty, StreamIdentifier, Uuid};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use streams::append_req::{self, Content, options::ExpectedStreamRevision};
use streams::{AppendReq, AppendResp, append_resp};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// A server whose positions are those of the test's own events.
pub(crate) fn start() -> Server {
    Server::start_with(&["--set", "audit.checkpoint_interval=0", "--set", "audit.seal_interval=0"])
}

/// A connection.
#[derive(Clone)]
pub(crate) struct Caller(Grpc<Channel>);

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it came in time")
}

fn path(method: &str) -> PathAndQuery {
    let service = match method {
        whole if whole.starts_with('/') => return whole.parse().unwrap(),
        "AppendSession" | "AppendRecords" => "kurrentdb.protocol.v2.streams.StreamsService",
        _ => "event_store.client.streams.Streams",
    };
    PathAndQuery::from_maybe_shared(format!("/{service}/{method}")).unwrap()
}

impl Caller {
    pub(crate) async fn connect(server: &Server) -> Caller {
        let channel = Endpoint::from_shared(server.url().to_owned()).unwrap().connect().await.unwrap();
        Caller(Grpc::new(channel).max_decoding_message_size(usize::MAX))
    }

    /// A call of one message and one answer.
    pub(crate) async fn unary<Q, A>(&mut self, method: &str, question: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.0.ready().await.unwrap();
        let codec = ProstCodec::<Q, A>::default();
        soon(self.0.unary(Request::new(question), path(method), codec)).await.map(tonic::Response::into_inner)
    }

    /// A call of many messages and one answer.
    pub(crate) async fn say<Q, A>(&mut self, method: &str, questions: Vec<Q>) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.0.ready().await.unwrap();
        let request = Request::new(stream::iter(questions));
        let codec = ProstCodec::<Q, A>::default();
        soon(self.0.client_streaming(request, path(method), codec)).await.map(tonic::Response::into_inner)
    }

    /// A call of many messages and many answers, which ends when the sender is dropped.
    pub(crate) async fn talk<Q, A>(&mut self, method: &str) -> (mpsc::Sender<Q>, Streaming<A>)
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.0.ready().await.unwrap();
        let (sender, receiver) = mpsc::channel(64);
        let questions = stream::unfold(receiver, |mut receiver: mpsc::Receiver<Q>| async {
            receiver.recv().await.map(|question| (question, receiver))
        });
        let codec = ProstCodec::<Q, A>::default();
        let answers = soon(self.0.streaming(Request::new(questions), path(method), codec)).await.unwrap();
        (sender, answers.into_inner())
    }

    /// [`Caller::talk`] whose first messages are said before there is an answer.
    pub(crate) async fn talk_after<Q, A>(
        &mut self,
        method: &str,
        first: Vec<Q>,
    ) -> Result<(mpsc::Sender<Q>, Streaming<A>), Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.0.ready().await.unwrap();
        let (sender, receiver) = mpsc::channel(64);
        for question in first {
            sender.send(question).await.unwrap();
        }
        let questions = stream::unfold(receiver, |mut receiver: mpsc::Receiver<Q>| async {
            receiver.recv().await.map(|question| (question, receiver))
        });
        let codec = ProstCodec::<Q, A>::default();
        let answers = soon(self.0.streaming(Request::new(questions), path(method), codec)).await?;
        Ok((sender, answers.into_inner()))
    }

    /// Appends small events with these ids, one way or the other.
    pub(crate) async fn append(
        &mut self,
        stream: &str,
        expected: ExpectedStreamRevision,
        ids: &[u64],
    ) -> Result<append_resp::Result, Status> {
        let mut messages = vec![options(stream, Some(expected))];
        messages.extend(ids.iter().map(|id| proposed(*id, "{}")));
        let answer: AppendResp = self.say("Append", messages).await?;
        Ok(answer.result.expect("an append has a result"))
    }

    /// [`Caller::append`] that goes through: its last revision and position.
    pub(crate) async fn stored(
        &mut self,
        stream: &str,
        expected: ExpectedStreamRevision,
        ids: &[u64],
    ) -> (Option<u64>, Option<u64>) {
        match self.append(stream, expected, ids).await.unwrap() {
            append_resp::Result::Success(success) => place(&success),
            other => panic!("{other:?}"),
        }
    }
}

/// Revision and position of a success.
pub(crate) fn place(success: &append_resp::Success) -> (Option<u64>, Option<u64>) {
    use append_resp::success::{CurrentRevisionOption, PositionOption};
    let revision = match success.current_revision_option.expect("a success has a revision or none") {
        CurrentRevisionOption::CurrentRevision(revision) => Some(revision),
        CurrentRevisionOption::NoStream(Empty {}) => None,
    };
    let position = match success.position_option.expect("a success has a position or none") {
        PositionOption::Position(position) => {
            assert_eq!(position.commit_position, position.prepare_position);
            Some(position.commit_position)
        }
        PositionOption::NoPosition(Empty {}) => None,
    };
    (revision, position)
}

pub(crate) const ANY: ExpectedStreamRevision = ExpectedStreamRevision::Any(Empty {});
pub(crate) const NO_STREAM: ExpectedStreamRevision = ExpectedStreamRevision::NoStream(Empty {});
pub(crate) const EXISTS: ExpectedStreamRevision = ExpectedStreamRevision::StreamExists(Empty {});

pub(crate) const fn at(revision: u64) -> ExpectedStreamRevision {
    ExpectedStreamRevision::Revision(revision)
}

pub(crate) fn identifier(stream: &str) -> Option<StreamIdentifier> {
    Some(StreamIdentifier { stream_name: stream.as_bytes().to_vec().into() })
}

/// An id made from a number, as text.
pub(crate) fn id_text(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

pub(crate) fn uuid(number: u64) -> Option<Uuid> {
    Some(Uuid { value: Some(shared::uuid::Value::String(id_text(number))) })
}

pub(crate) fn event_metadata() -> BTreeMap<String, String> {
    [("type", "Filled"), ("content-type", "application/json")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

pub(crate) fn options(stream: &str, expected: Option<ExpectedStreamRevision>) -> AppendReq {
    let options =
        append_req::Options { stream_identifier: identifier(stream), expected_stream_revision: expected };
    AppendReq { content: Some(Content::Options(options)) }
}

pub(crate) fn proposed(id: u64, data: &str) -> AppendReq {
    let message = append_req::ProposedMessage {
        id: uuid(id),
        metadata: event_metadata(),
        custom_metadata: "{\"m\":1}".into(),
        data: data.as_bytes().to_vec().into(),
    };
    AppendReq { content: Some(Content::ProposedMessage(message)) }
}

/// The trailers of a status that are not of gRPC itself, by name.
pub(crate) fn trailers(status: &Status) -> BTreeMap<String, String> {
    assert!(status.details().is_empty(), "{status:?}");
    let metadata = status.metadata().clone().into_headers();
    let own = metadata.iter().filter(|(name, _)| {
        name.as_str() == "exception" || name.as_str().contains("-") && !name.as_str().starts_with("content-")
    });
    own.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

/// Checks code and trailers of a refusal of the older service.
pub(crate) fn assert_refused<T: std::fmt::Debug>(
    outcome: Result<T, Status>,
    code: Code,
    expected: &[(&str, &str)],
) -> Status {
    let status = outcome.unwrap_err();
    assert_eq!(status.code(), code, "{status:?}");
    let expected = expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(trailers(&status), expected);
    status
}

/// Reason and typed detail of a refusal of the newer service.
pub(crate) fn detail<M: Name + Default>(status: &Status) -> (String, M) {
    let rich = google::Status::decode(status.details()).unwrap();
    assert_eq!((rich.code, &*rich.message), (status.code() as i32, status.message()));
    let info = google::ErrorInfo::decode(&rich.details[0].value[..]).unwrap();
    let last = rich.details.last().unwrap();
    assert_eq!(last.type_url, M::type_url());
    (info.reason, M::decode(&last.value[..]).unwrap())
}

/// Events in the server's log.
pub(crate) fn head(server: &Server) -> u64 {
    server.client().get("/v1/info").json()["head"].as_u64().unwrap()
}
