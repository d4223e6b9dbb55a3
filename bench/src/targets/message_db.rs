//! message-db: its SQL functions in a PostgreSQL with its defaults, a connection a client.

use crate::events::{Event, uuid_text};
use crate::server::{Server, free_port};
use crate::setup::Postgres;
use crate::target::{Ask, By, Client, Later, Layout, Target};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::{Config, NoTls, Statement};

/// How often a server that begins to take connections is asked again.
const PROBES_MAX: u32 = 600;

/// A running PostgreSQL with the message store in it.
#[derive(Debug)]
pub(crate) struct MessageDbServer {
    server: Server,
    port: u16,
    data: PathBuf,
}

impl MessageDbServer {
    /// Makes a cluster in `dir`, starts it and installs the message store.
    ///
    /// # Errors
    /// If any of it fails.
    pub(crate) fn start(postgres: &Postgres, dir: &Path) -> Result<MessageDbServer> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        postgres.own(dir)?;
        let data = dir.join("data");
        let mut initdb = postgres.command("initdb");
        initdb
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "-D"])
            .arg(&data);
        quietly(&mut initdb)?;
        let port = free_port()?;
        let mut command = postgres.command("postgres");
        command.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k", ""]);
        let mut server = Server::start(&mut command, &dir.join("log"))?.stopped_by(Signal::INT);
        server
            .wait_for(|line| line.contains("database system is ready to accept connections").then_some(()))?;
        server.wait_until(|_| TcpStream::connect(("127.0.0.1", port)).ok())?;
        let mut install = Command::new("bash");
        install.arg(postgres.message_db.join("database/install.sh"));
        install.env("PGHOST", "127.0.0.1").env("PGPORT", port.to_string()).env("PGUSER", "postgres");
        quietly(&mut install)?;
        Ok(MessageDbServer { server, port, data })
    }

    /// Where it is reached.
    pub(crate) fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The process id of the parent.
    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    /// Where the cluster lies.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Asks it to end and waits.
    ///
    /// # Errors
    /// If it does not end.
    pub(crate) fn stop(self) -> Result<()> {
        self.server.stop()
    }
}

/// message-db on a running server.
#[derive(Debug)]
pub(crate) struct MessageDb(pub(crate) Arc<MessageDbServer>);

impl Target for MessageDb {
    fn name(&self) -> &'static str {
        "message-db"
    }

    fn layout(&self) -> Layout {
        Layout::Own
    }

    fn offers(&self, ask: Ask) -> bool {
        matches!(ask, Ask::Append | Ask::ReadTen(By::Stream))
    }

    fn connect(&self) -> Later<'_, Box<dyn Client>> {
        Box::pin(async { Ok(Box::new(Connection::open(self.0.port).await?) as Box<dyn Client>) })
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.0.id()]
    }
}

struct Connection {
    client: tokio_postgres::Client,
    write: Statement,
    read: Statement,
}

impl Connection {
    async fn open(port: u16) -> Result<Connection> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(port).user("postgres").dbname("message_store");
        let mut probes = 0;
        let (client, connection) = loop {
            match config.connect(NoTls).await {
                Ok(connected) => break connected,
                Err(_) if probes < PROBES_MAX => probes += 1,
                Err(error) => return Err(error).context("cannot connect to PostgreSQL"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        tokio::spawn(connection);
        client.batch_execute("SET search_path TO message_store, public").await?;
        let write =
            client.prepare("SELECT write_message($1, $2, $3, $4::text::jsonb, $5::text::jsonb)").await?;
        let read = client.prepare("SELECT * FROM get_stream_messages($1)").await?;
        Ok(Connection { client, write, read })
    }
}

impl Client for Connection {
    fn append<'a>(&'a mut self, events: &'a [Event], unless: Option<&'a str>) -> Later<'a, ()> {
        Box::pin(async move {
            ensure!(unless.is_none(), "message-db has no conditions");
            let together = events.len() > 1;
            if together {
                self.client.batch_execute("BEGIN").await?;
            }
            for event in events {
                let id = uuid_text(&event.id);
                let data = std::str::from_utf8(&event.data)?;
                let tag = format!(r#"{{"tag":"{}"}}"#, event.tag);
                let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                    [&id, &event.stream, &event.kind, &data, &tag];
                self.client.query_one(&self.write, &values).await?;
            }
            if together {
                self.client.batch_execute("COMMIT").await?;
            }
            Ok(())
        })
    }

    fn read_entity<'a>(&'a mut self, by: By, entity: &'a str) -> Later<'a, u64> {
        Box::pin(async move {
            ensure!(by == By::Stream, "message-db has no tags");
            let stream = format!("loan-{entity}");
            let rows = self.client.query(&self.read, &[&stream]).await?;
            let whole = rows.iter().filter(|row| row.try_get::<_, &str>("data").is_ok());
            Ok(whole.count() as u64)
        })
    }
}

fn quietly(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    ensure!(
        output.status.success(),
        "{name} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
