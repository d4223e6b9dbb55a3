//! [`Timestamp`]: microseconds since 1970-01-01T00:00:00Z.

use crate::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A point in time in microseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Timestamp {
        Timestamp(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Parses RFC 3339 (`2011-09-30T22:38:44.546Z`), to the microsecond; what is finer is cut off.
    ///
    /// # Errors
    /// [`Code::InvalidTime`].
    pub fn parse(text: &str) -> Result<Timestamp> {
        let time: jiff::Timestamp = text.parse().map_err(|_| {
            Error::new(Code::InvalidTime, format!("{:?} is not a time", crate::limits::shorten(text)))
                .expected("RFC 3339, as in 2011-09-30T22:38:44.546Z")
        })?;
        Ok(Timestamp(time.as_microsecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => time.fmt(f),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Timestamp::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_what_it_prints() {
        let time = Timestamp::parse("2011-09-30T22:38:44.546Z").unwrap();
        assert_eq!(time.micros(), 1_317_422_324_546_000);
        assert_eq!(time.to_string(), "2011-09-30T22:38:44.546Z");
        assert_eq!(Timestamp::parse("2011-10-01T00:38:44.546+02:00").unwrap(), time);
        assert!(Timestamp::parse("yesterday").is_err());
    }
}
