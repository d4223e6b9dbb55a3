//! `graven import`: CloudEvents, one a line, into a server or a stopped store.
//!
//! One thread reads, unpacks and checks lines and makes chunks of them; this one hands the chunks over, in order.
//! Every event stands for itself: one whose id its stream already holds is skipped, so that an import may be repeated
//! as a whole or in part at any time.

mod chunk;
mod lines;
mod local;
mod network;
mod reader;
mod rejects;
mod source;
mod target;

use super::Global;
use super::failure::Hinted;
use super::progress::Progress;
use crate::config::Config;
use crate::config::units::show_count;
use chunk::Chunk;
use graven_engine::env::spawn_named;
use graven_model::{Code, Error, Result};
use lines::at_line;
use reader::{Found, Reader, StreamCount};
use rejects::Rejects;
use source::Source;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};
use target::{Refused, Target};

/// Arguments of `import`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// CloudEvents NDJSON, plain, gzip or zstd (told by content, not by name); - for standard input
    file: String,
    /// Import into this stopped store instead of a server
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Settings of the store for --data, in TOML
    #[arg(long, env = "GRAVEN_CONFIG", value_name = "FILE", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Go on after a bad line and write it to the rejects
    #[arg(long)]
    skip_bad: bool,
    /// Where bad lines go, as they are; FILE.rejects.ndjson by default
    #[arg(long, value_name = "FILE", requires = "skip_bad")]
    rejects: Option<PathBuf>,
    /// Begin at this line, counted from 1
    #[arg(long, value_name = "LINE", default_value_t = 1)]
    from_line: u64,
    /// Write the number of the last acknowledged line here after each acknowledgement
    #[arg(long, value_name = "FILE")]
    ack_log: Option<PathBuf>,
}

/// Runs an import.
pub(crate) fn run(args: &Args, global: &Global) -> anyhow::Result<()> {
    let source = Source::open(&args.file)?;
    let rejects = args.skip_bad.then(|| Rejects::new(rejects_path(args)));
    if let Some(rejects) = &rejects {
        rejects.keep_apart_from(Path::new(&args.file))?;
    }
    let ack_log = args.ack_log.as_deref().map(AckLog::create).transpose()?;
    let mut target: Box<dyn Target> = match &args.data {
        Some(dir) => {
            let config = Config::default().load(args.config.as_deref(), std::env::vars_os(), &[])?;
            Box::new(local::Local::open(dir, config.running_options())?)
        }
        None => Box::new(network::Network::connect(global.client()?)?),
    };
    let import = Import {
        name: source.name().to_owned(),
        progress: Progress::new(source.size_bytes()),
        rejects,
        ack_log,
        appended: 0,
        duplicates: 0,
        last_line: args.from_line.saturating_sub(1),
        broken: false,
        begun: Instant::now(),
    };
    import.run(source, args.from_line, target.as_mut())
}

fn rejects_path(args: &Args) -> PathBuf {
    args.rejects.clone().unwrap_or_else(|| {
        let name = if args.file == "-" { "stdin" } else { &args.file };
        format!("{name}.rejects.ndjson").into()
    })
}

struct Import {
    name: String,
    progress: Progress,
    rejects: Option<Rejects>,
    ack_log: Option<AckLog>,
    appended: u64,
    duplicates: u64,
    last_line: u64,
    /// A chunk failed: what is acknowledged later says nothing about the lines before it.
    broken: bool,
    begun: Instant,
}

/// Chunks made ahead of the one that is being handed over.
const CHUNKS_AHEAD: usize = 2;

impl Import {
    fn run(mut self, source: Source, from_line: u64, target: &mut dyn Target) -> anyhow::Result<()> {
        let (send, receive) = sync_channel::<Found>(CHUNKS_AHEAD);
        let reader = Reader::new(source, target.kind(), from_line, self.rejects.clone());
        let thread =
            spawn_named("graven-import-reader", move || reader.run(|found| send.send(found).is_ok()));
        let mut ended = None;
        let mut outcome = Ok(());
        for found in &receive {
            match found {
                Found::Chunk(chunk) => outcome = self.hand_over(chunk, target),
                Found::End { bad, streams } => {
                    outcome = bad.map_or(Ok(()), Err);
                    ended = Some(streams);
                }
            }
            if outcome.is_err() {
                break;
            }
        }
        drop(receive);
        // What is on its way still counts, whatever came after it.
        outcome = self.settle(target, true).and(outcome);
        // After an error nobody waits for a reader whose input may never end.
        if outcome.is_ok() && thread.join().is_err() {
            outcome = Err(Error::new(Code::Internal, "the reading thread panicked"));
        }
        let elapsed = self.begun.elapsed();
        outcome = outcome.and(target.close());
        self.progress.finish();
        self.report(outcome, ended, elapsed)
    }

    /// Hands over one chunk. Lines the target calls bad are rejected, or end the import after what stands before them.
    fn hand_over(&mut self, mut chunk: Chunk, target: &mut dyn Target) -> Result<()> {
        loop {
            self.settle(target, false)?;
            let progress = &self.progress;
            let Err(refused) =
                target.submit(chunk, &|error| progress.note(&format!("{error}; trying again")))
            else {
                return Ok(());
            };
            let Refused { chunk: whole, error } = *refused;
            let bad = whole.bad_lines(&error);
            let Some(first) = bad.first().copied() else { return Err(error) };
            let Some(rejects) = &self.rejects else {
                let before = whole.before(first);
                if !before.is_empty() {
                    self.hand_over(before, target)?;
                }
                return Err(at_line(&self.name, whole.lines[first].number, &error));
            };
            for index in &bad {
                rejects.write(&whole.lines[*index], &error)?;
            }
            chunk = whole.without(&bad);
            if chunk.is_empty() {
                return Ok(());
            }
        }
    }

    /// Counts acknowledgements: those there are room is needed for, or all.
    fn settle(&mut self, target: &mut dyn Target, all: bool) -> Result<()> {
        while let Some(acknowledged) = target.acknowledged(all).inspect_err(|_| self.broken = true)? {
            if self.broken {
                continue;
            }
            self.appended += acknowledged.appended;
            self.duplicates += acknowledged.duplicates;
            self.last_line = acknowledged.last_line;
            if let Some(log) = &mut self.ack_log {
                log.write(acknowledged.last_line)?;
            }
            self.progress.set(acknowledged.read_bytes, self.appended + self.duplicates);
        }
        Ok(())
    }

    /// The summary on standard error.
    fn report(
        &self,
        outcome: Result<()>,
        streams: Option<StreamCount>,
        elapsed: Duration,
    ) -> anyhow::Result<()> {
        let rejected = self.rejects.as_ref().map(Rejects::finish).transpose()?.flatten();
        let (appended, duplicates) = (show_count(self.appended), show_count(self.duplicates));
        let seconds = elapsed.as_secs_f64();
        let handled = self.appended + self.duplicates;
        let rate = show_count((handled as f64 / seconds.max(0.001)) as u64);
        let streams = streams.map_or(String::new(), |streams| format!(" into {} streams", streams.shown()));
        let summary = if self.appended == 0 && self.duplicates > 0 {
            format!(
                "imported 0 events: all {duplicates} were there already ({seconds:.1} s, {rate} events/s)"
            )
        } else {
            format!(
                "imported {appended} events{streams} in {seconds:.1} s ({rate} events/s); {duplicates} were there already"
            )
        };
        eprintln!("{summary}");
        if let Some(rejected) = rejected {
            eprintln!("{rejected}");
        }
        let Err(error) = outcome else { return Ok(()) };
        let hint = format!(
            "nothing after line {} was imported, what came before stays; {}, then run the same command again: it skips \
             what is there",
            show_count(self.last_line),
            match error.code.entry().exit {
                2 => "correct the file or add --skip-bad",
                _ => error.code.entry().hint,
            }
        );
        Err(Hinted::new(error, hint).into())
    }
}

/// Numbers of the last acknowledged lines, one a line.
struct AckLog {
    path: PathBuf,
    file: File,
}

impl AckLog {
    fn create(path: &Path) -> Result<AckLog> {
        let file =
            File::create(path).map_err(|error| Error::io(format!("create {}", path.display()), &error))?;
        Ok(AckLog { path: path.to_owned(), file })
    }

    /// One write, so that a process that dies leaves whole lines.
    fn write(&mut self, line: u64) -> Result<()> {
        self.file
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|error| Error::io(format!("write {}", self.path.display()), &error))
    }
}
