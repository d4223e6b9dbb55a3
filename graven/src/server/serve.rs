//! Listening, connections and the end of them.

use super::socket::PatientSocket;
use super::{App, ServeOptions, routes};
use anyhow::Context as _;
use axum::Router;
use graven_engine::Store;
use graven_model::{Code, Error, limits};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Header fields of one request.
const HEADERS_MAX: usize = 100;

/// Bytes a connection reads or writes at once.
const BUFFER_BYTES_MAX: usize = 128 << 10;

/// Pause after the system refused a connection (no file descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the store until `shutdown` resolves, then lets requests in flight finish within the grace period. Calls
/// `on_ready` with the address once connections are accepted. Does not close the store.
///
/// Shutdown ends in this order: no new connection is accepted and `/readyz` says no; event streams and long reads end;
/// other requests are answered; what is left after the grace period is cut off.
///
/// # Errors
/// [`Code::InsecureListen`] for an address other machines reach without `insecure`; an error that names the address if
/// it cannot be listened on.
pub(crate) async fn serve(
    store: Store,
    options: ServeOptions,
    on_ready: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    check_address(&options)?;
    let listener = listen(options.listen).await?;
    let address = listener.local_addr().context("the system does not say where it listens")?;
    let (stop, stopping) = watch::channel(false);
    let connections_max = options.connections_max;
    let grace = options.shutdown_grace;
    let app = Arc::new(App::new(store, options, stopping).context("the system gives no randomness")?);
    let router = routes::router(app.clone());
    let room = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    tracing::info!(%address, "listening");
    on_ready(address);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!("a connection ended in a panic: {error}");
                }
            }
            (permit, accepted) = accept(&listener, &room) => match accepted {
                Ok(stream) => {
                    let serving = connection(app.clone(), router.clone(), stream);
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
    }
    tracing::info!(connections = connections.len(), "stopping");
    drop(listener);
    stop.send_replace(true);
    let finish = async { while connections.join_next().await.is_some() {} };
    if timeout(grace, finish).await.is_err() {
        tracing::warn!(connections = connections.len(), "cutting off what did not finish in time");
        connections.shutdown().await;
    }
    Ok(())
}

fn check_address(options: &ServeOptions) -> Result<(), Error> {
    if options.insecure || options.listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let message = format!("{} is reached by other machines, and nobody is asked who he is", options.listen);
    Err(Error::new(Code::InsecureListen, message).expected("a loopback address such as 127.0.0.1:2113"))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            Error::new(Code::Io, format!("cannot listen on {address}: another process does"))
                .expected("a free port; stop the other process, or choose another with --listen")
        }
        _ => Error::io(format!("cannot listen on {address}"), &error),
    })
}

/// Waits for room, then for a connection: without room further ones wait in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (tokio::sync::OwnedSemaphorePermit, io::Result<TcpStream>) {
    let permit = room.clone().acquire_owned().await.expect("the semaphore of connections is never closed");
    (permit, listener.accept().await.map(|(stream, _)| stream))
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

async fn connection(app: Arc<App>, router: Router, stream: TcpStream) {
    // Answers are written whole; waiting to fill packets would only delay them.
    let _ = stream.set_nodelay(true);
    let _open = app.metrics.connection();
    let mut stopping = app.stopping.clone();
    let socket = TokioIo::new(PatientSocket::new(stream, app.options.stall_timeout));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.options.head_timeout)
        .max_header_size(limits::HTTP_HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(socket, TowerToHyperService::new(router));
    let mut serving = pin!(serving);
    let outcome = tokio::select! {
        outcome = serving.as_mut() => outcome,
        () = async { let _ = stopping.wait_for(|stopping| *stopping).await; } => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!("a connection ended early: {error}");
    }
}
