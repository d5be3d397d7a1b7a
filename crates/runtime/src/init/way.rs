//! Ways inside the container: every path is resolved inside its root, or inside a mount of ours, and used as a
//! descriptor. Must not follow anything out of there.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::Context;
use super::failure::{Call, During, Failure, Outcome};
use super::step::{Target, TargetKind};

const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Opens a path inside the container's root, links resolved inside it, and nothing beyond it reachable.
pub(super) fn open_inside(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    open_with(root, path, flags, INSIDE)
}

fn open_with(
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    // EAGAIN: a rename or mount elsewhere raced with a `..`; the kernel asks to try again (openat2(2)).
    for _ in 0..64 {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// The way to a target: where it begins, and what of it is left to walk.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) start: BorrowedFd<'a>,
    path: &'a CStr,
    kind: TargetKind,
    /// Whether a link at its end that leads nowhere is covered, and not followed.
    covers_link: bool,
    resolve: ResolveFlags,
}

impl<'a> Way<'a> {
    /// From the mount that the target lies in, or from the root.
    pub(super) fn to(context: &'a Context<'_>, target: &'a Target) -> Result<Way<'a>, Failure> {
        let Some(anchor) = &target.anchor else { return Ok(Way::from_root(context.root()?, target)) };
        let start = context.anchors[anchor.slot].as_ref().ok_or(Errno::BADF).during(Call::Open)?;
        Ok(Way { path: target.path_from(anchor), ..Way::from_root(start.as_fd(), target) })
    }

    pub(super) fn from_root(root: BorrowedFd<'a>, target: &'a Target) -> Way<'a> {
        Way {
            start: root,
            path: &target.path,
            kind: target.kind,
            covers_link: target.covers_link,
            resolve: INSIDE,
        }
    }

    /// The same way to a target of another kind.
    pub(super) fn kind(self, kind: TargetKind) -> Way<'a> {
        Way { kind, ..self }
    }

    /// The same way, but no link may lie on it.
    pub(super) fn without_links(self) -> Way<'a> {
        Way { resolve: CANONICAL, ..self }
    }

    pub(super) fn open(self, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        open_with(self.start, self.path, flags, self.resolve)
    }

    /// The last name of the way, and where it stands; nothing where the way has no name at all.
    pub(super) fn end(self) -> rustix::io::Result<Option<End<'a>>> {
        End::of(self.start, self.path)
    }
}

/// The last name of a path, and the directory that it is in.
pub(super) struct End<'a> {
    start: BorrowedFd<'a>,
    parent: Text,
    pub(super) name: &'a CStr,
}

impl<'a> End<'a> {
    pub(super) fn of(start: BorrowedFd<'a>, path: &'a CStr) -> rustix::io::Result<Option<End<'a>>> {
        let bytes = path.to_bytes_with_nul();
        let slash = bytes.iter().rposition(|byte| *byte == b'/');
        let name = CStr::from_bytes_with_nul(&bytes[slash.map_or(0, |slash| slash + 1)..]).unwrap_or(c".");
        let mut parent = Text::default();
        parent.push(&bytes[..slash.unwrap_or(0)])?;
        Ok((name != c".").then_some(End { start, parent, name }))
    }

    /// Opens that directory, which needs no opening where the path begins there.
    pub(super) fn open_parent(&self) -> rustix::io::Result<Parent<'a>> {
        open_parent(self.start, self.parent.c_str())
    }
}

/// The levels of a path as a [`Target`] has it, topmost first; made as they are asked for, without allocation.
pub(super) struct Levels<'a> {
    left: &'a [u8],
    parent: Text,
    name: Text,
}

pub(super) struct Level<'a> {
    parent: &'a CStr,
    pub(super) name: &'a CStr,
    pub(super) is_last: bool,
}

impl<'a> Levels<'a> {
    pub(super) fn of(path: &'a CStr) -> Levels<'a> {
        let left = if path == c"." { b"" } else { path.to_bytes() };
        Levels { left, parent: Text::default(), name: Text::default() }
    }

    pub(super) fn descend(&mut self) -> rustix::io::Result<Option<Level<'_>>> {
        if self.left.is_empty() {
            return Ok(None);
        }
        if !self.parent.bytes().is_empty() {
            self.parent.push(b"/")?;
        }
        self.parent.push(self.name.bytes())?;
        let length = self.left.iter().position(|byte| *byte == b'/');
        let (name, left) = self.left.split_at(length.unwrap_or(self.left.len()));
        self.name = Text::default();
        self.name.push(name)?;
        self.left = left.strip_prefix(b"/").unwrap_or_default();
        let is_last = self.left.is_empty();
        Ok(Some(Level { parent: self.parent.c_str(), name: self.name.c_str(), is_last }))
    }
}

/// The directory in which something is made: where a way begins, or below that.
pub(super) enum Parent<'a> {
    Start(BorrowedFd<'a>),
    Below(OwnedFd),
}

impl AsFd for Parent<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Parent::Start(directory) => directory.as_fd(),
            Parent::Below(directory) => directory.as_fd(),
        }
    }
}

/// Opens a directory on the way that begins at `start`, which needs no opening itself.
fn open_parent<'a>(start: BorrowedFd<'a>, path: &CStr) -> rustix::io::Result<Parent<'a>> {
    if path == c"." {
        return Ok(Parent::Start(start));
    }
    open_inside(start, path, OFlags::PATH | OFlags::DIRECTORY).map(Parent::Below)
}

/// Opens the target, making what is missing of it.
pub(super) fn open_target(way: Way<'_>) -> Result<OwnedFd, Failure> {
    find_or_make(way).map(|(place, _)| place)
}

/// Whether a target was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    There,
    Made,
}

/// The same, and says whether it was there.
pub(super) fn find_or_make(way: Way<'_>) -> Result<(OwnedFd, Found), Failure> {
    match way.open(OFlags::PATH) {
        Err(Errno::NOENT) => Ok((make_target(way)?, Found::Made)),
        other => Ok((other.during(Call::Open)?, Found::There)),
    }
}

fn make_target(way: Way<'_>) -> Result<OwnedFd, Failure> {
    let mut levels = Levels::of(way.path);
    while let Some(Level { parent, name, is_last }) = levels.descend().during(Call::Open)? {
        let parent = match open_parent(way.start, parent) {
            // It was made or was there: a link that leads nowhere.
            Err(Errno::NOENT) => return make_through_links(way),
            other => other.during(Call::Open)?,
        };
        let made = if is_last && way.kind == TargetKind::File {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        } else {
            rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).during(Call::Mkdir),
        }
    }
    match way.open(OFlags::PATH) {
        // A link that leads nowhere.
        Err(Errno::NOENT) if way.covers_link => way.open(OFlags::PATH | OFlags::NOFOLLOW).during(Call::Open),
        Err(Errno::NOENT) => make_through_links(way),
        other => other.during(Call::Open),
    }
}

/// No link on a way of our own resolving.
const CANONICAL: ResolveFlags =
    ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_SYMLINKS);

/// As many links as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Makes what is missing behind links that lead nowhere yet. The kernel's own resolving ends at them, so they are
/// followed here, name by name; what is so far a way without links is opened from the start each time, and with a link
/// that somebody has put into it meanwhile it fails.
fn make_through_links(way: Way<'_>) -> Result<OwnedFd, Failure> {
    let mut known = Text::default();
    let mut left = Text::default();
    left.push(way.path.to_bytes()).during(Call::Open)?;
    let mut links = 0;
    while let Some(name) = left.take_name() {
        let name = name.during(Call::Open)?;
        match name.bytes() {
            b"." => continue,
            b".." => {
                known.drop_name();
                continue;
            }
            _ => {}
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let parent = open_with(way.start, known.c_str(), flags, CANONICAL).during(Call::Open)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&parent, name.c_str(), flags, Mode::empty()) {
            Ok(found) => {
                let status = rustix::fs::fstat(&found).during(Call::Stat)?;
                if FileType::from_raw_mode(status.st_mode) == FileType::Symlink {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP).during(Call::Open);
                    }
                    let mut text = Text::default();
                    text.read_link(found.as_fd()).during(Call::Readlink)?;
                    if text.bytes().first() == Some(&b'/') {
                        known = Text::default();
                    }
                    text.push(b"/").and_then(|()| text.push(left.bytes())).during(Call::Open)?;
                    left = text;
                    continue;
                }
            }
            Err(Errno::NOENT) if way.kind == TargetKind::File && left.is_done() => {
                let flags =
                    OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(&parent, name.c_str(), flags, Mode::from_raw_mode(0o644))
                    .during(Call::Mkdir)?;
            }
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&parent, name.c_str(), Mode::from_raw_mode(0o755)).during(Call::Mkdir)?;
            }
            Err(errno) => return Err(errno).during(Call::Open),
        }
        known.push(b"/").and_then(|()| known.push(name.bytes())).during(Call::Open)?;
    }
    open_with(way.start, known.c_str(), OFlags::PATH, CANONICAL).during(Call::Open)
}

/// The longest path that the kernel takes, with its end (`PATH_MAX`).
const LONGEST: usize = 4096;

/// A path in the making, without allocation; always ends in NUL.
struct Text {
    bytes: [u8; LONGEST],
    /// Names before this one are taken.
    begin: usize,
    end: usize,
}

impl Default for Text {
    fn default() -> Text {
        Text { bytes: [0; LONGEST], begin: 0, end: 0 }
    }
}

impl Text {
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.begin..self.end]
    }

    /// It as a path; an empty one is where it begins.
    fn c_str(&self) -> &CStr {
        match CStr::from_bytes_until_nul(&self.bytes[self.begin..]) {
            Ok(text) if !text.is_empty() => text,
            _ => c".",
        }
    }

    fn push(&mut self, more: &[u8]) -> rustix::io::Result<()> {
        let end = self.end + more.len();
        // One byte stays for the NUL.
        if end >= LONGEST {
            return Err(Errno::NAMETOOLONG);
        }
        self.bytes[self.end..end].copy_from_slice(more);
        self.end = end;
        Ok(())
    }

    fn read_link(&mut self, link: BorrowedFd<'_>) -> rustix::io::Result<()> {
        rustix::fs::readlinkat_raw(link, c"", &mut self.bytes[..LONGEST - 1])?;
        self.end = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(LONGEST - 1);
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.bytes().iter().all(|byte| *byte == b'/')
    }

    /// The next name, which is gone from here then.
    fn take_name(&mut self) -> Option<rustix::io::Result<Text>> {
        if self.is_done() {
            return None;
        }
        self.begin += self.bytes().iter().take_while(|byte| **byte == b'/').count();
        let length = self.bytes().iter().take_while(|byte| **byte != b'/').count();
        let mut name = Text::default();
        let pushed = name.push(&self.bytes[self.begin..self.begin + length]);
        self.begin += length;
        Some(pushed.map(|()| name))
    }

    fn drop_name(&mut self) {
        let keep = self.bytes().iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        self.bytes[self.begin + keep..self.end].fill(0);
        self.end = self.begin + keep;
    }
}

/// Makes a directory and what is missing of the way to it. They are root's, whoever the program's user is.
pub(super) fn make_working_directory(context: &Context<'_>, target: &Target) -> Outcome {
    let root = context.root()?;
    let mut levels = Levels::of(&target.path);
    while let Some(Level { parent, name, .. }) = levels.descend().during(Call::Open)? {
        let parent = open_inside(root, parent, OFlags::PATH | OFlags::DIRECTORY).during(Call::Open)?;
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).during(Call::Mkdir),
        }
    }
    Ok(())
}

pub(super) fn make_parent(way: Way<'_>) -> Result<OwnedFd, Failure> {
    let mut last = None;
    let mut levels = Levels::of(way.path);
    while let Some(Level { parent, name, is_last: false }) = levels.descend().during(Call::Open)? {
        let directory =
            open_inside(way.start, parent, OFlags::PATH | OFlags::DIRECTORY).during(Call::Open)?;
        match rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).during(Call::Mkdir),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        last = Some(rustix::fs::openat(&directory, name, flags, Mode::empty()).during(Call::Open)?);
    }
    last.ok_or(Errno::NOENT).during(Call::Open)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own, which is removed with all that is in it.
    struct Root(std::path::PathBuf);

    impl Root {
        fn new(name: &str) -> Root {
            let path = std::env::temp_dir().join(format!("rabbitc-way-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("a directory");
            Root(path)
        }

        fn link(&self, text: &str, at: &str) {
            std::os::unix::fs::symlink(text, self.0.join(at)).expect("a link");
        }

        fn make(&self, path: &str, kind: TargetKind) -> Result<OwnedFd, Failure> {
            let root = std::fs::File::open(&self.0).expect("opened");
            let target = Target::parse(path, kind, "test").expect("legal");
            open_target(Way::from_root(root.as_fd(), &target))
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).expect("removed");
        }
    }

    #[test]
    fn target_behind_links_that_lead_nowhere_is_made_where_they_lead() {
        let root = Root::new("dangling");
        std::fs::create_dir(root.0.join("etc")).expect("made");
        root.link("/tmp/foo/../bar", "jump");
        root.link("../jump/baz/hosts", "etc/hosts");
        root.make("/etc/hosts", TargetKind::File).expect("made");
        assert!(root.0.join("tmp/bar/baz/hosts").is_file());
        root.link("/a/b/", "directory");
        root.make("/directory", TargetKind::Directory).expect("made");
        assert!(root.0.join("a/b").is_dir());
    }

    #[test]
    fn links_stay_inside_however_many_parents_they_name() {
        let root = Root::new("outside");
        let name = format!("rabbitc-escaped-{}", std::process::id());
        root.link(&format!("../../../../../../tmp/{name}"), "up");
        root.make("/up", TargetKind::Directory).expect("made");
        assert!(root.0.join("tmp").join(&name).is_dir());
        assert!(!std::path::Path::new("/tmp").join(&name).exists());
    }

    #[test]
    fn links_in_a_circle_are_refused() {
        let root = Root::new("circle");
        root.link("b/x", "a");
        root.link("a/x", "b");
        let failure = root.make("/a", TargetKind::Directory).expect_err("endless");
        assert_eq!(failure.errno, Errno::LOOP.raw_os_error());
    }
}
