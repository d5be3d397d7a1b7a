//! Each container in a cgroup of its own, with its limits: what the kernel makes of them. Refusals are elsewhere.

use std::path::{Path, PathBuf};

use crate::support::{Background, Host, eventually, has_controller, skip};

/// A container that runs, and its group.
struct Limited {
    container: Background,
    groups: Vec<PathBuf>,
}

impl Limited {
    /// Runs a script; with `read end` in it, until it is released.
    fn start(host: &Host, flags: &[&str], name: &str, script: &str) -> Limited {
        let before = host.containers();
        let container = host.background(flags, name, script);
        let new: Vec<String> = host.containers().into_iter().filter(|id| !before.contains(id)).collect();
        let [id] = new.try_into().expect("one container more");
        Limited { container, groups: Host::groups_of(&id) }
    }

    /// Kills it; the next command removes all of it.
    fn end(self, host: &Host) {
        drop(self);
        assert_eq!(host.inside(&[], "exit 3").code(), 3);
    }

    /// A control file, by its name on v1 or on v2, whichever is there.
    fn read(&self, v1: &str, v2: &str) -> Option<String> {
        let read =
            |file: &str| self.groups.iter().find_map(|group| std::fs::read_to_string(group.join(file)).ok());
        read(v1).or_else(|| read(v2)).map(|text| text.trim().to_owned())
    }

    /// The number behind a key, in the file that has it.
    fn counter(&self, file: &str, key: &str) -> Option<u64> {
        self.groups.iter().find_map(|group| {
            let text = std::fs::read_to_string(group.join(file)).ok()?;
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
        })
    }

    /// Processor time used, in microseconds.
    fn cpu_usage(&self) -> u64 {
        match self.read("cpuacct.usage", "no such file") {
            Some(nanoseconds) => nanoseconds.parse::<u64>().expect("a number") / 1000,
            None => self.counter("cpu.stat", "usage_usec").expect("v2 counts it"),
        }
    }

    /// Bytes read from device `number`, such as `8:0`.
    fn bytes_read(&self, number: &str) -> u64 {
        let v1 = self.read("blkio.throttle.io_service_bytes", "no such file");
        let text = v1.clone().or_else(|| self.read("io.stat", "io.stat")).unwrap_or_default();
        let line = text.lines().find(|line| {
            line.starts_with(&format!("{number} ")) && (v1.is_none() || line.contains(" Read "))
        });
        line.map_or(0, |line| match line.split("rbytes=").nth(1) {
            Some(rest) => rest.split(' ').next().and_then(|word| word.parse().ok()).expect("a number"),
            None => line.rsplit(' ').next().and_then(|word| word.parse().ok()).expect("a number"),
        })
    }
}

fn controller_is_there(name: &str, v1: &str) -> bool {
    let found = has_controller(name, v1);
    if !found {
        skip(&format!("this host has no cgroup controller `{v1}`"));
    }
    found
}

fn is_v1(controller: &str) -> bool {
    Path::new("/sys/fs/cgroup").join(controller).join("cgroup.procs").exists()
}

/// The processors or nodes that a process of this host may use, from its status.
fn allowed(line: &str) -> Vec<String> {
    let status = std::fs::read_to_string("/proc/self/status").expect("a readable /proc");
    let list = status.lines().find_map(|found| found.strip_prefix(line)).expect("the line").trim();
    let ends = |part: &str| -> Vec<u32> {
        part.split('-').map(|number| number.parse().expect("a number")).collect()
    };
    let range = |part: &str| {
        let ends = ends(part);
        (ends[0]..=*ends.last().expect("one at least")).map(|number| number.to_string()).collect::<Vec<_>>()
    };
    list.split(',').flat_map(range).collect()
}

#[test]
fn container_has_a_cgroup_of_its_own_that_goes_with_it() {
    let Some(host) = Host::new() else { return };
    let container = host.background(&[], "up", "cat /proc/self/cgroup; read end");
    let [id] = host.containers().try_into().expect("one container");
    assert!(!Host::groups_of(&id).is_empty());
    let ran = container.release();
    assert!(!ran.text().is_empty());
    for line in ran.text().lines() {
        let path = line.rsplit(':').next().expect("three fields");
        assert_eq!(path, "/", "its own group is the root of all that it sees: {line}");
    }
    assert!(Host::groups_of(&id).is_empty());
    host.assert_nothing_left();
}

#[test]
fn out_of_memory_kill_is_reported() {
    let Some(host) = Host::new() else { return };
    if !controller_is_there("memory", "memory") {
        return;
    }
    let rootfs = host.rootfs_flag();
    let ran = host.run(&[&rootfs, "--memory=16m", "--cmd=/bin/dd if=/dev/zero of=/dev/null bs=200M count=1"]);
    assert_eq!(ran.code(), 137, "{ran:?}");
    for part in ["out of memory", "16 MiB", "--memory"] {
        assert!(ran.stderr.contains(part), "{ran:?}");
    }
    // Files in memory count as well, and a child's death is not the container's.
    let ran = host.inside(&["-m", "16m"], "dd if=/dev/zero of=/dev/shm/a bs=1M count=40; echo code=$?");
    assert!(ran.stderr.contains("out of memory"), "{ran:?}");
    let ran = host.inside(&["--memory=64m"], "echo fits");
    assert_eq!((ran.text(), ran.stderr.as_str()), ("fits", ""));
    host.assert_nothing_left();
}

#[test]
fn fork_beyond_the_limit_of_tasks_is_refused() {
    let Some(host) = Host::new() else { return };
    if !controller_is_there("pids", "pids") {
        return;
    }
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; ls /proc > /dev/null; echo not reached";
    let ran = host.inside(&["--pids-limit=5"], script);
    assert!(ran.stderr.contains("fork"), "{ran:?}");
    assert!(!ran.stdout.contains("not reached"), "{ran:?}");
    let ran = host.inside(&["--pids-limit=-1"], "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo all");
    assert_eq!(ran.text(), "all");
    host.assert_nothing_left();
}

#[test]
fn daemon_that_outlives_the_program_dies_with_the_container() {
    let Some(host) = Host::new() else { return };
    assert_eq!(host.inside(&[], "sleep 1000 & (sleep 1001 &); exit 0").code(), 0);
    eventually("all of its processes are gone", || host.processes().is_empty());
    host.assert_nothing_left();
}

#[test]
fn share_of_processor_time_is_held_as_the_kernel_counts_it() {
    let Some(host) = Host::new() else { return };
    if !controller_is_there("cpu", "cpu") {
        return;
    }
    for flags in [&["--cpus=0.2"][..], &["--cpu-quota=4000", "--cpu-period=20000"]] {
        let limited = Limited::start(&host, flags, "up", "while :; do :; done");
        eventually("the quota ran out in twenty periods", || {
            limited.counter("cpu.stat", "nr_throttled").is_some_and(|count| count >= 20)
        });
        // The use is read first: periods that begin after it only make the share smaller.
        let usage = limited.cpu_usage();
        let periods = limited.counter("cpu.stat", "nr_periods").expect("it is counted");
        let quota = if flags.len() == 1 { 20_000 } else { 4000 };
        // What starts up before the first period, and a slice (5 ms) in each that is taken back only later.
        assert!(usage <= (periods + 5) * (quota + 5000), "{usage} microseconds in {periods} periods");
        limited.end(&host);
    }
    host.assert_nothing_left();
}

#[test]
fn neighbours_on_one_processor_get_time_by_their_shares() {
    let Some(host) = Host::new() else { return };
    if !controller_is_there("cpuset", "cpuset") || !controller_is_there("cpu", "cpu") {
        return;
    }
    let cpus = format!("--cpuset-cpus={}", allowed("Cpus_allowed_list:")[0]);
    let busy = "while :; do :; done";
    let many = Limited::start(&host, &[&cpus, "--cpu-shares=4096"], "many", busy);
    let few = Limited::start(&host, &[&cpus, "--cpu-shares=128"], "few", busy);
    let (many_before, few_before) = (many.cpu_usage(), few.cpu_usage());
    eventually("the two have used a second and a half", || {
        many.cpu_usage() + few.cpu_usage() >= many_before + few_before + 1_500_000
    });
    let (many_used, few_used) = (many.cpu_usage() - many_before, few.cpu_usage() - few_before);
    assert!(many_used > 4 * few_used, "{many_used} and {few_used} microseconds");
    drop(many);
    few.end(&host);
    host.assert_nothing_left();
}

#[test]
fn program_sees_and_gets_the_processors_and_nodes_of_its_set_alone() {
    let Some(host) = Host::new() else { return };
    if !controller_is_there("cpuset", "cpuset") {
        return;
    }
    let cpu = allowed("Cpus_allowed_list:").pop().expect("one at least");
    let node = allowed("Mems_allowed_list:").pop().expect("one at least");
    let flags = [&*format!("--cpuset-cpus={cpu}"), &*format!("--cpuset-mems={node}")];
    let script =
        "cat /proc/self/status; nproc; cat /sys/fs/cgroup/cpuset.cpus /sys/fs/cgroup/cpuset/cpuset.cpus";
    let ran = host.inside(&flags, &format!("{script} 2>/dev/null; exit 0"));
    let text = ran.text();
    assert!(text.lines().any(|line| line == format!("Cpus_allowed_list:\t{cpu}")), "{text}");
    assert!(text.lines().any(|line| line == format!("Mems_allowed_list:\t{node}")), "{text}");
    let after: Vec<&str> = text.lines().rev().take(2).collect();
    assert_eq!(after, [&*cpu, "1"], "its group's set, and the number of its processors");
    host.assert_nothing_left();
}

#[test]
fn limits_of_memory_are_in_force_as_written() {
    let Some(host) = Host::new() else { return };
    if !controller_is_there("memory", "memory") {
        return;
    }
    let flags = ["--memory=32m", "--memory-swap=48m", "--memory-reservation=16m", "--kernel-memory=8m"];
    let limited = Limited::start(&host, &flags, "up", "read end");
    assert_eq!(limited.read("memory.limit_in_bytes", "memory.max"), Some((32 << 20).to_string()));
    assert_eq!(limited.read("memory.soft_limit_in_bytes", "memory.low"), Some((16 << 20).to_string()));
    // v1 counts both together, v2 swap alone.
    let (v1, v2) = ("memory.memsw.limit_in_bytes", "memory.swap.max");
    let expected = if is_v1("memory") { 48 << 20 } else { 16 << 20 };
    if limited.groups.iter().any(|group| group.join(v1).exists() || group.join(v2).exists()) {
        assert_eq!(limited.read(v1, v2), Some(expected.to_string()));
    }
    let ran = limited.container.release();
    assert!(ran.stderr.contains("`--kernel-memory` is left out"), "{ran:?}");
    let unlimited = Limited::start(&host, &["--memory=32m", "--memory-swap=-1"], "up", "read end");
    if let Some(swap) = unlimited.read(v1, v2) {
        assert!(swap == "max" || swap.parse::<u64>().is_ok_and(|bytes| bytes > 1 << 60), "{swap}");
    }
    unlimited.container.release();
    host.assert_nothing_left();
}

#[test]
fn program_out_of_memory_waits_where_killing_is_off() {
    let Some(host) = Host::new() else { return };
    let flags = ["--memory=16m", "--oom-kill-disable", "--memory-swappiness=7"];
    if !is_v1("memory") {
        if controller_is_there("memory", "memory") {
            let ran = host.inside(&flags, "echo ran");
            assert_eq!(ran.text(), "ran");
            assert!(ran.stderr.contains("`--oom-kill-disable` is left out"), "{ran:?}");
            assert!(ran.stderr.contains("`--memory-swappiness` is left out"), "{ran:?}");
        }
        return;
    }
    // Touched by the program itself: for a page that a system call misses, the kernel has the call fail and nobody wait.
    let script = "text=0123456789abcdef; while :; do text=$text$text; done";
    let limited = Limited::start(&host, &flags, "up", script);
    eventually("it waits for memory", || limited.counter("memory.oom_control", "under_oom") == Some(1));
    assert_eq!(limited.counter("memory.oom_control", "oom_kill"), Some(0));
    assert_eq!(limited.read("memory.swappiness", ""), Some("7".to_owned()));
    limited.end(&host);
    host.assert_nothing_left();
}

/// The disk below a path: its numbers and its node.
fn disk_below(path: &Path) -> Option<(String, PathBuf)> {
    use std::os::unix::fs::MetadataExt;
    let device = std::fs::metadata(path).ok()?.dev();
    let numbers = |device| format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let mut entry = std::fs::canonicalize(format!("/sys/dev/block/{}", numbers(device))).ok()?;
    if entry.join("partition").exists() {
        entry.pop();
    }
    let numbers = std::fs::read_to_string(entry.join("dev")).ok()?.trim().to_owned();
    Some((numbers, Path::new("/dev").join(entry.file_name()?)))
}

#[test]
fn reading_a_disk_is_slowed_down_to_the_limit() {
    let Some(host) = Host::new() else { return };
    if !controller_is_there("io", "blkio") {
        return;
    }
    let Some((number, disk)) = disk_below(&host.rootfs()).filter(|(_, disk)| disk.exists()) else {
        skip("the tests' directory lies on no disk");
        return;
    };
    host.set_up(&format!("dd if=/dev/zero of={}/data bs=1M count=8 conv=fsync", host.rootfs().display()));
    let script = "while dd if=/data of=/dev/null bs=4k iflag=direct 2>/dev/null; do :; done";
    // Two at once have the same time, however long it is: what each got of it shows the limit.
    let flag = |rate: &str| format!("--device-read-bps={}:{rate}", disk.display());
    let slow = Limited::start(&host, &[&flag("64k")], "slow", script);
    let quick = Limited::start(&host, &[&flag("1m")], "quick", script);
    let (slow_before, quick_before) = (slow.bytes_read(&number), quick.bytes_read(&number));
    eventually("the quick one has read three megabytes", || {
        quick.bytes_read(&number) >= quick_before + (3 << 20)
    });
    let (slow_read, quick_read) =
        (slow.bytes_read(&number) - slow_before, quick.bytes_read(&number) - quick_before);
    assert!(quick_read > 8 * slow_read, "{quick_read} bytes at 1m, and {slow_read} at 64k");
    assert!(slow_read > 0, "the slow one reads, too");
    drop(slow);
    quick.end(&host);
    std::fs::remove_file(host.rootfs().join("data")).expect("the file is there");
    host.assert_nothing_left();
}

#[test]
fn limits_of_a_disk_reach_the_kernel() {
    let Some(host) = Host::new() else { return };
    if !controller_is_there("io", "blkio") {
        return;
    }
    let Some((number, disk)) = disk_below(&host.rootfs()).filter(|(_, disk)| disk.exists()) else {
        skip("the tests' directory lies on no disk");
        return;
    };
    let rates = [("read-bps", "3m"), ("write-bps", "2m"), ("read-iops", "70"), ("write-iops", "60")];
    let flags: Vec<String> =
        rates.iter().map(|(kind, rate)| format!("--device-{kind}={}:{rate}", disk.display())).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let limited = Limited::start(&host, &flags, "up", "read end");
    if is_v1("blkio") {
        for (file, rate) in
            [("read_bps", 3 << 20), ("write_bps", 2 << 20), ("read_iops", 70), ("write_iops", 60)]
        {
            let found = limited.read(&format!("blkio.throttle.{file}_device"), "");
            assert_eq!(found, Some(format!("{number} {rate}")), "{file}");
        }
    } else {
        let expected = format!("{number} rbps={} wbps={} riops=70 wiops=60", 3 << 20, 2 << 20);
        assert_eq!(limited.read("io.max", "io.max"), Some(expected));
    }
    limited.container.release();
    host.assert_nothing_left();
}

#[test]
fn weights_of_disks_are_in_force_or_are_said_to_be_left_out() {
    let Some(host) = Host::new() else { return };
    if !controller_is_there("io", "blkio") {
        return;
    }
    let limited = Limited::start(&host, &["--blkio-weight=300"], "up", "read end");
    let files = ["blkio.bfq.weight", "io.bfq.weight", "io.weight"];
    let found = files.into_iter().find_map(|file| limited.read(file, file));
    let ran = limited.container.release();
    if ran.stderr.contains("`--blkio-weight` is left out") {
        assert_eq!(found.as_deref().map(|text| text.contains("300")), None, "{found:?}");
    } else {
        let text = found.expect("a weight");
        // io.weight has a scale of its own: 1 to 10000.
        assert!(text.contains("300") || text.contains("2930"), "{text}");
    }
    host.assert_nothing_left();
}

#[test]
fn limits_of_processes_are_in_force() {
    let Some(host) = Host::new() else { return };
    let script = "ulimit -n; ulimit -Hn; ulimit -c; exec 70</dev/null; echo not reached";
    let ran = host.inside(&["--ulimit=nofile=64:128", "--ulimit=core=5", "--ulimit=core=0"], script);
    assert_eq!(ran.stdout.trim(), "64\n128\n0", "{ran:?}");
    host.assert_nothing_left();
}

#[test]
fn score_for_want_of_memory_is_the_one_asked_for() {
    let Some(host) = Host::new() else { return };
    assert_eq!(host.inside(&["--oom-score-adj=345"], "cat /proc/self/oom_score_adj").text(), "345");
    // Below the caller's own it takes a privilege, which not every root has.
    let mut command = host.command("setpriv");
    command.args(["--bounding-set=-sys_resource", "--inh-caps=-all", "--"]).arg(crate::support::binary());
    command.args([&format!("--state-dir={}", host.state().display()), &host.rootfs_flag()]);
    command.args(["--oom-score-adj=-999", "--cmd=/bin/true"]);
    let ran = crate::support::finish(command.spawn().expect("setpriv runs"), None);
    ran.refuses(125, &["--oom-score-adj", "CAP_SYS_RESOURCE"]);
    host.assert_nothing_left();
}

#[test]
fn shared_memory_has_the_size_asked_for() {
    let Some(host) = Host::new() else { return };
    let fill = |megabytes| format!("dd if=/dev/zero of=/dev/shm/a bs=1M count={megabytes}");
    assert_eq!(host.inside(&["--shm-size=2m"], &fill(2)).code(), 0);
    let ran = host.inside(&["--shm-size=2m"], &fill(3));
    assert!(ran.code() != 0 && ran.stderr.to_lowercase().contains("no space"), "{ran:?}");
    assert_eq!(host.inside(&["--shm-size=100m"], &fill(80)).code(), 0);
    host.assert_nothing_left();
}

#[test]
fn container_lies_below_the_parent_that_was_named() {
    let Some(host) = Host::new() else { return };
    let parent = format!("parent-of-{}", host.pid());
    let flag = format!("--cgroup-parent=/{parent}");
    let limited = Limited::start(&host, &[&flag], "up", "read end");
    assert!(!limited.groups.is_empty());
    for group in &limited.groups {
        assert!(group.parent().is_some_and(|found| found.ends_with(&parent)), "{}", group.display());
    }
    limited.container.release();
    // It may be somebody else's, so it stays.
    for group in &limited.groups {
        std::fs::remove_dir(group.parent().expect("the parent")).expect("an empty group");
    }
    host.assert_nothing_left();
}
