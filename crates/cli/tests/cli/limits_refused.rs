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
        (&["--cpus=0.001"], &["--cpus", "`0.001` is less than the kernel's smallest quota", "0.01"]),
        (&["--cpu-period=10"], &["--cpu-period"]),
        (&["--cpu-quota=10"], &["--cpu-quota"]),
        (&["--cpuset-cpus=1-"], &["--cpuset-cpus", "1-"]),
        (&["--cpu-quota=17592186044416"], &["--cpu-quota", "17592186044415", "-1 is no limit"]),
        (&["--cpu-shares=1"], &["--cpu-shares", "2 and 262144"]),
        (&["--cpu-shares=262145"], &["--cpu-shares", "2 and 262144"]),
        (&["--memory=99999999999g"], &["--memory", "`99999999999g` is too large"]),
        (&["--memory=99999999999999999999"], &["--memory", "is too large", "below 8192p"]),
        (&["--tmpfs=/x:size=99999999999g"], &["--tmpfs", "`99999999999g` is too large", "below 8192p"]),
        (&["--pids-limit=99999999999999999999"], &["--pids-limit", "more than", "4194304"]),
        (&["--pids-limit=-99999999999999999999"], &["--pids-limit", "is negative"]),
        (&["--cpu-shares=99999999999999999999"], &["--cpu-shares", "2 and 262144"]),
        (&["--cpu-period=99999999999999999999"], &["--cpu-period", "1000 and 1000000"]),
        (&["--cpu-quota=99999999999999999999"], &["--cpu-quota", "17592186044415"]),
        (&["--cpu-rt-period=99999999999999999999"], &["--cpu-rt-period", "18446744073709551"]),
        (&["--cpu-rt-runtime=99999999999999999999"], &["--cpu-rt-runtime", "18446744073709551"]),
        (
            &["--memory-swappiness=99999999999999999999"],
            &["--memory-swappiness", "`99999999999999999999` is not within 0 and 100"],
        ),
        (&["--memory-swappiness=x"], &["--memory-swappiness", "`x` is not a whole number"]),
        (&["--oom-score-adj=99999999999"], &["--oom-score-adj", "`99999999999` is not within -1000 and"]),
        (&["--ulimit=nofile=99999999999999999999"], &["--ulimit", "is too large", "2^64 - 1"]),
        (&["--device-read-iops=/dev/null:99999999999"], &["--device-read-iops", "too large", "4294967295"]),
        (&["--timeout=99999999999"], &["--timeout", "is too large", "4294967295"]),
        (&["--pids-limit=-2"], &["--pids-limit"]),
        (&["--pids-limit=4194305"], &["--pids-limit", "4194304", "-1 is no limit"]),
        (&["--blkio-weight=5"], &["--blkio-weight", "`5`"]),
        (&["--blkio-weight-device=/dev/null"], &["--blkio-weight-device"]),
        (&["--device-read-bps=null:1m"], &["--device-read-bps", "null:1m"]),
        (&["--device-read-iops=/dev/null:1m"], &["--device-read-iops", "1m"]),
        (&["--ulimit=nofile=5:4"], &["--ulimit", "nofile=5:4"]),
        (&["--ulimit=files=5"], &["--ulimit", "files"]),
        (&["--oom-score-adj=-1001"], &["--oom-score-adj", "-1001"]),
        (&["--shm-size=big"], &["--shm-size", "big"]),
        (&["--shm-size=1m", "--ipc=host"], &["--shm-size", "`--ipc=host`"]),
        (&["--shm-size=1m", "--ipc=none"], &["--shm-size", "`--ipc=none`"]),
        (&["--shm-size=1m", "--ipc=container:abc"], &["--shm-size", "`--ipc=container:abc`"]),
        (&["--shm-size=1m", "--ipc=ns:/proc/1/ns/ipc"], &["--shm-size", "`--ipc=ns:/proc/1/ns/ipc`"]),
        (&["--shm-size=1m", "--tmpfs=/dev/shm:size=2m"], &["--shm-size", "`--tmpfs /dev/shm:size=2m`"]),
        (&["--shm-size=1m", "--volume=/dev:/dev"], &["--shm-size", "`--volume /dev:/dev`"]),
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

/// What only prefers is left out: nobody is worse off than without it.
#[test]
fn weights_whose_controller_is_not_there_are_left_out_with_a_word() {
    let Some(host) = Host::new() else { return };
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if !groups.lines().any(|line| line.contains(":devices:")) {
        crate::support::skip("no v1 hierarchy of devices to show alone");
        return;
    }
    host.set_up(
        "mount -t tmpfs none /sys/fs/cgroup; mkdir /sys/fs/cgroup/devices; \
         mount -t cgroup -o devices cgroup /sys/fs/cgroup/devices",
    );
    let rootfs = host.rootfs_flag();
    for (flag, controller) in
        [("--cpu-shares=512", "cpu"), ("--blkio-weight=100", "blkio"), ("--cpu-shares=2", "cpu")]
    {
        let ran = host.run(&[&rootfs, "--network=none", flag, "--cmd=/bin/true"]);
        assert_eq!(ran.code(), 0, "{ran:?}");
        let name = flag.split('=').next().expect("a flag");
        let told = format!("`{name}` is left out: this host has no cgroup controller `{controller}`");
        assert!(ran.stderr.contains(&told), "{ran:?}");
    }
    host.set_up("umount /sys/fs/cgroup/devices; umount /sys/fs/cgroup");
    host.assert_nothing_left();
}

#[test]
fn files_of_cgroup_v2_whose_controller_is_elsewhere_are_refused_before_the_start() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    let refused = |file: &str, parts: &[&str]| {
        let flag = format!("--cgroup-conf={file}");
        let ran = host.run(&[&rootfs, "--network=none", &flag, "--cmd=/bin/true"]);
        ran.refuses(125, parts);
        assert!(!ran.stderr.contains("step "), "{ran:?}");
    };
    refused("nosuch.max=1", &["--cgroup-conf: `nosuch.max` is a file of cgroup v2, and this host has no"]);
    let v1 = |name: &str| std::path::Path::new("/sys/fs/cgroup").join(name).join("cgroup.procs").exists();
    for (controller, file, instead) in [
        ("memory", "memory.high=50m", "use `--memory`"),
        ("memory", "memory.swap.max=1", "use `--memory-swap`"),
        ("cpu", "cpu.weight=10", "use `--cpu-shares`"),
        ("pids", "pids.peak=1", "no flag does the same"),
        ("blkio", "io.max=8:0 rbps=1", "use `--device-read-bps`"),
    ] {
        if v1(controller) {
            let name = file.split('=').next().expect("a name");
            let said = format!("--cgroup-conf: `{name}` is a file of cgroup v2, and ");
            refused(file, &[&said, instead]);
        }
    }
    assert!(!host.state().exists(), "nothing was made");
    host.assert_nothing_left();
}

#[test]
fn files_that_every_group_of_cgroup_v2_has_can_be_written() {
    let Some(host) = Host::new() else { return };
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(std::path::Path::new);
    if !roots.iter().any(|root| root.join("cgroup.controllers").exists()) {
        crate::support::skip("no cgroup v2");
        return;
    }
    let ran = host.inside(
        &["--network=none", "--cgroup-conf=cgroup.max.depth=3"],
        "cat /sys/fs/cgroup/cgroup.max.depth /sys/fs/cgroup/unified/cgroup.max.depth 2>/dev/null; echo end",
    );
    assert_eq!(ran.text(), "3\nend");
    host.assert_nothing_left();
}
