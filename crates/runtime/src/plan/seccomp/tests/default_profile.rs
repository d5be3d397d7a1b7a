//! Owns the tests of the default profile: by interpretation, and in the kernel.

use std::collections::{HashMap, HashSet};

use super::super::table::Name;
use super::*;

/// What every engine grants by default.
const USUAL: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

fn usual() -> Program {
    compiled(&default_profile(USUAL))
}

fn by_name(program: &Program, abi: Abi, name: &str, arguments: &[u64]) -> u32 {
    let number = abi.number(&Name::new(name)).unwrap_or_else(|| panic!("no number for {name}"));
    returns(program, abi.audit(), number, arguments)
}

#[test]
fn no_call_stands_in_two_places_without_arguments() {
    for capabilities in [&[][..], USUAL, &["CAP_SYS_ADMIN"], &["CAP_BPF", "CAP_PERFMON", "CAP_SYSLOG"]] {
        let profile = default_profile(capabilities);
        let mut seen = HashSet::new();
        let mut conditional = HashSet::new();
        for rule in &profile.syscalls {
            for name in &rule.names {
                if rule.args.is_empty() {
                    assert!(seen.insert(name.clone()), "{name}");
                } else {
                    conditional.insert(name.clone());
                }
            }
        }
        assert_eq!(seen.intersection(&conditional).count(), 0);
    }
}

#[test]
fn every_name_of_the_default_profile_exists_somewhere() {
    let everywhere: Vec<Abi> = [X86_64_HOST, AARCH64_HOST, table::RISCV64_HOST].concat();
    // Removed from every table, or of machines without a table here; other runtimes may know them.
    let elsewhere = ["pciconfig_iobase", "pciconfig_read", "pciconfig_write"];
    for rule in &default_profile(USUAL).syscalls {
        for name in &rule.names {
            let known = everywhere.iter().any(|abi| {
                abi.number(&Name::new(name)).is_some() || abi.multiplexed(&Name::new(name)).is_some()
            });
            assert!(known || elsewhere.contains(&name.as_ref()), "{name}");
        }
    }
}

#[test]
fn what_programs_need_is_allowed_on_both_abis() {
    let program = usual();
    for abi in [Abi::X86_64, Abi::X86] {
        for name in [
            "read",
            "openat",
            "execve",
            "exit_group",
            "futex",
            "chroot",
            "ptrace",
            "seccomp",
            "fchmodat2",
            "vfork",
        ] {
            assert_eq!(by_name(&program, abi, name, &[]), ALLOW, "{name}");
        }
        assert_eq!(by_name(&program, abi, "clone", &[0x0100_0011]), ALLOW);
        assert_eq!(by_name(&program, abi, "socket", &[2, 1, 0]), ALLOW);
        assert_eq!(by_name(&program, abi, "socketpair", &[1, 1, 0]), ALLOW);
        assert_eq!(by_name(&program, abi, "personality", &[0xffff_ffff]), ALLOW);
    }
    assert_eq!(by_name(&program, Abi::X86, "socketcall", &[1]), ALLOW);
    assert_eq!(by_name(&program, Abi::X86, "clock_gettime64", &[]), ALLOW);
}

#[test]
fn dangerous_calls_are_refused_on_both_abis() {
    let program = usual();
    for abi in [Abi::X86_64, Abi::X86] {
        for name in [
            "mount",
            "umount2",
            "pivot_root",
            "move_mount",
            "open_tree",
            "open_tree_attr",
            "fsopen",
            "fsconfig",
            "fsmount",
            "fspick",
            "mount_setattr",
            "setns",
            "unshare",
            "keyctl",
            "add_key",
            "request_key",
            "bpf",
            "perf_event_open",
            "userfaultfd",
            "io_uring_setup",
            "io_uring_enter",
            "io_uring_register",
            "kexec_load",
            "init_module",
            "finit_module",
            "delete_module",
            "reboot",
            "swapon",
            "swapoff",
            "acct",
            "open_by_handle_at",
            "iopl",
            "ioperm",
            "settimeofday",
            "clock_settime",
            "kcmp",
            "pidfd_getfd",
            "process_madvise",
            "quotactl",
            "sethostname",
            "setdomainname",
            "syslog",
            "fanotify_init",
            "mbind",
            "move_pages",
            "vhangup",
            "uselib",
        ] {
            assert_eq!(by_name(&program, abi, name, &[]), EPERM, "{name}");
        }
        assert_eq!(by_name(&program, abi, "clone3", &[]), ENOSYS);
        for namespace in
            [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]
        {
            assert_eq!(by_name(&program, abi, "clone", &[namespace | 17]), EPERM, "{namespace:#x}");
        }
        // ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC.
        for persona in [0x0004_0000, 0x0040_0000] {
            assert_eq!(by_name(&program, abi, "personality", &[persona]), EPERM, "{persona:#x}");
        }
    }
}

#[test]
fn refused_socket_families_stay_refused_with_rubbish_above_the_int() {
    let program = usual();
    for family in [38, 40, 21, 30, 42] {
        for above in [0, 1 << 32, u64::MAX << 32] {
            let family = family | above;
            assert_eq!(by_name(&program, Abi::X86_64, "socket", &[family, 1, 0]), ERRNO | 97, "{family:#x}");
            assert_eq!(
                by_name(&program, Abi::X86_64, "socketpair", &[family, 1, 0]),
                ERRNO | 97,
                "{family:#x}"
            );
        }
        assert_eq!(by_name(&program, Abi::X86, "socket", &[family, 1, 0]), ERRNO | 97, "{family:#x}");
    }
    assert_eq!(by_name(&program, Abi::X86_64, "socket", &[16, 3, 9 | 1 << 32]), ERRNO | 93);
    let audits = compiled(&default_profile(&["CAP_AUDIT_WRITE"]));
    assert_eq!(by_name(&audits, Abi::X86_64, "socket", &[16, 3, 9]), ALLOW);
}

#[test]
fn unknown_calls_get_enosys_and_x32_dies() {
    let program = usual();
    for number in [480, 512, 1000, 0x3fff_ffff, u32::MAX] {
        assert_eq!(returns(&program, X86_64, number, &[]), ENOSYS, "{number}");
    }
    assert_eq!(returns(&program, X86, 480, &[]), ENOSYS);
    assert_eq!(returns(&program, X86_64, 0x4000_0000, &[]), KILL_PROCESS);
    assert_eq!(returns(&program, X86_64, 0x4000_0000 | 520, &[]), KILL_PROCESS);
}

#[test]
fn a_capability_brings_its_calls_and_no_others() {
    let plain = usual();
    for (capability, names) in [
        ("CAP_SYS_ADMIN", &["mount", "setns", "unshare", "bpf", "clone3", "perf_event_open", "syslog"][..]),
        ("CAP_BPF", &["bpf"]),
        ("CAP_PERFMON", &["perf_event_open"]),
        ("CAP_SYSLOG", &["syslog"]),
        ("CAP_SYS_TIME", &["clock_settime", "settimeofday"]),
        ("CAP_SYS_PTRACE", &["kcmp", "pidfd_getfd"]),
        ("CAP_SYS_MODULE", &["init_module"]),
        ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
        ("CAP_SYS_NICE", &["mbind"]),
    ] {
        let program = compiled(&default_profile(&[USUAL, &[capability]].concat()));
        for name in names {
            assert_eq!(by_name(&program, Abi::X86_64, name, &[]), ALLOW, "{capability}: {name}");
        }
        let allowed: HashMap<bool, usize> = (0..480).fold(HashMap::new(), |mut counts, number| {
            let more = returns(&program, X86_64, number, &[]) == ALLOW
                && returns(&plain, X86_64, number, &[]) != ALLOW;
            *counts.entry(more).or_default() += 1;
            counts
        });
        assert!(allowed[&true] >= names.len() && allowed[&true] <= 30, "{capability}: {allowed:?}");
    }
    let with_admin = compiled(&default_profile(&["CAP_SYS_ADMIN"]));
    assert_eq!(by_name(&with_admin, Abi::X86_64, "clone", &[0x1000_0000]), ALLOW);
    for name in ["keyctl", "io_uring_setup", "userfaultfd", "kexec_load"] {
        assert_eq!(by_name(&with_admin, Abi::X86_64, name, &[]), EPERM, "{name}");
    }
}

#[test]
fn no_call_takes_long_to_decide() {
    let program = usual();
    for abi in [Abi::X86_64, Abi::X86] {
        for rule in default_profile(USUAL).syscalls.iter().filter(|rule| rule.args.is_empty()) {
            for number in rule.names.iter().filter_map(|name| abi.number(&Name::new(name))) {
                let data = Data { number, arch: abi.audit(), arguments: [0; 6] };
                let (_, steps) = run(&program.instructions, &data);
                assert!(steps <= 16, "{number}: {steps} steps");
            }
        }
    }
    assert!(program.instructions.len() < 600, "{}", program.instructions.len());
}

#[test]
fn the_default_profile_survives_config_json_and_has_no_idle_part() {
    let profile = default_profile(USUAL);
    let text = serde_json::to_string(&profile).unwrap();
    assert_eq!(serde_json::from_str::<LinuxSeccomp>(&text).unwrap(), profile);
    assert_eq!(compile(&profile, Options::default()).unwrap().warnings, []);
}

/// A filter binds the thread that installs it and what that starts, so the test needs no process of its own.
#[test]
fn the_kernel_takes_the_default_filter_and_obeys_it() {
    use rustix::io::Errno;
    let Ok(program) = compile(&default_profile(USUAL), Options::default()) else {
        return eprintln!("skipped: no system call table for this machine");
    };
    std::thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).unwrap();
        if let Err(error) = sys::seccomp::install(&program.instructions, program.flags) {
            return eprintln!("skipped: seccomp refused here: {error}");
        }
        // A kernel without the filter would say EINVAL or take it.
        assert_eq!(rustix::system::sethostname(&[0; 65]).unwrap_err(), Errno::PERM);
        let family = |raw| rustix::net::AddressFamily::from_raw(raw);
        for refused in [38, 40] {
            let socket = rustix::net::socket(family(refused), rustix::net::SocketType::DGRAM, None);
            assert_eq!(socket.unwrap_err(), Errno::AFNOSUPPORT, "{refused}");
        }
        std::os::unix::net::UnixStream::pair().unwrap();
        std::thread::spawn(|| ()).join().unwrap();
        let status = std::process::Command::new("/bin/sh").args(["-c", "exec true"]).status().unwrap();
        assert!(status.success());
    })
    .join()
    .unwrap();
}
