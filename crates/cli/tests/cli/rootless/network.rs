//! The networks of a user's container: the host's, or one that pasta connects to a neighbour made here.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::user::{User, credentials};
use crate::ports::in_network_of;
use crate::support::{Background, Host, eventually, finish, has_program, skip};

impl User {
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

    /// From here on it ends at once, and says nothing.
    fn break_pasta(&mut self) {
        self.change_programs("rm -f /usr/bin/pasta*; ln -s false /usr/bin/pasta");
        self.host.accept_mounts();
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
    user.inside_as_is(&["--network=pasta"], "true").refuses(125, &["--network: ", "/dev/net/tun"]);
    let publish = user.inside_as_is(&["--publish=8080:80"], "true");
    publish.refuses(125, &["--publish: `pasta` needs `/dev/net/tun`", "leave `--publish` out"]);
    let dns = user.inside_as_is(&["--dns=192.0.2.53"], "true");
    let default = "`--network=none`, the default here as `pasta` needs `/dev/net/tun`, which is not there: ";
    dns.refuses(125, &["--dns: means nothing with ", default, "modprobe tun", "leave `--dns` out", "=host`"]);
    user.host.set_up(
        "umount /dev/net; mount -t tmpfs -o mode=755 tmpfs /dev/net; mknod -m 600 /dev/net/tun c 10 200",
    );
    let publish = user.inside_as_is(&["--publish=8080:80"], "true");
    publish.refuses(125, &["--publish: ", "may not open it: permission denied\n", "chmod 666 /dev/net/tun"]);
}

#[test]
fn flags_of_a_network_that_is_not_there_are_told_why_it_is_not() {
    let Some(mut user) = User::new() else { return };
    user.change_programs("rm -f /usr/bin/pasta*");
    user.host.accept_mounts();
    if Path::new("/usr/local/bin/pasta").exists() {
        skip("there is a pasta outside /usr/bin");
        return;
    }
    let session = user.session();
    let refused = |flags: &[&str], parts: &[&str]| {
        let mut command = user.command(crate::support::binary());
        command.arg(user.host.rootfs_flag()).args(flags).arg("--cmd=/bin/true");
        finish(command.spawn().expect("nsenter runs"), None).refuses(125, parts);
        assert_eq!(crate::support::names(&session), [""; 0], "nothing was made");
    };
    let none = "`--network=none`, the default here as `pasta` is not installed: ";
    for flag in ["--dns=192.0.2.53", "--dns-search=example", "--dns-option=ndots:2"] {
        let name = flag.split('=').next().expect("its name");
        refused(&[flag], &[&format!("{name}: means nothing with "), none, "package `passt`", "=host`"]);
    }
    for flags in [["--ip", "10.0.0.2"], ["-n", "lab0"], ["-i", "10.0.0.1/24"]] {
        refused(&flags, &["means nothing with ", none, "a bridge, which takes root"]);
    }
    // What was said is not explained.
    refused(
        &["--network=none", "--dns=192.0.2.53"],
        &["with `--network=none`: ", "leave one of the two out"],
    );
    user.host.assert_nothing_left();
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
    // Who keeps its number is another user inside at first, whose files in procfs are closed to the caller.
    for flags in [&[][..], &["--network=pasta"], &["--userns=keep-id"], &["--userns=keep-id:uid=7,gid=9"]] {
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
        command.args(credentials()).env("XDG_RUNTIME_DIR", user.session());
        let script = "echo /proc/self/fd/*; exit 7";
        let ran = user.run_by(command, &["--network=pasta", "--", "/bin/sh", "-c", script]);
        if ran.stderr.contains("`pasta`: Failed to close files leaked by parent") {
            skip("this pasta itself takes close_range");
            continue;
        }
        assert_eq!(ran.code(), 7, "{errno}: {ran:?}");
        assert_eq!(ran.stdout.trim(), "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3");
    }
    neighbour.leave(&user.host);
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
    // One that does not work is told, and no reason to fail unless it was asked for.
    user.break_pasta();
    let ran = user.inside_as_is(&[], "echo runs");
    assert_eq!(ran.text(), "runs");
    assert!(ran.stderr.contains("no network"), "{}", ran.stderr);
    user.inside_as_is(&["--network=pasta"], "true").refuses(125, &["pasta"]);
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
    // Its port is taken as long as it runs, and by whom is known although nobody sees what pasta has open.
    let [id] = user.host.containers().try_into().expect("one container");
    let holder = format!("8081/tcp`: the port is taken by container `{}`", &id[..12]);
    user.inside_as_is(&flags, "true").refuses(125, &["--publish", &holder, "stop its holder"]);
    user.inside_as_is(&["--publish=127.0.0.1:8080-8082:80-82"], "true")
        .refuses(125, &[&format!("8081/tcp`: the port is taken by container `{}`", &id[..12])]);
    user.inside_as_is(&["--publish=81:80"], "true")
        .refuses(125, &["--publish", "81/tcp", "ports below 1024 are root's"]);
    let mut exposed = user.command(crate::support::binary());
    let root = format!("--root={}", user.session().join("store").display());
    let format = "--format={{.ID}} {{.Host}} {{.Container}} {{.Network}} {{.Access}}";
    exposed.args(["ports", &root, &user.state_flag(), format]);
    let exposed = finish(exposed.spawn().expect("nsenter runs"), None);
    assert_eq!(exposed.text(), format!("{} *:8081 80 pasta host", &id[..12]), "{exposed:?}");
    for (verb, last, shown) in [
        ("ps", "--format={{.Ports}}", "0.0.0.0:8081->80/tcp"),
        ("port", id.as_str(), "80/tcp -> 0.0.0.0:8081"),
    ] {
        let mut command = user.command(crate::support::binary());
        command.args([verb, &root, &user.state_flag(), last]);
        let ran = finish(command.spawn().expect("nsenter runs"), None);
        assert_eq!((ran.code(), ran.text()), (0, shown), "{ran:?}");
    }
    container.write(b"end\n");
    assert_eq!(container.finish().code(), 0);
    assert_ne!(call(neighbour.holder.pid()).code(), 0);
    // Without anything to publish it with, a port is no wish that could be left out.
    user.break_pasta();
    user.inside_as_is(&flags, "true").refuses(125, &["pasta"]);
    neighbour.leave(&user.host);
    user.host.set_up(&format!("cd {}; rm -r w up", user.host.rootfs().display()));
    user.host.assert_nothing_left();
}

#[test]
fn container_in_the_user_namespace_of_another_is_told_how_to_have_a_network() {
    let Some(mut user) = User::new() else { return };
    let Some(neighbour) = user.connect() else { return };
    let first = user.background(&[]);
    let [id] = user.host.containers().try_into().expect("one container");
    let joined = format!("--userns=container:{id}");
    let ran = user.inside_as_is(&[&joined], "echo runs");
    assert_eq!((ran.text(), ran.code()), ("runs", 0), "{ran:?}");
    assert!(ran.stderr.contains("no network") && ran.stderr.contains("`--network=container:ID`"), "{ran:?}");
    for flag in ["--network=pasta", "--publish=8080:80"] {
        let name = flag.split('=').next().expect("a flag");
        user.inside_as_is(&[&joined, flag], "true").refuses(125, &[name, "`--network=container:ID`"]);
    }
    let network = format!("--network=container:{id}");
    let ran = user.inside_as_is(&[&joined, &network], "wget -qO- http://192.0.2.2:8080/");
    assert_eq!((ran.text(), ran.stderr.as_str()), ("hello from outside", ""), "{ran:?}");
    assert_eq!(first.release().code(), 0);
    neighbour.leave(&user.host);
    user.host.assert_nothing_left();
}

#[test]
fn port_of_ipv6_answers_as_soon_as_it_is_published() {
    let Some(mut user) = User::new() else { return };
    let Some(neighbour) = user.connect() else { return };
    if !Path::new("/proc/sys/net/ipv6").exists() {
        return skip("no IPv6 on this machine");
    }
    user.host
        .set_up("ip -6 addr add 2001:db8::1/64 dev a0 nodad; ip -6 route add default via 2001:db8::2 dev a0");
    user.host.set_up(&format!("mkdir {0}/w; echo published >{0}/w/index.html", user.host.rootfs().display()));
    for round in 0..3 {
        let script = "httpd -p 80 -h /w; echo up >/up; read end; ip -6 addr show dev eth0; exit 0";
        let rootfs = user.host.rootfs_flag();
        let mut command = user.rabbitc(&user.arguments(&["--publish=8081:80"], &rootfs, script));
        let container = Background::of(command.stdin(Stdio::piped()).spawn().expect("nsenter runs"));
        let sign = user.host.rootfs().join("up");
        eventually("the container runs", || std::fs::metadata(&sign).is_ok_and(|sign| sign.len() > 0));
        let mut call = user.host.command("busybox");
        call.args(["wget", "-qO-", "http://[2001:db8::1]:8081/"]);
        let answer = finish(call.spawn().expect("nsenter runs"), None);
        assert_eq!(answer.stdout, "published\n", "round {round}: {answer:?}");
        std::fs::remove_file(sign).expect("the sign is there");
        let ran = container.release();
        // As long as it is tentative, it asks nobody for the way back. The kernel takes the mark away in a worker,
        // a moment after the address is there, which is over once something came through.
        assert!(ran.text().contains("inet6 fe80::") && !ran.stdout.contains("tentative"), "{ran:?}");
    }
    neighbour.leave(&user.host);
    user.host.set_up(&format!("rm -r {}/w", user.host.rootfs().display()));
    user.host.assert_nothing_left();
}

#[test]
fn port_of_udp_answers_or_is_refused() {
    let Some(mut user) = User::new() else { return };
    let Some(neighbour) = user.connect() else { return };
    let remapping = Command::new("pasta").arg("--help").output().is_ok_and(|help| {
        let said = [help.stdout, help.stderr].concat();
        String::from_utf8_lossy(&said).contains("--map-host-loopback")
    });
    let echo = |publish: &str, inside: u16| {
        let container = user.background(&[publish]);
        let [id] = user.host.containers().try_into().expect("one container");
        let record = std::fs::read(user.host.state().join("containers").join(id).join("state.json"));
        let record: serde_json::Value = serde_json::from_slice(&record.expect("there")).expect("JSON");
        let pid = u32::try_from(record["pid"].as_u64().expect("a number")).expect("a pid");
        // Dropped with this: an open socket would keep the container's network.
        let server = in_network_of(pid, move || UdpSocket::bind(("0.0.0.0", inside)).expect("a server"));
        let client = in_network_of(user.host.pid(), || UdpSocket::bind("127.0.0.1:0").expect("a client"));
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        }
        client.send_to(b"hello", "127.0.0.1:5353").expect("sent");
        let mut buffer = [0; 16];
        let (length, caller) = server.recv_from(&mut buffer).expect("it comes in");
        server.send_to(&buffer[..length], caller).expect("sent");
        let length = client.recv(&mut buffer).expect("it is answered");
        assert_eq!(&buffer[..length], b"hello");
        drop(server);
        assert_eq!(container.release().code(), 0);
    };
    echo("--publish=5353:5353/udp", 5353);
    echo("--publish=5353:6353/udp", 6353);
    if remapping {
        echo("--publish=5353:53/udp", 53);
    } else {
        let parts =
            ["--publish: ", "`5353 -> 53/udp`", "loses answers over UDP", "port 5353 or a higher one"];
        user.inside_as_is(&["--publish=5353:53/udp"], "true").refuses(125, &parts);
    }
    user.inside_as_is(&["--publish=224.0.0.1:5353:5353/udp"], "true").refuses(125, &["multicast"]);
    neighbour.leave(&user.host);
    user.host.assert_nothing_left();
}

#[test]
fn name_of_the_host_itself_is_refused_with_what_would_do() {
    let Some(mut user) = User::new() else { return };
    let Some(neighbour) = user.connect() else { return };
    let refused = user.inside_as_is(&["--add-host=x:host-gateway"], "true");
    refused.refuses(125, &["--add-host: `host-gateway` means nothing with `--network=pasta`", "`NAME:IP`"]);
    let ran = user.inside_as_is(&["--add-host=x:192.0.2.2"], "grep 192 /etc/hosts; wget -qO- http://x:8080/");
    assert_eq!(ran.text(), "192.0.2.2\tx\nhello from outside");
    neighbour.leave(&user.host);
    user.host.assert_nothing_left();
}
