//! A journal in PostgreSQL, which several nodes share: [`PostgresJournal`].
//!
//! One node writes, all of them keep a copy; see [`graven_engine::journal`] for the laws. PostgreSQL is the judge of who
//! comes first: a commit is one statement that appends a batch if the journal ends where the batch expects it, and if
//! nobody has begun a later term.
//!
//! Acknowledged means: PostgreSQL has acknowledged the commit of a transaction, with `synchronous_commit` on. On a server
//! that flushes (`fsync`), a batch survives the death of the server and the loss of power. It survives the loss of the
//! server's machine only with a synchronous standby (`synchronous_standby_names`), and a promotion only of that one.
//! [`SharedJournal::risks`](graven_engine::journal::SharedJournal::risks) names what is missing, and [`verify`] tries a
//! database out.
//!
//! PostgreSQL 13 or later. A connection pooler between must leave a session its connection: terms are told by a lock that
//! a session holds, and news comes by `LISTEN`.
//!
//! Calls block. They come from plain threads, not from an async runtime: the journal drives its connection on a runtime of
//! its own, only while a call runs, and on the caller's thread. Only looking up a host's name borrows another thread.
//!
//! Read in this order: `settings`, `schema`, `statements`, `journal`, `shared`, `link`, `tls`, `failure`, `risks`, `verify`.

mod failure;
mod journal;
mod link;
mod risks;
mod schema;
mod settings;
mod shared;
mod statements;
mod tls;
mod verify;

pub use journal::PostgresJournal;
pub use settings::Settings;
pub use verify::{Report, verify};
