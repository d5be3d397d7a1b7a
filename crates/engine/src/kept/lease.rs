//! The directory of a container that this process makes, starts or ends: it has its lock.

use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime::ErrorKind;
use rustix::fs::FlockOperation;

use super::{Durability, End, KeptContainers, Record, Stay, lock_soon, remove_record, remove_tree};
use crate::directories::{Lock, lock};
use crate::error::{Error, Result};
use crate::events::{Subject, VolumesOf};
use crate::secret_store::Copies;

/// The directory of a container that this process runs. Dropped before the container has started, it is gone.
#[derive(Debug)]
pub(crate) struct Lease {
    containers: KeptContainers,
    directory: PathBuf,
    record: Record,
    standing: Standing,
    /// Locked.
    lock: File,
}

/// A container that has run so long has come up: the next pause before a start of its own is the shortest again.
const LASTING: Duration = Duration::from_secs(10);

/// What becomes of a container's directory where its start fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It goes.
    New,
    /// It stays.
    Settled,
}

impl KeptContainers {
    /// Makes the directory of a container, with the name that `record` wants, or any; and removes what commands that were killed
    /// have left. Before [`KeptContainers::outlive_power`] it outlives no more than this process.
    pub(crate) fn begin(&self, record: Record) -> Result<Lease> {
        self.begin_with(record, &Copies::default())
    }

    /// The same with copies of its secrets.
    pub(crate) fn begin_with(&self, record: Record, secrets: &Copies) -> Result<Lease> {
        let make = |path: &Path| {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|error| Error::at_path("make", path, error))
        };
        make(&self.path)?;
        self.sweep()?;
        let directory = self.path.join(&record.id);
        let lock = loop {
            make(&directory)?;
            // Nobody else knows the id; but a sweep may find an empty directory, and remove it.
            if let Lock::Held(lock) = lock(&directory, FlockOperation::NonBlockingLockExclusive)? {
                break lock;
            }
        };
        let mut lease = Lease { containers: self.clone(), directory, record, standing: Standing::New, lock };
        let Record { id, name, .. } = &lease.record;
        lease.record.name = self.claim_name(id, Some(name.as_str()).filter(|name| !name.is_empty()))?;
        if !secrets.is_empty() {
            secrets.write(&lease.directory, Durability::Process)?;
        }
        lease.record.write(&lease.directory, Durability::Process)?;
        Ok(lease)
    }

    /// Takes hold of a container that is there and behind which nobody stands; none where somebody does.
    pub(crate) fn resume(&self, id: &str) -> Result<Option<Lease>> {
        let directory = self.path.join(id);
        let gone = || {
            Error::new(ErrorKind::NotFound, format!("find the container `{id}`"), "it has just been removed")
        };
        let lock = match lock_soon(&directory)? {
            Lock::Held(lock) => lock,
            Lock::Busy => return Ok(None),
            Lock::Gone => return Err(gone()),
        };
        let record = Record::read(&directory)?.ok_or_else(gone)?;
        Ok(Some(Lease { containers: self.clone(), directory, record, standing: Standing::Settled, lock }))
    }

    /// The same for who has inherited its lock.
    pub(crate) fn inherit(&self, id: &str, lock: File) -> Result<Lease> {
        let directory = self.path.join(id);
        let gone =
            || Error::new(ErrorKind::NotFound, format!("find the container `{id}`"), "its record is gone");
        let record = Record::read(&directory)?.ok_or_else(gone)?;
        Ok(Lease { containers: self.clone(), directory, record, standing: Standing::Settled, lock })
    }
}

impl Lease {
    /// Where the upper directories are to be.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its container's id.
    pub(crate) fn id(&self) -> &str {
        self.directory.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// What is noted.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// What events tell of its container, and of the volumes it has.
    pub(crate) fn told(&self) -> (Subject, VolumesOf) {
        (self.record.subject(self.containers.path()), self.containers.volumes_of(&self.record))
    }

    /// Whose lock it is: held as long as any copy of this is open.
    pub(crate) fn lock(&self) -> &File {
        &self.lock
    }

    /// From now on it stays, if it is to be kept.
    pub(crate) fn settle(&mut self) {
        self.standing = Standing::Settled;
    }

    /// Has it outlive power, if it is to be kept.
    pub(crate) fn outlive_power(&self) -> Result<()> {
        match self.record.stay {
            Stay::Kept => self.containers.outlive_power(self.id()),
            Stay::Removed => Ok(()),
        }
    }

    /// Changes the record, on the disk too.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut Record)) -> Result<()> {
        self.record = self.containers.edit(self.id(), change)?;
        Ok(())
    }

    /// Removes it, as dropping it before the start does; and says so where that fails.
    pub(crate) fn give_up(mut self) -> Result<()> {
        match std::mem::replace(&mut self.standing, Standing::Settled) {
            Standing::New => self.remove(),
            Standing::Settled => Ok(()),
        }
    }

    /// Removes it with its name.
    pub(crate) fn remove(&mut self) -> Result<()> {
        remove_record(&self.directory)?;
        self.containers.release_name(&self.record.name, self.id());
        remove_tree(&self.directory)?;
        if self.standing == Standing::Settled {
            // One that was never settled nobody has heard of.
            self.record.subject(self.containers.path()).tell("destroy");
        }
        Ok(())
    }

    /// Notes how it ended, or removes it where it is not kept.
    pub(crate) fn end(mut self, end: End) -> Result<()> {
        match self.record.stay {
            Stay::Kept => self.note_end(end),
            Stay::Removed => self.remove(),
        }
    }

    /// Notes how it ended.
    pub(crate) fn note_end(&mut self, end: End) -> Result<()> {
        for number in 0..=self.record.submounts.len() {
            // Nothing is in it any more; one of other ids goes with the container.
            let work = self.directory.join(format!("w{number}"));
            let removed = std::fs::remove_dir(work.join("work"));
            let _ = removed.and_then(|()| std::fs::remove_dir(&work));
        }
        self.edit(|record| {
            let ran = record.started.map(|started| end.at.saturating_sub(started));
            let has_lasted = ran.is_some_and(|ran| Duration::from_nanos(ran) >= LASTING);
            record.short_lives = if has_lasted { 0 } else { record.short_lives.saturating_add(1) };
            record.end = Some(end);
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.standing == Standing::New {
            // An error is on its way to be told already; what stays is swept by the next one.
            let _ = self.remove();
        }
    }
}
