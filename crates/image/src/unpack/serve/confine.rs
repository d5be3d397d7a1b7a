//! What the process that unpacks gives up, in this order: descriptors, namespaces, the host's files, limits, capabilities, system
//! calls. Each step needs what a later one takes away.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use sys::clone::flags;
use sys::mount::{Attributes, Reach, attribute, propagation};

use super::super::{Limits, Options, Whiteouts};
use super::filter;
use crate::error::{Error, Kind, Result};

/// The most memory that it may take: zstd's longest window is half of it, and the rest of it is bounded too.
const MOST_MEMORY: u64 = 256 << 20;
/// The highest capability that there may ever be.
const LAST_CAPABILITY: u32 = 63;

/// Closes all that the process inherited but these: a descriptor of the host is a way to it. Gives them numbers above those of the
/// standard streams, which become the null device's.
pub(in super::super) fn keep_only(kept: [OwnedFd; 3]) -> std::io::Result<[OwnedFd; 3]> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let mut moved = kept.iter().map(|descriptor| rustix::io::fcntl_dupfd_cloexec(descriptor, 3));
    let mut next = || moved.next().expect("there are three");
    let moved = [next()?, next()?, next()?];
    drop(kept);
    for stream in 0..3 {
        sys::fd::place(null.as_fd(), stream)?;
    }
    drop(null);
    let mut numbers = [moved[0].as_raw_fd(), moved[1].as_raw_fd(), moved[2].as_raw_fd()];
    numbers.sort_unstable();
    sys::fd::close_copies_but(&numbers);
    Ok(moved)
}

/// Confines this process to the directory `tree`, which becomes its root and is given back as that.
pub(in super::super) fn confine(tree: OwnedFd, options: &Options) -> Result<OwnedFd> {
    let tree = leave_the_host(tree)?;
    limit(&options.limits)?;
    drop_rights(options.whiteouts)?;
    // Last, as it refuses all of the above.
    sys::seccomp::install(&filter::program(), 0).map_err(|error| failed("filter its system calls", error))?;
    Ok(tree)
}

fn failed(what: &str, error: impl Into<std::io::Error>) -> Error {
    let error = Error::system(format!("{what}, for a process that unpacks a layer"), error);
    match error.errno.map(Errno::from_raw_os_error) {
        Some(Errno::PERM | Errno::ACCESS) => {
            error.with_hint("it needs root, or a user namespace where it is root")
        }
        _ => error,
    }
}

/// Enters namespaces of its own, where nothing is but the tree.
fn leave_the_host(tree: OwnedFd) -> Result<OwnedFd> {
    // Descriptors of the old namespace's mounts can't be mounted in the new one, but the working directory comes along.
    rustix::process::fchdir(&tree).map_err(|error| failed("enter the tree", error))?;
    sys::namespace::unshare(flags::NEWNS | flags::NEWNET | flags::NEWIPC | flags::NEWUTS | flags::NEWCGROUP)
        .map_err(|error| failed("make namespaces", error))?;
    sys::mount::change(c"/", propagation::PRIVATE | propagation::REC)
        .map_err(|error| failed("make mounts private", error))?;
    // Its mount is the old namespace's: a way back to the host for whoever has it.
    drop(tree);
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(rustix::fs::CWD, ".", clone)
        .map_err(|error| failed("make a mount of the tree", error))?;
    let closed = attribute::NOSUID | attribute::NODEV | attribute::NOEXEC | attribute::NOSYMFOLLOW;
    let change = Attributes { set: closed, clear: 0, propagation: propagation::PRIVATE };
    sys::mount::set_attributes(mount.as_fd(), change, Reach::Mount)
        .map_err(|error| failed("close the mount of the tree", error))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(&mount, "", rustix::fs::CWD, "/", flags)
        .map_err(|error| failed("mount the tree", error))?;
    rustix::process::fchdir(&mount).map_err(|error| failed("enter the tree", error))?;
    drop(mount);
    sys::mount::pivot_root_here().map_err(|error| failed("make the tree the root", error))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)
        .map_err(|error| failed("unmount the host's files", error))?;
    rustix::process::chdir("/").map_err(|error| failed("enter the tree", error))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/", flags, Mode::empty()).map_err(|error| failed("open the tree", error))
}

fn limit(limits: &Limits) -> Result<()> {
    // A way through links holds one for each part, removing a tree another one.
    let descriptors = 32 + 2 * limits.depth as u64;
    for (resource, most) in [
        (Resource::Nproc, 0),
        (Resource::Core, 0),
        (Resource::Fsize, limits.bytes),
        (Resource::Nofile, descriptors),
        (Resource::Data, MOST_MEMORY),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
    ] {
        let hard = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let most = Some(most.min(hard));
        rustix::process::setrlimit(resource, Rlimit { current: most, maximum: most })
            .map_err(|error| failed("set limits", error))?;
    }
    Ok(())
}

/// Leaves no more rights than it takes to give files their owners, modes and attributes.
fn drop_rights(whiteouts: Whiteouts) -> Result<()> {
    let mut kept = CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::MKNOD
        | CapabilitySet::SETFCAP;
    if whiteouts == Whiteouts::Trusted {
        // Nobody else sets `trusted.*`. The calls that it opens besides are refused by the filter.
        kept |= CapabilitySet::SYS_ADMIN;
    }
    let dropped = |error| failed("drop capabilities", error);
    for number in (0..=LAST_CAPABILITY).filter(|number| sys::process::knows_capability(*number)) {
        if !kept.contains(CapabilitySet::from_bits_retain(1 << number)) {
            sys::process::drop_from_bounding_set(number).map_err(dropped)?;
        }
    }
    // Kernels before 4.3 have none, and need nothing cleared.
    sys::process::clear_ambient_set().map_err(dropped)?;
    let had = rustix::thread::capabilities(None).map_err(|error| failed("read its capabilities", error))?;
    let left = had.permitted & kept;
    let sets = CapabilitySets { effective: left, permitted: left, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).map_err(|error| failed("drop capabilities", error))?;
    let now = rustix::thread::capabilities(None).map_err(|error| failed("read its capabilities", error))?;
    if now != sets {
        return Err(Error::new(Kind::System, "drop capabilities", "the kernel has kept some of them"));
    }
    rustix::thread::set_no_new_privs(true).map_err(|error| failed("give up new rights", error))?;
    sys::process::set_dumpable(sys::process::Dumpable::No).map_err(|error| failed("close its memory", error))
}
