//! Where a path of a container, running or kept, is for a copy: in its root, or in what is mounted over that.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use runtime::ErrorKind;
use runtime::layers::Layers;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::super::{Basis, Found};
use crate::accounts;
use crate::error::{Error, Result};
use crate::images::enter_own_users;
use crate::options::{BindRequest, MountKind, MountRequest};
use crate::volume_store::VolumeStore;

/// A container's root, as long as the value lives.
pub(super) struct Ground {
    pub(super) root: OwnedFd,
    /// The container's own root, where that is another one.
    whole: Option<OwnedFd>,
    /// Its user namespace, where that is not this process's.
    pub(super) users: Option<OwnedFd>,
    /// Of one that does not run: so that nobody starts or removes it meanwhile.
    _lock: Option<File>,
}

/// Whether something is to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// A path within a ground.
pub(super) struct Spot {
    pub(super) ground: Ground,
    pub(super) path: String,
    /// What the ground's root itself is called, where it is not the container's.
    pub(super) called: Option<String>,
}

impl Found {
    /// Where `path` is. Of one that does not run nothing is mounted: what it has of volumes and of the host is looked for by the path as
    /// it is written, as docker does by mounting it.
    pub(super) fn spot(&self, path: &str, access: Access) -> Result<Spot> {
        let ground = self.ground(access)?;
        let whole = Spot { ground, path: path.to_owned(), called: None };
        let Some(kept) = self.kept.as_ref().filter(|_| !self.is_up()) else { return Ok(whole) };
        let Some((mount, bind, rest)) = mounted_over(kept.mounts(), path) else { return Ok(whole) };
        let operation = || format!("copy from or to `{}`", path.escape_debug());
        if access == Access::Write && bind.access != crate::options::Access::Writable {
            let reason = format!("what is mounted at `{}` is read-only", mount.target);
            return Err(Error::new(ErrorKind::Invalid, operation(), reason)
                .with_hint("copy it to where that comes from"));
        }
        if let Some(name) = bind.volume.as_ref().and_then(|volume| volume.name.as_deref()) {
            // One that is mounted for its containers alone is not there.
            VolumeStore::beside(self.containers.path()).directory("copy from or to", name)?;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = match rustix::fs::openat(CWD, &bind.source, flags, Mode::empty()) {
            // A file of the host in the place of one: it is a whole, and what lies below it is the container's.
            Err(Errno::NOTDIR) => return Ok(whole),
            opened => opened.map_err(|error| Error::at_path("open", &bind.source, error))?,
        };
        let called = Path::new(&mount.target).file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Spot {
            ground: Ground {
                root,
                whole: Some(whole.ground.root),
                users: whole.ground.users,
                _lock: whole.ground._lock,
            },
            path: rest,
            called,
        })
    }

    fn ground(&self, access: Access) -> Result<Ground> {
        if !self.is_up() {
            let kept = self.kept.as_ref().expect("what is not up is kept");
            // Without root its files are of ids of the user's own.
            enter_own_users()?;
            let (root, lock) = match access {
                Access::Read => kept.open_root()?,
                Access::Write => kept.open_root_to_write()?,
            };
            return Ok(Ground { root, whole: None, users: None, _lock: Some(lock) });
        }
        let operation = "copy from or to";
        let (root, users) = self.of_first(operation, |pid| {
            let path = PathBuf::from(format!("/proc/{pid}/root"));
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::openat(CWD, &path, flags, Mode::empty())
                .map_err(|error| Error::at_path("open the root", &path, error))?;
            Ok((root, users_of(pid)?))
        })?;
        Ok(Ground { root, whole: None, users, _lock: None })
    }

    /// Where its program begins: the directory that podman's paths begin in.
    pub fn working_directory(&self) -> Result<String> {
        if let Some(view) = &self.view {
            return Ok(Basis::read(&self.state, view)?.spec.process.unwrap_or_default().cwd);
        }
        let asked = self.kept.as_ref().and_then(|kept| kept.record.asked.as_ref());
        Ok(asked.map_or_else(|| "/".to_owned(), |asked| asked.options.process.directory.clone()))
    }

    /// The user and the group of its program, as they are inside. Of one that has ended and of which no record tells that, root.
    pub(super) fn owner(&self, ground: &Ground) -> Result<(u32, u32)> {
        if let Some(view) = &self.view {
            let user = Basis::read(&self.state, view)?.spec.process.unwrap_or_default().user;
            return Ok((user.uid, user.gid));
        }
        let asked = self.kept.as_ref().and_then(|kept| kept.record.asked.as_ref());
        let Some(asked) = asked else { return Ok((0, 0)) };
        let whole = ground.whole.as_ref().unwrap_or(&ground.root).as_raw_fd();
        let root = || Layers::open([Path::new(&format!("/proc/self/fd/{whole}"))]);
        let account = accounts::look_up(&root, &asked.options.process)?;
        Ok((account.uid, account.gid))
    }
}

/// The innermost of the mounts that a path leads into, and the rest of the path, as it ends.
fn mounted_over<'a>(
    mounts: &'a [MountRequest],
    path: &str,
) -> Option<(&'a MountRequest, &'a BindRequest, String)> {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    if names.contains(&"..") {
        return None;
    }
    let plain = Path::new("/").join(names.join("/"));
    let found = mounts.iter().filter_map(|mount| {
        let MountKind::Bind(bind) = &mount.kind else { return None };
        let rest = plain.strip_prefix(&mount.target).ok()?;
        Some((mount, bind, rest.to_string_lossy().into_owned()))
    });
    let (mount, bind, rest) = found.max_by_key(|(mount, ..)| mount.target.len())?;
    let end = match () {
        () if path.ends_with("/.") => "/.",
        () if path.ends_with('/') => "/",
        () => "",
    };
    Some((mount, bind, format!("/{rest}{end}")))
}

/// The user namespace of process `pid`, where it is not this process's own.
fn users_of(pid: i32) -> Result<Option<OwnedFd>> {
    use std::os::unix::fs::MetadataExt;
    let path = PathBuf::from(format!("/proc/{pid}/ns/user"));
    let file = File::open(&path).map_err(|error| Error::at_path("open the namespace", &path, error))?;
    let inode =
        |found: std::io::Result<std::fs::Metadata>| found.map(|found| (found.dev(), found.ino())).ok();
    let is_own = inode(file.metadata()) == inode(std::fs::metadata(Path::new("/proc/self/ns/user")));
    Ok((!is_own).then(|| file.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_in_the_innermost_mount_as_it_is_written() {
        let at = |target: &str| {
            let mut mount =
                MountRequest::parse_mount("type=bind,source=/x,target=/y", Path::new("/")).expect("legal");
            mount.target = target.to_owned();
            mount
        };
        let mounts = [at("/v"), at("/v/inner")];
        let found = |path: &str| {
            mounted_over(&mounts, path).map(|(mount, _, rest)| (mount.target.as_str().to_owned(), rest))
        };
        let some = |target: &str, rest: &str| Some((target.to_owned(), rest.to_owned()));
        assert_eq!(found("/v/a"), some("/v", "/a"));
        assert_eq!(found("v//a/"), some("/v", "/a/"));
        assert_eq!(found("/v/inner"), some("/v/inner", "/"));
        assert_eq!(found("/v/inner/."), some("/v/inner", "//."));
        for path in ["/", "/vx", "/a/v", "/v/../v/a"] {
            assert_eq!(found(path), None, "{path}");
        }
    }
}
