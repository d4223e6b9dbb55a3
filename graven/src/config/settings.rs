//! The table of settings: key, meaning, parser.

use super::units::{DURATION_EXPECTED, SIZE_EXPECTED, duration, size};
use super::{Config, LogFormat};
use std::net::ToSocketAddrs;
use std::str::FromStr;
use std::time::Duration;

/// One setting. Its variable is `GRAVEN_` and the key in capitals with `_` for `.`.
pub(crate) struct Setting {
    /// Dotted key, as in the file.
    pub(crate) key: &'static str,
    /// Parses and stores a value; the error says what was expected.
    pub(crate) apply: fn(&mut Config, &str) -> Result<(), String>,
}

impl Setting {
    /// The environment variable that sets it.
    pub(crate) fn variable(&self) -> String {
        format!("GRAVEN_{}", self.key.replace('.', "_").to_uppercase())
    }

    /// Its value is shown nowhere: it may hold a password.
    pub(crate) fn is_secret(&self) -> bool {
        self.key == "journal.url"
    }
}

/// Every setting there is, in the order of the documentation.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        key: "data",
        apply: |config, text| {
            check(!text.is_empty(), "a directory")?;
            config.data = Some(text.into());
            Ok(())
        },
    },
    Setting {
        key: "listen",
        apply: |config, text| {
            let mut addresses = text.to_socket_addrs().map_err(|_| "an address such as 127.0.0.1:2113")?;
            config.listen = addresses.next().ok_or("a name that has an address")?;
            Ok(())
        },
    },
    Setting {
        key: "insecure",
        apply: |config, text| {
            config.insecure = text.parse().map_err(|_| "true or false")?;
            Ok(())
        },
    },
    Setting {
        key: "shutdown_grace",
        apply: |config, text| {
            config.shutdown_grace = duration(text).ok_or(DURATION_EXPECTED)?;
            Ok(())
        },
    },
    Setting {
        key: "store.segment_size",
        apply: |config, text| {
            let bytes = size(text).ok_or(SIZE_EXPECTED)?;
            check((1 << 20..=1 << 30).contains(&bytes), "1 MiB to 1 GiB")?;
            config.segment_bytes = bytes;
            Ok(())
        },
    },
    Setting {
        key: "store.index_flush_events",
        apply: |config, text| {
            config.index_flush_events = number(text, 1_000, 10_000_000)?;
            Ok(())
        },
    },
    Setting {
        key: "store.heads_max",
        apply: |config, text| {
            config.heads_max = number(text, 1_000, 100_000_000)?;
            Ok(())
        },
    },
    Setting {
        key: "store.free_space_reserve",
        apply: |config, text| {
            config.free_bytes_reserve = size(text).ok_or(SIZE_EXPECTED)?;
            Ok(())
        },
    },
    Setting { key: "journal.url", apply: |config, text| config.journal.set_url(text) },
    Setting {
        key: "journal.schema",
        apply: |config, text| {
            config.journal.schema = text.into();
            Ok(())
        },
    },
    Setting {
        key: "journal.ca_file",
        apply: |config, text| {
            check(!text.is_empty(), "a file")?;
            config.journal.ca_file = Some(text.into());
            Ok(())
        },
    },
    Setting {
        key: "journal.connect_timeout",
        apply: |config, text| {
            config.journal.connect_timeout = timeout(text)?;
            Ok(())
        },
    },
    Setting {
        key: "journal.call_timeout",
        apply: |config, text| {
            config.journal.call_timeout = timeout(text)?;
            Ok(())
        },
    },
    Setting {
        key: "journal.follow",
        apply: |config, text| {
            config.journal.follow = text.parse().map_err(|_| "true or false")?;
            Ok(())
        },
    },
    Setting { key: "journal.advertise", apply: |config, text| config.journal.set_advertise(text) },
    Setting {
        key: "journal.require_synchronous",
        apply: |config, text| {
            config.journal.require_synchronous = text.parse().map_err(|_| "true or false")?;
            Ok(())
        },
    },
    Setting { key: "audit.keys", apply: |config, text| config.audit.set_keys(text) },
    Setting { key: "audit.high_water", apply: |config, text| config.audit.set_high_water(text) },
    Setting {
        key: "audit.checkpoint_interval",
        apply: |config, text| config.audit.set_checkpoint_interval(text),
    },
    Setting { key: "audit.seal_interval", apply: |config, text| config.audit.set_seal_interval(text) },
    Setting { key: "audit.scrub_rate", apply: |config, text| config.audit.set_scrub_rate(text) },
    Setting { key: "audit.seal_subjects", apply: |config, text| config.audit.set_seal_subjects(text) },
    Setting { key: "audit.witness_policy", apply: |config, text| config.anchor.set_policy(text) },
    Setting { key: "audit.witness_mode", apply: |config, text| config.anchor.set_mode(text) },
    Setting { key: "audit.witness_patience", apply: |config, text| config.anchor.set_patience(text) },
    Setting { key: "audit.witness_interval", apply: |config, text| config.anchor.set_interval(text) },
    Setting { key: "audit.timestamp_url", apply: |config, text| config.anchor.set_timestamp_url(text) },
    Setting {
        key: "audit.timestamp_interval",
        apply: |config, text| config.anchor.set_timestamp_interval(text),
    },
    Setting { key: "audit.ca_file", apply: |config, text| config.anchor.set_ca_file(text) },
    Setting {
        key: "log.level",
        apply: |config, text| {
            tracing_subscriber::EnvFilter::from_str(text)
                .map_err(|_| "error, warn, info, debug, trace, or directives such as graven_engine=debug")?;
            config.log_level = text.into();
            Ok(())
        },
    },
    Setting {
        key: "log.format",
        apply: |config, text| {
            config.log_format = match text {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return Err("text or json".into()),
            };
            Ok(())
        },
    },
];

/// The setting with this key.
///
/// # Errors
/// What to say if there is none, with the nearest key.
pub(crate) fn find(key: &str) -> Result<&'static Setting, String> {
    SETTINGS
        .iter()
        .find(|setting| setting.key == key)
        .ok_or_else(|| unknown("setting", key, SETTINGS.iter().map(|setting| setting.key.to_owned())))
}

/// `unknown setting "lisen": did you mean "listen"?`
pub(crate) fn unknown(kind: &str, given: &str, names: impl Iterator<Item = String>) -> String {
    let given_last = last_word(given);
    let nearest = names
        .map(|name| {
            let whole = strsim::damerau_levenshtein(given, &name);
            (whole.min(1 + strsim::damerau_levenshtein(given_last, last_word(&name))), name)
        })
        .min();
    match nearest {
        Some((distance, name)) if distance <= 2.max(given.len() / 4) => {
            format!("unknown {kind} {given:?}: did you mean {name:?}?")
        }
        _ => format!("unknown {kind} {given:?}"),
    }
}

/// A key without its section: people forget the section, not the word.
fn last_word(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

fn check(holds: bool, expected: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(expected.into()) }
}

fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text).ok_or(DURATION_EXPECTED)?;
    check((Duration::from_millis(100)..=Duration::from_secs(600)).contains(&timeout), "100ms to 10m")?;
    Ok(timeout)
}

fn number(text: &str, min: usize, max: usize) -> Result<usize, String> {
    let number = text.replace('_', "").parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("a whole number from {min} to {max}"))
}
