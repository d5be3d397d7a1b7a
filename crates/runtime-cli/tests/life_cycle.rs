//! The binary as callers use it, on the real kernel.

mod support;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};
use support::{Bundle, errors, root_only, text};

#[test]
fn exit_code_of_run_is_the_programs() {
    root_only!();
    let bundle = Bundle::new("code", &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    let output = bundle.run();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!((text(&output), errors(&output)), ("out\n".to_owned(), "err\n".to_owned()));
    bundle.assert_clean("after the run");
}

/// Whoever puts the record in its place: a program that runs can be found and ended. Of the host's directory it has nothing.
#[test]
fn no_program_runs_that_is_not_on_record() {
    root_only!();
    let bundle = Bundle::new("recorded", &[]);
    let state = bundle.path.join("state");
    std::fs::create_dir(&state).expect("made");
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700)).expect("its mode");
    let script = format!(
        "cat /record/{0}/state.json; echo; ls /record/{0}; for number in /proc/self/fd/*; do readlink $number; done",
        bundle.id
    );
    bundle.edit(|config| {
        config["process"]["args"] = json!(["sh", "-c", script]);
        let mount = json!({"destination": "/record", "type": "bind", "source": state, "options": ["rbind"]});
        config["mounts"].as_array_mut().expect("a list").push(mount);
    });
    let output = bundle.run();
    let said = text(&output);
    let mut lines = said.lines();
    let record: Value = serde_json::from_str(lines.next().unwrap_or_default()).expect("the record");
    assert!(record["pid"].as_i64().is_some_and(|pid| pid > 0), "{output:?}");
    assert_eq!(lines.next(), Some("state.json"), "and no draft: {output:?}");
    assert!(lines.all(|line| !line.contains("state")), "{output:?}");
    bundle.assert_clean("after the run");
}

#[test]
fn standard_input_reaches_the_program() {
    root_only!();
    let bundle = Bundle::new("stdin", &["cat"]);
    let path = bundle.path.display().to_string();
    let mut child = bundle
        .command(&["run", "-b", &path, &bundle.id])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    child.stdin.take().expect("a pipe").write_all(b"hello\n").expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(text(&output), "hello\n");
}

#[test]
fn programs_that_cannot_run_are_told_apart() {
    root_only!();
    let bundle = Bundle::new("programs", &[]);
    let file = |name: &str, content: &str, mode: u32| {
        let path = bundle.path.join("rootfs/bin").join(name);
        std::fs::write(&path, content).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("its mode");
    };
    file("plain", "#!/bin/sh\n", 0o644);
    file("script", "#!/opt/missing\n", 0o755);
    file("junk", "junk", 0o755);
    let cases = [
        ("missing", "executable file not found in $PATH", ""),
        ("/bin/missing", "no such file or directory", ""),
        ("/bin/plain", "its mode is 0644", ""),
        ("/bin", "is a directory", ""),
        (
            "/bin/script",
            "no such file or directory: its interpreter `/opt/missing` does not exist",
            "exec /bin/script: no such file or directory\n",
        ),
        ("/bin/junk", "exec format error", "exec /bin/junk: exec format error\n"),
    ];
    let (path, log) = (bundle.path.display().to_string(), bundle.path.join("log"));
    for (program, message, line) in cases {
        bundle.edit(|config| config["process"]["args"] = json!([program]));
        let output = bundle.runtime(&["--log", &log.display().to_string(), "run", "-b", &path, &bundle.id]);
        // As runc's; callers read the text.
        assert_eq!(output.status.code(), Some(1), "{program}: {output:?}");
        let logged = std::fs::read_to_string(&log).expect("a log");
        assert!(logged.contains(message), "{program}: {logged}");
        assert!(logged.contains("from config.json: process.args"), "{logged}");
        match line {
            "" => assert!(errors(&output).contains(message), "{program}: {}", errors(&output)),
            // The kernel refused it, when its streams were the program's already.
            line => assert_eq!(errors(&output), line),
        }
        std::fs::remove_file(&log).expect("removed");
        bundle.assert_clean(program);
    }
}

#[test]
fn run_leaves_a_container_alone_that_got_its_id_meanwhile() {
    root_only!();
    let bundle = Bundle::new("successor", &["sleep", "1000"]);
    let (id, path) = (bundle.id.as_str(), bundle.path.display().to_string());
    let mut first = bundle.command(&["run", "-b", &path, id]).stdin(Stdio::null()).spawn().expect("it runs");
    support::eventually("it runs", || text(&bundle.runtime(&["state", id])).contains("\"running\""));
    // Until then it holds the container's lock.
    let state = bundle.path.join("state").join(id);
    let descriptors = format!("/proc/{}/fd", first.id());
    support::eventually("it has let go of the container", || {
        let entries = std::fs::read_dir(&descriptors).expect("it runs");
        !entries.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|link| link == state))
    });
    let pid = rustix::process::Pid::from_child(&first);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stopped");
    bundle.succeed(&["delete", "--force", id]);
    let again = bundle.create();
    assert!(again.status.success(), "{again:?}");
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("it goes on");
    assert_eq!(first.wait().expect("it ends").code(), Some(137));
    assert_eq!(bundle.status(), "created");
    bundle.succeed(&["delete", "--force", id]);
    bundle.assert_clean("after both");
}

#[test]
fn created_container_waits_starts_runs_and_is_removed() {
    root_only!();
    let bundle = Bundle::new("life", &["sleep", "1000"]);
    let id = bundle.id.as_str();
    let pid_file = bundle.path.join("pid");
    let (path, pid_path) = (bundle.path.display().to_string(), pid_file.display().to_string());
    let created = bundle.quiet(&["create", "--bundle", &path, "--pid-file", &pid_path, id]);
    assert!(created.status.success(), "{created:?}");
    let state: Value = serde_json::from_str(&bundle.succeed(&["state", id])).expect("JSON");
    assert_eq!(state["status"], "created");
    assert_eq!(state["id"], id);
    assert_eq!(state["bundle"], path);
    assert_eq!(state["pid"].to_string(), std::fs::read_to_string(&pid_file).expect("a pid file"));
    let again = bundle.create();
    assert_eq!(again.status.code(), Some(1));
    assert!(errors(&again).contains("a container of this name exists"), "{}", errors(&again));

    bundle.succeed(&["start", id]);
    assert_eq!(bundle.status(), "running");
    assert!(!bundle.runtime(&["start", id]).status.success());
    assert!(!bundle.runtime(&["delete", id]).status.success());
    assert_eq!(bundle.succeed(&["list", "--quiet"]).trim(), id);
    let pids: Vec<u64> =
        serde_json::from_str(&bundle.succeed(&["ps", id, "--format", "json"])).expect("JSON");
    assert_eq!(pids, [state["pid"].as_u64().expect("a number")]);

    bundle.succeed(&["pause", id]);
    assert_eq!(bundle.status(), "paused");
    bundle.succeed(&["resume", id]);
    assert_eq!(bundle.status(), "running");

    bundle.succeed(&["kill", id, "SIGKILL"]);
    bundle.wait_for("stopped");
    let late = bundle.runtime(&["kill", id, "TERM"]);
    assert!(errors(&late).contains("container not running"), "callers look for these words: {late:?}");
    bundle.succeed(&["delete", id]);
    bundle.assert_clean("after delete");
    let gone = bundle.runtime(&["state", id]);
    assert!(errors(&gone).contains("container does not exist"), "callers look for these words: {gone:?}");
}

#[test]
fn kill_succeeds_although_the_group_is_gone() {
    root_only!();
    let bundle = Bundle::new("groupless", &["sleep", "1000"]);
    let created = bundle.create();
    assert!(created.status.success(), "{created:?}");
    bundle.succeed(&["start", &bundle.id]);
    let state: Value = serde_json::from_str(&bundle.succeed(&["state", &bundle.id])).expect("JSON");
    let pid = state["pid"].to_string();
    // As systemd removes a scope with its last process, which is sooner than the kill is over, or not.
    let groups = bundle.groups();
    assert!(!groups.is_empty(), "it has groups");
    for group in groups {
        let above = group.parent().expect("a group above").join("cgroup.procs");
        std::fs::write(above, &pid).expect("moved");
        support::eventually("its group empty", || std::fs::remove_dir(&group).is_ok());
    }
    bundle.succeed(&["kill", &bundle.id, "KILL"]);
    bundle.wait_for("stopped");
    bundle.succeed(&["delete", &bundle.id]);
    bundle.assert_clean("after all");
}

#[test]
fn failed_exec_is_told_by_start() {
    root_only!();
    let bundle = Bundle::new("late", &["/bin/script"]);
    let path = bundle.path.join("rootfs/bin/script");
    std::fs::write(&path, "#!/opt/missing\n").expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    assert!(bundle.create().status.success());
    let log = bundle.path.join("log");
    let output = bundle.runtime(&["--log", &log.display().to_string(), "start", &bundle.id]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(errors(&output), "exec /bin/script: no such file or directory\n");
    let logged = std::fs::read_to_string(&log).expect("a log");
    assert!(logged.contains("its interpreter `/opt/missing` does not exist"), "{logged}");
    assert!(logged.contains("from config.json: process.args"), "{logged}");
    // It tells before it ends.
    bundle.wait_for("stopped");
    bundle.succeed(&["delete", &bundle.id]);
    bundle.assert_clean("after delete");
}

#[test]
fn exec_runs_in_the_containers_world() {
    root_only!();
    let bundle = Bundle::new("exec", &["sleep", "1000"]);
    let id = bundle.id.as_str();
    assert!(bundle.create().status.success());
    bundle.succeed(&["exec", id, "true"]);
    assert_eq!(bundle.status(), "created", "a program beside it does not start it");
    bundle.succeed(&["start", id]);
    let script = "id -u; id -g; hostname; echo $COLOR; ps | grep -c sleep; exit 9";
    let output = bundle.runtime(&["exec", "-u", "5:6", "-e", "COLOR=red", id, "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    assert!(text(&output).starts_with("5\n6\nrabbitc\nred\n"), "{output:?}");
    assert_eq!(bundle.runtime(&["exec", id, "missing"]).status.code(), Some(255));
    assert_eq!(bundle.runtime(&["exec", id, "/bin"]).status.code(), Some(255));
    assert_eq!(bundle.runtime(&["exec", "-u", "4294967296", id, "true"]).status.code(), Some(1));

    let process = bundle.path.join("process.json");
    let document = json!({ "args": ["sh", "-c", "exit 4"], "cwd": "/", "user": { "uid": 0, "gid": 0 } });
    std::fs::write(&process, document.to_string()).expect("written");
    let output = bundle.runtime(&["exec", "--process", &process.display().to_string(), id]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");

    let pid_file = bundle.path.join("exec-pid");
    let detached = bundle.quiet(&[
        "exec",
        "--detach",
        "--pid-file",
        &pid_file.display().to_string(),
        id,
        "sleep",
        "1000",
    ]);
    assert!(detached.status.success(), "{detached:?}");
    let pid: i32 = std::fs::read_to_string(&pid_file).expect("a pid file").parse().expect("a number");
    let pids: Vec<i32> = serde_json::from_str(&bundle.succeed(&["ps", id, "-f", "json"])).expect("JSON");
    assert!(pids.contains(&pid) && pids.len() == 2, "{pids:?} and {pid}");
    bundle.succeed(&["delete", "--force", id]);
    bundle.assert_clean("after delete --force");
}

#[test]
fn container_has_a_terminal_of_the_callers_size() {
    root_only!();
    use std::io::Read;
    let bundle = Bundle::new("terminal", &["sh", "-c", "tty; stty size; exit 3"]);
    bundle.edit(|config| config["process"]["terminal"] = json!(true));
    let outer = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY)
        .expect("a terminal");
    rustix::pty::grantpt(&outer).expect("granted");
    rustix::pty::unlockpt(&outer).expect("unlocked");
    let name = rustix::pty::ptsname(&outer, Vec::new()).expect("a name").into_string().expect("text");
    let inner = std::fs::File::options().read(true).write(true).open(name).expect("opened");
    let size = rustix::termios::Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&inner, size).expect("a size");
    let path = bundle.path.display().to_string();
    let mut child = bundle
        .command(&["run", "--bundle", &path, &bundle.id])
        .stdin(inner.try_clone().expect("a copy"))
        .stdout(inner.try_clone().expect("a copy"))
        .stderr(Stdio::inherit())
        .spawn()
        .expect("it runs");
    drop(inner);
    // Read first: what waits in a terminal is lost with its last user.
    let mut output = Vec::new();
    // EIO is how a terminal without users ends.
    let _ = std::fs::File::from(outer).read_to_end(&mut output);
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(3));
    let output = String::from_utf8_lossy(&output).replace('\r', "");
    assert!(output.contains("/dev/pts/0\n33 99\n"), "{output:?}");
    bundle.assert_clean("after the run");
}

#[test]
fn terminal_is_sent_to_the_console_socket() {
    root_only!();
    use std::io::Read;
    use std::os::fd::AsFd;
    let bundle = Bundle::new("socket", &["sh", "-c", "tty; test -t 0 && test -t 2 && echo terminal"]);
    std::os::unix::fs::symlink("busybox", bundle.path.join("rootfs/bin/test")).expect("a link");
    bundle.edit(|config| config["process"]["terminal"] = json!(true));
    // Short, whatever the temporary directory's path: a socket's address has 108 bytes.
    let socket = bundle.path.join("c");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let (path, socket) = (bundle.path.display().to_string(), socket.display().to_string());
    let created = bundle.quiet(&["create", "--bundle", &path, "--console-socket", &socket, &bundle.id]);
    assert!(created.status.success(), "{created:?}");
    let (connection, _) = listener.accept().expect("a connection");
    let outer = runtime::sync::receive_descriptor(connection.as_fd()).expect("received").expect("a terminal");
    bundle.succeed(&["start", &bundle.id]);
    let mut output = Vec::new();
    // EIO is how a terminal without users ends.
    let _ = std::fs::File::from(outer).read_to_end(&mut output);
    assert_eq!(String::from_utf8_lossy(&output).replace('\r', ""), "/dev/pts/0\nterminal\n");
    bundle.wait_for("stopped");
    bundle.succeed(&["delete", &bundle.id]);
    bundle.assert_clean("after delete");
}

#[test]
fn signals_are_passed_on_to_the_program() {
    root_only!();
    let script = "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let bundle = Bundle::new("signals", &["sh", "-c", script]);
    let path = bundle.path.display().to_string();
    let mut child = bundle
        .command(&["run", "--bundle", &path, &bundle.id])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut lines, &mut line).expect("a line");
    assert_eq!(line, "ready\n");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("sent");
    std::io::BufRead::read_line(&mut lines, &mut line).expect("a line");
    assert_eq!(line, "ready\ntold\n");
    assert_eq!(child.wait().expect("it ends").code(), Some(3));
    bundle.assert_clean("after the run");
}

#[test]
fn terminal_without_a_holder_is_refused_before_anything_is_made() {
    root_only!();
    let bundle = Bundle::new("holder", &["true"]);
    bundle.edit(|config| config["process"]["terminal"] = json!(true));
    let output = bundle.create();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("--console-socket"), "{}", errors(&output));
    bundle.assert_clean("after the refusal");
}

#[test]
fn user_namespace_maps_root_to_another_user() {
    root_only!();
    let bundle =
        Bundle::new("users", &["sh", "-c", "id -u; cat /proc/self/uid_map; touch /dev/shm/x && echo made"]);
    // Nobody inside owns the root file system, so nothing can be made in it.
    for directory in ["proc", "dev", "sys"] {
        std::fs::create_dir(bundle.path.join("rootfs").join(directory)).expect("made");
    }
    bundle.map_users(100_000);
    let output = bundle.run();
    assert!(output.status.success(), "{output:?}");
    let words: Vec<&str> =
        std::str::from_utf8(&output.stdout).expect("text").split_ascii_whitespace().collect();
    assert_eq!(words, ["0", "0", "100000", "65536", "made"]);
}

#[test]
fn root_and_mounts_are_what_the_configuration_says() {
    root_only!();
    let script = "touch /x 2>/dev/null || echo read-only; touch /scratch/x && echo scratch; cat /data/file /one; \
                  touch /data/x 2>/dev/null || echo data is read-only";
    let bundle = Bundle::new("mounts", &["sh", "-c", script]);
    for directory in ["rootfs/scratch", "rootfs/data", "source"] {
        std::fs::create_dir(bundle.path.join(directory)).expect("made");
    }
    for file in ["rootfs/one", "source/file"] {
        std::fs::write(bundle.path.join(file), "content\n").expect("written");
    }
    bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("a list");
        mounts.push(json!({ "destination": "/scratch", "type": "tmpfs", "options": ["size=64k"] }));
        mounts.push(json!({ "destination": "/data", "source": "source", "options": ["rbind", "ro"] }));
        mounts.push(json!({ "destination": "/one", "source": "source/file", "options": ["bind"] }));
    });
    let output = bundle.run();
    assert_eq!(text(&output), "read-only\nscratch\ncontent\ncontent\ndata is read-only\n", "{output:?}");
    bundle.assert_clean("after the run");
}

#[test]
fn want_of_memory_is_named() {
    root_only!();
    let bundle = Bundle::new("memory", &["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]);
    bundle.edit(|config| {
        config["linux"]["resources"]["memory"] = json!({ "limit": 8_000_000, "swap": 8_000_000 });
    });
    let output = bundle.run();
    if errors(&output).contains("no hierarchy offers the controller") {
        println!("skipped: needs the memory controller");
        return;
    }
    assert_eq!(output.status.code(), Some(137), "{output:?}");
    assert!(errors(&output).contains("killed for want of memory"), "{}", errors(&output));
}

#[test]
fn joined_pid_namespace_shows_its_other_processes() {
    root_only!();
    let holder = Bundle::new("holder", &["sleep", "1000"]);
    assert!(holder.create().status.success());
    holder.succeed(&["start", &holder.id]);
    let pid = holder.pid();
    let bundle = Bundle::new("joining", &["sh", "-c", "ps | grep -c '[s]leep 1000'; exit 6"]);
    bundle.edit(|config| {
        config["linux"]["namespaces"] = json!([
            { "type": "mount" },
            { "type": "pid", "path": format!("/proc/{pid}/ns/pid") },
            { "type": "network", "path": format!("/proc/{pid}/ns/net") },
            { "type": "ipc", "path": format!("/proc/{pid}/ns/ipc") },
            { "type": "uts", "path": format!("/proc/{pid}/ns/uts") },
        ]);
        config["hostname"] = json!("");
    });
    let output = bundle.run();
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert_eq!(text(&output), "1\n");
    bundle.assert_clean("after the run");
    assert_eq!(holder.status(), "running");
}

#[test]
fn id_may_be_longer_than_a_socket_path() {
    root_only!();
    let mut bundle = Bundle::new("long", &["sleep", "1000"]);
    bundle.id = format!("{}-{}", bundle.id, "x".repeat(127 - bundle.id.len()));
    assert!(bundle.create().status.success());
    bundle.succeed(&["start", &bundle.id]);
    assert_eq!(bundle.status(), "running");
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("after delete");
}

#[test]
fn descriptors_of_the_runtime_never_reach_the_program() {
    root_only!();
    let bundle = Bundle::new("descriptors", &["sh", "-c", "cd /proc/self/fd; echo *"]);
    let output = bundle.run();
    // The shell itself has the directory open that it lists.
    assert_eq!(text(&output).trim(), "0 1 2 3", "{output:?}");
    let path = bundle.path.display().to_string();
    let refused = bundle.runtime(&["run", "--preserve-fds", "1", "-b", &path, &bundle.id]);
    assert!(errors(&refused).contains("descriptor 3 is not open"), "{}", errors(&refused));
}

#[test]
fn log_has_the_form_that_callers_read() {
    root_only!();
    let bundle = Bundle::new("log", &["true"]);
    let log = bundle.path.join("log").display().to_string();
    let output = bundle.runtime(&["--log", &log, "--log-format", "json", "state", "nobody"]);
    assert_eq!(output.status.code(), Some(1));
    let line = std::fs::read_to_string(&log).expect("a log");
    let entry: Value = serde_json::from_str(&line).expect("one line of JSON");
    assert_eq!(entry["level"], "error");
    assert!(entry["msg"].as_str().expect("text").contains("container does not exist"), "{entry}");
    assert!(entry["time"].as_str().expect("text").ends_with('Z'), "{entry}");
}

#[test]
fn systemd_that_is_not_there_is_refused_in_words() {
    if std::path::Path::new("/run/systemd/system").exists() {
        println!("skipped: systemd runs here; the guest's suite shows what it makes");
        return;
    }
    let bundle = Bundle::new("no-systemd", &["/bin/true"]);
    let arguments = ["--systemd-cgroup", "run", &bundle.id];
    let output = bundle.command(&arguments).current_dir(&bundle.path).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).starts_with("error: --systemd-cgroup: "), "{}", errors(&output));
    assert!(errors(&output).contains("cgroupfs"), "{}", errors(&output));
    bundle.assert_clean("after the refusal");
}

#[test]
fn version_has_the_lines_that_callers_parse() {
    let output = std::process::Command::new(support::BINARY).arg("--version").output().expect("it runs");
    let text = text(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], format!("rabbitc-runtime version {}", env!("CARGO_PKG_VERSION")));
    let commit = option_env!("RABBITC_COMMIT").map(|commit| format!("commit: {commit}"));
    assert_eq!(lines[1..], commit.as_deref().into_iter().chain(["spec: 1.3.0"]).collect::<Vec<_>>());
}

#[test]
fn program_answers_by_the_name_that_it_was_called_by() {
    let directory = std::env::temp_dir().join(format!("rabbitc-called-{}", std::process::id()));
    std::fs::create_dir(&directory).expect("made");
    let link = directory.join("another");
    std::os::unix::fs::symlink(support::BINARY, &link).expect("linked");
    let say =
        |words: &[&str]| text(&std::process::Command::new(&link).args(words).output().expect("it runs"));
    let (version, help, manual) = (say(&["--version"]), say(&["--help"]), say(&["exec", "--help"]));
    std::fs::remove_dir_all(&directory).expect("removed");
    assert!(version.starts_with("another version "), "{version}");
    assert!(help.contains("\n   another - ") && help.contains("Usage: another ["), "{help}");
    assert!(manual.contains("\n   another exec - ") && manual.contains("Usage: another exec"), "{manual}");
    assert!(manual.contains("\n       another exec [OPTIONS] --process"), "{manual}");
}
