//! Whose namespaces a container is in, by the kernel's own names of them.

use crate::support::{Background, Host, eventually};

/// The kernel's name of a namespace that a process of this host is in.
fn of_process(host: &Host, pid: &str, file: &str) -> String {
    host.shell(&format!("readlink /proc/{pid}/ns/{file}"))
}

/// The same of the container with these flags.
fn inside(host: &Host, flags: &[&str], file: &str) -> String {
    host.inside(flags, &format!("readlink /proc/self/ns/{file}")).text().to_owned()
}

/// A container that waits, and its id and pid.
fn waiting(host: &Host, flags: &[&str], script: &str) -> (Background, String, String) {
    let container = host.background(flags, "sign", &format!("{script}; read end"));
    let id = host.containers().into_iter().next().expect("it is recorded");
    let state = std::fs::read_to_string(host.state().join("containers").join(&id).join("state.json"));
    let state: serde_json::Value = serde_json::from_str(&state.expect("its record")).expect("JSON");
    (container, id, state["pid"].to_string())
}

const NONE: &str = "--network=none";

#[test]
fn every_namespace_is_its_own_unless_the_hosts_is_asked_for() {
    let Some(host) = Host::new() else { return };
    let holder = host.pid().to_string();
    for (file, flag) in [
        ("pid", "--pid=host"),
        ("ipc", "--ipc=host"),
        ("uts", "--uts=host"),
        ("cgroup", "--cgroupns=host"),
        ("net", "--network=host"),
    ] {
        let network = if file == "net" { "--rm" } else { NONE };
        let hosts = of_process(&host, &holder, file);
        assert_eq!(inside(&host, &[flag, network], file), hosts, "{flag}");
        assert_ne!(inside(&host, &[NONE], file), hosts, "without {flag}");
    }
    host.assert_nothing_left();
}

#[test]
fn processes_of_the_host_are_seen_and_its_files_stay_hidden() {
    let Some(host) = Host::new() else { return };
    let script = format!(
        "test -d /proc/{} && echo seen; test $$ -ne 1 && echo not first; wc -c < /proc/timer_list; \
         echo x 2>/dev/null > /proc/sys/kernel/hostname; echo $?",
        host.pid()
    );
    assert_eq!(host.inside(&[NONE, "--pid=host"], &script).text(), "seen\nnot first\n0\n1");
}

#[test]
fn whatever_the_program_left_ends_with_it_among_the_hosts_processes() {
    let Some(host) = Host::new() else { return };
    let script = "(busybox setsid sleep 987 >/dev/null 2>&1 &) ; sleep 0.1; exit 3";
    let ran = host.inside(&[NONE, "--pid=host"], script);
    assert_eq!(ran.code(), 3, "{ran:?}");
    host.assert_nothing_left();
    // Where the command itself is killed, the next one finds them by the cgroup.
    let mut container = host.background(
        &[NONE, "--pid=host"],
        "sign",
        "(busybox setsid sleep 987 >/dev/null 2>&1 &); sleep 987 >/dev/null 2>&1",
    );
    container.signal("KILL");
    container.finish();
    host.inside(&[NONE], "true");
    host.assert_nothing_left();
}

#[test]
fn program_among_the_hosts_processes_obeys_signals_like_any_other() {
    let Some(host) = Host::new() else { return };
    let mut container = host.background(&[NONE, "--pid=host"], "sign", "exec sleep 987");
    container.signal("TERM");
    assert_eq!(container.finish().code(), 128 + 15);
}

#[test]
fn host_name_is_the_hosts_and_can_not_be_given() {
    let Some(host) = Host::new() else { return };
    let name = host.shell("uname -n");
    let ran = host.inside(&[NONE, "--uts=host"], "hostname; cat /etc/hostname; echo $HOSTNAME");
    assert_eq!(ran.text(), format!("{name}\n{name}\n{name}"));
    // Who is on the host's network has its name, unless another is given.
    let script = "hostname; cat /etc/hostname; echo $HOSTNAME; grep -c \"\t$HOSTNAME$\" /etc/hosts";
    assert_eq!(host.inside(&["--network=host"], script).text(), format!("{name}\n{name}\n{name}\n1"));
    assert_eq!(host.inside(&["--network=host", "-h", "own"], script).text(), "own\nown\nown\n1");
    assert_eq!(host.inside(&[NONE], script).text(), "rabbitc\nrabbitc\nrabbitc\n1");
    let ran = host.inside(&[NONE, "--uts=host", "--hostname=other"], "true");
    assert_eq!(ran.code(), 125);
    assert!(ran.stderr.contains("--hostname: the uts namespace is not the container's own"), "{ran:?}");
    assert_eq!(host.shell("uname -n"), name);
}

#[test]
fn shared_memory_of_the_host_comes_with_its_ipc_namespace() {
    let Some(host) = Host::new() else { return };
    host.set_up("mount -t tmpfs shm /dev/shm; echo of the host > /dev/shm/rabbitc-word");
    let ran =
        host.inside(&[NONE, "--ipc=host"], "cat /dev/shm/rabbitc-word; echo back > /dev/shm/rabbitc-back");
    assert_eq!(ran.text(), "of the host");
    assert_eq!(host.shell("cat /dev/shm/rabbitc-back"), "back");
    assert_eq!(host.inside(&[NONE], "ls /dev/shm").text(), "");
    host.set_up("umount /dev/shm");
}

#[test]
fn container_without_shared_memory_has_an_ipc_namespace_all_the_same() {
    let Some(host) = Host::new() else { return };
    let hosts = of_process(&host, &host.pid().to_string(), "ipc");
    let ran = host.inside(&[NONE, "--ipc=none"], "test -e /dev/shm; echo $?; readlink /proc/self/ns/ipc");
    let lines: Vec<&str> = ran.text().lines().collect();
    assert_eq!(lines[0], "1");
    assert_ne!(lines[1], hosts);
}

#[test]
fn namespaces_of_another_container_are_joined() {
    let Some(host) = Host::new() else { return };
    let script = "echo word > /dev/shm/word; touch /dev/mqueue/queue";
    let (first, id, pid) = waiting(&host, &[NONE, "--hostname=first"], script);
    for (flag, file) in [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--network", "net")] {
        let joined = format!("{flag}=container:{}", &id[..5]);
        let network = if file == "net" { "--rm" } else { NONE };
        assert_eq!(inside(&host, &[&joined, network], file), of_process(&host, &pid, file), "{flag}");
        // The others stay its own.
        let other = if file == "uts" { "ipc" } else { "uts" };
        assert_ne!(inside(&host, &[&joined, network], other), of_process(&host, &pid, other), "{flag}");
    }
    let whole = format!("container:{id}");
    let ran = host.inside(&[NONE, "--uts", &whole], "hostname; echo $HOSTNAME; cat /etc/hostname");
    assert_eq!(ran.text(), "first\nfirst\nfirst");
    let ran =
        host.inside(&[NONE, "--ipc", &whole], "cat /dev/shm/word; ls /dev/mqueue; echo more > /dev/shm/more");
    assert_eq!(ran.text(), "word\nqueue");
    assert_eq!(host.shell(&format!("cat /proc/{pid}/root/dev/shm/more")), "more");
    // Its processes are seen, and neither is it the first nor does its end end them.
    let ran = host.inside(&[NONE, "--pid", &whole], "test $$ -ne 1 && cat /proc/1/comm; kill -0 1; echo $?");
    assert_eq!(ran.text(), "sh\n0");
    let ran = host.inside(&["--network", &whole], "cat /etc/hosts");
    assert!(ran.text().contains("\tfirst") && ran.text().contains("\trabbitc"), "{ran:?}");
    assert_eq!(first.release().code(), 0);
    host.assert_nothing_left();
}

#[test]
fn network_of_another_container_is_the_same_network() {
    let Some(host) = Host::new() else { return };
    let (first, id, _) = waiting(&host, &["--container-ip=172.19.0.77"], "true");
    let ran = host.inside(&["--network", &format!("container:{id}")], "ip -o -4 address show eth0");
    assert!(ran.text().contains("172.19.0.77/16"), "{ran:?}");
    assert_eq!(first.release().code(), 0);
    host.assert_nothing_left();
}

#[test]
fn processes_that_joined_end_with_the_container_that_they_joined() {
    let Some(host) = Host::new() else { return };
    let (first, id, _) = waiting(&host, &[NONE], "true");
    let joined = format!("--pid=container:{id}");
    let mut second = host.background(&[NONE, &joined], "second", "sleep 987");
    assert_eq!(first.release().code(), 0);
    // The kernel ends a pid namespace with its first process.
    assert_eq!(second.finish().code(), 137);
    host.assert_nothing_left();
}

#[test]
fn terminal_works_in_the_pid_namespace_of_another() {
    let Some(host) = Host::new() else { return };
    let (first, id, _) = waiting(&host, &[NONE], "true");
    let rootfs = host.rootfs_flag();
    let line = format!(
        "{} --state-dir={} {rootfs} {NONE} --pid=container:{id} -- /bin/sh -c 'tty; echo in the foreground > /dev/tty'",
        crate::support::binary().display(),
        host.state().display()
    );
    if !crate::support::has_program("script") {
        return;
    }
    let mut command = host.command("script");
    command.args(["-q", "-e", "-c", &line, "/dev/null"]);
    let ran = crate::support::finish(command.spawn().expect("nsenter runs"), None);
    assert!(ran.stdout.contains("/dev/pts/0") && ran.stdout.contains("in the foreground"), "{ran:?}");
    assert_eq!(first.release().code(), 0);
}

#[test]
fn containers_that_can_not_be_joined_are_named() {
    let Some(host) = Host::new() else { return };
    let ran = host.inside(&[NONE, "--pid=container:abc"], "true");
    assert_eq!(ran.code(), 125);
    assert!(ran.stderr.contains("--pid: find the container `abc`"), "{ran:?}");
    assert!(ran.stderr.contains("no container runs"), "{ran:?}");
    let (first, id, pid) = waiting(&host, &[NONE], "true");
    let ran = host.inside(&[NONE, "--ipc=container:zz"], "true");
    assert!(ran.stderr.contains(&format!("there are `{id}`")), "{ran:?}");
    // A record whose process has ended, while its supervisor has not noticed yet, is not a running container.
    let mut stopped = first;
    host.set_up(&format!("kill -STOP {}", stopped.pid()));
    host.set_up(&format!("kill -KILL {pid}"));
    eventually("it has ended", || {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    });
    let ran = host.inside(&[NONE, &format!("--uts=container:{id}")], "true");
    assert!(ran.stderr.contains(&format!("container `{id}` is stopped")), "{ran:?}");
    stopped.signal("CONT");
    assert_eq!(stopped.finish().code(), 137);
    host.assert_nothing_left();
}

#[test]
fn namespaces_of_files_are_joined() {
    let Some(host) = Host::new() else { return };
    let holder = host.pid().to_string();
    for (flag, file) in [("--uts", "uts"), ("--ipc", "ipc"), ("--network", "net"), ("--pid", "pid")] {
        let path = format!("ns:/proc/{holder}/ns/{file}");
        let network = if file == "net" { "--rm" } else { NONE };
        assert_eq!(inside(&host, &[flag, &path, network], file), of_process(&host, &holder, file), "{flag}");
    }
    // Nothing is known of files that would go with such a network, so they are the container's own.
    let network = format!("--network=ns:/proc/{holder}/ns/net");
    let flags = [&network, "--dns=192.0.2.53", "--add-host=other:192.0.2.1"];
    let ran = host.inside(&flags, "grep other /etc/hosts; grep nameserver /etc/resolv.conf");
    assert_eq!(ran.text(), "192.0.2.1\tother\nnameserver 192.0.2.53");
    host.inside(&[NONE, "--ipc=ns:/etc/hostname"], "true")
        .refuses(125, &["--ipc: ", "is not a namespace", "as `/proc/PID/ns/ipc`"]);
    for (path, reason) in [("/etc/hostname", "is not a namespace"), ("/run/netns/none-such", "no such file")]
    {
        let given = format!("--network=ns:{path}");
        host.inside(&[&given], "true").refuses(125, &["--network: ", path, reason, "`/run/netns/NAME`"]);
    }
    host.assert_nothing_left();
}

#[test]
fn namespace_of_another_kind_is_refused_by_its_flag_before_the_start() {
    let Some(host) = Host::new() else { return };
    let holder = host.pid();
    for (flag, wanted) in
        [("--uts", "uts"), ("--ipc", "ipc"), ("--network", "network"), ("--pid", "pid"), ("--userns", "user")]
    {
        let given = format!("{flag}=ns:/proc/{holder}/ns/mnt");
        let network = if flag == "--network" { "--rm" } else { NONE };
        let told = format!("`/proc/{holder}/ns/mnt` is a namespace of kind `mount`, and not `{wanted}`");
        host.inside(&[network, &given], "true").refuses(125, &[flag, &told, "/proc/PID/ns/"]);
    }
    host.inside(&["--network=ns:blue"], "true").refuses(125, &["--network", "/run/netns/NAME"]);
    assert!(!host.state().exists() || host.containers().is_empty());
    host.assert_nothing_left();
}

#[test]
fn clocks_since_boot_are_shifted_for_the_program_itself() {
    let Some(host) = Host::new() else { return };
    let hosts = of_process(&host, &host.pid().to_string(), "time");
    let up = |flags: &[&str]| -> (f64, String, String) {
        let ran = host.inside(flags, "cat /proc/uptime; readlink /proc/self/ns/time; echo $$");
        let lines: Vec<&str> = ran.text().lines().collect();
        let seconds = lines[0].split(' ').next().and_then(|text| text.parse().ok());
        (seconds.expect("a number"), lines[1].to_owned(), lines[2].to_owned())
    };
    let (before, namespace, _) = up(&[NONE]);
    assert_eq!(namespace, hosts, "shared unless asked for");
    let (after, namespace, first) = up(&[NONE, "--time-offset=boottime=1000000,monotonic=5"]);
    assert!(after - before > 900_000.0, "{before} to {after}");
    assert_ne!(namespace, hosts);
    assert_eq!(first, "1", "it is still the first of its pid namespace");
    let (same, namespace, first) = up(&[NONE, "--timens=private"]);
    assert!(same - before < 900_000.0 && namespace != hosts && first == "1");
    let ran = host.inside(&[NONE, "--timens=host", "--time-offset=boottime=1"], "true");
    assert!(ran.stderr.contains("--time-offset: "), "{ran:?}");
    host.assert_nothing_left();
}

#[test]
fn namespaces_of_the_host_can_be_shared_with_users_of_its_own() {
    let Some(host) = Host::new() else { return };
    let holder = host.pid().to_string();
    for (flag, file) in [("--pid=host", "pid"), ("--ipc=host", "ipc"), ("--uts=host", "uts")] {
        let flags = [NONE, "--userns=auto", "--overlay", flag];
        assert_eq!(inside(&host, &flags, file), of_process(&host, &holder, file), "{flag}");
    }
    let flags = [NONE, "--userns=auto", "--overlay", "--time-offset=boottime=1000000"];
    let ran = host.inside(&flags, "cat /proc/uptime");
    let seconds: f64 = ran.text().split(' ').next().and_then(|text| text.parse().ok()).expect("a number");
    assert!(seconds > 1_000_000.0, "{ran:?}");
    // What belongs to others can't be joined from there, and the remedy is said.
    let ran = host
        .inside(&[NONE, "--userns=auto", "--overlay", &format!("--uts=ns:/proc/{holder}/ns/uts")], "true");
    assert_eq!(ran.code(), 125);
    assert!(ran.stderr.contains("join the other's user namespace too"), "{ran:?}");
    host.assert_nothing_left();
}

#[test]
fn view_of_cgroups_begins_at_its_own_group_unless_shared() {
    let Some(host) = Host::new() else { return };
    let script = "cat /proc/self/cgroup";
    assert!(!host.inside(&[NONE], script).text().contains("rabbitc-"));
    assert!(host.inside(&[NONE, "--cgroupns=host"], script).text().contains("/rabbitc-"));
    let ran = host.inside(&[NONE, "--cgroupns=host"], "mkdir /sys/fs/cgroup/pids/x 2>/dev/null; echo $?");
    assert_eq!(ran.text(), "1");
}

#[test]
fn unknown_modes_are_refused_with_the_known_ones() {
    let Some(host) = Host::new() else { return };
    for (flag, said) in [
        ("--pid=hosts", "did you mean `host`?"),
        ("--ipc=shared", "private, shareable, none, host, container:ID, ns:PATH"),
        ("--uts=none", "private, host, container:ID, ns:PATH"),
        ("--cgroupns=container:x", "private, host"),
        ("--timens=ns:/x", "host, private"),
        ("--net=container:", "bridge, pasta, none, host, cni:NAME, container:ID, ns:PATH"),
        ("--time-offset=realtime=3", "monotonic=SECONDS"),
    ] {
        let ran = host.inside(&[flag], "true");
        assert_eq!(ran.code(), 125, "{flag}");
        assert!(ran.stderr.contains(said), "{flag}: {ran:?}");
    }
    host.assert_nothing_left();
}

#[test]
fn domain_name_is_the_containers_own() {
    let Some(host) = Host::new() else { return };
    let before = std::fs::read_to_string("/proc/sys/kernel/domainname").expect("procfs");
    let ran = host.inside(&[NONE, "--domainname=warren.example"], "cat /proc/sys/kernel/domainname");
    assert_eq!(ran.text(), "warren.example");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/domainname").expect("procfs"), before);
    host.run(&[&host.rootfs_flag(), NONE, "--domainname=a b"]).refuses(125, &["--domainname", "`a b`"]);
    host.run(&[&host.rootfs_flag(), NONE, "--uts=host", "--domainname=a"]).refuses(125, &["--domainname"]);
}

#[test]
fn what_is_shared_outlives_the_container_that_it_was_shared_by() {
    let Some(host) = Host::new() else { return };
    let (first, id, pid) = waiting(&host, &["--network-name=rabbitc0"], "echo word > /dev/shm/word");
    let joined = format!("container:{id}");
    let namespaces = ["net", "ipc"].map(|file| of_process(&host, &pid, file));
    let flags = ["--network", &joined, "--ipc", &joined];
    let script = "read end; readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; cat /dev/shm/word; \
                  ip -oneline -4 address show eth0 | wc -l; ip link show lo | grep -c UP";
    let second = host.background(&flags, "second", script);
    assert_eq!(first.release().code(), 0);
    let ran = second.release();
    let [net, ipc] = &namespaces;
    assert_eq!((ran.code(), ran.text()), (0, format!("{net}\n{ipc}\nword\n1\n1").as_str()), "{ran:?}");
    host.assert_nothing_left();
}
