//! RFC 3339 to and from microseconds, in the shape events carry: strict, and quick enough for a line of an import.

const MICROS: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;
/// Microseconds of 0000-01-01 and of 10000-01-01: what four digits of a year can say.
const YEARS: std::ops::Range<i64> = -62_167_219_200 * MICROS..253_402_300_800 * MICROS;

/// A time as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parsed {
    /// Since 1970, UTC; what is finer is cut off.
    pub(super) micros: i64,
    /// The text says more than `micros`: an offset, a finer fraction, a leap second.
    pub(super) says_more: bool,
}

/// Reads `2011-09-30T22:38:44.546Z` and all else RFC 3339 (section 5.6) allows. `None` if it is not that.
pub(super) fn parse(text: &str) -> Option<Parsed> {
    let (head, mut rest) = text.as_bytes().split_at_checked(19)?;
    let &[_, _, _, _, b'-', _, _, b'-', _, _, b'T' | b't', _, _, b':', _, _, b':', _, _] = head else {
        return None;
    };
    let number = |from: usize, to: usize| digits(&head[from..to]);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut says_more = second == 60;

    let mut fraction = 0;
    if let Some(after) = rest.strip_prefix(b".") {
        let length = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            return None;
        }
        let (digits, after) = after.split_at(length);
        for place in 0..6 {
            fraction = fraction * 10 + i64::from(digits.get(place).map_or(0, |digit| digit - b'0'));
        }
        says_more |= digits.iter().skip(6).any(|digit| *digit != b'0');
        rest = after;
    }
    let offset_minutes = match *rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[h1, h2])?, digits(&[m1, m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 60 + minutes;
            // "-00:00" says that the offset is not known (section 4.3).
            says_more |= offset != 0 || sign == b'-';
            if sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let minutes = (days_before(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some(Parsed { micros: (minutes * 60 + second) * MICROS + fraction, says_more })
}

/// Writes `2011-09-30T22:38:44.546Z`: UTC, with milliseconds, or microseconds where there are some. False, and nothing
/// written, for years that RFC 3339 cannot say.
pub(super) fn write(micros: i64, out: &mut Vec<u8>) -> bool {
    if !YEARS.contains(&micros) {
        return false;
    }
    let seconds = micros.div_euclid(MICROS);
    let (year, month, day) = date_of(seconds.div_euclid(DAY_SECONDS));
    let second = seconds.rem_euclid(DAY_SECONDS);
    put(out, year, 4);
    out.push(b'-');
    put(out, month, 2);
    out.push(b'-');
    put(out, day, 2);
    out.push(b'T');
    put(out, second / 3600, 2);
    out.push(b':');
    put(out, second / 60 % 60, 2);
    out.push(b':');
    put(out, second % 60, 2);
    out.push(b'.');
    let fraction = micros.rem_euclid(MICROS);
    if fraction % 1000 == 0 {
        put(out, fraction / 1000, 3)
    } else {
        put(out, fraction, 6)
    }
    out.push(b'Z');
    true
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

fn put(out: &mut Vec<u8>, number: i64, digits: u32) {
    for place in (0..digits).rev() {
        out.push(b'0' + (number / 10i64.pow(place) % 10) as u8);
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of 400 years of the Gregorian calendar.
const ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;

/// Days from 1970-01-01 to a date. Years are counted from March, so that the leap day is a year's last.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    era * ERA + year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1 - EPOCH
}

/// The inverse of [`days_before`].
fn date_of(days: i64) -> (i64, i64, i64) {
    let (era, day) = ((days + EPOCH).div_euclid(ERA), (days + EPOCH).rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, (month + 2) % 12 + 1);
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use proptest::prelude::*;

    fn written(micros: i64) -> Option<String> {
        let mut out = Vec::new();
        write(micros, &mut out).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn milliseconds_print_as_producers_write_them() {
        for text in [
            "2011-09-30T22:38:44.546Z",
            "2011-09-30T22:38:44.880Z",
            "2024-02-29T00:00:00.000Z",
            "1969-12-31T23:59:59.999Z",
        ] {
            let parsed = parse(text).unwrap();
            assert_eq!(written(parsed.micros).unwrap(), text);
            assert!(!parsed.says_more);
        }
        assert_eq!(written(1).unwrap(), "1970-01-01T00:00:00.000001Z");
        assert_eq!(written(YEARS.start).unwrap(), "0000-01-01T00:00:00.000Z");
        assert_eq!(written(YEARS.end - 1).unwrap(), "9999-12-31T23:59:59.999999Z");
        assert_eq!(written(YEARS.start - 1), None);
        assert_eq!(written(YEARS.end), None);
    }

    #[test]
    fn offsets_fine_fractions_and_leap_seconds_say_more() {
        let micros = 1_317_422_324_546_000;
        for text in
            ["2011-10-01T00:38:44.546+02:00", "2011-09-30T22:38:44.5460001Z", "2011-09-30T22:38:44.546-00:00"]
        {
            assert_eq!(parse(text), Some(Parsed { micros, says_more: true }), "{text}");
        }
        for text in
            ["2011-09-30t22:38:44.546z", "2011-09-30T22:38:44.546+00:00", "2011-09-30T22:38:44.5460000Z"]
        {
            assert_eq!(parse(text), Some(Parsed { micros, says_more: false }), "{text}");
        }
        assert!(parse("2016-12-31T23:59:60Z").unwrap().says_more);
    }

    #[test]
    fn what_is_not_rfc_3339_is_refused() {
        for text in [
            "",
            "2011-09-30",
            "2011-09-30T22:38:44",
            "2011-09-30 22:38:44Z",
            "2011-09-30T22:38:44.Z",
            "2011-09-30T22:38:44,5Z",
            "2011-09-30T22:38:44ZZ",
            "2011-09-31T22:38:44Z",
            "2011-00-30T22:38:44Z",
            "2023-02-29T22:38:44Z",
            "2011-09-30T24:00:00Z",
            "2011-09-30T22:60:44Z",
            "2011-09-30T22:38:61Z",
            "2011-09-30T22:38:44+2:00",
            "2011-09-30T22:38:44+24:00",
            "2011-09-30T22:38:44+02:60",
            "2011-09-30T22:38:4é",
            "+011-09-30T22:38:44Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_time_reads_back_what_it_prints_and_agrees_with_jiff(micros in YEARS) {
            let text = written(micros).unwrap();
            prop_assert_eq!(parse(&text), Some(Parsed { micros, says_more: false }));
            prop_assert_eq!(Timestamp::parse(&text).unwrap().micros(), micros);
        }

        #[test]
        fn offsets_agree_with_jiff(micros in -62_000_000_000i64..250_000_000_000, minutes in -1439..1440i64) {
            let micros = micros * MICROS + 5;
            let text = written(micros).unwrap();
            let sign = if minutes < 0 { '-' } else { '+' };
            let offset = format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60);
            let text = text.replace('Z', &offset);
            prop_assert_eq!(parse(&text).unwrap().micros, Timestamp::parse(&text).unwrap().micros());
        }

        #[test]
        fn hostile_times_never_panic(text in "[-0-9TtZz:.+é]{0,40}") {
            parse(&text);
        }
    }
}
