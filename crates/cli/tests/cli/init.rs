//! `--init`: who is pid 1, who reaps, where signals go, and that the host's binary stays out of reach.

use crate::support::{Background, Host, eventually, finish, skip};

/// A host, if the program under test can be an init in a container.
fn host() -> Option<Host> {
    let host = Host::new()?;
    let ran = host.run(&[&host.rootfs_flag(), "--network=none", "--init", "/bin/true"]);
    if ran.stderr.contains("linked dynamically") {
        skip("--init takes the static program, which `cargo xtask test` has");
        return None;
    }
    assert_eq!(ran.code(), 0, "{ran:?}");
    Some(host)
}

#[test]
fn program_is_a_child_of_the_init_and_ends_it_with_its_own_code() {
    let Some(host) = host() else { return };
    let ran = host
        .inside(&["--init"], "cat /proc/1/comm; echo $$; ls /proc/self/fd; ls /proc/1/fd | wc -l; exit 7");
    assert_eq!(ran.code(), 7, "{ran:?}");
    // Its own signals and the program's end are all that the init has open.
    assert_eq!(ran.stdout, "rabbitc-init\n2\n0\n1\n2\n3\n2\n", "{ran:?}");
    assert_eq!(host.inside(&["--init"], "kill -KILL $$").code(), 137);
    assert_eq!(host.inside(&["--init"], "kill -TERM $$").code(), 143, "no longer pid 1, it has no privilege");
    let ran = host.inside(&["--init", "-u", "77:78"], "id -u; grep -c 'CapEff:.0*$' /proc/1/status");
    assert_eq!(ran.text(), "77\n1");
    host.assert_nothing_left();
}

#[test]
fn time_and_environment_are_the_same_below_it() {
    let Some(host) = host() else { return };
    let ran = host.inside(&["--init", "--timeout=1"], "trap 'exit 9' TERM; while :; do sleep 0.05; done");
    assert_eq!(ran.code(), 137, "{ran:?}");
    assert!(ran.stderr.contains("`--timeout=1`"), "{ran:?}");
    let ran = host.run(&[&host.rootfs_flag(), "--init", "--unsetenv-all", "-e", "A=1", "/bin/env"]);
    assert_eq!(ran.text(), "A=1");
    host.assert_nothing_left();
}

#[test]
fn list_of_processes_shows_the_programs_words_and_the_program_its_own_environment() {
    let Some(host) = host() else { return };
    let script = "cat /proc/1/cmdline; env | grep -c RABBITC";
    let ran = host.inside(&["--init", "-e", "RABBITC_INIT=mine"], script);
    assert_eq!(ran.stdout, format!("rabbitc-init\0--\0/bin/sh\0-c\0{script}\x001\n"), "{ran:?}");
    host.assert_nothing_left();
}

#[test]
fn program_that_can_not_run_is_named_as_without_an_init() {
    let Some(host) = host() else { return };
    std::fs::write(host.rootfs().join("bin/text"), "#!/opt/missing\n").expect("written");
    host.set_up(&format!("chmod 755 {}/bin/text", host.rootfs().display()));
    let rootfs = host.rootfs_flag();
    host.run(&[&rootfs, "--init", "/bin/missing"]).refuses(127, &["`/bin/missing`", "no such file"]);
    host.run(&[&rootfs, "--init", "/bin/text"]).refuses(127, &["`/bin/text`", "`/opt/missing`"]);
    host.run(&[&rootfs, "--init", "text"]).refuses(127, &["text", "`/opt/missing`"]);
    host.assert_nothing_left();
}

#[test]
fn processes_that_lose_their_parent_are_reaped() {
    let Some(host) = host() else { return };
    let script = "for n in 1 2 3 4 5; do (sh -c 'exit 0' & exit 0); done; tries=0; \
                  while test $(ps -o stat,comm | grep -c ^Z) != 0; do \
                  tries=$((tries + 1)); test $tries -lt 500 || exit 9; sleep 0.02; done; ps -o pid,comm | wc -l";
    let ran = host.inside(&["--init"], script);
    assert_eq!(ran.code(), 0, "{ran:?}");
    host.assert_nothing_left();
}

/// Whether the child of this host's one container's init is `sleep` by now.
fn sleeps(host: &Host) -> bool {
    let [id] = host.containers().try_into().expect("one container");
    let record = std::fs::read_to_string(host.state().join("containers").join(id).join("state.json"));
    let record: serde_json::Value = serde_json::from_str(&record.expect("there is one")).expect("JSON");
    let pid = &record["pid"];
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().any(|child| {
        std::fs::read(format!("/proc/{child}/cmdline")).is_ok_and(|words| words.starts_with(b"sleep"))
    })
}

#[test]
fn signals_reach_a_program_without_a_handler() {
    let Some(host) = host() else { return };
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("USR1", 138)] {
        let mut container = host.background(&["--init"], "up", "exec sleep 1000");
        eventually("it sleeps", || sleeps(&host));
        container.signal(signal);
        assert_eq!(container.finish().code(), code, "{signal}");
    }
    host.assert_nothing_left();
}

#[test]
fn callers_output_ends_when_the_programs_does() {
    let Some(host) = host() else { return };
    // An init that held on to the pipe would keep its reader waiting.
    let line = format!(
        "{} --state-dir={} {} --init -- /bin/sh -c 'echo out; exec >&- 2>&-; read end' | {{ cat; echo end-of-output; }}",
        crate::support::binary().display(),
        host.state().display(),
        host.rootfs_flag()
    );
    let mut command = host.command("sh");
    command.args(["-c", &line]).stdin(std::process::Stdio::piped());
    let mut container = Background::of(command.spawn().expect("nsenter runs"));
    // The container's rabbitc holds the pipe itself, so only its end shows; the program must get there.
    container.write(b"end\n");
    let ran = container.finish();
    assert_eq!(ran.stdout, "out\nend-of-output\n", "{ran:?}");
    host.assert_nothing_left();
}

#[test]
fn host_binary_that_runs_as_init_cannot_be_written() {
    let Some(host) = host() else { return };
    let binary = crate::support::binary();
    let before = std::fs::read(&binary).expect("read");
    // The path itself, a descriptor of it that is opened again, and a script that makes it run once more.
    std::fs::write(host.rootfs().join("bin/again"), "#!/proc/1/exe\n").expect("written");
    host.set_up(&format!("chmod 755 {}/bin/again", host.rootfs().display()));
    let script = "for way in /proc/1/exe /proc/1/root/proc/1/exe; do echo x 2>/dev/null >> $way && echo written; done; \
                  exec 4< /proc/1/exe; echo x 2>/dev/null >> /proc/self/fd/4 && echo written; \
                  chmod 777 /proc/1/exe 2>/dev/null && echo changed; rm -f /proc/1/exe 2>/dev/null && echo removed; \
                  mount -o remount,rw /proc/1/exe 2>/dev/null && echo remounted; /bin/again; \
                  echo x 2>/dev/null >> /proc/1/exe && echo written; exit 0";
    for flags in [&["--init"][..], &["--init", "--privileged"], &["--init", "-t"]] {
        let ran = host.inside(flags, script);
        assert_eq!(ran.code(), 0, "{ran:?}");
        for word in ["written", "changed", "removed", "remounted"] {
            assert!(!ran.stdout.contains(word), "{flags:?}: {ran:?}");
        }
    }
    assert!(std::fs::read(&binary).expect("read") == before, "the host's binary was changed");
    std::fs::remove_file(host.rootfs().join("bin/again")).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn descriptors_are_handed_on_through_the_init() {
    let Some(host) = host() else { return };
    let line = format!(
        "exec 3</etc/passwd; {} --state-dir={} {} --init --preserve-fds=1 -- /bin/sh -c 'head -n 1 <&3; ls /proc/1/fd | wc -l'",
        crate::support::binary().display(),
        host.state().display(),
        host.rootfs_flag()
    );
    let mut command = host.command("sh");
    command.args(["-c", &line]);
    let ran = finish(command.spawn().expect("nsenter runs"), None);
    let first = std::fs::read_to_string("/etc/passwd").expect("read");
    assert_eq!(ran.text(), format!("{}\n2", first.lines().next().unwrap_or_default()));
    host.assert_nothing_left();
}
