//! [`Settings`]: where the journal is and how long to wait for it.

use crate::tls::Tls;
use graven_model::{Code, Error, Result};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// Bytes of a schema's name: what PostgreSQL takes for an identifier.
const SCHEMA_BYTES_MAX: usize = 63;

/// Options of the URL that an error may name. Others may be a piece of a password that was not encoded.
const OPTIONS: &[&str] = &[
    "sslmode",
    "sslnegotiation",
    "target_session_attrs",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "channel_binding",
    "load_balance_hosts",
    "hostaddr",
    "port",
];

/// Where the journal is and how long to wait for it.
///
/// The password is in [`Settings::url`] and nowhere else: errors, logs and the `Debug` form show [`Settings::redacted`].
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE`, or the same as `key=value` pairs. Several hosts
    /// (`HOST1:PORT1,HOST2:PORT2`) with `target_session_attrs=read-write` follow a failover.
    ///
    /// `sslmode` is `disable`, `prefer` (the default: encrypts if the server can, without looking at its certificate
    /// unless [`Settings::ca_file`] is given) or `require`, which verifies the certificate and the host name, as libpq's
    /// `verify-full` does, and can be spelt so.
    pub url: String,
    /// Name of the PostgreSQL schema the journal lies in: `[a-z_][a-z0-9_]*`, at most 63 bytes, not `pg_…`.
    pub schema: String,
    /// File with the certificates (PEM) the server's must descend from; the system's if `None`.
    pub ca_file: Option<PathBuf>,
    /// How long to wait for a connection, for each address of a host; twice that for each host, all in all. The URL's
    /// `connect_timeout` goes before.
    pub connect_timeout: Duration,
    /// How long to wait for the answer to a statement. The outcome of a commit is unknown then.
    pub call_timeout: Duration,
}

impl Settings {
    /// The schema `graven` at a URL, the system's certificates, 5 seconds to connect and 10 for a statement.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Settings {
        Settings {
            url: url.into(),
            schema: "graven".to_owned(),
            ca_file: None,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(10),
        }
    }

    /// The URL without the password and the options: user, hosts, database.
    #[must_use]
    pub fn redacted(&self) -> String {
        parse(&self.url).map_or_else(|_| "postgresql://(malformed)".to_owned(), |config| redacted(&config))
    }

    /// Whether a journal can be made of them. Connects to nothing, but reads the certificates.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`].
    pub fn check(&self) -> Result<()> {
        self.target().map(drop)
    }

    /// What to connect to.
    pub(crate) fn target(&self) -> Result<Target> {
        check_schema(&self.schema)?;
        let mut config = parse(&self.url)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(invalid("the journal's URL names no host"));
        }
        if self.ca_file.is_some() && config.get_ssl_mode() == SslMode::Disable {
            return Err(invalid(
                "there is a file of certificates for the journal, and its URL says sslmode=disable",
            )
            .expected("sslmode=require"));
        }
        let tls = Tls::new(config.get_ssl_mode(), self.ca_file.as_deref())?;
        if config.get_application_name().is_none() {
            config.application_name("graven");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(self.connect_timeout);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(self.call_timeout);
        }
        config.keepalives_idle(Duration::from_secs(10));
        config.keepalives_interval(Duration::from_secs(5));
        config.keepalives_retries(3);
        Ok(Target { name: redacted(&config), config, tls })
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", &self.redacted())
            .field("schema", &self.schema)
            .field("ca_file", &self.ca_file)
            .field("connect_timeout", &self.connect_timeout)
            .field("call_timeout", &self.call_timeout)
            .finish()
    }
}

/// What to connect to, checked.
pub(crate) struct Target {
    pub(crate) config: Config,
    pub(crate) tls: Tls,
    /// For errors and logs.
    pub(crate) name: String,
}

impl Target {
    /// The hosts, one configuration each: the first that answers is taken, and one that hangs costs its own time only.
    pub(crate) fn hosts(&self) -> Vec<Config> {
        let all = &self.config;
        let count = all.get_hosts().len().max(all.get_hostaddrs().len());
        let lists_fit =
            [all.get_hosts().len(), all.get_hostaddrs().len()].iter().all(|n| [0, count].contains(n));
        if count < 2 || !lists_fit || ![0, 1, count].contains(&all.get_ports().len()) {
            return vec![all.clone()]; // one, or a mismatch that connecting tells of
        }
        (0..count).map(|at| one_host(all, at)).collect()
    }
}

fn one_host(all: &Config, at: usize) -> Config {
    let mut one = Config::new();
    match all.get_hosts().get(at) {
        Some(Host::Tcp(host)) => _ = one.host(host),
        Some(Host::Unix(path)) => _ = one.host_path(path),
        None => {}
    }
    if let Some(address) = all.get_hostaddrs().get(at) {
        one.hostaddr(*address);
    }
    if let Some(port) = all.get_ports().get(at).or_else(|| all.get_ports().first()) {
        one.port(*port);
    }
    all.get_user().map(|user| one.user(user));
    all.get_password().map(|password| one.password(password));
    all.get_dbname().map(|name| one.dbname(name));
    all.get_options().map(|options| one.options(options));
    all.get_application_name().map(|name| one.application_name(name));
    all.get_connect_timeout().map(|timeout| one.connect_timeout(*timeout));
    all.get_tcp_user_timeout().map(|timeout| one.tcp_user_timeout(*timeout));
    all.get_keepalives_interval().map(|interval| one.keepalives_interval(interval));
    all.get_keepalives_retries().map(|retries| one.keepalives_retries(retries));
    one.keepalives(all.get_keepalives())
        .keepalives_idle(all.get_keepalives_idle())
        .ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .channel_binding(all.get_channel_binding())
        .target_session_attrs(all.get_target_session_attrs())
        .load_balance_hosts(all.get_load_balance_hosts());
    one
}

fn parse(url: &str) -> Result<Config> {
    let spelt = url.replace("sslmode=verify-full", "sslmode=require");
    spelt.parse::<Config>().map_err(|error| {
        // The error may quote a piece of the password, so only what is known is passed on.
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let error = match OPTIONS.iter().find(|option| source.contains(&format!("`{option}`"))) {
            Some(option) => invalid(format!("the journal's URL has an option that is not understood: {option}")),
            None => invalid("the journal's URL cannot be read; characters such as @ / ? in a password are written %40 %2F %3F"),
        };
        error.expected("postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=require")
    })
}

fn redacted(config: &Config) -> String {
    let named = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(host) => host.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let mut hosts: Vec<String> = named.collect();
    if hosts.is_empty() {
        hosts = config.get_hostaddrs().iter().map(ToString::to_string).collect();
    }
    for (at, host) in hosts.iter_mut().enumerate() {
        let port = config.get_ports().get(at).or_else(|| config.get_ports().first()).unwrap_or(&5432);
        *host = format!("{host}:{port}");
    }
    let user = config.get_user().map(|user| format!("{user}@")).unwrap_or_default();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgresql://{user}{}/{database}", hosts.join(","))
}

fn check_schema(name: &str) -> Result<()> {
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let goes_on = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if starts && goes_on && name.len() <= SCHEMA_BYTES_MAX && !name.starts_with("pg_") {
        return Ok(());
    }
    Err(invalid("the name of the journal's schema is not one")
        .expected("a lower-case letter or _, then letters, digits and _, at most 63 bytes, not pg_…")
        .found(graven_model::limits::shorten(name)))
}

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::InvalidConfig, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_shown_nowhere() {
        let settings = Settings::new("postgresql://u:geh%40eim@db1:5433,db2/store?sslmode=disable");
        assert_eq!(settings.redacted(), "postgresql://u@db1:5433,db2:5432/store");
        assert!(!format!("{settings:?}").contains("geh"));
        for url in [
            "postgresql://u:geh@eim@host/db?geheim=1",
            "postgresql://u:geh?geheim=x@host/db",
            "host=h user=u password=geh geheim sslmode=disable",
            "geheim",
            "host=h password=geheim sslmode=geheim",
        ] {
            let settings = Settings::new(url);
            let shown = format!("{settings:?} {:?}", settings.check());
            assert!(!shown.contains("geheim"), "{url}: {shown}");
        }
    }

    #[test]
    fn several_hosts_are_tried_one_by_one() {
        let settings = Settings::new(
            "postgresql://u:p@db1:5433,db2:5434/store?target_session_attrs=read-write&sslmode=disable",
        );
        let hosts = settings.target().unwrap().hosts();
        let names: Vec<String> = hosts.iter().map(redacted).collect();
        assert_eq!(names, ["postgresql://u@db1:5433/store", "postgresql://u@db2:5434/store"]);
        let all = settings.target().unwrap().config;
        for one in hosts {
            assert_eq!(one.get_password(), all.get_password());
            assert_eq!(one.get_target_session_attrs(), all.get_target_session_attrs());
            assert_eq!(one.get_ssl_mode(), all.get_ssl_mode());
        }
    }

    #[test]
    fn a_schema_is_an_identifier_that_needs_no_quotes() {
        for good in ["graven", "_", "g7_x", &"x".repeat(63)] {
            check_schema(good).unwrap();
        }
        for bad in ["", "7g", "Graven", "g-x", "g\"x", "pg_x", "grävén", &"x".repeat(64)] {
            assert_eq!(check_schema(bad).unwrap_err().code, Code::InvalidConfig);
        }
    }

    #[test]
    fn verify_full_is_understood_and_other_modes_are_named() {
        assert_eq!(parse("postgresql://h/d?sslmode=verify-full").unwrap().get_ssl_mode(), SslMode::Require);
        let error = parse("postgresql://h/d?sslmode=allow").unwrap_err();
        assert!(error.message.contains("sslmode"), "{error}");
    }
}
