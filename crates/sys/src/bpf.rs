//! Owns the `bpf(2)` calls that a device filter needs: load, attach, replace, detach, query.
//! Must not generate programs or decide which one belongs where.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

// Commands, types and flags of linux/bpf.h; linux-raw-sys does not carry that header.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;

/// Length of a program's name in the kernel, final NUL included (`BPF_OBJ_NAME_LEN`).
pub const NAME_LENGTH: usize = 16;

/// The most programs that may be attached to one control group (`BPF_CGROUP_MAX_PROGS`).
pub const MOST_PROGRAMS: usize = 64;

/// One instruction of eBPF (`struct bpf_insn`, linux/bpf.h).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation code: class, source and operation.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high four.
    pub registers: u8,
    /// Jump distance in instructions, or offset of a memory access in bytes.
    pub offset: i16,
    /// Immediate operand.
    pub immediate: i32,
}

/// A loaded program, alive as long as this descriptor or an attachment is.
#[derive(Debug)]
pub struct Program(OwnedFd);

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The start of `union bpf_attr` as `BPF_PROG_LOAD` reads it.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; NAME_LENGTH],
}

/// As `BPF_PROG_ATTACH` and `BPF_PROG_DETACH` read it.
#[repr(C)]
#[derive(Default)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
    replaced: u32,
}

/// As `BPF_PROG_QUERY` reads and writes it.
#[repr(C)]
#[derive(Default)]
struct QueryAttributes {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    identifiers: u64,
    count: u32,
    padding: u32,
}

/// As `BPF_PROG_GET_FD_BY_ID` reads it.
#[repr(C)]
#[derive(Default)]
struct IdentifierAttributes {
    identifier: u32,
    next: u32,
    flags: u32,
}

/// As `BPF_OBJ_GET_INFO_BY_FD` reads and writes it.
#[repr(C)]
#[derive(Default)]
struct InfoAttributes {
    program: u32,
    length: u32,
    info: u64,
}

/// The start of `struct bpf_prog_info`, as far as the name.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind: u32,
    identifier: u32,
    tag: [u8; 8],
    jited_length: u32,
    translated_length: u32,
    jited: u64,
    translated: u64,
    load_time: u64,
    created_by: u32,
    map_count: u32,
    maps: u64,
    name: [u8; NAME_LENGTH],
}

/// Loads a device filter (`BPF_PROG_TYPE_CGROUP_DEVICE`) under `name`, of which the first 15 bytes count.
///
/// Needs CAP_BPF or CAP_SYS_ADMIN in the initial user namespace; EPERM otherwise. The kernel's verifier
/// refuses a faulty program with EINVAL or EACCES. See bpf(2).
pub fn load_device_filter(instructions: &[Instruction], name: &CStr) -> io::Result<Program> {
    let license = c"Apache-2.0";
    let mut attributes = LoadAttributes {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(instructions.len())
            .map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..LoadAttributes::default()
    };
    let name = name.to_bytes();
    let length = name.len().min(NAME_LENGTH - 1);
    attributes.name[..length].copy_from_slice(&name[..length]);
    // SAFETY: `instructions` and `license` point to memory that outlives the call, with the lengths given.
    let fd = unsafe { call(BPF_PROG_LOAD, &mut attributes) }?;
    // SAFETY: the kernel just returned this descriptor and nobody else has it.
    Ok(Program(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Attaches `program` to the control group directory `group` beside those already there
/// (`BPF_F_ALLOW_MULTI`: every attached program must allow an access).
pub fn attach_device_filter(group: BorrowedFd<'_>, program: &Program) -> io::Result<()> {
    attach(group, program, None)
}

/// Puts `program` in the place of `replaced` on `group`, in one step (`BPF_F_REPLACE`, Linux 5.6).
pub fn replace_device_filter(group: BorrowedFd<'_>, program: &Program, replaced: &Program) -> io::Result<()> {
    attach(group, program, Some(replaced))
}

fn attach(group: BorrowedFd<'_>, program: &Program, replaced: Option<&Program>) -> io::Result<()> {
    let mut attributes = AttachAttributes {
        target: number(group),
        program: number(program.as_fd()),
        attach_type: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI | if replaced.is_some() { BPF_F_REPLACE } else { 0 },
        replaced: replaced.map_or(0, |program| number(program.as_fd())),
    };
    // SAFETY: the attributes of this command hold descriptors and flags only, no pointer.
    unsafe { call(BPF_PROG_ATTACH, &mut attributes) }.map(drop)
}

/// Takes `program` off `group`; ENOENT when it is not attached there.
pub fn detach_device_filter(group: BorrowedFd<'_>, program: &Program) -> io::Result<()> {
    let mut attributes = AttachAttributes {
        target: number(group),
        program: number(program.as_fd()),
        attach_type: BPF_CGROUP_DEVICE,
        ..AttachAttributes::default()
    };
    // SAFETY: the attributes of this command hold descriptors and flags only, no pointer.
    unsafe { call(BPF_PROG_DETACH, &mut attributes) }.map(drop)
}

/// The device filters attached to `group` itself (not to its ancestors), in the order in which they run.
pub fn attached_device_filters(group: BorrowedFd<'_>) -> io::Result<Vec<Program>> {
    let mut identifiers = [0_u32; MOST_PROGRAMS];
    let mut attributes = QueryAttributes {
        target: number(group),
        attach_type: BPF_CGROUP_DEVICE,
        identifiers: identifiers.as_mut_ptr() as u64,
        count: MOST_PROGRAMS as u32,
        ..QueryAttributes::default()
    };
    // SAFETY: `identifiers` outlives the call and has room for `count` numbers.
    unsafe { call(BPF_PROG_QUERY, &mut attributes) }?;
    let count = (attributes.count as usize).min(MOST_PROGRAMS);
    let mut programs = Vec::with_capacity(count);
    for &identifier in &identifiers[..count] {
        let mut attributes = IdentifierAttributes { identifier, ..IdentifierAttributes::default() };
        // SAFETY: the attributes of this command hold numbers only, no pointer.
        let fd = unsafe { call(BPF_PROG_GET_FD_BY_ID, &mut attributes) };
        match fd {
            // SAFETY: the kernel just returned this descriptor and nobody else has it.
            Ok(fd) => programs.push(Program(unsafe { OwnedFd::from_raw_fd(fd) })),
            // Detached between the two calls.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(programs)
}

/// The name a program was loaded with, padded with NUL bytes.
pub fn program_name(program: &Program) -> io::Result<[u8; NAME_LENGTH]> {
    let mut info = ProgramInfo::default();
    let mut attributes = InfoAttributes {
        program: number(program.as_fd()),
        length: size_of::<ProgramInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: `info` outlives the call, is `length` bytes long, and any bytes are valid in it; all its
    // pointers and lengths are zero, so that the kernel writes nowhere else.
    unsafe { call(BPF_OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    Ok(info.name)
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    // A borrowed descriptor is never negative.
    fd.as_raw_fd() as u32
}

/// # Safety
/// `attributes` must be laid out as `command` expects, and every pointer in it must be valid for the length
/// that stands beside it.
unsafe fn call<T>(command: libc::c_int, attributes: &mut T) -> io::Result<RawFd> {
    // SAFETY: the caller vouches for the content; the size is that of the structure passed, and the kernel
    // takes what is missing at the end as zero.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    crate::check(result).map(|fd| fd as RawFd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_the_kernels_sizes() {
        assert_eq!(size_of::<Instruction>(), 8);
        assert_eq!(size_of::<LoadAttributes>(), 64);
        assert_eq!(size_of::<AttachAttributes>(), 20);
        assert_eq!(std::mem::offset_of!(ProgramInfo, name), 64);
    }
}
