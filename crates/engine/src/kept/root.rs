//! The root of a container that has ended, as one tree: to be read, or to be changed as the container itself would change it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use runtime::ErrorKind;
use rustix::fs::{Mode, OFlags};

use super::{Kept, KeptRoot, Lock, lock_soon};
use crate::error::{Error, Result};
use crate::layers::{Upper, open_as_one, open_over};

impl Kept {
    /// Opens it to be read. What was mounted in it is not there any more. As long as the file is open, nobody starts or removes it.
    pub(crate) fn open_root(&self) -> Result<(OwnedFd, File)> {
        let operation = self.operation();
        if let KeptRoot::Bare { path } = &self.root {
            return Ok((open_bare(path)?, self.lock(&operation)?));
        }
        let (lock, upper, lowers) = self.layers(&operation)?;
        let layers: Vec<&Path> =
            std::iter::once(upper.as_path()).chain(lowers.iter().map(PathBuf::as_path)).collect();
        Ok((open_as_one(&layers, &operation)?, lock))
    }

    /// The same to be changed.
    pub(crate) fn open_root_to_write(&self) -> Result<(OwnedFd, File)> {
        let operation = self.operation();
        if let KeptRoot::Bare { path } = &self.root {
            return Ok((open_bare(path)?, self.lock(&operation)?));
        }
        let (lock, upper, lowers) = self.layers(&operation)?;
        let work = self.directory.join("w0");
        // It goes when the container ends.
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&work);
        made.map_err(|error| Error::at_path("make", &work, error))?;
        let lowers: Vec<&Path> = lowers.iter().map(PathBuf::as_path).collect();
        let upper = Upper { directory: &upper, work: &work };
        Ok((open_over(upper, &lowers, &operation)?, lock))
    }

    fn operation(&self) -> String {
        format!("open the root of the container `{}`", self.id)
    }

    /// The lock that whoever starts or removes it needs.
    fn lock(&self, operation: &str) -> Result<File> {
        let wrong = |kind: ErrorKind, reason: &str| Error::new(kind, operation.to_owned(), reason);
        match lock_soon(&self.directory)? {
            Lock::Held(lock) => Ok(lock),
            Lock::Gone => Err(wrong(ErrorKind::NotFound, "it has just been removed")),
            Lock::Busy => {
                Err(wrong(ErrorKind::WrongStatus, "it is just starting or ending").with_hint("try it again"))
            }
        }
    }

    fn layers(&self, operation: &str) -> Result<(File, PathBuf, Vec<PathBuf>)> {
        let lock = self.lock(operation)?;
        if self.root == KeptRoot::Host {
            let error = Error::unsupported(
                operation.to_owned(),
                "to look into one that ran on the host's root and has ended".to_owned(),
                "`rabbitc export` writes all of it as an archive",
            );
            return Err(error);
        }
        let upper = self.uppers().into_iter().next().map(|(upper, _)| upper);
        let lowers = self.lowers()?;
        let upper = match (upper, lowers.first()) {
            (Some(upper), _) => upper,
            (None, Some(below)) => self.first_upper(below)?,
            (None, None) => {
                return Err(Error::new(ErrorKind::NotFound, operation.to_owned(), "it has never run"));
            }
        };
        Ok((lock, upper, lowers))
    }

    /// Makes the upper directory of one that has never run, as its first start would make it: with the owner and mode of what is
    /// below, which the start then leaves as they are.
    fn first_upper(&self, below: &Path) -> Result<PathBuf> {
        let (new, upper) = (self.directory.join("u.new"), self.directory.join("u0"));
        let failed = |error: std::io::Error| Error::at_path("make", &upper, error);
        let looks = std::fs::metadata(below).map_err(|error| Error::at_path("look at", below, error))?;
        match std::fs::create_dir(&new) {
            // Of one that was killed here.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.map_err(failed)?,
        }
        std::os::unix::fs::chown(&new, Some(looks.uid()), Some(looks.gid())).map_err(failed)?;
        std::fs::set_permissions(&new, looks.permissions()).map_err(failed)?;
        std::fs::rename(&new, &upper).map_err(failed)?;
        Ok(upper)
    }
}

/// The root of one that writes where it is of.
fn open_bare(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| Error::at_path("open", path, error))
}
