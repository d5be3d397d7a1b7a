//! What the tests of the binary share: a bundle in a directory of its own, the binary, and a look for remains.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Debian's busybox-static.
const BUSYBOX: &str = "/bin/busybox";
/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_rabbitc-runtime");

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
        std::fs::copy(BUSYBOX, bin.join("busybox")).expect("busybox");
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

    /// Everything that is left of this bundle's containers: state, cgroups, processes, mounts.
    pub fn remains(&self) -> Vec<String> {
        let mut found: Vec<String> = std::fs::read_dir(self.path.join("state"))
            .map(|entries| entries.flatten().map(|entry| entry.path().display().to_string()).collect())
            .unwrap_or_default();
        find_cgroups(Path::new("/sys/fs/cgroup"), &self.id, 4, &mut found);
        let path = self.path.display().to_string();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
        found.extend(mounts.lines().filter(|line| line.contains(&path)).map(str::to_owned));
        found.extend(self.processes());
        found
    }

    /// Processes whose root or command line leads to this bundle.
    fn processes(&self) -> Vec<String> {
        let path = self.path.display().to_string();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("procfs").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            if pid == std::process::id() {
                continue;
            }
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&path) {
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

fn find_cgroups(directory: &Path, needle: &str, depth: usize, found: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if entry.file_name().to_string_lossy().contains(needle) {
            found.push(entry.path().display().to_string());
        } else if depth > 0 {
            find_cgroups(&entry.path(), needle, depth - 1, found);
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
