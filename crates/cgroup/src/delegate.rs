//! Owns handing a group over to a user. Must not decide to whom.

use rustix::fs::{AtFlags, OFlags, Uid};
use rustix::io::Errno;

use crate::error::{Error, Operation};
use crate::files;
use crate::group::Cgroup;

/// What is handed over where the kernel does not say (before 4.15), as its documentation has it.
const USUAL: &str = "cgroup.procs cgroup.threads cgroup.subtree_control";

impl Cgroup {
    /// Gives the directory in the unified hierarchy to user `uid`, with the files that the kernel lists in
    /// `/sys/kernel/cgroup/delegate` (cgroups(7), "Cgroups delegation: delegating a hierarchy to a less privileged user").
    ///
    /// Its limits stay their owner's, so what is handed over can be divided and not enlarged. Nothing is done where there
    /// is no unified hierarchy: to delegate v1 is not safe.
    pub fn delegate(&self, uid: u32) -> Result<(), Error> {
        let Some(hierarchy) = self.layout().unified() else { return Ok(()) };
        let listed = std::fs::read_to_string("/sys/kernel/cgroup/delegate");
        let listed = listed.unwrap_or_else(|_| USUAL.to_owned());
        for file in listed.split_ascii_whitespace().chain([""]) {
            let given = files::open(hierarchy, self.path().as_str(), file, OFlags::PATH).and_then(|opened| {
                rustix::fs::chownat(opened, c"", Some(Uid::from_raw(uid)), None, AtFlags::EMPTY_PATH)
            });
            match given {
                // A file of a controller that this group does not have.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(Error::kernel(Operation::Delegate, self.display(hierarchy, file), errno));
                }
            }
        }
        Ok(())
    }
}
