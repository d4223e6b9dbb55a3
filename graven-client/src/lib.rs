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
//! - **Followers** ([`EventStore::follow`]) make their connection again and go on after the last step.
//!
//! Has to be used within a tokio runtime. Read in this order: `client`, `options`, `append`, `read`, `follow`.

mod answers;
mod append;
mod backoff;
mod client;
mod follow;
mod interface;
mod options;
mod read;
mod status;
mod words;

pub use append::{AppendSession, PendingAppend};
pub use client::{Client, Counters};
pub use follow::Follower;
pub use graven_model as model;
pub use graven_model::{EventStore, FollowSteps};
pub use options::Options;
