//! What a network costs: what it adds to a start and to the command's return, how that grows with the containers that are
//! there already, and what is left of it a second after the end.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::contender::{Owner, median};
use super::engines;
use super::table::{Table, figures, shown, verdict, words};
use crate::process::{self, Failure, Naming, Result};

/// How many containers are on the bridge before the last one comes.
const CROWD: usize = 499;
/// The most milliseconds that a network may add.
const MOST_ADDED: f64 = 3.0;
/// The most that the last one's network may cost of what the first one's costs.
const MOST_GROWN: f64 = 1.1;

/// Milliseconds until the program says something, and from then until the command returns.
#[derive(Clone, Copy)]
struct Taken {
    start: f64,
    rest: f64,
}

/// Runs without a network and with one, in turn.
#[derive(Default)]
struct Pairs {
    without: Vec<Taken>,
    with: Vec<Taken>,
}

impl Pairs {
    /// What the network adds, a figure a round.
    fn added(&self, part: impl Fn(&Taken) -> f64) -> Vec<f64> {
        self.with.iter().zip(&self.without).map(|(with, without)| part(with) - part(without)).collect()
    }
}

/// Whose containers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Rabbitc,
    Podman,
}

/// The figures of this part.
pub struct Figures {
    rabbitc: Pairs,
    podman: Pairs,
    /// Why podman was not measured to the end.
    failure: Option<String>,
    /// With one container on the bridge, and with many.
    few: Pairs,
    many: Pairs,
    /// What a listing of the host has a second after the end and had not before.
    remains: Vec<String>,
    rounds: usize,
}

struct Bench {
    root: PathBuf,
    stores: PathBuf,
}

/// Measures all of it; `directory` has the root file system with `/bin/sh`.
pub fn measure(directory: &Path, rounds: usize, pause: Duration) -> Result<Figures> {
    let bench = Bench { root: directory.join("bundle/rootfs"), stores: directory.join("networks") };
    let mut figures = Figures {
        rabbitc: Pairs::default(),
        podman: Pairs::default(),
        failure: None,
        few: Pairs::default(),
        many: Pairs::default(),
        remains: bench.remains()?,
        rounds,
    };
    // The first one of all makes the bridge, or reads its programs.
    bench.run(Engine::Rabbitc, &[])?;
    if let Err(failure) = bench.run(Engine::Podman, &[]) {
        figures.failure = Some(Owner::Others.report(failure)?);
    }
    for _ in 0..rounds {
        bench.pair(Engine::Rabbitc, &mut figures.rabbitc, pause)?;
        if figures.failure.is_none()
            && let Err(failure) = bench.pair(Engine::Podman, &mut figures.podman, pause)
        {
            figures.failure = Some(Owner::Others.report(failure)?);
        }
    }
    let first = bench.crowd(1)?;
    for _ in 0..rounds {
        bench.pair(Engine::Rabbitc, &mut figures.few, pause)?;
    }
    process::announce(&format!("starting {CROWD} containers"));
    let others = bench.crowd(CROWD - 1)?;
    for _ in 0..rounds {
        bench.pair(Engine::Rabbitc, &mut figures.many, pause)?;
    }
    drop((first, others));
    Ok(figures)
}

/// Containers that wait; they go with this.
struct Crowd(Vec<Child>);

impl Drop for Crowd {
    fn drop(&mut self) {
        // Whoever has ended already needs no signal.
        self.0.iter_mut().for_each(|child| drop(child.kill()));
        self.0.iter_mut().for_each(|child| drop(child.wait()));
    }
}

impl Bench {
    fn command(&self, engine: Engine, flags: &[&str], script: &str) -> Command {
        let root = self.root.display().to_string();
        let mut command = match engine {
            Engine::Rabbitc => Command::new(process::target_directory().join("release/rabbitc")),
            Engine::Podman => engines::podman(&self.stores.join("podman")),
        };
        command.arg("run").args(flags);
        match engine {
            Engine::Rabbitc => command.args([format!("--rootfs={root}"), "--".into()]),
            Engine::Podman => command.args(["--rm", "--log-driver=none", "--rootfs", &format!("{root}:O")]),
        };
        command.args(["/bin/sh", "-c", script]).stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// One run of a program that says a word and ends.
    fn run(&self, engine: Engine, flags: &[&str]) -> Result<Taken> {
        let mut command = self.command(engine, flags, "echo up");
        let name = if engine == Engine::Rabbitc { "rabbitc" } else { "podman" };
        let begun = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn().naming(format_args!("run {name}"))?;
        let mut word = [0; 3];
        let said = child.stdout.take().expect("it is piped").read_exact(&mut word);
        let up = begun.elapsed();
        let status = child.wait().naming(format_args!("wait for {name}"))?;
        let all = begun.elapsed();
        if said.is_err() || !status.success() {
            return Err(Failure::new(format!("{name} run {}: {status}", flags.join(" "))));
        }
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        Ok(Taken { start: milliseconds(up), rest: milliseconds(all - up) })
    }

    fn pair(&self, engine: Engine, pairs: &mut Pairs, pause: Duration) -> Result<()> {
        std::thread::sleep(pause);
        pairs.without.push(self.run(engine, &["--network=none"])?);
        std::thread::sleep(pause);
        pairs.with.push(self.run(engine, &[])?);
        Ok(())
    }

    /// Starts so many, one after the other, and returns when they run.
    fn crowd(&self, count: usize) -> Result<Crowd> {
        let mut crowd = Crowd(Vec::with_capacity(count));
        for _ in 0..count {
            let mut command = self.command(Engine::Rabbitc, &[], "echo up; exec sleep 100000");
            let mut child = command.stdout(Stdio::piped()).spawn().naming("start one of many")?;
            let mut word = [0; 3];
            let said = child.stdout.take().expect("it is piped").read_exact(&mut word);
            crowd.0.push(child);
            said.naming("hear of one of many")?;
        }
        Ok(crowd)
    }

    /// What a container with a network and a port leaves on the host for a second and longer.
    fn remains(&self) -> Result<Vec<String>> {
        // What the first network ever sets and nobody sets back is no remainder of a container.
        self.run(Engine::Rabbitc, &["--publish=20080:80"])?;
        std::thread::sleep(Duration::from_secs(1));
        let before = listing()?;
        self.run(Engine::Rabbitc, &["--publish=20080:80"])?;
        std::thread::sleep(Duration::from_secs(1));
        let mut found: Vec<String> = listing()?.difference(&before).cloned().collect();
        // And of what is rabbitc's own there is nothing at all.
        found.extend(before.into_iter().filter(|line| line.contains("rabbitc")));
        Ok(found)
    }
}

/// Links, rules, processes and state, a line each.
fn listing() -> Result<BTreeSet<String>> {
    let script = "ip -oneline link | cut -d: -f2; nft list ruleset 2>/dev/null; \
                  find /run/rabbitc/containers /run/rabbitc/network -mindepth 1 2>/dev/null; \
                  for one in /proc/[0-9]*; do case $(tr '\\0' ' ' <$one/cmdline 2>/dev/null) in *rabbitc\\ *) readlink $one/exe;; esac; done; true";
    let text = process::read(Command::new("sh").args(["-c", script]))?;
    let own = |line: &&str| !line.trim().is_empty() && !line.contains("xtask");
    Ok(text.lines().filter(own).map(|line| line.trim().to_owned()).collect())
}

impl Figures {
    fn grown(&self) -> Option<f64> {
        let all = |taken: &Taken| taken.start + taken.rest;
        Some(median(self.many.added(all))? / median(self.few.added(all))?)
    }

    /// The figures for machines.
    pub fn render_json(&self) -> Value {
        let row = |pairs: &Pairs| {
            json!({
                "added_to_start_ms": median(pairs.added(|taken| taken.start)),
                "added_to_return_ms": median(pairs.added(|taken| taken.rest)),
            })
        };
        json!({
            "rounds": self.rounds,
            "rabbitc": row(&self.rabbitc),
            "podman": row(&self.podman),
            "podman_failure": self.failure,
            "beside_1": row(&self.few),
            "beside_499": row(&self.many),
            "last_to_first": self.grown(),
            "remains": self.remains,
        })
    }

    /// The figures for people.
    pub fn print_table(&self) {
        println!(
            "\nwhat a network adds to `--network none`, in ms: {} rounds in turn, medians of pairs\n",
            self.rounds
        );
        let columns = const {
            &[
                words(32),
                figures("start without", 13),
                figures("start adds", 10),
                figures("return adds", 11),
                figures("together", 8),
            ]
        };
        let table = Table::begin(columns);
        for (name, pairs) in [
            ("rabbitc".to_owned(), &self.rabbitc),
            ("podman".to_owned(), &self.podman),
            ("rabbitc beside 1 container".to_owned(), &self.few),
            (format!("rabbitc beside {CROWD} containers"), &self.many),
        ] {
            let without = median(pairs.without.iter().map(|taken| taken.start).collect());
            let [start, rest, all] = [
                median(pairs.added(|taken| taken.start)),
                median(pairs.added(|taken| taken.rest)),
                median(pairs.added(|taken| taken.start + taken.rest)),
            ];
            table.row([name, shown(without, 2), shown(start, 2), shown(rest, 2), shown(all, 2)]);
        }
        let added = median(self.rabbitc.added(|taken| taken.start + taken.rest));
        verdict("what a network adds", "3 ms", added.map(|added| added / MOST_ADDED), 1.0);
        let first = "what the first one's costs";
        verdict(&format!("the network of container {}", CROWD + 1), first, self.grown(), MOST_GROWN);
        match &self.remains[..] {
            [] => println!("a second after the end nothing is left: no link, rule, process or state"),
            remains => println!("LEFT a second after the end:\n  {}", remains.join("\n  ")),
        }
        if let Some(why) = &self.failure {
            println!("podman: {why}");
        }
    }
}
