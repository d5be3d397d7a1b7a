//! Images mounted on the host, to be looked at.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::images::{APP, Registry};
use crate::support::{Ran, binary, eventually, finish, has_program, names};

/// `rabbitc image VERB`, by a program that stands before it.
fn by(registry: &Registry, before: &[&str], verb: &str, arguments: &[&str]) -> Ran {
    let mut command = match before {
        [] => registry.host.command(binary()),
        [program, flags @ ..] => {
            let mut command = registry.host.command(program);
            command.args(flags).arg(binary());
            command
        }
    };
    command.args(["image", verb]).arg(format!("--root={}", registry.store().display()));
    if verb == "mount" {
        command.arg(format!("--state-dir={}", registry.host.state().display()));
    }
    finish(command.args(arguments).spawn().expect("nsenter runs"), None)
}

fn image(registry: &Registry, verb: &str, arguments: &[&str]) -> Ran {
    by(registry, &[], verb, arguments)
}

fn check(registry: &Registry) -> Ran {
    let mut command: Command = registry.host.command(binary());
    command.args(["system", "check", "--quick"]).arg(format!("--root={}", registry.store().display()));
    finish(command.spawn().expect("nsenter runs"), None)
}

/// Nothing of any mount is there: neither notes nor directories.
fn assert_none(registry: &Registry) {
    assert_eq!(names(&registry.store().join("images/mounts")), [""; 0], "notes");
    assert_eq!(names(&registry.host.state().join("images")), [""; 0], "directories");
    assert!(!registry.host.mount_table().contains("/state/images/"), "{}", registry.host.mount_table());
}

fn end(registry: Registry) {
    assert_none(&registry);
    std::fs::remove_dir_all(registry.host.state()).expect("there");
    registry.end();
}

const LOOK: &str = "cat etc/name; ls data; ls etc/hidden 2>/dev/null; touch x 2>/dev/null || echo read-only";

#[test]
fn image_is_mounted_read_only_as_its_containers_see_it_until_all_have_unmounted_it() {
    let Some(registry) = Registry::new() else { return };
    registry.rabbitc("pull", &[APP]).text();
    assert_eq!(image(&registry, "mount", &[]).text(), "");
    let path = image(&registry, "mount", &[APP]).text().to_owned();
    assert_eq!(registry.host.shell(&format!("cd {path}; {LOOK}")), "two\nread-only");
    let table = registry.host.mount_table();
    let line = table.lines().find(|line| line.contains(&path)).expect("it is mounted");
    assert!(line.contains(" ro,nosuid,nodev,"), "no rights of the image's files: {line}");
    assert_eq!(image(&registry, "mount", &[]).text(), format!("{APP}  {path}"));
    let listed: Value =
        serde_json::from_str(image(&registry, "mount", &["--format=json"]).text()).expect("JSON");
    let id =
        registry.rabbitc("images", &["-q", "--no-trunc"]).text().trim_start_matches("sha256:").to_owned();
    assert_eq!(
        (&listed[0]["id"], &listed[0]["Repositories"][0], &listed[0]["mountpoint"]),
        (&Value::from(id.as_str()), &Value::from(APP), &Value::from(path.as_str()))
    );

    // It is in use.
    registry.rabbitc("rmi", &[APP]).refuses(1, &["it is mounted at", &path, "rabbitc image unmount"]);
    assert!(image(&registry, "prune", &["-af"]).text().contains("reclaimed space: 0B"));
    assert!(check(&registry).text().is_empty());
    // By its id it is the same mount, which is there until both have unmounted it.
    assert_eq!(image(&registry, "mount", &[&id[..12]]).text(), path);
    assert_eq!(image(&registry, "unmount", &[APP]).text(), id);
    assert_eq!(image(&registry, "mount", &[]).text(), format!("{APP}  {path}"));
    assert_eq!(image(&registry, "umount", &[APP]).text(), id);
    assert_none(&registry);
    assert_eq!(image(&registry, "unmount", &[APP]).text(), "", "what is not mounted stays so");

    image(&registry, "mount", &[APP, APP]).text();
    let held =
        format!("cd {path}; {} image unmount --root={} -a", binary().display(), registry.store().display());
    let mut shell = registry.host.command("sh");
    let ran = finish(shell.args(["-c", &held]).spawn().expect("nsenter runs"), None);
    ran.refuses(125, &["unmount `", "device or resource busy", "--force"]);
    assert_eq!(registry.host.shell(&format!("{held} -f")), id);
    assert_none(&registry);

    image(&registry, "mount", &[APP, APP]).text();
    registry.rabbitc("rmi", &["--force", APP]).text();
    assert_eq!(registry.kept(), [""; 0]);
    image(&registry, "mount", &[APP]).refuses(125, &["mount the image", "there is none of this name"]);
    image(&registry, "unmount", &[]).refuses(125, &["an image is to be named"]);
    end(registry);
}

#[test]
fn image_of_one_layer_and_of_an_old_kernel_are_mounted_too() {
    let Some(registry) = Registry::new() else { return };
    registry.rabbitc("pull", &[APP]).text();
    let directory = registry.host.directory().display().to_string();
    registry.host.shell(&format!("cd {directory}; mkdir one; echo it >one/file; tar -C one -cf one.tar ."));
    registry.rabbitc("import", &[&format!("{directory}/one.tar"), "one"]).text();
    registry.host.shell(&format!("cd {directory}; rm -r one one.tar"));
    let all = image(&registry, "mount", &["--all"]);
    assert_eq!(all.text().lines().count(), 2, "{all:?}");
    let path = image(&registry, "mount", &["one"]).text().to_owned();
    assert_eq!(registry.host.shell(&format!("ls {path}; cat {path}/file")), "file\nit");
    assert_eq!(image(&registry, "unmount", &["--all", "--force"]).text().lines().count(), 2);
    assert_none(&registry);
    // Below a link it is known by its own path.
    registry.host.shell(&format!("cd {directory}; ln -s state link"));
    let path = image(&registry, "mount", &[&format!("--runroot={directory}/link"), APP]).text().to_owned();
    assert!(path.contains("/state/images/"), "{path}");
    assert_eq!(image(&registry, "mount", &[]).text(), format!("{APP}  {path}"));
    image(&registry, "unmount", &[APP]).text();
    registry.host.shell(&format!("rm {directory}/link"));
    assert_none(&registry);
    if has_program("strace") {
        // Before 6.7 it knows no `lowerdir+`, and before 6.5 it says so at the end: behind two layers and the mount point.
        for call in [1, 4] {
            let inject = format!("inject=fsconfig:error=EINVAL:when={call}");
            let strace = ["strace", "-f", "-o", "/dev/null", "-e", "trace=fsconfig", "-e", &inject];
            let path = by(&registry, &strace, "mount", &[APP]).text().to_owned();
            assert_eq!(registry.host.shell(&format!("cd {path}; {LOOK}")), "two\nread-only");
            image(&registry, "unmount", &[APP]).text();
        }
    }
    end(registry);
}

#[test]
fn all_that_is_mounted_is_unmounted_at_once_how_often_ever_it_was() {
    let Some(registry) = Registry::new() else { return };
    registry.rabbitc("pull", &[APP]).text();
    let path = image(&registry, "mount", &[APP]).text().to_owned();
    image(&registry, "mount", &[APP]).text();
    image(&registry, "unmount", &["--all"]).text();
    assert!(!registry.host.mount_table().contains(&path));
    end(registry);
}

#[test]
fn mount_that_is_killed_at_any_step_leaves_what_the_next_command_heals() {
    let Some(registry) = Registry::new() else { return };
    if !has_program("strace") {
        return;
    }
    registry.rabbitc("pull", &[APP]).text();
    let killed = |call: &str, verb: &str| {
        let inject = format!("inject={call}:signal=KILL:when=1");
        let strace = ["strace", "-f", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject];
        let ran = by(&registry, &strace, verb, &[APP]);
        assert_ne!(ran.code(), 0, "{call}: {ran:?}");
    };
    let heal: [&dyn Fn(); 3] = [
        &|| {
            let path = image(&registry, "mount", &[APP]).text().to_owned();
            assert_eq!(registry.host.shell(&format!("cat {path}/etc/name")), "two");
            image(&registry, "unmount", &["-f", APP]).text();
        },
        &|| drop(image(&registry, "unmount", &["-f", APP]).text().to_owned()),
        &|| {
            check(&registry).text();
            image(&registry, "unmount", &["-f", APP]).text();
        },
    ];
    for heal in heal {
        for call in ["fsopen", "fsmount", "move_mount"] {
            killed(call, "mount");
            heal();
            assert_none(&registry);
        }
        for call in ["umount2", "rmdir"] {
            image(&registry, "mount", &[APP]).text();
            killed(call, "unmount");
            heal();
            assert_none(&registry);
        }
    }
    // The host was started anew: nothing below its runtime directory is there.
    let path = image(&registry, "mount", &[APP, APP]).text().lines().next().expect("one").to_owned();
    let path = path.split_whitespace().last().expect("a path").to_owned();
    registry.host.shell(&format!("umount {path}; rm -r {}", registry.host.state().display()));
    assert_eq!(image(&registry, "mount", &[]).text(), "");
    registry.rabbitc("rmi", &[APP]).text();
    assert_eq!(registry.kept(), [""; 0]);
    std::fs::create_dir(registry.host.state()).expect("made");
    end(registry);
}

#[test]
fn mount_of_another_namespace_is_in_use_as_long_as_somebody_is_in_that() {
    let Some(registry) = Registry::new() else { return };
    registry.rabbitc("pull", &[APP]).text();
    let script = r#"path=$("$0" image mount --root="$1" --state-dir="$2" "$3") || exit 1
read -r sign; cat "$path/etc/name"; ls "$path/.." | wc -l; exit 0"#;
    let mut command = registry.host.command("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(binary());
    command.arg(registry.store()).arg(registry.host.state()).arg(APP);
    let elsewhere = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("nsenter runs");
    let notes = registry.store().join("images/mounts");
    eventually("it is mounted", || notes.exists() && names(&notes).len() == 1);
    let directories = || names(&registry.host.state().join("images"));
    eventually("its directory is made", || directories().len() == 1);
    for force in [&[APP][..], &["--force", APP]] {
        registry.rabbitc("rmi", force).refuses(1, &["it is mounted at", "/state/images/"]);
    }
    assert!(image(&registry, "prune", &["-af"]).text().contains("reclaimed space: 0B"));
    check(&registry).text();
    image(&registry, "unmount", &["--force", APP]).refuses(125, &["another mount namespace"]);
    image(&registry, "mount", &[APP]).refuses(125, &["another mount namespace", "podman unshare"]);
    assert_eq!(image(&registry, "unmount", &["--all"]).text(), "");
    assert_eq!((names(&notes).len(), directories().len()), (1, 1));
    // Nobody is in it any more: its mounts are gone with it.
    assert_eq!(finish(elsewhere, Some(b"end\n".to_vec())).text(), "two\n1");
    registry.rabbitc("rmi", &[APP]).text();
    end(registry);
}
