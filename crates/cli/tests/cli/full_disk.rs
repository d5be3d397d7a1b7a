//! A disk without room: whoever fills it can be ended, and what could not be written is told.

use crate::life::Place;
use crate::support::{Host, eventually};

/// A host with a small file system in memory for what is kept.
fn host() -> Option<Host> {
    let mut host = Host::new()?;
    host.set_up(&format!("mkdir {0}; mount -t tmpfs -o size=2m tmpfs {0}", store(&host)));
    host.accept_mounts();
    Some(host)
}

fn store(host: &Host) -> String {
    host.directory().join("store").display().to_string()
}

/// Not a byte has room any more.
fn fill(host: &Host) {
    host.shell(&format!("cat /dev/zero >>{}/fill 2>/dev/null; true", store(host)));
}

#[test]
fn containers_are_ended_and_removed_though_the_disk_is_full() {
    let Some(host) = host() else { return };
    let place = Place::of(&host);
    let deaf = "trap '' TERM; while :; do sleep 0.1; done";
    for name in ["killed", "stopped", "removed"] {
        let name = format!("--name={name}");
        assert_eq!(place.script("run", &["-d", "--restart=always", &name], deaf).code(), 0);
    }
    assert_eq!(place.script("run", &["-d", "--rm", "--name=passing"], deaf).code(), 0);
    fill(&host);
    assert_eq!(place.verb("kill", &["killed"]).text(), "killed");
    eventually("it has ended", || place.status("killed") == "exited");
    fill(&host);
    assert_eq!(place.verb("stop", &["-t1", "stopped"]).text(), "stopped");
    fill(&host);
    assert_eq!(place.verb("rm", &["-f", "removed"]).text(), "removed");
    fill(&host);
    assert_eq!(place.verb("stop", &["-t0", "passing"]).text(), "passing");
    eventually("it is gone", || place.verb("container exists", &["passing"]).code() == 1);
    // How they ended had room, and that somebody stopped them is not forgotten.
    host.shell(&format!("rm {}/fill", store(&host)));
    for name in ["killed", "stopped"] {
        assert_eq!(
            (place.status(name), place.field(name, ".State.ExitCode")),
            ("exited".into(), "137".into())
        );
        assert_eq!(place.field(name, ".RestartCount"), "0", "{name}");
        assert_eq!(place.field(name, ".State.StoppedByUser"), "true", "{name}");
    }
    assert_eq!(place.verb("rm", &["killed", "stopped"]).text(), "killed\nstopped");
    place.assert_nothing_left();
}

#[test]
fn output_that_the_disk_takes_no_more_of_is_told_while_the_container_runs() {
    let Some(host) = host() else { return };
    let place = Place::of(&host);
    let talks = "while :; do seq 1000; sleep 0.1; done";
    assert_eq!(place.script("run", &["-d", "--name=talks"], talks).code(), 0);
    eventually("it talks", || place.verb("logs", &["--tail=1", "talks"]).text() == "1000");
    assert!(!place.verb("why", &["talks"]).text().contains("could not be kept"));
    fill(&host);
    let told = "bytes of its output could not be kept: is the disk full?";
    eventually("what is lost is told", || {
        let why = place.verb("why", &["talks"]);
        why.text().starts_with("`talks` runs\n")
            && why.text().contains("so far ")
            && why.text().contains(told)
    });
    assert_eq!(place.verb("rm", &["-f", "talks"]).text(), "talks");
    place.assert_nothing_left();
}

#[test]
fn log_in_a_journal_that_is_not_there_is_refused_before_anything_is_made() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    host.set_up("mount -t tmpfs tmpfs /run");
    for (verb, flags) in [("run", &["-d"][..]), ("run", &["--name=job"]), ("create", &["--name=job"])] {
        let ran = place.script(verb, &[flags, &["--log-driver=journald"]].concat(), "echo lost");
        ran.refuses(125, &["--log-driver: ", "journal", "`/run/systemd/journal/socket`"]);
    }
    assert_eq!(place.verb("ps", &["-aq"]).text(), "");
    host.set_up("umount --lazy /run");
    place.assert_nothing_left();
}
