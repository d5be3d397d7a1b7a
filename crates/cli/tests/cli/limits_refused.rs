//! Limits that can't be kept: refused by the name of their flag before anything is made.

use crate::support::Host;

#[test]
fn limits_that_no_host_could_keep_are_refused_by_their_flag() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    for (flags, parts) in [
        (&["--memory=1k"][..], &["--memory", "less than a process needs"][..]),
        (&["--memory=64m", "--memory-swap=32m"], &["--memory-swap", "67108864"]),
        (&["--memory-swap=64m"], &["--memory-swap", "memory has no limit"]),
        (&["--memory=64m", "--memory-reservation=65m"], &["--memory-reservation"]),
        (&["--memory-swappiness=101"], &["--memory-swappiness", "101"]),
        (&["--kernel-memory=lots"], &["--kernel-memory", "lots"]),
        (&["--cpus=0.5", "--cpu-quota=50000"], &["--cpus", "--cpu-quota"]),
        (&["--cpus=0.5", "--cpu-period=50000"], &["--cpus", "--cpu-period"]),
        (&["--cpus=0.001"], &["--cpus", "0.001"]),
        (&["--cpu-period=10"], &["--cpu-period"]),
        (&["--cpu-quota=10"], &["--cpu-quota"]),
        (&["--cpuset-cpus=1-"], &["--cpuset-cpus", "1-"]),
        (&["--pids-limit=-2"], &["--pids-limit"]),
        (&["--blkio-weight=5"], &["--blkio-weight", "`5`"]),
        (&["--blkio-weight-device=/dev/null"], &["--blkio-weight-device"]),
        (&["--device-read-bps=null:1m"], &["--device-read-bps", "null:1m"]),
        (&["--device-read-iops=/dev/null:1m"], &["--device-read-iops", "1m"]),
        (&["--ulimit=nofile=5:4"], &["--ulimit", "nofile=5:4"]),
        (&["--ulimit=files=5"], &["--ulimit", "files"]),
        (&["--oom-score-adj=-1001"], &["--oom-score-adj", "-1001"]),
        (&["--shm-size=big"], &["--shm-size", "big"]),
        (&["--cgroup-parent=/a/../b"], &["--cgroup-parent", ".."]),
        (&["--cgroup-conf=high=1"], &["--cgroup-conf", "high=1"]),
        (&["-c", "512"], &["-c", "512", "--cpu-shares=512"]),
    ] {
        let mut arguments = vec![rootfs.as_str(), "--network=none"];
        arguments.extend(flags);
        host.run(&arguments).refuses(125, parts);
    }
    assert!(!host.state().exists(), "nothing was made");
    host.assert_nothing_left();
}

#[test]
fn limits_that_this_host_can_not_keep_are_refused_by_their_flag() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    for (flag, parts) in [
        ("--cpus=60000", &["--cpus", "60000", "of this host"][..]),
        ("--cpuset-cpus=0,60000", &["--cpuset-cpus", "60000", "processors are 0"]),
        ("--cpuset-mems=60000", &["--cpuset-mems", "60000", "memory nodes are 0"]),
        ("--device-read-bps=/dev/none:1m", &["--device-read-bps", "/dev/none", "no such file"]),
        ("--device-write-bps=/dev/null:1m", &["--device-write-bps", "/dev/null", "no block device"]),
        ("--device-read-iops=/dev/pts:1", &["--device-read-iops", "/dev/pts", "no block device"]),
        ("--blkio-weight-device=/dev/null:50", &["--blkio-weight-device", "/dev/null", "no block device"]),
        ("--ulimit=nofile=99999999999", &["--ulimit", "nofile"]),
    ] {
        let ran = host.run(&[&rootfs, "--network=none", flag, "--cmd=/bin/true"]);
        // Without the controller it is that which is named.
        let lacks = ran.stderr.contains("cgroup controller");
        ran.refuses(125, if lacks { &parts[..1] } else { parts });
    }
    assert!(!host.state().exists(), "nothing was made");
    host.assert_nothing_left();
}

#[test]
fn limit_of_processes_above_the_callers_own_is_refused_without_the_right() {
    let Some(host) = Host::new() else { return };
    let mut command = host.command("sh");
    let script = "ulimit -n 256; exec setpriv --bounding-set=-sys_resource --inh-caps=-all -- \"$0\" \"$@\"";
    command.args(["-c", script]).arg(crate::support::binary());
    command.args([&format!("--state-dir={}", host.state().display()), &host.rootfs_flag()]);
    command.args(["--ulimit=nofile=512", "--cmd=/bin/true"]);
    let ran = crate::support::finish(command.spawn().expect("setpriv runs"), None);
    ran.refuses(125, &["--ulimit", "at most 256", "CAP_SYS_RESOURCE"]);
    assert!(!host.state().exists(), "nothing was made");
    host.assert_nothing_left();
}

#[test]
fn controllers_that_are_not_there_are_named_with_the_flag() {
    let Some(host) = Host::new() else { return };
    // A host whose only hierarchy has no controller of use: an empty place hides all, and a v1 hierarchy by name alone.
    let named = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if !named.lines().any(|line| line.contains("name=systemd")) {
        crate::support::skip("no v1 hierarchy without controllers to show alone");
        return;
    }
    host.set_up(
        "mount -t tmpfs none /sys/fs/cgroup; mkdir /sys/fs/cgroup/systemd; \
         mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd",
    );
    let rootfs = host.rootfs_flag();
    for (flag, controller) in [
        ("--memory=64m", "memory"),
        ("--cpus=0.5", "cpu"),
        ("--cpuset-cpus=0", "cpuset"),
        ("--pids-limit=5", "pids"),
        ("--device-read-bps=/dev/sda:1m", "blkio"),
    ] {
        let name = flag.split('=').next().expect("a flag");
        let ran = host.run(&[&rootfs, "--network=none", flag, "--cmd=/bin/true"]);
        ran.refuses(125, &[name, &format!("cgroup controller `{controller}`")]);
    }
    host.run(&[&rootfs, "--cgroup-conf=memory.high=1", "--cmd=/bin/true"]).refuses(125, &["--cgroup-conf"]);
    host.set_up("umount /sys/fs/cgroup/systemd; umount /sys/fs/cgroup");
    host.assert_nothing_left();
}
