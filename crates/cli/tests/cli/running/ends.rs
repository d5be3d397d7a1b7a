//! `kill`, `pause`, `unpause` and `wait`.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::{Scene, container};
use crate::life::Place;
use crate::support::{Background, Host, Ran, eventually};

#[test]
fn kill_sends_the_signal_that_is_named_to_each() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let script = "trap 'echo one >>/got' USR1; echo up >/ready; while :; do sleep 0.05; done";
    let (ready, got) = (host.rootfs().join("ready"), host.rootfs().join("got"));
    let mut running = Background::of(host.script(&["--network=none"], script).spawn().expect("runs"));
    eventually("it runs", || ready.exists());
    let id = host.containers().remove(0);
    for (times, signal) in ["USR1", "SIGUSR1", "10", "-USR1"].into_iter().enumerate() {
        assert_eq!(place.verb("kill", &["-s", signal, &id]).text(), id);
        eventually("it came", || {
            std::fs::read_to_string(&got).unwrap_or_default().lines().count() == times + 1
        });
    }
    place.verb("kill", &["-s", "BAD", &id]).refuses(125, &["BAD"]);
    let some = place.verb("kill", &["nosuch", &id]);
    assert_eq!((some.code(), some.stdout.trim()), (1, id.as_str()), "{some:?}");
    assert_eq!(running.finish().code(), 137);
    for file in [ready, got] {
        std::fs::remove_file(file).expect("it is there");
    }
    host.assert_nothing_left();
}

#[test]
fn all_are_paused_let_go_and_killed_at_once() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let (mut first, one) = container(&host, &[]);
    let (mut second, other) = container(&host, &[]);
    let sorted = |ran: Ran| {
        let mut lines: Vec<String> = ran.text().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let mut both = vec![one.clone(), other];
    both.sort();
    place.verb("pause", &[&one]);
    assert_eq!(sorted(place.verb("pause", &["-a"])).len(), 1, "one stands still already");
    assert_eq!(sorted(place.verb("unpause", &["--all"])), both);
    place.verb("pause", &[&one]);
    assert_eq!(sorted(place.verb("kill", &["-a"])), both, "also the one that is paused");
    assert_eq!((first.finish().code(), second.finish().code()), (137, 137));
    host.assert_nothing_left();
}

#[test]
fn wait_tells_how_one_ended_that_nothing_is_kept_of() {
    let Some(scene) = Scene::new(&[]) else { return };
    let mut waiting = scene.begin("wait", &[&scene.id]);
    let mut paused = scene.begin("wait", &["--condition=paused", "-i", "10ms", &scene.id]);
    std::thread::sleep(Duration::from_millis(100));
    scene.verb("pause", &[&scene.id]);
    assert_eq!(paused.finish().text(), "-1");
    scene.verb("unpause", &[&scene.id]);
    assert!(!waiting.has_ended());
    let Scene { host, running, id } = scene;
    assert_eq!(running.release().code(), 0);
    let waited = waiting.finish();
    // Before Linux 6.15 nobody else learns it.
    assert!(waited.stdout == "0\n" || waited.stderr.contains("nobody knows"), "{waited:?}");
    assert_eq!(Place::of(&host).verb("wait", &["--ignore", &id]).text(), "-1");
    host.assert_nothing_left();
}

#[test]
fn one_that_is_just_being_started_is_waited_for() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let rootfs = host.rootfs_flag();
    let words = ["--name=slow", "-p=8080:80", &rootfs, "/bin/sh", "-c", "exit 7"];
    place.verb("create", &words).text();
    // Before anything of it runs its start waits for this lock, to make the bridge.
    let namespace =
        std::fs::metadata(format!("/proc/{}/ns/net", host.pid())).expect("the holder lives").ino();
    let making = host.state().join(format!("network/{namespace}"));
    std::fs::create_dir_all(&making).expect("made");
    let lock = File::open(&making).expect("opened");
    flock(&lock, FlockOperation::LockExclusive).expect("nobody else has it");
    let begin = |verb: &str| Background::of(place.command(verb, &["slow"]).spawn().expect("nsenter runs"));
    let mut start = begin("start");
    eventually("somebody stands behind it", || place.status("slow") == "running");
    let mut wait = begin("wait");
    std::thread::sleep(Duration::from_millis(300));
    assert!(!wait.has_ended());
    drop(lock);
    assert_eq!((start.finish().code(), wait.finish().text()), (0, "7"));
    place.assert_nothing_left();
}
