//! Owns the tests of the compiler: by interpretation, against a direct reading of the profile, in the kernel.

mod default_profile;
mod interpreter;
mod libseccomp;
mod properties;

use super::*;
use crate::spec::seccomp::{Argument, Operator, Syscall};
use interpreter::{Data, run};
use table::{AARCH64_HOST, X86_64_HOST};

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const ENOSYS: u32 = ERRNO | 38;
const EPERM: u32 = ERRNO | 1;

const X86_64: u32 = 0xc000_003e;
const X86: u32 = 0x4000_0003;

fn rule(names: &[&str], action: Action, args: &[(u32, Operator, u64, u64)]) -> Syscall {
    let args = args.iter().map(|(index, op, value, value_two)| Argument {
        index: *index,
        value: *value,
        value_two: *value_two,
        op: *op,
    });
    Syscall {
        names: names.iter().map(|name| name.to_string().into()).collect(),
        action,
        errno_ret: None,
        args: args.collect(),
    }
}

fn profile(default_action: Action, syscalls: Vec<Syscall>) -> LinuxSeccomp {
    LinuxSeccomp {
        default_action,
        default_errno_ret: None,
        architectures: vec![],
        flags: None,
        listener_path: None,
        listener_metadata: None,
        syscalls,
    }
}

fn compiled(profile: &LinuxSeccomp) -> Program {
    let program = compile_for(X86_64_HOST, profile, Options::default()).unwrap();
    verify(&program.instructions);
    program
}

fn refused(profile: &LinuxSeccomp) -> String {
    compile_for(X86_64_HOST, profile, Options::default()).unwrap_err().to_string()
}

#[test]
fn filter_lets_init_wait_where_it_lets_the_calls_of_the_wait_through() {
    let lets = |profile: &LinuxSeccomp| compiled(profile).lets_wait;
    assert!(lets(&profile(Action::Allow, vec![rule(&["mkdir"], Action::Errno, &[])])));
    assert!(!lets(&profile(Action::Allow, vec![rule(&["accept4"], Action::Errno, &[])])));
    assert!(!lets(&profile(
        Action::Allow,
        vec![rule(&["poll"], Action::Errno, &[(0, Operator::Equal, 1, 0)])]
    )));
    assert!(!lets(&profile(Action::Errno, vec![rule(&["read", "write"], Action::Allow, &[])])));
    assert!(lets(&profile(Action::Errno, vec![rule(&CALLS_OF_THE_WAIT, Action::Allow, &[])])));
}

fn returns(program: &Program, arch: u32, number: u32, arguments: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    run(&program.instructions, &Data { number, arch, arguments: all }).0
}

#[test]
fn unlisted_architectures_are_killed_and_x32_is_one() {
    let program = compiled(&profile(Action::Allow, vec![]));
    assert_eq!(returns(&program, X86_64, 0, &[]), ALLOW);
    assert_eq!(returns(&program, X86_64, 0x4000_0000, &[]), KILL_PROCESS);
    assert_eq!(returns(&program, X86_64, u32::MAX, &[]), ALLOW, "a tracer's way to skip a call");
    assert_eq!(returns(&program, X86, 0, &[]), KILL_PROCESS);
    let options = Options { unlisted_architecture: UnlistedArchitecture::Enosys, ..Options::default() };
    let program = compile_for(X86_64_HOST, &profile(Action::Allow, vec![]), options).unwrap();
    assert_eq!(returns(&program, X86, 0, &[]), ENOSYS);
    assert_eq!(returns(&program, X86_64, 0x4000_0001, &[]), ENOSYS);
}

#[test]
fn every_listed_abi_gets_its_own_numbers() {
    let mut profile = profile(Action::Errno, vec![rule(&["execve", "exit"], Action::Allow, &[])]);
    profile.architectures = vec![Architecture::X32, Architecture::X86];
    let program = compiled(&profile);
    for (arch, number, expected) in [
        (X86_64, 59, ALLOW),
        (X86_64, 11, EPERM),
        (X86_64, 61, ENOSYS),
        (X86_64, 0x4000_0000 | 520, ALLOW),
        (X86_64, 0x4000_0000 | 59, EPERM),
        (X86_64, 0x4000_0000 | 521, ENOSYS),
        (X86, 11, ALLOW),
        (X86, 10, EPERM),
        (X86, 59, ENOSYS),
    ] {
        assert_eq!(returns(&program, arch, number, &[]), expected, "{arch:#x} {number:#x}");
    }
}

#[test]
fn newer_calls_get_enosys_only_where_the_default_refuses() {
    let rules = || vec![rule(&["exit"], Action::Allow, &[])];
    for (default, expected) in [
        (Action::Errno, ENOSYS),
        (Action::KillProcess, ENOSYS),
        (Action::Log, 0x7ffc_0000),
        (Action::Trace, 0x7ff0_0001),
    ] {
        assert_eq!(returns(&compiled(&profile(default, rules())), X86_64, 61, &[]), expected, "{default}");
    }
    let options = Options { newer_calls: NewerCalls::DefaultAction, ..Options::default() };
    let program = compile_for(X86_64_HOST, &profile(Action::Errno, rules()), options).unwrap();
    assert_eq!(returns(&program, X86_64, 61, &[]), EPERM);
    let nothing_known = compiled(&profile(Action::Errno, vec![rule(&["no_such_call"], Action::Allow, &[])]));
    assert_eq!(returns(&nothing_known, X86_64, 500, &[]), EPERM);
    assert_eq!(nothing_known.unknown_names, ["no_such_call"]);
}

#[test]
fn comparisons_are_unsigned_and_64_bits_wide() {
    let values =
        [0, 1, 5, u64::from(u32::MAX), 1 << 32, (1 << 32) | 5, (5 << 32) | 1, u64::MAX - 1, u64::MAX];
    for value in values {
        for operator in Operator::ALL {
            let rules = vec![rule(&["read"], Action::Allow, &[(3, *operator, value, 5)])];
            let program = compiled(&profile(Action::Errno, rules));
            for argument in values {
                let holds = match operator {
                    Operator::NotEqual => argument != value,
                    Operator::Less => argument < value,
                    Operator::LessOrEqual => argument <= value,
                    Operator::Equal => argument == value,
                    Operator::GreaterOrEqual => argument >= value,
                    Operator::Greater => argument > value,
                    Operator::MaskedEqual => argument & value == 5 & value,
                };
                let expected = if holds { ALLOW } else { EPERM };
                assert_eq!(
                    returns(&program, X86_64, 0, &[0, 0, 0, argument]),
                    expected,
                    "{argument:#x} {operator} {value:#x}"
                );
            }
        }
    }
}

#[test]
fn arguments_of_a_32_bit_abi_have_32_bits() {
    let rules = vec![rule(&["personality"], Action::Allow, &[(0, Operator::Equal, u64::MAX, 0)])];
    let mut profile = profile(Action::Errno, rules);
    profile.architectures = vec![Architecture::X86];
    let program = compiled(&profile);
    assert_eq!(returns(&program, X86, 136, &[0xffff_ffff]), ALLOW);
    assert_eq!(returns(&program, X86_64, 135, &[0xffff_ffff]), EPERM);
}

#[test]
fn conditions_of_one_rule_must_all_hold_and_rules_are_alternatives() {
    use Operator::{Equal, Greater};
    let rules = vec![
        rule(&["read"], Action::Allow, &[(0, Equal, 1, 0), (2, Greater, 9, 0)]),
        rule(&["read"], Action::Allow, &[(1, Equal, 7, 0)]),
    ];
    let program = compiled(&profile(Action::Errno, rules));
    for (arguments, expected) in [
        ([1, 0, 10], ALLOW),
        ([1, 0, 9], EPERM),
        ([2, 0, 10], EPERM),
        ([2, 7, 0], ALLOW),
        ([1, 7, 10], ALLOW),
    ] {
        assert_eq!(returns(&program, X86_64, 0, &arguments), expected, "{arguments:?}");
    }
}

#[test]
fn an_argument_compared_twice_makes_alternatives_of_all_conditions() {
    use Operator::Equal;
    let rules = vec![rule(&["read"], Action::Allow, &[(0, Equal, 1, 0), (0, Equal, 2, 0), (1, Equal, 3, 0)])];
    let program = compiled(&profile(Action::Errno, rules));
    for (arguments, expected) in [([1, 0], ALLOW), ([2, 0], ALLOW), ([0, 3], ALLOW), ([0, 0], EPERM)] {
        assert_eq!(returns(&program, X86_64, 0, &arguments), expected, "{arguments:?}");
    }
}

#[test]
fn the_first_unconditional_rule_beats_all_others() {
    let conditional = || rule(&["read"], Action::Trap, &[(0, Operator::Equal, 1, 0)]);
    let rules = vec![
        conditional(),
        rule(&["read"], Action::Allow, &[]),
        rule(&["read"], Action::Log, &[]),
        conditional(),
    ];
    assert_eq!(returns(&compiled(&profile(Action::Errno, rules)), X86_64, 0, &[1]), ALLOW);
    // Under an empty mask nothing is compared.
    let rules = vec![conditional(), rule(&["read"], Action::Allow, &[(0, Operator::MaskedEqual, 0, 5)])];
    assert_eq!(returns(&compiled(&profile(Action::Errno, rules)), X86_64, 0, &[1]), ALLOW);
}

#[test]
fn a_rule_that_repeats_the_default_hides_no_other() {
    let rules = vec![
        rule(&["read"], Action::Errno, &[]),
        rule(&["read"], Action::Allow, &[(0, Operator::Equal, 1, 0)]),
    ];
    let program = compiled(&profile(Action::Errno, rules));
    assert_eq!(returns(&program, X86_64, 0, &[1]), ALLOW);
    assert_eq!(returns(&program, X86_64, 0, &[2]), EPERM);
}

#[test]
fn overlapping_rules_are_tried_in_libseccomps_order_wherever_they_stand() {
    use Operator::{Equal, GreaterOrEqual, Less};
    let pairs = [
        // Equality before a range, a lower limit before a higher one, a later argument before an earlier one.
        (
            rule(&["read"], Action::Allow, &[(0, Equal, 5, 0)]),
            rule(&["read"], Action::Trap, &[(0, GreaterOrEqual, 0, 0)]),
            [5, 0],
        ),
        (
            rule(&["read"], Action::Allow, &[(0, Less, 6, 0)]),
            rule(&["read"], Action::Trap, &[(0, Less, 9, 0)]),
            [5, 0],
        ),
        (
            rule(&["read"], Action::Allow, &[(0, GreaterOrEqual, 4, 0)]),
            rule(&["read"], Action::Trap, &[(0, GreaterOrEqual, 2, 0)]),
            [5, 0],
        ),
        (
            rule(&["read"], Action::Allow, &[(1, GreaterOrEqual, 1, 0)]),
            rule(&["read"], Action::Trap, &[(0, Equal, 5, 0)]),
            [5, 1],
        ),
    ];
    for (first, second, arguments) in pairs {
        for rules in [vec![first.clone(), second.clone()], vec![second.clone(), first.clone()]] {
            let program = compiled(&profile(Action::Errno, rules));
            assert_eq!(returns(&program, X86_64, 0, &arguments), ALLOW, "{first:?}");
        }
    }
}

#[test]
fn socket_rules_reach_the_multiplexer_of_32_bit_x86() {
    let rules = vec![
        rule(&["socket"], Action::Errno, &[(0, Operator::Equal, 38, 0)]),
        rule(&["shmget"], Action::Errno, &[]),
    ];
    let mut profile = profile(Action::Allow, rules);
    profile.architectures = vec![Architecture::X86];
    let program = compiled(&profile);
    // The family is in memory there, so every family is refused rather than none.
    for (number, argument, expected) in [
        (102, 1, EPERM),
        (102, 2, ALLOW),
        (359, 38, EPERM),
        (359, 1, ALLOW),
        (117, 23, EPERM),
        (117, 21, ALLOW),
    ] {
        assert_eq!(returns(&program, X86, number, &[argument]), expected, "{number} {argument}");
    }
}

#[test]
fn flags_follow_the_profile_and_the_listener() {
    let mut profile = profile(Action::Allow, vec![]);
    assert_eq!(compiled(&profile).flags, FLAG_SPEC_ALLOW);
    profile.flags = Some(vec![]);
    assert_eq!(compiled(&profile).flags, 0);
    profile.flags = Some(vec![Flag::Tsync, Flag::Log, Flag::WaitKillableRecv]);
    let program = compiled(&profile);
    assert_eq!(
        (program.flags, &program.warnings[..]),
        (FLAG_LOG, &[Warning::WaitKillableWithoutListener][..])
    );
    profile.syscalls.push(rule(&["mkdir"], Action::Notify, &[]));
    assert!(refused(&profile).starts_with("listenerPath: missing"));
    profile.listener_path = Some("/run/agent".to_owned());
    let program = compiled(&profile);
    assert!(program.listener);
    assert_eq!(program.flags, FLAG_LOG | FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV);
}

#[test]
fn contradictions_and_impossible_fields_are_refused_by_name() {
    let one = |rule| profile(Action::Allow, vec![rule]);
    let with_errno = |action, errno| {
        let mut rule = rule(&["read"], action, &[]);
        rule.errno_ret = Some(errno);
        one(rule)
    };
    let mut bad_default = profile(Action::Kill, vec![]);
    bad_default.default_errno_ret = Some(1);
    let equal = [(0, Operator::Equal, 1, 0)];
    let conflict = vec![rule(&["read"], Action::Trap, &equal), rule(&["read"], Action::Log, &equal)];
    for (profile, expected) in [
        (bad_default, "defaultErrnoRet: `SCMP_ACT_KILL` takes no errno"),
        (with_errno(Action::Allow, 1), "syscalls[0].errnoRet: `SCMP_ACT_ALLOW` takes no errno"),
        (with_errno(Action::Errno, 65536), "syscalls[0].errnoRet: `65536` is greater than 65535"),
        (one(rule(&[""], Action::Trap, &[])), "syscalls[0].names: a name is empty"),
        (
            one(rule(&["read"], Action::Trap, &[(6, Operator::Equal, 1, 0)])),
            "syscalls[0].args[0].index: `6` is greater than 5",
        ),
        (
            one(rule(&["write"], Action::Notify, &[])),
            "syscalls[0].action: SCMP_ACT_NOTIFY cannot be used for the write syscall: the start itself needs it",
        ),
        (profile(Action::Notify, vec![]), "defaultAction: `SCMP_ACT_NOTIFY` cannot be the default action"),
        (
            profile(Action::Allow, conflict),
            "syscalls: rules for `read` with the same arguments disagree: trap and log",
        ),
    ] {
        assert_eq!(refused(&profile), expected);
    }
}

#[test]
fn a_filter_too_long_for_the_kernel_is_refused() {
    let rules = |count| {
        let values =
            (0..count).map(|i| rule(&["read"], Action::Allow, &[(0, Operator::Equal, i << 31 | i, 0)]));
        profile(Action::Errno, values.collect())
    };
    assert!(refused(&rules(2000)).contains("the kernel takes 4096"));
    // Within the limit, jumps over hundreds of instructions still arrive.
    let program = compiled(&rules(900));
    assert!(program.instructions.len() > 1800);
    assert_eq!(returns(&program, X86_64, 0, &[0]), ALLOW);
    assert_eq!(returns(&program, X86_64, 0, &[899 << 31 | 899]), ALLOW);
    assert_eq!(returns(&program, X86_64, 0, &[900 << 31 | 900]), EPERM);
    assert_eq!(returns(&program, X86_64, 1, &[0]), ENOSYS);
    assert_eq!(returns(&program, X86, 1, &[0]), KILL_PROCESS);
}

#[test]
fn foreign_architectures_are_named_and_ignored() {
    let mut profile = profile(Action::Allow, vec![]);
    profile.architectures = vec![Architecture::X86_64, Architecture::S390X];
    let program = compile_for(AARCH64_HOST, &profile, Options::default()).unwrap();
    let warnings: Vec<_> = program.warnings.iter().map(crate::plan::Warning::from).collect();
    assert_eq!(warnings.len(), 2);
    assert_eq!(
        warnings[1].to_string(),
        "linux.seccomp.architectures: `SCMP_ARCH_S390X` does not run on this host, ignored"
    );
    assert_eq!(returns(&program, 0xc000_00b7, 0, &[]), ALLOW);
    assert_eq!(returns(&program, X86_64, 0, &[]), KILL_PROCESS);
}

#[test]
fn calls_of_32_bit_arm_alone_leave_room_for_newer_ones() {
    let mut profile = profile(Action::Errno, vec![rule(&["exit", "set_tls"], Action::Allow, &[])]);
    profile.architectures = vec![Architecture::Arm];
    let program = compile_for(AARCH64_HOST, &profile, Options::default()).unwrap();
    verify(&program.instructions);
    for (number, expected) in [
        (1, ALLOW),
        (2, ENOSYS),
        (500, ENOSYS),
        (0x0e_ffff, ENOSYS),
        (0x0f_0005, ALLOW),
        (0x0f_0004, EPERM),
        (0x0f_0006, EPERM),
    ] {
        assert_eq!(returns(&program, 0x4000_0028, number, &[]), expected, "{number:#x}");
    }
}

#[test]
fn a_program_describes_itself_in_one_line() {
    let rules = vec![
        rule(&["read", "write"], Action::Allow, &[]),
        rule(&["exit"], Action::Allow, &[(0, Operator::Equal, 0, 0)]),
        rule(&["mount"], Action::Trap, &[]),
    ];
    let text = describe(&compiled(&profile(Action::Errno, rules)));
    assert!(
        text.ends_with(" instructions; x86_64: 2 allowed, 1 by argument, 1 refused; else errno 1"),
        "{text}"
    );
}
