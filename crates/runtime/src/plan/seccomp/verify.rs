//! Owns the kernel's own checks of a filter, for the tests and the fuzzer. Must not be part of the program.

use sys::seccomp::Instruction;

use super::MAX_INSTRUCTIONS;

/// What `bpf_check_classic` and `seccomp_check_filter` of the kernel demand: known codes, aligned loads inside the
/// data, jumps inside the program, a return at its end.
///
/// # Panics
///
/// Where the kernel would refuse the program.
pub fn verify(program: &[Instruction]) {
    assert!(!program.is_empty() && program.len() <= MAX_INSTRUCTIONS);
    for (at, instruction) in program.iter().enumerate() {
        let left = program.len() - at - 1;
        match instruction.code {
            0x20 => assert!(instruction.k.is_multiple_of(4) && instruction.k < 64, "{at}: {instruction:?}"),
            0x54 | 0x06 => {}
            0x05 => assert!((instruction.k as usize) < left, "{at}: {instruction:?}"),
            0x15 | 0x25 | 0x35 => {
                assert!(usize::from(instruction.jt.max(instruction.jf)) < left, "{at}: {instruction:?}");
            }
            code => panic!("{at}: code {code:#x}"),
        }
    }
    assert_eq!(program.last().map(|last| last.code), Some(0x06));
}
