//! `graven serve` and `graven dev`: the store behind HTTP until a signal stops it.

use super::output::Color;
use super::runtime;
use crate::config::{Config, units::show_count};
use crate::server::{self, ServeOptions};
use graven_engine::Store;
use graven_model::{Code, Error, Result};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Arguments of `serve`.
#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: SettingArgs,
}

/// Arguments of `dev`: those of `serve`, with defaults for a laptop.
#[derive(clap::Args)]
pub(crate) struct DevArgs {
    #[command(flatten)]
    settings: SettingArgs,
}

/// Flags of the server's settings.
#[derive(clap::Args)]
pub(crate) struct SettingArgs {
    /// Directory of the store
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Address to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Allow an address that other machines can reach, although nothing is authenticated yet
    #[arg(long)]
    insecure: bool,
    /// Settings in TOML
    #[arg(long, env = "GRAVEN_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// Any other setting, as in --set store.segment_size="16 MiB"; again for more
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> std::result::Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

impl SettingArgs {
    /// The data directory of the flags.
    pub(crate) fn data(&self) -> Option<PathBuf> {
        self.data.as_ref().map(PathBuf::from)
    }

    /// All four layers.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`].
    pub(crate) fn load(&self, defaults: Config) -> Result<Config> {
        let mut flags: Vec<(&str, String)> =
            self.set.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        flags.extend(self.data.iter().map(|data| ("data", data.clone())));
        flags.extend(self.listen.iter().map(|listen| ("listen", listen.clone())));
        if self.insecure {
            flags.push(("insecure", "true".into()));
        }
        defaults.load(self.config.as_deref(), std::env::vars_os(), &flags)
    }
}

/// Serves a directory.
pub(crate) fn serve(args: &ServeArgs, color: Color) -> anyhow::Result<()> {
    run(&args.settings.load(Config::default())?, color, |_, _| String::new())
}

/// Serves `./graven-data` and says what to type next.
pub(crate) fn dev(args: &DevArgs, color: Color) -> anyhow::Result<()> {
    let defaults =
        Config { data: Some("./graven-data".into()), log_level: "warn".into(), ..Config::default() };
    run(&args.settings.load(defaults)?, color, next_commands)
}

fn run(config: &Config, color: Color, more: fn(&Config, SocketAddr) -> String) -> anyhow::Result<()> {
    let data = config.data.as_deref().ok_or_else(|| {
        Error::new(Code::InvalidConfig, "no data directory is set")
            .expected("--data DIR, GRAVEN_DATA or data in --config")
    })?;
    check_listen(config)?;
    runtime::log(config, color);
    let store = Store::open(data, config.engine_options())?;
    let runtime = runtime::build()?;
    let options = ServeOptions {
        insecure: config.insecure,
        shutdown_grace: config.shutdown_grace,
        ..ServeOptions::new(config.listen)
    };
    let served = runtime.block_on(async {
        let stop = runtime::stop_signal().await?;
        let events = store.stats().user.events;
        let ready = |address| {
            let events = show_count(events);
            let line =
                format!("graven is ready on http://{address} with {events} events in {}\n", data.display());
            let mut stdout = std::io::stdout().lock();
            // A closed standard output is no reason not to serve.
            let _ =
                stdout.write_all((line + &more(config, address)).as_bytes()).and_then(|()| stdout.flush());
        };
        server::serve(store.clone(), options, ready, stop).await
    });
    let health = store.health();
    let closed = store.close();
    served?;
    if let Some(error) = health.filter(|error| error.code == Code::Poisoned) {
        return Err(error.into());
    }
    closed?;
    Ok(())
}

fn check_listen(config: &Config) -> Result<()> {
    if config.listen.ip().is_loopback() || config.insecure {
        return Ok(());
    }
    Err(Error::new(Code::InsecureListen, format!("{} can be reached from other machines", config.listen))
        .expected("a loopback address, as long as nothing is authenticated"))
}

/// Commands for another terminal in the same directory.
fn next_commands(config: &Config, address: SocketAddr) -> String {
    let graven = callable_name();
    let url =
        if address == Config::default().listen { String::new() } else { format!(" --url http://{address}") };
    let mut out = String::from("\nIn another terminal:\n");
    for command in [
        r#"append greetings-1 --type Greeted --data '{"hello":"world"}'"#,
        "read greetings-1",
        "tail --all --from start",
        "stats",
    ] {
        writeln!(out, "  {graven} {command}{url}").expect("a String takes everything");
    }
    let data = config.data.as_deref().unwrap_or(Path::new(".")).display();
    writeln!(out, "\nCtrl-C stops it; the data stays in {data}.").expect("a String takes everything");
    out
}

/// How the running binary is called from the current directory: its name if the search path leads to it, a relative
/// path if it lies below, else the whole path.
fn callable_name() -> String {
    let Ok(binary) = std::env::current_exe() else { return "graven".into() };
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&search_path).map(|dir| dir.join("graven")).find(|path| path.is_file());
    if found.and_then(|path| path.canonicalize().ok()).is_some_and(|path| path == binary) {
        return "graven".into();
    }
    let shown = match std::env::current_dir()
        .ok()
        .and_then(|dir| binary.strip_prefix(dir).ok().map(Path::to_owned))
    {
        Some(below) if below.components().count() == 1 => Path::new(".").join(below),
        Some(below) => below,
        None => binary,
    };
    let shown = shown.display().to_string();
    if shown.chars().all(|c| c.is_alphanumeric() || "/._-+".contains(c)) {
        return shown;
    }
    format!("'{}'", shown.replace('\'', r"'\''"))
}
