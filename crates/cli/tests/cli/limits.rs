//! Each container in a cgroup of its own, with its limits.

use crate::support::{Host, eventually};

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
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; ls /proc > /dev/null; echo not reached";
    let ran = host.inside(&["--pids-limit=5"], script);
    assert!(ran.stderr.contains("fork"), "{ran:?}");
    assert!(!ran.stdout.contains("not reached"), "{ran:?}");
    let ran = host.inside(&["--pids-limit=-1"], "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo all");
    assert_eq!(ran.text(), "all");
    host.assert_nothing_left();
}

#[test]
fn limit_of_processors_is_in_force() {
    let Some(host) = Host::new() else { return };
    let mut container =
        host.background(&["--cpus=0.5", "--memory=32m", "--pids-limit=20"], "up", "read end; exit 7");
    let [id] = host.containers().try_into().expect("one container");
    let read = |file: &str| {
        let mut found = Host::groups_of(&id)
            .into_iter()
            .filter_map(|group| std::fs::read_to_string(group.join(file)).ok());
        found.next().map(|text| text.trim().to_owned())
    };
    let either = |v1: &str, v2: &str| read(v1).or_else(|| read(v2)).expect("one of them is there");
    assert!(["50000", "50000 100000"].contains(&either("cpu.cfs_quota_us", "cpu.max").as_str()));
    assert_eq!(either("memory.limit_in_bytes", "memory.max"), (32 << 20).to_string());
    assert_eq!(either("pids.max", "pids.max"), "20");
    container.write(b"end\n");
    assert_eq!(container.finish().code(), 7);
}

#[test]
fn daemon_that_outlives_the_program_dies_with_the_container() {
    let Some(host) = Host::new() else { return };
    assert_eq!(host.inside(&[], "sleep 1000 & (sleep 1001 &); exit 0").code(), 0);
    eventually("all of its processes are gone", || host.processes().is_empty());
    host.assert_nothing_left();
}
