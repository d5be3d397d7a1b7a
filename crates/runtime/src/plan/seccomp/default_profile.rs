//! Owns the default profile: what a container may ask of the kernel when nobody says otherwise.
//! Must not depend on the host: the same profile everywhere, unknown names fall away when it is compiled.
//!
//! Three answers. Allowed: what ordinary programs need and the kernel checks by itself, plus what a granted
//! capability is for. EPERM: calls that exist and are refused on purpose, as if the capability were missing.
//! ENOSYS: everything else, so that libraries take calls that this list does not know yet for calls that the
//! kernel does not have, and fall back.

use std::borrow::Cow;

use crate::spec::seccomp::{Action, Architecture, Argument, Flag, LinuxSeccomp, Operator, Syscall};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const EPROTONOSUPPORT: u32 = 93;
const EAFNOSUPPORT: u32 = 97;

/// The default profile for a container with these capabilities (`CAP_*`, as in `process.capabilities`).
///
/// Grant here what the bounding set holds: what a process may come to have decides, not what it starts with.
pub fn default_profile<S: AsRef<str>>(capabilities: &[S]) -> LinuxSeccomp {
    let has = |name: &str| capabilities.iter().any(|granted| granted.as_ref() == name);
    let mut syscalls = Vec::with_capacity(80);
    for names in ALLOWED {
        syscalls.push(rule(names, Action::Allow, None, vec![]));
    }
    for (owners, names) in BY_CAPABILITY {
        if owners.iter().any(|capability| has(capability)) {
            syscalls.push(rule(names, Action::Allow, None, vec![]));
        } else {
            // A call with several owners may stand in several groups; any of them is enough.
            let granted = |name: &&str| {
                BY_CAPABILITY
                    .iter()
                    .any(|(owners, names)| names.contains(name) && owners.iter().any(|o| has(o)))
            };
            let names: Vec<&str> = names.iter().copied().filter(|name| !granted(name)).collect();
            if !names.is_empty() {
                syscalls.push(rule(&names, Action::Errno, Some(EPERM), vec![]));
            }
        }
    }
    for names in REFUSED {
        syscalls.push(rule(names, Action::Errno, Some(EPERM), vec![]));
    }
    if has("CAP_SYS_ADMIN") {
        syscalls.push(rule(&["clone", "clone3"], Action::Allow, None, vec![]));
        // Without the capability ENOSYS: libraries then read mountinfo, which EPERM would keep them from.
        syscalls.push(rule(&["listmount", "statmount", "listns"], Action::Allow, None, vec![]));
    } else {
        clone_without_namespaces(&mut syscalls);
    }
    sockets_of_useful_families(&mut syscalls, ["CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL"].into_iter().any(has));
    harmless_personalities(&mut syscalls);
    LinuxSeccomp {
        default_action: Action::Errno,
        default_errno_ret: Some(ENOSYS),
        // Old 32-bit programs run; x32, which no distribution enables, does not.
        architectures: vec![
            Architecture::X86_64,
            Architecture::X86,
            Architecture::Aarch64,
            Architecture::Arm,
            Architecture::Riscv64,
        ]
        .into_iter()
        .filter(|architecture| runs_here(*architecture))
        .collect(),
        // Speculative store bypass stays as the host has it, as in every other engine.
        flags: Some(vec![Flag::SpecAllow]),
        listener_path: None,
        listener_metadata: None,
        syscalls,
    }
}

/// Foreign ABIs are left out: other runtimes, which may read this profile, refuse some of them.
fn runs_here(architecture: Architecture) -> bool {
    match architecture {
        Architecture::X86_64 | Architecture::X86 => cfg!(target_arch = "x86_64"),
        Architecture::Aarch64 | Architecture::Arm => cfg!(target_arch = "aarch64"),
        Architecture::Riscv64 => cfg!(target_arch = "riscv64"),
        _ => false,
    }
}

fn rule(names: &[&'static str], action: Action, errno_ret: Option<u32>, args: Vec<Argument>) -> Syscall {
    Syscall { names: names.iter().copied().map(Cow::Borrowed).collect(), action, errno_ret, args }
}

/// Compares the low 32 bits: the kernel takes these arguments as `int`, so that a comparison of all 64 bits
/// would be passed by with a value in the upper half.
fn equals_int(index: u32, value: u32) -> Argument {
    masked(index, u64::from(u32::MAX), u64::from(value))
}

fn masked(index: u32, mask: u64, value: u64) -> Argument {
    Argument { index, value: mask, value_two: value, op: Operator::MaskedEqual }
}

/// Always true, and tried after every equality: the answer where none held.
fn anything(index: u32) -> Argument {
    Argument { index, value: 0, value_two: 0, op: Operator::GreaterOrEqual }
}

/// Threads and processes, but no namespaces: user namespaces give every process a full set of capabilities
/// over code that few have audited, and most kernel escapes of the last years began there.
fn clone_without_namespaces(syscalls: &mut Vec<Syscall>) {
    /// `CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}` (linux/sched.h); `CLONE_NEWTIME` exists in clone3 only.
    const CLONE_NEW: u64 = 0x7e02_0000;
    syscalls.push(rule(&["clone"], Action::Allow, None, vec![masked(0, CLONE_NEW, 0)]));
    syscalls.push(rule(&["clone"], Action::Errno, Some(EPERM), vec![anything(0)]));
    // Its flags are in memory, where no filter can look; libraries take ENOSYS as a hint to use clone.
    syscalls.push(rule(&["clone3"], Action::Errno, Some(ENOSYS), vec![]));
}

/// Sockets of families that containers use. The refused ones reach the hypervisor or the host beside every
/// namespace (vsock), or load modules with a history of holes for whoever asks (AF_ALG: CVE-2026-31431).
///
/// `socketcall` of 32-bit x86 has its family in memory: nothing but an LSM can refuse it there, and without
/// that call 32-bit programs have no network at all.
fn sockets_of_useful_families(syscalls: &mut Vec<Syscall>, audits: bool) {
    const NETLINK_AUDIT: u32 = 9;
    const AF_UNIX: u32 = 1;
    /// In the order of linux/socket.h: AX25, IPX, APPLETALK, NETROM, ATMPVC, X25, ROSE, DECnet, ATMSVC, RDS,
    /// IRDA, LLC, TIPC, RXRPC, ISDN, PHONET, IEEE802154, CAIF, ALG, NFC, VSOCK, KCM, QIPCRTR.
    const REFUSED: &[u32] =
        &[3, 4, 5, 6, 8, 9, 11, 12, 20, 21, 23, 26, 30, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42];
    // First of all: other compilers derive rules for it from those for `socket`, which must not win.
    syscalls.insert(0, rule(&["socketcall"], Action::Allow, None, vec![]));
    for family in REFUSED {
        syscalls.push(rule(&["socket"], Action::Errno, Some(EAFNOSUPPORT), vec![equals_int(0, *family)]));
    }
    if !audits {
        // Login programs fail where the audit socket opens and does not answer; so it does not open. Nine is
        // no protocol that other families use.
        let protocol = equals_int(2, NETLINK_AUDIT);
        syscalls.push(rule(&["socket"], Action::Errno, Some(EPROTONOSUPPORT), vec![protocol]));
    }
    syscalls.push(rule(&["socket"], Action::Allow, None, vec![anything(0)]));
    syscalls.push(rule(&["socketpair"], Action::Allow, None, vec![equals_int(0, AF_UNIX)]));
    syscalls.push(rule(&["socketpair"], Action::Errno, Some(EAFNOSUPPORT), vec![anything(0)]));
}

/// Linux as it is, its 32-bit dress and the old version number, and the question what is set. Other bits turn
/// address randomisation off or memory executable.
fn harmless_personalities(syscalls: &mut Vec<Syscall>) {
    const PER_LINUX: u64 = 0;
    const PER_LINUX32: u64 = 8;
    const UNAME26: u64 = 0x2_0000;
    const QUERY: u64 = 0xffff_ffff;
    for value in [PER_LINUX, PER_LINUX32, UNAME26, UNAME26 | PER_LINUX32, QUERY] {
        let equals = Argument { index: 0, value, value_two: 0, op: Operator::Equal };
        syscalls.push(rule(&["personality"], Action::Allow, None, vec![equals]));
    }
    syscalls.push(rule(&["personality"], Action::Errno, Some(EPERM), vec![anything(0)]));
}

/// Allowed to every container, by theme. 32-bit names stand beside the 64-bit ones that they double.
#[rustfmt::skip] // One line a name would hide the themes.
const ALLOWED: &[&[&str]] = &[
    // Being a process. New namespaces are dealt with apart.
    &[
        "execve", "execveat", "exit", "exit_group", "fork", "vfork", "wait4", "waitid", "waitpid", "getpid",
        "getppid", "gettid", "getpgid", "getpgrp", "setpgid", "getsid", "setsid", "prctl", "arch_prctl",
        "set_tid_address", "restart_syscall", "pidfd_open", "pidfd_send_signal", "rseq", "membarrier",
    ],
    // Being a thread.
    &[
        "futex", "futex_time64", "futex_waitv", "futex_wait", "futex_wake", "futex_requeue",
        "set_robust_list", "get_robust_list", "get_thread_area", "set_thread_area", "set_tls", "get_tls",
        "map_shadow_stack", "rseq_slice_yield",
    ],
    // Who one is. The kernel asks for CAP_SETUID and its like by itself.
    &[
        "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "setuid", "setgid",
        "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsuid", "setfsgid", "getuid32",
        "geteuid32", "getgid32", "getegid32", "getresuid32", "getresgid32", "getgroups32", "setuid32",
        "setgid32", "setreuid32", "setregid32", "setresuid32", "setresgid32", "setgroups32", "setfsuid32",
        "setfsgid32", "capget", "capset",
    ],
    // Confining oneself further.
    &[
        "seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
        "lsm_get_self_attr", "lsm_set_self_attr", "lsm_list_modules",
    ],
    // Signals. Whom one may signal is a matter of the pid namespace.
    &[
        "kill", "tkill", "tgkill", "rt_sigaction", "rt_sigprocmask", "rt_sigpending", "rt_sigqueueinfo",
        "rt_tgsigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64",
        "sigaltstack", "sigaction", "sigprocmask", "sigpending", "sigreturn", "sigsuspend", "signal",
        "pause", "alarm", "signalfd", "signalfd4",
    ],
    // Memory of one's own.
    &[
        "brk", "mmap", "mmap2", "munmap", "mprotect", "mremap", "remap_file_pages", "madvise", "msync",
        "mincore", "mlock", "mlock2", "mlockall", "munlock", "munlockall", "mseal", "pkey_alloc",
        "pkey_free", "pkey_mprotect", "memfd_create", "memfd_secret", "process_mrelease", "cachestat",
    ],
    // Opening, reading and writing.
    &[
        "open", "openat", "openat2", "creat", "close", "close_range", "read", "write", "pread64",
        "pwrite64", "readv", "writev", "preadv", "pwritev", "preadv2", "pwritev2", "lseek", "_llseek",
        "dup", "dup2", "dup3", "fcntl", "fcntl64", "flock", "ioctl", "pipe", "pipe2", "splice", "tee",
        "vmsplice", "sendfile", "sendfile64", "copy_file_range", "readahead", "fadvise64", "fadvise64_64",
        "arm_fadvise64_64", "ftruncate", "ftruncate64", "truncate", "truncate64", "fallocate", "sync",
        "syncfs", "fsync", "fdatasync", "sync_file_range", "arm_sync_file_range",
    ],
    // Names, directories and what is known of files. What may be made of a device node, the device rules say.
    &[
        "access", "faccessat", "faccessat2", "chdir", "fchdir", "getcwd", "mkdir", "mkdirat", "rmdir",
        "link", "linkat", "unlink", "unlinkat", "symlink", "symlinkat", "readlink", "readlinkat", "rename",
        "renameat", "renameat2", "mknod", "mknodat", "getdents", "getdents64", "readdir", "stat", "stat64",
        "lstat", "lstat64", "fstat", "fstat64", "fstatat64", "newfstatat", "oldstat", "oldlstat",
        "oldfstat", "statx", "statfs", "statfs64", "fstatfs", "fstatfs64", "chmod", "fchmod", "fchmodat",
        "fchmodat2", "chown", "chown32", "fchown", "fchown32", "fchownat", "lchown", "lchown32", "umask",
        "utime", "utimes", "futimesat", "utimensat", "utimensat_time64", "name_to_handle_at",
        "file_getattr", "file_setattr",
    ],
    // Extended attributes.
    &[
        "getxattr", "lgetxattr", "fgetxattr", "getxattrat", "setxattr", "lsetxattr", "fsetxattr",
        "setxattrat", "listxattr", "llistxattr", "flistxattr", "listxattrat", "removexattr", "lremovexattr",
        "fremovexattr", "removexattrat",
    ],
    // Waiting for descriptors.
    &[
        "select", "_newselect", "pselect6", "pselect6_time64", "poll", "ppoll", "ppoll_time64",
        "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_wait", "epoll_wait_old",
        "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2", "inotify_init", "inotify_init1",
        "inotify_add_watch", "inotify_rm_watch", "fanotify_mark",
    ],
    // The asynchronous reads of databases. Its successor io_uring is refused below.
    &[
        "io_setup", "io_destroy", "io_submit", "io_cancel", "io_getevents", "io_pgetevents",
        "io_pgetevents_time64",
    ],
    // Sockets once they are open.
    &[
        "bind", "connect", "listen", "accept", "accept4", "getsockname", "getpeername", "getsockopt",
        "setsockopt", "shutdown", "send", "sendto", "sendmsg", "sendmmsg", "recv", "recvfrom", "recvmsg",
        "recvmmsg", "recvmmsg_time64",
    ],
    // Messages, semaphores and shared memory of the container's own ipc namespace.
    &[
        "ipc", "msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop",
        "semtimedop_time64", "shmat", "shmctl", "shmdt", "shmget", "mq_open", "mq_unlink", "mq_notify",
        "mq_getsetattr", "mq_timedsend", "mq_timedsend_time64", "mq_timedreceive", "mq_timedreceive_time64",
    ],
    // Time: reading, sleeping, timers. The kernel lets nobody adjust it without CAP_SYS_TIME.
    &[
        "time", "gettimeofday", "times", "clock_gettime", "clock_gettime64", "clock_getres",
        "clock_getres_time64", "clock_nanosleep", "clock_nanosleep_time64", "nanosleep", "adjtimex",
        "clock_adjtime", "clock_adjtime64", "getitimer", "setitimer", "timer_create", "timer_delete",
        "timer_getoverrun", "timer_gettime", "timer_gettime64", "timer_settime", "timer_settime64",
        "timerfd_create", "timerfd_gettime", "timerfd_gettime64", "timerfd_settime", "timerfd_settime64",
    ],
    // Limits, priorities, processors. Raising them needs what the kernel asks for.
    &[
        "getrlimit", "ugetrlimit", "setrlimit", "prlimit64", "getrusage", "getpriority", "setpriority",
        "nice", "ioprio_get", "ioprio_set", "sched_yield", "sched_getaffinity", "sched_setaffinity",
        "sched_getattr", "sched_setattr", "sched_getparam", "sched_setparam", "sched_getscheduler",
        "sched_setscheduler", "sched_get_priority_max", "sched_get_priority_min", "sched_rr_get_interval",
        "sched_rr_get_interval_time64", "getcpu",
    ],
    // What machine this is.
    &["uname", "olduname", "oldolduname", "sysinfo", "getrandom"],
    // Debuggers and tracers, of processes that one may trace anyway. Safe since kernel 4.8, where a tracer
    // cannot get past the filter any more.
    &["ptrace", "process_vm_readv", "process_vm_writev"],
    // Needed by programs of one machine: 16-bit segments, caches, vector state.
    &["modify_ldt", "breakpoint", "cacheflush", "riscv_flush_icache", "riscv_hwprobe"],
];

/// Allowed with any of these capabilities, refused with EPERM without: the kernel would refuse most of them
/// itself, after running more code than a container need reach.
#[rustfmt::skip] // One line a name would hide the themes.
const BY_CAPABILITY: &[(&[&str], &[&str])] = &[
    // The mount table and all namespaces: the administrator's.
    (
        &["CAP_SYS_ADMIN"],
        &[
            "mount", "umount", "umount2", "pivot_root", "mount_setattr", "move_mount", "open_tree",
            "open_tree_attr", "fsopen", "fsconfig", "fsmount", "fspick", "setns", "unshare", "sethostname",
            "setdomainname", "quotactl", "quotactl_fd", "fanotify_init", "lookup_dcookie",
        ],
    ),
    (&["CAP_SYS_ADMIN", "CAP_BPF"], &["bpf"]),
    (&["CAP_SYS_ADMIN", "CAP_PERFMON"], &["perf_event_open"]),
    (&["CAP_SYS_ADMIN", "CAP_SYSLOG"], &["syslog"]),
    // Opening by handle reaches files outside the root (the "shocker" escape of 2014).
    (&["CAP_DAC_READ_SEARCH"], &["open_by_handle_at"]),
    (&["CAP_SYS_BOOT"], &["reboot"]),
    (&["CAP_SYS_CHROOT"], &["chroot"]),
    (&["CAP_SYS_MODULE"], &["init_module", "finit_module", "delete_module"]),
    (&["CAP_SYS_PACCT"], &["acct"]),
    // Reaching into processes beyond what tracing needs.
    (&["CAP_SYS_PTRACE"], &["kcmp", "pidfd_getfd", "process_madvise"]),
    (&["CAP_SYS_RAWIO"], &["ioperm", "iopl"]),
    (&["CAP_SYS_TIME"], &["settimeofday", "stime", "clock_settime", "clock_settime64"]),
    (&["CAP_SYS_TTY_CONFIG"], &["vhangup"]),
    // Where memory lives: a way to starve the neighbours of a node.
    (
        &["CAP_SYS_NICE"],
        &[
            "get_mempolicy", "set_mempolicy", "set_mempolicy_home_node", "mbind", "migrate_pages",
            "move_pages",
        ],
    ),
];

/// Refused whatever the container has. Who needs one names it in a profile.
#[rustfmt::skip] // One line a name would hide the themes.
const REFUSED: &[&[&str]] = &[
    // Rings submit calls that no filter sees, and have had more holes than any other part of the kernel.
    &["io_uring_setup", "io_uring_enter", "io_uring_register"],
    // Keyrings are not namespaced: a session keyring per container is all there is between neighbours.
    &["keyctl", "add_key", "request_key"],
    // Stops the kernel in the middle of a copy, which makes races easy to win.
    &["userfaultfd"],
    // Another kernel, swap, and the ends of the machine.
    &["kexec_load", "kexec_file_load", "swapon", "swapoff", "nfsservctl"],
    // Remains that only attackers call.
    &[
        "vm86", "vm86old", "uselib", "ustat", "sysfs", "_sysctl", "create_module", "query_module",
        "get_kernel_syms", "bdflush", "pciconfig_read", "pciconfig_write", "pciconfig_iobase",
    ],
];
