//! Kills the runtime at one system call after the other: `state` answers, and one `delete --force` leaves nothing, also
//! where the record is empty, cut or garbage by then.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use support::calls::{calls, created, has_strace, nothing, paused, running, strace};
use support::{Bundle, root_only};

/// How many points of each command are tried; all of them where `RABBITC_FULL_SWEEP` is set.
const POINTS: usize = 60;

/// What becomes of the record after a kill, in turn.
#[derive(Debug, Clone, Copy)]
enum Damage {
    None,
    Empty,
    Cut,
    Garbage,
}

impl Damage {
    fn at(number: usize) -> Damage {
        [Damage::None, Damage::Empty, Damage::None, Damage::Cut, Damage::None, Damage::Garbage][number % 6]
    }

    /// Whether there was a record to damage.
    fn strike(self, bundle: &Bundle) -> bool {
        let path = bundle.path.join("state").join(&bundle.id).join("state.json");
        let Ok(whole) = std::fs::read(&path) else { return false };
        let content = match self {
            Damage::None => return false,
            Damage::Empty => Vec::new(),
            Damage::Cut => whole[..whole.len() / 2].to_vec(),
            Damage::Garbage => b"\0\x01 garbage \xff".to_vec(),
        };
        std::fs::write(path, content).expect("written");
        true
    }
}

/// What must hold after a command was killed, wherever that was.
fn check(bundle: &Bundle, damage: Damage, when: &str) {
    let when = &format!("{when}, record: {damage:?}");
    let damaged = damage.strike(bundle);
    let state = bundle.runtime(&["state", &bundle.id]);
    let answered = state.status.success() || support::errors(&state).starts_with("error: ");
    assert!(answered, "{when}: {state:?}");
    assert!(!damaged || !state.status.success(), "{when}: {state:?}");
    let deleted = bundle.runtime(&["delete", "--force", &bundle.id]);
    assert!(deleted.status.success(), "{when}: {deleted:?}");
    bundle.assert_clean(when);
}

/// Kills `arguments` after delays that grow until it ends by itself: where there is no strace.
fn kill_in_time(bundle: &Bundle, prepare: &dyn Fn(&Bundle), arguments: &[&str]) {
    println!("no strace: {} is killed after delays, not at calls", arguments[0]);
    for number in 0..POINTS {
        prepare(bundle);
        let mut command = bundle.command(arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        std::thread::sleep(std::time::Duration::from_micros(150 * number as u64));
        child.kill().expect("killed");
        child.wait().expect("reaped");
        let when = format!("{} killed after {} us", arguments[0], 150 * number);
        check(bundle, Damage::at(number), &when);
    }
}

/// Kills `arguments` at many points; `prepare` runs before each.
fn kill_everywhere(bundle: &Bundle, prepare: &dyn Fn(&Bundle), arguments: &[&str]) {
    if !has_strace() {
        return kill_in_time(bundle, prepare, arguments);
    }
    let calls = calls(bundle, prepare, arguments);
    let stride =
        if std::env::var_os("RABBITC_FULL_SWEEP").is_some() { 1 } else { calls.len().div_ceil(POINTS) };
    let mut killed = 0;
    for (number, (name, count)) in calls.iter().skip(1).step_by(stride.max(1)).enumerate() {
        prepare(bundle);
        let inject = format!("inject={name}:signal=KILL:when={count}");
        let options = ["-o", "/dev/null", "-e", &format!("trace={name}"), "-e", &inject];
        let status = strace(bundle, &options, arguments).status().expect("strace runs");
        // strace ends as what it watched did; a call that did not come again leaves it unharmed.
        killed += usize::from(status.signal() == Some(9) || status.code() == Some(137));
        let when = format!("{} killed at {name} number {count}", arguments[0]);
        check(bundle, Damage::at(number), &when);
    }
    let tried = calls.len().saturating_sub(1).div_ceil(stride.max(1));
    println!("{}: {} calls, killed at {killed} of {tried} points", arguments[0], calls.len());
    assert!(killed * 2 > tried, "only {killed} of {tried} points were reached");
}

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
