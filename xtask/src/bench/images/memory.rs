//! How much memory a command takes with all processes of its group, at the moment when that is most. No single call tells: the
//! kernel keeps the peak of one process (wait4(2)), and those of several are not at the same time.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::process::{Naming, Result};

/// How often the group is looked at.
const INTERVAL: Duration = Duration::from_millis(2);

/// Runs a command in a process group of its own; the most kilobytes that the group had in memory, each page counted once among
/// those who share it (`Pss` of proc_pid_smaps(5)).
pub fn peak_of_group(command: &mut Command) -> Result<(ExitStatus, u64)> {
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().naming("run what is to be measured")?;
    let group = child.id();
    let mut peak = 0;
    loop {
        peak = peak.max(members(group).into_iter().filter_map(kilobytes).sum());
        if let Some(status) = child.try_wait().naming("wait for what is measured")? {
            return Ok((status, peak));
        }
        std::thread::sleep(INTERVAL);
    }
}

fn members(group: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| group_of(&stat) == Some(group))
    })
    .collect()
}

/// The third field after the name, which may have spaces and brackets: proc_pid_stat(5).
fn group_of(stat: &str) -> Option<u32> {
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(2)?.parse().ok()
}

/// None where it has ended meanwhile.
fn kilobytes(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    value.trim().trim_end_matches(" kB").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_is_found_behind_any_name() {
        assert_eq!(group_of("12 (a) b) (c) S 1 77 12 0 -1"), Some(77));
        assert_eq!(group_of("12"), None);
    }

    #[test]
    fn children_count_with_their_parent() {
        let script = "sleep 0.3 & sleep 0.3 & wait";
        let (status, both) = peak_of_group(Command::new("sh").args(["-c", script])).expect("sh runs");
        let (_, none) = peak_of_group(Command::new("sh").args(["-c", "read line <&1"])).expect("sh runs");
        assert!(status.success() && both > none, "{both} kB with two children, {none} kB without");
    }
}
