//! What the flags about rights give and take, as the kernel sees it.

use crate::support::{Host, Ran, skip};

/// A set of capabilities or another line of `/proc/self/status`.
fn status(ran: &Ran, field: &str) -> String {
    let line = ran.text().lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("no {field} in {ran:?}")).trim().to_owned()
}

fn bits(ran: &Ran, field: &str) -> u64 {
    u64::from_str_radix(&status(ran, field), 16).expect("hexadecimal")
}

const SHOW: &str = "cat /proc/self/status";
const KILL: u64 = 1 << 5;
const NET_RAW: u64 = 1 << 13;
const SYS_ADMIN: u64 = 1 << 21;
const MKNOD: u64 = 1 << 27;

/// What this process could give away.
fn own_bounding_set() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = text.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("there");
    u64::from_str_radix(line.trim(), 16).expect("hexadecimal")
}

#[test]
fn dropping_all_and_adding_two_leaves_two_in_every_set() {
    let Some(host) = Host::new() else { return };
    let ran = host.inside(&["--cap-drop=all", "--cap-add=net_raw,CAP_KILL"], SHOW);
    for field in ["CapBnd", "CapPrm", "CapEff"] {
        assert_eq!(bits(&ran, field), NET_RAW | KILL, "{field}");
    }
    assert_eq!((bits(&ran, "CapInh"), bits(&ran, "CapAmb")), (0, 0));
    let ran = host.inside(&["--cap-drop=ALL"], SHOW);
    assert_eq!((bits(&ran, "CapBnd"), bits(&ran, "CapEff")), (0, 0));
}

#[test]
fn adding_all_but_one_leaves_that_one_out() {
    let Some(host) = Host::new() else { return };
    let ran = host.inside(&["--cap-add=ALL", "--cap-drop=SYS_ADMIN"], SHOW);
    assert_eq!(bits(&ran, "CapBnd"), own_bounding_set() & !SYS_ADMIN);
    // Rights are no reason to do without the filter, nor to let set-user-ID programs work.
    assert_eq!((status(&ran, "Seccomp"), status(&ran, "NoNewPrivs")), ("2".to_owned(), "1".to_owned()));
}

#[test]
fn capability_decides_over_raw_sockets_device_nodes_and_signals() {
    let Some(host) = Host::new() else { return };
    let ping = "ping -c 1 -W 9 127.0.0.1 >/dev/null 2>&1; echo $?";
    assert_eq!(host.inside(&["--network=none"], ping).text(), "1");
    assert_eq!(host.inside(&["--network=none", "--cap-add=NET_RAW"], ping).text(), "0");
    let node = "busybox mknod /dev/n c 1 3 2>/dev/null; echo $?";
    assert_eq!(host.inside(&["--network=none"], node).text(), "1");
    assert_eq!(host.inside(&["--network=none", "--cap-add=MKNOD"], node).text(), "0");
    let chroot = "busybox chroot / /bin/true 2>/dev/null; echo $?";
    assert_eq!(host.inside(&["--network=none"], chroot).text(), "0");
    assert_eq!(host.inside(&["--network=none", "--cap-drop=SYS_CHROOT"], chroot).text(), "1");
}

#[test]
fn filter_opens_the_calls_that_an_added_capability_is_for() {
    let Some(host) = Host::new() else { return };
    let script =
        "mkdir /dev/m; mount -t tmpfs none /dev/m 2>/dev/null; echo $?; unshare -m true 2>/dev/null; echo $?";
    assert_eq!(host.inside(&["--network=none"], script).text(), "1\n1");
    assert_eq!(host.inside(&["--network=none", "--cap-add=SYS_ADMIN"], script).text(), "0\n0");
}

#[test]
fn wrong_capabilities_are_refused_before_anything_is_made() {
    let Some(host) = Host::new() else { return };
    let ran = host.inside(&["--cap-add=NET_ROW"], "true");
    assert_eq!(ran.code(), 125);
    assert!(ran.stderr.contains("--cap-add: `NET_ROW` is not a capability"), "{ran:?}");
    assert!(ran.stderr.contains("did you mean `NET_RAW`?"), "{ran:?}");
    let lacking = !own_bounding_set() & ((1 << 41) - 1);
    if lacking & (1 << 24) != 0 {
        let ran = host.inside(&["--cap-add=SYS_RESOURCE"], "true");
        assert!(ran.stderr.contains("`SYS_RESOURCE` is not this rabbitc's to give"), "{ran:?}");
    }
    host.assert_nothing_left();
}

#[test]
fn privileged_container_has_every_right_of_its_caller() {
    let Some(host) = Host::new() else { return };
    let ran = host.inside(&["--network=none", "--privileged"], SHOW);
    for field in ["CapBnd", "CapPrm", "CapEff"] {
        assert_eq!(bits(&ran, field), own_bounding_set(), "{field}");
    }
    assert_eq!((status(&ran, "Seccomp"), status(&ran, "NoNewPrivs")), ("0".to_owned(), "0".to_owned()));
    // Every device node of the host, writable system directories, nothing hidden.
    let script = "echo 65 > /proc/sys/kernel/msgmni && echo writable; \
                  grep -c -E ' (/proc/|/sys/firmware|/sys/dev/block)' /proc/self/mountinfo; \
                  grep -E ' /sys (rw|ro)' /proc/self/mountinfo | grep -c ' rw,'; \
                  mkdir /sys/fs/cgroup/pids/inner 2>/dev/null || mkdir /sys/fs/cgroup/inner; echo made $?; \
                  busybox rmdir /sys/fs/cgroup/pids/inner 2>/dev/null || busybox rmdir /sys/fs/cgroup/inner; \
                  test -c /dev/kmsg && head -c 0 /dev/kmsg && echo device; \
                  mount -t tmpfs none /dev/shm && echo mounted; exit 0";
    let ran = host.inside(&["--network=none", "--privileged"], script);
    let expected = "writable\n0\n1\nmade 0\ndevice\nmounted";
    assert_eq!(ran.text(), expected, "{ran:?}");
    // What is asked for beside it still holds.
    let flags = ["--network=none", "--privileged", "--cap-drop=ALL", "--security-opt=no-new-privileges"];
    let ran = host.inside(&flags, SHOW);
    assert_eq!((bits(&ran, "CapBnd"), status(&ran, "NoNewPrivs")), (0, "1".to_owned()));
    let ran = host.inside(&["--network=none", "--privileged", "--security-opt=seccomp=builtin"], SHOW);
    assert_eq!(status(&ran, "Seccomp"), "2");
    host.assert_nothing_left();
}

#[test]
fn no_new_privileges_is_on_unless_it_is_turned_off() {
    let Some(host) = Host::new() else { return };
    for (option, expected) in [
        ("no-new-privileges", "1"),
        ("no-new-privileges=true", "1"),
        ("no-new-privileges=false", "0"),
        ("no-new-privileges:false", "0"),
    ] {
        let ran = host.inside(&["--network=none", "--security-opt", option], SHOW);
        assert_eq!(status(&ran, "NoNewPrivs"), expected, "{option}");
        // Without it the filter is installed by root's right, before that goes.
        assert_eq!(status(&ran, "Seccomp"), "2", "{option}");
        assert_eq!(bits(&ran, "CapEff").count_ones(), 11, "{option}");
    }
}

/// A profile in docker's form: with conditions, and a rule whose effect shows.
const PROFILE: &str = r#"{
    "defaultAction": "SCMP_ACT_ALLOW",
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
                {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}],
    "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "comment": "shows",
         "excludes": {"caps": ["CAP_MKNOD"]}},
        {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "99.1"}}
    ]
}"#;

#[test]
fn profile_of_a_file_decides_by_the_capabilities_granted() {
    let Some(host) = Host::new() else { return };
    let path = host.directory().join("profile.json");
    std::fs::write(&path, PROFILE).expect("written");
    let option = format!("--security-opt=seccomp={}", path.display());
    let script = "mkdir /dev/made; exit 0";
    let ran = host.inside(&["--network=none", &option], script);
    assert!(ran.stderr.contains("I/O error") || ran.stderr.contains("Input/output"), "{ran:?}");
    let ran = host.inside(&["--network=none", &option, "--cap-add=MKNOD"], script);
    assert_eq!(ran.stderr, "", "the rule excludes containers with that capability");
    // Rights of the flags and filter of the file: what the built-in one would refuse is the kernel's to decide.
    let hostname = "hostname other 2>/dev/null; hostname";
    let ran = host.inside(&["--network=none", &option, "--cap-add=SYS_ADMIN"], hostname);
    assert_eq!(ran.text(), "other");
    assert_eq!(bits(&host.inside(&["--network=none", &option], SHOW), "CapBnd") & MKNOD, 0);
}

#[test]
fn profile_with_a_relative_path_is_found_from_the_callers_directory() {
    let Some(host) = Host::new() else { return };
    std::fs::write(host.directory().join("p.json"), r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#)
        .expect("written");
    let script = format!("cd {} && exec \"$0\" \"$@\"", host.directory().display());
    let mut command = host.command("sh");
    let state = format!("--state-dir={}", host.state().display());
    command.args(["-c", &script]).arg(crate::support::binary());
    command.args([
        &state,
        &host.rootfs_flag(),
        "--network=none",
        "--security-opt=seccomp=p.json",
        "--",
        "/bin/true",
    ]);
    let ran = crate::support::finish(command.spawn().expect("nsenter runs"), None);
    assert_eq!(ran.code(), 0, "{ran:?}");
}

#[test]
fn seccomp_unconfined_is_no_filter() {
    let Some(host) = Host::new() else { return };
    let ran = host.inside(&["--network=none", "--security-opt", "seccomp=unconfined"], SHOW);
    assert_eq!((status(&ran, "Seccomp"), status(&ran, "NoNewPrivs")), ("0".to_owned(), "1".to_owned()));
    assert_eq!(bits(&ran, "CapEff").count_ones(), 11);
}

#[test]
fn wrong_security_options_are_refused_by_name() {
    let Some(host) = Host::new() else { return };
    let bad = host.directory().join("bad.json");
    std::fs::write(&bad, r#"{"defaultAction":"SCMP_ACT_LOUD"}"#).expect("written");
    let contradictory = host.directory().join("contradictory.json");
    let rules =
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_NOTIFY"}]}"#;
    std::fs::write(&contradictory, rules).expect("written");
    let on =
        std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"));
    let apparmor = if on { "apparmor" } else { "--security-opt apparmor: AppArmor is not on here" };
    for (option, said) in [
        ("frob=1".to_owned(), "--security-opt: `frob=1` is not known"),
        ("seccomp=/nowhere.json".to_owned(), "--security-opt seccomp: read the profile `/nowhere.json`"),
        (format!("seccomp={}", bad.display()), "defaultAction: unknown value `SCMP_ACT_LOUD`"),
        (
            format!("seccomp={}", contradictory.display()),
            "--security-opt seccomp: linux.seccomp: listenerPath",
        ),
        ("apparmor=mine".to_owned(), apparmor),
        ("mask=etc".to_owned(), "--security-opt mask: `etc` is not known"),
        ("proc-opts=suid".to_owned(), "--security-opt proc-opts: `suid` is not known"),
    ] {
        let ran = host.inside(&["--security-opt", &option], "true");
        assert_eq!(ran.code(), 125, "{option}: {ran:?}");
        assert!(ran.stderr.contains(said), "{option}: {ran:?}");
        assert!(ran.stderr.contains("hint:"), "{option}: {ran:?}");
    }
    host.assert_nothing_left();
}

#[test]
fn paths_are_masked_and_unmasked() {
    let Some(host) = Host::new() else { return };
    std::fs::write(host.rootfs().join("bin/secret"), "secret").expect("written");
    let script = "cat /bin/secret; echo; wc -c < /proc/timer_list; grep -c ' /proc/sys ro' /proc/self/mountinfo; \
                  grep -c ' /sys/firmware ' /proc/self/mountinfo";
    assert_eq!(host.inside(&["--network=none"], script).text(), "secret\n0\n1\n1");
    let flags =
        ["--network=none", "--security-opt=mask=/bin/secret", "--security-opt=unmask=/proc/*:/sys/firmware"];
    let ran = host.inside(&flags, script);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!((lines[0], lines[2], lines[3]), ("", "0", "0"), "{ran:?}");
    assert_ne!(lines[1], "0", "the list of timers is there: {ran:?}");
    for option in ["--security-opt=unmask=ALL", "--security-opt=systempaths=unconfined"] {
        let covered =
            "grep -c -E ' (/proc/|/sys/(firmware|dev|devices|fs/selinux))' /proc/self/mountinfo; exit 0";
        assert_eq!(host.inside(&["--network=none", option], covered).text(), "0", "{option}");
    }
}

#[test]
fn procfs_takes_its_options() {
    let Some(host) = Host::new() else { return };
    let script =
        "grep ' /proc proc ' /proc/mounts | grep -c -E 'hidepid=(2|invisible)'; test -e /proc/sys; echo $?";
    let ran = host.inside(&["--network=none", "--security-opt", "proc-opts=hidepid=2"], script);
    assert_eq!(ran.text(), "1\n0");
}

#[test]
fn groups_of_its_own_are_made_where_cgroups_are_writable() {
    let Some(host) = Host::new() else { return };
    let script = "for top in /sys/fs/cgroup/pids /sys/fs/cgroup; do test -d $top && break; done; \
                  mkdir $top/inner 2>/dev/null; echo $?; busybox rmdir $top/inner 2>/dev/null; exit 0";
    assert_eq!(host.inside(&["--network=none"], script).text(), "1");
    for option in ["writable-cgroups", "writable-cgroups=true", "unmask=/sys/fs/cgroup"] {
        assert_eq!(
            host.inside(&["--network=none", "--security-opt", option], script).text(),
            "0",
            "{option}"
        );
    }
    host.assert_nothing_left();
}

#[test]
fn kernel_parameters_of_its_own_namespaces_are_set() {
    let Some(host) = Host::new() else { return };
    let flags = [
        "--network=none",
        "--sysctl=net.ipv4.ping_group_range=0 7",
        "--sysctl=kernel.msgmax=4242",
        "--sysctl",
        "fs/mqueue/msg_max=12",
    ];
    let script = "cat /proc/sys/net/ipv4/ping_group_range /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max; \
                  echo 1 2>/dev/null > /proc/sys/kernel/msgmax; echo $?";
    // Once set, parameters are read-only.
    assert_eq!(host.inside(&flags, script).text(), "0\t7\n4242\n12\n1");
}

#[test]
fn ping_needs_no_capability_in_a_network_of_its_own() {
    let Some(host) = Host::new() else { return };
    let groups = "cat /proc/sys/net/ipv4/ping_group_range";
    let of_the_host = host.shell(groups);
    for (flags, expected) in [
        (&[][..], "0\t2147483647"),
        (&["--network=none"], "0\t2147483647"),
        (&["--sysctl=net/ipv4/ping_group_range=1 0"], "1\t0"),
        (&["--network=host"], of_the_host.as_str()),
        (&["--userns=auto:size=4000"], "0\t3999"),
    ] {
        assert_eq!(host.inside(flags, groups).text(), expected, "{flags:?}");
    }
    assert_eq!(host.shell(groups), of_the_host);
    // As `ping` does it; the kernel looks at the group alone.
    let may_ping = |flags: &[&str]| {
        let container = host.background(flags, "up", "read end");
        let [id] = host.containers().try_into().expect("one container");
        let record = std::fs::read(host.state().join("containers").join(id).join("state.json"));
        let record: serde_json::Value = serde_json::from_slice(&record.expect("a record")).expect("JSON");
        let pid = record["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid");
        let opened = crate::ports::in_network_of(pid, || {
            use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
            let nobody = rustix::process::Gid::from_raw(1234);
            rustix::thread::set_thread_groups(&[]).expect("the thread's own");
            rustix::thread::set_thread_res_gid(nobody, nobody, nobody).expect("the thread's own");
            let protocol = Some(ipproto::ICMP);
            socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, protocol).is_ok()
        });
        assert_eq!(container.release().code(), 0);
        opened
    };
    assert!(may_ping(&[]));
    assert!(!may_ping(&["--sysctl=net.ipv4.ping_group_range=0 1000"]), "the sign tells");
    host.assert_nothing_left();
}

#[test]
fn kernel_parameters_of_the_host_are_refused() {
    let Some(host) = Host::new() else { return };
    for (flags, said) in [
        (
            ["--network=host", "--sysctl=net.core.somaxconn=7"],
            "belongs to the network namespace, which is the host's",
        ),
        (["--network=none", "--sysctl=kernel.panic=7"], "is not namespaced"),
        (["--network=none", "--sysctl=kernel.hostname=x"], "`kernel.hostname` is set by `--hostname`"),
        (["--domainname=a", "--sysctl=kernel.domainname=b"], "by `--domainname` it is `a`"),
        (["--network=none", "--sysctl=net.core/../x=1"], "is not the name of a kernel parameter"),
        (["--network=none", "--sysctl=net.core.somaxconn"], "has no value"),
        (["--network=none", "--sysctl=user.max_user_namespaces=1"], "belongs to the user namespace"),
    ] {
        let ran = host.inside(&flags, "true");
        assert_eq!(ran.code(), 125, "{flags:?}: {ran:?}");
        assert!(ran.stderr.contains("--sysctl: ") && ran.stderr.contains(said), "{flags:?}: {ran:?}");
    }
    host.assert_nothing_left();
}

#[test]
fn value_that_the_kernel_refuses_is_named_with_its_parameter() {
    let Some(host) = Host::new() else { return };
    for (parameter, value) in
        [("net.ipv4.ip_local_port_range", "abc"), ("kernel.msgmax", "-7"), ("net/core/somaxconn", "1e9")]
    {
        let ran = host.inside(&["--network=none", &format!("--sysctl={parameter}={value}")], "true");
        ran.refuses(
            125,
            &[
                &format!("set kernel parameters `{parameter}` to `{value}`"),
                "invalid argument",
                &format!("`sysctl {parameter}`"),
            ],
        );
    }
    host.assert_nothing_left();
}

#[test]
fn profile_that_podman_ships_is_taken() {
    let Some(host) = Host::new() else { return };
    let shipped = ["/usr/share/containers/seccomp.json", "/etc/containers/seccomp.json"];
    let Some(path) = shipped.into_iter().find(|path| std::path::Path::new(path).exists()) else {
        skip("no profile of podman's on this machine");
        return;
    };
    let option = format!("--security-opt=seccomp={path}");
    let script = "cat /proc/self/status; mount -t tmpfs none /bin 2>/dev/null && echo mounted; exit 0";
    let ran = host.inside(&["--network=none", &option], script);
    assert_eq!(status(&ran, "Seccomp"), "2");
    assert!(!ran.stdout.contains("mounted"), "{ran:?}");
    let ran = host.inside(&["--network=none", &option, "--cap-add=SYS_ADMIN"], script);
    assert!(ran.stdout.contains("mounted"), "its conditions are about capabilities: {ran:?}");
}
