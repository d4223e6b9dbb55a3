//! The settings of evidence from outside: witnesses and a timestamp authority.

use super::units::{DURATION_EXPECTED, duration};
use crate::server::{AnchorSettings, Mode};
use graven_model::{Code, Error, Result};
use graven_proof::policy::Policy;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes of a policy file at the most.
const POLICY_BYTES_MAX: u64 = 1 << 20;

/// Who is asked to vouch for checkpoints, and how often.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AnchorConfig {
    policy: Option<PathBuf>,
    mode: Mode,
    patience: Duration,
    interval: Duration,
    timestamp_url: Option<String>,
    timestamp_interval: Duration,
    ca_file: Option<PathBuf>,
}

impl Default for AnchorConfig {
    fn default() -> AnchorConfig {
        AnchorConfig {
            policy: None,
            mode: Mode::Queue,
            patience: Duration::from_secs(300),
            interval: Duration::from_secs(5),
            timestamp_url: None,
            timestamp_interval: Duration::from_secs(3600),
            ca_file: None,
        }
    }
}

impl AnchorConfig {
    /// Takes the file of the policy.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn set_policy(&mut self, file: &str) -> std::result::Result<(), String> {
        if file.is_empty() {
            return Err("a file".into());
        }
        self.policy = Some(file.into());
        Ok(())
    }

    /// Takes what happens while witnesses cannot be reached.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn set_mode(&mut self, word: &str) -> std::result::Result<(), String> {
        let modes = [Mode::Block, Mode::Queue, Mode::Drop];
        self.mode = modes.into_iter().find(|mode| mode.word() == word).ok_or("block, queue or drop")?;
        Ok(())
    }

    /// Takes how long appends go on unwitnessed in mode `block`.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn set_patience(&mut self, text: &str) -> std::result::Result<(), String> {
        self.patience = between(text, Duration::from_millis(100), Duration::from_secs(7 * 24 * 3600))?;
        Ok(())
    }

    /// Takes the pause between two checkpoints for witnesses.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn set_interval(&mut self, text: &str) -> std::result::Result<(), String> {
        self.interval = between(text, Duration::from_millis(10), Duration::from_secs(24 * 3600))?;
        Ok(())
    }

    /// Takes the URL of the timestamp authority.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn set_timestamp_url(&mut self, url: &str) -> std::result::Result<(), String> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err("an address such as https://tsa.example/".into());
        }
        self.timestamp_url = Some(url.to_owned());
        Ok(())
    }

    /// Takes the pause between two timestamps.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn set_timestamp_interval(&mut self, text: &str) -> std::result::Result<(), String> {
        self.timestamp_interval =
            between(text, Duration::from_millis(10), Duration::from_secs(30 * 24 * 3600))?;
        Ok(())
    }

    /// Takes the file of the authorities that are trusted over `https://` besides the system's.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn set_ca_file(&mut self, file: &str) -> std::result::Result<(), String> {
        if file.is_empty() {
            return Err("a file".into());
        }
        self.ca_file = Some(file.into());
        Ok(())
    }

    /// Reads the policy, if there is one.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] with the file and line.
    pub(crate) fn policy(&self) -> Result<Option<Policy>> {
        self.policy.as_ref().map(read_policy).transpose()
    }

    /// Everything, with the policy.
    ///
    /// # Errors
    /// Those of [`AnchorConfig::policy`]; [`Code::InvalidConfig`] for mode `block` without a quorum.
    pub(crate) fn settings(&self) -> Result<AnchorSettings> {
        let policy = self.policy()?;
        let blind = policy.as_ref().is_none_or(Policy::trusts_operator_alone);
        if self.mode == Mode::Block && blind {
            let message = "audit.witness_mode is block, and no quorum of witnesses is asked for";
            return Err(Error::new(Code::InvalidConfig, message).expected(
                "a policy with a quorum other than none in audit.witness_policy, or another mode",
            ));
        }
        Ok(AnchorSettings {
            policy,
            mode: self.mode,
            patience: self.patience,
            interval: self.interval,
            timestamp_url: self.timestamp_url.clone(),
            timestamp_interval: self.timestamp_interval,
            ca_file: self.ca_file.clone(),
        })
    }
}

fn read_policy(path: &PathBuf) -> Result<Policy> {
    let invalid = |what: &dyn std::fmt::Display| {
        Error::new(Code::InvalidConfig, format!("the policy {} cannot be used: {what}", path.display()))
    };
    let length = std::fs::metadata(path).map_err(|error| invalid(&error))?.len();
    if length > POLICY_BYTES_MAX {
        return Err(
            invalid(&format!("it has {length} bytes")).expected(format!("at most {POLICY_BYTES_MAX}"))
        );
    }
    let text = std::fs::read_to_string(path).map_err(|error| invalid(&error))?;
    let policy = Policy::parse(&text).map_err(|error| invalid(&error))?;
    if policy.witnesses().iter().all(|witness| witness.url.is_none()) {
        return Err(invalid(&"it names no witness with a URL").expected("`witness NAME VKEY URL`"));
    }
    Ok(policy)
}

fn between(text: &str, min: Duration, max: Duration) -> std::result::Result<Duration, String> {
    let found = duration(text).ok_or(DURATION_EXPECTED)?;
    if (min..=max).contains(&found) { Ok(found) } else { Err(format!("{min:?} to {} s", max.as_secs())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_cannot_be_used_is_refused_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy");
        let mut config = AnchorConfig::default();
        assert!(config.settings().unwrap().policy.is_none());
        config.set_policy(path.to_str().unwrap()).unwrap();
        for text in [None, Some("quorum none\n"), Some("nonsense\n"), Some("quorum none")] {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let error = config.settings().unwrap_err();
            assert_eq!(error.code, Code::InvalidConfig);
            assert!(error.message.contains("policy"), "{error}");
        }
    }

    #[test]
    fn blocking_wants_a_quorum() {
        let mut config = AnchorConfig::default();
        config.set_mode("block").unwrap();
        assert_eq!(config.settings().unwrap_err().code, Code::InvalidConfig);
        assert!(config.set_mode("perhaps").is_err());
        assert!(config.set_timestamp_url("ftp://x").is_err());
    }
}
