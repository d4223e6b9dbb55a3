//! `grpc-timeout`: how long a caller waits.

use axum::http::HeaderMap;
use graven_model::{Code, Error, Result};
use std::time::Duration;
use tokio::time::Instant;

/// No call waits longer; a longer wish is as good as none.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// When the caller gives up, if it said so.
///
/// # Errors
/// [`Code::BadRequest`] for what is not 1 to 8 digits and a unit.
pub(in crate::server) fn of(headers: &HeaderMap) -> Result<Option<Instant>> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let timeout = value.to_str().ok().and_then(parse).ok_or_else(|| {
        Error::new(Code::BadRequest, "grpc-timeout is malformed").expected("digits and one of H M S m u n")
    })?;
    Ok((timeout < LONGEST).then(|| Instant::now() + timeout))
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        assert_eq!(parse("90m"), Some(Duration::from_millis(90)));
        assert_eq!(parse("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parse("99999999S"), Some(Duration::from_secs(99_999_999)));
        for bad in ["", "S", "1", "1s", "-1S", "+1S", "123456789S", "1é"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
