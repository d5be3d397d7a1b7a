//! `checkpoint` and `restore` with the real criu. Where none works, each test says so: Debian 12's criu 3.17 does not
//! start on kernels of today, and Ubuntu has none; Debian sid's 4 does.

mod support;

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::{Value, json};
use support::killing::kill_at_points;
use support::{Bundle, errors, eventually, root_only, text};

/// Counts in memory; the file shows how far it is, and is whole whenever the counter is stopped. Ends once `/end` is there.
const COUNTER: &str = "exec </dev/null >/dev/null 2>&1; i=0; \
                       while [ ! -e /end ]; do i=$((i+1)); echo $i >/next; mv /next /count; \
                       sleep 0.05; done; exit 7";

/// One that holds no file open which it changes: restored beside what it went on to do, criu would look for the old one.
const WAITER: &str = "exec </dev/null >/dev/null 2>&1; : >/begun; while :; do sleep 0.05; done";

/// What is missing for criu to work here, if anything.
static MISSING: LazyLock<Option<String>> =
    LazyLock::new(|| match Command::new("criu").arg("check").output() {
        Err(error) => Some(format!("criu: {error} (package criu, of Debian sid)")),
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let told = format!("{}{}", text(&output), errors(&output));
            let told = told.lines().next().unwrap_or("nothing");
            Some(format!("a criu that works on this kernel; this one says: {told}"))
        }
    });

/// Ends a test where there is no criu that works.
macro_rules! criu_only {
    () => {
        root_only!();
        if let Some(missing) = &*MISSING {
            println!("skipped: needs {missing}");
            return;
        }
    };
}

struct Images<'a> {
    bundle: &'a Bundle,
    path: String,
}

impl<'a> Images<'a> {
    fn of(bundle: &'a Bundle) -> Images<'a> {
        Images { bundle, path: bundle.path.join("images").display().to_string() }
    }

    fn checkpoint(&self, more: &[&str]) -> std::process::Output {
        let mut arguments = vec!["checkpoint", "--image-path", &self.path, "--manage-cgroups-mode", "ignore"];
        arguments.extend(more);
        arguments.push(&self.bundle.id);
        self.bundle.runtime(&arguments)
    }

    fn checkpoint_succeeds(&self, more: &[&str]) {
        let output = self.checkpoint(more);
        assert!(output.status.success(), "{output:?}");
    }

    fn restore(&self, more: &[&str]) -> Command {
        let mut command = self.bundle.command(&["restore", "--image-path", &self.path]);
        command.args(["--manage-cgroups-mode", "ignore", "--bundle"]).arg(&self.bundle.path);
        command.args(more).arg(&self.bundle.id);
        command
    }

    fn restore_detached(&self) {
        let status = self.restore(&["--detach"]).stdout(Stdio::null()).stderr(Stdio::inherit()).status();
        assert!(status.expect("it runs").success(), "restored");
    }
}

impl Drop for Images<'_> {
    /// A test that failed shows what criu said, which goes with its directory.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for name in ["dump.log", "restore.log"] {
            let log = std::fs::read(std::path::Path::new(&self.path).join(name)).unwrap_or_default();
            println!("{name}:\n{}", String::from_utf8_lossy(&log));
        }
    }
}

/// It writes to its root.
fn start_counter(bundle: &Bundle) {
    bundle.edit(|config| config["root"]["readonly"] = json!(false));
    bundle.start_script(COUNTER);
}

fn count(bundle: &Bundle) -> Option<u32> {
    std::fs::read_to_string(bundle.rootfs("count")).ok()?.trim().parse().ok()
}

/// Checkpoints a counter, and sees it go on from where it was.
fn counts_on(bundle: &Bundle) {
    start_counter(bundle);
    eventually("it counts", || count(bundle).is_some_and(|count| count > 3));
    let images = Images::of(bundle);
    for _ in 0..2 {
        images.checkpoint_succeeds(&[]);
        bundle.assert_clean("after a checkpoint");
        let before = count(bundle).expect("a number");
        std::fs::remove_file(bundle.rootfs("count")).expect("removed");
        images.restore_detached();
        eventually("it counts on", || count(bundle).is_some());
        let after = count(bundle).expect("a number");
        assert!(after > before && after < before + 1000, "{before} {after}");
        assert_eq!(bundle.status(), "running");
    }
    assert_eq!(bundle.succeed(&["exec", &bundle.id, "sh", "-c", "echo $PPID"]).trim(), "0");
    bundle.succeed(&["kill", &bundle.id, "KILL"]);
    bundle.wait_for("stopped");
    bundle.succeed(&["delete", &bundle.id]);
    bundle.assert_clean("after the delete");
}

#[test]
fn restored_container_goes_on_where_it_was_twice() {
    criu_only!();
    counts_on(&Bundle::new("restored", &[]));
}

/// As a service has its streams, and as callers start containers that write nowhere.
#[test]
fn container_whose_streams_are_the_hosts_null_device_is_restored() {
    criu_only!();
    let bundle = Bundle::new("null-streams", &[]);
    let (_, counter) = COUNTER.split_once("; ").expect("its streams come first");
    bundle.edit(|config| {
        config["root"]["readonly"] = json!(false);
        config["process"]["args"] = json!(["sh", "-c", counter]);
    });
    let quietly = |command: &mut Command| {
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.expect("it runs").success(), "{command:?}");
    };
    let path = bundle.path.display().to_string();
    quietly(&mut bundle.command(&["run", "--detach", "--bundle", &path, &bundle.id]));
    eventually("it counts", || count(&bundle).is_some_and(|count| count > 3));
    let images = Images::of(&bundle);
    images.checkpoint_succeeds(&[]);
    std::fs::remove_file(bundle.rootfs("count")).expect("removed");
    quietly(&mut images.restore(&["--detach"]));
    eventually("it counts on", || count(&bundle).is_some());
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("after the delete");
}

#[test]
fn container_that_shares_the_hosts_cgroup_view_is_restored() {
    criu_only!();
    let bundle = Bundle::new("view", &[]);
    bundle.without_namespace("cgroup");
    counts_on(&bundle);
}

/// criu makes the groups that are missing, by mounts of its own.
#[test]
fn container_is_restored_with_criu_in_charge_of_its_cgroups() {
    criu_only!();
    let bundle = Bundle::new("soft", &[]);
    start_counter(&bundle);
    eventually("it counts", || count(&bundle).is_some_and(|count| count > 3));
    let images = Images::of(&bundle);
    let soft = ["--manage-cgroups-mode", "soft"];
    images.checkpoint_succeeds(&soft);
    std::fs::remove_file(bundle.rootfs("count")).expect("removed");
    let status = images.restore(&[&soft[..], &["--detach"]].concat()).stdout(Stdio::null()).status();
    assert!(status.expect("it runs").success(), "restored");
    eventually("it counts on", || count(&bundle).is_some());
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("after the delete");
}

/// The device went with the namespace that held it: the host has none to give any more.
#[test]
fn network_device_moved_in_is_restored_without_the_hosts() {
    criu_only!();
    let bundle = Bundle::new("moved-device", &[]);
    bundle.with_namespace("network");
    bundle.edit(|config| {
        config["root"]["readonly"] = json!(false);
        config["process"]["args"] = json!(["sh", "-c", COUNTER]);
        config["linux"]["netDevices"] = json!({ "dev0": { "name": "inside" } });
    });
    let script = r#"set -e
        runtime() { "$BINARY" --root "$BUNDLE/state" "$@"; }
        images="--image-path $BUNDLE/images --manage-cgroups-mode ignore"
        # criu connects a socket to see what this kernel can.
        ip link set lo up
        ip link add dev0 type veth peer name dev1
        runtime run --detach --bundle "$BUNDLE" "$ID"
        runtime checkpoint $images "$ID"
        ! ip link show dev dev0 2>/dev/null
        runtime restore --detach $images --bundle "$BUNDLE" "$ID"
        runtime exec "$ID" cat /proc/net/dev"#;
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", script]);
    command.env("BINARY", support::BINARY).env("BUNDLE", &bundle.path).env("ID", &bundle.id);
    let output = support::finish(command);
    assert!(output.status.success() && text(&output).contains("inside:"), "{output:?}");
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("after the delete");
}

/// As engines lay a network into the namespace of a container: criu finds the other end no more, and the engine makes it anew.
#[test]
fn device_with_an_end_outside_is_left_to_whoever_made_it() {
    criu_only!();
    let bundle = Bundle::new("device-of-others", &[]);
    let _images = Images::of(&bundle);
    bundle.with_namespace("network");
    bundle.edit(|config| {
        config["root"]["readonly"] = json!(false);
        config["process"]["args"] = json!(["sh", "-c", WAITER]);
    });
    let script = r#"set -e
        runtime() { "$BINARY" --root "$BUNDLE/state" "$@"; }
        images="--image-path $BUNDLE/images --manage-cgroups-mode ignore"
        # criu connects a socket to see what this kernel can.
        ip link set lo up
        runtime run --detach --bundle "$BUNDLE" --pid-file "$BUNDLE/pid" "$ID"
        ip link add dev0 type veth peer name eth0 netns "$(cat "$BUNDLE/pid")"
        runtime checkpoint --leave-running $images "$ID"
        runtime exec "$ID" grep eth0: /proc/net/dev
        runtime delete --force "$ID"
        runtime restore --detach $images --bundle "$BUNDLE" --pid-file "$BUNDLE/pid" "$ID"
        runtime exec "$ID" cat /proc/net/dev
        until ! ip link show dev dev0 2>/dev/null; do sleep 0.1; done
        ip link add dev0 type veth peer name eth0 netns "$(cat "$BUNDLE/pid")""#;
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", script]);
    command.env("BINARY", support::BINARY).env("BUNDLE", &bundle.path).env("ID", &bundle.id);
    let output = support::finish(command);
    assert!(output.status.success(), "{output:?}");
    let told = text(&output);
    assert_eq!(told.matches("eth0:").count(), 1, "only before the checkpoint: {told}");
    assert!(told.contains("lo:"), "{told}");
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("after the delete");
}

#[test]
fn bind_mounts_are_restored_from_their_source_of_now() {
    criu_only!();
    let bundle = Bundle::new("binds", &[]);
    for name in ["one", "other"] {
        std::fs::create_dir(bundle.path.join(name)).expect("made");
        std::fs::write(bundle.path.join(name).join("name"), name).expect("written");
    }
    std::fs::create_dir(bundle.rootfs("real")).expect("made");
    std::os::unix::fs::symlink("/real", bundle.rootfs("link")).expect("a link");
    let bind = |source: &str| {
        let source = bundle.path.join(source);
        bundle.edit(|config| {
            let mounts = config["mounts"].as_array_mut().expect("a list");
            mounts.retain(|mount| mount["destination"] != "/link");
            mounts.push(json!({"destination": "/link", "source": source, "options": ["bind"]}));
        });
    };
    bind("one");
    start_counter(&bundle);
    let images = Images::of(&bundle);
    images.checkpoint_succeeds(&[]);
    bind("other");
    images.restore_detached();
    assert_eq!(bundle.succeed(&["exec", &bundle.id, "cat", "/real/name"]), "other");
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("at the end");
}

/// Without a `/tmp` criu finds no place for a directory of its own.
#[test]
fn read_only_root_with_a_tmp_is_restored() {
    criu_only!();
    let bundle = Bundle::new("read-only", &[]);
    std::fs::create_dir(bundle.rootfs("tmp")).expect("made");
    bundle.edit(|config| config["root"]["readonly"] = json!(true));
    bundle.start_script("exec </dev/null >/dev/null 2>&1; while true; do sleep 0.1; done");
    let images = Images::of(&bundle);
    images.checkpoint_succeeds(&[]);
    images.restore_detached();
    let output = bundle.runtime(&["exec", &bundle.id, "touch", "/file"]);
    assert!(errors(&output).contains("Read-only file system"), "{output:?}");
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("at the end");
}

#[test]
fn container_that_is_left_running_goes_on_and_can_be_restored_later() {
    criu_only!();
    let bundle = Bundle::new("left", &[]);
    bundle.edit(|config| config["root"]["readonly"] = json!(false));
    bundle.start_script(WAITER);
    eventually("it waits", || bundle.rootfs("begun").exists());
    let images = Images::of(&bundle);
    images.checkpoint_succeeds(&["--leave-running"]);
    assert_eq!(bundle.status(), "running");
    let streams: Value =
        serde_json::from_slice(&std::fs::read(bundle.path.join("images/descriptors.json")).expect("read"))
            .expect("JSON");
    assert_eq!(streams, json!(["/dev/null", "/dev/null", "/dev/null"]));
    bundle.succeed(&["delete", "--force", &bundle.id]);
    images.restore_detached();
    assert_eq!(bundle.status(), "running");
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("at the end");
}

#[test]
fn exit_code_of_restore_is_the_restored_programs() {
    criu_only!();
    let bundle = Bundle::new("code", &[]);
    start_counter(&bundle);
    let images = Images::of(&bundle);
    images.checkpoint_succeeds(&[]);
    std::fs::write(bundle.rootfs("end"), "").expect("written");
    let output = images.restore(&[]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    bundle.assert_clean("after its end");
}

#[test]
fn pipes_of_the_restorer_take_the_place_of_the_old_ones() {
    criu_only!();
    let bundle = Bundle::new("pipes", &["sh", "-c", "read one; echo got $one; read other; echo got $other"]);
    bundle.edit(|config| config["root"]["readonly"] = json!(false));
    let path = bundle.path.display().to_string();
    let mut first = bundle
        .command(&["run", "--detach", "--bundle", &path, &bundle.id])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let held = first.stdin.take();
    assert!(first.wait().expect("it ends").success());
    let images = Images::of(&bundle);
    images.checkpoint_succeeds(&[]);
    drop(held);
    let mut command = images.restore(&["--detach"]);
    let mut second =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut input = second.stdin.take().expect("a pipe");
    if !second.wait().expect("it ends").success() {
        let mut told = String::new();
        second.stderr.take().expect("a pipe").read_to_string(&mut told).expect("read");
        panic!("{told}");
    }
    std::io::Write::write_all(&mut input, b"a\nb\n").expect("written");
    let mut said = String::new();
    second.stdout.take().expect("a pipe").read_to_string(&mut said).expect("read");
    assert_eq!(said, "got a\ngot b\n");
    bundle.wait_for("stopped");
    bundle.succeed(&["delete", &bundle.id]);
    bundle.assert_clean("at the end");
}

#[test]
fn checkpoint_that_fails_quotes_the_log_and_leaves_the_container_running() {
    criu_only!();
    // Its output is a file of the host, which nobody could find again.
    let bundle = Bundle::new("fails", &[]);
    bundle.start_script("exec </dev/null; while true; do sleep 1; done");
    let images = Images::of(&bundle);
    let output = images.checkpoint(&[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = errors(&output);
    assert!(told.contains("criu failed") && told.contains("images/dump.log"), "{told}");
    assert!(told.contains("(criu/"), "the line of the log: {told}");
    assert_eq!(bundle.status(), "running");
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("at the end");
}

#[test]
fn restore_that_fails_leaves_nothing() {
    criu_only!();
    let bundle = Bundle::new("broken", &[]);
    start_counter(&bundle);
    let images = Images::of(&bundle);
    images.checkpoint_succeeds(&[]);
    std::fs::write(bundle.path.join("images/pstree.img"), "not an image").expect("written");
    let output = images.restore(&["--detach"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = errors(&output);
    assert!(told.contains("pstree") && told.contains("restore.log"), "{told}");
    bundle.assert_clean("after the failure");
}

/// containerd writes `-no-subreaper`, and podman asks by a missing value whether there is `--lsm-mount-context`.
/// A running waiter whose images, if there are any, are gone.
fn waits(bundle: &Bundle) {
    let _ = std::fs::remove_dir_all(bundle.path.join("images"));
    bundle.edit(|config| config["root"]["readonly"] = json!(false));
    bundle.start_script(WAITER);
    eventually("it waits", || bundle.rootfs("begun").exists());
    std::fs::remove_file(bundle.rootfs("begun")).expect("removed");
}

/// How many points of a command are tried that executes criu.
const POINTS: usize = 24;

#[test]
fn checkpoint_killed_at_any_call_is_undone_by_delete() {
    criu_only!();
    let bundle = Bundle::new("kill-checkpoint", &[]);
    let images = bundle.path.join("images").display().to_string();
    let arguments = ["checkpoint", "--image-path", &images, "--manage-cgroups-mode", "ignore", &bundle.id];
    kill_at_points(&bundle, &waits, &arguments, POINTS);
}

#[test]
fn restore_killed_at_any_call_is_undone_by_delete() {
    criu_only!();
    let bundle = Bundle::new("kill-restore", &[]);
    let (path, images) =
        (bundle.path.display().to_string(), bundle.path.join("images").display().to_string());
    let mut arguments = vec!["restore", "--detach", "--image-path", &images];
    arguments.extend(["--manage-cgroups-mode", "ignore", "--bundle", &path, &bundle.id]);
    let is_checkpointed = |bundle: &Bundle| {
        waits(bundle);
        Images::of(bundle).checkpoint_succeeds(&[]);
    };
    kill_at_points(&bundle, &is_checkpointed, &arguments, POINTS);
}

#[test]
fn restore_takes_and_answers_what_its_callers_write() {
    root_only!();
    let bundle = Bundle::new("callers", &["true"]);
    let path = bundle.path.display().to_string();
    let told = |more: &[&str]| {
        let output = bundle.runtime(&[&["restore", "--bundle", &path], more].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        errors(&output)
    };
    // Nothing is there to be restored, or no criu.
    let without = told(&[&bundle.id]);
    assert!(!without.contains("read the arguments"), "{without}");
    for option in ["-no-subreaper", "--no-subreaper"] {
        assert_eq!(told(&[option, &bundle.id]), without, "{option}");
    }
    for option in ["-n", "-no", "-no-pivot"] {
        let told = told(&[option, &bundle.id]);
        assert!(told.contains("read the arguments: invalid option '-n'"), "{option}: {told}");
    }
    let probed = told(&["--lsm-mount-context"]);
    assert!(probed.contains("flag needs an argument: --lsm-mount-context"), "{probed}");
    bundle.assert_clean("at the end");
}

#[test]
fn what_is_wrong_is_refused_before_criu_is_asked() {
    root_only!();
    let bundle = Bundle::new("refused", &["sleep", "1000"]);
    assert!(bundle.create().status.success());
    let images = Images::of(&bundle);
    let cases: [(&[&str], &str); 6] = [
        (&["--parent-path", "/absolute"], "--parent-path: `/absolute` is absolute"),
        (&["--parent-path", "../missing"], "--parent-path: "),
        (&["--manage-cgroups-mode", "hard"], "--manage-cgroups-mode: `hard`"),
        (&["--empty-ns", "pid"], "--empty-ns: `pid`"),
        (&["--page-server", "host"], "--page-server: `host`"),
        (&["--status-fd", "9"], "--lazy-pages"),
    ];
    for (arguments, expected) in cases {
        let output = images.checkpoint(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?} {output:?}");
        assert!(errors(&output).contains(expected), "{arguments:?}: {}", errors(&output));
    }
    assert!(!bundle.path.join("images").exists(), "nothing was made");
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("at the end");
}
