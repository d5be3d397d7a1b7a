//! Overlays: the root, and what lies over volumes and over pieces of the host's root.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, MountFlags, fsconfig_set_flag, fsconfig_set_string, fsopen};
use sys::mount::Attributes;

use super::Context;
use super::failure::{Call, During, Failure, Outcome};
use super::mount::{Digits, attach, create, duplicate, open_host_directory};
use super::step::{Lower, MOST_LAYERS, OverlayRoot, Rights};
use super::way::{Levels, Way, open_target};

/// As whom the kernel shows users and groups that a user namespace does not map (`/proc/sys/kernel/overflowuid`).
const OVERFLOW_ID: u32 = 65_534;

/// How a path by a descriptor of this process begins.
const BY_DESCRIPTOR: &[u8] = b"/proc/self/fd/";

/// Where an overlay has what it needs beside its lower directories.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    /// Goes with the container.
    scratch: BorrowedFd<'a>,
    /// Of upper and work directories that stay.
    kept: Option<BorrowedFd<'a>>,
}

impl<'a> Ground<'a> {
    /// Of one that is thrown away.
    pub(super) fn of(scratch: BorrowedFd<'a>) -> Ground<'a> {
        Ground { scratch, kept: None }
    }

    fn uppers(&self) -> BorrowedFd<'a> {
        self.kept.unwrap_or(self.scratch)
    }
}

/// Mounts an overlay and makes it the root.
pub(super) fn overlay_root(context: &mut Context<'_>, overlay: &OverlayRoot) -> Outcome {
    let open_lower = |context: &Context<'_>, lower: &Lower| match lower.detached {
        Some(number) => duplicate(context.detached(number)?),
        None => open_host_directory(&lower.path, lower.planned),
    };
    // Before anything is attached, so that no lower path can lead into what is made here.
    let mut lowers = [const { None::<OwnedFd> }; MOST_LAYERS];
    for (slot, lower) in lowers.iter_mut().zip(&overlay.lowers) {
        *slot = Some(open_lower(context, lower)?);
    }
    let kept = overlay.uppers.as_ref().map(|uppers| open_lower(context, uppers)).transpose()?;
    let scratch = {
        let opened = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).during(Call::Fsopen)?;
        fsconfig_set_string(opened.as_fd(), c"mode", c"0700").during(Call::Fsconfig)?;
        create(opened.as_fd(), Attributes::default())?
    };
    let place = open_host_directory(&overlay.scratch, None)?;
    attach(scratch.as_fd(), place.as_fd())?;
    // An overlay takes no layer that is attached nowhere (before 6.15).
    let place = |lower: &Lower, opened: BorrowedFd<'_>, letter: u8, number: usize| match lower.detached {
        Some(_) => attach(opened, make_directory(scratch.as_fd(), letter, number)?.as_fd()),
        None => Ok(()),
    };
    if let (Some(uppers), Some(opened)) = (&overlay.uppers, &kept) {
        place(uppers, opened.as_fd(), b'k', 0)?;
    }
    let ground = Ground { scratch: scratch.as_fd(), kept: kept.as_ref().map(AsFd::as_fd) };
    let over = |lowers: &[Option<OwnedFd>], number: usize, points: &[CString]| {
        let label = overlay.label.as_deref();
        overlay_over(ground, lowers, number, overlay.rights, label, points)
    };
    for (number, (lower, opened)) in overlay.lowers.iter().zip(lowers.iter().flatten()).enumerate() {
        place(lower, opened.as_fd(), b'r', number)?;
    }
    let root = over(&lowers, 0, &overlay.points)?;
    drop(lowers);
    rustix::fs::mkdirat(&scratch, c"merged", Mode::from_raw_mode(0o755)).during(Call::Mkdir)?;
    let merged = rustix::fs::openat(&scratch, c"merged", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .during(Call::Open)?;
    attach(root.as_fd(), merged.as_fd())?;
    for (index, (lower, target)) in overlay.submounts.iter().enumerate() {
        let opened = open_lower(context, lower)?;
        place(lower, opened.as_fd(), b'l', index)?;
        let mount = over(&[Some(opened)], index + 1, &[])?;
        let target = open_target(Way::from_root(root.as_fd(), target))?;
        attach(mount.as_fd(), target.as_fd())?;
        context.keep_layer(mount)?;
    }
    context.root = Some(root);
    Ok(())
}

/// Makes and opens the directory of this letter and number.
pub(super) fn make_directory(scratch: BorrowedFd<'_>, letter: u8, number: usize) -> Result<OwnedFd, Failure> {
    let mut name = Digits::after(&[letter], number);
    let name = name.c_str();
    rustix::fs::mkdirat(scratch, name, Mode::from_raw_mode(0o755)).during(Call::Mkdir)?;
    rustix::fs::openat(scratch, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .during(Call::Open)
}

/// Since when a directory is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    Now,
    /// By an earlier start of the container, whose changes stay.
    Before,
}

/// Makes and opens a directory that may be there from an earlier start.
fn upper_directory(ground: BorrowedFd<'_>, letter: u8, number: usize) -> Result<(OwnedFd, Made), Failure> {
    let mut name = Digits::after(&[letter], number);
    let name = name.c_str();
    let made = match rustix::fs::mkdirat(ground, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Made::Before,
        made => made.during(Call::Mkdir).map(|()| Made::Now)?,
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok((rustix::fs::openat(ground, name, flags, Mode::empty()).during(Call::Open)?, made))
}

/// One overlay over `lowers`, the topmost one first; `points` are what will be mounted in it.
pub(super) fn overlay_over<Lower: AsFd>(
    ground: Ground<'_>,
    lowers: &[Option<Lower>],
    number: usize,
    rights: Rights,
    label: Option<&CStr>,
    points: &[CString],
) -> Result<OwnedFd, Failure> {
    let (upper, made) = upper_directory(ground.uppers(), b'u', number)?;
    let (work, _) = upper_directory(ground.uppers(), b'w', number)?;
    let mut each = lowers.iter().flatten().map(AsFd::as_fd);
    let (top, more) = (each.next().ok_or(Errno::NOENT).during(Call::Open)?, each.next().is_some());
    // The merged root shows the owner and mode of the upper directory. One that was there before keeps what the container gave it.
    if made == Made::Now {
        let below = rustix::fs::fstat(top).during(Call::Stat)?;
        copy_looks(&below, upper.as_fd(), rights)?;
    }
    if rights == Rights::UserNamespace {
        for lower in lowers.iter().flatten() {
            points.iter().try_for_each(|point| open_the_way(lower.as_fd(), upper.as_fd(), point))?;
        }
    }
    let opened = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC).during(Call::Fsopen)?;
    fsconfig_set_string(opened.as_fd(), c"source", c"overlay").during(Call::Fsconfig)?;
    // Through /proc, as a path of any length and with any character then fits the option.
    let set = |key: &CStr, directory: BorrowedFd<'_>| {
        let mut path = Digits::after(BY_DESCRIPTOR, directory.as_raw_fd() as usize);
        fsconfig_set_string(opened.as_fd(), key, path.c_str())
    };
    // One after the other, as all together may be longer than an option may be.
    let key = if more { c"lowerdir+" } else { c"lowerdir" };
    let by_mount =
        || overlay_by_mount(ground.scratch, lowers, (upper.as_fd(), work.as_fd()), number, rights, label);
    for (item, lower) in lowers.iter().flatten().enumerate() {
        match set(key, lower.as_fd()) {
            // It came with 6.7.
            Err(Errno::INVAL) if more => return by_mount(),
            set => set.during_item(Call::Fsconfig, item)?,
        }
    }
    set(c"upperdir", upper.as_fd()).during(Call::Fsconfig)?;
    set(c"workdir", work.as_fd()).during(Call::Fsconfig)?;
    if rights == Rights::UserNamespace {
        fsconfig_set_flag(opened.as_fd(), c"userxattr").during(Call::Fsconfig)?;
    } else if ground.kept.is_some() {
        // What is to be read by others than this overlay has no short cuts, whatever the kernel's configuration.
        for shortcut in [c"redirect_dir", c"metacopy"] {
            fsconfig_set_string(opened.as_fd(), shortcut, c"off").during(Call::Fsconfig)?;
        }
    }
    if let Some(label) = label {
        fsconfig_set_string(opened.as_fd(), c"context", label).during(Call::Fsconfig)?;
    }
    match create(opened.as_fd(), Attributes::default()) {
        // Before 6.5 overlayfs looks at what it was given only now.
        Err(failure) if more && failure.errno == Errno::INVAL.raw_os_error() => by_mount(),
        created => created,
    }
}

/// The same by mount(2), whose options may be as long as a page together: before 6.7, fsconfig(2) takes no more than 255 bytes for
/// all layers. What it mounts is attached, and moves when it is attached elsewhere.
fn overlay_by_mount<Lower: AsFd>(
    scratch: BorrowedFd<'_>,
    lowers: &[Option<Lower>],
    (upper, work): (BorrowedFd<'_>, BorrowedFd<'_>),
    number: usize,
    rights: Rights,
    label: Option<&CStr>,
) -> Result<OwnedFd, Failure> {
    let mut options = Text { bytes: [0; PAGE], length: 0 };
    let path = |options: &mut Text, key: &[u8], directory: BorrowedFd<'_>| {
        options.add(key)?;
        options.add(Digits::after(BY_DESCRIPTOR, directory.as_raw_fd() as usize).c_str().to_bytes())
    };
    let mut key: &[u8] = b"lowerdir=";
    for (item, lower) in lowers.iter().flatten().enumerate() {
        path(&mut options, key, lower.as_fd()).during_item(Call::Mount, item)?;
        key = b":";
    }
    path(&mut options, b",upperdir=", upper).during(Call::Mount)?;
    path(&mut options, b",workdir=", work).during(Call::Mount)?;
    if rights == Rights::UserNamespace {
        options.add(b",userxattr").during(Call::Mount)?;
    } else {
        options.add(b",redirect_dir=off,metacopy=off").during(Call::Mount)?;
    }
    if let Some(label) = label {
        // A label may have commas.
        for part in [b",context=\"", label.to_bytes(), b"\""] {
            options.add(part).during(Call::Mount)?;
        }
    }
    let place = make_directory(scratch, b'm', number)?;
    let mut target = Digits::after(BY_DESCRIPTOR, place.as_raw_fd() as usize);
    let flags = MountFlags::empty();
    rustix::mount::mount(c"overlay", target.c_str(), c"overlay", flags, options.c_str())
        .during(Call::Mount)?;
    let mut name = Digits::after(b"m", number);
    rustix::fs::openat(scratch, name.c_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .during(Call::Open)
}

/// The options of mount(2), without allocation.
struct Text {
    bytes: [u8; PAGE],
    length: usize,
}

/// As much as the kernel takes, with the NUL byte at the end.
const PAGE: usize = 4096;

impl Text {
    fn add(&mut self, part: &[u8]) -> rustix::io::Result<()> {
        let end = self.length + part.len();
        let place = self.bytes[..PAGE - 1].get_mut(self.length..end).ok_or(Errno::TOOBIG)?;
        place.copy_from_slice(part);
        self.length = end;
        Ok(())
    }

    fn c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

/// Gives a directory of the upper layer the owner and mode of the one below it.
fn copy_looks(below: &rustix::fs::Stat, upper: BorrowedFd<'_>, rights: Rights) -> Outcome {
    // Somebody whom the namespace does not know shows as nobody, and can't be given anything: then it is root's.
    let known = |id: u32| rights == Rights::Host || id != OVERFLOW_ID;
    let uid = known(below.st_uid).then(|| rustix::fs::Uid::from_raw(below.st_uid));
    let gid = known(below.st_gid).then(|| rustix::fs::Gid::from_raw(below.st_gid));
    rustix::fs::fchown(upper, uid, gid).during(Call::Chown)?;
    rustix::fs::fchmod(upper, Mode::from_raw_mode(below.st_mode & 0o7777)).during(Call::Chmod)
}

/// Makes the directories on the way to `point` in the upper layer, where one of those that are there below belongs to
/// nobody whom the user namespace knows: in the merged one, what is missing can then be made. A way through a link is
/// left to the one who mounts.
fn open_the_way(lower: BorrowedFd<'_>, upper: BorrowedFd<'_>, point: &CStr) -> Outcome {
    let mut found = 0;
    let (mut last, mut is_foreign) = (None, false);
    let mut levels = Levels::of(point);
    while let Some(level) = levels.descend().during(Call::Open)? {
        let parent = last.as_ref().map_or(lower, OwnedFd::as_fd);
        match open_plain(parent, level.name) {
            Err(Errno::NOENT) => break,
            // A link, a file, or a place that is closed; or all of it is there.
            Err(_) => return Ok(()),
            Ok(_) if level.is_last => return Ok(()),
            Ok(directory) => {
                let status = rustix::fs::fstat(&directory).during(Call::Stat)?;
                is_foreign |= [status.st_uid, status.st_gid].contains(&OVERFLOW_ID);
                last = Some(directory);
            }
        }
        found += 1;
    }
    if !is_foreign {
        return Ok(());
    }
    let (mut below, mut above) = (None, None);
    let mut levels = Levels::of(point);
    for _ in 0..found {
        let Some(level) = levels.descend().during(Call::Open)? else { break };
        let parent = above.as_ref().map_or(upper, OwnedFd::as_fd);
        let next = open_plain(below.as_ref().map_or(lower, OwnedFd::as_fd), level.name).during(Call::Open)?;
        match rustix::fs::mkdirat(parent, level.name, Mode::from_raw_mode(0o700)) {
            // For another point.
            Err(Errno::EXIST) => above = Some(open_plain(parent, level.name).during(Call::Open)?),
            made => {
                made.during(Call::Mkdir)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = rustix::fs::openat(parent, level.name, flags, Mode::empty()).during(Call::Open)?;
                copy_looks(
                    &rustix::fs::fstat(&next).during(Call::Stat)?,
                    made.as_fd(),
                    Rights::UserNamespace,
                )?;
                above = Some(made);
            }
        }
        below = Some(next);
    }
    Ok(())
}

/// Opens a directory that is none by a link.
fn open_plain(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}
