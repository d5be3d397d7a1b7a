//! What the kernel tests share: a bundle in a directory of its own, and a look at everything a start can leave behind.
#![allow(dead_code, reason = "each test file uses its part")]

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rabbitc_runtime_core as runtime;
use runtime::plan::{ContainerPlan, PlanOptions, Start};
use runtime::spec::Spec;
use runtime::state_dir::StateRoot;
use runtime::{ContainerId, Result};
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// Debian's busybox-static.
const BUSYBOX: &str = "/bin/busybox";

/// Whether kernel tests can run here; says why not.
pub fn can_run(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: {test} needs root");
        return false;
    }
    if !Path::new(BUSYBOX).exists() {
        println!("skipped: {test} needs {BUSYBOX} (package busybox-static)");
        return false;
    }
    true
}

/// Copies a program, in another process: a copy that this one writes may be inherited by what another test's thread starts just then,
/// and nobody can execute a file that somebody has open to write (ETXTBSY, execve(2)).
pub fn copy_program(from: impl AsRef<OsStr>, to: &Path) {
    let copied = std::process::Command::new("cp").arg(from.as_ref()).arg(to).status().expect("cp runs");
    assert!(copied.success(), "{} is copied", to.display());
}

/// A directory with a root file system, a state root and nothing else; removed in the end.
pub struct Scratch {
    pub path: PathBuf,
}

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rabbitc-{name}-{}-{number}", std::process::id()));
        let bin = path.join("rootfs/bin");
        std::fs::create_dir_all(&bin).expect("a scratch directory");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
        copy_program(BUSYBOX, &bin.join("busybox"));
        for name in ["sh", "true", "sleep", "cat"] {
            std::os::unix::fs::symlink("busybox", bin.join(name)).expect("a link");
        }
        Scratch { path }
    }

    pub fn state(&self) -> StateRoot {
        StateRoot::new(self.path.join("state"))
    }

    /// The plan for `spec` under `id`.
    pub fn plan(&self, spec: &Spec, id: &ContainerId, start: Start) -> Result<ContainerPlan> {
        let directory = self.state().directory(id);
        let document = serde_json::to_vec(spec).expect("only string keys");
        std::fs::write(self.path.join("config.json"), document).expect("written");
        ContainerPlan::new(
            spec,
            &PlanOptions { start, ..PlanOptions::new(id.clone(), self.path.clone(), directory) },
        )
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let removed = std::fs::remove_dir_all(&self.path);
        if !std::thread::panicking() {
            removed.expect("the scratch directory can be removed: nothing is mounted in it");
        }
    }
}

/// The document that `spec` would write, without a terminal.
pub fn spec(arguments: &[&str]) -> Spec {
    let namespaces =
        ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| serde_json::json!({"type": kind}));
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let document = serde_json::json!({
        "ociVersion": runtime::spec::VERSION,
        "process": {
            "args": arguments,
            "cwd": "/",
            "env": ["PATH=/bin"],
            "user": { "uid": 0, "gid": 0, "umask": 18 },
            "noNewPrivileges": true,
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024 }],
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "test",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "nodev", "ro"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"] },
            { "destination": "/etc", "type": "bind", "source": "/etc", "options": ["rbind", "ro"] },
        ],
        "linux": {
            "namespaces": namespaces,
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "sysctl": { "net.ipv4.ip_forward": "1" },
            "maskedPaths": ["/proc/kcore", "/proc/acpi", "/sys/firmware"],
            "readonlyPaths": ["/proc/sys"],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{ "names": ["reboot"], "action": "SCMP_ACT_ERRNO" }],
            },
        },
    });
    serde_json::from_value(document).expect("a legal document")
}

/// Everything of this process and host that a start could leave behind.
#[derive(Debug, PartialEq, Eq)]
pub struct World {
    mounts: usize,
    descriptors: usize,
    cgroups: Vec<String>,
    states: Vec<String>,
}

impl World {
    /// Looks; `needle` is part of the names of the test's containers.
    pub fn look(scratch: &Scratch, needle: &str) -> World {
        let count = |path: &str| std::fs::read_dir(path).map_or(0, Iterator::count);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
        let states = std::fs::read_dir(scratch.path.join("state"));
        World {
            mounts: mounts.lines().filter(|line| line.contains(&scratch.path.display().to_string())).count(),
            descriptors: count("/proc/self/fd"),
            cgroups: cgroups(needle),
            states: states
                .map(|entries| {
                    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
                })
                .unwrap_or_default(),
        }
    }
}

/// Cgroups of any hierarchy whose name has `needle` in it.
pub fn cgroups(needle: &str) -> Vec<String> {
    fn walk(directory: &Path, needle: &str, depth: usize, found: &mut Vec<String>) {
        let Ok(entries) = std::fs::read_dir(directory) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.file_name().to_string_lossy().contains(needle) {
                found.push(entry.path().display().to_string());
            } else if depth > 0 {
                walk(&entry.path(), needle, depth - 1, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), needle, 4, &mut found);
    found
}

/// Whether this process has no child left, not even a dead one.
pub fn is_childless() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::All, options), Err(rustix::io::Errno::CHILD))
}
