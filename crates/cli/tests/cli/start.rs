//! What runs, under which flags, and how its streams, signals and exit code come through.

use std::process::Stdio;

use crate::support::{Host, finish};

#[test]
fn shell_sees_its_program_as_pid_1_and_no_process_of_the_host() {
    let Some(host) = Host::new() else { return };
    let mut command = host.rabbitc(&[&host.rootfs_flag()]);
    command.stdin(Stdio::piped());
    let ran = finish(command.spawn().expect("nsenter runs"), Some(b"ps -o pid,comm\nexit 3\n".to_vec()));
    assert_eq!(ran.code(), 3, "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().map(str::trim).collect();
    assert_eq!(lines.len(), 3, "{ran:?}");
    assert!(lines[1].starts_with("1 sh"), "{ran:?}");
    assert_eq!(ran.stderr, "");
    host.assert_nothing_left();
}

#[test]
fn container_has_namespaces_of_its_own() {
    let Some(host) = Host::new() else { return };
    let script = "for kind in pid mnt net uts ipc cgroup user; do readlink /proc/self/ns/$kind; done";
    let inside = host.inside(&[], script);
    let outside = host.shell(script);
    let inside: Vec<&str> = inside.text().lines().collect();
    let outside: Vec<&str> = outside.lines().collect();
    assert_eq!(inside.len(), 7);
    for (one, other) in inside.iter().zip(&outside).take(6) {
        assert_ne!(one, other);
    }
    assert_eq!(inside[6], outside[6], "root in the container is root, with less rights");
}

#[test]
fn command_and_arguments_come_through_both_ways() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    let text = |arguments: &[&str]| host.run(arguments).text().to_owned();
    assert_eq!(text(&[&rootfs, "--cmd=/bin/echo a  'b  c'"]), "a b  c");
    assert_eq!(text(&[&rootfs, "--cmd", "/bin/echo", "--", "-x", "b  c", "--", "$d"]), "-x b  c -- $d");
    assert_eq!(text(&[&rootfs, "--", "/bin/echo", "a", ""]), "a");
    assert_eq!(text(&[&rootfs, "--", "echo", "found", "in", "PATH"]), "found in PATH");
}

#[test]
fn run_and_no_verb_are_the_same() {
    let Some(host) = Host::new() else { return };
    let mut command = host.command(crate::support::binary());
    command.arg("run").arg(format!("--state-dir={}", host.state().display()));
    command.args([&host.rootfs_flag(), "--cmd=/bin/hostname"]);
    assert_eq!(finish(command.spawn().expect("nsenter runs"), None).text(), "rabbitc");
    assert_eq!(host.run(&[&host.rootfs_flag(), "--cmd=/bin/hostname"]).text(), "rabbitc");
}

#[test]
fn run_that_names_nothing_does_not_come_to_the_hosts_root() {
    let Some(host) = Host::new() else { return };
    for flags in [&["run"][..], &["run", "--rm", "-i"], &["run", "--explain", "-e", "IMAGE"]] {
        host.run(flags)
            .refuses(125, &["run: an image or a root directory is to be named", "rabbitc run -- PROGRAM"]);
    }
}

#[test]
fn short_flags_of_the_original_work() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs();
    let ran = host.run(&[
        "-r",
        &rootfs.to_string_lossy(),
        "-c",
        "/bin/sh -c 'hostname; cat /etc/hostname; ip -o -4 addr show dev eth0; ip route'",
        "-h",
        "burrow",
        "-n",
        "warren7",
        "-i",
        "10.77.0.1/24",
        "-t",
        "10.77.0.9/24",
    ]);
    assert!(ran.text().starts_with("burrow\nburrow\n"), "{ran:?}");
    assert!(ran.stdout.contains("inet 10.77.0.9/24"), "{ran:?}");
    assert!(ran.stdout.contains("default via 10.77.0.1"), "{ran:?}");
    host.assert_nothing_left();
}

#[test]
fn relative_root_directory_is_found_from_where_the_caller_stands() {
    let Some(host) = Host::new() else { return };
    let script = format!(
        "cd {0} && {1} --state-dir={0}/state --rootfs=./rootfs --cmd='/bin/echo here'",
        host.directory().display(),
        crate::support::binary().display()
    );
    assert_eq!(host.shell(&script), "here");
}

#[test]
fn exit_code_is_the_programs() {
    let Some(host) = Host::new() else { return };
    assert_eq!(host.inside(&[], "exit 0").code(), 0);
    assert_eq!(host.inside(&[], "exit 3").code(), 3);
    assert_eq!(host.inside(&[], "exit 255").code(), 255);
    // A process can't kill its own pid 1, so this one is killed from outside below; a child's death is the shell's.
    assert_eq!(host.inside(&[], "sh -c 'kill -KILL $$'; exit $?").code(), 137);
    let rootfs = host.rootfs_flag();
    assert_eq!(host.run(&[&rootfs, "--cmd=/bin/missing"]).code(), 127);
    assert_eq!(host.run(&[&rootfs, "--cmd=/bin"]).code(), 126);
    assert_eq!(host.run(&[&rootfs, "--no-such-flag"]).code(), 125);
    assert_eq!(host.run(&["--rootfs=/no/such/directory"]).code(), 125);
}

#[test]
fn program_killed_by_a_signal_is_128_and_its_number() {
    let Some(host) = Host::new() else { return };
    let mut container = host.background(&[], "up", "exec sleep 1000");
    let pid = init_of(&host);
    assert!(
        std::process::Command::new("kill")
            .args(["-KILL", &pid.to_string()])
            .status()
            .expect("kill runs")
            .success()
    );
    assert_eq!(container.finish().code(), 137);
    host.assert_nothing_left();
}

/// The pid of this host's one container.
fn init_of(host: &Host) -> u64 {
    let [id] = host.containers().try_into().expect("one container");
    let path = host.state().join("containers").join(id);
    let mut record = crate::support::names(&path).into_iter().filter_map(|name| {
        let text = std::fs::read_to_string(path.join(name)).ok()?;
        serde_json::from_str::<serde_json::Value>(&text).ok()?["pid"].as_u64()
    });
    record.next_back().expect("a record with a pid")
}

#[test]
fn a_megabyte_goes_through_pipes_unchanged() {
    let Some(host) = Host::new() else { return };
    let mut command = host.script(&[], "cat; echo end >&2");
    command.stdin(Stdio::piped());
    let input: Vec<u8> = (0..1u32 << 20).map(|index| b'!' + (index * 7 % 90) as u8).collect();
    let ran = finish(command.spawn().expect("nsenter runs"), Some(input.clone()));
    assert_eq!(ran.code(), 0);
    assert!(ran.stdout.as_bytes() == input, "{} bytes came back", ran.stdout.len());
    assert_eq!(ran.stderr, "end\n");
}

#[test]
fn reader_that_goes_away_is_no_crash() {
    let Some(host) = Host::new() else { return };
    let script = format!(
        "{} --state-dir={} {} -- /bin/seq 1 1000000 | head -n 2",
        crate::support::binary().display(),
        host.state().display(),
        host.rootfs_flag()
    );
    assert_eq!(host.shell(&script), "1\n2");
    host.assert_nothing_left();
}

#[test]
fn signals_reach_the_program() {
    let Some(host) = Host::new() else { return };
    for (signal, code) in [("TERM", 41), ("HUP", 42), ("INT", 43), ("USR1", 44)] {
        let script = format!("trap 'exit {code}' {signal}; echo trap > /ready; while :; do sleep 0.05; done");
        let mut container = host.background(&[], "up", &script);
        let ready = host.rootfs().join("ready");
        crate::support::eventually("the trap is set", || ready.exists());
        container.signal(signal);
        assert_eq!(container.finish().code(), code, "{signal}");
        std::fs::remove_file(ready).expect("the sign is there");
    }
    host.assert_nothing_left();
}

#[test]
fn environment_of_the_caller_stays_outside() {
    let Some(host) = Host::new() else { return };
    let mut command = host.script(&["-e", "GIVEN=a b", "--env=TAKEN", "--env=UNSET"], "env");
    command.env("SECRET", "x").env("TAKEN", "from the caller").env("LD_PRELOAD", "");
    let ran = finish(command.spawn().expect("nsenter runs"), None);
    let mut lines: Vec<&str> = ran.text().lines().filter(|line| !line.starts_with("SHLVL=")).collect();
    lines.retain(|line| !line.starts_with("PWD="));
    lines.sort_unstable();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(lines, ["GIVEN=a b", "HOME=/root", "HOSTNAME=rabbitc", path, "TAKEN=from the caller"]);
}
