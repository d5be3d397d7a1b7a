//! Owns the meaning of a profile: which verdict each system call number gets, in which order rules are tried.
//! Must not know how a filter is encoded.
//!
//! The order is libseccomp's, because profiles are written against it (runc and crun both use it): an
//! unconditional rule beats every conditional one of the same call, and the first unconditional rule beats
//! later ones; conditional rules are tried in a fixed order of their conditions, not in that of the profile.

use std::cmp::{Ordering, Reverse};

use super::Error;
use super::table::{ARM_PRIVATE, Abi, Name, X32_BIT};
use crate::spec::seccomp::{Action, Argument, LinuxSeccomp, Operator, Syscall};

/// `SECCOMP_RET_*` with its data: what the filter returns for a call.
pub(super) type Return = u32;

const RET_KILL_PROCESS: Return = 0x8000_0000;
const RET_KILL_THREAD: Return = 0;
const RET_TRAP: Return = 0x0003_0000;
const RET_ERRNO: Return = 0x0005_0000;
const RET_USER_NOTIF: Return = 0x7fc0_0000;
const RET_TRACE: Return = 0x7ff0_0000;
const RET_LOG: Return = 0x7ffc_0000;
pub(super) const RET_ALLOW: Return = 0x7fff_0000;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The action of calls that are newer than the profile.
pub(super) const RET_ENOSYS: Return = RET_ERRNO | ENOSYS;
/// The action of ABIs that the profile does not list.
pub(super) const RET_UNLISTED: Return = RET_KILL_PROCESS;

/// Positions of names must fit into `Entry`; any profile in earnest has hundreds.
const MAX_NAMES: usize = 0xff_ffff;

/// One comparison; `value` is masked already, and `mask` is all ones unless the operator is `MaskedEqual`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) argument: u8,
    pub(super) operator: Operator,
    pub(super) mask: u64,
    pub(super) value: u64,
}

/// Conditions that must all hold, in ascending order of arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    pub(super) returns: Return,
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Return(Return),
    /// Index into `Resolved::conditional`.
    Rules(usize),
}

/// A profile in the numbers of one `seccomp_data.arch`.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// Verdicts from a number up to the next entry's; the first starts at 0, the last ends with `u32::MAX`.
    pub(super) segments: Vec<(u32, Verdict)>,
    /// Rules in the order in which they are tried; a call that matches none gets the default action.
    pub(super) conditional: Vec<Vec<Rule>>,
}

impl Resolved {
    /// Everything from `start` on gets this verdict, until the next push.
    pub(super) fn push(&mut self, start: u32, verdict: Verdict) {
        if self.segments.last().is_some_and(|(last, _)| *last == start) {
            self.segments.pop();
        }
        if self.segments.last().is_none_or(|(_, last)| *last != verdict) {
            self.segments.push((start, verdict));
        }
    }

    /// Whether this call is let through, whatever its arguments.
    pub(super) fn lets_through(&self, number: u32) -> bool {
        let after = self.segments.partition_point(|(start, _)| *start <= number);
        let verdict = after.checked_sub(1).and_then(|at| self.segments.get(at));
        matches!(verdict, Some((_, Verdict::Return(RET_ALLOW | RET_LOG))))
    }
}

/// How many calls of one ABI the profile decides, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) allowed: usize,
    pub(super) by_argument: usize,
    pub(super) refused: usize,
}

/// The profile's rules with actions and arguments checked, and names hashed: ready for any number of ABIs.
pub(super) struct Checked<'a> {
    pub(super) default: Return,
    /// Returned for calls with greater numbers than any named one.
    pub(super) newer: Return,
    pub(super) notifies: bool,
    /// Every name with the index of its rule.
    names: Vec<(Name<'a>, usize)>,
    rules: Vec<CheckedRule<'a>>,
}

struct CheckedRule<'a> {
    returns: Return,
    arguments: &'a [Argument],
}

impl<'a> Checked<'a> {
    pub(super) fn new(profile: &'a LinuxSeccomp, newer: Option<Return>) -> Result<Self, Error> {
        let default =
            returned(profile.default_action, profile.default_errno_ret, || "defaultErrnoRet".into())?;
        if profile.default_action == Action::Notify {
            return Err(Error::NotifyByDefault);
        }
        // A permissive default stands for calls that nobody knows yet, and a tracer answers for them itself.
        let permissive = matches!(profile.default_action, Action::Allow | Action::Log | Action::Trace);
        let newer = if permissive { default } else { newer.unwrap_or(default) };
        let mut names = Vec::with_capacity(512);
        let mut rules = Vec::with_capacity(profile.syscalls.len());
        for (i, syscall) in profile.syscalls.iter().enumerate() {
            rules.push(check(i, syscall)?);
            for name in &syscall.names {
                if name.is_empty() {
                    return Err(Error::EmptyName { rule: i });
                }
                names.push((Name::new(name), i));
            }
        }
        if names.len() > MAX_NAMES {
            return Err(Error::TooManyNames(names.len()));
        }
        let notifies = profile.syscalls.iter().any(|rule| rule.action == Action::Notify);
        Ok(Checked { default, newer, notifies, names, rules })
    }

    /// The names that no table has: calls of other machines, of later kernels, or misspelt.
    pub(super) fn unknown_names(&self, abis: &[Abi]) -> Vec<String> {
        let is_unknown = |name: &Name<'_>| {
            abis.iter().all(|abi| abi.number(name).is_none() && abi.multiplexed(name).is_none())
        };
        let names = self.names.iter().map(|(name, _)| name);
        names.filter(|name| is_unknown(name)).map(|name| name.text.to_owned()).collect()
    }

    /// Appends the verdicts of one ABI, from `base` on, to those of another that shares its `arch` value.
    pub(super) fn resolve(&self, abi: Abi, into: &mut Resolved) -> Result<Counts, Error> {
        let base = if abi == Abi::X32 { X32_BIT } else { 0 };
        let mut entries = Vec::with_capacity(self.names.len());
        let mut largest = None;
        for (order, (name, rule)) in self.names.iter().enumerate() {
            let redundant = self.rules[*rule].returns == self.default;
            let mut enter = |number, call: u64| {
                if number < ARM_PRIVATE || base != 0 {
                    largest = largest.max(Some(number));
                }
                // What the default does anyway needs no rule, and must not hide a conditional one.
                if !redundant {
                    entries.push(Entry::new(number, order, call));
                }
            };
            if let Some(number) = abi.number(name) {
                enter(number, 0);
            }
            if let Some((number, call)) = abi.multiplexed(name) {
                enter(number, call);
            }
        }
        entries.sort_unstable();

        let default = Verdict::Return(self.default);
        let mut counts = Counts::default();
        // Where nothing is known of an ABI, nothing is known of what is newer either.
        let newer = largest.map_or(default, |_| Verdict::Return(self.newer));
        let first_newer = largest.map_or(base, |number| number + 1);
        into.push(base, default);
        let close = |into: &mut Resolved| {
            into.push(first_newer, newer);
            if abi == Abi::Arm && first_newer < ARM_PRIVATE {
                into.push(ARM_PRIVATE, default);
            }
        };
        let mut is_open = largest.is_some();
        for call in entries.chunk_by(|a, b| a.number() == b.number()) {
            let number = call[0].number();
            if is_open && number >= first_newer {
                close(into);
                is_open = false;
            }
            let verdict = self.verdict(abi, call, into)?;
            match verdict {
                Verdict::Rules(_) => counts.by_argument += 1,
                Verdict::Return(RET_ALLOW | RET_LOG) => counts.allowed += 1,
                Verdict::Return(_) => counts.refused += 1,
            }
            into.push(number, verdict);
            into.push(number + 1, default);
        }
        if is_open {
            close(into);
        }
        Ok(counts)
    }

    fn verdict(&self, abi: Abi, call: &[Entry], into: &mut Resolved) -> Result<Verdict, Error> {
        let mut conditional = Vec::new();
        for entry in call {
            let rule = &self.rules[self.names[entry.order()].1];
            if rule.arguments.is_empty() && entry.call().is_none() {
                return Ok(Verdict::Return(rule.returns)); // Nearly every rule: nothing to allocate.
            }
            // An argument compared twice makes every condition a rule of its own: libseccomp refuses such a
            // list, runc splits it, and profiles rely on that.
            let size = if repeats(rule.arguments) { 1 } else { rule.arguments.len().max(1) };
            for start in (0..rule.arguments.len().max(1)).step_by(size) {
                let group = rule.arguments.get(start..start + size).unwrap_or(rule.arguments);
                let conditions = conditions(group, abi, entry.call());
                if conditions.is_empty() {
                    return Ok(Verdict::Return(rule.returns));
                }
                conditional.push(Rule { conditions, returns: rule.returns });
            }
        }
        conditional.sort_by(|a, b| order(&a.conditions, &b.conditions));
        if let Some(pair) = conditional
            .windows(2)
            .find(|pair| pair[0].conditions == pair[1].conditions && pair[0].returns != pair[1].returns)
        {
            let name = self.names[call[0].order()].0.text.to_owned();
            return Err(Error::Conflict { name, first: pair[0].returns, second: pair[1].returns });
        }
        conditional.dedup();
        into.conditional.push(conditional);
        Ok(Verdict::Rules(into.conditional.len() - 1))
    }
}

/// One name of one rule as a number: sorts by number, then by position in the profile. Packed, because there
/// are hundreds to sort.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u64);

impl Entry {
    /// `call` is the sub-function where the number is a multiplexer, else 0.
    fn new(number: u32, order: usize, call: u64) -> Self {
        Entry(u64::from(number) << 32 | (order as u64) << 8 | call)
    }

    fn number(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn order(self) -> usize {
        (self.0 >> 8) as usize & MAX_NAMES
    }

    fn call(self) -> Option<u64> {
        Some(self.0 & 0xff).filter(|call| *call != 0)
    }
}

fn check<'a>(i: usize, syscall: &'a Syscall) -> Result<CheckedRule<'a>, Error> {
    let returns = returned(syscall.action, syscall.errno_ret, || format!("syscalls[{i}].errnoRet"))?;
    for (j, argument) in syscall.args.iter().enumerate() {
        if argument.index > 5 {
            return Err(Error::ArgumentIndex { rule: i, argument: j, index: argument.index });
        }
    }
    // The process that installs the filter must still be able to say that it did.
    if syscall.action == Action::Notify && syscall.names.iter().any(|name| name == "write") {
        return Err(Error::NotifyOfWrite { rule: i });
    }
    Ok(CheckedRule { returns, arguments: &syscall.args })
}

fn returned(action: Action, errno: Option<u32>, field: impl FnOnce() -> String) -> Result<Return, Error> {
    let base = match action {
        Action::Errno => RET_ERRNO,
        Action::Trace => RET_TRACE,
        _ if errno.is_some() => return Err(Error::ErrnoOfAction { field: field(), action }),
        Action::Kill | Action::KillThread => return Ok(RET_KILL_THREAD),
        Action::KillProcess => return Ok(RET_KILL_PROCESS),
        Action::Trap => return Ok(RET_TRAP),
        Action::Allow => return Ok(RET_ALLOW),
        Action::Log => return Ok(RET_LOG),
        Action::Notify => return Ok(RET_USER_NOTIF),
    };
    match errno.unwrap_or(EPERM) {
        data @ 0..=0xffff => Ok(base | data),
        errno => Err(Error::ErrnoRange { field: field(), errno }),
    }
}

fn repeats(arguments: &[Argument]) -> bool {
    arguments.iter().enumerate().any(|(i, a)| arguments[..i].iter().any(|b| a.index == b.index))
}

fn conditions(arguments: &[Argument], abi: Abi, call: Option<u64>) -> Vec<Condition> {
    let width = if abi.is_wide() { u64::MAX } else { u64::from(u32::MAX) };
    let mut conditions: Vec<Condition> = arguments
        .iter()
        // The multiplexer's first argument is the sub-function; what the profile says of argument 0 is in
        // memory there, where no filter can look.
        .filter(|argument| call.is_none() || argument.index != 0)
        .map(|argument| {
            let (mask, value) = match argument.op {
                Operator::MaskedEqual => (argument.value & width, argument.value_two),
                _ => (width, argument.value),
            };
            Condition { argument: argument.index as u8, operator: argument.op, mask, value: value & mask }
        })
        // Nothing is compared under an empty mask.
        .filter(|condition| condition.mask != 0)
        .collect();
    if let Some(call) = call {
        conditions.push(Condition { argument: 0, operator: Operator::Equal, mask: width, value: call });
    }
    conditions.sort_by_key(|condition| condition.argument);
    conditions
}

/// The order in which libseccomp's tree tries conditions (`_db_chain_lt`): the higher argument first, then
/// equality before less before greater, then the narrower range; a shorter list before a longer one that
/// begins with it. What it leaves open is closed by operator and mask, so that the order is total.
fn order(a: &[Condition], b: &[Condition]) -> Ordering {
    let key = |condition: &Condition| {
        let (class, value) = match condition.operator {
            Operator::Equal | Operator::NotEqual | Operator::MaskedEqual => (0, !condition.value),
            Operator::Less | Operator::LessOrEqual => (1, condition.value),
            Operator::Greater | Operator::GreaterOrEqual => (2, !condition.value),
        };
        (Reverse(condition.argument), class, value, condition.operator as u8, Reverse(condition.mask))
    };
    a.iter().map(key).cmp(b.iter().map(key))
}
