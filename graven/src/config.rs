//! Settings of the server: defaults, then the TOML file, then `GRAVEN_*` variables, then flags.
//!
//! One table ([`settings::SETTINGS`]) holds every setting with its meaning and its parser; file, environment, `--set`
//! and the documentation all read it. A key nobody knows is an error that names the nearest one. No file is read
//! unless it is named.

pub(crate) mod anchor;
pub(crate) mod audit;
pub(crate) mod journal;
pub(crate) mod settings;
pub(crate) mod units;

use anchor::AnchorConfig;
use audit::AuditConfig;
use graven_engine::Options;
use graven_model::{Code, Error, Result};
use journal::JournalConfig;
use settings::{SETTINGS, Setting};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// Directory of the store; none by default, `dev` has its own.
    pub(crate) data: Option<PathBuf>,
    /// Address to listen on.
    pub(crate) listen: SocketAddr,
    /// Allow an address other machines can reach.
    pub(crate) insecure: bool,
    /// How long requests in flight may take after the signal to stop.
    pub(crate) shutdown_grace: Duration,
    /// Bytes of a log segment.
    pub(crate) segment_bytes: u64,
    /// Events indexed in memory before they become a file.
    pub(crate) index_flush_events: usize,
    /// Stream heads kept in memory.
    pub(crate) heads_max: usize,
    /// Bytes of the disk that have to stay free.
    pub(crate) free_bytes_reserve: u64,
    /// The journal that several nodes share, if this is one of them.
    pub(crate) journal: JournalConfig,
    /// The audit trail.
    pub(crate) audit: AuditConfig,
    /// Witnesses and timestamps.
    pub(crate) anchor: AnchorConfig,
    /// Directives of `tracing_subscriber::EnvFilter`.
    pub(crate) log_level: String,
    /// How log lines look.
    pub(crate) log_format: LogFormat,
}

impl Default for Config {
    fn default() -> Config {
        let options = Options::default();
        Config {
            data: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 2113)),
            insecure: false,
            shutdown_grace: Duration::from_secs(10),
            segment_bytes: options.segment_bytes,
            index_flush_events: options.index_flush_events,
            heads_max: options.heads_max,
            free_bytes_reserve: options.free_bytes_reserve,
            journal: JournalConfig::default(),
            audit: AuditConfig::default(),
            anchor: AnchorConfig::default(),
            log_level: "info".into(),
            log_format: LogFormat::Text,
        }
    }
}

impl Config {
    /// Reads all layers over these defaults. `flags` are pairs of key and value, the strongest layer, applied in order.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] for a file that cannot be read or parsed, an unknown key or variable, or a value that
    /// does not fit; the message names the layer and the key.
    pub(crate) fn load(
        mut self,
        file: Option<&Path>,
        environment: impl Iterator<Item = (OsString, OsString)>,
        flags: &[(&str, String)],
    ) -> Result<Config> {
        if let Some(path) = file {
            self.apply_file(path)?;
        }
        for (variable, value) in graven_variables(environment)? {
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == variable) {
                self.apply(setting, &value, &variable)?;
            }
        }
        for (key, value) in flags {
            let setting = settings::find(key).map_err(|error| invalid("command line", error))?;
            self.apply(setting, value, "command line")?;
        }
        Ok(self)
    }

    fn apply_file(&mut self, path: &Path) -> Result<()> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| invalid(&place, format!("the file cannot be read: {error}")))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            invalid(
                &place,
                format!("the file is not TOML: {}", error.to_string().trim_end().replace('\n', "\n  ")),
            )
        })?;
        for (key, value) in &table {
            match value {
                toml::Value::Table(section) => {
                    for (name, value) in section {
                        self.apply_toml(&format!("{key}.{name}"), value, &place)?;
                    }
                }
                value => self.apply_toml(key, value, &place)?,
            }
        }
        Ok(())
    }

    fn apply_toml(&mut self, key: &str, value: &toml::Value, place: &str) -> Result<()> {
        let setting = settings::find(key).map_err(|error| invalid(place, error))?;
        let text = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            other => {
                return Err(invalid(place, format!("{key} is set to a {}", other.type_str()))
                    .expected("a text, a whole number, true or false"));
            }
        };
        self.apply(setting, &text, place)
    }

    fn apply(&mut self, setting: &Setting, value: &str, place: &str) -> Result<()> {
        (setting.apply)(self, value).map_err(|wanted| {
            let value = if setting.is_secret() { "…".into() } else { format!("{value:?}") };
            invalid(place, format!("{} = {value} does not fit", setting.key)).expected(wanted)
        })
    }

    /// What the engine needs of it, to look at a store, to copy or to export one: nothing is added to the log.
    pub(crate) fn engine_options(&self) -> Options {
        self.audit.keys_of(self.store_options())
    }

    /// What the engine needs of it, to run a store: it signs checkpoints and seals by itself.
    pub(crate) fn running_options(&self) -> Options {
        self.audit.running(self.store_options())
    }

    fn store_options(&self) -> Options {
        Options {
            segment_bytes: self.segment_bytes,
            index_flush_events: self.index_flush_events,
            heads_max: self.heads_max,
            free_bytes_reserve: self.free_bytes_reserve,
            #[cfg(feature = "measure-without-audit")]
            without_audit: true,
            ..Options::default()
        }
    }
}

/// Variables of the command line itself, beside those of [`SETTINGS`].
const CLIENT_VARIABLES: [&str; 2] = ["GRAVEN_URL", "GRAVEN_CONFIG"];

/// The `GRAVEN_*` variables of an environment.
///
/// # Errors
/// [`Code::InvalidConfig`] for one that nobody reads, so that a misspelt variable is not silently ignored.
pub(crate) fn graven_variables(
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>> {
    let mut known = Vec::new();
    for (variable, value) in environment {
        let Some(variable) = variable.to_str().filter(|name| name.starts_with("GRAVEN_")) else { continue };
        let names = || SETTINGS.iter().map(Setting::variable).chain(CLIENT_VARIABLES.map(String::from));
        if !names().any(|name| name == variable) {
            return Err(invalid("environment", settings::unknown("variable", variable, names())));
        }
        let value = value
            .into_string()
            .map_err(|_| invalid("environment", format!("the value of {variable} is not valid UTF-8")))?;
        known.push((variable.to_owned(), value));
    }
    Ok(known)
}

fn invalid(place: &str, what: impl std::fmt::Display) -> Error {
    Error::new(Code::InvalidConfig, format!("{place}: {what}"))
}

#[cfg(test)]
mod tests;
