//! The root of a container that has ended, as one tree: to be read, or to be changed as the container itself would change it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use runtime::ErrorKind;

use super::{Kept, KeptRoot, Lock, lock_soon};
use crate::error::{Error, Result};
use crate::layers::{Upper, open_as_one, open_over};

impl Kept {
    /// Opens it to be read. What was mounted in it is not there any more. As long as the file is open, nobody starts or removes it.
    pub(crate) fn open_root(&self) -> Result<(OwnedFd, File)> {
        let operation = self.operation();
        let (lock, upper, lowers) = self.layers(&operation)?;
        let layers = upper.iter().chain(&lowers).map(PathBuf::as_path);
        match layers.collect::<Vec<&Path>>()[..] {
            [only] => {
                let opened = File::open(only).map_err(|error| Error::at_path("open", only, error))?;
                Ok((opened.into(), lock))
            }
            ref several => Ok((open_as_one(several, &operation)?, lock)),
        }
    }

    /// The same to be changed.
    pub(crate) fn open_root_to_write(&self) -> Result<(OwnedFd, File)> {
        let operation = self.operation();
        let (lock, upper, lowers) = self.layers(&operation)?;
        if let KeptRoot::Bare { path } = &self.root {
            let opened = File::open(path).map_err(|error| Error::at_path("open", path, error))?;
            return Ok((opened.into(), lock));
        }
        let upper = match upper {
            Some(upper) => upper,
            None => self.first_upper(&lowers[0])?,
        };
        let work = self.directory.join("w0");
        // It goes when the container ends.
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&work);
        made.map_err(|error| Error::at_path("make", &work, error))?;
        let lowers: Vec<&Path> = lowers.iter().map(PathBuf::as_path).collect();
        let upper = Upper { directory: &upper, work: &work };
        Ok((open_over(upper, &lowers, &operation)?, lock))
    }

    /// Makes the upper directory of one that has never run; its start finds it there. It looks as the one below it.
    fn first_upper(&self, below: &Path) -> Result<PathBuf> {
        let path = self.directory.join("u0");
        let make = || -> std::io::Result<()> {
            let found = std::fs::metadata(below)?;
            std::fs::DirBuilder::new().mode(0o700).create(&path)?;
            std::os::unix::fs::chown(&path, Some(found.uid()), Some(found.gid()))?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(found.mode() & 0o7777))
        };
        make().map_err(|error| Error::at_path("make", &path, error))?;
        Ok(path)
    }

    fn operation(&self) -> String {
        format!("open the root of the container `{}`", self.id)
    }

    fn layers(&self, operation: &str) -> Result<(File, Option<PathBuf>, Vec<PathBuf>)> {
        let wrong = |reason: &str| Error::new(ErrorKind::WrongStatus, operation.to_owned(), reason);
        let lock = match lock_soon(&self.directory)? {
            Lock::Held(lock) => lock,
            Lock::Gone => {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    operation.to_owned(),
                    "it has just been removed",
                ));
            }
            Lock::Busy => return Err(wrong("it is just starting or ending").with_hint("try it again")),
        };
        if self.root == KeptRoot::Host {
            let error = Error::unsupported(
                operation.to_owned(),
                "to look into one that ran on the host's root and has ended".to_owned(),
                "`rabbitc export` writes all of it as an archive",
            );
            return Err(error);
        }
        let upper = self.uppers().into_iter().next().map(|(upper, _)| upper);
        Ok((lock, upper, self.lowers()?))
    }
}
