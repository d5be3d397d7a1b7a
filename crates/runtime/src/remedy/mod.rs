//! From a step, a call and an errno to words: what failed, why, and what one can do. The one table of remedies.

mod program;

use std::ffi::CStr;
use std::path::Path;

use sys::clone::flags;

use crate::culprit::{Place, Seeker};
use crate::error::libc_errno::{
    E2BIG, EACCES, EINVAL, ELOOP, EMFILE, ENAMETOOLONG, ENOENT, ENOSPC, ENOSYS, ENOTDIR, EOVERFLOW, EPERM,
    EROFS, ESTALE,
};
use crate::error::{Error, ErrorKind};
use crate::init::OWN_INIT;
use crate::init::failure::{Call, Failure};
use crate::init::step::{Action, Execution, InitAction, Step, TargetKind};
use crate::mounted::Mounted;
use crate::obstacle::Obstacle;

use self::program::{Files, explain_program};
pub(crate) use self::program::{elf_interpreter, kind_of_exec, refused_program};

/// The error for a step that the child reported.
pub(crate) fn explain_step(steps: &[Step], index: usize, failure: Failure, rootfs: &Path) -> Error {
    let Some(step) = steps.get(index) else {
        // With an init of ours, what tells it is in the container.
        let reason = format!("it says that step {} has failed, which there is not", index + 1);
        return Error::new(ErrorKind::System, "hear of the container's init", reason);
    };
    let words = step.describe(index + 1);
    let Action::Init(action) = &step.action else {
        return Error::new(ErrorKind::System, words.name, sys::errno_text(failure.errno));
    };
    match action {
        _ if failure.call == Call::Injected => {}
        InitAction::FindProgram { candidates, user } => {
            let candidate =
                candidates.get(failure.item as usize).map(|path| path.as_c_str()).unwrap_or_default();
            let place = Place { tree: Mounted::of(steps, rootfs), seeker: Seeker::finding(user, steps) };
            return explain_program(candidate, candidates.len(), failure, &Files { steps, place });
        }
        InitAction::Execute(_) if failure.item == OWN_INIT as u32 => {
            let error = Error::new(
                ErrorKind::Permission,
                "execute the init of `--init`",
                sys::errno_text(failure.errno),
            );
            let hint = "it is rabbitc itself: the container's user must have the right to execute that file";
            return Error { errno: Some(failure.errno), ..error.with_hint(hint) };
        }
        InitAction::Execute(Execution { candidates, .. }) => {
            let candidate =
                candidates.get(failure.item as usize).map(|path| path.as_c_str()).unwrap_or_default();
            let place = Place { tree: Mounted::of(steps, rootfs), seeker: Seeker::executing(steps) };
            return explain_program(candidate, 1, failure, &Files { steps, place });
        }
        _ => {}
    }
    let object = item(action, failure).unwrap_or(words.object);
    let operation =
        if object.is_empty() { words.name } else { format!("{} {object}", preposition(action, &words.name)) };
    let reason = match told(action, failure) {
        Some(reason) => reason.to_owned(),
        None => sys::errno_text(failure.errno),
    };
    let kind = match failure.errno {
        EPERM | EACCES => ErrorKind::Permission,
        ENOSYS => ErrorKind::Unsupported,
        _ => ErrorKind::System,
    };
    let mut error = Error::new(kind, operation, reason);
    error.errno = Some(failure.errno);
    error.hint = no_place(&steps[..index], action, failure, rootfs).or_else(|| remedy(action, failure));
    error
}

/// What one can do about a place for a mount or a node that can't be made or used, where what is in the way is known.
fn no_place(steps: &[Step], action: &InitAction, failure: Failure, rootfs: &Path) -> Option<String> {
    let target = match action {
        InitAction::Mount(mount) => &mount.target,
        InitAction::Bind(bind) => &bind.target,
        InitAction::Devices { devices } => &devices.get(failure.item as usize)?.target,
        InitAction::MemoryFiles { files, .. } => &files.get(failure.item as usize)?.target,
        _ => return None,
    };
    let obstacle = || Mounted::of(steps, rootfs).obstacle(target);
    let inside = target.path.to_string_lossy();
    match (failure.call, failure.errno, &target.anchor) {
        (Call::Open | Call::Mkdir, ENOTDIR, _) => match obstacle()? {
            Obstacle::FileAbove(file) => {
                Some(format!("`{file}` is a file: take it out of the way, or choose another destination"))
            }
            Obstacle::OtherKind(_) => None,
        },
        (Call::MoveMount, EINVAL | ENOTDIR, _) => match obstacle()? {
            Obstacle::OtherKind(TargetKind::Directory) => Some(format!(
                "`/{inside}` is a directory and the source is not: a file goes onto a file, so name that as the destination"
            )),
            Obstacle::OtherKind(TargetKind::File) => Some(format!(
                "`/{inside}` is a file, and what is mounted there is a directory: choose another destination"
            )),
            Obstacle::FileAbove(_) => None,
        },
        (Call::Mkdir, EPERM | EACCES | EROFS, Some(anchor)) => Some(format!(
            "this destination is not there, and it can't be made in `/{}`: create it there first, or choose another destination",
            String::from_utf8_lossy(target.path.to_bytes().get(..anchor.skipped - 1)?)
        )),
        _ => None,
    }
}

/// What /proc is protected from.
pub(crate) const PROC_HINT: &str = "mount it elsewhere; only cpuinfo, diskstats, loadavg, meminfo, net/dev, \
                                    slabinfo, stat, swaps and uptime may be covered there";

/// Refusals of our own, for which the number of the kernel's says too little.
fn told(action: &InitAction, failure: Failure) -> Option<&'static str> {
    const ENODEV: i32 = 19;
    Some(match (action, failure.call, failure.errno) {
        (_, Call::Injected, _) => "injected failure",
        (InitAction::Sysctls { .. } | InitAction::OpenLabel { .. }, Call::Stat, ENODEV) => {
            "what is there is not procfs"
        }
        (InitAction::Mount(_), Call::Stat, ELOOP) => {
            "it must be mounted on ordinary directory, and a symbolic link leads there"
        }
        (InitAction::Console { .. }, Call::Stat, ENODEV) => "/dev/pts is no file system of terminals",
        (
            InitAction::Mount(_)
            | InitAction::Bind(_)
            | InitAction::Devices { .. }
            | InitAction::MemoryFiles { .. }
            | InitAction::Console { .. },
            Call::Stat,
            EPERM,
        ) => "the way to it ends in procfs, and a mount there could fake it",
        _ => return None,
    })
}

fn preposition(action: &InitAction, name: &str) -> String {
    match action {
        InitAction::Mount(_) | InitAction::Bind(_) => format!("{name} on"),
        _ => name.to_owned(),
    }
}

/// The one of a step's several objects that failed.
fn item(action: &InitAction, failure: Failure) -> Option<String> {
    let index = failure.item as usize;
    let inside = |path: &CStr| format!("`/{}`", path.to_string_lossy());
    match action {
        InitAction::Devices { devices } => Some(inside(&devices.get(index)?.target.path)),
        InitAction::MemoryFiles { files, .. } => Some(inside(&files.get(index)?.target.path)),
        InitAction::Links { links } => Some(inside(&links.get(index)?.target.path)),
        InitAction::Mask { targets } | InitAction::ReadOnlyPaths { targets } => {
            Some(inside(&targets.get(index)?.path))
        }
        InitAction::Sysctls { values, .. } => {
            let one = values.get(index)?;
            Some(match failure.call {
                Call::Write => {
                    let value = String::from_utf8_lossy(&one.value);
                    format!("`{}` to `{}`", one.name, value.escape_debug())
                }
                _ => format!("`{}`", one.name),
            })
        }
        InitAction::HardLimits { limits } | InitAction::ResourceLimits { limits } => {
            Some(format!("`{}`", limits.get(index)?.2))
        }
        InitAction::JoinNamespaces { namespaces } => {
            let one = namespaces.get(index)?;
            Some(format!("{} `{}`", one.name, one.path.display()))
        }
        InitAction::ConfigureNetwork(program) => program.items.get(index).cloned(),
        InitAction::BoundingSet { drop, .. } => {
            Some(format!("CAP_{}", crate::capability::NAMES.get(*drop.get(index)? as usize)?))
        }
        _ => None,
    }
}

/// What one can do: each row a cause that people meet.
fn remedy(action: &InitAction, failure: Failure) -> Option<String> {
    const ERANGE: i32 = 34;
    let text = match (action, failure.call, failure.errno) {
        (InitAction::Mount(mount), Call::Fsopen, 19) => {
            return Some(format!(
                "this kernel has no file system `{0}`; `modprobe {0}` may bring it",
                mount.kind.file_system.to_string_lossy()
            ));
        }
        (
            InitAction::Unshare { flags, .. } | InitAction::UnshareMeanwhile { flags, .. },
            Call::Unshare,
            errno @ (EPERM | ENOSPC | EINVAL),
        ) => return no_namespaces(errno, *flags),
        (InitAction::JoinNamespaces { .. }, Call::Setns, EPERM) => {
            "from a user namespace of its own a container can join only what belongs to that one: join the other's user \
             namespace too, or leave it out; and a mount namespace takes CAP_SYS_CHROOT (setns(2))"
        }
        (InitAction::OverlayRoot(_), Call::Fsopen, 19) => {
            "this kernel has no overlay file system; `modprobe overlay` may bring it"
        }
        (InitAction::OverlayRoot(_), Call::Mount, E2BIG) => {
            "before Linux 6.7 an overlay takes about 200 layers; build the image with fewer"
        }
        (InitAction::OverlayRoot(overlay), Call::Mount | Call::Fsconfig | Call::Fsmount, EINVAL)
            if overlay.lowers.len() > 1 =>
        {
            "the file system that the images are on can't lie below an overlay; keep them on another one with `--root`"
        }
        (InitAction::OverlayRoot(overlay), Call::Fsconfig, EINVAL)
            if overlay.lowers[0].detached.is_some() =>
        {
            "an overlay over mapped owners takes Linux 5.19, and a root on a file system that can lie below an overlay; run without `--overlay`"
        }
        (InitAction::OverlayRoot(_), Call::Fsmount | Call::Fsconfig, EINVAL) => {
            "the root's file system can't lie below an overlay; copy it to a plain directory, or run without `--overlay`"
        }
        (InitAction::Mount(mount), _, EPERM) if mount.kind.file_system.as_c_str() == c"proc" => {
            "the host hides part of its own /proc; unmask it, or share the host's pid namespace"
        }
        (InitAction::Mount(mount), _, EPERM) if mount.kind.file_system.as_c_str() == c"sysfs" => {
            "sysfs needs a network namespace of the container's own; bind /sys from the host instead"
        }
        (
            InitAction::Mount(_)
            | InitAction::Bind(_)
            | InitAction::Devices { .. }
            | InitAction::MemoryFiles { .. },
            Call::Stat,
            EPERM,
        ) => PROC_HINT,
        (InitAction::Console { .. }, Call::Stat, 19) => "mount `devpts` on /dev/pts",
        (InitAction::Sysctls { .. }, Call::Stat, 19) => "mount `proc` on /proc",
        (InitAction::Mount(_) | InitAction::Bind(_), Call::Mkdir, 30) => {
            "the root file system is read-only and lacks this mount point; create it there first, or use `--overlay`"
        }
        (InitAction::Mount(_) | InitAction::Bind(_), Call::Mkdir, EACCES | EOVERFLOW) => {
            "the root file system lacks this mount point and belongs to a user outside of the user namespace; create it there first, or choose another destination"
        }
        (InitAction::Bind(_), Call::OpenTree, EACCES) => {
            "the user namespace's root may not search a directory above the source; `chmod o+x` it, or move the source"
        }
        (InitAction::Bind(_) | InitAction::SetAttributes { .. }, Call::MountSetattr, EPERM) => {
            "in a user namespace, what the host has mounted read-only, nosuid, nodev or noexec stays so; leave out the option that undoes it"
        }
        (InitAction::Bind(_), Call::Stat, ESTALE) => {
            "what lies at the source's path was replaced during the start; start it again"
        }
        (InitAction::BindRoot(_) | InitAction::OverlayRoot(_), Call::Stat, ESTALE) => {
            "what lies at the root directory's path was replaced during the start; start it again"
        }
        (InitAction::Bind(_), Call::MoveMount, EINVAL | ENOTDIR) => {
            "one of source and mount point is a directory and the other is not; a file goes onto a file"
        }
        (InitAction::Bind(_), Call::Fsmount | Call::Fsconfig, EINVAL) => {
            "the source's file system can't lie below an overlay; copy it to a plain directory, or bind it read-only"
        }
        (InitAction::Mount(mount), _, ENOSPC) if mount.kind.copy_up.is_some() => {
            "what it begins with does not fit; give it a larger `size=`, or leave `tmpcopyup` out"
        }
        (InitAction::Mount(mount), Call::Open, ENAMETOOLONG) if mount.kind.copy_up.is_some() => {
            "what it covers has more than 100 levels of directories; leave `tmpcopyup` out"
        }
        (InitAction::Mount(_), Call::Fsconfig, EINVAL) => {
            "the file system does not know one of the mount's options, or not this value"
        }
        (InitAction::Mount(_), Call::Stat, ELOOP) => {
            "put a directory in the link's place: whoever changes the link would change what programs read there"
        }
        (InitAction::Bind(_), Call::MountSetattr, EINVAL) => {
            "owners of this file system can't be shown through a map on this kernel"
        }
        (InitAction::Mount(_) | InitAction::Bind(_), Call::Open, ELOOP) => {
            "the mount point leads through a magic link, which could lead out of the container"
        }
        (InitAction::MemoryPolicy { .. }, _, ENOSYS) => {
            "this kernel was built without NUMA; leave linux.memoryPolicy out"
        }
        (_, _, ENOSYS) => {
            "the kernel is older than 5.15, or a seccomp filter around this process refuses new calls"
        }
        (InitAction::JoinCgroup { .. }, _, ENOSPC) => {
            "the group's cpuset has no processors or no memory nodes: write them to cpuset.cpus and cpuset.mems"
        }
        (_, Call::Mkdir | Call::Write, ENOSPC) => "the disk is full",
        (_, _, EMFILE) => "raise the limit on open files: `ulimit -n`",
        (InitAction::PivotRoot, _, EINVAL) => {
            "the host's root is a ramdisk; move to a real root, as switch_root does"
        }
        (InitAction::Scheduler(scheduling), Call::SchedSetattr, EPERM) if scheduling.policy == 6 => {
            "SCHED_DEADLINE takes every processor of the machine: such a process scheduler can't be used together with \
             AllowedCPUs (linux.resources.cpu.cpus)"
        }
        (
            InitAction::HardLimits { limits } | InitAction::ResourceLimits { limits },
            Call::Setrlimit,
            EPERM,
        ) => {
            let (_, limit, name) = limits.get(failure.item as usize)?;
            let own = crate::plan::own_hard_limit(name);
            return Some(limit_hint(name, limit.maximum.unwrap_or(u64::MAX), own));
        }
        (InitAction::Credentials { .. }, Call::Setresuid | Call::Setresgid | Call::Setgroups, EINVAL) => {
            "the user namespace has no such user or group; choose another, or map more"
        }
        (InitAction::Capabilities { .. }, _, EPERM) => {
            "the caller lacks one of the capabilities itself; leave it out of process.capabilities"
        }
        (InitAction::MemoryPolicy { .. }, _, EINVAL) => {
            "none of the nodes has memory that this process may use (see /sys/devices/system/node and the cpuset), or \
             the kernel is older than the mode"
        }
        (InitAction::Seccomp { .. }, _, EINVAL) => "the kernel lacks seccomp filters or one of the flags",
        (InitAction::WorkingDirectory { .. }, Call::Mkdir, 30) => {
            "the root file system is read-only and lacks the directory; create it there first, or use `--overlay`"
        }
        (InitAction::WorkingDirectory { .. }, Call::Mkdir, EACCES | EOVERFLOW) => {
            "the directory above it belongs to a user outside of the user namespace; choose another, or mount a `--tmpfs` there"
        }
        (InitAction::WorkingDirectory { .. }, _, ENOENT) => {
            "create the directory in the root file system, or choose another one"
        }
        (InitAction::WorkingDirectory { .. }, _, ENOTDIR) => {
            "a file is in the way: choose a directory, or take the file out of the root file system"
        }
        (InitAction::WorkingDirectory { .. }, _, 18) => "the directory lies outside of the container's root",
        (InitAction::Sysctls { .. }, Call::Open, ENOENT) => "this kernel has no such parameter",
        (InitAction::Sysctls { values, .. }, Call::Write, EINVAL | ERANGE) => {
            let name = &values.get(failure.item as usize)?.name;
            return Some(format!(
                "the kernel takes no such value for it: `sysctl {name}` shows what the host has there"
            ));
        }
        (InitAction::ConfigureNetwork(_), Call::Netlink, 95) => {
            "the kernel lacks this part of networking; try without IPv6"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// What to do about a hard limit that the kernel refuses; `own` is the caller's.
fn limit_hint(name: &str, wanted: u64, own: Option<u64>) -> String {
    let flag = name.trim_start_matches("RLIMIT_").to_ascii_lowercase();
    let number = |limit: u64| match limit {
        u64::MAX => "unlimited".to_owned(),
        limit => limit.to_string(),
    };
    if name == "RLIMIT_NOFILE"
        && let Ok(text) = std::fs::read_to_string("/proc/sys/fs/nr_open")
        && let Ok(most) = text.trim().parse::<u64>()
        && wanted > most
    {
        let wanted = number(wanted);
        return format!(
            "the hard limit asked for is {wanted}, and `sysctl fs.nr_open` allows nobody more than {most}: ask for less, or \
             raise that"
        );
    }
    match own.filter(|own| *own < wanted) {
        Some(own) => format!(
            "the hard limit asked for is {}, and the caller's own is {own}, which only CAP_SYS_RESOURCE on the host exceeds: \
             ask for at most that (`--ulimit {flag}={own}:{own}`, or `default_ulimits` in containers.conf, as podman asks for \
             more by itself), raise the caller's own (limits.conf(5)), or give it the capability",
            number(wanted)
        ),
        None => {
            "to raise a hard limit takes CAP_SYS_RESOURCE on the host, which this caller lacks".to_owned()
        }
    }
}

/// Why the clone failed.
pub(crate) fn explain_clone(error: std::io::Error, namespaces: u64) -> Error {
    let errno = error.raw_os_error();
    let error = Error::system("clone the init process", error);
    let user = namespaces & flags::NEWUSER != 0;
    if user && let Some(hint) = errno.and_then(crate::caller::why_no_user_namespace) {
        return error.with_hint(hint);
    }
    match errno {
        Some(11) => {
            error.with_hint("a limit on processes is reached: see `ulimit -u` and the caller's pids cgroup")
        }
        errno => match errno.and_then(|errno| no_namespaces(errno, namespaces)) {
            Some(hint) => error.with_hint(hint),
            None => error,
        },
    }
}

/// What one can do where namespaces can't be made.
fn no_namespaces(errno: i32, wanted: u64) -> Option<String> {
    Some(match errno {
        EPERM => "new namespaces take root: use sudo".to_owned(),
        ENOSPC => "a limit on namespaces is reached: see `sysctl user`".to_owned(),
        EINVAL => match crate::plan::namespaces::missing(wanted).as_slice() {
            [] => "one of the namespaces, or something they need, is not in this kernel".to_owned(),
            missing => {
                format!("this kernel was built without namespaces of these kinds: {}", missing.join(", "))
            }
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever makes the namespaces: the clone or, on cgroup v1, init for its network.
    #[test]
    fn limit_on_namespaces_has_the_same_remedy_at_the_clone_and_in_init() {
        let unshare = InitAction::UnshareMeanwhile { flags: flags::NEWNET, names: vec!["network"] };
        for (errno, part) in [(ENOSPC, "sysctl user"), (EPERM, "sudo")] {
            let of_init = remedy(&unshare, Failure { call: Call::Unshare, errno, item: 0 });
            let error = std::io::Error::from_raw_os_error(errno);
            assert_eq!(of_init, explain_clone(error, flags::NEWNET).hint);
            assert!(of_init.is_some_and(|hint| hint.contains(part)), "{errno}");
        }
    }
}
