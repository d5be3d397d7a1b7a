//! Runs a plugin and reads what it says (CNI specification, section 2). Knows no container.

use std::ffi::CString;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use serde::Deserialize;
use serde_json::{Map, Value};
use sys::clone::{Child, CloneRequest};
use sys::exec::CStringArray;

use crate::ErrorKind;
use crate::error::{Error, Result};

/// How long one may take: some ask a server far away.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is asked of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// To connect a container.
    Add,
    /// To take back what it has made for one.
    Del,
    /// Whether it is able to connect containers (since 1.1).
    Status,
}

impl Command {
    fn name(self) -> &'static str {
        match self {
            Command::Add => "ADD",
            Command::Del => "DEL",
            Command::Status => "STATUS",
        }
    }
}

/// What a plugin is to know beside its configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) command: Command,
    /// The network's name, for messages.
    pub(crate) network: &'a str,
    /// The container's id; empty where none is concerned.
    pub(crate) container: &'a str,
    /// The interface inside; likewise.
    pub(crate) interface: &'a str,
    /// Where its network namespace is; empty where that is gone.
    pub(crate) namespace: &'a str,
    /// Where plugins are.
    pub(crate) directories: &'a [PathBuf],
    /// Where it writes what it answers; without one, nobody but us ever reads that.
    pub(crate) answer: Option<&'a Path>,
    /// A lock that the plugin keeps as long as it runs: if we are killed, nobody takes back what it is still making.
    pub(crate) lock: Option<BorrowedFd<'a>>,
}

/// Runs the plugin of a configuration, and returns what it has written.
pub(crate) fn run(call: &Call<'_>, configuration: &Map<String, Value>) -> Result<Vec<u8>> {
    let kind = configuration.get("type").and_then(Value::as_str).unwrap_or_default();
    let failed = |error: std::io::Error| Error::system(operation(call, kind), error);
    let program = super::configuration::program(kind, call.directories)
        .ok_or_else(|| Error::new(ErrorKind::NotFound, operation(call, kind), "there is no such plugin"))?;
    let file = |content: &[u8]| -> std::io::Result<std::fs::File> {
        let mut file = std::fs::File::from(rustix::fs::memfd_create(c"cni", MemfdFlags::CLOEXEC)?);
        file.write_all(content)?;
        file.rewind()?;
        Ok(file)
    };
    let input = file(&serde_json::to_vec(configuration).expect("only string keys")).map_err(failed)?;
    let output = match call.answer {
        Some(path) => {
            let mut options = std::fs::OpenOptions::new();
            options.read(true).write(true).create(true).truncate(true).open(path)
        }
        None => file(&[]),
    };
    let (output, said) = (output.map_err(failed)?, file(&[]).map_err(failed)?);
    let streams = Streams { input: input.as_fd(), output: output.as_fd(), said: said.as_fd() };
    let child = spawn(&program, &environment(call), &streams, call.lock).map_err(failed)?;
    let ended = wait(&child).map_err(failed)?;
    let (output, said) = (content(output).map_err(failed)?, content(said).map_err(failed)?);
    match ended {
        Ended::Well => Ok(output),
        Ended::Badly(how) => Err(refusal(operation(call, kind), &how, &output, &said)),
    }
}

fn operation(call: &Call<'_>, kind: &str) -> String {
    let verb = call.command.name();
    format!("connect by the CNI network `{}`: {verb} of plugin `{}`", call.network, kind.escape_debug())
}

fn environment(call: &Call<'_>) -> Vec<CString> {
    let directories: Vec<&[u8]> = call.directories.iter().map(|one| one.as_os_str().as_bytes()).collect();
    let mut environment = vec![
        b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_vec(),
        [b"CNI_PATH=".as_slice(), &directories.join(&b':')].concat(),
        b"CNI_ARGS=".to_vec(),
    ];
    for (name, value) in [
        ("COMMAND", call.command.name()),
        ("CONTAINERID", call.container),
        ("IFNAME", call.interface),
        ("NETNS", call.namespace),
    ] {
        environment.push(format!("CNI_{name}={value}").into_bytes());
    }
    environment.into_iter().filter_map(|entry| CString::new(entry).ok()).collect()
}

struct Streams<'a> {
    input: BorrowedFd<'a>,
    output: BorrowedFd<'a>,
    said: BorrowedFd<'a>,
}

fn spawn(
    program: &Path,
    environment: &[CString],
    streams: &Streams<'_>,
    lock: Option<BorrowedFd<'_>>,
) -> std::io::Result<Child> {
    let path = CString::new(program.as_os_str().as_bytes())?;
    let arguments = CStringArray::new(vec![path.clone()]);
    let environment = CStringArray::new(environment.to_vec());
    sys::clone::clone(&CloneRequest { flags: 0, cgroup: None }, &mut |_| {
        // Signals of the caller's terminal are for the container. It fails for group leaders alone, which a child is not.
        let _ = rustix::process::setsid();
        let placed = rustix::stdio::dup2_stdin(streams.input)
            .and_then(|()| rustix::stdio::dup2_stdout(streams.output))
            .and_then(|()| rustix::stdio::dup2_stderr(streams.said));
        if placed.is_err() || sys::fd::close_on_exec_from(3).is_err() {
            return 127;
        }
        if lock.is_some_and(|lock| sys::fd::keep_on_exec(lock.as_raw_fd()).is_err()) {
            return 127;
        }
        sys::signal::reset_dispositions();
        sys::signal::unblock_all();
        let error = sys::exec::execve(&path, &arguments, &environment, None);
        // On standard error there is nothing to be said without allocating; the number says why.
        error.raw_os_error().unwrap_or(127)
    })
}

enum Ended {
    Well,
    /// In words.
    Badly(String),
}

fn wait(child: &Child) -> std::io::Result<Ended> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut watched = [PollFd::from_borrowed_fd(child.pidfd.as_fd(), PollFlags::IN)];
        match poll(&mut watched, Some(&limit)) {
            Ok(0) => {
                let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
                reap(child)?;
                return Ok(Ended::Badly(format!(
                    "was killed as it took longer than {} s",
                    PATIENCE.as_secs()
                )));
            }
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(match reap(child)? {
        (Some(0), _) => Ended::Well,
        (Some(code), _) => Ended::Badly(format!("ended with {code}")),
        (None, signal) => Ended::Badly(format!("was killed by signal {}", signal.unwrap_or(0))),
    })
}

fn reap(child: &Child) -> std::io::Result<(Option<i32>, Option<i32>)> {
    loop {
        match waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(status) => {
                let status = status.as_ref();
                let code = status.and_then(|status| status.exit_status());
                return Ok((code, status.and_then(|status| status.terminating_signal())));
            }
        }
    }
}

fn content(mut file: std::fs::File) -> std::io::Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    // More than a result of thousands of addresses; nobody fills our memory.
    file.take(16 << 20).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a plugin writes when it fails (section 5, "Error").
#[derive(Debug, Deserialize)]
struct Refusal {
    code: u32,
    msg: String,
    #[serde(default)]
    details: String,
}

/// The plugin's own words, or what it said instead.
fn refusal(operation: String, how: &str, output: &[u8], said: &[u8]) -> Error {
    let plain = |text: &str| sys::plain(text.trim());
    if let Ok(Refusal { code, msg, details }) = serde_json::from_slice(output) {
        let details = match details.trim() {
            "" => String::new(),
            details => format!(" ({})", plain(details)),
        };
        let error =
            Error::new(ErrorKind::System, operation, format!("code {code}: {}{details}", plain(&msg)));
        return error.with_hint(remedy(code));
    }
    let said = String::from_utf8_lossy(if said.is_empty() { output } else { said });
    let said = said.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let said = if said.is_empty() { String::new() } else { format!(": {}", plain(said)) };
    let error = Error::new(ErrorKind::System, operation, format!("it {how}{said}"));
    error.with_hint("run it by hand with the same configuration to see more of it")
}

/// By the codes of section 5.
fn remedy(code: u32) -> &'static str {
    match code {
        1 => "the plugin does not speak the list's `cniVersion`: lower that, or take a newer plugin",
        2 => "leave the named field out of the list, or take a plugin that knows it",
        4 | 6 | 7 => "correct the list of this network",
        11 => "it may work in a moment: try again",
        50 | 51 => "the plugin can connect nothing now: see what it waits for",
        _ => "see what the plugin's documentation says of it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_plugin_come_with_its_code_and_its_details() {
        let said = br#"{"cniVersion": "1.0.0", "code": 7, "msg": "bad subnet", "details": "10.0.0.0/99"}"#;
        let error = refusal("connect".to_owned(), "ended with 1", said, b"noise");
        assert_eq!(error.to_string(), "connect: code 7: bad subnet (10.0.0.0/99)");
        assert!(error.hint.is_some_and(|hint| hint.contains("list")));
    }

    #[test]
    fn plugin_that_writes_no_json_is_quoted() {
        let error = refusal("connect".to_owned(), "ended with 2", b"", b"panic: oh\n  dear\x1b[2J\n\n");
        assert!(error.to_string().starts_with("connect: it ended with 2: dear"), "{error}");
        assert!(!error.to_string().contains('\u{1b}'));
        let error = refusal("connect".to_owned(), "was killed by signal 9", b"", b"");
        assert_eq!(error.to_string(), "connect: it was killed by signal 9");
    }
}
