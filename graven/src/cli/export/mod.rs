//! `graven export`: events as CloudEvents, one a line, as `graven import` takes them.
//!
//! One thread reads pages; this one writes and packs them. A file appears under its name only when it is complete.

mod pages;
pub(crate) mod sink;

use super::Global;
use super::failure::{Exit, usage};
use super::progress::Progress;
use crate::config::Config;
use crate::config::units::show_count;
use graven_engine::env::spawn_named;
use graven_engine::{Options, Store};
use graven_model::{Code, Error, Kind, StoredEvent, cloudevents, ids};
use pages::{ServerPages, StorePages};
use sink::Sink;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

/// Arguments of `export`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to write: .gz and .zst are packed; - for standard output
    #[arg(default_value = "-")]
    file: String,
    /// Export from this stopped store instead of a server
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Settings of the store for --data, in TOML
    #[arg(long, env = "GRAVEN_CONFIG", value_name = "FILE", hide_env_values = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    what: What,
}

/// Which events.
#[derive(clap::Args, Clone)]
pub(crate) struct What {
    /// Only this stream
    #[arg(long, conflicts_with_all = ["category", "types"])]
    stream: Option<String>,
    /// Only streams of this category
    #[arg(long, conflicts_with = "types")]
    category: Option<String>,
    /// Only events of this type; again for more
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// System streams and types too, those whose name starts with '$'; what the audit trail says about the log stays with the log
    #[arg(long)]
    system: bool,
}

/// What the reading thread sends.
enum Found {
    /// The events of the log up to now.
    Total(u64),
    /// A page.
    Page(Vec<StoredEvent>),
    /// The end.
    End,
    /// Why it cannot go on.
    Failed(Error),
}

/// Pages read ahead of the one that is being written.
const PAGES_AHEAD: usize = 2;

/// Runs an export.
pub(crate) fn run(args: &Args, global: &Global) -> anyhow::Result<()> {
    let begun = Instant::now();
    let (send, receive) = sync_channel::<Found>(PAGES_AHEAD);
    let what = args.what.clone();
    if [&what.stream, &what.category].into_iter().flatten().chain(&what.types).any(String::is_empty) {
        return Err(usage("the name of what to export is empty").into());
    }
    let emit = move |found| send.send(found).is_ok();
    let thread = match &args.data {
        Some(dir) => {
            let config = Config::default().load(args.config.as_deref(), std::env::vars_os(), &[])?;
            let store = Store::open(dir, Options { create: false, ..config.engine_options() })?;
            let pages = StorePages::new(store, &what)?;
            spawn_named("graven-export-reader", move || pages.run(emit))
        }
        None => {
            let pages = ServerPages::new(global.client()?, &what)?;
            spawn_named("graven-export-reader", move || pages.run(emit))
        }
    };
    let mut sink = Sink::create(&args.file)?;
    let mut progress = Progress::new(None);
    let (mut events, mut left_out) = (0u64, 0u64);
    let mut lines = Vec::new();
    let mut ended = false;
    for found in &receive {
        match found {
            Found::Total(total) => progress = Progress::new(Some(total)),
            Found::Page(page) => {
                lines.clear();
                for event in &page {
                    let kept = event.kind == Kind::Event || what.system && !event.kind.is_control();
                    if kept && !ids::is_of_the_store(event.stream.as_str()) {
                        cloudevents::write(event, &mut lines);
                        lines.push(b'\n');
                        events += 1;
                    } else {
                        left_out += 1;
                    }
                }
                sink.write(&lines)?;
                progress.set(page.last().map_or(0, |event| event.position.0), events);
            }
            Found::End => ended = true,
            Found::Failed(error) => return Err(error.into()),
        }
    }
    if thread.join().is_err() || !ended {
        return Err(Error::new(Code::Internal, "the reading thread panicked").into());
    }
    progress.finish();
    let bytes = sink.finish()?;
    let seconds = begun.elapsed().as_secs_f64();
    let place = if args.file == "-" { String::new() } else { format!(" to {}", args.file) };
    let left_out = match left_out {
        0 => String::new(),
        count => format!(
            "; {} records of the store itself were left out{}",
            show_count(count),
            if what.system {
                ""
            } else {
                " (--system takes all but those of the audit trail, of groups and snapshots)"
            }
        ),
    };
    eprintln!(
        "exported {} events{place} in {seconds:.1} s ({} events/s, {}){left_out}",
        show_count(events),
        show_count((events as f64 / seconds.max(0.001)) as u64),
        crate::config::units::show_bytes(bytes),
    );
    Ok(())
}

/// A closed standard output ends the export quietly.
fn write_failed(name: &str, error: &std::io::Error) -> anyhow::Error {
    if name == "-" && error.kind() == std::io::ErrorKind::BrokenPipe {
        return Exit(0).into();
    }
    let name = if name == "-" { "standard output" } else { name };
    Error::io(format!("write {name}"), error).into()
}
