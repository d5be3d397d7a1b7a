//! Who the program is: users and groups by the root's own files, and what that user may then do.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::support::{Host, finish};

/// Files of accounts, and programs that a shell script needs to look at itself.
fn with_accounts() -> Option<Host> {
    let host = Host::new()?;
    let etc = host.rootfs().join("etc");
    std::fs::create_dir(&etc).expect("made");
    let passwd = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n";
    std::fs::write(etc.join("passwd"), passwd).expect("written");
    let group = "root:x:0:\nstaff:x:50:alice,bob\naudio:x:29:bob\nalice:x:1001:\n";
    std::fs::write(etc.join("group"), group).expect("written");
    Some(host)
}

fn nothing_left(host: &Host) {
    std::fs::remove_dir_all(host.rootfs().join("etc")).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn user_has_the_numbers_groups_and_home_that_the_roots_files_say() {
    let Some(host) = with_accounts() else { return };
    let who =
        |flags: &[&str]| host.inside(flags, "id -u; id -g; id -G; echo $HOME").text().replace('\n', " ");
    assert_eq!(who(&[]), "0 0 0 /root");
    // An empty one is none, as with docker.
    assert_eq!(who(&["-u", ""]), "0 0 0 /root");
    assert_eq!(who(&["-u", "alice"]), "1000 1001 1001 50 /home/alice");
    assert_eq!(who(&["--user=1000"]), "1000 1001 1001 50 /home/alice");
    assert_eq!(who(&["-ualice:audio"]), "1000 29 29 /home/alice");
    assert_eq!(who(&["-u", "77:78"]), "77 78 78 /");
    assert_eq!(who(&["-u", "77"]), "77 0 0 /");
    // A part that is left out is as if only the other were given, and without a user it is root: docker's way.
    assert_eq!(who(&["-u", "alice:"]), "1000 1001 1001 50 /home/alice");
    assert_eq!(who(&["-u", ":audio"]), "0 29 29 /root");
    assert_eq!(
        who(&["-u", "alice", "--group-add=audio", "--group-add", "1234"]),
        "1000 1001 1001 29 50 1234 /home/alice"
    );
    assert_eq!(who(&["-u", "alice", "-e", "HOME=/x"]), "1000 1001 1001 50 /x");
    nothing_left(&host);
}

/// A program that changes its group keeps the old one among the others, or it could get at what shuts that group out
/// (CVE-2022-36109, CVE-2022-2989).
#[test]
fn own_group_is_among_the_further_groups() {
    let Some(host) = with_accounts() else { return };
    let groups = |flags: &[&str]| {
        let ran = host.inside(flags, "grep ^Groups: /proc/self/status");
        ran.text().trim_start_matches("Groups:").trim().to_owned()
    };
    assert_eq!(groups(&[]), "0");
    assert_eq!(groups(&["-u", "alice"]), "50 1001");
    assert_eq!(groups(&["-u", "alice:audio"]), "29");
    assert_eq!(groups(&["-u", "77"]), "0");
    assert_eq!(groups(&["-u", "77:78", "-e", "HOME=/"]), "78");
    assert_eq!(groups(&["--group-add", "audio"]), "0 29");
    assert_eq!(groups(&["-u", "alice", "--group-add", "1001", "--group-add", "staff"]), "50 1001");
    nothing_left(&host);
}

#[test]
fn user_that_is_none_is_refused_before_anything_is_made() {
    let Some(host) = with_accounts() else { return };
    let rootfs = host.rootfs_flag();
    for (user, part) in [
        ("nobody", "`nobody`"),
        ("1000:nogroup", "`nogroup`"),
        ("4294967296", "4294967296"),
        ("1x", "`1x`"),
        ("-1", "-1"),
        (" 1", " 1"),
        (":", "`:`"),
    ] {
        host.run(&[&rootfs, "--user", user, "--cmd=/bin/true"]).refuses(125, &["--user", part]);
    }
    host.run(&[&rootfs, "--group-add=missing", "--cmd=/bin/true"])
        .refuses(125, &["--group-add", "`missing`"]);
    host.run(&[&rootfs, "--umask=9", "--cmd=/bin/true"]).refuses(125, &["--umask", "`9`"]);
    assert!(host.containers().is_empty());
    nothing_left(&host);
}

#[test]
fn hostile_files_of_accounts_are_refused_by_name_and_never_waited_for() {
    let Some(host) = with_accounts() else { return };
    let passwd = host.rootfs().join("etc/passwd");
    let refused = |parts: &[&str]| {
        host.run(&[&host.rootfs_flag(), "--user=alice", "--cmd=/bin/true"]).refuses(125, parts);
    };
    let again = |make: &dyn Fn()| {
        std::fs::remove_file(&passwd).expect("removed");
        make();
    };
    again(&|| host.set_up(&format!("mkfifo {}", passwd.display())));
    refused(&["`/etc/passwd`", "FIFO"]);
    // A terminal that blocks, a watchdog: opening alone would be an act.
    again(&|| host.set_up(&format!("mknod {} c 5 0", passwd.display())));
    refused(&["`/etc/passwd`", "device"]);
    again(&|| {
        let file = std::fs::File::create(&passwd).expect("made");
        file.set_len(1 << 40).expect("sparse");
    });
    refused(&["`/etc/passwd`", "1 MiB"]);
    // The host's file has a root; the container's tree has none there.
    again(&|| symlink("../../../../../../etc/passwd-of-nobody", &passwd).expect("linked"));
    refused(&["`alice`", "/etc/passwd"]);
    again(&|| symlink("/proc/self/root/etc/passwd", &passwd).expect("linked"));
    refused(&["/etc/passwd"]);
    nothing_left(&host);
}

#[test]
fn user_without_privileges_has_no_capability_and_owns_its_terminal() {
    let Some(host) = with_accounts() else { return };
    let ran = host.inside(&["-u", "alice"], "grep Cap /proc/self/status");
    for field in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert!(ran.text().contains(&format!("{field}:\t0000000000000000")), "{ran:?}");
    }
    // What a program opens by /dev/stderr is its terminal, which must be its own for that.
    let ran = host.inside(&["-t", "-u", "alice"], "echo seen > /dev/stderr; tty");
    assert!(ran.text().contains("seen") && ran.stdout.contains("/dev/pts/0"), "{ran:?}");
    nothing_left(&host);
}

#[test]
fn program_that_the_user_may_not_reach_is_refused_with_the_link_that_refuses() {
    let Some(host) = with_accounts() else { return };
    let opt = host.rootfs().join("opt");
    std::fs::create_dir_all(opt.join("inner")).expect("made");
    crate::support::copy_program("/bin/busybox", &opt.join("inner/sh"));
    symlink("/opt/inner", opt.join("link")).expect("linked");
    let mode = |path: &str, mode: u32| {
        std::fs::set_permissions(opt.join(path), std::fs::Permissions::from_mode(mode)).expect("set");
    };
    let run = |user: &str| host.run(&[&host.rootfs_flag(), "-u", user, "/opt/link/sh", "-c", "true"]);
    ["", "inner", "inner/sh"].iter().for_each(|path| mode(path, 0o755));
    assert_eq!(run("alice").code(), 0);
    mode("inner", 0o750);
    run("alice").refuses(126, &["`/opt/link/sh`", "`/opt/inner`", "0750", "user 1000", "search"]);
    assert_eq!(run("alice:0").code(), 0, "its group may");
    mode("inner/sh", 0o700);
    run("alice:0").refuses(126, &["`/opt/inner/sh`", "0700", "user 1000 in group 0", "execute"]);
    assert_eq!(run("root").code(), 0);
    std::fs::remove_dir_all(&opt).expect("removed");
    nothing_left(&host);
}

#[test]
fn program_on_a_mount_without_exec_is_refused_with_that_mount() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs();
    host.set_up(&format!("mount --bind {0} {0}; mount -o remount,bind,noexec {0}", rootfs.display()));
    host.run(&[&host.rootfs_flag(), "--cmd=/bin/true"]).refuses(126, &["`/bin/busybox`", "noexec"]);
    host.set_up(&format!("umount {}", rootfs.display()));
    host.assert_nothing_left();
}

#[test]
fn callers_groups_stay_where_they_are_asked_for() {
    let Some(host) = with_accounts() else { return };
    if !crate::support::has_program("setpriv") {
        return;
    }
    let mut command = host.command("setpriv");
    command.args(["--groups=4242", "--"]).arg(crate::support::binary());
    command.args([&format!("--state-dir={}", host.state().display()), &host.rootfs_flag(), "-u=1000:7"]);
    command.args(["--group-add=keep-groups", "/bin/id", "-G"]);
    assert_eq!(finish(command.spawn().expect("setpriv runs"), None).text(), "7 4242");
    host.run(&[&host.rootfs_flag(), "--group-add=keep-groups", "--group-add=1"])
        .refuses(125, &["--group-add"]);
    nothing_left(&host);
}

#[test]
fn missing_working_directory_is_made_by_root_and_stays() {
    let Some(host) = with_accounts() else { return };
    let ran = host.inside(&["-u", "alice", "-w", "/srv/new/place"], "pwd; touch mine 2>/dev/null || echo no");
    assert_eq!(ran.text(), "/srv/new/place\nno");
    // As docker has it: what is the user's, the user is given, and it alone.
    for path in ["srv", "srv/new", "srv/new/place"] {
        let status = std::fs::metadata(host.rootfs().join(path)).expect("it is there");
        assert_eq!((status.uid(), status.gid(), status.mode() & 0o7777), (0, 0, 0o755), "{path}");
    }
    // One that exists stays as it is.
    assert_eq!(host.inside(&["-w=/srv/../bin"], "pwd").text(), "/bin");
    host.run(&[&host.rootfs_flag(), "-w", "relative"]).refuses(125, &["--workdir", "`relative`"]);
    host.run(&[&host.rootfs_flag(), "-w", "/bin/sh"])
        .refuses(125, &["/bin/sh", "not a directory", "in the way"]);
    std::fs::remove_dir_all(host.rootfs().join("srv")).expect("removed");
    // A link out of the root leads to a place inside.
    symlink("/../../tmp/rabbitc-outside", host.rootfs().join("link")).expect("linked");
    let ran = host.run(&[&host.rootfs_flag(), "-w", "/link/new", "/bin/pwd"]);
    assert_eq!(ran.code(), 125, "{ran:?}");
    assert!(!std::path::Path::new("/tmp/rabbitc-outside").exists());
    std::fs::remove_file(host.rootfs().join("link")).expect("removed");
    nothing_left(&host);
}
