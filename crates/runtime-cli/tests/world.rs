//! What a program finds around it: variables, terminal, processors, root, network, and systemd's sockets.

mod support;

use std::os::unix::net::UnixDatagram;

use serde_json::json;
use support::{Bundle, LOOK, errors, root_only, text};

#[test]
fn home_is_what_the_containers_own_passwd_says() {
    root_only!();
    let bundle = Bundle::new("home", &[]);
    bundle.write_accounts();
    let cases = [
        (0, json!(["PATH=/bin"]), "/root-of-image"),
        (2000, json!(["PATH=/bin", "HOME="]), "/srv/web"),
        (2000, json!(["PATH=/bin", "HOME=/mine"]), "/mine"),
        (2000, json!(["PATH=/bin", "HOME=/mine", "HOME="]), "/srv/web"),
        (7, json!(["PATH=/bin"]), "/"),
    ];
    for (uid, env, home) in cases {
        bundle.edit(|config| {
            config["process"]["user"] = json!({ "uid": uid, "gid": 0 });
            config["process"]["env"] = env.clone();
        });
        let output = bundle.script("echo $HOME");
        assert_eq!(text(&output), format!("{home}\n"), "{uid} {env}: {output:?}");
    }
    // A mount over the file counts, as it is the program that will read it.
    let other = bundle.path.join("passwd");
    std::fs::write(&other, "seven:x:7:7::/seven:\n").expect("written");
    bundle.edit(|config| {
        let mount = json!({ "destination": "/etc/passwd", "type": "bind", "options": ["bind", "ro"],
                            "source": other.display().to_string() });
        config["mounts"].as_array_mut().expect("a list").push(mount);
    });
    assert_eq!(text(&bundle.script("echo $HOME")), "/seven\n");
    bundle.assert_clean("after the runs");
}

#[test]
fn passwd_that_is_no_file_holds_nobody_up() {
    root_only!();
    let bundle = Bundle::new("fifo", &[]);
    std::fs::create_dir_all(bundle.rootfs("etc")).expect("made");
    let path = bundle.rootfs("etc/passwd");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("mkfifo runs").success());
    assert_eq!(text(&bundle.script("echo $HOME")), "/root\n");
    std::fs::remove_file(&path).expect("removed");
    // A link out of the container's own tree leads nowhere.
    std::os::unix::fs::symlink("/proc/self/fd/0", &path).expect("a link");
    assert_eq!(text(&bundle.script("echo $HOME")), "/root\n");
    bundle.assert_clean("after the runs");
}

#[test]
fn of_several_variables_of_one_name_the_last_is_there_alone() {
    root_only!();
    let bundle = Bundle::hostile("env", &["env"]);
    bundle.edit(|config| {
        config["process"]["env"] = json!(["ONE=1", "TWO=2", "ONE=", "PATH=/bin", "ONE=3", "HOME=/h"]);
    });
    let output = bundle.run();
    assert_eq!(text(&output), "TWO=2\nPATH=/bin\nONE=3\nHOME=/h\n", "{output:?}");
}

#[test]
fn terminal_that_is_read_by_no_screen_ends_lines_with_newlines_alone() {
    root_only!();
    let bundle = Bundle::new("lines", &["sh", "-c", "echo one; echo two"]);
    bundle.edit(|config| config["process"]["terminal"] = json!(true));
    assert_eq!(text(&bundle.run()), "one\ntwo\n");
    bundle.edit(|config| {
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sleep", "1000"]);
    });
    assert!(bundle.create().status.success());
    let output = bundle.runtime(&["exec", "-t", &bundle.id, "sh", "-c", "echo three"]);
    assert_eq!(text(&output), "three\n", "{output:?}");
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("after delete");
}

/// One of this process's processors, if there are others.
fn processor() -> Option<usize> {
    let all = rustix::thread::sched_getaffinity(None).expect("asked");
    (0..rustix::thread::CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).filter(|_| all.count() > 1)
}

#[test]
fn processors_of_the_caller_do_not_bind_the_container() {
    root_only!();
    let Some(first) = processor() else {
        println!("skipped: needs two processors");
        return;
    };
    let mut one = rustix::thread::CpuSet::new();
    one.set(first);
    let allowed = ["grep", "Cpus_allowed_list", "/proc/self/status"];
    let bundle = Bundle::new("processors", &allowed);
    let expected = text(&bundle.run());
    let bound = |arguments: Vec<String>| {
        let bundle = &bundle;
        // The thread's own: other tests go on undisturbed.
        std::thread::scope(|scope| {
            let run = scope.spawn(move || {
                rustix::thread::sched_setaffinity(None, &one).expect("set");
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                text(&bundle.runtime(&arguments))
            });
            run.join().expect("it ends")
        })
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let path = bundle.path.display().to_string();
    assert_eq!(bound(words(&["run", "-b", &path, &bundle.id])), expected);
    bundle.edit(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    assert!(bundle.create().status.success());
    let exec = [&["exec", bundle.id.as_str()][..], &allowed].concat();
    assert_eq!(bound(words(&exec)), expected);
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("after delete");
}

#[test]
fn affinity_of_exec_is_its_own_and_not_inits() {
    root_only!();
    let Some(first) = processor() else {
        println!("skipped: needs two processors");
        return;
    };
    let (first_number, first) = (first, first.to_string());
    let bundle = Bundle::new("affinity", &["sleep", "1000"]);
    assert!(bundle.create().status.success());
    let allowed = "grep Cpus_allowed_list /proc/1/status /proc/self/status";
    let free = bundle.succeed(&["exec", &bundle.id, "sh", "-c", allowed]);
    for field in ["initial", "final"] {
        bundle.edit(|config| config["process"]["execCPUAffinity"] = json!({ field: first }));
        let own = bundle.succeed(&["exec", &bundle.id, "sh", "-c", allowed]);
        assert_eq!(own.lines().next(), free.lines().next(), "{field}: init's");
        assert!(
            own.lines().nth(1).is_some_and(|line| line.ends_with(&format!("\t{first}"))),
            "{field}: {own}"
        );
        let told = errors(&bundle.runtime(&["--debug", "exec", &bundle.id, "true"]));
        assert_eq!(
            told.contains(&format!("affinity: {:#x}", 1u64 << first_number)),
            field == "initial",
            "{told}"
        );
    }
    bundle.edit(|config| config["process"]["execCPUAffinity"] = json!({ "initial": "0-" }));
    let output = bundle.runtime(&["exec", &bundle.id, "true"]);
    assert!(errors(&output).contains("process.execCPUAffinity.initial"), "{output:?}");
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("after delete");
}

#[test]
fn user_with_cap_dac_override_runs_what_modes_keep_from_others() {
    root_only!();
    let bundle = Bundle::new("override", &["/bin/own"]);
    bundle.write_program("own", "#!/bin/sh\necho ran\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o744);
    std::fs::set_permissions(bundle.rootfs("bin/own"), mode).expect("its mode");
    bundle.edit(|config| config["process"]["user"] = json!({ "uid": 1000, "gid": 100 }));
    assert_eq!(bundle.run().status.code(), Some(1));
    bundle.edit(|config| {
        let set = json!(["CAP_DAC_OVERRIDE"]);
        config["process"]["capabilities"] = json!({ "bounding": set, "effective": set, "permitted": set,
                                                    "inheritable": set, "ambient": set });
    });
    let output = bundle.run();
    assert_eq!(text(&output), "ran\n", "{output:?}");
}

#[test]
fn root_that_is_moved_shows_no_whole_proc() {
    root_only!();
    let bundle = Bundle::hostile("moved", &[]);
    let (id, path) = (bundle.id.clone(), bundle.path.display().to_string());
    // In a user namespace the kernel lets a new procfs show no more than one that is in sight.
    let script = "echo of /; ls /; unshare -mrpf sh -c 'mount -t proc none /proc && echo bare proc'";
    for name in ["unshare", "mount"] {
        std::os::unix::fs::symlink("busybox", bundle.rootfs("bin").join(name)).expect("a link");
    }
    bundle.edit(|config| {
        config["process"]["args"] = json!(["sh", "-c", script]);
        for set in ["bounding", "permitted"] {
            let names = config["process"]["capabilities"][set].as_array_mut().expect("a list");
            names.push(json!("CAP_SETFCAP"));
        }
    });
    let output = support::finish(bundle.command(&["run", "--no-pivot", "-b", &path, &id]));
    assert!(text(&output).starts_with("of /\nbin\n"), "{output:?}");
    assert!(!text(&output).contains("bare proc"), "{output:?}");
    assert!(errors(&output).contains("mount: permission denied"), "{output:?}");
    bundle.assert_clean("after the run");
}

#[test]
fn container_in_the_callers_mount_namespace_changes_its_own_root_alone() {
    root_only!();
    let bundle = Bundle::hostile("host-mounts", &["sh", "-c", "echo $$; ls /"]);
    bundle.without_namespace("mount");
    let before = std::fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
    let refused = bundle.run();
    assert!(errors(&refused).contains("linux.maskedPaths: without a mount namespace"), "{refused:?}");
    bundle.edit(|config| {
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    let output = bundle.run();
    assert!(text(&output).starts_with("1\nbin\n"), "its own root, with its mounts: {output:?}");
    // The caller's other processes see the mounts for as long as it lives.
    bundle.edit(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    assert!(bundle.create().status.success());
    bundle.succeed(&["start", &bundle.id]);
    let during = std::fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
    assert!(
        during.lines().any(|line| line.contains(&bundle.id) && line.contains("/rootfs/proc ")),
        "{during}"
    );
    assert_eq!(bundle.succeed(&["exec", &bundle.id, "cat", "/proc/1/comm"]), "sleep\n");
    bundle.succeed(&["delete", "--force", &bundle.id]);
    // A start that fails takes them back as well.
    bundle.edit(|config| config["process"]["args"] = json!(["missing"]));
    assert_eq!(bundle.run().status.code(), Some(1));
    let after = std::fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
    let own = |table: &str| table.lines().filter(|line| line.contains(&bundle.id)).count();
    assert_eq!((own(&before), own(&after)), (0, 0), "{after}");
    bundle.assert_clean("after the runs");
}

#[test]
fn news_of_the_program_reach_whoever_waits_for_the_runtimes() {
    root_only!();
    let Some(teller) = teller() else {
        println!("skipped: needs python3");
        return;
    };
    let bundle = Bundle::new("news", &teller);
    bundle.edit(|config| {
        for path in ["/usr", "/lib", "/lib64"].into_iter().filter(|path| std::path::Path::new(path).exists())
        {
            let mount =
                json!({ "destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"] });
            config["mounts"].as_array_mut().expect("a list").push(mount);
        }
    });
    let socket = bundle.path.join("systemd");
    let ear = UnixDatagram::bind(&socket).expect("a socket");
    ear.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("set");
    let heard = || {
        let mut buffer = [0u8; 512];
        let count = ear.recv(&mut buffer).expect("news");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    let (id, path) = (bundle.id.as_str(), bundle.path.display().to_string());
    let with = |arguments: &[&str]| {
        let file = std::fs::File::create(bundle.path.join("output")).expect("a file");
        let mut command = bundle.command(arguments);
        command.env("NOTIFY_SOCKET", &socket).stdout(file.try_clone().expect("copied")).stderr(file);
        command.status().expect("it runs")
    };
    // Both return once the program is ready, and name it.
    assert!(with(&["run", "-d", "-b", &path, id]).success());
    assert_eq!(heard(), format!("READY=1\nMAINPID={}", bundle.pid()));
    bundle.succeed(&["delete", "--force", id]);
    bundle.assert_clean("after run");
    assert!(with(&["create", "-b", &path, id]).success());
    assert!(with(&["start", id]).success());
    assert_eq!(heard(), format!("READY=1\nMAINPID={}", bundle.pid()));
    bundle.succeed(&["delete", "--force", id]);
    bundle.assert_clean("after start");
    assert!(!with(&["run", "-b", &path, "--bundle", "/missing", id]).success());
    bundle.assert_clean("after a start that failed");
}

/// A command line that says READY through NOTIFY_SOCKET and stays, if the host's Python is there.
fn teller() -> Option<[&'static str; 3]> {
    let python = "/usr/bin/python3";
    std::path::Path::new(python).exists().then(|| {
        let script = "import os, socket, time\n\
                      s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
                      s.sendto(b'READY=1\\nMAINPID=1', os.environ['NOTIFY_SOCKET'])\n\
                      time.sleep(1000)";
        [python, "-c", script]
    })
}

#[test]
fn sockets_of_systemd_reach_the_program_before_other_descriptors() {
    root_only!();
    let bundle = Bundle::new("sockets", &[]);
    bundle.edit(|config| config["process"]["env"] = json!(["PATH=/bin"]));
    let script = "echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; cat <&3; cat <&4";
    bundle.edit(|config| config["process"]["args"] = json!(["sh", "-c", script]));
    let (one, two) = (bundle.path.join("one"), bundle.path.join("two"));
    std::fs::write(&one, "one\n").expect("written");
    std::fs::write(&two, "two\n").expect("written");
    let run = |pid: &str| {
        // The shell's pid becomes the runtime's.
        let line = format!(
            "exec 3<{} 4<{}; LISTEN_FDS=1 LISTEN_FDNAMES=web {pid} exec {} --root {} run --preserve-fds $N -b {} {}",
            one.display(),
            two.display(),
            support::BINARY,
            bundle.path.join("state").display(),
            bundle.path.display(),
            bundle.id
        );
        let preserved = if pid.contains("$$") { "1" } else { "2" };
        std::process::Command::new("/bin/sh")
            .arg("-c")
            .arg(line)
            .env("N", preserved)
            .output()
            .expect("it runs")
    };
    let output = run("LISTEN_PID=$$");
    assert_eq!(text(&output), "1 1 web\none\ntwo\n", "{output:?}");
    // Of another process's variables nothing is passed on.
    let output = run("LISTEN_PID=1");
    assert_eq!(text(&output), "\none\ntwo\n", "{output:?}");
    bundle.assert_clean("after the runs");
}

#[test]
fn loopback_of_a_new_network_namespace_is_up() {
    root_only!();
    for users in [false, true] {
        let bundle = Bundle::new("loopback", &["cat", "/proc/net/fib_trie"]);
        if users {
            bundle.give_users();
        }
        let output = bundle.run_to_its_end();
        assert!(text(&output).contains("127.0.0.1"), "{users}: {output:?}");
    }
}

#[test]
fn null_device_of_the_caller_gives_way_to_the_containers() {
    root_only!();
    use std::process::Stdio;
    for own_users in [false, true] {
        let bundle = Bundle::new("null", &["/bin/sh", "-c", LOOK]);
        bundle.edit(|config| config["root"]["readonly"] = json!(false));
        if own_users {
            bundle.give_users();
        }
        let path = bundle.path.display().to_string();
        let look = |arguments: &[&str], others: fn() -> Stdio| {
            let mut command = bundle.command(arguments);
            let status = command.stdout(others()).stderr(others()).status().expect("it runs");
            assert!(status.success(), "{arguments:?}");
            let seen = std::fs::read_to_string(bundle.rootfs("seen")).expect("it wrote");
            std::fs::remove_file(bundle.rootfs("seen")).expect("removed");
            seen
        };
        let run = ["run", "--bundle", &path, &bundle.id];
        assert_eq!(look(&run, Stdio::null), "0 own\n1 own\n2 own\n", "{own_users}");
        assert_eq!(look(&run, Stdio::piped), "0 own\n1 foreign\n2 foreign\n", "{own_users}");
        bundle.start_script("exec sleep 1000");
        let exec = ["exec", &bundle.id, "/bin/sh", "-c", LOOK];
        assert_eq!(look(&exec, Stdio::null), "0 own\n1 own\n2 own\n", "exec {own_users}");
        assert_eq!(look(&exec, Stdio::piped), "0 own\n1 foreign\n2 foreign\n", "exec {own_users}");
        bundle.succeed(&["delete", "--force", &bundle.id]);
        bundle.assert_clean("at the end");
    }
}

/// What lies at its path may be any device, whose opening alone would do something.
#[test]
fn other_thing_in_the_place_of_the_null_device_is_not_opened() {
    root_only!();
    use std::process::Stdio;
    let bundle = Bundle::new("no-null", &[]);
    bundle.edit(|config| {
        config["root"]["readonly"] = json!(false);
        config["linux"]["devices"] = json!([{ "path": "/dev/null", "type": "p" }]);
    });
    // Whoever opens a pipe to write waits until somebody opens it to read.
    bundle.start_script(&format!("{LOOK}\necho >/ready; echo >/dev/null; echo >/opened; exec sleep 1000"));
    support::eventually("the writer", || bundle.rootfs("ready").exists());
    let mut command = bundle.command(&["exec", &bundle.id, "/bin/sh", "-c", LOOK]);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it runs");
    assert!(status.success());
    let seen = std::fs::read_to_string(bundle.rootfs("seen")).expect("both wrote");
    assert_eq!(seen, "0 foreign\n1 foreign\n2 foreign\n".repeat(2));
    assert!(!bundle.rootfs("opened").exists());
    bundle.succeed(&["exec", &bundle.id, "/bin/busybox", "head", "-n", "1", "/dev/null"]);
    support::eventually("the writer's turn", || bundle.rootfs("opened").exists());
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("at the end");
}
