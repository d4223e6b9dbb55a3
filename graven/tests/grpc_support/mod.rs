//! What the tests over gRPC share: the generated client against the real binary.
#![allow(dead_code, unused_imports, reason = "each test file uses a part")]

pub(crate) use graven_model as model;
pub(crate) use graven_proto::{status, wire};

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use model::{Code, Error, Receipt};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use wire::event_store_client::EventStoreClient;

pub(crate) use crate::support::{PATIENCE, Server};

pub(crate) type Client = EventStoreClient<Channel>;

/// A client with a connection of its own.
pub(crate) async fn connect(server: &Server) -> Client {
    let channel = Endpoint::from_shared(server.url().to_owned()).unwrap().connect().await.unwrap();
    EventStoreClient::new(channel).max_decoding_message_size(usize::MAX)
}

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it came in time")
}

/// An event id nobody used yet.
pub(crate) fn new_id() -> Bytes {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut id = [0x40; 16];
    id[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Bytes::copy_from_slice(&id)
}

/// An event with a payload.
pub(crate) fn event(event_type: &str, data: &str) -> wire::NewEvent {
    wire::NewEvent {
        id: new_id(),
        r#type: event_type.to_owned(),
        data: Bytes::copy_from_slice(data.as_bytes()),
        ..wire::NewEvent::default()
    }
}

/// An append of events to one stream.
pub(crate) fn append(
    stream: &str,
    expected: model::Expected,
    events: Vec<wire::NewEvent>,
) -> wire::AppendRequest {
    wire::AppendRequest {
        streams: vec![wire::StreamWrite { stream: stream.to_owned(), expected: Some(expected.into()) }],
        events,
        ..wire::AppendRequest::default()
    }
}

/// Appends `count` small events to a stream, in one append.
pub(crate) async fn fill(client: &mut Client, stream: &str, count: usize) -> Receipt {
    let events = (0..count).map(|number| event("Filled", &format!("{{\"n\":{number}}}"))).collect();
    let request = append(stream, model::Expected::Any, events);
    client.append(request).await.unwrap().into_inner().try_into().unwrap()
}

pub(crate) fn select(selector: model::Selector) -> Option<wire::Selector> {
    Some((&selector).into())
}

pub(crate) fn read_stream(stream: &str) -> wire::ReadRequest {
    let selector = model::Selector::Stream(model::StreamName::new(stream).unwrap());
    wire::ReadRequest { selector: select(selector), ..wire::ReadRequest::default() }
}

/// All messages of an answer.
pub(crate) async fn all<T>(mut answer: Streaming<T>) -> Vec<T> {
    let mut messages = Vec::new();
    while let Some(message) = soon(answer.message()).await.unwrap() {
        messages.push(message);
    }
    messages
}

/// The error a call was refused with, which has to have come whole.
pub(crate) fn refused<T: std::fmt::Debug>(outcome: Result<T, Status>) -> Error {
    let status = outcome.expect_err("the call is refused");
    assert!(!status.details().is_empty(), "{status:?}");
    let error = status::to_error(&status);
    assert_eq!(status.code(), status::grpc_code(error.code), "{status:?}");
    error
}

/// What a channel gives, as a stream.
fn stream_of<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> impl Stream<Item = T> + Send + 'static {
    stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) })
}

/// A session: what goes in, and what comes out.
pub(crate) struct Session {
    pub(crate) input: Option<mpsc::Sender<wire::SessionRequest>>,
    pub(crate) answers: Streaming<wire::SessionResponse>,
    /// Streams of the appends that were sent: their names stay out of the answers, which come in the same order.
    sent: Mutex<VecDeque<Vec<String>>>,
}

impl Session {
    pub(crate) async fn open(client: &mut Client) -> Session {
        let (input, requests) = mpsc::channel(10_000);
        let answers = client.append_session(stream_of(requests)).await.unwrap().into_inner();
        Session { input: Some(input), answers, sent: Mutex::default() }
    }

    pub(crate) async fn send(&self, correlation: u64, append: wire::AppendRequest) {
        let names = append.streams.iter().map(|write| write.stream.clone()).collect();
        self.sent.lock().unwrap().push_back(names);
        let request = wire::SessionRequest { append: Some(append), correlation };
        self.input.as_ref().unwrap().send(request).await.unwrap();
    }

    /// The next answer, with its correlation.
    pub(crate) async fn next(&mut self) -> (u64, Result<Receipt, Error>) {
        let answer = soon(self.answers.message()).await.unwrap().expect("there is another answer");
        let names = self.sent.lock().unwrap().pop_front().unwrap_or_default();
        let outcome = match answer.outcome.expect("an answer has an outcome") {
            wire::session_response::Outcome::Receipt(mut receipt) => {
                assert_eq!(receipt.streams.len(), names.len());
                for (share, name) in receipt.streams.iter_mut().zip(names) {
                    assert_eq!(std::mem::replace(&mut share.stream, name), "");
                }
                Ok(receipt.try_into().unwrap())
            }
            wire::session_response::Outcome::Error(error) => Err(error.into()),
        };
        (answer.correlation, outcome)
    }

    /// Says that nothing more comes.
    pub(crate) fn finish(&mut self) {
        self.input = None;
    }
}
