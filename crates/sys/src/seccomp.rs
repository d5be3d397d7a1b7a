//! `seccomp(2)`: installing a filter.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// One instruction of classic BPF (`struct sock_filter`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip where the comparison holds.
    pub jt: u8,
    /// Instructions to skip where it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// The architecture of this program in a filter's data (`AUDIT_ARCH_*`, linux/audit.h).
#[cfg(target_arch = "x86_64")]
pub const ARCHITECTURE: u32 = 0xc000_003e;
/// The architecture of this program in a filter's data (`AUDIT_ARCH_*`, linux/audit.h).
#[cfg(target_arch = "aarch64")]
pub const ARCHITECTURE: u32 = 0xc000_00b7;

/// Calls by which a process gets at other programs, processes, namespaces, mounts, networks or the kernel's own insides.
pub const ESCAPES: &[u32] = &[
    libc::SYS_execve as u32,
    libc::SYS_execveat as u32,
    libc::SYS_ptrace as u32,
    libc::SYS_process_vm_readv as u32,
    libc::SYS_process_vm_writev as u32,
    libc::SYS_kill as u32,
    libc::SYS_tkill as u32,
    libc::SYS_pidfd_open as u32,
    libc::SYS_unshare as u32,
    libc::SYS_setns as u32,
    libc::SYS_clone3 as u32,
    libc::SYS_mount as u32,
    libc::SYS_umount2 as u32,
    libc::SYS_pivot_root as u32,
    libc::SYS_chroot as u32,
    libc::SYS_open_tree as u32,
    libc::SYS_move_mount as u32,
    libc::SYS_fsopen as u32,
    libc::SYS_fsmount as u32,
    libc::SYS_open_by_handle_at as u32,
    libc::SYS_socket as u32,
    libc::SYS_connect as u32,
    libc::SYS_bpf as u32,
    libc::SYS_perf_event_open as u32,
    libc::SYS_io_uring_setup as u32,
    libc::SYS_userfaultfd as u32,
    libc::SYS_keyctl as u32,
    libc::SYS_add_key as u32,
    libc::SYS_init_module as u32,
    libc::SYS_finit_module as u32,
    libc::SYS_kexec_load as u32,
    libc::SYS_reboot as u32,
    libc::SYS_swapon as u32,
    libc::SYS_setuid as u32,
    libc::SYS_setgid as u32,
    libc::SYS_setresuid as u32,
    libc::SYS_setresgid as u32,
];

/// Installs a filter on the calling thread; returns the listener where `flags` ask for one.
///
/// Needs no_new_privs or CAP_SYS_ADMIN. `flags` are `SECCOMP_FILTER_FLAG_*`.
pub fn install(program: &[Instruction], flags: u32) -> io::Result<Option<OwnedFd>> {
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const Instruction,
    }
    const NEW_LISTENER: u32 = 1 << 3;
    let Ok(length) = u16::try_from(program.len()) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    let program = Program { length, filter: program.as_ptr() };
    // SAFETY: the program's length is its slice's; both live across the call.
    let returned =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    let returned = crate::check(returned)?;
    if flags & NEW_LISTENER == 0 {
        return Ok(None);
    }
    // SAFETY: with that flag the call returns a new descriptor, owned by nobody yet.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(returned as RawFd) }))
}
