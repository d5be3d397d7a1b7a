//! No room, no descriptor, no memory at one system call after the other: the command goes on without, or says what failed and
//! takes back what it has made.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use support::calls::{calls, created, has_strace, nothing, running, strace};
use support::{Bundle, root_only};

/// How many points of each command are tried; all of them where `RABBITC_FULL_SWEEP` is set.
const POINTS: usize = 60;

/// Calls that make a descriptor.
const OPENING: &[&str] = &[
    "accept4",
    "dup",
    "fcntl",
    "fsmount",
    "fsopen",
    "memfd_create",
    "open_tree",
    "openat",
    "openat2",
    "pidfd_open",
    "pipe2",
    "signalfd4",
    "socket",
    "socketpair",
];
/// Calls that make or fill files.
const WRITING: &[&str] = &[
    "bind",
    "fchmodat",
    "ftruncate",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "mknodat",
    "openat",
    "openat2",
    "pwrite64",
    "rename",
    "renameat",
    "symlinkat",
    "write",
];
/// Calls for which the kernel needs memory of its own. Where the program's own cannot be had there is nobody left to tell it:
/// that is one killed, of which other tests know.
const ALLOCATING: &[&str] = &[
    "bpf",
    "clone3",
    "connect",
    "execve",
    "fsconfig",
    "fsmount",
    "fsopen",
    "mkdirat",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "openat",
    "openat2",
    "pidfd_open",
    "readlink",
    "recvmsg",
    "sendmsg",
    "sendto",
    "setns",
    "socket",
    "socketpair",
    "unshare",
    "write",
];

/// What may be wanting at a call, if that is one of those.
fn wants(name: &str) -> Vec<&'static str> {
    [(OPENING, "EMFILE"), (WRITING, "ENOSPC"), (ALLOCATING, "ENOMEM")]
        .into_iter()
        .filter(|(calls, _)| calls.contains(&name))
        .map(|(_, error)| error)
        .collect()
}

/// Lets `arguments` meet a want at many points; `prepare` runs before each.
fn starve_everywhere(bundle: &Bundle, prepare: &dyn Fn(&Bundle), arguments: &[&str]) {
    if !has_strace() {
        println!("skipped: needs strace");
        return;
    }
    let calls = calls(bundle, prepare, arguments);
    let points: Vec<(&str, usize, &str)> = calls
        .iter()
        .skip(1)
        .flat_map(|(name, count)| wants(name).into_iter().map(|error| (name.as_str(), *count, error)))
        .collect();
    let full = std::env::var_os("RABBITC_FULL_SWEEP").is_some();
    let stride = if full { 1 } else { points.len().div_ceil(POINTS).max(1) };
    let (mut tried, mut failed) = (0, 0);
    for (name, count, error) in points.iter().step_by(stride) {
        prepare(bundle);
        let when = format!("{} with {error} at {name} number {count}", arguments[0]);
        let said = bundle.path.join("said");
        let inject = format!("inject={name}:error={error}:when={count}");
        let options = ["-o", "/dev/null", "-e", &format!("trace={name}"), "-e", &inject];
        let file = std::fs::File::create(&said).expect("a file");
        let status = strace(bundle, &options, arguments).stderr(file).status().expect("strace runs");
        let text = std::fs::read_to_string(&said).expect("text");
        assert_eq!(status.signal(), None, "{when}: {text}");
        assert!(!text.contains("panicked"), "{when}: {text}");
        tried += 1;
        if !status.success() {
            failed += 1;
            // Of the loader, where the program's own libraries were what could not be opened.
            let loader = text.contains("error while loading shared libraries");
            assert!(loader || text.contains("error: "), "{when}: {text}");
            // At its end `run` removes; where that is what failed, the rest is for the next command.
            if arguments[0] == "create" || (arguments[0] == "run" && !text.contains("remove")) {
                bundle.assert_clean(&when);
            }
        }
        let deleted = bundle.runtime(&["delete", "--force", &bundle.id]);
        assert!(deleted.status.success(), "{when}: {deleted:?}");
        bundle.assert_clean(&when);
    }
    println!("{}: {} points, {failed} of {tried} tried failed", arguments[0], points.len());
    assert!(failed > 0, "nothing was wanting");
}

#[test]
fn create_that_is_starved_at_any_call_says_so_and_takes_back_what_it_made() {
    root_only!();
    let bundle = Bundle::new("starve-create", &["sleep", "1000"]);
    let path = bundle.path.display().to_string();
    starve_everywhere(&bundle, &nothing, &["create", "--bundle", &path, &bundle.id]);
}

#[test]
fn run_that_is_starved_at_any_call_says_so_and_takes_back_what_it_made() {
    root_only!();
    let bundle = Bundle::new("starve-run", &["true"]);
    let path = bundle.path.display().to_string();
    starve_everywhere(&bundle, &nothing, &["run", "--bundle", &path, &bundle.id]);
}

#[test]
fn start_that_is_starved_at_any_call_says_so_and_leaves_a_container_that_can_be_deleted() {
    root_only!();
    let bundle = Bundle::new("starve-start", &["sleep", "1000"]);
    starve_everywhere(&bundle, &created, &["start", &bundle.id]);
}

#[test]
fn exec_that_is_starved_at_any_call_says_so_and_leaves_the_container() {
    root_only!();
    let bundle = Bundle::new("starve-exec", &["sleep", "1000"]);
    starve_everywhere(&bundle, &running, &["exec", &bundle.id, "true"]);
}

#[test]
fn update_that_is_starved_at_any_call_says_so() {
    root_only!();
    let bundle = Bundle::new("starve-update", &["sleep", "1000"]);
    let arguments = ["update", "--pids-limit", "50", "--memory", "64m", "--cpu-share", "512", &bundle.id];
    starve_everywhere(&bundle, &running, &arguments);
}

#[test]
fn delete_that_is_starved_at_any_call_is_finished_by_the_next() {
    root_only!();
    let bundle = Bundle::new("starve-delete", &["sleep", "1000"]);
    starve_everywhere(&bundle, &running, &["delete", "--force", &bundle.id]);
}

/// The longest that a command may take whose answer to init was lost, in seconds; each would wait for the other.
const PATIENCE: &str = "60";

/// Loses one after the other what `arguments` sends to init.
fn lose_each_answer(bundle: &Bundle, prepare: &dyn Fn(&Bundle), arguments: &[&str]) {
    let calls = calls(bundle, prepare, arguments);
    let sent: Vec<_> =
        calls.iter().filter(|(name, _)| matches!(name.as_str(), "sendto" | "sendmsg")).collect();
    assert!(!sent.is_empty(), "{} sends nothing", arguments[0]);
    for (name, number) in sent {
        prepare(bundle);
        let inject = format!("inject={name}:error=ENOBUFS:when={number}");
        let options = ["-o", "/dev/null", "-e", &format!("trace={name}"), "-e", &inject];
        let starved = strace(bundle, &options, arguments);
        let mut limited = Command::new("timeout");
        limited.args(["--signal=KILL", PATIENCE]).arg(starved.get_program()).args(starved.get_args());
        limited.stdin(Stdio::null()).stdout(Stdio::null());
        let said = bundle.path.join("said");
        let status = limited.stderr(std::fs::File::create(&said).expect("a file")).status();
        let text = std::fs::read_to_string(&said).expect("text");
        let when = format!("{} without {name} number {number}: {text}", arguments[0]);
        // 137 is what `timeout` says of one that it had to kill.
        assert!(status.expect("timeout runs").code().is_some_and(|code| code != 137), "{when}");
        assert!(text.contains("error: "), "{when}");
        bundle.succeed(&["delete", "--force", &bundle.id]);
    }
}

#[test]
fn answer_that_the_kernel_does_not_carry_to_init_is_an_error_and_no_wait() {
    root_only!();
    if !has_strace() {
        println!("skipped: needs strace");
        return;
    }
    let bundle = Bundle::new("starve-answer", &["sleep", "1000"]);
    let path = bundle.path.display().to_string();
    lose_each_answer(&bundle, &nothing, &["create", "--bundle", &path, &bundle.id]);
    lose_each_answer(&bundle, &running, &["exec", &bundle.id, "true"]);
}

/// Where `arguments` succeed although one opening fails, `found` is as without that.
fn starve_each_opening(
    bundle: &Bundle,
    prepare: &dyn Fn(&Bundle),
    arguments: &[&str],
    found: &dyn Fn(&Bundle, &str) -> String,
) {
    if !has_strace() {
        println!("skipped: needs strace");
        return;
    }
    let openings = calls(bundle, prepare, arguments).iter().filter(|(name, _)| name == "openat").count();
    let mut usual = None;
    // The one beyond the last shows how it is where nothing is wanting.
    for number in (1..=openings + 1).rev() {
        prepare(bundle);
        let inject = format!("inject=openat:error=EMFILE:when={number}");
        let options = ["-o", "/dev/null", "-e", "trace=openat", "-e", &inject];
        let output = bundle.path.join("said");
        let file = std::fs::File::create(&output).expect("a file");
        let status = strace(bundle, &options, arguments).stdout(file).status().expect("strace runs");
        if status.success() {
            let said = std::fs::read_to_string(&output).expect("text");
            let found = found(bundle, &said);
            assert_eq!(&found, usual.get_or_insert(found.clone()), "{} at {number}", arguments[0]);
        }
        bundle.succeed(&["delete", "--force", &bundle.id]);
    }
    assert!(usual.is_some_and(|usual| usual.lines().count() > 0), "nothing was found");
}

#[test]
fn group_that_cannot_be_opened_for_want_of_descriptors_is_not_left_out() {
    root_only!();
    let bundle = Bundle::new("starve-groups", &["sleep", "1000"]);
    let path = bundle.path.display().to_string();
    let groups = |bundle: &Bundle, _: &str| {
        bundle.groups().iter().map(|path| format!("{}\n", path.display())).collect::<String>()
    };
    starve_each_opening(&bundle, &nothing, &["create", "--bundle", &path, &bundle.id], &groups);
    let arguments = ["exec", &bundle.id, "cat", "/proc/self/cgroup"];
    starve_each_opening(&bundle, &running, &arguments, &|_, said| said.to_owned());
}
