//! One of several nodes that share a journal: [`Store::open_shared`].
//!
//! The journal is where an append becomes durable; every node keeps a copy of it as log, index and tree of its own and
//! serves reads from there. One node writes. The others follow: they read batches from the journal, check every one as
//! [`crate::replica`] checks a backup, and make them visible. Who writes is decided in the journal alone: a node claims the
//! next epoch, and from then on the journal refuses batches of earlier ones. No node ever asks another one anything.
//!
//! ```text
//!              claim                        conflict: an epoch after this one
//!  follower ───────────▶ writer ───────────────────────────────▶ stepped down
//!     ▲  reads batches     commits batches, then writes them      reads only; opened again
//!     │  and checks them   into its copy                          it is a follower
//!     └────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A copy never holds what the journal has not confirmed, so nothing of it has ever to be taken back. If the journal turns
//! out to lack what a copy holds (an asynchronous standby was promoted, a backup of the database restored), the node says
//! so, keeps its copy, serves reads, and neither follows nor writes any more.

mod commit;
mod feed;
mod membership;
mod thread;

pub(crate) use feed::frames_from;
pub(crate) use membership::Membership;
pub use membership::{Role, Standing};

use crate::env::{Entropy, Env};
use crate::journal::{Claim, SharedJournal, Term};
use crate::replica::{LogIdentity, MARK_FILE, Replica};
use crate::store::open::{new_log, read_identity};
use crate::{Options, Store};
use feed::Feed;
use graven_model::{Code, Error, Position, Result};
use std::path::Path;
use thread::Begin;

/// How a node takes part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeOptions {
    /// Where clients reach this node while it writes, as an `http://` or `https://` URL; empty if nobody is told.
    pub address: String,
    /// Never write, unless [`Store::take_over`] is called.
    pub follow: bool,
}

impl Store {
    /// Opens this node's copy of a journal in a directory, or begins one in an empty or missing directory. If no other
    /// writer is connected to the journal, and unless it is to follow, the node claims the journal, reads what is missing
    /// here, and writes; otherwise it follows, and reads what is missing while it serves. The first node makes the journal
    /// that of a new log. While the journal cannot be reached, a copy is opened all the same: it shows what it has, and the
    /// rest follows when the journal answers. `progress` hears position reached and position wanted.
    ///
    /// # Errors
    /// Those of [`Store::open`]; [`Code::HistoryDiverged`] if journal and copy do not share a history, or the journal lost
    /// what the copy holds; [`Code::JournalUnreachable`] if there is no copy yet; [`Code::UnknownFormat`] for a directory
    /// with a store whose journal is its own log.
    pub fn open_shared(
        dir: impl AsRef<Path>,
        mut journal: Box<dyn SharedJournal>,
        options: &Options,
        node: NodeOptions,
        progress: &mut dyn FnMut(Position, Position),
    ) -> Result<Store> {
        let dir = dir.as_ref();
        let env = &options.env;
        let (identity, away) = agree(env, dir, options, &mut *journal)?;
        let mut feed = Feed::new(Replica::open(dir, &identity, options)?, journal);
        let Err(away) = away else {
            let mut view = feed.join()?;
            let term = if node.follow { None } else { claim(env, &mut feed, &node.address)? };
            if term.is_some() {
                view = feed.catch_up(progress)?;
            }
            return thread::start(feed, node, Begin::Joined(view, term), options);
        };
        tracing::warn!(error = %away, "the journal cannot be reached; what is here is shown meanwhile");
        thread::start(feed, node, Begin::Away(away), options)
    }
}

/// The identity of the log that journal and copy are of; of the copy alone, with why, if the journal cannot be reached.
fn agree(
    env: &Env,
    dir: &Path,
    options: &Options,
    journal: &mut dyn SharedJournal,
) -> Result<(LogIdentity, Result<()>)> {
    let here = match env.disk.list(dir) {
        Ok(names) if names.iter().any(|name| name == MARK_FILE) => read_identity(env, dir)?,
        Ok(_) if read_identity(env, dir)?.is_some() => {
            return Err(Error::new(
                Code::UnknownFormat,
                format!("{} holds a store whose journal is its own log", dir.display()),
            )
            .expected("an empty directory, or the copy of a shared journal")
            .found("a store; `graven backup` and `graven restore --journal` bring it into a journal"));
        }
        _ => None,
    };
    match (journal.identity(), &here) {
        (Err(error), Some(here)) if error.code == Code::JournalUnreachable => Ok((here.into(), Err(error))),
        (Err(error), _) => Err(error),
        (Ok(Some(identity)), _) => Ok((identity, Ok(()))),
        (Ok(None), None) => Ok((journal.found(&new_log(options, &mut entropy(env, 0)?))?, Ok(()))),
        (Ok(None), Some(here)) => Err(Error::new(
            Code::HistoryDiverged,
            format!("{}: the journal holds no log, and this is a copy of one", dir.display()),
        )
        .expected(format!("log {}", here.log_id))
        .found("an empty journal")),
    }
}

/// Claims the journal for this node; `None` if another writer is connected.
fn claim(env: &Env, feed: &mut Feed, address: &str) -> Result<Option<Term>> {
    let writer = writer_id(env)?;
    match feed.claim(writer, address, Claim::IfVacant) {
        Ok(term) => Ok(Some(term)),
        Err(error) if error.code == Code::NotTheWriter => {
            tracing::warn!(%error, "another node writes; this one follows");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A name for this process in the journal.
fn writer_id(env: &Env) -> Result<[u8; 16]> {
    entropy(env, 2).map(|mut entropy| entropy.bytes())
}

fn entropy(env: &Env, purpose: u64) -> Result<Entropy> {
    env.entropy(purpose).map_err(|error| Error::io("randomness of the operating system", &error))
}
