//! Owns the numbers of system calls: name to number for every ABI that a supported host can run.
//! Must not know of profiles or filters.

use crate::spec::seccomp::Architecture;

/// A system call ABI, one table of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abi {
    X86_64,
    X32,
    X86,
    Aarch64,
    Arm,
    Riscv64,
}

/// Set in every number of an x32 call (arch/x86/include/uapi/asm/unistd.h).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// From here on 32-bit Arm keeps calls of its own, outside the common table (asm/unistd.h, `__ARM_NR_BASE`).
pub(super) const ARM_PRIVATE: u32 = 0x0f_0000;

/// What one host can execute: its own ABI first, then the compatible ones.
pub(super) type Host = &'static [Abi];

pub(super) const X86_64_HOST: Host = &[Abi::X86_64, Abi::X32, Abi::X86];
pub(super) const AARCH64_HOST: Host = &[Abi::Aarch64, Abi::Arm];
pub(super) const RISCV64_HOST: Host = &[Abi::Riscv64];

/// The host that this program was built for; none where the tables lack it.
pub(super) const fn this_host() -> Option<Host> {
    if cfg!(target_arch = "x86_64") {
        Some(X86_64_HOST)
    } else if cfg!(target_arch = "aarch64") {
        Some(AARCH64_HOST)
    } else if cfg!(target_arch = "riscv64") {
        Some(RISCV64_HOST)
    } else {
        None
    }
}

impl Abi {
    /// The name in a profile.
    pub(super) const fn architecture(self) -> Architecture {
        match self {
            Abi::X86_64 => Architecture::X86_64,
            Abi::X32 => Architecture::X32,
            Abi::X86 => Architecture::X86,
            Abi::Aarch64 => Architecture::Aarch64,
            Abi::Arm => Architecture::Arm,
            Abi::Riscv64 => Architecture::Riscv64,
        }
    }

    /// `AUDIT_ARCH_*` (linux/audit.h), what `seccomp_data.arch` holds; x32 shares that of x86_64.
    pub(super) const fn audit(self) -> u32 {
        match self {
            Abi::X86_64 | Abi::X32 => 0xc000_003e,
            Abi::X86 => 0x4000_0003,
            Abi::Aarch64 => 0xc000_00b7,
            Abi::Arm => 0x4000_0028,
            Abi::Riscv64 => 0xc000_00f3,
        }
    }

    /// Whether arguments are 64-bit registers. x32 has 32-bit pointers, yet its calls read whole registers.
    pub(super) const fn is_wide(self) -> bool {
        !matches!(self, Abi::X86 | Abi::Arm)
    }

    /// The number of a call as `seccomp_data.nr` shows it.
    pub(super) fn number(self, name: &Name<'_>) -> Option<u32> {
        let found = match self {
            Abi::X86_64 => x86_64::number(name),
            Abi::X32 => x32_number(name),
            Abi::X86 => x86::number(name),
            Abi::Aarch64 => aarch64::number(name).or_else(|| generic_alias(name, aarch64::number)),
            Abi::Arm => arm::number(name).or_else(|| pick(ARM_OWN, name.text)),
            Abi::Riscv64 => riscv64::number(name).or_else(|| generic_alias(name, riscv64::number)),
        };
        found.or_else(|| {
            let base = if self == Abi::X32 { X32_BIT } else { 0 };
            pick(RECENT, name.text).map(|number| base | number)
        })
    }

    /// The sub-function of `socketcall(2)` or `ipc(2)` that does the same as a call, on the one ABI that has
    /// them: the number of the multiplexer, and its first argument.
    pub(super) fn multiplexed(self, name: &Name<'_>) -> Option<(u32, u64)> {
        if self != Abi::X86 {
            return None;
        }
        let mut slot = name.hash;
        while MULTIPLEXED_SLOTS[slot] != 0 {
            let (known, multiplexer, call) = MULTIPLEXED[usize::from(MULTIPLEXED_SLOTS[slot]) - 1];
            if known == name.text {
                return Some((multiplexer, call));
            }
            slot = (slot + 1) & (SLOTS - 1);
        }
        None
    }
}

/// A name with its hash, so that several tables are asked at the price of one.
pub(super) struct Name<'a> {
    pub(super) text: &'a str,
    hash: usize,
}

impl<'a> Name<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Name { text, hash: hash(text) }
    }
}

/// Calls newer than the tables of the `syscalls` crate; numbers above 423 are the same on every ABI here.
const RECENT: &[(&str, u32)] = &[("listns", 470), ("rseq_slice_yield", 471)];

/// Calls of 32-bit Arm alone.
const ARM_OWN: &[(&str, u32)] = &[
    ("breakpoint", ARM_PRIVATE + 1),
    ("cacheflush", ARM_PRIVATE + 2),
    ("usr26", ARM_PRIVATE + 3),
    ("usr32", ARM_PRIVATE + 4),
    ("set_tls", ARM_PRIVATE + 5),
    ("get_tls", ARM_PRIVATE + 6),
];

const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;

/// Sub-functions of `socketcall(2)` (linux/net.h) and `ipc(2)` (linux/ipc.h).
const MULTIPLEXED: &[(&str, u32, u64)] = &[
    ("socket", SOCKETCALL, 1),
    ("bind", SOCKETCALL, 2),
    ("connect", SOCKETCALL, 3),
    ("listen", SOCKETCALL, 4),
    ("accept", SOCKETCALL, 5),
    ("getsockname", SOCKETCALL, 6),
    ("getpeername", SOCKETCALL, 7),
    ("socketpair", SOCKETCALL, 8),
    ("send", SOCKETCALL, 9),
    ("recv", SOCKETCALL, 10),
    ("sendto", SOCKETCALL, 11),
    ("recvfrom", SOCKETCALL, 12),
    ("shutdown", SOCKETCALL, 13),
    ("setsockopt", SOCKETCALL, 14),
    ("getsockopt", SOCKETCALL, 15),
    ("sendmsg", SOCKETCALL, 16),
    ("recvmsg", SOCKETCALL, 17),
    ("accept4", SOCKETCALL, 18),
    ("recvmmsg", SOCKETCALL, 19),
    ("sendmmsg", SOCKETCALL, 20),
    ("semop", IPC, 1),
    ("semget", IPC, 2),
    ("semctl", IPC, 3),
    ("semtimedop", IPC, 4),
    ("msgsnd", IPC, 11),
    ("msgrcv", IPC, 12),
    ("msgget", IPC, 13),
    ("msgctl", IPC, 14),
    ("shmat", IPC, 21),
    ("shmdt", IPC, 22),
    ("shmget", IPC, 23),
    ("shmctl", IPC, 24),
];

/// Index + 1 into `MULTIPLEXED` by hash of the name.
static MULTIPLEXED_SLOTS: [u8; SLOTS] = {
    let mut slots = [0u8; SLOTS];
    let mut i = 0;
    while i < MULTIPLEXED.len() {
        let mut slot = hash(MULTIPLEXED[i].0);
        while slots[slot] != 0 {
            slot = (slot + 1) & (SLOTS - 1);
        }
        slots[slot] = i as u8 + 1;
        i += 1;
    }
    slots
};

/// Calls with an x32 entry of their own, because a structure they pass has pointers (syscall_64.tbl, from 512).
const X32_OWN: &[(&str, u32)] = &[
    ("rt_sigaction", 512),
    ("rt_sigreturn", 513),
    ("ioctl", 514),
    ("readv", 515),
    ("writev", 516),
    ("recvfrom", 517),
    ("sendmsg", 518),
    ("recvmsg", 519),
    ("execve", 520),
    ("ptrace", 521),
    ("rt_sigpending", 522),
    ("rt_sigtimedwait", 523),
    ("rt_sigqueueinfo", 524),
    ("sigaltstack", 525),
    ("timer_create", 526),
    ("mq_notify", 527),
    ("kexec_load", 528),
    ("waitid", 529),
    ("set_robust_list", 530),
    ("get_robust_list", 531),
    ("vmsplice", 532),
    ("move_pages", 533),
    ("preadv", 534),
    ("pwritev", 535),
    ("rt_tgsigqueueinfo", 536),
    ("recvmmsg", 537),
    ("sendmmsg", 538),
    ("process_vm_readv", 539),
    ("process_vm_writev", 540),
    ("setsockopt", 541),
    ("getsockopt", 542),
    ("io_setup", 543),
    ("io_submit", 544),
    ("execveat", 545),
    ("preadv2", 546),
    ("pwritev2", 547),
];

/// Calls of the x86_64 table that x32 does not have (syscall_64.tbl, marked `64`).
const X32_LACKS: &[&str] = &[
    "create_module",
    "epoll_ctl_old",
    "epoll_wait_old",
    "get_kernel_syms",
    "get_thread_area",
    "nfsservctl",
    "query_module",
    "set_thread_area",
    "_sysctl",
    "uselib",
    "vserver",
];

fn x32_number(name: &Name<'_>) -> Option<u32> {
    if X32_LACKS.contains(&name.text) {
        return None;
    }
    pick(X32_OWN, name.text).or_else(|| x86_64::number(name)).map(|number| X32_BIT | number)
}

/// The generic table (asm-generic/unistd.h) calls one call by two names; the crate has the other one.
fn generic_alias(name: &Name<'_>, number: fn(&Name<'_>) -> Option<u32>) -> Option<u32> {
    (name.text == "newfstatat").then(|| number(&Name::new("fstatat"))).flatten()
}

fn pick(list: &[(&str, u32)], name: &str) -> Option<u32> {
    list.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Four bytes at a time, since a profile has hundreds of names; they are known, so spread is all that matters.
const fn hash(name: &str) -> usize {
    let mut rest = name.as_bytes();
    let mut state = name.len() as u32;
    while let [a, b, c, d, more @ ..] = rest {
        state = mix(state, u32::from_le_bytes([*a, *b, *c, *d]));
        rest = more;
    }
    while let [a, more @ ..] = rest {
        state = mix(state, *a as u32);
        rest = more;
    }
    (state >> (u32::BITS - SLOTS.trailing_zeros())) as usize
}

/// The multiplier is 2^32 divided by the golden ratio; the high bits depend on all lower ones.
const fn mix(state: u32, word: u32) -> u32 {
    (state.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b1)
}

/// Slots of a hash table: a power of two, twice the longest table.
const SLOTS: usize = 1024;

/// One module per table: an open-addressed hash of number + 1, filled by the compiler. The crate's own
/// `FromStr` compares with one name after the other, several hundred for each name of a profile.
macro_rules! table {
    ($module:ident) => {
        mod $module {
            use super::{Name, SLOTS, hash};
            use syscalls::$module::Sysno;

            static TABLE: [u16; SLOTS] = {
                let mut slots = [0u16; SLOTS];
                let mut number = 0;
                while number <= Sysno::last().id() as usize {
                    if let Some(call) = Sysno::new(number) {
                        let mut slot = hash(call.name());
                        while slots[slot] != 0 {
                            slot = (slot + 1) & (SLOTS - 1);
                        }
                        slots[slot] = number as u16 + 1;
                    }
                    number += 1;
                }
                slots
            };

            const CALLS: usize = Sysno::last().id() as usize + 1;

            /// The crate's names one after the other: as an array of references they would be addresses that every
            /// execution of this program has to put right, in pages that it then has to copy.
            static TEXT: [u8; LENGTH] = {
                let mut text = [0u8; LENGTH];
                let (mut number, mut end) = (0, 0);
                while number < CALLS {
                    if let Some(call) = Sysno::new(number) {
                        let name = call.name().as_bytes();
                        let mut at = 0;
                        while at < name.len() {
                            text[end] = name[at];
                            (at, end) = (at + 1, end + 1);
                        }
                    }
                    number += 1;
                }
                text
            };

            const LENGTH: usize = BEGINS[CALLS] as usize;

            /// Where the name of each number begins; that of one without a name is empty.
            static BEGINS: [u16; CALLS + 1] = {
                let mut begins = [0u16; CALLS + 1];
                let mut number = 0;
                while number < CALLS {
                    let length = match Sysno::new(number) {
                        Some(call) => call.name().len(),
                        None => 0,
                    };
                    begins[number + 1] = begins[number] + length as u16;
                    number += 1;
                }
                begins
            };

            pub(super) fn number(name: &Name<'_>) -> Option<u32> {
                let mut slot = name.hash;
                while TABLE[slot] != 0 {
                    let number = TABLE[slot] - 1;
                    let at = usize::from(number);
                    if TEXT[usize::from(BEGINS[at])..usize::from(BEGINS[at + 1])] == *name.text.as_bytes() {
                        return Some(u32::from(number));
                    }
                    slot = (slot + 1) & (SLOTS - 1);
                }
                None
            }
        }
    };
}

table!(x86_64);
table!(x86);
table!(aarch64);
table!(arm);
table!(riscv64);

#[cfg(test)]
mod tests {
    use super::*;

    fn number(abi: Abi, name: &str) -> Option<u32> {
        abi.number(&Name::new(name))
    }

    #[test]
    fn tables_agree_with_the_crates_own_lookup() {
        for call in syscalls::x86_64::Sysno::iter() {
            assert_eq!(number(Abi::X86_64, call.name()), Some(call.id() as u32), "{call}");
        }
        for call in syscalls::x86::Sysno::iter() {
            assert_eq!(number(Abi::X86, call.name()), Some(call.id() as u32), "{call}");
        }
        for call in syscalls::arm::Sysno::iter() {
            assert_eq!(number(Abi::Arm, call.name()), Some(call.id() as u32), "{call}");
        }
    }

    #[test]
    fn one_name_has_a_number_per_abi() {
        assert_eq!(number(Abi::X86_64, "execve"), Some(59));
        assert_eq!(number(Abi::X32, "execve"), Some(X32_BIT | 520));
        assert_eq!(number(Abi::X32, "openat"), Some(X32_BIT | 257));
        assert_eq!(number(Abi::X32, "uselib"), None);
        assert_eq!(number(Abi::X86, "execve"), Some(11));
        assert_eq!(number(Abi::Aarch64, "newfstatat"), Some(79));
        assert_eq!(number(Abi::Aarch64, "open"), None);
        assert_eq!(number(Abi::Arm, "cacheflush"), Some(0x0f_0002));
        assert_eq!(number(Abi::Riscv64, "riscv_flush_icache"), Some(259));
        assert_eq!(number(Abi::X86_64, "listns"), Some(470));
        assert_eq!(number(Abi::X86_64, "no_such_call"), None);
    }

    #[test]
    fn multiplexers_are_of_x86_alone() {
        assert_eq!(Abi::X86.multiplexed(&Name::new("socket")), Some((102, 1)));
        assert_eq!(Abi::X86.multiplexed(&Name::new("sendmmsg")), Some((102, 20)));
        assert_eq!(Abi::X86.multiplexed(&Name::new("shmctl")), Some((117, 24)));
        assert_eq!(Abi::X86_64.multiplexed(&Name::new("socket")), None);
    }
}
