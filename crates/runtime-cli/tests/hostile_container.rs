//! What runs inside attacks whoever comes in from outside, and asks for more than it was given (docs/security.md).

mod support;

use std::path::Path;

use serde_json::json;
use support::{Bundle, Victim, errors, finish, root_only, text};

fn status(text: &str, field: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).trim().to_owned()
}

/// CVE-2016-9962: a process that joins is attached to before its program begins. Whoever may open `/proc/PID/mem` may
/// attach; its descriptors, its environment and its binary are the host's.
#[test]
fn process_that_joins_can_not_be_attached_to_or_looked_into() {
    root_only!();
    let bundle = Bundle::hostile("join", &[]);
    bundle.edit(|config| config["root"]["readonly"] = json!(false));
    // With what the shell has built in, as a process would come too late. What is won counts if the name still is that
    // of the runtime and can still be read: the program that follows is the image's own.
    let attacker =
        "won() { read -r name <$process/comm && test \"$name\" = rabbitc-runtime && echo $1 >>/won; }
        while :; do for process in /proc/[0-9]*; do
        read -r name <$process/comm || continue
        test \"$name\" = rabbitc-runtime || continue
        echo seen >>/seen
        true <$process/mem && won memory
        true <$process/environ && won environment
        true <$process/exe && won binary
        test -e $process/fd/0 && won descriptors
        test -e $process/root/bin && won root
        test -e $process/cwd/. && won directory
        done; done 2>/dev/null";
    bundle.start_script(&format!("({attacker}) & {attacker}"));
    // A program that is looked for in thousands of places, and with much to copy at the end, stands still for long:
    // with the rights of the runtime at first, and with those of the image at last.
    let process = bundle.path.join("process.json");
    let mut environment = vec![format!("PATH={}/bin", "/none:".repeat(4_000))];
    environment.extend((0..4).map(|number| format!("FILL{number}={}", "x".repeat(120_000))));
    let config = std::fs::read_to_string(bundle.path.join("config.json")).expect("read");
    let mut config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    config["process"]["args"] = json!(["true"]);
    config["process"]["env"] = json!(environment);
    std::fs::write(&process, config["process"].to_string()).expect("written");
    let mut ran = 0;
    for _ in 0..60 {
        let mut command = bundle.command(&["exec", "--process"]);
        command.arg(&process);
        let output = finish(command.arg(&bundle.id).env("CALLER", "secret"));
        assert!(output.status.success(), "{output:?}");
        ran += 1;
    }
    let seen = std::fs::read_to_string(bundle.rootfs("seen")).unwrap_or_default().lines().count();
    assert!(seen > ran / 4, "the attacker came in time: {seen}");
    let won = std::fs::read_to_string(bundle.rootfs("won")).unwrap_or_default();
    assert!(won.is_empty(), "{won}");
    bundle.succeed(&["delete", "--force", &bundle.id]);
}

/// CVE-2022-29162 and its kin: no set holds more than was asked for, neither at the start nor by `exec`, and nothing is
/// left of them for another user.
#[test]
fn capabilities_are_those_of_the_configuration_and_none_for_other_users() {
    root_only!();
    let bundle = Bundle::hostile("capabilities", &[]);
    bundle.edit(|config| config["root"]["readonly"] = json!(false));
    bundle.start_script("cat /proc/1/status >/status; sleep 1000");
    let own = bundle.rootfs("status");
    support::eventually("the container tells", || {
        std::fs::read_to_string(&own).is_ok_and(|text| text.contains("Seccomp"))
    });
    // AUDIT_WRITE, KILL and NET_BIND_SERVICE, as `spec` writes.
    let (given, none) = ("0000000020000420", "0000000000000000");
    let sets = |text: &str| -> Vec<String> {
        ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"].map(|field| status(text, field)).to_vec()
    };
    let start = std::fs::read_to_string(&own).expect("read");
    assert_eq!(sets(&start), [given, given, given, none, none]);
    let exec = |options: &[&str]| {
        let mut arguments = vec!["exec"];
        arguments.extend(options);
        arguments.extend([&bundle.id, "cat", "/proc/self/status"]);
        bundle.succeed(&arguments)
    };
    assert_eq!(sets(&exec(&[])), [given, given, given, none, none]);
    let other = exec(&["--user", "1000:1001", "-g", "1002"]);
    assert_eq!(sets(&other), [none, none, given, none, none]);
    assert_eq!(status(&other, "Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(status(&other, "Gid"), "1001\t1001\t1001\t1001");
    assert_eq!(status(&other, "Groups"), "1002");
    assert_eq!(status(&other, "NoNewPrivs"), "1");
    bundle.succeed(&["delete", "--force", &bundle.id]);
}

/// CVE-2024-40635, CVE-2026-30892: a user that is not one is refused, and never cut down to another's number.
#[test]
fn user_that_is_no_number_is_refused_and_starts_nothing() {
    root_only!();
    let bundle = Bundle::hostile("users", &[]);
    bundle.edit(|config| config["root"]["readonly"] = json!(false));
    // The names of the root are no business of this verb.
    std::fs::create_dir(bundle.rootfs("etc")).expect("made");
    std::fs::write(bundle.rootfs("etc/passwd"), "4294967296:x:0:0::/:/bin/sh\nname:x:0:0::/:/bin/sh\n")
        .expect("written");
    bundle.start_script("sleep 1000");
    for user in [
        "4294967296",
        "18446744073709551616",
        "1x",
        "x1",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1:",
        ":1",
        ":",
        "1:2:3",
        "1:-1",
        "1:4294967296",
        "0x1",
        "1e3",
        "",
        "root",
        "name",
        "1\n0",
        "\u{0661}",
    ] {
        let option = format!("--user={user}");
        let output = bundle.runtime(&["exec", &option, &bundle.id, "touch", "/started"]);
        assert!(!output.status.success() && errors(&output).contains("--user"), "{user:?}: {output:?}");
    }
    assert!(!bundle.rootfs("started").exists());
    for (user, field) in [("4294967295:1", "process.user.uid"), ("1:4294967295", "process.user.gid")] {
        let output = bundle.runtime(&["exec", "--user", user, &bundle.id, "id"]);
        assert!(!output.status.success() && errors(&output).contains(field), "{user}: {output:?}");
    }
    let largest = bundle.succeed(&["exec", "--user", "4294967294:4294967294", &bundle.id, "id", "-u"]);
    assert_eq!(largest, "4294967294\n");
    bundle.succeed(&["delete", "--force", &bundle.id]);
    // The same in config.json, whose numbers are JSON's.
    for user in
        [json!({ "uid": 4_294_967_296_u64, "gid": 0 }), json!({ "uid": -1, "gid": 0 }), json!({ "uid": "1" })]
    {
        bundle.edit(|config| config["process"]["user"] = user.clone());
        let output = bundle.run_to_its_end();
        assert!(!output.status.success() && errors(&output).contains("uid"), "{user}: {output:?}");
    }
    bundle.assert_clean("after the last try");
}

/// A startContainer hook is a file of the image: it gets what the image's program gets, and no more.
#[test]
fn start_hook_of_the_image_has_the_rights_of_its_program_alone() {
    root_only!();
    for verb in ["run", "start"] {
        let bundle = Bundle::hostile("hook", &["true"]);
        let hook = "cat >/state; cat /proc/self/status >/status; cat /proc/self/cgroup >/cgroup; env >/env; \
                    busybox ls /proc/self/fd >/descriptors; kill -0 HOST && echo host >/reached; exit 0";
        let hook = hook.replace("HOST", &std::process::id().to_string());
        // Not among the defaults of a host with cgroup v1.
        bundle.with_namespace("cgroup");
        bundle.edit(|config| {
            config["root"]["readonly"] = json!(false);
            config["process"]["user"] = json!({ "uid": 0, "gid": 0 });
            config["hooks"]["startContainer"] =
                json!([{ "path": "/bin/sh", "args": ["sh", "-c", hook], "env": ["ONLY=this", "PATH=/bin"] }]);
        });
        if verb == "run" {
            let output = bundle.run_to_its_end();
            assert!(output.status.success(), "{output:?}");
        } else {
            assert!(bundle.create().status.success());
            bundle.succeed(&["start", &bundle.id]);
            bundle.wait_for("stopped");
            bundle.succeed(&["delete", &bundle.id]);
        }
        let read = |name: &str| std::fs::read_to_string(bundle.rootfs(name)).expect("the hook wrote it");
        let told = read("status");
        for field in ["CapEff", "CapPrm", "CapBnd"] {
            assert_eq!(status(&told, field), "0000000020000420", "{verb}: {field}");
        }
        assert_eq!(status(&told, "NoNewPrivs"), "1");
        assert_ne!(status(&told, "NSpid"), "1");
        assert!(status(&told, "NSpid").parse::<u32>().is_ok_and(|pid| pid < 100), "{told}");
        assert!(read("cgroup").lines().all(|line| line.ends_with(":/")), "{}", read("cgroup"));
        // The last is the directory that `ls` reads.
        assert_eq!(read("descriptors"), "0\n1\n2\n3\n");
        assert!(read("state").contains(&bundle.id));
        let environment = read("env");
        assert!(environment.contains("ONLY=this") && !environment.contains("HOME="), "{environment}");
        assert!(!bundle.rootfs("reached").exists(), "{verb}: a process of the host was in reach");
        bundle.assert_clean(verb);
    }
}

/// CVE-2022-1227 and its kin: no program and no library of the image is run by whoever acts for the host, whatever the
/// environment says.
#[test]
fn programs_and_libraries_of_the_image_are_never_run_for_the_host() {
    root_only!();
    let bundle = Bundle::hostile("fakes", &[]);
    let victim = Victim::beside(&bundle);
    std::fs::create_dir_all(bundle.rootfs("etc")).expect("made");
    std::fs::write(bundle.rootfs("etc/ld.so.preload"), "/bin/fake.so\n").expect("written");
    std::fs::write(bundle.rootfs("bin/fake.so"), "no library\n").expect("written");
    let fake = format!("#!/bin/sh\necho run by $0 >>{}/run\n", victim.path.display());
    for name in [
        "nsenter",
        "ip",
        "iptables",
        "nft",
        "mount",
        "modprobe",
        "newuidmap",
        "runc",
        "systemctl",
        "nvidia-ctk",
    ] {
        bundle.write_program(name, &fake);
    }
    let marks = bundle.path.join("marks");
    let hook = |name: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("env >{}-{name}", marks.display())] }]);
    bundle.edit(|config| {
        config["process"]["env"] = json!(["LD_PRELOAD=/bin/fake.so", "PATH=/bin"]);
        config["hooks"] =
            json!({ "createRuntime": hook("createRuntime"), "createContainer": hook("createContainer") });
    });
    let output = bundle.script("echo ran");
    assert_eq!(text(&output), "ran\n", "{output:?}");
    for name in ["createRuntime", "createContainer"] {
        let environment =
            std::fs::read_to_string(format!("{}-{name}", marks.display())).expect("the hook ran");
        assert!(!environment.contains("LD_PRELOAD") && !environment.contains("PATH=/bin\n"), "{environment}");
    }
    victim.assert_untouched("programs of the image", &output);
    bundle.assert_clean("after the run");
}

/// CVE-2022-0492, CVE-2023-25809: the container's own cgroup file system is no way to the host, even where its program
/// may mount.
#[test]
fn cgroup_is_no_way_out_even_with_the_right_to_mount() {
    root_only!();
    let bundle = Bundle::hostile("cgroup", &[]);
    let agents = || {
        let find = "find /sys/fs/cgroup -maxdepth 2 -name release_agent -exec grep -H . {} +; true";
        text(&std::process::Command::new("sh").args(["-c", find]).output().expect("sh runs"))
    };
    let before = agents();
    // `spec` has one on cgroup v2 alone, as runc's has.
    bundle.with_namespace("cgroup");
    bundle.edit(|config| config["root"]["readonly"] = json!(false));
    // What finds the container's groups on the host finds none from inside.
    let search = |place: &str| format!("busybox find {place} -name '*{}*'", bundle.id);
    bundle.start_script("sleep 1000");
    let found = std::process::Command::new("sh").args(["-c", &search("/sys/fs/cgroup")]).output();
    let found = text(&found.expect("sh runs"));
    let groups = bundle.groups();
    assert!(!groups.is_empty());
    for group in groups {
        assert!(found.lines().any(|line| Path::new(line) == group), "{} in {found}", group.display());
    }
    bundle.succeed(&["delete", "--force", &bundle.id]);
    let own = "for file in cgroup.procs tasks notify_on_release memory.limit_in_bytes memory.max pids.max devices.allow \
               cgroup.subtree_control; do for at in /sys/fs/cgroup /sys/fs/cgroup/*; do \
               ( echo 1 >$at/$file ) 2>/dev/null && echo written: $at/$file; done; done; \
               busybox mkdir /sys/fs/cgroup/own /sys/fs/cgroup/*/own 2>/dev/null && echo made; \
               busybox find /sys/fs/cgroup -name release_agent; busybox find /sys/fs/cgroup -mindepth 2 -type d";
    let output = bundle.script(&format!("{own}; {}; exit 0", search("/sys/fs/cgroup")));
    assert_eq!(text(&output), "", "{output:?}");
    // With CAP_SYS_ADMIN it can mount again, and sees its own group as the root all the same.
    bundle.edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
        }
    });
    // Opened and not written: where the protection fails, the host's agent shall not change.
    let mounting = format!(
        "look() {{ echo mounted; busybox find /c -mindepth 1 -type d; {}; }}; \
         busybox mkdir /c; for kind in memory devices pids; do \
         busybox mount -t cgroup -o $kind cgroup /c 2>/dev/null || continue; \
         test -e /c/release_agent && echo agent: $kind; \
         ( : >>/c/release_agent ) 2>/dev/null && test -e /c/release_agent && echo open: $kind; \
         look; ( echo 1 >/c/../cgroup.procs ) 2>/dev/null; busybox umount /c; done; \
         busybox mount -t cgroup2 cgroup /c 2>/dev/null && look; exit 0",
        search("/c")
    );
    let output = bundle.script(&mounting);
    let lines = text(&output);
    assert!(!lines.is_empty() && lines.lines().all(|line| line == "mounted"), "{output:?}");
    assert_eq!(agents(), before, "an agent of the host was changed");
    bundle.assert_clean("after the runs");
    // A path that would leave our part of the tree.
    for path in ["../../escape", "/a/../../escape", "a/./b/../.."] {
        bundle.edit(|config| config["linux"]["cgroupsPath"] = json!(path));
        let output = bundle.run_to_its_end();
        assert!(!output.status.success() && errors(&output).contains("cgroupsPath"), "{path}: {output:?}");
    }
    assert!(!Path::new("/sys/fs/cgroup/escape").exists());
}

/// Without a cgroup namespace, as `spec` writes it on a host with cgroup v1, nothing but the flags of its mounts keeps
/// the container from its groups.
#[test]
fn no_group_is_written_without_a_cgroup_namespace() {
    root_only!();
    let bundle = Bundle::hostile("groups", &[]);
    bundle.without_namespace("cgroup");
    std::fs::create_dir(bundle.rootfs("c")).expect("made");
    bundle.start_script("sleep 1000");
    // Nothing is opened but in its own groups, which are those of its init, and nothing is written even there.
    let script = "for group in $(busybox find /sys/fs/cgroup -type d); do \
                  grep -qx 1 $group/cgroup.procs || continue; echo own; \
                  for file in $(busybox find $group -type f); do ( : >>$file ) && echo open: $file; done; \
                  busybox mkdir $group/made && echo made: $group/made; \
                  busybox mount -o remount,bind,rw $group && echo mounted again: $group; done 2>/dev/null; \
                  for kind in memory devices pids; do \
                  busybox mount -t cgroup -o $kind cgroup /c 2>/dev/null && echo mounted: $kind; done; \
                  busybox mount -t cgroup2 cgroup /c 2>/dev/null && echo mounted: cgroup2; \
                  busybox find /sys/fs/cgroup -name release_agent; exit 0";
    let told = bundle.succeed(&["exec", &bundle.id, "sh", "-c", script]);
    let groups = bundle.groups().len();
    assert!(groups > 0);
    assert_eq!(told, "own\n".repeat(groups));
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("after the removal");
}

/// CVE-2020-15257: whoever shares the host's network finds no abstract socket of ours.
#[test]
fn no_abstract_socket_listens_while_a_container_waits_or_runs() {
    root_only!();
    let bundle = Bundle::hostile("abstract", &["sleep", "1000"]);
    let listening = || -> Vec<String> {
        let text = std::fs::read_to_string("/proc/self/net/unix").expect("read");
        text.lines().filter(|line| line.contains(" @")).map(str::to_owned).collect()
    };
    let before = listening();
    let none_new = |when: &str| {
        let new: Vec<String> = listening()
            .into_iter()
            .filter(|line| !before.contains(line) && line.to_lowercase().contains("rabbitc"))
            .collect();
        assert!(new.is_empty(), "{when}: {new:?}");
    };
    assert!(bundle.create().status.success());
    none_new("created");
    bundle.succeed(&["start", &bundle.id]);
    none_new("running");
    bundle.succeed(&["delete", "--force", &bundle.id]);
}
