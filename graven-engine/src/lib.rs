//! The embedded Graven event store.
//!
//! The log is the database: one totally ordered, append-only sequence of events with a Merkle tree over it. Everything
//! else (indexes, statistics, tiles) is derived from it. This crate knows no HTTP, gRPC or protobuf and runs no async
//! runtime of its own; its calls block, and the two that wait ([`PendingAppend`], [`Follower`]) are futures too.
//!
//! ```
//! use graven_engine::model::{AppendRequest, EventId, Expected, NewEvent, ReadRequest, Revision, Selector, StreamName};
//! use graven_engine::{Options, Store};
//!
//! # fn main() -> Result<(), graven_engine::model::Error> {
//! # let dir = tempfile::tempdir().expect("a temporary directory");
//! # let options = Options::small();
//! # let dir = dir.path();
//! let store = Store::open(dir, options)?;
//! let loan = StreamName::new("loan-1")?;
//! let submitted = NewEvent::json(
//!     EventId::parse("0192f0c1-23e4-7abc-8def-0123456789ab")?,
//!     "LoanSubmitted",
//!     r#"{"amount":20000}"#,
//! )
//! .tagged(["customer:7"]);
//!
//! // Durable when this returns; a retry with the same id gets the same receipt.
//! let receipt = store.append(AppendRequest::to(loan.clone(), Expected::NoStream, [submitted]))?;
//! assert_eq!(receipt.streams[0].revision, Some(Revision(0)));
//!
//! let page = store.read(&ReadRequest::new(Selector::Stream(loan)))?;
//! assert_eq!(&page.events[0].event.data[..], br#"{"amount":20000}"#);
//! store.close()
//! # }
//! ```
//!
//! # In the process or over the network
//!
//! [`Store`] and the client of a server implement one trait, [`EventStore`]. A program written against it changes one line
//! to go over the network:
//!
//! ```
//! # use graven_engine::model::{AppendRequest, EventId, Expected, NewEvent, ReadRequest, Result, Selector, StreamName};
//! use graven_engine::{EventStore, Options, Store};
//!
//! async fn submit(store: &impl EventStore) -> Result<()> {
//!     let loan = StreamName::new("loan-1")?;
//!     let submitted = NewEvent::json(EventId([7; 16]), "LoanSubmitted", r#"{"amount":20000}"#);
//!     store.append(AppendRequest::to(loan.clone(), Expected::NoStream, [submitted])).await?;
//!     let page = store.read(&ReadRequest::new(Selector::Stream(loan))).await?;
//!     assert_eq!(page.events.len(), 1);
//!     Ok(())
//! }
//!
//! # fn main() -> Result<()> {
//! # let dir = tempfile::tempdir().expect("a temporary directory");
//! # let (dir, options) = (dir.path(), Options::small());
//! let store = Store::open(dir, options)?; // or graven_client::Client::connect("http://127.0.0.1:2113").await?
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
//! # runtime.block_on(submit(&store))?;
//! # store.close()
//! # }
//! ```
//!
//! # Features
//!
//! `measure-without-audit` adds an option that leaves the audit trail out, for measuring what it costs and for nothing
//! else: only the bench sets it, no shipped binary has it, and a store written so is refused by every start.
//!
//! Read in this order: [`store`] (the front door), `append`, `journal`, `log`, `index`, `read`,
//! `subscription`, `audit`, [`env`].

mod append;
pub mod audit;
pub mod env;
mod index;
pub mod journal;
mod log;
pub mod node;
mod read;
pub mod replica;
mod snapshot;
mod stats;
pub mod store;
mod subscription;

pub use append::PendingAppend;
pub use graven_model as model;
pub use graven_model::limits;
pub use graven_model::{
    Counts, EventStore, FollowRequest, FollowStep, FollowSteps, Frames, NamedCounts, Stats, StoreInfo,
    StreamInfo, StreamList, StreamListRequest,
};
pub use read::follow::Follower;
pub use read::listed::{EventList, ListReading};
pub use read::targets::Targets;
pub use store::{Gathered, Options, Store};
pub use subscription::{Consumer, ConsumerHandle, GroupTotals, Groups};
