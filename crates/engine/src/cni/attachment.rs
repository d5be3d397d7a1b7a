//! A container's place in a network of CNI plugins, from before they run until they have taken all of it back, whatever
//! ends us meanwhile.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use super::Plan;
use super::record::{Record, namespace_of, own_namespace};
use crate::error::{Error, Result};
use crate::own_files;
use crate::paths::EnginePaths;

/// An attachment that this process answers for. Dropped, it is taken back.
#[derive(Debug)]
pub(crate) struct Attachment {
    record: Record,
    directory: PathBuf,
    /// None once it is somebody else's.
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    lock: OwnedFd,
    /// Kept open: plugins look into it when they take back what they made, and its processes are gone by then.
    namespace: OwnedFd,
}

impl Attachment {
    /// Has the plugins connect the container whose init is `pid`; `files` is where its own files are.
    pub(crate) fn make(paths: &EnginePaths, plan: &Plan, pid: i32, files: &Path) -> Result<Attachment> {
        let (namespace, path, inode) = namespace_of(pid)?;
        let mut record = plan.record.clone();
        record.host = own_namespace()?;
        record.namespace = (path, inode);
        let (directory, lock) = reserve(paths, &record.container)?;
        record.write(&directory)?;
        let held = Some(Held { lock, namespace });
        let mut attachment = Attachment { record, directory, held };
        if let Err(mut error) = attachment.add(plan, files) {
            // Also what the failed one has made (section 3, "ADD"): a plugin takes back nothing by itself.
            error.rollback.extend(attachment.take_back());
            return Err(error);
        }
        Ok(attachment)
    }

    fn add(&mut self, plan: &Plan, files: &Path) -> Result<()> {
        let held = self.held.as_ref().expect("it was just made");
        let outcome = self.record.add(&self.directory, held.lock.as_fd())?;
        let addresses: Vec<IpAddr> = outcome.addresses().into_iter().map(|(address, _)| address).collect();
        own_files::rewrite(files, &plan.options, &addresses, outcome.gateway(), &outcome.dns)
    }

    /// Has them take it back. What could not be is left to the next command.
    pub(crate) fn end(mut self) -> Vec<Error> {
        self.take_back()
    }

    /// Leaves it to the descriptors that come back, and to the container's record.
    pub(crate) fn entrust(mut self) -> Vec<OwnedFd> {
        self.held.take().into_iter().flat_map(|held| [held.lock, held.namespace]).collect()
    }

    /// Leaves it to processes that could not be ended, as long as there is a record of their container.
    pub(crate) fn leave(mut self) {
        drop(self.held.take());
    }

    fn take_back(&mut self) -> Vec<Error> {
        let Some(held) = self.held.take() else { return Vec::new() };
        let mut failures = self.record.delete(held.lock.as_fd());
        if failures.is_empty() {
            failures.extend(remove(&self.directory).err());
        }
        failures
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // Best effort on the way out of an error: what is left is the next command's.
        let _ = self.take_back();
    }
}

/// Makes the directory of a container's attachment, and locks it.
fn reserve(paths: &EnginePaths, container: &str) -> Result<(PathBuf, OwnedFd)> {
    let directory = paths.cni().join(container);
    loop {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(|error| Error::at_path("make", &directory, error))?;
        // A sweep may just remove it, as nobody has locked it.
        if let Some(lock) = lock(&directory)? {
            return Ok((directory, lock));
        }
    }
}

/// Locks a directory; none where somebody has it, or it is gone.
fn lock(directory: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let descriptor = match rustix::fs::open(directory, flags, Mode::empty()) {
        Ok(descriptor) => descriptor,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(Error::at_path("open", directory, error)),
    };
    match rustix::io::retry_on_intr(|| flock(&descriptor, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(Error::at_path("lock", directory, error)),
    }
    let found =
        rustix::fs::fstat(&descriptor).map_err(|error| Error::at_path("look at", directory, error))?;
    // Whoever removed it had the lock.
    let is_there = std::fs::metadata(directory).is_ok_and(|there| there.ino() == found.st_ino);
    Ok(is_there.then_some(descriptor))
}

fn remove(directory: &Path) -> Result<()> {
    std::fs::remove_dir_all(directory).map_err(|error| Error::at_path("remove", directory, error))
}

/// Has plugins take back what belongs to no container any more, of this network namespace and of those that are gone.
pub(crate) fn sweep(paths: &EnginePaths, failed: &mut dyn FnMut(Error)) {
    let all = paths.cni();
    let Ok(entries) = std::fs::read_dir(&all) else { return };
    for entry in entries.flatten() {
        if let Err(errors) = sweep_one(paths, &entry.path()) {
            errors.into_iter().for_each(&mut *failed);
        }
    }
    // Where it is empty: nobody has any.
    let _ = std::fs::remove_dir(&all);
}

fn sweep_one(paths: &EnginePaths, directory: &Path) -> std::result::Result<(), Vec<Error>> {
    let one = |error| vec![error];
    let Some(lock) = lock(directory).map_err(one)? else { return Ok(()) };
    let name = directory.file_name().unwrap_or_default();
    // As long as it has a record, something of the container may run.
    if paths.containers().join(name).exists() {
        return Ok(());
    }
    if let Some(record) = Record::read(directory).map_err(one)? {
        if record.host != own_namespace().map_err(one)? && lives(record.host) {
            return Ok(());
        }
        let failures = record.delete(lock.as_fd());
        if !failures.is_empty() {
            return Err(failures);
        }
    }
    remove(directory).map_err(one)
}

/// Whether somebody is in this network namespace; where that can't be seen, somebody may be.
fn lives(namespace: u64) -> bool {
    let found = sys::namespace::in_use("net");
    found.map_or(true, |found| found.files.iter().any(|(_, inode)| *inode == namespace))
}
