//! A mount namespace of others in which the container lives: whether it may, and where its root goes there.
//!
//! Nothing that the container is made of is looked up there, nor is the root of whoever is in it changed (decision 38).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;

use super::devices::hosts_proc;
use super::owners::Users;
use crate::error::{Error, ErrorKind, Result};
use crate::foreign;
use crate::init::step::{InitAction, JoinedNamespace};
use crate::root_directory::RootDirectory;
use crate::shared_root::{self, JoinedMounts};
use crate::spec::{Linux, Spec};

/// Where the root goes.
pub(super) struct Place<'a> {
    namespace: JoinedNamespace,
    rootfs: &'a Path,
    directory: OwnedFd,
    identity: (u64, u64),
    /// The mount that the directory is on.
    mount: u64,
    /// Device and inode of the root, in the caller's namespace.
    shows: (u64, u64),
}

impl Place<'_> {
    /// What init does with it, and what the record has of it.
    pub(super) fn into_parts(self) -> (InitAction, JoinedMounts) {
        let record = JoinedMounts {
            path: self.namespace.path.clone(),
            identity: self.identity,
            below: self.mount,
            shows: self.shows,
            mount: 0,
        };
        let action = InitAction::JoinMounts {
            namespace: self.namespace,
            place: self.directory,
            rootfs: self.rootfs.to_owned(),
        };
        (action, record)
    }
}

/// The finished root is copied into the namespace, and what is unbindable is in no copy.
pub(super) fn check_propagation(spec: &Spec, linux: &Linux) -> Result<()> {
    let is_unbindable = |word: &str| matches!(word, "unbindable" | "runbindable");
    let refuse = |field: String| {
        let reason = "`unbindable` can't be had in a mount namespace that is joined";
        let hint = "make it `private`, or leave out the path of `{\"type\": \"mount\"}`";
        Err(Error::invalid(field, reason.to_owned()).with_hint(hint))
    };
    for (index, mount) in spec.mounts.iter().enumerate() {
        if mount.options.iter().flatten().any(|option| is_unbindable(option)) {
            return refuse(format!("mounts[{index}].options"));
        }
    }
    match linux.rootfs_propagation.as_deref() {
        Some(name) if is_unbindable(name) => refuse("linux.rootfsPropagation".to_owned()),
        _ => Ok(()),
    }
}

/// Looks into the namespace. Its mounts are changed once the container is laid out.
pub(super) fn look<'a>(
    namespace: JoinedNamespace,
    root: &'a RootDirectory,
    users: Users<'_>,
) -> Result<Place<'a>> {
    let rootfs = root.path();
    const FIELD: &str = "linux.namespaces";
    if users.are_own() {
        let reason = "a mount namespace can't be joined from a user namespace of the container's own";
        let hint = "leave out the path of `{\"type\": \"mount\"}`, or the user namespace";
        return Err(Error::unsupported(FIELD, reason.to_owned(), hint));
    }
    let shown = namespace.path.display();
    let at = |error: io::Error| Error::at_path("look into the mount namespace", &namespace.path, error);
    let refused = |kind, reason: String, hint: &str| {
        Error::new(kind, FIELD, format!("`{shown}` {reason}")).with_hint(hint)
    };
    let identity = |file: &OwnedFd| {
        rustix::fs::fstat(file).map(|found| (found.st_dev, found.st_ino)).map_err(io::Error::from)
    };
    let own = shared_root::identity_of(Path::new("/proc/self/ns/user")).map_err(at)?;
    let owner = sys::namespace::owner(namespace.descriptor.as_fd()).and_then(|owner| identity(&owner));
    if owner.ok() != Some(own) {
        let reason =
            "belongs to another user namespace, whose root could put mounts over the container's programs";
        let hint = "join a mount namespace that was made by a root as mighty as this caller";
        return Err(refused(ErrorKind::Permission, reason.to_owned(), hint));
    }
    let place =
        CString::new(rootfs.as_os_str().as_encoded_bytes()).expect("a path that was opened has no NUL");
    let proc = hosts_proc()?;
    let found = foreign::within(namespace.descriptor.as_fd(), namespace.flag, || {
        let directory = match shared_root::open_plain(&place) {
            Ok(directory) => directory,
            Err(errno) => return Ok(Err(errno)),
        };
        let mount = shared_root::mount_of(directory.as_fd());
        Ok(Ok((directory, mount, shared_root::read_mount_table(proc.as_fd())?)))
    });
    let found = found.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::PERM) => at(error).with_hint("entering the mounts of others takes root"),
        _ => at(error),
    })?;
    let (directory, mount, table) = found.map_err(|errno| {
        let reason =
            format!("has no directory `{}`: {}", rootfs.display(), sys::errno_text(errno.raw_os_error()));
        let hint =
            "the root is mounted there, at root.path without any links: make the directory in that namespace";
        refused(ErrorKind::Invalid, reason, hint)
    })?;
    let entry = sys::mount_table::entries(&table).find(|entry| entry.id == mount);
    if entry.is_none_or(|entry| entry.has_tag("shared")) {
        let reason = format!("shares what is mounted at `{}` with other namespaces", rootfs.display());
        let hint =
            "make its mounts private first, as `unshare --mount` does: `mount --make-rprivate /` in it";
        return Err(refused(ErrorKind::Unsupported, reason, hint));
    }
    let identity = identity(&namespace.descriptor).map_err(at)?;
    let shows = root.identity().map_err(|error| Error::at_path("examine", rootfs, error))?;
    Ok(Place { namespace, rootfs, directory, identity, mount, shows })
}
