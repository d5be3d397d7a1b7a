//! Thousands of containers one after the other, beside one that runs all the while: what there is of the kernel's and of
//! rabbitc's own things must be the same afterwards as it was after the first hundred.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cgroup_view;
use crate::packages;
use crate::process::{self, Failure, Naming, Result, TemporaryDirectory};
use crate::rootfs;

/// Where nobody says how many.
const CONTAINERS: usize = 5000;
/// After so many, networks and files are as they will be.
const SETTLED: usize = 100;
/// How often it is looked at in between.
const LOOKS: usize = 5;

/// `cargo xtask soak`: prepares everything and runs [`inside`] in a private view of cgroups, mounts, processes and network.
pub fn command(options: &[OsString]) -> Result<()> {
    count(options)?;
    let own = std::env::current_exe().naming("find this program")?;
    packages::install(packages::SOAK)?;
    // As the caller, so that the target directory stays theirs.
    crate::build::build()?;
    if !process::is_root() {
        process::require_root_or_sudo()?;
        return process::run(process::as_root(own).arg("soak").args(options));
    }
    let directory = TemporaryDirectory::new("soak")?;
    rootfs::make(&directory.path().join("rootfs"), None)?;
    let mut arguments: Vec<&OsStr> = vec![OsStr::new("soak-inside")];
    arguments.extend(options.iter().map(OsString::as_os_str));
    let name = format!("rabbitc-soak-{}", std::process::id());
    let mut command = cgroup_view::command(&name, &own, &arguments);
    process::run(command.env("RABBITC_SOAK_DIRECTORY", directory.path()))
}

fn count(options: &[OsString]) -> Result<usize> {
    let number = match options {
        [] => return Ok(CONTAINERS),
        [flag, number] if flag == "--containers" => number.to_str().and_then(|text| text.parse().ok()),
        _ => None,
    };
    number.filter(|number| *number >= SETTLED).ok_or_else(|| {
        Failure::new("soak takes `--containers NUMBER`").hint(format!("at least {SETTLED} are needed"))
    })
}

/// The containers themselves, in the private view.
pub fn inside(options: &[OsString]) -> Result<()> {
    let containers = count(options)?;
    let directory = std::env::var_os("RABBITC_SOAK_DIRECTORY").map(PathBuf::from);
    let directory = directory.ok_or_else(|| Failure::new("`RABBITC_SOAK_DIRECTORY` is not set"))?;
    process::run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"]))?;
    let soak = Soak { store: directory.join("store"), rootfs: directory.join("rootfs") };
    soak.start("resident", &["--network-name=soak0", "--publish=8000:80"])?;
    let monitor = soak.monitor()?;
    (0..SETTLED).try_for_each(|number| soak.one(number))?;
    let before = soak.settled(monitor, None);
    println!("after {SETTLED} containers: {before}");
    let started = Instant::now();
    for number in SETTLED..containers {
        soak.one(number)?;
        if number % (containers / LOOKS).max(1) == 0 {
            println!("after {number}: {}", Counters::take(&soak.store, monitor));
        }
    }
    let taken = started.elapsed();
    let after = soak.settled(monitor, Some(&before));
    println!("after {containers} containers: {after}");
    let each = taken.as_secs_f64() * 1000.0 / (containers - SETTLED).max(1) as f64;
    println!("{:.0} s, {each:.1} ms for each with its verbs", taken.as_secs_f64());
    soak.take("rm", &["--force", "resident"])?;
    match before.growth(&after) {
        growth if growth.is_empty() => Ok(()),
        growth => Err(Failure::new(format!("something is left: {}", growth.join(", ")))),
    }
}

struct Soak {
    store: PathBuf,
    rootfs: PathBuf,
}

impl Soak {
    fn take(&self, verb: &str, words: &[&str]) -> Result<()> {
        let said = self.store.with_extension("said");
        let file = std::fs::File::create(&said).naming(format_args!("create `{}`", said.display()))?;
        let mut command = Command::new(process::target_directory().join("release/rabbitc"));
        command.args([verb, "--root"]).arg(&self.store).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let status = command.status().naming("run rabbitc")?;
        if status.success() {
            return Ok(());
        }
        let said = std::fs::read_to_string(&said).unwrap_or_default();
        Err(Failure::new(format!("rabbitc {verb} {}: {status}: {}", words.join(" "), said.trim_end())))
    }

    fn root(&self) -> String {
        format!("--rootfs={}", self.rootfs.display())
    }

    fn run(&self, options: &[&str]) -> Result<()> {
        self.take("run", &[options, &["--rm", &self.root(), "true"]].concat())
    }

    fn start(&self, name: &str, options: &[&str]) -> Result<()> {
        let script = "trap 'exit 0' TERM; sleep 100000 & wait";
        self.take("run", &[options, &["--detach", "--name", name, &self.root(), "sh", "-c", script]].concat())
    }

    /// One of the ways that a container comes and goes.
    fn one(&self, number: usize) -> Result<()> {
        match number % 8 {
            0 => self.run(&["--network=none"]),
            1 => self.run(&[]),
            2 => self.run(&["--network-name=soak1", "--publish=8001:80"]),
            3 => self.run(&["--network=none", "--memory=64m", "--volume=/data", "--tty"]),
            4 => {
                self.start("named", &["--publish=8002:80/udp"])?;
                self.take("stop", &["named"])?;
                self.take("rm", &["named"])
            }
            5 => {
                self.start("named", &["--network=none", "--health-cmd=true", "--health-interval=1s"])?;
                self.take("exec", &["named", "true"])?;
                self.take("rm", &["--force", "--volumes", "named"])
            }
            6 => {
                let words = ["--network-name=soak0", "--name=named", &self.root(), "true"];
                self.take("create", &words)?;
                self.take("start", &["named"])?;
                self.take("wait", &["named"])?;
                self.take("logs", &["named"])?;
                self.take("rm", &["named"])
            }
            _ => self.take("exec", &["resident", "true"]),
        }
    }

    /// What stands behind the resident: it becomes that a moment after the command has returned.
    fn monitor(&self) -> Result<u32> {
        let is_one = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(b"rabbitc\0internal-monitor\0")
        };
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            if let Some(pid) = processes().into_iter().find(is_one) {
                return Ok(pid);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(Failure::new("no monitor stands behind the resident"))
    }

    /// What the kernel takes down in its own time gets some.
    fn settled(&self, monitor: u32, before: Option<&Counters>) -> Counters {
        let end = Instant::now() + Duration::from_secs(10);
        let mut last = Counters::take(&self.store, monitor);
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let now = Counters::take(&self.store, monitor);
            let is_done = before.map_or(now.0 == last.0, |before| before.growth(&now).is_empty());
            if is_done || Instant::now() > end {
                return now;
            }
            last = now;
        }
    }
}

/// How much there is of each.
#[derive(PartialEq, Eq)]
struct Counters([(&'static str, usize); 10]);

impl Counters {
    fn take(store: &Path, monitor: u32) -> Self {
        let lines = |path: &str| std::fs::read_to_string(path).unwrap_or_default().lines().count();
        let namespaces: BTreeSet<PathBuf> = processes()
            .into_iter()
            .filter_map(|pid| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok())
            .collect();
        let rules = process::read(Command::new("nft").args(["list", "ruleset"])).unwrap_or_default();
        Self([
            ("mounts", lines("/proc/self/mountinfo")),
            ("network namespaces", namespaces.len()),
            ("links", entries(Path::new("/sys/class/net")).len()),
            ("cgroups", below(Path::new("/sys/fs/cgroup"), Kind::Directories)),
            ("lines of rules", rules.lines().count()),
            ("processes", processes().len()),
            // The log of events has its own limit.
            ("files", below(store, Kind::All) - below(&store.join("events"), Kind::All)),
            ("files in /run", below(Path::new("/run"), Kind::All)),
            ("descriptors of the monitor", entries(Path::new(&format!("/proc/{monitor}/fd"))).len()),
            ("kilobytes resident of it", resident(monitor)),
        ])
    }

    /// What there is more of, or less.
    fn growth(&self, after: &Self) -> Vec<String> {
        let pairs = self.0.iter().zip(&after.0).filter(|(before, after)| before != after);
        pairs.map(|((name, before), (_, after))| format!("{name}: {before}, then {after}")).collect()
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(|(name, count)| format!("{count} {name}")).collect();
        f.write_str(&words.join(", "))
    }
}

/// VmRSS of proc_pid_status(5).
fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let figure = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    figure.and_then(|figure| figure.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directories,
    All,
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

fn below(directory: &Path, kind: Kind) -> usize {
    let count = |path: PathBuf| {
        let is_directory = path.symlink_metadata().is_ok_and(|found| found.is_dir());
        let inside = if is_directory { below(&path, kind) } else { 0 };
        inside + usize::from(is_directory || kind == Kind::All)
    };
    entries(directory).into_iter().map(count).sum()
}

/// Without those that have ended and wait for the first process to look, which is the soak's own and does not, as a host's does.
fn processes() -> Vec<u32> {
    let name = |path: PathBuf| path.file_name()?.to_str()?.parse().ok();
    let is_there = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Behind the name in brackets: state and parent (proc_pid_stat(5)).
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        !matches!((fields.next(), fields.next()), (None, _) | (Some("Z"), Some("1")))
    };
    entries(Path::new("/proc")).into_iter().filter_map(name).filter(is_there).collect()
}
