//! Graven over gRPC: a call an append on a connection a client; or what `graven-client` makes of many clients' appends;
//! and reads as events or as stored frames.

use super::graven_process::{append_request, selector};
use super::graven_server::GravenServer;
use crate::events::Event;
use crate::target::{ACKS_BATCH, Ask, By, CONSUMER_BUFFER, Client, Follow, Later, Layout, Target};
use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, pin_mut};
use graven_client::{Client as GravenClient, ConsumeOptions, EventStore, FollowSteps, Follower, Groups};
use graven_model::group::{GroupName, GroupSettings};
use graven_model::{FollowRequest, FollowStep, Position, ReadRequest, Selector, Start, frame, limits};
use graven_proto::wire::{self, event_store_client::EventStoreClient};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::OnceCell;
use tonic::transport::{Channel, Endpoint};

/// How the interface is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// A unary call an append, a connection a client; whole logs as events.
    Calls,
    /// All clients are clones of one [`GravenClient`].
    Session,
    /// Whole logs as the frames they are stored in.
    Frames,
}

/// The gRPC interface of a running server.
pub(crate) struct GravenGrpc {
    server: Arc<GravenServer>,
    how: Use,
    shared: OnceCell<GravenClient>,
}

impl GravenGrpc {
    /// This server, used like this.
    pub(crate) fn new(server: Arc<GravenServer>, how: Use) -> GravenGrpc {
        GravenGrpc { server, how, shared: OnceCell::new() }
    }
}

impl Target for GravenGrpc {
    fn name(&self) -> &'static str {
        match (self.how, self.server.is_shared()) {
            (Use::Calls, false) => "Graven, gRPC",
            (Use::Session, false) => "Graven, client",
            (Use::Frames, false) => "Graven, client, frames",
            (Use::Calls, true) => "Graven over PostgreSQL, gRPC",
            (Use::Session, true) => "Graven over PostgreSQL, client",
            (Use::Frames, true) => "Graven over PostgreSQL, client, frames",
        }
    }

    fn layout(&self) -> Layout {
        if self.how == Use::Session { Layout::Session } else { Layout::Own }
    }

    fn offers(&self, ask: Ask) -> bool {
        match self.how {
            Use::Calls => true,
            Use::Session => ask == Ask::Append,
            Use::Frames => ask == Ask::ReadAll,
        }
    }

    fn connect(&self) -> Later<'_, Box<dyn Client>> {
        Box::pin(async {
            let url = format!("http://{}", self.server.address());
            let connect = || GravenClient::connect(&url);
            if self.how == Use::Session {
                let client = self.shared.get_or_try_init(connect).await?.clone();
                return Ok(Box::new(Gathered(client)) as Box<dyn Client>);
            }
            let channel = Endpoint::from_shared(url.clone())?.tcp_nodelay(true).connect().await?;
            let service = EventStoreClient::new(channel).max_decoding_message_size(usize::MAX);
            let client = GravenClient::connect(&format!("http://{}", self.server.reads_at())).await?;
            Ok(Box::new(Caller { service, client, how: self.how }) as Box<dyn Client>)
        })
    }

    fn processes(&self) -> Vec<u32> {
        self.server.ids()
    }
}

struct Gathered(GravenClient);

impl Client for Gathered {
    fn append<'a>(&'a mut self, events: &'a [Event], unless: Option<&'a str>) -> Later<'a, ()> {
        Box::pin(async move {
            self.0.append(append_request(events, unless)?).await?;
            Ok(())
        })
    }
}

struct Caller {
    service: EventStoreClient<Channel>,
    client: GravenClient,
    how: Use,
}

impl Client for Caller {
    fn append<'a>(&'a mut self, events: &'a [Event], unless: Option<&'a str>) -> Later<'a, ()> {
        Box::pin(async move {
            let request = wire::AppendRequest::from(&append_request(events, unless)?);
            let receipt = self.service.append(request).await?.into_inner();
            ensure!(receipt.appended as usize == events.len(), "stored {} events", receipt.appended);
            Ok(())
        })
    }

    fn read_all(&mut self) -> Later<'_, u64> {
        Box::pin(async {
            let mut count = 0;
            if self.how == Use::Frames {
                let frames = self.client.frames(Position(0));
                pin_mut!(frames);
                while let Some(frames) = frames.next().await {
                    for event in frame::events(&frames?.bytes) {
                        count += u64::from(!event?.event.data.is_empty());
                    }
                }
                return Ok(count);
            }
            let request = ReadRequest::new(Selector::All).limit(limits::PAGE_EVENTS_MAX);
            let pages = self.client.pages(request);
            pin_mut!(pages);
            while let Some(page) = pages.next().await {
                count += page?.events.len() as u64;
            }
            Ok(count)
        })
    }

    fn read_entity<'a>(&'a mut self, by: By, entity: &'a str) -> Later<'a, u64> {
        Box::pin(async move {
            let page = self.client.read(&ReadRequest::new(selector(by, entity)?)).await?;
            Ok(page.events.len() as u64)
        })
    }

    fn read_category(&mut self) -> Later<'_, u64> {
        Box::pin(async {
            let category = Selector::Category("loan".into());
            let pages = self.client.pages(ReadRequest::new(category).limit(limits::PAGE_EVENTS_MAX));
            pin_mut!(pages);
            let mut count = 0;
            while let Some(page) = pages.next().await {
                count += page?.events.len() as u64;
            }
            Ok(count)
        })
    }

    fn consume(&mut self, events: u64, until: Instant) -> Later<'_, u64> {
        Box::pin(async move {
            let groups = self.client.groups();
            let name = GroupName::new(format!("native-{}", NEXT_GROUP.fetch_add(1, Ordering::Relaxed)))?;
            let settings = GroupSettings {
                start: Start::Start,
                live_buffer: 2 * CONSUMER_BUFFER,
                read_batch: CONSUMER_BUFFER,
                history_buffer: 2 * CONSUMER_BUFFER,
                ..GroupSettings::new(Selector::Category("loan".into()))
            };
            groups.create(&name, &settings).await?;
            let done = consume(&groups, &name, events, until).await;
            groups.delete(&name).await?;
            done
        })
    }

    fn follow(&mut self) -> Later<'_, Box<dyn Follow>> {
        Box::pin(async {
            let mut follower = self.client.follow(FollowRequest::new(Selector::All, Start::End)).await?;
            // It says so when it stands at the end; what comes then is new.
            while !matches!(follower.next_step().await.context("a follower begins")?, FollowStep::CaughtUp(_))
            {
            }
            Ok(Box::new(Followed(follower)) as Box<dyn Follow>)
        })
    }
}

/// No two groups of a run have the same name.
static NEXT_GROUP: AtomicU64 = AtomicU64::new(0);

/// Takes events of a group and acknowledges them, so many or for so long; returns how many.
async fn consume(groups: &Groups, name: &GroupName, events: u64, until: Instant) -> Result<u64> {
    let options = ConsumeOptions { buffer: CONSUMER_BUFFER, ..ConsumeOptions::default() };
    let mut consumer = groups.consume(name, options).await?;
    let done = consumer.consumed();
    let (mut count, mut taken) = (0, Vec::new());
    while count < events && Instant::now() < until {
        taken.push(consumer.next().await?.event.position);
        count += 1;
        if taken.len() == ACKS_BATCH || count == events {
            done.ack(&taken).await?;
            taken.clear();
        }
    }
    Ok(count)
}

struct Followed(Follower);

impl Follow for Followed {
    fn next(&mut self) -> Later<'_, u64> {
        Box::pin(async {
            loop {
                if let FollowStep::Events(events) = self.0.next_step().await? {
                    return Ok(events.len() as u64);
                }
            }
        })
    }
}
