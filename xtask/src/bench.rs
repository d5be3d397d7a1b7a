//! Start latency, system calls and peak memory of rabbitc against crun, runc, podman and the bare kernel, all in one
//! run, in turn, in the same view of cgroups and a network namespace of their own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::build;
use crate::cgroup_view::Subtree;
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
    parse(options)?;
    let own = std::env::current_exe().naming("find this program")?;
    if !process::is_root() {
        // As the caller, so that the target directory stays theirs.
        build_all()?;
        process::require_root_or_sudo()?;
        return process::run(process::as_root(own).arg("bench").args(options));
    }
    packages::install(packages::BENCH)?;
    let floor = build_all()?;
    let directory = TemporaryDirectory::new("bench")?;
    prepare(directory.path())?;
    let subtree = Subtree::new(&format!("rabbitc-bench-{}", std::process::id()))?;
    let mut arguments: Vec<&OsStr> = vec![OsStr::new("bench-inside")];
    arguments.extend(options.iter().map(OsString::as_os_str));
    let mut command = subtree.command(&own, &arguments)?;
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
}

fn parse(options: &[OsString]) -> Result<Options> {
    let mut parsed = Options { rounds: 20, pause: Duration::from_millis(100), format: Format::Table };
    let words: Vec<String> = options.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        let number = || value.parse::<u32>().naming(format_args!("{word} `{value}`"));
        match (word, value) {
            ("--rounds", _) => parsed.rounds = number()? as usize,
            ("--pause", _) => parsed.pause = Duration::from_millis(number()?.into()),
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

/// One way to start `/bin/true` in a container.
struct Contender {
    name: &'static str,
    words: Vec<OsString>,
    /// A failure of ours fails the bench; a stranger's is reported.
    owner: Owner,
    times: Vec<Duration>,
    syscalls: Option<u64>,
    peak_kilobytes: Option<u64>,
    failure: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Us,
    Others,
}

const FLOOR: &str = "bare kernel floor";
const RUNTIME: &str = "rabbitc-runtime run";
const CRUN: &str = "crun run";
const RABBITC: &str = "rabbitc --rootfs";
const PODMAN: &str = "podman run --rm --rootfs";

/// The measuring itself, in the private view.
pub fn inside(options: &[OsString]) -> Result<()> {
    let Options { rounds, pause, format } = parse(options)?;
    let variable =
        |name: &str| std::env::var_os(name).ok_or_else(|| Failure::new(format!("`{name}` is not set")));
    let directory = PathBuf::from(variable("RABBITC_BENCH_DIRECTORY")?);
    let mut contenders = contenders(&directory, &variable("RABBITC_BENCH_FLOOR")?);
    for contender in &mut contenders {
        contender.warm_up(&directory)?;
    }
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
    let versions = versions();
    match format {
        Format::Json => println!("{:#}", render_json(&contenders, rounds, pause, &versions)),
        Format::Table => {
            print_table(&contenders, rounds, pause);
            println!("compared with {}", versions.join(", "));
        }
    }
    Ok(())
}

fn contenders(directory: &Path, floor: &OsStr) -> Vec<Contender> {
    let release = process::target_directory().join("release");
    let bundle = directory.join("bundle");
    let root = bundle.join("rootfs");
    let rabbitc = release.join("rabbitc");
    let mut flag = OsString::from("--rootfs=");
    flag.push(&root);
    let contender = |name, owner, words: &[&OsStr]| Contender {
        name,
        words: words.iter().map(|word| word.to_os_string()).collect(),
        owner,
        times: Vec::new(),
        syscalls: None,
        peak_kilobytes: None,
        failure: None,
    };
    let s = OsStr::new;
    let run = |name, owner, program: &OsStr| {
        contender(name, owner, &[program, s("run"), s("--bundle"), bundle.as_os_str(), s("rabbitc-bench")])
    };
    let podman = |name, network| {
        let words = [
            s("podman"),
            s("--cgroup-manager=cgroupfs"),
            s("--runtime=crun"),
            s("run"),
            s("--rm"),
            s(network),
            s("--rootfs"),
            root.as_os_str(),
            s("/bin/true"),
        ];
        contender(name, Owner::Others, &words)
    };
    vec![
        contender(FLOOR, Owner::Us, &[floor, root.as_os_str(), s("/bin/true")]),
        run(RUNTIME, Owner::Us, release.join("rabbitc-runtime").as_os_str()),
        run(CRUN, Owner::Others, s("crun")),
        run("runc run", Owner::Others, s("runc")),
        contender(RABBITC, Owner::Us, &[rabbitc.as_os_str(), &flag, s("--cmd=/bin/true")]),
        contender(
            "rabbitc --network none",
            Owner::Us,
            &[rabbitc.as_os_str(), s("run"), &flag, s("--network"), s("none"), s("--cmd=/bin/true")],
        ),
        podman(PODMAN, "--network=bridge"),
        podman("podman --network none", "--network=none"),
    ]
}

impl Contender {
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

    /// Shows that it works at all, and takes the two figures that need one run only.
    fn warm_up(&mut self, directory: &Path) -> Result<()> {
        let output = self.command().stderr(Stdio::piped()).output();
        match output {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                return self.fail(format!("{}: {}", output.status, said.trim_end()));
            }
            Err(error) => return self.fail(error.to_string()),
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
        if self.owner == Owner::Us {
            return Err(Failure::new(format!("{}: {why}", self.name)));
        }
        eprintln!("{}: {why}", self.name);
        self.failure = Some(why);
        Ok(())
    }
}

/// The first line that each stranger says about its version.
fn versions() -> Vec<String> {
    let version = |program: &&str| {
        let said = process::read(Command::new(program).arg("--version")).ok()?;
        said.lines().next().map(str::to_owned)
    };
    ["crun", "runc", "podman"].iter().filter_map(version).collect()
}

/// The calls column of strace's last line: `100.00    0.001234           3       412        20 total`.
fn total_calls(report: &str) -> Option<u64> {
    let line = report.lines().rev().find(|line| line.trim_end().ends_with("total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

fn milliseconds(times: &[Duration]) -> Vec<f64> {
    times.iter().map(|time| time.as_secs_f64() * 1000.0).collect()
}

/// The median over all rounds of what `one` took in a round, divided by what `other` took in that same round.
fn ratio(contenders: &[Contender], one: &Contender, other: &str) -> Option<f64> {
    let other = contenders.iter().find(|contender| contender.name == other && contender.failure.is_none())?;
    let pairs = one.times.iter().zip(&other.times);
    median(pairs.map(|(one, other)| one.as_secs_f64() / other.as_secs_f64()).collect())
}

fn render_json(contenders: &[Contender], rounds: usize, pause: Duration, versions: &[String]) -> Value {
    let row = |contender: &Contender| {
        let times = milliseconds(&contender.times);
        json!({
            "name": contender.name,
            "failure": contender.failure,
            "median_ms": median(times.clone()),
            "minimum_ms": times.iter().copied().min_by(f64::total_cmp),
            "ratio_to_floor": ratio(contenders, contender, FLOOR),
            "ratio_to_crun": ratio(contenders, contender, CRUN),
            "ratio_to_podman": ratio(contenders, contender, PODMAN),
            "syscalls": contender.syscalls,
            "peak_kilobytes": contender.peak_kilobytes,
        })
    };
    json!({ "rounds": rounds, "pause_ms": pause.as_millis() as u64, "versions": versions, "contenders": contenders.iter().map(row).collect::<Vec<_>>() })
}

fn print_table(contenders: &[Contender], rounds: usize, pause: Duration) {
    let pause = pause.as_millis();
    println!(
        "start of `/bin/true` in a container: {rounds} rounds in turn, {pause} ms pause before each start;"
    );
    println!("ratios are medians of paired runs\n");
    let heads = ["", "median ms", "min ms", "× floor", "× crun", "× podman", "syscalls", "peak MB"];
    println!(
        "| {:26} | {:>9} | {:>7} | {:>7} | {:>7} | {:>8} | {:>8} | {:>7} |",
        heads[0], heads[1], heads[2], heads[3], heads[4], heads[5], heads[6], heads[7]
    );
    println!(
        "|{}|{}|{}|{}|{}|{}|{}|{}|",
        "-".repeat(28),
        "-".repeat(11),
        "-".repeat(9),
        "-".repeat(9),
        "-".repeat(9),
        "-".repeat(10),
        "-".repeat(10),
        "-".repeat(9)
    );
    for contender in contenders {
        let times = milliseconds(&contender.times);
        let shown = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
        };
        println!(
            "| {:26} | {:>9} | {:>7} | {:>7} | {:>7} | {:>8} | {:>8} | {:>7} |",
            contender.name,
            shown(median(times.clone()), 2),
            shown(times.iter().copied().min_by(f64::total_cmp), 2),
            shown(ratio(contenders, contender, FLOOR), 2),
            shown(ratio(contenders, contender, CRUN), 2),
            shown(ratio(contenders, contender, PODMAN), 3),
            contender.syscalls.map_or_else(|| "–".to_owned(), |calls| calls.to_string()),
            shown(contender.peak_kilobytes.map(|kilobytes| kilobytes as f64 / 1024.0), 1),
        );
    }
    println!();
    for (name, other, goal) in [(RUNTIME, CRUN, 0.7), (RABBITC, PODMAN, 1.0 / 15.0)] {
        let Some(one) = contenders.iter().find(|contender| contender.name == name) else { continue };
        match ratio(contenders, one, other) {
            Some(reached) if reached <= goal => {
                println!("{name}: {reached:.3} of {other} (goal {goal:.3}): reached")
            }
            Some(reached) => println!("{name}: {reached:.3} of {other} (goal {goal:.3}): MISSED"),
            None => println!("{name}: nothing to compare with, {other} did not run"),
        }
    }
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
    fn median_of_even_count_is_between_the_middle_two() {
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }
}
