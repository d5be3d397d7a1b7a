//! The engines that people use, each over rabbitc-runtime and over the runtime that they have: the same calls say the
//! same and end the same.

use rabbitc_clients::{AS_ROOT, Session};

const PODMAN: &str = include_str!("scripts/podman.sh");
/// Without the host's storage: what is there is the host's.
const STORAGE: &str = "OPTIONS=\"--storage-driver vfs --root $WORK/storage --runroot $WORK/run\"\n";

#[test]
fn podman_does_the_same_with_it_as_with_crun() {
    let settings = format!("{STORAGE}LIMITS='--memory 64m --pids-limit 50' PODS=1");
    let programs = &["podman", "conmon"];
    let session = Session { script: PODMAN, settings: &settings, start: AS_ROOT, programs };
    session.check(include_str!("expected/podman.txt"), "crun");
}

#[test]
fn podman_of_an_ordinary_user_does_the_same_with_it_as_with_crun() {
    let settings = format!("{STORAGE}LIMITS= PODS=1");
    let programs = &["podman", "conmon", "setpriv", "newuidmap"];
    let start = include_str!("scripts/user.sh");
    let session = Session { script: PODMAN, settings: &settings, start, programs };
    session.check(include_str!("expected/podman-user.txt"), "crun");
}

#[test]
fn docker_does_the_same_with_it_as_with_runc() {
    let programs = &["dockerd", "docker", "containerd"];
    let script = include_str!("scripts/docker.sh");
    let session = Session { script, settings: "", start: AS_ROOT, programs };
    session.check(include_str!("expected/docker.txt"), "runc");
}

#[test]
fn containerd_does_the_same_with_it_as_with_runc() {
    let programs = &["containerd", "ctr", "containerd-shim-runc-v2"];
    let script = include_str!("scripts/containerd.sh");
    let session = Session { script, settings: "", start: AS_ROOT, programs };
    session.check(include_str!("expected/containerd.txt"), "runc");
}

#[test]
fn buildah_does_the_same_with_it_as_with_crun() {
    let script = include_str!("scripts/buildah.sh");
    let session = Session { script, settings: STORAGE, start: AS_ROOT, programs: &["buildah"] };
    session.check(include_str!("expected/buildah.txt"), "crun");
}
