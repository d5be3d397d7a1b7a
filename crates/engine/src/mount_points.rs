//! Mount points that a root directory lacks, or the source of a bind mount: recorded, made empty, and removed by the last
//! container on it.
//!
//! Removing one earlier would silently detach a neighbour's mount, so everybody on a root holds a shared lock, and
//! only who gets it exclusively removes.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use runtime::plan::{MountPoint, TargetKind};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, ResolveFlags, flock};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// What the points lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// A root directory: links lead where they will lead inside.
    Root,
    /// The source of a bind mount: only the container knows where a link of it leads, so none is followed.
    Source,
}

impl Ground {
    fn resolution(self) -> ResolveFlags {
        match self {
            Ground::Root => ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            Ground::Source => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Ground::Root => {
                "the root file system must be writable once, or `--overlay` must keep writes off it"
            }
            Ground::Source => {
                "something is to be mounted there; make it yourself, or let the source be written to once"
            }
        }
    }
}

/// A directory of the host and where it was found.
pub(crate) struct Directory<'a> {
    pub(crate) path: &'a Path,
    pub(crate) descriptor: BorrowedFd<'a>,
    pub(crate) ground: Ground,
}

impl Directory<'_> {
    /// Why a mount point can't be made in it.
    fn refusal(&self, path: &Path, errno: Errno) -> Error {
        let error = Error::at_path("make the mount point", &self.path.join(path), errno);
        error.with_hint(match errno {
            Errno::NOTDIR => "a file lies where a directory must be: take it out of the way",
            _ => self.ground.hint(),
        })
    }
}

/// A container's stake in such a directory: while it lives, no mount point goes.
#[derive(Debug)]
pub(crate) struct MountPoints {
    directory: PathBuf,
    /// Locked shared.
    users: Option<File>,
}

impl MountPoints {
    /// Makes what is missing of `points` in a directory; the record of each is written before it is made.
    pub(crate) fn make<'a>(
        roots: &Path,
        root: &Directory<'_>,
        points: impl Iterator<Item = &'a MountPoint> + Clone,
    ) -> Result<MountPoints> {
        let name = name_of(root.descriptor).map_err(|error| Error::at_path("examine", root.path, error))?;
        let directory = roots.join(name);
        loop {
            let mut builder = std::fs::DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(&directory);
            made.map_err(|error| Error::at_path("make", &directory, error))?;
            let lock = match open(&directory.join("lock")) {
                // The last one removed the directory just now.
                Err(error) if error.errno == Some(Errno::NOENT.raw_os_error()) => continue,
                other => other?,
            };
            lock_file(&lock, FlockOperation::LockExclusive, &directory)?;
            if !is_linked(&lock) {
                // Or while we waited; there may be another one of that name by now, with another lock.
                continue;
            }
            let users = open(&directory.join("users"))?;
            lock_file(&users, FlockOperation::LockShared, &directory)?;
            let mut stake = MountPoints { directory: directory.clone(), users: Some(users) };
            let made = stake.make_missing(root, points.clone());
            // A stake that is given up takes the lock itself: while we hold it, that would wait for us for ever.
            unlock(lock);
            return match made {
                Ok(()) => Ok(stake),
                Err(mut error) => {
                    error.rollback.extend(stake.release().err());
                    Err(error)
                }
            };
        }
    }

    fn make_missing<'a>(
        &self,
        root: &Directory<'_>,
        points: impl Iterator<Item = &'a MountPoint>,
    ) -> Result<()> {
        for point in points {
            match open_inside(root.descriptor, point.path.as_str(), root.ground) {
                Ok(_) => {}
                // A link in a source, or a circle of them: init makes the rest where it leads inside, or says what is wrong.
                Err(Errno::LOOP) => {}
                Err(_) => self.make_way(root, point)?,
            }
        }
        Ok(())
    }

    /// Makes what is missing of the way to a point. The kernel's own resolving ends at a link that leads nowhere, so links of a
    /// root are followed here, name by name, as init follows them: what it made behind one would stay.
    fn make_way(&self, root: &Directory<'_>, point: &MountPoint) -> Result<()> {
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
                    self.record(root, &path)?;
                    make(&parent, &name, kind).map_err(failed)?;
                }
                Err(errno) => return Err(failed(errno)),
            }
            known = path;
        }
        Ok(())
    }

    /// Appends the kind of directory, its path, and the point's path, each ended by NUL, which no path has in it.
    fn record(&self, root: &Directory<'_>, path: &Path) -> Result<()> {
        let file = self.directory.join("made");
        let ground: &[u8] = match root.ground {
            Ground::Root => b"root",
            Ground::Source => b"source",
        };
        let entry = [ground, root.path.as_os_str().as_bytes(), path.as_os_str().as_bytes(), b""].join(&0u8);
        let append = || -> std::io::Result<()> {
            std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&file)?.write_all(&entry)
        };
        append().map_err(|error| Error::at_path("write", &file, error))
    }

    /// Gives the stake up; the last one removes what was made.
    pub(crate) fn release(&mut self) -> Result<()> {
        let Some(users) = self.users.take() else { return Ok(()) };
        let Some(lock) = self.lock()? else { return Ok(()) };
        unlock(users);
        let removed = remove_if_last(&self.directory);
        unlock(lock);
        removed
    }

    /// Leaves the stake to processes that could not be ended: nobody removes anything as long as there is something at
    /// `record`, an absolute path.
    pub(crate) fn leave(mut self, record: &Path) -> Result<()> {
        let Some(mut users) = self.users.take() else { return Ok(()) };
        let lock = self.lock()?;
        let entry = [record.as_os_str().as_bytes(), b""].join(&0u8);
        let written = users.seek(SeekFrom::End(0)).and_then(|_| users.write_all(&entry));
        unlock(users);
        lock.into_iter().for_each(unlock);
        written.map_err(|error| Error::at_path("write", &self.directory.join("users"), error))
    }

    /// Waits for the directory's lock; none where the directory is gone.
    fn lock(&self) -> Result<Option<File>> {
        let path = self.directory.join("lock");
        let lock = match File::open(&path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::at_path("open", &path, error)),
        };
        lock_file(&lock, FlockOperation::LockExclusive, &self.directory)?;
        Ok(Some(lock))
    }
}

impl Drop for MountPoints {
    fn drop(&mut self) {
        // Best effort on the way out of an error; the next command finishes it.
        let _ = self.release();
    }
}

/// Removes the mount points of every root that nobody uses any more: what a killed command left. `failed` hears what went
/// wrong with one of them; the others are swept all the same.
pub(crate) fn sweep(roots: &Path, failed: &mut dyn FnMut(Error)) {
    let entries = match std::fs::read_dir(roots) {
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => return failed(Error::at_path("list", roots, error)),
        Ok(entries) => entries,
    };
    for entry in entries {
        let swept = match entry {
            Ok(entry) => sweep_one(&entry.path()),
            Err(error) => return failed(Error::at_path("list", roots, error)),
        };
        if let Err(error) = swept {
            failed(error);
        }
    }
}

fn sweep_one(directory: &Path) -> Result<()> {
    let path = directory.join("lock");
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // Best effort: whoever made it was killed before its lock; one who has not come to it yet makes it again.
            let _ = std::fs::remove_dir(directory);
            return Ok(());
        }
        Err(error) => return Err(Error::at_path("open", &path, error)),
    };
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() || !is_linked(&lock) {
        return Ok(());
    }
    let removed = remove_if_last(directory);
    unlock(lock);
    removed
}

/// Whether there was nothing at `path` in a directory, until containers made a mount point there.
pub(crate) fn is_missing(roots: &Path, root: &Directory<'_>, path: &str) -> Result<bool> {
    let name = name_of(root.descriptor).map_err(|error| Error::at_path("examine", root.path, error))?;
    let directory = roots.join(name);
    // Held while both are looked at. Where there is none, nothing is made there now.
    let lock = match File::open(directory.join("lock")) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        opened => Some(opened.map_err(|error| Error::at_path("open", &directory.join("lock"), error))?),
    };
    if let Some(lock) = &lock {
        lock_file(lock, FlockOperation::LockShared, &directory)?;
    }
    let identity = |path: &OsStr| {
        let found = rustix::fs::fstat(open_inside(root.descriptor, path, root.ground)?)?;
        Ok((found.st_dev, found.st_ino))
    };
    let missing = match identity(OsStr::new(path)) {
        Ok(found) => {
            let made = recorded(&directory)?;
            let is_it =
                |point: &Path| identity(point.as_os_str()) == Ok(found) && !is_in_use(root, point, &made);
            made.iter().any(|(.., point)| is_it(point))
        }
        Err(errno) => matches!(errno, Errno::NOENT | Errno::NOTDIR),
    };
    lock.into_iter().for_each(unlock);
    Ok(missing)
}

/// Whether a mount point has become a directory of the root: somebody has put something in it that was not recorded.
fn is_in_use(root: &Directory<'_>, point: &Path, made: &[(Ground, PathBuf, PathBuf)]) -> bool {
    let opened = open_inside(root.descriptor, point, root.ground).ok();
    let entries =
        opened.and_then(|opened| std::fs::read_dir(format!("/proc/self/fd/{}", opened.as_raw_fd())).ok());
    let is_ours = |name: std::ffi::OsString| made.iter().any(|(.., other)| *other == point.join(&name));
    entries
        .is_some_and(|mut entries| !entries.all(|entry| entry.is_ok_and(|entry| is_ours(entry.file_name()))))
}

/// What was made: in which kind of directory, its path, the point's path.
fn recorded(directory: &Path) -> Result<Vec<(Ground, PathBuf, PathBuf)>> {
    let path = directory.join("made");
    let made = match std::fs::read(&path) {
        // Nothing was missing.
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        made => made.map_err(|error| Error::at_path("read", &path, error))?,
    };
    // What a kill cut short was not made yet.
    let complete = made.iter().rposition(|byte| *byte == 0).map_or(&[][..], |end| &made[..end]);
    let parts: Vec<&[u8]> = complete.split(|byte| *byte == 0).collect();
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let entry = |entry: &[&[u8]]| {
        let ground = if entry[0] == b"root" { Ground::Root } else { Ground::Source };
        (ground, path(entry[1]), path(entry[2]))
    };
    Ok(parts.chunks_exact(3).map(entry).collect())
}

/// With the directory's lock held.
fn remove_if_last(directory: &Path) -> Result<()> {
    let path = directory.join("users");
    match File::open(&path) {
        Ok(users) => match flock(&users, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_left(&users, &path)? => return Ok(()),
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(()),
            Err(error) => return Err(Error::at_path("lock", &path, error)),
        },
        // Whoever began here was killed before it had a stake.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        // Somebody may use them, whatever keeps us from asking.
        Err(error) => return Err(Error::at_path("open", &path, error)),
    }
    for (ground, root, point) in recorded(directory)?.iter().rev() {
        // Of those that stay for want of something, the record does too.
        remove_empty(root, point, *ground, directory.file_name())
            .map_err(|error| Error::at_path("remove the mount point", &root.join(point), error))?;
    }
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::at_path("remove", directory, error)),
        _ => Ok(()),
    }
}

/// Whether something is left of one of those who had a stake and could not be ended ([`MountPoints::leave`]).
fn is_left(mut users: &File, path: &Path) -> Result<bool> {
    let failed = |error| Error::at_path("read", path, error);
    if users.metadata().map_err(failed)?.len() == 0 {
        return Ok(false);
    }
    let mut records = Vec::new();
    users.read_to_end(&mut records).map_err(failed)?;
    for record in records.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
        let record = Path::new(OsStr::from_bytes(record));
        if record.try_exists().map_err(|error| Error::at_path("look for", record, error))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Best effort by intent: what has content by now, or is gone, is not ours to remove; nor is anything in a directory that
/// has taken the place of the one that we knew by `name`. Only where this process or the host lacks what it takes to find
/// that out is it an error.
fn remove_empty(root: &Path, point: &Path, ground: Ground, name: Option<&OsStr>) -> rustix::io::Result<()> {
    let remove = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty())?;
        if name_of(root.as_fd()).ok().as_deref().map(OsStr::new) != name {
            return Ok(());
        }
        let parent = point.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let parent = open_inside(root.as_fd(), parent, ground)?;
        let Some(name) = point.file_name() else { return Ok(()) };
        let found = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind.is_dir() {
            rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)
        } else if found.st_size == 0 && kind.is_file() {
            rustix::fs::unlinkat(&parent, name, AtFlags::empty())
        } else {
            Ok(())
        }
    };
    match remove() {
        Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::IO)) => Err(errno),
        _ => Ok(()),
    }
}

/// By what a directory is known here: its device and inode.
fn name_of(directory: BorrowedFd<'_>) -> rustix::io::Result<String> {
    let found = rustix::fs::fstat(directory)?;
    Ok(format!("{:x}-{:x}", found.st_dev, found.st_ino))
}

fn open_inside(
    root: BorrowedFd<'_>,
    path: impl rustix::path::Arg + Copy,
    ground: Ground,
) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    // EAGAIN: a rename elsewhere raced with a `..`; the kernel asks to try again (openat2(2)).
    for _ in 0..64 {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), ground.resolution()) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// As many links as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The names of a path, `..` among them.
fn names(path: &Path) -> impl Iterator<Item = OsString> {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.map(|part| part.as_os_str().to_owned())
}

fn make(parent: &OwnedFd, name: &OsStr, kind: TargetKind) -> rustix::io::Result<()> {
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

fn open(path: &Path) -> Result<File> {
    let mut options = std::fs::OpenOptions::new();
    let opened = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map_err(|error| Error::at_path("open", path, error))
}

/// Whether the file still has its name; one that was removed locks nobody out.
fn is_linked(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
}

/// Gives a lock up for every copy of the descriptor: a child that another thread has just forked holds one until it
/// executes its program, and closing ours alone would leave the lock with it.
fn unlock(file: File) {
    // It can't fail on an open descriptor; if it did, closing is the next best.
    let _ = flock(&file, FlockOperation::Unlock);
}

fn lock_file(file: &File, operation: FlockOperation, directory: &Path) -> Result<()> {
    loop {
        match flock(file, operation) {
            Err(Errno::INTR) => {}
            other => return other.map_err(|error| Error::at_path("lock", directory, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> (PathBuf, PathBuf) {
        let base = std::env::temp_dir().join(format!("rabbitc-points-{name}-{}", std::process::id()));
        let (roots, root) = (base.join("roots"), base.join("root"));
        std::fs::create_dir_all(&root).expect("made");
        (roots, root)
    }

    fn make(roots: &Path, root: &Path, ground: Ground, points: &[(&str, TargetKind)]) -> Result<MountPoints> {
        let descriptor =
            rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("opened");
        let points: Vec<MountPoint> = points
            .iter()
            .map(|&(path, kind)| MountPoint {
                mount: None,
                path: path.to_owned(),
                kind,
                covers_link: path == "etc/resolv.conf",
            })
            .collect();
        let directory = Directory { path: root, descriptor: descriptor.as_fd(), ground };
        MountPoints::make(roots, &directory, points.iter())
    }

    const POINTS: [(&str, TargetKind); 2] =
        [("proc", TargetKind::Directory), ("etc/hosts", TargetKind::File)];

    #[test]
    fn last_container_removes_what_was_made_and_no_earlier_one_does() {
        let (roots, root) = scratch("last");
        let mut first = make(&roots, &root, Ground::Root, &POINTS).expect("made");
        let mut second = make(&roots, &root, Ground::Root, &POINTS).expect("made");
        first.release().expect("released");
        assert!(root.join("proc").is_dir() && root.join("etc/hosts").is_file());
        second.release().expect("released");
        assert!(!root.join("proc").exists() && !root.join("etc").exists());
        assert!(std::fs::read_dir(&roots).expect("there").next().is_none());
        std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
    }

    #[test]
    fn what_is_made_behind_a_link_that_leads_nowhere_goes_as_well() {
        let (roots, root) = scratch("dangling");
        std::fs::create_dir_all(root.join("etc/deep")).expect("made");
        for (text, at) in [
            ("/nowhere", "absolute"),
            ("gone/deep", "etc/relative"),
            ("../../../../up", "etc/deep/up"),
            ("/absolute/more", "two"),
            ("/covered", "etc/resolv.conf"),
            ("circle", "circle"),
        ] {
            std::os::unix::fs::symlink(text, root.join(at)).expect("linked");
        }
        let points = [
            ("absolute", TargetKind::Directory),
            ("etc/relative/in/file", TargetKind::File),
            ("etc/deep/up", TargetKind::File),
            ("two", TargetKind::Directory),
            ("etc/resolv.conf", TargetKind::File),
            ("circle/in", TargetKind::Directory),
        ];
        let mut stake = make(&roots, &root, Ground::Root, &points).expect("made");
        assert!(root.join("nowhere/more").is_dir() && root.join("up").is_file());
        assert!(root.join("etc/gone/deep/in/file").is_file());
        assert!(!root.join("covered").exists(), "a file of ours is mounted on the link itself");
        stake.release().expect("released");
        let mut left: Vec<OsString> =
            std::fs::read_dir(&root).expect("there").map(|entry| entry.expect("read").file_name()).collect();
        left.sort();
        assert_eq!(left, ["absolute", "circle", "etc", "two"]);
        assert!(!root.join("etc/gone").exists());
        std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
    }

    #[test]
    fn what_a_container_made_counts_as_missing() {
        let (roots, root) = scratch("missing");
        std::fs::create_dir(root.join("there")).expect("made");
        std::os::unix::fs::symlink("proc", root.join("link")).expect("linked");
        let missing = |path: &str| {
            let descriptor =
                rustix::fs::open(&root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("opened");
            let directory = Directory { path: &root, descriptor: descriptor.as_fd(), ground: Ground::Root };
            is_missing(&roots, &directory, path).expect("looked at")
        };
        let all = || ["proc", "link", "there", "there/in"].map(missing);
        assert_eq!(all(), [true, true, false, true]);
        let mut stake = make(&roots, &root, Ground::Root, &POINTS).expect("made");
        assert_eq!(all(), [true, true, false, true], "another container's is no directory of the root");
        assert!(missing("etc") && missing("etc/hosts"));
        // It has become the root's own with what somebody puts there.
        std::fs::write(root.join("proc/theirs"), "").expect("written");
        assert!(!missing("proc"));
        std::fs::remove_file(root.join("proc/theirs")).expect("removed");
        stake.release().expect("released");
        std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
    }

    #[test]
    fn what_was_there_before_or_got_content_stays() {
        let (roots, root) = scratch("content");
        std::fs::create_dir(root.join("proc")).expect("made");
        let mut stake = make(&roots, &root, Ground::Root, &POINTS).expect("made");
        std::fs::write(root.join("etc/passwd"), "x").expect("written");
        stake.release().expect("released");
        assert!(root.join("proc").is_dir(), "was there before");
        assert!(root.join("etc/passwd").is_file() && !root.join("etc/hosts").exists());
        std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
    }

    #[test]
    fn sweep_finishes_what_a_killed_command_left() {
        let (roots, root) = scratch("sweep");
        let mut stake = make(&roots, &root, Ground::Root, &POINTS).expect("made");
        // The kernel drops a killed process's locks; its code runs no more.
        stake.users = None;
        sweep(&roots, &mut |error| panic!("{error}"));
        assert!(!root.join("proc").exists());
        std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
    }

    /// Sweeps, and counts what went wrong.
    fn failures(roots: &Path) -> usize {
        let mut count = 0;
        sweep(roots, &mut |_| count += 1);
        count
    }

    #[test]
    fn mount_points_stay_where_their_users_or_their_record_cannot_be_read() {
        let (roots, root) = scratch("unread");
        let mut stake = make(&roots, &root, Ground::Root, &POINTS).expect("made");
        let record = stake.directory.clone();
        let (users, made) = (record.join("users"), record.join("made"));
        let aside = root.with_file_name("aside");
        // As with too many open files: that it can't be opened says nothing of who has it locked.
        std::fs::rename(&users, &aside).expect("renamed");
        std::os::unix::fs::symlink("users", &users).expect("a link to itself");
        assert_eq!(failures(&roots), 1);
        assert!(root.join("proc").is_dir() && made.is_file());
        std::fs::rename(&aside, &users).expect("renamed");
        std::fs::rename(&made, &aside).expect("renamed");
        std::fs::create_dir(&made).expect("made");
        assert_eq!(failures(&roots), 0, "one who lives has them");
        stake.release().expect_err("nobody knows what was made");
        assert_eq!(failures(&roots), 1);
        std::fs::remove_dir(&made).expect("removed");
        std::fs::rename(&aside, &made).expect("renamed");
        assert_eq!(failures(&roots), 0);
        assert!(!root.join("proc").exists() && !record.exists());
        std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
    }

    #[test]
    fn mount_points_stay_as_long_as_something_is_left_of_a_container_that_could_not_be_ended() {
        let (roots, root) = scratch("left");
        let records = [1, 2].map(|number| root.with_file_name(format!("record{number}")));
        for record in &records {
            std::fs::create_dir(record).expect("made");
            make(&roots, &root, Ground::Root, &POINTS).expect("made").leave(record).expect("left");
        }
        for record in &records {
            assert_eq!(failures(&roots), 0);
            make(&roots, &root, Ground::Root, &POINTS).expect("made").release().expect("released");
            assert!(root.join("proc").is_dir(), "{}", record.display());
            std::fs::remove_dir(record).expect("removed");
        }
        assert_eq!(failures(&roots), 0);
        assert!(!root.join("proc").exists());
        std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
    }

    #[test]
    fn sweep_goes_on_past_a_root_whose_record_is_broken() {
        let (roots, root) = scratch("past");
        let second = root.with_file_name("second");
        std::fs::create_dir(&second).expect("made");
        for root in [&root, &second] {
            make(&roots, root, Ground::Root, &POINTS).expect("made").users = None;
        }
        let broken = roots.join("0-0");
        std::fs::create_dir(&broken).expect("made");
        std::os::unix::fs::symlink("lock", broken.join("lock")).expect("a link to itself");
        assert_eq!(failures(&roots), 1);
        assert!(!root.join("proc").exists() && !second.join("proc").exists());
        std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
    }

    #[test]
    fn records_hold_any_name_and_a_directory_in_the_place_of_another_is_left_alone() {
        let (roots, base) = scratch("names");
        let root = base.join("with\na line\tand a tab");
        std::fs::create_dir(&root).expect("made");
        let odd = [("a\tb\nc", TargetKind::Directory)];
        let mut stake = make(&roots, &root, Ground::Root, &odd).expect("made");
        assert!(root.join(odd[0].0).is_dir());
        stake.release().expect("released");
        assert!(std::fs::read_dir(&root).expect("there").next().is_none());
        let mut stake = make(&roots, &root, Ground::Root, &odd).expect("made");
        std::fs::rename(&root, base.join("moved")).expect("renamed");
        std::fs::create_dir_all(root.join(odd[0].0)).expect("another one in its place");
        stake.release().expect("released");
        assert!(root.join(odd[0].0).is_dir());
        std::fs::remove_dir_all(base.parent().expect("has one")).expect("removed");
    }

    #[test]
    fn no_link_of_a_source_is_followed() {
        let (roots, root) = scratch("links");
        std::os::unix::fs::symlink("/elsewhere", root.join("link")).expect("made");
        let point = [("link/in", TargetKind::Directory)];
        let mut stake = make(&roots, &root, Ground::Source, &point).expect("left to init");
        assert_eq!(std::fs::read_dir(&root).expect("there").count(), 1);
        stake.release().expect("released");
        std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
    }
}
