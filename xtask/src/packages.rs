//! Debian packages that tasks need, each with its reason; the only place that calls apt-get for the host.

use std::process::Command;
use std::sync::OnceLock;

use crate::process::{self, Failure, Result};

/// A Debian package and what shows that it is there.
pub struct Package {
    name: &'static str,
    /// What shows that it is there: a program in PATH, or the path of a file.
    evidence: &'static str,
    /// Why a task needs it.
    reason: &'static str,
}

const fn package(name: &'static str, evidence: &'static str, reason: &'static str) -> Package {
    Package { name, evidence, reason }
}

/// The minimal root of demo, tests and bench.
const BUSYBOX: Package =
    package("busybox-static", "busybox", "one static binary makes a whole root file system");

/// What `cargo xtask test` needs.
pub const TEST: &[Package] = &[
    BUSYBOX,
    package("nftables", "nft", "reads back the rules that rabbitc wrote, with other eyes than its own"),
    package("iproute2", "ip", "reads back links and addresses with other eyes than rabbitc's own"),
    package("iptables", "iptables-legacy", "sets up the foreign firewalls that rabbitc must detect"),
    package("procps", "sysctl", "reads back kernel settings; ps for the host root"),
    package("util-linux", "unshare", "private namespaces around a test"),
    package("strace", "strace", "kills a command at one system call after the other"),
    package(
        "uidmap",
        "newuidmap",
        "maps the sub-ids of the user that the tests of containers without root make",
    ),
    package("passt", "pasta", "connects containers without root"),
    package("apparmor", "apparmor_parser", "compiles the AppArmor profile, which this kernel need not have"),
    package("bsdutils", "script", "gives a command a terminal"),
    package("podman", "podman", "a caller of the runtime, root and rootless"),
    package("crun", "crun", "what podman's and buildah's results are compared with"),
    package("docker.io", "dockerd", "a caller of the runtime, through containerd's shim"),
    package("containerd", "ctr", "a caller of the runtime, by its own client"),
    package("runc", "runc", "what Docker's and containerd's results are compared with"),
    package(
        "containernetworking-plugins",
        "/usr/lib/cni/bridge",
        "gives pods of containerd's CRI plugin a network of their own",
    ),
    package("protobuf-compiler", "protoc", "writes and reads the messages of the CRI"),
    package("curl", "curl", "carries the messages of the CRI"),
    package("docker-registry", "docker-registry", "a real registry, on the loopback of a test"),
    package("skopeo", "skopeo", "fills that registry, with other code than ours"),
    package("openssl", "openssl", "makes the authority and the certificates of a test's registry"),
    package("buildah", "buildah", "a caller of the runtime, in image builds"),
    package("python3", "python3", "reads the picture of a start with an XML parser that is not ours"),
    package(
        "python3-seccomp",
        "/usr/share/doc/python3-seccomp/copyright",
        "makes the filters that ours are compared with",
    ),
    package("patchelf", "patchelf", "has a criu that knows this kernel find its own libraries"),
];

/// What `cargo xtask demo` needs.
pub const DEMO: &[Package] =
    &[BUSYBOX, package("procps", "ps", "shows the processes in a container on the host root")];

/// What `cargo xtask bench` needs.
pub const BENCH: &[Package] = &[
    BUSYBOX,
    package("crun", "crun", "the runtime to compare with"),
    package("runc", "runc", "the runtime to compare with"),
    package("podman", "podman", "the engine to compare with"),
    package("patchelf", "patchelf", "has newer runtimes find their own libraries"),
    package("strace", "strace", "counts system calls"),
    package("time", "/usr/bin/time", "reports peak memory"),
    package("iperf3", "iperf3", "bits per second over networks"),
    package("wrk", "wrk", "requests per second over networks"),
    package("iproute2", "ip", "loopback up in the private network namespace, and hosts beside it"),
    package("nftables", "nft", "lists the rules that a container leaves, with other eyes than rabbitc's own"),
    package("util-linux", "unshare", "the private mount and network namespace"),
    package("iptables", "iptables", "podman's bridge network calls it"),
    package("containernetworking-plugins", "/usr/lib/cni/bridge", "podman's bridge network before netavark"),
];

/// What the parts of `cargo xtask bench` with images and with docker need besides.
pub const BENCH_IMAGES: &[Package] = &[
    package("docker-registry", "docker-registry", "the registry that all pull from"),
    package("curl", "curl", "the least that fetching takes"),
    package("e2fsprogs", "mkfs.ext4", "an empty file system for each store"),
    package("containerd", "ctr", "the image store to compare with"),
    package("skopeo", "skopeo", "fetches what umoci unpacks"),
    package("umoci", "umoci", "the unpacking to compare with"),
    package("docker.io", "dockerd", "the engine to compare with"),
];

/// What `cargo xtask soak` and `cargo xtask torture` need.
pub const SOAK: &[Package] = &[
    BUSYBOX,
    package("nftables", "nft", "counts the rules, with other eyes than rabbitc's own"),
    package("iproute2", "ip", "loopback up in the private network namespace"),
    package("util-linux", "unshare", "the private mount and network namespace"),
];

/// What `cargo xtask guest` needs; the guest kernel and its root tree are not installed on the host.
pub const GUEST: &[Package] = &[
    package("mmdebstrap", "mmdebstrap", "makes the guest's root tree"),
    package("e2fsprogs", "mke2fs", "makes the guest's disk image"),
    package("util-linux", "unshare", "private mounts around the guest kernel"),
];

/// Installs those that are missing.
pub fn install(packages: &[Package]) -> Result<()> {
    let missing: Vec<&Package> = packages.iter().filter(|package| !package.is_installed()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    if process::find_program("apt-get").is_none() {
        return Err(Failure::new(format!("missing here: {}", evidence(&missing)))
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
        process::find_program(self.evidence).is_some()
    }
}

fn evidence(missing: &[&Package]) -> String {
    missing.iter().map(|package| format!("`{}`", package.evidence)).collect::<Vec<_>>().join(", ")
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
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(std::process::Stdio::null());
    // dockerd and containerd would be started as they are installed, by deb-systemd-invoke(1), which knows no RUNLEVEL:
    // but its systemctl starts nothing when told that it is offline. A test that wants a daemon starts its own. Where
    // no init runs, invoke-rc.d(8) starts nothing by itself.
    command.env("SYSTEMD_OFFLINE", "1");
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
