//! The root file system: what is mounted, where writes go, and mount points that come and go.

use crate::support::{Host, finish, names};

#[test]
fn container_has_the_usual_mounts_nodes_and_files() {
    let Some(host) = Host::new() else { return };
    let script = "cat /proc/mounts; echo ==; ls /dev; echo ==; ls /; echo ==; cat /etc/hosts; echo ==; \
                  for link in fd stdin stdout stderr ptmx; do readlink /dev/$link; done; echo ==; echo x > /dev/null; \
                  head -c 4 /dev/zero | wc -c; echo y > /dev/full 2>/dev/null || echo full; echo z > /dev/shm/z; cat /dev/shm/z";
    let ran = host.inside(&["-h", "burrow"], script);
    let parts: Vec<&str> = ran.text().split("==\n").collect();
    for point in [
        "proc /proc proc",
        "sysfs /sys sysfs ro",
        "tmpfs /dev tmpfs",
        "devpts /dev/pts devpts",
        "tmpfs /dev/shm tmpfs",
        "mqueue /dev/mqueue mqueue",
        "/sys/fs/cgroup",
    ] {
        assert!(parts[0].contains(point), "no {point:?} in {}", parts[0]);
    }
    let nodes: Vec<&str> = parts[1].lines().collect();
    for node in
        ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue", "fd", "stdin"]
    {
        assert!(nodes.contains(&node), "no {node} in {nodes:?}");
    }
    assert!(nodes.len() <= 16, "nothing else: {nodes:?}");
    assert_eq!(parts.len(), 6, "{ran:?}");
    for line in ["127.0.0.1\tlocalhost\n", "::1\tlocalhost ip6-localhost", "172.19.0.2\tburrow\n"] {
        assert!(parts[3].contains(line), "{}", parts[3]);
    }
    let ran =
        host.inside(&["-h", "burrow", "--domainname=example.org"], "grep burrow /etc/hosts; hostname -f");
    assert_eq!(ran.text(), "172.19.0.2\tburrow.example.org burrow\nburrow.example.org");
    assert!(parts[4].starts_with("/proc/self/fd\n"), "{}", parts[4]);
    assert_eq!(parts[5].trim(), "4\nfull\nz");
    host.assert_nothing_left();
}

#[test]
fn mount_table_of_the_host_never_changes() {
    let Some(host) = Host::new() else { return };
    let before = host.mount_table();
    let container = host.background(&[], "up", "read end");
    assert_eq!(host.mount_table(), before);
    for flags in [&["--overlay"][..], &["--read-only"], &["--network=host"]] {
        assert_eq!(host.inside(flags, "exit 0").code(), 0);
        assert_eq!(host.mount_table(), before);
    }
    assert_eq!(host.run(&["--cmd=/bin/true"]).code(), 0);
    assert_eq!(container.release().code(), 0);
    assert_eq!(host.mount_table(), before);
}

#[test]
fn writes_go_into_the_root_directory() {
    let Some(host) = Host::new() else { return };
    assert_eq!(host.inside(&[], "echo kept > /kept; mkdir /dir; rm /bin/md5sum").code(), 0);
    let kept = host.rootfs().join("kept");
    assert_eq!(std::fs::read_to_string(&kept).expect("it was written"), "kept\n");
    assert!(!host.rootfs().join("bin/md5sum").exists());
    std::fs::remove_file(kept).expect("removed");
    std::fs::remove_dir(host.rootfs().join("dir")).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn overlay_keeps_writes_out_of_the_root_directory() {
    let Some(host) = Host::new() else { return };
    let before = names(&host.rootfs());
    let ran =
        host.inside(&["--overlay"], "echo lost > /lost; rm /bin/md5sum; ls /lost /bin/md5sum; cat /lost");
    assert!(ran.stdout.ends_with("lost\n"), "{ran:?}");
    assert!(ran.stderr.contains("/bin/md5sum: No such file"), "{ran:?}");
    assert_eq!(names(&host.rootfs()), before);
    assert!(host.rootfs().join("bin/md5sum").exists());
    host.assert_nothing_left();
}

#[test]
fn read_only_root_refuses_writes_and_leaves_tmp() {
    let Some(host) = Host::new() else { return };
    for flags in [&["--read-only"][..], &["--read-only", "--overlay"]] {
        let ran = host.inside(
            flags,
            "echo no > /no && exit 9; touch /bin/no && exit 9; echo yes > /tmp/yes; cat /tmp/yes",
        );
        assert_eq!(ran.text(), "yes", "{flags:?}");
        assert!(ran.stderr.contains("Read-only file system"), "{ran:?}");
        let ran = host.inside(flags, "mount -o remount,rw / && exit 9; echo no > /no");
        assert_ne!(ran.code(), 0);
        assert_ne!(ran.code(), 9, "a container may not remount its root: {ran:?}");
        assert!(!host.rootfs().join("no").exists());
    }
    host.assert_nothing_left();
}

#[test]
fn working_directory_is_not_made_in_a_root_that_is_read_only() {
    let Some(host) = Host::new() else { return };
    let volume = host.directory().join("volume");
    std::fs::create_dir(&volume).expect("made");
    std::os::unix::fs::symlink("/gone", host.rootfs().join("bin/dangling")).expect("a link");
    let volume = format!("--volume={}:/v", volume.display());
    for (directory, missing) in [
        ("/made/sub", "`/made/sub`"),
        ("/bin/sub", "`/bin/sub`"),
        ("/bin/dangling", "`/gone`"),
        ("/bin/dangling/sub", "`/gone/sub`"),
    ] {
        let parts = ["--workdir: ", missing, "read-only", "--overlay"];
        for command in [&[][..], &["plan"]] {
            let flags = [&host.rootfs_flag(), "--read-only", &volume, "-w", directory, "/bin/true"];
            host.run(&[command, &flags].concat()).refuses(125, &parts);
        }
    }
    // What is made elsewhere leaves nothing in the root, and is made.
    for flags in
        [&["--overlay", "-w", "/made/sub"][..], &["-w", "/tmp/sub"], &["-w", "/v/sub"], &["-w", "/bin"]]
    {
        let flags = [&["--read-only", &volume], flags].concat();
        assert_eq!(host.inside(&flags, "pwd").text(), *flags.last().expect("a directory"));
    }
    std::fs::remove_file(host.rootfs().join("bin/dangling")).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn mount_points_behind_links_that_lead_nowhere_go_with_the_last_container() {
    let Some(host) = Host::new() else { return };
    let (rootfs, volume) = (host.rootfs(), host.directory().join("volume"));
    std::fs::create_dir(&volume).expect("made");
    std::fs::write(volume.join("file"), "seen\n").expect("written");
    std::fs::create_dir(rootfs.join("kept")).expect("made");
    for (text, at) in [("/nowhere", "kept/absolute"), ("gone/deep", "kept/relative"), ("/kept/x", "kept/two")]
    {
        std::os::unix::fs::symlink(text, rootfs.join(at)).expect("a link");
    }
    let flag = |at: &str| format!("--volume={}:{at}", volume.display());
    let flags = [flag("/kept/absolute"), flag("/kept/relative"), flag("/kept/two/in")];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let one = host.background(&flags, "one", "read end");
    let two = host.background(&flags, "two", "read end; cat /kept/absolute/file /kept/x/in/file");
    assert!(rootfs.join("nowhere").is_dir() && rootfs.join("kept/gone/deep").is_dir());
    assert_eq!(one.release().code(), 0);
    assert!(rootfs.join("nowhere").is_dir(), "it is still mounted on");
    assert_eq!(two.release().text(), "seen\nseen");
    assert_eq!(names(&rootfs.join("kept")), ["absolute", "relative", "two"], "the links stay");
    std::fs::remove_dir_all(rootfs.join("kept")).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn mount_points_go_with_the_last_container_and_not_before() {
    let Some(host) = Host::new() else { return };
    std::fs::create_dir(host.rootfs().join("proc")).expect("one mount point was there before");
    let one = host.background(&[], "one", "read end");
    let two =
        host.background(&[], "two", "read end; ls -d /proc/self/fd /sys/class /dev/null; cat /etc/hostname");
    assert!(host.rootfs().join("dev").exists());
    assert_eq!(one.release().code(), 0);
    for point in ["proc", "sys", "dev", "etc/hosts", "etc/hostname", "etc/resolv.conf"] {
        assert!(host.rootfs().join(point).exists(), "{point} is still mounted on");
    }
    let ran = two.release();
    assert_eq!(
        ran.text(),
        "/dev/null\n/proc/self/fd\n/sys/class\nrabbitc",
        "the neighbour's mounts are still there"
    );
    assert_eq!(names(&host.rootfs()), ["bin", "proc"], "what was there before stays");
    std::fs::remove_dir(host.rootfs().join("proc")).expect("it is empty");
    host.assert_nothing_left();
}

#[test]
fn mount_point_that_got_content_stays() {
    let Some(host) = Host::new() else { return };
    assert_eq!(host.inside(&[], "echo 1 > /etc/mine").code(), 0);
    assert_eq!(names(&host.rootfs().join("etc")), ["mine"]);
    std::fs::remove_dir_all(host.rootfs().join("etc")).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn link_out_of_the_root_is_followed_inside_alone() {
    let Some(host) = Host::new() else { return };
    let victim = host.directory().join("victim");
    std::fs::create_dir(&victim).expect("made");
    std::os::unix::fs::symlink(&victim, host.rootfs().join("etc")).expect("a hostile root file system");
    let ran = host.inside(&[], "cat /etc/hostname");
    assert_eq!(names(&victim), Vec::<String>::new(), "nothing was made outside of the root: {ran:?}");
    std::fs::remove_file(host.rootfs().join("etc")).expect("removed");
    // The target inside may have been made on the way, and goes as well.
    host.assert_nothing_left();
}

#[test]
fn time_zone_is_a_file_of_the_hosts() {
    let Some(host) = Host::new() else { return };
    // With what separates the fields of a mount.
    let zones = host.directory().join("zones,east");
    std::fs::create_dir_all(zones.join("Far")).expect("made");
    std::fs::write(zones.join("Far/Away"), "a zone").expect("written");
    let run = |zone: &str| {
        let rootfs = host.rootfs_flag();
        let mut command = host.rabbitc(&["run", &rootfs, "--network=none", zone, "cat", "/etc/localtime"]);
        command.env("TZDIR", &zones);
        finish(command.spawn().expect("nsenter runs"), None)
    };
    assert_eq!(run("--tz=Far/Away").text(), "a zone");
    for wrong in ["--tz=Far", "--tz=Near", "--tz=../zones/Far/Away", "--tz=/etc/passwd"] {
        run(wrong).refuses(125, &["--tz", "time zone", "TZ=…"]);
    }
}
