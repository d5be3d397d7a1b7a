//! Owns a small interpreter of the classic BPF that seccomp allows.

use sys::seccomp::Instruction;

/// `struct seccomp_data`, without the instruction pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) number: u32,
    pub(super) arch: u32,
    pub(super) arguments: [u64; 6],
}

/// The value that the program returns, and how many instructions that took.
pub(super) fn run(program: &[Instruction], data: &Data) -> (u32, usize) {
    let (mut at, mut accumulator, mut steps) = (0, 0u32, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        steps += 1;
        let holds = match code {
            0x20 => {
                accumulator = load(data, k);
                continue;
            }
            0x54 => {
                accumulator &= k;
                continue;
            }
            0x05 => {
                at += k as usize;
                continue;
            }
            0x06 => return (k, steps),
            0x15 => accumulator == k,
            0x25 => accumulator > k,
            0x35 => accumulator >= k,
            _ => panic!("code {code:#x}"),
        };
        at += usize::from(if holds { jt } else { jf });
    }
}

fn load(data: &Data, offset: u32) -> u32 {
    match offset {
        0 => data.number,
        4 => data.arch,
        8 | 12 => 0,
        _ => {
            let argument = data.arguments[(offset as usize - 16) / 8];
            if offset.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 }
        }
    }
}
