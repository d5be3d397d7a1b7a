//! One system call of a command after the other, for tests that do something to each, and what such commands begin with.

use std::collections::HashMap;
use std::process::{Command, Stdio};

use super::Bundle;

/// The calls of a command that is left alone, as (name, how many before it had this name), in order.
pub fn calls(bundle: &Bundle, prepare: &dyn Fn(&Bundle), arguments: &[&str]) -> Vec<(String, usize)> {
    prepare(bundle);
    let log = bundle.path.join("calls");
    let status =
        strace(bundle, &["-o", &log.display().to_string()], arguments).status().expect("strace runs");
    assert!(status.success(), "{arguments:?} succeeds when it is only watched: {status}");
    bundle.succeed(&["delete", "--force", &bundle.id]);
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut calls = Vec::new();
    for line in std::fs::read_to_string(&log).expect("a log").lines() {
        let Some((name, _)) = line.split_once('(').filter(|(name, _)| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        }) else {
            continue;
        };
        let count = counts.entry(name.to_owned()).or_default();
        *count += 1;
        calls.push((name.to_owned(), *count));
    }
    calls
}

/// The binary below strace, which follows no children; it says nothing.
pub fn strace(bundle: &Bundle, options: &[&str], arguments: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command
        .args(options)
        .arg("--")
        .arg(super::BINARY)
        .arg("--root")
        .arg(bundle.path.join("state"))
        .args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Whether strace is there.
pub fn has_strace() -> bool {
    let mut command = Command::new("strace");
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// What every case begins with: nothing, a created container, a running one.
pub fn nothing(_: &Bundle) {}

pub fn created(bundle: &Bundle) {
    let output = bundle.create();
    assert!(output.status.success(), "{output:?}");
}

pub fn running(bundle: &Bundle) {
    created(bundle);
    bundle.succeed(&["start", &bundle.id]);
}

pub fn paused(bundle: &Bundle) {
    running(bundle);
    bundle.succeed(&["pause", &bundle.id]);
}
