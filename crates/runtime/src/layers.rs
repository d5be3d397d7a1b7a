//! A root directory, or several that an overlay shows as one, looked at before that is mounted: by the rules of overlayfs
//! (overlayfs.rst, "whiteouts and opaque directories"), as far as layers of images make use of them. Must not change anything,
//! nor open anything for use.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::root_directory::RootDirectory;

/// Links that are followed before they count as a circle, as in the kernel.
const MOST_LINKS: usize = 40;

/// The attributes by which a directory hides what lower layers have. An image's layers have the first one wherever their
/// file system has attributes of users, as overlays of user namespaces know no other.
const OPAQUE: [&str; 2] = ["user.overlay.opaque", "trusted.overlay.opaque"];

/// The root directories, the topmost first.
#[derive(Debug)]
pub struct Layers {
    roots: Vec<OwnedFd>,
}

/// What a name in a merged directory stands for.
enum Entry {
    /// A directory of these, the topmost first.
    Directory(Vec<OwnedFd>),
    Other(OwnedFd),
}

impl Layers {
    /// Opens them.
    pub fn open<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<Layers> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &Path| {
            rustix::fs::open(path, flags, Mode::empty()).map_err(|error| Error::at_path("open", path, error))
        };
        let roots: Result<Vec<OwnedFd>> = paths.into_iter().map(open).collect();
        Ok(Layers { roots: roots? })
    }

    /// A root directory that is open.
    pub fn of_root(root: &RootDirectory) -> Result<Layers> {
        let copy = rustix::io::fcntl_dupfd_cloexec(root, 3);
        let copy = copy.map_err(|error| Error::at_path("open", root.path(), error))?;
        Ok(Layers { roots: vec![copy] })
    }

    /// One that is open; it may be a file.
    pub(crate) fn of(opened: OwnedFd) -> Layers {
        Layers { roots: vec![opened] }
    }

    /// The topmost one.
    pub(crate) fn top(&self) -> BorrowedFd<'_> {
        self.roots[0].as_fd()
    }

    /// Opens a place, and no more of it than that; links lead within the root.
    pub fn find(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        if let [root] = &self.roots[..] {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            return rustix::io::retry_on_intr(|| {
                rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
            });
        }
        let mut left = backwards(path.as_bytes());
        let mut at: Vec<Vec<OwnedFd>> = Vec::new();
        let mut links = 0;
        while let Some(name) = left.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            match entry(at.last().unwrap_or(&self.roots), &name)? {
                Entry::Directory(directories) => at.push(directories),
                Entry::Other(file) if kind(&file)? == FileType::Symlink => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP);
                    }
                    let text = rustix::fs::readlinkat(&file, c"", Vec::new())?.into_bytes();
                    if text.starts_with(b"/") {
                        at.clear();
                    }
                    left.extend(backwards(&text));
                }
                Entry::Other(file) if left.is_empty() => return Ok(file),
                Entry::Other(_) => return Err(Errno::NOTDIR),
            }
        }
        duplicate(at.last().unwrap_or(&self.roots))
    }

    /// The names in the directory that these names lead to, without a link on the way; none if it is no directory.
    pub fn list(&self, way: &[OsString]) -> rustix::io::Result<BTreeSet<OsString>> {
        let mut merged: Option<Vec<OwnedFd>> = None;
        for name in way {
            match entry(merged.as_ref().unwrap_or(&self.roots), name)? {
                Entry::Directory(directories) => merged = Some(directories),
                Entry::Other(_) => return Ok(BTreeSet::new()),
            }
        }
        names(merged.as_ref().unwrap_or(&self.roots))
    }

    /// Opens what these names lead to, without a link on the way; `resolve` is what a way in one directory may use beside.
    pub fn open_way(&self, names: &[OsString], resolve: ResolveFlags) -> rustix::io::Result<OwnedFd> {
        if names.is_empty() {
            return duplicate(&self.roots);
        }
        if let [root] = &self.roots[..] {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | resolve;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let path: std::path::PathBuf = names.iter().collect();
            return rustix::fs::openat2(root, path, flags, Mode::empty(), resolve);
        }
        let mut merged: Option<Vec<OwnedFd>> = None;
        for (number, name) in names.iter().enumerate() {
            match entry(merged.as_ref().unwrap_or(&self.roots), name)? {
                Entry::Directory(directories) => merged = Some(directories),
                Entry::Other(file) if number + 1 == names.len() => return Ok(file),
                Entry::Other(_) => return Err(Errno::NOTDIR),
            }
        }
        duplicate(merged.as_ref().unwrap_or(&self.roots))
    }
}

/// The names in the directory that these are.
fn names(directories: &[OwnedFd]) -> rustix::io::Result<BTreeSet<OsString>> {
    let (mut seen, mut shown) = (BTreeSet::new(), BTreeSet::new());
    for directory in directories {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(directory, c".", flags, Mode::empty())?;
        for item in Dir::read_from(&opened)? {
            let name = OsStr::from_bytes(item?.file_name().to_bytes()).to_owned();
            if name == "." || name == ".." || !seen.insert(name.clone()) {
                continue;
            }
            if entry(directories, &name).is_ok() {
                shown.insert(name);
            }
        }
    }
    Ok(shown)
}

/// What stands under a name in the directory that these are.
fn entry(directories: &[OwnedFd], name: &OsStr) -> rustix::io::Result<Entry> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut merged = Vec::new();
    for (number, directory) in directories.iter().enumerate() {
        let file = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => continue,
            opened => opened?,
        };
        let found = rustix::fs::fstat(&file)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind != FileType::Directory {
            let is_whiteout = kind == FileType::CharacterDevice && found.st_rdev == 0;
            match merged.is_empty() {
                true if is_whiteout => return Err(Errno::NOENT),
                true => return Ok(Entry::Other(file)),
                // It is hidden by the directory, and hides what is below it.
                false => break,
            }
        }
        let is_last = number + 1 == directories.len() || is_opaque(&file)?;
        merged.push(file);
        if is_last {
            break;
        }
    }
    match merged.is_empty() {
        true => Err(Errno::NOENT),
        false => Ok(Entry::Directory(merged)),
    }
}

/// Whether a directory hides what lower layers have under its name.
fn is_opaque(directory: &OwnedFd) -> rustix::io::Result<bool> {
    // By this path, as a descriptor that is a place only gives no attributes.
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    for name in OPAQUE {
        let mut value = [0u8; 1];
        match rustix::fs::getxattr(&path, name, &mut value) {
            Ok(1) if &value == b"y" => return Ok(true),
            Ok(_) | Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn kind(file: &OwnedFd) -> rustix::io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode))
}

fn duplicate(directories: &[OwnedFd]) -> rustix::io::Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(directories.first().ok_or(Errno::NOENT)?, 3)
}

/// The names of a path, the last one first.
fn backwards(path: &[u8]) -> Vec<OsString> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.rev().map(|name| OsString::from_vec(name.to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use rustix::fs::CWD;

    use super::*;

    /// Layers in a directory of their own, removed at the end.
    struct Place(std::path::PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let path = std::env::temp_dir().join(format!("rabbitc-layers-{name}-{}", std::process::id()));
            // Of a test that was killed.
            let _ = std::fs::remove_dir_all(&path);
            Place(path)
        }

        fn write(&self, path: &str) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().expect("below the place")).expect("made");
            std::fs::write(&path, path.as_os_str().as_bytes()).expect("written");
        }

        /// Those of the first letters up to this one, the last one on top.
        fn layers(&self, letters: &str) -> Layers {
            let paths: Vec<_> = letters.chars().rev().map(|letter| self.0.join(letter.to_string())).collect();
            Layers::open(paths.iter().map(std::path::PathBuf::as_path)).expect("opened")
        }

        /// Of which layer something is, or why it is none.
        fn seen(&self, layers: &Layers, path: &str) -> String {
            match layers.find(path) {
                Ok(found) => {
                    let path =
                        std::fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).expect("open");
                    path.strip_prefix(&self.0).expect("in the place").display().to_string()
                }
                Err(Errno::NOENT) => "nothing".to_owned(),
                Err(Errno::NOTDIR) => "below a file".to_owned(),
                Err(Errno::LOOP) => "a circle".to_owned(),
                Err(errno) => format!("{errno:?}"),
            }
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_seen_through_layers_is_what_an_overlay_shows() {
        let place = Place::new("seen");
        for path in
            ["a/etc/passwd", "a/etc/gone", "a/data/old", "a/kind/in", "a/file", "b/etc/group", "b/data/new"]
        {
            place.write(path);
        }
        place.write("b/kind");
        place.write("b/file/in");
        place.write("c/etc/passwd");
        let link =
            |text: &str, path: &str| std::os::unix::fs::symlink(text, place.0.join(path)).expect("linked");
        link("../etc", "b/data/link");
        link("/data/link/passwd", "c/far");
        link("/../../../circle", "c/circle");
        let whiteout = place.0.join("b/etc/gone");
        if rustix::fs::mknodat(CWD, &whiteout, FileType::CharacterDevice, Mode::empty(), 0).is_err() {
            println!("skipped: making a whiteout takes Linux 5.8 here");
            return;
        }
        let opaque = place.0.join("b/data");
        let set = rustix::fs::setxattr(&opaque, OPAQUE[0], b"y", rustix::fs::XattrFlags::empty());
        let layers = place.layers("abc");
        for (path, expected) in [
            ("/etc/passwd", "c/etc/passwd"),
            ("etc//./group", "b/etc/group"),
            ("/etc/gone", "nothing"),
            ("/etc", "c/etc"),
            ("/data/new", "b/data/new"),
            ("/data/link/group", "b/etc/group"),
            ("/data/link/../data/new", "b/data/new"),
            ("/far", "c/etc/passwd"),
            ("/circle", "a circle"),
            ("/kind", "b/kind"),
            ("/kind/in", "below a file"),
            ("/file/in", "b/file/in"),
            ("/../..", "c"),
            ("/nowhere/at/all", "nothing"),
        ] {
            assert_eq!(place.seen(&layers, path), expected, "{path}");
        }
        match set {
            Ok(()) => assert_eq!(place.seen(&layers, "/data/old"), "nothing", "an opaque directory hides it"),
            Err(_) => println!("skipped: this file system has no attributes of users"),
        }
        assert_eq!(place.seen(&place.layers("a"), "/data/old"), "a/data/old");
        let way = |names: &[&str]| {
            let names: Vec<OsString> = names.iter().map(OsString::from).collect();
            layers.open_way(&names, ResolveFlags::empty()).map(drop)
        };
        assert_eq!(way(&["etc", "group"]), Ok(()));
        assert_eq!(way(&["data", "link"]), Ok(()), "a link at the end is seen itself");
        assert_eq!(way(&["data", "link", "group"]), Err(Errno::NOTDIR));
    }
}
