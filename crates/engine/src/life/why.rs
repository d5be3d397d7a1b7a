//! `why`: what is known of a container's end, or of why it does not start, in plain words, and what one can do.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::time::Duration;

use monitor::{LogQuery, LogStream};
use runtime::Signal;

use crate::error::Result;
use crate::health::{Change, Checked, Health, HealthStatus};
use crate::kept::{End, Kept, KeptContainers, KeptState, MemoryEnd, Record, Sent, Wish};
use crate::paths::EnginePaths;

/// How many lines of output are shown.
const LINES: u64 = 10;

/// How long before an end a signal was sent that may be its cause.
const CAUSE: Duration = Duration::from_secs(30);

/// How long the monitor of a container may take for an answer.
const ANSWER: Duration = Duration::from_millis(500);

/// What is known, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The one sentence.
    pub verdict: String,
    /// Facts, each with its name.
    pub facts: Vec<(&'static str, String)>,
    /// The end of its output: which stream, and the line.
    pub output: Vec<(&'static str, String)>,
    /// What to do.
    pub advice: Vec<String>,
}

impl KeptContainers {
    /// Why a container is as it is.
    pub fn why(&self, kept: &Kept, paths: &EnginePaths) -> Result<Verdict> {
        let name = kept.shown_name().to_owned();
        let record = &kept.record;
        let mut verdict = Verdict {
            verdict: String::new(),
            facts: Vec::new(),
            output: self.last_output(kept),
            advice: Vec::new(),
        };
        match (kept.state, &record.end) {
            (KeptState::Running, _) => {
                let pid = self.pid(&kept.id, paths);
                verdict.verdict = match kept.health() {
                    Some((HealthStatus::Unhealthy, health)) => {
                        verdict.advice.push(format!("`rabbitc healthcheck run {name}` makes the check now"));
                        format!("`{name}` runs and is unhealthy: {}", last_check(&health))
                    }
                    Some((status, _)) => format!("`{name}` runs and is {status}"),
                    None => format!("`{name}` runs"),
                };
                verdict.facts.extend(pid.map(|pid| ("pid", pid.to_string())));
                verdict
                    .facts
                    .extend(self.unlogged(kept).map(|bytes| ("log", lost(record, bytes, "so far "))));
            }
            (_, Some(end)) if end.error.is_some() => did_not_start(&name, end, &mut verdict),
            (_, Some(end)) => ended(&name, record, end, &mut verdict),
            (KeptState::Created, None) => {
                verdict.verdict = format!("`{name}` was never started");
                verdict.advice.push(format!("`rabbitc start {name}` starts it"));
            }
            (_, None) => {
                verdict.verdict = format!("`{name}` has ended, and nobody learned how");
                verdict
                    .advice
                    .push("the machine was switched off, or whoever stood behind it was killed".to_owned());
            }
        }
        facts(kept, &mut verdict);
        Ok(verdict)
    }

    /// How many bytes of the output of one that runs could not be kept, where there are any and its monitor says so.
    fn unlogged(&self, kept: &Kept) -> Option<u64> {
        let connection = self.connect(kept).ok()?;
        monitor::ask_unlogged(connection.as_fd(), ANSWER).filter(|bytes| *bytes > 0)
    }

    fn last_output(&self, kept: &Kept) -> Vec<(&'static str, String)> {
        let mut lines: VecDeque<(&'static str, Vec<u8>)> = VecDeque::new();
        let query = LogQuery { tail: Some(LINES), ..LogQuery::default() };
        let mut entry = |entry: monitor::LogEntry<'_>| {
            let stream = match entry.stream {
                LogStream::Stdout => "stdout",
                LogStream::Stderr => "stderr",
            };
            match lines.back_mut() {
                Some((last, line)) if *last == stream && !line.ends_with(b"\n") => line.extend(entry.bytes),
                _ => lines.push_back((stream, entry.bytes.to_vec())),
            }
            ControlFlow::Continue(())
        };
        // One without a log has none to show.
        let _ = self.logs(kept, query, false, &mut entry);
        let text = |line: Vec<u8>| String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
        lines.into_iter().map(|(stream, line)| (stream, text(line))).collect()
    }
}

fn did_not_start(name: &str, end: &End, verdict: &mut Verdict) {
    let error = end.error.clone().unwrap_or_default();
    verdict.verdict = format!("`{name}` did not start: {error}");
    verdict.advice.push(format!("`rabbitc start {name}` tries it again, and shows the step and the remedy"));
    verdict.advice.push(format!("`rabbitc explain {name}` shows how far it came"));
}

fn ended(name: &str, record: &Record, end: &End, verdict: &mut Verdict) {
    let sent = sent_before(record, end);
    let signal = end.signal.map(signal_name);
    verdict.verdict = match (&end.memory, end.code) {
        (Some(memory), _) if end.signal == Some(9) => {
            verdict.advice.push(
                "give it more memory with `--memory`, or find out what takes it: `rabbitc stats`".to_owned(),
            );
            format!("`{name}` ran out of memory, and the kernel killed it: {}", table(*memory))
        }
        _ if end.time_was_up => format!("the time that `--timeout` gave `{name}` was up, and it was killed"),
        (_, Some(code)) if signal.is_none() => exited(name, code, verdict),
        (_, Some(_)) => {
            let signal = signal.unwrap_or_default();
            match sent {
                Some(sent) => format!("`{name}` was ended by {signal}: {}", sender(sent)),
                None => {
                    verdict.advice.push(outside(end.signal));
                    format!("`{name}` was ended by {signal}, which nobody sent through rabbitc")
                }
            }
        }
        (_, None) => {
            verdict.advice.push(
                "whoever stood behind it was killed, and this kernel does not keep how a process ended"
                    .to_owned(),
            );
            format!("`{name}` has ended, and nobody learned how")
        }
    };
    if let (Some(memory), false) = (end.memory, end.signal == Some(9)) {
        verdict.facts.push(("memory", format!("ran out: {}", table(memory))));
        verdict.advice.push("give it more memory with `--memory`".to_owned());
    }
    if end.core_dumped {
        verdict
            .facts
            .push(("core", "it left one: see `coredumpctl`, or /proc/sys/kernel/core_pattern".to_owned()));
    }
    if end.lost_bytes > 0 {
        verdict.facts.push(("log", lost(record, end.lost_bytes, "")));
    }
    verdict.facts.extend(end.incidents.iter().map(|incident| ("monitor", incident.clone())));
}

/// That some of the output is not in the log, and what may be the cause.
fn lost(record: &Record, bytes: u64, when: &str) -> String {
    let is_in_journal = record.asked.as_ref().is_some_and(|asked| asked.life.log.driver == "journald");
    let question = if is_in_journal { "does the system's journal run?" } else { "is the disk full?" };
    format!("{when}{bytes} bytes of its output could not be kept: {question}")
}

fn exited(name: &str, code: i32, verdict: &mut Verdict) -> String {
    match code {
        0 => return format!("`{name}` has ended by itself, with success"),
        126 => {
            verdict.advice.push("126 is a shell's word for: what it was to run can't be executed".to_owned())
        }
        127 => verdict.advice.push("127 is a shell's word for: what it was to run is not there".to_owned()),
        129..=192 => verdict.advice.push(format!(
            "{code} is a shell's word for: what it ran was ended by {}",
            signal_name(code - 128)
        )),
        _ => verdict.advice.push("the program itself said so: its last lines may tell why".to_owned()),
    }
    format!("`{name}` has ended by itself, with code {code}")
}

/// The last signal that was sent by a verb, if it may have been the cause.
fn sent_before<'a>(record: &'a Record, end: &End) -> Option<&'a Sent> {
    let close = |sent: &&Sent| end.at.saturating_sub(sent.at) <= CAUSE.as_nanos() as u64;
    record.sent.last().filter(close)
}

fn sender(sent: &Sent) -> String {
    let when = monitor::Moment(i64::try_from(sent.at).unwrap_or(i64::MAX));
    format!("`rabbitc {}` of user {} sent {} at {when}", sent.verb, sent.user, sent.signal)
}

fn outside(signal: Option<i32>) -> String {
    match signal {
        Some(9) => "a process outside, or the kernel for want of memory on the whole host: see `dmesg`",
        Some(4 | 6 | 7 | 8 | 11 | 31) => {
            "that is a fault of the program, or a call that its seccomp profile forbids: see `dmesg`"
        }
        _ => "a process outside has sent it, or the program itself",
    }
    .to_owned()
}

/// What came of the checks that have failed.
fn last_check(health: &Health) -> String {
    let Some(last) = health.log.last() else { return "no check has been made".to_owned() };
    let count = match health.failing_streak {
        1 => "its last check has failed".to_owned(),
        count => format!("its last {count} checks have failed"),
    };
    match last.exit_code {
        -1 => format!("{count}: {}", sys::plain(last.output.lines().next().unwrap_or_default())),
        code => format!("{count}, with code {code}"),
    }
}

fn signal_name(number: i32) -> String {
    Signal::parse(&number.to_string())
        .map_or_else(|_| format!("signal {number}"), |signal| signal.to_string())
}

fn table(memory: MemoryEnd) -> String {
    let size = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let limit = memory.limit.map_or("no limit".to_owned(), |limit| format!("limit {}", size(limit)));
    let peak = memory.peak.map_or(String::new(), |peak| format!(", peak {}", size(peak)));
    format!(
        "{limit}{peak}, {} killed",
        if memory.kills == 1 { "1 process".to_owned() } else { format!("{} processes", memory.kills) }
    )
}

fn facts(kept: &Kept, verdict: &mut Verdict) {
    let record = &kept.record;
    let moment = |at: u64| monitor::Moment(i64::try_from(at).unwrap_or(i64::MAX)).to_string();
    verdict.facts.push(("id", record.id.clone()));
    verdict.facts.push(("made", moment(record.created)));
    verdict.facts.extend(record.started.map(|at| ("started", moment(at))));
    if let Some(end) = &record.end {
        verdict.facts.push(("ended", moment(end.at)));
        if let Some(started) = record.started {
            let lasted = Duration::from_nanos(end.at.saturating_sub(started));
            verdict.facts.push(("lasted", format!("{:.3} s", lasted.as_secs_f64())));
        }
    }
    if record.restarts > 0 {
        verdict.facts.push(("restarts", record.restarts.to_string()));
    }
    if let Some(asked) = &record.asked {
        let policy = asked.life.restart;
        if policy != super::RestartPolicy::No {
            let stopped = if record.wish == Wish::Stop { ", and somebody stopped it" } else { "" };
            verdict.facts.push(("policy", format!("--restart={policy}{stopped}")));
        }
    }
    if let Some((_, health)) = kept.health() {
        let became = |change: &Change| format!("{} at {}", change.status, moment(change.at));
        verdict.facts.extend(health.changes.iter().map(|change| ("health", became(change))));
        let check = |checked: &Checked| {
            let code = checked.exit_code;
            // The first line says what it is about.
            let output = checked.output.lines().next().unwrap_or_default();
            let separator = if output.is_empty() { "" } else { ": " };
            format!("{code} at {}{separator}{}", moment(checked.end), sys::plain(output))
        };
        verdict.facts.extend(health.log.iter().map(|checked| ("check", check(checked))));
    }
    verdict.facts.extend(record.sent.iter().map(|sent| ("signal", sender(sent))));
}
