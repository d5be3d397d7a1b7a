//! A cgroup subtree of its own for a command, and a view of cgroups that crun and podman accept: on a hybrid host
//! the v1 hierarchies alone, in a private mount namespace. Changes the host only by that subtree, which it removes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{Failure, Naming, Result};

/// A group in every mounted hierarchy, removed when dropped.
pub struct Subtree {
    groups: Vec<PathBuf>,
}

/// A mounted hierarchy as /proc/self/mountinfo tells it.
struct Hierarchy {
    mounted: PathBuf,
    version: Version,
    /// `cpu,cpuacct` or `none,name=systemd`: what mounts it again. Empty on v2.
    options: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

fn hierarchies() -> Result<Vec<Hierarchy>> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").naming("read `/proc/self/mountinfo`")?;
    Ok(table.lines().filter_map(parse).collect())
}

/// Fields before ` - ` are the mount's, after it the file system's: proc_pid_mountinfo(5).
fn parse(line: &str) -> Option<Hierarchy> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mounted = PathBuf::from(mount.split(' ').nth(4)?);
    let mut fields = file_system.split(' ');
    let version = match fields.next()? {
        "cgroup" => Version::One,
        "cgroup2" => Version::Two,
        _ => return None,
    };
    let options: Vec<&str> = fields
        .nth(1)?
        .split(',')
        .filter(|option| !["rw", "ro", "xattr", "nsdelegate"].contains(option))
        .collect();
    let named = options.iter().any(|option| option.starts_with("name="));
    let options = match version {
        Version::Two => String::new(),
        Version::One if named => format!("none,{}", options.join(",")),
        Version::One => options.join(","),
    };
    Some(Hierarchy { mounted, version, options })
}

impl Subtree {
    /// Makes group `name` below each hierarchy's root. Needs root.
    pub fn new(name: &str) -> Result<Self> {
        let mut subtree = Self { groups: Vec::new() };
        for hierarchy in hierarchies()? {
            let group = hierarchy.mounted.join(name);
            std::fs::create_dir(&group).naming(format_args!("create cgroup `{}`", group.display()))?;
            subtree.groups.push(group.clone());
            // A new cpuset of v1 is empty and takes no process.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if hierarchy.version == Version::One && group.join(file).exists() {
                    let value = std::fs::read(hierarchy.mounted.join(file)).naming("read the cpuset")?;
                    std::fs::write(group.join(file), value).naming("fill the cpuset")?;
                }
            }
        }
        Ok(subtree)
    }

    /// A command that enters the subtree and private namespaces, gets the view, and runs `program` there as root of
    /// its own pid namespace: when it ends, so does everything that it left running.
    pub fn command(&self, program: &Path, arguments: &[&OsStr]) -> Result<Command> {
        let mut script = String::from("set -e\n");
        for group in &self.groups {
            script.push_str(&format!("echo $$ >{}/cgroup.procs\n", group.display()));
        }
        script.push_str(
            "exec unshare --mount --propagation private --cgroup --net --uts --ipc --pid --fork \
             --kill-child=KILL --mount-proc sh -c \"$VIEW\" view \"$@\"\n",
        );
        let mut command = Command::new("sh");
        command.env("VIEW", view_script(&hierarchies()?)).args(["-c", &script, "enter"]);
        command.arg(program).args(arguments);
        Ok(command)
    }

    fn remove(&self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let left: Vec<&PathBuf> =
                self.groups.iter().filter(|group| remove_tree(group).is_err()).collect();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(Failure::new(format!("could not remove cgroup `{}`", left[0].display())));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Subtree {
    fn drop(&mut self) {
        if let Err(failure) = self.remove() {
            eprintln!("warning: {failure}");
        }
    }
}

fn remove_tree(group: &Path) -> std::io::Result<()> {
    let Ok(entries) = std::fs::read_dir(group) else { return Ok(()) };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    std::fs::remove_dir(group)
}

/// What prepares the private namespaces. Hierarchies are mounted anew: a mount made in the new cgroup namespace
/// shows the subtree as its root.
fn view_script(hierarchies: &[Hierarchy]) -> String {
    let mut script = String::from("set -e\n");
    let first = hierarchies.iter().filter(|hierarchy| hierarchy.version == Version::One).collect::<Vec<_>>();
    script.push_str("umount -R -l /sys/fs/cgroup\n");
    if first.is_empty() {
        script.push_str("mount -t cgroup2 cgroup2 /sys/fs/cgroup\n");
    } else {
        script.push_str("mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup\n");
        for hierarchy in first {
            let (path, options) = (hierarchy.mounted.display(), &hierarchy.options);
            script.push_str(&format!("mkdir -p {path}; mount -t cgroup -o {options} cgroup {path}\n"));
        }
    }
    // State of every engine goes to memory, and with the namespace. An engine's directory may not exist yet.
    script.push_str("mount -t tmpfs -o mode=755 tmpfs /run; mkdir -p /run/lock\n");
    for directory in ["/var/lib/containers", "/var/lib/cni", "/var/lib/rabbitc"] {
        script.push_str(&format!("[ ! -d {directory} ] || mount -t tmpfs tmpfs {directory}\n"));
    }
    script.push_str("ip link set lo up\nunset VIEW\nexec \"$@\"\n");
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_hierarchy_is_mounted_by_none_and_its_name() {
        let line = "33 25 0:29 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd";
        let hierarchy = parse(line).expect("a cgroup mount");
        assert_eq!(hierarchy.options, "none,name=systemd");
        assert!(hierarchy.version == Version::One);
    }

    #[test]
    fn hybrid_host_is_shown_without_its_second_version() {
        let lines = [
            "30 25 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu",
            "31 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
        ];
        let script = view_script(&lines.iter().filter_map(|line| parse(line)).collect::<Vec<_>>());
        assert!(script.contains("-o cpu cgroup /sys/fs/cgroup/cpu"));
        assert!(!script.contains("unified"));
    }
}
