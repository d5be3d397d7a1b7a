//! Containers of an ordinary user: each test makes one, in a mount namespace with an /etc of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Background, Host, Ran, binary, eventually, finish, has_program, names, skip};

/// A number that no account of a distribution has.
const UID: u32 = 47_113;
/// Where the ids begin that it may map.
const FIRST: u32 = 1_878_982_656;

/// A host with an ordinary user, who has a root file system and sub-ids.
struct User {
    host: Host,
}

impl User {
    fn new() -> Option<User> {
        let mut host = Host::new()?;
        if !["setpriv", "newuidmap", "newgidmap"].into_iter().all(has_program) {
            return None;
        }
        let script = format!(
            "mkdir own state session home; mount -t tmpfs -o mode=755 tmpfs own; cd own; \
             mkdir upper work bin bin-work; mount -t overlay -o lowerdir=/etc,upperdir=upper,workdir=work none /etc; \
             echo 'tess:x:{UID}:{UID}::/:/bin/sh' >>/etc/passwd; echo 'tess:x:{UID}:' >>/etc/group; \
             echo 'tess:{FIRST}:65536' >/etc/subuid; echo 'tess:{FIRST}:65536' >/etc/subgid; \
             cd ..; chmod 700 state session; chown -R {UID}:{UID} rootfs state session home"
        );
        host.set_up(&format!("cd {}; {script}", host.directory().display()));
        host.accept_mounts();
        Some(User { host })
    }

    fn session(&self) -> PathBuf {
        self.host.directory().join("session")
    }

    /// A program of this user.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.host.command("setpriv");
        command.args([format!("--reuid={UID}"), format!("--regid={UID}")]);
        command.args(["--clear-groups", "--"]).arg(program);
        command.env("XDG_RUNTIME_DIR", self.session());
        command
    }

    fn rabbitc(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(binary());
        command.arg(format!("--state-dir={}", self.host.state().display())).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        finish(self.rabbitc(arguments).spawn().expect("nsenter runs"), None)
    }

    /// Arguments for a script in the user's root file system.
    fn arguments<'a>(&'a self, flags: &[&'a str], rootfs: &'a str, script: &'a str) -> Vec<&'a str> {
        let mut arguments = vec![rootfs];
        arguments.extend(flags);
        arguments.extend(["--", "/bin/sh", "-c", script]);
        arguments
    }

    /// Runs a script in a container without network.
    fn inside(&self, flags: &[&str], script: &str) -> Ran {
        let mut all = vec!["--network=none"];
        all.extend(flags);
        self.inside_as_is(&all, script)
    }

    fn inside_as_is(&self, flags: &[&str], script: &str) -> Ran {
        let rootfs = self.host.rootfs_flag();
        self.run(&self.arguments(flags, &rootfs, script))
    }

    /// Starts a container that tells by a file in its root when it runs, and ends with its standard input.
    fn background(&self, flags: &[&str]) -> Background {
        let rootfs = self.host.rootfs_flag();
        let mut command = self.rabbitc(&self.arguments(flags, &rootfs, "echo up >/up; read end; exit 0"));
        let child = command.stdin(Stdio::piped()).spawn().expect("nsenter runs");
        let sign = self.host.rootfs().join("up");
        eventually("the container runs", || std::fs::metadata(&sign).is_ok_and(|sign| sign.len() > 0));
        std::fs::remove_file(sign).expect("the sign is there");
        Background::of(child)
    }

    /// Makes a tun device that everybody may open, and a network with one neighbour behind it, who serves a page.
    fn connect(&mut self) -> Option<Neighbour> {
        if !has_program("pasta") {
            return None;
        }
        if !Path::new("/dev/net/tun").exists() {
            skip("no /dev/net/tun on this machine");
            return None;
        }
        self.host.set_up(&format!(
            "cd {}/own; mknod tun c 10 200; chmod 666 tun; mount --bind tun /dev/net/tun",
            self.host.directory().display()
        ));
        self.host.accept_mounts();
        Some(Neighbour::new(&self.host))
    }
}

/// Another machine: a network namespace at the other end of a cable, with a web server.
struct Neighbour {
    holder: Background,
}

impl Neighbour {
    fn new(host: &Host) -> Neighbour {
        let page = host.directory().join("www");
        std::fs::create_dir_all(&page).expect("made");
        std::fs::write(page.join("index.html"), "hello from outside\n").expect("written");
        let serve = format!(
            "ip link set lo up; echo up >{0}/up; read linked; ip addr add 192.0.2.2/24 dev b0; \
             ip link set b0 up; busybox httpd -p 8080 -h {0}; echo served >{0}/served; read end; \
             kill $(busybox pidof busybox)",
            page.display()
        );
        let mut command = host.command("unshare");
        command.args(["--net", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "sh", "-c", &serve]);
        let mut holder = Background::of(command.stdin(Stdio::piped()).spawn().expect("nsenter runs"));
        eventually("the neighbour is there", || page.join("up").exists());
        let pid = holder.pid();
        host.set_up(&format!(
            "ip link add a0 type veth peer name b0 netns {pid}; ip addr add 192.0.2.1/24 dev a0; \
             ip link set a0 up; ip route add default via 192.0.2.2"
        ));
        holder.write(b"linked\n");
        eventually("the neighbour serves", || page.join("served").exists());
        Neighbour { holder }
    }

    /// Takes it away, and the cable with it.
    fn leave(self, host: &Host) {
        drop(self.holder);
        host.set_up("ip link del a0 2>/dev/null || true");
    }
}

#[test]
fn root_inside_is_the_user_and_other_ids_are_its_ranges() {
    let Some(user) = User::new() else { return };
    let script = "id -u; cat /proc/self/uid_map /proc/self/gid_map; cat /proc/self/setgroups; \
                  touch /mine /other; chown 5:7 /other";
    let ran = user.inside(&[], script);
    let words: Vec<&str> = ran.text().split_whitespace().collect();
    let (uid, first) = (UID.to_string(), FIRST.to_string());
    let map = ["0", uid.as_str(), "1", "1", first.as_str(), "65536"];
    assert_eq!(words, [&["0"][..], &map[..], &map[..], &["allow"][..]].concat());
    assert_eq!(ran.stderr, "");
    let owner = |name: &str| {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(user.host.rootfs().join(name)).expect("made inside");
        (found.uid(), found.gid())
    };
    assert_eq!((owner("mine"), owner("other")), ((UID, UID), (FIRST + 4, FIRST + 6)));
    for name in ["mine", "other"] {
        std::fs::remove_file(user.host.rootfs().join(name)).expect("removed");
    }
    user.host.assert_nothing_left();
}

#[test]
fn user_without_ranges_gets_one_id_and_a_word_about_it() {
    let Some(user) = User::new() else { return };
    user.host.set_up("echo 'somebody:100000:65536' | tee /etc/subuid >/etc/subgid");
    let script = "id; cat /proc/self/setgroups; wc -l </proc/self/uid_map; test -w /dev/pts/ptmx && echo terminals; \
                  touch /mine; chown 5 /mine || echo refused; rm /mine";
    let ran = user.inside(&[], script);
    assert_eq!(ran.text(), "uid=0 gid=0\ndeny\n1\nterminals\nrefused");
    for part in ["only one user", "/etc/subuid", "tess", "usermod --add-subuids 165536-231071"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    assert_eq!(ran.stderr.matches("warning:").count(), 1, "{}", ran.stderr);
    let parts = ["--user: there is no user 1000", "/etc/subuid", "`usermod --add-subuids 165536-231071"];
    user.inside(&["-u", "1000"], "true").refuses(125, &parts);
    // Without the program the ranges do not help.
    user.host.set_up(&format!(
        "echo 'tess:{FIRST}:65536' | tee /etc/subuid >/etc/subgid; cd {}/own; \
         mount -t overlay -o lowerdir=/usr/bin,upperdir=bin,workdir=bin-work none /usr/bin; rm /usr/bin/newgidmap",
        user.host.directory().display()
    ));
    let ran = user.inside(&[], "echo runs");
    assert_eq!(ran.text(), "runs");
    for part in ["`newgidmap` is not installed", "uidmap"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
}

#[test]
fn user_can_keep_its_own_number_or_choose_all_numbers() {
    let Some(user) = User::new() else { return };
    let owner = |name: &str| {
        use std::os::unix::fs::MetadataExt;
        let path = user.host.rootfs().join(name);
        let found = std::fs::metadata(&path).expect("made inside");
        std::fs::remove_file(path).expect("removed");
        (found.uid(), found.gid())
    };
    user.host.set_up(&format!("chmod 777 {}", user.host.rootfs().display()));
    let script = "id -u; id -g; touch /mine; cat /etc/hostname; echo end";
    let ran = user.inside(&["--userns=keep-id"], script);
    assert_eq!((ran.text(), ran.stderr.as_str()), (format!("{UID}\n{UID}\nrabbitc\nend").as_str(), ""));
    assert_eq!(owner("mine"), (UID, UID));
    let ran = user.inside(&["--userns=keep-id:uid=7,gid=9"], script);
    assert_eq!(ran.text(), "7\n9\nrabbitc\nend");
    assert_eq!(owner("mine"), (UID, UID));
    // Another user than the one that is kept.
    assert_eq!(user.inside(&["--userns=keep-id", "--user=0"], script).text(), "0\n0\nrabbitc\nend");
    assert_eq!(owner("mine"), (FIRST, FIRST));
    let maps = [format!("--uidmap=0:{UID}:1"), format!("--uidmap=5:{}:2", FIRST + 10)];
    let ran = user.inside(&[&maps[0], &maps[1]], "touch /mine; chown 6 /mine; wc -l </proc/self/uid_map");
    assert_eq!(ran.text(), "2");
    assert_eq!(owner("mine"), (FIRST + 11, UID));
    user.host.set_up(&format!("chmod 755 {}", user.host.rootfs().display()));
    user.host.assert_nothing_left();
}

#[test]
fn ids_that_are_not_the_users_are_refused() {
    let Some(user) = User::new() else { return };
    user.inside(&["--uidmap=0:0:1"], "true").refuses(125, &["`0 0 1`", "newgidmap", "/etc/subgid"]);
    user.inside(&["--userns=auto"], "true").refuses(125, &["--userns", "root"]);
    user.inside(&["--userns=nomap"], "true").refuses(125, &["--userns", "nomap"]);
    user.inside(&["--userns=keep-id:uid=70000"], "true").refuses(125, &["--userns", "70000", "65536"]);
    user.host.assert_nothing_left();
}

#[test]
fn user_without_ranges_can_keep_its_number_too() {
    let Some(user) = User::new() else { return };
    user.host.set_up("echo 'somebody:100000:65536' | tee /etc/subuid >/etc/subgid");
    let ran =
        user.inside(&["--userns=keep-id"], "id -u; cat /proc/self/setgroups; touch /dev/shm/x; echo end");
    assert_eq!(ran.text(), format!("{UID}\ndeny\nend"), "{ran:?}");
    user.host.assert_nothing_left();
}

#[test]
fn user_namespace_that_the_kernel_refuses_is_named_with_a_remedy() {
    let Some(user) = User::new() else { return };
    if !has_program("strace") {
        return;
    }
    for (errno, reason) in
        [("ENOSPC", "sysctl user"), ("EUSERS", "sysctl user"), ("EPERM", "security module")]
    {
        let mut command = user.command("strace");
        let inject = format!("inject=clone3,clone:error={errno}");
        command.args(["-o", "/dev/null", "-e", "trace=clone3,clone", "-e", &inject]).arg(binary());
        command.arg(format!("--state-dir={}", user.host.state().display()));
        command.args([&user.host.rootfs_flag(), "--network=none", "--cmd=/bin/true"]);
        let ran = finish(command.spawn().expect("nsenter runs"), None);
        ran.refuses(125, &["clone the init process", reason]);
    }
    user.host.assert_nothing_left();
}

#[test]
fn settings_of_distributions_that_forbid_user_namespaces_are_named() {
    let Some(user) = User::new() else { return };
    if !has_program("strace") {
        return;
    }
    // Neither exists on every kernel: a file in its place is read as well.
    let set = |name: &str, value: u32| user.host.set_up(&format!("echo {value} >/proc/sys/kernel/{name}"));
    user.host.set_up("mount -t tmpfs -o mode=755 tmpfs /proc/sys/kernel");
    set("unprivileged_userns_clone", 0);
    let mut command = user.command("strace");
    command.args(["-o", "/dev/null", "-e", "trace=clone3,clone", "-e", "inject=clone3,clone:error=EPERM"]);
    command.arg(binary()).arg(format!("--state-dir={}", user.host.state().display()));
    command.args([&user.host.rootfs_flag(), "--network=none", "--cmd=/bin/true"]);
    let ran = finish(command.spawn().expect("nsenter runs"), None);
    ran.refuses(125, &["sysctl kernel.unprivileged_userns_clone=1"]);
    set("apparmor_restrict_unprivileged_userns", 1);
    let ran = user.inside(&[], "true");
    let parts =
        ["make a user namespace", "AppArmor", "/etc/apparmor.d/rabbitc", "flags=(unconfined)", "userns,"];
    ran.refuses(125, &parts);
    assert!(user.host.containers().is_empty());
}

#[test]
fn user_inside_of_a_container_is_told_what_around_it_refuses() {
    let Some(user) = User::new() else { return };
    let inner = format!(
        "setpriv --reuid={UID} --regid={UID} --clear-groups -- {} --state-dir={} {} --uidmap=0:{UID}:1 --network=none --cmd=/bin/true",
        binary().display(),
        // The outer one hides its own.
        user.session().join("inner").display(),
        user.host.rootfs_flag()
    );
    let outer = |flags: &[&str]| {
        let mut arguments = flags.to_vec();
        arguments.extend(["--network=none", "--", "/bin/sh", "-c", &inner]);
        let ran = user.host.run(&arguments);
        assert_eq!(ran.code(), 125, "{ran:?}");
        ran.stderr
    };
    assert!(outer(&[]).contains("a seccomp filter around this process"), "{}", outer(&[]));
    let said = outer(&["--security-opt=seccomp=unconfined"]);
    assert!(said.contains("the host hides part of its own /proc"), "{said}");
}

#[test]
fn terminal_of_a_user_is_the_containers_own() {
    let Some(user) = User::new() else { return };
    if !has_program("script") {
        return;
    }
    let line = format!(
        "{} --state-dir={} {} --network=none -- /bin/sh -c 'tty; stty size; test -c /dev/console && echo console; exit 3'",
        binary().display(),
        user.host.state().display(),
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
fn wrong_lines_of_ranges_are_named_by_file_and_number() {
    let Some(user) = User::new() else { return };
    user.host.set_up(&format!("echo 'tess:{FIRST}' >>/etc/subuid"));
    user.inside(&[], "true").refuses(125, &["line 2 of `/etc/subuid`", "three fields"]);
    user.host
        .set_up(&format!("echo 'tess:{FIRST}:65536' >/etc/subuid; echo '{UID}:{FIRST}:1' >>/etc/subgid"));
    user.inside(&[], "true").refuses(125, &["line 2 of `/etc/subgid`", "overlaps that of line 1"]);
    user.host.assert_nothing_left();
}

#[test]
fn what_keeps_newuidmap_from_working_is_named() {
    let Some(user) = User::new() else { return };
    let rootfs = user.host.rootfs_flag();
    let mut command = user.command("setpriv");
    command.arg("--no-new-privs").arg(binary()).arg(format!("--state-dir={}", user.host.state().display()));
    command.args([&rootfs, "--network=none", "--cmd=/bin/true"]);
    let ran = finish(command.spawn().expect("nsenter runs"), None);
    ran.refuses(125, &["newgidmap", "no_new_privs"]);
    user.host.assert_nothing_left();
    user.host.set_up(&format!(
        "cd {}/own; mount -t overlay -o lowerdir=/usr/bin,upperdir=bin,workdir=bin-work none /usr/bin; \
         chmod u-s /usr/bin/newgidmap; setcap -r /usr/bin/newgidmap 2>/dev/null || true",
        user.host.directory().display()
    ));
    user.inside(&[], "true").refuses(125, &["neither set-user-ID root", "chmod u+s /usr/bin/newgidmap"]);
    assert!(user.host.containers().is_empty());
}

#[test]
fn overlay_keeps_a_users_writes_off_the_directory() {
    let Some(user) = User::new() else { return };
    let ran = user.inside(
        &["--overlay"],
        "rm /bin/tail; echo x >/bin/new; chown 9 /bin/new; ls /bin | wc -l; echo y >/new",
    );
    assert_ne!(ran.text(), "0");
    assert!(user.host.rootfs().join("bin/tail").is_symlink());
    assert!(!user.host.rootfs().join("bin/new").exists() && !user.host.rootfs().join("new").exists());
    user.host.assert_nothing_left();
}

#[test]
fn root_of_the_host_is_put_together_for_a_user_and_stays_as_it_is() {
    let Some(user) = User::new() else { return };
    let name = format!("rabbitc-cli-test-{}", std::process::id());
    // A mount in a directory: no overlay may lie over that one as a whole.
    user.host.set_up(&format!(
        "mkdir {0}/own/etc; mount --bind {0}/own/etc /var/lib",
        user.host.directory().display()
    ));
    let script = format!(
        "echo a >/{name}; cat /{name}; echo b >/etc/{name}; cat /etc/{name}; head -n 1 /etc/passwd; ls -d /var/lib /var/log; \
         test -e /etc/shadow && cat /etc/shadow; ls -A /run; stat -c %u /usr"
    );
    let ran = user.run(&["--network=none", "--", "/bin/sh", "-c", &script]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{ran:?}");
    assert!(
        ran.stdout.starts_with("a\nb\nroot:") && ran.stdout.ends_with("/var/lib\n/var/log\n0\n"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("nobody") && ran.stderr.contains("secrets"), "{ran:?}");
    for directory in ["/", "/etc"] {
        assert!(!Path::new(directory).join(&name).exists(), "{directory}");
    }
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
fn program_of_a_user_is_as_confined_as_that_of_root() {
    let Some(user) = User::new() else { return };
    let script = "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; \
                  echo x >/proc/sysrq-trigger; cat /proc/keys; mount -t tmpfs tmpfs /bin; mknod /null c 1 3; \
                  test -c /dev/null && echo nodes; ls /dev/mqueue /dev/shm; echo end";
    let ran = user.inside(&[], script);
    let text = ran.text();
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "nodes", "end"] {
        assert!(text.contains(line), "{ran:?}");
    }
    let bits = text.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("shown").trim().to_owned();
    assert!(u64::from_str_radix(&bits, 16).expect("hexadecimal").count_ones() <= 11, "{bits}");
    assert!(!user.host.rootfs().join("null").exists());
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

#[test]
fn state_lies_in_the_session_and_a_place_of_somebody_else_is_refused() {
    let Some(user) = User::new() else { return };
    let rootfs = user.host.rootfs_flag();
    let run = |command: &mut Command| {
        command.args([&rootfs, "--network=none", "--cmd=/bin/true"]);
        finish(command.spawn().expect("nsenter runs"), None)
    };
    assert_eq!(run(&mut user.command(binary())).code(), 0);
    assert_eq!(names(&user.session()), ["rabbitc"]);
    user.host.set_up(&format!("mount -t tmpfs -o mode=1777 tmpfs /tmp; mkdir /tmp/rabbitc-{UID}"));
    let mut elsewhere = user.command(binary());
    // The directory of the test itself may lie below /tmp.
    elsewhere.env_remove("XDG_RUNTIME_DIR").current_dir("/");
    let ran = run(&mut elsewhere);
    ran.refuses(125, &[&format!("/tmp/rabbitc-{UID}"), "belongs to user 0"]);
}

#[test]
fn limit_that_nobody_delegated_is_refused_by_its_name() {
    let Some(user) = User::new() else { return };
    let ran = user.inside(&["--memory=64m", "--pids-limit=9"], "true");
    if ran.stderr.contains("no cgroup controller") {
        // A view of cgroups in which nobody could.
        ran.refuses(125, &["--memory"]);
    } else {
        ran.refuses(125, &["--memory, --pids-limit: no group of this user's", "permission denied"]);
    }
    // No group is missed where nothing is limited.
    assert_eq!(user.inside(&["--oom-score-adj=500"], "cat /proc/self/oom_score_adj").text(), "500");
    user.inside(&["--oom-score-adj=-500"], "true").refuses(125, &["oom"]);
    user.host.assert_nothing_left();
}

#[test]
fn network_of_the_host_is_shared_on_demand_and_sysfs_is_closed_then() {
    let Some(user) = User::new() else { return };
    let script = "ls /sys/class >/dev/null && echo shown; echo x >/sys/kernel/uevent_helper; \
                  echo 0 >/sys/fs/cgroup/cgroup.procs; grep -c ' /sys.* rw' /proc/self/mounts; readlink /proc/self/ns/net";
    let ran = user.inside_as_is(&["--network=host"], script);
    let own = std::fs::read_link(format!("/proc/{}/ns/net", user.host.pid())).expect("there");
    assert_eq!(ran.stdout, format!("shown\n0\n{}\n", own.display()), "{ran:?}");
    user.inside_as_is(&["--network=bridge"], "true").refuses(125, &["--network", "root"]);
    user.host.assert_nothing_left();
}

#[test]
fn device_that_pasta_lacks_is_named_and_only_asking_for_it_fails() {
    let Some(user) = User::new() else { return };
    if !has_program("pasta") {
        return;
    }
    user.host.set_up(&format!(
        "cd {}/own; mkdir none; mkdir -p /dev/net; mount --bind none /dev/net",
        user.host.directory().display()
    ));
    let ran = user.inside_as_is(&[], "ip -oneline link show");
    assert_eq!(ran.text().lines().count(), 1, "{ran:?}");
    for part in ["no network", "/dev/net/tun", "--network=host"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    user.inside_as_is(&["--network=pasta"], "true").refuses(125, &["--network", "/dev/net/tun"]);
}

#[test]
fn pasta_reaches_out_and_goes_with_its_container() {
    let Some(mut user) = User::new() else { return };
    let Some(neighbour) = user.connect() else { return };
    // A service of the host's loopback; 192.0.2.2 is the gateway, behind which pasta would show that by default.
    user.host.set_up(&format!("busybox httpd -p 127.0.0.1:9090 -h {}/www", user.host.directory().display()));
    let script = "wget -qO- http://192.0.2.2:8080/; ip -oneline -4 addr show eth0 | wc -l; \
                  for host in 127.0.0.1 192.0.2.1 192.0.2.2; do \
                  busybox timeout 3 wget -qO- http://$host:9090/ 2>/dev/null && echo reached $host; done; exit 4";
    for flags in [&[][..], &["--network=pasta"]] {
        let ran = user.inside_as_is(flags, script);
        assert_eq!((ran.stdout.as_str(), ran.code()), ("hello from outside\n1\n", 4), "{ran:?}");
        assert_eq!(ran.stderr, "");
    }
    user.host.set_up(
        "kill $(busybox pidof busybox | tr ' ' '\\n' | while read pid; do \
                      grep -q 9090 /proc/$pid/cmdline && echo $pid; done)",
    );
    let pastas = || user.host.processes().iter().filter(|process| process.contains("--config-net")).count();
    // A start that fails after it was connected takes pasta back.
    let rootfs = user.host.rootfs_flag();
    assert_eq!(user.run(&[&rootfs, "--network=pasta", "--cmd=/missing"]).code(), 127);
    assert_eq!(pastas(), 0);
    // Killed with SIGKILL, nothing of it stays either.
    let mut container = user.background(&["--network=pasta"]);
    assert_eq!(pastas(), 1);
    container.signal("KILL");
    container.finish();
    eventually("pasta is gone", || pastas() == 0);
    assert_eq!(user.inside(&[], "true").code(), 0);
    neighbour.leave(&user.host);
    user.host.assert_nothing_left();
}

/// As below a filter that does not know the call: a copy of the pipe that ends pasta would stay in the process that
/// waits for its end.
#[test]
fn pasta_goes_with_its_container_where_close_range_is_refused() {
    let Some(mut user) = User::new() else { return };
    if !has_program("strace") {
        return;
    }
    let Some(neighbour) = user.connect() else { return };
    for errno in ["ENOSYS", "EPERM"] {
        let mut command = user.host.command("strace");
        command.args(["-f", "-o", "/dev/null", "-e", "trace=close_range"]);
        command.args(["-e", &format!("inject=close_range:error={errno}"), "--", "setpriv"]);
        command.args([format!("--reuid={UID}"), format!("--regid={UID}")]);
        command.args(["--clear-groups", "--"]).arg(binary());
        command.env("XDG_RUNTIME_DIR", user.session());
        command.arg(format!("--state-dir={}", user.host.state().display()));
        let rootfs = user.host.rootfs_flag();
        command.args([&rootfs, "--network=pasta", "--", "/bin/sh", "-c", "echo /proc/self/fd/*; exit 7"]);
        let ran = finish(command.spawn().expect("strace runs"), None);
        assert_eq!(ran.code(), 7, "{errno}: {ran:?}");
        assert_eq!(ran.stdout.trim(), "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3");
    }
    neighbour.leave(&user.host);
    user.host.assert_nothing_left();
}

#[test]
fn published_port_is_reached_from_outside_and_shows_who_calls() {
    let Some(mut user) = User::new() else { return };
    let Some(mut neighbour) = user.connect() else { return };
    let rootfs = user.host.rootfs_flag();
    let script = "mkdir /w; echo published >/w/index.html; httpd -f -vv -p 80 -h /w 2>/w/log & echo up >/up; read end; exit 0";
    let flags = ["--publish=8081:80"];
    let mut command = user.rabbitc(&user.arguments(&flags, &rootfs, script));
    let mut container = Background::of(command.stdin(Stdio::piped()).spawn().expect("nsenter runs"));
    let sign = user.host.rootfs().join("up");
    eventually("the container runs", || sign.exists());
    let call = |pid: u32| {
        let mut call = Command::new("nsenter");
        call.arg(format!("--target={pid}")).args(["--net", "busybox", "wget", "-qO-"]);
        call.arg("http://192.0.2.1:8081/").stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(call.spawn().expect("nsenter runs"), None)
    };
    // The port is published before the server listens.
    eventually("the server answers", || call(neighbour.holder.pid()).stdout.trim() == "published");
    let log = std::fs::read_to_string(user.host.rootfs().join("w/log")).expect("written");
    assert!(log.contains("192.0.2.2"), "{log}");
    // Its port is taken as long as it runs.
    user.inside_as_is(&flags, "true").refuses(125, &["--publish", "8081/tcp", "is taken by"]);
    user.inside_as_is(&["--publish=81:80"], "true")
        .refuses(125, &["--publish", "81/tcp", "ports below 1024 are root's"]);
    container.write(b"end\n");
    assert_eq!(container.finish().code(), 0);
    assert_ne!(call(neighbour.holder.pid()).code(), 0);
    // Without anything to publish it with, a port is no wish that could be left out.
    user.host.set_up("ip route del default");
    user.inside_as_is(&flags, "true").refuses(125, &["pasta"]);
    neighbour.leave(&user.host);
    user.host.set_up(&format!("cd {}; rm -r w up", user.host.rootfs().display()));
    user.host.assert_nothing_left();
}

#[test]
fn pasta_that_dies_is_told_and_the_container_goes_on() {
    let Some(mut user) = User::new() else { return };
    let Some(neighbour) = user.connect() else { return };
    let container = user.background(&["--network=pasta"]);
    let pid = user.host.processes().into_iter().find(|process| process.contains("--config-net"));
    let pid = pid.and_then(|process| process.split(' ').nth(1).map(str::to_owned)).expect("pasta runs");
    assert!(Command::new("kill").args(["-KILL", &pid]).status().expect("kill runs").success());
    eventually("pasta is gone", || !Path::new(&format!("/proc/{pid}")).exists());
    let ran = container.release();
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert!(ran.stderr.contains("`pasta` ended before its container"), "{ran:?}");
    neighbour.leave(&user.host);
    // Without any route there is nothing to connect to: told, and no reason to fail unless it was asked for.
    let ran = user.inside_as_is(&[], "echo runs");
    assert_eq!(ran.text(), "runs");
    assert!(ran.stderr.contains("no network"), "{}", ran.stderr);
    user.inside_as_is(&["--network=pasta"], "true").refuses(125, &["pasta"]);
    user.host.assert_nothing_left();
}

#[test]
fn volumes_of_a_user_are_what_the_user_may_use() {
    let Some(user) = User::new() else { return };
    let home = user.host.directory().join("home");
    user.host
        .set_up(&format!("cd {0}; echo mine >sign; chown {UID}:{UID} sign; chmod 700 .", home.display()));
    let volume = |rest: &str| format!("--volume={}:{rest}", home.display());
    let ran = user.inside(&[&volume("/data")], "cat /data/sign && echo inside >/data/new && cat /data/new");
    assert_eq!(ran.text(), "mine\ninside");
    let made = std::fs::metadata(home.join("new")).expect("made");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), UID, "root inside is the user outside");
    let before = names(&home);
    let ran = user.inside(&[&volume("/data:O")], "rm /data/sign; ls /data");
    assert_eq!(ran.text(), "new");
    assert_eq!(names(&home), before);
    let ran = user.inside(
        &[&volume("/data:ro"), "--tmpfs=/t:size=1m"],
        "touch /t/x; touch /data/x 2>/dev/null || ls /t",
    );
    assert_eq!(ran.text(), "x");
    assert_eq!(
        user.inside(&[&volume("/data:U"), &volume("/data/in:ro")], "cat /data/in/sign").text(),
        "mine"
    );
    assert_eq!(names(&home), before, "the mount point in the volume is gone");
    for options in ["rslave", "rshared"] {
        user.inside(&[&volume(&format!("/data:{options}"))], "true").refuses(125, &["--volume"]);
    }
    user.host.assert_nothing_left();
}

#[test]
fn owners_that_only_root_could_give_are_refused_with_the_way_that_works() {
    let Some(user) = User::new() else { return };
    let source = user.host.directory().join("own/given");
    user.host.set_up(&format!("mkdir -p {0}; touch {0}/file; chown -R {UID}:{UID} {0}", source.display()));
    let volume = format!("--volume={}:/v:U", source.display());
    user.inside_as_is(&["--network=none", "-u", "5:5", &volume], "true")
        .refuses(125, &["--volume", "only root gives files to another user", "chown -R"]);
    assert_eq!(user.inside_as_is(&["--network=none", &volume], "stat -c %u:%g /v").text(), "0:0");
    user.host.set_up(&format!("rm -r {}", source.display()));
    user.host.assert_nothing_left();
}
