//! The settings of a journal that several nodes share.

use graven_model::{Code, Error, Result};
use graven_postgres::Settings;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What a journal's URL begins with.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// A text that may hold a password: shown by nobody.
#[derive(Clone, PartialEq)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Where the journal is, and this node's part in it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JournalConfig {
    /// Where it is; without it the store's journal is its own log.
    url: Option<Secret>,
    /// Schema of the database.
    pub(super) schema: String,
    /// Certificates the database's has to descend from; the system's without them.
    pub(super) ca_file: Option<PathBuf>,
    /// For one attempt to connect.
    pub(super) connect_timeout: Duration,
    /// For one statement.
    pub(super) call_timeout: Duration,
    /// Never write, unless told to take over.
    pub(crate) follow: bool,
    /// Where clients and other nodes reach this one, if that is not the address it listens on.
    pub(super) advertise: Option<String>,
    /// Refuse to start on a database that could lose what it acknowledged.
    pub(crate) require_synchronous: bool,
}

impl Default for JournalConfig {
    fn default() -> JournalConfig {
        let Settings { schema, ca_file, connect_timeout, call_timeout, .. } = Settings::new("");
        JournalConfig {
            url: None,
            schema,
            ca_file,
            connect_timeout,
            call_timeout,
            follow: false,
            advertise: None,
            require_synchronous: false,
        }
    }
}

impl JournalConfig {
    /// Whether the journal is one that several nodes share.
    pub(crate) fn is_shared(&self) -> bool {
        self.url.is_some()
    }

    /// Takes the journal's URL.
    ///
    /// # Errors
    /// What was expected; never the URL itself, which may hold a password.
    pub(crate) fn set_url(&mut self, url: &str) -> Result<(), String> {
        if !SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
            return Err(format!(
                "{}USER:PASSWORD@HOST:PORT/DATABASE: PostgreSQL is the journal that nodes can share",
                SCHEMES[0]
            ));
        }
        self.url = Some(Secret(url.to_owned()));
        Ok(())
    }

    /// Takes the file of certificates.
    pub(crate) fn set_ca_file(&mut self, file: Option<&str>) {
        self.ca_file = file.map(PathBuf::from);
    }

    /// Takes the URL under which others reach this node.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn set_advertise(&mut self, url: &str) -> Result<(), String> {
        let authority = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let authority = authority.map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        match authority {
            Some(name) if !name.is_empty() && !name.contains(['/', '?', '#', '@', ' ']) => {
                self.advertise = Some(url.trim_end_matches('/').to_owned());
                Ok(())
            }
            _ => Err("http://HOST:PORT, as clients reach this node".into()),
        }
    }

    /// What the journal's own crate needs; `None` without a shared journal.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`].
    pub(crate) fn settings(&self) -> Result<Option<Settings>> {
        let Some(Secret(url)) = &self.url else { return Ok(None) };
        let settings = Settings {
            schema: self.schema.clone(),
            ca_file: self.ca_file.clone(),
            connect_timeout: self.connect_timeout,
            call_timeout: self.call_timeout,
            ..Settings::new(url)
        };
        settings.check()?;
        Ok(Some(settings))
    }

    /// The URL others are told; that of the address this node listens on unless another is set.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] if that address is a wildcard, which nobody can connect to.
    pub(crate) fn advertised(&self, listen: SocketAddr) -> Result<String> {
        match &self.advertise {
            Some(url) => Ok(url.clone()),
            None if listen.ip().is_unspecified() => Err(Error::new(
                Code::InvalidConfig,
                format!("{listen} is no address that others can connect to, and they are told one"),
            )
            .expected("--advertise http://HOST:PORT, as clients reach this node")),
            None => Ok(format!("http://{listen}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_journals_are_refused_by_what_is_supported_and_without_their_password() {
        let mut journal = JournalConfig::default();
        for url in ["mysql://u:geheim@h/d", "geheim", "", "postgres:geheim"] {
            let error = journal.set_url(url).unwrap_err();
            assert!(error.contains("PostgreSQL") && !error.contains("geheim"), "{error}");
        }
        journal.set_url("postgres://u:geheim@h/d").unwrap();
        assert!(journal.is_shared() && !format!("{journal:?}").contains("geheim"));
    }

    #[test]
    fn others_are_told_the_address_this_node_listens_on_unless_it_is_a_wildcard() {
        let mut journal = JournalConfig::default();
        assert_eq!(journal.advertised("127.0.0.1:7".parse().unwrap()).unwrap(), "http://127.0.0.1:7");
        assert_eq!(journal.advertised("[::1]:7".parse().unwrap()).unwrap(), "http://[::1]:7");
        let wildcard = "0.0.0.0:7".parse().unwrap();
        assert_eq!(journal.advertised(wildcard).unwrap_err().code, Code::InvalidConfig);
        for bad in ["host:7", "http://", "http://a/b", "ftp://a", "http://u:p@a", "http:// a"] {
            assert!(journal.set_advertise(bad).is_err(), "{bad}");
        }
        journal.set_advertise("http://graven-1:2113/").unwrap();
        assert_eq!(journal.advertised(wildcard).unwrap(), "http://graven-1:2113");
    }
}
