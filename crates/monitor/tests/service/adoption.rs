//! A container whose monitor is gone, and the next one that stands behind it.

use std::process::Stdio;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::support::{Container, WANTS_INPUT, WANTS_OUTPUT, starter, until};

/// Kills the monitor of a container; those that lose their parent are this process's children then.
fn kill_monitor(container: &mut Container) {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    container.monitor.kill().unwrap();
    container.monitor.wait().unwrap();
}

fn adopt(container: &mut Container, words: &[&str]) {
    std::fs::remove_file(container.path("ready")).unwrap();
    let words = [&["adopt"], words].concat();
    container.monitor = starter(&container.directory, &words, "").stdin(Stdio::null()).spawn().unwrap();
    container.wait_for("ready");
}

fn reap(pid: i32) {
    waitid(WaitId::Pid(Pid::from_raw(pid).unwrap()), WaitIdOptions::EXITED).unwrap();
}

#[test]
fn container_outlives_its_monitor_and_the_next_one_knows_the_exact_exit_code() {
    let script = "while ! test -e stop; do echo tick; echo t >>ticks; sleep 0.02; done; exit 42";
    let log = "json-file,1000000,2";
    let mut container = Container::start("adopted", &[log], script);
    until("it ticks", || container.path("ticks").exists());
    kill_monitor(&mut container);
    let ticks = || std::fs::read(container.path("ticks")).unwrap().len();
    let before = ticks();
    until("it ticks on", || ticks() > before + 10);
    adopt(&mut container, &[log]);
    let client = container.connect();
    client.send(b'H', &[WANTS_OUTPUT]);
    client.until("tick");
    std::fs::write(container.path("stop"), "").unwrap();
    reap(container.pid());
    assert_eq!(client.receive_all().3, [42, 0, 0, 0, 0]);
    let record = container.end();
    assert!(record.starts_with("{\"code\":42,\"signal\":null,"), "{record}");
    // What came while nobody stood behind it waited in the FIFO.
    let ticks = std::fs::read(container.path("ticks")).unwrap().len() / 2;
    assert_eq!(container.logged().lines().count(), ticks);
}

#[test]
fn signal_that_ends_an_adopted_container_is_known_too() {
    let mut container = Container::start("adopted-signal", &[], "sleep 60");
    kill_monitor(&mut container);
    adopt(&mut container, &[]);
    let pid = container.pid();
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), rustix::process::Signal::TERM).unwrap();
    reap(pid);
    let record = container.end();
    assert!(record.starts_with("{\"code\":143,\"signal\":15,"), "{record}");
}

#[test]
fn exit_code_that_nobody_tells_is_null() {
    let mut container = Container::start("unreaped", &[], "read x; exit 1");
    kill_monitor(&mut container);
    adopt(&mut container, &[]);
    let client = container.connect();
    client.send(b'H', &[WANTS_INPUT]);
    client.send(b'I', b"\n");
    // Whose child it is does not look.
    assert_eq!(client.receive_all().3, [0, 0, 0, 0, 1]);
    assert!(container.end().starts_with("{\"code\":null,\"signal\":null,"));
    reap(container.pid());
}
