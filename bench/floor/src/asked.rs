//! What the default configuration asks of the kernel beyond the floor: device rules, masked and read-only paths, links, the
//! loopback, a session and its keyring, a read-only root, limits and rights; and what a runtime does for it: a program that
//! no container can write to, and a record. On cgroup v2 the device rules are left out, which are a program there.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags};
use rustix::process::{Resource, Rlimit};
use sys::exec::CStringArray;
use sys::mount::{Attributes, Reach, attribute};

use crate::Hierarchy;

/// CAP_KILL, CAP_NET_BIND_SERVICE and CAP_AUDIT_WRITE (capabilities(7)).
const KEPT: u64 = 1 << 5 | 1 << 10 | 1 << 29;
/// CAP_CHECKPOINT_RESTORE, the last one.
const CAP_LAST: u32 = 40;

type Outcome = rustix::io::Result<()>;

/// Executes this program again from a read-only mount of it, unless it runs from there.
pub fn protect() -> io::Result<()> {
    if std::fs::read_link("/proc/self/exe")?.as_os_str() == "/" {
        return Ok(());
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(CWD, "/proc/self/exe", flags)?;
    sys::mount::set_attributes(mount.as_fd(), READ_ONLY, Reach::Mount)?;
    let arguments: Result<Vec<_>, _> = std::env::args_os()
        .map(|word| std::ffi::CString::new(std::os::unix::ffi::OsStringExt::into_vec(word)))
        .collect();
    let environment = CStringArray::new(vec![c"PATH=/bin".to_owned()]);
    Err(sys::exec::execve_descriptor(mount.as_fd(), &CStringArray::new(arguments?), &environment, None))
}

const READ_ONLY: Attributes = Attributes { set: attribute::RDONLY, clear: 0, propagation: 0 };

/// The directory of a container's record.
pub struct State(PathBuf);

impl State {
    pub fn reserve() -> io::Result<State> {
        let directory = Path::new("/run").join(format!("rabbitc-floor-{}", std::process::id()));
        std::fs::create_dir(&directory)?;
        Ok(State(directory))
    }

    /// By rename, so that nobody reads half of it.
    pub fn record(&self, pid: i32) -> io::Result<()> {
        let draft = self.0.join("draft");
        std::fs::write(&draft, pid.to_string())?;
        std::fs::rename(draft, self.0.join("state.json"))
    }

    pub fn remove(self) -> io::Result<()> {
        std::fs::remove_file(self.0.join("state.json"))?;
        std::fs::remove_dir(self.0)
    }
}

/// Nothing but the standard devices, pseudo-terminals, and making nodes.
pub fn restrict_devices(hierarchies: &[Hierarchy], groups: &[PathBuf]) -> io::Result<()> {
    let found = hierarchies.iter().zip(groups).find(|(hierarchy, _)| hierarchy.options == "devices");
    let Some((_, group)) = found else { return Ok(()) };
    std::fs::write(group.join("devices.deny"), "a")?;
    let allow = std::fs::OpenOptions::new().write(true).open(group.join("devices.allow"))?;
    for rule in [
        "c *:* m",
        "b *:* m",
        "c 1:3 rwm",
        "c 1:5 rwm",
        "c 1:7 rwm",
        "c 1:8 rwm",
        "c 1:9 rwm",
        "c 5:0 rwm",
        "c 5:2 rwm",
        "c 136:* rwm",
    ] {
        rustix::io::write(&allow, rule.as_bytes())?;
    }
    Ok(())
}

/// What comes before the mounts: in the new namespaces, with the host's root.
pub fn begin() -> Outcome {
    rustix::process::setsid()?;
    errno(sys::keyring::join_new_session(c"_ses.floor"))?;
    // RTM_NEWLINK of the first device, with the flag IFF_UP (rtnetlink(7)).
    let mut up = [0_u8; 32];
    up[..4].copy_from_slice(&32_u32.to_ne_bytes());
    up[4..6].copy_from_slice(&16_u16.to_ne_bytes());
    up[6..8].copy_from_slice(&5_u16.to_ne_bytes());
    up[8..12].copy_from_slice(&1_u32.to_ne_bytes());
    for at in [20, 24, 28] {
        up[at..at + 4].copy_from_slice(&1_u32.to_ne_bytes());
    }
    sys::netlink::send_route_batch(&up, 1).map_err(|_| Errno::PERM)
}

/// Links and covered paths, from within the root that is not yet one.
pub fn hide() -> Outcome {
    for (link, target) in [
        (c"dev/fd", c"/proc/self/fd"),
        (c"dev/stdin", c"/proc/self/fd/0"),
        (c"dev/stdout", c"/proc/self/fd/1"),
        (c"dev/stderr", c"/proc/self/fd/2"),
        (c"dev/ptmx", c"pts/ptmx"),
    ] {
        rustix::fs::symlink(target, link)?;
    }
    for path in [c"proc/bus", c"proc/fs", c"proc/irq", c"proc/sys", c"proc/sysrq-trigger"] {
        let Some(found) = open(path)? else { continue };
        let tree = clone_tree(&found, OpenTreeFlags::AT_RECURSIVE)?;
        errno(sys::mount::set_attributes(tree.as_fd(), READ_ONLY, Reach::Tree))?;
        attach(&tree, &found)?;
    }
    let null = rustix::fs::open(c"dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let mut empty: Option<OwnedFd> = None;
    for path in [
        c"proc/acpi",
        c"proc/asound",
        c"proc/kcore",
        c"proc/keys",
        c"proc/latency_stats",
        c"proc/timer_list",
        c"proc/timer_stats",
        c"proc/sched_debug",
        c"sys/firmware",
        c"proc/scsi",
    ] {
        let Some(found) = open(path)? else { continue };
        let directory = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) == FileType::Directory;
        match (&empty, directory) {
            (_, false) => attach(&clone_tree(&null, OpenTreeFlags::empty())?, &found)?,
            (Some(first), true) => attach(&clone_tree(first, OpenTreeFlags::empty())?, &found)?,
            (None, true) => {
                let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
                crate::mount(path, c"tmpfs", flags, c"mode=755,nr_inodes=2")?;
                empty = open(path)?;
            }
        }
    }
    rustix::system::sethostname(b"floor")
}

/// What comes last: the root, limits and rights.
pub fn finish() -> Outcome {
    let root = rustix::fs::open(c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    errno(sys::mount::set_attributes(root.as_fd(), READ_ONLY, Reach::Mount))?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let files = Rlimit { current: Some(1024), maximum: Some(1024) };
    rustix::process::setrlimit(Resource::Nofile, files)?;
    for capability in (0..=CAP_LAST).filter(|number| KEPT & (1 << number) == 0) {
        errno(sys::process::drop_from_bounding_set(capability))?;
    }
    errno(sys::process::set_capabilities(KEPT, KEPT, 0))?;
    rustix::thread::set_no_new_privs(true)
}

/// A path that this kernel may not have.
fn open(path: &CStr) -> rustix::io::Result<Option<OwnedFd>> {
    match rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => Ok(None),
        other => other.map(Some),
    }
}

fn clone_tree(source: &OwnedFd, more: OpenTreeFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(source, c"", flags | OpenTreeFlags::AT_EMPTY_PATH | more)
}

fn attach(tree: &OwnedFd, place: &OwnedFd) -> Outcome {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, c"", place, c"", flags)
}

fn errno(done: io::Result<()>) -> Outcome {
    done.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::PERM))
}
