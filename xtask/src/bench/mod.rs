//! Start latency, system calls and peak memory of rabbitc against crun, runc, podman and the bare kernel, what each
//! feature adds, what networks carry and cost, what images take, and what people do all day: all in one run, in turn, in the same
//! view of cgroups and a network namespace of their own.

mod adds;
mod contender;
mod daemon;
mod disk;
mod engines;
mod everyday;
mod images;
mod life;
mod networks;
mod runtimes;
mod start;
pub mod table;
pub mod throughput;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use self::contender::{Contender, measure};
use self::runtimes::Runtimes;
use crate::build;
use crate::cgroup_view;
use crate::packages;
use crate::process::{self, Failure, Naming, Result, TemporaryDirectory};
use crate::rootfs;

/// What the table is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Table,
    Json,
}

/// `cargo xtask bench`: prepares everything and runs [`inside`] in the private view.
pub fn command(options: &[OsString]) -> Result<()> {
    let parsed = parse(options)?;
    let own = std::env::current_exe().naming("find this program")?;
    packages::install(packages::BENCH)?;
    if [Part::Images, Part::Everyday, Part::Throughput].into_iter().any(|part| parsed.has(part)) {
        // One by one: where the archive has not all of them, the others are measured, and rows say what is missing.
        for package in packages::BENCH_IMAGES {
            if let Err(failure) = packages::install(std::slice::from_ref(package)) {
                eprintln!("{failure}");
            }
        }
    }
    // As the caller, so that the target directory stays theirs; and out here, where there is a network.
    let floor = build_all()?;
    if parsed.newest {
        Runtimes::newest()?;
    }
    if !process::is_root() {
        process::require_root_or_sudo()?;
        return process::run(process::as_root(own).arg("bench").args(options));
    }
    let directory = TemporaryDirectory::new("bench")?;
    prepare(directory.path())?;
    let mut arguments: Vec<&OsStr> = vec![OsStr::new("bench-inside")];
    arguments.extend(options.iter().map(OsString::as_os_str));
    let name = format!("rabbitc-bench-{}", std::process::id());
    let mut command = cgroup_view::command(&name, &own, &arguments);
    command.env("RABBITC_BENCH_DIRECTORY", directory.path()).env("RABBITC_BENCH_FLOOR", floor);
    process::run(&mut command)
}

/// Builds what is measured, and returns the floor program. What is already built is not built again.
fn build_all() -> Result<PathBuf> {
    build::build()?;
    Ok(build::build_static(&["rabbitc-floor"])?.remove(0))
}

struct Options {
    rounds: usize,
    /// Before each start. One right after another finds the kernel's lock over all forks still in its slow mode,
    /// and is spared a wait that a start by itself pays.
    pause: Duration,
    format: Format,
    only: Option<Part>,
    /// Whether crun and runc are the newest of Debian's archive, or those that are installed.
    newest: bool,
}

/// The parts of the bench.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Start,
    Life,
    Adds,
    Throughput,
    Networks,
    Images,
    Everyday,
}

impl Options {
    fn has(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

/// A round of throughput takes seconds, and its figures spread less than those of starts.
const MOST_THROUGHPUT_ROUNDS: usize = 7;

fn parse(options: &[OsString]) -> Result<Options> {
    let mut parsed = Options {
        rounds: 20,
        pause: Duration::from_millis(100),
        format: Format::Table,
        only: None,
        newest: true,
    };
    let words: Vec<String> = options.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        let number = || value.parse::<u32>().naming(format_args!("{word} `{value}`"));
        match (word, value) {
            ("--rounds", _) => parsed.rounds = number()? as usize,
            ("--pause", _) => parsed.pause = Duration::from_millis(number()?.into()),
            ("--only", "start") => parsed.only = Some(Part::Start),
            ("--only", "life") => parsed.only = Some(Part::Life),
            ("--only", "adds") => parsed.only = Some(Part::Adds),
            ("--only", "throughput") => parsed.only = Some(Part::Throughput),
            ("--only", "networks") => parsed.only = Some(Part::Networks),
            ("--only", "images") => parsed.only = Some(Part::Images),
            ("--only", "everyday") => parsed.only = Some(Part::Everyday),
            ("--runtimes", "newest") => parsed.newest = true,
            ("--runtimes", "installed") => parsed.newest = false,
            ("--format", "json") => parsed.format = Format::Json,
            ("--format", "table") => parsed.format = Format::Table,
            _ => return Err(Failure::new(format!("no such option: `{word} {value}`"))),
        }
    }
    if parsed.rounds == 0 {
        return Err(Failure::new("--rounds `0`: at least one is needed"));
    }
    Ok(parsed)
}

/// A root with every mount point (so that nobody has to make one) and a bundle on it.
fn prepare(directory: &Path) -> Result<()> {
    let bundle = directory.join("bundle");
    let root = bundle.join("rootfs");
    rootfs::make(&root, None)?;
    for mount_point in ["proc", "sys", "dev", "etc", "run", "tmp"] {
        let path = root.join(mount_point);
        std::fs::create_dir_all(&path).naming(format_args!("create `{}`", path.display()))?;
    }
    let runtime = process::target_directory().join("release/rabbitc-runtime");
    process::read(Command::new(runtime).arg("spec").current_dir(&bundle))?;
    let path = bundle.join("config.json");
    let text = std::fs::read_to_string(&path).naming(format_args!("read `{}`", path.display()))?;
    let mut config: Value = serde_json::from_str(&text).naming("parse config.json")?;
    // Debian's crun takes no newer one, and nothing in this config needs it.
    config["ociVersion"] = json!("1.0.2");
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/true"]);
    std::fs::write(&path, config.to_string()).naming(format_args!("write `{}`", path.display()))
}

/// The measuring itself, in the private view.
pub fn inside(options: &[OsString]) -> Result<()> {
    let parsed = parse(options)?;
    let Options { rounds, pause, format, newest, .. } = parsed;
    let runtimes = if newest { Runtimes::newest()? } else { Runtimes::installed() };
    let variable =
        |name: &str| std::env::var_os(name).ok_or_else(|| Failure::new(format!("`{name}` is not set")));
    let directory = PathBuf::from(variable("RABBITC_BENCH_DIRECTORY")?);
    // Where all of them keep their state; on a disk, it is the disk that is measured.
    mount_in_memory(Path::new("/run"))?;
    let mut report = serde_json::Map::new();
    if parsed.has(Part::Start) {
        process::announce("measuring starts");
        let mut contenders = start::contenders(&directory, &variable("RABBITC_BENCH_FLOOR")?, &runtimes);
        contenders.iter_mut().try_for_each(|contender| contender.warm_up(&directory))?;
        measure(&mut contenders, rounds, pause)?;
        let versions = versions(&runtimes);
        match format {
            Format::Json => {
                report.insert("start".into(), start::render_json(&contenders, rounds, pause, &versions));
            }
            Format::Table => {
                start::print_table(&contenders, rounds, pause);
                println!("compared with {}", versions.join(", "));
            }
        }
    }
    if parsed.has(Part::Life) {
        process::announce("measuring lives: create, start, delete, exec, crowds");
        let figures = life::measure(&directory, &variable("RABBITC_BENCH_FLOOR")?, &runtimes, rounds, pause)?;
        match format {
            Format::Json => drop(report.insert("life".into(), figures.render_json())),
            Format::Table => figures.print_table(),
        }
    }
    if parsed.has(Part::Adds) {
        process::announce("measuring what each feature adds");
        let mut contenders = adds::contenders(&directory);
        contenders.iter_mut().try_for_each(Contender::check)?;
        measure(&mut contenders, rounds, pause)?;
        match format {
            Format::Json => drop(report.insert("adds".into(), adds::render_json(&contenders))),
            Format::Table => adds::print_table(&contenders, rounds, pause),
        }
    }
    if parsed.has(Part::Throughput) {
        process::announce("measuring what networks carry");
        let figures = throughput::measure(&directory, rounds.min(MOST_THROUGHPUT_ROUNDS))?;
        match format {
            Format::Json => drop(report.insert("throughput".into(), figures.render_json())),
            Format::Table => figures.print_table(),
        }
    }
    if parsed.has(Part::Networks) {
        process::announce("measuring what a network costs");
        let figures = networks::measure(&directory, rounds, pause)?;
        match format {
            Format::Json => drop(report.insert("networks".into(), figures.render_json())),
            Format::Table => figures.print_table(),
        }
    }
    if parsed.has(Part::Images) {
        let figures = images::measure(&directory, rounds, pause)?;
        match format {
            Format::Json => drop(report.insert("images".into(), figures.render_json())),
            Format::Table => figures.print_table(),
        }
    }
    if parsed.has(Part::Everyday) {
        let figures = everyday::measure(&directory, rounds, pause)?;
        match format {
            Format::Json => drop(report.insert("everyday".into(), figures.render_json())),
            Format::Table => figures.print_table(),
        }
    }
    if format == Format::Json {
        println!("{:#}", Value::Object(report));
    }
    Ok(())
}

/// Makes a directory one in memory, as `/run` is on hosts with systemd (file-hierarchy(7)), unless it is.
fn mount_in_memory(directory: &Path) -> Result<()> {
    let kind = process::read(Command::new("stat").args(["--file-system", "--format", "%T"]).arg(directory))?;
    if kind.trim() == "tmpfs" {
        return Ok(());
    }
    process::run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "tmpfs"]).arg(directory))
}

fn versions(runtimes: &Runtimes) -> Vec<String> {
    let paths = [runtimes.crun.as_path(), runtimes.runc.as_path(), Path::new("podman")];
    versions_of(&paths)
}

/// The first line that each stranger says about its version.
fn versions_of(programs: &[impl AsRef<OsStr>]) -> Vec<String> {
    let version = |program: &_| {
        let said = process::read(Command::new(program).arg("--version")).ok()?;
        said.lines().next().map(str::to_owned)
    };
    programs.iter().filter_map(version).collect()
}
