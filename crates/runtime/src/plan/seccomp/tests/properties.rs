//! Owns the comparison of compiled programs with a direct reading of random profiles.

use super::super::table::{Name, X32_BIT};
use super::*;

/// xorshift64*: the same profiles in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

pub(super) const VALUES: &[u64] =
    &[0, 1, 2, 38, 0x7e02_0000, 0xffff_ffff, 1 << 32, (1 << 32) | 1, (7 << 32) | 2, u64::MAX - 1, u64::MAX];

const NAMES: &[&str] = &[
    "read",
    "write",
    "open",
    "close",
    "stat",
    "mmap",
    "execve",
    "exit",
    "socket",
    "clone",
    "shmget",
    "recvmsg",
    "socketcall",
    "mmap2",
    "clone3",
    "ioctl",
    "openat2",
    "listns",
    "no_such_call",
    "cacheflush",
    "newfstatat",
];

pub(super) fn random_profile(random: &mut Random, host: Host) -> LinuxSeccomp {
    let actions = [
        Action::Allow,
        Action::Errno,
        Action::KillProcess,
        Action::Kill,
        Action::Trap,
        Action::Log,
        Action::Trace,
    ];
    let default = random.pick(&actions);
    let rules = random.below(40);
    let mut syscalls = Vec::new();
    for _ in 0..rules {
        let names: Vec<&str> = (0..=random.below(3)).map(|_| random.pick(NAMES)).collect();
        let mut args = Vec::new();
        for _ in 0..random.pick(&[0, 1, 1, 2, 2, 3]) {
            let limit = random.pick(&[2, 2, 2, 6]);
            let index = random.below(limit) as u32;
            args.push((index, random.pick(Operator::ALL), random.pick(VALUES), random.pick(VALUES)));
        }
        syscalls.push(rule(&names, random.pick(&actions), &args));
    }
    let mut profile = profile(default, syscalls);
    profile.architectures =
        host.iter().filter(|_| random.below(2) == 0).map(|abi| abi.architecture()).collect();
    profile
}

fn plain(action: Action) -> u32 {
    match action {
        Action::Allow => ALLOW,
        Action::Errno => EPERM,
        Action::KillProcess => KILL_PROCESS,
        Action::Kill | Action::KillThread => 0,
        Action::Trap => 0x0003_0000,
        Action::Log => 0x7ffc_0000,
        Action::Trace => 0x7ff0_0001,
        Action::Notify => 0x7fc0_0000,
    }
}

fn holds(argument: &Argument, value: u64, abi: Abi) -> bool {
    let width = if abi.is_wide() { u64::MAX } else { 0xffff_ffff };
    let (left, right) = (value & width, argument.value & width);
    match argument.op {
        Operator::NotEqual => left != right,
        Operator::Less => left < right,
        Operator::LessOrEqual => left <= right,
        Operator::Equal => left == right,
        Operator::GreaterOrEqual => left >= right,
        Operator::Greater => left > right,
        Operator::MaskedEqual => left & right == argument.value_two & right,
    }
}

/// What the profile says of one call, read rule by rule. Rules that overlap may disagree, and their order has
/// tests of its own; here any of their actions will do.
pub(super) fn expected(host: Host, profile: &LinuxSeccomp, data: &Data) -> Vec<u32> {
    let is_x32 = data.arch == X86_64 && data.number >= X32_BIT && data.number != u32::MAX;
    let speaks = |abi: &Abi| abi.audit() == data.arch && (*abi == Abi::X32) == is_x32;
    let Some(abi) = host.iter().copied().find(speaks) else { return vec![KILL_PROCESS] };
    if abi != host[0] && !profile.architectures.contains(&abi.architecture()) {
        return vec![KILL_PROCESS];
    }
    let default = plain(profile.default_action);
    let (mut largest, mut unconditional, mut matching) = (None, None, Vec::new());
    let mut is_named = false;
    for rule in &profile.syscalls {
        for name in &rule.names {
            let direct = abi.number(&Name::new(name)).map(|number| (number, None));
            let multiplexed = abi.multiplexed(&Name::new(name)).map(|(number, call)| (number, Some(call)));
            for (number, call) in direct.into_iter().chain(multiplexed) {
                if !(0x0f_0000..X32_BIT).contains(&number) {
                    largest = largest.max(Some(number));
                }
                if number != data.number {
                    continue;
                }
                is_named = true;
                if plain(rule.action) == default {
                    continue;
                }
                let relevant: Vec<&Argument> =
                    rule.args.iter().filter(|a| call.is_none() || a.index != 0).collect();
                let empty_mask = |a: &Argument| {
                    let width = if abi.is_wide() { u64::MAX } else { 0xffff_ffff };
                    a.op == Operator::MaskedEqual && a.value & width == 0
                };
                let is_call = call.is_none_or(|call| data.arguments[0] & 0xffff_ffff == call);
                let repeats = rule
                    .args
                    .iter()
                    .enumerate()
                    .any(|(i, a)| rule.args[..i].iter().any(|b| b.index == a.index));
                let holds = |a: &&Argument| holds(a, data.arguments[a.index as usize], abi);
                let is_free = |a: &&Argument| empty_mask(a) || (call.is_some() && a.index == 0);
                let (always, matches) = if repeats {
                    let every: Vec<&Argument> = rule.args.iter().collect();
                    (
                        call.is_none() && every.iter().any(is_free),
                        is_call && every.iter().any(|a| is_free(a) || holds(a)),
                    )
                } else {
                    (call.is_none() && relevant.iter().all(is_free), is_call && relevant.iter().all(holds))
                };
                if always {
                    unconditional = unconditional.or(Some(plain(rule.action)));
                } else if matches {
                    matching.push(plain(rule.action));
                }
            }
        }
    }
    if let Some(value) = unconditional {
        return vec![value];
    }
    if !matching.is_empty() {
        return matching;
    }
    let permissive = matches!(profile.default_action, Action::Allow | Action::Log | Action::Trace);
    // On x86 a tracer skips a call with this number, and no kernel has it.
    if !permissive && data.arch == X86_64 && data.number == u32::MAX {
        return vec![ENOSYS];
    }
    if !permissive && !is_named && largest.is_some_and(|largest| data.number > largest) {
        // The calls of 32-bit Arm alone are no part of the table that grows.
        let is_private = abi == Abi::Arm && data.number >= 0x0f_0000;
        return vec![if is_private { default } else { ENOSYS }];
    }
    vec![default]
}

fn random_data(random: &mut Random, host: Host) -> Data {
    let abi = random.pick(host);
    let number = match random.below(8) {
        0 => random.pick(&[0, 1, 469, 470, 471, 472, 512, 547, X32_BIT, X32_BIT - 1, u32::MAX, u32::MAX - 1]),
        1 => random.below(480) as u32 | if abi == Abi::X32 { X32_BIT } else { 0 },
        _ => abi.number(&Name::new(random.pick(NAMES))).unwrap_or(102),
    };
    let arch = if random.below(40) == 0 { 0x1234 } else { abi.audit() };
    let arguments =
        std::array::from_fn(|_| random.pick(VALUES).wrapping_add(random.pick(&[0, 0, 0, 1, u64::MAX])));
    Data { number, arch, arguments }
}

#[test]
fn programs_answer_as_the_profile_reads() {
    let mut random = Random(0x5ecc_0819);
    let (mut compiled, mut overlapping, mut called) = (0, 0, 0);
    for round in 0..1000 {
        let host = random.pick(&[X86_64_HOST, AARCH64_HOST]);
        let profile = random_profile(&mut random, host);
        let program = match compile_for(host, &profile, Options::default()) {
            Ok(program) => program,
            Err(Error::Conflict { .. }) => continue,
            Err(error) => panic!("{error}: {profile:?}"),
        };
        verify(&program.instructions);
        compiled += 1;
        for _ in 0..150 {
            let data = random_data(&mut random, host);
            let expected = expected(host, &profile, &data);
            let (found, _) = run(&program.instructions, &data);
            assert!(
                expected.contains(&found),
                "round {round}: {found:#x} not in {expected:#x?} for {data:x?}\n{profile:?}"
            );
            overlapping += usize::from(expected.len() > 1);
            called += 1;
        }
    }
    assert!(
        compiled > 300 && overlapping * 4 < called,
        "{compiled} compiled, {overlapping} of {called} open"
    );
}
