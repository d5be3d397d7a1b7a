//! `--volume` and `--mount`: seen from inside and from the host, in every kind of root.

mod refused;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::support::{Host, eventually, names};

/// A directory of the host with a file `sign` in it.
fn source(host: &Host, name: &str) -> PathBuf {
    let path = host.directory().join(name);
    std::fs::create_dir_all(&path).expect("made");
    std::fs::write(path.join("sign"), format!("{name}\n")).expect("written");
    path
}

fn volume(source: &Path, rest: &str) -> String {
    format!("--volume={}:{rest}", source.display())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn volume_is_the_same_on_both_sides_in_every_root() {
    let Some(host) = Host::new() else { return };
    let data = source(&host, "data");
    let flag = volume(&data, "/mnt/deep/data");
    let script = "cat /mnt/deep/data/sign && echo inside > /mnt/deep/data/new";
    for flags in [&[&*flag][..], &["--overlay", &flag], &["--read-only", &flag]] {
        assert_eq!(host.inside(flags, script).text(), "data", "{flags:?}");
        assert_eq!(read(&data.join("new")), "inside\n", "{flags:?}");
        std::fs::remove_file(data.join("new")).expect("removed");
    }
    let flag = volume(&data, "/mnt/data");
    let script = "cat /mnt/data/sign && echo inside > /mnt/data/new";
    let ran = host.run(&["--network=none", &flag, "--", "/bin/sh", "-c", script]);
    assert_eq!(ran.text(), "data", "on a copy of the host's root");
    assert_eq!(read(&data.join("new")), "inside\n");
    assert!(!Path::new("/mnt/data").exists(), "the mount point was made in the copy alone");
    host.assert_nothing_left();
}

#[test]
fn relative_source_begins_at_the_callers_directory() {
    let Some(host) = Host::new() else { return };
    let (data, hidden) = (source(&host, "data"), source(&host, "data/.hidden"));
    let run = |place: &str, text: &str| {
        let rabbitc = host.script(&["--network=none", "--volume", text], "cat /data/sign");
        let mut command = host.command("sh");
        command.args(["-c", &format!("{place} && exec \"$0\" \"$@\"")]).args(rabbitc.get_args().skip(4));
        crate::support::finish(command.spawn().expect("nsenter runs"), None)
    };
    for (from, text, sign) in [
        (&data, ".:/data", "data"),
        (&data, ".hidden:/data:cached,nocopy", "data/.hidden"),
        (&hidden, "..:/data:delegated", "data"),
        (&hidden, "../../data/.hidden:/data:consistent", "data/.hidden"),
    ] {
        assert_eq!(run(&format!("cd {}", from.display()), text).text(), sign, "{text}");
    }
    // Anything but the host's root in its place.
    let gone = format!("mkdir {0}/gone; cd {0}/gone; rmdir {0}/gone", data.display());
    run(&gone, ".:/data").refuses(125, &["--volume .:/data: ", "has no path here"]);
    host.assert_nothing_left();
}

#[test]
fn read_only_reaches_what_is_mounted_below() {
    let Some(host) = Host::new() else { return };
    let data = source(&host, "data");
    host.set_up(&format!(
        "mkdir {0}/sub; mount -t tmpfs tmpfs {0}/sub; echo low > {0}/sub/low",
        data.display()
    ));
    let script = "touch /data/new 2>/dev/null && echo above; touch /data/sub/new 2>/dev/null && echo below; \
                  cat /data/sub/low";
    let mount = |rest: &str| format!("--mount=type=bind,source={},target=/data,{rest}", data.display());
    for (flag, expected) in [
        (volume(&data, "/data:ro"), "low"),
        (mount("readonly"), "low"),
        (mount("readonly,bind-recursive=readonly"), "low"),
        (mount("readonly,bind-recursive=writable"), "below\nlow"),
        (volume(&data, "/data"), "above\nbelow\nlow"),
    ] {
        assert_eq!(host.inside(&[&flag], script).text(), expected, "{flag}");
    }
    let ran = host.inside(&[&mount("bind-nonrecursive")], "ls /data/sub | wc -l");
    assert_eq!(ran.text(), "0", "the mount below did not come along");
    let ran = host.inside(&[&volume(&data, "/data:ro")], "mount -o remount,rw,bind /data; touch /data/x");
    assert_ne!(ran.code(), 0);
    host.set_up(&format!("umount {}/sub", data.display()));
    host.assert_nothing_left();
}

#[test]
fn writes_to_a_volume_of_overlay_are_thrown_away() {
    let Some(host) = Host::new() else { return };
    let data = source(&host, "data");
    let before = names(&data);
    let flag = volume(&data, "/data:O");
    for root in [&[&*flag][..], &["--overlay", &flag], &["--read-only", &flag]] {
        let script =
            "cat /data/sign; rm /data/sign; echo x > /data/new; ls /data; grep -c ' /data ' /proc/mounts";
        assert_eq!(host.inside(root, script).text(), "data\nnew\n1", "{root:?}");
        assert_eq!(names(&data), before);
        assert_eq!(read(&data.join("sign")), "data\n");
    }
    // With every right, it still finds no way below.
    let flags = ["--privileged", &flag];
    let ran =
        host.inside(&flags, "umount /data; ls /data; grep -c ' /data' /proc/mounts; echo x > /data/escaped");
    assert_eq!(ran.stdout.trim(), "0", "nothing lies under the overlay: {ran:?}");
    assert_eq!(names(&data), before);
    let file = volume(&data.join("sign"), "/file:O");
    host.inside(&[&file], "true").refuses(125, &["--volume", "is a file"]);
    // Where the umount worked, the container has written into its own mount point.
    let _ = std::fs::remove_dir_all(host.rootfs().join("data"));
    host.assert_nothing_left();
}

#[test]
fn files_and_links_of_the_host_can_be_sources() {
    let Some(host) = Host::new() else { return };
    let data = source(&host, "data");
    let link = host.directory().join("link");
    std::os::unix::fs::symlink("data/sign", &link).expect("a link");
    let flags = [volume(&data.join("sign"), "/opt/one"), volume(&link, "/opt/two:ro")];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let script = "cat /opt/one /opt/two; echo x > /opt/one; echo y > /opt/two";
    let ran = host.inside(&flags, script);
    assert_eq!(ran.stdout, "data\ndata\n", "{ran:?}");
    assert!(ran.stderr.contains("/opt/two: Read-only file system"), "{ran:?}");
    assert_eq!(read(&data.join("sign")), "x\n");
    host.assert_nothing_left();
}

#[test]
fn link_on_the_way_to_a_destination_stays_inside() {
    let Some(host) = Host::new() else { return };
    let (data, victim) = (source(&host, "data"), source(&host, "victim"));
    std::os::unix::fs::symlink(&victim, host.rootfs().join("out")).expect("a hostile root");
    std::os::unix::fs::symlink("../../../../bin", host.rootfs().join("up")).expect("a hostile root");
    std::fs::create_dir_all(host.rootfs().join("bin/tools")).expect("made");
    let ran = host.inside(&[&volume(&data, "/up/tools")], "cat /bin/tools/sign");
    assert_eq!(ran.text(), "data", "the link was followed inside");
    let ran = host.inside(&[&volume(&data, "/out/in")], "true");
    assert_eq!(names(&victim), ["sign"], "nothing was made outside: {ran:?}");
    std::fs::remove_file(host.rootfs().join("out")).expect("removed");
    std::fs::remove_file(host.rootfs().join("up")).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn volume_that_a_link_leads_into_proc_is_refused() {
    let Some(host) = Host::new() else { return };
    let data = source(&host, "data");
    std::os::unix::fs::symlink("/proc/sys", host.rootfs().join("data")).expect("a hostile root");
    host.inside(&[&volume(&data, "/data")], "true").refuses(125, &["/data", "--volume"]);
    std::fs::remove_file(host.rootfs().join("data")).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn volumes_lie_in_each_other_in_any_order_and_leave_no_mount_point() {
    let Some(host) = Host::new() else { return };
    let (outer, inner) = (source(&host, "outer"), source(&host, "inner"));
    let file = volume(&inner.join("sign"), "/data/a/file");
    let flags =
        [file, volume(&inner, "/data/a/b"), "--tmpfs=/data/a/b/c".to_owned(), volume(&outer, "/data:ro")];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let script = "cat /data/sign /data/a/file /data/a/b/sign; echo x > /data/a/b/c/x && ls /data/a/b/c";
    for overlay in [false, true] {
        let mut flags = flags.clone();
        flags.extend(overlay.then_some("--overlay"));
        assert_eq!(host.inside(&flags, script).text(), "outer\ninner\ninner\nx");
        assert_eq!((names(&outer), names(&inner)), (vec!["sign".to_owned()], vec!["sign".to_owned()]));
    }
    host.assert_nothing_left();
}

#[test]
fn mount_point_in_a_volume_stays_until_its_last_container_ends() {
    let Some(host) = Host::new() else { return };
    let (outer, inner) = (source(&host, "outer"), source(&host, "inner"));
    let flags = [volume(&outer, "/data"), volume(&inner, "/data/in")];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let one = host.background(&flags, "one", "read end");
    let two = host.background(&flags, "two", "read end; cat /data/in/sign");
    assert_eq!(one.release().code(), 0);
    assert_eq!(two.release().text(), "inner", "the neighbour's mount is still there");
    assert_eq!(names(&outer), ["sign"]);
    host.assert_nothing_left();
}

#[test]
fn volumes_replace_what_is_the_containers_own() {
    let Some(host) = Host::new() else { return };
    let data = source(&host, "data");
    let flags = [
        volume(&data.join("sign"), "/etc/hosts:ro"),
        volume(&data, "/dev/shm"),
        volume(&data, "/tmp"),
        "--read-only".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    assert_eq!(host.inside(&flags, "cat /etc/hosts /dev/shm/sign /tmp/sign").text(), "data\ndata\ndata");
    let etc = source(&host, "etc");
    let ran = host.inside(&[&volume(&etc, "/etc:ro")], "cat /etc/sign /etc/hostname");
    assert_eq!(ran.text(), "etc\nrabbitc", "its own files lie in the volume");
    assert_eq!(names(&etc), ["sign"], "and leave nothing there");
    let ran = host.inside(&["--volume=/dev:/dev"], "test -c /dev/null && ls -d /dev/fd");
    assert_eq!(ran.text(), "/dev/fd", "another /dev comes without ours");
    host.assert_nothing_left();
}

#[test]
fn two_hundred_volumes_are_mounted() {
    let Some(host) = Host::new() else { return };
    let data = source(&host, "data");
    let flags: Vec<String> = (0..200).map(|number| volume(&data, &format!("/many/{number}"))).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let ran = host.inside(&flags, "cat /many/*/sign | wc -l; grep -c /many/ /proc/mounts");
    assert_eq!(ran.text(), "200\n200");
    host.assert_nothing_left();
}

#[test]
fn more_volumes_than_open_files_are_refused_with_the_limit_as_remedy() {
    let Some(host) = Host::new() else { return };
    let data = source(&host, "data");
    for limit in [50, 150] {
        let mut command = host.command("sh");
        command
            .args(["-c", &format!("ulimit -n {limit} && exec \"$@\""), "sh"])
            .arg(crate::support::binary());
        command.arg(format!("--state-dir={}", host.state().display())).arg(host.rootfs_flag());
        command.args((0..100).map(|number| volume(&data, &format!("/many/{number}"))));
        let ran = crate::support::finish(command.spawn().expect("nsenter runs"), None);
        // The C libraries have different words for EMFILE.
        ran.refuses(125, &["--volume", "ulimit -n"]);
    }
    host.assert_nothing_left();
}

#[test]
fn names_may_hold_anything_that_the_long_form_can_quote() {
    let Some(host) = Host::new() else { return };
    for name in ["with space", "with:colon", "with,comma", "with \"quotes\"", "with\nnewline\tand tab", "-"] {
        let data = source(&host, name);
        let quoted = |key: &str, path: &str| format!("\"{key}={}\"", path.replace('"', "\"\""));
        let flag = format!(
            "--mount=type=bind,{},{}",
            quoted("source", data.to_str().expect("text")),
            quoted("target", &format!("/mnt/{name}"))
        );
        let ran = host.inside(&[&flag], "cat /mnt/*/sign");
        assert_eq!(ran.text(), name, "{flag}");
    }
    host.assert_nothing_left();
}

#[test]
fn relative_sources_begin_at_the_callers_directory() {
    let Some(host) = Host::new() else { return };
    let data = source(&host, "data");
    let deeper = source(&host, "data/deeper");
    std::fs::create_dir(deeper.join("data")).expect("made");
    std::fs::write(deeper.join("data/sign"), "deep\n").expect("written");
    // nsenter itself begins at the root.
    let mut command = host.command("sh");
    command
        .args(["-c", "cd \"$1\" && shift && exec \"$@\"", "sh"])
        .arg(&deeper)
        .arg(crate::support::binary());
    command.arg(format!("--state-dir={}", host.state().display())).arg(host.rootfs_flag());
    command.args(["--volume=./data:/one", "--volume=../sign:/two", "--", "/bin/cat", "/one/sign", "/two"]);
    let ran = crate::support::finish(command.spawn().expect("nsenter runs"), None);
    assert_eq!(ran.text(), "deep\ndata");
    assert!(data.exists());
    host.assert_nothing_left();
}

#[test]
fn mounts_travel_as_the_propagation_says_and_not_otherwise() {
    let Some(host) = Host::new() else { return };
    let data = source(&host, "data");
    let place = data.join("later");
    std::fs::create_dir(&place).expect("made");
    let (mount, unmount) = (
        format!("mount -t tmpfs tmpfs {0}; touch {0}/new", place.display()),
        format!("umount {}", place.display()),
    );
    for root in [&[][..], &["--overlay"]] {
        for (options, seen) in
            [("", "0"), (":rprivate", "0"), (":rslave", "1"), (":rshared", "1"), (":ro,rslave", "1")]
        {
            let flag = volume(&data, &format!("/data{options}"));
            let flags: Vec<&str> = root.iter().copied().chain([&*flag]).collect();
            // An overlay has no place for the sign that a background container gives, but a volume has.
            let mut command = host.script(&flags, "echo up; read end; ls /data/later | wc -l");
            command.stdin(std::process::Stdio::piped());
            let mut container = crate::support::Background::of(command.spawn().expect("nsenter runs"));
            container.read_exact(&mut [0; 3]);
            host.set_up(&mount);
            let ran = container.release();
            host.set_up(&unmount);
            assert_eq!(ran.text(), seen, "{flags:?}");
        }
    }
    let inner = "mount -t tmpfs tmpfs /data/later && touch /data/later/inner && echo done; read end";
    for (options, seen) in [("", false), (":rslave", false), (":rshared", true)] {
        let flag = volume(&data, &format!("/data{options}"));
        let mut command = host.script(&["--cap-add=SYS_ADMIN", &flag], inner);
        command.stdin(std::process::Stdio::piped());
        let mut container = crate::support::Background::of(command.spawn().expect("nsenter runs"));
        container.read_exact(&mut [0; 5]);
        let found = host.mount_table().contains("data/later");
        assert_eq!(found, seen, "{options}");
        container.release();
        if found {
            assert!(host.mount_table().contains("data/later"), "what it has mounted there stays");
            host.set_up(&unmount);
        }
    }
    host.assert_nothing_left();
}

#[test]
fn programs_and_devices_of_a_volume_are_as_weak_as_said() {
    let Some(host) = Host::new() else { return };
    let data = source(&host, "data");
    let options = |flag: &str, target: &str| {
        let ran = host.inside(&[flag], &format!("grep ' {target} ' /proc/mounts"));
        let words = ran.text().split(' ').nth(3).expect("options").to_owned();
        move |word: &str| words.split(',').any(|found| found == word)
    };
    let plain = options(&volume(&data, "/data"), "/data");
    assert!(plain("nosuid") && plain("nodev") && !plain("noexec") && plain("rw"));
    let loose = options(&volume(&data, "/data:suid,dev,ro"), "/data");
    assert!(!loose("nosuid") && !loose("nodev") && loose("ro"));
    assert!(options(&volume(&data, "/data:noexec"), "/data")("noexec"));
    let memory = options("--tmpfs=/data", "/data");
    assert!(memory("nosuid") && memory("nodev") && memory("noexec") && memory("rw"));
    let memory = options("--tmpfs=/data:exec,suid,ro,size=1m,mode=0700", "/data");
    assert!(
        !memory("noexec") && !memory("nosuid") && memory("ro") && memory("size=1024k") && memory("mode=700")
    );
    // What the host's mount refuses stays refused.
    host.set_up(&format!("mount -t tmpfs -o nosuid,nodev,noexec,ro tmpfs {}", data.display()));
    let strict = options(&volume(&data, "/data:suid,dev,exec,rw"), "/data");
    assert!(strict("nosuid") && strict("nodev") && strict("noexec") && strict("ro"));
    host.set_up(&format!("umount {}", data.display()));
    host.assert_nothing_left();
}

#[test]
fn owners_change_in_the_volume_and_nowhere_else() {
    let Some(host) = Host::new() else { return };
    let (data, victim) = (source(&host, "data"), source(&host, "victim"));
    host.set_up(&format!(
        "cd {}; mkdir -p sub/mounted; mount -t tmpfs tmpfs sub/mounted; touch sub/mounted/kept; ln -s {} out; \
         chown -h -R 1234:1234 .; chown 1234:1234 {}/sign",
        data.display(),
        victim.display(),
        victim.display()
    ));
    let owner = |path: &Path| {
        let found = std::fs::symlink_metadata(path).expect("there");
        (found.uid(), found.gid())
    };
    let kept = || host.shell(&format!("stat -c %u {}/sub/mounted/kept", data.display()));
    assert_eq!(kept().trim(), "1234");
    host.inside(&[&volume(&data, "/data:U")], "true").text();
    for path in ["", "sign", "sub", "out"] {
        assert_eq!(owner(&data.join(path)), (0, 0), "{path}");
    }
    assert_eq!(owner(&victim.join("sign")), (1234, 1234), "no link was followed");
    assert_eq!(kept().trim(), "1234", "no other mount was entered");
    host.set_up(&format!("umount {}/sub/mounted", data.display()));
    for path in ["/etc", "/usr/bin", "/"] {
        let ran = host.inside(&[&format!("--volume={path}:/data:U")], "true");
        ran.refuses(125, &["--volume", "would break it"]);
    }
    host.assert_nothing_left();
}

#[test]
fn label_is_asked_for_in_vain_where_there_is_no_selinux() {
    let Some(host) = Host::new() else { return };
    if Path::new("/sys/fs/selinux/enforce").exists() {
        crate::support::skip("SELinux is on, and would label the test's directory");
        return;
    }
    let data = source(&host, "data");
    for options in ["z", "Z"] {
        assert_eq!(
            host.inside(&[&volume(&data, &format!("/data:{options}"))], "cat /data/sign").text(),
            "data"
        );
    }
    host.assert_nothing_left();
}

#[test]
fn file_goes_onto_a_file_and_a_directory_onto_a_directory_by_links_too() {
    let Some(host) = Host::new() else { return };
    let data = source(&host, "data");
    host.set_up(&format!(
        "cd {}; mkdir dir; ln -s /dir linked; touch plain; ln -s plain also",
        host.rootfs().display()
    ));
    for flags in [&[][..], &["--overlay"]] {
        let onto_link = volume(&data, "/linked");
        let onto_file = volume(&data.join("sign"), "/also");
        let flags = [flags, &[&onto_link, &onto_file, "--tmpfs=/linked/new"]].concat();
        let ran = host.inside(&flags, "cat /dir/sign /plain; ls /dir");
        assert_eq!(ran.text(), "data\ndata\nnew\nsign", "{ran:?}");
        assert_eq!(names(&data), ["sign"]);
    }
    host.set_up(&format!("cd {}; rm linked plain also; rmdir dir", host.rootfs().display()));
    host.assert_nothing_left();
}

/// An overlay shows one file system alone: what the host has mounted below it is in nobody's way.
#[test]
fn file_of_the_hosts_that_the_container_does_not_see_is_in_no_mounts_way() {
    let Some(mut host) = Host::new() else { return };
    let data = source(&host, "data");
    let below = host.rootfs().join("below");
    host.set_up(&format!("mkdir {0}; mount -t tmpfs tmpfs {0}; echo x >{0}/file", below.display()));
    host.accept_mounts();
    let ran = host.inside(&["--overlay", &volume(&data, "/below/file")], "ls /below/file");
    assert_eq!(ran.text(), "sign");
    host.inside(&[&volume(&data, "/below/file")], "true").refuses(125, &["`/below/file` is a file"]);
    host.set_up(&format!("umount {0}; rmdir {0}", below.display()));
    host.accept_mounts();
    host.assert_nothing_left();
}

#[test]
fn plan_and_timeline_name_the_flag_behind_each_mount() {
    let Some(host) = Host::new() else { return };
    let data = source(&host, "data");
    let typed = format!("{}:/data:ro", data.display());
    let flag = format!("--volume={typed}");
    let rootfs = host.rootfs_flag();
    let plan = host.run(&["plan", &rootfs, &flag, "--tmpfs=/t", "--read-only"]);
    for line in [
        format!("bind `{}` `/data`  (--volume {typed})", data.display()),
        "mount `tmpfs` `/t`  (--tmpfs /t)".to_owned(),
        "mount `tmpfs` `/tmp`  (--read-only)".to_owned(),
        "mount `proc` `/proc`  (default)".to_owned(),
    ] {
        assert!(plan.text().contains(&line), "no {line:?} in {}", plan.text());
    }
    let ran = host.inside(&["--explain", &flag], "true");
    assert!(ran.stderr.contains(&format!("asked for by: --volume {typed}")), "{}", ran.stderr);
    host.assert_nothing_left();
}

#[test]
fn killed_rabbitc_leaves_a_mount_point_in_a_volume_to_the_next_one() {
    let Some(host) = Host::new() else { return };
    let (outer, inner) = (source(&host, "outer"), source(&host, "inner"));
    let flags = [volume(&outer, "/data"), volume(&inner, "/data/in")];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut container = host.background(&flags, "up", "read end");
    container.signal("KILL");
    container.finish();
    eventually("its processes are gone", || host.processes().is_empty());
    assert_eq!(host.inside(&[], "true").code(), 0);
    assert_eq!(names(&outer), ["sign"]);
    host.assert_nothing_left();
}

#[test]
fn volumes_work_with_users_of_the_containers_own() {
    let Some(host) = Host::new() else { return };
    let closed = source(&host, "closed");
    let data = source(&host, "closed/data");
    // On the way lies a directory that nobody of the namespace may search.
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).expect("its mode");
    let users = "--userns=auto";
    let ran = host.inside(
        &[users, &volume(&data, "/data")],
        "cat /data/sign; echo inside > /data/new; ls -n /data/new",
    );
    let words: Vec<&str> = ran.text().split_ascii_whitespace().collect();
    assert_eq!(words[..1], ["closed/data"], "{ran:?}");
    assert_eq!(words[3..5], ["0", "0"], "{ran:?}");
    assert_eq!(
        std::fs::metadata(data.join("new")).expect("made").uid(),
        0,
        "root inside is root on the disk"
    );
    let before = names(&data);
    let ran = host.inside(&[users, &volume(&data, "/data:O")], "cat /data/sign; rm /data/sign; ls /data");
    assert_eq!(ran.text(), "closed/data\nnew");
    assert_eq!(names(&data), before);
    let ran = host.inside(&[users, &volume(&data, "/data:ro")], "touch /data/x 2>/dev/null || echo closed");
    assert_eq!(ran.text(), "closed");
    std::os::unix::fs::chown(data.join("sign"), Some(4321), Some(4321)).expect("another owner");
    assert_eq!(
        host.inside(&[users, &volume(&data, "/data:U")], "test -O /data/sign && echo own").text(),
        "own"
    );
    let ran = host.inside(&[users, &volume(&data, "/data:rshared")], "true");
    ran.refuses(125, &["--volume", "may not reach the host"]);
    let full = host.rootfs().join("full");
    std::fs::create_dir(&full).expect("made");
    std::fs::write(full.join("kept"), "x").expect("written");
    assert_eq!(
        host.inside(&[users, "--tmpfs=/full:tmpcopyup"], "ls -n /full | grep -c ' 0 .* 0 .*kept'").text(),
        "1"
    );
    std::fs::remove_dir_all(full).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn mount_points_are_for_every_user_whatever_the_callers_umask() {
    let Some(host) = Host::new() else { return };
    let (tree, file) = (host.directory().join("tree"), host.directory().join("file"));
    std::fs::create_dir(&tree).expect("made");
    std::fs::write(&file, "text\n").expect("written");
    let script = format!(
        "umask 077; {} --state-dir={} {} --network=none -u 1000:1000 -v {}:/data/deep -v {}:/data/file -- \
         /bin/sh -c 'stat -c %a /data; ls /data/deep && cat /data/file'",
        crate::support::binary().display(),
        host.state().display(),
        host.rootfs_flag(),
        tree.display(),
        file.display()
    );
    assert_eq!(host.shell(&script), "755\ntext");
    assert!(!host.rootfs().join("data").exists());
    host.assert_nothing_left();
}
