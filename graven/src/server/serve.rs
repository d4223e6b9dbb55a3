//! Listening, connections and the end of them.

use super::anchor::AnchorView;
use super::metrics::Metrics;
use super::socket::PatientSocket;
use super::{App, ServeOptions, grpc, routes};
use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use bytes::{Bytes, BytesMut};
use graven_engine::Store;
use graven_model::{Code, Error, limits};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Header fields of one request.
const HEADERS_MAX: usize = 100;

/// Bytes a connection reads or writes at once.
const BUFFER_BYTES_MAX: usize = 128 << 10;

/// How a client that speaks HTTP/2 begins (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of one call a client may send ahead, and of all calls of a connection: enough for full speed over a network
/// with a round trip of 10 ms, and a bound on what a connection may make the server hold.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;

/// The same where very many connections are open: what HTTP/2 does not let a server fall below.
const NARROW_WINDOW_BYTES: u32 = 65_535;

/// HTTP/2 connections at a time with wide windows. What all clients together can make the server hold beside the room of
/// the bodies is half a gigabyte in wide windows, and less than that in the narrow ones of all others.
const WIDE_CONNECTIONS_MAX: usize = 256;

/// Calls of one HTTP/2 connection at a time.
const STREAMS_MAX: u32 = 256;

/// Bytes of one HTTP/2 frame: fewer, larger ones for large messages.
const FRAME_BYTES_MAX: u32 = 64 << 10;

/// Bytes of one answer that wait for the socket.
const SEND_BYTES_MAX: usize = 1 << 20;

/// How often a silent HTTP/2 connection is asked whether its client still lives, and how long that may take. It is never
/// closed for being silent.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Pause after the system refused a connection (no file descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests in flight may take when the store is opened again: those who wait for reads are to be answered
/// within a second.
const REOPEN_GRACE: Duration = Duration::from_millis(300);

/// Why a store is no longer served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The server stops.
    Stop,
    /// The store is to be opened again, and served by the same server.
    Reopen,
}

/// A socket that is listened on, and what outlives a store that is served.
pub(crate) struct Server {
    /// Gone once the server stops.
    listener: Option<TcpListener>,
    address: SocketAddr,
    options: ServeOptions,
    metrics: Arc<Metrics>,
    room: Arc<Semaphore>,
}

impl Server {
    /// Listens. Whoever connects waits until a store is served.
    ///
    /// # Errors
    /// [`Code::InsecureListen`] for an address other machines reach without `insecure`; an error that names the address
    /// if it cannot be listened on.
    pub(crate) async fn bind(options: ServeOptions) -> anyhow::Result<Server> {
        check_address(options.listen, options.insecure)?;
        let listener = listen(options.listen).await?;
        let address = listener.local_addr().context("the system does not say where it listens")?;
        tracing::info!(%address, "listening");
        Ok(Server {
            listener: Some(listener),
            address,
            metrics: Arc::new(Metrics::new()),
            room: Arc::new(Semaphore::new(options.connections_max)),
            options,
        })
    }

    /// What outsiders have vouched for of the store that is served next, for whoever asks.
    pub(crate) fn show(&mut self, anchors: Option<AnchorView>) {
        self.options.anchors = anchors;
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves a store until `ending` resolves, then lets requests in flight finish within a grace period. Does not close
    /// the store.
    ///
    /// The end has this order: no new connection is accepted and `/readyz` says no; event streams and long reads end;
    /// other requests are answered; what is left after the grace period is cut off. When the store is only to be opened
    /// again, the period is short, and connections that come meanwhile wait.
    ///
    /// # Errors
    /// [`Code::Closed`] after [`Ending::Stop`]; otherwise only if the system gives no randomness.
    pub(crate) async fn serve(
        &mut self,
        store: Store,
        ending: impl Future<Output = Ending>,
    ) -> anyhow::Result<Ending> {
        let listener = self
            .listener
            .as_ref()
            .ok_or_else(|| Error::new(Code::Closed, "the server has stopped listening"))?;
        let (stop, stopping) = watch::channel(false);
        let app = App::new(store, self.options.clone(), stopping, self.metrics.clone());
        let app = Arc::new(app.context("the system gives no randomness")?);
        let services = Services {
            router: routes::router(app.clone()),
            grpc: grpc::Grpc::new(app.clone())?,
            wide: Arc::new(Semaphore::new(WIDE_CONNECTIONS_MAX)),
        };
        let mut connections = JoinSet::new();
        let mut ending = pin!(ending);
        let ending = loop {
            tokio::select! {
                ending = &mut ending => break ending,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!("a connection ended in a panic: {error}");
                    }
                }
                (permit, accepted) = accept(listener, &self.room) => match accepted {
                    Ok(stream) => {
                        let serving = connection(app.clone(), services.clone(), stream);
                        connections.spawn(async move {
                            serving.await;
                            drop(permit);
                        });
                    }
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!("cannot accept a connection: {error}");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        };
        let grace = match ending {
            Ending::Stop => {
                tracing::info!(connections = connections.len(), "stopping");
                self.listener = None;
                self.options.shutdown_grace
            }
            Ending::Reopen => REOPEN_GRACE.min(self.options.shutdown_grace),
        };
        stop.send_replace(true);
        services.grpc.stopping().await;
        let finish = async { while connections.join_next().await.is_some() {} };
        if timeout(grace, finish).await.is_err() {
            tracing::warn!(connections = connections.len(), "cutting off what did not finish in time");
            connections.shutdown().await;
        }
        Ok(ending)
    }
}

/// Only this machine's own addresses, unless told otherwise.
///
/// # Errors
/// [`Code::InsecureListen`].
pub(crate) fn check_address(listen: SocketAddr, insecure: bool) -> Result<(), Error> {
    if insecure || listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let message = format!("{listen} is reached by other machines, and nobody is asked who he is");
    Err(Error::new(Code::InsecureListen, message).expected("a loopback address such as 127.0.0.1:2113"))
}

/// Listens on an address.
///
/// # Errors
/// [`Code::Io`] with the address.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            Error::new(Code::Io, format!("cannot listen on {address}: another process does"))
                .expected("a free port; stop the other process, or choose another with --listen")
        }
        _ => Error::io(format!("cannot listen on {address}"), &error),
    })
}

/// Waits for room, then for a connection: without room further ones wait in the kernel's queue.
pub(crate) async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (tokio::sync::OwnedSemaphorePermit, io::Result<TcpStream>) {
    let permit = room.clone().acquire_owned().await.expect("the semaphore of connections is never closed");
    (permit, listener.accept().await.map(|(stream, _)| stream))
}

/// Whether only the connection that was to be accepted is gone.
pub(crate) fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Where the client of a request is; among the request's extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(SocketAddr);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who answers requests.
#[derive(Clone)]
struct Services {
    router: Router,
    grpc: grpc::Grpc,
    /// Room for connections with wide windows.
    wide: Arc<Semaphore>,
}

async fn connection(app: Arc<App>, services: Services, mut stream: TcpStream) {
    // Answers are written whole; waiting to fill packets would only delay them.
    let _ = stream.set_nodelay(true);
    let _open = app.metrics.connection();
    let begun = tokio::select! {
        begun = timeout(app.options.head_timeout, begin(&mut stream)) => begun,
        () = until_stopping(&app) => return,
    };
    let Ok(Ok((begun, is_http2))) = begun else { return };
    let Ok(peer) = stream.peer_addr().map(Peer) else { return };
    let socket = TokioIo::new(PatientSocket::new(stream, begun, app.options.stall_timeout));
    let outcome = if is_http2 {
        serve_http2(&app, services, socket, peer).await
    } else {
        serve_http1(&app, services.router, socket, peer).await
    };
    if let Err(error) = outcome {
        tracing::debug!("a connection ended early: {error}");
    }
}

/// Reads as much as it takes to tell HTTP/2 from HTTP/1: `PRI` is no method anybody has.
async fn begin(stream: &mut TcpStream) -> io::Result<(Bytes, bool)> {
    let mut begun = BytesMut::with_capacity(HTTP2_PREFACE.len());
    loop {
        // No byte more than the preface has: what follows is not read twice.
        let mut rest = (&mut *stream).take((HTTP2_PREFACE.len() - begun.len()) as u64);
        if rest.read_buf(&mut begun).await? == 0 {
            return Ok((begun.freeze(), false));
        }
        if !HTTP2_PREFACE.starts_with(&begun) {
            return Ok((begun.freeze(), false));
        }
        if begun.len() == HTTP2_PREFACE.len() {
            return Ok((begun.freeze(), true));
        }
    }
}

async fn serve_http1(
    app: &App,
    router: Router,
    socket: TokioIo<PatientSocket>,
    peer: Peer,
) -> hyper::Result<()> {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.options.head_timeout)
        .max_header_size(limits::HTTP_HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(socket, service);
    let mut serving = pin!(serving);
    tokio::select! {
        outcome = serving.as_mut() => outcome,
        () = until_stopping(app) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    }
}

/// gRPC, and the same paths as over HTTP/1.
async fn serve_http2(
    app: &App,
    services: Services,
    socket: TokioIo<PatientSocket>,
    peer: Peer,
) -> hyper::Result<()> {
    let Services { router, grpc, wide } = services;
    let wide = wide.try_acquire();
    let (stream_window, connection_window) = match wide {
        Ok(_) => (STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES),
        Err(_) => (NARROW_WINDOW_BYTES, NARROW_WINDOW_BYTES),
    };
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let (grpc, router) = (grpc.clone(), router.clone());
        async move {
            match grpc::is_call(&request) {
                true => Ok(grpc.answer(request.map(Body::new)).await),
                false => router.call(request).await,
            }
        }
    });
    let serving = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(stream_window)
        .initial_connection_window_size(connection_window)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_header_list_size(limits::HTTP_HEAD_BYTES_MAX as u32)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(socket, service);
    let mut serving = pin!(serving);
    tokio::select! {
        outcome = serving.as_mut() => outcome,
        () = until_stopping(app) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    }
}

async fn until_stopping(app: &App) {
    let _ = app.stopping.clone().wait_for(|stopping| *stopping).await;
}
