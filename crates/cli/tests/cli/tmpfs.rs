//! `--tmpfs` and `--mount type=tmpfs`: what they begin with, and how open they are.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Host, names};

#[test]
fn file_system_in_memory_has_its_limit_and_begins_empty() {
    let Some(host) = Host::new() else { return };
    std::fs::create_dir(host.rootfs().join("full")).expect("made");
    std::fs::write(host.rootfs().join("full/covered"), "x").expect("written");
    let script = "ls /full | wc -l; dd if=/dev/zero of=/full/big bs=1M count=2 2>/dev/null || echo no more";
    for flag in ["--tmpfs=/full:size=1m", "--mount=type=tmpfs,target=/full,tmpfs-size=1m"] {
        assert_eq!(host.inside(&[flag], script).text(), "0\nno more", "{flag}");
    }
    assert_eq!(names(&host.rootfs().join("full")), ["covered"]);
    std::fs::remove_dir_all(host.rootfs().join("full")).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn file_system_in_memory_is_open_to_all_where_it_covers_nothing() {
    let Some(host) = Host::new() else { return };
    let (old, data) = (host.rootfs().join("old"), host.directory().join("data"));
    std::fs::create_dir(&old).expect("made");
    std::fs::create_dir(&data).expect("made");
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o700)).expect("its mode");
    let stat = "busybox stat -c %a:%n";
    let data = format!("--volume={}:/data", data.display());
    let memory = [
        "--tmpfs=/new/deep",
        "--tmpfs=/copy:tmpcopyup",
        "--mount=type=tmpfs,target=/long",
        "--tmpfs=/said:mode=711",
        "--tmpfs=/old",
        "--tmpfs=/data/in",
        &data,
    ];
    let script = format!("{stat} /new/deep /copy /long /said /old /data/in");
    let expected = "1777:/new/deep\n1777:/copy\n1777:/long\n711:/said\n700:/old\n1777:/data/in";
    assert_eq!(host.inside(&memory, &script).text(), expected);
    assert_eq!(host.inside(&[&["--overlay"], &memory[..]].concat(), &script).text(), expected);
    // A mount point of a container that runs is no directory of the root.
    let other = host.background(&["--tmpfs=/new/deep"], "up", "read end");
    assert_eq!(host.inside(&["--tmpfs=/new/deep"], &format!("{stat} /new/deep")).text(), "1777:/new/deep");
    assert_eq!(other.release().code(), 0);
    // Nor is everybody to write where the system's services do.
    for root in [&["--read-only"][..], &["--read-only", "--overlay"]] {
        assert_eq!(host.inside(root, &format!("{stat} /run /tmp")).text(), "755:/run\n1777:/tmp");
    }
    std::fs::remove_dir(old).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn file_system_in_memory_can_begin_as_a_copy() {
    let Some(host) = Host::new() else { return };
    let full = host.rootfs().join("full");
    std::fs::create_dir_all(full.join("sub/deep")).expect("made");
    std::fs::write(full.join("sub/deep/file"), "x".repeat(300_000)).expect("written");
    std::fs::set_permissions(full.join("sub/deep/file"), std::fs::Permissions::from_mode(0o4751))
        .expect("its mode");
    std::os::unix::fs::chown(full.join("sub"), Some(7), Some(8)).expect("its owner");
    std::fs::set_permissions(&full, std::fs::Permissions::from_mode(0o750)).expect("its mode");
    // Hostile: followed, it would show the host.
    std::os::unix::fs::symlink("/etc/passwd", full.join("link")).expect("a link");
    let made = std::process::Command::new("mkfifo").arg(full.join("fifo")).status().expect("mkfifo runs");
    assert!(made.success());
    let script = "ls -lnd /full /full/sub /full/sub/deep/file | head -n 3; readlink /full/link; test -p /full/fifo && \
                  echo pipe; wc -c < /full/sub/deep/file; touch /full/new 2>/dev/null || echo closed";
    let ran = host.inside(&["--tmpfs=/full:tmpcopyup,ro"], script);
    let lines: Vec<&str> = ran.text().lines().collect();
    assert!(lines[0].starts_with("drwxr-x---") && lines[0].ends_with("/full"), "{lines:?}");
    let words = |line: &str| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(lines[1])[2..4], ["7", "8"], "{lines:?}");
    assert!(lines[2].starts_with("-rwsr-x--x"), "{lines:?}");
    assert_eq!(lines[3..], ["/etc/passwd", "pipe", "300000", "closed"]);
    let ran = host.inside(&["--tmpfs=/full:tmpcopyup,size=64k"], "true");
    ran.refuses(125, &["/full", "--tmpfs /full:tmpcopyup,size=64k", "size="]);
    std::fs::remove_dir_all(full).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn read_only_root_has_room_in_memory_unless_told_otherwise() {
    let Some(host) = Host::new() else { return };
    std::fs::create_dir(host.rootfs().join("run")).expect("made");
    std::fs::write(host.rootfs().join("run/kept"), "x").expect("written");
    let script =
        "for place in /tmp /var/tmp /run; do touch $place/x && echo $place; done 2>/dev/null; ls /run/kept";
    assert_eq!(host.inside(&["--read-only"], script).text(), "/tmp\n/var/tmp\n/run\n/run/kept");
    assert_eq!(host.inside(&["--read-only", "--read-only-tmpfs=false"], script).text(), "/run/kept");
    assert_eq!(names(&host.rootfs().join("run")), ["kept"]);
    std::fs::remove_dir_all(host.rootfs().join("run")).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn memory_that_is_never_swapped_out_is_a_ramfs_or_a_tmpfs_that_says_so() {
    let Some(host) = Host::new() else { return };
    let shown = |mount: &str| {
        let script = "touch /m/x && grep ' /m ' /proc/self/mounts";
        let rootfs = host.rootfs_flag();
        host.run(&[&rootfs, "--network=none", "--mount", mount, "--", "/bin/sh", "-c", script])
    };
    assert!(shown("type=ramfs,destination=/m").text().starts_with("ramfs /m ramfs "));
    assert!(shown("type=tmpfs,destination=/m,size=1m").text().starts_with("tmpfs /m tmpfs "));
    shown("type=ramfs,destination=/m,size=1m").refuses(125, &["ramfs has no `size`"]);
    // Since Linux 6.4.
    let noswap = shown("type=tmpfs,destination=/m,noswap");
    assert!(noswap.code() != 0 || noswap.text().contains("noswap"), "{noswap:?}");
    shown("type=tmpfs,destination=/m,noswap,noswap").refuses(125, &["given twice"]);
    host.assert_nothing_left();
}
