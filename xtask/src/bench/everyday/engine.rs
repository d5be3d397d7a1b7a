//! What is done with each engine, in its own words where they differ.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::contender::Owner;
use crate::bench::daemon::Daemon;
use crate::bench::engines;
use crate::process::{self, Failure, Naming, Result};

/// The image that all run.
pub const IMAGE: &str = "localhost/busybox:bench";

/// Who runs containers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Rabbitc,
    Podman,
    Docker,
}

/// Ours is the first.
pub const ENGINES: [Engine; 3] = [Engine::Rabbitc, Engine::Podman, Engine::Docker];

impl Engine {
    pub fn name(self) -> &'static str {
        match self {
            Engine::Rabbitc => "rabbitc",
            Engine::Podman => "podman",
            Engine::Docker => "docker",
        }
    }

    pub fn owner(self) -> Owner {
        match self {
            Engine::Rabbitc => Owner::Us,
            Engine::Podman | Engine::Docker => Owner::Others,
        }
    }

    /// The driver that writes a container's output into a file, without a limit to its size.
    fn logged(self) -> &'static [&'static str] {
        match self {
            Engine::Rabbitc => &["--log-driver=json-file", "--log-opt=max-size=-1"],
            Engine::Podman => &["--log-driver=k8s-file"],
            Engine::Docker => &["--log-driver=json-file"],
        }
    }

    /// What stands behind a container that runs: a piece of its command line, with spaces between the words.
    pub fn supervisor(self) -> &'static str {
        match self {
            Engine::Rabbitc => "rabbitc internal-monitor ",
            Engine::Podman => "conmon --api-version ",
            Engine::Docker => "containerd-shim-runc-v2 -namespace ",
        }
    }
}

/// An engine with a store of its own.
pub struct Installed {
    pub engine: Engine,
    place: PathBuf,
    _daemon: Option<Daemon>,
}

impl Installed {
    /// Starts what has to run, and loads the image from its archive.
    pub fn prepare(engine: Engine, place: &Path, archive: &Path) -> Result<Self> {
        let daemon = match engine {
            Engine::Docker => Some(engines::dockerd(place)?),
            Engine::Rabbitc | Engine::Podman => None,
        };
        let installed = Self { engine, place: place.to_owned(), _daemon: daemon };
        process::read(installed.command("load", &["--quiet", "--input"]).arg(archive))?;
        Ok(installed)
    }

    /// A command of it.
    fn command(&self, verb: &str, words: &[&str]) -> Command {
        let mut command = match self.engine {
            Engine::Rabbitc => engines::rabbitc(&[verb], &self.place.join("rabbitc")),
            Engine::Podman => engines::podman(&self.place.join("podman")),
            Engine::Docker => engines::docker(&self.place),
        };
        if self.engine != Engine::Rabbitc {
            command.arg(verb);
        }
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// How long a command takes. What it says goes into a file, for a pipe would stay open with a container.
    pub fn take(&self, verb: &str, words: &[&str]) -> Result<Duration> {
        let said = self.place.join(format!("{}.said", self.engine.name()));
        let file = std::fs::File::create(&said).naming(format_args!("create `{}`", said.display()))?;
        let mut command = self.command(verb, words);
        command.stderr(file);
        let started = Instant::now();
        let status = command.status().naming(format_args!("run `{}`", self.engine.name()))?;
        let taken = started.elapsed();
        if status.success() {
            return Ok(taken);
        }
        let said = std::fs::read_to_string(&said).unwrap_or_default();
        Err(Failure::new(format!("{} {verb}: {status}: {}", self.engine.name(), said.trim_end())))
    }

    /// `run --rm` of a program that does nothing.
    pub fn run(&self, network: &[&str]) -> Result<Duration> {
        let words = [&["--rm"], network, &[IMAGE, "true"]].concat();
        self.take("run", &words)
    }

    /// From the start of the first of `count` runs at once to the end of the last.
    pub fn run_at_once(&self, count: usize) -> Result<Duration> {
        let started = Instant::now();
        let start = |_| self.command("run", &["--rm", IMAGE, "true"]).spawn().naming("start one of many");
        let children = (0..count).map(start).collect::<Result<Vec<Child>>>()?;
        for mut child in children {
            let status = child.wait().naming("wait for one of many")?;
            if !status.success() {
                let name = self.engine.name();
                return Err(Failure::new(format!("{name}: one of {count} at once: {status}")));
            }
        }
        Ok(started.elapsed())
    }

    /// Starts one that waits, and ends as soon as it is told to.
    pub fn start_waiting(&self, name: &str) -> Result<Duration> {
        let script = "trap 'exit 0' TERM; sleep 100000 & wait";
        self.take("run", &["--detach", "--network=none", "--name", name, IMAGE, "sh", "-c", script])
    }

    pub fn remove(&self, name: &str) -> Result<Duration> {
        self.take("rm", &["--force", name])
    }

    /// A container that has written so many bytes, in lines of a hundred, and ended.
    pub fn write_log(&self, name: &str, bytes: usize) -> Result<()> {
        let script = format!("yes {} | head -c {bytes}", "x".repeat(99));
        let words = [
            &["--detach", "--network=none", "--name", name],
            self.engine.logged(),
            &[IMAGE, "sh", "-c", &script],
        ]
        .concat();
        self.take("run", &words)?;
        self.take("wait", &[name])?;
        let read = self.command("logs", &[name]).stdout(Stdio::piped()).output();
        let read = read.naming("read the log")?.stdout.len();
        if read == bytes {
            return Ok(());
        }
        Err(Failure::new(format!("{}: the log has {read} of {bytes} bytes", self.engine.name())))
    }
}
