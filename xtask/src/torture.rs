//! A gigabyte of numbered lines at full speed through each driver of logs: not a line may be lost or torn but for the oldest ones,
//! which a cap cuts off and which are counted, and a container is to be no slower than its pipe.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bench::table::{Table, figures, shown, words};
use crate::cgroup_view;
use crate::packages;
use crate::process::{self, Failure, Naming, Result, TemporaryDirectory};
use crate::rootfs;

/// Where nobody says how much.
const BYTES: u64 = 1 << 30;
/// How many bytes a line has, its line feed among them.
const LINE: usize = 64;
/// Each is measured so often; the quickest counts, as everything else on the machine only ever takes time.
const ROUNDS: usize = 3;

/// `cargo xtask torture`: prepares everything and runs [`inside`] in a private view of cgroups, mounts, processes and network.
pub fn command(options: &[OsString]) -> Result<()> {
    count(options)?;
    let own = std::env::current_exe().naming("find this program")?;
    packages::install(packages::SOAK)?;
    // As the caller, so that the target directory stays theirs.
    crate::build::build()?;
    if !process::is_root() {
        process::require_root_or_sudo()?;
        return process::run(process::as_root(own).arg("torture").args(options));
    }
    let directory = TemporaryDirectory::new("torture")?;
    rootfs::make(&directory.path().join("rootfs"), None)?;
    let mut arguments: Vec<&OsStr> = vec![OsStr::new("torture-inside")];
    arguments.extend(options.iter().map(OsString::as_os_str));
    let name = format!("rabbitc-torture-{}", std::process::id());
    let mut command = cgroup_view::command(&name, &own, &arguments);
    process::run(command.env("RABBITC_TORTURE_DIRECTORY", directory.path()))
}

/// How many lines are asked for.
fn count(options: &[OsString]) -> Result<u64> {
    let megabytes = match options {
        [] => return Ok(BYTES / LINE as u64),
        [flag, number] if flag == "--megabytes" => number.to_str().and_then(|text| text.parse::<u64>().ok()),
        _ => None,
    };
    let lines =
        megabytes.filter(|number| (1..=65_536).contains(number)).map(|number| (number << 20) / LINE as u64);
    lines.ok_or_else(|| {
        Failure::new("torture takes `--megabytes NUMBER`")
            .hint("from 1 to 65536, of each stream; 1024 without a word")
    })
}

/// A way for the output of a container.
struct Way {
    name: &'static str,
    flags: &'static [&'static str],
    /// What runs in it.
    script: &'static str,
    form: Form,
    /// How many times the lines are written.
    times: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Nothing is kept.
    Nothing,
    Json,
    Kubernetes,
    Journal,
}

const PLAIN: &str = "cat /data/lines";
const BOTH: &str = "cat /data/lines & cat /data/lines >&2; wait";
/// The same into pipes that somebody empties.
const PIPE: &str = "cat /data/lines | cat >/dev/null";
const PIPES: &str = "cat /data/lines | cat >/dev/null & cat /data/lines | cat >/dev/null; wait";

const WAYS: &[Way] = &[
    Way { name: "none", flags: &["--log-driver=none"], script: PLAIN, form: Form::Nothing, times: 1 },
    way("json-file", &["--log-driver=json-file", "--log-opt=max-size=-1"], PLAIN, Form::Json),
    way(
        "json-file, 3 × 10 MB",
        &["--log-driver=json-file", "--log-opt=max-size=10m", "--log-opt=max-file=3"],
        PLAIN,
        Form::Json,
    ),
    way("k8s-file", &["--log-driver=k8s-file", "--log-opt=max-size=-1"], PLAIN, Form::Kubernetes),
    way(
        "k8s-file, 3 × 10 MB",
        &["--log-driver=k8s-file", "--log-opt=max-size=10m", "--log-opt=max-file=3"],
        PLAIN,
        Form::Kubernetes,
    ),
    Way {
        name: "json-file, both streams",
        flags: &["--log-driver=json-file", "--log-opt=max-size=-1"],
        script: BOTH,
        form: Form::Json,
        times: 2,
    },
    way("journald", &["--log-driver=journald"], PLAIN, Form::Journal),
];

const fn way(name: &'static str, flags: &'static [&'static str], script: &'static str, form: Form) -> Way {
    Way { name, flags, script, form, times: 1 }
}

/// The containers themselves, in the private view.
pub fn inside(options: &[OsString]) -> Result<()> {
    let lines = count(options)?;
    let directory = std::env::var_os("RABBITC_TORTURE_DIRECTORY").map(PathBuf::from);
    let directory = directory.ok_or_else(|| Failure::new("`RABBITC_TORTURE_DIRECTORY` is not set"))?;
    process::run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"]))?;
    let torture = Torture { directory, lines };
    torture.write_lines()?;
    let table = Table::begin(
        const {
            &[
                words(24),
                figures("s", 7),
                figures("MB/s", 7),
                figures("× cat", 6),
                figures("lines kept", 11),
                figures("cut", 11),
                figures("lost", 9),
                figures("torn", 9),
            ]
        },
    );
    let pipe = torture.pipe(PIPE)?;
    let both = torture.pipe(PIPES)?;
    for (name, seconds, times) in [("cat >/dev/null", pipe, 1), ("cat, both streams", both, 2)] {
        table.row(torture.row(name, seconds, seconds, times, None));
    }
    let mut wrong = Vec::new();
    for way in WAYS {
        if way.form == Form::Journal && !Path::new("/run/systemd/journal/socket").exists() {
            println!("| {:<24} | no journal listens in this view", way.name);
            continue;
        }
        let (seconds, found) = torture.measure(way)?;
        let base = if way.times == 2 { both } else { pipe };
        table.row(torture.row(way.name, seconds, base, way.times, found.as_ref()));
        wrong.extend(found.filter(|found| found.lost + found.torn > 0).map(|_| way.name));
    }
    match torture.podman() {
        Ok(Some(seconds)) => table.row(torture.row("podman's k8s-file", seconds, pipe, 1, None)),
        Ok(None) => println!("podman is not installed: nothing to compare with"),
        // It is not what is tested.
        Err(failure) => println!("podman does not run here: {failure}"),
    }
    match wrong.as_slice() {
        [] => Ok(()),
        names => Err(Failure::new(format!("lines were lost or torn: {}", names.join("; ")))),
    }
}

/// What was found of the lines that a container wrote.
#[derive(Default)]
struct Found {
    kept: u64,
    /// The oldest ones, which the cap cut off.
    cut: u64,
    lost: u64,
    torn: u64,
}

struct Torture {
    directory: PathBuf,
    lines: u64,
}

impl Torture {
    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// What all of them write: each line its number, and text up to its length.
    fn write_lines(&self) -> Result<()> {
        let path = self.data().join("lines");
        std::fs::create_dir(self.data()).naming("make the directory of the lines")?;
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).naming("create the lines")?);
        let written = (0..self.lines).try_for_each(|number| file.write_all(&line(number)));
        written.and_then(|()| file.flush()).naming("write the lines")
    }

    fn row(&self, name: &str, seconds: f64, base: f64, times: u64, found: Option<&Found>) -> Vec<String> {
        let megabytes = (self.lines * times * LINE as u64) as f64 / 1e6;
        let number =
            |count: fn(&Found) -> u64| found.map_or_else(|| "–".to_owned(), |found| count(found).to_string());
        vec![
            name.to_owned(),
            shown(Some(seconds), 2),
            shown(Some(megabytes / seconds), 0),
            shown(Some(seconds / base), 2),
            number(|found| found.kept),
            number(|found| found.cut),
            number(|found| found.lost),
            number(|found| found.torn),
        ]
    }

    /// Seconds that a script takes in a container whose output goes through `cat` to nowhere: what a pipe takes.
    fn pipe(&self, script: &str) -> Result<f64> {
        let mut best = f64::MAX;
        for _ in 0..ROUNDS {
            self.run("rabbitc", &self.words(&["--rm", "--name=pipe", "--log-driver=none"], script))?;
            best = best.min(self.seconds()?);
        }
        Ok(best)
    }

    /// The quickest of some runs, and what was found after the worst.
    fn measure(&self, way: &Way) -> Result<(f64, Option<Found>)> {
        let (mut best, mut worst) = (f64::MAX, None::<Found>);
        for _ in 0..ROUNDS {
            let flags: Vec<&str> = [&["--name=tortured", "--detach"], way.flags].concat();
            self.run("rabbitc", &self.words(&flags, way.script))?;
            self.verb(&["wait", "tortured"])?;
            best = best.min(self.seconds()?);
            let found = match way.form {
                Form::Nothing => None,
                Form::Journal => Some(self.of_journal()?),
                form => Some(self.of_files(form, way.times)?),
            };
            if let Some(found) = found {
                let is_worse =
                    worst.as_ref().is_none_or(|worst| found.lost + found.torn > worst.lost + worst.torn);
                worst = if is_worse { Some(found) } else { worst };
            }
            self.verb(&["rm", "tortured"])?;
        }
        Ok((best, worst))
    }

    /// The container tells when its program began and ended by the clock of the kernel.
    fn words(&self, flags: &[&str], script: &str) -> Vec<String> {
        let clock = "read -r now rest </proc/uptime";
        let script = format!("{clock}; from=$now\n{script}\n{clock}; echo $from $now >/data/times");
        let fixed = ["--network=none".to_owned(), format!("--volume={}:/data", self.data().display())];
        let mut words = vec!["run".to_owned(), format!("--root={}", self.directory.join("store").display())];
        words.extend(flags.iter().map(|flag| (*flag).to_owned()));
        words.extend(fixed);
        words.push(format!("--rootfs={}", self.directory.join("rootfs").display()));
        words.extend(["/bin/sh", "-c", &script].map(str::to_owned));
        words
    }

    fn run(&self, program: &str, words: &[String]) -> Result<()> {
        let program = match program {
            "rabbitc" => process::target_directory().join("release/rabbitc"),
            other => PathBuf::from(other),
        };
        let mut command = Command::new(&program);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null());
        let ran = command.output().naming(format_args!("run {}", program.display()))?;
        if ran.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&ran.stderr);
        Err(Failure::new(format!("{}: {}: {}", program.display(), ran.status, said.trim_end())))
    }

    fn verb(&self, words: &[&str]) -> Result<()> {
        let root = format!("--root={}", self.directory.join("store").display());
        let all = [&words[..1], &[root.as_str()], &words[1..]].concat();
        self.run("rabbitc", &all.into_iter().map(str::to_owned).collect::<Vec<_>>())
    }

    fn seconds(&self) -> Result<f64> {
        let path = self.data().join("times");
        let text = std::fs::read_to_string(&path).naming("read the times")?;
        std::fs::remove_file(&path).naming("remove the times")?;
        let mut times = text.split_whitespace().filter_map(|time| time.parse::<f64>().ok());
        match (times.next(), times.next()) {
            (Some(from), Some(to)) => Ok((to - from).max(0.01)),
            _ => Err(Failure::new(format!("no times: {text}"))),
        }
    }

    fn of_files(&self, form: Form, times: u64) -> Result<Found> {
        let mut command = Command::new(process::target_directory().join("release/rabbitc"));
        let root = format!("--root={}", self.directory.join("store").display());
        let newest = process::read(command.args(["inspect", &root, "--format={{.LogPath}}", "tortured"]))?;
        let newest = newest.trim_end();
        let mut files: Vec<PathBuf> = (1..)
            .map(|number| PathBuf::from(format!("{newest}.{number}")))
            .take_while(|path| path.exists())
            .collect();
        files.reverse();
        files.push(PathBuf::from(newest));
        let mut check = Check::new(form, self.lines);
        for path in files {
            let mut reader = BufReader::with_capacity(1 << 20, File::open(&path).naming("open the log")?);
            let mut record = Vec::new();
            while reader.read_until(b'\n', &mut record).naming("read the log")? > 0 {
                check.record(&record);
                record.clear();
            }
        }
        Ok(check.finish(times))
    }

    /// By the journal itself.
    fn of_journal(&self) -> Result<Found> {
        let mut command = Command::new("journalctl");
        command.args(["--quiet", "--output=cat", "CONTAINER_NAME=tortured", "--boot"]);
        let text = process::read(&mut command)?;
        let mut check = Check::new(Form::Journal, self.lines);
        text.split_inclusive('\n').for_each(|record| check.record(record.as_bytes()));
        Ok(check.finish(1))
    }

    /// Seconds that podman takes for the same, where it is installed.
    fn podman(&self) -> Result<Option<f64>> {
        let Some(podman) = process::find_program("podman") else { return Ok(None) };
        let podman = podman.display().to_string();
        let place = |name: &str| self.directory.join(name).display().to_string();
        let mut best = f64::MAX;
        for _ in 0..ROUNDS {
            let mut words =
                vec![format!("--root={}", place("podman")), format!("--runroot={}", place("podman-run"))];
            words.extend(
                ["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none"]
                    .map(str::to_owned),
            );
            let log = format!("--log-opt=path={}", place("podman.log"));
            let flags = ["--rm", "--cgroups=disabled", "--log-driver=k8s-file", &log];
            let own = self.words(&flags, PLAIN);
            words.push(own[0].clone());
            // Its root is a flag, and the directory the first word behind them.
            words.extend(
                own[2..]
                    .iter()
                    .filter(|word| !word.starts_with("--rootfs="))
                    .take_while(|word| *word != "/bin/sh")
                    .cloned(),
            );
            words.extend(["--rootfs".to_owned(), place("rootfs")]);
            words.extend(own[own.len() - 3..].iter().cloned());
            self.run(&podman, &words)?;
            best = best.min(self.seconds()?);
            // Where it leaves one.
            let _ = std::fs::remove_file(place("podman.log"));
        }
        Ok(Some(best))
    }
}

/// The line of a number.
fn line(number: u64) -> [u8; LINE] {
    let mut line = [b'.'; LINE];
    let digits = format!("{number:012} the quick brown fox jumps over the lazy dog");
    line[..digits.len()].copy_from_slice(digits.as_bytes());
    line[LINE - 1] = b'\n';
    line
}

/// Looks at records one after the other.
struct Check {
    form: Form,
    lines: u64,
    /// By stream: the number of the line that comes next, once there was one, and how many there were.
    streams: [(Option<u64>, u64); 2],
    found: Found,
}

impl Check {
    fn new(form: Form, lines: u64) -> Self {
        Self { form, lines, streams: [(None, 0); 2], found: Found::default() }
    }

    fn record(&mut self, record: &[u8]) {
        let Some((stream, text)) = self.text(record) else {
            self.found.torn += 1;
            return;
        };
        let number = std::str::from_utf8(&text[..12]).ok().and_then(|digits| digits.parse::<u64>().ok());
        let Some(number) = number.filter(|number| line(*number)[..LINE - 1] == *text) else {
            self.found.torn += 1;
            return;
        };
        let (next, count) = &mut self.streams[stream];
        match *next {
            // The first that was kept.
            None => self.found.cut += number,
            // One that comes twice, or too early, stands in the place of others.
            Some(next) => self.found.lost += number.abs_diff(next),
        }
        (*next, *count) = (Some(number + 1), *count + 1);
        self.found.kept += 1;
    }

    /// Which stream it is of, and its text without the line feed; none where it is no record.
    fn text<'a>(&self, record: &'a [u8]) -> Option<(usize, &'a [u8])> {
        let record = record.strip_suffix(b"\n")?;
        let of = |name: &[u8]| match name {
            b"stdout" => Some(0),
            b"stderr" => Some(1),
            _ => None,
        };
        let (stream, text) = match self.form {
            Form::Json => {
                let rest = record.strip_prefix(b"{\"log\":\"")?;
                let (text, rest) = rest.split_at_checked(LINE - 1)?;
                let rest = rest.strip_prefix(b"\\n\",\"stream\":\"")?;
                let (name, rest) = rest.split_at_checked(6)?;
                let time = rest.strip_prefix(b"\",\"time\":\"")?.strip_suffix(b"Z\"}")?;
                (20..=29).contains(&time.len()).then_some((of(name)?, text))?
            }
            Form::Kubernetes => {
                let (time, rest) = record.split_at_checked(30)?;
                let (name, rest) = rest.strip_prefix(b" ")?.split_at_checked(6)?;
                (time.ends_with(b"Z")).then_some((of(name)?, rest.strip_prefix(b" F ")?))?
            }
            Form::Journal | Form::Nothing => (0, record),
        };
        (text.len() == LINE - 1).then_some((stream, text))
    }

    /// After the last record: what is missing at the end is lost.
    fn finish(mut self, times: u64) -> Found {
        let used = self.streams.iter().filter(|(next, _)| next.is_some()).count() as u64;
        for next in self.streams.iter().filter_map(|(next, _)| *next) {
            self.found.lost += self.lines.saturating_sub(next);
        }
        // A stream of which nothing at all is there.
        self.found.lost += times.saturating_sub(used) * self.lines;
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubernetes(number: u64) -> Vec<u8> {
        let time: &[u8] = b"2006-01-02T15:04:05.000000000Z stdout F ";
        [time, &line(number)].concat()
    }

    fn json(stream: &str, number: u64) -> Vec<u8> {
        let text = String::from_utf8(line(number).to_vec()).expect("text");
        let text = text.trim_end();
        format!("{{\"log\":\"{text}\\n\",\"stream\":\"{stream}\",\"time\":\"2006-01-02T15:04:05.5Z\"}}\n")
            .into_bytes()
    }

    fn checked(form: Form, times: u64, records: &[Vec<u8>]) -> (u64, u64, u64, u64) {
        let mut check = Check::new(form, 5);
        records.iter().for_each(|record| check.record(record));
        let Found { kept, cut, lost, torn } = check.finish(times);
        (kept, cut, lost, torn)
    }

    #[test]
    fn lines_that_are_lost_torn_or_cut_off_are_told_apart() {
        let all: Vec<Vec<u8>> = (0..5).map(kubernetes).collect();
        assert_eq!(checked(Form::Kubernetes, 1, &all), (5, 0, 0, 0));
        assert_eq!(checked(Form::Kubernetes, 1, &all[2..]), (3, 2, 0, 0));
        assert_eq!(checked(Form::Kubernetes, 1, &all[..4]), (4, 0, 1, 0));
        assert_eq!(checked(Form::Kubernetes, 1, &[&all[..1], &all[3..]].concat()), (3, 0, 2, 0));
        let torn = [&all[..4], &[all[4][..50].to_vec()]].concat();
        assert_eq!(checked(Form::Kubernetes, 1, &torn), (4, 0, 1, 1));
        assert_eq!(checked(Form::Kubernetes, 1, &[]), (0, 0, 5, 0));
        assert_eq!(checked(Form::Kubernetes, 2, &all), (5, 0, 5, 0));
        let both: Vec<Vec<u8>> =
            (0..5).flat_map(|number| [json("stdout", number), json("stderr", number)]).collect();
        assert_eq!(checked(Form::Json, 2, &both), (10, 0, 0, 0));
    }
}
