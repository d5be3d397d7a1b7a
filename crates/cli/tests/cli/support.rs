//! Owns the hosts of the tests: a network and a mount namespace each, a state directory, a root file system, and the
//! look for what is left of them. The namespaces that the tests start in are never changed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// No wait is longer than this: only a failing test ever waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Programs of a container's root file system.
const APPLETS: [&str; 34] = [
    "sh", "ps", "cat", "ls", "echo", "true", "false", "sleep", "stty", "mount", "umount", "unshare", "id",
    "readlink", "hostname", "wget", "httpd", "head", "dd", "touch", "env", "ip", "kill", "test", "rm",
    "mkdir", "seq", "wc", "tty", "ping", "grep", "tail", "md5sum", "nproc",
];

/// Says why a test does not run, where the runner counts it.
pub fn skip(why: &str) {
    println!("skipped: {why}");
    if let Some(log) = std::env::var_os("RABBITC_SKIP_LOG") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(log);
        // The line on standard output says it as well.
        let _ = file.and_then(|mut file| writeln!(file, "{why}"));
    }
}

/// Whether a program of the distribution is there; says so if not.
pub fn has_program(name: &str) -> bool {
    let found = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|directory| Path::new(directory).join(name).exists());
    if !found {
        skip(&format!("no `{name}` on this machine"));
    }
    found
}

/// Whether a hierarchy of this host has the cgroup controller, which v1 calls `v1`.
pub fn has_controller(name: &str, v1: &str) -> bool {
    let v2 = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].iter().any(|root| {
        std::fs::read_to_string(format!("{root}/cgroup.controllers")).is_ok_and(|all| all.contains(name))
    });
    v2 || Path::new("/sys/fs/cgroup").join(v1).join("cgroup.procs").exists()
}

/// Polls until `what` holds.
pub fn eventually(sentence: &str, mut what: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < end, "this never came true: {sentence}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The program under test.
pub fn binary() -> PathBuf {
    std::env::var_os("RABBITC_BIN").map_or_else(|| env!("CARGO_BIN_EXE_rabbitc").into(), PathBuf::from)
}

/// Copies a program, in another process: a copy that this one writes may be inherited by what another test's thread starts just then,
/// and nobody can execute a file that somebody has open to write (ETXTBSY, execve(2)).
pub fn copy_program(from: impl AsRef<OsStr>, to: &Path) {
    let copied = Command::new("cp").arg(from.as_ref()).arg(to).status().expect("cp runs");
    assert!(copied.success(), "{} is copied", to.display());
}

/// What a command that has ended left to see.
#[derive(Debug)]
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// As a shell would show it.
    pub fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Standard output without white space at its ends; the command must have succeeded.
    pub fn text(&self) -> &str {
        assert_eq!(self.code(), 0, "{self:?}");
        self.stdout.trim()
    }

    /// The command must have failed as rabbitc's own failures do: with `code`, one message that has all of `parts`,
    /// and a remedy.
    pub fn refuses(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code(), code, "{self:?}");
        let messages = self.stderr.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(messages, 1, "one message: {}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "the message lacks {part:?}: {}", self.stderr);
        }
        assert!(self.stderr.contains("  hint: "), "the message lacks a remedy: {}", self.stderr);
        assert!(!self.stderr.contains("not taken back"), "{}", self.stderr);
    }
}

/// Feeds `input`, waits with a deadline, and reads both outputs meanwhile.
pub fn finish(mut child: Child, input: Option<Vec<u8>>) -> Ran {
    let feeder = child.stdin.take().zip(input).map(|(mut pipe, bytes)| {
        std::thread::spawn(move || {
            // Whoever does not read all of it has its reasons.
            let _ = pipe.write_all(&bytes);
        })
    });
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            let status = child.wait();
            panic!("no end of it: {status:?}");
        }
        std::thread::sleep(Duration::from_millis(3));
    };
    if let Some(feeder) = feeder {
        feeder.join().expect("the feeder does not panic");
    }
    let read = |thread: std::thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&thread.join().expect("the reader does not panic")).into_owned()
    };
    let ran = Ran { status, stdout: read(stdout), stderr: read(stderr) };
    assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("(os error"), "{ran:?}");
    ran
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// A host of the test's own: its network, its mounts, its state directory.
pub struct Host {
    directory: PathBuf,
    holder: Child,
    mounts: usize,
    cgroups: BTreeSet<PathBuf>,
}

impl Host {
    /// Makes one; none where the test may not, which is said.
    pub fn new() -> Option<Host> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            skip("needs root");
            return None;
        }
        if !["unshare", "nsenter", "env", "ip", "busybox"].into_iter().all(has_program) {
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // No name begins with another host's: processes are found, and ended, by it.
        let name = format!("rabbitc-cli-{}-{number:04}", std::process::id());
        let directory =
            std::env::temp_dir().canonicalize().expect("a directory for temporary files").join(name);
        let rootfs = directory.join("rootfs");
        std::fs::create_dir_all(rootfs.join("bin")).expect("a root file system");
        copy_program("/bin/busybox", &rootfs.join("bin/busybox"));
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(applet)).expect("a link");
        }
        // Shared propagation, as systemd sets it up: a mount of a container that leaks would show here.
        let script = "ip link set lo up && mount --make-rshared / && echo ready && read -r end";
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut ready = [0u8; 6];
        let answer = holder.stdout.as_mut().expect("it is piped").read_exact(&mut ready);
        assert!(answer.is_ok() && &ready == b"ready\n", "the namespaces of the test's host are made");
        let mut host = Host { directory, holder, mounts: 0, cgroups: BTreeSet::new() };
        host.mounts = host.mount_table().lines().count();
        host.cgroups = empty_groups();
        Some(host)
    }

    /// Where all of it lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A root file system with busybox.
    pub fn rootfs(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    /// Where rabbitc keeps its state.
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// The process that keeps the namespaces.
    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// The mounts of this host.
    pub fn mount_table(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/mountinfo", self.pid())).expect("the holder lives")
    }

    /// Takes the mounts that a test itself has made here for those that were there before.
    pub fn accept_mounts(&mut self) {
        self.mounts = self.mount_table().lines().count();
    }

    /// A program on this host, in place of nsenter: its pid is the child's.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.pid())).args(["--net", "--mount", "--"]);
        // Whatever started the tests may ignore some, as the background of a script does.
        command.args(["env", "--default-signal=HUP,INT,QUIT,TERM"]).arg(program);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a script of the host's shell; it must succeed.
    pub fn shell(&self, script: &str) -> String {
        let mut command = self.command("sh");
        command.args(["-c", script]);
        finish(command.spawn().expect("nsenter runs"), None).text().to_owned()
    }

    /// `rabbitc` on this host.
    pub fn rabbitc(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(binary());
        let verb = arguments.first().filter(|word| ["plan", "run", "create"].contains(word));
        command.args(verb).arg(format!("--state-dir={}", self.state().display()));
        command.args(arguments.iter().skip(usize::from(verb.is_some())));
        command
    }

    /// Runs `rabbitc` to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        finish(self.rabbitc(arguments).spawn().expect("nsenter runs"), None)
    }

    /// `--rootfs=…`, to be put among the arguments.
    pub fn rootfs_flag(&self) -> String {
        format!("--rootfs={}", self.rootfs().display())
    }

    /// `rabbitc` in the root file system of this host, with a script for its shell.
    pub fn script(&self, flags: &[&str], script: &str) -> Command {
        let rootfs = self.rootfs_flag();
        let mut arguments = vec![rootfs.as_str()];
        arguments.extend(flags);
        arguments.extend(["--", "/bin/sh", "-c", script]);
        self.rabbitc(&arguments)
    }

    /// Runs a script in a container to its end.
    pub fn inside(&self, flags: &[&str], script: &str) -> Ran {
        finish(self.script(flags, script).spawn().expect("nsenter runs"), None)
    }

    /// Starts a container whose script writes `name` into its root when it runs; returns when it has.
    pub fn background(&self, flags: &[&str], name: &str, script: &str) -> Background {
        let script = format!("echo up > /{name}; {script}\nexit 0");
        let mut command = self.script(flags, &script);
        command.stdin(Stdio::piped());
        let child = command.spawn().expect("nsenter runs");
        let mut background = Background::of(child);
        let sign = self.rootfs().join(name);
        eventually("the container runs", || {
            if background.has_ended() {
                panic!("it ended early: {:?}", background.finish());
            }
            std::fs::metadata(&sign).is_ok_and(|sign| sign.len() > 0)
        });
        std::fs::remove_file(sign).expect("the sign is there");
        background
    }

    /// Ids of the containers that are recorded.
    pub fn containers(&self) -> Vec<String> {
        names(&self.state().join("containers"))
    }

    /// The directories of a container's cgroup, in every hierarchy.
    pub fn groups_of(id: &str) -> Vec<PathBuf> {
        groups().into_iter().filter(|path| path.ends_with(format!("rabbitc-{id}"))).collect()
    }

    /// Processes that have to do with this host's containers.
    pub fn processes(&self) -> Vec<String> {
        let shown = |pid: &String| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            format!("process {pid} `{}`", String::from_utf8_lossy(&command).replace('\0', " ").trim_end())
        };
        self.pids().iter().map(shown).collect()
    }

    fn pids(&self) -> Vec<String> {
        let sign = self.directory.to_string_lossy().into_owned();
        let concerned = |pid: &String| {
            // A container's root is mounted from below the directory.
            ["cmdline", "mountinfo"].into_iter().any(|file| {
                let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                String::from_utf8_lossy(&bytes).contains(&sign)
            })
        };
        let mut pids = names(Path::new("/proc"));
        pids.retain(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        // The holder shows mounts that a test itself makes there.
        pids.retain(|pid| *pid != self.pid().to_string() && concerned(pid));
        pids
    }

    /// What is there now and was not when the host was made, cgroups apart.
    fn remains(&self) -> Vec<String> {
        let mut found = self.processes();
        let links = self.shell("ip -oneline link show");
        found.extend(links.lines().filter(|line| !line.contains(": lo:")).map(|line| format!("link {line}")));
        if Path::new("/usr/sbin/nft").exists() {
            let tables = self.shell("nft list tables");
            found.extend(
                tables.lines().filter(|line| line.contains("rabbitc")).map(|line| format!("nft {line}")),
            );
        }
        let mounts = self.mount_table();
        if mounts.lines().count() != self.mounts {
            found.push(format!("mounts: {mounts}"));
        }
        for directory in ["cni", "containers", "network", "roots", "scratch", "user-ids"] {
            let names = names(&self.state().join(directory));
            found.extend(names.into_iter().map(|name| format!("state `{directory}/{name}`")));
        }
        let rootfs: Vec<String> = names(&self.rootfs()).into_iter().filter(|name| name != "bin").collect();
        found.extend(rootfs.into_iter().map(|name| format!("`{name}` in the root file system")));
        found
    }

    /// Nothing may be left: no process, link, rule, mount, state, mount point or cgroup. The kernel takes dead
    /// namespaces apart in its own time, and the network stays a moment for the next container.
    pub fn assert_nothing_left(&self) {
        let end = Instant::now() + PATIENCE;
        // A group that another test leaves empty for a moment goes again; one that is left stays.
        let mut groups: BTreeSet<PathBuf> = empty_groups().difference(&self.cgroups).cloned().collect();
        loop {
            let mut remains = self.remains();
            if !groups.is_empty() {
                let now = empty_groups();
                groups.retain(|group| now.contains(group));
                remains.extend(groups.iter().map(|group| format!("cgroup `{}`", group.display())));
            }
            if remains.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "left behind:\n  {}", remains.join("\n  "));
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Runs a script of the host's shell that only sets the scene.
    pub fn set_up(&self, script: &str) {
        self.shell(&format!("set -e; {script}"));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A test that failed may have left some.
        for pid in self.pids() {
            let _ = Command::new("kill").args(["-KILL", &pid]).stderr(Stdio::null()).status();
        }
        if std::thread::panicking() && self.state().exists() {
            // The next command removes what is left of the killed ones.
            let mut sweep =
                self.rabbitc(&[&self.rootfs_flag(), "--network=none", "--overlay", "--cmd=/bin/true"]);
            let _ = sweep.output();
        }
        // Its standard input ends, and with the process its namespaces.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A `rabbitc` that runs; killed with its test.
pub struct Background {
    child: Option<Child>,
}

impl Background {
    /// Takes a child over.
    pub fn of(child: Child) -> Background {
        Background { child: Some(child) }
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("it was not finished yet")
    }

    /// Its pid.
    pub fn pid(&mut self) -> u32 {
        self.child().id()
    }

    /// Sends it a signal by its name.
    pub fn signal(&mut self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Whether it is over.
    pub fn has_ended(&mut self) -> bool {
        self.child().try_wait().expect("a child can be waited for").is_some()
    }

    /// Waits for its end.
    pub fn finish(&mut self) -> Ran {
        finish(self.child.take().expect("it was not finished yet"), None)
    }

    /// Ends its standard input, for which scripts wait, and waits for its end.
    pub fn release(mut self) -> Ran {
        drop(self.child().stdin.take());
        self.finish()
    }

    /// Reads from its standard output.
    pub fn read_exact(&mut self, bytes: &mut [u8]) {
        let pipe = self.child().stdout.as_mut().expect("it is piped");
        pipe.read_exact(bytes).expect("it writes");
    }

    /// Writes to its standard input.
    pub fn write(&mut self, bytes: &[u8]) {
        let pipe = self.child().stdin.as_mut().expect("it is piped");
        pipe.write_all(bytes).expect("somebody reads");
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Names in a directory, sorted; none where it does not exist.
pub fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Every cgroup of a container, wherever the hierarchies are.
fn groups() -> BTreeSet<PathBuf> {
    fn below(directory: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) {
        for name in names(directory) {
            let path = directory.join(&name);
            if name.starts_with("rabbitc-") {
                found.insert(path);
            } else if depth > 0 && path.join("cgroup.procs").exists() {
                below(&path, depth - 1, found);
            }
        }
    }
    let mut found = BTreeSet::new();
    let top = Path::new("/sys/fs/cgroup");
    below(top, 3, &mut found);
    for hierarchy in names(top) {
        below(&top.join(hierarchy), 3, &mut found);
    }
    found
}

fn empty_groups() -> BTreeSet<PathBuf> {
    let has_no_process = |path: &PathBuf| {
        std::fs::read_to_string(path.join("cgroup.procs")).is_ok_and(|processes| processes.is_empty())
    };
    // That of a pod has its containers' in it.
    let has_no_group = |path: &PathBuf| {
        let inside = std::fs::read_dir(path).into_iter().flatten().flatten();
        !inside.into_iter().any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    };
    groups().into_iter().filter(|path| has_no_process(path) && has_no_group(path)).collect()
}
