//! Every entry of a tree by descriptors: no link is followed, no other mount entered, nothing but directories opened.
//!
//! What is walked may be changed by a container at the same time.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// What is done to an entry, by an `O_PATH` descriptor and its status.
pub(super) type Act<'a> = dyn FnMut(BorrowedFd<'_>, &Stat) -> rustix::io::Result<()> + 'a;

/// Deeper trees are refused: each level takes a descriptor, of which a process mostly has 1024, and stack.
const DEPTH: usize = 500;

/// Does it to `top` and to everything below, the outer first. A failure comes with the path from there.
pub(super) fn each(top: BorrowedFd<'_>, act: &mut Act<'_>) -> Result<(), (PathBuf, Errno)> {
    let at = |errno| (PathBuf::new(), errno);
    let status = rustix::fs::fstat(top).map_err(at)?;
    act(top, &status).map_err(at)?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => content(&open(top).map_err(at)?, Path::new(""), DEPTH, act),
        _ => Ok(()),
    }
}

fn open(directory: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, c".", flags, Mode::empty())
}

/// What is in a directory. Its names are read whole, so that it alone is open while those below are walked.
fn content(
    directory: &OwnedFd,
    path: &Path,
    depth: usize,
    act: &mut Act<'_>,
) -> Result<(), (PathBuf, Errno)> {
    let at = |errno| (path.to_owned(), errno);
    if depth == 0 {
        return Err(at(Errno::NAMETOOLONG));
    }
    let inner = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolution = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    for name in names(directory).map_err(at)? {
        let path = path.join(OsStr::from_bytes(name.to_bytes()));
        let at = |errno| (path.clone(), errno);
        let found = match rustix::fs::openat2(directory, &name, inner, Mode::empty(), resolution) {
            Ok(found) => found,
            // Removed meanwhile, or the place of another mount.
            Err(Errno::NOENT | Errno::XDEV) => continue,
            Err(errno) => return Err(at(errno)),
        };
        let status = rustix::fs::fstat(&found).map_err(at)?;
        act(found.as_fd(), &status).map_err(at)?;
        if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            let below = open(found.as_fd()).map_err(at)?;
            drop(found);
            content(&below, &path, depth - 1, act)?;
        }
    }
    Ok(())
}

fn names(directory: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
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

    #[test]
    fn tree_as_deep_as_the_limit_needs_one_descriptor_a_level() {
        let base = std::env::temp_dir().join(format!("rabbitc-walk-deep-{}", std::process::id()));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        std::fs::create_dir_all(&base).expect("made");
        let mut end: OwnedFd = std::fs::File::open(&base).expect("opened").into();
        for _ in 0..DEPTH {
            rustix::fs::mkdirat(&end, c"d", Mode::RWXU).expect("made");
            end = rustix::fs::openat(&end, c"d", flags, Mode::empty()).expect("opened");
        }
        let walk = || {
            let top = std::fs::File::open(&base).expect("opened");
            let (mut count, mut most) = (0usize, 0usize);
            let walked = each(top.as_fd(), &mut |entry, _| {
                use std::os::fd::AsRawFd;
                count += 1;
                // The lowest free number is taken, so it tells how many are open.
                most = most.max(entry.as_raw_fd() as usize);
                Ok(())
            });
            (walked, count, most)
        };
        let (walked, count, most) = walk();
        let errno = walked.expect_err("one more than the limit").1;
        assert_eq!((errno, count), (Errno::NAMETOOLONG, DEPTH + 1));
        assert!(most < DEPTH + 200, "{most}");
        std::fs::remove_dir(base.join("d/".repeat(DEPTH))).expect("removed");
        let (walked, count, _) = walk();
        walked.expect("as deep as the limit");
        assert_eq!(count, DEPTH);
        std::fs::remove_dir_all(&base).expect("removed");
    }
}
