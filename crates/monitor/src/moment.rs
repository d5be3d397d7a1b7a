//! Owns instants and their written form (RFC 3339, UTC). Must not know a time zone.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sys::calendar::{date, days};

const BILLION: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// The length of the written form with all its digits.
const LENGTH: usize = "2006-01-02T15:04:05.000000000Z".len();

/// An instant, in nanoseconds since 1970; so from 1677 to 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    /// This one, by the system's clock.
    pub fn now() -> Moment {
        // Not by rustix, which panics where the kernel's vDSO lacks a symbol, as that of user-mode Linux does.
        let nanoseconds = |length: Duration| i64::try_from(length.as_nanos()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => Moment(nanoseconds(after)),
            Err(before) => Moment(-nanoseconds(before.duration())),
        }
    }

    /// From `2006-01-02T15:04:05` with any number of digits behind a point, and `Z` or an offset.
    pub fn parse(text: &str) -> Option<Moment> {
        let bytes = text.as_bytes();
        let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if bytes.len() < 20 || marks.iter().any(|(at, mark)| bytes[*at] != *mark) {
            return None;
        }
        let (year, month, day) = (digits(&bytes[..4])?, digits(&bytes[5..7])?, digits(&bytes[8..10])?);
        let (hour, minute, second) =
            (digits(&bytes[11..13])?, digits(&bytes[14..16])?, digits(&bytes[17..19])?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let (nanoseconds, zone) = fraction(&bytes[19..])?;
        let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset(zone)?;
        Some(Moment(seconds.checked_mul(BILLION)?.checked_add(nanoseconds)?))
    }

    /// With all nine digits of the nanoseconds.
    fn written(self) -> [u8; LENGTH] {
        let (seconds, nanoseconds) = (self.0.div_euclid(BILLION), self.0.rem_euclid(BILLION));
        let (year, month, day) = date(seconds.div_euclid(DAY));
        let second = seconds.rem_euclid(DAY);
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        let parts = [
            (0..4, year),
            (5..7, month),
            (8..10, day),
            (11..13, second / 3600),
            (14..16, second / 60 % 60),
            (17..19, second % 60),
            (20..29, nanoseconds),
        ];
        for (place, mut number) in parts {
            for digit in text[place].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        text
    }

    /// As logs in files have it, by Kubernetes' form: all its digits.
    pub(crate) fn stamp(self) -> Stamp {
        Stamp { text: self.written(), length: LENGTH }
    }

    /// As docker writes it to files (Go's `RFC3339Nano`): without the noughts at the end of the nanoseconds.
    pub(crate) fn short_stamp(self) -> Stamp {
        let mut text = self.written();
        let noughts = text[20..29].iter().rev().take_while(|digit| **digit == b'0').count();
        // Without any digits there is no point either.
        let end = if noughts == 9 { 19 } else { 29 - noughts };
        text[end] = b'Z';
        Stamp { text, length: end + 1 }
    }
}

/// A moment, written once for many lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    text: [u8; LENGTH],
    length: usize,
}

impl Stamp {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.text[..self.length]
    }
}

impl fmt::Display for Moment {
    /// With all nine digits of the nanoseconds, as logs are shown.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(std::str::from_utf8(&self.written()).expect("ASCII"))
    }
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |number, byte| match byte {
        b'0'..=b'9' => Some(number * 10 + i64::from(byte - b'0')),
        _ => None,
    })
}

/// The nanoseconds at the beginning, and what follows.
fn fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', rest)) = bytes.split_first() else { return Some((0, bytes)) };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut nanoseconds = digits(&rest[..count.min(9)])?;
    for _ in count..9 {
        nanoseconds *= 10;
    }
    (count > 0).then_some((nanoseconds, &rest[count..]))
}

/// How many seconds a zone is before UTC's.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, rest) = match zone {
        b"Z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    match rest {
        [a, b, b':', c, d] => Some(sign * (digits(&[*a, *b])? * 3600 + digits(&[*c, *d])? * 60)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_moments_are_read_as_what_they_were() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000000Z"),
            (4_102_444_800, "2100-01-01T00:00:00.000000000Z"),
            (-1, "1969-12-31T23:59:59.000000000Z"),
        ] {
            let moment = Moment(seconds * BILLION);
            assert_eq!(moment.to_string(), text);
            assert_eq!(Moment::parse(text), Some(moment));
        }
        for day in (-100_000..100_000).step_by(13) {
            let moment = Moment(day * DAY * BILLION + 1_234);
            assert_eq!(Moment::parse(&moment.to_string()), Some(moment));
        }
    }

    #[test]
    fn short_form_has_no_noughts_at_the_end() {
        let short =
            |nanoseconds| String::from_utf8(Moment(nanoseconds).short_stamp().bytes().to_vec()).unwrap();
        assert_eq!(short(0), "1970-01-01T00:00:00Z");
        assert_eq!(short(120_000_000), "1970-01-01T00:00:00.12Z");
        assert_eq!(short(123_456_789), "1970-01-01T00:00:00.123456789Z");
    }

    #[test]
    fn offsets_and_short_fractions_are_read() {
        assert_eq!(Moment::parse("1970-01-01T01:00:00.5+01:00"), Some(Moment(BILLION / 2)));
        assert_eq!(Moment::parse("1969-12-31T23:30:00-00:30"), Some(Moment(0)));
        for wrong in
            ["", "1970-01-01", "1970-01-01T00:00:00", "1970-13-01T00:00:00Z", "1970-01-01T00:00:00.Z"]
        {
            assert_eq!(Moment::parse(wrong), None, "{wrong}");
        }
    }
}
