//! Limits of a container that lives: changed by `update`, told by `events`.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};
use support::{Bundle, errors, root_only, text};

/// The first of these files that some group of the container has.
fn control_file(bundle: &Bundle, names: [&str; 2]) -> String {
    find_control_file(bundle, names).expect("one hierarchy has it").trim().to_owned()
}

fn has_control_file(bundle: &Bundle, names: [&str; 2]) -> bool {
    find_control_file(bundle, names).is_some()
}

fn find_control_file(bundle: &Bundle, names: [&str; 2]) -> Option<String> {
    let groups = bundle.groups();
    let read = |name: &&str| groups.iter().find_map(|group| std::fs::read_to_string(group.join(name)).ok());
    names.iter().find_map(read)
}

#[test]
fn update_changes_what_it_names_and_nothing_else() {
    root_only!();
    let bundle = Bundle::new("update", &["sleep", "1000"]);
    bundle.edit(|config| config["linux"]["resources"]["pids"] = json!({ "limit": 33 }));
    let started = bundle.quiet(&["run", "-d", "-b", &bundle.path.display().to_string(), &bundle.id]);
    assert!(started.status.success(), "{started:?}");
    let changed = bundle.runtime(&["update", "--memory", "64m", "--cpu-quota", "50000", &bundle.id]);
    assert!(changed.status.success(), "{changed:?}");
    assert_eq!(control_file(&bundle, ["memory.limit_in_bytes", "memory.max"]), (64 << 20).to_string());
    assert!(control_file(&bundle, ["cpu.cfs_quota_us", "cpu.max"]).starts_with("50000"));
    assert_eq!(control_file(&bundle, ["pids.max", "pids.max"]), "33");
    let path = bundle.path.join("resources.json");
    std::fs::write(&path, json!({ "memory": { "limit": 80 << 20 }, "pids": { "limit": 7 } }).to_string())
        .expect("written");
    let changed = bundle.runtime(&["update", "-r", &path.display().to_string(), &bundle.id]);
    assert!(changed.status.success(), "{changed:?}");
    assert_eq!(control_file(&bundle, ["memory.limit_in_bytes", "memory.max"]), (80 << 20).to_string());
    assert_eq!(control_file(&bundle, ["pids.max", "pids.max"]), "7");
    // The devices of every container still work: no rule was written anew.
    let worked = bundle.runtime(&["exec", &bundle.id, "sh", "-c", "echo x >/dev/null"]);
    assert!(worked.status.success(), "{worked:?}");
    bundle.succeed(&["delete", "--force", &bundle.id]);
    let gone = bundle.runtime(&["update", "--memory", "64m", &bundle.id]);
    assert!(errors(&gone).contains("does not exist"), "{gone:?}");
}

#[test]
fn update_refuses_wrong_values_before_it_writes_any() {
    root_only!();
    let bundle = Bundle::new("update-wrong", &["sleep", "1000"]);
    let started = bundle.quiet(&["run", "-d", "-b", &bundle.path.display().to_string(), &bundle.id]);
    assert!(started.status.success(), "{started:?}");
    let before = control_file(&bundle, ["pids.max", "pids.max"]);
    let cases: [(&[&str], &str); 7] = [
        // This machine has none of it; where there is, these are no lines for it.
        (&["--pids-limit", "5", "--l3-cache-schema", "nonsense"], "--l3-cache-schema"),
        (&["--pids-limit", "5", "--mem-bw-schema", "nonsense"], "--mem-bw-schema"),
        (&["--pids-limit", "5", "--memory", "64x"], "`64x` is not a size"),
        (&["--pids-limit", "5", "--cpu-share", "99999999999999999999"], "--cpu-share"),
        (&["--pids-limit", "5", "--cpu-period", "-1"], "--cpu-period"),
        (&["--pids-limit", "5", "--blkio-weight", "70000"], "--blkio-weight"),
        (&["--pids-limit", "5", "--nonsense", "1"], "--nonsense"),
    ];
    for (options, words) in cases {
        let refused = bundle.runtime(&[&["update"], options, &[bundle.id.as_str()]].concat());
        assert_eq!(refused.status.code(), Some(1), "{options:?} {refused:?}");
        assert!(errors(&refused).contains(words), "{options:?} {refused:?}");
    }
    let mut child = bundle
        .command(&["update", "-r", "-", &bundle.id])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let document = r#"{"pids": {"limit": 5}, "memory": {"limit": "much"}}"#;
    child.stdin.take().expect("a pipe").write_all(document.as_bytes()).expect("written");
    let refused = child.wait_with_output().expect("it ends");
    assert!(errors(&refused).contains("memory.limit"), "{refused:?}");
    assert_eq!(control_file(&bundle, ["pids.max", "pids.max"]), before);
    bundle.succeed(&["delete", "--force", &bundle.id]);
}

#[test]
fn events_tell_usage_and_that_memory_ran_out() {
    root_only!();
    let script = "while [ ! -e /go ]; do sleep 0.1; done; busybox tail /dev/zero; sleep 1000";
    let bundle = Bundle::new("events", &["sh", "-c", script]);
    bundle.edit(|config| {
        config["linux"]["resources"]["memory"] = json!({ "limit": 16 << 20 });
        config["linux"]["resources"]["pids"] = json!({ "limit": 20 });
    });
    let started = bundle.quiet(&["run", "-d", "-b", &bundle.path.display().to_string(), &bundle.id]);
    assert!(started.status.success(), "{started:?}");
    let once = bundle.runtime(&["events", "--stats", &bundle.id]);
    let beginning = format!("{{\"type\":\"stats\",\"id\":\"{}\",\"data\":{{", bundle.id);
    assert!(text(&once).starts_with(&beginning), "{once:?}");
    let document: Value = serde_json::from_str(text(&once).trim()).expect("one JSON document");
    assert_eq!((&document["type"], &document["id"]), (&json!("stats"), &json!(bundle.id)));
    let data = &document["data"];
    assert_eq!(data["memory"]["usage"]["limit"], json!(16 << 20), "{data}");
    assert_eq!(data["pids"]["limit"], json!(20), "{data}");
    assert!(data["pids"]["current"].as_u64() >= Some(1), "{data}");
    assert!(data["cpu"]["usage"]["total"].as_u64() > Some(0), "{data}");
    for path in [
        "/cpuset/mem_exclusive",
        "/memory/swap/limit",
        "/memory/kernelTCP/failcnt",
        "/memory/raw/pgfault",
        "/blkio/ioServicedRecursive",
        "/hugetlb",
        "/intel_rdt",
        "/network_interfaces",
    ] {
        assert!(data.pointer(path).is_some(), "{path}: {data}");
    }
    // runc's fields, where the kernel counts what is waited for (PSI).
    let counted = has_control_file(&bundle, ["cpu.pressure", "cpu.pressure"]);
    let waits = data["cpu"]["psi"]["some"]["total"].as_u64();
    assert_eq!(waits.is_some(), counted, "{data}");
    if counted {
        for (resource, kind) in [("cpu", "some"), ("cpu", "full"), ("memory", "some"), ("blkio", "full")] {
            let stall = &data[resource]["psi"][kind];
            assert!(stall["avg10"].is_number() && stall["total"].is_u64(), "{resource} {kind}: {data}");
        }
    }
    let mut follower = bundle
        .command(&["events", "--interval", "100ms", &bundle.id])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(follower.stdout.take().expect("a pipe")).lines();
    let mut kind = || -> String {
        let line = lines.next().expect("events go on while the container lives").expect("readable");
        let document: Value = serde_json::from_str(&line).expect("a JSON document a line");
        document["type"].as_str().expect("a type").to_owned()
    };
    assert_eq!(kind(), "stats");
    std::fs::write(bundle.path.join("rootfs/go"), "").expect("written");
    while kind() != "oom" {}
    bundle.succeed(&["delete", "--force", &bundle.id]);
    // The end of the container is the end of its events.
    assert!(follower.wait().expect("it ends").success());
}

#[test]
fn limit_that_needs_another_is_completed_from_what_the_group_has() {
    root_only!();
    let bundle = Bundle::new("update-alone", &["sleep", "1000"]);
    bundle.edit(|config| {
        config["linux"]["resources"]["memory"] = json!({ "limit": 32 << 20 });
        config["linux"]["resources"]["cpu"] = json!({ "quota": 50_000, "period": 100_000 });
    });
    let started = bundle.quiet(&["run", "-d", "-b", &bundle.path.display().to_string(), &bundle.id]);
    assert!(started.status.success(), "{started:?}");
    bundle.succeed(&["update", "--cpu-period", "200000", &bundle.id]);
    let period = control_file(&bundle, ["cpu.cfs_period_us", "cpu.max"]);
    assert!(period.ends_with("200000"), "{period}");
    assert!(control_file(&bundle, ["cpu.cfs_quota_us", "cpu.max"]).starts_with("50000"));
    bundle.succeed(&["update", "--pids-limit", "0", &bundle.id]);
    // Names as Go's callers may write them.
    std::fs::write(
        bundle.path.join("resources.json"),
        r#"{"cpu": {"shares": 512}, "CPU": {"Cpus": "0", "Mems": "0"}}"#,
    )
    .expect("written");
    let path = bundle.path.join("resources.json").display().to_string();
    bundle.succeed(&["update", "-r", &path, &bundle.id]);
    assert_eq!(control_file(&bundle, ["cpuset.cpus", "cpuset.cpus"]), "0");
    assert_eq!(
        control_file(&bundle, ["cpu.shares", "cpu.weight"]),
        if has_control_file(&bundle, ["cpu.shares"; 2]) { "512" } else { "59" }
    );
    assert_eq!(control_file(&bundle, ["pids.max", "pids.max"]), "1");
    // Kernels without swap accounting have neither file, and nothing to change.
    if has_control_file(&bundle, ["memory.memsw.limit_in_bytes", "memory.swap.max"]) {
        bundle.succeed(&["update", "--memory-swap", "48m", &bundle.id]);
        let swap = control_file(&bundle, ["memory.memsw.limit_in_bytes", "memory.swap.max"]);
        assert!([(48_u64 << 20).to_string(), (16_u64 << 20).to_string()].contains(&swap), "{swap}");
    }
    bundle.succeed(&["delete", "--force", &bundle.id]);
}

#[test]
fn words_of_cgroup_v2_are_refused_where_only_v1_is() {
    root_only!();
    if !std::path::Path::new("/sys/fs/cgroup/memory").exists() {
        println!("skipped: this host has no cgroup v1");
        return;
    }
    let bundle = Bundle::new("unified", &["true"]);
    bundle.edit(|config| config["linux"]["resources"]["unified"] = json!({ "memory.min": "131072" }));
    let path = bundle.path.display().to_string();
    let runtime = bundle.command(&["run", "-b", &path, &bundle.id]);
    let mut alone = std::process::Command::new("unshare");
    alone.args(["--mount", "--propagation=private", "sh", "-c"]);
    alone.arg("umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$0\" \"$@\"");
    alone.arg(runtime.get_program()).args(runtime.get_args());
    let refused = alone.output().expect("it runs");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    for words in ["linux.resources", "unified", "invalid configuration", "cgroup v2"] {
        assert!(errors(&refused).contains(words), "{words}: {refused:?}");
    }
    bundle.assert_clean("after the refusal");
}

#[test]
fn group_in_use_is_refused_and_its_container_goes_on() {
    root_only!();
    let first = Bundle::new("in-use", &["sleep", "1000"]);
    let group = format!("/{}-shared", first.id);
    let second = Bundle::new("in-use", &["true"]);
    for bundle in [&first, &second] {
        bundle.edit(|config| config["linux"]["cgroupsPath"] = json!(group));
    }
    assert!(first.create().status.success());
    first.succeed(&["start", &first.id]);
    let refused = second.run();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(errors(&refused).contains("the container's cgroup is not empty"), "{refused:?}");
    second.assert_clean("after the refusal");
    assert_eq!(first.status(), "running");
    first.succeed(&["pause", &first.id]);
    let refused = first.runtime(&["exec", &first.id, "true"]);
    assert_eq!(refused.status.code(), Some(255), "{refused:?}");
    assert!(errors(&refused).contains("cannot exec in a paused container"), "{refused:?}");
    first.succeed(&["delete", "--force", &first.id]);
    first.assert_clean("after the removal");
}

#[test]
fn exec_joins_a_group_below_the_containers() {
    root_only!();
    for own_view in [false, true] {
        let bundle = Bundle::new("below", &["sleep", "1000"]);
        let id = bundle.id.as_str();
        bundle.without_namespace("cgroup");
        if own_view {
            bundle.with_namespace("cgroup");
        }
        assert!(bundle.create().status.success());
        bundle.succeed(&["start", id]);
        let groups = bundle.groups();
        // A single hierarchy can be asked for on v1 alone.
        let pids = groups.iter().find(|group| group.starts_with("/sys/fs/cgroup/pids"));
        let prefix = if pids.is_some() { "pids:" } else { "" };
        let missing = format!("{prefix}missing");
        for (argument, words) in [
            ("..", "bad sub cgroup path"),
            ("a/../../b", "bad sub cgroup path"),
            ("nowhere", "no such file or directory"),
            (&missing, "no such file or directory"),
            (&missing, " adding pid "),
            ("whatever:/", "unknown controller"),
        ] {
            let refused = bundle.runtime(&["exec", "--cgroup", argument, id, "true"]);
            assert_eq!(refused.status.code(), Some(255), "{argument}: {refused:?}");
            assert!(errors(&refused).contains(words), "{argument}: {refused:?}");
        }
        for group in &groups {
            std::fs::create_dir(group.join("inner")).expect("a child group");
            // A new cpuset of v1 has no processors, and takes nobody until it has.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = std::fs::read(group.join(file)) {
                    std::fs::write(group.join("inner").join(file), value).expect("filled");
                }
            }
        }
        let own = if own_view { ":/inner".to_owned() } else { format!("{id}/inner") };
        let listed = bundle.succeed(&["exec", "--cgroup", "inner", id, "cat", "/proc/self/cgroup"]);
        assert_eq!(listed.lines().filter(|line| line.ends_with(&own)).count(), groups.len(), "{listed}");
        for arguments in [&["exec"][..], &["exec", "--cgroup", "/"]] {
            let listed = bundle.succeed(&[arguments, &[id, "cat", "/proc/self/cgroup"]].concat());
            assert!(!listed.contains(&own), "{arguments:?}: {listed}");
        }
        let pid_file = bundle.path.join("pid").display().to_string();
        let choice = format!("{prefix}inner");
        let started =
            bundle.quiet(&["exec", "-d", "--pid-file", &pid_file, "--cgroup", &choice, id, "sleep", "1000"]);
        assert!(started.status.success(), "{started:?}");
        let pid = std::fs::read_to_string(&pid_file).expect("a pid file");
        let inner = pids.or(groups.first()).expect("the container's group").join("inner");
        let members = std::fs::read_to_string(inner.join("cgroup.procs")).expect("its members");
        assert_eq!(members.trim(), pid.trim());
        bundle.succeed(&["delete", "--force", id]);
        bundle.assert_clean("after the removal, with the groups below");
    }
}
