//! One directory for each container: what is intended and what was made, and the lock of whoever works on it.
//!
//! What is written here is never trusted over the kernel: see [`crate::lifecycle`].

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::spec::Hooks;

/// Version of the record's format; another one is refused, not guessed at.
const FORMAT: u32 = 1;

/// Prefix of directories in the making; no id can begin with it.
const UNFINISHED: &str = ",new-";

/// Prefix of directories for sockets of containers.
const NOTIFY: &str = ",notify-";

crate::read_as_object_and_written! { Record }

/// What is known of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Record {
    /// Version of this format.
    pub format: u32,
    /// `ociVersion` of its config.json.
    pub oci_version: String,
    /// Its id.
    pub id: String,
    /// Its bundle.
    pub bundle: PathBuf,
    /// Its configuration, where that is not the bundle's config.json.
    #[serde(default)]
    pub config: Option<PathBuf>,
    /// Its root file system.
    pub rootfs: PathBuf,
    /// Path of its cgroup below each hierarchy's root.
    #[serde(default)]
    pub cgroup_path: Option<String>,
    /// Which systemd made it as a scope, if one did: 0 for the host's, else the number of the user whose manager it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_manager: Option<u32>,
    /// Its group of resctrl, if it asked for one: written down before that is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdt: Option<crate::rdt::Membership>,
    /// Pid of its init process; 0 while there is none.
    pub pid: i32,
    /// Start time of that process in clock ticks after boot (proc_pid_stat(5)), as pids are used again.
    pub start_time: u64,
    /// Seconds since 1970 at which it was made.
    pub created: u64,
    /// Whether it goes with the process that holds its lock.
    pub dies_with_launcher: bool,
    /// In a mount namespace of others: the mount that its root was on before it was mounted there itself.
    #[serde(default)]
    pub shared_root: Option<u64>,
    /// The mount namespace that it joined, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined_mounts: Option<crate::shared_root::JoinedMounts>,
    /// Whether its processes are in a pid namespace of others, so that they outlive its init.
    #[serde(default)]
    pub shares_pids: bool,
    /// How many steps its start has, and the number of the one that waits for `start`: for messages.
    #[serde(default)]
    pub gate: Option<(usize, usize)>,
    /// Its annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Its hooks, for those that run later.
    #[serde(default)]
    pub hooks: Hooks,
    /// What a caller of this library keeps with it.
    #[serde(default)]
    pub caller: serde_json::Value,
}

/// The directory that holds all containers' directories.
#[derive(Debug, Clone)]
pub struct StateRoot {
    path: PathBuf,
}

impl StateRoot {
    /// Opens it; it is made, for its owner alone, when something is reserved in it.
    pub fn new(path: impl Into<PathBuf>) -> StateRoot {
        StateRoot { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the container's directory is or would be.
    pub fn directory(&self, id: &ContainerId) -> PathBuf {
        self.path.join(id.as_str())
    }

    /// A directory beside it for a socket of the container's, which goes with it. Whoever starts the container makes it.
    pub fn notify_directory(&self, id: &ContainerId) -> PathBuf {
        self.path.join(format!("{NOTIFY}{id}"))
    }

    /// The ids that are reserved, sorted.
    pub fn list(&self) -> Result<Vec<ContainerId>> {
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(closed(Error::at_path("list", &self.path, error))),
        };
        let mut ids: Vec<ContainerId> =
            entries.filter_map(|entry| ContainerId::parse(entry.ok()?.file_name().to_str()?).ok()).collect();
        ids.sort();
        Ok(ids)
    }

    /// Reserves `record.id`: its directory appears at once, complete and locked.
    pub fn reserve(&self, record: &Record) -> Result<StateDir> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(|error| closed(Error::at_path("make the state directory", &self.path, error)))?;
        let id = ContainerId::parse(&record.id)?;
        let unfinished = self.path.join(unfinished_name());
        let made = std::fs::DirBuilder::new().mode(0o700).create(&unfinished);
        made.map_err(|error| closed(Error::at_path("make the state directory", &unfinished, error)))?;
        let result = self.fill_and_publish(&unfinished, &id, record);
        if result.is_err() {
            // Best effort: a sweep removes what is left.
            let _ = std::fs::remove_dir_all(&unfinished);
        }
        result
    }

    fn fill_and_publish(&self, unfinished: &Path, id: &ContainerId, record: &Record) -> Result<StateDir> {
        let lock = open_directory(unfinished)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| Error::at_path("lock", unfinished, error))?;
        let mut directory = StateDir { path: unfinished.to_owned(), descriptor: lock };
        directory.write(record)?;
        let path = self.directory(id);
        match rustix::fs::renameat_with(
            rustix::fs::CWD,
            unfinished,
            rustix::fs::CWD,
            &path,
            RenameFlags::NOREPLACE,
        ) {
            Ok(()) => {
                directory.path = path;
                Ok(directory)
            }
            Err(Errno::EXIST) => {
                let hint = format!("choose another name, or `delete {id}` first");
                let operation = format!("reserve the id `{id}`");
                Err(Error::new(ErrorKind::AlreadyExists, operation, "a container of this name exists")
                    .with_hint(hint))
            }
            Err(error) => Err(Error::at_path("make", &path, error)),
        }
    }

    /// Opens the directory of `id` and takes its lock if `lock` says so.
    pub fn open(&self, id: &ContainerId, lock: Lock) -> Result<StateDir> {
        loop {
            let directory = self.open_once(id, lock)?;
            // Whoever held the lock may have removed it, and another container of this id may be there by now.
            if lock == Lock::No || directory.is_current() {
                return Ok(directory);
            }
        }
    }

    fn open_once(&self, id: &ContainerId, lock: Lock) -> Result<StateDir> {
        let path = self.directory(id);
        let descriptor = match open_directory(&path) {
            Err(error) if error.errno == Some(crate::error::libc_errno::ENOENT) => {
                let operation = format!("find the container `{id}`");
                let reason = format!("container does not exist in `{}`", self.path.display());
                return Err(Error::new(ErrorKind::NotFound, operation, reason));
            }
            other => other.map_err(closed)?,
        };
        if lock == Lock::Wait {
            crate::sync::retry(|| flock(&descriptor, FlockOperation::LockExclusive))
                .map_err(|error| Error::at_path("lock", &path, error))?;
        }
        Ok(StateDir { path, descriptor })
    }

    /// Removes directories that were never published, and whose maker is gone.
    pub fn sweep_unfinished(&self) {
        let Ok(entries) = std::fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if !name.to_string_lossy().starts_with(UNFINISHED) {
                continue;
            }
            // Its maker takes the lock just after it made the directory: before that, only its pid and the time tell.
            if may_be_in_the_making(&entry.path(), &name.to_string_lossy()) {
                continue;
            }
            if let Ok(directory) = open_directory(&entry.path())
                && flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok()
            {
                // Best effort by name: the next sweep comes by again.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Says to a user who may not use the place of the state how to have another one.
fn closed(error: Error) -> Error {
    if error.kind != ErrorKind::Permission || Caller::find() == Caller::Root {
        return error;
    }
    error.with_way_around(
        "set XDG_RUNTIME_DIR to a directory of your own, as a login does, or name another one with `--root`",
    )
}

/// A name of this process for a directory that is no container's yet, or no longer.
fn unfinished_name() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("{UNFINISHED}{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Whether the process that the name tells of may be about to lock it: it lives, and the directory is young.
fn may_be_in_the_making(path: &Path, name: &str) -> bool {
    let maker = name.strip_prefix(UNFINISHED).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
    let lives = maker.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists());
    let age = std::fs::metadata(path).ok().and_then(|metadata| metadata.modified().ok()?.elapsed().ok());
    lives && age.is_some_and(|age| age.as_secs() < 10)
}

/// Whether to wait for the lock of a container's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Only look.
    No,
    /// Wait until nobody else works on it.
    Wait,
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| Error::at_path("open", path, error))
}

/// One container's directory.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl StateDir {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its descriptor, which has the lock if this has: held as long as any copy of it is open.
    pub fn into_lock(self) -> OwnedFd {
        self.descriptor
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Whether what was opened is what the path leads to.
    fn is_current(&self) -> bool {
        match (rustix::fs::fstat(&self.descriptor), rustix::fs::stat(&self.path)) {
            (Ok(opened), Ok(found)) => (opened.st_dev, opened.st_ino) == (found.st_dev, found.st_ino),
            _ => false,
        }
    }

    /// Takes the lock if nobody holds it, and the id has not become another container's since this was opened.
    pub fn try_lock(&self) -> bool {
        flock(&self.descriptor, FlockOperation::NonBlockingLockExclusive).is_ok() && self.is_current()
    }

    /// Whether somebody else holds the lock.
    pub fn is_locked_by_another(&self) -> bool {
        let Ok(other) = open_directory(&self.path) else { return false };
        match flock(&other, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // Best effort: it goes with the descriptor anyway.
                let _ = flock(&other, FlockOperation::Unlock);
                false
            }
            Err(_) => true,
        }
    }

    /// Reads the record; an empty, cut or foreign one is refused.
    pub fn read(&self) -> Result<Record> {
        let path = self.path.join(name(RECORD));
        let record: Record = crate::bundle::read_json(&path).map_err(|error| {
            error.with_hint("`delete --force` removes a container whose state can't be read")
        })?;
        if record.format != FORMAT {
            let reason = format!("format {} is not known to this version", record.format);
            return Err(Error::new(ErrorKind::Unsupported, format!("read `{}`", path.display()), reason));
        }
        Ok(record)
    }

    /// Writes the record: the old one or the new one is there, never half of one. Not synced, as what it tells of
    /// ends with the power too.
    pub fn write(&mut self, record: &Record) -> Result<()> {
        self.draft(record)?;
        self.publish()
    }

    /// Writes the record beside the one that counts, until it is published.
    pub(crate) fn draft(&mut self, record: &Record) -> Result<()> {
        let record = Record { format: FORMAT, ..record.clone() };
        let text = serde_json::to_vec(&record).expect("a record has only string keys");
        let path = self.path.join(name(DRAFT));
        let write = || -> std::io::Result<()> { create_file(&path)?.write_all(&text) };
        write().map_err(|error| Error::at_path("write", &path, error))
    }

    /// Puts the record that was drafted in the place of the old one.
    pub(crate) fn publish(&mut self) -> Result<()> {
        let path = self.path.join(name(RECORD));
        std::fs::rename(self.path.join(name(DRAFT)), &path)
            .map_err(|error| Error::at_path("write", &path, error))
    }

    /// The directory for init, which publishes the record there; without the lock, which would be held with it.
    pub(crate) fn without_lock(&self) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.descriptor, c".", flags, Mode::empty())
            .map_err(|error| Error::at_path("open", &self.path, error))
    }

    /// The address of the start gate, short whatever the directory's path: through its descriptor.
    pub(crate) fn gate_address(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/gate", self.descriptor.as_raw_fd()))
    }

    /// Whether there is a start gate.
    pub(crate) fn has_gate(&self) -> bool {
        self.path.join("gate").exists()
    }

    /// Takes the gate away: the container has started.
    pub(crate) fn remove_gate(&self) -> Result<()> {
        let path = self.path.join("gate");
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::at_path("remove", &path, error))
            }
            _ => Ok(()),
        }
    }

    /// Removes the directory; the id is free at once.
    pub fn remove(self) -> Result<()> {
        // Killed half way, a directory without its record would hold the id for ever: under this name it is swept.
        if let Some(name) = self.path.file_name() {
            // Most have none.
            let _ = std::fs::remove_dir_all(
                self.path.with_file_name(format!("{NOTIFY}{}", name.to_string_lossy())),
            );
        }
        let gone = self.path.with_file_name(unfinished_name());
        let gone = if std::fs::rename(&self.path, &gone).is_ok() { &gone } else { &self.path };
        // Mostly there is nothing but the record; then nothing needs to be listed.
        let _ = rustix::fs::unlinkat(&self.descriptor, RECORD, AtFlags::empty());
        if std::fs::remove_dir(gone).is_ok() {
            return Ok(());
        }
        match std::fs::remove_dir_all(gone) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::at_path("remove the state directory", &self.path, error))
            }
            _ => Ok(()),
        }
    }
}

pub(crate) const RECORD: &CStr = c"state.json";

/// The record that will take its place; who has the directory's lock writes it.
pub(crate) const DRAFT: &CStr = c"state.json,next";

/// As a path.
fn name(of: &CStr) -> &OsStr {
    OsStr::from_bytes(of.to_bytes())
}

/// What a file is called until it is whole.
fn unfinished(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}{UNFINISHED}{}", std::process::id()))
}

fn create_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Writes a file so that either its old or its new content is there.
pub fn write_atomically(directory: &Path, name: &str, content: &[u8]) -> Result<()> {
    let unfinished = unfinished(directory, name);
    let path = directory.join(name);
    let write = || -> std::io::Result<()> {
        // Never through what lies there, which in a directory of others may be a link: one of ours is left of a process that
        // had this number and was killed.
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(content)?;
        std::fs::rename(&unfinished, &path)
    };
    write().map_err(|error| {
        // Best effort: the error that matters is the one at hand.
        let _ = std::fs::remove_file(&unfinished);
        Error::at_path("write", &path, error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("rabbitc-state-{name}-{}", std::process::id()))
    }

    fn record(id: &str) -> Record {
        Record { id: id.to_owned(), ..Record::default() }
    }

    #[test]
    fn reserved_id_is_refused_until_it_is_removed() {
        let root = StateRoot::new(scratch("twice"));
        let first = root.reserve(&record("one")).expect("free");
        let error = root.reserve(&record("one")).expect_err("taken");
        assert_eq!(error.kind, ErrorKind::AlreadyExists);
        first.remove().expect("removed");
        root.reserve(&record("one")).expect("free again").remove().expect("removed");
        std::fs::remove_dir(root.path()).expect("nothing else was left in it");
    }

    #[test]
    fn cut_record_is_an_error_that_names_the_file() {
        let root = StateRoot::new(scratch("cut"));
        let directory = root.reserve(&record("one")).expect("free");
        std::fs::write(directory.path().join("state.json"), b"{\"format\":").expect("written");
        let error = directory.read().expect_err("cut");
        assert!(error.to_string().contains("state.json"), "{error}");
        directory.remove().expect("removed");
        std::fs::remove_dir(root.path()).expect("empty");
    }
}
