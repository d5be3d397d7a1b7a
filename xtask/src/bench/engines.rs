//! The engines that are compared: each with a store of the bench's own, below one directory.

use std::ffi::OsString;
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
    command.args(podman_flags(store)).env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
    command
}

/// What podman is told before its verb.
pub fn podman_flags(store: &Path) -> Vec<OsString> {
    let fixed = ["--runroot", "/run/bench-podman", "--storage-driver=overlay", "--cgroup-manager=cgroupfs"];
    let mut flags: Vec<OsString> = vec!["--root".into(), store.into()];
    flags.extend(fixed.map(OsString::from));
    flags.push("--runtime=crun".into());
    flags
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
    dockerd_in(place, &["unshare", "--net"])
}

/// The same in a network namespace that these words enter.
pub fn dockerd_in(place: &Path, words: &[&str]) -> Result<Daemon> {
    for program in ["dockerd", "docker"] {
        if process::find_program(program).is_none() {
            return Err(Failure::new(format!("there is no `{program}`")));
        }
    }
    let configuration = place.join("docker.json");
    std::fs::write(&configuration, "{}").naming(format_args!("write `{}`", configuration.display()))?;
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["sh", "-c", "ip link set lo up; exec dockerd \"$@\"", "dockerd"]);
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
