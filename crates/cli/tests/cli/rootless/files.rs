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
fn root_of_the_host_is_put_together_for_a_user_and_stays_as_it_is() {
    let Some(user) = User::new() else { return };
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
    user.host.set_up(&format!("mount -t tmpfs -o mode=1777 tmpfs /tmp; mkdir /tmp/rabbitc-{UID}"));
    let mut elsewhere = user.command(binary());
    // The directory of the test itself may lie below /tmp.
    elsewhere.env_remove("XDG_RUNTIME_DIR").current_dir("/");
    let ran = run(&mut elsewhere);
    ran.refuses(125, &[&format!("/tmp/rabbitc-{UID}"), "belongs to user 0"]);
}
