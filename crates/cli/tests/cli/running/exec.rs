//! `exec`: another program in a container that runs.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Scene, places, with_accounts, without_accounts};
use crate::support::{Background, Host, binary, eventually, finish, has_controller, has_program, skip};

#[test]
fn exec_runs_a_program_beside_the_containers_own_with_its_code() {
    let Some(scene) = Scene::new(&["--hostname=inside", "--env=KEPT=1"]) else { return };
    assert_eq!(scene.exec(&["hostname"]).text(), "inside");
    assert!(
        scene.exec(&["ps"]).text().lines().any(|line| line.trim_start().starts_with("1 ")),
        "in its pids"
    );
    assert_eq!(scene.exec(&["sh", "-c", "exit 7"]).code(), 7);
    assert_eq!(scene.exec(&["sh", "-c", "kill -9 $$"]).code(), 137);
    scene.exec(&["nosuch"]).refuses(127, &["nosuch", "executable file not found"]);
    scene.exec(&["/bin"]).refuses(126, &["is a directory"]);
    scene.verb("exec", &["-w", "/nosuch", &scene.id, "true"]).refuses(127, &["/nosuch"]);
    scene.verb("exec", &["-w", "tmp", &scene.id, "true"]).refuses(126, &["--workdir", "absolute"]);
    assert_eq!(
        scene.verb("exec", &["-w", "/bin", &scene.id, "env"]).text().lines().last(),
        Some("HOME=/root")
    );
    let seen = scene.verb("exec", &["-e", "A=1", "-e", "KEPT=2", &scene.id, "env"]);
    assert!(seen.text().contains("\nKEPT=2") && seen.text().contains("A=1"), "{seen:?}");
    // As with docker, flags behind the container are the program's.
    assert_eq!(scene.exec(&["echo", "-e", "x"]).text(), "x");
    assert_eq!(scene.verb("exec", &[&scene.id[..4], "echo", "by its beginning"]).text(), "by its beginning");
    assert_eq!(scene.verb("exec", &["-l", "echo", "the latest"]).text(), "the latest");
    assert_eq!(scene.verb("container exec", &[&scene.id, "true"]).code(), 0, "behind `container`, too");
    assert_eq!(scene.end().code(), 0);
}

#[test]
fn exec_passes_input_on_only_where_it_is_asked_to() {
    let Some(scene) = Scene::new(&[]) else { return };
    let fed = |arguments: &[&str], input: &str| {
        let child = scene.command("exec", arguments).stdin(Stdio::piped()).spawn().expect("nsenter runs");
        finish(child, Some(input.as_bytes().to_vec()))
    };
    assert_eq!(fed(&[&scene.id, "cat"], "typed").text(), "");
    assert_eq!(fed(&["-i", &scene.id, "cat"], "typed").text(), "typed");
    let seen = fed(&["-t", &scene.id, "sh", "-c", "tty && stty size && echo $TERM"], "");
    let lines: Vec<&str> = seen.text().lines().map(str::trim).collect();
    assert!(lines[0].starts_with("/dev/pts/") && lines[1..] == ["24 80", "xterm"], "{seen:?}");
    assert!(scene.exec(&["sh", "-c", "echo out; echo err >&2"]).stderr.contains("err"));
    scene.end();
}

#[test]
fn exec_is_who_the_containers_own_files_say() {
    let Some(host) = Host::new() else { return };
    with_accounts(&host);
    let scene = Scene::of(host, &["--group-add=audio"]);
    let seen = |flags: &[&str], script: &str| {
        scene.verb("exec", &[flags, &[scene.id.as_str(), "sh", "-c", script]].concat()).text().to_owned()
    };
    let script = "echo $(id -u) $(id -g) $(id -G) $HOME";
    assert_eq!(seen(&[], script), "0 0 0 29 /root");
    assert_eq!(seen(&["-u", "alice"], script), "1000 1001 1001 29 50 /home/alice");
    assert_eq!(seen(&["-u", "1000:staff"], script), "1000 50 50 29 /home/alice");
    assert_eq!(seen(&["-u", "7:8"], script), "7 8 8 29 /");
    scene.verb("exec", &["-u", "bob", &scene.id, "true"]).refuses(126, &["--user", "no user `bob`"]);
    without_accounts(&scene.host);
    scene.end();
}

#[test]
fn exec_has_the_rights_of_the_container_and_all_of_them_where_it_is_asked_for() {
    let Some(host) = Host::new() else { return };
    let script = "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status";
    let own = host.inside(&["--network=none", "--cap-drop=KILL"], script).text().to_owned();
    let scene = Scene::of(host, &["--cap-drop=KILL"]);
    assert_eq!(scene.exec(&["sh", "-c", script]).text(), own);
    let of_user = scene.verb("exec", &["-u", "1000:1000", &scene.id, "sh", "-c", script]);
    assert!(of_user.text().contains("CapEff:\t0000000000000000"), "{of_user:?}");
    let all = scene.verb("exec", &["--privileged", &scene.id, "grep", "CapEff", "/proc/self/status"]);
    let bits = all.text().split_ascii_whitespace().last().and_then(|bits| u64::from_str_radix(bits, 16).ok());
    assert!(bits.is_some_and(|bits| bits & 1 << 21 != 0), "CAP_SYS_ADMIN: {all:?}");
    scene.end();
}

#[test]
fn limit_of_tasks_holds_for_what_exec_starts() {
    let Some(host) = Host::new() else { return };
    if !has_controller("pids", "pids") {
        skip("no controller of pids");
        return;
    }
    let scene = Scene::of(host, &["--pids-limit=4"]);
    let script = "for i in 1 2 3 4 5 6; do sleep 5 & done; wait";
    let ran = scene.exec(&["sh", "-c", script]);
    assert!(ran.stderr.contains("fork"), "{ran:?}");
    scene.end();
}

#[test]
fn detached_program_runs_on_with_a_terminal_and_without() {
    let Some(scene) = Scene::new(&[]) else { return };
    assert_eq!(
        scene
            .verb(
                "exec",
                &["-d", &scene.id, "sh", "-c", "sleep 0.2; echo $(readlink /proc/self/fd/0) >/plain"]
            )
            .text(),
        ""
    );
    assert_eq!(
        scene.verb("exec", &["-dt", &scene.id, "sh", "-c", "sleep 0.2; tty >/typed; sleep 1000"]).text(),
        ""
    );
    scene.verb("exec", &["-d", &scene.id, "nosuch"]).refuses(127, &["nosuch"]);
    let read = |name: &str| std::fs::read_to_string(scene.host.rootfs().join(name)).unwrap_or_default();
    eventually("both have run on", || {
        read("plain") == "/dev/null\n" && read("typed").starts_with("/dev/pts/")
    });
    for name in ["plain", "typed"] {
        std::fs::remove_file(scene.host.rootfs().join(name)).expect("it is there");
    }
    scene.end();
}

#[test]
fn signal_that_ends_exec_ends_its_program() {
    let Some(scene) = Scene::new(&[]) else { return };
    let mut exec = scene.begin("exec", &[&scene.id, "sh", "-c", "echo up >/sign; exec sleep 1000"]);
    let sign = scene.host.rootfs().join("sign");
    eventually("it runs", || sign.exists());
    std::fs::remove_file(&sign).expect("it is there");
    exec.signal("TERM");
    assert_eq!(exec.finish().code(), 143);
    assert!(!scene.exec(&["ps"]).text().contains("sleep 1000"));
    scene.end();
}

#[test]
fn exec_takes_no_longer_than_a_start() {
    let Some(scene) = Scene::new(&[]) else { return };
    let begun = Instant::now();
    (0..5).for_each(|_| assert_eq!(scene.exec(&["true"]).code(), 0));
    // Beside nsenter, on a machine that does other things: this finds only waits that somebody put in.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    scene.end();
}

#[test]
fn exec_is_left_by_keys_and_its_program_runs_on() {
    let Some(host) = Host::new() else { return };
    if !has_program("script") {
        return;
    }
    let scene = Scene::of(host, &[]);
    let line = format!(
        "{} exec {} -it {} sh -c 'echo up >/at; read x; echo $x >/got; sleep 1000'; echo left with $?",
        binary().display(),
        places(&scene.host),
        scene.id
    );
    let mut typed = scene.host.command("script");
    typed.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("SHELL", "/bin/sh");
    let mut typed = Background::of(typed.stdin(Stdio::piped()).spawn().expect("script runs"));
    let file = |name: &str| scene.host.rootfs().join(name);
    eventually("it runs", || file("at").exists());
    // A beginning of the keys is typed on.
    typed.write(b"a\x10b\r");
    eventually("it came", || std::fs::read_to_string(file("got")).is_ok_and(|got| got == "a\u{10}b\n"));
    typed.write(b"\x10\x11");
    let seen = typed.finish();
    assert!(seen.stdout.contains("left with 0") && seen.stdout.contains("read escape sequence"), "{seen:?}");
    assert!(scene.exec(&["ps"]).text().contains("sleep 1000"), "it runs on");
    for name in ["at", "got"] {
        std::fs::remove_file(file(name)).expect("it is there");
    }
    scene.end();
}
