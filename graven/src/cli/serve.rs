//! `graven serve` and `graven dev`: the store behind HTTP until a signal stops it. One of several nodes opens its store
//! again, as a follower, when another one has taken over.

use super::node;
use super::output::Color;
use super::runtime;
use crate::config::{Config, units::show_count};
use crate::server::{AnchorSettings, Anchors, Ending, ServeOptions, Server};
use graven_engine::Store;
use graven_engine::node::Role;
use graven_model::{Code, Error, Result};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::sync::watch;

/// Arguments of `serve`.
#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: SettingArgs,
    #[command(flatten)]
    journal: JournalArgs,
    #[command(flatten)]
    anchor: AnchorArgs,
}

/// Flags of evidence from outside.
#[derive(clap::Args)]
struct AnchorArgs {
    /// Witnesses that cosign checkpoints, and the quorum of them, in a policy file (C2SP tlog-policy)
    #[arg(long, value_name = "FILE")]
    witness_policy: Option<String>,
    /// What happens while witnesses cannot be reached: block, queue or drop
    #[arg(long, value_name = "MODE")]
    witness_mode: Option<String>,
    /// Timestamp authority (RFC 3161) that stamps checkpoints
    #[arg(long, value_name = "URL")]
    timestamp_url: Option<String>,
    /// Pause between two timestamps
    #[arg(long, value_name = "DURATION")]
    timestamp_interval: Option<String>,
}

impl AnchorArgs {
    fn flags(&self) -> Vec<(&'static str, String)> {
        let texts = [
            ("audit.witness_policy", &self.witness_policy),
            ("audit.witness_mode", &self.witness_mode),
            ("audit.timestamp_url", &self.timestamp_url),
            ("audit.timestamp_interval", &self.timestamp_interval),
        ];
        texts.into_iter().filter_map(|(key, text)| Some((key, text.clone()?))).collect()
    }
}

/// Flags of a journal that several nodes share.
#[derive(clap::Args)]
struct JournalArgs {
    /// Journal that several nodes share, postgres://USER:PASSWORD@HOST:PORT/DATABASE; GRAVEN_JOURNAL_URL keeps the password
    /// out of the process list
    #[arg(long, value_name = "URL")]
    journal: Option<String>,
    /// Schema of the database the journal lies in
    #[arg(long, value_name = "NAME")]
    journal_schema: Option<String>,
    /// Certificates (PEM) the database's has to descend from; the system's if absent
    #[arg(long, value_name = "FILE")]
    journal_ca_file: Option<String>,
    /// Never write, unless told to take over
    #[arg(long)]
    follow: bool,
    /// URL under which clients and other nodes reach this one; that of --listen if absent
    #[arg(long, value_name = "URL")]
    advertise: Option<String>,
    /// Refuse to start on a database that could lose what it acknowledged
    #[arg(long)]
    require_synchronous: bool,
}

impl JournalArgs {
    fn flags(&self) -> Vec<(&'static str, String)> {
        let texts = [
            ("journal.url", &self.journal),
            ("journal.schema", &self.journal_schema),
            ("journal.ca_file", &self.journal_ca_file),
            ("journal.advertise", &self.advertise),
        ];
        let switches =
            [("journal.follow", self.follow), ("journal.require_synchronous", self.require_synchronous)];
        let texts = texts.into_iter().filter_map(|(key, text)| Some((key, text.clone()?)));
        let switches = switches.into_iter().filter(|(_, on)| *on).map(|(key, _)| (key, "true".to_owned()));
        texts.chain(switches).collect()
    }
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
    /// Directory of the keys that sign checkpoints; keys in the data directory if absent. Better on another volume
    #[arg(long, value_name = "DIR")]
    keys: Option<String>,
    /// File that remembers how far the log was, so that an older copy put in its place is noticed
    #[arg(long, value_name = "FILE")]
    high_water: Option<String>,
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
        self.load_with(defaults, Vec::new())
    }

    /// [`SettingArgs::load`] with more flags.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`].
    fn load_with(&self, defaults: Config, more: Vec<(&'static str, String)>) -> Result<Config> {
        let mut flags: Vec<(&str, String)> =
            self.set.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        flags.extend(more);
        flags.extend(self.data.iter().map(|data| ("data", data.clone())));
        flags.extend(self.keys.iter().map(|dir| ("audit.keys", dir.clone())));
        flags.extend(self.high_water.iter().map(|file| ("audit.high_water", file.clone())));
        flags.extend(self.listen.iter().map(|listen| ("listen", listen.clone())));
        if self.insecure {
            flags.push(("insecure", "true".into()));
        }
        defaults.load(self.config.as_deref(), std::env::vars_os(), &flags)
    }
}

/// Serves a directory.
pub(crate) fn serve(args: &ServeArgs, color: Color) -> anyhow::Result<()> {
    let config =
        args.settings.load_with(Config::default(), [args.journal.flags(), args.anchor.flags()].concat())?;
    run(&config, color, |_, _| String::new())
}

/// Serves `./graven-data` and says what to type next.
pub(crate) fn dev(args: &DevArgs, color: Color) -> anyhow::Result<()> {
    let defaults =
        Config { data: Some("./graven-data".into()), log_level: "warn".into(), ..Config::default() };
    let config = args.settings.load(defaults)?;
    if config.journal.is_shared() {
        return Err(Error::new(
            Code::InvalidConfig,
            "journal.url is set, and `graven dev` is one node for itself",
        )
        .expected("no journal.url, or `graven serve`")
        .into());
    }
    run(&config, color, next_commands)
}

fn run(config: &Config, color: Color, more: fn(&Config, SocketAddr) -> String) -> anyhow::Result<()> {
    let data = config.data.as_deref().ok_or_else(|| {
        Error::new(Code::InvalidConfig, "no data directory is set")
            .expected("--data DIR, GRAVEN_DATA or data in --config")
    })?;
    check_listen(config)?;
    let anchors = config.anchor.settings()?;
    anchors.check()?;
    runtime::log(config, color);
    let runtime = runtime::build()?;
    let options = ServeOptions {
        insecure: config.insecure,
        shutdown_grace: config.shutdown_grace,
        ..ServeOptions::new(config.listen)
    };
    // A node tells others its address when it opens its store, so it has to have one.
    let (mut server, store) = if config.journal.is_shared() {
        let server = runtime.block_on(Server::bind(options))?;
        let store = node::open(config, data, server.address())?;
        (server, store)
    } else {
        let store = Store::open(data, config.running_options())?;
        (runtime.block_on(Server::bind(options))?, store)
    };
    let (stopped, stop) = watch::channel(false);
    runtime.block_on(async {
        let signal = runtime::stop_signal().await?;
        tokio::spawn(async move {
            signal.await;
            stopped.send_replace(true);
        });
        anyhow::Ok(())
    })?;
    if config.running_options().checkpoint_interval.is_some() {
        say_key(&store);
    }
    say_ready(&store, data, server.address(), &more(config, server.address()));
    let store = serve_stores(config, data, &runtime, &mut server, store, &anchors, &stop)?;
    let health = store.health();
    let closed = store.close();
    match health {
        Some(error) if matches!(error.code, Code::Poisoned | Code::HistoryDiverged) => Err(error.into()),
        _ => Ok(closed?),
    }
}

/// Serves a store until the signal to stop. When another node has taken over, ends the store in order, opens it again and
/// serves it behind the same socket. Gives back the store of the end.
fn serve_stores(
    config: &Config,
    data: &Path,
    runtime: &tokio::runtime::Runtime,
    server: &mut Server,
    mut store: Store,
    settings: &AnchorSettings,
    stop: &watch::Receiver<bool>,
) -> anyhow::Result<Store> {
    loop {
        let anchors = match Anchors::start(settings, data, Box::new(store.clone())) {
            Ok(anchors) => anchors,
            Err(error) => {
                let _ = store.close();
                return Err(error.into());
            }
        };
        server.show(anchors.as_ref().map(Anchors::view));
        let served = runtime.block_on(server.serve(store.clone(), ending(stop.clone(), store.watch_role())));
        server.show(None);
        if let Some(anchors) = anchors {
            anchors.stop();
        }
        if !matches!(served, Ok(Ending::Reopen)) {
            // What broke the serving off is told before what closing says.
            if let Err(error) = served {
                let _ = store.close();
                return Err(error);
            }
            return Ok(store);
        }
        let writer = store.standing().map(|standing| standing.writer).unwrap_or_default();
        tracing::warn!(%writer, "another node has taken over; this one follows from now on");
        store.close()?;
        drop(store);
        store = node::open_again(config, data, server.address())?;
        let role = store.standing().map_or("", |standing| standing.role.word());
        tracing::info!(role, "the store is served again");
    }
}

/// Resolves when the server stops, or when its store has to be opened again because another node has taken over.
async fn ending(mut stop: watch::Receiver<bool>, role: Option<watch::Receiver<Role>>) -> Ending {
    let overtaken = async {
        let Some(mut role) = role else { return std::future::pending().await };
        if role.wait_for(|role| *role == Role::SteppedDown).await.is_err() {
            std::future::pending().await
        }
    };
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Ending::Stop,
        () = overtaken => Ending::Reopen,
    }
}

fn say_ready(store: &Store, data: &Path, address: SocketAddr, more: &str) {
    let events = show_count(store.stats().user.events);
    let part = store.standing().map(|standing| match (standing.role, standing.writer.as_str()) {
        (Role::Writer, _) => format!(" as the writer, epoch {}", standing.epoch),
        (_, "") => " as a follower".to_owned(),
        (_, writer) => format!(" as a follower of {writer}"),
    });
    let part = part.unwrap_or_default();
    let line = format!(
        "graven is ready on http://{address} with {events} events in {}{part}\n{more}",
        data.display()
    );
    let mut stdout = std::io::stdout().lock();
    // A closed standard output is no reason not to serve.
    let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
}

/// Says whose signatures outsiders have to believe; the first time it makes the key. Without a key the store is served all the same.
fn say_key(store: &Store) {
    match store.trail().verifier_keys() {
        Ok(keys) => {
            keys.iter().for_each(|vkey| tracing::info!(%vkey, "checkpoints are verified with this key"))
        }
        Err(error) => tracing::warn!(%error, "no checkpoints are signed"),
    }
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
        "audit keys list",
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
