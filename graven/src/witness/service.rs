//! Listening for logs, and the end of it.

use super::{Witness, answer};
use crate::server::{PatientSocket, accept, check_address, is_of_one_connection, listen};
use anyhow::Context as _;
use axum::Router;
use bytes::Bytes;
use graven_model::limits;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long a log may take for a request's head, and stay silent between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long an answer may stay unread.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long requests in flight may take after the signal to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Pause after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes a connection reads or writes at once.
const BUFFER_BYTES_MAX: usize = 32 << 10;

/// Header fields of one request.
const HEADERS_MAX: usize = 64;

/// A socket that is listened on for a witness.
pub(crate) struct Service {
    listener: TcpListener,
    address: SocketAddr,
}

impl Service {
    /// Listens. Whoever connects waits until [`Service::run`].
    ///
    /// # Errors
    /// `Code::InsecureListen` for an address other machines reach without `insecure`; an error that names the address
    /// if it cannot be listened on.
    pub(crate) async fn bind(address: SocketAddr, insecure: bool) -> anyhow::Result<Service> {
        check_address(address, insecure)?;
        let listener = listen(address).await?;
        let address = listener.local_addr().context("the system does not say where it listens")?;
        Ok(Service { listener, address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers for a witness until `ending` resolves; requests in flight are finished then, within a few seconds.
    pub(crate) async fn run(self, witness: Arc<Witness>, ending: impl Future<Output = ()>) {
        let (stop, stopping) = watch::channel(false);
        let router = answer::router(witness);
        let room = Arc::new(Semaphore::new(limits::WITNESS_CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        let mut ending = pin!(ending);
        loop {
            tokio::select! {
                () = &mut ending => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!("a connection ended in a panic: {error}");
                    }
                }
                (permit, accepted) = accept(&self.listener, &room) => match accepted {
                    Ok(stream) => {
                        let serving = connection(router.clone(), stream, stopping.clone());
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
        drop(self.listener);
        stop.send_replace(true);
        let finish = async { while connections.join_next().await.is_some() {} };
        if timeout(GRACE, finish).await.is_err() {
            tracing::warn!(connections = connections.len(), "cutting off what did not finish in time");
            connections.shutdown().await;
        }
    }
}

async fn connection(router: Router, stream: TcpStream, stopping: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let socket = TokioIo::new(PatientSocket::new(stream, Bytes::new(), STALL_TIMEOUT));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(BUFFER_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(socket, TowerToHyperService::new(router));
    let mut serving = pin!(serving);
    let outcome = tokio::select! {
        outcome = serving.as_mut() => outcome,
        () = until(stopping) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!("a connection ended early: {error}");
    }
}

async fn until(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
