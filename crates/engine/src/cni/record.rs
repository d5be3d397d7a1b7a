//! What is kept of a container's attachment to a network of CNI plugins, and how they are told to make it and to take it
//! back.
//!
//! ```text
//! <base>/cni/<container>/                  flock: held for the container's life, and by each plugin that is running
//! <base>/cni/<container>/attachment.json   all that taking it back needs; written before the first plugin runs
//! <base>/cni/<container>/answer-0          what each plugin has answered, written by the plugin itself: so it is there also
//!                                          where nobody lives who could read it
//! ```

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::configuration::{Configuration, takes};
use super::outcome::Outcome;
use super::plugin::{self, Call, Command};
use crate::ErrorKind;
use crate::error::{Error, Result, from_network};

/// The file in the attachment's directory.
const FILE: &str = "attachment.json";

/// An attachment, made or about to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// The inode of the host's network namespace: interfaces and rules are there.
    pub(crate) host: u64,
    /// The network as it was: whoever changes its file changes nothing for those who are connected.
    pub(crate) configuration: Configuration,
    /// Where plugins are.
    pub(crate) directories: Vec<PathBuf>,
    /// The container's id.
    pub(crate) container: String,
    /// The interface inside.
    pub(crate) interface: String,
    /// The container's network namespace by its init, as plugins know it, and its inode.
    pub(crate) namespace: (String, u64),
    /// What is passed to the plugins that take it, by capability.
    pub(crate) capabilities: Map<String, Value>,
    /// What the last plugin that has answered said.
    #[serde(skip)]
    pub(crate) result: Option<Value>,
}

impl Record {
    /// Reads that of an attachment's directory; none where nothing was begun.
    pub(crate) fn read(directory: &Path) -> Result<Option<Record>> {
        let path = directory.join(FILE);
        match std::fs::read(&path) {
            Ok(text) => {
                let mut record: Record = serde_json::from_slice(&text).map_err(|error| {
                    crate::directories::damaged(
                        &path,
                        &error,
                        "remove its directory: what plugins made stays",
                    )
                })?;
                let answers = (0..record.configuration.plugins.len()).rev();
                record.result = answers.filter_map(|number| answer(directory, number)).next();
                Ok(Some(record))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::at_path("read", &path, error)),
        }
    }

    /// Writes it whole or not at all.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).expect("only string keys");
        runtime::state_dir::write_atomically(directory, FILE, &text)
    }

    /// Has each plugin add what is its part; each is given what the one before it has answered.
    pub(crate) fn add(&mut self, directory: &Path, lock: BorrowedFd<'_>) -> Result<Outcome> {
        let namespace = self.namespace.0.clone();
        for (number, plugin) in self.configuration.plugins.iter().enumerate() {
            let answer = answer_file(directory, number);
            let call = Call { answer: Some(&answer), ..self.call(Command::Add, &namespace, Some(lock)) };
            let answer = plugin::run(&call, &self.given(plugin, self.result.as_ref()))?;
            let wrong = |reason: String| {
                let kind = plugin.get("type").and_then(Value::as_str).unwrap_or_default();
                let name = &self.configuration.name;
                let operation = format!("read what plugin `{kind}` of the CNI network `{name}` has answered");
                Error::new(ErrorKind::System, operation, reason)
                    .with_hint("a plugin answers ADD with a result in the version of its list")
            };
            let answer: Value = serde_json::from_slice(&answer).map_err(|error| wrong(error.to_string()))?;
            Outcome::of(&answer).map_err(wrong)?;
            self.result = Some(answer);
        }
        Ok(self.outcome())
    }

    /// What the plugins have made.
    pub(crate) fn outcome(&self) -> Outcome {
        self.result.as_ref().and_then(|result| Outcome::of(result).ok()).unwrap_or_default()
    }

    /// Has each plugin take back its part, the last one first; all of them, whatever became of the others. What was never
    /// added is no error to them.
    pub(crate) fn delete(&self, lock: BorrowedFd<'_>) -> Vec<Error> {
        let stands = self.namespace_or_stand_in();
        let path = |descriptor: &OwnedFd| {
            use std::os::fd::AsRawFd;
            format!("/proc/{}/fd/{}", std::process::id(), descriptor.as_raw_fd())
        };
        let namespace = match &stands {
            Stands::Itself(descriptor) | Stands::StandIn(descriptor) => path(descriptor),
            Stands::Nothing => String::new(),
        };
        // The result is passed since 0.4.0.
        let result = self.result.as_ref().filter(|_| self.configuration.speaks("0.4.0"));
        let mut failures = Vec::new();
        for plugin in self.configuration.plugins.iter().rev() {
            let given = self.given(plugin, result);
            let run = |namespace: &str| {
                plugin::run(&self.call(Command::Del, namespace, Some(lock)), &given).map(drop)
            };
            let ended = run(&namespace).or_else(|error| match &stands {
                // One that can do nothing with it does without.
                Stands::StandIn(_) => run("").map_err(|_| error),
                _ => Err(error),
            });
            failures.extend(ended.err());
        }
        failures
    }

    /// Asks each plugin whether it can connect anything; those of before 1.1 can't say.
    pub(crate) fn ask_status(&self) -> Result<()> {
        if !self.configuration.speaks("1.1.0") {
            return Ok(());
        }
        let call = Call { container: "", interface: "", ..self.call(Command::Status, "", None) };
        let mut plugins = self.configuration.plugins.iter();
        plugins.try_for_each(|plugin| plugin::run(&call, &self.given(plugin, None)).map(drop))
    }

    fn call<'a>(&'a self, command: Command, namespace: &'a str, lock: Option<BorrowedFd<'a>>) -> Call<'a> {
        Call {
            command,
            network: &self.configuration.name,
            container: &self.container,
            interface: &self.interface,
            namespace,
            directories: &self.directories,
            answer: None,
            lock,
        }
    }

    /// A plugin's configuration as it is passed (section 4, "Deriving request configuration").
    fn given(&self, plugin: &Map<String, Value>, result: Option<&Value>) -> Map<String, Value> {
        let mut given = plugin.clone();
        given.remove("capabilities");
        given.insert("name".to_owned(), json!(self.configuration.name));
        given.insert("cniVersion".to_owned(), json!(self.configuration.version));
        let mut passed = self.capabilities.clone();
        passed.retain(|name, _| takes(plugin, name));
        if !passed.is_empty() {
            given.insert("runtimeConfig".to_owned(), Value::Object(passed));
        }
        if let Some(result) = result {
            given.insert("prevResult".to_owned(), result.clone());
        }
        given
    }

    /// The container's network namespace where this process still has it open, or one that looks as if it were: plugins
    /// read in it which rules of the host they have made.
    fn namespace_or_stand_in(&self) -> Stands {
        if let Some(descriptor) = open_here(self.namespace.1) {
            return Stands::Itself(descriptor);
        }
        let outcome = self.outcome();
        let addresses = outcome.addresses();
        let mut names: Vec<&str> = outcome.names().collect();
        if names.is_empty() {
            names.push(&self.interface);
        }
        let own = |name: &str| if name == self.interface { &addresses[..] } else { &[] };
        let interfaces: Vec<(&str, &[(IpAddr, u8)])> = names.iter().map(|name| (*name, own(name))).collect();
        // Best effort: without it, plugins are told that the namespace is gone.
        ::network::stand_in(&interfaces).map_err(from_network).map_or(Stands::Nothing, Stands::StandIn)
    }
}

fn answer_file(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("answer-{number}"))
}

/// What a plugin has answered, unless that is half written or tells of a failure.
fn answer(directory: &Path, number: usize) -> Option<Value> {
    let text = std::fs::read(answer_file(directory, number)).ok()?;
    let answer: Value = serde_json::from_slice(&text).ok()?;
    (answer.get("code").is_none() && Outcome::of(&answer).is_ok()).then_some(answer)
}

/// What stands where a container's network namespace was.
enum Stands {
    Itself(OwnedFd),
    StandIn(OwnedFd),
    Nothing,
}

/// A network namespace that this process has open.
fn open_here(inode: u64) -> Option<OwnedFd> {
    let wanted = format!("net:[{inode}]");
    for entry in std::fs::read_dir("/proc/self/fd").ok()?.flatten() {
        if std::fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()) {
            return std::fs::File::open(entry.path()).ok().map(OwnedFd::from);
        }
    }
    None
}

/// The inode of this thread's network namespace.
pub(crate) fn own_namespace() -> Result<u64> {
    let path = Path::new("/proc/thread-self/ns/net");
    let found = std::fs::metadata(path).map_err(|error| Error::at_path("look at", path, error))?;
    Ok(found.ino())
}

/// That of process `pid`, opened, and its inode.
pub(crate) fn namespace_of(pid: i32) -> Result<(OwnedFd, String, u64)> {
    let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
    let file = std::fs::File::open(&path).map_err(|error| Error::at_path("open", &path, error))?;
    let inode = file.metadata().map_err(|error| Error::at_path("look at", &path, error))?.ino();
    let descriptor = OwnedFd::from(file);
    debug_assert!(sys::namespace::kind(descriptor.as_fd()).is_ok());
    Ok((descriptor, path.display().to_string(), inode))
}
