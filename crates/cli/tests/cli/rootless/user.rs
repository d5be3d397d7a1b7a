//! Owns the ordinary user of these tests: its account, its ids, and how it starts programs.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{Background, Host, Ran, binary, eventually, finish, has_program};

/// A number that no account of a distribution has.
pub const UID: u32 = 47_113;
/// Where the ids begin that it may map.
pub const FIRST: u32 = 1_878_982_656;

/// A host with an ordinary user, who has a root file system and sub-ids.
pub struct User {
    pub host: Host,
}

impl User {
    /// Makes one; none where the test may not, which is said.
    pub fn new() -> Option<User> {
        let mut host = Host::new()?;
        if !["setpriv", "newuidmap", "newgidmap"].into_iter().all(has_program) {
            return None;
        }
        let script = format!(
            "mkdir own state session home; mount -t tmpfs -o mode=755 tmpfs own; cd own; \
             mkdir upper work bin bin-work; mount -t overlay -o lowerdir=/etc,upperdir=upper,workdir=work none /etc; \
             echo 'tess:x:{UID}:{UID}::/:/bin/sh' >>/etc/passwd; echo 'tess:x:{UID}:' >>/etc/group; \
             echo 'tess:{FIRST}:65536' >/etc/subuid; echo 'tess:{FIRST}:65536' >/etc/subgid; \
             cd ..; chmod 700 state session; chown -R {UID}:{UID} rootfs state session home"
        );
        host.set_up(&format!("cd {}; {script}", host.directory().display()));
        host.accept_mounts();
        Some(User { host })
    }

    /// Hides the directories of other tests: each would be a piece of the host's root, and by it the other test would take
    /// a container of this one for its own, and end it.
    pub fn hide_others(&self) {
        let here = self.host.directory();
        self.host.set_up(&format!(
            "cd {0}; mount -t tmpfs -o mode=1777 tmpfs {1}; mkdir {0}; mount -c --rbind /proc/self/cwd {0}",
            here.display(),
            here.parent().expect("one for all tests").display()
        ));
    }

    /// The directory of its session, which is its alone.
    pub fn session(&self) -> PathBuf {
        self.host.directory().join("session")
    }

    /// A program of this user.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.host.command("setpriv");
        command.args(credentials()).arg(program);
        command.env("XDG_RUNTIME_DIR", self.session());
        command
    }

    /// `rabbitc` of this user.
    pub fn rabbitc(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(binary());
        command.arg(self.state_flag()).args(arguments);
        command
    }

    /// `--state-dir=…`, to be put before the arguments.
    pub fn state_flag(&self) -> String {
        format!("--state-dir={}", self.host.state().display())
    }

    /// Runs `rabbitc` to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        finish(self.rabbitc(arguments).spawn().expect("nsenter runs"), None)
    }

    /// Arguments for a script in the user's root file system.
    pub fn arguments<'a>(&'a self, flags: &[&'a str], rootfs: &'a str, script: &'a str) -> Vec<&'a str> {
        let mut arguments = vec![rootfs];
        arguments.extend(flags);
        arguments.extend(["--", "/bin/sh", "-c", script]);
        arguments
    }

    /// Runs a script in a container without network.
    pub fn inside(&self, flags: &[&str], script: &str) -> Ran {
        let mut all = vec!["--network=none"];
        all.extend(flags);
        self.inside_as_is(&all, script)
    }

    /// Runs a script in a container with these flags alone.
    pub fn inside_as_is(&self, flags: &[&str], script: &str) -> Ran {
        let rootfs = self.host.rootfs_flag();
        self.run(&self.arguments(flags, &rootfs, script))
    }

    /// Starts a container that tells by a file in its root when it runs, and ends with its standard input.
    pub fn background(&self, flags: &[&str]) -> Background {
        let rootfs = self.host.rootfs_flag();
        let mut command = self.rabbitc(&self.arguments(flags, &rootfs, "echo up >/up; read end; exit 0"));
        let child = command.stdin(Stdio::piped()).spawn().expect("nsenter runs");
        let sign = self.host.rootfs().join("up");
        eventually("the container runs", || std::fs::metadata(&sign).is_ok_and(|sign| sign.len() > 0));
        std::fs::remove_file(sign).expect("the sign is there");
        Background::of(child)
    }

    /// Runs `rabbitc` in the user's root file system, by a program that takes it for its last arguments.
    pub fn run_by(&self, mut starter: Command, flags: &[&str]) -> Ran {
        starter.arg(binary()).arg(self.state_flag()).arg(self.host.rootfs_flag()).args(flags);
        finish(starter.spawn().expect("nsenter runs"), None)
    }

    /// Runs `/bin/true` in a container, while every clone fails with `errno`.
    pub fn traced(&self, errno: &str) -> Ran {
        let mut strace = self.command("strace");
        strace.args(["-o", "/dev/null", "-e", "trace=clone3,clone"]);
        strace.args(["-e", &format!("inject=clone3,clone:error={errno}")]);
        self.run_by(strace, &["--network=none", "--cmd=/bin/true"])
    }

    /// Takes a file away that was made in the root file system, and says to which user and group it belonged.
    pub fn owner(&self, name: &str) -> (u32, u32) {
        let path = self.host.rootfs().join(name);
        let found = std::fs::metadata(&path).expect("made inside");
        std::fs::remove_file(path).expect("removed");
        (found.uid(), found.gid())
    }

    /// Runs a script that changes /usr/bin, which is put back with this host.
    pub fn change_programs(&self, script: &str) {
        self.host.set_up(&format!(
            "cd {}/own; mount -t overlay -o lowerdir=/usr/bin,upperdir=bin,workdir=bin-work none /usr/bin; {script}",
            self.host.directory().display()
        ));
    }
}

/// Arguments by which `setpriv` starts a program of this user.
pub fn credentials() -> [String; 4] {
    [format!("--reuid={UID}"), format!("--regid={UID}"), "--clear-groups".into(), "--".into()]
}
