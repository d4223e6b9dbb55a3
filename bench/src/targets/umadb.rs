//! UmaDB, by its own client: the tag of an entity is what a stream is elsewhere, and the only thing it has.

use crate::events::Event;
use crate::server::{Server, free_port};
use crate::target::{Ask, By, Client, Follow, Later, Layout, Target};
use anyhow::{Context, Result, anyhow, ensure};
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tokio::sync::OnceCell;
use umadb_client::{AsyncUmaDbClient, UmaDbClient};
use umadb_dcb::{
    DcbAppendCondition, DcbEvent, DcbEventStoreAsync, DcbQuery, DcbQueryItem, DcbSubscriptionAsync,
};
use uuid::Uuid;

/// A running server, with its defaults.
#[derive(Debug)]
pub(crate) struct UmaDbServer {
    server: Server,
    port: u16,
}

impl UmaDbServer {
    /// Starts the server on the database in `dir`; it takes connections when this returns.
    ///
    /// # Errors
    /// If it does not become ready.
    pub(crate) fn start(dir: &Path) -> Result<UmaDbServer> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let me = std::env::current_exe().context("where am I?")?;
        let port = free_port()?;
        let mut command = Command::new(me.with_file_name("umadb-server"));
        command.arg("--listen").arg(format!("127.0.0.1:{port}")).arg("--db-path").arg(dir.join("uma.db"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("UMADB_"))
        {
            command.env_remove(name);
        }
        let mut server = Server::start(&mut command, &dir.join("log"))?;
        server.wait_until(|_| TcpStream::connect(("127.0.0.1", port)).ok())?;
        Ok(UmaDbServer { server, port })
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    /// Asks it to end and waits.
    ///
    /// # Errors
    /// If it does not end.
    pub(crate) fn stop(self) -> Result<()> {
        self.server.stop()
    }

    async fn connect(&self) -> Result<Arc<AsyncUmaDbClient>> {
        let client = UmaDbClient::new(format!("http://127.0.0.1:{}", self.port)).connect_async().await?;
        Ok(Arc::new(client))
    }
}

/// A running server, reached one way or the other.
pub(crate) struct UmaDb {
    server: Arc<UmaDbServer>,
    layout: Layout,
    shared: OnceCell<Arc<AsyncUmaDbClient>>,
}

impl UmaDb {
    /// Clients of this server, over [`Layout::Own`] or [`Layout::Shared`] connections.
    pub(crate) fn new(server: Arc<UmaDbServer>, layout: Layout) -> UmaDb {
        UmaDb { server, layout, shared: OnceCell::new() }
    }
}

impl Target for UmaDb {
    fn name(&self) -> &'static str {
        "UmaDB"
    }

    fn layout(&self) -> Layout {
        self.layout
    }

    fn offers(&self, ask: Ask) -> bool {
        !matches!(ask, Ask::ReadTen(By::Stream) | Ask::ReadCategory | Ask::Consume)
    }

    fn connect(&self) -> Later<'_, Box<dyn Client>> {
        Box::pin(async {
            let client = match self.layout {
                Layout::Shared => self.shared.get_or_try_init(|| self.server.connect()).await?.clone(),
                _ => self.server.connect().await?,
            };
            Ok(Box::new(Caller(client)) as Box<dyn Client>)
        })
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.server.id()]
    }
}

struct Caller(Arc<AsyncUmaDbClient>);

impl Caller {
    async fn read(&self, query: Option<DcbQuery>) -> Result<u64> {
        let mut answer = self.0.read(query, None, false, None).await?;
        let mut count = 0;
        loop {
            let batch = answer.next_batch().await?;
            if batch.is_empty() {
                return Ok(count);
            }
            count += batch.len() as u64;
        }
    }
}

impl Client for Caller {
    fn append<'a>(&'a mut self, events: &'a [Event], unless: Option<&'a str>) -> Later<'a, ()> {
        Box::pin(async move {
            let events: Vec<DcbEvent> = events.iter().map(dcb_event).collect();
            let condition =
                unless.map(|kind| DcbAppendCondition::new(query(DcbQueryItem::new().types([kind]))));
            self.0.append(events, condition, None).await?;
            Ok(())
        })
    }

    fn read_all(&mut self) -> Later<'_, u64> {
        Box::pin(self.read(None))
    }

    fn read_entity<'a>(&'a mut self, by: By, entity: &'a str) -> Later<'a, u64> {
        Box::pin(async move {
            ensure!(by == By::Tag, "UmaDB has no streams");
            self.read(Some(query(DcbQueryItem::new().tags([format!("customer:{entity}")])))).await
        })
    }

    fn follow(&mut self) -> Later<'_, Box<dyn Follow>> {
        Box::pin(async {
            let head = self.0.head().await?;
            Ok(Box::new(Followed(self.0.subscribe(None, head).await?)) as Box<dyn Follow>)
        })
    }
}

struct Followed(Box<dyn DcbSubscriptionAsync + Send>);

impl Follow for Followed {
    fn next(&mut self) -> Later<'_, u64> {
        Box::pin(async {
            let batch = self.0.next_batch().await?;
            if batch.is_empty() {
                return Err(anyhow!("the subscription ended"));
            }
            Ok(batch.len() as u64)
        })
    }
}

fn query(item: DcbQueryItem) -> DcbQuery {
    DcbQuery::new().item(item)
}

fn dcb_event(event: &Event) -> DcbEvent {
    DcbEvent::new()
        .event_type(event.kind)
        .tags([event.tag.as_str()])
        .data(event.data.as_ref())
        .uuid(Uuid::from_bytes(event.id))
}
