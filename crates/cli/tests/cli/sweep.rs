//! SIGKILL of `rabbitc` at any moment: the next command works, and nothing of the dead one remains.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;

use crate::support::{Host, Ran, eventually, finish, has_program};

/// Every how many system calls the default sweep kills; with `RABBITC_FULL_SWEEP` set, at every single one.
const STRIDE: usize = 17;

fn traced(host: &Host, trace: &[&str], flags: &[&str]) -> std::process::Command {
    let mut command = host.command("strace");
    command.args(["-o", "/dev/null"]).args(trace).arg(crate::support::binary());
    command.arg(format!("--state-dir={}", host.state().display())).args(flags).arg("--cmd=/bin/true");
    command
}

fn kill_at_every_call(host: &Host, flags: &[&str], offset: usize) {
    let log = host.directory().join("calls");
    let counted = finish(
        {
            let mut command = host.command("strace");
            command.arg("-o").arg(&log).arg(crate::support::binary());
            command.arg(format!("--state-dir={}", host.state().display())).args(flags).arg("--cmd=/bin/true");
            command.spawn().expect("strace runs")
        },
        None,
    );
    assert_eq!(counted.code(), 0, "{counted:?}");
    // strace counts each kind of call by itself.
    let mut counts = BTreeMap::<String, usize>::new();
    let mut calls = Vec::new();
    for line in std::fs::read_to_string(&log).expect("strace wrote it").lines() {
        if let Some((name, _)) = line.split_once('(').filter(|(name, _)| !name.contains([' ', '+', '-'])) {
            let count = counts.entry(name.to_owned()).or_default();
            *count += 1;
            calls.push((name.to_owned(), *count));
        }
    }
    assert!(calls.len() > 100, "{}", calls.len());
    // The first call makes strace's own child this program.
    calls.remove(0);
    let stride = if std::env::var_os("RABBITC_FULL_SWEEP").is_some() { 1 } else { STRIDE };
    let (mut killed, mut tried) = (0, 0);
    let mut dead = BTreeSet::new();
    for (index, (name, count)) in calls.iter().enumerate().skip(offset % stride).step_by(stride) {
        let number = format!("{index}, {name}");
        tried += 1;
        let trace = format!("trace={name}");
        let inject = format!("inject={name}:signal=KILL:when={count}");
        let ran =
            finish(traced(host, &["-e", &trace, "-e", &inject], flags).spawn().expect("strace runs"), None);
        killed += usize::from(ran.code() == 137);
        let here = host.containers();
        dead.extend(here.into_iter().filter(|id| id.len() == 64));
        // The next command works, at once, and with an address of its own.
        let mut arguments = flags.to_vec();
        arguments.push("--cmd=/bin/true");
        let next = host.run(&arguments);
        assert_eq!(
            (next.code(), next.stderr.contains("error")),
            (0, false),
            "after a kill at call {number}: {next:?}"
        );
        let left = host.containers();
        assert!(left.is_empty(), "after a kill at call {number}, this is still recorded: {left:?}");
        for id in &dead {
            let groups = Host::groups_of(id);
            assert!(groups.is_empty(), "after a kill at call {number}: {groups:?}");
        }
        dead.clear();
    }
    // Some calls do not come each time: a wait more, a try more.
    assert!(killed * 10 > tried * 7, "killed {killed} times of {tried}");
    host.assert_nothing_left();
}

#[test]
fn next_command_works_after_a_kill_at_any_call() {
    let Some(host) = Host::new() else { return };
    if !has_program("strace") {
        return;
    }
    kill_at_every_call(&host, &[&host.rootfs_flag(), "--memory=64m"], 3);
}

#[test]
fn next_command_publishes_the_same_ports_after_a_kill_at_any_call() {
    let Some(host) = Host::new() else { return };
    if !has_program("strace") {
        return;
    }
    let flags = [&host.rootfs_flag(), "--publish=8080:80", "--publish=8080-8089:8080-8089/udp"];
    kill_at_every_call(&host, &flags, 5);
}

#[test]
fn next_command_works_after_a_kill_at_any_call_on_an_overlay_without_network() {
    let Some(host) = Host::new() else { return };
    if !has_program("strace") {
        return;
    }
    kill_at_every_call(&host, &[&host.rootfs_flag(), "--overlay", "--network=none"], 8);
}

#[test]
fn container_dies_with_its_killed_rabbitc() {
    let Some(host) = Host::new() else { return };
    let mut container = host.background(
        &[],
        "up",
        "trap '' TERM HUP INT; (trap '' TERM HUP; sleep 1000) & while :; do sleep 1; done",
    );
    let [id] = host.containers().try_into().expect("one container");
    container.signal("KILL");
    assert_eq!(container.finish().code(), 137);
    eventually("all its processes are gone", || host.processes().is_empty());
    // Before any other command: nothing runs. After it: nothing is there.
    let next = host.inside(&[], "ip -o -4 addr show dev eth0");
    assert_eq!(next.code(), 0, "{next:?}");
    assert!(Host::groups_of(&id).is_empty());
    host.assert_nothing_left();
}

#[test]
fn killed_neighbour_is_swept_while_others_go_on() {
    let Some(host) = Host::new() else { return };
    let staying = host.background(&[], "staying", "read end; ip -o -4 addr show dev eth0; cat /etc/hostname");
    let mut dying = host.background(&[], "dying", "sleep 1000");
    dying.signal("KILL");
    dying.finish();
    assert_eq!(host.inside(&[], "true").code(), 0);
    assert_eq!(host.containers().len(), 1, "the one that lives");
    assert!(host.rootfs().join("proc").exists(), "its mount points are in use");
    let ran = staying.release();
    assert!(ran.text().contains("172.19.0.2") && ran.stdout.contains("rabbitc"), "{ran:?}");
    host.assert_nothing_left();
}

#[test]
fn what_cannot_be_swept_is_said_and_keeps_nobody_from_starting() {
    let Some(host) = Host::new() else { return };
    // Each a file that can't be opened, as nothing of it can be with too many open files.
    let namespace =
        std::fs::metadata(format!("/proc/{}/ns/net", host.pid())).expect("the holder lives").ino();
    // Of a network whose turn is before the usual one.
    let lease = format!("network/{namespace}/aaa/leases/172.20.0.2");
    let broken =
        ["roots/0-0/lock", "user-ids/1000-10", "labels/7-1", &lease].map(|name| host.state().join(name));
    for file in &broken {
        std::fs::create_dir_all(file.parent().expect("it has one")).expect("made");
        std::os::unix::fs::symlink(file.file_name().expect("it has one"), file).expect("a link to itself");
    }
    let mut dying = host.background(&[], "dying", "sleep 1000");
    dying.signal("KILL");
    dying.finish();
    let ran = host.inside(&[], "echo runs");
    assert_eq!((ran.code(), ran.stdout.trim()), (0, "runs"), "{ran:?}");
    for file in &broken {
        let said = ran.stderr.lines().any(|line| {
            let name = file.to_string_lossy();
            let name = name.rsplit_once("leases/").map_or(&*name, |(_, address)| address);
            line.contains("remains of a dead container") && line.contains(name)
        });
        assert!(said, "{}: {ran:?}", file.display());
        std::fs::remove_file(file).expect("removed");
    }
    std::fs::remove_dir(host.state().join("roots/0-0")).expect("nothing is in it");
    assert!(!host.rootfs().join("proc").exists(), "the other root was swept all the same");
    // Now the network can be tidied.
    assert_eq!(host.inside(&[], "true").code(), 0);
    host.assert_nothing_left();
}

/// `rabbitc` with these arguments, and what strace is to do with its calls of one name; which those were.
fn with_calls(host: &Host, call: &str, rule: &str, flags: &[&str], command: &str) -> (Ran, Vec<String>) {
    let log = host.directory().join("calls");
    let mut traced = host.command("strace");
    traced.arg("-o").arg(&log).args(["-e", &format!("trace={call}"), "-e", rule]);
    traced.arg(crate::support::binary()).arg(format!("--state-dir={}", host.state().display()));
    traced.args(flags).args(["--", command]);
    let ran = finish(traced.spawn().expect("strace runs"), None);
    let lines = std::fs::read_to_string(&log).expect("strace wrote it");
    let calls = lines.lines().filter(|line| line.starts_with(&format!("{call}(")));
    (ran, calls.map(str::to_owned).collect())
}

/// How many sockets `rabbitc` with these arguments makes, the last of them to take its redirections back.
fn count_sockets(host: &Host, flags: &[&str], command: &str) -> usize {
    with_calls(host, "socket", "trace=socket", flags, command).1.len()
}

/// What of the container's is in the rules.
fn redirections(host: &Host) -> String {
    let table = host.shell("nft list ruleset");
    table.lines().filter(|line| line.contains("8080")).collect()
}

#[test]
fn kill_before_redirections_are_taken_back_is_found_by_a_container_without_a_network() {
    let Some(host) = Host::new() else { return };
    if !has_program("strace") || !has_program("nft") {
        return;
    }
    let staying = host.background(&[], "staying", "read end");
    let rootfs = host.rootfs_flag();
    let flags = ["--publish=8080:80", rootfs.as_str()];
    let count = count_sockets(&host, &flags, "/bin/true");
    let rule = format!("inject=socket:signal=KILL:when={count}");
    let (killed, _) = with_calls(&host, "socket", &rule, &flags, "/bin/true");
    assert_eq!(killed.code(), 137, "{killed:?}");
    assert!(!redirections(&host).is_empty(), "it was killed before");
    assert_eq!(host.inside(&["--network=none"], "true").code(), 0);
    assert_eq!(redirections(&host), "");
    assert_eq!(staying.release().code(), 0);
    host.assert_nothing_left();
}

#[test]
fn redirections_that_a_failed_start_could_not_take_back_are_told_and_found() {
    let Some(host) = Host::new() else { return };
    if !has_program("strace") || !has_program("nft") {
        return;
    }
    // Where the table goes as a whole, nothing would be seen.
    let staying = host.background(&[], "staying", "read end");
    let rootfs = host.rootfs_flag();
    let flags = ["--publish=8080:80", rootfs.as_str()];
    // Found wanting by the kernel alone, and so at the last step: one that is not there is missed while the host still works.
    let broken = host.rootfs().join("bin/broken");
    std::fs::write(&broken, "\x7fELF").expect("written");
    std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o755)).expect("set");
    let count = count_sockets(&host, &flags, "/bin/broken");
    let rule = format!("inject=socket:error=EMFILE:when={count}");
    let (failed, _) = with_calls(&host, "socket", &rule, &flags, "/bin/broken");
    assert_eq!(failed.code(), 126, "{failed:?}");
    assert!(failed.stderr.contains("not taken back: withdraw published ports"), "{failed:?}");
    // By the record, that of whoever could not.
    assert_eq!(host.inside(&["--network=none"], "true").code(), 0);
    assert_eq!(redirections(&host), "");
    assert_eq!(staying.release().code(), 0);
    host.assert_nothing_left();
}

#[test]
fn address_and_mount_points_stay_those_of_processes_that_could_not_be_ended() {
    let Some(host) = Host::new() else { return };
    if !has_program("strace") {
        return;
    }
    let rootfs = host.rootfs_flag();
    let start = |rule: &str| with_calls(&host, "unlinkat", rule, &[&rootfs], "/bin/true");
    let (_, calls) = start("trace=unlinkat");
    let is_group = |line: &String| line.contains("rabbitc-") && line.contains("AT_REMOVEDIR");
    let first = 1 + calls.iter().position(is_group).expect("it removes its group");
    // As the kernel does as long as somebody is in it: at the first try, and after all were killed.
    let (left, _) = start(&format!("inject=unlinkat:error=EPERM:when={first}..{}", first + 1));
    assert!(left.code() == 0 && left.stderr.contains("cgroup"), "{left:?}");
    let [id] = host.containers().try_into().expect("its record");
    // Nobody else sweeps it meanwhile.
    let record = std::fs::File::open(host.state().join("containers").join(id)).expect("it is there");
    let lock = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::flock(&record, lock).expect("nobody has it");
    let address = || host.inside(&[], "ip -o -4 addr show dev eth0").text().to_owned();
    assert!(address().contains("172.19.0.3"), "the other has 172.19.0.2");
    assert!(host.rootfs().join("proc").is_dir(), "something of the other's is mounted there");
    drop(record);
    assert!(address().contains("172.19.0.2"));
    host.assert_nothing_left();
}

#[test]
fn ten_killed_at_once_leave_nothing_after_the_next_command() {
    let Some(host) = Host::new() else { return };
    let mut children: Vec<_> = (0..10)
        .map(|_| {
            let mut command = host.script(&[], "sleep 1000");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("nsenter runs")
        })
        .collect();
    // Wherever each of them is by then.
    eventually("some of them run", || host.containers().len() > 4);
    for child in &mut children {
        child.kill().expect("it runs");
        child.wait().expect("it can be waited for");
    }
    let next = host.inside(&[], "true");
    assert_eq!((next.code(), next.stderr.as_str()), (0, ""), "{next:?}");
    host.assert_nothing_left();
}
