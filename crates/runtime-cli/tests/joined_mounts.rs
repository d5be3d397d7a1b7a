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
        let table = std::fs::read_to_string(self.file("mountinfo")).expect("a mount table");
        table.lines().filter(|line| line.contains(&bundle.rootfs("").display().to_string())).count()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn join_mounts(bundle: &Bundle, path: &str) {
    bundle.without_namespace("mount");
    bundle.edit(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("a list");
        namespaces.push(json!({ "type": "mount", "path": path }));
    });
}

#[test]
fn container_lives_in_the_mount_namespace_that_its_path_names() {
    root_only!();
    let bundle = Bundle::hostile("joined-mounts", &["sleep", "1000"]);
    // Its own /etc is none of the container's business.
    let holder = Holder::new(&bundle, &["--mount"], "mount -t tmpfs none /etc; echo theirs >/etc/name");
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
    assert!(errors(&bundle.run()).contains("is no mount namespace"), "{:?}", bundle.run());
    // The caller's own is as if it was not listed.
    join_mounts(&bundle, "/proc/self/ns/mnt");
    assert!(errors(&bundle.run()).contains("linux.maskedPaths: without a mount namespace"));
    let holder = Holder::new(&bundle, &["--mount"], "true");
    join_mounts(&bundle, &holder.file("ns/mnt"));
    bundle.map_users(0);
    assert!(errors(&bundle.run()).contains("from a user namespace of the container's own"));
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
