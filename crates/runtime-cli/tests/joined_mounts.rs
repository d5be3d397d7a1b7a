//! A mount namespace that is joined by its path: the container's root is a mount in it, and what is there stays as it is.

mod support;

use std::process::Stdio;

use serde_json::json;
use support::{Bundle, LOOK, errors, root_only, text};

/// A process in namespaces of its own, which a script has set up.
struct Holder(std::process::Child);

impl Holder {
    fn new(bundle: &Bundle, options: &[&str], script: &str) -> Holder {
        // Beside the bundle, which a script may cover.
        let ready = bundle.path.with_extension("ready");
        let script = format!("{script}\necho >{}\nexec sleep 1000", ready.display());
        let mut command = std::process::Command::new("unshare");
        command.args(options).args(["sh", "-ec", &script]);
        let holder = Holder(command.spawn().expect("unshare runs"));
        support::eventually("the namespaces", || ready.exists());
        std::fs::remove_file(ready).expect("removed");
        holder
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.0.id())
    }

    fn mounts_of(&self, bundle: &Bundle) -> usize {
        let table = std::fs::read(self.file("mountinfo")).expect("a mount table");
        String::from_utf8_lossy(&table)
            .lines()
            .filter(|line| line.contains(&bundle.path.join("rootfs").display().to_string()))
            .count()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A bundle that joins the mounts of a process which has its own.
fn joined(name: &str, arguments: &[&str]) -> (Bundle, Holder) {
    let bundle = Bundle::hostile(name, arguments);
    let holder = Holder::new(&bundle, &["--mount"], "true");
    join_mounts(&bundle, &holder.file("ns/mnt"));
    (bundle, holder)
}

fn join_mounts(bundle: &Bundle, path: &str) {
    bundle.without_namespace("mount");
    bundle.edit(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("a list");
        namespaces.push(json!({ "type": "mount", "path": path }));
    });
}

/// An /etc of its own, and a mount point whose name is no text.
const SCENE: &str = "mount -t tmpfs none /etc; echo theirs >/etc/name
    mkdir /etc/$(printf 'caf\\351'); mount -t tmpfs none /etc/$(printf 'caf\\351')";

#[test]
fn container_lives_in_the_mount_namespace_that_its_path_names() {
    root_only!();
    let bundle = Bundle::hostile("joined-mounts", &["sleep", "1000"]);
    // What it has there is none of the container's business.
    let holder = Holder::new(&bundle, &["--mount"], SCENE);
    join_mounts(&bundle, &holder.file("ns/mnt"));
    let given = bundle.path.join("given");
    std::fs::write(&given, "of the runtime's namespace").expect("written");
    bundle.edit(|config| {
        config["mounts"]
            .as_array_mut()
            .expect("a list")
            .push(json!({ "destination": "/given", "source": given, "options": ["bind", "ro"] }));
    });
    assert!(bundle.create().status.success());
    bundle.succeed(&["start", &bundle.id]);
    let namespace = |path: String| std::fs::read_link(path).expect("a namespace");
    assert_eq!(namespace(format!("/proc/{}/ns/mnt", bundle.pid())), namespace(holder.file("ns/mnt")));
    let script = "ls /; cat /given; echo; cat /proc/kcore; echo 1 >/proc/sys/kernel/domainname; touch /made";
    let output = bundle.runtime(&["exec", &bundle.id, "sh", "-c", script]);
    assert_eq!(text(&output), "bin\ndev\ngiven\nproc\nsys\nof the runtime's namespace\n");
    assert_eq!(errors(&output).matches("Read-only file system").count(), 2, "{output:?}");
    // Theirs is as it was, with the container's root below it.
    assert_eq!(std::fs::read_to_string(holder.file("root/etc/name")).expect("there"), "theirs\n");
    assert!(holder.mounts_of(&bundle) > 5);
    bundle.succeed(&["delete", "--force", &bundle.id]);
    assert_eq!(holder.mounts_of(&bundle), 0);
    let output = bundle.script("sh -c 'exit 3'");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(holder.mounts_of(&bundle), 0, "after a run");
    bundle.edit(|config| config["process"]["args"] = json!(["missing"]));
    assert_eq!(bundle.run().status.code(), Some(1));
    assert_eq!(holder.mounts_of(&bundle), 0, "after a start that failed");
    // Removed when the namespace is gone.
    bundle.edit(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    assert!(bundle.create().status.success());
    drop(holder);
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("at the end");
}

#[test]
fn mount_namespace_that_can_not_be_joined_safely_is_refused() {
    root_only!();
    let bundle = Bundle::hostile("refused-mounts", &["true"]);
    let path = bundle.path.display();
    let over = format!("mount -t tmpfs none {path}");
    let linked = format!("{over}; ln -s /etc {path}/rootfs");
    let cases = [
        (&["--mount"][..], "mount --make-rshared /", "shares what is mounted at"),
        (&["--mount"], &over, "has no directory `"),
        (&["--mount"], &linked, "has no directory `"),
        (&["--mount", "--user", "--map-root-user"], "true", "belongs to another user namespace"),
    ];
    for (options, script, expected) in cases {
        let holder = Holder::new(&bundle, options, script);
        join_mounts(&bundle, &holder.file("ns/mnt"));
        let output = bundle.run();
        assert_eq!(output.status.code(), Some(1), "{script}: {output:?}");
        assert!(errors(&output).starts_with("error: linux.namespaces: "), "{}", errors(&output));
        assert!(errors(&output).contains(expected), "{script}: {}", errors(&output));
        assert_eq!(holder.mounts_of(&bundle), 0, "{script}");
        bundle.assert_clean(script);
    }
    join_mounts(&bundle, "/proc/self/ns/uts");
    let told = "`/proc/self/ns/uts` is a namespace of kind `uts`, and not `mount`";
    assert!(errors(&bundle.run()).contains(told), "{:?}", bundle.run());
    // The caller's own is as if it was not listed.
    join_mounts(&bundle, "/proc/self/ns/mnt");
    assert!(errors(&bundle.run()).contains("linux.maskedPaths: without a mount namespace"));
    let holder = Holder::new(&bundle, &["--mount"], "true");
    join_mounts(&bundle, &holder.file("ns/mnt"));
    bundle.edit(|config| {
        config["mounts"]
            .as_array_mut()
            .expect("a list")
            .push(json!({ "destination": "/bin", "source": "/bin", "options": ["bind", "unbindable"] }));
    });
    assert!(errors(&bundle.run()).contains("`unbindable` can't be had"), "{:?}", bundle.run());
    bundle.edit(|config| drop(config["mounts"].as_array_mut().expect("a list").pop()));
    bundle.edit(|config| config["linux"]["rootfsPropagation"] = json!("unbindable"));
    let refused = "linux.rootfsPropagation: `unbindable` can't be had";
    assert!(errors(&bundle.run()).contains(refused), "{:?}", bundle.run());
    bundle.edit(|config| config["linux"]["rootfsPropagation"] = json!("private"));
    bundle.map_users(0);
    assert!(errors(&bundle.run()).contains("from a user namespace of the container's own"));
    bundle.assert_clean("at the end");
}

/// Whether the container still sees its own procfs.
fn is_whole(bundle: &Bundle, id: &str) -> bool {
    bundle.runtime(&["exec", id, "cat", "/proc/self/comm"]).status.success()
}

#[test]
fn removal_reaches_the_containers_own_root_and_no_other_at_the_same_place() {
    root_only!();
    let (bundle, holder) = joined("joined-twice", &["sleep", "1000"]);
    let path = bundle.path.display().to_string();
    let second = format!("{}-second", bundle.id);
    let start = |id: &str| {
        let output = bundle.quiet(&["create", "--bundle", &path, id]);
        assert!(output.status.success(), "{output:?}");
        bundle.succeed(&["start", id]);
    };
    start(&bundle.id);
    let mounts = holder.mounts_of(&bundle);
    start(&second);
    // The one on top lies on the root of the one below, which has to wait for it.
    let refused = bundle.runtime(&["delete", "--force", &bundle.id]);
    assert!(errors(&refused).contains("another mount hides it at"), "{refused:?}");
    assert!(is_whole(&bundle, &second));
    assert_eq!(bundle.status(), "stopped");
    bundle.succeed(&["delete", "--force", &second]);
    assert_eq!(holder.mounts_of(&bundle), mounts);
    bundle.succeed(&["delete", &bundle.id]);
    assert_eq!(holder.mounts_of(&bundle), 0);
    start(&second);
    start(&bundle.id);
    bundle.succeed(&["delete", "--force", &bundle.id]);
    assert!(is_whole(&bundle, &second));
    assert_eq!(holder.mounts_of(&bundle), mounts);
    bundle.succeed(&["delete", "--force", &second]);
    assert_eq!(holder.mounts_of(&bundle), 0);
    bundle.assert_clean("at the end");
}

#[test]
fn checkpoint_and_restore_are_refused_before_anything_is_made() {
    root_only!();
    let (bundle, _holder) = joined("joined-criu", &["sleep", "1000"]);
    let images = bundle.path.join("images");
    let place = images.display().to_string();
    let refused = |output: std::process::Output| {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            errors(&output).contains("linux.namespaces: a checkpoint of a container in a mount namespace"),
            "{output:?}"
        );
    };
    assert!(bundle.create().status.success());
    bundle.succeed(&["start", &bundle.id]);
    // Whether there is a criu or not: it would not be asked.
    let without_criu = |arguments: &[&str]| {
        let output = bundle.command(arguments).env("PATH", "/nowhere").output();
        output.expect("it runs")
    };
    refused(without_criu(&["checkpoint", "--image-path", &place, &bundle.id]));
    assert!(!images.exists());
    assert_eq!(bundle.status(), "running");
    bundle.succeed(&["delete", "--force", &bundle.id]);
    std::fs::create_dir(&images).expect("made");
    std::fs::write(images.join("inventory.img"), "").expect("written");
    let path = bundle.path.display().to_string();
    refused(without_criu(&["restore", "--image-path", &place, "--bundle", &path, &bundle.id]));
    bundle.assert_clean("at the end");
}

#[test]
fn start_that_fails_before_it_mounts_takes_away_nothing() {
    root_only!();
    let (bundle, holder) = joined("joined-failed", &["true"]);
    // What comes to lie there meanwhile shows the same directory.
    let namespace = format!("--mount={}", holder.file("ns/mnt"));
    let root = bundle.rootfs("");
    let script = format!("mount --bind {0} {0}; exit 1", root.display());
    let arguments = ["nsenter", &namespace, "sh", "-c", &script];
    bundle.edit(|config| {
        config["hooks"] =
            json!({ "createRuntime": [{ "path": "/usr/bin/nsenter", "args": arguments, "env": ["PATH=/usr/bin:/bin"] }] });
    });
    assert!(!bundle.create().status.success());
    assert_eq!(holder.mounts_of(&bundle), 1, "theirs");
    bundle.assert_clean("after the start");
}

#[test]
fn mount_of_somebody_else_over_the_root_stays_and_is_named() {
    root_only!();
    let (bundle, holder) = joined("joined-covered", &["sleep", "1000"]);
    let inside = |arguments: &[&str]| {
        let mut command = std::process::Command::new("nsenter");
        command.arg(format!("--mount={}", holder.file("ns/mnt"))).args(arguments).arg(bundle.rootfs(""));
        assert!(command.status().expect("nsenter runs").success());
    };
    assert!(bundle.create().status.success());
    bundle.succeed(&["start", &bundle.id]);
    inside(&["mount", "-t", "tmpfs", "theirs"]);
    let mounts = holder.mounts_of(&bundle);
    // Its root is reached by its process, and once that has ended by the path.
    for arguments in [&["delete", "--force", &bundle.id][..], &["delete", &bundle.id]] {
        let refused = bundle.runtime(arguments);
        assert!(errors(&refused).contains("another mount hides it at"), "{arguments:?}: {refused:?}");
        assert_eq!(holder.mounts_of(&bundle), mounts, "{arguments:?}");
        assert_eq!(bundle.status(), "stopped");
    }
    inside(&["umount"]);
    bundle.succeed(&["delete", &bundle.id]);
    assert_eq!(holder.mounts_of(&bundle), 0);
    bundle.assert_clean("at the end");
}

#[test]
fn null_device_of_the_caller_gives_way_to_the_containers_in_a_joined_namespace() {
    root_only!();
    let bundle = Bundle::new("joined-null", &["/bin/sh", "-c", LOOK]);
    let holder = Holder::new(&bundle, &["--mount"], "true");
    join_mounts(&bundle, &holder.file("ns/mnt"));
    bundle.edit(|config| config["root"]["readonly"] = json!(false));
    let mut command = bundle.command(&["run", "--bundle"]);
    command.arg(&bundle.path).arg(&bundle.id).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().expect("it runs").success());
    let seen = std::fs::read_to_string(bundle.rootfs("seen")).expect("it wrote");
    assert_eq!(seen, "0 own\n1 own\n2 own\n");
    bundle.assert_clean("at the end");
}
