//! Root file systems that try to reach the host, each test named after what they try (docs/security.md).

mod support;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::{Bundle, Victim, errors, finish, root_only, text};

/// Every way in which a link of a root can try to lead to `victim` on the host.
fn ways_to(victim: &Path) -> Vec<String> {
    let absolute = victim.display().to_string();
    vec![
        absolute.clone(),
        format!("../../../../../../../../../..{absolute}"),
        format!("/proc/self/root{absolute}"),
        format!("/proc/1/root{absolute}"),
        format!("/proc/self/cwd/../..{absolute}"),
        "/proc/self/fd/0".to_owned(),
        "/proc/self/exe".to_owned(),
        // A chain, and a circle.
        "chain-1".to_owned(),
        "circle-1".to_owned(),
    ]
}

/// Puts a link to `text` at `name` in the root, with the chain and the circle that it may go through.
fn plant(bundle: &Bundle, name: &str, text: &str, victim: &Path) {
    for (link, text) in [
        ("chain-1", "/chain-2".to_owned()),
        ("chain-2", "../chain-3".to_owned()),
        ("chain-3", victim.display().to_string()),
        ("circle-1", "circle-2".to_owned()),
        ("circle-2", "/circle-1".to_owned()),
    ] {
        let _ = symlink(text, bundle.rootfs(link));
    }
    let path = bundle.rootfs(name);
    std::fs::create_dir_all(path.parent().expect("has one")).expect("made");
    let _ = std::fs::remove_file(&path);
    let text = if text.starts_with("chain") || text.starts_with("circle") {
        format!("/{text}")
    } else {
        text.to_owned()
    };
    symlink(text, path).expect("a link");
}

fn without_mount(config: &mut Value, destination: &str) {
    let below = format!("{destination}/");
    let mounts = config["mounts"].as_array_mut().expect("a list");
    mounts.retain(|mount| {
        let at = mount["destination"].as_str().unwrap_or_default();
        at != destination && !at.starts_with(&below)
    });
}

fn bind(source: &Path, destination: &str) -> Value {
    json!({ "destination": destination, "type": "bind", "source": source, "options": ["bind"] })
}

/// CVE-2019-5736: a program `#!/proc/self/exe` is the host's binary; whoever opens it while it runs could write to it
/// once it has ended.
#[test]
fn host_binary_executed_by_a_hostile_program_cannot_be_written() {
    root_only!();
    let bundle = Bundle::hostile("binary", &["sh", "/bin/attacker"]);
    // Its log is a pipe without a reader, so the host's binary stands still inside for as long as the attacker wants.
    bundle.write_program("hostile", "#!/proc/self/exe --log=/pipe\n");
    let made = Command::new("mkfifo").arg(bundle.rootfs("pipe")).status().expect("mkfifo runs");
    assert!(made.success());
    // Takes hold of it, lets it end, and writes once it runs no more.
    let attacker = "while :; do for process in /proc/[0-9]*; do \
                    if grep -q [l]og=/pipe $process/cmdline; then exec 3<$process/exe; cat /pipe; \
                    for try in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; echo overwritten >/proc/self/fd/3; done; \
                    echo tried >>/tries; fi; done; done 2>/dev/null";
    bundle.write_program("attacker", attacker);
    bundle.edit(|config| config["root"]["readonly"] = json!(false));
    let binary = copy_of_the_binary(&bundle);
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
    let tries = bundle.rootfs("tries");
    support::eventually("the attacker has tried", || tries.exists());
    runtime(&["delete", "--force", &bundle.id]);
    assert!(std::fs::read(&binary).expect("read") == before, "the host's binary was overwritten");
}

/// The same against hundreds of joining processes: one attacker opens every `/proc/PID/exe` for writing at once, one
/// keeps them open and writes later.
#[test]
fn host_binary_is_not_written_by_racers_through_hundreds_of_execs() {
    root_only!();
    let bundle = Bundle::hostile("racers", &[]);
    bundle.write_program("hostile", "#!/proc/self/exe --version\n");
    let binary = copy_of_the_binary(&bundle);
    let before = std::fs::read(&binary).expect("read");
    let write = "while :; do for exe in /proc/[0-9]*/exe; do echo overwritten >$exe; done; done 2>/dev/null";
    let keep = "while :; do for n in 3 4 5 6 7 8 9; do for exe in /proc/[0-9]*/exe; do eval \"exec $n<$exe\"; \
                echo overwritten >/proc/self/fd/$n; done; done; done 2>/dev/null";
    // A redirection of `exec` that fails ends a shell, so each try is a shell of its own.
    let keep = keep.replace(
        "eval \"exec $n<$exe\"; echo overwritten >/proc/self/fd/$n",
        "( exec 3<$exe; echo overwritten >/proc/self/fd/3; : >/proc/self/fd/3 )",
    );
    bundle.start_script(&format!("({write}) & {keep}"));
    let mut runs = 0;
    for number in 0..200 {
        let mut command = Command::new(&binary);
        command.arg("--root").arg(bundle.path.join("state"));
        command.args(["exec", &bundle.id, if number % 2 == 0 { "/bin/hostile" } else { "/bin/true" }]);
        runs += usize::from(finish(command).status.success());
    }
    assert!(runs > 60, "programs ran: {runs}");
    assert!(std::fs::read(&binary).expect("read") == before, "the host's binary was overwritten");
    bundle.succeed(&["delete", "--force", &bundle.id]);
}

/// A copy of the program under test, so that an attack that succeeds hurts nobody, and its libraries in the root, so
/// that it runs there as well.
fn copy_of_the_binary(bundle: &Bundle) -> std::path::PathBuf {
    let original = std::env::var("RABBITC_RUNTIME_BIN").unwrap_or_else(|_| support::BINARY.to_owned());
    let binary = bundle.path.join("runtime");
    support::copy_program(&original, &binary);
    let libraries = Command::new("ldd").arg(&original).output().expect("ldd runs");
    for word in text(&libraries).split_whitespace().filter(|word| word.starts_with('/')) {
        let inside = bundle.rootfs(word.trim_start_matches('/'));
        std::fs::create_dir_all(inside.parent().expect("has one")).expect("made");
        support::copy_program(word, &inside);
    }
    binary
}

/// CVE-2024-21626: a working directory that is a leaked descriptor of the host, with a caller that leaks directories at
/// every number that is tried.
#[test]
fn working_directory_cannot_be_a_descriptor_of_the_host() {
    root_only!();
    let bundle = Bundle::hostile("cwd", &["cat", "../../../../etc/hostname", "file"]);
    let victim = Victim::beside(&bundle);
    let leaking = |arguments: &[&str]| {
        let opened: String = (3..16).map(|number| format!(" {number}<{}", victim.path.display())).collect();
        let mut command = Command::new("bash");
        command.args(["-c", &format!("exec{opened}; exec \"$@\""), "bash", support::BINARY, "--root"]);
        command.arg(bundle.path.join("state")).args(arguments).stdin(Stdio::null());
        finish(command)
    };
    let path = bundle.path.display().to_string();
    for number in 3..16 {
        for directory in [format!("/proc/self/fd/{number}"), format!("/proc/self/fd/{number}/directory/..")] {
            bundle.edit(|config| config["process"]["cwd"] = json!(directory));
            let output = leaking(&["run", "--bundle", &path, &bundle.id]);
            assert!(!output.status.success() && output.stdout.is_empty(), "{directory}: {output:?}");
            victim.assert_untouched(&directory, &output);
        }
    }
    bundle.assert_clean("after the last try");
    bundle.edit(|config| config["process"]["cwd"] = json!("/"));
    bundle.start_script("sleep 1000");
    for number in 3..16 {
        let directory = format!("/proc/self/fd/{number}");
        let output = leaking(&["exec", "--cwd", &directory, &bundle.id, "cat", "file"]);
        assert!(!output.status.success() && output.stdout.is_empty(), "exec in {directory}: {output:?}");
    }
    // And nothing of what leaks arrives: neither in the container's program nor in another one.
    let output = leaking(&["exec", &bundle.id, "/bin/sh", "-c", "ls /proc/1/fd; ls /proc/$$/fd; exit 0"]);
    assert_eq!(text(&output), "0\n1\n2\n0\n1\n2\n", "{output:?}");
    bundle.succeed(&["delete", "--force", &bundle.id]);
}

/// CVE-2019-19921, CVE-2021-30465, CVE-2026-41579: a root whose directories lead elsewhere.
#[test]
fn mount_targets_that_are_links_stay_inside_the_root() {
    root_only!();
    for name in ["proc", "dev", "sys", "data", "deep/er"] {
        let bundle = Bundle::hostile("links", &["true"]);
        let victim = Victim::beside(&bundle);
        let volume = bundle.path.join("volume");
        std::fs::create_dir(&volume).expect("made");
        bundle.edit(|config| {
            config["root"]["readonly"] = json!(false);
            let mounts = config["mounts"].as_array_mut().expect("a list");
            mounts.push(bind(&volume, "/data/volume"));
            mounts.push(bind(&volume, "/deep/er/est"));
        });
        for way in ways_to(&victim.path) {
            plant(&bundle, name, &way, &victim.path);
            // Refused or resolved inside the root: both are right, as long as nothing outside is touched.
            let output = bundle.run_to_its_end();
            victim.assert_untouched(&format!("`/{name}` -> `{way}`"), &output);
            assert_eq!(std::fs::read_dir(&volume).expect("there").count(), 0);
        }
        bundle.assert_clean("after the runs");
    }
}

/// CVE-2025-52565: the console, and the devices around it, prepared by the image. Without a file system of its own on
/// /dev, all of it is the image's.
#[test]
fn devices_and_console_that_are_links_stay_inside_the_root() {
    root_only!();
    for name in ["dev/null", "dev/console", "dev/ptmx", "dev/pts", "dev/tty", "dev/shm", "dev"] {
        for terminal in [false, true] {
            let bundle = Bundle::hostile("devices", &["true"]);
            let victim = Victim::beside(&bundle);
            bundle.edit(|config| {
                without_mount(config, "/dev");
                config["process"]["terminal"] = json!(terminal);
                config["root"]["readonly"] = json!(false);
                let mounts = config["mounts"].as_array_mut().expect("a list");
                mounts.push(json!({ "destination": "/dev/shm", "type": "tmpfs", "source": "tmpfs" }));
                mounts.push(json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts" }));
            });
            let file = victim.path.join("file");
            for way in ways_to(if name == "dev" { &victim.path } else { &file }) {
                plant(&bundle, name, &way, &file);
                let output = bundle.run_to_its_end();
                victim.assert_untouched(&format!("`/{name}` -> `{way}`, terminal {terminal}"), &output);
                if name != "dev" {
                    std::fs::remove_dir_all(bundle.rootfs("dev")).expect("removed");
                }
            }
            bundle.assert_clean("after the runs");
        }
    }
}

/// Root inside is the owner of the host's null device, where its ids are the host's.
#[test]
fn null_device_behind_a_masked_file_can_not_be_changed() {
    use std::os::unix::fs::MetadataExt;
    root_only!();
    let bundle = Bundle::hostile("mask", &[]);
    for name in ["secret", "other"] {
        std::fs::write(bundle.rootfs(name), "hidden\n").expect("written");
    }
    bundle.edit(|config| config["linux"]["maskedPaths"] = json!(["/secret", "/other"]));
    let changed =
        || std::fs::metadata("/dev/null").map(|found| (found.ctime(), found.ctime_nsec())).expect("there");
    let before = changed();
    // The mode that it has: a container that succeeds breaks no host.
    let script = "for name in /secret /other; do chmod 666 $name && echo changed; cat $name; echo x >$name || echo shut; done";
    let output = bundle.script(script);
    assert_eq!(text(&output), "", "{output:?}");
    assert!(errors(&output).contains("Read-only file system"), "{output:?}");
    assert_eq!(changed(), before, "the host's node");
    bundle.assert_clean("at the end");
}

/// CVE-2025-31133: what hides a file must be the host's null device, whatever the image has in its place.
#[test]
fn false_null_device_hides_nothing_and_is_refused() {
    root_only!();
    let bundle = Bundle::hostile("null", &[]);
    let victim = Victim::beside(&bundle);
    std::fs::write(bundle.rootfs("secret"), "hidden\n").expect("written");
    std::fs::create_dir(bundle.rootfs("dev")).expect("made");
    let script = "cat /secret; echo taken >/secret";
    bundle.edit(|config| config["linux"]["maskedPaths"] = json!(["/secret", "/proc/kcore"]));
    // Covered by a file system of the container's own: what is below does not matter.
    let null = bundle.rootfs("dev/null");
    std::fs::write(&null, "false\n").expect("written");
    let output = bundle.script(script);
    assert_eq!(text(&output), "", "{output:?}");
    // Not covered, it is the one that the container would get: refused.
    bundle.edit(|config| without_mount(config, "/dev"));
    let output = bundle.script(script);
    assert!(!output.status.success() && errors(&output).contains("/dev/null"), "{output:?}");
    std::fs::remove_file(&null).expect("removed");
    symlink(victim.path.join("file"), &null).expect("a link");
    let output = bundle.script(script);
    assert!(!output.status.success() && errors(&output).contains("/dev/null"), "{output:?}");
    // Another device than the null device.
    std::fs::remove_file(&null).expect("removed");
    let zero = Command::new("mknod").arg(&null).args(["c", "1", "5"]).status().expect("mknod runs");
    assert!(zero.success());
    let output = bundle.script(script);
    assert!(!output.status.success() && errors(&output).contains("/dev/null"), "{output:?}");
    // Bound over /dev, so that no device is made at all: the mask is the host's all the same.
    std::fs::remove_file(&null).expect("removed");
    std::fs::write(&null, "false\n").expect("written");
    let device = bundle.rootfs("dev");
    bundle.edit(|config| config["mounts"].as_array_mut().expect("a list").push(bind(&device, "/dev")));
    let output = bundle.script(&format!("{script}; cat /dev/null; busybox stat -c '%F %t:%T' /secret"));
    assert_eq!(text(&output), "false\ncharacter special file 1:3\n", "{output:?}");
    victim.assert_untouched("false null devices", &output);
    assert_eq!(std::fs::read_to_string(bundle.rootfs("secret")).expect("there"), "hidden\n");
    bundle.assert_clean("after the runs");
}

/// CVE-2023-27561, CVE-2025-31133: what is to be hidden or closed is a link.
#[test]
fn hidden_and_closed_paths_that_are_links_touch_nothing_of_the_host() {
    root_only!();
    let bundle = Bundle::hostile("masks", &[]);
    let victim = Victim::beside(&bundle);
    for (list, name) in [("maskedPaths", "masked"), ("readonlyPaths", "closed")] {
        bundle.edit(|config| config["linux"][list] = json!([format!("/{name}"), "/proc/kcore", "/proc/sys"]));
        for way in ways_to(&victim.path.join("file")) {
            plant(&bundle, name, &way, &victim.path.join("file"));
            let output = bundle.script("cat /masked /closed");
            victim.assert_untouched(&format!("`/{name}` -> `{way}`"), &output);
            std::fs::write(victim.path.join("file"), "of the host\n").expect("the host can still write");
        }
    }
    bundle.assert_clean("after the runs");
}

/// CVE-2019-16884, CVE-2019-19921, CVE-2025-52881: a kernel parameter is written to procfs or not at all.
#[test]
fn file_instead_of_procfs_takes_no_kernel_parameter() {
    root_only!();
    for real in ["proc", "elsewhere"] {
        let bundle = Bundle::hostile("parameters", &["true"]);
        let victim = Victim::beside(&bundle);
        let directory = bundle.rootfs(real).join("sys/kernel");
        std::fs::create_dir_all(&directory).expect("made");
        std::fs::write(directory.join("msgmax"), "0\n").expect("written");
        if real != "proc" {
            symlink(real, bundle.rootfs("proc")).expect("a link");
        }
        bundle.edit(|config| {
            without_mount(config, "/proc");
            config["linux"]["sysctl"] = json!({ "kernel.msgmax": "4096" });
            config["linux"]["maskedPaths"] = json!([]);
            config["linux"]["readonlyPaths"] = json!([]);
        });
        let output = bundle.run_to_its_end();
        assert!(!output.status.success() && errors(&output).contains("not procfs"), "{output:?}");
        assert_eq!(std::fs::read_to_string(directory.join("msgmax")).expect("there"), "0\n");
        // Nor is a file of the host reached by a link in its place.
        std::fs::remove_file(directory.join("msgmax")).expect("removed");
        symlink(victim.path.join("file"), directory.join("msgmax")).expect("a link");
        victim.assert_untouched("a parameter that is a link", &bundle.run_to_its_end());
        bundle.assert_clean("after the runs");
    }
}

/// CVE-2019-19921, CVE-2023-28642: nothing is mounted in procfs, by whatever way, but the few files that lxcfs covers.
#[test]
fn mounts_into_procfs_are_refused_also_where_links_lead_there() {
    root_only!();
    let bundle = Bundle::hostile("procfs", &[]);
    let volume = bundle.path.join("volume");
    std::fs::create_dir(&volume).expect("made");
    std::fs::write(volume.join("uptime"), "12.34 56.78\n").expect("written");
    let plain: Value =
        serde_json::from_str(&std::fs::read_to_string(bundle.path.join("config.json")).expect("read"))
            .expect("JSON");
    let run_with = |mount: Value| -> Output {
        bundle.edit(|config| {
            *config = plain.clone();
            config["mounts"].as_array_mut().expect("a list").push(mount);
        });
        bundle.script("cat /proc/uptime")
    };
    for destination in ["/proc/sys", "/proc//sys/kernel", "/proc/self/attr", "/proc/1", "/proc/sysrq-trigger"]
    {
        for mount in [
            bind(&volume, destination),
            json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs" }),
            json!({ "destination": destination, "type": "proc", "source": "proc" }),
        ] {
            let output = run_with(mount);
            assert!(!output.status.success() && errors(&output).contains("lies in /proc"), "{output:?}");
        }
    }
    for (link, destination) in [
        ("/proc/sys/kernel", "/data"),
        ("/proc", "/data/sys"),
        ("chain", "/data"),
        ("/proc/self/attr", "/data"),
        ("../proc/thread-self/", "/data/attr"),
    ] {
        let _ = std::fs::remove_file(bundle.rootfs("data"));
        symlink(link, bundle.rootfs("data")).expect("a link");
        let _ = symlink("proc/sys", bundle.rootfs("chain"));
        let output = run_with(bind(&volume, destination));
        assert!(!output.status.success() && errors(&output).contains("ends in procfs"), "{link}: {output:?}");
    }
    // On procfs itself lies nothing but procfs.
    std::fs::remove_file(bundle.rootfs("data")).expect("removed");
    symlink("/proc", bundle.rootfs("data")).expect("a link");
    let output = run_with(bind(&volume, "/data"));
    assert!(!output.status.success() && errors(&output).contains("ends in procfs"), "{output:?}");
    let output = run_with(json!({ "destination": "/data", "type": "proc", "source": "proc" }));
    assert!(output.status.success(), "{output:?}");
    let output = run_with(bind(&volume.join("uptime"), "/proc/uptime"));
    assert_eq!(text(&output), "12.34 56.78\n", "{output:?}");
    bundle.assert_clean("after the runs");
}

/// CVE-2024-9676: a FIFO, a socket or a device where a file or a directory is expected holds nobody up.
#[test]
fn special_files_in_the_root_hold_nobody_up() {
    root_only!();
    let make = |kind: &str, path: &Path| match kind {
        "FIFO" => assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success()),
        "socket" => drop(std::os::unix::net::UnixListener::bind(path).expect("bound")),
        _ => {
            let made = Command::new("mknod").arg(path).args(["c", "4", "0"]).status();
            assert!(made.expect("mknod runs").success());
        }
    };
    for kind in ["FIFO", "socket", "device"] {
        for name in ["proc", "sys", "dev", "etc/hosts", "masked", "closed", "bin/program", "work", "etc"] {
            let bundle = Bundle::hostile("special", &["true"]);
            let path = bundle.rootfs(name);
            std::fs::create_dir_all(path.parent().expect("has one")).expect("made");
            let _ = std::fs::remove_dir(&path);
            make(kind, &path);
            let hosts = bundle.path.join("hosts");
            std::fs::write(&hosts, "127.0.0.1\tlocalhost\n").expect("written");
            bundle.edit(|config| {
                config["mounts"].as_array_mut().expect("a list").push(bind(&hosts, "/etc/hosts"));
                config["linux"]["maskedPaths"] = json!(["/masked"]);
                config["linux"]["readonlyPaths"] = json!(["/closed"]);
                config["root"]["readonly"] = json!(false);
                match name {
                    "bin/program" => config["process"]["args"] = json!(["/bin/program"]),
                    "work" => config["process"]["cwd"] = json!("/work"),
                    _ => config["process"]["args"] = json!(["cat", "/etc/hosts"]),
                }
            });
            // It starts or is refused, and it ends.
            let output = bundle.run_to_its_end();
            match name {
                "etc/hosts" => assert_eq!(text(&output), "127.0.0.1\tlocalhost\n", "{kind}: {output:?}"),
                "masked" | "closed" => assert!(output.status.success(), "{kind} at {name}: {output:?}"),
                _ => assert!(!output.status.success() && !errors(&output).is_empty(), "{kind} at {name}"),
            }
            bundle.assert_clean(name);
        }
    }
}

/// Explaining why a program can't be executed opens no device of the image's choice: opening can be an act.
#[test]
fn device_as_program_is_not_opened_by_the_host() {
    use rustix::fs::inotify;
    root_only!();
    let bundle = Bundle::hostile("opened", &["/bin/program"]);
    let path = bundle.rootfs("bin/program");
    let made = Command::new("mknod").args(["-m", "755"]).arg(&path).args(["c", "1", "3"]).status();
    assert!(made.expect("mknod runs").success());
    let watch =
        inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).expect("inotify");
    inotify::add_watch(&watch, &path, inotify::WatchFlags::OPEN).expect("watched");
    let output = bundle.run_to_its_end();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let mut buffer = [std::mem::MaybeUninit::uninit(); 512];
    let event = inotify::Reader::new(&watch, &mut buffer).next().map(|event| event.events());
    assert_eq!(event.err(), Some(rustix::io::Errno::AGAIN), "it was opened");
}

/// What a file of the image says reaches the caller's terminal without its control characters.
#[test]
fn interpreter_of_a_script_does_not_steer_the_terminal() {
    root_only!();
    let bundle = Bundle::hostile("escapes", &["/bin/script"]);
    bundle.write_program("script", "#!/\u{1b}]0;title\u{7}\u{1b}[2Jnone\n");
    let log = bundle.path.join("log").display().to_string();
    let mut command = bundle.command(&["--log", &log, "run", "--bundle"]);
    command.arg(&bundle.path).arg(&bundle.id);
    let output = support::finish(command);
    let logged = std::fs::read_to_string(&log).expect("a log");
    assert!(logged.contains("]0;title"), "{logged}");
    assert!(!(errors(&output) + &logged).contains(['\u{1b}', '\u{7}']), "{output:?} {logged}");
}
