//! A container's life through an OCI runtime: the three commands of a start in two parts, a program more, a start
//! beside a crowd, and many starts at once.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::contender::{Owner, median, milliseconds, paired};
use super::runtimes::Runtimes;
use super::table::{Table, figures, shown, words};
use crate::process::{self, Failure, Naming, Result};

/// How many containers run beside the one that is started.
const CROWD: usize = 100;
/// How many starts there are at once.
const AT_ONCE: usize = 200;
/// How often those are repeated: they take seconds.
const MOST_ROUNDS_AT_ONCE: usize = 5;

struct Runtime {
    name: &'static str,
    owner: Owner,
    program: PathBuf,
    state: PathBuf,
}

/// What one runtime took.
struct Row {
    runtime: Runtime,
    /// Why it was not measured to the end.
    failure: Option<String>,
    cycle: Vec<Duration>,
    exec: Vec<Duration>,
    at_once: Vec<Duration>,
}

/// The figures of this part.
pub struct Figures {
    /// Ours is the first.
    rows: [Row; 3],
    /// As many at once of the bare kernel: nobody can be quicker than that.
    floor_at_once: Vec<Duration>,
    /// Of the kernel's part of all that the configuration asks.
    asked_at_once: Vec<Duration>,
    crowd: Crowd,
    rounds: usize,
}

/// Starts of the runtime and of the bare kernel, in turn, without other containers and beside many.
#[derive(Default)]
struct Crowd {
    ours: Comparison,
    floor: Comparison,
}

#[derive(Default)]
struct Comparison {
    alone: Vec<Duration>,
    crowded: Vec<Duration>,
}

impl Comparison {
    fn ratio(&self) -> Option<f64> {
        Some(median(milliseconds(&self.crowded))? / median(milliseconds(&self.alone))?)
    }
}

struct Bench<'a> {
    bundle: &'a Path,
    sleeper: &'a Path,
}

impl Runtime {
    /// Of its own: a cgroup is called as its container, whoever made it.
    fn id(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    fn command(&self, words: &[&OsStr]) -> Command {
        let mut command = quiet(&self.program);
        command.arg("--root").arg(&self.state).args(words);
        command
    }

    fn succeed(&self, words: &[&OsStr]) -> Result<Duration> {
        // Not a pipe, which a container that goes on would hold open.
        let said = self.state.with_extension("said");
        let file = std::fs::File::create(&said).naming(format_args!("create `{}`", said.display()))?;
        let mut command = self.command(words);
        command.stderr(file);
        let started = Instant::now();
        let status = command.status().naming(format_args!("run `{}`", self.program.display()))?;
        let taken = started.elapsed();
        if status.success() {
            return Ok(taken);
        }
        let verb = words.first().copied().unwrap_or_default().display();
        let said = std::fs::read_to_string(&said).unwrap_or_default();
        Err(Failure::new(format!("{} {verb}: {status}: {}", self.name, said.trim_end())))
    }
}

/// Measures all of it; `directory` has the bundle of `/bin/true`.
pub fn measure(
    directory: &Path,
    floor: &OsStr,
    runtimes: &Runtimes,
    rounds: usize,
    pause: Duration,
) -> Result<Figures> {
    let bundle = directory.join("bundle");
    let sleeper = sleeper(directory, &bundle)?;
    let states = directory.join("state");
    std::fs::create_dir_all(&states).naming(format_args!("create `{}`", states.display()))?;
    super::mount_in_memory(&states)?;
    let ours = process::target_directory().join("release/rabbitc-runtime");
    let row = |(name, owner, program): (_, _, &Path)| {
        let runtime = Runtime { name, owner, program: program.to_owned(), state: states.join(name) };
        Row { runtime, failure: None, cycle: Vec::new(), exec: Vec::new(), at_once: Vec::new() }
    };
    let mut rows = [
        ("rabbitc-runtime", Owner::Us, ours.as_path()),
        ("crun", Owner::Others, &runtimes.crun),
        ("runc", Owner::Others, &runtimes.runc),
    ]
    .map(row);
    let bench = Bench { bundle: &bundle, sleeper: &sleeper };
    rows.iter_mut().try_for_each(|row| row.attempt(|row| bench.start_sleeper(&row.runtime, "sleeper")))?;
    for _ in 0..rounds {
        rows.iter_mut().try_for_each(|row| row.attempt(|row| bench.round(row, pause)))?;
    }
    rows.iter_mut().try_for_each(|row| row.attempt(|row| bench.delete(&row.runtime, "sleeper").map(drop)))?;
    let root = bundle.join("rootfs");
    let bare = || {
        let mut command = quiet(Path::new(floor));
        command.arg(&root).arg("/bin/true");
        command
    };
    let asked = || {
        let mut command = quiet(Path::new(floor));
        command.arg("--asked").arg(&root).arg("/bin/true");
        command
    };
    let (mut floor_at_once, mut asked_at_once) = (Vec::new(), Vec::new());
    for _ in 0..rounds.min(MOST_ROUNDS_AT_ONCE) {
        floor_at_once.push(at_once("the floor", |_| bare())?);
        asked_at_once.push(at_once("the kernel's part", |_| asked())?);
        rows.iter_mut().try_for_each(|row| row.attempt(|row| bench.at_once(row)))?;
    }
    let crowd = bench.crowd(&rows[0].runtime, bare, rounds, pause)?;
    Ok(Figures { rows, floor_at_once, asked_at_once, crowd, rounds })
}

/// A bundle on the same root whose program waits.
fn sleeper(directory: &Path, bundle: &Path) -> Result<PathBuf> {
    let place = directory.join("sleeper");
    std::fs::create_dir_all(&place).naming(format_args!("create `{}`", place.display()))?;
    let read = std::fs::read_to_string(bundle.join("config.json")).naming("read config.json")?;
    let mut config: Value = serde_json::from_str(&read).naming("parse config.json")?;
    config["process"]["args"] = json!(["/bin/sleep", "100000"]);
    config["root"]["path"] = json!(bundle.join("rootfs"));
    std::fs::write(place.join("config.json"), config.to_string()).naming("write config.json")?;
    Ok(place)
}

/// From the start of the first of many commands to the end of the last.
fn at_once(name: &str, command: impl Fn(usize) -> Command) -> Result<Duration> {
    let started = Instant::now();
    let mut children = Vec::with_capacity(AT_ONCE);
    for number in 0..AT_ONCE {
        children.push(command(number).spawn().naming("start one of many")?);
    }
    for mut child in children {
        let status = child.wait().naming("wait for one of many")?;
        if !status.success() {
            return Err(Failure::new(format!("{name}: one of {AT_ONCE} at once: {status}")));
        }
    }
    Ok(started.elapsed())
}

/// A command that reads and shows nothing.
fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Bench<'_> {
    fn start_sleeper(&self, runtime: &Runtime, name: &str) -> Result<()> {
        let (s, id) = (OsStr::new, runtime.id(name));
        let words = [s("run"), s("--detach"), s("--bundle"), self.sleeper.as_os_str(), s(&id)];
        runtime.succeed(&words).map(drop)
    }

    fn delete(&self, runtime: &Runtime, name: &str) -> Result<Duration> {
        let (s, id) = (OsStr::new, runtime.id(name));
        runtime.succeed(&[s("delete"), s("--force"), s(&id)])
    }

    /// `create`, `start` and `delete`, each a process of its own.
    fn cycle(&self, runtime: &Runtime) -> Result<Duration> {
        let (s, id) = (OsStr::new, runtime.id("life"));
        let create = runtime.succeed(&[s("create"), s("--bundle"), self.bundle.as_os_str(), s(&id)])?;
        let start = runtime.succeed(&[s("start"), s(&id)])?;
        // Not counted: who deletes a container that still runs waits for its end.
        std::thread::sleep(Duration::from_millis(30));
        Ok(create + start + self.delete(runtime, "life")?)
    }

    fn run(&self, runtime: &Runtime, id: &str) -> Result<Duration> {
        let s = OsStr::new;
        runtime.succeed(&[s("run"), s("--bundle"), self.bundle.as_os_str(), s(id)])
    }

    /// A cycle, and a program in a container that runs.
    fn round(&self, row: &mut Row, pause: Duration) -> Result<()> {
        std::thread::sleep(pause);
        row.cycle.push(self.cycle(&row.runtime)?);
        std::thread::sleep(pause);
        let (s, id) = (OsStr::new, row.runtime.id("sleeper"));
        row.exec.push(row.runtime.succeed(&[s("exec"), s(&id), s("/bin/true")])?);
        Ok(())
    }

    fn at_once(&self, row: &mut Row) -> Result<()> {
        let runtime = &row.runtime;
        let command = |number| {
            let (s, id) = (OsStr::new, runtime.id(&format!("many-{number}")));
            runtime.command(&[s("run"), s("--bundle"), self.bundle.as_os_str(), s(&id)])
        };
        row.at_once.push(at_once(runtime.name, command)?);
        Ok(())
    }

    fn crowd(
        &self,
        runtime: &Runtime,
        bare: impl Fn() -> Command,
        rounds: usize,
        pause: Duration,
    ) -> Result<Crowd> {
        // Short ones: more of them than of the others.
        let half = 2 * rounds;
        let run = |count: usize| -> Result<(Vec<Duration>, Vec<Duration>)> {
            let one = |_| {
                std::thread::sleep(pause);
                let ours = self.run(runtime, "another")?;
                let started = Instant::now();
                let status = bare().status().naming("start the floor")?;
                match status.success() {
                    true => Ok((ours, started.elapsed())),
                    false => Err(Failure::new(format!("the floor: {status}"))),
                }
            };
            (0..count).map(one).collect()
        };
        // Half before and half after, so that a machine that gets busier does not pass for a crowd.
        let mut crowd = Crowd::default();
        (crowd.ours.alone, crowd.floor.alone) = run(half)?;
        let ids: Vec<String> = (0..CROWD).map(|number| format!("crowd-{number}")).collect();
        ids.iter().try_for_each(|id| self.start_sleeper(runtime, id))?;
        (crowd.ours.crowded, crowd.floor.crowded) = run(2 * half)?;
        ids.iter().try_for_each(|id| self.delete(runtime, id).map(drop))?;
        let (ours, floor) = run(half)?;
        crowd.ours.alone.extend(ours);
        crowd.floor.alone.extend(floor);
        Ok(crowd)
    }
}

/// What is measured of each runtime, by the place in [`Row::measured`].
const MEASURES: usize = 3;

impl Row {
    /// Takes a step with the runtime, unless an earlier one failed.
    fn attempt(&mut self, step: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        if self.failure.is_none()
            && let Err(failure) = step(self)
        {
            self.failure = Some(self.runtime.owner.report(failure)?);
        }
        Ok(())
    }

    fn measured(&self) -> [(String, Vec<f64>); MEASURES] {
        [
            ("create, start, delete".to_owned(), milliseconds(&self.cycle)),
            ("exec".to_owned(), milliseconds(&self.exec)),
            (format!("{AT_ONCE} runs at once"), milliseconds(&self.at_once)),
        ]
    }
}

impl Figures {
    /// The median over all rounds of what ours took in a round, divided by what `row` took in it.
    fn ours_to(&self, row: &Row, measure: usize) -> Option<f64> {
        let [(_, ours), (_, theirs)] = [&self.rows[0], row].map(|row| row.measured()[measure].clone());
        paired(&ours, &theirs).filter(|_| row.failure.is_none())
    }

    /// Ours, as many at once, to another's.
    fn at_once_to(&self, other: &[Duration]) -> Option<f64> {
        paired(&milliseconds(&self.rows[0].at_once), &milliseconds(other))
    }

    /// What the kernel alone takes for as many at once of what crun takes: below it, nobody gets.
    fn asked_at_once_to_crun(&self) -> Option<f64> {
        let crun = self.rows.iter().find(|row| row.runtime.name == "crun")?;
        paired(&milliseconds(&self.asked_at_once), &milliseconds(&crun.at_once))
    }

    /// For machines.
    pub fn render_json(&self) -> Value {
        let row = |row: &Row| {
            let one = |(number, (name, times)): (usize, (String, Vec<f64>))| {
                json!({
                    "measure": name,
                    "median_ms": median(times),
                    "rabbitc_to_this": self.ours_to(row, number),
                })
            };
            let measures: Vec<Value> = row.measured().into_iter().enumerate().map(one).collect();
            json!({ "name": row.runtime.name, "failure": row.failure, "measures": measures })
        };
        let mut report = json!({
            "rounds": self.rounds,
            "runtimes": self.rows.iter().map(row).collect::<Vec<_>>(),
            "at_once_rabbitc_to_floor": self.at_once_to(&self.floor_at_once),
            "at_once_rabbitc_to_asked": self.at_once_to(&self.asked_at_once),
            "at_once_asked_to_crun": self.asked_at_once_to_crun(),
        });
        report[format!("start_beside_{CROWD}_to_alone")] = json!(self.crowd.ours.ratio());
        report[format!("floor_beside_{CROWD}_to_alone")] = json!(self.crowd.floor.ratio());
        report
    }

    /// For people.
    pub fn print_table(&self) {
        println!(
            "\nlife of a container, {} rounds in turn; ratios are medians of paired runs\n",
            self.rounds
        );
        let columns =
            const { &[words(22), words(16), figures("median ms", 9), figures("rabbitc to this", 15)] };
        let table = Table::begin(columns);
        for measure in 0..MEASURES {
            for row in &self.rows {
                let (name, times) = row.measured()[measure].clone();
                let ratio = shown(self.ours_to(row, measure), 2);
                table.row([name, row.runtime.name.to_owned(), shown(median(times), 2), ratio]);
            }
        }
        if let (Some(floor), Some(asked)) =
            (self.at_once_to(&self.floor_at_once), self.at_once_to(&self.asked_at_once))
        {
            println!(
                "\n{AT_ONCE} runs of rabbitc-runtime at once: {floor:.2} of the bare kernel's {AT_ONCE}, {asked:.2} of the kernel's with all that is asked"
            );
        }
        if let Some(least) = self.asked_at_once_to_crun() {
            println!(
                "the kernel alone, with all that is asked, takes {least:.2} of crun's time for {AT_ONCE}"
            );
        }
        if let (Some(ours), Some(floor)) = (self.crowd.ours.ratio(), self.crowd.floor.ratio()) {
            println!(
                "rabbitc-runtime run beside {CROWD} running containers: {ours:.2} of one alone; the bare kernel: {floor:.2}"
            );
        }
    }
}
