//! Opens the store of one of several nodes that share a journal.

use super::progress::Progress;
use crate::config::Config;
use crate::config::units::show_count;
use graven_engine::Store;
use graven_engine::journal::SharedJournal as _;
use graven_engine::node::NodeOptions;
use graven_model::{Code, Error, Position, Result};
use graven_postgres::{PostgresJournal, Settings};
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// Between two log lines about how far the reading is.
const TELL_INTERVAL: Duration = Duration::from_secs(5);

/// Opens the store at the start. What could make the journal lose what it acknowledged is logged, or refused. While the
/// journal cannot be reached, a node that has a copy begins all the same.
///
/// # Errors
/// Those of [`Store::open_shared`]; [`Code::InvalidConfig`], for a risk that is refused too.
pub(crate) fn open(config: &Config, data: &Path, listen: SocketAddr) -> Result<Store> {
    let mut journal = connect(config)?;
    match journal.risks() {
        Ok(risks) => weigh(config, &journal, &risks)?,
        // Nobody knows; and without a copy opening it says so.
        Err(error) if error.code == Code::JournalUnreachable && !config.journal.require_synchronous => {}
        Err(error) => return Err(error),
    }
    share(config, data, listen, journal, config.journal.follow)
}

fn weigh(config: &Config, journal: &PostgresJournal, risks: &[String]) -> Result<()> {
    for risk in risks {
        tracing::warn!(journal = journal.place(), "{risk}");
    }
    if config.journal.require_synchronous && !risks.is_empty() {
        return Err(Error::new(
            Code::InvalidConfig,
            format!("the journal at {} could lose what it acknowledged", journal.place()),
        )
        .expected("a database without these risks, because journal.require_synchronous is set")
        .found(risks.join("; ")));
    }
    Ok(())
}

/// Opens the store of a node that stepped down, which follows now until it is told to take over: the one that writes may
/// not hold the journal's lock yet, and would lose it to this one. If the journal cannot be reached, what is here is shown
/// meanwhile.
///
/// # Errors
/// Those of [`Store::open_shared`].
pub(crate) fn open_again(config: &Config, data: &Path, listen: SocketAddr) -> Result<Store> {
    share(config, data, listen, connect(config)?, true)
}

/// A journal that connects when it is first asked.
fn connect(config: &Config) -> Result<PostgresJournal> {
    PostgresJournal::new(settings(config)?)
}

/// Where the shared journal is.
///
/// # Errors
/// [`Code::InvalidConfig`].
fn settings(config: &Config) -> Result<Settings> {
    let settings = config.journal.settings()?;
    settings.ok_or_else(|| Error::new(Code::InvalidConfig, "no journal is set that nodes could share"))
}

fn share(
    config: &Config,
    data: &Path,
    listen: SocketAddr,
    journal: PostgresJournal,
    follow: bool,
) -> Result<Store> {
    let node = NodeOptions { address: config.journal.advertised(listen)?, follow };
    let mut reading = Reading { begun: None, told: Instant::now() };
    let store = Store::open_shared(
        data,
        Box::new(journal),
        &config.running_options(),
        node,
        &mut |reached, wanted| {
            reading.reached(reached, wanted);
        },
    );
    reading.end();
    store
}

/// Tells how far the reading of what is missing is: a bar on a terminal, lines of the log elsewhere.
struct Reading {
    /// And where it began.
    begun: Option<(Progress, Position)>,
    told: Instant,
}

impl Reading {
    fn reached(&mut self, reached: Position, wanted: Position) {
        if reached >= wanted {
            return;
        }
        if self.begun.is_none() {
            tracing::info!(events = wanted.0 - reached.0, "reading what is missing here from the journal");
        }
        let (progress, from) =
            self.begun.get_or_insert_with(|| (Progress::new(Some(wanted.0 - reached.0)), reached));
        let events = reached.0.saturating_sub(from.0);
        progress.set(events, events);
        if !std::io::stderr().is_terminal() && self.told.elapsed() >= TELL_INTERVAL {
            self.told = Instant::now();
            let (reached, wanted) = (show_count(reached.0), show_count(wanted.0));
            tracing::info!("read {reached} of {wanted} events");
        }
    }

    fn end(self) {
        if let Some((progress, _)) = self.begun {
            progress.finish();
        }
    }
}
