//! The HTTP server: everything under `/v1`, health, metrics and the OpenAPI document, on one port.
//!
//! `main` binds a [`Server`] and has it serve an open store. Files are named after what is asked: [`append`], [`import`], [`read`]
//! (with [`page`], [`ndjson`] and [`follow`] as its three answers), [`streams`], [`lookup`], [`info`], [`node`], [`groups`]. The server never
//! decides anything about events: it reads requests, bounds them, calls the store and writes answers. File reads
//! go through [`blocking`] unless they are short ([`pace`]); appends are awaited, or written here when they come alone.

mod anchor;
mod answer_room;
mod append;
mod append_body;
mod audit;
mod body;
mod feed;
mod follow;
mod frames;
mod groups;
mod grpc;
mod import;
mod info;
mod json;
mod kurrent;
mod long_read;
mod lookup;
mod media;
mod metrics;
mod min_position;
mod ndjson;
mod node;
mod openapi;
mod pace;
mod page;
mod path;
mod preconditions;
mod problem;
mod query_params;
mod read;
mod read_options;
mod routes;
mod schema;
mod serve;
mod snapshots;
mod socket;
mod streams;

pub(crate) use anchor::{AnchorSettings, Anchors, Mode, TIMESTAMPS_DIR, cosigned_beside};
pub(crate) use body::discard;
pub(crate) use openapi::openapi_json;
pub(crate) use problem::Problem;
pub(crate) use serve::{Ending, Server, accept, check_address, is_of_one_connection, listen};
pub(crate) use socket::PatientSocket;

use anchor::AnchorView;
use answer_room::AnswerRoom;
use audit::verification::Verification;
use graven_engine::Store;
use graven_engine::env::{Entropy, Env};
use graven_model::{Code, Error, EventId, Result, limits};
use kurrent::Scavenging;
use metrics::Metrics;
use pace::Pace;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// How to serve. [`ServeOptions::new`] gives the defaults.
#[derive(Debug, Clone)]
pub(crate) struct ServeOptions {
    /// Where to listen; port 0 lets the system choose.
    pub(crate) listen: SocketAddr,
    /// Listen on an address other machines reach, although nobody is asked who he is.
    pub(crate) insecure: bool,
    /// How long requests in flight may take after shutdown began.
    pub(crate) shutdown_grace: Duration,
    /// Connections at a time.
    pub(crate) connections_max: usize,
    /// Bytes of one request body.
    pub(crate) body_bytes_max: usize,
    /// Bytes of all request bodies held at a time.
    pub(crate) bodies_bytes_max: usize,
    /// How long a client may take for a request's head, and stay silent between requests.
    pub(crate) head_timeout: Duration,
    /// How long a body may pause.
    pub(crate) body_idle_timeout: Duration,
    /// How long a request waits for room for its body.
    pub(crate) body_room_timeout: Duration,
    /// How long an append may take until it is durable.
    pub(crate) append_timeout: Duration,
    /// How long a client may leave an answer unread before it is cut off.
    pub(crate) stall_timeout: Duration,
    /// Pause between keep-alive comments of a silent event stream.
    pub(crate) keep_alive: Duration,
    /// What outsiders have vouched for.
    pub(crate) anchors: Option<AnchorView>,
}

impl ServeOptions {
    /// The defaults for an address.
    pub(crate) fn new(listen: SocketAddr) -> ServeOptions {
        ServeOptions {
            listen,
            insecure: false,
            shutdown_grace: Duration::from_secs(10),
            connections_max: limits::HTTP_CONNECTIONS_MAX,
            body_bytes_max: limits::HTTP_BODY_BYTES_MAX,
            bodies_bytes_max: limits::HTTP_BODIES_BYTES_MAX,
            head_timeout: Duration::from_secs(30),
            body_idle_timeout: Duration::from_secs(30),
            body_room_timeout: Duration::from_secs(30),
            append_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(60),
            keep_alive: Duration::from_secs(15),
            anchors: None,
        }
    }
}

/// Page reads that run at a time: more would only wait for each other.
const READS_MAX: usize = 32;

/// Waits for a checkpoint that run at a time. Those that wait together share a signature.
const SIGNS_MAX: usize = 64;

/// What every handler shares.
struct App {
    store: Store,
    options: ServeOptions,
    metrics: Arc<Metrics>,
    /// Room for request bodies, in bytes.
    bodies: Arc<Semaphore>,
    /// Page reads under way on threads that may block.
    reads: Semaphore,
    /// Threads that wait for a checkpoint.
    signs: Semaphore,
    verification: Arc<Verification>,
    scavenging: Arc<Scavenging>,
    pace: Pace,
    /// Room for answers that wait for their readers.
    answers: AnswerRoom,
    /// True once shutdown began.
    stopping: watch::Receiver<bool>,
    ids: Mutex<Entropy>,
    env: Env,
}

impl App {
    fn new(
        store: Store,
        options: ServeOptions,
        stopping: watch::Receiver<bool>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<App> {
        let env = Env::real();
        Ok(App {
            store,
            metrics,
            bodies: Arc::new(Semaphore::new(options.bodies_bytes_max)),
            reads: Semaphore::new(READS_MAX),
            signs: Semaphore::new(SIGNS_MAX),
            verification: Arc::default(),
            scavenging: Arc::default(),
            pace: Pace::new(),
            answers: AnswerRoom::new(),
            stopping,
            ids: Mutex::new(env.entropy(0x6874_7470)?),
            env,
            options,
        })
    }

    /// A random UUID (version 4) for an event that came without one.
    fn new_event_id(&self) -> EventId {
        let mut bytes: [u8; 16] =
            self.ids.lock().expect("nothing panics while it holds the generator").bytes();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        EventId(bytes)
    }

    /// Runs one read of the store on a thread that may block.
    ///
    /// # Errors
    /// Those of `work`.
    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _turn = self.reads.acquire().await.expect("the semaphore of reads is never closed");
        let app = self.clone();
        blocking(move || work(&app.store)).await
    }

    /// [`App::read_short`] or [`App::read`].
    ///
    /// # Errors
    /// As [`App::read`].
    async fn read_page<T: Send + 'static>(
        self: &Arc<Self>,
        short: bool,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if short { self.read_short(work).await } else { self.read(work).await }
    }

    /// As [`App::read`], for a read of a few events: on this very thread, while such reads do not wait for a disk.
    ///
    /// # Errors
    /// As [`App::read`].
    async fn read_short<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // What panics is told as it is of work on another thread.
        let app = self.clone();
        let work = move || catch_unwind(AssertUnwindSafe(|| work(&app.store)));
        match self.pace.here(work) {
            Ok(outcome) => outcome.unwrap_or_else(|_| Err(panicked())),
            Err(work) => self.read(move |_| work().unwrap_or_else(|_| Err(panicked()))).await,
        }
    }
}

/// Runs work on a thread that may block.
///
/// # Errors
/// Those of `work`; [`Code::Internal`] if it panics; [`Code::Unavailable`] if the runtime is ending.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => Err(panicked()),
        Err(_) => Err(stopping()),
    }
}

fn panicked() -> Error {
    Error::new(Code::Internal, "the request panicked; the log says where")
}

fn stopping() -> Error {
    Error::new(Code::Unavailable, "the server is stopping")
}

#[cfg(test)]
mod tests;
