//! `--device` and `--device-cgroup-rule`: which nodes are there, and what the kernel lets be done with them.

use std::path::Path;

use crate::support::{Host, skip};

/// A device of this machine that can be opened both ways without doing anything, and no container has by itself.
fn harmless() -> Option<&'static str> {
    let opens = |path: &&str| std::fs::OpenOptions::new().read(true).write(true).open(path).is_ok();
    let found = ["/dev/fuse", "/dev/loop-control", "/dev/net/tun"].into_iter().find(opens);
    if found.is_none() {
        skip("no device of this machine can be opened without an effect");
    }
    found
}

/// Says of a node whether it can be opened to read and to write.
fn tries(path: &str) -> String {
    format!("(: < {path}) 2>/dev/null && echo r; (: >> {path}) 2>/dev/null && echo w; true")
}

#[test]
fn device_can_be_used_as_far_as_its_access_says() {
    let Some(host) = Host::new() else { return };
    let Some(device) = harmless() else { return };
    for (flag, path, expected) in [
        (format!("--device={device}"), device, "r\nw"),
        (format!("--device={device}:r"), device, "r"),
        (format!("--device={device}:w"), device, "w"),
        (format!("--device={device}:/dev/deep/other:r"), "/dev/deep/other", "r"),
        (format!("--device={device}:/opt/device:r"), "/opt/device", "r"),
    ] {
        for root in [&[&*flag][..], &["--overlay", &flag], &["--read-only", &flag]] {
            assert_eq!(host.inside(root, &tries(path)).text(), expected, "{root:?}");
        }
    }
    let ran = host.run(&[
        "--network=none",
        &format!("--device={device}:/dev/x:r"),
        "--",
        "/bin/sh",
        "-c",
        &tries("/dev/x"),
    ]);
    assert_eq!(ran.text(), "r", "on a copy of the host's root");
    assert_eq!(host.inside(&[], &format!("test -e {device} || echo none")).text(), "none");
    host.assert_nothing_left();
}

#[test]
fn node_without_a_rule_does_not_open_and_with_one_does() {
    let Some(host) = Host::new() else { return };
    let Some(device) = harmless() else { return };
    let volume = format!("--volume={device}:{device}");
    assert_eq!(host.inside(&[&volume], &tries(device)).text(), "");
    let number = std::os::unix::fs::MetadataExt::rdev(&std::fs::metadata(device).expect("there"));
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    for (rule, expected) in [
        (format!("c {major}:{minor} rw"), "r\nw"),
        (format!("c {major}:* r"), "r"),
        (format!("b {major}:{minor} rw"), ""),
    ] {
        let rule = format!("--device-cgroup-rule={rule}");
        assert_eq!(host.inside(&[&volume, &rule], &tries(device)).text(), expected, "{rule}");
    }
    host.assert_nothing_left();
}

#[test]
fn directory_of_devices_comes_with_all_of_them() {
    let Some(host) = Host::new() else { return };
    // A directory of this test's own, so that its content is known; null's numbers, so that nothing can happen.
    let directory = host.directory().join("nodes");
    host.set_up(&format!(
        "mkdir -p {0}/sub; mknod {0}/one c 1 3; mknod {0}/sub/two c 1 5; touch {0}/file; ln -s /dev/sda {0}/link",
        directory.display()
    ));
    let script = "ls /dev/all /dev/all/sub; test -c /dev/all/one && test -c /dev/all/sub/two && echo both";
    let ran = host.inside(&[&format!("--device={}:/dev/all", directory.display())], script);
    let found: Vec<&str> = ran.text().split_ascii_whitespace().collect();
    assert_eq!(found, ["/dev/all:", "one", "sub", "/dev/all/sub:", "two", "both"]);
    host.assert_nothing_left();
}

#[test]
fn wrong_devices_are_refused_with_flag_and_remedy() {
    let Some(host) = Host::new() else { return };
    for (flag, parts) in [
        ("--device=/dev/missing", ["--device /dev/missing", "no such file"]),
        ("--device=/bin/busybox", ["--device /bin/busybox", "is no device"]),
        ("--device=/dev/null:q", ["--device /dev/null:q", "place for a device"]),
        ("--device=/dev/null:/dev/x:q", ["--device /dev/null:/dev/x:q", "is no access"]),
        ("--device=vendor.com/class=one", ["--device vendor.com/class=one", "CDI"]),
        ("--device-cgroup-rule=c 1:3", ["--device-cgroup-rule", "is no rule"]),
    ] {
        host.inside(&[flag], "true").refuses(125, &parts);
    }
    assert!(!Path::new("/dev/missing").exists());
    host.assert_nothing_left();
}

#[test]
fn devices_work_with_users_of_the_containers_own() {
    let Some(host) = Host::new() else { return };
    let Some(device) = harmless() else { return };
    // Readable by all, so that only the rules decide.
    let script = |path: &str| format!("test -c {path} && echo node; {}", tries(path));
    for (flag, path) in
        [(format!("--device={device}"), device), (format!("--device={device}:/dev/other"), "/dev/other")]
    {
        let ran = host.inside(&["--userns=auto", &flag], &script(path));
        assert!(ran.text().starts_with("node"), "{flag}: {ran:?}");
    }
    host.assert_nothing_left();
}
