//! Owns the comparison with libseccomp, for which profiles are written: the same profiles through both, and both
//! filters run on the same calls.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::properties::{Random, VALUES, expected, random_profile};
use super::*;

const PROFILES: usize = 2000;
const CALLS: usize = 64;

/// Reads profiles, one a line, and writes for each the filter that libseccomp makes of it in hexadecimal, or why it
/// makes none. Like runc it adds no rule that says what the default does, and takes conditions on one argument for
/// alternatives.
const SCRIPT: &str = r#"
import sys, json, tempfile, seccomp
operators = dict(SCMP_CMP_NE=seccomp.NE, SCMP_CMP_LT=seccomp.LT, SCMP_CMP_LE=seccomp.LE, SCMP_CMP_EQ=seccomp.EQ,
    SCMP_CMP_GE=seccomp.GE, SCMP_CMP_GT=seccomp.GT, SCMP_CMP_MASKED_EQ=seccomp.MASKED_EQ)
actions = dict(SCMP_ACT_ALLOW=seccomp.ALLOW, SCMP_ACT_ERRNO=seccomp.ERRNO(1), SCMP_ACT_KILL=seccomp.KILL,
    SCMP_ACT_KILL_PROCESS=seccomp.KILL_PROCESS, SCMP_ACT_TRAP=seccomp.TRAP, SCMP_ACT_LOG=seccomp.LOG,
    SCMP_ACT_TRACE=seccomp.TRACE(1))
def compile(profile):
    default = actions[profile["defaultAction"]]
    made = seccomp.SyscallFilter(default)
    for rule in profile.get("syscalls", []):
        action = actions[rule["action"]]
        if action == default:
            continue
        arguments = [seccomp.Arg(one["index"], operators[one["op"]], one["value"], one.get("valueTwo", 0))
            for one in rule.get("args", [])]
        indexes = [one["index"] for one in rule.get("args", [])]
        alternatives = [[one] for one in arguments] if len(set(indexes)) < len(indexes) else [arguments]
        for name in rule["names"]:
            for conditions in alternatives:
                made.add_rule(action, name, *conditions)
    with tempfile.TemporaryFile() as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read().hex()
for line in sys.stdin:
    try:
        print(compile(json.loads(line)))
    except Exception as error:
        print("refused:", error)
"#;

/// What libseccomp makes of each profile; nothing where it is not there.
fn through_libseccomp(profiles: &[LinuxSeccomp]) -> Option<Vec<Result<Vec<Instruction>, String>>> {
    let python = "/usr/bin/python3";
    let found = Command::new(python).args(["-c", "import seccomp"]).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        println!("skipped: libseccomp is not here for Python (package python3-seccomp)");
        return None;
    }
    let mut child = Command::new(python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let lines: String =
        profiles.iter().map(|profile| serde_json::to_string(profile).expect("JSON") + "\n").collect();
    let mut input = child.stdin.take().expect("a pipe");
    // Of its own, as both sides may be full.
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("joined").expect("written");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    Some(text.lines().map(parse).collect())
}

fn parse(line: &str) -> Result<Vec<Instruction>, String> {
    if line.starts_with("refused") {
        return Err(line.to_owned());
    }
    let byte = |at: usize| u8::from_str_radix(&line[at..at + 2], 16).expect("hexadecimal");
    let bytes: Vec<u8> = (0..line.len()).step_by(2).map(byte).collect();
    let instruction = |raw: &[u8]| Instruction {
        code: u16::from_le_bytes([raw[0], raw[1]]),
        jt: raw[2],
        jf: raw[3],
        k: u32::from_le_bytes([raw[4], raw[5], raw[6], raw[7]]),
    };
    Ok(bytes.chunks(8).map(instruction).collect())
}

#[test]
fn filters_answer_every_call_as_those_of_libseccomp() {
    if cfg!(not(target_arch = "x86_64")) {
        println!("skipped: libseccomp filters for the machine it runs on, and this compares those of x86_64");
        return;
    }
    let number = |name: &str| Abi::X86_64.number(&table::Name::new(name));
    let mut random = Random(0x1234_5678_9abc_def1);
    let profiles: Vec<LinuxSeccomp> = (0..PROFILES)
        .map(|_| {
            let mut profile = random_profile(&mut random, X86_64_HOST);
            // Each further condition on the same call costs libseccomp more than the last.
            profile.syscalls.truncate(10);
            // Its answer to other machines' calls can't be the same as ours: it kills the thread alone.
            profile.architectures.clear();
            for rule in &mut profile.syscalls {
                // Younger than libseccomp, or other machines' alone: it refuses those with conditions.
                rule.names.retain(|name| name != "listns" && number(name).is_some());
                // Of larger numbers it compares the upper halves wrongly now and then (2.5.4).
                for argument in &mut rule.args {
                    argument.value &= 0xffff_ffff;
                    argument.value_two &= 0xffff_ffff;
                }
            }
            profile
        })
        .collect();
    let Some(theirs) = through_libseccomp(&profiles) else { return };
    let options = Options { newer_calls: NewerCalls::DefaultAction, ..Options::default() };
    let mut compared = 0;
    let (mut faults, mut other_order) = (BTreeSet::new(), BTreeSet::new());
    for (place, (profile, theirs)) in profiles.iter().zip(&theirs).enumerate() {
        let ours = compile_for(X86_64_HOST, profile, options);
        let (ours, theirs) = match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => (ours, theirs),
            // Its tree can't hold some rules that contradict each other only in part.
            (_, Err(_)) => continue,
            (Err(error), Ok(_)) => panic!("profile {place}, refused by ours alone: {error}: {profile:#?}"),
        };
        compared += 1;
        for _ in 0..CALLS {
            let names: Vec<_> = profile.syscalls.iter().flat_map(|rule| &rule.names).collect();
            let call = if !names.is_empty() && random.below(4) > 0 {
                let name = names[random.below(names.len())];
                number(name).expect("only those are left")
            } else {
                random.below(470) as u32
            };
            let data =
                Data { number: call, arch: X86_64, arguments: std::array::from_fn(|_| random.pick(VALUES)) };
            let (one, other) = (run(&ours.instructions, &data).0, run(theirs, &data).0);
            if one == other {
                continue;
            }
            let meant = expected(X86_64_HOST, profile, &data);
            assert!(
                meant.contains(&one),
                "profile {place}, {data:?}: ours {one:#x}, libseccomp's {other:#x}: {profile:#?}"
            );
            // Some chains of comparisons come out of libseccomp with a branch too few.
            let kind = if meant.contains(&other) { &mut other_order } else { &mut faults };
            kind.insert(place);
        }
    }
    println!(
        "compared {compared} of {PROFILES} profiles, libseccomp refused the others; in {} it tries overlapping rules in \
         another order, in {} it is wrong",
        other_order.len(),
        faults.len()
    );
    assert!((faults.len() + other_order.len()) * 20 < compared, "more differ than one in twenty");
    assert!(compared > PROFILES / 3, "{compared}: too many profiles were refused to show anything");
}
