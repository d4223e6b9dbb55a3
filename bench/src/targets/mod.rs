//! One file a target.

pub(crate) mod floor;
pub(crate) mod graven_grpc;
pub(crate) mod graven_http;
pub(crate) mod graven_kurrent;
pub(crate) mod graven_process;
pub(crate) mod graven_server;
#[cfg(feature = "peers")]
pub(crate) mod message_db;
#[cfg(feature = "peers")]
pub(crate) mod umadb;
