//! Owns the state directory of one network namespace, with a directory for each of its networks; and says which
//! namespaces are gone. Touches no interface and no rule.
//!
//! ```text
//! <parent>/<namespace>/                flock: exclusive to make a bridge there, or to choose its subnet
//! <parent>/<namespace>/<network>/      see `state`
//! <parent>/<namespace>/.tidy           flock: who removes idle networks
//! <parent>/<namespace>/.tidy-next      flock: who waits to
//! ```
//!
//! Bridges and rules belong to a network namespace, and so do the records of them: who is in another one could remove
//! the records alone, and nobody would find the rest. A namespace is known by the inode of its file (namespaces(7)),
//! which no other has while it lives.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RawDir, flock, fstat, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::options::InterfaceName;
use crate::state::{NetworkStateDirectory, StateLock};

/// The state of all networks of one network namespace.
///
/// The directory is made when it is needed and removed with its last network, at any moment: so nothing holds a
/// descriptor of it for long, and every use starts from the parent.
#[derive(Debug, Clone)]
pub struct NamespaceState {
    pub(crate) parent: Arc<OwnedFd>,
    namespace: u64,
}

/// A place among those who remove idle networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TidyTurn {
    /// Of who does it.
    Now,
    /// Of who waits to.
    Next,
}

impl NamespaceState {
    /// That of the calling thread's network namespace, below `parent`, which must exist; creates nothing yet.
    pub fn of_this_thread(parent: BorrowedFd<'_>) -> Result<Self> {
        let path = "/proc/thread-self/ns/net";
        let error = |errno| Error::from_errno("look at network namespace", path, errno);
        let file = rustix::fs::stat(path).map_err(error)?;
        let parent = parent
            .try_clone_to_owned()
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::MFILE))
            .map_err(|errno| Error::from_errno("open state of network namespace", path, errno))?;
        Ok(Self { parent: Arc::new(parent), namespace: file.st_ino })
    }

    /// The state of one of its networks.
    pub fn network(&self, name: &InterfaceName) -> NetworkStateDirectory {
        NetworkStateDirectory::in_namespace(self, name)
    }

    /// Every network that has state, for a sweep.
    pub fn networks(&self) -> Result<Vec<NetworkStateDirectory>> {
        let names = match entries(self.parent.as_fd(), &self.path(), |name| InterfaceName::parse(name).ok()) {
            Err(Errno::NOENT) => Vec::new(),
            other => other.map_err(|errno| self.error("read state of network namespace", errno))?,
        };
        Ok(names.iter().map(|name| self.network(name)).collect())
    }

    /// The namespace's directory, from the parent.
    pub(crate) fn path(&self) -> String {
        self.namespace.to_string()
    }

    /// Waits for the lock without which no bridge is made here and no subnet chosen: what one start finds free, no
    /// other takes meanwhile. It comes before the lock of a network.
    pub(crate) fn lock_making(&self) -> Result<StateLock> {
        let error = |errno| self.error("lock networks of network namespace", errno);
        loop {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let directory = match openat(&self.parent, self.path(), flags, Mode::empty()) {
                Ok(directory) => directory,
                Err(Errno::NOENT) => {
                    self.make().map_err(error)?;
                    continue;
                }
                Err(errno) => return Err(error(errno)),
            };
            let locked = rustix::io::retry_on_intr(|| flock(&directory, FlockOperation::LockExclusive));
            locked.map_err(error)?;
            // Whoever removes it has the lock.
            if fstat(&directory).map_err(error)?.st_nlink > 0 {
                return Ok(StateLock::of(directory));
            }
        }
    }

    /// Makes the directory, unless it is there.
    pub(crate) fn make(&self) -> rustix::io::Result<()> {
        match mkdirat(&self.parent, self.path(), Mode::RWXU) {
            Err(Errno::EXIST) => Ok(()),
            other => other,
        }
    }

    /// A file that is only there to be locked; none where no network has state.
    pub fn turn(&self, turn: TidyTurn) -> Result<Option<OwnedFd>> {
        let path = format!("{}/{}", self.path(), turn.file());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match openat(&self.parent, path, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.error("open state of network namespace", errno)),
        }
    }

    /// Removes the directory if no network has state and nobody is about to make one.
    pub fn remove_if_empty(&self) -> Result<()> {
        let error = |errno| self.error("remove state of network namespace", errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let directory = match openat(&self.parent, self.path(), flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(error(errno)),
        };
        match rustix::io::retry_on_intr(|| flock(&directory, FlockOperation::NonBlockingLockExclusive)) {
            Err(Errno::WOULDBLOCK) => return Ok(()),
            other => other.map_err(error)?,
        }
        let _lock = StateLock::of(directory);
        let kept = entries(self.parent.as_fd(), &self.path(), |name| (!name.starts_with('.')).then_some(()));
        if kept.map_or(true, |kept| !kept.is_empty()) {
            return Ok(());
        }
        // Who waits for one of these goes on with a file that is nobody else's: then two remove what is idle.
        for (path, flags) in [
            (format!("{}/{}", self.path(), TidyTurn::Now.file()), AtFlags::empty()),
            (format!("{}/{}", self.path(), TidyTurn::Next.file()), AtFlags::empty()),
            (self.path(), AtFlags::REMOVEDIR),
        ] {
            match unlinkat(&self.parent, &path, flags) {
                // Not empty: a container leases an address there for the first time.
                Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => {}
                Err(errno) => return Err(error(errno)),
            }
        }
        Ok(())
    }

    /// Removes the records of namespaces that are gone: their bridges and rules went with them. Those of others are
    /// left to who is in them.
    pub fn sweep_gone(&self) -> Result<()> {
        let mut others = entries(self.parent.as_fd(), ".", |name| name.parse().ok())
            .map_err(|errno| self.error("read state beside that of network namespace", errno))?;
        others.retain(|&other| other != self.namespace);
        if others.is_empty() {
            return Ok(());
        }
        let Some(living) = living_namespaces() else { return Ok(()) };
        for namespace in others.into_iter().filter(|other| !living.contains(other)) {
            let gone = Self { parent: Arc::clone(&self.parent), namespace };
            for network in gone.networks()? {
                network.forget()?;
            }
            gone.remove_if_empty()?;
        }
        Ok(())
    }

    fn error(&self, operation: &'static str, errno: Errno) -> Error {
        Error::from_errno(operation, format!("net:[{}]", self.namespace), errno)
    }
}

impl TidyTurn {
    /// With a point, as no network's name begins with one.
    fn file(self) -> &'static str {
        match self {
            TidyTurn::Now => ".tidy",
            TidyTurn::Next => ".tidy-next",
        }
    }
}

/// The network namespaces in which a thread is or of which a file is mounted here. One that is kept by a descriptor
/// alone is not seen, and neither is what hides behind another mount or pid namespace: there a network that nobody
/// uses may lose its record. Nothing where this can't be known.
fn living_namespaces() -> Option<BTreeSet<u64>> {
    let found = sys::namespace::in_use("net").ok()?;
    // One that not even root may look at, such as a machine's own supervisor; those of the kernel show the first namespace at
    // any rate.
    if !found.hidden.is_empty() && !rustix::process::geteuid().is_root() {
        return None;
    }
    let mut living: BTreeSet<u64> = found.files.into_iter().map(|(_, inode)| inode).collect();
    living.extend(mounted_namespaces(&std::fs::read("/proc/thread-self/mountinfo").ok()?));
    Some(living)
}

/// Those whose file is mounted, for which a table has the root `net:[4026532281]`.
fn mounted_namespaces(table: &[u8]) -> impl Iterator<Item = u64> {
    sys::mount_table::entries(table)
        .filter_map(|mount| mount.root.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok())
}

/// The names in a directory that `read` makes something of. One large buffer: 500 leases are one call.
pub(crate) fn entries<T>(
    parent: BorrowedFd<'_>,
    path: &str,
    read: impl Fn(&str) -> Option<T>,
) -> rustix::io::Result<Vec<T>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let directory = openat(parent, path, flags, Mode::empty())?;
    let mut buffer = Vec::with_capacity(32 * 1024);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        found.extend(
            entry?.file_name().to_str().ok().filter(|name| !matches!(*name, "." | "..")).and_then(&read),
        );
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounted_namespaces_are_found_beside_mount_points_that_are_no_text() {
        let table = b"30 23 0:4 net:[4026532281] /run/netns/a rw - nsfs nsfs rw\n\
                      31 23 8:1 / /srv/\xff rw - ext4 /dev/vda rw\n\
                      32 23 0:4 net:[4026532290] /run/\xe9 rw shared:3 - nsfs nsfs rw\n\
                      33 23 0:4 mnt:[4026532291] /run/mnt rw - nsfs nsfs rw\n";
        assert_eq!(mounted_namespaces(table).collect::<Vec<_>>(), [4_026_532_281, 4_026_532_290]);
    }
}
