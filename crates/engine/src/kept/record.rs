//! What is noted of a container that is kept.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use runtime::Signal;
use serde::{Deserialize, Serialize};

use super::{PASSING, RECORD, STOPPED, Shown, Stay};
use crate::directories::{Durability, read_record, write_record};
use crate::error::{Error, Result};
use crate::life::LifeOptions;
use crate::options::{RootOptions, RunOptions};

/// What a container is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum KeptRoot {
    /// An image.
    Image {
        /// As it was named.
        name: String,
        /// The store that it lies in.
        store: PathBuf,
        /// The digest of its manifest.
        manifest: String,
    },
    /// A directory below an overlay.
    Directory {
        /// Its path.
        path: PathBuf,
    },
    /// A directory that is written to directly.
    Bare {
        /// Its path.
        path: PathBuf,
    },
    /// The host's own root.
    Host,
}

impl KeptRoot {
    /// What a container of these options is of.
    pub(crate) fn of(root: &RootOptions) -> Result<KeptRoot> {
        let absolute =
            |path: &Path| std::path::absolute(path).map_err(|error| Error::at_path("find", path, error));
        Ok(match root {
            RootOptions::Host => KeptRoot::Host,
            RootOptions::Directory(path) => KeptRoot::Bare { path: absolute(path)? },
            RootOptions::Overlay(path) => KeptRoot::Directory { path: absolute(path)? },
            RootOptions::Image(image) => KeptRoot::Image {
                name: image.name.clone(),
                store: image.store.clone(),
                manifest: image.manifest.clone(),
            },
        })
    }
}

/// The record of one container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    /// Its name; those of before there were names have none.
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) root: KeptRoot,
    pub(crate) command: Vec<String>,
    /// Nanoseconds since 1970 at which it was made.
    pub(crate) created: u64,
    /// Mounts of the host's root that have upper directories of their own, in their order.
    pub(crate) submounts: Vec<PathBuf>,
    /// Where something was mounted, as absolute paths of the container: the mount points there are not the container's work.
    #[serde(default)]
    pub(crate) points: Vec<PathBuf>,
    /// Directories of the host's root that were hidden from it.
    #[serde(default)]
    pub(crate) hidden: Vec<PathBuf>,
    /// Its image's directories for data: what is in them is no change of the root.
    #[serde(default)]
    pub(crate) volumes: Vec<PathBuf>,
    /// Whether its volumes have what its image has in their places: that is done once.
    #[serde(default)]
    pub(crate) filled: bool,
    /// What only a listing shows.
    #[serde(default)]
    pub(crate) shown: Shown,
    /// What a start begins with; none where a container ends with the command that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<Box<Asked>>,
    /// Whether it stays after its end.
    #[serde(default)]
    pub(crate) stay: Stay,
    /// What a person wants to become of it.
    #[serde(default)]
    pub(crate) wish: Wish,
    /// Nanoseconds since 1970 at which it was started last.
    #[serde(default)]
    pub(crate) started: Option<u64>,
    /// How often it was started again by itself.
    #[serde(default)]
    pub(crate) restarts: u32,
    /// How many starts in a row did not last: the next pause goes by it.
    #[serde(default)]
    pub(crate) short_lives: u32,
    pub(crate) end: Option<End>,
    /// Signals that were sent to it since it was started last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sent: Vec<Sent>,
    /// The pod that it is of: this alone tells which containers a pod has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<PodMember>,
}

/// A container's place in a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodMember {
    /// The pod's id.
    pub id: String,
    /// What it is there for.
    #[serde(default)]
    pub role: PodRole,
}

/// What a container is in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PodRole {
    /// One that a person put there.
    #[default]
    Ordinary,
    /// The one that keeps what the others share.
    Infra,
}

/// A container as a person asked for it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Asked {
    pub(crate) options: RunOptions,
    pub(crate) life: LifeOptions,
}

/// What a person wants to become of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Wish {
    /// It runs as long as it wants to, and is started again as it was asked for.
    #[default]
    Run,
    /// It ends, and is not started again by itself.
    Stop,
    /// The same until the next boot.
    Rest,
    /// It ends, and who ends it starts it again, unless a person wants something else meanwhile.
    Again,
}

/// How it ended, or why it did not start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct End {
    /// None where nobody learned it.
    pub(crate) code: Option<i32>,
    /// Nanoseconds since 1970.
    pub(crate) at: u64,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<i32>,
    /// Whether it left a core.
    #[serde(default)]
    pub(crate) core_dumped: bool,
    /// Processes of it that the kernel killed for want of memory, and what it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<MemoryEnd>,
    /// Why it did not start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Bytes of its output that were not kept.
    #[serde(default)]
    pub(crate) lost_bytes: u64,
    /// Whether its time was up.
    #[serde(default)]
    pub(crate) time_was_up: bool,
    /// What else its monitor had to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) incidents: Vec<String>,
}

/// Memory ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MemoryEnd {
    /// How many processes the kernel killed.
    pub(crate) kills: u64,
    /// The limit in bytes.
    pub(crate) limit: Option<u64>,
    /// The most that was in use.
    pub(crate) peak: Option<u64>,
}

/// A signal that was sent by a verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sent {
    /// The verb.
    pub(crate) verb: String,
    /// The signal.
    pub(crate) signal: String,
    /// Nanoseconds since 1970.
    pub(crate) at: u64,
    /// The user who called it.
    pub(crate) user: u32,
}

/// How many of them are kept.
const MOST_SENT: usize = 8;

impl End {
    /// An end of now.
    pub(crate) fn now(code: Option<i32>) -> End {
        End {
            code,
            at: now(),
            signal: None,
            core_dumped: false,
            memory: None,
            error: None,
            lost_bytes: 0,
            time_was_up: false,
            incidents: Vec::new(),
        }
    }
}

impl Record {
    pub(crate) fn new(id: &str, root: KeptRoot, command: &[String]) -> Record {
        Record {
            id: id.to_owned(),
            name: String::new(),
            root,
            command: command.to_vec(),
            created: now(),
            submounts: Vec::new(),
            points: Vec::new(),
            hidden: Vec::new(),
            volumes: Vec::new(),
            filled: false,
            shown: Shown::default(),
            asked: None,
            stay: Stay::Kept,
            wish: Wish::Run,
            started: None,
            restarts: 0,
            short_lives: 0,
            end: None,
            sent: Vec::new(),
            pod: None,
        }
    }

    /// Whether it keeps what the containers of its pod share.
    pub(crate) fn is_infra(&self) -> bool {
        self.pod.as_ref().is_some_and(|pod| pod.role == PodRole::Infra)
    }

    /// Notes a signal that `verb` is about to send.
    pub(crate) fn note_sent(&mut self, verb: &str, signal: Signal) {
        if self.sent.len() >= MOST_SENT {
            self.sent.remove(0);
        }
        let user = rustix::process::getuid().as_raw();
        self.sent.push(Sent { verb: verb.to_owned(), signal: signal.to_string(), at: now(), user });
    }

    /// Reads that of the container of `directory`; none where there is none.
    pub(super) fn read(directory: &Path) -> Result<Option<Record>> {
        for name in [RECORD, PASSING] {
            if is_empty(&directory.join(name)) {
                continue;
            }
            let found: Option<Record> = read_record(
                &directory.join(name),
                "remove the directory that it is in, and with it what this container has changed",
            )?;
            if let Some(mut record) = found {
                if record.wish == Wish::Run && directory.join(STOPPED).exists() {
                    record.wish = Wish::Stop;
                }
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// What its file is called: one that goes with its command is known as such without being read.
    fn file_name(&self) -> &'static str {
        if self.asked.is_none() && self.stay == Stay::Removed { PASSING } else { RECORD }
    }

    /// Writes it whole or not at all; what is to outlive power comes onto the disk.
    pub(super) fn write(&self, directory: &Path, durability: Durability) -> Result<()> {
        write_record(&directory.join(self.file_name()), self, durability)
    }
}

/// Whether there is one of a container that is kept.
pub(super) fn is_there(directory: &Path) -> bool {
    let record = directory.join(RECORD);
    record.exists() && !is_empty(&record)
}

/// As a file is of which no more than the name came onto the disk before the power went: whoever asked for it had no answer yet.
fn is_empty(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.len() == 0)
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds since 1970, of nanoseconds.
pub(crate) fn seconds(nanoseconds: u64) -> u64 {
    nanoseconds / 1_000_000_000
}
