//! Volumes that are refused, with flag and remedy, before anything happens.

use super::*;

#[test]
fn propagation_that_could_not_work_is_refused() {
    let Some(host) = Host::new() else { return };
    let data = source(&host, "data");
    host.set_up(&format!("mount -t tmpfs tmpfs {0}; mount --make-private {0}", data.display()));
    let point = data.display().to_string();
    for options in ["rshared", "rslave"] {
        let ran = host.inside(&[&volume(&data, &format!("/data:{options}"))], "true");
        ran.refuses(125, &["--volume", &point, "is not shared", "mount --make-shared"]);
    }
    host.set_up(&format!("umount {point}"));
    host.assert_nothing_left();
}

#[test]
fn wrong_mounts_are_refused_with_flag_and_remedy_before_anything_happens() {
    let Some(host) = Host::new() else { return };
    let data = source(&host, "data");
    let data = data.display();
    let missing = host.directory().join("missing");
    let missing = missing.display();
    for (flags, parts) in [
        (vec![format!("--volume={missing}:/x")], vec!["--volume", "no such file"]),
        (vec![format!("--mount=type=bind,source={missing},target=/x")], vec!["--mount", "no such file"]),
        (vec![format!("--volume={data}:/x"), "--tmpfs=//x/".to_owned()], vec!["--tmpfs //x/", "--volume"]),
        (vec!["--volume=-x:/x".to_owned()], vec!["--volume -x:/x", "no name of a volume"]),
        (vec!["--volume=x/y:/x".to_owned()], vec!["--volume x/y:/x", "write `./x/y`"]),
        (vec![format!("--volume={data}:/proc")], vec!["--volume", "the container needs"]),
        (vec![format!("--volume={data}:/proc/self")], vec!["--volume", "/proc"]),
        (vec![format!("--volume={data}:/sys/")], vec!["--volume", "the container needs"]),
        (vec![format!("--volume={data}:/")], vec!["--volume", "whole root"]),
        (vec!["--tmpfs=/dev".to_owned()], vec!["--tmpfs", "devices"]),
        (vec!["--mount=type=volume,source=/x,target=/x".to_owned()], vec!["--mount", "type=bind"]),
        (vec!["--volumes-from=other".to_owned()], vec!["--volumes-from"]),
        (
            vec![format!("--volume={data}/sign:/bin")],
            vec!["--volume", "`/bin` is a directory", "/sign` is a file", "write `/bin/sign`"],
        ),
        (
            vec![format!("--volume={data}/sign:/bin"), "--overlay".to_owned()],
            vec!["--volume", "`/bin` is a directory", "write `/bin/sign`"],
        ),
        (
            vec![format!("--volume={data}:/bin/cat")],
            vec!["--volume", "`/bin/cat` is a file", "data` is a directory", "bind a file of it"],
        ),
        (
            vec!["--tmpfs=/bin/cat".to_owned()],
            vec![
                "--tmpfs /bin/cat: ",
                "`/bin/cat` is a file",
                "a tmpfs is a directory",
                "another destination",
            ],
        ),
        (
            vec![format!("--volume={data}:/v"), format!("--volume={data}:/v/sign")],
            vec![":/v/sign: ", "`/v/sign` is a file", "data` is a directory"],
        ),
        (
            // Nothing is there, so it would become a file, with files of every container below it.
            vec![format!("--volume={data}/sign:/etc")],
            vec!["--volume", "/sign` is a file", "needs `/etc/hosts` below it", "bind a directory"],
        ),
        (
            vec![format!("--volume={data}:/bin/busybox/x")],
            vec!["--volume", "`/bin/busybox` is a file", "busybox/x: "],
        ),
        (
            vec![format!("--volume={data}:/bin/cat/x/y")],
            vec!["--volume", "`/bin/cat` is a file", "destination"],
        ),
        (
            vec![format!("--tmpfs={data}/x"), "--tmpfs=/bin/busybox/x".to_owned(), "--overlay".to_owned()],
            vec!["--tmpfs", "`/bin/busybox` is a file"],
        ),
        (
            vec![format!("--volume={data}:/v"), "--tmpfs=/v/sign/x".to_owned()],
            vec!["--tmpfs", "`/v/sign` is a file", "destination"],
        ),
        (
            vec![format!("--volume={data}/sign:/v"), "--tmpfs=/v/x".to_owned()],
            vec!["--tmpfs", "`/v` is a file"],
        ),
        (vec![format!("--volume={data}:/sys/x")], vec!["--volume", "`/sys/x`", "nothing can be made"]),
        (vec!["--tmpfs=/sys/x/y".to_owned()], vec!["--tmpfs", "`/sys/x`", "nothing can be made"]),
        (
            vec![format!("--volume={data}:/sys/kernel/x/y")],
            vec!["--volume", "`/sys/kernel/x` is not there", "in `/sys`", "another destination"],
        ),
        (
            vec![format!("--volume={data}:/sys/kernel/uevent_seqnum/x")],
            vec!["--volume", "`/sys/kernel/uevent_seqnum/x` is not there", "another destination"],
        ),
        (
            vec![format!("--volume={data}:/sys/class/net/x")],
            vec!["/sys/class/net/x", "in `/sys`", "another destination"],
        ),
        (
            vec!["--tmpfs=/dev/mqueue/x".to_owned()],
            vec!["/dev/mqueue/x", "in `/dev/mqueue`", "another destination"],
        ),
        (vec![format!("--volume={data}:/x:ro,z,rw")], vec!["--volume", "both `ro` and `rw`", "leave one"]),
        (
            vec![format!("--mount=type=bind,source={data},target=/x,readonly,rw")],
            vec!["--mount", "both `readonly` and `rw`", "leave one"],
        ),
    ] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        host.inside(&flags, "true").refuses(125, &parts);
    }
    // A plan touches nothing, so what it refuses is refused before the start.
    for (mount, parts) in [
        (format!("{data}:/etc/passwd/x"), ["`/etc/passwd` is a file", "lies in a directory"]),
        (format!("{data}:/etc/passwd"), ["`/etc/passwd` is a file", "bind a file of it"]),
        ("/etc/passwd:/etc".to_owned(), ["`/etc/passwd` is a file", "write `/etc/passwd`"]),
        (format!("{data}:/sys/kernel/x"), ["`/sys/kernel/x` is not there", "another destination"]),
    ] {
        let parts = [&["--volume", &mount][..], &parts].concat();
        let flag = format!("--volume={mount}");
        host.run(&["--network=none", &flag, "--cmd=/bin/true"]).refuses(125, &parts);
        host.run(&["plan", "--network=none", &flag]).refuses(125, &parts);
        let rootfs = host.rootfs_flag();
        if !mount.contains("passwd") {
            host.run(&["plan", &rootfs, "--network=none", &flag]).refuses(125, &parts);
        }
    }
    assert!(!host.directory().join("missing").exists(), "no typo becomes a directory");
    host.assert_nothing_left();
}
