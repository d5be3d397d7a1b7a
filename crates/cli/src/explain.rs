//! The timeline of a start, for people and for machines.

use std::io::{IsTerminal, Write};

use engine::StepTiming;

use crate::render::{colours, flag_of};

/// When the last step ended, in nanoseconds.
fn total(timeline: &[StepTiming]) -> u64 {
    timeline.iter().map(|timing| timing.end_nanoseconds).max().unwrap_or(0)
}

fn write(text: &str) {
    // Nobody may be reading.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Prints it for people.
pub(crate) fn text(timeline: &[StepTiming]) {
    let fancy = colours(std::io::stderr().is_terminal());
    let (bold, dim, off) = if fancy { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
    let total = total(timeline);
    let mut lines = format!(
        "\n{bold}What the start of this container consisted of{off} ({} steps, {:.2} ms; host and container work at the same time)\n\n\
         {bold}  #  side       at ms  took µs  share  step{off}\n",
        timeline.len(),
        total as f64 / 1e6
    );
    for timing in timeline {
        let took = timing.end_nanoseconds.saturating_sub(timing.start_nanoseconds);
        let share = if total == 0 { 0.0 } else { took as f64 * 100.0 / total as f64 };
        let object =
            if timing.step.object.is_empty() { String::new() } else { format!(" {}", timing.step.object) };
        let asked = timing.step.asked_by.as_deref().map_or("default", flag_of);
        lines.push_str(&format!(
            "{:>3}  {:<9}  {:>5.2}  {:>7.1}  {:>4.1}%  {bold}{}{off}{object}\n{dim}{:36}{}; asked for by: {asked}{off}\n",
            timing.step.number,
            timing.step.side,
            timing.start_nanoseconds as f64 / 1e6,
            took as f64 / 1e3,
            share,
            timing.step.name,
            "",
            timing.step.why,
        ));
    }
    write(&lines);
}

/// Prints it for machines: one JSON document on one line.
pub(crate) fn json(timeline: &[StepTiming]) {
    let document = serde_json::json!({ "totalNanoseconds": total(timeline), "steps": timeline });
    write(&format!("{document}\n"));
}
