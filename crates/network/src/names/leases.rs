//! Owns the responder's look at its network's state: who has a lease, and how each is called. Leases nothing.

use std::net::Ipv4Addr;

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;

use crate::error::Result;
use crate::lease_text::{Said, is_left, said_in};
use crate::state::{Attempt, NetworkStateDirectory, lock_now};

impl NetworkStateDirectory {
    /// Takes the place of the network's responder; none where somebody has it.
    pub(crate) fn claim_names(&self) -> Result<Option<OwnedFd>> {
        let error = |errno| self.error("lock names of network", self.name().to_string(), errno);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        loop {
            let file = openat(self.parent(), self.names_path(), flags, Mode::RUSR | Mode::WUSR);
            match lock_now(file.map_err(error)?).map_err(error)? {
                Attempt::Taken(file, _) => return Ok(Some(file)),
                Attempt::Held => return Ok(None),
                Attempt::Again => {}
            }
        }
    }

    /// What the leases say that are held, and whether one of them is held by a record alone. Changes nothing.
    pub(crate) fn held_texts(&self) -> Result<(Vec<(Ipv4Addr, Said)>, bool)> {
        let mut held = Vec::new();
        let mut are_left = false;
        let mut files = self.lease_files()?;
        files.sort_unstable();
        for address in files {
            let error = |errno| self.error("look at lease", address.to_string(), errno);
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let lease = match openat(self.parent(), self.lease_path(address), flags, Mode::empty()) {
                Ok(lease) => lease,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(error(errno)),
            };
            let text = said_in(&lease).map_err(error)?;
            // One that is being taken is locked first and written then: our look must not be in the way.
            if text.is_empty() {
                continue;
            }
            let said = Said::read(&text);
            let is_locked =
                match rustix::io::retry_on_intr(|| flock(&lease, FlockOperation::NonBlockingLockShared)) {
                    Err(Errno::WOULDBLOCK) => true,
                    // Closing it unlocks it.
                    Ok(()) => false,
                    Err(errno) => return Err(error(errno)),
                };
            // Where there is a record, who has locked it may be about to remove it.
            let is_held = if said.until_gone.is_some() { is_left(&text) } else { is_locked };
            are_left |= is_held && !is_locked;
            if is_held {
                held.push((address, said));
            }
        }
        Ok((held, are_left))
    }

    /// The directory of the leases, by a path that is valid in this process.
    pub(crate) fn leases_from_anywhere(&self) -> String {
        format!("/proc/self/fd/{}/{}/leases", self.parent().as_raw_fd(), self.path())
    }

    /// Writes other names into a lease, where `holder` has it; whether that was so. What else it says stays.
    pub fn rename(&self, holder: &str, change: &dyn Fn(&mut Vec<String>)) -> Result<bool> {
        for address in self.lease_files()? {
            if self.read_holder(address).as_deref() != Some(holder) {
                continue;
            }
            let error = |errno| self.error("write lease", address.to_string(), errno);
            let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let lease = match openat(self.parent(), self.lease_path(address), flags, Mode::empty()) {
                Ok(lease) => lease,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(error(errno)),
            };
            let mut said = Said::read(&said_in(&lease).map_err(error)?);
            if said.holder == holder && !said.names.is_empty() {
                change(&mut said.names);
                said.write(lease.as_fd()).map_err(error)?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}
