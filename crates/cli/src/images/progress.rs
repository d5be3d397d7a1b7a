//! How far a pull is: one line on a terminal that is written again and again.

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use engine::Progress;

use super::table::size;

/// How often the line is written at most.
const PAUSE: Duration = Duration::from_millis(100);

/// Nobody looks.
pub(crate) struct Quiet;

impl Progress for Quiet {
    fn begins(&self, _: u64) {}
    fn is_at(&self, _: u64) {}
}

/// On a terminal. Dropped, the line is gone.
pub(crate) struct Shown {
    name: String,
    state: Mutex<State>,
}

struct State {
    all: u64,
    begun: Instant,
    written: Option<Instant>,
}

impl Shown {
    pub(crate) fn new(name: &str) -> Shown {
        let state = State { all: 0, begun: Instant::now(), written: None };
        Shown { name: name.escape_debug().to_string(), state: Mutex::new(state) }
    }
}

impl Progress for Shown {
    fn begins(&self, bytes: u64) {
        let mut state = self.state.lock().expect("nobody panics while they hold it");
        (state.all, state.begun) = (bytes, Instant::now());
    }

    fn is_at(&self, bytes: u64) {
        let mut state = self.state.lock().expect("nobody panics while they hold it");
        if state.written.is_some_and(|written| written.elapsed() < PAUSE) {
            return;
        }
        state.written = Some(Instant::now());
        let text = line(&self.name, bytes, state.all, state.begun.elapsed());
        // Whoever can't be told how far it is, is told the end.
        let _ = std::io::stderr().write_all(format!("\r\x1b[K{text}").as_bytes());
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = std::io::stderr().write_all(b"\r\x1b[K");
    }
}

fn line(name: &str, come: u64, all: u64, after: Duration) -> String {
    if all == 0 {
        return format!("{name}: {}", size(come));
    }
    let mut text = format!("{name}: {} of {}", size(come), size(all));
    let seconds = after.as_secs_f64();
    if seconds > 0.5 && come > 0 {
        let rate = come as f64 / seconds;
        let left = (all.saturating_sub(come)) as f64 / rate;
        text.push_str(&format!(", {}/s, {} s left", size(rate as u64), left.ceil()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_has_rate_and_time_left_once_they_mean_something() {
        assert_eq!(line("a", 1_000_000, 4_000_000, Duration::ZERO), "a: 1MB of 4MB");
        assert_eq!(
            line("a", 1_000_000, 4_000_000, Duration::from_secs(2)),
            "a: 1MB of 4MB, 500kB/s, 6 s left"
        );
        assert_eq!(line("a", 1_000_000, 0, Duration::from_secs(2)), "a: 1MB", "of nobody knows how many");
    }
}
