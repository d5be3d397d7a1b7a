//! A container's life through an OCI runtime: the three commands of a start in two parts, a program more, a start
//! beside a crowd, and many starts at once.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::contender::{median, milliseconds};
use super::runtimes::Runtimes;
use crate::process::{self, Failure, Naming, Result};

/// How many containers run beside the one that is started.
const CROWD: usize = 100;
/// How many starts there are at once.
const AT_ONCE: usize = 200;
/// How often those are repeated: they take seconds.
const MOST_ROUNDS_AT_ONCE: usize = 5;

struct Runtime {
    name: &'static str,
    program: PathBuf,
    state: PathBuf,
}

/// What one runtime took.
struct Row {
    name: &'static str,
    cycle: Vec<Duration>,
    exec: Vec<Duration>,
    at_once: Vec<Duration>,
}

/// The figures of this part.
pub struct Figures {
    rows: Vec<Row>,
    /// The bare kernel's as many at once: nobody can be quicker than that.
    floor_at_once: Vec<Duration>,
    alone: Vec<Duration>,
    crowded: Vec<Duration>,
    rounds: usize,
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
    let ours = process::target_directory().join("release/rabbitc-runtime");
    let runtime =
        |name, program: &Path| Runtime { name, program: program.to_owned(), state: states.join(name) };
    let runtimes =
        [runtime("rabbitc-runtime", &ours), runtime("crun", &runtimes.crun), runtime("runc", &runtimes.runc)];
    let bench = Bench { bundle: &bundle, sleeper: &sleeper };
    let mut rows: Vec<Row> = Vec::new();
    for one in &runtimes {
        rows.push(Row { name: one.name, cycle: Vec::new(), exec: Vec::new(), at_once: Vec::new() });
        bench.start_sleeper(one, "sleeper")?;
    }
    for _ in 0..rounds {
        for (runtime, row) in runtimes.iter().zip(&mut rows) {
            std::thread::sleep(pause);
            row.cycle.push(bench.cycle(runtime)?);
            std::thread::sleep(pause);
            let s = OsStr::new;
            let id = runtime.id("sleeper");
            row.exec.push(runtime.succeed(&[s("exec"), s(&id), s("/bin/true")])?);
        }
    }
    for runtime in &runtimes {
        bench.delete(runtime, "sleeper")?;
    }
    let mut floor_at_once = Vec::new();
    for _ in 0..rounds.min(MOST_ROUNDS_AT_ONCE) {
        let root = bundle.join("rootfs");
        let command = |_| {
            let mut command = quiet(Path::new(floor));
            command.arg(&root).arg("/bin/true");
            command
        };
        floor_at_once.push(at_once("the floor", command)?);
        for (runtime, row) in runtimes.iter().zip(&mut rows) {
            row.at_once.push(bench.at_once(runtime)?);
        }
    }
    let (alone, crowded) = bench.crowd(&runtimes[0], rounds, pause)?;
    Ok(Figures { rows, floor_at_once, alone, crowded, rounds })
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

    fn at_once(&self, runtime: &Runtime) -> Result<Duration> {
        let command = |number| {
            let (s, id) = (OsStr::new, runtime.id(&format!("many-{number}")));
            runtime.command(&[s("run"), s("--bundle"), self.bundle.as_os_str(), s(&id)])
        };
        at_once(runtime.name, command)
    }

    /// Starts without other containers and beside many.
    fn crowd(
        &self,
        runtime: &Runtime,
        rounds: usize,
        pause: Duration,
    ) -> Result<(Vec<Duration>, Vec<Duration>)> {
        let run = |count: usize| -> Result<Vec<Duration>> {
            let one = |_| {
                std::thread::sleep(pause);
                self.run(runtime, "another")
            };
            (0..count).map(one).collect()
        };
        // Half before and half after, so that a machine that gets busier does not pass for a crowd.
        let half = rounds.div_ceil(2);
        let mut alone = run(half)?;
        let ids: Vec<String> = (0..CROWD).map(|number| format!("crowd-{number}")).collect();
        ids.iter().try_for_each(|id| self.start_sleeper(runtime, id))?;
        let crowded = run(2 * half)?;
        ids.iter().try_for_each(|id| self.delete(runtime, id).map(drop))?;
        alone.extend(run(half)?);
        Ok((alone, crowded))
    }
}

impl Row {
    fn measured(&self) -> [(&'static str, &[Duration]); 3] {
        [("create, start, delete", &self.cycle), ("exec", &self.exec), ("200 runs at once", &self.at_once)]
    }
}

impl Figures {
    /// The median over all rounds of what ours took in a round, divided by what `row` took in it.
    fn ours_to(&self, row: &Row, measure: usize) -> Option<f64> {
        let (_, ours) = self.rows.first()?.measured()[measure];
        let (_, theirs) = row.measured()[measure];
        let pairs = ours.iter().zip(theirs);
        median(pairs.map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64()).collect())
    }

    fn at_once_to_floor(&self) -> Option<f64> {
        let pairs = self.rows.first()?.at_once.iter().zip(&self.floor_at_once);
        median(pairs.map(|(ours, floor)| ours.as_secs_f64() / floor.as_secs_f64()).collect())
    }

    fn crowding(&self) -> Option<f64> {
        Some(median(milliseconds(&self.crowded))? / median(milliseconds(&self.alone))?)
    }

    /// For machines.
    pub fn render_json(&self) -> Value {
        let row = |row: &Row| {
            let one = |(number, (name, times)): (usize, (&str, &[Duration]))| {
                json!({
                    "measure": name,
                    "median_ms": median(milliseconds(times)),
                    "rabbitc_to_this": self.ours_to(row, number),
                })
            };
            let measures: Vec<Value> = row.measured().into_iter().enumerate().map(one).collect();
            json!({ "name": row.name, "measures": measures })
        };
        json!({
            "rounds": self.rounds,
            "runtimes": self.rows.iter().map(row).collect::<Vec<_>>(),
            "at_once_rabbitc_to_floor": self.at_once_to_floor(),
            "start_beside_100_to_alone": self.crowding(),
        })
    }

    /// For people.
    pub fn print_table(&self) {
        println!(
            "\nlife of a container, {} rounds in turn; ratios are medians of paired runs\n",
            self.rounds
        );
        println!("| {:22} | {:16} | {:>9} | {:>15} |", "", "", "median ms", "rabbitc to this");
        println!("|{}|{}|{}|{}|", "-".repeat(24), "-".repeat(18), "-".repeat(11), "-".repeat(17));
        for measure in 0..3 {
            for row in &self.rows {
                let (name, times) = row.measured()[measure];
                let shown =
                    |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"));
                println!(
                    "| {name:22} | {:16} | {:>9} | {:>15} |",
                    row.name,
                    shown(median(milliseconds(times))),
                    shown(self.ours_to(row, measure)),
                );
            }
        }
        if let Some(ratio) = self.at_once_to_floor() {
            println!(
                "\n{AT_ONCE} runs of rabbitc-runtime at once: {ratio:.2} of the bare kernel's {AT_ONCE}"
            );
        }
        if let Some(ratio) = self.crowding() {
            println!("rabbitc-runtime run beside {CROWD} running containers: {ratio:.2} of one alone");
        }
    }
}
