//! Root file systems that try to reach the host, each named after what they try (docs/security.md).

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::json;
use support::Bundle;

fn write_program(bundle: &Bundle, name: &str, content: &str) {
    let path = bundle.path.join("rootfs/bin").join(name);
    std::fs::write(&path, content).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
}

/// CVE-2019-5736: a program `#!/proc/self/exe` is the host's binary; whoever opens it while it runs could write to it
/// once it has ended.
#[test]
fn host_binary_executed_by_a_hostile_program_cannot_be_written() {
    if !support::can_run("host_binary_executed_by_a_hostile_program_cannot_be_written") {
        return;
    }
    // The root has no libraries, so only what is shipped, a static program, runs inside.
    let Ok(original) = std::env::var("RABBITC_RUNTIME_BIN") else {
        println!("skipped: needs the static program that `cargo xtask test` names");
        return;
    };
    let bundle = Bundle::new("binary", &["sh", "/bin/attacker"]);
    // Its log is a pipe without a reader, so the host's binary stands still inside for as long as the attacker wants.
    write_program(&bundle, "hostile", "#!/proc/self/exe --log=/pipe\n");
    let made = Command::new("mkfifo").arg(bundle.path.join("rootfs/pipe")).status().expect("mkfifo runs");
    assert!(made.success());
    // Takes hold of it, lets it end, and writes once it runs no more.
    let attacker = "while :; do for process in /proc/[0-9]*; do \
                    if grep -q [l]og=/pipe $process/cmdline; then exec 3<$process/exe; cat /pipe; \
                    for try in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; echo overwritten >/proc/self/fd/3; done; \
                    echo tried >>/tries; fi; done; done 2>/dev/null";
    write_program(&bundle, "attacker", attacker);
    bundle.edit(|config| config["root"]["readonly"] = json!(false));
    // A copy, so that a success of the attack hurts nobody.
    let binary = bundle.path.join("runtime");
    std::fs::copy(original, &binary).expect("copied");
    let before = std::fs::read(&binary).expect("read");
    let runtime = |arguments: &[&str]| {
        let mut command = Command::new(&binary);
        command.arg("--root").arg(bundle.path.join("state")).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect("it runs")
    };
    let path = bundle.path.display().to_string();
    assert!(runtime(&["run", "--detach", "--bundle", &path, &bundle.id]).success());
    // It runs the host's binary inside, which finds nothing to do there.
    assert!(!runtime(&["exec", &bundle.id, "/bin/hostile"]).success());
    let tries = bundle.path.join("rootfs/tries");
    support::eventually("the attacker has tried", || tries.exists());
    runtime(&["delete", "--force", &bundle.id]);
    assert!(std::fs::read(&binary).expect("read") == before, "the host's binary was overwritten");
}

/// CVE-2024-21626: a working directory that is a leaked descriptor of the host.
#[test]
fn working_directory_cannot_be_a_descriptor_of_the_host() {
    if !support::can_run("working_directory_cannot_be_a_descriptor_of_the_host") {
        return;
    }
    let bundle = Bundle::new("cwd", &["cat", "../../../../etc/hostname"]);
    for number in 3..16 {
        bundle.edit(|config| config["process"]["cwd"] = json!(format!("/proc/self/fd/{number}")));
        let output = bundle.run();
        assert!(!output.status.success(), "descriptor {number}: {output:?}");
        assert!(output.stdout.is_empty(), "descriptor {number}: {output:?}");
    }
    bundle.assert_clean("after the last try");
}

/// CVE-2019-19921, CVE-2021-30465: a root whose /proc or /dev leads elsewhere.
#[test]
fn mount_targets_that_are_links_stay_inside_the_root() {
    if !support::can_run("mount_targets_that_are_links_stay_inside_the_root") {
        return;
    }
    for name in ["proc", "dev", "sys"] {
        let bundle = Bundle::new("links", &["true"]);
        let outside = bundle.path.join("outside");
        std::fs::create_dir(&outside).expect("made");
        std::os::unix::fs::symlink("../../../../../..", bundle.path.join("rootfs").join("up"))
            .expect("a link");
        std::os::unix::fs::symlink(&outside, bundle.path.join("rootfs").join(name)).expect("a link");
        // Refused or resolved inside the root: both are right, as long as nothing outside is touched.
        let _ = bundle.run();
        assert_eq!(std::fs::read_dir(&outside).expect("there").count(), 0, "`/{name}` led outside");
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("read");
        assert!(!mounts.contains(&*bundle.path.to_string_lossy()), "`/{name}`: {mounts}");
        bundle.assert_clean("after the run");
    }
}
