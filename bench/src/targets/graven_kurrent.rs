//! Graven through the protocol of KurrentDB's clients, spoken with their messages by hand: on a connection a client, one
//! call at a time or one session of `BatchAppend`; reads as streams of events.

use super::graven_server::GravenServer;
use crate::events::Event;
use crate::target::{ACKS_BATCH, Ask, By, CONSUMER_BUFFER, Client, Follow, Later, Layout, Target};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::stream;
use graven_proto::kurrentdb::persistent;
use graven_proto::kurrentdb::shared::{Empty, StreamIdentifier, Uuid, uuid};
use graven_proto::kurrentdb::streams::{
    AppendReq, AppendResp, BatchAppendReq, BatchAppendResp, ReadReq, ReadResp, append_req, append_resp,
    batch_append_req, batch_append_resp, read_req, read_resp,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

/// The category of all events, as a stream.
const CATEGORY: &str = "$ce-loan";
/// The same as a stream of stored links, which [`link`] fills.
const LINKS: &str = "links-loan";
/// Links of an append.
const LINKS_BATCH: usize = 1_000;
/// Events a consumer has in its hands, as the protocol counts them.
const BUFFER: i32 = CONSUMER_BUFFER as i32;

/// How the protocol is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// A call `Append` an append; a category through its own stream.
    Calls,
    /// One session of `BatchAppend` a client.
    Batches,
    /// A category through stored links to its events.
    Links,
}

/// The KurrentDB protocol of a running server.
pub(crate) struct GravenKurrent {
    server: Arc<GravenServer>,
    how: Use,
}

impl GravenKurrent {
    /// This server, used like this.
    pub(crate) fn new(server: Arc<GravenServer>, how: Use) -> GravenKurrent {
        GravenKurrent { server, how }
    }

    async fn line(&self) -> Result<Line> {
        let url = format!("http://{}", self.server.reads_at());
        let channel = Endpoint::from_shared(url)?.tcp_nodelay(true).connect().await?;
        Ok(Line(Grpc::new(channel)))
    }

    /// Appends a link to each of these events, named by stream and revision.
    ///
    /// # Errors
    /// If an append fails.
    pub(crate) async fn link(&self, targets: impl Iterator<Item = (String, u64)>) -> Result<u64> {
        let mut line = self.line().await?;
        let (mut links, mut count) = (Vec::new(), 0);
        let mut targets = targets.peekable();
        while let Some((stream, revision)) = targets.next() {
            let id = count | 0x6c69_6e6b << 64;
            links.push(proposed(id, "$>", "application/octet-stream", format!("{revision}@{stream}").into()));
            count += 1;
            if links.len() == LINKS_BATCH || targets.peek().is_none() {
                line.append(LINKS, std::mem::take(&mut links)).await?;
            }
        }
        Ok(u64::try_from(count)?)
    }
}

impl Target for GravenKurrent {
    fn name(&self) -> &'static str {
        match self.how {
            Use::Calls => "Graven, KurrentDB protocol",
            Use::Batches => "Graven, KurrentDB protocol, BatchAppend",
            Use::Links => "Graven, KurrentDB protocol, stored links",
        }
    }

    fn layout(&self) -> Layout {
        Layout::Own
    }

    fn offers(&self, ask: Ask) -> bool {
        match self.how {
            Use::Calls => !matches!(ask, Ask::Condition | Ask::ReadTen(By::Tag)),
            Use::Batches => ask == Ask::Append,
            Use::Links => ask == Ask::ReadCategory,
        }
    }

    fn connect(&self) -> Later<'_, Box<dyn Client>> {
        Box::pin(async {
            let (line, how) = (self.line().await?, self.how);
            Ok(Box::new(Caller { line, how, batches: None, sent: 0 }) as Box<dyn Client>)
        })
    }

    fn processes(&self) -> Vec<u32> {
        self.server.ids()
    }
}

/// A connection.
struct Line(Grpc<Channel>);

impl Line {
    async fn append(&mut self, stream: &str, events: Vec<append_req::ProposedMessage>) -> Result<()> {
        let options = append_req::Options {
            stream_identifier: Some(named(stream)),
            expected_stream_revision: Some(append_req::options::ExpectedStreamRevision::Any(Empty {})),
        };
        let options = append_req::Content::Options(options);
        let events = events.into_iter().map(append_req::Content::ProposedMessage);
        let messages: Vec<AppendReq> = std::iter::once(options)
            .chain(events)
            .map(|content| AppendReq { content: Some(content) })
            .collect();
        let path = PathAndQuery::from_static("/event_store.client.streams.Streams/Append");
        self.0.ready().await?;
        let codec = ProstCodec::<AppendReq, AppendResp>::default();
        let request = Request::new(stream::iter(messages));
        let answer = self.0.client_streaming(request, path, codec).await?.into_inner();
        match answer.result {
            Some(append_resp::Result::Success(_)) => Ok(()),
            other => bail!("the append was refused: {other:?}"),
        }
    }

    async fn read(&mut self, options: read_req::Options) -> Result<Streaming<ReadResp>> {
        let path = PathAndQuery::from_static("/event_store.client.streams.Streams/Read");
        self.0.ready().await?;
        let codec = ProstCodec::<ReadReq, ReadResp>::default();
        let request = Request::new(ReadReq { options: Some(options) });
        Ok(self.0.server_streaming(request, path, codec).await?.into_inner())
    }

    /// Reads to the end; returns how many events came with data.
    async fn count(&mut self, options: read_req::Options) -> Result<u64> {
        let mut answers = self.read(options).await?;
        let mut count = 0;
        while let Some(answer) = answers.message().await? {
            match answer.content {
                Some(read_resp::Content::Event(read)) => {
                    count += u64::from(read.event.is_some_and(|event| !event.data.is_empty()));
                }
                Some(read_resp::Content::StreamNotFound(_)) => bail!("there is no such stream"),
                _ => {}
            }
        }
        Ok(count)
    }
}

impl Line {
    /// Makes a group over the category, from its beginning.
    async fn create_group(&mut self, group: &str) -> Result<()> {
        let stream = persistent::create_req::StreamOptions {
            stream_identifier: Some(named(CATEGORY)),
            revision_option: Some(persistent::create_req::stream_options::RevisionOption::Start(Empty {})),
        };
        let settings = persistent::create_req::Settings {
            resolve_links: true,
            max_retry_count: 10,
            min_checkpoint_count: 10,
            max_checkpoint_count: 1_000,
            live_buffer_size: 2 * BUFFER,
            read_batch_size: BUFFER,
            history_buffer_size: 2 * BUFFER,
            consumer_strategy: "RoundRobin".to_owned(),
            message_timeout: Some(persistent::create_req::settings::MessageTimeout::MessageTimeoutMs(30_000)),
            checkpoint_after: Some(persistent::create_req::settings::CheckpointAfter::CheckpointAfterMs(
                2_000,
            )),
            ..Default::default()
        };
        let options = persistent::create_req::Options {
            group_name: group.to_owned(),
            settings: Some(settings),
            stream_option: Some(persistent::create_req::options::StreamOption::Stream(stream)),
            ..Default::default()
        };
        let request = persistent::CreateReq { options: Some(options) };
        let path = "/event_store.client.persistent_subscriptions.PersistentSubscriptions/Create";
        self.0.ready().await?;
        let codec = ProstCodec::<persistent::CreateReq, persistent::CreateResp>::default();
        self.0.unary(Request::new(request), PathAndQuery::from_static(path), codec).await?;
        Ok(())
    }

    async fn delete_group(&mut self, group: &str) -> Result<()> {
        let options = persistent::delete_req::Options {
            group_name: group.to_owned(),
            stream_option: Some(persistent::delete_req::options::StreamOption::StreamIdentifier(named(
                CATEGORY,
            ))),
        };
        let request = persistent::DeleteReq { options: Some(options) };
        let path = "/event_store.client.persistent_subscriptions.PersistentSubscriptions/Delete";
        self.0.ready().await?;
        let codec = ProstCodec::<persistent::DeleteReq, persistent::DeleteResp>::default();
        self.0.unary(Request::new(request), PathAndQuery::from_static(path), codec).await?;
        Ok(())
    }

    /// Takes events of a group and acknowledges them, so many or for so long; returns how many.
    async fn consume(&mut self, group: &str, events: u64, until: Instant) -> Result<u64> {
        use persistent::read_req::{Ack, Content, Options, options};
        let options = Options {
            group_name: group.to_owned(),
            buffer_size: BUFFER,
            uuid_option: Some(options::UuidOption {
                content: Some(options::uuid_option::Content::Structured(Empty {})),
            }),
            stream_option: Some(options::StreamOption::StreamIdentifier(named(CATEGORY))),
        };
        let (requests, mut sent) = mpsc::channel(4);
        let say = |content| requests.send(persistent::ReadReq { content: Some(content) });
        say(Content::Options(options)).await.context("there is room for one")?;
        let path = "/event_store.client.persistent_subscriptions.PersistentSubscriptions/Read";
        let codec = ProstCodec::<persistent::ReadReq, persistent::ReadResp>::default();
        let sent = stream::poll_fn(move |context| sent.poll_recv(context));
        self.0.ready().await?;
        let answers = self.0.streaming(Request::new(sent), PathAndQuery::from_static(path), codec).await?;
        let mut answers = answers.into_inner();
        let (mut count, mut ids, mut subscription) = (0, Vec::new(), Bytes::new());
        while count < events && Instant::now() < until {
            let answer = answers.message().await?.context("the group ended")?;
            match answer.content {
                Some(persistent::read_resp::Content::Event(read)) => {
                    let record = read.link.or(read.event).context("a delivery of nothing")?;
                    ids.push(record.id.context("an event without an id")?);
                    count += 1;
                }
                Some(persistent::read_resp::Content::SubscriptionConfirmation(confirmed)) => {
                    subscription = confirmed.subscription_id.into();
                }
                None => {}
            }
            if ids.len() == ACKS_BATCH || count == events {
                let ack = Ack { id: subscription.clone(), ids: std::mem::take(&mut ids) };
                say(Content::Ack(ack)).await.context("the group ended")?;
            }
        }
        Ok(count)
    }
}

/// No two groups of a run have the same name.
static NEXT_GROUP: AtomicU64 = AtomicU64::new(0);

struct Caller {
    line: Line,
    how: Use,
    batches: Option<Batches>,
    sent: u128,
}

/// A session of `BatchAppend`.
struct Batches {
    requests: mpsc::Sender<BatchAppendReq>,
    answers: Streaming<BatchAppendResp>,
}

impl Caller {
    async fn append_batch(&mut self, stream: &str, events: &[Event]) -> Result<()> {
        self.sent += 1;
        let request = BatchAppendReq {
            correlation_id: Some(id_of(self.sent)),
            options: Some(batch_append_req::Options {
                stream_identifier: Some(named(stream)),
                expected_stream_position: Some(batch_append_req::options::ExpectedStreamPosition::Any(())),
                deadline_option: None,
            }),
            proposed_messages: events.iter().map(batched).collect(),
            is_final: true,
        };
        match &mut self.batches {
            Some(batches) => {
                batches.requests.send(request).await.context("the session ended")?;
            }
            // The call begins with its first request: a server may wait for that before it answers at all.
            None => {
                let (requests, mut sent) = mpsc::channel(1);
                requests.send(request).await.context("there is room for one")?;
                let path = PathAndQuery::from_static("/event_store.client.streams.Streams/BatchAppend");
                let codec = ProstCodec::<BatchAppendReq, BatchAppendResp>::default();
                let sent = stream::poll_fn(move |context| sent.poll_recv(context));
                self.line.0.ready().await?;
                let answers = self.line.0.streaming(Request::new(sent), path, codec).await?.into_inner();
                self.batches = Some(Batches { requests, answers });
            }
        }
        let batches = self.batches.as_mut().context("a session was begun")?;
        let answer = batches.answers.message().await?.context("the session ended without an answer")?;
        ensure!(answer.correlation_id == Some(id_of(self.sent)), "an answer to another append");
        match answer.result {
            Some(batch_append_resp::Result::Success(_)) => Ok(()),
            other => bail!("the append was refused: {other:?}"),
        }
    }
}

impl Client for Caller {
    fn append<'a>(&'a mut self, events: &'a [Event], unless: Option<&'a str>) -> Later<'a, ()> {
        Box::pin(async move {
            ensure!(unless.is_none(), "the protocol has no conditions");
            // A call appends to one stream.
            for events in events.chunk_by(|event, next| event.stream == next.stream) {
                let stream = &events[0].stream;
                if self.how == Use::Batches {
                    self.append_batch(stream, events).await?;
                } else {
                    let proposed = |event: &Event| {
                        proposed(u128::from_be_bytes(event.id), event.kind, JSON, event.data.clone())
                    };
                    self.line.append(stream, events.iter().map(proposed).collect()).await?;
                }
            }
            Ok(())
        })
    }

    fn read_all(&mut self) -> Later<'_, u64> {
        Box::pin(async { self.line.count(all(u64::MAX)).await })
    }

    fn read_entity<'a>(&'a mut self, by: By, entity: &'a str) -> Later<'a, u64> {
        Box::pin(async move {
            ensure!(by == By::Stream, "the protocol has no tags");
            self.line.count(of_stream(&format!("loan-{entity}"), false)).await
        })
    }

    fn read_category(&mut self) -> Later<'_, u64> {
        let name = if self.how == Use::Links { LINKS } else { CATEGORY };
        Box::pin(async { self.line.count(of_stream(name, true)).await })
    }

    fn consume(&mut self, events: u64, until: Instant) -> Later<'_, u64> {
        Box::pin(async move {
            let group =
                format!("bench-{}-{}", std::process::id(), NEXT_GROUP.fetch_add(1, Ordering::Relaxed));
            self.line.create_group(&group).await?;
            let done = self.line.consume(&group, events, until).await;
            self.line.delete_group(&group).await?;
            done
        })
    }

    fn follow(&mut self) -> Later<'_, Box<dyn Follow>> {
        Box::pin(async {
            let subscription = read_req::options::SubscriptionOptions {};
            let from_end = read_req::options::AllOptions {
                all_option: Some(read_req::options::all_options::AllOption::End(Empty {})),
            };
            let options = read_req::Options {
                stream_option: Some(read_req::options::StreamOption::All(from_end)),
                count_option: Some(read_req::options::CountOption::Subscription(subscription)),
                ..all(0)
            };
            let mut answers = self.line.read(options).await?;
            loop {
                let answer = answers.message().await?.context("the subscription ended")?;
                if let Some(read_resp::Content::CaughtUp(_)) = answer.content {
                    return Ok(Box::new(Followed(answers)) as Box<dyn Follow>);
                }
            }
        })
    }
}

struct Followed(Streaming<ReadResp>);

impl Follow for Followed {
    fn next(&mut self) -> Later<'_, u64> {
        Box::pin(async {
            loop {
                let answer = self.0.message().await?.context("the subscription ended")?;
                if let Some(read_resp::Content::Event(_)) = answer.content {
                    return Ok(1);
                }
            }
        })
    }
}

const JSON: &str = "application/json";

fn named(stream: &str) -> StreamIdentifier {
    StreamIdentifier { stream_name: Vec::from(stream).into() }
}

fn id_of(number: u128) -> Uuid {
    let [high, low] = [number >> 64, number].map(|half| half as u64 as i64);
    let bits = uuid::Structured { most_significant_bits: high, least_significant_bits: low };
    Uuid { value: Some(uuid::Value::Structured(bits)) }
}

fn metadata(kind: &str, content_type: &str) -> BTreeMap<String, String> {
    [("type", kind), ("content-type", content_type)].map(|(key, value)| (key.into(), value.into())).into()
}

fn proposed(id: u128, kind: &str, content_type: &str, data: Bytes) -> append_req::ProposedMessage {
    append_req::ProposedMessage {
        id: Some(id_of(id)),
        metadata: metadata(kind, content_type),
        custom_metadata: Bytes::new(),
        data,
    }
}

fn batched(event: &Event) -> batch_append_req::ProposedMessage {
    batch_append_req::ProposedMessage {
        id: Some(id_of(u128::from_be_bytes(event.id))),
        metadata: metadata(event.kind, JSON),
        custom_metadata: Bytes::new(),
        data: event.data.clone(),
    }
}

/// The log from its beginning.
fn all(count: u64) -> read_req::Options {
    let from_start = read_req::options::AllOptions {
        all_option: Some(read_req::options::all_options::AllOption::Start(Empty {})),
    };
    read_req::Options {
        read_direction: read_req::options::ReadDirection::Forwards as i32,
        resolve_links: false,
        uuid_option: Some(read_req::options::UuidOption {
            content: Some(read_req::options::uuid_option::Content::Structured(Empty {})),
        }),
        control_option: None,
        stream_option: Some(read_req::options::StreamOption::All(from_start)),
        count_option: Some(read_req::options::CountOption::Count(count)),
        filter_option: Some(read_req::options::FilterOption::NoFilter(Empty {})),
    }
}

/// A stream from its beginning to its end.
fn of_stream(name: &str, resolve_links: bool) -> read_req::Options {
    let stream = read_req::options::StreamOptions {
        stream_identifier: Some(named(name)),
        revision_option: Some(read_req::options::stream_options::RevisionOption::Start(Empty {})),
    };
    read_req::Options {
        resolve_links,
        stream_option: Some(read_req::options::StreamOption::Stream(stream)),
        ..all(u64::MAX)
    }
}
