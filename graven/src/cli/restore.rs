//! `graven restore`: a store out of a backup, or a journal that several nodes share. Every event is checked on the way, up
//! to the Merkle root.

use super::backup::about_the_copy;
use super::failure::{Hinted, usage};
use super::progress::Progress;
use crate::config::Config;
use crate::config::units::show_count;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_engine::replica::{Backup, Depth, Replica};
use graven_engine::{Options, Store};
use graven_model::{Code, Error, Position};
use graven_postgres::{PostgresJournal, Settings};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Arguments of `restore`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The backup
    backup: PathBuf,
    /// Directory of the new store, or of a node's copy of the journal; empty or missing
    #[arg(required_unless_present = "verify_only", conflicts_with = "verify_only")]
    data: Option<PathBuf>,
    /// Only check the backup, all of it, where it is; its index is made anew
    #[arg(long)]
    verify_only: bool,
    /// Bring everything into a journal that several nodes share, too; GRAVEN_JOURNAL_URL keeps the password out of the
    /// process list
    #[arg(long, value_name = "URL", conflicts_with = "verify_only")]
    journal: Option<String>,
    /// Schema of the database the journal lies in
    #[arg(long, value_name = "NAME")]
    journal_schema: Option<String>,
    /// Certificates (PEM) the database's has to descend from
    #[arg(long, value_name = "FILE")]
    journal_ca_file: Option<String>,
    /// Settings, in TOML
    #[arg(long, env = "GRAVEN_CONFIG", value_name = "FILE", hide_env_values = true)]
    config: Option<PathBuf>,
}

/// Runs a restore.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let flags = [
        ("journal.url", &args.journal),
        ("journal.schema", &args.journal_schema),
        ("journal.ca_file", &args.journal_ca_file),
    ];
    let flags: Vec<_> = flags.into_iter().filter_map(|(key, text)| Some((key, text.clone()?))).collect();
    let config = Config::default().load(args.config.as_deref(), std::env::vars_os(), &flags)?;
    let options = config.engine_options();
    match (&args.data, config.journal.settings()?) {
        (None, _) => verify(&args.backup, &options),
        (Some(data), None) => restore(&args.backup, data, &options),
        (Some(data), Some(journal)) => restore_into_journal(&args.backup, data, journal, &options),
    }
}

/// Makes a journal of the backup, and a node's copy of it. The journal goes on where an interrupted restore ended.
fn restore_into_journal(from: &Path, to: &Path, journal: Settings, options: &Options) -> anyhow::Result<()> {
    const PURPOSE: u64 = 0x7265_7374_6f72; // this user of the randomness
    let begun = Instant::now();
    refuse_if_used(to)?;
    let backup = Backup::open(from, options).map_err(about_the_copy)?;
    let (noted, _) = backup.noted().map_err(about_the_copy)?;
    let mut journal = PostgresJournal::open(journal)?;
    let mut copy = Replica::open(to, backup.identity(), options)?;
    let entropy = options.env.entropy(PURPOSE);
    let writer = entropy.map_err(|error| Error::io("ask for randomness", &error))?.bytes();
    let progress = Progress::new(Some(noted.0));
    let outcome = backup.restore_into_journal(&mut copy, &mut journal, writer, &mut |position| {
        progress.set(position.0, position.0);
    });
    progress.finish();
    outcome?;
    let (head, root) = (copy.head(), copy.root());
    copy.close()?;
    let place = format!(" to {} and into the journal at {}", to.display(), journal.place());
    say("restored", head, root, &place, begun);
    note(noted, head);
    Ok(())
}

fn restore(from: &Path, to: &Path, options: &Options) -> anyhow::Result<()> {
    let begun = Instant::now();
    refuse_if_used(to)?;
    let backup = Backup::open(from, options).map_err(about_the_copy)?;
    let (noted, _) = backup.noted().map_err(about_the_copy)?;
    let mut copy = Replica::open(to, backup.identity(), options)?;
    let progress = Progress::new(Some(noted.0));
    let outcome = backup.restore_into(&mut copy, &mut |position| progress.set(position.0, position.0));
    progress.finish();
    outcome.map_err(about_the_copy)?;
    let (head, root) = (copy.head(), copy.root());
    copy.into_store()?;
    let store = Store::open(to, Options { create: false, ..options.clone() })?;
    let info = store.info();
    if (info.head, info.root) != (head, root) {
        return Err(Error::new(Code::Corrupted, format!("{}: is not what was restored", to.display()))
            .expected(format!("{head} events, root {}", STANDARD.encode(root)))
            .found(format!("{} events, root {}", info.head, STANDARD.encode(info.root)))
            .into());
    }
    store.close()?;
    say("restored", head, root, &format!(" to {}", to.display()), begun);
    note(noted, head);
    Ok(())
}

fn verify(dir: &Path, options: &Options) -> anyhow::Result<()> {
    let begun = Instant::now();
    let (noted, _) = Backup::open(dir, options).and_then(|backup| backup.noted()).map_err(about_the_copy)?;
    let progress = Progress::new(Some(noted.0));
    let copy = Replica::reopen(dir, options, Depth::WholeLog, &mut |position| {
        progress.set(position.0, position.0);
    });
    progress.finish();
    let copy = copy.map_err(about_the_copy)?;
    let (head, root) = (copy.head(), copy.root());
    copy.close()?;
    say("verified", head, root, &format!(" in {}", dir.display()), begun);
    note(noted, head);
    Ok(())
}

fn say(what: &str, head: Position, root: [u8; 32], place: &str, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!(
        "{what} {} events{place} in {seconds:.1} s ({} events/s); root {}",
        show_count(head.0),
        show_count((head.0 as f64 / seconds.max(0.001)) as u64),
        STANDARD.encode(root),
    );
}

/// Says how the end compares with what the last backup noted.
fn note(noted: Position, head: Position) {
    if head == noted {
        eprintln!("head and root are those the backup noted");
    } else {
        eprintln!(
            "head and root at {} are those the backup noted; the {} events after it are of a backup that was interrupted",
            show_count(noted.0),
            show_count(head.0 - noted.0),
        );
    }
}

/// A restore never adds to what is there.
fn refuse_if_used(dir: &Path) -> anyhow::Result<()> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Hinted::new(
                usage(format!("{} is not empty", dir.display())),
                "restore into an empty or missing directory; what an interrupted restore left can be removed",
            )
            .into()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(dir.display(), &error).into()),
    }
}
