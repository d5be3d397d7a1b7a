//! A user's container from its start to its end: its terminal, its exit code, and what is left of a killed one.

use std::process::Stdio;

use super::user::User;
use crate::support::{binary, eventually, finish, has_program};

#[test]
fn terminal_of_a_user_is_the_containers_own() {
    let Some(user) = User::new() else { return };
    if !has_program("script") {
        return;
    }
    let line = format!(
        "{} {} {} --network=none -- /bin/sh -c 'tty; stty size; test -c /dev/console && echo console; exit 3'",
        binary().display(),
        user.state_flag(),
        user.host.rootfs_flag()
    );
    let mut command = user.command("script");
    command.args([
        "--quiet",
        "--return",
        "--command",
        &format!("stty rows 33 cols 111; {line}"),
        "/dev/null",
    ]);
    command.env("SHELL", "/bin/sh").stdin(Stdio::piped());
    let ran = finish(command.spawn().expect("nsenter runs"), None);
    assert_eq!(
        (ran.code(), ran.stdout.replace('\r', "").replace("^@", "").as_str()),
        (3, "/dev/pts/0\n33 111\nconsole\n"),
        "{ran:?}"
    );
    user.host.assert_nothing_left();
}

#[test]
fn exit_codes_are_those_of_root() {
    let Some(user) = User::new() else { return };
    let rootfs = user.host.rootfs_flag();
    let code = |arguments: &[&str]| {
        let mut all = vec![rootfs.as_str(), "--network=none"];
        all.extend(arguments);
        user.run(&all).code()
    };
    assert_eq!(code(&["--cmd=/bin/true"]), 0);
    assert_eq!(code(&["--", "/bin/sh", "-c", "exit 7"]), 7);
    assert_eq!(code(&["--cmd=/missing"]), 127);
    assert_eq!(code(&["--cmd=/etc"]), 126);
    assert_eq!(code(&["--", "/bin/sh", "-c", "kill -TERM $$; sleep 100 & kill -KILL $!; wait $!"]), 137);
    assert_eq!(user.run(&["--rootfs=/does/not/exist"]).code(), 125);
    user.host.assert_nothing_left();
}

#[test]
fn container_of_a_killed_rabbitc_dies_and_the_next_command_sweeps() {
    let Some(user) = User::new() else { return };
    let mut container = user.background(&["--network=none"]);
    assert_eq!(user.host.containers().len(), 1);
    container.signal("KILL");
    assert_eq!(container.finish().code(), 137);
    eventually("its processes are gone", || user.host.processes().is_empty());
    assert_eq!(user.inside(&[], "true").code(), 0);
    user.host.assert_nothing_left();
}

#[test]
fn what_supervises_runs_from_a_sealed_copy() {
    let Some(user) = User::new() else { return };
    let mut container = user.background(&["--network=none"]);
    let file = std::fs::read_link(format!("/proc/{}/exe", container.pid())).expect("root may look");
    assert!(file.to_string_lossy().contains("memfd:host-binary"), "{}", file.display());
    container.release();
    user.host.assert_nothing_left();
}
