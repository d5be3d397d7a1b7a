//! One way to start a program in a container, and what it took: measured in turn with others.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{Failure, Naming, Result};

/// One way to start `/bin/true` in a container.
pub struct Contender {
    pub name: &'static str,
    words: Vec<OsString>,
    owner: Owner,
    pub times: Vec<Duration>,
    pub syscalls: Option<u64>,
    pub peak_kilobytes: Option<u64>,
    pub failure: Option<String>,
}

/// A failure of ours fails the bench; a stranger's is reported.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Us,
    Others,
}

impl Contender {
    /// `words` are the program and its arguments.
    pub fn new(name: &'static str, owner: Owner, words: &[&OsStr]) -> Self {
        Self {
            name,
            words: words.iter().map(|word| word.to_os_string()).collect(),
            owner,
            times: Vec::new(),
            syscalls: None,
            peak_kilobytes: None,
            failure: None,
        }
    }

    fn command(&self) -> Command {
        self.prefixed(&[])
    }

    fn prefixed(&self, prefix: &[&OsStr]) -> Command {
        let mut words = prefix.iter().copied().chain(self.words.iter().map(OsString::as_os_str));
        let mut command = Command::new(words.next().expect("a contender has a program"));
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
        command
    }

    /// Shows that it works at all.
    pub fn check(&mut self) -> Result<()> {
        match self.command().stderr(Stdio::piped()).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                self.fail(format!("{}: {}", output.status, said.trim_end()))
            }
            Err(error) => self.fail(error.to_string()),
        }
    }

    /// Shows that it works, and takes the two figures that need one run only.
    pub fn warm_up(&mut self, directory: &Path) -> Result<()> {
        self.check()?;
        if self.failure.is_some() {
            return Ok(());
        }
        let report = directory.join("report");
        let measured = |prefix: &[&OsStr]| {
            let succeeded = self.prefixed(prefix).status().is_ok_and(|status| status.success());
            let text = succeeded.then(|| std::fs::read_to_string(&report).ok()).flatten();
            // A report of an earlier contender must not be taken for this one's.
            let _ = std::fs::remove_file(&report);
            text
        };
        let s = OsStr::new;
        let strace = measured(&[s("strace"), s("-f"), s("-c"), s("-o"), report.as_os_str()]);
        let time = measured(&[s("/usr/bin/time"), s("-f"), s("%M"), s("-o"), report.as_os_str()]);
        self.syscalls = strace.as_deref().and_then(total_calls);
        self.peak_kilobytes = time.and_then(|text| text.trim().parse().ok());
        Ok(())
    }

    fn fail(&mut self, why: String) -> Result<()> {
        self.failure = Some(self.owner.report(Failure::new(format!("{}: {why}", self.name)))?);
        Ok(())
    }
}

impl Owner {
    /// Returns a failure of ours, which ends the bench. That of a stranger is told, and is a figure of its own.
    pub fn report(self, failure: Failure) -> Result<String> {
        if self == Owner::Us {
            return Err(failure);
        }
        eprintln!("{failure}");
        Ok(failure.to_string())
    }
}

/// Starts each contender `rounds` times, in turn.
pub fn measure(contenders: &mut [Contender], rounds: usize, pause: Duration) -> Result<()> {
    for _ in 0..rounds {
        for contender in contenders.iter_mut().filter(|contender| contender.failure.is_none()) {
            std::thread::sleep(pause);
            let started = Instant::now();
            let status = contender.command().status().naming(format_args!("run `{}`", contender.name))?;
            let taken = started.elapsed();
            if status.success() {
                contender.times.push(taken);
            } else {
                contender.fail(format!("ended with {status}"))?;
            }
        }
    }
    Ok(())
}

/// The calls column of strace's last line: `100.00    0.001234           3       412        20 total`.
fn total_calls(report: &str) -> Option<u64> {
    let line = report.lines().rev().find(|line| line.trim_end().ends_with("total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// The middle value.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// In milliseconds.
pub fn milliseconds(times: &[Duration]) -> Vec<f64> {
    times.iter().map(|time| time.as_secs_f64() * 1000.0).collect()
}

/// The median over all rounds of what `one` took in a round, divided by what `other` took in that same round.
pub fn paired(one: &[f64], other: &[f64]) -> Option<f64> {
    median(one.iter().zip(other).map(|(one, other)| one / other).collect())
}

/// [`paired`], with another contender that did not fail.
pub fn ratio(contenders: &[Contender], one: &Contender, other: &str) -> Option<f64> {
    let other = contenders.iter().find(|contender| contender.name == other && contender.failure.is_none())?;
    paired(&milliseconds(&one.times), &milliseconds(&other.times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_line_of_strace_is_read_with_and_without_errors() {
        let with = "% time seconds usecs/call calls errors syscall\n100.00    0.001234           3       412        20 total\n";
        assert_eq!(total_calls(with), Some(412));
        assert_eq!(total_calls("100.00    0.001234           3       412           total"), Some(412));
        assert_eq!(total_calls("nothing"), None);
    }

    #[test]
    fn rounds_are_compared_each_with_its_own() {
        assert_eq!(paired(&[1.0, 20.0, 3.0], &[2.0, 10.0, 3.0]), Some(1.0));
        // A stranger that failed has run fewer.
        assert_eq!(paired(&[1.0, 20.0, 3.0], &[2.0]), Some(0.5));
    }

    #[test]
    fn failure_of_ours_ends_the_bench_and_that_of_a_stranger_does_not() {
        assert!(Owner::Us.report(Failure::new("rabbitc: no")).is_err());
        assert_eq!(Owner::Others.report(Failure::new("crun: no")).expect("a report"), "crun: no");
    }

    #[test]
    fn median_of_even_count_is_between_the_middle_two() {
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }
}
