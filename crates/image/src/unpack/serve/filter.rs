//! The system calls that unpacking takes; all others are refused, and those by which a process that was taken over would go on
//! end it. Compiled by hand: it is short, and knows no arguments but one.

use linux_raw_sys::general as number;
use sys::seccomp::Instruction;

/// What it takes to read, to make files, and to have memory.
const ALLOWED: &[u32] = &[
    number::__NR_read,
    number::__NR_pwrite64,
    number::__NR_openat,
    number::__NR_openat2,
    number::__NR_close,
    number::__NR_fchown,
    number::__NR_fchmod,
    number::__NR_utimensat,
    number::__NR_mkdirat,
    number::__NR_symlinkat,
    number::__NR_linkat,
    number::__NR_unlinkat,
    number::__NR_mknodat,
    number::__NR_fchownat,
    number::__NR_fchmodat,
    number::__NR_fsetxattr,
    number::__NR_readlinkat,
    number::__NR_fstat,
    number::__NR_newfstatat,
    number::__NR_statx,
    number::__NR_ftruncate,
    number::__NR_getdents64,
    number::__NR_lseek,
    number::__NR_write,
    number::__NR_writev,
    number::__NR_readv,
    number::__NR_fcntl,
    number::__NR_munmap,
    number::__NR_mremap,
    number::__NR_madvise,
    number::__NR_brk,
    number::__NR_futex,
    number::__NR_getrandom,
    number::__NR_clock_gettime,
    number::__NR_sched_yield,
    number::__NR_gettid,
    number::__NR_getpid,
    number::__NR_geteuid,
    number::__NR_getegid,
    number::__NR_rt_sigaction,
    number::__NR_rt_sigprocmask,
    number::__NR_rt_sigreturn,
    number::__NR_sigaltstack,
    number::__NR_restart_syscall,
    number::__NR_exit,
    number::__NR_exit_group,
];

/// Allowed for memory that is not executed.
const ALLOWED_UNLESS_EXECUTABLE: &[u32] = &[number::__NR_mmap, number::__NR_mprotect];

/// Asked for by nothing here, and by whoever wants out.
const DEADLY: &[u32] = &[
    number::__NR_execve,
    number::__NR_execveat,
    number::__NR_clone,
    number::__NR_clone3,
    number::__NR_socket,
    number::__NR_socketpair,
    number::__NR_ptrace,
    number::__NR_process_vm_readv,
    number::__NR_process_vm_writev,
    number::__NR_pidfd_open,
    number::__NR_pidfd_getfd,
    number::__NR_mount,
    number::__NR_umount2,
    number::__NR_pivot_root,
    number::__NR_chroot,
    number::__NR_open_tree,
    number::__NR_move_mount,
    number::__NR_fsopen,
    number::__NR_fsmount,
    number::__NR_fspick,
    number::__NR_mount_setattr,
    number::__NR_open_by_handle_at,
    number::__NR_unshare,
    number::__NR_setns,
    number::__NR_bpf,
    number::__NR_perf_event_open,
    number::__NR_io_uring_setup,
    number::__NR_userfaultfd,
    number::__NR_memfd_create,
    number::__NR_keyctl,
    number::__NR_add_key,
    number::__NR_request_key,
    number::__NR_init_module,
    number::__NR_finit_module,
    number::__NR_delete_module,
    number::__NR_kexec_load,
    number::__NR_reboot,
    number::__NR_swapon,
    number::__NR_sethostname,
    number::__NR_quotactl,
];

// Offsets in `struct seccomp_data` (seccomp(2)).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The lower half of the third argument, on the little-endian machines that this is for.
const PROTECTION: u32 = 32;

// Classic BPF (linux/bpf_common.h).
const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_BITS: u16 = 0x45;
const RETURN: u16 = 0x06;

// Values of a filter (linux/seccomp.h).
const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
/// With ENOSYS, which libraries know how to take.
const REFUSE: u32 = 0x0005_0000 | 38;

/// The whole filter.
pub(super) fn program() -> Vec<Instruction> {
    let plain = |code, k| Instruction { code, jt: 0, jf: 0, k };
    // Calls of another ABI have numbers with another meaning.
    let mut program = vec![
        plain(LOAD, ARCHITECTURE),
        Instruction { code: IF_EQUAL, jt: 1, jf: 0, k: sys::seccomp::ARCHITECTURE },
        plain(RETURN, KILL_PROCESS),
        plain(LOAD, NUMBER),
    ];
    for (numbers, action) in [(ALLOWED, ALLOW), (DEADLY, KILL_PROCESS)] {
        for number in numbers {
            program.push(Instruction { code: IF_EQUAL, jt: 0, jf: 1, k: *number });
            program.push(plain(RETURN, action));
        }
    }
    for number in ALLOWED_UNLESS_EXECUTABLE {
        program.extend([
            Instruction { code: IF_EQUAL, jt: 0, jf: 4, k: *number },
            plain(LOAD, PROTECTION),
            Instruction { code: IF_BITS, jt: 0, jf: 1, k: number::PROT_EXEC },
            plain(RETURN, KILL_PROCESS),
            plain(RETURN, ALLOW),
        ]);
    }
    program.push(plain(RETURN, REFUSE));
    program
}
