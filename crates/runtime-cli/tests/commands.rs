//! What commands do beyond the plain life of a container: exec, kill, list and help as callers use them.

mod support;

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use serde_json::json;
use support::{Bundle, errors, root_only, text};

#[test]
fn help_of_every_command_begins_with_its_name() {
    let run = |arguments: &[&str]| {
        std::process::Command::new(support::BINARY).args(arguments).output().expect("it runs")
    };
    let overview = text(&run(&["--help"]));
    assert!(
        overview.starts_with("NAME:\n   rabbitc-runtime - Open Container Initiative runtime"),
        "{overview}"
    );
    let commands = overview.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
    for line in commands.expect("a list").lines() {
        let name = line.split_whitespace().next().expect("a name");
        let start = format!("NAME:\n   rabbitc-runtime {name} - ");
        for arguments in [[name, "-h"], [name, "--help"], ["help", name]] {
            let output = run(&arguments);
            assert!(
                output.status.success() && text(&output).starts_with(&start),
                "{arguments:?}: {output:?}"
            );
        }
    }
    for arguments in [["foo", "-h"], ["help", "foo"]] {
        let output = run(&arguments);
        assert!(!output.status.success());
        assert!(errors(&output).contains("No help topic for 'foo'"), "{}", errors(&output));
    }
}

#[test]
fn features_names_what_is_done() {
    root_only!();
    let bundle = Bundle::new("features", &["true"]);
    let features: serde_json::Value = serde_json::from_str(&bundle.succeed(&["features"])).expect("JSON");
    let linux = &features["linux"];
    assert_eq!(linux["netDevices"]["enabled"], true);
    assert_eq!(linux["memoryPolicy"]["modes"].as_array().expect("a list").len(), 7);
    assert_eq!(linux["memoryPolicy"]["flags"].as_array().expect("a list").len(), 3);
    assert_eq!(linux["intelRdt"], json!({ "enabled": true, "schemata": true, "monitoring": true }));
    for (list, some) in
        [("actions", "SCMP_ACT_NOTIFY"), ("operators", "SCMP_CMP_MASKED_EQ"), ("archs", "SCMP_ARCH_X32")]
    {
        assert!(linux["seccomp"][list].as_array().expect("a list").contains(&json!(some)), "{list}");
    }
}

#[test]
fn named_root_that_is_not_there_is_no_empty_list() {
    let missing = std::env::temp_dir().join(format!("rabbitc-no-root-{}", std::process::id()));
    let output = std::process::Command::new(support::BINARY)
        .arg("--root")
        .arg(&missing)
        .arg("list")
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(errors(&output).contains(&missing.display().to_string()), "{}", errors(&output));
}

#[test]
fn signal_0_looks_whether_somebody_is_there() {
    root_only!();
    let bundle = Bundle::new("look", &["sleep", "1000"]);
    let id = bundle.id.as_str();
    assert!(bundle.create().status.success());
    bundle.succeed(&["start", id]);
    bundle.succeed(&["kill", id, "0"]);
    assert_eq!(bundle.status(), "running");
    bundle.succeed(&["kill", id, "KILL"]);
    bundle.wait_for("stopped");
    let output = bundle.runtime(&["kill", id, "0"]);
    assert!(errors(&output).contains("container not running"), "{output:?}");
    bundle.succeed(&["kill", "--all", id, "0"]);
    bundle.succeed(&["delete", id]);
    bundle.assert_clean("after delete");
}

#[test]
fn sigkill_reaches_processes_that_share_a_pid_namespace_also_without_their_init() {
    root_only!();
    for init_first in [false, true] {
        let bundle = Bundle::new("shared", &["sleep", "1000"]);
        bundle.without_namespace("pid");
        let id = bundle.id.as_str();
        assert!(bundle.create().status.success());
        bundle.succeed(&["start", id]);
        for _ in 0..2 {
            assert!(bundle.quiet(&["exec", "--detach", id, "sleep", "1000"]).status.success());
        }
        if init_first {
            let pid = rustix::process::Pid::from_raw(bundle.pid()).expect("a pid");
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("sent");
            bundle.wait_for("stopped");
        }
        let pids = || bundle.succeed(&["ps", "-f", "json", id]);
        assert_ne!(pids().trim(), "[]");
        bundle.succeed(&["kill", id, "KILL"]);
        support::eventually("all are gone", || pids().trim() == "[]");
        let again = bundle.runtime(&["kill", id, "KILL"]);
        assert!(errors(&again).contains("container not running"), "{again:?}");
        bundle.succeed(&["delete", id]);
        bundle.assert_clean("after delete");
    }
}

#[test]
fn created_container_ends_when_it_is_asked_to() {
    root_only!();
    let bundle = Bundle::new("asked", &["sleep", "1000"]);
    for signal in ["TERM", "INT", "HUP"] {
        assert!(bundle.create().status.success());
        bundle.succeed(&["kill", &bundle.id, signal]);
        bundle.wait_for("stopped");
        bundle.succeed(&["delete", &bundle.id]);
    }
    bundle.assert_clean("after delete");
}

#[test]
fn created_container_holds_nothing_of_its_caller_open() {
    root_only!();
    let bundle = Bundle::new("held", &["sleep", "1000"]);
    let file = std::fs::File::open("/etc/hostname").expect("a file");
    // Inheritable, as careless callers leave theirs.
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).expect("set");
    assert!(bundle.create().status.success());
    drop(file);
    let directory = format!("/proc/{}/fd", bundle.pid());
    let open: Vec<String> = std::fs::read_dir(directory)
        .expect("procfs")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok_and(|number| number > 2))
        .map(|entry| std::fs::read_link(entry.path()).expect("a link").display().to_string())
        .collect();
    let known = |target: &String| target.starts_with("socket:") || target.starts_with("anon_inode:");
    assert!(open.iter().all(known), "{open:?}");
    bundle.succeed(&["start", &bundle.id]);
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("after delete");
}

/// What a caller learns through `--pidfd-socket`.
fn received_pidfd(listener: &UnixListener) -> std::os::fd::OwnedFd {
    let (connection, _) = listener.accept().expect("a connection");
    runtime::sync::receive_descriptor(connection.as_fd()).expect("received").expect("a descriptor")
}

#[test]
fn pidfd_socket_gets_a_descriptor_of_the_process() {
    root_only!();
    let bundle = Bundle::new("pidfd", &["sleep", "1000"]);
    let socket = bundle.path.join("pidfd");
    let (path, socket_path) = (bundle.path.display().to_string(), socket.display().to_string());
    let id = bundle.id.as_str();
    let listener = UnixListener::bind(&socket).expect("a socket");
    let created = bundle.quiet(&["create", "-b", &path, "--pidfd-socket", &socket_path, id]);
    assert!(created.status.success(), "{created:?}");
    let init = received_pidfd(&listener);
    bundle.succeed(&["start", id]);
    let executed = bundle.quiet(&["exec", "-d", "--pidfd-socket", &socket_path, id, "sleep", "1000"]);
    assert!(executed.status.success(), "{executed:?}");
    let other = received_pidfd(&listener);
    rustix::process::pidfd_send_signal(&other, rustix::process::Signal::KILL).expect("sent");
    support::eventually("one process is left", || {
        bundle.succeed(&["ps", "-f", "json", id]).trim().split(',').count() == 1
    });
    assert_eq!(bundle.status(), "running");
    rustix::process::pidfd_send_signal(&init, rustix::process::Signal::KILL).expect("sent");
    bundle.wait_for("stopped");
    bundle.succeed(&["delete", id]);
    drop(listener);
    std::fs::remove_file(&socket).expect("removed");
    let refused = bundle.quiet(&["create", "-b", &path, "--pidfd-socket", &socket_path, id]);
    assert!(errors(&refused).contains("connect to the pidfd socket"), "{refused:?}");
    bundle.assert_clean("after the refusal");
}

#[test]
fn debug_tells_the_flags_of_the_filter() {
    root_only!();
    let bundle = Bundle::new("filter-flags", &["true"]);
    let run_with = |flags: serde_json::Value| {
        bundle.edit(|config| {
            config["linux"]["seccomp"] = serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags,
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]});
        });
        let path = bundle.path.display().to_string();
        let output = bundle.runtime(&["--debug", "run", "--bundle", &path, &bundle.id]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for (flags, number) in [
        (serde_json::json!(null), 4),
        (serde_json::json!([]), 0),
        (serde_json::json!(["SECCOMP_FILTER_FLAG_LOG"]), 2),
    ] {
        let said = run_with(flags);
        assert!(said.contains(&format!("msg=\"seccomp filter flags: {number}\"")), "{said}");
        for stage in [
            "runc exeseal: using /proc/self/exe clone",
            "nsexec container setup",
            "child process in init()",
            "init: closing the pipe to signal completion",
        ] {
            assert!(said.contains(stage), "{said}");
        }
    }
}

#[test]
fn debug_tells_the_steps_of_exec_in_the_logs_form() {
    root_only!();
    let bundle = Bundle::new("told", &["sleep", "1000"]);
    let id = bundle.id.as_str();
    assert!(bundle.create().status.success());
    let output = bundle.runtime(&["--debug", "exec", id, "true"]);
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<&str> = std::str::from_utf8(&output.stderr).expect("text").lines().collect();
    assert!(lines.len() > 5 && lines.iter().all(|line| line.contains("level=debug msg=")), "{lines:?}");
    for stage in [
        "execute the program",
        "nsexec container setup",
        "child process in init()",
        "setns_init: about to exec",
    ] {
        assert!(lines.iter().any(|line| line.contains(stage)), "{stage}: {lines:?}");
    }
    let log = bundle.path.join("log").display().to_string();
    let quiet = bundle.runtime(&["--debug", "--log", &log, "exec", id, "true"]);
    assert_eq!(errors(&quiet), "");
    assert!(std::fs::read_to_string(&log).expect("a log").contains("level=debug"));
    bundle.succeed(&["delete", "--force", id]);
    bundle.assert_clean("after delete");
}

#[test]
fn another_configuration_serves_all_of_a_containers_life() {
    root_only!();
    let bundle = Bundle::new("other", &["sleep", "1000"]);
    bundle.edit(|config| config["process"]["env"] = json!(["COLOR=blue", "PATH=/bin"]));
    std::fs::rename(bundle.path.join("config.json"), bundle.path.join("other.json")).expect("renamed");
    let (id, path) = (bundle.id.as_str(), bundle.path.display().to_string());
    let created = bundle.quiet(&["create", "-b", &path, "--config", "other.json", id]);
    assert!(created.status.success(), "{created:?}");
    bundle.succeed(&["start", id]);
    assert_eq!(bundle.succeed(&["exec", id, "sh", "-c", "echo $COLOR"]), "blue\n");
    bundle.succeed(&["delete", "--force", id]);
    bundle.assert_clean("after delete");
}

#[test]
fn log_that_can_not_be_opened_fails_every_command() {
    let bundle = Bundle::new("no-log", &["true"]);
    for command in ["list", "state", "run"] {
        let missing = bundle.path.join("missing/log");
        let output = bundle.command(&["--log"]).arg(&missing).arg(command).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{command}: {output:?}");
        let told = errors(&output);
        assert!(told.contains("--log: ") && told.contains("missing/log"), "{told}");
    }
}

#[test]
fn exec_that_ignores_the_pause_waits_in_the_group_and_goes_on_with_it() {
    root_only!();
    let bundle = Bundle::new("ignores", &["sleep", "1000"]);
    let id = bundle.id.as_str();
    assert!(bundle.create().status.success());
    bundle.succeed(&["start", id]);
    bundle.succeed(&["pause", id]);
    let refused = bundle.runtime(&["exec", id, "true"]);
    assert!(errors(&refused).contains("cannot exec in a paused container"), "{refused:?}");
    let mut waiting = bundle
        .command(&["exec", "--ignore-paused", id, "sh", "-c", "echo went on"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it runs");
    support::eventually("a second process is in the group", || {
        let listed = bundle.succeed(&["ps", "--format", "json", id]);
        serde_json::from_str::<Vec<i32>>(&listed).expect("pids").len() == 2
    });
    assert!(waiting.try_wait().expect("asked").is_none(), "what is frozen does not end");
    assert_eq!(bundle.status(), "paused");
    bundle.succeed(&["resume", id]);
    let output = waiting.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output).as_str()), (Some(0), "went on\n"), "{output:?}");
    bundle.succeed(&["delete", "--force", id]);
    bundle.assert_clean("after delete");
}

/// The kernel gives the numbers of what has ended to others: here a record is changed as if it had.
#[test]
fn stranger_that_has_the_pid_of_an_ended_container_is_left_alone() {
    root_only!();
    let bundle = Bundle::new("stranger", &["sleep", "1000"]);
    let id = bundle.id.as_str();
    assert!(bundle.create().status.success());
    bundle.succeed(&["start", id]);
    let pid = rustix::process::Pid::from_raw(bundle.pid()).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("sent");
    bundle.wait_for("stopped");
    // Two that start in one tick of the clock, a hundredth of a second, can't be told apart.
    std::thread::sleep(std::time::Duration::from_millis(20));
    let mut stranger =
        std::process::Command::new("/bin/busybox").args(["sleep", "1000"]).spawn().expect("it runs");
    let file = bundle.path.join("state").join(id).join("state.json");
    let text = std::fs::read_to_string(&file).expect("a record");
    let mut record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(record["pid"].is_number() && record["startTime"].is_number(), "{record}");
    record["pid"] = json!(stranger.id());
    std::fs::write(&file, record.to_string()).expect("written");
    assert_eq!(bundle.status(), "stopped");
    for arguments in [&["kill", id, "KILL"][..], &["kill", "--all", id, "KILL"], &["exec", id, "true"]] {
        bundle.runtime(arguments);
        assert!(stranger.try_wait().expect("asked").is_none(), "{arguments:?} reached a stranger");
    }
    let refused = bundle.runtime(&["kill", id, "KILL"]);
    assert!(errors(&refused).contains("container not running"), "{refused:?}");
    bundle.succeed(&["delete", "--force", id]);
    assert!(stranger.try_wait().expect("asked").is_none(), "`delete` reached a stranger");
    stranger.kill().expect("killed");
    stranger.wait().expect("reaped");
    bundle.assert_clean("after delete");
}
