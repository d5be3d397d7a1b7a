//! Runs other programs: as the caller, as root, with a deadline; prints nothing of itself but the stages that it is told.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Why a task could not be done: one sentence, with its object, and how to put it right where that is known.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
}

/// The outcome of a task.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure with a message in lower case, without a final period.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// The same failure with a remedy.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.message)?;
        match &self.hint {
            Some(hint) => write!(out, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Turns an input/output error into a failure that names operation and object.
pub trait Naming<T> {
    /// Prefixes the error with what was being done.
    fn naming(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Naming<T> for std::result::Result<T, E> {
    fn naming(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}

/// The top directory of the workspace.
pub fn workspace() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().expect("xtask lies inside the workspace").to_path_buf()
}

/// Where cargo puts what it builds.
pub fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => workspace().join(directory),
        None => workspace().join("target"),
    }
}

/// A `cargo` command in the workspace, of the same toolchain that runs this program.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

/// Is this process root?
pub fn is_root() -> bool {
    // /proc/self belongs to the effective user.
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// `program` as root: itself where the caller is root, else through sudo with the caller's environment.
pub fn as_root(program: impl AsRef<OsStr>) -> Command {
    // What only root runs lies in directories that a user's PATH may not have.
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    let mut command = if is_root() { Command::new("env") } else { Command::new("sudo") };
    if !is_root() {
        // sudo replaces PATH even with -E.
        command.args(["-E", "env"]);
    }
    let mut assignment = OsString::from("PATH=");
    assignment.push(path);
    command.arg(assignment).arg(program);
    command
}

/// Fails with a clear sentence where the caller is neither root nor has sudo.
pub fn require_root_or_sudo() -> Result<()> {
    if is_root() || find_program("sudo").is_some() {
        return Ok(());
    }
    Err(Failure::new("this needs root, and there is no `sudo`").hint("run it as root"))
}

/// Where `name` lies in PATH or in the system's sbin directories.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

/// A command as a person would type it: without cargo's toolchain path and without the environment for sudo.
pub fn typed(command: &Command) -> String {
    let all = std::iter::once(command.get_program()).chain(command.get_args());
    let mut words: Vec<String> = all.map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(path) = words.iter().position(|word| word.starts_with("PATH=")) {
        let kept = usize::from(words[0] == "sudo");
        words.drain(kept..=path);
    }
    if words[0].ends_with("/cargo") {
        "cargo".clone_into(&mut words[0]);
    }
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=/.,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    match word.split_once('=') {
        // `--cmd='/bin/sh -c ps'` reads better than a quote around everything.
        Some((flag, value)) if flag.starts_with("--") && flag.chars().all(plain) => {
            format!("{flag}='{}'", value.replace('\'', "'\\''"))
        }
        _ => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// Says on standard error what begins now and may take long: a line for each stage, in a pipe as on a terminal, as silence
/// there looks like a hang.
pub fn announce(stage: &str) {
    eprintln!("{stage}");
}

/// Runs with inherited output; a non-zero exit is a failure.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().naming(format_args!("run `{}`", typed(command)))?;
    if status.success() { Ok(()) } else { Err(ended(command, status)) }
}

/// Runs and returns standard output; a non-zero exit is a failure that carries standard error.
pub fn read(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("{}\n{}", ended(command, output.status), complaint.trim_end())))
}

/// Runs with no input and returns everything that came out.
pub fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().naming(format_args!("run `{}`", typed(command)))
}

/// Runs without input and output and says whether it succeeded within `limit`.
pub fn succeeds_within(command: &mut Command, limit: Duration) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    let end = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(50)),
            _ => break,
        }
    }
    // Best effort: it may have ended by itself in between.
    let _ = child.kill();
    let _ = child.wait();
    false
}

fn ended(command: &Command, status: ExitStatus) -> Failure {
    Failure::new(format!("`{}` ended with {status}", typed(command)))
}

/// A directory below the system's temporary one, removed with its content when dropped.
pub struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    /// Makes `rabbitc-<purpose>-<pid>`, for this user only.
    pub fn new(purpose: &str) -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("rabbitc-{purpose}-{}", std::process::id()));
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .naming(format_args!("create directory `{}`", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // What a container wrote belongs to root.
        let removed = as_root("rm").args(["-rf", "--one-file-system", "--"]).arg(&self.0).status();
        if !removed.is_ok_and(|status| status.success()) {
            eprintln!("warning: could not remove `{}`", self.0.display());
        }
    }
}
