//! `graven backup`: a copy of a store's log, taken while the store runs, and brought up to date by the next call.
//!
//! One thread asks for frames; this one checks them and writes them. The copy ends where the log ended when the backup
//! began, so that a store that is written to without a pause can be backed up too.

mod source;

use super::Global;
use super::failure::Hinted;
use super::progress::Progress;
use crate::config::Config;
use crate::config::units::{show_bytes, show_count};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_engine::Frames;
use graven_engine::env::spawn_named;
use graven_engine::replica::{Replica, SYNC_BYTES};
use graven_model::{Code, Error, Position, Result};
use source::Source;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Instant;

/// Arguments of `backup`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the backup is, or shall be
    dir: PathBuf,
    /// Back up this stopped store instead of a server
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Settings, in TOML
    #[arg(long, env = "GRAVEN_CONFIG", value_name = "FILE", hide_env_values = true)]
    config: Option<PathBuf>,
}

/// Bytes of frames asked for at once, and how many such runs are read ahead.
const RUN_BYTES: usize = 4 << 20;
const RUNS_AHEAD: usize = 2;

/// Runs a backup.
pub(crate) fn run(args: &Args, global: &Global) -> anyhow::Result<()> {
    let begun = Instant::now();
    let options = Config::default().load(args.config.as_deref(), std::env::vars_os(), &[])?.engine_options();
    let source = match &args.data {
        Some(dir) => Source::store(dir, options.clone())?,
        None => Source::Server(global.client()?),
    };
    let mut copy = Replica::open(&args.dir, &source.identity()?, &options).map_err(about_the_copy)?;
    let from = copy.head();
    let goal = junction(&source, &copy)?;
    let bytes = copy_frames(source, &mut copy, goal)?;
    let (head, root) = (copy.head(), copy.root());
    copy.close()?;
    let seconds = begun.elapsed().as_secs_f64();
    let (dir, root) = (args.dir.display(), STANDARD.encode(root));
    let copied = head.0 - from.0;
    if copied == 0 {
        eprintln!("nothing new: {} events in {dir}, root {root}", show_count(head.0));
        return Ok(());
    }
    let rate = |amount: u64| (amount as f64 / seconds.max(0.001)) as u64;
    eprintln!(
        "backed up {} events ({}) to {dir} in {seconds:.1} s ({} events/s, {}/s); {} events in all, root {root}",
        show_count(copied),
        show_bytes(bytes),
        show_count(rate(copied)),
        show_bytes(rate(bytes)),
        show_count(head.0),
    );
    Ok(())
}

/// Makes sure that the source goes on where the copy ends, and answers where the source ends now.
fn junction(source: &Source, copy: &Replica) -> anyhow::Result<Position> {
    let last = Position(copy.head().0.saturating_sub(1));
    let frames = source.frames(last, 1)?;
    copy.joins(&frames.bytes, frames.head)?;
    Ok(frames.head)
}

/// Copies up to `goal`, and answers with the bytes copied.
fn copy_frames(source: Source, copy: &mut Replica, goal: Position) -> anyhow::Result<u64> {
    let start = copy.head();
    let progress = Progress::new(Some(goal.0 - start.0));
    let (send, receive) = sync_channel(RUNS_AHEAD);
    let reader = spawn_named("graven-backup-reader", move || read(&source, start, goal, &send));
    let (mut bytes, mut unsynced) = (0u64, 0);
    for frames in &receive {
        let frames: Frames = frames?;
        let head = copy.append_frames(&frames.bytes)?;
        bytes += frames.bytes.len() as u64;
        unsynced += frames.bytes.len();
        if unsynced >= SYNC_BYTES {
            unsynced = 0;
            copy.sync()?;
        }
        progress.set(head.0 - start.0, head.0 - start.0);
    }
    progress.finish();
    if reader.join().is_err() || copy.head() < goal {
        return Err(Error::new(Code::Internal, "the reading thread panicked").into());
    }
    Ok(bytes)
}

/// Asks for frames until the goal is reached or nobody takes them.
fn read(source: &Source, start: Position, goal: Position, send: &SyncSender<Result<Frames>>) {
    let mut from = start;
    while from < goal {
        let frames = source.frames(from, RUN_BYTES).and_then(|frames| {
            if frames.next > from {
                return Ok(frames);
            }
            Err(Error::new(Code::HistoryDiverged, "the source has fewer events than a moment ago")
                .expected(format!("{goal} events"))
                .found(format!("{} events", frames.head)))
        });
        let next = frames.as_ref().ok().map(|frames| frames.next);
        if send.send(frames).is_err() {
            return;
        }
        let Some(next) = next else { return };
        from = next;
    }
}

/// The table's hint for damage speaks of a store.
pub(super) fn about_the_copy(error: Error) -> anyhow::Error {
    match error.code {
        Code::Corrupted => Hinted::new(
            error,
            "the backup is damaged: use another one, or begin a new one in another directory",
        )
        .into(),
        _ => error.into(),
    }
}
