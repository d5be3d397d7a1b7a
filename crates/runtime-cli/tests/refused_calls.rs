//! Runs the binary below a seccomp filter that refuses the calls for which there is a fallback, as an older kernel
//! (ENOSYS) or a filter of whoever started us (EPERM) would.

mod support;

use std::ffi::CString;
use std::os::fd::AsFd;
use std::process::Output;

use rustix::process::{WaitId, WaitIdOptions, waitid};
use serde_json::json;
use support::{Bundle, errors, id_map, root_only, text};
use sys::clone::{CloneRequest, clone};
use sys::exec::{CStringArray, execve};
use sys::seccomp::{Instruction, install};

/// The first call that 5.15 does not have (futex_waitv, 5.16); the same number on every architecture.
const NEWER: u32 = 449;

/// What a filter refuses.
struct Refusal {
    name: &'static str,
    calls: Vec<u32>,
    newer: bool,
    errno: i32,
}

fn refusals() -> Vec<Refusal> {
    let number = |call: libc::c_long| u32::try_from(call).expect("call numbers are small");
    let (clone3, close_range, keyctl) =
        (number(libc::SYS_clone3), number(libc::SYS_close_range), number(libc::SYS_keyctl));
    let mut all = Vec::new();
    for errno in [libc::ENOSYS, libc::EPERM] {
        let mut add =
            |name, calls: &[u32], newer| all.push(Refusal { name, calls: calls.to_vec(), newer, errno });
        add("clone3", &[clone3], false);
        add("close_range", &[close_range], false);
        add("keyctl", &[keyctl], false);
        add("calls newer than 5.15", &[], true);
        add("all of them", &[clone3, close_range, keyctl], true);
    }
    all
}

/// The filter as classic BPF (seccomp(2)): load the number, compare, answer.
fn filter(refusal: &Refusal) -> Vec<Instruction> {
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    let mut program = vec![Instruction { code: LOAD, ..Instruction::default() }];
    let refused = Instruction { code: RETURN, k: ERRNO | refusal.errno as u32, ..Instruction::default() };
    for call in &refusal.calls {
        program.push(Instruction { code: EQUAL, jt: 0, jf: 1, k: *call });
        program.push(refused);
    }
    if refusal.newer {
        program.push(Instruction { code: AT_LEAST, jt: 0, jf: 1, k: NEWER });
        program.push(refused);
    }
    program.push(Instruction { code: RETURN, k: ALLOW, ..Instruction::default() });
    program
}

/// Runs the binary below the filter; what it writes goes into a file.
fn run_below(refusal: &Refusal, bundle: &Bundle, arguments: &[&str]) -> Output {
    use std::os::unix::process::ExitStatusExt;
    let c_string = |text: &str| CString::new(text).expect("no NUL");
    let path = bundle.path.join("output");
    let output = std::fs::File::create(&path).expect("a file");
    let null = std::fs::File::open("/dev/null").expect("the null device");
    let program = c_string(support::BINARY);
    let root = bundle.path.join("state").display().to_string();
    let mut strings = vec![program.clone(), c_string("--root"), c_string(&root)];
    strings.extend(arguments.iter().map(|argument| c_string(argument)));
    let arguments = CStringArray::new(strings);
    let environment = CStringArray::new(vec![c_string("PATH=/usr/sbin:/usr/bin:/sbin:/bin")]);
    let filter = filter(refusal);
    let child = clone(&CloneRequest { flags: 0, cgroup: None }, &mut |_| {
        sys::signal::unblock_all();
        let ready = rustix::stdio::dup2_stdin(&null).is_ok()
            && rustix::stdio::dup2_stdout(&output).is_ok()
            && rustix::stdio::dup2_stderr(&output).is_ok()
            && install(&filter, 0).is_ok();
        if ready {
            execve(&program, &arguments, &environment, None);
        }
        99
    })
    .expect("a child");
    let status = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)
        .expect("our child")
        .expect("its end");
    let code = status.exit_status().unwrap_or(200);
    assert_ne!(code, 99, "the filter could not be installed");
    let written = std::fs::read(&path).expect("what it wrote");
    Output { status: std::process::ExitStatus::from_raw(code << 8), stdout: written.clone(), stderr: written }
}

#[test]
fn containers_live_their_lives_with_every_newer_call_refused() {
    root_only!();
    for refusal in refusals() {
        let what = format!("{} refused by errno {}", refusal.name, refusal.errno);

        let script = "cat /proc/sys/kernel/hostname; echo /proc/self/fd/*; exit 7";
        let bundle = Bundle::new("refused", &["sh", "-c", script]);
        let path = bundle.path.display().to_string();
        let output = run_below(&refusal, &bundle, &["run", "--bundle", &path, &bundle.id]);
        assert_eq!(output.status.code(), Some(7), "{what}: {output:?}");
        let descriptors = "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3";
        assert_eq!(text(&output), format!("rabbitc\n{descriptors}\n"), "{what}");
        bundle.assert_clean(&what);

        for directory in ["proc", "dev", "sys"] {
            std::fs::create_dir_all(bundle.path.join("rootfs").join(directory)).expect("made");
        }
        bundle.edit(|config| config["process"]["args"] = json!(["id", "-u"]));
        bundle.map_users(100_000);
        let output = run_below(&refusal, &bundle, &["run", "--bundle", &path, &bundle.id]);
        assert_eq!(text(&output), "0\n", "{what}, in a user namespace");

        let bundle = Bundle::new("refused-life", &["sleep", "1000"]);
        let (path, id) = (bundle.path.display().to_string(), bundle.id.clone());
        for arguments in
            [vec!["create", "--bundle", &path, &id], vec!["start", &id], vec!["exec", &id, "true"]]
        {
            let output = run_below(&refusal, &bundle, &arguments);
            assert!(output.status.success(), "{what}: {arguments:?}: {}", errors(&output));
        }
        assert_eq!(bundle.status(), "running", "{what}");
        let output = run_below(&refusal, &bundle, &["delete", "--force", &id]);
        assert!(output.status.success(), "{what}: {}", errors(&output));
        bundle.assert_clean(&what);
    }
}

#[test]
fn mapped_mount_says_what_it_takes_where_mount_setattr_is_refused() {
    root_only!();
    for errno in [libc::ENOSYS, libc::EPERM] {
        let calls = vec![u32::try_from(libc::SYS_mount_setattr).expect("call numbers are small")];
        let refusal = Refusal { name: "mount_setattr", calls, newer: false, errno };
        let bundle = Bundle::new("refused-idmap", &["true"]);
        bundle.edit(|config| {
            let map = id_map(0, 100_000, 1);
            let mount = json!({
                "destination": "/mnt", "type": "bind", "source": "/etc", "options": ["bind", "idmap"],
                "uidMappings": map, "gidMappings": map,
            });
            config["mounts"].as_array_mut().expect("a list").push(mount);
        });
        let path = bundle.path.display().to_string();
        let output = run_below(&refusal, &bundle, &["run", "--bundle", &path, &bundle.id]);
        let told = errors(&output);
        assert!(!output.status.success(), "{told}");
        for part in
            ["set attributes of the mount of `/etc`", "step 1 of", "mounts[", "`mount_setattr`: Linux 5.12"]
        {
            assert!(told.contains(part), "errno {errno}: {told}");
        }
        bundle.assert_clean("after the refusal");
    }
}
