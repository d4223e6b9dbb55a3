//! The client of a Graven server.
//!
//! [`Client`] implements [`EventStore`], as the engine's store does. A program written against that trait goes over the
//! network by changing the line that opens the store:
//!
//! ```no_run
//! use graven_client::model::{AppendRequest, EventId, Expected, NewEvent, ReadRequest, Result, Selector, StreamName};
//! use graven_client::{Client, EventStore};
//!
//! async fn submit(store: &impl EventStore) -> Result<()> {
//!     let loan = StreamName::new("loan-1")?;
//!     let id = EventId::parse("0192f0c1-23e4-7abc-8def-0123456789ab")?;
//!     let submitted = NewEvent::json(id, "LoanSubmitted", r#"{"amount":20000}"#);
//!     // Durable when this returns; a retry with the same id gets the same receipt.
//!     store.append(AppendRequest::to(loan.clone(), Expected::NoStream, [submitted])).await?;
//!     let page = store.read(&ReadRequest::new(Selector::Stream(loan))).await?;
//!     assert_eq!(page.events.len(), 1);
//!     Ok(())
//! }
//!
//! # async fn example() -> Result<()> {
//! let store = Client::connect("http://127.0.0.1:2113").await?; // or Store::open("data", Options::default())?
//! submit(&store).await
//! # }
//! ```
//!
//! - **Appends** of all clones of a client are gathered into one session: each is a plain call, and many travel together
//!   with one flush. No timer holds a lone one back. Those whose order matters go through an [`AppendSession`].
//! - **Retries** are safe and done for you: an append is sent again with the same event ids, so the store does it once.
//!   One without events is not sent again when its answer was lost.
//! - **Long reads** are streams: [`Client::read_stream`], [`Client::pages`], [`Client::frames`].
//! - **Several nodes** that share a journal: a client may be connected to any of them. Appends go to the one that writes by
//!   themselves, reads stay where they are and see what the client has written. See [`Options::read_your_writes`].
//! - **Proofs**: [`Client::checkpoint`], [`Client::inclusion`], [`Client::append_proven`]; with a [`Pin`] a client notices when the
//!   history it saw was rewritten.
//! - **Followers** ([`EventStore::follow`]) make their connection again and go on after the last step.
//!
//! A client of a follower writes and reads its own write; a third program reads that write at another follower:
//!
//! ```no_run
//! use graven_client::model::{AppendRequest, EventId, Expected, NewEvent, Position, ReadRequest, Result, Selector, StreamName};
//! use graven_client::{Client, EventStore};
//!
//! # async fn example() -> Result<()> {
//! let near = Client::connect("http://follower-1:2113").await?;
//! let loan = StreamName::new("loan-1")?;
//! let submitted = NewEvent::json(EventId::parse("0192f0c1-23e4-7abc-8def-0123456789ab")?, "LoanSubmitted", "{}");
//! // The follower names the writer, and the append goes there.
//! let receipt = near.append(AppendRequest::to(loan.clone(), Expected::Any, [submitted])).await?;
//! // The read is answered by the follower, once it has the event.
//! let page = near.read(&ReadRequest::new(Selector::Stream(loan.clone()))).await?;
//! assert!(!page.events.is_empty());
//!
//! // Whoever is told the position can see the event anywhere.
//! let position: Position = receipt.last_position.expect("an event was appended");
//! let other = Client::connect("http://follower-2:2113").await?.seeing(position);
//! assert!(!other.read(&ReadRequest::new(Selector::Stream(loan))).await?.events.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! Has to be used within a tokio runtime. Read in this order: `client`, `options`, `writer`, `append`, `read`, `follow`, `audit`.

mod answers;
mod append;
pub mod audit;
mod backoff;
mod client;
mod follow;
mod groups;
mod interface;
mod options;
mod read;
mod snapshots;
mod status;
mod words;
mod writer;

pub use append::{AppendSession, PendingAppend};
pub use audit::Pin;
pub use client::{Client, Counters};
pub use follow::Follower;
pub use graven_model as model;
pub use graven_model::{EventStore, FollowSteps};
pub use graven_proof as proof;
pub use groups::{ConsumeOptions, Consumed, GroupConsumer, Groups};
pub use options::Options;
