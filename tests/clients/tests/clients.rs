//! The engines that people use, each over rabbitc-runtime and over the runtime that they have: the same calls say the
//! same and end the same.

use rabbitc_clients::Session;

const PODMAN: &str = include_str!("scripts/podman.sh");

#[test]
fn podman_does_the_same_with_it_as_with_crun() {
    let settings = "OPTIONS=\"--storage-driver vfs --root $WORK/storage --runroot $WORK/run\"\n\
                    LIMITS='--memory 64m --pids-limit 50' PODS=1";
    let session = Session { script: PODMAN, settings, programs: &["podman", "conmon"] };
    session.check(include_str!("expected/podman.txt"), "crun");
}

#[test]
fn podman_of_an_ordinary_user_does_the_same_with_it_as_with_crun() {
    let script = format!("{}\ncat >script <<'END'\n{PODMAN}\nEND\n", include_str!("scripts/user.sh"));
    let script = format!("{script}cat prelude settings script >all; as_user sh \"$WORK/all\"\n");
    let programs = &["podman", "conmon", "setpriv", "newuidmap"];
    let session = Session { script: &script, settings: "", programs };
    session.check(include_str!("expected/podman-user.txt"), "crun");
}

#[test]
fn docker_does_the_same_with_it_as_with_runc() {
    let programs = &["dockerd", "docker", "containerd"];
    let session = Session { script: include_str!("scripts/docker.sh"), settings: "", programs };
    session.check(include_str!("expected/docker.txt"), "runc");
}

#[test]
fn containerd_does_the_same_with_it_as_with_runc() {
    let programs = &["containerd", "ctr", "containerd-shim-runc-v2"];
    let session = Session { script: include_str!("scripts/containerd.sh"), settings: "", programs };
    session.check(include_str!("expected/containerd.txt"), "runc");
}

#[test]
fn buildah_does_the_same_with_it_as_with_crun() {
    let settings = "OPTIONS=\"--storage-driver vfs --root $WORK/storage --runroot $WORK/run\"";
    let session = Session { script: include_str!("scripts/buildah.sh"), settings, programs: &["buildah"] };
    session.check(include_str!("expected/buildah.txt"), "crun");
}
