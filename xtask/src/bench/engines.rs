//! The engines that are compared: each with a store of the bench's own, below one directory.

use std::path::Path;
use std::process::Command;

use super::daemon::Daemon;
use crate::process::{self, Failure, Naming, Result};

/// rabbitc with a store.
pub fn rabbitc(verb: &[&str], store: &Path) -> Command {
    let mut command = Command::new(process::target_directory().join("release/rabbitc"));
    command.args(verb).arg("--root").arg(store);
    command
}

/// podman with a store.
pub fn podman(store: &Path) -> Command {
    let mut command = Command::new("podman");
    command.arg("--root").arg(store).args(["--runroot", "/run/bench-podman", "--storage-driver=overlay"]);
    command.args(["--cgroup-manager=cgroupfs", "--runtime=crun"]).env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
    command
}

const DOCKER: &str = "unix:///run/bench-docker.sock";

/// docker, whose daemon has its store in `place`.
pub fn docker(place: &Path) -> Command {
    let mut command = Command::new("docker");
    // Settings of the user's own may name another daemon.
    command.arg("--config").arg(place.join("docker-client")).args(["--host", DOCKER]);
    command
}

/// dockerd with its store in `place`, in a network namespace of its own: its firewall drops what others forward.
pub fn dockerd(place: &Path) -> Result<Daemon> {
    for program in ["dockerd", "docker"] {
        if process::find_program(program).is_none() {
            return Err(Failure::new(format!("there is no `{program}`")));
        }
    }
    let configuration = place.join("docker.json");
    std::fs::write(&configuration, "{}").naming(format_args!("write `{}`", configuration.display()))?;
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", "ip link set lo up; exec dockerd \"$@\"", "dockerd"]);
    command.arg("--config-file").arg(configuration).arg("--data-root").arg(place.join("docker"));
    command.args(["--exec-root", "/run/bench-docker", "--pidfile", "/run/bench-docker.pid"]);
    command.args(["--host", DOCKER]);
    let mut daemon = Daemon::start("dockerd", &mut command, place)?;
    daemon.wait_for(|| {
        let mut question = docker(place);
        question.arg("version");
        question
    })?;
    Ok(daemon)
}
