//! A guest with pure cgroup v2, by user-mode Linux: prepares kernel and image below `target/guest`, runs a command
//! in it, returns that command's exit status. Changes nothing on the host but those files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::packages;
use crate::private_apt::{Archive, PrivateApt};
use crate::process::{self, Failure, Naming, Result};
use crate::tally::{Checked, Tally};

/// Who is pid 1 in the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Init {
    /// A short script: boots in a second or two.
    Script,
    /// systemd: a manager to ask for scopes and slices.
    Systemd,
}

/// What the guest's root tree has beyond the minimum. bats and gawk are for the suites of other projects, which are run
/// in it by hand (docs/conformance.md); the last two lines are the engines that call the runtime, and what their tests take.
const GUEST_PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,procps,util-linux,kmod,busybox-static,nftables,bats,jq,gawk,\
                              podman,buildah,uidmap,crun,runc,containerd,docker.io,docker-cli,\
                              bsdutils,protobuf-compiler,curl,containernetworking-plugins";

/// Why there is no guest on this machine, if that is so: for a skip that says why.
fn unavailable() -> Option<String> {
    if std::env::consts::ARCH != "x86_64" {
        return Some(format!("user-mode Linux does not run on {}", std::env::consts::ARCH));
    }
    if !packages::is_debian() {
        return Some("the guest is made from Debian's package archive, and this is not Debian".into());
    }
    None
}

/// The prepared guest on disk.
pub struct Guest {
    directory: PathBuf,
}

/// The kernel and the root tree are fetched anew when this changes.
const TREE_RECIPE: &str =
    concat!("sid kernel, trixie tree, 2: ", "systemd and the packages of GUEST_PACKAGES");

/// What we put into the tree: (text, mode, path). The image is made anew, in a second, when one changes.
const SCRIPTS: &[(&str, &str, &str)] = &[
    (include_str!("guest/init.sh"), "0755", "usr/local/sbin/guest-init"),
    (include_str!("guest/command.sh"), "0755", "usr/local/sbin/guest-command"),
    (include_str!("guest/rabbitc-guest.service"), "0644", "etc/systemd/system/rabbitc-guest.service"),
];

/// Units that packages bring and that nobody asked for: they would come up while something is counted.
const LEFT_OUT: &[&str] = &[
    "containerd.service",
    "docker.service",
    "docker.socket",
    "getty.target",
    "netavark-dhcp-proxy.service",
    "netavark-dhcp-proxy.socket",
];

/// Whether the guest can be had.
pub enum Preparation {
    /// Kernel and image are on disk.
    Ready(Guest),
    /// This machine cannot have one, and why: no Debian, or no way to its archive.
    Unavailable(String),
}

/// Makes kernel, tree and image where they are missing or made by an older recipe.
pub fn prepare() -> Result<Preparation> {
    if let Some(why) = unavailable() {
        return Ok(Preparation::Unavailable(why));
    }
    process::require_root_or_sudo()?;
    let guest = Guest { directory: process::target_directory().join("guest") };
    let tree_recipe = format!("{TREE_RECIPE} {GUEST_PACKAGES}");
    if !guest.is_stamped("tree.stamp", &tree_recipe) {
        packages::install(packages::GUEST)?;
        process::run(process::as_root("rm").args(["-rf", "--one-file-system"]).arg(&guest.directory))?;
        let archive = Archive::of_this_machine()?;
        let apt = PrivateApt::new(guest.path("apt"), &archive)?;
        if let Err(failure) = apt.update() {
            return Ok(Preparation::Unavailable(format!("the package archive cannot be reached: {failure}")));
        }
        eprintln!("guest: fetching the kernel");
        guest.fetch_kernel(&apt)?;
        eprintln!("guest: making the root tree");
        guest.make_tree(&archive)?;
        guest.stamp("tree.stamp", &tree_recipe)?;
    }
    let mut scripts: String =
        SCRIPTS.iter().map(|(text, mode, path)| format!("{path} {mode}\n{text}\n")).collect();
    scripts.extend(LEFT_OUT.iter().map(|unit| format!("without {unit}\n")));
    if !guest.is_stamped("image.stamp", &scripts) {
        guest.install_scripts()?;
        guest.make_image()?;
        guest.stamp("image.stamp", &scripts)?;
    }
    Ok(Preparation::Ready(guest))
}

impl Guest {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn is_stamped(&self, name: &str, recipe: &str) -> bool {
        std::fs::read_to_string(self.path(name)).is_ok_and(|text| text == recipe)
    }

    fn stamp(&self, name: &str, recipe: &str) -> Result<()> {
        std::fs::write(self.path(name), recipe).naming(format_args!("write `{name}` of the guest"))
    }

    /// The newest kernel: the one in trixie does not start on CPUs with a large register state.
    fn fetch_kernel(&self, apt: &PrivateApt) -> Result<()> {
        apt.unpack_alone("user-mode-linux", &self.path("kernel"))?;
        let directory = self.path("apt");
        std::fs::remove_dir_all(&directory).naming(format_args!("remove `{}`", directory.display()))
    }

    fn make_tree(&self, archive: &Archive) -> Result<()> {
        let mut mmdebstrap = process::as_root("mmdebstrap");
        mmdebstrap.args(["--quiet", "--variant=minbase", "--format=directory"]);
        mmdebstrap.arg(format!("--include={GUEST_PACKAGES}"));
        for path in ["man", "doc", "locale"] {
            mmdebstrap.arg(format!("--dpkgopt=path-exclude=/usr/share/{path}/*"));
        }
        mmdebstrap.arg("trixie").arg(self.path("tree")).arg(archive.source("trixie"));
        process::read(&mut mmdebstrap).map(drop)
    }

    fn install_scripts(&self) -> Result<()> {
        let source = self.path("script");
        for (text, mode, destination) in SCRIPTS {
            std::fs::write(&source, text).naming(format_args!("write `{}`", source.display()))?;
            let mut install = process::as_root("install");
            install.args(["-D", "-m", mode]).arg(&source).arg(self.path("tree").join(destination));
            process::run(&mut install)?;
        }
        let units = self.path("tree/etc/systemd/system");
        let wants = units.join("multi-user.target.wants");
        process::run(process::as_root("mkdir").arg("-p").arg(&wants))?;
        let link =
            |target: &str, path: &Path| process::run(process::as_root("ln").args(["-sfn", target]).arg(path));
        link("../rabbitc-guest.service", &wants.join("rabbitc-guest.service"))?;
        LEFT_OUT.iter().try_for_each(|unit| link("/dev/null", &units.join(unit)))
    }

    fn make_image(&self) -> Result<()> {
        let mut mke2fs = process::as_root("mke2fs");
        mke2fs.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d"]);
        mke2fs.arg(self.path("tree")).arg(self.path("image")).arg("2G");
        process::read(&mut mke2fs).map(drop)
    }

    /// Boots, runs the shell command in `/host` (the workspace), prints its output, returns its exit status.
    /// A guest that does not power off within `limit` is killed, which is a failure.
    pub fn run(&self, init: Init, command: &str, output: Streams, limit: Duration) -> Result<Ran> {
        let run = RunDirectory::new(&self.directory)?;
        std::fs::write(run.0.join("command"), format!("{command}\n")).naming("write the guest's command")?;
        // The boot script may be newer than the prepared guest: it is not part of the image.
        let boot = run.0.join("boot");
        std::fs::write(&boot, include_str!("guest/boot.sh")).naming("write the boot script")?;
        let mut guest = process::as_root("unshare");
        guest.args(["--mount", "--pid", "--fork", "--kill-child=KILL", "--propagation", "private"]);
        guest.arg("sh").arg(&boot);
        guest.arg(self.path("tree")).arg(&self.directory).arg(process::workspace()).arg(&run.0);
        guest.arg(match init {
            Init::Script => "/usr/local/sbin/guest-init",
            Init::Systemd => "/sbin/init",
        });
        guest.stdin(std::process::Stdio::null());
        let printed = match output {
            Streams::Inherited => {
                wait(&mut guest, limit)?;
                String::new()
            }
            Streams::Captured => {
                let file = std::fs::File::create(run.0.join("output")).naming("create the output file")?;
                guest.stdout(file.try_clone().naming("share the output file")?).stderr(file);
                wait(&mut guest, limit)?;
                let bytes = std::fs::read(run.0.join("output")).naming("read the guest's output")?;
                String::from_utf8_lossy(&bytes).into_owned()
            }
        };
        let Ok(status) = std::fs::read_to_string(run.0.join("status")) else {
            let console = std::fs::read(run.0.join("console")).unwrap_or_default();
            let console = String::from_utf8_lossy(&console);
            let tail: Vec<&str> = console.lines().rev().take(20).collect();
            let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
            return Err(Failure::new(format!(
                "the guest did not report a status; its console says:\n{tail}"
            )));
        };
        let status = status.trim().parse().naming(format_args!("parse the guest's status `{status}`"))?;
        Ok(Ran { status, printed })
    }
}

/// Where the output of the guest's command goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Streams {
    /// To this program's own, as it comes.
    Inherited,
    /// Into [`Ran::printed`].
    Captured,
}

/// How the guest's command ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status.
    pub status: u8,
    /// Standard output and error, where they were captured.
    pub printed: String,
}

fn wait(guest: &mut Command, limit: Duration) -> Result<()> {
    let mut child = guest.spawn().naming("start the guest")?;
    let end = Instant::now() + limit;
    loop {
        if child.try_wait().naming("wait for the guest")?.is_some() {
            return Ok(());
        }
        if Instant::now() > end {
            // unshare takes the kernel with it, and ignores SIGTERM meanwhile; through sudo only root may signal it.
            let pid = child.id().to_string();
            let killed = process::as_root("kill").args(["-KILL", &pid]).status();
            killed.naming("kill the guest")?;
            child.wait().naming("wait for the guest")?;
            return Err(Failure::new(format!("the guest was still running after {} s", limit.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A directory that host and guest share for one run; removed when dropped.
struct RunDirectory(PathBuf);

impl RunDirectory {
    fn new(guest: &Path) -> Result<Self> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = guest.join(format!("run-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).naming(format_args!("create `{}`", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        // The guest's files belong to root.
        let _ = process::as_root("rm").args(["-rf", "--one-file-system"]).arg(&self.0).status();
    }
}

/// `cargo xtask guest …`: returns the exit status for this program.
pub fn command(arguments: &[OsString]) -> Result<u8> {
    let usage = || Failure::new("usage: cargo xtask guest prepare | test | run [--systemd] COMMAND…");
    let mut words = arguments.iter().map(|word| word.to_string_lossy().into_owned());
    match words.next().as_deref() {
        Some("prepare") => ready().map(|_| 0),
        Some("test") => {
            let mut tally = Tally::default();
            suite(&mut tally);
            Ok(u8::from(!tally.close()))
        }
        Some("run") => {
            let mut rest: Vec<String> = words.collect();
            let mut init = Init::Script;
            if rest.first().is_some_and(|word| word == "--systemd") {
                init = Init::Systemd;
                rest.remove(0);
            }
            if rest.first().is_some_and(|word| word == "--") {
                rest.remove(0);
            }
            if rest.is_empty() {
                return Err(usage());
            }
            let ran = ready()?.run(init, &rest.join(" "), Streams::Inherited, Duration::from_secs(900))?;
            Ok(ran.status)
        }
        _ => Err(usage()),
    }
}

fn ready() -> Result<Guest> {
    match prepare()? {
        Preparation::Ready(guest) => Ok(guest),
        Preparation::Unavailable(why) => Err(Failure::new(format!("no guest here: {why}"))),
    }
}

/// The small suite that CI runs in the guest: each check is a shell command that must succeed there.
pub fn suite(tally: &mut Tally) {
    let guest = match prepare() {
        Ok(Preparation::Ready(guest)) => guest,
        Ok(Preparation::Unavailable(why)) => {
            tally.skipped += SUITE.len();
            println!("skipped: guest ({} checks): {why}", SUITE.len());
            return;
        }
        Err(failure) => {
            tally.failed += 1;
            println!("FAILED: prepare the guest: {failure}");
            return;
        }
    };
    for (init, name, command) in SUITE {
        tally.check(&format!("guest: {name}"), || {
            let ran = guest.run(*init, command, Streams::Captured, Duration::from_secs(600))?;
            if ran.status == 0 {
                return Ok(Checked::Held);
            }
            Err(Failure::new(format!("exit status {}\n{}", ran.status, ran.printed.trim_end())))
        });
    }
}

/// A script with a bundle to start from.
macro_rules! with_bundle {
    ($script:literal) => {
        concat!(include_str!("guest/bundle.sh"), include_str!($script))
    };
}

/// A client of tests/clients over the runtime, and over the one that its users have.
macro_rules! client {
    ($client:literal, $reference:literal) => {
        concat!("CLIENT=", $client, " REFERENCE=", $reference, "\n", include_str!("guest/clients.sh"))
    };
}

const SUITE: &[(Init, &str, &str)] = &[
    (Init::Script, "the guest has cgroup v2 alone", "test \"$(stat -fc %T /sys/fs/cgroup)\" = cgroup2fs"),
    (
        Init::Script,
        "the guest has its kernel's modules, and descriptors as files",
        "modprobe dummy && bash -c 'test -e <(true)'",
    ),
    (Init::Script, "rabbitc-runtime runs a bundle on cgroup v2", with_bundle!("guest/runtime-bundle.sh")),
    (Init::Systemd, "rabbitc-runtime runs a bundle under systemd", with_bundle!("guest/runtime-bundle.sh")),
    (
        Init::Systemd,
        "containers are scopes of systemd with --systemd-cgroup",
        with_bundle!("guest/scopes.sh"),
    ),
    (Init::Script, "rabbitc runs a root file system on cgroup v2", include_str!("guest/rootfs.sh")),
    (Init::Script, "the kernel enforces each limit on cgroup v2", include_str!("guest/limits.sh")),
    (
        Init::Systemd,
        "containers and limits outlive who started them, and users have limits",
        with_bundle!("guest/systemd.sh"),
    ),
    (
        Init::Systemd,
        "systemd's manager of a user keeps a memory limit without root",
        include_str!("guest/rootless.sh"),
    ),
    (Init::Systemd, "scope after scope leaves nothing that grows", with_bundle!("guest/cycles.sh")),
    (
        Init::Systemd,
        "containers live through logout, the end of a unit, reloads of systemd and a boot",
        include_str!("guest/living.sh"),
    ),
    (Init::Systemd, "podman does the same with scopes of it as of crun", client!("podman", "crun")),
    (
        Init::Systemd,
        "podman of a user does the same with scopes of the user's systemd as of crun",
        client!("podman-user", "crun"),
    ),
    (Init::Systemd, "buildah does the same with it on cgroup v2 as with crun", client!("buildah", "crun")),
    (Init::Systemd, "docker does the same with scopes of it as of runc", client!("docker", "runc")),
    (Init::Systemd, "containerd does the same with scopes of it as of runc", client!("containerd", "runc")),
    (Init::Systemd, "pods of containerd do the same with scopes of it as of runc", client!("cri", "runc")),
];
