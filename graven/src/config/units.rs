//! Sizes such as `64 MiB` and durations such as `5s`, as text.

use std::time::Duration;

/// What [`size`] takes, for messages.
pub(crate) const SIZE_EXPECTED: &str = "a size such as 64 MiB (B, KiB, MiB, GiB, TiB; kB, MB, GB, TB)";
/// What [`duration`] takes, for messages.
pub(crate) const DURATION_EXPECTED: &str = "a duration such as 5s (ms, s, m, h)";

/// Bytes; a number alone counts bytes.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// A duration; the unit is required, except for `0`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3_600).map(Duration::from_secs),
        "" if number == 0 => Some(Duration::ZERO),
        _ => None,
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.replace('_', "").parse().ok()?, unit.trim()))
}

/// Bytes in the largest binary unit that leaves a number of at most four digits.
pub(crate) fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A number with a comma between each group of three digits.
pub(crate) fn show_count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_read_with_their_units() {
        assert_eq!(size("64 MiB"), Some(64 << 20));
        assert_eq!(size("1_000kB"), Some(1_000_000));
        assert_eq!(size("17"), Some(17));
        assert_eq!(duration("5s"), Some(Duration::from_secs(5)));
        assert_eq!(duration("250 ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("0"), Some(Duration::ZERO));
        for bad in ["", "MiB", "-1 MiB", "1.5 MiB", "1 mib", "5 parsecs", "18446744073709551615 KiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
        for bad in ["", "5", "s", "-5s", "5 days"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn counts_and_bytes_are_shown_for_people() {
        assert_eq!(show_count(0), "0");
        assert_eq!(show_count(999), "999");
        assert_eq!(show_count(262_200), "262,200");
        assert_eq!(show_bytes(1_023), "1023 B");
        assert_eq!(show_bytes(68_700_000), "65.5 MiB");
    }
}
