//! A command in a cgroup subtree of its own, and with a view of cgroups that crun and podman accept. The script is also
//! that of the tests of callers. Changes the host only by the subtree, which goes with the command.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

const SCRIPT: &str = include_str!("cgroup_view.sh");

/// A command that makes group `name` below each hierarchy's root, enters it and private namespaces, and runs `program`
/// there as root of its own pid namespace: when it ends, so does everything that it left running. Needs root.
pub fn command(name: &str, program: &Path, arguments: &[&OsStr]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "cgroup-view", name]).arg(program).args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::Stdio;

    /// What the script's functions make of a mountinfo.
    fn shell(call: &str, mountinfo: &[&str]) -> String {
        let (functions, _) = SCRIPT.split_once("\nname=$1\n").expect("the functions come first");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{functions}\n{call}")]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("sh runs");
        let mut input = child.stdin.take().expect("a pipe");
        mountinfo.iter().try_for_each(|line| writeln!(input, "{line}")).expect("written");
        drop(input);
        String::from_utf8(child.wait_with_output().expect("it ends").stdout).expect("text")
    }

    #[test]
    fn named_hierarchy_is_mounted_by_none_and_its_name() {
        let line = "33 25 0:29 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd";
        assert_eq!(shell("hierarchies", &[line]), "1 /sys/fs/cgroup/systemd none,name=systemd\n");
    }

    #[test]
    fn hybrid_host_is_shown_without_its_second_version() {
        let lines = [
            "24 25 0:22 / /proc rw,nosuid - proc proc rw",
            "30 25 0:26 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct",
            "31 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate",
        ];
        let script = shell("hierarchies | mounts", &lines);
        assert!(script.contains("-o cpu,cpuacct cgroup /sys/fs/cgroup/cpu\n"), "{script}");
        assert!(!script.contains("unified"), "{script}");
        assert!(!script.contains("cgroup2"), "{script}");
        let script = shell("hierarchies | mounts", &lines[2..]);
        assert!(script.contains("mount -t cgroup2 cgroup2 /sys/fs/cgroup\n"), "{script}");
    }
}
