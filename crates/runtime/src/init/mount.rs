//! The child's mounts: every path inside the container is resolved inside its root and used as a descriptor.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};
use sys::mount::{Attributes, Reach, attribute, propagation, set_attributes};

use super::failure::{Call, During, Failure, Outcome};
use super::step::{BoundRoot, CopyUp, DeviceNode, FileSystem, Link, MountPlan, Target, TargetKind};
use super::way::{Found, Parent, Way, find_or_make, make_parent, open_target};
use super::{Context, copy_up, procfs};

pub(super) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Outcome {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags).during(Call::MoveMount)
}

pub(super) fn clone_tree(
    directory: BorrowedFd<'_>,
    path: &CStr,
    recursive: bool,
) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(directory, path, flags)
}

/// Binds the root directory onto itself, as `pivot_root` wants a mount; one that the parent made goes onto the old
/// root, as the way to the directory may be closed to this process.
pub(super) fn bind_root(context: &mut Context<'_>, root: &BoundRoot) -> Outcome {
    let (tree, target) = match root.detached {
        Some(number) => (duplicate(context.detached(number)?)?, open_host_directory(c"/", None)?),
        None => {
            let found = open_host_directory(&root.path, Some(root.planned))?;
            (clone_tree(found.as_fd(), c"", true).during(Call::OpenTree)?, found)
        }
    };
    attach(tree.as_fd(), target.as_fd())?;
    context.root = Some(tree);
    Ok(())
}

/// Opens a directory by a path of the host's: the one that was `planned`, or any. One that has taken its place may be the
/// host's own root, by a link.
pub(super) fn open_host_directory(path: &CStr, planned: Option<(u64, u64)>) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let found = rustix::fs::openat(CWD, path, flags, Mode::empty()).during(Call::Open)?;
    if let Some(planned) = planned {
        let status = rustix::fs::fstat(&found).during(Call::Stat)?;
        if (status.st_dev, status.st_ino) != planned {
            return Err(Errno::STALE).during(Call::Stat);
        }
    }
    Ok(found)
}

/// Another descriptor of the same mount, which stays close-on-exec.
pub(super) fn duplicate(mount: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    rustix::io::fcntl_dupfd_cloexec(mount, 3).during(Call::Dup)
}

/// A new instance of a file system, not attached anywhere yet.
fn make_file_system(
    file_system: &CStr,
    source: &CStr,
    parameters: &[(CString, Option<CString>)],
    mode: Option<u32>,
    attributes: Attributes,
) -> Result<OwnedFd, Failure> {
    let opened = fsopen(file_system, FsOpenFlags::FSOPEN_CLOEXEC).during(Call::Fsopen)?;
    fsconfig_set_string(opened.as_fd(), c"source", source).during(Call::Fsconfig)?;
    for (item, (key, value)) in parameters.iter().enumerate() {
        match value {
            Some(value) => fsconfig_set_string(opened.as_fd(), key.as_c_str(), value.as_c_str()),
            None => fsconfig_set_flag(opened.as_fd(), key.as_c_str()),
        }
        .during_item(Call::Fsconfig, item)?;
    }
    if let Some(mode) = mode {
        let mut text = Digits::octal(mode);
        fsconfig_set_string(opened.as_fd(), c"mode", text.c_str()).during(Call::Fsconfig)?;
    }
    create(opened.as_fd(), attributes)
}

pub(super) fn create(opened: BorrowedFd<'_>, attributes: Attributes) -> Result<OwnedFd, Failure> {
    fsconfig_create(opened).during(Call::Fsconfig)?;
    let bits = MountAttrFlags::from_bits_retain(attributes.set as u32);
    fsmount(opened, FsMountFlags::FSMOUNT_CLOEXEC, bits).during(Call::Fsmount)
}

/// A short text that ends in a number, without allocation.
pub(super) struct Digits {
    bytes: [u8; 40],
    length: usize,
}

impl Digits {
    pub(super) fn after(prefix: &[u8], number: usize) -> Digits {
        Digits::with_base(prefix, number, 10)
    }

    /// As the option `mode` wants it.
    fn octal(mode: u32) -> Digits {
        Digits::with_base(b"", mode as usize, 8)
    }

    fn with_base(prefix: &[u8], mut number: usize, base: usize) -> Digits {
        let mut bytes = [0u8; 40];
        bytes[..prefix.len()].copy_from_slice(prefix);
        let mut digits = [0u8; 20];
        let mut count = 0;
        loop {
            digits[count] = b'0' + (number % base) as u8;
            number /= base;
            count += 1;
            if number == 0 {
                break;
            }
        }
        for index in 0..count {
            bytes[prefix.len() + index] = digits[count - 1 - index];
        }
        Digits { bytes, length: prefix.len() + count }
    }

    pub(super) fn c_str(&mut self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes[..=self.length]).unwrap_or(c"")
    }
}

/// Mounts a new file system at its target.
pub(super) fn mount(context: &mut Context<'_>, plan: &MountPlan<FileSystem>) -> Outcome {
    let FileSystem { file_system, source, parameters, copy_up, inherits_mode, on_ordinary } = &plan.kind;
    let way = Way::to(context, &plan.target)?;
    let (place, found) = match *on_ordinary {
        true => find_or_make(way.without_links()).map_err(|failure| match failure.errno {
            errno if errno == Errno::LOOP.raw_os_error() => Failure { call: Call::Stat, ..failure },
            _ => failure,
        })?,
        false => find_or_make(way)?,
    };
    let mut attributes = plan.attributes;
    let mut later = Attributes::default();
    if copy_up.is_some() {
        // It is filled first.
        later.set = attributes.set & attribute::RDONLY;
        attributes.set &= !attribute::RDONLY;
    }
    let mode = match found {
        Found::There if *inherits_mode => {
            Some(rustix::fs::fstat(&place).during(Call::Stat)?.st_mode & 0o7777)
        }
        _ => None,
    };
    let mount = make_file_system(file_system, source, parameters, mode, attributes)?;
    procfs::check_place(mount.as_fd(), place.as_fd(), &plan.target)?;
    if let Some(mut what) = *copy_up {
        if found == Found::Made {
            // Its mode is that of a new file system then, and not of what was made to mount it on.
            what = CopyUp::Content;
        }
        copy_up::copy(place.as_fd(), mount.as_fd(), what)?;
    }
    finish(mount.as_fd(), place.as_fd(), later, plan.recursive, plan.propagation)?;
    keep(context, mount, &plan.target);
    Ok(())
}

/// Opens the place for `mount`, made where it is missing and checked not to lie in procfs.
pub(super) fn open_place(
    context: &Context<'_>,
    mount: BorrowedFd<'_>,
    target: &Target,
) -> Result<OwnedFd, Failure> {
    open_place_of(target.kind, context, mount, target)
}

/// The same for a target of which only now is known what it must be.
pub(super) fn open_place_of(
    kind: TargetKind,
    context: &Context<'_>,
    mount: BorrowedFd<'_>,
    target: &Target,
) -> Result<OwnedFd, Failure> {
    let place = open_target(Way::to(context, target)?.kind(kind))?;
    procfs::check_place(mount, place.as_fd(), target)?;
    Ok(place)
}

/// Keeps a mount that later targets lie in.
pub(super) fn keep(context: &mut Context<'_>, mount: OwnedFd, target: &Target) {
    if let Some(slot) = target.kept_at {
        context.anchors[slot] = Some(mount);
    }
}

/// Attributes and propagation first, while nobody can see the mount; then it is attached.
pub(super) fn finish(
    mount: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    mut attributes: Attributes,
    mut recursive: Attributes,
    propagation: u64,
) -> Outcome {
    if propagation & propagation::REC == 0 {
        attributes.propagation = propagation;
    } else {
        recursive.propagation = propagation & !propagation::REC;
    }
    if recursive != Attributes::default() {
        set_attributes(mount, recursive, Reach::Tree).during(Call::MountSetattr)?;
    }
    if attributes != Attributes::default() {
        set_attributes(mount, attributes, Reach::Mount).during(Call::MountSetattr)?;
    }
    attach(mount, target)
}

/// Sets attributes of the root and of the overlays in it. Those go by their descriptors: at the place of one may lie a
/// mount of the config by now, put there by its name or by a link that leads there.
pub(super) fn root_attributes(context: &mut Context<'_>, set: u64) -> Outcome {
    let change = Attributes { set, ..Attributes::default() };
    set_attributes(context.root()?, change, Reach::Mount).during(Call::MountSetattr)?;
    for layer in context.layers.iter_mut().filter_map(Option::take) {
        set_attributes(layer.as_fd(), change, Reach::Mount).during(Call::MountSetattr)?;
    }
    Ok(())
}

/// Sets the root's propagation. A shared one is the first of a group of its own (config-linux.md, "Rootfs Mount
/// Propagation"): what it was a slave of must not reach it.
pub(super) fn root_propagation(context: &Context<'_>, flags: u64) -> Outcome {
    let root = context.root()?;
    if flags & propagation::SHARED != 0 {
        set_propagation(root, propagation::PRIVATE)?;
    }
    set_propagation(root, flags)
}

/// Sets the propagation of the mount behind a descriptor.
fn set_propagation(mount: BorrowedFd<'_>, flags: u64) -> Outcome {
    let reach = if flags & propagation::REC == 0 { Reach::Mount } else { Reach::Tree };
    let change = Attributes { propagation: flags & !propagation::REC, ..Attributes::default() };
    set_attributes(mount, change, reach).during(Call::MountSetattr)
}

/// Changes attributes of what is mounted at a target.
pub(super) fn change_attributes(context: &mut Context<'_>, target: &Target, set: u64, clear: u64) -> Outcome {
    let mount = Way::to(context, target)?.open(OFlags::PATH).during(Call::Open)?;
    let change = Attributes { set, clear, propagation: 0 };
    set_attributes(mount.as_fd(), change, Reach::Mount).during(Call::MountSetattr)
}

/// Makes device nodes, or binds the host's where none can be made.
pub(super) fn devices(context: &mut Context<'_>, devices: &[DeviceNode]) -> Outcome {
    for (item, device) in devices.iter().enumerate() {
        let result = if device.bind { bind_device(context, device) } else { make_device(context, device) };
        result.map_err(|failure| Failure { item: item as u32, ..failure })?;
    }
    Ok(())
}

fn make_device(context: &Context<'_>, device: &DeviceNode) -> Outcome {
    let way = Way::to(context, &device.target)?;
    let Some(end) = way.end().during(Call::Open)? else { return Ok(()) };
    let parent = match end.open_parent() {
        Err(Errno::NOENT) => Parent::Below(make_parent(way)?),
        other => other.during(Call::Open)?,
    };
    let mode = Mode::from_raw_mode(device.mode);
    let made = match rustix::fs::mknodat(&parent, end.name, device.file_type, mode, device.device) {
        Ok(()) => true,
        // A node that is there already serves if it is the right one; anything else there is refused.
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(errno).during(Call::Mknod),
    };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = rustix::fs::openat(&parent, end.name, flags, Mode::empty()).during(Call::Open)?;
    // Also of one that was just made: where the directory is not ours alone, another may have taken its place.
    let found = rustix::fs::fstat(&node).during(Call::Stat)?;
    let same = FileType::from_raw_mode(found.st_mode) == device.file_type
        && (device.file_type == FileType::Fifo || found.st_rdev == device.device);
    if !same {
        return Err(Errno::EXIST).during(Call::Mknod);
    }
    if !made {
        return Ok(());
    }
    if found.st_mode & 0o7777 != device.mode {
        // The directory's default list of access applies where the umask does not. By the descriptor's link, as
        // fchmod(2) refuses O_PATH ones and a path could lead to a file of the host.
        let mut link = Digits::after(b"/proc/self/fd/", node.as_raw_fd() as usize);
        rustix::fs::chmodat(CWD, link.c_str(), mode, AtFlags::empty()).during(Call::Chmod)?;
    }
    if device.uid != 0 || device.gid != 0 {
        let (uid, gid) = (rustix::fs::Uid::from_raw(device.uid), rustix::fs::Gid::from_raw(device.gid));
        rustix::fs::chownat(&node, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH).during(Call::Chown)?;
    }
    Ok(())
}

fn bind_device(context: &Context<'_>, device: &DeviceNode) -> Outcome {
    let tree = clone_tree(CWD, &device.host, false).during(Call::OpenTree)?;
    let place = open_place(context, tree.as_fd(), &device.target)?;
    attach(tree.as_fd(), place.as_fd())
}

/// Makes symbolic links; one that is there stays.
pub(super) fn links(context: &mut Context<'_>, links: &[Link]) -> Outcome {
    for (item, link) in links.iter().enumerate() {
        let way = Way::to(context, &link.target)?;
        let Some(end) = way.end().during_item(Call::Open, item)? else { continue };
        let parent = match end.open_parent() {
            // No /dev at all: then nobody looks for its links either.
            Err(Errno::NOENT) => continue,
            other => other.during_item(Call::Open, item)?,
        };
        match rustix::fs::symlinkat(link.text.as_c_str(), &parent, end.name) {
            Ok(()) | Err(Errno::EXIST | Errno::ROFS) => {}
            Err(errno) => return Err(errno).during_item(Call::Symlink, item),
        }
    }
    Ok(())
}

/// Hides each target that exists: files behind the null device, directories behind one empty read-only tmpfs.
pub(super) fn mask(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    let mut empty: Option<OwnedFd> = None;
    let mut null: Option<OwnedFd> = None;
    for (item, target) in targets.iter().enumerate() {
        let of_item = |failure: Failure| Failure { item: item as u32, ..failure };
        let found = match Way::to(context, target)?.open(OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => continue,
            other => other.during_item(Call::Open, item)?,
        };
        let status = rustix::fs::fstat(&found).during_item(Call::Stat, item)?;
        let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
        let first = if is_directory { &mut empty } else { &mut null };
        let cover = match first {
            Some(first) => clone_tree(first.as_fd(), c"", false).during_item(Call::OpenTree, item)?,
            None => match is_directory {
                true => empty_directory(),
                false => null_device(),
            }
            .map_err(of_item)?,
        };
        attach(cover.as_fd(), found.as_fd()).map_err(of_item)?;
        first.get_or_insert(cover);
    }
    Ok(())
}

/// A directory with nothing in it, where nothing can be made.
fn empty_directory() -> Result<OwnedFd, Failure> {
    let opened = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).during(Call::Fsopen)?;
    fsconfig_set_string(opened.as_fd(), c"mode", c"0755").during(Call::Fsconfig)?;
    fsconfig_set_string(opened.as_fd(), c"nr_inodes", c"2").during(Call::Fsconfig)?;
    let set = attribute::RDONLY | attribute::NOSUID | attribute::NODEV | attribute::NOEXEC;
    create(opened.as_fd(), Attributes { set, ..Attributes::default() })
}

/// The host's null device, checked: an image's `/dev/null` could be anything (CVE-2025-31133). On a read-only mount, as its
/// mode, owner and times are not the container's to change.
fn null_device() -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let null = rustix::fs::openat(CWD, c"/dev/null", flags, Mode::empty()).during(Call::Open)?;
    let status = rustix::fs::fstat(&null).during(Call::Stat)?;
    let right = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
        && status.st_rdev == rustix::fs::makedev(1, 3);
    if !right {
        return Err(Errno::NODEV).during(Call::Stat);
    }
    let mount = clone_tree(null.as_fd(), c"", false).during(Call::OpenTree)?;
    let change = Attributes { set: attribute::RDONLY, ..Attributes::default() };
    set_attributes(mount.as_fd(), change, Reach::Mount).during(Call::MountSetattr)?;
    Ok(mount)
}

/// Binds each target that exists onto itself, read-only.
pub(super) fn read_only_paths(context: &mut Context<'_>, targets: &[Target]) -> Outcome {
    for (item, target) in targets.iter().enumerate() {
        let found = match Way::to(context, target)?.open(OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            other => other.during_item(Call::Open, item)?,
        };
        let tree = clone_tree(found.as_fd(), c"", true).during_item(Call::OpenTree, item)?;
        let change = Attributes { set: attribute::RDONLY, ..Attributes::default() };
        set_attributes(tree.as_fd(), change, Reach::Tree).during_item(Call::MountSetattr, item)?;
        attach(tree.as_fd(), found.as_fd()).map_err(|failure| Failure { item: item as u32, ..failure })?;
    }
    Ok(())
}

/// The most mounts that lie on top of a root that was just changed.
const MOST_COVERS: usize = 16;

/// Makes the container's root the root, and lets go of the host's tree.
pub(super) fn pivot(context: &mut Context<'_>) -> Outcome {
    rustix::process::fchdir(context.root()?).during(Call::Chdir)?;
    sys::mount::pivot_root_here().during(Call::PivotRoot)?;
    let mount = |directory: BorrowedFd<'_>, path: &CStr, flags: AtFlags| {
        let found = rustix::fs::statx(directory, path, flags, StatxFlags::MNT_ID).during(Call::Stat)?;
        Ok::<u64, Failure>(found.stx_mnt_id)
    };
    let own = mount(context.root()?, c"", AtFlags::EMPTY_PATH)?;
    // The old root now lies on top of the new one, and on top of it what was mounted at its own root, as the place of an overlay's
    // layers is in a user namespace: each goes by itself. What stayed would be found behind `/..`.
    for _ in 0..MOST_COVERS {
        unmount(c".", UnmountFlags::DETACH).during(Call::Umount)?;
        if mount(CWD, c"/..", AtFlags::empty())? == own {
            return rustix::process::chdir(c"/").during(Call::Chdir);
        }
    }
    Err(Errno::BUSY).during(Call::Umount)
}

/// Moves the root onto `/`, for a host whose root is a ramdisk and can't be left by pivot_root. Whatever shows the whole of
/// the kernel's own file systems goes first: a container that can mount could otherwise have a proc or sysfs without masks.
pub(super) fn move_root(context: &mut Context<'_>, visible: &[CString]) -> Outcome {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for (item, place) in visible.iter().enumerate() {
        match unmount(place.as_c_str(), UnmountFlags::DETACH) {
            // Gone with one that it lay below.
            Ok(()) | Err(Errno::NOENT) => {}
            // Locked to what it lies on, in a user namespace: covered it is as good as gone.
            Err(Errno::INVAL | Errno::PERM) => {
                let cover = make_file_system(c"tmpfs", c"tmpfs", &[], None, Attributes::default())?;
                let covered = rustix::fs::openat(CWD, place.as_c_str(), directory, Mode::empty())
                    .during_item(Call::Open, item)?;
                attach(cover.as_fd(), covered.as_fd())?;
            }
            Err(errno) => return Err(errno).during_item(Call::Umount, item),
        }
    }
    let top = rustix::fs::openat(CWD, c"/", directory, Mode::empty()).during(Call::Open)?;
    attach(context.root()?, top.as_fd())?;
    change_root(context)
}

/// Makes the root this process's, and leaves the mount namespace as it is.
pub(super) fn change_root(context: &mut Context<'_>) -> Outcome {
    rustix::process::fchdir(context.root()?).during(Call::Chdir)?;
    rustix::process::chroot(c".").during(Call::Chroot)?;
    rustix::process::chdir(c"/").during(Call::Chdir)
}

/// Leaves the mount namespace in which the root was laid out for one of others, and takes a copy along: mounts can't move
/// between them.
pub(super) fn join(context: &mut Context<'_>, namespace: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Outcome {
    let tree = clone_tree(context.root()?, c"", true).during(Call::OpenTree)?;
    sys::namespace::join(namespace, sys::clone::flags::NEWNS).during(Call::Setns)?;
    attach(tree.as_fd(), place)?;
    context.root = Some(tree);
    change_root(context)
}

/// Binds the terminal at `/dev/console`, from its descriptor.
pub(super) fn bind_terminal(context: &Context<'_>, terminal: BorrowedFd<'_>, target: &Target) -> Outcome {
    let tree = clone_tree(terminal, c"", false).during(Call::OpenTree)?;
    let place = open_place(context, tree.as_fd(), target)?;
    attach(tree.as_fd(), place.as_fd())
}

/// Opens a directory inside for what is looked up in it.
pub(super) fn open_directory(context: &Context<'_>, target: &Target) -> rustix::io::Result<OwnedFd> {
    let way = Way::to(context, target).map_err(|failure| Errno::from_raw_os_error(failure.errno))?;
    way.open(OFlags::PATH | OFlags::DIRECTORY)
}
