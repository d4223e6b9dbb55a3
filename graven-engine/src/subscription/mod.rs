//! Consumer groups: [`Groups`] is the front door, which servers call; [`Consumer`] gets events.
//!
//! A group is a state machine (`machine`) that a thread reads and writes for while somebody consumes (`group`). What it has to
//! remember it writes as events into `$group-<name>` (`records`, `log`), and its settings into `$groups`; nobody else writes
//! there, and no group gets any of it. What is parked is in memory with what is needed to choose it (`letters`).
//!
//! Nothing here waits for a consumer, and no lock that acknowledging takes is held over a read or a write.

mod consumer;
mod group;
mod groups;
mod letters;
mod log;
mod machine;
mod records;
mod settings;
mod source;
mod totals;

pub use consumer::{Consumer, ConsumerHandle};
pub use groups::Groups;
pub use totals::GroupTotals;
