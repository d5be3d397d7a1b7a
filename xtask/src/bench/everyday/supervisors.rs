//! The memory of the processes that stand behind containers that run.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::engine::{Engine, Installed};
use crate::bench::contender::median;
use crate::process::{Failure, Result};

/// How many containers of ours run.
const OURS: usize = 200;
/// How many of others', which take a second each and megabytes.
const OTHERS: usize = 20;
/// The most that is resident of one of ours, in kilobytes.
const MOST: f64 = 1.1 * 1024.0;

/// What is resident of each, in kilobytes.
pub struct Supervisors {
    engine: Engine,
    /// VmRSS of proc_pid_status(5).
    resident: Vec<f64>,
    /// Pss of proc_pid_smaps(5): pages that several have are divided among them.
    proportional: Vec<f64>,
}

impl Supervisors {
    /// Runs containers beside each other, and looks at what is behind them.
    pub fn measure(installed: &Installed) -> Result<Self> {
        let engine = installed.engine;
        let count = if engine == Engine::Rabbitc { OURS } else { OTHERS };
        let before = processes(engine);
        let names: Vec<String> = (0..count).map(|number| format!("beside-{number}")).collect();
        names.iter().try_for_each(|name| installed.start_waiting(name).map(drop))?;
        let found = settled(|| processes(engine).difference(&before).copied().collect::<Vec<u32>>(), count);
        let figures =
            |file: &str, name: &str| found.iter().filter_map(|pid| figure(*pid, file, name)).collect();
        let supervisors = Self {
            engine,
            resident: figures("status", "VmRSS:"),
            proportional: figures("smaps_rollup", "Pss:"),
        };
        names.iter().try_for_each(|name| installed.remove(name).map(drop))?;
        if supervisors.resident.len() != count {
            let found = supervisors.resident.len();
            return Err(Failure::new(format!(
                "{}: {found} processes behind {count} containers",
                engine.name()
            )));
        }
        Ok(supervisors)
    }

    fn largest(&self) -> Option<f64> {
        self.resident.iter().copied().max_by(f64::total_cmp)
    }

    /// For machines.
    pub fn render_json(&self) -> Value {
        json!({
            "count": self.resident.len(),
            "vm_rss_median_kilobytes": median(self.resident.clone()),
            "vm_rss_largest_kilobytes": self.largest(),
            "pss_median_kilobytes": median(self.proportional.clone()),
        })
    }

    /// For people.
    pub fn print(&self) {
        let (Some(resident), Some(largest), Some(proportional)) =
            (median(self.resident.clone()), self.largest(), median(self.proportional.clone()))
        else {
            return;
        };
        println!(
            "behind each of {} containers of {}: VmRSS {resident:.0} KB (largest {largest:.0}), PSS {proportional:.0} KB",
            self.resident.len(),
            self.engine.name(),
        );
        if self.engine == Engine::Rabbitc {
            let word = if largest <= MOST { "reached" } else { "MISSED" };
            println!("rabbitc's largest monitor: {largest:.0} KB (goal {MOST:.0}): {word}");
        }
    }
}

/// Waits until there are `count`: some are of commands that still end.
fn settled(look: impl Fn() -> Vec<u32>, count: usize) -> Vec<u32> {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let found = look();
        if found.len() == count || Instant::now() > end {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn processes(engine: Engine) -> BTreeSet<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return BTreeSet::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_one = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(engine.supervisor())
    };
    pids.filter(is_one).collect()
}

/// The number behind a name, in kilobytes.
fn figure(pid: u32, file: &str, name: &str) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
