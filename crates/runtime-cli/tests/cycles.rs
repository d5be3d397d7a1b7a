//! Container after container, each command a process of its own: what one cycle leaves, a thousand would pile up.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, wait};
use support::{Bundle, root_only};

/// How many cycles there are.
const CYCLES: usize = 1000;

/// What could grow.
#[derive(Debug, PartialEq)]
struct Traces {
    mounts: Vec<String>,
    cgroups: BTreeSet<PathBuf>,
    /// Of the bundle, its root and the state directory.
    files: BTreeSet<PathBuf>,
    /// Below this process, by its number and its command line. With it, its descriptors are there, and without it none is.
    processes: Vec<(i32, String)>,
    own_descriptors: usize,
}

impl Traces {
    fn find(bundle: &Bundle) -> Traces {
        let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("a mount table");
        let mut cgroups = BTreeSet::new();
        list(Path::new("/sys/fs/cgroup"), &|path| path.is_dir(), &mut cgroups);
        // Others may make groups of their own meanwhile; ours have the bundle's name.
        cgroups.retain(|path| path.to_string_lossy().contains(&bundle.id));
        let mut files = BTreeSet::new();
        list(&bundle.path, &|_| true, &mut files);
        Traces {
            mounts: mounts.lines().map(str::to_owned).collect(),
            cgroups,
            files,
            processes: children(),
            own_descriptors: std::fs::read_dir("/proc/self/fd").expect("procfs").count(),
        }
    }
}

fn list(directory: &Path, wanted: &dyn Fn(&Path) -> bool, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list(&path, wanted, found);
        }
        if wanted(&path) {
            found.insert(path);
        }
    }
}

/// Reaps what has ended, and tells what has not: whoever loses its parent below here becomes a child of this process.
fn children() -> Vec<(i32, String)> {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
    let own = getpid().as_raw_nonzero().get().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("procfs").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1));
        if parent == Some(own.as_str()) {
            let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            found.push((pid, line.replace('\0', " ")));
        }
    }
    found
}

fn cycle(bundle: &Bundle) {
    let output = bundle.create();
    assert!(output.status.success(), "{output:?}");
    bundle.succeed(&["start", &bundle.id]);
    bundle.succeed(&["kill", &bundle.id, "KILL"]);
    bundle.wait_for("stopped");
    bundle.succeed(&["delete", &bundle.id]);
}

#[test]
fn cycle_after_cycle_leaves_nothing_that_grows() {
    root_only!();
    set_child_subreaper(Some(Pid::INIT)).expect("set");
    // In a mount namespace of this thread's own, where nobody else mounts.
    sys::namespace::unshare(sys::clone::flags::NEWNS).expect("unshared");
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).expect("private");
    let bundle = Bundle::new("cycle", &["sleep", "1000"]);
    // The first one makes what stays: the state directory, and mount points in the root.
    cycle(&bundle);
    let before = Traces::find(&bundle);
    assert!(before.processes.is_empty() && before.cgroups.is_empty(), "{before:?}");
    assert!(before.mounts.len() > 1 && before.files.len() > 10, "{before:?}");
    for _ in 0..CYCLES {
        cycle(&bundle);
    }
    support::eventually("the last one's end", || children().is_empty());
    assert_eq!(Traces::find(&bundle), before);
    println!("{CYCLES} cycles left nothing");
}
