//! The settings of the audit trail.

use super::units::{DURATION_EXPECTED, SIZE_EXPECTED, duration, size};
use graven_engine::Options;
use std::path::PathBuf;
use std::time::Duration;

/// Where the keys lie, and how often is signed and sealed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AuditConfig {
    /// Directory of the keys; `keys` in the data directory without it.
    keys: Option<PathBuf>,
    /// File that remembers how far the log was; `high-water` among the keys without it.
    high_water: Option<PathBuf>,
    /// Pause between two checkpoints; zero signs on demand alone.
    checkpoint_interval: Duration,
    /// Pause between two seals; zero seals on demand alone.
    seal_interval: Duration,
    /// Bytes a second that are verified in the background; zero verifies on demand alone.
    scrub_rate: u64,
    /// Payloads of data subjects are sealed.
    seal_subjects: bool,
}

impl Default for AuditConfig {
    fn default() -> AuditConfig {
        AuditConfig {
            keys: None,
            high_water: None,
            checkpoint_interval: Duration::from_secs(1),
            seal_interval: Duration::from_secs(60),
            scrub_rate: 8 << 20,
            seal_subjects: true,
        }
    }
}

impl AuditConfig {
    /// Takes the directory of the keys.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn set_keys(&mut self, dir: &str) -> Result<(), String> {
        self.keys = Some(path(dir, "a directory")?);
        Ok(())
    }

    /// Takes the file of the high-water mark.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn set_high_water(&mut self, file: &str) -> Result<(), String> {
        self.high_water = Some(path(file, "a file")?);
        Ok(())
    }

    /// Takes the pause between two checkpoints.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn set_checkpoint_interval(&mut self, text: &str) -> Result<(), String> {
        self.checkpoint_interval = interval(text)?;
        Ok(())
    }

    /// Takes the pause between two seals.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn set_seal_interval(&mut self, text: &str) -> Result<(), String> {
        self.seal_interval = interval(text)?;
        Ok(())
    }

    /// Takes how much is verified a second.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn set_scrub_rate(&mut self, text: &str) -> Result<(), String> {
        self.scrub_rate = size(text).ok_or(SIZE_EXPECTED)?;
        Ok(())
    }

    /// Takes whether payloads of data subjects are sealed.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn set_seal_subjects(&mut self, text: &str) -> Result<(), String> {
        self.seal_subjects = text.parse().map_err(|_| "true or false".to_owned())?;
        Ok(())
    }

    /// The same options for a store whose keys lie where these settings say, which signs and seals only when it is told to. What
    /// it takes about data subjects is sealed under their keys.
    pub(crate) fn keys_of(&self, options: Options) -> Options {
        Options {
            keys_dir: self.keys.clone(),
            high_water: self.high_water.clone(),
            seal_subjects: self.seal_subjects,
            ..options
        }
    }

    /// The same options for a store that signs and seals by itself.
    pub(crate) fn running(&self, options: Options) -> Options {
        let unless_zero = |interval: Duration| (!interval.is_zero()).then_some(interval);
        Options {
            checkpoint_interval: unless_zero(self.checkpoint_interval),
            seal_interval: unless_zero(self.seal_interval),
            scrub_bytes_per_second: (self.scrub_rate > 0).then_some(self.scrub_rate),
            ..self.keys_of(options)
        }
    }
}

fn path(text: &str, expected: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err(expected.into()) } else { Ok(text.into()) }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text).ok_or(DURATION_EXPECTED)?;
    let fits = interval.is_zero() || (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval);
    if fits { Ok(interval) } else { Err("10ms to 24h, or 0 for on demand alone".into()) }
}

const INTERVAL_MIN: Duration = Duration::from_millis(10);
const INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_signs_and_seals_by_itself_and_other_commands_only_when_told_to() {
        let mut audit = AuditConfig::default();
        audit.set_keys("/k").unwrap();
        audit.set_high_water("/elsewhere/mark").unwrap();
        let running = audit.running(Options::default());
        assert_eq!(running.keys_dir.as_deref(), Some("/k".as_ref()));
        assert_eq!(running.checkpoint_interval, Some(Duration::from_secs(1)));
        assert_eq!(running.seal_interval, Some(Duration::from_secs(60)));
        assert_eq!(running.scrub_bytes_per_second, Some(8 << 20));
        let quiet = audit.keys_of(Options::default());
        assert_eq!(quiet.high_water.as_deref(), Some("/elsewhere/mark".as_ref()));
        assert_eq!((quiet.checkpoint_interval, quiet.seal_interval), (None, None));
    }

    #[test]
    fn an_interval_of_zero_means_on_demand_alone() {
        let mut audit = AuditConfig::default();
        audit.set_seal_interval("0").unwrap();
        assert_eq!(audit.running(Options::default()).seal_interval, None);
        for bad in ["1ms", "25h", "soon", "-1s"] {
            assert!(audit.set_checkpoint_interval(bad).is_err(), "{bad}");
        }
        assert!(audit.set_keys("").is_err() && audit.set_high_water("").is_err());
    }

    #[test]
    fn payloads_of_data_subjects_are_sealed_unless_told_otherwise() {
        let mut audit = AuditConfig::default();
        assert!(
            audit.running(Options::default()).seal_subjects
                && audit.keys_of(Options::default()).seal_subjects
        );
        audit.set_seal_subjects("false").unwrap();
        assert!(!audit.running(Options::default()).seal_subjects);
        assert!(audit.set_seal_subjects("yes").is_err());
    }
}
