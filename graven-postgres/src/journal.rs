//! [`PostgresJournal`]: compare and append, read and trim.

use crate::failure::Failure;
use crate::link::Link;
use crate::schema;
use crate::settings::{Settings, Target};
use crate::statements::Which;
use bytes::{Bytes, BytesMut};
use graven_engine::journal::{Batch, Journal, Outcome, Tail};
use graven_engine::replica::LogIdentity;
use graven_model::limits::{APPEND_BYTES_MAX, BATCH_BYTES_MAX};
use graven_model::{Code, Error, Result};
use std::fmt;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// Bytes of one batch: what the engine makes of appends together, or one that is larger than that.
pub(crate) const FRAMES_BYTES_MAX: usize =
    if APPEND_BYTES_MAX > BATCH_BYTES_MAX { APPEND_BYTES_MAX } else { BATCH_BYTES_MAX };

/// Batches of one answer: bounds what is held for them beside their frames.
const READ_BATCHES: i64 = 1_000;

/// Batches that go in one piece of a trim, so that none takes longer than a call may.
const TRIM_BATCHES: i64 = 1_000;

/// A journal in PostgreSQL. See the crate.
///
/// It connects at its first call, and anew at the next call after a failure. Its calls must not come from an async runtime;
/// it may be dropped on one.
pub struct PostgresJournal {
    pub(crate) settings: Settings,
    pub(crate) target: Target,
    /// There until the journal is dropped.
    runtime: Option<Runtime>,
    pub(crate) link: Option<Link>,
    pub(crate) log: Option<LogIdentity>,
    pub(crate) tail: Tail,
    /// The term this journal claimed, until it learns that it is over.
    pub(crate) held: Option<Held>,
    /// Somebody waited: every connection listens.
    pub(crate) listens: bool,
    /// A write was sent whose outcome was not told.
    unsettled: bool,
}

/// A term of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) epoch: u32,
    pub(crate) writer: [u8; 16],
}

impl PostgresJournal {
    /// A journal that will connect when it is first asked.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] if the settings are wrong; [`Code::Io`] if the system refuses what a connection needs.
    pub fn new(settings: Settings) -> Result<PostgresJournal> {
        let target = settings.target()?;
        let runtime = Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(|error| Error::io("cannot wait for the journal's network", &error))?;
        Ok(PostgresJournal {
            settings,
            target,
            runtime: Some(runtime),
            link: None,
            log: None,
            tail: Tail::default(),
            held: None,
            listens: false,
            unsettled: false,
        })
    }

    /// A journal that is connected: its tables are there, and [`Journal::tail`] is what they say.
    ///
    /// # Errors
    /// Those of [`PostgresJournal::new`]; [`Code::JournalUnreachable`] if PostgreSQL cannot be reached or does not let us
    /// in; [`Code::UnknownFormat`] if the schema holds something else.
    pub fn open(settings: Settings) -> Result<PostgresJournal> {
        let mut journal = PostgresJournal::new(settings)?;
        journal.call("open the journal", async |_| Ok(()))?;
        Ok(journal)
    }

    /// Where it is, without the password: for logs.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.target.name
    }

    /// Calls PostgreSQL, over a new connection if there is none. Ends the connection if the call fails.
    pub(crate) fn call<T>(
        &mut self,
        what: &str,
        work: impl AsyncFnOnce(&mut Link) -> Result<T, Failure>,
    ) -> Result<T> {
        self.attempt(what, work)?.map_err(|failure| failure.into_error(what, &self.target.name))
    }

    /// As [`PostgresJournal::call`], and tells what failed apart: connecting, which comes before anything is sent, as the
    /// outer error, the call itself as the inner one.
    pub(crate) fn attempt<T>(
        &mut self,
        what: &str,
        work: impl AsyncFnOnce(&mut Link) -> Result<T, Failure>,
    ) -> Result<Result<T, Failure>> {
        self.reach(what)?;
        Ok(self.send(work))
    }

    /// Connects if there is no connection.
    fn reach(&mut self, what: &str) -> Result<()> {
        self.connect().map_err(|failure| failure.into_error(what, &self.target.name))
    }

    /// Calls PostgreSQL over the connection there is.
    fn send<T>(&mut self, work: impl AsyncFnOnce(&mut Link) -> Result<T, Failure>) -> Result<T, Failure> {
        let outcome = self.drive(self.settings.call_timeout, work);
        if outcome.is_err() {
            self.disconnect();
        }
        outcome
    }

    /// Drives the connection while `work` waits for it.
    pub(crate) fn drive<T>(
        &mut self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut Link) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let runtime = self.runtime.as_ref().expect("the runtime is there until the journal is dropped");
        let link = self.link.as_mut().expect("connected before anything is asked");
        runtime.block_on(async { timeout(limit, work(link)).await.unwrap_or(Err(Failure::Silence)) })
    }

    pub(crate) fn disconnect(&mut self) {
        if let (Some(link), Some(runtime)) = (self.link.take(), &self.runtime) {
            runtime.block_on(link.close());
        }
    }

    /// Connects if there is no connection, or one that has ended unnoticed.
    fn connect(&mut self) -> Result<(), Failure> {
        if self.link.is_some() {
            // A look at the socket: what a server that went away said last is read here, not in the middle of a commit.
            let over = self.drive(self.settings.call_timeout, async |link| {
                // Once for the socket to be looked at, once for the connection to read what is there.
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                Ok(link.is_over())
            });
            if matches!(over, Ok(false)) {
                return Ok(());
            }
            self.disconnect();
        }
        let runtime = self.runtime.as_ref().expect("the runtime is there until the journal is dropped");
        self.link = Some(runtime.block_on(Link::open(&self.settings, &self.target))?);
        let entered = self.enter();
        if entered.is_err() {
            self.disconnect();
        }
        entered
    }

    /// What a new connection has to know and to do.
    fn enter(&mut self) -> Result<(), Failure> {
        let (unsettled, listens) = (self.unsettled, self.listens);
        let (row, settled) = self.drive(self.settings.call_timeout, async |link| {
            if !link.has_tables {
                return Ok((None, false));
            }
            let settles = unsettled && !link.is_read_only;
            if settles {
                // What is read after this is as safe as what was acknowledged.
                link.execute(Which::Settle, &[]).await?;
            }
            if listens && !link.is_standby {
                link.listen().await?;
            }
            Ok((link.query(Which::Look, &[&0_i64]).await?.pop(), settles))
        })?;
        self.unsettled &= !settled;
        let Some(row) = row else { return Ok(()) };
        let seen = Seen::of(&row)?;
        self.learn(&seen)?;
        // Others may have taken the lock while we were away: a courtesy that is lost.
        if let Some(held) = self.held
            && seen.is_of(held)
            && let Some(key) = self.lock_key()
        {
            self.drive(self.settings.call_timeout, async |link| link.try_lock(key).await)?;
        }
        Ok(())
    }

    /// Takes note of what the journal says of itself.
    ///
    /// # Errors
    /// [`Code::HistoryDiverged`] if it is another log's than it was.
    pub(crate) fn learn(&mut self, seen: &Seen) -> Result<()> {
        match (&self.log, &seen.log) {
            (Some(known), Some(found)) if known.log_id != found.log_id => {
                return Err(Error::new(
                    Code::HistoryDiverged,
                    format!("the journal at {} is another log's than it was", self.target.name),
                )
                .expected(known.log_id.to_string())
                .found(found.log_id.to_string()));
            }
            (None, Some(found)) => self.log = Some(found.clone()),
            _ => {}
        }
        self.tail = seen.tail.unwrap_or(self.begin());
        if self.held.is_some_and(|held| !seen.is_of(held)) {
            self.held = None;
        }
        Ok(())
    }

    /// Where an empty journal ends.
    pub(crate) fn begin(&self) -> Tail {
        Tail { position: 0, checksum: self.log.as_ref().map_or(0, |log| crc32c::crc32c(&log.log_id.0)) }
    }

    pub(crate) fn lock_key(&self) -> Option<i64> {
        self.log.as_ref().map(|log| schema::writer_lock(&self.settings.schema, log.log_id.0))
    }

    /// Whose log it is.
    ///
    /// # Errors
    /// If nobody's yet.
    pub(crate) fn founded(&self) -> Result<()> {
        match self.log {
            Some(_) => Ok(()),
            None => Err(Error::new(
                Code::JournalUnreachable,
                format!("the journal at {} is of no log yet", self.target.name),
            )
            .expected("a node that has founded it")),
        }
    }

    fn try_commit(&mut self, batch: &Batch) -> Result<Outcome> {
        let values = Values::of(batch)?;
        let what = "commit a batch";
        self.reach(what)?; // what fails here fails before anything is sent
        self.founded()?;
        let begin = i64::from(self.begin().checksum);
        let outcome = self.send(async |link| {
            link.take_warnings();
            let stored = link.execute(Which::Commit, &values.with(&begin)).await;
            let stored = match stored {
                Err(failure) if failure.state() == Some(&SqlState::UNIQUE_VIOLATION) => 0,
                stored => stored?,
            };
            // Somebody ended the wait for the standby: it is stored here, and acknowledged by nobody else.
            let waited = |warning: &String| warning.contains("synchronous replication");
            match link.take_warnings().into_iter().find(waited) {
                Some(warning) => {
                    Err(Error::new(Code::JournalUnreachable, format!("cannot {what}: {warning}")).into())
                }
                None => Ok(stored),
            }
        });
        match outcome {
            Ok(1) => {
                self.tail = batch.tail;
                // Not part of the commit: if it is lost, whoever waits waits a little longer.
                let told = self.drive(self.settings.call_timeout, async |link| {
                    link.tell(batch.tail.position).await;
                    Ok(())
                });
                if told.is_err() {
                    self.disconnect();
                }
                Ok(Outcome::Appended(batch.tail))
            }
            Ok(_) => {
                let row = self.call("ask where the journal ends", async |link| {
                    Ok(link.query(Which::Look, &[&0_i64]).await?.pop())
                })?;
                self.learn(&Seen::of(&row.ok_or_else(|| no_row("meta"))?)?)?;
                self.leave_what_is_over()?;
                Ok(Outcome::Conflict(self.tail))
            }
            Err(failure) => {
                self.unsettled = true;
                Err(failure.into_error(what, &self.target.name))
            }
        }
    }

    /// Gives the writer's lock back if the term is another's.
    pub(crate) fn leave_what_is_over(&mut self) -> Result<()> {
        let holds_lock = self.link.as_ref().is_some_and(|link| link.holds_lock);
        if self.held.is_none()
            && holds_lock
            && let Some(key) = self.lock_key()
        {
            self.call("leave the journal to another writer", async |link| link.unlock(key).await)?;
        }
        Ok(())
    }

    /// A write other than a commit, of which an error leaves open what became of it.
    pub(crate) fn change<T>(
        &mut self,
        what: &str,
        work: impl AsyncFnOnce(&mut Link) -> Result<T, Failure>,
    ) -> Result<T> {
        let outcome = self.attempt(what, work)?;
        self.unsettled |= outcome.is_err();
        outcome.map_err(|failure| failure.into_error(what, &self.target.name))
    }
}

impl Journal for PostgresJournal {
    fn tail(&self) -> Tail {
        self.tail
    }

    fn commit(&mut self, batch: &Batch) -> Outcome {
        self.try_commit(batch).unwrap_or_else(Outcome::Unknown)
    }

    /// Also learns where the journal ends. If what holds `from` was trimmed, it begins with the first batch there is.
    fn read(&mut self, from: u64, bytes_max: usize) -> Result<Vec<Batch>> {
        let Ok(from) = i64::try_from(from) else { return Ok(Vec::new()) };
        let bytes_max = i64::try_from(bytes_max).unwrap_or(i64::MAX);
        let rows = self.call("read the journal", async |link| {
            if !link.has_tables {
                return Ok(Vec::new());
            }
            link.query(Which::Read, &[&from, &bytes_max, &READ_BATCHES]).await
        })?;
        self.tail = match rows.first() {
            Some(row) => tail_of(row, "tail_position", "tail_checksum")?.ok_or_else(|| no_row("the tail"))?,
            None => self.begin(),
        };
        let mut batches: Vec<Batch> = Vec::with_capacity(rows.len());
        for row in &rows {
            let Some(batch) = batch_of(row)? else { break };
            if batches.last().is_some_and(|last| last.tail != batch.expected) {
                break; // a gap
            }
            batches.push(batch);
        }
        Ok(batches)
    }

    fn trim(&mut self, before: u64) -> Result<()> {
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        self.change("trim the journal", async |link| link.execute(Which::Trim, &[&before]).await)?;
        loop {
            let went = self.change("trim the journal", async |link| {
                link.execute(Which::Delete, &[&before, &TRIM_BATCHES]).await
            })?;
            if went < TRIM_BATCHES.cast_unsigned() {
                return Ok(());
            }
        }
    }
}

impl fmt::Debug for PostgresJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresJournal")
            .field("settings", &self.settings)
            .field("tail", &self.tail)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

impl Drop for PostgresJournal {
    fn drop(&mut self) {
        // With the runtime goes the connection: at once, wherever this happens, and without waiting for a host's name.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What `Which::Look` tells.
pub(crate) struct Seen {
    pub(crate) log: Option<LogIdentity>,
    pub(crate) term: graven_engine::journal::Term,
    /// The last batch's.
    pub(crate) tail: Option<Tail>,
    /// Of the last batch that begins before the position asked for.
    pub(crate) here: Option<Tail>,
}

impl Seen {
    pub(crate) fn of(row: &Row) -> Result<Seen> {
        let log_id: Option<&[u8]> = get(row, "log_id")?;
        let log = match log_id {
            None => None,
            Some(id) => Some(LogIdentity {
                log_id: graven_model::EventId(sixteen(id)?),
                origin: get(row, "origin")?,
                created_at: graven_model::Timestamp::from_micros(get(row, "created_at")?),
            }),
        };
        let term = graven_engine::journal::Term {
            epoch: small(get(row, "epoch")?)?,
            writer: sixteen(get(row, "writer")?)?,
            address: get(row, "address")?,
        };
        let tail = tail_of(row, "tail_position", "tail_checksum")?;
        let here = tail_of(row, "here_position", "here_checksum")?;
        Ok(Seen { log, term, tail, here })
    }

    fn is_of(&self, held: Held) -> bool {
        self.term.epoch == held.epoch && self.term.writer == held.writer
    }
}

/// A batch as PostgreSQL takes it.
pub(crate) struct Values<'a> {
    pub(crate) first: i64,
    pub(crate) end: i64,
    previous: i64,
    pub(crate) checksum: i64,
    epoch: i64,
    writer: &'a [u8],
    number: i64,
    pub(crate) frames: Frames<'a>,
    pub(crate) frame_bytes: i32,
}

impl<'a> Values<'a> {
    pub(crate) fn of(batch: &'a Batch) -> Result<Values<'a>> {
        let bytes = batch.frames.len();
        if bytes > FRAMES_BYTES_MAX {
            return Err(Error::new(Code::AppendTooLarge, "a batch is larger than the journal takes")
                .expected(format!("at most {FRAMES_BYTES_MAX} bytes"))
                .found(bytes.to_string()));
        }
        if batch.tail.position <= batch.expected.position {
            return Err(Error::new(Code::Internal, "a batch holds no events"));
        }
        Ok(Values {
            first: large(batch.expected.position)?,
            end: large(batch.tail.position)?,
            previous: batch.expected.checksum.into(),
            checksum: batch.tail.checksum.into(),
            epoch: batch.epoch.into(),
            writer: &batch.writer,
            number: large(batch.number)?,
            frames: Frames(&batch.frames),
            frame_bytes: i32::try_from(bytes).expect("the bound on a batch is below 2 GiB"),
        })
    }

    fn with<'s>(&'s self, begin: &'s i64) -> [&'s (dyn ToSql + Sync); 10] {
        [
            &self.first,
            &self.end,
            &self.previous,
            &self.checksum,
            &self.epoch,
            &self.writer,
            &self.number,
            &self.frames,
            &self.frame_bytes,
            begin,
        ]
    }
}

/// Frames as a value. Shows its length only: values are logged by the driver, and payloads are logged by nobody.
pub(crate) struct Frames<'a>(&'a [u8]);

impl fmt::Debug for Frames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl ToSql for Frames<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.0.to_sql(kind, out)
    }

    fn accepts(kind: &Type) -> bool {
        <&[u8] as ToSql>::accepts(kind)
    }

    to_sql_checked!();
}

/// The batch of a row, `None` if it holds none.
fn batch_of(row: &Row) -> Result<Option<Batch>> {
    let Some(first) = get::<Option<i64>>(row, "first_position")? else { return Ok(None) };
    let tail = tail_of(row, "end_position", "checksum")?.ok_or_else(|| no_row("a batch's end"))?;
    let frames: &[u8] = get(row, "frames")?;
    let frame_bytes: i32 = get(row, "frame_bytes")?;
    if usize::try_from(frame_bytes) != Ok(frames.len()) {
        return Err(Error::new(
            Code::Corrupted,
            format!("the journal's batch at {first} is not what was stored"),
        )
        .expected(format!("{frame_bytes} bytes"))
        .found(frames.len().to_string()));
    }
    Ok(Some(Batch {
        expected: Tail { position: whole(first)?, checksum: small(get(row, "previous_checksum")?)? },
        tail,
        epoch: small(get(row, "epoch")?)?,
        writer: sixteen(get(row, "writer")?)?,
        number: whole(get(row, "number")?)?,
        frames: Bytes::copy_from_slice(frames),
    }))
}

fn tail_of(row: &Row, position: &str, checksum: &str) -> Result<Option<Tail>> {
    let (position, checksum) = (get::<Option<i64>>(row, position)?, get::<Option<i64>>(row, checksum)?);
    match (position, checksum) {
        (Some(position), Some(checksum)) => {
            Ok(Some(Tail { position: whole(position)?, checksum: small(checksum)? }))
        }
        _ => Ok(None),
    }
}

pub(crate) fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, name: &str) -> Result<T> {
    row.try_get(name).map_err(|error| odd(format!("{name}: {error}")))
}

fn large(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| {
        Error::new(Code::Internal, format!("{number} does not fit into a column of PostgreSQL"))
            .expected(format!("at most {}", i64::MAX))
    })
}

fn whole(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| odd(format!("a negative number, {number}")))
}

pub(crate) fn small(number: i64) -> Result<u32> {
    u32::try_from(number).map_err(|_| odd(format!("{number}, which is no number of 32 bits")))
}

fn sixteen(bytes: &[u8]) -> Result<[u8; 16]> {
    bytes.try_into().map_err(|_| odd(format!("an id of {} bytes", bytes.len())))
}

pub(crate) fn no_row(what: &str) -> Error {
    odd(format!("no row for {what}"))
}

fn odd(found: String) -> Error {
    Error::new(Code::Corrupted, "the journal's tables hold something no node wrote").found(found)
}
