//! One client's script with one runtime, in a lab of its own, and the transcript that it writes. Leaves nothing.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const LAB: &str = include_str!("../tests/scripts/lab.sh");
const PRELUDE: &str = include_str!("../tests/scripts/prelude.sh");

/// A client's script, and what it needs.
pub struct Session<'a> {
    /// Shell, after the prelude.
    pub script: &'a str,
    /// Settings before it: `NAME=value` lines of shell.
    pub settings: &'a str,
    /// Programs that must be there.
    pub programs: &'a [&'a str],
}

/// The runtime under test: as `cargo xtask test` built it, else the debug build beside this test.
pub fn runtime() -> PathBuf {
    if let Some(path) = std::env::var_os("RABBITC_RUNTIME_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().expect("this program's path");
    let built = own.parent().and_then(Path::parent).expect("a target directory").join("rabbitc-runtime");
    assert!(built.exists(), "no `{}`: run `cargo build -p rabbitc-runtime` first", built.display());
    built
}

/// Where a program is.
pub fn program(name: &str) -> Option<PathBuf> {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .into_iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.exists())
}

impl Session<'_> {
    /// Whether it can run here; says why not.
    pub fn can_run(&self) -> bool {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return false;
        }
        let base = ["busybox", "unshare", "script", "awk", "ip"];
        let missing = self.programs.iter().chain(&base).find(|name| program(name).is_none());
        if let Some(name) = missing {
            println!("skipped: needs `{name}`, which is not installed");
        }
        missing.is_none()
    }

    /// Runs it with a runtime and returns its transcript.
    pub fn transcript(&self, runtime: &Path) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("rabbitc-clients-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(&name);
        std::fs::write(&path, format!("{PRELUDE}\n{}\n{}", self.settings, self.script)).expect("a file");
        let mut command = Command::new("sh");
        command.args(["-c", LAB, "lab", &name]).arg(runtime).arg(&path).stdin(Stdio::null());
        // A signal to the test's terminal must not keep the lab from tidying up.
        let output = command.process_group(0).output().expect("sh runs");
        std::fs::remove_file(&path).expect("removed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {}\n{text}\n{told}", runtime.display(), output.status);
        text
    }

    /// With the runtime under test and with the one that the client's users have, the transcript is the expected one.
    pub fn check(&self, expected: &str, reference: &str) {
        if !self.can_run() {
            return;
        }
        let tested = self.transcript(&runtime());
        assert_same(expected, &tested, "rabbitc-runtime");
        match program(reference) {
            Some(path) => assert_same(expected, &self.transcript(&path), reference),
            None => println!("skipped: the comparison with `{reference}`, which is not installed"),
        }
    }
}

fn assert_same(expected: &str, found: &str, runtime: &str) {
    if expected == found {
        return;
    }
    let line = expected.lines().zip(found.lines()).position(|(one, other)| one != other);
    let line = line.unwrap_or_else(|| expected.lines().count().min(found.lines().count()));
    panic!("with {runtime}, from line {} on, not as expected; its transcript:\n{found}", line + 1);
}
