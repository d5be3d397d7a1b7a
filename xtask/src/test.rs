//! Runs every test: installs what they need, gives them root and the built binaries, counts what passed, failed and
//! was skipped, and looks for remains on the host.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::process::{self, Failure, Naming, Result};
use crate::remains::Snapshot;
use crate::tally::{Checked, Tally};
use crate::unpacked::{Origin, Unpacked, Unpacking};
use crate::{build, guest, packages};

/// `cargo xtask test [FILTER…]`: the exit status. With a filter, only `cargo test` runs, with that filter.
pub fn command(filters: &[OsString]) -> Result<u8> {
    let mut tally = Tally::default();
    run(filters, &mut tally)?;
    Ok(u8::from(!tally.close()))
}

/// Runs the tests and adds them to the count.
pub fn run(filters: &[OsString], tally: &mut Tally) -> Result<()> {
    packages::install(packages::TEST)?;
    process::require_root_or_sudo()?;
    let binaries = build::build()?;
    let server = build::build_static(&["rabbitc-fixtures"])?;
    // Built before the snapshot, so that a compile error is reported alone.
    process::announce("building the tests");
    process::run(process::cargo().args(["test", "--workspace", "--no-run", "--quiet"]))?;
    let before = Snapshot::take();
    let mut cargo = process::cargo();
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    cargo.env("RABBITC_BIN", &binaries.rabbitc);
    cargo.env("RABBITC_RUNTIME_BIN", &binaries.runtime);
    cargo.env("RABBITC_SERVER_BIN", &server[0]);
    tally.check("a root with servers of the distribution", || {
        Ok(match SERVERS.root()? {
            Unpacking::Done(root) => {
                cargo.env("RABBITC_SERVERS_ROOT", root);
                Checked::Held
            }
            Unpacking::Unavailable(why) => Checked::Skipped(why),
        })
    });
    let path = path(tally)?;
    if process::is_root() {
        cargo.env("PATH", path);
    } else {
        as_root(&mut cargo, path)?;
    }
    // The output of tests that passed is asked for because it says which of them skipped.
    cargo.args(["--"]).args(filters).arg("--show-output");
    process::announce("running the tests");
    tally.add(follow(&mut cargo)?);
    tally.check("no links, mounts, cgroups, rules, processes or state left behind", || {
        let remains = before.remains(Duration::from_secs(10));
        if remains.is_empty() {
            return Ok(Checked::Held);
        }
        Err(Failure::new(format!("left on the host:\n  {}", remains.join("\n  "))))
    });
    if filters.is_empty() {
        guest::suite(tally);
    }
    Ok(())
}

/// A root file system with real servers and their clients, with all that they need: nothing of it is installed, so no service
/// of the host's begins. The tests run containers on it.
const SERVERS: Unpacked = Unpacked {
    name: "servers",
    origin: Origin::Host,
    packages: &["base-files", "busybox-static", "dash", "nginx-light", "postgresql", "redis-server"],
    programs: &[],
};

/// PATH with the system's sbin directories, which a user's may not have, and with a criu that works on this kernel in
/// front, where the host's own does not. Without any, the tests of checkpoints skip and say why.
fn path(tally: &mut Tally) -> Result<OsString> {
    let mut directories: Vec<PathBuf> = Vec::new();
    tally.check("a criu that works on this kernel", || criu_directory(&mut directories));
    directories.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    directories.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    std::env::join_paths(directories).naming("put criu into PATH")
}

fn criu_directory(directories: &mut Vec<PathBuf>) -> Result<Checked> {
    const CRIU: Unpacked =
        Unpacked { name: "criu", origin: Origin::Newest, packages: &["criu"], programs: &["usr/sbin/criu"] };
    let check = |program: &Path| process::read(process::as_root(program).arg("check"));
    if process::find_program("criu").is_some_and(|program| check(&program).is_ok()) {
        return Ok(Checked::Held);
    }
    let directory = match CRIU.root()? {
        Unpacking::Done(root) => root.join("usr/sbin"),
        Unpacking::Unavailable(why) => return Ok(Checked::Skipped(why)),
    };
    if let Err(failure) = check(&directory.join("criu")) {
        return Ok(Checked::Skipped(failure.to_string()));
    }
    directories.push(directory);
    Ok(Checked::Held)
}

/// Has cargo run the tests as root with `path`: sudo replaces PATH even with -E.
fn as_root(cargo: &mut Command, path: OsString) -> Result<()> {
    let path =
        path.into_string().map_err(|path| Failure::new(format!("PATH is no UTF-8: {}", path.display())))?;
    // Not by the environment, where cargo splits the runner at spaces. JSON's strings and arrays are TOML's, too.
    let runner = json!(["sudo", "-E", "env", format!("PATH={path}")]);
    cargo.args(["--config", &format!("target.{}.runner={runner}", host()?)]);
    Ok(())
}

/// The host's triple.
fn host() -> Result<String> {
    let version = process::read(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure::new("rustc names no host"))
}

fn follow(cargo: &mut Command) -> Result<Tally> {
    let mut child = cargo.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().naming("run `cargo test`")?;
    let pipe = child.stdout.take().expect("standard output is piped");
    let mut reading = Reading::new(std::io::stdout().is_terminal());
    for line in BufReader::new(pipe).split(b'\n') {
        let line = line.naming("read from `cargo test`")?;
        if let Some(shown) = reading.line(&String::from_utf8_lossy(&line)) {
            println!("{shown}");
        }
    }
    let status = child.wait().naming("wait for `cargo test`")?;
    let mut tally = reading.tally;
    // A test binary that dies prints no result of its own.
    if !status.success() && tally.failed == 0 {
        println!("FAILED: `cargo test` ended with {status}, and no test says that it failed");
        tally.failed += 1;
    }
    Ok(tally)
}

/// Reads libtest's output line by line, and says what to show of it.
struct Reading {
    tally: Tally,
    section: Section,
    /// The test whose output is being read.
    test: String,
    /// Tests of the current binary that skipped.
    skipped: BTreeSet<String>,
    /// On a terminal each passed test is worth a line; in a pipe only what is out of the ordinary.
    every_test: bool,
}

#[derive(PartialEq, Eq)]
enum Section {
    Running,
    Successes,
    Failures,
}

impl Reading {
    fn new(every_test: bool) -> Self {
        Self {
            tally: Tally::default(),
            section: Section::Running,
            test: String::new(),
            skipped: BTreeSet::new(),
            every_test,
        }
    }

    fn line(&mut self, line: &str) -> Option<String> {
        let shown = || Some(line.to_owned());
        match line {
            "successes:" => {
                self.section = Section::Successes;
                return None;
            }
            "failures:" => {
                self.section = Section::Failures;
                return shown();
            }
            "running 0 tests" => return None,
            _ => {}
        }
        if let Some(result) = line.strip_prefix("test result: ") {
            self.finish(result);
            // Most binaries have no doc test: that is no news.
            return if result.starts_with("ok. 0 passed; 0 failed; 0 ignored") { None } else { shown() };
        }
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.split(' ').next()) {
            name.clone_into(&mut self.test);
        }
        match self.section {
            Section::Successes => {
                let why = line.trim_start().strip_prefix("skipped: ")?;
                let first = self.skipped.insert(self.test.clone());
                first.then(|| format!("skipped: {}: {why}", self.test))
            }
            Section::Failures => shown(),
            Section::Running if self.every_test || !line.ends_with("... ok") => {
                (!line.is_empty()).then(|| line.to_owned())
            }
            Section::Running => None,
        }
    }

    /// `ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
    fn finish(&mut self, result: &str) {
        let count = |what: &str| {
            let words: Vec<&str> = result.split([' ', ';']).filter(|word| !word.is_empty()).collect();
            let at = words.iter().position(|word| *word == what)?;
            words.get(at.checked_sub(1)?)?.parse::<usize>().ok()
        };
        let skipped = self.skipped.len();
        self.tally.passed += count("passed").unwrap_or(0).saturating_sub(skipped);
        self.tally.failed += count("failed").unwrap_or(0);
        self.tally.skipped += count("ignored").unwrap_or(0) + skipped;
        self.skipped.clear();
        self.section = Section::Running;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_test_is_counted_once_and_not_as_passed() {
        let mut reading = Reading::new(false);
        let text = "running 3 tests\ntest a ... ok\ntest b ... ok\ntest c ... ignored\n\nsuccesses:\n\n\
                    ---- a stdout ----\nskipped: needs root\nskipped: still needs root\n\n\nsuccesses:\n    a\n    b\n\n\
                    test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        let shown: Vec<String> = text.lines().filter_map(|line| reading.line(line)).collect();
        assert_eq!(reading.tally, Tally { passed: 1, failed: 0, skipped: 2 });
        assert!(shown.contains(&"skipped: a: needs root".to_owned()));
        assert!(!shown.contains(&"test a ... ok".to_owned()));
    }

    #[test]
    fn failures_of_every_binary_are_added() {
        let mut reading = Reading::new(true);
        for _ in 0..2 {
            reading.line("test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        }
        assert_eq!(reading.tally, Tally { passed: 8, failed: 2, skipped: 0 });
    }
}
