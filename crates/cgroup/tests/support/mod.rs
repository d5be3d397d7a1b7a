//! What the tests on the real kernel share: the layout or why there is none, a group that goes with its test, a shell.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rabbitc_cgroup::{Cgroup, CgroupPath, Layout};

/// A group that goes with the test, whatever becomes of the test.
pub struct Scratch(pub Cgroup);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        if let Err(error) = self.0.remove() {
            eprintln!("left behind: {error}");
        }
    }
}

impl std::ops::Deref for Scratch {
    type Target = Cgroup;
    fn deref(&self) -> &Cgroup {
        &self.0
    }
}

/// The layout, or the reason why a test is skipped.
pub fn layout() -> Option<Layout> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return None;
    }
    match Layout::detect() {
        Ok(layout) => Some(layout),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

/// As [`layout`], with a hierarchy that has `controller`.
pub fn layout_with(controller: &str) -> Option<Layout> {
    let layout = layout()?;
    if layout.has(controller) {
        return Some(layout);
    }
    println!("skipped: no hierarchy has the controller `{controller}`");
    None
}

pub fn unique_parent() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("rabbitc-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn scratch(layout: &Layout) -> Scratch {
    let path = CgroupPath::in_own_parent(&unique_parent(), "box").expect("a good path");
    Scratch(Cgroup::create(layout, &path).expect("a new group"))
}

/// A shell that waits for its gate before it runs `script`, so that it can be moved first.
pub fn gated(script: &str) -> Child {
    Command::new("/bin/sh")
        .args(["-c", &format!("read gate; {script}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell")
}

pub fn open_gate(child: &mut Child) {
    child.stdin.take().expect("the gate").write_all(b"go\n").expect("an open gate");
}
