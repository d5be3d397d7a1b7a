//! Programs that keep credentials, `docker-credential-NAME` (docker-credential-helpers): run with the caller's variables,
//! bounded in time and output, and killed as a group. Their output is never shown: it may hold a secret.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::json;

use super::file::DOCKER_KEY;
use super::{Credentials, variable};
use crate::error::{Error, Kind, Result};
use crate::reference::DOCKER_IO;

/// How long one may take: somebody may have to type a passphrase.
const LIMIT: Duration = Duration::from_secs(60);
/// The most bytes of an answer.
const MOST_BYTES: u64 = 64 << 10;
/// What such programs say when they have nothing; it is part of their protocol.
const NOT_FOUND: &str = "credentials not found in native keychain";

pub(super) struct CredentialProgram<'a> {
    path: PathBuf,
    environment: &'a [(OsString, OsString)],
    limit: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl<'a> CredentialProgram<'a> {
    /// Looks for it in the caller's `PATH`; `file` is who named it.
    pub(super) fn find(
        name: &str,
        file: &Path,
        environment: &'a [(OsString, OsString)],
    ) -> Result<CredentialProgram<'a>> {
        let operation = || format!("run the credential program that `{}` names", file.display());
        // It is a part of a file's name, and never a way to one.
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !name.bytes().all(legal) {
            let reason = format!("`{}` can't be the name of one", name.escape_debug());
            return Err(Error::new(Kind::Invalid, operation(), reason));
        }
        let program = format!("docker-credential-{name}");
        let places = variable(environment, "PATH").unwrap_or_default();
        let found = std::env::split_paths(places)
            .filter(|place| place.is_absolute())
            .map(|place| place.join(&program))
            .find(|path| path.is_file());
        match found {
            Some(path) => Ok(CredentialProgram { path, environment, limit: LIMIT }),
            None => {
                let error = Error::new(Kind::NotFound, operation(), format!("`{program}` is not in `PATH`"));
                Err(error.with_hint(format!(
                    "install it, or take `credsStore` or `credHelpers` out of `{}`",
                    file.display()
                )))
            }
        }
    }

    /// What it keeps for `registry`.
    pub(super) fn get(&self, registry: &str) -> Result<Option<Credentials>> {
        let (output, success) = self.run("get", key(registry).as_bytes())?;
        if !success {
            return match String::from_utf8_lossy(&output).trim() {
                said if said.eq_ignore_ascii_case(NOT_FOUND) => Ok(None),
                said => Err(self.error("get", Kind::Unauthorized, shown(said))),
            };
        }
        let answer: Answer = serde_json::from_slice(&output).map_err(|error| {
            let at = format!("its answer is none, at line {}, column {}", error.line(), error.column());
            self.error("get", Kind::Corrupt, at)
        })?;
        Ok(Some(match answer.username.as_str() {
            "<token>" => Credentials::IdentityToken(answer.secret),
            _ => Credentials::Password { username: answer.username, password: answer.secret },
        }))
    }

    /// Has it keep a name and a password.
    pub(super) fn store(&self, registry: &str, username: &str, password: &str) -> Result<()> {
        let entry = json!({ "ServerURL": key(registry), "Username": username, "Secret": password });
        self.succeed("store", entry.to_string().as_bytes())
    }

    /// Has it forget what it keeps.
    pub(super) fn erase(&self, registry: &str) -> Result<()> {
        self.succeed("erase", key(registry).as_bytes())
    }

    fn succeed(&self, verb: &str, input: &[u8]) -> Result<()> {
        match self.run(verb, input)? {
            (_, true) => Ok(()),
            (output, false) => {
                let said = shown(&String::from_utf8_lossy(&output));
                Err(self.error(verb, Kind::Unauthorized, said))
            }
        }
    }

    fn run(&self, verb: &str, input: &[u8]) -> Result<(Vec<u8>, bool)> {
        let mut command = Command::new(&self.path);
        command.arg(verb).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let failed = |error| Error::system(self.operation(verb), error);
        let mut child = command.spawn().map_err(failed)?;
        let mut stdin = child.stdin.take().expect("piped above");
        let stdout = child.stdout.take().expect("piped above");
        let (sender, receiver) = mpsc::channel();
        // A thread, as a program of the group may hold the pipe's other end for ever: it is then left to the end of ours.
        let input = input.to_vec();
        thread::spawn(move || {
            // Who does not read its input says so by its status.
            let _unread = stdin.write_all(&input);
            drop(stdin);
            let mut output = Vec::new();
            let read = stdout.take(MOST_BYTES + 1).read_to_end(&mut output);
            // Nobody waits after the limit.
            let _late = sender.send(read.map(|_| output));
        });
        let deadline = Instant::now() + self.limit;
        let output = receiver.recv_timeout(self.limit).ok();
        let status = match output {
            Some(_) => exited_until(&mut child, deadline),
            None => None,
        };
        let Some(status) = status else {
            // Best effort: it may be gone by now.
            let _gone = kill_process_group(Pid::from_child(&child), Signal::KILL);
            child.wait().map_err(failed)?;
            let reason = format!("it took longer than {} s and was killed", self.limit.as_secs());
            return Err(self.error(verb, Kind::TooMuch, reason));
        };
        let output = output.expect("there is a status only where there is an output").map_err(failed)?;
        if output.len() as u64 > MOST_BYTES {
            let reason = format!("it says more than {} KiB", MOST_BYTES >> 10);
            return Err(self.error(verb, Kind::TooMuch, reason));
        }
        Ok((output, status.success()))
    }

    /// With less time.
    #[cfg(test)]
    pub(super) fn within(self, limit: Duration) -> Self {
        CredentialProgram { limit, ..self }
    }

    fn operation(&self, verb: &str) -> String {
        format!("run `{} {verb}`", self.path.display())
    }

    fn error(&self, verb: &str, kind: Kind, reason: impl Into<String>) -> Error {
        Error::new(kind, self.operation(verb), reason)
    }
}

/// How it ended, if it did so in time.
fn exited_until(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            // An error is one of `wait` too, which the caller reports.
            Ok(None) | Err(_) => return None,
        }
    }
}

/// What such programs call a registry.
fn key(registry: &str) -> &str {
    if registry == DOCKER_IO { DOCKER_KEY } else { registry }
}

/// The words of one that failed, as much as fits a line.
fn shown(said: &str) -> String {
    let said: String = said.trim().chars().take(300).collect();
    match said.is_empty() {
        true => "it failed without a word".to_owned(),
        false => format!("it says `{}`", said.escape_debug()),
    }
}
