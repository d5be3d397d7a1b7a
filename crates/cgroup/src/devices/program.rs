//! Owns the translation of device rules into an eBPF program. Must not load it.

use sys::bpf::Instruction;

use super::{DeviceKind, DeviceRule};

// Registers. The program gets the context in the first argument and answers in the result register.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
/// Bits of access that no rule has decided yet.
const OPEN: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

// struct bpf_cgroup_dev_ctx: access in the upper, kind in the lower half of the first word.
const CONTEXT_ACCESS_KIND: i16 = 0;
const CONTEXT_MAJOR: i16 = 4;
const CONTEXT_MINOR: i16 = 8;
const KIND_BLOCK: i32 = 1;
const KIND_CHARACTER: i32 = 2;

const REFUSE: i32 = 0;
const ALLOW: i32 = 1;

/// The program that decides an access as `rules` say.
///
/// For each requested kind of access the last rule that matches decides; what none allows is refused. So the
/// program asks the rules from the last to the first: a refusal of any bit still open ends it, an allowance closes
/// its bits, and the access is allowed once none is open.
pub fn device_filter(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = vec![
        load_word(KIND, CONTEXT, CONTEXT_ACCESS_KIND),
        move_register(OPEN, KIND),
        shift_right(OPEN, 16),
        and(KIND, 0xffff),
        load_word(MAJOR, CONTEXT, CONTEXT_MAJOR),
        load_word(MINOR, CONTEXT, CONTEXT_MINOR),
    ];
    for rule in rules.iter().rev() {
        append(rule, &mut program);
        if rule.is_everything() {
            // It decides all that is open; the verifier refuses instructions that nothing reaches.
            return program;
        }
    }
    program.extend([set(RESULT, REFUSE), exit()]);
    program
}

fn append(rule: &DeviceRule, program: &mut Vec<Instruction>) {
    let bits = i32::from(rule.access.bits());
    let mut tests = Vec::new();
    match rule.kind {
        DeviceKind::All => {}
        DeviceKind::Block => tests.push((KIND, KIND_BLOCK)),
        DeviceKind::Character => tests.push((KIND, KIND_CHARACTER)),
    }
    if let Some(major) = rule.major {
        tests.push((MAJOR, major as i32));
    }
    if let Some(minor) = rule.minor {
        tests.push((MINOR, minor as i32));
    }
    let verdict = match (rule.is_everything(), rule.allow) {
        (true, allow) => vec![set(RESULT, if allow { ALLOW } else { REFUSE }), exit()],
        (false, true) => {
            vec![and(OPEN, !bits), jump_unless_equal(OPEN, 0, 2), set(RESULT, ALLOW), exit()]
        }
        (false, false) => vec![
            move_register(SCRATCH, OPEN),
            and(SCRATCH, bits),
            jump_if_equal(SCRATCH, 0, 2),
            set(RESULT, REFUSE),
            exit(),
        ],
    };
    let tested = tests.len();
    for (index, (register, value)) in tests.into_iter().enumerate() {
        let behind = tested - index - 1 + verdict.len();
        program.push(jump_unless_equal(register, value, behind as i16));
    }
    program.extend(verdict);
}

// Operation codes of linux/bpf_common.h and linux/bpf.h, 32-bit arithmetic and jumps throughout: the words are
// unsigned, and a 64-bit comparison would extend an immediate above 2^31 by its sign.
const LDX_MEM_W: u8 = 0x61;
const ALU32_MOV_K: u8 = 0xb4;
const ALU32_MOV_X: u8 = 0xbc;
const ALU32_AND_K: u8 = 0x54;
const ALU32_RSH_K: u8 = 0x74;
const JMP32_JEQ_K: u8 = 0x16;
const JMP32_JNE_K: u8 = 0x56;
const JMP_EXIT: u8 = 0x95;

fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: destination | source << 4, offset, immediate }
}

fn load_word(destination: u8, base: u8, offset: i16) -> Instruction {
    instruction(LDX_MEM_W, destination, base, offset, 0)
}

fn move_register(destination: u8, source: u8) -> Instruction {
    instruction(ALU32_MOV_X, destination, source, 0, 0)
}

fn set(register: u8, value: i32) -> Instruction {
    instruction(ALU32_MOV_K, register, 0, 0, value)
}

fn and(register: u8, bits: i32) -> Instruction {
    instruction(ALU32_AND_K, register, 0, 0, bits)
}

fn shift_right(register: u8, bits: i32) -> Instruction {
    instruction(ALU32_RSH_K, register, 0, 0, bits)
}

fn jump_if_equal(register: u8, value: i32, distance: i16) -> Instruction {
    instruction(JMP32_JEQ_K, register, 0, distance, value)
}

fn jump_unless_equal(register: u8, value: i32, distance: i16) -> Instruction {
    instruction(JMP32_JNE_K, register, 0, distance, value)
}

fn exit() -> Instruction {
    instruction(JMP_EXIT, 0, 0, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::super::DeviceAccess;
    use super::*;

    /// Runs the program as the kernel would, on the operations that it uses.
    fn run(program: &[Instruction], kind: i32, access: u8, major: u32, minor: u32) -> bool {
        let context = [(u32::from(access) << 16) | kind as u32, major, minor];
        let mut registers = [0_u32; 11];
        let mut at = 0;
        loop {
            let Instruction { code, registers: pair, offset, immediate } = program[at];
            let (destination, source) = (usize::from(pair & 15), usize::from(pair >> 4));
            at += 1;
            match code {
                LDX_MEM_W => registers[destination] = context[offset as usize / 4],
                ALU32_MOV_K => registers[destination] = immediate as u32,
                ALU32_MOV_X => registers[destination] = registers[source],
                ALU32_AND_K => registers[destination] &= immediate as u32,
                ALU32_RSH_K => registers[destination] >>= immediate,
                JMP32_JEQ_K if registers[destination] == immediate as u32 => at += offset as usize,
                JMP32_JNE_K if registers[destination] != immediate as u32 => at += offset as usize,
                JMP32_JEQ_K | JMP32_JNE_K => {}
                JMP_EXIT => return registers[usize::from(RESULT)] == ALLOW as u32,
                other => panic!("operation {other:#x} is not ours"),
            }
        }
    }

    fn rule(
        allow: bool,
        kind: DeviceKind,
        major: Option<u32>,
        minor: Option<u32>,
        access: &str,
    ) -> DeviceRule {
        DeviceRule { allow, kind, major, minor, access: DeviceAccess::parse(access).expect("an access") }
    }

    /// The definition: for each bit, the last rule that matches.
    fn expected(rules: &[DeviceRule], kind: i32, access: u8, major: u32, minor: u32) -> bool {
        [1, 2, 4].into_iter().filter(|bit| access & bit != 0).all(|bit| {
            let matching = rules.iter().rev().find(|rule| {
                let kinds = match rule.kind {
                    DeviceKind::All => true,
                    DeviceKind::Block => kind == KIND_BLOCK,
                    DeviceKind::Character => kind == KIND_CHARACTER,
                };
                kinds
                    && rule.major.is_none_or(|number| number == major)
                    && rule.minor.is_none_or(|number| number == minor)
                    && rule.access.bits() & bit != 0
            });
            matching.is_some_and(|rule| rule.allow)
        })
    }

    #[test]
    fn program_decides_as_the_last_matching_rule_of_each_access_does() {
        use DeviceKind::{All, Block, Character};
        let lists = [
            vec![],
            vec![DeviceRule::everything(false)],
            vec![DeviceRule::everything(true)],
            vec![
                DeviceRule::everything(false),
                rule(true, Character, None, None, "m"),
                rule(true, Character, Some(1), Some(3), "rwm"),
                rule(true, Character, Some(1), Some(5), "r"),
                rule(true, Character, Some(1), Some(5), "w"),
                rule(true, Character, Some(136), None, "rw"),
            ],
            vec![
                rule(true, Character, Some(1), None, "rwm"),
                rule(false, Character, Some(1), Some(5), "w"),
                rule(true, All, Some(u32::MAX), None, "rwm"),
            ],
            vec![
                DeviceRule::everything(true),
                rule(false, Block, None, None, "wm"),
                rule(true, All, None, None, "m"),
            ],
            vec![rule(true, Block, Some(8), Some(0), "rwm"), DeviceRule::everything(false)],
        ];
        for rules in lists {
            let program = device_filter(&rules);
            for kind in [KIND_BLOCK, KIND_CHARACTER] {
                for access in 1..8 {
                    for major in [0, 1, 8, 136, u32::MAX] {
                        for minor in [0, 3, 5, 9] {
                            assert_eq!(
                                run(&program, kind, access, major, minor),
                                expected(&rules, kind, access, major, minor),
                                "{rules:?} kind {kind} access {access} device {major}:{minor}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn rules_before_a_sweeping_one_leave_no_code_behind() {
        let rules = [rule(true, DeviceKind::Block, None, None, "r"), DeviceRule::everything(false)];
        assert_eq!(device_filter(&rules), device_filter(&rules[1..]));
    }
}
