//! Races of somebody who can write to the root while containers start on it: names are exchanged under the runtime's
//! feet (CVE-2021-30465, CVE-2025-31133, CVE-2025-52881).

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use support::{Bundle, Victim, root_only};

/// How often a container is started under attack.
const STARTS: usize = 300;

/// Exchanges pairs of names as fast as it goes, until it is dropped.
struct Racer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Racer {
    fn new(root: &Path, pairs: &[(&str, &str)]) -> Racer {
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let pairs: Vec<_> = pairs.iter().map(|(one, other)| (root.join(one), root.join(other))).collect();
        let thread = std::thread::spawn(move || {
            let mut exchanged = 0;
            while !ended.load(Ordering::Relaxed) {
                for (one, other) in &pairs {
                    exchanged +=
                        usize::from(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok());
                }
            }
            exchanged
        });
        Racer { stop, thread: Some(thread) }
    }

    /// Ends it; says how often it exchanged.
    fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("ended once").join().expect("it does not panic")
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Mount targets, their parents and what is hidden in them, exchanged with links and directories of the attacker's.
#[test]
fn names_exchanged_under_mount_targets_through_hundreds_of_starts_open_nothing() {
    root_only!();
    let bundle = Bundle::hostile("exchange", &[]);
    let victim = Victim::beside(&bundle);
    let binary = std::fs::read(support::BINARY).expect("read");
    let largest_message = || std::fs::read_to_string("/proc/sys/kernel/msgmax").expect("read");
    let before = largest_message();
    let volume = bundle.path.join("volume");
    std::fs::create_dir(&volume).expect("made");
    // Decoys that look like what they stand for, so that a start goes on with them.
    for directory in [
        "proc",
        "decoy/sys",
        "decoy/bus",
        "decoy/fs",
        "decoy/irq",
        "sys",
        "other/firmware",
        "other/fs/cgroup",
        "dev",
        "dummy/pts",
        "dummy/shm",
        "dummy/mqueue",
        "deep/data",
        "deep-decoy/data",
    ] {
        std::fs::create_dir_all(bundle.rootfs(directory)).expect("made");
    }
    for file in ["decoy/kcore", "decoy/keys", "decoy/timer_list", "decoy/sysrq-trigger"] {
        std::fs::write(bundle.rootfs(file), "").expect("written");
    }
    for link in ["proc-link", "sys-link", "dev-link", "deep-link"] {
        std::os::unix::fs::symlink(&victim.path, bundle.rootfs(link)).expect("a link");
    }
    bundle.edit(|config| {
        config["root"]["readonly"] = json!(false);
        config["hostname"] = json!("raced");
        config["linux"]["sysctl"] = json!({ "kernel.msgmax": "4096" });
        config["mounts"].as_array_mut().expect("a list").push(json!({
            "destination": "/deep/data/volume", "type": "bind", "source": volume, "options": ["bind", "ro"],
        }));
    });
    // Procfs may lie at any of the names that were exchanged; wherever it is, it is closed and has nothing to show.
    // Files in directories that no decoy has. Opened, as `test -w` of a root tells nothing.
    let script = "for proc in proc decoy proc-link; do \
                  for file in sys/kernel/core_pattern sys/vm/drop_caches; do \
                  ( : >>/$proc/$file ) 2>/dev/null && echo open: $proc/$file; done; \
                  for file in kcore keys timer_list; do \
                  if test -s /$proc/$file || head -c 1 /$proc/$file 2>/dev/null | grep -q .; then \
                  echo shown: $proc/$file; fi; done; done; echo ran";
    bundle.edit(|config| config["process"]["args"] = json!(["/bin/sh", "-c", script]));
    let root = bundle.rootfs("");
    let mut ran = 0;
    for (what, pairs) in [
        ("directories", vec![("proc", "decoy"), ("sys", "other"), ("dev", "dummy"), ("deep", "deep-decoy")]),
        (
            "links",
            vec![("proc", "proc-link"), ("sys", "sys-link"), ("dev", "dev-link"), ("deep", "deep-link")],
        ),
        ("links", vec![("proc", "decoy"), ("deep/data", "deep-link")]),
    ] {
        let racer = Racer::new(&root, &pairs);
        for number in 0..STARTS / 3 {
            let output = bundle.run_to_its_end();
            let text = support::text(&output);
            assert!(
                !text.contains("open:") && !text.contains("shown:"),
                "start {number}, {what}: {output:?}"
            );
            ran += usize::from(text.contains("ran"));
            if number % 25 == 0 {
                victim.assert_untouched(what, &output);
            }
            assert_eq!(std::fs::read_dir(&volume).expect("there").count(), 0, "start {number}, {what}");
        }
        let exchanged = racer.end();
        assert!(exchanged > STARTS, "the racer was there: {exchanged}");
        victim.assert_untouched(what, &bundle.runtime(&["list"]));
    }
    assert!(ran > STARTS / 20, "some containers ran: {ran}");
    assert!(std::fs::read(support::BINARY).expect("read") == binary, "the host's binary was written to");
    assert_eq!(largest_message(), before, "a parameter of the host was written");
    bundle.assert_clean("after the starts");
}

/// Device nodes on a directory that is the attacker's as well: neither another file's mode nor its owner changes.
#[test]
fn names_exchanged_under_new_device_nodes_change_no_file_of_the_host() {
    root_only!();
    let bundle = Bundle::hostile("nodes", &["true"]);
    let victim = Victim::beside(&bundle);
    std::fs::create_dir_all(bundle.rootfs("nodes")).expect("made");
    std::fs::create_dir_all(bundle.rootfs("nodes-decoy")).expect("made");
    let file = victim.path.join("file");
    std::os::unix::fs::symlink(&file, bundle.rootfs("node-link")).expect("a link");
    std::os::unix::fs::symlink(&victim.path, bundle.rootfs("nodes-link")).expect("a link");
    std::os::unix::fs::symlink(&file, bundle.rootfs("nodes-decoy/own")).expect("a link");
    bundle.edit(|config| {
        config["root"]["readonly"] = json!(false);
        config["linux"]["devices"] = json!([{
            "path": "/nodes/own", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 1234, "gid": 1234,
        }]);
    });
    let root = bundle.rootfs("");
    let racers = [
        Racer::new(&root, &[("nodes/own", "node-link")]),
        Racer::new(&root, &[("nodes", "nodes-decoy"), ("nodes-link", "nodes")]),
    ];
    for _ in 0..STARTS / 3 {
        let output = bundle.run_to_its_end();
        let owner = std::fs::metadata(&file).expect("there");
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 0, "{output:?}");
        victim.assert_untouched("device nodes", &output);
        let _ = std::fs::remove_file(root.join("nodes/own"));
    }
    for racer in racers {
        racer.end();
    }
    bundle.assert_clean("after the starts");
}
