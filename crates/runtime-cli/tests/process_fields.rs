//! Fields of the process and of the machine that it sees, whose effect only a program shows; also below `exec`.

mod support;

use serde_json::json;
use support::{Bundle, errors, root_only, text};

const POLICY: &str = "head -n 1 /proc/self/numa_maps | busybox cut -d ' ' -f 2";

#[test]
fn memory_policy_holds_for_the_program_and_for_exec() {
    root_only!();
    if !std::path::Path::new("/proc/self/numa_maps").exists() {
        println!("skipped: needs a kernel with NUMA");
        return;
    }
    let bundle = Bundle::hostile("memory-policy", &[]);
    bundle.edit(|config| {
        config["linux"]["memoryPolicy"] =
            json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] });
    });
    assert_eq!(text(&bundle.script(POLICY)), "bind=static:0\n");
    bundle.start_script("sleep 100");
    assert_eq!(bundle.succeed(&["exec", &bundle.id, "/bin/sh", "-c", POLICY]), "bind=static:0\n");
}

#[test]
fn personality_holds_for_the_program_and_for_exec() {
    root_only!();
    let bundle = Bundle::hostile("personality", &[]);
    let machine = text(&bundle.script("busybox uname -m"));
    bundle.edit(|config| config["linux"]["personality"] = json!({ "domain": "LINUX32", "flags": [] }));
    let told = text(&bundle.script("busybox uname -m"));
    assert!(told != machine && ["i686\n", "armv8l\n"].contains(&told.as_str()), "{told}");
    bundle.start_script("sleep 100");
    assert_eq!(bundle.succeed(&["exec", &bundle.id, "busybox", "uname", "-m"]), told);
}

/// What the kernel would end first must not be what a probe started.
#[test]
fn oom_score_holds_for_the_program_and_for_exec() {
    root_only!();
    let bundle = Bundle::hostile("oom-score", &[]);
    bundle.edit(|config| config["process"]["oomScoreAdj"] = json!(77));
    let score = ["cat", "/proc/self/oom_score_adj"];
    assert_eq!(text(&bundle.script(&score.join(" "))), "77\n");
    bundle.start_script("sleep 100");
    assert_eq!(bundle.succeed(&["exec", &bundle.id, score[0], score[1]]), "77\n");
    // A process in a file: its own, and the container's where it has none.
    for (own, told) in [(json!(88), "88\n"), (json!(null), "77\n")] {
        let file = bundle.path.join("process.json");
        let user = json!({ "uid": 12, "gid": 34 });
        let process = json!({
            "args": score, "cwd": "/", "env": ["PATH=/bin"], "user": user, "oomScoreAdj": own
        });
        std::fs::write(&file, process.to_string()).expect("written");
        let path = file.display().to_string();
        assert_eq!(bundle.succeed(&["exec", "--process", &path, &bundle.id]), told);
    }
}

#[test]
fn clocks_are_shifted_also_for_users_of_its_own() {
    root_only!();
    for users in [false, true] {
        let bundle = Bundle::hostile("clocks", &["cat", "/proc/self/timens_offsets"]);
        bundle.with_namespace("time");
        bundle.edit(|config| {
            config["linux"]["timeOffsets"] = json!({ "monotonic": { "secs": 7881, "nanosecs": 2718 } });
        });
        if users {
            bundle.give_users();
        }
        let output = bundle.run_to_its_end();
        let words: Vec<String> = text(&output).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words, ["monotonic", "7881", "2718", "boottime", "0", "0"], "{users}: {output:?}");
    }
}

/// The kernel would refuse it, but only when the program's rights are set, which is not before `start`.
#[test]
fn inheritable_capability_outside_the_bounding_set_is_refused_before_anything_is_made() {
    root_only!();
    let bundle = Bundle::hostile("inheritable", &["true"]);
    bundle.edit(|config| {
        config["process"]["capabilities"]["inheritable"] = json!(["CAP_KILL", "CAP_SYS_ADMIN"]);
        config["process"]["capabilities"]["bounding"] = json!(["CAP_KILL"]);
    });
    let output = bundle.create();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let words =
        "process.capabilities.inheritable: CAP_SYS_ADMIN is not in `bounding`: operation not permitted";
    assert!(text(&output).contains(words), "{}", text(&output));
    // A name that is wrong may be the one that is missing.
    bundle.edit(|config| config["process"]["capabilities"]["bounding"] = json!(["CAP_KILL", "CAP_ADMIN"]));
    let output = bundle.create();
    let words =
        "`bounding` (ignoring unknown or unavailable capabilities: [CAP_ADMIN]): operation not permitted";
    assert!(text(&output).contains(words), "{}", text(&output));
    bundle.assert_clean("after the refusal");
}

#[test]
fn unknown_capabilities_are_told_once_in_the_words_that_are_looked_for() {
    root_only!();
    let bundle = Bundle::hostile("unknown", &["true"]);
    bundle.edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_NONE", "CAP_KILL", "CAP_ANY", "CAP_NONE"]);
        }
    });
    let output = bundle.run();
    assert!(output.status.success(), "{output:?}");
    let told =
        "warning: process.capabilities: ignoring unknown or unavailable capabilities: [CAP_ANY CAP_NONE]\n";
    assert_eq!(errors(&output), told);
}

/// buildah asks for ambient capabilities and for no inheritable ones: such are left out, and the container starts.
#[test]
fn ambient_capability_that_can_not_be_raised_is_told_and_left_out() {
    root_only!();
    let bundle = Bundle::hostile("ambient", &[]);
    bundle.edit(|config| {
        config["process"]["capabilities"]["inheritable"] = json!(["CAP_KILL"]);
        // AUDIT_WRITE is permitted, and not inheritable.
        config["process"]["capabilities"]["ambient"] =
            json!(["CAP_KILL", "CAP_CHOWN", "CAP_FOWNER", "CAP_AUDIT_WRITE"]);
    });
    let output = bundle.script("grep CapAmb /proc/self/status");
    assert!(output.status.success(), "{output:?}");
    let told = errors(&output);
    let words = "can't raise ambient capabilities CAP_CHOWN, CAP_FOWNER, CAP_AUDIT_WRITE: ";
    assert!(told.contains(words) && !told.contains("CAP_KILL"), "{output:?}");
    assert_eq!(told.lines().count(), 1, "one line for all of them: {told}");
    assert_eq!(text(&output), "CapAmb:\t0000000000000020\n", "{output:?}");
    bundle.start_script("sleep 100");
    let status = bundle.succeed(&["exec", "--cap", "CAP_KILL", &bundle.id, "cat", "/proc/self/status"]);
    assert!(status.contains("CapAmb:\t0000000000000020"), "{status}");
}

#[test]
fn group_of_resctrl_is_refused_where_there_is_no_such_file_system() {
    root_only!();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
    if mounts.contains(" - resctrl ") {
        println!("skipped: there is such a file system");
        return;
    }
    let bundle = Bundle::new("resctrl", &["true"]);
    bundle.edit(|config| config["linux"]["intelRdt"] = json!({}));
    for output in [bundle.run_to_its_end(), bundle.create()] {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let errors = errors(&output);
        assert!(errors.contains("linux.intelRdt: Intel RDT is not enabled on this host"), "{errors}");
        assert!(errors.contains("hint: ") && errors.contains("mount -t resctrl"), "{errors}");
        bundle.assert_clean("after the refusal");
    }
}

/// Wrong in one field each; nothing is made, and the error says where it is.
#[test]
fn wrong_field_is_refused_by_its_path_and_nothing_is_made() {
    root_only!();
    let bundle = Bundle::new("wrong", &["true"]);
    let path = bundle.path.join("config.json");
    let plain: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).expect("read")).expect("JSON");
    let time = json!([{ "type": "mount" }, { "type": "time" }]);
    for (pointer, value, field) in [
        ("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0-" }), "linux.memoryPolicy.nodes"),
        ("/linux/memoryPolicy", json!({ "mode": 2 }), "linux.memoryPolicy.mode"),
        ("/linux/personality", json!({ "domain": "SOLARIS" }), "linux.personality.domain"),
        ("/linux/timeOffsets", json!({ "monotonic": { "secs": 1.5 } }), "linux.timeOffsets.monotonic.secs"),
        ("/linux/timeOffsets", json!({ "monotonic\nboottime": {} }), "linux.timeOffsets."),
        (
            "/linux/timeOffsets",
            json!({ "boottime": { "nanosecs": 1_000_000_000 } }),
            "linux.timeOffsets.boottime",
        ),
        ("/linux/netDevices", json!({ "lo": {} }), "linux.netDevices.lo"),
        ("/linux/netDevices", json!({ "a/b": {} }), "linux.netDevices.a/b"),
        ("/linux/netDevices", json!(["eth0"]), "linux.netDevices"),
        ("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_MAYBE" }), "linux.seccomp"),
        ("/linux/maskedPaths", json!([""]), "linux.maskedPaths[0]"),
        ("/linux/readonlyPaths", json!(["/a", "b/../.."]), "linux.readonlyPaths[1]"),
        ("/linux/rootfsPropagation", json!("sideways"), "linux.rootfsPropagation"),
        ("/process/scheduler", json!({ "policy": "SCHED_OTHER", "nice": 20 }), "process.scheduler.nice"),
        ("/process/scheduler", json!({ "policy": "SCHED_OTHER", "runtime": 5 }), "process.scheduler.runtime"),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_IDLE", "priority": 5 }),
            "process.scheduler.priority",
        ),
        (
            "/process/ioPriority",
            json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }),
            "process.ioPriority.priority",
        ),
        ("/process/ioPriority", json!({ "class": "best" }), "process.ioPriority.class"),
        ("/process/execCPUAffinity", json!({ "initial": "0-" }), "process.execCPUAffinity.initial"),
        ("/process/execCPUAffinity", json!({ "final": "1-0" }), "process.execCPUAffinity.final"),
        ("/process/execCPUAffinity", json!({ "final": "+1" }), "process.execCPUAffinity.final"),
        ("/process/execCPUAffinity", json!({ "final": "99999" }), "process.execCPUAffinity.final"),
        ("/process/execCPUAffinity", json!({ "initial": 0 }), "process.execCPUAffinity.initial"),
        ("/linux/intelRdt", json!({ "closID": ".." }), "linux.intelRdt.closID"),
        ("/linux/intelRdt", json!({ "schemata": "L3:0=f" }), "linux.intelRdt.schemata"),
        ("/linux/intelRdt", json!({ "memBwSchema": "0=20" }), "linux.intelRdt.memBwSchema"),
        ("/process/consoleSize", json!({ "height": 65_536, "width": 80 }), "process.consoleSize.height"),
        ("/process/user/umask", json!(4096), "process.user.umask"),
        // By which the kernel is told to leave ids as they are: the program would be root.
        ("/process/user/uid", json!(u32::MAX), "process.user.uid"),
        ("/process/user/gid", json!(u32::MAX), "process.user.gid"),
        ("/process/user/additionalGids", json!([1, u32::MAX]), "process.user.additionalGids"),
        (
            "/process/rlimits",
            json!([{ "type": "RLIMIT_NOFILE", "soft": -1, "hard": 1 }]),
            "process.rlimits[0].soft",
        ),
        ("/hostname", json!("a\0b"), "hostname"),
        ("/domainname", json!("d".repeat(65)), "domainname"),
        ("/mounts/0/options", json!("ro"), "mounts[0].options"),
        ("/mounts/0/destination", json!(null), "mounts[0].destination"),
        ("/root/path", json!(7), "root.path"),
    ] {
        bundle.edit(|config| {
            *config = plain.clone();
            let (parent, name) = pointer.rsplit_once('/').expect("one");
            config
                .pointer_mut(parent)
                .expect("there")
                .as_object_mut()
                .expect("an object")
                .insert(name.to_owned(), value.clone());
            if pointer.ends_with("timeOffsets") {
                config["linux"]["namespaces"] = time.clone();
            }
        });
        let output = bundle.run_to_its_end();
        assert!(!output.status.success(), "{pointer}: {output:?}");
        assert!(errors(&output).contains(field), "{pointer}: {output:?}");
        bundle.assert_clean(pointer);
    }
}

#[test]
fn missing_working_directory_is_made_also_below_a_read_only_root() {
    root_only!();
    let bundle = Bundle::hostile("missing-cwd", &[]);
    bundle.edit(|config| {
        config["root"]["readonly"] = json!(true);
        config["process"]["cwd"] = json!("/srv/work");
    });
    let output = bundle.script("echo $PWD; touch /srv/work/file 2>/dev/null || echo read-only");
    assert_eq!(text(&output), "/srv/work\nread-only\n", "{output:?}");
}

#[test]
fn exec_below_a_directory_that_is_missing_says_what_failed() {
    root_only!();
    let bundle = Bundle::hostile("exec-cwd", &[]);
    bundle.start_script("sleep 100");
    let output = bundle.runtime(&["exec", "--cwd", "/no/such", &bundle.id, "/bin/true"]);
    assert!(!output.status.success());
    let told = errors(&output);
    assert!(told.contains("chdir to the working directory `/no/such`"), "{told}");
}

#[test]
fn limit_above_the_callers_own_is_told_with_both_and_what_to_ask_for() {
    root_only!();
    let bundle = Bundle::new("raised-limit", &["/bin/true"]);
    let run = |limits: serde_json::Value| {
        bundle.edit(|config| config["process"]["rlimits"] = limits);
        let script = "ulimit -n 256; ulimit -u 4000; \
                      exec setpriv --bounding-set=-sys_resource --inh-caps=-all -- \"$0\" \"$@\"";
        let mut command = std::process::Command::new("bash");
        command.args(["-c", script, support::BINARY, "--root"]).arg(bundle.path.join("state"));
        command.args(["run", "--bundle"]).arg(&bundle.path).arg(&bundle.id);
        errors(&command.output().expect("bash runs"))
    };
    for (kind, asked, own) in [("RLIMIT_NOFILE", 512, 256), ("RLIMIT_NPROC", 5000, 4000)] {
        let said = run(json!([{ "type": kind, "soft": 64, "hard": asked }]));
        let flag = kind.trim_start_matches("RLIMIT_").to_ascii_lowercase();
        let (asked, own) = (format!("asked for is {asked}"), format!("`--ulimit {flag}={own}:{own}`"));
        for part in [kind, &asked, &own, "CAP_SYS_RESOURCE", "default_ulimits"] {
            assert!(said.contains(part), "lacks {part}: {said}");
        }
    }
    let most = std::fs::read_to_string("/proc/sys/fs/nr_open").expect("a kernel's setting");
    let most: u64 = most.trim().parse().expect("a number");
    bundle.edit(|config| {
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 64, "hard": most + 1 }]);
    });
    let refused = bundle.run_to_its_end();
    assert!(errors(&refused).contains(&format!("allows nobody more than {most}")), "{refused:?}");
    bundle.assert_clean("after the refusals");
}

#[test]
fn limit_of_open_files_that_nobody_can_have_is_refused_by_create() {
    root_only!();
    let bundle = Bundle::new("too-many-files", &["/bin/true"]);
    bundle.edit(|config| {
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 64, "hard": u64::MAX }]);
    });
    let refused = bundle.create();
    assert!(!refused.status.success(), "{refused:?}");
    assert!(errors(&refused).contains("RLIMIT_NOFILE"), "{refused:?}");
    bundle.assert_clean("after the refusal");
}

#[test]
fn low_limit_of_open_files_is_the_programs_and_not_the_starts() {
    root_only!();
    let bundle = Bundle::new("open-files", &[]);
    bundle.edit(|config| {
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 4, "hard": 20 }]);
        config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["prlimit64", "setrlimit"], "action": "SCMP_ACT_ERRNO" }] });
    });
    bundle.edit(|config| config["process"]["args"] = json!(["grep", "open files", "/proc/self/limits"]));
    let output = bundle.run_to_its_end();
    let words: Vec<String> = text(&output).split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["Max", "open", "files", "4", "20", "files"], "{output:?}");
    bundle.edit(|config| {
        config["root"]["readonly"] = json!(false);
        config["process"]["args"] = json!(["dd", "if=/proc/self/limits", "of=/got"]);
    });
    let output = bundle.create();
    assert!(output.status.success(), "{output:?}");
    bundle.succeed(&["start", &bundle.id]);
    bundle.wait_for("stopped");
    let got = std::fs::read_to_string(bundle.rootfs("got")).expect("written");
    assert!(got.lines().any(|line| line.starts_with("Max open files            4 ")), "{got}");
}

#[test]
fn domain_name_that_two_fields_say_differently_is_refused() {
    root_only!();
    let bundle = Bundle::hostile("domain", &["cat", "/proc/sys/kernel/domainname"]);
    for (name, field, written) in [
        ("one.example", "one.example", Some("one.example\n")),
        ("one", "other", None),
        ("one", "", Some("one\n")),
    ] {
        for parameter in ["kernel.domainname", "kernel/domainname"] {
            bundle.edit(|config| {
                config["domainname"] = json!(field);
                config["linux"]["sysctl"] = json!({ parameter: name });
            });
            let output = bundle.run_to_its_end();
            match written {
                Some(written) => assert_eq!(text(&output), written, "{output:?}"),
                None => {
                    let expected = format!(
                        "error: linux.sysctl[{parameter}]: is `one`, and `domainname` is `other`: only one can be\n"
                    );
                    assert_eq!((output.status.code(), errors(&output)), (Some(1), expected));
                }
            }
            bundle.assert_clean(parameter);
        }
    }
}
