//! The embedded Graven event store.
//!
//! The log is the database: one totally ordered, append-only sequence of events with a Merkle tree over it. Everything
//! else (indexes, statistics, tiles) is derived from it. This crate knows no HTTP, gRPC or protobuf and runs no async
//! runtime of its own; its calls block, and the two that wait ([`PendingAppend`], [`Follower`]) are futures too.
//!
//! Read in this order: [`store`] (the front door), `append`, `journal`, `log`, `index`, `read`, `audit`, [`env`].

mod append;
mod audit;
pub mod env;
mod index;
pub mod journal;
mod log;
mod read;
mod stats;
pub mod store;

pub use append::PendingAppend;
pub use graven_model as model;
pub use graven_model::limits;
pub use read::follow::{FollowRequest, FollowStep, Follower};
pub use stats::{Counts, NamedCounts, Stats};
pub use store::{Options, Store, StoreInfo, StreamInfo, StreamList, StreamListRequest};
