//! What the program is given: its words, environment, labels, descriptors and time.

use crate::support::{Host, eventually, finish};

#[test]
fn words_behind_the_flags_are_the_program_where_there_is_a_root() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    let text = |arguments: &[&str]| host.run(arguments).text().to_owned();
    assert_eq!(text(&[&rootfs, "echo", "-n", "--rm", "--", "-i", "x"]), "--rm -- -i x");
    assert_eq!(text(&["--rm", &rootfs, "--cmd=/bin/echo a", "b", "-c"]), "a b -c");
    assert_eq!(text(&[&rootfs, "--entrypoint=/bin/echo", "a", "b"]), "a b");
    assert_eq!(text(&[&rootfs, "--entrypoint", r#"["/bin/echo","a b"]"#, "--cmd=c"]), "a b c");
    assert_eq!(text(&["--rootfs", "-i", &host.rootfs().to_string_lossy(), "echo", "as podman"]), "as podman");
    let store = host.directory().join("store");
    let flag = format!("--root={}", store.display());
    host.run(&["run", "--pull=never", &flag, "alpine", "ls"])
        .refuses(125, &["find the image `alpine`", "-- alpine"]);
    assert!(!store.exists(), "nothing is made for a question");
    host.assert_nothing_left();
}

#[test]
fn flag_of_docker_that_is_not_there_yet_is_refused_with_a_word() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    for flags in [&["--pod=p"][..], &["--gpus", "all"], &["--secret", "x"]] {
        let mut arguments = vec![rootfs.as_str()];
        arguments.extend(flags);
        arguments.extend(["--", "/bin/true"]);
        let ran = host.run(&arguments);
        ran.refuses(125, &[]);
        assert!(!ran.stderr.contains("unexpected"), "{ran:?}");
    }
    assert_eq!(host.run(&[&rootfs, "--rm", "--restart=no", "-d=false", "--systemd=false", "true"]).code(), 0);
    host.assert_nothing_left();
}

#[test]
fn environment_comes_from_flags_files_and_the_caller_in_that_order_of_weight() {
    let Some(host) = Host::new() else { return };
    let file = host.directory().join("variables");
    std::fs::write(&file, "# none\nA=file\nB=file\nTAKEN\nC=\"quoted\"\n").expect("written");
    let env_file = format!("--env-file={}", file.display());
    let flags = [&env_file, "-e", "B=flag", "--env=PRE_*", "--unsetenv=HOSTNAME", "-e", "PATH=/bin"];
    let mut command = host.script(&flags, "env");
    command.env("TAKEN", "caller").env("PRE_1", "one").env("PRE_2", "two").env("OTHER", "x");
    let ran = finish(command.spawn().expect("nsenter runs"), None);
    let mut lines: Vec<&str> = ran.text().lines().collect();
    lines.retain(|line| !["SHLVL=", "PWD=", "_="].iter().any(|name| line.starts_with(name)));
    lines.sort_unstable();
    let expected = [
        "A=file",
        "B=flag",
        "C=\"quoted\"",
        "HOME=/root",
        "PATH=/bin",
        "PRE_1=one",
        "PRE_2=two",
        "TAKEN=caller",
    ];
    assert_eq!(lines, expected);
    std::fs::write(&file, "A B=1\n").expect("written");
    host.run(&[&host.rootfs_flag(), &env_file, "true"])
        .refuses(125, &["--env-file", "line 1", "white space"]);
    host.run(&[&host.rootfs_flag(), "--env-file=/none", "true"]).refuses(125, &["--env-file", "/none"]);
    // A shell's `<(command)` is a pipe.
    let mut command = host.script(&["--env-file=/dev/stdin"], "echo $PIPED");
    command.stdin(std::process::Stdio::piped());
    let ran = finish(command.spawn().expect("nsenter runs"), Some(b"PIPED=yes\n".to_vec()));
    assert_eq!(ran.text(), "yes");
    let mut command = host.rabbitc(&[&host.rootfs_flag(), "--env-host", "--unsetenv=LEFT_OUT", "/bin/env"]);
    command.env("OTHER", "x").env("LEFT_OUT", "y");
    let ran = finish(command.spawn().expect("nsenter runs"), None);
    assert!(ran.text().contains("OTHER=x") && !ran.stdout.contains("LEFT_OUT"), "{ran:?}");
    host.assert_nothing_left();
}

#[test]
fn defaults_that_are_taken_away_are_not_there() {
    let Some(host) = Host::new() else { return };
    let etc = host.rootfs().join("etc");
    std::fs::create_dir(&etc).expect("made");
    std::fs::write(etc.join("passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:7:7::/srv/web:\n").expect("written");
    let rootfs = host.rootfs_flag();
    let environment = |flags: &[&str]| {
        let mut arguments = vec![rootfs.as_str(), "--network=none"];
        arguments.extend(flags);
        arguments.push("/bin/env");
        host.run(&arguments).text().to_owned()
    };
    assert_eq!(environment(&["--unsetenv-all"]), "");
    assert_eq!(environment(&["--unsetenv-all", "--user=web", "-e", "A=1"]), "A=1");
    assert_eq!(environment(&["--unsetenv=HOME", "--unsetenv=PATH"]), "HOSTNAME=rabbitc");
    assert_eq!(environment(&["--unsetenv-all", "-e", "HOME=/x"]), "HOME=/x");
    assert!(environment(&["--user=web", "--unsetenv=PATH"]).contains("HOME=/srv/web"));
    std::fs::remove_dir_all(etc).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn bytes_that_are_no_text_are_refused_and_not_changed() {
    use std::os::unix::ffi::OsStrExt;
    let Some(host) = Host::new() else { return };
    let odd = std::ffi::OsStr::from_bytes(b"a\xffb");
    let mut command = host.rabbitc(&[&host.rootfs_flag(), "/bin/echo"]);
    command.arg(odd);
    finish(command.spawn().expect("nsenter runs"), None).refuses(125, &["UTF-8"]);
    let mut command = host.rabbitc(&[&host.rootfs_flag(), "-e", "ODD", "/bin/env"]);
    command.env("ODD", odd);
    finish(command.spawn().expect("nsenter runs"), None).refuses(125, &["--env", "`ODD`", "UTF-8"]);
    host.assert_nothing_left();
}

#[test]
fn umask_is_the_programs() {
    let Some(host) = Host::new() else { return };
    assert_eq!(host.inside(&[], "umask").text(), "0022");
    assert_eq!(host.inside(&["--umask=027"], "umask").text(), "0027");
}

#[test]
fn labels_and_annotations_are_in_the_record() {
    let Some(host) = Host::new() else { return };
    let file = host.directory().join("labels");
    std::fs::write(&file, "from=file\nalone\n").expect("written");
    let label_file = format!("--label-file={}", file.display());
    let flags = ["-l", "a=b", &label_file, "--annotation=x.y=z", "--stop-signal=INT"];
    let container = host.background(&flags, "up", "read end");
    let [id] = host.containers().try_into().expect("one container");
    let record = std::fs::read_to_string(host.state().join("containers").join(id).join("state.json"));
    let record: serde_json::Value = serde_json::from_str(&record.expect("there is one")).expect("JSON");
    let expected = serde_json::json!({
        "rabbitc.label.a": "b", "rabbitc.label.from": "file", "rabbitc.label.alone": "", "x.y": "z",
        "org.opencontainers.image.stopSignal": "INT",
    });
    assert_eq!(record["annotations"], expected);
    assert_eq!(container.release().code(), 0);
    host.run(&[&host.rootfs_flag(), "--annotation=x", "true"]).refuses(125, &["--annotation", "`x`"]);
    host.assert_nothing_left();
}

#[test]
fn files_of_id_and_pid_are_written_and_those_of_a_failed_start_are_none() {
    let Some(host) = Host::new() else { return };
    let (id_file, pid_file) = (host.directory().join("id"), host.directory().join("pid"));
    let flags = [format!("--cidfile={}", id_file.display()), format!("--pidfile={}", pid_file.display())];
    let flags = [flags[0].as_str(), &flags[1]];
    let container = host.background(&flags, "up", "read end");
    eventually("both are written", || std::fs::read_to_string(&pid_file).is_ok_and(|text| !text.is_empty()));
    let [id] = host.containers().try_into().expect("one container");
    assert_eq!(std::fs::read_to_string(&id_file).expect("written"), id);
    let pid = std::fs::read_to_string(&pid_file).expect("written");
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).expect("it lives");
    assert!(command.starts_with(b"/bin/sh\0"), "{command:?}");
    assert_eq!(container.release().code(), 0);
    // It stays, and is no other container's.
    host.run(&[&host.rootfs_flag(), flags[0], "true"]).refuses(125, &["--cidfile", "exists"]);
    std::fs::remove_file(&id_file).expect("there");
    let missing = host.directory().join("no/such").display().to_string();
    for flag in ["--cidfile", "--pidfile"] {
        let given = format!("{flag}={missing}/file");
        let made = format!("`mkdir -p {missing}`");
        host.run(&[&host.rootfs_flag(), &given, "true"]).refuses(125, &[flag, "no such file", &made]);
        let given = format!("{flag}=/etc/passwd/file");
        host.run(&[&host.rootfs_flag(), &given, "true"]).refuses(125, &[flag, "not a directory"]);
    }
    assert_eq!(host.run(&[&host.rootfs_flag(), flags[0], "/bin/missing"]).code(), 127);
    assert!(!id_file.exists());
    host.assert_nothing_left();
}

#[test]
fn descriptors_are_handed_on_as_they_are_asked_for_and_no_others() {
    let Some(host) = Host::new() else { return };
    let script = |flags: &str, inside: &str| {
        format!(
            "exec 3</etc/hostname 4</etc/passwd; {} --state-dir={} {} {flags} -- /bin/sh -c '{inside}'",
            crate::support::binary().display(),
            host.state().display(),
            host.rootfs_flag()
        )
    };
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    assert_eq!(host.shell(&script("--preserve-fds=1", "cat <&3; test -e /proc/$$/fd/4; echo $?")), {
        format!("{}\n1", name.trim()).trim().to_owned()
    });
    let ran = host.run(&[&host.rootfs_flag(), "--preserve-fds=20", "true"]);
    ran.refuses(125, &["--preserve-fds", "is not open"]);
    // A file of rabbitc's own has none of the numbers.
    let explain = format!("--explain=json:{}", host.directory().join("steps").display());
    host.run(&[&host.rootfs_flag(), "--preserve-fds=99999999999999999999", "true"])
        .refuses(125, &["--preserve-fds", "descriptor 3 is not open"]);
    host.run(&[&host.rootfs_flag(), &explain, "--preserve-fds=1", "true"])
        .refuses(125, &["--preserve-fds", "descriptor 3 is not open"]);
    host.assert_nothing_left();
}

#[test]
fn container_whose_time_is_up_is_killed_with_a_word_about_it() {
    let Some(host) = Host::new() else { return };
    let script = "trap 'exit 9' TERM USR1; while :; do sleep 0.05; done";
    for flags in [&["--timeout=1"][..], &["--timeout=1", "--stop-signal=USR1"]] {
        let ran = host.inside(flags, script);
        assert_eq!(ran.code(), 137, "{ran:?}");
        assert!(ran.stderr.contains("warning: the time of `--timeout=1` was up"), "{ran:?}");
    }
    let ran = host.inside(&["--timeout=100"], "kill -KILL $$; exit 4");
    assert_eq!((ran.code(), ran.stderr.as_str()), (4, ""), "pid 1 can't kill itself");
    for flag in ["--timeout=x", "--stop-timeout=1.5", "--stop-signal=MOON"] {
        host.run(&[&host.rootfs_flag(), flag, "true"])
            .refuses(125, &[flag.split('=').next().expect("a name")]);
    }
    host.assert_nothing_left();
}

#[test]
fn signals_that_are_kept_stop_the_container() {
    let Some(host) = Host::new() else { return };
    let script = "trap 'exit 5' INT; trap 'exit 6' TERM; trap 'exit 7' USR1; echo set > /ready; while :; do sleep 0.05; done";
    let mut container = host.background(&["--sig-proxy=false", "--stop-signal=INT"], "up", script);
    let ready = host.rootfs().join("ready");
    eventually("the traps are set", || ready.exists());
    container.signal("USR1");
    container.signal("TERM");
    assert_eq!(container.finish().code(), 5);
    std::fs::remove_file(ready).expect("the sign is there");
    host.assert_nothing_left();
}

/// The words of pid 1 of this host's one container.
fn command_of_init(host: &Host) -> String {
    let [id] = host.containers().try_into().expect("one container");
    let record = std::fs::read_to_string(host.state().join("containers").join(id).join("state.json"));
    let record: serde_json::Value = serde_json::from_str(&record.expect("there is one")).expect("JSON");
    let words = std::fs::read(format!("/proc/{}/cmdline", record["pid"])).unwrap_or_default();
    String::from_utf8_lossy(&words).replace('\0', " ")
}

#[test]
fn hangup_ends_a_program_that_does_not_handle_it_unless_the_caller_ignores_it() {
    let Some(host) = Host::new() else { return };
    let mut container = host.background(&[], "up", "exec sleep 1000");
    eventually("it is another program now", || command_of_init(&host).starts_with("sleep"));
    container.signal("HUP");
    assert_eq!(container.finish().code(), 137);
    // As nohup does.
    let mut command = host.command("sh");
    let line = format!(
        "trap '' HUP; exec {} --state-dir={} {} -- /bin/sh -c 'echo up; read end; exit 3'",
        crate::support::binary().display(),
        host.state().display(),
        host.rootfs_flag()
    );
    command.args(["-c", &line]).stdin(std::process::Stdio::piped());
    let mut container = crate::support::Background::of(command.spawn().expect("nsenter runs"));
    let mut up = [0u8; 3];
    container.read_exact(&mut up);
    container.signal("HUP");
    container.write(b"end\n");
    assert_eq!(container.finish().code(), 3);
    host.assert_nothing_left();
}
