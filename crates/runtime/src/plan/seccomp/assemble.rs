//! Owns the encoding: verdicts of numbers become a classic BPF program, a binary search with short jumps.
//! Must not know of profiles, names or ABIs beyond the width of their arguments.
//!
//! Code is emitted from the last instruction to the first: jumps only go forward, so every target is known by
//! the time something jumps to it, and its distance cannot change any more.

use sys::seccomp::Instruction;

use super::rules::{Condition, Resolved, Return, Rule, Verdict};
use crate::spec::seccomp::Operator;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const GREATER_OR_EQUAL: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Offsets in `struct seccomp_data` (linux/seccomp.h).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// How far a conditional jump reaches, less the instructions that making both its targets reachable may add.
const REACH: usize = 255 - 4;

/// One value of `seccomp_data.arch` and what it gets.
pub(super) struct Section {
    pub(super) audit: u32,
    pub(super) is_wide: bool,
    pub(super) resolved: Resolved,
}

/// The program for these sections, most frequent first; any other `arch` gets `unlisted`.
pub(super) fn assemble(sections: &[Section], default: Return, unlisted: Return) -> Vec<Instruction> {
    let mut assembler = Assembler { reversed: Vec::with_capacity(1024), returns: Vec::new() };
    let targets: Vec<Target> =
        sections.iter().rev().map(|section| assembler.section(section, default)).collect();
    let mut target = Target::Return(unlisted);
    for (section, found) in sections.iter().rev().zip(targets) {
        target = assembler.branch(Some(ARCH), EQUAL, section.audit, found, target);
    }
    match target {
        Target::Return(value) => assembler.push(RETURN, value),
        Target::Code { .. } => assembler.push(LOAD, ARCH),
    };
    assembler.reversed.reverse();
    assembler.reversed
}

/// Where a jump goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// To an instruction that returns this; made where none is near.
    Return(Return),
    /// To the instruction with that index from the end, which loads `loads` if anything.
    Code { at: usize, loads: Option<u32> },
}

struct Assembler {
    /// The program, last instruction first.
    reversed: Vec<Instruction>,
    /// The nearest returning instruction of each value.
    returns: Vec<(Return, usize)>,
}

impl Assembler {
    fn section(&mut self, section: &Section, default: Return) -> Target {
        let resolved = &section.resolved;
        let bodies: Vec<Target> =
            resolved.conditional.iter().map(|rules| self.rules(rules, section.is_wide, default)).collect();
        let targets: Vec<(u32, Target)> = resolved
            .segments
            .iter()
            .map(|(start, verdict)| match verdict {
                Verdict::Return(value) => (*start, Target::Return(*value)),
                Verdict::Rules(index) => (*start, bodies[*index]),
            })
            .collect();
        match self.search(&targets) {
            Target::Return(value) => Target::Return(value),
            Target::Code { .. } => self.load(NUMBER),
        }
    }

    /// A balanced search over segments; the accumulator holds the number.
    fn search(&mut self, segments: &[(u32, Target)]) -> Target {
        match segments {
            [] => unreachable!("segments cover every number"),
            [(_, target)] => *target,
            // A hole of one number costs one comparison instead of two.
            [(_, before), (hole, target), (next, after)] if before == after && *next == *hole + 1 => {
                self.branch(None, EQUAL, *hole, *target, *before)
            }
            _ => {
                let (low, high) = segments.split_at(segments.len() / 2);
                let above = self.search(high);
                let below = self.search(low);
                self.branch(None, GREATER_OR_EQUAL, high[0].0, above, below)
            }
        }
    }

    /// The rules of one call in the order of trial.
    fn rules(&mut self, rules: &[Rule], is_wide: bool, default: Return) -> Target {
        let mut otherwise = Target::Return(default);
        for rule in rules.iter().rev() {
            let mut matched = Target::Return(rule.returns);
            for condition in rule.conditions.iter().rev() {
                matched = self.condition(condition, is_wide, matched, otherwise);
            }
            otherwise = matched;
        }
        otherwise
    }

    /// One comparison. Words are 32 bits, so that of a 64-bit argument looks at the high word first.
    fn condition(&mut self, condition: &Condition, is_wide: bool, yes: Target, no: Target) -> Target {
        // Little endian, as every supported host.
        let low = ARGUMENTS + 8 * u32::from(condition.argument);
        let high = is_wide.then_some(low + 4);
        let low_value = condition.value as u32;
        let high_value = (condition.value >> 32) as u32;
        match condition.operator {
            Operator::NotEqual => {
                let equal = Condition { operator: Operator::Equal, ..*condition };
                self.condition(&equal, is_wide, no, yes)
            }
            Operator::Less => {
                let opposite = Condition { operator: Operator::GreaterOrEqual, ..*condition };
                self.condition(&opposite, is_wide, no, yes)
            }
            Operator::LessOrEqual => {
                let opposite = Condition { operator: Operator::Greater, ..*condition };
                self.condition(&opposite, is_wide, no, yes)
            }
            Operator::Equal | Operator::MaskedEqual => {
                let target = self.word(low, condition.mask as u32, low_value, yes, no);
                let Some(high) = high else { return target };
                self.word(high, (condition.mask >> 32) as u32, high_value, target, no)
            }
            Operator::Greater | Operator::GreaterOrEqual => {
                let code = if condition.operator == Operator::Greater { GREATER } else { GREATER_OR_EQUAL };
                self.branch(Some(low), code, low_value, yes, no);
                let target = self.load(low);
                let Some(high) = high else { return target };
                let same = self.branch(Some(high), EQUAL, high_value, target, no);
                self.branch(Some(high), GREATER, high_value, yes, same);
                self.load(high)
            }
        }
    }

    /// Compares one word under a mask; a word of which nothing is asked needs no code.
    fn word(&mut self, offset: u32, mask: u32, value: u32, yes: Target, no: Target) -> Target {
        match mask {
            0 => return yes,
            u32::MAX => {
                self.branch(Some(offset), EQUAL, value, yes, no);
            }
            _ => {
                self.branch(None, EQUAL, value, yes, no);
                self.push(AND, mask);
            }
        }
        self.load(offset)
    }

    /// A comparison of the accumulator. `holds` is the word that it holds unchanged, which a target need not
    /// load again.
    fn branch(&mut self, holds: Option<u32>, code: u16, k: u32, yes: Target, no: Target) -> Target {
        let after_load = |target| match target {
            Target::Code { at, loads: Some(word) } if holds == Some(word) => {
                Target::Code { at: at - 1, loads: None }
            }
            target => target,
        };
        let (yes, no) = (self.reachable(after_load(yes)), self.reachable(after_load(no)));
        let next = self.reversed.len();
        let distance = |at: usize| u8::try_from(next - 1 - at).expect("targets are within reach");
        self.reversed.push(Instruction { code, jt: distance(yes), jf: distance(no), k });
        Target::Code { at: next, loads: None }
    }

    /// An instruction near enough for a conditional jump that leads to the target.
    fn reachable(&mut self, target: Target) -> usize {
        let next = self.reversed.len();
        match target {
            Target::Return(value) => {
                if let Some((_, at)) = self.returns.iter().find(|(known, _)| *known == value)
                    && next - at <= REACH
                {
                    return *at;
                }
                let at = self.push(RETURN, value);
                self.returns.retain(|(known, _)| *known != value);
                self.returns.push((value, at));
                at
            }
            Target::Code { at, .. } if next - at <= REACH => at,
            Target::Code { at, .. } => self.push(JUMP, (next - 1 - at) as u32),
        }
    }

    fn load(&mut self, offset: u32) -> Target {
        let at = self.push(LOAD, offset);
        Target::Code { at, loads: Some(offset) }
    }

    fn push(&mut self, code: u16, k: u32) -> usize {
        self.reversed.push(Instruction { code, jt: 0, jf: 0, k });
        self.reversed.len() - 1
    }
}
