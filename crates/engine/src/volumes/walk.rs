//! Every entry of a tree by descriptors: no link is followed, no other mount entered, nothing but directories opened.
//!
//! What is walked may be changed by a container at the same time.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// What is done to an entry, by an `O_PATH` descriptor and its status.
pub(super) type Act<'a> = dyn FnMut(BorrowedFd<'_>, &Stat) -> rustix::io::Result<()> + 'a;

/// Deeper trees are refused: each level takes a descriptor and stack.
const DEPTH: usize = 500;

/// Does it to `top` and to everything below, the outer first. A failure comes with the path from there.
pub(super) fn each(top: BorrowedFd<'_>, act: &mut Act<'_>) -> Result<(), (PathBuf, Errno)> {
    entry(top, Path::new(""), DEPTH, act)
}

fn entry(
    found: BorrowedFd<'_>,
    path: &Path,
    depth: usize,
    act: &mut Act<'_>,
) -> Result<(), (PathBuf, Errno)> {
    let at = |errno| (path.to_owned(), errno);
    let status = rustix::fs::fstat(found).map_err(at)?;
    act(found, &status).map_err(at)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::Directory {
        return Ok(());
    }
    if depth == 0 {
        return Err(at(Errno::NAMETOOLONG));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(found, c".", flags, Mode::empty()).map_err(at)?;
    let inner = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolution = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    for name in Dir::read_from(&directory).map_err(at)? {
        let name = name.map_err(at)?;
        let name = name.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let path = path.join(OsStr::from_bytes(name.to_bytes()));
        match rustix::fs::openat2(&directory, name, inner, Mode::empty(), resolution) {
            Ok(found) => entry(found.as_fd(), &path, depth - 1, act)?,
            // Removed meanwhile, or the place of another mount.
            Err(Errno::NOENT | Errno::XDEV) => {}
            Err(errno) => return Err((path, errno)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_met_once_and_links_are_not_followed() {
        let base = std::env::temp_dir().join(format!("rabbitc-walk-{}", std::process::id()));
        std::fs::create_dir_all(base.join("in/deep")).expect("made");
        std::fs::write(base.join("in/deep/file"), "x").expect("written");
        std::os::unix::fs::symlink("/", base.join("in/link")).expect("made");
        let top = std::fs::File::open(base.join("in")).expect("opened");
        let mut kinds = Vec::new();
        each(top.as_fd(), &mut |_, status| {
            kinds.push(FileType::from_raw_mode(status.st_mode));
            Ok(())
        })
        .expect("walked");
        kinds.sort_by_key(|kind| kind.as_raw_mode());
        let expected = [FileType::Directory, FileType::Directory, FileType::RegularFile, FileType::Symlink];
        assert_eq!(kinds, expected);
        std::fs::remove_dir_all(&base).expect("removed");
    }
}
