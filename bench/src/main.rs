//! Side-by-side measurements: Graven, its peers and the disk, in interleaved rounds of one run on one machine.
//! `cargo xtask bench` builds and runs it; `docs/benchmarks.md` is what it found.
//!
//! Read in this order: `target` (what is measured), `events` (with what), `load` (how), `run` (in which order),
//! `result`, `report`.

mod audit;
mod calls;
mod events;
mod goals;
mod import_data;
mod kurrentdb;
mod load;
mod machine;
mod plot;
mod process;
mod products;
mod replay;
mod report;
mod result;
mod run;
mod server;
#[cfg(feature = "peers")]
mod setup;
mod sweep;
mod target;
mod targets;

use anyhow::{Context, Result, bail};
use result::Run;
use run::{Runner, Scale};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The clients of all targets are in this process; the C library's allocator makes their threads wait for each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
Usage: cargo xtask bench [--quick | --smoke] [OPTIONS]

Measures Graven, UmaDB, message-db on PostgreSQL and the disk side by side. Without --quick it takes twenty minutes;
with it, some; --smoke is over in seconds and tells only that everything works.

  --only KEY      only KEY and what is below it: append, append-64x1, read, condition, deliver, start, replay,
                  import, audit, audit-64x1, audit-64x10, audit-import, journal, kurrentdb, volume
  --targets A,B   only targets whose name contains one of these
  --dir DIR       where the stores are written, a folder of its own below it; /var/tmp unless told
  --json FILE     where the results go as JSON; results.json beside what is installed unless told
  --into FILE     take the results into those of the run FILE holds as JSON, in place of what they repeat
  --docs          write docs/benchmarks.md and its plots anew
  --graven PATH   the Graven binary to measure
  --graven-without-audit PATH
                  one built without the audit trail, to say what that costs a server
  --tools DIR     where what is installed is kept
";

#[derive(Debug, Default)]
struct Arguments {
    quick: bool,
    smoke: bool,
    docs: bool,
    only: Option<String>,
    targets: Vec<String>,
    dir: Option<PathBuf>,
    json: Option<PathBuf>,
    into: Option<PathBuf>,
    graven: Option<PathBuf>,
    graven_without_audit: Option<PathBuf>,
    tools: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {error:#}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Arguments>> {
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--quick" => arguments.quick = true,
            "--smoke" => arguments.smoke = true,
            "--docs" => arguments.docs = true,
            "--only" => arguments.only = Some(value()?),
            "--targets" => arguments.targets = value()?.split(',').map(str::to_owned).collect(),
            "--dir" => arguments.dir = Some(value()?.into()),
            "--json" => arguments.json = Some(value()?.into()),
            "--into" => arguments.into = Some(value()?.into()),
            "--graven" => arguments.graven = Some(value()?.into()),
            "--graven-without-audit" => arguments.graven_without_audit = Some(value()?.into()),
            "--tools" => arguments.tools = Some(value()?.into()),
            "--help" | "-h" => return Ok(None),
            _ => bail!("there is no {word}"),
        }
    }
    Ok(Some(arguments))
}

fn run(arguments: &Arguments) -> Result<()> {
    let begun = machine::today();
    let scale = match arguments {
        Arguments { smoke: true, .. } => Scale::SMOKE,
        Arguments { quick: true, .. } => Scale::QUICK,
        _ => Scale::FULL,
    };
    let tools = arguments.tools.clone().unwrap_or_else(|| machine::beside_me("bench-tools"));
    fs::create_dir_all(&tools).with_context(|| format!("cannot create {}", tools.display()))?;
    let (installed, left_out) =
        machine::install(arguments.graven.as_deref(), arguments.graven_without_audit.as_deref(), &tools)?;
    let dir = Directory::create(arguments.dir.as_deref())?;
    let (machine, versions) = (machine::describe(&dir.0), machine::versions(&installed));

    let mut runner = Runner {
        scale,
        installed,
        dir: dir.0.clone(),
        only: arguments.only.clone(),
        targets: arguments.targets.clone(),
        groups: Vec::new(),
        facts: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let outcome = runtime.block_on(runner.run());
    runtime.shutdown_background();
    if outcome.is_err() {
        // What the servers said goes with their folder.
        server::print_logs(&dir.0);
    }
    outcome?;

    let flag = if arguments.smoke {
        " --smoke"
    } else if arguments.quick {
        " --quick"
    } else {
        ""
    };
    let mut run = Run {
        command: format!("cargo xtask bench{flag}"),
        begun,
        machine,
        versions,
        left_out,
        groups: runner.groups,
        facts: runner.facts,
    };
    print!("{}", report::text(&run));
    if let Some(path) = &arguments.into {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut before: Run = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} holds no run of this bench", path.display()))?;
        before.take_in(run);
        run = before;
    }
    let path = arguments.json.clone().unwrap_or_else(|| tools.join("results.json"));
    fs::write(&path, serde_json::to_vec_pretty(&run)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("\nthe results as JSON: {}", path.display());
    if arguments.docs {
        report::write_docs(&run, &Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs"))?;
    }
    Ok(())
}

/// The folder of a run; it goes with the run.
struct Directory(PathBuf);

impl Directory {
    fn create(below: Option<&Path>) -> Result<Directory> {
        let below = below.unwrap_or(Path::new("/var/tmp"));
        let dir = below.join(format!("graven-bench-{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        // An answer of the page cache, not of a disk, would be a comparison of something else.
        let kind = run::file_system(&dir);
        if kind == "tmpfs" || kind == "ramfs" {
            let _ = fs::remove_dir_all(&dir);
            bail!("{} is in memory; --dir names a directory on a disk", below.display());
        }
        Ok(Directory(dir))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
