//! What the tests of the binary share: a bundle in a directory of its own, the binary, and a look for remains.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod calls;
pub mod killing;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Debian's busybox-static.
const BUSYBOX: &str = "/bin/busybox";
/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_rabbitc-runtime");

/// Whether kernel tests can run here; says why not, in a line that `cargo xtask test` counts.
pub fn can_run() -> bool {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return false;
    }
    if !Path::new(BUSYBOX).exists() {
        println!("skipped: needs {BUSYBOX} (package busybox-static)");
        return false;
    }
    true
}

/// Copies a program, in another process: a copy that this one writes may be inherited by what another test's thread starts just then,
/// and nobody can execute a file that somebody has open to write (ETXTBSY, execve(2)).
pub fn copy_program(from: impl AsRef<OsStr>, to: &Path) {
    let copied = Command::new("cp").arg(from.as_ref()).arg(to).status().expect("cp runs");
    assert!(copied.success(), "{} is copied", to.display());
}

/// Ends a test of the kernel where none can run.
macro_rules! root_only {
    () => {
        if !$crate::support::can_run() {
            return;
        }
    };
}
pub(crate) use root_only;

/// Writes into `/seen` of which standard streams the mount is among the container's.
pub const LOOK: &str = r#"for n in 0 1 2; do
    id=$(grep mnt_id /proc/$$/fdinfo/$n | busybox cut -f 2)
    grep -q "^$id " /proc/self/mountinfo && echo $n own >>/seen || echo $n foreign >>/seen
done"#;

/// A map of `size` users (or groups) from `container` on, who are those from `host` on outside.
pub fn id_map(container: u32, host: u32, size: u32) -> Value {
    json!([{ "containerID": container, "hostID": host, "size": size }])
}

/// A bundle with its state root. Dropped, its containers and its directory are gone.
pub struct Bundle {
    pub path: PathBuf,
    /// Unlike that of any other test on this host.
    pub id: String,
}

impl Bundle {
    /// One that runs `arguments` without a terminal.
    pub fn new(name: &str, arguments: &[&str]) -> Bundle {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("test-{name}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(format!("rabbitc-{id}"));
        let bin = path.join("rootfs/bin");
        std::fs::create_dir_all(&bin).expect("a scratch directory");
        copy_program(BUSYBOX, &bin.join("busybox"));
        for name in
            ["sh", "true", "sleep", "cat", "id", "ps", "tty", "stty", "hostname", "touch", "dd", "grep"]
        {
            std::os::unix::fs::symlink("busybox", bin.join(name)).expect("a link");
        }
        let bundle = Bundle { path, id };
        let made = bundle.command(&["spec"]).arg("--bundle").arg(&bundle.path).output().expect("it runs");
        assert!(made.status.success(), "{made:?}");
        bundle.edit(|config| {
            config["process"]["terminal"] = json!(false);
            config["process"]["args"] = json!(arguments);
        });
        bundle
    }

    /// Changes config.json.
    pub fn edit(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path.join("config.json");
        let text = std::fs::read_to_string(&path).expect("config.json");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        change(&mut config);
        std::fs::write(&path, config.to_string()).expect("written");
    }

    /// A command line of the binary with this bundle's state root.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.arg("--root").arg(self.path.join("state")).args(arguments);
        command.stdin(std::process::Stdio::null());
        command
    }

    /// Runs it.
    pub fn runtime(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    /// Runs it, and it must succeed.
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.runtime(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// `run` in the foreground.
    pub fn run(&self) -> Output {
        let bundle = self.path.display().to_string();
        self.runtime(&["run", "--bundle", &bundle, &self.id])
    }

    /// One for attacks: its scripts want more programs, and its many starts no network, whose making takes long where
    /// others make some at the same time.
    pub fn hostile(name: &str, arguments: &[&str]) -> Bundle {
        let bundle = Bundle::new(name, arguments);
        for name in ["ls", "env", "head"] {
            std::os::unix::fs::symlink("busybox", bundle.rootfs("bin").join(name)).expect("a link");
        }
        bundle.without_namespace("network");
        bundle
    }

    /// Gives it a new namespace of this kind, whichever it had.
    pub fn with_namespace(&self, kind: &str) {
        self.without_namespace(kind);
        self.edit(|config| {
            config["linux"]["namespaces"].as_array_mut().expect("a list").push(json!({ "type": kind }));
        });
    }

    /// Leaves it in the caller's namespace of this kind.
    pub fn without_namespace(&self, kind: &str) {
        self.edit(|config| {
            let namespaces = config["linux"]["namespaces"].as_array_mut().expect("a list");
            namespaces.retain(|namespace| namespace["type"] != kind);
        });
    }

    /// Users of its own, who are those from `first` on outside. Its root stays whose it is.
    pub fn map_users(&self, first: u32) {
        self.with_namespace("user");
        self.edit(|config| {
            for map in ["uidMappings", "gidMappings"] {
                config["linux"][map] = id_map(0, first, 65_536);
            }
        });
    }

    /// Users of its own, who are 100000 and up outside, and to whom its root belongs.
    pub fn give_users(&self) {
        self.map_users(100_000);
        // sysfs is the network namespace's, and must belong to the same users.
        self.with_namespace("network");
        let owned = Command::new("chown").args(["-R", "100000:100000"]).arg(self.rootfs("")).status();
        assert!(owned.expect("chown runs").success());
    }

    /// `run` with a script for the shell of its root, which must end.
    pub fn script(&self, script: &str) -> Output {
        self.edit(|config| config["process"]["args"] = json!(["/bin/sh", "-c", script]));
        self.run_to_its_end()
    }

    /// `run` in the foreground, which must end.
    pub fn run_to_its_end(&self) -> Output {
        let mut command = self.command(&["run", "--bundle"]);
        command.arg(&self.path).arg(&self.id);
        finish(command)
    }

    /// Starts a container that runs a script and stays.
    pub fn start_script(&self, script: &str) {
        self.edit(|config| config["process"]["args"] = json!(["/bin/sh", "-c", script]));
        let bundle = self.path.display().to_string();
        let output = self.quiet(&["run", "--detach", "--bundle", &bundle, &self.id]);
        assert!(output.status.success(), "{output:?}");
    }

    /// A path in its root, as the host has it.
    pub fn rootfs(&self, name: &str) -> PathBuf {
        self.path.join("rootfs").join(name)
    }

    /// An /etc/passwd of its root: root lives in /root-of-image, and 2000 is `web`, of /srv/web.
    pub fn write_accounts(&self) {
        std::fs::create_dir_all(self.rootfs("etc")).expect("made");
        let users = "root:x:0:0:root:/root-of-image:/bin/sh\nweb:x:2000:2000::/srv/web:/bin/sh\n";
        std::fs::write(self.rootfs("etc/passwd"), users).expect("written");
    }

    /// A script of its root.
    pub fn write_program(&self, name: &str, content: &str) {
        let path = self.rootfs("bin").join(name);
        std::fs::write(&path, content).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("its mode");
    }

    /// `create` without descriptors that the container would keep open.
    pub fn create(&self) -> Output {
        let bundle = self.path.display().to_string();
        self.quiet(&["create", "--bundle", &bundle, &self.id])
    }

    /// Runs a command whose container outlives it: its output goes into a file, as a pipe would stay open.
    pub fn quiet(&self, arguments: &[&str]) -> Output {
        let path = self.path.join("output");
        let file = std::fs::File::create(&path).expect("a file");
        let status = self
            .command(arguments)
            .stdout(file.try_clone().expect("a descriptor"))
            .stderr(file)
            .status()
            .expect("it runs");
        let text = std::fs::read(&path).expect("what it wrote");
        Output { status, stdout: text.clone(), stderr: text }
    }

    /// The status that `state` tells.
    pub fn status(&self) -> String {
        let state: Value = serde_json::from_str(&self.succeed(&["state", &self.id])).expect("JSON");
        state["status"].as_str().expect("a status").to_owned()
    }

    /// Waits until `state` tells this status.
    pub fn wait_for(&self, status: &str) {
        eventually(&format!("`{}` becomes {status}", self.id), || self.status() == status);
    }

    /// The pid of the container's init, as `state` tells it.
    pub fn pid(&self) -> i32 {
        let state: Value = serde_json::from_str(&self.succeed(&["state", &self.id])).expect("JSON");
        state["pid"].as_i64().and_then(|pid| pid.try_into().ok()).expect("a pid")
    }

    /// The groups of its containers, one in each hierarchy that is mounted.
    pub fn groups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        find_cgroups(Path::new("/sys/fs/cgroup"), &self.id, 4, &mut found);
        found
    }

    /// Everything that is left of this bundle's containers: state, cgroups, processes, mounts.
    pub fn remains(&self) -> Vec<String> {
        let mut found: Vec<String> = std::fs::read_dir(self.path.join("state"))
            .map(|entries| entries.flatten().map(|entry| entry.path().display().to_string()).collect())
            .unwrap_or_default();
        found.extend(self.groups().iter().map(|group| group.display().to_string()));
        let path = self.path.display().to_string();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
        found.extend(mounts.lines().filter(|line| line.contains(&path)).map(str::to_owned));
        found.extend(self.processes());
        found
    }

    /// Processes whose root or command line leads to this bundle.
    fn processes(&self) -> Vec<String> {
        use std::os::unix::fs::MetadataExt;
        let path = self.path.display().to_string();
        let identity = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
        let rootfs = identity(&self.rootfs(""));
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("procfs").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            if pid == std::process::id() {
                continue;
            }
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let is_inside = rootfs.is_some() && identity(&entry.path().join("root")) == rootfs;
            if is_inside || String::from_utf8_lossy(&line).contains(&path) {
                found.push(format!("process {pid}: {}", String::from_utf8_lossy(&line).replace('\0', " ")));
            }
        }
        found
    }

    /// Nothing is left; what is just dying is waited for.
    pub fn assert_clean(&self, when: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let remains = self.remains();
            if remains.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{when}: {remains:#?} is left");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let ids = self.command(&["list", "--quiet"]).output().map(|output| output.stdout).unwrap_or_default();
        for id in String::from_utf8_lossy(&ids).lines() {
            let _ = self.runtime(&["delete", "--force", id]);
        }
        let removed = std::fs::remove_dir_all(&self.path);
        if !std::thread::panicking() {
            removed.expect("the bundle can be removed: nothing is mounted in it");
        }
    }
}

fn find_cgroups(directory: &Path, needle: &str, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if entry.file_name().to_string_lossy().contains(needle) {
            found.push(entry.path());
        } else if depth > 0 {
            find_cgroups(&entry.path(), needle, depth - 1, found);
        }
    }
}

/// Something of the host that attacks aim at, with what was there before.
pub struct Victim {
    pub path: PathBuf,
    mounts: String,
}

impl Victim {
    /// A directory beside the root of `bundle`, with a file, a directory and a FIFO in it.
    pub fn beside(bundle: &Bundle) -> Victim {
        let path = bundle.path.join("victim");
        std::fs::create_dir_all(path.join("directory")).expect("made");
        std::fs::write(path.join("file"), "of the host\n").expect("written");
        Victim { path, mounts: std::fs::read_to_string("/proc/self/mountinfo").expect("a mount table") }
    }

    /// Nothing of it was read into `output`, changed, added or mounted on.
    pub fn assert_untouched(&self, what: &str, output: &Output) {
        assert!(!text(output).contains("of the host"), "{what}: {output:?}");
        let mut names: Vec<String> = std::fs::read_dir(&self.path)
            .expect("there")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["directory", "file"], "{what}");
        assert_eq!(std::fs::read_dir(self.path.join("directory")).expect("there").count(), 0, "{what}");
        let file = self.path.join("file");
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "of the host\n", "{what}");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("there").permissions());
        assert_eq!(mode & 0o777, 0o644, "{what}");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
        let known: Vec<&str> = self.mounts.lines().collect();
        let path = self.path.parent().expect("has one").display().to_string();
        let added: Vec<&str> =
            mounts.lines().filter(|line| !known.contains(line) && line.contains(&path)).collect();
        assert!(added.is_empty(), "{what}: {added:#?}");
    }
}

/// Waits for a command's end, which must come.
pub fn finish(mut command: impl std::borrow::BorrowMut<Command>) -> Output {
    use std::process::Stdio;
    let command = command.borrow_mut();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let pid = rustix::process::Pid::from_child(&child);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(Duration::from_secs(60)) {
        Ok(output) => output.expect("it is waited for"),
        Err(_) => {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            panic!("no end of {command:?}");
        }
    }
}

/// Waits for something that takes the kernel a moment.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// stderr as text.
pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// stdout as text.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
