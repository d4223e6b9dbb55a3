//! [`Link`]: one connection, from the first greeting to the failure that ends it.
//!
//! The connection's future is driven by the runtime of its journal, only while a call runs. What PostgreSQL says of its own
//! accord meanwhile (notifications, warnings) is kept in the [`Inbox`] until somebody asks.

use crate::failure::Failure;
use crate::schema;
use crate::settings::{Settings, Target};
use crate::statements::Which;
use graven_model::{Code, Error};
use parking_lot::Mutex;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, Row, Statement};

/// How much longer the server waits than we do before it ends a statement: whoever answers later is not heard.
const GRACE: Duration = Duration::from_secs(1);

/// Settings of a session, where the server knows them.
///
/// A writer that vanishes without a farewell holds locks until the server finds out: it asks after 10 seconds of silence,
/// three times, and looks for the client of a running statement every two seconds. The rest protects the journal from
/// defaults that suit other work.
const SESSION: &[(&str, &str)] = &[
    ("client_min_messages", "warning"),
    ("default_transaction_isolation", "read committed"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("jit", "off"),
    ("lock_timeout", "0"),
    ("tcp_keepalives_count", "3"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("transaction_timeout", "0"),
];

/// One connection.
pub(crate) struct Link {
    client: Client,
    driver: JoinHandle<()>,
    inbox: Arc<Inbox>,
    statements: [Option<Statement>; Which::COUNT],
    schema: String,
    /// The server was a standby when the connection was made.
    pub(crate) is_standby: bool,
    /// Nothing could be written when the connection was made.
    pub(crate) is_read_only: bool,
    /// Whether there are tables at all: on a standby, or for a user who may not make them, perhaps not.
    pub(crate) has_tables: bool,
    /// Whether this session holds the writer's lock.
    pub(crate) holds_lock: bool,
    /// Whether this session listens to the journal's channel.
    pub(crate) listens: bool,
}

/// What PostgreSQL said of its own accord.
#[derive(Default)]
struct Inbox {
    said: Mutex<Said>,
    more: Notify,
}

#[derive(Default)]
struct Said {
    /// The greatest position a writer told of.
    heard: u64,
    warnings: Vec<String>,
    ended: Option<tokio_postgres::Error>,
    over: bool,
}

impl Link {
    /// Connects to the first host that lets us in, sets the session up and makes the tables if there are none.
    pub(crate) async fn open(settings: &Settings, target: &Target) -> Result<Link, Failure> {
        let mut failure = Failure::Silence;
        for host in target.hosts() {
            // With the greeting, the time that looking up the name takes, and a second address: a host that hangs is passed
            // over.
            let limit = host.get_connect_timeout().copied().unwrap_or(settings.connect_timeout) * 2;
            match timeout(limit, connect(&host, target)).await {
                Ok(Ok((client, driver, inbox))) => {
                    let link = Link {
                        client,
                        driver,
                        inbox,
                        statements: Default::default(),
                        schema: settings.schema.clone(),
                        is_standby: false,
                        is_read_only: false,
                        has_tables: false,
                        holds_lock: false,
                        listens: false,
                    };
                    return timeout(settings.call_timeout, link.set_up(settings.call_timeout))
                        .await
                        .unwrap_or(Err(Failure::Silence));
                }
                Ok(Err(error)) => failure = error.into(),
                Err(_) => failure = Failure::Silence,
            }
        }
        Err(failure)
    }

    async fn set_up(mut self, call_timeout: Duration) -> Result<Link, Failure> {
        let limit = (call_timeout + GRACE).as_millis().to_string();
        let user_timeout = call_timeout.as_millis().to_string();
        let own = [("statement_timeout", &*limit), ("tcp_user_timeout", &*user_timeout)];
        let wanted: Vec<String> =
            SESSION.iter().chain(&own).map(|(name, value)| format!("('{name}', '{value}')")).collect();
        // What is stronger than `on` stays: nobody who asked for `remote_apply` gets less.
        let session = format!(
            "SELECT set_config(name, value, false) FROM (VALUES {}) AS wanted(name, value)
                WHERE name IN (SELECT name FROM pg_settings);
            SELECT set_config('synchronous_commit', 'on', false)
                WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')",
            wanted.join(", ")
        );
        self.client.batch_execute(&session).await?;
        // Known since version 14, and refused by systems that cannot find out: then the statement's own limit does.
        let _ = self.client.batch_execute("SET client_connection_check_interval = 2000").await;
        let meta = format!("\"{}\".meta", self.schema);
        let row = self
            .client
            .query_one(
                "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean,
                    to_regnamespace($1) IS NOT NULL, to_regclass($2) IS NOT NULL",
                &[&self.schema, &meta],
            )
            .await?;
        let has_schema: bool = row.try_get(2)?;
        self.is_standby = row.try_get(0)?;
        self.is_read_only = row.try_get(1)?;
        self.has_tables = row.try_get(3)?;
        if !self.has_tables && !self.is_read_only {
            self.client.batch_execute(&schema::create(&self.schema, has_schema)).await?;
            self.has_tables = true;
        }
        if self.has_tables {
            self.check_format().await?;
        }
        Ok(self)
    }

    async fn check_format(&self) -> Result<(), Failure> {
        let asked = self.client.query(&format!("SELECT format FROM \"{}\".meta", self.schema), &[]).await;
        let rows = match asked {
            Ok(rows) => rows,
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_COLUMN) => {
                return Err(schema::unknown_format(&self.schema, "a table meta of something else").into());
            }
            Err(error) => return Err(error.into()),
        };
        let formats: Option<Vec<i32>> = rows.iter().map(|row| row.try_get(0).ok()).collect();
        match formats.as_deref() {
            Some([schema::FORMAT]) => Ok(()),
            Some([other]) => {
                Err(schema::unknown_format(&self.schema, format!("journal format {other}")).into())
            }
            _ => Err(schema::unknown_format(&self.schema, "a table meta of something else").into()),
        }
    }

    /// Whether the connection is gone, as far as is known.
    pub(crate) fn is_over(&self) -> bool {
        self.client.is_closed() || self.inbox.said.lock().over
    }

    /// Asks, and returns all rows once the transaction is over: a commit that fails at its end is a failure.
    pub(crate) async fn query(
        &mut self,
        which: Which,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        let statement = self.statement(which).await?;
        Ok(self.client.query(&statement, values).await?)
    }

    /// Asks, and returns how many rows were changed once the transaction is over.
    pub(crate) async fn execute(
        &mut self,
        which: Which,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Failure> {
        let statement = self.statement(which).await?;
        Ok(self.client.execute(&statement, values).await?)
    }

    /// A statement, prepared at its first use.
    async fn statement(&mut self, which: Which) -> Result<Statement, Failure> {
        let slot = &mut self.statements[which as usize];
        if let Some(statement) = slot {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(&which.sql(&self.schema)).await?;
        Ok(slot.insert(statement).clone())
    }

    /// Where the tables are.
    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// Asks something that is asked rarely.
    pub(crate) async fn ask(&self, text: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        Ok(self.client.query(text, values).await?)
    }

    /// Runs statements without values.
    pub(crate) async fn run(&self, text: &str) -> Result<(), Failure> {
        Ok(self.client.batch_execute(text).await?)
    }

    /// Tries to get the lock that tells others there is a writer.
    pub(crate) async fn try_lock(&mut self, key: i64) -> Result<bool, Failure> {
        if !self.holds_lock {
            let row = self.client.query_one("SELECT pg_try_advisory_lock($1)", &[&key]).await?;
            self.holds_lock = row.try_get(0)?;
        }
        Ok(self.holds_lock)
    }

    /// Gives the lock back.
    pub(crate) async fn unlock(&mut self, key: i64) -> Result<(), Failure> {
        if std::mem::take(&mut self.holds_lock) {
            self.client.query_one("SELECT pg_advisory_unlock($1)", &[&key]).await?;
        }
        Ok(())
    }

    /// Listens to what writers tell.
    pub(crate) async fn listen(&mut self) -> Result<(), Failure> {
        if !self.listens {
            self.client.batch_execute(&format!("LISTEN {}", schema::channel(&self.schema))).await?;
            self.listens = true;
        }
        Ok(())
    }

    /// Tells who listens where the journal ends now, and returns as soon as that is on its way.
    ///
    /// Telling is a transaction too, and one that would wait for the disk: it is told not to, since nothing is lost with it.
    pub(crate) async fn tell(&self, position: u64) {
        let channel = schema::channel(&self.schema);
        let text = format!(
            "SELECT set_config('synchronous_commit', 'off', true), pg_notify('{channel}', '{position}')"
        );
        let mut told = pin!(self.client.batch_execute(&text));
        poll_fn(|cx| {
            let _ = told.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
        // The connection's turn: it writes what was just handed to it.
        tokio::task::yield_now().await;
    }

    /// Waits until a writer tells of more than so many positions. What was told before counts, once.
    pub(crate) async fn hear(&self, beyond: u64) -> Result<(), Failure> {
        loop {
            {
                let mut said = self.inbox.said.lock();
                if std::mem::take(&mut said.heard) > beyond {
                    return Ok(());
                }
                if said.over {
                    return Err(match said.ended.take() {
                        Some(error) => error.into(),
                        None => Error::new(Code::JournalUnreachable, "the journal's connection ended").into(),
                    });
                }
            }
            self.inbox.more.notified().await;
        }
    }

    /// Warnings since they were last taken.
    pub(crate) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.inbox.said.lock().warnings)
    }

    /// Ends the connection, whatever is under way on it.
    pub(crate) async fn close(self) {
        let Link { client, driver, .. } = self;
        driver.abort();
        drop(client);
        // It ends at once, or has ended: then the socket is closed.
        let _ = driver.await;
    }
}

type Connected = (Client, JoinHandle<()>, Arc<Inbox>);

async fn connect(config: &Config, target: &Target) -> Result<Connected, tokio_postgres::Error> {
    let (client, mut connection) = config.connect(target.tls.clone()).await?;
    let inbox = Arc::new(Inbox::default());
    let kept = Arc::clone(&inbox);
    let driver = tokio::spawn(async move {
        loop {
            let message = poll_fn(|cx| connection.poll_message(cx)).await;
            let mut said = kept.said.lock();
            match message {
                Some(Ok(AsyncMessage::Notification(told))) => {
                    said.heard = said.heard.max(told.payload().parse().unwrap_or(0));
                }
                Some(Ok(AsyncMessage::Notice(notice))) => {
                    // Bounded: whoever never asks for them must not pay for a server that goes on warning.
                    if said.warnings.len() < 16 {
                        said.warnings.push(notice.message().to_owned());
                    }
                    tracing::debug!(warning = notice.message(), "PostgreSQL warns");
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    said.ended = Some(error);
                    said.over = true;
                }
                None => said.over = true,
            }
            kept.more.notify_one();
            if said.over {
                return;
            }
        }
    });
    Ok((client, driver, inbox))
}
