//! The words of Graven: what an event, an append, a read and an error *are*, on paper.
//!
//! Everything here is true without a store, a disk or a network. Every other crate speaks these types; none of
//! them does I/O. Read in this order: [`ids`], [`event`], [`append`], [`read`], [`store`], [`error`],
//! [`limits`].

pub mod append;
pub mod cloudevents;
pub mod cursor;
pub mod erasure;
pub mod error;
pub mod event;
pub mod frame;
pub mod group;
pub mod ids;
pub mod limits;
pub mod names;
pub mod read;
pub mod snapshot;
pub mod store;
pub mod time;

pub use append::{
    AppendRequest, Condition, Expected, FailedCheck, Idempotency, Receipt, StreamReceipt, StreamState,
    StreamWrite,
};
pub use cursor::Cursor;
pub use error::{Code, Error, Result};
pub use event::{
    CheckState, ContentType, ContentTypeRef, EventRef, Kind, NewEvent, SchemaRef, StoredEvent, TagsRef,
};
pub use group::{
    Backoff, ConsumerInfo, ConsumerOptions, DeadLetter, DeadLetterFilter, DeadLetterPage, Delivery,
    GroupInfo, GroupName, GroupSettings, Nack, ParkReason, ReplayPolicy, Strategy,
};
pub use ids::{EventId, Position, Revision, StreamName, Text};
pub use names::Names;
pub use read::{
    Direction, EventFilter, FollowRequest, FollowStep, Page, PageEnd, Pattern, Query, QueryItem, ReadRequest,
    Selector, Start,
};
pub use snapshot::{FromSnapshot, FromSnapshotRequest, NewSnapshot, Snapshot, SnapshotOf, SnapshotReceipt};
pub use store::{
    Counts, EventStore, FollowSteps, Frames, NamedCounts, Stats, StoreInfo, StreamInfo, StreamList,
    StreamListRequest,
};
pub use time::Timestamp;
