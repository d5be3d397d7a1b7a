//! The caller's standard input: a container has it only where that was asked for.

use std::fs::File;
use std::io::Seek;
use std::process::Stdio;

use crate::life::Place;
use crate::support::{Host, Ran, finish};

#[test]
fn input_is_left_to_the_caller_where_nobody_asks_for_it() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let rootfs = host.rootfs_flag();
    let path = host.directory().join("input");
    std::fs::write(&path, "a\nb\nc\n").expect("written");
    // What is left of it, as the rest of a loop in a shell would read it.
    let run = |flags: &[&str]| -> (Ran, u64) {
        let mut input = File::open(&path).expect("there");
        let mut command =
            place.command("run", &[flags, &[&rootfs, "/bin/sh", "-c", "echo ran; cat"]].concat());
        command.stdin(Stdio::from(input.try_clone().expect("a second one")));
        let ran = finish(command.spawn().expect("nsenter runs"), None);
        (ran, input.stream_position().expect("a file"))
    };
    assert_eq!(place.verb("pod create", &["--name=pod"]).code(), 0);
    for flags in [
        &["--network=none", "--name=kept"][..],
        &["--network=none", "--name=said", "-i=false"],
        &["--network=none", "--name=shown", "-a", "stdout"],
        &["--pod=pod", "--rm"],
    ] {
        let (ran, read) = run(flags);
        assert_eq!((ran.text(), read), ("ran", 0), "{flags:?}");
    }
    for flags in [
        &["--network=none", "--name=asked", "-i"][..],
        &["--network=none", "--name=attached", "-a", "stdin", "-a", "stdout"],
    ] {
        let (ran, read) = run(flags);
        assert_eq!((ran.text(), read), ("ran\na\nb\nc", 6), "{flags:?}");
    }
    assert_eq!(place.field("kept", ".Config.AttachStdin"), "false");
    assert_eq!(place.verb("pod rm", &["-f", "pod"]).code(), 0);
    place.assert_nothing_left();
}

#[test]
fn input_that_nobody_types_is_no_warning_for_a_container_in_the_background() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let detached = place.script("run", &["-dit", "--name=shell"], "sleep 1000");
    assert_eq!((detached.code(), detached.stderr.as_str()), (0, ""), "{detached:?}");
    let made = place.script("create", &["-it", "--name=made"], "true");
    assert_eq!((made.code(), made.stderr.as_str()), (0, ""), "{made:?}");
    let attached = place.script("run", &["-it", "--name=here"], "true");
    assert!(attached.stderr.contains("warning: standard input is no terminal"), "{attached:?}");
    place.assert_nothing_left();
}
