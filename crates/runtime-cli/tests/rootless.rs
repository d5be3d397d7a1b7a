//! Bundles of an ordinary user, who has neither an account nor sub-ids, and of root in a user namespace.

mod support;

use std::process::{Command, Output};

use serde_json::json;
use support::{BINARY, Bundle, eventually, root_only, text};

/// A number that no account of a distribution has.
const UID: u32 = 47_114;

/// Runs the runtime as that user.
fn command(bundle: &Bundle, arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={UID}"), format!("--regid={UID}")]);
    command.args(["--clear-groups", "--"]).arg(BINARY).arg("--root").arg(bundle.path.join("state"));
    command.args(arguments).current_dir(&bundle.path);
    command
}

fn output(bundle: &Bundle, arguments: &[&str]) -> Output {
    command(bundle, arguments).output().expect("setpriv runs")
}

/// A bundle made by `spec --rootless`, all of it the user's.
fn bundle(name: &str, arguments: &[&str]) -> Bundle {
    let bundle = Bundle::new(name, &[]);
    std::fs::remove_file(bundle.path.join("config.json")).expect("removed");
    let owner = format!("{UID}:{UID}");
    let owned = Command::new("chown").args(["-R", &owner]).arg(&bundle.path).status();
    assert!(owned.expect("chown runs").success());
    let made = output(&bundle, &["spec", "--rootless"]);
    assert!(made.status.success(), "{made:?}");
    bundle.edit(|config| {
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(arguments);
        config["root"]["readonly"] = json!(false);
    });
    bundle
}

/// Leaves it in the caller's user namespace.
fn leave_users(bundle: &Bundle) {
    bundle.without_namespace("user");
    bundle.edit(|config| {
        let linux = config["linux"].as_object_mut().expect("an object");
        linux.remove("uidMappings");
        linux.remove("gidMappings");
    });
}

#[test]
fn user_runs_a_bundle_with_itself_as_root() {
    root_only!();
    let script = "id -u; cat /proc/self/uid_map; cat /proc/self/setgroups; exit 6";
    let bundle = bundle("user-run", &["/bin/sh", "-c", script]);
    let ran = output(&bundle, &["run", &bundle.id]);
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["0", "0", &UID.to_string(), "1", "deny"], "{ran:?}");
    assert_eq!(ran.status.code(), Some(6), "{ran:?}");
}

#[test]
fn containers_of_a_user_live_their_lives() {
    root_only!();
    let bundle = bundle("user-life", &["/bin/sleep", "1000"]);
    let well = |arguments: &[&str]| {
        // Not through pipes: the container would hold them.
        let status = command(&bundle, arguments).stdin(std::process::Stdio::null()).status();
        assert!(status.expect("setpriv runs").success(), "{arguments:?}");
    };
    well(&["create", &bundle.id]);
    well(&["start", &bundle.id]);
    let ran = output(&bundle, &["exec", &bundle.id, "/bin/sh", "-c", "id -u; exit 9"]);
    assert_eq!((String::from_utf8_lossy(&ran.stdout).trim(), ran.status.code()), ("0", Some(9)), "{ran:?}");
    let state = || String::from_utf8_lossy(&output(&bundle, &["state", &bundle.id]).stdout).into_owned();
    assert!(state().contains("running"), "{}", state());
    well(&["kill", &bundle.id, "KILL"]);
    eventually("it is stopped", || state().contains("stopped"));
    well(&["delete", &bundle.id]);
    assert!(std::fs::read_dir(bundle.path.join("state")).expect("there").next().is_none());
}

#[test]
fn limit_without_a_cgroup_to_put_it_in_is_refused() {
    root_only!();
    let bundle = bundle("user-limit", &["/bin/true"]);
    bundle.edit(|config| config["linux"]["resources"] = json!({"memory": {"limit": 64 << 20}}));
    let ran = output(&bundle, &["run", &bundle.id]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(!ran.status.success() && said.contains("create cgroup"), "{ran:?}");
    // The sentence that callers of OCI runtimes look for.
    let sentence = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups: ";
    assert!(said.contains(sentence), "{said}");
    // Device rules are not missed: a user namespace opens no device that its maker could not.
    bundle.edit(|config| {
        config["linux"]["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]});
    });
    assert!(output(&bundle, &["run", &bundle.id]).status.success());
}

#[test]
fn user_has_the_hosts_network_and_sees_the_groups_that_it_is_in() {
    root_only!();
    let script = "/bin/busybox readlink /proc/self/ns/net; cd /sys/fs/cgroup; test -e cgroup.procs -o -e pids/tasks; echo $?";
    let bundle = bundle("user-shared", &["/bin/sh", "-c", script]);
    let ran = output(&bundle, &["run", &bundle.id]);
    let own = std::fs::read_link("/proc/self/ns/net").expect("procfs");
    assert_eq!(text(&ran), format!("{}\n0\n", own.display()), "{ran:?}");
}

#[test]
fn multiplexer_of_terminals_is_the_containers_own_though_a_user_names_the_hosts() {
    root_only!();
    let bundle = bundle("user-ptmx", &["/bin/sh", "-c", "test -L /dev/ptmx && echo a link"]);
    bundle.edit(|config| {
        config["linux"]["devices"] = json!([{"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}]);
    });
    let ran = output(&bundle, &["run", &bundle.id]);
    assert_eq!(text(&ran), "a link\n", "{ran:?}");
}

#[test]
fn user_without_a_cgroup_is_warned_where_nothing_holds_the_processes_together() {
    root_only!();
    let bundle = bundle("user-pids", &["/bin/true"]);
    let warning = "Such configuration is strongly discouraged";
    let ran = output(&bundle, &["run", &bundle.id]);
    assert!(ran.status.success() && !support::errors(&ran).contains(warning), "{ran:?}");
    bundle.without_namespace("pid");
    bundle.edit(|config| {
        // The kernel mounts no new one for whoever owns no pid namespace.
        config["mounts"][0] = json!({"destination": "/proc", "source": "/proc", "options": ["rbind"]});
    });
    let ran = output(&bundle, &["run", &bundle.id]);
    assert!(ran.status.success() && support::errors(&ran).contains(warning), "{ran:?}");
}

#[test]
fn root_of_a_user_namespace_runs_a_bundle_without_another_one() {
    root_only!();
    let bundle =
        bundle("nested", &["/bin/sh", "-c", "cat /proc/self/uid_map; test -c /dev/null && echo nodes"]);
    leave_users(&bundle);
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={UID}"), format!("--regid={UID}")]);
    command.args(["--clear-groups", "--", "unshare", "--user", "--map-root-user", "--net"]);
    command.arg(BINARY).arg("--root").arg(bundle.path.join("state")).args(["run", &bundle.id]);
    let ran = command.current_dir(&bundle.path).output().expect("setpriv runs");
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["0", &UID.to_string(), "1", "nodes"], "{ran:?}");
}

/// podman of an ordinary user calls the runtime as root of a user namespace, for which `/run` is closed.
#[test]
fn root_of_a_user_namespace_keeps_its_state_in_the_session() {
    root_only!();
    let bundle = bundle("session", &["/bin/true"]);
    let mut list = Command::new("setpriv");
    list.args([format!("--reuid={UID}"), format!("--regid={UID}")]);
    list.args(["--clear-groups", "--", "unshare", "--user", "--map-root-user"]);
    list.args([
        "sh",
        "-c",
        "\"$0\" run one && ls \"$XDG_RUNTIME_DIR/rabbitc-runtime\" >/dev/null && echo there",
        BINARY,
    ]);
    list.env("XDG_RUNTIME_DIR", &bundle.path).current_dir(&bundle.path);
    leave_users(&bundle);
    let ran = list.output().expect("setpriv runs");
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "there\n", "{ran:?}");
}

#[test]
fn place_that_a_user_may_not_make_is_refused() {
    root_only!();
    let bundle = bundle("user-place", &["/bin/true"]);
    bundle.edit(|config| config["linux"]["cgroupsPath"] = json!(format!("/{}", bundle.id)));
    let refused = output(&bundle, &["run", &bundle.id]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    for words in ["linux.cgroupsPath", "unable to apply cgroup configuration", "permission denied"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let systemd = std::path::Path::new("/run/systemd/system").exists();
    assert_eq!(text.contains("systemd-run"), systemd, "{text}");
    bundle.assert_clean("after the refusal");
}

#[test]
fn hook_of_a_users_container_begins_in_its_root() {
    root_only!();
    let bundle = bundle("user-hook", &["/bin/cat", "/made"]);
    bundle.edit(|config| {
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", "echo made by the hook >made"] });
        config["hooks"] = json!({ "createContainer": [hook] });
    });
    let ran = output(&bundle, &["run", &bundle.id]);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "made by the hook\n", "{ran:?}");
}

#[test]
fn state_of_a_user_without_a_session_lies_in_its_usual_place_or_is_refused_with_a_remedy() {
    root_only!();
    let bundle = bundle("no-session", &["/bin/true"]);
    let run = |place: &str| {
        let script = format!(
            "set -e; mount -t tmpfs -o mode=755 tmpfs /run; {place}; \
             setpriv --reuid={UID} --regid={UID} --clear-groups -- \"$0\" run one; ls /run/user/{UID}"
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, BINARY]).env_remove("XDG_RUNTIME_DIR");
        command.current_dir(&bundle.path).output().expect("unshare runs")
    };
    let ran = run(&format!("mkdir -p /run/user/{UID}; chown {UID} /run/user/{UID}"));
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "rabbitc-runtime\n", "{ran:?}");
    // None, one of somebody else, and one that is open to others.
    let open =
        format!("mkdir -p -m 777 /run/user/{UID}; chmod 777 /run/user/{UID}; chown {UID} /run/user/{UID}");
    for place in ["true", &format!("mkdir -p /run/user/{UID}"), &open] {
        let refused = run(place);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success(), "{refused:?}");
        for words in ["`/run/rabbitc-runtime`: permission denied", "hint: set XDG_RUNTIME_DIR", "`--root`"] {
            assert!(text.contains(words), "{place}: {words}: {text}");
        }
    }
}
