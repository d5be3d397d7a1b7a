//! What a user's container does to files: its root, the host's, volumes, and its state.

use std::path::Path;
use std::process::Command;

use super::user::{UID, User};
use crate::support::{binary, finish, names};

#[test]
fn overlay_keeps_a_users_writes_off_the_directory() {
    let Some(user) = User::new() else { return };
    let ran = user.inside(
        &["--overlay"],
        "rm /bin/tail; echo x >/bin/new; chown 9 /bin/new; ls /bin | wc -l; echo y >/new",
    );
    assert_ne!(ran.text(), "0");
    assert!(user.host.rootfs().join("bin/tail").is_symlink());
    assert!(!user.host.rootfs().join("bin/new").exists() && !user.host.rootfs().join("new").exists());
    user.host.assert_nothing_left();
}

#[test]
fn overlay_takes_a_root_of_somebody_else_and_shows_it_as_it_is() {
    let Some(user) = User::new() else { return };
    // As root unpacks one: the names of the container's own files are missing, there, or a link that leads nowhere.
    let rootfs = user.host.rootfs();
    user.host.set_up(&format!(
        "cd {}; mkdir -p etc/deep srv/www; echo old >etc/hosts; ln -s ../run/none/resolv.conf etc/resolv.conf; \
         echo kept >etc/kept; chmod 711 etc; chmod 2755 srv; chown -R 0:0 .",
        rootfs.display()
    ));
    let flags = ["--overlay", "--tmpfs=/srv/www/cache/low", "--hostname=own"];
    user.inside(&flags[1..], "true").refuses(125, &["make the mount point", "--overlay"]);
    let script = "cat /etc/hostname /etc/kept; grep -c own /etc/hosts; grep -c . /etc/resolv.conf; stat -c %a /etc /srv; \
                  ls /srv/www; ls -d /srv/www/cache/low; rm /etc/kept; echo new >/etc/new; cat /etc/new; ls /etc/deep | wc -l";
    let ran = user.inside(&flags, script);
    assert_eq!(ran.text(), "own\nkept\n1\n0\n711\n2755\ncache\n/srv/www/cache/low\nnew\n0", "{ran:?}");
    // One id alone does as well.
    user.host.set_up("echo 'somebody:100000:65536' | tee /etc/subuid >/etc/subgid");
    assert_eq!(user.inside(&flags, script).text(), ran.text());
    assert_eq!(names(&rootfs.join("etc")), ["deep", "hosts", "kept", "resolv.conf"]);
    assert!(names(&rootfs.join("srv/www")).is_empty());
    user.host.set_up(&format!("cd {}; rm -r etc srv", rootfs.display()));
    user.host.assert_nothing_left();
}

#[test]
fn file_system_in_memory_of_a_user_is_open_to_all_where_it_covers_nothing() {
    let Some(user) = User::new() else { return };
    let stat = "busybox stat -c %a /new/deep /copy";
    for root in [
        &["--tmpfs=/new/deep", "--tmpfs=/copy:tmpcopyup"][..],
        &["--overlay", "--tmpfs=/new/deep", "--tmpfs=/copy:tmpcopyup"],
    ] {
        assert_eq!(user.inside(root, stat).text(), "1777\n1777", "{root:?}");
    }
    user.host.assert_nothing_left();
}

#[test]
fn directory_of_somebody_else_below_an_overlay_takes_nothing_new_and_a_remedy_is_told() {
    let Some(user) = User::new() else { return };
    let source = user.host.directory().join("volume").display().to_string();
    // Open to everybody, as /var/tmp is, and the host's root's.
    user.host.set_up(&format!("mkdir -p {source}/open; chmod 1777 {source}/open"));
    let volume = format!("--volume={source}:/v:O");
    let ran =
        user.inside(&[&volume], "stat -c %u:%a /v/open; touch /v/open/new 2>&1 || touch /v/new && ls /v");
    assert!(ran.text().starts_with("65534:1777\n") && ran.text().ends_with("\nnew\nopen"), "{ran:?}");
    let parts = ["outside of the user namespace", "--tmpfs"];
    user.inside(&[&volume, "--workdir=/v/open/new"], "true").refuses(125, &parts);
    user.inside(&[&volume, &format!("--volume={source}:/v/open/x")], "true").refuses(125, &parts[..1]);
    assert_eq!(
        user.inside(&[&volume, "--tmpfs=/v/open", "--workdir=/v/open/new"], "pwd").text(),
        "/v/open/new"
    );
    user.host.assert_nothing_left();
}

#[test]
fn program_of_somebody_else_on_a_volume_is_told_with_its_owner() {
    let Some(user) = User::new() else { return };
    let source = user.host.directory().join("volume").display().to_string();
    user.host.set_up(&format!(
        "mkdir -p {source}/closed; cp /bin/busybox {source}/closed/true; cp /bin/busybox {source}/own; \
         chmod 700 {source}/closed {source}/own; chown {UID}:{UID} {source}/own"
    ));
    let (rootfs, volume) = (user.host.rootfs_flag(), format!("--volume={source}:/v"));
    let run = |flags: &[&str]| user.run(&[&["--network=none", &rootfs, &volume], flags].concat());
    run(&["/v/closed/true"])
        .refuses(126, &["`/v/closed`: its mode is 0700", "0:0 on the host", "does not map"]);
    run(&["--user=7", "/v/own"]).refuses(126, &["`/v/own`: its mode is 0700 and its owner 0:0, so user 7"]);
    user.host.assert_nothing_left();
}

#[test]
fn root_of_the_host_is_put_together_for_a_user_and_stays_as_it_is() {
    let Some(user) = User::new() else { return };
    user.hide_others();
    let name = format!("rabbitc-cli-test-{}", std::process::id());
    // A mount in a directory: no overlay may lie over that one as a whole.
    user.host.set_up(&format!(
        "mkdir {0}/own/etc; mount --bind {0}/own/etc /var/lib",
        user.host.directory().display()
    ));
    let script = format!(
        "echo a >/{name}; cat /{name}; echo b >/etc/{name}; cat /etc/{name}; head -n 1 /etc/passwd; ls -d /var/lib /var/log; \
         test -e /etc/shadow && cat /etc/shadow; ls -A /run; stat -c %u /usr"
    );
    let ran = user.run(&["--network=none", "--", "/bin/sh", "-c", &script]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{ran:?}");
    assert!(
        ran.stdout.starts_with("a\nb\nroot:") && ran.stdout.ends_with("/var/lib\n/var/log\n0\n"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("nobody") && ran.stderr.contains("secrets"), "{ran:?}");
    for directory in ["/", "/etc"] {
        assert!(!Path::new(directory).join(&name).exists(), "{directory}");
    }
}

#[test]
fn read_only_root_of_the_host_is_so_in_every_piece_and_on_no_mount_of_ours() {
    let Some(user) = User::new() else { return };
    user.hide_others();
    let here = user.host.directory().display().to_string();
    // With a mount in it, /var comes in pieces as well.
    user.host.set_up(&format!("mkdir {here}/own/etc; mount --bind {here}/own/etc /var/lib"));
    let volume = format!("--volume={here}/home:/etc/rabbitc-volume");
    let flags = ["--network=none", &volume, "--tmpfs=/etc/rabbitc-memory", "--tmpfs=/var/log"];
    let script = "echo no >/etc/no; \
                  for place in / /etc /usr /var /var/lib /etc/rabbitc-volume /etc/rabbitc-memory /var/log /tmp /var/tmp \
                  /run /dev/shm; do touch $place/rabbitc-new 2>/dev/null && echo $place; done; exit 0";
    let run = |more: &[&str]| user.run(&[&flags, more, &["--", "/bin/sh", "-c", script]].concat());
    let ours = "/etc/rabbitc-volume\n/etc/rabbitc-memory\n/var/log\n/tmp\n/var/tmp\n/run\n/dev/shm";
    let ran = run(&["--read-only"]);
    assert_eq!(ran.text(), ours, "{ran:?}");
    assert!(ran.stderr.contains("Read-only file system"), "{ran:?}");
    assert_eq!(names(&user.host.directory().join("home")), ["rabbitc-new"]);
    // The same places, where nobody asks for it.
    assert!(run(&[]).text().starts_with("/\n/etc\n/usr\n/var\n"));
    // Each is held open until then.
    let mut limited = user.command("sh");
    limited.args(["-c", "ulimit -n 20 && exec \"$@\"", "sh"]).arg(crate::support::binary());
    limited.args([&user.state_flag(), "--network=none", "--read-only", "--cmd=/bin/true"]);
    finish(limited.spawn().expect("nsenter runs"), None).refuses(125, &["too many open files", "ulimit -n"]);
}

#[test]
fn volumes_of_a_user_are_what_the_user_may_use() {
    let Some(user) = User::new() else { return };
    let home = user.host.directory().join("home");
    user.host
        .set_up(&format!("cd {0}; echo mine >sign; chown {UID}:{UID} sign; chmod 700 .", home.display()));
    let volume = |rest: &str| format!("--volume={}:{rest}", home.display());
    let ran = user.inside(&[&volume("/data")], "cat /data/sign && echo inside >/data/new && cat /data/new");
    assert_eq!(ran.text(), "mine\ninside");
    let made = std::fs::metadata(home.join("new")).expect("made");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), UID, "root inside is the user outside");
    let before = names(&home);
    let ran = user.inside(&[&volume("/data:O")], "rm /data/sign; ls /data");
    assert_eq!(ran.text(), "new");
    assert_eq!(names(&home), before);
    let ran = user.inside(
        &[&volume("/data:ro"), "--tmpfs=/t:size=1m"],
        "touch /t/x; touch /data/x 2>/dev/null || ls /t",
    );
    assert_eq!(ran.text(), "x");
    assert_eq!(
        user.inside(&[&volume("/data:U"), &volume("/data/in:ro")], "cat /data/in/sign").text(),
        "mine"
    );
    assert_eq!(names(&home), before, "the mount point in the volume is gone");
    for options in ["rslave", "rshared"] {
        user.inside(&[&volume(&format!("/data:{options}"))], "true").refuses(125, &["--volume"]);
    }
    user.host.assert_nothing_left();
}

#[test]
fn owners_that_only_root_could_give_are_refused_with_the_way_that_works() {
    let Some(user) = User::new() else { return };
    let source = user.host.directory().join("own/given");
    user.host.set_up(&format!("mkdir -p {0}; touch {0}/file; chown -R {UID}:{UID} {0}", source.display()));
    let volume = format!("--volume={}:/v:U", source.display());
    user.inside_as_is(&["--network=none", "-u", "5:5", &volume], "true")
        .refuses(125, &["--volume", "only root gives files to another user", "chown -R"]);
    assert_eq!(user.inside_as_is(&["--network=none", &volume], "stat -c %u:%g /v").text(), "0:0");
    user.host.set_up(&format!("rm -r {}", source.display()));
    user.host.assert_nothing_left();
}

#[test]
fn state_lies_in_the_session_and_a_place_of_somebody_else_is_refused() {
    let Some(user) = User::new() else { return };
    let rootfs = user.host.rootfs_flag();
    let run = |command: &mut Command| {
        command.args([&rootfs, "--network=none", "--cmd=/bin/true"]);
        finish(command.spawn().expect("nsenter runs"), None)
    };
    assert_eq!(run(&mut user.command(binary())).code(), 0);
    assert_eq!(names(&user.session()), ["rabbitc"]);
    let without_session = || {
        let mut command = user.command(binary());
        // The directory of the test itself may lie below /tmp.
        command.env_remove("XDG_RUNTIME_DIR").current_dir("/");
        command
    };
    // The session's usual place, where the variable is not set; not one that others may write to.
    let usual = format!("/run/user/{UID}");
    user.host.set_up(&format!(
        "mount -t tmpfs -o mode=755 tmpfs /run; mkdir -p -m 755 {usual}; chown {UID} {usual}"
    ));
    assert_eq!(run(&mut without_session()).code(), 0);
    user.host.set_up(&format!("test $(ls {usual}) = rabbitc; chmod 777 {usual}"));
    user.host.set_up(&format!("mount -t tmpfs -o mode=1777 tmpfs /tmp; mkdir /tmp/rabbitc-{UID}"));
    let ran = run(&mut without_session());
    ran.refuses(125, &[&format!("/tmp/rabbitc-{UID}"), "belongs to user 0"]);
}
