//! Debian packages that tasks need, each with its reason; the only place that calls apt-get for the host.

use std::process::Command;
use std::sync::OnceLock;

use crate::process::{self, Failure, Result};

/// A Debian package and what shows that it is there.
pub struct Package {
    name: &'static str,
    /// A program that it brings, or another file of its own.
    program: &'static str,
    /// Why a task needs it.
    reason: &'static str,
}

/// The minimal root of demo, tests and bench.
const BUSYBOX: Package = Package {
    name: "busybox-static",
    program: "busybox",
    reason: "one static binary makes a whole root file system",
};

/// What `cargo xtask test` needs.
pub const TEST: &[Package] = &[
    BUSYBOX,
    Package {
        name: "nftables",
        program: "nft",
        reason: "reads back the rules that rabbitc wrote, with other eyes than its own",
    },
    Package {
        name: "iproute2",
        program: "ip",
        reason: "reads back links and addresses with other eyes than rabbitc's own",
    },
    Package {
        name: "iptables",
        program: "iptables-legacy",
        reason: "sets up the foreign firewalls that rabbitc must detect",
    },
    Package { name: "procps", program: "sysctl", reason: "reads back kernel settings; ps for the host root" },
    Package { name: "util-linux", program: "unshare", reason: "private namespaces around a test" },
    Package {
        name: "strace",
        program: "strace",
        reason: "kills a command at one system call after the other",
    },
    Package {
        name: "uidmap",
        program: "newuidmap",
        reason: "maps the sub-ids of the user that the tests of containers without root make",
    },
    Package { name: "passt", program: "pasta", reason: "connects containers without root" },
    Package {
        name: "apparmor",
        program: "apparmor_parser",
        reason: "compiles the AppArmor profile, which this kernel need not have",
    },
    Package { name: "bsdutils", program: "script", reason: "gives a command a terminal" },
    Package { name: "podman", program: "podman", reason: "a caller of the runtime, root and rootless" },
    Package {
        name: "crun",
        program: "crun",
        reason: "what podman's and buildah's results are compared with",
    },
    Package {
        name: "docker.io",
        program: "dockerd",
        reason: "a caller of the runtime, through containerd's shim",
    },
    Package { name: "containerd", program: "ctr", reason: "a caller of the runtime, as Kubernetes has it" },
    Package {
        name: "runc",
        program: "runc",
        reason: "what Docker's and containerd's results are compared with",
    },
    Package { name: "buildah", program: "buildah", reason: "a caller of the runtime, in image builds" },
    Package { name: "gawk", program: "awk", reason: "reads the table of mounts for the callers' lab" },
    Package {
        name: "python3",
        program: "python3",
        reason: "reads the picture of a start with an XML parser that is not ours",
    },
    Package {
        name: "python3-seccomp",
        program: "/usr/share/doc/python3-seccomp/copyright",
        reason: "makes the filters that ours are compared with",
    },
    Package {
        name: "patchelf",
        program: "patchelf",
        reason: "has a criu that knows this kernel find its own libraries",
    },
];

/// What `cargo xtask demo` needs.
pub const DEMO: &[Package] = &[
    BUSYBOX,
    Package { name: "procps", program: "ps", reason: "shows the processes in a container on the host root" },
];

/// What `cargo xtask bench` needs.
pub const BENCH: &[Package] = &[
    BUSYBOX,
    Package { name: "crun", program: "crun", reason: "the runtime to compare with" },
    Package { name: "runc", program: "runc", reason: "the runtime to compare with" },
    Package { name: "podman", program: "podman", reason: "the engine to compare with" },
    Package { name: "patchelf", program: "patchelf", reason: "has newer runtimes find their own libraries" },
    Package { name: "strace", program: "strace", reason: "counts system calls" },
    Package { name: "time", program: "/usr/bin/time", reason: "reports peak memory" },
    Package { name: "iperf3", program: "iperf3", reason: "bits per second through a published port" },
    Package { name: "wrk", program: "wrk", reason: "requests per second through a published port" },
    Package { name: "iproute2", program: "ip", reason: "loopback up in the private network namespace" },
    Package { name: "util-linux", program: "unshare", reason: "the private mount and network namespace" },
    Package { name: "iptables", program: "iptables", reason: "podman's bridge network calls it" },
    Package {
        name: "containernetworking-plugins",
        program: "/usr/lib/cni/bridge",
        reason: "podman's bridge network before netavark",
    },
];

/// What `cargo xtask guest` needs; the guest kernel and its root tree are not installed on the host.
pub const GUEST: &[Package] = &[
    Package { name: "mmdebstrap", program: "mmdebstrap", reason: "makes the guest's root tree" },
    Package { name: "e2fsprogs", program: "mke2fs", reason: "makes the guest's disk image" },
    Package { name: "util-linux", program: "unshare", reason: "private mounts around the guest kernel" },
];

/// Installs those that are missing.
pub fn install(packages: &[Package]) -> Result<()> {
    let missing: Vec<&Package> = packages.iter().filter(|package| !package.is_installed()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    if process::find_program("apt-get").is_none() {
        return Err(Failure::new(format!("missing here: {}", programs(&missing)))
            .hint("this is no Debian system: install them with your own package manager"));
    }
    process::require_root_or_sudo()?;
    for package in &missing {
        eprintln!("installing {}: {}", package.name, package.reason);
    }
    update_lists();
    apt_get(&["install", "--yes", "--no-install-recommends"], &names)
}

impl Package {
    fn is_installed(&self) -> bool {
        process::find_program(self.program).is_some()
    }
}

fn programs(missing: &[&Package]) -> String {
    missing.iter().map(|package| format!("`{}`", package.program)).collect::<Vec<_>>().join(", ")
}

/// Once per run. A failure is not fatal here: the old lists may do, and if not, the installation says so.
fn update_lists() {
    static UPDATED: OnceLock<()> = OnceLock::new();
    UPDATED.get_or_init(|| {
        if let Err(failure) = apt_get(&["update"], &[]) {
            eprintln!("warning: {failure}");
        }
    });
}

fn apt_get(verb: &[&str], names: &[&str]) -> Result<()> {
    let mut command = process::as_root("apt-get");
    command.args(["--quiet", "--quiet", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300"]);
    command.args(verb).args(names);
    command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").stdin(std::process::Stdio::null());
    // Standard output belongs to the task's own result.
    let output = command.stderr(std::process::Stdio::inherit()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(Failure::new(format!(
            "`{}` ended with {}\n{}",
            process::typed(&command),
            output.status,
            String::from_utf8_lossy(&output.stdout).trim_end()
        ))),
        Err(error) => Err(Failure::new(format!("run `apt-get`: {error}"))),
    }
}

/// Is this Debian itself (its package archive has what the guest needs; a derivative's may not)?
pub fn is_debian() -> bool {
    std::fs::read_to_string("/etc/os-release")
        .is_ok_and(|text| text.lines().any(|line| line.trim() == "ID=debian"))
}

/// The first archive that this machine's own apt configuration names for Debian.
pub fn configured_archive() -> Option<String> {
    // apt knows an archive's origin once it has fetched its lists.
    listed_archive().or_else(|| {
        update_lists();
        listed_archive()
    })
}

fn listed_archive() -> Option<String> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(REPO_URI) $(SUITE) $(ORIGIN)", "Created-By: Packages"]);
    let listed = process::read(&mut command).ok()?;
    listed.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        let main = !["security", "backports", "debug"].iter().any(|other| suite.contains(other));
        (words.next() == Some("Debian") && main).then(|| uri.trim_end_matches('/').to_owned())
    })
}
