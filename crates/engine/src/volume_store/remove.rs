//! Removing a volume that no container needs: out of sight first, then entry by entry.

use std::path::Path;

use runtime::ErrorKind;
use runtime::caller::Caller;
use rustix::fs::FlockOperation;

use super::apart::{self, Work};
use super::make::GONE;
use super::{Lock, Record, VolumeStore, VolumeUsers, local, no_such, random_name, sync};
use crate::error::{Code, Error, Result};
use crate::paths::EnginePaths;

impl VolumeStore {
    /// Removes a volume that no container has.
    pub fn remove(&self, name: &str, paths: &EnginePaths) -> Result<()> {
        self.remove_unless(name, &|| self.users(paths))
    }

    /// Removes a volume, if of `users` nobody is one; who they are is asked under its lock.
    pub(super) fn remove_unless(&self, name: &str, users: &dyn Fn() -> Result<VolumeUsers>) -> Result<()> {
        let operation = || format!("remove the volume `{}`", name.escape_debug());
        let in_use = |ids: &[String]| {
            // In docker's words.
            let reason = format!("volume is in use - [{}]", ids.join(", "));
            Error::new(ErrorKind::WrongStatus, operation(), reason).with_code(Code::InUse)
        };
        if crate::options::check_volume_name(name).is_err() {
            return Err(no_such(&operation()));
        }
        let lock = match self.lock(name, FlockOperation::NonBlockingLockExclusive)? {
            Lock::Held(lock) => lock,
            Lock::Gone => return Err(no_such(&operation())),
            Lock::Busy => {
                let users = users()?.of(name);
                return Err(match users.is_empty() {
                    true => in_use(&[]).with_hint(
                        "a container starts or ends with it, or its content is read or written: try it again",
                    ),
                    false => in_use(&users).with_hint("end and remove those containers first"),
                });
            }
        };
        let all = users()?;
        let users = all.of(name);
        if let Some(error) = all.damaged {
            // What a damaged container has nobody knows.
            return Err(error);
        }
        if !users.is_empty() {
            return Err(in_use(&users).with_hint("remove those containers first: `rabbitc rm CONTAINER`"));
        }
        let directory = self.path.join(name);
        // A damaged record names nothing that could be mounted there, and removing must not go into what may be.
        let record = Record::read(&directory)?;
        local::unmount(&record.map(|record| record.options).unwrap_or_default(), &directory)?;
        let gone = self.path.join(format!("{GONE}{}", random_name::<8>()?));
        std::fs::rename(&directory, &gone).map_err(|error| Error::at_path("remove", &directory, error))?;
        sync(&self.path)?;
        // Whoever waits for it makes another one; nobody waits for the files of this.
        drop(lock);
        self.tell("destroy", name);
        remove_tree(&gone)
    }
}

/// Removes a directory with all that is in it; links are not followed. Files of other ids that an ordinary user has take a process
/// in a user namespace.
pub(super) fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error)
            if error.kind() == std::io::ErrorKind::PermissionDenied && Caller::find() == Caller::User =>
        {
            apart::have_done(&Work::Remove(path.to_owned()), "remove a volume")
        }
        Err(error) => Err(Error::at_path("remove", path, error)),
    }
}
