//! Starting and stopping whole products: each gives the targets that measure it.

#[cfg(feature = "peers")]
use crate::setup::Postgres;
#[cfg(feature = "peers")]
use crate::target::Layout;
use crate::target::Target;
use crate::targets::floor::Floor;
use crate::targets::graven_grpc::{GravenGrpc, Use};
use crate::targets::graven_http::GravenHttp;
use crate::targets::graven_process::GravenProcess;
use crate::targets::graven_server::GravenServer;
#[cfg(feature = "peers")]
use crate::targets::{
    message_db::{MessageDb, MessageDbServer},
    umadb::{UmaDb, UmaDbServer},
};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Something that is started and stopped as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Product {
    /// The disk: one write, one flush.
    Floor,
    /// Graven in this process.
    Library,
    /// The Graven server.
    Graven,
    /// The UmaDB server.
    #[cfg(feature = "peers")]
    UmaDb,
    /// PostgreSQL with message-db.
    #[cfg(feature = "peers")]
    MessageDb,
    /// Two Graven servers that share a journal in PostgreSQL.
    #[cfg(feature = "peers")]
    Shared,
}

/// What products need to start.
#[derive(Debug)]
pub(crate) struct Installed {
    /// The Graven binary.
    pub(crate) graven: PathBuf,
    /// The same, built without the audit trail for measuring what that costs; not in quick runs.
    pub(crate) graven_without_audit: Option<PathBuf>,
    /// PostgreSQL and message-db, if they could be installed.
    #[cfg(feature = "peers")]
    pub(crate) postgres: Option<Postgres>,
}

/// A product that runs. Dropped, it is stopped.
pub(crate) struct Running {
    /// Which.
    pub(crate) product: Product,
    /// Ways to talk to it.
    pub(crate) targets: Vec<Arc<dyn Target>>,
    /// Where its data lies.
    pub(crate) data: PathBuf,
    server: Handle,
}

enum Handle {
    None,
    Graven(Arc<GravenServer>),
    #[cfg(feature = "peers")]
    UmaDb(Arc<UmaDbServer>),
    #[cfg(feature = "peers")]
    MessageDb(Arc<MessageDbServer>),
}

impl Product {
    /// Every product that can be measured here.
    pub(crate) fn all(installed: &Installed) -> Vec<Product> {
        let own = [Product::Floor, Product::Library, Product::Graven];
        #[cfg(feature = "peers")]
        let peers = [Some(Product::UmaDb), installed.postgres.as_ref().map(|_| Product::MessageDb)];
        #[cfg(not(feature = "peers"))]
        let (peers, _): ([Option<Product>; 0], _) = ([], installed);
        own.into_iter().chain(peers.into_iter().flatten()).collect()
    }

    /// Starts it with its data below `dir`, where it may have been before.
    ///
    /// # Errors
    /// If it does not become ready.
    pub(crate) fn start(self, installed: &Installed, dir: &Path) -> Result<Running> {
        let dir = dir.join(format!("{self:?}").to_lowercase());
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let running = |targets, data, server| Running { product: self, targets, data, server };
        Ok(match self {
            Product::Floor => {
                let floor: Arc<dyn Target> = Arc::new(Floor::create(&dir)?);
                running(vec![floor], dir, Handle::None)
            }
            Product::Library => {
                let data = dir.join("store");
                let library = GravenProcess::open(&data)?;
                let targets: Vec<Arc<dyn Target>> = vec![Arc::new(library.by_frames()), Arc::new(library)];
                running(targets, data, Handle::None)
            }
            Product::Graven => {
                let server = GravenServer::start(&installed.graven, &dir)?;
                let server = Arc::new(server);
                let grpc = |how| -> Arc<dyn Target> { Arc::new(GravenGrpc::new(Arc::clone(&server), how)) };
                let http: Arc<dyn Target> = Arc::new(GravenHttp(Arc::clone(&server)));
                let targets = vec![http, grpc(Use::Frames), grpc(Use::Session), grpc(Use::Calls)];
                running(targets, dir.join("store"), Handle::Graven(server))
            }
            #[cfg(feature = "peers")]
            Product::Shared => {
                let postgres = installed.postgres.as_ref().context("PostgreSQL is not installed")?;
                let postgres = MessageDbServer::start(postgres, &dir.join("postgres"))?;
                let server = Arc::new(GravenServer::start_shared(&installed.graven, &dir, postgres)?);
                let grpc = |how| -> Arc<dyn Target> { Arc::new(GravenGrpc::new(Arc::clone(&server), how)) };
                let targets = vec![grpc(Use::Session), grpc(Use::Calls)];
                running(targets, dir.join("writer/store"), Handle::Graven(server))
            }
            #[cfg(feature = "peers")]
            Product::UmaDb => {
                let server = UmaDbServer::start(&dir)?;
                let server = Arc::new(server);
                let target =
                    |layout| -> Arc<dyn Target> { Arc::new(UmaDb::new(Arc::clone(&server), layout)) };
                let targets = vec![target(Layout::Shared), target(Layout::Own)];
                running(targets, dir.join("uma.db"), Handle::UmaDb(server))
            }
            #[cfg(feature = "peers")]
            Product::MessageDb => {
                let postgres = installed.postgres.as_ref().context("PostgreSQL is not installed")?;
                let server = Arc::new(MessageDbServer::start(postgres, &dir)?);
                let target: Arc<dyn Target> = Arc::new(MessageDb(Arc::clone(&server)));
                let data = server.data().to_owned();
                running(vec![target], data, Handle::MessageDb(server))
            }
        })
    }
}

impl Running {
    /// Whether it is a process of its own.
    pub(crate) fn is_server(&self) -> bool {
        !matches!(self.product, Product::Floor | Product::Library)
    }

    /// Whether its server does everything in one process.
    pub(crate) fn is_one_process(&self) -> bool {
        #[cfg(feature = "peers")]
        if matches!(self.product, Product::MessageDb | Product::Shared) {
            return false;
        }
        self.is_server()
    }

    /// Stops it as its users would and waits.
    ///
    /// # Errors
    /// If it does not end.
    pub(crate) fn stop(self) -> Result<()> {
        let Running { targets, server, .. } = self;
        drop(targets);
        match server {
            Handle::None => Ok(()),
            Handle::Graven(server) => only(server)?.stop(),
            #[cfg(feature = "peers")]
            Handle::UmaDb(server) => only(server)?.stop(),
            #[cfg(feature = "peers")]
            Handle::MessageDb(server) => only(server)?.stop(),
        }
    }

    /// Ends it as a crash of its process would.
    ///
    /// # Errors
    /// If somebody still talks to it, or it is not a Graven server.
    pub(crate) fn kill(self) -> Result<()> {
        let Running { targets, server, .. } = self;
        drop(targets);
        match server {
            Handle::Graven(server) => only(server).map(GravenServer::kill),
            _ => anyhow::bail!("only a Graven server is killed"),
        }
    }
}

fn only<T>(server: Arc<T>) -> Result<T> {
    Arc::into_inner(server).context("a client still holds the server")
}
