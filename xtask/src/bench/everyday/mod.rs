//! What people do all day, with rabbitc, podman and docker in turn: containers of an image are run, stopped, listed and
//! looked into. The daemon and the stores are the bench's own, in its private view, and end with it.

mod engine;
mod supervisors;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use self::engine::{ENGINES, Engine, IMAGE, Installed};
use self::supervisors::Supervisors;
use super::contender::{median, milliseconds, paired};
use super::disk::{Disk, Hidden};
use super::table::{Table, figures, shown, verdict, words};
use crate::process::{self, Naming, Result};

const SCRIPT: &str = include_str!("image.sh");

/// How many runs there are at once.
const AT_ONCE: usize = 16;
/// What a log has, in bytes.
const LOG: usize = 100_000_000;
/// How many containers are listed.
const FEW: usize = 100;
const MANY: usize = 1000;
/// Of what takes seconds.
const MOST_LONG_ROUNDS: usize = 5;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Measure {
    RunWithoutNetwork,
    Run,
    RunDetached,
    Exec,
    Stop,
    RunsAtOnce,
    Logs,
    ListFew,
    ListMany,
}

const MEASURES: [Measure; 9] = [
    Measure::RunWithoutNetwork,
    Measure::Run,
    Measure::RunDetached,
    Measure::Exec,
    Measure::Stop,
    Measure::RunsAtOnce,
    Measure::Logs,
    Measure::ListFew,
    Measure::ListMany,
];

impl Measure {
    fn name(self) -> String {
        match self {
            Measure::RunWithoutNetwork => "run --rm --network none".to_owned(),
            Measure::Run => "run --rm, with a bridge".to_owned(),
            Measure::RunDetached => "run -d".to_owned(),
            Measure::Exec => "exec".to_owned(),
            Measure::Stop => "stop".to_owned(),
            Measure::RunsAtOnce => format!("{AT_ONCE} run --rm at once"),
            Measure::Logs => format!("logs of {} MB", LOG / 1_000_000),
            Measure::ListFew => format!("ps -a of {FEW}"),
            Measure::ListMany => format!("ps -a of {MANY}"),
        }
    }

    fn rounds(self, rounds: usize) -> usize {
        match self {
            Measure::RunsAtOnce | Measure::Logs => rounds.min(MOST_LONG_ROUNDS),
            _ => rounds,
        }
    }

    /// The most that rabbitc may take of podman's time.
    fn goal(self) -> Option<f64> {
        match self {
            Measure::Run => Some(1.0 / 20.0),
            Measure::RunsAtOnce => Some(1.0 / 30.0),
            _ => None,
        }
    }
}

/// What one engine took.
struct Row {
    engine: Engine,
    /// None where it could not be had.
    installed: Option<Installed>,
    /// Why it was not measured to the end.
    failure: Option<String>,
    times: [Vec<Duration>; MEASURES.len()],
    supervisors: Option<Supervisors>,
}

/// The figures of this part.
pub struct Figures {
    rows: Vec<Row>,
    rounds: usize,
    disk: &'static str,
}

/// Makes an image below `directory`, and measures all that is done with containers of it.
pub fn measure(directory: &Path, rounds: usize, pause: Duration) -> Result<Figures> {
    let place = directory.join("everyday");
    std::fs::create_dir_all(&place).naming(format_args!("create `{}`", place.display()))?;
    process::read(Command::new("sh").args(["-c", SCRIPT, "image"]).arg(&place))?;
    let covered = ["/var/lib/containers", "/etc/docker"];
    let _hidden: Vec<Hidden> =
        covered.into_iter().map(|path| Hidden::behind_memory(Path::new(path))).collect::<Result<_>>()?;
    let disk = Disk::make(&place)?;
    let archive = place.join("busybox.tar");
    let mut rows: Vec<Row> = ENGINES.into_iter().map(Row::new).collect();
    for row in &mut rows {
        match Installed::prepare(row.engine, disk.path(), &archive) {
            Ok(installed) => row.installed = Some(installed),
            Err(failure) => row.failure = Some(row.engine.owner().report(failure)?),
        }
    }
    for (number, measure) in MEASURES.into_iter().enumerate() {
        process::announce(&measure.name());
        rows.iter_mut().try_for_each(|row| row.attempt(|installed| begin(measure, installed)))?;
        for _ in 0..measure.rounds(rounds) {
            for row in &mut rows {
                std::thread::sleep(pause);
                let mut taken = None;
                row.attempt(|installed| {
                    taken = Some(once(measure, installed)?);
                    Ok(())
                })?;
                row.times[number].extend(taken);
            }
        }
        rows.iter_mut().try_for_each(|row| row.attempt(|installed| end(measure, installed)))?;
    }
    for row in &mut rows {
        process::announce(&format!("memory behind containers of {}", row.engine.name()));
        let mut supervisors = None;
        row.attempt(|installed| {
            supervisors = Some(Supervisors::measure(installed)?);
            Ok(())
        })?;
        row.supervisors = supervisors;
    }
    // With the daemons, before the disk that they write to.
    rows.iter_mut().for_each(|row| row.installed = None);
    Ok(Figures { rows, rounds, disk: disk.kind() })
}

/// What must be there before something is measured.
fn begin(measure: Measure, installed: &Installed) -> Result<()> {
    match measure {
        // The first one of all makes its network, or reads its programs.
        Measure::RunWithoutNetwork => installed.run(&["--network=none"]).map(drop),
        Measure::Run => installed.run(&[]).map(drop),
        Measure::Exec => installed.start_waiting("waiting").map(drop),
        Measure::Logs => installed.write_log("loud", LOG),
        Measure::ListFew => create(installed, 0..FEW),
        Measure::ListMany => create(installed, FEW..MANY),
        Measure::RunDetached | Measure::Stop | Measure::RunsAtOnce => Ok(()),
    }
}

fn create(installed: &Installed, mut numbers: std::ops::Range<usize>) -> Result<()> {
    numbers.try_for_each(|number| {
        let name = format!("listed-{number}");
        installed.take("create", &["--network=none", "--name", &name, IMAGE, "true"]).map(drop)
    })
}

fn once(measure: Measure, installed: &Installed) -> Result<Duration> {
    match measure {
        Measure::RunWithoutNetwork => installed.run(&["--network=none"]),
        Measure::Run => installed.run(&[]),
        Measure::RunDetached => {
            let taken = installed.start_waiting("detached")?;
            installed.remove("detached")?;
            Ok(taken)
        }
        Measure::Exec => installed.take("exec", &["waiting", "true"]),
        Measure::Stop => {
            installed.start_waiting("to-be-stopped")?;
            let taken = installed.take("stop", &["to-be-stopped"])?;
            installed.remove("to-be-stopped")?;
            Ok(taken)
        }
        Measure::RunsAtOnce => installed.run_at_once(AT_ONCE),
        Measure::Logs => installed.take("logs", &["loud"]),
        Measure::ListFew | Measure::ListMany => installed.take("ps", &["--all"]),
    }
}

fn end(measure: Measure, installed: &Installed) -> Result<()> {
    match measure {
        Measure::Exec => installed.remove("waiting").map(drop),
        Measure::Logs => installed.remove("loud").map(drop),
        _ => Ok(()),
    }
}

impl Row {
    fn new(engine: Engine) -> Self {
        let times = std::array::from_fn(|_| Vec::new());
        Self { engine, installed: None, failure: None, times, supervisors: None }
    }

    /// Takes a step with the engine, unless an earlier one failed.
    fn attempt(&mut self, step: impl FnOnce(&Installed) -> Result<()>) -> Result<()> {
        if self.failure.is_none()
            && let Some(installed) = &self.installed
            && let Err(failure) = step(installed)
        {
            self.failure = Some(self.engine.owner().report(failure)?);
        }
        Ok(())
    }
}

impl Figures {
    /// The median over all rounds of what ours took in a round, divided by what `row` took in it.
    fn ours_to(&self, row: &Row, measure: usize) -> Option<f64> {
        paired(&milliseconds(&self.rows[0].times[measure]), &milliseconds(&row.times[measure]))
    }

    /// For machines.
    pub fn render_json(&self) -> Value {
        let row = |row: &Row| {
            let one = |(number, measure): (usize, Measure)| {
                json!({
                    "measure": measure.name(),
                    "median_ms": median(milliseconds(&row.times[number])),
                    "rabbitc_to_this": self.ours_to(row, number),
                })
            };
            let measures: Vec<Value> = MEASURES.into_iter().enumerate().map(one).collect();
            json!({
                "name": row.engine.name(),
                "failure": row.failure,
                "measures": measures,
                "supervisors": row.supervisors.as_ref().map(Supervisors::render_json),
            })
        };
        json!({
            "rounds": self.rounds,
            "disk": self.disk,
            "engines": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub fn print_table(&self) {
        println!(
            "\nwhat people do all day, {} rounds in turn, stores on {}; ratios are medians of paired runs\n",
            self.rounds, self.disk
        );
        let columns =
            const { &[words(24), words(8), figures("median ms", 9), figures("rabbitc to this", 15)] };
        let table = Table::begin(columns);
        for (number, measure) in MEASURES.into_iter().enumerate() {
            for row in &self.rows {
                let times = median(milliseconds(&row.times[number]));
                let ratio = shown(self.ours_to(row, number), 3);
                table.row([measure.name(), row.engine.name().to_owned(), shown(times, 2), ratio]);
            }
        }
        println!();
        self.rows.iter().filter_map(|row| row.supervisors.as_ref()).for_each(Supervisors::print);
        for (number, measure) in MEASURES.into_iter().enumerate() {
            if let (Some(goal), Some(podman)) =
                (measure.goal(), self.rows.iter().find(|row| row.engine == Engine::Podman))
            {
                verdict(
                    &format!("rabbitc, {}", measure.name()),
                    "podman's",
                    self.ours_to(podman, number),
                    goal,
                );
            }
        }
        println!("compared with {}", super::versions_of(&["podman", "dockerd"]).join(", "));
    }
}
