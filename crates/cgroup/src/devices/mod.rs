//! Owns the rules about devices and the filter of cgroup v2 made of them. Must not make device nodes.

pub(crate) mod exceptions;
mod program;

use std::fmt;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use sys::bpf;

pub use program::device_filter;

/// Our programs' name in the kernel; an update replaces those and leaves others alone.
const PROGRAM_NAME: &std::ffi::CStr = c"rabbitc_devices";

/// One rule about devices (`linux.resources.devices` of the runtime specification).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether the access is allowed or refused.
    pub allow: bool,
    /// Which kind of device.
    pub kind: DeviceKind,
    /// Major number; absent means all.
    pub major: Option<u32>,
    /// Minor number; absent means all.
    pub minor: Option<u32>,
    /// Which kinds of access.
    pub access: DeviceAccess,
}

/// Kind of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Both kinds.
    All,
    /// Character device.
    Character,
    /// Block device.
    Block,
}

/// A set of kinds of access to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceAccess(u8);

impl DeviceAccess {
    /// Making the node. The bits are the kernel's (`BPF_DEVCG_ACC_*`).
    pub const MKNOD: DeviceAccess = DeviceAccess(1);
    /// Opening for reading.
    pub const READ: DeviceAccess = DeviceAccess(2);
    /// Opening for writing.
    pub const WRITE: DeviceAccess = DeviceAccess(4);
    /// All of them.
    pub const ALL: DeviceAccess = DeviceAccess(7);

    /// Reads letters out of `rwm`, as the runtime specification has them; nothing when there is another letter,
    /// or none.
    pub fn parse(text: &str) -> Option<DeviceAccess> {
        let bits = text.bytes().try_fold(0, |bits, letter| match letter {
            b'm' => Some(bits | DeviceAccess::MKNOD.0),
            b'r' => Some(bits | DeviceAccess::READ.0),
            b'w' => Some(bits | DeviceAccess::WRITE.0),
            _ => None,
        })?;
        (bits != 0).then_some(DeviceAccess(bits))
    }

    pub(crate) fn bits(self) -> u8 {
        self.0
    }
}

impl fmt::Display for DeviceAccess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (access, letter) in
            [(DeviceAccess::READ, "r"), (DeviceAccess::WRITE, "w"), (DeviceAccess::MKNOD, "m")]
        {
            if self.0 & access.0 != 0 {
                formatter.write_str(letter)?;
            }
        }
        Ok(())
    }
}

impl DeviceRule {
    /// Every device, every access.
    pub fn everything(allow: bool) -> DeviceRule {
        DeviceRule { allow, kind: DeviceKind::All, major: None, minor: None, access: DeviceAccess::ALL }
    }

    /// Whether it decides every access to every device.
    pub(crate) fn is_everything(&self) -> bool {
        *self == DeviceRule::everything(self.allow)
    }
}

impl fmt::Display for DeviceRule {
    /// In the words of cgroup v1: `allow c 1:3 rwm`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.allow { "allow" } else { "deny" };
        let kind = match self.kind {
            DeviceKind::All => 'a',
            DeviceKind::Character => 'c',
            DeviceKind::Block => 'b',
        };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        write!(formatter, "{verdict} {kind} {}:{} {}", number(self.major), number(self.minor), self.access)
    }
}

/// Puts a filter for `rules` on the directory `group` of the unified hierarchy: in the place of ours where there is one, in one step,
/// so that there is no moment with both or with neither. Filters of others, and of ancestors, hold as well.
/// Needs CAP_BPF or CAP_SYS_ADMIN in the initial user namespace (EPERM), and Linux 5.6 to replace.
pub fn attach_filter(group: BorrowedFd<'_>, rules: &[DeviceRule]) -> Result<(), Errno> {
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let program = bpf::load_device_filter(&device_filter(rules), PROGRAM_NAME).map_err(errno)?;
    let mut ours = Vec::new();
    for attached in bpf::attached_device_filters(group).map_err(errno)? {
        let name = bpf::program_name(&attached).map_err(errno)?;
        if name.starts_with(PROGRAM_NAME.to_bytes_with_nul()) {
            ours.push(attached);
        }
    }
    match ours.split_first() {
        None => bpf::attach_device_filter(group, &program).map_err(errno),
        Some((first, rest)) => {
            bpf::replace_device_filter(group, &program, first).map_err(errno)?;
            // More than one would be the remains of an interrupted start; the new one holds already.
            rest.iter().try_for_each(|old| bpf::detach_device_filter(group, old)).map_err(errno)
        }
    }
}
