//! Hooks as callers and programs see them: when and where they run, with which variables, and how a failed one is told.

mod support;

use serde_json::json;
use support::{Bundle, errors, root_only, text};

#[test]
fn hooks_run_at_their_moments_and_a_failed_one_takes_all_back() {
    root_only!();
    let bundle = Bundle::new("hooks", &["true"]);
    let log = bundle.path.join("log").display().to_string();
    let lists = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    bundle.edit(|config| {
        for list in lists {
            let script = format!(
                "/bin/busybox grep -o '\"status\":\"[a-z]*\"' | /bin/busybox sed 's/^/{list} /' >>{log}"
            );
            config["hooks"][list] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
        }
        // It runs inside: what it writes is the container's output.
        config["hooks"]["startContainer"] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", "hostname"] }]);
    });
    let output = bundle.run();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output), "rabbitc\n");
    let statuses = ["creating", "creating", "creating", "running", "stopped"];
    let expected: String = lists
        .iter()
        .zip(statuses)
        .map(|(list, status)| format!("{list} \"status\":\"{status}\"\n"))
        .collect();
    assert_eq!(std::fs::read_to_string(&log).expect("a log"), expected);

    for list in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        bundle.edit(|config| {
            config["hooks"] = json!({ list: [{ "path": "/bin/sh", "args": ["sh", "-c", "exit 5"] }] });
        });
        let output = bundle.run();
        assert_eq!(output.status.code(), Some(1), "{list}: {output:?}");
        assert!(errors(&output).contains(&format!("hooks.{list}[0]")), "{}", errors(&output));
        assert!(errors(&output).contains("ended with exit code 5"), "{}", errors(&output));
        bundle.assert_clean(list);
    }
    bundle.edit(|config| {
        config["hooks"] = json!({ "createRuntime": [{
            "path": "/bin/sh", "args": ["sh", "-c", "sleep 1000 & sleep 1000"], "timeout": 1 }] });
    });
    let output = bundle.run();
    assert!(errors(&output).contains("did not end within 1 seconds"), "{}", errors(&output));
    bundle.assert_clean("after the hook's time was over");
}

#[test]
fn hook_of_the_container_begins_in_its_root_with_the_host_around_it() {
    root_only!();
    for own_users in [false, true] {
        let bundle = Bundle::new("hook-cwd", &["cat", "/made"]);
        let seen = bundle.path.join("seen").display().to_string();
        std::fs::write(&seen, "").expect("written");
        std::fs::write(bundle.rootfs("made"), "").expect("written");
        let world = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(bundle.rootfs("made"), world).expect("its mode");
        let script = format!("echo made by the hook >made; echo $PWD $COLOR >{seen}");
        bundle.edit(|config| {
            config["hooks"]["createContainer"] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
        });
        if own_users {
            bundle.map_users(0);
        }
        let path = bundle.path.display().to_string();
        // A hook that names no variables has the caller's.
        let output = bundle.command(&["run", "-b", &path, &bundle.id]).env("COLOR", "green").output();
        let output = output.expect("it runs");
        assert_eq!(text(&output), "made by the hook\n", "{output:?}");
        let seen = std::fs::read_to_string(&seen).expect("the hook's file");
        assert!(seen.ends_with(" green\n"), "{seen}");
        bundle.assert_clean("after the run");
    }
}

#[test]
fn failed_hook_is_told_by_list_and_number() {
    root_only!();
    let bundle = Bundle::new("hook-number", &["true"]);
    for list in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        let hooks = json!([{ "path": "/bin/busybox", "args": ["true"] },
                           { "path": "/bin/busybox", "args": ["false"] }]);
        bundle.edit(|config| config["hooks"] = json!({ list: hooks }));
        let output = bundle.run();
        assert_eq!(output.status.code(), Some(1), "{list}: {output:?}");
        // Callers look for these words.
        assert!(errors(&output).contains(&format!("error running {list} hook #1: ")), "{}", errors(&output));
        bundle.assert_clean(list);
    }
}

#[test]
fn hook_before_the_program_has_the_programs_variables() {
    root_only!();
    let bundle = Bundle::new("hook-env", &["true"]);
    bundle.write_accounts();
    bundle.edit(|config| {
        config["process"]["env"] = json!(["ONE=two", "PATH=/bin"]);
        config["hooks"]["startContainer"] =
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", "echo $ONE $HOME"] }]);
    });
    assert_eq!(text(&bundle.run()), "two /root-of-image\n");
    bundle.edit(|config| config["hooks"]["startContainer"][0]["env"] = json!(["ONE=own"]));
    assert_eq!(text(&bundle.run()), "own\n");
}

#[test]
fn hook_that_the_filter_kills_is_told_so() {
    root_only!();
    let bundle = Bundle::hostile("killed-hook", &["true"]);
    bundle.edit(|config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL" }],
        });
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }]);
        config["hooks"] =
            json!({ "startContainer": [{ "path": "/bin/busybox", "args": ["mkdir", "/made"] }] });
    });
    let output = bundle.run_to_its_end();
    assert!(errors(&output).contains("(bad system call)"), "{output:?}");
    bundle.assert_clean("after the hook");
}

#[test]
fn poststop_hook_that_fails_is_a_warning_and_the_next_one_runs() {
    root_only!();
    let bundle = Bundle::new("poststop", &["/bin/sh", "-c", "exit 3"]);
    let mark = bundle.path.join("mark");
    let log = bundle.path.join("log").display().to_string();
    bundle.edit(|config| {
        let touch = format!("/bin/busybox touch {}", mark.display());
        config["hooks"]["poststop"] = json!([
            { "path": "/bin/sh", "args": ["sh", "-c", "exit 5"] },
            { "path": "/missing" },
            { "path": "/bin/sh", "args": ["sh", "-c", touch] },
        ]);
    });
    let told = |what: &str, text: &str| {
        assert!(
            text.contains("error running poststop hook #0: `/bin/sh` ended with exit code 5"),
            "{what}: {text}"
        );
        assert!(text.contains("error running poststop hook #1: `/missing`: "), "{what}: {text}");
        std::fs::remove_file(&mark).unwrap_or_else(|error| panic!("{what}: the third hook: {error}"));
        bundle.assert_clean(what);
    };
    let output = bundle.run();
    // The program's own.
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(errors(&output).starts_with("warning: hooks.poststop[0]"), "{output:?}");
    told("run", &errors(&output));
    for arguments in [&["delete"][..], &["delete", "--force"]] {
        assert!(bundle.create().status.success());
        let output = bundle.runtime(&[arguments, &[&bundle.id]].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        told("delete", &errors(&output));
    }
    assert!(bundle.create().status.success());
    let output = bundle.runtime(&["--log", &log, "delete", &bundle.id]);
    assert_eq!((output.status.code(), &*errors(&output)), (Some(0), ""), "{output:?}");
    let written = std::fs::read_to_string(&log).expect("a log");
    assert!(written.contains("level=warning"), "{written}");
    told("delete with a log", &written);
}

#[test]
fn hook_that_fails_at_the_start_ends_and_removes_the_container() {
    root_only!();
    let bundle = Bundle::new("start-hook", &["sleep", "1000"]);
    let mark = bundle.path.join("mark");
    // Others outlive its init there, and the group is what they are found by.
    for (list, pids) in [("startContainer", "own"), ("poststart", "own"), ("poststart", "shared")] {
        bundle.edit(|config| {
            let touch = format!("/bin/busybox touch {}", mark.display());
            config["hooks"] = json!({
                list: [{ "path": "/bin/sh", "args": ["sh", "-c", "exit 5"] }],
                "poststop": [{ "path": "/bin/sh", "args": ["sh", "-c", touch] }],
            });
            config["process"]["args"] = json!(["sh", "-c", "sleep 1001 & exec sleep 1000"]);
        });
        match pids {
            "own" => bundle.with_namespace("pid"),
            _ => bundle.without_namespace("pid"),
        }
        assert!(bundle.create().status.success());
        let output = bundle.runtime(&["start", &bundle.id]);
        assert_eq!(output.status.code(), Some(1), "{list}: {output:?}");
        assert!(errors(&output).contains(&format!("error running {list} hook #0")), "{output:?}");
        std::fs::remove_file(&mark).unwrap_or_else(|error| panic!("{list}: the poststop hook: {error}"));
        // Callers look for these words.
        let state = bundle.runtime(&["state", &bundle.id]);
        assert!(errors(&state).contains("does not exist"), "{state:?}");
        bundle.succeed(&["delete", "--force", &bundle.id]);
        bundle.assert_clean(list);
    }
}
