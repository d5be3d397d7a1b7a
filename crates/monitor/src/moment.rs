//! Owns instants and their written form (RFC 3339, UTC). Must not know a time zone.

use std::fmt;

const BILLION: i64 = 1_000_000_000;

/// An instant, in nanoseconds since 1970; so from 1677 to 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    /// This one, by the system's clock.
    pub fn now() -> Moment {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Moment(now.tv_sec.saturating_mul(BILLION).saturating_add(now.tv_nsec))
    }

    /// From `2006-01-02T15:04:05` with any number of digits behind a point, and `Z` or an offset.
    pub fn parse(text: &str) -> Option<Moment> {
        let _ = text;
        todo!()
    }
}

impl fmt::Display for Moment {
    /// With all nine digits of the nanoseconds, as logs are shown.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = formatter;
        todo!()
    }
}
