//! From a step, a call and an errno to words: what failed, why, and what one can do. The one table of remedies.

use std::ffi::CStr;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use sys::clone::flags;

use crate::culprit::{Place, Seeker};
use crate::error::libc_errno::{
    EACCES, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOEXEC, ENOSPC, ENOSYS, ENOTDIR, EPERM, ESTALE,
};
use crate::error::{Error, ErrorKind, errno_text};
use crate::init::OWN_INIT;
use crate::init::failure::{Call, Failure};
use crate::init::step::{Action, Execution, InitAction, Step};

/// The kind of a failed search for or exec of the program.
pub(crate) fn kind_of_exec(failure: Failure) -> ErrorKind {
    match (failure.call, failure.errno) {
        (Call::Access | Call::Execve, ENOENT | ENOTDIR) => ErrorKind::ProgramNotFound,
        (Call::Access | Call::Execve, _) => ErrorKind::ProgramNotExecutable,
        _ => ErrorKind::System,
    }
}

/// The error for a step that the child reported.
pub(crate) fn explain_step(steps: &[Step], index: usize, failure: Failure, rootfs: &Path) -> Error {
    let step = &steps[index];
    let words = step.describe(index + 1);
    let Action::Init(action) = &step.action else {
        return Error::new(ErrorKind::System, words.name, errno_text(failure.errno));
    };
    match action {
        _ if failure.call == Call::Injected => {}
        InitAction::FindProgram { candidates, user } => {
            let candidate =
                candidates.get(failure.item as usize).map(|path| path.as_c_str()).unwrap_or_default();
            let seeker = Seeker::finding(user, steps);
            return explain_program(candidate, candidates.len(), failure, rootfs, &Place { steps, seeker });
        }
        InitAction::Execute(_) if failure.item == OWN_INIT as u32 => {
            let error =
                Error::new(ErrorKind::Permission, "execute the init of `--init`", errno_text(failure.errno));
            let hint = "it is rabbitc itself: the container's user must have the right to execute that file";
            return Error { errno: Some(failure.errno), ..error.with_hint(hint) };
        }
        InitAction::Execute(Execution { candidates, .. }) => {
            let candidate =
                candidates.get(failure.item as usize).map(|path| path.as_c_str()).unwrap_or_default();
            let seeker = Seeker::executing(steps);
            return explain_program(candidate, 1, failure, rootfs, &Place { steps, seeker });
        }
        _ => {}
    }
    let object = item(action, failure).unwrap_or(words.object);
    let operation =
        if object.is_empty() { words.name } else { format!("{} {object}", preposition(action, &words.name)) };
    let reason = match told(action, failure) {
        Some(reason) => reason.to_owned(),
        None => errno_text(failure.errno),
    };
    let kind = match failure.errno {
        EPERM | EACCES => ErrorKind::Permission,
        ENOSYS => ErrorKind::Unsupported,
        _ => ErrorKind::System,
    };
    let mut error = Error::new(kind, operation, reason);
    error.errno = Some(failure.errno);
    error.hint = remedy(action, failure);
    error
}

/// The program that the kernel refused to execute, if that is what failed.
pub(crate) fn refused_program(step: &Step, failure: Failure) -> Option<String> {
    match &step.action {
        Action::Init(InitAction::Execute(execution)) if failure.call == Call::Execve => {
            let candidate = execution.candidates.get(failure.item as usize)?;
            // A name of the config: it must not steer the terminal of whoever reads it.
            Some(candidate.to_string_lossy().escape_debug().to_string())
        }
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
        InitAction::Links { links } => Some(inside(&links.get(index)?.target.path)),
        InitAction::Mask { targets } | InitAction::ReadOnlyPaths { targets } => {
            Some(inside(&targets.get(index)?.path))
        }
        InitAction::Sysctls { values, .. } => Some(format!("`{}`", values.get(index)?.name)),
        InitAction::ResourceLimits { limits } => Some(format!("`{}`", limits.get(index)?.2)),
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
    let text = match (action, failure.call, failure.errno) {
        (InitAction::Mount(mount), Call::Fsopen, 19) => {
            return Some(format!(
                "this kernel has no file system `{0}`; `modprobe {0}` may bring it",
                mount.kind.file_system.to_string_lossy()
            ));
        }
        (InitAction::JoinNamespaces { .. }, Call::Setns, EPERM) => {
            "from a user namespace of its own a container can join only what belongs to that one: join the other's user \
             namespace too, or leave it out"
        }
        (InitAction::OverlayRoot(_), Call::Fsopen, 19) => {
            "this kernel has no overlay file system; `modprobe overlay` may bring it"
        }
        (InitAction::OverlayRoot(overlay), Call::Fsconfig, EINVAL) if overlay.lower.detached.is_some() => {
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
        (InitAction::Mount(_) | InitAction::Bind(_) | InitAction::Devices { .. }, Call::Stat, EPERM) => {
            PROC_HINT
        }
        (InitAction::Console { .. }, Call::Stat, 19) => "mount `devpts` on /dev/pts",
        (InitAction::Sysctls { .. }, Call::Stat, 19) => "mount `proc` on /proc",
        (InitAction::Mount(_) | InitAction::Bind(_), Call::Mkdir, 30) => {
            "the root file system is read-only and lacks this mount point; create it there first, or use `--overlay`"
        }
        (InitAction::Mount(_) | InitAction::Bind(_), Call::Mkdir, EACCES | 75) => {
            "the root file system lacks this mount point and belongs to a user outside of the user namespace; create it there first"
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
        (InitAction::PivotRoot, _, EINVAL) => {
            "the host's root is a ramdisk; move to a real root, as switch_root does"
        }
        (InitAction::Scheduler(scheduling), Call::SchedSetattr, EPERM) if scheduling.policy == 6 => {
            "SCHED_DEADLINE takes every processor of the machine: such a process scheduler can't be used together with \
             AllowedCPUs (linux.resources.cpu.cpus)"
        }
        (InitAction::ResourceLimits { .. }, _, EPERM) => {
            "raising a hard limit takes CAP_SYS_RESOURCE, which this caller lacks"
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
        (InitAction::WorkingDirectory { .. }, _, ENOENT) => {
            "create the directory in the root file system, or choose another one"
        }
        (InitAction::WorkingDirectory { .. }, _, ENOTDIR) => {
            "a file is in the way: choose a directory, or take the file out of the root file system"
        }
        (InitAction::WorkingDirectory { .. }, _, 18) => "the directory lies outside of the container's root",
        (InitAction::Sysctls { .. }, Call::Open, ENOENT) => "this kernel has no such parameter",
        (InitAction::ConfigureNetwork(_), Call::Netlink, 95) => {
            "the kernel lacks this part of networking; try without IPv6"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// Why the clone failed.
pub(crate) fn explain_clone(error: std::io::Error, namespaces: u64) -> Error {
    let errno = error.raw_os_error();
    let error = Error::system("clone the init process", error);
    let user = namespaces & flags::NEWUSER != 0;
    if user && let Some(hint) = errno.and_then(crate::caller::why_no_user_namespace) {
        return error.with_hint(hint);
    }
    let hint = match errno {
        Some(EPERM) => "new namespaces take root: use sudo",
        Some(ENOSPC) => "a limit on namespaces is reached: see `sysctl user`",
        Some(11) => "a limit on processes is reached: see `ulimit -u` and the caller's pids cgroup",
        Some(EINVAL) => return error.with_hint(missing_namespaces(namespaces)),
        _ => return error,
    };
    error.with_hint(hint)
}

/// What EINVAL means where namespaces are made.
fn missing_namespaces(wanted: u64) -> String {
    match crate::plan::namespaces::missing(wanted).as_slice() {
        [] => "one of the namespaces, or something they need, is not in this kernel".to_owned(),
        missing => format!("this kernel was built without namespaces of these kinds: {}", missing.join(", ")),
    }
}

/// podman, Docker and CRI-O take a message with these words for a missing program, and end with 127.
const NOT_FOUND: &str = "no such file or directory";

/// Why a program could not be found or executed: looks at the file in the root file system.
fn explain_program(
    path: &CStr,
    candidates: usize,
    failure: Failure,
    rootfs: &Path,
    place: &Place<'_>,
) -> Error {
    let shown = path.to_string_lossy();
    let name = if candidates > 1 {
        shown.rsplit('/').next().unwrap_or_default().to_owned()
    } else {
        shown.to_string()
    };
    let operation = format!("execute `{name}`");
    let kind = kind_of_exec(failure);
    let with = |reason: String, hint: &str| {
        let mut error = Error::new(kind, operation.clone(), reason).with_hint(hint);
        error.errno = Some(failure.errno);
        error
    };
    match failure.errno {
        ENOENT | ENOTDIR if failure.call == Call::Access => {
            let where_to = if candidates > 1 { "executable file not found in $PATH" } else { NOT_FOUND };
            with(where_to.to_owned(), "check the name, and that the root file system has the program")
        }
        EISDIR => with("is a directory".to_owned(), "name a program inside of it"),
        EACCES => match place.refusal(rootfs, &shown) {
            Some(refusal) => with(format!("permission denied: {}", refusal.reason), refusal.hint),
            None => with(
                "permission denied".to_owned(),
                "its modes permit it: an access control list, a security module or the owner's place in a user namespace does not",
            ),
        },
        ENOENT => match interpreter(rootfs, &shown) {
            Some(interpreter) if interpreter.ends_with('\r') => with(
                format!("{NOT_FOUND}: its interpreter `{}` does not exist", interpreter.escape_debug()),
                "the script's lines end in carriage returns, as on Windows; convert it, for instance with `sed -i 's/\\r$//'`",
            ),
            Some(interpreter) => with(
                // A file of the image: what it says must not steer the terminal of whoever reads this.
                format!(
                    "{NOT_FOUND}: its interpreter `{}` does not exist in the root file system",
                    interpreter.escape_debug()
                ),
                "install the interpreter there, or link the program statically",
            ),
            None => with(NOT_FOUND.to_owned(), "check that the root file system has the program"),
        },
        ENOEXEC => match foreign_machine(rootfs, &shown) {
            Some(machine) => with(
                format!(
                    "exec format error: it is built for {machine}, and this machine is {}",
                    std::env::consts::ARCH
                ),
                "use a root file system for this architecture",
            ),
            None => with(
                "exec format error".to_owned(),
                "it is neither a program nor a script that begins with `#!`",
            ),
        },
        errno => {
            let mut error = Error::new(kind, operation, errno_text(errno));
            error.errno = Some(errno);
            error
        }
    }
}

/// Opens a regular file as the container would, inside its root. Anything else stays closed: opening a device of the
/// image's choice is an act, and this process is no container.
fn open_in(rootfs: &Path, path: &str) -> Option<std::fs::File> {
    let root =
        rustix::fs::openat(CWD, rootfs, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .ok()?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found =
        rustix::fs::openat2(&root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve).ok()?;
    if !FileType::from_raw_mode(rustix::fs::fstat(&found).ok()?.st_mode).is_file() {
        return None;
    }
    std::fs::File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()
}

fn beginning(rootfs: &Path, path: &str) -> Option<Vec<u8>> {
    let file = open_in(rootfs, path)?;
    let mut bytes = Vec::new();
    file.take(4096).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The interpreter that a script or a dynamic program names.
fn interpreter(rootfs: &Path, path: &str) -> Option<String> {
    let bytes = beginning(rootfs, path)?;
    if let Some(line) = bytes.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let text = String::from_utf8_lossy(line);
        // Blanks end it, and nothing else does: a carriage return is part of the name.
        return Some(text.split([' ', '\t']).find(|word| !word.is_empty())?.to_owned());
    }
    elf_interpreter(&bytes)
}

/// `PT_INTERP` of a 64-bit little-endian ELF file (elf(5)).
pub(crate) fn elf_interpreter(bytes: &[u8]) -> Option<String> {
    // A file can claim any offset.
    let number = |base: usize, at: usize, size: usize| -> Option<usize> {
        let begin = base.checked_add(at)?;
        let mut value = [0u8; 8];
        value[..size].copy_from_slice(bytes.get(begin..begin.checked_add(size)?)?);
        usize::try_from(u64::from_le_bytes(value)).ok()
    };
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, size, count) = (number(0, 32, 8)?, number(0, 54, 2)?, number(0, 56, 2)?);
    for index in 0..count {
        let header = table.checked_add(index.checked_mul(size)?)?;
        if number(header, 0, 4)? == 3 {
            let (offset, length) = (number(header, 8, 8)?, number(header, 32, 8)?);
            let text = bytes.get(offset..offset.checked_add(length)?)?;
            return Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
        }
    }
    None
}

/// The machine an ELF file is for, where it is not this one.
fn foreign_machine(rootfs: &Path, path: &str) -> Option<String> {
    let bytes = beginning(rootfs, path)?;
    if !bytes.starts_with(b"\x7fELF") {
        return None;
    }
    let machine = u16::from_le_bytes([*bytes.get(18)?, *bytes.get(19)?]);
    let name = match machine {
        3 => "x86",
        8 => "mips",
        20 | 21 => "powerpc",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        258 => "loongarch64",
        other => return Some(format!("ELF machine {other}")),
    };
    (name != std::env::consts::ARCH).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_names_its_interpreter() {
        let directory = std::env::temp_dir().join(format!("rabbitc-remedy-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("made");
        std::fs::write(directory.join("script"), "#!/opt/missing -x\n").expect("written");
        assert_eq!(interpreter(&directory, "/script").as_deref(), Some("/opt/missing"));
        std::fs::remove_dir_all(&directory).expect("removed");
    }

    #[test]
    fn cut_or_hostile_elf_file_is_no_panic() {
        for fill in [0x00, 0x03, 0x38, 0xff] {
            for length in 0..256 {
                let mut bytes = b"\x7fELF\x02\x01".to_vec();
                bytes.resize(length.max(6), fill);
                // Whatever it answers, it answers.
                let _ = elf_interpreter(&bytes);
            }
        }
        assert_eq!(elf_interpreter(b"\x7fELF\x02\x01"), None);
    }
}
