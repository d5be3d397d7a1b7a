//! What the last start of a container consisted of, as its directory keeps it, and two of them side by side. Must not be in the
//! way of a start: steps are put into words while the host has nothing else to do, and only numbers are added at the end.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use runtime::launch::{StepTimes, StepTiming};
use runtime::plan::ContainerPlan;
use runtime::{ErrorKind, Side, StepDescription, short};
use serde::{Deserialize, Serialize};

use super::{Kept, KeptContainers};
use crate::directories::damaged;
use crate::error::{Error, Result};

/// How long whoever has just started a container is waited for.
const SOON: Duration = Duration::from_secs(1);

/// The file that it is in.
const FILE: &str = "start.json";

/// The record of a start under way: its steps are in the file, and what is missing is when they ran.
#[derive(Debug)]
pub(crate) struct StartNote {
    file: File,
    path: PathBuf,
}

impl StartNote {
    /// Writes the steps of a plan into a container's directory. That takes as long as some mounts, which init makes meanwhile.
    pub(crate) fn begin(plan: &ContainerPlan, directory: &Path) -> Result<StartNote> {
        let path = directory.join(FILE);
        let file = write(&path, &plan.describe())?;
        Ok(StartNote { file, path })
    }

    /// Adds when they ran, of a start that began so many nanoseconds after 1970: a few numbers, as somebody may be waiting.
    pub(crate) fn end(mut self, times: &StepTimes, began: u64) -> Result<()> {
        let times = serde_json::to_vec(&Ran { began, times, failure: None }).expect("only string keys");
        self.file.write_all(&times).map_err(|error| Error::at_path("write", &self.path, error))
    }
}

/// Begins the record with `steps`, in the place of any that is there.
fn write(path: &Path, steps: &[StepDescription]) -> Result<File> {
    let mut text = serde_json::to_vec(steps).expect("only string keys");
    text.push(b'\n');
    let begin = || -> std::io::Result<File> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(&text)?;
        Ok(file)
    };
    begin().map_err(|error| Error::at_path("write", path, error))
}

/// The second line of the record: when the steps of the first ran.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ran<'a> {
    began: u64,
    #[serde(flatten)]
    times: &'a StepTimes,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a StartFailure>,
}

/// The same as it is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadRan {
    began: u64,
    #[serde(flatten)]
    times: StepTimes,
    failure: Option<StartFailure>,
}

/// What a start consisted of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartRecord {
    /// Nanoseconds since 1970 at which it began.
    pub began: u64,
    /// Why the container does not run, where that is so.
    pub failure: Option<StartFailure>,
    /// The steps that ran, in the order of the plan; none where it was refused before the first.
    pub steps: Vec<StepTiming>,
}

/// Why a start failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartFailure {
    /// What failed, and why.
    pub error: String,
    /// The sort, by its stable name.
    pub code: String,
    /// What one can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl StartRecord {
    /// That of one that has just failed.
    pub(crate) fn of_failure(error: &Error, began: u64) -> StartRecord {
        let failure = StartFailure {
            error: error.to_string(),
            code: error.code().name().to_owned(),
            hint: error.hint.clone(),
        };
        let steps = error.step.as_ref().map_or_else(Vec::new, |step| step.timeline.clone());
        StartRecord { began, failure: Some(failure), steps }
    }

    /// Writes it into a container's directory. It need not outlive power: the next start writes another.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let path = &directory.join(FILE);
        let steps: Vec<StepDescription> = self.steps.iter().map(|timing| timing.step.clone()).collect();
        let ran = |timing: &StepTiming| Some((timing.start_nanoseconds, timing.end_nanoseconds));
        let times = StepTimes {
            times: self.steps.iter().map(ran).collect(),
            failed: self.steps.iter().position(|timing| timing.failed),
        };
        let ran = Ran { began: self.began, times: &times, failure: self.failure.as_ref() };
        let text = serde_json::to_vec(&ran).expect("only string keys");
        write(path, &steps)?.write_all(&text).map_err(|error| Error::at_path("write", path, error))
    }

    /// Reads that of a container's directory; none where there is none, or not all of it yet.
    fn read(directory: &Path) -> Result<Option<StartRecord>> {
        let path = &directory.join(FILE);
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::at_path("read", path, error)),
        };
        let damaged = |error| damaged(path, &error, "start the container again: each start writes it anew");
        let mut lines = text.splitn(2, |byte| *byte == b'\n');
        let (Some(steps), Some(ran)) = (lines.next(), lines.next().filter(|ran| !ran.is_empty())) else {
            return Ok(None);
        };
        let steps: Vec<StepDescription> = serde_json::from_slice(steps).map_err(damaged)?;
        let ran: ReadRan = serde_json::from_slice(ran).map_err(damaged)?;
        Ok(Some(StartRecord { began: ran.began, failure: ran.failure, steps: ran.times.of(steps) }))
    }
}

impl KeptContainers {
    /// What the last start of a container consisted of.
    pub fn last_start(&self, kept: &Kept) -> Result<StartRecord> {
        let end = Instant::now() + SOON;
        loop {
            // That of an earlier start is not the last one's, which may be about to be written.
            let is_last =
                |record: &StartRecord| kept.record.started.is_none_or(|started| record.began >= started);
            match StartRecord::read(&kept.directory)?.filter(is_last) {
                Some(found) => return Ok(found),
                None if kept.state.is_up() && Instant::now() < end => std::thread::sleep(SOON / 200),
                None => break,
            }
        }
        let (reason, hint) = match kept.record.started {
            Some(_) => ("its start left no record", "start it again: each start leaves one"),
            None => ("it was never started", "each start leaves a record of its steps"),
        };
        let operation = format!("explain the start of `{}`", kept.shown_name());
        Err(Error::new(ErrorKind::NotFound, operation, reason).with_hint(hint))
    }
}

impl Kept {
    /// The flags that asked for it, as `--name=value`; none of one that ended with the command that ran it, which nobody kept.
    pub fn flags(&self) -> Option<Vec<String>> {
        self.record.asked.as_ref().map(|asked| asked.life.all_flags())
    }
}

/// A step of one of two starts, or of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComparedStep {
    /// Which side of the clone runs it.
    pub side: Side,
    /// What it does.
    pub name: String,
    /// In the first.
    pub a: Option<StepTime>,
    /// In the second.
    pub b: Option<StepTime>,
    /// Whether both do it to the same, the ids of the containers apart.
    pub is_same_object: bool,
    /// How much longer it took in the second, where both have it.
    pub difference_nanoseconds: Option<i64>,
}

/// A step as one of the two had it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepTime {
    /// Its number there.
    pub number: usize,
    /// What it did it to.
    pub object: String,
    /// When it began.
    pub start_nanoseconds: u64,
    /// How long it took.
    pub took_nanoseconds: u64,
    /// Whether the start failed at it.
    pub failed: bool,
}

/// Two starts step by step, in the order of the first; `ids` are those of the containers, which are in objects and make no
/// difference.
pub fn compare(a: &StartRecord, b: &StartRecord, ids: [&str; 2]) -> Vec<ComparedStep> {
    let keys: Vec<Key> = a.steps.iter().map(|timing| Key::of(timing, ids[0])).collect();
    let others: Vec<Key> = b.steps.iter().map(|timing| Key::of(timing, ids[1])).collect();
    let partners = pair(&keys, &others);
    let mut compared = Vec::with_capacity(a.steps.len());
    // Those of the second alone stand where they would be among the others.
    let mut next = 0;
    for ((timing, key), partner) in a.steps.iter().zip(&keys).zip(&partners) {
        if let Some(partner) = *partner {
            while next < partner {
                if !partners.contains(&Some(next)) {
                    compared.push(row(None, Some(&b.steps[next]), false));
                }
                next += 1;
            }
            next = next.max(partner + 1);
        }
        let is_same = partner.is_some_and(|partner| others[partner].object == key.object);
        compared.push(row(Some(timing), partner.map(|partner| &b.steps[partner]), is_same));
    }
    compared.extend(
        (next..b.steps.len())
            .filter(|number| !partners.contains(&Some(*number)))
            .map(|number| row(None, Some(&b.steps[number]), false)),
    );
    compared
}

/// What tells steps of two starts apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    side: Side,
    name: String,
    object: String,
}

impl Key {
    fn of(timing: &StepTiming, id: &str) -> Key {
        let StepTiming { step, .. } = timing;
        let object = step.object.replace(id, "ID").replace(short(id), "ID");
        Key { side: step.side, name: step.name.clone(), object }
    }

    /// The same but for its object, where that is not what the step is: two mounts in two places are two steps.
    fn loose(&self) -> Key {
        match self.name.contains('`') {
            true => self.clone(),
            false => Key { object: String::new(), ..self.clone() },
        }
    }
}

/// For each of `one` the number of the same among `other`.
fn pair(one: &[Key], other: &[Key]) -> Vec<Option<usize>> {
    let mut partners = vec![None; one.len()];
    for key in [Key::clone, Key::loose] {
        let mut free: HashMap<Key, std::collections::VecDeque<usize>> = HashMap::new();
        for (number, candidate) in other.iter().enumerate() {
            if !partners.contains(&Some(number)) {
                free.entry(key(candidate)).or_default().push_back(number);
            }
        }
        for (wanted, partner) in one.iter().zip(&mut partners) {
            if partner.is_none() {
                *partner = free.get_mut(&key(wanted)).and_then(std::collections::VecDeque::pop_front);
            }
        }
    }
    partners
}

fn row(a: Option<&StepTiming>, b: Option<&StepTiming>, is_same_object: bool) -> ComparedStep {
    let time = |timing: &StepTiming| StepTime {
        number: timing.step.number,
        object: timing.step.object.clone(),
        start_nanoseconds: timing.start_nanoseconds,
        took_nanoseconds: timing.end_nanoseconds.saturating_sub(timing.start_nanoseconds),
        failed: timing.failed,
    };
    let step = &a.or(b).expect("a step is of one of them at least").step;
    let (a, b) = (a.map(time), b.map(time));
    let took = |time: &StepTime| i64::try_from(time.took_nanoseconds).unwrap_or(i64::MAX);
    let difference_nanoseconds = a.as_ref().zip(b.as_ref()).map(|(a, b)| took(b).saturating_sub(took(a)));
    ComparedStep { side: step.side, name: step.name.clone(), a, b, is_same_object, difference_nanoseconds }
}

#[cfg(test)]
mod tests {
    use runtime::{Code, StepDescription, StepKind};

    use super::*;

    fn record(steps: &[(&str, &str, u64)]) -> StartRecord {
        let timing = |(number, (name, object, took)): (usize, &(&str, &str, u64))| StepTiming {
            step: StepDescription {
                number: number + 1,
                side: Side::Host,
                kind: StepKind::Process,
                name: (*name).to_owned(),
                object: (*object).to_owned(),
                asked_by: None,
                why: "because".into(),
            },
            start_nanoseconds: 0,
            end_nanoseconds: *took,
            failed: false,
        };
        StartRecord { began: 1, failure: None, steps: steps.iter().enumerate().map(timing).collect() }
    }

    #[test]
    fn starts_are_compared_by_what_their_steps_do_and_not_by_their_numbers() {
        let a = record(&[
            ("make the cgroup", "`/rabbitc-aaa`", 10),
            ("mount `tmpfs`", "`/a`", 20),
            ("run", "`true`", 5),
        ]);
        let b = record(&[
            ("clone", "", 7),
            ("make the cgroup", "`/rabbitc-bbb`", 4),
            ("mount `tmpfs`", "`/b`", 30),
            ("run", "`false`", 9),
            ("wait", "", 1),
        ]);
        let rows = compare(&a, &b, ["aaa", "bbb"]);
        let seen: Vec<_> = rows
            .iter()
            .map(|row| {
                let number = |time: &Option<StepTime>| time.as_ref().map_or(0, |time| time.number);
                (row.name.as_str(), number(&row.a), number(&row.b), row.difference_nanoseconds)
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("clone", 0, 1, None),
                ("make the cgroup", 1, 2, Some(-6)),
                ("mount `tmpfs`", 2, 0, None),
                ("mount `tmpfs`", 0, 3, None),
                ("run", 3, 4, Some(4)),
                ("wait", 0, 5, None),
            ]
        );
    }

    #[test]
    fn record_of_a_start_is_read_as_it_was_written() {
        let directory = std::env::temp_dir().join(format!("rabbitc-start-record-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let mut written = record(&[("clone", "", 7), ("mount `proc`", "`/proc`", 8)]);
        written.steps[1].failed = true;
        written.failure =
            Some(StartFailure { error: "it failed".to_owned(), code: "system".to_owned(), hint: None });
        written.write(&directory).expect("written");
        assert_eq!(StartRecord::read(&directory).expect("legal"), Some(written));
        // Of a start that is under way.
        write(&directory.join(FILE), &[]).expect("written");
        assert_eq!(StartRecord::read(&directory).expect("legal"), None);
        std::fs::write(directory.join(FILE), "[]\n{").expect("written");
        assert_eq!(StartRecord::read(&directory).expect_err("half of one").code(), Code::Damaged);
        std::fs::remove_dir_all(directory).expect("removed");
    }
}
