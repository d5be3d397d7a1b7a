//! Makes what is missing of the way to a mount point. Removes nothing.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use runtime::plan::{MountPoint, TargetKind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Directory, Ground, open_inside, record};
use crate::error::Result;

/// Makes those of `points` that are missing; each is in the record of this directory before it is made.
pub(super) fn make_missing<'a>(
    record: &Path,
    root: &Directory<'_>,
    points: impl Iterator<Item = &'a MountPoint>,
) -> Result<()> {
    for point in points {
        match open_inside(root.descriptor, point.path.as_str(), root.ground) {
            Ok(_) => {}
            // A link in a source, or a circle of them: init makes the rest where it leads inside, or says what is wrong.
            Err(Errno::LOOP) => {}
            Err(_) => make_way(record, root, point)?,
        }
    }
    Ok(())
}

/// Makes what is missing of the way to a point. The kernel's own resolving ends at a link that leads nowhere, so links of a
/// root are followed here, name by name, as init follows them: what it made behind one would stay.
fn make_way(record: &Path, root: &Directory<'_>, point: &MountPoint) -> Result<()> {
    let mut known = PathBuf::new();
    let mut left: Vec<OsString> = names(Path::new(&point.path)).collect();
    left.reverse();
    let mut links = 0;
    while let Some(name) = left.pop() {
        if name == ".." {
            known.pop();
            continue;
        }
        let path = known.join(&name);
        let failed = |errno| root.refusal(&path, errno);
        let parent: &Path = if known.as_os_str().is_empty() { Path::new(".") } else { &known };
        let parent = open_inside(root.descriptor, parent, root.ground).map_err(failed)?;
        match rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if FileType::from_raw_mode(found.st_mode).is_symlink() => {
                links += 1;
                let is_end = left.is_empty() && point.covers_link;
                if is_end || links > MOST_LINKS || root.ground == Ground::Source {
                    return Ok(());
                }
                let text = rustix::fs::readlinkat(&parent, &name, Vec::new()).map_err(failed)?;
                let text = PathBuf::from(OsString::from_vec(text.into_bytes()));
                if text.is_absolute() {
                    known.clear();
                }
                left.extend(names(&text).collect::<Vec<_>>().into_iter().rev());
                continue;
            }
            Ok(_) => {}
            Err(Errno::NOENT) => {
                let kind = if left.is_empty() { point.kind } else { TargetKind::Directory };
                record::add(record, root, &path)?;
                make_one(&parent, &name, kind).map_err(failed)?;
            }
            Err(errno) => return Err(failed(errno)),
        }
        known = path;
    }
    Ok(())
}

/// As many links as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The names of a path, `..` among them.
fn names(path: &Path) -> impl Iterator<Item = OsString> {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.map(|part| part.as_os_str().to_owned())
}

fn make_one(parent: &OwnedFd, name: &OsStr, kind: TargetKind) -> rustix::io::Result<()> {
    let new = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = if kind == TargetKind::File {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | new;
        rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600)).map(|made| (made, 0o644))
    } else {
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700))
            .and_then(|()| {
                rustix::fs::openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | new, Mode::empty())
            })
            .map(|made| (made, 0o755))
    };
    match made {
        // The caller's umask is not the container's: every user inside may go there.
        Ok((made, mode)) => rustix::fs::fchmod(&made, Mode::from_raw_mode(mode)),
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}
