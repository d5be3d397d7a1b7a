//! Kills the runtime at one system call after the other: `state` answers, and one `delete --force` leaves nothing, also
//! where the record is empty, cut or garbage by then.

mod support;

use support::calls::{created, nothing, paused, running};
use support::killing::kill_everywhere;
use support::{Bundle, root_only};

#[test]
fn create_killed_at_any_call_is_undone_by_delete() {
    root_only!();
    let bundle = Bundle::new("kill-create", &["sleep", "1000"]);
    let path = bundle.path.display().to_string();
    kill_everywhere(&bundle, &nothing, &["create", "--bundle", &path, &bundle.id]);
}

#[test]
fn run_killed_at_any_call_is_undone_by_delete() {
    root_only!();
    let bundle = Bundle::new("kill-run", &["true"]);
    let path = bundle.path.display().to_string();
    kill_everywhere(&bundle, &nothing, &["run", "--bundle", &path, &bundle.id]);
}

#[test]
fn start_killed_at_any_call_is_undone_by_delete() {
    root_only!();
    let bundle = Bundle::new("kill-start", &["sleep", "1000"]);
    kill_everywhere(&bundle, &created, &["start", &bundle.id]);
}

#[test]
fn exec_killed_at_any_call_is_undone_by_delete() {
    root_only!();
    let bundle = Bundle::new("kill-exec", &["sleep", "1000"]);
    kill_everywhere(&bundle, &running, &["exec", &bundle.id, "true"]);
}

#[test]
fn pause_killed_at_any_call_is_undone_by_delete() {
    root_only!();
    let bundle = Bundle::new("kill-pause", &["sleep", "1000"]);
    kill_everywhere(&bundle, &running, &["pause", &bundle.id]);
}

#[test]
fn resume_killed_at_any_call_is_undone_by_delete() {
    root_only!();
    let bundle = Bundle::new("kill-resume", &["sleep", "1000"]);
    kill_everywhere(&bundle, &paused, &["resume", &bundle.id]);
}

#[test]
fn update_killed_at_any_call_is_undone_by_delete() {
    root_only!();
    let bundle = Bundle::new("kill-update", &["sleep", "1000"]);
    let arguments = ["update", "--pids-limit", "50", "--memory", "64m", "--cpu-share", "512", &bundle.id];
    kill_everywhere(&bundle, &running, &arguments);
}

#[test]
fn events_killed_at_any_call_are_undone_by_delete() {
    root_only!();
    let bundle = Bundle::new("kill-events", &["sleep", "1000"]);
    kill_everywhere(&bundle, &running, &["events", "--stats", &bundle.id]);
}

#[test]
fn delete_killed_at_any_call_is_finished_by_the_next() {
    root_only!();
    let bundle = Bundle::new("kill-delete", &["sleep", "1000"]);
    kill_everywhere(&bundle, &running, &["delete", "--force", &bundle.id]);
}

#[test]
fn kill_killed_at_any_call_is_undone_by_delete() {
    root_only!();
    let bundle = Bundle::new("kill-kill", &["sleep", "1000"]);
    for arguments in [&["kill", &bundle.id, "TERM"][..], &["kill", "--all", &bundle.id, "KILL"]] {
        kill_everywhere(&bundle, &running, arguments);
    }
}

#[test]
fn question_killed_at_any_call_is_undone_by_delete() {
    root_only!();
    let bundle = Bundle::new("kill-question", &["sleep", "1000"]);
    for arguments in [&["state", &bundle.id][..], &["ps", &bundle.id], &["list"]] {
        kill_everywhere(&bundle, &running, arguments);
    }
}

#[test]
fn container_of_an_unreadable_record_is_removed_by_force() {
    root_only!();
    let bundle = Bundle::new("garbage", &["sleep", "1000"]);
    let bundle_path = bundle.path.display().to_string();
    for content in ["", "{", "[]", "{\"format\":99}", "\u{0}\u{1}garbage"] {
        let output = bundle.quiet(&["run", "--detach", "--bundle", &bundle_path, &bundle.id]);
        assert!(output.status.success(), "{output:?}");
        std::fs::write(bundle.path.join("state").join(&bundle.id).join("state.json"), content)
            .expect("written");
        let state = bundle.runtime(&["state", &bundle.id]);
        assert_eq!(state.status.code(), Some(1), "{content:?}: {state:?}");
        assert!(support::errors(&state).contains("hint: `delete --force`"), "{content:?}: {state:?}");
        assert!(!bundle.runtime(&["delete", &bundle.id]).status.success(), "{content:?}");
        bundle.succeed(&["delete", "--force", &bundle.id]);
        bundle.assert_clean(content);
    }
}

#[test]
fn group_of_others_by_the_name_of_an_unreadable_container_is_left_alone() {
    root_only!();
    let bundle = Bundle::new("name-of-others", &["true"]);
    assert!(bundle.create().status.success());
    bundle.succeed(&["delete", "--force", &bundle.id]);
    let state = bundle.path.join("state").join(&bundle.id);
    std::fs::create_dir_all(&state).expect("a state directory");
    std::fs::write(state.join("state.json"), "{").expect("written");
    // In the freezer's hierarchy, or in the only one: where processes of a group are looked for.
    let hierarchy = ["/sys/fs/cgroup/freezer", "/sys/fs/cgroup"]
        .into_iter()
        .find(|place| std::path::Path::new(place).join("cgroup.procs").exists())
        .expect("a hierarchy");
    let group = std::path::Path::new(hierarchy).join(&bundle.id);
    std::fs::create_dir(&group).expect("a group of others");
    let mut stranger =
        std::process::Command::new("/bin/busybox").args(["sleep", "1000"]).spawn().expect("it runs");
    std::fs::write(group.join("cgroup.procs"), stranger.id().to_string()).expect("moved");
    let removed = bundle.runtime(&["delete", "--force", &bundle.id]);
    let lives = stranger.try_wait().expect("waited").is_none();
    stranger.kill().expect("killed");
    stranger.wait().expect("waited");
    // What just ended may hold it for a moment.
    support::eventually("the group of others goes", || std::fs::remove_dir(&group).is_ok());
    assert!(lives, "{removed:?}");
    assert!(removed.status.success(), "{removed:?}");
    bundle.assert_clean("after the removal");
}
