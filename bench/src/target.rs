//! What is measured, behind one trait: [`Target`] is a store with a way to talk to it, [`Client`] one user of it.
//!
//! Every target is given the same events and is asked the same things. What one cannot do it does not offer; nothing
//! is emulated in its place.

use crate::events::Event;
use anyhow::Result;
use std::pin::Pin;
use std::time::Instant;

/// Events a group's consumer has in its hands at the most.
pub(crate) const CONSUMER_BUFFER: u32 = 512;
/// Events it acknowledges at a time.
pub(crate) const ACKS_BATCH: usize = 64;

/// A call on its way.
pub(crate) type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// How the clients of a target reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Every client has a connection of its own and one call on its way at a time.
    Own,
    /// All clients share one connection; each has one call on its way at a time.
    Shared,
    /// All clients share one client library, which gathers what they append into one pipelined session.
    Session,
    /// No connection: the store runs in the process that loads it.
    InProcess,
}

impl Layout {
    /// As the report says it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Layout::Own => "own connections",
            Layout::Shared => "one connection",
            Layout::Session => "one session",
            Layout::InProcess => "in process",
        }
    }
}

/// By what the ten events of an entity are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The stream they stand in.
    Stream,
    /// The tag they carry.
    Tag,
}

/// What may be asked of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Append a batch.
    Append,
    /// Append, unless an event of some type is there.
    Condition,
    /// Read the log from beginning to end.
    ReadAll,
    /// Read the ten events of an entity.
    ReadTen(By),
    /// Read the events of the category from beginning to end.
    ReadCategory,
    /// Take the category's events as a group's consumer and acknowledge them.
    Consume,
    /// Be told of events as they come.
    Follow,
}

/// A store and one way to talk to it.
pub(crate) trait Target: Send + Sync {
    /// Product and interface, as the report says it.
    fn name(&self) -> &'static str;

    /// How its clients reach it.
    fn layout(&self) -> Layout;

    /// Whether it can do this.
    fn offers(&self, ask: Ask) -> bool;

    /// One more client, ready to be used.
    fn connect(&self) -> Later<'_, Box<dyn Client>>;

    /// The processes that do the store's work.
    fn processes(&self) -> Vec<u32>;
}

/// One user of a target. Calls that the target does not offer answer with an error.
pub(crate) trait Client: Send {
    /// Appends a batch atomically and returns when it is durable. With `unless`, only if the whole log has no event of
    /// that type.
    fn append<'a>(&'a mut self, events: &'a [Event], unless: Option<&'a str>) -> Later<'a, ()>;

    /// Reads and decodes the whole log; returns how many events it had.
    fn read_all(&mut self) -> Later<'_, u64> {
        Box::pin(async { anyhow::bail!("this target does not read whole logs") })
    }

    /// Reads and decodes the events of an entity; returns how many it had.
    fn read_entity<'a>(&'a mut self, _by: By, _entity: &'a str) -> Later<'a, u64> {
        Box::pin(async { anyhow::bail!("this target does not read entities") })
    }

    /// Reads and decodes all events of the category; returns how many there were.
    fn read_category(&mut self) -> Later<'_, u64> {
        Box::pin(async { anyhow::bail!("this target does not read categories") })
    }

    /// As the only consumer of a new group over the category, takes this many events from its beginning and acknowledges
    /// them, or stops earlier when it is time; returns how many it took.
    fn consume(&mut self, _events: u64, _until: Instant) -> Later<'_, u64> {
        Box::pin(async { anyhow::bail!("this target has no groups") })
    }

    /// Follows the log from its end.
    fn follow(&mut self) -> Later<'_, Box<dyn Follow>> {
        Box::pin(async { anyhow::bail!("this target has no subscriptions") })
    }
}

/// A subscription.
pub(crate) trait Follow: Send {
    /// Waits for events and returns how many came.
    fn next(&mut self) -> Later<'_, u64>;
}
