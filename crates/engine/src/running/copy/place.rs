//! Where paths begin, and how they are walked: as the caller's own, or within a root.

use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Links that are followed before they count as a circle, as in the kernel.
const MOST_LINKS: usize = 40;

/// Where paths begin.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// The caller's.
    Host,
    /// Within this directory, which no path leaves.
    Inside(BorrowedFd<'a>),
}

/// A path without its last part, and that.
pub(super) struct Split {
    pub(super) parent: Vec<u8>,
    pub(super) last: CString,
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Nothing,
    Directory,
    File,
    /// A device, a pipe, a socket.
    Other,
}

impl Place<'_> {
    fn open(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        match self {
            Place::Host => rustix::fs::openat(CWD, path, flags, Mode::empty()),
            Place::Inside(root) => {
                let path = if path.is_empty() { b"/" } else { path };
                let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
                loop {
                    match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
                        // Something on the way was moved meanwhile, so that the kernel can't tell whether it left the root.
                        Err(Errno::AGAIN | Errno::INTR) => {}
                        opened => return opened,
                    }
                }
            }
        }
    }

    /// Opens a directory; links are followed.
    pub(super) fn directory(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// What is there; links are followed.
    pub(super) fn standing(&self, path: &[u8]) -> rustix::io::Result<Standing> {
        use rustix::fs::FileType;
        let opened = match self.open(path, OFlags::PATH) {
            Err(Errno::NOENT) => return Ok(Standing::Nothing),
            opened => opened?,
        };
        Ok(match FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode) {
            FileType::Directory => Standing::Directory,
            FileType::RegularFile => Standing::File,
            _ => Standing::Other,
        })
    }

    /// The path of what the last part leads to, where that is a link; it need not be there.
    pub(super) fn follow(&self, path: &[u8]) -> rustix::io::Result<Vec<u8>> {
        let mut path = path.to_vec();
        for _ in 0..MOST_LINKS {
            let Some(Split { parent, last }) = split(&path) else { return Ok(path) };
            let directory = match self.directory(&parent) {
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(path),
                opened => opened?,
            };
            let text = match rustix::fs::readlinkat(&directory, &last, Vec::new()) {
                Ok(text) => text.into_bytes(),
                // It is none, or not there.
                Err(Errno::INVAL | Errno::NOENT) => return Ok(path),
                Err(error) => return Err(error),
            };
            path = match text.starts_with(b"/") {
                true => text,
                false => [&parent[..], b"/", &text].concat(),
            };
        }
        Err(Errno::LOOP)
    }
}

/// The last part of a path, slashes behind it left out; none where it ends with no name.
pub(super) fn split(path: &[u8]) -> Option<Split> {
    let end = path.iter().rposition(|byte| *byte != b'/')? + 1;
    let path = &path[..end];
    let begin = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let last = &path[begin..];
    if last == b"." || last == b".." {
        return None;
    }
    let parent = match &path[..begin] {
        b"" => b".".to_vec(),
        parent => parent.to_vec(),
    };
    Some(Split { parent, last: CString::new(last).ok()? })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_are_split_before_their_last_name() {
        for (path, parent, last) in [
            ("a", ".", "a"),
            ("/a", "/", "a"),
            ("a/b/", "a/", "b"),
            ("//x//", "//", "x"),
            ("../a", "../", "a"),
        ] {
            let found = split(path.as_bytes()).expect(path);
            assert_eq!((found.parent, found.last.as_bytes()), (parent.as_bytes().to_vec(), last.as_bytes()));
        }
        for path in ["", "/", ".", "a/.", "..", "a/../"] {
            assert!(split(path.as_bytes()).is_none(), "{path}");
        }
    }

    #[test]
    fn nothing_leads_out_of_a_root() {
        let random = u64::from_ne_bytes(sys::random::bytes().expect("random"));
        let root = std::env::temp_dir().join(format!("rabbitc-place-{random:x}"));
        std::fs::create_dir_all(root.join("in")).expect("made");
        std::fs::write(root.join("in/file"), "").expect("written");
        symlink("/../../in", root.join("link")).expect("linked");
        symlink("../../../../etc", root.join("out")).expect("linked");
        symlink("/nowhere/yet", root.join("dangling")).expect("linked");
        symlink("/circle", root.join("circle")).expect("linked");
        let opened = std::fs::File::open(&root).expect("opened");
        let place = Place::Inside(opened.as_fd());
        let standing = |path: &str| place.standing(path.as_bytes());
        assert_eq!(standing("/link/file"), Ok(Standing::File));
        assert_eq!(standing("/../../../in"), Ok(Standing::Directory));
        assert_eq!(standing("/out/passwd"), Ok(Standing::Nothing));
        assert_eq!(standing("/out"), Ok(Standing::Nothing));
        assert_eq!(place.follow(b"/dangling"), Ok(b"/nowhere/yet".to_vec()));
        assert_eq!(place.follow(b"/link/file"), Ok(b"/link/file".to_vec()));
        assert_eq!(place.follow(b"/circle"), Err(Errno::LOOP));
        std::fs::remove_dir_all(&root).expect("removed");
    }
}
