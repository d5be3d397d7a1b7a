//! How long something is waited for, and how often it is tried again.

use std::time::Duration;

/// Bounds of time and number.
#[derive(Debug, Clone)]
pub struct Waits {
    /// For a connection, and for the next bytes of one.
    pub stall: Duration,
    /// For the whole of an answer that is no blob, and for a registry to take in a blob that it has all of.
    pub answer: Duration,
    /// How long a connection may bring, or take, fewer than `least` bytes of a blob.
    pub slow: Duration,
    /// The fewest bytes in that time: one now and then must not hold us.
    pub least: u64,
    /// Before the first repetition; twice as long before each further one.
    pub back_off: Duration,
    /// The longest that a registry may ask for (`Retry-After`).
    pub longest: Duration,
    /// How often something is tried that a registry is too busy for.
    pub attempts: u32,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits {
            stall: Duration::from_secs(30),
            answer: Duration::from_secs(300),
            slow: Duration::from_secs(60),
            least: 64 << 10,
            back_off: Duration::from_millis(500),
            longest: Duration::from_secs(60),
            attempts: 5,
        }
    }
}

impl Waits {
    /// The wait before repetition `number`, from 0: between one and two times the back-off, so that many who failed together
    /// don't come back together.
    pub(super) fn before(&self, number: u32) -> Duration {
        let base = self.back_off.saturating_mul(1 << number.min(6));
        base.saturating_add(base.mul_f64(random_part())).min(self.longest)
    }
}

/// How quick a connection is.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Whether the time that may be slow has passed, and brought too little. Only what is waited for the registry counts, not
    /// how long the caller takes.
    pub(super) fn is_too_slow(&mut self, waited: Duration, bytes: u64, waits: &Waits) -> bool {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < waits.slow {
            return false;
        }
        // The kernel takes, or hands over, much at once: a long wait stands for as many spans.
        let Pace { waited, bytes } = std::mem::take(self);
        (bytes as f64) < waits.least as f64 * waited.div_duration_f64(waits.slow)
    }
}

/// From 0 to 1.
fn random_part() -> f64 {
    let mut bytes = [0; 4];
    // Without random numbers they come back together, which is no fault.
    let _best_effort = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}
