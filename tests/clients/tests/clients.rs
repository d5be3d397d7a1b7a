//! The engines that people use, each over rabbitc-runtime and over the runtime that they have: the same calls say the
//! same and end the same.

use rabbitc_clients::{AS_ROOT, Session};

const PODMAN: &str = include_str!("scripts/podman.sh");
/// Without the host's storage: what is there is the host's.
const STORAGE: &str =
    "MANAGER=cgroupfs OPTIONS=\"--storage-driver vfs --root $WORK/storage --runroot $WORK/run\"\n";
const DOCKER_DAEMON: &str = include_str!("scripts/docker-daemon.sh");
const CONTAINERD_DAEMON: &str = concat!("MANAGER=cgroupfs\n", include_str!("scripts/containerd-daemon.sh"));

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
    let settings = format!("MANAGER=cgroupfs EXPERIMENTAL=false\n{DOCKER_DAEMON}");
    let session = Session { script, settings: &settings, start: AS_ROOT, programs };
    session.check(include_str!("expected/docker.txt"), "runc");
}

#[test]
fn containerd_does_the_same_with_it_as_with_runc() {
    let programs = &["containerd", "ctr", "containerd-shim-runc-v2"];
    let script = include_str!("scripts/containerd.sh");
    let session = Session { script, settings: CONTAINERD_DAEMON, start: AS_ROOT, programs };
    session.check(include_str!("expected/containerd.txt"), "runc");
}

#[test]
fn pods_of_containerd_do_the_same_with_it_as_with_runc() {
    let programs = &[
        "containerd",
        "ctr",
        "containerd-shim-runc-v2",
        "runc",
        "protoc",
        "curl",
        "/usr/lib/cni/bridge",
        "/usr/lib/cni/host-local",
    ];
    let files = [("cri.proto", include_str!("scripts/cri.proto")), ("handler.toml", &documented_handler())];
    let files = files.iter().map(|(name, text)| format!("cat >{name} <<'END'\n{text}END\n"));
    let settings: String = std::iter::once("MANAGER=cgroupfs\n".to_owned()).chain(files).collect();
    let script = include_str!("scripts/cri.sh");
    let session = Session { script, settings: &settings, start: AS_ROOT, programs };
    session.check(include_str!("expected/cri.txt"), "runc");
}

/// What docs/kubernetes.md has a reader put into containerd's config.toml.
fn documented_handler() -> String {
    let page = include_str!("../../../docs/kubernetes.md");
    let section = page.split("\n## ").find(|section| section.starts_with("containerd\n")).expect("a section");
    let lines: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(lines.iter().filter(|line| line.starts_with('[')).count(), 2, "{lines:?}");
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn buildah_does_the_same_with_it_as_with_crun() {
    let script = include_str!("scripts/buildah.sh");
    let session = Session { script, settings: STORAGE, start: AS_ROOT, programs: &["buildah"] };
    session.check(include_str!("expected/buildah.txt"), "crun");
}

#[test]
fn buildah_of_an_ordinary_user_does_the_same_with_it_as_with_crun() {
    let programs = &["buildah", "setpriv", "newuidmap"];
    let (script, start) = (include_str!("scripts/buildah.sh"), include_str!("scripts/user.sh"));
    let session = Session { script, settings: STORAGE, start, programs };
    session.check(include_str!("expected/buildah.txt"), "crun");
}

/// With runc, as Debian's crun is built without criu.
#[test]
fn checkpoints_of_podman_are_the_same_with_it_as_with_runc() {
    let script = include_str!("scripts/podman-checkpoint.sh");
    let session = Session { script, settings: STORAGE, start: AS_ROOT, programs: &["podman", "conmon"] };
    session.check_with_criu(include_str!("expected/podman-checkpoint.txt"), "runc");
}

#[test]
fn checkpoints_of_docker_are_the_same_with_it_as_with_runc() {
    let programs = &["dockerd", "docker", "containerd"];
    let script = include_str!("scripts/docker-checkpoint.sh");
    let settings = format!("MANAGER=cgroupfs EXPERIMENTAL=true\n{DOCKER_DAEMON}");
    let session = Session { script, settings: &settings, start: AS_ROOT, programs };
    session.check_with_criu(include_str!("expected/docker-checkpoint.txt"), "runc");
}

#[test]
fn checkpoints_of_containerd_are_the_same_with_it_as_with_runc() {
    let programs = &["containerd", "ctr", "containerd-shim-runc-v2"];
    let script = include_str!("scripts/containerd-checkpoint.sh");
    let session = Session { script, settings: CONTAINERD_DAEMON, start: AS_ROOT, programs };
    session.check_with_criu(include_str!("expected/containerd-checkpoint.txt"), "runc");
}
