//! How far a pull or a push is: a line for all of it and one for each layer that is under way, on a terminal, written again and
//! again. In a pipe there is nothing but the end.

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use engine::{MovingLayer, Progress};

use super::table::size;

/// How often they are written at most.
const PAUSE: Duration = Duration::from_millis(100);
/// The width of a terminal that does not say how wide it is.
const WIDTH: usize = 80;

/// Nobody looks.
pub(crate) struct Quiet;

impl Progress for Quiet {
    fn begins(&self, _: &[MovingLayer]) {}
    fn layer_is_at(&self, _: usize, _: u64) {}
    fn layer_is_there(&self, _: usize) {}
}

/// On a terminal. Dropped, the lines are gone.
pub(crate) struct Shown {
    state: Mutex<State>,
}

struct State {
    name: String,
    begun: Instant,
    layers: Vec<Layer>,
    written: Option<Instant>,
    /// Lines on the terminal.
    lines: usize,
}

/// How far a layer is.
struct Layer {
    name: String,
    size: u64,
    come: u64,
    /// None before the first of its bytes, and after the last.
    begun: Option<Instant>,
}

impl Shown {
    pub(crate) fn new(name: &str) -> Shown {
        let name = name.escape_debug().to_string();
        let state = State { name, begun: Instant::now(), layers: Vec::new(), written: None, lines: 0 };
        Shown { state: Mutex::new(state) }
    }
}

impl Progress for Shown {
    fn begins(&self, layers: &[MovingLayer]) {
        let mut state = self.state.lock().expect("nobody panics while they hold it");
        let short = |digest: &str| digest.split(':').nth(1).unwrap_or(digest).chars().take(12).collect();
        let layer = |layer: &MovingLayer| Layer {
            name: short(&layer.digest),
            size: layer.size,
            come: 0,
            begun: None,
        };
        (state.layers, state.begun) = (layers.iter().map(layer).collect(), Instant::now());
    }

    fn layer_is_at(&self, number: usize, bytes: u64) {
        let mut state = self.state.lock().expect("nobody panics while they hold it");
        let Some(layer) = state.layers.get_mut(number) else { return };
        layer.come = bytes;
        layer.begun.get_or_insert_with(Instant::now);
        state.write();
    }

    fn layer_is_there(&self, number: usize) {
        let mut state = self.state.lock().expect("nobody panics while they hold it");
        let Some(layer) = state.layers.get_mut(number) else { return };
        (layer.come, layer.begun) = (layer.size, None);
        state.write();
    }
}

impl State {
    fn write(&mut self) {
        if self.written.is_some_and(|written| written.elapsed() < PAUSE) {
            return;
        }
        self.written = Some(Instant::now());
        let width = rustix::termios::tcgetwinsize(std::io::stderr())
            .ok()
            .map(|size| usize::from(size.ws_col))
            .filter(|width| *width > 0)
            .unwrap_or(WIDTH);
        // A line that the terminal breaks would be two.
        let cut = |line: &String| line.chars().take(width - 1).collect::<String>();
        let lines: Vec<String> = self.shown().iter().map(cut).collect();
        let text = format!("{}{}", self.back(), lines.join("\r\n"));
        self.lines = lines.len();
        // Whoever can't be told how far it is, is told the end.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// To the beginning of what is there, which is taken away.
    fn back(&self) -> String {
        match self.lines {
            0 | 1 => "\r\x1b[J".to_owned(),
            lines => format!("\r\x1b[{}A\x1b[J", lines - 1),
        }
    }

    fn shown(&self) -> Vec<String> {
        let (come, all) =
            self.layers.iter().fold((0, 0), |(come, all), layer| (come + layer.come, all + layer.size));
        let mut lines = vec![line(&self.name, come, all, self.begun.elapsed())];
        // The same layer twice is brought once, and one is no news.
        if self.layers.len() > 1 {
            let under_way = self.layers.iter().filter_map(|layer| Some((layer, layer.begun?)));
            lines.extend(under_way.map(|(layer, begun)| {
                format!("  {}", line(&layer.name, layer.come, layer.size, begun.elapsed()))
            }));
        }
        lines
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Ok(state) = self.state.lock() {
            let _ = std::io::stderr().write_all(state.back().as_bytes());
        }
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

    #[test]
    fn layers_that_are_under_way_have_a_line_each() {
        let shown = Shown::new("app");
        let layers = ["sha256:0123456789abcdef", "sha256:fedcba9876543210", "sha256:00"];
        let moving = layers.map(|digest| MovingLayer { digest: digest.to_owned(), size: 2_000_000 });
        shown.begins(&moving);
        let lines = || shown.state.lock().expect("no panic").shown();
        assert_eq!(lines(), ["app: 0B of 6MB"]);
        shown.layer_is_at(1, 500_000);
        shown.layer_is_at(0, 1_000_000);
        assert_eq!(
            lines(),
            ["app: 1.5MB of 6MB", "  0123456789ab: 1MB of 2MB", "  fedcba987654: 500kB of 2MB"]
        );
        shown.layer_is_there(0);
        shown.layer_is_there(2);
        assert_eq!(lines(), ["app: 4.5MB of 6MB", "  fedcba987654: 500kB of 2MB"]);
    }
}
