//! Commands that act on a container's cgroup where that can't be seen, or where there is none: they say so instead of doing
//! nothing.

mod support;

use std::process::Command;

use serde_json::json;
use support::{Bundle, errors, root_only, text};

#[test]
fn commands_that_need_the_cgroup_fail_where_it_is_hidden() {
    root_only!();
    let bundle = Bundle::new("hidden", &["sleep", "1000"]);
    let id = bundle.id.as_str();
    assert!(bundle.create().status.success());
    bundle.succeed(&["start", id]);
    for arguments in
        [&["pause", id][..], &["kill", "--all", id, "TERM"], &["ps", id], &["delete", "--force", id]]
    {
        // In a mount namespace of its own.
        let runtime = bundle.command(arguments);
        let mut hidden = Command::new("unshare");
        hidden.args(["--mount", "--propagation=private", "sh", "-c"]);
        hidden.arg("mount -t tmpfs none /sys/fs/cgroup && exec \"$0\" \"$@\"");
        hidden.arg(runtime.get_program()).args(runtime.get_args());
        let output = hidden.output().expect("it runs");
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        assert!(errors(&output).contains("cgroup"), "{arguments:?}: {output:?}");
    }
    // Killed it is, and its record is still there for whoever sees the group.
    bundle.succeed(&["delete", "--force", id]);
    bundle.assert_clean("after the removal");
}

#[test]
fn container_without_a_cgroup_stays_in_its_callers_and_says_so() {
    root_only!();
    let bundle = Bundle::new("disabled", &["sleep", "1000"]);
    let id = bundle.id.as_str();
    let path = bundle.path.display().to_string();
    let run = ["--cgroup-manager", "disabled", "run", "--detach", "--bundle", &path, id];
    let output = bundle.quiet(&run);
    assert!(output.status.success(), "{output:?}");
    // The default config closes all devices.
    let warning = "warning: linux.resources.devices: left out, as it takes a cgroup";
    assert!(text(&output).starts_with(warning), "{}", text(&output));
    assert_eq!(bundle.groups(), Vec::<std::path::PathBuf>::new());
    let groups = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its groups");
    assert_eq!(groups(&bundle.pid().to_string()), groups("self"));
    for arguments in [
        &["pause", id][..],
        &["ps", id],
        &["update", "--memory", "64m", id],
        &["events", id],
        &["kill", "--all", id, "TERM"],
        &["exec", "--cgroup", "below", id, "true"],
    ] {
        let output = bundle.runtime(arguments);
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        assert!(errors(&output).contains("the container has no cgroup"), "{arguments:?}: {output:?}");
    }
    assert_eq!(bundle.status(), "running");
    // Pollers take nothing for an answer, as runc has it.
    let line: serde_json::Value =
        serde_json::from_str(&bundle.succeed(&["events", "--stats", id])).expect("a line of JSON");
    assert_eq!((&line["type"], &line["id"]), (&json!("stats"), &json!(id)));
    assert_eq!(line["data"]["cpu"]["usage"], json!({ "total": 0, "kernel": 0, "user": 0 }));
    assert_eq!(line["data"]["memory"]["usage"]["usage"], json!(0));
    assert_eq!(line["data"]["pids"], json!({}));
    assert_eq!(bundle.succeed(&["exec", id, "sh", "-c", "echo $PPID"]).trim(), "0");
    bundle.succeed(&["kill", "--all", id, "KILL"]);
    bundle.wait_for("stopped");
    bundle.succeed(&["delete", id]);
    assert!(bundle.quiet(&run).status.success());
    bundle.succeed(&["delete", "--force", id]);
    bundle.assert_clean("after the removal");
}

/// Its other processes can't be found, but the first one can be killed.
#[test]
fn container_in_anothers_pid_namespace_without_a_cgroup_is_killed_by_its_init() {
    root_only!();
    let script = "sleep 1000 & echo $! >/child; exec sleep 1000";
    let bundle = Bundle::new("disabled-pids", &["/bin/sh", "-c", script]);
    bundle.without_namespace("pid");
    bundle.edit(|config| config["root"]["readonly"] = json!(false));
    let path = bundle.path.display().to_string();
    let run = ["--cgroup-manager", "disabled", "run", "--detach", "--bundle", &path, &bundle.id];
    let output = bundle.quiet(&run);
    assert!(output.status.success(), "{output:?}");
    let warning = "warning: linux.namespaces: with neither a cgroup nor a pid namespace of its own, what the container \
                   leaves running stays";
    assert!(text(&output).contains(warning), "{}", text(&output));
    let mut child = None;
    support::eventually("the child", || {
        child = std::fs::read_to_string(bundle.rootfs("child")).ok().and_then(|pid| pid.trim().parse().ok());
        child.is_some()
    });
    let child = child.and_then(rustix::process::Pid::from_raw).expect("a pid");
    let output = bundle.runtime(&["kill", "--all", &bundle.id, "KILL"]);
    assert!(errors(&output).contains("the container has no cgroup"), "{output:?}");
    bundle.succeed(&["kill", &bundle.id, "KILL"]);
    bundle.wait_for("stopped");
    bundle.succeed(&["delete", &bundle.id]);
    // Of this one it was warned.
    rustix::process::kill_process(child, rustix::process::Signal::KILL).expect("it is still there");
    bundle.assert_clean("after the removal");
}

#[test]
fn limit_without_a_cgroup_is_refused_by_its_field() {
    root_only!();
    let bundle = Bundle::new("disabled-limits", &["true"]);
    let path = bundle.path.display().to_string();
    let run = ["--cgroup-manager", "disabled", "run", "--bundle", &path, &bundle.id];
    let cases = [
        ("memory", json!({ "limit": 1 << 26 })),
        ("cpu", json!({ "shares": 512 })),
        ("pids", json!({ "limit": 10 })),
        ("blockIO", json!({ "weight": 10 })),
        ("hugepageLimits", json!([{ "pageSize": "2MB", "limit": 0 }])),
        ("network", json!({ "classID": 1 })),
        ("rdma", json!({ "mlx5_1": { "hcaHandles": 3 } })),
        ("unified", json!({ "memory.high": "1000000" })),
    ];
    for (name, value) in cases {
        bundle.edit(|config| config["linux"]["resources"] = json!({ name: value }));
        let output = bundle.runtime(&run);
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        let expected = format!("error: linux.resources.{name}: takes a cgroup");
        assert!(errors(&output).starts_with(&expected), "{}", errors(&output));
    }
    bundle.edit(|config| {
        config["linux"]["resources"] = json!({ "memory": {} });
        config["linux"]["cgroupsPath"] = json!("/a/place");
    });
    let output = bundle.runtime(&run);
    assert!(errors(&output).starts_with("error: linux.cgroupsPath: names a cgroup"), "{output:?}");
    bundle.edit(|config| config["linux"]["cgroupsPath"] = json!(""));
    let output = bundle.runtime(&run);
    assert_eq!((output.status.code(), &*errors(&output)), (Some(0), ""), "{output:?}");
    bundle.assert_clean("after the runs");
}
