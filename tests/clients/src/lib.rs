//! One client's script with one runtime, in a lab of its own, and the transcript that it writes. Leaves nothing.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const CGROUP_VIEW: &str = include_str!("../../../xtask/src/cgroup_view.sh");
const LAB: &str = include_str!("../tests/scripts/lab.sh");
const PRELUDE: &str = include_str!("../tests/scripts/prelude.sh");

/// A client's script, and what it needs.
pub struct Session<'a> {
    /// Shell, after the prelude.
    pub script: &'a str,
    /// Settings before it: `NAME=value` lines of shell.
    pub settings: &'a str,
    /// Shell that runs `/run/tested/session`, as whom it wants.
    pub start: &'a str,
    /// Programs that must be there.
    pub programs: &'a [&'a str],
}

/// [`Session::start`] of sessions of root.
pub const AS_ROOT: &str = "exec sh /run/tested/session";

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

/// Why no criu works here, which is found by PATH as the clients and runtimes find it.
fn missing_criu() -> Option<String> {
    match Command::new("criu").arg("check").output() {
        Err(error) => Some(format!("criu: {error} (package criu, of Debian sid)")),
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            let told = told.lines().next().unwrap_or("nothing");
            Some(format!("a criu that works on this kernel; this one says: {told}"))
        }
    }
}

impl Session<'_> {
    /// Whether it can run here; says why not.
    pub fn can_run(&self) -> bool {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return false;
        }
        let base = ["busybox", "unshare", "script", "ip"];
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
        let directory = std::env::temp_dir().join(&name);
        std::fs::create_dir(&directory).expect("a directory");
        let session = format!("{PRELUDE}\n{}\n{}", self.settings, self.script);
        for (name, text) in [("session", session.as_str()), ("start", self.start)] {
            std::fs::write(directory.join(name), text).expect("a file");
        }
        let mut command = Command::new("sh");
        command.args(["-c", CGROUP_VIEW, "cgroup-view", &name, "sh", "-c", LAB, "lab"]);
        command.arg(runtime).arg(&directory).stdin(Stdio::null());
        // A signal to the test's terminal must not keep the script from tidying up.
        let output = command.process_group(0).output().expect("sh runs");
        std::fs::remove_dir_all(&directory).expect("removed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {}\n{text}\n{told}", runtime.display(), output.status);
        text
    }

    /// The same as [`Session::check`], where a criu works.
    pub fn check_with_criu(&self, expected: &str, reference: &str) {
        if !self.can_run() {
            return;
        }
        match missing_criu() {
            Some(missing) => println!("skipped: needs {missing}"),
            None => self.check(expected, reference),
        }
    }

    /// With the runtime under test and with the one that the client's users have, the transcript is the same, and on any
    /// host has at least the expected lines.
    pub fn check(&self, expected: &str, reference: &str) {
        if !self.can_run() {
            return;
        }
        let tested = self.transcript(&runtime());
        assert_has(expected, &tested);
        match program(reference) {
            Some(path) => assert_same(&self.transcript(&path), &tested, reference),
            None => println!("skipped: the comparison with `{reference}`, which is not installed"),
        }
    }
}

/// Each expected line is there, in their order. Between them is what a client words in its own way, or does otherwise
/// on the other version of cgroups.
fn assert_has(expected: &str, found: &str) {
    let mut lines = found.lines();
    if let Some(missing) = expected.lines().find(|line| !lines.any(|other| other == *line)) {
        panic!("with rabbitc-runtime, `{missing}` is missing or not in its place; the transcript:\n{found}");
    }
}

fn assert_same(reference: &str, found: &str, name: &str) {
    if reference == found {
        return;
    }
    let line = reference.lines().zip(found.lines()).position(|(one, other)| one != other);
    let line = line.unwrap_or_else(|| reference.lines().count().min(found.lines().count()));
    panic!(
        "from line {} on not as with {name}; with rabbitc-runtime:\n{found}\nwith {name}:\n{reference}",
        line + 1
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_lines_may_have_others_between_them() {
        assert_has("## run: 0\nhello\n## stop: 0", "## run: 0\nhello\nError: new words\n## stop: 0\n");
    }

    #[test]
    #[should_panic(expected = "`hello` is missing")]
    fn expected_lines_are_there_in_their_order() {
        assert_has("## run: 0\nhello", "hello\n## run: 0\n");
    }
}
