//! What looks after a container: time and again, and no longer than that runs.

use std::path::Path;

use crate::support::{Container, until};

#[test]
fn container_is_looked_after_time_and_again_until_it_ends() {
    let check = "check=echo looked >>checks";
    let mut container = Container::start("checks", &[check], "read x; exit 3");
    let checks = container.path("checks");
    let count = || std::fs::read_to_string(&checks).unwrap_or_default().lines().count();
    until("it was looked after", || count() > 3);
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", container.monitor.id()));
    // One may be at it.
    assert!(children.unwrap().split_whitespace().count() <= 2, "nobody is left to be reaped");
    let client = container.connect();
    client.send(b'H', &[crate::support::WANTS_INPUT]);
    client.send(b'I', b"x\n");
    assert!(container.end().starts_with("{\"code\":3,"));
    let last = count();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(count(), last);
}

#[test]
fn check_that_hangs_ends_with_the_container_and_nothing_of_it_stays() {
    let check = "check=echo $$ >>checks; sleep 1000; :";
    let mut container =
        Container::start("hanging", &[check], "while ! test -s checks; do sleep 0.05; done; exit 4");
    assert!(container.end().starts_with("{\"code\":4,"));
    let shells = std::fs::read_to_string(container.path("checks")).unwrap();
    assert_eq!(shells.lines().count(), 1, "one at a time");
    let shell = Path::new("/proc").join(shells.trim());
    until("it is gone", || !shell.join("exe").exists());
}
