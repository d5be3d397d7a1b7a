//! Verbs that act on containers that run: exec, kill, pause, unpause, top, stats, port, wait, update.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Background, Host, Ran, binary, eventually, finish, has_controller, has_program};

/// A verb on the containers of a host.
fn command(host: &Host, verb: &str, arguments: &[&str]) -> Command {
    let mut command = host.command(binary());
    command.arg(verb).arg(format!("--runroot={}", host.state().display()));
    command.arg(format!("--root={}", host.directory().join("store").display())).args(arguments);
    command
}

fn verb(host: &Host, verb: &str, arguments: &[&str]) -> Ran {
    finish(command(host, verb, arguments).spawn().expect("nsenter runs"), None)
}

/// Runs the verb, and feeds it.
fn fed(host: &Host, of: &str, arguments: &[&str], input: &str) -> Ran {
    let mut command = command(host, of, arguments);
    let child = command.stdin(Stdio::piped()).spawn().expect("nsenter runs");
    finish(child, Some(input.as_bytes().to_vec()))
}

/// A container that runs until its input ends, and its id.
fn container(host: &Host, flags: &[&str]) -> (Background, String) {
    let all = [&["--network=none"], flags].concat();
    let before = host.containers();
    let running = host.background(&all, "up", "read -r end");
    let id = host.containers().into_iter().find(|id| !before.contains(id));
    (running, id.expect("it is recorded"))
}

/// The same with an overlay, so that nothing that is copied into it stays.
fn throw_away(host: &Host, flags: &[&str]) -> (Background, String) {
    let all = [&["--network=none", "--overlay"], flags].concat();
    let mut command = host.script(&all, "echo up; read -r end");
    let mut running = Background::of(command.stdin(Stdio::piped()).spawn().expect("nsenter runs"));
    running.read_exact(&mut [0; 3]);
    (running, host.containers().remove(0))
}

const ACCOUNTS: &str = "mkdir -p \"$0/etc\"; echo 'root:x:0:0::/root:/bin/sh
alice:x:1000:1001::/home/alice:/bin/sh' >\"$0/etc/passwd\"; echo 'alice:x:1001:
staff:x:50:alice
audio:x:29:' >\"$0/etc/group\"";

fn with_accounts(host: &Host) {
    host.set_up(&ACCOUNTS.replace("$0", &host.rootfs().display().to_string()));
}

fn without_accounts(host: &Host) {
    std::fs::remove_dir_all(host.rootfs().join("etc")).expect("it is there");
}

#[test]
fn exec_runs_a_program_beside_the_containers_own_with_its_code() {
    let Some(host) = Host::new() else { return };
    let (running, id) = container(&host, &["--hostname=inside", "--env=KEPT=1"]);
    let exec = |arguments: &[&str]| verb(&host, "exec", &[&[id.as_str()], arguments].concat());
    assert_eq!(exec(&["hostname"]).text(), "inside");
    assert!(exec(&["ps"]).text().lines().any(|line| line.trim_start().starts_with("1 ")), "in its pids");
    assert_eq!(exec(&["sh", "-c", "exit 7"]).code(), 7);
    assert_eq!(exec(&["sh", "-c", "kill -9 $$"]).code(), 137);
    exec(&["nosuch"]).refuses(127, &["nosuch", "executable file not found"]);
    exec(&["/bin"]).refuses(126, &["is a directory"]);
    verb(&host, "exec", &["-w", "/nosuch", &id, "true"]).refuses(127, &["/nosuch"]);
    verb(&host, "exec", &["-w", "tmp", &id, "true"]).refuses(126, &["--workdir", "absolute"]);
    assert_eq!(verb(&host, "exec", &["-w", "/bin", &id, "env"]).text().lines().last(), Some("HOME=/root"));
    let seen = verb(&host, "exec", &["-e", "A=1", "-e", "KEPT=2", &id, "env"]);
    assert!(seen.text().contains("\nKEPT=2") && seen.text().contains("A=1"), "{seen:?}");
    // As with docker, flags behind the container are the program's.
    assert_eq!(exec(&["echo", "-e", "x"]).text(), "x");
    assert_eq!(verb(&host, "exec", &[&id[..4], "echo", "by its beginning"]).text(), "by its beginning");
    assert_eq!(verb(&host, "exec", &["-l", "echo", "the latest"]).text(), "the latest");
    let behind = host
        .command(binary())
        .args(["container", "exec", &format!("--runroot={}", host.state().display()), &id, "true"])
        .status();
    assert!(behind.is_ok_and(|status| status.success()), "behind `container`, too");
    assert_eq!(running.release().code(), 0);
    host.assert_nothing_left();
}

#[test]
fn exec_passes_input_on_only_where_it_is_asked_to() {
    let Some(host) = Host::new() else { return };
    let (running, id) = container(&host, &[]);
    assert_eq!(fed(&host, "exec", &[&id, "cat"], "typed").text(), "");
    assert_eq!(fed(&host, "exec", &["-i", &id, "cat"], "typed").text(), "typed");
    let seen = fed(&host, "exec", &["-t", &id, "sh", "-c", "tty && stty size && echo $TERM"], "");
    let lines: Vec<&str> = seen.text().lines().map(str::trim).collect();
    assert!(lines[0].starts_with("/dev/pts/") && lines[1..] == ["24 80", "xterm"], "{seen:?}");
    assert!(verb(&host, "exec", &[&id, "sh", "-c", "echo out; echo err >&2"]).stderr.contains("err"));
    running.release();
    host.assert_nothing_left();
}

#[test]
fn exec_is_who_the_containers_own_files_say() {
    let Some(host) = Host::new() else { return };
    with_accounts(&host);
    let (running, id) = container(&host, &["--group-add=audio"]);
    let seen = |flags: &[&str], script: &str| {
        verb(&host, "exec", &[flags, &[id.as_str(), "sh", "-c", script]].concat()).text().to_owned()
    };
    let script = "echo $(id -u) $(id -g) $(id -G) $HOME";
    assert_eq!(seen(&[], script), "0 0 0 29 /root");
    assert_eq!(seen(&["-u", "alice"], script), "1000 1001 1001 29 50 /home/alice");
    assert_eq!(seen(&["-u", "1000:staff"], script), "1000 50 50 29 /home/alice");
    assert_eq!(seen(&["-u", "7:8"], script), "7 8 8 29 /");
    verb(&host, "exec", &["-u", "bob", &id, "true"]).refuses(126, &["--user", "no user `bob`"]);
    running.release();
    without_accounts(&host);
    host.assert_nothing_left();
}

#[test]
fn exec_has_the_rights_of_the_container_and_all_of_them_where_it_is_asked_for() {
    let Some(host) = Host::new() else { return };
    let script = "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status";
    let own = host.inside(&["--network=none", "--cap-drop=KILL"], script).text().to_owned();
    let (running, id) = container(&host, &["--cap-drop=KILL"]);
    assert_eq!(verb(&host, "exec", &[&id, "sh", "-c", script]).text(), own);
    let of_user = verb(&host, "exec", &["-u", "1000:1000", &id, "sh", "-c", script]);
    assert!(of_user.text().contains("CapEff:\t0000000000000000"), "{of_user:?}");
    let all = verb(&host, "exec", &["--privileged", &id, "grep", "CapEff", "/proc/self/status"]);
    let bits = all.text().split_ascii_whitespace().last().and_then(|bits| u64::from_str_radix(bits, 16).ok());
    assert!(bits.is_some_and(|bits| bits & 1 << 21 != 0), "CAP_SYS_ADMIN: {all:?}");
    running.release();
    host.assert_nothing_left();
}

#[test]
fn limit_of_tasks_holds_for_what_exec_starts() {
    let Some(host) = Host::new() else { return };
    if !has_controller("pids", "pids") {
        crate::support::skip("no controller of pids");
        return;
    }
    let (running, id) = container(&host, &["--pids-limit=4"]);
    let script = "for i in 1 2 3 4 5 6; do sleep 5 & done; wait";
    let ran = verb(&host, "exec", &[&id, "sh", "-c", script]);
    assert!(ran.stderr.contains("fork"), "{ran:?}");
    running.release();
    host.assert_nothing_left();
}

#[test]
fn detached_program_runs_on_with_a_terminal_and_without() {
    let Some(host) = Host::new() else { return };
    let (running, id) = container(&host, &[]);
    assert_eq!(
        verb(&host, "exec", &["-d", &id, "sh", "-c", "sleep 0.2; echo $(readlink /proc/self/fd/0) >/plain"])
            .text(),
        ""
    );
    assert_eq!(
        verb(&host, "exec", &["-dt", &id, "sh", "-c", "sleep 0.2; tty >/typed; sleep 1000"]).text(),
        ""
    );
    verb(&host, "exec", &["-d", &id, "nosuch"]).refuses(127, &["nosuch"]);
    let read = |name: &str| std::fs::read_to_string(host.rootfs().join(name)).unwrap_or_default();
    eventually("both have run on", || {
        read("plain") == "/dev/null\n" && read("typed").starts_with("/dev/pts/")
    });
    for name in ["plain", "typed"] {
        std::fs::remove_file(host.rootfs().join(name)).expect("it is there");
    }
    running.release();
    host.assert_nothing_left();
}

#[test]
fn signal_that_ends_exec_ends_its_program() {
    let Some(host) = Host::new() else { return };
    let (running, id) = container(&host, &[]);
    let mut exec = Background::of(
        command(&host, "exec", &[&id, "sh", "-c", "echo up >/sign; exec sleep 1000"]).spawn().expect("runs"),
    );
    let sign = host.rootfs().join("sign");
    eventually("it runs", || sign.exists());
    std::fs::remove_file(&sign).expect("it is there");
    exec.signal("TERM");
    assert_eq!(exec.finish().code(), 143);
    assert!(!verb(&host, "exec", &[&id, "ps"]).text().contains("sleep 1000"));
    running.release();
    host.assert_nothing_left();
}

#[test]
fn containers_that_are_not_there_or_not_up_are_refused_in_dockers_words() {
    let Some(host) = Host::new() else { return };
    let (running, id) = container(&host, &[]);
    for of in ["exec", "kill", "pause", "unpause", "top", "port", "wait"] {
        let words: &[&str] = if of == "exec" { &["nosuch", "true"] } else { &["nosuch"] };
        verb(&host, of, words).refuses(1, &["no such container"]);
    }
    verb(&host, "exec", &[]).refuses(125, &["needs the name or id"]);
    verb(&host, "exec", &[&id]).refuses(125, &["must provide a non-empty command"]);
    verb(&host, "exec", &["--bogus", &id, "true"]).refuses(125, &["no flag `--bogus`"]);
    assert_eq!(verb(&host, "pause", &[&id]).text(), id);
    verb(&host, "exec", &[&id, "true"]).refuses(1, &["is paused, unpause the container before exec"]);
    verb(&host, "pause", &[&id]).refuses(1, &["is already paused"]);
    assert_eq!(verb(&host, "unpause", &[&id]).text(), id);
    verb(&host, "unpause", &[&id]).refuses(1, &["is not paused"]);
    running.release();
    host.assert_nothing_left();
}

#[test]
fn one_that_is_kept_is_waited_for_by_its_record_and_runs_nothing_more() {
    let Some(host) = Host::new() else { return };
    let store = format!("--root={}", host.directory().join("store").display());
    let ran = host.run(&[
        "run",
        &store,
        &host.rootfs_flag(),
        "--overlay",
        "--rm=false",
        "--network=none",
        "/bin/sh",
        "-c",
        "exit 5",
    ]);
    assert_eq!(ran.code(), 5);
    let kept = crate::support::names(&host.directory().join("store/containers"));
    let id = kept.into_iter().find(|name| !name.starts_with('.')).expect("one");
    assert_eq!(verb(&host, "wait", &[&id, &id[..6]]).text(), "5\n5");
    for of in ["kill", "pause", "top"] {
        verb(&host, of, &[&id]).refuses(1, &["is not running"]);
    }
    verb(&host, "exec", &[&id, "true"]).refuses(1, &["is not running"]);
    assert!(verb(&host, "stats", &["-a", "--no-stream"]).text().contains("0B / 0B"));
    assert_eq!(
        verb(&host, "stats", &["--no-stream"]).text().lines().count(),
        1,
        "it is not among those that run"
    );
    host.assert_nothing_left();
}

#[test]
fn kill_sends_the_signal_that_is_named_to_each() {
    let Some(host) = Host::new() else { return };
    let script = "trap 'echo one >>/got' USR1; echo up >/ready; while :; do sleep 0.05; done";
    let (ready, got) = (host.rootfs().join("ready"), host.rootfs().join("got"));
    let mut running = Background::of(host.script(&["--network=none"], script).spawn().expect("runs"));
    eventually("it runs", || ready.exists());
    let id = host.containers().remove(0);
    for (times, signal) in ["USR1", "SIGUSR1", "10", "-USR1"].into_iter().enumerate() {
        assert_eq!(verb(&host, "kill", &["-s", signal, &id]).text(), id);
        eventually("it came", || {
            std::fs::read_to_string(&got).unwrap_or_default().lines().count() == times + 1
        });
    }
    verb(&host, "kill", &["-s", "BAD", &id]).refuses(125, &["BAD"]);
    let some = verb(&host, "kill", &["nosuch", &id]);
    assert_eq!((some.code(), some.stdout.trim()), (1, id.as_str()), "{some:?}");
    assert_eq!(running.finish().code(), 137);
    for file in [ready, got] {
        std::fs::remove_file(file).expect("it is there");
    }
    host.assert_nothing_left();
}

#[test]
fn all_are_paused_let_go_and_killed_at_once() {
    let Some(host) = Host::new() else { return };
    let (mut first, one) = container(&host, &[]);
    let (mut second, other) = container(&host, &[]);
    let sorted = |ran: Ran| {
        let mut lines: Vec<String> = ran.text().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let mut both = vec![one.clone(), other];
    both.sort();
    verb(&host, "pause", &[&one]);
    assert_eq!(sorted(verb(&host, "pause", &["-a"])).len(), 1, "one stands still already");
    assert_eq!(sorted(verb(&host, "unpause", &["--all"])), both);
    verb(&host, "pause", &[&one]);
    assert_eq!(sorted(verb(&host, "kill", &["-a"])), both, "also the one that is paused");
    assert_eq!((first.finish().code(), second.finish().code()), (137, 137));
    host.assert_nothing_left();
}

#[test]
fn wait_tells_how_one_ended_that_nothing_is_kept_of() {
    let Some(host) = Host::new() else { return };
    let (running, id) = container(&host, &[]);
    let mut waiting = Background::of(command(&host, "wait", &[&id]).spawn().expect("runs"));
    let mut paused = Background::of(
        command(&host, "wait", &["--condition=paused", "-i", "10ms", &id]).spawn().expect("runs"),
    );
    std::thread::sleep(Duration::from_millis(100));
    verb(&host, "pause", &[&id]);
    assert_eq!(paused.finish().text(), "-1");
    verb(&host, "unpause", &[&id]);
    assert!(!waiting.has_ended());
    assert_eq!(running.release().code(), 0);
    let waited = waiting.finish();
    // Before Linux 6.15 nobody else learns it.
    assert!(waited.stdout == "0\n" || waited.stderr.contains("nobody knows"), "{waited:?}");
    assert_eq!(verb(&host, "wait", &["--ignore", &id]).text(), "-1");
    host.assert_nothing_left();
}

#[test]
fn top_shows_dockers_columns_or_those_that_are_named() {
    let Some(host) = Host::new() else { return };
    if !has_program("ps") {
        return;
    }
    with_accounts(&host);
    let (running, id) = container(&host, &[]);
    let docker = verb(&host, "top", &[&id]);
    assert!(docker.text().starts_with("UID                 PID                 PPID"), "{docker:?}");
    assert!(docker.text().contains("/bin/sh -c"), "{docker:?}");
    let own = verb(&host, "top", &[&id, "-eo", "pid,comm"]);
    assert_eq!(own.text().lines().count(), 2, "its own processes alone: {own:?}");
    verb(&host, "exec", &["-d", "-u", "alice", &id, "sleep", "1000"]).text();
    let named = verb(&host, "top", &[&id, "user", "ppid", "comm,args"]);
    let lines: Vec<Vec<&str>> = named.text().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["USER", "PPID", "COMMAND", "COMMAND"]);
    assert_eq!(lines[1][..3], ["root", "0", "sh"]);
    assert_eq!(lines[2], ["alice", "0", "sleep", "sleep", "1000"]);
    verb(&host, "top", &[&id, "-o", "comm"]).refuses(1, &["couldn't find PID field"]);
    running.release();
    without_accounts(&host);
    host.assert_nothing_left();
}

#[test]
fn stats_shows_what_a_container_uses_in_dockers_columns() {
    let Some(host) = Host::new() else { return };
    let (running, id) = container(&host, &["--memory=64m"]);
    let table = verb(&host, "stats", &["--no-stream", &id]);
    let lines: Vec<&str> = table.text().lines().collect();
    assert_eq!(
        lines[0].split("  ").filter(|title| !title.is_empty()).map(str::trim).collect::<Vec<_>>(),
        ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"]
    );
    assert!(lines[1].starts_with(&id[..12]) && lines[1].ends_with('1'), "{table:?}");
    if has_controller("memory", "memory") {
        assert!(lines[1].contains(" / 64MiB"), "{table:?}");
    }
    let json = verb(&host, "stats", &["--no-stream", "--format=json"]);
    let row: serde_json::Value = serde_json::from_str(json.text()).expect("JSON");
    assert_eq!(row["Container"], id.as_str());
    assert_eq!(verb(&host, "stats", &["--no-stream", "--format={{.PIDs}} {{.NetIO}}"]).text(), "1 0B / 0B");
    running.release();
    host.assert_nothing_left();
}

#[test]
fn port_tells_where_each_port_is_published_also_those_that_were_chosen() {
    let Some(host) = Host::new() else { return };
    let mut running =
        host.background(&["-p", "8080:80", "-p", "127.0.0.1:53:53/udp", "-p", "90"], "up", "read -r end");
    let id = host.containers().remove(0);
    let port = |arguments: &[&str]| verb(&host, "port", &[&[id.as_str()], arguments].concat());
    assert_eq!(port(&["80"]).text(), "0.0.0.0:8080");
    assert_eq!(port(&["53/udp"]).text(), "127.0.0.1:53");
    port(&["53"]).refuses(1, &["no public port '53/tcp' published"]);
    let chosen = port(&["90"]).text().to_owned();
    assert_eq!(
        port(&[]).text(),
        format!("53/udp -> 127.0.0.1:53\n80/tcp -> 0.0.0.0:8080\n90/tcp -> {chosen}")
    );
    assert!(verb(&host, "ps", &[]).text().contains(&format!("{chosen}->90/tcp")), "ps knows it, too");
    running.write(b"\n");
    running.release();
    host.assert_nothing_left();
}

#[test]
fn update_changes_what_it_names() {
    let Some(host) = Host::new() else { return };
    if !has_controller("pids", "pids") || !has_controller("memory", "memory") {
        crate::support::skip("no controllers of pids and memory");
        return;
    }
    let (running, id) = container(&host, &["--memory=64m", "--pids-limit=50"]);
    assert_eq!(verb(&host, "update", &["--memory=96m", &id]).text(), id);
    let usage = || verb(&host, "stats", &["--no-stream", "--format={{.MemUsage}}"]).text().to_owned();
    assert!(usage().ends_with(" / 96MiB"), "{}", usage());
    verb(&host, "update", &["--pids-limit=3", &id]).text();
    let forked = verb(&host, "exec", &[&id, "sh", "-c", "for i in 1 2 3 4; do sleep 1 & done; wait"]);
    assert!(forked.stderr.contains("fork"), "{forked:?}");
    assert!(usage().ends_with(" / 96MiB"), "the other limit stays");
    verb(&host, "update", &[&id]).refuses(125, &["one or more flags"]);
    verb(&host, "update", &["--ulimit=nofile=4", &id]).refuses(125, &["--ulimit"]);
    running.release();
    host.assert_nothing_left();
}

#[test]
fn exec_takes_no_longer_than_a_start() {
    let Some(host) = Host::new() else { return };
    let (running, id) = container(&host, &[]);
    let begun = Instant::now();
    (0..5).for_each(|_| assert_eq!(verb(&host, "exec", &[&id, "true"]).code(), 0));
    // Beside nsenter, on a machine that does other things: this finds only waits that somebody put in.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    running.release();
    host.assert_nothing_left();
}

/// The shell of the host, with `$1` the program, `$2` and so on its flags for the containers of this host.
fn copying(host: &Host, id: &str, script: &str) -> Ran {
    let mut command = host.command("sh");
    let places =
        format!("--runroot={} --root={}", host.state().display(), host.directory().join("store").display());
    let cp = format!("cp_() {{ {} cp {places} \"$@\"; }}; C={id}; ", binary().display());
    let inside = format!("inside() {{ {} exec {places} -u 0 $C \"$@\"; }}; ", binary().display());
    let work = host.directory().join("work");
    std::fs::create_dir_all(&work).expect("made");
    command.current_dir(&work).args(["-c", &format!("{cp}{inside}cd {}; {script}", work.display())]);
    finish(command.spawn().expect("nsenter runs"), None)
}

#[test]
fn files_and_directories_are_copied_both_ways_by_dockers_rules() {
    let Some(host) = Host::new() else { return };
    let (running, id) = throw_away(&host, &["--user=7:8"]);
    let script = "mkdir -p d/s; echo in >d/s/f; echo file >f; chmod 640 f; chown 3:4 f
        cp_ f $C:/new && cp_ f $C:/bin && cp_ -a f $C:/owned && cp_ d $C:/d && cp_ d $C:/d && cp_ d/. $C:/d && inside sh -c \
        'cat /new /bin/f; ls -ln /new /owned; cat /d/s/f /d/d/s/f' &&
        cp_ $C:/d/. content && cp_ $C:/d there && cp_ $C:/new . && cat content/s/f there/d/s/f new && ls -ln new
        for to in /no/such /nosuch/ /new/; do cp_ f $C:$to 2>&1; echo $?; done | grep -v hint; cp_ d $C:/new 2>&1 | grep -v hint";
    let ran = copying(&host, &id, script);
    let columns = |line: &str| line.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = ran
        .stdout
        .lines()
        .map(|line| if line.starts_with('-') { columns(line) } else { line.to_owned() })
        .collect();
    assert_eq!(
        lines,
        [
            "file",
            "file",
            "-rw-r----- 1 3 4",
            "-rw-r----- 1 7 8",
            "in",
            "in",
            "in",
            "in",
            "file",
            "-rw-r----- 1 3 4",
            "error: copy to `/no/such`: no such directory",
            "1",
            "error: copy to `/nosuch/`: no such directory",
            "1",
            "error: copy to `/new/`: a part of it is no directory",
            "1",
            "error: copy to `/new`: cannot copy directory: there is something else",
        ],
        "{ran:?}"
    );
    running.release();
    host.assert_nothing_left();
}

#[test]
fn archives_are_copied_on_streams() {
    let Some(host) = Host::new() else { return };
    if !has_program("tar") {
        return;
    }
    let (running, id) = throw_away(&host, &[]);
    let script =
        "mkdir -p d; echo in >d/f; tar cz d | cp_ - $C:/bin && inside cat /bin/d/f && cp_ $C:/bin/d - | tar t
        tar c d | cp_ - $C:/nosuch 2>&1; echo no archive at all | cp_ - $C:/bin 2>&1; echo $?
        cp_ $C:/nosuch - 2>&1 | head -1; cp_ f f 2>&1 | head -1";
    let ran = copying(&host, &id, script);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[..3], ["in", "d/", "d/f"], "{ran:?}");
    assert!(lines[3].contains("destination must be a directory when copying from stdin"), "{ran:?}");
    assert!(ran.stdout.contains("source must be a (compressed) tar archive"), "{ran:?}");
    assert!(ran.stdout.contains("copy `/nosuch`: could not find the file"), "{ran:?}");
    assert!(ran.stdout.contains("must specify at least one container source"), "{ran:?}");
    running.release();
    host.assert_nothing_left();
}

#[test]
fn no_link_of_a_container_leads_a_copy_out_of_it() {
    let Some(host) = Host::new() else { return };
    let (running, id) = throw_away(&host, &["--pid=host"]);
    let script = "echo of the host >secret; echo hostile >f; W=$(pwd)
        inside sh -c \"ln -s $W/secret /s; ln -s ../../../../../../../../..$W /w; ln -s /proc/1/root$W /p; ln -s /proc/1/cwd /c\"
        for link in w p c; do cp_ f $C:/$link/got 2>/dev/null; cp_ f $C:/$link 2>/dev/null; done
        cp_ -L $C:/s out 2>/dev/null; cp_ $C:/w/secret out 2>/dev/null; cp_ $C:/p/secret out 2>/dev/null
        cp_ $C:/s as-link; readlink as-link; ls";
    let ran = copying(&host, &id, script);
    let work = host.directory().join("work");
    assert_eq!(ran.text(), format!("{}/secret\nas-link\nf\nsecret", work.display()));
    running.release();
    host.assert_nothing_left();
}

#[test]
fn what_is_mounted_in_a_container_is_copied_and_ids_are_those_of_its_users() {
    let Some(host) = Host::new() else { return };
    let volume = format!("-v={}:/volume", host.directory().join("work").display());
    std::fs::create_dir(host.directory().join("work")).expect("made");
    let (running, id) = throw_away(&host, &["--userns=auto", "--tmpfs=/memory", &volume]);
    let script = "echo file >f; cp_ f $C:/memory/ && cp_ f $C:/volume/through && cp_ f $C:/own && inside sh -c \
        'ls -ln /memory/f /own; echo inside >/own; chown 9:9 /own' && cat through && cp_ $C:/own back && cp_ $C:/own $C:/again && \
        inside cat /again && ls -ln back; inside sh -c 'test -d /proc/1 && echo proc'; cp_ $C:/proc p && ls p | wc -l";
    let ran = copying(&host, &id, script);
    let lines: Vec<String> = ran
        .stdout
        .lines()
        .map(|line| line.split_whitespace().take(4).collect::<Vec<_>>().join(" "))
        .collect();
    let own = "-rw-r--r-- 1 0 0";
    assert_eq!(lines, [own, own, "file", "inside", "-rw-r--r-- 1 9 9", "proc", "0"], "{ran:?}");
    running.release();
    host.assert_nothing_left();
}

#[test]
fn kinds_are_replaced_by_overwrite_alone() {
    let Some(host) = Host::new() else { return };
    let (running, id) = throw_away(&host, &[]);
    let script = "echo file >x; inside mkdir -p /bin/x/y; cp_ x $C:/bin 2>&1 | head -1; cp_ --overwrite x $C:/bin && inside cat /bin/x
        rm x; mkdir x; cp_ x $C:/bin 2>&1 | head -1; cp_ --overwrite x $C:/bin && inside ls -d /bin/x/";
    let ran = copying(&host, &id, script);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].contains("cannot overwrite directory with non-directory"), "{ran:?}");
    assert!(lines[2].contains("cannot overwrite non-directory with directory"), "{ran:?}");
    assert_eq!((lines[1], lines[3]), ("file", "/bin/x/"), "{ran:?}");
    running.release();
    host.assert_nothing_left();
}

#[test]
fn files_of_a_container_that_has_ended_are_copied_too() {
    let Some(host) = Host::new() else { return };
    let store = format!("--root={}", host.directory().join("store").display());
    let ran = host.run(&[
        "run",
        &store,
        &host.rootfs_flag(),
        "--overlay",
        "--rm=false",
        "--network=none",
        "/bin/sh",
        "-c",
        "echo kept >/kept; rm /bin/seq",
    ]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    let kept = crate::support::names(&host.directory().join("store/containers"));
    let id = kept.into_iter().find(|name| name != ".names").expect("it is kept");
    let script = "cp_ $C:/kept . && cat kept && echo new >new && cp_ new $C:/bin/new && cp_ $C:/bin/new back && cat back
        cp_ $C:/bin/seq . 2>&1 | head -1; cp_ $C:/bin/busybox . && test -x busybox && echo whole";
    let ran = copying(&host, &id, script);
    assert_eq!(ran.text(), "kept\nnew\nerror: copy `/bin/seq`: could not find the file\nwhole", "{ran:?}");
    assert!(!host.rootfs().join("bin/new").exists(), "it is the container's own");
    let changes = verb(&host, "diff", &[&id]);
    assert!(changes.text().contains("A /bin/new") && changes.text().contains("D /bin/seq"), "{changes:?}");
    host.assert_nothing_left();
}
